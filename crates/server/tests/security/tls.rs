//! TLS for clients and for monitoring (streaming-protocol.md §7.3, §13.8 TLS*; nats-core.md §3.7, §9.8), through the
//! binary. What clients see of TLS in detail is in the broker's own tests.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::{Binary, PATIENCE, Server};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A self-signed certificate for this machine with its key.
struct Certificate {
    directory: tempfile::TempDir,
}

impl Certificate {
    fn new() -> Certificate {
        let directory = tempfile::tempdir().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        fs::write(directory.path().join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(directory.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Certificate { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn flags(&self) -> [String; 4] {
        let path = |name: &str| self.path(name).to_str().unwrap().to_owned();
        ["-tlscert".into(), path("cert.pem"), "-tlskey".into(), path("key.pem")]
    }

    fn secure(&self, socket: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.path("cert.pem")).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        StreamOwned::new(connection, socket)
    }
}

fn dial(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// One line, byte by byte: what follows may belong to TLS.
fn line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// §7.3 `-tls`, `-tlscert`, `-tlskey`; §9.8 lines 107 and 108, with credentials inside.
#[test]
fn clients_over_tls_by_flags() {
    let certificate = Certificate::new();
    let flags = certificate.flags();
    let mut more: Vec<&str> = flags.iter().map(String::as_str).collect();
    more.extend(["-tls", "-user", "u", "-pass", "p"]);
    let server = Server::in_memory(&more);
    assert!(
        server
            .log
            .iter()
            .any(|line| line.contains("TLS required for client connections"))
    );

    let mut plain = dial(&server.address);
    assert!(line(&mut plain).contains("\"tls_required\":true"));
    plain
        .write_all(b"CONNECT {\"user\":\"u\",\"pass\":\"p\"}\r\nPING\r\n")
        .unwrap();
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("PONG"));

    let mut socket = dial(&server.address);
    line(&mut socket);
    let mut client = certificate.secure(socket);
    client
        .write_all(
            b"CONNECT {\"verbose\":false,\"user\":\"u\",\"pass\":\"p\"}\r\nSUB foo 1\r\nPUB foo 2\r\nok\r\nPING\r\n",
        )
        .unwrap();
    assert_eq!(line(&mut client), "MSG foo 1 2\r\n");
    assert_eq!(line(&mut client), "ok\r\n");
    assert_eq!(line(&mut client), "PONG\r\n");
    let (_, connz) = server.get("/connz");
    assert!(
        connz.contains("\"tls_version\": \"1.3\"") && connz.contains("\"tls_cipher_suite\": \"TLS_"),
        "{connz}"
    );
    let (_, varz) = server.get("/varz");
    assert!(
        varz.contains("\"tls_required\": true") && varz.contains("\"auth_timeout\": 3"),
        "{varz}"
    );
}

/// §7.3 `-ms`: monitoring behind the same certificate, without asking for the client's.
#[test]
fn monitoring_over_tls() {
    let certificate = Certificate::new();
    let flags = certificate.flags();
    let ca = certificate.path("cert.pem");
    let mut more: Vec<&str> = flags.iter().map(String::as_str).collect();
    more.extend(["-tlsverify", "-tlscacert", ca.to_str().unwrap(), "-ms", "-1"]);
    let server = Server::in_memory(&more);
    let announced = "Starting https monitor on ";
    let address = server.log.iter().find_map(|line| line.split_once(announced));
    let address = address.expect("the log names the address").1.trim().to_owned();
    let mut client = certificate.secure(dial(&address));
    client
        .write_all(b"GET /varz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    let _ = client.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"tls_verify\": true"), "{answer}");
    let port = address.rsplit_once(':').unwrap().1;
    assert!(answer.contains(&format!("\"https_port\": {port}")), "{answer}");
}

/// A session of the console that began behind TLS counts nowhere else: without TLS others could have read its key.
#[test]
fn a_console_session_made_over_tls_does_not_count_on_the_plain_port() {
    let certificate = Certificate::new();
    let flags = certificate.flags();
    let folder = tempfile::tempdir().unwrap();
    let users = r#"authorization { users = [ { user: ada, password: pw, permissions: { publish: [">", "$SEAWAY.api.*.read.>"] } } ] }"#;
    let mut more: Vec<&str> = flags.iter().map(String::as_str).collect();
    more.extend(["-ms", "-1", "-m", "-1"]);
    let server = Server::configured(folder.path(), users, &more).unwrap_or_else(|log| panic!("not ready: {log:#?}"));
    let listens = |scheme: &str| {
        let announced = format!("Starting {scheme} monitor on ");
        let address = server.log.iter().find_map(|line| line.split_once(&announced));
        address
            .expect("the log names the address")
            .1
            .trim()
            .replace("0.0.0.0", "127.0.0.1")
    };
    let request = |method: &str, cookie: &str, body: &str| {
        format!(
            "{method} /console/session HTTP/1.1\r\nHost: localhost\r\nx-seaway-console: 1\r\nCookie: {cookie}\r\nContent-Length: {}\r\nConnection: \
             close\r\n\r\n{body}",
            body.len()
        )
    };
    let over_tls = |text: &str| {
        let mut client = certificate.secure(dial(&listens("https")));
        client.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = client.read_to_string(&mut answer);
        answer
    };
    let plainly = |text: &str| {
        let mut client = dial(&listens("http"));
        client.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = client.read_to_string(&mut answer);
        answer
    };
    let log_in = request("POST", "", r#"{"user":"ada","password":"pw"}"#);
    let key = |answer: &str| {
        let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        cookie
            .unwrap_or_else(|| panic!("{answer}"))
            .split(';')
            .next()
            .unwrap()
            .to_owned()
    };
    let secure = key(&over_tls(&log_in));
    let of_ada = "\"user\":\"ada\"";
    assert!(over_tls(&request("GET", &secure, "")).contains(of_ada));
    let answer = plainly(&request("GET", &secure, ""));
    assert!(
        answer.starts_with("HTTP/1.1 200") && !answer.contains(of_ada),
        "{answer}"
    );
    let plain = key(&plainly(&log_in));
    assert!(plainly(&request("GET", &plain, "")).contains(of_ada));
    assert!(
        over_tls(&request("GET", &secure, "")).contains(of_ada),
        "the session is still there"
    );
}

fn refused_start(arguments: &[&str], directory: &Path) -> String {
    let (status, stdout, stderr) = crate::support::run(Binary::NatsStreamingServer, arguments, directory);
    assert_eq!(status.code(), Some(1), "{stdout}{stderr}");
    stderr
}

/// §9.8 line 114 and §7.5: a start without what TLS needs fails, and says which file is meant.
#[test]
fn a_start_without_certificates_fails() {
    let certificate = Certificate::new();
    let directory = certificate.directory.path();
    let said = refused_start(&["-p", "-1", "-tls"], directory);
    assert!(
        said.contains("TLS Server certificate must be present and valid"),
        "{said}"
    );
    let key = certificate.path("key.pem");
    let key = key.to_str().unwrap();
    let said = refused_start(&["-p", "-1", "-tlscert", "nowhere.pem", "-tlskey", key], directory);
    assert!(said.contains("nowhere.pem") && said.contains("[FTL]"), "{said}");
    let said = refused_start(&["-p", "-1", "-ms", "-1"], directory);
    assert!(said.contains("https_port needs TLS"), "{said}");
}
