//! What `/metrics` shows beside the rest.

use std::time::Duration;

use super::{Channel, Subscription};

/// Figures of the engine and of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// The engine.
    pub engine: EngineFigures,
    /// The journal, of a store that has one.
    pub journal: Option<JournalFigures>,
    /// The archive, of a store that has one.
    pub archive: Option<ArchiveFigures>,
}

/// Figures of the archive; counters run from the beginning of the tenure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveFigures {
    /// Whether the last attempt to archive something succeeded.
    pub is_up: bool,
    /// The last moment to which the store could be restored, nanoseconds since the Unix epoch.
    pub until_ns: Option<i64>,
    /// Bytes of files that could go and are kept until they are archived.
    pub unarchived_bytes: u64,
    /// As many are kept at most.
    pub unarchived_bytes_max: u64,
    /// Bytes copied to the archive.
    pub copied_bytes: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Holes in the archive.
    pub gaps: u64,
}

/// Figures of the engine; counters run from the start of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineFigures {
    /// Messages sent again.
    pub redelivered_messages: u64,
    /// Heartbeats that were not answered.
    pub failed_heartbeats: u64,
    /// Clients closed because of that.
    pub lost_clients: u64,
    /// Stored messages that cannot be read and are passed over.
    pub damaged_messages: u64,
    /// How often one was passed over, for each subscription.
    pub passed_over: u64,
    /// Whether messages can be carried to clients.
    pub bus_up: bool,
    /// Bytes that wait for the engine.
    pub inbox_bytes: u64,
    /// Batches of requests held back while the store is behind.
    pub held_batches: u64,
    /// Bytes appended to the store and not durable yet.
    pub backlog_bytes: u64,
    /// Whether the store refuses new messages.
    pub refusing: bool,
}

/// Figures of the journal; counters run from the start of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalFigures {
    /// Bytes of all files.
    pub disk_bytes: u64,
    /// Bytes of live messages in them.
    pub live_bytes: u64,
    /// Bytes of memory that serve the newest messages.
    pub cache_bytes: u64,
    /// Segment files.
    pub segments: u64,
    /// Batches made durable.
    pub batches: u64,
    /// Records appended.
    pub records: u64,
    /// Bytes per batch.
    pub batch_bytes: Histogram,
    /// Records per batch.
    pub batch_records: Histogram,
    /// Nanoseconds per batch, its write and its sync.
    pub commit_nanoseconds: Histogram,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Age of the newest checkpoint of this process.
    pub checkpoint_age: Option<Duration>,
    /// Bytes of the newest checkpoint.
    pub checkpoint_bytes: u64,
    /// Bytes a restart would have to read besides it.
    pub tail_bytes: u64,
    /// Bytes copied to win space back.
    pub rewritten_bytes: u64,
    /// Segment files that were used again.
    pub recycled_segments: u64,
}

/// How values are distributed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Inclusive upper bounds, ascending, and how many values are not above each.
    pub buckets: Vec<(u64, u64)>,
    /// Values.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
}

/// Which channels are wanted in detail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelFilter {
    /// Names, and patterns with `*` for a token and `>` for the rest; without any all channels are wanted.
    pub patterns: Vec<String>,
}

impl ChannelFilter {
    /// Whether a channel is wanted.
    pub fn matches(&self, channel: &str) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| matches(pattern, channel))
    }
}

fn matches(pattern: &str, channel: &str) -> bool {
    let mut tokens = channel.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// A part of a survey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyRequest {
    /// The last channel of the part before; `None` begins.
    pub after: Option<Vec<u8>>,
    /// Which channels are wanted in detail.
    pub filter: ChannelFilter,
    /// Channels to tell of in detail at most.
    pub channels_max: usize,
    /// Subscriptions to tell of in detail at most.
    pub subscriptions_max: usize,
}

/// Sums over some channels, and details of those that were wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Subscriptions that are offline.
    pub offline: u64,
    /// Subscriptions that are stalled.
    pub stalled: u64,
    /// Those that an operator has paused.
    pub paused: u64,
    /// Messages sent and not acknowledged.
    pub pending: u64,
    /// Age of the oldest of them.
    pub oldest_unacknowledged: Option<Duration>,
    /// How far the times of a channel are ahead of the clock, the most of all channels.
    pub times_ahead: Duration,
    /// Details.
    pub channels: Vec<SurveyedChannel>,
    /// Wanted channels that there was no room for.
    pub channels_omitted: u64,
    /// Wanted subscriptions that there was no room for.
    pub subscriptions_omitted: u64,
    /// Where the next part goes on; `None` when this was the last.
    pub next: Option<Vec<u8>>,
}

/// A channel in detail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SurveyedChannel {
    /// The channel without its subscriptions.
    pub channel: Channel,
    /// Its subscriptions.
    pub subscriptions: Vec<SurveyedSubscription>,
}

/// A subscription in detail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SurveyedSubscription {
    /// As channelsz shows it.
    pub subscription: Subscription,
    /// Messages that wait for it.
    pub waiting: u64,
    /// Messages sent to it again since the start of the process.
    pub redeliveries: u64,
    /// Time since its oldest unacknowledged message was first sent.
    pub oldest_unacknowledged: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_names_and_patterns() {
        for (pattern, channel, expected) in [
            ("orders", "orders", true),
            ("orders", "orders.eu", false),
            ("orders.*", "orders.eu", true),
            ("orders.*", "orders", false),
            ("orders.*", "orders.eu.de", false),
            ("orders.>", "orders.eu.de", true),
            ("orders.>", "orders", false),
            (">", "a", true),
            ("*.b", "a.b", true),
            ("*", "*", true),
        ] {
            let filter = ChannelFilter {
                patterns: vec![pattern.to_owned()],
            };
            assert_eq!(filter.matches(channel), expected, "{pattern} {channel}");
        }
        assert!(ChannelFilter::default().matches("anything"));
    }
}
