//! How a message is printed, whether it was delivered or looked at.

use std::borrow::Cow;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::payload::{Paint, Shown, show};
use crate::readable::{counted, local_time, utc_time};

/// A message of a channel.
pub(crate) struct Message<'a> {
    pub(crate) channel: &'a str,
    pub(crate) sequence: u64,
    pub(crate) time: SystemTime,
    pub(crate) redeliveries: u32,
    pub(crate) payload: &'a [u8],
}

/// How people want it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// With sequence and time, the payload made readable.
    Pretty,
    /// The payload and a line end.
    Raw,
}

impl Style {
    /// What the flag `--raw` asks for, when nothing else contradicts it.
    pub(crate) fn asked(raw: bool, output: &Output) -> Outcome<Style> {
        match (raw, output.is_json()) {
            (true, true) => Err(Failure::usage("--raw and --json exclude each other")),
            (true, false) => Ok(Style::Raw),
            (false, _) => Ok(Style::Pretty),
        }
    }
}

/// One line of JSON for a message; the fields are documented in `docs/command-line.md`.
#[derive(Serialize)]
struct Line<'a> {
    channel: &'a str,
    sequence: u64,
    timestamp: String,
    redelivery_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl Message<'_> {
    pub(crate) fn print(&self, output: &mut Output, style: Style) -> Outcome {
        if output.is_json() {
            return output.json(&self.as_line());
        }
        if style == Style::Raw {
            output.bytes(self.payload)?;
            return output.bytes(b"\n");
        }
        let colour = output.colour();
        let frame = colour.paint(Paint::Frame, &format!("#{}  {}", self.sequence, local_time(self.time)));
        let again: Cow<'_, str> = match self.redeliveries {
            0 => "".into(),
            times => colour
                .paint(
                    Paint::Warning,
                    &format!("  redelivered {}", counted(times.into(), "time")),
                )
                .into(),
        };
        match show(self.payload, colour) {
            Shown::OneLine(line) => output.line(&format!("{frame}{again}  {line}")),
            Shown::Lines(lines) => output.line(&format!("{frame}{again}\n{lines}")),
        }
    }

    fn as_line(&self) -> Line<'_> {
        let text = std::str::from_utf8(self.payload).ok();
        Line {
            channel: self.channel,
            sequence: self.sequence,
            timestamp: utc_time(self.time),
            redelivery_count: self.redeliveries,
            payload: text,
            payload_base64: text.is_none().then(|| STANDARD.encode(self.payload)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_json() {
        let mut message = Message {
            channel: "orders",
            sequence: 7,
            time: SystemTime::UNIX_EPOCH,
            redeliveries: 0,
            payload: b"a\n\"b\"",
        };
        let line = serde_json::to_string(&message.as_line()).unwrap();
        let expected = r#"{"channel":"orders","sequence":7,"timestamp":"1970-01-01T00:00:00Z","redelivery_count":0,"payload":"a\n\"b\""}"#;
        assert_eq!(line, expected);
        message.payload = &[0xff, 0];
        let line = serde_json::to_string(&message.as_line()).unwrap();
        assert!(
            line.ends_with(r#""redelivery_count":0,"payload_base64":"/wA="}"#),
            "{line}"
        );
    }
}
