//! Plays a script: what is said to the engine (`>`), and exactly what leaves it in answer (`<`).

mod changes;
mod outputs;
mod requests;
mod show;
mod tampering;
mod words;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{CloseRequest, Ping};
use seaway_streaming::{
    ChannelId, ChannelLimits, Destination, Engine, Input, Limits, LimitsTable, Now, Options, Position, ProbeId,
    Service, Timestamp, Unreadable,
};
use words::{Words, bytes, duration, range, words_without};

use crate::world::{Output, World};

const MILLISECOND: u64 = 1_000_000;
const START: Now = Now {
    monotonic: 1_000_000 * MILLISECOND,
    wall: Timestamp(1_700_000_000_000_000_000),
};

struct Session {
    options: Options,
    limits: Limits,
    channel_limits: Vec<(String, ChannelLimits)>,
    world: World,
    engine: Option<Engine>,
    now: Now,
    /// Names of channels, as their ids appear.
    channels: BTreeMap<ChannelId, String>,
    /// Ack inboxes by delivery inbox.
    ack_inboxes: BTreeMap<String, Vec<u8>>,
    connections: BTreeMap<String, String>,
    probes: BTreeMap<String, ProbeId>,
    /// Heartbeat inboxes that answer at once, and those that nobody listens on.
    alive: Vec<String>,
    gone: Vec<String>,
    /// Whether commits happen only on `sync`.
    slow_disk: bool,
    fail_reads: bool,
    /// Reads stay unanswered.
    silent_reads: bool,
    show_payload: bool,
    guids: u64,
    changes: u64,
    lines: Vec<String>,
}

impl Session {
    fn new() -> Session {
        Session {
            options: Options::default(),
            limits: *Options::default().limits.global(),
            channel_limits: Vec::new(),
            world: World::new(),
            engine: None,
            now: START,
            channels: BTreeMap::new(),
            ack_inboxes: BTreeMap::new(),
            connections: BTreeMap::new(),
            probes: BTreeMap::new(),
            alive: Vec::new(),
            gone: Vec::new(),
            slow_disk: false,
            fail_reads: false,
            silent_reads: false,
            show_payload: false,
            guids: 0,
            changes: 0,
            lines: Vec::new(),
        }
    }

    fn options(&mut self, words: &Words<'_>) {
        for (&key, &value) in &words.pairs {
            let options = &mut self.options;
            let number = || value.parse::<u64>().expect("a number");
            match key {
                "cluster" => options.cluster_id = value.to_owned(),
                "discover" => options.discover_prefix = value.to_owned(),
                "max_channels" => self.limits.max_channels = number() as usize,
                "max_subs" => self.limits.max_subscriptions = number() as usize,
                "max_msgs" => self.limits.max_messages = number(),
                "max_bytes" => self.limits.max_bytes = number(),
                "max_age" => self.limits.max_age_ns = duration(value),
                "max_inactivity" => self.limits.max_inactivity_ns = duration(value),
                "overhead" => options.message_overhead = number() as u32,
                "hb_interval" => options.heartbeat_interval_ns = duration(value),
                "hb_timeout" => options.heartbeat_timeout_ns = duration(value),
                "hb_fail_count" => options.heartbeat_fail_count = number() as u32,
                "partitioning" => options.partitioning = value == "true",
                "replace_durable" => options.replace_durable = value == "true",
                "debug" => options.debug = value == "true",
                "trace" => options.trace = value == "true",
                "sizes_known" => self.world.sizes_known = value == "true",
                "slow_heads" => self.world.slow_heads = value == "true",
                "slow_seeks" => self.world.slow_seeks = value == "true",
                "payload" => self.show_payload = value == "true",
                _ => panic!("option {key}"),
            }
        }
        self.apply_limits();
    }

    /// Limits of a channel or pattern: `limits foo.* max_msgs=3`.
    fn channel_limits(&mut self, words: &Words<'_>) {
        let mut own = ChannelLimits::default();
        for (&key, &value) in &words.pairs {
            let number = || value.parse::<u64>().expect("a number");
            match key {
                "max_subs" => own.max_subscriptions = Some(number() as usize),
                "max_msgs" => own.max_messages = Some(number()),
                "max_bytes" => own.max_bytes = Some(number()),
                "max_age" => own.max_age_ns = Some(duration(value)),
                "max_inactivity" => own.max_inactivity_ns = Some(duration(value)),
                _ => panic!("limit {key}"),
            }
        }
        self.channel_limits.push((words.at(1).to_owned(), own));
        self.apply_limits();
    }

    fn apply_limits(&mut self) {
        self.options.limits = LimitsTable::new(self.limits, &self.channel_limits).expect("the limits are valid");
    }

    fn start(&mut self) {
        match self.world.start(self.options.clone(), self.now) {
            Ok((engine, summary)) => {
                if summary.recovered {
                    let text = format!(
                        "recovered {} channels, {} clients, {} subscriptions",
                        summary.channels, summary.clients, summary.subscriptions
                    );
                    self.lines.push(text);
                }
                self.engine = Some(engine);
            }
            Err(error) => self.lines.push(format!("start refused: {error}")),
        }
    }

    fn input(&mut self, input: Input<'_>) {
        if self.engine.is_none() {
            self.start();
        }
        let engine = self.engine.as_mut().expect("the engine runs");
        self.world.handle(engine, self.now, input);
        self.drive();
    }

    /// What the shell does after inputs, until it is quiet.
    fn drive(&mut self) {
        for _ in 0..10_000 {
            let engine = self.engine.as_mut().expect("the engine runs");
            if !self.slow_disk {
                self.world.sync(engine, self.now);
            }
            self.world.handle(engine, self.now, Input::EndOfPass);
            if self.fail_reads {
                // Nobody tells of a head that could not be read.
                self.world.heads.clear();
                while let Some(request) = self.world.reads.pop_front() {
                    let unreadable = Unreadable {
                        from: 0,
                        to: 0,
                        damaged: false,
                        reason: "the disk says no".to_owned(),
                    };
                    let messages = Err(&unreadable);
                    self.world.handle(
                        engine,
                        self.now,
                        Input::Read {
                            ticket: request.ticket,
                            messages,
                        },
                    );
                }
                while let Some((ticket, ..)) = self.world.seeks.pop_front() {
                    let sequence = Err("the disk says no");
                    self.world.handle(engine, self.now, Input::Sought { ticket, sequence });
                }
            }
            let unanswered = match self.silent_reads {
                true => std::mem::take(&mut self.world.reads),
                false => Default::default(),
            };
            let mut busy = self.world.answer(engine, self.now);
            self.world.reads.extend(unanswered);
            busy |= self.answer_probes();
            let engine = self.engine.as_ref().expect("the engine runs");
            let committed = self.slow_disk || self.world.durable == self.world.records.len();
            if !busy && !engine.wants_end_of_pass() && committed {
                return;
            }
        }
        panic!("the engine never comes to rest");
    }

    fn answer_probes(&mut self) -> bool {
        let mut answers = Vec::new();
        for output in self.take_outputs() {
            let Output::Probe { inbox, probe } = output else {
                unreachable!("only probes are kept back")
            };
            let inbox = String::from_utf8(inbox).expect("test inboxes are text");
            if self.alive.contains(&inbox) {
                answers.push(Input::ProbeAnswered(probe));
            } else if self.gone.contains(&inbox) {
                answers.push(Input::ProbeUnheard(probe));
            } else {
                self.lines.push(format!("probe {inbox}"));
                self.probes.insert(inbox, probe);
            }
        }
        let busy = !answers.is_empty();
        for answer in answers {
            self.world
                .handle(self.engine.as_mut().expect("the engine runs"), self.now, answer);
        }
        busy
    }

    fn request(&mut self, service: Service, reply: &str, payload: &[u8]) {
        self.input(Input::Request {
            service,
            reply: reply.as_bytes(),
            payload,
        });
    }

    fn command(&mut self, line: &str) {
        let words = Words::new(line);
        match words.at(0) {
            "options" => self.options(&words),
            "limits" => self.channel_limits(&words),
            "connect" => self.connect(&words),
            "ping" => {
                let conn_id = bytes(words.get("conn").unwrap_or(""));
                let reply = format!("ping:{}", words.get("conn").unwrap_or(""));
                self.request(Service::Ping, &reply, &Ping { conn_id }.encode_to_vec());
            }
            "publish" => self.publish(&words),
            "subscribe" => self.subscribe(&words),
            "ack" => self.ack(&words),
            "unsubscribe" => self.unsubscribe(Service::Unsubscribe, "unsubscribe", &words),
            "subclose" => self.unsubscribe(Service::SubscriptionClose, "subclose", &words),
            "close" => {
                let request = CloseRequest {
                    client_id: bytes(words.get("id").unwrap_or(words.plain.get(1).unwrap_or(&""))),
                };
                let reply = format!("close:{}", words.plain.get(1).unwrap_or(&""));
                self.request(Service::Close, &reply, &request.encode_to_vec());
            }
            "garbage" => self.garbage(words.at(1)),
            "advance" => self.advance(duration(words.at(1))),
            "pause" => self.pause(duration(words.at(1))),
            "tick" => self.input(Input::Tick),
            // The wall clock is set; nothing else happens.
            "clock" => match words.at(1) {
                "forward" => self.now.wall.0 += duration(words.at(2)) as i64,
                back => self.now.wall.0 -= duration(back) as i64,
            },
            "alive" => self.set_responders(&words, true),
            "gone" => self.set_responders(&words, false),
            "silent" => {
                self.alive.retain(|inbox| inbox != words.at(1));
                self.gone.retain(|inbox| inbox != words.at(1));
            }
            "answer" => {
                let probe = self.probes.remove(words.at(1)).expect("a probe was sent");
                self.input(Input::ProbeAnswered(probe));
            }
            "unheard" => {
                let probe = self.probes.remove(words.at(1)).expect("a probe was sent");
                self.input(Input::ProbeUnheard(probe));
            }
            "disk" => self.disk(&words),
            "bus" => {
                self.world.bus_down = words.at(1) == "down";
                self.input(if self.world.bus_down {
                    Input::BusDown
                } else {
                    Input::BusUp
                });
            }
            "slow" => drop(self.world.slow.insert(words.at(1).as_bytes().to_vec())),
            // Nobody listens to these inboxes; somebody does again.
            "deaf" => {
                let inboxes = words.plain[1..].iter().map(|inbox| inbox.as_bytes().to_vec());
                self.world.unheard.extend(inboxes);
            }
            "hears" => drop(self.world.unheard.remove(words.at(1).as_bytes())),
            "drain" => {
                self.world.slow.clear();
                self.input(Input::Drained(Destination(1)));
            }
            // Clients that are expected back after a restart: they are away, come back, are given up, and are awaited no more.
            "away" => {
                let inboxes = words.plain[1..].iter().map(|inbox| inbox.as_bytes().to_vec());
                self.world.away.extend(inboxes);
            }
            "back" => {
                self.world.away.remove(words.at(1).as_bytes());
                self.input(Input::Drained(Destination::AWAITED));
            }
            "given-up" => self.input(Input::Gone(Destination::AWAITED)),
            // From now on what goes to them is lost, as on any bus.
            "not-awaited" => {
                self.world.away.clear();
                self.input(Input::Drained(Destination::AWAITED));
            }
            "cold" => {
                self.learn_channels();
                let name = words.at(1);
                let channel = *self
                    .channels
                    .iter()
                    .rfind(|(_, known)| *known == name)
                    .expect("a known channel")
                    .0;
                self.world
                    .cold
                    .insert(channel, words.at(2).parse().expect("a sequence"));
            }
            "hole" => self.hole(&words),
            "store" => self.tamper(&words),
            "restart" => self.restart(&words),
            "checkpoint" => {
                self.world.checkpoint_begin();
                while self.world.running.is_some() {
                    self.input(Input::CheckpointStep);
                }
            }
            "purge" | "move" | "remove" | "delete" | "disconnect" | "settle" | "limit" | "halt" | "resume" | "note" => {
                self.change(&words)
            }
            "show" => self.show(&words),
            command => panic!("command {command}"),
        }
        let probes = self.take_outputs();
        assert!(probes.is_empty(), "probes were answered or written");
    }

    /// Time passes; deadlines fire when they are due.
    fn advance(&mut self, nanoseconds: u64) {
        let end = self.now.monotonic + nanoseconds;
        for _ in 0..100_000 {
            let Some(deadline) = self
                .engine
                .as_ref()
                .and_then(Engine::next_deadline)
                .filter(|at| *at <= end)
            else {
                self.pause(end - self.now.monotonic);
                return;
            };
            self.pause(deadline.saturating_sub(self.now.monotonic));
            let before = self.lines.len();
            self.input(Input::Tick);
            let probes = self.take_outputs();
            assert!(probes.is_empty());
            let at = (self.now.monotonic - START.monotonic) / MILLISECOND;
            for line in &mut self.lines[before..] {
                *line = format!("@{at}ms {line}");
            }
        }
        panic!("deadlines do not end");
    }

    /// Time passes and nothing runs.
    fn pause(&mut self, nanoseconds: u64) {
        self.now.monotonic += nanoseconds;
        self.now.wall.0 += nanoseconds as i64;
    }

    fn set_responders(&mut self, words: &Words<'_>, alive: bool) {
        let inbox = words.at(1).to_owned();
        self.alive.retain(|other| *other != inbox);
        self.gone.retain(|other| *other != inbox);
        if alive {
            self.alive.push(inbox)
        } else {
            self.gone.push(inbox)
        }
    }

    fn disk(&mut self, words: &Words<'_>) {
        match words.at(1) {
            "slow" => self.slow_disk = true,
            "fast" => {
                self.slow_disk = false;
                self.drive();
            }
            "sync" => {
                let waiting = self.world.records.len() - self.world.durable;
                let count = words
                    .plain
                    .get(2)
                    .map_or(waiting, |count| count.parse().expect("a number"));
                self.world.durable += count.min(waiting);
                let position = Position(self.world.durable as u64);
                self.input(Input::Durable(position));
            }
            "full" => self.world.full = true,
            "brimful" => (self.world.full, self.world.brimful) = (true, true),
            "stuck" => self.world.stuck = true,
            "free" => (self.world.full, self.world.brimful, self.world.stuck) = (false, false, false),
            "rotten" => self.world.damaged = range(words.plain[2]).collect(),
            "unreadable" => self.fail_reads = true,
            "readable" => self.fail_reads = false,
            "silent" => self.silent_reads = true,
            "talkative" => {
                self.silent_reads = false;
                self.drive();
            }
            "failed" => {
                self.slow_disk = true;
                self.input(Input::Poisoned);
            }
            other => panic!("disk {other}"),
        }
    }

    fn hole(&mut self, words: &Words<'_>) {
        self.learn_channels();
        let channel = *self
            .channels
            .iter()
            .rfind(|(_, known)| *known == words.at(1))
            .expect("a known channel")
            .0;
        for sequence in range(words.at(2)) {
            self.world
                .logs
                .get_mut(&channel)
                .expect("a log")
                .messages
                .remove(&sequence);
        }
    }

    /// The process dies and comes back; `lose` that many records that were not durable in the worst case.
    fn restart(&mut self, words: &Words<'_>) {
        let durable = if words.get("lose") == Some("undurable") {
            self.world.durable
        } else {
            self.world.records.len()
        };
        self.world = self.world.crash(durable);
        self.options(words_without(words, "lose"));
        self.engine = None;
        self.slow_disk = false;
        self.start();
        if self.engine.is_some() {
            self.drive();
        }
    }
}

/// Runs a script; gives back what it would look like with the outputs as they are.
pub(crate) fn play(script: &str) -> String {
    let mut session = Session::new();
    let mut actual = String::new();
    for line in script.lines() {
        if line.starts_with('<') {
            continue;
        }
        let _ = writeln!(actual, "{line}");
        if let Some(command) = line.strip_prefix("> ") {
            session.command(command);
            for line in session.lines.drain(..) {
                let _ = writeln!(actual, "< {line}");
            }
        }
    }
    actual
}
