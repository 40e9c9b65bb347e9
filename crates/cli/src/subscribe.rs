//! `seaway sub`: what to subscribe to, and how it is asked for. `reception` prints what comes.

use std::time::{Duration, SystemTime};

use seaway_client::{Client, Start, Subscribe, SubscribeError};
use serde_json::json;

use crate::connection::Connection;
use crate::failure::{Failure, Kind, Outcome};
use crate::message::Style;
use crate::output::{Output, note};
use crate::owners::owners;
use crate::publish::random_letters;
use crate::readable::{parse_duration, parse_time};
use crate::reception::{Acks, Reception};

/// Messages in flight unless told otherwise; the server's own default.
const MAX_IN_FLIGHT: u32 = 1024;

/// What to subscribe to.
#[derive(clap::Args)]
pub(crate) struct SubscribeArguments {
    /// The channel
    channel: String,
    /// Keep the place under this name, and go on there next time
    #[arg(long, value_name = "NAME")]
    durable: Option<String>,
    /// Share the messages with all subscriptions of this group
    #[arg(long, value_name = "GROUP")]
    queue: Option<String>,
    /// Client ID to subscribe as [default: seaway-CHANNEL-DURABLE for a durable, else a random one]
    ///
    /// A durable belongs to its client ID.
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Acknowledge by lines on the standard input: a sequence, or an empty line for the oldest message
    #[arg(long)]
    manual_ack: bool,
    /// How long the server waits for an acknowledgement before it sends a message again
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    ack_wait: Duration,
    /// Messages that may await their acknowledgement [default: 1024, or --count if that is less]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_in_flight: Option<u32>,
    /// End after this many messages; with --manual-ack when they are acknowledged
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End when nothing has come for this long
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    idle: Option<Duration>,
    /// Payloads only, a line each
    #[arg(long)]
    raw: bool,
    /// Forget the durable instead of receiving
    #[arg(long, requires = "durable", conflicts_with_all = ["count", "idle", "raw", "manual_ack"])]
    unsubscribe: bool,
    /// Say nothing about the subscription itself
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    start: StartArguments,
}

/// Where to begin. A durable that exists goes on where it is.
#[derive(clap::Args)]
#[group(multiple = false)]
#[command(next_help_heading = "Start")]
struct StartArguments {
    /// Only what is published from now on (the default)
    #[arg(long)]
    new_only: bool,
    /// The last message, and what follows
    #[arg(long)]
    last: bool,
    /// Every message that is there
    #[arg(long)]
    all: bool,
    /// Messages not older than this, such as 10m or 2d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    since: Option<Duration>,
    /// Messages since this moment: 2026-01-31T18:30:00Z, or "2026-01-31 18:30" in your time zone
    #[arg(long, value_name = "MOMENT", value_parser = parse_time)]
    at: Option<SystemTime>,
    /// The message with this sequence, or the first one after it that is there
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
}

impl StartArguments {
    fn position(&self) -> Start {
        let moment = self.since.map(Start::Ago).or(self.at.map(Start::Time));
        match moment.or(self.from.map(Start::Sequence)) {
            Some(position) => position,
            None if self.all => Start::AllAvailable,
            None if self.last => Start::LastReceived,
            None => Start::NewOnly,
        }
    }
}

impl SubscribeArguments {
    fn client_id(&self) -> String {
        match (&self.client_id, &self.durable, &self.queue) {
            (Some(id), _, _) => id.clone(),
            // The members of a group need IDs of their own.
            (None, Some(durable), None) => default_client_id(&self.channel, durable),
            (None, _, _) => format!("seaway-sub-{}", random_letters()),
        }
    }

    fn subscribe(&self, client: &Client, max_in_flight: u32) -> Subscribe {
        let mut subscribe = client
            .subscribe(self.channel.clone())
            .start(self.start.position())
            .ack_wait(self.ack_wait)
            .max_in_flight(max_in_flight)
            // What could not be printed is not acknowledged.
            .manual_acks();
        if let Some(durable) = &self.durable {
            subscribe = subscribe.durable_name(durable.clone());
        }
        if let Some(queue) = &self.queue {
            subscribe = subscribe.queue_group(queue.clone());
        }
        subscribe
    }

    /// No more than can be printed: what is in flight at the end is delivered again to who comes next.
    fn max_in_flight(&self) -> u32 {
        let wanted = self
            .count
            .map_or(MAX_IN_FLIGHT, |count| u32::try_from(count).unwrap_or(u32::MAX));
        self.max_in_flight.unwrap_or(wanted.min(MAX_IN_FLIGHT))
    }

    fn announce(&self, client: &Client) {
        if self.quiet {
            return;
        }
        let mut text = format!("Subscribed to {}", self.channel);
        if let Some(queue) = &self.queue {
            text.push_str(&format!(" in queue group {queue}"));
        }
        match &self.durable {
            Some(durable) => {
                text.push_str(&format!(
                    ", durable {durable} of client {}; Ctrl-C ends, the durable keeps its place.",
                    client.client_id()
                ));
            }
            None => text.push_str("; Ctrl-C ends."),
        }
        if self.manual_ack {
            text.push_str("\nEnter acknowledges the oldest message, a sequence the message with that sequence.");
        }
        note(&text);
    }
}

pub(crate) async fn run(arguments: SubscribeArguments, connection: Connection, output: &mut Output) -> Outcome {
    let style = Style::asked(arguments.raw, output)?;
    if arguments.unsubscribe {
        return forget(&arguments, &connection, output).await;
    }
    let client = connection.streaming(connection.options(arguments.client_id())).await?;
    let received = receive(&arguments, &connection, &client, style, output).await;
    let closed = client.close().await;
    received?;
    closed.map_err(|error| {
        Failure::new(
            Kind::NoServer,
            format!("the connection was not closed in order: {error}"),
        )
    })
}

async fn receive(
    arguments: &SubscribeArguments,
    connection: &Connection,
    client: &Client,
    style: Style,
    output: &mut Output,
) -> Outcome {
    let subscribe = arguments.subscribe(client, arguments.max_in_flight());
    let mut subscription = connection.permitted(subscribe).await?.map_err(refused)?;
    arguments.announce(client);
    let acks = match arguments.manual_ack {
        true => Acks::by_lines(),
        false => Acks::when_printed(),
    };
    let reception = Reception::new(acks, arguments.count, arguments.idle, style)?;
    let received = reception.run(client, &mut subscription, output).await;
    // An end that the connection caused cannot be told to the server any more.
    let _ = tokio::time::timeout(connection.timeout, subscription.close()).await;
    received
}

/// `--unsubscribe`: takes the durable over, and gives it up.
async fn forget(arguments: &SubscribeArguments, connection: &Connection, output: &mut Output) -> Outcome {
    let durable = arguments.durable.as_deref().unwrap_or_default();
    let id = arguments.client_id();
    let owners = owners(connection, &arguments.channel, durable, arguments.queue.as_deref()).await;
    match owners {
        Ok(owners) if arguments.queue.is_none() && !owners.contains(&id) => {
            let channel = &arguments.channel;
            let words = match owners.first() {
                None => format!("channel {channel} has no durable {durable}: `seaway durables {channel}` lists them"),
                Some(owner) => {
                    format!("durable {durable} of {channel} belongs to another client: add --client-id {owner}")
                }
            };
            return Err(Failure::new(Kind::NotFound, words));
        }
        Ok(owners) if owners.is_empty() => {
            let words = format!(
                "channel {} has no durable {durable} of such a queue group",
                arguments.channel
            );
            return Err(Failure::new(Kind::NotFound, words));
        }
        Err(Failure::Told(Kind::NotFound, words)) => return Err(Failure::new(Kind::NotFound, words)),
        // Without an administration interface it is done blindly.
        Ok(_) | Err(_) => {}
    }
    let client = connection.streaming(connection.options(id)).await?;
    let subscribe = arguments.subscribe(&client, 1);
    let forgotten = match connection.permitted(subscribe).await? {
        Ok(subscription) => subscription.unsubscribe().await.map_err(refused),
        Err(error) => Err(refused(error)),
    };
    let _ = client.close().await;
    forgotten?;
    output.done(
        &format!("Durable {durable} of {} is forgotten.", arguments.channel),
        &json!({"channel": arguments.channel, "durable": durable, "forgotten": true}),
    )
}

fn refused(error: SubscribeError) -> Failure {
    match error {
        SubscribeError::InvalidOption(_) => Failure::usage(error.to_string()),
        SubscribeError::Timeout(_) | SubscribeError::Closed | SubscribeError::Nats(_) => {
            Failure::new(Kind::NoServer, error.to_string())
        }
        other => Failure::failed(other.to_string()),
    }
}

/// A client ID that is the same every time, from names that may hold anything.
fn default_client_id(channel: &str, durable: &str) -> String {
    let harmless = |c: char| match c.is_ascii_alphanumeric() || c == '-' || c == '_' {
        true => c,
        false => '_',
    };
    format!("seaway-{channel}-{durable}").chars().map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::{Command, CommandLine};

    fn parsed(arguments: &[&str]) -> Result<SubscribeArguments, clap::Error> {
        let words = ["seaway", "sub", "orders.new"].iter().chain(arguments);
        CommandLine::try_parse_from(words).map(|line| match line.command {
            Command::Sub(arguments) => arguments,
            _ => panic!("sub"),
        })
    }

    #[test]
    fn every_start_position_has_a_flag_and_only_one_counts() {
        let at = SystemTime::UNIX_EPOCH;
        for (flags, expected) in [
            ([].as_slice(), Start::NewOnly),
            (&["--new-only"], Start::NewOnly),
            (&["--last"], Start::LastReceived),
            (&["--all"], Start::AllAvailable),
            (&["--since", "10m"], Start::Ago(Duration::from_secs(600))),
            (&["--at", "1970-01-01T00:00:00Z"], Start::Time(at)),
            (&["--from", "7"], Start::Sequence(7)),
        ] {
            assert_eq!(parsed(flags).unwrap().start.position(), expected, "{flags:?}");
        }
        assert!(parsed(&["--all", "--last"]).is_err());
        assert!(parsed(&["--from", "1", "--since", "1m"]).is_err());
        assert!(parsed(&["--unsubscribe"]).is_err(), "of what?");
    }

    #[test]
    fn a_durable_has_the_same_client_every_time() {
        assert_eq!(
            parsed(&["--durable", "a b"]).unwrap().client_id(),
            "seaway-orders_new-a_b"
        );
        assert_eq!(
            parsed(&["--durable", "x", "--client-id", "me"]).unwrap().client_id(),
            "me"
        );
        let member = || parsed(&["--durable", "x", "--queue", "g"]).unwrap().client_id();
        assert_ne!(member(), member());
    }

    #[test]
    fn nothing_more_is_in_flight_than_is_wanted() {
        for (flags, expected) in [
            ([].as_slice(), 1024),
            (&["--count", "3"], 3),
            (&["--count", "5000000000"], 1024),
            (&["--count", "3", "--max-in-flight", "9"], 9),
        ] {
            assert_eq!(parsed(flags).unwrap().max_in_flight(), expected, "{flags:?}");
        }
    }
}
