//! What stops an adoption, with which words; and that nothing has changed then.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../original/tests/encoder/mod.rs"]
mod encoder;
#[path = "../../original/tests/generator/mod.rs"]
mod generator;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use encoder::{HEADER, blob, index_entry, message, record};
use generator::{without_lock, without_undone};
use seaway_adoption::in_place::{State, finish, state};
use seaway_adoption::{Error, Options, Outcome, Progress, adopt, undo};

/// A directory with messages of these sequences in one channel.
fn original(directory: &Path, channel: &str, sequences: &[u64], payload: &[u8]) {
    fs::create_dir_all(directory.join(channel)).unwrap();
    let server = blob(1, b"test-cluster");
    fs::write(
        directory.join("server.dat"),
        [&HEADER[..], &record(0, &server)].concat(),
    )
    .unwrap();
    let (mut data, mut index, mut offset) = (HEADER.to_vec(), HEADER.to_vec(), 4);
    for &sequence in sequences {
        let encoded = message(sequence, channel, payload, sequence);
        index.extend(index_entry(sequence, offset, sequence, encoded.len()));
        offset += 8 + encoded.len() as u64;
        data.extend(record(0, &encoded));
    }
    fs::write(directory.join(channel).join("msgs.1.dat"), data).unwrap();
    fs::write(directory.join(channel).join("msgs.1.idx"), index).unwrap();
}

fn listing(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    without_lock(generator::listing(folder))
}

/// The words in which it is refused; nothing has changed.
#[track_caller]
fn refusal(directory: &Path, options: &Options) -> String {
    let before = listing(directory);
    let error = adopt(directory, options, &Progress::default()).unwrap_err();
    assert_eq!(listing(directory), before, "{error}");
    error.to_string()
}

#[track_caller]
fn taken(directory: &Path, options: &Options) -> Box<seaway_adoption::Adopted> {
    match adopt(directory, options, &Progress::default()).unwrap() {
        Outcome::Adopted(adopted) => adopted,
        Outcome::Finished => panic!("it was finished before"),
    }
}

struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// `stores-and-clustering.md` §3.16: stand-alone servers lock nothing, but have files open.
#[test]
fn a_running_server_is_seen_by_its_open_files() {
    let folder = tempfile::tempdir().unwrap();
    original(folder.path(), "foo", &[1], b"x");
    let file = File::open(folder.path().join("foo/msgs.1.dat")).unwrap();
    let command = Command::new("cat").stdin(Stdio::piped()).stdout(file).spawn().unwrap();
    let holder = Holder(command);
    let before = listing(folder.path());
    let error = adopt(folder.path(), &Options::default(), &Progress::default()).unwrap_err();
    let Error::Findings(report) = error else {
        panic!("{error}")
    };
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.kind == seaway_original::Kind::InUse)
    );
    assert_eq!(listing(folder.path()), before);
    drop(holder);
    taken(folder.path(), &Options::default());
}

#[test]
fn an_empty_or_foreign_directory_is_none_of_the_originals() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes"), b"mine").unwrap();
    let text = refusal(folder.path(), &Options::default());
    assert!(text.contains("holds no file of NATS Streaming"), "{text}");
    assert!(
        !folder.path().join(".rootdir.lck").exists(),
        "no lock file for what is not the original's"
    );
    let text = refusal_of_missing(&folder.path().join("nowhere"));
    assert!(text.contains("nowhere") && text.contains("-dir"), "{text}");
}

fn refusal_of_missing(directory: &Path) -> String {
    adopt(directory, &Options::default(), &Progress::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn the_cluster_id_is_kept_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    original(folder.path(), "foo", &[1], b"x");
    let named = |id: &str| Options {
        cluster_id: Some(id.to_owned()),
        ..Options::default()
    };
    let text = refusal(folder.path(), &named("other"));
    assert_eq!(
        text,
        "cluster ID \"other\" does not match recovered value of \"test-cluster\""
    );
    fs::write(folder.path().join("server.dat"), HEADER).unwrap();
    let text = refusal(folder.path(), &Options::default());
    assert!(text.contains("--cluster-id"), "{text}");
    assert_eq!(taken(folder.path(), &named("mine")).cluster_id, "mine");
    // And back: an empty file it was.
    undo::undo(folder.path()).unwrap();
    assert_eq!(fs::read(folder.path().join("server.dat")).unwrap(), HEADER);
    // There may be none at all.
    fs::remove_file(folder.path().join("server.dat")).unwrap();
    for file in fs::read_dir(folder.path()).unwrap().flatten() {
        if file.file_name().to_string_lossy().starts_with(".undone.") {
            fs::remove_file(file.path()).unwrap();
        }
    }
    taken(folder.path(), &named("mine"));
    assert_eq!(state(folder.path()).unwrap(), State::TakenOver);
    undo::undo(folder.path()).unwrap();
    assert!(!folder.path().join("server.dat").exists());
    assert_eq!(state(folder.path()).unwrap(), State::Original);
}

#[test]
fn losses_are_taken_only_when_they_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    original(folder.path(), "foo", &[1, 2, 3], b"payload");
    let path = folder.path().join("foo/msgs.1.dat");
    let mut data = fs::read(&path).unwrap();
    let middle = data.len() / 2;
    data[middle] ^= 1;
    fs::write(&path, data).unwrap();
    original(folder.path(), "goo", &[1, 2, 3, 4, 5], b"payload");
    let (before, progress) = (listing(folder.path()), Progress::default());
    let error = adopt(folder.path(), &Options::default(), &progress).unwrap_err();
    let Error::Losses(report) = &error else {
        panic!("{error}");
    };
    assert_eq!(
        (report.totals.channels, report.totals.messages),
        (2, 7),
        "it was read to the end"
    );
    assert!(progress.messages() < 5, "what is refused was written to the end");
    assert_eq!(listing(folder.path()), before);
    let accepting = Options {
        accepts_losses: true,
        ..Options::default()
    };
    let adopted = taken(folder.path(), &accepting);
    assert_eq!((adopted.report.totals.messages, adopted.filled), (7, 1));
}

#[test]
fn payloads_that_look_encrypted_are_not_taken_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    original(folder.path(), "foo", &[1], b"\x01 looks like it");
    let text = refusal(folder.path(), &Options::default());
    assert!(
        text.contains("--encryption-key-file") && text.contains("--payloads-are-plain"),
        "{text}"
    );
    let plain = Options {
        payloads_are_plain: true,
        ..Options::default()
    };
    taken(folder.path(), &plain);
}

#[test]
fn a_gap_that_no_disk_holds_and_a_sequence_that_cannot_be_are_refused() {
    for (sequences, word) in [(&[1, 1 << 61][..], "lacks"), (&[u64::MAX - 1], "cannot be")] {
        let folder = tempfile::tempdir().unwrap();
        original(folder.path(), "foo", sequences, b"x");
        let text = refusal(folder.path(), &Options::default());
        assert!(text.contains(word) && text.contains("foo"), "{text}");
    }
}

#[test]
fn channels_that_differ_by_case_and_full_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    original(folder.path(), "foo", &[1], b"x");
    original(folder.path(), "Foo", &[1], b"x");
    let text = refusal(folder.path(), &Options::default());
    assert!(text.contains("only by case"), "{text}");
    fs::remove_dir_all(folder.path().join("Foo")).unwrap();
    fs::write(folder.path().join("before-seaway"), b"mine").unwrap();
    let text = refusal(folder.path(), &Options::default());
    assert!(text.contains("is no folder: move it away"), "{text}");
    fs::remove_file(folder.path().join("before-seaway")).unwrap();
    fs::create_dir(folder.path().join("before-seaway")).unwrap();
    fs::write(folder.path().join("before-seaway/notes"), b"mine").unwrap();
    let text = refusal(folder.path(), &Options::default());
    assert!(
        text.contains("before-seaway") && text.contains("move it away"),
        "{text}"
    );
}

#[test]
fn elsewhere_is_empty_and_outside() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    original(&data, "foo", &[1], b"x");
    let to = |place: PathBuf| Options {
        to: Some(place),
        ..Options::default()
    };
    let text = refusal(&data, &to(data.join("new")));
    assert!(text.contains("every folder is a channel"), "{text}");
    assert!(!data.join("new").exists(), "it would be a channel");
    let full = folder.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("notes"), b"mine").unwrap();
    let text = refusal(&data, &to(full));
    assert!(text.contains("is not empty: it holds notes"), "{text}");
    // What an interrupted attempt left is cleared.
    let new = folder.path().join("new");
    fs::create_dir(&new).unwrap();
    fs::write(new.join(".adopting.segment-0000000000000001-00000001.log"), b"half").unwrap();
    taken(&data, &to(new.clone()));
    assert_eq!(state(&new).unwrap(), State::Store);
    assert_eq!(state(&data).unwrap(), State::Original);
    let text = refusal(&data, &to(new));
    assert!(text.contains("is not empty"), "{text}");
}

/// What was being written when the disk was full or the power went says nothing.
#[test]
fn an_undoing_that_has_not_begun_is_none() {
    let folder = tempfile::tempdir().unwrap();
    original(folder.path(), "foo", &[1], b"x");
    let before = listing(folder.path());
    taken(folder.path(), &Options::default());
    fs::write(folder.path().join(".undoing.json.writing"), b"{\"had").unwrap();
    assert_eq!(state(folder.path()).unwrap(), State::TakenOver);
    undo::undo(folder.path()).unwrap();
    assert_eq!(without_undone(listing(folder.path())), before);
}

#[test]
fn what_is_not_all_there_is_not_given_back() {
    let folder = tempfile::tempdir().unwrap();
    original(folder.path(), "foo", &[1], b"x");
    original(folder.path(), "bar", &[1], b"x");
    let before = listing(folder.path());
    taken(folder.path(), &Options::default());
    let (kept, away) = (folder.path().join("before-seaway"), tempfile::tempdir().unwrap());
    for name in ["bar", "server.dat"] {
        fs::rename(kept.join(name), away.path().join(name)).unwrap();
        let now = listing(folder.path());
        let text = undo::undo(folder.path()).unwrap_err().to_string();
        assert!(
            text.contains(&format!("before-seaway/{name} is no longer there")),
            "{text}"
        );
        assert_eq!(listing(folder.path()), now);
        assert_eq!(state(folder.path()).unwrap(), State::TakenOver);
        fs::rename(away.path().join(name), kept.join(name)).unwrap();
    }
    undo::undo(folder.path()).unwrap();
    assert_eq!(without_undone(listing(folder.path())), before);
}

/// Gives files of the store in `from` the names of one that is not in place, in `to`: all, or those that `is_meant`.
fn take_out(from: &Path, to: &Path, is_meant: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.contains('-') && is_meant(&name) {
            fs::rename(entry.path(), to.join(format!(".adopting.{name}"))).unwrap();
        }
    }
}

/// `docs/migration.md`: what an adoption to another directory has written counts when it is complete, and never instead of a store that
/// was made there since.
#[test]
fn what_a_killed_adoption_left_never_replaces_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    original(&data, "foo", &[1, 2, 3], b"x");
    let to = |place: &Path| Options {
        to: Some(place.to_owned()),
        ..Options::default()
    };
    let (new, other) = (folder.path().join("new"), folder.path().join("other"));
    taken(&data, &to(&new));
    taken(&data, &to(&other));
    // Killed before its commit, be all of its files there: nobody goes on with it, and it can be made again.
    take_out(&new, &new, |_| true);
    assert_eq!(state(&new).unwrap(), State::Begun);
    assert!(!finish(&new).unwrap());
    let text = refusal(&new, &Options::default());
    assert!(text.contains("--to") && text.contains(".adopting."), "{text}");
    taken(&data, &to(&new));
    assert_eq!(state(&new).unwrap(), State::Store);
    // Its remains beside a store that has files of the same names.
    take_out(&other, &new, |_| true);
    let before = listing(&new);
    assert_eq!(state(&new).unwrap(), State::Store);
    assert!(!finish(&new).unwrap());
    assert!(refusal(&data, &to(&new)).contains("is not empty"));
    assert_eq!(listing(&new), before);
    // Not even when they say that they are complete.
    fs::write(new.join(".adopting.complete"), b"").unwrap();
    let before = listing(&new);
    for refused in [
        finish(&new).unwrap_err(),
        adopt(&data, &to(&new), &Progress::default()).unwrap_err(),
    ] {
        let text = refused.to_string();
        assert!(text.contains("-00000001") && text.contains("is not replaced"), "{text}");
        assert_eq!(listing(&new), before);
    }
}

#[test]
fn a_complete_store_is_put_in_place_by_whoever_comes_next() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    original(&data, "foo", &[1, 2, 3], b"x");
    let kinds: [fn(&str) -> bool; 3] = [|_| true, |name| name.ends_with(".epoch"), |_| false];
    for (number, is_left) in kinds.into_iter().enumerate() {
        let new = folder.path().join(number.to_string());
        let options = Options {
            to: Some(new.clone()),
            ..Options::default()
        };
        taken(&data, &options);
        let complete = listing(&new);
        take_out(&new, &new, is_left);
        fs::write(new.join(".adopting.complete"), b"").unwrap();
        assert_eq!(state(&new).unwrap(), State::Unfinished);
        let outcome = adopt(&data, &options, &Progress::default()).unwrap();
        assert!(matches!(outcome, Outcome::Finished), "{outcome:?}");
        assert_eq!(state(&new).unwrap(), State::Store);
        assert_eq!(listing(&new), complete);
    }
}
