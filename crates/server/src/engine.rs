//! The engine threads: one owner of the streaming state at a time, fed by the broker and the store.
//!
//! One pass: take everything that waits, let the engine handle it, start the next commit, release what became durable,
//! fire deadlines, end the pass, and hand what is to be sent to the broker in one go. Deadlines fire after the inputs that
//! waited, so a stalled disk or a stopped process loses no client and redelivers nothing whose ack was waiting.

mod arrivals;
mod bus;
mod changes;
mod checkpoints;
mod deferred;
mod health;
mod inbox;
mod left_behind;
mod look;
mod pass;
mod thread;
mod tokens;
mod world;

pub(crate) use bus::{EngineBus, Seat};
pub use changes::{ChangeRequest, Named, Wanted};
pub(crate) use deferred::Tag;
pub use health::Health;
pub use inbox::{Glance, Inbox, Query};
pub use left_behind::LeftBehind;
pub(crate) use left_behind::{Counted, Headcount};
pub use look::{Look, LookError, LookStart, Looked};
pub(crate) use pass::Clock;
pub use thread::EngineThreads;
pub(crate) use thread::start;
pub(crate) use world::World;
