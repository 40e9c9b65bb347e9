//! A transaction, the same for every database.

use std::sync::Arc;

use crate::Error;
use crate::sql::{Backend, Statement};
use crate::value::{Row, Value};
use crate::{postgres, sqlite};

/// The work of a transaction. It may be run several times, even after it was committed.
pub(crate) type Work<T> = Arc<dyn Fn(&mut Transaction<'_>) -> Result<T, Error> + Send + Sync>;

/// What a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// A transaction that has begun. Whoever made it commits it when its work succeeds and takes it back otherwise.
pub(crate) enum Transaction<'a> {
    Sqlite(&'a rusqlite::Connection),
    Postgres(postgres::Session<'a>),
}

impl Transaction<'_> {
    pub(crate) fn backend(&self) -> Backend {
        match self {
            Self::Sqlite(_) => Backend::Sqlite,
            Self::Postgres(_) => Backend::Postgres,
        }
    }

    /// Changes rows; how many.
    pub(crate) fn execute(&mut self, statement: Statement, values: &[Value]) -> Result<u64, Error> {
        match self {
            Self::Sqlite(connection) => sqlite::execute(connection, statement, values),
            Self::Postgres(session) => session.execute(statement, values),
        }
    }

    /// Inserts rows: one after another where that costs nothing, as arrays where every statement is a message. The columns of
    /// all rows have the same types.
    pub(crate) fn insert(&mut self, statement: Statement, rows: &[Vec<Value>]) -> Result<(), Error> {
        match self {
            Self::Sqlite(connection) => rows
                .iter()
                .try_for_each(|values| sqlite::execute(connection, statement, values).map(drop)),
            Self::Postgres(_) if rows.is_empty() => Ok(()),
            Self::Postgres(session) => session.insert(statement, rows),
        }
    }

    pub(crate) fn query(&mut self, statement: Statement, values: &[Value]) -> Result<Vec<Row>, Error> {
        match self {
            Self::Sqlite(connection) => sqlite::query(connection, statement, values),
            Self::Postgres(session) => session.query(statement, values),
        }
    }

    /// The only row of a statement that yields exactly one.
    pub(crate) fn query_one(&mut self, statement: Statement, values: &[Value]) -> Result<Row, Error> {
        let rows = self.query(statement, values)?;
        let count = rows.len();
        let mut rows = rows.into_iter();
        match (rows.next(), rows.next()) {
            (Some(row), None) => Ok(row),
            _ => Err(Error::Failed(format!(
                "{statement:?} yields {count} rows instead of one"
            ))),
        }
    }

    /// Whether the database understands a statement.
    #[cfg(test)]
    pub(crate) fn prepare(&mut self, statement: Statement) -> Result<(), Error> {
        match self {
            Self::Sqlite(connection) => sqlite::prepare(connection, statement).map(drop),
            Self::Postgres(session) => session.prepare(statement).map(drop),
        }
    }

    /// Changes tables.
    pub(crate) fn define(&mut self, sql: &str) -> Result<(), Error> {
        match self {
            Self::Sqlite(connection) => sqlite::define(connection, sql),
            Self::Postgres(session) => session.define(sql),
        }
    }
}
