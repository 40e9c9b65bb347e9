//! Catching up from disk: what is read is what can be taken.

mod world;

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{Ack, ConnectRequest, PubMsg, SubscriptionRequest};
use seaway_streaming::{ChannelId, Engine, Input, Now, Options, Service, Timestamp};
use world::{Output, World};

const NOW: Now = Now {
    monotonic: 1_000_000_000,
    wall: Timestamp(1_700_000_000_000_000_000),
};

struct Server {
    world: World,
    engine: Engine,
}

impl Server {
    /// A channel `foo` with so many messages, none of which is in memory.
    fn with_cold_messages(count: u64) -> Server {
        let mut world = World {
            record_events: false,
            ..World::new()
        };
        let (engine, _) = world.start(Options::default(), NOW).expect("an empty store starts");
        let mut server = Server { world, engine };
        let connect = ConnectRequest {
            client_id: "me".into(),
            heartbeat_inbox: "hb".into(),
            ..ConnectRequest::default()
        };
        server.request(Service::Connect, &connect.encode_to_vec());
        for _ in 0..count {
            let publish = PubMsg {
                client_id: "me".into(),
                guid: "g".into(),
                subject: "foo".into(),
                data: vec![7; 100].into(),
                ..PubMsg::default()
            };
            server.request(Service::Publish, &publish.encode_to_vec());
        }
        server.world.cold.insert(ChannelId(1), count);
        server
    }

    fn request(&mut self, service: Service, payload: &[u8]) {
        let input = Input::Request {
            service,
            reply: b"reply",
            payload,
        };
        self.world.run(&mut self.engine, NOW, input);
    }

    fn subscribe(&mut self, inbox: &'static str, queue: &'static str, max_in_flight: i32) {
        let request = SubscriptionRequest {
            client_id: "me".into(),
            subject: "foo".into(),
            inbox: inbox.into(),
            q_group: queue.into(),
            max_in_flight,
            ack_wait_in_secs: 30,
            start_position: 4,
            ..SubscriptionRequest::default()
        };
        self.request(Service::Subscribe, &request.encode_to_vec());
    }

    /// Acknowledges what comes, as it comes, until nothing more does. Subscriptions are called by their number. Gives
    /// back how many messages came.
    fn acknowledge_all(&mut self) -> usize {
        let mut came = 0;
        loop {
            let outputs = std::mem::take(&mut self.world.outputs);
            let messages: Vec<(u64, u64)> = outputs
                .into_iter()
                .filter_map(|output| match output {
                    Output::Message { inbox, sequence, .. } => Some((
                        std::str::from_utf8(&inbox).expect("text").parse().expect("a number"),
                        sequence,
                    )),
                    _ => None,
                })
                .collect();
            if messages.is_empty() {
                return came;
            }
            for (subscription, sequence) in messages {
                came += 1;
                let ack = Ack {
                    subject: "foo".into(),
                    sequence,
                }
                .encode_to_vec();
                let input = Input::Ack {
                    subscription,
                    payload: &ack,
                };
                self.world.run(&mut self.engine, NOW, input);
            }
        }
    }
}

/// §5.3, §5.6: a group reads no more than its members can take, as a plain subscription does.
#[test]
fn a_group_reads_what_its_members_can_take() {
    const MESSAGES: u64 = 500;
    for (members, max_in_flight) in [(1, 1), (2, 1), (3, 10)] {
        let mut plain = Server::with_cold_messages(MESSAGES);
        plain.subscribe("1", "", max_in_flight);
        assert_eq!(plain.acknowledge_all(), MESSAGES as usize);

        let mut group = Server::with_cold_messages(MESSAGES);
        for inbox in ["1", "2", "3"].into_iter().take(members) {
            group.subscribe(inbox, "workers", max_in_flight);
        }
        assert_eq!(group.acknowledge_all(), MESSAGES as usize);
        let (plain, group) = (plain.world.messages_read, group.world.messages_read);
        assert!(
            group <= 2 * plain,
            "{members} members with MaxInflight {max_in_flight}: {group} messages were read, by a plain subscription {plain}"
        );
    }
}
