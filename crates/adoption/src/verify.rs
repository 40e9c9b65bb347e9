//! A store that was made is opened once before it counts, as a server will open it.

use std::collections::BTreeMap;
use std::path::Path;

use seaway_store::{FileOptions, FileStore, Recovering, Recovery, Store as _};
use seaway_streaming::{ChannelId, Engine, Options};

use crate::error::Error;

/// First and last sequence of each channel with messages, by its id.
pub(crate) type Bounds = BTreeMap<u64, (u64, u64)>;

struct Checking<'a> {
    recovering: Recovering<'a>,
    found: Bounds,
    lost: u64,
}

impl Recovery for Checking<'_> {
    fn fact(&mut self, kind: u8, body: &[u8]) {
        self.recovering.fact(kind, body);
    }
    fn channel_deleted(&mut self, channel: ChannelId) {
        self.recovering.channel_deleted(channel);
    }
    fn lost(&mut self, channel: ChannelId, from: u64, to: u64) {
        self.lost += 1;
        self.recovering.lost(channel, from, to);
    }
    fn channel(&mut self, channel: ChannelId, first: u64, last: u64, bytes: u64, last_timestamp: i64) {
        self.found.insert(channel.0, (first, last));
        self.recovering.channel(channel, first, last, bytes, last_timestamp);
    }
}

/// Opens the store that was made beside `directory`'s files: an engine of this cluster must take it, and each channel have its
/// messages.
pub(crate) fn open_once(
    directory: &Path,
    options: FileOptions,
    cluster_id: &str,
    expected: &Bounds,
) -> Result<(), Error> {
    let failed = |problem: String| Error::store(directory, format!("it does not open as it was written: {problem}"));
    let mut engine = Engine::new(Options {
        cluster_id: cluster_id.to_owned(),
        ..Options::default()
    });
    let mut checking = Checking {
        recovering: Recovering::new(&mut engine),
        found: Bounds::new(),
        lost: 0,
    };
    let store = FileStore::open_beside(directory, options, || {}, &mut checking);
    let mut store = store.map_err(|error| failed(error.to_string()))?;
    let Checking {
        recovering,
        found,
        lost,
    } = checking;
    recovering.finish().map_err(failed)?;
    engine.check_recovered().map_err(|error| failed(error.to_string()))?;
    if found != *expected || lost > 0 {
        return Err(failed("the messages of a channel are not all there".to_owned()));
    }
    store.close().map_err(failed)
}
