//! Jobs: everything the journal wants done to the disk, as values that a thread (or a simulator) runs. A job does I/O and
//! nothing else; what follows from its outcome is decided in `Journal::completed`.

use crate::claim::{Claim, Fenced};
use crate::directory::{Detail, Directory, Entry, Extent, Run, Source, Span, damaged, read_summary};
use crate::directory_file::{read_or_mend, write_directory};
use crate::disk::{Disk, DiskFile};
use crate::encryption::{EncryptionHeader, Keys};
use crate::entry;
use crate::entry_read::{self, EntryJob};
use crate::error::{is_damage, patiently};
use crate::fetch::{ReadJob, Unread, gather, read};
use crate::format::{Identity, SegmentHeader, SegmentId};
use crate::limits::{PIECE_BYTES, READ_PAUSES_MS, SEEK_JUMPS_MAX, SEGMENT_BYTES_TRIED};
use crate::messages::{Fetched, Ticket};
use crate::names::LogId;
use crate::planted::{Fault, is_planted};
use crate::vote;
use crate::whole_file::{remove_if_there, write_piece};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Which thread a job belongs to. Jobs of one lane never run at the same time, except reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// The write and sync that somebody waits for.
    Commit,
    /// Preparing, sealing, checkpoints, removal, rewriting.
    Maintenance,
    /// Cold reads, of which several may run at once; and votes, which may wait neither for commits nor for maintenance.
    Reader,
}

/// Something to be done to the disk.
pub struct Job {
    pub(crate) kind: JobKind,
    /// For whom it is done: what may not be done any more when that is over, is not.
    pub(crate) claim: Claim,
}

pub(crate) enum JobKind {
    Commit {
        file: Arc<dyn DiskFile>,
        offset: u64,
        bytes: Arc<Vec<u8>>,
        /// Zeros to be written behind them.
        zeros: u64,
        sync: bool,
        /// A file without which nobody will find what is written, when that is looked for.
        needed: Arc<str>,
    },
    Prepare(PrepareJob),
    Seal {
        identity: Identity,
        id: SegmentId,
        extent: Extent,
        details: Arc<Vec<Detail>>,
        encrypted: bool,
        shorten: Option<Arc<dyn DiskFile>>,
    },
    WriteCheckpoint {
        name: String,
        file: Option<Arc<dyn DiskFile>>,
        offset: u64,
        bytes: Vec<u8>,
    },
    PublishCheckpoint {
        file: Arc<dyn DiskFile>,
        from: String,
        to: String,
        /// Segments to be synced before it counts.
        unsynced: Vec<String>,
    },
    Remove {
        names: Vec<String>,
        set_aside: Option<(String, String)>,
    },
    Runs {
        identity: Identity,
        id: SegmentId,
        source: Source,
    },
    Gather {
        identity: Identity,
        keys: Option<Arc<Keys>>,
        id: SegmentId,
        source: Source,
        parts: Vec<(LogId, Span)>,
    },
    Continue,
    /// Writes down a vote.
    Vote {
        slot: Vec<u8>,
        offset: u64,
    },
    Entry(EntryJob),
    Read(ReadJob),
    Seek(SeekJob),
    Windows {
        identity: Identity,
        parts: Vec<WindowPart>,
    },
}

pub(crate) struct PrepareJob {
    pub(crate) identity: Identity,
    pub(crate) encryption: Option<EncryptionHeader>,
    /// It is a member's of a cluster.
    pub(crate) is_clustered: bool,
    pub(crate) id: SegmentId,
    pub(crate) capacity: u64,
    /// Bytes that must stay free on the disk beside the segment.
    pub(crate) headroom: u64,
    /// A dead segment's file, already set aside under this name, at least `capacity` long.
    pub(crate) recycled: Option<String>,
}

pub(crate) struct SeekJob {
    pub(crate) identity: Identity,
    pub(crate) id: SegmentId,
    pub(crate) source: Source,
    pub(crate) entry: u32,
    pub(crate) count: u32,
    /// Sequence of the first of them.
    pub(crate) first: u64,
    pub(crate) timestamp: i64,
    pub(crate) ticket: Ticket,
    pub(crate) log: LogId,
    /// The answer when no message of the searched ones is late enough.
    pub(crate) otherwise: u64,
}

/// What the entries of a window's part are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowUse {
    /// The head window of this generation.
    Head(u64),
    /// Only the sum before the first of them: a range whose base is not exact.
    Recount,
}

pub(crate) struct WindowPart {
    pub(crate) wanted_for: WindowUse,
    pub(crate) id: SegmentId,
    pub(crate) source: Source,
    pub(crate) log: LogId,
    pub(crate) from: u64,
    pub(crate) span: Span,
}

/// What became of a job.
pub struct Outcome {
    pub(crate) kind: OutcomeKind,
    /// Directories that were damaged and made again, in words.
    pub(crate) repaired: Vec<String>,
    /// How long it took; zero unless whoever ran it measured.
    pub elapsed: Duration,
}

pub(crate) enum OutcomeKind {
    Commit(io::Result<()>),
    Prepare {
        result: io::Result<Arc<dyn DiskFile>>,
    },
    Seal {
        /// The new length of the segment's file.
        shortened: io::Result<Option<u64>>,
        directory: Arc<Directory>,
        /// Length of the directory's file.
        written: io::Result<u64>,
    },
    WriteCheckpoint {
        bytes: u64,
        result: io::Result<Arc<dyn DiskFile>>,
    },
    /// Whether it counts.
    PublishCheckpoint(io::Result<()>),
    Remove(Removed),
    Runs(io::Result<Vec<Run>>),
    Gather(io::Result<Fetched>),
    Continue,
    Vote(io::Result<()>),
    Entry {
        ticket: Ticket,
        segment: SegmentId,
        index: u64,
        result: io::Result<entry::Entry>,
    },
    Read {
        read: u64,
        id: SegmentId,
        result: Result<Fetched, Unread>,
    },
    Seek {
        id: SegmentId,
        ticket: Ticket,
        log: LogId,
        result: io::Result<u64>,
        /// What was left out.
        remark: Option<String>,
    },
    Windows(Vec<FetchedWindow>),
}

/// What became of a removal.
pub(crate) struct Removed {
    /// Files that are still there.
    pub(crate) left: Vec<String>,
    /// Whether the file to be set aside was, durably.
    pub(crate) is_set_aside: bool,
    /// The first thing that failed.
    pub(crate) error: Option<io::Error>,
}

pub(crate) struct FetchedWindow {
    pub(crate) wanted_for: WindowUse,
    pub(crate) id: SegmentId,
    pub(crate) log: LogId,
    pub(crate) from: u64,
    /// Entries asked for.
    pub(crate) count: u32,
    pub(crate) result: io::Result<(u32, Vec<Entry>)>,
}

impl Job {
    /// The lane of this job.
    pub fn lane(&self) -> Lane {
        match self.kind {
            JobKind::Commit { .. } => Lane::Commit,
            JobKind::Read(_)
            | JobKind::Seek(_)
            | JobKind::Windows { .. }
            | JobKind::Entry(_)
            | JobKind::Vote { .. } => Lane::Reader,
            _ => Lane::Maintenance,
        }
    }

    /// Does the work. Never panics on what the disk holds; errors are part of the outcome.
    pub fn run(self, disk: &dyn Disk) -> Outcome {
        let mut repaired = Vec::new();
        let disk = &Fenced::new(disk, self.claim.held());
        let kind = match self.kind {
            JobKind::Commit {
                file,
                offset,
                bytes,
                zeros,
                sync,
                needed,
            } => OutcomeKind::Commit(
                file.write_at(&bytes, offset)
                    .and_then(|()| write_zeros(file.as_ref(), offset + bytes.len() as u64, zeros))
                    .and_then(|()| {
                        if is_planted(Fault::LookBeforeSync) {
                            disk.holding().guard()
                        } else {
                            Ok(())
                        }
                    })
                    .and_then(|()| if sync { file.sync_data() } else { Ok(()) })
                    .and_then(|()| look_behind_sync(disk))
                    .and_then(|()| expect(disk, &needed)),
            ),
            JobKind::Prepare(job) => OutcomeKind::Prepare {
                result: prepare(disk, &job),
            },
            JobKind::Seal {
                identity,
                id,
                extent,
                details,
                encrypted,
                shorten,
            } => {
                let directory = Directory::build(id, extent, &details, encrypted);
                seal(disk, &identity, directory, shorten)
            }
            JobKind::WriteCheckpoint {
                name,
                file,
                offset,
                bytes,
            } => OutcomeKind::WriteCheckpoint {
                bytes: bytes.len() as u64,
                result: file
                    .map_or_else(|| disk.create(&name), Ok)
                    .and_then(|file| file.write_at(&bytes, offset).map(|()| file)),
            },
            JobKind::PublishCheckpoint {
                file,
                from,
                to,
                unsynced,
            } => OutcomeKind::PublishCheckpoint(
                sync_all(disk, &unsynced).and_then(|()| publish(disk, file.as_ref(), &from, &to)),
            ),
            JobKind::Remove { names, set_aside } => OutcomeKind::Remove(remove(disk, names, set_aside)),
            JobKind::Runs { identity, id, source } => {
                OutcomeKind::Runs(read_or_mend(disk, &identity, id, &source, &mut repaired, |source| {
                    runs(disk, &identity, id, source)
                }))
            }
            JobKind::Gather {
                identity,
                keys,
                id,
                source,
                parts,
            } => OutcomeKind::Gather(gather(
                disk,
                &identity,
                keys.as_deref(),
                id,
                &source,
                &parts,
                &mut repaired,
            )),
            JobKind::Continue => OutcomeKind::Continue,
            JobKind::Vote { slot, offset } => OutcomeKind::Vote(vote::write(disk, &slot, offset)),
            JobKind::Entry(job) => OutcomeKind::Entry {
                ticket: job.ticket,
                segment: job.segment,
                index: job.meta.id.index,
                result: entry_read::read(disk, &job),
            },
            JobKind::Read(job) => OutcomeKind::Read {
                read: job.read,
                id: job.id,
                result: read(disk, &job, &mut repaired),
            },
            JobKind::Seek(job) => {
                let (result, remark) = seek(disk, &job, &mut repaired);
                OutcomeKind::Seek {
                    id: job.id,
                    ticket: job.ticket,
                    log: job.log,
                    result,
                    remark,
                }
            }
            JobKind::Windows { identity, parts } => OutcomeKind::Windows(
                parts
                    .into_iter()
                    .map(|part| FetchedWindow {
                        wanted_for: part.wanted_for,
                        id: part.id,
                        log: part.log,
                        from: part.from,
                        result: patiently(disk, &READ_PAUSES_MS, || {
                            read_or_mend(disk, &identity, part.id, &part.source, &mut repaired, |source| {
                                source.span(disk, &identity, part.id, &part.span)
                            })
                        }),
                        count: part.span.count,
                    })
                    .collect(),
            ),
        };
        Outcome {
            kind,
            repaired,
            elapsed: Duration::ZERO,
        }
    }
}

/// Whoever claims from here on reads what was written. `Err` when somebody did before.
fn look_behind_sync(disk: &Fenced<'_>) -> io::Result<()> {
    if is_planted(Fault::NoLook) || is_planted(Fault::LookBeforeSync) {
        return Ok(());
    }
    disk.holding().guard()
}

/// `Err` when a file is gone. When the disk cannot say the journal goes on.
fn expect(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.exists(name) {
        Ok(false) => Err(io::Error::other(format!("{name} was removed by somebody"))),
        _ => Ok(()),
    }
}

fn write_zeros(file: &dyn DiskFile, offset: u64, count: u64) -> io::Result<()> {
    if count == 0 {
        return Ok(());
    }
    file.write_at(&vec![0; count as usize], offset)
}

/// Makes a segment file that batches can be written to, durably.
pub(crate) fn prepare(disk: &Fenced<'_>, job: &PrepareJob) -> io::Result<Arc<dyn DiskFile>> {
    let name = job.id.file_name();
    let header = SegmentHeader {
        identity: job.identity,
        id: job.id,
        capacity: job.capacity,
        is_clustered: job.is_clustered,
        encryption: job.encryption,
    }
    .encode();
    if let Some(recycled) = &job.recycled {
        let file = disk.open(recycled)?;
        disk.before_removal()?;
        file.write_at(&header, 0)?;
        // A batch of the file's earlier use must not be taken for the first one of the new segment.
        file.write_at(&[0; crate::batch::BATCH_HEADER_BYTES], header.len() as u64)?;
        file.sync_data()?;
        disk.rename(recycled, &name)?;
        disk.sync_directory()?;
        return Ok(file);
    }
    // The last that is asked for is tried: what a file system keeps back for some users, and whether this is one, only it knows.
    let is_tried = job.headroom == 0 && job.capacity <= SEGMENT_BYTES_TRIED;
    if !is_tried && disk.space_available()? < job.capacity.saturating_add(job.headroom) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let unfinished = format!("{name}.preparing");
    // What an earlier attempt, stopped by a full disk, may have left.
    remove_if_there(disk, &unfinished)?;
    let file = disk.create(&unfinished)?;
    let written = (|| {
        file.write_at(&header, 0)?;
        match file.allocate(job.capacity) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            allocated => return allocated.and_then(|()| file.sync_data()),
        }
        let zeros = vec![0; PIECE_BYTES.min(job.capacity as usize)];
        let mut offset = header.len() as u64;
        while offset < job.capacity {
            let piece = (job.capacity - offset).min(zeros.len() as u64);
            write_piece(file.as_ref(), &zeros[..piece as usize], offset)?;
            offset += piece;
        }
        Ok(())
    })();
    if let Err(error) = written {
        // Gives the space back. If the removal fails too, the next start removes the file.
        let _ = disk.remove(&unfinished);
        return Err(error);
    }
    disk.rename(&unfinished, &name)?;
    disk.sync_directory()?;
    Ok(file)
}

fn seal(
    disk: &Fenced<'_>,
    identity: &Identity,
    directory: Directory,
    shorten: Option<Arc<dyn DiskFile>>,
) -> OutcomeKind {
    let directory = Arc::new(directory);
    let shortened = shorten.map_or(Ok(None), |file| {
        let length = directory.extent.end.next_multiple_of(4_096);
        // A file that cannot be cut only costs space; after a cut its length has to be synced.
        if disk.before_removal().is_err() || file.set_length(length).is_err() {
            return Ok(None);
        }
        file.sync_data().map(|()| Some(length))
    });
    OutcomeKind::Seal {
        shortened,
        written: write_directory(disk, identity, &directory),
        directory,
    }
}

/// Syncs what was written to these files; one that is gone is needed no more.
fn sync_all(disk: &dyn Disk, names: &[String]) -> io::Result<()> {
    for name in names {
        match disk.open(name).and_then(|file| file.sync_data()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn publish(disk: &Fenced<'_>, file: &dyn DiskFile, from: &str, to: &str) -> io::Result<()> {
    file.sync_data()?;
    disk.rename(from, to)?;
    disk.sync_directory()
}

fn remove(disk: &Fenced<'_>, names: Vec<String>, set_aside: Option<(String, String)>) -> Removed {
    let mut removed = Removed {
        left: Vec::new(),
        is_set_aside: false,
        error: None,
    };
    for name in names {
        if let Err(error) = remove_if_there(disk, &name) {
            removed.left.push(name);
            removed.error.get_or_insert(error);
        }
    }
    let aside = set_aside.map(|(from, to)| match disk.rename(&from, &to) {
        Ok(()) => Ok(to),
        Err(error) => {
            removed.error.get_or_insert(error);
            Err(from)
        }
    });
    let synced = disk.sync_directory();
    match aside {
        None => {}
        // Before its new name is durable nothing may be written to it: it might come back under the old one.
        Some(Ok(_)) if synced.is_ok() => removed.is_set_aside = true,
        Some(Ok(name) | Err(name)) => removed.left.push(name),
    }
    if let Err(error) = synced {
        removed.error.get_or_insert(error);
    }
    removed
}

fn runs(disk: &dyn Disk, identity: &Identity, id: SegmentId, source: &Source) -> io::Result<Vec<Run>> {
    match source {
        Source::Memory(directory) => Ok(directory.runs.clone()),
        Source::File { .. } => match read_summary(disk, identity, id)? {
            Ok(summary) => Ok(summary.runs),
            Err(reason) => Err(damaged(id, &reason)),
        },
    }
}

/// First sequence whose time is not before the one sought. Where times cannot be read it is the first that may be meant.
fn seek(disk: &Fenced<'_>, job: &SeekJob, repaired: &mut Vec<String>) -> (io::Result<u64>, Option<String>) {
    let sought = patiently(disk, &READ_PAUSES_MS, || {
        read_or_mend(disk, &job.identity, job.id, &job.source, repaired, |source| {
            search(job, |entry| {
                time_of(disk, job, source, entry).map(|time| Some((entry, time)))
            })
        })
    });
    match sought {
        Err(error) if is_damage(&error) => {
            let remark = format!(
                "Times of some messages of log {} cannot be read, a search for a time may begin before them: {error}",
                job.log.0
            );
            (search(job, |entry| readable_from(disk, job, entry)), Some(remark))
        }
        result => (result, None),
    }
}

/// `at_or_after` gives the first entry from one on whose time is known, and the time.
fn search(job: &SeekJob, at_or_after: impl Fn(u32) -> io::Result<Option<(u32, i64)>>) -> io::Result<u64> {
    let (mut low, mut high) = (job.entry, job.entry + job.count);
    while low < high {
        let middle = low + (high - low) / 2;
        match at_or_after(middle)? {
            Some((known, time)) if known < high && time < job.timestamp => low = known + 1,
            _ => high = middle,
        }
    }
    if low == job.entry + job.count {
        Ok(job.otherwise)
    } else {
        Ok(job.first + u64::from(low - job.entry))
    }
}

fn time_of(disk: &dyn Disk, job: &SeekJob, source: &Source, entry: u32) -> io::Result<i64> {
    let entries = source.entries(disk, &job.identity, job.id, entry..entry + 1)?;
    let entry = entries.first().ok_or_else(|| damaged(job.id, "an entry is missing"))?;
    Ok(entry.timestamp)
}

/// The first entry from `entry` on whose page can be read, if one of the next few pages can.
fn readable_from(disk: &dyn Disk, job: &SeekJob, entry: u32) -> io::Result<Option<(u32, i64)>> {
    let mut entry = entry;
    for _ in 0..SEEK_JUMPS_MAX {
        if entry >= job.entry + job.count {
            break;
        }
        match time_of(disk, job, &job.source, entry) {
            Ok(time) => return Ok(Some((entry, time))),
            Err(error) if is_damage(&error) => entry += job.source.left_in_page(entry),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
