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

use anyhow::{Error, Result, anyhow};
use seaway_bench::stan::{Session, subscription};
use seaway_broker::{Broker, BrokerOptions};
use seaway_config::{FaultToleranceOptions, Options, Personality};
use seaway_journal::disk::real::RealDisk;
use seaway_journal::disk::{DirectoryEntry, Disk, DiskFile, DiskLock, LockError};
use seaway_server::bus::Bus;
use seaway_server::phase::{Phase, Stage};
use seaway_server::tenure::{Granted, Itself, Lives, OpenStore, SharedDirectory, Surroundings, Tenures};
use seaway_store::{Claim, FileOptions, FileStore, Recovering, Store};
use tokio::sync::{mpsc, oneshot};

const LIVES: u64 = 1_000;

/// After so many lives everything has been there once.
const LIVES_WARM: u64 = 12;

/// Descriptors, threads and tasks of a life that serves come and go, so many of them.
const SERVING_VARIES: usize = 8;

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

/// Opens the store of a tenure on the disk that hangs while the valve is closed.
fn opened(number: u64, claim: Option<Claim>, directory: &Path, valve: &Arc<Valve>) -> OpenStore {
    let disk = Slippery {
        disk: RealDisk::new(directory).unwrap(),
        valve: Arc::clone(valve),
    };
    Box::new(move |engine, waker, progress| {
        let options = FileOptions {
            progress,
            claim,
            ..FileOptions::default()
        };
        let mut recovering = Recovering::new(engine);
        let store = FileStore::open_on(Arc::new(disk), options, waker, &mut recovering)?;
        recovering.finish().map_err(|error| anyhow!(error))?;
        assert_eq!(store.epoch(), number);
        Ok(Box::new(store) as Box<dyn Store>)
    })
}

fn granted(number: u64, directory: &Path, valve: &Arc<Valve>) -> (Granted, oneshot::Sender<String>) {
    let (lose, lost) = oneshot::channel();
    let granted = Granted {
        number,
        store: opened(number, None, directory, valve),
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

/// A member of a group, which says when it is asked.
struct Watched {
    member: SharedDirectory,
    asked: Sender<()>,
}

impl Tenures for Watched {
    async fn next(&mut self) -> Result<Granted> {
        self.asked.send(())?;
        self.member.next().await
    }

    fn given_up(&mut self, number: u64) {
        self.member.given_up(number);
    }

    fn failed(&mut self, error: Error) -> Result<()> {
        self.member.failed(error)
    }
}

/// Asks for an orderly end of the life that serves.
type Stop = oneshot::Sender<Result<(), String>>;

/// Lives until nobody can ask for an end any more.
async fn live<T: Tenures>(mut lives: Lives<T>, begun: Sender<u64>, mut stops: mpsc::UnboundedReceiver<Stop>) {
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
    asked: Receiver<()>,
    begins: Receiver<u64>,
    stops: mpsc::UnboundedSender<Stop>,
}

impl World {
    /// Around lives whose tenures somebody grants: who tells when he is asked.
    fn new<T: Tenures + Send + Sync + 'static>(phase: Phase, tenures: impl FnOnce(&Bus, Sender<()>) -> T) -> World {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).max_blocking_threads(1).enable_all();
        let runtime = builder.build().unwrap();
        let broker = Broker::new(BrokerOptions::default());
        let bus = Bus::new(&broker);
        let (asks, asked) = channel();
        let (begun, begins) = channel();
        let (stops, asked_to_stop) = mpsc::unbounded_channel();
        let tenures = tenures(&bus, asks);
        let surroundings = Surroundings {
            bus,
            engine: seaway_streaming::Options::default(),
            server_id: "server".to_owned(),
            phase: phase.clone(),
            archive: None,
        };
        let lives = Lives::new(tenures, surroundings);
        runtime.spawn(async move { live(lives, begun, asked_to_stop).await });
        let listener = runtime.block_on(broker.listen("127.0.0.1", 0)).unwrap();
        World {
            address: listener.address(),
            runtime,
            broker,
            phase,
            asked,
            begins,
            stops,
        }
    }

    /// Waits until nothing of earlier lives is left over.
    fn leaves_nothing(&self, first: &mut Option<[usize; 3]>) {
        // The system takes a moment longer to forget a thread.
        until("no thread is left", || !has_own_threads());
        self.grows_by(first, 0);
    }

    /// Waits until there is not more than there was the first time, but for so much.
    fn grows_by(&self, first: &mut Option<[usize; 3]>, more: usize) {
        let expected = *first.get_or_insert_with(|| left_over(&self.runtime));
        until("nothing is left over", || {
            left_over(&self.runtime)
                .iter()
                .zip(expected)
                .all(|(now, then)| *now <= then + more)
        });
    }

    /// Waits until the last life has ended and another tenure is asked for.
    fn rest(&self) {
        self.asked.recv_timeout(PATIENCE).unwrap();
        assert_eq!(self.phase.stage(), Stage::Waiting);
    }

    fn begin(&self, grants: &Grants, number: u64, directory: &Path, valve: &Arc<Valve>) -> oneshot::Sender<String> {
        let (granted, lose) = granted(number, directory, valve);
        assert!(grants.send(granted).is_ok());
        assert_eq!(self.begins.recv_timeout(PATIENCE), Ok(number));
        lose
    }

    /// The life that serves becomes none, although the disk hangs.
    fn lose_while_the_disk_hangs(&self, lose: impl FnOnce(), load: &Load, valve: &Valve, subscriptions: usize) {
        let engine = self.phase.engine().unwrap();
        valve.close();
        load.allowed.fetch_add(ALLOWED, Ordering::AcqRel);
        valve.somebody_hangs();
        lose();
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

type Grants = mpsc::UnboundedSender<Granted>;

/// Clients that stay connected through all lives, and what they saw.
struct Clients {
    load: Arc<Load>,
    publisher: JoinHandle<HashSet<u64>>,
    receiver: JoinHandle<HashMap<u64, Vec<u8>>>,
    subscriptions: usize,
}

impl Clients {
    fn begin(world: &World, load: &Arc<Load>) -> Clients {
        let (publisher, mut receiver) = (session(world, "publisher"), session(world, "receiver"));
        let subscribed = receiver.subscribe(subscription("orders")).unwrap();
        let of_clients = [&publisher, &receiver]
            .map(|session| session.connection.latest_sid())
            .iter()
            .sum::<u64>();
        let (publishing, receiving) = (Arc::clone(load), Arc::clone(load));
        Clients {
            load: Arc::clone(load),
            publisher: std::thread::spawn(move || publish(publisher, &publishing)),
            receiver: std::thread::spawn(move || receive(receiver, &receiving, &subscribed)),
            subscriptions: usize::try_from(of_clients).unwrap(),
        }
    }

    /// Waits until some publishes are acknowledged in the life that serves.
    fn are_served(&self) {
        let load = &self.load;
        let before = load.acknowledged.load(Ordering::Acquire);
        load.allowed.store(before + ALLOWED, Ordering::Release);
        until("acknowledgements", || {
            load.acknowledged.load(Ordering::Acquire) >= before + ACKNOWLEDGED
        });
    }

    /// Ends, and compares what was seen in so many lives with what is there.
    fn check(self, world: &World, lives: u64) {
        self.load.over.store(true, Ordering::Release);
        let (acknowledged, seen) = (self.publisher.join().unwrap(), self.receiver.join().unwrap());
        let stored = everything(world);
        let numbers: HashSet<u64> = stored
            .values()
            .filter_map(|data| Some(u64::from_le_bytes(data[..].try_into().ok()?)))
            .collect();
        let lost: Vec<_> = acknowledged.difference(&numbers).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        assert!(acknowledged.len() as u64 >= lives * ACKNOWLEDGED);
        for (sequence, data) in seen {
            assert_eq!(
                stored[&sequence], data,
                "sequence {sequence} was delivered as something else"
            );
        }
    }
}

#[test]
fn a_thousand_lives_leave_nothing_behind_and_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (load, valve) = (Arc::new(Load::default()), Arc::new(Valve::default()));
    let (grants, granted) = mpsc::unbounded_channel();
    let world = World::new(Phase::default(), |_, asked| Script { grants: granted, asked });
    let mut clients: Option<Clients> = None;
    let (own, mut first) = (world.broker.snapshot().subscriptions, None);
    for number in 1..=LIVES {
        world.rest();
        if number % 100 == LIVES_WARM {
            world.leaves_nothing(&mut first);
        }
        let lose = world.begin(&grants, number, directory.path(), &valve);
        let clients = clients.get_or_insert_with(|| Clients::begin(&world, &load));
        clients.are_served();
        let lose = |reason: &str| lose.send(reason.to_owned()).unwrap();
        match number % 3 {
            0 => world.stop(),
            1 => lose("somebody else has it"),
            _ => {
                let subscriptions = own + clients.subscriptions;
                world.lose_while_the_disk_hangs(|| lose("the disk hangs"), &load, &valve, subscriptions);
            }
        }
    }
    world.rest();
    let _lose = world.begin(&grants, LIVES + 1, directory.path(), &valve);
    clients.unwrap().check(&world, LIVES);
    world.stop();
}

/// Tenures of a member of a group, taken from it by another one: `SEAWAY_TENURES` says how many. Each takes a lease or two.
#[test]
fn tenures_on_a_shared_directory_leave_nothing_behind_and_lose_nothing() {
    let count = std::env::var("SEAWAY_TENURES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(40);
    let directory = tempfile::tempdir().unwrap();
    let (load, valve) = (Arc::new(Load::default()), Arc::new(Valve::default()));
    let phase = Phase::of_group("group", "member");
    let world = World::new(phase.clone(), |bus, asked| Watched {
        member: member(bus, phase, directory.path(), &valve),
        asked,
    });
    let mut clients: Option<Clients> = None;
    let (own, mut first) = (world.broker.snapshot().subscriptions, None);
    for life in 1..=count {
        world.asked.recv_timeout(PATIENCE).unwrap();
        let number = world.begins.recv_timeout(PATIENCE).unwrap();
        let clients = clients.get_or_insert_with(|| Clients::begin(&world, &load));
        clients.are_served();
        if life % 10 == 0 {
            world.grows_by(&mut first, SERVING_VARIES);
        }
        let other = || drop(Claim::make(directory.path(), "ft test-cluster group OTHER plain other", number).unwrap());
        match life % 3 {
            0 => world.stop(),
            1 => other(),
            _ => world.lose_while_the_disk_hangs(other, &load, &valve, own + clients.subscriptions),
        }
    }
    world.asked.recv_timeout(PATIENCE).unwrap();
    world.begins.recv_timeout(PATIENCE).unwrap();
    clients.unwrap().check(&world, count);
    world.stop();
}

/// A member of a group whose store's files hang while the valve is closed; the files of claims do not.
fn member(bus: &Bus, phase: Phase, directory: &Path, valve: &Arc<Valve>) -> SharedDirectory {
    let mut streaming = Options::new(Personality::NatsStreamingServer).streaming;
    streaming.store = seaway_config::StoreKind::File;
    streaming.dir = directory.to_owned();
    let group = FaultToleranceOptions {
        group: "group".to_owned(),
        lease: Duration::from_millis(250),
    };
    let itself = Itself {
        server_id: "MEMBER",
        name: "member",
        is_connected: false,
    };
    let valve = Arc::clone(valve);
    let member = SharedDirectory::new(&streaming, &group, &itself, bus, phase).unwrap();
    member.opening(Arc::new(move |streaming, claim| {
        opened(claim.number(), Some(claim), &streaming.dir, &valve)
    }))
}
