//! The commands of the `seaway` binary against a running server (`docs/command-line.md`).

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use crate::support::shell::{Shell, finish};
use crate::support::{Binary, PATIENCE, Server};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A command that goes on, with the lines it prints.
struct Running {
    child: Child,
    lines: Receiver<String>,
    notes: Receiver<String>,
}

impl Running {
    fn start(command: &mut Command) -> Running {
        let mut child = command.spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        let notes = lines_of(child.stderr.take().unwrap());
        Running { child, lines, notes }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line comes in time")
    }

    fn note(&self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let note = self
                .notes
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("no note {wanted:?}"));
            if note.contains(wanted) {
                return;
            }
        }
    }

    fn interrupt(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::yield_now();
        }
        panic!("it does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

#[test]
fn ten_thousand_lines_are_published_in_order() {
    let server = Server::in_memory(&[]);
    let shell = Shell::at(&server.address);
    let input: String = (1..=10_000).map(|number| format!("line {number}\n")).collect();
    let said = shell
        .run_with_input(&["pub", "lines", "--json"], input.into_bytes())
        .expect(0);
    let report = &said.json()[0];
    assert_eq!(
        (&report["acknowledged"], &report["unacknowledged"]),
        (&10_000.into(), &0.into())
    );
    assert_eq!(said.stderr, "", "no progress bar without a terminal");
    let all = shell
        .run(&["sub", "lines", "--all", "--count", "10000", "--json"])
        .expect(0)
        .json();
    assert_eq!(all.len(), 10_000);
    for (number, message) in (1_u64..).zip(&all) {
        assert_eq!(
            (&message["sequence"], &message["redelivery_count"]),
            (&number.into(), &0.into())
        );
        assert_eq!(message["payload"], format!("line {number}"));
        assert!(message["timestamp"].as_str().unwrap().ends_with('Z') && message["channel"] == "lines");
    }
}

#[test]
fn messages_come_from_arguments_templates_and_files() {
    let server = Server::in_memory(&[]);
    let shell = Shell::at(&server.address);
    let said = shell.run(&["pub", "c", "{{Count}} of 3", "--count", "3"]).expect(0);
    assert_eq!(said.stdout, "Published 3 messages to c.\n");
    let file = shell.file("picture", "two\nlines");
    assert_eq!(
        shell
            .run(&["pub", "c", "--read-file", &file, "--quiet"])
            .expect(0)
            .stdout,
        ""
    );
    shell.run(&["pub", "c", "{{Count}}", "--raw"]).expect(0);
    let raw = shell.run(&["sub", "c", "--all", "--raw", "-n", "5"]).expect(0);
    assert_eq!(raw.stdout, "1 of 3\n2 of 3\n3 of 3\ntwo\nlines\n{{Count}}\n");
    let said = shell.run(&["pub", "c", "{{Conut}}"]).expect(2);
    assert!(said.stderr.contains("{{Count}}"), "{said:#?}");
    shell.run(&["pub", "c", "--count", "2"]).expect(2);
    let said = shell.run(&["pub", "c", "--read-file", "missing"]).expect(1);
    assert!(said.stderr.contains("missing: "), "{said:#?}");
    shell.run(&["pub", "wild.*", "x"]).expect(1);
}

#[test]
fn what_is_not_acknowledged_is_counted_and_fails() {
    let server = Server::in_memory(&["-max_channels", "1"]);
    let shell = Shell::at(&server.address);
    shell.run(&["pub", "first", "x"]).expect(0);
    let said = shell
        .run_with_input(&["pub", "second", "--json"], b"a\nb\n".to_vec())
        .expect(1);
    let report = &said.json()[0];
    assert_eq!(report["acknowledged"], 0);
    assert!(report["unacknowledged"].as_u64().unwrap() >= 1, "{report}");
    assert!(said.stderr.contains("too many channels"), "{said:#?}");
}

#[test]
fn every_start_position_begins_where_it_says() {
    let server = Server::in_memory(&[]);
    let shell = Shell::at(&server.address);
    shell.run(&["pub", "c", "{{Count}}", "-n", "4"]).expect(0);
    for (flags, expected) in [
        (["--all"].as_slice(), "1\n2\n3\n4\n"),
        (&["--last"], "4\n"),
        (&["--from", "3"], "3\n4\n"),
        (&["--since", "1h"], "1\n2\n3\n4\n"),
        (&["--at", "2001-01-01T00:00:00Z"], "1\n2\n3\n4\n"),
    ] {
        let count = expected.lines().count().to_string();
        let arguments = [["sub", "c", "--raw", "-q", "-n", &count].as_slice(), flags].concat();
        let said = shell.run(&arguments).expect(0);
        assert_eq!(
            (said.stdout.as_str(), said.stderr.as_str()),
            (expected, ""),
            "{flags:?}"
        );
    }
    let new_only = Running::start(&mut shell.command(&["sub", "c", "--raw", "-n", "1"]));
    new_only.note("Subscribed to c");
    shell.run(&["pub", "c", "new"]).expect(0);
    assert_eq!(new_only.line(), "new");
    let said = shell
        .run(&["sub", "c", "--from", "5", "-n", "2", "--idle", "200ms"])
        .expect(4);
    assert!(said.stderr.contains("only 1 of 2 messages"), "{said:#?}");
    shell.run(&["sub", "c", "--idle", "100ms"]).expect(0);
    shell.run(&["sub", "c", "--all", "--last"]).expect(2);
    shell.run(&["sub", "c", "--raw", "--json"]).expect(2);
    shell.run(&["sub", "c", "--ack-wait", "0s"]).expect(2);
}

#[test]
fn an_interrupted_durable_goes_on_where_it_ended() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut shell = Shell::at(&server.address);
    shell.run(&["pub", "orders", "{{Count}}", "-n", "3"]).expect(0);
    let arguments = ["sub", "orders", "--durable", "printer", "--all", "--json"];
    let running = Running::start(&mut shell.command(&arguments));
    running.note("durable printer of client seaway-orders-printer");
    for expected in 1..=3 {
        let message: Value = serde_json::from_str(&running.line()).unwrap();
        assert_eq!(message["sequence"], expected);
    }
    assert_eq!(running.interrupt(), Some(0));
    shell.run(&["pub", "orders", "later"]).expect(0);
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    shell.server = server.address.clone();
    let running = Running::start(&mut shell.command(&arguments));
    let message: Value = serde_json::from_str(&running.line()).unwrap();
    assert_eq!(
        (&message["sequence"], &message["redelivery_count"]),
        (&4.into(), &0.into())
    );
    assert_eq!(running.interrupt(), Some(0));
    shell
        .run(&["sub", "orders", "--durable", "printer", "--unsubscribe"])
        .expect(0);
    let again = shell
        .run(&["sub", "orders", "--durable", "printer", "--all", "-n", "1", "--raw"])
        .expect(0);
    assert_eq!(again.stdout, "1\n", "its place is forgotten");
}

#[test]
fn a_subscription_waits_for_a_server_that_went_away() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let shell = Shell::at(&server.address);
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    let running = Running::start(&mut shell.command(&["sub", "c", "--durable", "d", "--raw", "-n", "1"]));
    running.note("Subscribed");
    server.kill();
    let _server = Server::with_files(directory.path(), &["-p", &port]);
    shell.run(&["pub", "c", "after"]).expect(0);
    assert_eq!(running.line(), "after");
}

#[test]
fn lines_acknowledge_when_they_are_asked_to() {
    let server = Server::in_memory(&[]);
    let shell = Shell::at(&server.address);
    shell.run(&["pub", "c", "{{Count}}", "-n", "3"]).expect(0);
    let arguments = [
        "sub",
        "c",
        "--durable",
        "d",
        "--all",
        "--manual-ack",
        "--raw",
        "-n",
        "2",
    ];
    let mut command = shell.command(&arguments);
    let mut running = Running::start(command.arg("--max-in-flight").arg("3").stdin(Stdio::piped()));
    for expected in ["1", "2", "3"] {
        assert_eq!(running.line(), expected);
    }
    let mut stdin = running.child.stdin.take().unwrap();
    stdin.write_all(b"9\n3\n\n").unwrap();
    running.note("No message \"9\"");
    assert!(wait(&mut running.child), "two are acknowledged: 3 and 1");
    let rest = shell.run(&["sub", "c", "--durable", "d", "-n", "1"]).expect(0);
    assert!(
        rest.stdout.starts_with("#2  ") && rest.stdout.contains("redelivered 1 time  2"),
        "{rest:#?}"
    );
}

fn wait(child: &mut Child) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some_and(|status| status.success()) {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

#[test]
fn payloads_are_made_readable_for_people() {
    let server = Server::in_memory(&[]);
    let shell = Shell::at(&server.address);
    shell.run(&["pub", "c", r#"{"a":1}"#]).expect(0);
    let file = shell.file("escape", "\u{1b}[2J");
    shell.run(&["pub", "c", "--read-file", &file]).expect(0);
    let said = shell.run(&["sub", "c", "--all", "-n", "2"]).expect(0);
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert!(
        lines[0].starts_with("#1  ") && lines[4].starts_with("#2  "),
        "{said:#?}"
    );
    assert_eq!(lines[1..4], ["{", "  \"a\": 1", "}"]);
    assert!(lines[5].starts_with("00000000  1b 5b 32 4a "), "{said:#?}");
    assert!(!said.stdout.contains('\u{1b}'), "no colours and no payload in a pipe");
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    let server = Server::in_memory(&[]);
    let shell = Shell::at(&server.address);
    shell.run(&["pub", "c", "{{Text 1000}}", "-n", "2000"]).expect(0);
    for arguments in [
        ["sub", "c", "--all", "-q"].as_slice(),
        &["completions", "bash"],
        &["--help"],
    ] {
        let mut child = shell.command(arguments).spawn().unwrap();
        let mut first = [0; 1];
        let mut stdout: ChildStdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut first).unwrap();
        drop(stdout);
        let said = finish(child).expect(0);
        assert_eq!(said.stderr, "", "{arguments:?}");
    }
}

#[test]
fn who_does_not_answer_is_named() {
    let server = Server::in_memory(&[]);
    let shell = Shell::at(&server.address);
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let said = shell.run(&["pub", "c", "x", "--server", &free.to_string()]).expect(4);
    assert!(said.stderr.contains("no server answers at 127.0.0.1:"), "{said:#?}");
    for arguments in [["pub", "c", "x"].as_slice(), &["channels"], &["peek", "c"]] {
        let said = shell.run(&[arguments, &["--cluster", "nobody"]].concat()).expect(4);
        assert!(
            said.stderr.contains("no streaming server with cluster ID \"nobody\""),
            "{said:#?}"
        );
    }
    let said = shell.run(&["channels", "--tls"]).expect(4);
    assert!(said.stderr.contains("does not speak TLS"), "{said:#?}");
}

/// A streaming server that refuses every client and has no administration interface, behind a real NATS server.
fn original_behind(address: &str) -> std::net::TcpStream {
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    socket
        .write_all(b"CONNECT {\"verbose\":false}\r\nSUB _STAN.discover.original 1\r\nPING\r\n")
        .unwrap();
    let mut answering = socket.try_clone().unwrap();
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["PONG"] => drop(ready.send(())),
                ["MSG", _, _, reply, _] => drop(write!(answering, "PUB {reply} 3\r\n*\u{1}x\r\n")),
                _ => {}
            }
            line.clear();
        }
    });
    is_ready.recv_timeout(PATIENCE).unwrap();
    socket
}

#[test]
fn a_server_without_the_administration_interface_is_told_from_none() {
    let server = Server::in_memory(&[]);
    let shell = Shell::at(&server.address);
    let _original = original_behind(&server.address);
    let said = shell.run(&["channels", "--cluster", "original"]).expect(4);
    assert!(said.stderr.contains("has no administration interface"), "{said:#?}");
}

#[test]
fn credentials_and_permissions_are_checked() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = r#"authorization { users = [
        { user: ops, password: secret }
        { user: poor, password: secret, permissions: { publish: ["other"] } }
    ] }"#;
    let server = Server::configured(directory.path(), configuration, &[]).unwrap();
    let shell = Shell::at(&server.address);
    let (good, bad) = (shell.file("good", "secret\n"), shell.file("bad", "hunter2"));
    let said = shell.run(&["pub", "c", "x"]).expect(5);
    assert!(said.stderr.contains("demands credentials"), "{said:#?}");
    let said = shell
        .run(&["pub", "c", "x", "--user", "ops", "--password-file", &bad])
        .expect(5);
    assert!(
        said.stderr.contains("does not accept") && !said.stderr.contains("hunter2"),
        "{said:#?}"
    );
    shell.run(&["pub", "c", "x", "--user", "ops"]).expect(2);
    shell
        .run(&["pub", "c", "x", "--user", "ops", "--password-file", &good])
        .expect(0);
    let by_variable = shell
        .command(&["pub", "c", "x", "--user", "ops"])
        .env("SEAWAY_CLI_PASSWORD", "secret")
        .spawn();
    finish(by_variable.unwrap()).expect(0);
    for arguments in [["pub", "c", "x"].as_slice(), &["channels"], &["peek", "c"]] {
        let arguments = [arguments, &["--user", "poor", "--password-file", &good]].concat();
        let said = shell.run(&arguments).expect(5);
        assert!(said.stderr.contains("Permissions Violation"), "{said:#?}");
    }
}

#[test]
fn contexts_name_servers() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = "authorization { user: ops, password: secret }";
    let server = Server::configured(directory.path(), configuration, &["-cid", "prod"]).unwrap();
    let mut shell = Shell::at(&server.address);
    shell.server = String::new();
    let password = shell.file("password", "secret");
    let with_password = format!("nats://ops:secret@{}", server.address);
    shell.run(&["context", "ls"]).expect(0);
    shell.run(&["context", "show"]).expect(3);
    let flags = [
        "--server",
        &server.address,
        "--cluster",
        "prod",
        "--user",
        "ops",
        "--password-file",
        &password,
    ];
    let said = shell
        .run(&[["context", "add", "prod"].as_slice(), &flags].concat())
        .expect(0);
    assert!(said.stdout.contains("Context prod is selected"), "{said:#?}");
    shell.run(&["context", "add", "prod"]).expect(1);
    shell
        .run(&["context", "add", "url", "--server", &with_password, "--cluster", "prod"])
        .expect(0);
    let path = shell.contexts().join("contexts").join("prod.json");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // The selected one, one by flag, one by variable.
    shell.run(&["pub", "c", "1"]).expect(0);
    shell.run(&["pub", "c", "2", "--context", "url"]).expect(0);
    let by_variable = shell
        .command(&["sub", "c", "--all", "--raw", "-n", "2"])
        .env("SEAWAY_CONTEXT", "url")
        .spawn();
    assert_eq!(finish(by_variable.unwrap()).expect(0).stdout, "1\n2\n");
    // Flags win, and secrets stay at home.
    shell.run(&["pub", "c", "3", "--cluster", "other"]).expect(4);
    shell
        .run(&["pub", "c", "3", "--server", &server.address, "--cluster", "prod"])
        .expect(5);
    shell
        .run(&["pub", "c", "3", "--server", &server.address, "--context", "prod"])
        .expect(0);
    let listed = shell.run(&["context", "ls", "--json"]).expect(0).json();
    let names: Vec<_> = listed
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), &one["selected"]))
        .collect();
    assert_eq!(names, [("prod", &true.into()), ("url", &false.into())]);
    for arguments in [
        ["context", "show", "url"].as_slice(),
        &["context", "show", "prod", "--json"],
        &["context", "ls"],
    ] {
        let said = shell.run(arguments).expect(0);
        assert!(
            !said.stdout.contains("secret") && said.stdout.contains(&server.address),
            "{said:#?}"
        );
    }
    shell.run(&["context", "select", "none"]).expect(3);
    shell.run(&["context", "select", "url"]).expect(0);
    shell.run(&["context", "rm", "url"]).expect(0);
    shell.run(&["context", "show"]).expect(3);
    let said = shell.run(&["channels", "--context", "url"]).expect(3);
    assert!(said.stderr.contains("there are prod"), "{said:#?}");
    shell.run(&["context", "add", "../x"]).expect(2);
}

#[test]
fn commands_and_flags_of_the_server_share_one_binary() {
    let shell = Shell::at("");
    let said = shell.run(&["chanels"]).expect(2);
    assert!(said.stderr.contains("'channels'"), "{said:#?}");
    let said = shell.run(&["pbu"]).expect(2);
    assert!(said.stderr.contains("'pub'"), "{said:#?}");
    let said = shell.run(&["chekc-config"]).expect(2);
    assert!(said.stderr.contains("'check-config'"), "{said:#?}");
    for arguments in [["help"].as_slice(), &["--help"], &["-h"]] {
        let said = shell.run(arguments).expect(0);
        for text in ["\n    pub ", "\n    check-config ", "-max_msgs"] {
            assert!(said.stdout.contains(text), "{text:?} in {}", said.stdout);
        }
    }
    assert!(shell.run(&["help", "sub"]).expect(0).stdout.contains("--durable"));
    assert!(shell.run(&["version"]).expect(0).stdout.starts_with("seaway v"));
    let said = shell.run(&["--json", "channels"]).expect(2);
    assert!(
        said.stderr.contains("Commands come first: seaway channels"),
        "{said:#?}"
    );
    let file = shell.file("a.conf", "prot: 4222");
    let said = shell.run(&["check-config", &file]);
    assert!(said.stdout.contains("port"), "{said:#?}");
    shell.run(&["pub"]).expect(2);
    for shell_name in ["bash", "zsh", "fish"] {
        assert!(
            shell
                .run(&["completions", shell_name])
                .expect(0)
                .stdout
                .contains("check-config")
        );
    }
}

#[test]
fn variables_of_commands_are_none_of_the_servers() {
    let mut command = Command::new(Binary::Seaway.path());
    command
        .args(["-p", "-1", "-m", "-1", "-store", "memory"])
        .env("SEAWAY_CLI_SERVER", "x")
        .env("SEAWAY_CONTEXT", "x");
    let server = Server::spawn(&mut command).unwrap();
    assert!(
        !server.log.iter().any(|line| line.contains("SEAWAY_C")),
        "{:#?}",
        server.log
    );
}

#[test]
fn the_program_is_installed_under_the_originals_name() {
    let shell = Shell::at("");
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("bin");
    let shown = directory.to_str().unwrap();
    let command = "install-as-nats-streaming-server";
    let said = shell.run(&[command, shown]).expect(1);
    assert!(
        said.stderr.contains(&format!("`mkdir -p {shown}` makes it")),
        "{said:#?}"
    );
    std::fs::create_dir(&directory).unwrap();
    let said = shell.run(&[command, shown]).expect(0);
    assert!(
        said.stdout.contains("/nats-streaming-server is a link to /"),
        "{said:#?}"
    );
    assert!(said.stderr.contains("is not in PATH: export PATH="), "{said:#?}");
    let installed = directory.join("nats-streaming-server");
    let version = || {
        finish(
            Command::new(&installed)
                .arg("-v")
                .stdout(Stdio::piped())
                .spawn()
                .unwrap(),
        )
        .stdout
    };
    assert_eq!(
        version(),
        "nats-streaming-server version 0.25.6, nats-server: v2.9.24\n"
    );

    // Again changes nothing; a copy takes the place of the link, and is another program from then on.
    let said = shell.run(&[command, shown]).expect(0);
    assert!(said.stdout.contains("already"), "{said:#?}");
    shell.run(&[command, shown, "--copy"]).expect(0);
    assert!(std::fs::symlink_metadata(&installed).unwrap().is_file());
    assert_eq!(
        version(),
        "nats-streaming-server version 0.25.6, nats-server: v2.9.24\n"
    );

    // The original stays unless somebody says otherwise.
    std::fs::write(&installed, "the original").unwrap();
    let said = shell.run(&[command, shown]).expect(1);
    assert!(
        said.stderr.contains("is another program; --force replaces it"),
        "{said:#?}"
    );
    assert_eq!(std::fs::read(&installed).unwrap(), b"the original");
    let said = shell.run(&[command, shown, "--force", "--json"]).expect(0);
    assert_eq!(said.json()[0]["copy"], false);
    assert!(version().starts_with("nats-streaming-server version"));
    assert_eq!(
        std::fs::read_dir(&directory).unwrap().count(),
        1,
        "nothing unfinished is left"
    );
}
