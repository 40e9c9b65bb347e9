//! The holder's side of a claim: looking whether it still holds, and letting the lease go on.

use super::file::{ClaimFile, write_counter};
use super::standing::newest_epoch;
use crate::disk::{Disk, DiskFile, DiskLock, is_full};
use crate::format::{LOCK_NAME, claim_name};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// As many looks on end that are not answered are too many.
const FAILED_LOOKS_MAX: u32 = 3;

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standpoint {
    /// Nobody claimed a later tenure before the look began.
    Holds,
    /// This tenure is over, for good.
    Deposed {
        /// The highest number that was claimed since; 0 when there is none: the claim's file was removed or replaced.
        by: u64,
    },
}

/// A tenure is over, as an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", in_words(*number, *by))]
pub(crate) struct Deposed {
    pub(crate) number: u64,
    pub(crate) by: u64,
}

fn in_words(number: u64, by: u64) -> String {
    if by == 0 {
        format!(
            "tenure {number} is over: {} was removed or replaced by somebody",
            claim_name(number)
        )
    } else {
        format!("tenure {number} was taken over by tenure {by}")
    }
}

impl Deposed {
    /// The one behind an error, if it is one.
    pub(crate) fn of(error: &io::Error) -> Option<&Deposed> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Deposed> for io::Error {
    fn from(deposed: Deposed) -> io::Error {
        io::Error::other(deposed)
    }
}

type Waker = Box<dyn Fn() + Send + Sync>;

/// What is locked for as long as a claim is held.
#[derive(Default)]
struct Locks {
    /// The claim's file; none once it was given up.
    claim: Option<Arc<dyn DiskLock>>,
    /// The directory's lock, when it was free.
    directory: Option<Box<dyn DiskLock>>,
}

/// The counter written last. Held while it is written, and by nobody else.
struct Lease {
    counter: u64,
    /// What the claim's file is to say, as long as there was no space for it.
    unwritten: Option<ClaimFile>,
}

impl Lease {
    fn go_on(&mut self, file: &dyn DiskFile) -> io::Result<()> {
        self.counter += 1;
        let Some(claim) = &mut self.unwritten else {
            return write_counter(file, self.counter);
        };
        claim.counter = self.counter;
        file.write_at(&claim.encode(), 0)?;
        file.sync_data()?;
        self.unwritten = None;
        Ok(())
    }
}

/// A claim that is held: shared by the store, the ticker of the lease, and whoever confirms answers.
pub struct Holding {
    disk: Arc<dyn Disk>,
    number: u64,
    /// Name of the claim that would depose this one.
    next: String,
    is_alone: bool,
    file: Arc<dyn DiskFile>,
    locks: Mutex<Locks>,
    lease: Mutex<Lease>,
    /// Looks since the last one that was answered.
    failed_looks: AtomicU32,
    /// One above the position that is durable while something behind it is on its way to the disk; 0 while nothing is.
    waiting: AtomicU64,
    /// By which tenure.
    deposed: OnceLock<u64>,
    waker: Mutex<Option<Waker>>,
}

impl fmt::Debug for Holding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Holding")
            .field("number", &self.number)
            .field("deposed", &self.deposed)
            .finish_non_exhaustive()
    }
}

/// What is behind these mutexes is whole whatever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Holding {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        number: u64,
        (file, unwritten): (Arc<dyn DiskFile>, Option<ClaimFile>),
        claim_lock: Box<dyn DiskLock>,
        directory_lock: Option<Box<dyn DiskLock>>,
        is_alone: bool,
    ) -> Holding {
        Holding {
            disk,
            number,
            next: claim_name(number + 1),
            is_alone,
            file,
            locks: Mutex::new(Locks {
                claim: Some(Arc::from(claim_lock)),
                directory: directory_lock,
            }),
            lease: Mutex::new(Lease { counter: 0, unwritten }),
            failed_looks: AtomicU32::new(0),
            waiting: AtomicU64::new(0),
            deposed: OnceLock::new(),
            waker: Mutex::new(None),
        }
    }

    /// The tenure.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the claim was made by a store that has the directory for itself.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Looks whether the next claim is there, and whether this one still is: two look-ups of names. Claims go in ascending order,
    /// each durably before the next: there is no moment at which a later one has come and gone and this one is still there.
    ///
    /// # Errors
    /// The directory cannot say. Nothing may be told that depends on it. Also when the claim was given up.
    pub fn look(&self) -> io::Result<Standpoint> {
        if let Some(by) = self.deposed() {
            return Ok(Standpoint::Deposed { by });
        }
        let claim = lock(&self.locks).claim.clone();
        let claim = claim.ok_or_else(|| io::Error::other(format!("tenure {} was given up", self.number)))?;
        if self.disk.exists(&self.next)? {
            return Ok(self.depose(self.number + 1));
        }
        if !claim.is_in_place()? {
            let newest = newest_epoch(self.disk.as_ref()).unwrap_or(0);
            return Ok(self.depose(if newest > self.number { newest } else { 0 }));
        }
        Ok(Standpoint::Holds)
    }

    /// Looks, and then lets the counter in the claim's file go on, durably; takes the directory's lock when it has become free. A full
    /// disk is none that was lost: the tenure goes on, and what there was no space for is written at a later tick.
    ///
    /// # Errors
    /// The directory cannot say, or the counter cannot be written.
    pub fn tick(&self) -> io::Result<Standpoint> {
        let mut lease = lock(&self.lease);
        let standpoint = self.look()?;
        if standpoint == Standpoint::Holds {
            match lease.go_on(self.file.as_ref()) {
                Err(error) if !is_full(&error) => return Err(error),
                _ => self.lock_directory(),
            }
        }
        Ok(standpoint)
    }

    /// Up to where everything is durable, while something behind that is on its way to the disk, or the journal has to come to an end:
    /// as long as this stays the same the disk makes no headway. Asks nothing of the disk.
    pub fn waits_for_disk(&self) -> Option<u64> {
        self.waiting.load(Ordering::Relaxed).checked_sub(1)
    }

    pub(crate) fn set_waiting(&self, durable: Option<u64>) {
        let waiting = durable.map_or(0, |durable| durable.saturating_add(1));
        self.waiting.store(waiting, Ordering::Relaxed);
    }

    /// By which tenure this one was ended, as far as anybody in this process has found out; 0 by none, see [`Standpoint`].
    /// Asks nothing of the disk.
    pub fn deposed(&self) -> Option<u64> {
        self.deposed.get().copied()
    }

    /// Why the tenure is over, in words, once somebody has found out.
    pub fn reason(&self) -> Option<String> {
        self.deposed().map(|by| in_words(self.number, by))
    }

    /// `waker` is called once, from whatever thread finds out that the tenure is over; at once when that is known.
    pub fn set_waker(&self, waker: Box<dyn Fn() + Send + Sync>) {
        *lock(&self.waker) = Some(waker);
        if self.deposed().is_some() {
            self.wake();
        }
    }

    /// An error unless the tenure holds. A store that has the directory for itself goes on when the disk cannot say, as its lock keeps
    /// others away; but not when it cannot say time and again: whose directory it is by then is anybody's guess.
    pub(crate) fn guard(&self) -> io::Result<()> {
        match self.look() {
            Ok(Standpoint::Holds) => {
                self.failed_looks.store(0, Ordering::Relaxed);
                Ok(())
            }
            Ok(Standpoint::Deposed { by }) => Err(Deposed {
                number: self.number,
                by,
            }
            .into()),
            Err(_) if self.is_alone && self.failed_looks.fetch_add(1, Ordering::Relaxed) + 1 < FAILED_LOOKS_MAX => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Lets the locks go. What is looked for afterwards is answered with an error.
    pub(super) fn release(&self) {
        *lock(&self.locks) = Locks::default();
    }

    fn depose(&self, by: u64) -> Standpoint {
        let by = *self.deposed.get_or_init(|| by);
        self.wake();
        Standpoint::Deposed { by }
    }

    fn wake(&self) {
        let waker = lock(&self.waker).take();
        if let Some(waker) = waker {
            waker();
        }
    }

    /// A predecessor that hung when this tenure began may have ended since: versions that know no claims are kept away by this.
    fn lock_directory(&self) {
        let is_wanted = |locks: &Locks| locks.claim.is_some() && locks.directory.is_none();
        if !is_wanted(&lock(&self.locks)) {
            return;
        }
        // Nobody's look waits for a disk that hangs in this.
        let taken = self.disk.lock(LOCK_NAME, &format!("tenure {}", self.number)).ok();
        let mut locks = lock(&self.locks);
        if is_wanted(&locks) {
            locks.directory = taken;
        }
    }
}
