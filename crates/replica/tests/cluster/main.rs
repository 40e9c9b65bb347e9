//! Clusters of three and five in one thread, over logs in memory and a network that loses, doubles and reorders; one seed decides
//! everything (consensus design §6.2 and §6.4). A seed that fails prints the line that replays it.

#![allow(clippy::print_stdout, reason = "what a run did is to be seen")]

mod disk;
mod judge;
mod machine;
mod network;
mod operator;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use seaway_replica::planted::{Fault, plant};

use world::{Breach, Counts, Settings, World};

/// Mixes a number into another.
pub(crate) fn mix(one: u64, other: u64) -> u64 {
    let mixed = (one.rotate_left(5) ^ other).wrapping_mul(0x517c_c1b7_2722_0a95);
    mixed ^ (mixed >> 29)
}

/// Runs a seed to its end: its trace and what came about, or what went wrong.
fn run(settings: Settings) -> Result<(u64, Counts), String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(settings)?;
        let trace = world.run()?;
        Ok((trace, world.counts))
    }));
    outcome.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
        Err(format!("panic: {}", words.unwrap_or_default()))
    })
}

fn settings(seed: u64, founders: usize) -> Settings {
    Settings {
        seed,
        founders,
        breach: None,
        prints: false,
    }
}

/// Three members, or five for every fourth seed.
fn founders(seed: u64) -> usize {
    if seed.is_multiple_of(4) { 5 } else { 3 }
}

fn hold(seed: u64, all: &mut Counts) -> u64 {
    let founders = founders(seed);
    match run(settings(seed, founders)) {
        Ok((trace, counts)) => {
            for (what, count) in counts {
                *all.entry(what).or_default() += count;
            }
            trace
        }
        Err(error) => panic!(
            "seed {seed} failed: {error}\nreplay: SEAWAY_SEED={seed} cargo test -p seaway-replica --test cluster -- --ignored --exact \
             --nocapture one_seed"
        ),
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Seeds of the ordinary test.
const SEEDS: u64 = 60;

#[test]
fn clusters_keep_what_they_announce_through_every_fault() {
    let mut counts = Counts::new();
    for seed in 1..=SEEDS {
        hold(seed, &mut counts);
    }
    println!("{SEEDS} seeds: {counts:?}");
    for what in [
        "announced",
        "serving",
        "crashes",
        "truncations",
        "snapshots",
        "replaced",
        "added",
        "taken out",
        "described",
        "hand-overs",
        "confirmations",
        "confirmations not given",
        "left",
        "power failures",
        "sessions lost",
        "disks hang",
        "refusals",
        "disks fail",
    ] {
        assert!(
            counts.get(what).is_some_and(|count| *count > 0),
            "no seed has {what}: {counts:?}"
        );
    }
}

/// For as long as `SEAWAY_SECONDS` says, seeds that no run had before; or those from `SEAWAY_SEED` on, `SEAWAY_COUNT` of them.
#[test]
#[ignore = "as long as it is told"]
fn many_seeds() {
    let first = number("SEAWAY_SEED").unwrap_or_else(|| {
        let since = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("it is later than 1970");
        since.as_secs() << 20
    });
    let end = Instant::now() + Duration::from_secs(number("SEAWAY_SECONDS").unwrap_or(60));
    let most = number("SEAWAY_COUNT").unwrap_or(u64::MAX);
    let (mut counts, mut count) = (Counts::new(), 0);
    while count < most && (number("SEAWAY_COUNT").is_some() || Instant::now() < end) {
        hold(first + count, &mut counts);
        count += 1;
        if count.is_multiple_of(1_000) {
            println!("cluster: {count} seeds from {first} on held so far");
        }
    }
    println!("cluster: {count} seeds from {first} on held: {counts:?}");
}

/// The seed in `SEAWAY_SEED`, with everything that happens.
#[test]
#[ignore = "replays a seed that failed"]
fn one_seed() {
    let seed = number("SEAWAY_SEED").expect("SEAWAY_SEED says which");
    let outcome = run(Settings {
        prints: true,
        ..settings(seed, founders(seed))
    });
    outcome.expect("the seed fails");
}

/// Prints the traces of a few seeds, for `the_same_seed_is_the_same_run_in_another_process`.
#[test]
#[ignore = "a part of another test"]
fn traces() {
    println!("traces {}", some_traces());
}

fn some_traces() -> String {
    let seeds = [1, 2, 3, 4, 8];
    seeds
        .map(|seed| format!("{:016x}", hold(seed, &mut Counts::new())))
        .join(" ")
}

#[test]
fn the_same_seed_is_the_same_run_in_another_process() {
    let here = some_traces();
    assert_eq!(here, some_traces(), "two runs in one process differ");
    let this = std::env::current_exe().expect("a test runs from a file");
    let output = std::process::Command::new(this)
        .args(["--ignored", "--exact", "--nocapture", "traces"])
        .output()
        .expect("it can run again");
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(words.contains(&format!("traces {here}\n")), "{here} is not in {words}");
}

/// Seeds until a broken rule must have shown itself.
const CONTROL_SEEDS: u64 = 1_000;

/// The first seed that fails in one of these words, and how; and in which others seeds failed before.
fn first_failure(breach: Option<Breach>, signs: &[&str]) -> Result<(u64, String), Vec<String>> {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut others = Vec::new();
    let failure = (1..=CONTROL_SEEDS).find_map(|seed| {
        let outcome = run(Settings {
            breach,
            ..settings(seed, founders(seed))
        });
        let error = outcome.err()?;
        if signs.iter().any(|sign| error.contains(sign)) {
            return Some((seed, error));
        }
        others.push(format!("seed {seed}: {error}"));
        None
    });
    std::panic::set_hook(before);
    failure.ok_or(others)
}

/// What the judge says when entries that were announced are not kept.
const LOST: [&str; 2] = ["is not on a quorum of synced disks", "was committed as"];
/// What it says when two were elected.
const TWICE: [&str; 2] = ["voted for", "were both elected in term"];

/// Each rule is needed: without it some seed fails, and in the words that belong to the rule. A rule that can be left out unnoticed would
/// prove nothing, and one whose absence shows as something else does not guard what it is there for.
#[test]
fn every_broken_rule_is_noticed() {
    let breaches: [(Breach, &[&str]); 4] = [
        (Breach::SyncDoesNothing, &LOST[..1]),
        (Breach::VoteNotWritten, &TWICE),
        (
            Breach::WipedUnderOldId,
            &["was committed as", "voted for", "were both elected in term"],
        ),
        (Breach::CommittedAlone, &LOST[..1]),
    ];
    let faults: [(Fault, &[&str]); 4] = [
        (Fault::AnswerEarly, &LOST),
        // What is said of the new log is compared with the old one.
        (Fault::LateSnapshot, &["but the log ends at"]),
        (
            Fault::LibraryLeaves,
            &[
                "a batch is open while an entry is appended",
                "a batch closed out of turn",
            ],
        ),
        // Who forgets a change of members waits for some that are gone.
        (Fault::NoCarrier, &["nobody serves a minute after the last fault"]),
    ];
    let mut unnoticed = Vec::new();
    let mut tell = |what: String, failure: Result<(u64, String), Vec<String>>| match failure {
        Ok((seed, error)) => println!("{what}: seed {seed}: {error}"),
        Err(others) => unnoticed.push((what, others)),
    };
    for (breach, signs) in breaches {
        tell(format!("{breach:?}"), first_failure(Some(breach), signs));
    }
    for (fault, signs) in faults {
        plant(Some(fault));
        let failure = first_failure(None, signs);
        plant(None);
        tell(format!("{fault:?}"), failure);
    }
    assert!(
        unnoticed.is_empty(),
        "unnoticed in {CONTROL_SEEDS} seeds, but for other failures: {unnoticed:#?}"
    );
}

/// With time-outs that the library draws the same seed is another run.
#[test]
fn time_outs_that_are_drawn_elsewhere_are_noticed() {
    plant(Some(Fault::TheirRandom));
    let traces: Vec<_> = [1, 1, 1]
        .map(|seed| run(settings(seed, 3)).map(|(trace, _)| trace))
        .into();
    plant(None);
    assert!(traces.windows(2).any(|pair| pair[0] != pair[1]), "{traces:?}");
}
