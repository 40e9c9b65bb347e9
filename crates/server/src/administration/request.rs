//! From a message to what it asks for. Everything in it is somebody else's: sizes are bounded, names are checked, and what
//! is not understood is refused with the name of it.

use seaway_monitor::limits::{LIST_LIMIT_DEFAULT, WHY_LIMIT_DEFAULT, WHY_LIMIT_MAX};
use seaway_monitor::{AuditQuestion, WhyQuestion};
use seaway_streaming::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::Failure;
use super::intent::Change;
use crate::bus::{Message, Origin};
use crate::limits::{
    ADMINISTRATION_LIST_MAX, ADMINISTRATION_REQUEST_BYTES_MAX, BACKUP_PIECE_BYTES_MAX, LOOK_BYTES_DEFAULT,
    LOOK_BYTES_MAX, LOOK_MESSAGES_MAX,
};

/// Messages of `read.messages` when the request does not say.
const LOOK_MESSAGES_DEFAULT: u64 = 10;

/// Every operation, for those who ask for another one.
const OPERATIONS: &str = "change.ack, change.backup.begin, change.backup.end, change.backup.files, change.backup.read, \
                          change.delete, change.disconnect, change.failover, change.limit, change.log_level, \
                          change.move, change.pause, change.purge, change.redeliver, change.reload, change.remove, \
                          change.resume, read.audit, read.channel, read.channels, read.clients, read.durables, \
                          read.messages, read.server, read.why";

/// A request that wants an answer.
pub(super) struct Request {
    /// The connection it came from.
    pub(super) origin: Origin,
    /// Where it was published to.
    pub(super) subject: Vec<u8>,
    /// Where its answer goes.
    pub(super) reply: Vec<u8>,
    /// Length of what all subjects begin with.
    prefix_len: usize,
    /// Its payload; `None` when that is too long.
    body: Option<Vec<u8>>,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Something with one answer.
    Question(Question),
    /// Messages, with an answer each.
    Messages(Messages),
    /// A step of a backup.
    Backup(Backup),
    /// To change something.
    Change(Change),
}

/// A step of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Backup {
    /// Keep an image of what is durable now.
    Begin,
    /// A part of its list of files.
    Files { id: String, page: Page },
    /// Bytes of a file.
    Read {
        id: String,
        file: usize,
        offset: u64,
        length: u64,
    },
    /// Keep it no longer; whether it was kept until now.
    End { id: String },
}

/// What has one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Server,
    Channels { prefix: String, page: Page },
    Channel { channel: String, page: Page },
    Durables { channel: Option<String>, page: Page },
    Clients(Page),
    Client(String),
    Why(WhyQuestion),
    Audit(AuditQuestion),
}

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) offset: usize,
    pub(super) limit: usize,
}

/// What is to be read of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Messages {
    pub(super) channel: String,
    /// `None`: so that the last one comes last.
    pub(super) from: Option<u64>,
    pub(super) count: u64,
    pub(super) bytes_max: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelsFields {
    prefix: Option<String>,
    offset: Option<u64>,
    limit: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelFields {
    channel: Option<String>,
    offset: Option<u64>,
    limit: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientsFields {
    client: Option<String>,
    offset: Option<u64>,
    limit: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhyFields {
    channel: Option<String>,
    durable: Option<String>,
    queue: Option<String>,
    client: Option<String>,
    offset: Option<u64>,
    limit: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditFields {
    since: Option<String>,
    who: Option<String>,
    offset: Option<u64>,
    limit: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessagesFields {
    channel: Option<String>,
    from: Option<u64>,
    count: Option<u64>,
    bytes_max: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupFilesFields {
    backup: String,
    offset: Option<u64>,
    limit: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupReadFields {
    backup: String,
    file: u64,
    offset: u64,
    length: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupEndFields {
    backup: String,
}

impl Request {
    /// Takes over a message below `prefix`; `None` when nobody waits for an answer.
    pub(super) fn read(prefix: &str, origin: Origin, message: &Message<'_>) -> Option<Request> {
        let reply = message.reply.filter(|reply| !reply.is_empty())?;
        let body = Some(message.payload).filter(|payload| payload.len() <= ADMINISTRATION_REQUEST_BYTES_MAX);
        Some(Request {
            origin,
            subject: message.subject.to_vec(),
            reply: reply.to_vec(),
            prefix_len: prefix.len(),
            body: body.map(<[u8]>::to_vec),
        })
    }

    /// Class and operation.
    pub(super) fn name(&self) -> &[u8] {
        self.subject.get(self.prefix_len..).unwrap_or_default()
    }

    /// Whether it is of the class that changes something.
    pub(super) fn is_change(&self) -> bool {
        self.name().split(|byte| *byte == b'.').next() == Some(b"change")
    }

    /// Whether it asks for messages.
    pub(super) fn is_for_messages(&self) -> bool {
        self.name() == b"read.messages"
    }

    /// What it asks for.
    ///
    /// # Errors
    /// There is no such operation, or the request is not understood.
    pub(super) fn operation(&self) -> Result<Operation, Failure> {
        if let Some(step) = self.name().strip_prefix(b"change.backup.")
            && let Some(backup) = self.backup(step)?
        {
            return Ok(Operation::Backup(backup));
        }
        if let Some(change) = self.change() {
            return change.map(Operation::Change);
        }
        let question = match self.name() {
            b"read.messages" => return self.fields().and_then(messages).map(Operation::Messages),
            b"read.server" => self.fields().map(|NoFields {}| Question::Server),
            b"read.channels" => self.fields().and_then(channels),
            b"read.channel" => self.fields().and_then(channel),
            b"read.durables" => self.fields().and_then(durables),
            b"read.clients" => self.fields().and_then(clients),
            b"read.why" => self.fields().and_then(why),
            b"read.audit" => self.fields().and_then(audit),
            unknown => {
                let unknown = String::from_utf8_lossy(unknown);
                let unknown: String = unknown.chars().take(64).collect();
                Err(Failure::not_found(&format!(
                    "no operation {unknown:?}; there are {OPERATIONS}"
                )))
            }
        };
        question.map(Operation::Question)
    }

    /// A step of a backup, of which the word behind `change.backup.` is given.
    fn backup(&self, step: &[u8]) -> Result<Option<Backup>, Failure> {
        Ok(Some(match step {
            b"begin" => self.fields().map(|NoFields {}| Backup::Begin)?,
            b"files" => {
                let fields: BackupFilesFields = self.fields()?;
                Backup::Files {
                    id: fields.backup,
                    page: page(fields.offset, fields.limit)?,
                }
            }
            b"read" => {
                let fields: BackupReadFields = self.fields()?;
                if fields.length == 0 || fields.length > BACKUP_PIECE_BYTES_MAX {
                    let text = format!("\"length\" must be from 1 to {BACKUP_PIECE_BYTES_MAX}");
                    return Err(Failure::invalid(&text));
                }
                Backup::Read {
                    id: fields.backup,
                    file: usize::try_from(fields.file).unwrap_or(usize::MAX),
                    offset: fields.offset,
                    length: fields.length,
                }
            }
            b"end" => Backup::End {
                id: self.fields::<BackupEndFields>()?.backup,
            },
            _ => return Ok(None),
        }))
    }

    /// The fields of the body; an empty body has none.
    pub(super) fn fields<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let Some(body) = &self.body else {
            return Err(Failure::invalid(&format!(
                "the request is too long: at most {ADMINISTRATION_REQUEST_BYTES_MAX} bytes"
            )));
        };
        let body = body.trim_ascii();
        let body = if body.is_empty() { b"{}" } else { body };
        // Structures could be read from lists too.
        if !body.starts_with(b"{") {
            return Err(Failure::invalid("the request must be a JSON object, or empty"));
        }
        serde_json::from_slice(body)
            .map_err(|error| Failure::invalid(&format!("the request is not understood: {error}")))
    }
}

fn channels(fields: ChannelsFields) -> Result<Question, Failure> {
    Ok(Question::Channels {
        prefix: fields.prefix.unwrap_or_default(),
        page: page(fields.offset, fields.limit)?,
    })
}

fn channel(fields: ChannelFields) -> Result<Question, Failure> {
    Ok(Question::Channel {
        channel: required_channel(fields.channel)?,
        page: page(fields.offset, fields.limit)?,
    })
}

fn durables(fields: ChannelFields) -> Result<Question, Failure> {
    Ok(Question::Durables {
        channel: fields.channel,
        page: page(fields.offset, fields.limit)?,
    })
}

fn clients(fields: ClientsFields) -> Result<Question, Failure> {
    match fields {
        ClientsFields {
            client: Some(client),
            offset: None,
            limit: None,
        } => Ok(Question::Client(client)),
        ClientsFields { client: Some(_), .. } => Err(Failure::invalid(
            "\"client\" is one client: leave out \"offset\" and \"limit\"",
        )),
        ClientsFields {
            client: None,
            offset,
            limit,
        } => Ok(Question::Clients(page(offset, limit)?)),
    }
}

fn why(fields: WhyFields) -> Result<Question, Failure> {
    let page = page_of(fields.offset, fields.limit, WHY_LIMIT_DEFAULT, WHY_LIMIT_MAX)?;
    Ok(Question::Why(WhyQuestion {
        channel: required_channel(fields.channel)?.into_bytes(),
        durable: fields.durable.map(String::into_bytes),
        queue: fields.queue.map(String::into_bytes),
        client: fields.client.map(String::into_bytes),
        offset: page.offset,
        limit: page.limit,
    }))
}

fn audit(fields: AuditFields) -> Result<Question, Failure> {
    let page = page(fields.offset, fields.limit)?;
    let since = fields.since.as_deref().map(|text| moment("since", text)).transpose()?;
    Ok(Question::Audit(AuditQuestion {
        since_ns: since.map(|since| since.0),
        who: fields.who,
        offset: page.offset,
        limit: page.limit,
    }))
}

fn messages(fields: MessagesFields) -> Result<Messages, Failure> {
    let count = fields.count.unwrap_or(LOOK_MESSAGES_DEFAULT);
    let bytes_max = fields.bytes_max.unwrap_or(LOOK_BYTES_DEFAULT);
    Ok(Messages {
        channel: required_channel(fields.channel)?,
        from: match fields.from {
            Some(0) => return Err(Failure::invalid("\"from\" must be 1 or more: sequences begin at 1")),
            from => from,
        },
        count: between("count", count, LOOK_MESSAGES_MAX)?,
        bytes_max: between("bytes_max", bytes_max, LOOK_BYTES_MAX)?,
    })
}

pub(super) fn required_channel(channel: Option<String>) -> Result<String, Failure> {
    channel
        .filter(|channel| !channel.is_empty())
        .ok_or_else(|| Failure::invalid("\"channel\" is required: {\"channel\":\"NAME\"}"))
}

pub(super) fn moment(name: &str, text: &str) -> Result<Timestamp, Failure> {
    let time: jiff::Timestamp = text.parse().map_err(|error| {
        Failure::invalid(&format!(
            "\"{name}\": {error}; a time is written like \"2026-01-31T18:30:00Z\""
        ))
    })?;
    i64::try_from(time.as_nanosecond())
        .map(Timestamp)
        .map_err(|_| Failure::invalid(&format!("\"{name}\" must be between the years 1678 and 2262")))
}

fn between(name: &str, value: u64, max: u64) -> Result<u64, Failure> {
    if (1..=max).contains(&value) {
        Ok(value)
    } else {
        Err(Failure::invalid(&format!(
            "\"{name}\" must be 1 to {max}, and not {value}"
        )))
    }
}

fn page(offset: Option<u64>, limit: Option<u64>) -> Result<Page, Failure> {
    page_of(offset, limit, LIST_LIMIT_DEFAULT, ADMINISTRATION_LIST_MAX)
}

fn page_of(offset: Option<u64>, limit: Option<u64>, default: usize, max: usize) -> Result<Page, Failure> {
    let limit = between("limit", limit.unwrap_or(default as u64), max as u64)?;
    Ok(Page {
        // Nothing is behind what memory cannot count.
        offset: usize::try_from(offset.unwrap_or(0)).unwrap_or(usize::MAX),
        limit: usize::try_from(limit).unwrap_or(max),
    })
}
