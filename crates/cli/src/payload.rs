//! How a payload is shown to people: JSON indented, text as it is, everything else as hex.

use std::fmt::Write as _;

use seaway_nats_protocol::harmless::is_harmful;

/// Bytes of a binary payload that are shown.
const HEX_BYTES_MAX: usize = 512;
const HEX_BYTES_PER_LINE: usize = 16;
/// Nesting up to which JSON is indented; deeper, the indentation would outgrow the payload.
const DEPTH_MAX: usize = 32;

/// Colours for terminals, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    On,
    Off,
}

/// What is coloured alike.
#[derive(Clone, Copy)]
pub(crate) enum Paint {
    /// What frames the payload: sequence, time.
    Frame,
    Warning,
    Key,
    Text,
    Literal,
}

impl Colour {
    /// The text in its colour.
    pub(crate) fn paint(self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Frame => "2",
            Paint::Warning => "33",
            Paint::Key => "34",
            Paint::Text => "32",
            Paint::Literal => "36",
        };
        match self {
            Colour::On => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Colour::Off => text.to_owned(),
        }
    }
}

/// A payload for people. Never holds a control character besides line end and tab.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// It fits behind the frame.
    OneLine(String),
    /// It begins on a line of its own; the last line has no end.
    Lines(String),
}

pub(crate) fn show(payload: &[u8], colour: Colour) -> Shown {
    let Some(text) = as_text(payload) else {
        return Shown::Lines(hex(payload));
    };
    let text = text.strip_suffix('\n').unwrap_or(text);
    if text.starts_with(['{', '['])
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
        && let Some(lines) = indented(text, colour)
    {
        return match lines.contains('\n') {
            true => Shown::Lines(lines),
            false => Shown::OneLine(lines),
        };
    }
    match text.contains('\n') {
        true => Shown::Lines(text.to_owned()),
        false => Shown::OneLine(text.to_owned()),
    }
}

/// The payload as text, if it is UTF-8 and cannot do anything to a terminal.
fn as_text(payload: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(payload).ok()?;
    let harmless = |c: char| !is_harmful(c) || matches!(c, '\n' | '\t');
    text.chars().all(harmless).then_some(text)
}

/// Valid JSON with new white space; strings and numbers stay as they were written. `None` when it is nested too deeply.
fn indented(json: &str, colour: Colour) -> Option<String> {
    let mut lines = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut rest = json.trim_start();
    let new_line = |lines: &mut String, depth: usize| {
        lines.push('\n');
        lines.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(first) = rest.chars().next() {
        let token = &rest[..token_length(rest)];
        rest = rest[token.len()..].trim_start();
        match first {
            '{' | '[' => {
                lines.push(first);
                if rest.starts_with(['}', ']']) {
                    lines.extend(rest.chars().next());
                    rest = rest[1..].trim_start();
                } else {
                    depth += 1;
                    if depth > DEPTH_MAX {
                        return None;
                    }
                    new_line(&mut lines, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                new_line(&mut lines, depth);
                lines.push(first);
            }
            ',' => {
                lines.push(',');
                new_line(&mut lines, depth);
            }
            ':' => lines.push_str(": "),
            '"' if rest.starts_with(':') => lines.push_str(&colour.paint(Paint::Key, token)),
            '"' => lines.push_str(&colour.paint(Paint::Text, token)),
            _ => lines.push_str(&colour.paint(Paint::Literal, token)),
        }
    }
    Some(lines)
}

/// Bytes of the token that valid JSON begins with.
fn token_length(json: &str) -> usize {
    let bytes = json.as_bytes();
    match bytes.first() {
        Some(b'"') => {
            let mut at = 1;
            while at < bytes.len() && bytes[at] != b'"' {
                at += if bytes[at] == b'\\' { 2 } else { 1 };
            }
            (at + 1).min(bytes.len())
        }
        Some(b'{' | b'}' | b'[' | b']' | b',' | b':') => 1,
        _ => json
            .find(|c: char| c.is_ascii_whitespace() || matches!(c, ',' | ':' | '}' | ']'))
            .unwrap_or(json.len())
            .max(1),
    }
}

/// Offset, bytes and letters, as hex dumps have it.
fn hex(payload: &[u8]) -> String {
    let mut text = String::new();
    let shown = &payload[..payload.len().min(HEX_BYTES_MAX)];
    for (index, line) in shown.chunks(HEX_BYTES_PER_LINE).enumerate() {
        // Writing to a string does not fail.
        let _ = write!(text, "{:08x} ", index * HEX_BYTES_PER_LINE);
        for byte in line {
            let _ = write!(text, " {byte:02x}");
        }
        text.extend(std::iter::repeat_n("   ", HEX_BYTES_PER_LINE - line.len()));
        let letters = line.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        });
        text.push_str("  ");
        text.extend(letters);
        text.push('\n');
    }
    if payload.len() > shown.len() {
        let _ = write!(text, "and {} bytes more", payload.len() - shown.len());
    } else {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(payload: &[u8]) -> String {
        match show(payload, Colour::Off) {
            Shown::Lines(lines) => lines,
            Shown::OneLine(line) => panic!("one line: {line}"),
        }
    }

    fn line(payload: &[u8]) -> String {
        match show(payload, Colour::Off) {
            Shown::OneLine(line) => line,
            Shown::Lines(lines) => panic!("several lines: {lines}"),
        }
    }

    #[test]
    fn json_is_indented_and_keeps_its_words() {
        let json = br#" {"a": [1,2.50, 1e999999,{}],"b":{"c":"x:y, \"{z\\"},"e":[ ] , "n":null}"#;
        let trimmed = &json[1..];
        let expected = r#"{
  "a": [
    1,
    2.50,
    1e999999,
    {}
  ],
  "b": {
    "c": "x:y, \"{z\\"
  },
  "e": [],
  "n": null
}"#;
        assert_eq!(lines(trimmed), expected);
        assert_eq!(line(b"{}"), "{}");
        let Shown::Lines(coloured) = show(br#"{"a":"b"}"#, Colour::On) else {
            panic!("several lines")
        };
        assert_eq!(coloured, "{\n  \u{1b}[34m\"a\"\u{1b}[0m: \u{1b}[32m\"b\"\u{1b}[0m\n}");
    }

    #[test]
    fn text_is_shown_as_it_is() {
        assert_eq!(line("grüße".as_bytes()), "grüße");
        assert_eq!(line(b"ends with a line end\n"), "ends with a line end");
        assert_eq!(line(b""), "");
        assert_eq!(line(b"{not json}"), "{not json}");
        assert_eq!(lines(b"two\nlines"), "two\nlines");
    }

    #[test]
    fn what_could_move_the_cursor_is_shown_as_hex() {
        assert_eq!(
            lines(b"\x1b[2J"),
            "00000000  1b 5b 32 4a                                      .[2J"
        );
        assert!(lines("\u{9b}31m".as_bytes()).starts_with("00000000  c2 9b"));
        let long = lines(&[0xff; 700]);
        assert_eq!(long.lines().count(), HEX_BYTES_MAX / HEX_BYTES_PER_LINE + 1);
        assert!(long.ends_with("and 188 bytes more"), "{long}");
    }

    #[test]
    fn deep_json_is_text() {
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        assert_eq!(line(deep.as_bytes()), deep);
    }
}
