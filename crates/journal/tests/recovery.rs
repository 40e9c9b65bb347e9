//! What a start makes of a directory: torn tails, damage, foreign files, locks, checkpoints (docs/journal-format.md §9).

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use seaway_journal::disk::Disk;
use seaway_journal::disk::real::RealDisk;
use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_journal::*;
use std::sync::Arc;
use support::{IDENTITY, Machine, Replayed, crc, options};

/// A machine after three batches in its first segment; with the segment's name and the ends of the batches.
fn three_batches() -> (Machine, String, Vec<usize>) {
    let disk = SimulatedDisk::new(1);
    let mut machine = Machine::open(&disk, options(), 1).unwrap();
    let mut ends = Vec::new();
    for batch in 0..3 {
        machine.append(1, 50 + batch);
        machine.fact(2, &[batch as u8; 9]);
        machine.append(2, 20);
        machine.settle();
        let content = disk.content("segment-0000000000000001-00000001.log").unwrap();
        ends.push(content.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    }
    disk.restart_process();
    (machine, "segment-0000000000000001-00000001.log".to_owned(), ends)
}

fn damage(machine: &Machine, name: &str, edit: impl FnOnce(&mut Vec<u8>)) -> SimulatedDisk {
    let disk = machine.disk.fork(9);
    let mut content = disk.content(name).unwrap();
    edit(&mut content);
    disk.plant(name, &content);
    disk
}

fn open(disk: &SimulatedDisk, options: Options) -> Result<(Opened, Replayed), OpenError> {
    let port: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut replayed = Replayed::default();
    let (_, opened) = Journal::open(&port, options, &mut replayed)?;
    Ok((opened, replayed))
}

#[test]
fn every_length_of_a_torn_last_batch_is_cut_and_reported() {
    let (machine, name, ends) = three_batches();
    for kept in ends[1].next_multiple_of(8)..ends[2] {
        for filler in [0, 0xa5] {
            let disk = damage(&machine, &name, |content| {
                let torn = content.get_mut(kept..ends[2]).unwrap();
                torn.fill(filler);
            });
            let (opened, replayed) = open(&disk, options()).unwrap_or_else(|error| panic!("{kept}: {error}"));
            let whole = damage(&machine, &name, |_| {}).content(&name) == disk.content(&name);
            assert_eq!(
                opened.position,
                if whole { 9 } else { 6 },
                "kept {kept}, filled with {filler:#x}"
            );
            let next_batch = ends[1].next_multiple_of(8);
            let nothing_left = filler == 0 && kept <= next_batch;
            if !whole && !nothing_left {
                let cut = opened
                    .cut
                    .unwrap_or_else(|| panic!("kept {kept} with {filler:#x}: reported"));
                assert_eq!((cut.file.as_str(), cut.offset as usize), (name.as_str(), next_batch));
            }
            assert_eq!(replayed.facts.len(), opened.position as usize / 3);
        }
    }
}

#[test]
fn the_cut_is_remembered_whatever_appears_behind_it_later() {
    let (machine, name, ends) = three_batches();
    let whole = machine.disk.content(&name).unwrap();
    let disk = damage(&machine, &name, |content| content[ends[2] - 8] ^= 1);
    assert_eq!(open(&disk, options()).unwrap().0.position, 6);
    disk.restart_process();
    // A process of the closed epoch finishes its write after all.
    disk.plant(&name, &whole);
    let (opened, replayed) = open(&disk, options()).unwrap();
    assert_eq!((opened.position, opened.epoch, replayed.messages.len()), (6, 3, 4));
}

#[test]
fn every_flipped_bit_before_the_last_batch_stops_the_start() {
    let (machine, name, ends) = three_batches();
    let last_batch = ends[1].next_multiple_of(8);
    for at in (0..64).chain(4_096..ends[1]) {
        for bit in 0..8 {
            let disk = damage(&machine, &name, |content| content[at] ^= 1 << bit);
            match open(&disk, options()) {
                Err(OpenError::Damaged { file, offset, reason }) => {
                    assert_eq!(file, name, "{reason}");
                    assert!(offset <= at as u64 && !reason.is_empty());
                }
                other => panic!("byte {at} bit {bit}: {:?}", other.map(|(opened, _)| opened)),
            }
            assert_eq!(disk.names(), machine.disk.names(), "nothing was written or removed");
        }
    }
    // In the last batch it looks like an interrupted write.
    for at in last_batch..ends[2] {
        let disk = damage(&machine, &name, |content| content[at] ^= 4);
        let (opened, _) = open(&disk, options()).unwrap();
        assert_eq!((opened.position, opened.cut.is_some()), (6, true), "byte {at}");
    }
}

#[test]
fn damage_is_given_up_when_the_operator_says_so_or_nothing_was_synced() {
    let (machine, name, ends) = three_batches();
    let spoil = |content: &mut Vec<u8>| content[ends[0] + 20] ^= 1;
    let mut cut_there = options();
    cut_there.damage = DamagePolicy::CutThere;
    let disk = damage(&machine, &name, spoil);
    assert!(matches!(open(&disk, options()), Err(OpenError::Damaged { .. })));
    let (opened, _) = open(&disk, cut_there).unwrap();
    assert_eq!((opened.position, opened.cut.is_some()), (3, true));
    disk.restart_process();
    assert_eq!(open(&disk, options()).unwrap().0.position, 3);

    let disk = SimulatedDisk::new(3);
    let mut unsynced = options();
    unsynced.sync = false;
    let mut machine = Machine::open(&disk, unsynced, 3).unwrap();
    for _ in 0..3 {
        machine.append(1, 10);
        machine.settle();
    }
    disk.restart_process();
    let disk = damage(&machine, &name, |content| content[4_096 + 70] ^= 1);
    assert_eq!(open(&disk, options()).unwrap().0.position, 0);
}

/// A machine with sealed segments, directories and a checkpoint.
fn with_checkpoint() -> Machine {
    let disk = SimulatedDisk::new(5);
    let mut machine = Machine::open(&disk, options(), 5).unwrap();
    for round in 0..400u64 {
        machine.append(1 + round % 3, 400);
        if round % 20 == 0 {
            machine.fact((round / 20 % 8) as u8, &round.to_le_bytes());
            machine.settle();
        }
    }
    machine.checkpoint();
    machine.settle();
    while machine.step() {}
    disk.restart_process();
    machine
}

fn first_of(machine: &Machine, suffix: &str) -> String {
    machine
        .disk
        .names()
        .into_iter()
        .find(|name| name.ends_with(suffix))
        .unwrap()
}

#[test]
fn a_damaged_checkpoint_or_epoch_file_stops_the_start() {
    let machine = with_checkpoint();
    for suffix in [".checkpoint", ".epoch"] {
        let name = first_of(&machine, suffix);
        let length = machine.disk.content(&name).unwrap().len();
        for at in 0..length {
            let disk = damage(&machine, &name, |content| content[at] ^= 1 << (at % 8));
            match open(&disk, options()) {
                Err(OpenError::Damaged { file, .. } | OpenError::Indispensable { file, .. }) => assert_eq!(file, name),
                other => panic!("{name} byte {at}: {:?}", other.map(|(opened, _)| opened)),
            }
        }
        for length in [0, 50, length - 1] {
            let disk = damage(&machine, &name, |content| content.truncate(length));
            assert!(
                matches!(
                    open(&disk, options()),
                    Err(OpenError::Damaged { .. } | OpenError::Indispensable { .. })
                ),
                "{name} cut to {length}"
            );
        }
    }
}

#[test]
fn a_damaged_directory_is_made_anew() {
    let machine = with_checkpoint();
    let name = first_of(&machine, ".directory");
    let good = machine.disk.content(&name).unwrap();
    for at in (0..400).chain([4_000]) {
        let disk = damage(&machine, &name, |content| content[at] ^= 1 << (at % 8));
        let mut again = Machine {
            disk: disk.clone(),
            ..with_checkpoint()
        }
        .reopen(options(), 1)
        .unwrap();
        again.check().unwrap();
        // Padding is not checked; everything else was found and rewritten.
        assert!(
            disk.content(&name).unwrap() == good || at == 4_000 || (92..124).contains(&at) || at >= 128 + 3 * 56,
            "{at}"
        );
    }
    let disk = machine.disk.fork(3);
    disk.unplant(&name);
    Machine {
        disk,
        ..with_checkpoint()
    }
    .reopen(options(), 1)
    .unwrap();
}

#[test]
fn a_missing_segment_with_live_messages_stops_the_start() {
    let machine = with_checkpoint();
    for name in machine.disk.names().into_iter().filter(|name| name.ends_with(".log")) {
        let disk = machine.disk.fork(3);
        let empty = disk.content(&name).unwrap()[4_096..].iter().all(|byte| *byte == 0);
        disk.unplant(&name);
        match open(&disk, options()) {
            Ok(_) => assert!(empty, "{name} held records"),
            Err(error) => assert!(matches!(error, OpenError::Damaged { .. }), "{error}"),
        }
    }
}

/// Checkpoints carry the state: facts survive although every segment that first recorded them is gone.
#[test]
fn state_survives_the_deletion_of_every_segment_that_first_recorded_it() {
    let disk = SimulatedDisk::new(6);
    let mut machine = Machine::open(&disk, options(), 6).unwrap();
    // Of a kind that the checkpoints of the tests do not change.
    machine.fact(9, b"first of all");
    machine.append(7, 100);
    machine.settle();
    let first = first_of(&machine, ".log");
    for round in 0..2_000 {
        machine.append(1, 200);
        machine.trim(1, machine.state.logs[&1].last);
        if round % 50 == 0 {
            machine.settle();
        }
    }
    machine.trim(7, 2);
    machine.settle();
    while machine.step() {}
    assert!(machine.checkpoints_done > 0);
    assert!(!disk.names().contains(&first), "{:?}", disk.names());
    disk.restart();
    let machine = machine.reopen(options(), 7).unwrap();
    assert_eq!(machine.state.facts[&9], b"first of all");
    // A log without messages keeps its place: the next message is the second.
    let bounds = machine.journal.log_state(LogId(7)).unwrap();
    assert_eq!((bounds.first, bounds.last, bounds.count), (2, 1, 0));
}

#[test]
fn the_original_servers_directory_is_refused_and_left_alone() {
    for name in [
        "server.dat",
        "clients.dat",
        "foo/subs.dat",
        "foo/msgs.1.dat",
        "foo.bar/msgs.12.idx",
    ] {
        let disk = SimulatedDisk::new(1);
        disk.plant(name, b"something");
        match open(&disk, options()) {
            Err(OpenError::ForeignStore { found }) => assert_eq!(found, name),
            other => panic!("{name}: {:?}", other.map(|(opened, _)| opened)),
        }
        assert_eq!((disk.operations(), disk.names()), (0, vec![name.to_owned()]));
    }
    // What keeps the original away counts as its own as long as there is no journal.
    let disk = SimulatedDisk::new(1);
    disk.plant("server.dat", seaway_journal::GUARD);
    assert!(matches!(open(&disk, options()), Err(OpenError::ForeignStore { .. })));
    assert_eq!((disk.operations(), disk.names()), (0, vec!["server.dat".to_owned()]));
    let disk = SimulatedDisk::new(1);
    disk.plant("notes.txt", b"mine");
    disk.plant("folder/other", b"mine");
    let (opened, _) = open(&disk, options()).unwrap();
    assert_eq!(opened.remarks.len(), 2, "{:?}", opened.remarks);
    assert_eq!(disk.content("notes.txt").unwrap(), b"mine");
}

#[test]
fn a_directory_that_was_taken_over_opens_without_remarks() {
    let disk = SimulatedDisk::new(1);
    open(&disk, options()).unwrap();
    disk.restart();
    disk.plant("server.dat", &[seaway_journal::GUARD, b" More words."].concat());
    disk.plant(".rootdir.lck", b"");
    disk.plant("before-seaway/server.dat", b"the original's");
    let (opened, _) = open(&disk, options()).unwrap();
    assert!(opened.remarks.is_empty(), "{:?}", opened.remarks);
    disk.restart();
    disk.plant("server.dat", b"the original's again");
    assert!(matches!(
        open(&disk, options()),
        Err(OpenError::ForeignStore { found }) if found == "server.dat"
    ));
}

#[test]
fn a_second_opener_is_refused_and_told_who_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folder.path()).unwrap());
    let other: Arc<dyn Disk> = Arc::new(RealDisk::new(folder.path()).unwrap());
    let options = Options::new(IDENTITY);
    let (first, _) = Journal::open(&disk, options.clone(), &mut Replayed::default()).unwrap();
    match Journal::open(&other, options.clone(), &mut Replayed::default()) {
        Err(OpenError::Locked { holder }) => {
            assert!(
                holder.contains(&format!("pid {}, started 20", std::process::id())),
                "{holder}"
            );
        }
        other => panic!("{:?}", other.map(|(_, opened)| opened)),
    }
    drop(first);
    Journal::open(&other, options, &mut Replayed::default()).unwrap();
}

/// Whatever a few wild bytes do to the files: a start answers, it does not panic, and what it opens can be used.
#[test]
fn wild_bytes_never_panic_a_start() {
    let machine = with_checkpoint();
    let names: Vec<String> = machine.disk.names();
    let mut random = support::Random(11);
    let (mut opened, mut refused) = (0, 0);
    for _ in 0..600 {
        let disk = machine.disk.fork(1);
        for _ in 0..=random.below(3) {
            let name = &names[random.below(names.len() as u64) as usize];
            let mut content = disk.content(name).unwrap();
            match random.below(4) {
                0 => content.truncate(random.below(content.len() as u64 + 1) as usize),
                _ if content.is_empty() => {}
                _ => {
                    // Mostly where something is.
                    let bound = if random.below(2) == 0 { 400 } else { 9_000 }.min(content.len() as u64);
                    let at = random.below(bound) as usize;
                    content[at] = random.next() as u8;
                }
            }
            disk.plant(name, &content);
        }
        match Machine::open(&disk, options(), 1) {
            Ok(mut machine) => {
                opened += 1;
                let logs: Vec<u64> = machine.replayed.logs.keys().copied().collect();
                for log in logs {
                    let _ = machine.read(log, 1, 100, 100_000);
                    let _ = machine.journal.head(LogId(log));
                }
                while machine.step() {}
            }
            Err(_) => refused += 1,
        }
    }
    assert!(opened > 20 && refused > 100, "{opened} opened, {refused} refused");
}

/// A newer version's file is refused, not misread.
#[test]
fn another_version_is_refused_by_name() {
    let (machine, _, _) = three_batches();
    let name = first_of(&machine, ".epoch");
    let disk = damage(&machine, &name, |content| {
        content[8] = 4;
        let sum = crc(&content[..124]);
        content[124..128].copy_from_slice(&sum.to_le_bytes());
    });
    let error = open(&disk, options())
        .map(|(opened, _)| opened)
        .unwrap_err()
        .to_string();
    assert!(error.contains("format version 4"), "{error}");
}

/// Files of version 1, byte by byte, stay readable and are still written the same way (docs/journal-format.md §11).
#[test]
fn golden_files_of_version_1() {
    golden_files("version-1", options());
}

#[test]
fn golden_files_of_version_2() {
    golden_files("version-2", support::encrypted(Cipher::ChaCha20Poly1305, b"golden"));
}

/// Of a member of a cluster (§14): entries, the members in the checkpoint, votes.
#[test]
fn golden_files_of_version_3() {
    golden_files("version-3", support::member());
    let encrypted = support::encrypted(Cipher::ChaCha20Poly1305, b"golden");
    golden_files(
        "version-3-encrypted",
        Options {
            durability: Durability::Quorum,
            ..encrypted
        },
    );
}

fn golden_files(version: &str, options: Options) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(version);
    // Large enough that nothing is rewritten.
    let mut roomy = options;
    roomy.segment_bytes_max = 4 << 20;
    let disk = SimulatedDisk::new(1);
    let mut machine = Machine::open(&disk, roomy.clone(), 1).unwrap();
    machine.fact(3, b"a fact");
    machine.append(1, 40);
    machine.append(2, 0);
    machine.settle();
    machine.append(1, 60);
    machine.trim(1, 2);
    machine.append(3, 5);
    machine.delete(3);
    machine.settle();
    disk.restart_process();
    // The next start writes the directory, and a checkpoint.
    let mut machine = machine.reopen(roomy.clone(), 2).unwrap();
    let journal = &mut machine.journal;
    if journal.is_member() {
        let vote = Vote {
            term: 2,
            vote: 7,
            node: 8,
            cluster: *b"cluster identity",
        };
        journal.write_vote(1, vote);
    }
    journal.begin_checkpoint().unwrap();
    journal.checkpoint_fact(3, b"a fact").unwrap();
    if journal.is_member() {
        journal.checkpoint_members(b"three of them").unwrap();
    }
    journal.finish_checkpoint().unwrap();
    machine.settle();
    while machine.step() {}
    disk.restart_process();
    let names: Vec<String> = disk
        .names()
        .into_iter()
        .filter(|name| !name.starts_with("segment-0000000000000004") && !name.ends_with(".claim"))
        .collect();
    if std::env::var_os("WRITE_GOLDEN_FILES").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for name in &names {
            let mut content = disk.content(name).unwrap();
            let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            content.truncate(used);
            std::fs::write(folder.join(name), content).unwrap();
        }
    }
    let golden = SimulatedDisk::new(2);
    let mut stored: Vec<String> = std::fs::read_dir(&folder)
        .expect("golden files are committed; WRITE_GOLDEN_FILES=1 makes them for a new version")
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    stored.sort();
    assert_eq!(stored, names);
    for name in &stored {
        // The zeros at the end of files are not stored.
        let mut content = std::fs::read(folder.join(name)).unwrap();
        let mut written = disk.content(name).unwrap();
        content.resize(written.len(), 0);
        if name.ends_with(".epoch") && roomy.durability == Durability::Local {
            // Which epoch it follows is said where there were reserved bytes, and the checksum covers it.
            assert_eq!(
                (&content[68..76], &written[68..76]),
                (&[0; 8][..], &1u64.to_le_bytes()[..])
            );
            written[68..76].fill(0);
            written[124..128].copy_from_slice(&content[124..128]);
        }
        assert!(content == written, "{name} is written differently now");
        golden.plant(name, &content);
    }
    let (opened, replayed) = open(&golden, roomy.clone()).unwrap();
    assert_eq!(replayed.facts, [(3, b"a fact".to_vec())]);
    assert_eq!((opened.epoch, opened.position), (3, 7));
    let logs: Vec<(u64, u64, u64)> = replayed
        .logs
        .values()
        .map(|log| (log.log.0, log.first, log.last))
        .collect();
    assert_eq!(logs, [(1, 2, 2), (2, 1, 1)]);
    if roomy.durability == Durability::Quorum {
        let port: Arc<dyn Disk> = Arc::new(golden.fork(3));
        golden.restart_process();
        let (journal, _) = Journal::open(&port, roomy, &mut support::Replayed::default()).unwrap();
        let id = EntryId { term: 1, index: 2 };
        let body = b"three of them".to_vec();
        assert_eq!(journal.members(), Some(&Members { id, body }));
        assert_eq!((journal.last(), journal.committed(), journal.first_index()), (id, 2, 1));
        assert_eq!((journal.vote().term, journal.vote().node), (2, 8));
    }
}
