//! Checkpoints (docs/journal-format.md §8): the state as facts, written in slices beside running traffic. The owner gives its
//! facts, the journal adds what it knows of each log; the file counts only when every record it may know of is durable.

use crate::disk::DiskFile;
use crate::encryption::{EncryptionHeader, FileCipher, NONCE_BYTES};
use crate::format::{
    Cut, FILE_HEADER_BYTES, Identity, checkpoint_name, checkpoint_seed, encryption_flag, seal_header, u32_at,
    write_encryption, write_preamble,
};
use crate::job::JobKind;
use crate::journal::Journal;
use crate::limits::{CHECKPOINT_BLOCK_BYTES, STEP_LOGS_MAX};
use crate::logs::LogState;
use crate::record::ENCRYPTION_BYTES;
use crate::{Completion, Position};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

pub(crate) const ENTRY_LOG: u8 = 1;
pub(crate) const ENTRY_FACT: u8 = 2;
pub(crate) const ENTRY_END: u8 = 3;
pub(crate) const BLOCK_HEADER_BYTES: usize = 12;
pub(crate) const ENTRY_HEADER_BYTES: usize = 5;
pub(crate) const LOG_ENTRY_BYTES: usize = 48;

/// A checkpoint call that makes no sense now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// `begin_checkpoint` while one is being written.
    #[error("a checkpoint is already being written")]
    Running,
    /// There is none, or it was given up; `Completion::CheckpointAbandoned` said so.
    #[error("no checkpoint is being written")]
    NotRunning,
}

struct Running {
    begin: Position,
    begin_segment: u64,
    begun_at_bytes: u64,
    name: String,
    seed: u32,
    /// Encrypts its blocks.
    cipher: Option<BlockCipher>,
    /// Entries of the block being filled, after room for its header.
    block: Vec<u8>,
    blocks: u32,
    entries: u64,
    /// Bytes ready for the disk.
    ready: VecDeque<Vec<u8>>,
    ready_bytes: u64,
    file: Option<Arc<dyn DiskFile>>,
    written: u64,
    next_slot: usize,
    /// Position that must be durable before the file counts; set by `finish_checkpoint`.
    requires: Option<Position>,
    ended: bool,
    publishing: bool,
}

/// The newest checkpoint and the one being written.
#[derive(Default)]
pub(crate) struct Checkpoints {
    /// Segments below this number are covered; 0 without a checkpoint.
    pub(crate) begin_segment: u64,
    /// Checkpoints begun by this start: a part of their nonces.
    attempts: u32,
    /// Position at which the newest one begins; 0 without one.
    pub(crate) begin: Position,
    pub(crate) name: Option<String>,
    pub(crate) last_bytes: u64,
    /// Committed bytes when the newest one began.
    pub(crate) begun_at_bytes: u64,
    /// Bytes of tail that this start had to read; gone with the next checkpoint.
    pub(crate) inherited_bytes: u64,
    /// After one was given up: none is asked for because of a long tail before so many bytes are committed.
    pub(crate) not_before_bytes: u64,
    running: Option<Running>,
    /// An unfinished file to be removed.
    abandoned: Option<String>,
}

impl Checkpoints {
    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }
}

impl Journal {
    /// Batch bytes since the begin of the newest checkpoint: what a start would have to read.
    pub(crate) fn tail_bytes(&self) -> u64 {
        (self.statistics.committed_bytes + self.checkpoints.inherited_bytes)
            .saturating_sub(self.checkpoints.begun_at_bytes)
    }

    /// Bytes of tail after which a checkpoint is worth its own.
    pub(crate) fn checkpoint_distance(&self) -> u64 {
        self.options.checkpoint_bytes.max(2 * self.checkpoints.last_bytes)
    }
}

impl Running {
    fn entry(&mut self, kind: u8, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.block.push(kind);
        self.block
            .extend_from_slice(&u32::try_from(length).expect("facts are bounded").to_le_bytes());
        for part in parts {
            self.block.extend_from_slice(part);
        }
        self.entries += 1;
        if self.block.len() >= CHECKPOINT_BLOCK_BYTES {
            self.close_block();
        }
    }

    fn log_entry(&mut self, log: &LogState, as_of: Position) {
        self.entry(
            ENTRY_LOG,
            &[
                &log.id.0.to_le_bytes(),
                &log.first.to_le_bytes(),
                &log.last.to_le_bytes(),
                &log.bytes.to_le_bytes(),
                &log.last_timestamp.to_le_bytes(),
                &as_of.to_le_bytes(),
            ],
        );
    }

    fn close_block(&mut self) {
        let room = block_room(self.cipher.is_some());
        if self.block.len() <= room {
            return;
        }
        let mut block = std::mem::replace(&mut self.block, vec![0; room]);
        let length = (block.len() - 8) as u32;
        block[0..4].copy_from_slice(&length.to_le_bytes());
        block[4..8].copy_from_slice(&self.blocks.to_le_bytes());
        if let Some(cipher) = &self.cipher {
            cipher.encrypt(&mut block, self.blocks);
        }
        let checksum = block_checksum(self.seed, &block);
        block[8..12].copy_from_slice(&checksum.to_le_bytes());
        self.blocks += 1;
        self.ready_bytes += block.len() as u64;
        self.ready.push_back(block);
    }
}

/// Bytes of a block before its entries.
fn block_room(encrypted: bool) -> usize {
    BLOCK_HEADER_BYTES + if encrypted { ENCRYPTION_BYTES } else { 0 }
}

/// Encrypts and decrypts the blocks of one checkpoint.
pub(crate) struct BlockCipher {
    cipher: FileCipher,
    /// The file's header, which every block's tag covers.
    header: Vec<u8>,
    /// The number of the attempt that wrote it; of a checkpoint that is read, known from its first block on.
    attempt: Option<u32>,
}

impl BlockCipher {
    fn associated(&self, block: &[u8]) -> Vec<u8> {
        [self.header.as_slice(), &block[0..8]].concat()
    }

    fn encrypt(&self, block: &mut [u8], number: u32) {
        let associated = self.associated(block);
        let attempt = self.attempt.expect("a checkpoint that is written has a number");
        let nonce = self.cipher.nonce(u64::from(attempt) | u64::from(number) << 32);
        let tag = self.cipher.encrypt(nonce, &associated, &mut block[block_room(true)..]);
        let tag_at = BLOCK_HEADER_BYTES + NONCE_BYTES;
        block[BLOCK_HEADER_BYTES..tag_at].copy_from_slice(&nonce);
        block[tag_at..block_room(true)].copy_from_slice(&tag);
    }

    /// For a checkpoint that is read.
    pub(crate) fn of_file(cipher: FileCipher, header: Vec<u8>) -> BlockCipher {
        BlockCipher {
            cipher,
            header,
            attempt: None,
        }
    }

    /// The entries of a block, into `out`.
    pub(crate) fn decrypt(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        out.clear();
        let (nonce_at, tag_at) = (BLOCK_HEADER_BYTES, BLOCK_HEADER_BYTES + NONCE_BYTES);
        let Some(ciphertext) = block.get(block_room(true)..) else {
            return Err("a block of the encrypted checkpoint is too short");
        };
        let nonce: [u8; NONCE_BYTES] = block[nonce_at..tag_at].try_into().expect("a slice of twelve bytes");
        let tag = block[tag_at..block_room(true)]
            .try_into()
            .expect("a slice of sixteen bytes");
        let attempt = u32_at(&nonce, 4);
        if nonce[8..12] != block[4..8] || *self.attempt.get_or_insert(attempt) != attempt {
            return Err("a block of the encrypted checkpoint is at another place");
        }
        self.cipher
            .decrypt(nonce, tag, &self.associated(block), ciphertext, out)
            .map_err(|_| "a block of the encrypted checkpoint was altered")
    }
}

/// Checksum of a block: of its length, its number and its entries.
pub(crate) fn block_checksum(seed: u32, block: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &block[0..8]), &block[BLOCK_HEADER_BYTES..])
}

fn header(
    identity: &Identity,
    epoch: u64,
    begin: Position,
    tail: Cut,
    encryption: Option<&EncryptionHeader>,
) -> Vec<u8> {
    let mut bytes = vec![0; FILE_HEADER_BYTES];
    write_preamble(&mut bytes, b"SEAWAYCP", encryption_flag(encryption), identity);
    bytes[32..40].copy_from_slice(&epoch.to_le_bytes());
    bytes[40..48].copy_from_slice(&begin.to_le_bytes());
    bytes[48..56].copy_from_slice(&tail.segment.to_le_bytes());
    bytes[56..64].copy_from_slice(&tail.offset.to_le_bytes());
    bytes[64..72].copy_from_slice(&tail.position.to_le_bytes());
    bytes[72..76].copy_from_slice(&tail.checksum.to_le_bytes());
    write_encryption(&mut bytes, encryption);
    seal_header(&mut bytes, 0);
    bytes
}

impl Journal {
    /// Begins a checkpoint: the facts that follow, in as many slices as the owner likes, stand for everything appended so far.
    /// They may already reflect later records; the owner's replay of those over them must come to the same state.
    pub fn begin_checkpoint(&mut self) -> Result<Position, CheckpointError> {
        if self.checkpoints.running.is_some() || self.checkpoints.abandoned.is_some() {
            return Err(CheckpointError::Running);
        }
        let begin = self.writer.next_position;
        let tail = self.writer.fill_start();
        let seed = checkpoint_seed(&self.identity, self.epoch, begin);
        let name = checkpoint_name(begin, self.epoch);
        let encryption = self.keys.as_ref().map(|keys| keys.header);
        let header = header(&self.identity, self.epoch, begin, tail, encryption.as_ref());
        let attempt = self.checkpoints.attempts;
        self.checkpoints.attempts += 1;
        let cipher = self.keys.as_ref().map(|keys| BlockCipher {
            cipher: keys.own_checkpoint(self.epoch, begin),
            header: header.clone(),
            attempt: Some(attempt),
        });
        self.checkpoints.running = Some(Running {
            begin,
            begin_segment: tail.segment,
            begun_at_bytes: self.statistics.committed_bytes,
            name,
            seed,
            block: vec![0; block_room(cipher.is_some())],
            cipher,
            blocks: 0,
            entries: 0,
            ready_bytes: header.len() as u64,
            ready: VecDeque::from([header]),
            file: None,
            written: 0,
            next_slot: 0,
            requires: None,
            ended: false,
            publishing: false,
        });
        self.maintenance.checkpoint_asked = true;
        Ok(begin)
    }

    /// Adds a fact to the checkpoint.
    pub fn checkpoint_fact(&mut self, kind: u8, body: &[u8]) -> Result<(), CheckpointError> {
        let running = self
            .checkpoints
            .running
            .as_mut()
            .filter(|running| running.requires.is_none());
        running
            .ok_or(CheckpointError::NotRunning)?
            .entry(ENTRY_FACT, &[&[kind], body]);
        Ok(())
    }

    /// Checkpoint bytes that wait for the disk; an owner should pause while this is more than a few megabytes.
    pub fn checkpoint_backlog_bytes(&self) -> u64 {
        self.checkpoints
            .running
            .as_ref()
            .map_or(0, |running| running.ready_bytes + running.block.len() as u64)
    }

    /// Says that all facts were given. `Completion::CheckpointDone` follows when the checkpoint is durable.
    pub fn finish_checkpoint(&mut self) -> Result<(), CheckpointError> {
        let requires = self.writer.next_position;
        let running = self
            .checkpoints
            .running
            .as_mut()
            .filter(|running| running.requires.is_none());
        running.ok_or(CheckpointError::NotRunning)?.requires = Some(requires);
        self.submit();
        Ok(())
    }

    /// Captures some logs; ends the file when all are in and the owner is done.
    pub(crate) fn checkpoint_step(&mut self) {
        let as_of = self.writer.next_position;
        let Some(running) = self.checkpoints.running.as_mut() else {
            return;
        };
        if running.ended || running.ready_bytes > 4 * CHECKPOINT_BLOCK_BYTES as u64 {
            return;
        }
        let end = self.logs.slots().min(running.next_slot + STEP_LOGS_MAX);
        for slot in running.next_slot..end {
            if let Some(log) = self.logs.slot(slot) {
                running.log_entry(log, as_of);
            }
        }
        running.next_slot = end;
        if end < self.logs.slots() || running.requires.is_none() {
            return;
        }
        // Logs captured just now may reflect records after the owner was done.
        running.requires = Some(as_of);
        let entries = running.entries;
        running.entry(ENTRY_END, &[&as_of.to_le_bytes(), &entries.to_le_bytes()]);
        running.close_block();
        running.ended = true;
        if self.writer.durable < as_of {
            self.submit();
        }
    }

    pub(crate) fn next_checkpoint_job(&mut self) -> Option<JobKind> {
        if let Some(name) = self.checkpoints.abandoned.take() {
            return Some(JobKind::Remove {
                names: vec![name],
                set_aside: None,
            });
        }
        let durable = self.writer.durable;
        let running = self.checkpoints.running.as_mut()?;
        let unfinished = format!("{}.writing", running.name);
        if let Some(bytes) = running.ready.pop_front() {
            running.ready_bytes -= bytes.len() as u64;
            let (file, offset) = (running.file.clone(), running.written);
            return Some(JobKind::WriteCheckpoint {
                name: unfinished,
                file,
                offset,
                bytes,
            });
        }
        if !running.ended {
            // More logs are waiting to be captured.
            let capturing = running.next_slot < self.logs.slots() && running.requires.is_some();
            return capturing.then_some(JobKind::Continue);
        }
        if running.publishing || running.requires.is_none_or(|requires| requires > durable) {
            return None;
        }
        running.publishing = true;
        let (file, to) = (running.file.clone()?, running.name.clone());
        let obsolete = self
            .checkpoints
            .name
            .iter()
            .filter(|name| **name != to)
            .cloned()
            .collect();
        Some(JobKind::PublishCheckpoint {
            file,
            from: unfinished,
            to,
            obsolete,
        })
    }

    pub(crate) fn checkpoint_written(&mut self, bytes: u64, result: io::Result<Arc<dyn DiskFile>>) {
        let Some(running) = self.checkpoints.running.as_mut() else {
            return;
        };
        match result {
            Ok(file) => {
                running.file = Some(file);
                running.written += bytes;
            }
            Err(error) => {
                // The file was never published: giving it up loses nothing.
                self.checkpoints.abandoned = Some(format!("{}.writing", running.name));
                self.checkpoints.running = None;
                // Not asked for again before as much came in as usually lies between two.
                self.checkpoints.not_before_bytes = self.statistics.committed_bytes + self.checkpoint_distance();
                self.maintenance.checkpoint_asked = false;
                self.completions
                    .push(Completion::CheckpointAbandoned(error.to_string()));
            }
        }
    }

    pub(crate) fn checkpoint_published(&mut self, result: io::Result<()>) {
        let Some(running) = self.checkpoints.running.take() else {
            return;
        };
        match result {
            Ok(()) => {
                self.checkpoints.begin_segment = running.begin_segment;
                self.checkpoints.begin = running.begin;
                self.checkpoints.begun_at_bytes = running.begun_at_bytes;
                self.checkpoints.inherited_bytes = 0;
                self.checkpoints.last_bytes = running.written;
                self.checkpoints.name = Some(running.name);
                self.maintenance.checkpoint_asked = false;
                self.statistics.checkpoints += 1;
                self.completions.push(Completion::CheckpointDone(running.begin));
            }
            Err(error) => self.poison(format!("publishing {}: {error}", running.name)),
        }
    }
}
