//! The exact `-ERR` texts that clients compare (core specification §1.12), in one table.

use crate::quote::quote;

/// One `-ERR` text. Whether the server closes after it is [`ErrorText::closes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorText<'a> {
    /// Bad verb or bad payload terminator.
    UnknownProtocolOperation,
    /// Authentication failed, CONNECT missing, or a legacy `account` field.
    AuthorizationViolation,
    /// No CONNECT in time.
    AuthenticationTimeout,
    /// `max_connections` reached.
    MaximumConnectionsExceeded,
    /// `max_connections` of the client's account reached.
    MaximumAccountConnectionsExceeded,
    /// Per-connection subscription limit reached.
    MaximumSubscriptionsExceeded,
    /// Control line too long.
    MaximumControlLineExceeded,
    /// Payload larger than `max_payload`.
    MaximumPayloadViolation,
    /// CONNECT `protocol` is neither 0 nor 1.
    InvalidClientProtocol,
    /// CONNECT asks for `no_responders` without `headers`.
    NoRespondersRequiresHeaders,
    /// Pedantic publish to a subject that is no valid literal.
    InvalidPublishSubject,
    /// SUB with a malformed subject.
    InvalidSubject,
    /// Publish denied; carries the subject.
    PublishViolation(&'a [u8]),
    /// Publish with a reserved reply; carries the reply.
    ReplyViolation(&'a [u8]),
    /// Subscription denied; carries the subject.
    SubscriptionViolation(&'a [u8]),
    /// Subscription denied; carries subject and queue.
    QueueSubscriptionViolation(&'a [u8], &'a [u8]),
    /// Subscription ended because a reload took the right to it; carries subject and sid.
    SubscriptionRevoked(&'a [u8], &'a [u8]),
    /// Subscription has more tokens than `max_sub_tokens`; carries the subject.
    TooManyTokens(&'a [u8]),
    /// Unanswered pings.
    StaleConnection,
    /// A client where servers connect.
    ClientOnRoutePort,
    /// Another cluster's gateway where servers connect; carries the cluster's name.
    GatewayOnRoutePort(&'a [u8]),
    /// A server of another cluster; carries its name and this cluster's.
    OtherCluster(&'a [u8], &'a [u8]),
    /// A connection for one account alone, which this server does not have; carries the account.
    NoDedicatedRoute(&'a [u8]),
}

impl ErrorText<'_> {
    /// The text between the single quotes.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::UnknownProtocolOperation => "Unknown Protocol Operation".into(),
            Self::AuthorizationViolation => "Authorization Violation".into(),
            Self::AuthenticationTimeout => "Authentication Timeout".into(),
            Self::MaximumConnectionsExceeded => "maximum connections exceeded".into(),
            Self::MaximumAccountConnectionsExceeded => "maximum account active connections exceeded".into(),
            Self::MaximumSubscriptionsExceeded => "maximum subscriptions exceeded".into(),
            Self::MaximumControlLineExceeded => "maximum control line exceeded".into(),
            Self::MaximumPayloadViolation => "Maximum Payload Violation".into(),
            Self::InvalidClientProtocol => "invalid client protocol".into(),
            Self::NoRespondersRequiresHeaders => "no responders requires headers support".into(),
            Self::InvalidPublishSubject => "Invalid Publish Subject".into(),
            Self::InvalidSubject => "Invalid Subject".into(),
            Self::PublishViolation(subject) => format!("Permissions Violation for Publish to {}", quote(subject)),
            Self::ReplyViolation(reply) => {
                format!("Permissions Violation for Publish with Reply of {}", quote(reply))
            }
            Self::SubscriptionViolation(subject) => {
                format!("Permissions Violation for Subscription to {}", quote(subject))
            }
            Self::QueueSubscriptionViolation(subject, queue) => {
                format!(
                    "Permissions Violation for Subscription to {} using queue {}",
                    quote(subject),
                    quote(queue)
                )
            }
            Self::SubscriptionRevoked(subject, sid) => {
                format!(
                    "Permissions Violation for Subscription to {} (sid {})",
                    quote(subject),
                    quote(sid)
                )
            }
            Self::TooManyTokens(subject) => {
                format!(
                    "Permissions Violation for Subscription to {}, too many tokens",
                    quote(subject)
                )
            }
            Self::StaleConnection => "Stale Connection".into(),
            Self::ClientOnRoutePort => "attempted to connect to route port".into(),
            Self::GatewayOnRoutePort(cluster) => {
                format!("Rejecting connection from gateway {} on the Route port", quote(cluster))
            }
            Self::OtherCluster(theirs, ours) => {
                format!(
                    "Rejecting connection, cluster name {} does not match {}",
                    quote(theirs),
                    quote(ours)
                )
            }
            Self::NoDedicatedRoute(account) => {
                format!(
                    "Not possible to have a dedicated route for account {} between those servers",
                    quote(account)
                )
            }
        }
    }

    /// Whether the server closes the connection after this text has been flushed.
    #[must_use]
    pub fn closes(&self) -> bool {
        match self {
            Self::UnknownProtocolOperation
            | Self::AuthorizationViolation
            | Self::AuthenticationTimeout
            | Self::MaximumConnectionsExceeded
            | Self::MaximumAccountConnectionsExceeded
            | Self::MaximumControlLineExceeded
            | Self::MaximumPayloadViolation
            | Self::InvalidClientProtocol
            | Self::NoRespondersRequiresHeaders
            | Self::StaleConnection
            | Self::ClientOnRoutePort
            | Self::GatewayOnRoutePort(_)
            | Self::OtherCluster(..)
            | Self::NoDedicatedRoute(_) => true,
            Self::MaximumSubscriptionsExceeded
            | Self::InvalidPublishSubject
            | Self::InvalidSubject
            | Self::PublishViolation(_)
            | Self::ReplyViolation(_)
            | Self::SubscriptionViolation(_)
            | Self::QueueSubscriptionViolation(_, _)
            | Self::SubscriptionRevoked(_, _)
            | Self::TooManyTokens(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorText;

    #[test]
    fn texts_match_section_1_12_byte_for_byte() {
        let table: &[(ErrorText<'_>, &str, bool)] = &[
            (ErrorText::UnknownProtocolOperation, "Unknown Protocol Operation", true),
            (ErrorText::AuthorizationViolation, "Authorization Violation", true),
            (
                ErrorText::MaximumConnectionsExceeded,
                "maximum connections exceeded",
                true,
            ),
            (
                ErrorText::MaximumAccountConnectionsExceeded,
                "maximum account active connections exceeded",
                true,
            ),
            (
                ErrorText::MaximumSubscriptionsExceeded,
                "maximum subscriptions exceeded",
                false,
            ),
            (
                ErrorText::MaximumControlLineExceeded,
                "maximum control line exceeded",
                true,
            ),
            (ErrorText::MaximumPayloadViolation, "Maximum Payload Violation", true),
            (ErrorText::InvalidClientProtocol, "invalid client protocol", true),
            (
                ErrorText::NoRespondersRequiresHeaders,
                "no responders requires headers support",
                true,
            ),
            (ErrorText::InvalidPublishSubject, "Invalid Publish Subject", false),
            (ErrorText::InvalidSubject, "Invalid Subject", false),
            (
                ErrorText::PublishViolation(b"a"),
                "Permissions Violation for Publish to \"a\"",
                false,
            ),
            (
                ErrorText::ReplyViolation(b"_R_.x"),
                "Permissions Violation for Publish with Reply of \"_R_.x\"",
                false,
            ),
            (
                ErrorText::SubscriptionViolation(b"a"),
                "Permissions Violation for Subscription to \"a\"",
                false,
            ),
            (
                ErrorText::QueueSubscriptionViolation(b"a", b"q"),
                "Permissions Violation for Subscription to \"a\" using queue \"q\"",
                false,
            ),
            (
                ErrorText::TooManyTokens(b"a.b.c"),
                "Permissions Violation for Subscription to \"a.b.c\", too many tokens",
                false,
            ),
            (ErrorText::AuthenticationTimeout, "Authentication Timeout", true),
            (
                ErrorText::SubscriptionRevoked(b"a", b"7"),
                "Permissions Violation for Subscription to \"a\" (sid \"7\")",
                false,
            ),
            (ErrorText::StaleConnection, "Stale Connection", true),
            (ErrorText::ClientOnRoutePort, "attempted to connect to route port", true),
            (
                ErrorText::GatewayOnRoutePort(b"g"),
                "Rejecting connection from gateway \"g\" on the Route port",
                true,
            ),
            (
                ErrorText::OtherCluster(b"a", b"b"),
                "Rejecting connection, cluster name \"a\" does not match \"b\"",
                true,
            ),
            (
                ErrorText::NoDedicatedRoute(b"$SYS"),
                "Not possible to have a dedicated route for account \"$SYS\" between those servers",
                true,
            ),
        ];
        for (error, text, closes) in table {
            assert_eq!(error.text(), *text);
            assert_eq!(error.closes(), *closes, "{text}");
        }
    }
}
