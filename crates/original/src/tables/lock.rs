//! The original's lease of a database (§4.5): a row with who holds it and a number that its holder raises once a second.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use seaway_sql::{Connection, Source, Value};

use super::schema;
use crate::error::Error;

/// The holder raises its number this often.
const INTERVAL: Duration = Duration::from_secs(1);
/// Who waits looks again after this, and takes the lease when nothing has moved so many times.
const POLL: Duration = Duration::from_millis(1_500);
const POLLS: u32 = 3;
/// Renewals that may fail one after the other.
const FAILURES_MAX: u32 = 3;

/// What the row says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lease {
    id: Vec<u8>,
    tick: u64,
}

/// The lease, held and renewed until it is dropped; then it is given back.
#[derive(Debug)]
pub struct StoreLock {
    place: String,
    session: u64,
    /// Why it is no longer held.
    lost: Arc<Mutex<Option<String>>>,
    /// Dropped to end the renewals.
    ending: Option<SyncSender<()>>,
    renewals: Option<JoinHandle<()>>,
}

impl StoreLock {
    /// Takes the lease under a name that nobody else has; one of a server that is gone is taken after about five seconds. None when the
    /// database has no such table: servers of its time had no lease.
    ///
    /// # Errors
    /// A running server has it; the database cannot be reached.
    pub fn take(source: &Source, id: &str) -> Result<Option<StoreLock>, Error> {
        let mut connection = Connection::open(source)?;
        let had_row = match read(&mut connection, false) {
            Ok(lease) => lease.is_some(),
            Err(error) if error.is_missing_table => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let place = source.to_string();
        let mut seen = attempt(&mut connection, id, None)?;
        for _ in 0..POLLS {
            let Some(other) = &seen else { break };
            std::thread::sleep(POLL);
            let now = attempt(&mut connection, id, None)?;
            if now.as_ref().is_some_and(|now| now != other) {
                return Err(held(&place, other));
            }
            seen = now;
        }
        if let Some(other) = seen {
            // Nothing has moved: unless that changes at the last moment, its holder is gone.
            if let Some(now) = attempt(&mut connection, id, Some(&other))? {
                return Err(held(&place, &now));
            }
        }
        let session = schema::session_id(&mut connection)?;
        let lost = Arc::new(Mutex::new(None));
        let (ending, ended) = sync_channel(1);
        let renewals = std::thread::Builder::new().name("store-lock".to_owned()).spawn({
            let (lost, id, source) = (Arc::clone(&lost), id.to_owned(), source.clone());
            move || {
                let mut failures = 0;
                while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    match attempt(&mut connection, &id, None) {
                        Ok(None) => failures = 0,
                        Ok(Some(other)) => return tell(&lost, name(&other)),
                        Err(error) => {
                            failures += 1;
                            if failures >= FAILURES_MAX {
                                return tell(&lost, error.to_string());
                            }
                            if let Ok(fresh) = Connection::open(&source) {
                                connection = fresh;
                            }
                        }
                    }
                }
                // What cannot be given back is taken by whoever waits for it, a little later.
                let _ = give_back(&mut connection, &id, had_row);
            }
        });
        let renewals =
            renewals.map_err(|error| Error::at(&place, format!("cannot start a thread: {error}"), "try again"))?;
        Ok(Some(StoreLock {
            place,
            session,
            lost,
            ending: Some(ending),
            renewals: Some(renewals),
        }))
    }

    /// The number by which the database knows the session that renews it.
    #[must_use]
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Whether it is still held.
    ///
    /// # Errors
    /// Somebody else has it, or it could not be renewed.
    pub fn check(&self) -> Result<(), Error> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.as_ref().map_or(Ok(()), |reason| {
            let problem = format!("the StoreLock was lost: {reason}");
            Err(Error::at(
                &self.place,
                problem,
                "stop every server that uses the database, and try again",
            ))
        })
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        self.ending = None;
        if let Some(renewals) = self.renewals.take() {
            // One that panicked has nothing to give back.
            let _ = renewals.join();
        }
    }
}

fn tell(lost: &Mutex<Option<String>>, reason: String) {
    *lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
}

fn name(lease: &Lease) -> String {
    format!("{:?} holds it", String::from_utf8_lossy(&lease.id))
}

fn held(place: &str, lease: &Lease) -> Error {
    let problem = format!(
        "a running server holds the StoreLock: {:?}, at tick {}",
        String::from_utf8_lossy(&lease.id),
        lease.tick
    );
    Error::at(
        place,
        problem,
        "stop the server (all of a fault-tolerance group), and try again",
    )
}

/// Who holds the lease and shows it, in words; takes nothing. None for one that is gone, too.
pub(super) fn holder(connection: &mut Connection) -> Result<Option<String>, seaway_sql::Error> {
    let first = match read(connection, false) {
        Ok(lease) => lease.filter(|lease| !lease.id.is_empty()),
        Err(error) if error.is_missing_table => None,
        Err(error) => return Err(error),
    };
    let Some(first) = first else { return Ok(None) };
    for _ in 0..POLLS {
        std::thread::sleep(POLL);
        let now = read(connection, false)?;
        match now.filter(|now| !now.id.is_empty()) {
            None => return Ok(None),
            Some(now) if now != first => return Ok(Some(name(&now))),
            Some(_) => {}
        }
    }
    Ok(None)
}

/// The row; of two, which two servers that begin at once can make, one that is held.
fn read(connection: &mut Connection, for_update: bool) -> Result<Option<Lease>, seaway_sql::Error> {
    let statement = match for_update {
        true => "SELECT id, tick FROM StoreLock FOR UPDATE",
        false => "SELECT id, tick FROM StoreLock",
    };
    let mut found: Option<Lease> = None;
    connection.query(statement, &[], |row| {
        let lease = Lease {
            id: row.bytes(0)?.to_vec(),
            tick: row.unsigned(1)?,
        };
        if found.as_ref().is_none_or(|found| found.id.is_empty()) {
            found = Some(lease);
        }
        Ok::<_, seaway_sql::Error>(())
    })?;
    Ok(found)
}

/// Takes or renews the lease when it is free, ours, or exactly `stale`; otherwise what it says.
fn attempt(connection: &mut Connection, id: &str, stale: Option<&Lease>) -> Result<Option<Lease>, seaway_sql::Error> {
    connection.transaction(|connection| {
        let own = Value::Text(id);
        match read(connection, true)? {
            None => {
                connection.execute(
                    "INSERT INTO StoreLock (id, tick) VALUES ($1, $2)",
                    &[own, Value::Unsigned(1)],
                )?;
            }
            Some(lease) => {
                let tick = match lease {
                    _ if lease.id.is_empty() || lease.id == id.as_bytes() => lease.tick.saturating_add(1),
                    _ if Some(&lease) == stale => 1,
                    other => return Ok(Some(other)),
                };
                connection.execute("UPDATE StoreLock SET id = $1, tick = $2", &[own, Value::Unsigned(tick)])?;
            }
        }
        Ok(None)
    })
}

/// As a server leaves it that is stopped; where there was no row, there is none again.
fn give_back(connection: &mut Connection, id: &str, had_row: bool) -> Result<(), seaway_sql::Error> {
    let own = Value::Text(id);
    match had_row {
        true => connection.execute(
            "UPDATE StoreLock SET id = $1, tick = $2 WHERE id = $3",
            &[Value::Text(""), Value::Unsigned(0), own],
        )?,
        false => connection.execute("DELETE FROM StoreLock WHERE id = $1", &[own])?,
    };
    Ok(())
}
