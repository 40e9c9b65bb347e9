//! Space: it is really given back, and a full disk is an answer in words (architecture §4 invariant 3, §6 retention).

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use seaway_journal::disk::simulated::{Operation, SimulatedDisk};
use seaway_journal::disk::{DirectoryEntry, Disk, DiskFile, DiskLock, LockError};
use seaway_journal::*;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use support::{Machine, body};

const SEGMENT: u64 = 256 << 10;

fn options() -> Options {
    let mut options = support::options();
    options.segment_bytes_max = SEGMENT;
    options
}

/// Bytes of everything in the directory.
fn used(machine: &Machine) -> u64 {
    machine.disk.used()
}

fn assert_given_back(machine: &mut Machine) {
    machine.settle();
    let live: u64 = machine
        .state
        .logs
        .values()
        .flat_map(|log| log.messages.values())
        .map(|(_, l)| *l as u64)
        .sum();
    let bound = 2 * live + 3 * SEGMENT;
    let small_files = 4 << 10;
    assert!(
        used(machine) <= bound + small_files,
        "{} bytes on disk, {live} live, bound {bound}: {:?}, {:?}",
        used(machine),
        machine.disk.names(),
        machine.journal.statistics()
    );
}

#[test]
fn a_trimmed_log_gives_its_space_back() {
    let disk = SimulatedDisk::new(1);
    let mut machine = Machine::open(&disk, options(), 1).unwrap();
    for _ in 0..20_000 {
        machine.append(1, 200);
        if machine.journal.backlog_bytes() > 20_000 {
            machine.settle();
        }
    }
    machine.settle();
    assert!(used(&machine) > 4_000_000);
    machine.trim(1, 19_990);
    assert_given_back(&mut machine);
    machine.trim(1, 20_001);
    assert_given_back(&mut machine);
    machine.append(1, 10);
    machine.delete(1);
    assert_given_back(&mut machine);
    disk.restart();
    machine.reopen(options(), 2).unwrap();
}

#[test]
fn space_comes_back_although_each_of_many_logs_keeps_one_old_message() {
    let disk = SimulatedDisk::new(2);
    let mut machine = Machine::open(&disk, options(), 2).unwrap();
    for round in 0..80 {
        for log in 1..=300 {
            machine.append(log, 150);
            if machine.journal.backlog_bytes() > 20_000 {
                machine.settle();
            }
        }
        // One message of each log stays where it is, spread over all segments.
        machine.append(1_000 + round, 150);
        machine.settle();
    }
    let before = used(&machine);
    for log in 1..=300 {
        // Different logs keep messages of different age.
        let keep = 80 - log % 30;
        machine.trim(log, keep);
        machine.trim(log, 80);
    }
    assert_given_back(&mut machine);
    assert!(used(&machine) < before / 4, "{} of {before}", used(&machine));
    assert!(
        machine.journal.statistics().rewritten_bytes > 0,
        "the rewriter was needed"
    );
    let state = machine.state.clone();
    for (id, log) in &state.logs {
        machine.check_log(*id, log).unwrap();
        let bounds = machine.journal.log_state(LogId(*id)).unwrap();
        let bytes: u64 = log.messages.values().map(|(_, length)| *length as u64 + 36).sum();
        assert_eq!((bounds.first, bounds.last, bounds.bytes), (log.first, log.last, bytes));
    }
    disk.restart();
    let mut machine = machine.reopen(options(), 3).unwrap();
    assert_given_back(&mut machine);
}

#[test]
fn many_restarts_leave_no_heap_of_half_empty_segments() {
    let disk = SimulatedDisk::new(3);
    let mut machine = Machine::open(&disk, options(), 3).unwrap();
    for round in 0..40 {
        machine.append(1 + round % 5, 300);
        machine.settle();
        disk.restart();
        machine = machine.reopen(options(), round).unwrap();
    }
    machine.append(1, 1);
    assert_given_back(&mut machine);
}

#[test]
fn a_full_disk_refuses_publishes_and_lets_trims_free_it() {
    let disk = SimulatedDisk::new(4);
    disk.set_capacity(12 * SEGMENT);
    let mut machine = Machine::open(&disk, options(), 4).unwrap();
    let mut refusal = None;
    for _ in 0..20_000 {
        match machine.journal.admission(200, Need::Ordinary) {
            Ok(()) => {
                machine.append(1, 200);
            }
            Err(Refusal::Busy) => machine.settle(),
            Err(other) => {
                refusal = Some(other);
                break;
            }
        }
    }
    machine.settle();
    assert_eq!(refusal, Some(Refusal::NoSpace));
    assert!(machine.completions.iter().any(|c| matches!(c, Completion::SpaceLow(_))));
    assert!(!machine.poisoned(), "no write met the full disk");
    // Acks and facts go on within the reserve.
    for _ in 0..20 {
        assert_eq!(machine.journal.admission(100, Need::Essential), Ok(()));
        machine.fact(1, &[7; 100]);
        machine.settle();
    }
    assert_eq!(machine.journal.admission(200, Need::Ordinary), Err(Refusal::NoSpace));
    // Who comes to consume is served, within a part of it.
    let mut consumers = 0;
    while machine.journal.admission(300, Need::Consumer).is_ok() {
        machine.fact(1, &[7; 300]);
        machine.settle();
        consumers += 1;
    }
    assert!((20..200).contains(&consumers), "{consumers}");
    assert_eq!(machine.journal.admission(300, Need::Consumer), Err(Refusal::NoSpace));
    assert_eq!(machine.journal.admission(100, Need::Essential), Ok(()));
    // What is there can be read, and a trim frees the disk.
    let state = machine.state.clone();
    machine.check_log(1, &state.logs[&1]).unwrap();
    machine.completions.clear();
    assert_eq!(machine.journal.admission(100, Need::Essential), Ok(()));
    machine.trim(1, state.logs[&1].last);
    machine.settle();
    assert!(
        machine.completions.iter().any(|c| matches!(c, Completion::SpaceBack)),
        "{:?}",
        machine.completions
    );
    for _ in 0..2_000 {
        match machine.journal.admission(200, Need::Ordinary) {
            Ok(()) => {
                machine.append(1, 200);
                let last = machine.state.logs[&1].last;
                if last.is_multiple_of(10) {
                    machine.trim(1, last);
                }
            }
            Err(Refusal::Busy) => machine.settle(),
            Err(other) => panic!("refused again: {other}"),
        }
    }
    machine.settle();
    disk.restart();
    machine.reopen(options(), 5).unwrap();
}

#[test]
fn space_made_by_others_is_noticed_when_somebody_asks() {
    let disk = SimulatedDisk::new(5);
    disk.set_capacity(4 * SEGMENT);
    let mut machine = Machine::open(&disk, options(), 5).unwrap();
    let fill = |machine: &mut Machine| loop {
        match machine.journal.admission(200, Need::Ordinary) {
            Ok(()) => {
                machine.append(1, 200);
            }
            Err(Refusal::Busy) => machine.settle(),
            Err(other) => break other,
        }
    };
    assert_eq!(fill(&mut machine), Refusal::NoSpace);
    disk.set_capacity(20 * SEGMENT);
    assert_eq!(machine.journal.admission(200, Need::Ordinary), Err(Refusal::NoSpace));
    machine.settle();
    assert_eq!(machine.journal.admission(200, Need::Ordinary), Ok(()));
}

#[test]
fn a_failing_sync_poisons_and_is_not_retried() {
    for operation in [Operation::SyncData, Operation::Write] {
        let disk = SimulatedDisk::new(6);
        let mut machine = Machine::open(&disk, options(), 6).unwrap();
        machine.append(1, 100);
        machine.settle();
        let durable = machine.journal.durable();
        disk.fail(operation, 0, ErrorKind::Other);
        machine.append(1, 100);
        machine.journal.submit();
        while machine.step() {}
        assert!(machine.poisoned());
        let poisonings = machine
            .completions
            .iter()
            .filter(|c| matches!(c, Completion::Poisoned(_)))
            .count();
        assert_eq!(poisonings, 1);
        assert_eq!(machine.journal.durable(), durable);
        let operations = disk.operations();
        for _ in 0..100 {
            let refused = machine.journal.admission(10, Need::Essential);
            assert!(matches!(refused, Err(Refusal::Poisoned(_))), "{refused:?}");
            // Counted, never written: memory does not grow.
            machine.journal.append_fact(1, &[0; 1_000], true);
            machine.journal.submit();
            while machine.step() {}
        }
        assert_eq!(disk.operations(), operations, "nothing is written or synced again");
        assert!(machine.journal.backlog_bytes() < 10_000);
        assert_eq!(
            machine.read(1, 1, 10, 1_000).unwrap()[0].2,
            body(1, 1, 100),
            "what is durable still flows"
        );
        machine.history.truncate(2);
        disk.restart();
        machine.reopen(options(), 7).unwrap();
    }
}

#[test]
fn a_message_larger_than_a_segment_gets_a_segment_of_its_own() {
    let disk = SimulatedDisk::new(8);
    let mut machine = Machine::open(&disk, options(), 8).unwrap();
    machine.append(1, 10);
    let length = 1_200_000;
    while machine.journal.admission(length as u64, Need::Ordinary).is_err() {
        machine.settle();
    }
    machine.append(1, length);
    machine.append(1, 10);
    machine.settle();
    disk.restart();
    machine.reopen(options(), 9).unwrap();
    let mut machine = Machine::open(&SimulatedDisk::new(9), options(), 9).unwrap();
    assert_eq!(
        machine.journal.admission(1 << 40, Need::Ordinary),
        Err(Refusal::TooLarge)
    );
}

#[test]
fn a_start_on_a_full_disk_serves_what_is_there_and_can_be_trimmed() {
    // Down to nothing: then even the file of a new epoch has to live from what the last one prepared and did not use.
    for (seed, free) in [(11, 200 << 10), (12, 70 << 10), (13, 100), (14, 0)] {
        let disk = SimulatedDisk::new(seed);
        let mut machine = Machine::open(&disk, options(), seed).unwrap();
        for _ in 0..4_000 {
            machine.append(1, 200);
            if machine.journal.backlog_bytes() > 20_000 {
                machine.settle();
            }
        }
        machine.settle();
        disk.restart();
        disk.set_capacity(disk.used() + free);
        let mut machine = machine
            .reopen(options(), seed)
            .unwrap_or_else(|error| panic!("{free} bytes free: {error}"));
        assert!(matches!(
            machine.journal.admission(100_000, Need::Ordinary),
            Err(Refusal::NoSpace | Refusal::Busy)
        ));
        for _ in 0..8 {
            assert_eq!(
                machine.journal.admission(300, Need::Consumer),
                Ok(()),
                "{free} bytes free"
            );
            machine.fact(1, &[7; 300]);
        }
        assert_eq!(machine.journal.admission(100, Need::Essential), Ok(()));
        machine.fact(1, b"ack");
        let last = machine.state.logs[&1].last;
        machine.trim(1, last);
        machine.settle();
        assert!(!machine.poisoned());
        let mut published = 0;
        for _ in 0..10_000 {
            match machine.journal.admission(200, Need::Ordinary) {
                Ok(()) => {
                    machine.append(1, 200);
                    published += 1;
                }
                Err(_) if published >= 100 => break,
                Err(_) => machine.settle(),
            }
        }
        assert!(
            published >= 100,
            "{free} bytes free: {published} published after the trim"
        );
        machine.settle();
        // And again, however often.
        for round in 0..5 {
            disk.restart();
            disk.set_capacity(disk.used() + free);
            machine = machine
                .reopen(options(), round)
                .unwrap_or_else(|error| panic!("{free} bytes free, start {round}: {error}"));
        }
    }
}

/// A disk whose last blocks are kept for some users, of whom this is one: it says that nothing is free.
struct Reserved(SimulatedDisk);

impl Disk for Reserved {
    fn space_available(&self) -> io::Result<u64> {
        Ok(0)
    }
    fn list(&self, folder: &str) -> io::Result<Vec<DirectoryEntry>> {
        self.0.list(folder)
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.create(name)
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.open(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }
    fn lock(&self, name: &str, holder: &str) -> Result<Box<dyn DiskLock>, LockError> {
        self.0.lock(name, holder)
    }
    fn lock_existing(&self, name: &str) -> Result<Box<dyn DiskLock>, LockError> {
        self.0.lock_existing(name)
    }
    fn is_locked(&self, name: &str) -> io::Result<bool> {
        self.0.is_locked(name)
    }
}

/// What a file system says is free is not what it gives to everybody: a start tries.
#[test]
fn a_start_lives_from_what_is_kept_for_it() {
    let disk = SimulatedDisk::new(5);
    let mut machine = Machine::open(&disk, options(), 5).unwrap();
    for _ in 0..100 {
        machine.append(1, 200);
    }
    machine.settle();
    disk.restart();
    let machine = machine.reopen_on(Arc::new(Reserved(disk.clone())), options(), 6);
    let mut machine = machine.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(machine.journal.admission(300, Need::Consumer), Ok(()));
    machine.fact(1, &[7; 300]);
    machine.settle();
    assert!(!machine.poisoned());
}

/// No file can be made or removed: descriptors, quota, a read-only moment. Nothing promised is in such a file, so nothing is given
/// up: publishers wait, are refused in words, and are served again.
#[test]
fn files_that_cannot_be_made_or_removed_refuse_publishes_and_poison_nothing() {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    const EDQUOT: i32 = 122;
    const EIO: i32 = 5;
    let making = [Operation::Create, Operation::Open];
    let naming = [Operation::Rename, Operation::Remove, Operation::SyncDirectory];
    let cases: [(&[Operation], i32); 6] = [
        (&making, EMFILE),
        (&making, ENFILE),
        (&[Operation::Create], EDQUOT),
        (&naming, EDQUOT),
        (&naming, EIO),
        (&[Operation::Remove], EIO),
    ];
    for (seed, (operations, error)) in (20..).zip(cases) {
        let disk = SimulatedDisk::new(seed);
        let mut machine = Machine::open(&disk, options(), seed).unwrap();
        for round in 0..3 {
            disk.refuse(operations, error);
            let (mut published, mut refusal) = (0, None);
            // More than is prepared; the log stays short, so that segments die, too.
            while published < 8_000 && refusal.is_none() {
                match machine.journal.admission(200, Need::Ordinary) {
                    Ok(()) => {
                        machine.append(1, 200);
                        published += 1;
                        if published % 500 == 0 {
                            machine.trim(1, machine.state.logs[&1].last);
                            machine.settle();
                        }
                    }
                    Err(Refusal::Busy) => {
                        machine.settle();
                        while machine.step() {}
                    }
                    Err(other) => refusal = Some(other),
                }
            }
            let stops = operations != [Operation::Remove];
            assert_eq!(
                refusal.is_some(),
                stops,
                "{operations:?} {error}: {published}, {refusal:?}"
            );
            if let Some(refusal) = &refusal {
                assert!(matches!(refusal, Refusal::NoRoom(_)), "{refusal:?}");
                assert!(refusal.to_string().contains("os error"), "{refusal}");
            }
            // What needs no new file goes on.
            assert_eq!(machine.journal.admission(100, Need::Essential), Ok(()));
            machine.fact(1, &[round; 100]);
            machine.settle();
            assert!(!machine.poisoned(), "{:?}", machine.journal.poison_reason());
            disk.allow_all();
            // Whoever was refused is told, after somebody asked.
            machine.completions.clear();
            let again = machine.journal.admission(200, Need::Ordinary);
            assert!(again.is_ok() || stops);
            machine.settle();
            while machine.step() {}
            let told = machine.completions.iter().any(|c| matches!(c, Completion::SpaceBack));
            assert_eq!(told, stops, "{:?}", machine.completions);
            for _ in 0..500 {
                assert_eq!(machine.journal.admission(200, Need::Ordinary), Ok(()));
                machine.append(1, 200);
                machine.settle();
            }
        }
        machine.trim(1, machine.state.logs[&1].last);
        machine.checkpoint();
        assert_given_back(&mut machine);
        disk.restart();
        machine.reopen(options(), seed).unwrap();
    }
}

/// After a failed sync nobody waits for the disk any more.
#[test]
fn nothing_is_left_in_the_backlog_of_a_poisoned_journal() {
    let disk = SimulatedDisk::new(31);
    let mut machine = Machine::open(&disk, options(), 31).unwrap();
    disk.fail(Operation::SyncData, 0, ErrorKind::Other);
    machine.append(1, 100);
    machine.journal.submit();
    let commit = machine.journal.next_job().unwrap();
    // The disk stalls, and more comes in.
    for _ in 0..100 {
        machine.append(1, 1_000);
    }
    assert!(machine.journal.backlog_bytes() > 100_000 && machine.journal.has_urgent());
    let outcome = commit.run(machine.port.as_ref());
    machine.journal.completed(outcome);
    assert!(machine.poisoned());
    let journal = &machine.journal;
    assert_eq!(journal.backlog_bytes(), 0);
    assert!(!journal.has_urgent() && !journal.has_unsubmitted());
    machine.append(1, 1_000);
    machine.fact(1, b"late");
    assert_eq!(
        (machine.journal.backlog_bytes(), machine.journal.has_urgent()),
        (0, false)
    );
}
