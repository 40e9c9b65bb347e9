//! The file store: messages and facts in the journal; acknowledged means synced.

use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use seaway_journal::disk::{Disk, prefixed::PrefixedDisk, real::RealDisk};
use seaway_journal::{
    Claim, Completion as Finished, DamagePolicy, Driver, Encryption, Identity, Image, Journal, LogId, OpenError,
    Opened, Options, RESTORING_PREFIX, ReadError,
};
use seaway_streaming::{
    Admission, ChannelId, Head, Lookup, Need, Position, ReadRequest, Records, Seek, Ticket, Urgency,
};

use crate::beside::PREFIX;
use crate::journaled::{self, Replaying, completion};
use crate::port::{Commit, Completion, OpenImage, Pressure, Recovery, Statistics, Store};
use crate::progress::Progress;

/// Bytes that may wait for the disk before the journal itself refuses; the owner holds publishes back long before.
const BACKLOG_BYTES_MAX: u64 = 256 << 20;

/// The file store.
pub struct FileStore {
    // Before the journal: a store that is dropped keeps its lock until none of its jobs runs any more.
    jobs: Jobs,
    journal: Journal,
    finished: Vec<Finished>,
    /// The operator was told that the disk is full, and not yet that it no longer is.
    full: bool,
    stops_at_damage: bool,
    /// It stopped.
    is_told: bool,
    opening_warnings: Vec<String>,
    /// When the newest checkpoint of this process became durable; for monitoring only.
    checkpoint_at: Option<Instant>,
}

/// Who runs the journal's jobs.
enum Jobs {
    Threads(Box<Driver>),
    /// The owner, one job at a time.
    Steps(Arc<dyn Disk>),
    /// Nobody any more.
    Closed,
}

/// How a file store is opened.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// Whether what is acknowledged is synced first (`-file_sync`).
    pub synced: bool,
    /// Whether what is damaged is given up instead of refused (`-file_truncate_bad_eof`).
    pub give_up_damage: bool,
    /// Whether a message that turns out to be damaged takes the store out of service (`-file_stop_at_damage`); otherwise it is passed over.
    pub stop_at_damage: bool,
    /// How what is written is encrypted; needed for a store that is encrypted.
    pub encryption: Option<Encryption>,
    /// Filled while the store recovers.
    pub progress: Arc<Progress>,
    /// The store is archived ([`Store::archive_image`]), and keeps so many bytes of files for that which could go otherwise.
    pub unarchived_bytes_max: Option<u64>,
    /// The claim to the directory with which the store is opened, when others may claim it, too. Without one the store has the
    /// directory for itself: it is locked, and the store makes a claim of its own.
    pub claim: Option<Claim>,
}

impl Default for FileOptions {
    fn default() -> FileOptions {
        FileOptions {
            synced: true,
            give_up_damage: false,
            stop_at_damage: false,
            encryption: None,
            progress: Arc::default(),
            unarchived_bytes_max: None,
            claim: None,
        }
    }
}

/// Sizes of a stepped store: small ones bring rare events forward.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Capacity of segments.
    pub segment_bytes: u64,
    /// Memory from which the newest messages are served.
    pub cache_bytes: usize,
    /// Bytes written after which a checkpoint is asked for.
    pub checkpoint_bytes: u64,
    /// As in [`FileOptions`].
    pub unarchived_bytes_max: Option<u64>,
}

/// Why a file store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileStoreError {
    /// The directory cannot be used.
    #[error("cannot use the store directory {directory}: {source}")]
    Directory {
        /// The directory.
        directory: String,
        /// Why.
        source: std::io::Error,
    },
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The directory holds no store.
    #[error("there is no store")]
    NoStore,
    /// Its threads cannot be started.
    #[error("cannot start the store's threads: {0}")]
    Threads(std::io::Error),
}

impl FileStore {
    /// Opens the store in `directory`, creating it when it is empty. `waker` is called from other threads
    /// when [`Store::poll`] has something to say.
    ///
    /// # Errors
    /// See [`FileStoreError`]; nothing that is not understood is changed.
    pub fn open(
        directory: &Path,
        options: FileOptions,
        waker: impl Fn() + Send + Sync + 'static,
        recovery: &mut dyn Recovery,
    ) -> Result<FileStore, FileStoreError> {
        FileStore::open_on(Arc::new(real_disk(directory)?), options, waker, recovery)
    }

    /// Opens the store that is made in `directory` beside other files (see [`beside`](crate::beside)); otherwise as [`FileStore::open`].
    ///
    /// # Errors
    /// See [`FileStoreError`].
    pub fn open_beside(
        directory: &Path,
        options: FileOptions,
        waker: impl Fn() + Send + Sync + 'static,
        recovery: &mut dyn Recovery,
    ) -> Result<FileStore, FileStoreError> {
        let disk = PrefixedDisk::new(real_disk(directory)?, PREFIX);
        FileStore::open_on(Arc::new(disk), options, waker, recovery)
    }

    /// Opens the store that a restore has put into `directory` and not given its names yet; otherwise as [`FileStore::open`].
    ///
    /// # Errors
    /// See [`FileStoreError`].
    pub fn open_restored(
        directory: &Path,
        options: FileOptions,
        waker: impl Fn() + Send + Sync + 'static,
        recovery: &mut dyn Recovery,
    ) -> Result<FileStore, FileStoreError> {
        let disk = real_disk(directory)?.for_owner();
        let disk = disk.map_err(|source| unusable(directory, source))?;
        let disk = PrefixedDisk::new(disk, RESTORING_PREFIX);
        FileStore::open_on(Arc::new(disk), options, waker, recovery)
    }

    /// Opens the store on a disk of the caller's; otherwise as [`FileStore::open`].
    ///
    /// # Errors
    /// See [`FileStoreError`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        options: FileOptions,
        waker: impl Fn() + Send + Sync + 'static,
        recovery: &mut dyn Recovery,
    ) -> Result<FileStore, FileStoreError> {
        let (progress, stops_at_damage) = (options.progress, options.stop_at_damage);
        let options = Options {
            sync: options.synced,
            damage: if options.give_up_damage {
                DamagePolicy::CutThere
            } else {
                DamagePolicy::Stop
            },
            encryption: options.encryption,
            unarchived_bytes_max: options.unarchived_bytes_max,
            claim: options.claim,
            backlog_bytes_max: BACKLOG_BYTES_MAX,
            ..Options::new(fresh_identity())
        };
        let mut store = FileStore::open_with(disk, options, progress, waker, recovery)?;
        store.stops_at_damage = stops_at_damage;
        Ok(store)
    }

    pub(crate) fn open_with(
        disk: Arc<dyn Disk>,
        options: Options,
        progress: Arc<Progress>,
        waker: impl Fn() + Send + Sync + 'static,
        recovery: &mut dyn Recovery,
    ) -> Result<FileStore, FileStoreError> {
        let (journal, opened) = Journal::open(&disk, options, &mut Replaying { recovery, progress })?;
        let driver = Driver::start(disk, waker).map_err(FileStoreError::Threads)?;
        let mut store = FileStore {
            jobs: Jobs::Threads(Box::new(driver)),
            journal,
            finished: Vec::new(),
            full: false,
            stops_at_damage: false,
            is_told: false,
            opening_warnings: opening_warnings(&opened),
            checkpoint_at: None,
        };
        store.drive();
        Ok(store)
    }

    /// Opens the store on a disk whose jobs the owner runs with [`FileStore::step`], with a claim when others may claim it, too: for
    /// simulations.
    ///
    /// # Errors
    /// See [`FileStoreError`].
    pub fn open_stepped(
        disk: Arc<dyn Disk>,
        sizes: Sizes,
        claim: Option<Claim>,
        recovery: &mut dyn Recovery,
    ) -> Result<FileStore, FileStoreError> {
        let options = Options {
            claim,
            segment_bytes_max: sizes.segment_bytes,
            tail_cache_bytes: sizes.cache_bytes,
            checkpoint_bytes: sizes.checkpoint_bytes,
            unarchived_bytes_max: sizes.unarchived_bytes_max,
            ..Options::new([7; 16])
        };
        let (journal, opened) = Journal::open(
            &disk,
            options,
            &mut Replaying {
                recovery,
                progress: Arc::default(),
            },
        )?;
        let opening_warnings = opening_warnings(&opened);
        Ok(FileStore {
            jobs: Jobs::Steps(disk),
            journal,
            finished: Vec::new(),
            full: false,
            stops_at_damage: false,
            is_told: false,
            opening_warnings,
            checkpoint_at: None,
        })
    }

    /// Runs one job of a stepped store; whether there was one.
    pub fn step(&mut self) -> bool {
        let Jobs::Steps(disk) = &self.jobs else { return false };
        let Some(job) = self.journal.next_job() else {
            return false;
        };
        let outcome = job.run(disk.as_ref());
        self.journal.completed(outcome);
        true
    }

    /// The epoch that an opening of the store in `directory` would begin: one above all that its files name, from 1. A directory
    /// that cannot be read says 1; opening it says what is wrong.
    pub fn next_epoch(directory: &Path) -> u64 {
        let newest = RealDisk::new(directory).and_then(|disk| seaway_journal::newest_epoch(&disk));
        newest.unwrap_or(0) + 1
    }

    /// Whether the store in `directory` could be opened with this key, as far as that shows without opening it; changes nothing.
    ///
    /// # Errors
    /// See [`FileStoreError`].
    pub fn check_fit(directory: &Path, encryption: Option<&Encryption>) -> Result<(), FileStoreError> {
        // Of what is there: nothing is made for a look.
        let disk = RealDisk::existing(directory).map_err(|source| unusable(directory, source))?;
        Ok(seaway_journal::check_fit(&disk, encryption)?)
    }

    /// The epoch that this opening began.
    pub fn epoch(&self) -> u64 {
        self.journal.epoch()
    }

    /// What the operator should know of how the store was found: an interrupted write that was cut, unknown files.
    pub fn opening_warnings(&self) -> &[String] {
        &self.opening_warnings
    }

    fn disk(&self) -> Result<Arc<dyn Disk>, String> {
        match &self.jobs {
            Jobs::Threads(driver) => Ok(driver.disk()),
            Jobs::Steps(disk) => Ok(Arc::clone(disk)),
            Jobs::Closed => Err("the store is closed".to_owned()),
        }
    }

    fn drive(&mut self) {
        if let Jobs::Threads(driver) = &mut self.jobs {
            driver.drive(&mut self.journal);
        }
    }
}

/// Makes the directory of a store, and those above it that are missing, durably and for nobody but this user. One that is there stays as
/// it is.
///
/// # Errors
/// What the operating system says.
pub fn make_directory(directory: &Path) -> std::io::Result<()> {
    RealDisk::new(directory).map(drop)
}

fn real_disk(directory: &Path) -> Result<RealDisk, FileStoreError> {
    RealDisk::new(directory).map_err(|source| unusable(directory, source))
}

pub(crate) fn unusable(directory: &Path, source: std::io::Error) -> FileStoreError {
    FileStoreError::Directory {
        directory: directory.display().to_string(),
        source,
    }
}

pub(crate) fn fresh_identity() -> Identity {
    // Names a journal among others; a guess gains nothing.
    let mut bytes = [0; 16];
    fastrand::fill(&mut bytes);
    bytes
}

pub(crate) fn opening_warnings(opened: &Opened) -> Vec<String> {
    let cut = opened.cut.as_ref().map(|cut| {
        let (file, offset, reason) = (&cut.file, cut.offset, &cut.reason);
        if cut.is_torn {
            format!("An interrupted write was cut from {file} at offset {offset}: {reason}")
        } else {
            format!("{file} is damaged at offset {offset}: {reason}")
        }
    });
    cut.into_iter().chain(opened.remarks.iter().cloned()).collect()
}

impl Records for FileStore {
    fn append_message(&mut self, channel: ChannelId, sequence: u64, timestamp: i64, body: &[&[u8]]) -> Position {
        Position(self.journal.append_message(LogId(channel.0), sequence, timestamp, body))
    }

    fn append_fact(&mut self, kind: u8, body: &[u8], urgency: Urgency) -> Position {
        Position(self.journal.append_fact(kind, body, urgency == Urgency::Sync))
    }

    fn trim(&mut self, channel: ChannelId, first: u64) -> Position {
        Position(self.journal.trim(LogId(channel.0), first, &[]))
    }

    fn delete_channel(&mut self, channel: ChannelId) -> Position {
        Position(self.journal.delete_log(LogId(channel.0), &[], true))
    }

    fn admission(&mut self, need: Need, bytes: usize) -> Admission {
        journaled::admission(&mut self.journal, need, bytes)
    }

    fn head(&mut self, channel: ChannelId) -> Head {
        self.head_from(channel, 0)
    }

    fn head_from(&mut self, channel: ChannelId, from: u64) -> Head {
        let head = journaled::head_from(&mut self.journal, channel, from);
        if head == Head::Reading {
            self.drive();
        }
        head
    }

    fn live_bytes(&self, channel: ChannelId, messages: u64) -> u64 {
        journaled::live_bytes(&self.journal, channel, messages)
    }

    fn seek(&mut self, ticket: Ticket, channel: ChannelId, timestamp: i64) -> Seek {
        self.journal.seek(ticket.0, LogId(channel.0), timestamp);
        self.drive();
        Seek::Reading
    }

    fn read(&mut self, request: ReadRequest) {
        let (messages_max, bytes_max) = (request.messages_max as usize, request.bytes_max as usize);
        let log = LogId(request.channel.0);
        self.journal
            .read(request.ticket.0, log, request.from, messages_max, bytes_max);
        self.drive();
    }

    fn message(&self, channel: ChannelId, sequence: u64) -> Lookup<'_> {
        match self.journal.message(LogId(channel.0), sequence) {
            Poll::Ready(Some(body)) => Lookup::Hot(body),
            Poll::Ready(None) => Lookup::Missing,
            Poll::Pending => Lookup::Cold,
        }
    }

    fn durable(&self) -> Position {
        Position(self.journal.durable())
    }

    fn checkpoint_fact(&mut self, kind: u8, body: &[u8]) {
        // A checkpoint that was given up meanwhile takes no facts; the journal has said so and asks again.
        let _ = self.journal.checkpoint_fact(kind, body);
    }

    fn finish_checkpoint(&mut self) {
        let _ = self.journal.finish_checkpoint();
        self.drive();
    }
}

impl Store for FileStore {
    fn refusing(&self) -> Option<String> {
        self.journal.refusal().map(|refusal| refusal.to_string())
    }

    fn pressure(&mut self, wanted: usize) -> Pressure {
        if self.journal.poison_reason().is_some() {
            return Pressure::default();
        }
        // Who asks for room that there is not has the journal try to make some.
        let need = seaway_journal::Need::Ordinary;
        let is_behind = wanted > 0 && self.journal.admission(wanted as u64, need) == Err(seaway_journal::Refusal::Busy);
        if is_behind {
            self.drive();
        }
        Pressure {
            is_behind,
            urgent: self.journal.has_urgent(),
            lazy: self.journal.has_unsubmitted(),
            backlog_bytes: usize::try_from(self.journal.backlog_bytes()).unwrap_or(usize::MAX),
        }
    }

    fn submit(&mut self) {
        self.journal.submit();
        self.drive();
    }

    fn take_commit(&mut self) -> Option<Commit> {
        let Jobs::Threads(driver) = &mut self.jobs else {
            return None;
        };
        let commit = driver.take_commit()?;
        Some(Box::new(move || commit.run()))
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) {
        self.drive();
        self.journal.poll(&mut self.finished);
        for finished in self.finished.drain(..) {
            if matches!(finished, Finished::CheckpointDone(_)) {
                self.checkpoint_at = Some(Instant::now());
            }
            let finished = match self.stops_at_damage {
                true => stop_at(finished, &mut self.is_told, completions),
                false => finished,
            };
            completions.extend(completion(finished, &mut self.full));
        }
    }

    fn begin_checkpoint(&mut self) -> bool {
        self.journal.begin_checkpoint().is_ok()
    }

    fn image(&mut self) -> Result<OpenImage, String> {
        let disk = self.disk()?;
        let plan = self.journal.image()?;
        Ok(Box::new(move || Image::open(plan, disk)))
    }

    fn is_archived(&self) -> bool {
        self.journal.is_archived()
    }

    fn tell_time(&mut self, timestamp: i64) {
        self.journal.tell_time(timestamp);
    }

    fn archive_image(&mut self) -> Result<OpenImage, String> {
        let disk = self.disk()?;
        let plan = self.journal.archive_image()?;
        Ok(Box::new(move || Image::open(plan, disk)))
    }

    fn statistics(&self) -> Statistics {
        journaled::statistics(&self.journal, self.checkpoint_at)
    }

    fn close(&mut self) -> Result<(), String> {
        match std::mem::replace(&mut self.jobs, Jobs::Closed) {
            Jobs::Threads(driver) => driver.close(&mut self.journal),
            Jobs::Steps(disk) => {
                self.journal.submit();
                while let Some(job) = self.journal.next_job() {
                    let outcome = job.run(disk.as_ref());
                    self.journal.completed(outcome);
                    self.journal.submit();
                }
                self.journal.mark_end(disk.as_ref());
                Ok(())
            }
            Jobs::Closed => Ok(()),
        }
    }
}

/// Takes the store out of service when a read found damage, once. To who asked it is as if it may pass: nobody passes over it.
fn stop_at(finished: Finished, is_told: &mut bool, completions: &mut Vec<Completion>) -> Finished {
    match finished {
        Finished::Read {
            ticket,
            log,
            messages: Err(error),
        } if error.damaged => {
            if !std::mem::replace(is_told, true) {
                completions.push(Completion::Poisoned(format!("{error} (-file_stop_at_damage)")));
            }
            let damaged = false;
            Finished::Read {
                ticket,
                log,
                messages: Err(ReadError { damaged, ..error }),
            }
        }
        other => other,
    }
}
