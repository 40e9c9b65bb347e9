//! Many lives of the engine in one process, under load: stopped, abandoned, and abandoned while the disk hangs. Clients stay connected
//! through all of them; nothing acknowledged is lost, and nothing is left over.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use seaway_bench::stan::{Session, subscription};
use seaway_broker::{Broker, BrokerOptions};
use seaway_journal::disk::real::RealDisk;
use seaway_journal::disk::{DirectoryEntry, Disk, DiskFile, DiskLock, LockError};
use seaway_server::bus::Bus;
use seaway_server::phase::{Phase, Stage};
use seaway_server::tenure::{Granted, Lives, Surroundings, Tenures};
use seaway_store::{FileOptions, FileStore, Recovering, Store};
use tokio::sync::{mpsc, oneshot};

const LIVES: u64 = 1_000;

/// After so many lives everything has been there once.
const LIVES_WARM: u64 = 12;

/// Messages that are acknowledged in a life before it ends, and that may be.
const ACKNOWLEDGED: u64 = 3;
const ALLOWED: u64 = 20;

/// Publishes on their way at a time.
const WINDOW: u64 = 4;

const PATIENCE: Duration = Duration::from_secs(60);

/// Files of the system whose syncs cost nothing, and hang while the valve is closed: nobody pulls a plug here.
struct Slippery {
    disk: RealDisk,
    valve: Arc<Valve>,
}

#[derive(Default)]
struct Valve {
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Valve {
    fn close(&self) {
        self.state.lock().unwrap().0 = true;
    }

    fn open(&self) {
        self.state.lock().unwrap().0 = false;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        self.changed.notify_all();
        while state.0 {
            state = self.changed.wait(state).unwrap();
        }
        state.1 -= 1;
    }

    /// Waits until a thread hangs.
    fn somebody_hangs(&self) {
        let state = self.state.lock().unwrap();
        let waited = self
            .changed
            .wait_timeout_while(state, PATIENCE, |(closed, hanging)| !*closed || *hanging == 0);
        assert!(!waited.unwrap().1.timed_out(), "nothing was to be written");
    }
}

struct SlipperyFile {
    file: Arc<dyn DiskFile>,
    valve: Arc<Valve>,
}

impl DiskFile for SlipperyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.valve.pass();
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }
}

impl Slippery {
    fn wrap(&self, file: io::Result<Arc<dyn DiskFile>>) -> io::Result<Arc<dyn DiskFile>> {
        let valve = Arc::clone(&self.valve);
        Ok(Arc::new(SlipperyFile { file: file?, valve }))
    }
}

impl Disk for Slippery {
    fn list(&self, folder: &str) -> io::Result<Vec<DirectoryEntry>> {
        self.disk.list(folder)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.wrap(self.disk.create(name))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.wrap(self.disk.open(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.valve.pass();
        Ok(())
    }

    fn space_available(&self) -> io::Result<u64> {
        self.disk.space_available()
    }

    fn lock(&self, name: &str, holder: &str) -> Result<Box<dyn DiskLock>, LockError> {
        self.disk.lock(name, holder)
    }

    fn lock_existing(&self, name: &str) -> Result<Box<dyn DiskLock>, LockError> {
        self.disk.lock_existing(name)
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        self.disk.is_locked(name)
    }
}

/// Grants what it is given; says when it is asked.
struct Script {
    grants: mpsc::UnboundedReceiver<Granted>,
    asked: Sender<()>,
}

impl Tenures for Script {
    async fn next(&mut self) -> Result<Granted> {
        self.asked.send(())?;
        self.grants.recv().await.ok_or_else(|| anyhow!("there will be none"))
    }
}

fn granted(number: u64, directory: &Path, valve: &Arc<Valve>) -> (Granted, oneshot::Sender<String>) {
    let (lose, lost) = oneshot::channel();
    let disk = Slippery {
        disk: RealDisk::new(directory).unwrap(),
        valve: Arc::clone(valve),
    };
    let granted = Granted {
        number,
        store: Box::new(move |engine, waker, progress| {
            let options = FileOptions {
                progress,
                ..FileOptions::default()
            };
            let mut recovering = Recovering::new(engine);
            let store = FileStore::open_on(Arc::new(disk), options, waker, &mut recovering)?;
            recovering.finish().map_err(|error| anyhow!(error))?;
            assert_eq!(store.epoch(), number);
            Ok(Box::new(store) as Box<dyn Store>)
        }),
        lost: Box::pin(async {
            match lost.await {
                Ok(reason) => reason,
                Err(_) => std::future::pending().await,
            }
        }),
        confirm: None,
    };
    (granted, lose)
}

/// Asks for an orderly end of the life that serves.
type Stop = oneshot::Sender<Result<(), String>>;

/// Lives until nobody can ask for an end any more.
async fn live(mut lives: Lives<Script>, begun: Sender<u64>, mut stops: mpsc::UnboundedReceiver<Stop>) {
    loop {
        let stop = tokio::select! {
            failure = lives.run(|number| Ok(begun.send(number)?)) => panic!("{failure:?}"),
            stop = stops.recv() => stop,
        };
        let outcome = lives.stop().await.unwrap();
        let Some(stop) = stop else { return };
        stop.send(outcome).unwrap();
    }
}

/// What the publisher and the test tell each other.
#[derive(Default)]
struct Load {
    acknowledged: AtomicU64,
    /// How many may be acknowledged.
    allowed: AtomicU64,
    over: AtomicBool,
}

/// Publishes numbers in one session, whoever serves; those that were acknowledged.
fn publish(mut session: Session, load: &Load) -> HashSet<u64> {
    let (mut numbers, mut acknowledged) = (HashMap::new(), HashSet::new());
    let (mut waiting, mut is_served) = (0, true);
    while !load.over.load(Ordering::Acquire) {
        while is_served
            && waiting < WINDOW
            && acknowledged.len() as u64 + waiting < load.allowed.load(Ordering::Acquire)
        {
            let number = numbers.len() as u64 + 1;
            numbers.insert(session.publish_async("orders", &number.to_le_bytes()), number);
            waiting += 1;
        }
        session.connection.flush().expect("clients stay connected");
        match session.next_pub_ack(Duration::from_millis(5)) {
            // The broker says that nobody serves: to be tried again in a moment.
            Ok(ack) if ack.guid.is_empty() => is_served = false,
            // Or a life ended, and nobody answers what was on its way.
            Err(error) if error.kind() == ErrorKind::TimedOut => (waiting, is_served) = (0, true),
            Ok(ack) => {
                assert_eq!(ack.error, "");
                let guid = String::from_utf8(ack.guid.to_vec()).unwrap();
                assert!(acknowledged.insert(numbers[&guid]), "acknowledged twice");
                waiting = u64::saturating_sub(waiting, 1);
                load.acknowledged.fetch_add(1, Ordering::AcqRel);
            }
            Err(error) => panic!("clients stay connected: {error}"),
        }
    }
    acknowledged
}

/// Takes what is delivered: what a sequence holds is the same in every life.
fn receive(mut session: Session, load: &Load, subscribed: &seaway_bench::stan::Subscribed) -> HashMap<u64, Vec<u8>> {
    let mut seen: HashMap<u64, Vec<u8>> = HashMap::new();
    while !load.over.load(Ordering::Acquire) {
        match session.next_message(Duration::from_millis(50)) {
            Ok(message) => {
                session.ack(subscribed, message.sequence);
                session.connection.flush().expect("clients stay connected");
                let known = seen.entry(message.sequence).or_insert_with(|| message.data.clone());
                assert_eq!(*known, message.data, "sequence {} was given twice", message.sequence);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "clients stay connected"),
        }
    }
    seen
}

/// What a life may leave over in the process: descriptors, threads, and tasks of the runtime.
fn left_over(runtime: &tokio::runtime::Runtime) -> [usize; 3] {
    let count = |path| std::fs::read_dir(path).unwrap().count();
    let tasks = runtime.metrics().num_alive_tasks();
    [count("/proc/self/fd"), count("/proc/self/task"), tasks]
}

/// Whether a thread of an engine or a store is there.
fn has_own_threads() -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let mut names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.any(|name| name.starts_with("engine-") || name.starts_with("journal-"))
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// The process around the lives.
struct World {
    runtime: tokio::runtime::Runtime,
    broker: Broker,
    phase: Phase,
    address: SocketAddr,
    grants: mpsc::UnboundedSender<Granted>,
    asked: Receiver<()>,
    begins: Receiver<u64>,
    stops: mpsc::UnboundedSender<Stop>,
}

impl World {
    fn new() -> World {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).max_blocking_threads(1).enable_all();
        let runtime = builder.build().unwrap();
        let (broker, phase) = (Broker::new(BrokerOptions::default()), Phase::default());
        let (grants, granted) = mpsc::unbounded_channel();
        let (asks, asked) = channel();
        let (begun, begins) = channel();
        let (stops, asked_to_stop) = mpsc::unbounded_channel();
        let surroundings = Surroundings {
            bus: Bus::new(&broker),
            engine: seaway_streaming::Options::default(),
            server_id: "server".to_owned(),
            phase: phase.clone(),
        };
        let script = Script {
            grants: granted,
            asked: asks,
        };
        runtime.spawn(live(Lives::new(script, surroundings), begun, asked_to_stop));
        let listener = runtime.block_on(broker.listen("127.0.0.1", 0)).unwrap();
        World {
            address: listener.address(),
            runtime,
            broker,
            phase,
            grants,
            asked,
            begins,
            stops,
        }
    }

    /// Waits until the last life has ended and another tenure is asked for.
    fn rest(&self) {
        self.asked.recv_timeout(PATIENCE).unwrap();
        assert_eq!(self.phase.stage(), Stage::Waiting);
    }

    fn begin(&self, number: u64, directory: &Path, valve: &Arc<Valve>) -> oneshot::Sender<String> {
        let (granted, lose) = granted(number, directory, valve);
        assert!(self.grants.send(granted).is_ok());
        assert_eq!(self.begins.recv_timeout(PATIENCE), Ok(number));
        lose
    }

    /// The life that serves becomes none, although the disk hangs.
    fn lose_while_the_disk_hangs(
        &self,
        lose: oneshot::Sender<String>,
        load: &Load,
        valve: &Valve,
        subscriptions: usize,
    ) {
        let engine = self.phase.engine().unwrap();
        valve.close();
        load.allowed.fetch_add(ALLOWED, Ordering::AcqRel);
        valve.somebody_hangs();
        lose.send("the disk hangs".to_owned()).unwrap();
        until("the loss", || self.phase.stage() == Stage::Waiting);
        let words = self.phase.engine().err().unwrap();
        assert!(words.starts_with("not serving: "), "{words}");
        until("nobody is subscribed", || {
            self.broker.snapshot().subscriptions == subscriptions
        });
        let (answer, answered) = channel();
        engine.ask(Box::new(move |_| {
            let _ = answer.send(());
        }));
        assert_eq!(answered.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
        assert!(
            self.asked.try_recv().is_err(),
            "a thread is in the disk, and another tenure was asked for"
        );
        valve.open();
    }

    fn stop(&self) {
        let (stop, stopped) = oneshot::channel();
        self.stops.send(stop).unwrap();
        assert_eq!(self.runtime.block_on(stopped).unwrap(), Ok(()));
    }
}

fn session(world: &World, name: &str) -> Session {
    Session::open(world.address, "test-cluster", name).unwrap()
}

/// Reads the channel from its first message to one that is published now.
fn everything(world: &World) -> HashMap<u64, Vec<u8>> {
    let mut reader = session(world, "reader");
    reader.publish("orders", b"the last one").unwrap();
    let mut request = subscription("orders");
    request.start_position = 4;
    let subscribed = reader.subscribe(request).unwrap();
    let mut stored = HashMap::new();
    loop {
        let message = reader.next_message(PATIENCE).unwrap();
        reader.ack(&subscribed, message.sequence);
        reader.connection.flush().unwrap();
        let is_last = message.data == b"the last one";
        assert_eq!(message.sequence, stored.len() as u64 + 1, "in sequence, without a gap");
        stored.insert(message.sequence, message.data);
        if is_last {
            return stored;
        }
    }
}

#[test]
fn a_thousand_lives_leave_nothing_behind_and_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (world, load, valve) = (World::new(), Arc::new(Load::default()), Arc::new(Valve::default()));
    let mut clients: Option<(JoinHandle<_>, JoinHandle<_>)> = None;
    let (mut subscriptions, mut first) = (world.broker.snapshot().subscriptions, None);
    for number in 1..=LIVES {
        world.rest();
        if number % 100 == LIVES_WARM {
            // The system takes a moment longer to forget a thread.
            until("no thread is left", || !has_own_threads());
            let expected = *first.get_or_insert_with(|| left_over(&world.runtime));
            until("nothing is left over", || {
                left_over(&world.runtime)
                    .iter()
                    .zip(expected)
                    .all(|(now, then)| *now <= then)
            });
        }
        let lose = world.begin(number, directory.path(), &valve);
        if clients.is_none() {
            let (publisher, mut receiver) = (session(&world, "publisher"), session(&world, "receiver"));
            let subscribed = receiver.subscribe(subscription("orders")).unwrap();
            let of_clients = [&publisher, &receiver]
                .map(|session| session.connection.latest_sid())
                .iter()
                .sum::<u64>();
            subscriptions += usize::try_from(of_clients).unwrap();
            let (publishing, receiving) = (Arc::clone(&load), Arc::clone(&load));
            clients = Some((
                std::thread::spawn(move || publish(publisher, &publishing)),
                std::thread::spawn(move || receive(receiver, &receiving, &subscribed)),
            ));
        }
        let before = load.acknowledged.load(Ordering::Acquire);
        load.allowed.store(before + ALLOWED, Ordering::Release);
        until("acknowledgements", || {
            load.acknowledged.load(Ordering::Acquire) >= before + ACKNOWLEDGED
        });
        match number % 3 {
            0 => world.stop(),
            1 => lose.send("somebody else has it".to_owned()).unwrap(),
            _ => world.lose_while_the_disk_hangs(lose, &load, &valve, subscriptions),
        }
    }
    world.rest();
    world.begin(LIVES + 1, directory.path(), &valve);
    load.over.store(true, Ordering::Release);
    let (publisher, receiver) = clients.unwrap();
    let (acknowledged, seen) = (publisher.join().unwrap(), receiver.join().unwrap());
    let stored = everything(&world);
    let numbers: HashSet<u64> = stored
        .values()
        .filter_map(|data| Some(u64::from_le_bytes(data[..].try_into().ok()?)))
        .collect();
    let lost: Vec<_> = acknowledged.difference(&numbers).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(acknowledged.len() as u64 >= LIVES * ACKNOWLEDGED);
    for (sequence, data) in seen {
        assert_eq!(
            stored[&sequence], data,
            "sequence {sequence} was delivered as something else"
        );
    }
    world.stop();
}
