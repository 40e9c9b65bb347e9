//! `seaway restore` from an archive: the store as it was at a moment.

use std::path::Path;
use std::time::SystemTime;

use seaway_backup::{Change, Moment, Pace, Progress, Reach};

use super::{failed, moment, nanoseconds, note_damaged, opened};
use crate::failure::{Failure, Outcome};
use crate::progress::while_drawn_of;

/// Which moment of which store.
pub(crate) struct Wanted<'a> {
    pub(crate) archive: &'a Path,
    pub(crate) at: Option<SystemTime>,
    /// The store's name or its beginning, where several are archived.
    pub(crate) store: Option<&'a str>,
    pub(crate) rate: Option<u64>,
}

/// The store as it was at the moment that is wanted.
pub(crate) fn found(wanted: &Wanted<'_>) -> Outcome<Moment> {
    let Wanted { archive, at, .. } = *wanted;
    let store = wanted.store.unwrap_or_default();
    let history = opened(archive)?;
    let reach = history.reach().map_err(|error| failed(archive, &error))?;
    note_damaged(&reach);
    let (stretch, at) = match at {
        Some(at) => {
            let at = nanoseconds(at)?;
            (reach.stretch_at(store, at), at)
        }
        None => newest(&reach, store),
    };
    let stretch = stretch.map_err(|error| failed(archive, &error))?;
    history.moment(stretch, at).map_err(|error| failed(archive, &error))
}

fn newest<'a>(reach: &'a Reach, store: &str) -> (Result<&'a seaway_backup::Stretch, seaway_backup::Error>, i64) {
    let stretch = reach.newest(store);
    let at = stretch.as_ref().map_or(0, |stretch| stretch.end());
    (stretch, at)
}

/// Makes it the store in a directory.
pub(crate) fn restore(found: &Moment, to: &Path, change: Option<Change<'_>>, wanted: &Wanted<'_>) -> Outcome {
    let progress = Progress::default();
    let mut pace = Pace::new(wanted.rate);
    let draw = || (progress.bytes_total(), progress.bytes_done());
    let restored = while_drawn_of(draw, || found.restore(to, change, &mut pace, &progress))?;
    restored.map_err(|error| {
        Failure::failed(format!(
            "nothing was restored to {} as of {}: {error}",
            to.display(),
            moment(found.at)
        ))
    })
}
