//! §9.8: TLS.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use seaway_broker::{
    BrokerOptions, CloseReason, ConnectionFilter, ConnectionState, HandshakeFirst, RouteAddress, Secret, Tls,
    TlsOptions,
};

use crate::routes::Member;
use crate::support::{Client, PATIENCE, Server, access, user};

/// An authority with certificates in a directory of its own.
struct Pki {
    directory: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Drop for Pki {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Pki {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("seaway-conformance-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let pki = Self { directory, authority };
        fs::write(pki.path("ca"), pki.authority.pem()).unwrap();
        pki.issue("server", &["localhost", "127.0.0.1"]);
        pki
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.pem"))
    }

    /// Writes `name.pem` and `name-key.pem`.
    fn issue(&self, name: &str, names: &[&str]) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.authority).unwrap();
        fs::write(self.path(name), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}-key")), key.serialize_pem()).unwrap();
    }

    fn options(&self) -> TlsOptions {
        TlsOptions {
            cert_file: self.path("server"),
            key_file: self.path("server-key"),
            ca_file: Some(self.path("ca")),
            ..TlsOptions::default()
        }
    }

    fn server(&self, change: impl FnOnce(&mut TlsOptions), more: impl FnOnce(&mut BrokerOptions)) -> Server {
        let mut options = self.options();
        change(&mut options);
        Server::with(|broker| {
            broker.tls = Some(Tls::load(&options).unwrap());
            more(broker);
        })
    }

    /// What a client trusts, and the certificate it shows.
    fn client_config(&self, certificate: Option<&str>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match certificate {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let read = |path: &Path| CertificateDer::from_pem_file(path).unwrap();
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}-key"))).unwrap();
                builder
                    .with_client_auth_cert(vec![read(&self.path(name))], key)
                    .unwrap()
            }
        })
    }

    /// Connects, reads INFO in clear and shakes hands.
    fn connect(&self, server: &Server, certificate: Option<&str>) -> TlsClient {
        let mut socket = dial(server);
        let info = read_info(&mut socket);
        let mut client = TlsClient::new(socket, &self.client_config(certificate));
        client.info = info;
        client
    }
}

fn dial(server: &Server) -> TcpStream {
    let socket = TcpStream::connect(server.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// One line, byte by byte: what follows belongs to TLS.
fn read_info(stream: &mut impl Read) -> serde_json::Value {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    let text = String::from_utf8(line).unwrap();
    serde_json::from_str(text.strip_prefix("INFO ").unwrap().trim()).unwrap()
}

struct TlsClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
    info: serde_json::Value,
}

impl TlsClient {
    fn new(socket: TcpStream, config: &Arc<ClientConfig>) -> Self {
        let connection = ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
        Self {
            stream: StreamOwned::new(connection, socket),
            info: serde_json::Value::Null,
        }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self.stream.flush().unwrap();
    }

    #[track_caller]
    fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let mut actual = vec![0; expected.as_ref().len()];
        self.stream.read_exact(&mut actual).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&actual),
            String::from_utf8_lossy(expected.as_ref())
        );
    }

    #[track_caller]
    fn flush(&mut self, bytes: impl AsRef<[u8]>) {
        self.send(bytes);
        self.send("PING\r\n");
        self.expect("PONG\r\n");
    }

    /// Nothing more comes, and the end comes as TLS wants it.
    #[track_caller]
    fn expect_closed(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// The server does not let it in: at the latest when something is read.
    #[track_caller]
    fn expect_no_session(&mut self) {
        let _ = self.stream.write_all(b"CONNECT {}\r\nPING\r\n");
        let mut rest = Vec::new();
        let ended = self.stream.read_to_end(&mut rest);
        assert!(
            matches!(&ended, Ok(0)) || ended.is_err_and(|error| error.kind() != ErrorKind::WouldBlock),
            "let in: {:?}",
            String::from_utf8_lossy(&rest)
        );
        assert!(rest.is_empty());
    }
}

const QUIET: &str = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";

#[test]
fn line_107_upgrade_after_info() {
    let pki = Pki::new();
    let server = pki.server(|_| {}, |_| {});
    let mut client = pki.connect(&server, None);
    assert_eq!(client.info["tls_required"], true);
    assert!(client.info.get("tls_verify").is_none() && client.info.get("tls_available").is_none());
    client.flush(QUIET);
    client.flush("SUB foo 1\r\n");
    client.send("PUB foo 5\r\nhello\r\n");
    client.expect("MSG foo 1 5\r\nhello\r\n");

    let shown = &server.broker.connections(&ConnectionFilter::default())[0];
    let tls = shown.tls.as_ref().unwrap();
    assert_eq!((tls.version, tls.first), ("1.3", false));
    assert!(tls.cipher_suite.starts_with("TLS_"), "{}", tls.cipher_suite);
    let tls = server.broker.snapshot().tls.unwrap();
    assert!(tls.required && !tls.verify && tls.timeout == Duration::from_secs(2));
    assert_eq!(server.broker.snapshot().auth_timeout, Duration::from_secs(3));
    // Shutting down says goodbye.
    server.runtime.block_on(server.broker.shutdown());
    client.expect_closed();
}

#[test]
fn line_107_much_data_in_both_directions() {
    let pki = Pki::new();
    let server = pki.server(|_| {}, |_| {});
    let (mut subscriber, mut publisher) = (pki.connect(&server, None), pki.connect(&server, None));
    subscriber.flush(QUIET);
    subscriber.flush("SUB foo 1\r\n");
    publisher.flush(QUIET);
    let payload: Vec<u8> = (0..1_000_000u32).map(|number| ((number * 31) >> 3) as u8).collect();
    let frame = [b"PUB foo 1000000\r\n", payload.as_slice(), b"\r\n"].concat();
    // The subscriber reads nothing until all of it waits: sockets and TLS fill up, and nothing is lost.
    for _ in 0..30 {
        publisher.send(&frame);
    }
    for number in 0..1000 {
        publisher.send(format!("PUB foo 4\r\n{number:04}\r\n"));
    }
    publisher.flush("");
    let expected = [b"MSG foo 1 1000000\r\n", payload.as_slice(), b"\r\n"].concat();
    for _ in 0..30 {
        let mut actual = vec![0; expected.len()];
        subscriber.stream.read_exact(&mut actual).unwrap();
        assert!(actual == expected);
    }
    for number in 0..1000 {
        subscriber.expect(format!("MSG foo 1 4\r\n{number:04}\r\n"));
    }
    subscriber.flush("");
    // And a batch of small ones in one write.
    let all: String = (0..20_000)
        .map(|number| format!("PUB foo 5\r\n{number:05}\r\n"))
        .collect();
    let writer = std::thread::spawn(move || {
        publisher.flush(all);
    });
    for number in 0..20_000 {
        subscriber.expect(format!("MSG foo 1 5\r\n{number:05}\r\n"));
    }
    writer.join().unwrap();
}

#[test]
fn line_108_plaintext_where_tls_is_required() {
    let pki = Pki::new();
    let server = pki.server(|_| {}, |_| {});
    let mut socket = dial(&server);
    read_info(&mut socket);
    socket.write_all(b"CONNECT {}\r\nPING\r\n").unwrap();
    let mut rest = Vec::new();
    // An alert of TLS may come, nothing of the protocol.
    let _ = socket.read_to_end(&mut rest);
    let text = String::from_utf8_lossy(&rest);
    assert!(
        !text.contains("PONG") && !text.contains("OK") && !text.contains("ERR"),
        "{text:?}"
    );
    server.wait_until("it is gone", |broker| broker.snapshot().connections == 0);
    let closed = ConnectionFilter {
        state: ConnectionState::Closed,
        ..ConnectionFilter::default()
    };
    let closed = server.broker.connections(&closed);
    assert_eq!(closed[0].ended.unwrap().1, CloseReason::TlsHandshakeFailure);
}

#[test]
fn line_109_client_certificates() {
    let pki = Pki::new();
    pki.issue("client", &["client.example"]);
    let stranger = Pki::new();
    stranger.issue("client", &["client.example"]);
    let server = pki.server(|tls| tls.verify = true, |_| {});
    let mut known = pki.connect(&server, Some("client"));
    assert_eq!(known.info["tls_verify"], true);
    known.flush(QUIET);
    pki.connect(&server, None).expect_no_session();
    let mut socket = dial(&server);
    read_info(&mut socket);
    let mut roots = RootCertStore::empty();
    roots.add(pki.authority.der().clone()).unwrap();
    let chain = vec![CertificateDer::from_pem_file(stranger.path("client")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(stranger.path("client-key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    TlsClient::new(socket, &Arc::new(config)).expect_no_session();
    known.flush("");
}

#[test]
fn line_110_the_certificate_names_the_user() {
    let pki = Pki::new();
    pki.issue("client", &["who.example"]);
    pki.issue("nobody", &["nobody.example"]);
    let server = pki.server(
        |tls| tls.verify_and_map = true,
        |options| options.access = access(|it| it.users = vec![user("who.example", ""), user("other", "po")]),
    );
    let mut client = pki.connect(&server, Some("client"));
    client.flush(QUIET);
    let shown = &server.broker.connections(&ConnectionFilter::default())[0];
    assert_eq!(shown.authorized_user.as_deref(), Some("who.example"));
    let subject = shown.tls.as_ref().unwrap().peer_subject.as_deref();
    assert!(
        subject.is_some_and(|subject| subject.contains("CN=client")),
        "{subject:?}"
    );
    let mut nobody = pki.connect(&server, Some("nobody"));
    nobody.send("CONNECT {\"user\":\"other\",\"pass\":\"po\"}\r\n");
    nobody.expect("-ERR 'Authorization Violation'\r\n");
    nobody.expect_closed();
}

#[test]
fn line_111_handshake_before_info() {
    let pki = Pki::new();
    let server = pki.server(|tls| tls.handshake_first = HandshakeFirst::Yes, |_| {});
    let socket = dial(&server);
    let mut client = TlsClient::new(socket, &pki.client_config(None));
    client.info = read_info(&mut client.stream);
    assert_eq!(client.info["tls_required"], true);
    client.flush(QUIET);
    let shown = &server.broker.connections(&ConnectionFilter::default())[0];
    assert!(shown.tls.as_ref().unwrap().first);
}

#[test]
fn line_111_a_client_that_waits_for_info_waits_in_vain() {
    let pki = Pki::new();
    let quick = |tls: &mut TlsOptions| {
        tls.handshake_first = HandshakeFirst::Yes;
        tls.timeout = Some(Duration::from_millis(100));
    };
    let server = pki.server(quick, |_| {});
    let mut rest = Vec::new();
    dial(&server).read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    server.wait_until("it is gone", |broker| broker.snapshot().connections == 0);
}

#[test]
fn line_112_handshake_before_info_for_some_time() {
    let pki = Pki::new();
    let wait = Duration::from_millis(300);
    let server = pki.server(|tls| tls.handshake_first = HandshakeFirst::For(wait), |_| {});
    let mut first = TlsClient::new(dial(&server), &pki.client_config(None));
    first.info = read_info(&mut first.stream);
    first.flush(QUIET);
    let begun = Instant::now();
    let mut classical = pki.connect(&server, None);
    assert!(begun.elapsed() >= wait);
    classical.flush(QUIET);
}

#[test]
fn line_113_with_and_without_tls() {
    let pki = Pki::new();
    let server = pki.server(|tls| tls.allow_plain = true, |_| {});
    let mut secured = pki.connect(&server, None);
    assert_eq!(secured.info["tls_available"], true);
    assert!(secured.info.get("tls_required").is_none());
    secured.flush(QUIET);
    secured.flush("SUB foo 1\r\n");
    let mut plain = server.quiet();
    plain.flush("PUB foo 2\r\nok\r\n");
    secured.expect("MSG foo 1 2\r\nok\r\n");
}

#[test]
fn section_3_7_pinned_keys() {
    let pki = Pki::new();
    pki.issue("client", &["a.example"]);
    pki.issue("other", &["b.example"]);
    let key = KeyPair::from_pem(&fs::read_to_string(pki.path("client-key")).unwrap()).unwrap();
    let info = rcgen::PublicKeyData::subject_public_key_info(&key);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &info);
    let pin: String = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    let server = pki.server(
        |tls| {
            tls.verify = true;
            tls.pinned_certs = vec![pin];
        },
        |_| {},
    );
    pki.connect(&server, Some("client")).flush(QUIET);
    pki.connect(&server, Some("other")).expect_no_session();
}

#[test]
fn section_3_7_only_1_3_and_chosen_suites() {
    let pki = Pki::new();
    let old = |pki: &Pki| {
        let mut roots = RootCertStore::empty();
        roots.add(pki.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Arc::new(
            ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&[&rustls::version::TLS12])
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth(),
        )
    };
    let connect = |server: &Server| {
        let mut socket = dial(server);
        read_info(&mut socket);
        TlsClient::new(socket, &old(&pki))
    };
    let chosen = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    let server = pki.server(|tls| tls.cipher_suites = vec![chosen.to_owned()], |_| {});
    let mut client = connect(&server);
    client.flush(QUIET);
    let shown = &server.broker.connections(&ConnectionFilter::default())[0];
    let tls = shown.tls.as_ref().unwrap();
    assert_eq!((tls.version, tls.cipher_suite.as_str()), ("1.2", chosen));
    let server = pki.server(|tls| tls.only_1_3 = true, |_| {});
    connect(&server).expect_no_session();
}

#[test]
fn credentials_count_inside_tls() {
    let pki = Pki::new();
    let server = pki.server(
        |_| {},
        |options| options.access = access(|it| it.token = Some(Secret::new("t"))),
    );
    let mut client = pki.connect(&server, None);
    assert_eq!(client.info["auth_required"], true);
    // Words at the end arrive, and so does the goodbye of TLS.
    client.send("PING\r\n");
    client.expect("-ERR 'Authorization Violation'\r\n");
    client.expect_closed();
    pki.connect(&server, None)
        .flush("CONNECT {\"verbose\":false,\"auth_token\":\"t\"}\r\n");
}

#[test]
fn section_5_8_new_certificates_are_for_new_connections() {
    let pki = Pki::new();
    let server = pki.server(|_| {}, |_| {});
    let mut old = pki.connect(&server, None);
    old.flush(QUIET);
    let shown = |client: &TlsClient| client.stream.conn.peer_certificates().unwrap()[0].clone();
    let before = shown(&old);
    pki.issue("server", &["localhost"]);
    server.broker.reload(&BrokerOptions {
        tls: Some(Tls::load(&pki.options()).unwrap()),
        ..server.broker.options().clone()
    });
    let mut new = pki.connect(&server, None);
    new.flush(QUIET);
    assert_ne!(shown(&new), before);
    old.flush("");
    server.broker.reload(&BrokerOptions {
        tls: None,
        ..server.broker.options().clone()
    });
    server.quiet();
    old.flush("");
}

#[test]
fn too_many_connections_are_told_so_in_clear() {
    let pki = Pki::new();
    let server = pki.server(|_| {}, |options| options.max_connections = 1);
    let mut first = pki.connect(&server, None);
    first.flush(QUIET);
    let mut socket = dial(&server);
    read_info(&mut socket);
    let mut rest = String::new();
    socket.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "-ERR 'maximum connections exceeded'\r\n");
    drop(first);
    server.wait_until("it is gone", |broker| broker.snapshot().connections == 0);
    pki.connect(&server, None).flush(QUIET);
}

#[test]
fn garbage_instead_of_tls_ends_that_connection_only() {
    let pki = Pki::new();
    let server = pki.server(|_| {}, |_| {});
    let mut good = pki.connect(&server, None);
    good.flush(QUIET);
    // Garbage in the middle of a session, below TLS.
    let mut broken = pki.connect(&server, None);
    broken.flush(QUIET);
    broken.stream.sock.write_all(&[0x17, 3, 3, 0, 40]).unwrap();
    broken.stream.sock.write_all(&[7; 40]).unwrap();
    let mut rest = Vec::new();
    let _ = broken.stream.sock.read_to_end(&mut rest);
    server.wait_until("it is gone", |broker| broker.snapshot().connections == 1);
    good.flush("");
}

/// TLS of a server in a cluster.
pub fn between_servers() -> Option<Tls> {
    let pki = Pki::new();
    let options = TlsOptions {
        verify: true,
        ..pki.options()
    };
    Some(Tls::load(&options).unwrap())
}

/// §4.2, §4.4: TLS between servers comes behind INFO, and both sides show a certificate.
#[test]
fn routes_with_tls_verify_both_sides() {
    let (pki, other_pki) = (Pki::new(), Pki::new());
    let tls = |pki: &Pki| {
        let options = TlsOptions {
            verify: true,
            ..pki.options()
        };
        Some(Tls::load(&options).unwrap())
    };
    let towards = |member: &Member| RouteAddress {
        host: "localhost".into(),
        port: member.routes.port(),
        credentials: None,
    };
    let first = Member::start(|cluster| cluster.tls = tls(&pki));
    let second = Member::start(|cluster| {
        cluster.tls = tls(&pki);
        cluster.routes = vec![towards(&first)];
    });
    let mut client = first.server.quiet();
    client.flush("SUB foo 1\r\n");
    let knows = |broker: &seaway_broker::Broker| broker.routes().iter().any(|route| route.connection.subscriptions > 0);
    second.server.wait_until("interest is known", knows);
    let mut publisher = second.server.quiet();
    publisher.flush("PUB foo 2\r\nok\r\n");
    assert_eq!(client.message().3, b"ok");
    let large = "x".repeat(300_000);
    for _ in 0..20 {
        publisher.send(format!("PUB foo {}\r\n{large}\r\n", large.len()));
    }
    for _ in 0..20 {
        assert_eq!(client.message().3.len(), large.len());
    }
    let routes = second.server.broker.routes();
    assert_eq!(routes[0].connection.tls.as_ref().unwrap().version, "1.3");

    // Without TLS, and with certificates of another authority, nobody comes in or is gone to.
    let plain = Member::start(|cluster| cluster.routes = vec![towards(&first)]);
    let stranger = Member::start(|cluster| {
        cluster.tls = tls(&other_pki);
        cluster.routes = vec![towards(&first)];
    });
    let downgraded = Member::start(|cluster| {
        cluster.tls = tls(&pki);
        cluster.routes = vec![towards(&plain)];
    });
    for member in [&plain, &stranger, &downgraded] {
        let tried = member.server.broker.cluster_formed(PATIENCE);
        member.server.runtime.block_on(tried);
        assert!(member.server.broker.routes().is_empty());
    }
    assert_eq!(first.server.broker.routes().len(), 1);
    // What comes before the handshake in the open is no route either.
    let mut open = Client::dial(first.routes);
    assert!(open.line().contains("\"tls_required\":true"));
    open.send("CONNECT {\"cluster\":\"mesh\"}\r\nINFO {\"server_id\":\"NA\"}\r\n");
    open.expect_gone();
    assert_eq!(first.server.broker.routes().len(), 1);
}
