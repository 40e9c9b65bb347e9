//! One life of a server: engine and store on the simulated disk, with a bus that ends at the simulated clients, and the
//! model that watches every input and every effect.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_store::{Completion, FileStore, MemoryStore, Recovering, Sizes, Store};
use seaway_streaming::{
    Admission, AuditQuestion, Bus, Carried, ChangeId, Changed, ChannelId, Delivery, Destination, Effects, Engine,
    Event, Events, Head, Input, Lookup, Need, Now, Options, Position, ProbeId, ReadRequest, Records, Seek, Ticket,
    Unchanged, Urgency,
};

use crate::client::ToClient;
use crate::model::Model;
use crate::settings::ChosenLimits;

/// Inputs to itself after which a node that still has something to do counts as stuck.
const REST_STEPS_MAX: usize = 20_000;

/// What keeps the state.
enum Backing {
    File(Box<FileStore>),
    Memory(MemoryStore),
}

/// Who watches all of it.
#[derive(Clone)]
struct Witness {
    model: Rc<RefCell<Model>>,
    lines: Rc<RefCell<Vec<String>>>,
}

impl Witness {
    fn model(&self) -> RefMut<'_, Model> {
        self.model.borrow_mut()
    }

    fn line(&self, line: String) {
        self.lines.borrow_mut().push(line);
    }
}

/// The store, watched.
struct Shelf {
    backing: Backing,
    witness: Witness,
}

impl Shelf {
    fn store(&mut self) -> &mut dyn Store {
        match &mut self.backing {
            Backing::File(store) => store.as_mut(),
            Backing::Memory(store) => store,
        }
    }

    fn model(&self) -> RefMut<'_, Model> {
        self.witness.model()
    }
}

/// A bus that ends at the simulated clients, watched.
struct Wire {
    witness: Witness,
    sent: VecDeque<ToClient>,
    /// Subscriptions whose acks are listened for, by where.
    listened: BTreeMap<String, u64>,
    /// The bus carries messages.
    is_up: bool,
    /// Clients whose queue is full.
    congested: BTreeSet<u64>,
    /// Clients that do not listen to what is delivered.
    deaf: BTreeSet<u64>,
}

impl Wire {
    fn send(&mut self, subject: &[u8], reply: String, payload: Vec<u8>) {
        if self.is_up {
            self.sent.push_back(ToClient {
                subject: String::from_utf8_lossy(subject).into_owned(),
                reply,
                payload,
            });
        }
    }
}

/// What the engine acts on.
struct World {
    store: Shelf,
    bus: Wire,
    witness: Witness,
}

impl World {
    fn effects(&mut self) -> Effects<'_> {
        Effects::new(&mut self.store, &mut self.bus, &mut self.witness)
    }

    fn model(&self) -> RefMut<'_, Model> {
        self.witness.model()
    }
}

/// Whose queue a subject ends in.
fn destination(subject: &[u8]) -> Option<u64> {
    let owner = subject.split(|byte| *byte == b'/').next()?.strip_prefix(b"client")?;
    std::str::from_utf8(owner).ok()?.parse().ok()
}

impl Records for Shelf {
    fn append_message(&mut self, channel: ChannelId, sequence: u64, timestamp: i64, body: &[&[u8]]) -> Position {
        let position = self.store().append_message(channel, sequence, timestamp, body);
        let body = body.concat();
        self.model()
            .message_appended(channel.0, sequence, timestamp, &body, position.0);
        position
    }

    fn append_fact(&mut self, kind: u8, body: &[u8], urgency: Urgency) -> Position {
        let position = self.store().append_fact(kind, body, urgency);
        self.model().appended(position.0);
        position
    }

    fn trim(&mut self, channel: ChannelId, first: u64) -> Position {
        let position = self.store().trim(channel, first);
        self.model().trimmed(channel.0, first, position.0);
        position
    }

    fn delete_channel(&mut self, channel: ChannelId) -> Position {
        let position = self.store().delete_channel(channel);
        self.model().channel_dropped(channel.0, position.0);
        position
    }

    fn admission(&mut self, need: Need, bytes: usize) -> Admission {
        let admission = self.store().admission(need, bytes);
        let refusal = admission.as_ref().err().map(ToString::to_string);
        self.model().admission(refusal.as_deref());
        admission
    }

    fn head(&mut self, channel: ChannelId) -> Head {
        self.store().head(channel)
    }

    fn head_from(&mut self, channel: ChannelId, from: u64) -> Head {
        self.store().head_from(channel, from)
    }

    fn live_bytes(&self, channel: ChannelId, messages: u64) -> u64 {
        match &self.backing {
            Backing::File(store) => store.live_bytes(channel, messages),
            Backing::Memory(store) => store.live_bytes(channel, messages),
        }
    }

    fn seek(&mut self, ticket: Ticket, channel: ChannelId, timestamp: i64) -> Seek {
        let seek = self.store().seek(ticket, channel, timestamp);
        self.model().seek(ticket.0, channel.0, timestamp, seek == Seek::Reading);
        seek
    }

    fn read(&mut self, request: ReadRequest) {
        self.witness.line(format!(
            "reads {} of channel {} from {}",
            request.messages_max, request.channel.0, request.from
        ));
        self.model().reads(request.ticket.0, request.channel.0);
        self.store().read(request);
    }

    fn message(&self, channel: ChannelId, sequence: u64) -> Lookup<'_> {
        match &self.backing {
            Backing::File(store) => store.message(channel, sequence),
            Backing::Memory(store) => store.message(channel, sequence),
        }
    }

    fn durable(&self) -> Position {
        match &self.backing {
            Backing::File(store) => store.durable(),
            Backing::Memory(store) => store.durable(),
        }
    }

    fn checkpoint_fact(&mut self, kind: u8, body: &[u8]) {
        self.store().checkpoint_fact(kind, body);
    }

    fn finish_checkpoint(&mut self) {
        self.store().finish_checkpoint();
        self.model().count("checkpoints");
    }
}

impl Bus for Wire {
    fn reply(&mut self, subject: &[u8], payload: &[u8]) {
        self.witness.model().replied(subject, payload);
        self.send(subject, String::new(), payload.to_vec());
    }

    fn deliver(&mut self, delivery: Delivery<'_>, parts: [&[u8]; 2]) -> Carried {
        if !self.is_up {
            return Carried::Unreachable;
        }
        let client = destination(delivery.inbox);
        if let Some(destination) = client.filter(|client| self.congested.contains(client)) {
            self.witness.model().congested(delivery.subscription, destination);
            return Carried::Congested(Destination(destination));
        }
        let is_heard = client.is_none_or(|client| !self.deaf.contains(&client));
        if !is_heard && delivery.redelivery_count > 0 {
            return Carried::Unheard;
        }
        let payload = parts.concat();
        self.witness.model().delivered(
            delivery.channel.0,
            delivery.sequence,
            delivery.inbox,
            delivery.redelivery_count,
            &payload,
        );
        if !is_heard {
            return Carried::Unheard;
        }
        self.send(delivery.inbox, String::new(), payload);
        Carried::Sent
    }

    fn probe(&mut self, inbox: &[u8], probe: ProbeId) {
        self.witness.model().probed(inbox, probe.0);
        self.send(inbox, format!("probe.{}", probe.0), Vec::new());
    }

    fn listen(&mut self, subject: &[u8], subscription: u64) {
        let subject = String::from_utf8_lossy(subject).into_owned();
        if self.listened.insert(subject, subscription).is_some() {
            let mut model = self.witness.model();
            model.object(format!("{subscription} is to be acknowledged where another is"));
        }
    }

    fn unlisten(&mut self, subscription: u64) {
        self.listened.retain(|_, listening| *listening != subscription);
    }

    fn changed(&mut self, change: ChangeId, outcome: Result<Changed, Unchanged>, _is_recorded: bool) {
        self.witness.line(format!("change {}: {outcome:?}", change.0));
        self.witness.model().change_told(change, outcome);
    }
}

impl Events for Witness {
    fn event(&mut self, event: Event<'_>) {
        self.model().event(event);
        self.line(event.to_string());
    }
}

/// Why a server did not start.
#[derive(Debug)]
pub enum StartFailure {
    /// The disk failed or crashed under it, as it was told to.
    Disk(String),
    /// It refused what it found, which no crash may cause.
    Refused(String),
}

/// A running server.
pub struct Node {
    engine: Engine,
    world: World,
    completions: Vec<Completion>,
    checkpoint_running: bool,
}

impl Node {
    /// Starts a server on what the disk holds, or without a disk; a `faulty` disk may refuse operations.
    ///
    /// # Errors
    /// See [`StartFailure`].
    pub fn start(
        disk: Option<&SimulatedDisk>,
        sizes: Sizes,
        faulty: bool,
        options: Options,
        limits: &ChosenLimits,
        now: Now,
        model: Rc<RefCell<Model>>,
    ) -> Result<Node, StartFailure> {
        let mut engine = Engine::new(options.clone());
        let (backing, recovered) = match disk {
            None => (Backing::Memory(MemoryStore::new()), None),
            Some(disk) => {
                let mut recovering = Recovering::new(&mut engine);
                let opened = FileStore::open_stepped(Arc::new(disk.clone()), sizes, None, &mut recovering);
                let replayed = recovering.finish();
                let store = opened.map_err(|error| {
                    if faulty || disk.has_crashed() {
                        StartFailure::Disk(error.to_string())
                    } else {
                        StartFailure::Refused(error.to_string())
                    }
                })?;
                replayed.map_err(StartFailure::Refused)?;
                if !store.opening_warnings().is_empty() {
                    model.borrow_mut().count("torn tails cut");
                }
                let recovered = store.durable().0;
                (Backing::File(Box::new(store)), Some(recovered))
            }
        };
        let witness = Witness {
            model,
            lines: Rc::default(),
        };
        let mut world = World {
            store: Shelf {
                backing,
                witness: witness.clone(),
            },
            bus: Wire {
                witness: witness.clone(),
                sent: VecDeque::new(),
                listened: BTreeMap::new(),
                is_up: true,
                congested: BTreeSet::new(),
                deaf: BTreeSet::new(),
            },
            witness,
        };
        // What the start itself appends belongs to the new life already.
        world.model().life_begins(now, recovered, options, limits.clone());
        engine
            .start(now, &mut world.effects())
            .map_err(|error| StartFailure::Refused(error.to_string()))?;
        let channels = engine.channels_page(0, usize::MAX, true).items;
        let clients = engine.clients_page(0, usize::MAX, false).items;
        world.model().life_began(&channels, &clients);
        let mut node = Node {
            engine,
            world,
            completions: Vec::new(),
            checkpoint_running: false,
        };
        node.compare();
        Ok(node)
    }

    /// One input.
    pub fn input(&mut self, now: Now, input: Input<'_>) {
        let durable = self.world.store.durable().0;
        self.world.model().begin(now, &input, durable);
        self.engine.handle(now, input, &mut self.world.effects());
        let unrecorded = self.engine.wants_end_of_pass();
        self.world.model().end(unrecorded);
    }

    /// An ack on the bus, which leads to whoever is listened for there.
    pub fn ack(&mut self, now: Now, inbox: &str, payload: &[u8]) {
        let listening = self.world.bus.listened.get(inbox).copied();
        self.world.model().ack_arrives(inbox, listening);
        if let Some(subscription) = listening {
            self.input(now, Input::Ack { subscription, payload });
        }
    }

    /// Whether clients may be served.
    pub fn is_open(&self) -> bool {
        self.engine.has_interest()
    }

    /// Whether a request of so many bytes has to wait for the disk.
    pub fn must_wait(&mut self, bytes: usize) -> bool {
        self.world.store.store().pressure(2 * bytes + 128).is_behind
    }

    /// Hands what was appended to the journal.
    pub fn submit(&mut self) {
        let store = self.world.store.store();
        let pressure = store.pressure(0);
        if pressure.urgent || pressure.lazy {
            store.submit();
        }
    }

    /// Runs one job of the journal; whether there was one.
    pub fn job(&mut self) -> bool {
        match &mut self.world.store.backing {
            Backing::File(store) => store.step(),
            Backing::Memory(_) => false,
        }
    }

    /// Hears what the store has finished; whether there was something.
    pub fn complete(&mut self, now: Now) -> bool {
        let mut completions = std::mem::take(&mut self.completions);
        self.world.store.store().poll(&mut completions);
        let any = !completions.is_empty();
        for completion in completions.drain(..) {
            match &completion {
                Completion::CheckpointNeeded => self.begin_checkpoint(),
                Completion::CheckpointAbandoned(_) => {
                    self.world.model().count("checkpoints given up");
                    if self.checkpoint_running {
                        self.world.model().count("checkpoints given up half-way");
                    }
                    self.checkpoint_running = false;
                    self.engine.abandon_checkpoint();
                }
                Completion::Warning(text) if text.contains("cannot be read") => {
                    self.world.model().head_unreadable(now);
                }
                Completion::Warning(text) if text.contains("no room for new messages") => {
                    self.world.model().count("full disks");
                }
                Completion::Warning(text) if text.contains("space for new") => {
                    self.world.model().count("disks with space again");
                }
                _ => {}
            }
            completion.feed(|input| self.input(now, input));
        }
        self.completions = completions;
        any
    }

    /// Begins a checkpoint unless one is running.
    pub fn begin_checkpoint(&mut self) {
        if !self.checkpoint_running && !self.world.model().is_poisoned() {
            self.checkpoint_running = self.world.store.store().begin_checkpoint();
        }
    }

    /// Goes on with the running checkpoint.
    pub fn checkpoint_step(&mut self, now: Now) {
        if self.checkpoint_running {
            self.input(now, Input::CheckpointStep);
            self.checkpoint_running = self.engine.is_checkpointing();
        }
    }

    /// Whether a deadline has passed.
    pub fn is_due(&self, now: Now) -> bool {
        self.engine
            .next_deadline()
            .is_some_and(|deadline| deadline <= now.monotonic)
    }

    /// Handles every deadline up to now.
    pub fn deadlines(&mut self, now: Now) -> bool {
        let mut any = false;
        for _ in 0..REST_STEPS_MAX {
            if !self.is_due(now) {
                break;
            }
            any = true;
            self.input(now, Input::Tick);
        }
        self.world.model().deadlines_handled();
        any
    }

    /// Works until nothing is left to do; false when that does not come.
    pub fn come_to_rest(&mut self, now: Now) -> bool {
        // A jump of the clock is noticed at the next input.
        self.input(now, Input::EndOfPass);
        for _ in 0..REST_STEPS_MAX {
            let mut busy = self.deadlines(now);
            if self.engine.wants_end_of_pass() {
                self.input(now, Input::EndOfPass);
                busy = true;
            }
            self.submit();
            busy |= self.job();
            busy |= self.complete(now);
            if !busy {
                return true;
            }
        }
        false
    }

    /// Whether work is left over.
    pub fn wants_end_of_pass(&self) -> bool {
        self.engine.wants_end_of_pass()
    }

    /// Whether anything appended is not durable.
    pub fn has_backlog(&mut self) -> bool {
        let pressure = self.world.store.store().pressure(0);
        pressure.urgent || pressure.lazy || pressure.backlog_bytes > 0
    }

    /// Lets the model compare what monitoring shows.
    pub fn compare(&mut self) {
        let server = self.engine.server_snapshot();
        let channels = self.engine.channels_page(0, usize::MAX, true).items;
        let clients = self.engine.clients_page(0, usize::MAX, false).items;
        let counters = self.engine.counters();
        self.world.model().compare(&server, &channels, &clients, &counters);
        let newest = AuditQuestion {
            limit: 1,
            ..AuditQuestion::default()
        };
        self.world.model().compare_audit(&self.engine.audit(&newest));
        if self.is_open() {
            self.world.model().compare_interest(&self.world.bus.listened);
        }
    }

    /// Breaks or mends the bus; the engine hears of it when it is told.
    pub fn set_bus(&mut self, up: bool) {
        self.world.bus.is_up = up;
    }

    /// Whether the bus carries messages.
    pub fn is_bus_up(&self) -> bool {
        self.world.bus.is_up
    }

    /// A client's queue fills up.
    pub fn congest(&mut self, client: u64) {
        self.world.bus.congested.insert(client);
    }

    /// A client's queue has drained.
    pub fn drain(&mut self, now: Now, client: u64) {
        if self.world.bus.congested.remove(&client) {
            self.input(now, Input::Drained(Destination(client)));
        }
    }

    /// What is delivered to a client is lost from now on.
    pub fn stop_listening(&mut self, client: u64) {
        self.world.bus.deaf.insert(client);
    }

    /// Everybody listens again.
    pub fn listen(&mut self) {
        self.world.bus.deaf.clear();
    }

    /// Everything the engine knows, for whoever debugs it.
    pub fn inspect(&self) -> String {
        format!("{:#?}", self.engine)
    }

    /// What it sent since the last call.
    pub fn take_sent(&mut self) -> VecDeque<ToClient> {
        std::mem::take(&mut self.world.bus.sent)
    }

    /// What it said since the last call.
    pub fn take_lines(&mut self) -> Vec<String> {
        self.world.witness.lines.take()
    }
}
