//! J2: publish to a stream while a durable push consumer acknowledges everything explicitly: what S2 is compared with.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::jetstream_publish::{one, streams};
use super::{Needs, Workload};
use crate::context::Context;
use crate::jetstream::{create_consumer, create_stream, delete_stream, delivery};
use crate::limits::{PATIENCE, READ_WAIT};
use crate::outcome::Outcome;
use crate::point::Point;
use crate::publish::Published;
use crate::receive::Received;
use crate::stamp::{Ledger, Order, STAMP_BYTES, Stamp};
use crate::stan::token;
use crate::watch::{Counter, Measured, Run, counters, measure, sum};
use crate::wire::Connection;

/// J2: publish, deliver and acknowledge with JetStream.
pub(super) const J2: Workload = Workload {
    name: "J2",
    about: "JetStream publish, deliver and acknowledge: durable push consumer, explicit acks, --max-in-flight pending",
    needs: Needs::JetStream,
    parameters: &["size", "window", "publishers", "max_in_flight", "rate"],
    defaults: Point::default,
    channels: |_| 0,
    run,
};

fn run(context: &mut Context, point: &Point) -> Result<Outcome> {
    anyhow::ensure!(point.channels == 1, "J2 has one stream; leave --channels out");
    let streams = streams(context, point);
    let (name, subject) = &streams[0];
    let mut control = context.connect()?;
    create_stream(&mut control, name, subject)?;
    let mut consumer = context.connect()?;
    let inbox = format!("_INBOX.{}", token());
    let sid = consumer.subscribe(&inbox);
    consumer.ping(PATIENCE)?;
    create_consumer(&mut control, name, &inbox, point.max_in_flight)?;
    let connections = (0..point.publishers)
        .map(|_| context.connect())
        .collect::<Result<Vec<_>>>()?;
    let run = Run::new(context.length, point.rate);
    let seen = drive(context, point, &run, &streams, connections, (consumer, sid));
    let (measured, sent, published, received) = run.outcome(seen)?;
    delete_stream(&mut control, name)?;
    let mut outcome = Outcome::of(&measured, "delivered");
    outcome.figures.set("redelivered", received.ledger.redelivered as f64);
    outcome.add_latencies("ack", &published.latencies);
    outcome.add_latencies("delivery", &received.latencies);
    outcome.add_latencies("lateness", &published.lateness);
    let expected = Ledger::expected(&sent, 1, point.size >= STAMP_BYTES);
    if let Some(complaint) = received.ledger.complaint(&expected) {
        bail!(complaint);
    }
    outcome.verified = format!(
        "{} publishes acknowledged and delivered, in order of the stream",
        expected.count
    );
    Ok(outcome)
}

type Seen = (Measured, Vec<u64>, Published, Received);

fn drive(
    context: &Context,
    point: &Point,
    run: &Run,
    streams: &[(String, String)],
    connections: Vec<Connection>,
    (consumer, sid): (Connection, u64),
) -> Option<Seen> {
    let (acked, delivered) = (counters(point.publishers), Counter::default());
    let (acked, delivered): (&[Counter], &Counter) = (&acked, &delivered);
    std::thread::scope(|scope| {
        let receiving = scope.spawn(move || run.guard(|| consume(run, consumer, sid, delivered)));
        let publishing: Vec<_> = (0..)
            .zip(connections)
            .zip(acked)
            .map(|((number, connection), acked)| {
                scope.spawn(move || run.guard(|| one(context, point, run, streams, connection, number, acked)))
            })
            .collect();
        let measured = measure(context, run, 1, &|| delivered.get());
        let (mut sent, mut published) = (Vec::new(), Published::default());
        for thread in publishing {
            if let Some(one) = thread.join().ok().flatten() {
                sent.push(one.sent);
                published.merge(&one);
            }
        }
        run.set_sent(sum(acked));
        let received = receiving.join().ok().flatten().unwrap_or_default();
        Some((measured?, sent, published, received))
    })
}

/// Receives and acknowledges everything.
fn consume(run: &Run, mut connection: Connection, sid: u64, own: &Counter) -> Result<Received> {
    let mut received = Received::default();
    let (mut order, mut latest, mut moved) = (Order::default(), 0, Instant::now());
    while run.sent().is_none_or(|sent| received.ledger.count < sent) {
        let (mut complaint, mut now) = (None, None);
        let pumped = connection.pump(READ_WAIT, |message, output| {
            let Some((sequence, again)) = delivery(message.reply).filter(|_| message.sid == sid) else {
                return;
            };
            output.extend_from_slice(b"PUB ");
            output.extend_from_slice(message.reply);
            output.extend_from_slice(b" 0\r\n\r\n");
            if again {
                received.ledger.redelivered += 1;
                return;
            }
            if sequence != latest + 1 {
                complaint.get_or_insert_with(|| format!("sequence {sequence} arrived after {latest}"));
            }
            latest = sequence;
            let stamp = Stamp::read(message.payload);
            received.ledger.add(stamp);
            if let Some(stamp) = stamp {
                complaint = complaint.take().or(order.check(stamp));
                if run.records(stamp.origin_ns) {
                    let now = *now.get_or_insert_with(|| run.now_ns());
                    received.latencies.record_ns(now.saturating_sub(stamp.origin_ns));
                }
            }
        });
        match pumped {
            Ok(()) => moved = Instant::now(),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut && moved.elapsed() < PATIENCE => {}
            Err(error) => return Err(error).with_context(|| format!("after {} deliveries", received.ledger.count)),
        }
        if let Some(complaint) = complaint {
            bail!(complaint);
        }
        if run.is_aborted() {
            bail!("another thread gave up");
        }
        own.set(received.ledger.count);
    }
    connection.flush()?;
    Ok(received)
}
