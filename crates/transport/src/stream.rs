//! A connection between members, with or without TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::security::Tls;

/// What TLS derives for both sides of one session, and for nobody else.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-seaway-members";

/// A connection between members.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The connections of a set, in the order of `Purpose::SET`.
pub(crate) type Set = [Stream; 3];

impl Stream {
    /// Speaks TLS as the side that dialled.
    pub(crate) async fn dialled(tcp: TcpStream, tls: Option<&Tls>, address: &str) -> Result<Self, String> {
        let Some(tls) = tls else {
            return Ok(Self::Plain(tcp));
        };
        let name = tls.name_at(address)?;
        let connected = TlsConnector::from(tls.client.clone()).connect(name, tcp).await;
        let stream = connected.map_err(|error| format!("TLS with {address} failed: {error}"))?;
        Ok(Self::Tls(Box::new(stream.into())))
    }

    /// Speaks TLS as the side that was dialled.
    pub(crate) async fn accepted(tcp: TcpStream, tls: Option<&Tls>) -> Result<Self, String> {
        let Some(tls) = tls else {
            return Ok(Self::Plain(tcp));
        };
        let accepted = TlsAcceptor::from(tls.server.clone()).accept(tcp).await;
        let stream = accepted.map_err(|error| format!("TLS failed: {error}"))?;
        Ok(Self::Tls(Box::new(stream.into())))
    }

    /// What stands for the TLS session, so that a proof of the secret holds in no other; zero without TLS.
    pub(crate) fn binding(&self) -> Result<[u8; 32], String> {
        let unbound = |error: rustls::Error| format!("TLS gives no binding: {error}");
        match self {
            Self::Plain(_) => Ok([0; 32]),
            Self::Tls(stream) => match stream.as_ref() {
                TlsStream::Client(stream) => stream.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, None),
                TlsStream::Server(stream) => stream.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, None),
            }
            .map_err(unbound),
        }
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// What was written and not confirmed for so long ends the connection, whatever the system would wait for.
    pub(crate) fn set_stall(&self, stall: Duration) {
        #[cfg(target_os = "linux")]
        // Where it is refused, our own watch over writes and pings remains.
        let _ = socket2::SockRef::from(self.tcp()).set_tcp_user_timeout(Some(stall));
        #[cfg(not(target_os = "linux"))]
        let _ = (self.tcp(), stall);
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
