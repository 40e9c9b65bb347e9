//! Statements for both dialects. Names are as the original's scripts have them (§4.2): MySQL tells case apart in those of tables.

use seaway_sql::{Connection, Dialect, Error};

/// The rows of messages that one statement reads.
pub(super) const MESSAGES_AT_ONCE: u64 = 4_096;
/// The rows of unacknowledged messages that one statement reads.
pub(super) const PENDING_AT_ONCE: u64 = 4_096;

/// What the row of `ServerInfo` says of tables that an export has not completed: the name stands where the cluster ID will be, and no
/// original has this version.
pub(super) const MARK: &str = "seaway-export";
pub(super) const UNFINISHED: u64 = 0;

/// The tables that hold what a server stores.
pub(super) const CONTENTS: [&str; 6] = [
    "Messages",
    "SubsPending",
    "Subscriptions",
    "Channels",
    "Clients",
    // Last, so that what is cleared is known for what it is until all of it is gone.
    "ServerInfo",
];

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

/// Some thousand rows of a table.
pub(super) fn delete_some(dialect: Dialect, table: &str) -> String {
    match dialect {
        Dialect::Postgres => {
            format!("DELETE FROM {table} WHERE ctid = ANY (ARRAY (SELECT ctid FROM {table} LIMIT {MESSAGES_AT_ONCE}))")
        }
        Dialect::MySql => format!("DELETE FROM {table} LIMIT {MESSAGES_AT_ONCE}"),
    }
}

/// How many bytes the column of messages takes; in PostgreSQL as many as there may be.
pub(super) fn message_bytes_max(connection: &mut Connection) -> Result<u64, Error> {
    let mut bytes = 0;
    if connection.dialect() == Dialect::MySql {
        let statement = "SELECT CAST(COALESCE(MAX(character_maximum_length), 0) AS UNSIGNED) FROM information_schema.columns \
             WHERE table_schema = DATABASE() AND table_name = 'Messages' AND column_name = 'data'";
        connection.query(statement, &[], |row| {
            bytes = row.unsigned(0)?;
            Ok::<_, Error>(())
        })?;
    }
    Ok(if bytes == 0 { u64::MAX } else { bytes })
}

/// The tables, and the statements that make each (§4.2). In MySQL messages may be longer than the 65,535 bytes of the original's script.
pub(super) fn definitions(dialect: Dialect) -> [(&'static str, &'static [&'static str]); 7] {
    match dialect {
        Dialect::Postgres => POSTGRES,
        Dialect::MySql => MYSQL,
    }
}

const POSTGRES: [(&str, &[&str]); 7] = [
    (
        "ServerInfo",
        &[
            "CREATE TABLE ServerInfo (uniquerow INTEGER DEFAULT 1 PRIMARY KEY, id VARCHAR(1024), proto BYTEA, version INTEGER)",
        ],
    ),
    (
        "Clients",
        &["CREATE TABLE Clients (id VARCHAR(1024) PRIMARY KEY, hbinbox TEXT, proto BYTEA)"],
    ),
    (
        "Channels",
        &[
            "CREATE TABLE Channels (id INTEGER PRIMARY KEY, name VARCHAR(1024) NOT NULL, maxseq BIGINT DEFAULT 0, \
             maxmsgs INTEGER DEFAULT 0, maxbytes BIGINT DEFAULT 0, maxage BIGINT DEFAULT 0, deleted BOOL DEFAULT FALSE)",
            "CREATE INDEX Idx_ChannelsName ON Channels (name)",
        ],
    ),
    (
        "Messages",
        &[
            "CREATE TABLE Messages (id INTEGER, seq BIGINT, timestamp BIGINT, size INTEGER, data BYTEA, \
             CONSTRAINT PK_MsgKey PRIMARY KEY (id, seq))",
            "CREATE INDEX Idx_MsgsTimestamp ON Messages (timestamp)",
        ],
    ),
    (
        "Subscriptions",
        &[
            "CREATE TABLE Subscriptions (id INTEGER, subid BIGINT, lastsent BIGINT DEFAULT 0, proto BYTEA, \
           deleted BOOL DEFAULT FALSE, CONSTRAINT PK_SubKey PRIMARY KEY (id, subid))",
        ],
    ),
    (
        "SubsPending",
        &[
            "CREATE TABLE SubsPending (subid BIGINT, row BIGINT, seq BIGINT DEFAULT 0, lastsent BIGINT DEFAULT 0, \
             pending BYTEA, acks BYTEA, CONSTRAINT PK_MsgPendingKey PRIMARY KEY (subid, row))",
            "CREATE INDEX Idx_SubsPendingSeq ON SubsPending (seq)",
        ],
    ),
    (
        "StoreLock",
        &["CREATE TABLE StoreLock (id VARCHAR(30), tick BIGINT DEFAULT 0)"],
    ),
];

const MYSQL: [(&str, &[&str]); 7] = [
    (
        "ServerInfo",
        &[
            "CREATE TABLE ServerInfo (uniquerow INT DEFAULT 1, id VARCHAR(1024), proto BLOB, version INTEGER, \
           PRIMARY KEY (uniquerow))",
        ],
    ),
    (
        "Clients",
        &["CREATE TABLE Clients (id VARCHAR(1024), hbinbox TEXT, proto BLOB, PRIMARY KEY (id(256)))"],
    ),
    (
        "Channels",
        &[
            "CREATE TABLE Channels (id INTEGER, name VARCHAR(1024) NOT NULL, maxseq BIGINT UNSIGNED DEFAULT 0, \
           maxmsgs INTEGER DEFAULT 0, maxbytes BIGINT DEFAULT 0, maxage BIGINT DEFAULT 0, deleted BOOL DEFAULT FALSE, \
           PRIMARY KEY (id), INDEX Idx_ChannelsName (name(256)))",
        ],
    ),
    (
        "Messages",
        &[
            "CREATE TABLE Messages (id INTEGER, seq BIGINT UNSIGNED, timestamp BIGINT, size INTEGER, data LONGBLOB, \
           CONSTRAINT PK_MsgKey PRIMARY KEY (id, seq), INDEX Idx_MsgsTimestamp (timestamp))",
        ],
    ),
    (
        "Subscriptions",
        &[
            "CREATE TABLE Subscriptions (id INTEGER, subid BIGINT UNSIGNED, lastsent BIGINT UNSIGNED DEFAULT 0, proto BLOB, \
           deleted BOOL DEFAULT FALSE, CONSTRAINT PK_SubKey PRIMARY KEY (id, subid))",
        ],
    ),
    (
        "SubsPending",
        &[
            "CREATE TABLE SubsPending (subid BIGINT UNSIGNED, `row` BIGINT UNSIGNED, seq BIGINT UNSIGNED DEFAULT 0, \
           lastsent BIGINT UNSIGNED DEFAULT 0, pending BLOB, acks BLOB, CONSTRAINT PK_MsgPendingKey PRIMARY KEY (subid, `row`), \
           INDEX Idx_SubsPendingSeq (seq))",
        ],
    ),
    (
        "StoreLock",
        &["CREATE TABLE StoreLock (id VARCHAR(30), tick BIGINT UNSIGNED DEFAULT 0)"],
    ),
];
