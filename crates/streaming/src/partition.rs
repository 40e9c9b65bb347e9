//! Partitioning (`streaming-protocol.md` §10): which channels are served, and requests that overtook their client's connect.
//!
//! Several servers share the subjects of one cluster ID, so a publish may reach this one before the connect that it follows.
//! Such a request waits for the registration, a second at most; whoever failed is remembered and refused at once.

use std::collections::VecDeque;

use bytes::Bytes;
use seaway_stan_protocol::{PubMsgView, errors};

use crate::effects::Effects;
use crate::engine::Engine;
use crate::keys::ClientKey;
use crate::limits::{
    INVALID_CLIENT_BYTES_MAX, INVALID_CLIENTS_MAX, INVALID_CLIENTS_PRUNED, REGISTRATION_WAIT_NS,
    UNREGISTERED_BYTES_MAX, UNREGISTERED_REQUESTS_MAX,
};
use crate::time::Now;
use crate::timers::Timer;

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

#[derive(Debug)]
struct Waiting {
    deadline: u64,
    kind: Early,
    sender: Sender,
    reply: Bytes,
    payload: Bytes,
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
    timer: Option<u64>,
    /// Those that failed, oldest first.
    invalid: VecDeque<Sender>,
}

impl Engine {
    /// Whether a channel is another server's, or nobody's.
    pub(crate) fn is_elsewhere(&self, channel: &[u8]) -> bool {
        self.options.partitioning && !self.options.limits.is_listed(channel)
    }

    /// Lets a request of an unknown client wait for its connect; false when it has to be refused now.
    pub(crate) fn wait_for_registration(
        &mut self,
        now: Now,
        kind: Early,
        (client_id, conn_id): (&[u8], &[u8]),
        reply: &[u8],
        payload: &[u8],
    ) -> bool {
        let early = &mut self.unregistered;
        let sender = Sender {
            client_id: Bytes::copy_from_slice(client_id),
            conn_id: Bytes::copy_from_slice(conn_id),
        };
        let size = reply.len() + payload.len();
        if !self.options.partitioning
            || early.invalid.contains(&sender)
            || early.waiting.len() >= UNREGISTERED_REQUESTS_MAX
            || early.bytes + size > UNREGISTERED_BYTES_MAX
        {
            return false;
        }
        early.bytes += size;
        early.waiting.push_back(Waiting {
            deadline: now.monotonic.saturating_add(REGISTRATION_WAIT_NS),
            kind,
            sender,
            reply: Bytes::copy_from_slice(reply),
            payload: Bytes::copy_from_slice(payload),
        });
        self.arm_unregistered();
        true
    }

    fn arm_unregistered(&mut self) {
        let early = &mut self.unregistered;
        let deadline = early.waiting.front().map(|waiting| waiting.deadline);
        self.timers.set(&mut early.timer, Timer::Unregistered, deadline);
    }

    /// The wait of the oldest requests is over.
    pub(crate) fn unregistered_due(&mut self, now: Now, effects: &mut Effects<'_>) {
        self.unregistered.timer = None;
        while let Some(waiting) = self.unregistered.take_due(now.monotonic) {
            self.unregistered.remember(waiting.sender);
            match waiting.kind {
                Early::Publish => {
                    let guid = PubMsgView::decode(&waiting.payload).map_or(&b""[..], |publish| publish.guid);
                    self.refuse_publish(&waiting.reply, guid, errors::INVALID_PUBLISH_REQUEST, effects);
                }
                Early::Subscribe => {
                    let text = errors::INVALID_SUBSCRIPTION_REQUEST.to_owned();
                    self.refuse_subscribe(&waiting.reply, text, effects);
                }
            }
        }
        self.arm_unregistered();
    }

    /// A client was registered: what it had sent before is served now, in order.
    pub(crate) fn serve_early(&mut self, now: Now, key: ClientKey, effects: &mut Effects<'_>) {
        if !self.options.partitioning {
            return;
        }
        let client = &self.clients[key.0];
        let (name, conn_id) = (client.name.clone(), client.conn_id.clone());
        let early = &mut self.unregistered;
        early.invalid.retain(|sender| !sender.is(&name, &conn_id));
        let (served, waiting): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut early.waiting)
            .into_iter()
            .partition(|waiting| waiting.sender.is(&name, &conn_id));
        early.waiting = waiting;
        early.bytes -= served.iter().map(Waiting::bytes).sum::<usize>();
        self.arm_unregistered();
        for early in served {
            match early.kind {
                Early::Publish => {
                    if let Ok(publish) = PubMsgView::decode(&early.payload) {
                        let channel = self.find_channel(publish.subject);
                        self.accept_publish(now, channel, &early.reply, &early.payload, &publish, effects);
                    }
                }
                Early::Subscribe => self.subscribe(now, &early.reply, &early.payload, effects),
            }
        }
    }
}

impl Unregistered {
    fn take_due(&mut self, now: u64) -> Option<Waiting> {
        if self.waiting.front()?.deadline > now {
            return None;
        }
        let waiting = self.waiting.pop_front()?;
        self.bytes -= waiting.bytes();
        Some(waiting)
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
