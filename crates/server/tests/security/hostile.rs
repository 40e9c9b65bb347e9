//! Bad input through a socket: clear errors as specified, nothing lost, nothing panics.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{PATIENCE, Server};
use seaway_bench::load::Load;
use seaway_bench::process::resident_bytes;
use seaway_bench::stan::subscription;
use seaway_bench::wire::{Connection, Frame};
use seaway_stan_protocol::Message;
use seaway_stan_protocol::messages::{
    CloseResponse, ConnectRequest, ConnectResponse, PubAck, PubMsg, SubscriptionResponse,
};

const GARBAGE: &[u8] = b"dummy";

/// The next frame that is not an INFO, which may come at any time.
fn next_frame(connection: &mut Connection) -> std::io::Result<Frame> {
    loop {
        match connection.next_frame(PATIENCE)? {
            Frame::Info(_) => {}
            other => return Ok(other),
        }
    }
}

#[test]
fn garbage_on_every_service_subject_gets_its_text() {
    // §13.1 InvalidRequests.
    let server = Server::in_memory(&[]);
    let mut session = server.session("client");
    let answer = session.request("_STAN.discover.test-cluster", GARBAGE).unwrap();
    let error = ConnectResponse::decode(answer.as_slice()).unwrap().error;
    assert_eq!(error, "stan: invalid connection request");
    let answer = session.request("_STAN.sub.test-cluster", GARBAGE).unwrap();
    let error = SubscriptionResponse::decode(answer.as_slice()).unwrap().error;
    assert_eq!(error, "stan: invalid subscription request");
    for subject in ["_STAN.unsub.test-cluster", "_STAN.subclose.test-cluster"] {
        let answer = session.request(subject, GARBAGE).unwrap();
        let error = SubscriptionResponse::decode(answer.as_slice()).unwrap().error;
        assert_eq!(error, "stan: invalid unsubscribe request", "{subject}");
    }
    let answer = session.request("_STAN.close.test-cluster", GARBAGE).unwrap();
    assert_eq!(
        CloseResponse::decode(answer.as_slice()).unwrap().error,
        "stan: invalid close request"
    );
    let answer = session.request("_STAN.pub.test-cluster.foo", GARBAGE).unwrap();
    assert_eq!(
        PubAck::decode(answer.as_slice()).unwrap().error,
        "stan: invalid publish request"
    );
    session.publish("foo", b"still here").unwrap();
}

#[test]
fn random_bytes_on_every_service_subject_leave_the_server_standing() {
    let server = Server::in_memory(&[]);
    let mut session = server.session("client");
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let subjects = [
        "_STAN.discover.test-cluster",
        "_STAN.discover.test-cluster.pings",
        "_STAN.pub.test-cluster.foo",
        "_STAN.sub.test-cluster",
        "_STAN.unsub.test-cluster",
        "_STAN.subclose.test-cluster",
        "_STAN.close.test-cluster",
    ];
    for _ in 0..5_000 {
        let mut bytes: Vec<u8> = (0..random.usize(..64)).map(|_| random.u8(..)).collect();
        if random.bool() && !bytes.is_empty() {
            // Often a plausible beginning.
            bytes[0] = [0x0a, 0x12, 0x1a, 0x22, 0x28, 0x30][random.usize(..6)];
        }
        session
            .connection
            .publish(subjects[random.usize(..subjects.len())], "", &bytes);
    }
    session.connection.ping(PATIENCE).unwrap();
    session.publish("foo", b"still here").unwrap();
}

#[test]
fn invalid_publishes_are_refused_with_their_guid() {
    // §4, §13.1.
    let server = Server::in_memory(&[]);
    let mut session = server.session("client");
    for channel in ["", "foo..bar", ".foo", "foo.", "foo.*", "foo.>", "foo*", "foo/bar"] {
        let message = PubMsg {
            client_id: "client".into(),
            guid: "guid".into(),
            subject: channel.to_owned().into(),
            conn_id: session.connection_id.clone().into(),
            ..PubMsg::default()
        };
        let answer = session
            .request("_STAN.pub.test-cluster.x", &message.encode_to_vec())
            .unwrap();
        let ack = PubAck::decode(answer.as_slice()).unwrap();
        assert_eq!(
            (ack.guid.as_ref(), ack.error.as_ref()),
            (&b"guid"[..], &b"stan: invalid publish request"[..])
        );
        let error = session.subscribe(subscription(channel)).unwrap_err();
        assert_eq!(error.to_string(), "stan: invalid subject", "{channel:?}");
    }
}

#[test]
fn client_ids_are_checked() {
    // §13.1 ClientIDIsValid.
    let server = Server::in_memory(&[]);
    let mut session = server.session("client");
    let text = "stan: invalid clientID: only alphanumeric and `-` or `_` characters allowed";
    for (client_id, error) in [
        ("", text),
        ("a b", text),
        ("a:b", text),
        ("a.b", text),
        ("a,b", text),
        ("id_with_underscores", ""),
        ("id-with-hypens", ""),
    ] {
        let request = ConnectRequest {
            client_id: client_id.to_owned().into(),
            heartbeat_inbox: "_INBOX.hb".into(),
            ..ConnectRequest::default()
        };
        let answer = session
            .request("_STAN.discover.test-cluster", &request.encode_to_vec())
            .unwrap();
        assert_eq!(
            ConnectResponse::decode(answer.as_slice()).unwrap().error,
            error,
            "{client_id:?}"
        );
    }
}

#[test]
fn a_payload_above_the_limit_is_refused_before_it_is_read() {
    // nats-core §1.7.
    let server = Server::in_memory(&[]);
    let mut connection = Connection::open(&server.address).unwrap();
    connection.send(b"PUB foo 1048577\r\n");
    assert_eq!(
        next_frame(&mut connection).unwrap(),
        Frame::Error("Maximum Payload Violation".to_owned())
    );
    assert!(next_frame(&mut connection).is_err(), "and the connection is closed");
}

#[test]
fn lines_without_end_and_unknown_verbs_close_the_connection_alone() {
    // nats-core §1.2.
    let server = Server::in_memory(&[]);
    for (bytes, text) in [
        (vec![b'X'; 10], "Unknown Protocol Operation"),
        (
            [b"SUB ".to_vec(), vec![b'a'; 8192]].concat(),
            "maximum control line exceeded",
        ),
        (b"PUB foo 2\r\nabcd\r\n".to_vec(), "Unknown Protocol Operation"),
    ] {
        let mut connection = Connection::open(&server.address).unwrap();
        connection.send(&bytes);
        assert_eq!(next_frame(&mut connection).unwrap(), Frame::Error(text.to_owned()));
    }
    Connection::open(&server.address).expect("others are served");
}

#[test]
fn silent_connections_cost_little() {
    let server = Server::in_memory(&[]);
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
            ..rustix::process::getrlimit(rustix::process::Resource::Nofile)
        },
    )
    .unwrap();
    let before = resident_bytes(server.pid()).unwrap();
    let count = 10_000;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let mut socket = TcpStream::connect(&server.address).expect("a silent connection is accepted");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut first = [0; 5];
        socket.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"INFO ");
        sockets.push(socket);
    }
    let each = resident_bytes(server.pid()).unwrap().saturating_sub(before) / count as u64;
    println!("{each} bytes resident for each silent connection");
    assert!(each < 64 * 1024, "{each} bytes for each silent connection");
    let mut session = server.session("client");
    session.publish("foo", b"still here").unwrap();
    // Half a line each: still nothing that grows.
    for socket in &mut sockets {
        socket.write_all(b"PU").unwrap();
    }
    session.publish("foo", b"still here").unwrap();
    let each = resident_bytes(server.pid()).unwrap().saturating_sub(before) / count as u64;
    assert!(each < 64 * 1024, "{each} bytes for each connection with half a line");
}

#[test]
fn a_subscriber_that_stops_reading_delays_nobody() {
    let server = Server::in_memory(&["-mm", "0", "-mb", "0"]);
    let mut stuck = server.session("stuck");
    let mut request = subscription("foo");
    request.max_in_flight = 1_000_000;
    stuck.subscribe(request).unwrap();
    // 125 MB: more than the sockets and the pending limit of a connection hold.
    let load = Load {
        address: server.address.clone(),
        cluster_id: "test-cluster".to_owned(),
        channel_prefix: "foo".to_owned(),
        channels: 1,
        messages: 2_000,
        size: 64 * 1024,
        in_flight: 32,
    };
    let reader = load.clone();
    let reading = std::thread::spawn(move || reader.receive(|| {}));
    load.publish().expect("publishers are acknowledged");
    reading
        .join()
        .unwrap()
        .expect("a subscriber that reads gets everything");
    // The one that was stuck was paused, not thrown out: it gets everything once it reads.
    for sequence in 1..=load.messages {
        assert_eq!(stuck.next_message(PATIENCE).unwrap().sequence, sequence);
    }
}
