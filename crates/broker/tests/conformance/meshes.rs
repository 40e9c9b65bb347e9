//! Clusters of several servers: they find each other, know what is wanted where, and agree again after one has gone.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use seaway_broker::{ClusterOptions, RouteAddress, Secret};

use crate::routes::Member;
use crate::support::{Client, PATIENCE};

pub fn to(member: &Member) -> RouteAddress {
    RouteAddress {
        host: "127.0.0.1".into(),
        port: member.routes.port(),
        credentials: None,
    }
}

fn joining(known: &Member) -> Member {
    let route = to(known);
    Member::start(|cluster| cluster.routes = vec![route])
}

#[track_caller]
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Every server has a route to every other.
#[track_caller]
pub fn wait_for_mesh(members: &[&Member]) {
    wait_until("all know each other", || {
        let all_but_one = members.len() - 1;
        members
            .iter()
            .all(|member| member.server.broker.routes().len() == all_but_one)
    });
}

/// Three servers, each of which names the one before.
fn three() -> [Member; 3] {
    let first = Member::start(|_| {});
    let second = joining(&first);
    let third = joining(&second);
    wait_for_mesh(&[&first, &second, &third]);
    [first, second, third]
}

/// Subjects (and groups) that the routes of a server are known to want.
fn wanted(member: &Member) -> Vec<String> {
    let broker = &member.server.broker;
    let mut all = Vec::new();
    for route in broker.routes() {
        let listed = broker.subscriptions_of(route.connection.id, usize::MAX, |subscription| subscription.sid);
        let named = member.server.runtime.block_on(listed);
        all.extend(
            named
                .iter()
                .map(|name| name.strip_prefix("$G ").unwrap_or(name).to_owned()),
        );
    }
    all.sort();
    all
}

#[track_caller]
fn wait_for_interest(member: &Member, expected: &[&str]) {
    wait_until("interest is known", || wanted(member) == expected);
}

#[test]
fn row_134_servers_in_a_chain_become_a_mesh() {
    let [first, second, third] = three();
    let ids = |member: &Member| {
        let routes = member.server.broker.routes();
        let mut ids: Vec<String> = routes.into_iter().map(|route| route.server_id).collect();
        ids.push(member.server.broker.server_id().to_owned());
        ids.sort();
        ids
    };
    assert_eq!(ids(&first), ids(&second));
    assert_eq!(ids(&second), ids(&third));
}

#[test]
fn servers_that_name_each_other_have_one_route() {
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = first.local_addr().unwrap().port();
    drop(first);
    let towards = |cluster: &mut ClusterOptions| {
        cluster.routes = vec![RouteAddress {
            host: "127.0.0.1".into(),
            port,
            credentials: None,
        }];
    };
    let one = Member::start(towards);
    let routes = vec![to(&one)];
    let other = crate::support::Server::with(|options| {
        options.cluster = Some(ClusterOptions {
            name: Some("mesh".into()),
            host: "127.0.0.1".into(),
            routes,
            ..ClusterOptions::default()
        });
    });
    // Whoever took the port meanwhile is none of them.
    let Ok(socket) = std::net::TcpListener::bind(("127.0.0.1", port)) else {
        return;
    };
    let join = async { other.broker.join_cluster(Some(socket)) };
    other.runtime.block_on(join).unwrap();
    let steady = || one.server.broker.routes().len() == 1 && other.broker.routes().len() == 1;
    wait_until("one route", steady);
    let deadline = Instant::now() + Duration::from_secs(1);
    while Instant::now() < deadline {
        assert!(one.server.broker.routes().len() <= 1 && other.broker.routes().len() <= 1);
        std::thread::sleep(Duration::from_millis(5));
    }
    wait_until("it stays", steady);
}

#[test]
fn every_subscriber_gets_a_message_once_and_groups_once_in_all() {
    const MESSAGES: usize = 300;
    let members = three();
    let mut clients: Vec<Client> = members.iter().map(|member| member.server.quiet()).collect();
    for client in &mut clients {
        client.flush("SUB foo 1\r\nSUB foo.> 2\r\nSUB * q 3\r\nSUB foo q 4\r\n");
    }
    for member in &members {
        wait_for_interest(
            member,
            &["* q", "* q", "foo", "foo", "foo q", "foo q", "foo.>", "foo.>"],
        );
    }
    let mut publisher = members[0].server.quiet();
    let expected: Vec<String> = (0..MESSAGES).map(|number| format!("{number:03}")).collect();
    for text in &expected {
        publisher.send(format!("PUB foo 3\r\n{text}\r\n"));
    }
    publisher.flush("PUB foo.end 3\r\nend\r\n");
    let mut of_group = Vec::new();
    let mut shares = Vec::new();
    for client in &mut clients {
        let (mut plain, mut grouped) = (Vec::new(), 0);
        loop {
            let (subject, sid, _, payload) = client.message();
            let payload = String::from_utf8(payload).unwrap();
            match (subject.as_str(), sid.as_str()) {
                ("foo.end", _) => break,
                (_, "1") => plain.push(payload),
                (_, "3" | "4") => {
                    grouped += 1;
                    of_group.push(payload);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(plain, expected, "each once, in order");
        shares.push(grouped);
        client.expect_nothing_more();
    }
    of_group.sort();
    assert_eq!(of_group, expected, "one member gets each");
    assert!(shares.iter().all(|share| *share > MESSAGES / 6), "{shares:?}");
}

/// §2.5 over the cluster: somebody anywhere is somebody, and nobody anywhere is told at once.
#[test]
fn requests_are_answered_from_anywhere() {
    let [first, second, _third] = three();
    let mut asker = first
        .server
        .client(r#"{"verbose":false,"headers":true,"no_responders":true}"#);
    asker.flush("SUB inbox.* 1\r\n");
    asker.send("PUB service inbox.1 0\r\n\r\n");
    assert!(asker.line().starts_with("HMSG inbox.1 1 "), "nobody is there");
    for _ in 0..5 {
        asker.line();
    }
    let mut responder = second.server.quiet();
    responder.flush("SUB service workers 1\r\n");
    wait_until("interest is known", || {
        wanted(&first).contains(&"service workers".to_owned())
    });
    for number in 0..200 {
        // The subscription for the answer is as new as can be.
        asker.send(format!(
            "SUB fresh.{number} {}\r\nPUB service fresh.{number} 2\r\nhi\r\n",
            number + 10
        ));
        let (subject, _, reply, payload) = responder.message();
        assert_eq!((subject.as_str(), payload.as_slice()), ("service", &b"hi"[..]));
        responder.send(format!("PUB {} 2\r\nho\r\n", reply.unwrap()));
        assert_eq!(asker.message().3, b"ho");
        asker.send(format!("UNSUB {}\r\n", number + 10));
    }
    responder.flush("UNSUB 1\r\n");
    wait_until("interest is gone", || {
        !wanted(&first).contains(&"service workers".to_owned())
    });
    asker.send("PUB service inbox.2 0\r\n\r\n");
    assert!(asker.line().starts_with("HMSG inbox.2 1 "));
}

/// However many ask at the same moment, each has told where its answer goes before its question leaves.
#[test]
fn no_question_overtakes_the_subscription_for_its_answer() {
    const ASKERS: usize = 8;
    const QUESTIONS: usize = 400;
    let first = Member::start(|_| {});
    let second = joining(&first);
    wait_for_mesh(&[&first, &second]);
    let mut responder = second.server.quiet();
    responder.flush("SUB service 1\r\n");
    wait_for_interest(&first, &["service"]);
    let answering = std::thread::spawn(move || {
        for _ in 0..ASKERS * QUESTIONS {
            let (_, _, reply, _) = responder.message();
            responder.send(format!("PUB {} 2\r\nho\r\n", reply.unwrap()));
        }
    });
    std::thread::scope(|scope| {
        for asker in 0..ASKERS {
            let mut client = first.server.quiet();
            scope.spawn(move || {
                for number in 0..QUESTIONS {
                    client.send(format!(
                        "SUB r.{asker}.{number} {number}\r\nPUB service r.{asker}.{number} 2\r\nhi\r\n"
                    ));
                    assert_eq!(client.message().3, b"ho");
                    client.send(format!("UNSUB {number}\r\n"));
                }
            });
        }
    });
    answering.join().unwrap();
    wait_for_interest(&second, &[]);
}

/// A network between two servers that can be cut: what is sent is swallowed, and nobody is told.
struct Network {
    address: std::net::SocketAddr,
    is_cut: Arc<AtomicBool>,
}

impl Network {
    fn to(target: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, is_cut) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let cut = Arc::clone(&is_cut);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(target) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let cut = Arc::clone(&cut);
                    std::thread::spawn(move || {
                        let mut bytes = [0; 65536];
                        while let Ok(count @ 1..) = from.read(&mut bytes) {
                            if !cut.load(Ordering::SeqCst) && to.write_all(&bytes[..count]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Self { address, is_cut }
    }
}

/// A network that fails without a word is noticed by both sides, and when it is whole again they agree on what is wanted.
#[test]
fn a_network_that_is_cut_heals() {
    let often = Some(Duration::from_millis(50));
    let first = Member::start(|cluster| cluster.ping_interval = often);
    let network = Network::to(first.routes);
    let second = Member::start(|cluster| {
        cluster.ping_interval = often;
        cluster.routes = vec![RouteAddress {
            host: "127.0.0.1".into(),
            port: network.address.port(),
            credentials: None,
        }];
    });
    wait_for_mesh(&[&first, &second]);
    let mut one = first.server.quiet();
    one.flush("SUB stays 1\r\nSUB goes 2\r\n");
    wait_for_interest(&second, &["goes", "stays"]);
    network.is_cut.store(true, Ordering::SeqCst);
    one.flush("UNSUB 2\r\nSUB comes q 3\r\n");
    let is_alone = |member: &Member| member.server.broker.routes().is_empty();
    wait_until("both have noticed", || is_alone(&first) && is_alone(&second));
    assert!(wanted(&second).is_empty());
    network.is_cut.store(false, Ordering::SeqCst);
    wait_for_mesh(&[&first, &second]);
    wait_for_interest(&second, &["comes q", "stays"]);
    let mut other = second.server.quiet();
    other.flush("PUB stays 2\r\nok\r\nPUB comes 2\r\nok\r\nPUB goes 2\r\nok\r\n");
    let mut subjects = [one.message().0, one.message().0];
    subjects.sort();
    assert_eq!(subjects, ["comes", "stays"]);
}

/// §9.9 row 133: a server that has gone and come again is told everything again, and tells everything.
#[test]
fn row_133_a_server_comes_again() {
    let [first, second, third] = three();
    let mut clients = [first.server.quiet(), third.server.quiet()];
    clients[0].flush("SUB from.first 1\r\n");
    clients[1].flush("SUB from.third 1\r\n");
    wait_for_interest(&second, &["from.first", "from.third"]);
    let address = second.routes;
    drop(second.server.quiet());
    second.server.runtime.block_on(second.server.broker.shutdown());
    drop(second);
    wait_for_mesh(&[&first, &third]);
    clients[0].flush("SUB meanwhile 2\r\n");
    clients[1].flush("UNSUB 1\r\n");
    // It comes on the same port, as a restarted server does; it is dialled by the one that names it.
    let routes = vec![to(&first)];
    let socket = rebind(address);
    let server = crate::support::Server::with(|options| {
        options.cluster = Some(ClusterOptions {
            name: Some("mesh".into()),
            host: "127.0.0.1".into(),
            routes,
            ..ClusterOptions::default()
        });
    });
    let join = async { server.broker.join_cluster(Some(socket)) };
    server.runtime.block_on(join).unwrap();
    let second = Member {
        server,
        routes: address,
    };
    wait_for_mesh(&[&first, &second, &third]);
    wait_for_interest(&second, &["from.first", "meanwhile"]);
    let mut late = second.server.quiet();
    late.flush("SUB late 1\r\nPUB from.first 2\r\nok\r\n");
    assert_eq!(clients[0].message().3, b"ok");
    wait_for_interest(&third, &["from.first", "late", "meanwhile"]);
    clients[1].flush("PUB late 2\r\nok\r\n");
    assert_eq!(late.message().3, b"ok");
}

fn rebind(address: std::net::SocketAddr) -> std::net::TcpListener {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match std::net::TcpListener::bind(address) {
            Ok(socket) => return socket,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn waiting_for_the_cluster_ends_when_everybody_has_told_everything() {
    let first = Member::start(|_| {});
    let mut client = first.server.quiet();
    client.flush("SUB here 1\r\n");
    let second = joining(&first);
    let formed = second.server.broker.cluster_formed(PATIENCE);
    second.server.runtime.block_on(formed);
    assert_eq!(wanted(&second), ["here"]);
    // One that nobody answers is not waited for for ever, nor is one that refuses waited for at all.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let third = Member::start(|cluster| {
        cluster.routes = vec![RouteAddress {
            host: "127.0.0.1".into(),
            port: nobody.port(),
            credentials: None,
        }];
    });
    let begun = Instant::now();
    third
        .server
        .runtime
        .block_on(third.server.broker.cluster_formed(PATIENCE));
    assert!(begun.elapsed() < PATIENCE);
}

/// A server that is not let in tells its clients nothing of the one that refuses it.
#[test]
fn a_server_that_is_refused_tells_its_clients_nothing() {
    let guarded = Member::start(|cluster| cluster.credentials = Some(("r".into(), Secret::new("s3cret"))));
    let route = to(&guarded);
    let refused = Member::start(|cluster| cluster.routes = vec![route]);
    let mut client = refused.server.client(r#"{"verbose":false,"protocol":1}"#);
    assert!(client.line().starts_with("INFO "));
    // It has tried several times by then.
    let tried = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < tried {
        assert!(refused.server.connect().info.get("connect_urls").is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    client.expect_nothing_more();
}

/// Bulk traffic over a route arrives completely and in order, however many send it, and slows them down instead of growing.
#[test]
fn bulk_traffic_is_complete_and_in_order() {
    const PUBLISHERS: usize = 6;
    const MESSAGES: usize = 10_000;
    let first = Member::start(|_| {});
    let second = joining(&first);
    wait_for_mesh(&[&first, &second]);
    let mut subscriber = second.server.quiet();
    subscriber.flush("SUB bulk.* 1\r\n");
    wait_for_interest(&first, &["bulk.*"]);
    let writing: Vec<_> = (0..PUBLISHERS)
        .map(|who| {
            let mut publisher = first.server.quiet();
            std::thread::spawn(move || {
                let filler = "x".repeat(1000);
                for number in 0..MESSAGES {
                    let payload = format!("{number:06}{filler}");
                    publisher.send(format!("PUB bulk.{who} {}\r\n{payload}\r\n", payload.len()));
                }
                publisher.expect_nothing_more();
            })
        })
        .collect();
    let mut next = [0; PUBLISHERS];
    for _ in 0..PUBLISHERS * MESSAGES {
        let (subject, _, _, payload) = subscriber.message();
        let who: usize = subject.strip_prefix("bulk.").unwrap().parse().unwrap();
        assert_eq!(&payload[..6], format!("{:06}", next[who]).as_bytes());
        next[who] += 1;
    }
    writing.into_iter().for_each(|writing| writing.join().unwrap());
    assert_eq!(first.server.broker.snapshot().slow_routes, 0);
}
