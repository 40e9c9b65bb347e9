//! Stores on simulated disks for the tests of backups, and what is in them.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "every test file uses a part of it"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use seaway_backup::{Error, Made, Making, Pace, Progress, Reading, Repository, Rest, restore_on};
use seaway_journal::disk::Disk;
use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_journal::{Completion, Journal, LogId, Options, RecoveredLog, Replay};

/// Logs with the bodies of their messages.
pub type State = BTreeMap<u64, BTreeMap<u64, Vec<u8>>>;

#[derive(Default)]
struct Bounds(Vec<RecoveredLog>);

impl Replay for Bounds {
    fn fact(&mut self, _: u8, _: &[u8]) {}
    fn trim(&mut self, _: LogId, _: u64, _: &[u8]) {}
    fn delete(&mut self, _: LogId, _: &[u8]) {}
    fn log_recovered(&mut self, log: RecoveredLog) {
        self.0.push(log);
    }
}

fn options(identity: u8) -> Options {
    let mut options = Options::new([identity; 16]);
    options.segment_bytes_max = 256 << 10;
    options.checkpoint_bytes = 300 << 10;
    options.holder = "test".to_owned();
    options
}

/// A journal whose jobs run at once.
pub struct Store {
    disk: Arc<dyn Disk>,
    journal: Journal,
    pub state: State,
}

impl Store {
    pub fn open(disk: &SimulatedDisk) -> Store {
        Store::open_on(Arc::new(disk.clone()))
    }

    /// Of a store with another identity.
    pub fn open_another(disk: &SimulatedDisk) -> Store {
        Store::open_as(Arc::new(disk.clone()), 6)
    }

    pub fn open_on(disk: Arc<dyn Disk>) -> Store {
        Store::open_as(disk, 5)
    }

    fn open_as(disk: Arc<dyn Disk>, identity: u8) -> Store {
        let mut bounds = Bounds::default();
        let (journal, _) = Journal::open(&disk, options(identity), &mut bounds).unwrap();
        let mut store = Store {
            disk,
            journal,
            state: State::new(),
        };
        for log in bounds.0 {
            let messages = store.read(log.log, log.first, log.last);
            store.state.insert(log.log.0, messages);
        }
        store
    }

    fn read(&mut self, log: LogId, first: u64, last: u64) -> BTreeMap<u64, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut next = first;
        while next <= last {
            self.journal.read(1, log, next, 1_000, 1 << 20);
            let mut completions = self.settle();
            let answer = completions
                .iter()
                .position(|one| matches!(one, Completion::Read { .. }))
                .unwrap();
            let Completion::Read { messages, .. } = completions.swap_remove(answer) else {
                unreachable!()
            };
            let messages = messages.unwrap();
            for (sequence, _, place) in messages.places() {
                found.insert(sequence, messages.bytes()[place].to_vec());
                next = sequence + 1;
            }
        }
        found
    }

    fn settle(&mut self) -> Vec<Completion> {
        let mut all = Vec::new();
        loop {
            self.journal.submit();
            while let Some(job) = self.journal.next_job() {
                let outcome = job.run(self.disk.as_ref());
                self.journal.completed(outcome);
            }
            let mut completions = Vec::new();
            self.journal.poll(&mut completions);
            if completions.is_empty() {
                return all;
            }
            for completion in &completions {
                if matches!(completion, Completion::CheckpointNeeded) && self.journal.begin_checkpoint().is_ok() {
                    self.journal.finish_checkpoint().unwrap();
                }
            }
            all.append(&mut completions);
        }
    }

    /// Publishes messages to three logs, and trims what is old.
    pub fn publish(&mut self, count: u64) {
        for index in 0..count {
            let log = 1 + index % 3;
            let messages = self.state.entry(log).or_default();
            let sequence = messages.last_key_value().map_or(1, |(last, _)| last + 1);
            let mut body = vec![sequence as u8; 200 + (sequence % 700) as usize];
            body.extend_from_slice(&(log << 32 | sequence).to_le_bytes());
            self.journal
                .append_message(LogId(log), sequence, sequence as i64, &[&body]);
            messages.insert(sequence, body);
            if index % 50 == 49 {
                self.settle();
            }
        }
        self.settle();
    }

    pub fn trim(&mut self, log: u64, first: u64) {
        self.journal.trim(LogId(log), first, b"");
        let messages = self.state.get_mut(&log).unwrap();
        *messages = messages.split_off(&first);
        self.settle();
    }

    /// Ends in an orderly way.
    pub fn stop(mut self) -> State {
        self.settle();
        assert!(self.journal.mark_end(self.disk.as_ref()));
        self.state
    }
}

/// What a store at rest holds; the disk stays as it is.
pub fn state_of(disk: &SimulatedDisk) -> State {
    Store::open(&disk.fork(9)).state
}

/// A store that some messages more were published to, and that was stopped; what it holds.
pub fn stopped(disk: &SimulatedDisk, messages: u64) -> State {
    let mut store = Store::open(disk);
    store.publish(messages);
    let state = store.stop();
    disk.restart_process();
    state
}

pub fn repository(disk: &SimulatedDisk) -> Repository {
    Repository::open_on(Arc::new(disk.clone()))
}

/// A backup of a store at rest.
pub fn try_make(source: &SimulatedDisk, to: &SimulatedDisk, making: Making) -> Result<Made, Error> {
    let mut rest = Rest::open_on(Arc::new(source.fork(3)))?;
    repository(to).make(&mut rest, making, &mut Pace::new(None), &Progress::default())
}

/// The same where nothing is in the way.
pub fn make(source: &SimulatedDisk, to: &SimulatedDisk, making: Making) -> Made {
    try_make(source, to, making).unwrap()
}

pub fn try_restored(backup: &Reading) -> Result<SimulatedDisk, Error> {
    let target = SimulatedDisk::new(8);
    let to = Arc::new(target.clone());
    restore_on(backup, to, &mut Pace::new(None), &Progress::default())?;
    Ok(target)
}

/// The store of a backup.
pub fn restored(backup: &Reading) -> SimulatedDisk {
    try_restored(backup).unwrap()
}

/// Puts a file there that is another than the one that was.
pub fn change(disk: &SimulatedDisk, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = disk.content(name).unwrap();
    change(&mut content);
    disk.unplant(name);
    disk.plant(name, &content);
}

/// Names of the segments that have a directory, the oldest first.
pub fn segments(disk: &SimulatedDisk) -> Vec<String> {
    let names = disk.names();
    let logs = names.iter().filter(|name| name.ends_with(".log"));
    let with_directory = logs.filter(|name| names.contains(&name.replace(".log", ".directory")));
    with_directory.cloned().collect()
}
