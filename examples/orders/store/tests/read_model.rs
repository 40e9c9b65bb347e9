//! The read model and the restaurant's tickets, the same on every database.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

mod backends;

use backends::{WAY, event, fresh};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use seaway_orders_pb::Message as _;
use seaway_orders_pb::messages::{Event, Order, OrderStatus};
use seaway_orders_store::{Counts, DatabaseUrl, Error, ReadModel, Ticket, Tickets};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_visible_from_its_first_event_to_the_first_gap() {
    for database in fresh().await {
        let model = ReadModel::open(&database.url()).await.unwrap();
        let visible = async || {
            let view = model.order("a").await.unwrap()?;
            assert_eq!(view.history.len() as u64, view.state.version);
            assert_eq!(view.state.updated_on_ms, view.history.last()?.at_ms);
            Some((view.state.version, view.state.order.status()))
        };
        model.record(vec![event("a", 3)]).await.unwrap();
        assert_eq!(visible().await, None, "{}", database.name);
        model.record(vec![event("a", 1)]).await.unwrap();
        assert_eq!(visible().await, Some((1, OrderStatus::Created)), "{}", database.name);
        model.record(vec![event("a", 1), event("a", 2)]).await.unwrap();
        assert_eq!(visible().await, Some((3, OrderStatus::Paid)), "{}", database.name);
        model.record(vec![event("a", 2)]).await.unwrap();
        assert_eq!(visible().await, Some((3, OrderStatus::Paid)), "{}", database.name);
        let view = model.order("a").await.unwrap().unwrap();
        let types: Vec<&str> = view.history.iter().map(|step| step.event_type.as_str()).collect();
        assert_eq!(types, WAY);
        model.clear().await.unwrap();
        assert_eq!(visible().await, None, "{}", database.name);
        assert_eq!(model.counts().await.unwrap(), Counts::default());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_listed_and_counted() {
    for database in fresh().await {
        let model = ReadModel::open(&database.url()).await.unwrap();
        for (index, (id, versions)) in [("a", 3), ("b", 1), ("c", 2), ("d", 1)].into_iter().enumerate() {
            let mut events: Vec<Event> = (1..=versions).map(|version| event(id, version)).collect();
            for event in &mut events {
                let mut order = Order::decode(event.data.clone()).unwrap();
                order.created_on_ms = 1_000 * i64::try_from(index).unwrap();
                event.data = order.encode_to_vec().into();
            }
            model.record(events).await.unwrap();
        }
        let ids = async |status, limit| {
            let orders = model.newest(status, limit).await.unwrap();
            orders.into_iter().map(|state| state.order.id).collect::<Vec<String>>()
        };
        assert_eq!(ids(None, 10).await, ["d", "c", "b", "a"], "{}", database.name);
        assert_eq!(ids(None, 2).await, ["d", "c"], "{}", database.name);
        assert_eq!(
            ids(Some(OrderStatus::Created), 10).await,
            ["d", "b"],
            "{}",
            database.name
        );
        assert_eq!(ids(Some(OrderStatus::Rejected), 10).await, [""; 0], "{}", database.name);
        let counts = Counts {
            created: 2,
            approved: 1,
            rejected: 0,
            paid: 1,
        };
        assert_eq!(model.counts().await.unwrap(), counts, "{}", database.name);
    }
}

/// A member reads before it writes: without a lock, each of two members sees its own event only, and neither shows the order.
#[tokio::test(flavor = "multi_thread")]
async fn two_members_that_work_on_one_order_at_once_lose_nothing() {
    const ORDERS: usize = 60;
    for database in fresh().await {
        let (one, two) = (
            ReadModel::open(&database.url()).await.unwrap(),
            ReadModel::open(&database.url()).await.unwrap(),
        );
        let id = |order: usize| format!("order-{order}");
        for orders in (0..ORDERS).collect::<Vec<_>>().chunks(3) {
            let of = |versions: &[u64]| -> Vec<Event> {
                let orders = orders.iter().rev();
                orders
                    .flat_map(|order| versions.iter().map(|version| event(&id(*order), *version)))
                    .collect()
            };
            let backwards: Vec<Event> = of(&[2]).into_iter().rev().collect();
            let (first, second) = tokio::join!(one.record(of(&[1, 3])), two.record(backwards));
            assert_eq!((first, second), (Ok(()), Ok(())), "{}", database.name);
        }
        assert_eq!(one.counts().await.unwrap().paid, ORDERS as u64, "{}", database.name);
    }
}

#[test]
fn the_order_of_events_does_not_matter() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let databases = runtime.block_on(fresh());
    for database in &databases {
        let model = runtime.block_on(ReadModel::open(&database.url())).unwrap();
        let mut runner = TestRunner::new(Config::with_cases(40));
        // Deliveries: indices into the events of three orders, with repetitions; and how they come in batches.
        let deliveries = proptest::collection::vec((0_usize..9, 1_usize..5), 1..30);
        let outcome = runner.run(&deliveries, |deliveries| {
            runtime.block_on(async {
                model.clear().await.unwrap();
                let mut batch = Vec::new();
                for (index, batch_events) in &deliveries {
                    batch.push(event(&format!("order-{}", index / 3), *index as u64 % 3 + 1));
                    if batch.len() >= *batch_events {
                        model.record(std::mem::take(&mut batch)).await.unwrap();
                    }
                }
                model.record(batch).await.unwrap();
                for order in 0..3 {
                    let has = |version: usize| deliveries.iter().any(|(index, _)| *index == 3 * order + version - 1);
                    let expected = (1..=3).take_while(|version| has(*version)).count() as u64;
                    let found = model.order(&format!("order-{order}")).await.unwrap();
                    let found = found.map_or(0, |view| view.state.version);
                    prop_assert_eq!(found, expected, "order-{} on {}", order, database.name);
                }
                Ok(())
            })
        });
        outcome.unwrap();
    }
}

fn ticket(decision: &str, at_ms: i64) -> Ticket {
    Ticket {
        order_id: "a".to_owned(),
        customer: "ann".to_owned(),
        decision: decision.to_owned(),
        reason: String::new(),
        decided_on_ms: at_ms,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restaurant_decides_once() {
    for database in fresh().await {
        let tickets = Tickets::open(&database.url()).await.unwrap();
        let first = tickets.decide(ticket("approved", 1)).await;
        assert_eq!(first, Ok(ticket("approved", 1)), "{}", database.name);
        let second = tickets.decide(ticket("rejected", 2)).await;
        assert_eq!(second, Ok(ticket("approved", 1)), "{}", database.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_newer_program_are_left_alone() {
    let database = backends::sqlite();
    drop(Tickets::open(&database.url()).await.unwrap());
    let path = database.address.strip_prefix("sqlite:").unwrap();
    let raw = rusqlite::Connection::open(path).unwrap();
    raw.execute("INSERT INTO schema_versions VALUES ('tickets', 99)", [])
        .unwrap();
    let outcome = Tickets::open(&database.url()).await.map(drop);
    let words = outcome.as_ref().unwrap_err().to_string();
    assert!(matches!(outcome, Err(Error::TooNew { found: 99, .. })), "{words}");
    assert!(words.contains("tickets") && words.contains("99"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_told_from_one_that_cannot_be() {
    // Nobody listens on the port: it was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let away: DatabaseUrl = format!("postgres://me@{free}/orders").parse().unwrap();
    let error = ReadModel::open(&away).await.map(drop).unwrap_err();
    assert!(error.is_transient(), "{error}");
    let nowhere: DatabaseUrl = "sqlite:/nowhere/at/all.db".parse().unwrap();
    let error = ReadModel::open(&nowhere).await.map(drop).unwrap_err();
    assert!(
        !error.is_transient() && error.to_string().contains("/nowhere/at/all.db"),
        "{error}"
    );
}
