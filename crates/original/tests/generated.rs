//! Directories of an independent generator (`compat/original`), which says itself what must be found in them; and the worked
//! example of the specification.
//!
//! `SEAWAY_ORIGINAL_SEEDS=3000` makes it as many directories, `SEAWAY_ORIGINAL_FIRST=17 SEAWAY_ORIGINAL_SEEDS=1` one certain.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod generator;

use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use generator::{generate, generate_seeds, listing, options, seeds};
use seaway_original::{Directory, Findings, Options, check};
use serde_json::Value;

const SEEDS: u64 = 300;

/// Specification §3 in full: `check` finds field by field what the generator put there, and the messages have their content.
#[test]
fn generated_directories_are_read_field_by_field() {
    let folder = tempfile::tempdir().unwrap();
    let seeds = seeds(SEEDS);
    if !generate_seeds(folder.path(), &seeds) {
        return;
    }
    let mut kinds = std::collections::BTreeMap::<String, u32>::new();
    for seed in seeds.clone() {
        let folder = folder.path().join(seed.to_string());
        let expected: Value = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
        let before = listing(&folder.join("data"));
        let options = options(&expected["options"], &folder);
        let report = check(&folder.join("data"), &options, |_| {}).unwrap();
        let found = serde_json::to_value(report).unwrap();
        let mut differences = Vec::new();
        compare("", &expected["report"], &found, &mut differences);
        compare_findings(&expected["report"]["findings"], &found["findings"], &mut differences);
        assert!(differences.is_empty(), "seed {seed}:\n{}", differences.join("\n"));
        compare_content(&folder.join("data"), &options, &expected["digests"], seed);
        assert!(
            before == listing(&folder.join("data")),
            "seed {seed}: something was changed"
        );
        for finding in expected["report"]["findings"].as_array().unwrap() {
            *kinds.entry(finding["kind"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    if seeds.count() as u64 >= SEEDS {
        // What was never met was never tested.
        for kind in KINDS {
            assert!(kinds.contains_key(*kind), "no directory has {kind}: {kinds:?}");
        }
    }
}

const KINDS: &[&str] = &[
    "archived_slice",
    "compaction_leftover",
    "decreasing_times",
    "duplicate_sequences",
    "gap",
    "ghost_member",
    "index_ahead",
    "index_behind",
    "index_damaged",
    "index_missing",
    "index_without_data",
    "looks_encrypted",
    "message_damaged",
    "messages_missing",
    "messages_only_in_raft_log",
    "no_channel",
    "no_header",
    "orphan_subscription",
    "position_beyond_end",
    "server_info_damaged",
    "server_info_missing",
    "slice_name",
    "snapshot_damaged",
    "superseded_records",
    "torn_tail",
    "truncate_witness",
    "undecryptable",
    "unindexed_bytes",
    "unknown_file",
    "unknown_record",
    "unreadable_bytes",
    "zero_tail",
];

/// Every field that is expected is there, and equal; lists have the same length.
fn compare(path: &str, expected: &Value, found: &Value, differences: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (name, expected) in expected {
                let path = format!("{path}.{name}");
                match found.get(name) {
                    _ if name == "findings" => {}
                    Some(found) => compare(&path, expected, found, differences),
                    None => differences.push(format!("{path} is missing")),
                }
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            if expected.len() != found.len() {
                differences.push(format!("{path}: {} expected, {} found", expected.len(), found.len()));
            }
            for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
                compare(&format!("{path}[{index}]"), expected, found, differences);
            }
        }
        _ if expected == found => {}
        _ => differences.push(format!("{path}: {expected} expected, {found} found")),
    }
}

/// Findings have no order.
fn compare_findings(expected: &Value, found: &Value, differences: &mut Vec<String>) {
    let mut found: Vec<Value> = found.as_array().unwrap().clone();
    for finding in &mut found {
        let finding = finding.as_object_mut().unwrap();
        for words in ["meaning", "action"] {
            let words = finding.remove(words).unwrap();
            assert!(!words.as_str().unwrap().is_empty());
        }
    }
    for finding in expected.as_array().unwrap() {
        match found.iter().position(|one| one == finding) {
            Some(position) => {
                found.remove(position);
            }
            None => differences.push(format!("not found: {finding}")),
        }
    }
    differences.extend(found.iter().map(|finding| format!("found beyond: {finding}")));
}

fn compare_content(data: &Path, options: &Options, digests: &Value, seed: u64) {
    let mut findings = Findings::default();
    let directory = Directory::open(data, options, &mut findings).unwrap();
    let names: Vec<Vec<u8>> = directory.channel_names().map(<[u8]>::to_vec).collect();
    for (position, name) in names.iter().enumerate() {
        let channel = directory.channel(position, &mut findings).unwrap();
        let opener = directory.key().map(|key| key.of_channel(name));
        let mut digest = Context::new(&SHA256);
        let mut messages = channel.messages(&mut findings);
        while let Some(message) = messages.next().unwrap() {
            assert_eq!(message.subject, name);
            let opened = opener.as_ref().and_then(|opener| opener.open(message.data).ok());
            let data = opened.as_deref().unwrap_or(message.data);
            digest.update(&message.sequence.to_le_bytes());
            digest.update(&message.timestamp_ns.to_le_bytes());
            digest.update(&u32::try_from(message.reply.len()).unwrap().to_le_bytes());
            digest.update(&u32::try_from(data.len()).unwrap().to_le_bytes());
            digest.update(message.reply);
            digest.update(data);
        }
        let digest: String = digest
            .finish()
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let name = String::from_utf8_lossy(name);
        assert_eq!(digests[name.as_ref()], digest, "seed {seed}: the messages of {name}");
    }
}

/// The generator's own encoders make the bytes of specification §3.14, and its ciphers the vectors of §5.6.
#[test]
fn the_generator_makes_the_worked_example() {
    let folder = tempfile::tempdir().unwrap();
    if !generate(&["--self-test"]) || !generate(&["--example", folder.path().to_str().unwrap()]) {
        return;
    }
    for (name, bytes) in example::files() {
        assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), bytes, "{name}");
    }
}

mod example;
