//! §4.3, §4.4: what a server does with those it dials; the test is the server that is dialled.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use seaway_broker::{ClusterOptions, RouteAddress};

use crate::routes::{Member, connect, introduction, until_pinged};
use crate::support::{Client, PATIENCE};

/// Where the test is dialled.
pub struct Dialled {
    listener: TcpListener,
}

impl Dialled {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener }
    }

    pub fn route(&self) -> RouteAddress {
        RouteAddress {
            host: "127.0.0.1".into(),
            port: self.listener.local_addr().unwrap().port(),
            credentials: None,
        }
    }

    /// The next connection, unless none comes until then.
    pub fn next_until(&self, deadline: Instant) -> Option<Client> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    return Some(Client::over(stream));
                }
                Err(_) if Instant::now() >= deadline => return None,
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    pub fn next(&self) -> Client {
        self.next_until(Instant::now() + PATIENCE)
            .expect("the server is dialled")
    }
}

fn towards(dialled: &Dialled) -> impl FnOnce(&mut ClusterOptions) {
    let route = dialled.route();
    |cluster| cluster.routes = vec![route]
}

/// The cluster's name as a server says it to whoever connects.
fn name(member: &Member) -> String {
    member.stranger().info["cluster"].as_str().unwrap().to_owned()
}

/// A server that is not wanted, for whatever reason, is dialled more and more rarely.
#[test]
fn who_is_not_wanted_is_dialled_rarely() {
    let dialled = Dialled::new();
    let member = Member::start(towards(&dialled));
    let mut known = member.stranger();
    known.send(connect(""));
    known.send(introduction("NA", r#","server_name":"twin""#));
    until_pinged(&mut known);
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut attempts = 0;
    while let Some(mut connection) = dialled.next_until(deadline) {
        connection.send(introduction("NB", r#","server_name":"twin""#));
        connection.expect_gone();
        attempts += 1;
    }
    // At 0 s, 0.1 s, 0.3 s, 0.7 s and 1.5 s at the earliest; and it was not given up.
    assert!((2..=5).contains(&attempts), "{attempts}");
    known.flush_past_interest("");
}

/// §4.4: a name that was made up yields to that of a server that has let this one in, and of no other.
#[test]
fn a_cluster_is_named_by_who_belongs_to_it() {
    let dialled = Dialled::new();
    let route = dialled.route();
    let member = Member::start(|cluster| {
        cluster.name = None;
        cluster.routes = vec![route];
    });
    let made_up = name(&member);
    let mut other = dialled.next();
    other.send("INFO {\"server_id\":\"NB\",\"proto\":2,\"cluster\":\"theirs\"}\r\n");
    assert!(other.line().starts_with("CONNECT "));
    assert_eq!(name(&member), made_up, "it may still refuse");
    other.send("PING\r\n");
    member
        .server
        .wait_until("its name is taken over", |_| name(&member) == "theirs");
}

/// §4.4: who wants TLS has shown nothing before it.
#[test]
fn a_cluster_is_not_named_before_tls() {
    let dialled = Dialled::new();
    let route = dialled.route();
    let member = Member::start(|cluster| {
        cluster.name = None;
        cluster.tls = crate::tls::between_servers();
        cluster.routes = vec![route];
    });
    let made_up = name(&member);
    let mut other = dialled.next();
    other.send("INFO {\"server_id\":\"NB\",\"proto\":2,\"cluster\":\"theirs\",\"tls_required\":true}\r\n");
    // The beginning of a TLS handshake: what was said before it has been read.
    assert_eq!(other.bytes(1), [22]);
    assert_eq!(name(&member), made_up);
    drop(other);
    // It is dialled again, so the first one has been judged.
    dialled.next();
    assert_eq!(name(&member), made_up);
}

/// §4.6: the others are told again and again of those who have let this server in, and of nobody else.
#[test]
fn nobody_is_told_of_who_may_still_refuse() {
    let dialled = Dialled::new();
    let route = dialled.route();
    let member = Member::start(|cluster| {
        cluster.gossip_interval = Some(Duration::from_millis(20));
        cluster.routes = vec![route];
    });
    let mut silent = dialled.next();
    silent.send(introduction("NSILENT", ""));
    assert!(silent.line().starts_with("CONNECT ") && silent.line().starts_with("INFO ") && silent.line() == "PING");
    let mut one = member.peer("NONE");
    let mut other = member.peer("NOTHER");
    let told = |peer: &mut Client| loop {
        let line = peer.line();
        if let Some(info) = line.strip_prefix("INFO ") {
            let info: serde_json::Value = serde_json::from_str(info).unwrap();
            return info["server_id"].as_str().unwrap().to_owned();
        }
    };
    for _ in 0..20 {
        assert_eq!(
            (told(&mut one), told(&mut other)),
            ("NOTHER".to_owned(), "NONE".to_owned())
        );
    }
    // What it has been told meanwhile comes before the answer to what it says first.
    silent.send("PING\r\n");
    assert_eq!(silent.line(), "PONG");
    let others = [told(&mut silent), told(&mut silent)];
    assert!(
        others.iter().all(|other| other == "NONE" || other == "NOTHER"),
        "{others:?}"
    );
    while told(&mut one) != "NSILENT" {}
}
