//! The tables of a server that keeps its store in PostgreSQL or MySQL (specification §4): what [`Directory`](crate::Directory) is for
//! files, and the account of it is the same.
//!
//! Everything is read in ranges of sequences and rows, each a statement of its own, so that neither memory nor a transaction grows with the
//! tables.

mod lock;
mod options;
mod pending;
mod reader;
mod schema;
mod sessions;
mod writer;

use seaway_sql::{Connection, Source};

pub use self::lock::StoreLock;
pub use self::options::TablesOptions;
use self::reader::Tables;
pub use self::writer::{TablesChannel, TablesWriter, Unsealed, make_tables, unstorable_in_tables};
use crate::account;
use crate::check::{Nobody, Stopped, Taker};
use crate::error::Error;
use crate::finding::Findings;
use crate::report::{ChannelReport, Report};

/// Reads the tables from end to end and changes nothing. `progress` hears of each channel when it was read.
///
/// # Errors
/// The database cannot be reached or has no such tables; they changed meanwhile. Whatever their rows say is in the report.
pub fn check_tables(
    source: &Source,
    options: &TablesOptions,
    progress: impl FnMut(&ChannelReport),
) -> Result<Report, Error> {
    read_tables(source, options, &mut Nobody, progress).map_err(|stopped| match stopped {
        Stopped::Unreadable(error) => error,
        Stopped::NotTaken(never) => match never {},
    })
}

/// The same, and gives everything to `taker` on the way.
///
/// # Errors
/// As [`check_tables`], and what `taker` says.
pub fn read_tables<T: Taker>(
    source: &Source,
    options: &TablesOptions,
    taker: &mut T,
    progress: impl FnMut(&ChannelReport),
) -> Result<Report, Stopped<T::Error>> {
    let mut findings = Findings::default();
    let connection = Connection::open(source).map_err(Error::from)?;
    let tables = Tables::open(connection, options, &mut findings)?;
    let before = tables.fingerprint()?;
    let report = account::take(&tables, options.raft_directory.as_deref(), findings, taker, progress)?;
    if tables.fingerprint()? != before {
        return Err(Stopped::Unreadable(Error::at(
            &source.to_string(),
            "the tables changed while they were read",
            "stop the server that writes them, and try again",
        )));
    }
    Ok(report)
}

/// About the bytes that the messages take in the database.
///
/// # Errors
/// The database cannot be reached or has no such tables.
pub fn tables_bytes(source: &Source) -> Result<u64, Error> {
    let mut connection = Connection::open(source).map_err(Error::from)?;
    schema::messages_bytes(&mut connection).map_err(Error::from)
}

impl From<seaway_sql::Error> for Error {
    fn from(error: seaway_sql::Error) -> Error {
        let advice = match error.is_missing_table {
            true => "name the database that the server has as -sql_source, in which its tables are",
            false => "look at the data source and at the database's log",
        };
        Error::at(&error.place, error.problem, advice)
    }
}
