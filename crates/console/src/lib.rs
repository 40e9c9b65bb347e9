//! The web console: what a server looks like from a browser, and what can be done there.
//!
//! Anonymous visitors see what the monitoring endpoints show. Payloads and changes need a login, which is a connection to the broker as
//! that user: the rights are those that the administration (docs/administration.md) gives him, and everything he does is a line in the log
//! under his name. The pages are files of this crate, without a build step, and load nothing from elsewhere.
//!
//! This crate knows HTTP, sessions and pages; the server it is part of it knows as a [`Door`] for clients and as a
//! [`Source`] of snapshots.

mod answer;
mod asking;
mod attempts;
mod console;
mod door;
mod guard;
mod limits;
mod pages;
mod reads;
mod session;
mod sessions;

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Extension, Path, Query, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Router, middleware};
use bytes::Bytes;
use seaway_monitor::{Caller, Source};
use serde::Deserialize;
use serde_json::json;

use answer::{Answered, Refused};
use asking::{Published, Wanted};
use console::Console;
pub use door::Door;
use limits::BODY_LEN_MAX;
use session::{Credentials, Session};
use sessions::cookie;

/// The console's pages and what they ask for, below `/`: to be nested where it is to be found. Requests must carry a [`Caller`] among their
/// extensions, as [`seaway_monitor::serve`] gives them.
pub fn router(source: Arc<dyn Source>, door: Arc<dyn Door>) -> Router {
    let console = Console::new(source, door);
    Router::new()
        .route("/", get(pages::index))
        .route("/{file}", get(pages::file))
        .route("/data/{name}", get(reads::read))
        .route("/session", get(session_now).post(log_in).delete(log_out))
        .route("/ask/{operation}", post(ask))
        .route("/messages", get(messages))
        .route("/payload", get(payload))
        .route("/publish", post(publish))
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .layer(middleware::map_response(protect))
        .with_state(Arc::new(console))
}

async fn protect(mut response: Response<Body>) -> Response<Body> {
    answer::protect(response.headers_mut());
    response
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response<Body> {
        answer::refused(&self)
    }
}

type Shared = State<Arc<Console>>;

/// Who is logged in, and whether anybody can.
async fn session_now(State(console): Shared, Extension(caller): Extension<Caller>, headers: HeaderMap) -> Answered {
    let session = console.sessions.find(&headers);
    let obstacle = match console.door.has_users() {
        false => Some(
            "this server has no users to log in as: everybody may do everything on it, but for the console".to_owned(),
        ),
        true => guard::check(&*console.door, &headers)
            .and_then(|()| guard::check_privacy(caller))
            .err()
            .map(|refused| refused.words),
    };
    Ok(answer::json(&json!({
        "user": session.map(|session| session.user.clone()),
        "obstacle": obstacle,
    })))
}

async fn log_in(
    State(console): Shared,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    guard::check(&*console.door, &headers)?;
    guard::check_privacy(caller)?;
    if !console.door.has_users() {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            "this server has no users to log in as: see authorization in docs/configuration.md",
        ));
    }
    let credentials: Credentials = decoded(&body)?;
    credentials.check()?;
    let busy = |words: &str| Refused::new(StatusCode::TOO_MANY_REQUESTS, words);
    let _turn = console
        .logins
        .try_acquire()
        .map_err(|_| busy("others are logging in: try again"))?;
    console.sessions.check_room()?;
    let address = caller.peer.ip();
    let attempts = || console.attempts.lock().unwrap_or_else(PoisonError::into_inner);
    if !attempts().begin(address, Instant::now()) {
        tracing::warn!("Console: too many failed logins from {address}");
        return Err(busy("too many failed logins from your address: wait half a minute"));
    }
    let door = console.door.open(caller.peer);
    let door = door.map_err(|words| Refused::new(StatusCode::SERVICE_UNAVAILABLE, words))?;
    let session = match Session::begin(door, credentials).await {
        Ok(session) => session,
        Err(refused) => {
            tracing::warn!("Console: a login from {} failed: {}", caller.peer, refused.words);
            return Err(refused);
        }
    };
    attempts().succeeded(address);
    tracing::info!("Console: user {:?} logged in from {}", session.user, caller.peer);
    let user = session.user.clone();
    // Whoever logs in again does not leave a session behind.
    console.sessions.end(&headers);
    let key = console.sessions.keep(session)?;
    Ok(with_cookie(answer::json(&json!({ "user": user })), Some(&key), caller))
}

async fn log_out(State(console): Shared, Extension(caller): Extension<Caller>, headers: HeaderMap) -> Answered {
    guard::check(&*console.door, &headers)?;
    console.sessions.end(&headers);
    Ok(with_cookie(answer::json(&json!({ "user": null })), None, caller))
}

fn with_cookie(mut response: Response<Body>, key: Option<&str>, caller: Caller) -> Response<Body> {
    // What reaches this machine itself without TLS has a cookie that TLS is not asked of.
    if let Some(value) = cookie(key, caller.is_private && !caller.peer.ip().is_loopback()) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

async fn ask(State(console): Shared, Path(operation): Path<String>, headers: HeaderMap, body: Bytes) -> Answered {
    guard::check(&*console.door, &headers)?;
    let session = console.sessions.require(&headers)?;
    Ok(answer::json_text(session.ask(&console.prefix, &operation, body).await?))
}

async fn messages(State(console): Shared, Query(wanted): Query<Wanted>, headers: HeaderMap) -> Answered {
    guard::check(&*console.door, &headers)?;
    let session = console.sessions.require(&headers)?;
    let _turn = console.looks.acquire().await.ok();
    Ok(answer::json(&session.messages(&console.prefix, &wanted).await?))
}

#[derive(Deserialize)]
struct OneMessage {
    channel: String,
    sequence: u64,
}

/// The browser follows a link here, so that the page cannot mark the request as its own: the cookie comes along from its page alone.
async fn payload(State(console): Shared, Query(wanted): Query<OneMessage>, headers: HeaderMap) -> Answered {
    let session = console.sessions.require(&headers)?;
    let _turn = console.looks.acquire().await.ok();
    let name = format!("message-{}.bin", wanted.sequence);
    let payload = session
        .payload(&console.prefix, wanted.channel, wanted.sequence)
        .await?;
    Ok(answer::download(&name, payload))
}

async fn publish(State(console): Shared, headers: HeaderMap, body: Bytes) -> Answered {
    guard::check(&*console.door, &headers)?;
    let session = console.sessions.require(&headers)?;
    let published: Published = decoded(&body)?;
    let streaming = (console.door.cluster_id(), console.door.discover_prefix());
    let client_id = format!("console-{}", sessions::random_key()?);
    Ok(answer::json(&session.publish(streaming, client_id, published).await?))
}

fn decoded<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| {
        Refused::new(
            StatusCode::BAD_REQUEST,
            format!("the request is not understood: {error}"),
        )
    })
}
