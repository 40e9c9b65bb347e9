//! Answers in JSON.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use seaway_orders_pb::messages::{Order, OrderItem};
use seaway_orders_store::{Counts, OrderState, OrderView, Step};
use serde::{Deserialize, Serialize};

use crate::time;

/// Seconds after which whoever found the event store away may try again.
const RETRY_AFTER_SECONDS: &str = "1";

/// An order in a list, or just placed.
#[derive(Debug, Serialize)]
pub(super) struct OrderInList {
    id: String,
    customer: String,
    restaurant: String,
    status: &'static str,
    created_on: String,
    updated_on: String,
    amount_cents: i64,
    version: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    rejection_reason: String,
    items: Vec<Item>,
}

/// One line of an order, in requests too.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Item {
    pub(super) code: String,
    pub(super) name: String,
    pub(super) unit_price_cents: i64,
    pub(super) quantity: i64,
}

/// An order with its history.
#[derive(Debug, Serialize)]
pub(super) struct OrderAnswer {
    #[serde(flatten)]
    order: OrderInList,
    history: Vec<StepAnswer>,
}

#[derive(Debug, Serialize)]
struct StepAnswer {
    version: u64,
    event_type: String,
    at: String,
}

/// Orders, and how many there are in all.
#[derive(Debug, Serialize)]
pub(super) struct ListAnswer {
    pub(super) orders: Vec<OrderInList>,
    pub(super) counts: CountsAnswer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CountsAnswer {
    created: u64,
    approved: u64,
    rejected: u64,
    paid: u64,
}

impl From<OrderState> for OrderInList {
    fn from(state: OrderState) -> Self {
        let OrderState {
            version,
            order,
            updated_on_ms,
        } = state;
        Self::new(order, version, updated_on_ms)
    }
}

impl OrderInList {
    pub(super) fn new(order: Order, version: u64, updated_on_ms: i64) -> Self {
        Self {
            status: order.status().word(),
            id: order.id,
            customer: order.customer,
            restaurant: order.restaurant,
            created_on: time::rfc3339(order.created_on_ms),
            updated_on: time::rfc3339(updated_on_ms),
            amount_cents: order.amount_cents,
            version,
            rejection_reason: order.rejection_reason,
            items: order.items.into_iter().map(Item::from).collect(),
        }
    }
}

impl From<OrderItem> for Item {
    fn from(item: OrderItem) -> Self {
        Self {
            code: item.code,
            name: item.name,
            unit_price_cents: item.unit_price_cents,
            quantity: item.quantity,
        }
    }
}

impl From<OrderView> for OrderAnswer {
    fn from(view: OrderView) -> Self {
        let step = |step: Step| StepAnswer {
            version: step.version,
            event_type: step.event_type,
            at: time::rfc3339(step.at_ms),
        };
        Self {
            order: view.state.into(),
            history: view.history.into_iter().map(step).collect(),
        }
    }
}

impl From<Counts> for CountsAnswer {
    fn from(counts: Counts) -> Self {
        Self {
            created: counts.created,
            approved: counts.approved,
            rejected: counts.rejected,
            paid: counts.paid,
        }
    }
}

/// What else a request may end with: `{"error":{"field":…,"message":…}}`.
#[derive(Debug)]
pub(super) enum Failure {
    /// Something in the request makes no sense: which part, and why.
    Invalid { field: String, message: String },
    /// There is no such thing.
    NotFound(String),
    /// A neighbour is away, or there is no room; later it may work.
    Unavailable(String),
    /// It is nobody's fault but ours; the log says more.
    Internal(String),
}

impl Failure {
    pub(super) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            message: message.into(),
        }
    }
}

impl From<seaway_orders_store::Error> for Failure {
    fn from(error: seaway_orders_store::Error) -> Self {
        match error.is_transient() {
            true => Self::Unavailable(error.to_string()),
            false => Self::Internal(error.to_string()),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = |field: Option<String>, message: String| {
            let mut error = serde_json::Map::new();
            if let Some(field) = field {
                error.insert("field".to_owned(), field.into());
            }
            error.insert("message".to_owned(), message.into());
            Json(serde_json::json!({ "error": error }))
        };
        match self {
            Self::Invalid { field, message } => {
                (StatusCode::UNPROCESSABLE_ENTITY, body(Some(field), message)).into_response()
            }
            Self::NotFound(message) => (StatusCode::NOT_FOUND, body(None, message)).into_response(),
            Self::Unavailable(message) => {
                tracing::warn!("{message}");
                let retry = [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)];
                (StatusCode::SERVICE_UNAVAILABLE, retry, body(None, message)).into_response()
            }
            Self::Internal(message) => {
                tracing::error!("{message}");
                let message = "the order service failed; its log says why".to_owned();
                (StatusCode::INTERNAL_SERVER_ERROR, body(None, message)).into_response()
            }
        }
    }
}
