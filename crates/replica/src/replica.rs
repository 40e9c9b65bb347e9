//! The replica: what it holds, and which part decides what.

mod changes;
mod confirmations;
mod disk;
mod election;
mod held;
mod looking;
mod outstanding;
mod parts;
mod peers;
mod proposals;
mod ready;
mod snapshots;
mod status;
mod work;

use std::collections::BTreeMap;

use bytes::Bytes;
use raft::{Config, RawNode, StateRole};
use raft_proto::eraftpb::HardState;

use crate::frame::Body;
use crate::identity::{Identity, NodeId};
use crate::limits;
use crate::log::{EntryId, Log};
use crate::membership::Configuration;
use crate::outside::{Input, Outside, Role, Stop, Vote};
use crate::random::Random;
use crate::table::LogView;

use outstanding::Outstanding;
use parts::{Confirmations, Election, Expected, Peer, Settling};
use work::Held;

pub use confirmations::NotConfirmed;
pub use status::{MemberStatus, Status};

/// With what a replica starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who it is: this incarnation of its disk.
    pub id: NodeId,
    /// The identity with which the cluster was founded (`Identity::founding`). It never changes: what is drawn later, to tell clusters apart
    /// that were founded alike, is said in an entry (`MemberChange::Describe`) and looked at where connections begin.
    pub identity: Identity,
    /// The vote that was written last.
    pub vote: Vote,
    /// The bodies of all entries of kind `Change` behind the log's checkpoint, by index.
    pub changes: BTreeMap<u64, Bytes>,
    /// What its election time-outs are drawn from; another one at each start.
    pub seed: u64,
    /// Ticks without a sign of life after which a follower is taken to have given up a snapshot: `limits::SNAPSHOT_SILENCE_TICKS`.
    pub snapshot_silence_ticks: u64,
}

/// Why a replica does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotStarted {
    /// The log lost entries that it knows to be committed.
    #[error(
        "the log ends at entry {last} and knows that {committed} are committed: this disk has gone back. Empty the directory and start \
         again, as a new member"
    )]
    GoneBack {
        /// Where it ends.
        last: u64,
        /// What it knows.
        committed: u64,
    },
    /// A checkpoint with members that no cluster has.
    #[error("the checkpoint names members that no cluster has: {0:?}")]
    Members(Configuration),
    /// The vote on the disk was another member's.
    #[error(
        "the vote on this disk is that of member {node:016x} of cluster {cluster:?}: it was not given by this member, which may not give it \
         again either"
    )]
    Vote {
        /// Whose it was.
        node: NodeId,
        /// In which cluster.
        cluster: Identity,
    },
    /// The body of a change of members is missing.
    #[error("entry {0} changes the members, and what it says was not given")]
    Change(u64),
    /// An id that no member has.
    #[error("0 is no member's id")]
    NoId,
    /// Anything else that the library refuses.
    #[error("the log does not fit together: {0}")]
    Library(String),
}

/// What a call needs from outside.
struct Ports<'a> {
    log: &'a mut dyn Log,
    outside: &'a mut dyn Outside,
}

/// One member.
pub struct Replica {
    raw: RawNode<LogView>,
    id: NodeId,
    identity: Identity,
    random: Random,
    ticks: u64,
    role: Role,
    election: Election,
    outstanding: Outstanding,
    peers: BTreeMap<NodeId, Peer>,
    configuration: Configuration,
    confirmations: Confirmations,
    /// The snapshot that a leader wants installed here, while it is fetched.
    expected: Option<Expected>,
    snapshot_silence_ticks: u64,
    /// Index of the first entry of the own term, while it leads.
    first_own: u64,
    /// Tick at which it was elected last.
    leads_since: u64,
    settling: Settling,
    /// Tick at which it learnt that it is no member any more.
    removed_at: Option<u64>,
    /// Whether the last entries that came had no room.
    is_full: bool,
    held: Held,
    /// Tick at which a leader's disk was first found without room for an entry of its own.
    lacks_room_since: Option<u64>,
    /// Tick at which a hand-over before leaving has taken too long.
    leaves_at: Option<u64>,
    stop: Option<Stop>,
}

impl Replica {
    /// A replica over a log as it was found, of which everything is synced.
    ///
    /// # Errors
    ///
    /// A log that has gone back, or is none that a member can have.
    pub fn new(options: &Options, log: &dyn Log) -> Result<Self, NotStarted> {
        if options.id == 0 {
            return Err(NotStarted::NoId);
        }
        let checkpoint = log.checkpoint();
        let (last, committed) = (log.last(), log.committed().max(checkpoint.id.index));
        if committed > last.index {
            let last = last.index;
            return Err(NotStarted::GoneBack { last, committed });
        }
        if checkpoint.id.index > 0 && !checkpoint.configuration.is_possible() {
            return Err(NotStarted::Members(checkpoint.configuration));
        }
        let vote = known_vote(options, last)?;
        let hard_state = HardState {
            term: vote.term,
            vote: vote.vote,
            commit: committed,
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(
            &config(options.id, checkpoint.id.index),
            LogView::of(log, hard_state, &options.changes).map_err(NotStarted::Change)?,
            &logger,
        )
        .map_err(|error| NotStarted::Library(error.to_string()))?;
        let mut replica = Self {
            raw,
            id: options.id,
            identity: options.identity,
            random: Random::new(options.seed),
            ticks: 0,
            role: Role::Follower { leader: None },
            election: Election::default(),
            outstanding: Outstanding::new(vote),
            peers: BTreeMap::new(),
            configuration: checkpoint.configuration,
            confirmations: Confirmations::default(),
            expected: None,
            snapshot_silence_ticks: options.snapshot_silence_ticks,
            first_own: 0,
            leads_since: 0,
            settling: Settling::default(),
            removed_at: None,
            is_full: false,
            held: Held::default(),
            lacks_room_since: None,
            leaves_at: None,
            stop: None,
        };
        replica.draw_timeout();
        Ok(replica)
    }

    /// Takes an input and does everything that follows from it.
    ///
    /// The work of one input is bounded by the entries in it and by `limits::OUTSTANDING_MAX`.
    pub fn handle(&mut self, input: Input<'_>, log: &mut dyn Log, outside: &mut dyn Outside) {
        if self.stop.is_some() {
            return;
        }
        let mut ports = Ports { log, outside };
        let applied = self.raw.raft.raft_log.applied;
        self.raw.mut_store().follow(ports.log, applied);
        let mut bodies = Vec::new();
        match input {
            Input::Tick => self.tick(&mut ports),
            Input::Peer { from, session, frame } => bodies = self.on_frame(from, session, frame, &mut ports),
            Input::Connected(peer, session) => self.on_connected(peer, session),
            Input::Lost(peer, session) => self.on_lost(peer, session),
            Input::Synced => {}
            Input::VoteWritten(ticket) => self.outstanding.on_vote_written(ticket),
            Input::Staged(number) => self.on_staged(number, &mut ports),
            Input::NotStaged(number) => self.on_not_staged(number),
            Input::Fetched(peer) => self.on_fetched(peer),
            Input::FetchFailed(peer) => self.on_fetch_failed(peer),
            Input::Closed => {}
            Input::HandOver(to) => self.hand_over(to, &mut ports),
            Input::Leave => self.leave(&mut ports),
        }
        self.pump(&bodies, &mut ports);
    }

    /// Does everything that the library has ready, as long as there is room for it, and what follows from that.
    fn pump(&mut self, bodies: &[(u64, Body<'_>)], ports: &mut Ports<'_>) {
        self.resume(ports);
        loop {
            self.note_role(ports);
            if self.held.is_some() {
                break;
            }
            self.settle(ports);
            self.send_what_need_not_wait(ports);
            if self.stop.is_some() {
                return;
            }
            if self.outstanding.is_at_bound() {
                break;
            }
            if self.raw.has_ready() {
                if let Err(refusal) = self.one_ready(bodies, ports) {
                    self.stop(Stop::Log(refusal), ports);
                }
            } else if !(self.offer_staged(ports)
                || self.propose_closed(ports)
                || self.leave_joint(ports)
                || self.settle_change(ports))
            {
                break;
            }
        }
        if self.stop.is_some() {
            return;
        }
        self.finish_leaving(ports);
        if let Some(member) = self.raw.store().take_wanted() {
            ports.outside.checkpoint_needed(member);
        }
    }

    /// Takes no part any more.
    fn stop(&mut self, stop: Stop, ports: &mut Ports<'_>) {
        if self.role.leads() {
            self.role = Role::Follower { leader: None };
            ports.outside.role(self.role);
        }
        for ticket in self.confirmations.give_up() {
            ports.outside.confirmed(ticket, crate::outside::Confirmation::Deposed);
        }
        ports.outside.stopped(&stop);
        self.stop = Some(stop);
    }

    /// Why it takes no part any more, once it does not.
    pub fn stopped(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    /// What it is to the cluster.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The members as far as the log is applied.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }
}

/// What the member has promised, as far as it can know.
fn known_vote(options: &Options, last: EntryId) -> Result<Vote, NotStarted> {
    let own = Vote {
        node: options.id,
        cluster: options.identity.0,
        ..options.vote
    };
    if options.vote.node != 0 && own != options.vote {
        let (node, cluster) = (options.vote.node, Identity(options.vote.cluster));
        return Err(NotStarted::Vote { node, cluster });
    }
    // A term may be known from an entry alone: the vote of that term, had it been given, would be on the disk.
    if own.term >= last.term {
        return Ok(own);
    }
    Ok(Vote {
        term: last.term,
        vote: 0,
        ..own
    })
}

fn config(id: NodeId, applied: u64) -> Config {
    Config {
        id,
        applied,
        election_tick: limits::ELECTION_TICKS_MIN,
        heartbeat_tick: limits::HEARTBEAT_TICKS,
        min_election_tick: limits::ELECTION_TICKS_MIN,
        max_election_tick: limits::ELECTION_TICKS_MAX + 1,
        max_size_per_msg: limits::MESSAGE_BYTES_MAX,
        max_inflight_msgs: limits::INFLIGHT_MESSAGES_MAX,
        max_committed_size_per_ready: limits::COMMITTED_BYTES_MAX,
        check_quorum: true,
        pre_vote: true,
        // Followers announce nothing: how far the log is committed may come with the next message.
        skip_bcast_commit: true,
        ..Config::default()
    }
}
