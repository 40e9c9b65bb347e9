//! What is read of a journal beside it (docs/journal-format.md §14): what a start would find at an entry, whatever is appended, rewritten and
//! removed meanwhile; followers' checkpoints; and entries that are taken back while the journal is open.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use seaway_journal::disk::Disk;
use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_journal::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use support::{Machine, ModelState, Replayed, encrypted, member};

fn encrypted_member() -> Options {
    Options {
        durability: Durability::Quorum,
        ..encrypted(Cipher::ChaCha20Poly1305, b"key")
    }
}

/// The last entry that is both committed and synced.
fn durable_entry(journal: &Journal) -> u64 {
    let is_durable = |index: &u64| {
        journal
            .entry(*index)
            .is_some_and(|meta| meta.position <= journal.durable())
    };
    (journal.first_index()..=journal.committed())
        .rev()
        .find(is_durable)
        .unwrap_or(journal.purged().index)
}

/// Compares what was read with what was at a position.
fn compare(found: &Replayed, state: &ModelState, has_bytes: bool) -> Result<(), String> {
    let mut facts = BTreeMap::new();
    for (kind, body) in &found.facts {
        facts.insert(*kind, body.clone());
    }
    if facts != state.facts {
        return Err(format!("facts {facts:?} instead of {:?}", state.facts));
    }
    let logs: Vec<(u64, u64, u64, u64)> = found
        .logs
        .values()
        .map(|log| (log.log.0, log.first, log.last, log.bytes))
        .collect();
    let expected = state.logs.iter().map(|(id, log)| {
        let bytes: u64 = log.messages.values().map(|(_, length)| *length as u64 + 36).sum();
        (*id, log.first, log.last, if has_bytes { bytes } else { 0 })
    });
    let expected: Vec<(u64, u64, u64, u64)> = expected.collect();
    if logs != expected {
        return Err(format!("logs {logs:?} instead of {expected:?}"));
    }
    Ok(())
}

fn segments(disk: &SimulatedDisk) -> BTreeSet<String> {
    let names = disk.names().into_iter();
    names.filter(|name| name.ends_with(".log")).collect()
}

fn act(machine: &mut Machine, seed: u64) {
    match seed % 3 {
        0 => machine.random_action(),
        1 => machine.sparse_action(),
        _ => machine.churn_action(),
    }
}

/// While a job waits to be run the journal goes on for a while.
#[test]
fn a_fold_is_what_was_at_its_entry_whatever_happens_beside_it() {
    let (mut folds, mut removed, mut checkpoints) = (0, 0, 0);
    for seed in 0..36 {
        let options = [member(), encrypted_member()][(seed % 2) as usize].clone();
        let mut machine = Machine::open(&SimulatedDisk::new(seed), options.clone(), seed).unwrap();
        for _ in 0..12 {
            for _ in 0..200 + machine.random.below(300) {
                act(&mut machine, seed);
            }
            machine.journal.retain_from(u64::MAX);
            let serves = machine.random.below(3) == 0;
            if serves {
                machine.settle();
            }
            let purpose = if serves { FoldFor::Serving } else { FoldFor::Checkpoint };
            let upto = durable_entry(&machine.journal);
            let job = match machine.journal.fold(upto, purpose) {
                Ok(job) => job,
                Err(FoldError::Passed(_)) if !serves => continue,
                Err(error) => panic!("seed {seed}: {error}"),
            };
            let position = machine.journal.entry(upto).map_or(0, |meta| meta.position);
            let known = machine.journal.entry(upto).is_some();
            let expected = machine.state_at(position);
            let (before, done) = (segments(&machine.disk), machine.checkpoints_done);
            for _ in 0..machine.random.below(600) {
                act(&mut machine, seed);
            }
            if machine.random.below(2) == 0 {
                machine.checkpoint();
                machine.settle();
            }
            let mut found = Replayed::default();
            let folded = job
                .run(&machine.disk, &mut found)
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(folded.last.index, upto);
            if known {
                // Copies may lie behind the entry that a checkpoint stands for.
                assert!(folded.position() >= position);
                compare(&found, &expected, serves).unwrap_or_else(|error| panic!("seed {seed}, {purpose:?}: {error}"));
                folds += 1;
            }
            machine.settle();
            while machine.step() {}
            removed += before.difference(&segments(&machine.disk)).count();
            checkpoints += machine.checkpoints_done - done;
        }
        machine.disk.restart();
        machine.reopen(options, seed).unwrap();
    }
    assert!(
        folds > 200 && removed > 200 && checkpoints > 100,
        "{folds} {removed} {checkpoints}"
    );
}

/// What is folded to serve is what a start gives, to the last byte.
#[test]
fn a_fold_to_serve_is_what_a_start_finds() {
    for seed in 0..12 {
        let mut machine = Machine::open(&SimulatedDisk::new(seed), member(), seed).unwrap();
        for _ in 0..3_000 {
            act(&mut machine, seed);
        }
        machine.settle();
        let upto = machine.journal.last().index;
        let job = machine.journal.fold(upto, FoldFor::Serving).unwrap();
        let mut folded = Replayed::default();
        job.run(&machine.disk, &mut folded).unwrap();
        machine.disk.restart();
        let next = Machine::open(&machine.disk, member(), seed).unwrap();
        assert_eq!(folded.facts, next.replayed.facts);
        assert_eq!(folded.messages, next.replayed.messages);
        assert_eq!(
            (&folded.trims, &folded.deletes),
            (&next.replayed.trims, &next.replayed.deletes)
        );
        assert_eq!(folded.logs, next.replayed.logs);
        // Nothing of the owner's may follow.
        let mut next = next;
        next.state = machine.state.clone();
        next.append(7, 10);
        let error = next.journal.fold(upto, FoldFor::Serving).err().unwrap();
        assert_eq!(error, FoldError::GoneOn(upto));
    }
}

#[test]
fn what_is_not_committed_or_not_there_is_not_folded() {
    let disk = SimulatedDisk::new(1);
    let mut machine = Machine::open(&disk, member(), 1).unwrap();
    machine.commits = false;
    for _ in 0..3 {
        machine.append(1, 10);
        machine.journal.end_entry();
    }
    machine.settle_synced();
    let fold = |machine: &mut Machine, upto| {
        machine
            .journal
            .fold(upto, FoldFor::Checkpoint)
            .map(|job| job.last().index)
    };
    assert_eq!(fold(&mut machine, 1), Err(FoldError::NotDurable(1)));
    machine.journal.commit_to(2);
    assert_eq!(fold(&mut machine, 2), Ok(2));
    assert_eq!(fold(&mut machine, 3), Err(FoldError::NotDurable(3)));
    assert_eq!(fold(&mut machine, 9), Err(FoldError::NotDurable(9)));
    machine.journal.commit_to(3);
    machine.checkpoint();
    machine.settle();
    assert_eq!(fold(&mut machine, 2), Err(FoldError::Passed(2)));
    assert_eq!(fold(&mut machine, 3), Ok(3));
    let kept: Vec<FoldJob> = (0..limits::HOLDS_MAX)
        .map(|_| machine.journal.fold(3, FoldFor::Serving).unwrap())
        .collect();
    assert!(matches!(fold(&mut machine, 3), Err(FoldError::Unavailable(_))));
    drop(kept);
    assert_eq!(fold(&mut machine, 3), Ok(3));
}

#[test]
fn a_fold_ends_with_its_journal() {
    let disk = SimulatedDisk::new(1);
    let mut machine = Machine::open(&disk, member(), 1).unwrap();
    for _ in 0..5 {
        machine.append(1, 10);
        machine.journal.end_entry();
        machine.settle();
    }
    let job = machine.journal.fold(5, FoldFor::Serving).unwrap();
    drop(machine);
    let error = job.run(&disk, &mut Replayed::default()).err().unwrap();
    assert!(error.to_string().contains("stopped"), "{error}");
}

/// A leader with checkpoints of its own, and a follower without.
fn leader_and_follower(seed: u64) -> (Machine, Machine) {
    let leader = Machine::open(&SimulatedDisk::new(seed), member(), seed).unwrap();
    let options = [member(), encrypted_member()][(seed % 2) as usize].clone();
    let disk = SimulatedDisk::new(seed + 100);
    let mut follower = Machine::open_to_follow(&disk, Arc::new(disk.clone()), options, seed).unwrap();
    follower.checkpoints = false;
    (leader, follower)
}

/// Brings a follower what it lacks, and so much of what is committed.
fn replicate(leader: &mut Machine, follower: &mut Machine, committed: u64) {
    for index in follower.journal.last().index + 1..=leader.journal.last().index {
        let entry = leader.read_entry(index).unwrap();
        while follower
            .journal
            .append_entry(entry.id, entry.kind, &entry.bytes)
            .is_err()
        {
            assert!(follower.step(), "a segment is made");
        }
        for _ in 0..follower.random.below(4) {
            follower.step();
        }
    }
    while follower.step() {}
    follower.journal.commit_to(committed);
    while follower.step() {}
}

/// Writes a checkpoint of what was folded.
fn write_checkpoint(follower: &mut Machine, folded: &Folded, found: &Replayed) {
    follower.journal.begin_checkpoint_behind(folded).unwrap();
    assert_eq!(follower.journal.checkpoint_entry(), Some(folded.last));
    let mut facts = BTreeMap::new();
    for (kind, body) in &found.facts {
        facts.insert(*kind, body.clone());
    }
    for (kind, body) in facts {
        follower.journal.checkpoint_fact(kind, &body).unwrap();
    }
    follower.journal.checkpoint_members(b"members").unwrap();
    follower.journal.finish_checkpoint().unwrap();
}

/// Compares a follower that is opened again with its leader's state at the entry it has.
fn check_reopened(leader: &Machine, follower: &Machine, options: Options, index: u64) {
    let disk = follower.disk.fork(index);
    disk.restart();
    let mut next = Machine::open(&disk, options, 5).unwrap();
    assert_eq!(next.found.index, index);
    next.state = leader.state_at(leader.journal.entry(index).map_or(0, |meta| meta.position));
    next.check().unwrap();
    next.check_entries(&leader.closed).unwrap();
}

/// docs/journal-format.md §14: nothing of what may be taken back is in it, and it does not count before what it may know of is committed.
#[test]
fn a_followers_checkpoint_is_right_whether_what_follows_is_committed_or_taken_back() {
    let (mut published, mut taken_back) = (0, 0);
    for seed in 0..24 {
        let options = [member(), encrypted_member()][(seed % 2) as usize].clone();
        let (mut leader, mut follower) = leader_and_follower(seed);
        // Its entries are read from the cache and all segments.
        leader.checkpoints = false;
        for _ in 0..8 {
            for _ in 0..150 {
                act(&mut leader, seed);
            }
            leader.settle();
            let committed = follower
                .journal
                .last()
                .index
                .max(leader.journal.last().index - leader.random.below(6).min(leader.journal.last().index));
            replicate(&mut leader, &mut follower, committed);
            let upto = durable_entry(&follower.journal);
            let Ok(job) = follower.journal.fold(upto, FoldFor::Checkpoint) else {
                continue;
            };
            let mut found = Replayed::default();
            let folded = job.run(&follower.disk, &mut found).unwrap();
            let done = follower.checkpoints_done;
            write_checkpoint(&mut follower, &folded, &found);
            while follower.step() {}
            let last = follower.journal.last().index;
            if last > committed {
                assert_eq!(follower.checkpoints_done, done, "it may know of what is not committed");
            }
            if leader.random.below(3) > 0 || last == upto {
                follower.journal.commit_to(last);
                while follower.step() {}
                assert_eq!(follower.checkpoints_done, done + 1);
                published += 1;
                check_reopened(&leader, &follower, options.clone(), last);
            } else {
                let port: Arc<dyn Disk> = Arc::new(follower.disk.clone());
                while follower.step() {}
                let mut state = Replayed::default();
                let opened = follower
                    .journal
                    .cut_behind(&port, options.clone(), folded.last, &mut state)
                    .unwrap();
                assert_eq!(opened.position, follower.journal.appended());
                let expected = leader.state_at(leader.journal.entry(upto).map_or(0, |meta| meta.position));
                compare(&state, &expected, true).unwrap();
                assert_eq!(follower.journal.last(), folded.last);
                assert_eq!(
                    follower.journal.begin_checkpoint_behind(&folded),
                    Err(CheckpointError::Passed)
                );
                taken_back += 1;
                check_reopened(&leader, &follower, options.clone(), upto);
            }
        }
    }
    assert!(
        published > 60 && taken_back > 20,
        "{published} published, {taken_back} taken back"
    );
}

/// What was proposed stays although it was not on the disk yet; what was appended and not proposed is gone, and answers are not lost.
#[test]
fn what_was_not_proposed_is_taken_back_and_what_was_is_written_first() {
    for options in [member(), encrypted_member()] {
        let disk = SimulatedDisk::new(2);
        let port: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut machine = Machine::open(&disk, options.clone(), 2).unwrap();
        machine.commits = false;
        machine.append(1, 10);
        machine.settle_synced();
        machine.append(1, 20);
        machine.journal.end_entry();
        let proposed = std::iter::from_fn(|| machine.journal.take_closed()).last().unwrap().id;
        assert_eq!(proposed.index, 2);
        machine.append(1, 30);
        machine.journal.end_entry();
        machine.fact(3, b"in no batch yet");
        let kept = machine.state_at(2);
        let vote = Vote {
            term: 7,
            vote: 1,
            node: 2,
            cluster: [3; 16],
        };
        machine.journal.write_vote(5, vote);
        machine.journal.read_entry(6, 1);
        let job = machine.journal.fold(0, FoldFor::Checkpoint).unwrap();
        let unknown = EntryId { term: 1, index: 9 };
        let error = machine
            .journal
            .cut_behind(&port, options.clone(), unknown, &mut Replayed::default())
            .err()
            .unwrap();
        assert!(matches!(error, OpenError::Cut { .. }), "{error}");
        let mut state = Replayed::default();
        let epoch = machine.journal.epoch();
        machine
            .journal
            .cut_behind(&port, options.clone(), proposed, &mut state)
            .unwrap();
        compare(&state, &kept, true).unwrap();
        let journal = &mut machine.journal;
        assert_eq!((journal.last(), journal.appended(), journal.synced()), (proposed, 2, 2));
        assert!(journal.epoch() > epoch && journal.poison_reason().is_none());
        assert_eq!(journal.vote(), vote);
        let mut told = Vec::new();
        journal.poll(&mut told);
        let told: Vec<String> = told.iter().map(|told| format!("{told:?}")).collect();
        assert!(told.iter().any(|told| told.contains("VoteWritten(5)")), "{told:?}");
        assert!(told.iter().any(|told| told.contains("Entry((6,")), "{told:?}");
        assert!(
            job.run(&disk, &mut Replayed::default()).is_err(),
            "it ends before a file changes"
        );
        // Another leads from now on.
        machine
            .journal
            .append_entry(EntryId { term: 3, index: 3 }, EntryKind::Empty, b"")
            .unwrap();
        machine.journal.commit_to(2);
        let error = machine.journal.cut_behind(
            &port,
            options.clone(),
            EntryId { term: 1, index: 1 },
            &mut Replayed::default(),
        );
        assert!(error.err().unwrap().to_string().contains("entry 2 is committed"));
        while machine.step() {}
        assert_eq!(machine.journal.synced(), machine.journal.appended(), "it goes on");
    }
}
