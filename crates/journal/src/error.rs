//! Errors of the journal, one type per family of operations.

use crate::disk::Disk;
use crate::names::LogId;
use std::io;
use std::time::Duration;

/// What stands behind "another process" of one that wrote about itself; others say nothing.
pub(crate) fn named(holder: &str) -> String {
    match holder {
        "" => String::new(),
        holder => format!(" ({holder})"),
    }
}

/// Why a journal could not be opened. Nothing was changed on disk unless the variant says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("the journal is in use by another process{}", named(holder))]
    Locked {
        /// What the holder wrote about itself.
        holder: String,
    },
    /// A restore into the directory was interrupted.
    #[error(
        "{found} is left of a restore that was interrupted, and the store is not whole: run the same `seaway restore` again, or remove \
         the files whose names begin with .restoring."
    )]
    UnfinishedRestore {
        /// One of its files.
        found: String,
    },
    /// The directory holds backups.
    #[error(
        "the directory holds backups ({found}), and no store: a server needs a directory of its own, as `seaway restore` makes one"
    )]
    Backups {
        /// A file by which they were recognised.
        found: String,
    },
    /// The directory holds the files of the original NATS Streaming server.
    #[error("the directory holds the data of the original NATS Streaming server ({found}); it is left untouched")]
    ForeignStore {
        /// A file by which it was recognised.
        found: String,
    },
    /// A file is damaged where that cannot come from an interrupted write (docs/journal-format.md §9).
    #[error("the journal is damaged: {file} at offset {offset}: {reason}")]
    Damaged {
        /// Name of the file.
        file: String,
        /// Offset in it.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A file is damaged or missing without which nobody knows what of the others counts: giving up what is damaged is no way out.
    #[error("the journal is damaged: {file} at offset {offset}: {reason}")]
    Indispensable {
        /// Name of the file.
        file: String,
        /// Offset in it.
        offset: u64,
        /// What is wrong.
        reason: String,
        /// What to do about it, in a sentence.
        remedy: String,
    },
    /// The journal is encrypted, and no key was given.
    #[error("the journal is encrypted, and no encryption key was given; nothing was changed")]
    KeyRequired,
    /// The journal is encrypted with another key than the one given.
    #[error("the encryption key is not the one with which the journal is encrypted; nothing was changed")]
    WrongKey,
    /// Damage was to be given up, as at the start before: whatever is wrong comes again, and each time something is lost.
    #[error(
        "the start before this one gave up what was damaged ({witness} says so), and this one should again: \
         start once without that, and read what was lost; if that is refused, too, remove {witness}"
    )]
    GaveUpBefore {
        /// The file that says so.
        witness: String,
    },
    /// The journal is a member's of a cluster, and was to be opened as one that stands alone.
    #[error(
        "the store belongs to a member of a cluster: what was appended to it alone nobody else would have. Start it as a member; or, if \
         the others are gone for good, tell it to leave the cluster"
    )]
    Member,
    /// What a member of a cluster promised is not known, or would not be kept: in elections, when its votes cannot be read, or of entries,
    /// when something damaged is given up. It has to join with a new node id ([`Options::votes_anew`](crate::Options::votes_anew)).
    #[error(
        "{reason}, and the store is a member's of a cluster: what it promised the others is not there, or nobody knows what that was. It has \
         to join the cluster with a new node id, as a backup that was restored has to"
    )]
    VotesUnknown {
        /// What is wrong.
        reason: String,
    },
    /// Entries cannot be cut off as was asked; the directory is as it was.
    #[error("the entries behind entry {index} of term {term} cannot be cut off: {reason}")]
    Cut {
        /// Of the entry that was to be the last.
        term: u64,
        /// See `term`.
        index: u64,
        /// Why.
        reason: String,
    },
    /// Somebody claimed a later tenure: what was read may not be all that counts. A claim was left behind, nothing else was changed
    /// or what was changed counts for nothing.
    #[error("tenure {number} was taken over by tenure {by} before the journal was open")]
    Overtaken {
        /// Of the claim with which it was to be opened.
        number: u64,
        /// The later one; 0 when the claim's file was removed instead.
        by: u64,
    },
    /// Whoever was given the state does not take it; the directory is as it was.
    #[error("{0}")]
    Refused(String),
    /// The disk is full, so that not even the first segment can be prepared.
    #[error("no space to open the journal: {0}")]
    NoSpace(io::Error),
    /// The operating system refused an operation.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was attempted.
        action: String,
        /// Its error.
        source: io::Error,
    },
}

/// Why nothing may be appended now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The disk is full; `Completion::SpaceBack` follows when it no longer is.
    #[error("no space left for new messages")]
    NoSpace,
    /// A file cannot be made for another reason, which may pass; `Completion::SpaceBack` follows when one can.
    #[error("no room for new messages: {0}")]
    NoRoom(String),
    /// A write or sync failed; the journal takes nothing more until it is opened again.
    #[error("the journal takes no more writes, and the outcome of what was not acknowledged is unknown: {0}")]
    Poisoned(String),
    /// The disk is behind; `Completion::SpaceBack` or `Completion::Durable` follows.
    #[error("the journal is behind")]
    Busy,
    /// An entry of another member is none, or not the next one; in words.
    #[error("the entry cannot be taken: {0}")]
    Entry(String),
    /// No segment can ever hold it.
    #[error("the record is too large")]
    TooLarge,
}

impl Refusal {
    /// Whether there is no room now, and there may be later: nothing is lost, and the journal goes on. Otherwise the answer stays the same.
    pub fn may_pass(&self) -> bool {
        match self {
            Refusal::NoSpace | Refusal::NoRoom(_) | Refusal::Busy => true,
            Refusal::Poisoned(_) | Refusal::Entry(_) | Refusal::TooLarge => false,
        }
    }
}

/// Why a read failed, and for which messages. What lies before them was answered, what lies after them can be asked for:
/// whether to wait, to skip them or to give up is the owner's choice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read messages {from} to {to} of log {} from the journal: {reason}", log.0)]
pub struct ReadError {
    /// The log.
    pub log: LogId,
    /// The first message that was asked for, which is the first that cannot be read; of a search, the log's oldest.
    pub from: u64,
    /// The last of those behind it that cannot be read either, as far as somebody looked.
    pub to: u64,
    /// What was written is no longer there, or the medium does not give it back after several attempts: asking again soon gives
    /// the same answer. False when the operating system had no means to read (no file left to open, no memory), which may pass.
    pub damaged: bool,
    /// File, place and reason in words.
    pub reason: String,
}

impl ReadError {
    pub(crate) fn new(log: LogId, from: u64, to: u64, error: &io::Error) -> ReadError {
        ReadError {
            log,
            from,
            to,
            damaged: is_damage(error),
            reason: error.to_string(),
        }
    }
}

/// An error as before, in other words.
pub(crate) fn reworded(error: &io::Error, text: String) -> io::Error {
    // A wrapped error has no number any more, and some have no kind of their own.
    let lacks_files = error
        .raw_os_error()
        .is_some_and(|number| [EMFILE, ENFILE].contains(&number));
    let kind = if lacks_files {
        io::ErrorKind::ResourceBusy
    } else {
        error.kind()
    };
    io::Error::new(kind, text)
}

/// Numbers of the operating system for "no file left to open", in the process and in all.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// Whether the operating system had no means to read: that says nothing of what is there.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::ResourceBusy,
        io::ErrorKind::OutOfMemory,
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::Interrupted,
    ];
    kinds.contains(&error.kind())
        || error
            .raw_os_error()
            .is_some_and(|number| [EMFILE, ENFILE].contains(&number))
}

/// Reads. What fails in a way that may pass is tried again after each of the pauses (milliseconds), and counts as damage when it
/// does not pass.
pub(crate) fn patiently<T>(disk: &dyn Disk, pauses: &[u64], mut read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut pauses = pauses.iter();
    loop {
        match read() {
            Err(error) if !is_damage(&error) && !is_refusal(&error) => match pauses.next() {
                Some(milliseconds) => disk.pause(Duration::from_millis(*milliseconds)),
                None => return Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
            },
            result => return result,
        }
    }
}

/// Whether an error says that what was written is no longer there; others may pass.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::InvalidData,
        io::ErrorKind::UnexpectedEof,
        io::ErrorKind::NotFound,
    ];
    kinds.contains(&error.kind())
}
