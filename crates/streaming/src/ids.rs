//! What the engine, its store and its bus call the same thing by.

/// A channel's identity in the store. Never reused: a channel that is deleted and created again gets a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u64);

/// Names an outstanding read or seek; its answer carries it back. Never reused in a process lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names an outstanding request of the engine to a client (heartbeat or duplicate check).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u64);
