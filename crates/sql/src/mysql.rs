//! A session in MySQL or MariaDB.

use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Params, Value as Cell};

use crate::error::Error;
use crate::row::Cells;
use crate::source::{CONNECT_TIMEOUT, MySqlSettings};
use crate::value::Value;

/// What MySQL says of a table that is not there.
const NO_SUCH_TABLE: u16 = 1146;

/// See the module.
pub(crate) struct Session {
    /// None once it is closed.
    connection: Option<Conn>,
    timeout: Option<Duration>,
}

impl Session {
    pub(crate) async fn open(settings: &MySqlSettings, place: &str) -> Result<Session, Error> {
        let options = settings.options().map_err(|problem| Error::new(place, problem))?;
        let timeout = settings.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        let connection = tokio::time::timeout(timeout, Conn::new(options)).await;
        let connection =
            connection.map_err(|_| Error::new(place, format!("cannot connect: no answer within {timeout:?}")))?;
        let connection = connection.map_err(|error| error_of(place, "cannot connect", &error))?;
        Ok(Session {
            connection: Some(connection),
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
        let timeout = self.timeout;
        let connection = self.connection(place)?;
        let asked = connection.exec_iter(with_question_marks(statement), given(parameters));
        let mut answer = within(place, timeout, asked).await?;
        while let Some(row) = within(place, timeout, answer.next()).await? {
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
        let timeout = self.timeout;
        let connection = self.connection(place)?;
        let asked = connection.exec_drop(with_question_marks(statement), given(parameters));
        within(place, timeout, asked).await?;
        Ok(connection.affected_rows())
    }

    pub(crate) async fn command(&mut self, place: &str, statement: &str) -> Result<(), Error> {
        let timeout = self.timeout;
        within(place, timeout, self.connection(place)?.query_drop(statement)).await
    }

    /// Says good-bye, so that the server does not count an aborted connection.
    pub(crate) async fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = tokio::time::timeout(Duration::from_secs(1), connection.disconnect()).await;
        }
    }

    fn connection(&mut self, place: &str) -> Result<&mut Conn, Error> {
        self.connection
            .as_mut()
            .ok_or_else(|| Error::new(place, "the connection is closed"))
    }
}

async fn within<T>(
    place: &str,
    timeout: Option<Duration>,
    answer: impl Future<Output = mysql_async::Result<T>>,
) -> Result<T, Error> {
    let answer = match timeout {
        None => answer.await,
        Some(timeout) => tokio::time::timeout(timeout, answer)
            .await
            .map_err(|_| Error::new(place, format!("no answer within the readTimeout of {timeout:?}")))?,
    };
    answer.map_err(|error| error_of(place, "the database refused", &error))
}

fn error_of(place: &str, action: &str, error: &mysql_async::Error) -> Error {
    match error {
        mysql_async::Error::Server(told) => Error {
            is_missing_table: told.code == NO_SUCH_TABLE,
            ..Error::new(place, format!("{action}: {} (error {})", told.message, told.code))
        },
        other => Error::of(place, action, other),
    }
}

/// Parameters are written `$1`, `$2` and so on, in their order: MySQL counts them itself.
fn with_question_marks(statement: &str) -> String {
    let mut text = String::with_capacity(statement.len());
    let mut rest = statement;
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        text.push('?');
        rest = rest[at + 1..].trim_start_matches(|character: char| character.is_ascii_digit());
    }
    text + rest
}

fn given(parameters: &[Value<'_>]) -> Params {
    if parameters.is_empty() {
        return Params::Empty;
    }
    let cells = parameters.iter().map(|parameter| match *parameter {
        Value::Signed(number) => Cell::Int(number),
        Value::Unsigned(number) => Cell::UInt(number),
        Value::Text(text) => Cell::Bytes(text.as_bytes().to_vec()),
        Value::Bytes(bytes) => Cell::Bytes(bytes.to_vec()),
        Value::Flag(flag) => Cell::Int(flag.into()),
    });
    Params::Positional(cells.collect())
}

impl Cells for mysql_async::Row {
    fn number(&self, column: usize) -> Result<i128, String> {
        match self.as_ref(column).ok_or("it is not there")? {
            Cell::NULL => Ok(0),
            Cell::Int(number) => Ok((*number).into()),
            Cell::UInt(number) => Ok((*number).into()),
            // What a column of type DECIMAL (a sum, say) or BIT has.
            Cell::Bytes(digits) => std::str::from_utf8(digits)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| "it is no number".to_owned()),
            _ => Err("it is no number".to_owned()),
        }
    }

    fn bytes(&self, column: usize) -> Result<&[u8], String> {
        match self.as_ref(column).ok_or("it is not there")? {
            Cell::NULL => Ok(b""),
            Cell::Bytes(bytes) => Ok(bytes),
            _ => Err("it holds no bytes".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_question_marks() {
        let statement = "SELECT a FROM b WHERE c = $1 AND d > $12 LIMIT 5";
        assert_eq!(
            with_question_marks(statement),
            "SELECT a FROM b WHERE c = ? AND d > ? LIMIT 5"
        );
        assert_eq!(with_question_marks("$1, $2"), "?, ?");
    }
}
