//! What a replica holds beside the library's state, each with the few things that can be done to it.

use raft::StateRole;
use raft_proto::eraftpb::Message;

use crate::frame::Health;
use crate::log::Checkpoint;

/// How far the last change of members has settled.
///
/// That a change is committed is known from what was appended later. A member that crashes before anything was would go back to the
/// members before the change, and wait for some that are gone. So a leader appends an empty entry behind a change, and the change is
/// finished when that is committed.
#[derive(Debug, Default)]
pub(super) struct Settling {
    /// Index of the last change that was made since the start, or since a snapshot.
    pub(super) changed: u64,
    /// Of the last empty entry appended in this term: its index, and how far the log was known to be committed.
    pub(super) carrier: Option<(u64, u64)>,
}

impl Settling {
    /// A leader has appended an empty entry.
    pub(super) fn on_appended(&mut self, index: u64, known: u64) {
        self.carrier = Some((index, known));
    }

    pub(super) fn on_deposed(&mut self) {
        self.carrier = None;
    }

    /// The entry that carries the news of the last change, when one was appended.
    pub(super) fn carrier(&self) -> Option<u64> {
        let (index, known) = self.carrier?;
        (known >= self.changed).then_some(index)
    }
}

/// Who waits.
#[derive(Debug, Default)]
pub(super) struct Confirmations {
    pub(super) round: u64,
    /// Those whom the present round serves.
    pub(super) asked: Vec<u64>,
    /// Those who came after it began.
    pub(super) waiting: Vec<u64>,
}

impl Confirmations {
    /// Everybody who waits; it will not be known.
    pub(super) fn give_up(&mut self) -> Vec<u64> {
        let mut all = std::mem::take(&mut self.asked);
        all.append(&mut self.waiting);
        all
    }
}

/// The time-out in force, and what it was drawn for.
#[derive(Debug, Default)]
pub(super) struct Election {
    pub(super) timeout: usize,
    pub(super) drawn_for: (StateRole, u64),
    /// Ticks until a campaign, after the connection to the leader was reset.
    pub(super) campaign_in: Option<u64>,
}

/// What is known of a member from its connections.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// The session, while there is one.
    pub(super) session: Option<u64>,
    /// The largest session there was.
    pub(super) newest: u64,
    pub(super) health: Health,
    /// Tick at which anything was last heard of it.
    pub(super) heard: u64,
    /// Tick at which it was last heard to fetch a snapshot that it was told of.
    pub(super) fetches: Option<u64>,
}

/// A snapshot on its way to here.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) number: u64,
    /// What the leader said.
    pub(super) message: Message,
    /// It was fetched, and waits for room for more work.
    pub(super) is_here: bool,
    /// When tests leave out that it is installed at once: what is to be installed, and the library's number.
    pub(super) late: Option<(u64, Checkpoint)>,
}

impl Expected {
    pub(super) fn late(number: u64, checkpoint: Checkpoint) -> Self {
        Self {
            number: checkpoint.number,
            message: Message::default(),
            is_here: false,
            late: Some((number, checkpoint)),
        }
    }
}
