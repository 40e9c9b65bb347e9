//! Monitoring over HTTP: what the broker and the streaming engine say of themselves (streaming specification §8, core
//! specification §6).
//!
//! This crate decides paths, parameters, key order and texts of the answers. It knows nothing of the insides of a server:
//! it asks a [`Source`] for snapshots, which can neither block nor change what they show.
//!
//! [`serve`] answers requests on a listener, [`Answers`] and [`SystemAnswers`] those that come another way. Requests are hostile until proven otherwise: connections, queries, waiting
//! times and list sizes are bounded, see [`limits`].

pub mod limits;

mod accounts;
mod answers;
mod audit;
mod broker;
mod connections;
mod durables;
mod features;
mod json;
mod metrics;
mod moment;
mod pages;
mod process;
mod query;
mod reply;
mod routes;
mod serve;
mod site;
mod snapshot;
mod streaming;
mod system;
mod why;

pub use accounts::GLOBAL_ACCOUNT;
pub use answers::{Answers, Refusal};
pub use serve::{Caller, TlsSource, router, serve};
pub use snapshot::{
    Account, Answer, ArchiveFigures, AuditEntry, AuditQuestion, Broker, Channel, ChannelFilter, ChannelLimits,
    ChannelLimitsSet, Client, ClientChange, Cluster, Connection, ConnectionState, ConnectionSubscription,
    ConnectionsWanted, Detail, EngineFigures, ExternalNats, Fact, Figures, Health, Histogram, JournalFigures,
    Membership, Page, PageRequest, Role, Route, SequenceRange, SlowConsumers, Source, StoreLimits, StreamingIdentity,
    StreamingServer, StreamingState, StreamingStore, Subscription, Survey, SurveyRequest, SurveyedChannel,
    SurveyedSubscription, Unavailable, Why, WhyQuestion, WhySubscription,
};
pub use system::SystemAnswers;
