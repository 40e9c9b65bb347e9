//! Taking over: from a term that has begun to a store, and the state that its engine begins with.

use std::sync::Arc;

use seaway_journal::{FoldError, FoldFor, OpenError};
use seaway_store::journaled::Replaying;
use seaway_store::{Completion, Progress, Recovery};
use seaway_streaming::Position;

use crate::shared::SharedMember;
use crate::store::ReplicatedStore;

/// Why no store is opened for a term.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotServing {
    /// The term has not begun or is over, or its store was opened already.
    #[error("this member does not serve in term {0}, or its store was opened before")]
    Term(u64),
    /// The state cannot be read at this moment.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The state cannot be read.
    #[error(transparent)]
    Read(#[from] OpenError),
    /// It is being closed.
    #[error("the store is being closed")]
    Closed,
}

impl SharedMember {
    /// Opens the store of a term in which this member serves ([`Role::Serving`](seaway_replica::Role::Serving)), once, and gives `recovery`
    /// the whole state: everything that was acknowledged by whoever led before is in it. Reads from the disk as a start does, while the
    /// member goes on: to be called on a thread that may wait. `waker` is called from other threads when
    /// [`poll`](seaway_store::Store::poll) has something to say.
    ///
    /// # Errors
    /// See [`NotServing`]; `recovery` was given something by then, and is good for nothing.
    pub fn open_store(
        &self,
        term: u64,
        recovery: &mut dyn Recovery,
        progress: Arc<Progress>,
        waker: impl Fn() + Send + Sync + 'static,
    ) -> Result<ReplicatedStore, NotServing> {
        let (job, disk) = self.look(|member| {
            let serves = member.hands.serving == Some(term);
            let opens = member
                .term
                .as_ref()
                .is_some_and(|present| !present.is_open && present.number == term);
            if !serves || !opens {
                return Err(NotServing::Term(term));
            }
            let upto = member.log.durable_entry().unwrap_or_default();
            let job = member.log.journal_mut().fold(upto, FoldFor::Serving)?;
            let disk = member.log.disk().ok_or(NotServing::Closed)?;
            Ok((job, disk))
        })?;
        job.run(disk.as_ref(), &mut Replaying { recovery, progress })?;
        self.with(|member| {
            let wants_checkpoint = member.checkpoints.is_wanted;
            let position = Position(member.log.journal().appended());
            let durable = Position(member.log.journal().durable());
            let serves = member.hands.serving == Some(term);
            let present = member.term.as_mut().filter(|present| serves && present.number == term);
            let present = present
                .filter(|present| !present.is_open)
                .ok_or(NotServing::Term(term))?;
            present.is_open = true;
            present.waker = Some(Arc::new(waker));
            if wants_checkpoint {
                member.checkpoints.is_wanted = false;
                present.completions.push(Completion::CheckpointNeeded);
            }
            Ok(ReplicatedStore::new(self.clone(), term, position, durable))
        })
    }
}
