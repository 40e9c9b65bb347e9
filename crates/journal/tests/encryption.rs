//! Encryption at rest (docs/journal-format.md §11): what is readable on the disk, which keys open it, what happens to a plain
//! journal that gets a key, and that no nonce is used twice whatever crashes.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/recording.rs"]
mod recording;
mod support;

use recording::{NonceLog, Recording};
use seaway_journal::disk::Disk;
use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_journal::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use support::{Machine, Replayed, encrypted, options};

const AES: Cipher = Cipher::Aes256Gcm;
const CHACHA: Cipher = Cipher::ChaCha20Poly1305;
const NAME: &[u8] = b"the channel of payroll";
/// Oldest message of log 9 in the end.
const FIRST: u64 = 800;
const PAYLOAD: &[u8] = b"the salary of everybody";

fn contents(disk: &SimulatedDisk) -> BTreeMap<String, Vec<u8>> {
    let names = disk.names().into_iter();
    names.map(|name| (name.clone(), disk.content(&name).unwrap())).collect()
}

fn settle(machine: &mut Machine) {
    machine.settle();
    while machine.step() {}
}

/// Messages and facts with a text to look for, some trimmed, a checkpoint, sealed and rewritten segments, and a tail.
fn secrets(options: Options) -> Machine {
    let disk = SimulatedDisk::new(11);
    let mut machine = Machine::open(&disk, options, 11).unwrap();
    machine.fact(1, NAME);
    for sequence in 1..=900u64 {
        let body = [PAYLOAD, &sequence.to_le_bytes(), &[b'.'; 180]];
        machine
            .journal
            .append_message(LogId(9), sequence, sequence as i64, &body);
        machine.append(1, 40);
        if sequence % 50 == 0 {
            // Stays when all around it goes.
            let number = sequence / 50;
            machine
                .journal
                .append_message(LogId(8), number, number as i64, &[PAYLOAD]);
        }
        if sequence % 20 == 0 {
            settle(&mut machine);
        }
        if sequence % 100 == 0 {
            machine.trim(1, sequence);
            machine.journal.trim(LogId(9), FIRST.min(sequence), PAYLOAD);
        }
    }
    machine.checkpoint();
    settle(&mut machine);
    machine.fact(2, NAME);
    machine.delete(1);
    settle(&mut machine);
    disk.restart_process();
    machine
}

fn open(disk: &SimulatedDisk, options: Options) -> Result<(Journal, Replayed), OpenError> {
    let port: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut replayed = Replayed::default();
    let (journal, _) = Journal::open(&port, options, &mut replayed)?;
    Ok((journal, replayed))
}

fn shows(disk: &SimulatedDisk, text: &[u8]) -> Vec<String> {
    let all = contents(disk).into_iter();
    let showing = all.filter(|(_, content)| content.windows(text.len()).any(|window| window == text));
    showing.map(|(name, _)| name).collect()
}

/// Reads log 9, and of log 8 what the rewriter has copied.
fn check_payloads(disk: &SimulatedDisk, options: Options) {
    let mut machine = Machine::open(disk, options, 5).unwrap();
    let facts: Vec<&[u8]> = machine.replayed.facts.iter().map(|(_, body)| &body[..]).collect();
    assert!(
        facts.iter().filter(|fact| **fact == NAME).count() >= 2,
        "{} facts",
        facts.len()
    );
    let bounds = machine.journal.log_state(LogId(9)).unwrap();
    assert_eq!((bounds.first, bounds.last), (FIRST, 900));
    let mut next = FIRST;
    while next <= 900 {
        for (sequence, _, body) in machine.read(9, next, 50, 1 << 20).unwrap() {
            assert_eq!(sequence, next);
            assert!(body.starts_with(PAYLOAD) && body.len() == PAYLOAD.len() + 188);
            next += 1;
        }
    }
    let kept = machine.read(8, 1, 100, 1 << 20).unwrap();
    assert!(kept.iter().all(|(_, _, body)| body == PAYLOAD));
    disk.restart_process();
}

#[test]
fn nothing_given_to_an_encrypted_journal_is_readable_on_the_disk() {
    let plain = secrets(options());
    assert!(shows(&plain.disk, PAYLOAD).len() > 1 && shows(&plain.disk, NAME).len() > 1);
    for cipher in [AES, CHACHA] {
        let machine = secrets(encrypted(cipher, b"key"));
        let statistics = machine.journal.statistics();
        assert!(
            statistics.rewritten_bytes > 0 && statistics.checkpoints > 0,
            "{statistics:?}"
        );
        assert_eq!(shows(&machine.disk, PAYLOAD), [""; 0]);
        assert_eq!(shows(&machine.disk, NAME), [""; 0]);
        check_payloads(&machine.disk, encrypted(cipher, b"key"));
        check_payloads(&machine.disk, encrypted(cipher, b"key"));
    }
}

#[test]
fn without_the_right_key_nothing_happens_to_the_directory() {
    let machine = secrets(encrypted(AES, b"key"));
    let disk = &machine.disk;
    let (before, operations) = (contents(disk), disk.operations());
    let refusals = [
        (options(), "no encryption key was given"),
        (encrypted(AES, b"Key"), "not the one with which"),
        (encrypted(CHACHA, b""), "not the one with which"),
    ];
    for (options, text) in refusals {
        let error = open(disk, options).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert!(contents(disk) == before, "{text}");
        assert_eq!(disk.operations(), operations, "{text}");
    }
    check_payloads(disk, encrypted(AES, b"key"));
}

#[test]
fn a_plain_journal_gets_a_key_and_the_rewriter_encrypts_what_is_old() {
    let machine = secrets(options());
    let disk = &machine.disk;
    let plain = shows(disk, PAYLOAD).len();
    check_payloads(disk, encrypted(CHACHA, b"key"));
    assert!(matches!(open(disk, options()), Err(OpenError::KeyRequired)));
    // Neither what was there nor what comes with another cipher is lost, and old segments go.
    let mut machine = Machine::open(disk, encrypted(AES, b"key"), 6).unwrap();
    machine.journal.trim(LogId(9), 890, b"");
    for index in 0..6_000 {
        machine.append(2, 200);
        if index % 25 == 0 {
            settle(&mut machine);
            let last = machine.state.logs[&2].last;
            machine.trim(2, last.saturating_sub(20));
        }
    }
    machine.checkpoint();
    settle(&mut machine);
    assert!(machine.journal.statistics().rewritten_bytes > 1_000);
    let left = shows(disk, PAYLOAD);
    assert!(left.len() < plain, "{left:?} of {plain}: copies show nothing");
    let messages = machine.read(9, 890, 1_000, 1 << 20).unwrap();
    assert_eq!(messages.len(), 11);
    assert!(messages.iter().all(|(_, _, body)| body.starts_with(PAYLOAD)));
}

/// A journal without a key stays readable for programs that know version 1 only.
#[test]
fn without_a_key_all_files_carry_version_1() {
    let machine = secrets(options());
    for (name, content) in contents(&machine.disk) {
        assert!(name == "journal.lock" || content[8..12] == [1, 0, 0, 0], "{name}");
    }
    let machine = secrets(encrypted(AES, b"key"));
    for (name, content) in contents(&machine.disk) {
        assert!(
            name == "journal.lock" || name.ends_with(".claim") || content[8..12] == [2, 0, 0, 0],
            "{name}"
        );
    }
}

#[test]
fn a_changed_cipher_reads_what_the_other_wrote() {
    let machine = secrets(encrypted(AES, b"key"));
    check_payloads(&machine.disk, encrypted(CHACHA, b"key"));
    check_payloads(&machine.disk, encrypted(AES, b"key"));
}

/// Every bit of the files: it is noticed at the start, or changes nothing of what is read.
#[test]
fn every_flipped_bit_of_an_encrypted_journal_is_noticed() {
    let disk = SimulatedDisk::new(1);
    let mut machine = Machine::open(&disk, encrypted(AES, b"key"), 1).unwrap();
    for batch in 0..3 {
        machine.append(1, 50 + batch);
        machine.fact(2, &[batch as u8; 9]);
        machine.append(2, 20);
        settle(&mut machine);
        if batch == 1 {
            machine.journal.begin_checkpoint().unwrap();
            machine.journal.checkpoint_fact(2, &[7; 9]).unwrap();
            machine.journal.finish_checkpoint().unwrap();
            settle(&mut machine);
        }
    }
    disk.restart_process();
    let (whole, wanted) = open(&disk.fork(1), encrypted(AES, b"key")).unwrap();
    assert_eq!(whole.appended(), 9);
    drop(whole);
    let (mut noticed, mut harmless) = (0, 0);
    for (name, content) in contents(&disk) {
        if name == "journal.lock" || name.starts_with("segment-0000000000000002") {
            continue;
        }
        let used = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for at in (0..used.min(128)).chain(4_096..used.max(4_096)) {
            let fork = disk.fork(2);
            let mut damaged = content.clone();
            damaged[at] ^= 1 << (at % 8);
            fork.plant(&name, &damaged);
            match open(&fork, encrypted(AES, b"key")) {
                Err(OpenError::Damaged { file, .. } | OpenError::Indispensable { file, .. }) => {
                    assert!(file == name || file == "the journal", "{name} byte {at}: {file}");
                    noticed += 1;
                }
                Err(other) => panic!("{name} byte {at}: {other}"),
                // In the last batch it looks like an interrupted write.
                Ok((journal, _)) if journal.appended() == 6 => noticed += 1,
                // Behind the last batch, or before the checkpoint's tail.
                Ok((journal, replayed)) => {
                    assert_eq!(
                        (journal.appended(), &replayed.facts),
                        (9, &wanted.facts),
                        "{name} byte {at}"
                    );
                    harmless += 1;
                }
            }
        }
    }
    assert!(noticed > 900, "{noticed} noticed, {harmless} harmless");
}

/// Who changes a message and its checksums does not get it past a read, nor one message in the place of another.
#[test]
fn an_altered_message_is_damage_even_when_its_checksums_fit() {
    let disk = SimulatedDisk::new(1);
    let mut machine = Machine::open(&disk, encrypted(AES, b"key"), 1).unwrap();
    machine.append(1, 30);
    machine.append(2, 30);
    settle(&mut machine);
    disk.restart_process();
    let name = "segment-0000000000000001-00000001.log";
    let content = disk.content(name).unwrap();
    let record = |content: &[u8], index: usize| {
        let start = 4_096 + 64 + index * (36 + 28 + 30);
        content[start..start + 94].to_vec()
    };
    let (first, second) = (record(&content, 0), record(&content, 1));
    // Their bodies, nonces and tags exchanged.
    let exchanged = [&first[..36], &second[36..], &second[..36], &first[36..]].concat();
    let mut bit = [first.clone(), second.clone()].concat();
    bit[70] ^= 1;
    for (records, what) in [(exchanged, "exchanged"), (bit, "altered")] {
        let fork = disk.fork(3);
        let mut forged = content.clone();
        forged[4_160..4_160 + records.len()].copy_from_slice(&records);
        seal_batch(&mut forged, 2);
        fork.plant(name, &forged);
        let mut machine = Machine::open(&fork, encrypted(AES, b"key"), 1).unwrap();
        let error = machine.read(1, 1, 1, 1_000).unwrap_err();
        assert!(error.contains("altered"), "{what}: {error}");
    }
    // The forgery is right as far as checksums go: unchanged records pass.
    let mut same = content.clone();
    seal_batch(&mut same, 2);
    assert!(same == content);
}

/// Gives the first batch of the first segment, with records of 94 bytes, the checksums that fit.
fn seal_batch(content: &mut [u8], records: usize) {
    let number = [1u64.to_le_bytes(), 1u64.to_le_bytes()].concat();
    let seed = crc32c::crc32c(&[support::IDENTITY.as_slice(), &number].concat());
    for index in 0..records {
        let at = 4_160 + index * 94;
        let sum = crc32c::crc32c_append(
            crc32c::crc32c_append(seed, &content[at..at + 4]),
            &content[at + 8..at + 94],
        );
        content[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
    }
    let length = u32::from_le_bytes(content[4_100..4_104].try_into().unwrap()) as usize;
    let sum = crc32c::crc32c_append(seed, &content[4_160..4_096 + length]);
    content[4_152..4_156].copy_from_slice(&sum.to_le_bytes());
    let sum = crc32c::crc32c_append(seed, &content[4_096..4_156]);
    content[4_156..4_160].copy_from_slice(&sum.to_le_bytes());
}

fn act(machine: &mut Machine, actions: u64, sparse: bool) {
    for _ in 0..actions {
        if sparse {
            machine.sparse_action();
        } else {
            machine.random_action();
        }
        if machine.poisoned() || machine.disk.has_crashed() {
            return;
        }
    }
}

/// One life that ends at an operation, then two more; every write of all three is recorded.
fn lives(seed: u64, sparse: bool, crash_at: Option<u64>, log: &Arc<Mutex<NonceLog>>) -> u64 {
    let disk = SimulatedDisk::new(seed ^ crash_at.unwrap_or(0).wrapping_mul(0x9e37));
    let port: Arc<dyn Disk> = Arc::new(Recording {
        disk: Arc::new(disk.clone()),
        log: Arc::clone(log),
    });
    if let Some(operation) = crash_at {
        disk.crash_at(operation);
    }
    // The same salts at every start: the nonces must not rest on luck.
    let options = || encrypted(if seed.is_multiple_of(2) { AES } else { CHACHA }, b"key");
    let mut machine = match Machine::open_on(&disk, Arc::clone(&port), options(), seed) {
        Ok(machine) => machine,
        Err(_) => {
            disk.restart();
            Machine::open_on(&disk, Arc::clone(&port), options(), seed).unwrap()
        }
    };
    act(&mut machine, if sparse { 1_500 } else { 500 }, sparse);
    let operations = disk.operations();
    if crash_at.is_none() {
        settle(&mut machine);
    }
    for life in 1..3 {
        disk.restart();
        // What crashed is lost or not; what follows differs from it.
        machine = machine
            .reopen_on(Arc::clone(&port), options(), seed + 17 * life)
            .unwrap_or_else(|error| panic!("seed {seed}, crash at {crash_at:?}: {error}"));
        act(&mut machine, 60, false);
        settle(&mut machine);
    }
    operations
}

#[test]
fn no_nonce_is_used_twice_whatever_operation_is_the_last() {
    let (mut records, mut blocks, mut rewritten) = (0, 0, 0);
    for (seed, sparse) in [(1, false), (2, false), (4, true)] {
        let none = Arc::default();
        let operations = lives(seed, sparse, None, &none);
        assert!(operations > 60, "{operations} operations");
        for crash_at in (1..=operations).map(Some).chain([None]) {
            let log: Arc<Mutex<NonceLog>> = Arc::default();
            lives(seed, sparse, crash_at, &log);
            let log = log.lock().unwrap();
            assert!(
                log.reused.is_empty(),
                "seed {seed}, crash at {crash_at:?}: {:?}",
                log.reused
            );
            records += log.records;
            blocks += log.blocks;
            rewritten += log.rewritten_positions() as u64;
        }
    }
    println!("{records} records, {blocks} blocks, {rewritten} positions written anew by a later epoch");
    assert!(records > 10_000 && blocks > 100 && rewritten > 100);
}

/// Goes on from a copy of the directory: epoch, segment numbers and positions repeat, only the start's salt differs.
#[test]
fn two_futures_of_one_directory_have_different_keys() {
    let machine = secrets(encrypted(AES, b"key"));
    let random = || {
        let mut options = options();
        options.encryption = Some(Encryption::new(AES, b"key".to_vec()).unwrap());
        options
    };
    // The journal's salts are deterministic here, the new starts' are not: the key fits both.
    let log: Arc<Mutex<NonceLog>> = Arc::default();
    for seed in [1, 2] {
        let fork = machine.disk.fork(9);
        let port: Arc<dyn Disk> = Arc::new(Recording {
            disk: Arc::new(fork.clone()),
            log: Arc::clone(&log),
        });
        let mut future = Machine::open_on(&fork, port, random(), seed).unwrap();
        act(&mut future, 100, false);
        settle(&mut future);
    }
    let log = log.lock().unwrap();
    assert!(log.reused.is_empty(), "{:?}", log.reused);
    assert!(
        log.positions
            .values()
            .any(|writes| writes.len() == 2 && writes[0].1 != writes[1].1),
        "both write the same positions"
    );
}

/// A checkpoint that is given up and begun again at the same position encrypts other facts with other nonces.
#[test]
fn a_checkpoint_begun_twice_at_one_position_uses_other_nonces() {
    let disk = SimulatedDisk::new(8);
    let log: Arc<Mutex<NonceLog>> = Arc::default();
    let port: Arc<dyn Disk> = Arc::new(Recording {
        disk: Arc::new(disk.clone()),
        log: Arc::clone(&log),
    });
    let mut machine = Machine::open_on(&disk, port, encrypted(AES, b"key"), 8).unwrap();
    machine.fact(1, b"one");
    settle(&mut machine);
    for (attempt, body) in [b"first", b"other"].iter().enumerate() {
        if attempt == 0 {
            use seaway_journal::disk::simulated::Operation;
            disk.fail(Operation::Write, 1, std::io::ErrorKind::StorageFull);
        }
        machine.journal.begin_checkpoint().unwrap();
        machine.journal.checkpoint_fact(1, *body).unwrap();
        machine.journal.finish_checkpoint().unwrap();
        while machine.step() {}
    }
    assert_eq!(machine.checkpoints_done, 1);
    let log = log.lock().unwrap();
    assert_eq!((log.blocks, log.reused.len()), (2, 0), "{:?}", log.reused);
}

#[test]
fn durable_records_survive_crashes_when_encrypted() {
    for seed in 2_000..2_060u64 {
        let log = Arc::default();
        let operations = lives(seed, seed % 3 == 0, None, &log);
        lives(seed, seed % 3 == 0, Some(1 + seed * 7_919 % operations), &log);
    }
}
