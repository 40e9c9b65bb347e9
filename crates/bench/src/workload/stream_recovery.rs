//! S9: how long a restart takes after SIGKILL, and whether everything that was acknowledged is there.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::stream_deliver::request;
use super::stream_publish::{channels, fill};
use super::{Needs, Workload};
use crate::context::Context;
use crate::load::START_FIRST;
use crate::outcome::Outcome;
use crate::point::{Length, Point};
use crate::receive::Receiver;
use crate::watch::{Counter, Measured, Run};

/// S9: recovery.
pub(super) const S9: Workload = Workload {
    name: "S9",
    about: "recovery: --backlog messages in --channels, SIGKILL, time until the server serves again; needs --server-binary",
    needs: Needs::Streaming,
    parameters: &["size", "channels", "backlog"],
    defaults: || Point {
        channels: 1_000,
        backlog: 100_000,
        ..Point::default()
    },
    channels: |point| point.channels,
    run,
};

/// Restarts of the same data; the first has the most to do, later ones find what it left.
const RESTARTS: usize = 3;

/// Channels that are read back as a whole.
const SAMPLES: usize = 20;

fn run(context: &mut Context, point: &Point) -> Result<Outcome> {
    ensure!(
        point.backlog >= point.channels && point.backlog.is_multiple_of(point.channels),
        "--backlog must be a multiple of --channels"
    );
    context.own_server()?;
    let channels = channels(context, point);
    fill(context, point, &channels)?;
    let mut restarts = Vec::new();
    for _ in 0..RESTARTS {
        let server = context.own_server()?;
        server.kill()?;
        restarts.push(server.start_again()?);
        let each = point.backlog / point.channels;
        let step = channels.len().div_ceil(SAMPLES);
        for channel in channels.iter().step_by(step) {
            read_back(context, channel, each).with_context(|| format!("read {channel} back"))?;
        }
    }
    restarts.sort_unstable();
    let median = restarts[RESTARTS / 2];
    let measured = Measured {
        elapsed: median,
        count: point.backlog,
        ..Measured::default()
    };
    let mut outcome = Outcome::of(&measured, "recovered");
    let server = context.own_server()?;
    let gigabytes = server.disk_bytes() as f64 / 1e9;
    let usage = crate::process::Usage::of(server.pid())?;
    let figures = &mut outcome.figures;
    figures.set("restart_seconds", median.as_secs_f64());
    figures.set("restart_worst_seconds", restarts[RESTARTS - 1].as_secs_f64());
    figures.set("restart_seconds_per_gigabyte", median.as_secs_f64() / gigabytes);
    figures.set("disk_bytes", gigabytes * 1e9);
    figures.set("server_resident_bytes", usage.resident_bytes as f64);
    figures.set("server_descriptors", usage.descriptors as f64);
    outcome.verified = format!("after each of {RESTARTS} kills, up to {SAMPLES} channels were read back as a whole");
    Ok(outcome)
}

/// Reads a channel from its beginning: as many messages as were acknowledged, and no gap.
fn read_back(context: &Context, channel: &str, messages: u64) -> Result<()> {
    let mut receiver = Receiver::new(context.session("sub")?, false);
    receiver.trusts_stamps = false;
    let mut request = request(channel, &Point::default());
    request.start_position = START_FIRST;
    receiver.subscribe(request)?;
    let length = Length::Time {
        warm_up: Duration::ZERO,
        measured: Duration::ZERO,
    };
    let (run, begun) = (Run::new(length, 0), Instant::now());
    receiver
        .receive_until(&run, &Counter::default(), |count| count >= messages)
        .with_context(|| format!("after {:.1?}", begun.elapsed()))?;
    receiver.close()
}
