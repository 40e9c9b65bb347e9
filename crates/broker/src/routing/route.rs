//! Who gets a message on one subject.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::subscription::{Handle, Subscription};

/// One subscription in an answer.
pub(crate) struct Target<H> {
    pub(crate) subscription: Arc<Subscription<H>>,
    /// It ends after a number of messages, so each delivery is counted at once. Setting a limit raises the
    /// generation, so that no answer keeps a stale value.
    pub(crate) limited: bool,
    /// Its owner gets the right to answer what it is delivered. A change raises the generation too.
    pub(crate) answers: bool,
    /// How many subscribers it stands for: more than one only behind another server.
    pub(crate) weight: u32,
}

impl<H: Handle> Target<H> {
    /// `None` when the owner may not see messages on `subject` (§3.3).
    pub(super) fn new(subscription: &Arc<Subscription<H>>, subject: &[u8]) -> Option<Self> {
        let shown = subscription.shown(subject);
        if subscription.owner.withholds(&shown, subscription.queue()) {
            return None;
        }
        Some(Self {
            subscription: Arc::clone(subscription),
            limited: subscription.counted().limit.load(Ordering::Acquire) != 0,
            answers: subscription.owner.answers(),
            weight: subscription.owner.remote().unwrap_or(1),
        })
    }
}

/// Every plain subscription, one of every other server's, and one member of every group gets it.
pub(crate) struct Route<H> {
    /// Of this server.
    pub(crate) plain: SmallVec<[Target<H>; 1]>,
    pub(crate) groups: Vec<Group<H>>,
    /// One for each other server that has plain subscribers, however many: a message crosses once.
    pub(crate) remote: Vec<Target<H>>,
    /// Whether somebody behind another server may get it.
    pub(crate) crosses: bool,
}

/// The members of a queue group; never none.
pub(crate) struct Group<H> {
    /// This server's own first.
    pub(crate) members: Vec<Target<H>>,
    /// How many are this server's own.
    pub(crate) locals: usize,
    /// How many subscribers all of them stand for.
    pub(crate) weight: u64,
}

impl<H> Default for Route<H> {
    fn default() -> Self {
        Self {
            plain: SmallVec::new(),
            groups: Vec::new(),
            remote: Vec::new(),
            crosses: false,
        }
    }
}

impl<H> Default for Group<H> {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            locals: 0,
            weight: 0,
        }
    }
}

impl<H> Route<H> {
    /// How many subscriptions it names.
    pub(super) fn targets(&self) -> usize {
        let grouped = self.groups.iter().map(|group| group.members.len());
        self.plain.len() + self.remote.len() + grouped.sum::<usize>()
    }
}

impl<H: Handle> Route<H> {
    /// Adds a subscription without a group.
    pub(super) fn add(&mut self, target: Target<H>) {
        if target.subscription.owner.remote().is_none() {
            self.plain.push(target);
            return;
        }
        self.crosses = true;
        let server = target.subscription.owner_id();
        if !self.remote.iter().any(|known| known.subscription.owner_id() == server) {
            self.remote.push(target);
        }
    }

    /// Adds a subscription to a group.
    pub(super) fn add_member(&mut self, group: usize, target: Target<H>) {
        let is_local = target.subscription.owner.remote().is_none();
        self.crosses |= !is_local;
        let group = &mut self.groups[group];
        group.weight += u64::from(target.weight);
        group.members.push(target);
        if is_local {
            let last = group.members.len() - 1;
            group.members.swap(group.locals, last);
            group.locals += 1;
        }
    }
}

impl<H: Handle> Group<H> {
    /// The name of the group.
    pub(crate) fn name(&self) -> &[u8] {
        self.members
            .first()
            .and_then(|member| member.subscription.queue())
            .unwrap_or_default()
    }

    /// This server's own members.
    pub(crate) fn local_members(&self) -> &[Target<H>] {
        &self.members[..self.locals]
    }

    /// Members behind other servers.
    pub(crate) fn remote_members(&self) -> &[Target<H>] {
        &self.members[self.locals..]
    }
}
