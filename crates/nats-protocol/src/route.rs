//! What servers say to each other over a route, read and written (core specification §4.5).
//!
//! Reading follows the rules of [`crate::parse`]: it looks at the front of a buffer, keeps no state and allocates nothing. What a
//! server without leaf nodes is never sent (`LS+`, `LS-`, `LMSG`) is an unknown operation.

use crate::limits::ROUTE_WEIGHT_MAX;
use crate::parse::{Line, ParseError, ParseLimits, Parsed, check_sizes, is_separator, is_whole, size, verb_and_line};
use crate::write::{LINE_END, write_number};

/// One operation of another server. All slices point into the buffer that was parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteOperation<'a> {
    /// `CONNECT {json}`; the JSON is not looked at.
    Connect(&'a [u8]),
    /// `INFO {json}`; the JSON is not looked at.
    Info(&'a [u8]),
    /// `RS+`: somebody over there subscribes. The subject is not validated.
    Interest {
        /// Account of the subscription.
        account: &'a [u8],
        /// Subject or pattern.
        subject: &'a [u8],
        /// Queue group and how many members it has there, from 1 to [`ROUTE_WEIGHT_MAX`], if it is one.
        queue: Option<(&'a [u8], u32)>,
    },
    /// `RS-`: nobody over there subscribes any more.
    NoInterest {
        /// Account of the subscription.
        account: &'a [u8],
        /// Subject or pattern.
        subject: &'a [u8],
        /// Queue group, if it was one.
        queue: Option<&'a [u8]>,
    },
    /// `RMSG` or `HMSG`.
    Message(RouteMessage<'a>),
    /// `PING`, whatever follows it on the line.
    Ping,
    /// `PONG`, whatever follows it on the line.
    Pong,
    /// `+OK`; ignored.
    Ok,
    /// `-ERR 'text'`
    Error(&'a [u8]),
}

/// The arguments and bytes of one message from another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteMessage<'a> {
    /// Account in which it was published.
    pub account: &'a [u8],
    /// Where to; not validated.
    pub subject: &'a [u8],
    /// Where answers go, if given.
    pub reply: Option<&'a [u8]>,
    /// The queue groups of which one member here is to have it.
    pub queues: Queues<'a>,
    /// Headers at the front of `body`; 0 for RMSG.
    pub header_size: usize,
    /// Size of `body` as the other server spelled it, to be forwarded verbatim.
    pub size_text: &'a [u8],
    /// Headers and payload.
    pub body: &'a [u8],
    /// From the reply (or the first size) up to and including the final line end, exactly as MSG (or HMSG, when `header_size`
    /// is not 0) needs it; `None` when the spacing differs from ours, or queue groups stand between.
    pub tail: Option<&'a [u8]>,
}

/// Names of queue groups as they stand in a control line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queues<'a>(&'a [u8]);

impl<'a> Queues<'a> {
    /// Each name, in the order of the line.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        words(self.0)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Message,
    HeaderMessage,
    Interest,
    NoInterest,
    Ping,
    Pong,
    Info,
    Connect,
    Error,
    Ok,
}

impl Verb {
    fn needs_separator(self) -> bool {
        matches!(
            self,
            Self::Message | Self::HeaderMessage | Self::Interest | Self::NoInterest
        )
    }
}

/// Verbs in the order in which traffic uses them.
const VERBS: [(&[u8], Verb); 10] = [
    (b"RMSG", Verb::Message),
    (b"HMSG", Verb::HeaderMessage),
    (b"RS+", Verb::Interest),
    (b"RS-", Verb::NoInterest),
    (b"PING", Verb::Ping),
    (b"PONG", Verb::Pong),
    (b"INFO", Verb::Info),
    (b"CONNECT", Verb::Connect),
    (b"-ERR", Verb::Error),
    (b"+OK", Verb::Ok),
];

/// Parses the operation at the front of `buffer`; of `limits` whether headers are accepted counts for messages alone.
///
/// # Errors
/// When the route has to be closed; nothing of `buffer` is meaningful after that.
pub fn parse_route_operation<'a>(
    buffer: &'a [u8],
    limits: &ParseLimits,
) -> Result<Parsed<RouteOperation<'a>>, ParseError> {
    let Some((verb, line)) = verb_and_line(buffer, &VERBS, Verb::needs_separator, limits)? else {
        return Ok(Parsed::Incomplete { needed: 0 });
    };
    let arguments = &buffer[line.arguments.clone()];
    let operation = match verb {
        Verb::Message => return message(buffer, &line, limits, false),
        Verb::HeaderMessage => return message(buffer, &line, limits, true),
        Verb::Interest => interest(arguments)?,
        Verb::NoInterest => no_interest(arguments)?,
        Verb::Ping => RouteOperation::Ping,
        Verb::Pong => RouteOperation::Pong,
        Verb::Info => RouteOperation::Info(arguments),
        Verb::Connect => RouteOperation::Connect(arguments),
        Verb::Error => RouteOperation::Error(arguments),
        Verb::Ok => RouteOperation::Ok,
    };
    Ok(Parsed::Operation {
        operation,
        consumed: line.next,
    })
}

/// What stands between two words; a stray CR too.
fn is_blank(byte: &u8) -> bool {
    is_separator(*byte) || *byte == b'\r'
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(is_blank).filter(|word| !word.is_empty())
}

fn interest(arguments: &[u8]) -> Result<RouteOperation<'_>, ParseError> {
    let mut words = words(arguments);
    let mut next = || words.next();
    let (Some(account), Some(subject)) = (next(), next()) else {
        return Err(ParseError::Arguments);
    };
    let queue = match (next(), next(), next()) {
        (None, ..) => None,
        (Some(queue), Some(weight), None) => Some((queue, weight_of(weight)?)),
        _ => return Err(ParseError::Arguments),
    };
    Ok(RouteOperation::Interest {
        account,
        subject,
        queue,
    })
}

/// Reads a weight; one that is too large is the largest, one of 0 is 1.
fn weight_of(text: &[u8]) -> Result<u32, ParseError> {
    let weight = size(text)?;
    Ok(u32::try_from(weight).unwrap_or(u32::MAX).clamp(1, ROUTE_WEIGHT_MAX))
}

fn no_interest(arguments: &[u8]) -> Result<RouteOperation<'_>, ParseError> {
    let mut words = words(arguments);
    let (account, subject, queue, more) = (words.next(), words.next(), words.next(), words.next());
    match (account, subject, more) {
        (Some(account), Some(subject), None) => Ok(RouteOperation::NoInterest {
            account,
            subject,
            queue,
        }),
        _ => Err(ParseError::Arguments),
    }
}

/// Cuts the last word off; what is left has no separators at its end.
fn split_last(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().rposition(|byte| !is_blank(byte))? + 1;
    let start = text[..end].iter().rposition(is_blank).map_or(0, |at| at + 1);
    let rest = text[..start]
        .iter()
        .rposition(|byte| !is_blank(byte))
        .map_or(0, |at| at + 1);
    Some((&text[..rest], &text[start..end]))
}

/// Cuts the first word off; what is left has no separators in front.
fn split_first(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = text.iter().position(|byte| !is_blank(byte))?;
    let text = &text[start..];
    let end = text.iter().position(is_blank).unwrap_or(text.len());
    let rest = text[end..].iter().position(|byte| !is_blank(byte));
    Some((&text[..end], rest.map_or(&[][..], |at| &text[end + at..])))
}

fn message<'a>(
    buffer: &'a [u8],
    line: &Line,
    limits: &ParseLimits,
    with_headers: bool,
) -> Result<Parsed<RouteOperation<'a>>, ParseError> {
    let arguments = &buffer[line.arguments.clone()];
    let Some((middle, size_text)) = split_last(arguments) else {
        return Err(ParseError::Arguments);
    };
    let total = size(size_text)?;
    let (middle, header_size) = match with_headers {
        false => (middle, 0),
        true => {
            let (middle, text) = split_last(middle).ok_or(ParseError::Arguments)?;
            (middle, size(text)?)
        }
    };
    check_sizes(header_size, total, with_headers, limits)?;
    let (account, rest) = split_first(middle).ok_or(ParseError::Arguments)?;
    let (subject, rest) = split_first(rest).ok_or(ParseError::Arguments)?;
    let (reply, queues) = addressees(rest)?;

    let end = line.next + total;
    if !is_whole(buffer, end)? {
        return Ok(Parsed::Incomplete { needed: end + 2 });
    }
    let operation = RouteOperation::Message(RouteMessage {
        account,
        subject,
        reply,
        queues,
        header_size,
        size_text,
        body: &buffer[line.next..end],
        tail: tail(buffer, line, with_headers, header_size, reply, queues).map(|start| &buffer[start..end + 2]),
    });
    Ok(Parsed::Operation {
        operation,
        consumed: end + 2,
    })
}

/// Reply and queue groups: nothing, `<reply>`, `+ <reply> <queue> …` or `| <queue> …`.
fn addressees(text: &[u8]) -> Result<(Option<&[u8]>, Queues<'_>), ParseError> {
    let Some((first, rest)) = split_first(text) else {
        return Ok((None, Queues::default()));
    };
    match first {
        // One word is a reply, also `+`: clients may choose it.
        reply if rest.is_empty() => Ok((Some(reply), Queues::default())),
        b"+" => {
            let (reply, queues) = split_first(rest).ok_or(ParseError::Arguments)?;
            Ok((Some(reply), Queues(queues)))
        }
        b"|" => Ok((None, Queues(rest))),
        _ => Err(ParseError::Arguments),
    }
}

/// Where the part begins that a client's frame can take over as it is.
fn tail(
    buffer: &[u8],
    line: &Line,
    with_headers: bool,
    header_size: usize,
    reply: Option<&[u8]>,
    queues: Queues<'_>,
) -> Option<usize> {
    if !line.plain_end || !queues.is_empty() || with_headers != (header_size > 0) {
        return None;
    }
    let arguments = &buffer[line.arguments.clone()];
    // Account, subject, the reply if there is one, one or two sizes; nothing but single blanks between them.
    let count = 3 + usize::from(reply.is_some()) + usize::from(with_headers);
    let mut blanks = memchr::memchr3_iter(b' ', b'\t', b'\r', arguments);
    let second = { blanks.by_ref() }.nth(1)?;
    let is_plain = blanks.count() == count - 3
        && !arguments.contains(&b'\t')
        && !arguments.contains(&b'\r')
        && arguments.split(|byte| *byte == b' ').all(|word| !word.is_empty());
    is_plain.then_some(line.arguments.start + second + 1)
}

/// Appends `RS+ <account> <subject>[ <queue> <weight>]␍␊`.
pub fn write_interest(out: &mut Vec<u8>, account: &[u8], subject: &[u8], queue: Option<(&[u8], u32)>) {
    out.extend_from_slice(b"RS+ ");
    write_two(out, account, subject);
    if let Some((queue, weight)) = queue {
        out.push(b' ');
        write_two(out, queue, itoa::Buffer::new().format(weight).as_bytes());
    }
    out.extend_from_slice(LINE_END);
}

/// Appends `RS- <account> <subject>[ <queue>]␍␊`: without the weight the same bytes as [`write_interest`].
pub fn write_no_interest(out: &mut Vec<u8>, account: &[u8], subject: &[u8], queue: Option<&[u8]>) {
    out.extend_from_slice(b"RS- ");
    write_two(out, account, subject);
    if let Some(queue) = queue {
        out.push(b' ');
        out.extend_from_slice(queue);
    }
    out.extend_from_slice(LINE_END);
}

fn write_two(out: &mut Vec<u8>, first: &[u8], second: &[u8]) {
    out.extend_from_slice(first);
    out.push(b' ');
    out.extend_from_slice(second);
}

/// Appends `RMSG <account> <subject> `, or `HMSG …` for a message with headers.
pub fn write_route_message_prefix(out: &mut Vec<u8>, account: &[u8], subject: &[u8], with_headers: bool) {
    out.extend_from_slice(if with_headers { b"HMSG " } else { b"RMSG " });
    write_two(out, account, subject);
    out.push(b' ');
}

/// Appends `[<reply> ][<header size> ]<size>␍␊`, or with queue groups `+ <reply> <queue> … ` or `| <queue> … ` before the sizes:
/// what follows [`write_route_message_prefix`]. The body and [`LINE_END`] follow. `header_size` is `None` for RMSG.
pub fn write_route_message_rest<'q>(
    out: &mut Vec<u8>,
    reply: Option<&[u8]>,
    queues: impl Iterator<Item = &'q [u8]>,
    header_size: Option<usize>,
    total_size: usize,
) {
    let mut queues = queues.peekable();
    let has_queues = queues.peek().is_some();
    if has_queues {
        out.extend_from_slice(if reply.is_some() { b"+ " } else { b"| " });
    }
    if let Some(reply) = reply {
        out.extend_from_slice(reply);
        out.push(b' ');
    }
    for queue in queues {
        out.extend_from_slice(queue);
        out.push(b' ');
    }
    if let Some(header_size) = header_size {
        write_number(out, header_size as u64);
        out.push(b' ');
    }
    write_number(out, total_size as u64);
    out.extend_from_slice(LINE_END);
}
