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
mod body;
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
use axum::extract::{Extension, Path, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Router, middleware};
use seaway_monitor::{Caller, Source};
use serde::Deserialize;
use serde_json::json;

use answer::{Answered, Refused};
use asking::{Published, Wanted};
use attempts::Attempt;
use body::{Asked, LogIn, Parameters};
use console::Console;
pub use door::{Door, Opened};
pub use limits::SESSIONS_MAX;
use session::{Credentials, Session};

/// The console's pages and what they ask for, below `/`: to be nested where it is to be found. Requests must carry a [`Caller`] among their
/// extensions, as [`seaway_monitor::serve`] gives them.
pub fn router(source: Arc<dyn Source>, door: Arc<dyn Door>) -> Router {
    let console = Console::new(source, door);
    let console = Arc::new(console);
    Router::new()
        .route("/", get(pages::index))
        .route("/{file}", get(pages::file))
        .route("/data/{name}", get(reads::read))
        .route("/session", get(session_now).post(log_in).delete(log_out))
        .route("/ask/{operation}", post(ask))
        .route("/messages", get(messages))
        .route("/payload", get(payload))
        .route("/publish", post(publish))
        .layer(middleware::map_response_with_state(Arc::clone(&console), protect))
        .with_state(console)
}

/// Bounds what waits to be read, and adds what every answer carries.
async fn protect(State(console): Shared, response: Response<Body>) -> Response<Body> {
    let mut response = answer::bounded(&console.unread, response).await;
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
    let allowed = guard::check(&*console.door, &headers).and_then(|()| guard::check_privacy(caller, &headers));
    let session = allowed
        .is_ok()
        .then(|| console.sessions.find(caller, &headers))
        .flatten();
    let obstacle = console.door.obstacle().or(allowed.err().map(|refused| refused.words));
    Ok(answer::json(&json!({
        "user": session.map(|session| session.user.clone()),
        "obstacle": obstacle,
    })))
}

async fn log_in(
    State(console): Shared,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    LogIn(body): LogIn,
) -> Answered {
    let credentials: Credentials = decoded(&body)?;
    credentials.check()?;
    let busy = |words: &str| Refused::new(StatusCode::TOO_MANY_REQUESTS, words);
    let turn = console.logins.try_acquire();
    let _turn = turn.map_err(|_| busy("others are logging in: try again"))?;
    let address = caller.peer.ip();
    let attempts = || console.attempts.lock().unwrap_or_else(PoisonError::into_inner);
    let attempt = attempts().begin(address, Instant::now());
    if attempt == Attempt::Refused {
        tracing::warn!("Console: too many failed logins from {address}, which has to wait");
    }
    if attempt != Attempt::Begun {
        return Err(busy("too many failed logins from your address: wait half a minute"));
    }
    let door = console.door.open(caller.peer);
    let begun = match door.map_err(|words| Refused::new(StatusCode::SERVICE_UNAVAILABLE, words)) {
        Ok(opened) => Session::begin(&opened, credentials, caller.is_secure).await,
        Err(refused) => Err(refused),
    };
    // What has other reasons is no guess at a password.
    if !begun
        .as_ref()
        .is_err_and(|refused| refused.status == StatusCode::FORBIDDEN)
    {
        attempts().succeeded(address);
    }
    let session = begun.inspect_err(|refused| {
        tracing::warn!("Console: a login from {} failed: {}", caller.peer, refused.words);
    })?;
    tracing::info!("Console: user {:?} logged in from {}", session.user, caller.peer);
    let user = session.user.clone();
    // Whoever logs in again does not leave a session behind.
    console.sessions.end(&headers);
    let key = console.sessions.keep(session)?;
    let cookie = console.sessions.cookie(Some(&key), caller.is_secure);
    Ok(with_cookie(answer::json(&json!({ "user": user })), cookie))
}

async fn log_out(State(console): Shared, Extension(caller): Extension<Caller>, headers: HeaderMap) -> Answered {
    guard::check(&*console.door, &headers)?;
    console.sessions.end(&headers);
    let cookie = console.sessions.cookie(None, caller.is_secure);
    Ok(with_cookie(answer::json(&json!({ "user": null })), cookie))
}

fn with_cookie(mut response: Response<Body>, cookie: Option<HeaderValue>) -> Response<Body> {
    if let Some(value) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

async fn ask(State(console): Shared, Path(operation): Path<String>, Asked(session, question): Asked) -> Answered {
    Ok(answer::json_text(
        session.ask(&console.prefix, &operation, question).await?,
    ))
}

async fn messages(
    State(console): Shared,
    Parameters(wanted): Parameters<Wanted>,
    extensions: Extensions,
    headers: HeaderMap,
) -> Answered {
    let session = body::session(&console, &extensions, &headers)?;
    Ok(answer::json(
        &session.messages(&console.prefix, &console.looks, &wanted).await?,
    ))
}

#[derive(Deserialize)]
struct OneMessage {
    channel: String,
    sequence: u64,
}

/// The browser follows a link here, so that the page cannot mark the request as its own: the cookie comes along from its page alone.
async fn payload(
    State(console): Shared,
    Parameters(wanted): Parameters<OneMessage>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Answered {
    let session = console.sessions.require(caller, &headers)?;
    guard::check_privacy(caller, &headers)?;
    guard::check_fetch(&headers)?;
    let name = format!("message-{}.bin", wanted.sequence);
    let payload = session.payload(&console.prefix, &console.looks, wanted.channel, wanted.sequence);
    Ok(answer::download(&name, payload.await?))
}

async fn publish(State(console): Shared, Asked(session, body): Asked) -> Answered {
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
