//! What can go wrong, in words that say what to do.

use std::time::Duration;

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The NATS server could not be reached.
    #[error("no connection to the NATS server: {0}")]
    NotReached(String),
    /// The NATS server turned the client away.
    #[error("no connection to the NATS server: {0}")]
    Nats(String),
    /// Nobody serves this cluster ID behind the NATS server.
    #[error("no streaming server answered for cluster ID {cluster_id:?}: is it running, and is that its cluster ID?")]
    NoServer {
        /// The cluster ID that was asked for.
        cluster_id: String,
    },
    /// Nobody answered in time, and nobody said that there is no streaming server: it may be busy, or its disk slow.
    #[error("no streaming server for cluster ID {cluster_id:?} answered in time: it may be busy, or its disk slow")]
    NoAnswer {
        /// The cluster ID that was asked for.
        cluster_id: String,
    },
    /// Another client with this ID is alive.
    #[error("client ID {client_id:?} is already registered by a client that answers: every client needs its own ID")]
    ClientIdInUse {
        /// The ID.
        client_id: String,
    },
    /// The client ID has characters other than letters, digits, `-` and `_`, or none.
    #[error("client ID {client_id:?} is invalid: it may hold letters, digits, '-' and '_' only")]
    InvalidClientId {
        /// The ID.
        client_id: String,
    },
    /// An option that cannot be.
    #[error("invalid option: {0}")]
    InvalidOption(String),
    /// The server refused in other words.
    #[error("the server refused the connection: {0}")]
    Refused(String),
    /// What answered is no streaming server.
    #[error("the answer for cluster ID {cluster_id:?} is not one of a streaming server: {reason}")]
    InvalidAnswer {
        /// The cluster ID that was asked for.
        cluster_id: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConnectError {
    /// Whether the next attempt may find what is missing.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(
            self,
            ConnectError::NotReached(_) | ConnectError::NoServer { .. } | ConnectError::NoAnswer { .. }
        )
    }
}

/// Why a publish was not acknowledged. After [`AckTimeout`](PublishError::AckTimeout) and
/// [`ConnectionLost`](PublishError::ConnectionLost) the message may or may not be stored; otherwise it is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The server did not store it and says why.
    #[error("the server refused the message: {0}")]
    Refused(String),
    /// The server does not know the client, and did not store the message. The client registers again by itself, unless
    /// [`reconnect`](crate::ConnectOptions::reconnect) is off: publish again.
    #[error("the server no longer knows this client and did not store the message: publish it again")]
    Unregistered,
    /// Nothing was sent: the channel name is impossible, or the connection is closed.
    #[error("the message was not sent: {0}")]
    NotSent(String),
    /// No acknowledgement came in time.
    #[error("no acknowledgement within {0:?}: the message may or may not be stored")]
    AckTimeout(Duration),
    /// The connection was lost or closed while the acknowledgement was awaited.
    #[error("the connection ended before the acknowledgement came: the message may or may not be stored")]
    ConnectionLost,
}

/// Why a subscription did not come about, or could not be ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The durable is in use by another subscription of this client ID.
    #[error(
        "the durable subscription is already active: close the other one first, or let the server replace it (-replace_durable)"
    )]
    DurableInUse,
    /// An option that cannot be.
    #[error("invalid option: {0}")]
    InvalidOption(String),
    /// The server refused in other words.
    #[error("the server refused: {0}")]
    Refused(String),
    /// The server did not answer in time.
    #[error("the server did not answer within {0:?}")]
    Timeout(Duration),
    /// The server does not know the client.
    #[error("the server no longer knows this client")]
    Unregistered,
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
    /// The connection was lost for good.
    #[error("the connection was lost: {0}")]
    Lost(Loss),
    /// The server is too old to close a durable subscription without forgetting its place.
    #[error("the server cannot close a durable subscription and keep its place: close the connection instead")]
    CannotClose,
    /// The NATS connection failed.
    #[error("the NATS connection failed: {0}")]
    Nats(String),
}

/// Why a message could not be acknowledged: the connection is closed or its subscription has ended. The message comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the subscription has ended: the message will be delivered again")]
pub struct AckError;

/// Why a connection could not be closed in order; it is closed in this process all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The server refused.
    #[error("the server refused to close the connection: {0}")]
    Refused(String),
    /// The server did not answer in time.
    #[error("the server did not answer within {0:?}")]
    Timeout(Duration),
    /// The NATS connection failed.
    #[error("the NATS connection failed: {0}")]
    Nats(String),
    /// A publish failed, and its [`PendingPublish`](crate::PendingPublish) was dropped before.
    #[error("a publish that nobody awaited has failed: {0}")]
    Publish(PublishError),
}

/// Why a connection has ended, or is interrupted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// [`Client::close`](crate::Client::close) was called.
    #[error("the client closed the connection")]
    Closed,
    /// The server no longer knows this connection.
    #[error("the server no longer knows this connection: {0}")]
    Unknown(String),
    /// The server has not answered this many pings in a row.
    #[error("the server has not answered {0} pings")]
    Silent(u32),
    /// The NATS connection below was closed.
    #[error("the NATS connection was closed")]
    NatsClosed,
    /// Another client has registered under this ID meanwhile.
    #[error("another client has registered under this client ID")]
    ClientIdInUse,
}
