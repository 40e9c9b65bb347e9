//! The size of a channel costs no memory: what `check` takes for hundreds of megabytes is what it takes for a few.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod encoder;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use encoder::{HEADER, blob, index_entry, message, number, record};
use seaway_original::{Options, check};

/// What reading may take besides the largest message: two windows, tables and the report.
const MEMORY_BYTES_MAX: u64 = 4 << 20;
const MESSAGES: u64 = 400_000;
const PAYLOAD_BYTES: usize = 400;

/// The most memory this process ever had.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// One slice; restarts make it the hard case for a reader without an index.
fn write_slice(folder: &Path, number: u64, first: u64, count: u64, has_index: bool) {
    let create = |ending| BufWriter::new(File::create(folder.join(format!("msgs.{number}.{ending}"))).unwrap());
    let (mut data, mut index) = (create("dat"), create("idx"));
    data.write_all(&HEADER).unwrap();
    index.write_all(&HEADER).unwrap();
    // The checksum bit by bit is slow: the same payload each time, and only its end differs.
    let mut offset = 4;
    for sequence in first..first + count {
        let payload = [sequence as u8; PAYLOAD_BYTES];
        let bytes = record(
            0,
            &message(sequence, "big", &payload, 1_600_000_000_000_000_000 + sequence),
        );
        index
            .write_all(&index_entry(sequence, offset, 1, bytes.len() - 8))
            .unwrap();
        data.write_all(&bytes).unwrap();
        offset += bytes.len() as u64;
    }
    if !has_index {
        std::fs::remove_file(folder.join(format!("msgs.{number}.idx"))).unwrap();
    }
}

#[test]
fn a_large_channel_takes_no_more_memory_than_a_small_one() {
    let folder = tempfile::tempdir().unwrap();
    let channel = folder.path().join("big");
    std::fs::create_dir(&channel).unwrap();
    write_slice(&channel, 1, 1, MESSAGES / 2, true);
    write_slice(&channel, 2, 1 + MESSAGES / 2, MESSAGES / 2, false);
    let mut subs = BufWriter::new(File::create(channel.join("subs.dat")).unwrap());
    subs.write_all(&HEADER).unwrap();
    let state = [
        number(1, 1),
        blob(2, b"me"),
        blob(4, b"in"),
        blob(5, b"ack"),
        blob(8, b"dur"),
    ]
    .concat();
    subs.write_all(&record(1, &state)).unwrap();
    for sequence in 1..=MESSAGES {
        subs.write_all(&record(5, &[number(1, 1), number(2, sequence)].concat()))
            .unwrap();
    }
    drop(subs);

    let before = peak_bytes();
    let report = check(folder.path(), &Options::default(), |_| {}).unwrap();
    let taken = peak_bytes() - before;

    assert_eq!(report.totals.messages, MESSAGES);
    assert_eq!(report.totals.pending, MESSAGES);
    assert!(report.disk.files_bytes > MESSAGES * PAYLOAD_BYTES as u64);
    println!(
        "{} bytes of files read with {taken} bytes of memory",
        report.disk.files_bytes
    );
    assert!(taken < MEMORY_BYTES_MAX, "{taken} bytes of memory");
}
