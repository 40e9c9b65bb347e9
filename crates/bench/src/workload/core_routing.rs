//! C5: routing among many subscriptions, a tenth of them with a wildcard; each message has one receiver.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{Needs, Workload};
use crate::context::Context;
use crate::limits::{PATIENCE, READ_WAIT};
use crate::outcome::Outcome;
use crate::point::Point;
use crate::stamp::{Ledger, Order, STAMP_BYTES, Stamp};
use crate::watch::{Counter, Run, measure};
use crate::wire::Connection;

/// C5: routing.
pub(super) const C5: Workload = Workload {
    name: "C5",
    about: "core routing: publish over --channels subjects among --subscriptions, one in ten with a wildcard",
    needs: Needs::Core,
    parameters: &["size", "channels", "subscriptions", "window"],
    defaults: || Point {
        channels: 100_000,
        subscriptions: 100_000,
        window: 16_384,
        ..Point::default()
    },
    channels: |_| 0,
    run,
};

/// Messages of one write.
const BATCH: u64 = 256;

/// How long the publisher waits when its window is full.
const PAUSE: Duration = Duration::from_micros(30);

/// Subscriptions sent before the server is asked whether it has them.
const SUBSCRIPTIONS_AT_ONCE: u64 = 10_000;

fn run(context: &mut Context, point: &Point) -> Result<Outcome> {
    // More subjects than subscriptions would be published to nobody.
    let subjects = point.channels.min(point.subscriptions).max(1);
    let prefix = context.channel(0, 1);
    let mut receiver = context.connect()?;
    for number in 0..point.subscriptions {
        let last = if number % 10 == 0 { "*" } else { "end" };
        receiver.subscribe(&format!("{prefix}.{number}.{last}"));
        if number % SUBSCRIPTIONS_AT_ONCE == 0 {
            receiver.ping(PATIENCE)?;
        }
    }
    receiver
        .ping(PATIENCE)
        .context("waiting until all subscriptions are known")?;
    let publisher = context.connect()?;
    let run = Run::new(context.length, 0);
    let (sent, received) = (Counter::default(), Counter::default());
    let quota = context.length.quota(1, 0);
    let mut ledger = Ledger::default();
    let measured = std::thread::scope(|scope| {
        let (run, sent, received) = (&run, &sent, &received);
        let receiving = scope.spawn(move || run.guard(|| receive(run, receiver, subjects, received)));
        let publishing = scope
            .spawn(move || run.guard(|| publish(run, publisher, &prefix, point, subjects, quota, (sent, received))));
        let measured = measure(context, run, 1, &|| received.get());
        let _ = publishing.join();
        run.set_sent(sent.get());
        ledger = receiving.join().ok().flatten().unwrap_or_default();
        measured
    });
    let measured = run.outcome(measured)?;
    let mut outcome = Outcome::of(&measured, "delivered");
    if let Some(complaint) = ledger.complaint(&Ledger::expected(&[sent.get()], 1, point.size >= STAMP_BYTES)) {
        bail!(complaint);
    }
    outcome.verified = format!(
        "{} messages over {subjects} subjects, each at its subscription",
        ledger.count
    );
    Ok(outcome)
}

fn publish(
    run: &Run,
    mut connection: Connection,
    prefix: &str,
    point: &Point,
    subjects: u64,
    quota: Option<u64>,
    (sent, received): (&Counter, &Counter),
) -> Result<()> {
    let heads: Vec<String> = (0..subjects)
        .map(|number| format!("PUB {prefix}.{number}.end {}\r\n", point.size))
        .collect();
    let mut tail = [&vec![b'x'; point.size], &b"\r\n"[..]].concat();
    let (mut number, mut looked) = (0, Instant::now());
    while quota.is_none_or(|quota| number < quota) && !run.is_stopping() {
        if number - received.get() + BATCH > point.window.max(BATCH) {
            std::thread::sleep(PAUSE);
            continue;
        }
        let end = quota.unwrap_or(u64::MAX).min(number + BATCH);
        let origin_ns = run.now_ns();
        for number in number..end {
            let head = &heads[usize::try_from(number % subjects)?];
            Stamp {
                publisher: 0,
                number,
                origin_ns,
            }
            .write(&mut tail[..point.size]);
            connection.output().extend_from_slice(head.as_bytes());
            connection.send(&tail);
        }
        connection.flush()?;
        number = end;
        sent.set(number);
        if looked.elapsed().as_secs() >= 1 {
            connection.answer_pings()?;
            looked = Instant::now();
        }
    }
    connection.ping(PATIENCE).context("after the last publish")
}

fn receive(run: &Run, mut connection: Connection, subjects: u64, own: &Counter) -> Result<Ledger> {
    let (mut ledger, mut order, mut moved) = (Ledger::default(), Order::default(), Instant::now());
    while run.sent().is_none_or(|sent| ledger.count < sent) {
        let mut complaint = None;
        let pumped = connection.pump(READ_WAIT, |message, _| {
            let stamp = Stamp::read(message.payload);
            ledger.add(stamp);
            let Some(stamp) = stamp else { return };
            complaint = complaint.take().or(order.check(stamp));
            // Sids count from 1 in the order of the subjects.
            if message.sid != stamp.number % subjects + 1 {
                complaint = Some(format!("message {} came to subscription {}", stamp.number, message.sid));
            }
        });
        match pumped {
            Ok(()) => moved = Instant::now(),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut && moved.elapsed() < PATIENCE => {}
            Err(error) => return Err(error).with_context(|| format!("after {} deliveries", ledger.count)),
        }
        if let Some(complaint) = complaint {
            bail!(complaint);
        }
        if run.is_aborted() {
            bail!("another thread gave up");
        }
        own.set(ledger.count);
    }
    Ok(ledger)
}
