//! The core NATS broker: routing, connections and back-pressure.
//!
//! Each connection is one task that parses a whole read, resolves routes through a cache over the routing table,
//! gathers bytes per destination and hands them over with one lock per destination and batch. Idle connections
//! hold no buffer. In-process parties attach through [`Attachment`]. Nothing here knows about streaming.
//!
//! From the ground up: `routing` knows subscriptions and asks their owners through a trait; `outbound` is the way to one client,
//! `sink` and `gate` that to an in-process party; `owner` and `connection` are who subscribes; `gather` delivers; `shared` is what
//! all parts look up; above it `session` serves clients, `publisher` and `attachment` serve the process itself.
//!
//! Other servers of a cluster are known to `mesh`; `links` makes the connections to them and speaks over them, each a connection
//! like a client's with another party at its end. What this server's own subscribers want is kept in `routing` and told by
//! `announcer`, in order with the messages.
//!
//! Who may connect and what he may do is decided in `access`, applied in `session` (CONNECT, PUB, SUB) and `routing`
//! (deliveries). What belongs to different accounts never meets: each
//! has its own table (`account`).

mod access;
mod account;
mod admission;
mod announcer;
mod attachment;
mod broker;
mod connection;
mod counters;
mod events;
mod frame;
mod gate;
mod gather;
mod identity;
mod imports;
mod kind;
mod lame_duck;
mod limits;
mod links;
mod listener;
mod lock;
mod mesh;
mod monitoring;
mod options;
mod origin;
mod outbound;
mod outlets;
mod owner;
mod pieces;
mod publisher;
mod queues;
mod reason;
mod reloading;
mod requester;
mod routing;
mod session;
mod sessions;
mod settings;
mod shared;
mod sink;
mod snapshot;
mod tls;
mod workspace;

pub use access::{
    Access, Authorization, InvalidAuthorization, InvalidRule, Login, Permissions, ResponseRules, Secret, SubjectRules,
    User,
};
pub use attachment::{Attachment, InvalidPattern};
pub use broker::Broker;
pub use events::{ClientEvent, ClientEventKind};
pub use gate::Gate;
pub use limits::{GLOBAL_ACCOUNT, HASH_COST_MAX, ROUTES_MAX, SESSIONS_ENDING_MAX, SYSTEM_ACCOUNT};
pub use listener::{Listener, NotServed, bind_host};
pub use mesh::{ClusterOptions, RouteAddress, host_and_port};
pub use options::{AccountOptions, BrokerOptions, ImportKind, ImportOptions};
pub use publisher::{Published, Publisher};
pub use reason::CloseReason;
pub use reloading::Reloaded;
pub use requester::Requester;
pub use sink::{Batch, BatchMessage, ConnectionId, Destination, Interest, Sink};
pub use snapshot::{
    AccountSnapshot, BrokerSnapshot, ClusterSnapshot, ConnectionFilter, ConnectionSnapshot, ConnectionState,
    RouteSnapshot, SubscriptionDetail, SubscriptionSnapshot, TlsSnapshot,
};
pub use tls::{HandshakeFirst, Tls, TlsDetails, TlsError, TlsOptions};
