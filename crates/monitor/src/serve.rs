//! The HTTP side: a bounded number of connections, each with bounded patience.

mod patient;
mod seats;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, header};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::limits::{
    CLOSE_TIME_MAX, CONNECTION_TIME_MAX, CONNECTIONS_MAX, HEAD_LEN_MAX, HEAD_TIME_MAX, SMALL_ANSWER_LEN,
    UNREAD_ANSWERS_LEN_MAX, UNREAD_TIME_MAX,
};
use crate::metrics;
use crate::reply::{Accept, Content, Reply};
use crate::site::Site;
use crate::snapshot::Source;
use patient::Patient;
use seats::{Seat, Seats};

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// All endpoints as a router, for a server that has other pages too.
pub fn router(source: Arc<dyn Source>) -> Router {
    let served = Served {
        site: Site::new(source),
        unread: Arc::new(Semaphore::new(UNREAD_ANSWERS_LEN_MAX)),
    };
    Router::new().fallback(answer).with_state(Arc::new(served))
}

/// The endpoints, and how much of their answers waits to be read.
struct Served {
    site: Site,
    /// A permit for each byte there is room for.
    unread: Arc<Semaphore>,
}

impl Served {
    /// The answer to send: this one, or that there is no room for it.
    fn admit(&self, reply: Reply) -> Response<Body> {
        let len = reply.body.len();
        if len <= SMALL_ANSWER_LEN {
            return response(reply, Body::from);
        }
        let room = u32::try_from(len)
            .ok()
            .and_then(|len| Arc::clone(&self.unread).try_acquire_many_owned(len).ok());
        match room {
            Some(room) => response(reply, |text| {
                Body::from(Bytes::from_owner(Unread { text, _room: room }))
            }),
            None => response(Reply::too_much(len), Body::from),
        }
    }
}

/// The text of an answer until it was written to its connection, or that has ended.
struct Unread {
    text: String,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Unread {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// Gives the TLS settings for each new connection, so that certificates can be replaced while the server runs.
pub type TlsSource = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

/// Who makes a request; every request that [`serve`] takes carries it among its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The address at the other end.
    pub peer: SocketAddr,
    /// Whether there is TLS.
    pub is_secure: bool,
}

/// Answers requests with `pages` until `shutdown` is done; requests in progress then have [`CLOSE_TIME_MAX`] to finish. Behind TLS when
/// there is any; a handshake has [`HEAD_TIME_MAX`], like the head of a request. At most `connections_max` connections, 1 to
/// [`CONNECTIONS_MAX`], are served at a time: for a further one another one ends.
pub async fn serve(
    listener: TcpListener,
    pages: Router,
    tls: Option<TlsSource>,
    connections_max: usize,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (closing, closed) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut seats = Seats::default();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            // Ended connections are forgotten as they end.
            Some(ended) = connections.join_next_with_id() => {
                seats.leave(ended.map_or_else(|error| error.id(), |(task, ())| task));
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if seats.len() >= connections_max.min(CONNECTIONS_MAX) {
                    seats.end_one();
                }
                let seat = Seat::new();
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                let caller = Caller {
                    peer,
                    is_secure: tls.is_some(),
                };
                let serving = serve_stream(stream, caller, tls.clone(), pages.clone(), seat.clone(), closed.clone());
                seats.take(peer.ip(), seat, connections.spawn(serving));
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(_) => {
                // No descriptor is left: one that waits here is worth less than whoever comes to ask.
                seats.end_one();
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    // Nobody listens when there are no connections.
    let _ = closing.send(true);
    let _ = timeout(CLOSE_TIME_MAX, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Serves a connection to its end, behind TLS when there is any.
async fn serve_stream(
    stream: TcpStream,
    caller: Caller,
    tls: Option<TlsSource>,
    pages: Router,
    seat: Seat,
    closed: watch::Receiver<bool>,
) {
    let stream = Patient::new(stream, UNREAD_TIME_MAX);
    let Some(tls) = tls else {
        return serve_connection(stream, caller, pages, seat, closed).await;
    };
    let handshake = TlsAcceptor::from(tls()).accept(stream);
    // Whoever cannot agree on TLS has nothing to be told.
    if let Ok(Ok(stream)) = timeout(HEAD_TIME_MAX, handshake).await {
        serve_connection(stream, caller, pages, seat, closed).await;
    }
}

/// Serves a connection to its end; what goes wrong on it concerns its peer only.
async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    caller: Caller,
    pages: Router,
    seat: Seat,
    mut closed: watch::Receiver<bool>,
) {
    let pages = TowerToHyperService::new(pages);
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(caller);
        let answering = seat.answering();
        let answered = pages.call(request);
        async move {
            let answer = answered.await;
            drop(answering);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_LEN_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = &mut connection => return,
        _ = closed.wait_for(|closed| *closed) => {}
        () = sleep(CONNECTION_TIME_MAX) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(CLOSE_TIME_MAX, connection).await;
}

async fn answer(State(served): State<Arc<Served>>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let query = uri.query().unwrap_or_default();
    served.admit(served.site.answer(uri.path(), query, preference(accepted)).await)
}

/// Plain text is for those who name it and not JSON.
fn preference(accepted: Option<&str>) -> Accept {
    match accepted {
        Some(kinds) if kinds.contains("text/plain") && !kinds.contains("json") => Accept::Text,
        _ => Accept::Any,
    }
}

/// Headers of streaming specification §8.1 and core specification §6.1.
fn response(reply: Reply, body: impl FnOnce(String) -> Body) -> Response<Body> {
    let headers: &[(HeaderName, &'static str)] = match reply.content {
        Content::Empty => &[],
        Content::Json => &[
            (header::CONTENT_TYPE, "application/json"),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        ],
        Content::JavaScript => &[(header::CONTENT_TYPE, "application/javascript")],
        Content::Html => &[(header::CONTENT_TYPE, "text/html; charset=utf-8")],
        Content::Metrics => &[(header::CONTENT_TYPE, metrics::CONTENT_TYPE)],
        Content::Text => &[
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ],
    };
    let mut response = Response::new(body(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
