//! Queue groups (`streaming-protocol.md` §5.2, §5.6): who is in one, and who holds what.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};

use bytes::Bytes;
use slab::Slab;

use super::holders::Holders;
use super::keys::{ChannelKey, GroupKey, SubscriptionKey};
use super::members::{MemberPlace, Members, Standing};
use crate::position::cursor::Cursor;

/// A queue group. Whoever is in it is a member, its shadow, or departing.
#[derive(Debug)]
pub(crate) struct Group {
    number: u64,
    channel: ChannelKey,
    name: Bytes,
    members: Members,
    /// The record of a durable group without members.
    shadow: Option<SubscriptionKey>,
    /// Members that left and still hold messages.
    departing: BTreeSet<SubscriptionKey>,
    /// Who has something to pass on and found nobody that could take it.
    givers: BTreeSet<SubscriptionKey>,
    /// Every message that one of these holds.
    holders: Holders,
    /// Those, also departing ones, about which something is to be written down.
    dirty: Vec<SubscriptionKey>,
    /// An operator has paused it.
    halted: bool,
    /// Its position in the channel.
    pub(crate) cursor: Cursor,
}

impl Group {
    /// Unique in the process lifetime.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    #[inline]
    pub(crate) fn channel(&self) -> ChannelKey {
        self.channel
    }

    /// A durable group is called `<durable>:<group>`.
    pub(crate) fn name(&self) -> &Bytes {
        &self.name
    }

    #[inline]
    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    /// Adds a member at the end of the order. It takes nothing until its standing is set. The group has no shadow any more.
    pub(crate) fn join(&mut self, key: SubscriptionKey) -> MemberPlace {
        self.shadow = None;
        self.members.push(key)
    }

    /// A member leaves; whoever leaves gives nothing until it asks again.
    pub(crate) fn leave(&mut self, key: SubscriptionKey, place: Option<MemberPlace>) {
        self.givers.remove(&key);
        if let Some(place) = place {
            self.members.remove(place);
        }
    }

    /// What a member can take now.
    #[inline]
    pub(crate) fn set_standing(&mut self, place: MemberPlace, standing: Standing) {
        self.members.set(place, standing);
    }

    /// The member got a message: if it is the first of several it becomes the last.
    #[inline]
    pub(crate) fn rotate(&mut self, place: MemberPlace) {
        self.members.rotate(place);
    }

    /// Whether an operator has paused it.
    #[inline]
    pub(crate) fn is_halted(&self) -> bool {
        self.halted
    }

    /// An operator pauses it, or lets it go on.
    pub(crate) fn set_halted(&mut self, halted: bool) {
        self.halted = halted;
    }

    /// The record of a durable group without members.
    pub(crate) fn shadow(&self) -> Option<SubscriptionKey> {
        self.shadow
    }

    /// The last member of a durable group left: its record keeps the group's place.
    pub(crate) fn set_shadow(&mut self, key: SubscriptionKey) {
        assert!(self.members.is_empty(), "a group with members needs no shadow");
        self.shadow = Some(key);
    }

    /// Takes out the record of a durable group without members.
    pub(crate) fn take_shadow(&mut self) -> Option<SubscriptionKey> {
        self.shadow.take()
    }

    /// Members that left and still hold messages.
    pub(crate) fn departing(&self) -> impl ExactSizeIterator<Item = SubscriptionKey> + '_ {
        self.departing.iter().copied()
    }

    /// A member left and still holds messages.
    pub(crate) fn begin_departing(&mut self, key: SubscriptionKey) {
        self.departing.insert(key);
    }

    /// It holds none any more.
    pub(crate) fn end_departing(&mut self, key: SubscriptionKey) {
        self.departing.remove(&key);
    }

    /// Takes out one record that has no owner: of the departing ones first.
    pub(crate) fn pop_ownerless(&mut self) -> Option<SubscriptionKey> {
        self.departing.pop_first().or_else(|| self.shadow.take())
    }

    /// Who takes a message that `giver` has to pass on. When there is nobody the giver is remembered: whoever becomes able to
    /// take something brings it along.
    pub(crate) fn choose_for_again(&mut self, giver: SubscriptionKey) -> Option<SubscriptionKey> {
        let chosen = self.members.choose_for_again();
        if chosen.is_none() {
            self.givers.insert(giver);
        }
        chosen
    }

    /// It has something to be sent again, to itself or to others, once the group is paused no longer.
    pub(crate) fn wait_for_resumption(&mut self, key: SubscriptionKey) {
        self.givers.insert(key);
    }

    /// Takes out one of those that wait to pass something on.
    pub(crate) fn pop_giver(&mut self) -> Option<SubscriptionKey> {
        self.givers.pop_first()
    }

    /// A message is held by `key` from now on, and by nobody else.
    #[inline]
    pub(crate) fn note_holder(&mut self, sequence: u64, key: SubscriptionKey) {
        self.holders.set(sequence, key);
    }

    /// `key` holds a message no longer.
    #[inline]
    pub(crate) fn forget_holder(&mut self, sequence: u64, key: SubscriptionKey) {
        self.holders.clear(sequence, key);
    }

    /// Who holds a message.
    #[inline]
    pub(crate) fn holder(&self, sequence: u64) -> Option<SubscriptionKey> {
        self.holders.get(sequence)
    }

    /// The first message that one of them holds, and who does.
    pub(crate) fn first_held(&self) -> Option<(u64, SubscriptionKey)> {
        self.holders.first()
    }

    /// How many messages they hold.
    pub(crate) fn held(&self) -> usize {
        self.holders.len()
    }

    /// Nobody holds anything any more, and nobody has anything to pass on.
    pub(crate) fn forget_holders(&mut self) {
        self.holders = Holders::default();
        self.givers.clear();
    }

    /// Something is to be written down about one of its members; told once until it was written.
    #[inline]
    pub(crate) fn note_dirty(&mut self, key: SubscriptionKey) {
        self.dirty.push(key);
    }

    /// About how many of them something is to be written down.
    pub(crate) fn dirty(&self) -> usize {
        self.dirty.len()
    }

    /// Those about which something is to be written down; whoever takes the list gives it back.
    pub(crate) fn take_dirty(&mut self) -> Vec<SubscriptionKey> {
        std::mem::take(&mut self.dirty)
    }

    /// Takes the list back, for its room.
    pub(crate) fn give_back_dirty(&mut self, mut list: Vec<SubscriptionKey>) {
        list.clear();
        self.dirty = list;
    }
}

/// All queue groups. Which of them a channel has is written at the channel.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: Slab<Group>,
    /// How many there were so far.
    created: u64,
}

impl Groups {
    /// Adds a group without members.
    pub(crate) fn insert(&mut self, channel: ChannelKey, name: Bytes) -> GroupKey {
        self.created += 1;
        GroupKey(self.groups.insert(Group {
            number: self.created,
            channel,
            name,
            members: Members::default(),
            shadow: None,
            departing: BTreeSet::new(),
            givers: BTreeSet::new(),
            holders: Holders::default(),
            dirty: Vec::new(),
            halted: false,
            cursor: Cursor::behind(0),
        }))
    }

    /// Takes out a group in which nobody is left.
    pub(crate) fn remove(&mut self, key: GroupKey) -> Group {
        let group = self.groups.remove(key.0);
        assert!(group.members.is_empty() && group.shadow.is_none() && group.departing.is_empty());
        group
    }

    /// The number of the group at that place, if there is one.
    #[inline]
    pub(crate) fn number(&self, key: GroupKey) -> Option<u64> {
        self.groups.get(key.0).map(|group| group.number)
    }

    /// All of them.
    pub(crate) fn keys(&self) -> impl Iterator<Item = GroupKey> + '_ {
        self.groups.iter().map(|(key, _)| GroupKey(key))
    }
}

impl Index<GroupKey> for Groups {
    type Output = Group;

    #[inline]
    fn index(&self, key: GroupKey) -> &Group {
        &self.groups[key.0]
    }
}

impl IndexMut<GroupKey> for Groups {
    #[inline]
    fn index_mut(&mut self, key: GroupKey) -> &mut Group {
        &mut self.groups[key.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_tell_a_group_from_its_successor() {
        let mut groups = Groups::default();
        let first = groups.insert(ChannelKey(0), Bytes::from_static(b"group"));
        let number = groups.number(first);
        groups.remove(first);
        let second = groups.insert(ChannelKey(0), Bytes::from_static(b"group"));
        assert_eq!(first, second, "the place is used again");
        assert_ne!(groups.number(second), number);
    }
}
