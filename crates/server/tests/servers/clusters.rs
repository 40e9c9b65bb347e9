//! Clusters of brokers with the real binary (core specification §4.2 - §4.6): streaming clients at one server and the engine at another,
//! a second engine that is found wherever it is, a server killed and started again, and Debian's `nats-server` as a member.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Server};
use seaway_bench::stan::{Session, subscription};

/// A server with routes, and where they are accepted.
struct Member {
    server: Server,
    routes: String,
}

impl Member {
    fn start(cluster_id: &str, routes: &[&str], more: &[&str]) -> Member {
        Member::try_start(cluster_id, routes, more).unwrap_or_else(|log| panic!("not ready: {log:#?}"))
    }

    fn try_start(cluster_id: &str, routes: &[&str], more: &[&str]) -> Result<Member, Vec<String>> {
        Member::at("nats://127.0.0.1:-1", cluster_id, routes, more)
    }

    fn at(listen: &str, cluster_id: &str, routes: &[&str], more: &[&str]) -> Result<Member, Vec<String>> {
        let routes: Vec<String> = routes.iter().map(|address| format!("nats://{address}")).collect();
        let routes = routes.join(",");
        let mut arguments = vec!["-p", "-1", "-m", "-1", "-a", "127.0.0.1", "-cid", cluster_id];
        arguments.extend(["-cluster", listen, "-cluster_name", "mesh", "-routes", &routes]);
        arguments.extend(more);
        let server = Server::start(crate::support::Binary::NatsStreamingServer, &arguments)?;
        let address = server
            .log
            .iter()
            .find_map(|line| line.split_once("Listening for route connections on "))
            .map(|(_, address)| address.trim().to_owned());
        Ok(Member {
            server,
            routes: address.expect("the log names the address"),
        })
    }

    fn json(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.server.get(path).1).unwrap()
    }

    fn wait_for_routes(&self, count: u64) {
        wait_until("routes", || self.json("/routez")["num_routes"] == count);
    }
}

#[track_caller]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A streaming client at `address`, once the engine with this cluster ID is known there.
fn session(address: &str, client_id: &str) -> Session {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Session::open(address, "test-cluster", client_id) {
            Ok(session) => return session,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

#[test]
fn streaming_clients_may_sit_at_any_server() {
    let engine = Member::start("test-cluster", &[], &[]);
    let other = Member::start("elsewhere", &[&engine.routes], &[]);
    let third = Member::start("nowhere", &[&engine.routes], &[]);
    for member in [&engine, &other, &third] {
        member.wait_for_routes(2);
    }
    // Clients are told of all three, the own one first.
    let members = [&engine, &other, &third];
    for member in members {
        let mut expected: Vec<&str> = members.iter().map(|one| one.server.address.as_str()).collect();
        expected.sort_unstable();
        wait_until("all addresses are told", || {
            let mut stream = BufReader::new(TcpStream::connect(&member.server.address).unwrap());
            let mut info = String::new();
            stream.read_line(&mut info).unwrap();
            let info: serde_json::Value = serde_json::from_str(info.strip_prefix("INFO ").unwrap()).unwrap();
            let urls = info["connect_urls"].as_array().cloned().unwrap_or_default();
            let mut urls: Vec<&str> = urls.iter().map(|url| url.as_str().unwrap()).collect();
            assert!(urls.iter().all(|url| expected.contains(url)), "{urls:?}");
            let own_first = urls.first() == Some(&member.server.address.as_str());
            urls.sort_unstable();
            own_first && urls == expected
        });
    }
    let mut publisher = session(&other.server.address, "publisher");
    let mut subscriber = session(&third.server.address, "subscriber");
    let mut request = subscription("orders");
    request.durable_name = "dur".into();
    request.max_in_flight = 10;
    let subscribed = subscriber.subscribe(request.clone()).unwrap();
    // More than may be in flight, so that acks have to reach the engine.
    for number in 0..200_u64 {
        publisher.publish("orders", number.to_string().as_bytes()).unwrap();
        let message = subscriber.next_message(PATIENCE).unwrap();
        assert_eq!(
            (message.sequence, message.data),
            (number + 1, number.to_string().into_bytes())
        );
        assert!(!message.redelivered);
        subscriber.ack(&subscribed, message.sequence);
    }
    // Many at once: publishes and acks keep their order on the way.
    for number in 200..2_200_u64 {
        publisher.publish_async("orders", number.to_string().as_bytes());
    }
    // Reading sends what was queued.
    publisher.next_pub_ack(PATIENCE).unwrap();
    for number in 200..2_200_u64 {
        let message = subscriber.next_message(PATIENCE).unwrap();
        assert_eq!((message.sequence, message.redelivered), (number + 1, false));
        subscriber.ack(&subscribed, message.sequence);
    }
    for _ in 201..2_200 {
        publisher.next_pub_ack(PATIENCE).unwrap();
    }
    publisher.ping().unwrap();
    // The durable is closed here, and goes on at another server.
    subscriber.close_subscription(&subscribed).unwrap();
    subscriber.close().unwrap();
    publisher.publish("orders", b"after").unwrap();
    let mut moved = session(&engine.server.address, "subscriber");
    moved.subscribe(request).unwrap();
    let message = moved.next_message(PATIENCE).unwrap();
    assert_eq!((message.sequence, message.redelivered), (2_201, false));
}

/// `streaming-protocol.md` §9.3: another engine with this cluster ID is found wherever in the cluster it is.
#[test]
fn a_second_engine_of_the_same_name_does_not_start() {
    let first = Member::start("test-cluster", &[], &[]);
    let between = Member::start("between", &[&first.routes], &[]);
    between.wait_for_routes(1);
    for known in [&first.routes, &between.routes] {
        let log = Member::try_start("test-cluster", &[known], &[]).err().unwrap();
        let expected = "discovered another streaming server with cluster ID \"test-cluster\"";
        assert!(log.iter().any(|line| line.contains(expected)), "{log:#?}");
    }
    Member::start("test-cluster-2", &[&between.routes], &[]);
}

#[test]
fn a_server_that_is_killed_comes_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = ["-store", "file", "-dir", directory.path().to_str().unwrap()];
    let engine = Member::start("test-cluster", &[], &store);
    let other = Member::start("elsewhere", &[&engine.routes], &[]);
    other.wait_for_routes(1);
    let mut client = session(&other.server.address, "client");
    let mut request = subscription("orders");
    request.durable_name = "dur".into();
    let subscribed = client.subscribe(request).unwrap();
    client.publish("orders", b"before").unwrap();
    let message = client.next_message(PATIENCE).unwrap();
    client.ack(&subscribed, message.sequence);
    let routes = engine.routes.clone();
    engine.server.kill();
    other.wait_for_routes(0);

    let engine = Member::at(&format!("nats://{routes}"), "test-cluster", &[], &store).unwrap();
    other.wait_for_routes(1);
    // The client never noticed: the same connection ID, inboxes and acks.
    wait_until("the engine is known again", || {
        client.publish("orders", b"after").is_ok()
    });
    loop {
        let message = client.next_message(PATIENCE).unwrap();
        client.ack(&subscribed, message.sequence);
        match message.data.as_slice() {
            b"after" => break,
            // The ack may have been on its way when the engine was killed.
            other => assert_eq!(other, b"before"),
        }
    }
    assert_eq!(engine.json("/routez")["num_routes"], 1);
    // What is wanted at one is known at the other.
    let names = |member: &Member| -> Vec<String> {
        let routes = member.json("/routez?subs=detail");
        let list = routes["routes"][0]["subscriptions_list_detail"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut names: Vec<String> = list.iter().map(|one| one["sid"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert!(
        names(&engine).iter().any(|name| name.starts_with("_INBOX.")),
        "{:?}",
        names(&engine)
    );
    assert!(names(&other).contains(&"_STAN.discover.test-cluster".to_owned()));
    let varz = engine.json("/varz");
    assert_eq!(
        (&varz["cluster"]["name"], &varz["routes"], &varz["remotes"]),
        (&"mesh".into(), &1.into(), &1.into())
    );
}

/// `streaming-protocol.md` §10, §13.10 PartitionsSendListAfterRouteEstablished: servers of one cluster ID that come into reach of each
/// other only later compare their channels then.
#[test]
fn partitions_that_overlap_are_found_over_a_route() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, channels: &str| {
        let path = directory.path().join(name);
        let text = format!("streaming {{ partitioning: true, store_limits {{ channels {{ {channels} }} }} }}");
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (one, two, three) = (
        file("one", "a: {}, b: {}"),
        file("two", "c: {}"),
        file("three", "b: {}"),
    );
    let first = Member::start("test-cluster", &[], &["-c", &one]);
    let second = Member::start("test-cluster", &[&first.routes], &["-c", &two]);
    first.wait_for_routes(1);
    // Each serves its own channels, whoever asks.
    let mut client = session(&second.server.address, "client");
    client.publish("a", b"at the first").unwrap();
    client.publish("c", b"at the second").unwrap();
    // One that is already there when the others come into reach, and has a channel of theirs.
    let third = Member::start("test-cluster", &[], &["-c", &three]);
    let link = Member::start("other", &[&first.routes, &third.routes], &[]);
    link.wait_for_routes(3);
    let (status, log) = third.server.wait();
    assert!(!status.success(), "{log:#?}");
    assert!(
        log.iter().any(|line| line.contains("channel") && line.contains('b')),
        "{log:#?}"
    );
}

/// Routes are what the configuration file says, too, and do not change while the server runs.
#[test]
fn the_block_is_what_flags_are() {
    let directory = tempfile::tempdir().unwrap();
    let text = |password: &str, routes: &str| {
        format!(
            "streaming {{ cluster_id: c{} }}\ncluster {{ name: mesh, listen: \"127.0.0.1:-1\", \
             authorization {{ user: r, password: {password} }}, routes: [{routes}] }}",
            routes.len()
        )
    };
    let address = |server: &Server| {
        let line = server
            .log
            .iter()
            .find_map(|line| line.split_once("route connections on "));
        line.expect("the log names the address").1.trim().to_owned()
    };
    let first = Server::configured(directory.path(), &text("s3cret", ""), &[]).unwrap();
    let known = address(&first);
    let right = text("s3cret", &format!("\"nats://r:s3cret@{known}\""));
    let second = Server::configured(directory.path(), &right, &[]).unwrap();
    let routes = |server: &Server| {
        let routes: serde_json::Value = serde_json::from_str(&server.get("/routez").1).unwrap();
        routes["num_routes"].as_u64().unwrap()
    };
    wait_until("the route", || routes(&first) == 1 && routes(&second) == 1);
    let wrong = text("s3cret", &format!("\"nats://r:wrong@{known}\" "));
    let mut third = Server::configured(directory.path(), &wrong, &[]).unwrap();
    third.wait_for_line("Authorization Violation").unwrap();
    assert!(!third.log.iter().any(|line| line.contains("wrong")), "{:#?}", third.log);
    assert_eq!((routes(&first), routes(&third)), (1, 0));
}

/// Debian's server, or any other that is installed.
struct Foreign {
    child: Child,
    clients: String,
    routes: String,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Foreign {
    /// `None`, said loudly, where it is not installed.
    fn start(routes: &[&str]) -> Option<Foreign> {
        let programs = ["/usr/sbin/nats-server", "/usr/bin/nats-server"];
        let Some(program) = programs
            .into_iter()
            .find(|program| std::path::Path::new(program).exists())
        else {
            eprintln!("\n*** SKIPPED: clusters with nats-server, which is not installed ***\n");
            return None;
        };
        let routes: Vec<String> = routes.iter().map(|address| format!("nats://{address}")).collect();
        let mut command = Command::new(program);
        command.args(["-a", "127.0.0.1", "-p", "-1", "-cluster", "nats://127.0.0.1:-1"]);
        command.args(["-cluster_name", "mesh", "-routes", &routes.join(",")]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut address = |text: &str| {
            let found = lines.by_ref().map_while(Result::ok).find_map(|line| {
                let (_, address) = line.split_once(text)?;
                Some(address.trim().to_owned())
            });
            found.unwrap()
        };
        let clients = address("Listening for client connections on ");
        let routes = address("Listening for route connections on ");
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Some(Foreign { child, clients, routes })
    }
}

/// A raw client.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: &str) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client {
            stream: BufReader::new(stream),
        };
        assert!(client.line().starts_with("INFO "));
        client.send("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1}\r\n");
        client.flush("");
        client
    }

    fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Sends, and waits until it has been handled; nothing but INFO comes before the answer.
    fn flush(&mut self, text: &str) {
        self.send(text);
        self.send("PING\r\n");
        assert_eq!(self.line_but_info(), "PONG");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.stream.read_line(&mut line).unwrap() > 0, "closed");
        line.trim_end().to_owned()
    }

    fn line_but_info(&mut self) -> String {
        loop {
            match self.line() {
                line if line.starts_with("INFO ") => {}
                line if line == "PING" => self.send("PONG\r\n"),
                line => return line,
            }
        }
    }

    /// Control line and payload of the next message, which has one line.
    fn message(&mut self) -> (String, String) {
        (self.line_but_info(), self.line())
    }

    /// Asks until somebody answers: interest takes a moment to become known.
    fn request(&mut self, subject: &str, reply: &str) -> (String, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.send(&format!("PUB {subject} {reply} 2\r\nhi\r\n"));
            let (head, first) = self.message();
            if !first.contains("503") {
                self.line();
                self.line();
                return (head, first);
            }
            assert!(Instant::now() < deadline, "nobody answers");
            let size: usize = head.rsplit(' ').next().unwrap().parse().unwrap();
            // What is left of it, with the line end behind.
            let mut left = size + 2 - (first.len() + 2);
            while left > 0 {
                left = left.saturating_sub(self.line().len() + 2);
            }
        }
    }
}

/// Two servers of ours and one that is not, which found the others through one of them.
#[test]
fn a_real_server_is_a_member_like_any_other() {
    let engine = Member::start("test-cluster", &[], &[]);
    let Some(foreign) = Foreign::start(&[&engine.routes]) else {
        return;
    };
    let other = Member::start("elsewhere", &[&foreign.routes], &[]);
    engine.wait_for_routes(2);
    other.wait_for_routes(2);

    // Requests in all directions, with answers to subscriptions as new as can be.
    let addresses = [&engine.server.address, &foreign.clients, &other.server.address];
    for (place, served) in addresses.iter().enumerate() {
        let mut responder = Client::connect(served);
        responder.flush(&format!("SUB service.{place} workers 1\r\n"));
        for asked in addresses {
            let mut asker = Client::connect(asked);
            asker.send("SUB inbox.* 9\r\n");
            let answering = std::thread::scope(|scope| {
                let asking = scope.spawn(|| asker.request(&format!("service.{place}"), "inbox.1"));
                let (head, payload) = responder.message();
                assert_eq!(payload, "hi");
                let reply = head.split(' ').nth(3).unwrap().to_owned();
                responder.send(&format!("HPUB {reply} 12 14\r\nNATS/1.0\r\n\r\nho\r\n"));
                asking.join().unwrap()
            });
            assert_eq!(answering.0, "HMSG inbox.1 9 12 14", "{answering:?}");
        }
    }

    // Groups over all three: each message once.
    let mut members: Vec<Client> = addresses.iter().map(|address| Client::connect(address)).collect();
    for member in &mut members {
        member.flush("SUB work q 1\r\nSUB done 2\r\n");
    }
    for address in addresses {
        let mut publisher = Client::connect(address);
        wait_until("everybody is known", || {
            let mut heard = 0;
            publisher.flush("PUB done 5\r\nready\r\n");
            for member in &mut members {
                member
                    .stream
                    .get_ref()
                    .set_read_timeout(Some(Duration::from_millis(200)))
                    .unwrap();
                let mut line = String::new();
                while member.stream.read_line(&mut line).is_ok() && !line.ends_with("ready\r\n") {
                    line.clear();
                }
                heard += usize::from(line.ends_with("ready\r\n"));
                member.stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
            }
            heard == members.len()
        });
        let text: String = (0..300)
            .map(|number| format!("PUB work 3\r\n{number:03}\r\n"))
            .collect();
        publisher.flush(&text);
        publisher.flush("PUB done 3\r\nend\r\n");
        let mut all = Vec::new();
        for member in &mut members {
            loop {
                match member.message() {
                    (head, _) if head.starts_with("MSG done") => break,
                    (_, payload) => all.push(payload),
                }
            }
        }
        all.sort();
        let expected: Vec<String> = (0..300).map(|number| format!("{number:03}")).collect();
        assert_eq!(all, expected, "from {address}");
    }

    // Streaming clients at the server that knows nothing of streaming.
    let mut publisher = session(&foreign.clients, "publisher");
    let mut subscriber = session(&other.server.address, "subscriber");
    let subscribed = subscriber.subscribe(subscription("orders")).unwrap();
    for number in 0..100_u64 {
        publisher.publish("orders", number.to_string().as_bytes()).unwrap();
        let message = subscriber.next_message(PATIENCE).unwrap();
        assert_eq!(message.sequence, number + 1);
        subscriber.ack(&subscribed, message.sequence);
    }

    // It goes, and comes again as another one on the same port.
    let routes = foreign.routes.clone();
    drop(foreign);
    engine.wait_for_routes(1);
    drop(routes);
    let Some(again) = Foreign::start(&[&other.routes]) else {
        return;
    };
    engine.wait_for_routes(2);
    let mut late = session(&again.clients, "late");
    late.publish("orders", b"late").unwrap();
    assert_eq!(subscriber.next_message(PATIENCE).unwrap().data, b"late");
}
