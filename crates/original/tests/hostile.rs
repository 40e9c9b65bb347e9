//! Any bytes: files are flipped, cut, spliced, filled with zeros and given other records with good checksums. `check` always ends,
//! with a report, without a panic, and changes nothing.
//!
//! `SEAWAY_ORIGINAL_HOSTILE=100000` tries so many directories, `SEAWAY_ORIGINAL_SEED=17` one certain.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod encoder;

use std::path::Path;

use encoder::{HEADER, blob, index_entry, message, number, record};
use fastrand::Rng;
use seaway_original::{Key, Options, Verdict, check};

const DIRECTORIES: u64 = 600;

type Files = Vec<(&'static str, Vec<u8>)>;

/// A sound directory with a bit of everything.
fn sound(random: &mut Rng) -> Files {
    let mut files: Files = Vec::new();
    let server: Vec<u8> = (1..=8).flat_map(|field| blob(field, b"subject")).collect();
    files.push(("server.dat", [&HEADER[..], &record(0, &server)].concat()));
    let client = [blob(1, b"me"), blob(2, b"hb"), number(4, 1)].concat();
    let leave = blob(1, b"you");
    files.push((
        "clients.dat",
        [&HEADER[..], &record(1, &client), &record(2, &leave)].concat(),
    ));
    let mut sequence = 1;
    for (data_name, index_name) in [
        ("foo/msgs.1.dat", "foo/msgs.1.idx"),
        ("foo/msgs.2.dat", "foo/msgs.2.idx"),
        ("bar/msgs.1.dat", "bar/msgs.1.idx"),
    ] {
        let (mut data, mut index) = (HEADER.to_vec(), HEADER.to_vec());
        for _ in 0..random.u64(0..8) {
            let payload = vec![random.u8(..); random.usize(0..50)];
            let bytes = record(0, &message(sequence, &data_name[..3], &payload, sequence * 1_000));
            index.extend(index_entry(
                sequence,
                data.len() as u64,
                sequence * 1_000,
                bytes.len() - 8,
            ));
            data.extend(bytes);
            sequence += 1;
        }
        files.push((data_name, data));
        if random.u8(0..4) > 0 {
            files.push((index_name, index));
        }
    }
    let mut subs = HEADER.to_vec();
    for id in 1..4 {
        subs.extend(record(
            1,
            &[number(1, id), blob(2, b"me"), blob(8, b"dur"), number(10, 1)].concat(),
        ));
        subs.extend(record(5, &[number(1, id), number(2, random.u64(1..9))].concat()));
        subs.extend(record(4, &[number(1, id), number(2, random.u64(1..9))].concat()));
    }
    files.push(("foo/subs.dat", subs));
    files
}

fn mutate(files: &mut Files, random: &mut Rng) {
    let other = files[random.usize(..files.len())].1.clone();
    let chosen = random.usize(..files.len());
    let name = files[chosen].0;
    let bytes = &mut files[chosen].1;
    let at = random.usize(..=bytes.len());
    match random.u8(0..10) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
        1 => bytes.truncate(at),
        2 => {
            let from = random.usize(..=other.len());
            bytes.splice(at..at, other[from..].iter().copied());
        }
        3 => {
            let end = random.usize(at..=bytes.len());
            bytes.drain(at..end);
        }
        4 => bytes[at..].fill(0),
        5 => bytes.extend(vec![0; random.usize(0..100)]),
        6 => {
            let garbage: Vec<u8> = (0..random.usize(0..60)).map(|_| random.u8(..)).collect();
            bytes.splice(at..at, garbage);
        }
        7 if name.ends_with(".idx") => {
            // A good checksum over nonsense.
            let far = [random.u64(..), random.u64(0..200), u64::MAX, u64::MAX - 7];
            let entry = index_entry(
                far[random.usize(0..4)],
                far[random.usize(0..4)],
                0,
                random.usize(0..1000),
            );
            bytes.extend(entry);
        }
        7 | 8 => {
            let mut payload: Vec<u8> = (0..random.usize(0..30)).map(|_| random.u8(..)).collect();
            if random.bool() {
                payload = [number(1, random.u64(..)), number(2, random.u64(..)), payload].concat();
            }
            bytes.splice(at..at, record(u32::from(random.u8(0..7)), &payload));
        }
        _ => {
            // A head that promises much.
            let promise = [u32::MAX, 1 << 30, 200, 5][random.usize(0..4)];
            bytes.splice(at..at, [promise.to_le_bytes(), [8, 1, 0x12, 3]].concat());
        }
    }
}

fn write(folder: &Path, files: &Files) {
    for (name, bytes) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn no_bytes_make_it_panic_or_write() {
    let variable = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match variable("SEAWAY_ORIGINAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("SEAWAY_ORIGINAL_HOSTILE").unwrap_or(DIRECTORIES),
    };
    let mut verdicts = [0u32; 3];
    for seed in seeds {
        let mut random = Rng::with_seed(seed);
        let mut files = sound(&mut random);
        for _ in 0..random.u8(0..6) {
            mutate(&mut files, &mut random);
        }
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &files);
        let options = Options {
            key: random.bool().then(|| Key::new(b"key")),
            ..Options::default()
        };
        println!("seed {seed}");
        let report = check(folder.path(), &options, |_| {}).unwrap();
        verdicts[report.verdict as usize] += 1;
        for channel in &report.channels {
            assert!(channel.last_sequence >= channel.first_sequence);
            let span = channel.last_sequence - channel.first_sequence;
            assert!(channel.messages == 0 || u128::from(channel.messages + channel.missing) == u128::from(span) + 1);
        }
        serde_json::to_string(&report).unwrap();
        for (name, bytes) in &files {
            assert!(
                std::fs::read(folder.path().join(name)).unwrap() == *bytes,
                "{name} was changed"
            );
        }
    }
    if verdicts.iter().sum::<u32>() >= DIRECTORIES as u32 {
        let [ready, losses, refused] = verdicts;
        assert!(ready > 50 && losses > 50 && refused > 5, "{verdicts:?}");
    }
}

/// A file that makes every byte look like the beginning of a record takes time in proportion to its length.
#[test]
fn a_search_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut data = HEADER.to_vec();
    while data.len() < 4 << 20 {
        // The promised size reaches far, and the payload begins as a message does.
        data.extend([0, 0, 0x10, 0, 9, 9, 9, 9, 8, 1, 0x12, 3, b'f', b'o', b'o']);
    }
    write(folder.path(), &vec![("foo/msgs.1.dat", data)]);
    let report = check(folder.path(), &Options::default(), |_| {}).unwrap();
    assert_eq!((report.totals.messages, report.verdict), (0, Verdict::Losses));
}
