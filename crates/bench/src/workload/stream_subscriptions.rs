//! S4: many subscriptions, on one channel or one on each of many.

use super::stream_deliver::{Plan, deliver};
use super::{Needs, Workload};
use crate::point::Point;

/// S4: subscription scaling.
pub(super) const S4: Workload = Workload {
    name: "S4",
    about: "subscription scaling: --subscriptions spread over --channels and --subscribers connections",
    needs: Needs::Streaming,
    parameters: &[
        "size",
        "window",
        "channels",
        "publishers",
        "subscribers",
        "subscriptions",
        "max_in_flight",
        "rate",
    ],
    defaults: || Point {
        subscriptions: 100,
        window: 256,
        ..Point::default()
    },
    channels: |point| point.channels,
    run: |context, point| {
        anyhow::ensure!(
            point.subscriptions > 0 && point.subscriptions.is_multiple_of(point.channels),
            "--subscriptions must be a multiple of --channels, so that each message arrives equally often"
        );
        deliver(context, point, &plan(point))
    },
};

fn plan(point: &Point) -> Plan {
    let connections = point.subscribers.max(1);
    let subscriptions = (0..point.subscriptions).map(|number| (number % connections, number % point.channels));
    Plan {
        subscriptions: subscriptions.collect(),
        is_group: false,
        slow: 0,
        copies: point.subscriptions / point.channels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_spread_over_channels_and_connections() {
        let point = Point {
            subscriptions: 6,
            channels: 3,
            subscribers: 2,
            ..Point::default()
        };
        let plan = plan(&point);
        assert_eq!(plan.subscriptions, [(0, 0), (1, 1), (0, 2), (1, 0), (0, 1), (1, 2)]);
        assert_eq!(plan.copies, 2);
    }
}
