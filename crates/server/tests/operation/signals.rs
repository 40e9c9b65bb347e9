//! Signals, files and exit codes (`streaming-protocol.md` §7.4, §7.7, §9.5; `nats-core.md` §5.6, §9.10; §13.8).

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::requests::all;
use crate::support::{Binary, PATIENCE, Server, run};
use rustix::process::Signal;
use seaway_bench::stan::Session;

/// Waits until a file contains a text; what it contains then.
fn wait_for_text(path: &Path, text: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = std::fs::read_to_string(path).unwrap_or_default();
        if found.contains(text) {
            return found;
        }
        assert!(Instant::now() < deadline, "{text:?} did not come: {found}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// A server that logs into a file.
struct Logging {
    server: Server,
    file: PathBuf,
}

impl Logging {
    fn start(folder: &Path, more: &[&str]) -> Logging {
        let file = folder.join("log");
        let mut command = std::process::Command::new(Binary::NatsStreamingServer.path());
        command
            .args(["-p", "-1", "-a", "127.0.0.1", "-l"])
            .arg(&file)
            .args(more);
        let mut server = Server::begin(&mut command);
        let text = wait_for_text(&file, "Streaming Server is ready");
        server.log = text.lines().map(str::to_owned).collect();
        server.find_addresses();
        Logging { server, file }
    }
}

#[test]
fn interrupt_and_terminate_end_the_server_with_their_codes() {
    // §7.4, §7.7, §13.8 SignalTrapsSIGTERM.
    for (signal, code) in [(Signal::INT, 0), (Signal::TERM, 143)] {
        let (status, log) = Server::in_memory(&[]).signal_and_wait(signal);
        assert_eq!(status.code(), Some(code), "{log:#?}");
        let said: Vec<&str> = log[log.len() - 3..]
            .iter()
            .map(|line| &line[line.find("[INF] ").unwrap_or(0)..])
            .collect();
        let expected = [
            "[INF] STREAM: Shutting down.",
            "[INF] Initiating Shutdown...",
            "[INF] Server Exiting..",
        ];
        assert_eq!(said, expected, "nats-core.md §7");
    }
}

#[test]
fn repeated_interrupts_change_nothing() {
    // §9.5, §13.8 DoubleShutdown: the first one counts.
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_files(folder.path(), &[]);
    server.session("me").publish("foo", b"x").unwrap();
    server.signal(Signal::INT);
    server.signal(Signal::TERM);
    server.signal(Signal::INT);
    let (status, log) = server.wait();
    // Two signals that wait at the same time come in no particular order.
    assert!(matches!(status.code(), Some(0 | 143)), "{status} {log:#?}");
    assert!(
        !log.iter().any(|line| line.contains("[ERR]") || line.contains("[FTL]")),
        "{log:#?}"
    );
    let again = Server::with_files(folder.path(), &[]);
    assert!(again.log.iter().any(|line| line.contains("Recovered 1 channel(s)")));
}

#[test]
fn other_signals_do_not_end_the_server() {
    // §7.7, §13.8 SignalIgnoreUnknown; the log is no file, and there is no configuration to reload.
    let mut server = Server::in_memory(&[]);
    server.signal(Signal::USR2);
    server.signal(Signal::USR1);
    let line = server.wait_for_line("re-open").unwrap();
    assert!(
        line.ends_with("[INF] File log re-open ignored, not a file logger"),
        "{line}"
    );
    server.signal(Signal::HUP);
    let line = server.wait_for_line("[ERR] Reload: ").unwrap();
    assert!(
        line.ends_with("can only reload config when a file is provided using -c or --config"),
        "{line}"
    );
    server.session("me").publish("foo", b"x").unwrap();
    assert_eq!(server.signal_and_wait(Signal::INT).0.code(), Some(0));
}

#[test]
fn a_moved_log_file_is_opened_again_and_keeps_its_settings() {
    // §7.7, §13.8 ReopenLogFileStopsNATSDebugTrace, SignalToReOpenLogFile; nats-core.md §9.10 row 144.
    let folder = tempfile::tempdir().unwrap();
    let logging = Logging::start(folder.path(), &["-DV", "-logtime=false"]);
    let moved = folder.path().join("moved");
    std::fs::rename(&logging.file, &moved).unwrap();
    logging.server.signal(Signal::USR1);
    wait_for_text(&logging.file, "[INF] File log re-opened\n");
    logging.server.session("me").publish("foo", b"x").unwrap();
    let text = wait_for_text(&logging.file, "has been created");
    assert!(text.contains("[TRC] 127.0.0.1:"), "the broker's switches stay: {text}");
    assert!(
        !text.contains("[DBG] STREAM:") && !text.contains("[TRC] STREAM:"),
        "{text}"
    );
    let plain = format!("[{}] [", logging.server.pid());
    assert!(text.lines().all(|line| line.starts_with(&plain)), "no times: {text}");
    let old = std::fs::read_to_string(&moved).unwrap();
    assert!(old.ends_with("Streaming Server is ready\n"), "{old}");
}

#[test]
fn a_log_file_is_rotated_by_size_also_after_it_was_opened_again() {
    // §9.1, §13.8 "size limit; rotation still applies".
    let folder = tempfile::tempdir().unwrap();
    let logging = Logging::start(folder.path(), &["-V", "-log_size_limit", "20000"]);
    logging.server.signal(Signal::USR1);
    wait_for_text(&logging.file, "File log re-opened");
    let mut session = logging.server.session("me");
    for _ in 0..300 {
        session.publish("foo", b"x").unwrap();
    }
    let rotated = || {
        let names = std::fs::read_dir(folder.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.starts_with("log.")).collect();
        names.sort();
        names
    };
    let deadline = Instant::now() + PATIENCE;
    while rotated().len() < 3 {
        assert!(Instant::now() < deadline, "{:?}", rotated());
        std::thread::park_timeout(Duration::from_millis(2));
    }
    for name in rotated() {
        let digits: Vec<usize> = name.split('.').skip(1).map(str::len).collect();
        assert_eq!(digits, [4, 2, 2, 2, 2, 2, 9], "{name}");
        let size = std::fs::metadata(folder.path().join(&name)).unwrap().len();
        assert!((15_000..25_000).contains(&size), "{name}: {size}");
    }
}

#[test]
fn what_was_acknowledged_before_the_end_is_there_after_it() {
    // §9.5, §13.8 PersistentStoreNoPanicOnShutdown: the end comes while clients publish as fast as they can.
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_files(folder.path(), &[]);
    let (busy, is_busy) = mpsc::channel();
    let publishers: Vec<_> = (0..4)
        .map(|number| {
            let mut session = server.session(&format!("publisher{number}"));
            let busy = busy.clone();
            std::thread::spawn(move || {
                let mut acked = Vec::new();
                for round in 0_u64.. {
                    let sent: Vec<(String, String)> = (0..50)
                        .map(|index| {
                            let data = format!("{number}-{round}-{index}");
                            (session.publish_async("foo", data.as_bytes()), data)
                        })
                        .collect();
                    for _ in 0..sent.len() {
                        // The connection ends, or the broker says before that nobody serves any more.
                        let Some(ack) = session.next_pub_ack(PATIENCE).ok().filter(|ack| !ack.guid.is_empty()) else {
                            return acked;
                        };
                        assert_eq!(ack.error.len(), 0, "{ack:?}");
                        let (_, data) = sent.iter().find(|(guid, _)| guid.as_bytes() == &ack.guid[..]).unwrap();
                        acked.push(data.clone());
                    }
                    let _ = busy.send(());
                }
                acked
            })
        })
        .collect();
    for _ in 0..40 {
        is_busy.recv_timeout(PATIENCE).unwrap();
    }
    let (status, log) = server.signal_and_wait(Signal::TERM);
    assert_eq!(status.code(), Some(143), "{log:#?}");
    assert!(
        !log.iter().any(|line| line.contains("[ERR]") || line.contains("[FTL]")),
        "{log:#?}"
    );
    let acked: Vec<String> = publishers
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    assert!(acked.len() >= 2000, "{}", acked.len());

    let server = Server::with_files(folder.path(), &[]);
    let body = server.get("/streaming/channelsz?channel=foo").1;
    let last = body.split("\"last_seq\": ").nth(1).unwrap();
    let last: u64 = last
        .split(|byte: char| !byte.is_ascii_digit())
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let mut session = server.session("reader");
    let subscribed = session.subscribe(all("foo")).unwrap();
    let mut stored = std::collections::HashSet::new();
    for sequence in 1..=last {
        let message = session.next_message(PATIENCE).unwrap();
        assert_eq!(message.sequence, sequence);
        stored.insert(String::from_utf8(message.data).unwrap());
        session.ack(&subscribed, sequence);
    }
    let missing: Vec<_> = acked.iter().filter(|data| !stored.contains(*data)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn clients_and_subscriptions_stay_for_the_next_start() {
    // §9.5: clients are not notified and stay registered in a persistent store.
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_files(folder.path(), &[]);
    let mut session = server.session("me");
    session.subscribe(all("foo")).unwrap();
    let (status, _) = server.signal_and_wait(Signal::INT);
    assert_eq!(status.code(), Some(0));
    assert_eq!(session.probes, 0);
    let server = Server::with_files(folder.path(), &[]);
    let (_, body) = server.get("/streaming/clientsz?client=me&subs=1");
    assert!(body.contains("\"subs_count\": 1"), "{body}");
    session.reconnect(&server.address).unwrap();
    let mut other = Session::open(&server.address, "test-cluster", "other").unwrap();
    other.publish("foo", b"x").unwrap();
    assert_eq!(session.next_message(PATIENCE).unwrap().sequence, 1);
}

#[test]
fn the_pid_file_stays_and_the_ports_file_goes() {
    // nats-core.md §5.6, §9.10 rows 139 and 140.
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    std::fs::write(&pid_file, "of an earlier process").unwrap();
    let arguments = [
        "-P",
        pid_file.to_str().unwrap(),
        "-ports_file_dir",
        folder.path().to_str().unwrap(),
    ];
    let server = Server::in_memory(&arguments);
    let pid = server.pid().to_string();
    assert_eq!(std::fs::read_to_string(&pid_file).unwrap(), pid);
    let ports = folder.path().join(format!("nats-streaming-server_{pid}.ports"));
    assert_eq!(
        std::fs::read_to_string(&ports).unwrap(),
        format!(
            r#"{{"nats":["nats://{}"],"monitoring":["http://{}"]}}"#,
            server.address,
            server.monitoring.as_ref().unwrap()
        )
    );
    server.signal_and_wait(Signal::INT);
    assert_eq!(std::fs::read_to_string(&pid_file).unwrap(), pid);
    assert!(!ports.exists());
}

/// nats-core.md §5.6: the file has the name under which the server was started, whatever binary that is.
#[test]
fn the_ports_file_has_the_name_that_was_called() {
    use std::os::unix::process::CommandExt as _;
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(crate::support::Binary::NatsStreamingServer.path());
    command.arg0("some/where/nats-streaming-server-0.25.6");
    command.args(["-p", "-1", "-m", "-1", "-a", "127.0.0.1", "-ports_file_dir"]);
    let server = Server::spawn(command.arg(folder.path())).unwrap_or_else(|log| panic!("{log:#?}"));
    assert!(
        folder
            .path()
            .join(format!("nats-streaming-server-0.25.6_{}.ports", server.pid()))
            .exists()
    );
}

#[test]
fn what_cannot_start_says_why_and_exits_with_1() {
    // §7.4, §9.6, §3.
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let port_taken = format!("[FTL] STREAM: Failed to start: Error listening on port: 127.0.0.1:{port}, \"");
    let a_file = folder.path().join("file");
    std::fs::write(&a_file, "").unwrap();
    let a_file = a_file.to_str().unwrap();
    let table: [(&[&str], &str); 7] = [
        // §13.8 StoreTypeUnknown, FileStoreMissingDirectory.
        (&["-st", "paper"], "unsupported store type: PAPER\n"),
        (&["-st", "file"], "for FILE stores, root directory must be specified\n"),
        (&["-mb", "12abc"], "should be a size, got '12abc'\n"),
        (&["hop"], "unrecognized command: \"hop\"\n"),
        (&["-a", "127.0.0.1", "-p", &port], &port_taken),
        (
            &["-p", "-1", "-P", "/nowhere/pid"],
            "Failed to start: could not write pid file /nowhere/pid",
        ),
        (
            &["-p", "-1", "-st", "file", "-dir", a_file],
            "Failed to start: cannot use the store directory",
        ),
    ];
    for (arguments, text) in table {
        let (status, stdout, stderr) = run(Binary::NatsStreamingServer, arguments, folder.path());
        assert_eq!(status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(text), "{arguments:?}: {stderr}");
        assert_eq!(stdout, "", "{arguments:?}");
    }
}

/// `nats-core.md` §1.13, §9.5 rows 69 and 70: as `seaway` the server lets its clients go first.
#[test]
fn a_lame_duck_ends_when_its_clients_have_gone() {
    let folder = tempfile::tempdir().unwrap();
    let start = |file: &str| {
        let mut command = Command::new(Binary::Seaway.path());
        command.args([
            "-p",
            "-1",
            "-m",
            "-1",
            "-a",
            "127.0.0.1",
            "-store",
            "memory",
            "-c",
            file,
        ]);
        Server::spawn(&mut command).unwrap()
    };
    let file = folder.path().join("server.conf");
    std::fs::write(&file, "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"1s\"\n").unwrap();
    let file = file.to_str().unwrap();
    let mut server = start(file);
    let mut client = BufReader::new(TcpStream::connect(&server.address).unwrap());
    client.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    let connect = b"CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n";
    client.get_mut().write_all(connect).unwrap();
    let mut next = || {
        let mut line = String::new();
        client.read_line(&mut line).unwrap();
        line
    };
    while next() != "PONG\r\n" {}
    let mut session = server.session("me");
    let pid = server.pid().to_string();
    let (status, stdout, stderr) = run(Binary::Seaway, &["-sl", &format!("ldm={pid}")], folder.path());
    assert_eq!((status.code(), stdout.as_str(), stderr.as_str()), (Some(0), "", ""));
    server
        .wait_for_line("Entering lame duck mode, stop accepting new clients")
        .unwrap();
    // SIGTERM does not shorten it.
    server.signal(Signal::TERM);
    while !next().contains("\"ldm\":true") {}
    session
        .publish("foo", b"acknowledged as long as it is connected")
        .unwrap();
    server.wait_for_line("Closing existing clients").unwrap();
    while !next().is_empty() {}
    drop(session);
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log:#?}");
    assert!(log.iter().any(|line| line.contains("Server Exiting..")), "{log:#?}");
    // Nobody is waited for where nobody is.
    let begun = Instant::now();
    let (status, log) = start(file).signal_and_wait(Signal::USR2);
    assert_eq!(status.code(), Some(0), "{log:#?}");
    assert!(begun.elapsed() < PATIENCE, "{log:#?}");
}
