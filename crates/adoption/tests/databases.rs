//! Databases of an independent generator (`compat/original/tables.py`), taken over and compared field by field with what it put there
//! (`stores-and-clustering.md` §4.2, §4.4, §4.5): an engine is started on the store, its messages are read.
//!
//! `SEAWAY_ORIGINAL_SEEDS=3000` makes it as many databases, `SEAWAY_ORIGINAL_FIRST=17 SEAWAY_ORIGINAL_SEEDS=1` one certain.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod database_server;
#[path = "../../original/tests/generator/mod.rs"]
mod generator;
mod taken_over;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use database_server::{DatabaseServer, Kind, PASSWORD};
use generator::seeds;
use seaway_adoption::export::{ExportOptions, export_tables};
use seaway_adoption::{Error, Options, Outcome, Progress, adopt_tables};
use seaway_original::{Key, SealCipher, Severity, StoreLock, TablesOptions, Verdict, check_tables};
use serde_json::Value;
use taken_over::{Message, TakenOver};

const SEEDS: u64 = 8;

#[test]
fn generated_postgres_databases_are_taken_over_field_by_field() {
    field_by_field(Kind::Postgres);
}

#[test]
fn generated_mariadb_databases_are_taken_over_field_by_field() {
    field_by_field(Kind::MariaDb);
}

fn field_by_field(kind: Kind) {
    let Some(server) = DatabaseServer::start(kind) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let seeds = seeds(SEEDS);
    let (first, last) = (seeds.start().to_string(), seeds.end().to_string());
    database_server::generator(&[kind.dialect(), folder.path().to_str().unwrap(), &first, &last]);
    let mut counts = BTreeMap::<&str, u64>::new();
    for seed in seeds.clone() {
        for what in one(&server, seed, &folder.path().join(seed.to_string())) {
            *counts.entry(what).or_default() += 1;
        }
    }
    if seeds.count() as u64 >= SEEDS {
        // What was never met was never tested.
        for what in [
            "caching",
            "plain",
            "mixed",
            "encrypted",
            "drained",
            "filled",
            "pending",
            "ghosts",
            "closed",
            "clients",
            "sealed",
        ] {
            assert!(counts.contains_key(what), "no database has {what}: {counts:?}");
        }
    }
}

/// One database; says what it had.
fn one(server: &DatabaseServer, seed: u64, folder: &Path) -> Vec<&'static str> {
    server.make_tables();
    server.script(&std::fs::read_to_string(folder.join("store.sql")).unwrap());
    let expected: Value = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let before = server.contents();
    let tables = TablesOptions {
        key: expected["key"].as_str().map(|key| Key::new(key.as_bytes())),
        ..TablesOptions::default()
    };
    let checked = check_tables(&server.source(), &tables, |_| {}).unwrap();
    assert_eq!(server.contents(), before, "seed {seed}: a check changed something");
    compare_report(seed, &serde_json::to_value(&checked).unwrap(), &expected["report"]);
    let place = folder.join("new");
    let options = Options {
        payloads_are_plain: true,
        ..Options::default()
    };
    let outcome = adopt_tables(&server.source(), &tables, &place, &options, &Progress::default());
    let adopted = match outcome {
        Ok(Outcome::Adopted(adopted)) => adopted,
        other => panic!("seed {seed}: {other:?}"),
    };
    assert_eq!(
        server.contents(),
        before,
        "seed {seed}: the tables are not as they were"
    );
    let mut taken = TakenOver::open(&place, &adopted.cluster_id, None);
    let mut had = compare(seed, &mut taken, &expected);
    taken.close();
    had.extend(and_back(server, seed, &place, &expected));
    had
}

/// The way back: the tables are filled from the store, and what is taken over from them is the same again.
fn and_back(server: &DatabaseServer, seed: u64, store: &Path, expected: &Value) -> Option<&'static str> {
    server.make_tables();
    let seal =
        [None, Some(SealCipher::Aes256Gcm), Some(SealCipher::ChaCha20Poly1305)][usize::try_from(seed % 3).unwrap()];
    let options = ExportOptions {
        seal: seal.map(|cipher| (Key::new(b"another"), cipher)),
        ..ExportOptions::default()
    };
    let form = TablesOptions {
        no_caching: seed.is_multiple_of(2),
        ..TablesOptions::default()
    };
    let exported = export_tables(store, &server.source(), &form, &options, &Progress::default(), |_| {}).unwrap();
    assert_eq!(
        (exported.directory, exported.notes.len()),
        (None, 0),
        "seed {seed}: {:?}",
        exported.notes
    );
    assert_eq!(exported.database, Some(server.source().to_string()));
    let tables = TablesOptions {
        key: options.seal.map(|(key, _)| key),
        ..TablesOptions::default()
    };
    let place = store.with_file_name("again");
    let outcome = adopt_tables(
        &server.source(),
        &tables,
        &place,
        &Options::default(),
        &Progress::default(),
    );
    let Ok(Outcome::Adopted(adopted)) = outcome else {
        panic!("seed {seed}: {outcome:?}")
    };
    assert_eq!(
        (adopted.filled, adopted.left_out),
        (0, 0),
        "seed {seed}: the store had no gaps"
    );
    let mut taken = TakenOver::open(&place, &adopted.cluster_id, None);
    compare(seed, &mut taken, expected);
    taken.close();
    // Last: it sends what is due, and writes that down.
    original_starts(server, seed, tables.key.is_some(), seal, expected);
    seal.map(|_| "sealed")
}

/// What `--check` says of channels and subscriptions.
fn compare_report(seed: u64, found: &Value, expected: &Value) {
    let (found, expected) = (&found["channels"], expected["channels"].as_array().unwrap());
    assert_eq!(found.as_array().unwrap().len(), expected.len(), "seed {seed}");
    for (found, expected) in found.as_array().unwrap().iter().zip(expected) {
        for key in ["name", "messages", "first_sequence", "last_sequence"] {
            assert_eq!(found[key], expected[key], "seed {seed}: {key} of {}", expected["name"]);
        }
        let (found, expected) = (&found["subscriptions"], expected["subscriptions"].as_array().unwrap());
        assert_eq!(found.as_array().unwrap().len(), expected.len(), "seed {seed}");
        for (found, expected) in found.as_array().unwrap().iter().zip(expected) {
            for key in found.as_object().unwrap().keys() {
                assert_eq!(found[key], expected[key], "seed {seed}: {key} of {expected}");
            }
        }
    }
}

fn compare(seed: u64, taken: &mut TakenOver, expected: &Value) -> Vec<&'static str> {
    let mut had = vec![match expected["mode"].as_str().unwrap() {
        "caching" => "caching",
        "plain" => "plain",
        _ => "mixed",
    }];
    let report = &expected["report"];
    assert_eq!(
        taken.subjects().publish_prefix,
        report["server"]["publish"].as_str().unwrap()
    );
    let clients = report["clients"].as_array().unwrap().iter();
    let clients: Vec<(String, String)> = clients
        .map(|client| {
            let text = |key: &str| client[key].as_str().unwrap().to_owned();
            (text("id"), text("heartbeat_inbox"))
        })
        .collect();
    assert_eq!(taken.clients(), clients, "seed {seed}");
    had.extend((!clients.is_empty()).then_some("clients"));
    had.extend((!expected["key"].is_null()).then_some("encrypted"));
    let channels = report["channels"].as_array().unwrap();
    assert_eq!(taken.channel_count(), channels.len(), "seed {seed}");
    for channel in channels {
        let name = channel["name"].as_str().unwrap();
        let wanted = filled(&expected["messages"][name]);
        had.extend((wanted.len() as u64 > channel["messages"].as_u64().unwrap()).then_some("filled"));
        assert_eq!(taken.messages(name), wanted, "seed {seed}: {name}");
        let last = channel["last_sequence"].as_u64().unwrap();
        let bounds = (channel["first_sequence"].as_u64().unwrap(), last);
        assert_eq!(taken.bounds(name), bounds, "seed {seed}: {name}");
        had.extend((wanted.is_empty() && last > 0).then_some("drained"));
        let written = channel["subscriptions"].as_array().unwrap();
        let mut subscriptions = taken.subscriptions(name);
        subscriptions.sort();
        let wanted = taken_over::expected(written, last);
        assert_eq!(subscriptions, wanted, "seed {seed}: {name}");
        had.extend(wanted.iter().any(|one| one.pending > 0).then_some("pending"));
        had.extend(written.iter().any(|one| one["status"] == "ghost").then_some("ghosts"));
        had.extend(written.iter().any(|one| one["is_closed"] == true).then_some("closed"));
    }
    had
}

/// A real server starts on the tables and has what it should, when one is named (`NATS_STREAMING_SERVER`).
fn original_starts(server: &DatabaseServer, seed: u64, has_key: bool, seal: Option<SealCipher>, expected: &Value) {
    let Some(program) = std::env::var_os("NATS_STREAMING_SERVER") else {
        return;
    };
    let free = || {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
            .to_string()
    };
    let (port, monitoring) = (free(), free());
    let mut command = Command::new(program);
    let cluster = expected["report"]["server"]["cluster_id"].as_str().unwrap();
    command.args([
        "-p",
        &port,
        "-m",
        &monitoring,
        "-cid",
        cluster,
        "-mc",
        "0",
        "-mm",
        "0",
        "-mb",
        "0",
        "-msu",
        "0",
    ]);
    command.args([
        "-store",
        "sql",
        "-sql_driver",
        server.kind.dialect(),
        "-sql_source",
        &server.source_text(),
    ]);
    // Clients that are gone are given up late, so that everything is as it was.
    command.args(["-hbi", "1h", "-hbt", "1h"]);
    command.args(seed.is_multiple_of(2).then_some("-sql_no_caching"));
    if has_key {
        let cipher = if seal == Some(SealCipher::Aes256Gcm) {
            "AES"
        } else {
            "CHACHA"
        };
        command.args(["-encrypt", "-encryption_cipher", cipher]);
        command.env("NATS_STREAMING_ENCRYPTION_KEY", "another");
    }
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let log: Vec<String> = { lines.by_ref() }
        .map(Result::unwrap)
        .take_while(|line| !line.contains("Streaming Server is ready"))
        .collect();
    // Read on, so that it can write.
    let reading = std::thread::spawn(move || lines.count());
    let ask = |path: &str| -> Option<Value> {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{monitoring}")).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    };
    let found = ask("/streaming/channelsz?subs=1&limit=1000").unwrap_or_else(|| panic!("seed {seed}: {log:#?}"));
    let channels = expected["report"]["channels"].as_array().unwrap();
    // Who is online is sent more at once.
    let comparable = |(inbox, is_offline, last_sent, pending)| match is_offline {
        true => (inbox, true, last_sent, pending),
        false => (inbox, false, 0, 0),
    };
    let found: BTreeMap<&str, &Value> = { found["channels"].as_array().into_iter().flatten() }
        .map(|channel| (channel["name"].as_str().unwrap(), channel))
        .collect();
    assert_eq!(found.len(), channels.len(), "seed {seed}");
    for channel in channels {
        let name = channel["name"].as_str().unwrap();
        let found = found[name];
        let wanted = filled(&expected["messages"][name]).len();
        assert_eq!(found["msgs"], wanted, "seed {seed}: {name}");
        assert_eq!(found["last_seq"], channel["last_sequence"], "seed {seed}: {name}");
        let last = channel["last_sequence"].as_u64().unwrap();
        let wanted = taken_over::expected(channel["subscriptions"].as_array().unwrap(), last);
        let mut wanted: Vec<_> = { wanted.iter() }
            .map(|one| (one.inbox.clone(), one.is_offline, one.last_sent, one.pending as u64))
            .map(comparable)
            .collect();
        let mut found: Vec<_> = { found["subscriptions"].as_array().into_iter().flatten() }
            .map(|one| {
                let inbox = one["inbox"].as_str().unwrap().to_owned();
                let number = |key: &str| one[key].as_u64().unwrap_or(0);
                (
                    inbox,
                    one["is_offline"] == true,
                    number("last_sent"),
                    number("pending_count"),
                )
            })
            .map(comparable)
            .collect();
        wanted.sort();
        found.sort();
        assert_eq!(found, wanted, "seed {seed}: {name}");
    }
    let _ = Command::new("kill").arg("-INT").arg(process.id().to_string()).status();
    process.wait().unwrap();
    reading.join().unwrap();
}

/// Empty messages take the place of missing ones, with the time of the one behind them.
fn filled(written: &Value) -> Vec<Message> {
    let mut all: Vec<Message> = Vec::new();
    for message in written.as_array().unwrap() {
        let sequence = message["sequence"].as_u64().unwrap();
        let timestamp = message["time"].as_i64().unwrap();
        let from = all.last().map_or(sequence, |last| last.sequence + 1);
        let hex = message["data"].as_str().unwrap().as_bytes();
        let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
        all.extend((from..=sequence).map(|number| Message {
            sequence: number,
            timestamp,
            reply: Vec::new(),
            data: Vec::new(),
        }));
        let last = all.last_mut().unwrap();
        last.reply = message["reply"].as_str().unwrap().as_bytes().to_vec();
        last.data = hex.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
    }
    all
}

/// Tables with one channel of so many messages.
fn with_many(server: &DatabaseServer, rows: u64, bytes: u64) {
    server.make_tables();
    let script = database_server::generator(&[server.kind.dialect(), "--many", &rows.to_string(), &bytes.to_string()]);
    // It makes the tables itself.
    let data = script.split_once("StoreLock").unwrap().1.split_once(";\n").unwrap().1;
    server.script(data);
}

#[test]
fn who_else_uses_a_postgres_is_found_out_and_named() {
    who_else(Kind::Postgres);
}

#[test]
fn who_else_uses_a_mariadb_is_found_out_and_named() {
    who_else(Kind::MariaDb);
}

/// §4.5: the lease is a row that its holder raises; §1.6: a server that stands alone has none, but is connected.
fn who_else(kind: Kind) {
    let Some(server) = DatabaseServer::start(kind) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("new");
    let adopt = |sessions_are_harmless: bool| {
        let tables = TablesOptions {
            sessions_are_harmless,
            ..TablesOptions::default()
        };
        adopt_tables(
            &server.source(),
            &tables,
            &place,
            &Options::default(),
            &Progress::default(),
        )
    };
    let told = adopt(true).unwrap_err().to_string();
    assert!(
        told.contains("in which its tables are") && !told.contains(PASSWORD),
        "{told}"
    );
    with_many(&server, 10, 10);

    // A lease that is renewed.
    let lock = StoreLock::take(&server.source(), "the-active-server").unwrap().unwrap();
    let told = adopt(true).unwrap_err().to_string();
    assert!(
        told.contains("\"the-active-server\"") && told.contains("stop the server"),
        "{told}"
    );
    let checked = check_tables(&server.source(), &TablesOptions::default(), |_| {}).unwrap();
    let kinds: Vec<_> = { checked.findings.iter() }
        .filter(|finding| finding.severity == Severity::Refusal)
        .map(|finding| (finding.file.clone(), finding.kind.words().1))
        .collect();
    assert_eq!(checked.verdict, Verdict::Refused);
    assert!(
        kinds.iter().any(|(place, _)| place.contains("the-active-server")),
        "{kinds:?}"
    );
    assert!(kinds.iter().any(|(place, _)| place.contains("session")), "{kinds:?}");
    lock.check().unwrap();
    drop(lock);
    assert!(
        !server.contents().contains("the-active-server"),
        "where there was no row, there is none"
    );

    // A session of somebody who holds no lease.
    let session = seaway_sql::Connection::open(&server.source()).unwrap();
    let told = adopt(false).unwrap_err();
    let Error::Findings(report) = told else {
        panic!("{told}")
    };
    assert!(
        report.findings.iter().any(|finding| finding.file.contains("stan from")),
        "{:?}",
        report.findings
    );
    drop(session);

    // A lease of a server that is gone is taken, and given back as a server would.
    server.script("INSERT INTO StoreLock VALUES ('gone', 77);");
    assert!(matches!(adopt(false), Ok(Outcome::Adopted(_))));
    let lease = server.ask("SELECT CONCAT('<', id, '>', tick) FROM StoreLock;");
    assert_eq!(lease.trim(), "<>0");
}

#[test]
fn an_adoption_of_postgres_that_is_killed_is_done_by_the_next() {
    killed(Kind::Postgres);
}

#[test]
fn an_adoption_of_mariadb_that_is_killed_is_done_by_the_next() {
    killed(Kind::MariaDb);
}

const CHILD: &str = "SEAWAY_TEST_ADOPTS";

fn killed(kind: Kind) {
    if let Ok(words) = std::env::var(CHILD) {
        return adopt_as_told(kind, &words);
    }
    let Some(server) = DatabaseServer::start(kind) else {
        return;
    };
    const ROWS: u64 = 20_000;
    with_many(&server, ROWS, 100);
    let before = server.contents();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("new");
    let test = match kind {
        Kind::Postgres => "an_adoption_of_postgres_that_is_killed_is_done_by_the_next",
        Kind::MariaDb => "an_adoption_of_mariadb_that_is_killed_is_done_by_the_next",
    };
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact"])
            .env(CHILD, format!("{}\n{}", server.source_text(), place.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Once there is something of the new store, a little later each time.
        let until = Instant::now() + Duration::from_secs(60);
        while std::fs::read_dir(&place).map_or(0, Iterator::count) <= round {
            assert!(Instant::now() < until, "nothing is made");
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let outcome = adopt_tables(
        &server.source(),
        &TablesOptions::default(),
        &place,
        &Options::default(),
        &Progress::default(),
    );
    // The last of them may have come to its end, or nearly.
    if let Err(error) = &outcome {
        assert!(error.to_string().contains("is not empty"), "{error}");
    }
    let mut taken = TakenOver::open(&place, "test-cluster", None);
    let messages = taken.messages("many");
    assert_eq!((messages.len() as u64, messages.last().unwrap().sequence), (ROWS, ROWS));
    taken.close();
    let lease = server.ask("DELETE FROM StoreLock;");
    assert_eq!(lease.trim(), "");
    assert_eq!(server.contents(), before);
}

fn adopt_as_told(kind: Kind, words: &str) {
    let (source, place) = words.split_once('\n').unwrap();
    let driver = seaway_original::Driver::named(kind.dialect()).unwrap();
    let source = seaway_original::Source::parse(driver, source).unwrap();
    let place = Path::new(place);
    adopt_tables(
        &source,
        &TablesOptions::default(),
        place,
        &Options::default(),
        &Progress::default(),
    )
    .unwrap();
}

#[test]
fn an_export_to_postgres_that_is_killed_is_done_by_the_next() {
    killed_export(
        Kind::Postgres,
        "an_export_to_postgres_that_is_killed_is_done_by_the_next",
    );
}

#[test]
fn an_export_to_mariadb_that_is_killed_is_done_by_the_next() {
    killed_export(Kind::MariaDb, "an_export_to_mariadb_that_is_killed_is_done_by_the_next");
}

/// Tables that are not complete are none that NATS Streaming starts on (§4.4, 1: their version is not 1), and the next attempt makes them anew.
fn killed_export(kind: Kind, test: &str) {
    let export = |source: &seaway_original::Source, store: &Path| {
        export_tables(
            store,
            source,
            &TablesOptions::default(),
            &ExportOptions::default(),
            &Progress::default(),
            |_| {},
        )
    };
    if let Ok(words) = std::env::var(CHILD) {
        let (source, store) = words.split_once('\n').unwrap();
        let driver = seaway_original::Driver::named(kind.dialect()).unwrap();
        export(
            &seaway_original::Source::parse(driver, source).unwrap(),
            Path::new(store),
        )
        .unwrap();
        return;
    }
    let Some(server) = DatabaseServer::start(kind) else {
        return;
    };
    const ROWS: u64 = 32_000;
    with_many(&server, ROWS, 100);
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("new");
    let tables = TablesOptions::default();
    adopt_tables(
        &server.source(),
        &tables,
        &store,
        &Options::default(),
        &Progress::default(),
    )
    .unwrap();
    let told = export(&server.source(), &store).unwrap_err().to_string();
    assert!(
        told.contains("the table Messages is not empty") && !told.contains(PASSWORD),
        "{told}"
    );
    server.drop_tables();
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact"])
            .env(CHILD, format!("{}\n{}", server.source_text(), store.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The first makes the tables; each is let a transaction farther. What an earlier one has left may be what is counted.
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let found = if round == 1 { server.has_table() } else { true };
            if found
                && server
                    .ask("SELECT COUNT(*) FROM Messages;")
                    .trim()
                    .parse::<u64>()
                    .unwrap()
                    >= round * 8_192
            {
                break;
            }
            assert!(
                Instant::now() < until && child.try_wait().unwrap().is_none(),
                "it ended too soon"
            );
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let checked = check_tables(&server.source(), &tables, |_| {}).unwrap();
        assert_eq!(
            checked.verdict,
            Verdict::Refused,
            "round {round}: {:?}",
            checked.findings
        );
    }
    let exported = export(&server.source(), &store).unwrap();
    assert_eq!((exported.messages, exported.channels), (ROWS, 1));
    let checked = check_tables(&server.source(), &tables, |_| {}).unwrap();
    assert_eq!((checked.verdict, checked.totals.messages), (Verdict::Ready, ROWS));
    assert_eq!(checked.server.unwrap().cluster_id, "test-cluster");
}
