//! What an operator does on the real binary beside the changes of `changes.rs`: pausing, asking who changed what, log levels, reloads
//! (`docs/administration.md`).

use std::path::Path;

use crate::support::administration::Asker;
use crate::support::group::wait_until;
use crate::support::requests::{all, durable, firsts, hasty, in_flight, is_quiet, next, publish, queue, take};
use crate::support::shell::Shell;
use crate::support::{PATIENCE, Server};
use seaway_bench::stan::Session;
use serde_json::{Value, json};

fn ask(asker: &mut Asker, operation: &str, body: &Value) -> Value {
    asker.json(operation, &body.to_string())
}

/// The state of the one subscription of a channel.
fn shown(server: &Server, channel: &str) -> Value {
    let answer = ask(&mut Asker::new(server), "read.channel", &json!({ "channel": channel }));
    answer["subscriptions"][0].clone()
}

/// What the audit has, the newest first.
fn audit(server: &Server, question: &Value) -> Vec<String> {
    let answer = ask(&mut Asker::new(server), "read.audit", question);
    let changes = answer["changes"].as_array().unwrap().iter();
    changes
        .map(|change| change["change"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn who_is_paused_gets_nothing_and_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut asker = Asker::new(&server);
    let mut session = server.session("me");
    let reader = json!({"channel": "orders", "durable": "dur", "client": "me"});
    publish(&mut session, "orders", 4);
    let subscribed = session.subscribe(durable(in_flight(all("orders"), 3))).unwrap();
    assert_eq!(take(&mut session, 3), firsts(1..=3));
    let would = ask(
        &mut asker,
        "change.pause",
        &json!({"channel": "orders", "durable": "dur", "client": "me", "dry_run": true}),
    );
    assert_eq!((&would["pending_count"], &would["dry_run"]), (&json!(3), &json!(true)));
    assert_eq!(shown(&server, "orders")["paused_by"], Value::Null);
    let done = ask(&mut asker, "change.pause", &reader);
    assert_eq!((&done["members"], &done["paused"]), (&json!(1), &json!(true)));
    // Acks are taken, and make no room for anything new.
    for sequence in 1..=3 {
        session.ack(&subscribed, sequence);
    }
    session.ping().unwrap();
    wait_until("the acks are taken", || shown(&server, "orders")["pending_count"] == 0);
    publish(&mut session, "orders", 2);
    assert!(is_quiet(&mut session));
    let paused = shown(&server, "orders");
    assert!(paused["paused_by"].as_str().unwrap().starts_with("cid:"), "{paused}");
    assert!(paused["paused_since"].as_str().unwrap().starts_with("20"), "{paused}");
    let why = ask(&mut asker, "read.why", &json!({"channel": "orders"}));
    assert_eq!(why["subscriptions"][0]["verdict"], "paused", "{why}");
    assert!(
        why["subscriptions"][0]["words"]
            .as_str()
            .unwrap()
            .contains("is paused by cid:"),
        "{why}"
    );
    assert!(server.get("/metrics").1.contains("seaway_paused_subscriptions 1"));
    server.kill();

    // Another life, another owner of the durable, and the pause is the same.
    let server = Server::with_files(directory.path(), &[]);
    let after = shown(&server, "orders");
    assert_eq!(after["paused_since"], paused["paused_since"]);
    let mut asker = Asker::new(&server);
    let mut again = server.session("me");
    again.subscribe(durable(in_flight(all("orders"), 3))).unwrap();
    assert!(is_quiet(&mut again));
    ask(&mut asker, "change.resume", &reader);
    assert_eq!(take(&mut again, 3), firsts(4..=6));
    assert_eq!(shown(&server, "orders")["paused_by"], Value::Null);
    assert!(server.get("/metrics").1.contains("seaway_paused_subscriptions 0"));
    // The newest first.
    let changes = audit(&server, &json!({}));
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert!(changes[0].starts_with("resumed durable \"dur\""), "{changes:?}");
    assert!(changes[1].starts_with("paused durable \"dur\""), "{changes:?}");
}

#[test]
fn a_group_is_paused_with_whoever_joins_it_and_a_plain_one_by_its_inbox() {
    let server = Server::in_memory(&[]);
    let mut asker = Asker::new(&server);
    let mut first = server.session("first");
    first.subscribe(hasty(queue(in_flight(all("jobs"), 2)))).unwrap();
    publish(&mut first, "jobs", 3);
    assert_eq!(take(&mut first, 2), firsts(1..=2));
    ask(&mut asker, "change.pause", &json!({"channel": "jobs", "queue": "q"}));
    let mut second = server.session("second");
    second.subscribe(queue(all("jobs"))).unwrap();
    // Longer than the AckWait: nothing is sent again to anybody.
    let why = ask(&mut asker, "read.why", &json!({"channel": "jobs"}));
    assert_eq!(why["verdict"], "paused", "{why}");
    assert!(is_quiet(&mut second) && is_quiet(&mut first));
    ask(&mut asker, "change.resume", &json!({"channel": "jobs", "queue": "q"}));
    // What is due again may come before it.
    while next(&mut second) != (3, 0) {}

    let plain = first.subscribe(all("plain")).unwrap();
    let named = json!({"channel": "plain", "client": "first", "inbox": plain.inbox});
    ask(&mut asker, "change.pause", &named);
    let shell = Shell::at(&server.address);
    let said = shell.run(&["channel", "info", "plain"]).expect(0);
    assert!(
        said.stdout
            .contains("The subscription of client \"first\" is paused by"),
        "{said:?}"
    );
    // The one plain subscription of a client needs no inbox at the command line.
    let words = ["subscription", "resume", "plain", "--client", "first"];
    let said = shell.run(&[&words[..], &["--dry-run"]].concat()).expect(0);
    assert!(
        said.stdout
            .starts_with("Would resume the subscription of client \"first\""),
        "{said:?}"
    );
    shell.run(&words).expect(2);
    let said = shell.run(&[&words[..], &["--yes", "--json"]].concat()).expect(0);
    assert_eq!(said.json()[0]["paused"], false);
    publish(&mut second, "plain", 1);
    while first.next_message(PATIENCE).unwrap().inbox != plain.inbox {}
    let said = shell
        .run(&["subscription", "pause", "jobs", "--queue", "q", "-y"])
        .expect(0);
    assert!(
        said.stdout
            .starts_with("Paused queue group \"q\" on channel \"jobs\", 2 active,"),
        "{said:?}"
    );
    let said = shell.run(&["durables"]).expect(0);
    assert!(said.stdout.contains("paused"), "{said:?}");
    for (body, code, text) in [
        (json!({"channel": "jobs"}), 400, "\"durable\" or \"queue\" is required"),
        (
            json!({"channel": "jobs", "client": "first"}),
            400,
            "\"client\" and \"inbox\"",
        ),
        (
            json!({"channel": "jobs", "queue": "q", "inbox": "x"}),
            400,
            "leave out \"inbox\"",
        ),
        (
            json!({"channel": "jobs", "client": "first", "inbox": "x"}),
            404,
            "with the inbox \"x\"",
        ),
        (json!({"channel": "nowhere", "queue": "q"}), 404, "there is no channel"),
    ] {
        let (answered, message) = asker.error("change.pause", &body.to_string());
        assert_eq!(answered, code, "{body}: {message}");
        assert!(message.contains(text), "{body}: {message}");
    }
}

/// Chances that differ from run to run, and do not depend on the clock of a test.
fn chance(state: &mut u64, below: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

/// The server is killed while it is asked to pause and to resume. After the next start each of it was done or was not, was if it was answered, and
/// the audit says the same.
#[test]
fn a_server_that_is_killed_has_paused_or_has_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = u64::from(std::process::id());
    let seed = random;
    let mut server = Server::with_files(directory.path(), &[]);
    {
        let mut session: Session = server.session("keeper");
        for channel in ["one", "two", "three"] {
            let subscribed = session.subscribe(durable(all(channel))).unwrap();
            session.close_subscription(&subscribed).unwrap();
        }
        session.close().unwrap();
    }
    let is_paused = |server: &Server, channel: &str| shown(server, channel)["paused_by"].is_string();
    let mut made = [0u32; 2];
    for round in 0..10 {
        let context = format!("seed {seed}, round {round}");
        let before = audit(&server, &json!({})).len();
        let mut asker = Asker::new(&server);
        let mut load = server.session(&format!("load{round}"));
        for _ in 0..20 {
            load.publish_async("load", b"x");
        }
        let mut asked = Vec::new();
        for channel in ["one", "two", "three"] {
            let was = is_paused(&server, channel);
            let operation = if was { "change.resume" } else { "change.pause" };
            let body = json!({"channel": channel, "durable": "dur", "client": "keeper"});
            asked.push((channel, was, asker.send(operation, &body.to_string())));
        }
        let wanted = chance(&mut random, 4);
        let mut answered = Vec::new();
        for _ in 0..wanted {
            let (subject, answer) = asker.next_of_any();
            assert!(!answer.headers.contains("Error"), "{context}: {answer:?}");
            answered.push(subject);
        }
        server.kill();
        server = Server::with_files(directory.path(), &[]);
        let mut changed = 0;
        for (channel, was, reply) in asked {
            let is_made = is_paused(&server, channel) != was;
            assert!(
                is_made || !answered.contains(&reply),
                "{context}: {channel} was answered and is not so"
            );
            made[usize::from(is_made)] += 1;
            changed += usize::from(is_made);
        }
        assert_eq!(audit(&server, &json!({})).len(), before + changed, "{context}");
    }
    assert!(made[1] > 0, "seed {seed}: some are made");
}

const USERS: &str = r#"
    authorization { users = [
        { user: ada, password: "secret-of-ada", permissions: {
            publish: { allow: [">", "$SEAWAY.api.*.read.>", "$SEAWAY.api.*.change.>"] } } }
        { user: bob, password: "secret-of-bob", permissions: {
            publish: { allow: [">", "$SEAWAY.api.*.read.>", "$SEAWAY.api.*.change.>"] } } }
        { user: app, password: "secret-of-app", permissions: { publish: { deny: "$SEAWAY.>" } } }
    ] }
"#;

#[test]
fn who_changed_what_is_known_later() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let store = directory.path().join("store");
        let flags = ["-store", "file", "-dir", store.to_str().unwrap()];
        Server::configured(directory.path(), USERS, &flags).unwrap_or_else(|log| panic!("not ready: {log:#?}"))
    };
    let server = start();
    let shell = Shell::at(&server.address);
    let run = |server: &Server, user: &str, words: &[&str]| {
        let file = shell.file(&format!("{user}.password"), &format!("secret-of-{user}"));
        let url = format!("nats://{}", server.address);
        shell.run(&[words, &["--server", &url, "--user", user, "--password-file", &file]].concat())
    };
    run(&server, "ada", &["pub", "orders", "x"]).expect(0);
    run(&server, "ada", &["channel", "purge", "orders", "--yes"]).expect(0);
    run(
        &server,
        "bob",
        &["channel", "limit", "orders", "--max-msgs", "7", "--yes"],
    )
    .expect(0);
    // What only would be, or was refused, is no change.
    run(&server, "bob", &["channel", "delete", "orders", "--dry-run"]).expect(0);
    run(&server, "bob", &["channel", "delete", "nowhere", "--yes"]).expect(3);
    run(
        &server,
        "bob",
        &["server", "log-level", "--streaming", "debug", "--yes"],
    )
    .expect(0);
    server.kill();
    let server = start();
    let said = run(&server, "ada", &["audit", "--json"]).expect(0);
    let listed = said.json();
    let changes: Vec<(String, String)> = { listed.iter() }
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap().to_owned();
            (text("by"), text("change"))
        })
        .collect();
    let expected = [
        ("User \"bob\" (cid:", "set the log level of the broker to"),
        ("User \"bob\" (cid:", "set limits of channel \"orders\": max_msgs 7"),
        ("User \"ada\" (cid:", "purged 1 messages of channel \"orders\""),
    ];
    assert_eq!(changes.len(), expected.len(), "{changes:?}");
    for ((by, change), (who, what)) in changes.iter().zip(expected) {
        assert!(by.starts_with(who) && change.starts_with(what), "{by} {change}");
    }
    assert!(!said.stdout.contains("secret"), "{said:?}");
    let of_ada = run(&server, "ada", &["audit", "--who", "ada"]).expect(0);
    assert!(
        of_ada.stdout.contains("purged 1 messages") && !of_ada.stdout.contains("bob"),
        "{of_ada:?}"
    );
    assert_eq!(
        run(&server, "ada", &["audit", "--since", "1h", "--json"])
            .expect(0)
            .json()
            .len(),
        3
    );
    let later = run(&server, "ada", &["audit", "--since", "2200-01-01T00:00:00Z"]).expect(0);
    assert!(later.stdout.contains("Nothing was changed"), "{later:?}");
    let (status, page) = server.get("/streaming/auditz?who=bob&limit=1");
    assert!(
        status == 200 && page.contains("\"total\": 2") && page.contains("log level"),
        "{page}"
    );
    assert_eq!(server.get("/streaming/auditz?since=yesterday").0, 400);
    // It takes the right to look at the server.
    let refused = run(&server, "app", &["audit"]);
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert_eq!(refused.stdout, "");
}

fn configured(folder: &Path, text: &str) -> (Server, std::path::PathBuf) {
    let file = folder.join("broker.conf");
    std::fs::write(&file, text).unwrap();
    let server = Server::in_memory(&["-c", file.to_str().unwrap()]);
    (server, file)
}

#[test]
fn log_levels_change_while_it_runs() {
    let mut server = Server::in_memory(&[]);
    let shell = Shell::at(&server.address);
    let said = shell
        .run(&["server", "log-level", "--streaming", "debug", "--dry-run"])
        .expect(0);
    let would = "Would log info of the broker (before: info) and debug of streaming (before: info), until the next reload or restart: it is not \
                 kept.\n";
    assert_eq!(said.stdout, would);
    let mut session = server.session("quiet");
    publish(&mut session, "orders", 1);
    assert!(
        !server.log.iter().any(|line| line.contains("[DBG]")),
        "{:#?}",
        server.log
    );
    let said = shell
        .run(&[
            "server",
            "log-level",
            "--streaming",
            "all",
            "--broker",
            "trace",
            "--yes",
            "--json",
        ])
        .expect(0);
    assert_eq!(
        (&said.json()[0]["streaming"], &said.json()[0]["broker"]),
        (&json!("all"), &json!("trace"))
    );
    server
        .wait_for_line("set the log level of the broker to trace and that of streaming to all")
        .unwrap();
    let mut session = server.session("loud");
    session.subscribe(all("orders")).unwrap();
    server.wait_for_line("[DBG] STREAM: ").unwrap();
    server.wait_for_line("[TRC] STREAM: ").unwrap();
    shell
        .run(&["server", "log-level", "--streaming", "info", "--broker", "info", "-y"])
        .expect(0);
    let mut asker = Asker::new(&server);
    let (code, message) = asker.error("change.log_level", r#"{"broker":"loud"}"#);
    assert!(
        code == 400 && message.contains("\"info\", \"debug\", \"trace\" or \"all\""),
        "{message}"
    );
    assert_eq!(asker.error("change.log_level", "{}").0, 400);
}

#[test]
fn a_reload_says_what_was_taken_and_what_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, file) = configured(folder.path(), "max_connections: 1000\n");
    let shell = Shell::at(&server.address);
    std::fs::write(&file, "max_connections: 900\nmax_pending: 9MB\n").unwrap();
    let said = shell.run(&["server", "reload", "--dry-run"]).expect(0);
    assert_eq!(
        said.stdout,
        "Would reload max_connections = 900. From the next start on: max_pending.\n"
    );
    let said = shell.run(&["server", "reload", "--yes", "--json"]).expect(0);
    let answer = &said.json()[0];
    assert_eq!(
        (&answer["reloaded"], &answer["at_next_start"]),
        (&json!(["max_connections = 900"]), &json!(["max_pending"]))
    );
    server.wait_for_line("[INF] Reloaded: max_connections = 900").unwrap();
    let varz = server.get("/varz").1;
    assert!(varz.contains("\"max_connections\": 900"), "{varz}");
    let said = shell.run(&["server", "reload", "--yes"]).expect(0);
    assert_eq!(said.stdout, "Reloaded, and nothing has changed at once.\n");
    // What cannot change, or is no configuration, changes nothing, and is said.
    std::fs::write(&file, "max_connections: 800\nserver_name: other\n").unwrap();
    let said = shell.run(&["server", "reload", "--yes"]);
    assert_ne!(said.code, Some(0));
    assert!(
        said.stderr
            .contains("nothing was reloaded: config reload not supported for server_name"),
        "{said:?}"
    );
    std::fs::write(&file, "max_connections: {\n").unwrap();
    let said = shell.run(&["server", "reload", "--dry-run"]);
    assert!(said.stderr.contains("nothing was reloaded"), "{said:?}");
    assert!(server.get("/varz").1.contains("\"max_connections\": 900"));
    let changes = audit(&server, &json!({}));
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!(changes[1], "had the configuration reloaded: max_connections = 900");
    // Without a file there is nothing to read.
    let plain = Server::in_memory(&[]);
    let (code, message) = Asker::new(&plain).error("change.reload", "{}");
    assert!(
        code == 409 && message.contains("can only reload config when a file is provided"),
        "{message}"
    );
}
