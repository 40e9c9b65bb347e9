//! Reading the newest checkpoint (docs/journal-format.md §8), one block in memory at a time.

use super::{ENCRYPTED_ALONE, Recovery, Replay, damaged, io_error};
use crate::checkpoint_file::{
    BLOCK_HEADER_BYTES, BlockCipher, ENTRY_END, ENTRY_FACT, ENTRY_HEADER_BYTES, ENTRY_LOG, ENTRY_MEMBERS,
    LOG_ENTRY_BYTES, MEMBERS_ENTRY_BYTES, block_checksum, header,
};
use crate::checkpoints::Published;
use crate::disk::{Disk, DiskFile};
use crate::encryption::Keys;
use crate::entry::{EntryId, Members};
use crate::error::OpenError;
use crate::format::{
    Cut, FILE_HEADER_BYTES, Identity, NUMBER_MAX, check_header, check_preamble, checkpoint_name, checkpoint_seed,
    i64_at, identity_at, read_encryption, u32_at, u64_at,
};
use crate::index::Index;
use crate::limits::{CHECKPOINT_BLOCK_BYTES_MAX, MEMBERS_BYTES_MAX};
use crate::messages::LogBounds;
use crate::names::{LogId, Position};
use crate::options::DamagePolicy;
use std::sync::Arc;

/// The checkpoint recovery starts from.
pub(crate) struct CheckpointRead {
    pub(crate) published: Published,
    /// In which it was written.
    pub(crate) epoch: u64,
    /// The end of what the tail follows.
    pub(crate) tail: Cut,
    /// Everything before this position was durable when it was published.
    pub(crate) requires: Position,
}

pub(super) struct End {
    pub(super) requires: Position,
}

/// An entry of a checkpoint.
pub(crate) enum CheckpointEntry<'a> {
    Log {
        log: LogId,
        bounds: LogBounds,
        /// Records below this position are in them already.
        as_of: Position,
    },
    Fact {
        kind: u8,
        body: &'a [u8],
    },
    Members(Members),
    End {
        requires: Position,
        /// How many are before it.
        entries: u64,
    },
}

impl Recovery<'_> {
    /// Replays the newest checkpoint, if there is one; older ones become obsolete.
    pub(crate) fn read_checkpoint(&mut self, replay: &mut dyn Replay) -> Result<Option<CheckpointRead>, OpenError> {
        if self.options.damage == DamagePolicy::CutThere
            && let Some(read) = self.give_up_checkpoint(replay)?
        {
            return Ok(Some(read));
        }
        let Some((begin, epoch)) = self.files.checkpoints.pop() else {
            return Ok(None);
        };
        for (position, epoch) in std::mem::take(&mut self.files.checkpoints) {
            self.files.obsolete.push(checkpoint_name(position, epoch));
        }
        self.replay_checkpoint(begin, epoch, replay).map(Some)
    }

    fn replay_checkpoint(
        &mut self,
        begin: Position,
        epoch: u64,
        replay: &mut dyn Replay,
    ) -> Result<CheckpointRead, OpenError> {
        let mut source = self.open_checkpoint(begin, epoch)?;
        let (mut entries, mut members) = (0, None);
        loop {
            let offset = source.offset;
            let plain = source.next_block()?;
            let end = replay_entries(plain, &mut entries, true, &mut self.index, &mut members, replay)
                .map_err(|reason| damaged(&source.name, offset, reason))?;
            self.work.done = source.offset;
            self.work.bytes_read = source.offset;
            self.work.records = entries;
            self.work.tell(replay);
            let Some(end) = end else { continue };
            if source.offset != source.length {
                let reason = "something follows the end of the checkpoint";
                return Err(damaged(source.name, source.offset, reason));
            }
            let mut read = source.read(begin, end.requires);
            read.published.members = members;
            return Ok(read);
        }
    }

    /// Checks the header of a checkpoint.
    pub(super) fn open_checkpoint(&self, begin: Position, epoch: u64) -> Result<Source, OpenError> {
        Source::open(self.disk, &self.identity, self.keys.as_deref(), begin, epoch)
    }

    /// A checkpoint whose header is damaged, with one that says what name and segments do.
    pub(super) fn open_without_header(&self, begin: Position, epoch: u64, tail: Cut) -> Result<Source, OpenError> {
        let name = checkpoint_name(begin, epoch);
        let file = self.disk.open(&name).map_err(io_error(format!("open {name}")))?;
        let length = file.length().map_err(io_error(format!("read {name}")))?;
        let header = header(&self.identity, epoch, begin, tail, None, false);
        Ok(Source::new(
            &self.identity,
            (begin, epoch),
            (file, length),
            header,
            None,
        ))
    }
}

/// A checkpoint file, read block by block.
pub(crate) struct Source {
    pub(crate) name: String,
    file: Arc<dyn DiskFile>,
    pub(super) length: u64,
    pub(super) header: Vec<u8>,
    pub(super) seed: u32,
    cipher: Option<BlockCipher>,
    /// Where the next block begins, and its number.
    pub(crate) offset: u64,
    number: u32,
    block: Vec<u8>,
    plain: Vec<u8>,
}

impl Source {
    /// Opens a checkpoint and checks its header.
    pub(crate) fn open(
        disk: &dyn Disk,
        identity: &Identity,
        keys: Option<&Keys>,
        begin: Position,
        epoch: u64,
    ) -> Result<Source, OpenError> {
        let name = checkpoint_name(begin, epoch);
        let read_error = || io_error(format!("read {name}"));
        let file = disk.open_to_read(&name).map_err(read_error())?;
        let length = file.length().map_err(read_error())?;
        let mut header = vec![0; FILE_HEADER_BYTES.min(length as usize)];
        file.read_at(&mut header, 0).map_err(read_error())?;
        check_header(&header, 0, "checkpoint").map_err(|reason| damaged(&name, 0, reason))?;
        check_preamble(&header, b"SEAWAYCP", 0).map_err(|reason| damaged(&name, 0, reason))?;
        if identity_at(&header, 16) != *identity || u64_at(&header, 32) != epoch || u64_at(&header, 40) != begin {
            return Err(damaged(
                name,
                16,
                "the checkpoint's header does not fit its name or this journal",
            ));
        }
        let cipher = cipher_of(&header, keys, epoch, begin).map_err(|reason| damaged(&name, 76, reason))?;
        Ok(Source::new(identity, (begin, epoch), (file, length), header, cipher))
    }

    fn new(
        identity: &Identity,
        (begin, epoch): (Position, u64),
        (file, length): (Arc<dyn DiskFile>, u64),
        header: Vec<u8>,
        cipher: Option<BlockCipher>,
    ) -> Source {
        Source {
            seed: checkpoint_seed(identity, epoch, begin),
            offset: FILE_HEADER_BYTES as u64,
            name: checkpoint_name(begin, epoch),
            file,
            length,
            header,
            cipher,
            number: 0,
            block: Vec::new(),
            plain: Vec::new(),
        }
    }

    /// Position at which it begins.
    pub(crate) fn begin(&self) -> Position {
        u64_at(&self.header, 40)
    }

    /// The end of what the tail follows.
    pub(crate) fn tail(&self) -> Cut {
        let header = &self.header;
        Cut {
            segment: u64_at(header, 48),
            offset: u64_at(header, 56),
            position: u64_at(header, 64),
            checksum: u32_at(header, 72),
        }
    }

    /// What there is to know besides its entries.
    pub(super) fn read(self, begin: Position, requires: Position) -> CheckpointRead {
        let tail = self.tail();
        CheckpointRead {
            epoch: u64_at(&self.header, 32),
            published: Published {
                begin,
                begin_segment: tail.segment,
                bytes: self.length,
                name: self.name,
                members: None,
            },
            tail,
            requires,
        }
    }

    /// Reads the next block and checks it; its entries.
    pub(crate) fn next_block(&mut self) -> Result<&[u8], OpenError> {
        let (name, offset) = (&self.name, self.offset);
        let wrong = |reason: &str| damaged(name, offset, reason);
        let read_error = || io_error(format!("read {name}"));
        let block = &mut self.block;
        if offset + BLOCK_HEADER_BYTES as u64 > self.length {
            return Err(wrong("the checkpoint ends before its end entry"));
        }
        block.resize(BLOCK_HEADER_BYTES, 0);
        self.file.read_at(block, offset).map_err(read_error())?;
        let rest = u32_at(block, 0);
        let total = u64::from(rest) + 8;
        let possible = (4..=CHECKPOINT_BLOCK_BYTES_MAX).contains(&rest) && offset + total <= self.length;
        if !possible || u32_at(block, 4) != self.number {
            return Err(wrong("a block of the checkpoint has an impossible header"));
        }
        block.resize(total as usize, 0);
        self.file.read_at(block, offset).map_err(read_error())?;
        if block_checksum(self.seed, block) != u32_at(block, 8) {
            return Err(wrong("the checksum of a block of the checkpoint does not match"));
        }
        self.offset += total;
        self.number += 1;
        match &mut self.cipher {
            None => Ok(&block[BLOCK_HEADER_BYTES..]),
            Some(cipher) => {
                cipher.decrypt(block, &mut self.plain).map_err(wrong)?;
                Ok(&self.plain)
            }
        }
    }

    /// Goes on behind a block that is damaged, or at the end when nobody knows where that is; how many bytes that were.
    pub(super) fn skip_block(&mut self) -> u64 {
        let begin = self.offset;
        let mut length = [0; 4];
        let read = self.file.read_at(&mut length, begin);
        let end = begin + 8 + u64::from(u32::from_le_bytes(length));
        let is_possible = read.is_ok() && end > begin + BLOCK_HEADER_BYTES as u64 && end <= self.length;
        self.offset = if is_possible { end } else { self.length };
        self.number += 1;
        self.offset - begin
    }
}

/// What decrypts the checkpoint with this header, if it is encrypted.
fn cipher_of(header: &[u8], keys: Option<&Keys>, epoch: u64, begin: Position) -> Result<Option<BlockCipher>, String> {
    let Some(encryption) = read_encryption(header)? else {
        return Ok(None);
    };
    let cipher = keys.ok_or(ENCRYPTED_ALONE)?.of_checkpoint(&encryption, epoch, begin)?;
    Ok(Some(BlockCipher::of_file(cipher, header.to_vec())))
}

/// Whether an entry of the checkpoint of this length can be about the members.
fn is_members(length: usize) -> bool {
    (MEMBERS_ENTRY_BYTES..=MEMBERS_ENTRY_BYTES + MEMBERS_BYTES_MAX).contains(&length)
}

/// The entries of a block.
pub(crate) fn entries_of(block: &[u8]) -> impl Iterator<Item = Result<CheckpointEntry<'_>, String>> {
    let mut rest = block;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = next_entry(rest);
        rest = next.as_ref().map_or(&[], |(_, length)| &rest[*length..]);
        Some(next.map(|(entry, _)| entry))
    })
}

/// The entry with which these bytes begin, and how many it takes.
fn next_entry(bytes: &[u8]) -> Result<(CheckpointEntry<'_>, usize), String> {
    let length = if bytes.len() < ENTRY_HEADER_BYTES {
        usize::MAX
    } else {
        u32_at(bytes, 1) as usize
    };
    let rest = bytes.len().saturating_sub(ENTRY_HEADER_BYTES);
    if length > rest {
        return Err("an entry of the checkpoint is longer than its block".to_owned());
    }
    let body = &bytes[ENTRY_HEADER_BYTES..ENTRY_HEADER_BYTES + length];
    let entry = match bytes[0] {
        ENTRY_LOG if length == LOG_ENTRY_BYTES => {
            let (first, last) = (u64_at(body, 8), u64_at(body, 16));
            if last >= NUMBER_MAX || first > last + 1 {
                return Err(format!("impossible messages {first} to {last} of a log"));
            }
            let bounds = LogBounds {
                first,
                last,
                count: last.wrapping_sub(first).wrapping_add(1),
                bytes: u64_at(body, 24),
                last_timestamp: i64_at(body, 32),
            };
            CheckpointEntry::Log {
                log: LogId(u64_at(body, 0)),
                bounds,
                as_of: u64_at(body, 40),
            }
        }
        ENTRY_MEMBERS if is_members(length) => {
            let (index, term) = (u64_at(body, 0), u64_at(body, 8));
            if index.max(term) >= NUMBER_MAX {
                return Err(format!("impossible entry {index} of term {term}"));
            }
            CheckpointEntry::Members(Members {
                id: EntryId { term, index },
                body: body[MEMBERS_ENTRY_BYTES..].to_vec(),
            })
        }
        ENTRY_FACT if length > 0 => CheckpointEntry::Fact {
            kind: body[0],
            body: &body[1..],
        },
        ENTRY_END if length == 16 && rest != length => return Err(MISFIT.to_owned()),
        ENTRY_END if length == 16 => CheckpointEntry::End {
            requires: u64_at(body, 0),
            entries: u64_at(body, 8),
        },
        kind => return Err(format!("an entry of kind {kind} and length {length} is not understood")),
    };
    Ok((entry, ENTRY_HEADER_BYTES + length))
}

const MISFIT: &str = "the end of the checkpoint does not fit what comes before";

/// `is_whole`: no block before this one was left out.
pub(super) fn replay_entries(
    bytes: &[u8],
    count: &mut u64,
    is_whole: bool,
    index: &mut Index,
    members: &mut Option<Members>,
    replay: &mut dyn Replay,
) -> Result<Option<End>, String> {
    for entry in entries_of(bytes) {
        match entry? {
            CheckpointEntry::Log { log, bounds, as_of } => index.restore(log, &bounds, as_of),
            CheckpointEntry::Fact { kind, body } => replay.fact(kind, body),
            CheckpointEntry::Members(_) if members.is_some() => {
                return Err("the checkpoint says twice who the members are".to_owned());
            }
            CheckpointEntry::Members(said) => *members = Some(said),
            CheckpointEntry::End { entries, .. } if is_whole && entries != *count => return Err(MISFIT.to_owned()),
            CheckpointEntry::End { requires, .. } => return Ok(Some(End { requires })),
        }
        *count += 1;
    }
    Ok(None)
}
