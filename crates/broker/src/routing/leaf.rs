//! The subscriptions of one subject or pattern, and the answer that is built from them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use crate::subscription::{Owner, Subscription};

/// Subscriptions to one subject. Most subjects have one (every inbox is one), which lies in the list itself.
type Members = SmallVec<[Arc<Subscription>; 1]>;

/// The members of one queue group, with its name.
type Group = (Box<[u8]>, Members);

/// Subscriptions with the same subject text.
#[derive(Default)]
pub(crate) struct Leaf {
    plain: Members,
    groups: Vec<Group>,
}

fn position(index: usize) -> u32 {
    u32::try_from(index).expect("memory ends before 2^32 subscriptions to one subject")
}

fn push(members: &mut Members, subscription: &Arc<Subscription>) {
    subscription.position.store(position(members.len()), Ordering::Relaxed);
    members.push(Arc::clone(subscription));
}

fn take(members: &mut Members, subscription: &Arc<Subscription>) {
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

impl Leaf {
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_empty()
    }

    /// One of those that are here.
    pub(super) fn any(&self) -> Option<&Arc<Subscription>> {
        let grouped = || self.groups.iter().find_map(|(_, members)| members.first());
        self.plain.first().or_else(grouped)
    }

    /// Returns whether it is the first one here.
    pub(super) fn insert(&mut self, subscription: &Arc<Subscription>) -> bool {
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
    pub(super) fn remove(&mut self, subscription: &Arc<Subscription>) -> bool {
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
pub(crate) struct Target {
    pub(crate) subscription: Arc<Subscription>,
    /// It ends after a number of messages, so each delivery is counted at once. Setting a limit raises the
    /// generation, so that no answer keeps a stale value.
    pub(crate) limited: bool,
    /// Its owner gets the right to answer what it is delivered. A change raises the generation too.
    pub(crate) answers: bool,
}

impl Target {
    /// `None` when the owner may not see messages on `subject` (§3.3).
    fn new(subscription: &Arc<Subscription>, subject: &[u8]) -> Option<Self> {
        let answers = match &subscription.owner {
            Owner::Connection(connection) => {
                if connection.admission.withholds(subject, subscription.queue()) {
                    return None;
                }
                connection.admission.answers()
            }
            Owner::Attachment { .. } => false,
        };
        Some(Self {
            subscription: Arc::clone(subscription),
            limited: subscription.limit.load(Ordering::Acquire) != 0,
            answers,
        })
    }
}

/// Who gets a message on one subject: every plain subscription and one member of every group.
#[derive(Default)]
pub(crate) struct Route {
    pub(crate) plain: SmallVec<[Target; 1]>,
    pub(crate) groups: Vec<Vec<Target>>,
}

impl Route {
    /// How many receivers it names.
    pub(super) fn targets(&self) -> usize {
        self.plain.len() + self.groups.iter().map(Vec::len).sum::<usize>()
    }
}

/// Collects leaves; groups of the same name become one group (§2.2).
pub(super) struct RouteBuilder<'a> {
    subject: &'a [u8],
    route: Route,
    names: HashMap<Box<[u8]>, usize>,
}

impl<'a> RouteBuilder<'a> {
    /// For the answer about `subject`.
    pub(super) fn new(subject: &'a [u8]) -> Self {
        Self {
            subject,
            route: Route::default(),
            names: HashMap::default(),
        }
    }

    pub(super) fn add(&mut self, leaf: &Leaf) {
        let subject = self.subject;
        let target = |subscription| Target::new(subscription, subject);
        self.route.plain.extend(leaf.plain.iter().filter_map(target));
        for (name, members) in &leaf.groups {
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

    pub(super) fn finish(self) -> Route {
        self.route
    }
}
