//! A store that was restored and has not got its names yet is made another: with some of its channels, or of another cluster. What an engine
//! does when an operator deletes channels and disconnects clients is done to it, so that a start finds what it would find then.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use seaway_store::{Completion, Encryption, FileOptions, FileStore, Recovering, Store as _};
use seaway_streaming::bus::Silence;
use seaway_streaming::{
    Asked, Change, ChangeId, Effects, Engine, Event, Input, Limits, LimitsTable, Now, Options, Timestamp,
};

use crate::error::Error;

/// Nothing wakes who waits only when nothing is under way: then he looks again after this.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often in a row somebody may wait for that in vain.
const WAITS_MAX: usize = 600;
const NO_ROOM: &str = "it takes no change: is there room on the disk for some segments more?";
/// Channels and clients that are under way at the same time.
const ASKED_MAX: usize = 256;

/// What a store is to become.
#[derive(Clone, Copy)]
pub struct Refit<'a> {
    /// Whether a channel of this name stays, with its messages and subscriptions.
    pub keeps: &'a dyn Fn(&[u8]) -> bool,
    /// Its new cluster ID. Clients are known to the old cluster: they are closed, and their durables stay, for who connects again.
    pub cluster_id: Option<&'a str>,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refitted {
    /// Channels that stayed.
    pub kept: usize,
    /// Names of those that went, as text.
    pub left_out: Vec<String>,
    /// Clients that were closed.
    pub clients: usize,
}

/// The store and its engine.
struct Running {
    engine: Engine,
    store: FileStore,
    woken: Receiver<()>,
    asked: u64,
    now: Now,
}

/// Changes the store whose files lie in a directory under the names of an unfinished restore. The key is needed when it is encrypted.
/// It may be interrupted anywhere: then the restore begins again.
///
/// # Errors
/// No server would start on the store, the key is missing or wrong, or it cannot be written.
pub fn refit(directory: &Path, encryption: Option<Encryption>, refit: Refit<'_>) -> Result<Refitted, Error> {
    let mut running = Running::open(directory, encryption)?;
    let names = running.engine.exported_channels().map(|channel| channel.name.to_vec());
    let (kept, gone): (Vec<Vec<u8>>, Vec<Vec<u8>>) = names.partition(|name| (refit.keeps)(name));
    let mut refitted = Refitted {
        kept: kept.len(),
        left_out: gone
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect(),
        clients: 0,
    };
    let failed = |problem: String| Error::store(directory, problem);
    for some in gone.chunks(ASKED_MAX) {
        let changes = some.iter().map(|channel| Change::Delete { channel, force: true });
        running.change(changes).map_err(failed)?;
    }
    // What is refused, for want of room as a rule, must not look as if it had been done.
    let is_left = |channel: &[u8]| !(refit.keeps)(channel);
    if running.engine.exported_channels().any(|channel| is_left(channel.name)) {
        return Err(failed(NO_ROOM.to_owned()));
    }
    if let Some(cluster_id) = refit.cluster_id {
        let clients: Vec<Vec<u8>> = running
            .engine
            .exported_clients()
            .map(|client| client.name.to_vec())
            .collect();
        refitted.clients = clients.len();
        for some in clients.chunks(ASKED_MAX) {
            let changes = some.iter().map(|client| Change::Disconnect { client });
            running.change(changes).map_err(failed)?;
        }
        if running.engine.exported_clients().next().is_some() {
            return Err(failed(NO_ROOM.to_owned()));
        }
        running.effect(|engine, effects| engine.change_cluster(cluster_id, effects));
    }
    running.settle().map_err(failed)?;
    running.store.close().map_err(failed)?;
    Ok(refitted)
}

impl Running {
    fn open(directory: &Path, encryption: Option<Encryption>) -> Result<Running, Error> {
        let mut engine = Engine::new(Options {
            // Nothing goes for a limit of nobody's.
            limits: LimitsTable::from(Limits::default()),
            ..Options::default()
        });
        let (waker, woken) = sync_channel(1);
        // One call is as good as many.
        let waking = move || {
            let _ = waker.try_send(());
        };
        let mut recovering = Recovering::of_any_cluster(&mut engine);
        let options = FileOptions {
            encryption,
            ..FileOptions::default()
        };
        let store = FileStore::open_restored(directory, options, waking, &mut recovering);
        let store = store.map_err(|error| Error::store(directory, error))?;
        recovering
            .finish()
            .map_err(|problem| Error::store(directory, problem))?;
        let wall = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        let mut running = Running {
            engine,
            store,
            woken,
            asked: 0,
            now: Now {
                monotonic: 1,
                wall: Timestamp(wall),
            },
        };
        let now = running.now;
        let started = running.effect(|engine, effects| engine.start(now, effects));
        started.map_err(|error| Error::store(directory, error))?;
        Ok(running)
    }

    fn effect<T>(&mut self, act: impl FnOnce(&mut Engine, &mut Effects<'_>) -> T) -> T {
        let mut events = |_: Event<'_>| {};
        act(
            &mut self.engine,
            &mut Effects::new(&mut self.store, &mut Silence, &mut events),
        )
    }

    /// Asks for changes, and waits until they are made and durable.
    fn change<'a>(&mut self, changes: impl Iterator<Item = Change<'a>>) -> Result<(), String> {
        let now = self.now;
        for change in changes {
            self.asked += 1;
            let asked = Asked {
                id: ChangeId(self.asked),
                by: b"seaway restore",
                is_rehearsal: false,
                change,
            };
            self.effect(|engine, effects| engine.handle(now, Input::Change(asked), effects));
        }
        self.settle()
    }

    /// Goes on until nothing is left to be done, written or told.
    fn settle(&mut self) -> Result<(), String> {
        let now = self.now;
        let mut completions = Vec::new();
        let mut waits = 0;
        loop {
            self.effect(|engine, effects| engine.handle(now, Input::EndOfPass, effects));
            self.store.submit();
            if let Some(commit) = self.store.take_commit() {
                commit();
            }
            self.store.poll(&mut completions);
            let is_quiet = completions.is_empty();
            for completion in completions.drain(..) {
                if let Completion::Poisoned(reason) = &completion {
                    return Err(reason.clone());
                }
                self.effect(|engine, effects| completion.feed(|input| engine.handle(now, input, effects)));
            }
            let is_written = self.engine.waiting_answers() == 0 && self.store.statistics().backlog_bytes == 0;
            if is_quiet && is_written && !self.engine.wants_end_of_pass() {
                return Ok(());
            }
            if is_quiet && !self.engine.wants_end_of_pass() {
                let is_woken = self.woken.recv_timeout(PATIENCE).is_ok();
                waits = if is_woken { 0 } else { waits + 1 };
                if waits > WAITS_MAX {
                    return Err(NO_ROOM.to_owned());
                }
            }
        }
    }
}
