//! The simulator judged: it is deterministic, it is not vacuous, and it notices a disk that lies.

use seaway_simulator::{Counters, Settings, run};

fn settings(seed: u64) -> Settings {
    Settings {
        seed,
        steps: 4000,
        trace_lines: 60,
        honest_sync: true,
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..6 {
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
    let mut total = Counters::default();
    for seed in 100..160 {
        match run(settings(seed)) {
            Ok(counters) => total.add(&counters),
            Err(failure) => panic!(
                "{}\nseed {seed}: {}\nreplay: cargo run --release -p seaway-simulator -- --seed {seed}",
                failure.recent.join("\n"),
                failure.reason
            ),
        }
    }
    assert!(total.acknowledged > 3_000, "{total:?}");
    assert!(total.crashes > 300, "{total:?}");
    assert!(total.redeliveries > 300, "{total:?}");
    assert!(total.checkpoints > 100, "{total:?}");
    assert!(total.refusals > 30, "{total:?}");
    assert!(total.poisoned > 0, "{total:?}");
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
    assert!(caught > 5, "only {caught} of 29 runs noticed");
}
