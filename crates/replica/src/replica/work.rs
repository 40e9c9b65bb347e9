//! What the library has ready, on its way into the log, and what of it waits there for room.

use std::collections::VecDeque;

use bytes::Bytes;
use raft::{ReadState, Ready};
use raft_proto::eraftpb::{Entry, Message};

use super::outstanding::Needs;
use crate::identity::NodeId;
use crate::log::Checkpoint;

/// What the library has ready, as far as it is not done.
pub(super) struct Work {
    pub(super) ready: Ready,
    pub(super) needs: Needs,
    pub(super) messages: Vec<Message>,
    /// The snapshot that takes the place of the log.
    pub(super) snapshot: Option<Checkpoint>,
    /// What is to be appended.
    pub(super) entries: VecDeque<Entry>,
    pub(super) committed: Vec<Entry>,
    pub(super) confirmed: Vec<ReadState>,
}

/// Work, and the bodies of its entries by index: those of one frame at most.
pub(super) struct HeldWork {
    pub(super) work: Work,
    pub(super) bodies: Vec<(u64, Bytes)>,
}

/// What waits for room.
#[derive(Default)]
pub(super) struct Held {
    pub(super) work: Option<Box<HeldWork>>,
    /// Behind the last entry of the table the log has batches that nobody proposed.
    pub(super) owes_cut: bool,
}

impl Held {
    /// Whether anything waits.
    pub(super) fn is_some(&self) -> bool {
        self.work.is_some() || self.owes_cut
    }

    /// Whether this snapshot is to be installed as soon as there is room.
    pub(super) fn needs_snapshot(&self, number: u64) -> bool {
        let snapshot = self.work.as_ref().and_then(|held| held.work.snapshot.as_ref());
        snapshot.is_some_and(|checkpoint| checkpoint.number == number)
    }

    pub(super) fn forget_messages_to(&mut self, peer: NodeId) {
        if let Some(held) = &mut self.work {
            held.work.messages.retain(|message| message.to != peer);
        }
    }
}
