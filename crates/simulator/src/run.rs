//! One run: a seed decides everything, step by step.

use std::collections::{BTreeSet, VecDeque};
use std::io::ErrorKind;

use seaway_journal::disk::simulated::{Operation, SimulatedDisk, SyncMode};
use seaway_store::Sizes;
use seaway_streaming::{Input, Limits, LimitsTable, Now, Options, ProbeId, Service, Timestamp};

use crate::client::{Client, ToServer, Wish};
use crate::node::{Node, StartFailure};
use crate::oracle::{Oracle, Reader};
use crate::trace::Trace;

/// Which run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Decides everything.
    pub seed: u64,
    /// Steps before everything heals.
    pub steps: u32,
    /// Trace lines kept for a failure report.
    pub trace_lines: usize,
    /// Whether the disk's sync does what it says; without it a run is expected to fail.
    pub honest_sync: bool,
}

/// What happened, to prove that a run was not vacuous.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Servers that crashed.
    pub crashes: u64,
    /// Publishes acknowledged.
    pub acknowledged: u64,
    /// Messages that clients received marked as redelivered.
    pub redeliveries: u64,
    /// Checkpoints finished.
    pub checkpoints: u64,
    /// Refusals that clients saw.
    pub refusals: u64,
    /// Servers that were poisoned by a failing disk.
    pub poisoned: u64,
    /// Lines of the trace, and their checksum.
    pub fingerprint: (u64, u64),
}

impl Counters {
    /// Adds another run's.
    pub fn add(&mut self, other: &Counters) {
        self.crashes += other.crashes;
        self.acknowledged += other.acknowledged;
        self.redeliveries += other.redeliveries;
        self.checkpoints += other.checkpoints;
        self.refusals += other.refusals;
        self.poisoned += other.poisoned;
    }
}

/// A run that broke a promise.
#[derive(Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What was broken.
    pub reason: String,
    /// What led to it.
    pub recent: Vec<String>,
}

const CHANNELS: [&str; 3] = ["alpha", "beta", "gamma"];
pub(crate) const CLIENTS: usize = 4;
pub(crate) const MILLISECOND: u64 = 1_000_000;

/// Runs one seed to its end.
///
/// # Errors
/// The first promise that was broken.
pub fn run(settings: Settings) -> Result<Counters, Failure> {
    let mut simulation = Simulation::new(settings);
    let outcome = simulation.play();
    simulation.counters.fingerprint = simulation.trace.fingerprint();
    match outcome {
        Ok(()) => Ok(simulation.counters),
        Err(reason) => Err(Failure {
            seed: settings.seed,
            reason,
            recent: simulation.trace.recent().map(str::to_owned).collect(),
        }),
    }
}

pub(crate) struct Simulation {
    pub(crate) random: fastrand::Rng,
    pub(crate) settings: Settings,
    pub(crate) options: Options,
    pub(crate) now: Now,
    pub(crate) disk: SimulatedDisk,
    pub(crate) sizes: Sizes,
    pub(crate) node: Option<Node>,
    pub(crate) clients: Vec<Client>,
    /// Per client, in order: what is on its way to the server.
    pub(crate) outgoing: Vec<VecDeque<ToServer>>,
    pub(crate) oracle: Oracle,
    /// Durables and durable groups that exist for certain, or may exist.
    pub(crate) readers: BTreeSet<Reader>,
    /// Durable names that were unsubscribed somewhere.
    pub(crate) retired: BTreeSet<String>,
    pub(crate) trace: Trace,
    pub(crate) counters: Counters,
    pub(crate) payloads: u64,
    pub(crate) faults: bool,
    /// The disk may refuse an operation without a crash.
    pub(crate) fault_planted: bool,
    pub(crate) trims: bool,
}

impl Simulation {
    fn new(settings: Settings) -> Simulation {
        let mut random = fastrand::Rng::with_seed(settings.seed);
        let trims = random.u8(..4) == 0;
        let options = Options {
            limits: LimitsTable::from(Limits {
                max_messages: if trims { random.u64(5..60) } else { 0 },
                max_bytes: 0,
                ..*Options::default().limits.global()
            }),
            message_overhead: 40,
            heartbeat_interval_ns: 2_000 * MILLISECOND,
            heartbeat_timeout_ns: 500 * MILLISECOND,
            heartbeat_fail_count: 2,
            hash_seed: random.u64(..),
            debug: true,
            trace: true,
            ..Options::default()
        };
        let disk = SimulatedDisk::new(random.u64(..));
        if !settings.honest_sync {
            disk.set_sync_mode(SyncMode::Lying);
        }
        Simulation {
            settings,
            options,
            now: Now {
                monotonic: 1,
                wall: Timestamp(1_700_000_000_000_000_000),
            },
            disk,
            sizes: Sizes {
                segment_bytes: [64, 128, 512][random.usize(..3)] * 1024,
                cache_bytes: [4, 64, 4096][random.usize(..3)] * 1024,
                checkpoint_bytes: random.u64(8..128) * 1024,
            },
            node: None,
            clients: (0..CLIENTS)
                .map(|number| Client::new(format!("client{number}"), trims))
                .collect(),
            outgoing: (0..CLIENTS).map(|_| VecDeque::new()).collect(),
            oracle: Oracle::default(),
            readers: BTreeSet::new(),
            retired: BTreeSet::new(),
            trace: Trace::new(settings.trace_lines),
            counters: Counters::default(),
            payloads: 0,
            faults: true,
            fault_planted: false,
            trims,
            random,
        }
    }

    fn play(&mut self) -> Result<(), String> {
        for _ in 0..self.settings.steps {
            self.step()?;
        }
        self.heal()?;
        self.counters.acknowledged = self.oracle.acknowledged_count() as u64;
        self.counters.redeliveries = self.clients.iter().map(|client| client.redeliveries).sum();
        self.counters.refusals = self.clients.iter().map(|client| client.refusals).sum();
        Ok(())
    }

    /// One step: something happens somewhere.
    fn step(&mut self) -> Result<(), String> {
        if self.node.is_none() {
            return self.start();
        }
        if self.disk.has_crashed() {
            return self.crash();
        }
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
            880..940 => self.with_node(|node, now| node.input(now, Input::Settle)),
            940..970 => self.time_passes(),
            970..980 => self.with_node(|node, now| node.checkpoint_step(now)),
            980..984 => self.with_node(|node, _| node.begin_checkpoint()),
            984..987 if self.faults => return self.crash(),
            987..990 if self.faults => self.crash_soon(12),
            995 if self.faults && self.random.u8(..8) == 0 => {
                self.disk
                    .fail(Operation::SyncData, self.random.u64(0..6), ErrorKind::Other);
                self.fault_planted = true;
            }
            996..998 if self.faults => self.client_vanishes(),
            _ => {}
        }
        self.carry()
    }

    fn with_node(&mut self, act: impl FnOnce(&mut Node, Now)) {
        if let Some(node) = &mut self.node {
            act(node, self.now);
        }
    }

    pub(crate) fn start(&mut self) -> Result<(), String> {
        if self.faults && self.random.u8(..10) == 0 {
            self.crash_soon(20);
        }
        match Node::start(
            &self.disk,
            self.sizes,
            self.fault_planted,
            self.options.clone(),
            self.now,
        ) {
            Ok(node) => {
                self.trace.add(format_args!("{} started", self.now.monotonic));
                self.node = Some(node);
                self.oracle.server_started();
                Ok(())
            }
            Err(StartFailure::Disk(reason)) => {
                self.trace.add(format_args!("start failed: {reason}"));
                self.disk.restart();
                self.counters.crashes += 1;
                Ok(())
            }
            Err(StartFailure::Refused(reason)) => Err(format!("the server refused to start: {reason}")),
        }
    }

    pub(crate) fn crash(&mut self) -> Result<(), String> {
        self.trace.add(format_args!("{} crash", self.now.monotonic));
        if let Some(node) = self.node.take() {
            self.counters.checkpoints += node.checkpoints;
            self.counters.poisoned += u64::from(node.poisoned);
        }
        if self.faults && self.random.u8(..4) == 0 {
            self.disk.restart_process()
        } else {
            self.disk.restart()
        }
        self.counters.crashes += 1;
        for (client, outgoing) in self.clients.iter_mut().zip(&mut self.outgoing) {
            client.server_crashed();
            client.give_up();
            outgoing.clear();
        }
        Ok(())
    }

    /// The power fails at one of the next changing operations of the disk.
    fn crash_soon(&mut self, within: u64) {
        self.disk
            .crash_at(self.disk.operations() + 1 + self.random.u64(..within));
    }

    fn time_passes(&mut self) {
        let milliseconds = if self.random.u8(..10) == 0 {
            self.random.u64(500..3_000)
        } else {
            self.random.u64(1..200)
        };
        self.advance(milliseconds * MILLISECOND);
    }

    pub(crate) fn advance(&mut self, nanoseconds: u64) {
        self.now.monotonic += nanoseconds;
        self.now.wall.0 += i64::try_from(nanoseconds).expect("a short time");
        let now = self.now;
        if let Some(node) = &mut self.node
            && node.is_due(now)
        {
            node.input(now, Input::Tick);
        }
    }

    fn client_vanishes(&mut self) {
        let number = self.random.usize(..CLIENTS);
        let client = &mut self.clients[number];
        self.trace.add(format_args!("{} vanishes", client.id));
        client.restart();
        client.reachable = self.random.bool();
        self.outgoing[number].clear();
    }

    fn client_acts(&mut self) {
        let number = self.random.usize(..CLIENTS);
        if self.clients[number].is_waiting() {
            if self.random.u8(..40) == 0 {
                self.clients[number].give_up();
            }
            return;
        }
        let Some(message) = self.client_message(number) else {
            return;
        };
        self.trace
            .add(format_args!("{} {}", self.clients[number].id, describe(&message)));
        self.outgoing[number].push_back(message);
    }

    fn client_message(&mut self, number: usize) -> Option<ToServer> {
        let channel = CHANNELS[self.random.usize(..CHANNELS.len())];
        let choice = self.random.u8(..100);
        let client = &mut self.clients[number];
        if client.connection.is_none() {
            client.reachable = true;
            return Some(client.connect());
        }
        let held: Vec<(String, u64)> = client
            .subscriptions
            .values()
            .flat_map(|subscription| {
                subscription
                    .unacknowledged
                    .iter()
                    .take(3)
                    .map(|sequence| (subscription.inbox.clone(), *sequence))
            })
            .collect();
        let inboxes: Vec<String> = client.subscriptions.keys().cloned().collect();
        match choice {
            0..45 => {
                self.payloads += 1;
                self.oracle.published(self.payloads, channel);
                let padding = if self.random.u8(..20) == 0 {
                    self.random.usize(..20_000)
                } else {
                    self.random.usize(..60)
                };
                Some(self.clients[number].publish(channel, self.payloads, padding))
            }
            45..85 if !held.is_empty() => {
                let (inbox, sequence) = &held[self.random.usize(..held.len())];
                client.acknowledge(inbox, *sequence)
            }
            85..94 if inboxes.len() < 4 => {
                let wish = self.wish(channel);
                let client = &mut self.clients[number];
                let message = client.subscribe(&wish);
                self.remember_reader(number, &wish);
                Some(message)
            }
            94..98 if !inboxes.is_empty() => {
                let inbox = inboxes[self.random.usize(..inboxes.len())].clone();
                let reader = client
                    .subscriptions
                    .get(&inbox)
                    .and_then(|subscription| subscription.reader.clone());
                if self.random.u8(..4) > 0 {
                    return client.leave(&inbox, Service::SubscriptionClose);
                }
                let message = client.leave(&inbox, Service::Unsubscribe);
                if let Some(reader) = reader {
                    let (Reader::Durable(_, _, name) | Reader::Group(_, _, name)) = &reader;
                    self.retired.insert(name.clone());
                    self.readers.retain(|other| {
                        let (Reader::Durable(_, _, other) | Reader::Group(_, _, other)) = other;
                        other != name
                    });
                }
                message
            }
            98 => Some(client.close()),
            _ => None,
        }
    }

    fn remember_reader(&mut self, number: usize, wish: &Wish) {
        if wish.durable.is_empty() {
            return;
        }
        let reader = if wish.group.is_empty() {
            Reader::Durable(
                self.clients[number].id.clone(),
                wish.channel.clone(),
                wish.durable.clone(),
            )
        } else {
            Reader::Group(wish.channel.clone(), wish.group.clone(), wish.durable.clone())
        };
        self.readers.insert(reader);
    }

    fn wish(&mut self, channel: &str) -> Wish {
        let kind = self.random.u8(..4);
        let mut durable = if kind & 1 == 1 {
            format!("d{}", self.random.u32(..6))
        } else {
            String::new()
        };
        // After an unsubscribe that may have been lost nobody could say what a name stands for.
        while self.retired.contains(&durable) {
            durable.push('x');
        }
        Wish {
            channel: channel.to_owned(),
            durable,
            group: if kind & 2 == 2 { "q".to_owned() } else { String::new() },
            start_position: self.random.i32(0..5),
            start_sequence: self.random.u64(0..40),
            max_in_flight: [1, 2, 5, 100][self.random.usize(..4)],
            ack_wait: self.random.i32(1..4),
        }
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
        if let Some(answer) = self.clients[number].look(&message, &mut self.oracle)? {
            self.outgoing[number].push_back(answer);
        }
        Ok(())
    }

    fn server_hears(&mut self) {
        let number = self.random.usize(..CLIENTS);
        self.hear(number);
    }

    pub(crate) fn hear(&mut self, number: usize) {
        let Some(message) = self.outgoing[number].pop_front() else {
            return;
        };
        if self.faults && self.random.u8(..200) == 0 {
            self.trace.add(format_args!("lost: {}", describe(&message)));
            return;
        }
        let now = self.now;
        let Some(node) = &mut self.node else { return };
        match &message {
            ToServer::Request(service, reply, payload) => {
                node.input(
                    now,
                    Input::Request {
                        service: *service,
                        reply,
                        payload,
                    },
                );
            }
            ToServer::Ack(ack_inbox, payload) => node.input(
                now,
                Input::Ack {
                    ack_inbox: *ack_inbox,
                    payload,
                },
            ),
            ToServer::Probe(probe) => node.input(now, Input::ProbeAnswered(ProbeId(*probe))),
        }
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

fn describe(message: &ToServer) -> String {
    match message {
        ToServer::Request(service, _, payload) => format!("{service:?} {} bytes", payload.len()),
        ToServer::Ack(inbox, _) => format!("ack on {inbox}"),
        ToServer::Probe(probe) => format!("answers {probe}"),
    }
}
