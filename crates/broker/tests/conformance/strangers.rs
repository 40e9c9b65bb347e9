//! §4.3, §4.6: those whom nobody knows, and those of whom others tell, keep no real member out.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use seaway_broker::RouteAddress;

use crate::routes::{Member, connect};
use crate::support::{Client, PATIENCE};

/// Longer than any test waits: places must not depend on it.
const LONG: Option<Duration> = Some(Duration::from_secs(120));

fn towards(member: &Member) -> RouteAddress {
    RouteAddress {
        host: "127.0.0.1".into(),
        port: member.routes.port(),
        credentials: None,
    }
}

/// Whether the other side has closed a connection; what it said is read.
fn is_closed(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => return true,
        }
    }
}

#[test]
fn silence_keeps_no_member_out() {
    let connected = connect("");
    for said in ["", "CONNECT {", &connected, "INFO {\"server_id\":\"NX\"}\r\n"] {
        let member = Member::start(|cluster| cluster.authentication_timeout = LONG);
        keeps_no_member_out(&member, said);
    }
}

/// A member joins beside a crowd of which each has said this much.
fn keeps_no_member_out(member: &Member, said: &str) {
    const SILENT: usize = 500;
    let crowd: Vec<TcpStream> = (0..SILENT)
        .map(|_| {
            let mut stream = TcpStream::connect(member.routes).unwrap();
            // Who has been sent away already cannot say anything.
            let _ = stream.write_all(said.as_bytes());
            stream
        })
        .collect();
    let route = towards(member);
    let begun = Instant::now();
    let other = Member::start(|cluster| cluster.routes = vec![route]);
    other
        .server
        .wait_until("it is let in", |broker| broker.routes().len() == 1);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // Few of them are still there, however long they may take.
    member.server.wait_until("the others have been closed", |_| {
        crowd.iter().filter(|stream| !is_closed(stream)).count() <= 32
    });
    // A member that is there stays there while still more come.
    let mut client = other.server.quiet();
    client.flush("SUB foo 1\r\n");
    let wants = |broker: &seaway_broker::Broker| broker.routes().iter().any(|one| one.connection.subscriptions == 1);
    member.server.wait_until("interest is known", wants);
    for _ in 0..SILENT {
        drop(TcpStream::connect(member.routes).unwrap());
    }
    member.server.quiet().flush("PUB foo 2\r\nok\r\n");
    assert_eq!(client.message().3, b"ok");
}

/// Who is refused in words reads them; who stays to read is no burden.
#[test]
fn last_words_take_no_places() {
    let member = Member::start(|cluster| cluster.authentication_timeout = LONG);
    let refused: Vec<Client> = (0..200)
        .map(|_| {
            let mut client = Client::dial(member.routes);
            client.send("GET / HTTP/1.1\r\n");
            client
        })
        .collect();
    let mut last = member.stranger();
    last.send("GET / HTTP/1.1\r\n");
    last.expect("-ERR 'Unknown Protocol Operation'\r\n");
    last.expect_closed();
    drop(refused);
}

/// A server that tells of many that answer nobody does not keep this one from those of whom others tell.
#[test]
fn lies_keep_no_member_out() {
    const LIES: usize = 300;
    let member = Member::start(|cluster| cluster.authentication_timeout = LONG);
    // Takes connections and says nothing, at any address of this machine.
    let silence = TcpListener::bind("0.0.0.0:0").unwrap();
    silence.set_nonblocking(true).unwrap();
    let port = silence.local_addr().unwrap().port();
    let tells = |teller: &mut Client, id: &str, address: &str| {
        teller.send(format!(
            "INFO {{\"server_id\":\"{id}\",\"ip\":\"nats-route://{address}/\"}}\r\n"
        ));
    };
    let mut liar = member.peer("NLIAR");
    for number in 0..LIES {
        let address = format!("127.0.{}.{}:{port}", 1 + number / 200, 1 + number % 200);
        tells(&mut liar, &format!("NLIE{number}"), &address);
    }
    liar.flush_past_interest("");
    let mut honest = member.peer("NHONEST");
    let other = Member::start(|_| {});
    tells(&mut honest, other.server.broker.server_id(), &other.routes.to_string());
    member.server.wait_until("it is reached", |broker| {
        let id = other.server.broker.server_id();
        broker.routes().iter().any(|route| route.server_id == id)
    });
    let deadline = Instant::now() + PATIENCE;
    let mut dialled = Vec::new();
    while dialled.len() < 8 {
        match silence.accept() {
            Ok((stream, _)) => dialled.push(stream),
            Err(_) => assert!(Instant::now() < deadline, "only {} were dialled", dialled.len()),
        }
    }
    // No more of them before one of these has ended.
    assert!(dialled.iter().all(|stream| !is_closed(stream)));
    assert!(silence.accept().is_err());
    dialled.pop();
    while silence.accept().is_err() {
        assert!(Instant::now() < deadline, "the next one is not dialled");
    }
}
