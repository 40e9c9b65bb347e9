//! SQLite: one thread that writes, some connections that read.
//!
//! Other processes may have the same file open, so a transaction that writes says so when it begins and waits for its turn.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{CachedStatement, Connection, OpenFlags, TransactionBehavior, params_from_iter};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::Error;
use crate::sql::{Backend, Statement};
use crate::transaction::{Access, Transaction, Work};
use crate::value::{Row, Value};

/// Transactions that may wait for the writing thread; more wait where they come from.
const QUEUED_WRITES_MAX: usize = 64;
/// Transactions that may read at once.
const READERS_MAX: usize = 4;
/// How long one process waits for the transaction of another.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Statements that a connection keeps compiled: all of them.
const STATEMENTS_CACHED: usize = 64;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// An open file; clones share its connections.
#[derive(Clone, Debug)]
pub(crate) struct Sqlite {
    writer: mpsc::Sender<Job>,
    readers: Arc<Readers>,
}

#[derive(Debug)]
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    room: Semaphore,
}

impl Sqlite {
    /// Opens a file, and makes it when it is missing. Its folder must be there.
    pub(crate) async fn open(path: &Path) -> Result<Self, Error> {
        let (writer, jobs) = mpsc::channel(QUEUED_WRITES_MAX);
        let (tell, opened) = oneshot::channel();
        let owned = path.to_owned();
        std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || write(&owned, jobs, tell))
            .map_err(|error| Error::Failed(format!("no thread for the database: {error}")))?;
        opened.await.unwrap_or_else(|_| Err(ended()))?;
        let readers = Readers {
            path: path.to_owned(),
            idle: Mutex::default(),
            room: Semaphore::new(READERS_MAX),
        };
        Ok(Self {
            writer,
            readers: Arc::new(readers),
        })
    }

    pub(crate) async fn run<T: Send + 'static>(&self, access: Access, work: Work<T>) -> Result<T, Error> {
        match access {
            Access::Write => {
                let (tell, outcome) = oneshot::channel();
                let job: Job = Box::new(move |connection| {
                    // Whoever asked may have gone; the transaction is complete all the same.
                    let _ = tell.send(transact(connection, TransactionBehavior::Immediate, &work));
                });
                self.writer.send(job).await.map_err(|_| ended())?;
                outcome.await.map_err(|_| ended())?
            }
            Access::Read => {
                let readers = Arc::clone(&self.readers);
                let _room = readers.room.acquire().await.map_err(|_| ended())?;
                let readers = Arc::clone(&self.readers);
                let reading = tokio::task::spawn_blocking(move || readers.read(&work));
                reading.await.map_err(|_| ended())?
            }
        }
    }
}

impl Readers {
    fn read<T>(&self, work: &Work<T>) -> Result<T, Error> {
        let idle = self.idle().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path)?,
        };
        let outcome = transact(&mut connection, TransactionBehavior::Deferred, work);
        if outcome.is_ok() {
            self.idle().push(connection);
        }
        outcome
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writing thread: ends when nobody holds the database any more.
fn write(path: &Path, mut jobs: mpsc::Receiver<Job>, tell: oneshot::Sender<Result<(), Error>>) {
    let mut connection = match connect(path) {
        Ok(connection) => connection,
        Err(error) => return drop(tell.send(Err(error))),
    };
    let _ = tell.send(Ok(()));
    while let Some(job) = jobs.blocking_recv() {
        job(&mut connection);
    }
}

fn connect(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| Error::Failed(format!("open {}: {error}", path.display())))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failure)?;
    // What is acknowledged to Seaway is not delivered again, so no store may forget it: every commit is synced.
    for (pragma, value) in [("journal_mode", "WAL"), ("synchronous", "FULL")] {
        connection.pragma_update(None, pragma, value).map_err(failure)?;
    }
    Ok(connection)
}

fn transact<T>(connection: &mut Connection, behavior: TransactionBehavior, work: &Work<T>) -> Result<T, Error> {
    let transaction = connection.transaction_with_behavior(behavior).map_err(failure)?;
    // Dropping it takes it back.
    let outcome = work(&mut Transaction::Sqlite(&transaction))?;
    transaction.commit().map_err(failure)?;
    Ok(outcome)
}

pub(crate) fn prepare(connection: &Connection, statement: Statement) -> Result<CachedStatement<'_>, Error> {
    let prepared = connection.prepare_cached(Backend::Sqlite.text(statement));
    prepared.map_err(failure)
}

pub(crate) fn execute(connection: &Connection, statement: Statement, values: &[Value]) -> Result<u64, Error> {
    let mut prepared = prepare(connection, statement)?;
    let changed = prepared.execute(params_from_iter(values)).map_err(failure)?;
    Ok(changed as u64)
}

pub(crate) fn query(connection: &Connection, statement: Statement, values: &[Value]) -> Result<Vec<Row>, Error> {
    let mut prepared = prepare(connection, statement)?;
    let columns = prepared.column_count();
    let mut rows = prepared.query(params_from_iter(values)).map_err(failure)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failure)? {
        let values: Result<Vec<Value>, Error> = (0..columns).map(|column| value(row, column)).collect();
        found.push(Row(values?));
    }
    Ok(found)
}

pub(crate) fn define(connection: &Connection, sql: &str) -> Result<(), Error> {
    connection.execute_batch(sql).map_err(failure)
}

fn value(row: &rusqlite::Row<'_>, column: usize) -> Result<Value, Error> {
    use rusqlite::types::ValueRef;
    match row.get_ref(column).map_err(failure)? {
        ValueRef::Integer(value) => Ok(Value::Integer(value)),
        ValueRef::Text(text) => String::from_utf8(text.to_vec())
            .map(Value::Text)
            .map_err(|_| Error::Failed(format!("column {column} holds text that is not UTF-8"))),
        ValueRef::Blob(bytes) => Ok(Value::Bytes(bytes.to_vec())),
        other => Err(Error::Failed(format!("column {column} holds {:?}", other.data_type()))),
    }
}

fn failure(error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    match error.sqlite_error_code() {
        Some(DatabaseBusy | DatabaseLocked) => Error::Conflict(error.to_string()),
        _ => Error::Failed(error.to_string()),
    }
}

fn ended() -> Error {
    Error::Failed("the thread of the database has ended".to_owned())
}
