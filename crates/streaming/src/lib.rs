//! The streaming engine: clients, channels, subscriptions, durables, queue groups, ack windows, redelivery and limits.
//!
//! It is a function: [`Engine::handle`] takes a time and an [`Input`] and speaks through [`Effects`]: a store
//! ([`Records`]), a bus ([`Bus`]) and a log. It knows no sockets, files, threads, clocks or randomness; the same inputs give the same effects, byte for byte.

pub mod bus;
pub mod change;
pub mod effects;
pub mod event;
pub mod export;
pub mod import;
pub mod input;
pub mod options;
pub mod portable;
pub mod records;
pub mod snapshot;
pub mod time;
pub mod why;

mod channel_limits;
mod engine;
mod facts;
mod ids;
mod ledger;
mod limits;
mod limits_table;
mod position;
mod registry;
mod replay;
mod tally;
mod waiting;

pub use bus::{Bus, Carried, Delivery, Destination};
pub use change::{Asked, Change, ChangeId, Changed, Extent, Place, Reader, Settlement, Unchanged};
pub use channel_limits::{ChannelLimits, Limits};
pub use effects::{Effects, Events};
pub use engine::{Engine, StartError, StartSummary};
pub use event::{Event, Level, StartLine, SubscriptionVerb};
pub use input::{ChannelId, Input, ProbeId, Service, StoredMessage, Ticket};
pub use limits_table::{LimitsEntry, LimitsError, LimitsTable};
pub use options::{Options, Slices};
pub use records::{Admission, Head, Lookup, Need, Position, ReadRequest, Records, Refusal, Seek, Unreadable, Urgency};
pub use replay::RecoverError;
pub use snapshot::{
    AuditQuestion, AuditedChange, ChannelSnapshot, ClientSnapshot, Counters, Page, PausedSnapshot, ServerSnapshot,
    Stored, SubscriptionSnapshot, Survey, SurveySlice, SurveyedChannel, SurveyedSubscription,
};
pub use time::{Now, Timestamp};
pub use why::{Fact, FactValue, SequenceRange, Verdict, WhyQuestion, WhyReport, WhySubscription};

#[cfg(test)]
extern crate self as seaway_streaming;
#[cfg(test)]
#[path = "../tests/world/mod.rs"]
mod world;
