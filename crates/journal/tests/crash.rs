//! Power is lost at every operation of a workload on the simulated disk (architecture: nothing leaves before it is durable;
//! docs/journal-format.md §9, §10).

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use seaway_journal::Lane;
use seaway_journal::Options;
use seaway_journal::disk::simulated::{SimulatedDisk, SyncMode};
use support::{Machine, member, options};

#[derive(Clone, Copy, PartialEq)]
enum Workload {
    Mixed,
    /// Mostly dead segments.
    Sparse,
    /// A log trimmed behind its end.
    Churn,
    /// The first two of a member of a cluster, which is a quorum by itself.
    Member,
    MemberSparse,
}

fn options_of(workload: Workload) -> Options {
    match workload {
        Workload::Member | Workload::MemberSparse => member(),
        Workload::Mixed | Workload::Sparse | Workload::Churn => options(),
    }
}

fn act(machine: &mut Machine, workload: Workload) {
    match workload {
        Workload::Mixed | Workload::Member => machine.random_action(),
        Workload::Sparse | Workload::MemberSparse => machine.sparse_action(),
        Workload::Churn => machine.churn_action(),
    }
}

/// Runs a workload until the disk crashes or it ends; then restarts and checks. Returns the number of operations.
fn run(
    workload: Workload,
    seed: u64,
    actions: u64,
    crash_at: Option<u64>,
    mode: SyncMode,
) -> Result<(u64, Machine), String> {
    let disk = SimulatedDisk::new(seed ^ crash_at.unwrap_or(0).wrapping_mul(0x9e37));
    disk.set_sync_mode(mode);
    if let Some(operation) = crash_at {
        disk.crash_at(operation);
    }
    let mut machine = match Machine::open(&disk, options_of(workload), seed) {
        Ok(machine) => machine,
        Err(_) if disk.has_crashed() => {
            disk.restart();
            let machine = Machine::open(&disk, options_of(workload), seed)
                .map_err(|error| format!("after a crash in open: {error}"))?;
            return Ok((disk.operations(), machine));
        }
        Err(error) => return Err(error.to_string()),
    };
    for _ in 0..actions {
        act(&mut machine, workload);
        if machine.poisoned() || disk.has_crashed() {
            break;
        }
    }
    let operations = disk.operations();
    if crash_at.is_none() {
        machine.settle();
    }
    if machine.poisoned() && !disk.has_crashed() {
        return Err(format!(
            "poisoned without a crash: {:?}",
            machine.journal.poison_reason()
        ));
    }
    if (seed + operations).is_multiple_of(3) {
        // First only the process dies: what its successor finds in the page cache and tells the world must survive too.
        disk.restart_process();
        machine = machine
            .reopen(options_of(workload), seed + 3)
            .map_err(|error| format!("start after a kill: {error}"))?;
    }
    disk.restart();
    let mut machine = machine
        .reopen(options_of(workload), seed + 1)
        .map_err(|error| format!("first start: {error}"))?;
    // Life goes on, and the next start finds that too.
    for _ in 0..40 {
        machine.random_action();
    }
    machine.settle();
    disk.restart_process();
    let machine = machine
        .reopen(options_of(workload), seed + 2)
        .map_err(|error| format!("second start: {error}"))?;
    Ok((operations, machine))
}

fn crash_everywhere(workload: Workload, seed: u64, actions: u64, mode: SyncMode) -> Result<(), String> {
    let (operations, machine) = run(workload, seed, actions, None, mode)?;
    assert!(operations > 100, "the workload does something: {operations} operations");
    assert!(machine.opened.position > 100);
    for operation in 1..=operations {
        run(workload, seed, actions, Some(operation), mode)
            .map_err(|error| format!("seed {seed}, crash at {operation}: {error}"))?;
    }
    Ok(())
}

#[test]
fn durable_records_survive_a_crash_at_every_operation() {
    for seed in [1, 2, 3] {
        crash_everywhere(Workload::Mixed, seed, 900, SyncMode::Honest).unwrap();
    }
}

#[test]
fn rewriting_survives_a_crash_at_every_operation() {
    for seed in [4, 5] {
        crash_everywhere(Workload::Sparse, seed, 2_500, SyncMode::Honest).unwrap();
    }
}

/// docs/journal-format.md §14: what is committed survives as what is durable does, and each entry is the one that it was.
#[test]
fn entries_survive_a_crash_at_every_operation() {
    crash_everywhere(Workload::Member, 21, 700, SyncMode::Honest).unwrap();
    for (workload, actions, seeds) in [
        (Workload::Member, 700, 2_000..2_060),
        (Workload::MemberSparse, 2_500, 3_000..3_060),
    ] {
        for seed in seeds {
            let (operations, _) =
                run(workload, seed, actions, None, SyncMode::Honest).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            let at = 1 + seed * 7_919 % operations;
            run(workload, seed, actions, Some(at), SyncMode::Honest)
                .unwrap_or_else(|e| panic!("seed {seed}, crash at {at}: {e}"));
        }
    }
    let error = crash_everywhere(Workload::Member, 1, 700, SyncMode::Lying).unwrap_err();
    assert!(!error.is_empty(), "a disk that does not sync is noticed");
}

#[test]
fn many_seeds_with_one_crash_each() {
    for seed in 1_000..1_150 {
        let (operations, _) =
            run(Workload::Mixed, seed, 600, None, SyncMode::Honest).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let at = 1 + seed * 7_919 % operations;
        run(Workload::Mixed, seed, 600, Some(at), SyncMode::Honest)
            .unwrap_or_else(|e| panic!("seed {seed}, crash at {at}: {e}"));
    }
}

/// Stale bytes of recycled segments never come back.
#[test]
fn recycling_survives_crashes() {
    let (operations, _) = run(Workload::Churn, 7, 8_000, None, SyncMode::Honest).unwrap();
    for operation in (1..=operations).rev().step_by(23).take(60) {
        run(Workload::Churn, 7, 8_000, Some(operation), SyncMode::Honest)
            .unwrap_or_else(|error| panic!("crash at {operation} of {operations}: {error}"));
    }
    let disk = SimulatedDisk::new(7);
    let mut machine = Machine::open(&disk, options(), 7).unwrap();
    for _ in 0..8_000 {
        machine.churn_action();
    }
    assert!(
        machine.journal.statistics().recycled > 5,
        "{:?}",
        machine.journal.statistics()
    );
}

/// Without working syncs the very same test must fail: it would notice a forgotten one.
#[test]
fn the_crash_test_notices_a_disk_that_does_not_sync() {
    let error = crash_everywhere(Workload::Mixed, 1, 900, SyncMode::Lying).unwrap_err();
    assert!(!error.is_empty());
}

/// The same seed gives the same disk, byte for byte.
#[test]
fn the_same_seed_gives_the_same_files() {
    let files = |seed| {
        let (_, machine) = run(Workload::Mixed, seed, 400, Some(150), SyncMode::Honest).unwrap();
        let names = machine.disk.names();
        names
            .into_iter()
            .map(|name| (machine.disk.content(&name), name))
            .collect::<Vec<_>>()
    };
    assert!(files(5) == files(5));
    assert!(files(5) != files(6));
}

/// The workloads are not vacuous: they take checkpoints, rewrite, remove segments, and crashes tear writes.
#[test]
fn the_workloads_reach_every_corner() {
    let (mut checkpoints, mut rewritten, mut removed, mut torn) = (0, 0, 0, 0);
    for seed in 0..30 {
        let disk = SimulatedDisk::new(seed);
        let mut machine = Machine::open(&disk, options(), seed).unwrap();
        for _ in 0..1_500 {
            machine.random_action();
        }
        for _ in 0..2_500 {
            machine.sparse_action();
        }
        machine.settle();
        let statistics = machine.journal.statistics();
        checkpoints += statistics.checkpoints;
        rewritten += statistics.rewritten_bytes;
        removed += u64::from(
            !disk
                .names()
                .iter()
                .any(|name| name.starts_with("segment-0000000000000001")),
        );
        let (operations, _) = run(Workload::Mixed, seed, 300, None, SyncMode::Honest).unwrap();
        disk.crash_at(disk.operations() + 1 + seed % operations.min(9));
        for _ in 0..200 {
            machine.random_action();
        }
        disk.restart();
        torn += u64::from(machine.reopen(options(), seed).unwrap().opened.cut.is_some());
    }
    println!(
        "{checkpoints} checkpoints, {rewritten} bytes rewritten, {removed} first segments removed, {torn} torn tails"
    );
    assert!(checkpoints > 30 && rewritten > 100_000 && removed > 10 && torn > 2);
}

#[test]
fn a_start_on_a_full_disk_survives_a_crash_at_every_operation() {
    for seed in 0..6 {
        let disk = SimulatedDisk::new(seed);
        let mut machine = Machine::open(&disk, options(), seed).unwrap();
        for _ in 0..600 {
            act(&mut machine, Workload::Mixed);
        }
        // A write is interrupted: what is given back lies behind a torn batch.
        disk.crash_at(disk.operations() + 1);
        machine.append(1, 3_000);
        machine.journal.submit();
        while machine.step() {}
        disk.restart();
        let mut crashes = 0;
        for operation in 1.. {
            let fork = disk.fork(seed * 1_000 + operation);
            fork.set_capacity(fork.used() + (seed % 3) * 200);
            fork.crash_at(fork.operations() + operation);
            let crashed = Machine::open(&fork, options(), seed).is_err();
            fork.restart();
            machine.disk = fork;
            machine
                .reopen(options(), seed)
                .unwrap_or_else(|error| panic!("seed {seed} operation {operation}: {error}"));
            if !crashed {
                break;
            }
            crashes += 1;
        }
        assert!(crashes > 8, "seed {seed}: only {crashes} operations were reached");
    }
}

#[test]
fn a_segment_stays_until_the_trim_that_emptied_it_before_it_was_sealed_is_durable() {
    let disk = SimulatedDisk::new(7);
    let mut machine = Machine::open(&disk, options(), 7).unwrap();
    machine.checkpoints = false;
    machine.settle();
    let directories = |machine: &Machine| {
        let names = machine.disk.names();
        names.iter().filter(|name| name.ends_with(".directory")).count()
    };
    // Commits alone, until the next segment has begun: nothing is done yet about the full one.
    let mut held = Vec::new();
    for _ in 0..80 {
        machine.append(1, 1_000);
        machine.journal.submit();
        while let Some(job) = machine.journal.next_job() {
            if job.lane() == Lane::Commit {
                machine.journal.completed(job.run(machine.port.as_ref()));
            } else {
                held.push(job);
            }
        }
    }
    let last = machine.state.logs[&1].last;
    assert_eq!(directories(&machine), 0);
    assert_eq!(machine.journal.durable(), machine.history.last().unwrap().0);
    machine.checkpoint();
    // The trim waits for company; what happens behind the commits goes on.
    let trimmed = machine.trim(1, last);
    machine
        .outcomes
        .extend(held.into_iter().map(|job| job.run(machine.port.as_ref())));
    while machine.step() {}
    assert_eq!((machine.checkpoints_done, directories(&machine)), (1, 1));
    assert!(machine.durable < trimmed);
    disk.restart();
    let again = machine.reopen(options(), 8).unwrap();
    assert_eq!(again.replayed.logs[&1].last, last);
}
