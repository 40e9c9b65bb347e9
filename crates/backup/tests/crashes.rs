//! Power is lost at every operation of a backup and of a restore on a simulated disk (docs/backup.md): nothing that is half done is taken
//! for a backup or for a store, and a second attempt succeeds.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use seaway_backup::{Error, Made, Making, Pace, Progress, Repository, restore_on};
use seaway_journal::disk::simulated::{Operation, SimulatedDisk, SyncMode};
use support::{State, Store, repository, state_of, try_make};

fn back_up(source: &SimulatedDisk, to: &SimulatedDisk, making: Making) -> Result<Made, Error> {
    let made = try_make(source, to, making)?;
    assert!(made.manifest.is_known_whole(), "{:?}", made.manifest);
    Ok(made)
}

fn restore(from: &Repository, to: &SimulatedDisk) -> Result<(), Error> {
    let backup = from.read(None, None)?;
    restore_on(
        &backup,
        Arc::new(to.clone()),
        &mut Pace::new(None),
        &Progress::default(),
    )
}

/// Two states of a store, the second one after the first.
fn two_stores() -> [(SimulatedDisk, State); 2] {
    let disk = SimulatedDisk::new(1);
    let mut store = Store::open(&disk);
    store.publish(1_200);
    let first = (disk.fork(2), store.stop());
    disk.restart_process();
    let mut store = Store::open(&disk);
    assert_eq!(store.state, first.1);
    store.publish(900);
    store.trim(1, 350);
    [first, (disk.clone(), store.stop())]
}

/// Everything that is listed is whole, is one of the states, and nothing lies there that no backup names.
fn check(disk: &SimulatedDisk, states: &[&State], is_tidy: bool) -> usize {
    let repository = repository(disk);
    let listed = repository.list().unwrap();
    let mut named = BTreeSet::from(["backups.lock".to_owned()]);
    for one in &listed {
        let manifest = one
            .manifest
            .as_ref()
            .unwrap_or_else(|error| panic!("{}: {error}", one.name));
        named.insert(format!("backup-{}.manifest", one.name));
        named.extend(manifest.files.iter().map(|file| format!("object-{}", file.sha256)));
        let target = SimulatedDisk::new(8);
        let backup = repository.read(None, Some(manifest.made)).unwrap();
        restore_on(
            &backup,
            Arc::new(target.clone()),
            &mut Pace::new(None),
            &Progress::default(),
        )
        .unwrap();
        let state = state_of(&target);
        assert!(states.contains(&&state), "another state in {}", one.name);
    }
    if is_tidy {
        let found: BTreeSet<String> = disk.names().into_iter().collect();
        assert!(found.is_subset(&named), "{:?}", found.difference(&named));
    }
    listed.len()
}

fn crash_backups(mode: SyncMode) {
    let [(first, first_state), (second, second_state)] = two_stores();
    let states = [&first_state, &second_state];
    let before = SimulatedDisk::new(4);
    back_up(&first, &before, Making::default()).unwrap();
    for keep in [None, Some(1)] {
        let making = Making { keep, is_full: false };
        let operations = {
            let disk = before.fork(5);
            back_up(&second, &disk, making).unwrap();
            assert_eq!(check(&disk, &states, true), if keep.is_none() { 2 } else { 1 });
            disk.operations()
        };
        assert!(operations > 20, "{operations}");
        for operation in 1..=operations {
            let disk = before.fork(operation);
            disk.set_sync_mode(mode);
            disk.crash_at(operation);
            let made = back_up(&second, &disk, making);
            disk.restart();
            let listed = check(&disk, &states, false);
            assert!(listed >= 1, "crash at {operation}: the backup of before is gone");
            if let Ok(made) = made {
                // A crash in what comes after it: an older one may be there still.
                let newest = repository(&disk).read(None, None).unwrap();
                assert_eq!(newest.name, made.name);
            }
            disk.set_sync_mode(SyncMode::Honest);
            back_up(&second, &disk, making).unwrap_or_else(|error| panic!("after a crash at {operation}: {error}"));
            check(&disk, &states, true);
            let target = SimulatedDisk::new(6);
            restore(&repository(&disk), &target).unwrap();
            assert_eq!(state_of(&target), second_state, "crash at {operation}");
        }
    }
}

#[test]
fn a_backup_is_there_as_a_whole_or_not_at_all() {
    crash_backups(SyncMode::Honest);
}

/// The test above would notice a forgotten sync.
#[test]
#[should_panic(expected = "")]
fn a_disk_that_does_not_sync_is_noticed() {
    crash_backups(SyncMode::Lying);
}

#[test]
fn a_full_disk_leaves_the_backups_of_before_and_nothing_else() {
    let [(first, first_state), (second, second_state)] = two_stores();
    let states = [&first_state, &second_state];
    let before = SimulatedDisk::new(4);
    back_up(&first, &before, Making::default()).unwrap();
    let complete = before.fork(5);
    back_up(&second, &complete, Making::default()).unwrap();
    let (least, most) = (before.used(), complete.used());
    let mut failed = 0;
    // Also those with which everything fits but the end of the manifest.
    let near = (1..200).map(|missing| most - missing);
    let capacities: Vec<u64> = { (0..40).map(|step| least + (most - least) * step / 32) }
        .chain(near)
        .collect();
    for (step, &capacity) in (0..).zip(&capacities) {
        let disk = before.fork(step);
        disk.set_capacity(capacity);
        match back_up(&second, &disk, Making::default()) {
            // The moments in a manifest are not always equally long.
            Ok(_) => assert!(capacity + 64 >= most, "{capacity} of {most}"),
            Err(error) => {
                failed += 1;
                assert!(error.to_string().contains("cannot"), "{error}");
                assert_eq!(check(&disk, &states, true), 1, "capacity {capacity}");
                assert!(
                    disk.used() <= least + 200,
                    "what was copied was removed: {} of {least}",
                    disk.used()
                );
            }
        }
    }
    assert!((25..capacities.len()).contains(&failed), "{failed}");
}

#[test]
fn a_restore_is_there_as_a_whole_or_begins_again() {
    let [_, (second, state)] = two_stores();
    let backups = SimulatedDisk::new(4);
    back_up(&second, &backups, Making::default()).unwrap();
    let from = repository(&backups);
    let operations = {
        let target = SimulatedDisk::new(7);
        restore(&from, &target).unwrap();
        assert_eq!(state_of(&target), state);
        let again = restore(&from, &target).unwrap_err().to_string();
        assert!(again.contains("nothing is overwritten"), "{again}");
        target.operations()
    };
    assert!(operations > 20, "{operations}");
    let (mut done, mut gone_on, mut begun_again) = (0, 0, 0);
    for (operation, luck) in
        (1..=operations).flat_map(|operation| [(operation, 0), (operation, 1_000), (operation, 2_000)])
    {
        let target = SimulatedDisk::new(operation + luck);
        target.crash_at(operation);
        restore(&from, &target).unwrap_err();
        target.restart();
        let is_store = target
            .names()
            .iter()
            .any(|name| name.ends_with(".epoch") && !name.starts_with('.'));
        let has_mark = target.names().iter().any(|name| name == ".restoring.complete");
        if is_store && !has_mark {
            done += 1;
        } else {
            restore(&from, &target).unwrap_or_else(|error| panic!("after a crash at {operation}: {error}"));
            *(if has_mark { &mut gone_on } else { &mut begun_again }) += 1;
        }
        assert!(
            !target.names().iter().any(|name| name.starts_with(".restoring")),
            "crash at {operation}"
        );
        assert_eq!(state_of(&target), state, "crash at {operation}");
    }
    assert!(
        done > 0 && gone_on > 3 && begun_again > 10,
        "{done} {gone_on} {begun_again}"
    );
}

#[test]
fn an_interrupted_restore_of_another_backup_is_not_gone_on_with() {
    let [(first, _), (second, state)] = two_stores();
    let backups = [SimulatedDisk::new(4), SimulatedDisk::new(4)];
    back_up(&first, &backups[0], Making::default()).unwrap();
    back_up(&second, &backups[1], Making::default()).unwrap();
    let target = SimulatedDisk::new(7);
    restore(&repository(&backups[1]), &target).unwrap();
    let operations = target.operations();
    let target = SimulatedDisk::new(7);
    target.fail(Operation::Rename, 3, std::io::ErrorKind::Other);
    let error = restore(&repository(&backups[1]), &target).unwrap_err().to_string();
    assert!(
        error.contains("run it again to go on"),
        "{error} ({operations} operations)"
    );
    let error = restore(&repository(&backups[0]), &target).unwrap_err().to_string();
    assert!(error.contains("another backup"), "{error}");
    restore(&repository(&backups[1]), &target).unwrap();
    assert_eq!(state_of(&target), state);
}
