//! Damage under a running journal: what cannot be read is named exactly, everything else is served, heads and searches go past it
//! (docs/journal-format.md §7, §10).

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use seaway_journal::disk::simulated::{Operation, SimulatedDisk};
use seaway_journal::{Completion, LogId, Options, ReadError};
use std::io::ErrorKind;
use std::task::Poll;
use support::{Machine, body, options};

const LENGTH: usize = 300;

/// One log in sealed segments, read from the disk.
fn sealed(count: u64, options: Options, seed: u64) -> Machine {
    let disk = SimulatedDisk::new(seed);
    let mut machine = Machine::open(&disk, options.clone(), seed).unwrap();
    for round in 0..count {
        machine.append(1, LENGTH);
        if round % 10 == 0 {
            machine.settle();
        }
    }
    machine.settle();
    while machine.step() {}
    // A start keeps nothing in memory.
    disk.restart_process();
    let mut machine = machine.reopen(options, seed + 1).unwrap();
    while machine.step() {}
    machine.completions.clear();
    machine
}

/// Lets a byte in the body of a message rot; in which file.
fn rot(machine: &Machine, sequence: u64) -> String {
    let wanted = body(1, sequence, LENGTH);
    for name in machine.disk.names().iter().filter(|name| name.ends_with(".log")) {
        let content = machine.disk.content(name).unwrap();
        if let Some(at) = content.windows(LENGTH).position(|bytes| bytes == wanted) {
            assert!(machine.disk.rot(name, at as u64 + 7, 4));
            return name.clone();
        }
    }
    panic!("message {sequence} is in no segment");
}

fn read(machine: &mut Machine, from: u64, count: usize) -> Result<Vec<u64>, ReadError> {
    machine.journal.read(5, LogId(1), from, count, 1 << 20);
    loop {
        let progressed = machine.step();
        let is_answer = |completion: &Completion| matches!(completion, Completion::Read { ticket: 5, .. });
        if let Some(index) = machine.completions.iter().position(is_answer) {
            let Completion::Read { messages, .. } = machine.completions.swap_remove(index) else {
                unreachable!()
            };
            return messages.map(|messages| messages.iter().map(|(sequence, ..)| sequence).collect());
        }
        assert!(progressed, "a read is answered");
    }
}

#[test]
fn damaged_neighbours_are_named_at_once_and_no_other() {
    let mut machine = sealed(400, options(), 51);
    for sequence in [100, 101, 102, 104] {
        rot(&machine, sequence);
    }
    assert_eq!(read(&mut machine, 95, 50), Ok((95..100).collect()));
    // Also to whoever asks for one only.
    for count in [1, 2, 50] {
        let error = read(&mut machine, 100, count).unwrap_err();
        assert_eq!((error.from, error.to, error.damaged), (100, 102, true), "{error}");
        assert!(error.reason.contains(".log: offset"), "{error}");
    }
    assert_eq!(read(&mut machine, 103, 50), Ok(vec![103]));
    let error = read(&mut machine, 104, 9).unwrap_err();
    assert_eq!((error.from, error.to), (104, 104));
    machine.disk.mend();
    assert_eq!(read(&mut machine, 95, 12), Ok((95..107).collect()));
}

#[test]
fn what_the_medium_refuses_is_tried_again_and_counts_as_damage_when_that_is_of_no_use() {
    let mut machine = sealed(400, options(), 52);
    let refuse = |machine: &Machine, times: usize, kind: ErrorKind| {
        for _ in 0..times {
            machine.disk.fail(Operation::Read, 0, kind);
        }
    };
    refuse(&machine, 3, ErrorKind::Other);
    assert_eq!(read(&mut machine, 10, 1), Ok(vec![10]), "it passed");
    // EIO.
    machine.disk.refuse(&[Operation::Read], 5);
    let error = read(&mut machine, 10, 3).unwrap_err();
    assert!(error.damaged && error.from == 10 && error.to >= 12, "{error}");
    machine.disk.allow_all();
    assert_eq!(read(&mut machine, 10, 3), Ok(vec![10, 11, 12]));
    // No file can be opened: that says nothing of what is there.
    machine.disk.refuse(&[Operation::Open], 24);
    let error = read(&mut machine, 10, 3).unwrap_err();
    assert_eq!((error.from, error.to, error.damaged), (10, 10, false), "{error}");
    machine.disk.allow_all();
    assert_eq!(read(&mut machine, 10, 3), Ok(vec![10, 11, 12]));
}

/// With its segment damaged as well a directory is not made again: each of its pages costs its own messages.
#[test]
fn a_damaged_page_of_a_directory_that_cannot_be_made_again_costs_its_own_messages() {
    let options = Options {
        segment_bytes_max: 512 << 10,
        ..options()
    };
    let mut machine = sealed(4_000, options, 53);
    let first = 2_500;
    let name = rot(&machine, first);
    let directory = name.replace(".log", ".directory");
    let length = machine.disk.content(&directory).unwrap().len() as u64;
    let page = length / 2 / 4_096 * 4_096;
    assert!(length > 4 * 4_096 && machine.disk.rot(&directory, page + 10, 1));
    let (mut sequence, mut served, mut ranges) = (1, 0, Vec::new());
    while sequence <= 4_000 {
        match read(&mut machine, sequence, 300) {
            Ok(found) => {
                assert_eq!(found.first(), Some(&sequence), "without gaps");
                served += found.len() as u64;
                sequence += found.len() as u64;
            }
            Err(error) => {
                assert_eq!(error.from, sequence);
                ranges.push(error.to - error.from + 1);
                sequence = error.to + 1;
            }
        }
    }
    let lost: u64 = ranges.iter().sum();
    assert_eq!(served + lost, 4_000);
    assert!(lost <= 1 + 170, "the message itself and a page: {ranges:?}");
}

#[test]
fn limits_go_past_heads_that_cannot_be_read_and_count_all_their_bytes() {
    let mut machine = sealed(1_000, options(), 54);
    let name = rot(&machine, 2);
    let directory = name.replace(".log", ".directory");
    for at in (4_096..machine.disk.content(&directory).unwrap().len() as u64).step_by(4_096) {
        machine.disk.rot(&directory, at, 1);
    }
    let times = machine.state.logs[&1].messages.clone();
    let mut bytes = 0;
    for first in 1..=1_000 {
        let mut steps = 0;
        let head = loop {
            match machine.journal.head(LogId(1)) {
                Poll::Pending => {
                    machine.step();
                    steps += 1;
                    assert!(steps < 50, "the head {first} becomes known");
                }
                Poll::Ready(head) => break head,
            }
        };
        let (sequence, size, time) = head.unwrap();
        assert_eq!(sequence, first);
        assert!(time >= times[&first].0, "none goes too early by its age");
        bytes += u64::from(size);
        machine.trim(1, first + 1);
        machine.step();
    }
    assert_eq!(machine.journal.head(LogId(1)), Poll::Ready(None));
    assert_eq!(bytes, 1_000 * LENGTH as u64);
    let told = |c: &&Completion| matches!(c, Completion::HeadUnreadable(..));
    assert!(machine.completions.iter().filter(told).count() < 30);
}

#[test]
fn a_search_for_a_time_goes_past_damaged_pages() {
    let options = Options {
        segment_bytes_max: 512 << 10,
        ..options()
    };
    let mut machine = sealed(4_000, options, 55);
    let name = rot(&machine, 2_500);
    let directory = name.replace(".log", ".directory");
    let length = machine.disk.content(&directory).unwrap().len() as u64;
    machine.disk.rot(&directory, length / 2 / 4_096 * 4_096 + 10, 1);
    let times = machine.state.logs[&1].messages.clone();
    let mut late = 0;
    for sequence in (1..=4_000).step_by(37) {
        machine.journal.seek(9, LogId(1), times[&sequence].0);
        let found = loop {
            let progressed = machine.step();
            let is_answer = |c: &Completion| matches!(c, Completion::Sought { ticket: 9, .. });
            if let Some(index) = machine.completions.iter().position(is_answer) {
                let Completion::Sought { sequence, .. } = machine.completions.swap_remove(index) else {
                    unreachable!()
                };
                break sequence.unwrap();
            }
            assert!(progressed, "a search is answered");
        };
        let expected = times
            .iter()
            .find(|(_, (time, _))| *time >= times[&sequence].0)
            .map(|(s, _)| *s);
        let expected = expected.unwrap();
        assert!(found <= expected && expected - found <= 170, "{found} for {expected}");
        late += u64::from(found != expected);
    }
    assert!(late <= 170 / 37 + 1, "{late} searches were not exact");
    let told = |c: &&Completion| matches!(c, Completion::Warning(text) if text.contains("search for a time"));
    assert!(machine.completions.iter().any(|c| told(&c)));
}
