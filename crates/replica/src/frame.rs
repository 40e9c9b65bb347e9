//! What one member says to another, as bytes: a head of fixed fields, then what belongs to the kind of message, then the bodies of
//! entries. Written by hand, little endian, and read as what it is: bytes of a stranger.
//!
//! ```text
//!  0 version 1    1 kind       2 flags      3 length of the context
//!  4 group (4)    8 number of entries (4)  12 CRC-32C of the cluster's identity and all before the bodies but itself (4)
//! 16 term        24 log_term  32 index     40 commit      48 commit_term   56 reject_hint
//! 64 context, then with its flag health (16), with its kind a snapshot, then per entry 16 bytes, then the bodies
//! ```
//!
//! An entry: term (8), length (4, its upper two bits the kind), CRC-32C (4) of cluster identity, term, index, kind and body; its index
//! follows from the message's. A snapshot: number, index, term (8 each), three counts (1 each), the ids of voters, learners and outgoing
//! voters. Health: flags (1), zero (7), index up to which the sender's disk is synced (8). Who sends and who receives is known from the
//! connection.

use bytes::Bytes;
use raft_proto::eraftpb::{Entry, EntryType, Message, MessageType};

use crate::identity::{Identity, NodeId};
use crate::limits;
use crate::log::{Checkpoint, EntryId, EntryKind};
use crate::membership::Configuration;
use crate::table::{checkpoint_of, handle, id_of, is_handle, kind_and_bytes, snapshot_of};

mod reading;
mod words;

use reading::Reader;
use words::{GROUP, HEALTH_FULL, HEALTH_HANGING, HEALTH_LOW};

pub use words::{FRAME_VERSION, FrameError, Health};

/// Length of the fixed fields.
pub const FRAME_HEAD_BYTES: usize = 64;
/// Length of what a frame says of one entry before its body.
pub const FRAME_ENTRY_BYTES: usize = 16;

const FLAG_REJECT: u8 = 1;
const FLAG_HEALTH: u8 = 2;
const FLAGS: u8 = FLAG_REJECT | FLAG_HEALTH;

const KIND_SHIFT: u32 = 30;
const LENGTH_MASK: u32 = (1 << KIND_SHIFT) - 1;

/// Which connection a message takes, so that nothing small waits behind something large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Heartbeats, votes and all answers.
    Control,
    /// Entries, and the word that a snapshot is to be fetched.
    Bulk,
}

/// Where the checksum of everything before the bodies lies.
const HEAD_CRC: std::ops::Range<usize> = 12..16;

/// The checksum of everything before the bodies of a frame, between members of one cluster.
fn head_checksum(identity: &Identity, head: &[u8]) -> u32 {
    let sum = crc32c::crc32c_append(crc32c::crc32c(&identity.0), &head[..HEAD_CRC.start]);
    crc32c::crc32c_append(sum, &head[HEAD_CRC.end..])
}

/// The checksum of an entry between members of one cluster.
pub fn checksum(identity: &Identity, id: EntryId, kind: EntryKind, body: &[u8]) -> u32 {
    let mut seed = [0; 33];
    seed[..16].copy_from_slice(&identity.0);
    seed[16..24].copy_from_slice(&id.term.to_le_bytes());
    seed[24..32].copy_from_slice(&id.index.to_le_bytes());
    seed[32] = number_of(kind) as u8;
    crc32c::crc32c_append(crc32c::crc32c(&seed), body)
}

const fn number_of(kind: EntryKind) -> u32 {
    match kind {
        EntryKind::Records => 0,
        EntryKind::Empty => 1,
        EntryKind::Change => 2,
    }
}

/// Whether a message of this kind goes from member to member.
const fn travels(kind: MessageType) -> bool {
    matches!(
        kind,
        MessageType::MsgAppend
            | MessageType::MsgAppendResponse
            | MessageType::MsgRequestVote
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgSnapshot
            | MessageType::MsgHeartbeat
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgTimeoutNow
            | MessageType::MsgRequestPreVote
            | MessageType::MsgRequestPreVoteResponse
    )
}

/// Where the body of an entry that is to be sent is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyAt<'a> {
    /// In the journal: the entry with this name, and the length of its body.
    Journal(EntryId, u32),
    /// Here.
    Here(&'a [u8]),
}

/// A message on its way out.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    pub(crate) message: Message,
    pub(crate) health: Option<Health>,
}

impl Outgoing {
    /// The message, when it is of a kind that travels.
    pub(crate) fn new(message: Message) -> Option<Self> {
        travels(message.msg_type).then_some(Self { message, health: None })
    }

    /// Which connection it takes.
    pub fn class(&self) -> Class {
        match self.message.msg_type {
            MessageType::MsgAppend | MessageType::MsgSnapshot => Class::Bulk,
            _ => Class::Control,
        }
    }

    /// How the sender's disk is, in answers to heartbeats.
    pub fn health(&self) -> Option<Health> {
        self.health
    }

    /// The entries in it, and where their bodies are.
    pub fn bodies(&self) -> impl Iterator<Item = BodyAt<'_>> {
        self.message.entries.iter().map(|entry| {
            if is_handle(entry) {
                BodyAt::Journal(id_of(entry), kind_and_bytes(entry).1)
            } else {
                BodyAt::Here(&entry.data)
            }
        })
    }

    /// The snapshot that the receiver is to fetch.
    pub fn snapshot(&self) -> Option<Checkpoint> {
        (self.message.msg_type == MessageType::MsgSnapshot).then(|| checkpoint_of(&self.message.snapshot))
    }

    /// Writes everything before the bodies; the frame is this and then the bodies, in the order of `bodies`.
    ///
    /// # Errors
    ///
    /// A body that has not the length of its entry, or a missing one.
    pub fn write_head(&self, identity: &Identity, bodies: &[&[u8]], out: &mut Vec<u8>) -> Result<(), FrameError> {
        let message = &self.message;
        let mut flags = if message.reject { FLAG_REJECT } else { 0 };
        if self.health.is_some() {
            flags |= FLAG_HEALTH;
        }
        let start = out.len();
        let context = &message.context[..message.context.len().min(limits::CONTEXT_BYTES_MAX)];
        out.extend([FRAME_VERSION, message.msg_type as u8, flags, context.len() as u8]);
        out.extend(GROUP.to_le_bytes());
        out.extend((message.entries.len() as u32).to_le_bytes());
        out.extend([0; 4]);
        for field in [
            message.term,
            message.log_term,
            message.index,
            message.commit,
            message.commit_term,
            message.reject_hint,
        ] {
            out.extend(field.to_le_bytes());
        }
        out.extend_from_slice(context);
        if let Some(health) = &self.health {
            write_health(health, out);
        }
        if let Some(snapshot) = self.snapshot() {
            write_snapshot(&snapshot, out);
        }
        for (place, entry) in message.entries.iter().enumerate() {
            let (kind, bytes) = kind_and_bytes(entry);
            let body = bodies.get(place).copied().unwrap_or_default();
            if body.len() != bytes as usize || bytes > limits::ENTRY_BYTES_MAX {
                let (index, given, expected) = (entry.index, body.len(), bytes);
                return Err(FrameError::Body { index, given, expected });
            }
            out.extend(entry.term.to_le_bytes());
            out.extend((bytes | number_of(kind) << KIND_SHIFT).to_le_bytes());
            out.extend(checksum(identity, id_of(entry), kind, body).to_le_bytes());
        }
        let head = &mut out[start..];
        let sum = head_checksum(identity, head);
        head[HEAD_CRC].copy_from_slice(&sum.to_le_bytes());
        Ok(())
    }
}

fn write_health(health: &Health, out: &mut Vec<u8>) {
    let mut flags = if health.is_full { HEALTH_FULL } else { 0 };
    if health.is_low {
        flags |= HEALTH_LOW;
    }
    if health.is_hanging {
        flags |= HEALTH_HANGING;
    }
    out.extend([flags, 0, 0, 0, 0, 0, 0, 0]);
    out.extend(health.synced.to_le_bytes());
}

fn write_snapshot(snapshot: &Checkpoint, out: &mut Vec<u8>) {
    for field in [snapshot.number, snapshot.id.index, snapshot.id.term] {
        out.extend(field.to_le_bytes());
    }
    let Configuration {
        voters,
        learners,
        outgoing,
    } = &snapshot.configuration;
    let lists = [voters, learners, outgoing];
    out.extend(lists.map(|list| list.len() as u8));
    for id in lists.into_iter().flatten() {
        out.extend(id.to_le_bytes());
    }
}

/// The body of an entry as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body<'a> {
    crc: u32,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Body<'a> {
    /// One whose frame was verified and is gone.
    pub(crate) fn kept(bytes: &'a [u8]) -> Self {
        Self { crc: 0, bytes }
    }
}

/// A message that has come, and the bodies of its entries where they lie in the buffer.
///
/// What can be told by looking at it alone has been looked at: terms, indexes and lengths are in bounds and fit together. Its checksums
/// have not, since that costs.
#[derive(Debug)]
pub struct Frame<'a> {
    pub(crate) message: Message,
    pub(crate) bodies: Vec<Body<'a>>,
    pub(crate) health: Option<Health>,
    /// Everything before the bodies, and the checksum in it.
    head: &'a [u8],
    head_crc: u32,
}

impl<'a> Frame<'a> {
    /// Reads exactly one frame.
    ///
    /// # Errors
    ///
    /// Bytes that no member writes; they say what is wrong with them.
    pub fn read(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let mut reader = Reader(bytes);
        let [version, kind, flags, context_length] = reader.array()?;
        if version != FRAME_VERSION {
            return Err(FrameError::Version(version));
        }
        let msg_type = MessageType::from_number(kind)
            .filter(|kind| travels(*kind))
            .ok_or(FrameError::Kind(kind))?;
        if flags & !FLAGS != 0 {
            return Err(FrameError::Value("an unknown flag"));
        }
        let group = reader.u32()?;
        if group != GROUP {
            return Err(FrameError::Group(group));
        }
        let count = reader.u32()? as usize;
        let head_crc = reader.u32()?;
        let mut message = Message {
            msg_type,
            term: reader.number()?,
            log_term: reader.number()?,
            index: reader.number()?,
            commit: reader.number()?,
            commit_term: reader.number()?,
            reject_hint: reader.number()?,
            reject: flags & FLAG_REJECT != 0,
            ..Message::default()
        };
        message.context = Bytes::copy_from_slice(reader.context(context_length)?);
        let health = (flags & FLAG_HEALTH != 0).then(|| reader.health()).transpose()?;
        if msg_type == MessageType::MsgSnapshot {
            message.snapshot = snapshot_of(&reader.snapshot()?);
        }
        let bodies = read_entries(&mut reader, &mut message, count)?;
        if !reader.0.is_empty() {
            return Err(FrameError::Surplus(reader.0.len()));
        }
        check_terms(&message)?;
        let body_bytes: usize = bodies.iter().map(|body| body.bytes.len()).sum();
        Ok(Self {
            message,
            bodies,
            health,
            head: &bytes[..bytes.len() - body_bytes],
            head_crc,
        })
    }

    /// Which connection it should have taken.
    pub fn class(&self) -> Class {
        match self.message.msg_type {
            MessageType::MsgAppend | MessageType::MsgSnapshot => Class::Bulk,
            _ => Class::Control,
        }
    }

    /// The sender's term.
    pub fn term(&self) -> u64 {
        self.message.term
    }

    /// Bytes of all bodies.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.bodies.iter().map(|body| body.bytes.len() as u64).sum()
    }

    /// Whether it is what was sent, every entry in it, by a member of this cluster.
    ///
    /// # Errors
    ///
    /// What is not.
    pub(crate) fn verify(&self, identity: &Identity) -> Result<(), FrameError> {
        if head_checksum(identity, self.head) != self.head_crc {
            return Err(FrameError::Head);
        }
        for (entry, body) in self.message.entries.iter().zip(&self.bodies) {
            let (kind, _) = kind_and_bytes(entry);
            if checksum(identity, id_of(entry), kind, body.bytes) != body.crc {
                let EntryId { term, index } = id_of(entry);
                return Err(FrameError::Checksum { term, index });
            }
        }
        Ok(())
    }

    /// The same message as it would be sent on; for tests of the codec.
    #[cfg(any(test, feature = "simulated"))]
    pub fn outgoing(&self) -> Outgoing {
        Outgoing {
            message: self.message.clone(),
            health: self.health,
        }
    }

    /// Where the bodies of its entries lie; for tests of the codec.
    #[cfg(any(test, feature = "simulated"))]
    pub fn bodies(&self) -> Vec<&'a [u8]> {
        self.bodies.iter().map(|body| body.bytes).collect()
    }

    /// Sets who sent it and who reads it.
    pub(crate) fn addressed(mut self, from: NodeId, to: NodeId) -> Self {
        self.message.from = from;
        self.message.to = to;
        self
    }
}

fn read_entries<'a>(reader: &mut Reader<'a>, message: &mut Message, count: usize) -> Result<Vec<Body<'a>>, FrameError> {
    if count > limits::FRAME_ENTRIES_MAX || (count > 0 && message.msg_type != MessageType::MsgAppend) {
        return Err(FrameError::Value("more entries than a message has"));
    }
    let mut heads = Vec::with_capacity(count);
    for _ in 0..count {
        heads.push((reader.number()?, reader.u32()?, reader.u32()?));
    }
    let mut bodies = Vec::with_capacity(count);
    message.entries.reserve(count);
    for (index, (term, length, crc)) in (message.index + 1..).zip(heads) {
        let bytes = reader.take((length & LENGTH_MASK) as usize)?;
        let id = EntryId { term, index };
        let (entry_type, data) = match (length >> KIND_SHIFT, bytes.len()) {
            (0, 1..) => (EntryType::EntryNormal, handle(id, length & LENGTH_MASK)),
            (1, 0) => (EntryType::EntryNormal, Bytes::new()),
            (2, 0..=limits::CHANGE_BYTES_MAX) => (EntryType::EntryConfChangeV2, Bytes::copy_from_slice(bytes)),
            _ => return Err(FrameError::Value("an entry whose kind and length do not go together")),
        };
        message.entries.push(Entry {
            entry_type,
            term,
            index,
            data,
            ..Entry::default()
        });
        bodies.push(Body { crc, bytes });
    }
    Ok(bodies)
}

/// Terms never fall along a log and are never above the sender's; term 0 is nobody's, and index 0 no entry's.
fn check_terms(message: &Message) -> Result<(), FrameError> {
    if message.term == 0 {
        return Err(FrameError::Value("term 0"));
    }
    if message.msg_type == MessageType::MsgSnapshot {
        let metadata = &message.snapshot.metadata;
        let is_possible = (1..=message.term).contains(&metadata.term) && metadata.index > 0;
        return if is_possible {
            Ok(())
        } else {
            Err(FrameError::Value("a snapshot of no entry"))
        };
    }
    if message.msg_type == MessageType::MsgAppend {
        if (message.index == 0) != (message.log_term == 0) {
            return Err(FrameError::Value(
                "entries behind an entry without an index or without a term",
            ));
        }
        let mut term = message.log_term;
        for entry in &message.entries {
            if entry.term < term || entry.term == 0 {
                return Err(FrameError::Value("entries whose terms fall"));
            }
            term = entry.term;
        }
        if term > message.term {
            return Err(FrameError::Value("entries of a later term than their sender's"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
