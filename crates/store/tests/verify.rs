//! `docs/operations.md`: what a reader of a store at rest finds, and that he changes nothing.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use seaway_journal::disk::real::RealDisk;
use seaway_store::verify::{ChannelsFound, LogId, Verification, verify};
use seaway_store::{FileStore, FileStoreError, OpenError, Sizes, Store as _};
use seaway_streaming::{ChannelId, Records as _};

const SMALL: Sizes = Sizes {
    segment_bytes: 64 << 10,
    cache_bytes: 64 << 10,
    checkpoint_bytes: 1 << 30,
    unarchived_bytes_max: None,
};

/// Two channels in turn, in commits of ten messages of 1,000 bytes.
fn fill(directory: &Path, from: u64, to: u64) -> FileStore {
    let disk = RealDisk::new(directory).unwrap();
    let mut store = FileStore::open_stepped(Arc::new(disk), SMALL, None, &mut ChannelsFound::default()).unwrap();
    for sequence in from..=to {
        for channel in [1, 2] {
            store.append_message(ChannelId(channel), sequence, 1_000 + sequence as i64, &[&[7; 1_000]]);
        }
        if sequence % 10 == 0 || sequence == to {
            settle(&mut store);
        }
    }
    store
}

fn settle(store: &mut FileStore) {
    store.submit();
    let mut completions = Vec::new();
    loop {
        if let Some(commit) = store.take_commit() {
            commit();
        }
        store.poll(&mut completions);
        if !store.step() {
            break;
        }
    }
}

fn content(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                std::fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}

/// Reads it; nothing has changed then.
fn verified(directory: &Path) -> Verification {
    let before = content(directory);
    let found = verify(directory, None).unwrap();
    assert!(content(directory) == before, "something was changed");
    found
}

fn flip(directory: &Path, name: &str, offset: usize) {
    let path = directory.join(name);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[offset] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

/// Names of sealed segments: they have a directory.
fn sealed(directory: &Path) -> Vec<String> {
    let names = content(directory).into_keys();
    let names = names.filter_map(|name| Some(format!("{}.log", name.strip_suffix(".directory")?)));
    names.collect()
}

#[test]
fn a_whole_store_is_whole_and_what_is_damaged_is_told_with_its_messages() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = fill(folder.path(), 1, 200);
    store.close().unwrap();
    drop(store);
    let found = verified(folder.path());
    assert!(found.damages.is_empty() && found.refusal.is_none(), "{found:?}");
    assert_eq!(found.records, 400);
    assert_eq!(found.channels.bounds, BTreeMap::from([(1, (1, 200)), (2, (1, 200))]));

    let sealed = sealed(folder.path());
    assert!(sealed.len() > 2, "{sealed:?}");
    // In the second batch of the first segment.
    flip(folder.path(), &sealed[0], 4_096 + 30_000);
    let directory = sealed[1].replace(".log", ".directory");
    flip(folder.path(), &directory, 4_096 + 100);
    let found = verified(folder.path());
    let [segment, page] = &found.damages[..] else {
        panic!("{:#?}", found.damages);
    };
    assert_eq!((&segment.file, segment.is_remade), (&sealed[0], false));
    assert!(
        (4_096..4_096 + 30_000).contains(&segment.offset) && segment.length > 10_000,
        "{segment:?}"
    );
    // In the second batch, of which the others can be read.
    let [(LogId(_), message, same)] = segment.messages[..] else {
        panic!("{segment:?}");
    };
    assert!(message == same && (11..=20).contains(&message), "{segment:?}");
    assert_eq!((&page.file, page.is_remade, page.messages.len()), (&directory, true, 0));
    assert_eq!(found.records, 380);
    // No checkpoint covers it.
    assert!(
        found
            .refusal
            .is_some_and(|refusal| refusal.to_string().contains(&sealed[0]))
    );
}

#[test]
fn a_store_that_would_not_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = fill(folder.path(), 1, 100);
    store.close().unwrap();
    drop(store);
    let sealed = sealed(folder.path());
    std::fs::remove_file(folder.path().join(&sealed[1])).unwrap();
    let found = verified(folder.path());
    let [missing] = &found.damages[..] else {
        panic!("{:#?}", found.damages);
    };
    assert!(
        missing.file == sealed[1] && missing.is_missing && missing.messages.len() == 2,
        "{missing:?}"
    );
    assert!(
        found
            .refusal
            .is_some_and(|refusal| refusal.to_string().contains("damaged"))
    );
}

#[test]
fn what_is_no_store_or_in_use_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let error = |directory: &Path| verify(directory, None).unwrap_err();
    std::fs::write(folder.path().join("notes"), b"mine").unwrap();
    assert!(matches!(error(folder.path()), FileStoreError::NoStore));
    let nowhere = folder.path().join("nowhere");
    assert!(matches!(error(&nowhere), FileStoreError::Directory { .. }));
    assert!(!nowhere.exists());
    let store = fill(folder.path(), 1, 10);
    let used = error(folder.path());
    assert!(
        matches!(used, FileStoreError::Journal(OpenError::Locked { .. })),
        "{used}"
    );
    drop(store);
    assert!(verified(folder.path()).refusal.is_none(), "a torn end is none");
    // A spare segment holds nothing.
    let spare = |(name, bytes): &(String, Vec<u8>)| name.ends_with(".log") && bytes[4_096] == 0;
    let (spare, _) = content(folder.path()).into_iter().find(spare).unwrap();
    flip(folder.path(), &spare, 20);
    let [damage] = &verified(folder.path()).damages[..] else {
        panic!("one damage");
    };
    assert_eq!((&damage.file, damage.is_remade), (&spare, true));
    // Without what opens it a store is damaged, and not none.
    for name in content(folder.path())
        .into_keys()
        .filter(|name| name.ends_with(".epoch"))
    {
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    let damaged = error(folder.path()).to_string();
    assert!(damaged.contains("there is no file that opens its epoch"), "{damaged}");
}
