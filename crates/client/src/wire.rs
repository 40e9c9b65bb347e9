//! Requests to the streaming server and its answers, as bytes and texts.

use std::time::Duration;

use async_nats::client::{RequestError, RequestErrorKind};
use bytes::Bytes;
use seaway_stan_protocol::Message;

use crate::error::ConnectError;

/// Why a request has no answer.
pub(crate) enum Unanswered {
    /// Nobody listens.
    NoResponders,
    /// Nobody answered in time.
    Timeout,
    /// The NATS connection failed.
    Nats(String),
    /// The answer is no message of the protocol.
    Unreadable(String),
}

impl Unanswered {
    /// What this means to somebody who connects.
    pub(crate) fn on_connect(self, cluster_id: &str) -> ConnectError {
        let cluster_id = cluster_id.to_owned();
        match self {
            Unanswered::NoResponders => ConnectError::NoServer { cluster_id },
            Unanswered::Timeout => ConnectError::NoAnswer { cluster_id },
            Unanswered::Nats(words) => ConnectError::Nats(words),
            Unanswered::Unreadable(reason) => ConnectError::InvalidAnswer { cluster_id, reason },
        }
    }
}

/// Sends a request and decodes the answer. The whole takes no longer than `timeout`.
pub(crate) async fn request<Answer: Message + Default>(
    nats: &async_nats::Client,
    subject: &str,
    request: &impl Message,
    timeout: Duration,
) -> Result<Answer, Unanswered> {
    let request = async_nats::Request::new()
        .payload(request.encode_to_vec().into())
        .timeout(None);
    // The connection's queue may be full, too.
    let answer = tokio::time::timeout(timeout, nats.send_request(subject.to_owned(), request)).await;
    let answer = match answer {
        Ok(answer) => answer.map_err(|error: RequestError| match error.kind() {
            RequestErrorKind::NoResponders => Unanswered::NoResponders,
            RequestErrorKind::TimedOut => Unanswered::Timeout,
            _ => Unanswered::Nats(error.to_string()),
        })?,
        Err(_) => return Err(Unanswered::Timeout),
    };
    Answer::decode(answer.payload).map_err(|error| Unanswered::Unreadable(error.to_string()))
}

/// Subscribes to a subject of this client's.
pub(crate) async fn listen(
    nats: &async_nats::Client,
    subject: &str,
    timeout: Duration,
) -> Result<async_nats::Subscriber, Unanswered> {
    match tokio::time::timeout(timeout, nats.subscribe(subject.to_owned())).await {
        Ok(listening) => listening.map_err(|error| Unanswered::Nats(error.to_string())),
        Err(_) => Err(Unanswered::Timeout),
    }
}

/// A subject that the server names, if anything can be sent to it.
pub(crate) fn subject(bytes: &Bytes) -> Option<String> {
    let name = std::str::from_utf8(bytes).ok()?;
    is_subject(name).then(|| name.to_owned())
}

/// Whether something can be sent to a subject of this name.
pub(crate) fn is_subject(name: &str) -> bool {
    name.split('.').all(|token| !token.is_empty()) && !name.contains([' ', '\t', '\r', '\n', '\0', '*', '>'])
}

/// Text of a protocol string, which need not be UTF-8.
pub(crate) fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A name that nobody else has: 22 letters and digits.
pub(crate) fn unique() -> String {
    (0..22).map(|_| fastrand::alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_that_can_be_sent_to() {
        for good in ["a", "_STAN.pub.test-cluster", "_INBOX.x.1", "größe"] {
            assert_eq!(subject(&Bytes::from(good)).as_deref(), Some(good));
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a\r\nPUB x 0", "a.*", ">", "a\0"] {
            assert_eq!(subject(&Bytes::from(bad)), None, "{bad:?}");
        }
        assert_eq!(subject(&Bytes::from_static(b"\xff")), None);
    }
}
