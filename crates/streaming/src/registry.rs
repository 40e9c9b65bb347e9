//! Who there is, and how they find each other.

pub(crate) mod ack_inboxes;
pub(crate) mod channel;
pub(crate) mod channels;
pub(crate) mod client;
pub(crate) mod clients;
pub(crate) mod groups;
pub(crate) mod halts;
mod holders;
pub(crate) mod inboxes;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod members;
mod roster;
pub(crate) mod subscription;
pub(crate) mod subscriptions;
pub(crate) mod trail;
