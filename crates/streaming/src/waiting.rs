//! What waits, and for whom: queues with their bounds, each of which says who is next.

pub(crate) mod budget;
pub(crate) mod checkpoint;
pub(crate) mod congestion;
pub(crate) mod dirty;
pub(crate) mod mark;
pub(crate) mod offers;
pub(crate) mod questions;
pub(crate) mod replies;
pub(crate) mod retention;
pub(crate) mod sweep;
pub(crate) mod timers;
pub(crate) mod touched;
pub(crate) mod unregistered;
pub(crate) mod way;
pub(crate) mod work;
