//! What was taken over is given back as a new directory: of an independent generator's directories (`compat/original`), read by an
//! independent reader and compared field by field; and once more taken over and given back, byte by byte.
//!
//! `SEAWAY_ORIGINAL_SEEDS=3000` makes it as many directories, `SEAWAY_ORIGINAL_FIRST=17 SEAWAY_ORIGINAL_SEEDS=1` one certain.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../original/tests/example/mod.rs"]
mod example;
#[path = "../../original/tests/generator/mod.rs"]
mod generator;
mod taken_over;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use generator::{generate_seeds, listing, options, read, seeds};
use seaway_adoption::export::{self, Severity};
use seaway_adoption::{Cipher, Encryption, Error, ExportOptions, Exported, Options, Outcome, Progress, adopt};
use seaway_original::{Key, SealCipher};
use serde_json::Value;
use taken_over::Subscription;

const SEEDS: u64 = 60;

#[test]
fn generated_directories_come_back_field_by_field() {
    let folder = tempfile::tempdir().unwrap();
    let seeds = seeds(SEEDS);
    if !generate_seeds(folder.path(), &seeds) {
        return;
    }
    let mut counts = BTreeMap::<&str, u64>::new();
    for seed in seeds.clone() {
        let folder = folder.path().join(seed.to_string());
        let expected: Value = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
        for what in one(seed, &folder, &expected) {
            *counts.entry(what).or_default() += 1;
        }
    }
    if seeds.count() as u64 >= SEEDS {
        // What was never met was never tested.
        for what in [
            "messages",
            "clients",
            "durables",
            "groups",
            "pending",
            "encrypted",
            "sealed",
            "again",
            "digest",
        ] {
            assert!(counts.contains_key(what), "no directory has {what}: {counts:?}");
        }
    }
}

fn taken(data: &Path, store: &Path, options: seaway_original::Options, encryption: Option<Encryption>) -> bool {
    let options = Options {
        original: options,
        to: Some(store.to_owned()),
        cluster_id: None,
        accepts_losses: true,
        payloads_are_plain: true,
        encryption,
    };
    let named = Options {
        cluster_id: Some("c9".to_owned()),
        ..options.clone()
    };
    let adopted = adopt(data, &options, &Progress::default());
    let adopted = match adopted {
        Err(Error::Refused(text)) if text.contains("--cluster-id") => adopt(data, &named, &Progress::default()),
        adopted => adopted,
    };
    match adopted {
        Ok(Outcome::Adopted(_)) => true,
        Err(Error::Findings(_)) => false,
        other => panic!("{other:?}"),
    }
}

fn exported(store: &Path, directory: &Path, options: &ExportOptions) -> Result<Exported, Error> {
    export::export(store, directory, options, &Progress::default(), |_| {})
}

/// One directory; says what it had.
fn one(seed: u64, folder: &Path, expected: &Value) -> Vec<&'static str> {
    let mut random = fastrand::Rng::with_seed(seed);
    let encryption = random
        .bool()
        .then(|| Encryption::new(Cipher::Aes256Gcm, b"another key".to_vec()).unwrap());
    let (store, back) = (folder.join("store"), folder.join("back"));
    let original = options(&expected["options"], folder);
    if !taken(&folder.join("data"), &store, original, encryption.clone()) {
        return Vec::new();
    }
    let cipher = random
        .choice([SealCipher::Aes256Gcm, SealCipher::ChaCha20Poly1305])
        .unwrap();
    let is_sealed = random.u8(0..4) == 0;
    let export_options = ExportOptions {
        encryption: encryption.clone(),
        seal: is_sealed.then(|| (Key::new(b"third key"), cipher)),
        accepts_losses: false,
    };
    let before = listing(&store);
    let surveyed = export::survey(&store, &export_options).unwrap();
    let made = exported(&store, &back, &export_options).unwrap();
    assert_eq!(listing(&store), before, "seed {seed}: the store was changed");
    assert_eq!(
        (
            surveyed.messages,
            surveyed.pending,
            surveyed.subscriptions,
            &surveyed.notes
        ),
        (made.messages, made.pending, made.subscriptions, &made.notes),
        "seed {seed}"
    );
    let odd = made
        .notes
        .iter()
        .find(|note| note.severity == Severity::Loss || note.kind == "empty_channel");
    assert_eq!((odd, made.filled), (None, 0), "seed {seed}");
    let says_plain = made.notes.iter().any(|note| note.kind == "plain_payloads");
    assert_eq!(says_plain, encryption.is_some() && !is_sealed, "seed {seed}");
    let found = read(&back, is_sealed.then_some("third key"));
    let mut had = compare(
        seed,
        &found,
        &expected["report"],
        &expected["digests"],
        &expected["logged"],
    );
    had.extend(is_sealed.then_some("sealed"));
    had.extend(encryption.is_some().then_some("encrypted"));
    if !is_sealed {
        let (store, again) = (folder.join("store again"), folder.join("again"));
        assert!(
            taken(&back, &store, seaway_original::Options::default(), None),
            "seed {seed}"
        );
        exported(&store, &again, &ExportOptions::default()).unwrap();
        assert_eq!(relative(&again), relative(&back), "seed {seed}: not the same again");
        had.push("again");
    }
    had
}

/// Names below a directory, and contents.
fn relative(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = listing(directory).into_iter();
    files
        .map(|(path, bytes)| (path.strip_prefix(directory).unwrap().to_owned(), bytes))
        .collect()
}

/// What the independent reader finds is what the independent generator has put there, as a start of the original would have it.
fn compare(seed: u64, found: &Value, report: &Value, digests: &Value, logged: &Value) -> Vec<&'static str> {
    let mut had = Vec::new();
    if let Some(server) = report["server"].as_object() {
        for key in [
            "cluster_id",
            "discovery",
            "publish",
            "subscribe",
            "unsubscribe",
            "close",
        ] {
            assert_eq!(found["server"][key], server[key], "seed {seed}: {key}");
        }
        let cluster_id = server["cluster_id"].as_str().unwrap();
        let stored = server["sub_close"].as_str().filter(|subject| !subject.is_empty());
        let usual = format!("_STAN.subclose.{cluster_id}");
        assert_eq!(found["server"]["sub_close"], stored.unwrap_or(&usual), "seed {seed}");
        assert_eq!(
            found["server"]["acks"],
            format!("_STAN.ack.{cluster_id}"),
            "seed {seed}"
        );
    }
    assert_eq!(
        found["server"]["node_id"], "",
        "seed {seed}: it is no member of a cluster any more"
    );
    assert_eq!(found["clients"], report["clients"], "seed {seed}");
    had.extend((!report["clients"].as_array().unwrap().is_empty()).then_some("clients"));
    let channels = report["channels"].as_array().unwrap();
    let names: Vec<&str> = channels
        .iter()
        .map(|channel| channel["name"].as_str().unwrap())
        .collect();
    let mut found_names: Vec<&str> = found["channels"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    found_names.sort_unstable();
    assert_eq!(found_names, names, "seed {seed}");
    for channel in channels {
        let name = channel["name"].as_str().unwrap();
        let back = &found["channels"][name];
        let number = |value: &Value| value.as_u64().unwrap();
        let missing = number(&channel["missing"]);
        for key in ["first_sequence", "last_sequence"] {
            assert_eq!(back[key], channel[key], "seed {seed}: {key} of {name}");
        }
        assert_eq!(
            number(&back["messages"]),
            number(&channel["messages"]) + missing,
            "seed {seed}: {name}"
        );
        had.extend((number(&back["messages"]) > 0).then_some("messages"));
        if missing == 0 && logged[name].is_null() {
            // Sequences, times, reply subjects and payloads.
            assert_eq!(back["digest"], digests[name], "seed {seed}: the messages of {name}");
            had.push("digest");
        }
        had.extend(compare_subscriptions(seed, name, channel, back));
    }
    had
}

fn compare_subscriptions(seed: u64, name: &str, channel: &Value, back: &Value) -> Vec<&'static str> {
    let last = channel["last_sequence"].as_u64().unwrap();
    let written = channel["subscriptions"].as_array().unwrap();
    let mut wanted = taken_over::expected(written, last);
    // The place of a durable queue group has no client, whoever was its last member.
    for one in wanted.iter_mut().filter(|one| one.is_offline && !one.queue.is_empty()) {
        one.client.clear();
    }
    wanted.sort();
    let found = back["subscriptions"].as_array().unwrap();
    let mut subscriptions: Vec<Subscription> = found.iter().map(subscription).collect();
    subscriptions.sort();
    assert_eq!(subscriptions, wanted, "seed {seed}: {name}");
    for one in found {
        let written = written.iter().find(|written| written["inbox"] == one["inbox"]).unwrap();
        let ranges = written["pending_ranges"].as_array().unwrap().iter();
        let bound = |range: &Value, end: usize| range[end].as_u64().unwrap();
        let expected: Vec<u64> = ranges
            .flat_map(|range| bound(range, 0)..=bound(range, 1))
            .filter(|sequence| *sequence <= last)
            .collect();
        let pending: Vec<u64> = serde_json::from_value(one["pending"].clone()).unwrap();
        assert_eq!(pending, expected, "seed {seed}: {name}: {}", one["inbox"]);
    }
    let any = |is: fn(&Subscription) -> bool| wanted.iter().any(is);
    let had = [
        any(|one| one.pending > 0).then_some("pending"),
        any(|one| !one.durable.is_empty()).then_some("durables"),
        any(|one| !one.queue.is_empty()).then_some("groups"),
    ];
    had.into_iter().flatten().collect()
}

/// As `taken_over` shows them.
fn subscription(one: &Value) -> Subscription {
    let text = |key: &str| one[key].as_str().unwrap().to_owned();
    let is = |key: &str| one[key].as_bool().unwrap();
    let number = |key: &str| one[key].as_u64().unwrap();
    let is_group_place = is("is_durable") && text("client_id").is_empty();
    Subscription {
        durable: text("durable_name"),
        queue: text("queue_group"),
        client: text("client_id"),
        inbox: text("inbox"),
        ack_inbox: text("ack_inbox"),
        is_offline: is("is_closed") || is_group_place,
        max_in_flight: usize::try_from(number("max_in_flight")).unwrap(),
        ack_wait: i32::try_from(number("ack_wait_seconds")).unwrap(),
        last_sent: number("last_sent"),
        pending: one["pending"].as_array().unwrap().len(),
    }
}

/// Specification §3.14: what a stop in order leaves is written as it was, byte by byte.
#[test]
fn the_worked_example_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (data, store, back) = (
        folder.path().join("data"),
        folder.path().join("store"),
        folder.path().join("back"),
    );
    std::fs::create_dir_all(data.join("foo")).unwrap();
    for (name, bytes) in example::files() {
        std::fs::write(data.join(name), bytes).unwrap();
    }
    assert!(taken(&data, &store, seaway_original::Options::default(), None));
    let made = exported(&store, &back, &ExportOptions::default()).unwrap();
    assert_eq!(
        (made.messages, made.bytes, made.subscriptions, made.pending),
        (2, 128, 1, 1)
    );
    let mut names: Vec<String> = relative(&back)
        .iter()
        .map(|(path, _)| path.display().to_string())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "clients.dat",
            "foo/msgs.1.dat",
            "foo/msgs.1.idx",
            "foo/subs.dat",
            "server.dat"
        ]
    );
    for (name, bytes) in example::files() {
        if ["server.dat", "foo/msgs.1.dat", "foo/msgs.1.idx"].contains(&name) {
            assert_eq!(std::fs::read(back.join(name)).unwrap(), bytes, "{name}");
        }
    }
}

#[test]
fn nothing_that_is_there_is_replaced_and_what_an_attempt_left_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(path("data/foo")).unwrap();
    for (name, bytes) in example::files() {
        std::fs::write(path("data").join(name), bytes).unwrap();
    }
    assert!(taken(
        &path("data"),
        &path("store"),
        seaway_original::Options::default(),
        None
    ));
    let refused = |directory: &Path, words: &str| {
        let before = listing(folder.path());
        let error = exported(&path("store"), directory, &ExportOptions::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{words}: {error}");
        assert_eq!(listing(folder.path()), before, "{words}");
    };
    refused(&path("data"), "is not empty");
    refused(&path("data/server.dat"), "is no directory");
    refused(&path("store/new"), "lies in the directory of the store");
    // Somebody's folder that is called like an attempt.
    std::fs::create_dir(path("new.exporting")).unwrap();
    std::fs::write(path("new.exporting/mine"), b"mine").unwrap();
    refused(&path("new"), "no export has made it");
    // An attempt that somebody still makes, and one that was killed.
    let mark = std::fs::File::create(path("new.exporting/.seaway-export")).unwrap();
    mark.lock().unwrap();
    refused(&path("new"), "another export writes");
    drop(mark);
    std::fs::create_dir(path("new.exporting/foo")).unwrap();
    std::fs::create_dir(path("new")).unwrap();
    exported(&path("store"), &path("new"), &ExportOptions::default()).unwrap();
    assert!(!path("new.exporting").exists() && !path("new/mine").exists());
    assert_eq!(listing(&path("new")).len(), 5);
    let mode = std::fs::metadata(path("new")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o700, "for its owner alone");
    // No store, and no directory.
    for (store, words) in [("data", "holds no store"), ("nowhere", "cannot read")] {
        let error = exported(&path(store), &path("other"), &ExportOptions::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{words}: {error}");
        assert!(!path("other").exists() && !path("other.exporting").exists());
    }
}
