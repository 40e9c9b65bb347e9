//! As much of the JetStream API as a comparison needs: streams on files, durable push consumers with explicit acks.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::stan::token;
use crate::wire::{Connection, Frame};

/// How long a request waits for its answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Creates a stream on files that takes this subject.
pub(crate) fn create_stream(connection: &mut Connection, name: &str, subject: &str) -> Result<()> {
    let config = json!({ "name": name, "subjects": [subject], "storage": "file", "retention": "limits" });
    request(connection, &format!("$JS.API.STREAM.CREATE.{name}"), &config)?;
    Ok(())
}

/// Deletes a stream with all it holds.
pub(crate) fn delete_stream(connection: &mut Connection, name: &str) -> Result<()> {
    request(connection, &format!("$JS.API.STREAM.DELETE.{name}"), &Value::Null)?;
    Ok(())
}

/// Creates a durable push consumer of everything in a stream, with explicit acks and the usual 30 seconds to wait for them.
pub(crate) fn create_consumer(
    connection: &mut Connection,
    stream: &str,
    deliver_subject: &str,
    max_ack_pending: u64,
) -> Result<()> {
    let config = json!({
        "durable_name": "bench",
        "deliver_subject": deliver_subject,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": 30_000_000_000_u64,
        "max_ack_pending": max_ack_pending,
    });
    let body = json!({ "stream_name": stream, "config": config });
    request(
        connection,
        &format!("$JS.API.CONSUMER.DURABLE.CREATE.{stream}.bench"),
        &body,
    )?;
    Ok(())
}

fn request(connection: &mut Connection, subject: &str, body: &Value) -> Result<Value> {
    let inbox = format!("_INBOX.{}", token());
    let sid = connection.subscribe(&inbox);
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    connection.publish(subject, &inbox, &body);
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match connection
            .next_frame(left)
            .with_context(|| format!("the answer to {subject}"))?
        {
            Frame::Message {
                sid: found,
                header_bytes,
                payload,
                ..
            } if found == sid => {
                connection.send(format!("UNSUB {sid}\r\n").as_bytes());
                if header_bytes > 0 {
                    bail!("nobody answers {subject}: JetStream is not enabled on this server");
                }
                return answer(subject, &payload);
            }
            Frame::Error(text) => bail!("{subject}: {text}"),
            _ => {}
        }
    }
}

fn answer(subject: &str, payload: &[u8]) -> Result<Value> {
    let answer: Value = serde_json::from_slice(payload).with_context(|| format!("the answer to {subject}"))?;
    match answer.pointer("/error/description") {
        Some(description) => bail!("{subject}: {}", description.as_str().unwrap_or("refused")),
        None => Ok(answer),
    }
}

/// The stream sequence in the reply subject of a delivery, and whether it was delivered before:
/// `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>...`, or the longer form with domain and account in front of the stream.
pub(crate) fn delivery(reply: &[u8]) -> Option<(u64, bool)> {
    let words = reply.split(|byte| *byte == b'.').count();
    let skip = if words >= 11 { 6 } else { 4 };
    let mut words = reply
        .strip_prefix(b"$JS.ACK.")?
        .split(|byte| *byte == b'.')
        .skip(skip - 2);
    let delivered = crate::wire::number(words.next()?)?;
    Some((crate::wire::number(words.next()?)?, delivered > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_ack_subject_are_read() {
        assert_eq!(
            delivery(b"$JS.ACK.S.C.1.42.40.1700000000000000000.7"),
            Some((42, false))
        );
        assert_eq!(
            delivery(b"$JS.ACK._.hash.S.C.3.42.40.1700000000000000000.7.x"),
            Some((42, true))
        );
        assert_eq!(delivery(b"_INBOX.1"), None);
        assert_eq!(delivery(b"$JS.ACK.S.C.1"), None);
    }

    #[test]
    fn refusals_are_told_in_the_servers_words() {
        let error = answer(
            "X",
            br#"{"type":"t","error":{"code":400,"description":"stream not found"}}"#,
        );
        assert_eq!(error.expect_err("refused").to_string(), "X: stream not found");
        assert!(answer("X", br#"{"did_create":true}"#).is_ok());
        assert!(answer("X", b"no json").is_err());
    }
}
