//! The channels, the ways to find one, and the sums over all of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::ops::{Bound, Index, IndexMut};

use bytes::Bytes;
use foldhash::fast::FixedState;
use seaway_stan_protocol::validate;
use slab::Slab;

use super::channel::Channel;
use super::keys::ChannelKey;
use super::log::Log;
use crate::ids::ChannelId;
use crate::limits_table::LimitsKey;

/// Sums over all channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Live messages.
    pub(crate) messages: u64,
    /// Bytes of their bodies.
    pub(crate) bytes: u64,
    /// Stored subscription records.
    pub(crate) records: usize,
}

/// See the module. Every channel is in each of the maps, but for `hashes`.
#[derive(Debug)]
pub(crate) struct Channels {
    channels: Slab<Channel>,
    /// By the hash of the name: a short way to most of them. Where two names have one hash it leads to one of them, and
    /// `names` to both. Looked up, never walked.
    hashes: HashMap<u64, ChannelKey, FixedState>,
    /// By name without case: what makes names unique. Looked up, never walked.
    folds: HashMap<Bytes, ChannelKey, FixedState>,
    /// By name: what decides, and the order of monitoring pages.
    names: BTreeMap<Bytes, ChannelKey>,
    ids: BTreeMap<ChannelId, ChannelKey>,
    /// The highest ID that was ever given.
    last_id: ChannelId,
    sums: Sums,
}

impl Channels {
    pub(crate) fn new(hasher: FixedState) -> Channels {
        Channels {
            channels: Slab::new(),
            hashes: HashMap::with_hasher(hasher.clone()),
            folds: HashMap::with_hasher(hasher),
            names: BTreeMap::new(),
            ids: BTreeMap::new(),
            last_id: ChannelId(0),
            sums: Sums::default(),
        }
    }

    /// IDs up to this one were given before, also to channels that have gone.
    pub(crate) fn begin_after(&mut self, last_id: ChannelId) {
        self.last_id = last_id;
    }

    /// The highest ID that was ever given.
    pub(crate) fn last_id(&self) -> ChannelId {
        self.last_id
    }

    /// A new ID. Never given again.
    pub(crate) fn new_id(&mut self) -> ChannelId {
        self.last_id.0 += 1;
        self.last_id
    }

    /// Adds a channel. No other may have its ID, or a name that differs from its own by case only.
    pub(crate) fn insert(&mut self, now: u64, id: ChannelId, name: Bytes, limits: LimitsKey, log: Log) -> ChannelKey {
        self.sums.messages += log.messages();
        self.sums.bytes += log.bytes();
        let fold = match validate::fold_case(&name) {
            Cow::Borrowed(_) => name.clone(),
            Cow::Owned(fold) => Bytes::from(fold),
        };
        let channel = Channel::new(now, id, name.clone(), limits, log);
        let key = ChannelKey(self.channels.insert(channel));
        self.hashes.insert(self.hash_of(&name), key);
        self.names.insert(name, key);
        self.folds.insert(fold, key);
        self.ids.insert(id, key);
        key
    }

    /// Takes out a channel with everything that is in it.
    pub(crate) fn remove(&mut self, key: ChannelKey) -> Channel {
        let channel = self.channels.remove(key.0);
        self.sums.messages -= channel.log.messages();
        self.sums.bytes -= channel.log.bytes();
        self.sums.records -= channel.records;
        let hash = self.hash_of(channel.name());
        if self.hashes.get(&hash) == Some(&key) {
            self.hashes.remove(&hash);
        }
        self.names.remove(channel.name());
        self.folds.remove(&validate::fold_case(channel.name())[..]);
        self.ids.remove(&channel.id());
        channel
    }

    fn hash_of(&self, name: &[u8]) -> u64 {
        self.hashes.hasher().hash_one(name)
    }

    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Sums over all channels, at the same cost however many there are.
    pub(crate) fn sums(&self) -> Sums {
        debug_assert_eq!(self.sums, self.walk());
        self.sums
    }

    fn walk(&self) -> Sums {
        let channels = || self.channels.iter().map(|(_, channel)| channel);
        Sums {
            messages: channels().map(|channel| channel.log.messages()).sum(),
            bytes: channels().map(|channel| channel.log.bytes()).sum(),
            records: channels().map(|channel| channel.records).sum(),
        }
    }

    /// The channel of that name.
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<ChannelKey> {
        let key = self.hashes.get(&self.hash_of(name)).copied();
        key.filter(|key| self[*key].name()[..] == *name)
            .or_else(|| self.names.get(name).copied())
    }

    /// The channel whose name is that one without case.
    pub(crate) fn find_folded(&self, name: &[u8]) -> Option<ChannelKey> {
        self.folds.get(&validate::fold_case(name)[..]).copied()
    }

    /// The channel with that ID.
    pub(crate) fn find_id(&self, id: ChannelId) -> Option<ChannelKey> {
        self.ids.get(&id).copied()
    }

    /// The channel with that ID, or the next one.
    pub(crate) fn id_from(&self, id: ChannelId) -> Option<(ChannelId, ChannelKey)> {
        self.ids.range(id..).next().map(|(id, key)| (*id, *key))
    }

    /// All channels in the order of their IDs.
    pub(crate) fn keys(&self) -> impl Iterator<Item = ChannelKey> + '_ {
        self.ids.values().copied()
    }

    /// Names and channels in the order of the names, between two bounds.
    pub(crate) fn between(
        &self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = (&Bytes, ChannelKey)> {
        let range = self.names.range::<[u8], _>((start, end));
        range.map(|(name, key)| (name, *key))
    }

    /// Whether there is a channel at that place.
    pub(crate) fn contains(&self, key: ChannelKey) -> bool {
        self.channels.contains(key.0)
    }

    /// The channel, if it is still the one with that ID.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: ChannelKey, id: ChannelId) -> Option<&mut Channel> {
        self.channels.get_mut(key.0).filter(|channel| channel.id() == id)
    }

    /// Whether it is still the channel with that ID.
    #[inline]
    pub(crate) fn is(&self, key: ChannelKey, id: ChannelId) -> bool {
        self.channels.get(key.0).is_some_and(|channel| channel.id() == id)
    }

    /// Its next message was appended.
    #[inline]
    pub(crate) fn push_message(&mut self, now: u64, key: ChannelKey, bytes: u64, timestamp: i64) {
        let channel = &mut self.channels[key.0];
        channel.log.push(bytes, timestamp);
        channel.last_activity = now;
        self.sums.messages += 1;
        self.sums.bytes += bytes;
    }

    /// Its oldest message goes, of which the store says sequence and size.
    pub(crate) fn drop_oldest(&mut self, key: ChannelKey, sequence: u64, size: u32) {
        let (messages, bytes) = self.channels[key.0].log.drop_oldest(sequence, size);
        self.sums.messages -= messages;
        self.sums.bytes -= bytes;
    }

    /// Its messages below a sequence go, all at once; how many that were.
    pub(crate) fn purge(&mut self, key: ChannelKey, first: u64) -> u64 {
        let channel = &mut self.channels[key.0];
        let messages = channel.log.purge(first);
        channel.recounting.set();
        self.sums.messages -= messages;
        messages
    }

    /// The store says how many bytes of messages it has.
    pub(crate) fn recount(&mut self, key: ChannelKey, bytes: u64) {
        let channel = &mut self.channels[key.0];
        channel.recounting.clear();
        self.sums.bytes -= channel.log.recount(bytes);
        self.sums.bytes += bytes;
    }

    /// A log without messages has no bytes, whatever the store said of those that went.
    pub(crate) fn drop_remainder(&mut self, key: ChannelKey) {
        self.sums.bytes -= self.channels[key.0].log.drop_remainder();
    }

    /// A subscription of it is stored.
    pub(crate) fn add_record(&mut self, key: ChannelKey) {
        self.channels[key.0].records += 1;
        self.sums.records += 1;
    }

    /// A subscription of it is no more, or counts no more.
    pub(crate) fn remove_record(&mut self, key: ChannelKey) {
        self.channels[key.0].records -= 1;
        self.sums.records -= 1;
    }
}

impl Index<ChannelKey> for Channels {
    type Output = Channel;

    #[inline]
    fn index(&self, key: ChannelKey) -> &Channel {
        &self.channels[key.0]
    }
}

impl IndexMut<ChannelKey> for Channels {
    #[inline]
    fn index_mut(&mut self, key: ChannelKey) -> &mut Channel {
        &mut self.channels[key.0]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn channels() -> Channels {
        Channels::new(FixedState::with_seed(1))
    }

    fn insert(channels: &mut Channels, name: &'static str) -> ChannelKey {
        let id = channels.new_id();
        let name = Bytes::from_static(name.as_bytes());
        channels.insert(1, id, name, LimitsKey::default(), Log::default())
    }

    #[test]
    fn names_with_one_hash_are_two_channels() {
        let mut channels = channels();
        let first = insert(&mut channels, "first");
        let second = insert(&mut channels, "second");
        let hash = channels.hash_of(b"second");
        channels.hashes.insert(hash, first);
        assert_eq!(channels.find(b"second"), Some(second));
        channels.remove(second);
        assert_eq!(channels.find(b"second"), None);
        assert_eq!(channels.find(b"first"), Some(first));
        assert_eq!(channels.hashes.get(&hash), Some(&first), "it was not the second's");
    }

    #[test]
    fn names_that_differ_by_case_are_found_out() {
        let mut channels = channels();
        let orders = insert(&mut channels, "Orders");
        assert_eq!(channels.find(b"orders"), None);
        assert_eq!(channels.find_folded(b"ORDERS"), Some(orders));
        channels.remove(orders);
        assert_eq!(channels.find_folded(b"orders"), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(usize),
        Remove(usize),
        Push(usize, u64),
        Drop(usize, u32),
        AddRecord(usize),
    }

    const NAMES: [&str; 5] = ["a", "b", "b.c", "b.d", "e"];

    fn step() -> impl Strategy<Value = Step> {
        let name = 0..NAMES.len();
        prop_oneof![
            2 => name.clone().prop_map(Step::Insert),
            1 => name.clone().prop_map(Step::Remove),
            4 => (name.clone(), 0u64..9).prop_map(|(name, bytes)| Step::Push(name, bytes)),
            2 => (name.clone(), 0u32..9).prop_map(|(name, bytes)| Step::Drop(name, bytes)),
            1 => name.prop_map(Step::AddRecord),
        ]
    }

    proptest! {
        #[test]
        fn maps_agree_and_sums_are_those_of_a_walk(steps in proptest::collection::vec(step(), 0..80)) {
            let (mut channels, mut model, mut last_id) = (channels(), BTreeMap::new(), 0);
            for step in steps {
                match step {
                    Step::Insert(name) => {
                        if let std::collections::btree_map::Entry::Vacant(vacant) = model.entry(NAMES[name]) {
                            let key = insert(&mut channels, NAMES[name]);
                            last_id += 1;
                            vacant.insert((key, ChannelId(last_id)));
                        }
                    }
                    Step::Remove(name) => {
                        if let Some((key, id)) = model.remove(NAMES[name]) {
                            prop_assert_eq!(channels.remove(key).id(), id);
                            prop_assert!(!channels.is(key, id));
                        }
                    }
                    Step::Push(name, bytes) => {
                        if let Some((key, _)) = model.get(NAMES[name]) {
                            channels.push_message(1, *key, bytes, 1);
                        }
                    }
                    Step::Drop(name, size) => {
                        if let Some((key, _)) = model.get(NAMES[name])
                            && channels[*key].log().messages() > 0
                        {
                            let first = channels[*key].log().first();
                            channels.drop_oldest(*key, first, size);
                            channels.drop_remainder(*key);
                        }
                    }
                    Step::AddRecord(name) => {
                        if let Some((key, _)) = model.get(NAMES[name]) {
                            channels.add_record(*key);
                        }
                    }
                }
                prop_assert_eq!(channels.sums, channels.walk());
                prop_assert_eq!(channels.len(), model.len());
                for name in NAMES {
                    let key = model.get(name).map(|channel| channel.0);
                    prop_assert_eq!(channels.find(name.as_bytes()), key);
                    prop_assert_eq!(channels.find_folded(name.as_bytes()), key);
                }
                let names = channels.between(Bound::Unbounded, Bound::Unbounded);
                let names = names.map(|(name, key)| (&name[..], key, channels[key].id()));
                prop_assert!(names.eq(model.iter().map(|(name, (key, id))| (name.as_bytes(), *key, *id))));
                for id in 0..=last_id {
                    let expected = model.values().find(|channel| channel.1 == ChannelId(id)).map(|channel| channel.0);
                    prop_assert_eq!(channels.find_id(ChannelId(id)), expected);
                    let next = model.values().filter(|channel| channel.1.0 >= id).min_by_key(|channel| channel.1);
                    prop_assert_eq!(channels.id_from(ChannelId(id)), next.map(|(key, id)| (*id, *key)));
                }
                prop_assert_eq!(channels.keys().count(), model.len());
            }
        }
    }
}
