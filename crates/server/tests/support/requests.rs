//! What the streaming tests ask for and what they wait for, in one place.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::{Duration, Instant};

use seaway_bench::stan::{Session, subscription};
use seaway_stan_protocol::messages::SubscriptionRequest;

use super::{PATIENCE, Server};

/// How long nothing may come where nothing should.
pub const QUIET: Duration = Duration::from_millis(150);

pub const NEW_ONLY: i32 = 0;
pub const LAST: i32 = 1;
pub const TIME: i32 = 2;
pub const SEQUENCE: i32 = 3;
pub const FIRST: i32 = 4;

pub const UNKNOWN_CLIENT: &str = "stan: unknown clientID";
pub const INVALID_SUBSCRIPTION: &str = "stan: invalid subscription";
pub const INVALID_PUBLISH: &str = "stan: invalid publish request";
pub const REPLACED: &str = "client has been replaced or is no longer registered";

/// A subscription that begins at a start position.
pub fn from(channel: &str, position: i32) -> SubscriptionRequest {
    SubscriptionRequest {
        start_position: position,
        ..subscription(channel)
    }
}

/// A subscription to all messages of a channel.
pub fn all(channel: &str) -> SubscriptionRequest {
    from(channel, FIRST)
}

/// The same with the shortest AckWait there is: one second.
pub fn hasty(request: SubscriptionRequest) -> SubscriptionRequest {
    SubscriptionRequest {
        ack_wait_in_secs: 1,
        ..request
    }
}

/// The same as durable `dur`.
pub fn durable(request: SubscriptionRequest) -> SubscriptionRequest {
    SubscriptionRequest {
        durable_name: "dur".into(),
        ..request
    }
}

/// The same as member of group `q`.
pub fn queue(request: SubscriptionRequest) -> SubscriptionRequest {
    SubscriptionRequest {
        q_group: "q".into(),
        ..request
    }
}

/// The same with another MaxInflight.
pub fn in_flight(request: SubscriptionRequest, max_in_flight: i32) -> SubscriptionRequest {
    SubscriptionRequest {
        max_in_flight,
        ..request
    }
}

/// Publishes and waits for the acks.
pub fn publish(session: &mut Session, channel: &str, count: usize) {
    for _ in 0..count {
        session.publish_async(channel, b"x");
    }
    for _ in 0..count {
        assert_eq!(session.next_pub_ack(PATIENCE).unwrap().error, "");
    }
}

/// The next message: its sequence and its redelivery count.
pub fn next(session: &mut Session) -> (u64, u32) {
    let message = session.next_message(PATIENCE).unwrap();
    assert_eq!(
        message.redelivered,
        message.redelivery_count > 0,
        "the flag and the count agree"
    );
    (message.sequence, message.redelivery_count)
}

pub fn take(session: &mut Session, count: usize) -> Vec<(u64, u32)> {
    (0..count).map(|_| next(session)).collect()
}

/// First deliveries of these sequences.
pub fn firsts(sequences: std::ops::RangeInclusive<u64>) -> Vec<(u64, u32)> {
    sequences.map(|sequence| (sequence, 0)).collect()
}

pub fn is_quiet(session: &mut Session) -> bool {
    session.next_message(QUIET).is_err()
}

/// Why something was refused, or that it was not.
pub fn refusal<T>(outcome: std::io::Result<T>) -> String {
    match outcome {
        Ok(_) => "taken".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// A number of a monitoring page, the first of that name.
pub fn number(server: &Server, path: &str, key: &str) -> u64 {
    let (_, body) = server.get(path);
    let rest = body.split(&format!("\"{key}\": ")).nth(1);
    let digits = rest.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    digits
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("{key} in {body}"))
}

/// Messages, first and last sequence of a channel.
pub fn bounds(server: &Server, channel: &str) -> (u64, u64, u64) {
    let path = format!("/streaming/channelsz?channel={channel}");
    let value = |key| number(server, &path, key);
    (value("msgs"), value("first_seq"), value("last_seq"))
}

/// Waits until a channel holds exactly this.
pub fn wait_for_bounds(server: &Server, channel: &str, expected: (u64, u64, u64)) {
    let deadline = Instant::now() + PATIENCE;
    while bounds(server, channel) != expected {
        assert!(
            Instant::now() < deadline,
            "{channel} is {:?} and not {expected:?}",
            bounds(server, channel)
        );
    }
}

/// Waits until a monitoring page contains a text.
pub fn wait_for(server: &Server, path: &str, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, body) = server.get(path);
        if body.contains(text) {
            return;
        }
        assert!(Instant::now() < deadline, "{text} never came: {body}");
    }
}

/// Two publishes: the second makes durable whatever was acknowledged before the first.
pub fn make_durable(session: &mut Session) {
    for _ in 0..2 {
        session.publish("elsewhere", b"x").unwrap();
    }
}

/// A subscription as the monitoring shows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    pub client: String,
    pub inbox: String,
    pub offline: bool,
    pub stalled: bool,
    pub last_sent: u64,
    pub pending: u64,
}

/// The subscriptions of a channel, in the order of the page.
pub fn subscriptions(server: &Server, channel: &str) -> Vec<Shown> {
    let (status, body) = server.get(&format!("/streaming/channelsz?channel={channel}&subs=1"));
    assert_eq!(status, 200, "{body}");
    body.split("\"client_id\": ")
        .skip(1)
        .map(|part| {
            let value = |key: &str| {
                let rest = part
                    .split_once(&format!("\"{key}\": "))
                    .unwrap_or_else(|| panic!("{key}: {part}"))
                    .1;
                rest.split([',', '\n']).next().unwrap().trim_matches('"').to_owned()
            };
            Shown {
                client: part.split(',').next().unwrap().trim_matches('"').to_owned(),
                inbox: value("inbox"),
                offline: value("is_offline") == "true",
                stalled: value("is_stalled") == "true",
                last_sent: value("last_sent").parse().unwrap(),
                pending: value("pending_count").parse().unwrap(),
            }
        })
        .collect()
}
