//! Pings, staleness and the write deadline of one connection (core specification §1.10, §1.15).

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use seaway_nats_protocol::ErrorText;
use seaway_nats_protocol::write::{PING, write_error};

use crate::connection::Connection;
use crate::limits::{FIRST_PING, RTT_REFRESH};
use crate::reason::CloseReason;
use crate::shared::Shared;

pub(crate) struct Timers {
    next_ping: Instant,
    /// When an operation other than PONG came last.
    active: Instant,
    /// PINGs without an answer.
    outstanding: u32,
    ping_sent: Option<Instant>,
    round_trip_measured: Option<Instant>,
    last_read: Instant,
    /// When the client must have authenticated itself.
    authentication_due: Option<Instant>,
    /// When it must have sent something, to show that it is still there.
    proof_due: Option<Instant>,
    /// Time between PINGs.
    interval: Duration,
}

impl Timers {
    /// `authentication` is the time in which the client has to authenticate itself, if it has to.
    pub(crate) fn new(shared: &Shared, now: Instant, authentication: Option<Duration>) -> Self {
        Self {
            next_ping: now + first_ping(shared),
            active: now,
            outstanding: 0,
            ping_sent: None,
            round_trip_measured: None,
            last_read: now,
            authentication_due: authentication.map(|time| now + time),
            proof_due: None,
            interval: shared.options.ping_interval,
        }
    }

    /// When the connection's timer has to fire next.
    pub(crate) fn next(&self, connection: &Connection) -> Instant {
        let due = self.authentication_due.into_iter().chain(self.proof_due);
        let next = due.fold(self.next_ping, Instant::min);
        if !connection.outbound.is_armed() {
            return next;
        }
        match connection.outbound.blocked_since() {
            Some(since) => next.min(since + connection.outbound.bounds.write_deadline),
            None => next,
        }
    }

    /// The client is known.
    pub(crate) fn authenticated(&mut self) {
        self.authentication_due = None;
    }

    /// No more than so much time between PINGs.
    pub(crate) fn ping_within(&mut self, interval: Duration) {
        self.interval = self.interval.min(interval);
    }

    /// Asks the other side to show within so much time that it is still there.
    pub(crate) fn doubt(&mut self, connection: &Connection, patience: Duration) {
        if self.proof_due.is_none() {
            self.proof_due = Some(Instant::now() + patience);
            connection.outbound.send(&mut PING.to_vec(), 0, 0);
        }
    }

    /// Bytes came.
    pub(crate) fn received(&mut self, now: Instant) {
        self.proof_due = None;
        self.last_read = now;
    }

    /// A PUB, SUB, UNSUB or PING was among them.
    pub(crate) fn was_active(&mut self) {
        self.active = self.last_read;
    }

    /// A CONNECT was among them: the first PING is due anew.
    pub(crate) fn connected(&mut self, shared: &Shared) {
        self.next_ping = self.last_read + first_ping(shared);
    }

    /// The first CONNECT was among them. From INFO to there is a round trip with the client's own pace in it: an estimate until the
    /// first PONG. Behind a TLS handshake it would be half of one.
    pub(crate) fn introduced(&self, connection: &Connection) {
        if connection.tls.is_none() {
            let took = self.last_read.saturating_duration_since(connection.started);
            store_round_trip(connection, took);
        }
    }

    /// A PONG was among them.
    pub(crate) fn answered(&mut self, connection: &Connection) {
        self.outstanding = 0;
        if let Some(sent) = self.ping_sent.take() {
            store_round_trip(connection, self.last_read.saturating_duration_since(sent));
            self.round_trip_measured = Some(self.last_read);
        }
    }

    /// The connection was held at a gate, unread: its answers may be waiting in the socket.
    pub(crate) fn released(&mut self, now: Instant) {
        self.outstanding = 0;
        self.active = now;
    }

    /// The timer fired. `held` means that the connection is not being read.
    pub(crate) fn fire(&mut self, shared: &Shared, connection: &Connection, now: Instant, held: bool) {
        let options = &shared.options;
        if let Some(since) = connection.outbound.blocked_since()
            && now.saturating_duration_since(since) >= options.write_deadline
        {
            connection.outbound.close(CloseReason::SlowConsumerWriteDeadline);
            return;
        }
        if self.authentication_due.is_some_and(|due| now >= due) {
            connection.refuse(&ErrorText::AuthenticationTimeout, CloseReason::AuthenticationTimeout);
            return;
        }
        if held {
            // What would prove it may be waiting in the socket.
            self.proof_due = None;
        }
        if self.proof_due.is_some_and(|due| now >= due) {
            connection.outbound.close(CloseReason::StaleConnection);
            return;
        }
        if now < self.next_ping {
            return;
        }
        self.next_ping = now + self.interval;
        let measured = self
            .round_trip_measured
            .is_some_and(|at| now.saturating_duration_since(at) < RTT_REFRESH);
        if held || (measured && now.saturating_duration_since(self.active) < self.interval) {
            return;
        }
        if self.outstanding >= options.ping_max {
            let mut refusal = Vec::new();
            write_error(&mut refusal, &ErrorText::StaleConnection);
            connection.outbound.send(&mut refusal, 0, 0);
            shared.counters.stale_connections.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(
                "{} - {}:{} - Stale Client Connection - Closing",
                connection.peer,
                connection.kind.label(),
                connection.id
            );
            connection.outbound.close(CloseReason::StaleConnection);
            return;
        }
        self.outstanding += 1;
        self.ping_sent = Some(now);
        let Connection { peer, kind, id, .. } = connection;
        tracing::trace!("{peer} - {}:{id} - ->> [PING]", kind.label());
        connection.outbound.send(&mut PING.to_vec(), 0, 0);
    }
}

/// Zero means unknown.
fn store_round_trip(connection: &Connection, took: Duration) {
    let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
    connection.round_trip.store(nanoseconds, Ordering::Relaxed);
}

/// The first PING comes early, to learn the round-trip time, and spread over clients that connected together.
fn first_ping(shared: &Shared) -> Duration {
    let base = shared.options.ping_interval.min(FIRST_PING);
    base + base.mul_f64(fastrand::f64() * 0.2)
}
