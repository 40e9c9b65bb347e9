//! Filling a new store as fast as its disk takes it: while one batch is written and synced by a thread of its own, the next is
//! gathered.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use seaway_store::{Commit, Completion, FileOptions, FileStore, Recovery, Store as _};
use seaway_streaming::{ChannelId, Need, Records as _, Urgency};

use crate::error::Error;
use crate::facts::Facts;

/// Bytes that may wait for the disk before the reader waits for it, too.
const BACKLOG_BYTES: usize = 16 << 20;
/// Room is asked for so many bytes at once.
const GRANT_BYTES: usize = 256 << 10;
/// Facts of the checkpoint between two looks at what the disk has done.
const CHECKPOINT_SLICE: usize = 1_024;
/// More than a record takes besides its body.
const FACT_OVERHEAD: usize = 64;
/// Nothing wakes the owner only when nothing is under way: then it looks again after this.
const PATIENCE: Duration = Duration::from_secs(1);

/// A store that is being filled.
pub(crate) struct Bulk {
    directory: PathBuf,
    store: FileStore,
    /// None once it ends.
    commits: Option<SyncSender<Commit>>,
    committer: Option<JoinHandle<()>>,
    woken: Receiver<()>,
    /// Bytes that may be appended without another question.
    granted: usize,
}

/// A new store recovers nothing.
struct Nothing;

impl Recovery for Nothing {
    fn fact(&mut self, _: u8, _: &[u8]) {}
    fn channel_deleted(&mut self, _: ChannelId) {}
    fn channel(&mut self, _: ChannelId, _: u64, _: u64, _: u64, _: i64) {}
}

impl Bulk {
    /// Begins a store beside whatever `directory` holds; what is left of an earlier attempt was discarded.
    pub(crate) fn begin(directory: &Path, options: FileOptions) -> Result<Bulk, Error> {
        let failed = |problem: String| Error::store(directory, problem);
        // One call is as good as many.
        let (waker, woken) = sync_channel(1);
        let wake = waker.clone();
        let waking = move || {
            let _ = wake.try_send(());
        };
        let store = FileStore::open_beside(directory, options, waking, &mut Nothing);
        let store = store.map_err(|error| failed(error.to_string()))?;
        let (commits, received) = sync_channel::<Commit>(1);
        let committer = std::thread::Builder::new()
            .name("adopt-commit".to_owned())
            .spawn(move || {
                for commit in received {
                    commit();
                    let _ = waker.try_send(());
                }
            })
            .map_err(|error| failed(format!("cannot start a thread: {error}")))?;
        Ok(Bulk {
            directory: directory.to_owned(),
            store,
            commits: Some(commits),
            committer: Some(committer),
            woken,
            granted: 0,
        })
    }

    /// The store, with room for one more record of `bytes` bytes.
    pub(crate) fn room_for(&mut self, bytes: usize) -> Result<&mut FileStore, Error> {
        if self.granted < bytes {
            let wanted = bytes.max(GRANT_BYTES);
            self.pass()?;
            loop {
                let pressure = self.store.pressure(wanted);
                if !pressure.is_behind && pressure.backlog_bytes <= BACKLOG_BYTES {
                    break;
                }
                self.wait()?;
            }
            let admitted = self.store.admission(Need::Ordinary, wanted);
            admitted.map_err(|refusal| self.failed(refusal))?;
            self.granted = wanted;
        }
        self.granted -= bytes;
        Ok(&mut self.store)
    }

    /// Appends facts from one on.
    pub(crate) fn facts_from(&mut self, facts: &Facts, first: usize) -> Result<(), Error> {
        for index in first..facts.len() {
            let (kind, body) = facts.get(index);
            self.room_for(body.len() + FACT_OVERHEAD)?
                .append_fact(kind, body, Urgency::Lazy);
        }
        Ok(())
    }

    /// Makes everything durable, writes a checkpoint of all facts, so that a start need not read everything, and closes the store.
    pub(crate) fn finish(mut self, facts: &Facts) -> Result<(), Error> {
        loop {
            self.pass()?;
            let pressure = self.store.pressure(0);
            if pressure.backlog_bytes == 0 && !pressure.lazy {
                break;
            }
            self.wait()?;
        }
        if !self.store.begin_checkpoint() {
            return Err(self.failed("no checkpoint can be begun"));
        }
        for index in 0..facts.len() {
            let (kind, body) = facts.get(index);
            self.store.checkpoint_fact(kind, body);
            if index % CHECKPOINT_SLICE == 0 {
                self.pass()?;
            }
        }
        self.store.finish_checkpoint();
        while self.store.statistics().checkpoints == 0 {
            self.wait()?;
        }
        self.end_commits();
        self.store
            .close()
            .map_err(|problem| Error::store(&self.directory, problem))
    }

    /// Hands what was appended to the disk, unless it is busy, and hears what it has done.
    fn pass(&mut self) -> Result<(), Error> {
        self.store.submit();
        let mut completions = Vec::new();
        self.store.poll(&mut completions);
        if let (Some(commit), Some(commits)) = (self.store.take_commit(), &self.commits) {
            // One is out at a time, so there is room; a thread that ended has panicked.
            if commits.send(commit).is_err() {
                return Err(self.failed("the thread that writes has ended"));
            }
        }
        for completion in completions {
            match completion {
                Completion::Poisoned(reason) | Completion::CheckpointAbandoned(reason) => {
                    return Err(self.failed(reason));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits until something has happened.
    fn wait(&mut self) -> Result<(), Error> {
        let _ = self.woken.recv_timeout(PATIENCE);
        self.pass()
    }

    fn failed(&self, problem: impl ToString) -> Error {
        Error::store(&self.directory, problem)
    }

    fn end_commits(&mut self) {
        self.commits = None;
        if let Some(committer) = self.committer.take() {
            // One that panicked has nothing left to write.
            let _ = committer.join();
        }
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        self.end_commits();
    }
}
