//! Where a database is, in the words that NATS Streaming's `-sql_driver` and `-sql_source` take (`stores-and-clustering.md` §4.1).

mod duration;
mod go_mysql;
mod go_postgres;

use std::fmt;
use std::time::Duration;

pub(crate) use go_mysql::MySqlSettings;
pub(crate) use go_postgres::PostgresSettings;

/// How long a connection may take to come about when the source does not say.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// The two that NATS Streaming knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// `postgres`
    Postgres,
    /// `mysql`
    MySql,
}

impl Driver {
    /// The name that NATS Streaming gives it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Driver::Postgres => "postgres",
            Driver::MySql => "mysql",
        }
    }

    /// By the name that NATS Streaming gives it; case does not count.
    ///
    /// # Errors
    /// It is none of the two.
    pub fn named(name: &str) -> Result<Driver, String> {
        match name.to_ascii_lowercase().as_str() {
            "postgres" => Ok(Driver::Postgres),
            "mysql" => Ok(Driver::MySql),
            "" => Err("the SQL driver is missing: postgres or mysql".to_owned()),
            _ => Err(format!("SQL driver {name:?} is not known: postgres or mysql")),
        }
    }
}

/// A database and how it is reached. Shown without the password.
#[derive(Clone)]
pub struct Source {
    shown: String,
    place: Place,
}

/// What a driver needs to know.
#[derive(Clone)]
// There is one.
#[expect(clippy::large_enum_variant, reason = "there is one per run")]
pub(crate) enum Place {
    Postgres(PostgresSettings),
    MySql(MySqlSettings),
}

impl Source {
    /// Understands a data source name: of lib/pq (`host=… dbname=…`, `postgres://…`), or of go-sql-driver/mysql (`user:password@tcp(host)/db`).
    ///
    /// # Errors
    /// In words, and without what was given: it may hold a password.
    pub fn parse(driver: Driver, text: &str) -> Result<Source, String> {
        Source::parse_within(driver, text, &|name| std::env::var(name).ok())
    }

    /// The same, with another environment.
    pub(crate) fn parse_within(
        driver: Driver,
        text: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Source, String> {
        if text.is_empty() {
            return Err("the SQL data source is missing: what the server has as -sql_source".to_owned());
        }
        let (shown, place) = match driver {
            Driver::Postgres => {
                let settings = go_postgres::parse(text, variable)?;
                (settings.shown.clone(), Place::Postgres(settings))
            }
            Driver::MySql => {
                let settings = go_mysql::parse(text)?;
                (settings.shown(), Place::MySql(settings))
            }
        };
        Ok(Source { shown, place })
    }

    /// The driver that it is for.
    #[must_use]
    pub fn driver(&self) -> Driver {
        match self.place {
            Place::Postgres(_) => Driver::Postgres,
            Place::MySql(_) => Driver::MySql,
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.shown)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Source({})", self.shown)
    }
}
