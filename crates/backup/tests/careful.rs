//! What is damaged replaces nothing that is whole, a clock set back removes nothing, and stores are not mixed up (docs/backup.md).

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use jiff::Timestamp;
use seaway_backup::{
    Error, Making, Origin, Pace, Progress, Repairing, Repository, Rest, Source, SourceFile, archive, identity_of,
    repair, repair_on, verify,
};
use seaway_journal::disk::Disk as _;
use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_store::verify::verify_on;
use support::{Store, change, make, repository, restored, state_of, stopped};

const FULL: Making = Making {
    keep: None,
    is_full: true,
};

/// A sealed segment whose middle is in no sample, and its content.
fn segment(disk: &SimulatedDisk) -> (String, Vec<u8>) {
    let names = disk.names();
    let is_sealed = |name: &&String| name.ends_with(".log") && names.contains(&name.replace(".log", ".directory"));
    let sealed = names.iter().filter(is_sealed);
    let (name, content) = sealed
        .map(|name| (name.clone(), disk.content(name).unwrap()))
        .max_by_key(|(_, content)| content.len())
        .unwrap();
    assert!(content.len() > 180_000, "{}", content.len());
    (name, content)
}

/// Damages what is in no sample.
fn damage(disk: &SimulatedDisk, name: &str) {
    change(disk, name, |content| content[100_000] ^= 1);
}

#[test]
fn a_full_backup_of_a_damaged_store_keeps_the_whole_copy() {
    let (disk, backups) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
    let state = stopped(&disk, 4_000);
    let first = make(&disk, &backups, Making::default());
    let (name, _) = segment(&disk);
    damage(&disk, &name);
    let second = make(&disk, &backups, Making { keep: Some(1), ..FULL });
    assert_eq!(second.manifest.files, first.manifest.files);
    assert!(
        second
            .remarks
            .iter()
            .any(|remark| remark.contains(&name) && remark.contains("seaway verify")),
        "{:?}",
        second.remarks
    );
    assert_eq!(second.removed, [first.name]);
    assert_eq!(
        state_of(&restored(&repository(&backups).read(None, None).unwrap())),
        state
    );
}

/// A backup of a damaged store says so, and the last one that is known to be whole stays beside those that are kept.
#[test]
fn what_is_damaged_is_told_and_removes_no_whole_backup() {
    let (disk, backups) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
    let keep = Making {
        keep: Some(1),
        is_full: false,
    };
    let state = stopped(&disk, 4_000);
    let whole = make(&disk, &backups, keep);
    assert!(whole.manifest.is_known_whole(), "{:?}", whole.manifest);
    let (name, content) = segment(&disk);
    // Where the sample shows it, so that the segment is read again.
    change(&disk, &name, |content| content[5_000] ^= 1);
    for round in 0..3 {
        let made = make(&disk, &backups, keep);
        let damages: Vec<(&str, &str)> = made.manifest.damages().collect();
        assert_eq!(damages.len(), 1, "{damages:?}");
        assert!(
            damages[0].0 == name && damages[0].1.contains("offset 4096"),
            "{damages:?}"
        );
        assert!(!made.manifest.is_known_whole() && made.manifest.is_known_damaged());
        assert_eq!(made.removed.len(), round.min(1), "{:?}", made.removed);
        assert!(
            made.remarks.iter().any(|remark| remark.contains(&whole.name)),
            "{:?}",
            made.remarks
        );
    }
    let read = repository(&backups).read(None, Some(whole.manifest.made)).unwrap();
    assert_eq!(state_of(&restored(&read)), state);
    let found = verify(&repository(&backups), None, &mut Pace::new(None), &Progress::default()).unwrap();
    assert_eq!(found.len(), 2);
    disk.unplant(&name);
    disk.plant(&name, &content);
    let mended = make(&disk, &backups, keep);
    assert!(mended.manifest.is_known_whole());
    assert_eq!(mended.removed.len(), 2);
    // A file that is missing shows when somebody tries to start.
    disk.unplant(&name);
    let made = make(&disk, &backups, keep);
    assert!(made.manifest.refusal.is_some() && made.removed.is_empty(), "{made:?}");
}

/// The original goes on, and a store that was restored of its backup does, and both keep one backup in the same directory.
#[test]
fn lives_of_a_store_remove_no_backup_of_each_other() {
    let (disk, backups) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
    let keep = Making {
        keep: Some(1),
        is_full: false,
    };
    stopped(&disk, 600);
    let first = make(&disk, &backups, keep);
    let other = restored(&repository(&backups).read(None, None).unwrap());
    let third = restored(&repository(&backups).read(None, None).unwrap());
    let mut states = Vec::new();
    for (disk, messages) in [(&disk, 90), (&other, 60), (&third, 30)] {
        let state = stopped(disk, messages);
        let made = make(disk, &backups, keep);
        states.push((made.manifest.life.clone().unwrap_or(made.manifest.identity), state));
        let removed: &[String] = if states.len() == 1 {
            std::slice::from_ref(&first.name)
        } else {
            &[]
        };
        assert_eq!(made.removed, removed);
    }
    assert_ne!(states[1].0, states[2].0);
    let repository = repository(&backups);
    let error = repository.read(None, None).err().unwrap().to_string();
    assert!(
        error.contains("lives of one") && error.contains(&states[1].0),
        "{error}"
    );
    for (name, state) in &states {
        assert_eq!(state_of(&restored(&repository.read(Some(name), None).unwrap())), *state);
    }
    // A restart is no new life.
    let state = stopped(&other, 12);
    assert_eq!(make(&other, &backups, keep).removed.len(), 1);
    assert_eq!(
        state_of(&restored(&repository.read(Some(&states[1].0[..9]), None).unwrap())),
        state
    );
}

/// The other way round: what was backed up while it was damaged is replaced when the store was mended.
#[test]
fn a_full_backup_of_a_mended_store_replaces_the_damaged_copy() {
    let (disk, backups) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
    let state = stopped(&disk, 4_000);
    let (name, content) = segment(&disk);
    damage(&disk, &name);
    make(&disk, &backups, Making::default());
    disk.unplant(&name);
    disk.plant(&name, &content);
    let second = make(&disk, &backups, FULL);
    assert_eq!((second.copied.0, second.remarks.len()), (1, 0), "{:?}", second.remarks);
    assert_eq!(
        state_of(&restored(&repository(&backups).read(None, None).unwrap())),
        state
    );
}

#[test]
fn a_clock_that_was_set_back_makes_no_backup_older_than_another() {
    let (disk, backups) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
    stopped(&disk, 300);
    let first = make(&disk, &backups, Making::default());
    // As if it had been made when the clock was a few decades ahead.
    let file = format!("backup-{}.manifest", first.name);
    backups.rename(&file, "backup-20990131T091500.123Z.manifest").unwrap();
    backups.sync_directory().unwrap();
    let state = stopped(&disk, 300);
    for (keep, removed) in [(2, 0), (2, 1), (1, 2)] {
        let making = Making {
            keep: Some(keep),
            is_full: false,
        };
        let made = make(&disk, &backups, making);
        assert!(made.name.as_str() > "20990131T091500.123Z", "{}", made.name);
        assert!(made.remarks[0].contains("clock"), "{:?}", made.remarks);
        assert_eq!(made.removed.len(), removed, "{:?}", made.removed);
        let newest = repository(&backups).read(None, None).unwrap();
        assert_eq!(newest.name, made.name);
        assert_eq!(state_of(&restored(&newest)), state);
    }
}

#[test]
fn backups_of_several_stores_are_told_apart() {
    let (disk, other, backups) = (SimulatedDisk::new(1), SimulatedDisk::new(4), SimulatedDisk::new(2));
    let state = stopped(&disk, 4_000);
    let first = make(&disk, &backups, Making::default());
    let mut store = Store::open_another(&other);
    store.publish(900);
    let other_state = store.stop();
    other.restart_process();
    let keep = Making {
        keep: Some(1),
        is_full: false,
    };
    let second = make(&other, &backups, keep);
    let [own, others] = [&first, &second].map(|made| made.manifest.identity.clone());
    assert_ne!(own, others);
    assert!(
        second.removed.is_empty(),
        "another store's backup is none of the kept ones"
    );
    let repository = repository(&backups);
    for at in [None, Some(second.manifest.made)] {
        let error = repository.read(None, at).err().unwrap().to_string();
        for word in [&own, &others, &first.name, &second.name, &"--store".to_owned()] {
            assert!(error.contains(word), "{error}");
        }
    }
    let read = |store: &str| repository.read(Some(store), None);
    assert_eq!(state_of(&restored(&read(&own[..8]).unwrap())), state);
    let of_another = restored(&read(&others.to_uppercase()).unwrap());
    assert_eq!(Store::open_another(&of_another).state, other_state);
    let error = read("feed").err().unwrap().to_string();
    assert!(error.contains("feed"), "{error}");
    // The newest of each store is looked into.
    let found = verify(&repository, None, &mut Pace::new(None), &Progress::default()).unwrap();
    assert!(found.len() == 2 && found.iter().all(|one| one.store.is_some()));
}

#[test]
fn what_is_no_store_is_not_repaired_and_stays_as_it_is() {
    let empty = SimulatedDisk::new(1);
    let foreign = SimulatedDisk::new(2);
    foreign.plant("server.dat", b"of somebody else");
    for disk in [empty, foreign] {
        let before = disk.names();
        let error = repair_on(Arc::new(disk.clone()), None, Vec::new(), Repairing::Reality).unwrap_err();
        assert!(error.to_string().contains("no store of Seaway's"), "{error}");
        assert_eq!(disk.names(), before);
    }
    let directory = tempfile::tempdir().unwrap();
    assert!(repair(directory.path(), None, Vec::new(), Repairing::Reality).is_err());
    assert!(matches!(identity_of(directory.path()), Err(Error::Refused(_))));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// A server that tells whatever it likes.
struct Hostile(Origin, Vec<SourceFile>);

impl Source for Hostile {
    fn origin(&self) -> Origin {
        self.0.clone()
    }

    fn files(&self) -> &[SourceFile] {
        &self.1
    }

    fn read(&mut self, _: usize, _: u64, _: &mut [u8]) -> Result<(), Error> {
        panic!("nothing is asked for")
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn an_image_that_is_none_of_a_store_is_not_backed_up() {
    let long = format!("epoch-{:0>100}.epoch", 1);
    let (first, second) = ("epoch-00000001.epoch", "epoch-00000002.epoch");
    let identity = "05".repeat(16);
    for (identity, files) in [
        (identity.as_str(), vec![("../x", 1)]),
        (&identity, vec![(&long, 1)]),
        (&identity, vec![(first, 1), (first, 1)]),
        (&identity, vec![(first, u64::MAX), (second, 1)]),
        ("\u{1b}[2J", vec![(first, 1)]),
    ] {
        let files = files.iter().map(|(name, length)| SourceFile {
            name: (*name).to_owned(),
            length: *length,
        });
        let origin = Origin {
            identity: identity.to_owned(),
            epoch: 1,
            position: None,
            is_encrypted: false,
            life: None,
            begun: Timestamp::UNIX_EPOCH,
        };
        let mut source = Hostile(origin, files.collect());
        let backups = SimulatedDisk::new(2);
        let (mut pace, progress) = (Pace::new(None), Progress::default());
        let made = repository(&backups).make(&mut source, Making::default(), &mut pace, &progress);
        assert!(matches!(made, Err(Error::Refused(_))), "{made:?}");
        assert_eq!(backups.names(), Vec::<String>::new());
        let mut bytes = Vec::new();
        let written = archive::write(&mut source, &mut bytes, &mut pace, &progress);
        assert!(written.is_err() && bytes.is_empty());
    }
}

/// Nothing is written through a link, or in place of a file that is there, and of two attempts one is refused.
#[test]
fn an_archive_replaces_nothing_but_what_was_left_unfinished() {
    let disk = SimulatedDisk::new(1);
    stopped(&disk, 50);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tar.zst");
    let (unfinished, mine) = (
        directory.path().join("a.tar.zst.writing"),
        directory.path().join("mine"),
    );
    let write = || {
        let mut rest = Rest::open_on(Arc::new(disk.fork(3))).unwrap();
        archive::write_file(&mut rest, &path, &mut Pace::new(None), &Progress::default())
    };
    let held = std::fs::File::create(&unfinished).unwrap();
    held.lock().unwrap();
    let error = write().unwrap_err().to_string();
    assert!(error.contains("somebody else"), "{error}");
    assert!(unfinished.exists());
    drop(held);
    write().unwrap();
    assert!(path.exists() && !unfinished.exists());
    assert!(write().unwrap_err().to_string().contains("not overwritten"));
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&mine, "mine").unwrap();
    std::os::unix::fs::symlink(&mine, &unfinished).unwrap();
    write().unwrap();
    assert_eq!(std::fs::read_to_string(&mine).unwrap(), "mine");
}

#[test]
fn no_server_starts_where_a_restore_was_interrupted() {
    let disk = SimulatedDisk::new(1);
    disk.create(".restoring.complete").unwrap();
    let refusal = seaway_journal::check_fit(&disk, None).unwrap_err().to_string();
    assert!(refusal.contains("run the same `seaway restore` again"), "{refusal}");
}

/// Nor on backups, also when the lock's file is all there is of them.
#[test]
fn no_server_starts_among_backups() {
    for name in ["backups.lock", "backup-20260131T091500.123Z.manifest"] {
        let disk = SimulatedDisk::new(1);
        disk.create(name).unwrap();
        let refusal = seaway_journal::check_fit(&disk, None).unwrap_err().to_string();
        assert!(refusal.contains(name) && refusal.contains("no store"), "{refusal}");
        assert!(verify_on(Arc::new(disk), None).is_err());
    }
}

#[test]
fn backups_are_not_made_among_the_files_of_a_store() {
    let directory = tempfile::tempdir().unwrap();
    Repository::open(directory.path()).unwrap();
    std::fs::write(directory.path().join("epoch-00000001.epoch"), "").unwrap();
    let refusal = Repository::open(directory.path())
        .err()
        .expect("it is a store")
        .to_string();
    assert!(
        refusal.contains("is a store: backups need a directory of their own"),
        "{refusal}"
    );
}
