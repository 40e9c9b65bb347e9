//! The state in words for another server (`export`): pure reads.

use std::ops::Bound;

use super::Engine;
use crate::export::{ExportedChannel, ExportedSubscription, merge};
use crate::portable::{PortableClient, PortableSubscription};
use crate::registry::keys::{GroupKey, SubscriptionKey};
use crate::registry::subscription::Phase;

impl Engine {
    /// Clients by name.
    pub fn exported_clients(&self) -> impl Iterator<Item = PortableClient<'_>> {
        self.clients.from(Bound::Unbounded).map(|(_, key)| {
            let fact = self.clients[key].fact();
            PortableClient {
                name: &fact.name,
                heartbeat_inbox: &fact.heartbeat_inbox,
                connection_id: &fact.conn_id,
                protocol: fact.protocol,
                ping_interval: fact.ping_interval,
                ping_max_out: fact.ping_max_out,
            }
        })
    }

    /// Channels in the byte order of their names.
    pub fn exported_channels(&self) -> impl Iterator<Item = ExportedChannel<'_>> {
        self.channels
            .between(Bound::Unbounded, Bound::Unbounded)
            .map(|(name, key)| {
                let channel = &self.channels[key];
                let log = channel.log();
                ExportedChannel {
                    id: channel.id(),
                    name,
                    first: log.first(),
                    last: log.last(),
                    messages: log.messages(),
                    bytes: log.bytes(),
                    last_timestamp: log.last_timestamp(),
                    lost: log.lost().ranges(),
                }
            })
    }

    /// Subscriptions of a channel in the order in which they were made; none when there is no such channel.
    pub fn exported_subscriptions(&self, channel: &[u8]) -> Vec<ExportedSubscription<'_>> {
        let Some(channel) = self.channels.find(channel) else {
            return Vec::new();
        };
        let channel = &self.channels[channel];
        let groups: Vec<GroupKey> = channel.groups().collect();
        let mut keys: Vec<(u64, SubscriptionKey)> = Vec::new();
        let of_groups = groups
            .iter()
            .flat_map(|group| self.groups[*group].members().iter().chain(self.groups[*group].shadow()));
        keys.extend(
            channel
                .plain()
                .chain(channel.durables())
                .chain(of_groups)
                .map(|key| (self.subscriptions[key].number(), key)),
        );
        keys.sort_unstable_by_key(|(number, _)| *number);
        // A durable that is served is in two lists.
        keys.dedup_by_key(|(number, _)| *number);
        let mut exported: Vec<_> = keys.iter().map(|(_, key)| self.exported_subscription(*key)).collect();
        for group in groups {
            self.hand_over(group, &keys, &mut exported);
        }
        exported
    }

    fn exported_subscription(&self, key: SubscriptionKey) -> ExportedSubscription<'_> {
        let subscription = &self.subscriptions[key];
        let is_online = matches!(subscription.phase(), Phase::Unconfirmed | Phase::Active);
        let is_place = !is_online && subscription.group().is_some();
        ExportedSubscription {
            subscription: PortableSubscription {
                client: if is_place { b"" } else { subscription.client_name() },
                inbox: subscription.inbox(),
                ack_inbox: subscription.ack_inbox().subject(),
                durable: subscription.durable(),
                queue: subscription.queue(),
                max_in_flight: i32::try_from(subscription.window.max()).unwrap_or(i32::MAX),
                ack_wait: subscription.ack_wait_units(),
                last_sent: subscription.cursor.last_sent(),
                is_online,
            },
            pending: subscription.window.pending().runs_from(0).collect(),
        }
    }

    /// What members of a group still hold that have left goes to one who is there, and one is as far as the group.
    fn hand_over(&self, group: GroupKey, keys: &[(u64, SubscriptionKey)], exported: &mut [ExportedSubscription<'_>]) {
        let group = &self.groups[group];
        let heirs = group.members().iter().chain(group.shadow());
        let Some(heir) = heirs.min_by_key(|key| self.subscriptions[*key].number()) else {
            return;
        };
        let place =
            |key: SubscriptionKey| keys.binary_search_by_key(&self.subscriptions[key].number(), |(number, _)| *number);
        let others = group.members().iter().filter_map(|key| place(key).ok());
        let farthest = others
            .map(|place| exported[place].subscription.last_sent)
            .max()
            .unwrap_or(0);
        let Ok(heir) = place(heir) else { return };
        let heir = &mut exported[heir];
        for departed in group.departing() {
            let departed = &self.subscriptions[departed];
            merge(&mut heir.pending, departed.window.pending().runs_from(0));
        }
        if farthest < group.cursor.last_sent() {
            let last_sent = &mut heir.subscription.last_sent;
            *last_sent = (*last_sent).max(group.cursor.last_sent());
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::facts::{
        CHANNEL, CLIENT, ChannelFact, ClientFact, PROGRESS, ProgressFact, STATE_ACTIVE, STATE_DEPARTING, STATE_OFFLINE,
        SUBSCRIPTION, SubscriptionFact, push_run,
    };
    use crate::ids::ChannelId;
    use crate::options::Options;
    use crate::time::{Now, Timestamp};
    use crate::world::World;

    type Run = (u64, u64);

    /// An engine that has started on a channel with ten messages and a client, with these members of a durable queue group: state, last
    /// sent, unacknowledged.
    fn started(members: &[(u32, u64, &[Run])]) -> Engine {
        let mut engine = Engine::new(Options::default());
        let mut recover = |kind, body: Vec<u8>| engine.recover_fact(kind, &body).expect("a fact");
        let channel = ChannelFact {
            id: 1,
            name: "foo".into(),
            ..ChannelFact::default()
        };
        recover(CHANNEL, channel.encode_to_vec());
        let client = ClientFact {
            name: "me".into(),
            heartbeat_inbox: "hb".into(),
            ..ClientFact::default()
        };
        recover(CLIENT, client.encode_to_vec());
        for (number, (state, last_sent, pending)) in (1..).zip(members) {
            let subscription = SubscriptionFact {
                number,
                channel: 1,
                client: "me".into(),
                inbox: format!("inbox.{number}").into(),
                ack_inbox: number,
                durable: "dur".into(),
                queue: "q".into(),
                max_in_flight: 10,
                ack_wait_units: 30,
                last_sent: *last_sent,
                state: *state,
                ack_subject: format!("ack.{number}").into(),
            };
            recover(SUBSCRIPTION, subscription.encode_to_vec());
            let (mut sent, mut end) = (Vec::new(), 0);
            pending.iter().for_each(|run| push_run(&mut sent, &mut end, *run));
            let progress = ProgressFact {
                number,
                last_sent: *last_sent,
                sent,
                ..ProgressFact::default()
            };
            recover(PROGRESS, progress.encode_to_vec());
        }
        engine.recover_channel(ChannelId(1), 1, 10, 100, 5);
        let now = Now {
            monotonic: 1,
            wall: Timestamp(10),
        };
        World::new()
            .act(|effects| engine.start(now, effects))
            .expect("it starts");
        engine
    }

    fn told(engine: &Engine) -> Vec<(&[u8], u64, bool, Vec<Run>)> {
        let exported = engine.exported_subscriptions(b"foo").into_iter();
        exported
            .map(|one| (one.subscription, one.pending))
            .map(|(one, pending)| (one.client, one.last_sent, one.is_online, pending))
            .collect()
    }

    #[test]
    fn what_a_departed_member_held_goes_to_one_who_is_there() {
        let engine = started(&[
            (STATE_DEPARTING, 9, &[(2, 3), (9, 9)]),
            (STATE_ACTIVE, 7, &[(4, 4), (7, 7)]),
            (STATE_ACTIVE, 8, &[(8, 8)]),
        ]);
        let expected: [(&[u8], _, _, _); 2] = [
            // Somebody is as far as the group: nothing is sent as new that was sent before.
            (b"me", 9, true, vec![(2, 4), (7, 7), (9, 9)]),
            (b"me", 8, true, vec![(8, 8)]),
        ];
        assert_eq!(told(&engine), expected);
    }

    #[test]
    fn the_place_of_a_group_has_no_owner_and_what_is_unacknowledged() {
        let engine = started(&[(STATE_DEPARTING, 5, &[(5, 5)]), (STATE_OFFLINE, 6, &[(6, 6)])]);
        let expected: [(&[u8], _, _, _); 1] = [(b"", 6, false, vec![(5, 6)])];
        assert_eq!(told(&engine), expected);
        let channel = engine.exported_channels().next().expect("a channel");
        assert_eq!((channel.name, channel.first, channel.last), (&b"foo"[..], 1, 10));
        let client = engine.exported_clients().next().expect("a client");
        assert_eq!((client.name, client.heartbeat_inbox), (&b"me"[..], &b"hb"[..]));
        assert!(engine.exported_subscriptions(b"bar").is_empty());
    }
}
