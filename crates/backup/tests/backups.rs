//! What is copied, what is found again, what goes, and what damage is noticed (docs/backup.md).

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use seaway_backup::{
    Error, Making, Pace, Progress, Rest, archive, restore_archive_on, restore_on, verify, verify_archive,
};
use seaway_journal::disk::simulated::SimulatedDisk;
use support::{Store, make, repository, state_of, try_restored};

fn restore(from: &SimulatedDisk, name: &str) -> Result<SimulatedDisk, Error> {
    let repository = repository(from);
    let listed = repository.list().unwrap();
    let one = listed.into_iter().find(|one| one.name == name).unwrap();
    let manifest = one.manifest.unwrap();
    let store = manifest.life.as_ref().unwrap_or(&manifest.identity);
    try_restored(&repository.read(Some(store), Some(manifest.made)).unwrap())
}

fn archived(source: &SimulatedDisk) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = Rest::open_on(Arc::new(source.fork(3))).unwrap();
    archive::write(&mut rest, &mut bytes, &mut Pace::new(None), &Progress::default()).unwrap();
    bytes
}

fn unpack(bytes: &[u8]) -> Result<SimulatedDisk, Error> {
    let target = SimulatedDisk::new(8);
    restore_archive_on(
        bytes,
        Arc::new(target.clone()),
        &mut Pace::new(None),
        &Progress::default(),
    )?;
    Ok(target)
}

#[test]
fn a_second_backup_copies_what_is_new_and_each_is_restored_as_it_was() {
    let (disk, backups) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
    let mut made = Vec::new();
    for round in 0..5 {
        let mut store = Store::open(&disk);
        store.publish(if round == 0 { 4_000 } else { 300 });
        let state = store.stop();
        disk.restart_process();
        let one = make(&disk, &backups, Making::default());
        let all = one.manifest.bytes();
        match round {
            0 => assert!(one.copied.1 > all * 9 / 10, "{:?} of {all}", one.copied),
            _ => assert!(one.copied.1 < all / 2, "{:?} of {all}", one.copied),
        }
        made.push((one.name, state));
    }
    // Nothing new: nothing but what names itself anew.
    let same = make(&disk, &backups, Making::default());
    assert_eq!(same.copied, (0, 0));
    for (name, state) in &made {
        assert_eq!(state_of(&restore(&backups, name).unwrap()), *state);
    }
    let kept = make(
        &disk,
        &backups,
        Making {
            keep: Some(2),
            is_full: false,
        },
    );
    assert_eq!(kept.removed.len(), 5);
    assert_eq!(repository(&backups).list().unwrap().len(), 2);
    assert_eq!(state_of(&restore(&backups, &kept.name).unwrap()), made[4].1);
}

/// Epochs and segment numbers come again in a store that was restored and in the one that it was made of (docs/backup.md).
#[test]
fn two_lives_of_a_store_share_a_directory_of_backups() {
    let (disk, backups) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
    let mut store = Store::open(&disk);
    store.publish(1_500);
    store.stop();
    disk.restart_process();
    let first = make(&disk, &backups, Making::default());
    let other = restore(&backups, &first.name).unwrap();
    let mut made = Vec::new();
    for (disk, count) in [(&disk, 1_500), (&other, 1_530), (&disk, 60), (&other, 30)] {
        let mut store = Store::open(disk);
        store.publish(count);
        if std::ptr::eq(disk, &raw const other) {
            store.trim(2, 40);
        }
        let state = store.stop();
        disk.restart_process();
        made.push((make(disk, &backups, Making::default()).name, state));
    }
    for (name, state) in made {
        assert_eq!(state_of(&restore(&backups, &name).unwrap()), state, "{name}");
    }
}

#[test]
fn what_is_damaged_is_named_with_its_messages_and_replaced_by_a_full_backup() {
    let (disk, backups) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
    let mut store = Store::open(&disk);
    store.publish(4_000);
    let state = store.stop();
    disk.restart_process();
    let made = make(&disk, &backups, Making::default());
    let check = |backups: &SimulatedDisk| {
        let found = verify(&repository(backups), None, &mut Pace::new(None), &Progress::default()).unwrap();
        found.into_iter().next().unwrap()
    };
    let whole = check(&backups);
    assert!(whole.damaged.is_empty());
    let store = whole.store.unwrap().unwrap();
    assert!(
        store.damages.is_empty() && store.refusal.is_none() && store.records >= 4_000,
        "{store:?}"
    );
    let largest = made
        .manifest
        .files
        .iter()
        .filter(|file| file.name.ends_with(".log"))
        .max_by_key(|file| file.length);
    let largest = largest.unwrap();
    let object = format!("object-{}", largest.sha256);
    let content = backups.content(&object).unwrap();
    for (what, damaged) in [
        ("checksum", {
            let mut bytes = content.clone();
            bytes[100_000] ^= 1;
            Some(bytes)
        }),
        ("bytes instead of", Some(content[..100_000].to_vec())),
        ("missing", None),
    ] {
        let backups = backups.fork(4);
        backups.unplant(&object);
        if let Some(damaged) = damaged {
            backups.plant(&object, &damaged);
        }
        let found = check(&backups);
        assert_eq!(found.damaged.len(), 1, "{what}");
        assert!(found.damaged[0].reason.contains(what), "{:?}", found.damaged);
        assert_eq!(
            (&found.damaged[0].name, &found.damaged[0].object),
            (&largest.name, &object)
        );
        let store = found.store.unwrap().unwrap();
        assert!(
            store.damages.iter().any(|damage| !damage.messages.is_empty()),
            "{what}: {:?}",
            store.damages
        );
        let error = restore(&backups, &made.name).err().unwrap().to_string();
        assert!(
            error.contains(&largest.name) || error.contains(&object),
            "{what}: {error}"
        );
        // What is missing or too short is noticed and made again by any backup, what is altered by a full one.
        let making = Making {
            keep: None,
            is_full: what == "checksum",
        };
        let again = make(&disk, &backups, making);
        assert_eq!(again.copied.0, 1, "{what}");
        assert_eq!(state_of(&restore(&backups, &made.name).unwrap()), state, "{what}");
    }
}

#[test]
fn nothing_is_removed_while_a_manifest_cannot_be_read() {
    let (disk, backups) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
    let mut store = Store::open(&disk);
    store.publish(1_500);
    let state = store.stop();
    disk.restart_process();
    let first = make(&disk, &backups, Making::default());
    let manifest = format!("backup-{}.manifest", first.name);
    let content = backups.content(&manifest).unwrap();
    let mut damaged = content.clone();
    damaged[200] ^= 1;
    backups.unplant(&manifest);
    backups.plant(&manifest, &damaged);
    let error = repository(&backups).read(None, None).err().unwrap().to_string();
    assert!(error.contains("cannot be read") && error.contains("--at"), "{error}");
    let mut store = Store::open(&disk);
    store.publish(300);
    store.stop();
    disk.restart_process();
    let second = make(
        &disk,
        &backups,
        Making {
            keep: Some(1),
            is_full: false,
        },
    );
    assert_eq!(second.remarks.len(), 1, "{:?}", second.remarks);
    backups.unplant(&manifest);
    backups.plant(&manifest, &content);
    assert_eq!(state_of(&restore(&backups, &first.name).unwrap()), state);
}

#[test]
fn an_archive_is_restored_and_verified_and_no_damage_to_it_goes_unnoticed() {
    let disk = SimulatedDisk::new(1);
    let mut store = Store::open(&disk);
    store.publish(700);
    let state = store.stop();
    disk.restart_process();
    let bytes = archived(&disk);
    let manifest = verify_archive(&bytes[..], &mut Pace::new(None), &Progress::default()).unwrap();
    assert!(manifest.position.is_some_and(|position| position >= 700));
    assert_eq!(state_of(&unpack(&bytes).unwrap()), state);
    let mut noticed = 0;
    for step in 0..60 {
        let at = bytes.len() * step / 60;
        let cut = unpack(&bytes[..at]).err().unwrap_or_else(|| panic!("cut at {at}"));
        assert!(matches!(cut, Error::Damaged(_)), "cut at {at}: {cut}");
        let mut other = bytes.clone();
        other[at] ^= 0x10;
        // Some bits of a compressed stream mean nothing.
        match unpack(&other) {
            Ok(target) => assert_eq!(state_of(&target), state, "byte {at}"),
            Err(_) => noticed += 1,
        }
        let verified = verify_archive(&other[..], &mut Pace::new(None), &Progress::default());
        assert!(verified.is_err() || unpack(&other).is_ok(), "byte {at}");
    }
    assert!(noticed > 40, "{noticed}");
    let target = SimulatedDisk::new(8);
    let failed = restore_archive_on(
        &bytes[..bytes.len() / 2],
        Arc::new(target.clone()),
        &mut Pace::new(None),
        &Progress::default(),
    );
    assert!(failed.is_err());
    assert_eq!(target.names(), Vec::<String>::new(), "what was written was removed");
}

/// Whoever made it: an archive leads nowhere else than into its directory.
#[test]
fn a_hostile_archive_is_refused() {
    use std::io::Write as _;
    let header = |name: &str| {
        let mut block = [0_u8; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..108].copy_from_slice(b"0000600\0");
        block[124..136].copy_from_slice(b"00000000000\0");
        block[136..148].copy_from_slice(b"00000000000\0");
        block[156] = b'0';
        block[257..265].copy_from_slice(b"ustar\x0000");
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    };
    for name in [
        "../outside",
        "/etc/passwd",
        "journal.lock",
        "epoch-00000001.claim",
        ".restoring.complete",
        "a/b",
    ] {
        let mut out = zstd::Encoder::new(Vec::new(), 1).unwrap();
        out.write_all(&header(name)).unwrap();
        out.write_all(&[0; 1_024]).unwrap();
        let error = unpack(&out.finish().unwrap()).err().unwrap().to_string();
        assert!(error.contains("no name of a store's file"), "{name}: {error}");
    }
    let mut out = zstd::Encoder::new(Vec::new(), 1).unwrap();
    out.write_all(&header("epoch-00000001.epoch")).unwrap();
    out.write_all(&[0; 1_024]).unwrap();
    assert!(
        unpack(&out.finish().unwrap())
            .err()
            .unwrap()
            .to_string()
            .contains("no manifest")
    );
    assert!(unpack(b"no archive at all").is_err() && unpack(b"").is_err());
}

#[test]
fn what_is_in_the_way_of_a_restore_is_named() {
    let (disk, backups) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
    let mut store = Store::open(&disk);
    store.publish(50);
    store.stop();
    disk.restart_process();
    make(&disk, &backups, Making::default());
    let backup = repository(&backups).read(None, None).unwrap();
    for name in [
        "notes.txt",
        "epoch-00000009.epoch",
        "segment-0000000000000001-00000001.log",
    ] {
        let target = SimulatedDisk::new(3);
        target.plant(name, b"mine");
        let restored = restore_on(
            &backup,
            Arc::new(target.clone()),
            &mut Pace::new(None),
            &Progress::default(),
        );
        let error = restored.unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        assert_eq!(target.names(), [name]);
    }
}
