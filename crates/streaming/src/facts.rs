//! What the engine writes down about itself: kinds and encodings of facts.
//!
//! Facts are absolute ("this is the client", "these were acknowledged"), so that replaying them over a checkpoint that is
//! newer than some of them ends in the same state. Bodies are protobuf: a field that a later version adds is skipped.
//! Messages, trims and channel deletions are records of the store, not facts.

use bytes::Bytes;
use prost::Message;

use crate::channel_limits::ChannelLimits;
use crate::ids::ChannelId;
use crate::registry::halts::{Halt, Halted};
use crate::time::Timestamp;

/// The server: cluster, subjects, what ack inboxes with numbers begin with, next numbers.
pub(crate) const SERVER: u8 = 1;
/// A client is registered, or its registration as of now.
pub(crate) const CLIENT: u8 = 2;
/// A client is gone.
pub(crate) const CLIENT_REMOVED: u8 = 3;
/// A channel exists.
pub(crate) const CHANNEL: u8 = 4;
/// A subscription as of now, without its pending messages.
pub(crate) const SUBSCRIPTION: u8 = 5;
/// A subscription is gone.
pub(crate) const SUBSCRIPTION_REMOVED: u8 = 6;
/// A subscription's cursor, and which messages were sent, taken over and acknowledged.
pub(crate) const PROGRESS: u8 = 7;
/// The same for members of one queue group: bodies of [`PROGRESS`], each behind its length, that count together.
pub(crate) const GROUP_PROGRESS: u8 = 8;

/// A durable or a queue group was moved: what was sent before is not pending, and the cursor is here, wherever it was. Earlier versions
/// refuse a store that holds one.
pub(crate) const MOVED: u8 = 9;
/// A queue group is gone with all its members, shadow and departing ones included. Earlier versions refuse a store that holds one.
pub(crate) const GROUP_REMOVED: u8 = 10;

/// Limits that an operator set for a channel, all of them; none when they were reset. Earlier versions refuse a store that holds one.
pub(crate) const CHANNEL_LIMITED: u8 = 11;

/// A subscription or a queue group is paused by an operator, or goes on. Earlier versions refuse a store that holds one.
pub(crate) const PAUSED: u8 = 12;

/// Body of [`SERVER`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ServerFact {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) cluster_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) discover: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) pings: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) publish_prefix: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    pub(crate) subscribe: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    pub(crate) unsubscribe: Bytes,
    #[prost(bytes = "bytes", tag = "7")]
    pub(crate) subscription_close: Bytes,
    #[prost(bytes = "bytes", tag = "8")]
    pub(crate) close: Bytes,
    #[prost(bytes = "bytes", tag = "9")]
    pub(crate) numbered_inboxes: Bytes,
    #[prost(uint64, tag = "10")]
    pub(crate) next_channel: u64,
    #[prost(uint64, tag = "11")]
    pub(crate) next_subscription: u64,
    #[prost(uint64, tag = "12")]
    pub(crate) next_ack_inbox: u64,
    /// Changes by operators, for the audit: those that this fact adds. They lie here because earlier versions pass over a field that they do
    /// not know, and would refuse a kind.
    #[prost(message, repeated, tag = "13")]
    pub(crate) audit: Vec<AuditFact>,
}

/// One change by an operator.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AuditFact {
    /// Ascending from 1, without gaps.
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    /// Nanoseconds since 1970.
    #[prost(sint64, tag = "2")]
    pub(crate) time: i64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) by: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) words: Bytes,
}

/// Body of [`PAUSED`]. Absolute; it ends with its subscription or group.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PausedFact {
    /// The subscription; 0 for a group.
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    /// The group's channel, and its name as of [`group_name`].
    #[prost(uint64, tag = "2")]
    pub(crate) channel: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) group: Bytes,
    /// Nanoseconds since 1970.
    #[prost(sint64, tag = "4")]
    pub(crate) since: i64,
    #[prost(bytes = "bytes", tag = "5")]
    pub(crate) by: Bytes,
    /// It is paused no longer.
    #[prost(bool, tag = "6")]
    pub(crate) ended: bool,
}

impl PausedFact {
    /// Of what is paused; without a [`Halt`] of what is not any more.
    pub(crate) fn new(halted: &Halted, halt: Option<&Halt>) -> PausedFact {
        let (number, channel, group) = match halted {
            Halted::Subscription(number) => (*number, 0, Bytes::new()),
            Halted::Group(channel, name) => (0, channel.0, name.clone()),
        };
        PausedFact {
            number,
            channel,
            group,
            since: halt.map_or(0, |halt| halt.since.0),
            by: halt.map_or_else(Bytes::new, |halt| halt.by.clone()),
            ended: halt.is_none(),
        }
    }

    /// What is paused; without a [`Halt`] what is not any more.
    pub(crate) fn read(self) -> (Halted, Option<Halt>) {
        let halted = match self.number {
            0 => Halted::Group(ChannelId(self.channel), self.group),
            number => Halted::Subscription(number),
        };
        let halt = Halt {
            by: self.by,
            since: Timestamp(self.since),
        };
        (halted, (!self.ended).then_some(halt))
    }
}

/// Body of [`CLIENT`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ClientFact {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) heartbeat_inbox: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) conn_id: Bytes,
    #[prost(int32, tag = "4")]
    pub(crate) protocol: i32,
    #[prost(int32, tag = "5")]
    pub(crate) ping_interval: i32,
    #[prost(int32, tag = "6")]
    pub(crate) ping_max_out: i32,
}

/// Body of [`CLIENT_REMOVED`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ClientRemovedFact {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) name: Bytes,
}

/// Body of [`CHANNEL`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ChannelFact {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) name: Bytes,
    /// Bounds as of a checkpoint, for a channel of which the store holds no message any more.
    #[prost(uint64, tag = "3")]
    pub(crate) first: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) last: u64,
    #[prost(sint64, tag = "5")]
    pub(crate) last_timestamp: i64,
}

/// State of a subscription in [`SubscriptionFact`].
pub(crate) const STATE_ACTIVE: u32 = 0;
/// A durable, or the shadow of a durable group, without owner.
pub(crate) const STATE_OFFLINE: u32 = 1;
/// A queue member that left; its pending messages belong to the group.
pub(crate) const STATE_DEPARTING: u32 = 2;

/// Body of [`SUBSCRIPTION`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SubscriptionFact {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) channel: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) client: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) inbox: Bytes,
    #[prost(uint64, tag = "5")]
    pub(crate) ack_inbox: u64,
    #[prost(bytes = "bytes", tag = "6")]
    pub(crate) durable: Bytes,
    #[prost(bytes = "bytes", tag = "7")]
    pub(crate) queue: Bytes,
    #[prost(int32, tag = "8")]
    pub(crate) max_in_flight: i32,
    #[prost(int32, tag = "9")]
    pub(crate) ack_wait_units: i32,
    #[prost(uint64, tag = "10")]
    pub(crate) last_sent: u64,
    #[prost(uint32, tag = "11")]
    pub(crate) state: u32,
    /// Earlier versions wrote none: theirs is `_INBOX.<what numbered ones begin with>.<ack_inbox>`.
    #[prost(bytes = "bytes", tag = "12")]
    pub(crate) ack_subject: Bytes,
}

/// Body of [`SUBSCRIPTION_REMOVED`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SubscriptionRemovedFact {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
}

/// Body of [`PROGRESS`]. Applied in this order: taken, sent, acked. A taken message leaves the member that held it and
/// becomes pending here in one record, so that no crash can lose it between the two.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProgressFact {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) last_sent: u64,
    /// Runs as of [`Runs::encode`].
    #[prost(uint64, repeated, tag = "3")]
    pub(crate) sent: Vec<u64>,
    #[prost(uint64, repeated, tag = "4")]
    pub(crate) acked: Vec<u64>,
    /// Pairs: the subscription that held the message, its sequence.
    #[prost(uint64, repeated, tag = "5")]
    pub(crate) taken: Vec<u64>,
}

/// Body of [`MOVED`]. What it sets it sets for good: whatever a newer checkpoint said before is replayed behind it once more.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MovedFact {
    /// The subscription; 0 for a group.
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    /// The group's channel, and its name as of [`group_name`].
    #[prost(uint64, tag = "2")]
    pub(crate) channel: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) group: Bytes,
    #[prost(uint64, tag = "4")]
    pub(crate) last_sent: u64,
    /// Of a group: the highest number of a subscription then. Members that came later are not meant, also where a newer checkpoint
    /// knows them already: the group may have been made anew.
    #[prost(uint64, tag = "5")]
    pub(crate) members_to: u64,
}

/// Body of [`GROUP_REMOVED`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GroupRemovedFact {
    #[prost(uint64, tag = "1")]
    pub(crate) channel: u64,
    /// As of [`group_name`].
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) group: Bytes,
}

/// Body of [`CHANNEL_LIMITED`]; see [`ChannelLimits`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ChannelLimitedFact {
    #[prost(uint64, tag = "1")]
    pub(crate) channel: u64,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) max_subscriptions: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub(crate) max_messages: Option<u64>,
    #[prost(uint64, optional, tag = "4")]
    pub(crate) max_bytes: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    pub(crate) max_age_ns: Option<u64>,
    #[prost(uint64, optional, tag = "6")]
    pub(crate) max_inactivity_ns: Option<u64>,
}

impl ChannelLimitedFact {
    pub(crate) fn new(channel: ChannelId, limits: &ChannelLimits) -> ChannelLimitedFact {
        ChannelLimitedFact {
            channel: channel.0,
            max_subscriptions: limits.max_subscriptions.map(|limit| limit as u64),
            max_messages: limits.max_messages,
            max_bytes: limits.max_bytes,
            max_age_ns: limits.max_age_ns,
            max_inactivity_ns: limits.max_inactivity_ns,
        }
    }

    pub(crate) fn limits(&self) -> ChannelLimits {
        ChannelLimits {
            max_subscriptions: self
                .max_subscriptions
                .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            max_messages: self.max_messages,
            max_bytes: self.max_bytes,
            max_age_ns: self.max_age_ns,
            max_inactivity_ns: self.max_inactivity_ns,
        }
    }
}

/// A durable group is addressed as `<durable>:<group>` (`streaming-protocol.md` §5.6, and §4 on group names with a colon).
pub(crate) fn group_name(durable: &Bytes, queue: &Bytes) -> Bytes {
    if durable.is_empty() {
        return queue.clone();
    }
    Bytes::from([&durable[..], b":", &queue[..]].concat())
}

/// Runs of sequences, in the order of their arrival; neighbours grow together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    runs: Vec<(u64, u64)>,
}

impl Runs {
    /// Adds one sequence.
    pub(crate) fn push(&mut self, sequence: u64) {
        match self.runs.last_mut() {
            Some(run) if run.1 + 1 == sequence => run.1 = sequence,
            Some(run) if run.0 <= sequence && sequence <= run.1 => {}
            _ => self.runs.push((sequence, sequence)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    pub(crate) fn clear(&mut self) {
        self.runs.clear();
    }

    /// Whether a sequence is in one of the runs.
    pub(crate) fn contains(&self, sequence: u64) -> bool {
        self.runs.iter().any(|run| run.0 <= sequence && sequence <= run.1)
    }

    /// Sorts, merges, and appends pairs of (gap after the previous run, length - 1). Leaves nothing behind.
    pub(crate) fn drain_into(&mut self, out: &mut Vec<u64>) {
        self.runs.sort_unstable();
        let mut runs = self.runs.drain(..);
        let Some(mut current) = runs.next() else { return };
        let mut end = 0;
        for run in runs {
            if run.0 <= current.1.saturating_add(1) {
                current.1 = current.1.max(run.1);
                continue;
            }
            push_run(out, &mut end, current);
            current = run;
        }
        push_run(out, &mut end, current);
    }
}

/// Appends one run as a pair of (gap after the end of the previous one, length - 1).
pub(crate) fn push_run(out: &mut Vec<u64>, end: &mut u64, (first, last): (u64, u64)) {
    out.push(first - *end);
    out.push(last - first);
    *end = last;
}

/// Runs as [`push_run`] encoded them; `None` when they overflow.
pub(crate) fn decode_runs(pairs: &[u64]) -> Option<Vec<(u64, u64)>> {
    if !pairs.len().is_multiple_of(2) {
        return None;
    }
    let mut end = 0u64;
    let mut runs = Vec::with_capacity(pairs.len() / 2);
    for pair in pairs.chunks_exact(2) {
        let first = end.checked_add(pair[0])?;
        let last = first.checked_add(pair[1])?;
        runs.push((first, last));
        end = last;
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_survive_encoding(sequences in proptest::collection::vec(1u64..500, 0..200)) {
            let mut runs = Runs::default();
            let mut model = std::collections::BTreeSet::new();
            for sequence in sequences {
                runs.push(sequence);
                model.insert(sequence);
                prop_assert!(runs.contains(sequence));
            }
            let mut encoded = Vec::new();
            runs.drain_into(&mut encoded);
            prop_assert!(runs.is_empty());
            let decoded = decode_runs(&encoded).expect("what was encoded decodes");
            let sequences: Vec<u64> = decoded.iter().flat_map(|(first, last)| *first..=*last).collect();
            prop_assert_eq!(sequences, model.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_decode_or_are_refused(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(fact) = ProgressFact::decode(&body[..]) {
                let _ = decode_runs(&fact.sent);
            }
        }
    }

    #[test]
    fn runs_that_overflow_are_refused() {
        assert_eq!(decode_runs(&[u64::MAX, 1]), None);
        assert_eq!(decode_runs(&[1]), None);
        assert_eq!(decode_runs(&[3, 0, 1, 2]), Some(vec![(3, 3), (4, 6)]));
    }
}
