//! What a disk may do to a server: no more files can be opened, a lock vanishes, bytes change while it is down
//! (`streaming-protocol.md` §13.3, the lines about store failures; `stores-and-clustering.md` §3.12).

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::support::requests::{all, bounds, durable, publish, take};
use crate::support::{Binary, PATIENCE, Server, files};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

/// Lets the server have no descriptor with this number or a higher one.
fn limit(server: &Server, descriptors: Option<u64>) {
    let own = getrlimit(Resource::Nofile);
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
    let limit = Rlimit {
        current: descriptors.or(own.current),
        maximum: own.maximum,
    };
    prlimit(pid, Resource::Nofile, limit).unwrap();
}

#[test]
fn descriptors_that_run_out_refuse_publishes_and_the_store_goes_on_when_there_are_some() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("me");
    publish(&mut session, "foo", 1);
    // Not even for what closes meanwhile: those that are open stay.
    limit(&server, Some(3));
    let mut stored = 1;
    let error = loop {
        match session.publish("foo", &[b'x'; 32 * 1024]) {
            Ok(()) => stored += 1,
            Err(error) => break error.to_string(),
        }
        assert!(stored < 10_000, "segments are made although no file can be opened");
    };
    assert!(error.contains("no room") && error.contains("open files"), "{error}");
    assert!(stored > 10, "what was prepared is used: {stored}");
    // What needs no file is done.
    session.ping().unwrap();
    limit(&server, None);
    let deadline = Instant::now() + PATIENCE;
    while session.publish("foo", b"x").is_err() {
        assert!(Instant::now() < deadline, "there are descriptors again");
    }
    publish(&mut session, "foo", 200);
    assert_eq!(server.get("/healthz").0, 200, "nothing is poisoned");
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    assert_eq!(bounds(&server, "foo").2, stored + 201);
}

/// The last byte of a segment that is not zero, and its file.
fn last_written(directory: &Path) -> (PathBuf, usize) {
    let segments = files(directory).into_iter().map(|(path, _)| path);
    let written = segments.filter(|path| path.extension().is_some_and(|kind| kind == "log"));
    let last = |path: PathBuf| {
        let content = std::fs::read(&path).unwrap();
        // Behind the header, which is one page at most.
        let at = content.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        (at >= 4_096).then_some((path, at))
    };
    written.filter_map(last).max().unwrap()
}

#[test]
fn damage_after_an_orderly_stop_refuses_the_start_until_the_operator_gives_it_up() {
    // §3.12: `-file_truncate_bad_eof`, and not twice in a row.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("me");
    publish(&mut session, "foo", 5);
    session.close().unwrap();
    server.signal_and_wait(Signal::TERM);
    let (path, at) = last_written(directory.path());
    let mut content = std::fs::read(&path).unwrap();
    content[at] ^= 1;
    std::fs::write(&path, &content).unwrap();
    let start = |more: &[&str]| {
        let folder = directory.path().to_str().unwrap();
        let arguments = [&["-store", "FILE", "-dir", folder, "-p", "-1"][..], more].concat();
        Server::start(Binary::NatsStreamingServer, &arguments)
    };
    let said = |started: Result<Server, Vec<String>>| match started {
        Ok(_) => panic!("it started"),
        Err(lines) => lines.join("\n"),
    };
    let refused = said(start(&[]));
    assert!(
        refused.contains("orderly") && refused.contains("-file_truncate_bad_eof"),
        "{refused}"
    );
    let server = start(&["-file_truncate_bad_eof"]).unwrap();
    let (_, lines) = server.signal_and_wait(Signal::TERM);
    let lines = lines.join("\n");
    assert!(lines.contains("are lost and were given up"), "{lines}");
    let copy = format!("{}.cut", path.display());
    assert!(std::fs::read(&copy).unwrap() == content, "{copy}");
    let refused = said(start(&["-file_truncate_bad_eof"]));
    let rule = "file store should not be opened consecutively with the TruncateUnexpectedEOF option set to true";
    assert!(refused.contains(rule), "{refused}");
    drop(start(&[]).unwrap());
    drop(start(&["-file_truncate_bad_eof"]).unwrap());
}

#[test]
fn a_server_whose_claim_was_removed_acknowledges_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("me");
    publish(&mut session, "foo", 3);
    let mut paths = files(directory.path()).into_iter().map(|(path, _)| path);
    let claim = paths
        .find(|path| path.extension().is_some_and(|kind| kind == "claim"))
        .unwrap();
    std::fs::remove_file(claim).unwrap();
    let first = session.publish("foo", b"x").unwrap_err().to_string();
    let later = session.publish("foo", b"x").unwrap_err().to_string();
    for error in [&first, &later] {
        assert!(error.contains("outcome") && error.contains("unknown"), "{error}");
    }
    let (status, body) = server.get("/healthz");
    assert!(status == 503 && body.contains("removed"), "{status} {body}");
}

/// Where a text is in the store, and its file.
fn find(directory: &Path, text: &str) -> (PathBuf, usize) {
    let segments = files(directory).into_iter().map(|(path, _)| path);
    let mut logs = segments.filter(|path| path.extension().is_some_and(|kind| kind == "log"));
    let found = logs.find_map(|path| {
        let content = std::fs::read(&path).unwrap();
        let at = content.windows(text.len()).position(|bytes| bytes == text.as_bytes())?;
        Some((path, at))
    });
    found.expect("it is stored")
}

#[test]
fn what_is_given_up_is_told_by_name_and_gone_and_no_sequence_is_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("me");
    for sequence in 1..=30 {
        let text = format!("this is message {sequence:04} of the channel");
        session.publish("foo", text.as_bytes()).unwrap();
    }
    session.close().unwrap();
    let mut session = server.session("you");
    publish(&mut session, "bar", 7);
    session.subscribe(durable(all("bar"))).unwrap();
    take(&mut session, 7);
    server.kill();
    let (path, at) = find(directory.path(), "message 0011");
    let mut content = std::fs::read(&path).unwrap();
    content[at] ^= 1;
    std::fs::write(&path, &content).unwrap();
    let folder = directory.path().to_str().unwrap();
    let arguments = ["-store", "FILE", "-dir", folder, "-p", "-1", "-m", "-1"];
    assert!(Server::start(Binary::NatsStreamingServer, &arguments).is_err());
    let gives_up = [&arguments[..], &["-file_truncate_bad_eof"]].concat();
    let server = Server::start(Binary::NatsStreamingServer, &gives_up).unwrap();
    assert_eq!(bounds(&server, "foo"), (10, 1, 30));
    assert_eq!(bounds(&server, "bar"), (0, 8, 7));
    let mut session = server.session("reader");
    publish(&mut session, "foo", 1);
    publish(&mut session, "bar", 1);
    session.subscribe(all("foo")).unwrap();
    let sequences: Vec<u64> = take(&mut session, 11)
        .into_iter()
        .map(|(sequence, _)| sequence)
        .collect();
    assert_eq!(sequences, (1..=10).chain([31]).collect::<Vec<u64>>());
    assert_eq!(server.get("/healthz").0, 200);
    let (_, lines) = server.signal_and_wait(Signal::TERM);
    let said = lines.join("\n");
    for part in [
        "Messages 11 to 30 of channel foo were given up",
        "Messages 1 to 7 of channel bar were given up",
        "Given up: client you",
        "on channel bar",
        "is damaged at offset",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("interrupted write"), "{said}");
    let server = Server::start(Binary::NatsStreamingServer, &arguments).unwrap();
    assert_eq!(
        (bounds(&server, "foo"), bounds(&server, "bar")),
        ((11, 1, 31), (1, 8, 8))
    );
}
