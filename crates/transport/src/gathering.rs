//! Connections that other members make, until three of them are a set.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use seaway_replica::NodeId;

use crate::greeting::{Party, Purpose};
use crate::stream::{Set, Stream};

/// A set of connections that is not complete yet.
#[derive(Debug)]
struct Part {
    session: u64,
    boot: u64,
    since: Instant,
    streams: [Option<Stream>; 3],
}

/// Sets that are not complete, of each member the latest.
#[derive(Debug, Default)]
pub(crate) struct Gathering(Mutex<BTreeMap<NodeId, Part>>);

impl Gathering {
    /// A member begins a set.
    pub(crate) fn begin(&self, from: &Party, session: u64, longest: Duration) {
        let now = Instant::now();
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.retain(|_, part| now - part.since < longest);
        let part = Part {
            session,
            boot: from.boot,
            since: now,
            streams: [None, None, None],
        };
        parts.insert(from.id, part);
    }

    /// Whether a set with this number has begun.
    pub(crate) fn has_begun(&self, from: &Party, session: u64) -> bool {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts
            .get(&from.id)
            .is_some_and(|part| part.session == session && part.boot == from.boot)
    }

    /// Adds a connection; the set, when it is complete with that.
    pub(crate) fn add(&self, from: NodeId, session: u64, purpose: Purpose, stream: Stream) -> Option<Set> {
        let place = Purpose::SET.iter().position(|of| *of == purpose)?;
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let part = parts.get_mut(&from).filter(|part| part.session == session)?;
        part.streams[place] = Some(stream);
        if part.streams.iter().any(Option::is_none) {
            return None;
        }
        match parts.remove(&from)?.streams {
            [Some(control), Some(bulk), Some(snapshot)] => Some([control, bulk, snapshot]),
            _ => None,
        }
    }

    /// Drops what is not complete.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
