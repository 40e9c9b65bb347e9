//! The system log, here or on another machine, in the format of RFC 3164.
//!
//! A daemon that was restarted is connected to again with the next line. Whoever calls may be held up by a daemon that
//! does not read; that is the log's writer and nobody else.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use seaway_nats_protocol::harmless::escaped;

use super::line::{Label, Line};
use crate::limits::SYSTEM_LOG_TEXT_BYTES_MAX;

/// Where daemons of this machine listen.
const LOCAL_SOCKETS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];
/// Port of a remote system log that names none.
const PORT: u16 = 514;
/// How long a connection to a remote system log may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// `daemon`, in the place it has in the priority.
const FACILITY: u8 = 3 << 3;
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Which system log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemTarget {
    /// The one of this machine.
    Local,
    /// A datagram socket in the file system.
    Unix(PathBuf),
    /// `host:port`, a datagram per line.
    Udp(String),
    /// `host:port`, a line per line.
    Tcp(String),
}

impl SystemTarget {
    /// From a URL such as `udp://localhost:514`, `tcp://loghost` or `unix:///dev/log`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_url(url: &str) -> Result<SystemTarget, String> {
        let malformed = || format!("invalid URL of a remote system log: {url:?}, should be like udp://localhost:514");
        let (scheme, rest) = url.split_once("://").ok_or_else(malformed)?;
        if scheme == "unix" && rest.starts_with('/') {
            return Ok(SystemTarget::Unix(PathBuf::from(rest)));
        }
        let authority = rest.trim_end_matches('/');
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if authority.is_empty() || authority.contains('/') {
            return Err(malformed());
        }
        let address = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:{PORT}")
        };
        match scheme {
            "udp" => Ok(SystemTarget::Udp(address)),
            "tcp" => Ok(SystemTarget::Tcp(address)),
            _ => Err(malformed()),
        }
    }
}

impl fmt::Display for SystemTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SystemTarget::Local => f.write_str("of this machine"),
            SystemTarget::Unix(path) => write!(f, "at {}", path.display()),
            SystemTarget::Udp(address) => write!(f, "at udp://{address}"),
            SystemTarget::Tcp(address) => write!(f, "at tcp://{address}"),
        }
    }
}

#[derive(Debug)]
enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// A connected system log.
#[derive(Debug)]
pub(super) struct SystemLog {
    target: SystemTarget,
    /// Name of this program in its lines.
    name: String,
    process: u32,
    zone: TimeZone,
    /// Name of this machine; remote logs want it.
    host: Option<String>,
    /// None after a failure.
    socket: Option<Socket>,
    scratch: String,
}

impl SystemLog {
    /// Connects.
    pub(super) fn open(target: SystemTarget, name: String, zone: TimeZone) -> io::Result<SystemLog> {
        let host = match target {
            SystemTarget::Udp(_) | SystemTarget::Tcp(_) => Some(host_name()),
            SystemTarget::Local | SystemTarget::Unix(_) => None,
        };
        let socket = Some(connect(&target)?);
        Ok(SystemLog {
            target,
            name,
            process: std::process::id(),
            zone,
            host,
            socket,
            scratch: String::new(),
        })
    }

    /// Which one it is.
    pub(super) fn target(&self) -> &SystemTarget {
        &self.target
    }

    /// Sends a line; connects again when the other side is gone.
    pub(super) fn send(&mut self, line: &Line) -> io::Result<()> {
        let mut packet = std::mem::take(&mut self.scratch);
        packet.clear();
        self.format(&mut packet, line);
        let sent = match self.send_packet(packet.as_bytes()) {
            Ok(()) => Ok(()),
            Err(_) => connect(&self.target).and_then(|socket| {
                self.socket = Some(socket);
                self.send_packet(packet.as_bytes())
            }),
        };
        self.scratch = packet;
        sent
    }

    fn send_packet(&mut self, packet: &[u8]) -> io::Result<()> {
        let sent = match &mut self.socket {
            None => Err(io::ErrorKind::NotConnected.into()),
            Some(Socket::Unix(socket)) => socket.send(packet).map(drop),
            Some(Socket::Udp(socket)) => socket.send(packet).map(drop),
            Some(Socket::Tcp(socket)) => socket.write_all(packet),
        };
        if sent.is_err() {
            self.socket = None;
        }
        sent
    }

    fn format(&self, packet: &mut String, line: &Line) {
        let time = self.zone.to_datetime(line.at);
        let month = usize::try_from(time.month()).unwrap_or(1).saturating_sub(1);
        // Writing to a string does not fail.
        let _ = write!(
            packet,
            "<{}>{} {:2} {:02}:{:02}:{:02} ",
            FACILITY | severity(line.label),
            MONTHS.get(month).unwrap_or(&MONTHS[0]),
            time.day(),
            time.hour(),
            time.minute(),
            time.second()
        );
        if let Some(host) = &self.host {
            let _ = write!(packet, "{host} ");
        }
        let _ = write!(packet, "{}[{}]: {}", self.name, self.process, line.prefix);
        packet.push_str(&escaped(&line.text));
        let end = (0..=SYSTEM_LOG_TEXT_BYTES_MAX.min(packet.len()))
            .rev()
            .find(|end| packet.is_char_boundary(*end));
        packet.truncate(end.unwrap_or(0));
        packet.push('\n');
    }
}

/// As the original maps its levels.
fn severity(label: Label) -> u8 {
    match label {
        Label::Fatal => 2,
        Label::Error => 3,
        Label::Warning => 4,
        Label::Information => 5,
        Label::Debug | Label::Trace => 7,
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn connect(target: &SystemTarget) -> io::Result<Socket> {
    match target {
        SystemTarget::Local => {
            let mut failure = io::Error::from(io::ErrorKind::NotFound);
            for path in LOCAL_SOCKETS {
                match connect_unix(Path::new(path)) {
                    Ok(socket) => return Ok(socket),
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        }
        SystemTarget::Unix(path) => connect_unix(path),
        SystemTarget::Udp(address) => {
            let remote = resolve(address)?;
            let local = if remote.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(local)?;
            socket.connect(remote)?;
            Ok(Socket::Udp(socket))
        }
        SystemTarget::Tcp(address) => {
            let stream = TcpStream::connect_timeout(&resolve(address)?, CONNECT_TIMEOUT)?;
            Ok(Socket::Tcp(stream))
        }
    }
}

fn resolve(address: &str) -> io::Result<std::net::SocketAddr> {
    let mut addresses = address.to_socket_addrs()?;
    addresses
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, format!("no address for {address}")))
}

fn connect_unix(path: &Path) -> io::Result<Socket> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(Socket::Unix(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_the_way_and_the_place() {
        let table = [
            ("udp://localhost:514", Ok(SystemTarget::Udp("localhost:514".to_owned()))),
            ("udp://loghost", Ok(SystemTarget::Udp("loghost:514".to_owned()))),
            ("tcp://[::1]:601/", Ok(SystemTarget::Tcp("[::1]:601".to_owned()))),
            ("unix:///dev/log", Ok(SystemTarget::Unix(PathBuf::from("/dev/log")))),
            ("localhost:514", Err(())),
            ("http://localhost", Err(())),
            ("udp://", Err(())),
        ];
        for (url, expected) in table {
            assert_eq!(SystemTarget::from_url(url).map_err(|_| ()), expected, "{url}");
        }
    }

    #[test]
    fn a_daemon_gets_priority_time_name_and_text_also_after_its_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let listen = || {
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket
        };
        let receive = |socket: &UnixDatagram| {
            let mut buffer = vec![0; 64 * 1024];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        let daemon = listen();
        let mut log = SystemLog::open(SystemTarget::Unix(path.clone()), "name".to_owned(), TimeZone::UTC).unwrap();
        let line = |label, text: &str| Line {
            at: jiff::Timestamp::new(1_699_000_000, 0).unwrap(),
            label,
            prefix: "STREAM: ",
            text: text.to_owned(),
        };
        log.send(&line(Label::Error, "a\nb")).unwrap();
        let process = std::process::id();
        assert_eq!(
            receive(&daemon),
            format!("<27>Nov  3 08:26:40 name[{process}]: STREAM: a\\nb\n")
        );
        log.send(&line(Label::Information, &"é".repeat(SYSTEM_LOG_TEXT_BYTES_MAX)))
            .unwrap();
        assert!(receive(&daemon).len() <= SYSTEM_LOG_TEXT_BYTES_MAX + 1);
        drop(daemon);
        std::fs::remove_file(&path).unwrap();
        assert!(log.send(&line(Label::Error, "nobody")).is_err());
        let daemon = listen();
        log.send(&line(Label::Warning, "again")).unwrap();
        assert!(receive(&daemon).starts_with("<28>"));
    }
}
