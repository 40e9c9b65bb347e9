//! Who runs the journal's jobs: threads in a server, one at a time in a simulation.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use seaway_journal::disk::Disk;
use seaway_journal::{Commit, Driver, Journal};

/// Called from any thread when outcomes wait.
pub(crate) type Waker = Arc<dyn Fn() + Send + Sync>;

/// Who runs the jobs.
pub(crate) enum Jobs {
    /// Threads.
    Threads(Box<Threads>),
    /// Whoever calls [`Jobs::step`].
    Steps(Arc<dyn Disk>),
    /// Nobody any more.
    Closed,
}

/// The threads of a journal: its driver's, and one for commits, since nobody else runs those of a follower.
pub(crate) struct Threads {
    driver: Option<Driver>,
    commits: Option<Sender<Commit>>,
    committer: Option<JoinHandle<()>>,
    disk: Arc<dyn Disk>,
    waker: Waker,
}

impl Threads {
    pub(crate) fn start(disk: Arc<dyn Disk>, waker: Waker) -> io::Result<Threads> {
        let (commits, queue) = channel::<Commit>();
        let wake = Arc::clone(&waker);
        let committer = std::thread::Builder::new()
            .name("journal-commit".to_owned())
            .spawn(move || {
                // The journal has one commit out at a time, so the queue is as short.
                while let Ok(commit) = queue.recv() {
                    commit.run();
                    wake();
                }
            })?;
        let mut threads = Threads {
            driver: None,
            commits: Some(commits),
            committer: Some(committer),
            disk,
            waker,
        };
        threads.resume()?;
        Ok(threads)
    }

    fn resume(&mut self) -> io::Result<()> {
        let waker = Arc::clone(&self.waker);
        self.driver = Some(Driver::start(Arc::clone(&self.disk), move || waker())?);
        Ok(())
    }

    fn drive(&mut self, journal: &mut Journal) {
        let Some(driver) = &mut self.driver else { return };
        driver.drive(journal);
        if let (Some(commit), Some(commits)) = (driver.take_commit(), &self.commits) {
            let is_sent = commits.send(commit).is_ok();
            debug_assert!(is_sent, "the committer lives as long as this");
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.driver = None;
        self.commits = None;
        if let Some(committer) = self.committer.take() {
            // One that panicked has nothing left to tell.
            let _ = committer.join();
        }
    }
}

impl Jobs {
    pub(crate) fn disk(&self) -> Option<Arc<dyn Disk>> {
        match self {
            Jobs::Threads(threads) => Some(Arc::clone(&threads.disk)),
            Jobs::Steps(disk) => Some(Arc::clone(disk)),
            Jobs::Closed => None,
        }
    }

    /// The waker, when threads run the jobs.
    pub(crate) fn waker(&self) -> Option<Waker> {
        match self {
            Jobs::Threads(threads) => Some(Arc::clone(&threads.waker)),
            Jobs::Steps(_) | Jobs::Closed => None,
        }
    }

    /// Gives outcomes back and hands out what can be run; never waits.
    pub(crate) fn drive(&mut self, journal: &mut Journal) {
        if let Jobs::Threads(threads) = self {
            threads.drive(journal);
        }
    }

    /// Runs one job when nobody else does; whether there was one.
    pub(crate) fn step(&mut self, journal: &mut Journal) -> bool {
        let Jobs::Steps(disk) = self else { return false };
        let Some(job) = journal.next_job() else { return false };
        let outcome = job.run(disk.as_ref());
        journal.completed(outcome);
        true
    }

    /// Waits until no job is out, and hands out none until [`Jobs::resume`].
    pub(crate) fn halt(&mut self, journal: &mut Journal) {
        if let Jobs::Threads(threads) = self
            && let Some(driver) = threads.driver.take()
        {
            driver.halt(journal);
        }
    }

    /// Goes on after [`Jobs::halt`].
    ///
    /// # Errors
    /// The system gives no threads.
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        match self {
            Jobs::Threads(threads) => threads.resume(),
            Jobs::Steps(_) | Jobs::Closed => Ok(()),
        }
    }

    /// Makes everything that was appended lie on the disk, as far as it has room, and lets go of it.
    ///
    /// # Errors
    /// What could not be written, in words.
    pub(crate) fn close(&mut self, journal: &mut Journal) -> Result<(), String> {
        match std::mem::replace(self, Jobs::Closed) {
            Jobs::Threads(mut threads) => match threads.driver.take() {
                Some(driver) => driver.close(journal),
                None => Err("its threads could not be started again".to_owned()),
            },
            Jobs::Steps(disk) => {
                journal.submit();
                while let Some(job) = journal.next_job() {
                    let outcome = job.run(disk.as_ref());
                    journal.completed(outcome);
                    journal.submit();
                }
                journal.mark_end(disk.as_ref());
                journal.poison_reason().map_or(Ok(()), |reason| Err(reason.to_owned()))
            }
            Jobs::Closed => Ok(()),
        }
    }
}
