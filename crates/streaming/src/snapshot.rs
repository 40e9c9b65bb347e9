//! What monitoring sees (`streaming-protocol.md` §8.3 to §8.6): pure reads, owned results.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::state::{Channel, ChannelKey, ClientKey, Phase, SubscriptionKey};

/// Numbers of §8.3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSnapshot {
    /// The service's name.
    pub cluster_id: String,
    /// Registered clients.
    pub clients: usize,
    /// Active ones, offline durables, and one per offline durable group.
    pub subscriptions: usize,
    /// Channels.
    pub channels: usize,
    /// Messages in all channels.
    pub total_messages: u64,
    /// Their bytes, counted as §6.1 says.
    pub total_bytes: u64,
    /// Publishes that decoded, refused ones included.
    pub in_messages: u64,
    /// Their encoded size.
    pub in_bytes: u64,
    /// Messages sent, redeliveries included.
    pub out_messages: u64,
    /// Their encoded size.
    pub out_bytes: u64,
}

/// One client (§8.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSnapshot {
    /// Its ID.
    pub id: String,
    /// Its heartbeat inbox.
    pub heartbeat_inbox: String,
    /// Active subscriptions.
    pub subscriptions_count: usize,
    /// By channel; empty unless asked for.
    pub subscriptions: BTreeMap<String, Vec<SubscriptionSnapshot>>,
}

/// One channel (§8.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelSnapshot {
    /// Its name.
    pub name: String,
    /// Messages in it.
    pub messages: u64,
    /// Their bytes, counted as §6.1 says.
    pub bytes: u64,
    /// First sequence; `last + 1` when all messages are gone, 0 when there never was one.
    pub first_sequence: u64,
    /// Last sequence.
    pub last_sequence: u64,
    /// Subscriptions, offline ones included.
    pub subscriptions_count: usize,
    /// Empty unless asked for.
    pub subscriptions: Vec<SubscriptionSnapshot>,
}

/// One subscription (§8.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionSnapshot {
    /// The (last) owner's ID.
    pub client_id: String,
    /// Delivery inbox.
    pub inbox: String,
    /// Ack inbox.
    pub ack_inbox: String,
    /// Durable name of a plain durable, else empty.
    pub durable_name: String,
    /// Queue group, `<durable>:<group>` when it is durable, else empty.
    pub queue_name: String,
    /// Whether its state survives its owner.
    pub is_durable: bool,
    /// Whether it has no owner.
    pub is_offline: bool,
    /// MaxInflight.
    pub max_in_flight: usize,
    /// AckWait in the request's unit, seconds.
    pub ack_wait: i32,
    /// Highest sequence sent.
    pub last_sent: u64,
    /// Messages sent and not acknowledged.
    pub pending_count: usize,
    /// Whether that is as many as it may have.
    pub is_stalled: bool,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// How many there are in all.
    pub total: usize,
    /// Those of the page.
    pub items: Vec<T>,
}

impl Engine {
    /// The server's numbers, at the same cost however many channels there are.
    pub fn server_snapshot(&self) -> ServerSnapshot {
        self.assert_totals();
        let overhead = u64::from(self.options.message_overhead).saturating_mul(self.totals.messages);
        ServerSnapshot {
            cluster_id: self.options.cluster_id.clone(),
            clients: self.clients.len(),
            channels: self.channels.len(),
            in_messages: self.totals.in_messages,
            in_bytes: self.totals.in_bytes,
            out_messages: self.totals.out_messages,
            out_bytes: self.totals.out_bytes,
            subscriptions: self.totals.records,
            total_messages: self.totals.messages,
            total_bytes: self.totals.bytes.saturating_add(overhead),
        }
    }

    /// The running sums are those of a walk over all channels; looked at in debug builds only.
    fn assert_totals(&self) {
        if cfg!(debug_assertions) {
            let channels = || self.channels.iter().map(|(_, channel)| channel);
            let sums = (
                channels().map(Channel::messages).sum::<u64>(),
                channels().map(|channel| channel.bytes).sum::<u64>(),
                channels().map(|channel| channel.records).sum::<usize>(),
            );
            let totals = (self.totals.messages, self.totals.bytes, self.totals.records);
            assert_eq!(sums, totals, "messages, bytes and records of all channels");
        }
    }

    /// Clients by ID.
    pub fn clients_page(&self, offset: usize, limit: usize, with_subscriptions: bool) -> Page<ClientSnapshot> {
        let items = self.client_names.values().skip(offset).take(limit);
        Page {
            total: self.client_names.len(),
            items: items
                .map(|key| self.client_snapshot(*key, with_subscriptions))
                .collect(),
        }
    }

    /// One client.
    pub fn client(&self, id: &[u8], with_subscriptions: bool) -> Option<ClientSnapshot> {
        let key = *self.client_names.get(id)?;
        Some(self.client_snapshot(key, with_subscriptions))
    }

    /// Channels by name, ignoring case.
    pub fn channels_page(&self, offset: usize, limit: usize, with_subscriptions: bool) -> Page<ChannelSnapshot> {
        let items = self.channel_folds.values().skip(offset).take(limit);
        Page {
            total: self.channel_folds.len(),
            items: items
                .map(|key| self.channel_snapshot(*key, with_subscriptions))
                .collect(),
        }
    }

    /// One channel.
    pub fn channel(&self, name: &[u8], with_subscriptions: bool) -> Option<ChannelSnapshot> {
        self.find_channel(name)
            .map(|key| self.channel_snapshot(key, with_subscriptions))
    }

    fn client_snapshot(&self, key: ClientKey, with_subscriptions: bool) -> ClientSnapshot {
        let client = &self.clients[key.0];
        let mut subscriptions: BTreeMap<String, Vec<SubscriptionSnapshot>> = BTreeMap::new();
        if with_subscriptions {
            for &subscription in client.subscriptions.values() {
                let channel = text(&self.channels[self.subscriptions[subscription.0].channel.0].name);
                subscriptions
                    .entry(channel)
                    .or_default()
                    .push(self.subscription_snapshot(subscription));
            }
        }
        ClientSnapshot {
            id: text(&client.name),
            heartbeat_inbox: text(&client.heartbeat_inbox),
            subscriptions_count: client.subscriptions.len(),
            subscriptions,
        }
    }

    fn channel_snapshot(&self, key: ChannelKey, with_subscriptions: bool) -> ChannelSnapshot {
        let channel = &self.channels[key.0];
        let mut subscriptions = Vec::new();
        if with_subscriptions {
            let offline = |key: &&SubscriptionKey| self.subscriptions[key.0].client.is_none();
            subscriptions.extend(channel.plain.values().map(|key| self.subscription_snapshot(*key)));
            let durables = channel.durables.values().filter(offline);
            subscriptions.extend(durables.map(|key| self.subscription_snapshot(*key)));
            for group in channel.groups.values() {
                let group = &self.groups[group.0];
                let records = group.members.iter().chain(&group.shadow);
                subscriptions.extend(records.map(|key| self.subscription_snapshot(*key)));
            }
        }
        ChannelSnapshot {
            name: text(&channel.name),
            messages: channel.messages(),
            bytes: self.counted_bytes(key),
            first_sequence: channel.first,
            last_sequence: channel.last,
            subscriptions_count: channel.records,
            subscriptions,
        }
    }

    fn subscription_snapshot(&self, key: SubscriptionKey) -> SubscriptionSnapshot {
        let subscription = &self.subscriptions[key.0];
        let group = subscription.group.map(|group| &self.groups[group.0]);
        SubscriptionSnapshot {
            client_id: text(&subscription.client_name),
            inbox: text(&subscription.inbox),
            ack_inbox: format!("_INBOX.{}.{}", self.inbox_prefix, subscription.ack_inbox),
            durable_name: if group.is_none() {
                text(&subscription.durable)
            } else {
                String::new()
            },
            queue_name: group.map_or(String::new(), |group| text(&group.name)),
            is_durable: subscription.is_durable(),
            is_offline: subscription.phase == Phase::Offline,
            max_in_flight: subscription.max_in_flight,
            ack_wait: subscription.ack_wait_units,
            last_sent: subscription.last_sent,
            pending_count: subscription.pending.len(),
            is_stalled: subscription.is_stalled(),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
