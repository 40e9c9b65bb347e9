//! A thread that runs commits, for whatever program includes this file.

use std::sync::mpsc::{Sender, channel};
use std::thread::Thread;

use seaway_journal::Commit;

/// Starts the thread; it unparks the owner after each commit and ends with the sender.
pub(crate) fn committer(owner: Thread) -> Sender<Commit> {
    let (commits, waiting) = channel::<Commit>();
    std::thread::spawn(move || {
        for commit in waiting {
            commit.run();
            owner.unpark();
        }
    });
    commits
}
