//! What is asked of an export, and what it says.

use std::path::PathBuf;

use seaway_original::{Key, SealCipher};
use seaway_store::Encryption;
use serde::Serialize;

/// Notes that are listed.
const NOTES_MAX: usize = 1_000;

/// How a store becomes a directory of NATS Streaming's.
#[derive(Clone, Default)]
pub struct ExportOptions {
    /// Opens a store that is encrypted.
    pub encryption: Option<Encryption>,
    /// The key and the cipher with which the payloads are encrypted in the directory, for a server with `-encrypt`.
    pub seal: Option<(Key, SealCipher)>,
    /// Whether what is lost, damaged, or cannot be stored there may be left out.
    pub accepts_losses: bool,
}

/// What a directory of NATS Streaming's has, or would have.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Exported {
    /// The store that it is made of.
    pub store: PathBuf,
    /// Where it is; none when nothing was written there.
    pub directory: Option<PathBuf>,
    /// In which database it is, without the password; none when nothing was written in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The cluster ID.
    pub cluster_id: String,
    /// Clients.
    pub clients: u64,
    /// Channels.
    pub channels: u64,
    /// Messages, those included that stand in the place of others.
    pub messages: u64,
    /// Bytes as NATS Streaming counts them.
    pub bytes: u64,
    /// Empty messages in the place of those that are lost, damaged or gone.
    pub filled: u64,
    /// Subscriptions, and places of durable queue groups.
    pub subscriptions: u64,
    /// Messages that await acks.
    pub pending: u64,
    /// What NATS Streaming cannot hold, or will do with it.
    pub notes: Vec<Note>,
    /// How many more there are than are listed.
    pub notes_not_listed: u64,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Something that the store has, or had, will not be there.
    Loss,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in one word for programs.
    pub kind: &'static str,
    /// Which channel it concerns.
    pub channel: Option<String>,
    /// First and last of the messages that it concerns.
    pub messages: Option<(u64, u64)>,
    /// In words.
    pub text: String,
}

impl Note {
    pub(super) fn new(severity: Severity, kind: &'static str, text: impl Into<String>) -> Note {
        Note {
            severity,
            kind,
            channel: None,
            messages: None,
            text: text.into(),
        }
    }

    pub(super) fn of(self, channel: &[u8]) -> Note {
        Note {
            channel: Some(String::from_utf8_lossy(channel).into_owned()),
            ..self
        }
    }

    pub(super) fn about(self, first: u64, last: u64) -> Note {
        Note {
            messages: Some((first, last)),
            ..self
        }
    }
}

impl Exported {
    /// Losses are listed before notes when there are too many.
    pub(super) fn note(&mut self, note: Note) {
        if self.notes.len() < NOTES_MAX {
            return self.notes.push(note);
        }
        self.notes_not_listed += 1;
        let replaced = self.notes.iter().rposition(|listed| listed.severity == Severity::Note);
        if let Some(replaced) = replaced.filter(|_| note.severity == Severity::Loss) {
            self.notes[replaced] = note;
        }
    }
}
