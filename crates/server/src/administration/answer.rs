//! What answers look like on the wire: header blocks, and errors in the way of NATS services.

use std::fmt::Write as _;

use seaway_monitor::Refusal;
use seaway_streaming::Unchanged;

/// Characters of an error's message; names in it come from requests.
const MESSAGE_CHARS_MAX: usize = 1024;

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    code: u16,
    message: String,
}

impl Failure {
    fn new(code: u16, message: &str) -> Failure {
        Failure {
            code,
            message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
        }
    }

    /// The request is not understood.
    pub(super) fn invalid(message: &str) -> Failure {
        Failure::new(400, message)
    }

    /// Whoever asks may not change anything; `prefix` is what the subjects begin with.
    pub(super) fn change_not_permitted(prefix: &str) -> Failure {
        Failure::new(
            403,
            &format!(
                "not permitted: the user's permissions must allow publishing to \"{prefix}change.>\", \
                 or to a part of it, by name; \">\" and having no permissions do not count"
            ),
        )
    }

    /// Nobody knows who asks.
    pub(super) fn changes_by_strangers() -> Failure {
        Failure::new(
            403,
            "not permitted: this server is attached to a NATS server of somebody else, which does not tell who asks, so it takes no \
             changes; SIGTERM makes it hand over",
        )
    }

    /// Whoever asks may not see messages; `prefix` is what the subjects begin with.
    pub(super) fn messages_not_permitted(prefix: &str) -> Failure {
        Failure::new(
            403,
            &format!(
                "not permitted: the user has permissions, and they must allow publishing to \"{prefix}read.messages\" by \
                 name (\"$SEAWAY.api.*.read.>\" does); \">\" does not count"
            ),
        )
    }

    /// What was asked for does not exist.
    pub(super) fn not_found(message: &str) -> Failure {
        Failure::new(404, message)
    }

    /// What is asked for cannot be done as things are.
    pub(super) fn conflict(reason: &str) -> Failure {
        Failure::new(409, reason)
    }

    /// What was written is not there any more: asking again does not help.
    pub(super) fn gone(reason: &str) -> Failure {
        Failure::new(410, reason)
    }

    /// The server cannot answer at present. A reason that is a whole sentence says itself what to do.
    pub(super) fn unavailable(reason: &str) -> Failure {
        if reason.ends_with('.') {
            return Failure::new(503, reason);
        }
        Failure::new(503, &format!("{reason}; ask again later"))
    }

    /// Why nothing was changed.
    pub(super) fn unchanged(unchanged: &Unchanged) -> Failure {
        match unchanged {
            Unchanged::NotFound(words) => Failure::not_found(words),
            Unchanged::Conflict(words) => Failure::conflict(words),
            Unchanged::Unavailable(reason) => Failure::unavailable(reason),
        }
    }

    /// What an answer of at most `len_max` bytes was refused for.
    pub(super) fn of(refusal: Refusal, len_max: usize) -> Failure {
        match refusal {
            Refusal::NotFound(words) => Failure::not_found(&words),
            Refusal::Unavailable(reason) => Failure::unavailable(&reason),
            Refusal::TooLong(len) => Failure::invalid(&format!(
                "the answer has {len} bytes and may have {len_max} (max_payload): ask for a part of it with \"limit\", \
                 or see the monitoring port"
            )),
        }
    }

    /// The payload.
    pub(super) fn body(&self) -> String {
        serde_json::json!({ "error": { "code": self.code, "message": self.message } }).to_string()
    }

    /// The header block.
    pub(super) fn headers(&self) -> Vec<u8> {
        let mut headers = Headers::new("NATS/1.0");
        headers.add("Nats-Service-Error-Code", self.code);
        headers.add("Nats-Service-Error", &self.message);
        headers.finish()
    }
}

/// A header block in the making.
pub(super) struct Headers(String);

impl Headers {
    /// Begins with the first line.
    pub(super) fn new(first_line: &str) -> Headers {
        Headers(format!("{first_line}\r\n"))
    }

    /// Adds a header. Names of channels may hold anything: what would end the line, or is not ASCII, becomes `?`.
    pub(super) fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        let start = self.0.len() + name.len() + 2;
        // Writing to a text does not fail.
        let _ = write!(self.0, "{name}: {value}");
        let printable = |c: char| c == ' ' || c.is_ascii_graphic();
        if !self.0[start..].chars().all(printable) {
            let value: String = self.0[start..]
                .chars()
                .map(|c| if printable(c) { c } else { '?' })
                .collect();
            self.0.truncate(start);
            self.0.push_str(&value);
        }
        self.0.push_str("\r\n");
    }

    /// The whole block.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.push_str("\r\n");
        self.0.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_become_a_header() {
        let failure = Failure::not_found("there is no 'a\r\nForged: x\u{e9}'");
        assert_eq!(
            String::from_utf8(failure.headers()).unwrap(),
            "NATS/1.0\r\nNats-Service-Error-Code: 404\r\n\
             Nats-Service-Error: there is no 'a??Forged: x?'\r\n\r\n"
        );
        assert_eq!(
            failure.body(),
            "{\"error\":{\"code\":404,\"message\":\"there is no 'a\\r\\nForged: x\u{e9}'\"}}"
        );
    }

    #[test]
    fn messages_are_bounded() {
        let failure = Failure::invalid(&"\u{e9}".repeat(100_000));
        assert_eq!(failure.message.chars().count(), MESSAGE_CHARS_MAX);
    }
}
