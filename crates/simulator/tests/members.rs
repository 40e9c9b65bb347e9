//! The simulator with members, judged: it is deterministic, it is not vacuous, every rule that is left out is found, and two kinds of slow
//! disk are got over.

#![allow(clippy::print_stdout, reason = "how often something was seen")]

use std::time::Duration;

use seaway_journal::disk::simulated::members::Chances;
use seaway_journal::planted::Fault;
use seaway_simulator::members::{Fate, Planted, Shape, run};
use seaway_simulator::{Failure, Outcome};

/// What the fixed seeds together must have seen.
const SEEN: &[&str] = &[
    "claims after the lease",
    "claims of a free lock",
    "claims of an empty directory",
    "clients cut off",
    "deliveries",
    "disks slow",
    "disks slow for all",
    "disks slow in writing",
    "disks that hang",
    "disks that hang in claims",
    "disks that hang in segments",
    "heartbeats cut off",
    "kills",
    "lives ended",
    "losses of power",
    "members stopped",
    "publishes acknowledged",
    "signs held back",
    "starts overtaken",
    "starts that failed",
    "stores that failed",
    "tenures",
    "tenures handed over",
    "tenures lost",
    "tenures lost to slowness",
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn tell(failure: &Failure) -> String {
    let lines = failure.recent.join("\n    ");
    let seed = failure.seed;
    format!(
        "    {lines}\nseed {seed}: {}\nreplay: cargo run --release -p seaway-simulator -- --members --seed {seed}",
        failure.reason
    )
}

#[test]
fn what_any_member_acknowledged_stays_whatever_happens_to_whom() {
    let seeds = number("SEAWAY_MEMBERS_SEEDS").unwrap_or(60);
    let mut total = Outcome::default();
    for seed in 1..=seeds {
        let outcome = run(seed, Shape::of(seed), None, 60).unwrap_or_else(|failure| panic!("{}", tell(&failure)));
        total.add(&outcome);
    }
    println!("{:?}", total.seen);
    for what in SEEN {
        assert!(total.seen.get(what).is_some_and(|count| *count > 0), "no {what}");
    }
}

#[test]
fn the_same_seed_is_the_same_trace() {
    for seed in 100..106 {
        let [one, other] = [(); 2].map(|()| run(seed, Shape::of(seed), None, 60).map_err(|failure| tell(&failure)));
        assert_eq!(one, other, "seed {seed}");
    }
}

/// Take-overs that overlap, again and again.
fn provoking(seed: u64) -> Shape {
    let shape = Shape::of(seed);
    Shape {
        members: 2 + (seed % 3) as usize,
        lease: Duration::from_millis(250),
        chances: Chances {
            pause_one_in: [12, 30, 90][(seed % 3) as usize],
            pause_max: 1_200,
            kill_one_in: 900,
            power_loss_one_in: 3_000 * (seed % 2),
            locks_work: seed.is_multiple_of(4),
            ..shape.chances
        },
        faults_until: 10_000,
        ..shape
    }
}

/// Leaves a rule out until somebody notices: something that may never be, and not only that it takes long.
fn is_found(planted: Planted, from: u64, seeds: u64) -> Option<Failure> {
    let found = |failure: &Failure| !failure.reason.contains("nothing went wrong");
    (from..from + seeds).find_map(|seed| run(seed, provoking(seed), Some(planted), 60).err().filter(found))
}

/// From seeds that are not far from one that finds it. Two rules of the journal, what a start followed and the order in which claims are
/// removed, are left to its own test of members, which finds them.
#[test]
fn every_rule_that_is_left_out_is_found() {
    let limit = number("SEAWAY_MEMBERS_SEEDS").unwrap_or(3_000);
    let mut missed = Vec::new();
    for (planted, from) in [
        (Planted::RefusalUnconfirmed, 750),
        (Planted::Journal(Fault::ClaimByRename), 1),
        (Planted::Journal(Fault::EarlyRemoval), 1),
        (Planted::Journal(Fault::LastBatchNotAgain), 1),
        (Planted::Journal(Fault::LookBeforeSync), 1),
        (Planted::Journal(Fault::NoLook), 1),
        (Planted::Journal(Fault::NoLookBeforeRemoval), 1),
    ] {
        match is_found(planted, from, limit) {
            Some(failure) => println!("{planted:?} is found by seed {}: {}", failure.seed, failure.reason),
            None => missed.push(planted),
        }
    }
    assert!(missed.is_empty(), "{missed:?} were not found");
}

#[test]
fn whose_take_overs_overlap_loses_nothing() {
    for seed in 1..=40 {
        run(seed, provoking(seed), None, 60).unwrap_or_else(|failure| panic!("{}", tell(&failure)));
    }
}

/// docs/high-availability.md: a file system on which looks find what was true a while ago is not safe. The simulator has to show that.
#[test]
fn names_that_are_seen_late_are_found() {
    let late = |seed| {
        let shape = Shape::of(seed);
        let chances = Chances {
            absent_names_kept: 3_000,
            ..shape.chances
        };
        Shape { chances, ..shape }
    };
    let found = (1..=200).find_map(|seed| run(seed, late(seed), None, 60).err());
    println!("{}", found.expect("nobody noticed").reason);
}

/// Nothing happens but what a test does.
fn quiet(members: usize, fate: Fate) -> Shape {
    Shape {
        members,
        lease: Duration::from_millis(500),
        chances: Chances {
            operations: u64::MAX,
            pause_one_in: 0,
            pause_max: 0,
            kill_one_in: 0,
            power_loss_one_in: 0,
            failed_sync_one_in: 0,
            private_caches: false,
            locks_work: true,
            absent_names_kept: 0,
        },
        fate,
        faults_until: 60_000,
        heals_within: 250_000,
        hand_over_one_in: 0,
    }
}

fn seen(shape: Shape, planted: Option<Planted>, what: &'static str) -> u64 {
    let outcome = run(7, shape, planted, 60).unwrap_or_else(|failure| panic!("{}", tell(&failure)));
    outcome.seen[what]
}

/// Design of availability, section 3: two members on a disk that is too slow for the lease do not take the tenure from each other for ever.
#[test]
fn members_on_a_slow_disk_come_to_rest() {
    let shape = Shape {
        faults_until: 100_000,
        ..quiet(2, Fate::SlowForAll(2_000, 700))
    };
    let kept = seen(shape, None, "claims after the lease");
    let without = seen(shape, Some(Planted::NobodyWaitsLonger), "claims after the lease");
    println!("{kept} take-overs in a hundred seconds; {without} where nobody waits longer");
    // Four waits of each until both wait eight leases, and some more after the quiet minute.
    assert!(kept <= 12, "{kept} take-overs");
    assert!(without >= kept + 5, "{without} take-overs without the rule");
}

/// The same: whose commits hang gives no signs of life, whatever its claim's file answers.
#[test]
fn whose_commits_hang_is_replaced() {
    let shape = quiet(2, Fate::HangsInSegments(5_000));
    let gap = seen(shape, None, "ticks of the longest gap");
    println!("{gap} ms without an acknowledgement");
    // Half a lease until the signs stop, a lease until it is replaced, and what clients wait before they ask again.
    assert!(gap < 250 + 500 + 300 + 2 * 2 * 500, "{gap} ms");
    let gap = seen(shape, Some(Planted::SignsWhileCommitsHang), "ticks of the longest gap");
    assert!(gap > 50_000, "nobody would have noticed: {gap} ms");
}
