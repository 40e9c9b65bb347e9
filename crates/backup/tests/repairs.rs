//! What is damaged in a store is mended from itself and from a backup, or left as it is (docs/backup.md).

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use seaway_backup::{Making, Pace, Progress, Reading, Remedy, Repaired, Repairing, Rest, repair_on};
use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_store::verify::{Damage, verify_on};
use support::{State, Store, change, make, repository, segments, state_of, stopped};

/// A store with several segments, a backup of it, and what is in it.
fn backed_up(messages: u64) -> (SimulatedDisk, SimulatedDisk, State) {
    let (disk, backups) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
    let state = stopped(&disk, messages);
    make(&disk, &backups, Making::default());
    (disk, backups, state)
}

fn donors(backups: &SimulatedDisk) -> Vec<(Reading, bool)> {
    repository(backups).donors(&"05".repeat(16), None, None).unwrap()
}

fn repaired(disk: &SimulatedDisk, backups: Option<&SimulatedDisk>, repairing: Repairing) -> Repaired {
    let from = backups.map(donors).unwrap_or_default();
    repair_on(Arc::new(disk.clone()), None, from, repairing).unwrap()
}

fn repair(disk: &SimulatedDisk, backups: Option<&SimulatedDisk>, repairing: Repairing) -> Vec<Remedy> {
    let damages = repaired(disk, backups, repairing).damages;
    damages.into_iter().map(|(_, remedy)| remedy).collect()
}

#[test]
fn what_is_damaged_is_taken_from_a_backup_and_only_with_leave() {
    let (disk, backups, state) = backed_up(4_000);
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
        change(&disk, &names[2], |content| {
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
    let (disk, backups, state) = backed_up(4_000);
    let names = segments(&disk);
    let directory = names[1].replace(".log", ".directory");
    let original = disk.content(&directory).unwrap();
    change(&disk, &directory, |content| content[5_000] ^= 1);
    assert_eq!(repair(&disk, None, Repairing::Rehearsal), [Remedy::Made]);
    assert_eq!(repair(&disk, None, Repairing::Reality), [Remedy::Made]);
    assert_eq!(disk.content(&directory).unwrap(), original);
    // With its segment damaged as well both come from the backup.
    change(&disk, &directory, |content| content[40] ^= 1);
    change(&disk, &names[1], |content| content[70_000] ^= 1);
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
    let (disk, _, _) = backed_up(600);
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
    make(&other, &backups, Making::default());
    let mut refused = 0;
    for name in segments(&disk) {
        let whole = disk.content(&name).unwrap();
        change(&disk, &name, |content| content[50_000] ^= 1);
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
    let (disk, backups, state) = backed_up(3_000);
    let names = segments(&disk);
    change(&disk, &names[1], |content| content[30_000..90_000].fill(7));
    change(&disk, &names[2].replace(".log", ".directory"), |content| {
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
            repair_on(Arc::new(disk.clone()), None, donors(&backups), Repairing::Reality).is_err(),
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

fn is_helpless(remedies: &[Remedy]) -> bool {
    !remedies.is_empty() && remedies.iter().all(|remedy| matches!(remedy, Remedy::None(_)))
}

/// What `verify` says of a store.
fn damages(disk: &SimulatedDisk) -> (Vec<Damage>, bool) {
    let found = verify_on(Arc::new(disk.clone()), None).unwrap();
    (found.damages, found.refusal.is_none())
}

#[test]
fn a_segment_that_was_cut_off_is_damaged_and_taken_from_a_backup() {
    let (disk, backups, state) = backed_up(4_000);
    assert_eq!(damages(&disk), (Vec::new(), true));
    let names = segments(&disk);
    for name in [&names[1], names.last().unwrap()] {
        let content = disk.content(name).unwrap();
        let end = content.iter().rposition(|byte| *byte != 0).unwrap();
        for length in [0, 100, 4_096, 8_192, end / 2, end] {
            let disk = disk.fork(4);
            change(&disk, name, |content| content.truncate(length));
            let (found, _) = damages(&disk);
            assert_eq!(found.len(), 1, "{length}: {found:?}");
            assert!(
                found[0].reason.contains("cut off") && found[0].reason.contains(&format!("has {length} bytes")),
                "{found:?}"
            );
            assert!(!found[0].messages.is_empty(), "{length}");
            assert!(is_helpless(&repair(&disk, None, Repairing::Reality)), "{length}");
            assert_eq!(repair(&disk, Some(&backups), Repairing::Rehearsal), [Remedy::Copied]);
            assert_eq!(disk.content(name).unwrap().len(), length, "nothing is changed");
            assert_eq!(repair(&disk, Some(&backups), Repairing::Reality), [Remedy::Copied]);
            assert_eq!(damages(&disk), (Vec::new(), true), "{length}");
            assert!(content.starts_with(&disk.content(name).unwrap()), "{length}");
            assert_eq!(state_of(&disk), state);
        }
    }
}

/// Files that are not there, one after the other and several at once.
#[test]
fn what_is_missing_is_noticed_and_taken_from_a_backup() {
    let (disk, backups, state) = backed_up(4_000);
    let names = segments(&disk);
    let checkpoints = disk.names().into_iter().filter(|name| name.ends_with(".checkpoint"));
    let newest = checkpoints.max().unwrap();
    let with_directory = |name: &String| vec![name.clone(), name.replace(".log", ".directory")];
    let is_used = |name: &&String| name.ends_with(".log") && disk.content(name).unwrap()[4_096..].starts_with(b"SWBT");
    let newest_log = disk.names().iter().filter(is_used).max().unwrap().clone();
    let cases: [(&str, Vec<String>, bool); 6] = [
        ("a segment", vec![names[1].clone()], true),
        ("a segment and its directory", with_directory(&names[1]), true),
        (
            "several",
            [&names[0], &names[2], &names[3]]
                .into_iter()
                .flat_map(with_directory)
                .collect(),
            true,
        ),
        ("the newest segment", vec![newest_log], true),
        ("what opens the epoch", vec!["epoch-00000001.epoch".to_owned()], true),
        ("a directory", vec![names[1].replace(".log", ".directory")], false),
    ];
    for (what, gone, is_damage) in cases {
        let disk = disk.fork(4);
        gone.iter().for_each(|name| disk.unplant(name));
        let noticed = verify_on(Arc::new(disk.clone()), None)
            .map_or(true, |found| !found.damages.is_empty() || found.refusal.is_some());
        assert_eq!(noticed, is_damage, "{what}");
        if what == "what opens the epoch" {
            // Its store is none any more to whoever looks for names.
            assert!(repair_on(Arc::new(disk.clone()), None, donors(&backups), Repairing::Reality).is_err());
            continue;
        }
        if is_damage {
            let helpless = repaired(&disk, None, Repairing::Reality);
            assert!(
                helpless.after.refusal.is_some()
                    || helpless.damages.iter().any(|(_, one)| matches!(one, Remedy::None(_))),
                "{what}: {helpless:?}"
            );
        }
        let rehearsed = repaired(&disk, Some(&backups), Repairing::Rehearsal);
        assert!(rehearsed.after.refusal.is_none(), "{what}: {rehearsed:?}");
        let done = repaired(&disk, Some(&backups), Repairing::Reality);
        assert!(done.after.refusal.is_none(), "{what}: {done:?}");
        assert!(
            done.damages.iter().all(|(_, one)| *one == Remedy::Copied),
            "{what}: {done:?}"
        );
        assert_eq!(done.damages.len(), rehearsed.damages.len(), "{what}");
        assert_eq!(damages(&disk), (Vec::new(), true), "{what}");
        assert_eq!(state_of(&disk), state, "{what}");
    }
    for at in [10, 2_000] {
        let disk = disk.fork(4);
        change(&disk, &newest, |content| {
            let at = at.min(content.len() - 9);
            content[at] ^= 1;
        });
        assert!(!damages(&disk).1, "a start refuses");
        assert!(is_helpless(&repair(&disk, None, Repairing::Reality)));
        assert_eq!(repair(&disk, Some(&backups), Repairing::Reality), [Remedy::Copied]);
        assert_eq!(damages(&disk), (Vec::new(), true));
        assert_eq!(state_of(&disk), state);
    }
}

/// What a medium does not give back is damaged, and nothing else stops for it.
#[test]
fn places_that_cannot_be_read_are_damaged_and_mended() {
    let (disk, backups, state) = backed_up(4_000);
    let names = segments(&disk);
    let directory = names[2].replace(".log", ".directory");
    for (what, name, range) in [
        ("a sector", &names[1], 100_352..100_864),
        ("the header", &names[1], 0..512),
        ("a page of the directory", &directory, 4_096..4_100),
        ("the directory's header", &directory, 0..10),
    ] {
        let disk = disk.fork(4);
        disk.spoil(name, range);
        let (found, _) = damages(&disk);
        assert_eq!(found.len(), 1, "{what}: {found:?}");
        assert!(
            found[0].reason.contains("cannot be read") || found[0].reason.contains("medium"),
            "{what}: {found:?}"
        );
        let is_directory = name.ends_with(".directory");
        let backup_of_it = SimulatedDisk::new(9);
        let mut rest = Rest::open_on(Arc::new(disk.clone())).unwrap();
        let (mut pace, progress) = (Pace::new(None), Progress::default());
        let made = repository(&backup_of_it)
            .make(&mut rest, Making::default(), &mut pace, &progress)
            .unwrap();
        drop(rest);
        assert_eq!(
            made.manifest.is_known_whole(),
            is_directory && what == "the directory's header",
            "{what}"
        );
        let remedy = if is_directory { Remedy::Made } else { Remedy::Copied };
        assert_eq!(repair(&disk, Some(&backups), Repairing::Reality), [remedy], "{what}");
        assert_eq!(damages(&disk), (Vec::new(), true), "{what}");
        assert_eq!(state_of(&disk), state, "{what}");
    }
}

/// A batch that is damaged holds whole records, which a server delivers.
#[test]
fn only_messages_that_cannot_be_read_are_named() {
    let (disk, _, _) = backed_up(2_000);
    change(&disk, &segments(&disk)[1], |content| content[100_000] ^= 1);
    let (found, starts) = damages(&disk);
    assert!(starts && found.len() == 1 && found[0].length > 10_000, "{found:?}");
    assert_eq!(found[0].messages.len(), 1, "{found:?}");
    let (_, first, last) = found[0].messages[0];
    assert_eq!(first, last);
}
