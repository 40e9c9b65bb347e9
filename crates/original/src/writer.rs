//! Writes a data directory of NATS Streaming (specification §3): what [`read`](crate::read()) takes apart, put together.
//!
//! A directory that is being written is worth nothing before [`Writer::finish`] has said that all of it is durable. Memory is bounded by
//! some buffers and the largest record; so is the number of open files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::crc::Crc32;
use crate::encode::{message_end, message_front, sub_update};
use crate::error::Error;
use crate::record_file::RecordFile;
use crate::records::{ClientInfo, ServerInfo, SubState};
use crate::syncing::Syncing;

/// A message file takes no more messages once it has so many bytes, 40 for each besides what it is encoded in: the original's default.
const SLICE_BYTES: u64 = 64 << 20;
/// Bytes of a message in its two files besides its encoding.
const MESSAGE_OVERHEAD: u64 = 40;
/// Kinds of records (§3.6, §3.9).
const CLIENT: u8 = 1;
const SUBSCRIPTION: u8 = 1;
const PENDING: u8 = 5;
/// Longest name of a file.
const FILE_NAME_BYTES_MAX: usize = 255;

/// A message to be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NewMessage<'a> {
    /// Above that of the one before.
    pub sequence: u64,
    /// When the server took it, in nanoseconds since 1970.
    pub timestamp_ns: i64,
    /// As published.
    pub reply: &'a [u8],
    /// As it is to be stored: encrypted, perhaps.
    pub data: &'a [u8],
}

/// Why the original's file store cannot have a channel of this name; none when it can.
#[must_use]
pub fn unstorable(channel: &[u8]) -> Option<&'static str> {
    match channel {
        b"server.dat" | b"clients.dat" => Some("one of its own files has this name"),
        _ if channel.len() > FILE_NAME_BYTES_MAX => {
            Some("a folder has its name, and no file system takes one of more than 255 bytes")
        }
        _ if channel.contains(&0) => Some("a folder has its name, and no file system takes one with a zero byte"),
        _ => None,
    }
}

/// See the module.
pub struct Writer {
    directory: PathBuf,
    crc: Crc32,
    clients: RecordFile,
    syncing: Syncing,
    scratch: Vec<u8>,
}

impl Writer {
    /// Begins in a directory that is there and has none of the original's files.
    ///
    /// # Errors
    /// A file cannot be made.
    pub fn begin(directory: &Path, server: &ServerInfo) -> Result<Writer, Error> {
        let (crc, syncing) = (Crc32::new(crate::POLYNOMIAL_DEFAULT), Syncing::begin()?);
        let mut scratch = Vec::new();
        server.encode(&mut scratch);
        let mut file = RecordFile::create(directory.join("server.dat"))?;
        file.record(&crc, 0, &scratch)?;
        syncing.take(file.finish()?)?;
        let clients = RecordFile::create(directory.join("clients.dat"))?;
        Ok(Writer {
            directory: directory.to_owned(),
            crc,
            clients,
            syncing,
            scratch,
        })
    }

    /// Writes a client.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn client(&mut self, client: &ClientInfo) -> Result<(), Error> {
        self.scratch.clear();
        client.encode(&mut self.scratch);
        self.clients.record(&self.crc, CLIENT, &self.scratch)
    }

    /// Begins a channel, which ends with [`ChannelWriter::finish`].
    ///
    /// # Errors
    /// Its folder cannot be made: see [`unstorable`], too.
    pub fn begin_channel<'a>(&'a mut self, name: &'a [u8]) -> Result<ChannelWriter<'a>, Error> {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = self.directory.join(std::ffi::OsStr::from_bytes(name));
        if let Some(reason) = unstorable(name) {
            let advice = "leave the channel out";
            return Err(Error::new(
                &folder,
                format!("NATS Streaming cannot store this channel: {reason}"),
                advice,
            ));
        }
        fs::create_dir(&folder).map_err(|error| Error::write(&folder, &error))?;
        let subscriptions = RecordFile::create(folder.join("subs.dat"))?;
        Ok(ChannelWriter {
            name,
            folder,
            subscriptions,
            slice: None,
            slices: 0,
            last_subscription: 0,
            writer: self,
        })
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// Something that was written could not be made durable.
    pub fn finish(self) -> Result<(), Error> {
        self.syncing.take(self.clients.finish()?)?;
        self.syncing.take_folder(&self.directory)?;
        self.syncing.finish()
    }
}

/// A message file with its index.
struct Slice {
    messages: RecordFile,
    index: RecordFile,
    bytes: u64,
}

/// A channel that is being written: its messages, then its subscriptions.
pub struct ChannelWriter<'a> {
    name: &'a [u8],
    folder: PathBuf,
    subscriptions: RecordFile,
    slice: Option<Slice>,
    slices: u64,
    last_subscription: u64,
    writer: &'a mut Writer,
}

impl ChannelWriter<'_> {
    /// Writes a message; how many bytes it is encoded in.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn message(&mut self, message: &NewMessage<'_>) -> Result<u64, Error> {
        if self.slice.as_ref().is_some_and(|slice| slice.bytes >= SLICE_BYTES) {
            self.end_slice()?;
        }
        if self.slice.is_none() {
            self.slices += 1;
            self.slice = Some(Slice {
                messages: RecordFile::create(self.folder.join(format!("msgs.{}.dat", self.slices)))?,
                index: RecordFile::create(self.folder.join(format!("msgs.{}.idx", self.slices)))?,
                bytes: 0,
            });
        }
        let Some(slice) = &mut self.slice else { return Ok(0) };
        let front = &mut self.writer.scratch;
        front.clear();
        message_front(front, message.sequence, self.name, message.reply, message.data.len());
        let front_bytes = front.len();
        message_end(front, message.timestamp_ns);
        let (front, end) = front.split_at(front_bytes);
        let offset = slice.messages.length();
        let size = slice
            .messages
            .record_of(&self.writer.crc, 0, &[front, message.data, end])?;
        let mut entry = [0; 32];
        entry[..8].copy_from_slice(&message.sequence.to_le_bytes());
        entry[8..16].copy_from_slice(&offset.to_le_bytes());
        entry[16..24].copy_from_slice(&message.timestamp_ns.to_le_bytes());
        entry[24..28].copy_from_slice(&size.to_le_bytes());
        let crc = self.writer.crc.of(&entry[..28]);
        entry[28..].copy_from_slice(&crc.to_le_bytes());
        slice.index.bytes(&entry)?;
        slice.bytes += u64::from(size) + MESSAGE_OVERHEAD;
        Ok(u64::from(size))
    }

    /// Writes a subscription with the ranges of what it has not acknowledged. Its number is given here.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn subscription(&mut self, state: &SubState, pending: &[(u64, u64)]) -> Result<(), Error> {
        self.last_subscription += 1;
        let id = self.last_subscription;
        let state = SubState { id, ..state.clone() };
        let (crc, scratch) = (&self.writer.crc, &mut self.writer.scratch);
        scratch.clear();
        state.encode(scratch);
        self.subscriptions.record(crc, SUBSCRIPTION, scratch)?;
        for sequence in pending.iter().flat_map(|(first, last)| *first..=*last) {
            scratch.clear();
            sub_update(scratch, id, sequence);
            self.subscriptions.record(crc, PENDING, scratch)?;
        }
        Ok(())
    }

    /// Ends the channel.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> Result<(), Error> {
        self.end_slice()?;
        let syncing = &self.writer.syncing;
        syncing.take(self.subscriptions.finish()?)?;
        syncing.take_folder(&self.folder)
    }

    fn end_slice(&mut self) -> Result<(), Error> {
        if let Some(slice) = self.slice.take() {
            self.writer.syncing.take(slice.messages.finish()?)?;
            self.writer.syncing.take(slice.index.finish()?)?;
        }
        Ok(())
    }
}
