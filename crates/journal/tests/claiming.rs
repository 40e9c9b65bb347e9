//! Making claims (docs/journal-format.md §13): who gets one, who is refused, and what a claim needs of the disk.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use seaway_journal::disk::Disk;
use seaway_journal::disk::simulated::{Operation, SimulatedDisk};
use seaway_journal::{Claim, ClaimError, Standpoint, standing_on};
use std::io::ErrorKind;
use std::sync::Arc;
use support::{Machine, options};

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
