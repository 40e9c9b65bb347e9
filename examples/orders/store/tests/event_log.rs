//! The event log, the same on every database.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

mod backends;

use std::time::{Duration, Instant};

use backends::{event, fresh};
use seaway_orders_pb::messages::Event;
use seaway_orders_store::{Appended, EventLog, ReadModel, Tickets};

fn stored(outcome: Appended) -> Event {
    match outcome {
        Appended::Stored(event) => event,
        Appended::Conflict { present_version } => panic!("conflict with version {present_version}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_appended_in_order_or_not_at_all() {
    for database in fresh().await {
        let log = EventLog::open(&database.url()).await.unwrap();
        let conflict = log.append(event("a", 2)).await.unwrap();
        assert_eq!(conflict, Appended::Conflict { present_version: 0 }, "{}", database.name);
        assert_eq!(stored(log.append(event("a", 1)).await.unwrap()), event("a", 1));
        assert_eq!(stored(log.append(event("a", 2)).await.unwrap()), event("a", 2));
        stored(log.append(event("b", 1)).await.unwrap());
        let mut other = event("a", 2);
        other.event_id = "another".to_owned();
        let conflict = log.append(other).await.unwrap();
        assert_eq!(conflict, Appended::Conflict { present_version: 2 }, "{}", database.name);
        let mut far = event("a", 2);
        (far.event_id, far.version) = ("far".to_owned(), u64::MAX);
        let conflict = log.append(far).await.unwrap();
        assert_eq!(conflict, Appended::Conflict { present_version: 2 }, "{}", database.name);

        assert_eq!(log.events_of("a", 0, 10).await.unwrap(), [event("a", 1), event("a", 2)]);
        assert_eq!(log.events_of("a", 1, 10).await.unwrap(), [event("a", 2)]);
        assert_eq!(log.events_of("a", 0, 1).await.unwrap(), [event("a", 1)]);
        assert_eq!(log.events_of("c", 0, 10).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_again_is_answered_like_the_first_time() {
    for database in fresh().await {
        let log = EventLog::open(&database.url()).await.unwrap();
        stored(log.append(event("a", 1)).await.unwrap());
        stored(log.append(event("a", 2)).await.unwrap());
        let mut again = event("a", 1);
        again.created_on_ms += 77;
        assert_eq!(
            stored(log.append(again).await.unwrap()),
            event("a", 1),
            "{}",
            database.name
        );
        assert_eq!(log.unpublished(10).await.unwrap().len(), 2, "{}", database.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_holds_what_is_not_published() {
    for database in fresh().await {
        let log = EventLog::open(&database.url()).await.unwrap();
        for (order, version) in [("a", 1), ("b", 1), ("a", 2)] {
            stored(log.append(event(order, version)).await.unwrap());
        }
        let positions = async |limit| {
            let unpublished = log.unpublished(limit).await.unwrap();
            unpublished.iter().map(|event| event.position).collect::<Vec<i64>>()
        };
        assert_eq!(positions(10).await, [1, 2, 3], "{}", database.name);
        assert_eq!(positions(2).await, [1, 2], "{}", database.name);
        assert_eq!(log.unpublished(10).await.unwrap()[2].event, event("a", 2));
        log.published(2).await.unwrap();
        log.published(2).await.unwrap();
        assert_eq!(positions(10).await, [3], "{}", database.name);
        log.published(3).await.unwrap();
        stored(log.append(event("b", 2)).await.unwrap());
        assert_eq!(positions(10).await, [4], "{}", database.name);
        assert_eq!(log.events_of("a", 0, 10).await.unwrap().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_has_one_holder() {
    const SHORT: Duration = Duration::from_millis(200);
    for database in fresh().await {
        let log = EventLog::open(&database.url()).await.unwrap();
        let before = Instant::now();
        assert!(log.take_lease("one", SHORT).await.unwrap(), "{}", database.name);
        assert!(log.take_lease("one", SHORT).await.unwrap(), "{}", database.name);
        while !log.take_lease("two", Duration::from_secs(3600)).await.unwrap() {
            assert!(before.elapsed() < Duration::from_secs(30), "{}", database.name);
        }
        // The database cuts both times to milliseconds.
        let elapsed = before.elapsed() + Duration::from_millis(1);
        assert!(elapsed >= SHORT, "{}: it was taken too early", database.name);
        assert!(!log.take_lease("one", SHORT).await.unwrap(), "{}", database.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_may_start_at_once() {
    for database in fresh().await {
        let openings = (0..8).map(|_| {
            let url = database.url();
            tokio::spawn(async move {
                EventLog::open(&url).await?;
                ReadModel::open(&url).await?;
                Tickets::open(&url).await.map(drop)
            })
        });
        for opening in openings.collect::<Vec<_>>() {
            assert_eq!(opening.await.unwrap(), Ok(()), "{}", database.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_one_wins_each_version_and_positions_have_no_gap() {
    const WRITERS: u64 = 6;
    const ORDERS: u64 = 5;
    for database in fresh().await {
        let (one, two) = (
            EventLog::open(&database.url()).await.unwrap(),
            EventLog::open(&database.url()).await.unwrap(),
        );
        let writers = (0..WRITERS).map(|writer| {
            let log = if writer % 2 == 0 { one.clone() } else { two.clone() };
            tokio::spawn(async move {
                let mut wins = 0;
                for (version, order) in (1..=3).flat_map(|version| (0..ORDERS).map(move |order| (version, order))) {
                    let mut event = event(&format!("order-{order}"), version);
                    event.event_id = format!("{writer}/{order}/{version}");
                    match log.append(event).await.unwrap() {
                        Appended::Stored(_) => wins += 1,
                        Appended::Conflict { present_version } => assert!(present_version >= version),
                    }
                }
                wins
            })
        });
        let mut wins = 0;
        for writer in writers.collect::<Vec<_>>() {
            wins += writer.await.unwrap();
        }
        assert_eq!(wins, 3 * ORDERS, "{}", database.name);
        let unpublished = one.unpublished(1000).await.unwrap();
        let positions: Vec<i64> = unpublished.iter().map(|event| event.position).collect();
        assert_eq!(positions, (1..=15).collect::<Vec<i64>>(), "{}", database.name);
        for order in 0..ORDERS {
            let events = one.events_of(&format!("order-{order}"), 0, 10).await.unwrap();
            let versions: Vec<u64> = events.iter().map(|event| event.version).collect();
            assert_eq!(versions, [1, 2, 3], "{}", database.name);
        }
    }
}
