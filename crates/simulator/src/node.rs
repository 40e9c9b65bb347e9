//! One life of a server: engine and file store on the simulated disk, with a bus that ends at the simulated clients.

use std::collections::VecDeque;
use std::sync::Arc;

use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_store::{Completion, FileStore, Lookup, Recovering, Sizes, Store};
use seaway_streaming::{
    Admission, ChannelId, Delivered, Delivery, Effects, Engine, Event, Head, Input, Need, Now, Options, Position,
    ProbeId, ReadRequest, Seek, Source, Ticket, Urgency,
};

use crate::client::ToClient;

/// What the engine's effects act on.
struct World {
    store: FileStore,
    sent: VecDeque<ToClient>,
    unheard: Vec<ProbeId>,
    checkpoint_written: bool,
    lines: Vec<String>,
}

impl World {
    fn assert_durable(&self, depends_on: Position) {
        assert!(
            depends_on <= self.store.durable(),
            "an output was about to leave before it is durable"
        );
    }

    fn send(&mut self, subject: &[u8], reply: String, payload: Vec<u8>) {
        self.sent.push_back(ToClient {
            subject: String::from_utf8_lossy(subject).into_owned(),
            reply,
            payload,
        });
    }
}

impl Effects for World {
    fn append_message(&mut self, channel: ChannelId, sequence: u64, timestamp: i64, body: &[&[u8]]) -> Position {
        self.store.append_message(channel, sequence, timestamp, body)
    }

    fn append_fact(&mut self, kind: u8, body: &[u8], urgency: Urgency) -> Position {
        self.store.append_fact(kind, body, urgency)
    }

    fn trim(&mut self, channel: ChannelId, first: u64) -> Position {
        self.store.trim(channel, first)
    }

    fn delete_channel(&mut self, channel: ChannelId) -> Position {
        self.store.delete_channel(channel)
    }

    fn admission(&mut self, need: Need, bytes: usize) -> Admission {
        self.store.admission(need, bytes)
    }

    fn head(&mut self, channel: ChannelId) -> Head {
        self.store.head(channel)
    }

    fn head_from(&mut self, channel: ChannelId, from: u64) -> Head {
        self.store.head_from(channel, from)
    }

    fn seek(&mut self, ticket: Ticket, channel: ChannelId, timestamp: i64) -> Seek {
        self.store.seek(ticket, channel, timestamp)
    }

    fn read(&mut self, request: ReadRequest) {
        self.store.read(request);
    }

    fn reply(&mut self, depends_on: Position, subject: &[u8], payload: &[u8]) {
        self.assert_durable(depends_on);
        self.send(subject, String::new(), payload.to_vec());
    }

    fn deliver(&mut self, depends_on: Position, delivery: Delivery<'_>, source: Source<'_>) -> Delivered {
        self.assert_durable(depends_on);
        let mut payload = match source {
            Source::Body(body) => body.to_vec(),
            Source::Store => match self.store.message(delivery.channel, delivery.sequence) {
                Lookup::Hot(body) => body.to_vec(),
                Lookup::Cold => return Delivered::Cold,
                Lookup::Missing => return Delivered::Missing,
            },
        };
        if delivery.redelivery_count > 0 {
            seaway_stan_protocol::append_redelivery(&mut payload, delivery.redelivery_count);
        }
        let bytes = u32::try_from(payload.len()).expect("simulated messages are small");
        self.send(delivery.inbox, String::new(), payload);
        Delivered::Sent { bytes, congested: None }
    }

    fn probe(&mut self, inbox: &[u8], probe: ProbeId) {
        self.send(inbox, format!("probe.{}", probe.0), Vec::new());
    }

    fn checkpoint_fact(&mut self, kind: u8, body: &[u8]) {
        self.store.checkpoint_fact(kind, body);
    }

    fn checkpoint_complete(&mut self) {
        self.checkpoint_written = true;
    }

    fn event(&mut self, event: Event<'_>) {
        self.lines.push(event.to_string());
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
    /// The store failed for good.
    pub poisoned: bool,
    /// Checkpoints finished in this life.
    pub checkpoints: u64,
}

impl Node {
    /// Starts a server on what the disk holds; a `faulty` disk may refuse operations.
    ///
    /// # Errors
    /// See [`StartFailure`].
    pub fn start(
        disk: &SimulatedDisk,
        sizes: Sizes,
        faulty: bool,
        options: Options,
        now: Now,
    ) -> Result<Node, StartFailure> {
        let mut engine = Engine::new(options);
        let mut recovering = Recovering::new(&mut engine);
        let opened = FileStore::open_stepped(Arc::new(disk.clone()), sizes, &mut recovering);
        let recovered = recovering.finish();
        let store = opened.map_err(|error| {
            if faulty || disk.has_crashed() {
                StartFailure::Disk(error.to_string())
            } else {
                StartFailure::Refused(error.to_string())
            }
        })?;
        recovered.map_err(StartFailure::Refused)?;
        let world = World {
            store,
            sent: VecDeque::new(),
            unheard: Vec::new(),
            checkpoint_written: false,
            lines: Vec::new(),
        };
        let mut node = Node {
            engine,
            world,
            completions: Vec::new(),
            checkpoint_running: false,
            poisoned: false,
            checkpoints: 0,
        };
        node.engine
            .start(now, &mut node.world)
            .map_err(|error| StartFailure::Refused(error.to_string()))?;
        Ok(node)
    }

    /// One input.
    pub fn input(&mut self, now: Now, input: Input<'_>) {
        self.engine.handle(now, input, &mut self.world);
        while let Some(probe) = self.world.unheard.pop() {
            self.engine.handle(now, Input::ProbeUnheard(probe), &mut self.world);
        }
    }

    /// Hands what was appended to the journal.
    pub fn submit(&mut self) {
        if self.world.store.has_urgent() || self.world.store.has_lazy() {
            self.world.store.submit();
        }
    }

    /// Runs one job of the journal; whether there was one.
    pub fn job(&mut self) -> bool {
        self.world.store.step()
    }

    /// Hears what the store has finished.
    pub fn complete(&mut self, now: Now) {
        let mut completions = std::mem::take(&mut self.completions);
        self.world.store.poll(&mut completions);
        for completion in completions.drain(..) {
            match &completion {
                Completion::CheckpointNeeded => self.begin_checkpoint(),
                Completion::CheckpointAbandoned(_) => {
                    self.checkpoint_running = false;
                    self.engine.abandon_checkpoint();
                }
                Completion::Poisoned(_) => self.poisoned = true,
                _ => {}
            }
            completion.feed(|input| self.input(now, input));
        }
        self.completions = completions;
    }

    /// Begins a checkpoint unless one is running.
    pub fn begin_checkpoint(&mut self) {
        if !self.checkpoint_running && !self.poisoned {
            self.world.checkpoint_written = false;
            self.checkpoint_running = self.world.store.begin_checkpoint();
        }
    }

    /// Goes on with the running checkpoint.
    pub fn checkpoint_step(&mut self, now: Now) {
        if self.checkpoint_running {
            self.input(now, Input::CheckpointStep);
            if self.world.checkpoint_written {
                self.world.store.finish_checkpoint();
                self.checkpoint_running = false;
                self.checkpoints += 1;
            }
        }
    }

    /// Whether a deadline has passed.
    pub fn is_due(&self, now: Now) -> bool {
        self.engine
            .next_deadline()
            .is_some_and(|deadline| deadline <= now.monotonic)
    }

    /// When the next deadline is.
    pub fn next_deadline(&self) -> Option<u64> {
        self.engine.next_deadline()
    }

    /// Whether work is left over.
    pub fn wants_settle(&self) -> bool {
        self.engine.wants_settle()
    }

    /// What it sent since the last call.
    pub fn take_sent(&mut self) -> VecDeque<ToClient> {
        std::mem::take(&mut self.world.sent)
    }

    /// What it said since the last call.
    pub fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.world.lines)
    }

    /// The engine, to look at.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether anything appended is not durable.
    pub fn has_backlog(&self) -> bool {
        self.world.store.has_urgent() || self.world.store.has_lazy() || self.world.store.backlog_bytes() > 0
    }
}
