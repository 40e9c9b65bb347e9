//! PostgreSQL and CockroachDB: some connections, each with one transaction at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls};

use crate::Error;
use crate::sql::{Backend, Statement};
use crate::transaction::{Access, Transaction, Work};
use crate::value::{Row, Value};

/// Connections that one store has open at most.
const CONNECTIONS_MAX: usize = 8;
/// How long a connection may take to come about, and bytes to be acknowledged by the peer's system.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SEND_TIMEOUT: Duration = Duration::from_secs(20);

/// The connections to a server; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Postgres {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    config: Config,
    idle: Mutex<Vec<Connection>>,
    room: Arc<Semaphore>,
}

/// A connection outside any transaction.
#[derive(Debug)]
struct Connection {
    client: Client,
    prepared: HashMap<Statement, tokio_postgres::Statement>,
}

impl Postgres {
    pub(crate) fn new(config: &Config) -> Self {
        let mut config = config.clone();
        config.connect_timeout(CONNECT_TIMEOUT).tcp_user_timeout(SEND_TIMEOUT);
        Self {
            pool: Arc::new(Pool {
                config,
                idle: Mutex::default(),
                room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            }),
        }
    }

    /// Runs one attempt of a transaction, on a thread where dropping the future does not stop it half-way.
    pub(crate) async fn run<T: Send + 'static>(&self, access: Access, work: Work<T>) -> Result<T, Error> {
        let gone = |_| Error::Failed("the program is ending".to_owned());
        let pool = Arc::clone(&self.pool);
        let room = Arc::clone(&pool.room);
        let room = room
            .acquire_owned()
            .await
            .map_err(|_| Error::Failed("the program is ending".to_owned()))?;
        let runtime = Handle::current();
        let attempt = tokio::task::spawn_blocking(move || {
            let outcome = pool.transact(&runtime, access, &work);
            drop(room);
            outcome
        });
        attempt.await.map_err(gone)?
    }
}

impl Pool {
    fn transact<T>(&self, runtime: &Handle, access: Access, work: &Work<T>) -> Result<T, Error> {
        let mut connection = self.connection(runtime)?;
        let begin = match access {
            Access::Read => "BEGIN READ ONLY",
            Access::Write => "BEGIN",
        };
        let run = |client: &Client, command: &str| runtime.block_on(client.batch_execute(command));
        run(&connection.client, begin).map_err(|error| failure(&error))?;
        let session = Session {
            connection: &mut connection,
            runtime,
        };
        let outcome = work(&mut Transaction::Postgres(session));
        let ended = match &outcome {
            Ok(_) => run(&connection.client, "COMMIT").map_err(|error| commit_failure(&error)),
            Err(_) => run(&connection.client, "ROLLBACK").map_err(|error| failure(&error)),
        };
        if ended.is_ok() {
            // Only a connection whose transaction has ended for sure is used again.
            self.idle().push(connection);
        }
        let outcome = outcome?;
        ended.map(|()| outcome)
    }

    fn connection(&self, runtime: &Handle) -> Result<Connection, Error> {
        loop {
            let idle = self.idle().pop();
            match idle {
                Some(connection) if connection.client.is_closed() => {}
                Some(connection) => return Ok(connection),
                None => break,
            }
        }
        let connecting = runtime.block_on(self.config.connect(NoTls));
        let (client, messages) = connecting.map_err(|error| match failure(&error) {
            Error::Failed(words) if error.code().is_none() => Error::Unavailable(words),
            other => other,
        })?;
        runtime.spawn(async move {
            if let Err(error) = messages.await {
                tracing::debug!("connection to the database: {error}");
            }
        });
        Ok(Connection {
            client,
            prepared: HashMap::new(),
        })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection inside a transaction, on a thread that may wait.
pub(crate) struct Session<'a> {
    connection: &'a mut Connection,
    runtime: &'a Handle,
}

impl Session<'_> {
    pub(crate) fn prepare(&mut self, statement: Statement) -> Result<tokio_postgres::Statement, Error> {
        if let Some(known) = self.connection.prepared.get(&statement) {
            return Ok(known.clone());
        }
        let preparing = self.connection.client.prepare(Backend::Postgres.text(statement));
        let prepared = self.runtime.block_on(preparing).map_err(|error| failure(&error))?;
        self.connection.prepared.insert(statement, prepared.clone());
        Ok(prepared)
    }

    pub(crate) fn execute(&mut self, statement: Statement, values: &[Value]) -> Result<u64, Error> {
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        self.execute_prepared(statement, &values)
    }

    /// Executes a statement over arrays, one per column.
    pub(crate) fn insert(&mut self, statement: Statement, rows: &[Vec<Value>]) -> Result<(), Error> {
        let columns = rows.first().map_or(0, Vec::len);
        let arrays: Vec<Box<dyn ToSql + Sync>> = (0..columns).map(|column| array(rows, column)).collect();
        let values: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| &**array as _).collect();
        self.execute_prepared(statement, &values).map(drop)
    }

    fn execute_prepared(&mut self, statement: Statement, values: &[&(dyn ToSql + Sync)]) -> Result<u64, Error> {
        let prepared = self.prepare(statement)?;
        let executing = self.connection.client.execute(&prepared, values);
        self.runtime.block_on(executing).map_err(|error| failure(&error))
    }

    pub(crate) fn query(&mut self, statement: Statement, values: &[Value]) -> Result<Vec<Row>, Error> {
        let prepared = self.prepare(statement)?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        let querying = self.connection.client.query(&prepared, &values);
        let rows = self.runtime.block_on(querying).map_err(|error| failure(&error))?;
        rows.iter().map(row).collect()
    }

    pub(crate) fn define(&mut self, sql: &str) -> Result<(), Error> {
        let defining = self.connection.client.batch_execute(sql);
        self.runtime.block_on(defining).map_err(|error| failure(&error))
    }
}

/// A column of many rows.
fn array(rows: &[Vec<Value>], column: usize) -> Box<dyn ToSql + Sync> {
    let mut integers = Vec::new();
    let mut texts = Vec::new();
    let mut blobs = Vec::new();
    for row in rows {
        match &row[column] {
            Value::Integer(value) => integers.push(*value),
            Value::Text(value) => texts.push(value.clone()),
            Value::Bytes(value) => blobs.push(value.clone()),
        }
    }
    match rows[0][column] {
        Value::Integer(_) => Box::new(integers),
        Value::Text(_) => Box::new(texts),
        Value::Bytes(_) => Box::new(blobs),
    }
}

fn row(row: &tokio_postgres::Row) -> Result<Row, Error> {
    let value = |(index, column): (usize, &tokio_postgres::Column)| {
        let value = match *column.type_() {
            Type::INT8 => row.try_get(index).map(Value::Integer),
            Type::TEXT => row.try_get(index).map(Value::Text),
            Type::BYTEA => row.try_get(index).map(Value::Bytes),
            ref other => return Err(Error::Failed(format!("column {} is of type {other}", column.name()))),
        };
        value.map_err(|error| failure(&error))
    };
    row.columns()
        .iter()
        .enumerate()
        .map(value)
        .collect::<Result<_, _>>()
        .map(Row)
}

/// What an error before the commit means: nothing has changed.
fn failure(error: &tokio_postgres::Error) -> Error {
    let words = error
        .as_db_error()
        .map_or_else(|| error.to_string(), ToString::to_string);
    match error.code() {
        None if error.is_closed() || is_io(error) => Error::Unavailable(words),
        None => Error::Failed(words),
        Some(code) => of_state(code, words),
    }
}

/// What an error of the commit means: when no answer came, nobody knows.
fn commit_failure(error: &tokio_postgres::Error) -> Error {
    match failure(error) {
        Error::Unavailable(words) => Error::UnknownOutcome(words),
        other => other,
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

/// The meaning of a SQLSTATE; the message beside it varies and means nothing.
fn of_state(code: &SqlState, words: String) -> Error {
    let words = format!("{words} ({})", code.code());
    match *code {
        // Another transaction came first. Two who make the same row or table at once meet as a violated unique index.
        SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::UNIQUE_VIOLATION
        | SqlState::DUPLICATE_TABLE => Error::Conflict(words),
        SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN => Error::UnknownOutcome(words),
        SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN
        | SqlState::CANNOT_CONNECT_NOW
        | SqlState::TOO_MANY_CONNECTIONS => Error::Unavailable(words),
        // Class 08: the connection.
        _ if code.code().starts_with("08") => Error::Unavailable(words),
        _ => Error::Failed(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_say_what_may_be_done() {
        for (code, transient) in [
            ("40001", true),
            ("40P01", true),
            ("40003", true),
            ("23505", true),
            ("57P01", true),
            ("08006", true),
            ("42601", false),
            ("23502", false),
            ("53100", false),
        ] {
            let error = of_state(&SqlState::from_code(code), "words".to_owned());
            assert_eq!(error.is_transient(), transient, "{code}: {error}");
        }
        let unknown = of_state(&SqlState::from_code("40003"), String::new());
        assert!(matches!(unknown, Error::UnknownOutcome(_)));
    }
}
