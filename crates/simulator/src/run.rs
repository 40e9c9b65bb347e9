//! One run: a seed decides everything, step by step.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use seaway_journal::disk::simulated::{SimulatedDisk, SyncMode};
use seaway_store::Sizes;
use seaway_streaming::{Input, Now, Options, ProbeId, Timestamp};

use crate::client::{Client, ToServer};
use crate::model::Model;
use crate::node::{Node, StartFailure};
use crate::operator::Operator;
use crate::settings::{self, ChosenLimits, MILLISECOND, SECOND, Settings};
use crate::trace::Trace;

/// What a run that kept every promise leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What happened how often, to prove that the run was not vacuous.
    pub seen: BTreeMap<&'static str, u64>,
    /// Lines of the trace, and their checksum.
    pub fingerprint: (u64, u64),
}

impl Outcome {
    /// Adds another run's.
    pub fn add(&mut self, other: &Outcome) {
        for (what, count) in &other.seen {
            *self.seen.entry(what).or_default() += count;
        }
    }
}

/// A run that broke a promise.
#[derive(Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// The step it failed at; the healing comes after the last.
    pub step: u32,
    /// What was broken.
    pub reason: String,
    /// Everything the engine knew then.
    pub engine: String,
    /// What led to it.
    pub recent: Vec<String>,
}

pub(crate) const CLIENTS: usize = 4;

/// Runs one seed to its end.
///
/// # Errors
/// The first promise that was broken.
pub fn run(settings: Settings) -> Result<Outcome, Failure> {
    let mut simulation = Simulation::new(settings);
    match simulation.play() {
        Ok(()) => Ok(Outcome {
            seen: simulation.model.borrow().seen.clone(),
            fingerprint: simulation.trace.fingerprint(),
        }),
        Err(reason) => Err(Failure {
            engine: simulation.node.as_ref().map(Node::inspect).unwrap_or_default(),
            seed: settings.seed,
            step: simulation.steps,
            reason,
            recent: simulation.trace.recent().map(str::to_owned).collect(),
        }),
    }
}

pub(crate) struct Simulation {
    pub(crate) random: fastrand::Rng,
    pub(crate) settings: Settings,
    pub(crate) options: Options,
    pub(crate) limits: ChosenLimits,
    pub(crate) now: Now,
    /// None for a store in memory.
    pub(crate) disk: Option<SimulatedDisk>,
    pub(crate) sizes: Sizes,
    pub(crate) node: Option<Node>,
    pub(crate) model: Rc<RefCell<Model>>,
    pub(crate) clients: Vec<Client>,
    /// Per client, in order: what is on its way to the server.
    pub(crate) outgoing: Vec<VecDeque<ToServer>>,
    pub(crate) trace: Trace,
    pub(crate) payloads: u64,
    pub(crate) faults: bool,
    /// The disk may refuse an operation without a crash.
    pub(crate) fault_planted: bool,
    /// The disk's space is bounded.
    pub(crate) tight: bool,
    /// Some bytes of the disk are read otherwise than they were written.
    pub(crate) is_rotten: bool,
    pub(crate) steps: u32,
    pub(crate) operator: Operator,
}

impl Simulation {
    fn new(settings: Settings) -> Simulation {
        let mut random = fastrand::Rng::with_seed(settings.seed);
        let in_memory = random.u8(..8) == 0;
        let limits = settings::limits(&mut random);
        let options = settings::options(&mut random, &limits, in_memory);
        let disk = (!in_memory).then(|| SimulatedDisk::new(random.u64(..)));
        if !settings.honest_sync
            && let Some(disk) = &disk
        {
            disk.set_sync_mode(SyncMode::Lying);
        }
        Simulation {
            settings,
            now: Now {
                monotonic: 1,
                wall: Timestamp(1_700_000_000_000_000_000),
            },
            disk,
            sizes: settings::sizes(&mut random),
            node: None,
            model: Rc::new(RefCell::new(Model::new(options.clone(), limits.clone()))),
            options,
            limits,
            clients: (0..CLIENTS)
                .map(|number| Client::new(format!("client{number}"), number > 0))
                .collect(),
            outgoing: (0..CLIENTS).map(|_| VecDeque::new()).collect(),
            trace: Trace::new(settings.trace_lines),
            payloads: 0,
            faults: true,
            fault_planted: false,
            tight: false,
            is_rotten: false,
            steps: 0,
            operator: Operator::new(settings.seed),
            random,
        }
    }

    fn play(&mut self) -> Result<(), String> {
        for _ in 0..self.settings.steps {
            self.steps += 1;
            self.step()?;
            self.judge()?;
        }
        self.heal()
    }

    pub(crate) fn judge(&self) -> Result<(), String> {
        match self.model.borrow().violation() {
            Some(violation) => Err(violation.to_owned()),
            None => Ok(()),
        }
    }

    pub(crate) fn count(&self, what: &'static str) {
        self.model.borrow_mut().count(what);
    }

    /// One step: something happens somewhere.
    fn step(&mut self) -> Result<(), String> {
        if self.node.is_none() {
            return self.start();
        }
        if self.has_crashed() {
            self.crash();
            return Ok(());
        }
        self.operator_acts();
        self.operator_pauses();
        match self.random.u32(..1000) {
            0..300 => self.client_acts(),
            300..500 => self.client_looks()?,
            500..680 => self.server_hears(),
            680..760 => self.with_node(|node, now| {
                node.submit();
                node.complete(now);
            }),
            760..880 => self.with_node(|node, _| {
                node.job();
            }),
            880..930 => self.with_node(|node, now| node.input(now, Input::EndOfPass)),
            930..960 => self.time_passes(),
            960..970 => self.with_node(Node::checkpoint_step),
            970..973 => self.with_node(|node, _| node.begin_checkpoint()),
            973..978 => self.rest()?,
            _ if self.faults => self.something_breaks(),
            _ => {}
        }
        self.carry()
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.disk.as_ref().is_some_and(SimulatedDisk::has_crashed)
    }

    pub(crate) fn with_node(&mut self, act: impl FnOnce(&mut Node, Now)) {
        if let Some(node) = &mut self.node {
            act(node, self.now);
        }
    }

    pub(crate) fn start(&mut self) -> Result<(), String> {
        self.before_start();
        let started = Node::start(
            self.disk.as_ref(),
            self.sizes,
            self.fault_planted || self.tight,
            self.options.clone(),
            &self.limits,
            self.now,
            Rc::clone(&self.model),
        );
        match started {
            Ok(node) => {
                self.trace.add(format_args!("{} started", self.now.monotonic));
                self.node = Some(node);
                self.count("starts");
                self.judge()
            }
            Err(StartFailure::Disk(reason)) => {
                self.trace.add(format_args!("start failed: {reason}"));
                self.count("starts that failed");
                if self.random.bool() {
                    self.disk_has_space();
                }
                self.crash();
                Ok(())
            }
            Err(StartFailure::Refused(reason)) if self.is_rotten => {
                // A crash has made the start read what rots: a segment whose directory was not synced yet. Somebody repairs it.
                self.trace.add(format_args!("start refused over rot: {reason}"));
                self.count("starts refused over rot");
                self.disk_is_mended();
                self.start()
            }
            Err(StartFailure::Refused(reason)) => Err(format!("the server refused to start: {reason}")),
        }
    }

    /// Everything there is to do is done, at one moment; then what should be is compared with what is.
    pub(crate) fn rest(&mut self) -> Result<(), String> {
        self.trace.add(format_args!("{} rest", self.now.monotonic));
        let Some(node) = &mut self.node else { return Ok(()) };
        let rested = node.come_to_rest(self.now);
        if self.has_crashed() {
            return Ok(());
        }
        if !rested {
            return Err("the server does not come to rest".to_owned());
        }
        let poisoned = self.model.borrow().is_poisoned();
        let node = self.node.as_mut().expect("it was just asked");
        if !poisoned && !node.has_backlog() {
            let bus_up = node.is_bus_up();
            self.model.borrow_mut().rest(bus_up);
        }
        node.compare();
        Ok(())
    }

    pub(crate) fn advance(&mut self, nanoseconds: u64) {
        self.now.monotonic += nanoseconds;
        self.now.wall.0 = self
            .now
            .wall
            .0
            .saturating_add(i64::try_from(nanoseconds).expect("a short time"));
        self.trace.add(format_args!("{}", self.now.monotonic));
        self.with_node(|node, now| {
            if node.is_due(now) {
                node.deadlines(now);
            }
        });
    }

    fn time_passes(&mut self) {
        let nanoseconds = if self.random.u8(..10) == 0 {
            self.random.u64(500..3_000) * MILLISECOND
        } else if self.random.u8(..60) == 0 {
            self.random.u64(3..20) * SECOND
        } else {
            self.random.u64(1..200) * MILLISECOND
        };
        self.advance(nanoseconds);
    }

    fn client_looks(&mut self) -> Result<(), String> {
        let number = self.random.usize(..CLIENTS);
        self.look(number)
    }

    pub(crate) fn look(&mut self, number: usize) -> Result<(), String> {
        let Some(message) = self.clients[number].incoming.pop_front() else {
            return Ok(());
        };
        self.trace
            .add(format_args!("{} looks at {}", self.clients[number].id, message.subject));
        if let Some(answer) = self.clients[number].look(&message)? {
            self.outgoing[number].push_back(answer);
        }
        Ok(())
    }

    fn server_hears(&mut self) {
        let number = self.random.usize(..CLIENTS);
        self.hear(number);
    }

    pub(crate) fn hear(&mut self, number: usize) {
        let Some(node) = &mut self.node else { return };
        if !node.is_bus_up() || !node.is_open() {
            return;
        }
        let Some(message) = self.outgoing[number].front() else {
            return;
        };
        if let ToServer::Request(service, _, payload) = message
            && *service != seaway_streaming::Service::Ping
            && node.must_wait(payload.len())
        {
            self.model.borrow_mut().count("requests held back");
            return;
        }
        let message = self.outgoing[number].pop_front().expect("it was just seen");
        if self.faults && self.random.u8(..200) == 0 {
            self.trace.add(format_args!("lost: {}", describe(&message)));
            return self.count("messages lost");
        }
        self.take(&message);
        if self.faults && self.random.u8(..150) == 0 {
            self.trace.add(format_args!("twice: {}", describe(&message)));
            self.count("messages doubled");
            self.take(&message);
        }
    }

    fn take(&mut self, message: &ToServer) {
        self.with_node(|node, now| match message {
            ToServer::Request(service, reply, payload) => node.input(
                now,
                Input::Request {
                    service: *service,
                    reply,
                    payload,
                },
            ),
            ToServer::Ack(inbox, payload) => {
                node.ack(now, inbox, payload);
            }
            ToServer::Probe(probe) => node.input(now, Input::ProbeAnswered(ProbeId(*probe))),
        });
    }

    /// Takes what the server sent to those it is for.
    pub(crate) fn carry(&mut self) -> Result<(), String> {
        let Some(node) = &mut self.node else { return Ok(()) };
        let mut unheard = Vec::new();
        for line in node.take_lines() {
            self.trace.add(format_args!("   {line}"));
        }
        for message in node.take_sent() {
            let owner = message.subject.split('/').next().unwrap_or_default();
            if message.reply.is_empty() {
                self.trace
                    .add(format_args!("-> {} {} bytes", message.subject, message.payload.len()));
            }
            let Some(client) = self.clients.iter_mut().find(|client| client.id == owner) else {
                return Err(format!("a message for nobody: {}", message.subject));
            };
            let listens = message.reply.is_empty() || client.heartbeat_inbox == message.subject;
            if client.reachable && listens && !(self.faults && self.random.u8(..200) == 0) {
                if self.faults && self.random.u8(..200) == 0 {
                    client.incoming.push_back(message.clone());
                }
                client.incoming.push_back(message);
            } else if message.reply.is_empty() {
                client.lost(&message);
            } else if self.random.bool() {
                unheard.push(message.reply);
            }
        }
        for reply in unheard {
            let probe = reply.rsplit('.').next().and_then(|number| number.parse().ok());
            let probe = probe.ok_or("a probe whose reply subject ends with no number")?;
            self.with_node(|node, now| node.input(now, Input::ProbeUnheard(ProbeId(probe))));
        }
        Ok(())
    }
}

pub(crate) fn describe(message: &ToServer) -> String {
    match message {
        ToServer::Request(service, _, payload) => format!("{service:?} {} bytes", payload.len()),
        ToServer::Ack(inbox, _) => format!("ack on {inbox}"),
        ToServer::Probe(probe) => format!("answers {probe}"),
    }
}
