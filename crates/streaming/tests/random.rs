//! Random operations against simple oracles: order, MaxInflight, one holder per message, nothing lost over crashes, and
//! recovery (checkpoints written beside running traffic included) that ends in the state there was.

mod oracle;
mod world;

use oracle::{Play, Step, step};
use proptest::prelude::*;
use seaway_streaming::{Input, Slices};

const SMALL: Slices = Slices {
    work: 3,
    facts: 2,
    runs: 2,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// §5.3, §5.4, §5.6: order, MaxInflight, one holder.
    #[test]
    fn deliveries_follow_the_rules(steps in proptest::collection::vec(step(false), 1..150), small in any::<bool>(), trims in any::<bool>()) {
        let mut play = Play::new(if small { SMALL } else { Slices::default() }, false, trims);
        for step in &steps {
            play.play(step);
        }
        play.quiesce();
        play.check_pending();
        play.check_nothing_is_lost();
    }

    /// §5.9, architecture §4: a crash at any point loses no acknowledged publish and no delivery.
    #[test]
    fn crashes_lose_nothing(steps in proptest::collection::vec(step(true), 1..150), small in any::<bool>(), trims in any::<bool>()) {
        let mut play = Play::new(if small { SMALL } else { Slices::default() }, true, trims);
        for step in &steps {
            play.play(step);
        }
        play.check_nothing_is_lost();
    }

    /// Recovery from facts, and from a checkpoint that was written beside the traffic, ends in the state there was.
    #[test]
    fn recovery_restores_the_state(steps in proptest::collection::vec(step(false), 1..150), trims in any::<bool>()) {
        let mut play = Play::new(SMALL, false, trims);
        for step in &steps {
            play.play(step);
        }
        play.quiesce();
        let expected = Play::state(&play.engine);
        let mut from_facts = play.world.crash(play.world.records.len());
        from_facts.checkpoint = None;
        let (engine, _) = from_facts.start(play.options.clone(), play.now).expect("facts recover");
        prop_assert_eq!(&Play::state(&engine), &expected);
        let mut from_checkpoint = play.world.crash(play.world.records.len());
        let (engine, _) = from_checkpoint.start(play.options.clone(), play.now).expect("a checkpoint recovers");
        prop_assert_eq!(&Play::state(&engine), &expected);
        // And once more from a checkpoint of the recovered engine alone.
        let mut again = from_checkpoint;
        let mut engine = engine;
        again.checkpoint_begin();
        while again.running.is_some() {
            again.handle(&mut engine, play.now, Input::CheckpointStep);
        }
        let mut last = again.crash(again.records.len());
        let (engine, _) = last.start(play.options.clone(), play.now).expect("a checkpoint recovers");
        prop_assert_eq!(&Play::state(&engine), &expected);
    }
}

/// Found at random: what is sent again after a restart comes from the disk, and only once the bus has settled.
#[test]
fn what_is_cold_after_a_crash_is_sent_again() {
    let steps = [
        Step::Connect { client: 1 },
        Step::Publish { channel: 1, count: 1 },
        subscribe(0, 1),
        Step::Publish { channel: 0, count: 3 },
        subscribe(1, 0),
        Step::Commit { share: 4 },
        Step::EndOfPass,
        Step::Ack {
            subscription: 2,
            message: 0,
        },
        Step::Crash { share: 2 },
        Step::Cold { channel: 0 },
    ];
    let mut play = Play::new(Slices::default(), true, false);
    for step in &steps {
        play.play(step);
    }
    play.check_nothing_is_lost();
}

fn subscribe(channel: usize, kind: usize) -> Step {
    Step::Subscribe {
        client: 1,
        channel,
        kind,
        max: 1,
        wait: 1,
    }
}
