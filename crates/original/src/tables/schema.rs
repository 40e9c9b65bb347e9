//! Statements for both dialects. Names are as the original's scripts have them (§4.2): MySQL tells case apart in those of tables.

use seaway_sql::{Connection, Dialect, Error};

/// The rows of messages that one statement reads.
pub(super) const MESSAGES_AT_ONCE: u64 = 4_096;
/// The rows of unacknowledged messages that one statement reads.
pub(super) const PENDING_AT_ONCE: u64 = 4_096;

/// The name of the column `row`, which is a word of MySQL's own.
pub(super) fn row(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "row",
        Dialect::MySql => "`row`",
    }
}

/// A range of a channel's messages.
pub(super) fn messages() -> String {
    format!("SELECT seq, data FROM Messages WHERE id = $1 AND seq > $2 ORDER BY seq LIMIT {MESSAGES_AT_ONCE}")
}

/// A range of what the subscriptions of a channel have not acknowledged.
pub(super) fn pending(dialect: Dialect) -> String {
    let row = row(dialect);
    format!(
        "SELECT p.subid, p.{row}, p.seq, p.lastsent, p.pending, p.acks FROM SubsPending p \
         JOIN Subscriptions s ON s.subid = p.subid WHERE s.id = $1 AND s.deleted = $2 \
         AND (p.subid > $3 OR (p.subid = $4 AND p.{row} > $5)) ORDER BY p.subid, p.{row} LIMIT {PENDING_AT_ONCE}"
    )
}

/// What the table of messages takes, as the database says without counting.
pub(super) fn messages_bytes(connection: &mut Connection) -> Result<u64, Error> {
    let statement = match connection.dialect() {
        Dialect::Postgres => "SELECT pg_total_relation_size('Messages')",
        Dialect::MySql => {
            "SELECT CAST(COALESCE(MAX(data_length + index_length), 0) AS UNSIGNED) FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_name = 'Messages'"
        }
    };
    let mut bytes = 0;
    connection.query(statement, &[], |row| {
        bytes = row.unsigned(0)?;
        Ok::<_, Error>(())
    })?;
    Ok(bytes)
}

/// The number by which the database knows this session.
pub(super) fn session_id(connection: &mut Connection) -> Result<u64, Error> {
    let statement = match connection.dialect() {
        Dialect::Postgres => "SELECT pg_backend_pid()",
        Dialect::MySql => "SELECT CONNECTION_ID()",
    };
    let mut id = 0;
    connection.query(statement, &[], |row| {
        id = row.unsigned(0)?;
        Ok::<_, Error>(())
    })?;
    Ok(id)
}
