//! Finds who gets a message, in slices: the table may change between them. A subscription that was there all the time is found
//! once; one that came or went meanwhile may be found.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::leaf::Leaf;
use super::members::{Members, Piece};
use super::route::{Group, Route, Target};
use super::subscription::{Handle, Subscription};

/// For each token of a subject whether a pattern has a `*` there. Patterns are looked at in this order, those that end with `>`
/// before what they are the front of.
pub(super) type Path = SmallVec<[bool; 16]>;

/// Where a search has come to in one part of the table.
#[derive(Default)]
pub(super) struct Place {
    /// Everything before this one has been looked at.
    pub(super) path: Path,
    /// Groups of this one that have not.
    pub(super) groups_left: usize,
}

/// See the module.
pub(crate) struct Search<H> {
    route: Route<H>,
    /// Groups of the same name become one group (§2.2).
    names: HashMap<Arc<[u8]>, usize, RandomState>,
    /// Parts of long lists, of a group or not, that have not been looked at.
    pieces: Vec<(Option<usize>, Piece<H>)>,
    /// How many parts of the table have been looked at.
    pub(super) stage: usize,
    /// Where to go on in the next one; `None` is its beginning.
    pub(super) place: Option<Place>,
    /// Nodes and subscriptions looked at so far.
    steps: u64,
    /// When the slice ends.
    until: u64,
}

impl<H> Default for Search<H> {
    fn default() -> Self {
        Self {
            route: Route::default(),
            names: HashMap::default(),
            pieces: Vec::new(),
            stage: 0,
            place: None,
            steps: 0,
            until: 0,
        }
    }
}

impl<H: Handle> Search<H> {
    /// Nodes and subscriptions looked at so far.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn begin_slice(&mut self, steps: u64) {
        self.until = self.steps.saturating_add(steps);
    }

    /// Whether the slice is to end.
    pub(super) fn is_due(&self) -> bool {
        self.steps >= self.until
    }

    /// Counts a node of the table that is looked at. One that is on the way back to the search's place makes the slice longer, so
    /// that every slice gets on.
    pub(super) fn visit(&mut self, on_the_way: bool) {
        self.steps += 1;
        self.until = self.until.saturating_add(u64::from(on_the_way));
    }

    /// Adds what is in a leaf, or with `groups_left` so many of its groups only. Returns how many groups are left for the next slice.
    pub(super) fn add(&mut self, leaf: &Leaf<H>, subject: &[u8], groups_left: Option<usize>) -> usize {
        let groups = leaf.groups();
        let mut left = groups.len().min(groups_left.unwrap_or(usize::MAX));
        if groups_left.is_none() {
            self.add_members(None, &leaf.plain, subject);
        }
        while left > 0 && !self.is_due() {
            left -= 1;
            let (name, members) = &groups[left];
            let index = self.group(name);
            self.steps += 1;
            self.add_members(Some(index), members, subject);
        }
        left
    }

    fn group(&mut self, name: &Arc<[u8]>) -> usize {
        if let Some(index) = self.names.get(name) {
            return *index;
        }
        self.route.groups.push(Group::default());
        self.names.insert(Arc::clone(name), self.route.groups.len() - 1);
        self.route.groups.len() - 1
    }

    fn add_members(&mut self, group: Option<usize>, members: &Members<H>, subject: &[u8]) {
        match members {
            Members::Few(few) => self.add_all(group, few, subject),
            Members::Many(pieces) => {
                self.steps += pieces.len() as u64;
                let pieces = pieces.iter().map(|piece| (group, Arc::clone(piece)));
                self.pieces.extend(pieces);
            }
        }
    }

    fn add_all(&mut self, group: Option<usize>, members: &[Arc<Subscription<H>>], subject: &[u8]) {
        self.steps += members.len() as u64;
        let targets = members.iter().filter_map(|member| Target::new(member, subject));
        match group {
            None => targets.for_each(|target| self.route.add(target)),
            Some(index) => targets.for_each(|target| self.route.add_member(index, target)),
        }
    }

    /// Looks at a part of a long list. Returns false when none is left.
    pub(super) fn expand(&mut self, subject: &[u8]) -> bool {
        let Some((group, piece)) = self.pieces.pop() else {
            return false;
        };
        self.add_all(group, &piece, subject);
        true
    }

    /// The answer, once everything has been looked at.
    pub(crate) fn finish(self) -> Route<H> {
        self.route
    }
}
