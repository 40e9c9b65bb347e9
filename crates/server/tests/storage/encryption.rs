//! Encryption at rest through the command line (`stores-and-clustering.md` §5.1, §8.4; `streaming-protocol.md` §13.8
//! RunServerWithCrypto): what is readable in the directory, which keys open it, and who goes before whom.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::support::{Binary, PATIENCE, Server};
use rustix::process::Signal;
use seaway_bench::stan::subscription;

const CHANNEL: &str = "recognisable.channel";
const CLIENT: &str = "recognisable-client";
const DURABLE: &str = "recognisable-durable";
const PAYLOAD: &[u8] = b"a recognisable payload";
const KEY: &str = "the key of the store";

/// A server with its store in `directory`; `environment` is the key in the environment.
fn begin(directory: &Path, more: &[&str], environment: Option<&str>) -> Server {
    let mut command = Command::new(Binary::NatsStreamingServer.path());
    command.env_remove("NATS_STREAMING_ENCRYPTION_KEY");
    if let Some(key) = environment {
        command.env("NATS_STREAMING_ENCRYPTION_KEY", key);
    }
    command.args(["-p", "-1", "-a", "127.0.0.1", "-SDV", "-store", "file", "-dir"]);
    Server::begin(command.arg(directory).args(more))
}

fn start(directory: &Path, more: &[&str], environment: Option<&str>) -> Server {
    let mut server = begin(directory, more, environment);
    let ready = server.wait_for_line("Streaming Server is ready");
    assert!(ready.is_some(), "not ready: {:#?}", server.log);
    server.find_addresses();
    server
}

/// Ends a server; none of its lines shows a key.
fn stop(server: Server) {
    let (_, log) = server.signal_and_wait(Signal::TERM);
    let shown: Vec<&String> = log.iter().filter(|line| line.contains(KEY)).collect();
    assert!(shown.is_empty(), "{shown:?}");
}

/// The exit code and log of a server that does not start.
fn refused(directory: &Path, more: &[&str], environment: Option<&str>) -> (Option<i32>, String) {
    let (status, log) = begin(directory, more, environment).wait();
    (status.code(), log.join("\n"))
}

fn publish(server: &Server, count: usize) {
    let mut session = server.session(CLIENT);
    let mut request = subscription(CHANNEL);
    request.durable_name = DURABLE.into();
    session.subscribe(request).unwrap();
    for _ in 0..count {
        session.publish(CHANNEL, PAYLOAD).unwrap();
    }
}

fn read(server: &Server, count: u64) {
    let mut session = server.session("reader");
    let mut request = subscription(CHANNEL);
    request.start_position = 4;
    request.max_in_flight = 1_000;
    session.subscribe(request).unwrap();
    for sequence in 1..=count {
        let message = session.next_message(PATIENCE).unwrap();
        assert_eq!((message.sequence, message.data.as_slice()), (sequence, PAYLOAD));
    }
    session.close().unwrap();
}

fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = crate::support::files(directory).into_iter();
    let named = files.map(|(path, _)| (path.display().to_string(), std::fs::read(&path).unwrap()));
    named.collect()
}

/// Which of the texts a client gave can be read in the directory.
fn readable(directory: &Path) -> Vec<&'static [u8]> {
    let texts = [CHANNEL.as_bytes(), CLIENT.as_bytes(), DURABLE.as_bytes(), PAYLOAD];
    let files = contents(directory);
    let is_in = |text: &[u8]| {
        files
            .values()
            .any(|file| file.windows(text.len()).any(|window| window == text))
    };
    texts.into_iter().filter(|text| is_in(text)).collect()
}

/// Also RunServerWithCrypto: a store is opened again without its key.
#[test]
fn nothing_that_clients_say_is_readable_and_only_the_key_opens_it() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let with_key = ["-encrypt", "-encryption_key", KEY];
    let server = start(directory, &with_key, None);
    publish(&server, 20);
    stop(server);
    assert_eq!(readable(directory), [b""; 0]);
    let before = contents(directory);
    for (more, environment, text) in [
        (&[][..], None, "-encryption_key"),
        (
            &["-encrypt", "-encryption_key", "another"],
            None,
            "the key that this store was",
        ),
        (&with_key, Some("another"), "NATS_STREAMING_ENCRYPTION_KEY"),
    ] {
        let (code, log) = refused(directory, more, environment);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(text) && log.contains("nothing was changed"), "{log}");
        assert!(contents(directory) == before, "the directory is as it was");
    }
    // A key alone turns encryption on, the environment goes before everything, and the cipher may change.
    for (more, environment) in [
        (&["-encryption_key", KEY][..], None),
        (&["-encrypt", "-encryption_key", "another"], Some(KEY)),
        (&["-encrypt", "-encryption_cipher", "chacha"], Some(KEY)),
        (&["-encrypt", "-encryption_cipher", "AES"], Some(KEY)),
    ] {
        let server = start(directory, more, environment);
        read(&server, 20);
        stop(server);
        assert_eq!(readable(directory), [b""; 0]);
    }
}

#[test]
fn a_store_gets_encrypted_later_and_stays_readable() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let server = start(directory, &[], None);
    publish(&server, 5);
    stop(server);
    assert_eq!(readable(directory).len(), 4, "without a key everything can be read");
    let server = start(directory, &["-encrypt"], Some(KEY));
    let mut session = server.session("later");
    for _ in 0..5 {
        session.publish(CHANNEL, PAYLOAD).unwrap();
    }
    session.publish("recognisable-second-channel", b"empty").unwrap();
    read(&server, 10);
    stop(server);
    let second = b"recognisable-second-channel";
    let shows = |file: &Vec<u8>| file.windows(second.len()).any(|window| window == second);
    assert!(!contents(directory).values().any(shows), "what is new is encrypted");
    let (code, log) = refused(directory, &[], None);
    assert_eq!(code, Some(1), "{log}");
    let server = start(directory, &["-encrypt"], Some(KEY));
    read(&server, 10);
    stop(server);
}

#[test]
fn encryption_without_key_or_with_an_unknown_cipher_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let (code, log) = refused(directory.path(), &["-encrypt"], None);
    assert!(
        code == Some(1) && log.contains("encryption key required"),
        "{code:?}: {log}"
    );
    let unknown = ["-encrypt", "-encryption_key", KEY, "-encryption_cipher", "rot13"];
    let (code, log) = refused(directory.path(), &unknown, None);
    assert!(
        code == Some(1) && log.contains("encryption cipher not supported"),
        "{code:?}: {log}"
    );
    assert!(contents(directory.path()).is_empty());
}

#[test]
fn the_memory_store_takes_a_key_and_says_that_nothing_is_written() {
    let mut server = Server::in_memory(&["-encrypt", "-encryption_key", KEY]);
    assert!(server.wait_for_line("nothing is written to disk").is_some());
    publish(&server, 3);
    read(&server, 3);
    stop(server);
}
