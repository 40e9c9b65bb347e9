//! Log lines of clients (core specification §5.7): what is said about a connection, and under which prefix. In a
//! process of its own, because the subscriber is global.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use seaway_broker::{Broker, BrokerOptions};
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

#[test]
fn section_5_7_lines_of_a_client() {
    tracing::subscriber::set_global_default(Lines).unwrap();
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
    let deadline = Instant::now() + Duration::from_secs(10);
    while LINES.lock().unwrap().len() < expected.len() {
        assert!(Instant::now() < deadline, "{:#?}", LINES.lock().unwrap());
        std::thread::yield_now();
    }
    assert_eq!(*LINES.lock().unwrap(), expected);
}
