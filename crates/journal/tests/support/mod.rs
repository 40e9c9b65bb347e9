//! An owner of a journal for tests: a model of what it appended, a driver that runs jobs at moments chosen by a seed, and the
//! check that what a start recovers is the model's state as of some position that is not before anything reported durable.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

use seaway_journal::disk::Disk;
use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_journal::*;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const IDENTITY: Identity = *b"0123456789abcdef";

pub fn options() -> Options {
    let mut options = Options::new(IDENTITY);
    options.segment_bytes_max = 64 << 10;
    options.tail_cache_bytes = 32 << 10;
    options.checkpoint_bytes = 96 << 10;
    options.holder = "test".to_owned();
    options
}

/// Of a member of a cluster that is a quorum by itself.
pub fn member() -> Options {
    let mut options = options();
    options.durability = Durability::Quorum;
    options
}

pub fn encrypted(cipher: Cipher, key: &[u8]) -> Options {
    let mut options = options();
    options.encryption = Some(Encryption::deterministic(cipher, key));
    options
}

/// A small random generator (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// CRC-32C, bit by bit: independent of the product's.
pub fn crc(bytes: &[u8]) -> u32 {
    let mut state = !0u32;
    for byte in bytes {
        state ^= u32::from(*byte);
        for _ in 0..8 {
            state = if state & 1 == 1 {
                (state >> 1) ^ 0x82f6_3b78
            } else {
                state >> 1
            };
        }
    }
    !state
}

/// Everything a replay delivers.
#[derive(Default, Debug)]
pub struct Replayed {
    pub facts: Vec<(u8, Vec<u8>)>,
    pub messages: Vec<(u64, u64, i64, u32)>,
    pub trims: Vec<(u64, u64, Vec<u8>)>,
    pub deletes: Vec<(u64, Vec<u8>)>,
    pub logs: BTreeMap<u64, RecoveredLog>,
}

impl Replay for Replayed {
    fn fact(&mut self, kind: u8, body: &[u8]) {
        self.facts.push((kind, body.to_vec()));
    }
    fn message(&mut self, log: LogId, sequence: u64, timestamp: i64, size: u32) {
        self.messages.push((log.0, sequence, timestamp, size));
    }
    fn trim(&mut self, log: LogId, first: u64, body: &[u8]) {
        self.trims.push((log.0, first, body.to_vec()));
    }
    fn delete(&mut self, log: LogId, body: &[u8]) {
        self.deletes.push((log.0, body.to_vec()));
    }
    fn log_recovered(&mut self, log: RecoveredLog) {
        assert!(self.logs.insert(log.log.0, log).is_none(), "a log is recovered once");
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Message {
        log: u64,
        sequence: u64,
        timestamp: i64,
        length: usize,
    },
    Fact {
        kind: u8,
        body: Vec<u8>,
    },
    Trim {
        log: u64,
        first: u64,
    },
    Delete {
        log: u64,
    },
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ModelLog {
    pub first: u64,
    pub last: u64,
    /// Time and length of live messages, by sequence.
    pub messages: BTreeMap<u64, (i64, usize)>,
}

/// What the state is after some records.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ModelState {
    pub logs: BTreeMap<u64, ModelLog>,
    pub facts: BTreeMap<u8, Vec<u8>>,
}

impl ModelState {
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Message {
                log,
                sequence,
                timestamp,
                length,
            } => {
                let log = self.logs.entry(*log).or_insert(ModelLog {
                    first: *sequence,
                    ..ModelLog::default()
                });
                if log.messages.is_empty() {
                    log.first = *sequence;
                }
                log.last = *sequence;
                log.messages.insert(*sequence, (*timestamp, *length));
            }
            Op::Fact { kind, body } => {
                self.facts.insert(*kind, body.clone());
            }
            Op::Trim { log, first } => {
                if let Some(log) = self.logs.get_mut(log) {
                    log.first = log.first.max((*first).min(log.last + 1));
                    log.messages = log.messages.split_off(&log.first);
                }
            }
            Op::Delete { log } => {
                self.logs.remove(log);
            }
        }
    }
}

/// The body of a message is a function of its log and sequence.
pub fn body(log: u64, sequence: u64, length: usize) -> Vec<u8> {
    let mut random = Random(log.wrapping_mul(0x1_0000_0001) ^ sequence);
    (0..length).map(|_| random.next() as u8).collect()
}

/// A journal on a simulated disk with its owner.
pub struct Machine {
    pub disk: SimulatedDisk,
    pub port: Arc<dyn Disk>,
    pub journal: Journal,
    pub opened: Opened,
    pub replayed: Replayed,
    /// Everything appended, with its position.
    pub history: Vec<(Position, Op)>,
    pub state: ModelState,
    pub durable: Position,
    pub completions: Vec<Completion>,
    pub outcomes: Vec<Outcome>,
    pub random: Random,
    /// Whether the owner answers `CheckpointNeeded`.
    pub checkpoints: bool,
    pub checkpoints_done: u64,
    pub next_log: u64,
    pub clock: i64,
    /// Of a member: the entries that were made here.
    pub closed: Vec<Closed>,
    /// The last entry that the start found.
    pub found: EntryId,
    /// Of a member: entries are committed as soon as they are synced.
    pub commits: bool,
}

impl Machine {
    pub fn open(disk: &SimulatedDisk, options: Options, seed: u64) -> Result<Machine, OpenError> {
        Machine::open_on(disk, Arc::new(disk.clone()), options, seed)
    }

    /// Reaches the disk through `port`.
    pub fn open_on(
        disk: &SimulatedDisk,
        port: Arc<dyn Disk>,
        options: Options,
        seed: u64,
    ) -> Result<Machine, OpenError> {
        let mut machine = Machine::open_to_follow(disk, port, options, seed)?;
        let (journal, found) = (&mut machine.journal, machine.found);
        if journal.is_member() {
            journal.lead(found.term + 1, found.index + 1);
            journal.commit_to(found.index);
        }
        machine.durable = machine.journal.durable();
        Ok(machine)
    }

    /// Of a member that does not lead.
    pub fn open_to_follow(
        disk: &SimulatedDisk,
        port: Arc<dyn Disk>,
        options: Options,
        seed: u64,
    ) -> Result<Machine, OpenError> {
        let mut replayed = Replayed::default();
        let (journal, opened) = Journal::open(&port, options, &mut replayed)?;
        let found = journal.last();
        let durable = journal.durable();
        Ok(Machine {
            disk: disk.clone(),
            port,
            journal,
            opened,
            replayed,
            history: Vec::new(),
            state: ModelState::default(),
            durable,
            completions: Vec::new(),
            outcomes: Vec::new(),
            random: Random(seed),
            checkpoints: true,
            checkpoints_done: 0,
            next_log: 100,
            clock: 1_000,
            closed: Vec::new(),
            found,
            commits: true,
        })
    }

    fn record(&mut self, position: Position, op: Op) {
        self.state.apply(&op);
        self.history.push((position, op));
    }

    pub fn append(&mut self, log: u64, length: usize) -> Position {
        let sequence = self.state.logs.get(&log).map_or(1, |log| log.last + 1);
        self.clock += 1;
        let timestamp = self.clock;
        let bytes = body(log, sequence, length);
        let (left, right) = bytes.split_at(length / 3);
        let position = self
            .journal
            .append_message(LogId(log), sequence, timestamp, &[left, right]);
        self.record(
            position,
            Op::Message {
                log,
                sequence,
                timestamp,
                length,
            },
        );
        position
    }

    pub fn fact(&mut self, kind: u8, body: &[u8]) -> Position {
        let position = self.journal.append_fact(kind, body, true);
        self.record(
            position,
            Op::Fact {
                kind,
                body: body.to_vec(),
            },
        );
        position
    }

    pub fn trim(&mut self, log: u64, first: u64) -> Position {
        let position = self.journal.trim(LogId(log), first, b"trim");
        self.record(position, Op::Trim { log, first });
        position
    }

    pub fn delete(&mut self, log: u64) -> Position {
        let position = self.journal.delete_log(LogId(log), b"delete", true);
        self.record(position, Op::Delete { log });
        position
    }

    /// Runs one job, or gives one outcome back, as the seed decides. False when there is nothing to do.
    pub fn step(&mut self) -> bool {
        let give_back = !self.outcomes.is_empty() && self.random.below(3) > 0;
        if give_back {
            let index = self.random.below(self.outcomes.len() as u64) as usize;
            let outcome = self.outcomes.swap_remove(index);
            self.journal.completed(outcome);
        } else if let Some(job) = self.journal.next_job() {
            self.outcomes.push(job.run(self.port.as_ref()));
        } else if let Some(outcome) = self.outcomes.pop() {
            self.journal.completed(outcome);
        } else {
            return self.take_completions();
        }
        self.take_completions();
        true
    }

    /// Does what whoever replicates does.
    fn replicate(&mut self) {
        while let Some(closed) = self.journal.take_closed() {
            self.closed.push(closed);
        }
        let synced = self.journal.synced();
        let on_disk = self.closed.partition_point(|closed| closed.position_after <= synced);
        if let Some(last) = on_disk.checked_sub(1).filter(|_| self.commits) {
            self.journal.commit_to(self.closed[last].id.index);
        }
    }

    fn take_completions(&mut self) -> bool {
        let mut new = Vec::new();
        if self.journal.is_member() {
            self.replicate();
        }
        self.journal.poll(&mut new);
        let any = !new.is_empty();
        for completion in new {
            match completion {
                Completion::Durable(position) => {
                    assert!(position >= self.durable, "durable never goes back");
                    self.durable = position;
                }
                Completion::CheckpointNeeded if self.checkpoints => self.checkpoint(),
                Completion::CheckpointDone(_) => {
                    self.checkpoints_done += 1;
                    self.completions.push(completion);
                }
                other => self.completions.push(other),
            }
        }
        any
    }

    pub fn checkpoint(&mut self) {
        if self.journal.begin_checkpoint().is_err() {
            return;
        }
        // Traffic goes on between the slices: the checkpoint is fuzzy.
        let facts: Vec<u8> = self.state.facts.keys().copied().collect();
        for kind in facts {
            let body = self.state.facts[&kind].clone();
            self.journal
                .checkpoint_fact(kind, &body)
                .expect("a checkpoint is running");
            let changed = self.random.below(4) == 0;
            if changed && self.journal.poison_reason().is_none() {
                let other = self.random.below(8) as u8;
                let body = self.random.next().to_le_bytes();
                self.fact(other, &body);
            }
        }
        if self.journal.is_member() {
            self.journal
                .checkpoint_members(b"members")
                .expect("a checkpoint is running");
        }
        self.journal.finish_checkpoint().expect("a checkpoint is running");
    }

    /// Runs until nothing is left to do.
    pub fn settle(&mut self) {
        for _ in 0..1_000_000 {
            self.journal.submit();
            if !self.step() && self.journal.poison_reason().is_some_or_quiet(&self.journal) {
                return;
            }
        }
        panic!("the journal does not come to rest");
    }

    /// Of a member: the same, until everything is on its disk, whatever is committed.
    pub fn settle_synced(&mut self) {
        self.journal.submit();
        while self.step() {
            self.journal.submit();
        }
        assert_eq!(self.journal.synced(), self.journal.appended());
    }

    pub fn random_action(&mut self) {
        let logs: Vec<u64> = self.state.logs.keys().copied().collect();
        match self.random.below(100) {
            0..60 => {
                let log = if logs.is_empty() || (logs.len() < 6 && self.random.below(20) == 0) {
                    self.next_log += 1;
                    self.next_log
                } else {
                    logs[self.random.below(logs.len() as u64) as usize]
                };
                let length = match self.random.below(20) {
                    0 => self.random.below(9_000),
                    _ => self.random.below(400),
                } as usize;
                self.append(log, length);
            }
            60..75 => {
                let kind = self.random.below(8) as u8;
                let body = self.random.next().to_le_bytes();
                self.fact(kind, &body);
            }
            75..83 if !logs.is_empty() => {
                let log = logs[self.random.below(logs.len() as u64) as usize];
                let (first, last) = (self.state.logs[&log].first, self.state.logs[&log].last);
                let to = first + self.random.below((last + 2).saturating_sub(first).max(1));
                self.trim(log, to);
            }
            83 if !logs.is_empty() => {
                let log = logs[self.random.below(logs.len() as u64) as usize];
                self.delete(log);
            }
            84..92 => self.journal.submit(),
            92 => self.checkpoint(),
            _ => {
                for _ in 0..self.random.below(6) {
                    self.step();
                }
            }
        }
    }

    /// Old messages of many logs, a busy log that is trimmed behind its end: what the rewriter is for.
    pub fn sparse_action(&mut self) {
        const BUSY: u64 = 1;
        match self.random.below(100) {
            0..3 => {
                self.next_log += 1;
                let length = self.random.below(200) as usize;
                self.append(self.next_log, length);
            }
            3..70 => {
                let length = self.random.below(700) as usize;
                self.append(BUSY, length);
            }
            70..76 => {
                let last = self.state.logs.get(&BUSY).map_or(0, |log| log.last);
                self.trim(BUSY, last.saturating_sub(3));
            }
            76..78 => {
                let kind = self.random.below(8) as u8;
                let body = self.random.next().to_le_bytes();
                self.fact(kind, &body);
            }
            78..88 => self.journal.submit(),
            _ => {
                for _ in 0..self.random.below(12) {
                    self.step();
                }
            }
        }
    }

    /// One log in a steady state: as much is trimmed as appended, so that segment files are recycled.
    pub fn churn_action(&mut self) {
        match self.random.below(100) {
            0..75 => {
                let length = self.random.below(700) as usize;
                self.append(1, length);
            }
            75..78 => {
                let last = self.state.logs.get(&1).map_or(0, |log| log.last);
                self.trim(1, last.saturating_sub(1_000));
            }
            78..88 => self.journal.submit(),
            _ => {
                for _ in 0..self.random.below(16) {
                    self.step();
                }
            }
        }
    }

    /// Whether a start after this machine would be allowed to find the state as of `position`.
    pub fn state_at(&self, position: Position) -> ModelState {
        let mut state = ModelState::default();
        for (_, op) in self.history.iter().take_while(|(at, _)| *at <= position) {
            state.apply(op);
        }
        state
    }

    /// Opens the disk again and checks that nothing durable is lost, nothing is invented, and everything can be read.
    pub fn reopen(&self, options: Options, seed: u64) -> Result<Machine, String> {
        self.reopen_on(Arc::new(self.disk.clone()), options, seed)
    }

    pub fn reopen_on(&self, port: Arc<dyn Disk>, options: Options, seed: u64) -> Result<Machine, String> {
        let mut next = Machine::open_on(&self.disk, port, options, seed).map_err(|error| format!("open: {error}"))?;
        let position = next.opened.position;
        if position < self.durable {
            return Err(format!("recovered up to {position}, but {} was durable", self.durable));
        }
        next.history = self.history.iter().filter(|(at, _)| *at <= position).cloned().collect();
        next.state = self.state_at(position);
        next.next_log = self.next_log + 1;
        next.clock = self.clock;
        next.check()?;
        next.check_entries(&self.closed)?;
        Ok(next)
    }

    /// Of a member: compares the entries that are there with those that were made.
    pub fn check_entries(&mut self, made: &[Closed]) -> Result<(), String> {
        let last = self.found;
        let still = made.iter().filter(|closed| closed.id.index <= last.index).copied();
        let since = std::mem::take(&mut self.closed);
        self.closed = still.chain(since).collect();
        for index in self.journal.first_index()..=last.index {
            let entry = self.read_entry(index)?;
            let meta = self.journal.entry(index).ok_or("an entry without a place")?;
            if (meta.id, meta.bytes as usize) != (entry.id, entry.bytes.len()) {
                return Err(format!("{meta:?} is read as {:?}", entry.id));
            }
            let closed = self.closed.iter().find(|closed| closed.id.index == index);
            if closed.is_some_and(|closed| (closed.id, closed.crc) != (entry.id, crc(&entry.bytes))) {
                return Err(format!(
                    "entry {index} is not what it was: {closed:?}, {:?} {}",
                    entry.id,
                    entry.bytes.len()
                ));
            }
        }
        Ok(())
    }

    /// Reads an entry and waits.
    pub fn read_entry(&mut self, index: u64) -> Result<Entry, String> {
        self.journal.read_entry(78, index);
        loop {
            let progressed = self.step();
            let answer = self
                .completions
                .iter()
                .position(|completion| matches!(completion, Completion::Entry((78, _))));
            if let Some(at) = answer {
                let Completion::Entry((_, entry)) = self.completions.swap_remove(at) else {
                    unreachable!()
                };
                return entry.map_err(|error| error.to_string());
            }
            if !progressed {
                return Err(format!("a read of entry {index} was never answered"));
            }
        }
    }

    /// Compares what the journal holds with the model.
    pub fn check(&mut self) -> Result<(), String> {
        let mut facts = BTreeMap::new();
        for (kind, body) in &self.replayed.facts {
            facts.insert(*kind, body.clone());
        }
        if facts != self.state.facts {
            return Err(format!("facts {facts:?} instead of {:?}", self.state.facts));
        }
        let state = self.state.clone();
        let found: Vec<u64> = self.replayed.logs.keys().copied().collect();
        let expected: Vec<u64> = state.logs.keys().copied().collect();
        if found != expected {
            return Err(format!("logs {found:?} instead of {expected:?}"));
        }
        for (id, log) in &state.logs {
            let recovered = self.replayed.logs[id];
            if (recovered.first, recovered.last) != (log.first, log.last) {
                return Err(format!(
                    "log {id}: {recovered:?} instead of {}..={}",
                    log.first, log.last
                ));
            }
            let bytes: u64 = log.messages.values().map(|(_, length)| *length as u64 + 36).sum();
            if recovered.bytes != bytes {
                return Err(format!("log {id}: {} live bytes instead of {bytes}", recovered.bytes));
            }
            self.check_log(*id, log)?;
        }
        Ok(())
    }

    /// Reads a whole log and compares.
    pub fn check_log(&mut self, id: u64, log: &ModelLog) -> Result<(), String> {
        let mut next = log.first;
        while next <= log.last {
            let messages = self.read(id, next, 100, 60_000)?;
            if messages.is_empty() {
                return Err(format!("log {id}: nothing at {next}"));
            }
            for (sequence, timestamp, bytes) in messages {
                let (expected_time, length) = log.messages[&next];
                if sequence != next || timestamp != expected_time || bytes != body(id, sequence, length) {
                    return Err(format!("log {id}: message {sequence} differs from {next}"));
                }
                next += 1;
            }
        }
        Ok(())
    }

    /// Reads and waits.
    pub fn read(
        &mut self,
        log: u64,
        from: u64,
        messages: usize,
        bytes: usize,
    ) -> Result<Vec<(u64, i64, Vec<u8>)>, String> {
        self.journal.read(77, LogId(log), from, messages, bytes);
        loop {
            let progressed = self.step();
            let answer = self
                .completions
                .iter()
                .position(|c| matches!(c, Completion::Read { ticket: 77, .. }));
            if let Some(index) = answer {
                let Completion::Read { messages, .. } = self.completions.swap_remove(index) else {
                    unreachable!()
                };
                let messages = messages.map_err(|error| error.to_string())?;
                return Ok(messages.iter().map(|(s, t, b)| (s, t, b.to_vec())).collect());
            }
            if !progressed {
                return Err(format!("a read of log {log} from {from} was never answered"));
            }
        }
    }

    pub fn poisoned(&self) -> bool {
        self.journal.poison_reason().is_some()
    }
}

trait Quiet {
    fn is_some_or_quiet(&self, journal: &Journal) -> bool;
}

impl Quiet for Option<&str> {
    fn is_some_or_quiet(&self, journal: &Journal) -> bool {
        self.is_some() || journal.durable() == journal.appended()
    }
}
