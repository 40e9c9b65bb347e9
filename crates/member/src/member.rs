//! One member: what it holds, and in which order what happens is dealt with.

use std::collections::BTreeMap;
use std::sync::Arc;

use seaway_journal::{Completion as Finished, Journal, Ticket};
use seaway_replica::{
    Frame, Identity, Input, MemberChange, NodeId, NotChanged, NotConfirmed, Replica, Role, Status,
    limits as replica_limits,
};
use seaway_store::Completion;

use crate::folding::{Checkpoints, Folder};
use crate::hands::Hands;
use crate::limits::ROUNDS_MAX;
use crate::log::{JournalLog, NotOpened};
use crate::network::Network;
use crate::news::News;
use crate::planted::{Fault, is_planted};
use crate::term::Term;

/// With what a member starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who it is: this incarnation of its disk.
    pub id: NodeId,
    /// The cluster's identity.
    pub identity: Identity,
    /// What its election time-outs are drawn from; another one at each start.
    pub seed: u64,
}

/// Who runs the journal's jobs, and folds.
pub enum Driving {
    /// Threads of its own. The function is called from them when there is something for [`Member::drive`].
    Threads(Arc<dyn Fn() + Send + Sync>),
    /// Whoever calls [`Member::step`], for simulations.
    Steps,
}

/// One member. Every method does everything that follows from it and can be done now, and waits for nothing but, when entries are taken
/// back, the own disk. Work in one call is bounded by what came in and by what jobs have finished.
pub struct Member {
    pub(crate) log: JournalLog,
    replica: Replica,
    pub(crate) hands: Hands,
    pub(crate) term: Option<Term>,
    pub(crate) checkpoints: Checkpoints,
    finished: Vec<Finished>,
    /// Of those who asked whether it still leads: the answers.
    confirmations: BTreeMap<u64, Option<bool>>,
    next_ticket: u64,
    /// Whether a quorum has room for what publishers send, as far as is known.
    quorum_has_room: bool,
    is_closed: bool,
}

impl Member {
    /// Starts a member over its log. `folder` writes its checkpoints while it follows; without one its disk grows.
    ///
    /// # Errors
    /// The log is none that this member can have, cannot be read, or there are no threads.
    pub fn start(
        mut log: JournalLog,
        options: &Options,
        driving: Driving,
        network: Box<dyn Network>,
        folder: Option<Arc<dyn Folder>>,
    ) -> Result<Member, NotOpened> {
        let changes = log.changes()?;
        let replica = seaway_replica::Options {
            id: options.id,
            identity: options.identity,
            vote: log.vote(),
            changes,
            seed: options.seed,
            snapshot_silence_ticks: replica_limits::SNAPSHOT_SILENCE_TICKS,
        };
        let replica = Replica::new(&replica, &log)?;
        if let Driving::Threads(waker) = driving {
            log.start_threads(waker)?;
        }
        let mut hands = Hands::new(network, options.identity);
        if let Some(members) = log.newest_members() {
            hands.network.members(&members.configuration, &members.about);
        }
        let mut member = Member {
            log,
            replica,
            hands,
            term: None,
            checkpoints: Checkpoints::new(folder),
            finished: Vec::new(),
            confirmations: BTreeMap::new(),
            next_ticket: 0,
            quorum_has_room: true,
            is_closed: false,
        };
        member.settle();
        Ok(member)
    }

    /// [`replica_limits::TICK_MS`] have passed; see [`Input::Tick`].
    pub fn tick(&mut self) {
        self.input(Input::Tick);
        self.look_at_quorum();
    }

    /// A frame has come from a member, in a session of the connections to it.
    pub fn frame(&mut self, from: NodeId, session: u64, frame: &[u8]) {
        match Frame::read(frame) {
            Ok(frame) => self.input(Input::Peer { from, session, frame }),
            Err(error) => self.hands.network.refuse(from, error.to_string()),
        }
    }

    /// The connections to a member are there, in a session with a larger number than any before.
    pub fn connected(&mut self, peer: NodeId, session: u64) {
        self.hands.outboxes.forget(peer);
        self.input(Input::Connected(peer, session));
    }

    /// One of the connections of a session was lost; the others are closed.
    pub fn lost(&mut self, peer: NodeId, session: u64) {
        self.hands.outboxes.forget(peer);
        self.input(Input::Lost(peer, session));
    }

    /// Takes what threads have finished; to be called when the waker was.
    pub fn drive(&mut self) {
        self.settle();
    }

    /// Runs one job or fold when no threads do, and what follows from it; whether there was one.
    pub fn step(&mut self) -> bool {
        let has_stepped = self.log.step() || self.checkpoints.step(&mut self.log, &mut self.hands.news);
        if has_stepped {
            self.settle();
        }
        has_stepped
    }

    /// Gives the leadership to a member, or to the one that lacks least.
    pub fn hand_over(&mut self, to: Option<NodeId>) {
        self.input(Input::HandOver(to));
    }

    /// Takes no part any more, after a hand-over when it leads; [`News::stopped`] says when.
    pub fn leave(&mut self) {
        self.input(Input::Leave);
    }

    /// Proposes a change of members; `about` goes with it to everybody. [`News::members`] says when it holds.
    ///
    /// # Errors
    /// See [`Replica::change`].
    pub fn change(&mut self, change: MemberChange, about: &[u8]) -> Result<(), NotChanged> {
        self.replica.change(change, about, &mut self.log, &mut self.hands)?;
        self.settle();
        Ok(())
    }

    /// Asks whether it still leads at this moment; [`Member::confirmation`] has the answer under the ticket, sooner or later.
    ///
    /// # Errors
    /// It does not serve, or too many ask.
    pub fn confirm(&mut self) -> Result<u64, NotConfirmed> {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        self.confirmations.insert(ticket, None);
        let asked = self.replica.confirm(ticket, &mut self.log, &mut self.hands);
        if asked.is_err() {
            self.confirmations.remove(&ticket);
        }
        self.settle();
        asked.map(|()| ticket)
    }

    /// Whether it led when it was asked, once that is known; then the ticket is gone.
    pub fn confirmation(&mut self, ticket: u64) -> Option<bool> {
        let answer = (*self.confirmations.get(&ticket)?)?;
        self.confirmations.remove(&ticket);
        Some(answer)
    }

    /// Nobody waits for that answer any more.
    pub fn forget_confirmation(&mut self, ticket: u64) {
        self.confirmations.remove(&ticket);
    }

    /// What happened since the last call.
    pub fn take_news(&mut self) -> News {
        for warning in self.log.take_warnings() {
            self.hands.news.warn(warning);
        }
        std::mem::take(&mut self.hands.news)
    }

    /// Whether [`Member::take_news`] has something.
    pub fn has_news(&self) -> bool {
        !self.hands.news.is_empty()
    }

    /// What it is to the cluster.
    pub fn role(&self) -> Role {
        self.hands.role
    }

    /// How it is at this moment.
    pub fn status(&self) -> Status {
        self.replica.status()
    }

    /// Its log, to look at.
    pub fn log(&self) -> &JournalLog {
        &self.log
    }

    /// Lets go of the disk, after everything that was appended lies there. A term that is served ends.
    ///
    /// # Errors
    /// What could not be written, in words.
    pub fn close(&mut self) -> Result<(), String> {
        self.hands.serving = None;
        self.end_term();
        self.is_closed = true;
        self.checkpoints = Checkpoints::default();
        self.log.close_journal()
    }

    fn input(&mut self, input: Input<'_>) {
        if self.is_closed {
            return;
        }
        self.replica.handle(input, &mut self.log, &mut self.hands);
        self.settle();
    }

    /// Does what the replica decided, takes what jobs have finished, and tells the replica; again while that has consequences.
    pub(crate) fn settle(&mut self) {
        if self.is_closed {
            return;
        }
        for _ in 0..ROUNDS_MAX {
            self.note_decisions();
            let serves = self.term.as_ref().is_some_and(|term| term.is_open);
            self.checkpoints.go_on(serves, &mut self.log, &mut self.hands.news);
            if self.log.is_finishing() {
                self.log.go_on_finishing(self.replica.status().applied);
            }
            let mut is_over = self.ask_for_bodies();
            let last = self.log.journal().last();
            self.log.drive();
            if self.hands.role.leads() && self.log.journal().last() != last {
                self.replica.handle(Input::Closed, &mut self.log, &mut self.hands);
                is_over = false;
            }
            is_over &= !self.take_finished();
            self.hands.send_whole();
            if is_over {
                return;
            }
        }
        // Others want something, too: it goes on when it is its turn again.
        if let Some(waker) = self.log.waker() {
            waker();
        }
    }

    /// What the replica has done to the world.
    fn note_decisions(&mut self) {
        for number in std::mem::take(&mut self.hands.not_staged) {
            self.replica
                .handle(Input::NotStaged(number), &mut self.log, &mut self.hands);
        }
        for (ticket, vote) in std::mem::take(&mut self.hands.votes) {
            self.log.journal_mut().write_vote(ticket, vote);
        }
        for (index, members) in std::mem::take(&mut self.hands.members) {
            self.hands.network.members(&members.configuration, &members.about);
            self.hands.news.members = Some((members.configuration.clone(), members.about.clone()));
            self.log.set_members(index, members);
        }
        for (ticket, led) in std::mem::take(&mut self.hands.confirmations) {
            if let Some(answer) = self.confirmations.get_mut(&ticket) {
                *answer = Some(led);
            }
        }
        if std::mem::take(&mut self.hands.checkpoint_needed) {
            self.checkpoint_needed();
        }
        let present = self.term.as_ref().map(|term| term.number);
        let goes_on = self.hands.serving.is_none() && is_planted(Fault::StoreOfAnyTerm);
        if self.hands.serving != present && !goes_on {
            self.end_term();
            self.term = self.hands.serving.map(Term::new);
        }
    }

    /// What its store's owner asked for is nobody's any more.
    fn end_term(&mut self) {
        if let Some(term) = self.term.take() {
            if term.writes_checkpoint {
                self.log.abandon_checkpoint();
                self.checkpoints.is_wanted = true;
            }
            term.wake();
        }
    }

    fn ask_for_bodies(&mut self) -> bool {
        let asks = self.hands.outboxes.ask();
        for (ticket, id) in &asks {
            self.log.journal_mut().read_entry(*ticket, id.index);
        }
        asks.is_empty()
    }

    /// Whether the journal had finished anything.
    fn take_finished(&mut self) -> bool {
        let mut finished = std::mem::take(&mut self.finished);
        self.log.poll(&mut finished);
        let is_any = !finished.is_empty();
        let (mut is_synced, mut is_told) = (false, false);
        for finished in finished.drain(..) {
            match finished {
                Finished::Synced(position) => {
                    is_synced = true;
                    if is_planted(Fault::DurableOnSyncedOnly) {
                        is_told |= self.tell(Finished::Durable(position));
                    }
                }
                Finished::VoteWritten(ticket) => {
                    self.replica
                        .handle(Input::VoteWritten(ticket), &mut self.log, &mut self.hands);
                }
                Finished::Entry((ticket, answer)) => self.entry_read(ticket, answer),
                Finished::CheckpointNeeded => self.checkpoint_needed(),
                Finished::Poisoned(reason) => {
                    is_told |= self.tell(Finished::Poisoned(reason.clone()));
                    self.hands.news.failed = Some(reason);
                    self.replica.handle(Input::Leave, &mut self.log, &mut self.hands);
                }
                Finished::CheckpointAbandoned(reason) => {
                    if !self.tell(Finished::CheckpointAbandoned(reason.clone())) {
                        self.hands.news.warn(format!("A checkpoint was given up: {reason}"));
                    }
                }
                other => is_told |= self.tell(other),
            }
        }
        self.finished = finished;
        if is_synced {
            self.replica.handle(Input::Synced, &mut self.log, &mut self.hands);
        }
        if is_told && let Some(term) = &self.term {
            term.wake();
        }
        is_any
    }

    fn entry_read(&mut self, ticket: Ticket, answer: Result<seaway_journal::Entry, seaway_journal::EntryError>) {
        let body = match answer {
            Ok(entry) => Some((entry.id, entry.bytes)),
            Err(error) => {
                if !matches!(error, seaway_journal::EntryError::Purged(_)) {
                    self.hands.news.warn(error.to_string());
                }
                None
            }
        };
        self.hands.outboxes.answer(ticket, body);
    }

    /// Tells the store's owner, when there is one; whether there was something to tell.
    fn tell(&mut self, finished: Finished) -> bool {
        match &mut self.term {
            Some(term) if term.is_open => term.take(finished),
            _ => {
                if let Finished::Warning(warning) | Finished::SpaceLow(warning) = finished {
                    self.hands.news.warn(warning);
                }
                false
            }
        }
    }

    fn checkpoint_needed(&mut self) {
        if !self.tell(Finished::CheckpointNeeded) {
            self.checkpoints.is_wanted = true;
        } else if let Some(term) = &self.term {
            term.wake();
        }
    }

    /// Whether those voters that have room for what publishers send are a quorum. Who was not heard of is taken to have.
    fn look_at_quorum(&mut self) {
        if self.term.is_none() {
            return;
        }
        let status = self.replica.status();
        let is_low = |id: NodeId| {
            let member = status.members.iter().find(|member| member.id == id);
            member.is_some_and(|member| member.health.is_low || member.health.is_full)
        };
        let before = self.quorum_has_room;
        self.quorum_has_room = status.configuration.has_quorum(|id| !is_low(id));
        if self.quorum_has_room && !before {
            self.tell(Finished::SpaceBack);
            if let Some(term) = &self.term {
                term.wake();
            }
        }
    }

    /// The term that is served and whose store is open, when it has this number.
    pub(crate) fn term(&mut self, number: u64) -> Option<(&mut Term, &mut Journal)> {
        let goes_on = is_planted(Fault::StoreOfAnyTerm);
        let serves = (self.hands.serving.is_some() || goes_on) && !self.is_closed;
        let is_present = |term: &Term| term.is_open && (term.number == number || goes_on);
        let term = self.term.as_mut().filter(|term| serves && is_present(term))?;
        Some((term, self.log.journal_mut()))
    }

    /// A ticket of the journal for a request of the store of this term.
    pub(crate) fn ask(&mut self, number: u64, ticket: seaway_streaming::Ticket) -> Option<u64> {
        let mut next = self.next_ticket;
        let journals = self.term(number)?.0.ask(ticket, &mut next);
        self.next_ticket = next;
        Some(journals)
    }

    /// Hands what was appended to the disk and to the others.
    pub(crate) fn submit(&mut self) {
        self.log.journal_mut().submit();
        self.input(Input::Closed);
    }

    /// What is finished for the store of this term; nothing when it is over.
    pub(crate) fn poll(&mut self, number: u64, completions: &mut Vec<Completion>) -> bool {
        self.settle();
        let Some((term, _)) = self.term(number) else {
            return false;
        };
        completions.append(&mut term.completions);
        true
    }

    /// Whether records may be appended that become entries at once.
    pub(crate) fn can_propose(&self) -> bool {
        self.replica.can_propose()
    }

    pub(crate) fn quorum_has_room(&self) -> bool {
        self.quorum_has_room
    }
}
