//! The streaming engine: clients, channels, subscriptions, durables, queue groups, ack windows, redelivery and limits.
//!
//! It is a function: [`Engine::handle`](crate) takes a time and an [`Input`] and speaks through [`Effects`]. It knows no
//! sockets, files, threads, clocks or randomness; the same inputs give the same effects, byte for byte.

pub mod effects;
pub mod event;
pub mod input;
pub mod time;

pub use event::{Event, Level};
pub use effects::{
    Admission, Delivered, Delivery, Destination, Effects, Head, Need, Position, ReadRequest, Refusal, Seek, Source,
    Urgency,
};
pub use input::{ChannelId, Input, ProbeId, Service, StoredMessage, Ticket};
pub use time::{Now, Timestamp};
