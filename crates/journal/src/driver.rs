//! Runs the jobs of a journal: maintenance and reads on threads of its own, commits on whichever thread the owner gives them.
//! Decides nothing. A waker is called when an outcome of its threads waits; nothing ticks.

use crate::disk::Disk;
use crate::job::{Job, Lane, Outcome};
use crate::journal::Journal;
use crate::limits::READS_MAX;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

/// Drives a [`Journal`]. Queues hold at most what the journal hands out, which is bounded.
pub struct Driver {
    /// The commit that nobody has taken yet.
    commit: Option<Job>,
    maintenance: Option<Sender<Job>>,
    readers: Option<Sender<Job>>,
    outcomes: Receiver<Outcome>,
    /// For the outcomes of commits.
    finished: Sender<Outcome>,
    outstanding: usize,
    threads: Vec<JoinHandle<()>>,
    disk: Arc<dyn Disk>,
}

impl Driver {
    /// Starts the threads of maintenance and reads. `waker` is called from them whenever an outcome waits for [`Driver::drive`].
    pub fn start(disk: Arc<dyn Disk>, waker: impl Fn() + Send + Sync + 'static) -> io::Result<Driver> {
        let waker: Arc<dyn Fn() + Send + Sync> = Arc::new(waker);
        let (outcome_sender, outcomes) = channel();
        let mut threads = Vec::new();
        let mut lane = |name: &str, count: usize| -> io::Result<Sender<Job>> {
            let (sender, receiver) = channel::<Job>();
            let receiver = Arc::new(Mutex::new(receiver));
            for _ in 0..count {
                let (receiver, outcomes) = (Arc::clone(&receiver), outcome_sender.clone());
                let (disk, waker) = (Arc::clone(&disk), Arc::clone(&waker));
                let body = move || run_lane(&receiver, &outcomes, disk.as_ref(), waker.as_ref());
                threads.push(
                    std::thread::Builder::new()
                        .name(format!("journal-{name}"))
                        .spawn(body)?,
                );
            }
            Ok(sender)
        };
        let maintenance = lane("maintain", 1)?;
        let readers = lane("read", READS_MAX.min(2))?;
        Ok(Driver {
            commit: None,
            maintenance: Some(maintenance),
            readers: Some(readers),
            outcomes,
            finished: outcome_sender,
            outstanding: 0,
            threads,
            disk,
        })
    }

    /// The directory on which it works.
    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk)
    }

    /// Gives finished jobs back to the journal and hands out new ones. Call it after changes and when woken; never blocks.
    pub fn drive(&mut self, journal: &mut Journal) {
        while let Ok(outcome) = self.outcomes.try_recv() {
            self.outstanding -= 1;
            journal.completed(outcome);
        }
        self.hand_out(journal);
    }

    /// The write and sync that somebody waits for, if there is one now. It has to be run, by any thread, for anything more to
    /// become durable; the owner then calls [`Driver::drive`].
    pub fn take_commit(&mut self) -> Option<Commit> {
        self.commit.take().map(|job| Commit {
            job,
            disk: Arc::clone(&self.disk),
            finished: self.finished.clone(),
        })
    }

    fn hand_out(&mut self, journal: &mut Journal) {
        while let Some(job) = journal.next_job() {
            self.send(job);
        }
    }

    fn send(&mut self, job: Job) {
        self.outstanding += 1;
        let lane = match job.lane() {
            Lane::Commit => {
                debug_assert!(self.commit.is_none(), "one commit is out at a time");
                self.commit = Some(job);
                return;
            }
            Lane::Maintenance => &self.maintenance,
            Lane::Reader => &self.readers,
        };
        let is_sent = lane.as_ref().is_some_and(|sender| sender.send(job).is_ok());
        debug_assert!(is_sent, "lanes live as long as the driver");
    }

    /// Waits until everything appended is durable (or the journal is poisoned) and nothing runs any more, ends the threads
    /// and gives up the lock.
    pub fn close(mut self, journal: &mut Journal) -> Result<(), String> {
        journal.begin_closing();
        loop {
            journal.submit();
            self.hand_out(journal);
            if let Some(commit) = self.take_commit() {
                commit.run();
            }
            if self.outstanding == 0 {
                break;
            }
            let Ok(outcome) = self.outcomes.recv() else { break };
            self.outstanding -= 1;
            journal.completed(outcome);
        }
        self.stop();
        journal.mark_end(self.disk.as_ref());
        journal.release_claim();
        if let Some(reason) = journal.poison_reason() {
            return Err(reason.to_owned());
        }
        if journal.synced() == journal.appended() {
            Ok(())
        } else {
            Err("no space for what was appended last".to_owned())
        }
    }

    /// Hands out no more, waits for what runs, and ends the threads: for a journal that is to be opened again
    /// ([`Journal::cut_behind`]). What was appended may not be on the disk.
    pub fn halt(mut self, journal: &mut Journal) {
        if let Some(commit) = self.take_commit() {
            commit.run();
        }
        while self.outstanding > 0 {
            let Ok(outcome) = self.outcomes.recv() else { break };
            self.outstanding -= 1;
            journal.completed(outcome);
        }
        self.stop();
    }

    fn stop(&mut self) {
        self.maintenance = None;
        self.readers = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to tell.
            let _ = thread.join();
        }
    }
}

/// The write and sync of one batch.
pub struct Commit {
    job: Job,
    disk: Arc<dyn Disk>,
    finished: Sender<Outcome>,
}

impl Commit {
    /// Runs it, which takes as long as the disk takes.
    pub fn run(self) {
        let outcome = run_timed(self.job, self.disk.as_ref());
        // A driver that is gone has nobody left to tell.
        let _ = self.finished.send(outcome);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run_timed(job: Job, disk: &dyn Disk) -> Outcome {
    let started = Instant::now();
    let mut outcome = job.run(disk);
    outcome.elapsed = started.elapsed();
    outcome
}

fn run_lane(
    receiver: &Mutex<Receiver<Job>>,
    outcomes: &Sender<Outcome>,
    disk: &dyn Disk,
    waker: &(dyn Fn() + Send + Sync),
) {
    loop {
        let job = {
            // Nothing but receiving happens under the lock, so a thread that panicked there left a receiver that works.
            let receiver = receiver.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            receiver.recv()
        };
        let Ok(job) = job else { return };
        if outcomes.send(run_timed(job, disk)).is_err() {
            return;
        }
        waker();
    }
}
