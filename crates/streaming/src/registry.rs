//! Who there is, and how they find each other.

pub(crate) mod ack_inboxes;
pub(crate) mod client;
pub(crate) mod clients;
pub(crate) mod keys;
pub(crate) mod members;
pub(crate) mod roster;
