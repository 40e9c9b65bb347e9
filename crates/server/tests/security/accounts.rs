//! Accounts and the services of the system account, through the binary (core specification §2.6, §3.6).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Binary, PATIENCE, Server};
use seaway_bench::stan::Session;
use seaway_bench::wire::{Connection, Frame};
use serde_json::Value;

const ACCOUNTS: &str = r#"
    accounts {
        A { users: [{ user: a, password: a }, { user: limited, password: l, permissions: {
            publish: { allow: ["$SYS.REQ.USER.INFO", "x"], deny: "y" }, subscribe: "_INBOX.>", allow_responses: true } }] }
        B { users: [{ user: b, password: b }] }
        $SYS { users: [{ user: admin, password: s }] }
    }
"#;

fn server(directory: &tempfile::TempDir, more: &str) -> Server {
    let configuration = format!("{ACCOUNTS}{more}");
    Server::configured(directory.path(), &configuration, &[]).unwrap_or_else(|log| panic!("not ready: {log:#?}"))
}

fn user(server: &Server, name: &str, password: &str) -> Connection {
    let credentials = format!(r#""name":"{name}","user":"{name}","pass":"{password}""#);
    Connection::open_with(&server.address, &credentials).unwrap()
}

/// Asks, and collects what is answered until nothing more was sent before a PONG behind it.
fn ask(connection: &mut Connection, subject: &str, request: &str) -> Option<Value> {
    let inbox = format!("_INBOX.{}", fastrand::u64(..));
    connection.subscribe(&inbox);
    connection.publish(subject, &inbox, request.as_bytes());
    connection.flush().unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match connection.next_frame(deadline.saturating_duration_since(Instant::now())) {
            Ok(Frame::Message { subject, payload, .. }) if subject == inbox.as_bytes() => {
                return match payload.starts_with(b"NATS/1.0 503") || payload.is_empty() {
                    true => None,
                    false => Some(serde_json::from_slice(&payload).unwrap()),
                };
            }
            Ok(_) => {}
            Err(error) => panic!("no answer to {subject}: {error}"),
        }
    }
}

/// §5.8: a user that moves to another account leaves its connection, and one that stays keeps it; other imports are refused.
#[test]
fn a_reload_moves_users_and_refuses_other_imports() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let (mut a, mut b) = (user(&server, "a", "a"), user(&server, "b", "b"));
    let file = directory.path().join("server.conf");
    let imports =
        "accounts { A { imports: [{ stream: { account: B, subject: x } }] }, B { exports: [{ stream: x }] } }";
    std::fs::write(&file, imports).unwrap();
    server.signal(rustix::process::Signal::HUP);
    let mut server = server;
    let refused = server.wait_for_line("[ERR] Reload: ").unwrap();
    assert!(refused.contains("imports of accounts"), "{refused}");
    a.ping(PATIENCE).unwrap();
    let moved = ACCOUNTS.replace("{ user: b, password: b }", "{ user: c, password: c }");
    let moved = moved.replace("accounts {", "accounts { D { users: [{ user: b, password: b }] }");
    std::fs::write(&file, moved).unwrap();
    server.signal(rustix::process::Signal::HUP);
    server.wait_for_line("Reloaded server configuration").unwrap();
    b.ping(PATIENCE).unwrap_err();
    a.ping(PATIENCE).unwrap();
    let (_, connz) = {
        let _again = user(&server, "b", "b");
        server.get("/connz?acc=D")
    };
    assert!(connz.contains("\"account\": \"D\""), "{connz}");
}

/// §5.8: the streaming server does not move by a reload, and the order of imports means nothing.
#[test]
fn a_reload_does_not_move_the_streaming_server() {
    let directory = tempfile::tempdir().unwrap();
    let streaming = "streaming { accounts: [A] }";
    let imports = |imports: [&str; 2]| {
        let import = |subject: &str| format!("{{ stream: {{ account: B, subject: {subject} }} }}");
        let imports = imports.map(import).join(", ");
        let of_a = ACCOUNTS.replace("A { users", &format!("A {{ imports: [{imports}], users"));
        of_a.replace("B { users", "B { exports: [{ stream: \">\" }], users")
    };
    let configuration = format!("{}{streaming}", imports(["x", "y"]));
    let mut server = Server::configured(directory.path(), &configuration, &[]).unwrap();
    let file = directory.path().join("server.conf");
    let moved = configuration.replace(streaming, "streaming { accounts: [B] }");
    std::fs::write(&file, moved).unwrap();
    server.signal(rustix::process::Signal::HUP);
    let refused = server.wait_for_line("[ERR] Reload: ").unwrap();
    let expected = "config reload not supported for accounts of the streaming block: old=A, new=B";
    assert!(refused.contains(expected), "{refused}");
    std::fs::write(&file, format!("{}{streaming}", imports(["y", "x"]))).unwrap();
    server.signal(rustix::process::Signal::HUP);
    server.wait_for_line("Reloaded server configuration").unwrap();
    let mut session = Session::over(user(&server, "a", "a"), "test-cluster", "me").unwrap();
    session.publish("orders", b"one").unwrap();
}

/// The engine serves the account that is named, and no other.
#[test]
fn the_streaming_server_is_in_the_account_that_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "streaming { accounts: [B] }");
    let mut session = Session::over(user(&server, "b", "b"), "test-cluster", "me").unwrap();
    session.publish("orders", b"one").unwrap();
    session.close().unwrap();
    let mut elsewhere = user(&server, "a", "a");
    assert!(
        ask(&mut elsewhere, "_STAN.discover.test-cluster", "x").is_none(),
        "nobody is there"
    );
}

#[test]
fn every_client_may_ask_about_itself_and_its_account() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let (mut a, mut limited, mut b) = (
        user(&server, "a", "a"),
        user(&server, "limited", "l"),
        user(&server, "b", "b"),
    );
    let info = ask(&mut a, "$SYS.REQ.USER.INFO", "").unwrap();
    assert_eq!(
        (&info["data"]["user"], &info["data"]["account"]),
        (&"a".into(), &"A".into())
    );
    assert!(
        info["data"].get("permissions").is_none() && info["server"]["id"].is_string(),
        "{info}"
    );
    let info = ask(&mut limited, "$SYS.REQ.USER.INFO", "").unwrap();
    let expected = serde_json::json!({
        "publish": { "allow": ["$SYS.REQ.USER.INFO", "x"], "deny": ["y"] },
        "subscribe": { "allow": ["_INBOX.>"] },
        "responses": { "max": 1, "ttl": 120_000_000_000_u64 },
    });
    assert_eq!(info["data"]["permissions"], expected);
    for subject in ["$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.SERVER.PING.CONNZ"] {
        // Another account's name in the request changes nothing.
        let connz = ask(&mut b, subject, r#"{"acc":"A","account":"A"}"#).unwrap();
        let connections = connz["data"]["connections"].as_array().unwrap();
        assert_eq!(connections.len(), 1, "{connz}");
        assert_eq!(
            (&connections[0]["account"], &connections[0]["name"]),
            (&"B".into(), &"b".into())
        );
    }
    let statz = ask(&mut a, "$SYS.REQ.ACCOUNT.PING.STATZ", "").unwrap();
    assert_eq!(statz["data"]["account_statz"][0]["acc"], "A");
    assert_eq!(statz["data"]["account_statz"].as_array().unwrap().len(), 1);
    // Everything else is the system account's.
    for subject in [
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.SERVER.PING.VARZ",
        "$SYS.REQ.ACCOUNT.A.CONNZ",
    ] {
        assert!(ask(&mut a, subject, "").is_none(), "{subject}");
    }
}

#[test]
fn lines_104_and_105_the_system_account_asks_servers() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let mut a = user(&server, "a", "a");
    let mut admin = user(&server, "admin", "s");
    let info = ask(&mut admin, "$SYS.REQ.USER.INFO", "").unwrap();
    assert_eq!(info["data"]["account"], "$SYS");
    let ping = ask(&mut admin, "$SYS.REQ.SERVER.PING", "").unwrap();
    assert_eq!(ping["statsz"]["connections"], 2, "{ping}");
    let id = ping["server"]["id"].as_str().unwrap().to_owned();
    for (endpoint, key) in [
        ("VARZ", "uptime"),
        ("CONNZ", "connections"),
        ("SUBSZ", "num_subscriptions"),
        ("ROUTEZ", "routes"),
        ("ACCOUNTZ", "accounts"),
        ("HEALTHZ", "status"),
        ("JSZ", "disabled"),
    ] {
        for asked in ["PING", &id] {
            let answer = ask(&mut admin, &format!("$SYS.REQ.SERVER.{asked}.{endpoint}"), "").unwrap();
            assert!(!answer["data"][key].is_null(), "{asked}.{endpoint}: {answer}");
        }
    }
    let info = ask(&mut admin, "$SYS.REQ.ACCOUNT.A.INFO", "").unwrap();
    assert_eq!(
        (&info["data"]["account_name"], &info["data"]["client_connections"]),
        (&"A".into(), &1.into())
    );
    let connz = ask(&mut admin, "$SYS.REQ.ACCOUNT.A.CONNZ", "").unwrap();
    let cid = connz["data"]["connections"][0]["cid"].as_u64().unwrap();
    // A connection is closed by its number, at the server that is named.
    let unknown = ask(&mut admin, &format!("$SYS.REQ.SERVER.{id}.KICK"), r#"{"cid":99999}"#).unwrap();
    assert_eq!(unknown["error"]["code"], 404);
    ask(
        &mut admin,
        &format!("$SYS.REQ.SERVER.{id}.KICK"),
        &format!("{{\"cid\":{cid}}}"),
    )
    .unwrap();
    a.ping(PATIENCE).unwrap_err();
}

#[test]
fn whoever_listens_hears_how_a_server_is_and_that_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let mut admin = user(&server, "admin", "s");
    admin.subscribe("$SYS.SERVER.>");
    admin.ping(PATIENCE).unwrap();
    let mut hear = |ending: &str, patience: Duration| loop {
        match admin.next_frame(patience) {
            Ok(Frame::Message { subject, payload, .. }) if subject.ends_with(ending.as_bytes()) => {
                return serde_json::from_slice::<Value>(&payload).unwrap();
            }
            Ok(_) => {}
            Err(error) => panic!("{ending}: {error}"),
        }
    };
    let statistics = hear(".STATSZ", Duration::from_secs(30));
    assert!(statistics["statsz"]["cores"].as_u64() > Some(0), "{statistics}");
    server.signal(rustix::process::Signal::TERM);
    assert!(hear(".SHUTDOWN", PATIENCE)["server"]["id"].is_string());
    server.wait();
}

/// §2.6: who came, who went, who was refused, and how many there are; of clients of the global account no counts.
#[test]
fn whoever_listens_hears_of_clients() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let mut admin = user(&server, "admin", "s");
    admin.subscribe("$SYS.ACCOUNT.*.CONNECT");
    admin.subscribe("$SYS.ACCOUNT.*.DISCONNECT");
    admin.subscribe("$SYS.SERVER.*.CLIENT.AUTH.ERR");
    admin.subscribe("$SYS.ACCOUNT.A.SERVER.CONNS");
    admin.ping(PATIENCE).unwrap();
    let mut next = |wanted: &str| loop {
        match admin.next_frame(PATIENCE) {
            Ok(Frame::Message { subject, payload, .. }) => {
                let subject = String::from_utf8(subject.to_vec()).unwrap();
                if subject.ends_with(wanted) {
                    return serde_json::from_slice::<Value>(&payload).unwrap();
                }
            }
            Ok(_) => {}
            Err(error) => panic!("{wanted}: {error}"),
        }
    };
    let mut a = user(&server, "a", "a");
    let came = next("A.CONNECT");
    assert_eq!(
        (&came["client"]["acc"], &came["client"]["user"]),
        (&"A".into(), &"a".into())
    );
    assert_eq!(came["client"]["name"], "a");
    assert!(came["server"]["id"].is_string(), "{came}");
    assert_eq!(next("A.SERVER.CONNS")["conns"], 1);
    a.publish("x", "", b"12345");
    a.ping(PATIENCE).unwrap();
    drop(a);
    let went = next("A.DISCONNECT");
    assert_eq!(went["client"]["id"], came["client"]["id"]);
    assert_eq!(
        (&went["reason"], &went["sent"]["bytes"]),
        (&"Client Closed".into(), &5.into())
    );
    assert_eq!(next("A.SERVER.CONNS")["conns"], 0);
    assert!(Connection::open_with(&server.address, r#""user":"a","pass":"wrong""#).is_err());
    let refused = next("CLIENT.AUTH.ERR");
    assert_eq!(refused["reason"], "Authentication Failure", "{refused}");
    assert!(refused["client"]["acc"] == "", "it was in none: {refused}");
}

/// The configuration in `docs/security.md`, with passwords that are the users' names.
fn tenants() -> String {
    let text = include_str!("../../../../docs/security.md");
    let configuration = text.split("```").nth(1).unwrap();
    ["shop", "keeper", "till", "partner", "operator"]
        .iter()
        .fold(configuration.to_owned(), |text, user| {
            text.replace(&format!("${}_PASSWORD", user.to_uppercase()), user)
        })
}

/// Sends, and returns the first thing that is said about it: an error in words, or `PONG`.
fn tried(user: &mut Raw, operation: &str) -> String {
    user.0.get_mut().write_all(operation.as_bytes()).unwrap();
    user.0.get_mut().write_all(b"PING\r\n").unwrap();
    let mut said = String::new();
    loop {
        let mut line = String::new();
        assert_ne!(user.0.read_line(&mut line).unwrap(), 0, "{operation}");
        let line = line.trim_end();
        if line == "PONG" {
            return said;
        }
        if line.starts_with("-ERR") || line.starts_with("MSG") || line.starts_with("HMSG") {
            said.push_str(line);
        }
    }
}

/// The attack list of `docs/security.md`, on the configuration that stands there.
#[test]
fn tenants_are_kept_apart_as_the_documentation_says() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::configured(directory.path(), &tenants(), &[]).unwrap_or_else(|log| panic!("{log:#?}"));
    let open = |name: &str| {
        Raw::open(
            &server,
            &format!(r#","user":"{name}","pass":"{name}","headers":true,"no_responders":true"#),
        )
    };
    for credentials in [
        r#""user":"shop","pass":"partner""#,
        r#""name":"nobody""#,
        r#""user":"shop","pass":"shop","account":"SHOP""#,
    ] {
        assert!(
            Connection::open_with(&server.address, credentials).is_err(),
            "{credentials}"
        );
    }
    // What is allowed: streaming, the stream and the service, and looking at the server by name.
    let mut session = Session::over(user(&server, "shop", "shop"), "test-cluster", "till-7").unwrap();
    session.publish("orders", b"one").unwrap();
    let [mut shop, mut partner, mut till, mut keeper] = ["shop", "partner", "till", "keeper"].map(open);
    for (name, operation) in [
        ("partner", "SUB shop.prices.> 1\r\nSUB _INBOX.partner.* 2\r\n"),
        ("shop", "SUB stock.* 1\r\nPUB prices.tea 1\r\n7\r\n"),
    ] {
        let user = if name == "shop" { &mut shop } else { &mut partner };
        assert_eq!(tried(user, operation), "", "{operation}");
    }
    partner.until("MSG shop.prices.tea 1 1");
    tried(&mut partner, "PUB shop.stock.tea _INBOX.partner.1 1\r\n?\r\n");
    let mut asked = String::new();
    while !asked.starts_with("MSG stock.tea 1 _R_.") {
        asked.clear();
        shop.0.read_line(&mut asked).unwrap();
    }
    let reply = asked.split(' ').nth(3).unwrap().to_owned();
    assert_eq!(tried(&mut shop, &format!("PUB {reply} 1\r\n9\r\n")), "");
    partner.until("MSG _INBOX.partner.1 2 1");
    let seen = "SUB _INBOX.keeper.* 1\r\nPUB $SEAWAY.api.test-cluster.read.channels _INBOX.keeper.1 2\r\n{}\r\n";
    keeper.0.get_mut().write_all(seen.as_bytes()).unwrap();
    keeper.until("orders");
    // What is not.
    let refused = |user: &mut Raw, operation: &str| {
        let said = tried(user, operation);
        assert!(said.starts_with("-ERR 'Permissions Violation"), "{operation}: {said}");
    };
    for operation in [
        "PUB _STAN.discover.test-cluster _INBOX.partner.1 1\r\nx\r\n",
        "PUB $SEAWAY.api.test-cluster.read.channels _INBOX.partner.1 2\r\n{}\r\n",
        "PUB $SYS.REQ.SERVER.PING _INBOX.partner.1 0\r\n\r\n",
        "PUB $SYS.REQ.SERVER.PING.CONNZ _INBOX.partner.1 14\r\n{\"acc\":\"SHOP\"}\r\n",
        "PUB $SYS.REQ.ACCOUNT.SHOP.CONNZ _INBOX.partner.1 0\r\n\r\n",
        "SUB > 9\r\n",
        "SUB _INBOX.> 9\r\n",
        "SUB _STAN.> 9\r\n",
        "SUB > shop.prices.> 9\r\n",
        "SUB stock.* shop.prices.tea 9\r\n",
        "PUB prices.tea 1\r\nx\r\n",
        "PUB shop.prices.tea 1\r\nx\r\n",
        "PUB stock.tea 1\r\nx\r\n",
    ] {
        refused(&mut partner, operation);
    }
    for reply in [
        "_STAN.close.x",
        "_STAN.discover.test-cluster",
        "$SEAWAY.api.test-cluster.change.purge",
        "$SYS.REQ.USER.INFO",
    ] {
        tried(&mut partner, &format!("PUB shop.stock.tea {reply} 1\r\n?\r\n"));
    }
    assert_eq!(tried(&mut shop, ""), "", "no such request was carried");
    for operation in [
        "PUB _STAN.discover.test-cluster _INBOX.till.1 1\r\nx\r\n",
        "PUB _STAN.pub.test-cluster.orders _INBOX.till.1 1\r\nx\r\n",
        "HPUB _STAN.pub.test-cluster.orders 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
        "PUB $SEAWAY.api.test-cluster.read.messages _INBOX.till.1 2\r\n{}\r\n",
        "SUB _STAN.> 9\r\n",
        "SUB tills.> _STAN.>\u{20}9\r\nSUB _STAN.* tills.> 9\r\n",
        "SUB _INBOX.* 9\r\n",
    ] {
        refused(&mut till, operation);
    }
    for operation in [
        "PUB $SEAWAY.api.test-cluster.read.channels _INBOX.s 2\r\n{}\r\n",
        "PUB $SEAWAY.api.test-cluster.change.purge _INBOX.s 2\r\n{}\r\n",
        "SUB _STAN.> 9\r\n",
        "SUB $SEAWAY.> 9\r\n",
    ] {
        refused(&mut shop, operation);
    }
    for operation in [
        "PUB _STAN.discover.test-cluster _INBOX.keeper.1 1\r\nx\r\n",
        "PUB prices.tea 1\r\nx\r\n",
        "SUB > 9\r\n",
    ] {
        refused(&mut keeper, operation);
    }
    // Nobody is there for who asks in another account than the system's.
    let mut asking = user(&server, "shop", "shop");
    for subject in [
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.SERVER.PING.VARZ",
        "$SYS.REQ.ACCOUNT.PARTNER.CONNZ",
    ] {
        assert!(ask(&mut asking, subject, "").is_none(), "{subject}");
    }
    // A client that speaks as another server does.
    let said = {
        partner
            .0
            .get_mut()
            .write_all(b"RMSG SHOP prices.tea 1\r\nx\r\n")
            .unwrap();
        let mut rest = String::new();
        partner.0.read_to_string(&mut rest).unwrap();
        rest
    };
    assert!(said.contains("-ERR 'Unknown Protocol Operation'"), "{said}");
    session.publish("orders", b"two").unwrap();
}

/// A client whose INFOs can be read.
struct Raw(BufReader<TcpStream>);

impl Raw {
    fn open(server: &Server, connect: &str) -> Raw {
        let mut stream = BufReader::new(TcpStream::connect(&server.address).unwrap());
        stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        let connect = format!("CONNECT {{\"verbose\":false,\"protocol\":1{connect}}}\r\nPING\r\n");
        stream.get_mut().write_all(connect.as_bytes()).unwrap();
        let mut raw = Raw(stream);
        raw.until("PONG");
        raw
    }

    /// Reads up to a line with this text in it.
    fn until(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "no {text}");
        }
    }
}

/// §2.6: one client is asked to go elsewhere.
#[test]
fn the_system_account_sends_a_client_away() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let mut a = Raw::open(&server, r#","user":"a","pass":"a""#);
    let mut admin = user(&server, "admin", "s");
    let connz = ask(&mut admin, "$SYS.REQ.ACCOUNT.A.CONNZ", "").unwrap();
    let id = connz["server"]["id"].as_str().unwrap();
    let cid = connz["data"]["connections"][0]["cid"].as_u64().unwrap();
    let subject = format!("$SYS.REQ.SERVER.{id}.LDM");
    assert_eq!(
        ask(&mut admin, &subject, r#"{"cid":99999}"#).unwrap()["error"]["code"],
        404
    );
    assert_eq!(ask(&mut admin, &subject, "{}").unwrap()["error"]["code"], 400);
    assert!(ask(&mut admin, &subject, &format!("{{\"cid\":{cid}}}")).unwrap()["data"].is_object());
    a.until("\"ldm\":true");
    let connz = ask(&mut admin, "$SYS.REQ.ACCOUNT.A.CONNZ", "").unwrap();
    assert_eq!(connz["data"]["num_connections"], 1, "it goes by itself");
}

/// §2.6: that a server lets its clients go is told to whoever listens.
#[test]
fn whoever_listens_hears_that_a_server_lets_its_clients_go() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("server.conf");
    let more = "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"2s\"\n";
    std::fs::write(&file, format!("{ACCOUNTS}{more}")).unwrap();
    let mut command = Command::new(Binary::Seaway.path());
    command.args(["-p", "-1", "-m", "-1", "-a", "127.0.0.1", "-store", "memory", "-c"]);
    let server = Server::spawn(command.arg(&file)).unwrap();
    let mut admin = Raw::open(&server, r#","user":"admin","pass":"s""#);
    admin
        .0
        .get_mut()
        .write_all(b"SUB $SYS.SERVER.*.LAMEDUCK 1\r\nPING\r\n")
        .unwrap();
    admin.until("PONG");
    server.signal(rustix::process::Signal::USR2);
    admin.until(".LAMEDUCK 1 ");
    admin.until("\"server\":{");
    drop(admin);
    server.wait();
}

/// Answers go to inboxes, and to no service of another server.
#[test]
fn a_flood_of_requests_and_replies_that_are_services_harm_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let (mut flooding, mut a) = (user(&server, "admin", "s"), user(&server, "a", "a"));
    for _ in 0..20_000 {
        flooding.publish("$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.SERVER.PING.VARZ", b"");
        flooding.publish("$SYS.REQ.SERVER.PING.VARZ", "_INBOX.nobody", b"");
    }
    flooding.flush().unwrap();
    let begin = Instant::now();
    for _ in 0..20 {
        a.ping(PATIENCE).unwrap();
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let mut admin = user(&server, "admin", "s");
    assert!(ask(&mut admin, "$SYS.REQ.SERVER.PING", "").is_some());
}

/// §2.6: what clients of an account ask about themselves takes no room from the system account, nor from other accounts.
#[test]
fn a_flood_of_own_requests_takes_no_room_from_others() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let mut flooding: Vec<Connection> = (0..40).map(|_| user(&server, "a", "a")).collect();
    let (mut b, mut admin) = (user(&server, "b", "b"), user(&server, "admin", "s"));
    let request = br#"{"sort":"bytes_to","state":2,"subscriptions":true}"#;
    for _ in 0..10 {
        for connection in &mut flooding {
            for _ in 0..200 {
                connection.publish("$SYS.REQ.ACCOUNT.PING.CONNZ", "_INBOX.nobody", request);
            }
            connection.flush().unwrap();
        }
        // What is asked meanwhile is answered, every time.
        let ping = ask(&mut admin, "$SYS.REQ.SERVER.PING", "").unwrap();
        assert_eq!(ping["statsz"]["active_accounts"], 3, "{ping}");
        let statz = ask(&mut b, "$SYS.REQ.ACCOUNT.PING.STATZ", "").unwrap();
        assert_eq!(statz["data"]["account_statz"][0]["conns"], 1);
    }
}

/// §2.7: the services of the system account are services like others.
#[test]
fn an_operator_may_let_another_account_ask_the_services_of_the_system_account() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = r#"accounts {
        OPS { users: [{ user: ops, password: o }], imports: [{ service: { account: "$SYS", subject: "$SYS.REQ.SERVER.PING" }, to: "servers.ping" }] }
        $SYS { users: [{ user: admin, password: s }], exports: [{ service: "$SYS.REQ.SERVER.PING", accounts: [OPS], response: stream }] }
    }"#;
    let server = Server::configured(directory.path(), configuration, &[]).unwrap();
    let mut ops = user(&server, "ops", "o");
    let ping = ask(&mut ops, "servers.ping", "").unwrap();
    assert_eq!(ping["statsz"]["connections"], 1, "{ping}");
}

#[test]
fn without_a_system_account_nobody_answers() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "no_system_account: true");
    let mut admin = user(&server, "admin", "s");
    assert!(ask(&mut admin, "$SYS.REQ.SERVER.PING", "").is_none());
}
