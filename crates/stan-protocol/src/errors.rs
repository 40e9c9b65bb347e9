//! The texts returned to clients (specification §3): exact, because clients compare them.

use crate::quote::quote;

/// Undecodable connect request, or one without heartbeat inbox (§3, ConnectResponse).
pub const INVALID_CONNECTION_REQUEST: &str = "stan: invalid connection request";
/// Client ID that breaks the rule of §4, also when empty (§3, ConnectResponse).
pub const INVALID_CLIENT_ID: &str = "stan: invalid clientID: only alphanumeric and `-` or `_` characters allowed";
/// A client of that ID is alive, or being checked (§3, ConnectResponse).
pub const CLIENT_ID_REGISTERED: &str = "stan: clientID already registered";
/// Undecodable publish, missing GUID, invalid channel name or unknown client (§3, PubAck).
pub const INVALID_PUBLISH_REQUEST: &str = "stan: invalid publish request";
/// Undecodable subscription request (§3, SubscriptionResponse).
pub const INVALID_SUBSCRIPTION_REQUEST: &str = "stan: invalid subscription request";
/// Subscription request without client ID (§3, SubscriptionResponse).
pub const CLIENT_ID_MISSING: &str = "stan: clientID missing";
/// Ack wait below one second (§3, SubscriptionResponse).
pub const INVALID_ACK_WAIT: &str = "stan: invalid ack wait time, should be >= 1s";
/// MaxInflight below one (§3, SubscriptionResponse).
pub const INVALID_MAX_INFLIGHT: &str = "stan: invalid MaxInflight, should be >= 1";
/// Start position outside 0 to 4 (§3, SubscriptionResponse).
pub const INVALID_START_POSITION: &str = "stan: invalid start position";
/// Channel name that breaks the rule of §4 (§3, SubscriptionResponse).
pub const INVALID_SUBJECT: &str = "stan: invalid subject";
/// The client is not registered or does not own the subscription (§3, SubscriptionResponse and CloseResponse).
pub const UNKNOWN_CLIENT_ID: &str = "stan: unknown clientID";
/// Durable name with a colon together with a queue group (§3, SubscriptionResponse).
pub const INVALID_DURABLE_QUEUE_NAME: &str =
    "stan: durable name of a durable queue subscriber can't contain the character ':'";
/// The durable is active (§3, SubscriptionResponse).
pub const DUPLICATE_DURABLE: &str = "stan: duplicate durable registration";
/// Undecodable request to remove or close a subscription (§3, SubscriptionResponse).
pub const INVALID_UNSUBSCRIBE_REQUEST: &str = "stan: invalid unsubscribe request";
/// Removing or closing a subscription of a channel that does not exist (§3, SubscriptionResponse).
pub const UNKNOWN_CHANNEL: &str = "stan: unknown channel";
/// Removing or closing a subscription that is not active (§3, SubscriptionResponse).
pub const INVALID_SUBSCRIPTION: &str = "stan: invalid subscription";
/// Undecodable close request (§3, CloseResponse).
pub const INVALID_CLOSE_REQUEST: &str = "stan: invalid close request";
/// The channel is being deleted after inactivity (§3, PubAck and SubscriptionResponse).
pub const CHANNEL_BEING_DELETED: &str = "stan: channel is being deleted";
/// No room for a new channel; no `stan: ` prefix (§3, PubAck and SubscriptionResponse).
pub const TOO_MANY_CHANNELS: &str = "too many channels";
/// No room for a new subscription; no `stan: ` prefix (§3, SubscriptionResponse).
pub const TOO_MANY_SUBSCRIPTIONS: &str = "too many subscriptions per channel";
/// Ping of a connection that is not the registered one (§3, PingResponse).
pub const CLIENT_REPLACED: &str = "client has been replaced or is no longer registered";
/// The server is so far behind that it cannot keep the publish, and nobody in between can be held back. The original has no such text: it
/// is cut off by its NATS server then.
pub const SERVER_BEHIND: &str = "stan: server is behind and did not keep the message, publish it again";

/// The channel name differs only by case from an existing one (§3, PubAck and SubscriptionResponse).
///
/// The misspelling is part of the text.
pub fn channel_case_conflict(new: &[u8], existing: &[u8]) -> String {
    format!(
        "rejecting channel {} because channel {} alreay exists (different cases not allowed)",
        quote(new),
        quote(existing)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_conflict_quotes_both_names() {
        assert_eq!(
            channel_case_conflict(b"Foo", b"foo"),
            "rejecting channel \"Foo\" because channel \"foo\" alreay exists (different cases not allowed)"
        );
        assert_eq!(
            channel_case_conflict(b"F\"\xff", b"f\"\xff"),
            "rejecting channel \"F\\\"\\xff\" because channel \"f\\\"\\xff\" alreay exists (different cases not allowed)"
        );
    }
}
