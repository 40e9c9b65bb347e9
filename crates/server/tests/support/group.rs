//! A fault-tolerance group of real servers on one directory, their clients at a server of no group, and what the clients saw.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "helpers of tests, each of which uses its part"
)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use seaway_bench::stan::{Session, Subscribed, subscription};

use super::{Binary, PATIENCE, Server};

pub const CHANNEL: &str = "orders";

/// Time between two publishes: gaps are seen as exactly as this.
const PACE: Duration = Duration::from_millis(2);

/// Waits until something is so.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A server of the cluster, whatever part it has; `routes` leads to another one.
pub fn server(routes: Option<&str>, more: &[&str]) -> Server {
    let mut server = begin(routes, more);
    if server.wait_for_line("] Server is ready").is_none() {
        panic!("not ready: {:#?}", server.log);
    }
    server.find_addresses();
    server
}

/// The same, not waited for.
pub fn begin(routes: Option<&str>, more: &[&str]) -> Server {
    let mut command = Command::new(Binary::NatsStreamingServer.path());
    command.args(["-p", "-1", "-m", "-1", "-a", "127.0.0.1"]);
    if let Some(routes) = routes {
        command.args(["-cluster", "nats://127.0.0.1:-1", "-cluster_name", "mesh"]);
        if !routes.is_empty() {
            command.args(["-routes", &format!("nats://{routes}")]);
        }
    }
    Server::begin(command.args(more))
}

/// Where a server accepts routes.
pub fn routes(server: &Server) -> String {
    let line = server
        .log
        .iter()
        .find_map(|line| line.split_once("Listening for route connections on "));
    line.expect("the log names the address").1.trim().to_owned()
}

/// A member of the group on a directory.
pub fn member(directory: &Path, name: &str, home: Option<&str>, more: &[&str]) -> Server {
    let directory = directory.to_str().unwrap();
    let mut arguments = vec!["-store", "file", "-dir", directory, "-ft_group", "g", "-n", name];
    arguments.extend(more);
    server(home, &arguments)
}

pub fn is_active(server: &Server) -> bool {
    server.get("/streaming/isFTActive").0 == 200 && server.get("/healthz/ready").0 == 200
}

pub fn wait_until_active(server: &Server) {
    wait_until("it is active", || is_active(server));
}

pub fn state(server: &Server) -> String {
    let serverz: serde_json::Value = serde_json::from_str(&server.get("/streaming/serverz").1).unwrap_or_default();
    serverz["state"].as_str().unwrap_or_default().to_owned()
}

/// A session over whatever server is at this address, as soon as somebody serves.
pub fn session(address: &str, client_id: &str) -> Session {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Session::open(address, "test-cluster", client_id) {
            Ok(session) => return session,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

/// A publisher in open loop and a durable subscriber, with one connection and one session each for all their life.
pub struct Load {
    over: Arc<AtomicBool>,
    acknowledgements: Arc<Mutex<Vec<(Instant, u64)>>>,
    publisher: JoinHandle<()>,
    subscriber: JoinHandle<BTreeMap<u64, Vec<u8>>>,
}

impl Load {
    pub fn begin(address: &str) -> Load {
        let (over, acknowledgements) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<_>>>::default());
        let mut receiver = session(address, "subscriber");
        let mut request = subscription(CHANNEL);
        request.durable_name = "dur".into();
        request.start_position = 4;
        request.ack_wait_in_secs = 1;
        let subscribed = receiver.subscribe(request).unwrap();
        let publisher = session(address, "publisher");
        let (until, noted) = (Arc::clone(&over), Arc::clone(&acknowledgements));
        let publishing = std::thread::spawn(move || publish(publisher, &until, &noted));
        let until = Arc::clone(&over);
        let receiving = std::thread::spawn(move || receive(receiver, &until, &subscribed));
        Load {
            over,
            acknowledgements,
            publisher: publishing,
            subscriber: receiving,
        }
    }

    fn acknowledged(&self) -> usize {
        self.acknowledgements.lock().unwrap().len()
    }

    /// Waits until so many more are acknowledged.
    pub fn goes_on(&self, more: usize) {
        let before = self.acknowledged();
        wait_until("publishes are acknowledged", || self.acknowledged() >= before + more);
    }

    /// From the last acknowledgement before an event, whatever came at once after it, to the first when service was back: the longest
    /// time without one since then. Waits until some have come after it.
    pub fn gap_since(&self, event: Instant) -> Duration {
        self.goes_on(20);
        let times: Vec<Instant> = self
            .acknowledgements
            .lock()
            .unwrap()
            .iter()
            .map(|(at, _)| *at)
            .collect();
        let begin = times.partition_point(|at| *at < event).saturating_sub(1);
        let gaps = times[begin..].windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap()
    }

    /// Ends the clients and compares what they saw with what a new one finds.
    pub fn check(self, address: &str) {
        self.over.store(true, Ordering::Release);
        self.publisher.join().unwrap();
        let delivered = self.subscriber.join().unwrap();
        let stored = everything(address);
        let mut places: HashMap<&[u8], u64> = HashMap::new();
        for (sequence, data) in &stored {
            let other = places.insert(data, *sequence);
            assert_eq!(other, None, "{data:?} is there twice, the second time as {sequence}");
        }
        let acknowledgements = self.acknowledgements.lock().unwrap();
        let numbers: HashSet<u64> = acknowledgements.iter().map(|(_, number)| *number).collect();
        assert_eq!(numbers.len(), acknowledgements.len(), "acknowledged once each");
        let lost: Vec<_> = numbers
            .iter()
            .filter(|number| !places.contains_key(&number.to_le_bytes()[..]))
            .collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        for (sequence, data) in delivered {
            assert_eq!(
                stored[&sequence], data,
                "sequence {sequence} was delivered as something else"
            );
        }
    }
}

/// Publishes numbers, each once; notes which were acknowledged, and when.
fn publish(mut session: Session, over: &AtomicBool, noted: &Mutex<Vec<(Instant, u64)>>) {
    let mut numbers = HashMap::new();
    let mut next = Instant::now();
    while !over.load(Ordering::Acquire) {
        let number = numbers.len() as u64 + 1;
        numbers.insert(
            session.publish_async(CHANNEL, &number.to_le_bytes()).into_bytes(),
            number,
        );
        session.connection.flush().expect("clients stay connected");
        next = (next + PACE).max(Instant::now());
        loop {
            let patience = next.saturating_duration_since(Instant::now());
            if patience.is_zero() {
                break;
            }
            match session.next_pub_ack(patience) {
                // The broker says that nobody serves.
                Ok(ack) if ack.guid.is_empty() => {}
                Ok(ack) => {
                    assert_eq!(ack.error, "", "nobody is refused");
                    noted.lock().unwrap().push((Instant::now(), numbers[&ack.guid[..]]));
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "clients stay connected: {error}"),
            }
        }
    }
}

/// Takes and acknowledges what is delivered: what a sequence holds is the same whoever serves.
fn receive(mut session: Session, over: &AtomicBool, subscribed: &Subscribed) -> BTreeMap<u64, Vec<u8>> {
    let mut seen: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    while !over.load(Ordering::Acquire) {
        match session.next_message(Duration::from_millis(20)) {
            Ok(message) => {
                session.ack(subscribed, message.sequence);
                session.connection.flush().expect("clients stay connected");
                let known = seen.entry(message.sequence).or_insert_with(|| message.data.clone());
                assert_eq!(*known, message.data, "sequence {} was given twice", message.sequence);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "clients stay connected: {error}"),
        }
    }
    assert!(!seen.is_empty());
    seen
}

/// Everything in the channel, in sequence and without a gap.
pub fn everything(address: &str) -> BTreeMap<u64, Vec<u8>> {
    let mut reader = session(address, "reader");
    reader.publish(CHANNEL, b"the last one").unwrap();
    let mut request = subscription(CHANNEL);
    request.start_position = 4;
    let subscribed = reader.subscribe(request).unwrap();
    let mut stored = BTreeMap::new();
    loop {
        let message = reader.next_message(PATIENCE).unwrap();
        reader.ack(&subscribed, message.sequence);
        reader.connection.flush().unwrap();
        assert_eq!(message.sequence, stored.len() as u64 + 1, "in sequence, without a gap");
        let is_last = message.data == b"the last one";
        stored.insert(message.sequence, message.data);
        if is_last {
            return stored;
        }
    }
}
