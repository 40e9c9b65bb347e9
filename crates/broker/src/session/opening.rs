//! From accept to INFO: who speaks first, and whether TLS comes between (core specification §1.1, §3.7).

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use crate::settings::Settings;
use crate::tls::{HandshakeFirst, Incoming, Outgoing, Tls, TlsDetails, names, plain, public_key_digest, secured};

/// First byte of a TLS handshake; no operation of the protocol begins with it.
const HANDSHAKE: u8 = 0x16;

/// A socket that is ready for operations.
pub(super) struct Opened {
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
    pub(super) info_sent: bool,
    pub(super) tls: Option<TlsDetails>,
    /// Names of the client's certificate when they say which user it is.
    pub(super) names: Option<Vec<String>>,
}

impl Opened {
    /// Without TLS, for whatever reason.
    pub(super) fn plain(stream: TcpStream, info_sent: bool) -> Self {
        let (incoming, outgoing) = plain(stream);
        Self {
            incoming,
            outgoing,
            info_sent,
            tls: None,
            names: None,
        }
    }
}

/// Sends INFO and shakes hands as the settings say. INFO is left to the caller where it belongs behind TLS, and where
/// there is no TLS.
pub(super) async fn open(settings: &Settings, mut stream: TcpStream, info: &[u8]) -> io::Result<Opened> {
    let Some(tls) = &settings.tls else {
        return Ok(Opened::plain(stream, false));
    };
    let first = match tls.options().handshake_first {
        HandshakeFirst::Yes => true,
        HandshakeFirst::No => false,
        HandshakeFirst::For(patience) => begins_handshake(&stream, patience).await,
    };
    if !first {
        within(tls.timeout(), stream.write_all(info)).await?;
        if tls.options().allow_plain && !begins_handshake(&stream, tls.timeout()).await {
            return Ok(Opened::plain(stream, true));
        }
    }
    shake_hands(tls, stream, first).await
}

/// Whether the client's first byte, within this time, is that of a handshake. The byte stays unread.
async fn begins_handshake(stream: &TcpStream, patience: Duration) -> bool {
    let mut byte = [0];
    let peeked = timeout(patience, stream.peek(&mut byte)).await;
    matches!(peeked, Ok(Ok(1))) && byte == [HANDSHAKE]
}

async fn within<T>(patience: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout_at(Instant::now() + patience, work).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "TLS handshake timeout")),
    }
}

async fn shake_hands(tls: &Tls, stream: TcpStream, first: bool) -> io::Result<Opened> {
    let acceptor = TlsAcceptor::from(tls.clients());
    let stream = within(tls.timeout(), acceptor.accept(stream)).await?;
    let (stream, connection) = stream.into_inner();
    let certificate = connection.peer_certificates().and_then(<[_]>::first).cloned();
    let certificate = certificate.as_ref();
    let pins = &tls.options().pinned_certs;
    if !pins.is_empty() {
        let digest = certificate.and_then(public_key_digest);
        if !digest.is_some_and(|digest| pins.contains(&digest)) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the certificate is not among the pinned ones",
            ));
        }
    }
    let names = certificate.map(names);
    let subject = names.as_ref().and_then(|names| names.last().cloned());
    let connection = rustls::Connection::from(connection);
    let details = TlsDetails::new(&connection, first, subject);
    let (incoming, outgoing) = secured(stream, connection);
    Ok(Opened {
        incoming,
        outgoing,
        info_sent: !first,
        tls: Some(details),
        names: tls.options().verify_and_map.then(|| names.unwrap_or_default()),
    })
}
