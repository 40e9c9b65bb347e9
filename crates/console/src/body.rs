//! Bodies of requests. Who sends one is looked at before it is read, and it has to come soon: nobody else's memory or place is for those who
//! may not ask.

use std::error::Error;
use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, StatusCode};
use bytes::Bytes;
use seaway_monitor::Caller;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::answer::Refused;
use crate::console::Console;
use crate::guard;
use crate::limits::{BODY_LEN_MAX, BODY_TIME_MAX, LOGIN_BODY_LEN_MAX};
use crate::session::Session;

/// Who makes a request.
///
/// # Errors
/// The server does not say.
pub(crate) fn caller(extensions: &Extensions) -> Result<Caller, Refused> {
    let caller = extensions.get::<Caller>().copied();
    caller.ok_or_else(|| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "nobody knows who asks"))
}

/// The session of a request that came on a way on which it may be used.
///
/// # Errors
/// There is none, or the request is not from the console's page, or others could read along.
pub(crate) fn session(
    console: &Console,
    extensions: &Extensions,
    headers: &HeaderMap,
) -> Result<Arc<Session>, Refused> {
    guard::check(&*console.door, headers)?;
    let caller = caller(extensions)?;
    let session = console.sessions.require(caller, headers)?;
    guard::check_privacy(caller, headers)?;
    Ok(session)
}

/// The parameters of a request, refused in words where they are not understood.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Parameters<T>, Refused> {
        let query = Query::try_from_uri(&parts.uri);
        query.map(|Query(parameters)| Parameters(parameters)).map_err(|error| {
            // The innermost one says what is wrong with which parameter.
            let mut innermost: &dyn Error = &error;
            while let Some(source) = innermost.source() {
                innermost = source;
            }
            let words = format!("the parameters of the address are not understood: {innermost}");
            Refused::new(StatusCode::BAD_REQUEST, words)
        })
    }
}

/// The body of somebody who is logged in.
pub(crate) struct Asked(pub(crate) Arc<Session>, pub(crate) Bytes);

impl FromRequest<Arc<Console>> for Asked {
    type Rejection = Refused;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Asked, Refused> {
        let session = session(console, request.extensions(), request.headers())?;
        let body = {
            let _place = session.place()?;
            read(&console.bodies, request, BODY_LEN_MAX).await?
        };
        Ok(Asked(session, body))
    }
}

/// The body of a login, from a page and on a way from which one is taken.
pub(crate) struct LogIn(pub(crate) Bytes);

impl FromRequest<Arc<Console>> for LogIn {
    type Rejection = Refused;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<LogIn, Refused> {
        guard::check(&*console.door, request.headers())?;
        guard::check_privacy(caller(request.extensions())?, request.headers())?;
        if let Some(obstacle) = console.door.obstacle() {
            return Err(Refused::new(StatusCode::FORBIDDEN, obstacle));
        }
        Ok(LogIn(read(&console.login_bodies, request, LOGIN_BODY_LEN_MAX).await?))
    }
}

async fn read(turns: &Semaphore, request: Request, len_max: usize) -> Result<Bytes, Refused> {
    let busy = |_| {
        Refused::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many requests are on their way: try again",
        )
    };
    let _turn = turns.try_acquire().map_err(busy)?;
    let read = timeout(BODY_TIME_MAX, to_bytes(request.into_body(), len_max)).await;
    let read = read.map_err(|_| Refused::new(StatusCode::REQUEST_TIMEOUT, "the request does not arrive"))?;
    read.map_err(|_| {
        let words = format!("the request does not arrive, or has more than {len_max} bytes");
        Refused::new(StatusCode::PAYLOAD_TOO_LARGE, words)
    })
}
