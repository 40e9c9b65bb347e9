//! Who is let in, who is not, and what strangers can do.

use std::time::Duration;

use crate::trial::{Node, PATIENCE, belonging, introduce, options, secret};
use bytes::Bytes;
use seaway_replica::{Class, Identity};
use seaway_transport::{
    Answer, Belonging, Event, HEAD_BYTES, Head, Hello, JoinAnswer, JoinRequest, MAGIC, Message, Party, Purpose,
    Question, Security, State, Tls, Unanswered, limits,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

/// Both sides are told why they are not connected, and neither lets the other in.
async fn both_refuse(mut a: Node, mut b: Node, words: &str) {
    introduce(&[&a, &b]);
    for node in [&mut a, &mut b] {
        let (who, said) = node.refused().await;
        assert!(said.contains(words), "{who}: {said}");
    }
    for node in [a, b] {
        assert!(node.transport.statistics().iter().all(|peer| peer.session.is_none()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_secret_is_refused_in_words_on_both_sides() {
    let (a, b) = (
        Node::member("a", 1, secret("one")).await,
        Node::member("b", 2, secret("two")).await,
    );
    both_refuse(a, b, "secrets of both sides differ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_on_one_side_is_refused_in_words_on_both() {
    let (a, b) = (
        Node::member("a", 1, secret("one")).await,
        Node::member("b", 2, Security::default()).await,
    );
    both_refuse(a, b, "shared secret").await;
    let (a, b) = (
        Node::member("a", 1, Security::default()).await,
        Node::member("b", 2, secret("one")).await,
    );
    both_refuse(a, b, "shared secret").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_is_refused_in_words_on_both_sides() {
    let mut other = options("b", secret("s"));
    other.cluster_id = "another".to_owned();
    let b = Node::start(other).await.enter(2, belonging());
    both_refuse(Node::member("a", 1, secret("s")).await, b, "of the cluster").await;
    let elsewhere = Belonging::founding(Identity([9; 16]));
    let b = Node::start(options("b", secret("s"))).await.enter(2, elsewhere);
    both_refuse(Node::member("a", 1, secret("s")).await, b, "identity").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_member_and_one_with_another_id_are_no_peers() {
    let mut a = Node::member("a", 1, secret("s")).await;
    let mut b = Node::start(options("b", secret("s"))).await;
    b.id = 2;
    a.transport.set_members(&[b.address()]);
    let (_, words) = a.refused().await;
    assert!(words.contains("no member of a cluster yet"), "{words}");
    let mut c = Node::member("c", 3, secret("s")).await;
    c.id = 4;
    a.transport.set_members(&[c.address()]);
    let (_, words) = a.refused().await;
    assert!(words.contains("and not 0000000000000004"), "{words}");
}

/// argo-events #1026: an address that turns out to be one's own.
#[tokio::test(flavor = "multi_thread")]
async fn oneself_is_no_peer() {
    let mut a = Node::member("a", 1, secret("s")).await;
    let own = a.transport.address().to_string();
    assert_eq!(
        a.transport.ask(&own, &Question::Standing).await.unwrap_err(),
        Unanswered::Oneself
    );
    a.id = 2;
    a.transport.set_members(&[a.address()]);
    let (_, words) = a.refused().await;
    assert!(words.contains("the same server"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_directory_is_found_out() {
    let mut a = Node::member("a", 1, Security::default()).await;
    let mut stream = TcpStream::connect(a.transport.address()).await.unwrap();
    stream
        .write_all(&hello(Purpose::Control, party(1, "x"), 1).written())
        .await
        .unwrap();
    assert!(matches!(hear(&mut stream).await, Message::Challenge(_)));
    stream.write_all(&Message::Proof([0; 32]).written()).await.unwrap();
    assert!(matches!(hear(&mut stream).await, Message::Refusal(words) if words.contains("was copied")));
    assert!(a.refused().await.1.contains("was copied"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_member_may_ask() {
    let (a, b) = (
        Node::member("a", 1, secret("s")).await,
        Node::start(options("b", secret("s"))).await,
    );
    let address = a.transport.address().to_string();
    let (party, answer) = b.transport.ask(&address, &Question::Standing).await.unwrap();
    assert_eq!((party.id, party.name.as_str()), (1, "a"));
    assert!(matches!(answer, Answer::Standing(standing) if standing.state == State::Empty));
    let request = JoinRequest {
        id: 5,
        name: "bb".to_owned(),
        address: "h:1".to_owned(),
    };
    let (_, answer) = b.transport.ask(&address, &Question::Join(request)).await.unwrap();
    assert_eq!(answer, Answer::Join(JoinAnswer::NotNow("b as bb".to_owned())));
    let wrong = Node::start(options("c", secret("t"))).await;
    let refused = wrong.transport.ask(&address, &Question::Standing).await.unwrap_err();
    assert!(
        refused.to_string().contains("secrets of both sides differ"),
        "{refused}"
    );
}

fn party(id: u64, name: &str) -> Party {
    Party {
        id,
        boot: 77,
        belonging: belonging(),
        cluster_id: "trial".to_owned(),
        name: name.to_owned(),
    }
}

fn hello(purpose: Purpose, from: Party, session: u64) -> Message {
    Message::Hello(Hello {
        purpose,
        has_secret: false,
        group: 0,
        from,
        to: 1,
        session,
        nonce: [1; 32],
    })
}

async fn hear(stream: &mut TcpStream) -> Message {
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head).await.unwrap();
    let head = Head::read(&head).unwrap();
    let mut body = vec![0; head.length];
    stream.read_exact(&mut body).await.unwrap();
    Message::read(&head, &body).unwrap()
}

/// A member's handshake by hand, without a secret.
async fn dialled(node: &Node, purpose: Purpose, session: u64) -> (TcpStream, u64) {
    let mut stream = TcpStream::connect(node.transport.address()).await.unwrap();
    stream
        .write_all(&hello(purpose, party(9, "x"), session).written())
        .await
        .unwrap();
    assert!(matches!(hear(&mut stream).await, Message::Challenge(_)));
    stream.write_all(&Message::Proof([0; 32]).written()).await.unwrap();
    match hear(&mut stream).await {
        Message::Welcome(welcome) => (stream, welcome.session),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_is_refused_in_words() {
    let mut a = Node::member("a", 1, secret("s")).await;
    let mut stream = TcpStream::connect(a.transport.address()).await.unwrap();
    let mut bytes = hello(Purpose::Control, party(9, "x"), 0).written();
    bytes[MAGIC.len()] = 2;
    stream.write_all(&bytes).await.unwrap();
    let Message::Refusal(words) = hear(&mut stream).await else {
        panic!()
    };
    assert!(
        words.contains("speaks version 1") && words.contains("the other version 2"),
        "{words}"
    );
    assert!(a.refused().await.1.contains("version"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_sends_what_no_member_sends_is_cut_off() {
    let mut a = Node::member("a", 1, Security::default()).await;
    let heads: [(Purpose, [u8; 8]); 5] = [
        (Purpose::Control, [1, 0, 1, 0, 1, 0, 0, 0]),
        (Purpose::Control, [0, 0, 0, 0, 99, 0, 0, 0]),
        (Purpose::Bulk, [255, 255, 255, 255, 1, 0, 0, 0]),
        (Purpose::Bulk, [8, 0, 0, 0, 2, 0, 0, 0]),
        (Purpose::Snapshot, [0, 0, 0, 0, 1, 0, 0, 0]),
    ];
    for (purpose, head) in heads {
        let (control, session) = dialled(&a, Purpose::Control, 0).await;
        let (bulk, _) = dialled(&a, Purpose::Bulk, session).await;
        let (snapshot, _) = dialled(&a, Purpose::Snapshot, session).await;
        assert_eq!(a.connected(9).await, session);
        let mut set = [control, bulk, snapshot];
        let place = Purpose::SET.iter().position(|of| *of == purpose).unwrap();
        set[place].write_all(&head).await.unwrap();
        let (lost, why) = a.lost(9).await;
        assert_eq!(lost, session);
        assert!(why.contains("not possible"), "{why}");
        for mut stream in set {
            let mut rest = Vec::new();
            let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_for_a_session_that_is_not_set_up_is_refused() {
    let mut a = Node::member("a", 1, Security::default()).await;
    let mut stream = TcpStream::connect(a.transport.address()).await.unwrap();
    stream
        .write_all(&hello(Purpose::Bulk, party(9, "x"), 5).written())
        .await
        .unwrap();
    assert!(matches!(hear(&mut stream).await, Message::Challenge(_)));
    stream.write_all(&Message::Proof([0; 32]).written()).await.unwrap();
    assert!(matches!(hear(&mut stream).await, Message::Refusal(words) if words.contains("no session 5")));
    a.refused().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_slowness_of_strangers_end_by_themselves() {
    let mut quick = options("a", secret("s"));
    quick.timing.handshake = Duration::from_millis(100);
    let a = Node::start(quick).await.enter(1, belonging());
    let whole = hello(Purpose::Control, party(9, "x"), 0).written();
    let mut too_long = whole.clone();
    too_long[HEAD_BYTES - 1] = 255;
    let texts: [&[u8]; 6] = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x16; 600],
        &whole[..20],
        &whole[..HEAD_BYTES],
        &too_long,
    ];
    for text in texts {
        let mut stream = TcpStream::connect(a.transport.address()).await.unwrap();
        stream.write_all(text).await.unwrap();
        let mut rest = Vec::new();
        // It is closed, in whatever way, and says nothing but why.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest))
            .await
            .expect("it is kept");
        assert!(rest.is_empty(), "{rest:?}");
    }
    assert!(a.transport.statistics().is_empty());
}

/// Whoever floods from one address pushes out its own connections: members still come in.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_strangers_keeps_no_member_out() {
    let mut a = Node::member("a", 1, secret("s")).await;
    let mut b = Node::member("b", 2, secret("s")).await;
    let address = b.transport.address();
    let mut kept = Vec::new();
    for _ in 0..4 * limits::STRANGERS_MAX {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        kept.push(socket.connect(address).await.unwrap());
    }
    introduce(&[&a, &b]);
    a.connected(2).await;
    b.connected(1).await;
    // All but its share were closed by the other side.
    let deadline = Instant::now() + PATIENCE;
    let mut open = kept.len();
    while open > limits::STRANGERS_OF_ONE_SOURCE_MAX {
        assert!(Instant::now() < deadline, "{open} are kept");
        tokio::time::sleep(Duration::from_millis(2)).await;
        let is_open = |stream: &TcpStream| matches!(stream.try_read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        open = kept.iter().filter(|stream| is_open(stream)).count();
    }
}

/// What an authority makes of certificates: its own, and those of members.
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            issuer: rcgen::Issuer::new(params, key),
            certificate,
        }
    }

    /// A member's certificate, read from files as a server's are.
    fn tls(&self, names: &[&str], verified: Option<&str>) -> Tls {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = rcgen::CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &self.issuer)
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let (cert, key) = (file("cert", certificate.pem()), file("key", key.serialize_pem()));
        Tls::from_files(&cert, &key, &file("ca", self.certificate.pem()), verified).unwrap()
    }

    fn security(&self, names: &[&str], verified: Option<&str>, text: Option<&str>) -> Security {
        Security {
            tls: Some(self.tls(names, verified)),
            secret: text.and_then(|text| secret(text).secret),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_with_certificates_of_one_authority_are_connected() {
    let authority = Authority::new();
    for text in [None, Some("s")] {
        let mut a = Node::member("a", 1, authority.security(&["127.0.0.1"], None, text)).await;
        let mut b = Node::member("b", 2, authority.security(&["127.0.0.1"], None, text)).await;
        introduce(&[&a, &b]);
        a.connected(2).await;
        b.connected(1).await;
        let large = Bytes::from(vec![5; 3 << 20]);
        a.transport
            .send(2, Class::Bulk, vec![large.clone(), Bytes::from_static(b"end")])
            .unwrap();
        assert_eq!(b.frame(1).await.2, [&large[..], b"end"].concat());
        b.transport
            .send(1, Class::Control, vec![Bytes::from_static(b"answer")])
            .unwrap();
        assert_eq!(&a.frame(2).await.2[..], b"answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_looked_at_on_both_sides() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mut a = Node::member("a", 1, authority.security(&["127.0.0.1"], None, None)).await;
    let mut b = Node::member("b", 2, other.security(&["127.0.0.1"], None, None)).await;
    introduce(&[&a, &b]);
    assert!(a.refused().await.1.contains("TLS"));
    assert!(b.refused().await.1.contains("TLS"));
    // The right authority and the wrong name.
    let c = Node::member("c", 3, authority.security(&["elsewhere"], None, None)).await;
    a.transport.set_members(&[c.address()]);
    assert!(a.refused().await.1.contains("TLS"));
    let one_name = || authority.security(&["members.example"], Some("members.example"), None);
    let (mut d, e) = (
        Node::member("d", 4, one_name()).await,
        Node::member("e", 5, one_name()).await,
    );
    introduce(&[&d, &e]);
    d.connected(5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_no_tls_is_told_so() {
    let authority = Authority::new();
    let mut a = Node::member("a", 1, Security::default()).await;
    let b = Node::member("b", 2, authority.security(&["127.0.0.1"], None, None)).await;
    introduce(&[&a, &b]);
    let (_, words) = a.refused().await;
    assert!(words.contains("speaks TLS"), "{words}");
    // And the other way round.
    let mut c = Node::member("c", 1, authority.security(&["127.0.0.1"], None, None)).await;
    let mut d = Node::member("d", 2, Security::default()).await;
    introduce(&[&c, &d]);
    assert!(c.refused().await.1.contains("TLS"));
    d.refused().await;
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let error = Tls::from_files(&empty, &empty, &empty, None).unwrap_err().to_string();
    assert!(
        error.contains("cluster_tls_cert") && error.contains("empty.pem"),
        "{error}"
    );
    assert!(Security::default().warning().unwrap().contains("ANYBODY"));
    assert_eq!(secret("s").warning(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_party_it_is_told_once_a_minute() {
    let mut a = Node::member("a", 1, secret("s")).await;
    for _ in 0..20 {
        let mut stream = TcpStream::connect(a.transport.address()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    a.refused().await;
    let b = Node::member("b", 2, secret("s")).await;
    introduce(&[&a, &b]);
    let mut told = 0;
    a.until(|event| match event {
        Event::Connected { .. } => Some(()),
        Event::Refused { .. } => {
            told += 1;
            None
        }
        _ => None,
    })
    .await;
    assert_eq!(told, 0);
}
