//! S5: a queue group, with members that are slower than the rest if asked for.

use super::stream_deliver::{Plan, deliver};
use super::{Needs, Workload};
use crate::point::Point;

/// S5: one queue group.
pub(super) const S5: Workload = Workload {
    name: "S5",
    about: "queue group of --subscribers members on one channel, the first --connections of them slow",
    needs: Needs::Streaming,
    parameters: &[
        "size",
        "window",
        "publishers",
        "subscribers",
        "connections",
        "max_in_flight",
        "rate",
    ],
    defaults: || Point {
        subscribers: 10,
        max_in_flight: 256,
        ..Point::default()
    },
    channels: |point| point.channels,
    run: |context, point| {
        let plan = Plan {
            subscriptions: (0..point.subscribers.max(1)).map(|member| (member, 0)).collect(),
            is_group: true,
            slow: point.connections,
            copies: 1,
        };
        deliver(context, point, &plan)
    },
};
