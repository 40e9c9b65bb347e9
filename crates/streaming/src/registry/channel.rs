//! A channel: its log, and who listens to it.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::keys::{GroupKey, SubscriptionKey};
use super::log::Log;
use super::roster::Roster;
use crate::channel_limits::{ChannelLimits, Limits};
use crate::ids::ChannelId;
use crate::limits_table::LimitsKey;
use crate::position::damage::Damage;
use crate::waiting::mark::Mark;
use crate::waiting::offers::Offers;
use crate::waiting::sweep::Sweep;
use crate::waiting::timers::TimerSlot;

/// See the module. It is made and taken out by [`Channels`](super::channels::Channels), which also counts what is in it.
#[derive(Debug)]
pub(crate) struct Channel {
    id: ChannelId,
    name: Bytes,
    limits: LimitsKey,
    own_limits: Option<Box<OwnLimits>>,
    pub(super) log: Log,
    /// Monotonic time of its creation, or of the last publish.
    pub(super) last_activity: u64,
    plain: Roster,
    groups: BTreeMap<u64, GroupKey>,
    group_names: BTreeMap<Bytes, GroupKey>,
    /// By client and durable name.
    durables: BTreeMap<(Bytes, Bytes), SubscriptionKey>,
    pub(super) records: usize,
    active: usize,
    subscribing: usize,
    deletion: Deletion,
    /// Which of its messages cannot be read; none as a rule.
    pub(crate) damage: Option<Box<Damage>>,
    pub(crate) age_timer: TimerSlot,
    pub(crate) inactivity_timer: TimerSlot,
    /// In the queue of channels whose limits are to be looked at.
    pub(crate) in_retention: Mark,
    /// In the list of channels that got new durable messages.
    pub(crate) touched: Mark,
    /// Messages went whose bytes still count.
    pub(crate) recounting: Mark,
    /// Whose pending messages are looked at next, after some of the channel's were purged.
    pub(crate) sweep: Option<Box<Sweep>>,
    /// It was told that a limit was reached.
    pub(crate) limits_reached_told: Mark,
    /// It was told that its times are ahead of the clock.
    pub(crate) ahead_told: Mark,
    /// How far its new messages were offered.
    pub(crate) offers: Offers,
}

/// Limits that an operator set for one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnLimits {
    /// What was set.
    pub(crate) set: ChannelLimits,
    /// What counts.
    pub(crate) limits: Limits,
}

/// How far the deletion of a channel is (`streaming-protocol.md` §6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deletion {
    /// It is not being deleted.
    None,
    /// The record of the deletion is not durable yet.
    Recording,
    /// It is: what belongs to the channel is being forgotten.
    Forgetting,
}

impl Channel {
    pub(super) fn new(now: u64, id: ChannelId, name: Bytes, limits: LimitsKey, log: Log) -> Channel {
        Channel {
            id,
            name,
            limits,
            own_limits: None,
            log,
            last_activity: now,
            plain: Roster::default(),
            groups: BTreeMap::new(),
            group_names: BTreeMap::new(),
            durables: BTreeMap::new(),
            records: 0,
            active: 0,
            subscribing: 0,
            deletion: Deletion::None,
            damage: None,
            age_timer: TimerSlot::default(),
            inactivity_timer: TimerSlot::default(),
            in_retention: Mark::default(),
            touched: Mark::default(),
            recounting: Mark::default(),
            sweep: None,
            limits_reached_told: Mark::default(),
            ahead_told: Mark::default(),
            offers: Offers::default(),
        }
    }

    #[inline]
    pub(crate) fn id(&self) -> ChannelId {
        self.id
    }

    #[inline]
    pub(crate) fn name(&self) -> &Bytes {
        &self.name
    }

    /// The limits of the configuration that were found at its creation.
    pub(crate) fn configured_limits(&self) -> LimitsKey {
        self.limits
    }

    /// What an operator set in their place.
    pub(crate) fn own_limits(&self) -> Option<&OwnLimits> {
        self.own_limits.as_deref()
    }

    pub(crate) fn set_own_limits(&mut self, own: Option<OwnLimits>) {
        self.own_limits = own.map(Box::new);
    }

    #[inline]
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Its messages are durable up to a sequence.
    #[inline]
    pub(crate) fn became_durable(&mut self, sequence: u64) {
        self.log.became_durable(sequence);
    }

    /// Monotonic time of its creation, or of the last publish.
    pub(crate) fn last_activity(&self) -> u64 {
        self.last_activity
    }

    /// Stored subscription records, for max_subs.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// Whether nobody has a subscription, or is about to get one, for max_inactivity.
    pub(crate) fn is_idle(&self) -> bool {
        self.active == 0 && self.subscribing == 0
    }

    /// Subscriptions that have an owner.
    pub(crate) fn active(&self) -> usize {
        self.active
    }

    /// Whether a request waits for its start to be found.
    pub(crate) fn is_subscribed_to(&self) -> bool {
        self.subscribing > 0
    }

    /// A subscription became active; as a member of a group it is in no list here.
    pub(crate) fn begin_active(&mut self) {
        self.active += 1;
    }

    /// One that was active has no owner any more.
    pub(crate) fn end_active(&mut self) {
        self.active -= 1;
    }

    /// A request waits for its start to be found.
    pub(crate) fn begin_subscribing(&mut self) {
        self.subscribing += 1;
    }

    /// It waits no longer.
    pub(crate) fn end_subscribing(&mut self) {
        self.subscribing -= 1;
    }

    /// Active subscriptions that are in no group, in the order of their numbers.
    pub(crate) fn plain(&self) -> impl Iterator<Item = SubscriptionKey> + '_ {
        self.plain.values().copied()
    }

    /// The one of them with that number, or the next one.
    #[inline]
    pub(crate) fn plain_from(&self, number: u64) -> Option<(u64, SubscriptionKey)> {
        self.plain.at_or_after(number)
    }

    /// Adds an active subscription that is in no group.
    pub(crate) fn add_plain(&mut self, number: u64, key: SubscriptionKey) {
        self.plain.insert(number, key);
    }

    pub(crate) fn remove_plain(&mut self, number: u64) {
        self.plain.remove(number);
    }

    /// Plain durables, active and offline.
    pub(crate) fn durables(&self) -> impl Iterator<Item = SubscriptionKey> + '_ {
        self.durables.values().copied()
    }

    /// The durable of a client.
    pub(crate) fn durable(&self, client: &Bytes, durable: &Bytes) -> Option<SubscriptionKey> {
        self.durables.get(&(client.clone(), durable.clone())).copied()
    }

    /// The first durable of a client and name within a bound, with both.
    pub(crate) fn durable_from(&self, start: Bound<&(Bytes, Bytes)>) -> Option<((Bytes, Bytes), SubscriptionKey)> {
        let next = self.durables.range((start, Bound::Unbounded)).next();
        next.map(|(name, key)| (name.clone(), *key))
    }

    pub(crate) fn add_durable(&mut self, client: Bytes, durable: Bytes, key: SubscriptionKey) {
        self.durables.insert((client, durable), key);
    }

    pub(crate) fn remove_durable(&mut self, client: Bytes, durable: Bytes) {
        self.durables.remove(&(client, durable));
    }

    /// Takes out the first of the durables.
    pub(crate) fn pop_durable(&mut self) -> Option<SubscriptionKey> {
        self.durables.pop_first().map(|(_, key)| key)
    }

    /// Queue groups in the order of their creation.
    pub(crate) fn groups(&self) -> impl Iterator<Item = GroupKey> + '_ {
        self.groups.values().copied()
    }

    /// The group with that number, or the next one.
    #[inline]
    pub(crate) fn group_from(&self, number: u64) -> Option<(u64, GroupKey)> {
        let next = self.groups.range(number..).next();
        next.map(|(number, key)| (*number, *key))
    }

    /// The group of that name; a durable one is called `<durable>:<group>`.
    pub(crate) fn group(&self, name: &[u8]) -> Option<GroupKey> {
        self.group_names.get(name).copied()
    }

    pub(crate) fn add_group(&mut self, number: u64, name: Bytes, key: GroupKey) {
        self.groups.insert(number, key);
        self.group_names.insert(name, key);
    }

    pub(crate) fn remove_group(&mut self, number: u64, name: &[u8]) {
        self.groups.remove(&number);
        self.group_names.remove(name);
    }

    /// Whether it is being deleted: it takes no message and no subscription, and nothing new is written about it.
    #[inline]
    pub(crate) fn is_being_deleted(&self) -> bool {
        self.deletion != Deletion::None
    }

    /// Its deletion is being recorded.
    pub(crate) fn begin_deletion(&mut self) {
        assert_eq!(self.deletion, Deletion::None, "a channel is deleted once");
        self.deletion = Deletion::Recording;
    }

    /// The record is durable: what belongs to it is being forgotten.
    pub(crate) fn deletion_recorded(&mut self) {
        assert_eq!(self.deletion, Deletion::Recording);
        self.deletion = Deletion::Forgetting;
    }

    /// The deletion could not be recorded: it stays.
    pub(crate) fn deletion_failed(&mut self) {
        assert_eq!(self.deletion, Deletion::Recording);
        self.deletion = Deletion::None;
    }
}
