//! The archive of a server (`-archive DIR`): a directory from which its store can be had as it was at any moment. `docs/backup.md`
//! describes its format.
//!
//! ```text
//! archive-20260131T091500.123Z-<16 digits>.link   what was written since the link before it, or everything
//! piece-<SHA-256>                                 bytes of files of the store
//! *.writing                                       unfinished
//! ```
//!
//! A link names its predecessor by content, so links form chains. One that has everything is a *base*: a checkpoint, and every file that a
//! start on it needs. A chain that goes on without a hole is a [`Stretch`]: every moment from its first base on can be had. Where nothing
//! continues what is there (a gap, a store that was restored), a new chain begins with a base; the old one stays what it is.
//!
//! Several servers of a group may write here at once, one of which has been deposed and does not know it: names say what is in a file, no
//! file is changed, and what a deposed server adds was durable, so that it is a piece of the same history. There is no lock that one that
//! hangs could keep.

mod archiver;
mod link;
mod moment;
mod prune;
mod stretch;
mod verify;

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use seaway_journal::disk::{Disk, real::RealDisk};
use seaway_journal::has_epoch;

use crate::error::{Error, io_error};
use crate::names::is_link;
use crate::repository::is_repository;

pub use archiver::{Archived, Archiver, Step};
pub use moment::Moment;
pub use prune::Pruned;
pub use stretch::{Reach, Stretch};
pub use verify::{HistoryVerified, StretchVerified};

const PIECE: &str = "piece-";
const UNFINISHED: &str = ".writing";

/// See the module.
#[derive(Clone)]
pub struct History {
    disk: Arc<dyn Disk>,
}

fn piece_file(sha256: &str) -> String {
    format!("{PIECE}{sha256}")
}

/// A moment as text for people; one that no clock shows is the nearest that one does.
pub(crate) fn shown(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default()
}

impl History {
    /// The archive in a directory, which is made when it is not there.
    ///
    /// # Errors
    /// It is a store, or a directory of backups; or what the operating system says.
    pub fn open(directory: &Path) -> Result<History, Error> {
        let shown = directory.display();
        let disk = RealDisk::new(directory).map_err(io_error(format!("use {shown}")))?;
        if has_epoch(&disk).map_err(io_error(format!("list {shown}")))? {
            return Err(Error::Refused(format!(
                "{shown} is a store: an archive needs a directory of its own"
            )));
        }
        if is_repository(directory).map_err(io_error(format!("list {shown}")))? {
            return Err(Error::Refused(format!(
                "{shown} holds backups: an archive needs a directory of its own"
            )));
        }
        Ok(History::open_on(Arc::new(disk)))
    }

    /// The archive in a directory that is there.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn existing(directory: &Path) -> Result<History, Error> {
        let disk = RealDisk::existing(directory).map_err(io_error(format!("read {}", directory.display())))?;
        Ok(History::open_on(Arc::new(disk)))
    }

    /// The archive on any disk.
    pub fn open_on(disk: Arc<dyn Disk>) -> History {
        History { disk }
    }

    /// Names of links, in the order of the moments up to which they are complete.
    fn link_names(&self) -> Result<Vec<String>, Error> {
        let mut names = self.disk.file_names().map_err(io_error("list the archive"))?;
        names.retain(|name| is_link(name));
        names.sort_unstable();
        Ok(names)
    }
}
