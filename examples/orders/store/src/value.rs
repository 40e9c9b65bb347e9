//! What goes into statements and comes out of rows: the three types that all databases agree on.

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type};

use crate::Error;

/// A value; there are no NULLs in our tables.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<u64> for Value {
    /// Nothing that is counted here gets near the limit; a peer's number above it equals none of ours.
    fn from(value: u64) -> Self {
        Self::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self {
            Self::Integer(value) => rusqlite::ToSql::to_sql(value),
            Self::Text(value) => rusqlite::ToSql::to_sql(value),
            Self::Bytes(value) => rusqlite::ToSql::to_sql(value),
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self, of: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Integer(value) => value.to_sql_checked(of, out),
            Self::Text(value) => value.to_sql_checked(of, out),
            Self::Bytes(value) => value.to_sql_checked(of, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // It depends on the value; the check is above.
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

/// A row of a result.
#[derive(Debug)]
pub(crate) struct Row(pub(crate) Vec<Value>);

impl Row {
    pub(crate) fn integer(&self, column: usize) -> Result<i64, Error> {
        match self.0.get(column) {
            Some(Value::Integer(value)) => Ok(*value),
            other => Err(unexpected(column, "an integer", other)),
        }
    }

    /// A count or version.
    pub(crate) fn number(&self, column: usize) -> Result<u64, Error> {
        let value = self.integer(column)?;
        u64::try_from(value).map_err(|_| Error::Failed(format!("column {column} holds {value}")))
    }

    pub(crate) fn text(&self, column: usize) -> Result<String, Error> {
        match self.0.get(column) {
            Some(Value::Text(value)) => Ok(value.clone()),
            other => Err(unexpected(column, "text", other)),
        }
    }

    pub(crate) fn bytes(&self, column: usize) -> Result<Vec<u8>, Error> {
        match self.0.get(column) {
            Some(Value::Bytes(value)) => Ok(value.clone()),
            other => Err(unexpected(column, "bytes", other)),
        }
    }
}

fn unexpected(column: usize, wanted: &str, found: Option<&Value>) -> Error {
    Error::Failed(format!("column {column} should hold {wanted}: {found:?}"))
}
