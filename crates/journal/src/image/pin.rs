//! A word between whoever copies an image and the journal that keeps its files: each says when it lets go. No lock, no wait.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const HELD: u8 = 0;
const RELEASED: u8 = 1;
const NO_SPACE: u8 = 2;
const ENDED: u8 = 3;
const ARCHIVED: u8 = 4;
const OUTGROWN: u8 = 5;

/// See the module.
#[derive(Default)]
pub(crate) struct Pin(AtomicU8);

impl Pin {
    /// Whether the journal has to keep the files.
    pub(crate) fn is_held(&self) -> bool {
        self.0.load(Ordering::SeqCst) == HELD
    }

    /// The files are not needed any more.
    fn release(&self) {
        self.leave(RELEASED);
    }

    /// Everything of them is archived.
    pub(super) fn archive(&self) {
        self.leave(ARCHIVED);
    }

    /// Whether everything of them is archived.
    pub(crate) fn is_archived(&self) -> bool {
        self.0.load(Ordering::SeqCst) == ARCHIVED
    }

    /// The journal gives them up for their space. Before it touches one of them: a reader looks behind each read.
    pub(crate) fn give_up(&self) {
        self.leave(NO_SPACE);
    }

    /// The journal gives them up because it keeps too much for the archive.
    pub(crate) fn outgrow(&self) {
        self.leave(OUTGROWN);
    }

    /// The journal ends, and keeps nothing any more.
    fn end(&self) {
        self.leave(ENDED);
    }

    /// The first word counts.
    fn leave(&self, state: u8) {
        let _ = self.0.compare_exchange(HELD, state, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// For a reader: whether the files are kept.
    pub(crate) fn check(&self) -> io::Result<()> {
        Err(io::Error::other(match self.0.load(Ordering::SeqCst) {
            HELD => return Ok(()),
            NO_SPACE => "the server needed the space of the files that it kept to be copied: its disk is full",
            OUTGROWN => "the server kept as much as it may for the archive, and keeps nothing any more",
            ENDED => "the server stopped, or serves no more, while its store was copied",
            _ => "the image was released",
        }))
    }
}

/// The journal's end: it keeps nothing any more when this is dropped.
pub(crate) struct Kept(pub(crate) Arc<Pin>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Lets go when it is dropped.
pub(crate) struct Grip(pub(crate) Arc<Pin>);

impl Drop for Grip {
    fn drop(&mut self) {
        self.0.release();
    }
}
