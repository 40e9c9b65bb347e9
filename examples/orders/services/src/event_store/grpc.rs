//! The service as the network sees it: checks what comes in, and says what went wrong in the words of gRPC.

use std::sync::Arc;

use seaway_orders_pb::messages::event_store_server::EventStore;
use seaway_orders_pb::messages::{CreateEventRequest, CreateEventResponse, Event, GetEventsRequest, GetEventsResponse};
use seaway_orders_store::{Appended, Error, EventLog};
use tokio::sync::Notify;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::time;

/// Characters of a type's name; it becomes part of a channel's.
const NAME_CHARACTERS_MAX: usize = 64;
/// Bytes of an event's data.
const DATA_BYTES_MAX: usize = 256 * 1024;
/// Events in one answer.
const EVENTS_MAX: u32 = 1000;

pub(super) struct Service {
    log: EventLog,
    appended: Arc<Notify>,
}

impl Service {
    /// Serves a log; tells `appended` when there is something to publish.
    pub(super) fn new(log: EventLog, appended: Arc<Notify>) -> Self {
        Self { log, appended }
    }
}

#[tonic::async_trait]
impl EventStore for Service {
    async fn create_event(
        &self,
        request: Request<CreateEventRequest>,
    ) -> Result<Response<CreateEventResponse>, Status> {
        let event = event(request.into_inner())?;
        let aggregate_id = event.aggregate_id.clone();
        match self.log.append(event).await.map_err(failure)? {
            Appended::Stored(event) if event.aggregate_id == aggregate_id => {
                self.appended.notify_one();
                Ok(Response::new(CreateEventResponse { event: Some(event) }))
            }
            Appended::Stored(event) => Err(Status::invalid_argument(format!(
                "event_id: {} is an event of aggregate {}",
                event.event_id, event.aggregate_id
            ))),
            Appended::Conflict { present_version } => Err(Status::aborted(format!(
                "aggregate {aggregate_id} has version {present_version}"
            ))),
        }
    }

    async fn get_events(&self, request: Request<GetEventsRequest>) -> Result<Response<GetEventsResponse>, Status> {
        let request = request.into_inner();
        let limit = match request.limit {
            0 => EVENTS_MAX,
            limit => limit.min(EVENTS_MAX),
        };
        let aggregate_id = uuid("aggregate_id", &request.aggregate_id)?;
        let events = self.log.events_of(&aggregate_id, request.after_version, limit).await;
        let events = events.map_err(failure)?;
        Ok(Response::new(GetEventsResponse { events }))
    }
}

/// The event that a request asks to append, if it makes sense.
fn event(request: CreateEventRequest) -> Result<Event, Status> {
    let version = request
        .expected_version
        .checked_add(1)
        .ok_or_else(|| Status::invalid_argument("expected_version: out of range"))?;
    if request.data.len() > DATA_BYTES_MAX {
        return Err(Status::invalid_argument(format!(
            "data: {} bytes are more than {DATA_BYTES_MAX}",
            request.data.len()
        )));
    }
    Ok(Event {
        event_id: uuid("event_id", &request.event_id)?,
        aggregate_id: uuid("aggregate_id", &request.aggregate_id)?,
        aggregate_type: name("aggregate_type", request.aggregate_type)?,
        version,
        event_type: name("event_type", request.event_type)?,
        data: request.data,
        created_on_ms: time::now_ms(),
    })
}

/// A UUID in the one form in which it is compared.
fn uuid(field: &str, text: &str) -> Result<String, Status> {
    match Uuid::parse_str(text) {
        Ok(uuid) => Ok(uuid.to_string()),
        Err(error) => Err(Status::invalid_argument(format!("{field}: {error}"))),
    }
}

fn name(field: &str, text: String) -> Result<String, Status> {
    let is_name = (1..=NAME_CHARACTERS_MAX).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    match is_name {
        true => Ok(text),
        false => Err(Status::invalid_argument(format!(
            "{field}: must be 1 to {NAME_CHARACTERS_MAX} letters, digits, '-' and '_'"
        ))),
    }
}

fn failure(error: Error) -> Status {
    match error.is_transient() {
        true => Status::unavailable(error.to_string()),
        false => {
            tracing::error!("{error}");
            Status::internal("the database failed; the log of the event store says why")
        }
    }
}
