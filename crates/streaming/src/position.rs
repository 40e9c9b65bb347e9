//! Where a subscription or a group is in a channel's log: what it was sent, what it holds, when that is due
//! again, and what of the log is damaged or lost.

pub(crate) mod cursor;
pub(crate) mod damage;
pub(crate) mod deadlines;
pub(crate) mod lost;
pub(crate) mod pending;
pub(crate) mod window;
