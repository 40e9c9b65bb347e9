//! What is sent to the browser, and what it may do with it.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::SMALL_ANSWER_LEN;

/// Nothing but our own files and answers is loaded, nobody shows the console in a page of his, and no text becomes markup.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// What every answer of the console carries.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Why something is not done: a status, and words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) words: String,
}

impl Refused {
    pub(crate) fn new(status: StatusCode, words: impl Into<String>) -> Refused {
        Refused {
            status,
            words: words.into(),
        }
    }
}

/// The answer of a handler.
pub(crate) type Answered = Result<Response<Body>, Refused>;

/// Adds what every answer of the console carries.
pub(crate) fn protect(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// An answer that no cache keeps.
fn fresh(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A text that is JSON already.
pub(crate) fn json_text(text: impl Into<Body>) -> Response<Body> {
    fresh(StatusCode::OK, "application/json", text.into())
}

pub(crate) fn json(value: &impl Serialize) -> Response<Body> {
    json_text(serde_json::to_vec(value).unwrap_or_default())
}

/// Bytes that the browser saves under a name, and never shows.
pub(crate) fn download(name: &str, bytes: impl Into<Body>) -> Response<Body> {
    let mut response = fresh(StatusCode::OK, "application/octet-stream", bytes.into());
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

/// The text of an answer until it was written to its connection, or that has ended.
struct Unread {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Unread {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The answer, when there is room for it beside all that wait to be read.
pub(crate) async fn bounded(unread: &Arc<Semaphore>, response: Response<Body>) -> Response<Body> {
    let len = response.body().size_hint().exact().unwrap_or(u64::MAX);
    if len <= SMALL_ANSWER_LEN {
        return response;
    }
    let room = u32::try_from(len).ok();
    let room = room.and_then(|len| Arc::clone(unread).try_acquire_many_owned(len).ok());
    let (head, body) = response.into_parts();
    // All of it is there already.
    match (room, to_bytes(body, usize::MAX).await) {
        (Some(room), Ok(bytes)) => {
            let body = Body::from(Bytes::from_owner(Unread { bytes, _room: room }));
            Response::from_parts(head, body)
        }
        _ => {
            let words = format!("no room for an answer of {len} bytes: try again");
            refused(&Refused::new(StatusCode::SERVICE_UNAVAILABLE, words))
        }
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    error: &'a str,
}

pub(crate) fn refused(refused: &Refused) -> Response<Body> {
    let mut response = json(&Failure { error: &refused.words });
    *response.status_mut() = refused.status;
    response
}
