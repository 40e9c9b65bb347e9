//! Bytes on their way to one client: queue, inline write, hand-over to the connection's task, slow consumers
//! (core specification §1.15).
//!
//! Whoever finds the queue idle takes the socket out of it, writes without the lock, and writes what others queued
//! meanwhile. Only when the socket takes less than offered does the connection's own task go on with it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::attachment::{AttachmentShared, Destination};
use crate::connection::Connection;
use crate::limits::{KEPT_CAPACITY_BYTES, WRITE_BYTES, WRITE_ROUNDS};
use crate::lock::lock;
use crate::reason::CloseReason;
use crate::tls::Outgoing;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing pending.
    Idle,
    /// Somebody holds the socket and writes.
    Writing,
    /// The socket took less than offered; the connection's task waits until it is writable.
    Armed,
}

/// Guarded by the connection's lock, which is never held during a system call.
pub(crate) struct Outbound {
    /// Absent while somebody writes, and after the end.
    socket: Option<Outgoing>,
    phase: Phase,
    /// Bytes behind those being written.
    queued: Vec<u8>,
    /// In phase `Armed`: bytes to go on with, from `sent`.
    in_flight: Vec<u8>,
    sent: usize,
    /// When the socket last took something; meaningful in phase `Armed`.
    progressed: Instant,
    /// Once set, nothing is accepted any more.
    closing: Option<CloseReason>,
    /// The connection's task is done: the socket is not kept any more.
    released: bool,
    /// Who wants to know when the queue has drained.
    watchers: SmallVec<[Arc<AttachmentShared>; 1]>,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Outbound {
    /// Without a socket for a client that never got as far as reading.
    pub(crate) fn new(socket: Option<Outgoing>) -> Self {
        Self {
            socket,
            phase: Phase::Idle,
            queued: Vec::new(),
            in_flight: Vec::new(),
            sent: 0,
            progressed: Instant::now(),
            closing: None,
            released: false,
            watchers: SmallVec::new(),
            messages: 0,
            bytes: 0,
        }
    }

    pub(crate) fn closing(&self) -> Option<CloseReason> {
        self.closing
    }

    /// Whether what is left is not to be sent any more.
    fn is_given_up(&self) -> bool {
        self.released || self.closing.is_some_and(|reason| !reason.flushes())
    }
}

/// What to do after the lock is released: callbacks never run under it.
type Watchers = SmallVec<[Arc<AttachmentShared>; 1]>;

impl Connection {
    /// Sends a batch of whole frames. The vector comes back empty, perhaps another one. Frames for a connection that
    /// is closing are dropped; a queue that would exceed `max_pending` closes the connection instead.
    pub(crate) fn send(&self, batch: &mut Vec<u8>, messages: u64, bytes: u64) {
        if batch.is_empty() {
            return;
        }
        let options = &self.broker.options;
        let mut outbound = lock(&self.outbound);
        if outbound.closing.is_some() {
            batch.clear();
            return;
        }
        let pending = self.pending.load(Ordering::Relaxed) + batch.len();
        if pending > options.max_pending {
            drop(outbound);
            batch.clear();
            self.close(CloseReason::SlowConsumerPendingBytes);
            return;
        }
        self.pending.store(pending, Ordering::Relaxed);
        outbound.messages += messages;
        outbound.bytes += bytes;
        self.broker.counters.sent(messages, bytes);
        match (outbound.phase, outbound.socket.take()) {
            (Phase::Idle, Some(socket)) => {
                outbound.phase = Phase::Writing;
                drop(outbound);
                *batch = self.write(socket, std::mem::take(batch), 0);
            }
            (_, socket) => {
                outbound.socket = socket;
                if outbound.queued.is_empty() {
                    std::mem::swap(&mut outbound.queued, batch);
                } else {
                    outbound.queued.extend_from_slice(batch);
                }
                batch.clear();
            }
        }
    }

    /// Whether the connection's task has to wait for the socket to become writable.
    pub(crate) fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Acquire)
    }

    /// Goes on with what the socket did not take, now that it may be writable. Only for the connection's task.
    pub(crate) fn continue_writing(&self) {
        let mut outbound = lock(&self.outbound);
        if outbound.phase != Phase::Armed {
            return;
        }
        let Some(socket) = outbound.socket.take() else { return };
        outbound.phase = Phase::Writing;
        let data = std::mem::take(&mut outbound.in_flight);
        let sent = outbound.sent;
        drop(outbound);
        self.write(socket, data, sent);
    }

    /// Since when the socket has taken nothing, if bytes wait for it.
    pub(crate) fn blocked_since(&self) -> Option<Instant> {
        let outbound = lock(&self.outbound);
        (outbound.phase == Phase::Armed).then_some(outbound.progressed)
    }

    /// Bytes accepted and not yet taken by the socket.
    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Writes `data` from `sent` on and whatever is queued meanwhile. Returns an empty vector for reuse.
    fn write(&self, socket: Outgoing, mut data: Vec<u8>, mut sent: usize) -> Vec<u8> {
        let mut done = 0;
        let mut rounds = 0;
        loop {
            let offered = if sent < data.len() {
                let end = data.len().min(sent + WRITE_BYTES);
                socket.try_write(&data[sent..end]).map(|count| (count, end))
            } else {
                socket.try_flush().map(|()| (0, sent))
            };
            match offered {
                Ok((0, end)) if sent < end => return self.write_failed(socket, data),
                Ok((count, end)) => {
                    sent += count;
                    done += count;
                    if sent < end && socket.short_means_full() {
                        self.hand_over(socket, data, sent, done, done > 0 || rounds > 0);
                        return Vec::new();
                    }
                    // What lies in front of the socket has to reach it too.
                    if sent < data.len() || (count > 0 && !socket.short_means_full()) {
                        continue;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.hand_over(socket, data, sent, done, done > 0 || rounds > 0);
                    return Vec::new();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return self.write_failed(socket, data),
            }
            data.clear();
            sent = 0;
            let mut outbound = lock(&self.outbound);
            let watchers = self.account(&mut outbound, std::mem::take(&mut done));
            rounds += 1;
            if outbound.is_given_up() {
                drop(socket);
                self.discard(&mut outbound);
                drop(outbound);
                self.tell(watchers);
                return data;
            }
            if outbound.queued.is_empty() {
                outbound.phase = Phase::Idle;
                self.armed.store(false, Ordering::Release);
                if outbound.queued.capacity() > KEPT_CAPACITY_BYTES {
                    outbound.queued = Vec::new();
                }
                self.put_back(&mut outbound, socket);
                let ending = outbound.closing.is_some();
                drop(outbound);
                if ending {
                    self.wake.notify_one();
                }
                self.tell(watchers);
                if data.capacity() > KEPT_CAPACITY_BYTES {
                    data = Vec::new();
                }
                return data;
            }
            std::mem::swap(&mut outbound.queued, &mut data);
            drop(outbound);
            self.tell(watchers);
            if rounds >= WRITE_ROUNDS {
                // Others produce faster than this one writes: not this task's job any longer.
                self.hand_over(socket, data, 0, 0, true);
                return Vec::new();
            }
        }
    }

    /// Leaves the rest to the connection's task.
    fn hand_over(&self, socket: Outgoing, data: Vec<u8>, sent: usize, done: usize, progress: bool) {
        let mut outbound = lock(&self.outbound);
        let watchers = self.account(&mut outbound, done);
        if progress || !self.is_armed() {
            outbound.progressed = Instant::now();
        }
        outbound.in_flight = data;
        outbound.sent = sent;
        outbound.phase = Phase::Armed;
        self.armed.store(true, Ordering::Release);
        self.put_back(&mut outbound, socket);
        drop(outbound);
        self.wake.notify_one();
        self.tell(watchers);
    }

    /// The socket returns to its place, unless the connection ended without flushing.
    fn put_back(&self, outbound: &mut Outbound, socket: Outgoing) {
        if outbound.is_given_up() {
            drop(socket);
            self.discard(outbound);
        } else {
            outbound.socket = Some(socket);
        }
    }

    /// Subtracts written bytes; returns who is to be told that the queue drained.
    fn account(&self, outbound: &mut Outbound, done: usize) -> Watchers {
        let before = self.pending.load(Ordering::Relaxed);
        let pending = before.saturating_sub(done);
        self.pending.store(pending, Ordering::Relaxed);
        let limit = self.broker.options.max_pending;
        if before > stall_threshold(limit) && pending <= stall_threshold(limit) {
            self.drained.notify_waiters();
        }
        if pending <= drain_threshold(limit) {
            std::mem::take(&mut outbound.watchers)
        } else {
            Watchers::new()
        }
    }

    fn tell(&self, watchers: Watchers) {
        for watcher in watchers {
            watcher.sink.drained(Destination(self.id));
        }
    }

    fn write_failed(&self, socket: Outgoing, _unsent: Vec<u8>) -> Vec<u8> {
        drop(socket);
        {
            let mut outbound = lock(&self.outbound);
            self.discard(&mut outbound);
        }
        self.close(CloseReason::WriteError);
        // It may have been closing already, with its task waiting for this write.
        self.wake.notify_one();
        Vec::new()
    }

    fn discard(&self, outbound: &mut Outbound) {
        outbound.queued = Vec::new();
        outbound.in_flight = Vec::new();
        outbound.sent = 0;
        outbound.phase = Phase::Idle;
        outbound.socket = None;
        self.armed.store(false, Ordering::Release);
        self.pending.store(0, Ordering::Relaxed);
    }

    /// Starts the end of the connection; the first reason stands. Its task does the rest. Nothing is accepted for
    /// sending after this.
    pub(crate) fn close(&self, reason: CloseReason) {
        let mut outbound = lock(&self.outbound);
        if outbound.closing.is_some() {
            return;
        }
        outbound.closing = Some(reason);
        let pending = self.pending.load(Ordering::Relaxed);
        let blocked = outbound.progressed.elapsed();
        // Bytes before a refusal still leave, unless the socket is gone already.
        if !reason.flushes() && outbound.phase != Phase::Writing {
            self.discard(&mut outbound);
        }
        let watchers = std::mem::take(&mut outbound.watchers);
        self.closed.store(true, Ordering::Release);
        drop(outbound);
        self.report_slow(reason, pending, blocked);
        self.wake.notify_one();
        self.drained.notify_waiters();
        self.tell(watchers);
    }

    fn report_slow(&self, reason: CloseReason, pending: usize, blocked: Duration) {
        let options = &self.broker.options;
        match reason {
            CloseReason::SlowConsumerPendingBytes => {
                self.broker.counters.slow_consumers.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    "{} - cid:{} - Slow Consumer Detected: MaxPending of {} Exceeded",
                    self.peer,
                    self.id,
                    options.max_pending
                );
            }
            CloseReason::SlowConsumerWriteDeadline => {
                self.broker.counters.slow_consumers.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    "{} - cid:{} - Slow Consumer Detected: WriteDeadline of {:?} exceeded with 1 chunks of {} total \
                     bytes (nothing taken for {:?}).",
                    self.peer,
                    self.id,
                    options.write_deadline,
                    pending,
                    blocked
                );
            }
            _ => {}
        }
    }

    /// Whether everything accepted has been taken by the socket (or given up).
    pub(crate) fn is_flushed(&self) -> bool {
        let outbound = lock(&self.outbound);
        outbound.phase == Phase::Idle && outbound.queued.is_empty()
    }

    /// Drops the sending side for good.
    pub(crate) fn release_socket(&self) {
        let mut outbound = lock(&self.outbound);
        outbound.released = true;
        if outbound.phase != Phase::Writing {
            self.discard(&mut outbound);
        }
    }

    /// Asks for one [`crate::Sink::drained`] once the queue is short again. Returns false when there is nothing to
    /// wait for: the connection is closing, or what is pending, `unflushed` bytes included, is little.
    pub(crate) fn watch_drain(&self, attachment: &Arc<AttachmentShared>, unflushed: usize) -> bool {
        let mut outbound = lock(&self.outbound);
        let pending = self.pending.load(Ordering::Relaxed) + unflushed;
        if outbound.closing.is_some() || pending <= drain_threshold(self.broker.options.max_pending) {
            return false;
        }
        if !outbound.watchers.iter().any(|known| known.id == attachment.id) {
            outbound.watchers.push(Arc::clone(attachment));
        }
        true
    }
}

/// Above this many pending bytes producers wait (75 %, §1.15).
pub(crate) fn stall_threshold(max_pending: usize) -> usize {
    max_pending / 4 * 3
}

/// Above this many pending bytes a publisher is told that the destination is congested.
pub(crate) fn congestion_threshold(max_pending: usize) -> usize {
    max_pending / 2
}

/// At or below this many pending bytes the destination counts as drained.
pub(crate) fn drain_threshold(max_pending: usize) -> usize {
    max_pending / 4
}
