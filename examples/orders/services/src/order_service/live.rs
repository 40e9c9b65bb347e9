//! The log as it happens, for browsers: server-sent events.
//!
//! Every browser gets a subscription of its own, from where it left off. So the server does what a log is for, a slow browser
//! holds up nobody but itself, and nothing is kept here.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt as _};
use seaway_client::{Client, Message, Start, Subscription};
use seaway_orders_pb::{ORDER, channel};
use seaway_orders_store::ReadModel;
use serde::Serialize;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::Service;
use super::answers::{CountsAnswer, Failure};
use crate::program::Stop;
use crate::{reaction, seaway, time};

/// Browsers that may watch at once.
const WATCHERS_MAX: usize = 100;
/// Messages of the past that a browser gets which has seen none.
const PAST_MESSAGES: u64 = 50;
/// Messages on the way to a browser that are not acknowledged yet.
const MAX_IN_FLIGHT: u32 = 64;
/// How often the counts are looked up while somebody watches.
const COUNTS_INTERVAL: Duration = Duration::from_millis(500);

/// What all watchers share.
pub(super) struct Live {
    /// Orders are taken and shown while Seaway is away; the log is not.
    client: watch::Sender<Option<Client>>,
    stop: Stop,
    /// The sequence of the newest message that was seen; 0 before the first.
    newest: AtomicU64,
    counts: watch::Sender<Option<CountsAnswer>>,
    /// Somebody has begun to watch.
    watched: Notify,
    room: Arc<Semaphore>,
}

/// A message of the log, as a browser gets it.
#[derive(Debug, Serialize)]
struct LogEntry {
    sequence: u64,
    timestamp: String,
    event_type: String,
    order_id: String,
    version: u64,
}

impl Live {
    /// Begins to follow the counts while somebody watches, and the log once there is a [connection](Self::connected).
    pub(super) fn start(read_model: ReadModel, stop: Stop) -> Arc<Self> {
        let live = Arc::new(Self {
            client: watch::Sender::new(None),
            stop,
            newest: AtomicU64::new(0),
            counts: watch::Sender::new(None),
            watched: Notify::new(),
            room: Arc::new(Semaphore::new(WATCHERS_MAX)),
        });
        tokio::spawn(Arc::clone(&live).follow_newest());
        tokio::spawn(Arc::clone(&live).follow_counts(read_model));
        live
    }

    /// Shows the log of this connection from now on.
    pub(super) fn connected(&self, client: Client) {
        self.client.send_replace(Some(client));
    }

    /// Subscribes to the log, as soon as that is possible.
    async fn subscribe(&self, start: impl Fn() -> Start) -> Option<Subscription> {
        let mut client = self.client.subscribe();
        let client = client.wait_for(Option::is_some).await.ok()?.clone()?;
        let subscribe = || {
            client
                .subscribe(channel(ORDER))
                .start(start())
                .max_in_flight(MAX_IN_FLIGHT)
        };
        self.stop.unless(seaway::subscribe(subscribe)).await
    }

    async fn follow_newest(self: Arc<Self>) {
        while let Some(subscription) = self.subscribe(|| Start::LastReceived).await {
            let see = |message: Message| {
                self.newest.fetch_max(message.sequence(), Ordering::Relaxed);
                std::future::ready(())
            };
            // However it ended, the next one begins after the newest message.
            drop(subscription.for_each(see).await);
        }
    }

    async fn follow_counts(self: Arc<Self>, read_model: ReadModel) {
        loop {
            self.watched.notified().await;
            while self.counts.receiver_count() > 0 {
                self.look_up_counts(&read_model).await;
                tokio::time::sleep(COUNTS_INTERVAL).await;
            }
        }
    }

    async fn look_up_counts(&self, read_model: &ReadModel) {
        match read_model.counts().await {
            Ok(counts) => {
                let counts = Some(CountsAnswer::from(counts));
                self.counts.send_if_modified(|known| {
                    let is_new = *known != counts;
                    *known = counts;
                    is_new
                });
            }
            Err(error) => tracing::warn!("no counts: {error}"),
        }
    }

    /// Where a browser begins: behind what it has seen, or a little in the past.
    fn start_of(&self, seen: Option<u64>) -> u64 {
        let newest = self.newest.load(Ordering::Relaxed);
        match seen {
            Some(seen) => seen.min(newest) + 1,
            None => newest.saturating_sub(PAST_MESSAGES) + 1,
        }
    }
}

pub(super) async fn live(
    State(service): State<Service>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Failure> {
    let live = service.live;
    let room = Arc::clone(&live.room)
        .try_acquire_owned()
        .map_err(|_| Failure::Unavailable(format!("{WATCHERS_MAX} browsers are watching already")))?;
    let room = Arc::new(room);
    let seen = headers
        .get("Last-Event-ID")
        .and_then(|id| id.to_str().ok()?.parse().ok());
    let mut counts = live.counts.subscribe();
    // What is known is news to this browser.
    counts.mark_changed();
    live.watched.notify_one();
    let watched = Arc::clone(&live);
    // A browser gives up on an answer that does not begin.
    let subscription = async move { watched.subscribe(|| Start::Sequence(watched.start_of(seen))).await };
    let log = stream::once(subscription)
        .filter_map(std::future::ready)
        .flat_map(move |subscription| log(subscription, Arc::clone(&room)));
    let events = stream::select(log, counts_stream(counts));
    let stop = live.stop.clone();
    let events = events.take_until(async move { stop.requested().await });
    Ok(Sse::new(events.map(Ok)).keep_alive(KeepAlive::default()))
}

/// The messages of a subscription; others than events are left out.
fn log(subscription: Subscription, room: Arc<OwnedSemaphorePermit>) -> impl Stream<Item = sse::Event> {
    subscription.filter_map(move |message| {
        // It is freed with the stream.
        let _ = &room;
        std::future::ready(entry(&message))
    })
}

fn entry(message: &Message) -> Option<sse::Event> {
    let (event, _) = reaction::decode(message).ok()?;
    let entry = LogEntry {
        sequence: message.sequence(),
        timestamp: time::rfc3339_of(message.timestamp()),
        event_type: event.event_type,
        order_id: event.aggregate_id,
        version: event.version,
    };
    let event = sse::Event::default().event("log").id(message.sequence().to_string());
    event.json_data(entry).ok()
}

fn counts_stream(counts: watch::Receiver<Option<CountsAnswer>>) -> impl Stream<Item = sse::Event> {
    let next = async |mut counts: watch::Receiver<Option<CountsAnswer>>| {
        loop {
            counts.changed().await.ok()?;
            let known = *counts.borrow_and_update();
            let event = known.and_then(|known| sse::Event::default().event("counts").json_data(known).ok());
            if let Some(event) = event {
                return Some((event, counts));
            }
        }
    };
    stream::unfold(counts, next)
}
