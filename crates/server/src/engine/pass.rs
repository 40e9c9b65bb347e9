//! One pass of the engine over everything that waits.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use seaway_store::Completion;
use seaway_streaming::{Engine, Input, Now, Position, Timestamp};
use tokio::sync::oneshot;

use super::arrivals::Arrivals;
use super::changes::{self, ChangeRequest};
use super::checkpoints::Checkpoints;
use super::deferred::{Deferred, Part, batch_bytes, deferred_from, entry, is_repeated};
use super::health::{Health, Stall};
use super::inbox::{Glance, Inbox, Item};
use super::look::Looks;
use super::tokens::ProbeTokens;
use super::world::World;
use crate::bus::Batch;
use crate::limits::{
    BACKLOG_BYTES_HIGH, CHECKPOINT_SLICES_PER_PASS, COMMIT_KEPT_BYTES, COMPLETION_ROUNDS, DEADLINE_LATE_NS,
    DEFERRED_PER_PASS, HAND_OVER_TAIL_BYTES, LAZY_WAIT, PAUSE_GRACE_NS, READS_PER_LOOK, RECORD_BYTES,
    STOOD_STILL_GRACE_NS, STOOD_STILL_PUTS_OFF_NS_MAX,
};
use crate::logging::LogHandle;

/// Both clocks; the monotonic one starts at zero with the thread.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock(Instant::now())
    }

    pub(crate) fn now(self) -> Now {
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanoseconds| -nanoseconds),
        };
        Now {
            monotonic: self.monotonic(),
            wall: Timestamp(wall),
        }
    }

    /// A moment of the monotonic clock.
    fn instant(self, monotonic: u64) -> Instant {
        self.0 + Duration::from_nanos(monotonic)
    }

    fn monotonic(self) -> u64 {
        self.nanoseconds(Instant::now())
    }

    fn nanoseconds(self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.0).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The engine and all that only the thread which has it may touch.
pub(super) struct Pass {
    engine: Engine,
    world: World,
    inbox: Arc<Inbox>,
    clock: Clock,
    health: Health,
    deferred: Deferred,
    probes: ProbeTokens,
    arrivals: Arrivals,
    looks: Looks,
    /// In partitioning mode patterns may overlap: one publish then comes once for each that matches.
    overlapping: bool,
    /// The store is archived, and is told the time.
    tells_time: bool,
    /// The last position that the start of the engine appended; who waits until it is durable is in `started`.
    started_at: Position,
    started: Option<oneshot::Sender<()>>,
    completions: Vec<Completion>,
    /// Answered reads that wait for their turn.
    reads: VecDeque<Completion>,
    /// The store may have more to tell.
    unfinished: bool,
    stall: Stall,
    /// The last position handed to the disk.
    submitted: Position,
    /// Since when the oldest lazy record waits for a batch.
    lazy_since: Option<Instant>,
    checkpoints: Checkpoints,
    /// After this process did not run for a while: until when no deadline is judged, in the clock's nanoseconds. Set until no
    /// deadline is overdue any more.
    grace_until: Option<u64>,
    /// The bus carries messages.
    bus_up: bool,
    /// Deadlines wait until it is known that nothing is on its way that they depend on.
    waits_for_bus: bool,
}

impl Pass {
    /// A pass over a recovered and started engine; `started` hears when everything up to `started_at` is durable and
    /// every subscription's acks are listened for.
    pub(super) fn new(
        engine: Engine,
        world: World,
        inbox: Arc<Inbox>,
        clock: Clock,
        health: Health,
        (started_at, started): (Position, oneshot::Sender<()>),
    ) -> Pass {
        Pass {
            overlapping: engine.publish_subjects().len() > 1,
            tells_time: world.store.is_archived(),
            probes: world.bus.probe_tokens().clone(),
            engine,
            world,
            inbox,
            clock,
            health: health.clone(),
            deferred: Deferred::default(),
            arrivals: Arrivals::default(),
            looks: Looks::default(),
            started_at,
            started: Some(started),
            completions: Vec::new(),
            reads: VecDeque::new(),
            unfinished: false,
            stall: Stall::new(health),
            submitted: Position(0),
            lazy_since: None,
            checkpoints: Checkpoints::default(),
            grace_until: None,
            bus_up: true,
            waits_for_bus: false,
        }
    }

    /// Serves what waits; the outcome of the end if this was the last pass.
    pub(super) fn run(&mut self, items: &mut Vec<Item>) -> Option<Result<(), String>> {
        let mut stopping = false;
        self.world.bus.begin_pass();
        if let Some(log) = LogHandle::of_process() {
            let (_, streaming) = log.verbosity();
            self.engine.set_verbosity(streaming.debug, streaming.trace);
        }
        if self.tells_time {
            self.world.store.tell_time(self.clock.now().wall.0);
        }
        self.complete();
        for item in items.drain(..) {
            match item {
                Item::Batch(batch) => self.batch(batch),
                Item::Drained(destination) => {
                    self.input(Input::Drained(seaway_streaming::Destination(destination.0)));
                }
                Item::Carries(is_up) => {
                    self.bus_up = is_up;
                    self.input(if is_up { Input::BusUp } else { Input::BusDown });
                }
                Item::Query(query) => query(&self.glance()),
                Item::Look(look) => self.looks.begin(look, &self.engine, &mut *self.world.store),
                // One that nobody waits for any more is not kept.
                Item::Image(done) => drop(done.send(self.world.store.image())),
                Item::ArchiveImage(done) => {
                    let now = self.clock.now().wall.0;
                    drop(done.send(self.world.store.archive_image().map(|image| (now, image))));
                }
                Item::Change(request) => self.change(*request),
                Item::Checkpoint(done) => self.prepare_to_hand_over(done),
                Item::Stop => stopping = true,
            }
        }
        self.serve_deferred();
        self.inbox.let_go_on();
        self.greet();
        self.deadlines();
        // Before the commit that ends the pass, so that acks ride it instead of waiting for the next.
        self.input(Input::EndOfPass);
        self.commit();
        self.complete();
        if self.engine.wants_end_of_pass() {
            self.input(Input::EndOfPass);
        }
        self.checkpoint();
        self.lazy();
        self.world.bus.flush();
        self.announce();
        self.hand_on();
        self.stall.look(self.engine.waiting_answers());
        stopping.then(|| self.finish())
    }

    /// Has the next commit run. One of a few messages, when nobody else waits, is run by this thread after the pass: that saves
    /// the way to another thread and back. Otherwise another thread begins with it at once.
    fn hand_on(&mut self) {
        if let Some(commit) = self.world.store.take_commit() {
            self.stall.commit_begins();
            if self.inbox.bytes() == 0 && self.world.store.pressure(0).backlog_bytes <= COMMIT_KEPT_BYTES {
                self.inbox.keep(commit);
            } else {
                self.inbox.offer(commit);
            }
        }
    }

    /// What monitoring may look at.
    fn glance(&self) -> Glance<'_> {
        Glance {
            engine: &self.engine,
            store: &*self.world.store,
            now: self.clock.now(),
            refusing: self.world.store.refusing(),
            held_batches: self.deferred.len(),
            inbox_bytes: self.inbox.bytes(),
        }
    }

    /// Says once that what the start of the engine recorded is durable, and that acks are listened for.
    fn announce(&mut self) {
        if self.world.store.durable() >= self.started_at
            && self.engine.has_interest()
            && let Some(started) = self.started.take()
        {
            // Whoever waited may have given up.
            let _ = started.send(());
            if self.world.bus.is_awaiting() {
                self.arrivals.begin(&self.inbox, &self.engine, &mut self.world.bus);
            }
        }
    }

    /// When the next pass is due although nothing comes in.
    pub(super) fn deadline(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let is_left_over = self.engine.wants_end_of_pass() || self.unfinished || !self.reads.is_empty();
        let may_go_on = self.may_go_on() || self.inbox.is_opening() || self.world.bus.has_waiting();
        if is_left_over || self.checkpoints.is_running() || may_go_on {
            return Some(now);
        }
        let deadline = self
            .engine
            .next_deadline()
            .filter(|_| !self.waits_for_bus)
            .map(|deadline| self.judged_at(deadline))
            .map(|deadline| Duration::from_nanos(deadline.saturating_sub(self.clock.monotonic())));
        let lazy = self.lazy_since.map(|since| LAZY_WAIT.saturating_sub(since.elapsed()));
        let patience = match (deadline, lazy) {
            (Some(deadline), Some(lazy)) => Some(deadline.min(lazy)),
            (one, other) => one.or(other),
        };
        let due = patience.and_then(|patience| now.checked_add(patience));
        let watched = [
            self.stall.deadline(),
            self.arrivals.deadline(),
            self.checkpoints.deadline(),
        ];
        watched.into_iter().flatten().chain(due).min()
    }

    /// Offers what was due at the start to those who have come since.
    fn greet(&mut self) {
        if let Some(news) = self.arrivals.news(&self.inbox, &mut self.world.bus) {
            self.input(news);
        }
    }

    /// Whether something is deferred that need not be any more: the store caught up, or failed, since the last pass.
    fn may_go_on(&mut self) -> bool {
        self.deferred.first_bytes().is_some_and(|bytes| !self.must_wait(bytes))
    }

    /// Whether a publish or a change of state of so many bytes has to wait for the journal. A request may become two
    /// records, a channel's and a message's.
    fn must_wait(&mut self, bytes: usize) -> bool {
        let pressure = self.world.store.pressure(2 * bytes + RECORD_BYTES);
        pressure.backlog_bytes >= BACKLOG_BYTES_HIGH || pressure.is_behind
    }

    fn input(&mut self, input: Input<'_>) {
        let now = self.clock.now();
        self.engine.handle(now, input, &mut self.world.effects());
        self.unheard(now);
    }

    /// Asks the engine for a change; what comes of it is told through the bus.
    fn change(&mut self, request: ChangeRequest) {
        // Whoever asked may have gone, and would not hear of it.
        if request.answer.is_closed() {
            return;
        }
        let id = self.world.bus.changes.begin(request.answer);
        let asked = changes::asked(id, &request.by, request.is_rehearsal, &request.wanted);
        self.input(Input::Change(asked));
    }

    /// Tells the engine of probes that found nobody.
    fn unheard(&mut self, now: Now) {
        while let Some(probe) = self.world.bus.take_unheard() {
            self.engine
                .handle(now, Input::ProbeUnheard(probe), &mut self.world.effects());
        }
    }

    fn batch(&mut self, batch: Batch) {
        self.arrivals.hear(&batch, &self.world.bus);
        let served = if self.deferred.is_empty() {
            self.serve(&batch, 0..batch.len(), Part::All)
        } else {
            0
        };
        if served < batch.len() {
            self.serve(&batch, served..batch.len(), Part::Passing);
        }
        let bytes = batch_bytes(&batch);
        // Messages that were served are not kept with those that are deferred: while a disk stalls, pings would fill the memory.
        let kept = match deferred_from(batch, served, self.overlapping) {
            Some((batch, from)) => {
                let kept = batch_bytes(&batch);
                self.deferred.push(batch, from);
                kept
            }
            None => 0,
        };
        self.inbox.served(bytes - kept);
        self.commit();
        if self.inbox.is_woken() {
            self.complete();
            self.world.bus.flush();
        }
    }

    /// Serves a part of some messages of a batch; where it stopped because the journal is behind, or the end of the range.
    fn serve(&mut self, batch: &Batch, range: Range<usize>, part: Part) -> usize {
        let now = self.clock.now();
        let mut served = range.end;
        for index in range {
            let Some(entry) = entry(batch, index, &self.probes).filter(|entry| part.includes(entry.passes)) else {
                continue;
            };
            if self.overlapping && is_repeated(batch, index) {
                continue;
            }
            if !entry.passes && self.must_wait(entry.bytes) {
                served = index;
                break;
            }
            self.engine.handle(now, entry.input, &mut self.world.effects());
        }
        self.unheard(now);
        served
    }

    /// Serves what was held back; what is too much for one pass waits for the next.
    fn serve_deferred(&mut self) {
        let mut looks = DEFERRED_PER_PASS;
        while let Some((batch, range)) = self.deferred.pop(looks) {
            looks -= range.len();
            let wanted = range.end;
            let served = self.serve(&batch, range, Part::Deferred);
            if served < wanted {
                // The journal is behind.
                looks = 0;
            }
            if served < batch.len() {
                self.deferred.put_back(batch, served);
                continue;
            }
            self.inbox.served(batch_bytes(&batch));
            self.commit();
        }
    }

    /// Starts the next commit if somebody waits for one. What was sent and acknowledged until now rides a commit that begins
    /// at once: an ack that came with a publish is as safe as the publish when its PubAck leaves. While the disk is busy the
    /// next commit waits anyway, and the end of the pass writes it down.
    fn commit(&mut self) {
        if self.world.store.pressure(0).urgent {
            if self.world.store.durable() >= self.submitted {
                self.input(Input::EndOfPass);
            }
            self.submit();
        }
        self.hand_on();
    }

    fn submit(&mut self) {
        self.world.store.submit();
        self.submitted = self.engine.appended();
        self.lazy_since = None;
    }

    /// Lets lazy records be written after they have waited long enough.
    fn lazy(&mut self) {
        if !self.world.store.pressure(0).lazy {
            self.lazy_since = None;
            return;
        }
        let since = *self.lazy_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= LAZY_WAIT {
            self.submit();
        }
    }

    /// Fires what is due, once everything has come that was sent before it. A deadline that is met late means that this process, or
    /// what carries messages, did not run for a while: what waits in sockets (acks, answers to heartbeats) gets a moment to arrive before
    /// anybody is judged by it.
    fn deadlines(&mut self) {
        let now = self.clock.monotonic();
        self.waits_for_bus = false;
        let Some(deadline) = self.engine.next_deadline().filter(|deadline| *deadline <= now) else {
            self.grace_until = None;
            return;
        };
        let judged = self.judged_at(deadline);
        if judged > now {
            return;
        }
        // While it is down the engine judges nobody.
        if self.bus_up && !self.world.bus.has_heard_until(self.clock.instant(judged)) {
            self.waits_for_bus = true;
            return;
        }
        if self.grace_until.is_none() && now - deadline >= DEADLINE_LATE_NS {
            self.grace_until = Some(now.saturating_add(PAUSE_GRACE_NS));
            return;
        }
        self.input(Input::Tick);
    }

    /// When a deadline is judged: not while what was sent in time may still be behind a pause.
    fn judged_at(&self, deadline: u64) -> u64 {
        let stood_still_until = self.world.bus.stood_still_until().map_or(0, |until| {
            let latest = deadline.saturating_add(STOOD_STILL_PUTS_OFF_NS_MAX);
            self.clock
                .nanoseconds(until)
                .saturating_add(STOOD_STILL_GRACE_NS)
                .min(latest)
        });
        deadline.max(self.grace_until.unwrap_or(0)).max(stood_still_until)
    }

    /// Handles what the store has finished and what follows from that; what is too much for now is left for the next pass.
    /// Reads wait behind everything else: what they bring is a lot of work, and nobody's acknowledgement.
    fn complete(&mut self) {
        for _ in 0..COMPLETION_ROUNDS {
            self.world.store.poll(&mut self.completions);
            self.unfinished = !self.completions.is_empty();
            if !self.unfinished && self.reads.is_empty() {
                return;
            }
            let mut completions = std::mem::take(&mut self.completions);
            for completion in completions.drain(..) {
                match completion {
                    Completion::Read { .. } => self.reads.push_back(completion),
                    other => self.completion(other),
                }
            }
            self.completions = completions;
            for _ in 0..READS_PER_LOOK {
                let Some(read) = self.reads.pop_front() else { break };
                self.completion(read);
                // What it kept is free: the store may read on.
                self.unfinished = true;
            }
            self.commit();
        }
    }

    fn completion(&mut self, completion: Completion) {
        let Some(completion) = self.looks.complete(completion) else {
            return;
        };
        match &completion {
            Completion::Durable(_) => self.stall.commit_ended(),
            Completion::CheckpointNeeded => self.checkpoints.want(),
            Completion::Poisoned(reason) => {
                let until = match self.world.bus.can_be_replaced() {
                    true => "under this tenure",
                    false => "until a restart",
                };
                tracing::error!(target: "stream", "The store failed and takes nothing more {until}: {reason}");
                self.health.fail(reason);
                self.stall.commit_ended();
            }
            Completion::CheckpointAbandoned(reason) => {
                if self.checkpoints.given_up(Instant::now()) {
                    tracing::warn!(target: "stream", "A checkpoint was given up: {reason}");
                }
                self.engine.abandon_checkpoint();
            }
            Completion::Warning(text) => tracing::warn!(target: "stream", "{text}"),
            _ => {}
        }
        completion.feed(|input| self.input(input));
    }

    /// A checkpoint is worth its while only when there is something to read behind the last one.
    fn prepare_to_hand_over(&mut self, done: oneshot::Sender<()>) {
        let statistics = self.world.store.statistics();
        if statistics.tail_bytes >= HAND_OVER_TAIL_BYTES {
            self.checkpoints.ask(statistics.checkpoints, done);
        }
    }

    fn checkpoint(&mut self) {
        self.checkpoints.tell(|| self.world.store.statistics().checkpoints);
        self.checkpoints
            .begin(Instant::now(), || self.world.store.begin_checkpoint());
        for _ in 0..CHECKPOINT_SLICES_PER_PASS {
            if !self.checkpoints.is_running() {
                return;
            }
            self.input(Input::CheckpointStep);
            self.checkpoints.go_on(self.engine.is_checkpointing());
        }
    }

    /// The orderly end: what was processed becomes durable and is answered; what is held was never promised anything.
    fn finish(&mut self) -> Result<(), String> {
        if let Some(commit) = self.inbox.take_back() {
            commit();
        }
        let outcome = self.world.store.close();
        self.unfinished = true;
        while self.unfinished || !self.reads.is_empty() {
            self.complete();
        }
        self.world.bus.flush();
        outcome
    }
}
