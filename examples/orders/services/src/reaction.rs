//! Services that answer events with events: a durable subscription whose messages are acknowledged when the answer is stored.

use std::time::Duration;

use futures_util::StreamExt as _;
use seaway_client::{Client, Message, Start};
use seaway_orders_pb::Message as _;
use seaway_orders_pb::messages::{Event, Order};

use crate::backoff::Backoff;
use crate::event_writer::WriteError;
use crate::program::Stop;
use crate::seaway;

/// Messages that are worked on at once: as many as the server has delivered and not seen acknowledged.
const MAX_IN_FLIGHT: u32 = 25;
/// How long the server waits for an acknowledgement before it delivers again.
const ACK_WAIT: Duration = Duration::from_secs(60);
/// How long one delivery is worked on; what has failed until then comes again.
const WORK_TIMEOUT: Duration = Duration::from_secs(45);

/// Why an event could not be answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// Trying again may help.
    #[error("{0}")]
    Later(String),
    /// Trying again will not help.
    #[error("{0}")]
    Never(String),
}

impl From<WriteError> for Unanswered {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Unavailable(_) => Self::Later(error.to_string()),
            WriteError::Conflict(_) | WriteError::Refused(_) => Self::Never(error.to_string()),
        }
    }
}

impl From<seaway_orders_store::Error> for Unanswered {
    /// Even a full disk passes.
    fn from(error: seaway_orders_store::Error) -> Self {
        Self::Later(error.to_string())
    }
}

/// Hands the events of a channel to `answer` until the process shall end. The place in the channel is kept under `durable`.
pub(crate) async fn react<Answer>(
    client: &Client,
    channel: &str,
    durable: &str,
    stop: &Stop,
    answer: impl Fn(Event, Order) -> Answer,
) where
    Answer: Future<Output = Result<(), Unanswered>>,
{
    let subscribe = || {
        client
            .subscribe(channel)
            .durable_name(durable)
            .start(Start::AllAvailable)
            .manual_acks()
            .ack_wait(ACK_WAIT)
            .max_in_flight(MAX_IN_FLIGHT)
    };
    while !stop.is_requested() {
        let Some(subscription) = stop.unless(seaway::subscribe(subscribe)).await else {
            return;
        };
        // It ends only when the server has refused to go on with it.
        subscription
            .take_until(stop.requested())
            .for_each_concurrent(MAX_IN_FLIGHT as usize, |message| work(message, stop, &answer))
            .await;
    }
}

/// Works on one delivery, and acknowledges it unless it shall come again.
async fn work<Answer>(message: Message, stop: &Stop, answer: &impl Fn(Event, Order) -> Answer)
where
    Answer: Future<Output = Result<(), Unanswered>>,
{
    let trying = tokio::time::timeout(WORK_TIMEOUT, try_to_answer(&message, answer));
    match stop.unless(trying).await {
        None | Some(Err(_)) => {}
        // After the end of the subscription the message comes again, and is recognised.
        Some(Ok(())) => {
            let _ = message.ack();
        }
    }
}

async fn try_to_answer<Answer>(message: &Message, answer: &impl Fn(Event, Order) -> Answer)
where
    Answer: Future<Output = Result<(), Unanswered>>,
{
    let (event, order) = match decode(message) {
        Ok(decoded) => decoded,
        // It will never make more sense than now; it stays in the log for whoever wants to know.
        Err(error) => {
            return tracing::error!(
                "message {} of {} is skipped: {error}",
                message.sequence(),
                message.channel()
            );
        }
    };
    let mut backoff = Backoff::new();
    loop {
        match answer(event.clone(), order.clone()).await {
            Ok(()) => return,
            Err(Unanswered::Never(words)) => {
                return tracing::warn!("{} of order {} is left: {words}", event.event_type, order.id);
            }
            Err(Unanswered::Later(words)) => backoff.wait(format!("order {}: {words}", order.id)).await,
        }
    }
}

/// The event that a message of an order channel carries, and the order in it.
pub(crate) fn decode(message: &Message) -> Result<(Event, Order), seaway_orders_pb::DecodeError> {
    let event = Event::decode(message.payload().clone())?;
    let order = Order::decode(event.data.clone())?;
    Ok((event, order))
}
