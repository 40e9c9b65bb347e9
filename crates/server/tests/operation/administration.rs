//! The administration service on the real binaries (`docs/administration.md`): what it answers, what it refuses, and whom.

use crate::support::administration::Asker;
use crate::support::requests::{all, durable, in_flight, publish, queue, take};
use crate::support::{Binary, Server};
use seaway_bench::stan::{Session, subscription};
use seaway_bench::wire::Connection;
use serde_json::{Value, json};

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// A channel `orders` with five messages and every kind of subscription, and two other channels.
fn furnish(server: &Server) -> Session {
    let mut session = server.session("billing");
    publish(&mut session, "orders", 5);
    publish(&mut session, "orders.eu", 1);
    publish(&mut session, "audit", 1);
    session.subscribe(durable(in_flight(all("orders"), 2))).unwrap();
    take(&mut session, 2);
    session.subscribe(durable(queue(all("orders")))).unwrap();
    session.subscribe(durable(queue(all("orders")))).unwrap();
    session.subscribe(queue(subscription("orders.eu"))).unwrap();
    session.subscribe(subscription("audit")).unwrap();
    take(&mut session, 5);
    session
}

#[test]
fn the_server_on_both_binaries() {
    let directory = tempfile::tempdir().unwrap();
    for (binary, kind, store) in [
        (Binary::Seaway, "FILE", &["--store-dir"][..]),
        (Binary::NatsStreamingServer, "FILE", &["-store", "file", "-dir"][..]),
        (Binary::NatsStreamingServer, "MEMORY", &[][..]),
    ] {
        let place = directory.path().join(format!("{binary:?}"));
        let mut arguments = vec![
            "-p",
            "-1",
            "-m",
            "-1",
            "-a",
            "127.0.0.1",
            "-cid",
            "test-cluster",
            "-mc",
            "77",
        ];
        if let Some((flag, before)) = store.split_last() {
            let flag = if *flag == "--store-dir" { "-dir" } else { flag };
            arguments.extend(before);
            arguments.extend([flag, place.to_str().unwrap()]);
        }
        let server = Server::start(binary, &arguments).unwrap();
        let mut asker = Asker::new(&server);
        let answer = asker.json("read.server", "");
        let (_, serverz) = server.get("/streaming/serverz");
        let serverz: Value = serde_json::from_str(&serverz).unwrap();
        let mut expected = keys(&serverz);
        expected.extend(["seaway_version", "ready", "tenure", "store"]);
        assert_eq!(keys(&answer), expected);
        for key in [
            "cluster_id",
            "server_id",
            "version",
            "state",
            "start_time",
            "total_msgs",
        ] {
            assert_eq!(answer[key], serverz[key], "{key}");
        }
        assert_eq!(answer["ready"], true);
        assert_eq!(answer["seaway_version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(
            (&answer["store"]["type"], &answer["store"]["limits"]["max_channels"]),
            (&json!(kind), &json!(77))
        );
    }
}

#[test]
fn channels_and_their_subscriptions() {
    let server = Server::in_memory(&[]);
    let _session = furnish(&server);
    let mut asker = Asker::new(&server);

    let list = asker.json("read.channels", "{}");
    let numbers = |list: &Value| ["offset", "limit", "count", "total"].map(|key| list[key].as_u64().unwrap());
    assert_eq!(numbers(&list), [0, 1024, 3, 3]);
    let (_, channelsz) = server.get("/streaming/channelsz?channel=orders");
    let channelsz: Value = serde_json::from_str(&channelsz).unwrap();
    assert_eq!(list["channels"][1], channelsz, "the keys and numbers of channelsz");
    assert_eq!(channelsz["subs_count"], 3);

    let list = asker.json("read.channels", r#"{"prefix":"orders","offset":1,"limit":5}"#);
    assert_eq!(numbers(&list), [1, 5, 1, 2]);
    assert_eq!(list["channels"][0]["name"], "orders.eu");
    assert_eq!(
        numbers(&asker.json("read.channels", r#"{"prefix":"x"}"#)),
        [0, 1024, 0, 0]
    );

    let channel = asker.json("read.channel", r#"{"channel":"orders"}"#);
    let (_, channelsz) = server.get("/streaming/channelsz?channel=orders&subs=1");
    let channelsz: Value = serde_json::from_str(&channelsz).unwrap();
    assert_eq!(numbers(&channel), [0, 1024, 3, 3]);
    for key in keys(&channelsz) {
        assert_eq!(channel[key], channelsz[key], "{key}");
    }
    assert_eq!(channel["limits"]["max_msgs"], 1_000_000);
    let part = asker.json("read.channel", r#"{"channel":"orders","offset":2,"limit":1}"#);
    assert_eq!(numbers(&part), [2, 1, 1, 3]);
    assert_eq!(part["subscriptions"][0], channelsz["subscriptions"][2]);

    let (code, message) = asker.error("read.channel", r#"{"channel":"order"}"#);
    assert_eq!(code, 404);
    assert!(
        message.contains("There is no channel 'order'") && message.contains("'orders'"),
        "{message}"
    );
}

#[test]
fn durables_and_groups() {
    let server = Server::in_memory(&[]);
    let mut session = furnish(&server);
    let mut asker = Asker::new(&server);
    let row =
        |channel: &str, names: [&str; 3], members: u64, is_durable: bool, sent: u64, pending: u64, stalled: bool| {
            let [name, queue, client] = names;
            json!({"channel": channel, "name": name, "queue": queue, "client_id": client, "members": members,
            "is_durable": is_durable, "is_online": members > 0, "last_sent": sent, "pending_count": pending,
            "is_stalled": stalled})
        };
    let plain = |members, stalled| row("orders", ["dur", "", "billing"], members, true, 2, 2, stalled);
    let group = row("orders", ["dur", "q", ""], 2, true, 5, 5, false);
    let other = row("orders.eu", ["", "q", ""], 1, false, 1, 0, false);
    let list = asker.json("read.durables", "");
    assert_eq!(list["durables"], json!([plain(1, true), group, other]));
    assert_eq!(list["total"], 3);
    let list = asker.json("read.durables", r#"{"offset":1,"limit":1}"#);
    assert_eq!((&list["durables"], &list["total"]), (&json!([group]), &json!(3)));
    let list = asker.json("read.durables", r#"{"channel":"orders.eu"}"#);
    assert_eq!((&list["durables"], &list["total"]), (&json!([other]), &json!(1)));
    assert_eq!(asker.error("read.durables", r#"{"channel":"none"}"#).0, 404);

    session.close().unwrap();
    let list = asker.json("read.durables", r#"{"channel":"orders"}"#);
    let gone = &list["durables"];
    assert_eq!(gone[0], plain(0, false), "its last owner is still named");
    assert_eq!((&gone[1]["members"], &gone[1]["is_online"]), (&json!(0), &json!(false)));
}

#[test]
fn clients_and_why() {
    let server = Server::in_memory(&[]);
    let _session = furnish(&server);
    let _other = server.session("shop");
    let mut asker = Asker::new(&server);
    let list = asker.json("read.clients", r#"{"limit":1}"#);
    assert_eq!(
        (&list["total"], &list["clients"][0]["id"]),
        (&json!(2), &json!("billing"))
    );
    let client = asker.json("read.clients", r#"{"client":"billing"}"#);
    let (_, clientsz) = server.get("/streaming/clientsz?client=billing&subs=1");
    assert_eq!(client, serde_json::from_str::<Value>(&clientsz).unwrap());
    assert_eq!(
        asker.error("read.clients", r#"{"client":"nobody"}"#),
        (
            404,
            "there is no client \"nobody\": it is not connected, or was lost".to_owned()
        )
    );

    let why = asker.json("read.why", r#"{"channel":"orders","durable":"dur","client":"billing"}"#);
    let (_, page) = server.get("/streaming/why?channel=orders&durable=dur&client=billing");
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(keys(&why), keys(&page));
    for key in ["verdict", "words", "advice", "total"] {
        assert_eq!(why[key], page[key], "{key}");
    }
    assert_eq!((&why["verdict"], &why["total"]), (&json!("stalled"), &json!(3)));
    let (code, message) = asker.error("read.why", r#"{"channel":"orders","durable":"other"}"#);
    assert_eq!(code, 404);
    assert!(message.contains("Its durables: 'dur'"), "{message}");
}

#[test]
fn requests_that_are_not_understood() {
    let server = Server::in_memory(&[]);
    let mut asker = Asker::new(&server);
    let nested = format!("{{\"channel\":{}1", "[".repeat(50_000));
    let long = format!("{{\"channel\":\"{}\"}}", "x".repeat(64 * 1024));
    for (operation, body, code, text) in [
        ("read.server", "not JSON", 400, "must be a JSON object"),
        ("read.server", "[]", 400, "must be a JSON object"),
        ("read.server", "{", 400, "not understood"),
        ("read.server", "{} {}", 400, "trailing characters"),
        ("read.server", r#"{"channel":"x"}"#, 400, "unknown field `channel`"),
        (
            "read.channels",
            r#"{"chanel":"x"}"#,
            400,
            "unknown field `chanel`, expected one of `prefix`",
        ),
        (
            "read.channels",
            r#"{"limit":0}"#,
            400,
            "\"limit\" must be 1 to 4096, and not 0",
        ),
        ("read.channels", r#"{"limit":4097}"#, 400, "\"limit\" must be 1 to 4096"),
        ("read.channels", r#"{"limit":-1}"#, 400, "invalid value: integer `-1`"),
        ("read.channels", r#"{"offset":1e400}"#, 400, "not understood"),
        (
            "read.channels",
            r#"{"offset":18446744073709551616}"#,
            400,
            "not understood",
        ),
        (
            "read.channels",
            r#"{"offset":0,"offset":1}"#,
            400,
            "duplicate field `offset`",
        ),
        ("read.channels", "{\"prefix\":\"\u{0}\"}", 400, "control character"),
        ("read.channel", "", 400, "\"channel\" is required"),
        ("read.channel", r#"{"channel":""}"#, 400, "\"channel\" is required"),
        (
            "read.channel",
            r#"{"channel":7}"#,
            400,
            "invalid type: integer `7`, expected a string",
        ),
        ("read.channel", r#"{"channel":"a\r\nb"}"#, 404, "a"),
        ("read.clients", r#"{"client":"x","limit":1}"#, 400, "leave out"),
        (
            "read.why",
            r#"{"channel":"x","limit":1001}"#,
            400,
            "\"limit\" must be 1 to 1000",
        ),
        (
            "read.messages",
            r#"{"channel":"x","from":0}"#,
            400,
            "sequences begin at 1",
        ),
        (
            "read.messages",
            r#"{"channel":"x","count":1001}"#,
            400,
            "\"count\" must be 1 to 1000",
        ),
        (
            "read.messages",
            r#"{"channel":"x","bytes_max":0}"#,
            400,
            "\"bytes_max\" must be 1 to 8388608",
        ),
        ("read.messages", r#"{"channel":"x"}"#, 404, "There is no channel 'x'"),
        ("read.channel", &nested, 400, "not understood"),
        (
            "read.channel",
            &long,
            400,
            "the request is too long: at most 65536 bytes",
        ),
        (
            "read.nothing",
            "{}",
            404,
            "no operation \"read.nothing\"; there are change.ack, change.backup.begin, ",
        ),
        ("read", "{}", 404, "no operation \"read\""),
        ("read.server.x", "{}", 404, "no operation \"read.server.x\""),
        ("write.server", "{}", 404, "no operation \"write.server\""),
        ("change.wipe", "{}", 404, "no operation \"change.wipe\""),
        // What is published to is a name, also when it looks like a pattern.
        ("read.*", "{}", 404, "no operation \"read.*\""),
        (">", "{}", 404, "no operation \">\""),
    ] {
        let answer = asker.ask(operation, body);
        let (answered, message) = (
            answer.json()["error"]["code"].clone(),
            answer.json()["error"]["message"].clone(),
        );
        let message = message.as_str().unwrap();
        assert_eq!(answered, code, "{operation} {:.60}: {message}", body);
        assert!(message.contains(text), "{operation} {:.60}: {message}", body);
        assert!(message.len() < 2000);
        assert_eq!(answer.headers.lines().count(), 4, "{:?}", answer.headers);
    }
    // An offset is never too large.
    assert_eq!(
        asker.json("read.channels", r#"{"offset":18446744073709551615}"#)["count"],
        0
    );
    // Whoever wants no answer gets none, and another cluster's service is not here.
    asker
        .connection
        .publish("$SEAWAY.api.test-cluster.read.server", "", b"");
    assert!(asker.is_left_alone());
    let reply = asker.send("read.server", "");
    asker.next(&reply);
    for subject in [
        "$SEAWAY.api.other.read.server",
        "$SEAWAY.api.*.read.server",
        "$SEAWAY.api.test-cluster",
    ] {
        asker.connection.publish(subject, &reply, b"");
        assert!(asker.next(&reply).headers.starts_with("NATS/1.0 503\r\n"), "{subject}");
    }
}

#[test]
fn a_list_ends_where_max_payload_is_reached() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::configured(directory.path(), "max_payload: 4096\n", &[]).unwrap();
    let mut session = server.session("client");
    for number in 10..99 {
        session.publish(&format!("channel.{number}"), b"x").unwrap();
    }
    let mut asker = Asker::new(&server);
    let (mut names, mut rounds) = (Vec::new(), 0);
    while names.len() < 89 {
        let answer = asker.ask("read.channels", &format!(r#"{{"offset":{}}}"#, names.len()));
        assert!(answer.payload.len() <= 4096);
        let list = answer.json();
        assert_eq!((&list["total"], &list["limit"]), (&json!(89), &json!(1024)));
        let channels = list["channels"].as_array().unwrap();
        assert_eq!(list["count"], channels.len());
        names.extend(
            channels
                .iter()
                .map(|channel| channel["name"].as_str().unwrap().to_owned()),
        );
        rounds += 1;
    }
    assert!(rounds > 1 && names.is_sorted());
    // One thing cannot be cut.
    for number in 10..40 {
        session.subscribe(subscription(&format!("channel.{number}"))).unwrap();
    }
    let (code, message) = asker.error("read.clients", r#"{"client":"client"}"#);
    assert_eq!(code, 400);
    assert!(message.contains("bytes and may have 4096 (max_payload)"), "{message}");
}

const USERS: &str = r#"
authorization {
  users = [
    { user: "all", password: "p" }
    { user: "wide", password: "p", permissions: { publish: ">", subscribe: ">" } }
    { user: "reader", password: "p", permissions: {
        publish: "$SEAWAY.api.*.read.>", subscribe: "_INBOX.reader.>" } }
    { user: "curious", password: "p", permissions: { publish: [">", "$SEAWAY.api.*.read.messages"], subscribe: ">" } }
    { user: "hearer", password: "p", permissions: { subscribe: ">" } }
    { user: "changer", password: "p", permissions: {
        publish: { allow: [">", "$SEAWAY.api.*.change.>"], deny: "$SEAWAY.api.*.change.wipe" } } }
    { user: "partly", password: "p", permissions: {
        publish: { allow: [">", "$SEAWAY.api.test-cluster.change.purge"] } } }
    { user: "outsider", password: "p", permissions: {
        publish: { deny: "$SEAWAY.>" } } }
  ]
}
"#;

fn connect(server: &Server, user: &str) -> Connection {
    Connection::open_with(&server.address, &format!(r#""user":"{user}","pass":"p""#)).unwrap()
}

#[test]
fn permissions_decide_who_may_look_and_who_may_change() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::configured(directory.path(), USERS, &[]).unwrap();
    for user in ["all", "wide", "changer", "partly"] {
        let mut asker = Asker::over(connect(&server, user));
        assert_eq!(asker.json("read.server", "")["ready"], true, "{user}");
    }
    for (user, operation, code) in [
        ("all", "change.purge", 403),
        ("wide", "change.purge", 403),
        ("wide", "change", 403),
        ("changer", "change.purge", 400),
        ("changer", "change.other", 404),
        ("partly", "change.purge", 400),
        ("partly", "change.delete", 403),
    ] {
        let mut asker = Asker::over(connect(&server, user));
        let (answered, message) = asker.error(operation, "");
        assert_eq!(answered, code, "{user} {operation}: {message}");
        let text = match code {
            403 => "must allow publishing to \"$SEAWAY.api.test-cluster.change.>\"",
            400 => "\"channel\" is required",
            _ => "no operation \"change.",
        };
        assert!(message.contains(text), "{message}");
    }
    for (user, operation) in [
        ("outsider", "read.server"),
        ("changer", "change.wipe"),
        ("reader", "change.purge"),
    ] {
        let mut asker = Asker::with_inbox(connect(&server, user), &format!("_INBOX.{user}"));
        asker.send(operation, "");
        let text = format!("Permissions Violation for Publish to \"$SEAWAY.api.test-cluster.{operation}\"");
        assert_eq!(asker.refusal(), text, "{user}");
    }
}

/// `publish: ">"` minus `_STAN.>` would read every channel around its permissions: a user who has some reads messages only
/// when they name that.
#[test]
fn messages_are_read_by_name_where_there_are_permissions() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::configured(directory.path(), USERS, &[]).unwrap();
    let mut session = Session::over(connect(&server, "all"), "test-cluster", "publisher").unwrap();
    session.publish("secrets", b"swordfish").unwrap();
    for user in ["all", "reader", "curious"] {
        let mut asker = Asker::with_inbox(connect(&server, user), &format!("_INBOX.{user}"));
        let peeked = asker.peek("secrets", "");
        assert_eq!(peeked.messages, [(1, b"swordfish".to_vec())], "{user}");
    }
    for user in ["wide", "changer", "partly", "hearer"] {
        let mut asker = Asker::over(connect(&server, user));
        let (code, message) = asker.error("read.messages", r#"{"channel":"secrets"}"#);
        assert_eq!(code, 403, "{user}: {message}");
        let text = "must allow publishing to \"$SEAWAY.api.test-cluster.read.messages\" by name";
        assert!(message.contains(text) && !message.contains("swordfish"), "{message}");
        // The rest of what it may look at is as before.
        assert_eq!(
            asker.json("read.channel", r#"{"channel":"secrets"}"#)["msgs"],
            1,
            "{user}"
        );
    }
}

/// A single user and a token have no permissions, and see everything.
#[test]
fn messages_are_read_by_a_single_user_and_a_token() {
    let directory = tempfile::tempdir().unwrap();
    for (block, options) in [
        ("user: one, password: p", r#""user":"one","pass":"p""#),
        ("token: t", r#""auth_token":"t""#),
    ] {
        let text = format!("authorization {{ {block} }}");
        let server = Server::configured(directory.path(), &text, &[]).unwrap();
        let connect = || Connection::open_with(&server.address, options).unwrap();
        let mut session = Session::over(connect(), "test-cluster", "publisher").unwrap();
        session.publish("letters", b"x").unwrap();
        let peeked = Asker::over(connect()).peek("letters", "");
        assert_eq!(peeked.messages, [(1, b"x".to_vec())], "{block}");
    }
}

/// A reader chooses where answers go, but not to whom: neither to inboxes of others nor to the services of this process.
#[test]
fn answers_go_nowhere_that_the_asker_may_not_listen() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::configured(directory.path(), USERS, &[]).unwrap();
    let mut victim = Asker::with_inbox(connect(&server, "all"), "_INBOX.victim");
    assert_eq!(victim.json("read.server", "")["ready"], true);
    let mut asker = Asker::with_inbox(connect(&server, "reader"), "_INBOX.reader");
    let subject = "$SEAWAY.api.test-cluster.read.server";
    asker.connection.publish(subject, "_INBOX.victim.1", b"");
    // It gets its own answers, and after so many of them the other request has been dealt with too.
    for _ in 0..50 {
        assert_eq!(asker.json("read.server", "")["ready"], true);
    }
    assert!(victim.is_left_alone());

    // A message that is a request to close a client, read with the answer going to where such requests are served.
    let mut session = Session::over(connect(&server, "all"), "test-cluster", "innocent").unwrap();
    let forged = b"\x0a\x08innocent";
    session.publish("letters", forged).unwrap();
    let closing = String::from_utf8(session.response.close_requests.to_vec()).unwrap();
    let mut wide = Asker::over(connect(&server, "curious"));
    let subject = "$SEAWAY.api.test-cluster.read.messages";
    wide.connection.publish(subject, &closing, br#"{"channel":"letters"}"#);
    assert_eq!(wide.peek("letters", "").messages, [(1, forged.to_vec())]);
    let clients = wide.json("read.clients", "");
    assert_eq!(clients["clients"][0]["id"], "innocent", "{clients}");
}
