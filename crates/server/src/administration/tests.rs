//! The service before there is an engine. Over a real connection: only clients are answered.

use std::time::Duration;

use seaway_bench::wire::{Connection, Frame};
use seaway_broker::{Broker, BrokerOptions};
use seaway_config::{Action, Options, Personality};

use super::*;
use crate::monitoring::MonitoredPorts;
use crate::phase::{Phase, Stage};

const PATIENCE: Duration = Duration::from_secs(10);

fn options() -> Options {
    match seaway_config::parse(Personality::NatsStreamingServer, [] as [std::ffi::OsString; 0]) {
        Action::Run(options) => *options,
        other => panic!("{other:?}"),
    }
}

fn ask(connection: &mut Connection, operation: &str) -> String {
    let subject = format!("$SEAWAY.api.test-cluster.{operation}");
    connection.publish(&subject, "in", br#"{"channel":"orders"}"#);
    loop {
        match connection.next_frame(PATIENCE).unwrap() {
            Frame::Message { payload, .. } => return String::from_utf8(payload).unwrap(),
            Frame::Info(_) | Frame::Pong => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A server that recovers says so, and how far it is, whatever it is asked; after its end nobody listens.
#[test]
fn a_server_that_is_not_ready_says_why() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let broker = Broker::new(BrokerOptions::default());
    let phase = Phase::default();
    let source = Arc::new(Monitoring::new(
        &options(),
        "server",
        MonitoredPorts::default(),
        (broker.clone(), Bus::new(&broker)),
        phase.clone(),
    ));
    let (reloads, _asked) = Reloads::new();
    let (listener, administration) = runtime.block_on(async {
        let listener = broker.listen("127.0.0.1", 0).await.unwrap();
        (
            listener,
            Administration::start(&Bus::new(&broker), "test-cluster", source, reloads).unwrap(),
        )
    });
    let mut connection = Connection::open(listener.address()).unwrap();
    connection.subscribe("in");
    let waiting = ask(&mut connection, "read.channel");
    assert!(waiting.contains("not serving: no tenure was granted yet"), "{waiting}");
    phase.recover(1);
    for operation in ["read.channel", "read.durables", "read.why", "read.messages"] {
        let answer = ask(&mut connection, operation);
        let reason = "\"code\":503,\"message\":\"recovering: looking at the store; ask again later\"";
        assert!(answer.contains(reason), "{operation}: {answer}");
    }
    phase.enter(Stage::Opening);
    assert!(ask(&mut connection, "read.channel").contains("starting; ask again later"));
    assert!(ask(&mut connection, "read.nothing").contains("\"code\":404"));
    runtime.block_on(administration.stop());
    let nobody = "NATS/1.0 503\r\n";
    assert!(ask(&mut connection, "read.channel").starts_with(nobody));
}
