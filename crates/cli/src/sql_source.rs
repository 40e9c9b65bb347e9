//! Which database is meant: as the server that used it was told, on its command line or in its configuration file.

use std::path::{Path, PathBuf};

use seaway_original::{Driver, Source};

use crate::failure::{Failure, Outcome};

/// What the commands ask of whoever runs them and knows the server's configuration.
#[derive(Clone, Copy)]
pub struct Surroundings {
    /// What the `sql` section of a configuration file says.
    pub sql_of_configuration: fn(&Path) -> Result<SqlSection, String>,
}

/// See [`Surroundings`].
pub struct SqlSection {
    /// `postgres` or `mysql`.
    pub driver: String,
    /// The data source.
    pub source: String,
    /// Whether the server has no caches.
    pub no_caching: bool,
}

/// A database, and how its server works.
pub(crate) struct Database {
    pub(crate) source: Source,
    pub(crate) no_caching: bool,
}

/// See the module.
#[derive(clap::Args)]
pub(crate) struct SqlArguments {
    /// Of a database: postgres or mysql (the server's -sql_driver)
    #[arg(long, value_name = "DRIVER", value_parser = ["postgres", "mysql"], requires = "sql_source")]
    sql_driver: Option<String>,
    /// The database (the server's -sql_source); others see it on the command line, so with a password rather --config
    #[arg(long, value_name = "SOURCE", requires = "sql_driver", conflicts_with = "config")]
    sql_source: Option<String>,
    /// The server's configuration file, whose sql section names the database
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    config: Option<PathBuf>,
}

impl SqlArguments {
    /// Whether a database is meant.
    pub(crate) fn is_given(&self) -> bool {
        self.sql_source.is_some() || self.config.is_some()
    }

    /// The database; none when none is meant.
    pub(crate) fn database(&self, surroundings: &Surroundings) -> Outcome<Option<Database>> {
        let section = match (&self.sql_driver, &self.sql_source, &self.config) {
            (Some(driver), Some(source), _) => SqlSection {
                driver: driver.clone(),
                source: source.clone(),
                no_caching: false,
            },
            (_, _, Some(path)) => (surroundings.sql_of_configuration)(path).map_err(Failure::failed)?,
            _ => return Ok(None),
        };
        let driver = Driver::named(&section.driver).map_err(Failure::usage)?;
        let source = Source::parse(driver, &section.source).map_err(Failure::usage)?;
        Ok(Some(Database {
            source,
            no_caching: section.no_caching,
        }))
    }
}
