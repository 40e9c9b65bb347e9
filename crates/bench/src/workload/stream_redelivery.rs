//! S7: a storm of redeliveries. A subscriber acknowledges nothing; after AckWait, all of it comes again and again. Publishers on
//! another channel should not notice. Then the durable is closed and resumed: what is pending comes at once.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use seaway_stan_protocol::MessageView;
use seaway_stan_protocol::messages::SubscriptionRequest;

use super::stream_deliver::request;
use super::stream_publish::{fill, publish};
use super::{Needs, Workload};
use crate::context::Context;
use crate::heartbeat::answer;
use crate::histogram::Latencies;
use crate::limits::{PATIENCE, READ_WAIT};
use crate::load::START_FIRST;
use crate::outcome::Outcome;
use crate::point::Point;
use crate::publish::Published;
use crate::stan::Session;
use crate::watch::{Counter, Measured, Run};

/// S7: redelivery storm.
pub(super) const S7: Workload = Workload {
    name: "S7",
    about: "redelivery storm: --backlog unacknowledged messages, AckWait 1 s, while publishing at --rate; durable resume",
    needs: Needs::Streaming,
    parameters: &["size", "backlog", "rate"],
    defaults: || Point {
        backlog: 100_000,
        rate: 10_000,
        ..Point::default()
    },
    channels: |_| 2,
    run,
};

/// AckWait of the subscriber, in seconds: the shortest the protocol knows.
const ACK_WAIT_SECONDS: i32 = 1;

/// The subscriber of the storm.
struct Storm<'a> {
    /// Recorded from the moment when all messages are out.
    run: &'a Run,
    pending: u64,
    first: &'a Counter,
    again: &'a Counter,
}

fn run(context: &mut Context, point: &Point) -> Result<Outcome> {
    ensure!(
        point.backlog > 0 && point.rate > 0,
        "S7 needs a --backlog and a --rate of publishing"
    );
    let (pending, beside) = (vec![context.channel(0, 2)], vec![context.channel(1, 2)]);
    fill(context, point, &pending)?;
    let aside = Point {
        backlog: 0,
        publishers: 1,
        channels: 1,
        ..point.clone()
    };
    let (_, idle) = publish(context, &aside, &beside).context("publishing before the storm")?;

    let run = Run::new(context.length, 0);
    let (first, again) = (Counter::default(), Counter::default());
    let storm = Storm {
        run: &run,
        pending: point.backlog,
        first: &first,
        again: &again,
    };
    let mut session = context.session("storm")?;
    let subscribed = session.subscribe(durable(&pending[0], point))?;
    let seen = std::thread::scope(|scope| {
        let raging = scope.spawn(|| storm.rage(&mut session));
        let seen = storm.until_all_are_out().and_then(|()| {
            let before = (again.get(), Instant::now());
            let published = publish(context, &aside, &beside).context("publishing in the storm")?;
            let rate = (again.get() - before.0) as f64 / before.1.elapsed().as_secs_f64();
            Ok((published, rate))
        });
        run.stop();
        let intervals = raging
            .join()
            .map_err(|_| anyhow::anyhow!("the subscriber panicked"))??;
        seen.map(|(published, rate)| (published, Redelivery { rate, intervals }))
    });
    let ((measured, stormy), redelivery) = seen?;
    session.close_subscription(&subscribed).context("close the durable")?;
    let resumed = resume(&mut session, durable(&pending[0], point), point.backlog)?;
    session.close()?;
    Ok(report(point, &measured, &idle, &stormy, &redelivery, resumed))
}

fn durable(channel: &str, point: &Point) -> SubscriptionRequest {
    let mut request = request(channel, point);
    request.start_position = START_FIRST;
    request.durable_name = "storm".into();
    request.ack_wait_in_secs = ACK_WAIT_SECONDS;
    request.max_in_flight = i32::try_from(point.backlog).unwrap_or(i32::MAX);
    request
}

/// What came again in the storm.
struct Redelivery {
    /// Per second.
    rate: f64,
    /// Between two deliveries of the same message; AckWait if the server keeps up.
    intervals: Latencies,
}

impl Storm<'_> {
    /// Receives and acknowledges nothing, until the run stops; the time between two deliveries of the same message.
    fn rage(&self, session: &mut Session) -> Result<Latencies> {
        let (mut first, mut again) = (0, 0);
        let mut intervals = Latencies::default();
        let mut latest = vec![0; usize::try_from(self.pending + 1)?];
        while !self.run.is_stopping() {
            let mut now = None;
            let pumped = session.connection.pump(READ_WAIT, |message, output| {
                let found = MessageView::decode(message.payload).unwrap_or_default();
                let place = usize::try_from(found.sequence).ok().filter(|_| found.sequence > 0);
                let Some(latest) = place.and_then(|place| latest.get_mut(place)) else {
                    answer(&message, output);
                    return;
                };
                let now = *now.get_or_insert_with(|| self.run.now_ns());
                let before = std::mem::replace(latest, now);
                if found.redelivered {
                    again += 1;
                    intervals.record_ns(now - before);
                } else {
                    first += 1;
                }
            });
            match pumped {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(error) => return Err(error).context("in the storm"),
            }
            self.first.set(first);
            self.again.set(again);
        }
        Ok(intervals)
    }

    /// Waits until every message was delivered once and the first of them come again.
    fn until_all_are_out(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.first.get() < self.pending || self.again.get() == 0 {
            if Instant::now() > deadline {
                let (first, pending) = (self.first.get(), self.pending);
                bail!(
                    "{first} of {pending} messages were delivered, {} again",
                    self.again.get()
                );
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Resumes the durable; how long until everything that is pending was there again, each message once at least.
fn resume(session: &mut Session, request: SubscriptionRequest, pending: u64) -> Result<Duration> {
    let start = Instant::now();
    let subscribed = session.subscribe(request).context("resume the durable")?;
    let sid = session.connection.latest_sid();
    let mut seen = vec![false; usize::try_from(pending + 1)?];
    let mut left = pending;
    // While it waited for its answer the session has set messages aside, those from before the close among them.
    while session.waiting_messages() > 0 {
        let message = session.next_message(PATIENCE)?;
        if message.inbox == subscribed.inbox {
            left -= mark(&mut seen, message.sequence);
        }
    }
    while left > 0 {
        if start.elapsed() > PATIENCE {
            bail!("{left} of {pending} pending messages did not come after the durable was resumed");
        }
        let pumped = session.connection.pump(READ_WAIT, |message, output| {
            match MessageView::decode(message.payload) {
                Ok(found) if message.sid == sid && found.sequence > 0 => left -= mark(&mut seen, found.sequence),
                _ => answer(&message, output),
            }
        });
        match pumped {
            Err(error) if error.kind() != ErrorKind::TimedOut => return Err(error).context("resuming"),
            _ => {}
        }
    }
    Ok(start.elapsed())
}

/// Notes a sequence; 1 when it is new.
fn mark(seen: &mut [bool], sequence: u64) -> u64 {
    let place = usize::try_from(sequence).ok().and_then(|index| seen.get_mut(index));
    place.map_or(0, |seen| u64::from(!std::mem::replace(seen, true)))
}

fn report(
    point: &Point,
    measured: &Measured,
    idle: &Published,
    stormy: &Published,
    redelivery: &Redelivery,
    resumed: Duration,
) -> Outcome {
    let mut outcome = Outcome::of(measured, "acknowledged");
    let p99 = |published: &Published| published.latencies.quantile(0.99).as_secs_f64() * 1e6;
    let figures = &mut outcome.figures;
    figures.set("redelivered_per_second", redelivery.rate);
    let interval = redelivery.intervals.quantile(0.99).as_secs_f64();
    figures.set(
        "redelivery_interval_in_ack_waits",
        interval / f64::from(ACK_WAIT_SECONDS),
    );
    figures.set("idle_ack_p99_microseconds", p99(idle));
    figures.set("storm_ack_p99_microseconds", p99(stormy));
    figures.set("storm_p99_ratio", p99(stormy) / p99(idle));
    figures.set("resume_seconds", resumed.as_secs_f64());
    outcome.add_latencies("ack", &stormy.latencies);
    outcome.add_latencies("idle ack", &idle.latencies);
    outcome.add_latencies("redelivery interval", &redelivery.intervals);
    outcome.add_latencies("lateness", &stormy.lateness);
    outcome.verified = format!(
        "all {} pending messages were delivered, delivered again, and there once more after the durable was resumed; \
         {} publishes acknowledged once each",
        point.backlog,
        idle.sent + stormy.sent
    );
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sequence_is_noted_once() {
        let mut seen = vec![false; 3];
        let marks: Vec<u64> = [1, 1, 2, 7]
            .into_iter()
            .map(|sequence| mark(&mut seen, sequence))
            .collect();
        assert_eq!(marks, [1, 0, 1, 0]);
    }
}
