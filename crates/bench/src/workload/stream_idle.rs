//! S8: what channels, subscriptions and connections cost that do nothing.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::stream_deliver::request;
use super::stream_publish::{channels, fill, fill_by};
use super::{Needs, Workload};
use crate::context::Context;
use crate::limits::PATIENCE;
use crate::outcome::Outcome;
use crate::point::{Length, Point};
use crate::process::Usage;
use crate::stan::Session;
use crate::watch::{Run, measure};
use crate::wire::Connection;

/// S8: idle.
pub(super) const S8: Workload = Workload {
    name: "S8",
    about: "idle: memory of --channels, --subscriptions and --connections, then CPU, descriptors and wake-ups at rest",
    needs: Needs::Streaming,
    parameters: &["channels", "subscriptions", "connections"],
    defaults: || Point {
        size: 16,
        channels: 100_000,
        subscriptions: 100_000,
        connections: 10_000,
        ..Point::default()
    },
    channels: |point| point.channels + 1,
    run,
};

/// Memory has settled when it has not changed by more than this share, or by so few bytes, for this long.
const SETTLED_SHARE: f64 = 0.002;
const SETTLED_BYTES: f64 = 128.0 * 1024.0;
const SETTLED_FOR: Duration = Duration::from_secs(2);

/// How long memory may take to settle.
const SETTLING_MAX: Duration = Duration::from_secs(30);

/// Messages of [`BEFORE_BYTES`] that are published, one by one, before anything is counted. A server may keep what it wrote last
/// in memory, up to a bound (Seaway's journal its newest 64 MiB): whatever comes first fills that, and it is not what an idle thing
/// costs. One by one, so that what it gives up again goes in small pieces.
const BEFORE: u64 = 6_400;

/// See [`BEFORE`].
const BEFORE_BYTES: usize = 16_000;

/// Streaming sessions that hold the subscriptions.
const SESSIONS: u64 = 10;

fn run(context: &mut Context, point: &Point) -> Result<Outcome> {
    let pid = context
        .server_pid()
        .context("S8 needs the server's process: give --pid or --server-binary")?;
    // A name that no channel of this run has.
    let before = [context.channel(point.channels, point.channels + 1)];
    let filling = Point {
        backlog: BEFORE,
        size: BEFORE_BYTES,
        ..point.clone()
    };
    fill_by(context, &filling, &before, 1)?;
    let start = settled(pid)?;
    let channels = channels(context, point);
    // One message makes a channel.
    fill(
        context,
        &Point {
            backlog: point.channels,
            ..point.clone()
        },
        &channels,
    )?;
    let with_channels = settled(pid)?;
    let mut sessions = subscribe(context, point, &channels)?;
    let with_subscriptions = settled(pid)?;
    let mut idle = Vec::new();
    for number in 0..point.connections {
        let connection = Connection::open_small(&context.address);
        idle.push(connection.with_context(|| format!("open idle connection {number}"))?);
    }
    let with_connections = settled(pid)?;

    if let Length::Count { .. } = context.length {
        let (warm_up, measured) = (Duration::from_millis(100), Duration::from_secs(1));
        context.length = Length::Time { warm_up, measured };
    }
    // Time is all there is to count while nothing happens.
    let begun = Instant::now();
    let elapsed = || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let run = Run::new(context.length, 0);
    let measured = measure(context, &run, 1, &elapsed);
    let measured = run.outcome(measured)?;
    for session in &mut sessions {
        session.ping().context("a session after the rest")?;
    }
    for (number, connection) in idle.iter_mut().enumerate() {
        connection
            .ping(PATIENCE)
            .with_context(|| format!("idle connection {number} after the rest"))?;
    }
    let mut outcome = Outcome::at_rest(&measured);
    let seconds = measured.elapsed.as_secs_f64();
    if let Some((before, after)) = &measured.server {
        let switches = after.voluntary_switches.saturating_sub(before.voluntary_switches);
        outcome.figures.set("wake_ups_per_second", switches as f64 / seconds);
    }
    let each = |after: Usage, before: Usage, count: u64| {
        after.anonymous_bytes.saturating_sub(before.anonymous_bytes) as f64 / count as f64
    };
    let figures = &mut outcome.figures;
    figures.set("channel_bytes", each(with_channels, start, point.channels));
    figures.set(
        "subscription_bytes",
        each(with_subscriptions, with_channels, point.subscriptions),
    );
    figures.set(
        "connection_bytes",
        each(with_connections, with_subscriptions, point.connections),
    );
    figures.set("start_descriptors", start.descriptors as f64);
    figures.set(
        "channel_descriptors",
        with_channels.descriptors.saturating_sub(start.descriptors) as f64,
    );
    outcome.verified = "after the rest every session and every connection still answers".to_owned();
    Ok(outcome)
}

fn subscribe(context: &Context, point: &Point, channels: &[String]) -> Result<Vec<Session>> {
    let mut sessions = (0..SESSIONS.min(point.subscriptions))
        .map(|_| context.session("idle"))
        .collect::<Result<Vec<_>>>()?;
    for number in 0..usize::try_from(point.subscriptions)? {
        let channel = &channels[number % channels.len()];
        let count = sessions.len();
        sessions[number % count]
            .subscribe(request(channel, point))
            .with_context(|| format!("subscription {number}"))?;
    }
    Ok(sessions)
}

/// The usage once memory does not change any more.
fn settled(pid: u32) -> Result<Usage> {
    let begun = Instant::now();
    let mut steady = (Usage::of(pid)?, begun);
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now = Usage::of(pid)?;
        let change = now.anonymous_bytes.abs_diff(steady.0.anonymous_bytes) as f64;
        if change > SETTLED_BYTES.max(SETTLED_SHARE * steady.0.anonymous_bytes as f64) {
            steady = (now, Instant::now());
        }
        if steady.1.elapsed() >= SETTLED_FOR || begun.elapsed() >= SETTLING_MAX {
            return Ok(now);
        }
    }
}
