//! Making claims (docs/journal-format.md §13): who gets one, who is refused, and what a claim needs of the disk.

#![allow(clippy::unwrap_used, reason = "tests")]

use seaway_journal::disk::Disk;
use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_journal::{Claim, ClaimError, Standpoint, standing_on};
use std::sync::Arc;

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
