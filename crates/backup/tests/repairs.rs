//! What is damaged in a store is mended from itself and from a backup, or left as it is (docs/backup.md).

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use seaway_backup::{Making, Pace, Progress, Reading, Remedy, Repairing, Repository, Rest, repair_on};
use seaway_journal::disk::simulated::SimulatedDisk;
use support::{State, Store, state_of};

/// A store with several segments, a backup of it, and what is in it.
fn stopped(messages: u64) -> (SimulatedDisk, SimulatedDisk, State) {
    let (disk, backups) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
    let mut store = Store::open(&disk);
    store.publish(messages);
    let state = store.stop();
    disk.restart_process();
    back_up(&disk, &backups);
    (disk, backups, state)
}

fn back_up(disk: &SimulatedDisk, backups: &SimulatedDisk) {
    let mut rest = Rest::open_on(Arc::new(disk.fork(3))).unwrap();
    let repository = Repository::open_on(Arc::new(backups.clone()));
    repository
        .make(&mut rest, Making::default(), &mut Pace::new(None), &Progress::default())
        .unwrap();
}

fn newest(backups: &SimulatedDisk) -> Option<Reading> {
    Some(Repository::open_on(Arc::new(backups.clone())).read(None, None).unwrap())
}

fn repair(disk: &SimulatedDisk, backups: Option<&SimulatedDisk>, repairing: Repairing) -> Vec<Remedy> {
    let damages = repair_on(disk, None, backups.and_then(newest), repairing).unwrap();
    damages.into_iter().map(|(_, remedy)| remedy).collect()
}

fn damage(disk: &SimulatedDisk, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = disk.content(name).unwrap();
    change(&mut content);
    disk.unplant(name);
    disk.plant(name, &content);
}

/// Names of the segments that have a directory, the oldest first.
fn segments(disk: &SimulatedDisk) -> Vec<String> {
    let names = disk.names();
    let logs = names.iter().filter(|name| name.ends_with(".log"));
    let with_directory = logs.filter(|name| names.contains(&name.replace(".log", ".directory")));
    with_directory.cloned().collect()
}

#[test]
fn what_is_damaged_is_taken_from_a_backup_and_only_with_leave() {
    let (disk, backups, state) = stopped(4_000);
    let names = segments(&disk);
    assert!(names.len() > 4, "{names:?}");
    assert_eq!(repair(&disk, None, Repairing::Reality), []);
    let end = disk.content(&names[2]).unwrap().len();
    for (what, from, to) in [
        ("a bit", 60_000, 60_001),
        ("a sector", 100_352, 100_864),
        ("the header", 0, 4_096),
        ("the end", end / 2, end),
        ("all of it", 0, end),
    ] {
        let disk = disk.fork(4);
        damage(&disk, &names[2], |content| {
            content[from..to].iter_mut().for_each(|byte| *byte ^= 0x55)
        });
        let damaged = disk.content(&names[2]).unwrap();
        let without = repair(&disk, None, Repairing::Reality);
        assert!(
            !without.is_empty() && without.iter().all(|remedy| matches!(remedy, Remedy::None(_))),
            "{what}: {without:?}"
        );
        let rehearsed = repair(&disk, Some(&backups), Repairing::Rehearsal);
        assert!(
            rehearsed.iter().all(|remedy| *remedy == Remedy::Copied),
            "{what}: {rehearsed:?}"
        );
        assert_eq!(disk.content(&names[2]).unwrap(), damaged, "{what}: nothing is changed");
        assert_eq!(repair(&disk, Some(&backups), Repairing::Reality), rehearsed, "{what}");
        assert_eq!(repair(&disk, None, Repairing::Reality), [], "{what}");
        assert_eq!(state_of(&disk), state, "{what}");
    }
}

#[test]
fn a_directory_file_is_made_again_from_its_segment() {
    let (disk, backups, state) = stopped(4_000);
    let names = segments(&disk);
    let directory = names[1].replace(".log", ".directory");
    let original = disk.content(&directory).unwrap();
    damage(&disk, &directory, |content| content[5_000] ^= 1);
    assert_eq!(repair(&disk, None, Repairing::Rehearsal), [Remedy::Made]);
    assert_eq!(repair(&disk, None, Repairing::Reality), [Remedy::Made]);
    assert_eq!(disk.content(&directory).unwrap(), original);
    // With its segment damaged as well both come from the backup.
    damage(&disk, &directory, |content| content[40] ^= 1);
    damage(&disk, &names[1], |content| content[70_000] ^= 1);
    assert!(
        repair(&disk, None, Repairing::Reality)
            .iter()
            .all(|remedy| matches!(remedy, Remedy::None(_)))
    );
    let mended = repair(&disk, Some(&backups), Repairing::Reality);
    assert_eq!(mended, [Remedy::Copied, Remedy::Made]);
    assert_eq!(state_of(&disk), state);
}

/// Numbers come again in another life of a store: what a segment of it holds is not mixed into this one.
#[test]
fn another_life_of_the_store_mends_nothing() {
    let (disk, _, _) = stopped(600);
    let (other, backups) = (disk.fork(6), SimulatedDisk::new(7));
    let mut store = Store::open(&disk);
    store.publish(3_000);
    let state = store.stop();
    disk.restart_process();
    let mut store = Store::open(&other);
    // The first message differs, and with it everything behind it.
    store.trim(1, 5);
    store.publish(3_000);
    store.stop();
    other.restart_process();
    back_up(&other, &backups);
    let mut refused = 0;
    for name in segments(&disk) {
        let whole = disk.content(&name).unwrap();
        damage(&disk, &name, |content| content[50_000] ^= 1);
        let remedies = repair(&disk, Some(&backups), Repairing::Reality);
        assert_eq!(remedies.len(), 1, "{name}");
        match &remedies[0] {
            Remedy::Copied => assert_eq!(
                disk.content(&name).unwrap(),
                whole,
                "{name}: from before the two parted"
            ),
            Remedy::None(reason) => {
                assert!(reason.contains("another"), "{name}: {reason}");
                refused += 1;
            }
            Remedy::Made => panic!("{name}"),
        }
        disk.unplant(&name);
        disk.plant(&name, &whole);
    }
    assert!(refused >= 3, "{refused}");
    assert_eq!(state_of(&disk), state);
}

#[test]
fn power_is_lost_at_every_operation_of_a_repair() {
    let (disk, backups, state) = stopped(3_000);
    let names = segments(&disk);
    damage(&disk, &names[1], |content| content[30_000..90_000].fill(7));
    damage(&disk, &names[2].replace(".log", ".directory"), |content| {
        content[40] ^= 1
    });
    let operations = {
        let disk = disk.fork(5);
        repair(&disk, Some(&backups), Repairing::Reality);
        disk.operations()
    };
    assert!(operations >= 6, "{operations}");
    for operation in 1..=operations {
        let disk = disk.fork(operation);
        disk.crash_at(operation);
        assert!(
            repair_on(&disk, None, newest(&backups), Repairing::Reality).is_err(),
            "{operation}"
        );
        disk.restart();
        let remedies = repair(&disk, Some(&backups), Repairing::Reality);
        assert!(
            remedies.iter().all(|remedy| !matches!(remedy, Remedy::None(_))),
            "{operation}: {remedies:?}"
        );
        assert_eq!(repair(&disk, None, Repairing::Reality), [], "{operation}");
        assert_eq!(state_of(&disk), state, "{operation}");
    }
}
