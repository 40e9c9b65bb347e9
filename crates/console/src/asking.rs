//! What a session asks the administration for, as a client does (docs/administration.md).

use async_nats::client::RequestErrorKind;
use async_nats::{HeaderMap, StatusCode as Status};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use seaway_client::PublishError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use crate::answer::Refused;
use crate::limits::{ANSWER_TIME_MAX, MESSAGES_BYTES_MAX, MESSAGES_MAX, PAYLOAD_SHOWN_MAX, PUBLISH_TIME_MAX};
use crate::session::Session;

const NOBODY: &str = "nobody answers: the server starts, stops or stands by, or this user belongs to another account than the one that it serves";
const ERROR_CODE: &str = "Nats-Service-Error-Code";
const ERROR: &str = "Nats-Service-Error";
/// What ends the replies of a look at messages.
const END: u16 = 204;

/// Which messages.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) channel: String,
    /// The first; without it the last ones.
    pub(crate) from: Option<u64>,
    pub(crate) count: Option<u32>,
}

/// A message as the browser gets it.
#[derive(Serialize)]
pub(crate) struct Shown {
    sequence: u64,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<String>,
    /// Bytes of the whole payload.
    bytes: usize,
    /// What is shown of it.
    base64: String,
}

/// A look at messages.
#[derive(Serialize, Default)]
pub(crate) struct Looked {
    messages: Vec<Shown>,
    /// First and last of the channel.
    first: u64,
    last: u64,
    /// Where to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
    /// Sequences that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<String>,
}

/// What to publish.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Published {
    channel: String,
    /// The payload, as text.
    text: String,
}

/// Whether the console asks for operations of this name on behalf of its pages: `read.` or `change.` and one word.
fn is_operation(name: &str) -> bool {
    let operation = name.strip_prefix("read.").or_else(|| name.strip_prefix("change."));
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    operation.is_some_and(|word| is_word(word) && word != "messages")
}

fn unavailable(words: impl Into<String>) -> Refused {
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, words)
}

fn failed(error: &dyn std::fmt::Display) -> Refused {
    unavailable(format!("the request failed: {error}"))
}

/// What the administration refused, if it did.
fn refusal(headers: Option<&HeaderMap>) -> Option<Refused> {
    let headers = headers?;
    let code = headers.get(ERROR_CODE)?.as_str().parse().ok();
    let status = code.and_then(|code| StatusCode::from_u16(code).ok());
    let words = headers
        .get(ERROR)
        .map_or("the server refused without a reason", |words| words.as_str());
    // A session is there: 401 is for those who have none.
    let status = status.filter(|status| status.is_client_error() || status.is_server_error());
    Some(Refused::new(status.unwrap_or(StatusCode::BAD_GATEWAY), words))
}

impl Session {
    /// The work, or what the server complains of meanwhile about `subject`: what a user may not do is otherwise not answered at all.
    async fn permitted<T>(&self, subject: &str, work: impl Future<Output = T>) -> Result<T, Refused> {
        let mut complaints = self.complaints();
        let named = format!("\"{subject}\"");
        let refused = async {
            loop {
                match complaints.recv().await {
                    Ok(complaint) if complaint.contains(&named) => return,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            // What was done is told as done, whatever else was said.
            biased;
            done = work => Ok(done),
            () = refused => Err(Refused::new(
                StatusCode::FORBIDDEN,
                format!("user {:?} may not publish or subscribe to {subject}: this needs a permission, see docs/administration.md", self.user),
            )),
        }
    }

    /// Asks for one thing; the answer is JSON.
    ///
    /// # Errors
    /// The operation is none, or what the administration says.
    pub(crate) async fn ask(&self, prefix: &str, operation: &str, question: Bytes) -> Result<Bytes, Refused> {
        if !is_operation(operation) {
            let words = format!("there is no operation {operation:?} for the console");
            return Err(Refused::new(StatusCode::NOT_FOUND, words));
        }
        let _place = self.place()?;
        let subject = format!("{prefix}{operation}");
        let request = async_nats::Request::new()
            .payload(question)
            .timeout(Some(ANSWER_TIME_MAX));
        let answer = self
            .permitted(&subject, self.nats.send_request(subject.clone(), request))
            .await?;
        let answer = answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => unavailable(NOBODY),
            RequestErrorKind::TimedOut => unavailable("the server does not answer in time"),
            _ => failed(&error),
        })?;
        refusal(answer.headers.as_ref()).map_or(Ok(answer.payload), Err)
    }

    /// Looks at messages.
    ///
    /// # Errors
    /// What the administration says.
    pub(crate) async fn messages(&self, prefix: &str, looks: &Semaphore, wanted: &Wanted) -> Result<Looked, Refused> {
        let mut looked = Looked::default();
        let count = wanted.count.unwrap_or(MESSAGES_MAX).clamp(1, MESSAGES_MAX);
        let end = self.look((prefix, looks), wanted, count, |headers, payload| {
            looked.messages.push(shown(headers, payload))
        });
        let end = end.await?;
        let number = |name: &str| end.get(name).and_then(|value| value.as_str().parse().ok());
        looked.first = number("Seaway-First").unwrap_or_default();
        looked.last = number("Seaway-Last").unwrap_or_default();
        looked.next = number("Seaway-Next");
        looked.damaged = end.get("Seaway-Damaged").map(|damaged| damaged.as_str().to_owned());
        Ok(looked)
    }

    /// The whole payload of one message.
    ///
    /// # Errors
    /// It is not there; what the administration says.
    pub(crate) async fn payload(
        &self,
        prefix: &str,
        looks: &Semaphore,
        channel: String,
        sequence: u64,
    ) -> Result<Bytes, Refused> {
        let wanted = Wanted {
            channel,
            from: Some(sequence),
            count: Some(1),
        };
        let mut found = None;
        self.look((prefix, looks), &wanted, 1, |headers, payload| {
            let number = headers
                .get("Seaway-Sequence")
                .and_then(|value| value.as_str().parse().ok());
            found = (number == Some(sequence)).then_some(payload);
        })
        .await?;
        found.ok_or_else(|| {
            Refused::new(
                StatusCode::NOT_FOUND,
                format!("message {sequence} is not there any more"),
            )
        })
    }

    /// Hands over messages as they come, and gives back what the end says.
    async fn look(
        &self,
        (prefix, looks): (&str, &Semaphore),
        wanted: &Wanted,
        count: u32,
        mut message: impl FnMut(&HeaderMap, Bytes),
    ) -> Result<HeaderMap, Refused> {
        let _place = self.place()?;
        let turn = timeout(ANSWER_TIME_MAX, looks.acquire()).await;
        let _turn = turn.map_err(|_| unavailable("others look at messages: try again"))?;
        let subject = format!("{prefix}read.messages");
        let inbox = self.nats.new_inbox();
        let mut replies = self
            .nats
            .subscribe(inbox.clone())
            .await
            .map_err(|error| failed(&error))?;
        let mut question = json!({ "channel": wanted.channel, "count": count, "bytes_max": MESSAGES_BYTES_MAX });
        if let Some(from) = wanted.from {
            question["from"] = from.into();
        }
        let asked = self
            .nats
            .publish_with_reply(subject.clone(), inbox, question.to_string().into());
        asked.await.map_err(|error| failed(&error))?;
        let read = async {
            while let Some(reply) = replies.next().await {
                let headers = reply.headers.unwrap_or_default();
                match reply.status {
                    Some(Status::NO_RESPONDERS) => {
                        return Err(unavailable(NOBODY));
                    }
                    Some(status) if status.as_u16() == END => return Ok(headers),
                    _ => match refusal(Some(&headers)) {
                        Some(refused) => return Err(refused),
                        None => message(&headers, reply.payload),
                    },
                }
            }
            Err(unavailable("the connection was closed"))
        };
        let read = timeout(ANSWER_TIME_MAX, self.permitted(&subject, read));
        read.await
            .map_err(|_| unavailable("the server does not answer in time"))??
    }

    /// Publishes one message, as a streaming client of its own, and waits until it is acknowledged.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) async fn publish(
        &self,
        streaming: (&str, &str),
        client_id: String,
        published: Published,
    ) -> Result<Value, Refused> {
        let _place = self.place()?;
        let (cluster_id, discover_prefix) = streaming;
        let options = seaway_client::ConnectOptions::new(cluster_id, client_id)
            .nats(self.nats.clone())
            .discover_prefix(discover_prefix)
            .reconnect(false)
            .ack_timeout(PUBLISH_TIME_MAX);
        let refused = |error: &dyn std::fmt::Display| Refused::new(StatusCode::BAD_GATEWAY, error.to_string());
        let work = async {
            let client = options.connect().await.map_err(|error| refused(&error))?;
            let acknowledged = client.publish(&published.channel, published.text.into_bytes()).await;
            // Nothing of the outcome depends on it: a client that does not answer heartbeats is closed.
            let _ = client.close().await;
            acknowledged.map_err(|error| match error {
                // A name that no channel can have.
                PublishError::NotSent(_) => Refused::new(StatusCode::BAD_REQUEST, error.to_string()),
                PublishError::Refused(_) => Refused::new(StatusCode::CONFLICT, error.to_string()),
                error => refused(&error),
            })
        };
        self.permitted(&format!("{discover_prefix}.{cluster_id}"), work)
            .await??;
        Ok(json!({ "published": true }))
    }
}

fn shown(headers: &HeaderMap, payload: Bytes) -> Shown {
    let text = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
    Shown {
        sequence: text("Seaway-Sequence")
            .and_then(|text| text.parse().ok())
            .unwrap_or_default(),
        time: text("Seaway-Timestamp").unwrap_or_default(),
        reply: text("Seaway-Reply"),
        bytes: payload.len(),
        base64: STANDARD.encode(&payload[..payload.len().min(PAYLOAD_SHOWN_MAX)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_one_word_of_a_class() {
        for name in ["read.channels", "change.purge", "change.failover"] {
            assert!(is_operation(name), "{name}");
        }
        for name in [
            "read.messages",
            "change.backup.begin",
            "change.*",
            "change.>",
            "read.",
            "x.y",
            "",
            "change.a b",
            "change.purge.x",
        ] {
            assert!(!is_operation(name), "{name}");
        }
    }
}
