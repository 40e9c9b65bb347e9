//! The subscriptions of one subject or pattern.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::members::Members;
use super::subscription::{Handle, Subscription};

/// Subscriptions with the same subject text.
pub(crate) struct Leaf<H> {
    pub(super) plain: Members<H>,
    /// Most subjects have none.
    groups: Option<Box<Groups<H>>>,
}

/// The members of one queue group, with its name.
type Group<H> = (Arc<[u8]>, Members<H>);

/// Queue groups in a list that a search can go through from its end while it changes: the last one takes the place of one that
/// goes, so what has not been looked at stays in front.
struct Groups<H> {
    list: Vec<Group<H>>,
    places: HashMap<Arc<[u8]>, usize, RandomState>,
}

impl<H> Default for Leaf<H> {
    fn default() -> Self {
        Self {
            plain: Members::default(),
            groups: None,
        }
    }
}

impl<H> Default for Groups<H> {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            places: HashMap::default(),
        }
    }
}

impl<H> Groups<H> {
    fn insert(&mut self, name: &[u8], subscription: &Arc<Subscription<H>>) {
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => {
                let name: Arc<[u8]> = name.into();
                self.list.push((Arc::clone(&name), Members::default()));
                self.places.insert(name, self.list.len() - 1);
                self.list.len() - 1
            }
        };
        self.list[place].1.push(subscription);
    }

    fn remove(&mut self, name: &[u8], subscription: &Arc<Subscription<H>>) {
        let Some(&place) = self.places.get(name) else { return };
        self.list[place].1.take(subscription);
        if !self.list[place].1.is_empty() {
            return;
        }
        self.places.remove(name);
        self.list.swap_remove(place);
        if let Some((moved, _)) = self.list.get(place)
            && let Some(known) = self.places.get_mut(moved)
        {
            *known = place;
        }
        if self.list.capacity() > 64 && self.list.len() * 4 < self.list.capacity() {
            self.list.shrink_to_fit();
            self.places.shrink_to_fit();
        }
    }
}

impl<H: Handle> Leaf<H> {
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_none()
    }

    /// One of those that are here.
    pub(super) fn any(&self) -> Option<&Arc<Subscription<H>>> {
        let grouped = || {
            self.groups
                .as_ref()?
                .list
                .iter()
                .find_map(|(_, members)| members.first())
        };
        self.plain.first().or_else(grouped)
    }

    pub(super) fn groups(&self) -> &[Group<H>] {
        self.groups.as_ref().map_or(&[], |groups| &groups.list)
    }

    /// Returns whether it is the first one here.
    pub(super) fn insert(&mut self, subscription: &Arc<Subscription<H>>) -> bool {
        let first = self.is_empty();
        match subscription.queue() {
            None => self.plain.push(subscription),
            Some(queue) => self.groups.get_or_insert_default().insert(queue, subscription),
        }
        first
    }

    /// Returns whether it was the last one here.
    pub(super) fn remove(&mut self, subscription: &Arc<Subscription<H>>) -> bool {
        match (subscription.queue(), &mut self.groups) {
            (None, _) => self.plain.take(subscription),
            (Some(queue), Some(groups)) => {
                groups.remove(queue, subscription);
                if groups.list.is_empty() {
                    self.groups = None;
                }
            }
            (Some(_), None) => {}
        }
        self.is_empty()
    }
}
