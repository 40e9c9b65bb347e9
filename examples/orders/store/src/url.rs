//! Where a database is.

use std::path::PathBuf;
use std::str::FromStr;

use crate::Error;

/// The address of a database: `sqlite:PATH`, `postgres://USER:PASSWORD@HOST:PORT/NAME` or the same with `cockroachdb://`.
#[derive(Clone)]
pub struct DatabaseUrl(pub(crate) Address);

#[derive(Clone)]
pub(crate) enum Address {
    Sqlite(PathBuf),
    /// PostgreSQL, or CockroachDB, which speaks its protocol.
    Postgres(Box<tokio_postgres::Config>),
}

impl FromStr for DatabaseUrl {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        let invalid = |why: String| Error::InvalidUrl {
            url: without_password(url),
            why,
        };
        if let Some(path) = url.strip_prefix("sqlite:") {
            return match path {
                "" | ":memory:" => Err(invalid("it needs the path of a file: sqlite:orders.db".to_owned())),
                path => Ok(Self(Address::Sqlite(path.into()))),
            };
        }
        let rest = ["postgres://", "postgresql://", "cockroachdb://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme))
            .ok_or_else(|| invalid("it must begin with sqlite:, postgres:// or cockroachdb://".to_owned()))?;
        let config: tokio_postgres::Config = format!("postgres://{rest}")
            .parse()
            .map_err(|error: tokio_postgres::Error| invalid(error.to_string()))?;
        if config.get_ssl_mode() == tokio_postgres::config::SslMode::Require {
            return Err(invalid(
                "the order system connects without TLS: leave out sslmode=require".to_owned(),
            ));
        }
        Ok(Self(Address::Postgres(Box::new(config))))
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Address::Sqlite(path) => write!(formatter, "sqlite:{}", path.display()),
            // Its own form leaves out the password.
            Address::Postgres(config) => config.fmt(formatter),
        }
    }
}

/// The address with stars for the password, however malformed it is.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    match rest.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:***@{host}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_all_kinds() {
        for url in [
            "sqlite:a/b.db",
            "postgres://me@localhost:1/orders",
            "postgresql://localhost/x",
            "cockroachdb://root@localhost:26257/orders?sslmode=disable",
        ] {
            assert!(url.parse::<DatabaseUrl>().is_ok(), "{url}");
        }
    }

    #[test]
    fn bad_addresses_say_what_is_wrong_and_no_password() {
        for (url, words) in [
            ("sqlite:", "path of a file"),
            ("mysql://me:secret@host/db", "must begin with"),
            ("postgres://me:secret@host:port/db", "invalid"),
            ("postgres://me:secret@host/db?sslmode=require", "without TLS"),
        ] {
            let error = url.parse::<DatabaseUrl>().map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let url: DatabaseUrl = "postgres://me:secret@host/db".parse().unwrap();
        assert!(!format!("{url:?}").contains("secret"));
    }
}
