//! One publishing connection whose publishes are acknowledged: in a closed loop with a window, or in an open loop that follows a
//! schedule whatever the server does.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::context::Context;
use crate::frames::{Acks, Frames, Seen};
use crate::heartbeat::answer;
use crate::histogram::Latencies;
use crate::limits::{PATIENCE, READ_WAIT};
use crate::point::{Length, Point};
use crate::schedule::{Schedule, sleep_precisely, sleep_until};
use crate::stamp::Stamp;
use crate::watch::{Counter, Run};
use crate::wire::Connection;

/// Sends that are due within this time of each other leave in one write: at high rates a write for each would cost more than
/// the server does. Latencies count from the due moments all the same.
const TICK: Duration = Duration::from_micros(100);

/// Bytes that an open loop sends in one write at most, when it is behind its schedule.
const BURST_BYTES: usize = 256 * 1024;

/// A publisher.
pub(crate) struct Publisher<'a> {
    pub(crate) run: &'a Run,
    /// Where acks arrive, and where publishes of a closed loop leave.
    pub(crate) connection: &'a mut Connection,
    pub(crate) frames: Frames,
    pub(crate) acks: Acks,
    /// Which one this is, from 0.
    pub(crate) number: u64,
    /// Its acknowledged publishes.
    pub(crate) acked: &'a Counter,
}

/// What a publisher did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published {
    /// Publishes sent, all of them acknowledged.
    pub(crate) sent: u64,
    /// From send, or due moment, to ack.
    pub(crate) latencies: Latencies,
    /// From the due moment to the send.
    pub(crate) lateness: Latencies,
}

impl Published {
    /// Takes what another one did.
    pub(crate) fn merge(&mut self, other: &Published) {
        self.sent += other.sent;
        self.latencies.merge(&other.latencies);
        self.lateness.merge(&other.lateness);
    }
}

impl Publisher<'_> {
    /// Publishes as the point says: by schedule if it has a rate, else with a window.
    pub(crate) fn publish(self, context: &Context, point: &Point) -> Result<Published> {
        if point.rate == 0 {
            let quota = context.length.quota(point.publishers, self.number);
            return self.closed(point.window, quota);
        }
        let schedule = Schedule::new(self.run.epoch, point.rate, self.number, point.publishers);
        let sends = match context.length {
            _ if self.run.is_endless => u64::MAX,
            Length::Time { warm_up, measured } => schedule.count_within(warm_up + measured),
            length @ Length::Count { .. } => length.quota(point.publishers, self.number).unwrap_or(0),
        };
        self.open(schedule, sends, context.connect()?)
    }

    /// Keeps `window` publishes in flight until so many are sent, or the run stops; then waits for the acks.
    pub(crate) fn closed(self, window: u64, quota: Option<u64>) -> Result<Published> {
        let window = window.max(1);
        let mut published = Published::default();
        let mut acked = Tally::default();
        // Acks of different channels may pass each other, so a place is used again only twice a window later.
        let places = usize::try_from(2 * window).context("the window is too large")?;
        let mut sent_at = vec![0_u64; places];
        let place = |number: u64| usize::try_from(number % places as u64).unwrap_or(0);
        loop {
            if !self.run.is_stopping() {
                let now = self.run.now_ns();
                while published.sent - acked.count < window && quota.is_none_or(|quota| published.sent < quota) {
                    let stamp = Stamp {
                        publisher: self.number,
                        number: published.sent,
                        origin_ns: now,
                    };
                    self.frames.append(self.connection.output(), stamp);
                    sent_at[place(published.sent)] = now;
                    published.sent += 1;
                }
            }
            if acked.count == published.sent {
                break;
            }
            let mut refused = None;
            let mut now = None;
            let pumped = self
                .connection
                .pump(PATIENCE, |message, output| match self.acks.read(&message) {
                    Seen::Ack(number) => {
                        let now = *now.get_or_insert_with(|| self.run.now_ns());
                        acked.add(number);
                        let sent_at = sent_at[place(number)];
                        if self.run.records(sent_at) {
                            published.latencies.record_ns(now.saturating_sub(sent_at));
                        }
                    }
                    Seen::Refused(reason) => refused = Some(reason),
                    Seen::Other => answer(&message, output),
                });
            pumped.with_context(|| format!("waiting for acks, {} of {} are there", acked.count, published.sent))?;
            if let Some(reason) = refused {
                bail!("a publish was refused: {reason}");
            }
            self.acked.set(acked.count);
        }
        acked.check(published.sent)?;
        Ok(published)
    }

    /// Sends when the schedule says so, over a connection of its own, and takes the acks beside.
    fn open(self, schedule: Schedule, sends: u64, mut sender: Connection) -> Result<Published> {
        let publisher = &self.number;
        let open = Open {
            run: self.run,
            schedule,
            sends: AtomicU64::new(sends),
        };
        let Publisher {
            connection,
            frames,
            acks,
            acked: counter,
            ..
        } = self;
        // The sender's connection may be served first: without this its first acks could find nobody.
        connection.ping(PATIENCE).context("subscribing to acks")?;
        let run = open.run;
        let (lateness, latencies) = std::thread::scope(|scope| {
            let send = || {
                open.send_on_time(*publisher, &frames, &mut sender)
                    .context("sending on schedule")
            };
            let sending = scope.spawn(move || run.guard(send));
            let latencies = run.guard(|| open.receive_acks(connection, &acks, counter));
            (sending.join().ok().flatten(), latencies)
        });
        let (lateness, latencies) = lateness.zip(latencies).context("another thread gave up")?;
        Ok(Published {
            sent: open.sends(),
            latencies,
            lateness,
        })
    }
}

/// An open loop: its sender and its receiver.
struct Open<'a> {
    run: &'a Run,
    schedule: Schedule,
    /// Publishes in all; lowered when a run that has no end of its own is stopped.
    sends: AtomicU64,
}

impl Open<'_> {
    fn sends(&self) -> u64 {
        self.sends.load(Ordering::Acquire)
    }

    /// Sends each publish when it is due, or as soon after as the server lets it; how late each was.
    fn send_on_time(&self, publisher: u64, frames: &Frames, connection: &mut Connection) -> Result<Latencies> {
        sleep_precisely();
        let (run, schedule) = (self.run, &self.schedule);
        let mut lateness = Latencies::default();
        let (mut sent, mut looked) = (0, Instant::now());
        let mut woken = looked - TICK;
        while sent < self.sends() && !run.is_aborted() {
            if run.is_endless && run.is_stopping() {
                self.sends.store(sent, Ordering::Release);
                break;
            }
            sleep_until(schedule.due(sent).max(woken + TICK));
            woken = Instant::now();
            let now = run.now_ns();
            while sent < self.sends() && schedule.due_ns(sent) <= now && connection.output().len() < BURST_BYTES {
                let origin_ns = schedule.due_ns(sent);
                frames.append(
                    connection.output(),
                    Stamp {
                        publisher,
                        number: sent,
                        origin_ns,
                    },
                );
                if run.records(origin_ns) {
                    lateness.record_ns(now - origin_ns);
                }
                sent += 1;
            }
            connection.flush()?;
            if looked.elapsed().as_secs() >= 1 {
                connection.answer_pings()?;
                looked = Instant::now();
            }
        }
        Ok(lateness)
    }

    /// Takes acks until all are there; how long each took from the moment its publish was due.
    fn receive_acks(&self, connection: &mut Connection, acks: &Acks, counter: &Counter) -> Result<Latencies> {
        let run = self.run;
        let mut latencies = Latencies::default();
        let mut acked = Tally::default();
        let mut moved = Instant::now();
        while acked.count < self.sends() {
            let mut refused = None;
            let mut now = None;
            let pumped = connection.pump(READ_WAIT, |message, output| match acks.read(&message) {
                Seen::Ack(number) => {
                    let now = *now.get_or_insert_with(|| run.now_ns());
                    acked.add(number);
                    let due = self.schedule.due_ns(number);
                    if run.records(due) {
                        latencies.record_ns(now.saturating_sub(due));
                    }
                }
                Seen::Refused(reason) => refused = Some(reason),
                Seen::Other => answer(&message, output),
            });
            if let Some(reason) = refused {
                bail!("a publish was refused: {reason}");
            }
            match pumped {
                Ok(()) => moved = Instant::now(),
                Err(error) if error.kind() == ErrorKind::TimedOut && moved.elapsed() < PATIENCE => {}
                Err(error) => {
                    let (found, sends) = (acked.count, self.sends());
                    return Err(error).with_context(|| format!("waiting for acks, {found} of {sends} are there"));
                }
            }
            if run.is_aborted() {
                bail!("another thread gave up");
            }
            counter.set(acked.count);
        }
        connection.flush()?;
        acked.check(self.sends())?;
        Ok(latencies)
    }
}

/// Numbers that were acknowledged: their count and sum tell whether it was each of them once.
#[derive(Default)]
struct Tally {
    count: u64,
    sum: u128,
}

impl Tally {
    fn add(&mut self, number: u64) {
        self.count += 1;
        self.sum += u128::from(number);
    }

    fn check(&self, sent: u64) -> Result<()> {
        let expected = u128::from(sent) * u128::from(sent.saturating_sub(1)) / 2;
        if (self.count, self.sum) != (sent, expected) {
            bail!(
                "{sent} publishes got {} acks, some of them twice and others never",
                self.count
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_publish_is_acknowledged_once() {
        let tally = |numbers: &[u64]| {
            let mut tally = Tally::default();
            numbers.iter().for_each(|number| tally.add(*number));
            tally
        };
        assert!(tally(&[2, 0, 1]).check(3).is_ok());
        assert!(tally(&[]).check(0).is_ok());
        assert!(tally(&[2, 2, 0]).check(3).is_err());
        assert!(tally(&[0, 1]).check(3).is_err());
    }
}
