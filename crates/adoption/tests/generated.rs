//! Directories of an independent generator (`compat/original`), taken over, and compared field by field with what it put there: an engine
//! is started on the store, its messages are read. Then everything is put back.
//!
//! `SEAWAY_ORIGINAL_SEEDS=3000` makes it as many directories, `SEAWAY_ORIGINAL_FIRST=17 SEAWAY_ORIGINAL_SEEDS=1` one certain.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../original/tests/generator/mod.rs"]
mod generator;
mod taken_over;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use generator::{generate_seeds, listing, options, seeds, without_lock, without_undone};
use seaway_adoption::{Cipher, Encryption, Options, Outcome, Progress, adopt, undo};
use seaway_original::{Directory, Findings};
use serde_json::Value;
use taken_over::{Message, Subscription, TakenOver};

const SEEDS: u64 = 60;

#[test]
fn generated_directories_are_taken_over_field_by_field_and_given_back() {
    // Ack inboxes of the store stay what they are (SubAckInboxFromOlderStore): they are compared like every other field.
    let folder = tempfile::tempdir().unwrap();
    let seeds = seeds(SEEDS);
    if !generate_seeds(folder.path(), &seeds) {
        return;
    }
    let mut counts = BTreeMap::<&str, u64>::new();
    for seed in seeds.clone() {
        let folder = folder.path().join(seed.to_string());
        let expected: Value = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
        let mut random = fastrand::Rng::with_seed(seed);
        let place = random.bool().then(|| folder.join("new"));
        for what in one(seed, &folder, &expected, place.as_deref(), &mut random) {
            *counts.entry(what).or_default() += 1;
        }
    }
    if seeds.count() as u64 >= SEEDS {
        // What was never met was never tested.
        for what in [
            "in place",
            "elsewhere",
            "only logged",
            "messages",
            "filled",
            "pending",
            "clients",
            "durables",
            "groups",
            "clustered",
            "decrypted",
            "encrypted",
            "decreasing",
        ] {
            assert!(counts.contains_key(what), "no directory has {what}: {counts:?}");
        }
    }
}

/// One directory; says what it had.
fn one(
    seed: u64,
    folder: &Path,
    expected: &Value,
    place: Option<&Path>,
    random: &mut fastrand::Rng,
) -> Vec<&'static str> {
    let data = folder.join("data");
    let before = listing(&data);
    let encryption = random
        .bool()
        .then(|| Encryption::new(Cipher::Aes256Gcm, b"another key".to_vec()).unwrap());
    let original = options(&expected["options"], folder);
    let options = Options {
        original: original.clone(),
        to: place.map(Path::to_owned),
        cluster_id: expected["report"]["server"].is_null().then(|| "c9".to_owned()),
        accepts_losses: true,
        payloads_are_plain: true,
        encryption: encryption.clone(),
    };
    let mut messages = original_messages(&data, &original, &expected["digests"], seed);
    let logged = add_logged(&mut messages, &expected["logged"]);
    let outcome = adopt(&data, &options, &Progress::default());
    let adopted = match outcome {
        Ok(Outcome::Adopted(adopted)) => adopted,
        other => panic!("seed {seed}: {other:?}"),
    };
    let mut had = vec![if place.is_some() { "elsewhere" } else { "in place" }];
    had.extend(logged.then_some("only logged"));
    let store = place.unwrap_or(&data);
    let mut taken = TakenOver::open(store, &adopted.cluster_id, encryption.clone());
    had.extend(compare(seed, &mut taken, &expected["report"], &messages, random));
    taken.close();
    if expected["options"]["key"] == "mykey" {
        had.push("decrypted");
    }
    had.extend(encryption.is_some().then_some("encrypted"));
    match place {
        Some(_) => assert_eq!(listing(&data), before, "seed {seed}: something was changed"),
        None => {
            let loss = undo::loss(&data, encryption.clone()).unwrap();
            assert_eq!((loss.messages, loss.channels.len()), (0, 0), "seed {seed}: {loss:?}");
            undo::undo(&data).unwrap();
            let after = without_undone(listing(&data));
            assert_eq!(without_lock(after), without_lock(before), "seed {seed}: not as it was");
        }
    }
    had
}

/// Adds those that only a member's Raft log has (§6.13); whether there are any.
fn add_logged(messages: &mut BTreeMap<String, Vec<Message>>, logged: &Value) -> bool {
    for (name, logged) in logged.as_object().unwrap() {
        let logged: Vec<(u64, i64, String)> = serde_json::from_value(logged.clone()).unwrap();
        let logged = logged.into_iter().map(|(sequence, timestamp, payload)| Message {
            sequence,
            timestamp,
            reply: Vec::new(),
            data: payload.into_bytes(),
        });
        messages.entry(name.clone()).or_default().extend(logged);
    }
    !logged.as_object().unwrap().is_empty()
}

/// The messages of each channel as the reader finds them, which are those that the generator says.
fn original_messages(
    data: &Path,
    options: &seaway_original::Options,
    digests: &Value,
    seed: u64,
) -> BTreeMap<String, Vec<Message>> {
    let mut findings = Findings::default();
    let directory = Directory::open(data, options, &mut findings).unwrap();
    let names: Vec<Vec<u8>> = directory.channel_names().map(<[u8]>::to_vec).collect();
    let mut all = BTreeMap::new();
    for (position, name) in names.iter().enumerate() {
        let channel = directory.channel(position, &mut findings).unwrap();
        let opener = directory.key().map(|key| key.of_channel(name));
        let mut digest = Context::new(&SHA256);
        let mut messages = channel.messages(&mut findings);
        let mut found = Vec::new();
        while let Some(message) = messages.next().unwrap() {
            let opened = opener.as_ref().and_then(|opener| opener.open(message.data).ok());
            let data = opened.as_deref().unwrap_or(message.data);
            digest.update(&message.sequence.to_le_bytes());
            digest.update(&message.timestamp_ns.to_le_bytes());
            digest.update(&u32::try_from(message.reply.len()).unwrap().to_le_bytes());
            digest.update(&u32::try_from(data.len()).unwrap().to_le_bytes());
            digest.update(message.reply);
            digest.update(data);
            found.push(Message {
                sequence: message.sequence,
                timestamp: message.timestamp_ns,
                reply: message.reply.to_vec(),
                data: data.to_vec(),
            });
        }
        let digest: String = digest
            .finish()
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let name = String::from_utf8(name.clone()).unwrap();
        assert_eq!(digests[&name], digest, "seed {seed}: the messages of {name}");
        all.insert(name, found);
    }
    all
}

fn compare(
    seed: u64,
    taken: &mut TakenOver,
    report: &Value,
    originals: &BTreeMap<String, Vec<Message>>,
    random: &mut fastrand::Rng,
) -> Vec<&'static str> {
    let mut had = Vec::new();
    if let Some(server) = report["server"].as_object() {
        let subjects = taken.subjects();
        let text = |key: &str| server[key].as_str().unwrap().to_owned();
        let told = [
            &subjects.discover,
            &subjects.publish_prefix,
            &subjects.subscribe,
            &subjects.unsubscribe,
            &subjects.close,
        ];
        for (subject, key) in told
            .into_iter()
            .zip(["discovery", "publish", "subscribe", "unsubscribe", "close"])
        {
            assert_eq!(*subject, text(key), "seed {seed}: {key}");
        }
        let usual = format!("_STAN.subclose.{}", text("cluster_id"));
        let sub_close = Some(text("sub_close"))
            .filter(|stored| !stored.is_empty())
            .unwrap_or(usual);
        assert_eq!(subjects.subscription_close, sub_close, "seed {seed}");
    }
    let clients: Vec<(String, String)> = report["clients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|client| {
            (
                client["id"].as_str().unwrap().to_owned(),
                client["heartbeat_inbox"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(taken.clients(), clients, "seed {seed}");
    had.extend((!clients.is_empty()).then_some("clients"));
    had.extend((report["clustered"] == true).then_some("clustered"));
    let channels = report["channels"].as_array().unwrap();
    let mut names: BTreeSet<String> = channels
        .iter()
        .map(|channel| channel["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(originals.keys().all(|name| names.contains(name)));
    for channel in channels {
        let name = channel["name"].as_str().unwrap();
        let expected = filled(originals.get(name).map_or(&[][..], |found| found));
        let found = taken.messages(name);
        assert_eq!(found, expected, "seed {seed}: {name}");
        had.extend((!expected.is_empty()).then_some("messages"));
        had.extend((channel["missing"].as_u64() > Some(0)).then_some("filled"));
        had.extend((channel["decreasing_times"].as_u64() > Some(0)).then_some("decreasing"));
        // §1.4: a start by time begins at the first message that is not older.
        for _ in 0..5 {
            let Some(at) = random.choice(&expected) else { break };
            let time = at.timestamp.saturating_add(random.i64(-1..=1));
            let first = expected.iter().find(|message| message.timestamp >= time);
            let first = first.map_or(expected.last().unwrap().sequence + 1, |message| message.sequence);
            assert_eq!(taken.seek(name, time), first, "seed {seed}: {name} at {time}");
        }
        let last = channel["last_sequence"].as_u64().unwrap();
        let wanted = taken_over::expected(channel["subscriptions"].as_array().unwrap(), last);
        let mut subscriptions = taken.subscriptions(name);
        subscriptions.sort();
        assert_eq!(subscriptions, wanted, "seed {seed}: {name}");
        let any = |is: fn(&Subscription) -> bool| wanted.iter().any(is);
        had.extend(any(|one| one.pending > 0).then_some("pending"));
        had.extend(any(|one| !one.durable.is_empty()).then_some("durables"));
        had.extend(any(|one| !one.queue.is_empty()).then_some("groups"));
        names.remove(name);
    }
    assert!(names.is_empty());
    assert_eq!(taken.channel_count(), channels.len(), "seed {seed}");
    had
}

/// Empty messages take the place of missing ones, with the time of the one behind them.
fn filled(messages: &[Message]) -> Vec<Message> {
    let mut all: Vec<Message> = Vec::new();
    for message in messages {
        if let Some(last) = all.last().map(|last| last.sequence) {
            all.extend((last + 1..message.sequence).map(|sequence| Message {
                sequence,
                timestamp: message.timestamp,
                reply: Vec::new(),
                data: Vec::new(),
            }));
        }
        all.push(message.clone());
    }
    all
}
