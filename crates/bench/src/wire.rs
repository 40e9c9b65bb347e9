//! A blocking connection that speaks the core protocol (`nats-core.md` §1): one thread, one socket, explicit buffers.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::time::{Duration, Instant};

/// What a read asks the socket for at once.
const READ_BYTES: usize = 256 * 1024;

/// The same for connections that come in thousands.
const SMALL_READ_BYTES: usize = 16 * 1024;

/// How long a connection may take to be set up.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the server may take nothing of what is sent: then it hangs, and so would whoever waits for it.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// One thing the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// `INFO` with its JSON.
    Info(Vec<u8>),
    /// A message; headers are counted in `header_bytes` at the beginning of `payload`.
    Message {
        /// Its subject.
        subject: Vec<u8>,
        /// The subscription it arrived on.
        sid: u64,
        /// Where an answer goes; empty when nobody waits for one.
        reply: Vec<u8>,
        /// Length of the header block.
        header_bytes: usize,
        /// Headers and payload.
        payload: Vec<u8>,
    },
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `+OK`.
    Ok,
    /// `-ERR` with its text, without quotes.
    Error(String),
}

/// Where a message lies in the read buffer.
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    /// Its subject.
    pub subject: &'a [u8],
    /// The subscription it arrived on.
    pub sid: u64,
    /// Where an answer goes.
    pub reply: &'a [u8],
    /// Headers (if any) and payload.
    pub payload: &'a [u8],
    header_bytes: usize,
}

impl MessageView<'_> {
    /// Whether the payload begins with headers.
    pub fn has_headers(&self) -> bool {
        self.header_bytes > 0
    }
}

/// What lies at the beginning of some bytes.
enum Parsed {
    Incomplete,
    Message(Head),
    Other(Frame, usize),
}

/// The line in front of a message, as places in it.
#[derive(Clone, Debug, Default)]
struct Head {
    /// Length of the line with its end.
    line: usize,
    subject: Range<usize>,
    reply: Range<usize>,
    sid: u64,
    header_bytes: usize,
    /// Headers and payload.
    total: usize,
}

impl Head {
    /// Length of the whole message.
    fn used(&self) -> usize {
        self.line + self.total + 2
    }

    fn view<'a>(&self, input: &'a [u8]) -> MessageView<'a> {
        MessageView {
            subject: &input[self.subject.clone()],
            sid: self.sid,
            reply: &input[self.reply.clone()],
            payload: &input[self.line..self.line + self.total],
            header_bytes: self.header_bytes,
        }
    }
}

/// The line of the latest message: the next one often has the same, and then needs no parsing.
#[derive(Default)]
struct Latest {
    line: Vec<u8>,
    head: Head,
}

impl Latest {
    fn parse(&mut self, input: &[u8]) -> io::Result<Parsed> {
        if !self.line.is_empty() && input.starts_with(&self.line) {
            return Ok(if input.len() < self.head.used() {
                Parsed::Incomplete
            } else {
                Parsed::Message(self.head.clone())
            });
        }
        let parsed = parse(input)?;
        if let Parsed::Message(head) = &parsed {
            self.line.clear();
            self.line.extend_from_slice(&input[..head.line]);
            self.head = head.clone();
        }
        Ok(parsed)
    }
}

/// A connection.
pub struct Connection {
    socket: TcpStream,
    input: Vec<u8>,
    start: usize,
    end: usize,
    output: Vec<u8>,
    next_sid: u64,
    latest: Latest,
    /// The read timeout the socket has now.
    timeout: Duration,
    /// The JSON of the latest INFO.
    pub info: Vec<u8>,
}

impl Connection {
    /// Connects, reads INFO, sends CONNECT with `no_responders`, and waits for the first PONG.
    ///
    /// # Errors
    /// Anything the socket says; a server that speaks something else.
    pub fn open(address: impl ToSocketAddrs) -> io::Result<Connection> {
        Connection::open_with(address, "\"echo\":true")
    }

    /// The same with more in CONNECT: members of its JSON, such as `"user":"u","pass":"p"`.
    ///
    /// # Errors
    /// As for [`Connection::open`]; credentials that are refused among them.
    pub fn open_with(address: impl ToSocketAddrs, more: &str) -> io::Result<Connection> {
        Connection::open_silent(address)?.introduced(more)
    }

    /// The same with a small read buffer, for connections that come in thousands.
    ///
    /// # Errors
    /// As for [`Connection::open`].
    pub fn open_small(address: impl ToSocketAddrs) -> io::Result<Connection> {
        Connection::connect(address, SMALL_READ_BYTES)?.introduced("\"echo\":true")
    }

    /// Sends CONNECT with these members of its JSON, and waits for the first PONG.
    fn introduced(mut self, more: &str) -> io::Result<Connection> {
        let connect = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"lang\":\"raw\",\"version\":\"1\",\"protocol\":1,\
             \"headers\":true,\"no_responders\":true,{more}}}\r\n"
        );
        self.send(connect.as_bytes());
        self.ping(OPEN_TIMEOUT)?;
        Ok(self)
    }

    /// Connects and reads INFO, and says nothing.
    ///
    /// # Errors
    /// Anything the socket says; a server that speaks something else.
    pub fn open_silent(address: impl ToSocketAddrs) -> io::Result<Connection> {
        Connection::connect(address, READ_BYTES)
    }

    fn connect(address: impl ToSocketAddrs, read_bytes: usize) -> io::Result<Connection> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        let mut connection = Connection {
            socket,
            input: vec![0; read_bytes],
            start: 0,
            end: 0,
            output: Vec::new(),
            next_sid: 0,
            latest: Latest::default(),
            timeout: Duration::ZERO,
            info: Vec::new(),
        };
        match connection.next_frame(OPEN_TIMEOUT)? {
            Frame::Info(json) => connection.info = json,
            other => {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    format!("expected INFO, got {other:?}"),
                ));
            }
        }
        Ok(connection)
    }

    /// The local end's address.
    ///
    /// # Errors
    /// Anything the socket says.
    pub fn local_address(&self) -> io::Result<std::net::SocketAddr> {
        self.socket.local_addr()
    }

    /// Ends it in both directions, as a process that dies does.
    ///
    /// # Errors
    /// Anything the socket says.
    pub fn cut(&mut self) -> io::Result<()> {
        self.socket.shutdown(std::net::Shutdown::Both)
    }

    /// Queues bytes; [`Connection::flush`] or any wait sends them.
    pub fn send(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// The queue of bytes to be sent, for appending in place.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Queues a SUB and gives its sid.
    pub fn subscribe(&mut self, subject: &str) -> u64 {
        self.next_sid += 1;
        let line = format!("SUB {subject} {}\r\n", self.next_sid);
        self.send(line.as_bytes());
        self.next_sid
    }

    /// The sid of the latest subscription.
    pub fn latest_sid(&self) -> u64 {
        self.next_sid
    }

    /// Queues a SUB in a queue group and gives its sid.
    pub fn subscribe_in_group(&mut self, subject: &str, group: &str) -> u64 {
        self.next_sid += 1;
        let line = format!("SUB {subject} {group} {}\r\n", self.next_sid);
        self.send(line.as_bytes());
        self.next_sid
    }

    /// Queues a PUB; an empty `reply` is left out.
    pub fn publish(&mut self, subject: &str, reply: &str, payload: &[u8]) {
        let line = if reply.is_empty() {
            format!("PUB {subject} {}\r\n", payload.len())
        } else {
            format!("PUB {subject} {reply} {}\r\n", payload.len())
        };
        self.send(line.as_bytes());
        self.send(payload);
        self.send(b"\r\n");
    }

    /// Sends everything queued.
    ///
    /// # Errors
    /// `TimedOut` when the server takes nothing for half a minute, or anything the socket says; the connection is of no use then.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            let sent = self.socket.write_all(&self.output);
            self.output.clear();
            sent.map_err(not_taken)?;
        }
        Ok(())
    }

    /// Sends PING and waits for PONG; messages in between are dropped.
    ///
    /// # Errors
    /// `TimedOut`, an `-ERR` of the server, or anything the socket says.
    pub fn ping(&mut self, timeout: Duration) -> io::Result<()> {
        self.send(b"PING\r\n");
        let deadline = Instant::now() + timeout;
        loop {
            match self.next_frame(deadline.saturating_duration_since(Instant::now()))? {
                Frame::Pong => return Ok(()),
                Frame::Error(text) => return Err(io::Error::other(text)),
                _ => {}
            }
        }
    }

    /// The next frame, answering the server's PINGs on the way. A server says INFO again whenever it likes; some do right after the
    /// first PONG.
    ///
    /// # Errors
    /// `TimedOut`, `UnexpectedEof` when the server closed, or anything the socket says.
    pub fn next_frame(&mut self, timeout: Duration) -> io::Result<Frame> {
        self.flush()?;
        let deadline = Instant::now() + timeout;
        loop {
            let input = &self.input[self.start..self.end];
            let (frame, used) = match parse(input)? {
                Parsed::Incomplete => {
                    self.fill(deadline.saturating_duration_since(Instant::now()))?;
                    continue;
                }
                Parsed::Message(head) => (Frame::from(head.view(input)), head.used()),
                Parsed::Other(frame, used) => (frame, used),
            };
            self.start += used;
            match frame {
                Frame::Ping => self.socket.write_all(b"PONG\r\n").map_err(not_taken)?,
                Frame::Info(json) if !self.info.is_empty() => self.info = json,
                frame => return Ok(frame),
            }
        }
    }

    /// Waits until something arrives and hands every complete message to `each`, without copying; `each` may append to
    /// the output it is given.
    ///
    /// # Errors
    /// `TimedOut`, an `-ERR` of the server, or anything the socket says.
    pub fn pump(&mut self, timeout: Duration, mut each: impl FnMut(MessageView<'_>, &mut Vec<u8>)) -> io::Result<()> {
        self.flush()?;
        self.fill(timeout)?;
        loop {
            let input = &self.input[self.start..self.end];
            let used = match self.latest.parse(input)? {
                Parsed::Incomplete => break,
                Parsed::Message(head) => {
                    each(head.view(input), &mut self.output);
                    head.used()
                }
                Parsed::Other(Frame::Ping, used) => {
                    self.output.extend_from_slice(b"PONG\r\n");
                    used
                }
                Parsed::Other(Frame::Error(text), _) => return Err(io::Error::other(text)),
                Parsed::Other(_, used) => used,
            };
            self.start += used;
        }
        Ok(())
    }

    /// Answers PINGs of the server that have arrived, without waiting; for connections that only send.
    ///
    /// # Errors
    /// An `-ERR` of the server, or anything the socket says.
    pub fn answer_pings(&mut self) -> io::Result<()> {
        self.socket.set_nonblocking(true)?;
        let pumped = self.pump(OPEN_TIMEOUT, |_, _| {});
        self.socket.set_nonblocking(false)?;
        match pumped {
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
            Ok(()) => self.flush(),
            other => other,
        }
    }

    /// Reads once, waiting no longer than this.
    fn fill(&mut self, timeout: Duration) -> io::Result<()> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.start > self.input.len() / 2 {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.input.len() {
            self.input.resize(self.input.len() * 2, 0);
        }
        if timeout.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let timeout = timeout.max(Duration::from_millis(1));
        if timeout != self.timeout {
            self.socket.set_read_timeout(Some(timeout))?;
            self.timeout = timeout;
        }
        match self.socket.read(&mut self.input[self.end..]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.end += count;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
            Err(error) => Err(error),
        }
    }
}

/// Says in words that a send timed out; the system says "would block".
fn not_taken(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            let text = format!(
                "the server took nothing that was sent for {} seconds",
                SEND_TIMEOUT.as_secs()
            );
            io::Error::new(ErrorKind::TimedOut, text)
        }
        _ => error,
    }
}

impl From<MessageView<'_>> for Frame {
    fn from(view: MessageView<'_>) -> Frame {
        Frame::Message {
            subject: view.subject.to_vec(),
            sid: view.sid,
            reply: view.reply.to_vec(),
            header_bytes: view.header_bytes,
            payload: view.payload.to_vec(),
        }
    }
}

fn parse(input: &[u8]) -> io::Result<Parsed> {
    let Some(end) = memchr::memchr(b'\n', input) else {
        return Ok(Parsed::Incomplete);
    };
    let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
    let used = end + 1;
    let other = |frame| Ok(Parsed::Other(frame, used));
    let invalid = || {
        let text = format!("not understood: {:?}", String::from_utf8_lossy(line));
        io::Error::new(ErrorKind::InvalidData, text)
    };
    if line.starts_with(b"MSG ") || line.starts_with(b"HMSG ") {
        let head = parse_head(line, used).ok_or_else(invalid)?;
        return Ok(if input.len() < head.used() {
            Parsed::Incomplete
        } else {
            Parsed::Message(head)
        });
    }
    match line {
        b"PING" => return other(Frame::Ping),
        b"PONG" => return other(Frame::Pong),
        b"+OK" => return other(Frame::Ok),
        _ => {}
    }
    if let Some(text) = line.strip_prefix(b"-ERR ") {
        let text = String::from_utf8_lossy(text);
        return other(Frame::Error(text.trim_matches('\'').to_owned()));
    }
    if let Some(json) = line.strip_prefix(b"INFO ") {
        return other(Frame::Info(json.to_vec()));
    }
    Err(invalid())
}

/// `MSG subject sid [reply] total`, or `HMSG subject sid [reply] headers total`; `used` is the line with its end.
fn parse_head(line: &[u8], used: usize) -> Option<Head> {
    let mut words = [const { 0..0 }; 6];
    let mut count = 0;
    let mut start = 0;
    for end in memchr::memchr_iter(b' ', line).chain(std::iter::once(line.len())) {
        if end > start {
            *words.get_mut(count)? = start..end;
            count += 1;
        }
        start = end + 1;
    }
    let sizes = if line.starts_with(b"H") { 2 } else { 1 };
    let has_reply = count == 4 + sizes;
    if !has_reply && count != 3 + sizes {
        return None;
    }
    let number = |word: usize| number(&line[words[word].clone()]);
    let size = |word: usize| usize::try_from(number(word)?).ok();
    Some(Head {
        line: used,
        subject: words[1].clone(),
        reply: if has_reply { words[3].clone() } else { 0..0 },
        sid: number(2)?,
        header_bytes: if sizes == 2 { size(count - 2)? } else { 0 },
        total: size(count - 1)?,
    })
}

/// A decimal number; nothing else is taken.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(input: &[u8]) -> (Vec<u8>, u64, Vec<u8>, Vec<u8>, usize) {
        let Ok(Parsed::Message(head)) = parse(input) else {
            panic!("no message in {input:?}");
        };
        let view = head.view(input);
        let (subject, reply, payload) = (view.subject.to_vec(), view.reply.to_vec(), view.payload.to_vec());
        (subject, view.sid, reply, payload, head.used())
    }

    #[test]
    fn messages_are_taken_apart() {
        let plain = (b"a.b".to_vec(), 7, Vec::new(), b"xyz".to_vec(), 18);
        assert_eq!(message(b"MSG a.b 7 3\r\nxyz\r\nMSG"), plain);
        let answered = message(b"MSG a 1 reply.to 2\r\nhi\r\n");
        assert_eq!(
            (answered.2.as_slice(), answered.3.as_slice()),
            (&b"reply.to"[..], &b"hi"[..])
        );
        let Ok(Parsed::Message(head)) = parse(b"HMSG a 1 r 4 6\r\nNATSxy\r\n") else {
            panic!("headers are understood");
        };
        assert_eq!((head.header_bytes, head.total), (4, 6));
    }

    #[test]
    fn what_is_not_all_there_waits_and_nonsense_is_refused() {
        assert!(matches!(parse(b"MSG a 1 2\r\nh"), Ok(Parsed::Incomplete)));
        assert!(matches!(parse(b"MSG a"), Ok(Parsed::Incomplete)));
        for nonsense in [
            &b"MSG a 1\r\n"[..],
            b"MSG a x 3\r\n",
            b"MSG a 1 2 3 4 5 6\r\n",
            b"GET / HTTP\r\n",
        ] {
            assert!(parse(nonsense).is_err(), "{nonsense:?}");
        }
        assert_eq!(
            (
                number(b"18446744073709551615"),
                number(b"18446744073709551616"),
                number(b"")
            ),
            (Some(u64::MAX), None, None)
        );
    }

    /// `nats-core.md` §1.4: INFO may come at any time; nats-server 2.12 sends one behind the first PONG.
    #[test]
    fn another_info_is_taken_note_of_and_hides_nothing() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it has an address");
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept()?;
            socket.write_all(b"INFO {}\r\nPONG\r\nINFO {\"connect_info\":true}\r\nMSG a 1 2\r\nhi\r\n")?;
            // Until the other side has read all of it.
            io::copy(&mut socket, &mut io::sink())
        });
        let mut connection = Connection::open(address).expect("it is a server");
        let frame = connection.next_frame(OPEN_TIMEOUT).expect("a message follows");
        assert!(matches!(frame, Frame::Message { payload, .. } if payload == b"hi"));
        assert_eq!(connection.info, b"{\"connect_info\":true}");
        drop(connection);
        assert!(server.join().is_ok());
    }

    #[test]
    fn a_line_like_the_latest_is_recognised() {
        let mut latest = Latest::default();
        let input = b"MSG a 1 2\r\nhi\r\nMSG a 1 2\r\nho\r\nMSG a 1 21\r\n";
        let mut rest = &input[..];
        let mut payloads = Vec::new();
        while let Parsed::Message(head) = latest.parse(rest).expect("well formed") {
            payloads.push(head.view(rest).payload.to_vec());
            rest = &rest[head.used()..];
        }
        assert_eq!(payloads, [b"hi".to_vec(), b"ho".to_vec()]);
        assert_eq!(rest, b"MSG a 1 21\r\n", "a longer number is another line");
    }
}
