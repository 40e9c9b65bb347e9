//! The subscriptions of one subject or pattern, and the answer that is built from them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::subscription::{Handle, Subscription};

/// Subscriptions to one subject. Most subjects have one (every inbox is one), which lies in the list itself.
type Members<H> = SmallVec<[Arc<Subscription<H>>; 1]>;

/// The members of one queue group, with its name.
type Group<H> = (Box<[u8]>, Members<H>);

/// Subscriptions with the same subject text.
pub(crate) struct Leaf<H> {
    plain: Members<H>,
    groups: Vec<Group<H>>,
}

impl<H> Default for Leaf<H> {
    fn default() -> Self {
        Self {
            plain: Members::new(),
            groups: Vec::new(),
        }
    }
}

fn position(index: usize) -> u32 {
    u32::try_from(index).expect("memory ends before 2^32 subscriptions to one subject")
}

fn push<H>(members: &mut Members<H>, subscription: &Arc<Subscription<H>>) {
    subscription.position.store(position(members.len()), Ordering::Relaxed);
    members.push(Arc::clone(subscription));
}

fn take<H>(members: &mut Members<H>, subscription: &Arc<Subscription<H>>) {
    let index = subscription.position.load(Ordering::Relaxed) as usize;
    if !members
        .get(index)
        .is_some_and(|member| Arc::ptr_eq(member, subscription))
    {
        return;
    }
    members.swap_remove(index);
    if let Some(moved) = members.get(index) {
        moved.position.store(position(index), Ordering::Relaxed);
    }
    if members.capacity() > 64 && members.len() * 4 < members.capacity() {
        members.shrink_to_fit();
    }
}

impl<H: Handle> Leaf<H> {
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_empty()
    }

    /// One of those that are here.
    pub(super) fn any(&self) -> Option<&Arc<Subscription<H>>> {
        let grouped = || self.groups.iter().find_map(|(_, members)| members.first());
        self.plain.first().or_else(grouped)
    }

    /// Returns whether it is the first one here.
    pub(super) fn insert(&mut self, subscription: &Arc<Subscription<H>>) -> bool {
        let first = self.is_empty();
        match subscription.queue() {
            None => push(&mut self.plain, subscription),
            Some(queue) => match self.groups.iter_mut().find(|(name, _)| &**name == queue) {
                Some((_, members)) => push(members, subscription),
                None => {
                    let mut members = Members::new();
                    push(&mut members, subscription);
                    self.groups.push((queue.into(), members));
                }
            },
        }
        first
    }

    /// Returns whether it was the last one here.
    pub(super) fn remove(&mut self, subscription: &Arc<Subscription<H>>) -> bool {
        match subscription.queue() {
            None => take(&mut self.plain, subscription),
            Some(queue) => {
                if let Some(index) = self.groups.iter().position(|(name, _)| &**name == queue) {
                    take(&mut self.groups[index].1, subscription);
                    if self.groups[index].1.is_empty() {
                        self.groups.swap_remove(index);
                    }
                }
            }
        }
        self.is_empty()
    }
}

/// One subscription in an answer.
pub(crate) struct Target<H> {
    pub(crate) subscription: Arc<Subscription<H>>,
    /// It ends after a number of messages, so each delivery is counted at once. Setting a limit raises the
    /// generation, so that no answer keeps a stale value.
    pub(crate) limited: bool,
    /// Its owner gets the right to answer what it is delivered. A change raises the generation too.
    pub(crate) answers: bool,
}

impl<H: Handle> Target<H> {
    /// `None` when the owner may not see messages on `subject` (§3.3).
    fn new(subscription: &Arc<Subscription<H>>, subject: &[u8]) -> Option<Self> {
        if subscription.owner.withholds(subject, subscription.queue()) {
            return None;
        }
        Some(Self {
            subscription: Arc::clone(subscription),
            limited: subscription.limit.load(Ordering::Acquire) != 0,
            answers: subscription.owner.answers(),
        })
    }
}

/// Who gets a message on one subject: every plain subscription and one member of every group.
pub(crate) struct Route<H> {
    pub(crate) plain: SmallVec<[Target<H>; 1]>,
    pub(crate) groups: Vec<Vec<Target<H>>>,
    /// Nodes and subscriptions looked at to find it.
    pub(crate) steps: u64,
}

impl<H> Default for Route<H> {
    fn default() -> Self {
        Self {
            plain: SmallVec::new(),
            groups: Vec::new(),
            steps: 0,
        }
    }
}

impl<H> Route<H> {
    /// How many receivers it names.
    pub(super) fn targets(&self) -> usize {
        self.plain.len() + self.groups.iter().map(Vec::len).sum::<usize>()
    }
}

/// Collects leaves; groups of the same name become one group (§2.2).
pub(super) struct RouteBuilder<'a, H> {
    subject: &'a [u8],
    route: Route<H>,
    names: HashMap<Box<[u8]>, usize>,
}

impl<'a, H: Handle> RouteBuilder<'a, H> {
    /// For the answer about `subject`.
    pub(super) fn new(subject: &'a [u8]) -> Self {
        Self {
            subject,
            route: Route::default(),
            names: HashMap::default(),
        }
    }

    pub(super) fn add(&mut self, leaf: &Leaf<H>) {
        let subject = self.subject;
        let target = |subscription| Target::new(subscription, subject);
        self.route.steps += leaf.plain.len() as u64;
        self.route.plain.extend(leaf.plain.iter().filter_map(target));
        for (name, members) in &leaf.groups {
            self.route.steps += 1 + members.len() as u64;
            let groups = &mut self.route.groups;
            let index = match self.names.get(name) {
                Some(index) => *index,
                None => {
                    groups.push(Vec::with_capacity(members.len()));
                    self.names.insert(name.clone(), groups.len() - 1);
                    groups.len() - 1
                }
            };
            groups[index].extend(members.iter().filter_map(target));
        }
    }

    /// Counts a node of the table that was looked at.
    pub(super) fn visit(&mut self) {
        self.route.steps += 1;
    }

    pub(super) fn finish(self) -> Route<H> {
        self.route
    }
}
