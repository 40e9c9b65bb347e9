//! The words between a replica and whoever drives it: everything that can happen to it, and everything it has done.

use crate::frame::{Class, Frame, FrameError, Outgoing};
use crate::identity::NodeId;
use crate::log::{Checkpoint, EntryId, Refusal};
use crate::membership::Configuration;

pub use seaway_journal::Vote;

/// What can happen to a replica.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is not kept")]
pub enum Input<'a> {
    /// `limits::TICK_MS` have passed on the monotonic clock. At most one for each pass of the driver, and behind the messages that came
    /// before: a process that stood still must not count the time in which it could hear nobody.
    Tick,
    /// A frame has come over the connections to a member.
    Peer {
        /// From whom.
        from: NodeId,
        /// In which session of these connections.
        session: u64,
        /// What it says.
        frame: Frame<'a>,
    },
    /// The connections to a member are there, in a session with a larger number than any before.
    Connected(NodeId, u64),
    /// One of the connections of this session was lost; the others are closed.
    Lost(NodeId, u64),
    /// `Log::synced` has grown.
    Synced,
    /// The vote with this ticket, and all before it, are on the disk.
    VoteWritten(u64),
    /// The snapshot with this number is here, whole, checked and synced, and can be installed.
    Staged(u64),
    /// The snapshot with this number will not come.
    NotStaged(u64),
    /// A member has fetched another piece of the snapshot that it was told of.
    Fetched(NodeId),
    /// A member will not fetch the rest of it.
    FetchFailed(NodeId),
    /// The journal may have closed batches.
    Closed,
    /// Give the leadership to a member, or to the one that lacks least.
    HandOver(Option<NodeId>),
    /// Leave for good, after a hand-over when it leads: the process ends, or its disk is broken.
    Leave,
}

/// What a member is to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It appends what a leader sends; nobody leads that it knows of when there is no leader here.
    Follower {
        /// Who leads.
        leader: Option<NodeId>,
    },
    /// It was elected and may append, but does not know yet what is committed.
    Leading {
        /// In which term.
        term: u64,
    },
    /// An entry of its own term is committed and with it everything before: it has the whole state, and may serve.
    Serving {
        /// In which term.
        term: u64,
    },
}

impl Role {
    /// Whether it is elected.
    pub fn leads(self) -> bool {
        self.term().is_some()
    }

    /// In which term it is elected.
    pub fn term(self) -> Option<u64> {
        match self {
            Self::Follower { .. } => None,
            Self::Leading { term } | Self::Serving { term } => Some(term),
        }
    }
}

/// Why a replica takes no part any more. It neither ticks nor votes; nothing but a new start helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// A leader has another entry where one is committed here.
    #[error(
        "member {leader:016x} leads with entry {theirs:?} where entry {ours:?} is committed here: most members have lost their data. \
         Nothing was taken away; compare the members before one of them is started again"
    )]
    Conflict {
        /// Who leads.
        leader: NodeId,
        /// What is here.
        ours: EntryId,
        /// What is there.
        theirs: EntryId,
    },
    /// A leader knows entries of this member that it has not.
    #[error(
        "member {leader:016x} knows of {known} entries here, but the log ends at {last}: this disk has gone back. Empty the directory and \
         start again, as a new member"
    )]
    GoneBack {
        /// Who leads.
        leader: NodeId,
        /// What it knows.
        known: u64,
        /// Where the log ends.
        last: u64,
    },
    /// The log takes nothing more.
    #[error("the log takes nothing more: {0}")]
    Log(#[from] Refusal),
    /// The cluster goes on without it.
    #[error("this member was taken out of the cluster")]
    Removed,
    /// It was asked to.
    #[error("this member has left, as it was asked to")]
    Left,
}

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsent;

/// How a request for a confirmation of leadership ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// It led when it was asked: nobody can have changed what it knows.
    Led,
    /// That is not known any more.
    Deposed,
}

/// Everything that a replica has done. Calls come in the order in which they must take effect; none may call the replica.
pub trait Outside {
    /// Sends a message in the present session, or not at all: nothing is queued beyond what a connection takes.
    ///
    /// # Errors
    ///
    /// There is no connection, or it is full.
    fn send(&mut self, to: NodeId, class: Class, message: Outgoing) -> Result<(), Unsent>;

    /// Writes a vote and syncs it; `Input::VoteWritten` says when. Later ones after earlier ones.
    fn write_vote(&mut self, ticket: u64, vote: Vote);

    /// The role has changed. With the end of `Serving` everything that was to leave in its term is refused from this call on.
    fn role(&mut self, role: Role);

    /// From this entry on these are the members; `about` is what came with the change. When it is empty, nothing new was said, and what
    /// was known before holds: so at the end of a joint configuration, and behind a snapshot, whose checkpoint has its own description.
    fn members(&mut self, index: u64, configuration: &Configuration, about: &[u8]);

    /// Fetch this snapshot from a member, or go on fetching it: `Input::Staged` or `NotStaged` is the answer.
    fn fetch(&mut self, from: NodeId, snapshot: &Checkpoint);

    /// A snapshot that was fetched, or is being fetched, is not needed.
    fn forget(&mut self, snapshot: u64);

    /// A member needs a checkpoint that is newer than the newest.
    fn checkpoint_needed(&mut self, member: NodeId);

    /// How `Replica::confirm` ended.
    fn confirmed(&mut self, ticket: u64, confirmation: Confirmation);

    /// A member sends what no member sends: its connections are to be closed.
    fn refuse(&mut self, member: NodeId, error: FrameError);

    /// It is over.
    fn stopped(&mut self, stop: &Stop);
}
