//! One session in a database.

use tokio::runtime::Runtime;

use crate::error::Error;
use crate::row::{Cells, Row};
use crate::source::{Place, Source};
use crate::value::Value;
use crate::{mysql, postgres};

/// Whose SQL is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL's, and of those who speak it.
    Postgres,
    /// MySQL's and MariaDB's.
    MySql,
}

/// See the module. The session ends when it is dropped; a transaction that is under way is rolled back by the database then.
pub struct Connection {
    session: Session,
    runtime: Runtime,
    place: String,
}

enum Session {
    Postgres(postgres::Session),
    MySql(mysql::Session),
}

impl Connection {
    /// Connects and introduces itself.
    ///
    /// # Errors
    /// There is no database, it cannot be reached, or it refuses the user.
    pub fn open(source: &Source) -> Result<Connection, Error> {
        let place = source.to_string();
        // The connection's own work is done while somebody waits for it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::of(&place, "cannot start a runtime", &error))?;
        let session = match source.place() {
            Place::Postgres(settings) => {
                Session::Postgres(runtime.block_on(postgres::Session::open(settings, &place))?)
            }
            Place::MySql(settings) => Session::MySql(runtime.block_on(mysql::Session::open(settings, &place))?),
        };
        Ok(Connection {
            session,
            runtime,
            place,
        })
    }

    /// Whose SQL is spoken.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.session {
            Session::Postgres(_) => Dialect::Postgres,
            Session::MySql(_) => Dialect::MySql,
        }
    }

    /// The database, without the password.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Asks; `each` is given the rows as they come. Parameters are `$1`, `$2` and so on, in this order and each once.
    ///
    /// # Errors
    /// The database refuses, or `each` takes no more.
    pub fn query<E: From<Error>>(
        &mut self,
        statement: &str,
        parameters: &[Value<'_>],
        mut each: impl FnMut(&Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let place = &self.place;
        let mut each = |cells: &dyn Cells| each(&Row::new(cells, place));
        match &mut self.session {
            Session::Postgres(session) => self
                .runtime
                .block_on(session.query(place, statement, parameters, &mut each)),
            Session::MySql(session) => self
                .runtime
                .block_on(session.query(place, statement, parameters, &mut each)),
        }
    }

    /// Changes something; how many rows.
    ///
    /// # Errors
    /// The database refuses.
    pub fn execute(&mut self, statement: &str, parameters: &[Value<'_>]) -> Result<u64, Error> {
        let place = &self.place;
        match &mut self.session {
            Session::Postgres(session) => self.runtime.block_on(session.execute(place, statement, parameters)),
            Session::MySql(session) => self.runtime.block_on(session.execute(place, statement, parameters)),
        }
    }

    /// What `run` does happens as one, or not at all.
    ///
    /// # Errors
    /// What `run` says, or the database does not begin or commit.
    pub fn transaction<T, E: From<Error>>(
        &mut self,
        run: impl FnOnce(&mut Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        self.command("BEGIN")?;
        match run(self) {
            Ok(done) => {
                self.command("COMMIT")?;
                Ok(done)
            }
            Err(error) => {
                // A connection that is gone has nothing left to roll back.
                let _ = self.command("ROLLBACK");
                Err(error)
            }
        }
    }

    /// A statement without parameters that is not worth preparing.
    ///
    /// # Errors
    /// The database refuses.
    pub fn command(&mut self, statement: &str) -> Result<(), Error> {
        let place = &self.place;
        match &mut self.session {
            Session::Postgres(session) => self.runtime.block_on(session.command(place, statement)),
            Session::MySql(session) => self.runtime.block_on(session.command(place, statement)),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Session::MySql(session) = &mut self.session {
            self.runtime.block_on(session.close());
        }
    }
}
