//! The order query store: builds the read model from the log.
//!
//! Several processes of it form one durable queue group: the server hands each event to one of them, and to another one when
//! the first dies. So events of one order come in any order and some twice; the read model bears both.

use std::time::Duration;

use clap::Parser;
use futures_util::StreamExt as _;
use seaway_client::{Client, Message, Start};
use seaway_orders_pb::messages::Event;
use seaway_orders_pb::{ORDER, channel};
use seaway_orders_store::{DatabaseUrl, ReadModel};

use crate::backoff::Backoff;
use crate::program::{self, SeawayArguments, Stop};
use crate::{reaction, seaway};

/// The name of the process, of its client, and of the queue group and its durable.
const NAME: &str = "order-query-store";

/// Events that one transaction takes in.
const BATCH_EVENTS: usize = 64;
const MAX_IN_FLIGHT: u32 = 256;
/// How long the server waits for an acknowledgement, and how long a batch is tried; what has failed until then comes again.
const ACK_WAIT: Duration = Duration::from_secs(30);
const RECORD_TIMEOUT: Duration = Duration::from_secs(20);
/// How long to wait for a channel's last message before the channel counts as empty.
const EMPTY_TIMEOUT: Duration = Duration::from_secs(5);

/// Builds the read model of orders from the log.
#[derive(Clone, Debug, Parser)]
#[command(name = NAME)]
pub struct Arguments {
    /// Where Seaway is.
    #[command(flatten)]
    pub seaway: SeawayArguments,
    /// Where the read model is kept: sqlite:PATH, postgres://… or cockroachdb://…
    #[arg(
        long,
        env = "ORDERS_DATABASE",
        default_value = "sqlite:read-model.db",
        value_name = "URL"
    )]
    pub database: DatabaseUrl,
    /// Empties the read model, builds it anew from the first message of the log, and exits
    #[arg(long)]
    pub rebuild: bool,
}

/// Runs the query store, or rebuilds the read model.
///
/// # Errors
/// When an argument makes no sense, or the database cannot be used; a rebuild also when it is interrupted.
pub async fn run(arguments: Arguments, stop: Stop) -> anyhow::Result<()> {
    let Some(read_model) = stop
        .unless(program::open(|| ReadModel::open(&arguments.database)))
        .await
    else {
        return Ok(());
    };
    let read_model = read_model?;
    let name = if arguments.rebuild {
        "order-query-store-rebuild"
    } else {
        NAME
    };
    let Some(client) = stop.unless(seaway::connect(&arguments.seaway, name)).await else {
        return Ok(());
    };
    let client = client?;
    let outcome = match arguments.rebuild {
        true => match stop.unless(rebuild(&client, &read_model)).await {
            Some(outcome) => outcome,
            None => Err(anyhow::anyhow!(
                "interrupted: the read model is not complete; rebuild it again"
            )),
        },
        false => {
            program::ready(NAME, channel(ORDER));
            follow(&client, &read_model, &stop).await;
            Ok(())
        }
    };
    seaway::close(&client).await;
    outcome
}

/// Takes in what the queue group gets, until the process shall end.
async fn follow(client: &Client, read_model: &ReadModel, stop: &Stop) {
    let subscribe = || {
        client
            .subscribe(channel(ORDER))
            .queue_group(NAME)
            .durable_name(NAME)
            .start(Start::AllAvailable)
            .manual_acks()
            .ack_wait(ACK_WAIT)
            .max_in_flight(MAX_IN_FLIGHT)
    };
    while !stop.is_requested() {
        let Some(subscription) = stop.unless(seaway::subscribe(subscribe)).await else {
            return;
        };
        // Whatever has come meanwhile makes one batch: the busier, the larger.
        let mut batches = subscription
            .take_until(Box::pin(stop.requested()))
            .ready_chunks(BATCH_EVENTS);
        while let Some(batch) = batches.next().await {
            let recording = tokio::time::timeout(RECORD_TIMEOUT, record(read_model, &batch));
            if let Some(Ok(())) = stop.unless(recording).await {
                // After the end of the subscription the messages come again, and change nothing.
                for message in &batch {
                    let _ = message.ack();
                }
            }
        }
    }
}

/// Takes in a batch, however long it takes.
async fn record(read_model: &ReadModel, batch: &[Message]) {
    let events: Vec<Event> = batch.iter().filter_map(event).collect();
    let mut backoff = Backoff::new();
    while let Err(error) = read_model.record(events.clone()).await {
        backoff.wait(error.to_string()).await;
    }
}

/// The event of an order in a message. What is none will never be one: it is skipped, and stays in the log.
fn event(message: &Message) -> Option<Event> {
    match reaction::decode(message) {
        Ok((event, _)) => Some(event),
        Err(error) => {
            tracing::error!("message {} is skipped: {error}", message.sequence());
            None
        }
    }
}

/// Builds the read model anew from everything that the log holds now. The members of the queue group may go on meanwhile: what
/// they have taken in before the tables were emptied is in the log before its end was asked for.
async fn rebuild(client: &Client, read_model: &ReadModel) -> anyhow::Result<()> {
    read_model.clear().await?;
    let last = seaway::last_sequence(client, &channel(ORDER), EMPTY_TIMEOUT).await;
    tracing::info!("rebuilding the read model from messages 1 to {last}");
    if last == 0 {
        return Ok(());
    }
    let subscribe = || {
        client
            .subscribe(channel(ORDER))
            .start(Start::Sequence(1))
            .max_in_flight(MAX_IN_FLIGHT)
    };
    let mut batches = seaway::subscribe(subscribe).await.ready_chunks(BATCH_EVENTS);
    let (mut events, mut told) = (0, 0);
    while let Some(batch) = batches.next().await {
        if let Some(first) = batch.first()
            && events == 0
            && first.sequence() > 1
        {
            tracing::warn!(
                "the log begins with message {}: what was before is lost",
                first.sequence()
            );
        }
        record(read_model, &batch).await;
        events += batch.len();
        let reached = batch.last().map_or(0, Message::sequence);
        let percent = reached.min(last) * 100 / last;
        if percent >= told + 10 || reached >= last {
            told = percent;
            tracing::info!("{percent} %: message {reached} of {last}");
        }
        if reached >= last {
            tracing::info!("rebuilt from {events} messages");
            return Ok(());
        }
    }
    anyhow::bail!("the subscription has ended: the read model is not complete; rebuild it again")
}
