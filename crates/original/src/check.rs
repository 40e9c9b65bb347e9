//! Reads everything once and says what was found: `seaway adopt --check`, and with a [`Taker`] the adoption itself.

use std::convert::Infallible;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::account::{self, Contents, Source, Take};
use crate::directory::{Directory, Options};
use crate::encryption::Key;
use crate::entities::{Clients, Subscription};
use crate::error::Error;
use crate::finding::{Findings, Severity};
use crate::records::{Message, ServerInfo};
use crate::report::{ChannelReport, Disk, Place, Report};

/// What the original counts for each message besides its encoding.
const COUNTED_BYTES: u64 = 40;
/// What a store of Seaway's takes besides messages: prepared segments, directories, checkpoints.
const STORE_BYTES: u64 = 192 << 20;

/// Is given everything that is taken of a directory while [`read`] goes through it, once and in order.
pub trait Taker {
    /// Why it takes no more.
    type Error;

    /// Before any channel: who wrote the directory, its clients, and what was found so far. Another finding may follow.
    ///
    /// # Errors
    /// Nothing is to be read.
    fn begin(&mut self, head: &Head<'_>) -> Result<(), Self::Error>;

    /// A channel begins.
    ///
    /// # Errors
    /// It takes no more.
    fn begin_channel(&mut self, name: &[u8]) -> Result<(), Self::Error>;

    /// A message of that channel. Sequences ascend, times need not; `payload` is decrypted where that is possible.
    ///
    /// # Errors
    /// It takes no more.
    fn message(&mut self, message: &Message<'_>, payload: &[u8]) -> Result<(), Self::Error>;

    /// A subscription of that channel, after its messages. Those that the original removes at its start are not among them.
    ///
    /// # Errors
    /// It takes no more.
    fn subscription(&mut self, subscription: &Subscription, is_online: bool) -> Result<(), Self::Error>;

    /// That channel has no message any more; the last that it had was of this sequence. Comes before its subscriptions.
    ///
    /// # Errors
    /// It takes no more.
    fn drained(&mut self, last: u64) -> Result<(), Self::Error>;

    /// The channel ends.
    ///
    /// # Errors
    /// It takes no more.
    fn end_channel(&mut self) -> Result<(), Self::Error>;

    /// Asked before each channel: whether there is any use in giving it more after the worst of what was found. What is there is read to
    /// the end all the same, for the report.
    fn goes_on(&self, worst: Option<Severity>) -> bool;
}

/// What is known of a directory before its channels are read.
#[derive(Debug)]
pub struct Head<'a> {
    /// What the server said of itself.
    pub server: Option<&'a ServerInfo>,
    /// Its clients.
    pub clients: &'a Clients,
    /// Everything odd so far.
    pub findings: &'a Findings,
}

/// Why [`read`] did not come to the end.
#[derive(Debug)]
pub enum Stopped<E> {
    /// The directory is none of NATS Streaming, or cannot be read.
    Unreadable(Error),
    /// Whoever takes it takes no more.
    NotTaken(E),
}

impl<E> From<Error> for Stopped<E> {
    fn from(error: Error) -> Self {
        Stopped::Unreadable(error)
    }
}

/// Takes nothing.
pub(crate) struct Nobody;

impl Taker for Nobody {
    type Error = Infallible;

    fn begin(&mut self, _: &Head<'_>) -> Result<(), Infallible> {
        Ok(())
    }
    fn begin_channel(&mut self, _: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }
    fn message(&mut self, _: &Message<'_>, _: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }
    fn subscription(&mut self, _: &Subscription, _: bool) -> Result<(), Infallible> {
        Ok(())
    }
    fn drained(&mut self, _: u64) -> Result<(), Infallible> {
        Ok(())
    }
    fn end_channel(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
    fn goes_on(&self, _: Option<Severity>) -> bool {
        true
    }
}

/// Reads a directory from end to end and changes nothing. `progress` hears of each channel when it was read.
///
/// # Errors
/// It is no directory of NATS Streaming, or cannot be read. Whatever its files say is in the report.
pub fn check(path: &Path, options: &Options, progress: impl FnMut(&ChannelReport)) -> Result<Report, Error> {
    read(path, options, &mut Nobody, progress).map_err(|stopped| match stopped {
        Stopped::Unreadable(error) => error,
        Stopped::NotTaken(never) => match never {},
    })
}

/// The same, and gives everything to `taker` on the way.
///
/// # Errors
/// As [`check`], and what `taker` says.
pub fn read<T: Taker>(
    path: &Path,
    options: &Options,
    taker: &mut T,
    progress: impl FnMut(&ChannelReport),
) -> Result<Report, Stopped<T::Error>> {
    let mut findings = Findings::default();
    let directory = Directory::open(path, options, &mut findings)?;
    account::take(&directory, options.raft_directory.as_deref(), findings, taker, progress)
}

impl Source for Directory {
    fn server(&self) -> Option<&ServerInfo> {
        Directory::server(self)
    }
    fn clients(&self) -> &Clients {
        Directory::clients(self)
    }
    fn key(&self) -> Option<&Key> {
        Directory::key(self)
    }
    fn channel_names(&self) -> Vec<&[u8]> {
        Directory::channel_names(self).collect()
    }
    fn channel(&self, position: usize, findings: &mut Findings, take: Take<'_>) -> Result<Contents, Error> {
        let channel = Directory::channel(self, position, findings)?;
        let mut messages = channel.messages(findings);
        while let Some(message) = messages.next()? {
            if !take(&message) {
                break;
            }
        }
        Ok(Contents {
            slices: channel.slice_count() as u64,
            subscriptions: channel.into_subscriptions(),
            last: 0,
        })
    }
    fn place(&self) -> Place {
        Place::Directory(self.path().display().to_string())
    }
    fn place_of_server(&self) -> &'static str {
        "server.dat"
    }
    fn place_of_subscriptions(&self, channel: &str) -> String {
        format!("{channel}/subs.dat")
    }
    fn counted_bytes(&self) -> u64 {
        COUNTED_BYTES
    }
    fn disk(&self, bytes: u64) -> Result<Disk, Error> {
        disk(self.path(), bytes)
    }
}

fn disk(path: &Path, bytes: u64) -> Result<Disk, Error> {
    let free_bytes = free_bytes(path).map_err(|error| Error::open(path, &error))?;
    let mut files_bytes = 0;
    let mut folders = vec![path.to_owned()];
    // The original has one level of directories; what is deeper is not its own.
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() && folder == path => folders.push(entry.path()),
                // The original's names begin with no dot, but for its lock; an adoption's do.
                Ok(metadata) if metadata.is_file() && !entry.file_name().as_bytes().starts_with(b".") => {
                    files_bytes += metadata.len();
                }
                _ => {}
            }
        }
    }
    Ok(Disk {
        files_bytes,
        needed_bytes: needed_bytes(bytes),
        free_bytes: Some(free_bytes),
    })
}

/// What a store of Seaway's takes, roughly, when its content takes so many bytes.
#[must_use]
pub fn needed_bytes(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 8).saturating_add(STORE_BYTES)
}

/// Bytes that new files may take on the file system of a directory.
///
/// # Errors
/// The operating system does not say.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let statistics = rustix::fs::statvfs(path)?;
    Ok(statistics.f_bavail.saturating_mul(statistics.f_frsize))
}
