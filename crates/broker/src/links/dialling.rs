//! Connections that this server makes to others: to those that are configured for ever, to those it hears of as often as is configured.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::ServerName;
use seaway_nats_protocol::RouteInfo;
use tokio::net::TcpStream;
use tokio::sync::{SemaphorePermit, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::attempts::{Attempts, GOOD, Outcome};
use super::greeting::{self, first_info, parse_route_url};
use super::joining::join;
use super::party::PeerParty;
use super::serving;
use crate::kind::Kind;
use crate::limits::{DIAL_TIMEOUT, ROUTE_PROTO_MIN};
use crate::mesh::{Mesh, Peer, Refusal, RouteAddress, Told, host_and_port};
use crate::shared::Shared;
use crate::tls::{Incoming, Outgoing, TlsDetails, plain, shaken};

/// Does something that the broker's end interrupts; `None` then.
async fn unless_stopping<T>(shared: &Shared, work: impl Future<Output = T>) -> Option<T> {
    let mut stopping = shared.stopping.subscribe();
    tokio::select! {
        _ = stopping.wait_for(|stopping| *stopping) => None,
        done = work => Some(done),
    }
}

/// Keeps a connection to a server that is configured, for as long as the broker runs. A connection that exists ends by itself when the
/// broker stops.
pub(super) async fn keep(shared: Arc<Shared>, mesh: Arc<Mesh>, route: RouteAddress) {
    let shown = route.shown();
    let mut attempts = Attempts::new();
    while !*shared.stopping.borrow() {
        let outcome = dial(&shared, &mesh, &route, None).await;
        mesh.was_tried(&shown);
        match &outcome {
            Outcome::Stopping => return,
            Outcome::Oneself => {
                tracing::debug!("The route {shown} leads to this server itself");
                return;
            }
            Outcome::Known(server_id) => {
                let _ = unless_stopping(&shared, until_gone(&mesh, server_id)).await;
            }
            Outcome::Ended(_) => {}
            Outcome::Failed(error) | Outcome::Refused(error) => {
                if attempts.is_news(error, Instant::now()) {
                    tracing::error!("Error trying to connect to route {shown}: {error}");
                }
            }
        }
        let _ = unless_stopping(&shared, sleep(attempts.pause(&outcome))).await;
    }
}

async fn until_gone(mesh: &Mesh, server_id: &str) {
    let mut changes = mesh.changes.subscribe();
    while mesh.find(server_id).is_some() {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Dials servers that others tell of.
pub(super) async fn meet_all(shared: Arc<Shared>, mesh: Arc<Mesh>, mut heard_of: mpsc::Receiver<Told>) {
    while let Some(Some(Told { teller, info })) = unless_stopping(&shared, heard_of.recv()).await {
        meet(&shared, &mesh, teller, &info);
    }
}

/// Another server told of this one: it is dialled, unless it is known, configured, or being dialled already.
fn meet(shared: &Arc<Shared>, mesh: &Arc<Mesh>, teller: Arc<Peer>, info: &RouteInfo) {
    let Some((host, port)) = parse_route_url(&info.ip) else {
        return;
    };
    let address = host_and_port(&host, port);
    let is_configured = mesh.options.routes.iter().any(|route| route.shown() == address);
    if info.server_id == shared.server_id || is_configured || mesh.find(&info.server_id).is_some() {
        return;
    }
    if *shared.stopping.borrow() || !mesh.begin_dialling(&address, &teller.server_id) {
        return;
    }
    let route = RouteAddress {
        host,
        port,
        credentials: mesh.options.credentials.clone(),
    };
    let (shared, mesh) = (Arc::clone(shared), Arc::clone(mesh));
    tokio::spawn(async move {
        try_repeatedly(&shared, &mesh, &route, &teller).await;
        mesh.end_dialling(&address);
    });
}

async fn try_repeatedly(shared: &Arc<Shared>, mesh: &Arc<Mesh>, route: &RouteAddress, teller: &Peer) {
    let mut attempts = Attempts::new();
    let mut in_vain = 0;
    while !*shared.stopping.borrow() {
        let outcome = dial(shared, mesh, route, Some(teller)).await;
        match &outcome {
            Outcome::Oneself | Outcome::Known(_) | Outcome::Stopping => return,
            Outcome::Ended(lasted) if *lasted >= GOOD => in_vain = 0,
            Outcome::Ended(_) => in_vain += 1,
            Outcome::Failed(error) | Outcome::Refused(error) => {
                in_vain += 1;
                let shown = route.shown();
                tracing::debug!("Error trying to connect to route {shown}, which another server named: {error}");
            }
        }
        if in_vain > mesh.options.connect_retries {
            return;
        }
        let _ = unless_stopping(shared, sleep(attempts.pause(&outcome))).await;
    }
}

/// A connection that is ready for CONNECT.
struct Dialled {
    incoming: Incoming,
    outgoing: Outgoing,
    tls: Option<TlsDetails>,
    info: RouteInfo,
    /// What came behind INFO.
    rest: Vec<u8>,
}

/// Waits until few enough connections are being made; those to servers that others tell of are no burden to configured ones, and
/// what one server tells none to what another does.
async fn turn<'a>(mesh: &'a Mesh, teller: Option<&'a Peer>) -> [Option<SemaphorePermit<'a>>; 2] {
    let of_teller = match teller {
        Some(teller) => teller.dials.acquire().await.ok(),
        None => None,
    };
    [
        of_teller,
        mesh.dials[usize::from(teller.is_some())].acquire().await.ok(),
    ]
}

/// Dials, and serves the connection to its end; without `teller` the configuration names the server.
async fn dial(shared: &Arc<Shared>, mesh: &Arc<Mesh>, route: &RouteAddress, teller: Option<&Peer>) -> Outcome {
    let is_configured = teller.is_none();
    let Some(turn) = unless_stopping(shared, turn(mesh, teller)).await else {
        return Outcome::Stopping;
    };
    let _count = shared.sessions.begin(Kind::Peer);
    let id = shared.next_id();
    let (seen, dialled) = match unless_stopping(shared, open(shared, mesh, route, id)).await {
        None => return Outcome::Stopping,
        Some(Err(outcome)) => return outcome,
        Some(Ok(opened)) => opened,
    };
    let Dialled {
        incoming,
        outgoing,
        tls,
        info,
        rest,
    } = dialled;
    let connection = serving::connection(shared, (id, seen), &incoming, outgoing, tls).await;
    let mut first = Vec::new();
    greeting::connect(shared, mesh, route.credentials.as_ref()).write(&mut first);
    greeting::info(shared, mesh).write(&mut first);
    connection.outbound.send(&mut first, 0, 0);
    let (server_id, begun) = (info.server_id.clone(), Instant::now());
    let peer = match join(shared, mesh, &connection, info, Some(is_configured)) {
        Ok(peer) => peer,
        Err(refusal) => {
            connection.outbound.close(refusal.reason());
            shared.unregister(&connection, None);
            connection.outbound.release_socket();
            return match refusal {
                Refusal::Oneself | Refusal::Duplicate => Outcome::Known(server_id),
                refusal => Outcome::Refused(refusal.words()),
            };
        }
    };
    drop(turn);
    if is_configured {
        mesh.was_tried(&route.shown());
    }
    let party = PeerParty::joined(shared, mesh, Arc::clone(&peer));
    serving::serve(
        shared,
        connection,
        incoming,
        party,
        mesh.options.ping_interval,
        None,
        rest,
    )
    .await;
    match (peer.is_confirmed(), peer.refusal()) {
        (true, _) => Outcome::Ended(begun.elapsed()),
        (false, Some(error)) => Outcome::Refused(format!("it refuses: {error}")),
        (false, None) if mesh.find(&server_id).is_some() => Outcome::Known(server_id),
        (false, None) => Outcome::Failed("it closes the connection without a word".to_owned()),
    }
}

/// Connects, and does what comes before CONNECT.
async fn open(shared: &Shared, mesh: &Mesh, route: &RouteAddress, id: u64) -> Result<(SocketAddr, Dialled), Outcome> {
    let connecting = timeout(DIAL_TIMEOUT, TcpStream::connect((route.host.as_str(), route.port))).await;
    let stream = match connecting {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Outcome::Failed(error.to_string())),
        Err(_) => return Err(Outcome::Failed("no connection in time".to_owned())),
    };
    let seen = stream.peer_addr().map_err(|error| Outcome::Failed(error.to_string()))?;
    let _ = stream.set_nodelay(true);
    tracing::debug!("{seen} - rid:{id} - Route connection created");
    match timeout(mesh.authentication_time(), greet(shared, mesh, route, stream)).await {
        Ok(greeted) => greeted.map(|dialled| (seen, dialled)),
        Err(_) => Err(Outcome::Failed("it does not introduce itself in time".to_owned())),
    }
}

/// Reads INFO, decides whether this is a connection to have, and shakes hands.
async fn greet(shared: &Shared, mesh: &Mesh, route: &RouteAddress, mut stream: TcpStream) -> Result<Dialled, Outcome> {
    let failed = |error: io::Error| Outcome::Failed(error.to_string());
    let (info, rest) = first_info(&mut stream).await.map_err(failed)?;
    if info.server_id == shared.server_id {
        return Err(Outcome::Oneself);
    }
    // A port for clients says 1 (§4.3).
    if info.proto < ROUTE_PROTO_MIN {
        return Err(Outcome::Refused("it is no server's port for routes".to_owned()));
    }
    if let Err(refusal) = mesh.may_agree(&info.cluster, info.cluster_dynamic) {
        return Err(Outcome::Refused(refusal.words()));
    }
    if mesh
        .find(&info.server_id)
        .is_some_and(|peer| !peer.connection.outbound.is_closed())
    {
        return Err(Outcome::Known(info.server_id));
    }
    let Some(tls) = &mesh.options.tls else {
        if info.tls_required {
            return Err(Outcome::Refused(
                "it wants TLS, which this server's cluster block does not have".to_owned(),
            ));
        }
        let (incoming, outgoing) = plain(stream);
        return Ok(Dialled {
            incoming,
            outgoing,
            tls: None,
            info,
            rest,
        });
    };
    if !info.tls_required {
        return Err(Outcome::Refused(
            "it does not offer TLS, which this server's cluster block asks for".to_owned(),
        ));
    }
    if !rest.is_empty() {
        return Err(Outcome::Failed(
            "it sends in the open before the TLS handshake".to_owned(),
        ));
    }
    let name = ServerName::try_from(route.host.clone());
    let name = name.map_err(|_| Outcome::Failed("its name is none that a certificate could have".to_owned()))?;
    let Some(config) = tls.dialling() else {
        return Err(Outcome::Failed("TLS between servers needs a ca_file".to_owned()));
    };
    let handshake = timeout(tls.timeout(), TlsConnector::from(config).connect(name, stream)).await;
    let stream = match handshake {
        Ok(stream) => stream.map_err(|error| Outcome::Refused(format!("TLS route handshake error: {error}")))?,
        Err(_) => return Err(Outcome::Failed("TLS handshake timeout".to_owned())),
    };
    let (incoming, outgoing, tls) = shaken(stream.into_inner());
    Ok(Dialled {
        incoming,
        outgoing,
        tls,
        info,
        rest,
    })
}
