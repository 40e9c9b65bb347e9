//! Scripts: what is said to the engine (`>`), and exactly what leaves it in answer (`<`), in order.
//!
//! Each file in `tests/scripts` reads as a tutorial of one part of the protocol. `SCRIPTS_WRITE=1 cargo test` writes what
//! the engine does into the files, to be read before it is committed.

mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{
    Ack, CloseRequest, CloseResponse, ConnectRequest, ConnectResponse, Ping, PingResponse, PubAck, PubMsg,
    SubscriptionRequest, SubscriptionResponse, UnsubscribeRequest,
};
use seaway_streaming::{
    ChannelId, Destination, Engine, Input, Level, Now, Options, Position, ProbeId, Service, SubscriptionSnapshot,
    Timestamp,
};
use world::{Output, World};

const MILLISECOND: u64 = 1_000_000;
const START: Now = Now {
    monotonic: 1_000_000 * MILLISECOND,
    wall: Timestamp(1_700_000_000_000_000_000),
};

struct Session {
    options: Options,
    world: World,
    engine: Option<Engine>,
    now: Now,
    /// Names of channels, as their ids appear.
    channels: BTreeMap<ChannelId, String>,
    /// Ack inbox numbers by delivery inbox.
    ack_inboxes: BTreeMap<String, u64>,
    connections: BTreeMap<String, String>,
    probes: BTreeMap<String, ProbeId>,
    /// Heartbeat inboxes that answer at once, and those that nobody listens on.
    alive: Vec<String>,
    gone: Vec<String>,
    /// Whether commits happen only on `sync`.
    slow_disk: bool,
    fail_reads: bool,
    show_payload: bool,
    guids: u64,
    lines: Vec<String>,
}

/// The words of a line, and its `key=value` pairs.
struct Words<'a> {
    plain: Vec<&'a str>,
    pairs: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Words<'a> {
        let (mut plain, mut pairs) = (Vec::new(), BTreeMap::new());
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) => drop(pairs.insert(key, value)),
                None => plain.push(word),
            }
        }
        Words { plain, pairs }
    }

    fn at(&self, place: usize) -> &'a str {
        self.plain
            .get(place)
            .copied()
            .unwrap_or_else(|| panic!("word {place} of {:?}", self.plain))
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.pairs.get(key).copied()
    }

    fn number(&self, key: &str, default: i64) -> i64 {
        self.get(key).map_or(default, |value| value.parse().expect("a number"))
    }
}

fn bytes(text: &str) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(text.as_bytes())
}

fn duration(text: &str) -> u64 {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').expect("a unit");
    let number: f64 = text[..split].parse().expect("a number");
    let unit = match &text[split..] {
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        unit => panic!("unit {unit}"),
    };
    (number * unit) as u64
}

fn range(text: &str) -> std::ops::RangeInclusive<u64> {
    match text.split_once("..") {
        Some((first, last)) => first.parse().expect("a number")..=last.parse().expect("a number"),
        None => {
            let number = text.parse().expect("a number");
            number..=number
        }
    }
}

impl Session {
    fn new() -> Session {
        Session {
            options: Options::default(),
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
            show_payload: false,
            guids: 0,
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
                "max_channels" => options.limits.max_channels = number() as usize,
                "max_subs" => options.limits.max_subscriptions = number() as usize,
                "max_msgs" => options.limits.max_messages = number(),
                "max_bytes" => options.limits.max_bytes = number(),
                "max_age" => options.limits.max_age_ns = duration(value),
                "max_inactivity" => options.limits.max_inactivity_ns = duration(value),
                "overhead" => options.message_overhead = number() as u32,
                "hb_interval" => options.heartbeat_interval_ns = duration(value),
                "hb_timeout" => options.heartbeat_timeout_ns = duration(value),
                "hb_fail_count" => options.heartbeat_fail_count = number() as u32,
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
        engine.handle(self.now, input, &mut self.world);
        self.drive();
    }

    /// What the shell does after inputs, until it is quiet.
    fn drive(&mut self) {
        for _ in 0..10_000 {
            let engine = self.engine.as_mut().expect("the engine runs");
            if !self.slow_disk {
                self.world.sync(engine, self.now);
            }
            engine.handle(self.now, Input::Settle, &mut self.world);
            if self.fail_reads {
                while let Some(request) = self.world.reads.pop_front() {
                    let messages = Err("the disk says no");
                    engine.handle(
                        self.now,
                        Input::Read {
                            ticket: request.ticket,
                            messages,
                        },
                        &mut self.world,
                    );
                }
            }
            let mut busy = self.world.answer(engine, self.now);
            busy |= self.answer_probes();
            let engine = self.engine.as_ref().expect("the engine runs");
            let committed = self.slow_disk || self.world.durable == self.world.records.len();
            if !busy && !engine.wants_settle() && committed {
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
            self.engine
                .as_mut()
                .expect("the engine runs")
                .handle(self.now, answer, &mut self.world);
        }
        busy
    }

    /// Writes what left as lines, and gives back the probes.
    fn take_outputs(&mut self) -> Vec<Output> {
        let mut probes = Vec::new();
        for output in std::mem::take(&mut self.world.outputs) {
            match output {
                Output::Probe { .. } => probes.push(output),
                Output::Event { level, text } => {
                    let level = match level {
                        Level::Info => "info",
                        Level::Warning => "warning",
                        Level::Error => "error",
                        Level::Debug => "debug",
                        Level::Trace => "trace",
                    };
                    if text.starts_with("Channel") {
                        self.learn_channels();
                    }
                    self.lines.push(format!("log {level}: {text}"));
                }
                Output::Reply { subject, payload } => self.reply_line(&subject, &payload),
                Output::Message {
                    inbox,
                    channel,
                    sequence,
                    count,
                    body,
                } => {
                    self.learn_channels();
                    let inbox = String::from_utf8_lossy(&inbox).into_owned();
                    let name = self
                        .channels
                        .get(&channel)
                        .cloned()
                        .unwrap_or_else(|| format!("{channel:?}"));
                    let message = PubMsgBody::of(&body);
                    assert_eq!(
                        (message.sequence, &message.subject),
                        (sequence, &name),
                        "the body is the message"
                    );
                    let again = if count > 0 {
                        format!(" again {count}")
                    } else {
                        String::new()
                    };
                    let payload = if self.show_payload {
                        format!(" {:?}", message.data)
                    } else {
                        String::new()
                    };
                    self.push_message(format!("{inbox} <- {name} "), sequence, format!("{again}{payload}"));
                }
            }
        }
        probes
    }

    /// Neighbours of one subscription become one line.
    fn push_message(&mut self, head: String, sequence: u64, tail: String) {
        if let Some(line) = self.lines.last_mut()
            && let Some(rest) = line.strip_prefix(&head)
            && let Some(numbers) = rest.strip_suffix(&tail)
            && !numbers.contains(' ')
        {
            let (first, last) = numbers.split_once("..").unwrap_or((numbers, numbers));
            if last.parse::<u64>().is_ok_and(|last| last + 1 == sequence) {
                *line = format!("{head}{first}..{sequence}{tail}");
                return;
            }
        }
        self.lines.push(format!("{head}{sequence}{tail}"));
    }

    fn learn_channels(&mut self) {
        let facts = self.world.records.iter().filter_map(|record| match record {
            world::Record::Message { channel, body, .. } => Some((*channel, PubMsgBody::of(body).subject)),
            _ => None,
        });
        self.channels.extend(facts);
    }

    fn reply_line(&mut self, subject: &[u8], payload: &[u8]) {
        let subject = String::from_utf8_lossy(subject).into_owned();
        let (what, who) = subject.split_once(':').unwrap_or((&subject, ""));
        let refused = |error: &[u8]| format!("{what} {who} refused: {}", String::from_utf8_lossy(error));
        let line = match what {
            "connect" => {
                let response = ConnectResponse::decode(payload).expect("a connect response");
                if response.error.is_empty() {
                    assert_eq!(response.protocol, 1, "quirk 1");
                    let mut line = format!("connect {who} ok");
                    if !response.ping_requests.is_empty() {
                        let _ = write!(line, " ping={}/{}", response.ping_interval, response.ping_max_out);
                    }
                    line
                } else {
                    refused(&response.error)
                }
            }
            "publish" => {
                let ack = PubAck::decode(payload).expect("a puback");
                let guid = String::from_utf8_lossy(&ack.guid).into_owned();
                if ack.error.is_empty() {
                    return self.push_puback(&guid);
                }
                format!("puback {guid} refused: {}", String::from_utf8_lossy(&ack.error))
            }
            "subscribe" => {
                let response = SubscriptionResponse::decode(payload).expect("a subscription response");
                if response.error.is_empty() {
                    let inbox = String::from_utf8_lossy(&response.ack_inbox).into_owned();
                    let number = inbox.rsplit('.').next().expect("a token").parse().expect("a number");
                    self.ack_inboxes.insert(who.to_owned(), number);
                    format!("subscribe {who} ok, acks to {number}")
                } else {
                    refused(&response.error)
                }
            }
            "unsubscribe" | "subclose" => {
                let response = SubscriptionResponse::decode(payload).expect("a subscription response");
                if payload.is_empty() {
                    format!("{what} {who} ok")
                } else {
                    refused(&response.error)
                }
            }
            "close" => {
                let response = CloseResponse::decode(payload).expect("a close response");
                if payload.is_empty() {
                    format!("close {who} ok")
                } else {
                    refused(&response.error)
                }
            }
            "ping" => {
                let response = PingResponse::decode(payload).expect("a ping response");
                if payload.is_empty() {
                    format!("ping {who} ok")
                } else {
                    refused(&response.error)
                }
            }
            _ => panic!("reply on {subject}"),
        };
        self.lines.push(line);
    }

    fn push_puback(&mut self, guid: &str) {
        if let Some(line) = self.lines.last_mut()
            && let Some(rest) = line.strip_prefix("puback ")
            && !rest.contains("refused")
        {
            let (first, last) = rest.split_once("..").unwrap_or((rest, rest));
            let number = |guid: &str| guid.strip_prefix('g').and_then(|number| number.parse::<u64>().ok());
            if let (Some(last), Some(next)) = (number(last), number(guid))
                && last + 1 == next
            {
                *line = format!("puback {first}..{guid}");
                return;
            }
        }
        self.lines.push(format!("puback {guid}"));
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
            "clock" => self.now.wall.0 -= duration(words.at(1)) as i64,
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
            "drain" => {
                self.world.slow.clear();
                self.input(Input::Drained(Destination(1)));
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
            "restart" => self.restart(&words),
            "checkpoint" => {
                self.world.checkpoint_begin();
                while self.world.running.is_some() {
                    self.input(Input::CheckpointStep);
                }
            }
            "show" => self.show(&words),
            command => panic!("command {command}"),
        }
        let probes = self.take_outputs();
        assert!(probes.is_empty(), "probes were answered or written");
    }

    fn connect(&mut self, words: &Words<'_>) {
        let client = words.plain.get(1).copied().unwrap_or("");
        let id = words.get("id").unwrap_or(client);
        let hb = words.get("hb").map_or(format!("hb.{client}"), str::to_owned);
        let conn = words.get("conn").map_or(format!("conn-{client}"), str::to_owned);
        let request = ConnectRequest {
            client_id: bytes(id),
            heartbeat_inbox: bytes(if hb == "none" { "" } else { &hb }),
            protocol: words.number("protocol", 1) as i32,
            conn_id: bytes(if conn == "none" { "" } else { &conn }),
            ping_interval: words.number("ping", 5) as i32,
            ping_max_out: words.number("out", 88) as i32,
        };
        self.connections.insert(id.to_owned(), conn);
        self.request(Service::Connect, &format!("connect:{client}"), &request.encode_to_vec());
    }

    fn publish(&mut self, words: &Words<'_>) {
        let (client, channel) = (words.at(1), words.at(2));
        let count = words
            .plain
            .get(3)
            .and_then(|word| word.strip_prefix('x'))
            .map_or(1, |count| count.parse().expect("a number"));
        let conn = words.get("conn").map(str::to_owned);
        let conn = conn
            .or_else(|| self.connections.get(client).cloned())
            .unwrap_or_default();
        if self.engine.is_none() {
            self.start();
        }
        for _ in 0..count {
            self.guids += 1;
            let guid = words.get("guid").map_or(format!("g{}", self.guids), str::to_owned);
            let request = PubMsg {
                client_id: bytes(client),
                guid: bytes(if guid == "none" { "" } else { &guid }),
                subject: bytes(channel),
                data: bytes(words.get("data").unwrap_or("")),
                reply: bytes(words.get("msgreply").unwrap_or("")),
                conn_id: bytes(if conn == "none" { "" } else { &conn }),
                ..PubMsg::default()
            };
            let reply = if words.get("reply") == Some("none") {
                String::new()
            } else {
                "publish:".to_owned()
            };
            let (service, payload) = (Service::Publish, request.encode_to_vec());
            let input = Input::Request {
                service,
                reply: reply.as_bytes(),
                payload: &payload,
            };
            // One pass takes all of them.
            self.engine
                .as_mut()
                .expect("the engine runs")
                .handle(self.now, input, &mut self.world);
        }
        self.drive();
    }

    fn subscribe(&mut self, words: &Words<'_>) {
        let (client, channel) = (words.at(1), words.at(2));
        let inbox = words.plain.get(3).copied().unwrap_or("s");
        let (start_position, start_sequence, start_time_delta) = match words.get("start").unwrap_or("new") {
            "new" => (0, 0, 0),
            "last" => (1, 0, 0),
            "first" => (4, 0, 0),
            other => match other.split_once(':') {
                Some(("seq", number)) => (3, number.parse().expect("a sequence"), 0),
                Some(("ago", time)) => (2, 0, duration(time) as i64),
                Some(("ahead", time)) => (2, 0, -(duration(time) as i64)),
                Some(("raw", number)) => (number.parse().expect("a number"), 0, 0),
                _ => panic!("start {other}"),
            },
        };
        let request = SubscriptionRequest {
            client_id: bytes(if client == "-" { "" } else { client }),
            subject: bytes(channel),
            q_group: bytes(words.get("queue").unwrap_or("")),
            inbox: bytes(inbox),
            max_in_flight: words.number("max", 1024) as i32,
            ack_wait_in_secs: words.number("wait", 30) as i32,
            durable_name: bytes(words.get("durable").unwrap_or("")),
            start_position,
            start_sequence,
            start_time_delta,
        };
        self.request(
            Service::Subscribe,
            &format!("subscribe:{inbox}"),
            &request.encode_to_vec(),
        );
    }

    fn ack(&mut self, words: &Words<'_>) {
        let inbox = words.at(1);
        let ack_inbox = match words.get("inbox") {
            Some(number) => number.parse().expect("a number"),
            None => self.ack_inboxes[inbox],
        };
        for sequences in &words.plain[3..] {
            for sequence in range(sequences) {
                let payload = Ack {
                    subject: bytes(words.at(2)),
                    sequence,
                }
                .encode_to_vec();
                let input = Input::Ack {
                    ack_inbox,
                    payload: &payload,
                };
                self.engine
                    .as_mut()
                    .expect("the engine runs")
                    .handle(self.now, input, &mut self.world);
            }
        }
        self.drive();
    }

    fn unsubscribe(&mut self, service: Service, what: &str, words: &Words<'_>) {
        let (client, channel, inbox) = (words.at(1), words.at(2), words.at(3));
        let prefix = self.engine.as_ref().expect("the engine runs").inbox_prefix().to_owned();
        let named = match words.get("by") {
            Some("inbox") => inbox.to_owned(),
            Some(other) => other.to_owned(),
            None => self
                .ack_inboxes
                .get(inbox)
                .map_or(inbox.to_owned(), |number| format!("_INBOX.{prefix}.{number}")),
        };
        let request = UnsubscribeRequest {
            client_id: bytes(client),
            subject: bytes(channel),
            inbox: bytes(&named),
            ..UnsubscribeRequest::default()
        };
        let reply = if words.get("reply") == Some("none") {
            String::new()
        } else {
            format!("{what}:{inbox}")
        };
        self.request(service, &reply, &request.encode_to_vec());
    }

    fn garbage(&mut self, service: &str) {
        let (service, reply) = match service {
            "connect" => (Service::Connect, "connect:"),
            "publish" => (Service::Publish, "publish:"),
            "subscribe" => (Service::Subscribe, "subscribe:"),
            "unsubscribe" => (Service::Unsubscribe, "unsubscribe:"),
            "subclose" => (Service::SubscriptionClose, "subclose:"),
            "close" => (Service::Close, "close:"),
            "ping" => (Service::Ping, "ping:"),
            service => panic!("service {service}"),
        };
        self.request(service, reply, b"dummy");
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
            "free" => self.world.full = false,
            "unreadable" => self.fail_reads = true,
            "readable" => self.fail_reads = false,
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

    fn show(&mut self, words: &Words<'_>) {
        let engine = self.engine.as_ref().expect("the engine runs");
        let line = match words.at(1) {
            "server" => {
                let server = engine.server_snapshot();
                format!(
                    "clients={} subs={} channels={} msgs={} bytes={} in={} out={}",
                    server.clients,
                    server.subscriptions,
                    server.channels,
                    server.total_messages,
                    server.total_bytes,
                    server.in_messages,
                    server.out_messages
                )
            }
            "channel" => match engine.channel(words.at(2).as_bytes(), true) {
                None => "no such channel".to_owned(),
                Some(channel) => {
                    for subscription in &channel.subscriptions {
                        self.lines.push(subscription_line(subscription));
                    }
                    format!(
                        "{}: msgs={} bytes={} first={} last={} subs={}",
                        channel.name,
                        channel.messages,
                        channel.bytes,
                        channel.first_sequence,
                        channel.last_sequence,
                        channel.subscriptions_count
                    )
                }
            },
            "channels" => {
                let page = engine.channels_page(0, 100, false);
                let names: Vec<&str> = page.items.iter().map(|channel| &*channel.name).collect();
                format!("{} channels: {}", page.total, names.join(" "))
            }
            "clients" => {
                let page = engine.clients_page(0, 100, true);
                let names: Vec<String> = page
                    .items
                    .iter()
                    .map(|client| {
                        format!(
                            "{}({}, {})",
                            client.id, client.heartbeat_inbox, client.subscriptions_count
                        )
                    })
                    .collect();
                format!("{} clients: {}", page.total, names.join(" "))
            }
            "subjects" => {
                let subjects = engine.subjects();
                format!(
                    "{} {} inbox={}",
                    subjects.discover,
                    subjects.publish_prefix,
                    engine.inbox_prefix()
                )
            }
            "deadline" => format!(
                "{:?}",
                engine.next_deadline().map(|at| (at - START.monotonic) / MILLISECOND)
            ),
            other => panic!("show {other}"),
        };
        self.lines.push(line);
    }
}

/// Restart takes options too.
fn words_without<'a, 'b>(words: &'b Words<'a>, key: &str) -> &'b Words<'a> {
    let rest = Words {
        plain: Vec::new(),
        pairs: words
            .pairs
            .iter()
            .filter(|(name, _)| **name != key)
            .map(|(name, value)| (*name, *value))
            .collect(),
    };
    Box::leak(Box::new(rest))
}

fn subscription_line(subscription: &SubscriptionSnapshot) -> String {
    let mut line = format!("  {} of {}", subscription.inbox, subscription.client_id);
    for (key, value) in [
        ("durable", &subscription.durable_name),
        ("queue", &subscription.queue_name),
    ] {
        if !value.is_empty() {
            let _ = write!(line, " {key}={value}");
        }
    }
    let _ = write!(
        line,
        " sent={} pending={}",
        subscription.last_sent, subscription.pending_count
    );
    for (flag, set) in [
        ("durable", subscription.is_durable),
        ("offline", subscription.is_offline),
        ("stalled", subscription.is_stalled),
    ] {
        if set {
            let _ = write!(line, " {flag}");
        }
    }
    line
}

struct PubMsgBody {
    sequence: u64,
    subject: String,
    data: String,
}

impl PubMsgBody {
    fn of(body: &[u8]) -> PubMsgBody {
        let message = seaway_stan_protocol::MessageView::decode(body).expect("a stored message decodes");
        PubMsgBody {
            sequence: message.sequence,
            subject: String::from_utf8_lossy(message.subject).into_owned(),
            data: String::from_utf8_lossy(message.data).into_owned(),
        }
    }
}

/// Runs a script; gives back what it would look like with the outputs as they are.
fn play(script: &str) -> String {
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

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let entries = std::fs::read_dir(folder).expect("the scripts folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

#[test]
fn scripts_play_as_written() {
    let write = std::env::var_os("SCRIPTS_WRITE").is_some();
    let mut failures = Vec::new();
    let paths = scripts();
    assert!(paths.len() >= 10, "the scripts are there: {paths:?}");
    for path in paths {
        let script = std::fs::read_to_string(&path).expect("a script");
        let actual = play(&script);
        if actual == script {
            continue;
        }
        if write {
            std::fs::write(&path, &actual).expect("a script can be written");
            continue;
        }
        let difference = script
            .lines()
            .zip(actual.lines())
            .position(|(wanted, got)| wanted != got);
        let at = difference.unwrap_or(script.lines().count().min(actual.lines().count()));
        let (wanted, got) = (script.lines().nth(at), actual.lines().nth(at));
        failures.push(format!(
            "{}:{}\n  wanted {wanted:?}\n  got    {got:?}",
            path.display(),
            at + 1
        ));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Invariant 1 of the architecture: the same inputs give the same effects, byte for byte.
#[test]
fn scripts_play_the_same_twice() {
    for path in scripts() {
        let script = std::fs::read_to_string(&path).expect("a script");
        assert_eq!(play(&script), play(&script), "{}", path.display());
    }
}
