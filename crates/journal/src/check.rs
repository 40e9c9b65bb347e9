//! Checks one file of a journal while its bytes go by, without a key: whoever copies files learns whether they are what was written.

use crate::batch::{BATCH_HEADER_BYTES, BatchHeader};
use crate::checkpoint_file::{BLOCK_HEADER_BYTES, ENTRY_END, ENTRY_HEADER_BYTES, block_checksum};
use crate::directory::{PAGE_BYTES, check_page, check_summary_header, check_table, pages_in};
use crate::format::{
    EpochFile, FILE_HEADER_BYTES, FileName, Identity, SegmentHeader, SegmentId, check_header, check_preamble,
    checkpoint_seed, decode_end, decode_life, decode_witness, identity_at, is_encrypted, u32_at, u64_at,
};
use crate::limits::{CHECKPOINT_BLOCK_BYTES_MAX, SEGMENT_BYTES_CEILING, SEGMENT_HEADER_BYTES};
use crate::recovery::losses::LostFile;
use crate::vote;

/// Bytes of the entry that ends a checkpoint.
const END_BYTES: usize = ENTRY_HEADER_BYTES + 16;
const MISSING_BATCH: &str = "a batch is missing or damaged";

/// See the module. Of what is wrong it says the first place.
pub struct FileCheck {
    identity: Identity,
    name: FileName,
    length: u64,
    /// Where the unit begins that is read.
    offset: u64,
    /// What is there of it.
    unit: Vec<u8>,
    /// As many bytes make the next step.
    needed: usize,
    stage: Stage,
    wrong: Option<String>,
}

/// What is read.
enum Stage {
    /// The header; of small files all of it.
    Head,
    BatchHead,
    Batch(BatchHeader),
    BlockHead {
        number: u32,
        is_encrypted: bool,
    },
    Block {
        number: u32,
        is_encrypted: bool,
    },
    /// The runs of a directory, up to its first page.
    Table {
        runs: usize,
        checksum: u32,
    },
    Page(usize),
    End,
}

impl FileCheck {
    /// Of a file with a name and a length, of the journal with an identity. Files of other names are not checked.
    pub fn begin(name: &str, identity: Identity, length: u64) -> FileCheck {
        let name = FileName::parse(name);
        let head = match name {
            FileName::Segment(_) => u64::from(SEGMENT_HEADER_BYTES),
            FileName::Directory(_) | FileName::Checkpoint { .. } => FILE_HEADER_BYTES as u64,
            FileName::Epoch(_)
            | FileName::End(_)
            | FileName::Lost(_)
            | FileName::GivenUp
            | FileName::Life
            | FileName::Vote => length.min(SEGMENT_BYTES_CEILING),
            _ => u64::MAX,
        };
        let stage = if head == u64::MAX { Stage::End } else { Stage::Head };
        FileCheck {
            identity,
            name,
            length,
            offset: 0,
            unit: Vec::new(),
            needed: head.min(length) as usize,
            stage,
            wrong: None,
        }
    }

    /// The next bytes.
    pub fn add(&mut self, mut bytes: &[u8]) {
        while self.wrong.is_none() && !matches!(self.stage, Stage::End) {
            let missing = self.needed - self.unit.len();
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            self.unit.extend_from_slice(taken);
            bytes = rest;
            if self.unit.len() < self.needed {
                return;
            }
            let unit = std::mem::take(&mut self.unit);
            if let Err(reason) = self.step(&unit) {
                self.wrong = Some(format!("offset {}: {reason}", self.offset));
            }
            if self.unit.is_empty() {
                self.offset += unit.len() as u64;
                self.unit = unit;
                self.unit.clear();
            }
        }
    }

    /// What is wrong when all bytes were given, or some of them: then the end is missing.
    ///
    /// # Errors
    /// The first place that is not as it was written, and why.
    pub fn finish(mut self) -> Result<(), String> {
        // One of no bytes at all never had a step.
        self.add(&[]);
        match (self.wrong, self.stage) {
            (Some(wrong), _) => Err(wrong),
            (None, Stage::End) => Ok(()),
            (None, _) => Err(format!("offset {}: the file ends too early", self.offset)),
        }
    }

    /// Bytes behind the present unit of so many.
    fn left(&self, unit: usize) -> u64 {
        self.length.saturating_sub(self.offset + unit as u64)
    }

    /// Goes on with a unit of so many bytes, or ends where the file does.
    fn go_on(&mut self, done: usize, stage: Stage, needed: usize) -> Result<(), String> {
        match self.left(done) {
            0 => self.stage = Stage::End,
            left if left < needed as u64 => return Err(format!("{left} bytes at the end are too few")),
            _ => (self.stage, self.needed) = (stage, needed),
        }
        Ok(())
    }

    fn step(&mut self, unit: &[u8]) -> Result<(), String> {
        match std::mem::replace(&mut self.stage, Stage::End) {
            Stage::Head => self.head(unit),
            Stage::BatchHead => {
                let header = BatchHeader::decode(unit, self.segment_seed()).ok_or(MISSING_BATCH)?;
                let length = header.length as usize;
                if u64::from(header.length) > self.length - self.offset {
                    return Err("its last batch is cut off".to_owned());
                }
                (self.stage, self.needed, self.unit) = (Stage::Batch(header), length, unit.to_vec());
                Ok(())
            }
            Stage::Batch(header) => {
                if !header.is_whole(unit, self.segment_seed()) {
                    return Err(MISSING_BATCH.to_owned());
                }
                self.go_on(unit.len(), Stage::BatchHead, BATCH_HEADER_BYTES)
            }
            Stage::BlockHead { number, is_encrypted } => {
                let rest = u32_at(unit, 0);
                let total = u64::from(rest) + 8;
                let is_possible = (4..=CHECKPOINT_BLOCK_BYTES_MAX).contains(&rest);
                if !is_possible || total > self.length - self.offset || u32_at(unit, 4) != number {
                    return Err("a block of the checkpoint has an impossible header".to_owned());
                }
                self.stage = Stage::Block { number, is_encrypted };
                (self.needed, self.unit) = (total as usize, unit.to_vec());
                Ok(())
            }
            Stage::Block { number, is_encrypted } => self.block(unit, number, is_encrypted),
            Stage::Table { runs, checksum } => {
                check_table(unit, runs, checksum, self.directory_seed())?;
                self.go_on(unit.len(), Stage::Page(0), PAGE_BYTES)
            }
            Stage::Page(number) => {
                check_page(unit, self.directory_seed())
                    .then_some(())
                    .ok_or_else(|| format!("the checksum of page {number} does not match"))?;
                self.go_on(unit.len(), Stage::Page(number + 1), PAGE_BYTES)
            }
            Stage::End => Ok(()),
        }
    }

    fn block(&mut self, block: &[u8], number: u32, is_encrypted: bool) -> Result<(), String> {
        if block_checksum(self.checkpoint_seed(), block) != u32_at(block, 8) {
            return Err("the checksum of a block of the checkpoint does not match".to_owned());
        }
        let entries = &block[BLOCK_HEADER_BYTES..];
        let is_last = self.left(block.len()) == 0;
        let end = entries.len().checked_sub(END_BYTES).map(|at| &entries[at..]);
        let has_end = end.is_some_and(|end| end[0] == ENTRY_END && u32_at(end, 1) == 16);
        if is_last && !is_encrypted && !has_end {
            return Err("the checkpoint ends before its end entry".to_owned());
        }
        let number = number + 1;
        self.go_on(
            block.len(),
            Stage::BlockHead { number, is_encrypted },
            BLOCK_HEADER_BYTES,
        )
    }

    fn head(&mut self, unit: &[u8]) -> Result<(), String> {
        let identity = self.identity;
        let other = || "it does not fit its name or this journal".to_owned();
        match self.name {
            FileName::Segment(id) => {
                let header = SegmentHeader::decode(unit)?;
                if unit.len() < SEGMENT_HEADER_BYTES as usize {
                    return Err("the file is shorter than a segment header".to_owned());
                }
                if header.id != id || header.identity != identity {
                    return Err(other());
                }
                self.go_on(unit.len(), Stage::BatchHead, BATCH_HEADER_BYTES)
            }
            FileName::Checkpoint { position, epoch } => {
                check_header(unit, 0, "checkpoint")?;
                check_preamble(unit, b"SEAWAYCP", 0)?;
                if identity_at(unit, 16) != identity || u64_at(unit, 32) != epoch || u64_at(unit, 40) != position {
                    return Err(other());
                }
                let is_encrypted = is_encrypted(unit);
                if self.left(unit.len()) == 0 {
                    return Err("the checkpoint ends before its end entry".to_owned());
                }
                self.go_on(
                    unit.len(),
                    Stage::BlockHead {
                        number: 0,
                        is_encrypted,
                    },
                    BLOCK_HEADER_BYTES,
                )
            }
            FileName::Directory(id) => {
                if unit.len() < FILE_HEADER_BYTES {
                    return Err("the file is shorter than a directory's header".to_owned());
                }
                let runs = check_summary_header(unit, &identity, id)?;
                let (table, expected) = pages_in(unit, runs);
                if expected != self.length {
                    let length = self.length;
                    return Err(format!("the directory has {length} bytes instead of {expected}"));
                }
                let checksum = u32_at(unit, 88);
                self.go_on(unit.len(), Stage::Table { runs, checksum }, table)
            }
            FileName::Epoch(epoch) => match EpochFile::decode(unit)? {
                content if content.epoch == epoch && content.identity == identity => Ok(()),
                _ => Err(other()),
            },
            FileName::End(epoch) => decode_end(unit, &identity, epoch).map(drop),
            FileName::Lost(epoch) => LostFile::decode(unit, &identity, epoch).map(drop),
            FileName::GivenUp => decode_witness(unit, &identity).map(drop),
            FileName::Life => decode_life(unit, &identity).map(drop),
            FileName::Vote => vote::decode(unit, &identity).map(drop),
            _ => Ok(()),
        }
    }

    fn id(&self) -> SegmentId {
        match self.name {
            FileName::Segment(id) | FileName::Directory(id) => id,
            _ => SegmentId { number: 0, epoch: 0 },
        }
    }

    fn segment_seed(&self) -> u32 {
        self.id().seed(&self.identity)
    }

    fn directory_seed(&self) -> u32 {
        self.id().directory_seed(&self.identity)
    }

    fn checkpoint_seed(&self) -> u32 {
        match self.name {
            FileName::Checkpoint { position, epoch } => checkpoint_seed(&self.identity, epoch, position),
            _ => 0,
        }
    }
}
