//! What monitoring sees (`streaming-protocol.md` §8.3 to §8.6): pure reads, owned results.
//!
//! Lists come in pages, and sums over all channels in slices ([`Engine::survey`](crate::Engine::survey)): each call does a bounded part, so that
//! no question keeps the engine from its work however much there is.

use std::collections::BTreeMap;

use crate::channel_limits::{ChannelLimits, Limits};
use crate::ids::ChannelId;
use crate::time::Timestamp;

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
    /// The limits that count for it.
    pub limits: Limits,
    /// Those of them that an operator set.
    pub limits_set: ChannelLimits,
    /// Empty unless asked for.
    pub subscriptions: Vec<SubscriptionSnapshot>,
}

/// Where a channel's messages are, for reading them behind the engine's back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its number in the store.
    pub channel: ChannelId,
    /// First live sequence; above `last` when there is none, 0 when there never was one.
    pub first: u64,
    /// Last durable sequence; what the store has above it must not be shown.
    pub last: u64,
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
    /// Set while an operator has it paused, or its group.
    pub paused: Option<PausedSnapshot>,
}

/// Who has paused a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PausedSnapshot {
    /// Who, in words.
    pub by: String,
    /// When.
    pub since: Timestamp,
}

/// Which changes by operators are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuestion {
    /// Only what is not older.
    pub since: Option<Timestamp>,
    /// Only those by whom this is a part of.
    pub who: Option<String>,
    /// So many of the newest are left out.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
}

/// A change by an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedChange {
    /// One more with each change.
    pub number: u64,
    /// When it was made.
    pub time: Timestamp,
    /// Who made it, in words.
    pub by: String,
    /// What was changed and what came of it, in words.
    pub words: String,
}

/// One subscription in a survey: with what lasts as long as the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SurveyedSubscription {
    /// What §8.6 shows.
    pub shown: SubscriptionSnapshot,
    /// Durable messages that it has not got, or its group when it is in one.
    pub messages_waiting: u64,
    /// Messages sent to it again since the start of the process.
    pub redeliveries: u64,
    /// Nanoseconds since its oldest unacknowledged message was first sent to it; `None` without such a message, and when
    /// it was sent before a restart and not since.
    pub oldest_unacknowledged: Option<u64>,
}

/// One channel in a survey.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SurveyedChannel {
    /// What §8.6 shows without subscriptions.
    pub shown: ChannelSnapshot,
    /// Its subscriptions, as many as there was room for.
    pub subscriptions: Vec<SurveyedSubscription>,
}

/// What has happened since the start of the process, beside what §8.3 counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages sent again.
    pub redelivered_messages: u64,
    /// Heartbeats that were not answered.
    pub failed_heartbeats: u64,
    /// Clients closed because of that.
    pub lost_clients: u64,
    /// Messages that are known to be damaged: they are passed over until they can be read again.
    pub damaged_messages: u64,
    /// How often one was passed over, for each subscription.
    pub passed_over: u64,
    /// Whether the bus can carry messages.
    pub bus_up: bool,
}

/// Sums over a slice of the channels; see [`Engine::survey`](crate::Engine::survey).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Channels of the slice.
    pub channels: usize,
    /// Messages in them.
    pub messages: u64,
    /// Their bytes, counted as §6.1 says.
    pub bytes: u64,
    /// Subscription records, offline ones included.
    pub subscriptions: usize,
    /// Those that are offline.
    pub offline: usize,
    /// Those that are active and stalled.
    pub stalled: usize,
    /// Those that an operator has paused, each member of a paused group.
    pub paused: usize,
    /// Messages sent and not acknowledged.
    pub pending: u64,
    /// Nanoseconds since the oldest of them was first sent, as far as is known.
    pub oldest_unacknowledged: Option<u64>,
    /// Nanoseconds by which the times of a channel are ahead of the clock, the most of all channels.
    pub times_ahead_ns: u64,
    /// The channels that were wanted, with their subscriptions.
    pub details: Vec<SurveyedChannel>,
    /// Wanted channels that `details` has no room for.
    pub channels_omitted: usize,
    /// Wanted subscriptions that `details` has no room for.
    pub subscriptions_omitted: usize,
    /// Where the next slice goes on; `None` behind the last channel.
    pub next: Option<Vec<u8>>,
}

/// How much of a survey one call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SurveySlice {
    /// Channels and subscriptions looked at before the slice ends with the channel in hand.
    pub visits: usize,
    /// Wanted channels told of.
    pub channels: usize,
    /// Subscriptions told of.
    pub subscriptions: usize,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// How many there are in all.
    pub total: usize,
    /// Those of the page.
    pub items: Vec<T>,
    /// Name behind which the list goes on, as it is and not as it is shown; `None` at the end of the list.
    pub next: Option<Vec<u8>>,
}
