//! The journal on a real directory, driven by threads: commits, reads, trims and checkpoints at the same time, then a start.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/committer.rs"]
mod committer;
mod support;

use committer::committer;
use seaway_journal::disk::Disk;
use seaway_journal::disk::real::RealDisk;
use seaway_journal::*;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{IDENTITY, Replayed, body};

const LOGS: u64 = 20;
const MESSAGES: u64 = 30_000;

#[test]
fn threads_commit_read_trim_and_checkpoint_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folder.path()).unwrap());
    let mut options = Options::new(IDENTITY);
    options.segment_bytes_max = 1 << 20;
    options.tail_cache_bytes = 256 << 10;
    options.checkpoint_bytes = 1 << 20;
    let (mut journal, opened) = Journal::open(&disk, options.clone(), &mut Replayed::default()).unwrap();
    assert!(opened.created);
    let owner = std::thread::current();
    let commits = committer(owner.clone());
    let mut driver = Driver::start(Arc::clone(&disk), move || owner.unpark()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut sent, mut durable, mut read, mut checkpoints) = (0, 0, 0, 0);
    let mut completions = Vec::new();
    while durable < journal.appended() || sent < MESSAGES || read < 200 {
        assert!(Instant::now() < deadline, "sent {sent}, durable {durable}, read {read}");
        while sent < MESSAGES && journal.backlog_bytes() < 200_000 && journal.admission(200, Need::Ordinary).is_ok() {
            let (log, sequence) = (1 + sent % LOGS, 1 + sent / LOGS);
            journal.append_message(LogId(log), sequence, sent as i64, &[&body(log, sequence, 150)]);
            sent += 1;
            if sent % 10_000 == 0 {
                journal.trim(LogId(1), sequence / 2, b"");
            }
            if sent % 100 == 0 {
                let log = LogId(2 + sent / 100 % (LOGS - 1));
                journal.read(sent, log, 1 + sent / LOGS / 3, 20, 9_000);
            }
        }
        journal.submit();
        driver.drive(&mut journal);
        if let Some(commit) = driver.take_commit() {
            commits.send(commit).unwrap();
        }
        journal.poll(&mut completions);
        let idle = completions.is_empty();
        for completion in completions.drain(..) {
            match completion {
                Completion::Durable(position) => durable = position,
                Completion::Read { log, messages, .. } => {
                    for (sequence, _, bytes) in messages.unwrap().iter() {
                        assert_eq!(bytes, body(log.0, sequence, 150));
                    }
                    read += 1;
                }
                Completion::CheckpointNeeded => {
                    journal.begin_checkpoint().unwrap();
                    journal.checkpoint_fact(1, b"all of it").unwrap();
                    journal.finish_checkpoint().unwrap();
                }
                Completion::CheckpointDone(_) => checkpoints += 1,
                Completion::Poisoned(reason) => panic!("{reason}"),
                _ => {}
            }
        }
        if idle {
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
    assert!(checkpoints > 0);
    driver.close(&mut journal).unwrap();
    drop(journal);
    let mut replayed = Replayed::default();
    let started = Instant::now();
    let (journal, opened) = Journal::open(&disk, options, &mut replayed).unwrap();
    assert!(opened.cut.is_none() && opened.checkpoint.is_some(), "{opened:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(replayed.logs.len() as u64, LOGS);
    assert_eq!(journal.log_state(LogId(1)).unwrap().first, 750);
    assert!((2..=LOGS).all(|log| journal.log_state(LogId(log)).unwrap().count == MESSAGES / LOGS));
}

/// Nothing ticks: at rest the journal has no job.
#[test]
fn an_idle_journal_has_nothing_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folder.path()).unwrap());
    let (mut journal, _) = Journal::open(&disk, Options::new(IDENTITY), &mut Replayed::default()).unwrap();
    journal.append_fact(1, b"x", true);
    journal.submit();
    while let Some(job) = journal.next_job() {
        let outcome = job.run(disk.as_ref());
        journal.completed(outcome);
    }
    assert_eq!(journal.durable(), 1);
    journal.submit();
    assert!(journal.next_job().is_none() && !journal.has_urgent());
}
