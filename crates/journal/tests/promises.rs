//! What a member of a cluster promises the others (docs/journal-format.md §14): that it has room for what it takes, and that it does not come
//! back under its old name when something of what it took is given up.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_journal::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use support::{Machine, Random, encrypted, member, options};

fn follow(disk: &SimulatedDisk, options: Options) -> Result<Machine, OpenError> {
    let mut machine = Machine::open_to_follow(disk, Arc::new(disk.clone()), options, 1)?;
    machine.checkpoints = false;
    Ok(machine)
}

fn encrypted_member() -> Options {
    Options {
        durability: Durability::Quorum,
        ..encrypted(Cipher::Aes256Gcm, b"key")
    }
}

/// A fact as members send it, with a body of so many bytes.
fn fact(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; 13 + length];
    bytes[0..4].copy_from_slice(&(13 + length as u32).to_le_bytes());
    bytes[8] = 2;
    bytes
}

/// Records of so many bytes in all, about: as small as they can be, or one.
fn records(random: &mut Random) -> Vec<u8> {
    match random.below(4) {
        0 => fact(0).repeat(1 + random.below(300) as usize),
        1 => fact(random.below(20_000) as usize),
        2 => fact(random.below(1_300) as usize),
        _ => fact(random.below(40) as usize).repeat(1 + random.below(20) as usize),
    }
}

#[test]
fn entries_for_which_there_is_room_are_taken_whatever_their_records_are() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let options = [member(), encrypted_member()][(seed % 2) as usize].clone();
        let mut machine = follow(&SimulatedDisk::new(seed), options).unwrap();
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..60 {
            let entries: Vec<Vec<u8>> = (0..1 + random.below(30)).map(|_| records(&mut random)).collect();
            let bytes = entries.iter().map(|entry| entry.len() as u64).sum();
            while !machine.journal.has_room(entries.len() as u64, bytes) {
                refused += 1;
                assert!(machine.step(), "there is a disk without end");
            }
            for entry in entries {
                let index = machine.journal.last().index + 1;
                machine
                    .journal
                    .append_entry(EntryId { term: 1, index }, EntryKind::Records, &entry)
                    .unwrap();
                taken += 1;
            }
        }
        assert!(
            taken > 500 && refused > 20,
            "seed {seed}: {taken} taken, {refused} refused"
        );
    }
}

#[test]
fn on_a_full_disk_there_is_room_for_what_those_who_replicate_write_themselves() {
    for options in [member(), encrypted_member()] {
        let disk = SimulatedDisk::new(1);
        let mut machine = follow(&disk, options).unwrap();
        while machine.step() {}
        disk.set_capacity(disk.used());
        let entry = fact(10);
        let mut index = 0;
        let refusal = loop {
            let id = EntryId {
                term: 1,
                index: index + 1,
            };
            // Each time that somebody asks more room is looked for.
            if machine.journal.has_room(1, entry.len() as u64) {
                machine.journal.append_entry(id, EntryKind::Records, &entry).unwrap();
                index += 1;
            } else if machine.journal.refusal().is_none() {
                assert!(machine.step(), "room is made, or there is none");
            } else {
                break machine
                    .journal
                    .append_entry(id, EntryKind::Records, &fact(4_000))
                    .unwrap_err();
            }
        };
        assert!(index > 100, "{index} entries");
        assert!(refusal.may_pass() && refusal == Refusal::NoSpace, "{refusal}");
        let id = |more| EntryId {
            term: 2,
            index: index + more,
        };
        assert!(!machine.journal.has_room(1, 4_000) && machine.journal.has_room_for_own(1_000));
        machine.journal.append_entry(id(1), EntryKind::Empty, b"").unwrap();
        machine
            .journal
            .append_entry(id(2), EntryKind::Change, &[1; 1_000])
            .unwrap();
        machine.journal.append_entry(id(3), EntryKind::Empty, b"").unwrap();
        // It ends somewhere, and is said to end there.
        let mut more = 3;
        while machine.journal.has_room_for_own(0) {
            more += 1;
            machine.journal.append_entry(id(more), EntryKind::Empty, b"").unwrap();
        }
        let refusal = machine
            .journal
            .append_entry(id(more + 1), EntryKind::Empty, b"")
            .unwrap_err();
        assert!((6..1_000).contains(&more) && refusal.may_pass(), "{more}: {refusal}");
        machine.journal.write_vote(9, Vote::default());
        // Where there is no room, it is looked for without end.
        let written = |machine: &Machine| machine.journal.synced() == machine.journal.appended();
        assert!((0..50_000).any(|_| written(&machine) || !machine.step()));
        assert!(written(&machine));
        assert!(
            machine
                .completions
                .iter()
                .any(|told| matches!(told, Completion::VoteWritten(9)))
        );
        assert!(!Refusal::Poisoned(String::new()).may_pass());
    }
}

#[test]
fn a_change_of_the_largest_size_is_taken_also_where_segments_are_small() {
    for options in [member(), encrypted_member()] {
        let mut machine = follow(&SimulatedDisk::new(1), options).unwrap();
        let change = vec![9; limits::MEMBERS_BYTES_MAX];
        for index in 1..4 {
            let id = EntryId { term: 1, index };
            while let Err(refusal) = machine.journal.append_entry(id, EntryKind::Change, &change) {
                assert_eq!(refusal, Refusal::Busy);
                assert!(machine.step(), "a larger segment is made");
            }
            assert_eq!(machine.read_entry(index).unwrap().bytes, change);
        }
    }
}

fn content(disk: &SimulatedDisk) -> BTreeMap<String, Option<Vec<u8>>> {
    let names = disk.names().into_iter();
    let names = names.filter(|name| !name.ends_with(".claim") && name != "journal.lock");
    names.map(|name| (name.clone(), disk.content(&name))).collect()
}

/// The segment with most bytes, and where its batches begin.
fn batches_of_the_largest(disk: &SimulatedDisk) -> (String, Vec<usize>) {
    let mut best = (String::new(), Vec::new());
    for name in disk.names().iter().filter(|name| name.ends_with(".log")) {
        let bytes = disk.content(name).unwrap();
        let (mut at, mut found) = (4_096, Vec::new());
        while bytes.len() > at + 64 && &bytes[at..at + 4] == b"SWBT" {
            found.push(at);
            at += u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        }
        if found.len() > best.1.len() {
            best = (name.clone(), found);
        }
    }
    best
}

fn vote(term: u64) -> Vote {
    Vote {
        term,
        vote: 4,
        node: 77,
        cluster: *b"cluster identity",
    }
}

/// A member that voted, with entries of one batch each.
fn voter(length: usize) -> Machine {
    let disk = SimulatedDisk::new(1);
    let mut machine = Machine::open(&disk, member(), 1).unwrap();
    machine.checkpoints = false;
    machine.journal.write_vote(1, vote(3));
    for _ in 0..30 {
        machine.append(1, length);
        machine.journal.end_entry();
        while machine.step() {}
    }
    disk.restart();
    machine
}

/// docs/journal-format.md §14: others count on what it took, as they do on its votes.
#[test]
fn a_member_that_gives_something_up_does_not_come_back_as_who_it_was() {
    let (name, found) = batches_of_the_largest(&voter(100).disk);
    let mut giving_up = member();
    giving_up.damage = DamagePolicy::CutThere;
    // A batch in the middle; the first segment; the end, of which the file that marks it says that it was there.
    for case in 0..3 {
        let machine = if case == 1 { voter(3_000) } else { voter(100) };
        let disk = machine.disk.fork(case);
        match case {
            0 => {
                let mut bytes = disk.content(&name).unwrap();
                bytes[found[10] + 70] ^= 1;
                disk.plant(&name, &bytes);
            }
            1 => disk.unplant(&disk.names().into_iter().find(|name| name.ends_with(".log")).unwrap()),
            _ => {
                let mut ended = follow(&disk, member()).unwrap();
                while ended.step() {}
                assert!(ended.journal.mark_end(&disk));
                drop(ended);
                disk.restart();
                let (name, found) = batches_of_the_largest(&disk);
                let mut bytes = disk.content(&name).unwrap();
                bytes[found[found.len() - 1] + 70] ^= 1;
                disk.plant(&name, &bytes);
            }
        }
        let before = content(&disk);
        let error = Machine::open(&disk, member(), 2).err();
        let error = error.unwrap_or_else(|| panic!("case {case} was not noticed"));
        assert!(matches!(error, OpenError::Damaged { .. }), "case {case}: {error}");
        let error = Machine::open(&disk, giving_up.clone(), 2).err().unwrap();
        assert!(matches!(error, OpenError::VotesUnknown { .. }), "case {case}: {error}");
        assert!(error.to_string().contains("new node id"), "{error}");
        assert!(content(&disk) == before, "case {case}: something was changed");
        let mut anew = giving_up.clone();
        anew.votes_anew = true;
        let next = Machine::open(&disk, anew, 3).unwrap();
        assert!(next.found.index < 30, "case {case}");
        assert_eq!(next.journal.vote(), Vote::default(), "case {case}");
        drop(next);
        disk.restart();
        assert_eq!(follow(&disk, member()).unwrap().journal.vote(), Vote::default());
    }
}

#[test]
fn a_member_that_may_give_up_damage_and_finds_none_is_who_it_was() {
    let machine = voter(100);
    let mut giving_up = member();
    giving_up.damage = DamagePolicy::CutThere;
    let next = follow(&machine.disk.fork(1), giving_up.clone()).unwrap();
    assert_eq!((next.found.index, next.journal.vote()), (30, vote(3)));
    // An interrupted write promised nothing.
    let disk = machine.disk.fork(2);
    let (name, found) = batches_of_the_largest(&disk);
    let mut bytes = disk.content(&name).unwrap();
    bytes[found[29] + 70] ^= 1;
    disk.plant(&name, &bytes);
    let next = follow(&disk, giving_up).unwrap();
    assert_eq!((next.found.index, next.journal.vote()), (29, vote(3)));
    assert!(next.opened.cut.is_some_and(|cut| cut.is_torn));
}

#[test]
fn who_stood_alone_since_comes_back_as_somebody_else() {
    for appends in [false, true] {
        let machine = voter(100);
        let disk = machine.disk.fork(1);
        let mut leaving = options();
        leaving.leaves_cluster = true;
        let mut alone = Machine::open(&disk, leaving, 2).unwrap();
        alone.checkpoints = false;
        if appends {
            alone.journal.append_message(LogId(1), 31, 9_000, &[b"alone"]);
        }
        alone.settle();
        drop(alone);
        disk.restart();
        let next = follow(&disk, member()).unwrap();
        assert_eq!(next.journal.vote(), Vote::default());
        assert_eq!(next.found.index, if appends { 0 } else { 30 });
    }
}
