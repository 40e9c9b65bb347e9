//! S2: streaming publish, deliver and acknowledge; and the shape of it that other workloads vary.

use std::time::Duration;

use anyhow::{Result, bail};
use seaway_stan_protocol::messages::SubscriptionRequest;

use super::stream_publish::{channels, fill, one, sessions};
use super::{Needs, Workload};
use crate::context::Context;
use crate::outcome::Outcome;
use crate::point::Point;
use crate::publish::Published;
use crate::receive::{Received, Receiver};
use crate::stamp::{Ledger, STAMP_BYTES};
use crate::stan::{Session, subscription};
use crate::watch::{Counter, Measured, Run, counters, measure, sum};

/// S2: one subscription per channel.
pub(super) const S2: Workload = Workload {
    name: "S2",
    about: "streaming publish, deliver and acknowledge: one subscription per channel, spread over --subscribers connections",
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
    defaults: Point::default,
    channels: |point| point.channels,
    run: |context, point| deliver(context, point, &one_per_channel(point)),
};

/// Who subscribes to what.
pub(super) struct Plan {
    /// Connection and channel of each subscription.
    pub(super) subscriptions: Vec<(u64, u64)>,
    /// Whether all subscriptions are members of one queue group.
    pub(super) is_group: bool,
    /// Members, from the first connection on, that take a pause after each read.
    pub(super) slow: u64,
    /// How often each message is delivered.
    pub(super) copies: u64,
}

/// What a slow member sleeps after each read.
const SLOW_PAUSE: Duration = Duration::from_millis(5);

/// Messages in flight to a slow member, at most: few enough that it can acknowledge them in time.
const SLOW_IN_FLIGHT: i32 = 16;

/// One subscription per channel, connections in turn.
pub(super) fn one_per_channel(point: &Point) -> Plan {
    let connections = point.subscribers.max(1);
    Plan {
        subscriptions: (0..point.channels)
            .map(|channel| (channel % connections, channel))
            .collect(),
        is_group: false,
        slow: 0,
        copies: 1,
    }
}

/// Runs publishers and subscribers, proves what arrived, and reports.
pub(super) fn deliver(context: &mut Context, point: &Point, plan: &Plan) -> Result<Outcome> {
    let channels = channels(context, point);
    fill(context, point, &channels)?;
    let receivers = receivers(context, point, plan, &channels)?;
    let publishers = sessions(context, point)?;
    let run = Run::new(context.length, point.rate);
    let seen = drive(context, point, plan, &run, &channels, publishers, receivers);
    let (measured, sent, published, received) = run.outcome(seen)?;
    let mut outcome = Outcome::of(&measured, "delivered");
    let rate = measured.count as f64 / measured.elapsed.as_secs_f64();
    outcome.figures.set("published_per_second", rate / plan.copies as f64);
    outcome
        .figures
        .set("megabytes_per_second", rate * point.size as f64 / 1e6);
    outcome.figures.set("redelivered", received.ledger.redelivered as f64);
    outcome.add_latencies("ack", &published.latencies);
    outcome.add_latencies("delivery", &received.latencies);
    outcome.add_latencies("lateness", &published.lateness);
    let is_stamped = point.size >= STAMP_BYTES;
    let expected = Ledger::expected(&sent, plan.copies, is_stamped);
    if let Some(complaint) = received.ledger.complaint(&expected) {
        bail!(complaint);
    }
    outcome.verified = format!(
        "{} publishes acknowledged once each; {} deliveries: none lost{}",
        published.sent,
        expected.count,
        if is_stamped {
            ", none doubled, in order per channel"
        } else {
            ""
        }
    );
    Ok(outcome)
}

fn receivers(context: &Context, point: &Point, plan: &Plan, channels: &[String]) -> Result<Vec<Receiver>> {
    let connections = plan
        .subscriptions
        .iter()
        .map(|(connection, _)| connection + 1)
        .max()
        .unwrap_or(0);
    let mut receivers = Vec::new();
    for number in 0..connections {
        let mut receiver = Receiver::new(context.receivers_session("sub")?, plan.is_group);
        let is_slow = number < plan.slow;
        if is_slow {
            receiver.pause = SLOW_PAUSE;
        }
        for (_, channel) in plan
            .subscriptions
            .iter()
            .filter(|(connection, _)| *connection == number)
        {
            let mut request = request(&channels[usize::try_from(*channel)?], point);
            if plan.is_group {
                request.q_group = "bench".into();
            }
            if is_slow {
                request.max_in_flight = SLOW_IN_FLIGHT;
            }
            receiver.subscribe(request)?;
        }
        receivers.push(receiver);
    }
    Ok(receivers)
}

/// A subscription of the point to new messages of a channel.
pub(super) fn request(channel: &str, point: &Point) -> SubscriptionRequest {
    let mut request = subscription(channel);
    request.max_in_flight = i32::try_from(point.max_in_flight).unwrap_or(i32::MAX);
    request
}

type Seen = (Measured, Vec<u64>, Published, Received);

fn drive(
    context: &Context,
    point: &Point,
    plan: &Plan,
    run: &Run,
    channels: &[String],
    publishers: Vec<Session>,
    receivers: Vec<Receiver>,
) -> Option<Seen> {
    let (acked, delivered) = (counters(point.publishers), counters(receivers.len() as u64));
    let (acked, delivered): (&[Counter], &[Counter]) = (&acked, &delivered);
    std::thread::scope(|scope| {
        let receiving: Vec<_> = receivers
            .into_iter()
            .zip(delivered)
            .map(|(receiver, own)| {
                scope.spawn(move || run.guard(|| receiver.receive_all(run, plan.copies, delivered, own)))
            })
            .collect();
        let publishing: Vec<_> = (0..)
            .zip(publishers)
            .zip(acked)
            .map(|((number, session), acked)| {
                scope.spawn(move || run.guard(|| one(context, point, run, channels, session, number, acked)))
            })
            .collect();
        let measured = measure(context, run, plan.copies, &|| sum(delivered));
        let (mut sent, mut published, mut received) = (Vec::new(), Published::default(), Received::default());
        for thread in publishing {
            if let Some(one) = thread.join().ok().flatten() {
                sent.push(one.sent);
                published.merge(&one);
            }
        }
        run.set_sent(published.sent);
        for thread in receiving {
            if let Some(one) = thread.join().ok().flatten() {
                received.merge(&one);
            }
        }
        Some((measured?, sent, published, received))
    })
}
