//! A blocking connection that speaks the core protocol (`nats-core.md` §1): one thread, one socket, explicit buffers.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// What a read asks the socket for at once.
const READ_BYTES: usize = 256 * 1024;

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

enum Parsed<'a> {
    Incomplete,
    Message(MessageView<'a>, usize),
    Other(Frame, usize),
}

/// A connection.
pub struct Connection {
    socket: TcpStream,
    input: Vec<u8>,
    start: usize,
    end: usize,
    output: Vec<u8>,
    next_sid: u64,
    /// The JSON of the first INFO.
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
        let mut connection = Connection::open_silent(address)?;
        let connect = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"lang\":\"raw\",\"version\":\"1\",\"protocol\":1,\
             \"headers\":true,\"no_responders\":true,{more}}}\r\n"
        );
        connection.send(connect.as_bytes());
        connection.ping(Duration::from_secs(10))?;
        Ok(connection)
    }

    /// Connects and reads INFO, and says nothing.
    ///
    /// # Errors
    /// Anything the socket says; a server that speaks something else.
    pub fn open_silent(address: impl ToSocketAddrs) -> io::Result<Connection> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let mut connection = Connection {
            socket,
            input: vec![0; READ_BYTES],
            start: 0,
            end: 0,
            output: Vec::new(),
            next_sid: 0,
            info: Vec::new(),
        };
        match connection.next_frame(Duration::from_secs(10))? {
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
    /// Anything the socket says.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.socket.write_all(&self.output)?;
            self.output.clear();
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

    /// The next frame, answering the server's PINGs on the way.
    ///
    /// # Errors
    /// `TimedOut`, `UnexpectedEof` when the server closed, or anything the socket says.
    pub fn next_frame(&mut self, timeout: Duration) -> io::Result<Frame> {
        self.flush()?;
        let deadline = Instant::now() + timeout;
        loop {
            let (frame, used) = match parse(&self.input[self.start..self.end])? {
                Parsed::Incomplete => {
                    self.fill(deadline)?;
                    continue;
                }
                Parsed::Message(view, used) => (
                    Frame::Message {
                        subject: view.subject.to_vec(),
                        sid: view.sid,
                        reply: view.reply.to_vec(),
                        header_bytes: view.header_bytes,
                        payload: view.payload.to_vec(),
                    },
                    used,
                ),
                Parsed::Other(frame, used) => (frame, used),
            };
            self.start += used;
            if frame == Frame::Ping {
                self.socket.write_all(b"PONG\r\n")?;
                continue;
            }
            return Ok(frame);
        }
    }

    /// Waits until something arrives and hands every complete message to `each`, without copying; `each` may append to
    /// the output it is given.
    ///
    /// # Errors
    /// `TimedOut`, an `-ERR` of the server, or anything the socket says.
    pub fn pump(&mut self, timeout: Duration, mut each: impl FnMut(MessageView<'_>, &mut Vec<u8>)) -> io::Result<()> {
        self.flush()?;
        self.fill(Instant::now() + timeout)?;
        loop {
            let used = match parse(&self.input[self.start..self.end])? {
                Parsed::Incomplete => break,
                Parsed::Message(view, used) => {
                    each(view, &mut self.output);
                    used
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

    fn fill(&mut self, deadline: Instant) -> io::Result<()> {
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
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
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

fn parse(input: &[u8]) -> io::Result<Parsed<'_>> {
    let Some(end) = memchr::memchr(b'\n', input) else {
        return Ok(Parsed::Incomplete);
    };
    let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
    let used = end + 1;
    let other = |frame| Ok(Parsed::Other(frame, used));
    match line {
        b"PING" => return other(Frame::Ping),
        b"PONG" => return other(Frame::Pong),
        b"+OK" => return other(Frame::Ok),
        _ => {}
    }
    if let Some(text) = line.strip_prefix(b"-ERR ") {
        return other(Frame::Error(
            String::from_utf8_lossy(text).trim_matches('\'').to_owned(),
        ));
    }
    if let Some(json) = line.strip_prefix(b"INFO ") {
        return other(Frame::Info(json.to_vec()));
    }
    let invalid = || {
        io::Error::new(
            ErrorKind::InvalidData,
            format!("not understood: {:?}", String::from_utf8_lossy(line)),
        )
    };
    let mut tokens = line.split(|byte| *byte == b' ').filter(|token| !token.is_empty());
    let headers = match tokens.next() {
        Some(b"MSG") => false,
        Some(b"HMSG") => true,
        _ => return Err(invalid()),
    };
    let mut arguments = [&[][..]; 5];
    let mut count = 0;
    for token in tokens {
        *arguments.get_mut(count).ok_or_else(invalid)? = token;
        count += 1;
    }
    let sizes = if headers { 2 } else { 1 };
    let has_reply = count == 3 + sizes;
    if !has_reply && count != 2 + sizes {
        return Err(invalid());
    }
    let total = number(arguments[count - 1]).ok_or_else(invalid)?;
    let header_bytes = if headers {
        number(arguments[count - 2]).ok_or_else(invalid)?
    } else {
        0
    };
    let total = usize::try_from(total).map_err(|_| invalid())?;
    if input.len() < used + total + 2 {
        return Ok(Parsed::Incomplete);
    }
    let view = MessageView {
        subject: arguments[0],
        sid: number(arguments[1]).ok_or_else(invalid)?,
        reply: if has_reply { arguments[2] } else { &[] },
        payload: &input[used..used + total],
        header_bytes: usize::try_from(header_bytes).map_err(|_| invalid())?,
    };
    Ok(Parsed::Message(view, used + total + 2))
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
