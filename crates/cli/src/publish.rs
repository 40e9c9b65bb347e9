//! `seaway pub`: messages from an argument, a file or the standard input, many in flight.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use seaway_client::{Client, PendingPublish, PublishError};
use serde_json::json;

use crate::connection::Connection;
use crate::failure::{Failure, Kind, Outcome};
use crate::interrupt::Interrupt;
use crate::lines::Lines;
use crate::output::{Output, note};
use crate::readable::{count, counted, parse_duration, span};
use crate::template::Template;

/// Messages from which on a rate says something.
const RATE_FROM: u64 = 1000;

/// What to publish, and where.
#[derive(clap::Args)]
pub(crate) struct PublishArguments {
    /// The channel
    channel: String,
    /// The message; without it every line of the standard input is one
    ///
    /// It may hold {{Count}} (1, 2, 3, ...), {{Time}} (RFC 3339), {{UUID}}, {{Random FROM TO}} (a whole number, both included)
    /// and {{Text LENGTH}} (random letters and digits).
    message: Option<String>,
    /// Publish the content of a file as one message
    #[arg(long, value_name = "FILE", conflicts_with = "message")]
    read_file: Option<PathBuf>,
    /// Publish the message this often
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Pause between two messages
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    every: Option<Duration>,
    /// Send the message as it is, also when it holds {{...}}
    #[arg(long)]
    raw: bool,
    /// Messages that may await their acknowledgement at once
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_in_flight: u32,
    /// How long an acknowledgement may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    ack_timeout: Duration,
    /// Client ID to publish as [default: a random one]
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Say nothing when all went well
    #[arg(short, long)]
    quiet: bool,
}

/// Where messages come from.
enum Source {
    Template { template: Template, count: u64 },
    File { content: Bytes, count: u64 },
    Lines(Lines),
}

/// What became of the messages.
#[derive(Default)]
struct Tally {
    acknowledged: u64,
    unacknowledged: u64,
    bytes: u64,
    first_failure: Option<PublishError>,
    was_interrupted: bool,
}

pub(crate) async fn run(arguments: PublishArguments, connection: Connection, output: &mut Output) -> Outcome {
    let source = arguments.source(&connection)?;
    let interrupt = Interrupt::listen()?;
    let id = arguments
        .client_id
        .clone()
        .unwrap_or_else(|| format!("seaway-pub-{}", random_letters()));
    let options = connection
        .options(id)
        .ack_timeout(arguments.ack_timeout)
        .max_publishes_in_flight(arguments.max_in_flight as usize);
    let client = connection.streaming(options).await?;
    let start = Instant::now();
    let progress = progress_bar(source.total());
    let publishing = publish(&arguments, source, &client, interrupt, &progress);
    let published = connection.permitted(publishing).await;
    progress.finish_and_clear();
    // Every acknowledgement that counts has come.
    let _ = client.close().await;
    let (tally, input_failure) = published?;
    report(&arguments, &tally, start.elapsed(), output)?;
    input_failure.map_or(Ok(()), Err)
}

impl PublishArguments {
    fn source(&self, connection: &Connection) -> Outcome<Source> {
        let count = self.count.unwrap_or(1);
        if let Some(path) = &self.read_file {
            let content =
                std::fs::read(path).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
            return Ok(Source::File {
                content: content.into(),
                count,
            });
        }
        if let Some(message) = &self.message {
            let template = match self.raw {
                true => Template::literal(message.clone()),
                false => Template::parse(message).map_err(Failure::usage)?,
            };
            return Ok(Source::Template { template, count });
        }
        if self.count.is_some() {
            return Err(Failure::usage("--count repeats a message: give one, or --read-file"));
        }
        if std::io::stdin().is_terminal() {
            note("Every line is a message; Ctrl-D ends.");
        }
        Ok(Source::Lines(Lines::of_stdin(
            connection.nats.server_info().max_payload,
        )))
    }
}

impl Source {
    /// How many messages there will be, if that is known.
    fn total(&self) -> Option<u64> {
        match self {
            Self::Template { count, .. } | Self::File { count, .. } => Some(*count),
            Self::Lines(_) => None,
        }
    }

    /// The message with this number, counted from 1.
    async fn next(&mut self, number: u64) -> Outcome<Option<Bytes>> {
        match self {
            Self::Template { count, .. } | Self::File { count, .. } if number > *count => Ok(None),
            Self::Template { template, .. } => Ok(Some(template.fill(number).into())),
            Self::File { content, .. } => Ok(Some(content.clone())),
            Self::Lines(lines) => Ok(lines.next().await?.map(Bytes::from)),
        }
    }
}

impl Tally {
    fn settle(&mut self, outcome: Result<(), PublishError>, progress: &ProgressBar) {
        progress.inc(1);
        match outcome {
            Ok(()) => self.acknowledged += 1,
            Err(failure) => {
                self.unacknowledged += 1;
                self.first_failure.get_or_insert(failure);
            }
        }
    }
}

/// Publishes until the source ends, the first failure, or a signal; then waits for what is on its way. The failure, if any, is
/// that of the source.
async fn publish(
    arguments: &PublishArguments,
    mut source: Source,
    client: &Client,
    mut interrupt: Interrupt,
    progress: &ProgressBar,
) -> (Tally, Option<Failure>) {
    let mut tally = Tally::default();
    let mut in_flight: VecDeque<PendingPublish> = VecDeque::new();
    let mut input_failure = None;
    for number in 1.. {
        let payload = tokio::select! {
            biased;
            () = interrupt.requested() => {
                tally.was_interrupted = true;
                break;
            }
            next = next_paced(&mut source, number, arguments.every) => match next {
                Ok(Some(payload)) => payload,
                Ok(None) => break,
                Err(failure) => {
                    input_failure = Some(failure);
                    break;
                }
            },
        };
        tally.bytes += payload.len() as u64;
        match client.publish_async(&arguments.channel, payload).await {
            Ok(pending) => in_flight.push_back(pending),
            Err(failure) => tally.settle(Err(failure), progress),
        }
        while let Some(outcome) = in_flight.front_mut().and_then(|oldest| oldest.now_or_never()) {
            in_flight.pop_front();
            tally.settle(outcome, progress);
        }
        if tally.first_failure.is_some() {
            break;
        }
    }
    interrupt.end_at_the_next();
    for pending in in_flight {
        tally.settle(pending.await, progress);
    }
    (tally, input_failure)
}

async fn next_paced(source: &mut Source, number: u64, pause: Option<Duration>) -> Outcome<Option<Bytes>> {
    let next = source.next(number).await?;
    if let (Some(_), Some(pause), true) = (&next, pause, number > 1) {
        tokio::time::sleep(pause).await;
    }
    Ok(next)
}

fn report(arguments: &PublishArguments, tally: &Tally, took: Duration, output: &mut Output) -> Outcome {
    let channel = &arguments.channel;
    let published = counted(tally.acknowledged, "message");
    if output.is_json() {
        output.json(&json!({
            "channel": channel,
            "acknowledged": tally.acknowledged,
            "unacknowledged": tally.unacknowledged,
            "bytes": tally.bytes,
            "seconds": took.as_secs_f64(),
        }))?;
    }
    if let Some(failure) = &tally.first_failure {
        let kind = match failure {
            PublishError::AckTimeout(_) | PublishError::ConnectionLost => Kind::NoServer,
            _ => Kind::Failed,
        };
        let words = match (tally.acknowledged, tally.unacknowledged) {
            (0, 1) => failure.to_string(),
            (_, lost) => format!(
                "{} not acknowledged: {failure}\n{published} acknowledged before the publishing stopped",
                counted(lost, "message")
            ),
        };
        return Err(Failure::new(kind, words));
    }
    if tally.was_interrupted {
        return Err(Failure::failed(format!(
            "interrupted: {published} published, all of them acknowledged"
        )));
    }
    if arguments.quiet || output.is_json() {
        return Ok(());
    }
    let per_second = u128::from(tally.acknowledged) * 1_000_000 / took.as_micros().max(1);
    match u64::try_from(per_second) {
        Ok(rate) if tally.acknowledged >= RATE_FROM => output.line(&format!(
            "Published {published} to {channel} in {} ({} per second).",
            span(took),
            count(rate)
        )),
        _ => output.line(&format!("Published {published} to {channel}.")),
    }
}

/// Drawn on a terminal only.
fn progress_bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(0 | 1) => return ProgressBar::hidden(),
        Some(total) => (
            ProgressBar::new(total),
            "{bar:40} {human_pos} of {human_len} acknowledged, {eta} left",
        ),
        // Whoever types lines is not disturbed.
        None if std::io::stdin().is_terminal() => return ProgressBar::hidden(),
        None => (ProgressBar::no_length(), "{spinner} {human_pos} acknowledged"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

pub(crate) fn random_letters() -> String {
    (0..10).map(|_| fastrand::lowercase()).collect()
}
