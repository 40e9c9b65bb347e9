//! The order service: HTTP for people and their programs.
//!
//! Writes go to the event store, reads come from the read model, which follows a moment later: an order that was just placed
//! may not be found yet. `GET /api/live` shows the log itself.

mod answers;
mod live;
mod placing;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use seaway_orders_pb::messages::OrderStatus;
use seaway_orders_store::{DatabaseUrl, ReadModel};
use serde::Deserialize;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::event_writer::EventWriter;
use crate::order_service::answers::{Failure, ListAnswer, OrderAnswer, OrderInList};
use crate::order_service::live::Live;
use crate::program::{self, SeawayArguments, Stop};
use crate::seaway;

/// The name of the process and of its client.
const NAME: &str = "order-service";

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Orders in one answer, and how many unless the request says.
const LIST_ORDERS_MAX: u32 = 500;
const LIST_ORDERS: u32 = 50;

/// Takes orders, and shows them.
#[derive(Clone, Debug, Parser)]
#[command(name = NAME)]
pub struct Arguments {
    /// Where Seaway is.
    #[command(flatten)]
    pub seaway: SeawayArguments,
    /// Address of the event store
    #[arg(
        long,
        env = "ORDERS_EVENT_STORE",
        default_value = "http://127.0.0.1:50051",
        value_name = "URL"
    )]
    pub event_store: String,
    /// Where the read model is: sqlite:PATH, postgres://… or cockroachdb://…
    #[arg(
        long,
        env = "ORDERS_DATABASE",
        default_value = "sqlite:read-model.db",
        value_name = "URL"
    )]
    pub database: DatabaseUrl,
    /// Address to serve HTTP on; port 0 lets the system choose
    #[arg(
        long,
        env = "ORDERS_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,
}

/// What the handlers share.
#[derive(Clone)]
struct Service {
    events: EventWriter,
    read_model: ReadModel,
    live: Arc<Live>,
}

/// Runs the order service.
///
/// # Errors
/// When an argument makes no sense, the address is taken, or the database cannot be used.
pub async fn run(arguments: Arguments, stop: Stop) -> anyhow::Result<()> {
    let events = EventWriter::new(&arguments.event_store)?;
    let Some(read_model) = stop
        .unless(program::open(|| ReadModel::open(&arguments.database)))
        .await
    else {
        return Ok(());
    };
    let read_model = read_model?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("listen on {}", arguments.listen))?;
    let address = listener.local_addr()?;
    let live = Live::start(read_model.clone(), stop.clone());
    let service = Service {
        events,
        read_model,
        live: Arc::clone(&live),
    };
    program::ready(NAME, format_args!("http://{address}"));
    let ended = stop.clone();
    let serving = axum::serve(listener, router(service)).with_graceful_shutdown(async move { ended.requested().await });
    let showing = async {
        let Some(client) = stop.unless(seaway::connect(&arguments.seaway, NAME)).await else {
            return Ok(());
        };
        let client = client?;
        live.connected(client.clone());
        stop.requested().await;
        seaway::close(&client).await;
        anyhow::Ok(())
    };
    tokio::try_join!(async { serving.await.context("serve HTTP") }, showing)?;
    Ok(())
}

fn router(service: Service) -> Router {
    Router::new()
        .route(
            "/",
            get(|| {
                page(
                    "text/html; charset=utf-8",
                    include_str!("order_service/page/index.html"),
                )
            }),
        )
        .route(
            "/page.js",
            get(|| {
                page(
                    "text/javascript; charset=utf-8",
                    include_str!("order_service/page/page.js"),
                )
            }),
        )
        .route(
            "/page.css",
            get(|| page("text/css; charset=utf-8", include_str!("order_service/page/page.css"))),
        )
        .route(
            "/icon.svg",
            get(|| page("image/svg+xml", include_str!("order_service/page/icon.svg"))),
        )
        .route("/healthz", get(async || "ok\n"))
        .route("/api/orders", get(list).post(placing::place))
        .route("/api/orders/{id}", get(order))
        .route("/api/live", get(live::live))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(service)
}

async fn page(content_type: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'self'"),
    ];
    (headers, text)
}

async fn order(State(service): State<Service>, Path(id): Path<String>) -> Result<Json<OrderAnswer>, Failure> {
    let id = Uuid::parse_str(&id).map_err(|error| Failure::invalid("id", error.to_string()))?;
    match service.read_model.order(&id.to_string()).await? {
        Some(view) => Ok(Json(view.into())),
        None => Err(Failure::NotFound(format!(
            "no order {id}; one that was just placed appears in a moment"
        ))),
    }
}

/// What to list.
#[derive(Debug, Deserialize)]
struct ListQuery {
    limit: Option<u32>,
    status: Option<String>,
}

async fn list(
    State(service): State<Service>,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<ListAnswer>, Failure> {
    let Query(query) = query.map_err(|error| Failure::invalid("limit", error.body_text()))?;
    let limit = query.limit.unwrap_or(LIST_ORDERS).min(LIST_ORDERS_MAX);
    let status = match query.status.as_deref() {
        None | Some("") => None,
        Some(word) => Some(OrderStatus::from_word(word).ok_or_else(|| {
            Failure::invalid(
                "status",
                format!("{word:?} is none of created, approved, rejected, paid"),
            )
        })?),
    };
    let orders = service.read_model.newest(status, limit).await?;
    let counts = service.read_model.counts().await?;
    Ok(Json(ListAnswer {
        orders: orders.into_iter().map(OrderInList::from).collect(),
        counts: counts.into(),
    }))
}

#[cfg(test)]
mod tests;
