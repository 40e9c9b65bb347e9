//! The journal of a member of a cluster, opened again in its place: without entries that are taken back (docs/journal-format.md §14).

use super::Journal;
use crate::completion::Completion;
use crate::disk::Disk;
use crate::entry::{Durability, EntryError, EntryId};
use crate::error::OpenError;
use crate::job::Job;
use crate::options::Options;
use crate::recovery::{Opened, Replay};
use std::sync::Arc;

impl Journal {
    /// Takes back everything behind an entry, for good: what is appended up to it is written and synced first, what lies behind it counts
    /// no more, on the disk or not, and what was appended and is no entry yet is gone. For a follower whose leader has another entry there,
    /// and for one that led, with the last entry that was proposed. The journal is opened again for it: under a new epoch, with positions of
    /// its own; reads of messages, checkpoints and folds that are under way are gone, reads of entries are refused and votes are written, and
    /// `replay` is given the state (who does not lead needs none of it). Waits for the disk. `options` are those with which it was opened; no job may be out ([`Driver::halt`](crate::Driver::halt)).
    ///
    /// # Errors
    /// See [`OpenError`]. Is it [`OpenError::Cut`], nothing was changed and the journal goes on. Otherwise it takes nothing more; the next
    /// opening finds the entries cut off, or can do it ([`Options::cut_after`](crate::Options::cut_after)).
    pub fn cut_behind(
        &mut self,
        disk: &Arc<dyn Disk>,
        options: Options,
        last: EntryId,
        replay: &mut dyn Replay,
    ) -> Result<Opened, OpenError> {
        let EntryId { term, index } = last;
        let refused = |reason: String| OpenError::Cut { term, index, reason };
        let known = if last == self.purged() { Some(0) } else { None };
        let position = self
            .entry(index)
            .filter(|meta| meta.id == last)
            .map(|meta| meta.position);
        let position = known
            .or(position)
            .ok_or_else(|| refused("it is not there".to_owned()))?;
        if index < self.committed() {
            return Err(refused(format!("entry {} is committed", self.committed())));
        }
        self.closing = true;
        let written = self.write_up_to(disk.as_ref(), position);
        if let Err(reason) = written {
            self.closing = false;
            return Err(refused(reason));
        }
        // Whoever reads its files is told before one of them changes.
        self.holds.clear();
        self.kept = None;
        self.archiving = None;
        self.poison("it is being opened again".to_owned());
        self.release_claim();
        let options = Options {
            durability: Durability::Quorum,
            cut_after: Some(last),
            claim: None,
            ..options
        };
        let (journal, opened) = Journal::open(disk, options, replay)?;
        let before = std::mem::replace(self, journal);
        self.take_over(before);
        Ok(opened)
    }

    /// Answers whoever waits for an answer of the journal that this one takes the place of. What that said of positions is true no more.
    fn take_over(&mut self, mut before: Journal) {
        while let Some((ticket, index)) = before.reads.pop_entry() {
            let reason = "the journal was opened again".to_owned();
            let damaged = false;
            let error = EntryError::Unreadable { index, damaged, reason };
            before.completions.push(Completion::Entry((ticket, Err(error))));
        }
        let stays = |completion: &Completion| {
            matches!(
                completion,
                Completion::VoteWritten(_) | Completion::Entry(_) | Completion::Warning(_)
            )
        };
        self.completions.extend(before.completions.into_iter().filter(stays));
    }

    /// Runs commits until everything up to a position is synced, and writes what is to be voted.
    fn write_up_to(&mut self, disk: &dyn Disk, position: u64) -> Result<(), String> {
        loop {
            if let Some(reason) = &self.poisoned {
                return Err(format!("what is before it cannot be written: {reason}"));
            }
            let job = match self.synced() < position {
                true => self.next_job(),
                false => match (self.next_vote(), self.claim.clone()) {
                    (Some(kind), Some(claim)) => Some(Job { kind, claim }),
                    _ => return Ok(()),
                },
            };
            let Some(job) = job else {
                let refusal = self.refusal().map(|refusal| refusal.to_string());
                let reason = refusal.unwrap_or_else(|| "a job is out".to_owned());
                return Err(format!("what is before it cannot be written: {reason}"));
            };
            let outcome = job.run(disk);
            self.completed(outcome);
        }
    }
}
