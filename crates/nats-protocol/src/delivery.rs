//! Parser of what a server sends to a client (core specification §1.2, §1.9), for connections to servers of others.
//!
//! Like [`parse_operation`](crate::parse_operation) it looks at the front of a buffer and keeps no state.

use std::ops::Range;

use crate::parse::{ParseError, ParseLimits, Parsed, check_sizes, is_whole, size, split, verb_and_line};

/// One operation of a server. All slices point into the buffer that was parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerOperation<'a> {
    /// `MSG` or `HMSG`.
    Message(Delivered<'a>),
    /// `INFO {json}`; the JSON is not looked at.
    Info(&'a [u8]),
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `+OK`.
    Ok,
    /// `-ERR 'text'`, without the quotes.
    Error(&'a [u8]),
}

/// A message for a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered<'a> {
    /// What it was published to.
    pub subject: &'a [u8],
    /// The client's name for the subscription.
    pub sid: &'a [u8],
    /// Where answers go, if given.
    pub reply: Option<&'a [u8]>,
    /// Bytes of headers at the front of `body`; 0 for MSG.
    pub header_size: usize,
    /// Headers and payload.
    pub body: &'a [u8],
}

impl<'a> Delivered<'a> {
    /// The header block.
    #[must_use]
    pub fn headers(&self) -> &'a [u8] {
        &self.body[..self.header_size]
    }

    /// What follows the header block.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.body[self.header_size..]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Message,
    HeaderMessage,
    Ping,
    Pong,
    Ok,
    Error,
    Info,
}

/// Verbs in the order in which traffic uses them.
const VERBS: [(&[u8], Verb); 7] = [
    (b"MSG", Verb::Message),
    (b"HMSG", Verb::HeaderMessage),
    (b"PING", Verb::Ping),
    (b"PONG", Verb::Pong),
    (b"+OK", Verb::Ok),
    (b"-ERR", Verb::Error),
    (b"INFO", Verb::Info),
];

/// Subject, sid, reply and two sizes.
const ARGUMENTS_MAX: usize = 5;

/// Parses the operation at the front of `buffer`.
///
/// # Errors
/// When it is none: nothing of `buffer` is meaningful after that.
pub fn parse_server_operation<'a>(
    buffer: &'a [u8],
    limits: &ParseLimits,
) -> Result<Parsed<ServerOperation<'a>>, ParseError> {
    let needs_separator = |verb| matches!(verb, Verb::Message | Verb::HeaderMessage);
    let Some((verb, line)) = verb_and_line(buffer, &VERBS, needs_separator, limits)? else {
        return Ok(Parsed::Incomplete { needed: 0 });
    };
    let operation = match verb {
        Verb::Message => return message(buffer, &line.arguments, line.next, false, limits),
        Verb::HeaderMessage => return message(buffer, &line.arguments, line.next, true, limits),
        Verb::Ping => ServerOperation::Ping,
        Verb::Pong => ServerOperation::Pong,
        Verb::Ok => ServerOperation::Ok,
        Verb::Error => ServerOperation::Error(unquoted(&buffer[line.arguments.clone()])),
        Verb::Info => ServerOperation::Info(&buffer[line.arguments.clone()]),
    };
    Ok(Parsed::Operation {
        operation,
        consumed: line.next,
    })
}

fn unquoted(text: &[u8]) -> &[u8] {
    let inner = text.strip_prefix(b"'").and_then(|text| text.strip_suffix(b"'"));
    inner.unwrap_or(text)
}

fn message<'a>(
    buffer: &'a [u8],
    line: &Range<usize>,
    begin: usize,
    with_headers: bool,
    limits: &ParseLimits,
) -> Result<Parsed<ServerOperation<'a>>, ParseError> {
    let mut arguments: [Range<usize>; ARGUMENTS_MAX] = std::array::from_fn(|_| 0..0);
    let count = split(buffer, line, &mut arguments)?;
    let argument = |index: usize| &buffer[arguments[index].clone()];
    let sizes = 1 + usize::from(with_headers);
    if count != sizes + 2 && count != sizes + 3 {
        return Err(ParseError::Arguments);
    }
    let header_size = if with_headers { size(argument(count - 2))? } else { 0 };
    let total = size(argument(count - 1))?;
    check_sizes(header_size, total, with_headers, limits)?;
    let end = begin + total;
    if !is_whole(buffer, end)? {
        return Ok(Parsed::Incomplete { needed: end + 2 });
    }
    let operation = ServerOperation::Message(Delivered {
        subject: argument(0),
        sid: argument(1),
        reply: (count == sizes + 3).then(|| argument(2)),
        header_size,
        body: &buffer[begin..end],
    });
    Ok(Parsed::Operation {
        operation,
        consumed: end + 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::{write_header_message, write_message};

    fn parse(buffer: &[u8]) -> Result<Parsed<ServerOperation<'_>>, ParseError> {
        parse_server_operation(buffer, &ParseLimits::default())
    }

    fn whole(buffer: &[u8]) -> ServerOperation<'_> {
        match parse(buffer) {
            Ok(Parsed::Operation { operation, consumed }) => {
                assert_eq!(consumed, buffer.len());
                operation
            }
            other => panic!("{other:?}"),
        }
    }

    /// §1.9.
    #[test]
    fn messages_are_what_servers_write() {
        for reply in [None, Some(&b"bar"[..])] {
            let mut plain = Vec::new();
            write_message(&mut plain, b"foo", b"12", reply, 5);
            plain.extend_from_slice(b"he\r\no\r\n");
            let ServerOperation::Message(message) = whole(&plain) else {
                panic!("no message")
            };
            assert_eq!(
                (message.subject, message.sid, message.reply),
                (&b"foo"[..], &b"12"[..], reply)
            );
            assert_eq!((message.headers(), message.payload()), (&b""[..], &b"he\r\no"[..]));
            let mut headed = Vec::new();
            write_header_message(&mut headed, b"foo", b"12", reply, 12, 14);
            headed.extend_from_slice(b"NATS/1.0\r\n\r\nhi\r\n");
            let ServerOperation::Message(message) = whole(&headed) else {
                panic!("no message")
            };
            assert_eq!(
                (message.headers(), message.payload()),
                (&b"NATS/1.0\r\n\r\n"[..], &b"hi"[..])
            );
            assert_eq!(message.reply, reply);
            for split in 0..headed.len() {
                assert!(
                    matches!(parse(&headed[..split]), Ok(Parsed::Incomplete { .. })),
                    "{split}"
                );
            }
        }
    }

    #[test]
    fn the_rest_is_lines() {
        assert_eq!(whole(b"PING\r\n"), ServerOperation::Ping);
        assert_eq!(whole(b"PONG\r\n"), ServerOperation::Pong);
        assert_eq!(whole(b"+OK\r\n"), ServerOperation::Ok);
        assert_eq!(whole(b"INFO {} \r\n"), ServerOperation::Info(b"{} "));
        assert_eq!(
            whole(b"-ERR 'Stale Connection'\r\n"),
            ServerOperation::Error(b"Stale Connection")
        );
        assert_eq!(whole(b"-ERR odd\r\n"), ServerOperation::Error(b"odd"));
    }

    #[test]
    fn what_is_no_operation_is_refused() {
        for (bad, error) in [
            (&b"PUB a 1\r\nx\r\n"[..], ParseError::UnknownOperation),
            (b"MSG a 1\r\n", ParseError::Arguments),
            (b"MSG a b c d 1\r\n", ParseError::Arguments),
            (b"MSG a 1 x\r\n", ParseError::Arguments),
            (b"MSG a 1 1\r\nxyz", ParseError::UnknownOperation),
            (b"HMSG a 1 5 4\r\n", ParseError::Arguments),
            (b"MSG a 1 99999999\r\n", ParseError::PayloadExceeded),
        ] {
            assert_eq!(parse(bad), Err(error), "{}", String::from_utf8_lossy(bad));
        }
    }
}
