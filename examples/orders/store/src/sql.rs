//! Every statement, by name; the texts are in one file per database.

mod postgres;
mod sqlite;
mod statement;

#[cfg(test)]
pub(crate) use statement::STATEMENTS;
pub(crate) use statement::{Schema, Statement};

/// A kind of database, as far as its SQL goes. CockroachDB takes the texts of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

impl Backend {
    /// The text of a statement.
    pub(crate) fn text(self, statement: Statement) -> &'static str {
        match self {
            Self::Sqlite => sqlite::text(statement),
            Self::Postgres => postgres::text(statement),
        }
    }

    /// The steps that make the tables, from the first.
    pub(crate) fn migrations(self, schema: Schema) -> &'static [&'static str] {
        match self {
            Self::Sqlite => sqlite::migrations(schema),
            Self::Postgres => postgres::migrations(schema),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words for what CockroachDB does not have, or has otherwise than PostgreSQL.
    const NOT_IN_COCKROACHDB: [&str; 20] = [
        "ADVISORY",
        "PG_ADVISORY_LOCK",
        "PG_ADVISORY_XACT_LOCK",
        "NOTIFY",
        "LISTEN",
        "COPY",
        "SERIAL",
        "BIGSERIAL",
        "IDENTITY",
        "NEXTVAL",
        "SEQUENCE",
        "INTEGER",
        "INT",
        "INT2",
        "INT4",
        "SMALLINT",
        "CTID",
        "TEMPORARY",
        "TEMP",
        "TRIGGER",
    ];
    const SCHEMAS: [Schema; 3] = [Schema::EventLog, Schema::ReadModel, Schema::Tickets];

    fn texts(backend: Backend) -> impl Iterator<Item = &'static str> {
        let statements = STATEMENTS.iter().map(move |statement| backend.text(*statement));
        let migrations = SCHEMAS.iter().flat_map(move |schema| backend.migrations(*schema));
        statements.chain(migrations.copied())
    }

    /// The numbers of a statement's parameters, ascending.
    fn parameters(text: &str, mark: char) -> Vec<usize> {
        let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
        let numbers = text.split(mark).skip(1).map(digits);
        let mut numbers: Vec<usize> = numbers.map(|number| number.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    #[test]
    fn the_rules_of_cockroachdb_are_kept() {
        for text in texts(Backend::Postgres) {
            let upper = text.to_uppercase();
            let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
            let words: Vec<&str> = upper
                .split(|c| !is_of_word(c))
                .filter(|word| !word.is_empty())
                .collect();
            for word in NOT_IN_COCKROACHDB {
                assert!(!words.contains(&word), "{word}: {text}");
            }
            assert!(!words.windows(2).any(|pair| pair == ["LOCK", "TABLE"]), "{text}");
        }
    }

    #[test]
    fn tables_are_made_by_statements_that_may_be_repeated() {
        for backend in [Backend::Sqlite, Backend::Postgres] {
            for text in texts(backend) {
                for kind in ["TABLE ", "INDEX "] {
                    let definitions = text.matches(&format!("CREATE {kind}")).count();
                    let repeatable = text.matches(&format!("CREATE {kind}IF NOT EXISTS ")).count();
                    assert_eq!(definitions, repeatable, "{text}");
                }
            }
        }
    }

    #[test]
    fn every_parameter_is_used_and_both_databases_take_the_same() {
        for statement in STATEMENTS {
            let postgres = parameters(Backend::Postgres.text(*statement), '$');
            let expected: Vec<usize> = (1..=postgres.len()).collect();
            assert_eq!(postgres, expected, "{statement:?}");
            assert_eq!(
                parameters(Backend::Sqlite.text(*statement), '?'),
                expected,
                "{statement:?}"
            );
        }
    }
}
