//! What this server's own subscribers want, as other servers are told: each subject of an account once, each queue group with the number of its
//! members (core specification §4.5).
//!
//! Several listen, one for each other server. A change is put on the list of every listener, each text once until it was taken from
//! there, and what is told is what holds then: a subject that came and went in between is not told at all, and whoever is slow gets
//! the latest and no history. Texts are kept in slots, so that everything there is can be gone through in slices while it changes.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::limits::{INTEREST_SHARDS, PEERS_MAX};
use crate::lock::lock;

const _: () = assert!(PEERS_MAX <= u64::BITS as usize);

/// Where a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    shard: u32,
    slot: u32,
}

/// One subject of an account, or subject and queue group.
struct Entry {
    /// The account, a blank and the subject, with a blank and the group behind it if there is one.
    text: Arc<[u8]>,
    account_end: usize,
    subject_end: usize,
    /// Subscribers.
    count: u32,
    /// Listeners who have it on their list.
    listed: u64,
    /// Listeners who were told that somebody wants it, and not yet that nobody does.
    told: u64,
}

#[derive(Default)]
struct Shard {
    places: HashMap<Arc<[u8]>, u32, RandomState>,
    slots: Vec<Option<Entry>>,
    free: Vec<u32>,
}

/// See the module.
pub(crate) struct LocalInterest {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    /// Listeners that there are.
    listening: AtomicU64,
    /// Numbers that are taken, also by those who have left and are not forgotten yet.
    taken: AtomicU64,
    /// Listeners who have something on their list; changed under the lock of the list.
    news: AtomicU64,
    lists: Box<[Mutex<VecDeque<Place>>]>,
}

/// What a listener is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    text: Arc<[u8]>,
    account_end: usize,
    subject_end: usize,
    /// How many want it; 0 for nobody any more.
    pub(crate) count: u32,
}

impl Announced {
    pub(crate) fn account(&self) -> &[u8] {
        &self.text[..self.account_end]
    }

    pub(crate) fn subject(&self) -> &[u8] {
        &self.text[self.account_end + 1..self.subject_end]
    }

    pub(crate) fn queue(&self) -> Option<&[u8]> {
        self.text.get(self.subject_end + 1..)
    }
}

/// How far a listener has got in going through everything, or in being forgotten.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    shard: usize,
    slot: usize,
}

impl LocalInterest {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::default(),
            shards: (0..INTEREST_SHARDS).map(|_| Mutex::default()).collect(),
            listening: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            news: AtomicU64::new(0),
            lists: (0..PEERS_MAX).map(|_| Mutex::default()).collect(),
        }
    }

    /// One more subscriber.
    pub(crate) fn add(&self, account: &[u8], subject: &[u8], queue: Option<&[u8]>) {
        let text = interest_name(account, subject, queue);
        let shard_index = self.shard_of(&text);
        let mut shard = lock(&self.shards[shard_index]);
        let slot = match shard.places.get(&text[..]) {
            Some(slot) => *slot,
            None => shard.insert(Arc::from(&text[..]), account.len(), account.len() + 1 + subject.len()),
        };
        if let Some(entry) = shard.entry(slot) {
            entry.count = entry.count.saturating_add(1);
            if entry.count == 1 || queue.is_some() {
                self.list(entry, shard_index, slot);
            }
        }
    }

    /// One subscriber less.
    pub(crate) fn remove(&self, account: &[u8], subject: &[u8], queue: Option<&[u8]>) {
        let text = interest_name(account, subject, queue);
        let shard_index = self.shard_of(&text);
        let mut shard = lock(&self.shards[shard_index]);
        let Some(&slot) = shard.places.get(&text[..]) else {
            return;
        };
        if let Some(entry) = shard.entry(slot) {
            entry.count = entry.count.saturating_sub(1);
            if entry.count == 0 || queue.is_some() {
                self.list(entry, shard_index, slot);
            }
        }
        shard.drop_if_unused(slot);
    }

    /// Puts an entry on the list of everybody who has it not.
    fn list(&self, entry: &mut Entry, shard: usize, slot: u32) {
        let mut missing = self.listening.load(Ordering::Acquire) & !entry.listed;
        entry.listed |= missing;
        while missing != 0 {
            let listener = missing.trailing_zeros();
            missing &= missing - 1;
            let mut list = lock(&self.lists[listener as usize]);
            list.push_back(Place {
                shard: shard as u32,
                slot,
            });
            self.news.fetch_or(1 << listener, Ordering::Release);
        }
    }

    /// A new listener, from 0; `None` when there are too many. Changes go on its list from now on.
    pub(crate) fn listen(&self) -> Option<u32> {
        let mut taken = self.taken.load(Ordering::Acquire);
        loop {
            let listener = (!taken).trailing_zeros();
            if listener as usize >= PEERS_MAX {
                return None;
            }
            let bit = 1 << listener;
            match self
                .taken
                .compare_exchange(taken, taken | bit, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => {
                    self.listening.fetch_or(bit, Ordering::AcqRel);
                    return Some(listener);
                }
                Err(now) => taken = now,
            }
        }
    }

    /// Whether any listener has something on its list.
    pub(crate) fn has_news(&self) -> bool {
        self.news.load(Ordering::Acquire) != 0
    }

    /// Whether this listener has something on its list, or did not get all of it yet.
    pub(crate) fn has_news_for(&self, listener: u32) -> bool {
        self.news.load(Ordering::Acquire) & (1 << listener) != 0
    }

    /// How much is on this listener's list.
    pub(crate) fn listed(&self, listener: u32) -> usize {
        lock(&self.lists[listener as usize]).len()
    }

    /// Takes so much off the list, and tells `tell` what holds. Returns whether something was there. Only one thread at a time may take
    /// from one list. There is news until [`LocalInterest::was_told`].
    pub(crate) fn take(&self, listener: u32, most: usize, tell: &mut impl FnMut(Announced)) -> bool {
        let places: Vec<Place> = {
            let mut list = lock(&self.lists[listener as usize]);
            if list.is_empty() {
                return false;
            }
            let count = most.min(list.len());
            list.drain(..count).collect()
        };
        for place in places {
            let mut shard = lock(&self.shards[place.shard as usize]);
            if let Some(entry) = shard.entry(place.slot) {
                entry.listed &= !(1 << listener);
                if let Some(announced) = entry.announce(listener) {
                    tell(announced);
                }
            }
            shard.drop_if_unused(place.slot);
        }
        true
    }

    /// Everything that was taken is on its way, ahead of whatever is sent from now on: there is no news unless more is on the list.
    pub(crate) fn was_told(&self, listener: u32) {
        let mut list = lock(&self.lists[listener as usize]);
        if list.is_empty() {
            self.news.fetch_and(!(1 << listener), Ordering::Release);
            if list.capacity() > 1024 {
                list.shrink_to_fit();
            }
        }
    }

    /// Goes on telling a listener what there is. Returns whether that was all.
    pub(crate) fn tell_all(
        &self,
        listener: u32,
        progress: &mut Progress,
        most: usize,
        tell: &mut impl FnMut(Announced),
    ) -> bool {
        let announce = |entry: &mut Entry| {
            // What was told already is no news, and a group's weight that changed is on the list.
            if entry.count > 0
                && entry.told & (1 << listener) == 0
                && let Some(announced) = entry.announce(listener)
            {
                tell(announced);
            }
        };
        self.go_through(progress, most, announce)
    }

    /// Ends a listener: nothing goes on its list any more. To be followed by [`LocalInterest::forget`].
    pub(crate) fn leave(&self, listener: u32) {
        self.listening.fetch_and(!(1 << listener), Ordering::AcqRel);
    }

    /// Goes on forgetting a listener that has left. Returns whether nothing is left of it, so that its number is free.
    pub(crate) fn forget(&self, listener: u32, progress: &mut Progress, most: usize) -> bool {
        let bit = 1 << listener;
        let is_done = self.go_through(progress, most, |entry| {
            entry.listed &= !bit;
            entry.told &= !bit;
        });
        if is_done {
            *lock(&self.lists[listener as usize]) = VecDeque::new();
            self.news.fetch_and(!bit, Ordering::AcqRel);
            self.taken.fetch_and(!bit, Ordering::AcqRel);
        }
        is_done
    }

    fn go_through(&self, progress: &mut Progress, most: usize, mut visit: impl FnMut(&mut Entry)) -> bool {
        let mut left = most;
        while progress.shard < self.shards.len() {
            let mut shard = lock(&self.shards[progress.shard]);
            let end = shard.slots.len().min(progress.slot.saturating_add(left));
            for slot in progress.slot..end {
                let slot = slot as u32;
                if let Some(entry) = shard.entry(slot) {
                    visit(entry);
                }
                shard.drop_if_unused(slot);
            }
            left -= end.saturating_sub(progress.slot);
            progress.slot = end;
            if end < shard.slots.len() {
                return false;
            }
            *progress = Progress {
                shard: progress.shard + 1,
                slot: 0,
            };
            left = left.saturating_sub(1);
            if left == 0 && progress.shard < self.shards.len() {
                return false;
            }
        }
        true
    }

    fn shard_of(&self, text: &[u8]) -> usize {
        (self.hasher.hash_one(text) >> 40) as usize & (INTEREST_SHARDS - 1)
    }
}

impl Entry {
    /// What a listener has to be told of this entry, if anything.
    fn announce(&mut self, listener: u32) -> Option<Announced> {
        let bit = 1 << listener;
        let was_told = self.told & bit != 0;
        let is_grouped = self.text.len() > self.subject_end;
        let is_due = match self.count {
            0 => was_told,
            _ => !was_told || is_grouped,
        };
        if self.count == 0 {
            self.told &= !bit;
        } else {
            self.told |= bit;
        }
        is_due.then(|| Announced {
            text: Arc::clone(&self.text),
            account_end: self.account_end,
            subject_end: self.subject_end,
            count: self.count,
        })
    }
}

impl Shard {
    fn entry(&mut self, slot: u32) -> Option<&mut Entry> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    fn insert(&mut self, text: Arc<[u8]>, account_end: usize, subject_end: usize) -> u32 {
        let entry = Entry {
            text: Arc::clone(&text),
            account_end,
            subject_end,
            count: 0,
            listed: 0,
            told: 0,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(entry);
                slot
            }
            None => {
                self.slots.push(Some(entry));
                u32::try_from(self.slots.len() - 1).expect("memory ends before 2^32 subjects")
            }
        };
        self.places.insert(text, slot);
        slot
    }

    /// Gives the slot free when nobody wants the text and nobody has to be told so.
    fn drop_if_unused(&mut self, slot: u32) {
        let is_unused = |entry: &mut Entry| entry.count == 0 && entry.listed == 0 && entry.told == 0;
        let Some(entry) = self
            .slots
            .get_mut(slot as usize)
            .and_then(|place| place.take_if(is_unused))
        else {
            return;
        };
        self.places.remove(&entry.text);
        self.free.push(slot);
        if self.places.is_empty() && self.slots.len() > 64 {
            *self = Self::default();
        }
    }
}

/// The name of something that is wanted: the bytes that it has in `RS+` and `RS-` (§4.5).
pub(crate) fn interest_name(account: &[u8], subject: &[u8], queue: Option<&[u8]>) -> SmallVec<[u8; 128]> {
    let mut name = SmallVec::from_slice(account);
    name.push(b' ');
    name.extend_from_slice(subject);
    if let Some(queue) = queue {
        name.push(b' ');
        name.extend_from_slice(queue);
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// What a listener believes: text and number of subscribers.
    #[derive(Default)]
    struct Told(BTreeMap<String, u32>);

    impl Told {
        fn hear(&mut self, announced: &Announced) {
            let text = String::from_utf8_lossy(&announced.text[announced.account_end + 1..]).into_owned();
            if announced.count == 0 {
                assert!(self.0.remove(&text).is_some(), "{text} was never wanted");
            } else {
                let before = self.0.insert(text.clone(), announced.count);
                assert!(before.is_none() || announced.queue().is_some(), "{text} is told twice");
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(u8, bool),
        Remove(u8, bool),
        Listen,
        /// A listener takes, tells everything a bit further, or leaves.
        Take(u8),
        TellAll(u8),
        Leave(u8),
    }

    struct Listener {
        number: u32,
        told: Told,
        progress: Option<Progress>,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0..12u8, any::<bool>()).prop_map(|(text, grouped)| Step::Add(text, grouped)),
            6 => (0..12u8, any::<bool>()).prop_map(|(text, grouped)| Step::Remove(text, grouped)),
            1 => Just(Step::Listen),
            4 => any::<u8>().prop_map(Step::Take),
            6 => any::<u8>().prop_map(Step::TellAll),
            1 => any::<u8>().prop_map(Step::Leave),
        ];
        proptest::collection::vec(step, 0..300)
    }

    proptest! {
        /// However changes, telling and coming and going interleave: in the end every listener believes what is, and nothing is kept of
        /// what nobody wants.
        #[test]
        fn in_the_end_everybody_believes_what_is(steps in steps()) {
            let interest = LocalInterest::new();
            let mut wanted: BTreeMap<String, u32> = BTreeMap::new();
            let mut listeners: Vec<Listener> = Vec::new();
            let pick = |listeners: &[Listener], which: u8| (!listeners.is_empty()).then(|| usize::from(which) % listeners.len());
            for step in steps {
                match step {
                    Step::Add(text, grouped) => {
                        let (subject, queue) = (format!("s.{text}"), grouped.then_some(&b"q"[..]));
                        interest.add(b"$G", subject.as_bytes(), queue);
                        *wanted.entry(if grouped { format!("{subject} q") } else { subject }).or_default() += 1;
                    }
                    Step::Remove(text, grouped) => {
                        let subject = format!("s.{text}");
                        let name = if grouped { format!("{subject} q") } else { subject.clone() };
                        if let Some(count) = wanted.get_mut(&name) {
                            interest.remove(b"$G", subject.as_bytes(), grouped.then_some(&b"q"[..]));
                            *count -= 1;
                            if *count == 0 {
                                wanted.remove(&name);
                            }
                        }
                    }
                    Step::Listen if listeners.len() < 4 => listeners.push(Listener {
                        number: interest.listen().unwrap(),
                        told: Told::default(),
                        progress: Some(Progress::default()),
                    }),
                    Step::Listen => {}
                    Step::Take(which) => if let Some(index) = pick(&listeners, which) {
                        let listener = &mut listeners[index];
                        interest.take(listener.number, 2, &mut |announced| listener.told.hear(&announced));
                    },
                    Step::TellAll(which) => if let Some(index) = pick(&listeners, which) {
                        let listener = &mut listeners[index];
                        if let Some(progress) = &mut listener.progress
                            && interest.tell_all(listener.number, progress, 20, &mut |announced| listener.told.hear(&announced))
                        {
                            listener.progress = None;
                        }
                    },
                    Step::Leave(which) => if let Some(index) = pick(&listeners, which) {
                        let listener = listeners.swap_remove(index);
                        interest.leave(listener.number);
                        let mut progress = Progress::default();
                        while !interest.forget(listener.number, &mut progress, 3) {}
                    },
                }
            }
            for listener in &mut listeners {
                while let Some(progress) = &mut listener.progress {
                    if interest.tell_all(listener.number, progress, 7, &mut |announced| listener.told.hear(&announced)) {
                        listener.progress = None;
                    }
                }
                while interest.take(listener.number, 3, &mut |announced| listener.told.hear(&announced)) {}
                // Of what has no group it is told that it is wanted, not by how many.
                let expected: BTreeMap<String, u32> = wanted
                    .iter()
                    .map(|(text, count)| (text.clone(), if text.contains(' ') { *count } else { 1 }))
                    .collect();
                let believed: BTreeMap<String, u32> = { &listener.told.0 }
                    .iter()
                    .map(|(text, count)| (text.clone(), if text.contains(' ') { *count } else { 1 }))
                    .collect();
                prop_assert_eq!(believed, expected);
                interest.was_told(listener.number);
                prop_assert!(!interest.has_news_for(listener.number));
            }
            let kept: usize = interest.shards.iter().map(|shard| lock(shard).places.len()).sum();
            prop_assert_eq!(kept, wanted.len());
        }
    }

    #[test]
    fn what_comes_and_goes_in_between_is_not_told() {
        let interest = LocalInterest::new();
        let listener = interest.listen().unwrap();
        let mut told = Vec::new();
        interest.add(b"A", b"kept", None);
        for _ in 0..1000 {
            interest.add(b"A", b"brief", None);
            interest.remove(b"A", b"brief", None);
        }
        assert_eq!(interest.listed(listener), 2, "each text once");
        while interest.take(listener, 10, &mut |announced| told.push(announced)) {}
        assert!(interest.has_news(), "until what was taken is on its way");
        interest.was_told(listener);
        assert!(!interest.has_news());
        assert_eq!((told.len(), told[0].subject(), told[0].count), (1, &b"kept"[..], 1));
    }

    #[test]
    fn there_are_only_so_many_listeners_and_their_numbers_are_used_again() {
        let interest = LocalInterest::new();
        for number in 0..PEERS_MAX as u32 {
            assert_eq!(interest.listen(), Some(number));
        }
        assert_eq!(interest.listen(), None);
        interest.add(b"A", b"foo", None);
        interest.leave(5);
        let mut progress = Progress::default();
        while !interest.forget(5, &mut progress, 1000) {}
        assert_eq!((interest.listen(), interest.listed(5)), (Some(5), 0));
    }
}
