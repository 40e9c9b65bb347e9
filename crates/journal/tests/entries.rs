//! Members of a cluster (docs/journal-format.md §14): entries from a leader to its followers, what is committed, where entries are cut off,
//! and where the log begins.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use proptest::prelude::*;
use seaway_journal::disk::simulated::{Operation, SimulatedDisk};
use seaway_journal::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use support::{Machine, member, options};

fn follower(seed: u64, options: Options) -> Machine {
    let disk = SimulatedDisk::new(seed);
    follow(&disk, options, seed).unwrap()
}

fn follow(disk: &SimulatedDisk, options: Options, seed: u64) -> Result<Machine, OpenError> {
    let mut machine = Machine::open_to_follow(disk, Arc::new(disk.clone()), options, seed)?;
    machine.checkpoints = false;
    Ok(machine)
}

fn encrypted_member() -> Options {
    Options {
        durability: Durability::Quorum,
        ..support::encrypted(Cipher::ChaCha20Poly1305, b"key")
    }
}

/// Brings a follower what it lacks, and what is committed.
fn replicate(leader: &mut Machine, follower: &mut Machine) {
    let last = leader.journal.last();
    for index in follower.journal.last().index + 1..=last.index {
        let entry = leader.read_entry(index).unwrap();
        while let Err(refusal) = follower.journal.append_entry(entry.id, entry.kind, &entry.bytes) {
            assert_eq!(refusal, Refusal::Busy, "there is room, or will be");
            assert!(follower.step(), "a segment is made");
        }
        for _ in 0..follower.random.below(4) {
            follower.step();
        }
    }
    follower.journal.commit_to(leader.journal.committed());
}

/// What each batch on a disk is: its index, and the kinds of its records. By docs/journal-format.md §4 to §6 alone.
fn batches(disk: &SimulatedDisk) -> Vec<(u64, Vec<u8>)> {
    let number = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let small = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut found = Vec::new();
    for name in disk.names().iter().filter(|name| name.ends_with(".log")) {
        let content = disk.content(name).unwrap();
        let mut at = 4_096;
        while content.len() > at + 64 && &content[at..at + 4] == b"SWBT" {
            let (mut record, mut kinds) = (at + 64, Vec::new());
            for _ in 0..small(&content, at + 24) {
                kinds.push(content[record + 8]);
                record += small(&content, record) as usize;
            }
            found.push((number(&content, at + 40), kinds));
            at += small(&content, at + 4) as usize;
        }
    }
    found
}

/// What is the same on two disks: everything but who has the directory.
fn content(disk: &SimulatedDisk) -> BTreeMap<String, Option<Vec<u8>>> {
    let names = disk.names().into_iter();
    let names = names.filter(|name| !name.ends_with(".claim") && name != "journal.lock");
    names.map(|name| (name.clone(), disk.content(&name))).collect()
}

#[test]
fn followers_hold_what_their_leader_does_whatever_they_are_encrypted_with() {
    for seed in 0..12 {
        let disk = SimulatedDisk::new(seed);
        let leads = [member(), encrypted_member()][(seed % 2) as usize].clone();
        let mut leader = Machine::open(&disk, leads, seed).unwrap();
        let mut followers = [follower(seed + 50, member()), follower(seed + 90, encrypted_member())];
        for round in 0..40 {
            for _ in 0..30 {
                if seed % 3 == 0 {
                    leader.sparse_action();
                } else {
                    leader.random_action();
                }
            }
            leader.settle();
            if round % 9 == 3 {
                // Those who replicate add what is not made of records.
                let last = leader.journal.last();
                let id = |index| EntryId { term: last.term, index };
                let journal = &mut leader.journal;
                journal.append_entry(id(last.index + 1), EntryKind::Empty, b"").unwrap();
                let change = id(last.index + 2);
                journal.append_entry(change, EntryKind::Change, b"a learner").unwrap();
                while leader.step() {}
                leader.journal.commit_to(change.index);
                assert_eq!(leader.read_entry(change.index).unwrap().bytes, b"a learner");
            }
            for follower in &mut followers {
                replicate(&mut leader, follower);
            }
        }
        let entries = leader.journal.last().index;
        assert!(entries > 50, "{entries} entries");
        for (follower, options) in followers.iter_mut().zip([member(), encrypted_member()]) {
            follower.settle();
            let journal = &follower.journal;
            assert_eq!((journal.last().index, journal.committed()), (entries, entries));
            assert_eq!(journal.durable(), journal.appended());
            follower.disk.restart();
            let mut next = Machine::open(&follower.disk, options, seed).unwrap();
            next.state = leader.state.clone();
            next.next_log = leader.next_log;
            next.check().unwrap();
            next.check_entries(&leader.closed).unwrap();
        }
    }
}

/// A leader and its entries: copies in batches of their own, some entries not committed.
fn with_an_uncommitted_end(seed: u64) -> Machine {
    let disk = SimulatedDisk::new(seed);
    let mut options = member();
    // Nothing stays that could go: not for others that lag.
    options.entry_bytes_kept = 0;
    let mut machine = Machine::open(&disk, options, seed).unwrap();
    for _ in 0..3_000 {
        machine.sparse_action();
    }
    machine.settle();
    machine.commits = false;
    machine.checkpoints = false;
    for round in 0..8 {
        for _ in 0..4 {
            machine.append(1 + round % 2, 300);
        }
        machine.fact(3, &round.to_le_bytes());
        // Old messages die by what is not committed: what they lie in has to stay.
        let old = machine.state.logs.keys().find(|log| **log > 2).copied().unwrap();
        match round % 2 {
            0 => machine.delete(old),
            _ => machine.trim(old, u64::MAX >> 1),
        };
        if round == 1 {
            let logs: Vec<u64> = machine.state.logs.keys().filter(|log| **log > 2).copied().collect();
            for log in logs.iter().take(logs.len() - 8) {
                machine.delete(*log);
            }
        }
        machine.journal.end_entry();
        while machine.step() {}
    }
    machine
}

#[test]
fn a_checkpoint_counts_once_everything_that_it_may_know_of_is_committed() {
    let mut machine = with_an_uncommitted_end(13);
    let done = machine.checkpoints_done;
    machine.checkpoint();
    machine.settle_synced();
    assert_eq!(machine.checkpoints_done, done);
    let last = machine.journal.last().index;
    machine.journal.commit_to(last - 1);
    while machine.step() {}
    assert_eq!(machine.checkpoints_done, done);
    machine.journal.commit_to(last);
    while machine.step() {}
    assert_eq!(machine.checkpoints_done, done + 1);
}

/// docs/journal-format.md §14: what a follower took is there again whenever it loses its power.
#[test]
fn a_follower_keeps_what_it_synced_whenever_the_power_is_lost() {
    let disk = SimulatedDisk::new(1);
    let mut leader = Machine::open(&disk, member(), 1).unwrap();
    for _ in 0..300 {
        leader.random_action();
    }
    leader.settle();
    let last = leader.journal.last().index;
    let mut crashes = 0;
    for operation in 1.. {
        let mut taken = follower(operation, member());
        taken.disk.crash_at(taken.disk.operations() + operation);
        for index in 1..=last {
            let entry = leader.read_entry(index).unwrap();
            if taken.journal.append_entry(entry.id, entry.kind, &entry.bytes).is_err() {
                while taken.step() {}
                let again = taken.journal.append_entry(entry.id, entry.kind, &entry.bytes);
                assert!(again.is_ok() || taken.disk.has_crashed(), "{again:?}");
            }
            if taken.disk.has_crashed() {
                break;
            }
            taken.journal.commit_to(index.saturating_sub(2));
            taken.step();
        }
        while taken.step() {}
        let (crashed, synced) = (taken.disk.has_crashed(), taken.journal.synced());
        let promised = (1..=last).take_while(|index| {
            let meta = taken.journal.entry(*index);
            meta.is_some_and(|meta| meta.position <= synced)
        });
        let promised = promised.count() as u64;
        taken.disk.restart();
        let mut next = Machine::open(&taken.disk, member(), 2).unwrap();
        let found = next.found.index;
        assert!(found >= promised, "crash at {operation}: {found} of {promised}");
        next.state = leader.state_at(leader.journal.entry(found).map_or(0, |meta| meta.position));
        next.check()
            .unwrap_or_else(|error| panic!("crash at {operation}: {error}"));
        next.check_entries(&leader.closed).unwrap();
        if !crashed {
            assert_eq!(found, last);
            break;
        }
        crashes += 1;
    }
    assert!(crashes > 30, "{crashes}");
}

#[test]
fn copies_lie_in_batches_of_their_own_and_wait_for_the_entries_before_them() {
    let mut machine = with_an_uncommitted_end(3);
    let found = batches(&machine.disk);
    let copies = |kinds: &[u8]| kinds.iter().filter(|kind| **kind == 5).count();
    let (mut entries, mut local) = (0, 0);
    for (index, kinds) in &found {
        match index {
            0 => assert_eq!(copies(kinds), kinds.len(), "a local batch holds copies alone"),
            _ => assert_eq!(copies(kinds), 0, "entry {index} holds a copy"),
        }
        entries += u64::from(*index > 0);
        local += u64::from(*index == 0);
    }
    assert!(entries > 15 && local > 3, "{entries} entries, {local} local batches");
    let journal = &mut machine.journal;
    let (last, committed) = (journal.last().index, journal.committed());
    assert_eq!(last - committed, 8);
    assert!(journal.synced() > journal.durable());
    let before = journal.entry(committed + 1).unwrap().position;
    assert!(journal.durable() < before);
    journal.commit_to(committed + 1);
    let next = journal.entry(committed + 2).unwrap().position;
    assert!(
        (before..next).contains(&journal.durable()),
        "with it the copies behind it"
    );
    journal.commit_to(last);
    assert_eq!(journal.durable(), journal.synced());
    assert_eq!(journal.backlog_bytes(), 0);
}

/// Names of segments on a disk.
fn segments(disk: &SimulatedDisk) -> Vec<String> {
    let names = disk.names().into_iter();
    names.filter(|name| name.ends_with(".log")).collect()
}

/// Opens a copy of the disk as it is after a loss of power, cut behind an entry; checks what is there against what was at that entry.
fn check_cut_behind(machine: &Machine, index: u64) {
    let disk = machine.disk.fork(index);
    disk.restart();
    let mut cutting = member();
    cutting.cut_after = machine.journal.entry(index).map(|meta| meta.id);
    let mut cut = Machine::open(&disk, cutting, index).unwrap();
    cut.state = machine.state_at(machine.journal.entry(index).unwrap().position);
    cut.check().unwrap();
}

/// Some segments with messages of one log, all committed and covered by a checkpoint.
fn with_covered_segments() -> Machine {
    let disk = SimulatedDisk::new(3);
    let mut options = member();
    options.entry_bytes_kept = 0;
    let mut machine = Machine::open(&disk, options, 3).unwrap();
    machine.checkpoints = false;
    for number in 0..300 {
        machine.append(1 + u64::from(number % 20 == 0), 900);
        machine.journal.submit();
        while machine.step() {}
    }
    machine.checkpoint();
    machine.settle();
    machine.journal.retain_from(u64::MAX);
    while machine.step() {}
    assert_eq!(machine.checkpoints_done, 1);
    machine
}

#[test]
fn a_segment_whose_messages_an_entry_takes_away_goes_when_that_is_committed_and_not_when_it_is_synced() {
    let mut machine = with_covered_segments();
    machine.commits = false;
    let before = segments(&machine.disk);
    assert!(before.len() > 4, "{before:?}");
    let kept = machine.journal.last().index;
    machine.delete(1);
    machine.delete(2);
    machine.journal.end_entry();
    while machine.step() {}
    assert_eq!(machine.journal.synced(), machine.journal.appended());
    let left = segments(&machine.disk);
    assert!(
        before.iter().all(|name| left.contains(name)),
        "it may be taken back: {left:?}"
    );
    check_cut_behind(&machine, kept);
    machine.journal.commit_to(kept + 1);
    while machine.step() {}
    let left = segments(&machine.disk);
    assert!(
        before.iter().filter(|name| left.contains(name)).count() < before.len() / 2,
        "{left:?}"
    );
}

#[test]
fn a_cut_leaves_copies_that_were_made_behind_the_last_entry_that_stays() {
    let mut machine = with_covered_segments();
    let before = segments(&machine.disk);
    // With this entry all but some messages die; they are copied, and the segments go.
    let log = machine.state.logs[&1].clone();
    machine.trim(1, log.last + 1);
    machine.settle();
    while machine.step() {}
    let kept = machine.journal.last().index;
    let left = segments(&machine.disk);
    assert!(
        before.iter().filter(|name| !left.contains(name)).count() > 3,
        "{left:?} of {before:?}"
    );
    machine.commits = false;
    machine.fact(1, b"is cut off");
    machine.journal.end_entry();
    while machine.step() {}
    let found = batches(&machine.disk);
    let [.., copies, last] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((last.0, copies.0), (kept + 1, 0), "the copies lie between the two");
    check_cut_behind(&machine, kept);
}

#[test]
fn entries_are_cut_off_behind_any_that_may_be_the_last_and_nothing_that_is_committed() {
    let machine = with_an_uncommitted_end(5);
    let (last, committed) = (machine.journal.last(), machine.journal.committed());
    for index in machine.journal.first_index()..=last.index + 1 {
        let id = machine
            .journal
            .entry(index)
            .map_or(EntryId { index, ..last }, |meta| meta.id);
        let disk = machine.disk.fork(index);
        disk.restart();
        let before = content(&disk);
        let mut cutting = member();
        cutting.cut_after = Some(id);
        let opened = Machine::open(&disk, cutting, index);
        // What was said of commits in the entries is somewhat less than what was known.
        if index + 2 < committed || index > last.index {
            let error = opened.err().unwrap();
            assert!(matches!(error, OpenError::Cut { .. }), "entry {index}: {error}");
            assert!(content(&disk) == before, "entry {index}: something was changed");
            continue;
        }
        let Ok(mut cut) = opened else { continue };
        assert_eq!(cut.journal.last(), id);
        let position = machine.journal.entry(index).unwrap().position;
        cut.history = machine
            .history
            .iter()
            .filter(|(at, _)| *at <= position)
            .cloned()
            .collect();
        cut.state = machine.state_at(position);
        cut.next_log = machine.next_log + 1;
        cut.clock = machine.clock;
        cut.check().unwrap_or_else(|error| panic!("entry {index}: {error}"));
        cut.check_entries(&machine.closed).unwrap();
        // Life goes on with other entries in place of those that are gone.
        for _ in 0..60 {
            cut.random_action();
        }
        cut.settle();
        disk.restart();
        cut.reopen(member(), index)
            .unwrap_or_else(|error| panic!("behind entry {index}: {error}"));
    }
    let mut wrong = member();
    wrong.cut_after = Some(EntryId {
        term: last.term + 1,
        index: last.index - 1,
    });
    let error = Machine::open(&machine.disk.fork(1), wrong, 1)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("is of term 1"), "{error}");
}

#[test]
fn a_cut_is_there_or_not_whenever_the_power_is_lost() {
    let machine = with_an_uncommitted_end(7);
    let last = machine.journal.last();
    let mut crashes = 0;
    for back in [1, 4, 7] {
        let id = machine.journal.entry(last.index - back).unwrap().id;
        for operation in 1.. {
            let disk = machine.disk.fork(operation);
            disk.restart();
            disk.crash_at(disk.operations() + operation);
            let mut cutting = member();
            cutting.cut_after = Some(id);
            let crashed = Machine::open(&disk, cutting, operation).is_err();
            disk.restart();
            let mut next = Machine::open(&disk, member(), operation).unwrap();
            let found = next.found;
            assert!(
                found == id || (found == last && crashed),
                "crash at {operation}: {found:?}"
            );
            let position = machine.journal.entry(found.index).unwrap().position;
            next.state = machine.state_at(position);
            next.check()
                .unwrap_or_else(|error| panic!("crash at {operation}: {error}"));
            next.check_entries(&machine.closed).unwrap();
            if !crashed {
                break;
            }
            crashes += 1;
        }
    }
    assert!(crashes > 20, "{crashes} operations were reached");
}

#[test]
fn a_start_knows_of_what_is_committed_what_the_entries_say() {
    let disk = SimulatedDisk::new(1);
    let mut machine = Machine::open(&disk, member(), 1).unwrap();
    machine.commits = false;
    let mut ends = Vec::new();
    for index in 1..=4 {
        machine.append(1, 100);
        machine.journal.end_entry();
        while machine.step() {}
        ends.push(machine.journal.synced());
        assert_eq!(machine.journal.last(), EntryId { term: 1, index });
        machine.journal.commit_to(index - 1);
    }
    assert_eq!((machine.journal.committed(), machine.journal.durable()), (3, ends[2]));
    disk.restart();
    let mut next = follow(&disk, member(), 2).unwrap();
    // The fourth was closed when two were committed.
    assert_eq!((next.journal.committed(), next.journal.last().index), (2, 4));
    assert_eq!((next.journal.durable(), next.journal.synced()), (ends[1], ends[3]));
    assert!(next.journal.backlog_bytes() > 0);
    // What is not there cannot be known to be committed.
    next.journal.commit_to(5);
    assert_eq!((next.journal.committed(), next.journal.durable()), (2, ends[1]));
    next.journal.commit_to(4);
    assert_eq!((next.journal.committed(), next.journal.durable()), (4, ends[3]));
    assert_eq!(next.journal.backlog_bytes(), 0);
    // An earlier index changes nothing.
    next.journal.commit_to(1);
    assert_eq!(next.journal.committed(), 4);
}

#[test]
fn what_no_member_can_have_sent_is_refused_in_words_and_changes_nothing() {
    let disk = SimulatedDisk::new(1);
    let mut leader = Machine::open(&disk, member(), 1).unwrap();
    leader.append(1, 20);
    leader.append(1, 30);
    leader.trim(1, 2);
    leader.fact(4, b"a fact");
    leader.settle();
    let entry = leader.read_entry(1).unwrap();
    let mut follower = follower(2, encrypted_member());
    let id = |term, index| EntryId { term, index };
    let mut refused = |id, kind, bytes: &[u8], reason: &str| {
        let (appended, last) = (follower.journal.appended(), follower.journal.last());
        let error = follower.journal.append_entry(id, kind, bytes).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!((follower.journal.appended(), follower.journal.last()), (appended, last));
    };
    refused(
        id(1, 2),
        EntryKind::Records,
        &entry.bytes,
        "entry 2 of term 1 does not follow entry 0 of term 0",
    );
    refused(id(1, 1), EntryKind::Records, b"", "no record");
    refused(id(1, 1), EntryKind::Empty, b"something", "too large: 9 bytes");
    let huge = vec![7; limits::MEMBERS_BYTES_MAX + 1];
    refused(id(1, 1), EntryKind::Change, &huge, "at most 65536");
    refused(
        id(1, 1),
        EntryKind::Records,
        &entry.bytes[..entry.bytes.len() - 1],
        "length",
    );
    let second = [&entry.bytes[..], &entry.bytes[..]].concat();
    refused(
        id(1, 1),
        EntryKind::Records,
        &second,
        "message 1 of log 1 follows message 2",
    );
    follower
        .journal
        .append_entry(id(3, 1), EntryKind::Records, &entry.bytes)
        .unwrap();
    let error = follower
        .journal
        .append_entry(id(2, 2), EntryKind::Empty, b"")
        .unwrap_err();
    assert!(
        error.to_string().contains("does not follow"),
        "an earlier term: {error}"
    );
    // Who led and was deposed has to be opened again when it appended what nobody has.
    leader.append(1, 5);
    let error = leader
        .journal
        .append_entry(id(2, 2), EntryKind::Empty, b"")
        .unwrap_err();
    assert!(error.to_string().contains("was not proposed"), "{error}");
}

proptest! {
    /// Nothing panics on a peer's bytes.
    #[test]
    fn arbitrary_entries_are_refused_or_taken(bytes in proptest::collection::vec(any::<u8>(), 0..120), flip in 0..2_000usize, encrypted: bool) {
        let disk = SimulatedDisk::new(1);
        let mut leader = Machine::open(&disk, member(), 1).unwrap();
        leader.append(1, 40);
        leader.append(2, 0);
        leader.trim(2, 1);
        leader.delete(2);
        leader.settle();
        let mut altered = leader.read_entry(1).unwrap().bytes;
        let at = flip / 8 % altered.len();
        altered[at] ^= 1 << (flip % 8);
        let mut follower = follower(2, if encrypted { encrypted_member() } else { member() });
        for candidate in [altered, bytes] {
            let index = follower.journal.last().index + 1;
            let _ = follower.journal.append_entry(EntryId { term: 1, index }, EntryKind::Records, &candidate);
        }
        while follower.step() {}
        prop_assert!(follower.journal.poison_reason().is_none());
        let last = follower.journal.last();
        follower.disk.restart();
        let mut again = follow(&follower.disk, if encrypted { encrypted_member() } else { member() }, 3).unwrap();
        prop_assert_eq!(again.journal.last(), last);
        again.check_entries(&[]).unwrap();
    }
}

#[test]
fn the_log_begins_where_the_segments_do_and_what_others_need_is_kept_within_a_bound() {
    let disk = SimulatedDisk::new(9);
    let mut options = member();
    options.entry_bytes_kept = 600 << 10;
    let mut machine = Machine::open(&disk, options.clone(), 9).unwrap();
    let churn = |machine: &mut Machine| {
        for _ in 0..400 {
            machine.append(1, 900);
            machine.journal.submit();
            for _ in 0..4 {
                machine.step();
            }
        }
        machine.trim(1, machine.state.logs[&1].last);
        machine.settle();
        machine.checkpoint();
        machine.settle();
        while machine.step() {}
    };
    churn(&mut machine);
    // A start that nobody told what is needed keeps what it found, and no more than that.
    assert_eq!(machine.journal.first_index(), 1);
    for _ in 0..4 {
        churn(&mut machine);
    }
    let first = machine.journal.first_index();
    assert!(first > 100, "what is too much goes: {first}");
    assert!(disk.used() < 3 << 20, "{} bytes", disk.used());
    let purged = machine.journal.purged();
    assert_eq!(purged.index, first - 1);
    machine.check_entries(&machine.closed.clone()).unwrap();
    machine.journal.read_entry(5, 1);
    machine.journal.read_entry(6, machine.journal.last().index + 1);
    let mut told = Vec::new();
    machine.journal.poll(&mut told);
    let answers: Vec<String> = told.iter().map(|told| format!("{told:?}")).collect();
    assert!(answers[0].contains("(5, Err(Purged(1)))"), "{answers:?}");
    assert!(answers[1].contains("(6, Err(Unknown("), "{answers:?}");
    disk.restart();
    let mut next = Machine::open(&disk, options.clone(), 3).unwrap();
    let again = next.journal.first_index();
    // The oldest is only known by name then.
    assert!((first..=first + 1).contains(&again), "{again} instead of {first}");
    assert_eq!(next.found.index, machine.journal.last().index);
    let known = machine.journal.entry(again - 1).map_or(purged, |meta| meta.id);
    assert_eq!(next.journal.purged(), known);
    assert_eq!(
        next.journal.members().map(|members| &members.body[..]),
        Some(&b"members"[..])
    );
    next.checkpoints = false;
    next.check_entries(&machine.closed).unwrap();
    // Nobody needs them any more.
    let last = next.journal.last().index;
    next.journal.retain_from(last + 1);
    while next.step() {}
    next.state.clone_from(&machine.state);
    churn(&mut next);
    churn(&mut next);
    next.journal.retain_from(u64::MAX);
    while next.step() {}
    assert!(next.journal.first_index() > last, "{}", next.journal.first_index());
    disk.restart();
    let again = Machine::open(&disk, options, 4).unwrap();
    assert_eq!(again.found, next.journal.last());
}

fn vote(term: u64) -> Vote {
    Vote {
        term,
        vote: term % 3,
        node: 77,
        cluster: *b"cluster identity",
    }
}

#[test]
fn a_vote_is_what_was_promised_whenever_the_power_is_lost() {
    let mut crashes = 0;
    for operation in 1.. {
        let disk = SimulatedDisk::new(operation);
        let mut machine = follow(&disk, member(), 1).unwrap();
        disk.crash_at(disk.operations() + operation);
        let (mut promised, mut asked) = (0, 0);
        for term in 1..6 {
            machine.journal.write_vote(term, vote(term));
            asked = term;
            while machine.step() {}
            let written = machine.completions.iter().filter_map(|completion| match completion {
                Completion::VoteWritten(ticket) => Some(*ticket),
                _ => None,
            });
            promised = written.max().unwrap_or(0);
        }
        let crashed = disk.has_crashed();
        assert!(crashed || promised == asked);
        assert_eq!(
            machine.journal.poison_reason().is_some(),
            crashed,
            "nothing is known after a failed write"
        );
        disk.restart();
        let found = follow(&disk, member(), 2).unwrap().journal.vote();
        assert!(
            (promised..=asked).contains(&found.term),
            "{found:?}: {promised} was promised"
        );
        assert!(found.term == 0 || found == vote(found.term));
        if !crashed {
            break;
        }
        crashes += 1;
    }
    assert!(crashes >= 10, "{crashes}");
}

#[test]
fn votes_that_come_while_one_is_written_take_each_others_place_and_all_are_answered() {
    let disk = SimulatedDisk::new(1);
    let mut machine = follow(&disk, member(), 1).unwrap();
    let written = disk.operations();
    machine.journal.write_vote(1, vote(1));
    let mut jobs: Vec<Job> = std::iter::from_fn(|| machine.journal.next_job()).collect();
    let at = jobs.iter().position(|job| job.lane() == Lane::Reader).unwrap();
    let first = jobs.swap_remove(at);
    machine.journal.write_vote(2, vote(2));
    machine.journal.write_vote(3, vote(3));
    for job in jobs {
        machine.outcomes.push(job.run(machine.port.as_ref()));
    }
    machine.outcomes.push(first.run(machine.port.as_ref()));
    while machine.step() {}
    assert!(disk.operations() > written);
    let told: Vec<u64> = machine
        .completions
        .iter()
        .filter_map(|completion| match completion {
            Completion::VoteWritten(ticket) => Some(*ticket),
            _ => None,
        })
        .collect();
    assert_eq!(told, [1, 2, 3]);
    disk.restart();
    assert_eq!(follow(&disk, member(), 2).unwrap().journal.vote(), vote(3));
}

#[test]
fn entries_without_a_vote_that_can_be_read_ask_for_a_new_node_id() {
    let disk = SimulatedDisk::new(1);
    let mut machine = Machine::open(&disk, member(), 1).unwrap();
    machine.journal.write_vote(1, vote(8));
    machine.append(1, 10);
    machine.settle();
    disk.restart();
    for spoil in [true, false] {
        let disk = disk.fork(4);
        if spoil {
            disk.plant("vote", &[0; 1_024]);
        } else {
            disk.unplant("vote");
        }
        let before = content(&disk);
        let error = Machine::open(&disk, member(), 2).err().unwrap();
        assert!(matches!(error, OpenError::VotesUnknown { .. }), "{error}");
        assert!(error.to_string().contains("new node id"), "{error}");
        assert!(content(&disk) == before);
        let mut anew = member();
        anew.votes_anew = true;
        let next = Machine::open(&disk, anew, 2).unwrap();
        assert_eq!((next.journal.vote(), next.found.index), (Vote::default(), 1));
        disk.restart();
        assert_eq!(
            Machine::open(&disk, member(), 3).unwrap().journal.vote(),
            Vote::default()
        );
    }
    // Without entries there is nothing that could have been promised.
    let empty = SimulatedDisk::new(2);
    follow(&empty, member(), 1).unwrap();
    empty.unplant("vote");
    empty.restart();
    assert_eq!(follow(&empty, member(), 2).unwrap().journal.vote(), Vote::default());
}

#[test]
fn a_member_stands_alone_only_when_it_is_told_to_leave() {
    let disk = SimulatedDisk::new(1);
    // A server that stands alone becomes the first member.
    let mut machine = Machine::open(&disk, options(), 1).unwrap();
    machine.append(1, 10);
    machine.settle();
    disk.restart_process();
    let machine = machine.reopen(member(), 2).unwrap();
    assert_eq!((machine.found, machine.journal.members()), (EntryId::default(), None));
    assert_eq!(
        machine.journal.durable(),
        machine.journal.synced(),
        "what there was counts"
    );
    drop(machine.journal);
    let mut machine = follow(&disk, member(), 3).unwrap();
    machine.journal.found(EntryId { term: 1, index: 1 });
    machine.checkpoint();
    while machine.step() {}
    assert_eq!(machine.checkpoints_done, 1);
    machine.journal.lead(2, 2);
    machine.state.apply(&support::Op::Message {
        log: 1,
        sequence: 1,
        timestamp: 1,
        length: 10,
    });
    machine.commits = false;
    machine.append(1, 20);
    machine.settle_synced();
    disk.restart();
    let mut found = follow(&disk, member(), 4).unwrap();
    assert_eq!(
        (found.journal.last(), found.journal.first_index()),
        (EntryId { term: 2, index: 2 }, 2)
    );
    assert_eq!(
        found.journal.members().map(|members| members.id),
        Some(EntryId { term: 1, index: 1 })
    );
    assert_eq!(found.journal.committed(), 1);
    found.check_entries(&machine.closed).unwrap();
    drop(found);
    disk.restart();
    let before = content(&disk);
    let error = Machine::open(&disk, options(), 5).err().unwrap();
    assert!(matches!(error, OpenError::Member), "{error}");
    assert!(content(&disk) == before);
    let mut leaving = options();
    leaving.leaves_cluster = true;
    let mut alone = Machine::open(&disk, leaving, 6).unwrap();
    alone.checkpoints = false;
    assert_eq!(alone.replayed.logs[&1].last, 2, "what was not committed counts as well");
    alone.journal.append_message(LogId(1), 3, 9_000, &[b"alone"]);
    alone.settle();
    disk.restart();
    // From now on it does.
    drop(Machine::open(&disk, options(), 7).unwrap());
    disk.restart();
    // What is there now is no entry of any cluster, and a new one begins behind it.
    let mut again = follow(&disk, member(), 8).unwrap();
    assert_eq!(
        (again.journal.last(), again.journal.members()),
        (EntryId::default(), None)
    );
    assert_eq!(again.journal.durable(), again.journal.synced());
    again.journal.found(EntryId { term: 1, index: 1 });
    assert_eq!(again.journal.first_index(), 2);
}

#[test]
fn an_error_of_the_disk_is_no_entry_that_is_gone() {
    let disk = SimulatedDisk::new(1);
    let mut options = member();
    options.tail_cache_bytes = 0;
    let mut machine = Machine::open(&disk, options.clone(), 1).unwrap();
    for _ in 0..4 {
        machine.append(1, 10);
        machine.journal.end_entry();
        machine.settle();
    }
    let segment = disk.names().into_iter().find(|name| name.ends_with(".log")).unwrap();
    let place = machine.journal.entry(1).unwrap();
    assert_eq!((place.kind, place.position), (EntryKind::Records, 1));
    // Within the first batch's record.
    assert!(disk.rot(&segment, 4_096 + 64 + 20, 1));
    let mut next = machine;
    let error = next.read_entry(1).unwrap_err();
    assert!(error.contains("entry 1 cannot be read"), "{error}");
    assert!(error.contains("damaged"), "{error}");
    disk.mend();
    disk.fail(Operation::Read, 0, std::io::ErrorKind::OutOfMemory);
    assert!(next.read_entry(2).is_ok() || next.read_entry(2).is_ok(), "it may pass");
}

/// docs/journal-format.md §14: what is read from end to end includes that entries follow on each other, and the votes.
#[test]
fn verifying_a_members_journal_says_so_and_checks_entries_and_votes() {
    let machine = with_an_uncommitted_end(11);
    machine.disk.restart();
    let verify = |disk: &SimulatedDisk| {
        let mut damages = Vec::new();
        let verified = verify(disk, None, &mut |damage| damages.push(damage)).unwrap();
        (verified, damages)
    };
    let (verified, damages) = verify(&machine.disk);
    assert!(verified.is_member && verified.has_votes, "{verified:?}");
    assert!(verified.segments > 3 && damages.is_empty(), "{damages:?}");
    let disk = machine.disk.fork(1);
    disk.unplant("vote");
    let (verified, damages) = verify(&disk);
    assert!(verified.is_member && !verified.has_votes && damages.is_empty());
    disk.plant("vote", &[1; 1_024]);
    let (_, damages) = verify(&disk);
    assert_eq!((damages.len(), damages[0].file.as_str()), (1, "vote"), "{damages:?}");
    // Each file on its own, as whoever copies files checks it.
    for name in machine.disk.names() {
        let bytes = machine.disk.content(&name).unwrap();
        let whole = name.ends_with(".log");
        let mut check = FileCheck::begin(&name, support::IDENTITY, bytes.len() as u64);
        check.add(&bytes);
        assert!(check.finish().is_ok() || whole, "{name}");
    }
    let mut check = FileCheck::begin("vote", support::IDENTITY, 1_024);
    check.add(&[1; 1_024]);
    assert!(check.finish().is_err());
    assert!(
        !is_image_file("vote") && is_journal_file("vote"),
        "a backup promises nothing"
    );
}
