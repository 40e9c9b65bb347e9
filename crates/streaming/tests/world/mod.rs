//! A store and a bus in memory that record everything, check what the port promises, and can crash.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use seaway_streaming::{
    Admission, Bus, Carried, ChangeId, Changed, ChannelId, Delivery, Destination, Effects, Engine, Event, Head, Input,
    Level, Lookup, Need, Now, Options, Position, ProbeId, ReadRequest, Records, Refusal, Seek, StartError,
    StartSummary, StoredMessage, Ticket, Unchanged, Unreadable, Urgency,
};

/// One record of the store; its position is its place in the list, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Message {
        channel: ChannelId,
        sequence: u64,
        timestamp: i64,
        body: Vec<u8>,
    },
    Fact {
        kind: u8,
        body: Vec<u8>,
        urgency: Urgency,
    },
    Trim {
        channel: ChannelId,
        first: u64,
    },
    Deleted {
        channel: ChannelId,
    },
}

/// Something that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Reply {
        subject: Vec<u8>,
        payload: Vec<u8>,
    },
    Message {
        inbox: Vec<u8>,
        channel: ChannelId,
        sequence: u64,
        count: u32,
        body: Vec<u8>,
    },
    Probe {
        inbox: Vec<u8>,
        probe: ProbeId,
    },
    Event {
        level: Level,
        text: String,
    },
    Changed {
        id: ChangeId,
        outcome: Result<Changed, Unchanged>,
    },
}

#[derive(Clone, Debug, Default)]
pub struct Log {
    pub messages: BTreeMap<u64, (i64, Vec<u8>)>,
    pub last: u64,
    pub last_timestamp: i64,
}

#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Records before the begin.
    pub begin: usize,
    /// Records when it was complete; it counts only when those are durable.
    pub end: usize,
    pub facts: Vec<(u8, Vec<u8>)>,
}

#[derive(Clone, Debug, Default)]
pub struct World {
    pub records: Vec<Record>,
    pub durable: usize,
    pub logs: BTreeMap<ChannelId, Log>,
    /// Messages up to this sequence are not in memory.
    pub cold: BTreeMap<ChannelId, u64>,
    /// Messages that cannot be read, of whichever channel.
    pub damaged: BTreeSet<u64>,
    /// Reads that found one of them first.
    pub reads_of_damage: usize,
    pub outputs: Vec<Output>,
    pub reads: VecDeque<ReadRequest>,
    /// Messages that answered reads.
    pub messages_read: usize,
    pub seeks: VecDeque<(Ticket, ChannelId, i64)>,
    pub slow_seeks: bool,
    pub slow_heads: bool,
    pub heads: VecDeque<ChannelId>,
    pub known_heads: BTreeSet<ChannelId>,
    pub checkpoint: Option<Checkpoint>,
    pub running: Option<Checkpoint>,
    pub full: bool,
    /// Not even what frees space is taken.
    pub stuck: bool,
    /// Connects and subscriptions are refused, too.
    pub brimful: bool,
    pub bus_down: bool,
    /// Inboxes whose receiver is slow: there is room for one delivery to them.
    pub slow: BTreeSet<Vec<u8>>,
    /// Those of them that have got it.
    pub filled: BTreeSet<Vec<u8>>,
    /// Inboxes that nobody listens to, and is not awaited either.
    pub unheard: BTreeSet<Vec<u8>>,
    /// Subscriptions by their ack inboxes, as the bus is listened on.
    pub listened: BTreeMap<Vec<u8>, u64>,
    /// Every ack inbox that was ever listened on, in the order of its first time.
    pub ack_inboxes: Vec<Vec<u8>>,
    /// Inboxes that nobody listens on since a restart, and that are waited for.
    pub away: BTreeSet<Vec<u8>>,
    /// Whether `head_from` knows more than the head.
    pub sizes_known: bool,
    /// Outputs per pass are large in some tests.
    pub record_events: bool,
}

impl World {
    pub fn new() -> World {
        World {
            record_events: true,
            sizes_known: true,
            ..World::default()
        }
    }

    fn append(&mut self, record: Record) -> Position {
        self.records.push(record);
        Position(self.records.len() as u64)
    }

    fn apply(logs: &mut BTreeMap<ChannelId, Log>, record: &Record) {
        match record {
            Record::Message {
                channel,
                sequence,
                timestamp,
                body,
            } => {
                let log = logs.entry(*channel).or_default();
                assert_eq!(*sequence, log.last + 1, "messages are numbered without holes");
                assert!(*timestamp >= log.last_timestamp, "timestamps do not decrease");
                log.last = *sequence;
                log.last_timestamp = *timestamp;
                log.messages.insert(*sequence, (*timestamp, body.clone()));
            }
            Record::Trim { channel, first } => {
                if let Some(log) = logs.get_mut(channel) {
                    log.messages = log.messages.split_off(first);
                }
            }
            Record::Deleted { channel } => {
                logs.remove(channel);
            }
            Record::Fact { .. } => {}
        }
    }

    /// What remains after a crash with this many durable records.
    pub fn crash(&self, durable: usize) -> World {
        let mut world = World {
            records: self.records[..durable].to_vec(),
            durable,
            checkpoint: self.checkpoint.clone().filter(|checkpoint| checkpoint.end <= durable),
            slow_seeks: self.slow_seeks,
            slow_heads: self.slow_heads,
            ack_inboxes: self.ack_inboxes.clone(),
            away: self.away.clone(),
            unheard: self.unheard.clone(),
            sizes_known: self.sizes_known,
            record_events: self.record_events,
            ..World::default()
        };
        for record in &world.records {
            World::apply(&mut world.logs, record);
        }
        world
    }

    /// Recovers and starts an engine from what is stored.
    pub fn start(&mut self, options: Options, now: Now) -> Result<(Engine, StartSummary), StartError> {
        let mut engine = Engine::new(options);
        let mut begin = 0;
        if let Some(checkpoint) = &self.checkpoint {
            begin = checkpoint.begin;
            for (kind, body) in &checkpoint.facts {
                engine.recover_fact(*kind, body).expect("a checkpoint's fact decodes");
            }
        }
        for record in &self.records[begin..] {
            match record {
                Record::Fact { kind, body, .. } => engine.recover_fact(*kind, body).expect("a fact decodes"),
                Record::Deleted { channel } => engine.recover_channel_deleted(*channel),
                Record::Message { .. } | Record::Trim { .. } => {}
            }
        }
        for (channel, log) in &self.logs {
            let first = log.messages.first_key_value().map_or(log.last + 1, |(first, _)| *first);
            let bytes = log.messages.values().map(|(_, body)| body.len() as u64).sum();
            engine.recover_channel(*channel, first, log.last, bytes, log.last_timestamp);
        }
        let summary = self.act(|effects| engine.start(now, effects))?;
        Ok((engine, summary))
    }

    /// One call of an engine: gives it effects and keeps what comes of it.
    pub fn act<R>(&mut self, call: impl FnOnce(&mut Effects<'_>) -> R) -> R {
        let before = self.outputs.len();
        let outputs = RefCell::new(std::mem::take(&mut self.outputs));
        let slow = std::mem::take(&mut self.slow);
        let mut filled = std::mem::take(&mut self.filled);
        filled.retain(|inbox| slow.contains(inbox));
        let away = std::mem::take(&mut self.away);
        let unheard = std::mem::take(&mut self.unheard);
        let mut listened = std::mem::take(&mut self.listened);
        let mut ack_inboxes = std::mem::take(&mut self.ack_inboxes);
        let mut wire = Wire {
            down: self.bus_down,
            slow: &slow,
            filled: &mut filled,
            away: &away,
            unheard: &unheard,
            listened: &mut listened,
            ack_inboxes: &mut ack_inboxes,
            outputs: &outputs,
        };
        let is_recorded = self.record_events;
        let mut log = |event: Event<'_>| {
            if is_recorded {
                outputs.borrow_mut().push(Output::Event {
                    level: event.level(),
                    text: event.to_string(),
                });
            }
        };
        let result = call(&mut Effects::new(self, &mut wire, &mut log));
        self.slow = slow;
        self.filled = filled;
        self.away = away;
        self.unheard = unheard;
        self.listened = listened;
        self.ack_inboxes = ack_inboxes;
        self.outputs = outputs.into_inner();
        for output in &self.outputs[before..] {
            if let Output::Message { channel, sequence, .. } = output {
                debug_assert!(
                    self.records.len() > 5_000 || self.is_durable_message(*channel, *sequence),
                    "message is durable"
                );
            }
        }
        result
    }

    /// One input.
    pub fn handle(&mut self, engine: &mut Engine, now: Now, input: Input<'_>) {
        self.act(|effects| engine.handle(now, input, effects));
    }

    /// An ack on a subject, if anybody listens there.
    pub fn ack(&mut self, engine: &mut Engine, now: Now, subject: &[u8], payload: &[u8]) {
        if let Some(&subscription) = self.listened.get(subject) {
            self.handle(engine, now, Input::Ack { subscription, payload });
        }
    }

    /// Makes everything durable and tells the engine.
    pub fn sync(&mut self, engine: &mut Engine, now: Now) {
        if self.durable < self.records.len() {
            self.durable = self.records.len();
            self.handle(engine, now, Input::Durable(Position(self.durable as u64)));
        }
    }

    /// Answers outstanding reads, seeks and heads; false when there was none.
    pub fn answer(&mut self, engine: &mut Engine, now: Now) -> bool {
        let mut worked = false;
        while let Some(request) = self.reads.pop_front() {
            worked = true;
            self.answer_read(engine, now, request);
        }
        while let Some((ticket, channel, timestamp)) = self.seeks.pop_front() {
            worked = true;
            let sequence = self.find(channel, timestamp);
            self.handle(
                engine,
                now,
                Input::Sought {
                    ticket,
                    sequence: Ok(sequence),
                },
            );
        }
        while let Some(channel) = self.heads.pop_front() {
            worked = true;
            self.known_heads.insert(channel);
            self.handle(engine, now, Input::HeadKnown(channel));
        }
        worked
    }

    pub fn answer_read(&mut self, engine: &mut Engine, now: Now, request: ReadRequest) {
        let log = self.logs.get(&request.channel).cloned().unwrap_or_default();
        let to = request.from + u64::from(request.messages_max) - 1;
        if self.damaged.contains(&request.from) {
            self.reads_of_damage += 1;
            let end = (request.from..).find(|sequence| !self.damaged.contains(sequence));
            let unreadable = Unreadable {
                from: request.from,
                to: end.map_or(u64::MAX, |end| end - 1),
                damaged: true,
                reason: "segment-1.log: offset 7: rotten".to_owned(),
            };
            let input = Input::Read {
                ticket: request.ticket,
                messages: Err(&unreadable),
            };
            return self.handle(engine, now, input);
        }
        let mut bytes = 0;
        let messages: Vec<StoredMessage<'_>> = log
            .messages
            .range(request.from..=to)
            .take_while(|(sequence, _)| !self.damaged.contains(sequence))
            .take_while(|(_, (_, body))| {
                let fits = bytes == 0 || bytes + body.len() <= request.bytes_max as usize;
                bytes += body.len();
                fits
            })
            .map(|(sequence, (timestamp, body))| StoredMessage {
                sequence: *sequence,
                timestamp: *timestamp,
                body,
            })
            .collect();
        self.messages_read += messages.len();
        self.handle(
            engine,
            now,
            Input::Read {
                ticket: request.ticket,
                messages: Ok(&messages),
            },
        );
    }

    fn find(&self, channel: ChannelId, timestamp: i64) -> u64 {
        let Some(log) = self.logs.get(&channel) else { return 1 };
        log.messages
            .iter()
            .find(|(_, (at, _))| *at >= timestamp)
            .map_or(log.last + 1, |(sequence, _)| *sequence)
    }

    /// Handles an input, then everything that follows from it: answers, commits, ends of passes, until it is quiet.
    pub fn run(&mut self, engine: &mut Engine, now: Now, input: Input<'_>) {
        self.handle(engine, now, input);
        self.quiesce(engine, now);
    }

    pub fn quiesce(&mut self, engine: &mut Engine, now: Now) {
        for _ in 0..100_000 {
            self.sync(engine, now);
            self.handle(engine, now, Input::EndOfPass);
            let answered = self.answer(engine, now);
            if !answered && !engine.wants_end_of_pass() && self.durable == self.records.len() {
                return;
            }
        }
        panic!("the engine never comes to rest");
    }

    pub fn checkpoint_begin(&mut self) {
        self.running = Some(Checkpoint {
            begin: self.records.len(),
            end: 0,
            facts: Vec::new(),
        });
    }

    fn is_durable_message(&self, channel: ChannelId, sequence: u64) -> bool {
        let place = self.records.iter().position(
            |record| matches!(record, Record::Message { channel: c, sequence: s, .. } if *c == channel && *s == sequence),
        );
        place.is_some_and(|place| place < self.durable)
    }
}

impl Records for World {
    fn append_message(&mut self, channel: ChannelId, sequence: u64, timestamp: i64, body: &[&[u8]]) -> Position {
        let record = Record::Message {
            channel,
            sequence,
            timestamp,
            body: body.concat(),
        };
        World::apply(&mut self.logs, &record);
        self.append(record)
    }

    fn append_fact(&mut self, kind: u8, body: &[u8], urgency: Urgency) -> Position {
        self.append(Record::Fact {
            kind,
            body: body.to_vec(),
            urgency,
        })
    }

    fn trim(&mut self, channel: ChannelId, first: u64) -> Position {
        let record = Record::Trim { channel, first };
        World::apply(&mut self.logs, &record);
        self.known_heads.remove(&channel);
        self.append(record)
    }

    fn delete_channel(&mut self, channel: ChannelId) -> Position {
        let record = Record::Deleted { channel };
        World::apply(&mut self.logs, &record);
        self.append(record)
    }

    fn admission(&mut self, need: Need, _bytes: usize) -> Admission {
        let is_refused = match need {
            Need::Ordinary => self.full,
            Need::Consumer => self.brimful,
            Need::Essential => false,
        };
        if self.stuck || is_refused {
            return Err(Refusal::NoSpace("no space left".to_owned()));
        }
        Ok(())
    }

    fn head(&mut self, channel: ChannelId) -> Head {
        self.head_from(channel, 0)
    }

    fn head_from(&mut self, channel: ChannelId, from: u64) -> Head {
        let Some(log) = self.logs.get(&channel) else {
            return Head::Empty;
        };
        let Some((head, _)) = log.messages.first_key_value() else {
            return Head::Empty;
        };
        if *head < from && !self.sizes_known {
            return Head::Reading;
        }
        if self.slow_heads && !self.known_heads.contains(&channel) {
            if !self.heads.contains(&channel) {
                self.heads.push_back(channel);
            }
            return Head::Reading;
        }
        match log.messages.range(from..).next() {
            None => Head::Empty,
            Some((sequence, (timestamp, body))) => Head::Known {
                sequence: *sequence,
                size: body.len() as u32,
                timestamp: *timestamp,
            },
        }
    }

    fn live_bytes(&self, channel: ChannelId, messages: u64) -> u64 {
        let log = self.logs.get(&channel).map(|log| &log.messages);
        assert_eq!(
            log.map_or(0, |log| log.len() as u64),
            messages,
            "the engine counts what there is"
        );
        log.map_or(0, |log| log.values().map(|(_, body)| body.len() as u64).sum())
    }

    fn seek(&mut self, ticket: Ticket, channel: ChannelId, timestamp: i64) -> Seek {
        if self.slow_seeks {
            self.seeks.push_back((ticket, channel, timestamp));
            return Seek::Reading;
        }
        Seek::Found(self.find(channel, timestamp))
    }

    fn read(&mut self, request: ReadRequest) {
        assert!(request.messages_max >= 1);
        self.reads.push_back(request);
    }

    fn message(&self, channel: ChannelId, sequence: u64) -> Lookup<'_> {
        match self.logs.get(&channel).and_then(|log| log.messages.get(&sequence)) {
            None => Lookup::Missing,
            Some(_) if self.cold.get(&channel).is_some_and(|cold| sequence <= *cold) => Lookup::Cold,
            Some((_, body)) => Lookup::Hot(body),
        }
    }

    fn durable(&self) -> Position {
        Position(self.durable as u64)
    }

    fn checkpoint_fact(&mut self, kind: u8, body: &[u8]) {
        let running = self.running.as_mut().expect("a checkpoint was begun");
        running.facts.push((kind, body.to_vec()));
    }

    fn finish_checkpoint(&mut self) {
        let mut checkpoint = self.running.take().expect("a checkpoint was begun");
        checkpoint.end = self.records.len();
        self.checkpoint = Some(checkpoint);
    }
}

/// The bus during one call of the engine.
struct Wire<'a> {
    down: bool,
    slow: &'a BTreeSet<Vec<u8>>,
    filled: &'a mut BTreeSet<Vec<u8>>,
    away: &'a BTreeSet<Vec<u8>>,
    unheard: &'a BTreeSet<Vec<u8>>,
    listened: &'a mut BTreeMap<Vec<u8>, u64>,
    ack_inboxes: &'a mut Vec<Vec<u8>>,
    outputs: &'a RefCell<Vec<Output>>,
}

impl Bus for Wire<'_> {
    fn reply(&mut self, subject: &[u8], payload: &[u8]) {
        self.outputs.borrow_mut().push(Output::Reply {
            subject: subject.to_vec(),
            payload: payload.to_vec(),
        });
    }

    fn deliver(&mut self, delivery: Delivery<'_>, [body, _redelivery]: [&[u8]; 2]) -> Carried {
        if self.down {
            return Carried::Unreachable;
        }
        if let Some(known) = self.foresee(delivery) {
            return known;
        }
        if self.away.contains(delivery.inbox) {
            return Carried::Congested(Destination::AWAITED);
        }
        if self.slow.contains(delivery.inbox) && !self.filled.insert(delivery.inbox.to_vec()) {
            return Carried::Congested(Destination(1));
        }
        self.outputs.borrow_mut().push(Output::Message {
            inbox: delivery.inbox.to_vec(),
            channel: delivery.channel,
            sequence: delivery.sequence,
            count: delivery.redelivery_count,
            body: body.to_vec(),
        });
        Carried::Sent
    }

    fn foresee(&mut self, delivery: Delivery<'_>) -> Option<Carried> {
        self.unheard.contains(delivery.inbox).then_some(Carried::Unheard)
    }

    fn probe(&mut self, inbox: &[u8], probe: ProbeId) {
        self.outputs.borrow_mut().push(Output::Probe {
            inbox: inbox.to_vec(),
            probe,
        });
    }

    fn listen(&mut self, subject: &[u8], subscription: u64) {
        assert!(
            !self.listened.values().any(|known| *known == subscription),
            "{subscription} listens already"
        );
        self.listened.insert(subject.to_vec(), subscription);
        if !self.ack_inboxes.iter().any(|known| known == subject) {
            self.ack_inboxes.push(subject.to_vec());
        }
    }

    fn unlisten(&mut self, subscription: u64) {
        let before = self.listened.len();
        self.listened.retain(|_, known| *known != subscription);
        assert_eq!(self.listened.len() + 1, before, "{subscription} listened");
    }

    fn changed(&mut self, id: ChangeId, outcome: Result<Changed, Unchanged>, _is_recorded: bool) {
        self.outputs.borrow_mut().push(Output::Changed { id, outcome });
    }
}
