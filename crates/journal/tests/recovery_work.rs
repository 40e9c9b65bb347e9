//! How much a start reads: the newest checkpoint, the tail since, and a table per segment; not the history
//! (docs/journal-format.md §9).

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use seaway_journal::disk::Disk;
use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_journal::*;
use std::sync::Arc;
use support::{Machine, options};

/// Watches a start.
#[derive(Default)]
struct Watched {
    steps: Vec<(u64, u64, u64)>,
    messages: u64,
}

impl Replay for Watched {
    fn fact(&mut self, _kind: u8, _body: &[u8]) {}
    fn message(&mut self, _log: LogId, _sequence: u64, _timestamp: i64, _size: u32) {
        self.messages += 1;
    }
    fn trim(&mut self, _log: LogId, _first: u64, _body: &[u8]) {}
    fn delete(&mut self, _log: LogId, _body: &[u8]) {}
    fn log_recovered(&mut self, _log: RecoveredLog) {}
    fn progressed(&mut self, done: u64, total: u64, records: u64) {
        self.steps.push((done, total, records));
    }
}

fn open(disk: &SimulatedDisk) -> (Opened, Watched) {
    let port: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut watched = Watched::default();
    let (_, opened) = Journal::open(&port, options(), &mut watched).unwrap();
    (opened, watched)
}

fn lengths(disk: &SimulatedDisk, kind: &str) -> Vec<u64> {
    let entries = disk.list("").unwrap();
    let of_kind = entries.iter().filter(|entry| entry.name.ends_with(kind));
    of_kind.map(|entry| entry.length).collect()
}

/// A journal of `history` messages in five logs, a checkpoint, and `tail` messages after it.
fn journal(history: usize, tail: usize) -> SimulatedDisk {
    let disk = SimulatedDisk::new(3);
    let mut machine = Machine::open(&disk, options(), 3).unwrap();
    machine.checkpoints = false;
    for index in 0..history {
        machine.append(1 + index as u64 % 5, 200);
        if index % 50 == 0 {
            machine.settle();
        }
    }
    machine.settle();
    while machine.step() {}
    machine.checkpoint();
    machine.settle();
    while machine.step() {}
    assert_eq!(machine.checkpoints_done, 1);
    for index in 0..tail {
        machine.append(1 + index as u64 % 5, 200);
    }
    machine.settle();
    while machine.step() {}
    disk.restart_process();
    disk
}

#[test]
fn a_start_reads_the_checkpoint_and_the_tail_and_not_the_history() {
    const SEGMENT: u64 = 64 << 10;
    let mut read = Vec::new();
    for history in [2_000, 16_000] {
        let disk = journal(history, 100);
        let checkpoint: u64 = lengths(&disk, ".checkpoint").iter().sum();
        let segments = lengths(&disk, ".log").len() as u64;
        let (opened, watched) = open(&disk);
        assert_eq!((opened.tail_records, watched.messages), (100, 100));
        // One segment holds the tail, another may follow; the rest is known from the tables: five runs of 56 bytes.
        let tables = segments * (128 + 5 * 56);
        let heads = 2 * 8_192;
        let bound = checkpoint + 2 * SEGMENT + tables + heads;
        assert!(opened.bytes_read <= bound, "{} bytes of {bound}", opened.bytes_read);
        let stored = segments * SEGMENT;
        assert!(
            history < 16_000 || opened.bytes_read * 10 < stored,
            "{} of {stored}",
            opened.bytes_read
        );
        read.push((opened.bytes_read, tables));
    }
    let (less, more) = (read[0], read[1]);
    assert!(more.0 - more.1 <= less.0 - less.1 + SEGMENT, "{read:?}");
}

#[test]
fn progress_counts_up_to_its_total() {
    let (opened, watched) = open(&journal(4_000, 500));
    assert!(watched.steps.len() > 5, "{} steps", watched.steps.len());
    assert!(
        watched
            .steps
            .is_sorted_by(|left, right| left.0 <= right.0 && left.2 <= right.2)
    );
    assert!(watched.steps.iter().all(|(done, total, _)| done <= total));
    let (done, total, records) = *watched.steps.last().unwrap();
    assert!(done * 10 >= total * 9, "{done} of {total} at the end");
    assert!(records >= opened.tail_records);
}

/// Many short lives must not leave an ever longer tail.
#[test]
fn what_a_start_had_to_read_counts_towards_the_next_checkpoint() {
    let disk = SimulatedDisk::new(4);
    let mut machine = Machine::open(&disk, options(), 4).unwrap();
    let mut done = 0;
    for life in 0..20 {
        for _ in 0..40 {
            machine.append(1, 300);
        }
        machine.settle();
        while machine.step() {}
        done += machine.checkpoints_done;
        let tail = machine.journal.statistics().tail_bytes;
        // A checkpoint is asked for from 96 KiB on.
        assert!(tail < 128 << 10, "life {life}: {tail} bytes of tail");
        disk.restart_process();
        machine = machine.reopen(options(), life).unwrap();
    }
    assert!(done >= 2, "{done} checkpoints");
}

/// The figures of the journal agree with each other.
#[test]
fn statistics_count_batches_and_the_tail() {
    let disk = SimulatedDisk::new(5);
    let mut machine = Machine::open(&disk, options(), 5).unwrap();
    machine.checkpoints = false;
    for _ in 0..30 {
        machine.append(1, 100);
        machine.append(2, 100);
        machine.settle();
    }
    let before = machine.journal.statistics();
    assert_eq!((before.batch_records.count(), before.commits), (30, 30));
    assert_eq!((before.batch_records.sum(), before.records), (60, 60));
    assert_eq!(before.batch_bytes.sum(), before.committed_bytes);
    assert_eq!(before.commit_nanoseconds.count(), 30);
    assert_eq!((before.checkpoint_position, before.checkpoint_bytes), (0, 0));
    assert_eq!(before.tail_bytes, before.committed_bytes);
    machine.checkpoint();
    machine.settle();
    while machine.step() {}
    let after = machine.journal.statistics();
    assert_eq!((after.checkpoint_position, after.checkpoints), (60, 1));
    assert_eq!(vec![after.checkpoint_bytes], lengths(&disk, ".checkpoint"));
    assert!(after.tail_bytes < before.tail_bytes, "{after:?}");
}

/// A disk that does one thing beside commits while publishers fill whatever was prepared: they wait for it, and the tail does not grow.
#[test]
fn publishers_that_outrun_the_disk_do_not_make_the_next_start_longer() {
    let disk = SimulatedDisk::new(7);
    let port: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut journal, _) = Journal::open(&port, options(), &mut Watched::default()).unwrap();
    let (mut sequence, mut tail_bytes_max, mut waiting) = (0, 0, None::<Job>);
    let mut completions = Vec::new();
    for _ in 0..2_000 {
        if let Some(job) = waiting.take() {
            journal.completed(job.run(port.as_ref()));
        }
        while journal.admission(1_000, Need::Ordinary).is_ok() && journal.backlog_bytes() < 256 << 10 {
            sequence += 1;
            journal.append_message(LogId(1), sequence, 0, &[&[7; 1_000]]);
        }
        journal.submit();
        while let Some(job) = journal.next_job() {
            match job.lane() {
                Lane::Maintenance => waiting = Some(job),
                _ => journal.completed(job.run(port.as_ref())),
            }
        }
        journal.poll(&mut completions);
        for completion in completions.drain(..) {
            if matches!(completion, Completion::CheckpointNeeded) && journal.begin_checkpoint().is_ok() {
                journal.finish_checkpoint().unwrap();
            }
        }
        tail_bytes_max = tail_bytes_max.max(journal.statistics().tail_bytes);
    }
    assert!(
        sequence > 10_000,
        "only {sequence} messages in all: the disk did too little"
    );
    let bound = 8 * options().segment_bytes_max;
    assert!(
        tail_bytes_max < bound,
        "{tail_bytes_max} bytes of tail after {sequence} messages"
    );
}
