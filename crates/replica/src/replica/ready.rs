//! What the library has ready, and the order in which it is done. Each step leans on the one before it:
//!
//! 1. The role: what a deposed leader may not say any more is refused before anything else happens.
//! 2. What need not wait for the disk is sent: everything of a leader, and answers to heartbeats, once the own vote is written.
//! 3. A new term or vote is written; entries are appended, a conflict being cut off first; a snapshot is installed, whole.
//! 4. What has to wait for that is remembered, with the library's number.
//! 5. Committed entries: a change of members is made, the log is told, and only then they count as applied.
//! 6. When the disk has caught up, the library hears of it, and the messages leave.

use raft::StateRole;
use raft_proto::eraftpb::{ConfChangeV2, Entry, EntryType, Message, MessageType};

use protobuf::Message as _;

use super::outstanding::Needs;
use super::work::Work;
use super::{Ports, Replica};
use crate::frame::{Body, Outgoing};
use crate::identity::NodeId;
use crate::log::{Checkpoint, EntryId, EntryKind, Refusal};
use crate::membership::Configuration;
use crate::outside::{Role, Stop, Vote};
use crate::planted::{Fault, is_planted};
use crate::table::{checkpoint_of, id_of, is_handle, kind_and_bytes};

/// The body that came for an entry. Those of one message follow each other without a gap.
fn body_of<'a>(index: u64, bodies: &[(u64, Body<'a>)]) -> &'a [u8] {
    let place = bodies
        .first()
        .and_then(|(first, _)| usize::try_from(index.checked_sub(*first)?).ok());
    let body = place.and_then(|place| bodies.get(place));
    body.expect("entries come with their bodies").1.bytes
}

impl Replica {
    /// Says what the role is when it has changed, and keeps the election's time-out ours.
    pub(super) fn note_role(&mut self, ports: &mut Ports<'_>) {
        self.keep_timeout();
        let raft = &self.raw.raft;
        let role = match raft.state {
            // It has no room for what it has to append as a leader.
            StateRole::Leader if self.held.is_some() => Role::Follower { leader: None },
            StateRole::Leader if self.first_own > 0 && raft.raft_log.applied >= self.first_own => {
                Role::Serving { term: raft.term }
            }
            StateRole::Leader => Role::Leading { term: raft.term },
            _ => Role::Follower {
                leader: (raft.leader_id != 0).then_some(raft.leader_id),
            },
        };
        if role == self.role || self.stop.is_some() {
            return;
        }
        let led = self.role.leads();
        assert!(
            !led || self.role.term() == role.term() || !role.leads(),
            "one input ended {:?} and began {role:?}",
            self.role
        );
        if !led && role.leads() {
            self.leads_since = self.ticks;
        }
        self.role = role;
        ports.outside.role(role);
        if led && !role.leads() {
            self.end_leading(ports);
        }
    }

    /// Records that are in no entry go, also those in batches that were closed and could not be proposed any more.
    fn end_leading(&mut self, ports: &mut Ports<'_>) {
        self.first_own = 0;
        self.settling.on_deposed();
        for ticket in self.confirmations.give_up() {
            ports.outside.confirmed(ticket, crate::outside::Confirmation::Deposed);
        }
        ports.log.follow();
        self.cut_unproposed(ports);
    }

    /// Takes away what the log has behind the last entry: batches that a leader closed and did not propose.
    pub(super) fn cut_unproposed(&mut self, ports: &mut Ports<'_>) {
        let last = self.raw.store().last();
        if ports.log.last().index <= last.index {
            return;
        }
        match self.truncate(last, ports) {
            Ok(()) => {}
            Err(refusal) if refusal.may_pass() => self.held.owes_cut = true,
            Err(refusal) => self.stop(Stop::Log(refusal), ports),
        }
    }

    /// Leads no more, in the same term.
    pub(super) fn step_down(&mut self) {
        let term = self.raw.raft.term;
        self.raw.raft.become_follower(term, 0);
        self.draw_timeout();
    }

    fn vote(&self) -> Vote {
        self.vote_of(self.raw.raft.term, self.raw.raft.vote)
    }

    fn vote_of(&self, term: u64, vote: NodeId) -> Vote {
        Vote {
            term,
            vote,
            node: self.id,
            cluster: self.identity.0,
        }
    }

    /// Everything a leader says rests on what its followers have, and an answer to a heartbeat promises nothing: neither waits for entries
    /// on the own disk. Both speak in a term, which must be written.
    pub(super) fn send_what_need_not_wait(&mut self, ports: &mut Ports<'_>) {
        if self.raw.raft.msgs.is_empty() || !self.outstanding.is_written(self.vote()) {
            return;
        }
        if self.is_leader() {
            let messages = std::mem::take(&mut self.raw.raft.msgs);
            self.send(messages, ports);
            return;
        }
        let is_answer = |message: &mut Message| message.msg_type == MessageType::MsgHeartbeatResponse;
        let answers: Vec<Message> = self.raw.raft.msgs.extract_if(.., is_answer).collect();
        self.send(answers, ports);
    }

    /// Does one thing that the library has ready, or keeps it until there is room for it.
    pub(super) fn one_ready(&mut self, bodies: &[(u64, Body<'_>)], ports: &mut Ports<'_>) -> Result<(), Refusal> {
        let work = self.begin(ports);
        if let Some(work) = self.finish(work, bodies, ports)? {
            self.hold(work, bodies);
        }
        Ok(())
    }

    /// What does not need the log.
    fn begin(&mut self, ports: &mut Ports<'_>) -> Work {
        let mut ready = self.raw.ready();
        let mut needs = Needs::default();
        if let Some(state) = ready.hs() {
            let vote = self.vote_of(state.term, state.vote);
            if let Some(ticket) = self.outstanding.ask(vote) {
                ports.outside.write_vote(ticket, vote);
                needs.vote = ticket;
            }
        }
        let mut messages = ready.take_persisted_messages();
        if self.outstanding.is_written(self.vote()) {
            let leaders = ready.take_messages();
            self.send(leaders, ports);
        } else {
            // A leader's, whose vote for itself is not written yet: it is the only voter.
            messages.extend(ready.take_messages());
        }
        Work {
            needs,
            messages,
            snapshot: (!ready.snapshot().is_empty()).then(|| checkpoint_of(ready.snapshot())),
            entries: ready.take_entries().into(),
            committed: ready.take_committed_entries(),
            confirmed: ready.take_read_states(),
            ready,
        }
    }

    /// The rest; the work comes back when there is no room for it now.
    pub(super) fn finish(
        &mut self,
        mut work: Work,
        bodies: &[(u64, Body<'_>)],
        ports: &mut Ports<'_>,
    ) -> Result<Option<Work>, Refusal> {
        match self.write(&mut work, bodies, ports) {
            Ok(()) => {}
            Err(refusal) if refusal.may_pass() => return Ok(Some(work)),
            Err(refusal) => return Err(refusal),
        }
        let number = work.ready.number();
        self.outstanding.push(number, work.needs, work.messages, self.ticks);
        self.raw.advance_append_async(work.ready);
        match work.snapshot {
            Some(checkpoint) if is_planted(Fault::LateSnapshot) => {
                self.expected = Some(super::parts::Expected::late(number, checkpoint));
            }
            Some(checkpoint) => self.installed(number, &checkpoint, ports),
            None => self.apply(&work.committed, ports),
        }
        for state in work.confirmed {
            self.on_confirmed(&state.request_ctx, ports);
        }
        Ok(None)
    }

    /// Writes to the log. What was done of it when it is refused is not done again.
    fn write(&mut self, work: &mut Work, bodies: &[(u64, Body<'_>)], ports: &mut Ports<'_>) -> Result<(), Refusal> {
        if let Some(checkpoint) = &work.snapshot {
            if !is_planted(Fault::LateSnapshot) {
                ports.log.install(checkpoint)?;
                self.raw.mut_store().reset(checkpoint);
            }
            self.outstanding.replaced();
            return Ok(());
        }
        let Some(first) = work.entries.front().map(|entry| entry.index) else {
            return Ok(());
        };
        if first <= self.raw.store().last().index {
            let index = first - 1;
            let term = self.raw.store().term_of(index);
            let term = term.expect("an append begins behind an entry of the log");
            self.truncate(EntryId { term, index }, ports)?;
        }
        while let Some(entry) = work.entries.front() {
            self.append(entry, first, bodies, ports)?;
            work.needs.position = self.raw.store().position_of(entry.index);
            work.entries.pop_front();
        }
        Ok(())
    }

    /// Appends an entry to the log: a leader's batches are there already, a follower's bodies have come with the message.
    fn append(
        &mut self,
        entry: &Entry,
        first: u64,
        bodies: &[(u64, Body<'_>)],
        ports: &mut Ports<'_>,
    ) -> Result<(), Refusal> {
        let id = id_of(entry);
        // Up to here the logs match, and what is appended carries how far they are known to be committed: each entry by itself, or one that
        // comes with a change of members would not carry that the change is.
        let known = self.raw.raft.raft_log.committed.min(id.index - 1);
        if !is_planted(Fault::MarkOncePerMessage) || id.index == first {
            ports.log.commit_to(known);
        }
        let (kind, _) = kind_and_bytes(entry);
        if kind == EntryKind::Records && self.is_leader() {
            let meta = ports.log.entry(id.index).expect("what is proposed is closed");
            assert_eq!(meta.id, id, "a batch was proposed under another name than it has");
            self.raw.mut_store().push(meta, None);
            return Ok(());
        }
        let body = match kind {
            EntryKind::Records => body_of(id.index, bodies),
            EntryKind::Empty => &[],
            EntryKind::Change => &entry.data[..],
        };
        ports.log.append_entry(id, kind, body)?;
        let meta = ports.log.entry(id.index).expect("it was appended");
        debug_assert_eq!((meta.id, meta.kind), (id, kind));
        let change = (kind == EntryKind::Change).then(|| entry.data.clone());
        self.raw.mut_store().push(meta, change);
        // One that had no room for it leads no more, although the library does not know yet.
        if kind == EntryKind::Empty && self.is_leader() && self.role.leads() {
            self.settling.on_appended(id.index, known);
            if self.first_own == 0 {
                self.first_own = id.index;
                ports.log.lead(id.term, id.index + 1);
            }
        }
        Ok(())
    }

    /// Cuts the log behind an entry. What waited for the disk has it now, or never will.
    fn truncate(&mut self, after: EntryId, ports: &mut Ports<'_>) -> Result<(), Refusal> {
        let applied = self.raw.raft.raft_log.applied;
        assert!(
            after.index >= applied,
            "{after:?} was to be the last entry, but {applied} are applied"
        );
        ports.log.truncate(after)?;
        self.raw.mut_store().truncate(after.index);
        // One by one: of several at once the library takes the last entry alone, which may lie behind the cut.
        let numbers: Vec<u64> = self.outstanding.cut(after.index).collect();
        for number in numbers {
            self.raw.on_persist_ready(number);
        }
        Ok(())
    }

    /// A snapshot took the place of the log. That happens before anything else does: an election in between would read entries that are
    /// gone.
    fn installed(&mut self, number: u64, checkpoint: &Checkpoint, ports: &mut Ports<'_>) {
        self.raw.on_persist_ready(number);
        self.raw.advance_apply_to(checkpoint.id.index);
        self.configuration = checkpoint.configuration.clone();
        self.settling.changed = 0;
        ports.outside.members(checkpoint.id.index, &self.configuration, &[]);
    }

    /// The same, too late.
    pub(super) fn install_late(&mut self, number: u64, checkpoint: &Checkpoint, ports: &mut Ports<'_>) {
        if ports.log.install(checkpoint).is_err() {
            self.expected = Some(super::parts::Expected::late(number, checkpoint.clone()));
            return;
        }
        self.raw.mut_store().reset(checkpoint);
        self.installed(number, checkpoint, ports);
    }

    /// Committed entries, of which all are synced here.
    fn apply(&mut self, committed: &[Entry], ports: &mut Ports<'_>) {
        let Some(last) = committed.last().map(|entry| entry.index) else {
            return;
        };
        for entry in committed {
            self.make_change(entry, ports);
        }
        ports.log.commit_to(last);
        self.raw.advance_apply_to(last);
        self.raw.mut_store().applied(last);
    }

    /// Makes the change of members in an entry, if it is one. One that cannot be made is not made by any member.
    fn make_change(&mut self, entry: &Entry, ports: &mut Ports<'_>) {
        if entry.entry_type != EntryType::EntryConfChangeV2 {
            return;
        }
        assert!(!is_handle(entry), "entry {} was applied before", entry.index);
        let mut change = ConfChangeV2::default();
        if change.merge_from_bytes(&entry.data).is_err() {
            return;
        }
        if let Ok(state) = self.raw.apply_conf_change(&change) {
            self.settling.changed = entry.index;
            self.configuration = Configuration::from_library(&state);
            if self.is_leader() && !self.raw.raft.promotable() {
                self.give_way();
            }
            ports.outside.members(entry.index, &self.configuration, &change.context);
        }
    }

    /// The disk has caught up with the oldest pieces of work.
    pub(super) fn settle(&mut self, ports: &mut Ports<'_>) {
        while let Some(piece) = self.outstanding.pop(ports.log.synced()) {
            self.raw.on_persist_ready(piece.number);
            self.send(piece.messages, ports);
        }
    }

    /// Sends messages; of those that do not leave the library hears.
    fn send(&mut self, messages: Vec<Message>, ports: &mut Ports<'_>) {
        let mut unsent = Vec::new();
        for message in messages {
            let (to, kind) = (message.to, message.msg_type);
            let Some(mut outgoing) = Outgoing::new(message) else {
                continue;
            };
            if kind == MessageType::MsgHeartbeatResponse {
                outgoing.health = Some(self.health(ports));
            }
            let class = outgoing.class();
            let is_connected = self.peers.get(&to).is_some_and(|peer| peer.session.is_some());
            if !is_connected || ports.outside.send(to, class, outgoing).is_err() {
                unsent.push((to, kind));
            } else if kind == MessageType::MsgSnapshot {
                self.on_snapshot_sent(to);
            }
        }
        for (to, kind) in unsent {
            match kind {
                MessageType::MsgSnapshot => self.raw.report_snapshot(to, raft::SnapshotStatus::Failure),
                MessageType::MsgAppend => self.raw.report_unreachable(to),
                _ => {}
            }
        }
    }
}
