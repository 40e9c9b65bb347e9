//! The archive of what serves (docs/backup.md, "To any moment"): a thread of its own copies what is new in the store to a directory, so that
//! nobody waits for that. An archive that takes nothing is told of and tried again; meanwhile the store keeps what is not in it, within its
//! bound. No failure here ends or holds up anything else.

mod report;

use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use seaway_backup::{Archived, Archiver, Error, History};
use seaway_config::{ArchiveOptions, format_size};
use tokio::sync::oneshot;

use crate::engine::Inbox;
use crate::limits::{
    ARCHIVE_AGAIN_AT_ONCE_BYTES, ARCHIVE_BACK_OFF_MAX, ARCHIVE_BACK_OFF_MIN, ARCHIVE_EARLY_FRACTION, ARCHIVE_EVERY,
    ARCHIVE_LAST_PATIENCE, ARCHIVE_LOOKED_EVERY, ARCHIVE_PRUNED_EVERY, ARCHIVE_TOLD_EVERY,
};
pub(crate) use report::{Report, Reported};

/// The thread that archives one life of the engine. It is left to itself when this is dropped: it may hang in the archive's disk, which
/// nobody else waits for.
pub(crate) struct Archiving {
    control: Arc<Control>,
    ended: oneshot::Receiver<()>,
}

/// What the thread is to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    GoOn,
    /// Archive what is there, once, and end.
    Finish,
    /// End as soon as that is possible.
    End,
}

struct Control {
    command: Mutex<Command>,
    changed: Condvar,
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, Command> {
        self.command.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, command: Command) {
        *self.lock() = command;
        self.changed.notify_all();
    }

    /// Waits until something else is to be done, or so long.
    fn wait(&self, patience: Duration) -> Command {
        let waiting = self
            .changed
            .wait_timeout_while(self.lock(), patience, |command| *command == Command::GoOn);
        *waiting.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Archiving {
    /// Begins; `member` tells this process from others that write to the same archive.
    ///
    /// # Errors
    /// The operating system gave no thread.
    pub(crate) fn begin(
        options: &ArchiveOptions,
        member: &str,
        inbox: Arc<Inbox>,
        report: Report,
    ) -> std::io::Result<Archiving> {
        let control = Arc::new(Control {
            command: Mutex::new(Command::GoOn),
            changed: Condvar::new(),
        });
        report.begin(options.max_backlog);
        let (end, ended) = oneshot::channel();
        let mut rounds = Rounds {
            options: options.clone(),
            token: format!("{member}{:08x}", fastrand::u32(..)),
            inbox,
            report,
            archiver: None,
            place: None,
            gap: None,
            position: None,
            archived: None,
            failing: None,
            pruned: None,
        };
        let told = Arc::clone(&control);
        let builder = std::thread::Builder::new().name("archive".to_owned());
        builder.spawn(move || {
            rounds.run(&told);
            drop(end);
        })?;
        Ok(Archiving { control, ended })
    }

    /// Archives what is there now, as far as that does not take long: the next start archives the rest.
    pub(crate) async fn finish(&mut self) {
        self.control.order(Command::Finish);
        // Nothing is sent: the other end goes.
        let _ = tokio::time::timeout(ARCHIVE_LAST_PATIENCE, &mut self.ended).await;
    }
}

impl Drop for Archiving {
    fn drop(&mut self) {
        self.control.order(Command::End);
    }
}

/// Attempts that fail, one after the other.
struct Failing {
    since: Instant,
    back_off: Duration,
    reason: String,
    told: Instant,
}

/// What the thread does, and knows.
struct Rounds {
    options: ArchiveOptions,
    token: String,
    inbox: Arc<Inbox>,
    report: Report,
    archiver: Option<Archiver>,
    /// The archive's directory: its file system and its number there.
    place: Option<(u64, u64)>,
    /// A hole that is to be told of.
    gap: Option<String>,
    /// Position up to which everything is archived, and when it was.
    position: Option<u64>,
    archived: Option<Instant>,
    failing: Option<Failing>,
    /// When what need not be kept was removed last.
    pruned: Option<Instant>,
}

impl Rounds {
    fn run(&mut self, control: &Control) {
        tracing::info!(target: "stream", "Archiving to {}", self.options.directory.display());
        let mut patience = Duration::ZERO;
        loop {
            let command = control.wait(patience);
            if command == Command::End {
                return;
            }
            patience = match self.look(command == Command::Finish) {
                Ok(patience) => patience,
                Err(Stop::Engine) => return,
                // Who is to end does not complain of what ends.
                Err(Stop::Failed(_)) if *control.lock() != Command::GoOn => return,
                Err(Stop::Failed(reason)) => self.failed(reason),
            };
            if command == Command::Finish {
                return;
            }
        }
    }

    /// Archives what is new when it is time for that, or the store keeps much for it; how long to wait before the next look. While nothing
    /// is written that is seldom.
    fn look(&mut self, is_last: bool) -> Result<Duration, Stop> {
        let (answer, answered) = oneshot::channel();
        self.inbox.ask(Box::new(move |glance| {
            let statistics = glance.store.statistics();
            // Whoever asked may have gone.
            let _ = answer.send((statistics.position.0, statistics.unarchived_bytes));
        }));
        let (position, unarchived) = answered.blocking_recv().map_err(|_| Stop::Engine)?;
        let is_failing = self.failing.is_some();
        if self.position == Some(position) && !is_failing {
            return Ok(ARCHIVE_EVERY);
        }
        let is_due = self.archived.is_none_or(|archived| archived.elapsed() >= ARCHIVE_EVERY);
        let is_much = unarchived > self.options.max_backlog / ARCHIVE_EARLY_FRACTION;
        if !(is_due || is_much || is_failing || is_last) {
            return Ok(ARCHIVE_LOOKED_EVERY);
        }
        let copied = self.round()?;
        self.archived = Some(Instant::now());
        self.went_on();
        self.prune();
        Ok(match copied >= ARCHIVE_AGAIN_AT_ONCE_BYTES {
            true => Duration::ZERO,
            false => ARCHIVE_LOOKED_EVERY,
        })
    }

    /// Archives what is new; how many bytes that was.
    fn round(&mut self) -> Result<u64, Stop> {
        self.report.step();
        let copied = self.attempt();
        self.report.rest();
        copied
    }

    fn attempt(&mut self) -> Result<u64, Stop> {
        let mut archiver = self.open().map_err(|error| Stop::Failed(error.to_string()))?;
        let place = self.look_at_directory()?;
        let archived = self.archive(&mut archiver);
        self.archiver = Some(archiver);
        let mut archived = archived?;
        if self.look_at_directory()? != place {
            return Err(self.is_elsewhere());
        }
        self.position = Some(archived.position);
        archived.gap = archived.gap.or(self.gap.take());
        if let Some(gap) = &archived.gap {
            let directory = self.options.directory.display();
            tracing::warn!(target: "stream", "The archive in {directory} has a gap: {gap}");
        }
        self.report.archived(&archived);
        Ok(archived.bytes)
    }

    /// The archiver; after a failure the directory is looked up anew, which may be another one meanwhile.
    fn open(&mut self) -> Result<Archiver, Error> {
        let directory = &self.options.directory;
        match self.archiver.take() {
            None => {
                let report = self.report.clone();
                // Made at the start only: where one was before, another empty one would be no archive.
                let history = match self.place {
                    None => History::open(directory)?,
                    Some(_) => History::existing(directory)?,
                };
                let archiver = Archiver::new(history, &self.token);
                Ok(archiver.watched(Arc::new(move || report.step())))
            }
            Some(archiver) if self.failing.is_none() => Ok(archiver),
            Some(mut archiver) => match History::existing(directory) {
                Ok(history) => {
                    archiver.go_on_in(history);
                    Ok(archiver)
                }
                Err(error) => {
                    self.archiver = Some(archiver);
                    Err(error)
                }
            },
        }
    }

    /// Which directory that is: its file system and its number there. Another one than the last time has nothing of what was archived.
    fn look_at_directory(&mut self) -> Result<(u64, u64), Stop> {
        let directory = &self.options.directory;
        let found = std::fs::metadata(directory)
            .map_err(|error| Stop::Failed(format!("look at {}: {error}", directory.display())))?;
        let place = (found.dev(), found.ino());
        match self.place.replace(place) {
            Some(before) if before != place => Err(self.is_elsewhere()),
            _ => Ok(place),
        }
    }

    /// The next attempt goes on with what is there now, and says what is missing of it.
    fn is_elsewhere(&mut self) -> Stop {
        let words = format!(
            "{} is another directory than before: was a file system mounted there, or taken away? What was archived is not in this one",
            self.options.directory.display()
        );
        self.archiver = None;
        self.position = None;
        self.gap = Some(words.clone());
        Stop::Failed(words)
    }

    fn archive(&self, archiver: &mut Archiver) -> Result<Archived, Stop> {
        let planned = self.inbox.archive_image().blocking_recv();
        let (at, open) = planned.map_err(|_| Stop::Engine)?.map_err(Stop::Failed)?;
        let image = open().map_err(|error| Stop::Failed(format!("the store cannot be read: {error}")))?;
        let archived = archiver.archive(&image, at);
        archived.map_err(|error| Stop::Failed(error.to_string()))
    }

    /// Notes a failure; how long to wait before the next attempt.
    fn failed(&mut self, reason: String) -> Duration {
        let now = Instant::now();
        let before = self.failing.take();
        let back_off = before.as_ref().map_or(ARCHIVE_BACK_OFF_MIN, |failing| {
            (failing.back_off * 2).min(ARCHIVE_BACK_OFF_MAX)
        });
        let told = before.as_ref().filter(|failing| failing.reason == reason);
        let told = told
            .map(|failing| failing.told)
            .filter(|told| now < *told + ARCHIVE_TOLD_EVERY);
        if told.is_none() {
            tracing::warn!(
                target: "stream",
                "Nothing is archived to {}: {reason}. It is tried again until it succeeds; up to {} of files that could go are kept for it \
                 (archive_max_backlog)",
                self.options.directory.display(),
                format_size(self.options.max_backlog)
            );
        }
        self.report.failed(&reason);
        self.failing = Some(Failing {
            since: before.map_or(now, |failing| failing.since),
            back_off,
            reason,
            told: told.unwrap_or(now),
        });
        back_off
    }

    fn went_on(&mut self) {
        if let Some(failing) = self.failing.take() {
            let seconds = failing.since.elapsed().as_secs();
            let reached = self.report.get().and_then(|reported| reported.until);
            tracing::info!(
                target: "stream",
                "Archiving goes on after {seconds} s; the archive reaches to {}",
                reached.and_then(moment).map_or_else(|| "no moment yet".to_owned(), |moment| moment.to_string())
            );
        }
    }

    /// Removes what need not be kept, now and then.
    fn prune(&mut self) {
        let Some(keep) = self.options.keep else { return };
        let is_due = self
            .pruned
            .is_none_or(|pruned| pruned.elapsed() >= ARCHIVE_PRUNED_EVERY);
        let Some(archiver) = self.archiver.as_ref().filter(|_| is_due) else {
            return;
        };
        self.pruned = Some(Instant::now());
        let before =
            nanoseconds(SystemTime::now()).saturating_sub_unsigned(u64::try_from(keep.as_nanos()).unwrap_or(u64::MAX));
        match archiver.history().prune(before) {
            Ok(pruned) if pruned.links == 0 => {}
            Ok(pruned) => tracing::info!(
                target: "stream",
                "Removed from the archive what only moments before {} need: {} in {} pieces",
                moment(before).unwrap_or_default(),
                format_size(pruned.bytes),
                pruned.pieces
            ),
            Err(error) => {
                tracing::warn!(target: "stream", "What is older than archive_keep stays in the archive: {error}");
            }
        }
    }
}

/// Why a round came to no end.
enum Stop {
    /// There is no engine any more.
    Engine,
    /// In words why.
    Failed(String),
}

fn nanoseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A moment as text for people.
pub(crate) fn moment(nanoseconds: i64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()
}
