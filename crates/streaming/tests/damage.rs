//! Damaged messages are passed over, stay owed, and are sent once they can be read.

mod world;

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{Ack, ConnectRequest, PubMsg, SubscriptionRequest, UnsubscribeRequest};
use seaway_streaming::{ChannelId, Engine, Input, Limits, Now, Options, Service, Timestamp, Verdict, WhyQuestion};
use world::{Output, World};

const SECOND: u64 = 1_000_000_000;
const NOW: Now = Now {
    monotonic: SECOND,
    wall: Timestamp(1_700_000_000_000_000_000),
};

struct Server {
    world: World,
    engine: Engine,
    now: Now,
}

/// Subscription, sequence, redelivery count.
type Came = Vec<(u64, u64, u32)>;

impl Server {
    /// A channel `foo` with so many messages, none of which is in memory.
    fn with_cold_messages(count: u64) -> Server {
        Server::with_options(options(), count)
    }

    fn with_options(options: Options, count: u64) -> Server {
        let mut world = World::new();
        let (engine, _) = world.start(options, NOW).expect("an empty store starts");
        let mut server = Server {
            world,
            engine,
            now: NOW,
        };
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
        self.world.run(&mut self.engine, self.now, input);
    }

    fn subscribe(&mut self, inbox: &'static str, durable: &'static str, queue: &'static str, max_in_flight: i32) {
        let request = SubscriptionRequest {
            client_id: "me".into(),
            subject: "foo".into(),
            inbox: inbox.into(),
            durable_name: durable.into(),
            q_group: queue.into(),
            max_in_flight,
            ack_wait_in_secs: 30,
            start_position: 4,
            ..SubscriptionRequest::default()
        };
        self.request(Service::Subscribe, &request.encode_to_vec());
    }

    /// What came since the last call.
    fn came(&mut self) -> Came {
        let outputs = std::mem::take(&mut self.world.outputs);
        let message = |output| match output {
            Output::Message {
                inbox, sequence, count, ..
            } => Some((
                std::str::from_utf8(&inbox).expect("text").parse().expect("a number"),
                sequence,
                count,
            )),
            _ => None,
        };
        outputs.into_iter().filter_map(message).collect()
    }

    /// Acknowledges what comes, as it comes, until nothing more does. Subscriptions are called by their number.
    fn acknowledge_all(&mut self) -> Came {
        let mut all = Vec::new();
        loop {
            let came = self.came();
            if came.is_empty() {
                return all;
            }
            for &(number, sequence, _) in &came {
                let ack = Ack {
                    subject: "foo".into(),
                    sequence,
                };
                let input = Input::Ack {
                    subscription: number,
                    payload: &ack.encode_to_vec(),
                };
                self.world.run(&mut self.engine, self.now, input);
            }
            all.extend(came);
        }
    }

    /// Lets time pass, second by second.
    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now.monotonic += SECOND;
            self.now.wall.0 += SECOND as i64;
            self.world.run(&mut self.engine, self.now, Input::Tick);
        }
    }

    fn said(&self, what: &str) -> usize {
        let is_said = |output: &&Output| matches!(output, Output::Event { text, .. } if text.contains(what));
        self.world.outputs.iter().filter(is_said).count()
    }

    fn why(&self) -> Vec<Verdict> {
        let question = WhyQuestion {
            channel: b"foo".to_vec(),
            limit: 10,
            ..WhyQuestion::default()
        };
        let report = self.engine.why(self.now, &question);
        report
            .subscriptions
            .iter()
            .map(|subscription| subscription.verdict)
            .collect()
    }
}

fn options() -> Options {
    Options {
        // Nobody answers them here.
        heartbeat_interval_ns: u64::MAX / 2,
        ..Options::default()
    }
}

fn sequences(came: &Came) -> Vec<u64> {
    came.iter().map(|(_, sequence, _)| *sequence).collect()
}

#[test]
fn damage_is_passed_over_told_once_and_looked_at_less_and_less_often() {
    let mut server = Server::with_cold_messages(20);
    server.world.damaged = (5..=14).collect();
    server.world.outputs.clear();
    server.subscribe("1", "a", "", 1);
    server.subscribe("2", "b", "", 3);
    assert_eq!(
        server.said("Messages 5 to 14 of channel \"foo\" cannot be read"),
        0,
        "not reached yet"
    );
    let mut outputs = Vec::new();
    let mut came = Vec::new();
    loop {
        let before = server.world.outputs.clone();
        let part = server.acknowledge_all();
        outputs.extend(before);
        if part.is_empty() {
            break;
        }
        came.extend(part);
    }
    for inbox in [1, 2] {
        let own: Vec<u64> = came
            .iter()
            .filter(|(to, ..)| *to == inbox)
            .map(|(_, sequence, _)| *sequence)
            .collect();
        assert_eq!(own, (1..=4).chain(15..=20).collect::<Vec<_>>(), "subscription {inbox}");
    }
    assert_eq!(server.engine.counters().damaged_messages, 10);
    assert_eq!(server.engine.counters().passed_over, 20);
    assert!(server.world.reads_of_damage <= 2, "{}", server.world.reads_of_damage);
    assert_eq!(server.why(), [Verdict::MessagesDamaged; 2]);
    // Ten minutes: the first of them has the looks after a second, two, four and so on, then one a minute.
    server.world.reads_of_damage = 0;
    server.world.outputs.clear();
    server.wait(600);
    assert_eq!(server.world.reads_of_damage, 14);
    assert_eq!(server.said("cannot be read"), 0, "it was told");
    assert_eq!(server.came(), []);
    // Mended: within the minute, and as many as may be in flight.
    server.world.damaged.clear();
    let seconds = (1..=60).find(|_| {
        server.wait(1);
        server.said("can be read again") == 1
    });
    assert!(seconds.is_some());
    server.wait(5);
    let first = server.came();
    assert_eq!(first.iter().filter(|(to, ..)| *to == 1).count(), 1, "{first:?}");
    assert!(
        first
            .iter()
            .all(|(_, sequence, count)| (5..=14).contains(sequence) && *count == 1),
        "{first:?}"
    );
    let mut mended = first.clone();
    for (number, sequence, _) in first {
        let ack = Ack {
            subject: "foo".into(),
            sequence,
        };
        let payload = &ack.encode_to_vec();
        server.world.run(
            &mut server.engine,
            server.now,
            Input::Ack {
                subscription: number,
                payload,
            },
        );
    }
    for _ in 0..30 {
        server.wait(1);
        mended.extend(server.acknowledge_all());
    }
    for inbox in [1, 2] {
        let mut own: Vec<u64> = mended
            .iter()
            .filter(|(to, ..)| *to == inbox)
            .map(|(_, s, _)| *s)
            .collect();
        own.sort_unstable();
        assert_eq!(own, (5..=14).collect::<Vec<_>>(), "subscription {inbox}");
    }
    assert_eq!(server.engine.counters().damaged_messages, 0);
    assert_eq!(server.why(), [Verdict::NothingNew; 2]);
}

#[test]
fn what_is_mended_beside_other_damage_leaves_one_timer_which_goes_with_the_channel() {
    let limits = Limits {
        max_inactivity_ns: 20 * SECOND,
        ..Limits::default()
    };
    let limited = Options {
        limits: limits.into(),
        ..options()
    };
    let mut server = Server::with_options(limited, 30);
    server.world.damaged = (1..=9).map(|tenth| 3 * tenth).collect();
    server.subscribe("1", "", "", 100);
    server.acknowledge_all();
    assert_eq!(server.engine.counters().damaged_messages, 9);
    for sequence in (1..=8).map(|tenth| 3 * tenth) {
        server.world.damaged.remove(&sequence);
        server.wait(130);
    }
    assert_eq!(server.engine.counters().damaged_messages, 1);
    server.world.reads_of_damage = 0;
    server.wait(600);
    assert!(
        server.world.reads_of_damage <= 10,
        "{} looks",
        server.world.reads_of_damage
    );
    let unsubscribe = UnsubscribeRequest {
        client_id: "me".into(),
        subject: "foo".into(),
        inbox: "1".into(),
        ..UnsubscribeRequest::default()
    };
    server.request(Service::Unsubscribe, &unsubscribe.encode_to_vec());
    server.wait(200);
    assert_eq!(server.engine.counters().damaged_messages, 0, "its channel has gone");
}

#[test]
fn a_restart_finds_out_anew_and_sends_what_was_mended() {
    for mended in [false, true] {
        let mut server = Server::with_cold_messages(20);
        server.world.damaged = [3, 4, 9].into();
        server.subscribe("1", "a", "", 2);
        server.acknowledge_all();
        let damaged = server.world.damaged.clone();
        let mut world = server.world.crash(server.world.records.len());
        world.cold.insert(ChannelId(1), 20);
        if !mended {
            world.damaged = damaged;
        }
        let mut now = server.now;
        now.wall.0 += 60 * SECOND as i64;
        let (engine, _) = world.start(options(), now).expect("it starts");
        let mut server = Server { world, engine, now };
        server.world.quiesce(&mut server.engine, now);
        let came = server.acknowledge_all();
        if mended {
            assert_eq!(sequences(&came), [3, 4, 9]);
            continue;
        }
        assert_eq!(came, []);
        assert_eq!(server.engine.counters().damaged_messages, 3);
        server.world.damaged.clear();
        let mut came = Vec::new();
        for _ in 0..130 {
            server.wait(1);
            came.extend(server.acknowledge_all());
        }
        assert_eq!(sequences(&came), [3, 4, 9]);
    }
}

#[test]
fn what_waits_for_room_keeps_nothing_back_that_takes_it() {
    let mut server = Server::with_cold_messages(3);
    server.world.damaged = [1].into();
    let request = SubscriptionRequest {
        client_id: "me".into(),
        subject: "foo".into(),
        inbox: "1".into(),
        durable_name: "a".into(),
        max_in_flight: 2,
        ack_wait_in_secs: 2,
        start_position: 4,
        ..SubscriptionRequest::default()
    };
    server.request(Service::Subscribe, &request.encode_to_vec());
    assert_eq!(sequences(&server.came()), [2, 3]);
    let mut world = server.world.crash(server.world.records.len());
    world.cold.insert(ChannelId(1), 3);
    world.damaged = [1].into();
    // AckWait of the others ends when what is damaged is tried again: all have one deadline.
    let mut now = server.now;
    now.monotonic += 15 * SECOND / 16;
    now.wall.0 += 15 * SECOND as i64 / 16;
    let (engine, _) = world.start(options(), now).expect("it starts");
    let mut server = Server { world, engine, now };
    server.world.quiesce(&mut server.engine, now);
    assert_eq!(server.came(), []);
    server.wait(5);
    assert_eq!(sequences(&server.came())[..2], [2, 3]);
}

#[test]
fn a_group_goes_past_damage_and_who_leaves_passes_it_on() {
    let mut server = Server::with_cold_messages(20);
    server.world.damaged = (2..=9).collect();
    server.subscribe("1", "", "workers", 1);
    server.subscribe("2", "", "workers", 1);
    let came = server.acknowledge_all();
    let mut all = sequences(&came);
    all.sort_unstable();
    assert_eq!(all, [1].into_iter().chain(10..=20).collect::<Vec<_>>());
    assert_eq!(server.engine.counters().passed_over, 8);
    let leave = UnsubscribeRequest {
        client_id: "me".into(),
        subject: "foo".into(),
        inbox: "1".into(),
        ..UnsubscribeRequest::default()
    };
    server.request(Service::Unsubscribe, &leave.encode_to_vec());
    assert_eq!(server.why(), [Verdict::MessagesDamaged], "the other one has all of it");
    server.world.damaged.clear();
    server.world.outputs.clear();
    let mut came = Vec::new();
    for _ in 0..90 {
        server.wait(1);
        came.extend(server.acknowledge_all());
    }
    let mut all = sequences(&came);
    all.sort_unstable();
    assert_eq!(all, (2..=9).collect::<Vec<_>>());
    assert!(came.iter().all(|(to, ..)| *to == 2));
}

#[test]
fn what_limits_remove_is_damaged_no_more() {
    let mut server = Server::with_cold_messages(20);
    server.world.damaged = [1, 2, 19].into();
    server.subscribe("1", "", "", 5);
    server.acknowledge_all();
    assert_eq!(server.engine.counters().damaged_messages, 3);
    let options = Options {
        limits: seaway_streaming::LimitsTable::from(seaway_streaming::Limits {
            max_messages: 10,
            ..Default::default()
        }),
        ..options()
    };
    let mut world = server.world.crash(server.world.records.len());
    world.cold.insert(ChannelId(1), 20);
    world.damaged = server.world.damaged.clone();
    let (engine, _) = world.start(options, server.now).expect("it starts");
    let mut server = Server {
        world,
        engine,
        now: server.now,
    };
    server.world.quiesce(&mut server.engine, server.now);
    server.wait(120);
    assert_eq!(server.engine.counters().damaged_messages, 1);
    assert_eq!(
        server.world.logs[&ChannelId(1)]
            .messages
            .first_key_value()
            .map(|(first, _)| *first),
        Some(11)
    );
}
