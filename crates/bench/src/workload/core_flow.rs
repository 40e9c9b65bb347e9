//! C1, C2 and C3: core publishers on one subject, and subscribers that each get everything, or share it as a queue group.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{Needs, Workload};
use crate::context::Context;
use crate::histogram::Latencies;
use crate::limits::{PATIENCE, READ_WAIT};
use crate::outcome::Outcome;
use crate::point::{Length, Point};
use crate::schedule::{Schedule, sleep_precisely, sleep_until};
use crate::stamp::{Ledger, Order, STAMP_BYTES, Stamp};
use crate::watch::{Counter, Measured, Run, counters, measure, sum};
use crate::wire::Connection;

/// C1: one subject, each subscriber gets everything.
pub(super) const C1: Workload = Workload {
    name: "C1",
    about: "core publish and subscribe on one subject; --publishers and --subscribers, 0 subscribers for publish only",
    needs: Needs::Core,
    parameters: PARAMETERS,
    defaults: || Point {
        window: 0,
        ..Point::default()
    },
    channels: |_| 0,
    run: |context, point| run(context, point, Sharing::Each),
};

/// C2: the same with several subscribers.
pub(super) const C2: Workload = Workload {
    name: "C2",
    about: "core fan-out: each of --subscribers gets every message",
    needs: Needs::Core,
    parameters: PARAMETERS,
    defaults: || Point {
        window: 0,
        subscribers: 4,
        ..Point::default()
    },
    channels: |_| 0,
    run: |context, point| run(context, point, Sharing::Each),
};

/// C3: one queue group.
pub(super) const C3: Workload = Workload {
    name: "C3",
    about: "core queue group of --subscribers members: each message goes to one",
    needs: Needs::Core,
    parameters: PARAMETERS,
    defaults: || Point {
        window: 0,
        subscribers: 10,
        ..Point::default()
    },
    channels: |_| 0,
    run: |context, point| run(context, point, Sharing::Group),
};

const PARAMETERS: &[&str] = &["size", "publishers", "subscribers", "window", "rate"];

/// Bytes on the way to a subscriber at most, when no window is given: a server drops subscribers that are far behind.
const WINDOW_BYTES: u64 = 4 * 1024 * 1024;

/// Bytes of one write.
const BATCH_BYTES: usize = 64 * 1024;

/// How long a publisher whose window is full waits before it looks again.
const PAUSE: Duration = Duration::from_micros(30);

/// Above this many subscribers their connections have small buffers.
const MANY: u64 = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Every subscriber gets every message.
    Each,
    /// Each message goes to one subscriber.
    Group,
}

/// One run.
struct Flow<'a> {
    run: &'a Run,
    point: &'a Point,
    length: Length,
    subject: &'a str,
    sharing: Sharing,
    sent: &'a [Counter],
    received: &'a [Counter],
}

/// What subscribers and publishers saw, all together.
#[derive(Default)]
struct Seen {
    sent: Vec<u64>,
    lateness: Latencies,
    ledger: Ledger,
    latencies: Latencies,
}

fn run(context: &mut Context, point: &Point, sharing: Sharing) -> Result<Outcome> {
    let subject = context.channel(0, 1);
    let mut subscribers = Vec::new();
    for _ in 0..point.subscribers {
        let mut connection = match point.subscribers {
            0..=MANY => context.connect_receiver()?,
            _ => Connection::open_small(context.receivers_address()).context("connect a subscriber")?,
        };
        match sharing {
            Sharing::Each => connection.subscribe(&subject),
            Sharing::Group => connection.subscribe_in_group(&subject, "bench"),
        };
        connection.ping(PATIENCE)?;
        subscribers.push(connection);
    }
    context.receivers_are_known()?;
    let publishers = (0..point.publishers)
        .map(|_| context.connect())
        .collect::<Result<Vec<_>>>()?;
    let run = Run::new(context.length, point.rate);
    let (sent, received) = (counters(point.publishers), counters(point.subscribers));
    let flow = Flow {
        run: &run,
        point,
        length: context.length,
        subject: &subject,
        sharing,
        sent: &sent,
        received: &received,
    };
    let (measured, seen) = flow.drive(context, publishers, subscribers)?;
    flow.report(&measured, &seen)
}

impl Flow<'_> {
    /// How often each message arrives in all.
    fn copies(&self) -> u64 {
        match (self.point.subscribers, self.sharing) {
            (0, _) => 0,
            (subscribers, Sharing::Each) => subscribers,
            (_, Sharing::Group) => 1,
        }
    }

    /// Messages that have arrived wherever they should.
    fn arrived(&self) -> u64 {
        match (self.point.subscribers, self.sharing) {
            (0, _) => sum(self.sent),
            (_, Sharing::Each) => self.received.iter().map(Counter::get).min().unwrap_or(0),
            (_, Sharing::Group) => sum(self.received),
        }
    }

    fn drive(
        &self,
        context: &Context,
        publishers: Vec<Connection>,
        subscribers: Vec<Connection>,
    ) -> Result<(Measured, Seen)> {
        let (run, mut seen) = (self.run, Seen::default());
        let measured = std::thread::scope(|scope| {
            let receiving: Vec<_> = subscribers
                .into_iter()
                .zip(self.received)
                .map(|(connection, own)| scope.spawn(move || run.guard(|| self.subscribe(connection, own))))
                .collect();
            let publishing: Vec<_> = (0..)
                .zip(publishers)
                .map(|(number, connection)| scope.spawn(move || run.guard(|| self.publish(connection, number))))
                .collect();
            let counted = || {
                if self.copies() == 0 {
                    sum(self.sent)
                } else {
                    sum(self.received)
                }
            };
            let measured = measure(context, run, self.copies().max(1), &counted);
            for thread in publishing {
                if let Some((sent, lateness)) = thread.join().ok().flatten() {
                    seen.sent.push(sent);
                    seen.lateness.merge(&lateness);
                }
            }
            run.set_sent(seen.sent.iter().sum());
            for thread in receiving {
                if let Some((ledger, latencies)) = thread.join().ok().flatten() {
                    seen.ledger.merge(&ledger);
                    seen.latencies.merge(&latencies);
                }
            }
            measured
        });
        Ok((run.outcome(measured)?, seen))
    }

    fn report(&self, measured: &Measured, seen: &Seen) -> Result<Outcome> {
        let mut outcome = Outcome::of(measured, if self.copies() == 0 { "published" } else { "delivered" });
        let rate = measured.count as f64 / measured.elapsed.as_secs_f64();
        outcome
            .figures
            .set("published_per_second", rate / self.copies().max(1) as f64);
        outcome
            .figures
            .set("megabytes_per_second", rate * self.point.size as f64 / 1e6);
        outcome.add_latencies("delivery", &seen.latencies);
        outcome.add_latencies("lateness", &seen.lateness);
        let is_stamped = self.point.size >= STAMP_BYTES;
        let expected = Ledger::expected(&seen.sent, self.copies(), is_stamped);
        if let Some(complaint) = seen.ledger.complaint(&expected).filter(|_| self.copies() > 0) {
            bail!(complaint);
        }
        outcome.verified = match (self.copies(), is_stamped) {
            (0, _) => format!(
                "{} published, the server answered behind them",
                seen.sent.iter().sum::<u64>()
            ),
            (_, true) => format!(
                "{} deliveries: none lost, none doubled, in order per publisher",
                expected.count
            ),
            (_, false) => format!("{} deliveries: none lost", expected.count),
        };
        Ok(outcome)
    }

    fn subscribe(&self, mut connection: Connection, own: &Counter) -> Result<(Ledger, Latencies)> {
        let (mut ledger, mut latencies, mut order) = (Ledger::default(), Latencies::default(), Order::default());
        let mut moved = Instant::now();
        let is_over = || {
            let sent = self.run.sent();
            sent.is_some_and(|sent| sum(self.received) >= sent.saturating_mul(self.copies()))
        };
        while !is_over() {
            let (mut complaint, mut now) = (None, None);
            let pumped = connection.pump(READ_WAIT, |message, _| {
                let stamp = Stamp::read(message.payload);
                ledger.add(stamp);
                if let Some(stamp) = stamp {
                    complaint = complaint.take().or(order.check(stamp));
                    if self.run.records(stamp.origin_ns) {
                        let now = *now.get_or_insert_with(|| self.run.now_ns());
                        latencies.record_ns(now.saturating_sub(stamp.origin_ns));
                    }
                }
            });
            match pumped {
                Ok(()) => moved = Instant::now(),
                // What a queue group has forgotten shows in the others' counts.
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut && moved.elapsed() < PATIENCE => {}
                Err(error) => return Err(error).with_context(|| format!("after {} deliveries", ledger.count)),
            }
            if let Some(complaint) = complaint {
                bail!(complaint);
            }
            if self.run.is_aborted() {
                bail!("another thread gave up");
            }
            own.set(ledger.count);
        }
        Ok((ledger, latencies))
    }

    fn publish(&self, mut connection: Connection, number: u64) -> Result<(u64, Latencies)> {
        let batch = Batch::new(self.subject, self.point.size);
        let outcome = if self.point.rate == 0 {
            self.publish_as_taken(&mut connection, number, batch)
        } else {
            self.publish_on_time(&mut connection, number, batch)
        }?;
        // The answer shows that the server has taken everything before it.
        connection.ping(PATIENCE).context("after the last publish")?;
        Ok(outcome)
    }

    /// As many as the window lets out.
    fn publish_as_taken(&self, connection: &mut Connection, number: u64, mut batch: Batch) -> Result<(u64, Latencies)> {
        sleep_precisely();
        let quota = self.length.quota(self.point.publishers, number).unwrap_or(u64::MAX);
        let window = match self.point.window {
            0 => (WINDOW_BYTES / batch.frame_bytes as u64).max(64),
            window => window,
        };
        let own = &self.sent[usize::try_from(number)?];
        let (mut sent, mut looked) = (0, Instant::now());
        while sent < quota && !self.run.is_stopping() {
            let in_flight = sum(self.sent).saturating_sub(self.arrived());
            let room = window.saturating_sub(in_flight).min(quota - sent).min(batch.frames);
            if room < batch.frames.min(window / 2).min(quota - sent).max(1) {
                std::thread::sleep(PAUSE);
                continue;
            }
            let now = self.run.now_ns();
            connection.send(batch.stamped(number, sent, room, |_| now));
            connection.flush()?;
            sent += room;
            own.set(sent);
            if looked.elapsed().as_secs() >= 1 {
                connection.answer_pings()?;
                looked = Instant::now();
            }
        }
        Ok((sent, Latencies::default()))
    }

    /// As the schedule says, however late the server makes it.
    fn publish_on_time(&self, connection: &mut Connection, number: u64, mut batch: Batch) -> Result<(u64, Latencies)> {
        sleep_precisely();
        let schedule = Schedule::new(self.run.epoch, self.point.rate, number, self.point.publishers);
        let sends = match self.length {
            Length::Time { warm_up, measured } => schedule.count_within(warm_up + measured),
            length @ Length::Count { .. } => length.quota(self.point.publishers, number).unwrap_or(0),
        };
        let own = &self.sent[usize::try_from(number)?];
        let (mut sent, mut lateness, mut looked) = (0, Latencies::default(), Instant::now());
        while sent < sends && !self.run.is_aborted() {
            sleep_until(schedule.due(sent));
            let now = self.run.now_ns();
            let due = (sent..sends.min(sent + batch.frames)).take_while(|number| schedule.due_ns(*number) <= now);
            let due = due.count() as u64;
            for number in sent..sent + due {
                let origin_ns = schedule.due_ns(number);
                if self.run.records(origin_ns) {
                    lateness.record_ns(now - origin_ns);
                }
            }
            connection.send(batch.stamped(number, sent, due, |number| schedule.due_ns(number)));
            connection.flush()?;
            sent += due;
            own.set(sent);
            if looked.elapsed().as_secs() >= 1 {
                connection.answer_pings()?;
                looked = Instant::now();
            }
        }
        Ok((sent, lateness))
    }
}

/// Ready frames, one after the other, in which only the stamps change.
struct Batch {
    bytes: Vec<u8>,
    frame_bytes: usize,
    payload_at: usize,
    size: usize,
    frames: u64,
}

impl Batch {
    fn new(subject: &str, size: usize) -> Batch {
        let head = format!("PUB {subject} {size}\r\n");
        let frame = [head.as_bytes(), &vec![b'x'; size], b"\r\n"].concat();
        let frames = (BATCH_BYTES / frame.len()).max(1);
        Batch {
            bytes: frame.repeat(frames),
            frame_bytes: frame.len(),
            payload_at: head.len(),
            size,
            frames: frames as u64,
        }
    }

    /// The first `count` frames with the stamps of the messages from `first` on.
    fn stamped(&mut self, publisher: u64, first: u64, count: u64, origin_ns: impl Fn(u64) -> u64) -> &[u8] {
        let used = usize::try_from(count).unwrap_or(0) * self.frame_bytes;
        for (number, frame) in (first..).zip(self.bytes[..used].chunks_exact_mut(self.frame_bytes)) {
            let stamp = Stamp {
                publisher,
                number,
                origin_ns: origin_ns(number),
            };
            stamp.write(&mut frame[self.payload_at..self.payload_at + self.size]);
        }
        &self.bytes[..used]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_holds_whole_frames_with_stamps() {
        let mut batch = Batch::new("a.b", 16);
        assert!(batch.frames > 1_000);
        let bytes = batch.stamped(2, 7, 2, |number| number * 10).to_vec();
        assert_eq!(&bytes[..12], b"PUB a.b 16\r\n");
        assert_eq!(bytes.len(), 2 * 30);
        let stamp = Stamp::read(&bytes[42..]).expect("long enough");
        assert_eq!((stamp.publisher, stamp.number, stamp.origin_ns), (2, 8, 80));
        assert_eq!(Batch::new("a", 1 << 20).frames, 1);
    }
}
