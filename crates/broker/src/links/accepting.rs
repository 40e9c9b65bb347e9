//! Connections that other servers make to this one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::greeting;
use super::party::PeerParty;
use super::serving;
use crate::kind::Kind;
use crate::limits::{ACCEPT_PAUSE_FIRST, ACCEPT_PAUSE_LAST};
use crate::mesh::{Mesh, Stranger};
use crate::sessions::{SessionCount, Sessions};
use crate::shared::Shared;
use crate::tls::{Incoming, Outgoing, TlsDetails, plain, shaken};

/// Accepts other servers from a socket that is bound and listening, until the broker stops.
pub(super) fn listen(shared: &Arc<Shared>, mesh: &Arc<Mesh>, socket: std::net::TcpListener) -> io::Result<SocketAddr> {
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket)?;
    let address = listener.local_addr()?;
    mesh.set_bound_port(address.port());
    tokio::spawn(accept(Arc::clone(shared), Arc::clone(mesh), listener));
    Ok(address)
}

async fn accept(shared: Arc<Shared>, mesh: Arc<Mesh>, listener: TcpListener) {
    let mut stopping = shared.stopping.subscribe();
    let mut pause = ACCEPT_PAUSE_FIRST;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, seen)) => {
                pause = ACCEPT_PAUSE_FIRST;
                let _ = stream.set_nodelay(true);
                let seen = SocketAddr::new(seen.ip().to_canonical(), seen.port());
                let stranger = mesh.strangers.enter(seen.ip());
                let count = shared.sessions.begin(Kind::Peer);
                tokio::spawn(serve(
                    Arc::clone(&shared),
                    Arc::clone(&mesh),
                    stream,
                    seen,
                    stranger,
                    count,
                ));
                // Those who gave up their places have to go before others come.
                let has_room = |sessions: &Sessions| sessions.of(Kind::Peer) < mesh.connections_max;
                tokio::select! {
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                    () = shared.sessions.until(has_room) => {}
                }
            }
            Err(error) => {
                tracing::error!("Error accepting a route connection: {error}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(ACCEPT_PAUSE_LAST);
            }
        }
    }
}

async fn serve(
    shared: Arc<Shared>,
    mesh: Arc<Mesh>,
    stream: TcpStream,
    seen: SocketAddr,
    stranger: Stranger,
    _count: SessionCount,
) {
    let id = shared.next_id();
    tracing::debug!("{seen} - rid:{id} - Route connection created");
    let mut stopping = shared.stopping.subscribe();
    let opened = tokio::select! {
        opened = timeout(mesh.authentication_time(), open(&shared, &mesh, stream)) => opened,
        _ = stopping.wait_for(|stopping| *stopping) => return,
        () = stranger.given_up() => return,
    };
    let (incoming, outgoing, tls) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return tracing::error!("{seen} - rid:{id} - TLS route handshake error: {error}"),
        Err(_) => return tracing::error!("{seen} - rid:{id} - TLS handshake timeout"),
    };
    let connection = serving::connection(&shared, (id, seen), &incoming, outgoing, tls).await;
    stranger.is(&connection);
    let party = PeerParty::stranger(&shared, &mesh, stranger);
    let (interval, time) = (mesh.options.ping_interval, mesh.authentication_time());
    serving::serve(&shared, connection, incoming, party, interval, Some(time), Vec::new()).await;
}

/// Says who this server is, and shakes hands where TLS is asked for (§4.4).
async fn open(
    shared: &Shared,
    mesh: &Mesh,
    mut stream: TcpStream,
) -> io::Result<(Incoming, Outgoing, Option<TlsDetails>)> {
    let mut line = Vec::new();
    greeting::info(shared, mesh).write(&mut line);
    stream.write_all(&line).await?;
    let Some(tls) = &mesh.options.tls else {
        let (incoming, outgoing) = plain(stream);
        return Ok((incoming, outgoing, None));
    };
    let stream = TlsAcceptor::from(tls.clients()).accept(stream).await?;
    Ok(shaken(stream.into_inner()))
}
