//! S10: publishing to channels that are full, so that each publish drops a message. Run it with `--limits default`, or with
//! limits among `--server-argument`, and with `--backlog` at the limit; `--subscribers 0` publishes only.

use anyhow::{Context as _, Result};

use super::stream_deliver::{deliver, one_per_channel};
use super::stream_publish::{channels, fill, publish, report};
use super::{Needs, Workload};
use crate::context::Context;
use crate::outcome::Outcome;
use crate::point::Point;

/// S10: retention churn.
pub(super) const S10: Workload = Workload {
    name: "S10",
    about: "retention churn: channels filled to --backlog, then publish, and deliver with --subscribers above 0; disk usage",
    needs: Needs::Streaming,
    parameters: &[
        "size",
        "window",
        "channels",
        "publishers",
        "subscribers",
        "max_in_flight",
        "backlog",
        "rate",
    ],
    defaults: || Point {
        size: 1024,
        backlog: 1_000_000,
        subscribers: 0,
        ..Point::default()
    },
    channels: |point| point.channels,
    run,
};

fn run(context: &mut Context, point: &Point) -> Result<Outcome> {
    let channels = channels(context, point);
    let mut outcome = if point.subscribers == 0 {
        fill(context, point, &channels)?;
        let before = context.server.as_ref().map(crate::server::Server::disk_bytes);
        let (measured, published) = publish(context, point, &channels)?;
        let mut outcome = report(point, &measured, &published);
        if let Some(before) = before {
            outcome.figures.set("disk_before_bytes", before as f64);
        }
        outcome
    } else {
        deliver(context, point, &one_per_channel(point)).context("publish and deliver")?
    };
    if let Some(server) = &context.server {
        outcome.figures.set("disk_bytes", server.disk_bytes() as f64);
    }
    Ok(outcome)
}
