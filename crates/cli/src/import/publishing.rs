//! Messages of a file are published in its order, many in flight.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use futures_util::FutureExt as _;
use indicatif::ProgressBar;
use seaway_client::{Client, PendingPublish, PublishError};
use serde_json::json;
use tokio::sync::mpsc;

use super::arguments::ImportArguments;
use crate::connection::Connection;
use crate::failure::{Failure, Kind, Outcome};
use crate::interrupt::Interrupt;
use crate::jsonl::Source;
use crate::output::{Output, note};
use crate::progress::counting_bar;
use crate::publish::random_letters;
use crate::readable::counted;

/// Messages that are read before they can be sent.
const READ_AHEAD: usize = 4;

/// What became of the messages.
struct Tally {
    bar: ProgressBar,
    acknowledged: u64,
    /// Messages whose reply subjects were not published with them.
    replies: u64,
    channels: BTreeSet<String>,
    /// The first line that was not acknowledged, and why.
    failure: Option<(u64, PublishError)>,
    /// Where it was interrupted.
    interrupted: Option<u64>,
}

impl Tally {
    fn settle(&mut self, line: u64, outcome: Result<(), PublishError>) {
        match outcome {
            Ok(()) => {
                self.acknowledged += 1;
                self.bar.inc(1);
            }
            Err(failure) => {
                self.failure.get_or_insert((line, failure));
            }
        }
    }
}

/// A message of the file.
struct Next {
    line: u64,
    channel: String,
    payload: Bytes,
    has_reply: bool,
}

/// Messages of the file, read on a thread of their own: nothing ends a read from a terminal, and a signal must be heard meanwhile.
struct Reading(mpsc::Receiver<Outcome<Next>>);

impl Reading {
    fn begin(mut source: Source, channel: Option<String>) -> Reading {
        let (sender, receiver) = mpsc::channel(READ_AHEAD);
        std::thread::spawn(move || {
            while let Some(next) = next(&mut source, channel.as_deref()).transpose() {
                let is_last = next.is_err();
                if sender.blocking_send(next).is_err() || is_last {
                    return;
                }
            }
        });
        Reading(receiver)
    }

    async fn next(&mut self) -> Outcome<Option<Next>> {
        self.0.recv().await.transpose()
    }
}

pub(super) async fn run(arguments: &ImportArguments, connection: &Connection, output: &mut Output) -> Outcome {
    let mut source = Source::open(&arguments.file)?;
    for line in 1..arguments.from_line {
        if !source.skip()? {
            return Err(Failure::failed(format!(
                "there is no line {}: there are {}",
                arguments.from_line,
                line - 1
            )));
        }
    }
    let interrupt = Interrupt::listen()?;
    let options = connection
        .options(format!("seaway-import-{}", random_letters()))
        .ack_timeout(arguments.ack_timeout)
        .max_publishes_in_flight(arguments.max_in_flight as usize);
    let client = connection.streaming(options).await?;
    let mut tally = Tally {
        bar: counting_bar(),
        acknowledged: 0,
        replies: 0,
        channels: BTreeSet::new(),
        failure: None,
        interrupted: None,
    };
    let reading = Reading::begin(source, arguments.channel.clone());
    let publishing = publish(reading, &client, interrupt, &mut tally);
    let published = connection.permitted(publishing).await;
    tally.bar.finish_and_clear();
    // Every acknowledgement that counts has come.
    let _ = client.close().await;
    report(&tally, published?, output)
}

/// Publishes until the end, the first failure, or a signal; then waits for what is on its way. The failure is that of the file.
async fn publish(
    mut reading: Reading,
    client: &Client,
    mut interrupt: Interrupt,
    tally: &mut Tally,
) -> Option<Failure> {
    let mut in_flight: VecDeque<(u64, PendingPublish)> = VecDeque::new();
    let (mut input_failure, mut line) = (None, 0);
    while tally.failure.is_none() {
        let next = tokio::select! {
            biased;
            () = interrupt.requested() => {
                tally.interrupted = Some(line + 1);
                break;
            }
            next = reading.next() => match next {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(failure) => {
                    input_failure = Some(failure);
                    break;
                }
            },
        };
        line = next.line;
        tally.replies += u64::from(next.has_reply);
        match client.publish_async(&next.channel, next.payload).await {
            Ok(pending) => in_flight.push_back((line, pending)),
            Err(failure) => tally.settle(line, Err(failure)),
        }
        tally.channels.insert(next.channel);
        while let Some((line, outcome)) = in_flight
            .front_mut()
            .and_then(|(line, oldest)| oldest.now_or_never().map(|outcome| (*line, outcome)))
        {
            in_flight.pop_front();
            tally.settle(line, outcome);
        }
    }
    interrupt.end_at_the_next();
    let sent_failure = tally.failure.take();
    for (line, pending) in in_flight {
        tally.settle(line, pending.await);
    }
    // The earliest line of all is where to go on.
    tally.failure = match (sent_failure, tally.failure.take()) {
        (Some(one), Some(other)) => Some(if other.0 < one.0 { other } else { one }),
        (one, other) => one.or(other),
    };
    input_failure
}

/// The next message, which goes to `channel` if that is said.
fn next(source: &mut Source, channel: Option<&str>) -> Outcome<Option<Next>> {
    let next = source.next()?.map(|record| {
        let payload = Bytes::copy_from_slice(&record.payload()?);
        let has_reply = !record.reply()?.is_empty();
        let channel = channel.unwrap_or(&record.channel).to_owned();
        Ok((channel, payload, has_reply))
    });
    let next: Result<_, &'static str> = next.transpose();
    let next = next.map_err(|problem| source.wrong(problem))?;
    Ok(next.map(|(channel, payload, has_reply)| Next {
        line: source.line_number(),
        channel,
        payload,
        has_reply,
    }))
}

fn report(tally: &Tally, input_failure: Option<Failure>, output: &mut Output) -> Outcome {
    let published = counted(tally.acknowledged, "message");
    if output.is_json() {
        output.json(&json!({
            "acknowledged": tally.acknowledged,
            "channels": tally.channels.len(),
            "next_line": tally.failure.as_ref().map(|(line, _)| *line).or(tally.interrupted),
        }))?;
    }
    if let Some((line, failure)) = &tally.failure {
        let kind = match failure {
            PublishError::AckTimeout(_) | PublishError::ConnectionLost => Kind::NoServer,
            _ => Kind::Failed,
        };
        return Err(Failure::new(
            kind,
            format!(
                "line {line} was not acknowledged: {failure}\n{published} acknowledged; that line and some behind it may be stored all the same, \
                 and would then be there twice. To go on there: --from-line {line}"
            ),
        ));
    }
    if let Some(line) = tally.interrupted {
        return Err(Failure::failed(format!(
            "interrupted: {published} published, all of them acknowledged. To go on: --from-line {line}"
        )));
    }
    if let Some(Failure::Told(kind, words)) = input_failure {
        return Err(Failure::new(
            kind,
            format!("{words}\n{published} before it are published"),
        ));
    }
    if output.is_json() {
        return Ok(());
    }
    if tally.replies > 0 {
        note(&format!(
            "{} had reply subjects, which are not published.",
            counted(tally.replies, "message")
        ));
    }
    output.line(&format!(
        "Published {published} to {}.",
        counted(tally.channels.len() as u64, "channel")
    ))
}
