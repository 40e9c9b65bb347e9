//! A connection to another server, whoever dialled: from the socket that is open to the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::party::PeerParty;
use crate::connection::Connection;
use crate::kind::Kind;
use crate::limits::PEER_PING_INTERVAL;
use crate::outbound::{Bounds, Outbound};
use crate::reason::CloseReason;
use crate::session::{Session, Timers};
use crate::shared::Shared;
use crate::tls::{Incoming, Outgoing, TlsDetails};

/// The connection to a server over a socket that is open, as everybody sees it from now on.
pub(super) async fn connection(
    shared: &Shared,
    (id, seen): (u64, SocketAddr),
    incoming: &Incoming,
    outgoing: Outgoing,
    tls: Option<TlsDetails>,
) -> Arc<Connection> {
    let bounds = Bounds::new(&shared.options, Kind::Peer);
    let outbound = Outbound::new(id, seen, bounds, &shared.counters, Some(outgoing));
    let connection = shared.register(|slot| Connection::new(shared.clock, id, slot, seen, outbound, tls));
    // The socket's readiness is known to the runtime only after it has been polled once.
    let _ = incoming.socket().writable().await;
    connection
}

/// Serves a connection to its end; `authentication` is the time in which the other server has to introduce itself, if it has not, and
/// `rest` what has come already.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    connection: Arc<Connection>,
    incoming: Incoming,
    party: PeerParty,
    ping_interval: Option<Duration>,
    authentication: Option<Duration>,
    rest: Vec<u8>,
) {
    if *shared.stopping.borrow() {
        connection.outbound.close(CloseReason::ServerShutdown);
    }
    let mut timers = Timers::new(shared, connection.started, authentication);
    timers.ping_within(ping_interval.unwrap_or(PEER_PING_INTERVAL));
    Session::new(shared, connection, incoming, party, timers, rest)
        .run()
        .await;
}
