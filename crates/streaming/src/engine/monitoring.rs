//! Answers for monitoring: pure reads of the state, whose words are in `snapshot`.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};

use bytes::Bytes;

use super::Engine;
use crate::channel_limits::ChannelLimits;
use crate::registry::channel::Channel;
use crate::registry::keys::{ChannelKey, ClientKey, SubscriptionKey};
use crate::registry::subscription::Phase;
use crate::snapshot::{
    ChannelSnapshot, ClientSnapshot, Counters, Page, PausedSnapshot, ServerSnapshot, Stored, SubscriptionSnapshot,
    Survey, SurveySlice, SurveyedChannel, SurveyedSubscription,
};
use crate::time::Now;

impl<T> Page<T> {
    /// The first `limit` of the entries that are left of a list of `total`.
    fn of<'a, K>(
        total: usize,
        mut entries: impl Iterator<Item = (&'a Bytes, K)>,
        limit: usize,
        show: impl Fn(K) -> T,
    ) -> Page<T> {
        let (mut items, mut last) = (Vec::new(), None);
        for (name, key) in entries.by_ref().take(limit) {
            items.push(show(key));
            last = Some(name);
        }
        let next = last.filter(|_| entries.next().is_some()).map(|name| name.to_vec());
        Page { total, items, next }
    }
}

impl Engine {
    /// The server's numbers, at the same cost however many channels there are.
    pub fn server_snapshot(&self) -> ServerSnapshot {
        let sums = self.channels.sums();
        let overhead = u64::from(self.options.message_overhead).saturating_mul(sums.messages);
        let (in_messages, in_bytes) = self.tally.in_total();
        let (out_messages, out_bytes) = self.tally.out_total();
        ServerSnapshot {
            cluster_id: self.options.cluster_id.clone(),
            clients: self.clients.len(),
            channels: self.channels.len(),
            in_messages,
            in_bytes,
            out_messages,
            out_bytes,
            subscriptions: sums.records,
            total_messages: sums.messages,
            total_bytes: sums.bytes.saturating_add(overhead),
        }
    }

    /// Clients by ID.
    pub fn clients_page(&self, offset: usize, limit: usize, with_subscriptions: bool) -> Page<ClientSnapshot> {
        let entries = self.clients.from(Bound::Unbounded).skip(offset);
        Page::of(self.clients.len(), entries, limit, |key| {
            self.client_snapshot(key, with_subscriptions)
        })
    }

    /// One client.
    pub fn client(&self, id: &[u8], with_subscriptions: bool) -> Option<ClientSnapshot> {
        let key = self.clients.find(id)?;
        Some(self.client_snapshot(key, with_subscriptions))
    }

    /// Channels in the byte order of their names (§8.1).
    pub fn channels_page(&self, offset: usize, limit: usize, with_subscriptions: bool) -> Page<ChannelSnapshot> {
        let entries = self.channels.between(Bound::Unbounded, Bound::Unbounded).skip(offset);
        Page::of(self.channels.len(), entries, limit, |key| {
            self.channel_snapshot(key, with_subscriptions)
        })
    }

    /// Channels in the byte order of their names, those behind a name.
    pub fn channels_after(&self, name: &[u8], limit: usize, with_subscriptions: bool) -> Page<ChannelSnapshot> {
        let entries = self.channels.between(Bound::Excluded(name), Bound::Unbounded);
        Page::of(self.channels.len(), entries, limit, |key| {
            self.channel_snapshot(key, with_subscriptions)
        })
    }

    /// Channels whose names begin with `prefix`, in byte order: those behind `after` (from the first one on for `None`),
    /// `visits` of them at most. The total is how many were looked at; told of are those at the `wanted` places, counted from
    /// the first that was.
    pub fn channels_beginning(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        visits: usize,
        wanted: Range<usize>,
    ) -> Page<ChannelSnapshot> {
        let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let rest = self.channels.between(start, Bound::Unbounded);
        let mut rest = rest.take_while(|(name, _)| name.starts_with(prefix));
        let (mut items, mut total, mut last) = (Vec::new(), 0, None);
        for (name, key) in rest.by_ref().take(visits) {
            if wanted.contains(&total) {
                items.push(self.channel_snapshot(key, false));
            }
            (total, last) = (total + 1, Some(name));
        }
        let next = last.filter(|_| rest.next().is_some()).map(|name| name.to_vec());
        Page { total, items, next }
    }

    /// Where the durable messages of a channel are.
    pub fn stored(&self, name: &[u8]) -> Option<Stored> {
        let channel = &self.channels[self.channels.find(name)?];
        Some(Stored {
            channel: channel.id(),
            first: channel.log().first(),
            last: channel.log().durable_last(),
        })
    }

    /// Clients by ID, those behind an ID.
    pub fn clients_after(&self, id: &[u8], limit: usize, with_subscriptions: bool) -> Page<ClientSnapshot> {
        let entries = self.clients.from(Bound::Excluded(id));
        Page::of(self.clients.len(), entries, limit, |key| {
            self.client_snapshot(key, with_subscriptions)
        })
    }

    /// What has happened since the start of the process, beside what §8.3 counts.
    pub fn counters(&self) -> Counters {
        Counters {
            redelivered_messages: self.tally.redelivered(),
            failed_heartbeats: self.tally.heartbeats_failed(),
            lost_clients: self.tally.clients_lost(),
            damaged_messages: self.damaged,
            passed_over: self.tally.passed_over(),
            bus_up: self.way.is_up(),
        }
    }

    /// Sums over the channels behind `after` (all of them for `None`) in the byte order of their names, as many as the
    /// slice allows, and details of those that are `wanted`.
    pub fn survey(
        &self,
        now: Now,
        after: Option<&[u8]>,
        slice: SurveySlice,
        mut wanted: impl FnMut(&[u8]) -> bool,
    ) -> Survey {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut survey = Survey::default();
        let mut visits = 0;
        for (name, key) in self.channels.between(start, Bound::Unbounded) {
            if visits >= slice.visits {
                return survey;
            }
            survey.next = Some(name.to_vec());
            let channel = &self.channels[key];
            visits += 1 + channel.records();
            survey.channels += 1;
            survey.messages += channel.log().messages();
            let ahead = u64::try_from(channel.log().last_timestamp().saturating_sub(now.wall.0)).unwrap_or(0);
            survey.times_ahead_ns = survey.times_ahead_ns.max(ahead);
            survey.bytes = survey.bytes.saturating_add(self.counted_bytes(key));
            survey.subscriptions += channel.records();
            for key in self.records(channel) {
                self.survey_subscription(now, key, &mut survey);
            }
            if !wanted(name) {
                continue;
            }
            if survey.details.len() < slice.channels {
                self.survey_details(now, key, slice.subscriptions, &mut survey);
            } else {
                survey.channels_omitted += 1;
                survey.subscriptions_omitted += channel.records();
            }
        }
        survey.next = None;
        survey
    }

    fn survey_subscription(&self, now: Now, key: SubscriptionKey, survey: &mut Survey) {
        let subscription = &self.subscriptions[key];
        survey.pending += subscription.window.pending().len() as u64;
        survey.offline += usize::from(subscription.phase() == Phase::Offline);
        survey.stalled += usize::from(subscription.phase() == Phase::Active && subscription.is_stalled());
        survey.paused += usize::from(self.halt(subscription).is_some());
        let oldest = self.oldest_unacknowledged(now, subscription);
        survey.oldest_unacknowledged = survey.oldest_unacknowledged.max(oldest);
    }

    fn survey_details(&self, now: Now, key: ChannelKey, subscriptions_max: usize, survey: &mut Survey) {
        let told: usize = survey.details.iter().map(|channel| channel.subscriptions.len()).sum();
        let room = subscriptions_max.saturating_sub(told);
        let mut records = self.records(&self.channels[key]);
        let subscriptions = records.by_ref().take(room).map(|key| self.surveyed(now, key)).collect();
        let details = SurveyedChannel {
            shown: self.channel_snapshot(key, false),
            subscriptions,
        };
        survey.subscriptions_omitted += records.count();
        survey.details.push(details);
    }

    fn surveyed(&self, now: Now, key: SubscriptionKey) -> SurveyedSubscription {
        let subscription = &self.subscriptions[key];
        let group = subscription.group().map(|group| &self.groups[group]);
        let cursor = group.map_or(&subscription.cursor, |group| &group.cursor);
        let channel = &self.channels[subscription.channel()];
        SurveyedSubscription {
            shown: self.subscription_snapshot(key),
            messages_waiting: channel.log().waiting_from(cursor.next(channel.log().first())),
            redeliveries: subscription.redeliveries(),
            oldest_unacknowledged: self.oldest_unacknowledged(now, subscription),
        }
    }

    /// The subscription records of a channel in the order of §8.6: plain, offline durables, queue members and shadows.
    pub(super) fn records<'a>(&'a self, channel: &'a Channel) -> impl Iterator<Item = SubscriptionKey> + 'a {
        let offline = |key: &SubscriptionKey| self.subscriptions[*key].client().is_none();
        let durables = channel.durables().filter(offline);
        let groups = channel.groups().map(|group| &self.groups[group]);
        let members = groups.flat_map(|group| group.members().iter().chain(group.shadow()));
        channel.plain().chain(durables).chain(members)
    }

    /// One channel.
    pub fn channel(&self, name: &[u8], with_subscriptions: bool) -> Option<ChannelSnapshot> {
        self.channels
            .find(name)
            .map(|key| self.channel_snapshot(key, with_subscriptions))
    }

    fn client_snapshot(&self, key: ClientKey, with_subscriptions: bool) -> ClientSnapshot {
        let client = &self.clients[key];
        let mut subscriptions: BTreeMap<String, Vec<SubscriptionSnapshot>> = BTreeMap::new();
        if with_subscriptions {
            for subscription in client.subscriptions() {
                let channel = text(self.channels[self.subscriptions[subscription].channel()].name());
                subscriptions
                    .entry(channel)
                    .or_default()
                    .push(self.subscription_snapshot(subscription));
            }
        }
        ClientSnapshot {
            id: text(&client.fact().name),
            heartbeat_inbox: text(&client.fact().heartbeat_inbox),
            subscriptions_count: client.subscriptions().len(),
            subscriptions,
        }
    }

    fn channel_snapshot(&self, key: ChannelKey, with_subscriptions: bool) -> ChannelSnapshot {
        let channel = &self.channels[key];
        let mut subscriptions = Vec::new();
        if with_subscriptions {
            subscriptions.extend(self.records(channel).map(|key| self.subscription_snapshot(key)));
        }
        ChannelSnapshot {
            name: text(channel.name()),
            messages: channel.log().messages(),
            bytes: self.counted_bytes(key),
            first_sequence: channel.log().first(),
            last_sequence: channel.log().last(),
            subscriptions_count: channel.records(),
            limits: *self.limits_of(key),
            limits_set: channel.own_limits().map_or_else(ChannelLimits::default, |own| own.set),
            subscriptions,
        }
    }

    fn subscription_snapshot(&self, key: SubscriptionKey) -> SubscriptionSnapshot {
        let subscription = &self.subscriptions[key];
        let group = subscription.group().map(|group| &self.groups[group]);
        SubscriptionSnapshot {
            client_id: text(subscription.client_name()),
            inbox: text(subscription.inbox()),
            ack_inbox: text(subscription.ack_inbox().subject()),
            durable_name: if group.is_none() {
                text(subscription.durable())
            } else {
                String::new()
            },
            queue_name: group.map_or(String::new(), |group| text(group.name())),
            is_durable: subscription.is_durable(),
            is_offline: subscription.phase() == Phase::Offline,
            max_in_flight: subscription.window.max(),
            ack_wait: subscription.ack_wait_units(),
            last_sent: subscription.cursor.last_sent(),
            pending_count: subscription.window.pending().len(),
            is_stalled: subscription.is_stalled(),
            paused: self.halt(subscription).map(|halt| PausedSnapshot {
                by: text(&halt.by),
                since: halt.since,
            }),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
