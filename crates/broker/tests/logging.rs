//! Log lines of connections (core specification §5.7): what is said about one, under which prefix, and how often. In a
//! process of its own, because the subscriber is global.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use seaway_broker::{Broker, BrokerOptions, ClusterOptions, RouteAddress};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Lines;

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").unwrap();
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("seaway_broker")
    }
    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = Text(format!("{} ", event.metadata().level()));
        event.record(&mut text);
        LINES.lock().unwrap().push(text.0);
    }
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

fn wait_for_lines(what: &str, enough: impl Fn(&[String]) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !enough(&LINES.lock().unwrap()) {
        assert!(Instant::now() < deadline, "{what}: {:#?}", LINES.lock().unwrap());
        std::thread::yield_now();
    }
}

/// One after the other: all lines go to one place.
#[test]
fn section_5_7_lines() {
    tracing::subscriber::set_global_default(Lines).unwrap();
    lines_of_a_client();
    LINES.lock().unwrap().clear();
    a_refusal_is_said_once();
}

/// Another server that refuses this one again and again.
fn a_refusal_is_said_once() {
    const ATTEMPTS: usize = 4;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let broker = Broker::new(BrokerOptions {
        cluster: Some(ClusterOptions {
            routes: vec![RouteAddress {
                host: "127.0.0.1".into(),
                port,
                credentials: None,
            }],
            ..ClusterOptions::default()
        }),
        ..BrokerOptions::default()
    });
    runtime.block_on(async { broker.join_cluster(None) }).unwrap();
    for _ in 0..ATTEMPTS {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .write_all(b"INFO {\"server_id\":\"NA\",\"proto\":2}\r\n")
            .unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with("CONNECT "));
        stream.write_all(b"-ERR 'Authorization Violation'\r\n").unwrap();
        lines.for_each(drop);
    }
    let refusals = |lines: &[String]| lines.iter().filter(|line| line.contains("Authorization")).count();
    wait_for_lines("each is there for whoever looks closely", |lines| {
        refusals(lines) > ATTEMPTS
    });
    let said: Vec<String> = LINES
        .lock()
        .unwrap()
        .iter()
        .filter(|line| line.starts_with("ERROR "))
        .cloned()
        .collect();
    let expected =
        format!("ERROR Error trying to connect to route 127.0.0.1:{port}: it refuses: \"'Authorization Violation'\"");
    assert_eq!(said, [expected]);
}

fn lines_of_a_client() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let broker = Broker::new(BrokerOptions::default());
    let listener = runtime.block_on(broker.listen("127.0.0.1", 0)).unwrap();
    let mut stream = TcpStream::connect(listener.address()).unwrap();
    let local = stream.local_addr().unwrap();
    stream
        .write_all(
            b"CONNECT {\"verbose\":false,\"pass\":\"secret\"}\r\nSUB foo 7\r\nPUB foo re 2\r\nok\r\nPING\r\nZZZ\r\n",
        )
        .unwrap();
    let answers: Vec<String> = BufReader::new(stream).lines().map(|line| line.unwrap()).collect();
    assert_eq!(
        answers[1..],
        ["MSG foo 7 re 2", "ok", "PONG", "-ERR 'Unknown Protocol Operation'"]
    );

    let prefix = format!("{local} - cid:1 - ");
    let expected = [
        format!("DEBUG {prefix}Client connection created"),
        format!("TRACE {prefix}<<- [CONNECT {{\"verbose\":false,\"pass\":\"[REDACTED]\"}}]"),
        format!("TRACE {prefix}<<- [SUB foo 7]"),
        format!("TRACE {prefix}<<- [PUB foo re 2]"),
        format!("TRACE {prefix}<<- MSG_PAYLOAD: [\"ok\"]"),
        format!("TRACE {prefix}->> [MSG foo 7 re 2]"),
        format!("TRACE {prefix}<<- [PING]"),
        format!("TRACE {prefix}->> [PONG]"),
        format!("ERROR {prefix}Unknown Protocol Operation - received \"ZZZ\\r\\n\""),
        format!("TRACE {prefix}->> [-ERR 'Unknown Protocol Operation']"),
        format!("DEBUG {prefix}Client connection closed: Protocol Violation"),
    ];
    wait_for_lines("all are said", |lines| lines.len() >= expected.len());
    assert_eq!(*LINES.lock().unwrap(), expected);
}
