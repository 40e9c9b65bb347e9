//! Reading: the tail from memory, cold reads, heads read ahead, seeking by time (architecture §5 cold reads, §6 index).

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_journal::*;
use std::task::Poll;
use support::{Machine, body, options};

/// One log of 3,000 messages over many segments, its neighbours between; everything durable and indexed.
fn long_log() -> Machine {
    let disk = SimulatedDisk::new(1);
    let mut machine = Machine::open(&disk, options(), 1).unwrap();
    for index in 0..3_000 {
        machine.append(1, 100 + index % 50);
        if index % 3 == 0 {
            machine.append(2 + index as u64 % 7, 30);
        }
        if index % 100 == 0 {
            machine.settle();
        }
    }
    machine.settle();
    while machine.step() {}
    machine
}

#[test]
fn the_newest_messages_are_in_memory_and_the_cache_is_bounded() {
    let mut machine = long_log();
    assert!(machine.journal.statistics().cache_bytes <= 32 << 10);
    let last = machine.state.logs[&1].last;
    assert_eq!(
        machine.journal.message(LogId(1), last),
        Poll::Ready(Some(&body(1, last, 149)[..]))
    );
    assert_eq!(machine.journal.message(LogId(1), 1), Poll::Pending);
    assert_eq!(machine.journal.message(LogId(1), last + 1), Poll::Ready(None));
    assert_eq!(machine.journal.message(LogId(99), 1), Poll::Ready(None));
    // Visible at once, before anything is durable.
    let position = machine.append(1, 10);
    assert!(machine.journal.durable() < position);
    assert_eq!(
        machine.journal.message(LogId(1), last + 1),
        Poll::Ready(Some(&body(1, last + 1, 10)[..]))
    );
}

#[test]
fn cold_reads_give_what_was_written_whatever_their_bounds() {
    let mut machine = long_log();
    let log = machine.state.logs[&1].clone();
    for (from, messages, bytes) in [
        (1, 1, 1),
        (1, 50, 1 << 20),
        (700, 10_000, 5_000),
        (2_990, 100, 1 << 20),
        (5, 3, 0),
    ] {
        let read = machine.read(1, from, messages, bytes).unwrap();
        assert!(!read.is_empty() && read.len() <= messages);
        let total: usize = read.iter().map(|(_, _, body)| body.len() + 36).sum();
        assert!(read.len() == 1 || total <= bytes);
        for (index, (sequence, timestamp, bytes)) in read.into_iter().enumerate() {
            assert_eq!(sequence, from + index as u64);
            assert_eq!(timestamp, log.messages[&sequence].0);
            assert_eq!(bytes, body(1, sequence, log.messages[&sequence].1));
        }
    }
    assert_eq!(machine.read(1, 3_001, 10, 1_000).unwrap(), []);
    assert_eq!(machine.read(50, 1, 10, 1_000).unwrap(), []);
    machine.trim(1, 1_500);
    assert_eq!(
        machine.read(1, 1, 1, 1_000).unwrap()[0].0,
        1_500,
        "a read from before the first begins with the first"
    );
}

#[test]
fn neighbouring_requests_share_one_read() {
    let mut machine = long_log();
    for ticket in 0..20 {
        let from = 10 + ticket;
        machine.journal.read(ticket, LogId(1), from, 100, 1 << 20);
    }
    let mut jobs = 0;
    while let Some(job) = machine.journal.next_job() {
        jobs += u32::from(job.lane() == Lane::Reader);
        let outcome = job.run(&machine.disk);
        machine.journal.completed(outcome);
    }
    assert_eq!(jobs, 1);
    let mut completions = Vec::new();
    machine.journal.poll(&mut completions);
    let mut answered = 0;
    for completion in completions {
        let Completion::Read { ticket, messages, .. } = completion else {
            continue;
        };
        let messages = messages.unwrap();
        assert_eq!(messages.iter().next().map(|(sequence, ..)| sequence), Some(10 + ticket));
        answered += 1;
    }
    assert_eq!(answered, 20);
}

#[test]
fn a_damaged_message_is_an_error_with_its_place_not_a_wrong_answer() {
    let machine = long_log();
    machine.disk.restart_process();
    let disk = machine.disk.fork(2);
    let mut machine = Machine { disk, ..long_log() }.reopen(options(), 3).unwrap();
    let name = machine
        .disk
        .names()
        .into_iter()
        .find(|name| name.ends_with(".log"))
        .unwrap();
    let mut content = machine.disk.content(&name).unwrap();
    content[4_096 + 64 + 60] ^= 1;
    machine.disk.plant(&name, &content);
    let error = machine.read(1, 1, 1, 1_000).unwrap_err();
    assert!(error.contains(&name) && error.contains("checksum"), "{error}");
    assert!(!machine.poisoned(), "the rest goes on");
    assert_eq!(machine.read(1, 2_000, 1, 1_000).unwrap().len(), 1);
}

fn head(machine: &mut Machine, log: u64) -> Poll<Option<(u64, u32, i64)>> {
    loop {
        match machine.journal.head(LogId(log)) {
            Poll::Pending => {
                machine.completions.clear();
                while !machine
                    .completions
                    .iter()
                    .any(|c| matches!(c, Completion::HeadReady(LogId(id)) if *id == log))
                {
                    assert!(machine.step(), "HeadReady follows Reading");
                }
            }
            known => return known,
        }
    }
}

#[test]
fn heads_are_right_and_trimming_one_by_one_hardly_ever_waits() {
    let machine = long_log();
    machine.disk.restart_process();
    let mut machine = machine.reopen(options(), 2).unwrap();
    let mut waits = 0;
    while machine.state.logs[&1].first <= machine.state.logs[&1].last {
        let log = &machine.state.logs[&1];
        let (first, (timestamp, length)) = (log.first, log.messages[&log.first]);
        waits += u32::from(machine.journal.head(LogId(1)) == Poll::Pending);
        let known = head(&mut machine, 1);
        assert_eq!(known, Poll::Ready(Some((first, length as u32, timestamp))));
        machine.trim(1, first + 1);
        // The steady state: jobs run between publishes.
        machine.journal.submit();
        for _ in 0..6 {
            machine.step();
        }
        let bytes: u64 = machine.state.logs[&1]
            .messages
            .values()
            .map(|(_, length)| *length as u64 + 36)
            .sum();
        if first % 100 == 0 {
            machine.settle();
            while machine.step() {}
            assert_eq!(
                machine.journal.log_state(LogId(1)).unwrap().bytes,
                bytes,
                "after trimming {first}"
            );
        }
    }
    assert_eq!(machine.journal.head(LogId(1)), Poll::Ready(None));
    assert!(waits < 60, "{waits} waits for 3,000 trims");
    machine.settle();
    machine.disk.restart();
    machine.reopen(options(), 3).unwrap();
}

#[test]
fn seeking_finds_the_first_message_that_is_late_enough() {
    let mut machine = long_log();
    machine.trim(1, 40);
    let log = machine.state.logs[&1].clone();
    let last_time = log.messages[&log.last].0;
    for timestamp in (990..last_time + 20)
        .step_by(37)
        .chain([i64::MIN, i64::MAX, last_time, last_time + 1])
    {
        machine.journal.seek(5, LogId(1), timestamp);
        let found = loop {
            let answer = machine
                .completions
                .iter()
                .position(|c| matches!(c, Completion::Sought { .. }));
            if let Some(index) = answer {
                let Completion::Sought { sequence, .. } = machine.completions.swap_remove(index) else {
                    unreachable!()
                };
                break sequence.unwrap();
            }
            let more = machine.step();
            let waits = machine
                .completions
                .iter()
                .any(|c| matches!(c, Completion::Sought { .. }));
            assert!(more || waits, "a seek is answered");
        };
        let expected = log
            .messages
            .iter()
            .find(|(_, (time, _))| *time >= timestamp)
            .map_or(log.last + 1, |(s, _)| *s);
        assert_eq!(found, expected, "time {timestamp}");
    }
}

#[test]
fn one_damaged_message_costs_only_itself_and_the_error_says_which() {
    let mut machine = long_log();
    let damaged = 700;
    let wanted = body(1, damaged, 100 + (damaged as usize - 1) % 50);
    let (name, mut content, at) = machine
        .disk
        .names()
        .into_iter()
        .filter_map(|name| {
            let content = machine.disk.content(&name)?;
            let at = content.windows(wanted.len()).position(|bytes| bytes == wanted)?;
            Some((name, content, at))
        })
        .next()
        .unwrap();
    content[at + 3] ^= 1;
    machine.disk.plant(&name, &content);
    let before = machine.read(1, damaged - 10, 50, 1 << 20).unwrap();
    assert_eq!(before.len(), 10, "what lies before it is an answer");
    assert_eq!(machine.read(1, damaged + 1, 5, 1 << 20).unwrap()[0].0, damaged + 1);
    // Asked for together, they share a read: the one that does not want it is not refused.
    for (ticket, from) in [(1, damaged), (2, damaged + 1)] {
        machine.journal.read(ticket, LogId(1), from, 20, 1 << 20);
    }
    while machine.step() {}
    let mut answers = machine.completions.drain(..).filter_map(|completion| match completion {
        Completion::Read { ticket, messages, .. } => Some((ticket, messages)),
        _ => None,
    });
    let (ticket, refused) = answers.next().unwrap();
    let error = refused.unwrap_err();
    assert_eq!(
        (ticket, error.log, error.from, error.to, error.damaged),
        (1, LogId(1), damaged, damaged, true)
    );
    assert!(
        error.to_string().contains(&name) && error.to_string().contains("message 700"),
        "{error}"
    );
    let (ticket, messages) = answers.next().unwrap();
    assert_eq!((ticket, messages.unwrap().len()), (2, 20));
    assert_eq!(answers.count(), 0);
}

/// Damage in a directory's pages costs nothing while its segment is whole: it is made again, on the disk, too
/// (docs/journal-format.md §7).
#[test]
fn a_directory_damaged_under_a_running_journal_is_made_again_from_its_segment() {
    for encryption in [false, true] {
        let options = || match encryption {
            false => options(),
            true => support::encrypted(Cipher::Aes256Gcm, b"key"),
        };
        let disk = SimulatedDisk::new(41);
        let mut machine = Machine::open(&disk, options(), 41).unwrap();
        for round in 0..600 {
            machine.append(1 + round % 3, 300);
            if round % 10 == 0 {
                machine.settle();
            }
        }
        machine.settle();
        while machine.step() {}
        // Of this process and, after a start, of an earlier one.
        for start in 0..2 {
            let directories: Vec<String> = disk.names();
            let directories = directories.iter().filter(|name| name.ends_with(".directory"));
            let mut mended = 0;
            for name in directories {
                let good = disk.content(name).unwrap();
                for at in [Some(4_096 + 5), Some(4_096 + 4_081), None] {
                    let mut bad = good.clone();
                    match at {
                        Some(at) => {
                            bad[at] ^= 1;
                            disk.plant(name, &bad);
                        }
                        None => disk.unplant(name),
                    }
                    for (id, log) in machine.state.clone().logs {
                        machine
                            .check_log(id, &log)
                            .unwrap_or_else(|error| panic!("{name} at {at:?}: {error}"));
                    }
                    let now = disk.content(name);
                    // One that a start wrote may name another first position, which nobody needs.
                    let is_mended = now.is_some() && (at.is_none() || now.as_ref() != Some(&bad));
                    assert!(
                        is_mended && (start == 1 || now.as_ref() == Some(&good)),
                        "{name} at {at:?}"
                    );
                    mended += u64::from(is_mended);
                    disk.plant(name, &good);
                }
            }
            assert!(mended > 3, "{mended}");
            assert_eq!(machine.journal.statistics().directories_rebuilt, mended);
            let told = |c: &&Completion| matches!(c, Completion::Warning(text) if text.contains("made again"));
            assert_eq!(machine.completions.iter().filter(told).count() as u64, mended);
            machine.completions.clear();
            if start == 0 {
                disk.restart_process();
                machine = machine.reopen(options(), 42).unwrap();
                while machine.step() {}
                machine.completions.clear();
            }
        }
    }
}

/// When the segment is damaged as well, only what cannot be found is an error, and it names both.
#[test]
fn a_directory_and_its_segment_damaged_at_once_are_an_error_that_names_both() {
    let disk = SimulatedDisk::new(43);
    let mut machine = Machine::open(&disk, options(), 43).unwrap();
    for round in 0..400 {
        machine.append(1, 300);
        if round % 10 == 0 {
            machine.settle();
        }
    }
    machine.settle();
    while machine.step() {}
    let name = "segment-0000000000000001-00000001";
    for (suffix, at) in [(".directory", 4_096 + 5), (".log", 4_096 + 100)] {
        let mut content = disk.content(&format!("{name}{suffix}")).unwrap();
        content[at] ^= 1;
        disk.plant(&format!("{name}{suffix}"), &content);
    }
    let error = machine.read(1, 1, 10, 10_000).unwrap_err();
    assert!(
        error.contains(".directory") && error.contains(".log") && error.contains("made again"),
        "{error}"
    );
    // What other directories have is served.
    let last = machine.state.logs[&1].last;
    assert!(machine.read(1, last - 1, 2, 10_000).is_ok());
}
