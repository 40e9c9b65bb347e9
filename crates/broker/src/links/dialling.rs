//! Connections that this server makes to others: to those that are configured for ever, to those it hears of as often as is configured.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use seaway_nats_protocol::RouteInfo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::greeting::{self, first_info, parse_route_url};
use super::party::{PeerParty, join};
use super::serving;
use crate::kind::Kind;
use crate::limits::{DIAL_TIMEOUT, REDIAL_FIRST, REDIAL_JITTER, REDIAL_LAST, ROUTE_PROTO_MIN};
use crate::mesh::{Mesh, RouteAddress, host_and_port};
use crate::shared::Shared;
use crate::tls::{Incoming, Outgoing, TlsDetails, plain, shaken};

/// One failure in so many is logged, the first one among them.
const FAILURES_PER_LINE: u32 = 60;
/// A connection that lasted this long was a good one.
const GOOD: Duration = Duration::from_secs(5);

/// What became of a connection.
enum Outcome {
    /// The other side is this server.
    Oneself,
    /// There is a connection to this server already.
    Known(String),
    /// It came about, and has ended after this long.
    Ended(Duration),
    Failed(String),
    /// The broker stops.
    Stopping,
}

/// Pauses between attempts.
struct Pauses(Duration);

impl Pauses {
    async fn pause(&mut self, shared: &Shared) {
        let time = self.0 + REDIAL_JITTER.mul_f64(fastrand::f64());
        let _ = unless_stopping(shared, sleep(time)).await;
        self.0 = (self.0 * 2).min(REDIAL_LAST);
    }

    fn look_at(&mut self, outcome: &Outcome) {
        if matches!(outcome, Outcome::Ended(lasted) if *lasted >= GOOD) || matches!(outcome, Outcome::Known(_)) {
            self.0 = REDIAL_FIRST;
        }
    }
}

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
    let mut pauses = Pauses(REDIAL_FIRST);
    let mut failures = 0;
    while !*shared.stopping.borrow() {
        let outcome = dial(&shared, &mesh, &route, true).await;
        mesh.was_tried(&shown);
        pauses.look_at(&outcome);
        match outcome {
            Outcome::Stopping => return,
            Outcome::Oneself => {
                tracing::debug!("The route {shown} leads to this server itself");
                return;
            }
            Outcome::Known(server_id) => {
                let _ = unless_stopping(&shared, until_gone(&mesh, &server_id)).await;
            }
            Outcome::Ended(_) => failures = 0,
            Outcome::Failed(error) => {
                if failures % FAILURES_PER_LINE == 0 {
                    tracing::error!("Error trying to connect to route {shown}: {error}");
                }
                failures += 1;
            }
        }
        pauses.pause(&shared).await;
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
pub(super) async fn meet_all(shared: Arc<Shared>, mesh: Arc<Mesh>, mut heard_of: mpsc::Receiver<RouteInfo>) {
    while let Some(Some(info)) = unless_stopping(&shared, heard_of.recv()).await {
        meet(&shared, &mesh, &info);
    }
}

/// Another server told of this one: it is dialled, unless it is known, configured, or being dialled already.
fn meet(shared: &Arc<Shared>, mesh: &Arc<Mesh>, info: &RouteInfo) {
    let Some((host, port)) = parse_route_url(&info.ip) else {
        return;
    };
    let address = host_and_port(&host, port);
    let is_configured = mesh.options.routes.iter().any(|route| route.shown() == address);
    if info.server_id == shared.server_id || is_configured || mesh.find(&info.server_id).is_some() {
        return;
    }
    if *shared.stopping.borrow() || !mesh.begin_dialling(&address) {
        return;
    }
    let route = RouteAddress {
        host,
        port,
        credentials: mesh.options.credentials.clone(),
    };
    let (shared, mesh) = (Arc::clone(shared), Arc::clone(mesh));
    tokio::spawn(async move {
        try_repeatedly(&shared, &mesh, &route).await;
        mesh.end_dialling(&address);
    });
}

async fn try_repeatedly(shared: &Arc<Shared>, mesh: &Arc<Mesh>, route: &RouteAddress) {
    let mut pauses = Pauses(REDIAL_FIRST);
    let mut attempts = 0;
    while !*shared.stopping.borrow() {
        let outcome = dial(shared, mesh, route, false).await;
        pauses.look_at(&outcome);
        match outcome {
            Outcome::Oneself | Outcome::Known(_) | Outcome::Stopping => return,
            Outcome::Ended(lasted) if lasted >= GOOD => attempts = 0,
            Outcome::Ended(_) => attempts += 1,
            Outcome::Failed(error) => {
                attempts += 1;
                let shown = route.shown();
                tracing::debug!("Error trying to connect to route {shown}, which another server named: {error}");
            }
        }
        if attempts > mesh.options.connect_retries {
            return;
        }
        pauses.pause(shared).await;
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

/// Dials, and serves the connection to its end.
async fn dial(shared: &Arc<Shared>, mesh: &Arc<Mesh>, route: &RouteAddress, is_configured: bool) -> Outcome {
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
            return Outcome::Known(server_id);
        }
    };
    if is_configured {
        mesh.was_tried(&route.shown());
    }
    let party = PeerParty::joined(mesh, peer);
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
    Outcome::Ended(begun.elapsed())
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
        return Err(Outcome::Failed("it is no server's port for routes".to_owned()));
    }
    if mesh.agree(&info.cluster, info.cluster_dynamic).is_err() {
        return Err(Outcome::Failed(format!(
            "it belongs to the cluster {:?}, not to {:?}",
            info.cluster,
            mesh.name()
        )));
    }
    if mesh
        .find(&info.server_id)
        .is_some_and(|peer| !peer.connection.outbound.is_closed())
    {
        return Err(Outcome::Known(info.server_id));
    }
    let Some(tls) = &mesh.options.tls else {
        if info.tls_required {
            return Err(Outcome::Failed(
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
        return Err(Outcome::Failed(
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
        Ok(stream) => stream.map_err(failed)?,
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
