//! What a directory may be besides sound and damaged: foreign, of another version, in use, named oddly.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod encoder;

use std::fs;
use std::path::Path;

use encoder::{HEADER, blob, index_entry, message, number, record};
use seaway_original::{Finding, Kind, Options, Report, Severity, Verdict, check};

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn read(folder: &Path) -> Report {
    check(folder, &Options::default(), |_| {}).unwrap()
}

fn has(report: &Report, severity: Severity, kind: Kind, file: &str) -> bool {
    let is_it = |finding: &Finding| (finding.severity, finding.kind, finding.file.as_str()) == (severity, kind, file);
    report.findings.iter().any(is_it)
}

fn server() -> Vec<u8> {
    [&HEADER[..], &record(0, &blob(1, b"test-cluster"))].concat()
}

fn slice(channel: &str, sequences: std::ops::Range<u64>) -> Vec<u8> {
    let records = sequences.map(|sequence| record(0, &message(sequence, channel, b"hi", 1_000)));
    HEADER.into_iter().chain(records.flatten()).collect()
}

/// Every refusal names what it is about, and what to do.
#[test]
fn what_is_no_directory_of_nats_streaming_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &Path| check(path, &Options::default(), |_| {}).unwrap_err().to_string();
    let missing = error(&folder.path().join("missing"));
    assert!(
        missing.contains("missing: cannot be read") && missing.contains("-dir"),
        "{missing}"
    );
    let empty = error(folder.path());
    assert!(
        empty.contains("holds no file of NATS Streaming") && empty.contains("-dir"),
        "{empty}"
    );
    write(folder.path(), "some/text", b"hello");
    assert!(error(folder.path()).contains("holds no file"));
    let file = error(&folder.path().join("some/text"));
    assert!(file.contains("text: cannot be read"), "{file}");
}

/// Specification §3.3: only version 1 is known.
#[test]
fn another_version_is_refused_and_the_rest_is_read() {
    for name in ["server.dat", "clients.dat", "foo/subs.dat", "foo/msgs.1.dat"] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "server.dat", &server());
        write(folder.path(), "bar/msgs.1.dat", &slice("bar", 1..4));
        write(folder.path(), name, &[2, 0, 0, 0, 9, 9]);
        let report = read(folder.path());
        assert_eq!(report.verdict, Verdict::Refused, "{name}");
        assert!(
            has(&report, Severity::Refusal, Kind::UnsupportedVersion, name),
            "{name}"
        );
        assert_eq!(report.totals.messages, 3, "{name}");
    }
}

/// Specification §2.2 and §3.2.
#[test]
fn directories_that_are_no_channels() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "server.dat", &server());
    write(folder.path(), "a..b/msgs.1.dat", &slice("a..b", 1..4));
    write(folder.path(), ".snapshot/notes", b"");
    write(folder.path(), "foo/msgs.1.dat", &slice("foo", 1..4));
    write(folder.path(), "foo/deeper/msgs.2.dat", &slice("foo", 4..6));
    write(folder.path(), "foo/msgs.03.dat", &slice("foo", 4..6));
    write(folder.path(), "foo/msgs.3.dat", &slice("foo", 6..8));
    write(folder.path(), "foo/msgs.+4.dat", &slice("foo", 8..9));
    std::os::unix::fs::symlink(folder.path().join("foo"), folder.path().join("link")).unwrap();
    let report = read(folder.path());
    assert!(has(&report, Severity::Loss, Kind::ChannelName, "a..b"));
    assert!(has(&report, Severity::Note, Kind::NoChannel, ".snapshot"));
    assert!(has(&report, Severity::Note, Kind::UnknownFile, "foo/deeper"));
    assert!(
        has(&report, Severity::Loss, Kind::SliceName, "foo/msgs.3.dat"),
        "two files of one number"
    );
    assert!(has(&report, Severity::Loss, Kind::SliceName, "foo/msgs.+4.dat"));
    assert!(has(&report, Severity::Note, Kind::UnknownFile, "link"));
    assert_eq!((report.totals.channels, report.totals.messages), (1, 5));
}

/// What a link leads to would stay elsewhere when the store is moved, and what it stands for is not passed over in silence.
#[test]
fn links_in_the_place_of_files_are_refused_by_name() {
    let names = [
        "server.dat",
        "clients.dat",
        "foo/msgs.1.dat",
        "foo/msgs.1.idx",
        "foo/msgs.2.dat",
        "foo/subs.dat",
    ];
    for linked in names {
        let (folder, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(folder.path(), "server.dat", &server());
        write(folder.path(), "clients.dat", &HEADER);
        write(folder.path(), "foo/msgs.1.dat", &slice("foo", 1..4));
        write(folder.path(), "foo/msgs.1.idx", &HEADER);
        write(folder.path(), "foo/msgs.2.dat", &slice("foo", 4..6));
        write(folder.path(), "foo/subs.dat", &HEADER);
        assert_ne!(read(folder.path()).verdict, Verdict::Refused);
        let target = away.path().join("file");
        let path = folder.path().join(linked);
        fs::copy(&path, &target).unwrap();
        for leads in [true, false] {
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(&target, &path).unwrap();
            let report = read(folder.path());
            assert!(
                has(&report, Severity::Refusal, Kind::SymbolicLink, linked),
                "{linked}, {leads}"
            );
            assert_eq!(report.verdict, Verdict::Refused, "{linked}, {leads}");
            if leads {
                fs::remove_file(&target).unwrap();
            }
        }
    }
}

/// Specification §3.16: an active server of a fault-tolerance group holds a lock on the whole file.
#[test]
fn a_directory_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "server.dat", &server());
    write(folder.path(), ".rootdir.lck", b"");
    assert_eq!(read(folder.path()).verdict, Verdict::Ready);
    // Whoever has a data file open is a server, for all that can be seen.
    let data = fs::File::open(folder.path().join("server.dat")).unwrap();
    let mut other = std::process::Command::new("cat")
        .stdin(std::process::Stdio::piped())
        .stdout(data)
        .spawn()
        .unwrap();
    let report = read(folder.path());
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(has(&report, Severity::Refusal, Kind::InUse, ""));
    assert_eq!(report.verdict, Verdict::Refused);
}

/// Specification §3.2: a stale index that was appended to names records that are not there.
#[test]
fn an_index_of_other_data_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "server.dat", &server());
    let data = slice("foo", 10..13);
    write(folder.path(), "foo/msgs.1.dat", &data);
    let last = record(0, &message(12, "foo", b"hi", 1_000)).len();
    let stale = [
        HEADER.to_vec(),
        index_entry(1, 4, 0, last - 8),
        index_entry(2, 4 + last as u64, 0, last - 8),
        // The end was appended by a server that found the index.
        index_entry(10, 4, 0, last - 8),
        index_entry(12, (data.len() - last) as u64, 0, last - 8),
    ];
    write(folder.path(), "foo/msgs.1.idx", &stale.concat());
    let report = read(folder.path());
    assert!(has(&report, Severity::Repair, Kind::IndexDamaged, "foo/msgs.1.idx"));
    assert_eq!((report.totals.messages, report.channels[0].first_sequence), (3, 10));
    assert_eq!(report.verdict, Verdict::Ready);
}

/// Sequences and times at the ends of their ranges.
#[test]
fn extreme_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let records = [
        record(0, &message(1, "foo", b"", 0)),
        record(0, &message(u64::MAX, "foo", b"", 1 << 63)),
    ];
    write(
        folder.path(),
        "foo/msgs.1.dat",
        &[&HEADER[..], &records.concat()].concat(),
    );
    let subs = [
        record(1, &[number(1, u64::MAX), blob(8, b"dur")].concat()),
        record(5, &[number(1, u64::MAX), number(2, u64::MAX)].concat()),
        record(5, &[number(1, u64::MAX), number(2, 0)].concat()),
    ];
    write(folder.path(), "foo/subs.dat", &[&HEADER[..], &subs.concat()].concat());
    let report = read(folder.path());
    let channel = &report.channels[0];
    assert_eq!((channel.messages, channel.missing), (2, u64::MAX - 2));
    assert_eq!(channel.last_time.as_deref(), Some("1677-09-21T00:12:43.145224192Z"));
    assert_eq!(channel.next_subscription_id, u64::MAX);
    assert_eq!(channel.subscriptions[0].pending_ranges, [(0, 0), (u64::MAX, u64::MAX)]);
}
