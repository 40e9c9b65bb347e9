//! The streaming engine: clients, channels, subscriptions, durables, queue groups, ack windows, redelivery and limits.
//!
//! It is a function: [`Engine::handle`] takes a time and an [`Input`] and speaks through [`Effects`]: a store
//! ([`Records`]), a bus ([`Bus`]) and a log. It knows no sockets, files, threads, clocks or randomness; the same inputs give the same effects, byte for byte.

pub mod bus;
pub mod effects;
pub mod event;
pub mod input;
pub mod options;
pub mod records;
pub mod snapshot;
pub mod time;
pub mod why;

mod acks;
mod checkpoint;
mod clients;
mod congestion;
mod cursor;
mod deadlines;
mod delivery;
mod dirty;
mod engine;
mod facts;
mod groups;
mod ids;
mod inactivity;
mod keys;
mod leave;
mod limits;
mod limits_table;
mod members;
mod offers;
mod partition;
mod pass;
mod pending;
mod persist;
mod publish;
mod recovery;
mod redelivery;
mod replay;
mod replies;
mod retention;
mod roster;
mod state;
mod subscribe;
mod timers;
mod unregistered;
mod wall_clock;
mod work;

pub use bus::{Bus, Carried, Delivery, Destination};
pub use effects::{Effects, Events};
pub use engine::Engine;
pub use event::{Event, Level, StartLine, SubscriptionVerb};
pub use input::{ChannelId, Input, ProbeId, Service, StoredMessage, Ticket};
pub use limits_table::{ChannelLimits, LimitsEntry, LimitsError, LimitsTable};
pub use options::{Limits, Options, Slices};
pub use records::{Admission, Head, Lookup, Need, Position, ReadRequest, Records, Refusal, Seek, Urgency};
pub use recovery::{StartError, StartSummary};
pub use replay::RecoverError;
pub use snapshot::{
    ChannelSnapshot, ClientSnapshot, Counters, Page, ServerSnapshot, Stored, SubscriptionSnapshot, Survey, SurveySlice,
    SurveyedChannel, SurveyedSubscription,
};
pub use time::{Now, Timestamp};
pub use why::{Fact, FactValue, SequenceRange, Verdict, WhyQuestion, WhyReport, WhySubscription};
