//! Requests to the streaming server and its answers, as bytes and texts.

use std::time::Duration;

use async_nats::client::{RequestError, RequestErrorKind};
use bytes::Bytes;
use seaway_stan_protocol::Message;

/// Why a request has no answer.
pub(crate) enum Unanswered {
    /// Nobody listens.
    NoResponders,
    /// Nobody answered in time.
    Timeout,
    /// The NATS connection failed.
    Nats(String),
}

/// Sends a request and decodes the answer; an answer that does not decode counts as the server's refusal by the caller's
/// default.
pub(crate) async fn request<Answer: Message + Default>(
    nats: &async_nats::Client,
    subject: &str,
    request: &impl Message,
    timeout: Duration,
) -> Result<Answer, Unanswered> {
    let request = async_nats::Request::new()
        .payload(request.encode_to_vec().into())
        .timeout(Some(timeout));
    let answer = nats
        .send_request(subject.to_owned(), request)
        .await
        .map_err(|error: RequestError| match error.kind() {
            RequestErrorKind::NoResponders => Unanswered::NoResponders,
            RequestErrorKind::TimedOut => Unanswered::Timeout,
            _ => Unanswered::Nats(error.to_string()),
        })?;
    Answer::decode(answer.payload).map_err(|error| Unanswered::Nats(format!("the answer cannot be read: {error}")))
}

/// Text of a protocol string, which need not be UTF-8.
pub(crate) fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A name that nobody else has: 22 letters and digits.
pub(crate) fn unique() -> String {
    (0..22).map(|_| fastrand::alphanumeric()).collect()
}
