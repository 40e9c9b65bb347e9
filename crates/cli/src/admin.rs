//! Requests to the server's administration interface.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{HeaderMap, StatusCode};
use futures_util::StreamExt as _;
use serde_json::Value;

use crate::connection::Connection;
use crate::failure::{Failure, Kind, Outcome};

/// Header with the code of a failure.
const ERROR_CODE: &str = "Nats-Service-Error-Code";
/// Entries of a list that are asked for at once.
const PAGE: u64 = 1024;
/// What ends the replies of a stream of messages.
const END: u16 = 204;

/// A stored message: the payload as it was published, the rest in headers.
pub(crate) struct Stored {
    pub(crate) headers: HeaderMap,
    pub(crate) payload: bytes::Bytes,
}

/// What ended a stream of messages.
pub(crate) struct End {
    pub(crate) headers: HeaderMap,
}

impl Connection {
    fn admin_subject(&self, operation: &str) -> String {
        format!("$SEAWAY.api.{}.{operation}", self.cluster)
    }

    /// Asks for something that is no document.
    pub(crate) async fn ask_for_bytes(&self, operation: &str, question: &Value) -> Outcome<bytes::Bytes> {
        let answer = self.answer(operation, question).await?;
        let is_refused = answer
            .headers
            .as_ref()
            .is_some_and(|headers| headers.get(ERROR_CODE).is_some());
        if is_refused {
            let unknown = || Failure::failed("the server refused without a reason");
            return Err(refusal(answer.headers.as_ref(), &read(&answer.payload)?).unwrap_or_else(unknown));
        }
        Ok(answer.payload)
    }

    /// Asks one question.
    pub(crate) async fn ask(&self, operation: &str, question: &Value) -> Outcome<Value> {
        let answer = self.answer(operation, question).await?;
        let document = read(&answer.payload)?;
        refusal(answer.headers.as_ref(), &document).map_or(Ok(document), Err)
    }

    async fn answer(&self, operation: &str, question: &Value) -> Outcome<async_nats::Message> {
        let request = async_nats::Request::new()
            .payload(question.to_string().into())
            .timeout(Some(self.timeout));
        let asking = self.nats.send_request(self.admin_subject(operation), request);
        match self.permitted(asking).await? {
            Ok(answer) => Ok(answer),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Err(self.nobody_answers().await),
            Err(error) if error.kind() == RequestErrorKind::TimedOut => Err(self.no_answer()),
            Err(error) => Err(Failure::failed(format!("the request failed: {error}"))),
        }
    }

    /// Asks for a list page by page; every page's entries are handed over as they come.
    pub(crate) async fn ask_for_list(
        &self,
        operation: &str,
        mut question: serde_json::Map<String, Value>,
        key: &str,
        mut page: impl FnMut(Vec<Value>) -> Outcome,
    ) -> Outcome {
        let mut offset = 0;
        loop {
            question.insert("offset".to_owned(), offset.into());
            question.insert("limit".to_owned(), PAGE.into());
            let mut answer = self.ask(operation, &Value::Object(question.clone())).await?;
            let entries = match answer.get_mut(key).map(Value::take) {
                Some(Value::Array(entries)) => entries,
                _ => Vec::new(),
            };
            let total = answer.get("total").and_then(Value::as_u64).unwrap_or(0);
            offset += entries.len() as u64;
            let is_last = entries.is_empty() || offset >= total;
            page(entries)?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Asks for stored messages; every one is handed over as it comes.
    pub(crate) async fn ask_for_messages(
        &self,
        question: &Value,
        mut message: impl FnMut(Stored) -> Outcome,
    ) -> Outcome<End> {
        let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("the request failed: {error}"));
        let inbox = self.nats.new_inbox();
        let mut replies = self
            .nats
            .subscribe(inbox.clone())
            .await
            .map_err(|error| failed(&error))?;
        let payload = question.to_string().into();
        let asking = self
            .nats
            .publish_with_reply(self.admin_subject("read.messages"), inbox, payload);
        asking.await.map_err(|error| failed(&error))?;
        loop {
            let reply = self.permitted(within(self.timeout, replies.next())).await?;
            let Some(reply) = reply.ok_or_else(|| self.no_answer())? else {
                return Err(Failure::failed("the connection was closed"));
            };
            let headers = reply.headers.unwrap_or_default();
            match reply.status {
                Some(StatusCode::NO_RESPONDERS) => return Err(self.nobody_answers().await),
                Some(status) if status.as_u16() == END => return Ok(End { headers }),
                _ if headers.get(ERROR_CODE).is_some() => {
                    let document = read(&reply.payload)?;
                    let unknown = || Failure::failed("the server refused without a reason");
                    return Err(refusal(Some(&headers), &document).unwrap_or_else(unknown));
                }
                _ => message(Stored {
                    headers,
                    payload: reply.payload,
                })?,
            }
        }
    }
}

async fn within<T>(timeout: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(timeout, work).await.ok()
}

fn read(payload: &[u8]) -> Outcome<Value> {
    serde_json::from_slice(payload)
        .map_err(|error| Failure::failed(format!("the server's answer cannot be read: {error}")))
}

/// The failure that an answer tells of, if it does.
fn refusal(headers: Option<&HeaderMap>, document: &Value) -> Option<Failure> {
    let error = document.get("error")?;
    let header = headers
        .and_then(|headers| headers.get(ERROR_CODE))
        .and_then(|code| code.as_str().parse().ok());
    let code = error.get("code").and_then(Value::as_u64).or(header)?;
    let message = error
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or("the server refused without a reason");
    if code == 410 {
        return Some(Failure::Unreadable(message.to_owned()));
    }
    let kind = match code {
        404 => Kind::NotFound,
        401 | 403 => Kind::NotAuthorized,
        503 => Kind::NoServer,
        _ => Kind::Failed,
    };
    Some(Failure::new(kind, message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_have_a_kind_and_the_servers_words() {
        for (code, kind) in [
            (400, Kind::Failed),
            (404, Kind::NotFound),
            (403, Kind::NotAuthorized),
            (503, Kind::NoServer),
        ] {
            let document = json!({"error": {"code": code, "message": "because"}});
            let Some(Failure::Told(found, words)) = refusal(None, &document) else {
                panic!("a refusal")
            };
            assert_eq!((found, words.as_str()), (kind, "because"));
        }
        assert!(refusal(None, &json!({"channels": []})).is_none());
    }
}
