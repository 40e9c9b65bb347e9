//! Accepting clients (core specification §1.1).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::broker::Broker;
use crate::kind::Kind;
use crate::limits::{ACCEPT_BACKLOG, ACCEPT_PAUSE_FIRST, ACCEPT_PAUSE_LAST, SESSIONS_ENDING_MAX};
use crate::session::{self, Way};
use crate::shared::Shared;

/// A listening socket. It accepts until [`Listener::close`], lame duck mode or the broker's shutdown; dropping it changes nothing.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Listener {
    /// The address that was really bound, with the port the system chose if asked to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting; connections that exist stay.
    pub fn close(&self) {
        self.open.send_replace(false);
    }
}

/// Why a connection of this process is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    /// Clients have to present certificates, for which there is no place.
    #[error("this server asks clients for certificates (tls {{ verify }}), and none can be shown here")]
    CertificateRequired,
    /// It takes no clients any more.
    #[error("this server stops, and takes no clients any more")]
    Stopping,
}

impl Broker {
    /// Listens on `host` and `port`; port 0 lets the system choose. A wildcard host (`0.0.0.0`, `::` or empty) is
    /// bound for both address families.
    ///
    /// # Errors
    /// When the host cannot be resolved or the address cannot be bound.
    pub async fn listen(&self, host: &str, port: u16) -> io::Result<Listener> {
        self.listen_on(bind_host(host, port).await?)
    }

    /// Whether clients have to present certificates.
    #[must_use]
    pub fn asks_for_certificates(&self) -> bool {
        let settings = self.shared.settings();
        settings.tls.as_ref().is_some_and(|tls| tls.options().verify)
    }

    /// Serves a connection that was made within this process as that of a client from `peer`, who logs in and may do what his user may.
    /// There is no TLS on it: whoever made it answers for the way to `peer`.
    ///
    /// # Errors
    /// See [`NotServed`].
    pub fn serve_within(&self, stream: TcpStream, peer: SocketAddr) -> Result<(), NotServed> {
        if self.asks_for_certificates() {
            return Err(NotServed::CertificateRequired);
        }
        if *self.shared.leaving.borrow() || *self.shared.stopping.borrow() {
            return Err(NotServed::Stopping);
        }
        serve(&self.shared, stream, peer, Way::Process);
        Ok(())
    }

    /// Accepts clients from a socket that is bound and listening. To be called within a tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be used without blocking or tells no address.
    pub fn listen_on(&self, socket: std::net::TcpListener) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket)?;
        let address = listener.local_addr()?;
        self.shared.set_bound_port(address.port());
        let (open, watch_open) = watch::channel(true);
        tokio::spawn(accept(Arc::clone(&self.shared), listener, watch_open));
        Ok(Listener { address, open })
    }
}

/// Binds `host` and `port` without accepting anything yet: clients that come early wait in the backlog. Port 0 lets the
/// system choose; a wildcard host (`0.0.0.0`, `::` or empty) is bound for both address families.
///
/// # Errors
/// When the host cannot be resolved or the address cannot be bound.
pub async fn bind_host(host: &str, port: u16) -> io::Result<std::net::TcpListener> {
    if matches!(host, "" | "0.0.0.0" | "::" | "[::]") {
        return bind_wildcard(port);
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut failure = None;
    for address in tokio::net::lookup_host((host, port)).await? {
        match bind(address, false) {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, format!("no address for {host}"))))
}

fn bind_wildcard(port: u16) -> io::Result<std::net::TcpListener> {
    let dual_stack = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    match bind(dual_stack, true) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse && error.kind() != io::ErrorKind::PermissionDenied => {
            // A machine without IPv6.
            bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), false)
        }
        result => result,
    }
}

fn bind(address: SocketAddr, dual_stack: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_BACKLOG)?;
    Ok(socket.into())
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, mut open: watch::Receiver<bool>) {
    let (mut stopping, mut leaving) = (shared.stopping.subscribe(), shared.leaving.subscribe());
    let mut pause = ACCEPT_PAUSE_FIRST;
    let closed = async move {
        // A dropped `Listener` keeps listening.
        if open.wait_for(|open| !*open).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::pin!(closed);
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return,
            _ = leaving.wait_for(|leaving| *leaving) => return,
            () = &mut closed => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = ACCEPT_PAUSE_FIRST;
                serve(&shared, stream, peer, Way::Network);
            }
            Err(error) => {
                tracing::error!("Error accepting a client connection: {error}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(ACCEPT_PAUSE_LAST);
            }
        }
    }
}

fn serve(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr, way: Way) {
    // Small frames must not wait for each other; a peer that is gone already shows at the first read.
    let _ = stream.set_nodelay(true);
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let most = shared.settings().max_connections.saturating_add(SESSIONS_ENDING_MAX);
    if shared.sessions.of(Kind::Client) >= most {
        shared.counters.total_connections.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let count = shared.sessions.begin(Kind::Client);
    tokio::spawn(session::serve(Arc::clone(shared), stream, (peer, way), count));
}
