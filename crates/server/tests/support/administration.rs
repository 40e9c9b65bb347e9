//! Requests to the administration service over a raw connection.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use seaway_bench::wire::{Connection, Frame};
use serde_json::Value;

use super::{PATIENCE, Server};

/// Somebody who asks.
pub struct Asker {
    pub connection: Connection,
    inbox: String,
    asked: u64,
}

/// An answer as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The header block; empty without headers.
    pub headers: String,
    pub payload: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.lines();
        lines
            .filter_map(|line| line.split_once(": "))
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Code and message of an error; they are the same in headers and payload.
    #[track_caller]
    pub fn error(&self) -> (u64, String) {
        let json = self.json();
        let code = json["error"]["code"].as_u64().unwrap_or_else(|| panic!("{json}"));
        let message = json["error"]["message"].as_str().unwrap().to_owned();
        assert_eq!(self.header("Nats-Service-Error-Code"), Some(code.to_string().as_str()));
        assert_eq!(self.header("Nats-Service-Error"), Some(message.as_str()));
        (code, message)
    }
}

/// Messages that were read, and the end.
#[derive(Debug, PartialEq, Eq)]
pub struct Peeked {
    /// Sequence and payload.
    pub messages: Vec<(u64, Vec<u8>)>,
    /// First and last sequence of the channel, and where to go on.
    pub end: (u64, u64, Option<u64>),
    /// What was left out.
    pub damaged: Option<String>,
}

impl Asker {
    pub fn new(server: &Server) -> Asker {
        Asker::over(Connection::open(&server.address).unwrap())
    }

    pub fn over(connection: Connection) -> Asker {
        Asker::with_inbox(connection, &format!("_INBOX.{}", seaway_bench::stan::token()))
    }

    pub fn with_inbox(mut connection: Connection, inbox: &str) -> Asker {
        connection.subscribe(&format!("{inbox}.*"));
        Asker {
            connection,
            inbox: inbox.to_owned(),
            asked: 0,
        }
    }

    /// Sends a request; the subject its answers will come on.
    pub fn send(&mut self, operation: &str, body: &str) -> String {
        self.asked += 1;
        let reply = format!("{}.{}", self.inbox, self.asked);
        let subject = format!("$SEAWAY.api.test-cluster.{operation}");
        self.connection.publish(&subject, &reply, body.as_bytes());
        reply
    }

    /// The next answer on a subject; nothing may come on others.
    #[track_caller]
    pub fn next(&mut self, reply: &str) -> Answer {
        let (subject, answer) = self.next_of_any();
        assert_eq!(subject, reply, "{answer:?}");
        answer
    }

    #[track_caller]
    pub fn next_of_any(&mut self) -> (String, Answer) {
        loop {
            match self.connection.next_frame(PATIENCE).unwrap() {
                Frame::Message {
                    subject,
                    header_bytes,
                    mut payload,
                    ..
                } => {
                    let rest = payload.split_off(header_bytes);
                    let answer = Answer {
                        headers: String::from_utf8(payload).unwrap(),
                        payload: rest,
                    };
                    return (String::from_utf8(subject).unwrap(), answer);
                }
                Frame::Info(_) | Frame::Pong => {}
                other => panic!("{other:?}"),
            }
        }
    }

    #[track_caller]
    pub fn ask(&mut self, operation: &str, body: &str) -> Answer {
        let reply = self.send(operation, body);
        self.next(&reply)
    }

    /// The answer of an operation that succeeds.
    #[track_caller]
    pub fn json(&mut self, operation: &str, body: &str) -> Value {
        let answer = self.ask(operation, body);
        assert_eq!(answer.headers, "", "{answer:?}");
        answer.json()
    }

    #[track_caller]
    pub fn error(&mut self, operation: &str, body: &str) -> (u64, String) {
        self.ask(operation, body).error()
    }

    /// Messages of a channel: `more` are members of the request beside its name.
    #[track_caller]
    pub fn peek(&mut self, channel: &str, more: &str) -> Peeked {
        let reply = self.send("read.messages", &format!(r#"{{"channel":"{channel}"{more}}}"#));
        let mut messages = Vec::new();
        loop {
            let answer = self.next(&reply);
            if answer.headers.starts_with("NATS/1.0 204 End\r\n") {
                assert_eq!(answer.payload, b"");
                let number = |name| answer.header(name).map(|value| value.parse().unwrap());
                let end = (
                    number("Seaway-First").unwrap(),
                    number("Seaway-Last").unwrap(),
                    number("Seaway-Next"),
                );
                let damaged = answer.header("Seaway-Damaged").map(str::to_owned);
                return Peeked { messages, end, damaged };
            }
            assert_eq!(answer.header("Seaway-Channel"), Some(channel), "{answer:?}");
            let time = answer.header("Seaway-Timestamp").unwrap();
            assert!(
                time.len() == 30 && time.ends_with('Z'),
                "RFC 3339 with nanoseconds: {time}"
            );
            let sequence = answer.header("Seaway-Sequence").unwrap().parse().unwrap();
            messages.push((sequence, answer.payload));
        }
    }

    /// The text of the error that comes next.
    #[track_caller]
    pub fn refusal(&mut self) -> String {
        loop {
            match self.connection.next_frame(PATIENCE).unwrap() {
                Frame::Error(text) => return text,
                Frame::Info(_) | Frame::Pong => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Whether nothing at all comes before the answer to a ping.
    pub fn is_left_alone(&mut self) -> bool {
        self.connection.send(b"PING\r\n");
        loop {
            match self.connection.next_frame(PATIENCE).unwrap() {
                Frame::Info(_) => {}
                frame => return frame == Frame::Pong,
            }
        }
    }
}
