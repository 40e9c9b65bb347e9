//! What is left of a journal when the operator gives up what is damaged (docs/journal-format.md §3, §9): the readable prefix, logs that
//! go on behind what they lost, and, wherever the start that gives up is interrupted, a directory that some start opens.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use seaway_journal::disk::Disk;
use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_journal::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use support::{Machine, body, options};

const LENGTH: usize = 2_000;
const MESSAGES: u64 = 120;

#[derive(Default)]
struct Heard {
    logs: BTreeMap<u64, RecoveredLog>,
    lost: Vec<(u64, u64, u64)>,
    facts: usize,
    given_up: usize,
}

impl Replay for Heard {
    fn fact(&mut self, _kind: u8, _body: &[u8]) {
        self.facts += 1;
    }
    fn trim(&mut self, _log: LogId, _first: u64, _body: &[u8]) {}
    fn delete(&mut self, _log: LogId, _body: &[u8]) {}
    fn fact_given_up(&mut self, _kind: u8, _body: &[u8]) {
        self.given_up += 1;
    }
    fn lost(&mut self, log: LogId, from: u64, to: u64) {
        self.lost.push((log.0, from, to));
    }
    fn log_recovered(&mut self, log: RecoveredLog) {
        self.logs.insert(log.log.0, log);
    }
}

fn giving_up() -> Options {
    let mut options = options();
    options.damage = DamagePolicy::CutThere;
    options
}

fn open(disk: &SimulatedDisk, options: Options) -> Result<(Opened, Heard), OpenError> {
    let port: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut heard = Heard::default();
    let (_, opened) = Journal::open(&port, options, &mut heard)?;
    disk.restart_process();
    Ok((opened, heard))
}

/// Log 1 in several segments, then log 2, of which the first says nothing; a fact each; stopped, in order or not.
fn filled(orderly: bool) -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let mut machine = Machine::open(&disk, options(), 1).unwrap();
    machine.checkpoints = false;
    for sequence in 1..=MESSAGES {
        machine.append(1, LENGTH);
        if sequence % 10 == 0 {
            machine.fact(3, &[sequence as u8; 8]);
        }
        machine.settle();
    }
    for _ in 0..5 {
        machine.append(2, 10);
        machine.settle();
    }
    while machine.step() {}
    if orderly {
        assert!(machine.journal.mark_end(machine.port.as_ref()));
    }
    disk.restart_process();
    disk
}

fn segments(disk: &SimulatedDisk) -> Vec<String> {
    let names = disk.names().into_iter();
    names.filter(|name| name.ends_with(".log")).collect()
}

fn change(disk: &SimulatedDisk, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = disk.content(name).unwrap();
    change(&mut content);
    disk.plant(name, &content);
}

/// Damage that a start refuses: in the first segment, which has a directory; the same cut off; in the header of the second.
fn damaged(orderly: bool, way: usize) -> SimulatedDisk {
    let disk = filled(orderly);
    let names = segments(&disk);
    assert!(names.len() > 3 && disk.content(&names[0].replace(".log", ".directory")).is_some());
    match way {
        0 => change(&disk, &names[0], |content| content[30_000] ^= 4),
        1 => change(&disk, &names[0], |content| content.truncate(30_000)),
        _ => change(&disk, &names[1], |content| content[20] ^= 4),
    }
    disk
}

/// The state after giving up: what lies before the damage is read, what lies behind it is missing, and everything goes on behind it.
fn check(disk: &SimulatedDisk, context: &str) {
    let (_, heard) = open(disk, options()).unwrap_or_else(|error| panic!("{context}: {error}"));
    let log = heard.logs[&1];
    assert_eq!((log.first, log.last), (1, MESSAGES), "{context}");
    let ends = heard.lost.iter().find(|(log, ..)| *log == 1).copied();
    let Some((1, from, MESSAGES)) = ends else {
        panic!("{context}: {:?}", heard.lost);
    };
    assert!(from > 10 && log.lost == MESSAGES - from + 1, "{context}: {from}");
    assert_eq!(heard.logs[&2].last, 5, "{context}: {:?}", heard.lost);
    let mut machine = Machine::open(disk, options(), 5).unwrap();
    machine.checkpoints = false;
    for sequence in 1..from {
        let read = machine.read(1, sequence, 1, 10_000).unwrap();
        assert_eq!(
            (read[0].0, &read[0].2),
            (sequence, &body(1, sequence, LENGTH)),
            "{context}"
        );
    }
    assert_eq!(machine.read(1, from, 5, 10_000), Ok(Vec::new()), "{context}");
    for (log, sequence) in [(1, MESSAGES + 1), (2, 6), (1, MESSAGES + 2)] {
        machine
            .journal
            .append_message(LogId(log), sequence, 9_000_000, &[b"new"]);
    }
    machine.settle();
    let read = machine.read(1, from, 5, 10_000).unwrap();
    let sequences: Vec<u64> = read.iter().map(|message| message.0).collect();
    assert_eq!(
        sequences,
        [MESSAGES + 1, MESSAGES + 2],
        "{context}: what is lost is gone over"
    );
    // A trim into what is lost, and behind it.
    machine.journal.trim(LogId(1), from + 1, &[]);
    machine.settle();
    while machine.step() {}
    disk.restart();
    let (_, heard) = open(disk, options()).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(
        (heard.logs[&1].last, heard.logs[&2].last),
        (MESSAGES + 2, 6),
        "{context}"
    );
}

#[test]
fn what_lies_before_the_damage_is_served_and_logs_go_on_behind_what_they_lost() {
    for orderly in [true, false] {
        for way in 0..3 {
            let disk = damaged(orderly, way);
            let before = segments(&disk).len();
            let names = disk.names();
            assert!(matches!(open(&disk, options()), Err(OpenError::Damaged { .. })));
            assert_eq!(disk.names(), names, "nothing was changed");
            let (opened, heard) = open(&disk, giving_up()).unwrap();
            assert!(!opened.cut.unwrap().is_torn, "it was no interrupted write");
            // What was cut off nobody can tell of.
            let facts = heard.facts + heard.given_up;
            assert!(
                facts == (MESSAGES / 10) as usize || way == 1 && heard.given_up > 0,
                "way {way}: {facts}"
            );
            let kept = disk.names().iter().filter(|name| name.ends_with(".cut")).count();
            assert!(kept >= before - 1, "{:?}", disk.names());
            check(&disk, &format!("orderly {orderly}, way {way}"));
        }
    }
}

#[test]
fn wherever_giving_up_is_interrupted_some_start_opens_what_is_left() {
    let (mut before, mut behind) = (0, 0);
    for way in 0..3 {
        let base = damaged(true, way);
        let whole = base.fork(2);
        open(&whole, giving_up()).unwrap();
        for operation in 1..=whole.operations() {
            for power in [true, false] {
                let disk = base.fork(operation);
                disk.crash_at(operation);
                let _ = open(&disk, giving_up());
                if power {
                    disk.restart()
                } else {
                    disk.restart_process()
                }
                let context = format!("way {way}, operation {operation}, power {power}");
                // It counts as a whole or not at all.
                let (refused, again) = (
                    open(&disk.fork(operation), options()).is_err(),
                    open(&disk, giving_up()),
                );
                match (refused, again) {
                    (true, Ok(_)) => before += 1,
                    (false, Err(OpenError::GaveUpBefore { .. }) | Ok(_)) => behind += 1,
                    (refused, again) => panic!("{context}: {refused}, {:?}", again.map(|(opened, _)| opened)),
                }
                check(&disk, &context);
            }
        }
    }
    assert!(
        before > 20 && behind > 20,
        "{before} before the epoch, {behind} behind it"
    );
}

#[test]
fn a_segment_that_holds_nothing_refuses_no_start_and_what_it_was_is_kept() {
    let machine = filled(true);
    let spare = segments(&machine).pop().unwrap();
    assert!(machine.content(&spare).unwrap()[4_096..].iter().all(|byte| *byte == 0));
    let stray = "segment-0000000000000099-00000001.log";
    let foreign = {
        let mut other = options();
        other.identity = *b"fedcba9876543210";
        let disk = SimulatedDisk::new(3);
        let mut machine = Machine::open(&disk, other, 3).unwrap();
        machine.append(1, 100);
        machine.settle();
        disk.content("segment-0000000000000001-00000001.log").unwrap()
    };
    let ways: [(&str, Vec<u8>); 5] = [
        (&spare, Vec::new()),
        (&spare, {
            let mut content = machine.content(&spare).unwrap();
            content[20] ^= 4;
            content
        }),
        (stray, Vec::new()),
        (stray, foreign.clone()),
        ("segment-0000000000000099-00000007.log", foreign.clone()),
    ];
    for (number, (name, content)) in ways.into_iter().enumerate() {
        for options in [options(), giving_up()] {
            let disk = machine.fork(4);
            disk.plant(name, &content);
            let (opened, heard) = open(&disk, options).unwrap_or_else(|error| panic!("way {number}: {error}"));
            assert!(
                opened.remarks.iter().any(|remark| remark.contains(name)),
                "{:?}",
                opened.remarks
            );
            assert_eq!((heard.logs[&1].last, heard.logs[&1].lost), (MESSAGES, 0));
            let kept = disk.content(&format!("{name}.cut")).or_else(|| disk.content(name));
            assert!(kept == Some(content.clone()), "way {number}: {:?}", disk.names());
        }
    }
}

#[test]
fn what_nothing_can_replace_is_named_with_what_to_do_about_it() {
    let base = filled(true);
    let epoch = "epoch-00000001.epoch";
    for missing in [true, false] {
        for options in [options(), giving_up()] {
            let disk = base.fork(5);
            if missing {
                disk.unplant(epoch);
            } else {
                change(&disk, epoch, |content| content[40] ^= 4);
            }
            let names = disk.names();
            match open(&disk, options) {
                Err(OpenError::Indispensable { remedy, .. }) => assert!(remedy.contains(epoch), "{remedy}"),
                other => panic!("missing {missing}: {:?}", other.map(|(opened, _)| opened)),
            }
            assert_eq!(disk.names(), names);
        }
    }
}

/// §3: a start that finds the chain of epochs broken leaves nothing out for it, whatever the operator gives up: what was written before the
/// missing file would be removed with those that count for nobody.
#[test]
fn a_missing_epoch_in_the_middle_takes_nothing_along() {
    let disk = SimulatedDisk::new(3);
    // More than what is merged with others of its size.
    let fill = |machine: &mut Machine| {
        machine.checkpoints = false;
        for _ in 0..30 {
            machine.append(1, LENGTH);
            machine.settle();
        }
    };
    let mut machine = Machine::open(&disk, options(), 1).unwrap();
    for epoch in 2..=5 {
        fill(&mut machine);
        disk.restart_process();
        machine = machine.reopen(options(), epoch).unwrap();
    }
    fill(&mut machine);
    disk.restart_process();
    let segments = |disk: &SimulatedDisk| disk.names().iter().filter(|name| name.ends_with(".log")).count();
    assert!(segments(&disk) >= 5, "{:?}", disk.names());
    for missing in 2..=4 {
        let name = format!("epoch-{missing:08x}.epoch");
        for options in [options(), giving_up()] {
            let disk = disk.fork(7);
            disk.unplant(&name);
            let names = disk.names();
            match open(&disk, options) {
                Err(OpenError::Indispensable { file, remedy, .. }) => {
                    assert_eq!(file, name);
                    assert!(remedy.contains(&name), "{remedy}");
                }
                other => panic!("{name}: {:?}", other.map(|(opened, _)| opened)),
            }
            let mut left = disk.names();
            left.retain(|name| names.contains(name));
            assert_eq!(left, names, "something was taken away");
        }
    }
    // Whole, it opens, again and again.
    for epoch in 6..9 {
        fill(&mut machine);
        disk.restart_process();
        machine = machine.reopen(options(), epoch).unwrap();
        machine.check().unwrap();
    }
}
