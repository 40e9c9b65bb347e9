//! §9.9: routes over raw sockets, with the test as the other server.

use std::net::SocketAddr;
use std::time::Duration;

use seaway_broker::{BrokerOptions, ClusterOptions, Secret};

use crate::support::{Client, Server};

/// A server in a cluster, with the address where other servers are accepted.
pub struct Member {
    pub server: Server,
    pub routes: SocketAddr,
}

impl Member {
    pub fn start(change: impl FnOnce(&mut ClusterOptions)) -> Self {
        Self::with(change, |_| {})
    }

    pub fn with(change: impl FnOnce(&mut ClusterOptions), more: impl FnOnce(&mut BrokerOptions)) -> Self {
        let server = Server::with(|options| {
            let mut cluster = ClusterOptions {
                name: Some("mesh".into()),
                host: "127.0.0.1".into(),
                ..ClusterOptions::default()
            };
            change(&mut cluster);
            options.cluster = Some(cluster);
            more(options);
        });
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let join = async { server.broker.join_cluster(Some(socket)) };
        let routes = server.runtime.block_on(join).unwrap().unwrap();
        Self { server, routes }
    }

    /// Connects as another server and reads INFO.
    pub fn stranger(&self) -> Client {
        let mut client = Client::dial(self.routes);
        let info = client.line();
        let json = info.strip_prefix("INFO ").unwrap_or_else(|| panic!("{info:?}"));
        client.info = serde_json::from_str(json.trim()).unwrap();
        client
    }

    /// The same, let in under this id; what was wanted already has been read.
    pub fn peer(&self, id: &str) -> Client {
        let mut peer = self.stranger();
        peer.send(connect(r#","headers":true"#));
        peer.send(introduction(id, r#","headers":true"#));
        until_pinged(&mut peer);
        peer
    }
}

pub fn connect(more: &str) -> String {
    format!("CONNECT {{\"name\":\"N\",\"cluster\":\"mesh\",\"verbose\":false{more}}}\r\n")
}

pub fn introduction(id: &str, more: &str) -> String {
    format!(
        "INFO {{\"server_id\":\"{id}\",\"proto\":2,\"host\":\"127.0.0.1\",\"port\":1,\"cluster\":\"mesh\"{more}}}\r\n"
    )
}

/// Reads up to the first PING, and answers it; returns what came before, and what was told right behind it.
pub fn until_pinged(peer: &mut Client) -> Vec<String> {
    let mut before = Vec::new();
    loop {
        let line = peer.line();
        if line == "PING" {
            peer.send("PONG\r\nPING\r\n");
            break;
        }
        before.push(line);
    }
    // The answer comes behind everything that is wanted.
    loop {
        match peer.line() {
            line if line == "PONG" => return before,
            line => before.push(line),
        }
    }
}

/// The next line that is no question whether this side is still there, and no gossip.
fn line(peer: &mut Client) -> String {
    loop {
        match peer.line() {
            line if line == "PING" => peer.send("PONG\r\n"),
            line if line.starts_with("INFO ") => {}
            line => return line,
        }
    }
}

#[test]
fn row_119_a_server_introduces_itself() {
    let member = Member::start(|_| {});
    let info = member.stranger().info;
    assert!(info["proto"].as_i64().unwrap() >= 2 && info["headers"].as_bool().unwrap());
    assert!(!info["nonce"].as_str().unwrap().is_empty());
    assert_eq!(info["port"].as_u64().unwrap(), u64::from(member.routes.port()));
    assert_eq!(
        (info["cluster"].as_str(), info["server_id"].as_str().unwrap().len()),
        (Some("mesh"), 56)
    );
}

#[test]
fn row_120_interest_is_told_once_for_many_subscribers() {
    let member = Member::start(|_| {});
    let mut client = member.server.quiet();
    client.flush("SUB foo 1\r\nSUB foo 2\r\nSUB bar.* 3\r\n");
    let mut other = member.server.quiet();
    other.flush("SUB foo 1\r\n");
    let mut peer = member.stranger();
    peer.send(connect(""));
    peer.send(introduction("NA", ""));
    let mut told = until_pinged(&mut peer);
    told.sort();
    assert_eq!(told, ["RS+ $G bar.*", "RS+ $G foo"]);
    // It stays wanted as long as somebody wants it.
    client.flush("UNSUB 1\r\nUNSUB 2\r\nSUB baz 4\r\n");
    assert_eq!(line(&mut peer), "RS+ $G baz");
    other.flush("UNSUB 1\r\n");
    assert_eq!(line(&mut peer), "RS- $G foo");
}

#[test]
fn row_121_groups_have_the_weight_of_their_members() {
    let member = Member::start(|_| {});
    let mut peer = member.peer("NA");
    let mut client = member.server.quiet();
    for sid in 0..10 {
        client.flush(format!("SUB foo bar {sid}\r\n"));
    }
    let mut last = line(&mut peer);
    while last != "RS+ $G foo bar 10" {
        last = line(&mut peer);
    }
    client.flush("UNSUB 0\r\n");
    assert_eq!(line(&mut peer), "RS+ $G foo bar 9");
}

#[test]
fn row_122_what_a_client_wanted_ends_with_it() {
    let member = Member::start(|_| {});
    let mut peer = member.peer("NA");
    let mut client = member.server.quiet();
    client.flush("SUB foo 1\r\nSUB foo q 2\r\n");
    let mut told = [line(&mut peer), line(&mut peer)];
    told.sort();
    assert_eq!(told, ["RS+ $G foo", "RS+ $G foo q 1"]);
    drop(client);
    let mut told = [line(&mut peer), line(&mut peer)];
    told.sort();
    assert_eq!(told, ["RS- $G foo", "RS- $G foo q"]);
}

#[test]
fn rows_123_to_125_messages_cross_once() {
    let member = Member::start(|_| {});
    let mut peer = member.peer("NA");
    peer.flush("RS+ $G foo\r\nRS+ $G *\r\nRS+ $G >\r\n");
    let mut client = member.server.quiet();
    client.flush("PUB foo 2\r\nok\r\nPUB foo reply 2\r\nok\r\n");
    peer.expect("RMSG $G foo 2\r\nok\r\nRMSG $G foo reply 2\r\nok\r\n");
    peer.flush("RS+ $G foo bar 1\r\nRS+ $G foo baz 2\r\n");
    client.flush("PUB foo reply 2\r\nok\r\nPUB foo 0\r\n\r\n");
    for (head, tail) in [("RMSG $G foo + reply ", " 2"), ("RMSG $G foo | ", " 0")] {
        let line = line(&mut peer);
        let groups = line.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail));
        let mut groups: Vec<&str> = groups.unwrap_or_else(|| panic!("{line}")).split(' ').collect();
        groups.sort_unstable();
        assert_eq!(groups, ["bar", "baz"]);
        peer.line();
    }
    // Of several patterns of one server it is still one message, and of a group alone it is one too.
    peer.flush("RS- $G foo\r\nRS- $G *\r\nRS- $G >\r\nRS- $G foo baz\r\n");
    client.flush("PUB foo 2\r\nok\r\n");
    peer.expect("RMSG $G foo | bar 2\r\nok\r\n");
    peer.flush("RS- $G foo bar\r\n");
    client.flush("PUB foo 2\r\nok\r\n");
    peer.expect_nothing_more();
}

#[test]
fn rows_126_and_127_only_groups_that_are_named_get_it() {
    let member = Member::start(|_| {});
    let mut peer = member.peer("NA");
    let mut client = member.server.quiet();
    client.flush("SUB foo 1\r\nSUB foo q 2\r\nSUB foo q 3\r\nSUB foo r 4\r\n");
    let sids = |client: &mut Client, count: usize| {
        let mut sids: Vec<String> = (0..count).map(|_| client.message().1).collect();
        sids.sort();
        sids
    };
    peer.flush_past_interest("RMSG $G foo 2\r\nok\r\n");
    assert_eq!(sids(&mut client, 1), ["1"]);
    client.expect_nothing_more();
    peer.flush_past_interest("RMSG $G foo | q 2\r\nok\r\n");
    let got = sids(&mut client, 2);
    assert!(got[0] == "1" && (got[1] == "2" || got[1] == "3"), "{got:?}");
    client.expect_nothing_more();
    peer.flush_past_interest("RMSG $G foo + re r q unknown 2\r\nok\r\n");
    let got = sids(&mut client, 3);
    assert!(got[0] == "1" && got[2] == "4", "{got:?}");
    client.expect_nothing_more();
    // Other accounts are not there.
    peer.flush_past_interest("RMSG $SYS foo 2\r\nok\r\nRS+ $SYS x\r\n");
    client.expect_nothing_more();
}

impl Client {
    /// Sends, and reads on until the server has handled it.
    pub fn flush_past_interest(&mut self, bytes: &str) {
        self.send(bytes);
        self.send("PING\r\n");
        loop {
            match self.line() {
                line if line == "PONG" => return,
                line => assert!(
                    ["RS+ ", "RS- ", "PING", "INFO "]
                        .iter()
                        .any(|known| line.starts_with(known)),
                    "{line}"
                ),
            }
        }
    }
}

#[test]
fn row_128_what_comes_from_a_server_goes_to_no_other() {
    let member = Member::start(|_| {});
    let (mut one, mut two) = (member.peer("NA"), member.peer("NB"));
    two.flush_past_interest("RS+ $G foo\r\nRS+ $G foo q 1\r\n");
    one.flush_past_interest("RMSG $G foo | q 2\r\nok\r\n");
    two.flush_past_interest("");
    member.server.quiet().flush("PUB foo 2\r\nok\r\n");
    assert_eq!(line(&mut two), "RMSG $G foo | q 2");
}

#[test]
fn row_129_headers_are_taken_off_for_whom_they_are_nothing() {
    let member = Member::start(|_| {});
    let mut plain = member.stranger();
    plain.send(connect(r#","headers":false"#));
    plain.send(introduction("NA", r#","headers":false"#));
    until_pinged(&mut plain);
    let mut full = member.peer("NB");
    plain.flush_past_interest("RS+ $G zed\r\n");
    full.flush_past_interest("RS+ $G zed\r\n");
    let mut client = member.server.client(r#"{"verbose":false,"headers":true}"#);
    client.flush("HPUB zed 12 14\r\nNATS/1.0\r\n\r\nok\r\n");
    plain.expect("RMSG $G zed 2\r\nok\r\n");
    full.expect("HMSG $G zed 12 14\r\nNATS/1.0\r\n\r\nok\r\n");
    // And back.
    client.flush("SUB back 1\r\n");
    full.flush_past_interest("HMSG $G back 12 14\r\nNATS/1.0\r\n\r\nok\r\n");
    client.expect("HMSG back 1 12 14\r\nNATS/1.0\r\n\r\nok\r\n");
}

#[test]
fn row_130_a_route_to_itself_is_closed() {
    let member = Member::start(|_| {});
    let mut itself = member.stranger();
    let id = itself.info["server_id"].as_str().unwrap().to_owned();
    itself.send(connect(""));
    itself.send(introduction(&id, ""));
    itself.expect_closed();
}

#[test]
fn row_131_a_second_route_to_a_server_is_closed() {
    let member = Member::start(|_| {});
    let mut first = member.peer("NA");
    let mut second = member.stranger();
    second.send(connect(""));
    second.send(introduction("NA", ""));
    second.expect_closed();
    // The first one is asked whether it is still there, and stays when it answers.
    assert_eq!(first.line(), "PING");
    first.flush_past_interest("PONG\r\n");
    assert_eq!(member.server.broker.routes().len(), 1);
    let mut named = member.stranger();
    named.send(connect(""));
    named.send(introduction("NB", r#","server_name":"NA""#));
    named.expect_closed();
}

#[test]
fn a_route_that_has_gone_without_a_word_makes_room_for_the_next() {
    let member = Member::start(|_| {});
    let mut gone = member.peer("NA");
    let mut next = member.stranger();
    next.send(connect(""));
    next.send(introduction("NA", ""));
    next.expect_closed();
    // It is asked, and says nothing.
    assert_eq!(gone.line(), "PING");
    member
        .server
        .wait_until("the silent route has gone", |broker| broker.routes().is_empty());
    let mut next = member.peer("NA");
    next.flush_past_interest("RS+ $G foo\r\n");
}

#[test]
fn row_132_other_clusters_are_refused() {
    let member = Member::start(|_| {});
    let mut other = member.stranger();
    other.send("CONNECT {\"cluster\":\"other\"}\r\n");
    other.expect("-ERR 'Rejecting connection, cluster name \"other\" does not match \"mesh\"'\r\n");
    other.expect_closed();
    // A name that was made up yields.
    let mut yielding = member.stranger();
    yielding.send("CONNECT {\"cluster\":\"zzz\",\"cluster_dynamic\":true}\r\n");
    yielding.send(introduction("NC", ""));
    until_pinged(&mut yielding);
}

#[test]
fn of_two_names_that_were_made_up_the_larger_counts() {
    let member = Member::start(|cluster| cluster.name = None);
    let name = |member: &Member| member.stranger().info["cluster"].as_str().unwrap().to_owned();
    let made_up = name(&member);
    let offer = |cluster: &str, made_up: bool| {
        let before = name(&member);
        let offered = format!("\"cluster\":\"{cluster}\",\"cluster_dynamic\":{made_up}");
        let mut peer = member.stranger();
        peer.send(format!("CONNECT {{{offered}}}\r\nPING\r\n"));
        peer.expect("PONG\r\n");
        assert_eq!(name(&member), before, "it has not introduced itself");
        peer.send(format!("INFO {{\"server_id\":\"NA\",\"proto\":2,{offered}}}\r\n"));
        until_pinged(&mut peer);
        drop(peer);
        member
            .server
            .wait_until("it has gone", |broker| broker.routes().is_empty());
    };
    offer("!", true);
    assert_eq!(name(&member), made_up);
    offer("~~~", true);
    assert_eq!(name(&member), "~~~");
    offer("chosen", false);
    assert_eq!(name(&member), "chosen");
    assert!(member.stranger().info.get("cluster_dynamic").is_none());
}

#[test]
fn row_10_clients_and_gateways_are_at_the_wrong_port() {
    let member = Member::start(|_| {});
    let mut client = member.stranger();
    client.send("CONNECT {\"lang\":\"go\",\"cluster\":\"mesh\"}\r\n");
    client.expect("-ERR 'attempted to connect to route port'\r\n");
    client.expect_closed();
    let mut gateway = member.stranger();
    gateway.send("CONNECT {\"gateway\":\"east\"}\r\n");
    gateway.expect("-ERR 'Rejecting connection from gateway \"east\" on the Route port'\r\n");
    gateway.expect_closed();
    let mut dedicated = member.stranger();
    dedicated.send(connect(""));
    dedicated.send(introduction("NA", r#","route_account":"$SYS""#));
    dedicated.expect("-ERR 'Not possible to have a dedicated route for account \"$SYS\" between those servers'\r\n");
    dedicated.expect_closed();
}

/// §4.2: other servers present what is configured.
#[test]
fn servers_without_the_right_password_stay_out() {
    let member = Member::start(|cluster| cluster.credentials = Some(("r".into(), Secret::new("s3cret"))));
    assert_eq!(member.stranger().info["auth_required"], true);
    for wrong in ["", r#","user":"r","pass":"wrong""#, r#","user":"x","pass":"s3cret""#] {
        let mut peer = member.stranger();
        peer.send(connect(wrong));
        peer.expect("-ERR 'Authorization Violation'\r\n");
        peer.expect_closed();
    }
    let mut peer = member.stranger();
    peer.send(connect(r#","user":"r","pass":"s3cret""#));
    peer.send(introduction("NA", ""));
    until_pinged(&mut peer);
}

/// Nothing counts before a server has introduced itself, and nothing is kept of it.
#[test]
fn strangers_get_nowhere() {
    let member = Member::start(|cluster| cluster.authentication_timeout = Some(Duration::from_millis(200)));
    let mut client = member.server.quiet();
    client.flush("SUB foo 1\r\n");
    let connected = connect("");
    for early in [
        "RS+ $G foo\r\n".to_owned(),
        "RMSG $G foo 0\r\n\r\n".to_owned(),
        "INFO {\"server_id\":\"NA\"}\r\n".to_owned(),
        format!("{connected}RS+ $G foo\r\n"),
        format!("{connected}{connected}"),
    ] {
        let mut stranger = member.stranger();
        stranger.send(&early);
        stranger.expect("-ERR 'Authorization Violation'\r\n");
        stranger.expect_closed();
    }
    let mut broken = member.stranger();
    broken.send("GET / HTTP/1.1\r\n");
    broken.expect("-ERR 'Unknown Protocol Operation'\r\n");
    broken.expect_closed();
    let mut endless = member.stranger();
    endless.send([b"CONNECT {\"name\":\"".as_slice(), &[b'x'; 70_000]].concat());
    endless.expect("-ERR 'maximum control line exceeded'\r\n");
    endless.expect_closed();
    for unreadable in ["CONNECT {bad\r\n", "CONNECT []\r\n"] {
        let mut stranger = member.stranger();
        stranger.send(unreadable);
        stranger.expect_closed();
    }
    // Who says nothing is not waited for.
    for said in [String::new(), connected, "CONNECT {".to_owned()] {
        let mut silent = member.stranger();
        silent.send(&said);
        silent.expect("-ERR 'Authentication Timeout'\r\n");
        silent.expect_closed();
    }
    client.expect_nothing_more();
    assert!(member.server.broker.routes().is_empty());
}

/// Malformed operations end the route; subjects that are none are passed over.
#[test]
fn what_a_server_says_wrong_harms_nobody() {
    let member = Member::start(|_| {});
    for (wrong, answer) in [
        ("RS+ $G\r\n", ""),
        ("RMSG $G foo x\r\n", ""),
        ("LMSG o $G foo 0 2\r\nok\r\n", "-ERR 'Unknown Protocol Operation'\r\n"),
        ("RMSG $G foo 99999999\r\n", "-ERR 'Maximum Payload Violation'\r\n"),
        ("SUB foo 1\r\n", "-ERR 'Unknown Protocol Operation'\r\n"),
    ] {
        let mut peer = member.peer("NA");
        peer.send(wrong);
        peer.expect(answer);
        peer.expect_closed();
        member
            .server
            .wait_until("the route has gone", |broker| broker.routes().is_empty());
    }
    let mut peer = member.peer("NA");
    peer.flush_past_interest("RS+ $G foo..bar\r\nRS+ $G >.x\r\nRS- $G nothing\r\nRS- $G foo..bar q\r\nRS+ $G a\r\n");
    assert_eq!(member.server.broker.routes()[0].connection.subscriptions, 1);
    // A message that is larger than this server takes is dropped alone.
    let mut client = member.server.quiet();
    client.flush("SUB big 1\r\n");
    let big = 2 * 1024 * 1024;
    let frame = [
        format!("RMSG $G big {big}\r\n").into_bytes(),
        vec![b'x'; big],
        b"\r\n".to_vec(),
    ]
    .concat();
    peer.send(frame);
    peer.flush_past_interest("RMSG $G big 2\r\nok\r\n");
    assert_eq!(client.message().3, b"ok");
}

/// §9.9 row 135: a limit counts whoever publishes.
#[test]
fn row_135_limits_are_exact_over_a_route() {
    let member = Member::start(|_| {});
    let mut peer = member.peer("NA");
    let mut client = member.server.quiet();
    client.flush("SUB foo 1\r\nUNSUB 1 3\r\n");
    assert_eq!(line(&mut peer), "RS+ $G foo");
    peer.send("RMSG $G foo 1\r\na\r\n".repeat(5));
    assert_eq!(line(&mut peer), "RS- $G foo");
    for _ in 0..3 {
        assert_eq!(client.message().3, b"a");
    }
    client.expect_nothing_more();
}

/// §4.6: the others are told of a server that comes, and clients of where else they can connect.
#[test]
fn who_comes_and_goes_is_told() {
    let member = Member::start(|_| {});
    let mut client = member.server.client(r#"{"verbose":false,"protocol":1}"#);
    let first = client.line();
    assert!(first.starts_with("INFO ") && !first.contains("connect_urls"), "{first}");
    let mut one = member.peer("NA");
    let mut two = member.stranger();
    two.send(connect(""));
    two.send(introduction("NB", r#","connect_urls":["10.0.0.2:4222"]"#));
    until_pinged(&mut two);
    let gossip = one.line();
    let gossip: serde_json::Value = serde_json::from_str(gossip.strip_prefix("INFO ").unwrap()).unwrap();
    assert_eq!(
        (gossip["server_id"].as_str(), gossip["ip"].as_str()),
        (Some("NB"), Some("nats-route://127.0.0.1:1/"))
    );
    let urls = |client: &mut Client| loop {
        let line = client.line();
        if let Some(info) = line.strip_prefix("INFO ") {
            let info: serde_json::Value = serde_json::from_str(info).unwrap();
            return info["connect_urls"].clone();
        }
    };
    let own = format!("127.0.0.1:{}", member.server.address.port());
    assert_eq!(urls(&mut client), serde_json::json!([own, "10.0.0.2:4222"]));
    // A client that comes now is told at once, one that takes no INFO is not.
    assert_eq!(member.server.connect().info["connect_urls"][1], "10.0.0.2:4222");
    let mut old = member.server.client(r#"{"verbose":false,"protocol":0}"#);
    two.send(introduction("NB", r#","connect_urls":["10.0.0.3:4222"]"#));
    assert_eq!(urls(&mut client), serde_json::json!([own, "10.0.0.3:4222"]));
    drop(two);
    assert_eq!(urls(&mut client), serde_json::Value::Null);
    old.expect_nothing_more();
}

#[test]
fn addresses_are_kept_when_they_are_not_to_be_told() {
    let member = Member::start(|cluster| cluster.no_advertise = true);
    let mut peer = member.stranger();
    assert!(peer.info.get("connect_urls").is_none());
    peer.send(connect(""));
    peer.send(introduction("NB", r#","connect_urls":["10.0.0.2:4222"]"#));
    until_pinged(&mut peer);
    assert!(member.server.connect().info.get("connect_urls").is_none());
}

/// §1.15 for another server: what waits for it is bounded.
#[test]
fn a_server_that_does_not_read_is_closed_with_a_reason() {
    let member = Member::with(
        |_| {},
        |options| {
            options.max_pending = 2 * 1024 * 1024;
            options.write_deadline = Duration::from_millis(300);
        },
    );
    let mut peer = member.peer("NA");
    peer.flush_past_interest("RS+ $G foo\r\n");
    let mut client = member.server.quiet();
    let message = format!("PUB foo {}\r\n{}\r\n", 100_000, "x".repeat(100_000));
    let mut writer = client.share();
    let writing = std::thread::spawn(move || {
        for _ in 0..400 {
            writer.send(&message);
        }
    });
    member
        .server
        .wait_until("the route was closed", |broker| broker.snapshot().slow_routes == 1);
    writing.join().unwrap();
    client.expect_nothing_more();
    assert_eq!(member.server.broker.snapshot().slow_consumers, 0);
    member
        .server
        .wait_until("it has gone", |broker| broker.routes().is_empty());
}

/// §1.15: who publishes is slowed down by a server that takes nothing, but not stopped, however long that server may take.
#[test]
fn a_server_that_takes_nothing_holds_nobody_long() {
    let member = Member::with(
        |_| {},
        |options| {
            options.max_pending = 16 * 1024 * 1024;
            options.write_deadline = Duration::from_secs(120);
        },
    );
    let mut peer = member.peer("NA");
    peer.flush_past_interest("RS+ $G foo\r\n");
    let mut client = member.server.quiet();
    client.flush("SUB other 1\r\n");
    let message = format!("PUB foo {}\r\n{}\r\n", 100_000, "x".repeat(100_000));
    // More than the system and the queue take before they are well filled.
    for _ in 0..120 {
        client.send(&message);
    }
    client.send("PUB other 2\r\nok\r\n");
    assert_eq!(client.message().3, b"ok");
    let snapshot = member.server.broker.snapshot();
    assert_eq!(snapshot.slow_routes, 0, "its own bounds are not reached");
    assert!(snapshot.stalled_clients > 0, "and others waited for it");
    for _ in 0..200 {
        client.send(&message);
    }
    client.send("PUB other 2\r\nok\r\n");
    assert_eq!(client.message().3, b"ok");
    member
        .server
        .wait_until("the route was closed", |broker| broker.snapshot().slow_routes == 1);
}

/// A million subjects would be told in pieces; here are enough for many, while others go on.
#[test]
fn much_interest_is_told_in_pieces_and_completely() {
    const SUBJECTS: usize = 50_000;
    let member = Member::start(|_| {});
    let mut client = member.server.quiet();
    let many: String = (0..SUBJECTS)
        .map(|index| format!("SUB many.{index} {index}\r\n"))
        .collect();
    client.flush(many);
    let mut peer = member.stranger();
    peer.send(connect(""));
    peer.send(introduction("NA", ""));
    let told = until_pinged(&mut peer);
    let distinct: std::collections::HashSet<&String> = told.iter().collect();
    assert_eq!((told.len(), distinct.len()), (SUBJECTS, SUBJECTS));
    drop(client);
    for _ in 0..SUBJECTS {
        let line = line(&mut peer);
        assert!(line.starts_with("RS- $G many."), "{line}");
    }
    peer.flush_past_interest("");
}

/// §1.14: `max_connections` counts clients, however many other servers there are.
#[test]
fn other_servers_take_no_places_of_clients() {
    let member = Member::with(|_| {}, |options| options.max_connections = 1);
    let mut peers: Vec<Client> = (0..64).map(|number| member.peer(&format!("N{number}"))).collect();
    let _stranger = member.stranger();
    let mut client = member.server.quiet();
    client.flush("SUB foo 1\r\n");
    peers[0].flush_past_interest("RMSG $G foo 2\r\nok\r\n");
    assert_eq!(client.message().3, b"ok");
    // One more is told why, as always.
    let mut surplus = Client::dial(member.server.address);
    assert!(surplus.line().starts_with("INFO "));
    surplus.expect("-ERR 'maximum connections exceeded'\r\n");
    // And other servers are refused by their own bound.
    let mut late = member.stranger();
    late.send(connect(""));
    late.send(introduction("NLATE", ""));
    late.expect_closed();
}
