//! One database, whatever its kind: transactions in, results out.

use std::sync::Arc;

use crate::migration;
use crate::postgres::Postgres;
use crate::sql::{Backend, Schema};
use crate::sqlite::Sqlite;
use crate::transaction::{Access, Transaction, Work};
use crate::url::Address;
use crate::{DatabaseUrl, Error, retry};

/// A database with the tables of one schema; clones share its connections.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Database {
    /// Opens a database and brings its tables up to date; several processes may do so at once.
    pub(crate) async fn open(url: &DatabaseUrl, schema: Schema) -> Result<Self, Error> {
        let database = match &url.0 {
            // While one process makes the file, it is locked for others in a way that none of them waits for.
            Address::Sqlite(path) => Self::Sqlite(retry::retry(async || Sqlite::open(path).await).await?),
            Address::Postgres(config) => Self::Postgres(Postgres::new(config)),
        };
        migration::run(&database, schema).await?;
        Ok(database)
    }

    pub(crate) fn backend(&self) -> Backend {
        match self {
            Self::Sqlite(_) => Backend::Sqlite,
            Self::Postgres(_) => Backend::Postgres,
        }
    }

    /// Runs `work` in a transaction that sees one state of the database and changes nothing.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Transaction<'_>) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        self.run(Access::Read, Arc::new(work)).await
    }

    /// Runs `work` in a transaction and commits it. `work` must bear being run again after its own commit: when the answer to
    /// a commit is lost, running it again is how to find out.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Transaction<'_>) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        self.run(Access::Write, Arc::new(work)).await
    }

    async fn run<T: Send + 'static>(&self, access: Access, work: Work<T>) -> Result<T, Error> {
        retry::retry(async || match self {
            Self::Sqlite(database) => database.run(access, Arc::clone(&work)).await,
            Self::Postgres(database) => database.run(access, Arc::clone(&work)).await,
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::sql::{STATEMENTS, Statement};

    const SCHEMAS: [Schema; 3] = [Schema::EventLog, Schema::ReadModel, Schema::Tickets];

    /// The database of `SEAWAY_TEST_POSTGRES` itself, with other options for its sessions.
    fn postgres(options: &str) -> Option<DatabaseUrl> {
        let Ok(address) = std::env::var("SEAWAY_TEST_POSTGRES") else {
            eprintln!("not tested: there is no PostgreSQL");
            return None;
        };
        let mark = if address.contains('?') { '&' } else { '?' };
        Some(format!("{address}{mark}options={options}").parse().unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_statement_is_understood() {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite:{}", folder.path().join("test.db").display());
        let sqlite: DatabaseUrl = file.parse().unwrap();
        for url in [Some(sqlite), postgres("-c%20search_path%3Dpublic")]
            .into_iter()
            .flatten()
        {
            let mut database = None;
            for schema in SCHEMAS {
                database = Some(Database::open(&url, schema).await.unwrap());
            }
            let database = database.unwrap();
            let prepared = database.write(|transaction| {
                let prepare = |statement: &Statement| transaction.prepare(*statement);
                STATEMENTS.iter().try_for_each(prepare)
            });
            assert_eq!(prepared.await, Ok(()));
        }
    }

    /// Two transactions that have read what the other one writes: the database gives up one of them, with 40001, as
    /// CockroachDB does, and it runs again from its beginning.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_transaction_that_the_database_gives_up_is_run_again() {
        let Some(url) = postgres("-c%20default_transaction_isolation%3Dserializable") else {
            return;
        };
        let database = Database::open(&url, Schema::Tickets).await.unwrap();
        let (runs, both_have_read) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(2)));
        let decide = |own: &'static str, other: &'static str| {
            let (database, runs, both_have_read) = (database.clone(), Arc::clone(&runs), Arc::clone(&both_have_read));
            tokio::spawn(async move {
                let first = AtomicUsize::new(0);
                let outcome = database.write(move |transaction| {
                    runs.fetch_add(1, Ordering::Relaxed);
                    let found = transaction.query(Statement::TicketOfOrder, &[other.into()])?.len();
                    if first.fetch_add(1, Ordering::Relaxed) == 0 {
                        both_have_read.wait();
                    }
                    let values = [own.into(), "".into(), "".into(), "".into(), 0_i64.into()];
                    transaction.execute(Statement::InsertTicket, &values)?;
                    Ok(found)
                });
                outcome.await.unwrap()
            })
        };
        let id = std::process::id();
        let name = |of: &str| -> &'static str { format!("{of}-{id}").leak() };
        let (one, two) = (name("one"), name("two"));
        let (first, second) = (decide(one, two), decide(two, one));
        let found = first.await.unwrap() + second.await.unwrap();
        // One of them saw the other's ticket, which it did not when both had read first.
        assert_eq!(found, 1);
        assert_eq!(runs.load(Ordering::Relaxed), 3);
    }
}
