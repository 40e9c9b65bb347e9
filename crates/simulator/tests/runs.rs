//! The simulator judged: it is deterministic, it is not vacuous, and it notices a disk that lies.

use seaway_simulator::{FOUND, Outcome, Settings, run};

/// What the fixed seeds together must have seen.
const SEEN: &[&str] = &[
    "acks",
    "acks for nobody",
    "acks of what has moved",
    "acks of what is not pending",
    "acks of what was left behind",
    "acks that name another channel",
    "admissions refused",
    "broken buses",
    "changes refused",
    "changes rehearsed",
    "changes that wait for a time",
    "changes told",
    "channels created",
    "channels deleted",
    "channels deleted by an operator",
    "checkpoints",
    "checkpoints given up",
    "checkpoints given up half-way",
    "clients closed",
    "clients disconnected by an operator",
    "clients registered",
    "clients replaced",
    "clients that came back",
    "clients timed out",
    "clock jumps back",
    "clock jumps forward",
    "cold reads",
    "crashes",
    "damage found",
    "deliveries taken back",
    "disks that are mended",
    "disks that rot",
    "disks with space again",
    "duplicate checks",
    "durables and groups removed",
    "durables replaced",
    "first deliveries",
    "full disks",
    "group joins",
    "groups without members",
    "heads unreadable",
    "heartbeats unheard",
    "limits reached",
    "members that left messages behind",
    "mended messages sent",
    "messages doubled",
    "messages expired",
    "messages lost",
    "messages passed over",
    "messages purged",
    "messages settled by an operator",
    "messages trimmed",
    "moves back",
    "moves between members",
    "moves forward",
    "pauses",
    "publishes acknowledged",
    "reads failed",
    "records taken back",
    "redeliveries",
    "redeliveries unheard",
    "refusals",
    "requests held back",
    "rests",
    "resumptions",
    "starts looked up",
    "starts with other limits",
    "subscriptions that go with their channel",
    "stores poisoned",
    "torn tails cut",
];

fn settings(seed: u64) -> Settings {
    Settings {
        seed,
        steps: 4000,
        trace_lines: 60,
        honest_sync: true,
    }
}

/// Runs seeds that must keep every promise.
fn run_all(seeds: impl Iterator<Item = u64>) -> Outcome {
    let mut total = Outcome::default();
    for seed in seeds {
        match run(settings(seed)) {
            Ok(outcome) => total.add(&outcome),
            Err(failure) => panic!(
                "{}\nseed {seed}, step {}: {}\nreplay: cargo run --release -p seaway-simulator -- --seed {seed}",
                failure.recent.join("\n"),
                failure.step,
                failure.reason
            ),
        }
    }
    total
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..8 {
        let first = run(settings(seed)).expect("the run keeps its promises");
        let second = run(settings(seed)).expect("the run keeps its promises");
        assert!(
            first.fingerprint.0 > 500,
            "a run of {} lines proves little",
            first.fingerprint.0
        );
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn fixed_seeds_keep_every_promise_and_see_every_fault() {
    let total = run_all(100..350);
    for what in SEEN {
        assert!(
            total.seen.get(what).is_some_and(|count| *count > 0),
            "no {what}: {total:?}"
        );
    }
}

#[test]
fn seeds_that_found_something_find_it_no_more() {
    run_all(FOUND.iter().map(|(seed, _)| *seed));
}

#[test]
fn a_disk_whose_sync_does_nothing_is_caught() {
    let caught = (1..30)
        .filter(|seed| {
            run(Settings {
                honest_sync: false,
                ..settings(*seed)
            })
            .is_err()
        })
        .count();
    assert!(caught > 15, "only {caught} of 29 runs noticed");
}
