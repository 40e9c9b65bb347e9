//! Attached to NATS servers of somebody else (`streaming-protocol.md` §11) that are started anew, stand still, or take little of what they are
//! sent; and servers of one cluster ID that share the channels over it (§10).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::nats::{Nats, attach, attached, connection, free_port, ready, refusal};
use crate::rust_client::{expect, next, options, publish};
use crate::support::group::{is_active, state, wait_until};
use crate::support::requests::{all, durable, hasty};
use crate::support::{PATIENCE, Server};
use rustix::process::Signal;
use seaway_bench::stan::Session;
use seaway_bench::wire::{Connection, Frame};
use seaway_client::{Client, Start};
use seaway_stan_protocol::heartbeat::Heartbeat;

/// A server of the NATS servers with this configuration.
fn sharing(nats: &Nats, name: &str, entries: &str) -> std::process::Command {
    let file = nats.path(&format!("{name}.conf"));
    let channels = format!("streaming {{ partitioning: true, store_limits {{ channels {{ {entries} }} }} }}");
    std::fs::write(&file, channels).unwrap();
    attached(&nats.url(), &["-c", file.to_str().unwrap()])
}

/// Both are started anew, and a message has fallen due meanwhile: it waits for its receiver, and was sent to nobody before.
#[test]
fn what_is_due_when_both_start_anew_waits_for_its_receiver() {
    let mut nats = Nats::plain();
    let directory = tempfile::tempdir().unwrap();
    let store = ["-store", "file", "-dir", directory.path().to_str().unwrap()];
    let server = attach(&nats.address(), &store);
    let mut session = server.session("me");
    session.publish("c", b"1").unwrap();
    let subscribed = session.subscribe(durable(hasty(all("c")))).unwrap();
    let delivered = session.next_message(PATIENCE).unwrap();
    assert_eq!((delivered.sequence, delivered.redelivery_count), (1, 0));
    // What was delivered is on record at the latest with the commit after the one under way.
    session.publish("other", b"1").unwrap();
    session.publish("other", b"2").unwrap();
    let due = Instant::now() + Duration::from_millis(1_100);
    server.kill();
    nats.kill();
    wait_until("it falls due", || Instant::now() > due);
    nats.start();
    let mut server = attach(&nats.address(), &store);
    assert!(server.wait_for_line("Streaming Server is ready").is_some());
    // It comes back a second after it could have: most clients wait for two.
    let back = Instant::now() + Duration::from_secs(1);
    wait_until("a client waits before it connects again", || Instant::now() > back);
    session.reconnect(nats.address()).unwrap();
    let again = session.next_message(PATIENCE).unwrap();
    assert_eq!((again.sequence, again.redelivery_count), (1, 1));
    session.ack(&subscribed, 1);
    session.close().unwrap();
    // Clients that never went away wait for nothing.
    let mut session = server.session("me");
    session.publish("c", b"2").unwrap();
    let subscribed = session.subscribe(durable(hasty(all("c")))).unwrap();
    assert_eq!(session.next_message(PATIENCE).unwrap().sequence, 2);
    session.ack(&subscribed, 2);
    session.ping().unwrap();
    server.signal_and_wait(Signal::TERM);
    let mut other = Session::open(nats.address(), "test-cluster", "other");
    assert!(other.is_err(), "nobody serves");
    let _server = attach(&nats.address(), &store);
    other = Session::open(nats.address(), "test-cluster", "other");
    let started = Instant::now();
    other.unwrap().publish("c", b"3").unwrap();
    assert_eq!(session.next_message(PATIENCE).unwrap().sequence, 3);
    let took = started.elapsed();
    assert!(took < Duration::from_millis(1_900), "it waited for nobody: {took:?}");
}

/// Heartbeats go on after a loss: who answers stays, and who died with the connection is given up.
#[test]
fn heartbeats_go_on_when_the_connection_is_back() {
    let mut nats = Nats::plain();
    let mut server = attach(&nats.address(), &["-hbi", "200ms", "-hbt", "500ms", "-hbf", "1"]);
    let mut alive = server.session("alive");
    let mut dead = server.session("dead");
    dead.answers = false;
    nats.kill();
    wait_until("the connection is lost", || connection(&server)["connected"] == false);
    nats.start();
    alive.reconnect(nats.address()).unwrap();
    let before = alive.probes;
    let deadline = Instant::now() + PATIENCE;
    while alive.probes < before + 10 {
        assert!(Instant::now() < deadline, "{} heartbeats came", alive.probes - before);
        let _ = alive.next_message(Duration::from_millis(50));
    }
    let mut is_known = |client: &str| {
        let _ = alive.next_message(Duration::from_millis(1));
        server.get(&format!("/streaming/clientsz?client={client}")).0 == 200
    };
    wait_until("the dead one is given up", || !is_known("dead"));
    assert!(is_known("alive"));
    assert!(server.wait_for_line("Timed out on heartbeats").is_some());
}

/// The next heartbeat of a group comes in time.
fn expect_heartbeat(listener: &mut Connection) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if let Frame::Message { payload, .. } = listener.next_frame(left).unwrap()
            && Heartbeat::decode(&payload).is_some()
        {
            return;
        }
    }
}

/// `stores-and-clustering.md` §8.6: heartbeats of a group go on after its members lost the NATS server; nobody is deposed meanwhile, and
/// garbage on the subject changes nothing.
#[test]
fn heartbeats_of_a_group_go_on_when_the_connection_is_back() {
    const SUBJECT: &str = "_STAN.ft.test-cluster.g";
    let mut nats = Nats::plain();
    let directory = tempfile::tempdir().unwrap();
    let member = |name| {
        let directory = directory.path().to_str().unwrap();
        attached(
            &nats.url(),
            &["-store", "file", "-dir", directory, "-ft_group", "g", "-n", name],
        )
    };
    let active = ready(&mut member("a"), &nats.address());
    let mut standby = Server::begin(&mut member("b"));
    standby.wait_for_line("Starting in standby mode").expect("it stands by");
    standby.find_monitoring();
    let listen = |nats: &Nats| {
        let mut listener = Connection::open(nats.address()).unwrap();
        listener.subscribe(SUBJECT);
        listener.publish(SUBJECT, "", b"garbage");
        listener.flush().unwrap();
        listener
    };
    let mut listener = listen(&nats);
    for _ in 0..3 {
        expect_heartbeat(&mut listener);
    }
    nats.kill();
    for server in [&active, &standby] {
        wait_until("the connection is lost", || connection(server)["connected"] == false);
    }
    // Longer than the lease.
    let away = Instant::now() + Duration::from_secs(3);
    wait_until("the members do not hear each other", || Instant::now() > away);
    nats.start();
    let mut listener = listen(&nats);
    for _ in 0..3 {
        expect_heartbeat(&mut listener);
    }
    assert!(is_active(&active) && state(&standby) == "FT_STANDBY");
    assert_eq!(seaway_store::standing(directory.path()).unwrap().number, 1);
}

/// One of three stands still for 30 s, the connected one: it is left for another after 10 to 15 s, and nobody is given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_stands_still_is_left_for_another() {
    let ports = [0; 3].map(|_| free_port());
    let routes: Vec<String> = ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
    let member = |port: &u16| {
        Nats::configured(&format!(
            "cluster {{ name: mesh, listen: \"127.0.0.1:{port}\", routes: [ {} ] }}\n",
            routes.join(", ")
        ))
    };
    let members = [member(&ports[0]), member(&ports[1]), member(&ports[2])];
    let server = attach(&members[0].address(), &["-hbi", "200ms", "-hbt", "1s", "-hbf", "0"]);
    wait_until("the others are learnt", || {
        connection(&server)["connect_urls"]
            .as_array()
            .is_some_and(|urls| urls.len() == 3)
    });
    let client: Client = seaway_client::ConnectOptions::new("test-cluster", "steadfast")
        .url(members[1].url())
        .connect_timeout(PATIENCE)
        .ack_timeout(Duration::from_secs(60))
        .connect()
        .await
        .unwrap();
    let mut subscription = client.subscribe("c").start(Start::AllAvailable).await.unwrap();
    publish(&client, "c", 1..=3).await;
    expect(&mut subscription, 1..=3).await;
    members[0].pause();
    let paused = Instant::now();
    wait_until("it is found out", || connection(&server)["connected"] == false);
    let found = paused.elapsed();
    wait_until("another one has it", || connection(&server)["connected"] == true);
    let (found, left) = (found.as_secs_f64(), paused.elapsed().as_secs_f64());
    eprintln!("standing still: found out after {found:.1} s, at another one after {left:.1} s");
    assert!(connection(&server)["url"] != members[0].url());
    publish(&client, "c", 4..=6).await;
    let over = paused + Duration::from_secs(30);
    while Instant::now() < over {
        tokio::task::yield_now().await;
    }
    members[0].resume();
    publish(&client, "c", 7..=9).await;
    let mut last = 3;
    while last < 9 {
        let message = next(&mut subscription).await;
        assert!(message.sequence() <= last + 1, "{} after {last}", message.sequence());
        last = last.max(message.sequence());
    }
    let (_, log) = server.signal_and_wait(Signal::TERM);
    assert!(
        !log.iter().any(|line| line.contains("Timed out on heartbeats")),
        "{log:#?}"
    );
}

/// Bytes that the slow way takes at once, and how long it rests after each.
const SLOW_BYTES: usize = 64 * 1024;
const SLOW_REST: Duration = Duration::from_millis(8);

/// A way to a NATS server that takes little of what is sent to it, and everything of what it sends.
fn slow_way(nats: &Nats) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, target) = (listener.local_addr().unwrap().to_string(), nats.address());
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(&target) else {
                return;
            };
            let (from_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || carry(client, server, SLOW_REST));
            std::thread::spawn(move || carry(from_server, to_client, Duration::ZERO));
        }
    });
    address
}

fn carry(mut from: TcpStream, mut to: TcpStream, rest: Duration) {
    let mut piece = vec![0; SLOW_BYTES];
    while let Ok(count) = from.read(&mut piece) {
        if count == 0 || to.write_all(&piece[..count]).is_err() {
            break;
        }
        std::thread::sleep(rest);
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// A server that reads slowly makes deliveries wait: nothing is dropped, sent twice or out of order, nobody is given up, and what waits in
/// memory has a bound.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_reads_slowly_gets_everything_in_its_time() {
    const MESSAGES: u64 = 500;
    let nats = Nats::plain();
    let way = slow_way(&nats);
    let mut server = attach(&way, &["-hbi", "500ms", "-hbt", "5s", "-hbf", "0"]);
    server.address = nats.address();
    let patient = |name| options(&server, name).ack_timeout(Duration::from_secs(60));
    let publisher = patient("publisher").connect().await.unwrap();
    let payload = vec![b'x'; SLOW_BYTES];
    for _ in 0..MESSAGES {
        publisher.publish("c", payload.clone()).await.unwrap();
    }
    let subscriber = patient("subscriber").connect().await.unwrap();
    let mut subscription = subscriber.subscribe("c").start(Start::AllAvailable).await.unwrap();
    let (mut most, begun) = (0, Instant::now());
    for sequence in 1..=MESSAGES {
        let message = next(&mut subscription).await;
        assert_eq!((message.sequence(), message.is_redelivered()), (sequence, false));
        if sequence % 20 == 0 {
            most = most.max(connection(&server)["pending_bytes"].as_u64().unwrap_or(0));
        }
    }
    let took = begun.elapsed();
    eprintln!("slow: {MESSAGES} messages of {SLOW_BYTES} bytes in {took:?}, {most} bytes waited at most");
    assert!(most > 1_000_000, "it was not slow: {most}");
    assert!(most < 16 * 1024 * 1024, "{most}");
    let connection = connection(&server);
    assert!(
        connection["reconnects"] == 0 && connection["dropped_msgs"] == 0,
        "{connection}"
    );
    publisher.close().await.unwrap();
    let (_, log) = server.signal_and_wait(Signal::TERM);
    assert!(
        !log.iter().any(|line| line.contains("Timed out on heartbeats")),
        "{log:#?}"
    );
}

/// §10: servers of one cluster ID share the channels over NATS servers of somebody else, and one that wants channels of another one does not
/// start.
#[test]
fn partitions_share_the_channels_over_it() {
    let nats = Nats::plain();
    let one: Server = ready(&mut sharing(&nats, "one", "\"a.*\": {}"), &nats.address());
    let other = ready(&mut sharing(&nats, "other", "\"b.*\": {}"), &nats.address());
    let mut session = one.session("me");
    for (channel, server, elsewhere) in [("a.x", &one, &other), ("b.x", &other, &one)] {
        session.subscribe(all(channel)).unwrap();
        session.publish(channel, b"x").unwrap();
        assert_eq!(session.next_message(PATIENCE).unwrap().sequence, 1);
        let path = format!("/streaming/channelsz?channel={channel}");
        assert_eq!((server.get(&path).0, elsewhere.get(&path).0), (200, 404), "{channel}");
    }
    let log = refusal(sharing(&nats, "third", "\"a.x\": {}"));
    assert!(
        log.iter()
            .any(|line| line.contains("causes conflict with channels on server")),
        "{log:#?}"
    );
    session.publish("a.x", b"y").unwrap();
    assert_eq!(session.next_message(PATIENCE).unwrap().sequence, 2);
}
