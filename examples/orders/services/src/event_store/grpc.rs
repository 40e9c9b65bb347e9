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

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    const ORDER: &str = "0b2e7a52-7c0f-4a54-8a0e-6e51c0b6a111";
    const EVENT: &str = "5c0e8f1a-2d3b-4c5d-9e8f-000000000001";

    fn request() -> CreateEventRequest {
        CreateEventRequest {
            event_id: EVENT.to_owned(),
            aggregate_id: ORDER.to_owned(),
            aggregate_type: "order".to_owned(),
            expected_version: 0,
            event_type: "OrderCreated".to_owned(),
            data: "data".into(),
        }
    }

    async fn service(folder: &tempfile::TempDir) -> Service {
        let url = format!("sqlite:{}", folder.path().join("events.db").display());
        let log = EventLog::open(&url.parse().unwrap()).await.unwrap();
        Service::new(log, Arc::new(Notify::new()))
    }

    #[tokio::test]
    async fn requests_that_make_no_sense_are_refused_by_the_name_of_the_field() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(&folder).await;
        type Change = fn(&mut CreateEventRequest);
        let cases: [(&str, Change); 8] = [
            ("event_id", |request| request.event_id = "1".to_owned()),
            ("aggregate_id", |request| request.aggregate_id.clear()),
            ("aggregate_type", |request| request.aggregate_type = "a.b".to_owned()),
            ("aggregate_type", |request| request.aggregate_type.clear()),
            ("event_type", |request| request.event_type = ">".to_owned()),
            ("event_type", |request| request.event_type = "x".repeat(65)),
            ("expected_version", |request| request.expected_version = u64::MAX),
            ("data", |request| request.data = vec![0; DATA_BYTES_MAX + 1].into()),
        ];
        for (field, change) in cases {
            let mut request = request();
            change(&mut request);
            let status = service.create_event(Request::new(request)).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{field}");
            assert!(status.message().starts_with(field), "{field}: {}", status.message());
        }
    }

    #[tokio::test]
    async fn a_conflict_names_the_present_version_and_a_repetition_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(&folder).await;
        let create = async |request| service.create_event(Request::new(request)).await;
        let first = create(request()).await.unwrap().into_inner();
        // The same UUID, written otherwise.
        let mut again = request();
        again.event_id = EVENT.to_uppercase();
        assert_eq!(create(again).await.unwrap().into_inner(), first);
        let mut late = request();
        late.event_id = EVENT.replace("01", "02");
        let status = create(late).await.unwrap_err();
        assert_eq!(status.code(), Code::Aborted);
        assert!(status.message().contains("version 1"), "{}", status.message());
        let mut foreign = request();
        foreign.aggregate_id = ORDER.replace("111", "222");
        let status = create(foreign).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{}", status.message());

        let ask = GetEventsRequest {
            aggregate_id: ORDER.to_owned(),
            after_version: 0,
            limit: 0,
        };
        let found = service.get_events(Request::new(ask)).await.unwrap().into_inner();
        assert_eq!(found.events, [first.event.unwrap()]);
    }
}
