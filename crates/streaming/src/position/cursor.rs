//! A position in a channel's log, with what it waits for.
//!
//! A plain or durable subscription has one, and a queue group has one for all its members. A member has one of its own too,
//! for what it is sent again. All are moved along by the same loop and read from disk in the same way (`delivery`).

use crate::input::Ticket;
use crate::registry::keys::CursorKey;
use crate::waiting::timers::{Timer, TimerSlot, Timers};

/// An outstanding read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) ticket: Ticket,
    pub(crate) from: u64,
    /// Last sequence asked for.
    pub(crate) to: u64,
}

/// What a cursor waits for that has to read from disk.
#[derive(Debug, Default)]
struct Waits {
    reading: Option<Reading>,
    retry_timer: TimerSlot,
    /// Since when, and from which sequence on, it reads what is not in memory; none when it has caught up.
    catching_up: Option<(u64, u64)>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Cursor {
    last_sent: u64,
    /// In the work queue, or among the work that waits for the bus.
    queued: bool,
    /// Made when it waits for the first time, then kept: catching up allocates nothing for a message.
    waits: Option<Box<Waits>>,
}

impl Cursor {
    /// Behind a sequence; what comes next is the one after.
    pub(crate) fn behind(last_sent: u64) -> Cursor {
        Cursor {
            last_sent,
            queued: false,
            waits: None,
        }
    }

    /// The highest sequence that was sent or passed over.
    pub(crate) fn last_sent(&self) -> u64 {
        self.last_sent
    }

    /// The next sequence to send in a log that begins with `first`.
    pub(crate) fn next(&self, first: u64) -> u64 {
        (self.last_sent + 1).max(first)
    }

    /// Moves on to a sequence; never back.
    pub(crate) fn advance(&mut self, sequence: u64) {
        self.last_sent = self.last_sent.max(sequence);
    }

    /// Goes on behind a sequence, wherever it was.
    pub(crate) fn move_behind(&mut self, sequence: u64) {
        self.last_sent = sequence;
        self.has_caught_up();
    }

    /// Whether it waits for a read, or to try one again: whatever ends that goes on.
    pub(crate) fn is_waiting(&self) -> bool {
        self.reading().is_some() || self.is_retrying()
    }

    /// Whether its last read failed and is tried again later.
    pub(crate) fn is_retrying(&self) -> bool {
        self.waits.as_ref().is_some_and(|waits| waits.retry_timer.is_running())
    }

    /// The outstanding read.
    pub(crate) fn reading(&self) -> Option<Reading> {
        self.waits.as_ref().and_then(|waits| waits.reading)
    }

    /// Since when, and from which sequence on, it reads what is not in memory; none when it has caught up.
    pub(crate) fn catching_up(&self) -> Option<(u64, u64)> {
        self.waits.as_ref().and_then(|waits| waits.catching_up)
    }

    /// New messages have to be read from disk, since `now` and from `sequence` on.
    pub(crate) fn falls_behind(&mut self, now: u64, sequence: u64) {
        self.waits
            .get_or_insert_default()
            .catching_up
            .get_or_insert((now, sequence));
    }

    /// There is nothing new.
    pub(crate) fn has_caught_up(&mut self) {
        if let Some(waits) = &mut self.waits {
            waits.catching_up = None;
        }
    }

    /// It waits for a read from now on.
    pub(crate) fn begin_read(&mut self, reading: Reading) {
        self.waits.get_or_insert_default().reading = Some(reading);
    }

    /// Ends the wait for a read, if that is the one it waits for.
    pub(crate) fn end_read(&mut self, ticket: Ticket) -> Option<Reading> {
        let waits = self.waits.as_mut()?;
        waits.reading.take_if(|reading| reading.ticket == ticket)
    }

    /// The read failed: it is tried again at `deadline`.
    pub(crate) fn retry_at(&mut self, key: CursorKey, deadline: u64, timers: &mut Timers) {
        let slot = &mut self.waits.get_or_insert_default().retry_timer;
        timers.set(slot, Timer::Retry(key), Some(deadline));
    }

    /// The timer of the retry has fired.
    pub(crate) fn end_retry(&mut self) {
        if let Some(waits) = &mut self.waits {
            waits.retry_timer.fired();
        }
    }

    /// It waits for nothing any more; gives back the read that nobody waits for now.
    pub(crate) fn cancel(&mut self, key: CursorKey, timers: &mut Timers) -> Option<Ticket> {
        let waits = self.waits.as_mut()?;
        timers.set(&mut waits.retry_timer, Timer::Retry(key), None);
        waits.reading.take().map(|reading| reading.ticket)
    }

    /// Marks it as queued; false when it was.
    pub(crate) fn enqueue(&mut self) -> bool {
        !std::mem::replace(&mut self.queued, true)
    }

    /// It has left the queue.
    pub(crate) fn dequeue(&mut self) {
        self.queued = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::keys::SubscriptionKey;

    #[test]
    fn only_the_read_it_waits_for_counts() {
        let (mut cursor, mut timers) = (Cursor::behind(4), Timers::default());
        let key = CursorKey::from(SubscriptionKey::at(0));
        let reading = |ticket| Reading {
            ticket: Ticket(ticket),
            from: 5,
            to: 9,
        };
        cursor.begin_read(reading(1));
        assert_eq!(cursor.cancel(key, &mut timers), Some(Ticket(1)));
        cursor.begin_read(reading(2));
        assert_eq!(cursor.end_read(Ticket(1)), None);
        assert!(cursor.is_waiting());
        assert_eq!(cursor.end_read(Ticket(2)), Some(reading(2)));
        cursor.retry_at(key, 7, &mut timers);
        assert!(cursor.is_waiting() && timers.next() == Some(7));
        assert_eq!(cursor.cancel(key, &mut timers), None);
        assert!(!cursor.is_waiting() && timers.next().is_none());
    }

    #[test]
    fn it_goes_back_only_when_it_is_moved() {
        let mut cursor = Cursor::behind(4);
        cursor.advance(3);
        assert_eq!((cursor.last_sent(), cursor.next(1), cursor.next(8)), (4, 5, 8));
        cursor.falls_behind(1, 5);
        cursor.move_behind(2);
        assert_eq!((cursor.next(1), cursor.catching_up()), (3, None));
    }
}
