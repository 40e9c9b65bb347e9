//! A judge who finds nothing wrong is worth something only if each wrong is found.

use seaway_orders_pb::Message as _;
use seaway_orders_pb::messages::Order;

use super::*;

/// What is left after two orders, one paid and one rejected, and no mishap.
fn all_is_well() -> Evidence {
    let accepted = vec![order("one", "ann", 900, "paid"), order("two", "bob", 9_000, "rejected")];
    let mut events = Vec::new();
    for order in &accepted {
        for (version, event_type) in (1..).zip(expected_types(order.end)) {
            events.push(event(order, version, event_type));
        }
    }
    let mut evidence = Evidence {
        read_model: Vec::new(),
        tickets: vec![ticket("one", true), ticket("two", false)],
        log: events.clone(),
        log_by_type: BTreeMap::new(),
        rebuilt: Vec::new(),
        accepted,
        events,
    };
    for event in &evidence.events {
        let of_type = evidence.log_by_type.entry(event.event_type.clone()).or_default();
        of_type.push(event.clone());
    }
    evidence.read_model = expected_rows(&evidence);
    evidence.rebuilt = expected_rows(&evidence);
    evidence
}

fn order(id: &str, customer: &str, amount_cents: i64, end: &'static str) -> Accepted {
    Accepted {
        id: id.to_owned(),
        customer: customer.to_owned(),
        amount_cents,
        end,
    }
}

fn event(order: &Accepted, version: u64, event_type: &str) -> Event {
    let message = Order {
        id: order.id.clone(),
        customer: order.customer.clone(),
        amount_cents: order.amount_cents,
        ..Order::default()
    };
    Event {
        order: order.id.clone(),
        version,
        event_id: format!("{}-{version}", order.id),
        event_type: event_type.to_owned(),
        data: message.encode_to_vec(),
    }
}

fn ticket(order: &str, accepted: bool) -> Ticket {
    Ticket {
        order: order.to_owned(),
        accepted,
    }
}

/// Spoils the evidence and expects a finding that begins so.
fn check(spoil: impl FnOnce(&mut Evidence), expected: &str) {
    let mut evidence = all_is_well();
    spoil(&mut evidence);
    let found = findings(&evidence);
    assert!(
        found.iter().any(|finding| finding.starts_with(expected)),
        "{expected:?} is not among {found:?}"
    );
}

#[test]
fn nothing_is_found_where_all_is_well() {
    assert_eq!(findings(&all_is_well()), Vec::<String>::new());
}

#[test]
fn an_event_may_come_twice_but_counts_once() {
    let mut evidence = all_is_well();
    let again = evidence.log[0].clone();
    evidence.log.push(again);
    assert_eq!(findings(&evidence), Vec::<String>::new());
    assert_eq!(repeated(&evidence.log), 1);
}

#[test]
fn a_lost_event_is_found() {
    check(
        |evidence| drop(evidence.log.pop()),
        "order-notification: version 2 of order two is lost",
    );
    check(
        |evidence| drop(evidence.log_by_type.remove("OrderApproved")),
        "order-notification.OrderApproved: version 2 of order one is lost",
    );
    check(
        |evidence| drop(evidence.events.pop()),
        "event store: order two must end rejected",
    );
}

#[test]
fn an_event_that_nobody_stored_is_found() {
    check(
        |evidence| evidence.log[0].event_id = "another".to_owned(),
        "order-notification: OrderCreated of order one as version 1 is not what the event store holds",
    );
    check(
        |evidence| evidence.log[0].data.clear(),
        "order-notification: OrderCreated of order one as version 1 is not what the event store holds",
    );
}

#[test]
fn an_order_that_came_twice_is_found() {
    check(
        |evidence| {
            let copy = event(&order("three", "ann", 900, "paid"), 1, "OrderCreated");
            evidence.events.push(copy);
        },
        "event store: order three was never accepted",
    );
    check(
        |evidence| evidence.tickets.push(ticket("one", true)),
        "restaurant: order one must end paid",
    );
    check(
        |evidence| evidence.tickets.push(ticket("three", true)),
        "restaurant: a ticket for order three",
    );
}

#[test]
fn a_step_that_was_taken_twice_is_found() {
    check(
        |evidence| {
            let again = event(&evidence.accepted[0].clone(), 4, "OrderPaymentDebited");
            evidence.events.push(again);
        },
        "event store: order one must end paid",
    );
    check(
        |evidence| evidence.events[1].version = 5,
        "event store: the versions of order one have a gap",
    );
}

#[test]
fn an_event_that_overtook_is_found() {
    check(
        |evidence| evidence.log.swap(0, 1),
        "log: version 2 of order one overtook others",
    );
}

#[test]
fn a_read_model_that_differs_is_found() {
    check(
        |evidence| evidence.read_model[0].status = "approved".to_owned(),
        "the read model: Row { id: \"one\"",
    );
    check(
        |evidence| drop(evidence.read_model.pop()),
        "the read model: 1 orders instead of 2",
    );
    check(
        |evidence| evidence.rebuilt[1].amount_cents = 1,
        "the rebuilt read model: Row { id: \"two\"",
    );
}

#[test]
fn a_missing_ticket_is_found() {
    check(
        |evidence| drop(evidence.tickets.pop()),
        "restaurant: order two must end rejected",
    );
    check(
        |evidence| evidence.tickets[1].accepted = true,
        "restaurant: order two must end rejected, tickets say [true]",
    );
}

#[test]
fn a_long_list_is_cut() {
    let mut evidence = all_is_well();
    evidence.accepted = (0..100)
        .map(|number| order(&format!("o{number}"), "ann", 1, "paid"))
        .collect();
    let found = findings(&evidence);
    assert_eq!(found.len(), SHOWN_MAX + 1);
    assert!(found[SHOWN_MAX].starts_with("and "));
}
