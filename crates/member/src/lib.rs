//! A member of a replicated cluster, as one thing: its journal, the replica that decides about it, and everything that is on its way between
//! the two.
//!
//! [`Member`] takes what happens (ticks, frames of other members, finished jobs) and does what follows; what it sends goes through the port
//! [`Network`]. It is shared, as [`SharedMember`], between the thread that feeds it ([`MemberThread`]) and [`ReplicatedStore`], which is
//! what an engine sees of it for one term: a store in which durable means that a quorum has it. An engine whose term has ended finds the
//! store out of service and can append nothing.
//!
//! It knows neither sockets nor what a record means. A follower has no engine that could write checkpoints; whoever knows what the facts
//! mean does it through [`Folder`] ([`EngineFolder`] is the one for the streaming engine).

mod bodies;
mod cache;
mod folding;
mod hands;
mod inbox;
mod jobs;
pub mod limits;
mod log;
mod member;
mod members;
mod network;
mod news;
mod opening;
#[cfg(feature = "simulated")]
pub mod planted;
#[cfg(not(feature = "simulated"))]
mod planted;
mod shared;
mod store;
mod term;
mod thread;

pub use folding::{EngineFolder, Facts, Folder};
pub use inbox::{Full, Inbox};
pub use log::{Founding, JournalLog, NotOpened};
pub use member::{Driving, Member, Options};
pub use network::Network;
pub use news::News;
pub use opening::NotServing;
pub use shared::SharedMember;
pub use store::ReplicatedStore;
pub use thread::MemberThread;
