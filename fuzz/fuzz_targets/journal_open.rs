//! Opens a journal whose files were changed at places the input chooses: a start may refuse, it may not panic, and what it opens
//! can be read. The checksums of the format keep plain random files out; changing valid ones reaches everything behind them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seaway_journal::disk::Disk;
use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_journal::{Durability, Journal, LogId, Options, RecoveredLog, Replay};
use std::sync::{Arc, OnceLock};

#[derive(Default)]
struct Logs(Vec<LogId>);

impl Replay for Logs {
    fn fact(&mut self, _kind: u8, _body: &[u8]) {}
    fn trim(&mut self, _log: LogId, _first: u64, _body: &[u8]) {}
    fn delete(&mut self, _log: LogId, _body: &[u8]) {}
    fn log_recovered(&mut self, log: RecoveredLog) {
        self.0.push(log.log);
    }
}

fn options(durability: Durability) -> Options {
    let mut options = Options::new([7; 16]);
    options.durability = durability;
    options.segment_bytes_max = 64 << 10;
    options.holder = "fuzzer".to_owned();
    options
}

fn run_all(journal: &mut Journal, disk: &SimulatedDisk) {
    while let Some(job) = journal.next_job() {
        let outcome = job.run(disk);
        journal.completed(outcome);
    }
}

/// A journal with several segments, directories and a checkpoint; of a server that stands alone, and of a member of a cluster.
fn base(durability: Durability) -> &'static SimulatedDisk {
    static ALONE: OnceLock<SimulatedDisk> = OnceLock::new();
    static MEMBER: OnceLock<SimulatedDisk> = OnceLock::new();
    let base = match durability {
        Durability::Local => &ALONE,
        Durability::Quorum => &MEMBER,
    };
    base.get_or_init(|| {
        let disk = SimulatedDisk::new(1);
        let port: Arc<dyn Disk> = Arc::new(disk.clone());
        let (mut journal, _) = Journal::open(&port, options(durability), &mut Logs::default()).expect("an empty disk opens");
        if durability == Durability::Quorum {
            journal.lead(1, 1);
        }
        for sequence in 1..=400 {
            journal.append_message(LogId(1 + sequence % 2), sequence.div_ceil(2), 5, &[&[1; 300]]);
            journal.append_fact(1, b"fact", false);
            journal.submit();
            run_all(&mut journal, &disk);
            journal.commit_to(journal.last().index);
            if sequence == 300 {
                journal.begin_checkpoint().expect("none is running");
                journal.checkpoint_fact(1, b"fact").expect("one is running");
                if durability == Durability::Quorum {
                    journal.checkpoint_members(b"members").expect("one is running");
                }
                journal.finish_checkpoint().expect("one is running");
            }
        }
        disk.restart_process();
        disk
    })
}

fuzz_target!(|input: (bool, Vec<(u8, u16, u8)>)| {
    let (is_member, changes) = input;
    let durability = if is_member { Durability::Quorum } else { Durability::Local };
    let disk = base(durability).fork(1);
    let names = disk.names();
    for (file, at, value) in changes {
        let name = &names[usize::from(file) % names.len()];
        let mut content = disk.content(name).unwrap_or_default();
        if let Some(byte) = content.get_mut(usize::from(at)) {
            *byte = value;
        } else {
            content.truncate(usize::from(value));
        }
        disk.plant(name, &content);
    }
    let port: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut logs = Logs::default();
    if let Ok((mut journal, _)) = Journal::open(&port, options(durability), &mut logs) {
        for index in journal.first_index()..=journal.last().index {
            journal.read_entry(index, index);
        }
        for log in logs.0 {
            journal.read(1, log, 1, 1_000, 1 << 20);
            let _ = journal.head(log);
        }
        run_all(&mut journal, &disk);
    }
});
