//! A session in PostgreSQL.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::pin::pin;
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use futures_util::TryStreamExt as _;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls, Statement};

use crate::error::Error;
use crate::row::Cells;
use crate::source::{CONNECT_TIMEOUT, PostgresSettings};
use crate::tls::Connector;
use crate::value::Value;

/// Statements that are kept prepared: there are few, and a list that grows would be a mistake.
const PREPARED_MAX: usize = 64;
/// A peer that is gone is noticed after this and some probes.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// See the module.
pub(crate) struct Session {
    client: Client,
    prepared: HashMap<String, Statement>,
    timeout: Option<Duration>,
}

impl Session {
    pub(crate) async fn open(settings: &PostgresSettings, place: &str) -> Result<Session, Error> {
        let mut config = settings.config.clone();
        config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        let failed = |error: tokio_postgres::Error| error_of(place, "cannot connect", &error);
        let client = match &settings.tls {
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
                tokio::spawn(connection);
                client
            }
            Some(tls) => {
                let connector = Connector::new(tls).map_err(|problem| Error::new(place, problem))?;
                let (client, connection) = config.connect(connector).await.map_err(failed)?;
                tokio::spawn(connection);
                client
            }
        };
        Ok(Session {
            client,
            prepared: HashMap::new(),
            timeout: settings.timeout,
        })
    }

    pub(crate) async fn query<E: From<Error>>(
        &mut self,
        place: &str,
        statement: &str,
        parameters: &[Value<'_>],
        each: &mut impl FnMut(&dyn Cells) -> Result<(), E>,
    ) -> Result<(), E> {
        let prepared = self.prepare(place, statement).await?;
        let rows = within(place, self.timeout, self.client.query_raw(&prepared, parameters.iter())).await?;
        let mut rows = pin!(rows);
        while let Some(row) = within(place, self.timeout, rows.try_next()).await? {
            each(&row)?;
        }
        Ok(())
    }

    pub(crate) async fn execute(
        &mut self,
        place: &str,
        statement: &str,
        parameters: &[Value<'_>],
    ) -> Result<u64, Error> {
        let prepared = self.prepare(place, statement).await?;
        within(
            place,
            self.timeout,
            self.client.execute_raw(&prepared, parameters.iter()),
        )
        .await
    }

    pub(crate) async fn command(&mut self, place: &str, statement: &str) -> Result<(), Error> {
        within(place, self.timeout, self.client.batch_execute(statement)).await
    }

    async fn prepare(&mut self, place: &str, statement: &str) -> Result<Statement, Error> {
        if let Some(prepared) = self.prepared.get(statement) {
            return Ok(prepared.clone());
        }
        let prepared = within(place, self.timeout, self.client.prepare(statement)).await?;
        if self.prepared.len() >= PREPARED_MAX {
            self.prepared.clear();
        }
        self.prepared.insert(statement.to_owned(), prepared.clone());
        Ok(prepared)
    }
}

async fn within<T>(
    place: &str,
    timeout: Option<Duration>,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Error> {
    let answer = match timeout {
        None => answer.await,
        Some(timeout) => tokio::time::timeout(timeout, answer)
            .await
            .map_err(|_| Error::new(place, format!("no answer within the readTimeout of {timeout:?}")))?,
    };
    answer.map_err(|error| error_of(place, "the database refused", &error))
}

fn error_of(place: &str, action: &str, error: &tokio_postgres::Error) -> Error {
    let Some(told) = error.as_db_error() else {
        return Error::of(place, action, error);
    };
    let state = told.code().code();
    Error {
        is_missing_table: *told.code() == SqlState::UNDEFINED_TABLE,
        ..Error::new(place, format!("{action}: {} (SQLSTATE {state})", told.message()))
    }
}

type Problem = Box<dyn StdError + Sync + Send>;

impl ToSql for Value<'_> {
    fn to_sql(&self, wanted: &Type, out: &mut BytesMut) -> Result<IsNull, Problem> {
        let number = match *self {
            Value::Signed(number) => number,
            Value::Unsigned(number) => i64::try_from(number)?,
            Value::Text(text) => {
                out.put_slice(text.as_bytes());
                return Ok(IsNull::No);
            }
            Value::Bytes(bytes) => {
                out.put_slice(bytes);
                return Ok(IsNull::No);
            }
            Value::Flag(flag) => {
                out.put_u8(flag.into());
                return Ok(IsNull::No);
            }
        };
        match *wanted {
            Type::INT2 => out.put_i16(number.try_into()?),
            Type::INT4 => out.put_i32(number.try_into()?),
            Type::INT8 => out.put_i64(number),
            _ => return Err(format!("a number is given for a column of type {wanted}").into()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A column as it came.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Problem> {
        Ok(Raw(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl Cells for tokio_postgres::Row {
    fn number(&self, column: usize) -> Result<i128, String> {
        let kind = self.columns().get(column).ok_or("it is not there")?.type_();
        let raw: Option<Raw<'_>> = self.try_get(column).map_err(|error| error.to_string())?;
        let Some(Raw(raw)) = raw else { return Ok(0) };
        let bad = |_| format!("{} bytes of type {kind} are no number", raw.len());
        match *kind {
            Type::INT2 => raw.try_into().map(i16::from_be_bytes).map(i128::from).map_err(bad),
            Type::INT4 => raw.try_into().map(i32::from_be_bytes).map(i128::from).map_err(bad),
            Type::INT8 => raw.try_into().map(i64::from_be_bytes).map(i128::from).map_err(bad),
            Type::BOOL => Ok(i128::from(raw.first().is_some_and(|byte| *byte != 0))),
            _ => Err(format!("its type is {kind}, which is no number")),
        }
    }

    fn bytes(&self, column: usize) -> Result<&[u8], String> {
        let kind = self.columns().get(column).ok_or("it is not there")?.type_();
        let raw: Option<Raw<'_>> = self.try_get(column).map_err(|error| error.to_string())?;
        match *kind {
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::BYTEA => {
                Ok(raw.map_or(b"", |Raw(bytes)| bytes))
            }
            _ => Err(format!("its type is {kind}, which holds no bytes")),
        }
    }
}
