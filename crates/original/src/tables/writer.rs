//! Writes the tables (§4.2) of a database that has nothing in them.
//!
//! Until [`Unsealed::seal`] the row of `ServerInfo` has a version that the original refuses to start on, and by which the next attempt knows what
//! it may clear. Rows go in by the hundred, in transactions of a bounded size. Memory is bounded by one of them and the largest message.

use seaway_sql::{Connection, Dialect, Source, Value};

use super::options::TablesOptions;
use super::schema::{self, MARK, UNFINISHED};
use super::sessions;
use crate::encode::{message_end, message_front};
use crate::error::Error;
use crate::records::{ClientInfo, ServerInfo, SubState};
use crate::writer::NewMessage;

/// Longest name or ID, in characters.
const NAME_CHARACTERS_MAX: usize = 1_024;
/// Rows of one statement: as many as there are of the largest that fits. Few sizes, as each is a statement of its own.
const ROWS_AT_ONCE: [usize; 3] = [128, 16, 1];
/// Unacknowledged messages of one row, for a server that caches: as many as it writes itself (§4.3).
const LIST_MAX: usize = 2_000;
/// A statement is sent when its rows have so many bytes.
const STATEMENT_BYTES: usize = 1 << 20;
/// A transaction ends after so many rows, or bytes.
const TRANSACTION_ROWS: u64 = 8_192;
const TRANSACTION_BYTES: u64 = 16 << 20;

/// Why the original's tables cannot have a channel of this name; none when they can.
#[must_use]
pub fn unstorable_in_tables(channel: &[u8]) -> Option<&'static str> {
    match std::str::from_utf8(channel) {
        Err(_) => Some("its name is no UTF-8, and the column is one of text"),
        Ok(name) if name.contains('\0') => Some("its name has a zero byte, which a database does not take"),
        Ok(name) if name.chars().count() > NAME_CHARACTERS_MAX => Some("its name has more than 1024 characters"),
        Ok(_) => None,
    }
}

/// Makes those of the original's tables that are not there.
///
/// # Errors
/// The database cannot be reached, or the user may not make tables.
pub fn make_tables(source: &Source) -> Result<(), Error> {
    let mut connection = Connection::open(source)?;
    for (table, statements) in schema::definitions(connection.dialect()) {
        match connection.command(&format!("SELECT 1 FROM {table} WHERE 1 = 0")) {
            Ok(()) => {}
            Err(error) if error.is_missing_table => {
                for statement in statements {
                    connection.command(statement)?;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// See the module.
pub struct TablesWriter {
    connection: Connection,
    server: ServerInfo,
    rows: Rows,
    channels: i64,
    subscriptions: u64,
    /// Unacknowledged messages of one row.
    list_max: usize,
    /// Bytes that the column of messages takes.
    message_bytes_max: u64,
    scratch: Vec<u8>,
}

impl TablesWriter {
    /// Begins in tables that are there and empty; what an interrupted attempt has left is cleared.
    ///
    /// # Errors
    /// They hold something, somebody else is connected, or the database refuses.
    pub fn begin(source: &Source, options: &TablesOptions, server: &ServerInfo) -> Result<TablesWriter, Error> {
        let mut connection = Connection::open(source)?;
        let place = source.to_string();
        if !options.sessions_are_harmless
            && let Some(others) = sessions::others(&mut connection, options.lock_session)?
        {
            return Err(Error::at(
                &place,
                format!("somebody else is connected to the database: {others}"),
                "stop NATS Streaming; when all of them are something else, say --sessions-are-harmless",
            ));
        }
        if is_unfinished(&mut connection)? {
            clear(&mut connection)?;
        }
        for table in schema::CONTENTS {
            let mut holds_rows = false;
            connection.query(&format!("SELECT 1 FROM {table} LIMIT 1"), &[], |_| {
                holds_rows = true;
                Ok::<_, Error>(())
            })?;
            if holds_rows {
                let problem = format!("the table {table} is not empty");
                return Err(Error::at(
                    &place,
                    problem,
                    "name a database that has nothing in these tables",
                ));
            }
        }
        let mark = [Value::Signed(1), Value::Text(MARK), Value::Unsigned(UNFINISHED)];
        connection.execute(
            "INSERT INTO ServerInfo (uniquerow, id, version) VALUES ($1, $2, $3)",
            &mark,
        )?;
        let message_bytes_max = schema::message_bytes_max(&mut connection)?;
        Ok(TablesWriter {
            connection,
            server: server.clone(),
            rows: Rows::default(),
            channels: 0,
            subscriptions: 0,
            list_max: if options.no_caching { 1 } else { LIST_MAX },
            message_bytes_max,
            scratch: Vec::new(),
        })
    }

    /// Writes a client.
    ///
    /// # Errors
    /// The database refuses.
    pub fn client(&mut self, client: &ClientInfo) -> Result<(), Error> {
        let mut proto = Vec::new();
        client.encode(&mut proto);
        // What is no text is in the record alone, which is what the original goes by.
        let text = |bytes: &[u8]| Cell::Text(String::from_utf8_lossy(bytes).into_owned());
        let row = vec![text(&client.id), text(&client.heartbeat_inbox), Cell::Bytes(proto)];
        self.rows.push(&CLIENTS, row, &mut self.connection)
    }

    /// Begins a channel, which ends with [`TablesChannel::finish`].
    ///
    /// # Errors
    /// It cannot be stored: see [`unstorable_in_tables`].
    pub fn begin_channel<'a>(&'a mut self, name: &'a [u8]) -> Result<TablesChannel<'a>, Error> {
        let place = self.connection.place().to_owned();
        if let Some(reason) = unstorable_in_tables(name) {
            let problem = format!("NATS Streaming cannot store a channel: {reason}");
            return Err(Error::at(&place, problem, "leave the channel out"));
        }
        self.channels += 1;
        let text = String::from_utf8_lossy(name).into_owned();
        let row = vec![Cell::Signed(self.channels), Cell::Text(text)];
        self.rows.push(&CHANNELS, row, &mut self.connection)?;
        Ok(TablesChannel {
            name,
            last: 0,
            last_timestamp: 0,
            writer: self,
        })
    }

    /// Everything is in the database, but for what makes it count.
    ///
    /// # Errors
    /// The database refuses.
    pub fn finish(mut self) -> Result<Unsealed, Error> {
        self.rows.flush(&mut self.connection)?;
        self.rows.commit(&mut self.connection)?;
        Ok(Unsealed {
            connection: self.connection,
            server: self.server,
        })
    }
}

/// Tables that are complete and do not count yet.
pub struct Unsealed {
    connection: Connection,
    server: ServerInfo,
}

impl Unsealed {
    /// The original starts on them from here on.
    ///
    /// # Errors
    /// The database refuses.
    pub fn seal(mut self) -> Result<(), Error> {
        let (mut proto, id) = (Vec::new(), String::from_utf8_lossy(&self.server.cluster_id));
        self.server.encode(&mut proto);
        let values = [
            Value::Text(&id),
            Value::Bytes(&proto),
            Value::Unsigned(1),
            Value::Text(MARK),
        ];
        let statement = "UPDATE ServerInfo SET id = $1, proto = $2, version = $3 WHERE id = $4";
        match self.connection.execute(statement, &values)? {
            1 => Ok(()),
            rows => Err(Error::at(
                self.connection.place(),
                format!("{rows} rows of ServerInfo are this export's, and there was one"),
                "let no other export write to these tables, and try again",
            )),
        }
    }

    /// The number by which the database knows this session.
    ///
    /// # Errors
    /// The database does not say.
    pub fn session(&mut self) -> Result<u64, Error> {
        Ok(schema::session_id(&mut self.connection)?)
    }
}

/// A channel that is being written: its messages, then its subscriptions.
pub struct TablesChannel<'a> {
    name: &'a [u8],
    last: u64,
    last_timestamp: i64,
    writer: &'a mut TablesWriter,
}

impl TablesChannel<'_> {
    /// Writes a message; how many bytes it is encoded in. Sequences ascend, and may leave some out.
    ///
    /// # Errors
    /// The database refuses, or its column is too narrow.
    pub fn message(&mut self, message: &NewMessage<'_>) -> Result<u64, Error> {
        let writer = &mut *self.writer;
        let encoded = &mut writer.scratch;
        encoded.clear();
        message_front(encoded, message.sequence, self.name, message.reply, message.data.len());
        encoded.extend_from_slice(message.data);
        message_end(encoded, message.timestamp_ns);
        let size = encoded.len() as u64;
        if size > writer.message_bytes_max {
            let problem = format!(
                "message {} of channel {} takes {size} bytes, and the column Messages.data no more than {}",
                message.sequence,
                String::from_utf8_lossy(self.name),
                writer.message_bytes_max
            );
            let advice = "ALTER TABLE Messages MODIFY data LONGBLOB, and try again";
            return Err(Error::at(writer.connection.place(), problem, advice));
        }
        let row = vec![
            Cell::Signed(writer.channels),
            Cell::Unsigned(message.sequence),
            Cell::Signed(message.timestamp_ns),
            Cell::Unsigned(size),
            Cell::Bytes(encoded.clone()),
        ];
        writer.rows.push(&MESSAGES, row, &mut writer.connection)?;
        (self.last, self.last_timestamp) = (message.sequence, message.timestamp_ns);
        Ok(size)
    }

    /// Writes a subscription with the ranges of what it has not acknowledged. Its number is given here.
    ///
    /// # Errors
    /// The database refuses.
    pub fn subscription(&mut self, state: &SubState, pending: &[(u64, u64)]) -> Result<(), Error> {
        let writer = &mut *self.writer;
        writer.subscriptions += 1;
        let id = writer.subscriptions;
        let mut proto = Vec::new();
        SubState { id, ..state.clone() }.encode(&mut proto);
        let row = vec![
            Cell::Signed(writer.channels),
            Cell::Unsigned(id),
            Cell::Unsigned(state.last_sent),
            Cell::Bytes(proto),
        ];
        writer.rows.push(&SUBSCRIPTIONS, row, &mut writer.connection)?;
        let mut sequences = pending.iter().flat_map(|(first, last)| *first..=*last);
        let id = Cell::Unsigned(id);
        for number in 1.. {
            let list: Vec<u64> = sequences.by_ref().take(writer.list_max).collect();
            let (Some(first), Some(last)) = (list.first(), list.last()) else {
                break;
            };
            let (target, mut row) = (
                if writer.list_max == 1 { &PENDING } else { &LISTS },
                vec![id.clone(), Cell::Unsigned(number)],
            );
            if writer.list_max == 1 {
                row.push(Cell::Unsigned(*first));
            } else {
                let json = list.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
                row.extend([Cell::Unsigned(*last), Cell::Bytes(format!("[{json}]").into_bytes())]);
            }
            writer.rows.push(target, row, &mut writer.connection)?;
        }
        Ok(())
    }

    /// Ends the channel, whose last sequence was this one. When messages are left, but not that one, an empty one takes its place, as sequences
    /// would otherwise be given out again; how many that were, and their bytes.
    ///
    /// # Errors
    /// The database refuses.
    pub fn finish(mut self, last: u64) -> Result<(u64, u64), Error> {
        if last <= self.last {
            return Ok((0, 0));
        }
        if self.last > 0 {
            let end = NewMessage {
                sequence: last,
                timestamp_ns: self.last_timestamp,
                ..NewMessage::default()
            };
            return self.message(&end).map(|bytes| (1, bytes));
        }
        let writer = self.writer;
        writer.rows.flush(&mut writer.connection)?;
        let values = [Value::Unsigned(last), Value::Signed(writer.channels)];
        writer
            .connection
            .execute("UPDATE Channels SET maxseq = $1 WHERE id = $2", &values)?;
        Ok((0, 0))
    }
}

/// Whether an export was interrupted here.
fn is_unfinished(connection: &mut Connection) -> Result<bool, Error> {
    let mut found = false;
    connection.query("SELECT id, version FROM ServerInfo", &[], |row| {
        found = row.bytes(0)? == MARK.as_bytes() && row.unsigned(1)? == UNFINISHED;
        Ok::<_, seaway_sql::Error>(())
    })?;
    Ok(found)
}

/// Removes what an interrupted export has left, some thousand rows at a time; the mark goes last.
fn clear(connection: &mut Connection) -> Result<(), Error> {
    for table in schema::CONTENTS {
        let statement = schema::delete_some(connection.dialect(), table);
        while connection.execute(&statement, &[])? > 0 {}
    }
    Ok(())
}

/// A value of a row that waits.
#[derive(Clone)]
enum Cell {
    Signed(i64),
    Unsigned(u64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Cell {
    fn value(&self) -> Value<'_> {
        match self {
            Cell::Signed(number) => Value::Signed(*number),
            Cell::Unsigned(number) => Value::Unsigned(*number),
            Cell::Text(text) => Value::Text(text),
            Cell::Bytes(bytes) => Value::Bytes(bytes),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Cell::Text(text) => text.len(),
            Cell::Bytes(bytes) => bytes.len(),
            Cell::Signed(_) | Cell::Unsigned(_) => 8,
        }
    }
}

/// Where rows go: a table, and columns of it.
struct Target {
    table: &'static str,
    columns: [&'static str; 2],
    width: usize,
}

impl Target {
    const fn new(table: &'static str, columns: [&'static str; 2], width: usize) -> Target {
        Target { table, columns, width }
    }

    fn insert(&self, dialect: Dialect, rows: usize) -> String {
        let columns = match dialect {
            Dialect::Postgres => self.columns[0],
            Dialect::MySql => self.columns[1],
        };
        let mut text = format!("INSERT INTO {} ({columns}) VALUES ", self.table);
        for row in 0..rows {
            text += if row == 0 { "(" } else { ", (" };
            for column in 1..=self.width {
                let separator = if column == 1 { "" } else { ", " };
                text += &format!("{separator}${}", row * self.width + column);
            }
            text += ")";
        }
        text
    }
}

const fn same(columns: &'static str) -> [&'static str; 2] {
    [columns, columns]
}

static CLIENTS: Target = Target::new("Clients", same("id, hbinbox, proto"), 3);
static CHANNELS: Target = Target::new("Channels", same("id, name"), 2);
static MESSAGES: Target = Target::new("Messages", same("id, seq, timestamp, size, data"), 5);
static SUBSCRIPTIONS: Target = Target::new("Subscriptions", same("id, subid, lastsent, proto"), 4);
static PENDING: Target = Target::new("SubsPending", ["subid, row, seq", "subid, `row`, seq"], 3);

static LISTS: Target = Target::new(
    "SubsPending",
    ["subid, row, lastsent, pending", "subid, `row`, lastsent, pending"],
    4,
);

/// Rows of one table on their way, and the transaction that is under way.
#[derive(Default)]
struct Rows {
    target: Option<&'static Target>,
    rows: Vec<Vec<Cell>>,
    bytes: usize,
    transaction_rows: u64,
    transaction_bytes: u64,
}

impl Rows {
    fn push(&mut self, target: &'static Target, row: Vec<Cell>, connection: &mut Connection) -> Result<(), Error> {
        if self.target.is_some_and(|present| !std::ptr::eq(present, target)) {
            self.flush(connection)?;
        }
        self.target = Some(target);
        self.bytes += row.iter().map(Cell::bytes).sum::<usize>();
        self.rows.push(row);
        if self.rows.len() >= ROWS_AT_ONCE[0] || self.bytes >= STATEMENT_BYTES {
            self.flush(connection)?;
        }
        Ok(())
    }

    /// Sends what waits.
    fn flush(&mut self, connection: &mut Connection) -> Result<(), Error> {
        let Some(target) = self.target else { return Ok(()) };
        if self.transaction_rows == 0 && !self.rows.is_empty() {
            connection.command("BEGIN")?;
        }
        let mut rest = &self.rows[..];
        while let Some(size) = ROWS_AT_ONCE.into_iter().find(|size| *size <= rest.len()) {
            let (some, behind) = rest.split_at(size);
            let values: Vec<Value<'_>> = some.iter().flatten().map(Cell::value).collect();
            connection.execute(&target.insert(connection.dialect(), size), &values)?;
            rest = behind;
        }
        self.transaction_rows += self.rows.len() as u64;
        self.transaction_bytes += self.bytes as u64;
        self.rows.clear();
        self.bytes = 0;
        if self.transaction_rows >= TRANSACTION_ROWS || self.transaction_bytes >= TRANSACTION_BYTES {
            self.commit(connection)?;
        }
        Ok(())
    }

    fn commit(&mut self, connection: &mut Connection) -> Result<(), Error> {
        if self.transaction_rows > 0 {
            connection.command("COMMIT")?;
        }
        (self.transaction_rows, self.transaction_bytes) = (0, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_statement_have_their_own_parameters() {
        assert_eq!(
            PENDING.insert(Dialect::Postgres, 2),
            "INSERT INTO SubsPending (subid, row, seq) VALUES ($1, $2, $3), ($4, $5, $6)"
        );
        assert_eq!(
            PENDING.insert(Dialect::MySql, 1),
            "INSERT INTO SubsPending (subid, `row`, seq) VALUES ($1, $2, $3)"
        );
    }

    #[test]
    fn names_that_a_column_of_text_takes() {
        assert_eq!(unstorable_in_tables("été".as_bytes()), None);
        assert_eq!(unstorable_in_tables("é".repeat(1024).as_bytes()), None);
        assert!(unstorable_in_tables("é".repeat(1025).as_bytes()).is_some());
        assert!(unstorable_in_tables(b"\xFF").is_some());
        assert!(unstorable_in_tables(b"a\0").is_some());
    }
}
