//! A journal that does not sync its commits loses the end with the power, and nothing else: it opens, and what it holds is what it
//! held at some moment, not before the newest checkpoint (docs/journal-format.md §8, §9).

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use seaway_journal::Options;
use seaway_journal::disk::simulated::SimulatedDisk;
use support::{Machine, options};

fn unsynced() -> Options {
    Options {
        sync: false,
        ..options()
    }
}

#[test]
fn after_a_loss_of_power_it_opens_as_it_was_at_some_moment_behind_the_newest_checkpoint() {
    let (mut taken_back, mut checkpoints, mut removed) = (0, 0, 0);
    for seed in 0..300 {
        let disk = SimulatedDisk::new(seed);
        let mut machine = Machine::open(&disk, unsynced(), seed).unwrap();
        for life in 0..3 {
            for _ in 0..150 + 50 * (seed % 7) {
                match seed % 3 {
                    0 => machine.random_action(),
                    1 => machine.sparse_action(),
                    _ => machine.churn_action(),
                }
            }
            if seed % 2 == 0 {
                // Everything that goes on behind the commits is done, checkpoints among it.
                machine.settle();
                while machine.step() {}
            }
            let reached = machine.journal.statistics().checkpoint_position;
            checkpoints += machine.journal.statistics().checkpoints;
            removed += machine.journal.statistics().recycled;
            let written = machine.durable;
            disk.restart();
            // Written is not durable here.
            machine.durable = 0;
            machine = machine
                .reopen(unsynced(), seed + 1_000 * (life + 1))
                .unwrap_or_else(|error| panic!("seed {seed}, life {life}: {error}"));
            let position = machine.opened.position;
            assert!(
                position >= reached,
                "seed {seed}: {position} and the checkpoint begins at {reached}"
            );
            taken_back += u64::from(position < written);
        }
    }
    assert!(
        taken_back > 200 && checkpoints > 300,
        "{taken_back} {checkpoints} {removed}"
    );
}
