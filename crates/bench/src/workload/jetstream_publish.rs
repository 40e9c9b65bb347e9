//! J1: publish to a stream, each publish acknowledged: what S1 is compared with.

use anyhow::Result;

use super::stream_publish::report;
use super::{Needs, Workload};
use crate::context::Context;
use crate::frames::{Acks, Choice, Frames};
use crate::jetstream::{create_stream, delete_stream};
use crate::outcome::Outcome;
use crate::point::Point;
use crate::publish::{Published, Publisher};
use crate::stan::token;
use crate::watch::{Counter, Run, counters, measure, sum};
use crate::wire::Connection;

/// J1: publish to JetStream.
pub(super) const J1: Workload = Workload {
    name: "J1",
    about: "JetStream publish with ack, file storage, --window in flight",
    needs: Needs::JetStream,
    parameters: &["size", "window", "channels", "publishers", "rate"],
    defaults: Point::default,
    channels: |_| 0,
    run,
};

/// The streams of a run: names and subjects. One stream per channel.
pub(super) fn streams(context: &Context, point: &Point) -> Vec<(String, String)> {
    let name = |number: u64| {
        (
            format!("B{}-{number}", context.token),
            context.channel(number, point.channels),
        )
    };
    (0..point.channels).map(name).collect()
}

fn run(context: &mut Context, point: &Point) -> Result<Outcome> {
    let streams = streams(context, point);
    let mut control = context.connect()?;
    for (name, subject) in &streams {
        create_stream(&mut control, name, subject)?;
    }
    let connections = (0..point.publishers)
        .map(|_| context.connect())
        .collect::<Result<Vec<_>>>()?;
    let run = Run::new(context.length, point.rate);
    let acked = counters(point.publishers);
    let mut published = Published::default();
    let context = &*context;
    let measured = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(connections)
            .zip(&acked)
            .map(|((number, connection), acked)| {
                let (run, streams) = (&run, &streams);
                scope.spawn(move || run.guard(|| one(context, point, run, streams, connection, number, acked)))
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
    let measured = run.outcome(measured)?;
    for (name, _) in &streams {
        delete_stream(&mut control, name)?;
    }
    Ok(report(point, &measured, &published))
}

/// One publisher to its end.
pub(super) fn one(
    context: &Context,
    point: &Point,
    run: &Run,
    streams: &[(String, String)],
    mut connection: Connection,
    number: u64,
    acked: &Counter,
) -> Result<Published> {
    let prefix = format!("_INBOX.{}.", token());
    connection.subscribe(&format!("{prefix}*"));
    let subjects: Vec<String> = streams.iter().map(|(_, subject)| subject.clone()).collect();
    let choice = if context.zipf {
        Choice::zipf(point.channels)
    } else {
        Choice::RoundRobin
    };
    let frames = Frames::jetstream(&subjects, &prefix, point.size, choice);
    let acks = Acks::JetStream(prefix);
    let connection = &mut connection;
    Publisher {
        run,
        connection,
        frames,
        acks,
        number,
        acked,
    }
    .publish(context, point)
}
