//! Orders as people want to see them, built from events that come in any order and more than once.
//!
//! A durable queue group hands each event to one of its members, and redelivers what a member did not acknowledge: two
//! members work on events of one order at the same time, and the later one may be first. So every event is kept by order and
//! version, and what is visible is the fold of all events before the first gap. Whoever adds an event locks the order,
//! reads what is there, and writes the fold.

use std::collections::{BTreeMap, BTreeSet};

use seaway_orders_pb::Message as _;
use seaway_orders_pb::messages::{Event, Order, OrderStatus};

use crate::database::Database;
use crate::order_state::{OrderEvent, OrderState};
use crate::sql::{Schema, Statement};
use crate::transaction::Transaction;
use crate::value::{Row, Value};
use crate::{DatabaseUrl, Error};

/// The read model; clones share its connections.
#[derive(Clone, Debug)]
pub struct ReadModel {
    database: Database,
}

/// An order with its history.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderView {
    /// The order as it is.
    pub state: OrderState,
    /// What made it so, from version 1.
    pub history: Vec<Step>,
}

/// An event in the history of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its version.
    pub version: u64,
    /// What has happened.
    pub event_type: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// How many orders there are in each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Placed, and not decided.
    pub created: u64,
    /// Approved, and not paid.
    pub approved: u64,
    /// Rejected.
    pub rejected: u64,
    /// Approved and paid.
    pub paid: u64,
}

impl ReadModel {
    /// Opens the read model, and makes its tables when they are missing.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open(url: &DatabaseUrl) -> Result<Self, Error> {
        let database = Database::open(url, Schema::ReadModel).await?;
        Ok(Self { database })
    }

    /// Takes in events of orders, all or none of them. Those that are there already change nothing.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn record(&self, events: Vec<Event>) -> Result<(), Error> {
        self.database
            .write(move |transaction| record(transaction, &events))
            .await
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn clear(&self) -> Result<(), Error> {
        self.database
            .write(|transaction| {
                transaction.execute(Statement::DeleteOrders, &[])?;
                transaction.execute(Statement::DeleteOrderEvents, &[])?;
                Ok(())
            })
            .await
    }

    /// An order with its history, if its first event is there.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn order(&self, id: &str) -> Result<Option<OrderView>, Error> {
        let id = Value::from(id);
        self.database
            .read(move |transaction| {
                let rows = transaction.query(Statement::OrderById, std::slice::from_ref(&id))?;
                let Some(row) = rows.first() else { return Ok(None) };
                let state = state(row)?;
                let events = events_of(transaction, &id)?;
                let history = events
                    .into_iter()
                    .filter(|event| event.version <= state.version)
                    .map(|event| Step {
                        version: event.version,
                        event_type: event.event_type,
                        at_ms: event.created_on_ms,
                    });
                let history = history.collect();
                Ok(Some(OrderView { state, history }))
            })
            .await
    }

    /// The newest orders, of one status or of all, at most `limit`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn newest(&self, status: Option<OrderStatus>, limit: u32) -> Result<Vec<OrderState>, Error> {
        self.database
            .read(move |transaction| {
                let limit = Value::from(i64::from(limit));
                let rows = match status {
                    None => transaction.query(Statement::NewestOrders, &[limit])?,
                    Some(status) => {
                        transaction.query(Statement::NewestOrdersOfStatus, &[limit, status.word().into()])?
                    }
                };
                rows.iter().map(state).collect()
            })
            .await
    }

    /// How many orders there are in each status.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn counts(&self) -> Result<Counts, Error> {
        self.database
            .read(|transaction| {
                let mut of = BTreeMap::new();
                for row in transaction.query(Statement::CountOrders, &[])? {
                    of.insert(row.text(0)?, row.number(1)?);
                }
                let count = |status: OrderStatus| of.get(status.word()).copied().unwrap_or_default();
                Ok(Counts {
                    created: count(OrderStatus::Created),
                    approved: count(OrderStatus::Approved),
                    rejected: count(OrderStatus::Rejected),
                    paid: count(OrderStatus::Paid),
                })
            })
            .await
    }
}

fn record(transaction: &mut Transaction<'_>, events: &[Event]) -> Result<(), Error> {
    // In one order for everybody, so that two who lock the same orders do not wait for each other.
    let orders: BTreeSet<&str> = events.iter().map(|event| event.aggregate_id.as_str()).collect();
    for order in &orders {
        transaction.execute(Statement::EnsureOrder, &[(*order).into()])?;
        if transaction.query(Statement::LockOrder, &[(*order).into()])?.is_empty() {
            return Err(Error::Conflict("the order was deleted meanwhile".to_owned()));
        }
    }
    let rows: Vec<Vec<Value>> = events.iter().map(values).collect();
    transaction.insert(Statement::InsertOrderEvents, &rows)?;
    for order in orders {
        let id = Value::from(order);
        let events = events_of(transaction, &id)?;
        if let Some(state) = OrderState::fold(&events)? {
            transaction.execute(Statement::UpdateOrder, &order_values(id, &state))?;
        }
    }
    Ok(())
}

fn values(event: &Event) -> Vec<Value> {
    vec![
        event.aggregate_id.as_str().into(),
        event.version.into(),
        event.event_type.as_str().into(),
        event.data.as_ref().into(),
        event.created_on_ms.into(),
    ]
}

fn order_values(id: Value, state: &OrderState) -> [Value; 9] {
    let order = &state.order;
    [
        id,
        state.version.into(),
        order.status().word().into(),
        order.customer.as_str().into(),
        order.restaurant.as_str().into(),
        order.amount_cents.into(),
        order.created_on_ms.into(),
        state.updated_on_ms.into(),
        order.encode_to_vec().as_slice().into(),
    ]
}

fn events_of(transaction: &mut Transaction<'_>, id: &Value) -> Result<Vec<OrderEvent>, Error> {
    let rows = transaction.query(Statement::EventsOfOrder, std::slice::from_ref(id))?;
    let event = |row: &Row| -> Result<OrderEvent, Error> {
        Ok(OrderEvent {
            version: row.number(0)?,
            event_type: row.text(1)?,
            data: row.bytes(2)?,
            created_on_ms: row.integer(3)?,
        })
    };
    rows.iter().map(event).collect()
}

fn state(row: &Row) -> Result<OrderState, Error> {
    let document = row.bytes(0)?;
    Ok(OrderState {
        order: Order::decode(document.as_slice()).map_err(|error| Error::Failed(format!("an order: {error}")))?,
        version: row.number(1)?,
        updated_on_ms: row.integer(2)?,
    })
}
