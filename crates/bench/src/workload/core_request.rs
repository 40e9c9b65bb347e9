//! C4: core request and reply; how long an answer takes.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::{Needs, Workload};
use crate::context::Context;
use crate::histogram::Latencies;
use crate::limits::{PATIENCE, READ_WAIT};
use crate::outcome::Outcome;
use crate::point::Point;
use crate::stamp::Stamp;
use crate::stan::token;
use crate::watch::{Counter, Run, counters, measure, sum};
use crate::wire::Connection;

/// C4: one request in flight per client.
pub(super) const C4: Workload = Workload {
    name: "C4",
    about: "core request and reply: --publishers clients with one request in flight each, --subscribers responders",
    needs: Needs::Core,
    parameters: &["size", "publishers", "subscribers"],
    defaults: Point::default,
    channels: |_| 0,
    run,
};

fn run(context: &mut Context, point: &Point) -> Result<Outcome> {
    let subject = context.channel(0, 1);
    let mut responders = Vec::new();
    for _ in 0..point.subscribers.max(1) {
        let mut responder = context.connect_receiver()?;
        responder.subscribe_in_group(&subject, "bench");
        responder.ping(PATIENCE)?;
        responders.push(responder);
    }
    context.receivers_are_known()?;
    let clients = (0..point.publishers)
        .map(|_| context.connect())
        .collect::<Result<Vec<_>>>()?;
    let run = Run::new(context.length, 0);
    let answered = counters(point.publishers);
    let mut latencies = Latencies::default();
    let measured = std::thread::scope(|scope| {
        let run = &run;
        for responder in responders {
            scope.spawn(move || run.guard(|| respond(run, responder)));
        }
        let threads: Vec<_> = (0..)
            .zip(clients)
            .zip(&answered)
            .map(|((number, client), own)| {
                let quota = context.length.quota(point.publishers, number);
                let subject = &subject;
                scope.spawn(move || run.guard(|| request(run, client, subject, point.size, quota, own)))
            })
            .collect();
        let measured = measure(context, run, 1, &|| sum(&answered));
        for thread in threads {
            if let Some(one) = thread.join().ok().flatten() {
                latencies.merge(&one);
            }
        }
        run.set_sent(sum(&answered));
        measured
    });
    let measured = run.outcome(measured)?;
    let mut outcome = Outcome::of(&measured, "answered");
    outcome.add_latencies("answer", &latencies);
    outcome.verified = format!("{} requests, each with its own answer", sum(&answered));
    Ok(outcome)
}

/// Sends every request back.
fn respond(run: &Run, mut connection: Connection) -> Result<()> {
    while run.sent().is_none() && !run.is_aborted() {
        let pumped = connection.pump(READ_WAIT, |message, output| {
            output.extend_from_slice(b"PUB ");
            output.extend_from_slice(message.reply);
            output.extend_from_slice(format!(" {}\r\n", message.payload.len()).as_bytes());
            output.extend_from_slice(message.payload);
            output.extend_from_slice(b"\r\n");
        });
        match pumped {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {}
            Err(error) => return Err(error).context("responding"),
        }
    }
    Ok(())
}

/// One request after the other.
fn request(
    run: &Run,
    mut connection: Connection,
    subject: &str,
    size: usize,
    quota: Option<u64>,
    own: &Counter,
) -> Result<Latencies> {
    let inbox = format!("_INBOX.{}", token());
    let sid = connection.subscribe(&inbox);
    let head = format!("PUB {subject} {inbox} {size}\r\n").into_bytes();
    let mut frame = [&head, &vec![b'x'; size], &b"\r\n"[..]].concat();
    let mut latencies = Latencies::default();
    let mut number = 0;
    while quota.is_none_or(|quota| number < quota) && !run.is_stopping() {
        let stamp = Stamp {
            publisher: 0,
            number,
            origin_ns: run.now_ns(),
        };
        stamp.write(&mut frame[head.len()..head.len() + size]);
        connection.send(&frame);
        let (mut answer, asked) = (None, Instant::now());
        while answer.is_none() {
            connection
                .pump(PATIENCE, |message, _| {
                    if message.sid == sid {
                        let is_ours = message.payload == &frame[head.len()..head.len() + size];
                        answer = Some(is_ours && !message.has_headers());
                    }
                })
                .with_context(|| format!("request {number} after {:?}", asked.elapsed()))?;
        }
        if answer != Some(true) {
            bail!("request {number} got an answer that is not its own");
        }
        if run.records(stamp.origin_ns) {
            latencies.record(asked.elapsed());
        }
        number += 1;
        own.set(number);
    }
    Ok(latencies)
}
