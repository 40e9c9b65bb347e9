//! The outbox against a log that fails at chosen messages: every message, every way of failing.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use seaway_orders_pb::messages::Event;
use seaway_orders_store::Appended;

use super::*;

/// What happens to a message, and then.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It is not stored, and the process hears so.
    Refused,
    /// It is stored, and its acknowledgement is lost.
    Unanswered,
    /// The process is killed before the message is stored.
    KilledBefore,
    /// The process is killed when the message is stored.
    KilledAfter,
}

const FAULTS: [Fault; 4] = [
    Fault::Refused,
    Fault::Unanswered,
    Fault::KilledBefore,
    Fault::KilledAfter,
];

/// A log that is kept, whatever happens to the process that writes it.
#[derive(Default)]
struct Log {
    stored: Mutex<Vec<(String, Event)>>,
    messages: AtomicUsize,
    /// At which message, counted from 0, and what.
    fault: Option<(usize, Fault)>,
    killed: Notify,
}

impl Log {
    fn store(&self, channel: &str, payload: Bytes) {
        let event = Event::decode(payload).unwrap();
        self.stored.lock().unwrap().push((channel.to_owned(), event));
    }

    /// The events of a channel, each where it came first.
    fn first_of(&self, channel: &str) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let stored = self.stored.lock().unwrap();
        let of_channel = stored.iter().filter(|(of, _)| of == channel);
        let ids = of_channel.map(|(_, event)| event.event_id.clone());
        ids.filter(|id| seen.insert(id.clone())).collect()
    }
}

impl Publish for Log {
    async fn publish(&self, channel: &str, payload: Bytes) -> anyhow::Result<()> {
        let number = self.messages.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Some((at, fault)) if at == number => {
                if matches!(fault, Fault::Unanswered | Fault::KilledAfter) {
                    self.store(channel, payload);
                }
                if matches!(fault, Fault::KilledBefore | Fault::KilledAfter) {
                    self.killed.notify_one();
                    std::future::pending::<()>().await;
                }
                anyhow::bail!("{fault:?}");
            }
            _ => {
                self.store(channel, payload);
                Ok(())
            }
        }
    }
}

fn event(number: u64) -> Event {
    // Two orders, in turn.
    Event {
        event_id: format!("event-{number}"),
        aggregate_id: format!("order-{}", number % 2),
        aggregate_type: "order".to_owned(),
        version: number / 2 + 1,
        event_type: if number < 2 { "OrderCreated" } else { "OrderApproved" }.to_owned(),
        data: Bytes::new(),
        created_on_ms: 1,
    }
}

async fn open(folder: &tempfile::TempDir) -> EventLog {
    let url = format!("sqlite:{}", folder.path().join("events.db").display());
    EventLog::open(&url.parse().unwrap()).await.unwrap()
}

/// Drains until the outbox is empty, or the process is killed.
async fn live(log: &EventLog, target: &Log, holder: &str) {
    let (appended, stop) = (Notify::new(), Stop::never());
    let emptied = async {
        while !log.unpublished(1).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = drain(log, target, holder, &appended, &stop) => {}
        () = target.killed.notified() => {}
        () = emptied => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_overtakes_wherever_the_process_dies() {
    const EVENTS: u64 = 4;
    for (at, fault) in (0..2 * EVENTS as usize).flat_map(|at| FAULTS.map(|fault| (at, fault))) {
        let folder = tempfile::tempdir().unwrap();
        let mut target = Log {
            fault: Some((at, fault)),
            ..Log::default()
        };
        let log = open(&folder).await;
        for number in 0..EVENTS {
            assert!(matches!(log.append(event(number)).await, Ok(Appended::Stored(_))));
        }
        live(&log, &target, "the store").await;
        assert!(
            target.messages.load(Ordering::Relaxed) > at,
            "the fault was not reached"
        );
        target.fault = None;
        live(&open(&folder).await, &target, "the store").await;

        let all: Vec<String> = (0..EVENTS).map(|number| format!("event-{number}")).collect();
        assert_eq!(target.first_of("order-notification"), all, "{fault:?} at {at}");
        assert_eq!(
            target.first_of("order-notification.OrderCreated"),
            all[..2],
            "{fault:?} at {at}"
        );
        assert_eq!(
            target.first_of("order-notification.OrderApproved"),
            all[2..],
            "{fault:?} at {at}"
        );
        assert!(log.unpublished(1).await.unwrap().is_empty());
        // The batch that was under way comes again, and nothing besides.
        let repeated = target.stored.lock().unwrap().len() - 2 * EVENTS as usize;
        assert!(
            repeated <= at / 2 * 2 + 2,
            "{repeated} messages were repeated: {fault:?} at {at}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_holder_of_the_lease_publishes() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder).await;
    let target = Log::default();
    assert!(
        log.take_lease("another store", Duration::from_millis(300))
            .await
            .unwrap()
    );
    let before = Instant::now();
    log.append(event(0)).await.unwrap();
    let (appended, stop) = (Notify::new(), Stop::never());
    let draining = drain(&log, &target, "the store", &appended, &stop);
    let woken = async {
        while target.stored.lock().unwrap().is_empty() {
            appended.notify_one();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = draining => {}
        () = woken => {}
    }
    assert!(
        before.elapsed() >= Duration::from_millis(290),
        "it did not wait for the lease to run out"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_that_both_believe_to_hold_the_lease_publish_in_order() {
    const EVENTS: u64 = 20;
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(&folder).await, open(&folder).await);
    let target = Log::default();
    for number in 0..EVENTS {
        one.append(event(number)).await.unwrap();
    }
    // The same holder: the lease keeps neither out.
    tokio::join!(live(&one, &target, "the store"), live(&two, &target, "the store"));
    let all: Vec<String> = (0..EVENTS).map(|number| format!("event-{number}")).collect();
    assert_eq!(target.first_of("order-notification"), all);
}
