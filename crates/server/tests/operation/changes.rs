//! What an operator has changed on the real binaries (`docs/administration.md`, changes): what is answered, what clients see, and what a
//! server that was killed in the middle makes of it.

use std::time::Instant;

use crate::support::administration::Asker;
use crate::support::requests::{
    INVALID_SUBSCRIPTION, REPLACED, all, bounds, durable, firsts, in_flight, is_quiet, publish, queue, refusal, take,
};
use crate::support::shell::Shell;
use crate::support::{PATIENCE, Server};
use seaway_bench::stan::Session;
use seaway_bench::wire::Frame;
use serde_json::{Value, json};

fn ask(asker: &mut Asker, operation: &str, body: &Value) -> Value {
    asker.json(operation, &body.to_string())
}

/// A durable's row, without its client.
fn place(asker: &mut Asker, channel: &str, name: &str) -> Option<(u64, u64)> {
    let listed = ask(asker, "read.durables", &json!({ "channel": channel }));
    let rows = listed["durables"].as_array().unwrap().iter();
    let mut rows = rows.filter(|row| row["name"] == name);
    let number = |row: &Value, key: &str| row[key].as_u64().unwrap();
    rows.next()
        .map(|row| (number(row, "last_sent"), number(row, "pending_count")))
}

#[test]
fn a_purge_is_told_in_the_log_and_reaches_who_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::with_files(directory.path(), &[]);
    let mut asker = Asker::new(&server);
    let mut session = server.session("me");
    publish(&mut session, "orders", 9);
    session.subscribe(durable(in_flight(all("orders"), 3))).unwrap();
    assert_eq!(take(&mut session, 3), firsts(1..=3));
    let request = json!({"channel": "orders", "up_to": 5, "dry_run": true});
    let expected = json!({"channel": "orders", "msgs": 5, "first_seq": 6, "last_seq": 9, "dry_run": true});
    assert_eq!(ask(&mut asker, "change.purge", &request), expected);
    assert!(is_quiet(&mut session));
    let done = ask(&mut asker, "change.purge", &json!({"channel": "orders", "up_to": 5}));
    assert_eq!((&done["msgs"], &done["dry_run"]), (&json!(5), &json!(false)));
    assert_eq!(take(&mut session, 3), firsts(6..=8));
    assert_eq!(bounds(&server, "orders"), (4, 6, 9));
    let line = server.wait_for_line("purged 5 messages of channel \"orders\"").unwrap();
    assert!(line.contains("cid:"), "{line}");
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    assert_eq!(bounds(&server, "orders"), (4, 6, 9));
    let mut asker = Asker::new(&server);
    // Everything is older than tomorrow.
    let done = ask(
        &mut asker,
        "change.purge",
        &json!({"channel": "orders", "before": "2200-01-01T00:00:00Z"}),
    );
    assert_eq!(
        (&done["msgs"], &done["first_seq"], &done["last_seq"]),
        (&json!(4), &json!(10), &json!(9))
    );
    let mut session = server.session("you");
    publish(&mut session, "orders", 1);
    assert_eq!(bounds(&server, "orders"), (1, 10, 10));
}

/// Set on the running server, answered when durable, and in force after a kill.
#[test]
fn limits_set_at_run_time_count_before_the_configuration_until_they_are_reset() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["-mm", "8"];
    let mut server = Server::with_files(directory.path(), &flags);
    let mut asker = Asker::new(&server);
    let mut session = server.session("me");
    publish(&mut session, "orders", 8);
    let request = json!({"channel": "orders", "max_msgs": 3, "max_age": 0, "dry_run": true});
    let would = ask(&mut asker, "change.limit", &request);
    assert_eq!(
        (&would["surplus_msgs"], &would["limits"]["max_msgs"]),
        (&json!(5), &json!(3))
    );
    assert_eq!(bounds(&server, "orders"), (8, 1, 8));
    let done = ask(
        &mut asker,
        "change.limit",
        &json!({"channel": "orders", "max_msgs": 3, "max_age": 0}),
    );
    assert_eq!(done["limits_set"], json!({"max_msgs": 3, "max_age": 0}));
    server
        .wait_for_line("set limits of channel \"orders\": max_msgs 3 max_age unlimited; 5 messages are too many")
        .unwrap();
    server.kill();
    let server = Server::with_files(directory.path(), &flags);
    let mut asker = Asker::new(&server);
    let mut session = server.session("you");
    publish(&mut session, "orders", 2);
    publish(&mut session, "others", 10);
    crate::support::group::wait_until("the limit is kept", || bounds(&server, "orders") == (3, 8, 10));
    crate::support::group::wait_until("others keep theirs", || bounds(&server, "others").0 == 8);
    let shown = ask(&mut asker, "read.channel", &json!({"channel": "orders"}));
    assert_eq!(
        (&shown["limits"]["max_msgs"], &shown["limits_set"]),
        (&json!(3), &json!({"max_msgs": 3, "max_age": 0}))
    );
    let done = ask(&mut asker, "change.limit", &json!({"channel": "orders", "reset": true}));
    assert_eq!(
        (&done["limits"]["max_msgs"], &done["limits_set"]),
        (&json!(8), &json!({}))
    );
    publish(&mut session, "orders", 6);
    crate::support::group::wait_until("the configuration counts", || bounds(&server, "orders") == (8, 9, 16));
}

#[test]
fn what_cannot_be_asked_is_refused_in_words() {
    let server = Server::in_memory(&[]);
    let mut asker = Asker::new(&server);
    let mut session = server.session("me");
    publish(&mut session, "orders", 1);
    session.subscribe(durable(all("orders"))).unwrap();
    for (operation, body, code, text) in [
        ("change.purge", json!({}), 400, "\"channel\" is required"),
        ("change.limit", json!({"channel": "orders"}), 400, "a limit is required"),
        (
            "change.limit",
            json!({"channel": "nowhere", "max_msgs": 1}),
            404,
            "there is no channel",
        ),
        (
            "change.limit",
            json!({"channel": "orders", "max_msg": 1}),
            400,
            "max_msg",
        ),
        (
            "change.purge",
            json!({"channel": "a", "up_to": 1, "before": "x"}),
            400,
            "not both",
        ),
        (
            "change.purge",
            json!({"channel": "a", "before": "yesterday"}),
            400,
            "a time is written like",
        ),
        (
            "change.purge",
            json!({"channel": "a"}),
            404,
            "there is no channel \"a\"",
        ),
        (
            "change.move",
            json!({"channel": "orders", "durable": "dur", "client": "me"}),
            400,
            "\"to\" is required",
        ),
        (
            "change.move",
            json!({"channel": "orders", "durable": "dur", "to": 1}),
            400,
            "\"client\" is required",
        ),
        (
            "change.move",
            json!({"channel": "orders", "to": 1}),
            400,
            "\"durable\" or \"queue\"",
        ),
        (
            "change.move",
            json!({"channel": "orders", "queue": "q", "client": "me", "to": 1}),
            400,
            "belongs to no client",
        ),
        (
            "change.move",
            json!({"channel": "orders", "queue": "q", "to": -1}),
            400,
            "\"to\" is required",
        ),
        (
            "change.move",
            json!({"channel": "orders", "queue": "q", "to": "start"}),
            404,
            "no queue group \"q\" on channel \"orders\"",
        ),
        (
            "change.move",
            json!({"channel": "orders", "queue": "q", "to": 1, "force": true}),
            400,
            "change.remove",
        ),
        (
            "change.remove",
            json!({"channel": "orders", "queue": "q", "to": 1}),
            400,
            "change.move",
        ),
        (
            "change.remove",
            json!({"channel": "orders", "durable": "dur", "client": "me"}),
            409,
            "\"dur\" on channel \"orders\" has 1 active: force it",
        ),
        (
            "change.delete",
            json!({"channel": "orders"}),
            409,
            "1 active subscriptions: force it",
        ),
        ("change.disconnect", json!({}), 400, "one of them is required"),
        (
            "change.disconnect",
            json!({"client": "you"}),
            404,
            "there is no client \"you\"",
        ),
        ("change.disconnect", json!({"cid": 4711}), 404, "cid 4711"),
    ] {
        let (answered, message) = asker.error(operation, &body.to_string());
        assert_eq!(answered, code, "{operation} {body}: {message}");
        assert!(message.contains(text), "{operation} {body}: {message}");
    }
}

#[test]
fn a_durable_and_a_group_are_moved_while_they_are_read() {
    let server = Server::in_memory(&[]);
    let mut asker = Asker::new(&server);
    let mut session = server.session("me");
    publish(&mut session, "orders", 4);
    session.subscribe(durable(all("orders"))).unwrap();
    assert_eq!(take(&mut session, 4), firsts(1..=4));
    let reader = json!({"channel": "orders", "durable": "dur", "client": "me", "to": 3});
    let moved = ask(&mut asker, "change.move", &reader);
    assert_eq!(
        (&moved["from_seq"], &moved["to_seq"], &moved["pending_count"]),
        (&json!(5), &json!(3), &json!(4))
    );
    assert_eq!(take(&mut session, 2), firsts(3..=4));
    let mut other = server.session("you");
    other.subscribe(queue(all("orders"))).unwrap();
    assert_eq!(take(&mut other, 4), firsts(1..=4));
    let group = json!({"channel": "orders", "queue": "q", "to": "start"});
    assert_eq!(ask(&mut asker, "change.move", &group)["to_seq"], 1);
    assert_eq!(take(&mut other, 4), firsts(1..=4));
}

#[test]
fn clients_of_what_was_removed_deleted_and_disconnected() {
    let server = Server::in_memory(&[]);
    let mut asker = Asker::new(&server);
    let mut session = server.session("me");
    publish(&mut session, "orders", 2);
    let subscribed = session.subscribe(durable(all("orders"))).unwrap();
    assert_eq!(take(&mut session, 2), firsts(1..=2));
    let removed = ask(
        &mut asker,
        "change.remove",
        &json!({"channel": "orders", "durable": "dur", "client": "me", "force": true}),
    );
    assert_eq!((&removed["members"], &removed["pending_count"]), (&json!(1), &json!(2)));
    assert_eq!(refusal(session.unsubscribe(&subscribed)), INVALID_SUBSCRIPTION);
    let subscribed = session.subscribe(all("orders")).unwrap();
    assert_eq!(take(&mut session, 2), firsts(1..=2));
    let deleted = ask(
        &mut asker,
        "change.delete",
        &json!({"channel": "orders", "force": true}),
    );
    assert_eq!((&deleted["msgs"], &deleted["active_count"]), (&json!(2), &json!(1)));
    while asker.ask("read.channel", r#"{"channel":"orders"}"#).headers.is_empty() {}
    assert_eq!(refusal(session.unsubscribe(&subscribed)), "stan: unknown channel");
    publish(&mut session, "orders", 1);
    assert_eq!(bounds(&server, "orders"), (1, 1, 1));
    assert!(is_quiet(&mut session), "nobody is subscribed any more");
    let closed = ask(&mut asker, "change.disconnect", &json!({"client": "me"}));
    assert_eq!(closed["subs_count"], 0);
    assert_eq!(refusal(session.ping()), REPLACED);
}

/// A connection that is only one of NATS.
#[test]
fn a_connection_ends_by_its_number() {
    let server = Server::in_memory(&[]);
    let mut victim = Asker::new(&server);
    assert!(victim.is_left_alone());
    let port = victim.connection.local_address().unwrap().port();
    let (_, connections) = server.get("/connz");
    let connections: Value = serde_json::from_str(&connections).unwrap();
    let mut connections = connections["connections"].as_array().unwrap().iter();
    let cid = connections.find(|one| one["port"] == port).unwrap()["cid"].clone();
    let mut asker = Asker::new(&server);
    assert_eq!(
        ask(&mut asker, "change.disconnect", &json!({"cid": cid, "dry_run": true}))["cid"],
        cid
    );
    assert!(victim.is_left_alone());
    ask(&mut asker, "change.disconnect", &json!({ "cid": cid }));
    loop {
        match victim.connection.next_frame(PATIENCE) {
            Ok(Frame::Info(_) | Frame::Pong | Frame::Error(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(_) => break,
        }
    }
    // It is known until everything of it is over.
    let deadline = Instant::now() + PATIENCE;
    let gone = loop {
        let answer = asker.ask("change.disconnect", &json!({ "cid": cid, "dry_run": true }).to_string());
        if !answer.headers.is_empty() || Instant::now() > deadline {
            break answer;
        }
    };
    assert_eq!(gone.error().0, 404);
}

#[test]
fn the_command_line_says_what_would_be_and_asks() {
    let server = Server::in_memory(&[]);
    let shell = Shell::at(&server.address);
    shell.run(&["pub", "orders", "{{Count}}", "-n", "9"]).expect(0);
    shell
        .run(&["sub", "orders", "--all", "-n", "4", "--durable", "billing"])
        .expect(0);
    let said = shell
        .run(&["durable", "move", "orders", "billing", "--from", "2", "--dry-run"])
        .expect(0);
    let expected = "Would move durable \"billing\" of client \"seaway-orders-billing\" on channel \"orders\": the next message would be 2, \
                    and not 9; 4 messages would not be pending any more.\n";
    assert_eq!(said.stdout, expected);
    let said = shell
        .run(&["durable", "move", "orders", "billing", "--from", "2"])
        .expect(2);
    assert!(
        said.stderr.contains("Nothing was changed: say --yes"),
        "{}",
        said.stderr
    );
    let said = shell
        .run(&["durable", "move", "orders", "billing", "--from", "2", "--yes", "--json"])
        .expect(0);
    assert_eq!(said.json()[0]["to_seq"], 2);
    let said = shell
        .run(&["sub", "orders", "-n", "1", "--durable", "billing", "--raw"])
        .expect(0);
    assert_eq!(said.stdout, "2\n");
    let said = shell
        .run(&["channel", "purge", "orders", "--up-to", "3", "-y"])
        .expect(0);
    assert_eq!(
        said.stdout,
        "Removed 3 messages of channel \"orders\": 4 is the first that is left.\n"
    );
    let said = shell
        .run(&["channel", "purge", "orders", "--older-than", "0s", "-y"])
        .expect(0);
    assert_eq!(
        said.stdout,
        "Removed 6 messages of channel \"orders\": nothing is left.\n"
    );
    shell.run(&["durable", "remove", "orders", "other", "--yes"]).expect(3);
    let said = shell
        .run(&["durable", "remove", "orders", "billing", "--yes"])
        .expect(0);
    assert!(
        said.stdout.starts_with("Removed durable \"billing\""),
        "{}",
        said.stdout
    );
    let said = shell.run(&["channel", "delete", "orders", "--yes"]).expect(0);
    assert!(
        said.stdout.starts_with("Deleted channel \"orders\" with 0 messages"),
        "{}",
        said.stdout
    );
    shell.run(&["channel", "delete", "nowhere", "--yes"]).expect(3);
    shell.run(&["client", "disconnect", "nobody", "--yes"]).expect(3);
}

/// Chances that differ from run to run, and do not depend on the clock of a test.
fn chance(state: &mut u64, below: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

/// The server is killed while changes are asked for, at a moment that is another one each time. After the next start each change was made or
/// was not, and was if it was answered.
#[test]
fn a_server_that_is_killed_has_made_a_change_or_has_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = u64::from(std::process::id());
    let seed = random;
    let mut made = [0u32; 2];
    let mut server = Server::with_files(directory.path(), &[]);
    {
        let mut session = server.session("keeper");
        publish(&mut session, "orders", 200);
        publish(&mut session, "moved", 200);
        let subscribed = session.subscribe(durable(in_flight(all("moved"), 50))).unwrap();
        take(&mut session, 50);
        session.close_subscription(&subscribed).unwrap();
        session.close().unwrap();
    }
    for round in 0..12 {
        let context = format!("seed {seed}, round {round}");
        let mut asker = Asker::new(&server);
        let (_, first, last) = bounds(&server, "orders");
        let before = place(&mut asker, "moved", "dur");
        let (doomed, grouped) = (format!("doomed.{round}"), format!("grouped.{round}"));
        // Somebody whose messages and acks are on record among the changes.
        let mut reader = server.session(&format!("reader{round}"));
        for channel in [&doomed, &grouped] {
            publish(&mut reader, channel, 20);
            reader.subscribe(queue(all(channel))).unwrap();
            reader.subscribe(queue(all(channel))).unwrap();
            take(&mut reader, 20);
        }
        let target = 1 + chance(&mut random, 200);
        let purged = first + chance(&mut random, 8);
        let purge = asker.send(
            "change.purge",
            &json!({"channel": "orders", "up_to": purged}).to_string(),
        );
        let moving = json!({"channel": "moved", "durable": "dur", "client": "keeper", "to": target});
        let moved = asker.send("change.move", &moving.to_string());
        let removing = json!({"channel": grouped, "queue": "q", "force": true});
        let removed = asker.send("change.remove", &removing.to_string());
        let deleted = asker.send("change.delete", &json!({"channel": doomed, "force": true}).to_string());
        // Some answers are waited for, so that the kill comes at another moment each time.
        let wanted = chance(&mut random, 5);
        let mut answered = Vec::new();
        for _ in 0..wanted {
            let (subject, answer) = asker.next_of_any();
            assert!(!answer.headers.contains("Error"), "{context}: {answer:?}");
            answered.push(subject);
        }
        server.kill();
        server = Server::with_files(directory.path(), &[]);
        let mut asker = Asker::new(&server);
        let must = |reply: &String| answered.contains(reply);
        let mut note = |is_made: bool, must: bool, what: &str| {
            assert!(is_made || !must, "{context}: {what} was answered and is not made");
            made[usize::from(is_made)] += 1;
        };
        let now = bounds(&server, "orders");
        assert!(
            now.1 == first || now.1 == purged + 1,
            "{context}: {now:?} after {first}"
        );
        assert_eq!((now.0, now.2), (last + 1 - now.1, last), "{context}");
        note(now.1 == purged + 1, must(&purge), "a purge");
        let place = place(&mut asker, "moved", "dur");
        let expected = Some((target - 1, 0));
        assert!(
            place == expected || place == before,
            "{context}: {place:?} is neither {before:?} nor {expected:?}"
        );
        note(place == expected, must(&moved), "a move");
        let members = |channel: &Value| channel["subscriptions"].as_array().unwrap().len();
        let group = ask(&mut asker, "read.channel", &json!({ "channel": grouped }));
        let left = members(&group);
        assert!(left == 2 || left == 0, "{context}: half of a group is left: {group}");
        note(left == 0, must(&removed), "a removal");
        let channel = asker.ask("read.channel", &json!({ "channel": doomed }).to_string());
        let is_there = channel.headers.is_empty();
        if is_there {
            let channel = channel.json();
            let is_whole = channel["msgs"] == 20 && members(&channel) == 2;
            assert!(is_whole, "{context}: half of a channel is left: {channel}");
        }
        note(!is_there, must(&deleted), "a deletion");
    }
    assert!(made[1] > 0, "seed {seed}: some are made");
    end(server);
}

/// Nothing that a kill left behind keeps a client from going on.
fn end(server: Server) {
    let mut session: Session = server.session("keeper");
    publish(&mut session, "moved", 1);
    session.subscribe(durable(all("moved"))).unwrap();
    let (first, count) = take(&mut session, 1)[0];
    assert!(first >= 1 && count == 0);
}
