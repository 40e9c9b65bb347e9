//! Gathers what every part of the system has in the end, each from its own source: the event store by gRPC, the databases by
//! SQL, the read model by HTTP, the log by a subscription from its first message.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use seaway_client::Start;
use seaway_orders_pb::Message as _;
use seaway_orders_pb::messages::event_store_client::EventStoreClient;
use seaway_orders_pb::messages::{self, GetEventsRequest};
use serde_json::Value;

use crate::judge::{Event, Evidence, Row, Ticket};
use crate::load::Accepted;
use crate::system::System;
use seaway_trial::{http, waiting};

use crate::sql;

/// The channel of every event; those of single types are named after it.
const CHANNEL: &str = "order-notification";
const EVENT_TYPES: [&str; 4] = ["OrderCreated", "OrderApproved", "OrderRejected", "OrderPaymentDebited"];

/// How long the system may take to bring every order to its end once all are accepted and everything runs. A delivery that
/// died with its receiver comes again after the receiver's AckWait, which is a minute at most.
const SETTLE_DEADLINE: Duration = Duration::from_secs(180);

/// How long reading a channel or rebuilding a read model may take.
const READ_DEADLINE: Duration = Duration::from_secs(60);

/// Waits until the read model shows every order in a final state and the outbox is empty, and returns how long that took.
pub(crate) fn settle(system: &System, orders: usize) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut last = Value::Null;
    let settled = waiting::until(SETTLE_DEADLINE, || {
        let Ok(answer) = http::get(system.http_port, "/api/orders?limit=1") else {
            return false;
        };
        last = answer.json["counts"].clone();
        let final_orders: u64 = ["paid", "rejected"]
            .iter()
            .filter_map(|status| last[status].as_u64())
            .sum();
        final_orders >= orders as u64
    });
    ensure!(
        settled,
        "of {orders} orders only these came to their end in {SETTLE_DEADLINE:?}: {last}"
    );
    let drained = waiting::until(READ_DEADLINE, || {
        sql::query(&system.databases.events, "SELECT COUNT(*) FROM outbox").is_ok_and(|rows| rows == [["0"]])
    });
    ensure!(drained, "the outbox is not drained in {READ_DEADLINE:?}");
    Ok(start.elapsed())
}

/// Everything that is known about the accepted orders.
pub(crate) fn gather(system: &System, accepted: Vec<Accepted>, rebuilt: &str) -> anyhow::Result<Evidence> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let mut evidence = Evidence {
        read_model: read_model(system, &accepted)?,
        tickets: tickets(system)?,
        events: runtime.block_on(events(system))?,
        rebuilt: rebuild(system, rebuilt)?,
        accepted,
        ..Evidence::default()
    };
    evidence.log = runtime.block_on(channel(system, CHANNEL))?;
    for event_type in EVENT_TYPES {
        let name = format!("{CHANNEL}.{event_type}");
        let log = runtime.block_on(channel(system, &name))?;
        evidence.log_by_type.insert(event_type.to_owned(), log);
    }
    Ok(evidence)
}

/// Every event of every aggregate there is, accepted or not, as the event store tells it.
async fn events(system: &System) -> anyhow::Result<Vec<Event>> {
    let aggregates = sql::query_async(
        &system.databases.events,
        "SELECT DISTINCT aggregate_id FROM events ORDER BY aggregate_id",
    )
    .await?;
    let address = format!("http://127.0.0.1:{}", system.event_store_port);
    let channel = tonic::transport::Endpoint::from_shared(address)?.connect().await;
    let mut store = EventStoreClient::new(channel.context("connect to the event store")?);
    let mut all = Vec::new();
    for aggregate in aggregates.into_iter().flatten() {
        let request = GetEventsRequest {
            aggregate_id: aggregate,
            after_version: 0,
            limit: 0,
        };
        let answer = store.get_events(request).await.context("GetEvents")?.into_inner();
        all.extend(answer.events.into_iter().map(event));
    }
    Ok(all)
}

fn event(event: messages::Event) -> Event {
    Event {
        order: event.aggregate_id,
        version: event.version,
        event_id: event.event_id,
        event_type: event.event_type,
        data: event.data.to_vec(),
    }
}

/// Each order by itself, and beyond them whatever else the list of all shows.
fn read_model(system: &System, accepted: &[Accepted]) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for order in accepted {
        let answer = http::get(system.http_port, &format!("/api/orders/{}", order.id))?;
        match answer.status {
            200 => rows.push(row(&answer.json)?),
            404 => {}
            _ => bail!("order {} was answered with {} {}", order.id, answer.status, answer.text),
        }
    }
    let counts = http::get(system.http_port, "/api/orders?limit=1")?.json["counts"].clone();
    let counted: u64 = counts
        .as_object()
        .context("counts")?
        .values()
        .filter_map(Value::as_u64)
        .sum();
    ensure!(
        counted == rows.len() as u64,
        "the read model counts {counts}, but shows {} orders",
        rows.len()
    );
    Ok(rows)
}

fn row(order: &Value) -> anyhow::Result<Row> {
    let text = |name: &str| match order[name].as_str() {
        Some(text) => Ok(text.to_owned()),
        None => bail!("{name} is missing in {order}"),
    };
    let version = order["version"].as_u64().context("version")?;
    let history = order["history"].as_array().context("history")?;
    let versions: Vec<u64> = history.iter().filter_map(|event| event["version"].as_u64()).collect();
    ensure!(
        versions.iter().copied().eq(1..=version),
        "the history does not lead to version {version}: {order}"
    );
    Ok(Row {
        id: text("id")?,
        customer: text("customer")?,
        status: text("status")?,
        amount_cents: order["amount_cents"].as_i64().context("amount_cents")?,
        version,
    })
}

fn tickets(system: &System) -> anyhow::Result<Vec<Ticket>> {
    let rows = sql::query(&system.databases.restaurant, "SELECT order_id, decision FROM tickets")?;
    let tickets = rows.into_iter().map(|columns| match &columns[..] {
        [order, decision] => Ok(Ticket {
            order: order.clone(),
            accepted: decision == "approved",
        }),
        _ => bail!("a ticket of {} columns", columns.len()),
    });
    tickets.collect()
}

/// A read model made from the log alone, by the program that an operator would use.
fn rebuild(system: &System, database: &str) -> anyhow::Result<Vec<Row>> {
    let mut process = system.once("rebuild", "order-query-store", &["--rebuild", "--database", database]);
    process.start()?;
    let status = process.wait_end(READ_DEADLINE)?;
    ensure!(status.success(), "the rebuild ended with {status}:\n{}", process.tail());
    let rows = sql::query(
        database,
        "SELECT order_id, customer, status, amount_cents, version FROM orders",
    )?;
    let rows = rows.into_iter().map(|columns| match &columns[..] {
        [id, customer, status, amount, version] => Ok(Row {
            id: id.clone(),
            customer: customer.clone(),
            status: status.clone(),
            amount_cents: amount.parse()?,
            version: version.parse()?,
        }),
        _ => bail!("an order of {} columns", columns.len()),
    });
    rows.collect()
}

/// What a channel holds, from its first to its last message, without a gap.
async fn channel(system: &System, name: &str) -> anyhow::Result<Vec<Event>> {
    let last = last_sequence(system, name)?;
    if last == 0 {
        return Ok(Vec::new());
    }
    let client = seaway_client::ConnectOptions::new("test-cluster", "judge")
        .url(system.nats())
        .connect()
        .await
        .context("connect the judge")?;
    let mut subscription = client.subscribe(name).start(Start::AllAvailable).await?;
    let mut events = Vec::new();
    for sequence in 1..=last {
        let message = tokio::time::timeout(READ_DEADLINE, subscription.next()).await;
        let message = message
            .with_context(|| format!("{name} says nothing after {} of {last} messages", events.len()))?
            .with_context(|| format!("{name} ended after {} of {last} messages", events.len()))?;
        ensure!(
            message.sequence() == sequence,
            "{name} gives {} where {sequence} was expected",
            message.sequence()
        );
        let decoded = messages::Event::decode(message.payload().as_ref());
        events.push(event(decoded.with_context(|| format!("message {sequence} of {name}"))?));
    }
    client.close().await?;
    Ok(events)
}

fn last_sequence(system: &System, channel: &str) -> anyhow::Result<u64> {
    let path = format!("/streaming/channelsz?channel={channel}");
    let answer = http::get(system.monitoring_port, &path)?;
    match answer.status {
        200 => answer.json["last_seq"].as_u64().context("last_seq"),
        404 => Ok(0),
        _ => bail!("{path} was answered with {} {}", answer.status, answer.text),
    }
}
