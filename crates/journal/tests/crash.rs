//! Power is lost at every operation of a workload on the simulated disk (architecture: nothing leaves before it is durable;
//! docs/journal-format.md §9, §10).

mod support;

use seaway_journal::disk::simulated::{SimulatedDisk, SyncMode};
use support::{Machine, options};

/// Runs a workload until the disk crashes or it ends; then restarts and checks. Returns the number of operations.
fn run(seed: u64, actions: u64, crash_at: Option<u64>, mode: SyncMode) -> Result<(u64, Machine), String> {
    let disk = SimulatedDisk::new(seed ^ crash_at.unwrap_or(0).wrapping_mul(0x9e37));
    disk.set_sync_mode(mode);
    if let Some(operation) = crash_at {
        disk.crash_at(operation);
    }
    let mut machine = match Machine::open(&disk, options(), seed) {
        Ok(machine) => machine,
        Err(_) if disk.has_crashed() => {
            disk.restart();
            let machine =
                Machine::open(&disk, options(), seed).map_err(|error| format!("after a crash in open: {error}"))?;
            return Ok((disk.operations(), machine));
        }
        Err(error) => return Err(error.to_string()),
    };
    for _ in 0..actions {
        machine.random_action();
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
    disk.restart();
    let mut machine = machine
        .reopen(options(), seed + 1)
        .map_err(|error| format!("first start: {error}"))?;
    // Life goes on, and the next start finds that too.
    for _ in 0..40 {
        machine.random_action();
    }
    machine.settle();
    disk.restart_process();
    let machine = machine
        .reopen(options(), seed + 2)
        .map_err(|error| format!("second start: {error}"))?;
    Ok((operations, machine))
}

fn crash_everywhere(seed: u64, actions: u64, mode: SyncMode) -> Result<(), String> {
    let (operations, machine) = run(seed, actions, None, mode)?;
    assert!(operations > 100, "the workload does something: {operations} operations");
    assert!(machine.opened.position > 100);
    for operation in 1..=operations {
        run(seed, actions, Some(operation), mode)
            .map_err(|error| format!("seed {seed}, crash at {operation}: {error}"))?;
    }
    Ok(())
}

#[test]
fn durable_records_survive_a_crash_at_every_operation() {
    for seed in [1, 2, 3] {
        crash_everywhere(seed, 900, SyncMode::Honest).unwrap();
    }
}

#[test]
fn many_seeds_with_one_crash_each() {
    for seed in 1_000..1_150 {
        let (operations, _) = run(seed, 600, None, SyncMode::Honest).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let at = 1 + seed * 7_919 % operations;
        run(seed, 600, Some(at), SyncMode::Honest).unwrap_or_else(|e| panic!("seed {seed}, crash at {at}: {e}"));
    }
}

/// Without working syncs the very same test must fail: it would notice a forgotten one.
#[test]
fn the_crash_test_notices_a_disk_that_does_not_sync() {
    let error = crash_everywhere(1, 900, SyncMode::Lying).unwrap_err();
    assert!(!error.is_empty());
}

/// The same seed gives the same disk, byte for byte.
#[test]
fn the_same_seed_gives_the_same_files() {
    let files = |seed| {
        let (_, machine) = run(seed, 400, Some(150), SyncMode::Honest).unwrap();
        let names = machine.disk.names();
        names
            .into_iter()
            .map(|name| (machine.disk.content(&name), name))
            .collect::<Vec<_>>()
    };
    assert!(files(5) == files(5));
    assert!(files(5) != files(6));
}
