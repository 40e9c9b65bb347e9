//! What waits, and for whom: queues with their bounds, each of which says who is next.

pub(crate) mod congestion;
pub(crate) mod dirty;
pub(crate) mod offers;
pub(crate) mod replies;
pub(crate) mod timers;
pub(crate) mod unregistered;
pub(crate) mod work;
