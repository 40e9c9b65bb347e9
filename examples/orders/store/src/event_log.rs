//! The events of all aggregates, and the outbox: which of them are not published yet.
//!
//! An event and its row in the outbox are written by one transaction, so there is no moment in which one is there without
//! the other. Positions are given in the order of commits: appends take turns on one row. That bounds how many events one
//! log takes per second, and gives the outbox an order in which nothing can appear behind what was already published.

use std::time::Duration;

use seaway_orders_pb::messages::Event;

use crate::database::Database;
use crate::sql::{Schema, Statement};
use crate::transaction::Transaction;
use crate::value::Row;
use crate::{DatabaseUrl, Error};

/// The log; clones share its connections.
#[derive(Clone, Debug)]
pub struct EventLog {
    database: Database,
}

/// What came of an append.
#[derive(Clone, Debug, PartialEq)]
pub enum Appended {
    /// The event is there; this is how it was stored, now or the first time.
    Stored(Event),
    /// Nothing was stored: the aggregate has another version.
    Conflict {
        /// The version it has; 0 when it does not exist.
        present_version: u64,
    },
}

/// An event that is not published yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Unpublished {
    /// Its place among all events, from 1.
    pub position: i64,
    /// The event.
    pub event: Event,
}

impl EventLog {
    /// Opens the log, and makes its tables when they are missing.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open(url: &DatabaseUrl) -> Result<Self, Error> {
        let database = Database::open(url, Schema::EventLog).await?;
        Ok(Self { database })
    }

    /// Appends an event whose aggregate is one version behind it, and puts it into the outbox. An event whose ID is there
    /// already changes nothing and yields what was stored the first time.
    ///
    /// # Errors
    /// See [`Error`]; after [`Error::UnknownOutcome`] the event may or may not be there, and asking again tells.
    pub async fn append(&self, event: Event) -> Result<Appended, Error> {
        self.database
            .write(move |transaction| append(transaction, &event))
            .await
    }

    /// The events of an aggregate above a version, in order, at most `limit`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn events_of(&self, aggregate_id: &str, after_version: u64, limit: u32) -> Result<Vec<Event>, Error> {
        let values = [aggregate_id.into(), after_version.into(), i64::from(limit).into()];
        self.database
            .read(move |transaction| {
                let rows = transaction.query(Statement::EventsOfAggregate, &values)?;
                rows.iter().map(event).collect()
            })
            .await
    }

    /// The oldest events that are not published, in order, at most `limit`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn unpublished(&self, limit: u32) -> Result<Vec<Unpublished>, Error> {
        self.database
            .read(move |transaction| {
                let rows = transaction.query(Statement::OldestOutbox, &[i64::from(limit).into()])?;
                let unpublished = |row: &Row| -> Result<Unpublished, Error> {
                    Ok(Unpublished {
                        position: row.integer(7)?,
                        event: event(row)?,
                    })
                };
                rows.iter().map(unpublished).collect()
            })
            .await
    }

    /// Takes every event up to a position out of the outbox. All of them must have been published.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn published(&self, position: i64) -> Result<(), Error> {
        self.database
            .write(move |transaction| {
                transaction.execute(Statement::DeleteOutbox, &[position.into()])?;
                Ok(())
            })
            .await
    }

    /// Makes `holder` the only one who drains the outbox for the given time, by the clock of the database, or lengthens its
    /// time; false when somebody else's has not run out.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn take_lease(&self, holder: &str, time: Duration) -> Result<bool, Error> {
        let time_ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let values = [holder.into(), time_ms.into()];
        self.database
            .write(move |transaction| Ok(transaction.execute(Statement::TakeOutboxLease, &values)? == 1))
            .await
    }
}

fn append(transaction: &mut Transaction<'_>, new: &Event) -> Result<Appended, Error> {
    // From here on no other append sees or changes the log before this one has ended.
    let position = transaction.query_one(Statement::LockLog, &[])?.integer(0)? + 1;
    let id = new.event_id.as_str().into();
    if let Some(known) = transaction.query(Statement::EventById, &[id])?.first() {
        return event(known).map(Appended::Stored);
    }
    let aggregate = new.aggregate_id.as_str().into();
    let present_version = transaction
        .query_one(Statement::AggregateVersion, &[aggregate])?
        .number(0)?;
    if present_version.checked_add(1) != Some(new.version) {
        return Ok(Appended::Conflict { present_version });
    }
    let values = [
        position.into(),
        new.event_id.as_str().into(),
        new.aggregate_id.as_str().into(),
        new.aggregate_type.as_str().into(),
        new.version.into(),
        new.event_type.as_str().into(),
        new.data.as_ref().into(),
        new.created_on_ms.into(),
    ];
    transaction.execute(Statement::InsertEvent, &values)?;
    transaction.execute(Statement::InsertOutbox, &[position.into()])?;
    transaction.execute(Statement::AdvanceLog, &[position.into()])?;
    Ok(Appended::Stored(new.clone()))
}

/// An event from the columns that every statement about events begins with.
fn event(row: &Row) -> Result<Event, Error> {
    Ok(Event {
        event_id: row.text(0)?,
        aggregate_id: row.text(1)?,
        aggregate_type: row.text(2)?,
        version: row.number(3)?,
        event_type: row.text(4)?,
        data: row.bytes(5)?.into(),
        created_on_ms: row.integer(6)?,
    })
}
