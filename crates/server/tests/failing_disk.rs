//! A disk whose syncs begin to fail under the running server: what was acknowledged stays true, and everybody is told.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::process::Command;
use std::time::Instant;

use seaway_bench::stan::subscription;
use support::{PATIENCE, Server};

/// Kills the traced server: the tracer's death would only let it run on.
struct Traced(rustix::process::Pid);

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(self.0, rustix::process::Signal::KILL);
    }
}

fn pid_in_log(server: &Server) -> rustix::process::Pid {
    let number = server.log[0].trim_start_matches('[').split(']').next().unwrap();
    rustix::process::Pid::from_raw(number.parse().unwrap()).unwrap()
}

#[test]
fn a_failing_sync_stops_everything_that_would_have_to_be_recovered() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("SKIPPED: there is no strace to make syncs fail with");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_failing_sync(40, directory.path());
    let traced = Traced(pid_in_log(&server));
    let mut reader = server.session("reader");
    let mut request = subscription("orders");
    request.start_position = 4;
    reader.subscribe(request.clone()).unwrap();
    let mut publisher = server.session("publisher");
    let mut acknowledged = 0;
    let error = loop {
        match publisher.publish("orders", b"x") {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1_000, "syncs do not fail");
    };
    assert!(error.to_string().contains("the store failed"), "{error}");
    assert!(acknowledged > 0);
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
    drop(traced);
    drop(server);

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
