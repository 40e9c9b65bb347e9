//! Who else is in the database: a server that stands alone takes no lock (§1.6), but it is connected as long as it runs.

use std::time::{Duration, Instant};

use seaway_sql::{Connection, Dialect, Error};

use super::schema;

/// A session may still be ending when its process has ended.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);
/// Sessions that are named.
const NAMED_MAX: usize = 5;

/// Other sessions in this database, but for `own`, in words; none when there is none.
pub(super) fn others(connection: &mut Connection, own: Option<u64>) -> Result<Option<String>, Error> {
    let since = Instant::now();
    loop {
        let found = look(connection, own)?;
        if found.is_empty() {
            return Ok(None);
        }
        if since.elapsed() >= PATIENCE {
            let more = if found.len() > NAMED_MAX { ", ..." } else { "" };
            let named = &found[..found.len().min(NAMED_MAX)];
            return Ok(Some(format!("{}{more}", named.join(", "))));
        }
        std::thread::sleep(PAUSE);
    }
}

fn look(connection: &mut Connection, own: Option<u64>) -> Result<Vec<String>, Error> {
    let own = [Some(schema::session_id(connection)?), own];
    // A user without privileges sees those of its own name at least, and the server is such a one.
    let statement = match connection.dialect() {
        Dialect::Postgres => {
            "SELECT pid, usename::text, COALESCE(client_addr::text, 'this machine'), application_name::text \
             FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' ORDER BY pid"
        }
        Dialect::MySql => {
            "SELECT id, user, host, '' FROM information_schema.processlist WHERE db = DATABASE() ORDER BY id"
        }
    };
    let mut found = Vec::new();
    connection.query(statement, &[], |row| {
        let id = row.unsigned(0)?;
        if !own.contains(&Some(id)) {
            let text = |column| {
                row.bytes(column)
                    .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            };
            let (user, host, program) = (text(1)?, text(2)?, text(3)?);
            let program = if program.is_empty() {
                program
            } else {
                format!(" ({program})")
            };
            found.push(format!("session {id} of {user} from {host}{program}"));
        }
        Ok::<_, Error>(())
    })?;
    Ok(found)
}
