//! Requests that overtook their client's connect (`streaming-protocol.md` §10), and clients whose connect never came.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::limits::{
    INVALID_CLIENT_BYTES_MAX, INVALID_CLIENTS_MAX, INVALID_CLIENTS_PRUNED, REGISTRATION_WAIT_NS,
    UNREGISTERED_BYTES_MAX, UNREGISTERED_REQUESTS_MAX,
};
use crate::waiting::timers::{Timer, TimerSlot, Timers};

/// Which kind of request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Early {
    Publish,
    Subscribe,
}

/// Who a request says it comes from; a subscription request names no connection ID.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sender {
    client_id: Bytes,
    conn_id: Bytes,
}

impl Sender {
    /// Whether the registration of a client makes it known: as for publishes, the connection ID alone decides when there is
    /// one.
    fn is(&self, name: &[u8], conn_id: &[u8]) -> bool {
        if self.conn_id.is_empty() {
            self.client_id == name
        } else {
            self.conn_id == conn_id
        }
    }
}

/// A request that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    deadline: u64,
    pub(crate) kind: Early,
    sender: Sender,
    pub(crate) reply: Bytes,
    pub(crate) payload: Bytes,
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.reply.len() + self.payload.len()
    }
}

/// Requests of clients that are not registered.
#[derive(Debug, Default)]
pub(crate) struct Unregistered {
    /// In the order of arrival, hence of deadlines.
    waiting: VecDeque<Waiting>,
    /// Of all that wait.
    bytes: usize,
    timer: TimerSlot,
    /// Clients whose connect never came, oldest first.
    invalid: VecDeque<Sender>,
}

impl Unregistered {
    /// Lets a request wait; false when it has to be refused now: there is no room, or its client's connect never came before.
    pub(crate) fn push(
        &mut self,
        now: u64,
        kind: Early,
        (client_id, conn_id): (&[u8], &[u8]),
        reply: &[u8],
        payload: &[u8],
    ) -> bool {
        let sender = Sender {
            client_id: Bytes::copy_from_slice(client_id),
            conn_id: Bytes::copy_from_slice(conn_id),
        };
        let size = reply.len() + payload.len();
        if self.invalid.contains(&sender)
            || self.waiting.len() >= UNREGISTERED_REQUESTS_MAX
            || self.bytes + size > UNREGISTERED_BYTES_MAX
        {
            return false;
        }
        self.bytes += size;
        self.waiting.push_back(Waiting {
            deadline: now.saturating_add(REGISTRATION_WAIT_NS),
            kind,
            sender,
            reply: Bytes::copy_from_slice(reply),
            payload: Bytes::copy_from_slice(payload),
        });
        true
    }

    /// Sets the timer for the oldest that waits.
    pub(crate) fn arm(&mut self, timers: &mut Timers) {
        let deadline = self.waiting.front().map(|waiting| waiting.deadline);
        timers.set(&mut self.timer, Timer::Unregistered, deadline);
    }

    /// The timer has fired.
    pub(crate) fn timer_fired(&mut self) {
        self.timer.fired();
    }

    /// A request that waited long enough; its client is remembered.
    pub(crate) fn take_due(&mut self, now: u64) -> Option<Waiting> {
        if self.waiting.front()?.deadline > now {
            return None;
        }
        let waiting = self.waiting.pop_front()?;
        self.bytes -= waiting.bytes();
        self.remember(waiting.sender.clone());
        Some(waiting)
    }

    /// The requests of a client that was registered now, in order.
    pub(crate) fn take_of(&mut self, name: &[u8], conn_id: &[u8]) -> VecDeque<Waiting> {
        self.invalid.retain(|sender| !sender.is(name, conn_id));
        let (served, waiting): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.sender.is(name, conn_id));
        self.waiting = waiting;
        self.bytes -= served.iter().map(Waiting::bytes).sum::<usize>();
        served
    }

    fn remember(&mut self, sender: Sender) {
        if sender.client_id.len() + sender.conn_id.len() > INVALID_CLIENT_BYTES_MAX || self.invalid.contains(&sender) {
            return;
        }
        if self.invalid.len() >= INVALID_CLIENTS_MAX {
            self.invalid.drain(..INVALID_CLIENTS_PRUNED);
        }
        self.invalid.push_back(sender);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §13.10 PartitionsCleanInvalidConns.
    #[test]
    fn invalid_clients_are_bounded() {
        let mut early = Unregistered::default();
        for number in 0..300 {
            early.remember(Sender {
                client_id: format!("c{number}").into(),
                conn_id: Bytes::new(),
            });
            assert!(early.invalid.len() <= 256);
        }
        assert_eq!(early.invalid.len(), 300 - 2 * 32);
        assert_eq!(
            early.invalid.front().map(|sender| &sender.client_id[..]),
            Some(&b"c64"[..])
        );
        early.remember(Sender {
            client_id: vec![b'x'; 10_000].into(),
            conn_id: Bytes::new(),
        });
        assert_eq!(
            early.invalid.back().map(|sender| &sender.client_id[..]),
            Some(&b"c299"[..])
        );
    }
}
