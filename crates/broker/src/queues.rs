//! What all outbound queues hold together, and what one of them may take of that. Each has room of its own, and as a rule that is
//! all that counts. When together they hold much of the memory there is for them, the room of each shrinks, so that it is those
//! that hold most who feel it: first what a service in this process may leave with a slow reader, then what clients may.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::{QUEUE_BYTES_LEAST, SERVICE_BYTES};

/// See the module.
pub(crate) struct Queues {
    held: AtomicUsize,
    /// Bytes that all may hold together.
    bytes_max: usize,
}

impl Queues {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            held: AtomicUsize::new(0),
            bytes_max,
        }
    }

    pub(crate) fn take(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Bytes that all hold together.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Bytes that may wait in one queue before a service in this process is told to wait; of which half is gone when it may go on.
    pub(crate) fn service_room(&self, max_pending: usize) -> usize {
        let room = SERVICE_BYTES.min(max_pending / 2);
        self.shrunk(room, self.bytes_max / 2, self.bytes_max / 4 * 3)
    }

    /// Bytes that may wait in one queue before its connection is closed when there is more for it.
    pub(crate) fn client_room(&self, max_pending: usize) -> usize {
        self.shrunk(max_pending, self.bytes_max / 4 * 3, self.bytes_max)
    }

    /// All of `room` while no more than `from` is held, little of it from `to` on.
    fn shrunk(&self, room: usize, from: usize, to: usize) -> usize {
        let held = self.held();
        if held <= from {
            return room;
        }
        let left = to.saturating_sub(held) as u128 * room as u128 / to.saturating_sub(from).max(1) as u128;
        usize::try_from(left).unwrap_or(room).max(QUEUE_BYTES_LEAST).min(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1024 * 1024;

    #[test]
    fn room_shrinks_when_all_hold_much_and_services_feel_it_first() {
        let queues = Queues::new(400 * MB);
        let rooms = || (queues.service_room(64 * MB), queues.client_room(64 * MB));
        assert_eq!(rooms(), (SERVICE_BYTES, 64 * MB));
        queues.take(200 * MB);
        assert_eq!(rooms(), (SERVICE_BYTES, 64 * MB));
        queues.take(50 * MB);
        assert_eq!(rooms(), (SERVICE_BYTES / 2, 64 * MB));
        queues.take(50 * MB);
        assert_eq!(rooms(), (QUEUE_BYTES_LEAST, 64 * MB));
        queues.take(50 * MB);
        assert_eq!(rooms(), (QUEUE_BYTES_LEAST, 32 * MB));
        queues.take(500 * MB);
        assert_eq!(rooms(), (QUEUE_BYTES_LEAST, QUEUE_BYTES_LEAST));
        queues.give_back(850 * MB);
        assert_eq!(rooms(), (SERVICE_BYTES, 64 * MB));
        assert_eq!(
            queues.service_room(2 * MB),
            MB,
            "never more than half of what closes the connection"
        );
    }

    #[test]
    fn hardly_any_memory_leaves_the_least() {
        for bytes_max in 0..8 {
            let queues = Queues::new(bytes_max);
            queues.take(8);
            assert_eq!(queues.service_room(MB), QUEUE_BYTES_LEAST);
            assert_eq!(queues.client_room(MB), QUEUE_BYTES_LEAST);
        }
    }
}
