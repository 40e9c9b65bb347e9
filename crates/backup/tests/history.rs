//! The archive of a store (docs/backup.md, "To any moment"): whatever happens while it is written, a restore to a moment that it has is the
//! store as it was then, to the record; and it says which moments it does not have.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../journal/tests/support/mod.rs"]
mod machine;

use std::io;
use std::sync::{Arc, Mutex};

use machine::{Machine, Op, Random, encrypted, options};
use seaway_backup::{Archiver, Error, History, Pace, Progress, Stretch};
use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_journal::disk::{DirectoryEntry, Disk, DiskFile, DiskLock, LockError};
use seaway_journal::limits::TIME_NOTED_EVERY_NS;
use seaway_journal::{Cipher, Image, Options, Position};

/// Bytes that may be kept for the archive: more than there is.
const ENOUGH: u64 = 1 << 40;

/// A store with its owner, and when what was appended.
struct Store {
    machine: Machine,
    /// Positions and times of records that say no more.
    times: Vec<(Position, i64)>,
    options: Options,
    seed: u64,
}

impl Store {
    fn open(disk: &SimulatedDisk, mut options: Options, seed: u64) -> Store {
        options.unarchived_bytes_max.get_or_insert(ENOUGH);
        Store {
            machine: Machine::open(disk, options.clone(), seed).unwrap(),
            times: Vec::new(),
            options,
            seed,
        }
    }

    fn act(&mut self, workload: u64) {
        let machine = &mut self.machine;
        if machine.random.below(8) == 0 {
            machine.clock += 1 + machine.random.below(40) as i64;
            if machine.random.below(3) == 0 {
                machine.clock += TIME_NOTED_EVERY_NS as i64;
            }
            machine.journal.tell_time(machine.clock);
        }
        match workload % 3 {
            0 => machine.random_action(),
            1 => machine.sparse_action(),
            _ => machine.churn_action(),
        }
        // It is written before the first record of a batch, when there is one.
        let noted = machine.journal.noted_time();
        self.times
            .extend(noted.filter(|noted| self.times.last() != Some(noted)));
    }

    /// A process that is killed, or a machine that loses its power, and the next start.
    fn restart(&mut self, loses_power: bool) {
        self.seed += 1;
        let disk = self.machine.disk.clone();
        match loses_power {
            true => disk.restart(),
            false => disk.restart_process(),
        }
        self.machine = self.machine.reopen(self.options.clone(), self.seed).unwrap();
        let recovered = self.machine.opened.position;
        self.times.retain(|(position, _)| *position <= recovered);
        // What is appended from here on is later than what was lost.
        self.machine.clock += 1;
    }

    fn plan(&mut self) -> (Image, i64) {
        let planned = self.machine.clock;
        let plan = self.machine.journal.archive_image().unwrap();
        let image = Image::open(plan, Arc::new(self.machine.disk.clone())).unwrap();
        (image, planned)
    }

    /// When something happened of which the time is known.
    fn known_times(&self) -> impl Iterator<Item = i64> + '_ {
        let messages = self.machine.history.iter().filter_map(|(_, op)| match op {
            Op::Message { timestamp, .. } => Some(*timestamp),
            _ => None,
        });
        messages.chain(self.times.iter().map(|(_, time)| *time))
    }

    /// Where the state of a moment ends, of a store that ends at `end`.
    fn position_at(&self, moment: i64, end: Position) -> Position {
        let messages = self.machine.history.iter().filter_map(|(position, op)| match op {
            Op::Message { timestamp, .. } => Some((*position, *timestamp)),
            _ => None,
        });
        let later = messages.chain(self.times.iter().copied());
        let later = later
            .filter(|(_, time)| *time > moment)
            .map(|(position, _)| position - 1);
        later.min().unwrap_or(end).min(end)
    }

    /// Restores to a moment and compares with what was there then.
    fn check(&self, history: &History, moment: i64, seed: u64) -> Result<(), String> {
        let stretch = stretch_at(history, moment).map_err(|error| error.to_string())?;
        self.check_in(&stretch, history, moment, seed)
    }

    fn check_in(&self, stretch: &Stretch, history: &History, moment: i64, seed: u64) -> Result<(), String> {
        let moment = history.moment(stretch, moment).map_err(|error| error.to_string())?;
        let expected = self.position_at(moment.at, stretch.position);
        if moment.position != expected {
            return Err(format!(
                "{}: cut at {} instead of {expected}",
                moment.at, moment.position
            ));
        }
        let disk = SimulatedDisk::new(seed);
        moment
            .restore_on(Arc::new(disk.clone()), &mut Pace::new(None), &Progress::default())
            .map_err(|error| error.to_string())?;
        self.check_disk(&disk, expected, seed)
    }

    fn check_disk(&self, disk: &SimulatedDisk, position: Position, seed: u64) -> Result<(), String> {
        let mut restored = Machine::open(disk, self.options.clone(), seed).map_err(|error| error.to_string())?;
        if restored.opened.position != position {
            return Err(format!("opened at {} instead of {position}", restored.opened.position));
        }
        if let Some(cut) = &restored.opened.cut {
            return Err(format!("something was cut: {cut:?}"));
        }
        let history = self.machine.history.iter();
        restored.history = history.filter(|(at, _)| *at <= position).cloned().collect();
        restored.state = self.machine.state_at(position);
        restored.next_log = self.machine.next_log + 1;
        restored.clock = self.machine.clock;
        restored.check()?;
        for _ in 0..30 {
            restored.random_action();
        }
        restored.settle();
        disk.restart();
        restored.reopen(self.options.clone(), seed + 1).map(drop)
    }
}

fn history(disk: &SimulatedDisk) -> History {
    History::open_on(Arc::new(disk.clone()))
}

fn stretch_at(history: &History, moment: i64) -> Result<Stretch, Error> {
    history.reach()?.stretch_at("", moment).cloned()
}

/// A disk on which somebody else is at work whenever a file is begun.
struct Busy {
    disk: SimulatedDisk,
    store: Arc<Mutex<Store>>,
    workload: u64,
}

impl Disk for Busy {
    fn list(&self, folder: &str) -> io::Result<Vec<DirectoryEntry>> {
        self.disk.list(folder)
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut store = self.store.lock().unwrap();
        if store.machine.random.below(6) == 0 {
            for _ in 0..store.machine.random.below(200) {
                store.act(self.workload);
            }
        }
        self.disk.create(name)
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory()
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

#[derive(Default, Debug)]
struct Seen {
    moments: u64,
    bases: u64,
    /// Files that the store does not have any more when the archive has them.
    outlived: u64,
    links: u64,
}

fn run(seed: u64, options: &Options, seen: &mut Seen) -> Result<(), String> {
    let mut random = Random(seed ^ 0x5555);
    let (disk, archive) = (SimulatedDisk::new(seed), SimulatedDisk::new(seed + 1_000));
    let store = Arc::new(Mutex::new(Store::open(&disk, options.clone(), seed)));
    let busy = |token: u64| {
        let disk = Busy {
            disk: archive.clone(),
            store: Arc::clone(&store),
            workload: seed,
        };
        Archiver::new(History::open_on(Arc::new(disk)), &format!("{token:08x}"))
    };
    let mut archiver = busy(0);
    for round in 0..7 {
        {
            let mut store = store.lock().unwrap();
            for _ in 0..random.below(1_500) {
                store.act(seed);
            }
            if random.below(3) == 0 {
                store.restart(random.below(2) == 0);
                drop(store);
                archiver = busy(round + 1);
            }
        }
        let (image, planned) = store.lock().unwrap().plan();
        let archived = archiver.archive(&image, planned).map_err(|error| error.to_string())?;
        drop(image);
        if let Some(gap) = archived.gap {
            return Err(format!("round {round}: {gap}"));
        }
        let store = store.lock().unwrap();
        let history = history(&archive);
        let reach = history.reach().map_err(|error| error.to_string())?;
        assert!(reach.damaged.is_empty() && reach.stretches.len() <= 1, "{reach:?}");
        let Some(stretch) = reach.stretches.first() else {
            continue;
        };
        seen.links = seen.links.max(stretch.links() as u64);
        if stretch.until < stretch.from {
            assert!(stretch_at(&history, stretch.from).is_err());
            continue;
        }
        let span = (stretch.until - stretch.from) as u64;
        let mut moments = vec![stretch.from, stretch.until];
        moments.extend((0..2).map(|_| stretch.from + random.below(span + 1) as i64));
        // Exact: something happened then, and right behind it.
        let known = store
            .known_times()
            .filter(|time| (stretch.from + 1..=stretch.until).contains(time));
        let known: Vec<i64> = known.collect();
        if !known.is_empty() {
            moments.extend((0..2).map(|of| known[random.below(known.len() as u64) as usize] - of));
        }
        for moment in moments {
            store
                .check(&history, moment, seed * 100 + round)
                .map_err(|error| format!("round {round}, moment {moment}: {error}"))?;
            seen.moments += 1;
        }
        let before = store.machine.disk.names().len();
        seen.outlived += u64::from(archive.names().len() > before);
        let beyond = stretch_at(&history, stretch.until + 1).unwrap_err().to_string();
        assert!(beyond.contains("reaches up to"), "{beyond}");
        assert!(stretch_at(&history, stretch.from - 1).is_err());
        // Everything is whole, and the store in it as well.
        if round == 6 {
            let verified = history.verify(options.encryption.as_ref(), &mut Pace::new(None), &Progress::default());
            for verified in verified.map_err(|error| error.to_string())?.stretches {
                assert!(verified.damaged.is_empty(), "{:?}", verified.damaged);
                let found = verified.store.unwrap().unwrap();
                assert!(found.damages.is_empty() && found.refusal.is_none(), "{found:?}");
            }
        }
        seen.bases += archive.names().iter().filter(|name| name.ends_with(".link")).count() as u64;
    }
    Ok(())
}

#[test]
fn a_restore_to_a_moment_is_the_store_as_it_was_then() {
    let mut seen = Seen::default();
    for seed in 0..30 {
        run(seed, &options(), &mut seen).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    assert!(seen.moments > 600 && seen.links > 4, "{seen:?}");
}

/// docs/journal-format.md §11: what is encrypted stays so, and no key is needed to archive, cut and restore it.
#[test]
fn the_same_of_an_encrypted_store() {
    let mut seen = Seen::default();
    for seed in 200..206 {
        let options = encrypted(Cipher::Aes256Gcm, b"key");
        run(seed, &options, &mut seen).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    assert!(seen.moments > 90, "{seen:?}");
}

/// docs/journal-format.md §10: the archive's machine loses its power at every operation. What had been archived can be had, and the next
/// start of the store's owner goes on.
#[test]
fn what_is_archived_stays_whenever_power_is_lost() {
    let disk = SimulatedDisk::new(1);
    let mut store = Store::open(&disk, options(), 1);
    for _ in 0..1_500 {
        store.act(0);
    }
    store.machine.settle();
    let archive = SimulatedDisk::new(2);
    let (image, planned) = store.plan();
    let first = Archiver::new(history(&archive), "a").archive(&image, planned).unwrap();
    drop(image);
    for _ in 0..1_500 {
        store.act(0);
    }
    store.machine.settle();
    // What is planned is dropped, and planned again: nothing is told of the attempts before.
    let attempt = |archive: &SimulatedDisk, token: &str, store: &mut Store| {
        let (image, planned) = store.plan();
        Archiver::new(history(archive), token).archive(&image, planned)
    };
    let operations = {
        let disk = archive.fork(3);
        attempt(&disk, "b", &mut store).unwrap();
        disk.operations()
    };
    assert!(operations > 20, "{operations}");
    for operation in 1..=operations {
        let disk = archive.fork(operation);
        disk.crash_at(operation);
        let tried = attempt(&disk, "c", &mut store);
        disk.restart();
        let until = tried.map_or(first.until, |archived| archived.until);
        let reached = history(&disk);
        store
            .check(&reached, until, operation)
            .unwrap_or_else(|error| panic!("crash at {operation}: {error}"));
        let again =
            attempt(&disk, "d", &mut store).unwrap_or_else(|error| panic!("after a crash at {operation}: {error}"));
        assert_eq!(again.gap, None, "crash at {operation}");
        store
            .check(&history(&disk), again.until, operation)
            .unwrap_or_else(|error| panic!("after a crash at {operation}: {error}"));
        assert!(!disk.names().iter().any(|name| name.ends_with(".writing")));
    }
}

/// What is kept for an archive that takes nothing is bounded; the hole is said, and nobody reaches over it.
#[test]
fn a_gap_is_said_and_not_reached_over() {
    let (disk, archive) = (SimulatedDisk::new(5), SimulatedDisk::new(6));
    let mut store = Store::open(
        &disk,
        Options {
            unarchived_bytes_max: Some(512 << 10),
            ..options()
        },
        5,
    );
    let mut archiver = Archiver::new(history(&archive), "a");
    let fill = |store: &mut Store, count: u64| {
        for _ in 0..count {
            store.act(2);
        }
        store.machine.settle();
    };
    fill(&mut store, 3_000);
    let (image, planned) = store.plan();
    let first = archiver.archive(&image, planned).unwrap();
    assert_eq!(first.gap, None);
    drop(image);
    fill(&mut store, 40_000);
    assert!(store.machine.journal.statistics().archive_given_up > 0);
    assert!(store.machine.journal.statistics().unarchived_bytes <= 512 << 10);
    let (image, planned) = store.plan();
    let second = archiver.archive(&image, planned).unwrap();
    assert!(second.gap.is_some());
    let history = history(&archive);
    let reach = history.reach().unwrap();
    assert_eq!(reach.stretches.len(), 2, "{reach:?}");
    let between = i64::midpoint(first.until, reach.stretches[1].from);
    let error = stretch_at(&history, between).unwrap_err().to_string();
    assert!(error.contains("lies in a gap"), "{error}");
    for moment in [first.until, second.until] {
        store.check(&history, moment, 7).unwrap();
    }
    // What lies before a moment goes, and what is at it stays.
    let pruned = history.prune(second.until).unwrap();
    assert!(pruned.links > 0 && pruned.pieces > 0, "{pruned:?}");
    assert!(stretch_at(&history, first.until).is_err());
    store.check(&history, second.until, 8).unwrap();
}

/// A store that goes on, and one that was restored from its archive and goes another way, may have one archive: the moments of each stay
/// its own, also where the two end at the same place.
#[test]
fn a_restored_store_is_another_history_in_the_same_archive() {
    let (disk, archive) = (SimulatedDisk::new(11), SimulatedDisk::new(12));
    let mut store = Store::open(&disk, options(), 11);
    let fill = |store: &mut Store| {
        for _ in 0..800 {
            store.act(0);
        }
        store.machine.settle();
    };
    let archived = |store: &mut Store, token: &str| {
        let (image, planned) = store.plan();
        let archived = Archiver::new(history(&archive), token).archive(&image, planned);
        archived.unwrap()
    };
    fill(&mut store);
    archived(&mut store, "a");
    let stretch = history(&archive).reach().unwrap().newest("").unwrap().clone();
    let moment = history(&archive).moment(&stretch, stretch.end()).unwrap();
    let other = SimulatedDisk::new(13);
    moment
        .restore_on(Arc::new(other.clone()), &mut Pace::new(None), &Progress::default())
        .unwrap();
    let mut restored = Store::open(&other, options(), 13);
    assert_eq!(restored.machine.opened.position, stretch.position);
    restored.machine.history = store.machine.history.clone();
    restored.machine.state = store.machine.state_at(stretch.position);
    restored.machine.next_log = store.machine.next_log + 1;
    restored.machine.clock = store.machine.clock;
    restored.times = store.times.clone();
    // Before it has written anything of its own it ends where the chain ends.
    archived(&mut restored, "b");
    for round in 0..3 {
        fill(&mut store);
        archived(&mut store, "a");
        fill(&mut restored);
        archived(&mut restored, "b");
        let history = history(&archive);
        let reach = history.reach().unwrap();
        assert!(reach.damaged.is_empty() && reach.stretches.len() == 2, "{reach:?}");
        let error = reach.newest("").unwrap_err().to_string();
        for (store, is_restored) in [(&store, false), (&restored, true)] {
            let of = |stretch: &&Stretch| stretch.life.is_some() == is_restored;
            let stretch = reach.stretches.iter().find(of).unwrap();
            let name = stretch.store();
            assert!(error.contains(&name), "{name} in {error}");
            assert_eq!(reach.newest(&name).unwrap().position, stretch.position);
            assert_eq!(
                reach.stretch_at(&name, stretch.end()).map(|found| found.position).ok(),
                Some(stretch.position)
            );
            store.check_in(stretch, &history, stretch.end(), 20 + round).unwrap();
        }
    }
}

/// A clock that is set back: without a moment everything is restored, and not what is there up to the latest time.
#[test]
fn the_end_of_an_archive_has_everything_whatever_the_clock_did() {
    let (disk, archive) = (SimulatedDisk::new(21), SimulatedDisk::new(22));
    let mut store = Store::open(&disk, options(), 21);
    let mut archiver = Archiver::new(history(&archive), "a");
    for round in 0..4 {
        for _ in 0..600 {
            store.act(0);
        }
        store.machine.settle();
        let (image, planned) = store.plan();
        archiver.archive(&image, planned).unwrap();
        drop(image);
        let history = history(&archive);
        let stretch = history.reach().unwrap().newest("").unwrap().clone();
        assert_eq!(stretch.position, store.machine.journal.appended(), "round {round}");
        store.check_in(&stretch, &history, stretch.end(), round).unwrap();
        store.machine.clock -= 3_600 * TIME_NOTED_EVERY_NS as i64;
    }
}
