//! Random steps.

use proptest::prelude::*;

use super::{CHANNELS, CLIENTS};

/// One step; numbers are reduced to what exists when it is played.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Publish {
        channel: usize,
        count: usize,
    },
    Connect {
        client: usize,
    },
    Subscribe {
        client: usize,
        channel: usize,
        kind: usize,
        max: i32,
        wait: i32,
    },
    Ack {
        subscription: usize,
        message: usize,
    },
    AckAll {
        subscription: usize,
    },
    Leave {
        subscription: usize,
        forget: bool,
    },
    Close {
        client: usize,
    },
    Advance {
        milliseconds: u64,
    },
    /// Makes a part of what was appended durable.
    Commit {
        share: usize,
    },
    EndOfPass,
    Checkpoint,
    Cold {
        channel: usize,
    },
    Answer,
    Slow {
        subscription: usize,
    },
    Drain,
    Bus {
        up: bool,
    },
    Crash {
        share: usize,
    },
}

pub(crate) fn step(crashes: bool) -> impl Strategy<Value = Step> {
    let share = 0usize..5;
    prop_oneof![
        8 => (0..CHANNELS, 1usize..5).prop_map(|(channel, count)| Step::Publish { channel, count }),
        2 => (0..CLIENTS).prop_map(|client| Step::Connect { client }),
        6 => (0..CLIENTS, 0..CHANNELS, 0usize..4, 1i32..4, 1i32..4)
            .prop_map(|(client, channel, kind, max, wait)| Step::Subscribe { client, channel, kind, max, wait }),
        8 => (0usize..8, 0usize..8).prop_map(|(subscription, message)| Step::Ack { subscription, message }),
        3 => (0usize..8).prop_map(|subscription| Step::AckAll { subscription }),
        2 => (0usize..8, any::<bool>()).prop_map(|(subscription, forget)| Step::Leave { subscription, forget }),
        1 => (0..CLIENTS).prop_map(|client| Step::Close { client }),
        4 => (1u64..3000).prop_map(|milliseconds| Step::Advance { milliseconds }),
        6 => share.clone().prop_map(|share| Step::Commit { share }),
        4 => Just(Step::EndOfPass),
        4 => Just(Step::Checkpoint),
        1 => (0..CHANNELS).prop_map(|channel| Step::Cold { channel }),
        3 => Just(Step::Answer),
        1 => (0usize..8).prop_map(|subscription| Step::Slow { subscription }),
        1 => Just(Step::Drain),
        1 => any::<bool>().prop_map(|up| Step::Bus { up }),
        2 => share.prop_map(move |share| if crashes { Step::Crash { share } } else { Step::Commit { share } }),
    ]
}
