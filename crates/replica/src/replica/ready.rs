//! What the library has ready, and the order in which it is done. Each step leans on the one before it:
//!
//! 1. The role: what a deposed leader may not say any more is refused before anything else happens.
//! 2. What need not wait for the disk is sent: everything of a leader, and answers to heartbeats, once the own vote is written.
//! 3. A new term or vote is written; entries are appended, a conflict being cut off first; a snapshot is installed, whole.
//! 4. What has to wait for that is remembered, with the library's number.
//! 5. Committed entries: a change of members is made, the log is told, and only then they count as applied.
//! 6. When the disk has caught up, the library hears of it, and the messages leave.

use raft::StateRole;
use raft_proto::eraftpb::{ConfChangeV2, Entry, EntryType, Message, MessageType, Snapshot};

use protobuf::Message as _;

use super::outstanding::Needs;
use super::{Ports, Replica};
use crate::frame::{Body, Outgoing};
use crate::identity::NodeId;
use crate::log::{EntryId, EntryKind, Refusal};
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
        let last = self.raw.store().last();
        if ports.log.last().index > last.index
            && let Err(refusal) = self.truncate(last, ports)
        {
            self.stop(Stop::Log(refusal), ports);
        }
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

    /// Does one thing that the library has ready.
    pub(super) fn one_ready(&mut self, bodies: &[(u64, Body<'_>)], ports: &mut Ports<'_>) -> Result<(), Refusal> {
        let mut ready = self.raw.ready();
        let number = ready.number();
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
        let snapshot = (!ready.snapshot().is_empty()).then(|| ready.snapshot().clone());
        let entries = ready.take_entries();
        if snapshot.is_some() {
            self.outstanding.replaced();
        } else if let Some(last) = entries.last() {
            self.append(&entries, bodies, ports)?;
            needs.position = self.raw.store().position_of(last.index);
        }
        let committed = ready.take_committed_entries();
        let confirmed = ready.take_read_states();
        self.outstanding.push(number, needs, messages, self.ticks);
        self.raw.advance_append_async(ready);
        match snapshot {
            Some(snapshot) => self.install(number, &snapshot, ports)?,
            None => self.apply(&committed, ports),
        }
        for state in confirmed {
            self.on_confirmed(&state.request_ctx, ports);
        }
        Ok(())
    }

    /// Appends entries to the log: a leader's batches are there already, a follower's bodies have come with the message.
    fn append(&mut self, entries: &[Entry], bodies: &[(u64, Body<'_>)], ports: &mut Ports<'_>) -> Result<(), Refusal> {
        let first = entries.first().expect("there is a last one");
        if first.index <= self.raw.store().last().index {
            let index = first.index - 1;
            let term = self
                .raw
                .store()
                .term_of(index)
                .expect("an append begins behind an entry of the log");
            self.truncate(EntryId { term, index }, ports)?;
        }
        // Up to here the logs match. What is appended carries how far they are known to be committed.
        let known = self.raw.raft.raft_log.committed.min(first.index - 1);
        ports.log.commit_to(known);
        for entry in entries {
            let id = id_of(entry);
            let (kind, _) = kind_and_bytes(entry);
            let change = (kind == EntryKind::Change).then(|| entry.data.clone());
            if kind == EntryKind::Records && self.is_leader() {
                let meta = ports.log.entry(id.index).expect("what is proposed is closed");
                assert_eq!(meta.id, id, "a batch was proposed under another name than it has");
                self.raw.mut_store().push(meta, None);
                continue;
            }
            let body = match kind {
                EntryKind::Records => body_of(id.index, bodies),
                EntryKind::Empty => &[],
                EntryKind::Change => &entry.data[..],
            };
            ports.log.append_entry(id, kind, body)?;
            let meta = ports.log.entry(id.index).expect("it was appended");
            debug_assert_eq!((meta.id, meta.kind), (id, kind));
            self.raw.mut_store().push(meta, change);
            if self.is_leader() && kind == EntryKind::Empty {
                self.settling.on_appended(id.index, known);
            }
            if self.is_leader() && kind == EntryKind::Empty && self.first_own == 0 {
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

    /// A snapshot is installed before anything else happens: an election in between would read entries that are gone.
    fn install(&mut self, number: u64, snapshot: &Snapshot, ports: &mut Ports<'_>) -> Result<(), Refusal> {
        let checkpoint = checkpoint_of(snapshot);
        if is_planted(Fault::LateSnapshot) {
            self.expected = Some(super::parts::Expected::late(number, checkpoint));
            return Ok(());
        }
        self.install_now(number, &checkpoint, ports)
    }

    pub(super) fn install_now(
        &mut self,
        number: u64,
        checkpoint: &crate::log::Checkpoint,
        ports: &mut Ports<'_>,
    ) -> Result<(), Refusal> {
        ports.log.install(checkpoint)?;
        self.raw.mut_store().reset(checkpoint);
        self.raw.on_persist_ready(number);
        self.raw.advance_apply_to(checkpoint.id.index);
        self.configuration = checkpoint.configuration.clone();
        self.settling.changed = 0;
        ports.outside.members(checkpoint.id.index, &self.configuration, &[]);
        Ok(())
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
