//! One connection, from the dialling to the server's answer that it takes this client.

use std::io::ErrorKind;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use rustls::ClientConfig;
use seaway_config::{ExternalNats, ExternalTls};
use seaway_nats_protocol::limits::{MAX_PAYLOAD_DEFAULT, SERVER_LINE_MAX};
use seaway_nats_protocol::write::{PING, PONG, write_connect};
use seaway_nats_protocol::{ClientConnect, ParseLimits, Parsed, ServerInfo, ServerOperation, parse_server_operation};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::login::Login;
use super::servers::Target;
use super::tls;
use crate::limits::EXTERNAL_CONNECT_PATIENCE;

/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Bytes that are read at once before messages come.
const READ_BYTES: usize = 4096;

/// How connections are made.
pub(super) struct Dialler {
    name: String,
    login: Login,
    tls: ExternalTls,
    config: Arc<ClientConfig>,
}

/// A socket, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A server that has taken this client.
pub(super) struct Connected {
    pub(super) stream: Box<dyn Stream>,
    pub(super) info: ServerInfo,
    /// The server as people know it, without credentials.
    pub(super) url: String,
    /// What came behind its answer.
    pub(super) rest: Vec<u8>,
}

/// Connects to the first address of a name that answers; each has its time.
async fn connect(host: &str, port: u16) -> Result<TcpStream> {
    let Ok(addresses) = timeout(EXTERNAL_CONNECT_PATIENCE, lookup_host((host, port))).await else {
        bail!("its name is not resolved in time");
    };
    let mut why = anyhow!("its name has no address");
    for address in addresses.map_err(|error| anyhow!("{error}"))?.take(ADDRESSES_MAX) {
        match timeout(EXTERNAL_CONNECT_PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = anyhow!("{error}"),
            Err(_) => why = anyhow!("no connection in time"),
        }
    }
    Err(why)
}

impl Dialler {
    /// Reads the files that the options name.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub(super) fn new(options: &ExternalNats, name: &str) -> Result<Dialler> {
        Ok(Dialler {
            name: name.to_owned(),
            login: Login::new(options)?,
            tls: options.tls.clone(),
            config: tls::config(&options.tls)?,
        })
    }

    /// Connects to a server.
    ///
    /// # Errors
    /// Why it is not to be had, in words without secrets.
    pub(super) async fn dial(&self, target: &Target) -> Result<Connected> {
        let host = dialled(&target.url.host);
        let stream = connect(host, target.url.port).await?;
        // A connection without it is slower, and no worse.
        let _ = stream.set_nodelay(true);
        match timeout(EXTERNAL_CONNECT_PATIENCE, self.introduce(stream, target)).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("it does not answer in time"),
        }
    }

    /// From INFO to the first PONG.
    async fn introduce(&self, stream: TcpStream, target: &Target) -> Result<Connected> {
        let mut talk = Talk::new(Box::new(stream));
        let info = talk.info().await?;
        let is_wanted = self.tls.is_wanted || target.url.tls;
        if is_wanted && !(info.tls_required || info.tls_available) {
            bail!("secure connection not available: the server has no TLS, which is asked for");
        }
        let is_secure = is_wanted || info.tls_required;
        if is_secure {
            talk = self.secure(talk, target).await?;
        }
        let presented = self.login.present_in_time(&target.url.login, &info.nonce).await?;
        let connect = ClientConnect {
            verbose: false,
            pedantic: false,
            echo: false,
            headers: info.headers,
            no_responders: info.headers,
            tls_required: is_secure,
            protocol: 1,
            name: &self.name,
            lang: "rust",
            version: seaway_config::SEAWAY_VERSION,
            user: presented.user.as_deref(),
            pass: presented.password.as_ref().map(|secret| secret.expose()),
            auth_token: presented.token.as_ref().map(|secret| secret.expose()),
            nkey: presented.nkey.as_deref(),
            jwt: presented.jwt.as_ref().map(|secret| secret.expose()),
            sig: presented.signature.as_deref(),
        };
        let mut say = Vec::new();
        write_connect(&mut say, &connect);
        say.extend_from_slice(PING);
        talk.stream.write_all(&say).await.context("say CONNECT")?;
        say.fill(0);
        let info = talk.accepted(info).await?;
        Ok(Connected {
            stream: talk.stream,
            info,
            url: target.url.shown(),
            rest: talk.buffer,
        })
    }

    async fn secure(&self, talk: Talk, target: &Target) -> Result<Talk> {
        if !talk.buffer.is_empty() {
            bail!("it sends in the open before the TLS handshake");
        }
        let given = self.tls.server_name.as_deref().or(target.certified_as.as_deref());
        let name = tls::name(given.unwrap_or(dialled(&target.url.host)))?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(name, talk.stream).await;
        let stream = stream.map_err(|error| anyhow!("TLS handshake: {error}"))?;
        Ok(Talk::new(Box::new(stream)))
    }
}

/// A server on all addresses is reached on this machine (§11).
fn dialled(host: &str) -> &str {
    match host {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    }
}

/// What is said before messages come.
struct Talk {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

/// An operation that matters here.
enum Said {
    Info(Box<ServerInfo>),
    Pong,
    Ping,
    Error(String),
    Other,
}

impl Talk {
    fn new(stream: Box<dyn Stream>) -> Talk {
        Talk {
            stream,
            buffer: Vec::new(),
        }
    }

    async fn next(&mut self) -> Result<Said> {
        let limits = ParseLimits {
            max_control_line: SERVER_LINE_MAX,
            max_payload: MAX_PAYLOAD_DEFAULT,
            headers: true,
        };
        loop {
            let parsed = parse_server_operation(&self.buffer, &limits);
            match parsed.map_err(|error| anyhow!("it does not speak NATS: {error}"))? {
                Parsed::Operation { operation, consumed } => {
                    let said = match operation {
                        ServerOperation::Info(json) => Said::Info(Box::new(read_info(json)?)),
                        ServerOperation::Pong => Said::Pong,
                        ServerOperation::Ping => Said::Ping,
                        ServerOperation::Error(text) => Said::Error(String::from_utf8_lossy(text).into_owned()),
                        ServerOperation::Ok | ServerOperation::Message(_) => Said::Other,
                    };
                    self.buffer.drain(..consumed);
                    return Ok(said);
                }
                Parsed::Incomplete { .. } => {
                    self.buffer.reserve(READ_BYTES);
                    match self.stream.read_buf(&mut self.buffer).await {
                        Ok(0) => bail!("it closes the connection without a word"),
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::ConnectionReset => bail!("it closes the connection"),
                        Err(error) => bail!("{error}"),
                    }
                }
            }
        }
    }

    async fn info(&mut self) -> Result<ServerInfo> {
        match self.next().await? {
            Said::Info(info) => Ok(*info),
            Said::Error(text) => bail!("{text}"),
            Said::Pong | Said::Ping | Said::Other => bail!("it does not introduce itself: it is no NATS server"),
        }
    }

    /// Waits for the answer to the first PING; what the server says of itself meanwhile wins.
    async fn accepted(&mut self, mut info: ServerInfo) -> Result<ServerInfo> {
        loop {
            match self.next().await? {
                Said::Pong => return Ok(info),
                Said::Info(newer) => info = *newer,
                Said::Ping => self.stream.write_all(PONG).await?,
                Said::Error(text) => bail!("{text}"),
                Said::Other => {}
            }
        }
    }
}

/// Reads the JSON of INFO.
pub(super) fn read_info(json: &[u8]) -> Result<ServerInfo> {
    serde_json::from_slice(json).map_err(|error| anyhow!("its INFO is not understood (at byte {})", error.column()))
}
