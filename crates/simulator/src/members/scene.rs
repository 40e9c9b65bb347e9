//! What all threads of a run share.

use std::fmt::Arguments;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use seaway_journal::disk::simulated::members::SharedDirectory;
use seaway_streaming::{Now, Timestamp};

use super::judge::Judge;
use super::network::Network;
use super::shape::{Planted, Shape};
use super::slot::Slot;
use crate::trace::Trace;

/// Nanoseconds of a tick.
pub(super) const TICK: u64 = 1_000_000;

/// See the module.
pub(super) struct Scene {
    pub(super) directory: SharedDirectory,
    pub(super) shape: Shape,
    pub(super) planted: Option<Planted>,
    network: Mutex<Network>,
    judge: Mutex<Judge>,
    trace: Mutex<Trace>,
    slots: Vec<Mutex<Slot>>,
    healed: AtomicBool,
    start: Instant,
    /// Thousandths by which the clock of a member is faster than another's.
    rates: Vec<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scene {
    pub(super) fn new(directory: SharedDirectory, shape: Shape, planted: Option<Planted>, trace_lines: usize) -> Scene {
        Scene {
            network: Mutex::new(Network::new(shape.members)),
            judge: Mutex::default(),
            trace: Mutex::new(Trace::new(trace_lines)),
            slots: (0..shape.members).map(|_| Mutex::default()).collect(),
            healed: AtomicBool::new(false),
            start: Instant::now(),
            rates: (0..shape.members).map(|_| 950 + directory.random(100)).collect(),
            directory,
            shape,
            planted,
        }
    }

    /// Held for a moment only, and never while something is done on the disk.
    pub(super) fn network(&self) -> MutexGuard<'_, Network> {
        lock(&self.network)
    }

    /// As [`Scene::network`].
    pub(super) fn judge(&self) -> MutexGuard<'_, Judge> {
        lock(&self.judge)
    }

    /// As [`Scene::network`].
    pub(super) fn slot(&self, member: usize) -> MutexGuard<'_, Slot> {
        lock(&self.slots[member])
    }

    pub(super) fn trace(&self) -> MutexGuard<'_, Trace> {
        lock(&self.trace)
    }

    /// Adds a line to the trace, unless the run is over: then nobody waits for his turn any more.
    pub(super) fn line(&self, line: Arguments<'_>) {
        if !self.directory.is_over() {
            self.trace().add(format_args!("{} {line}", self.directory.now()));
        }
    }

    /// Nothing goes wrong from here on.
    pub(super) fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_healed(&self) -> bool {
        self.healed.load(Ordering::Relaxed)
    }

    pub(super) fn is_planted(&self, planted: Planted) -> bool {
        self.planted == Some(planted)
    }

    /// What the clock of a member shows.
    fn nanoseconds(&self, member: usize) -> u64 {
        self.directory.now() * TICK / 1_000 * self.rates[member]
    }

    pub(super) fn instant(&self, member: usize) -> Instant {
        self.start + Duration::from_nanos(self.nanoseconds(member))
    }

    /// Both clocks of a member.
    pub(super) fn clocks(&self, member: usize) -> Now {
        let nanoseconds = self.nanoseconds(member);
        let wall = 1_700_000_000_000_000_000 + i64::try_from(nanoseconds).expect("a short run");
        Now {
            monotonic: nanoseconds + 1,
            wall: Timestamp(wall),
        }
    }

    /// Whether a life of a member has ended, or everything has.
    pub(super) fn is_dead(&self, member: usize) -> bool {
        self.directory.is_over() || self.directory.is_killed(member)
    }

    /// Ticks of a time on nobody's clock.
    pub(super) fn ticks(time: Duration) -> u64 {
        (u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) / TICK).max(1)
    }
}
