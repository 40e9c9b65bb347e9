//! What must be true when the dust has settled, as a function of the evidence: no process, no socket, no clock.
//!
//! Every accepted order exists exactly once and in its final state in the event store, in the read model and at the
//! restaurant; the log holds every event, perhaps more than once, never less; whoever reads the log from its beginning comes
//! to the same read model.

use std::collections::{BTreeMap, BTreeSet};

use seaway_orders_pb::{Message as _, messages};

use crate::load::Accepted;

/// Findings shown at most.
const SHOWN_MAX: usize = 20;

/// An event, as the event store or a channel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) order: String,
    pub(crate) version: u64,
    pub(crate) event_id: String,
    pub(crate) event_type: String,
    pub(crate) data: Vec<u8>,
}

/// An order as a read model shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) customer: String,
    pub(crate) status: String,
    pub(crate) amount_cents: i64,
    pub(crate) version: u64,
}

/// What the restaurant has written down about an order.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) order: String,
    pub(crate) accepted: bool,
}

/// Everything that is known in the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) accepted: Vec<Accepted>,
    /// By order and version.
    pub(crate) events: Vec<Event>,
    pub(crate) read_model: Vec<Row>,
    pub(crate) tickets: Vec<Ticket>,
    /// What the channel of everything holds, in its order.
    pub(crate) log: Vec<Event>,
    /// What the channels of single event types hold, by type.
    pub(crate) log_by_type: BTreeMap<String, Vec<Event>>,
    /// The read model that was made from the log alone, into an empty database.
    pub(crate) rebuilt: Vec<Row>,
}

/// The events of an order that ends so.
fn expected_types(end: &str) -> &'static [&'static str] {
    match end {
        "paid" => &["OrderCreated", "OrderApproved", "OrderPaymentDebited"],
        _ => &["OrderCreated", "OrderRejected"],
    }
}

fn status_of(event_type: &str) -> &str {
    match event_type {
        "OrderCreated" => "created",
        "OrderApproved" => "approved",
        "OrderRejected" => "rejected",
        "OrderPaymentDebited" => "paid",
        other => other,
    }
}

/// What is wrong; nothing, if all is well.
pub(crate) fn findings(evidence: &Evidence) -> Vec<String> {
    let mut all = Vec::new();
    event_store(evidence, &mut all);
    tickets(evidence, &mut all);
    log(evidence, &mut all);
    let expected = expected_rows(evidence);
    compare_rows("the read model", &evidence.read_model, &expected, &mut all);
    compare_rows("the rebuilt read model", &evidence.rebuilt, &expected, &mut all);
    compare_rows("a fold of the log", &fold(&evidence.log), &expected, &mut all);
    if all.len() > SHOWN_MAX {
        let more = all.len() - SHOWN_MAX;
        all.truncate(SHOWN_MAX);
        all.push(format!("and {more} more"));
    }
    all
}

/// How often the log holds an event again.
pub(crate) fn repeated(log: &[Event]) -> usize {
    let distinct: BTreeSet<_> = log.iter().map(|event| (&event.order, event.version)).collect();
    log.len() - distinct.len()
}

fn event_store(evidence: &Evidence, all: &mut Vec<String>) {
    let mut by_order: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in &evidence.events {
        by_order.entry(&event.order).or_default().push(event);
    }
    for order in &evidence.accepted {
        let events = by_order.remove(order.id.as_str()).unwrap_or_default();
        let types: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
        if types != expected_types(order.end) {
            all.push(format!(
                "event store: order {} must end {}, but has {types:?}",
                order.id, order.end
            ));
        }
        if !events.iter().map(|event| event.version).eq(1..=events.len() as u64) {
            all.push(format!("event store: the versions of order {} have a gap", order.id));
        }
    }
    for order in by_order.keys() {
        all.push(format!("event store: order {order} was never accepted"));
    }
}

fn tickets(evidence: &Evidence, all: &mut Vec<String>) {
    let mut by_order: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
    for ticket in &evidence.tickets {
        by_order.entry(&ticket.order).or_default().push(ticket.accepted);
    }
    for order in &evidence.accepted {
        let found = by_order.remove(order.id.as_str()).unwrap_or_default();
        if found != [order.end == "paid"] {
            all.push(format!(
                "restaurant: order {} must end {}, tickets say {found:?}",
                order.id, order.end
            ));
        }
    }
    for order in by_order.keys() {
        all.push(format!(
            "restaurant: a ticket for order {order}, which was never accepted"
        ));
    }
}

fn log(evidence: &Evidence, all: &mut Vec<String>) {
    holds_every_event("order-notification", &evidence.log, evidence.events.iter(), all);
    let types: BTreeSet<&str> = evidence.events.iter().map(|event| event.event_type.as_str()).collect();
    for event_type in types {
        let of_type = evidence.events.iter().filter(|event| event.event_type == event_type);
        let channel = evidence.log_by_type.get(event_type).map_or(&[][..], Vec::as_slice);
        holds_every_event(&format!("order-notification.{event_type}"), channel, of_type, all);
    }
    // The outbox is drained in order, so a later event of an order never comes first.
    let mut highest: BTreeMap<&str, u64> = BTreeMap::new();
    for event in &evidence.log {
        let seen = highest.entry(&event.order).or_default();
        if event.version > *seen + 1 {
            all.push(format!(
                "log: version {} of order {} overtook others",
                event.version, event.order
            ));
        }
        *seen = event.version.max(*seen);
    }
}

fn holds_every_event<'a>(channel: &str, log: &[Event], events: impl Iterator<Item = &'a Event>, all: &mut Vec<String>) {
    let mut stored: BTreeMap<(&str, u64), (&Event, bool)> = events
        .map(|event| ((event.order.as_str(), event.version), (event, false)))
        .collect();
    for event in log {
        match stored.get_mut(&(event.order.as_str(), event.version)) {
            Some((original, seen)) if *original == event => *seen = true,
            _ => all.push(format!(
                "{channel}: {} of order {} as version {} is not what the event store holds",
                event.event_type, event.order, event.version
            )),
        }
    }
    for ((order, version), (_, seen)) in stored {
        if !seen {
            all.push(format!("{channel}: version {version} of order {order} is lost"));
        }
    }
}

fn expected_rows(evidence: &Evidence) -> Vec<Row> {
    let rows = evidence.accepted.iter().map(|order| Row {
        id: order.id.clone(),
        customer: order.customer.clone(),
        status: order.end.to_owned(),
        amount_cents: order.amount_cents,
        version: expected_types(order.end).len() as u64,
    });
    rows.collect()
}

/// A read model of our own making: the last version of each order.
fn fold(log: &[Event]) -> Vec<Row> {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for event in log {
        let order = order_of(&event.data);
        let row = Row {
            id: event.order.clone(),
            customer: order.customer,
            status: status_of(&event.event_type).to_owned(),
            amount_cents: order.amount_cents,
            version: event.version,
        };
        match rows.get_mut(event.order.as_str()) {
            Some(known) if known.version >= row.version => {}
            Some(known) => *known = row,
            None => drop(rows.insert(&event.order, row)),
        }
    }
    rows.into_values().collect()
}

fn compare_rows(name: &str, rows: &[Row], expected: &[Row], all: &mut Vec<String>) {
    let sorted = |rows: &[Row]| {
        let mut rows = rows.to_vec();
        rows.sort();
        rows
    };
    let (rows, expected) = (sorted(rows), sorted(expected));
    if rows.len() != expected.len() {
        all.push(format!("{name}: {} orders instead of {}", rows.len(), expected.len()));
    }
    let known: BTreeSet<&Row> = rows.iter().collect();
    for missing in expected.iter().filter(|row| !known.contains(row)) {
        let instead: Vec<&Row> = rows.iter().filter(|row| row.id == missing.id).collect();
        all.push(format!("{name}: {missing:?} is missing, there is {instead:?}"));
    }
}

/// The order in an event.
pub(crate) fn order_of(data: &[u8]) -> messages::Order {
    messages::Order::decode(data).unwrap_or_default()
}

#[cfg(test)]
mod tests;
