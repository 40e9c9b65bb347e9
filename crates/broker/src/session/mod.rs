//! The task of one connection, of a client or to another server: it reads, writes what an inline write left over, pings, and ends.
//!
//! One task per connection, no buffer while idle, one timer. Everything that is not readiness or time is decided by
//! the party at its end: clients in `operations`, other servers in `links`.

mod chores;
mod connecting;
mod lane;
mod opening;
mod operations;
mod party;
mod pause;
mod timers;
mod verification;

pub(crate) use chores::Chores;
pub(crate) use party::{Batch, Halt, Party, end_turn};
pub(crate) use timers::Timers;
pub(crate) use verification::Verified;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use seaway_nats_protocol::ErrorText;
use seaway_nats_protocol::write::write_info;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use crate::access::nkey;
use crate::account::Membership;
use crate::connection::Connection;
use crate::gather::{Aftermath, Gatherer};
use crate::kind::Kind;
use crate::limits::{LARGE_FRAME_INITIAL_BYTES, LINGER, LINGER_BYTES, READ_BUFFER_BYTES, READ_BYTES, READS_PER_TURN};
use crate::outbound::{Bounds, Outbound};
use crate::owner::AttachmentShared;
use crate::reason::CloseReason;
use crate::sessions::SessionCount;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::tls::Incoming;
use crate::workspace::Workspace;
use lane::Lane;
use opening::Opened;
use operations::Client;
use pause::Pause;
use verification::Verification;

/// The reading side of a connection.
pub(crate) struct Session<P> {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    reader: Incoming,
    party: P,
    timers: Timers,
    /// Bytes of an operation that is not whole yet.
    partial: Vec<u8>,
    /// Length of that operation if known, else 0.
    needed: usize,
    /// Bytes at the front of `partial` that are handled.
    handled: usize,
    /// The last turn ended before all whole operations of `partial` were handled.
    yielded: bool,
    /// Bytes that the next read takes: more after one that found as much as it took.
    read_bytes: usize,
    /// A closed gate that this connection has to respect.
    held: Option<Arc<AttachmentShared>>,
    /// Destinations that have to catch up a little.
    pause: Option<Pause>,
    lane: Lane,
}

/// Why the task woke up.
enum Event {
    /// Closed by others, armed by others, or a gate opened.
    Wake,
    Timer,
    /// A batch was handled; its producer has to wait.
    Batch(Aftermath),
    /// A password has to be compared with a hash before anything else is read.
    Verify(Box<Verification>),
    End(CloseReason),
}

/// On which way a client comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From wherever it may be: TLS as the settings say.
    Network,
    /// Within this process, where TLS would protect nothing.
    Process,
}

/// Serves one client from INFO to the end.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    (peer, way): (SocketAddr, Way),
    _count: SessionCount,
) {
    let id = shared.next_id();
    let settings = shared.settings();
    shared.counters.total_connections.fetch_add(1, Ordering::Relaxed);
    let admitted = shared
        .connections
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
            (count < settings.max_connections).then_some(count + 1)
        })
        .is_ok();
    tracing::debug!("{peer} - cid:{id} - Client connection created");
    let (mut first, nonce) = greeting(&shared, &settings, id, (peer, way));
    let opened = if admitted && way == Way::Network {
        let mut stopping = shared.stopping.subscribe();
        tokio::select! {
            opened = opening::open(&settings, stream, &first) => opened,
            _ = stopping.wait_for(|stopping| *stopping) => Err(std::io::ErrorKind::Interrupted.into()),
        }
    } else {
        // Of one that is refused: words that it can read without agreeing on anything first.
        Ok(Opened::plain(stream, false))
    };
    let bounds = Bounds::new(&shared.options, Kind::Client);
    let outbound = |socket| Outbound::new(id, peer, bounds, &shared.counters, socket);
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!("{peer} - cid:{id} - TLS handshake error: {error}");
            remember_failed_handshake(&shared, |slot| {
                Connection::new(shared.clock, id, slot, peer, outbound(None), None)
            });
            return;
        }
    };
    let Opened {
        incoming: reader,
        outgoing,
        info_sent,
        tls,
        names,
    } = opened;
    let make = |slot| Connection::new(shared.clock, id, slot, peer, outbound(Some(outgoing)), tls);
    let connection = shared.register(make);
    let global = &shared.accounts.global;
    let membership = match settings.access.is_configured() {
        true => None,
        false => {
            connection.admission.admit(None);
            Membership::enter(global, &connection)
        }
    };
    let membership = membership.unwrap_or_else(|| Membership::outside(global));
    // The socket's readiness is known to the runtime only after it has been polled once.
    if !info_sent && reader.socket().writable().await.is_ok() {
        connection.outbound.send(&mut first, 0, 0);
    }
    let required = settings.access.is_required();
    let authentication = required.then(|| settings.authentication_time());
    let client = Client::new(&settings, membership, nonce, names, admitted);
    let timers = Timers::new(&shared, connection.started, authentication);
    let session = Session::new(&shared, connection, reader, client, timers, Vec::new());
    if !admitted {
        session.connection.refuse(
            &ErrorText::MaximumConnectionsExceeded,
            CloseReason::MaximumConnectionsExceeded,
        );
    } else if *shared.stopping.borrow() {
        session.connection.outbound.close(CloseReason::ServerShutdown);
    }
    session.run().await;
}

/// Waits for the turn of this comparison and for a thread that may compute, and lets it compare.
async fn compare(shared: &Shared, verification: Box<Verification>) -> Verified {
    let turn = verification.secret.turn().await;
    let permit = Arc::clone(&shared.verifications).acquire_owned().await;
    let (secret, password) = (verification.secret.clone(), verification.password.clone());
    let comparison = tokio::task::spawn_blocking(move || {
        let _until_compared = (turn, permit);
        // Another connection may have shown the same password while this one waited.
        secret
            .check(&password)
            .unwrap_or_else(|| secret.verify_slowly(&password))
    });
    Verified {
        // A comparison that was never done has not succeeded.
        passed: comparison.await.unwrap_or(false),
        verification,
    }
}

/// Shows monitoring a connection that never was one.
fn remember_failed_handshake(shared: &Shared, make: impl FnOnce(u32) -> Connection) {
    let connection = shared.register(make);
    let ended = connection.snapshot_at_end(CloseReason::TlsHandshakeFailure);
    shared.unregister(&connection, Some(ended));
    shared.connections.fetch_sub(1, Ordering::AcqRel);
}

/// INFO as the client reads it, and what it asks the client to sign.
fn greeting(shared: &Shared, settings: &Settings, id: u64, (peer, way): (SocketAddr, Way)) -> (Vec<u8>, String) {
    let mut info = shared.info(id, peer.ip().to_string());
    if way == Way::Process {
        (info.tls_required, info.tls_available) = (false, false);
    }
    if settings.access.wants_nonce() {
        info.nonce = nkey::nonce();
    }
    let mut bytes = Vec::new();
    write_info(&mut bytes, &info);
    (bytes, info.nonce)
}

impl<P: Party> Session<P> {
    /// With bytes that were read already.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        connection: Arc<Connection>,
        reader: Incoming,
        party: P,
        timers: Timers,
        partial: Vec<u8>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            connection,
            reader,
            party,
            timers,
            yielded: !partial.is_empty(),
            partial,
            needed: 0,
            handled: 0,
            read_bytes: READ_BYTES,
            held: None,
            pause: None,
            lane: Lane::default(),
        }
    }

    /// Serves until the connection ends.
    pub(crate) async fn run(mut self) {
        let connection = Arc::clone(&self.connection);
        let mut sleep = pin!(tokio::time::sleep_until(self.timers.next(&connection).into()));
        loop {
            if connection.outbound.closing().is_some() {
                break;
            }
            let mut deadline = self.timers.next(&connection);
            if let Some(pause) = &self.pause {
                deadline = deadline.min(pause.until);
            }
            if sleep.deadline() != deadline.into() {
                sleep.as_mut().reset(deadline.into());
            }
            let event = {
                let mut wake = pin!(connection.outbound.waiter.woken());
                poll_fn(|context| self.poll_event(context, wake.as_mut(), sleep.as_mut())).await
            };
            match event {
                Event::Wake => {
                    self.party.woken(&self.shared, &connection, &mut self.timers);
                    self.reconsider_gate();
                    self.pause = self.pause.take().filter(|pause| !pause.is_over(Instant::now()));
                }
                Event::Timer => {
                    let now = Instant::now();
                    self.pause = self.pause.take().filter(|pause| !pause.is_over(now));
                    self.timers.fire(&self.shared, &connection, now, self.held.is_some());
                }
                Event::Batch(aftermath) => self.respect(aftermath),
                Event::Verify(verification) => self.verify(verification).await,
                Event::End(reason) => connection.outbound.close(reason),
            }
        }
        self.end().await;
    }

    fn poll_event(
        &mut self,
        context: &mut Context<'_>,
        wake: Pin<&mut tokio::sync::futures::Notified<'_>>,
        sleep: Pin<&mut tokio::time::Sleep>,
    ) -> Poll<Event> {
        if wake.poll(context).is_ready() {
            return Poll::Ready(Event::Wake);
        }
        if sleep.poll(context).is_ready() {
            return Poll::Ready(Event::Timer);
        }
        let mut work = 0;
        let event = self.poll_turn(context, &mut work);
        let allowed = self.lane.allowance().turn;
        self.lane.end_turn();
        if work >= allowed {
            self.lane.queue_up(&self.shared.turns);
        }
        event
    }

    /// Writes what an inline write left over, then takes the turn to read if this is possible.
    fn poll_turn(&mut self, context: &mut Context<'_>, work: &mut u64) -> Poll<Event> {
        let mut reads = 0;
        let mut has_written = false;
        loop {
            if self.connection.outbound.is_armed() && self.reader.socket().poll_write_ready(context).is_ready() {
                if !std::mem::replace(&mut has_written, true) {
                    self.connection.outbound.continue_writing();
                }
                if self.connection.outbound.is_armed() {
                    // Others have the thread before more is written, or before the socket is asked whether it is full now.
                    context.waker().wake_by_ref();
                }
            }
            if self.connection.outbound.is_closed() {
                return Poll::Ready(Event::Wake);
            }
            if self.held.is_some() || self.pause.is_some() || self.lane.poll_turn(context).is_pending() {
                return Poll::Pending;
            }
            if reads >= READS_PER_TURN || *work >= self.lane.allowance().turn {
                break;
            }
            reads += 1;
            if self.party.has_work(&self.connection) {
                self.party.work(&self.shared, &self.connection);
                self.shared.tell_news();
                break;
            }
            match self.poll_batch(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(Halt::Close(reason))) => return Poll::Ready(Event::End(reason)),
                Poll::Ready(Err(Halt::Verify(verification))) => return Poll::Ready(Event::Verify(verification)),
                Poll::Ready(Ok(aftermath)) => {
                    *work += aftermath.work;
                    let held = aftermath
                        .held
                        .as_ref()
                        .is_some_and(|attachment| attachment.gate.is_closed());
                    if held || !aftermath.stalled.is_empty() {
                        return Poll::Ready(Event::Batch(aftermath));
                    }
                }
            }
        }
        // A busy producer lets others have the thread.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Goes on with what an earlier turn left, or reads once and handles what came.
    fn poll_batch(&mut self, context: &mut Context<'_>) -> Poll<Result<Aftermath, Halt>> {
        if self.yielded {
            let shared = Arc::clone(&self.shared);
            let mut workspace = shared.workspaces.take();
            let result = self.handle_waiting(&mut workspace.gatherer, None);
            shared.workspaces.give_back(workspace);
            return Poll::Ready(result);
        }
        // No work space is borrowed for a socket that has nothing.
        match self.reader.poll_ready(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(_)) => return Poll::Ready(Err(CloseReason::ReadError.into())),
            Poll::Ready(Ok(())) => {}
        }
        let shared = Arc::clone(&self.shared);
        let mut workspace = shared.workspaces.take();
        let result = self.read_batch(context, &mut workspace);
        shared.workspaces.give_back(workspace);
        result
    }

    fn read_batch(&mut self, context: &mut Context<'_>, workspace: &mut Workspace) -> Poll<Result<Aftermath, Halt>> {
        let Workspace { buffer, gatherer } = workspace;
        // An operation that fits is completed in the read buffer, a larger one in its own vector.
        let in_buffer = self.needed.max(self.partial.len() + 1) <= READ_BYTES;
        let held = self.partial.len();
        let space = if in_buffer {
            buffer[..held].copy_from_slice(&self.partial);
            let end = (held + self.read_bytes).max(self.needed).min(READ_BUFFER_BYTES);
            &mut buffer[held..end]
        } else {
            // A length that is not known is that of a control line; it is looked at after every read.
            let missing = if self.needed > held {
                self.needed - held
            } else {
                buffer.len()
            };
            let length = missing.min(buffer.len());
            &mut buffer[..length]
        };
        let wanted = space.len();
        let mut unread = ReadBuf::new(space);
        let count = match self.reader.poll_read(context, &mut unread) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(_)) => return Poll::Ready(Err(CloseReason::ReadError.into())),
            Poll::Ready(Ok(())) => unread.filled().len(),
        };
        if count == 0 {
            return Poll::Ready(Err(CloseReason::ClientClosed.into()));
        }
        let now = Instant::now();
        self.timers.received(now);
        let activity = self.shared.clock.nanoseconds_since_start(now);
        self.connection.last_activity.store(activity, Ordering::Relaxed);

        let result = if in_buffer {
            self.partial.clear();
            self.handle(gatherer, &buffer[..held + count], None)
        } else {
            self.grow_partial(count);
            self.partial.extend_from_slice(&buffer[..count]);
            if self.partial.len() < self.needed {
                return Poll::Ready(Ok(Aftermath::default()));
            }
            self.handle_waiting(gatherer, None)
        };
        self.read_bytes = match &result {
            Ok(aftermath) if count == wanted && aftermath.is_free() && !self.yielded => READ_BUFFER_BYTES,
            Ok(_) | Err(_) => READ_BYTES,
        };
        Poll::Ready(result)
    }

    /// Room for bytes that have arrived, never for bytes that were only announced.
    fn grow_partial(&mut self, count: usize) {
        let length = self.partial.len() + count;
        if length > self.partial.capacity() {
            let wanted = (length * 2).clamp(LARGE_FRAME_INITIAL_BYTES, self.needed.max(length));
            self.partial.reserve_exact(wanted.max(length) - self.partial.len());
        }
    }

    /// Handles what is in the read buffer; what is left of it waits in `partial`, which is empty.
    fn handle(&mut self, gatherer: &mut Gatherer, data: &[u8], verified: Option<Verified>) -> Result<Aftermath, Halt> {
        gatherer.begin(self.lane.allowance());
        let batch = self.party.handle_batch(
            &self.shared,
            &self.connection,
            &mut self.timers,
            gatherer,
            data,
            verified,
        );
        self.needed = batch.needed;
        self.yielded = batch.yielded;
        if batch.consumed < data.len() && !matches!(batch.end, Some(Halt::Close(_))) {
            self.partial.extend_from_slice(&data[batch.consumed..]);
        } else if self.partial.capacity() > 0 {
            self.partial = Vec::new();
        }
        match batch.end {
            None => Ok(batch.aftermath),
            Some(halt) => Err(halt),
        }
    }

    /// Handles what waits in `partial`, where it stays until it is handled: many turns do not copy it many times.
    fn handle_waiting(&mut self, gatherer: &mut Gatherer, verified: Option<Verified>) -> Result<Aftermath, Halt> {
        let mut waiting = std::mem::take(&mut self.partial);
        gatherer.begin(self.lane.allowance());
        let batch = self.party.handle_batch(
            &self.shared,
            &self.connection,
            &mut self.timers,
            gatherer,
            &waiting[self.handled..],
            verified,
        );
        self.needed = batch.needed;
        self.yielded = batch.yielded;
        self.handled += batch.consumed;
        if !self.yielded {
            waiting.drain(..std::mem::take(&mut self.handled));
        }
        if !waiting.is_empty() {
            self.partial = waiting;
        }
        match batch.end {
            None => Ok(batch.aftermath),
            Some(halt) => Err(halt),
        }
    }

    /// Compares a password with its hash where it delays nobody else, then goes on with what the client sent behind it.
    async fn verify(&mut self, verification: Box<Verification>) {
        let connection = Arc::clone(&self.connection);
        let shared = Arc::clone(&self.shared);
        self.lane.leave();
        let mut next = Some(verification);
        while let Some(verification) = next.take() {
            let mut comparison = pin!(compare(&shared, verification));
            let verified = loop {
                tokio::select! {
                    verified = &mut comparison => break verified,
                    () = connection.outbound.until_closed() => return,
                    () = tokio::time::sleep_until(self.timers.next(&connection).into()) => {
                        self.timers.fire(&shared, &connection, Instant::now(), false);
                    }
                }
            };
            let mut workspace = shared.workspaces.take();
            let result = self.handle_waiting(&mut workspace.gatherer, Some(verified));
            shared.workspaces.give_back(workspace);
            match result {
                Ok(aftermath) => self.respect(aftermath),
                Err(Halt::Close(reason)) => connection.outbound.close(reason),
                Err(Halt::Verify(verification)) => next = Some(verification),
            }
        }
    }

    /// Lets the gate and the destinations of a batch slow its producer down. Whoever publishes to a service of this process, which
    /// holds its publishers itself, is not made to wait for destinations too.
    fn respect(&mut self, aftermath: Aftermath) {
        match aftermath.held {
            Some(attachment) => self.hold(attachment),
            None => self.pause = Pause::new(&self.shared.counters, &self.connection, aftermath.stalled),
        }
    }

    fn hold(&mut self, attachment: Arc<AttachmentShared>) {
        if attachment.gate.hold(&self.connection.outbound.waiter) {
            self.held = Some(attachment);
        }
    }

    fn reconsider_gate(&mut self) {
        if let Some(attachment) = self.held.take() {
            self.hold(attachment);
            if self.held.is_none() {
                self.timers.released(Instant::now());
            }
        }
    }

    /// Everything after the decision to close: forget the client, then let it read what was said last.
    async fn end(mut self) {
        let connection = Arc::clone(&self.connection);
        let shared = Arc::clone(&self.shared);
        let reason = connection.outbound.closing().unwrap_or(CloseReason::ClientClosed);
        self.lane.leave();
        self.party.leave(&shared, &connection, reason);
        while self.party.has_work(&connection) {
            let _turn = shared.turns.acquire().await;
            self.party.work(&shared, &connection);
            shared.tell_news();
            tokio::task::yield_now().await;
        }
        if let Some(attachment) = self.held.take() {
            attachment.gate.forget(&connection.outbound.waiter);
        }
        self.party.left(&shared, &connection, reason);

        if reason.flushes() && !connection.outbound.is_abandoned() {
            let until = (Instant::now() + LINGER).into();
            // A client that does not read its last words has had its time.
            let _ = tokio::time::timeout_at(until, self.flush_rest()).await;
            connection.outbound.release_socket();
            if reason != CloseReason::ServerShutdown {
                let _ = tokio::time::timeout_at(until, self.discard_input()).await;
            }
        }
        connection.outbound.release_socket();
        let mut is_more = connection.outbound.free_unsent();
        while is_more {
            let _turn = shared.turns.acquire().await;
            is_more = connection.outbound.free_unsent();
            tokio::task::yield_now().await;
        }
    }

    async fn flush_rest(&self) {
        let connection = &self.connection;
        loop {
            let wake = connection.outbound.waiter.woken();
            if connection.outbound.is_flushed() || connection.outbound.is_abandoned() {
                return;
            }
            if connection.outbound.is_armed() {
                if self.reader.socket().writable().await.is_err() {
                    return;
                }
                connection.outbound.continue_writing();
            } else {
                wake.await;
            }
        }
    }

    /// Reads and forgets, so that closing does not reset the connection under words that the client has yet to
    /// read.
    async fn discard_input(&mut self) {
        let outbound = &self.connection.outbound;
        let mut left = LINGER_BYTES;
        let mut scratch = [0; 2048];
        while left > 0 && !outbound.is_abandoned() {
            tokio::select! {
                readable = self.reader.socket().readable() => if readable.is_err() {
                    return;
                },
                () = outbound.waiter.woken() => continue,
            }
            match self.reader.socket().try_read(&mut scratch) {
                Ok(0) => return,
                Ok(count) => left = left.saturating_sub(count),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}
