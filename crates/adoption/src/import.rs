//! A store that is made of messages alone, with the sequences and times that they had.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use seaway_stan_protocol::{Subjects, quote, validate};
use seaway_store::{Encryption, FileOptions, beside};
use seaway_streaming::import::{Import, ImportedMessage};
use serde::Serialize;

use crate::adopt::prepare_vacant;
use crate::bulk::Bulk;
use crate::error::Error;
use crate::facts::Facts;
use crate::in_place;
use crate::lock::RootLock;
use crate::transfer::{MESSAGE_OVERHEAD, SEQUENCE_MAX, check_gap, token};
use crate::verify::{self, Bounds};

/// A message as it was stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeptMessage<'a> {
    /// Its channel. All messages of one come together.
    pub channel: &'a [u8],
    /// Above that of the one before.
    pub sequence: u64,
    /// Nanoseconds since 1970.
    pub timestamp_ns: i64,
    /// As published.
    pub reply: &'a [u8],
    /// The payload.
    pub data: &'a [u8],
}

/// What an import has made.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Imported {
    /// Where the store is.
    pub directory: PathBuf,
    /// Channels.
    pub channels: u64,
    /// Messages, without empty ones in the place of missing ones.
    pub messages: u64,
    /// Empty messages in the place of missing ones.
    pub filled: u64,
}

/// See the module. Dropped before it is finished, it leaves nothing that counts.
pub struct Importer {
    place: PathBuf,
    cluster_id: String,
    file: FileOptions,
    import: Import,
    facts: Facts,
    /// Facts appended so far.
    appended: usize,
    bulk: Option<Bulk>,
    /// Names without regard to case.
    folded: BTreeSet<Vec<u8>>,
    bounds: Bounds,
    imported: Imported,
    _lock: RootLock,
}

impl Importer {
    /// Begins a store in a directory that is not there yet, is empty, or holds an attempt that was interrupted.
    ///
    /// # Errors
    /// It holds something else, or cannot be written.
    pub fn begin(place: &Path, cluster_id: &str, encryption: Option<Encryption>) -> Result<Importer, Error> {
        if !validate::is_client_id(cluster_id.as_bytes()) {
            return Err(Error::Refused(format!(
                "{} is no cluster ID: letters, digits, - and _",
                quote(cluster_id.as_bytes())
            )));
        }
        if in_place::finish(place)? {
            return Err(Error::Refused(format!(
                "{} holds the store of an earlier import, which was interrupted in its last steps; they are taken now, and it is whole",
                place.display()
            )));
        }
        prepare_vacant(place)?;
        let lock = RootLock::take(place)?;
        // Another process may have been at it until now.
        prepare_vacant(place)?;
        beside::discard(place).map_err(Error::io("clear", place))?;
        let file = FileOptions {
            encryption,
            ..FileOptions::default()
        };
        Ok(Importer {
            place: place.to_owned(),
            cluster_id: cluster_id.to_owned(),
            bulk: Some(Bulk::begin(place, file.clone())?),
            file,
            import: Import::new(),
            facts: Facts::default(),
            appended: 0,
            folded: BTreeSet::new(),
            bounds: Bounds::new(),
            imported: Imported {
                directory: place.to_owned(),
                ..Imported::default()
            },
            _lock: lock,
        })
    }

    /// Takes a message. Missing ones before it become empty ones with its time.
    ///
    /// # Errors
    /// There can be no such message or channel, or it cannot be written.
    pub fn message(&mut self, message: &KeptMessage<'_>) -> Result<(), Error> {
        if message.channel != self.import.channel_name() || message.channel.is_empty() {
            self.end_channel()?;
            self.begin_channel(message.channel)?;
        }
        let last = self.import.last_sequence();
        if message.sequence <= last || message.sequence > SEQUENCE_MAX {
            return Err(Error::Refused(format!(
                "channel {} has a message with the sequence {} behind {last}, which cannot be",
                quote(message.channel),
                message.sequence
            )));
        }
        if last > 0 {
            check_gap(&self.place, message.channel, last, message.sequence)?;
            for sequence in last + 1..message.sequence {
                self.append(message, sequence, b"", b"")?;
                self.imported.filled += 1;
            }
        }
        self.append(message, message.sequence, message.reply, message.data)?;
        self.imported.messages += 1;
        Ok(())
    }

    fn append(&mut self, message: &KeptMessage<'_>, sequence: u64, reply: &[u8], data: &[u8]) -> Result<(), Error> {
        let bytes = message.channel.len() + reply.len() + data.len() + MESSAGE_OVERHEAD;
        let message = ImportedMessage {
            sequence,
            timestamp: message.timestamp_ns,
            reply,
            data,
        };
        self.import.message(&message, bulk(&mut self.bulk).room_for(bytes)?);
        Ok(())
    }

    fn begin_channel(&mut self, name: &[u8]) -> Result<(), Error> {
        if !self.folded.insert(validate::fold_case(name).into_owned()) {
            return Err(Error::Refused(format!(
                "messages of channel {} are in two places, or there is another channel whose name differs by case only: put all messages of a \
                 channel together",
                quote(name)
            )));
        }
        self.import.begin_channel(name, &mut self.facts.sink())?;
        self.append_facts()
    }

    fn end_channel(&mut self) -> Result<(), Error> {
        if self.import.channel_name().is_empty() {
            return Ok(());
        }
        let (channel, first, last) = self.import.end_channel(&mut self.facts.sink());
        self.bounds.insert(channel.0, (first, last));
        self.imported.channels += 1;
        self.append_facts()
    }

    fn append_facts(&mut self) -> Result<(), Error> {
        let from = std::mem::replace(&mut self.appended, self.facts.len());
        bulk(&mut self.bulk).facts_from(&self.facts, from)
    }

    /// Makes everything durable, opens the store once, and puts it in place.
    ///
    /// # Errors
    /// That cannot be done.
    pub fn finish(mut self) -> Result<Imported, Error> {
        self.end_channel()?;
        let subjects = Subjects::new(&self.cluster_id, Subjects::DEFAULT_DISCOVER_PREFIX);
        self.import
            .server(&self.cluster_id, &subjects, &token(), &mut self.facts.sink())?;
        self.append_facts()?;
        if let Some(bulk) = self.bulk.take() {
            bulk.finish(&self.facts)?;
        }
        verify::open_once(&self.place, self.file.clone(), &self.cluster_id, &self.bounds)?;
        beside::complete(&self.place).map_err(Error::io("complete the store in", &self.place))?;
        in_place::finish_locked(&self.place)?;
        Ok(std::mem::take(&mut self.imported))
    }
}

fn bulk(bulk: &mut Option<Bulk>) -> &mut Bulk {
    bulk.as_mut().expect("the store is open until it is finished")
}

impl Drop for Importer {
    fn drop(&mut self) {
        // Its files are let go of before they are removed.
        self.bulk = None;
        if matches!(beside::is_complete(&self.place), Ok(false)) {
            // What cannot be removed now is removed by the next attempt.
            let _ = beside::discard(&self.place);
        }
    }
}
