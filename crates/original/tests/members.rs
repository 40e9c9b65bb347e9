//! Members of clusters: their Raft directories, as the original's libraries write them (`golden/`), and damaged.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod encoder;

use std::fs;
use std::path::{Path, PathBuf};

use encoder::{HEADER, blob, message, record};
use fastrand::Rng;
use seaway_original::{Finding, Kind, Options, Report, Severity, Status, Verdict, check};

const FILES: [&str; 3] = [
    "raft.log",
    "snapshots/2-3-1700000000000/meta.json",
    "snapshots/2-3-1700000000000/state.bin",
];
const DIRECTORIES: u64 = 400;

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    fs::read(path).unwrap()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A member's store, which has messages 1 to `last` of `foo`.
fn store(folder: &Path, last: u64) -> PathBuf {
    let data = folder.join("data");
    let server = record(0, &[blob(1, b"c"), blob(9, b"node")].concat());
    write(&data, "server.dat", &[&HEADER[..], &server].concat());
    write(&data, "clients.dat", &HEADER);
    write(&data, "foo/subs.dat", &HEADER);
    let records = (1..=last).flat_map(|sequence| record(0, &message(sequence, "foo", b"", 1)));
    write(
        &data,
        "foo/msgs.1.dat",
        &HEADER.into_iter().chain(records).collect::<Vec<u8>>(),
    );
    data
}

fn read(data: &Path, raft: Option<PathBuf>) -> Report {
    let options = Options {
        raft_directory: raft,
        ..Options::default()
    };
    check(data, &options, |_| {}).unwrap()
}

fn find(report: &Report, kind: Kind) -> Option<&Finding> {
    report.findings.iter().find(|finding| finding.kind == kind)
}

/// Specification §6.9, §6.11, §6.13.
#[test]
fn what_the_libraries_of_the_original_write_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let data = store(folder.path(), 50);
    // A log path has the cluster ID below it; both may be named.
    for below in ["raft", "named/c"] {
        for name in FILES {
            write(&folder.path().join(below), name, &golden(name));
        }
    }
    for named in ["raft", "named", "named/c"] {
        let report = read(&data, Some(folder.path().join(named)));
        assert!(report.clustered);
        let raft = report.raft.unwrap();
        assert_eq!((raft.last_term, raft.last_index, raft.entries), (2, 66, 66));
        assert_eq!((raft.snapshot_term, raft.snapshot_index), (2, 3));
        assert!(report.clients.is_empty(), "the client left");
        let [durable] = &report.channels[0].subscriptions[..] else {
            panic!("{:?}", report.channels)
        };
        assert_eq!((durable.status, durable.last_sent), (Status::Offline, 10));
        assert_eq!(
            (durable.client_id.as_str(), durable.durable_name.as_str()),
            ("me", "dur")
        );
        assert_eq!(durable.pending_ranges, [(4, 6), (8, 10)]);
        let logged = find(&report, Kind::MessagesOnlyInRaftLog).unwrap();
        assert_eq!((logged.count, logged.sequence), (Some(10), Some(51)));
        assert_eq!(report.verdict, Verdict::Ready);
        let [channel] = &report.channels[..] else {
            panic!("{:?}", report.channels)
        };
        assert_eq!((channel.messages, channel.missing), (60, 0));
        assert_eq!((channel.first_sequence, channel.last_sequence), (1, 60));
    }
}

#[test]
fn a_member_without_its_raft_directory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = store(folder.path(), 3);
    for named in [None, Some(folder.path().to_owned())] {
        let report = read(&data, named);
        let finding = find(&report, Kind::RaftDirectory).unwrap();
        assert_eq!(finding.severity, Severity::Refusal);
        assert!(finding.kind.words().1.contains("--raft-dir"));
        assert_eq!(report.verdict, Verdict::Refused);
    }
}

#[test]
fn a_damaged_log_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let data = store(folder.path(), 3);
    let raft = folder.path().join("raft");
    write(&raft, "raft.log", b"not a database");
    let report = read(&data, Some(raft.clone()));
    assert_eq!(find(&report, Kind::RaftLogDamaged).unwrap().offset, Some(0));
    // One meta page is enough.
    let mut log = golden("raft.log");
    log[20] ^= 1;
    write(&raft, "raft.log", &log);
    assert_eq!(read(&data, Some(raft.clone())).raft.unwrap().last_index, 66);
    log[4096 + 20] ^= 1;
    write(&raft, "raft.log", &log);
    assert!(find(&read(&data, Some(raft)), Kind::RaftLogDamaged).is_some());
}

/// `SEAWAY_ORIGINAL_HOSTILE=100000` tries so many directories.
#[test]
fn no_bytes_of_a_raft_directory_make_it_panic_or_write() {
    let count = std::env::var("SEAWAY_ORIGINAL_HOSTILE").map_or(DIRECTORIES, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let data = store(folder.path(), 3);
    let raft = folder.path().join("raft");
    let (mut whole, mut damaged) = (0, 0);
    for seed in 0..count {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let mut files = FILES.map(|name| (name, golden(name)));
        for _ in 0..random.u8(1..8) {
            let (_, bytes) = &mut files[[0, 0, 0, 1, 2][random.usize(..5)]];
            mutate(bytes, &mut random);
        }
        for (name, bytes) in &files {
            write(&raft, name, bytes);
        }
        let report = read(&data, Some(raft.clone()));
        match find(&report, Kind::RaftLogDamaged) {
            Some(_) => damaged += 1,
            None => whole += 1,
        }
        for (name, bytes) in &files {
            assert!(fs::read(raft.join(name)).unwrap() == *bytes, "{name} was changed");
        }
    }
    assert!(
        whole > count / 20 && damaged > count / 20,
        "{whole} whole, {damaged} damaged"
    );
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Rng) {
    if bytes.is_empty() {
        return;
    }
    // Heads of pages and elements are where a reader can be led astray.
    let page = random.usize(..bytes.len() / 4096 + 1) * 4096;
    let at = (page + random.usize(..200)).min(bytes.len() - 1);
    match random.u8(0..6) {
        0 => bytes[at] ^= 1 << random.u8(0..8),
        1 => bytes[at] = random.u8(..),
        2 if random.u8(0..8) == 0 => bytes.truncate(at),
        3 => {
            let end = (at + 8).min(bytes.len());
            bytes[at..end].fill([0, 0xFF, 1][random.usize(..3)]);
        }
        4 => {
            // A page in another's place.
            let from = random.usize(..bytes.len() / 4096 + 1) * 4096;
            let copied: Vec<u8> = bytes.iter().skip(from).take(4096).copied().collect();
            for (target, byte) in bytes.iter_mut().skip(page).zip(copied) {
                *target = byte;
            }
        }
        _ => {
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 << random.u8(0..8);
        }
    }
}
