//! A store that was made of the original's directory, with an engine on it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use prost::Message as _;
use seaway_stan_protocol::Subjects;
use seaway_stan_protocol::messages::MsgProto;
use seaway_store::{Completion, Encryption, FileOptions, FileStore, Recovering, Store};
use seaway_streaming::bus::Silence;
use seaway_streaming::{Effects, Engine, Event, Now, Options, ReadRequest, Records as _, Seek, Ticket};
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub sequence: u64,
    pub timestamp: i64,
    pub reply: Vec<u8>,
    pub data: Vec<u8>,
}

/// What the monitoring shows of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subscription {
    pub durable: String,
    pub queue: String,
    pub client: String,
    pub inbox: String,
    pub ack_inbox: String,
    pub is_offline: bool,
    pub max_in_flight: usize,
    pub ack_wait: i32,
    pub last_sent: u64,
    pub pending: usize,
}

pub struct TakenOver {
    engine: Engine,
    store: FileStore,
    woken: Receiver<()>,
    tickets: u64,
}

impl TakenOver {
    /// Starts an engine on the store, which may find nothing to remark.
    pub fn open(directory: &Path, cluster_id: &str, encryption: Option<Encryption>) -> TakenOver {
        let mut engine = Engine::new(Options {
            cluster_id: cluster_id.to_owned(),
            ..Options::default()
        });
        let (waker, woken) = sync_channel(1);
        let waking = move || {
            let _ = waker.try_send(());
        };
        let options = FileOptions {
            encryption,
            ..FileOptions::default()
        };
        let mut recovering = Recovering::new(&mut engine);
        let mut store = FileStore::open(directory, options, waking, &mut recovering).unwrap();
        recovering.finish().unwrap();
        let warnings: Vec<_> = store
            .opening_warnings()
            .iter()
            .filter(|line| !is_strays(line))
            .collect();
        assert!(warnings.is_empty(), "{warnings:?}");
        let mut events = |_: Event<'_>| {};
        let mut bus = Silence;
        let now = Now {
            monotonic: 1,
            wall: seaway_streaming::Timestamp(1_800_000_000_000_000_000),
        };
        let summary = engine
            .start(now, &mut Effects::new(&mut store, &mut bus, &mut events))
            .unwrap();
        assert!(summary.recovered && summary.unknown_logs == 0, "{summary:?}");
        TakenOver {
            engine,
            store,
            woken,
            tickets: 1 << 40,
        }
    }

    pub fn close(mut self) {
        self.store.close().unwrap();
    }

    pub fn subjects(&self) -> &Subjects {
        self.engine.subjects()
    }

    pub fn channel_count(&self) -> usize {
        self.engine.server_snapshot().channels
    }

    /// ID and heartbeat inbox.
    pub fn clients(&self) -> Vec<(String, String)> {
        let page = self.engine.clients_page(0, usize::MAX, false);
        page.items
            .into_iter()
            .map(|client| (client.id, client.heartbeat_inbox))
            .collect()
    }

    pub fn subscriptions(&self, channel: &str) -> Vec<Subscription> {
        let channel = self.engine.channel(channel.as_bytes(), true).unwrap();
        let shown = channel.subscriptions.into_iter().map(|shown| Subscription {
            durable: shown.durable_name,
            queue: shown.queue_name,
            client: shown.client_id,
            inbox: shown.inbox,
            ack_inbox: shown.ack_inbox,
            is_offline: shown.is_offline,
            max_in_flight: shown.max_in_flight,
            ack_wait: shown.ack_wait,
            last_sent: shown.last_sent,
            pending: shown.pending_count,
        });
        shown.collect()
    }

    /// All messages of a channel, read from the disk.
    pub fn messages(&mut self, channel: &str) -> Vec<Message> {
        let stored = self.engine.stored(channel.as_bytes()).unwrap();
        let mut found = Vec::new();
        let mut from = stored.first;
        while from > 0 && from <= stored.last {
            self.tickets += 1;
            self.store.read(ReadRequest {
                ticket: Ticket(self.tickets),
                channel: stored.channel,
                from,
                messages_max: 100,
                bytes_max: 1 << 20,
            });
            let messages = self.await_completion(|completion| match completion {
                Completion::Read { messages, .. } => Some(messages.clone().unwrap()),
                _ => None,
            });
            for message in messages.iter() {
                let body = MsgProto::decode(message.body).unwrap();
                assert_eq!(
                    (body.sequence, &body.subject[..]),
                    (message.sequence, channel.as_bytes())
                );
                from = message.sequence + 1;
                found.push(Message {
                    sequence: body.sequence,
                    timestamp: body.timestamp,
                    reply: body.reply.to_vec(),
                    data: body.data.to_vec(),
                });
            }
        }
        found
    }

    /// First and last sequence of a channel.
    pub fn bounds(&self, channel: &str) -> (u64, u64) {
        let stored = self.engine.stored(channel.as_bytes()).unwrap();
        (stored.first, stored.last)
    }

    /// The sequence at which a start by time begins.
    pub fn seek(&mut self, channel: &str, time: i64) -> u64 {
        let stored = self.engine.stored(channel.as_bytes()).unwrap();
        self.tickets += 1;
        match self.store.seek(Ticket(self.tickets), stored.channel, time) {
            Seek::Found(sequence) => sequence,
            Seek::Reading => self.await_completion(|completion| match completion {
                Completion::Sought { sequence, .. } => Some(sequence.clone().unwrap()),
                _ => None,
            }),
        }
    }

    fn await_completion<T>(&mut self, wanted: impl Fn(&Completion) -> Option<T>) -> T {
        loop {
            let mut completions = Vec::new();
            self.store.submit();
            self.store.poll(&mut completions);
            if let Some(commit) = self.store.take_commit() {
                commit();
            }
            if let Some(found) = completions.iter().find_map(&wanted) {
                return found;
            }
            let _ = self.woken.recv_timeout(Duration::from_secs(1));
        }
    }
}

/// Files of nobody's stay where they are.
fn is_strays(line: &str) -> bool {
    line.ends_with(" is not part of the journal")
}

/// The subscriptions that a channel has after a start of the original (§1.3, §5.6 of the protocol), of those that were written down.
pub fn expected(written: &[Value], last: u64) -> Vec<Subscription> {
    let mut all: Vec<(String, Subscription)> = written
        .iter()
        .filter(|one| one["status"] == "online" || one["status"] == "offline")
        .map(|one| (one["kind"].as_str().unwrap().to_owned(), subscription(one, last)))
        .collect();
    // Of durables with one name there is one: the one that is served, or the later.
    let mut durables: BTreeMap<(String, String), Subscription> = BTreeMap::new();
    all.retain(|(kind, one)| {
        if kind != "durable" {
            return true;
        }
        let key = (one.client.clone(), one.durable.clone());
        if durables
            .get(&key)
            .is_none_or(|other| other.is_offline || !one.is_offline)
        {
            durables.insert(key, one.clone());
        }
        false
    });
    // Of a durable group that nobody serves there is one record: the one that is farthest.
    let mut groups: BTreeMap<String, Vec<Subscription>> = BTreeMap::new();
    all.retain(|(kind, one)| {
        let is_group = kind == "durable_queue" || kind == "queue";
        if is_group {
            groups.entry(one.queue.clone()).or_default().push(one.clone());
        }
        !is_group
    });
    let mut subscriptions: Vec<Subscription> = all
        .into_iter()
        .map(|(_, one)| one)
        .chain(durables.into_values())
        .collect();
    for members in groups.into_values() {
        let farthest = members.iter().map(|one| one.last_sent).max().unwrap_or(0);
        let mut online: Vec<Subscription> = members.iter().filter(|one| !one.is_offline).cloned().collect();
        // The group is where its record is, also when no member is that far.
        match online.iter().map(|one| one.last_sent).max() {
            None => subscriptions.extend(members.into_iter().rev().max_by_key(|one| one.last_sent)),
            Some(of_members) => {
                let last = online.last_mut().filter(|_| of_members < farthest);
                last.into_iter().for_each(|one| one.last_sent = farthest);
                subscriptions.extend(online);
            }
        }
    }
    subscriptions.sort();
    subscriptions
}

fn subscription(one: &Value, last: u64) -> Subscription {
    let text = |key: &str| one[key].as_str().unwrap().to_owned();
    let number = |key: &str| one[key].as_u64().unwrap();
    let ranges = one["pending_ranges"].as_array().unwrap();
    let pending: u64 = ranges
        .iter()
        .map(|range| {
            let (first, to) = (range[0].as_u64().unwrap(), range[1].as_u64().unwrap().min(last));
            (to + 1).saturating_sub(first)
        })
        .sum();
    Subscription {
        durable: text("durable_name"),
        queue: text("queue_group"),
        client: text("client_id"),
        inbox: text("inbox"),
        ack_inbox: text("ack_inbox"),
        is_offline: one["status"] == "offline",
        max_in_flight: usize::try_from(number("max_in_flight")).unwrap(),
        ack_wait: i32::try_from(number("ack_wait_seconds")).unwrap(),
        last_sent: number("last_sent").min(last),
        pending: usize::try_from(pending).unwrap(),
    }
}
