//! Rewriting under way: whatever is copied, cut short or trimmed meanwhile, every live message is found where the index says,
//! with its own length, and the sums stay exact (architecture §6 retention, docs/journal-format.md §6 kind 5).

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_journal::*;
use std::collections::BTreeSet;
use std::task::Poll;
use support::{Machine, options};

const BUSY: u64 = 1;
/// Logs whose old messages stay.
const KEPT: std::ops::RangeInclusive<u64> = 2..=6;

/// Kept logs grow slowly between the messages of a busy one that is trimmed: victims hold pieces of the same logs, copies of
/// several victims become one run, and a run is cut where the segment of copies ends.
fn act(machine: &mut Machine, waiting: &mut BTreeSet<u64>) {
    match machine.random.below(100) {
        0..12 => {
            let log = *KEPT.start() + machine.random.below(KEPT.end() - KEPT.start() + 1);
            let length = machine.random.below(900) as usize;
            machine.append(log, length);
        }
        12..70 => {
            let length = machine.random.below(700) as usize;
            machine.append(BUSY, length);
        }
        70..76 => {
            let last = machine.state.logs.get(&BUSY).map_or(0, |log| log.last);
            machine.trim(BUSY, last.saturating_sub(3));
        }
        76..78 => {
            let log = *KEPT.start() + machine.random.below(KEPT.end() - KEPT.start() + 1);
            let first = machine.state.logs.get(&log).map_or(0, |log| log.first);
            let more = machine.random.below(6);
            machine.trim(log, first + more);
        }
        78..86 => machine.journal.submit(),
        86..88 => {
            let log = *KEPT.start() + machine.random.below(KEPT.end() - KEPT.start() + 1);
            if machine.journal.head(LogId(log)) == Poll::Pending {
                machine
                    .completions
                    .retain(|c| !matches!(c, Completion::HeadReady(ready) if ready.0 == log));
                waiting.insert(log);
            }
        }
        _ => {
            for _ in 0..machine.random.below(24) {
                machine.step();
            }
        }
    }
}

/// Sequence of the first message not before a time.
fn seek(machine: &mut Machine, log: u64, timestamp: i64) -> Result<u64, String> {
    machine.journal.seek(78, LogId(log), timestamp);
    while machine.step() {}
    let answer = machine
        .completions
        .iter()
        .position(|c| matches!(c, Completion::Sought { .. }));
    match answer.map(|index| machine.completions.swap_remove(index)) {
        Some(Completion::Sought { sequence, .. }) => sequence.map_err(|error| error.to_string()),
        _ => Err(format!("a search in log {log} was never answered")),
    }
}

fn check(machine: &mut Machine, waiting: &mut BTreeSet<u64>) -> Result<(), String> {
    machine.settle();
    while machine.step() {}
    while let Some(log) = waiting.pop_first() {
        // Whoever was told to wait for a head can go on: it was called since, or asks again without waiting for ever.
        let called = machine
            .completions
            .iter()
            .any(|c| matches!(c, Completion::HeadReady(ready) if ready.0 == log));
        if !called {
            return Err(format!("nobody was told of the head of log {log}"));
        }
    }
    for (id, log) in machine.state.clone().logs {
        machine.check_log(id, &log)?;
        for _ in 0..8 {
            let sequence = log.first + machine.random.below((log.last + 1 - log.first).max(1));
            let Some((timestamp, _)) = log.messages.get(&sequence) else {
                continue;
            };
            for sought in [*timestamp, *timestamp - 1] {
                let found = seek(machine, id, sought)?;
                let before = log.messages.values().filter(|(time, _)| *time < sought).count() as u64;
                if found != log.first + before {
                    return Err(format!(
                        "log {id}: time {sought} is at {found}, not at {}",
                        log.first + before
                    ));
                }
            }
        }
        let bounds = machine.journal.log_state(LogId(id)).unwrap();
        let bytes: u64 = log.messages.values().map(|(_, length)| *length as u64 + 36).sum();
        if (bounds.first, bounds.last, bounds.bytes) != (log.first, log.last, bytes) {
            return Err(format!("log {id}: {bounds:?}, expected {bytes} bytes"));
        }
    }
    Ok(())
}

#[test]
fn every_message_is_found_while_others_are_copied_and_trimmed() {
    let mut rewritten = 0;
    for seed in 0..24 {
        let disk = SimulatedDisk::new(seed);
        let mut machine = Machine::open(&disk, options(), seed).unwrap();
        let mut waiting = BTreeSet::new();
        for life in 0..3 {
            for round in 0..6 {
                for _ in 0..600 {
                    act(&mut machine, &mut waiting);
                }
                check(&mut machine, &mut waiting)
                    .unwrap_or_else(|error| panic!("seed {seed} life {life} round {round}: {error}"));
            }
            rewritten += machine.journal.statistics().rewritten_bytes;
            // In the middle of whatever it does.
            for _ in 0..200 {
                act(&mut machine, &mut waiting);
            }
            disk.restart();
            waiting.clear();
            machine = machine
                .reopen(options(), seed)
                .unwrap_or_else(|error| panic!("seed {seed} life {life}: {error}"));
            check(&mut machine, &mut waiting).unwrap_or_else(|error| panic!("seed {seed} after life {life}: {error}"));
        }
    }
    assert!(rewritten > 1 << 20, "{rewritten} bytes rewritten");
}
