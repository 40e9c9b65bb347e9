//! The judge: knows what was announced, and what may never happen. Invariants after the consensus design §6.2.

use std::collections::BTreeMap;

use seaway_replica::{Configuration, EntryId, NodeId, Role};

use crate::disk::Disk;
use crate::mix;

#[derive(Debug, Default)]
pub(crate) struct Judge {
    /// What was announced as committed, by index: term, and what it says.
    committed: BTreeMap<u64, (u64, u64)>,
    /// All entries up to each, as a number.
    digests: BTreeMap<u64, u64>,
    /// Who was elected in a term.
    elected: BTreeMap<u64, NodeId>,
    /// The largest term in which somebody served.
    serving: u64,
    configurations: BTreeMap<u64, Configuration>,
    /// For whom each member has voted, by member and term, as it said to others.
    votes: BTreeMap<(NodeId, u64), NodeId>,
}

/// Kinds of messages on the wire.
const VOTE_REQUEST: u8 = 5;
const VOTE: u8 = 6;
const REJECTED: u8 = 1;

impl Judge {
    pub(crate) fn new(founders: Configuration) -> Self {
        Self {
            digests: BTreeMap::from([(1, 0)]),
            configurations: BTreeMap::from([(1, founders)]),
            ..Self::default()
        }
    }

    /// One leader in each term.
    pub(crate) fn on_role(&mut self, id: NodeId, role: Role) -> Result<(), String> {
        let Some(term) = role.term() else { return Ok(()) };
        let first = *self.elected.entry(term).or_insert(id);
        if first != id {
            return Err(format!("{first:x} and {id:x} were both elected in term {term}"));
        }
        if let Role::Serving { term } = role {
            self.serving = self.serving.max(term);
        }
        Ok(())
    }

    pub(crate) fn largest_serving(&self) -> u64 {
        self.serving
    }

    pub(crate) fn on_members(&mut self, index: u64, configuration: &Configuration) -> Result<(), String> {
        let first = self
            .configurations
            .entry(index)
            .or_insert_with(|| configuration.clone());
        if first != configuration {
            return Err(format!(
                "at entry {index} the members are {first:?} and {configuration:?}"
            ));
        }
        Ok(())
    }

    /// A member says something to another: it votes once in a term, and a candidate votes for itself.
    pub(crate) fn on_said(&mut self, from: NodeId, to: NodeId, bytes: &[u8]) -> Result<(), String> {
        let candidate = match (bytes[1], bytes[2] & REJECTED) {
            (VOTE_REQUEST, _) => from,
            (VOTE, 0) => to,
            _ => return Ok(()),
        };
        let term = u64::from_le_bytes(*bytes[16..].first_chunk().expect("a whole head"));
        let first = *self.votes.entry((from, term)).or_insert(candidate);
        if first != candidate {
            return Err(format!(
                "{from:x} voted for {first:x} and for {candidate:x} in term {term}"
            ));
        }
        Ok(())
    }

    /// A member announces an entry: it is the one that everybody announces there, and a quorum has it on synced disks, now as when it was
    /// announced first.
    pub(crate) fn on_committed<'a>(
        &mut self,
        id: EntryId,
        says: u64,
        disk: impl Fn(NodeId) -> Option<&'a Disk>,
    ) -> Result<(), String> {
        let first = self.committed.get(&id.index);
        if first.is_some_and(|first| *first != (id.term, says)) {
            return Err(format!(
                "entry {} was committed as {first:?} and as {:?}",
                id.index,
                (id.term, says)
            ));
        }
        let before = self.configurations.range(..id.index).rev().take(2);
        let has_it = |node: NodeId| {
            disk(node).is_some_and(|disk| {
                disk.has_synced(id)
                    || disk
                        .covers(id.index)
                        .is_some_and(|(base, digest)| first.is_some() && self.digests.get(&base) == Some(&digest))
            })
        };
        if !before
            .map(|(_, members)| members)
            .any(|members| members.has_quorum(has_it))
        {
            return Err(format!("{id:?} was announced and is not on a quorum of synced disks"));
        }
        if first.is_some() {
            return Ok(());
        }
        let Some(digest) = self.digests.get(&(id.index - 1)) else {
            return Err(format!("{id:?} was announced before the entry before it"));
        };
        self.digests.insert(id.index, mix(*digest, says));
        self.committed.insert(id.index, (id.term, says));
        Ok(())
    }

    /// Whatever stands for a prefix of the log stands for the one that was announced.
    pub(crate) fn check_digest(&self, index: u64, digest: u64) -> Result<(), String> {
        match self.digests.get(&index) {
            Some(known) if *known == digest => Ok(()),
            known => Err(format!(
                "up to entry {index} a member has {digest:x}, announced was {known:x?}"
            )),
        }
    }

    pub(crate) fn last(&self) -> u64 {
        self.committed.last_key_value().map_or(1, |(index, _)| *index)
    }
}
