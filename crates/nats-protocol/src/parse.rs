//! Parser of what a client sends (core specification §1.2, §1.3, §1.7).
//!
//! It looks at the front of a buffer and either finds one whole operation, asks for more bytes, or refuses. It keeps
//! no state: an operation that is split across reads is parsed again from its first byte once more has arrived, so
//! that any split of the input gives the same operations by construction. Control lines are short by their limit,
//! and a payload is not looked at before it is whole.

use std::ops::Range;

use crate::limits::{MAX_CONTROL_LINE_DEFAULT, MAX_PAYLOAD_DEFAULT, SIZE_DIGITS_MAX, UNSUBSCRIBE_DIGITS_MAX};

/// One operation of a client. All slices point into the buffer that was parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation<'a> {
    /// `CONNECT {json}`; the JSON is not looked at.
    Connect(&'a [u8]),
    /// `PUB` or `HPUB`.
    Publish(Publish<'a>),
    /// `SUB`; the subject is not validated.
    Subscribe {
        /// Subject or pattern.
        subject: &'a [u8],
        /// Queue group, if any.
        queue: Option<&'a [u8]>,
        /// The client's name for the subscription.
        sid: &'a [u8],
    },
    /// `UNSUB`.
    Unsubscribe {
        /// The client's name for the subscription.
        sid: &'a [u8],
        /// Messages since SUB after which it ends; `None` when absent or unreadable, which means now.
        max: Option<u64>,
    },
    /// `PING`, whatever follows it on the line.
    Ping,
    /// `PONG`, whatever follows it on the line.
    Pong,
    /// `+OK`; ignored by servers.
    Ok,
    /// `INFO {json}`; ignored by servers.
    Info(&'a [u8]),
    /// `-ERR 'text'`; the server logs it and closes.
    Error(&'a [u8]),
}

/// The arguments and bytes of one publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Where to; not validated.
    pub subject: &'a [u8],
    /// Where answers go, if given.
    pub reply: Option<&'a [u8]>,
    /// Bytes of headers at the front of `body`; 0 for PUB, and for HPUB with an empty block.
    pub header_size: usize,
    /// Size of `body` as the client spelled it, to be forwarded verbatim.
    pub size_text: &'a [u8],
    /// Headers and payload.
    pub body: &'a [u8],
    /// From the reply (or the first size) up to and including the final line end, exactly as MSG (or HMSG, when
    /// `header_size` is not 0) needs it; `None` when the client's spacing differs from ours.
    pub tail: Option<&'a [u8]>,
}

impl<'a> Publish<'a> {
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

/// What the front of the buffer holds: an [`Operation`] of a client, or one of another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed<O> {
    /// One whole operation.
    Operation {
        /// The operation.
        operation: O,
        /// How many bytes of the buffer it took.
        consumed: usize,
    },
    /// The operation is not whole yet.
    Incomplete {
        /// Length in bytes of the whole operation when already known, else 0.
        needed: usize,
    },
}

/// Why the connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Unknown verb, or a payload that does not end in CR LF.
    #[error("unknown protocol operation")]
    UnknownOperation,
    /// The arguments are longer than the control-line limit.
    #[error("maximum control line exceeded")]
    ControlLineExceeded,
    /// The declared size is above the payload limit.
    #[error("maximum payload violation")]
    PayloadExceeded,
    /// Wrong count of arguments or an unreadable number: closed without a word (§1.2).
    #[error("malformed arguments")]
    Arguments,
    /// HPUB on a connection without header support: closed without a word (§1.7).
    #[error("message headers not supported")]
    HeadersNotSupported,
}

/// What the parser refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseLimits {
    /// Longest argument part of a control line in bytes.
    pub max_control_line: usize,
    /// Largest declared size of a publication in bytes, headers included.
    pub max_payload: usize,
    /// Whether HPUB is accepted.
    pub headers: bool,
}

impl Default for ParseLimits {
    fn default() -> Self {
        Self {
            max_control_line: MAX_CONTROL_LINE_DEFAULT,
            max_payload: MAX_PAYLOAD_DEFAULT,
            headers: true,
        }
    }
}

/// Parses the operation at the front of `buffer`.
///
/// # Errors
/// When the connection has to be closed; nothing of `buffer` is meaningful after that.
pub fn parse_operation<'a>(buffer: &'a [u8], limits: &ParseLimits) -> Result<Parsed<Operation<'a>>, ParseError> {
    let Some((verb, line)) = verb_and_line(buffer, &VERBS, Verb::needs_separator, limits)? else {
        return Ok(Parsed::Incomplete { needed: 0 });
    };
    let operation = match verb {
        Verb::Publish => return publish(buffer, &line, limits, false),
        Verb::HeaderPublish => return publish(buffer, &line, limits, true),
        Verb::Subscribe => subscribe(buffer, &line)?,
        Verb::Unsubscribe => unsubscribe(buffer, &line)?,
        Verb::Connect => Operation::Connect(&buffer[line.arguments.clone()]),
        Verb::Ping => Operation::Ping,
        Verb::Pong => Operation::Pong,
        Verb::Ok => Operation::Ok,
        Verb::Info => Operation::Info(&buffer[line.arguments.clone()]),
        Verb::Error => Operation::Error(&buffer[line.arguments.clone()]),
    };
    Ok(Parsed::Operation {
        operation,
        consumed: line.next,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Publish,
    HeaderPublish,
    Subscribe,
    Unsubscribe,
    Connect,
    Ping,
    Pong,
    Ok,
    Info,
    Error,
}

impl Verb {
    fn needs_separator(self) -> bool {
        matches!(
            self,
            Self::Publish | Self::HeaderPublish | Self::Subscribe | Self::Unsubscribe
        )
    }
}

/// Verbs in the order in which traffic uses them.
const VERBS: [(&[u8], Verb); 10] = [
    (b"PUB", Verb::Publish),
    (b"HPUB", Verb::HeaderPublish),
    (b"SUB", Verb::Subscribe),
    (b"UNSUB", Verb::Unsubscribe),
    (b"PING", Verb::Ping),
    (b"PONG", Verb::Pong),
    (b"CONNECT", Verb::Connect),
    (b"+OK", Verb::Ok),
    (b"-ERR", Verb::Error),
    (b"INFO", Verb::Info),
];

/// The verb at the front of `buffer`, and the line behind it; `None` while they are not whole.
#[inline]
pub(crate) fn verb_and_line<V: Copy>(
    buffer: &[u8],
    verbs: &[(&[u8], V)],
    needs_separator: impl Fn(V) -> bool,
    limits: &ParseLimits,
) -> Result<Option<(V, Line)>, ParseError> {
    let Some((verb, length)) = find_verb(buffer, verbs)? else {
        return Ok(None);
    };
    if needs_separator(verb) {
        match buffer.get(length) {
            None => return Ok(None),
            Some(byte) if is_separator(*byte) => {}
            Some(_) => return Err(ParseError::UnknownOperation),
        }
    }
    let line = control_line(buffer, length, limits.max_control_line)?;
    Ok(line.map(|line| (verb, line)))
}

/// The verb and its length; `None` while the buffer holds only the beginning of one.
#[inline]
fn find_verb<V: Copy>(buffer: &[u8], verbs: &[(&[u8], V)]) -> Result<Option<(V, usize)>, ParseError> {
    let mut possible = false;
    for (name, verb) in verbs {
        let length = name.len().min(buffer.len());
        if buffer[..length].eq_ignore_ascii_case(&name[..length]) {
            if length == name.len() {
                return Ok(Some((*verb, length)));
            }
            possible = true;
        }
    }
    if possible {
        Ok(None)
    } else {
        Err(ParseError::UnknownOperation)
    }
}

/// One complete control line; positions are offsets into the buffer.
pub(crate) struct Line {
    /// Arguments without separators in front, without the line end.
    pub(crate) arguments: Range<usize>,
    /// Where the next bytes start.
    pub(crate) next: usize,
    /// Ended by exactly CR LF, with no other CR taken into account.
    pub(crate) plain_end: bool,
}

/// Finds the end of the line. The limits are chosen so that a prefix is refused only when every completion of it
/// would be: a CR anywhere makes the byte before LF be dropped (§1.2), hence the slack of one.
#[inline]
fn control_line(buffer: &[u8], verb: usize, limit: usize) -> Result<Option<Line>, ParseError> {
    let rest = &buffer[verb..];
    let end = memchr::memchr(b'\n', rest);
    let line = &rest[..end.unwrap_or(rest.len())];
    let leading = line.iter().take_while(|byte| is_separator(**byte)).count();
    let raw = &line[leading..];
    if leading > limit || raw.len() > limit + 1 {
        return Err(ParseError::ControlLineExceeded);
    }
    let Some(end) = end else {
        return Ok(None);
    };
    let plain_end = raw.last() == Some(&b'\r');
    let dropped = usize::from(plain_end || memchr::memchr(b'\r', raw).is_some());
    let length = raw.len() - dropped;
    if length > limit {
        return Err(ParseError::ControlLineExceeded);
    }
    let start = verb + leading;
    Ok(Some(Line {
        arguments: start..start + length,
        next: verb + end + 1,
        plain_end,
    }))
}

pub(crate) fn is_separator(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

const ARGUMENTS_MAX: usize = 4;

/// Where the arguments of a line are.
type Arguments = [Range<usize>; ARGUMENTS_MAX];

/// Splits into at most so many arguments and returns how many there are; more are an error. A stray CR separates too.
#[inline]
pub(crate) fn split<const MAX: usize>(
    buffer: &[u8],
    range: &Range<usize>,
    arguments: &mut [Range<usize>; MAX],
) -> Result<usize, ParseError> {
    let mut count = 0;
    let mut start = range.start;
    let separators = memchr::memchr3_iter(b' ', b'\t', b'\r', &buffer[range.clone()]);
    for end in separators.map(|at| range.start + at).chain([range.end]) {
        if start < end {
            *arguments.get_mut(count).ok_or(ParseError::Arguments)? = start..end;
            count += 1;
        }
        start = end + 1;
    }
    Ok(count)
}

/// Reads a size: one to nine digits (§1.2).
pub(crate) fn size(text: &[u8]) -> Result<usize, ParseError> {
    if text.is_empty() || text.len() > SIZE_DIGITS_MAX {
        return Err(ParseError::Arguments);
    }
    let mut value = 0usize;
    for byte in text {
        if !byte.is_ascii_digit() {
            return Err(ParseError::Arguments);
        }
        value = value * 10 + usize::from(byte - b'0');
    }
    Ok(value)
}

/// Whether a message of these sizes may follow.
#[inline]
pub(crate) fn check_sizes(
    header_size: usize,
    total: usize,
    with_headers: bool,
    limits: &ParseLimits,
) -> Result<(), ParseError> {
    if header_size > total {
        return Err(ParseError::Arguments);
    }
    if total > limits.max_payload {
        return Err(ParseError::PayloadExceeded);
    }
    if with_headers && !limits.headers {
        return Err(ParseError::HeadersNotSupported);
    }
    Ok(())
}

/// Whether a body that ends at `end` is there, with the line end that must follow it.
#[inline]
pub(crate) fn is_whole(buffer: &[u8], end: usize) -> Result<bool, ParseError> {
    for (offset, expected) in [(end, b'\r'), (end + 1, b'\n')] {
        match buffer.get(offset) {
            None => return Ok(false),
            Some(byte) if *byte == expected => {}
            Some(_) => return Err(ParseError::UnknownOperation),
        }
    }
    Ok(true)
}

fn publish<'a>(
    buffer: &'a [u8],
    line: &Line,
    limits: &ParseLimits,
    with_headers: bool,
) -> Result<Parsed<Operation<'a>>, ParseError> {
    let mut arguments = Arguments::default();
    let count = split(buffer, &line.arguments, &mut arguments)?;
    let sizes = 1 + usize::from(with_headers);
    if count != sizes + 1 && count != sizes + 2 {
        return Err(ParseError::Arguments);
    }
    let reply = (count == sizes + 2).then(|| &buffer[arguments[1].clone()]);
    let size_text = &buffer[arguments[count - 1].clone()];
    let header_size = if with_headers {
        size(&buffer[arguments[count - 2].clone()])?
    } else {
        0
    };
    let total = size(size_text)?;
    check_sizes(header_size, total, with_headers, limits)?;

    let end = line.next + total;
    if !is_whole(buffer, end)? {
        return Ok(Parsed::Incomplete { needed: end + 2 });
    }
    let canonical = line.plain_end
        && arguments[count - 1].end == line.arguments.end
        && with_headers == (header_size > 0)
        && arguments[1..count]
            .windows(2)
            .all(|pair| &buffer[pair[0].end..pair[1].start] == b" ");
    let operation = Operation::Publish(Publish {
        subject: &buffer[arguments[0].clone()],
        reply,
        header_size,
        size_text,
        body: &buffer[line.next..end],
        tail: canonical.then(|| &buffer[arguments[1].start..end + 2]),
    });
    Ok(Parsed::Operation {
        operation,
        consumed: end + 2,
    })
}

fn subscribe<'a>(buffer: &'a [u8], line: &Line) -> Result<Operation<'a>, ParseError> {
    let mut arguments = Arguments::default();
    let count = split(buffer, &line.arguments, &mut arguments)?;
    let argument = |index: usize| &buffer[arguments[index].clone()];
    match count {
        2 => Ok(Operation::Subscribe {
            subject: argument(0),
            queue: None,
            sid: argument(1),
        }),
        3 => Ok(Operation::Subscribe {
            subject: argument(0),
            queue: Some(argument(1)),
            sid: argument(2),
        }),
        _ => Err(ParseError::Arguments),
    }
}

fn unsubscribe<'a>(buffer: &'a [u8], line: &Line) -> Result<Operation<'a>, ParseError> {
    let mut arguments = Arguments::default();
    let count = split(buffer, &line.arguments, &mut arguments)?;
    let argument = |index: usize| &buffer[arguments[index].clone()];
    match count {
        1 => Ok(Operation::Unsubscribe {
            sid: argument(0),
            max: None,
        }),
        2 => Ok(Operation::Unsubscribe {
            sid: argument(0),
            max: unsubscribe_limit(argument(1)),
        }),
        _ => Err(ParseError::Arguments),
    }
}

fn unsubscribe_limit(text: &[u8]) -> Option<u64> {
    if text.len() > UNSUBSCRIBE_DIGITS_MAX || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
