//! Limits over limits.

use seaway_streaming::{ChannelLimits, Limits};

/// What is set counts, and else what is there.
pub(super) fn overlay(mut limits: Limits, own: &ChannelLimits) -> Limits {
    limits.max_subscriptions = own.max_subscriptions.unwrap_or(limits.max_subscriptions);
    limits.max_messages = own.max_messages.unwrap_or(limits.max_messages);
    limits.max_bytes = own.max_bytes.unwrap_or(limits.max_bytes);
    limits.max_age_ns = own.max_age_ns.unwrap_or(limits.max_age_ns);
    limits.max_inactivity_ns = own.max_inactivity_ns.unwrap_or(limits.max_inactivity_ns);
    limits
}
