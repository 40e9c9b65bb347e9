//! Who is at the other end of a connection, as its task sees it: what the bytes mean, what else there is to do, and what the end is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::timers::Timers;
use super::verification::{Verification, Verified};
use crate::connection::Connection;
use crate::gather::{Aftermath, Gatherer};
use crate::origin::Origin;
use crate::reason::CloseReason;
use crate::shared::Shared;

/// Why a batch was not handled to its end.
pub(crate) enum Halt {
    Close(CloseReason),
    /// The client's password has to be compared with a hash first.
    Verify(Box<Verification>),
}

impl From<CloseReason> for Halt {
    fn from(reason: CloseReason) -> Self {
        Halt::Close(reason)
    }
}

/// What became of the bytes of one read.
pub(crate) struct Batch {
    pub(crate) consumed: usize,
    /// Length of the operation that is not whole yet, if known.
    pub(crate) needed: usize,
    /// Others have to be served first: whole operations may be left.
    pub(crate) yielded: bool,
    pub(crate) aftermath: Aftermath,
    pub(crate) end: Option<Halt>,
}

/// Ends a turn in which so many messages and bytes came.
#[inline]
pub(crate) fn end_turn(
    shared: &Shared,
    connection: &Connection,
    gatherer: &mut Gatherer,
    origin: Origin,
    (messages, bytes): (u64, u64),
) -> Aftermath {
    if messages > 0 {
        connection.in_messages.fetch_add(messages, Ordering::Relaxed);
        connection.in_bytes.fetch_add(bytes, Ordering::Relaxed);
        shared.counters.in_messages.fetch_add(messages, Ordering::Relaxed);
        shared.counters.in_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
    let aftermath = gatherer.finish(&shared.counters, origin);
    shared.counters.turned(aftermath.work);
    shared.tell_news();
    aftermath
}

/// See the module.
pub(crate) trait Party: Send {
    /// Handles whole operations at the front of `data`, as many as a turn has room for; with `verified`, what the CONNECT before it
    /// waited for first.
    fn handle_batch(
        &mut self,
        shared: &Arc<Shared>,
        connection: &Arc<Connection>,
        timers: &mut Timers,
        gatherer: &mut Gatherer,
        data: &[u8],
        verified: Option<Verified>,
    ) -> Batch;

    /// Somebody has woken the connection's task.
    fn woken(&mut self, shared: &Shared, connection: &Connection, timers: &mut Timers);

    /// Whether something has to be done before more is read.
    fn has_work(&mut self, connection: &Connection) -> bool;

    /// Does a slice of it.
    fn work(&mut self, shared: &Shared, connection: &Connection);

    /// The end begins; what is to be done for it follows as work, slice by slice.
    fn leave(&mut self, shared: &Shared, connection: &Connection, reason: CloseReason);

    /// Everything is done: nobody knows the connection any more.
    fn left(&mut self, shared: &Shared, connection: &Arc<Connection>, reason: CloseReason);
}
