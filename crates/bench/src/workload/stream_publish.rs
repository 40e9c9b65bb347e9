//! S1: streaming publish, each acknowledged.

use anyhow::Result;

use super::{Needs, Workload};
use crate::context::Context;
use crate::frames;
use crate::outcome::Outcome;
use crate::point::Point;
use crate::publish::{Published, Publisher};
use crate::stan::Session;
use crate::watch::{Measured, Run, counters, measure, sum};

/// S1: publish.
pub(super) const S1: Workload = Workload {
    name: "S1",
    about: "streaming publish with --window in flight; --rate for an open loop, --backlog to fill the channels before",
    needs: Needs::Streaming,
    parameters: &["size", "window", "channels", "publishers", "backlog", "rate"],
    defaults: Point::default,
    channels: |point| point.channels,
    run,
};

/// In flight while channels are filled before the measurement.
const FILL_WINDOW: u64 = 4096;

fn run(context: &mut Context, point: &Point) -> Result<Outcome> {
    let channels = channels(context, point);
    fill(context, point, &channels)?;
    let (measured, published) = publish(context, point, &channels)?;
    Ok(report(point, &measured, &published))
}

/// The channels of a run.
pub(super) fn channels(context: &Context, point: &Point) -> Vec<String> {
    (0..point.channels)
        .map(|number| context.channel(number, point.channels))
        .collect()
}

/// Puts the backlog into the channels, and creates those that it leaves empty.
pub(super) fn fill(context: &Context, point: &Point, channels: &[String]) -> Result<()> {
    fill_by(context, point, channels, FILL_WINDOW)
}

/// As [`fill`], with at most `window` messages that are not acknowledged.
pub(super) fn fill_by(context: &Context, point: &Point, channels: &[String], window: u64) -> Result<()> {
    let messages = if channels.len() > 1 {
        point.backlog.max(channels.len() as u64)
    } else {
        point.backlog
    };
    if messages == 0 {
        return Ok(());
    }
    context
        .progress
        .show("filling", std::time::Duration::ZERO, messages, 0.0);
    let run = Run::new(context.length, 0);
    let mut session = context.session("fill")?;
    let (frames, acks) = frames::of_session(&session, channels, point.size, false)?;
    let acked = crate::watch::Counter::default();
    let connection = &mut session.connection;
    let publisher = Publisher {
        run: &run,
        connection,
        frames,
        acks,
        number: 0,
        acked: &acked,
    };
    publisher.closed(window, Some(messages))?;
    session.close()?;
    Ok(())
}

/// Sessions of publishers.
pub(super) fn sessions(context: &Context, point: &Point) -> Result<Vec<Session>> {
    (0..point.publishers).map(|_| context.session("pub")).collect()
}

/// Publishes and nothing else.
pub(super) fn publish(context: &Context, point: &Point, channels: &[String]) -> Result<(Measured, Published)> {
    let sessions = sessions(context, point)?;
    let run = Run::new(context.length, point.rate);
    let acked = counters(point.publishers);
    let mut published = Published::default();
    let measured = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(sessions)
            .zip(&acked)
            .map(|((number, session), acked)| {
                let run = &run;
                scope.spawn(move || run.guard(|| one(context, point, run, channels, session, number, acked)))
            })
            .collect();
        let measured = measure(context, &run, 1, &|| sum(&acked));
        for thread in threads {
            if let Some(one) = thread.join().ok().flatten() {
                published.merge(&one);
            }
        }
        measured
    });
    Ok((run.outcome(measured)?, published))
}

/// One publisher from its session to its end.
pub(super) fn one(
    context: &Context,
    point: &Point,
    run: &Run,
    channels: &[String],
    mut session: Session,
    number: u64,
    acked: &crate::watch::Counter,
) -> Result<Published> {
    let (frames, acks) = frames::of_session(&session, channels, point.size, context.zipf)?;
    let connection = &mut session.connection;
    let published = Publisher {
        run,
        connection,
        frames,
        acks,
        number,
        acked,
    }
    .publish(context, point)?;
    session.close()?;
    Ok(published)
}

/// What publishers alone have to say.
pub(super) fn report(point: &Point, measured: &Measured, published: &Published) -> Outcome {
    let mut outcome = Outcome::of(measured, "acknowledged");
    let rate = measured.count as f64 / measured.elapsed.as_secs_f64();
    outcome
        .figures
        .set("megabytes_per_second", rate * point.size as f64 / 1e6);
    outcome.add_latencies("ack", &published.latencies);
    outcome.add_latencies("lateness", &published.lateness);
    outcome.verified = format!("{} publishes: each acknowledged once, none refused", published.sent);
    outcome
}
