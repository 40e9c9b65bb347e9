//! Three members on simulated disks: the conformance suite of stores over them, and whole runs with faults, judged.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod conformance;
mod engine;
mod judge;
mod machine;
mod network;
mod world;

use seaway_member::planted::{Fault, plant};
use world::{Counts, World};

/// Seeds of a run; `SEEDS=100..300` for others, `PRINT=1` to see what happens.
fn seeds(default: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("SEEDS") else {
        return default;
    };
    let (from, to) = text.split_once("..").expect("SEEDS=from..to");
    from.parse().unwrap()..to.parse().unwrap()
}

fn run(seed: u64) -> Result<(u64, Counts), String> {
    let mut world = World::new(seed)?;
    let trace = world.run()?;
    Ok((trace, world.counts))
}

#[test]
fn what_was_announced_is_there_whoever_leads() {
    let mut counts = Counts::new();
    for seed in seeds(0..24) {
        let (_, of_one) = run(seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        for (what, count) in of_one {
            *counts.entry(what).or_default() += count;
        }
    }
    println!("{counts:?}");
    for what in [
        "terms",
        "announced",
        "crashes",
        "sessions lost",
        "deposed",
        "hand-overs",
        "checkpoints",
        "folds",
    ] {
        assert!(
            counts.get(what).is_some_and(|count| *count > 20),
            "{what} in {counts:?}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 100..103 {
        assert_eq!(run(seed).unwrap(), run(seed).unwrap(), "seed {seed}");
    }
}

/// Leaves a rule out, and sees that the judge notices.
fn must_fail(fault: Fault) {
    plant(Some(fault));
    // What an assertion notices is noticed as well.
    let noticed = (0..100).find(|seed| !matches!(std::panic::catch_unwind(|| run(*seed)), Ok(Ok(_))));
    plant(None);
    assert!(noticed.is_some(), "{fault:?} goes unnoticed");
}

#[test]
fn what_one_member_alone_has_is_not_durable() {
    must_fail(Fault::DurableOnSyncedOnly);
}

#[test]
fn a_store_ends_with_its_term() {
    must_fail(Fault::StoreOfAnyTerm);
}
