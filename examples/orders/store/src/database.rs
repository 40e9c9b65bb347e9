//! One database, whatever its kind: transactions in, results out.

use std::sync::Arc;

use crate::migration::{self, Schema};
use crate::postgres::Postgres;
use crate::sql::Backend;
use crate::sqlite::Sqlite;
use crate::transaction::Transaction;
use crate::url::Address;
use crate::{DatabaseUrl, Error, retry};

/// The work of a transaction. It may be run several times, even after it was committed.
pub(crate) type Work<T> = Arc<dyn Fn(&mut Transaction<'_>) -> Result<T, Error> + Send + Sync>;

/// What a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

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
            Address::Sqlite(path) => Self::Sqlite(Sqlite::open(path).await?),
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
