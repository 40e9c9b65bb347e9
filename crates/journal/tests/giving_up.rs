//! What an operator may give up when a start refuses, and how damage at the end is told from an interrupted write
//! (docs/journal-format.md §3, §9): nothing goes silently, copies are kept, not twice in a row.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use seaway_journal::disk::Disk;
use seaway_journal::disk::simulated::{Operation, SimulatedDisk};
use seaway_journal::*;
use std::io::ErrorKind;
use std::sync::Arc;
use support::{Machine, Replayed, options};

const SEGMENT: &str = "segment-0000000000000001-00000001.log";
const WITNESS: &str = "journal.givenup";

fn giving_up() -> Options {
    let mut options = options();
    options.damage = DamagePolicy::CutThere;
    options
}

fn open(disk: &SimulatedDisk, options: Options) -> Result<(Opened, Replayed), OpenError> {
    let port: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut replayed = Replayed::default();
    let (_, opened) = Journal::open(&port, options, &mut replayed)?;
    disk.restart_process();
    Ok((opened, replayed))
}

fn flip(disk: &SimulatedDisk, name: &str, at: usize) {
    let mut content = disk.content(name).unwrap();
    content[at] ^= 4;
    disk.plant(name, &content);
}

/// A journal with a checkpoint of several blocks, which nothing follows but an orderly end.
fn with_checkpoint() -> Machine {
    let disk = SimulatedDisk::new(5);
    let mut machine = Machine::open(&disk, options(), 5).unwrap();
    machine.checkpoints = false;
    for kind in 0..8 {
        machine.fact(kind, &vec![kind; 100_000]);
    }
    for round in 0..400u64 {
        machine.append(1 + round % 3, 400);
        if round % 20 == 0 {
            machine.settle();
        }
    }
    machine.checkpoint();
    machine.settle();
    while machine.step() {}
    assert_eq!(machine.journal.statistics().checkpoints, 1);
    machine.append(1, 10);
    machine.settle();
    disk.restart_process();
    machine
}

fn checkpoint_of(disk: &SimulatedDisk) -> String {
    disk.names()
        .into_iter()
        .find(|name| name.ends_with(".checkpoint"))
        .unwrap()
}

/// §9: what is whole of a damaged checkpoint is used when the operator says so, the rest is told, a copy is kept, and not twice in a
/// row. No message is lost by it.
#[test]
fn a_damaged_checkpoint_is_given_up_block_by_block() {
    let machine = with_checkpoint();
    let name = checkpoint_of(&machine.disk);
    let length = machine.disk.content(&name).unwrap().len();
    let known = machine.state.facts.len();
    let places = [
        0,
        40,
        60,
        127,
        128,
        133,
        140,
        5_000,
        length / 2,
        length - 60,
        length - 5,
    ];
    let mut losses = std::collections::BTreeSet::new();
    for at in places {
        let disk = machine.disk.fork(9);
        flip(&disk, &name, at);
        let damaged = disk.content(&name).unwrap();
        assert!(
            matches!(open(&disk, options()), Err(OpenError::Damaged { .. })),
            "byte {at}"
        );
        let (opened, replayed) = open(&disk, giving_up()).unwrap_or_else(|error| panic!("byte {at}: {error}"));
        let remarks = opened.remarks.join("; ");
        assert!(
            remarks.contains(&name) && remarks.contains("are lost with what they said"),
            "{remarks}"
        );
        assert_eq!(
            disk.content(&format!("{name}.cut")).as_ref(),
            Some(&damaged),
            "byte {at}: a copy is kept"
        );
        losses.insert(
            known
                - replayed
                    .facts
                    .iter()
                    .map(|(kind, _)| kind)
                    .collect::<std::collections::BTreeSet<_>>()
                    .len(),
        );
        // Every message is there: what the checkpoint said of the logs is found out from them.
        let bounds = |replayed: &Replayed| -> Vec<(u64, u64, u64)> {
            replayed
                .logs
                .iter()
                .map(|(id, log)| (*id, log.first, log.last))
                .collect()
        };
        assert_eq!(bounds(&replayed), [(1, 1, 135), (2, 1, 133), (3, 1, 133)], "byte {at}");
        // Not twice in a row, and without it nothing is wrong any more.
        assert!(matches!(open(&disk, giving_up()), Err(OpenError::GaveUpBefore { .. })));
        let (_, again) = open(&disk, options()).unwrap_or_else(|error| panic!("byte {at}, again: {error}"));
        assert_eq!(
            (again.facts.len(), bounds(&again)),
            (replayed.facts.len(), bounds(&replayed)),
            "byte {at}"
        );
    }
    assert!(
        losses.contains(&0) && losses.iter().any(|lost| (1..8).contains(lost)),
        "{losses:?}"
    );
}

/// An older checkpoint that is whole, with all that follows it, loses nothing.
#[test]
fn an_older_checkpoint_stands_in_for_a_damaged_one() {
    let mut machine = with_checkpoint();
    let older = checkpoint_of(&machine.disk);
    let kept = machine.disk.content(&older).unwrap();
    machine = machine.reopen(options(), 6).unwrap();
    machine.append(2, 100);
    machine.fact(3, b"newer");
    machine.checkpoint();
    machine.settle();
    while machine.step() {}
    machine.disk.restart_process();
    // Its removal came too late.
    machine.disk.plant(&older, &kept);
    let newest = machine
        .disk
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".checkpoint"))
        .max()
        .unwrap();
    assert_ne!(newest, older);
    flip(&machine.disk, &newest, 300);
    assert!(open(&machine.disk, options()).is_err());
    let machine = machine.reopen(giving_up(), 7).unwrap();
    let remarks = machine.opened.remarks.join("; ");
    assert!(
        remarks.contains(&newest) && remarks.contains("nothing is lost"),
        "{remarks}"
    );
    machine.disk.restart_process();
    machine.reopen(options(), 8).unwrap();
    assert!(machine.disk.content(&format!("{newest}.cut")).is_some());
}

/// Three batches of two records each; the offset of the last one's first byte and of the byte after it.
fn stopped(orderly: bool) -> (Machine, usize, usize) {
    let disk = SimulatedDisk::new(1);
    let mut machine = Machine::open(&disk, options(), 1).unwrap();
    machine.checkpoints = false;
    let end = |disk: &SimulatedDisk| {
        disk.content(SEGMENT)
            .unwrap()
            .iter()
            .rposition(|byte| *byte != 0)
            .unwrap()
            + 1
    };
    let mut start = 0;
    for batch in 0..3 {
        start = end(&disk).next_multiple_of(8);
        machine.append(1, 50 + batch);
        machine.fact(2, &[batch as u8; 9]);
        machine.settle();
    }
    if orderly {
        assert!(machine.journal.mark_end(machine.port.as_ref()));
    }
    let end = end(&disk);
    disk.restart_process();
    (machine, start, end)
}

#[test]
fn a_flipped_bit_in_the_last_batch_after_an_orderly_stop_is_no_interrupted_write() {
    let (machine, start, end) = stopped(true);
    for at in start..end {
        let disk = machine.disk.fork(2);
        flip(&disk, SEGMENT, at);
        let names = disk.names();
        match open(&disk, options()) {
            Err(OpenError::Damaged { file, offset, reason }) => {
                assert_eq!((file.as_str(), offset as usize), (SEGMENT, start), "byte {at}");
                assert!(reason.contains("orderly") && reason.contains("4 to 6"), "{reason}");
            }
            other => panic!("byte {at}: {:?}", other.map(|(opened, _)| opened)),
        }
        assert_eq!(disk.names(), names, "nothing was written or removed");
    }
    // Cut off, too; and after a kill the same is what it was.
    let disk = machine.disk.fork(2);
    let mut content = disk.content(SEGMENT).unwrap();
    content[start..end].fill(0);
    disk.plant(SEGMENT, &content);
    assert!(matches!(open(&disk, options()), Err(OpenError::Damaged { .. })));
    let (killed, _, _) = stopped(false);
    flip(&killed.disk, SEGMENT, end - 9);
    assert_eq!(open(&killed.disk, options()).unwrap().0.position, 4);
}

#[test]
fn the_mark_of_an_orderly_stop_counts_for_one_epoch_and_a_damaged_one_for_nothing() {
    let (machine, _, end) = stopped(true);
    let mark = "epoch-00000001.end";
    assert_eq!(machine.disk.content(mark).unwrap().len(), 128);
    let disk = machine.disk.fork(3);
    let (opened, replayed) = open(&disk, options()).unwrap();
    assert_eq!((opened.position, replayed.facts.len(), opened.remarks.len()), (6, 3, 0));
    assert!(disk.content(mark).is_none(), "{:?}", disk.names());
    for at in 0..128 {
        let disk = machine.disk.fork(3);
        flip(&disk, mark, at);
        flip(&disk, SEGMENT, end - 9);
        let (opened, _) = open(&disk, options()).unwrap();
        assert_eq!(opened.position, 4, "byte {at}");
        assert!(
            opened.remarks.iter().any(|remark| remark.contains(mark)),
            "{:?}",
            opened.remarks
        );
    }
    // Who stops with something not written, or not synced, leaves no mark.
    let mut machine = Machine::open(&SimulatedDisk::new(4), options(), 4).unwrap();
    machine.append(1, 10);
    assert!(!machine.journal.mark_end(machine.port.as_ref()));
    let mut unsynced = options();
    unsynced.sync = false;
    let mut machine = Machine::open(&SimulatedDisk::new(4), unsynced, 4).unwrap();
    assert!(!machine.journal.mark_end(machine.port.as_ref()));
}

#[test]
fn what_is_given_up_is_said_and_kept_and_not_twice_in_a_row() {
    let (machine, start, _) = stopped(true);
    let disk = &machine.disk;
    flip(disk, SEGMENT, start + 70);
    let damaged = disk.content(SEGMENT).unwrap();
    let (opened, replayed) = open(disk, giving_up()).unwrap();
    assert_eq!((opened.position, replayed.facts.len()), (6, 2));
    let cut = opened.cut.unwrap();
    assert_eq!((cut.file.as_str(), cut.offset as usize), (SEGMENT, start));
    let said = opened.remarks.join("\n");
    assert!(said.contains("2 records, from position 4 on, are lost"), "{said}");
    assert!(
        said.contains(&format!("{SEGMENT} as it was is kept as {SEGMENT}.cut")),
        "{said}"
    );
    assert!(disk.content(&format!("{SEGMENT}.cut")).unwrap() == damaged);
    assert!(disk.content(WITNESS).is_some());
    // The next start may not do it again; one without it ends that.
    let names = disk.names();
    match open(disk, giving_up()) {
        Err(OpenError::GaveUpBefore { witness }) => assert_eq!(witness, WITNESS),
        other => panic!("{:?}", other.map(|(opened, _)| opened)),
    }
    assert_eq!(disk.names(), names);
    let (opened, replayed) = open(disk, options()).unwrap();
    assert_eq!((opened.position, replayed.facts.len()), (6, 2));
    assert!(disk.content(WITNESS).is_none());
    open(disk, giving_up()).unwrap();
}

/// Positions go on behind what was given up: what a checkpoint knows of them is not taken for what comes now.
fn lives_on(disk: &SimulatedDisk, seed: u64) {
    let port: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut machine = Machine::open(disk, options(), seed).unwrap();
    machine.checkpoints = false;
    let logs = machine.replayed.logs.clone();
    let next = |log: u64| logs.get(&log).map_or(1, |log| log.last + 1);
    for (log, more) in [(1, 3), (2, 2)] {
        for sequence in next(log)..next(log) + more {
            machine
                .journal
                .append_message(LogId(log), sequence, 9_000_000, &[b"new"]);
        }
    }
    machine.journal.append_fact(200, b"new", true);
    machine.settle();
    drop(machine);
    disk.restart();
    let mut replayed = Replayed::default();
    let (journal, _) = Journal::open(&port, options(), &mut replayed).unwrap();
    assert_eq!(journal.log_state(LogId(1)).unwrap().last, next(1) + 2);
    assert_eq!(journal.log_state(LogId(2)).unwrap().last, next(2) + 1);
    assert!(replayed.facts.contains(&(200, b"new".to_vec())));
    drop(journal);
    let mut machine = Machine::open(disk, options(), seed).unwrap();
    let read = machine.read(1, next(1), 10, 10_000).unwrap();
    assert!(read.iter().all(|(_, _, body)| body == b"new") && read.len() == 3);
    disk.restart_process();
}

/// A segment that a checkpoint rests on is gone. What a start refuses then, it opens when the operator gives up what is lost: what
/// is there is served, what is not is said.
#[test]
fn without_a_segment_the_rest_can_be_opened() {
    let (mut refused, mut holes, mut served) = (0, 0, 0);
    for seed in 0..60 {
        let disk = SimulatedDisk::new(seed);
        let mut machine = Machine::open(&disk, options(), seed).unwrap();
        for _ in 0..1_200 {
            let log = 1 + machine.random.below(2);
            machine.append(log, 100);
            if machine.random.below(8) == 0 {
                let body = machine.random.next().to_le_bytes();
                machine.fact(1, &body);
            }
            if machine.random.below(10) == 0 {
                machine.settle();
            }
        }
        machine.checkpoint();
        machine.settle();
        while machine.step() {}
        disk.restart();
        let names = disk.names();
        let segments: Vec<&String> = names.iter().filter(|name| name.ends_with(".log")).collect();
        disk.unplant(segments[machine.random.below(segments.len() as u64) as usize]);
        let again = disk.fork(seed + 1);
        if let Ok((opened, _)) = open(&again, options()) {
            lives_on(&again, seed);
            drop(opened);
            continue;
        }
        refused += 1;
        let (opened, replayed) = open(&disk, giving_up()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let is_lost = replayed.logs.values().any(|log| log.lost > 0);
        assert!(is_lost || !opened.remarks.is_empty());
        holes += u64::from(is_lost);
        let lost: u64 = replayed.logs.values().map(|log| log.lost).sum();
        let mut missing = 0;
        let mut after = Machine::open(&disk, options(), seed).unwrap();
        for (id, log) in &replayed.logs {
            for sequence in log.first..=log.last {
                match after.read(*id, sequence, 1, 10_000) {
                    Ok(read) => match read.first().filter(|(found, ..)| *found == sequence) {
                        Some((_, _, body)) => {
                            assert_eq!(body, &support::body(*id, sequence, 100));
                            served += 1;
                        }
                        // It is gone like one that was trimmed.
                        None => missing += 1,
                    },
                    Err(error) => assert!(error.contains(".log"), "{error}"),
                }
            }
            let _ = after.journal.head(LogId(*id));
            while after.step() {}
        }
        assert_eq!(missing, lost, "seed {seed}");
        assert!(!after.poisoned());
        drop(after);
        disk.restart_process();
        lives_on(&disk, seed);
    }
    assert!(
        refused > 10 && holes > 5 && served > 1_000,
        "{refused} refused, {holes} with holes, {served} served"
    );
}

/// The directory is no longer this process's: what it writes nobody will find, so it acknowledges nothing more.
#[test]
fn a_journal_whose_lock_or_epoch_was_removed_acknowledges_nothing_more() {
    for lock in [true, false] {
        let disk = SimulatedDisk::new(6);
        let mut machine = Machine::open(&disk, options(), 6).unwrap();
        machine.append(1, 100);
        machine.settle();
        let durable = machine.journal.durable();
        if lock {
            disk.unlock("epoch-00000001.claim");
        } else {
            disk.unplant("epoch-00000001.epoch");
        }
        machine.append(1, 100);
        machine.journal.submit();
        while machine.step() {}
        let reason = machine.journal.poison_reason().unwrap();
        assert!(
            reason.contains("removed") && reason.contains(if lock { "claim" } else { "epoch" }),
            "{reason}"
        );
        assert_eq!(machine.journal.durable(), durable);
        let refusal = machine.journal.admission(1, Need::Ordinary).unwrap_err().to_string();
        assert!(refusal.contains("outcome") && refusal.contains("unknown"), "{refusal}");
    }
    // A commit that fails otherwise has its own reason.
    let disk = SimulatedDisk::new(7);
    let mut machine = Machine::open(&disk, options(), 7).unwrap();
    disk.fail(Operation::SyncData, 0, ErrorKind::Other);
    machine.append(1, 1);
    machine.journal.submit();
    while machine.step() {}
    assert!(!machine.journal.poison_reason().unwrap().contains("removed"));
}
