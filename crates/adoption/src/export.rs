//! The way back to NATS Streaming with everything that was published meanwhile: a new data directory, or the tables of an empty database, made
//! of a store that no server uses (`docs/migration.md`).
//!
//! A directory is written under another name beside its place, made durable, read once as an adoption would read it, and then gets its name: there
//! is a whole directory or none. Tables are one that NATS Streaming refuses until all of it is there. What an interrupted attempt has left
//! the next one removes.

mod notes;
mod place;
mod report;
mod target;
mod transcript;

use std::path::Path;

use seaway_original::{Report, Source, StoreLock, TablesOptions, TablesWriter, Writer, make_tables};

use self::place::Place;
pub use self::report::{ExportOptions, Exported, Note, Severity};
use self::target::Form;
use self::transcript::Transcript;
use crate::error::Error;
use crate::progress::Progress;
use crate::rest::Rest;
use crate::transfer::token;

/// Says what an export would make of a store, as far as that shows without reading its messages. Changes nothing.
///
/// # Errors
/// The store cannot be opened; a server uses it.
pub fn survey(store: &Path, options: &ExportOptions) -> Result<Exported, Error> {
    Rest::open(store, options.encryption.clone()).map(|rest| notes::survey(&rest, store, options, Form::Files))
}

/// The same of tables.
///
/// # Errors
/// As [`survey`].
pub fn survey_tables(store: &Path, options: &ExportOptions) -> Result<Exported, Error> {
    Rest::open(store, options.encryption.clone()).map(|rest| notes::survey(&rest, store, options, Form::Tables))
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
    let surveyed = notes::survey(&rest, store, options, Form::Files);
    told(&surveyed);
    check_losses(&surveyed, options)?;
    let place = Place::prepare(directory, store, surveyed.bytes)?;
    progress.expect(surveyed.bytes);
    let transcript = Transcript::new(&mut rest, surveyed, options, progress);
    let (mut exported, ()) = transcript.write(|server| Ok(Writer::begin(place.unfinished(), server)?))?;
    rest.check_undisturbed()?;
    let original = seaway_original::Options {
        key: options.seal.as_ref().map(|(key, _)| key.clone()),
        is_locked: true,
        ..seaway_original::Options::default()
    };
    let report = seaway_original::check(place.unfinished(), &original, |_| {})?;
    prove(place.unfinished(), &exported, &report)?;
    place.finish()?;
    exported.directory = Some(directory.to_owned());
    Ok(exported)
}

/// Fills the original's tables in a database (`stores-and-clustering.md` §4.2), which are made where they are missing, and must have
/// nothing in them but what an interrupted attempt has left. The original's lease of them is held meanwhile. Of `tables` counts what is
/// said of sessions and of caching.
///
/// # Errors
/// As [`export()`]; the database refuses, or somebody else is connected to it. NATS Streaming does not start on it then.
pub fn export_tables(
    store: &Path,
    source: &Source,
    tables: &TablesOptions,
    options: &ExportOptions,
    progress: &Progress,
    told: impl FnOnce(&Exported),
) -> Result<Exported, Error> {
    let mut rest = Rest::open(store, options.encryption.clone())?;
    let surveyed = notes::survey(&rest, store, options, Form::Tables);
    told(&surveyed);
    check_losses(&surveyed, options)?;
    make_tables(source)?;
    let lock = StoreLock::take(source, &token())?;
    let mut tables = TablesOptions {
        key: options.seal.as_ref().map(|(key, _)| key.clone()),
        lock_session: lock.as_ref().map(StoreLock::session),
        ..tables.clone()
    };
    progress.expect(surveyed.bytes);
    let transcript = Transcript::new(&mut rest, surveyed, options, progress);
    let (mut exported, unsealed) = transcript.write(|server| Ok(TablesWriter::begin(source, &tables, server)?))?;
    rest.check_undisturbed()?;
    // The writer's own session is there besides that of the lease.
    tables.sessions_are_harmless = true;
    tables.is_unfinished = true;
    let report = seaway_original::check_tables(source, &tables, |_| {})?;
    prove(Path::new(&source.to_string()), &exported, &report)?;
    lock.as_ref().map_or(Ok(()), StoreLock::check)?;
    unsealed.seal()?;
    exported.database = Some(source.to_string());
    Ok(exported)
}

fn check_losses(surveyed: &Exported, options: &ExportOptions) -> Result<(), Error> {
    if options.accepts_losses || surveyed.notes.iter().all(|note| note.severity != Severity::Loss) {
        return Ok(());
    }
    Err(Error::Refused(
        "some of it would be lost; nothing was written. To export the rest, say so with --accept-losses".to_owned(),
    ))
}

/// What was written was read back, every record of it: whether it is what it should be.
fn prove(place: &Path, exported: &Exported, report: &Report) -> Result<(), Error> {
    let found = &report.totals;
    let counts = [
        (found.clients, exported.clients),
        (found.channels, exported.channels),
        (found.messages, exported.messages),
        (found.bytes, exported.bytes),
        (found.subscriptions, exported.subscriptions),
        // What awaited an ack and is lost may not be there.
        match exported.notes.iter().all(|note| note.severity == Severity::Note) {
            true => (found.pending, exported.pending),
            false => (found.pending.min(exported.pending), found.pending),
        },
    ];
    let odd = report
        .findings
        .iter()
        .find(|finding| finding.severity != seaway_original::Severity::Note);
    if odd.is_none() && counts.iter().all(|(found, written)| found == written) {
        return Ok(());
    }
    Err(Error::store(
        place,
        format!("it does not read as it was written ({odd:?}, {counts:?}): look at the disk and at the system's log"),
    ))
}
