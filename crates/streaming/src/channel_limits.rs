//! What a channel may hold (`streaming-protocol.md` §6.1), and what one entry of the configuration sets of that.

/// Limits per channel and on channels (`streaming-protocol.md` §6.1); 0 means unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limits {
    /// Channels that may exist at once.
    pub max_channels: usize,
    /// Subscription records per channel: plain, durable (offline too), every queue member, a group's shadow.
    pub max_subscriptions: usize,
    /// Messages per channel.
    pub max_messages: u64,
    /// Bytes per channel, counted as §6.1 says.
    pub max_bytes: u64,
    /// Nanoseconds after which a message is removed.
    pub max_age_ns: u64,
    /// Nanoseconds without activity after which a channel is deleted.
    pub max_inactivity_ns: u64,
}

/// What one entry sets itself. `None` inherits, `Some(0)` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Subscription records.
    pub max_subscriptions: Option<usize>,
    /// Messages.
    pub max_messages: Option<u64>,
    /// Bytes, counted as §6.1 says.
    pub max_bytes: Option<u64>,
    /// Nanoseconds after which a message is removed.
    pub max_age_ns: Option<u64>,
    /// Nanoseconds without activity after which the channel is deleted.
    pub max_inactivity_ns: Option<u64>,
}

impl ChannelLimits {
    /// Whether it sets nothing.
    pub fn is_empty(&self) -> bool {
        *self == ChannelLimits::default()
    }

    /// These, with `later` set after them.
    #[must_use]
    pub fn then(&self, later: ChannelLimits) -> ChannelLimits {
        ChannelLimits {
            max_subscriptions: later.max_subscriptions.or(self.max_subscriptions),
            max_messages: later.max_messages.or(self.max_messages),
            max_bytes: later.max_bytes.or(self.max_bytes),
            max_age_ns: later.max_age_ns.or(self.max_age_ns),
            max_inactivity_ns: later.max_inactivity_ns.or(self.max_inactivity_ns),
        }
    }

    /// The limits of whoever inherits from `parent` and sets these.
    pub(crate) fn over(&self, parent: Limits) -> Limits {
        Limits {
            max_channels: parent.max_channels,
            max_subscriptions: self.max_subscriptions.unwrap_or(parent.max_subscriptions),
            max_messages: self.max_messages.unwrap_or(parent.max_messages),
            max_bytes: self.max_bytes.unwrap_or(parent.max_bytes),
            max_age_ns: self.max_age_ns.unwrap_or(parent.max_age_ns),
            max_inactivity_ns: self.max_inactivity_ns.unwrap_or(parent.max_inactivity_ns),
        }
    }
}
