//! The connection against a server that is played here, byte by byte.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender as Tell, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seaway_config::{ExternalNats, NatsUrl};
use tokio::runtime::Runtime;

use super::*;
use crate::bus::words::{Batch, Destination, Hindrance, Message, is_no_responders};
use crate::limits::{EXTERNAL_CHANGES_MAX, EXTERNAL_OUTBOUND_BYTES_HIGH, EXTERNAL_OUTBOUND_BYTES_LOW};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const INFO: &str = "INFO {\"server_id\":\"N\",\"version\":\"2.9.0\",\"headers\":true,\"max_payload\":1000000}\r\n";

/// What a party hears.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Message {
        tag: u64,
        payload: Vec<u8>,
        is_nobody: bool,
    },
    Drained(Destination),
    Carries(bool),
    All,
}

struct Party(Mutex<Tell<Heard>>);

impl Party {
    fn tell(&self, heard: Heard) {
        let _ = self.0.lock().unwrap().send(heard);
    }
}

impl Listener for Party {
    fn deliver(&self, batch: Batch) {
        for message in batch.iter() {
            self.tell(Heard::Message {
                tag: message.tag,
                payload: message.payload.to_vec(),
                is_nobody: is_no_responders(&message),
            });
        }
    }

    fn drained(&self, destination: Destination) {
        self.tell(Heard::Drained(destination));
    }

    fn carries(&self, is_up: bool) {
        self.tell(Heard::Carries(is_up));
    }

    fn heard_all(&self) {
        self.tell(Heard::All);
    }

    fn refusal(&self, message: &Message<'_>) -> Option<Vec<u8>> {
        Some([b"no room for ", message.payload].concat())
    }
}

/// The server's side of a connection.
struct Server(BufReader<TcpStream>);

impl Server {
    /// Takes a client that says who it is.
    fn accept(listener: &TcpListener) -> Server {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut server = Server(BufReader::new(stream));
        server.say(INFO);
        let connect = server.line();
        assert!(
            connect.starts_with("CONNECT {") && connect.contains("\"echo\":false"),
            "{connect}"
        );
        assert_eq!(server.line(), "PING");
        server.say("PONG\r\n");
        server
    }

    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The lines up to a PING, which is answered.
    fn until_ping(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.line() {
                ping if ping == "PING" => break,
                line => lines.push(line),
            }
        }
        self.say("PONG\r\n");
        lines
    }
}

struct Scene {
    runtime: Runtime,
    listener: TcpListener,
    server: Server,
    bus: External,
    attachment: Attachment,
    heard: Receiver<Heard>,
}

/// A party, connected.
fn scene() -> Scene {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = ExternalNats {
        urls: vec![NatsUrl {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
            tls: false,
            login: Default::default(),
        }],
        ..ExternalNats::default()
    };
    let connecting = runtime.spawn(async move { External::connect(&options, "trial").await });
    let mut server = Server::accept(&listener);
    assert!(server.until_ping().is_empty());
    let bus = runtime.block_on(connecting).unwrap().unwrap();
    let (tell, heard) = channel();
    let attachment = bus.attach(Arc::new(Party(Mutex::new(tell))));
    Scene {
        runtime,
        listener,
        server,
        bus,
        attachment,
        heard,
    }
}

impl Scene {
    fn next(&self) -> Heard {
        self.heard.recv_timeout(PATIENCE).unwrap()
    }
}

fn message(tag: u64, payload: &[u8]) -> Heard {
    Heard::Message {
        tag,
        payload: payload.to_vec(),
        is_nobody: false,
    }
}

#[test]
fn publishes_are_refused_while_the_party_is_behind_and_nothing_else_is() {
    let mut scene = scene();
    scene.attachment.subscribe(b"p.>", 7, true).unwrap();
    scene.attachment.subscribe(b"acks", 8, false).unwrap();
    assert_eq!([scene.server.line(), scene.server.line()], ["SUB p.> 1", "SUB acks 2"]);
    scene.server.say("MSG p.a 1 answer 1\r\nx\r\n");
    assert_eq!(scene.next(), message(7, b"x"));
    let gate = scene.attachment.gate();
    gate.close();
    scene
        .server
        .say("MSG p.a 1 answer 1\r\ny\r\nMSG acks 2 1\r\nz\r\nMSG p.a 1 1\r\nw\r\nMSG p.a 1 a.* 1\r\nv\r\n");
    assert_eq!(scene.next(), message(8, b"z"));
    assert_eq!(
        [scene.server.line(), scene.server.line()],
        ["PUB answer 13", "no room for y"]
    );
    gate.open();
    scene.server.say("MSG p.a 1 answer 1\r\nu\r\n");
    assert_eq!(scene.next(), message(7, b"u"));
    assert_eq!(scene.bus.snapshot().refused, 3);
}

/// `nats-core.md` §1.9: status 503.
#[test]
fn nobody_who_receives_is_heard_of_in_the_order_of_messages() {
    let mut scene = scene();
    scene.attachment.subscribe(b"in.*", 1, false).unwrap();
    assert_eq!(scene.server.line(), "SUB in.* 1");
    scene.server.say(
        "MSG in.a 1 1\r\nx\r\nHMSG in.b 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\nHMSG in.c 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
    );
    assert_eq!(scene.next(), message(1, b"x"));
    let nobody = Heard::Message {
        tag: 1,
        payload: Vec::new(),
        is_nobody: true,
    };
    assert_eq!(scene.next(), nobody);
    assert_eq!(scene.next(), message(1, b"hi"));
    // What it does not know any more is nobody's.
    scene.attachment.unsubscribe(1);
    assert_eq!(scene.server.line(), "UNSUB 1");
    scene.server.say("MSG in.a 1 1\r\nx\r\nMSG in.a zz 1\r\nx\r\nPING\r\n");
    assert_eq!(scene.server.line(), "PONG");
    assert!(scene.heard.try_recv().is_err());
}

#[test]
fn what_has_come_is_known_by_a_pong() {
    let mut scene = scene();
    scene.attachment.subscribe(b"a", 1, false).unwrap();
    scene.server.line();
    let moment = Instant::now();
    assert!(!scene.attachment.has_heard_until(moment));
    assert_eq!(scene.server.line(), "PING");
    scene.server.say("MSG a 1 1\r\nx\r\nPONG\r\nMSG a 1 1\r\ny\r\n");
    assert_eq!(
        [scene.next(), scene.next(), scene.next()],
        [message(1, b"x"), Heard::All, message(1, b"y")]
    );
    assert!(scene.attachment.has_heard_until(moment));
}

/// A connection that is lost is told, made again, and told what is wanted; what is sent meanwhile goes nowhere.
#[test]
fn a_lost_connection_is_made_again() {
    let mut scene = scene();
    scene.attachment.subscribe(b"a", 1, false).unwrap();
    scene.attachment.subscribe(b"b", 2, false).unwrap();
    scene.attachment.unsubscribe(1);
    let mut sender = scene.attachment.sender();
    // No NATS at all.
    scene.server.say("HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(scene.next(), Heard::Carries(false));
    assert_eq!(sender.send_if_room(b"x", &[b"lost"]), Err(Hindrance::Down));
    let _ = sender.send(b"x", None, &[b"lost"]);
    sender.flush();
    assert!(!scene.attachment.has_heard_until(Instant::now()));
    assert!(!scene.bus.snapshot().is_up);
    // It comes back, and forgets to speak; then for good.
    drop(scene.listener.accept().unwrap());
    scene.server = Server::accept(&scene.listener);
    assert_eq!(scene.server.until_ping(), ["SUB b 2"]);
    // What had not come is no longer on its way.
    assert_eq!([scene.next(), scene.next()], [Heard::All, Heard::Carries(true)]);
    assert_eq!(sender.send_if_room(b"x", &[b"fou", b"nd"]), Ok(1));
    sender.flush();
    assert_eq!([scene.server.line(), scene.server.line()], ["PUB x 5", "found"]);
    let snapshot = scene.bus.snapshot();
    assert_eq!((snapshot.is_up, snapshot.reconnects), (true, 1));
    assert!(snapshot.reason.unwrap().contains("does not speak NATS"));
}

/// A server that does not read: whoever delivers waits, what waits is bounded, and goes on where it stopped.
#[test]
fn a_server_that_does_not_read_makes_deliveries_wait() {
    let mut scene = scene();
    let mut sender = scene.attachment.sender();
    let payload = vec![b'x'; 500_000];
    let mut sent = 0;
    let begun = Instant::now();
    // Until neither the socket nor the queue takes more.
    loop {
        match sender.send_if_room(b"x", &[&payload]) {
            Ok(_) => sent += 1,
            Err(hindrance) => {
                assert!(matches!(hindrance, Hindrance::Full(_)));
                sender.flush();
                if scene.heard.recv_timeout(Duration::from_millis(500)).is_err() {
                    break;
                }
            }
        }
        assert!(begun.elapsed() < PATIENCE);
    }
    let pending = scene.bus.snapshot().pending_bytes;
    assert!(
        (EXTERNAL_OUTBOUND_BYTES_LOW..EXTERNAL_OUTBOUND_BYTES_HIGH + 2 * payload.len()).contains(&pending),
        "{pending}"
    );
    for _ in 0..sent {
        assert_eq!(scene.server.line(), "PUB x 500000");
        let mut body = vec![0; payload.len() + 2];
        scene.server.0.read_exact(&mut body).unwrap();
    }
    assert!(matches!(scene.next(), Heard::Drained(_)));
    assert_eq!(sender.send_if_room(b"x", &[b"on"]), Ok(1));
    sender.flush();
    assert_eq!(scene.server.line(), "PUB x 2");
}

#[test]
fn what_is_refused_is_named_and_what_would_break_the_connection_is_not_sent() {
    let mut scene = scene();
    let mut sender = scene.attachment.sender();
    let odd: [(&[u8], Option<&[u8]>); 5] = [
        (b"a b", None),
        (b"a.>", None),
        (b"", None),
        (b"a\r\nPUB b 0", None),
        (b"a", Some(b"x y")),
    ];
    for (subject, reply) in odd {
        let _ = sender.send(subject, reply, &[b"x"]);
    }
    assert_eq!(sender.send_if_room(b"a", &[&vec![0; 1_000_001]]), Ok(0));
    // A line that long would end the connection.
    let long = [b'a'; 4_096];
    assert_eq!(sender.send_if_room(&long, &[b"x"]), Ok(0));
    assert_eq!(sender.send(b"a", Some(&long), &[b"x"]).receivers, 0);
    let _ = sender.send(b"a", Some(b"in"), &[b"y"]);
    sender.flush();
    assert_eq!([scene.server.line(), scene.server.line()], ["PUB a in 1", "y"]);
    scene
        .server
        .say("-ERR 'Permissions Violation for Publish to \"a\"'\r\n");
    let bus = scene.bus.clone();
    let settling = scene.runtime.spawn(async move { bus.settled().await });
    assert!(scene.server.until_ping().is_empty());
    let why = scene.runtime.block_on(settling).unwrap().unwrap_err();
    let is_told = matches!(&why, Unsettled::PublishRefused(words) if words.contains("refuses: Permissions Violation for Publish to \"a\""));
    assert!(is_told, "{why}");
    let bus = scene.bus.clone();
    let settling = scene.runtime.spawn(async move { bus.settled().await });
    scene.server.until_ping();
    assert_eq!(scene.runtime.block_on(settling).unwrap(), Ok(()), "it was told once");
}

/// Servers that come and go without end do not put it off without end that somebody is judged.
#[test]
fn changes_of_the_cluster_count_some_times_in_a_row() {
    let mut scene = scene();
    let mut reach = scene.bus.changes();
    for number in 0..3 * EXTERNAL_CHANGES_MAX {
        let urls = format!(
            "INFO {{\"server_id\":\"N\",\"connect_urls\":[\"a:{}\"]}}\r\nPING\r\n",
            number + 1
        );
        scene.server.say(&urls);
        assert_eq!(scene.server.line(), "PONG");
        assert!(reach.has_changed().unwrap(), "who looks for others hears of each");
        reach.borrow_and_update();
    }
    for _ in 0..EXTERNAL_CHANGES_MAX {
        assert_eq!(scene.heard.try_recv(), Ok(Heard::Carries(true)));
    }
    assert!(scene.heard.try_recv().is_err());
}

/// Other servers come and go behind it, and it takes less from now on.
#[test]
fn what_the_server_says_of_itself_counts() {
    let mut scene = scene();
    scene
        .server
        .say("INFO {\"server_id\":\"N\",\"max_payload\":10,\"connect_urls\":[\"a:1\",\"b:2\"]}\r\n");
    assert_eq!(scene.next(), Heard::Carries(true));
    scene.server.say(
        "INFO {\"server_id\":\"N\",\"max_payload\":10,\"connect_urls\":[\"b:2\",\"a:1\"],\"ldm\":true}\r\nPING\r\n",
    );
    assert_eq!(scene.server.line(), "PONG");
    assert!(scene.heard.try_recv().is_err(), "nothing has changed");
    let snapshot = scene.bus.snapshot();
    assert_eq!((snapshot.max_payload, snapshot.connect_urls.len()), (10, 2));
    let mut sender = scene.attachment.sender();
    assert_eq!(sender.send_if_room(b"x", &[b"eleven byte"]), Ok(0));
    // What cannot be read is no reason to go on.
    scene.server.say("INFO {\"max_payload\":\"many\"}\r\n");
    assert_eq!(scene.next(), Heard::Carries(false));
}
