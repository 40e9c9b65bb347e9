//! The way to the event store: how the other processes write events.

use std::time::Duration;

use anyhow::Context as _;
use seaway_orders_pb::messages::event_store_client::EventStoreClient;
use seaway_orders_pb::messages::{CreateEventRequest, Event, Order};
use seaway_orders_pb::{Message as _, ORDER};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

/// How long one request may take, and how long the connection below it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Writes events of orders through the event store; clones share the connection.
#[derive(Clone, Debug)]
pub(crate) struct EventWriter {
    client: EventStoreClient<Channel>,
}

/// Why an event was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The order has gone on meanwhile.
    #[error("{0}")]
    Conflict(String),
    /// The event store is away or overloaded. The event may or may not be written; the same request again tells.
    #[error("the event store is not available: {0}")]
    Unavailable(String),
    /// The event store does not take it.
    #[error("the event store refused: {0}")]
    Refused(String),
}

impl EventWriter {
    /// Prepares the connection; it is made, and made anew, when it is needed.
    pub(crate) fn new(url: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned()).with_context(|| format!("event store {url:?}"))?;
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .connect_lazy();
        Ok(Self {
            client: EventStoreClient::new(channel),
        })
    }

    /// Appends an event to an order that has `expected_version` events so far; the event as it is stored. Repeating this
    /// changes nothing and yields the same.
    pub(crate) async fn append(
        &self,
        expected_version: u64,
        event_type: &str,
        order: &Order,
    ) -> Result<Event, WriteError> {
        let request = CreateEventRequest {
            event_id: event_id(&order.id, expected_version).map_err(|error| WriteError::Refused(error.to_string()))?,
            aggregate_id: order.id.clone(),
            aggregate_type: ORDER.to_owned(),
            expected_version,
            event_type: event_type.to_owned(),
            data: order.encode_to_vec().into(),
        };
        match self.client.clone().create_event(request).await {
            Ok(response) => response
                .into_inner()
                .event
                .ok_or_else(|| WriteError::Refused("its answer holds no event".to_owned())),
            Err(status) => Err(failure(&status)),
        }
    }
}

/// The ID of the event that takes an order beyond a version. There is only one such event, whoever writes it and however often.
fn event_id(order_id: &str, expected_version: u64) -> Result<String, uuid::Error> {
    let order = Uuid::parse_str(order_id)?;
    Ok(Uuid::new_v5(&order, &expected_version.to_be_bytes()).to_string())
}

fn failure(status: &tonic::Status) -> WriteError {
    let words = status.message().to_owned();
    match status.code() {
        Code::Aborted => WriteError::Conflict(words),
        // It will say the same next time.
        Code::InvalidArgument | Code::Unimplemented => WriteError::Refused(words),
        // Of the others none says that the event was not written, and all may pass.
        code => WriteError::Unavailable(format!("{words} ({code:?})")),
    }
}
