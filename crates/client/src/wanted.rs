//! What somebody wants to receive, and how the server is asked for it.

use std::time::{Duration, Instant, SystemTime};

use seaway_stan_protocol::messages::{StartPosition, SubscriptionRequest};
use seaway_stan_protocol::validate::is_channel_name;

use crate::wire::is_subject;

/// Where a subscription begins. A durable that exists, and a queue group that has members, go on where they are instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// With what is published from now on.
    #[default]
    NewOnly,
    /// With the last message stored, and what follows it.
    LastReceived,
    /// With the first message that is still there.
    AllAvailable,
    /// With this sequence, or the first one after it that is there.
    Sequence(u64),
    /// With the first message stored at this time or later, by the client's clock.
    Time(SystemTime),
    /// With the first message stored not longer ago than this.
    Ago(Duration),
}

/// Where the server has to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// Where the user said.
    Asked,
    /// Where the user said, missing nothing since it was said.
    SinceAsked,
    Sequence(u64),
}

/// Everything about a subscription.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) channel: String,
    pub(crate) start: Start,
    pub(crate) durable_name: String,
    pub(crate) queue_group: String,
    pub(crate) manual_acks: bool,
    pub(crate) ack_wait: Duration,
    pub(crate) max_in_flight: u32,
    /// When it was first asked for: a subscription that is made anew misses nothing since then.
    pub(crate) asked: Instant,
}

impl Wanted {
    /// The request to the server.
    pub(crate) fn request(&self, client_id: &str, inbox: &str, from: From) -> SubscriptionRequest {
        let start = match (from, self.start) {
            (From::Asked, start) => start,
            (From::Sequence(sequence), _) => Start::Sequence(sequence),
            (From::SinceAsked, Start::NewOnly | Start::LastReceived) => Start::Ago(self.asked.elapsed()),
            (From::SinceAsked, Start::Ago(delta)) => Start::Ago(delta.saturating_add(self.asked.elapsed())),
            (From::SinceAsked, start) => start,
        };
        let (position, start_sequence, start_time_delta) = match start {
            Start::NewOnly => (StartPosition::NewOnly, 0, 0),
            Start::LastReceived => (StartPosition::LastReceived, 0, 0),
            Start::AllAvailable => (StartPosition::First, 0, 0),
            Start::Sequence(sequence) => (StartPosition::SequenceStart, sequence, 0),
            Start::Time(time) => (StartPosition::TimeDeltaStart, 0, nanoseconds_since(time)),
            Start::Ago(delta) => (
                StartPosition::TimeDeltaStart,
                0,
                i64::try_from(delta.as_nanos()).unwrap_or(i64::MAX),
            ),
        };
        SubscriptionRequest {
            client_id: client_id.to_owned().into(),
            subject: self.channel.clone().into(),
            q_group: self.queue_group.clone().into(),
            inbox: inbox.to_owned().into(),
            max_in_flight: i32::try_from(self.max_in_flight).unwrap_or(i32::MAX),
            ack_wait_in_secs: i32::try_from(self.ack_wait.as_secs()).unwrap_or(i32::MAX),
            durable_name: self.durable_name.clone().into(),
            start_position: position.into(),
            start_sequence,
            start_time_delta,
        }
    }
}

/// Refuses names that no channel can have: the server's rules, and what NATS cannot carry in a subject.
pub(crate) fn check_channel(name: &str) -> Result<(), &'static str> {
    match is_channel_name(name.as_bytes()) && is_subject(name) {
        true => Ok(()),
        false => Err("the channel name is empty, or has an empty token, a wildcard, a slash or a blank"),
    }
}

/// How long ago a time was; negative when it is yet to come.
fn nanoseconds_since(time: SystemTime) -> i64 {
    let clamp = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(time) {
        Ok(since) => clamp(since),
        Err(ahead) => -clamp(ahead.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(start: Start) -> Wanted {
        Wanted {
            channel: "orders".to_owned(),
            start,
            durable_name: String::new(),
            queue_group: String::new(),
            manual_acks: false,
            ack_wait: Duration::from_secs(30),
            max_in_flight: 7,
            asked: Instant::now(),
        }
    }

    fn position(start: Start, from: From) -> (i32, u64, i64) {
        let request = wanted(start).request("me", "inbox", from);
        (request.start_position, request.start_sequence, request.start_time_delta)
    }

    #[test]
    fn start_positions_of_section_5_1() {
        assert_eq!(position(Start::NewOnly, From::Asked), (0, 0, 0));
        assert_eq!(position(Start::LastReceived, From::Asked), (1, 0, 0));
        assert_eq!(position(Start::Ago(Duration::from_nanos(9)), From::Asked), (2, 0, 9));
        assert_eq!(position(Start::Ago(Duration::MAX), From::Asked), (2, 0, i64::MAX));
        assert_eq!(position(Start::Sequence(5), From::Asked), (3, 5, 0));
        assert_eq!(position(Start::AllAvailable, From::Asked), (4, 0, 0));
        let hour = Duration::from_secs(3600);
        let (kind, _, past) = position(Start::Time(SystemTime::now() - hour), From::Asked);
        assert!(kind == 2 && past >= 3_600_000_000_000, "{past}");
        let (_, _, future) = position(Start::Time(SystemTime::now() + hour), From::Asked);
        assert!(future < -3_500_000_000_000, "{future}");
    }

    #[test]
    fn a_subscription_made_anew_misses_nothing() {
        assert_eq!(position(Start::NewOnly, From::Sequence(42)), (3, 42, 0));
        assert_eq!(position(Start::AllAvailable, From::SinceAsked), (4, 0, 0));
        assert_eq!(position(Start::Sequence(7), From::SinceAsked), (3, 7, 0));
        for start in [Start::NewOnly, Start::LastReceived] {
            let (kind, _, delta) = position(start, From::SinceAsked);
            assert!(kind == 2 && delta > 0, "{kind} {delta}");
        }
        let (kind, _, delta) = position(Start::Ago(Duration::from_nanos(9)), From::SinceAsked);
        assert!(kind == 2 && delta > 9, "{kind} {delta}");
    }
}
