//! Where a server kept its store that kept it in a database (specification §4.1, §7.5), for whoever takes that over.

use std::fmt;
use std::path::Path;

use crate::file::{Reading, Scope};
use crate::surroundings::System;
use crate::table;
use crate::value::Value;

/// `sql { driver, source }` of a configuration file.
#[derive(Clone, PartialEq, Eq)]
pub struct SqlStore {
    /// `postgres` or `mysql`, as written.
    pub driver: String,
    /// The data source name, which may hold a password.
    pub source: String,
    /// Whether it has no caches, which shows in its tables.
    pub no_caching: bool,
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SqlStore({})", self.driver)
    }
}

/// Reads it out of a file; whatever else the file says does not matter here.
///
/// # Errors
/// The file cannot be read, or names no driver and source.
pub fn sql_store(path: &Path) -> Result<SqlStore, String> {
    let mut reading = Reading::default();
    reading.read(path, Scope::Both, &System);
    let value = |flag: &str| {
        let (place, _) = table::find(flag)?;
        let value = reading.values.iter().rfind(|value| value.place == place)?;
        Some(&value.value)
    };
    let text = |flag: &str| value(flag).map(|value| value.text().to_owned());
    let no_caching = value("sql_no_caching") == Some(&Value::Bool(true));
    match (text("sql_driver"), text("sql_source")) {
        (Some(driver), Some(source)) => Ok(SqlStore {
            driver,
            source,
            no_caching,
        }),
        _ => match reading.problems.first() {
            Some(problem) => Err(problem.clone()),
            None => Err(format!("{}: no sql section with driver and source", path.display())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_have_in_their_files_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stan.conf");
        let files = [
            "streaming { cluster_id: c, store: sql\n sql { driver: \"postgres\", source: \"dbname=stan password=geheim\" } }",
            "store: \"SQL\"\nsql_options: { driver: postgres\n source: 'dbname=stan password=geheim'\n no_caching: true\n max_open_conns: 5 }",
        ];
        for text in files {
            std::fs::write(&path, text).expect("write");
            let found = sql_store(&path).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            assert_eq!(
                (&found.driver[..], &found.source[..]),
                ("postgres", "dbname=stan password=geheim")
            );
            assert_eq!(found.no_caching, text.contains("no_caching"));
            assert!(!format!("{found:?}").contains("geheim"));
        }
        for (text, problem) in [
            ("store: file", "no sql section"),
            ("sql { driver: postgres }", "no sql section"),
            ("sql {", ""),
        ] {
            std::fs::write(&path, text).expect("write");
            let told = sql_store(&path).expect_err(text);
            assert!(told.contains(problem), "{told}");
        }
        assert!(sql_store(Path::new("/nowhere")).is_err());
    }
}
