//! Bytes on their way to one client: queue, inline write, hand-over to the connection's task, slow consumers
//! (core specification §1.15).
//!
//! Whoever finds the queue idle takes the socket out of it, writes without the lock, and writes what others queued
//! meanwhile. Only when the socket takes less than offered does the connection's own task go on with it.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::counters::Counters;
use crate::gate::Waiter;
use crate::kind::Kind;
use crate::limits::{
    FULL_BYTES, KEPT_CAPACITY_BYTES, SPARE_PIECES, UNSENT_FREED_BYTES, WRITE_ROUNDS, WRITE_TURN_BYTES,
};
use crate::lock::lock;
use crate::options::BrokerOptions;
use crate::pieces::Pieces;
use crate::reason::CloseReason;
use crate::sink::{Destination, Sink};
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

/// An in-process party that waits for the queue to drain.
struct Watcher {
    id: u64,
    sink: Arc<dyn Sink>,
}

type Watchers = SmallVec<[Watcher; 1]>;

/// The way to one client.
pub(crate) struct Outbound {
    id: u64,
    peer: SocketAddr,
    pub(crate) bounds: Bounds,
    counters: Arc<Counters>,
    state: Mutex<State>,
    /// Mirror of the bytes accepted and not yet written; changed under the lock only.
    pending: AtomicUsize,
    /// The task has to wait for the socket to become writable; changed under the lock only.
    armed: AtomicBool,
    /// Mirror of `State::closing`.
    closed: AtomicBool,
    /// Nobody waits for last words to be read.
    abandoned: AtomicBool,
    /// Wakes the connection's task: armed, closed, gate opened.
    pub(crate) waiter: Arc<Waiter>,
}

/// How much may wait, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) max_pending: usize,
    pub(crate) write_deadline: Duration,
    /// Whether producers never wait for slow destinations.
    pub(crate) no_fast_producer_stall: bool,
    pub(crate) kind: Kind,
}

impl Bounds {
    pub(crate) fn new(options: &BrokerOptions, kind: Kind) -> Self {
        Self {
            kind,
            max_pending: options.max_pending,
            write_deadline: options.write_deadline,
            no_fast_producer_stall: options.no_fast_producer_stall,
        }
    }
}

/// Guarded by a lock that is never held during a system call.
struct State {
    /// Absent while somebody writes, and after the end.
    socket: Option<Outgoing>,
    phase: Phase,
    /// Bytes behind those being written.
    queued: Pieces,
    /// In phase `Armed`: bytes to go on with.
    in_flight: Pieces,
    /// Vectors for the next batches; none when nothing is pending.
    spare: Vec<Vec<u8>>,
    /// What will not be sent any more. The connection's task frees it, in slices: many queues that are given up together are more
    /// than their closer's turn may take.
    unsent: Vec<Pieces>,
    /// Its bytes, which the queues of all hold until then.
    unsent_bytes: usize,
    /// When the socket last took something; meaningful in phase `Armed`.
    progressed: Instant,
    /// Once set, nothing is accepted any more.
    closing: Option<CloseReason>,
    /// The connection's task is done: the socket is not kept any more.
    released: bool,
    /// Who wants to know when the queue has drained.
    watchers: Watchers,
    /// Producers that wait for the queue to become shorter.
    stalled: SmallVec<[Arc<Waiter>; 1]>,
    messages: u64,
    bytes: u64,
}

impl State {
    /// Whether what is left is not to be sent any more.
    fn is_given_up(&self) -> bool {
        self.released || self.closing.is_some_and(|reason| !reason.flushes())
    }

    /// Takes vectors over for the next batches.
    fn keep_spare(&mut self, spare: &mut Vec<Vec<u8>>) {
        let room = SPARE_PIECES.saturating_sub(self.spare.len());
        self.spare.extend(spare.drain(..).take(room));
    }

    /// Puts a batch behind what is queued. The vector comes back empty, perhaps another one.
    fn append(&mut self, batch: &mut Vec<u8>) {
        self.queued.push(batch, &mut self.spare);
    }
}

impl Outbound {
    /// Without a socket for a client that never got as far as reading.
    pub(crate) fn new(
        id: u64,
        peer: SocketAddr,
        bounds: Bounds,
        counters: &Arc<Counters>,
        socket: Option<Outgoing>,
    ) -> Self {
        let state = State {
            socket,
            phase: Phase::Idle,
            queued: Pieces::default(),
            in_flight: Pieces::default(),
            spare: Vec::new(),
            unsent: Vec::new(),
            unsent_bytes: 0,
            progressed: Instant::now(),
            closing: None,
            released: false,
            watchers: Watchers::new(),
            stalled: SmallVec::new(),
            messages: 0,
            bytes: 0,
        };
        Self {
            id,
            peer,
            bounds,
            counters: Arc::clone(counters),
            state: Mutex::new(state),
            pending: AtomicUsize::new(0),
            armed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            waiter: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Why it is closing, if it is.
    pub(crate) fn closing(&self) -> Option<CloseReason> {
        self.state().closing
    }

    /// Whether nothing is accepted any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Messages and bytes accepted so far.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let state = self.state();
        (state.messages, state.bytes)
    }

    /// Waits until somebody closes it. Only for the connection's task.
    pub(crate) async fn until_closed(&self) {
        while !self.is_closed() {
            self.waiter.woken().await;
        }
    }

    /// Sends a batch of whole frames. The vector comes back empty, perhaps another one. Frames for a connection that
    /// is closing are dropped; a queue that would exceed `max_pending` closes the connection instead.
    pub(crate) fn send(&self, batch: &mut Vec<u8>, messages: u64, bytes: u64) {
        let Some(mut state) = self.accept(batch, messages, bytes) else {
            return;
        };
        match (state.phase, state.socket.take()) {
            (Phase::Idle, Some(socket)) => {
                state.phase = Phase::Writing;
                drop(state);
                *batch = self.write(socket, Pieces::of(std::mem::take(batch)));
            }
            (_, socket) => {
                state.socket = socket;
                state.append(batch);
            }
        }
    }

    /// The same without a system call: the connection's own task writes.
    pub(crate) fn queue(&self, batch: &mut Vec<u8>, messages: u64, bytes: u64) {
        let Some(mut state) = self.accept(batch, messages, bytes) else {
            return;
        };
        if state.phase == Phase::Idle && state.socket.is_some() {
            state.in_flight = Pieces::of(std::mem::take(batch));
            state.progressed = Instant::now();
            state.phase = Phase::Armed;
            self.armed.store(true, Ordering::Release);
            drop(state);
            self.waiter.wake();
        } else {
            state.append(batch);
        }
    }

    /// Counts a batch as pending; `None` when there is nothing to send, or nobody to send it to any more.
    fn accept(&self, batch: &mut Vec<u8>, messages: u64, bytes: u64) -> Option<MutexGuard<'_, State>> {
        if batch.is_empty() {
            return None;
        }
        let mut state = self.state();
        if state.closing.is_some() {
            batch.clear();
            return None;
        }
        let waiting = self.pending.load(Ordering::Relaxed);
        let pending = waiting + batch.len();
        let queues = &self.counters.queues;
        if pending > self.bounds.max_pending || waiting > queues.client_room(self.bounds.max_pending) {
            drop(state);
            batch.clear();
            self.close(CloseReason::SlowConsumerPendingBytes);
            return None;
        }
        queues.take(batch.len());
        self.pending.store(pending, Ordering::Relaxed);
        state.messages += messages;
        state.bytes += bytes;
        self.counters.sent(messages, bytes);
        Some(state)
    }

    /// Whether the connection's task has to wait for the socket to become writable.
    pub(crate) fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Acquire)
    }

    /// Goes on with what the socket did not take, now that it may be writable. Only for the connection's task.
    pub(crate) fn continue_writing(&self) {
        let mut state = self.state();
        if state.phase != Phase::Armed {
            return;
        }
        let Some(socket) = state.socket.take() else { return };
        state.phase = Phase::Writing;
        let pieces = std::mem::take(&mut state.in_flight);
        drop(state);
        self.write(socket, pieces);
    }

    /// Since when the socket has taken nothing, if bytes wait for it.
    pub(crate) fn blocked_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.phase == Phase::Armed).then_some(state.progressed)
    }

    /// Bytes that may wait before a service in this process is told to wait.
    pub(crate) fn service_room(&self) -> usize {
        self.counters.queues.service_room(self.bounds.max_pending)
    }

    /// Bytes accepted and not yet taken by the socket.
    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Writes `pieces` and whatever is queued meanwhile. Returns an empty vector for reuse.
    fn write(&self, socket: Outgoing, mut pieces: Pieces) -> Vec<u8> {
        let mut done = 0;
        let mut rounds = 0;
        let mut spare = Vec::new();
        loop {
            let (taken, bytes) = offer(&socket, &pieces);
            match taken {
                Ok(0) if bytes > 0 => return self.write_failed(socket, pieces),
                Ok(count) => {
                    pieces.advance(count, &mut spare);
                    done += count;
                    if count < bytes && socket.short_means_full() {
                        self.hand_over(socket, pieces, spare, done, done > 0 || rounds > 0);
                        return Vec::new();
                    }
                    if done >= WRITE_TURN_BYTES && !pieces.is_empty() {
                        self.hand_over(socket, pieces, spare, done, true);
                        return Vec::new();
                    }
                    // What lies in front of the socket has to reach it too.
                    if !pieces.is_empty() || (count > 0 && !socket.short_means_full()) {
                        continue;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.hand_over(socket, pieces, spare, done, done > 0 || rounds > 0);
                    return Vec::new();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return self.write_failed(socket, pieces),
            }
            let mut state = self.state();
            let watchers = self.account(&mut state, std::mem::take(&mut done));
            rounds += 1;
            if state.is_given_up() {
                drop(socket);
                let written = pieces.take_written();
                state.unsent.push(pieces);
                self.discard(&mut state);
                drop(state);
                self.tell(watchers);
                return written;
            }
            if state.queued.is_empty() {
                state.phase = Phase::Idle;
                self.armed.store(false, Ordering::Release);
                let spare = std::mem::take(&mut state.spare);
                self.put_back(&mut state, socket);
                let ending = state.closing.is_some();
                drop(state);
                drop(spare);
                if ending {
                    self.waiter.wake();
                }
                self.tell(watchers);
                let written = pieces.take_written();
                return if written.capacity() > KEPT_CAPACITY_BYTES {
                    Vec::new()
                } else {
                    written
                };
            }
            let mut written = pieces.take_written();
            pieces = std::mem::take(&mut state.queued);
            state.keep_spare(&mut spare);
            if state.spare.is_empty() && written.capacity() <= KEPT_CAPACITY_BYTES {
                state.spare.push(std::mem::take(&mut written));
            }
            drop(state);
            self.tell(watchers);
            if rounds >= WRITE_ROUNDS {
                // Others produce faster than this one writes: not this task's job any longer.
                self.hand_over(socket, pieces, spare, 0, true);
                return written;
            }
        }
    }

    /// Leaves the rest to the connection's task.
    fn hand_over(&self, socket: Outgoing, pieces: Pieces, mut spare: Vec<Vec<u8>>, done: usize, progress: bool) {
        let mut state = self.state();
        let watchers = self.account(&mut state, done);
        if progress || !self.is_armed() {
            state.progressed = Instant::now();
        }
        state.in_flight = pieces;
        state.keep_spare(&mut spare);
        state.phase = Phase::Armed;
        self.armed.store(true, Ordering::Release);
        self.put_back(&mut state, socket);
        drop(state);
        self.waiter.wake();
        self.tell(watchers);
    }

    /// The socket returns to its place, unless the connection ended without flushing.
    fn put_back(&self, state: &mut State, socket: Outgoing) {
        if state.is_given_up() {
            drop(socket);
            self.discard(state);
        } else {
            state.socket = Some(socket);
        }
    }

    /// Subtracts written bytes; returns who is to be told that the queue drained.
    fn account(&self, state: &mut State, done: usize) -> Watchers {
        let before = self.pending.load(Ordering::Relaxed);
        let pending = before.saturating_sub(done);
        self.pending.store(pending, Ordering::Relaxed);
        self.counters.queues.give_back(before - pending);
        if pending <= resume_threshold(self.bounds.max_pending) {
            state.stalled.drain(..).for_each(|producer| producer.wake());
        }
        if !state.watchers.is_empty() && pending <= self.service_room() / 2 {
            std::mem::take(&mut state.watchers)
        } else {
            Watchers::new()
        }
    }

    fn tell(&self, watchers: Watchers) {
        for watcher in watchers {
            watcher.sink.drained(Destination(self.id));
        }
    }

    fn write_failed(&self, socket: Outgoing, pieces: Pieces) -> Vec<u8> {
        drop(socket);
        {
            let mut state = self.state();
            state.unsent.push(pieces);
            self.discard(&mut state);
        }
        self.close(CloseReason::WriteError);
        // It may have been closing already, with its task waiting for this write.
        self.waiter.wake();
        Vec::new()
    }

    fn discard(&self, state: &mut State) {
        for pieces in [std::mem::take(&mut state.in_flight), std::mem::take(&mut state.queued)] {
            if !pieces.is_empty() {
                state.unsent.push(pieces);
            }
        }
        state.spare = Vec::new();
        state.phase = Phase::Idle;
        state.socket = None;
        self.armed.store(false, Ordering::Release);
        state.unsent_bytes += self.pending.swap(0, Ordering::Relaxed);
    }

    /// Frees a slice of what was given up. Returns whether there is, or may be, more. Only for the connection's task.
    pub(crate) fn free_unsent(&self) -> bool {
        let (mut slice, mut bytes) = (Vec::new(), 0);
        let mut state = self.state();
        while bytes < UNSENT_FREED_BYTES {
            let Some(pieces) = state.unsent.last_mut() else { break };
            match pieces.pop() {
                Some(piece) => {
                    bytes += piece.len();
                    slice.push(piece);
                }
                None => drop(state.unsent.pop()),
            }
        }
        let is_last = state.unsent.is_empty();
        // Pieces count with what was written of them, so the last slice gives back what is left.
        let freed = if is_last {
            state.unsent_bytes
        } else {
            bytes.min(state.unsent_bytes)
        };
        state.unsent_bytes -= freed;
        let more = !is_last || state.phase == Phase::Writing;
        drop(state);
        drop(slice);
        self.counters.queues.give_back(freed);
        more
    }

    /// Starts the end of the connection; the first reason stands. Its task does the rest. Nothing is accepted for
    /// sending after this.
    pub(crate) fn close(&self, reason: CloseReason) {
        let mut state = self.state();
        if state.closing.is_some() {
            return;
        }
        state.closing = Some(reason);
        let pending = self.pending.load(Ordering::Relaxed);
        let blocked = state.progressed.elapsed();
        // Bytes before a refusal still leave, unless the socket is gone already.
        if !reason.flushes() && state.phase != Phase::Writing {
            self.discard(&mut state);
        }
        let watchers = std::mem::take(&mut state.watchers);
        state.stalled.drain(..).for_each(|producer| producer.wake());
        self.closed.store(true, Ordering::Release);
        drop(state);
        self.report_slow(reason, pending, blocked);
        self.waiter.wake();
        self.tell(watchers);
    }

    /// Ends the connection, even while the peer reads its last words: others need the socket.
    pub(crate) fn abandon(&self, reason: CloseReason) {
        self.close(reason);
        self.abandoned.store(true, Ordering::Release);
        self.release_socket();
        self.waiter.wake();
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    fn report_slow(&self, reason: CloseReason, pending: usize, blocked: Duration) {
        match reason {
            CloseReason::SlowConsumerPendingBytes => {
                self.counters.slow(self.bounds.kind);
                // Less than configured when all queues together hold too much.
                let allowed = self.counters.queues.client_room(self.bounds.max_pending);
                tracing::warn!(
                    "{} - {}:{} - Slow Consumer Detected: MaxPending of {allowed} Exceeded",
                    self.peer,
                    self.bounds.kind.label(),
                    self.id
                );
            }
            CloseReason::SlowConsumerWriteDeadline => {
                self.counters.slow(self.bounds.kind);
                tracing::warn!(
                    "{} - {}:{} - Slow Consumer Detected: WriteDeadline of {:?} exceeded with 1 chunks of {} total \
                     bytes (nothing taken for {:?}).",
                    self.peer,
                    self.bounds.kind.label(),
                    self.id,
                    self.bounds.write_deadline,
                    pending,
                    blocked
                );
            }
            _ => {}
        }
    }

    /// Whether everything accepted has been taken by the socket (or given up).
    pub(crate) fn is_flushed(&self) -> bool {
        let state = self.state();
        state.phase == Phase::Idle && state.queued.is_empty()
    }

    /// Drops the sending side for good.
    pub(crate) fn release_socket(&self) {
        let mut state = self.state();
        state.released = true;
        if state.phase != Phase::Writing {
            self.discard(&mut state);
        }
    }

    /// Wakes `producer` once the queue is no longer well filled. Returns how much of `max_pending` waits, between 0 and 1, or
    /// `None` when there is nothing to wait for.
    pub(crate) fn stall(&self, producer: &Arc<Waiter>) -> Option<f64> {
        let mut state = self.state();
        if !self.is_full(&state) {
            return None;
        }
        if !state.stalled.iter().any(|known| Arc::ptr_eq(known, producer)) {
            state.stalled.push(Arc::clone(producer));
        }
        Some(self.pending() as f64 / self.bounds.max_pending.max(1) as f64)
    }

    /// Whether a producer still waits for this queue.
    pub(crate) fn stalls(&self) -> bool {
        self.is_full(&self.state())
    }

    fn is_full(&self, state: &State) -> bool {
        state.closing.is_none() && self.pending() > resume_threshold(self.bounds.max_pending)
    }

    /// Asks for one [`crate::Sink::drained`] once the queue is short again. Returns false when there is nothing to
    /// wait for: the connection is closing, or what is pending, `unflushed` bytes included, is little.
    pub(crate) fn watch_drain(&self, id: u64, sink: &Arc<dyn Sink>, unflushed: usize) -> bool {
        let mut state = self.state();
        let pending = self.pending.load(Ordering::Relaxed) + unflushed;
        if state.closing.is_some() || pending <= self.service_room() / 2 {
            return false;
        }
        if !state.watchers.iter().any(|known| known.id == id) {
            state.watchers.push(Watcher {
                id,
                sink: Arc::clone(sink),
            });
        }
        true
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        let unsent = self.state().unsent_bytes;
        self.counters.queues.give_back(self.pending() + unsent);
    }
}

/// Offers the socket what is there, or asks it to pass on what it has. Returns how many bytes it took, and of how many.
fn offer(socket: &Outgoing, pieces: &Pieces) -> (io::Result<usize>, usize) {
    let (offer, bytes) = pieces.offer();
    let taken = if bytes > 0 {
        socket.try_write(&offer)
    } else {
        socket.try_flush().map(|()| 0)
    };
    (taken, bytes)
}

/// Above this many pending bytes a queue is well filled: producers wait a little (§1.15), early enough for what waits to stay in
/// the processor's caches.
pub(crate) fn full_threshold(max_pending: usize) -> usize {
    (max_pending / 4).min(FULL_BYTES)
}

/// At or below this many pending bytes they go on.
fn resume_threshold(max_pending: usize) -> usize {
    full_threshold(max_pending) / 2
}

/// Above this many pending bytes messages are dropped where producers never wait (75 %, §1.15).
pub(crate) fn drop_threshold(max_pending: usize) -> usize {
    max_pending / 4 * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_closed_connection_had_waiting_is_freed_in_slices_and_counts_until_then() {
        const BATCH: usize = 100_000;
        const BATCHES: usize = 100;
        let counters = Arc::new(Counters::new(1 << 30));
        let options = BrokerOptions {
            max_pending: BATCH * BATCHES,
            ..BrokerOptions::default()
        };
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let outbound = Outbound::new(1, peer, Bounds::new(&options, Kind::Client), &counters, None);
        for _ in 0..BATCHES {
            outbound.send(&mut vec![1; BATCH], 1, BATCH as u64);
        }
        assert_eq!(counters.queues.held(), BATCH * BATCHES);
        outbound.send(&mut vec![1], 1, 1);
        assert!(outbound.is_closed(), "too much waits");
        assert_eq!(outbound.pending(), 0);
        let (mut slices, mut left) = (1, counters.queues.held());
        assert_eq!(left, BATCH * BATCHES, "nothing was freed by who closed it");
        while outbound.free_unsent() {
            slices += 1;
            let now = counters.queues.held();
            assert!(left - now < UNSENT_FREED_BYTES + BATCH);
            left = now;
        }
        assert!(slices >= BATCH * BATCHES / (UNSENT_FREED_BYTES + BATCH));
        assert_eq!(counters.queues.held(), 0);
    }
}
