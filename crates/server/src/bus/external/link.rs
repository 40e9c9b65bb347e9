//! What parties, senders and the task of the connection share.
//!
//! Two locks, the registry's before that of what goes out; both are held for moments only.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, anyhow};
use seaway_nats_protocol::ServerInfo;
use seaway_nats_protocol::limits::ROUTE_PAYLOAD_MAX;
use tokio::sync::{Notify, watch};

use super::outbound::{Outbound, Stage};
use super::party::Party;
use super::registry::Registry;
use crate::bus::words::{Destination, Listener, Unsettled};
use crate::limits::EXTERNAL_TOLD_EVERY;

/// The one receiver that everybody behind the servers is.
pub(super) const EVERYBODY: Destination = Destination(1);

/// See the module.
pub(super) struct Link {
    /// What the servers know the connection as.
    name: String,
    registry: Mutex<Registry>,
    outbound: Mutex<Outbound>,
    /// There is something to write.
    pub(super) to_write: Notify,
    /// A copy of the stage, for a quick look.
    carries: AtomicBool,
    /// Bytes that wait for the socket, for a quick look.
    queued: AtomicUsize,
    max_payload: AtomicUsize,
    takes_headers: AtomicBool,
    stage: watch::Sender<Stage>,
    /// The number of the last question that was answered.
    answered: watch::Sender<u64>,
    changes: watch::Sender<u64>,
    server: Mutex<Server>,
    traffic: Traffic,
    told: Mutex<[Option<Instant>; MATTERS]>,
}

/// What may happen so often that the operator is told of it once in a while only.
#[derive(Clone, Copy, Debug)]
pub(super) enum Matter {
    /// A server is not to be had.
    Unreached,
    /// Messages find no room.
    Dropped,
    /// Publishes are refused.
    Refused,
    /// A message is larger than the server takes.
    TooLarge,
    /// The server complains.
    Complaint,
}

const MATTERS: usize = Matter::Complaint as usize + 1;

/// The server at the other end.
#[derive(Clone, Default)]
struct Server {
    url: String,
    info: ServerInfo,
    since: Option<SystemTime>,
    reconnects: u64,
    reason: Option<String>,
}

/// What went over all connections.
#[derive(Default)]
pub(super) struct Traffic {
    pub(super) in_messages: AtomicU64,
    pub(super) in_bytes: AtomicU64,
    pub(super) out_messages: AtomicU64,
    pub(super) out_bytes: AtomicU64,
    /// Messages that were dropped because what waits has a bound.
    pub(super) dropped: AtomicU64,
    /// Publishes that were refused because the party was behind.
    pub(super) refused: AtomicU64,
}

/// How the connection to servers of somebody else is, for those who look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalSnapshot {
    /// The server, or the last one, without credentials.
    pub url: String,
    /// Its name.
    pub server_name: String,
    /// Its ID.
    pub server_id: String,
    /// Its version.
    pub version: String,
    /// Where its clients can connect, as it says.
    pub connect_urls: Vec<String>,
    /// Whether messages are carried.
    pub is_up: bool,
    /// Since when that is so.
    pub since: Option<SystemTime>,
    /// Connections after the first.
    pub reconnects: u64,
    /// Why the last connection was lost.
    pub reason: Option<String>,
    /// Bytes of one message at most.
    pub max_payload: usize,
    /// Messages received.
    pub in_messages: u64,
    /// Their bytes, without what frames them.
    pub in_bytes: u64,
    /// Messages sent.
    pub out_messages: u64,
    /// Their bytes, without what frames them.
    pub out_bytes: u64,
    /// Messages that were to be sent and found no room.
    pub dropped: u64,
    /// Publishes refused because the engine was behind.
    pub refused: u64,
    /// Bytes that wait to be sent.
    pub pending_bytes: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub(super) fn new(name: &str) -> Link {
        Link {
            name: name.to_owned(),
            registry: Mutex::new(Registry::new()),
            outbound: Mutex::new(Outbound::new()),
            to_write: Notify::new(),
            carries: AtomicBool::new(false),
            queued: AtomicUsize::new(0),
            max_payload: AtomicUsize::new(0),
            takes_headers: AtomicBool::new(false),
            stage: watch::Sender::new(Stage::Down),
            answered: watch::Sender::new(0),
            changes: watch::Sender::new(0),
            server: Mutex::default(),
            traffic: Traffic::default(),
            told: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        lock(&self.registry)
    }

    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    pub(super) fn max_payload(&self) -> usize {
        self.max_payload.load(Ordering::Acquire)
    }

    pub(super) fn takes_headers(&self) -> bool {
        self.takes_headers.load(Ordering::Acquire)
    }

    /// Whether messages are carried now.
    pub(super) fn carries(&self) -> bool {
        self.carries.load(Ordering::Acquire)
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn snapshot(&self) -> ExternalSnapshot {
        let server = lock(&self.server).clone();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ExternalSnapshot {
            url: server.url,
            server_name: server.info.server_name,
            server_id: server.info.server_id,
            version: server.info.version,
            connect_urls: server.info.connect_urls,
            is_up: self.carries(),
            since: server.since,
            reconnects: server.reconnects,
            reason: server.reason,
            max_payload: self.max_payload(),
            in_messages: count(&self.traffic.in_messages),
            in_bytes: count(&self.traffic.in_bytes),
            out_messages: count(&self.traffic.out_messages),
            out_bytes: count(&self.traffic.out_bytes),
            dropped: count(&self.traffic.dropped),
            refused: count(&self.traffic.refused),
            pending_bytes: self.queued.load(Ordering::Acquire),
        }
    }

    /// Whether the operator may be told of something that happens very often.
    pub(super) fn may_tell(&self, matter: Matter) -> bool {
        let mut all = lock(&self.told);
        let told = &mut all[matter as usize];
        let is_due = told.is_none_or(|told| told.elapsed() >= EXTERNAL_TOLD_EVERY);
        if is_due {
            *told = Some(Instant::now());
        }
        is_due
    }

    /// Does something with what goes out, and has the writer look.
    fn outbound<T>(&self, work: impl FnOnce(&mut Outbound) -> T) -> T {
        let mut outbound = lock(&self.outbound);
        let before = outbound.len();
        let result = work(&mut outbound);
        let after = outbound.len();
        self.queued.store(after, Ordering::Release);
        drop(outbound);
        if after > before {
            self.to_write.notify_one();
        }
        result
    }
}

/// Parties.
impl Link {
    pub(super) fn attach(&self, listener: Arc<dyn Listener>) -> Arc<Party> {
        let mut registry = self.registry();
        let party = registry.attach(|id| Party {
            id,
            listener,
            is_closed: Arc::default(),
            wants_all: AtomicBool::new(false),
        });
        if !registry.is_told_up {
            party.listener.carries(false);
        }
        party
    }

    pub(super) fn subscribe(&self, party: &Arc<Party>, subject: &[u8], tag: u64, holdable: bool) {
        self.change(|registry, say| registry.subscribe(party, subject, tag, holdable, say));
    }

    pub(super) fn unsubscribe(&self, party: &Party, tag: u64) {
        self.change(|registry, say| registry.unsubscribe(party, tag, say));
    }

    pub(super) fn detach(&self, party: &Party) {
        self.change(|registry, say| registry.detach(party, say));
        party.is_closed.store(false, Ordering::Release);
    }

    /// What the server is told leaves in the order of the changes.
    fn change(&self, work: impl FnOnce(&mut Registry, &mut Vec<u8>)) {
        let mut registry = self.registry();
        let mut say = Vec::new();
        work(&mut registry, &mut say);
        if !say.is_empty() {
            self.outbound(|outbound| outbound.say(&say));
        }
    }

    /// Whether everything that came to the server until `moment` for a party has come here; else it is asked for.
    pub(super) fn has_heard_until(&self, party: &Party, moment: Instant) -> bool {
        // Before the question: its answer may be there before the next line.
        party.wants_all.store(true, Ordering::Release);
        let has_heard = self.outbound(|outbound| outbound.has_heard_until(moment));
        if has_heard {
            party.wants_all.store(false, Ordering::Release);
        }
        has_heard
    }

    /// Tells all parties whether the bus carries messages.
    pub(super) fn tell(&self, is_up: bool) {
        let mut registry = self.registry();
        registry.is_told_up = is_up;
        for party in registry.parties() {
            party.listener.carries(is_up);
        }
        drop(registry);
        self.count_change();
    }

    /// Notes that the ways on which messages go are others than before.
    pub(super) fn count_change(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }
}

/// Sending.
impl Link {
    /// Hands over messages, so many, and empties what they were gathered in.
    pub(super) fn send(&self, messages: &mut Vec<u8>, count: u64) {
        let is_taken = self.outbound(|outbound| outbound.send(messages));
        if !is_taken {
            self.traffic.dropped.fetch_add(count, Ordering::Relaxed);
            if self.carries() && self.may_tell(Matter::Dropped) {
                let url = self.snapshot().url;
                tracing::warn!(
                    target: "stream",
                    "The NATS server {url} does not take what it is sent: {count} message(s) and what follows are dropped"
                );
            }
        }
    }

    /// Whether so much more would be too much.
    pub(super) fn is_full(&self, more: usize) -> bool {
        self.queued.load(Ordering::Acquire) + more >= crate::limits::EXTERNAL_OUTBOUND_BYTES_HIGH
    }

    /// Has a party told when there is room for so much more; false when there is by now.
    pub(super) fn wait_for_room(&self, party: &Arc<Party>, more: usize) -> bool {
        self.outbound(|outbound| {
            let is_full = outbound.stage == Stage::Up && outbound.is_full(more);
            if is_full {
                outbound.wait_for_room(party);
            }
            is_full
        })
    }

    /// Waits until the server has looked at everything that was said until now.
    ///
    /// # Errors
    /// What it refused since the last call, or that it does not answer.
    pub(super) async fn settled(&self, patience: Duration) -> Result<(), Unsettled> {
        let mut answered = self.answered.subscribe();
        let number = self.outbound(Outbound::ask);
        let wait = answered.wait_for(|last| *last >= number);
        if tokio::time::timeout(patience, wait).await.is_err() {
            let words = format!("the NATS server {} does not answer", self.snapshot().url);
            return Err(Unsettled::Silent(words));
        }
        let refusals = self.outbound(Outbound::take_refusals);
        if refusals.is_empty() {
            return Ok(());
        }
        let is_publish = |text: &String| {
            text.to_ascii_lowercase()
                .starts_with("permissions violation for publish")
        };
        let words = format!(
            "the NATS server {} refuses: {}",
            self.snapshot().url,
            refusals.join("; ")
        );
        Err(match refusals.iter().all(is_publish) {
            true => Unsettled::PublishRefused(words),
            false => Unsettled::SubscriptionRefused(words),
        })
    }
}

/// The task of the connection.
impl Link {
    /// A connection is there: what is wanted is said, and a question is put behind it, whose number is given back.
    pub(super) fn join(&self, url: &str, info: &ServerInfo) -> u64 {
        self.learn(url, info);
        let registry = self.registry();
        let mut say = Vec::new();
        registry.say_all(&mut say);
        let number = self.outbound(|outbound| {
            outbound.begin();
            outbound.say(&say);
            outbound.ask()
        });
        drop(registry);
        let _ = self.stage.send_replace(Stage::Joining);
        number
    }

    /// What the server says of itself; whether other servers are in its cluster than before.
    pub(super) fn learn(&self, url: &str, info: &ServerInfo) -> bool {
        let payload = info.max_payload.clamp(1, ROUTE_PAYLOAD_MAX);
        self.max_payload.store(payload, Ordering::Release);
        self.takes_headers.store(info.headers, Ordering::Release);
        let mut server = lock(&self.server);
        let mut before = std::mem::take(&mut server.info.connect_urls);
        let mut after = info.connect_urls.clone();
        before.sort_unstable();
        after.sort_unstable();
        server.url = url.to_owned();
        server.info = info.clone();
        before != after
    }

    /// From now on messages are carried.
    pub(super) fn rise(&self, is_again: bool) {
        let mut server = lock(&self.server);
        server.since = Some(SystemTime::now());
        server.reconnects += u64::from(is_again);
        drop(server);
        self.outbound(|outbound| outbound.stage = Stage::Up);
        self.carries.store(true, Ordering::Release);
        let _ = self.stage.send_replace(Stage::Up);
    }

    /// The connection is lost.
    pub(super) fn fall(&self, reason: &str) {
        self.carries.store(false, Ordering::Release);
        let waiting = self.outbound(Outbound::end);
        let mut server = lock(&self.server);
        server.since = Some(SystemTime::now());
        server.reason = Some(reason.to_owned());
        drop(server);
        let _ = self.stage.send_replace(Stage::Down);
        self.tell(false);
        release(&waiting);
    }

    pub(super) fn take(&self, buffer: &mut Vec<u8>) -> bool {
        lock(&self.outbound).take(buffer)
    }

    pub(super) fn wrote(&self, bytes: usize) {
        let waiting = self.outbound(|outbound| outbound.wrote(bytes));
        release(&waiting);
    }

    /// Says something that no message is.
    pub(super) fn say(&self, bytes: &[u8]) {
        self.outbound(|outbound| outbound.say(bytes));
    }

    pub(super) fn ask(&self) -> u64 {
        self.outbound(Outbound::ask)
    }

    /// Sees from now on when the server stands still.
    pub(super) fn watch(&self) {
        self.outbound(Outbound::watch);
    }

    pub(super) fn stood_still_until(&self) -> Option<Instant> {
        lock(&self.outbound).stood_still_until()
    }

    pub(super) fn unanswered_for(&self) -> Option<Duration> {
        lock(&self.outbound).unanswered_for()
    }

    pub(super) fn refused(&self, words: &str) {
        lock(&self.outbound).refused(words);
    }

    /// The server has answered a question; its number.
    pub(super) fn heard(&self) -> Option<u64> {
        let number = self.outbound(Outbound::answered)?;
        self.answered.send_replace(number);
        for party in self.registry().parties() {
            if party.wants_all.swap(false, Ordering::AcqRel) {
                party.listener.heard_all();
            }
        }
        Some(number)
    }

    /// Hears of the next stages.
    pub(super) fn stages(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Waits for the first connection to carry messages.
    ///
    /// # Errors
    /// It was lost before, in words.
    pub(super) async fn wait_for_up(&self, mut stages: watch::Receiver<Stage>) -> Result<()> {
        let mut has_joined = false;
        loop {
            let stage = *stages.borrow_and_update();
            match stage {
                Stage::Up => return Ok(()),
                Stage::Joining => has_joined = true,
                Stage::Down if has_joined => {
                    let server = lock(&self.server);
                    let (url, reason) = (
                        &server.url,
                        server.reason.as_deref().unwrap_or("the connection is lost"),
                    );
                    return Err(anyhow!("nats: {url}: {reason}"));
                }
                Stage::Down => {}
            }
            stages.changed().await?;
        }
    }
}

fn release(waiting: &[Arc<Party>]) {
    for party in waiting {
        party.listener.drained(EVERYBODY);
    }
}
