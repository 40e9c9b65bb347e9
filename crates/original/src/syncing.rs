//! Files that are complete become durable on a thread of their own, while others are written.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::error::Error;

/// Files that may wait for the disk; then the writer waits, too.
const WAITING_MAX: usize = 16;

/// See the module.
pub(crate) struct Syncing {
    files: SyncSender<(PathBuf, File)>,
    thread: JoinHandle<()>,
    /// The first failure; then nothing more is synced.
    failure: Receiver<Error>,
}

impl Syncing {
    pub(crate) fn begin() -> Result<Syncing, Error> {
        let (files, received) = sync_channel::<(PathBuf, File)>(WAITING_MAX);
        let (failed, failure) = sync_channel(1);
        let run = move || {
            for (path, file) in received {
                if let Err(error) = file.sync_all() {
                    // Nobody hears of it only when the writer has ended.
                    let _ = failed.send(Error::write(&path, &error));
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("export-sync".to_owned()).spawn(run);
        let thread = thread.map_err(|error| {
            Error::new(
                Path::new("."),
                format!("no thread can be started: {error}"),
                "let the system have more of them",
            )
        })?;
        Ok(Syncing { files, thread, failure })
    }

    /// Takes a file that nothing more is written to.
    pub(crate) fn take(&self, file: (PathBuf, File)) -> Result<(), Error> {
        self.files.send(file).map_err(|_| self.failed())
    }

    /// Takes a folder: names in it become durable.
    pub(crate) fn take_folder(&self, path: &Path) -> Result<(), Error> {
        let folder = File::open(path).map_err(|error| Error::write(path, &error))?;
        self.take((path.to_owned(), folder))
    }

    /// Waits until everything is durable.
    pub(crate) fn finish(self) -> Result<(), Error> {
        drop(self.files);
        let ended = self.thread.join();
        match (self.failure.try_recv(), ended) {
            (Ok(error), _) => Err(error),
            (Err(_), Ok(())) => Ok(()),
            (Err(_), Err(_)) => Err(ended_early()),
        }
    }

    fn failed(&self) -> Error {
        self.failure.recv().unwrap_or_else(|_| ended_early())
    }
}

fn ended_early() -> Error {
    Error::new(
        Path::new("."),
        "the thread that syncs has ended",
        "this is a fault of Seaway's: report it",
    )
}
