//! Reads the tables (§4.2, §4.4) and says what it finds.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher as _};

use seaway_sql::{Connection, Row, Value};

use super::options::TablesOptions;
use super::pending::{PendingRow, apply};
use super::{lock, schema, sessions};
use crate::account::{Contents, Source, Take};
use crate::check::needed_bytes;
use crate::directory::is_channel_name;
use crate::encryption::Key;
use crate::entities::{Clients, Subscriptions};
use crate::error::Error;
use crate::finding::{Finding, Findings, Kind, Severity};
use crate::limits::ENTITIES_MAX;
use crate::records::{ClientInfo, Message, ServerInfo, SubState};
use crate::report::{Disk, Place, text};

/// See the module.
pub(super) struct Tables {
    connection: RefCell<Connection>,
    key: Option<Key>,
    server: Option<ServerInfo>,
    clients: Clients,
    channels: Vec<ChannelRow>,
    free_bytes: Option<u64>,
}

/// A channel that is not deleted.
struct ChannelRow {
    id: i64,
    name: Vec<u8>,
    /// The last sequence, written when nothing else would tell it.
    last: u64,
}

/// Why rows are not read to the end.
enum Stop {
    Failed(seaway_sql::Error),
    Enough,
}

impl From<seaway_sql::Error> for Stop {
    fn from(error: seaway_sql::Error) -> Stop {
        Stop::Failed(error)
    }
}

/// Whether all was read.
fn is_whole(read: Result<(), Stop>) -> Result<bool, Error> {
    match read {
        Ok(()) => Ok(true),
        Err(Stop::Enough) => Ok(false),
        Err(Stop::Failed(error)) => Err(error.into()),
    }
}

impl Tables {
    /// Reads everything but the channels.
    pub(super) fn open(
        mut connection: Connection,
        options: &TablesOptions,
        findings: &mut Findings,
    ) -> Result<Tables, Error> {
        let refusal = |kind, place: String| Finding::new(Severity::Refusal, kind, place);
        let (server, version) = match options.is_unfinished {
            true => (None, None),
            false => read_server(&mut connection, findings)?,
        };
        if let Some(version) = version.filter(|version| *version != 1) {
            findings.push(refusal(Kind::UnsupportedVersion, "ServerInfo".to_owned()).count(version));
        }
        if options.lock_session.is_none()
            && let Some(holder) = lock::holder(&mut connection)?
        {
            findings.push(refusal(Kind::StoreLocked, format!("StoreLock ({holder})")));
        }
        if !options.sessions_are_harmless
            && let Some(others) = sessions::others(&mut connection, options.lock_session)?
        {
            findings.push(refusal(Kind::SessionsOpen, others));
        }
        let clients = read_clients(&mut connection, findings)?;
        let channels = read_channels(&mut connection, findings)?;
        Ok(Tables {
            connection: RefCell::new(connection),
            key: options.key.clone(),
            server,
            clients,
            channels,
            free_bytes: options.free_bytes,
        })
    }

    /// Changes when anything does that a running server would write: ranges of messages, subscriptions, what they were sent, clients.
    pub(super) fn fingerprint(&self) -> Result<u64, Error> {
        let connection = &mut *self.connection.borrow_mut();
        let row = schema::row(connection.dialect());
        let mut hasher = DefaultHasher::new();
        let statements = [
            "SELECT id, maxseq, deleted, name FROM Channels ORDER BY id".to_owned(),
            "SELECT 0, 0, 0, id FROM Clients ORDER BY id".to_owned(),
            "SELECT subid, lastsent, deleted, proto FROM Subscriptions ORDER BY id, subid".to_owned(),
            format!("SELECT subid, {row}, seq, acks FROM SubsPending ORDER BY subid, {row}"),
        ];
        for statement in statements {
            connection.query(&statement, &[], |row| {
                for column in 0..3 {
                    hasher.write_u64(row.unsigned(column)?);
                }
                hasher.write(row.bytes(3)?);
                Ok::<_, seaway_sql::Error>(())
            })?;
        }
        for channel in &self.channels {
            let bounds = "SELECT COALESCE(MIN(seq), 0), COALESCE(MAX(seq), 0) FROM Messages WHERE id = $1";
            connection.query(bounds, &[Value::Signed(channel.id)], |row| {
                hasher.write_u64(row.unsigned(0)?);
                hasher.write_u64(row.unsigned(1)?);
                Ok::<_, seaway_sql::Error>(())
            })?;
        }
        Ok(hasher.finish())
    }

    /// The channel's messages, in ranges. First and last sequence; 0 when there is none or no more is wanted.
    fn messages(
        &self,
        channel: &ChannelRow,
        findings: &mut Findings,
        take: Take<'_>,
    ) -> Result<Option<(u64, u64)>, Error> {
        let connection = &mut *self.connection.borrow_mut();
        let statement = schema::messages();
        let (mut first, mut last) = (0, 0);
        loop {
            let mut rows = 0;
            let from = [Value::Signed(channel.id), Value::Unsigned(last)];
            let read = connection.query(&statement, &from, |row| {
                rows += 1;
                last = row.unsigned(0)?;
                if first == 0 {
                    first = last;
                }
                match Message::decode(row.bytes(1)?) {
                    Ok(message) if message.sequence == last => {
                        if !take(&message) {
                            return Err(Stop::Enough);
                        }
                    }
                    _ => {
                        let finding = Finding::new(Severity::Loss, Kind::MessageDamaged, text(&channel.name));
                        findings.push(finding.sequence(last));
                    }
                }
                Ok(())
            });
            if !is_whole(read)? {
                return Ok(None);
            }
            if rows < schema::MESSAGES_AT_ONCE {
                return Ok(Some((first, last)));
            }
        }
    }

    fn subscriptions(&self, channel: &ChannelRow, first: u64, findings: &mut Findings) -> Result<Subscriptions, Error> {
        let connection = &mut *self.connection.borrow_mut();
        let mut found = Subscriptions::default();
        let place = |table: &str| format!("{table} of {}", text(&channel.name));
        let statement = "SELECT subid, lastsent, proto, deleted FROM Subscriptions WHERE id = $1 ORDER BY subid";
        let read = connection.query(statement, &[Value::Signed(channel.id)], |row| {
            let id = row.unsigned(0)?;
            found.highest_id = found.highest_id.max(id);
            if row.flag(3)? {
                return Ok(());
            }
            match SubState::decode(row.bytes(2)?) {
                Ok(state) => {
                    let last_sent = state.last_sent.max(row.unsigned(1)?);
                    found.put(SubState { id, last_sent, ..state });
                }
                Err(_) => {
                    findings.push(Finding::new(Severity::Loss, Kind::UnknownRecord, place("Subscriptions")).count(1));
                }
            }
            enough_unless(found.is_bounded())
        });
        let mut is_bounded = is_whole(read)?;
        if is_bounded {
            let mut apply = |row: &Row<'_>| {
                let pending = PendingRow {
                    sequence: row.unsigned(2)?,
                    last_sent: row.unsigned(3)?,
                    pending: row.bytes(4)?,
                    acks: row.bytes(5)?,
                };
                let mut applied = Ok(());
                found.change(row.unsigned(0)?, |one| applied = apply(one, &pending, first));
                if applied.is_err() {
                    findings.push(Finding::new(Severity::Loss, Kind::UnknownRecord, place("SubsPending")).count(1));
                }
                enough_unless(found.is_bounded())
            };
            is_bounded = read_pending(connection, channel.id, &mut apply)?;
        }
        if !is_bounded {
            findings.push(Finding::new(Severity::Refusal, Kind::TooMany, place("Subscriptions")));
        }
        Ok(found)
    }
}

fn enough_unless(goes_on: bool) -> Result<(), Stop> {
    if goes_on { Ok(()) } else { Err(Stop::Enough) }
}

/// All rows of unacknowledged messages of a channel's subscriptions, in ranges: by subscription, and then in the order of their numbers.
fn read_pending(
    connection: &mut Connection,
    channel: i64,
    apply: &mut dyn FnMut(&Row<'_>) -> Result<(), Stop>,
) -> Result<bool, Error> {
    let statement = schema::pending(connection.dialect());
    let (mut subscription, mut number) = (0, 0);
    loop {
        let mut rows = 0;
        let from = [
            Value::Signed(channel),
            Value::Flag(false),
            Value::Unsigned(subscription),
            Value::Unsigned(subscription),
            Value::Unsigned(number),
        ];
        let read = connection.query(&statement, &from, |row| {
            rows += 1;
            (subscription, number) = (row.unsigned(0)?, row.unsigned(1)?);
            apply(row)
        });
        if !is_whole(read)? {
            return Ok(false);
        }
        if rows < schema::PENDING_AT_ONCE {
            return Ok(true);
        }
    }
}

/// What the server said of itself, and the version of the tables.
fn read_server(
    connection: &mut Connection,
    findings: &mut Findings,
) -> Result<(Option<ServerInfo>, Option<u64>), Error> {
    let (mut found, mut version) = (None, None);
    connection.query(
        "SELECT id, proto, version FROM ServerInfo WHERE uniquerow = 1",
        &[],
        |row| {
            version = Some(row.unsigned(2)?);
            // The original starts only on what agrees.
            let info = ServerInfo::decode(row.bytes(1)?).ok();
            let id = row.bytes(0)?;
            found = info.filter(|info| info.cluster_id == id);
            Ok::<_, seaway_sql::Error>(())
        },
    )?;
    let (severity, kind) = match (&version, &found) {
        (None, _) => (Severity::Repair, Kind::ServerInfoMissing),
        (Some(_), None) => (Severity::Loss, Kind::ServerInfoDamaged),
        (Some(_), Some(_)) => return Ok((found, version)),
    };
    findings.push(Finding::new(severity, kind, "ServerInfo"));
    Ok((None, version))
}

/// Rows of old servers have no more than ID and inbox (§4.2).
fn read_clients(connection: &mut Connection, findings: &mut Findings) -> Result<Clients, Error> {
    let mut clients = Clients::new();
    let read = connection.query("SELECT id, hbinbox, proto FROM Clients ORDER BY id", &[], |row| {
        let (id, proto) = (row.bytes(0)?.to_vec(), row.bytes(2)?);
        let client = match ClientInfo::decode(proto) {
            Ok(client) if !proto.is_empty() => ClientInfo { id, ..client },
            decoded => {
                if decoded.is_err() {
                    findings.push(Finding::new(Severity::Loss, Kind::UnknownRecord, "Clients").count(1));
                }
                ClientInfo {
                    id,
                    heartbeat_inbox: row.bytes(1)?.to_vec(),
                    ..ClientInfo::default()
                }
            }
        };
        clients.insert(client.id.clone(), client);
        enough_unless(clients.len() <= ENTITIES_MAX)
    });
    if !is_whole(read)? {
        findings.push(Finding::new(Severity::Refusal, Kind::TooMany, "Clients"));
    }
    Ok(clients)
}

fn read_channels(connection: &mut Connection, findings: &mut Findings) -> Result<Vec<ChannelRow>, Error> {
    let (mut channels, mut names) = (Vec::new(), BTreeSet::new());
    let statement = "SELECT id, name, maxseq FROM Channels WHERE deleted = $1 ORDER BY id";
    let read = connection.query(statement, &[Value::Flag(false)], |row| {
        let channel = ChannelRow {
            id: row.signed(0)?,
            name: row.bytes(1)?.to_vec(),
            last: row.unsigned(2)?,
        };
        if !is_channel_name(&channel.name) {
            findings.push(Finding::new(Severity::Loss, Kind::ChannelName, text(&channel.name)));
        } else if names.insert(channel.name.clone()) {
            channels.push(channel);
        } else {
            findings.push(Finding::new(Severity::Refusal, Kind::ChannelTwice, text(&channel.name)));
        }
        enough_unless(channels.len() <= ENTITIES_MAX)
    });
    if !is_whole(read)? {
        findings.push(Finding::new(Severity::Refusal, Kind::TooMany, "Channels"));
    }
    channels.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(channels)
}

impl Source for Tables {
    fn server(&self) -> Option<&ServerInfo> {
        self.server.as_ref()
    }
    fn clients(&self) -> &Clients {
        &self.clients
    }
    fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }
    fn channel_names(&self) -> Vec<&[u8]> {
        self.channels.iter().map(|channel| &channel.name[..]).collect()
    }

    fn channel(&self, position: usize, findings: &mut Findings, take: Take<'_>) -> Result<Contents, Error> {
        let channel = &self.channels[position];
        let Some((mut first, last)) = self.messages(channel, findings, take)? else {
            return Ok(Contents::default());
        };
        if first == 0 {
            // Nothing is left: whatever was sent is below.
            first = u64::MAX;
        }
        let subscriptions = self.subscriptions(channel, first, findings)?;
        // §4.4, 4: a subscription may have been sent more than is left.
        let sent = subscriptions.live.values().map(|one| one.state.last_sent).max();
        Ok(Contents {
            slices: 0,
            last: channel.last.max(last).max(sent.unwrap_or(0)),
            subscriptions,
        })
    }

    fn place(&self) -> Place {
        Place::Database(self.connection.borrow().place().to_owned())
    }
    fn place_of_server(&self) -> &'static str {
        "ServerInfo"
    }
    fn place_of_subscriptions(&self, channel: &str) -> String {
        format!("Subscriptions of {channel}")
    }
    /// Tables count what a message is encoded in (§2.1, §4.2).
    fn counted_bytes(&self) -> u64 {
        0
    }
    fn disk(&self, bytes: u64) -> Result<Disk, Error> {
        Ok(Disk {
            files_bytes: schema::messages_bytes(&mut self.connection.borrow_mut())?,
            needed_bytes: needed_bytes(bytes),
            free_bytes: self.free_bytes,
        })
    }
}
