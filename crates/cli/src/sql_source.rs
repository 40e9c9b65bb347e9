//! Which database is meant: as the server that used it was told, on its command line or in its configuration file.

use std::path::{Path, PathBuf};

use seaway_original::{Driver, Source};

use crate::failure::{Failure, Outcome};

/// What the commands ask of whoever runs them and knows the server's configuration.
#[derive(Clone, Copy)]
pub struct Surroundings {
    /// Driver and data source that a configuration file names.
    pub sql_of_configuration: fn(&Path) -> Result<(String, String), String>,
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
    /// The database; none when none is meant.
    pub(crate) fn source(&self, surroundings: &Surroundings) -> Outcome<Option<Source>> {
        let (driver, source) = match (&self.sql_driver, &self.sql_source, &self.config) {
            (Some(driver), Some(source), _) => (driver.clone(), source.clone()),
            (_, _, Some(path)) => (surroundings.sql_of_configuration)(path).map_err(Failure::failed)?,
            _ => return Ok(None),
        };
        let driver = Driver::named(&driver).map_err(Failure::usage)?;
        Source::parse(driver, &source).map(Some).map_err(Failure::usage)
    }
}
