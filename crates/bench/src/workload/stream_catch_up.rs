//! S6: consumers read a backlog from its beginning, from a disk whose cache is cold, while publishing goes on.

use anyhow::{Context as _, Result};

use super::stream_deliver::request;
use super::stream_publish::{fill, one};
use super::{Needs, Workload};
use crate::context::Context;
use crate::load::START_FIRST;
use crate::outcome::Outcome;
use crate::point::{Length, Point};
use crate::publish::Published;
use crate::receive::{Received, Receiver};
use crate::watch::{Counter, Measured, Run, counters, measure, sum};

/// S6: catch-up.
pub(super) const S6: Workload = Workload {
    name: "S6",
    about: "catch-up: --subscribers cold consumers read --backlog messages while publishing goes on at --rate",
    needs: Needs::Streaming,
    parameters: &["size", "subscribers", "max_in_flight", "backlog", "rate"],
    defaults: || Point {
        size: 1024,
        backlog: 1_000_000,
        rate: 10_000,
        max_in_flight: 16_384,
        ..Point::default()
    },
    channels: |_| 1,
    run,
};

fn run(context: &mut Context, point: &Point) -> Result<Outcome> {
    anyhow::ensure!(
        point.backlog > 0 && point.rate > 0,
        "S6 needs a --backlog and a --rate of publishing"
    );
    let channels = vec![context.channel(0, 1)];
    fill(context, point, &channels)?;
    let is_cold = context.server.is_some();
    if is_cold {
        let server = context.own_server()?;
        server.stop()?;
        server.cool()?;
        server.start_again()?;
    }
    // Everything before the backlog is read counts: the whole of it is the measurement.
    let all = point.backlog * point.subscribers;
    context.length = Length::Count {
        warm_up: 0,
        measured: all,
    };
    let mut run = Run::new(context.length, point.rate);
    run.is_endless = true;
    let (measured, published, received) = drive(context, point, &run, &channels)?;
    let mut outcome = Outcome::of(&measured, "delivered");
    let rate = measured.count as f64 / measured.elapsed.as_secs_f64();
    outcome
        .figures
        .set("megabytes_per_second", rate * point.size as f64 / 1e6);
    if let Some((_, after)) = &measured.server {
        outcome.figures.set("server_read_bytes", after.read_bytes as f64);
    }
    outcome.figures.set("publishes_meanwhile", published.sent as f64);
    outcome.add_latencies("ack", &published.latencies);
    outcome.add_latencies("lateness", &published.lateness);
    outcome.verified = format!("{} deliveries from the beginning, without a gap", received.ledger.count);
    outcome.warnings.extend(warmth(point, is_cold, &measured));
    Ok(outcome)
}

/// Why the backlog may have come from memory; `None` when it was seen to come from the disk.
fn warmth(point: &Point, is_cold: bool, measured: &Measured) -> Option<String> {
    if !is_cold {
        return Some("the server was not started here, so its backlog may be in the page cache".to_owned());
    }
    let (_, after) = measured.server?;
    let stored = point.backlog * point.size as u64;
    let read = after.read_bytes;
    (read < stored / 2).then(|| format!("the server read {read} bytes from its disk for a backlog of {stored}"))
}

fn drive(context: &Context, point: &Point, run: &Run, channels: &[String]) -> Result<(Measured, Published, Received)> {
    let session = context.session("pub")?;
    let (delivered, acked) = (counters(point.subscribers), Counter::default());
    let (mut published, mut received) = (Published::default(), Received::default());
    let beside = Point {
        publishers: 1,
        ..point.clone()
    };
    let measured = std::thread::scope(|scope| {
        let receiving: Vec<_> = delivered
            .iter()
            .map(|own| scope.spawn(move || run.guard(|| catch_up(context, point, run, &channels[0], own))))
            .collect();
        let acked = &acked;
        let publishing = scope.spawn(move || {
            run.guard(|| one(context, &beside, run, channels, session, 0, acked).context("publishing meanwhile"))
        });
        let measured = measure(context, run, 1, &|| sum(&delivered));
        for thread in receiving {
            if let Some(one) = thread.join().ok().flatten() {
                received.merge(&one);
            }
        }
        published = publishing.join().ok().flatten().unwrap_or_default();
        measured
    });
    Ok((run.outcome(measured)?, published, received))
}

/// Reads the backlog and goes.
fn catch_up(context: &Context, point: &Point, run: &Run, channel: &str, own: &Counter) -> Result<Received> {
    let mut request = request(channel, point);
    request.start_position = START_FIRST;
    let mut receiver = Receiver::new(context.session("sub")?, false);
    // The backlog and what is published meanwhile come from different publishers with the same numbers.
    receiver.trusts_stamps = false;
    receiver.subscribe(request)?;
    let received = receiver.receive_until(run, own, |count| count >= point.backlog)?;
    receiver.close()?;
    Ok(received)
}
