//! Both directions of a socket, a client's or another server's, with or without TLS between bytes and socket.
//!
//! Writing must work from any thread that delivers to the client, and never waits; reading belongs to the connection's
//! task. With TLS the two share its state behind one lock, taken once per batch.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use rustls::{Connection, SupportedCipherSuite};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::suites::suite_name;
use crate::limits::{TLS_PLAINTEXT_BYTES, TLS_READ_BYTES};
use crate::lock::lock;

/// What monitoring shows about TLS (core specification §6.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsDetails {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// Cipher suite, by the name that files have.
    pub cipher_suite: String,
    /// Whether the handshake came before INFO.
    pub first: bool,
    /// Subject of the client's certificate, if it presented one.
    pub peer_subject: Option<String>,
}

impl TlsDetails {
    pub(crate) fn new(connection: &Connection, first: bool, peer_subject: Option<String>) -> Self {
        Self {
            version: match connection.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
                Some(_) | None => "1.3",
            },
            cipher_suite: connection
                .negotiated_cipher_suite()
                .map(|suite: SupportedCipherSuite| suite_name(suite))
                .unwrap_or_default(),
            first,
            peer_subject,
        }
    }
}

/// The reading side.
pub(crate) enum Incoming {
    Plain(OwnedReadHalf),
    Tls(TlsIncoming),
}

pub(crate) struct TlsIncoming {
    socket: OwnedReadHalf,
    tls: Arc<Mutex<Connection>>,
    /// Bytes from the socket that TLS has no room for yet; nearly always empty.
    unread: Vec<u8>,
    /// There may be more to read without the socket becoming readable.
    more: bool,
}

/// The writing side.
pub(crate) enum Outgoing {
    Plain(OwnedWriteHalf),
    Tls(TlsOutgoing),
}

pub(crate) struct TlsOutgoing {
    socket: OwnedWriteHalf,
    tls: Arc<Mutex<Connection>>,
}

/// Both sides of a socket without TLS.
pub(crate) fn plain(stream: TcpStream) -> (Incoming, Outgoing) {
    let (reader, writer) = stream.into_split();
    (Incoming::Plain(reader), Outgoing::Plain(writer))
}

/// Both sides of a socket after a handshake with another server, and what was agreed.
pub(crate) fn shaken(
    (stream, session): (TcpStream, impl Into<Connection>),
) -> (Incoming, Outgoing, Option<TlsDetails>) {
    let session = session.into();
    let details = TlsDetails::new(&session, false, None);
    let (incoming, outgoing) = secured(stream, session);
    (incoming, outgoing, Some(details))
}

/// Both sides of a socket after a handshake.
pub(crate) fn secured(stream: TcpStream, connection: Connection) -> (Incoming, Outgoing) {
    let (reader, writer) = stream.into_split();
    let tls = Arc::new(Mutex::new(connection));
    let incoming = TlsIncoming {
        socket: reader,
        tls: Arc::clone(&tls),
        unread: Vec::new(),
        // What the client sent right behind its handshake is in there already.
        more: true,
    };
    (
        Incoming::Tls(incoming),
        Outgoing::Tls(TlsOutgoing { socket: writer, tls }),
    )
}

impl Incoming {
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket.as_ref(),
            Self::Tls(incoming) => incoming.socket.as_ref(),
        }
    }

    /// Whether a read is worth trying.
    pub(crate) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls(incoming) if incoming.more => Poll::Ready(Ok(())),
            Self::Plain(_) | Self::Tls(_) => self.socket().poll_read_ready(context),
        }
    }

    /// Reads what the client sent; nothing read is the end.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>, space: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => std::pin::Pin::new(socket).poll_read(context, space),
            Self::Tls(incoming) => incoming.poll_read(context, space),
        }
    }
}

impl TlsIncoming {
    fn poll_read(&mut self, context: &mut Context<'_>, space: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut tls = lock(&self.tls);
        loop {
            match tls.reader().read(space.initialize_unfilled()) {
                Ok(count) => {
                    space.advance(count);
                    self.more = true;
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The peer left without saying so in TLS: an end like any other.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
            if !self.unread.is_empty() {
                let mut rest = self.unread.as_slice();
                let fed = feed(&mut tls, &mut rest);
                let taken = self.unread.len() - rest.len();
                self.unread.drain(..taken);
                self.answer(&mut tls, fed)?;
                if self.unread.is_empty() {
                    self.unread = Vec::new();
                }
                continue;
            }
            let mut received = [0; TLS_READ_BYTES];
            match self.socket.try_read(&mut received) {
                Ok(0) => {
                    // Tells TLS about the end; the reader above then says which kind of end it is.
                    tls.read_tls(&mut io::empty())?;
                }
                Ok(count) => {
                    let mut rest = &received[..count];
                    let fed = feed(&mut tls, &mut rest);
                    self.unread.extend_from_slice(rest);
                    self.answer(&mut tls, fed)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.socket.as_ref().poll_read_ready(context) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => {
                            self.more = false;
                            return Poll::Pending;
                        }
                    }
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Sends what TLS itself has to say, an alert for instance. What the socket does not take leaves with the next write.
    fn answer(&self, tls: &mut Connection, fed: io::Result<()>) -> io::Result<()> {
        if tls.wants_write() {
            let _ = flush(tls, self.socket.as_ref());
        }
        fed
    }
}

/// Decrypts bytes from the front of `rest`, until they are used up or enough is decrypted to be read first.
fn feed(tls: &mut Connection, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        if tls.read_tls(rest)? == 0 {
            // After the peer's goodbye nothing counts.
            *rest = &[];
        }
        let state = tls
            .process_new_packets()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if state.plaintext_bytes_to_read() > TLS_PLAINTEXT_BYTES {
            break;
        }
    }
    Ok(())
}

impl Outgoing {
    /// Hands bytes to the socket, or to TLS in front of it, and returns how many; never 0 for a living connection.
    pub(crate) fn try_write(&self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match (self, pieces) {
            (Self::Plain(socket), [piece]) => socket.try_write(piece),
            (Self::Plain(socket), pieces) => socket.try_write_vectored(pieces),
            (Self::Tls(outgoing), pieces) => {
                let mut tls = lock(&outgoing.tls);
                flush(&mut tls, outgoing.socket.as_ref())?;
                let count = tls.writer().write_vectored(pieces)?;
                match flush(&mut tls, outgoing.socket.as_ref()) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                    Ok(()) | Err(_) => Ok(count),
                }
            }
        }
    }

    /// Whether all that was accepted is with the socket; `WouldBlock` when it is not.
    pub(crate) fn try_flush(&self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(outgoing) => flush(&mut lock(&outgoing.tls), outgoing.socket.as_ref()),
        }
    }

    /// Whether a write that took less than offered means that the socket is full.
    pub(crate) fn short_means_full(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(_) => false,
        }
    }
}

impl Drop for TlsOutgoing {
    /// Says goodbye as far as the socket takes it; whoever reads an end without it must suspect a cut.
    fn drop(&mut self) {
        let mut tls = lock(&self.tls);
        tls.send_close_notify();
        let _ = flush(&mut tls, self.socket.as_ref());
    }
}

fn flush(tls: &mut Connection, socket: &TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        if tls.write_tls(&mut Unblocked(socket))? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// A socket that says `WouldBlock` instead of waiting.
struct Unblocked<'a>(&'a TcpStream);

impl Write for Unblocked<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.try_write(data)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
