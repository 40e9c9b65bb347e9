//! Why a connection ended (core specification §1.16).

/// The reasons this server can give; the texts are compared by tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// End of file from the peer.
    ClientClosed,
    /// No agreement about TLS.
    TlsHandshakeFailure,
    /// Too many bytes queued.
    SlowConsumerPendingBytes,
    /// The peer took nothing for too long.
    SlowConsumerWriteDeadline,
    /// The socket refused a write.
    WriteError,
    /// The socket refused a read.
    ReadError,
    /// Arguments that cannot be read; closed without a word.
    ParseError,
    /// Unanswered pings.
    StaleConnection,
    /// A violation that was answered with `-ERR`.
    ProtocolViolation,
    /// CONNECT with an unknown protocol.
    BadClientProtocolVersion,
    /// No CONNECT in time.
    AuthenticationTimeout,
    /// CONNECT refused, or no longer good after a reload.
    AuthenticationFailure,
    /// `max_connections` reached.
    MaximumConnectionsExceeded,
    /// `max_connections` of its account reached.
    MaximumAccountConnectionsExceeded,
    /// Declared payload too large.
    MaximumPayloadExceeded,
    /// Control line too long.
    MaximumControlLineExceeded,
    /// The server stops.
    ServerShutdown,
    /// HPUB without header support.
    MessageHeaderViolation,
    /// `no_responders` without `headers`.
    NoRespondersRequiresHeaders,
    /// Another server wants more subjects than it may.
    MaximumSubscriptionsExceeded,
    /// Closed by an operator.
    Kicked,
    /// A client where servers connect.
    IncorrectPort,
    /// Another connection to the same server exists, or it is this server itself.
    DuplicateRoute,
    /// Another server of the cluster has the same name.
    DuplicateServerName,
    /// The other server belongs to another cluster.
    ClusterNameConflict,
    /// The other server is to connect anew.
    RouteRemoved,
}

impl CloseReason {
    /// The text of §1.16.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::ClientClosed => "Client Closed",
            Self::TlsHandshakeFailure => "TLS Handshake Failure",
            Self::SlowConsumerPendingBytes => "Slow Consumer (Pending Bytes)",
            Self::SlowConsumerWriteDeadline => "Slow Consumer (Write Deadline)",
            Self::WriteError => "Write Error",
            Self::ReadError => "Read Error",
            Self::ParseError => "Parse Error",
            Self::StaleConnection => "Stale Connection",
            Self::ProtocolViolation => "Protocol Violation",
            Self::BadClientProtocolVersion => "Bad Client Protocol Version",
            Self::AuthenticationTimeout => "Authentication Timeout",
            Self::AuthenticationFailure => "Authentication Failure",
            Self::MaximumConnectionsExceeded => "Maximum Connections Exceeded",
            Self::MaximumAccountConnectionsExceeded => "Maximum Account Connections Exceeded",
            Self::MaximumPayloadExceeded => "Maximum Message Payload Exceeded",
            Self::MaximumControlLineExceeded => "Maximum Control Line Exceeded",
            Self::ServerShutdown => "Server Shutdown",
            Self::MessageHeaderViolation => "Message Header Violation",
            Self::NoRespondersRequiresHeaders => "No Responders Requires Headers",
            Self::MaximumSubscriptionsExceeded => "Maximum Subscriptions Exceeded",
            Self::Kicked => "Kicked",
            Self::IncorrectPort => "Incorrect Port",
            Self::DuplicateRoute => "Duplicate Route",
            Self::DuplicateServerName => "Duplicate Server Name",
            Self::ClusterNameConflict => "Cluster Name Conflict",
            Self::RouteRemoved => "Route Removed",
        }
    }

    /// Whether a client was refused for want of authorization.
    pub(crate) fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::AuthenticationTimeout | Self::AuthenticationFailure | Self::MaximumAccountConnectionsExceeded
        )
    }

    /// Whether the peer read too slowly.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Self::SlowConsumerPendingBytes | Self::SlowConsumerWriteDeadline)
    }

    /// Whether what is queued is still offered to the peer before the socket closes. Without it, the bytes are lost
    /// with the connection.
    pub(crate) fn flushes(self) -> bool {
        match self {
            Self::StaleConnection
            | Self::ProtocolViolation
            | Self::BadClientProtocolVersion
            | Self::AuthenticationTimeout
            | Self::AuthenticationFailure
            | Self::MaximumConnectionsExceeded
            | Self::MaximumAccountConnectionsExceeded
            | Self::MaximumPayloadExceeded
            | Self::MaximumControlLineExceeded
            | Self::NoRespondersRequiresHeaders
            | Self::ParseError
            | Self::MessageHeaderViolation
            | Self::MaximumSubscriptionsExceeded
            | Self::IncorrectPort
            | Self::DuplicateRoute
            | Self::DuplicateServerName
            | Self::ClusterNameConflict
            | Self::RouteRemoved
            | Self::ServerShutdown => true,
            Self::ClientClosed
            | Self::TlsHandshakeFailure
            | Self::SlowConsumerPendingBytes
            | Self::SlowConsumerWriteDeadline
            | Self::WriteError
            | Self::ReadError
            | Self::Kicked => false,
        }
    }
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.text())
    }
}
