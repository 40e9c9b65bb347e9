//! Making claims (docs/journal-format.md §13): who gets one, who is refused, and what a claim needs of the disk.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use seaway_journal::disk::Disk;
use seaway_journal::disk::simulated::{Operation, SimulatedDisk};
use seaway_journal::{Claim, ClaimError, Standpoint, standing_after_on, standing_on};
use std::io::ErrorKind;
use std::sync::Arc;
use support::{Machine, options};

/// No space left on the device.
const ENOSPC: i32 = 28;
/// Input/output error.
const EIO: i32 = 5;

fn shared(disk: &SimulatedDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn make(disk: &SimulatedDisk, member: &str, seen: u64) -> Result<Claim, ClaimError> {
    Claim::make_on(shared(disk), member, seen)
}

/// §13: of several who decided on the same standing one gets the tenure; the others depose nobody.
#[test]
fn who_saw_the_same_does_not_depose_who_was_quicker() {
    let disk = SimulatedDisk::new(1);
    let first = make(&disk, "first", 0).unwrap();
    assert_eq!(first.number(), 1);
    let second = make(&disk, "second", 0);
    assert!(matches!(second, Err(ClaimError::Overtaken { by: 1 })), "{second:?}");
    assert_eq!(first.holding().look().unwrap(), Standpoint::Holds);
    // Who saw it claims over it.
    let third = make(&disk, "third", 1).unwrap();
    assert_eq!(third.number(), 2);
    assert_eq!(first.holding().look().unwrap(), Standpoint::Deposed { by: 2 });
}

/// §13: a directory that has gone back is not the one that was seen: nothing is put there.
#[test]
fn a_directory_that_has_gone_back_is_not_claimed() {
    let disk = SimulatedDisk::new(1);
    drop(make(&disk, "first", 0).unwrap());
    let late = make(&disk, "late", 4);
    assert!(
        matches!(late, Err(ClaimError::Missing { seen: 4, found: 1 })),
        "{late:?}"
    );
    assert_eq!(standing_on(&disk).unwrap().number, 1);
    let folder = tempfile::tempdir().unwrap();
    let unmounted = folder.path().join("unmounted");
    assert!(Claim::make(&unmounted, "late", 4).is_err());
    assert!(!unmounted.exists(), "a directory was made that had been seen");
    assert_eq!(Claim::make(&unmounted, "first", 0).unwrap().number(), 1);
}

/// §13: what counts is a claim's name. On a full disk it has no content at first; its holder holds, and writes it when it can.
#[test]
fn a_full_disk_refuses_no_claim_and_ends_no_tenure() {
    for error in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
        let disk = SimulatedDisk::new(1);
        disk.fail(Operation::Write, 0, error);
        let claim = make(&disk, "first", 0).unwrap();
        disk.fail(Operation::Write, 0, error);
        assert_eq!(claim.holding().tick().unwrap(), Standpoint::Holds);
        let seen = standing_on(&disk).unwrap().claim.unwrap();
        assert_eq!((seen.member.as_str(), seen.token, seen.is_locked), ("", [0; 16], true));
        assert_eq!(claim.holding().tick().unwrap(), Standpoint::Holds);
        let whole = standing_on(&disk).unwrap().claim.unwrap();
        assert_eq!((whole.member.as_str(), whole.counter), ("first", 2));
        assert!(whole.token != [0; 16]);
        assert_eq!(claim.holding().tick().unwrap(), Standpoint::Holds);
        assert_eq!(standing_on(&disk).unwrap().claim.unwrap().counter, 3);
        // Storage that is lost is something else.
        disk.fail(Operation::Write, 0, ErrorKind::TimedOut);
        claim.holding().tick().unwrap_err();
        drop(claim);
        let successor = make(&disk, "second", 1).unwrap();
        assert_eq!(successor.number(), 2);
    }
}

/// §13: a start that has the directory for itself makes room for its claim when there is none for its name either.
#[test]
fn a_start_makes_room_for_its_claim() {
    let left = "segment-0000000000000002-00000001.log.preparing";
    for error in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
        let disk = SimulatedDisk::new(1);
        drop(Machine::open(&disk, options(), 1).unwrap());
        disk.restart_process();
        disk.plant(left, &[7; 4_096]);
        disk.fail(Operation::Create, 0, error);
        let machine = Machine::open(&disk, options(), 1).unwrap();
        assert_eq!(machine.journal.epoch(), 2);
        assert!(!disk.names().iter().any(|name| name == left));
        // Others may be writing theirs.
        drop(machine);
        disk.restart_process();
        disk.plant(left, &[7; 4_096]);
        disk.fail(Operation::Create, 0, error);
        make(&disk, "member", 2).unwrap_err();
        assert!(disk.names().iter().any(|name| name == left));
    }
}

fn claims(disk: &SimulatedDisk) -> Vec<String> {
    let mut names = disk.names();
    names.retain(|name| name.ends_with(".claim"));
    names
}

/// §13: starts that fail before their epoch's file is there leave no claims behind, however often they are tried.
#[test]
fn failing_starts_leave_no_claims() {
    let disk = SimulatedDisk::new(1);
    drop(Machine::open(&disk, options(), 1).unwrap());
    for _ in 0..3 {
        disk.restart_process();
        // The claim is created, the epoch's file is not.
        disk.fail(Operation::Create, 1, ErrorKind::TimedOut);
        assert!(Machine::open(&disk, options(), 1).is_err());
        assert_eq!(claims(&disk), ["epoch-00000001.claim"]);
    }
    // Nor do they on a full disk, once there is nothing more to give back.
    disk.restart_process();
    disk.refuse(&[Operation::Write], ENOSPC);
    for _ in 0..3 {
        assert!(Machine::open(&disk, options(), 1).is_err());
        disk.restart_process();
    }
    assert_eq!(claims(&disk).len(), 2, "{:?}", claims(&disk));
    disk.allow_all();
    // The epoch's file got its name, and nobody knows whether for good.
    disk.restart_process();
    disk.fail(Operation::SyncDirectory, 1, ErrorKind::TimedOut);
    assert!(Machine::open(&disk, options(), 1).is_err());
    assert_eq!(claims(&disk).len(), 3);
    disk.restart_process();
    assert_eq!(Machine::open(&disk, options(), 1).unwrap().journal.epoch(), 4);
}

/// §13: a start that removed something for its epoch leaves its claim: the number is not used again.
#[test]
fn a_failing_start_that_removed_something_leaves_its_claim() {
    let disk = SimulatedDisk::new(1);
    drop(Machine::open(&disk, options(), 1).unwrap());
    disk.restart_process();
    disk.plant("segment-0000000000000002-00000001.log.preparing", &[7; 4_096]);
    for _ in 0..2 {
        disk.fail(Operation::Create, 1, ErrorKind::StorageFull);
    }
    assert!(Machine::open(&disk, options(), 1).is_err());
    assert_eq!(claims(&disk), ["epoch-00000001.claim", "epoch-00000002.claim"]);
    disk.restart_process();
    assert_eq!(Machine::open(&disk, options(), 1).unwrap().journal.epoch(), 3);
}

/// §13: old claims go at once where nobody else has the directory open, and a few at each start where somebody may, oldest first.
#[test]
fn what_a_day_of_failing_starts_left_holds_up_no_start() {
    let disk = SimulatedDisk::new(1);
    drop(Machine::open(&disk, options(), 1).unwrap());
    disk.restart_process();
    for number in 2..=400 {
        disk.plant(&format!("epoch-{number:08x}.claim"), b"");
    }
    let before = disk.operations();
    let mut shared_options = options();
    shared_options.claim = Some(make(&disk, "member", 400).unwrap());
    drop(Machine::open(&disk, shared_options, 1).unwrap());
    assert!(disk.operations() - before < 100, "{}", disk.operations() - before);
    assert_eq!(claims(&disk).len(), 401 - 16);
    assert_eq!(claims(&disk)[0], "epoch-00000011.claim");
    disk.restart_process();
    let before = disk.operations();
    drop(Machine::open(&disk, options(), 1).unwrap());
    // One removal each, and not a sync as well.
    assert!(disk.operations() - before < 385 + 100, "{}", disk.operations() - before);
    assert_eq!(claims(&disk), ["epoch-00000192.claim"]);
}

/// §13: who waits sees a later tenure whichever way it came, though it does not list the directory while there is none.
#[test]
fn who_waits_sees_what_a_full_look_sees() {
    let disk = SimulatedDisk::new(1);
    let nothing = standing_on(&disk).unwrap();
    assert_eq!(standing_after_on(&disk, &nothing).unwrap(), nothing);
    let first = make(&disk, "first", 0).unwrap();
    let seen = standing_after_on(&disk, &nothing).unwrap();
    assert_eq!((seen.number, seen.clone()), (1, standing_on(&disk).unwrap()));
    first.holding().tick().unwrap();
    let ticked = standing_after_on(&disk, &seen).unwrap();
    assert_eq!(ticked.claim.as_ref().unwrap().counter, 1);
    // Nothing but the next tenure makes it list: a stray file of a far one, which no tenure begins with, is not seen.
    disk.plant("epoch-00000009.end", b"");
    assert_eq!(standing_after_on(&disk, &seen).unwrap().number, 1);
    disk.unplant("epoch-00000009.end");
    drop(first);
    assert!(!standing_after_on(&disk, &ticked).unwrap().claim.unwrap().is_locked);
    // The next claim; one several tenures later, whose holder removed those before; a tenure of a version without claims.
    let second = make(&disk, "second", 1).unwrap();
    assert_eq!(standing_after_on(&disk, &seen).unwrap(), standing_on(&disk).unwrap());
    assert_eq!(standing_after_on(&disk, &seen).unwrap().number, 2);
    drop(second);
    let third = make(&disk, "third", 2).unwrap();
    disk.unplant("epoch-00000001.claim");
    disk.unplant("epoch-00000002.claim");
    assert_eq!(standing_after_on(&disk, &seen).unwrap().claim.unwrap().member, "third");
    drop(third);
    let seen = standing_on(&disk).unwrap();
    disk.plant("epoch-00000004.epoch", b"");
    let old = standing_after_on(&disk, &seen).unwrap();
    assert_eq!((old.number, old.claim), (4, None));
}

/// §13: what is in a claim's file is for those who wait: one that cannot be read stops no start. Its lock decides.
#[test]
fn a_claim_that_cannot_be_read_stops_nobody() {
    let disk = SimulatedDisk::new(1);
    drop(Machine::open(&disk, options(), 1).unwrap());
    disk.restart_process();
    // The epoch's file is read first, then the claim.
    disk.fail(Operation::Read, 1, ErrorKind::Other);
    assert_eq!(Machine::open(&disk, options(), 1).unwrap().journal.epoch(), 2);
    disk.restart_process();
    let holder = make(&disk, "holder", 2).unwrap();
    disk.fail(Operation::Read, 0, ErrorKind::Other);
    let seen = standing_on(&disk).unwrap().claim.unwrap();
    assert_eq!((seen.number, seen.member.as_str(), seen.is_locked), (3, "", true));
    drop(holder);
}

/// §13: a start that cannot read what the newest epoch says does not claim: it may have the wrong key.
#[test]
fn who_cannot_read_the_newest_epoch_does_not_claim() {
    let disk = SimulatedDisk::new(1);
    drop(Machine::open(&disk, options(), 1).unwrap());
    disk.restart_process();
    let before = disk.operations();
    disk.fail(Operation::Read, 0, ErrorKind::Other);
    assert!(Machine::open(&disk, options(), 1).is_err());
    assert_eq!(disk.operations(), before, "something was changed");
    disk.fail(Operation::Read, 0, ErrorKind::Other);
    assert!(seaway_journal::check_fit(&disk, None).is_err());
    assert!(Machine::open(&disk, options(), 1).is_ok());
}

/// §13: a server alone goes on when the disk does not answer a look, and not when it does not answer any.
#[test]
fn looks_that_are_never_answered_end_a_tenure_alone() {
    let disk = SimulatedDisk::new(1);
    let mut machine = Machine::open(&disk, options(), 1).unwrap();
    for round in 0..12 {
        if round % 3 < 2 {
            disk.fail(Operation::Look, 0, ErrorKind::Other);
        }
        let position = machine.append(1, 100);
        machine.settle();
        assert_eq!(machine.journal.poison_reason(), None);
        assert_eq!(machine.durable, position);
    }
    disk.refuse(&[Operation::Look], EIO);
    for _ in 0..3 {
        machine.append(1, 100);
        machine.settle();
    }
    assert!(machine.poisoned(), "it goes on without an answer for ever");
}

/// Opens a journal of two epochs as a member of a group, with a fault, and says what came of it.
fn take_over(operation: Operation, after: u64, kind: ErrorKind) -> Result<(), String> {
    let disk = SimulatedDisk::new(1);
    let mut machine = Machine::open(&disk, options(), 1).unwrap();
    for _ in 0..40 {
        machine.append(1, 4_000);
        machine.settle();
    }
    drop(machine);
    disk.restart_process();
    disk.plant("segment-0000000000000099-00000001.log", &[0; 8_192]);
    let mut shared_options = options();
    shared_options.claim = Some(make(&disk, "member", 1).unwrap());
    disk.fail(operation, after, kind);
    let opened = Machine::open(&disk, shared_options, 1);
    opened.map(drop).map_err(|error| error.to_string())
}

/// §13: one act of each former holder may come after the claim. What it takes away between the listing and the reading was not needed.
#[test]
fn what_a_former_holder_takes_away_last_fails_no_start() {
    for after in 0..60 {
        // It cuts what a segment does not use.
        if let Err(error) = take_over(Operation::Read, after, ErrorKind::UnexpectedEof) {
            assert!(!error.contains(".log"), "read {after}: {error}");
        }
        // It removes a segment that holds nothing.
        if let Err(error) = take_over(Operation::Open, after, ErrorKind::NotFound) {
            assert!(!error.contains("segment-0000000000000099"), "open {after}: {error}");
        }
    }
}
