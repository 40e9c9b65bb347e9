//! Configuration as an operator meets it: the real binaries with real files (`streaming-protocol.md` §7, §13.8,
//! `nats-core.md` §9.10).

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Binary, PATIENCE, Server, files, run};

const ORIGINAL: Binary = Binary::NatsStreamingServer;
const SEAWAY: Binary = Binary::Seaway;

/// A folder with files in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        for (name, text) in files {
            std::fs::write(folder.path(name), text).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Runs a binary in the folder to its end.
    fn run(&self, binary: Binary, line: &str) -> (i32, String, String) {
        let arguments: Vec<_> = line.split_whitespace().collect();
        let (status, stdout, stderr) = run(binary, &arguments, self.0.path());
        (status.code().expect("an exit code"), stdout, stderr)
    }

    /// Checks that a start is refused with a text and exit code 1, and that the folder stays as it was.
    #[track_caller]
    fn check_refused(&self, line: &str, text: &str) {
        let before = files(self.0.path());
        let (code, stdout, stderr) = self.run(ORIGINAL, line);
        assert_eq!((code, stdout.as_str()), (1, ""), "{line}: {stderr}");
        assert!(stderr.contains(text), "{line}: {stderr}");
        assert_eq!(files(self.0.path()), before, "{line}: nothing is written");
    }
}

/// Ports that the system chooses, in front of what a test adds.
const PORTS: &str = "listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\n";

#[track_caller]
fn start(folder: &Folder, binary: Binary, more: &[&str]) -> Server {
    let config = folder.text("f.conf");
    let mut arguments = vec!["-c", &config];
    arguments.extend(more);
    Server::start(binary, &arguments).unwrap_or_else(|log| panic!("not ready: {log:#?}"))
}

fn serverz(server: &Server) -> String {
    server.get("/streaming/serverz").1
}

/// §13.8: unknown store type, FILE without dir, encryption without a key (RunServerWithCrypto).
#[test]
fn starts_that_are_refused() {
    let blank = "streaming { encrypt: true, encryption_key: \" \\n\" }";
    let folder = Folder::with(&[("f.conf", "streaming { store: tape }"), ("blank.conf", blank)]);
    folder.check_refused("-store tape", "unsupported store type: TAPE");
    folder.check_refused("-c f.conf", "f.conf:1:13: unsupported store type: TAPE");
    folder.check_refused("-store file", "for FILE stores, root directory must be specified");
    folder.check_refused("-c none.conf", "configuration file none.conf");
    folder.check_refused("-max_bytes 12abc", "max_bytes should be a size, got '12abc'");
    folder.check_refused("-encrypt", "encryption key required");
    folder.check_refused(
        "-encrypt -encryption_key k -encryption_cipher rot13",
        "encryption cipher not supported: ROT13; AES and CHACHA are",
    );
    folder.check_refused("-c blank.conf", "the encryption key is blank");
    folder.check_refused(
        "-store file -dir d -file_buffer_size -1",
        "buffer size value must be a positive number",
    );
    folder.check_refused("-mc -1", "max channels limit cannot be negative (-1)");
}

/// §13.8 ParseConfigureOptions: an unknown flag is an error that mentions flags, with exit code 0 (§14 quirk 17).
#[test]
fn flags_that_are_not_understood() {
    let folder = Folder::with(&[]);
    let (code, stdout, stderr) = folder.run(ORIGINAL, "-unheard_of");
    assert_eq!(
        (code, stderr.as_str()),
        (0, "flag provided but not defined: -unheard_of\n")
    );
    assert!(stdout.contains("-max_channels"));
    let (code, _, stderr) = folder.run(ORIGINAL, "-hbf x");
    assert_eq!(
        (code, stderr.as_str()),
        (0, "invalid value \"x\" for flag -hbf: parse error\n")
    );
    let (code, _, stderr) = folder.run(SEAWAY, "--max-chanels 5");
    assert_eq!(code, 2);
    assert!(stderr.contains("did you mean -max_channels?"), "{stderr}");
}

/// §13.8 ParseWrongTypes, ParseMapStruct; §5.3 of the core: every problem with file, line and column.
#[test]
fn mistakes_in_files_are_named_with_their_places() {
    let folder = Folder::with(&[
        (
            "types.conf",
            "streaming {\n  id: 1\n  hbi: \"5x\"\n  store_limits { channels { \"foo.\": {} } }\n  tls: 1\n}\nport: \"x\"",
        ),
        ("syntax.conf", "port: 4222\nstreaming {\n  id: [1 2]\n}"),
        ("include.conf", "include \"syntax.conf\""),
        ("variable.conf", "port: $NO_SUCH_VARIABLE_ANYWHERE"),
        (
            "modes.conf",
            "streaming { cluster { node_id: a } }\ngateway { name: a }",
        ),
    ]);
    folder.check_refused(
        "-c types.conf",
        "types.conf:2:7: parameter \"id\" value is expected to be string, got int64",
    );
    folder.check_refused("-sc types.conf", "types.conf:3:8: time: invalid duration \"5x\"");
    folder.check_refused(
        "-sc types.conf",
        "types.conf:5:8: expected tls to be a map/struct, got int64",
    );
    folder.check_refused(
        "-c types.conf",
        "types.conf:7:7: parameter \"port\" value is expected to be int64",
    );
    folder.check_refused(
        "-c syntax.conf",
        "syntax.conf:3:10: Parse error on line 3: expected ','",
    );
    folder.check_refused(
        "-c include.conf",
        "syntax.conf:3:10: Parse error on line 3: expected ','",
    );
    folder.check_refused(
        "-c variable.conf",
        "variable.conf:1:7: Parse error on line 1: variable reference for 'NO_SUCH_VARIABLE_ANYWHERE'",
    );
    folder.check_refused(
        "-c modes.conf",
        "modes.conf:1:21: clustered: this build does not have clustering yet",
    );
    folder.check_refused(
        "-c modes.conf",
        "modes.conf:2:1: key gateway: this build does not have gateways yet",
    );
    let channels = Folder::with(&[("f.conf", "store_limits { channels { \"foo.\": {} } }")]);
    channels.check_refused("-c f.conf", "f.conf:1:27: invalid channel name \"foo.\"");
}

/// §9.10 row 137, and §14 difference 5: a check ends after the check.
#[test]
fn files_are_checked_without_a_start() {
    let folder = Folder::with(&[
        ("good.conf", "port: 4222\nprot: 1\nstreaming { store: file, dir: data }"),
        ("bad.conf", "port: 4222\n\nstreaming { store: 5 }"),
    ]);
    let warning = "good.conf:2:1: unknown field \"prot\", did you mean \"port\"?\n";
    let (code, stdout, stderr) = folder.run(ORIGINAL, "-t -c good.conf");
    assert_eq!((code, stdout.as_str()), (0, ""));
    assert_eq!(
        stderr,
        format!("warning: {warning}nats-streaming-server: configuration file good.conf is valid\n")
    );
    let (code, _, stderr) = folder.run(SEAWAY, "-t -sc bad.conf");
    assert_eq!(code, 1);
    assert!(
        stderr.starts_with("seaway: bad.conf:3:20: parameter \"store\""),
        "{stderr}"
    );
    let (code, stdout, stderr) = folder.run(SEAWAY, "check-config good.conf");
    assert_eq!(
        (code, stdout, stderr),
        (0, format!("warning: {warning}good.conf: valid\n"), String::new())
    );
    let (code, stdout, _) = folder.run(SEAWAY, "check-config bad.conf");
    assert_eq!(code, 1);
    assert!(stdout.starts_with("bad.conf:3:20: parameter \"store\""), "{stdout}");
    folder.check_refused("-t", "-t needs a configuration file");
    assert_eq!(files(folder.0.path()).len(), 2, "a check writes nothing");
}

/// §7.5, §13.8 ParseConfigureOptions: one file, flags over it, the environment between the two.
#[test]
fn one_file_configures_both_sides_and_flags_win() {
    let text = format!(
        "{PORTS}logtime: false\nmax_payload: 2MB\nunheard_of: 1\nstreaming {{\n  id: from-file, sd: true\n  \
         store_limits {{ max_bytes: 100KB, max_msgs: 7, max_subs: 9 }}\n}}"
    );
    let folder = Folder::with(&[("f.conf", &text)]);
    let config = folder.text("f.conf");
    let mut command = Command::new(ORIGINAL.path());
    command.env("SEAWAY_MAX_SUBS", "10").env("SEAWAY_MAX_MSGS", "8");
    command.args(["-sc", &config, "-max_msgs", "11"]);
    let server = Server::spawn(&mut command).unwrap_or_else(|log| panic!("{log:#?}"));
    let log = server.log.join("\n");
    for expected in [
        "Starting nats-streaming-server[from-file] version",
        "unknown field \"unheard_of\"",
        "Using configuration file: ",
        "  Subscriptions:            10\n",
        "  Messages     :            11\n",
        "  Bytes        :     100.00 KB\n",
        "[DBG] STREAM: ",
    ] {
        assert!(log.contains(expected), "{expected:?} is missing in\n{log}");
    }
    let first = &server.log[0];
    assert!(first.contains("] [INF] "), "logtime of the file is respected: {first}");
    assert!(
        server.get("/varz").1.contains("\"max_payload\": 2097152"),
        "{}",
        server.get("/varz").1
    );
}

/// §7.5: with both files, each counts for its side only.
#[test]
fn two_files_have_one_side_each() {
    let folder = Folder::with(&[
        ("s.conf", "port: 1\nserver_name: wrong\nstreaming { id: from-s }"),
        (
            "f.conf",
            &format!("{PORTS}server_name: right\nstreaming {{ id: wrong }}"),
        ),
    ]);
    let server = start(&folder, ORIGINAL, &["-sc", &folder.text("s.conf")]);
    let log = server.log.join("\n");
    assert!(log.contains("Starting nats-streaming-server[from-s] version"), "{log}");
    assert!(log.contains("  Name:     right"), "{log}");
    assert!(
        log.contains("s.conf:1:1: port concerns the broker and is ignored here"),
        "{log}"
    );
}

/// §5.2 and §9.10 row 152 of the core: variables, includes, sizes, JSON.
#[test]
fn variables_includes_and_json() {
    let folder = Folder::with(&[
        (
            "f.conf",
            &format!("{PORTS}streaming {{ include './limits.conf'\n id: $CLUSTER }}"),
        ),
        (
            "limits.conf",
            "{ \"store_limits\": { \"max_msgs\": $MESSAGES, \"max_subs\": 3 } }",
        ),
    ]);
    let mut command = Command::new(SEAWAY.path());
    command.env("CLUSTER", "from-environment").env("MESSAGES", "2k");
    command.args(["-c", &folder.text("f.conf"), "-dir", &folder.text("data")]);
    let server = Server::spawn(&mut command).unwrap_or_else(|log| panic!("{log:#?}"));
    let log = server.log.join("\n");
    assert!(log.contains("nats-streaming-server[from-environment]"), "{log}");
    assert!(
        log.contains("  Messages     :          2000\n") && log.contains("  Subscriptions:             3\n"),
        "{log}"
    );
}

/// §13.8 ParsePerChannelLimitsSetToZero, §6.2: zeros of single channels are unlimited, the rest is inherited.
#[test]
fn limits_of_single_channels_come_from_the_file() {
    let text = format!(
        "{PORTS}streaming {{ store_limits {{ max_msgs: 2, channels {{\n  \"more.*\": {{ max_msgs: 4 }}\n  \
         \"more.all\": {{ max_msgs: 0 }}\n}} }} }}"
    );
    let folder = Folder::with(&[("f.conf", &text)]);
    let server = start(&folder, ORIGINAL, &[]);
    let mut session = server.session("client");
    for (channel, kept) in [("plain", 2), ("more.some", 4), ("more.all", 6)] {
        for _ in 0..6 {
            session.publish(channel, b"x").unwrap();
        }
        let channelsz = server.get(&format!("/streaming/channelsz?channel={channel}")).1;
        assert!(
            channelsz.contains(&format!("\"msgs\": {kept},")),
            "{channel}: {channelsz}"
        );
    }
}

/// §13.8, broker authentication: the server serves itself, others need the right credentials.
#[test]
fn authorization_of_the_file_is_enforced() {
    let folder = Folder::with(&[(
        "f.conf",
        &format!("{PORTS}authorization {{ user: a, password: right }}"),
    )]);
    let server = start(&folder, ORIGINAL, &[]);
    assert!(
        serverz(&server).contains("\"cluster_id\": \"test-cluster\""),
        "the engine works"
    );
    assert!(seaway_bench::stan::Session::open(&server.address, "test-cluster", "client").is_err());
    let log = server.log.join("\n");
    assert!(!log.contains("right"), "passwords are not logged: {log}");
}

/// §13.8 RunServerWithCrypto: encryption needs a key, and a file can give it.
#[test]
fn encryption_is_configured_by_a_file() {
    let text = format!("{PORTS}streaming {{ store: file, dir: $DATA, encrypt: true, encryption_key: \"k\" }}");
    let folder = Folder::with(&[("f.conf", &text)]);
    let mut command = Command::new(ORIGINAL.path());
    command
        .env("DATA", folder.path("data"))
        .args(["-c", &folder.text("f.conf")]);
    let server = Server::spawn(&mut command).unwrap_or_else(|log| panic!("{log:#?}"));
    server
        .session("client")
        .publish("foo", b"a very secret payload")
        .unwrap();
    server.kill();
    for (path, _) in files(&folder.path("data")) {
        let content = std::fs::read(&path).unwrap();
        assert!(
            !content.windows(11).any(|window| window == b"very secret"),
            "{}",
            path.display()
        );
    }
}

/// §9.10 row 138 of the core, and the file of this repository that users begin with.
#[test]
fn the_example_of_the_documentation_works() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/example.conf");
    let example = example.to_str().unwrap();
    let folder = Folder::with(&[]);
    let check = Command::new(SEAWAY.path())
        .args(["check-config", example])
        .env("ORDERS_PASSWORD", "secret")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(check.stdout).unwrap(), format!("{example}: valid\n"));
    let mut command = Command::new(SEAWAY.path());
    command.env("ORDERS_PASSWORD", "secret").current_dir(folder.0.path());
    command.args(["-c", example, "-p", "-1", "-m", "-1"]);
    let server = Server::spawn(&mut command).unwrap_or_else(|log| panic!("{log:#?}"));
    let log = server.log.join("\n");
    let warnings: Vec<_> = server.log.iter().filter(|line| line.contains("[WRN]")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(
        warnings[0].contains("Plaintext passwords"),
        "one password comes from the environment: {warnings:?}"
    );
    assert!(log.contains("STREAM: Message store is FILE"), "{log}");
    assert!(!files(&folder.path("seaway-data")).is_empty());
}

/// nats-core.md §3.7, §5.3: a check finds what a start would stumble over, and a start stumbles over the same.
#[test]
fn a_check_looks_at_the_files_that_are_named() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = Folder::with(&[
        ("cert.pem", &made.cert.pem()),
        ("key.pem", &made.signing_key.serialize_pem()),
        ("text.pem", "no certificate"),
    ]);
    std::fs::create_dir(folder.path("inside")).unwrap();
    let good = "cert_file: cert.pem, key_file: key.pem";
    for (text, expected) in [
        (
            "tls { cert_file: none.pem, key_file: key.pem }".to_owned(),
            "TLS: cannot read the certificate none.pem",
        ),
        (
            "tls { cert_file: cert.pem, key_file: inside }".to_owned(),
            "TLS: cannot read the key inside",
        ),
        (
            format!("tls {{ {good}, ca_file: none.pem }}"),
            "cannot read the certificate of an authority none.pem",
        ),
        (
            format!("tls {{ {good}, ca_file: text.pem }}"),
            "text.pem holds no usable",
        ),
        (
            "tls { cert_file: \"/dev/zero\", key_file: key.pem }".to_owned(),
            "/dev/zero holds no usable certificate: it has more than",
        ),
        ("log_file: inside".to_owned(), "inside"),
        ("log_file: nowhere/log".to_owned(), "nowhere"),
        ("pid_file: inside".to_owned(), "inside"),
        ("pid_file: nowhere/pid".to_owned(), "nowhere"),
        ("ports_file_dir: cert.pem".to_owned(), "cert.pem"),
        ("streaming { store: file, dir: cert.pem }".to_owned(), "cert.pem"),
    ] {
        std::fs::write(folder.path("f.conf"), format!("{PORTS}{text}")).unwrap();
        let before = files(folder.0.path());
        let (code, stdout, stderr) = folder.run(SEAWAY, "check-config f.conf");
        assert!(code == 1 && stdout.contains(expected), "{text}: {stdout}{stderr}");
        let (code, _, stderr) = folder.run(ORIGINAL, "-t -c f.conf");
        assert!(code == 1 && stderr.contains(expected), "{text}: {stderr}");
        let (code, stdout, stderr) = folder.run(ORIGINAL, "-c f.conf");
        assert!(
            code == 1 && format!("{stdout}{stderr}").contains(expected),
            "{text}: {stderr}"
        );
        assert_eq!(files(folder.0.path()), before, "{text}: nothing is written");
    }
    let text = format!("{PORTS}tls {{ {good}, ca_file: cert.pem }}\nlog_file: inside/log\npid_file: inside/pid");
    std::fs::write(folder.path("f.conf"), text).unwrap();
    let (code, stdout, _) = folder.run(SEAWAY, "check-config f.conf");
    assert_eq!((code, stdout.as_str()), (0, "f.conf: valid\n"));
    assert!(files(&folder.path("inside")).is_empty(), "a check writes nothing");
}

/// stores-and-clustering.md §5.1, nats-core.md §3.2: what protects nothing does not start, on the real binary.
#[test]
fn what_protects_nothing_does_not_start() {
    for (text, expected) in [
        (
            "streaming { store: file, dir: data, encryption_key: \"\" }",
            "f.conf:3:37: key encryption_key is empty",
        ),
        ("authorization { token: \"\" }", "f.conf:3:17: token is empty"),
        ("authorization { users: [] }", "f.conf:3:17: users is empty"),
        ("authorization {}", "f.conf:3:15: authorization is empty"),
        (
            "authorisation { token: t }",
            "f.conf:3:1: unknown block \"authorisation\"",
        ),
    ] {
        let folder = Folder::with(&[("f.conf", &format!("{PORTS}{text}"))]);
        folder.check_refused("-c f.conf", expected);
    }
}

/// nats-core.md §9.5, §5.4: with a `ping_max` of zero a silent client is still asked more than once.
#[test]
fn a_ping_max_of_zero_is_the_default() {
    let text = format!("{PORTS}ping_max: 0\nping_interval: \"100ms\"");
    let folder = Folder::with(&[("f.conf", &text)]);
    let server = start(&folder, ORIGINAL, &[]);
    let mut socket = std::net::TcpStream::connect(&server.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(b"CONNECT {\"verbose\":false}\r\n").unwrap();
    // It answers none: the default tolerates two, and cuts the client behind them.
    let mut said = String::new();
    socket.read_to_string(&mut said).unwrap();
    assert!(said.matches("PING\r\n").count() >= 2, "{said}");
    assert!(said.ends_with("-ERR 'Stale Connection'\r\n"), "{said}");
    let log = server.log.join("\n");
    assert!(log.contains("of 0 means the default, 2"), "{log}");
}
