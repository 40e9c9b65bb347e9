//! A disk whose syncs begin to fail under the running server: what was acknowledged stays true, and everybody is told.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::Instant;

use seaway_bench::stan::subscription;
use support::faults::Failing;
use support::{PATIENCE, Server};

/// §13.3 SendMsgToSubStoreFailure; §13.9 MonitorStorez, MonitorChannelz: pages go on, `/healthz` tells.
#[test]
fn a_failing_sync_stops_everything_that_would_have_to_be_recovered() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut reader = server.session("reader");
    let mut request = subscription("orders");
    request.start_position = 4;
    reader.subscribe(request.clone()).unwrap();
    let mut publisher = server.session("publisher");
    let mut acknowledged = 20;
    for _ in 0..acknowledged {
        publisher.publish("orders", b"x").unwrap();
    }
    let Some(failing) = Failing::begin(&server, "fdatasync:error=EIO") else {
        return;
    };
    let error = loop {
        match publisher.publish("orders", b"x") {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1_000, "syncs do not fail");
    };
    assert!(error.to_string().contains("the store failed"), "{error}");
    for sequence in 1..=acknowledged {
        assert_eq!(
            reader.next_message(PATIENCE).unwrap().sequence,
            sequence,
            "what is durable still flows"
        );
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, body) = server.get("/healthz");
        if status == 503 {
            assert!(body.contains("Input/output error"), "the reason is told: {body}");
            break;
        }
        assert!(Instant::now() < deadline, "{status} {body}");
    }
    let error = publisher.subscribe(request.clone()).unwrap_err();
    assert!(error.to_string().contains("the store failed"), "{error}");
    drop(failing);
    server.kill();

    let server = Server::with_files(directory.path(), &[]);
    let mut reader = server.session("other");
    reader.subscribe(request).unwrap();
    for sequence in 1..=acknowledged {
        assert_eq!(
            reader.next_message(PATIENCE).unwrap().sequence,
            sequence,
            "nothing acknowledged is lost"
        );
    }
}
