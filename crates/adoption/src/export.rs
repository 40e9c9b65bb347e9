//! The way back to NATS Streaming with everything that was published meanwhile: a new data directory, made of a store that no server
//! uses (`docs/migration.md`).
//!
//! It is written under another name beside its place, made durable, read once as an adoption would read it, and then gets its name: there
//! is a whole directory or none. What an interrupted attempt has left the next one removes.

mod notes;
mod place;
mod report;
mod transcript;

use std::path::Path;

use self::place::Place;
pub use self::report::{ExportOptions, Exported, Note, Severity};
use self::transcript::Transcript;
use crate::error::Error;
use crate::progress::Progress;
use crate::rest::Rest;

/// Says what an export would make of a store, as far as that shows without reading its messages. Changes nothing.
///
/// # Errors
/// The store cannot be opened; a server uses it.
pub fn survey(store: &Path, options: &ExportOptions) -> Result<Exported, Error> {
    Rest::open(store, options.encryption.clone()).map(|rest| notes::survey(&rest, store, options))
}

/// Makes a directory of NATS Streaming's of a store. `told` hears what [`survey`] says before anything is written.
///
/// # Errors
/// The store cannot be read, the directory has something in it or cannot be written, or something would be lost and that was not
/// accepted. Nothing is left then under the directory's name.
pub fn export(
    store: &Path,
    directory: &Path,
    options: &ExportOptions,
    progress: &Progress,
    told: impl FnOnce(&Exported),
) -> Result<Exported, Error> {
    let mut rest = Rest::open(store, options.encryption.clone())?;
    let surveyed = notes::survey(&rest, store, options);
    told(&surveyed);
    if !options.accepts_losses && surveyed.notes.iter().any(|note| note.severity == Severity::Loss) {
        return Err(losses());
    }
    let place = Place::prepare(directory, store, surveyed.bytes)?;
    progress.expect(surveyed.bytes);
    let mut exported = Transcript::new(&mut rest, surveyed, options, progress).write(place.unfinished())?;
    rest.check_undisturbed()?;
    prove(place.unfinished(), &exported, options)?;
    place.finish()?;
    exported.directory = Some(directory.to_owned());
    Ok(exported)
}

fn losses() -> Error {
    Error::Refused(
        "some of it would be lost; nothing was written. To export the rest, say so with --accept-losses".to_owned(),
    )
}

/// What was written is read back: every checksum, index and record.
fn prove(directory: &Path, exported: &Exported, options: &ExportOptions) -> Result<(), Error> {
    let original = seaway_original::Options {
        key: options.seal.as_ref().map(|(key, _)| key.clone()),
        is_locked: true,
        ..seaway_original::Options::default()
    };
    let report = seaway_original::check(directory, &original, |_| {})?;
    let found = &report.totals;
    let counts = [
        (found.clients, exported.clients),
        (found.channels, exported.channels),
        (found.messages, exported.messages),
        (found.bytes, exported.bytes),
        (found.subscriptions, exported.subscriptions),
        (found.pending, exported.pending),
    ];
    let odd = report
        .findings
        .iter()
        .find(|finding| finding.severity != seaway_original::Severity::Note);
    if odd.is_none() && counts.iter().all(|(found, written)| found == written) {
        return Ok(());
    }
    Err(Error::store(
        directory,
        format!("it does not read as it was written ({odd:?}, {counts:?}): look at the disk and at the system's log"),
    ))
}
