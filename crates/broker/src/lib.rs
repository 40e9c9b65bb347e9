//! The core NATS broker: routing, connections and back-pressure.
//!
//! Each connection is one task that parses a whole read, resolves routes through a cache over the routing table,
//! gathers bytes per destination and hands them over with one lock per destination and batch. Idle connections
//! hold no buffer. In-process parties attach through [`Attachment`]. Nothing here knows about streaming.
//!
//! Who may connect and what he may do is decided in `access`, applied in `session` (CONNECT, PUB, SUB) and `routing`
//! (deliveries). Accounts and routes to other servers have their places there too; they are not built yet.

mod access;
mod admission;
mod attachment;
mod broker;
mod connection;
mod gather;
mod identity;
mod limits;
mod listener;
mod lock;
mod options;
mod outbound;
mod publisher;
mod reason;
mod requester;
mod routing;
mod session;
mod settings;
mod snapshot;
mod subscription;
mod tls;
mod workspace;

pub use access::{
    Access, Authorization, InvalidAuthorization, InvalidRule, Login, Permissions, ResponseRules, Secret, SubjectRules,
    User,
};
pub use attachment::{
    Attachment, Batch, BatchMessage, ConnectionId, Destination, Gate, Interest, InvalidPattern, Sink,
};
pub use broker::Broker;
pub use listener::{Listener, bind_host};
pub use options::BrokerOptions;
pub use publisher::{Published, Publisher};
pub use reason::CloseReason;
pub use requester::Requester;
pub use settings::Reloaded;
pub use snapshot::{
    BrokerSnapshot, ConnectionFilter, ConnectionSnapshot, ConnectionState, SubscriptionDetail, SubscriptionSnapshot,
    TlsSnapshot,
};
pub use tls::{HandshakeFirst, Tls, TlsDetails, TlsError, TlsOptions};
