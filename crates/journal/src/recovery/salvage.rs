//! What can be used of a damaged checkpoint, when the operator gives up what is damaged (docs/journal-format.md §9).

use super::checkpoint::{CheckpointRead, replay_entries};
use super::losses::GivenUpCheckpoint;
use super::{RecoveredLog, Recovery, Replay, damaged};
use crate::batch::BatchHeader;
use crate::checkpoint_file::{
    BLOCK_HEADER_BYTES, ENTRY_END, ENTRY_HEADER_BYTES, ENTRY_LOG, LOG_ENTRY_BYTES, block_checksum,
};
use crate::directory::read_summary;
use crate::directory_file::walk;
use crate::error::OpenError;
use crate::format::{Cut, SegmentId, checkpoint_name, u64_at};
use crate::index::Index;
use crate::limits::SEGMENT_HEADER_BYTES;
use crate::messages::LogBounds;
use crate::names::{LogId, Position};
use crate::record::{self, Record};
use std::collections::BTreeMap;

/// Bytes of the entry that ends a checkpoint.
const END_BYTES: usize = ENTRY_HEADER_BYTES + 16;

/// Hears what is only checked.
struct Nobody;

impl Replay for Nobody {
    fn fact(&mut self, _kind: u8, _body: &[u8]) {}

    fn trim(&mut self, _log: LogId, _first: u64, _body: &[u8]) {}

    fn delete(&mut self, _log: LogId, _body: &[u8]) {}

    fn log_recovered(&mut self, _log: RecoveredLog) {}
}

impl Recovery<'_> {
    /// When the newest checkpoint is damaged: an older one that is whole, with everything that follows it (then `None`, and it is
    /// the newest), or the blocks of this one that are. `None`, too, when it is not damaged, or when there is none.
    pub(super) fn give_up_checkpoint(&mut self, replay: &mut dyn Replay) -> Result<Option<CheckpointRead>, OpenError> {
        let Some(&(begin, epoch)) = self.files.checkpoints.last() else {
            return Ok(None);
        };
        let damage = match self.check_checkpoint(begin, epoch) {
            Ok(_) => return Ok(None),
            Err(damage @ OpenError::Damaged { .. }) => damage,
            Err(error) => return Err(error),
        };
        let name = checkpoint_name(begin, epoch);
        let older = self.files.checkpoints.iter().rposition(|&(position, epoch)| {
            position < begin
                && self
                    .check_checkpoint(position, epoch)
                    .is_ok_and(|tail| self.goes_on_from(tail, begin))
        });
        if let Some(older) = older {
            let (position, epoch) = self.files.checkpoints[older];
            self.remarks.push(format!(
                "{damage}; {} is older and whole, and nothing is lost",
                checkpoint_name(position, epoch)
            ));
            self.files.checkpoints.truncate(older + 1);
            let salvaged = None;
            self.given_up.checkpoint = Some(GivenUpCheckpoint { name, salvaged });
            return Ok(None);
        }
        if self.keys.is_some() {
            return Err(damage);
        }
        self.salvage(begin, epoch, &damage, replay).map(Some)
    }

    /// Reads a checkpoint without replaying it; where its tail begins.
    fn check_checkpoint(&self, begin: Position, epoch: u64) -> Result<Cut, OpenError> {
        let mut source = self.open_checkpoint(begin, epoch)?;
        let (mut entries, mut scrap) = (0, Index::default());
        loop {
            let offset = source.offset;
            let name = source.name.clone();
            let end = replay_entries(
                source.next_block()?,
                &mut entries,
                true,
                &mut scrap,
                &mut None,
                &mut Nobody,
            )
            .map_err(|reason| damaged(name, offset, reason))?;
            if end.is_some() {
                return Ok(source.read(begin, begin).tail);
            }
        }
    }

    /// Whether everything from where a tail begins up to `position` is there, as the directories of the segments say.
    fn goes_on_from(&self, tail: Cut, position: Position) -> bool {
        let mut reached = None;
        for id in self.files.segments.keys().filter(|id| id.number >= tail.segment) {
            if reached.is_some_and(|reached| reached >= position) {
                return true;
            }
            let Ok(Ok(summary)) = read_summary(self.disk, &self.identity, *id) else {
                // The newest have none, and are read.
                return reached.is_some() || id.number == tail.segment;
            };
            let follows = match reached {
                None => id.number == tail.segment,
                Some(reached) => reached == summary.extent.first_position,
            };
            if !follows {
                return false;
            }
            reached = Some(summary.extent.next_position);
        }
        reached.is_some_and(|reached| reached >= position)
    }

    /// Replays the blocks of a damaged checkpoint that are whole.
    fn salvage(
        &mut self,
        begin: Position,
        epoch: u64,
        damage: &OpenError,
        replay: &mut dyn Replay,
    ) -> Result<CheckpointRead, OpenError> {
        let mut source = match self.open_checkpoint(begin, epoch) {
            Err(error @ OpenError::Damaged { .. }) => {
                let tail = self.find(begin)?.ok_or(error)?;
                self.open_without_header(begin, epoch, tail)?
            }
            source => source?,
        };
        let mut salvaged = Salvaged::new(source.header.clone(), source.seed);
        let (mut entries, mut lost, mut requires, mut members) = (0, 0, begin, None);
        while source.offset < source.length {
            let (offset, name) = (source.offset, source.name.clone());
            let plain = match source.next_block() {
                Err(OpenError::Damaged { .. }) => {
                    lost += source.skip_block();
                    continue;
                }
                block => block?,
            };
            let end = replay_entries(plain, &mut entries, false, &mut self.index, &mut members, replay)
                .map_err(|reason| damaged(name, offset, reason))?;
            let Some(end) = end else {
                salvaged.add_block(plain);
                continue;
            };
            requires = end.requires;
            // The end comes anew.
            let before = &plain[..plain.len() - END_BYTES];
            if !before.is_empty() {
                salvaged.add_block(before);
            }
            break;
        }
        let name = source.name.clone();
        self.remarks.push(format!(
            "{damage}; {lost} bytes of it are lost with what they said of channels, clients, subscriptions and what those were \
             sent; {entries} entries are used. Messages of channels whose names are lost stay, and nobody sees them"
        ));
        entries += self.find_out_logs(&source.header, begin, &mut salvaged)?;
        let salvaged = Some(salvaged.finish(requires, entries));
        self.given_up.checkpoint = Some(GivenUpCheckpoint { name, salvaged });
        for (position, epoch) in std::mem::take(&mut self.files.checkpoints) {
            let other = checkpoint_name(position, epoch);
            if other != source.name {
                self.files.obsolete.push(other);
            }
        }
        let mut read = source.read(begin, requires);
        read.published.members = members;
        Ok(read)
    }
}

impl Recovery<'_> {
    /// Where the batch with the record at a position begins, or where the next one goes on when that was the last, as the
    /// segments say.
    fn find(&mut self, position: Position) -> Result<Option<Cut>, OpenError> {
        let ids: Vec<SegmentId> = self.files.segments.keys().copied().collect();
        let mut found = None;
        for id in ids {
            match self.load_first_batch(id)? {
                Some(header) if header.first_position <= position => found = Some(id),
                Some(_) => break,
                None => {}
            }
        }
        let Some(id) = found else { return Ok(None) };
        let loaded = self.load(id)?;
        let (mut offset, mut cut) = (SEGMENT_HEADER_BYTES as usize, None);
        while let Some(rest) = loaded.bytes.get(offset..) {
            let header = BatchHeader::decode(rest, loaded.seed).filter(|header| header.is_whole(rest, loaded.seed));
            let Some(header) = header else { break };
            let next = header.first_position + u64::from(header.count);
            let mut place = Cut {
                segment: id.number,
                offset: offset as u64,
                position: header.first_position,
                checksum: header.predecessor,
            };
            if next > position {
                return Ok(Some(place));
            }
            offset += header.length as usize;
            (place.offset, place.position, place.checksum) = (offset as u64, next, header.checksum);
            cut = Some(place);
        }
        Ok(cut)
    }
}

/// What a checkpoint says of a log.
#[derive(Clone, Copy)]
struct Found {
    first: u64,
    last: u64,
    last_timestamp: i64,
}

impl Recovery<'_> {
    /// Bounds of logs that none of the blocks told, as the messages before `begin` show them: what was trimmed may come back. How many.
    fn find_out_logs(&mut self, header: &[u8], begin: Position, salvaged: &mut Salvaged) -> Result<u64, OpenError> {
        let (segment, offset) = (u64_at(header, 48), u64_at(header, 56));
        let mut logs = BTreeMap::new();
        let mut found = |log: LogId, first: u64, last: u64, last_timestamp: i64| {
            let log = logs.entry(log).or_insert(Found {
                first,
                last,
                last_timestamp,
            });
            log.first = log.first.min(first);
            if last > log.last {
                (log.last, log.last_timestamp) = (last, last_timestamp);
            }
        };
        let ids: Vec<SegmentId> = self.files.segments.keys().copied().collect();
        for id in ids.into_iter().filter(|id| id.number <= segment) {
            if id.number < segment
                && let Ok(Ok(summary)) = read_summary(self.disk, &self.identity, id)
            {
                summary
                    .runs
                    .iter()
                    .for_each(|run| found(run.log, run.first, run.last, run.last_timestamp));
                continue;
            }
            let loaded = self.load(id)?;
            let end = if id.number < segment {
                loaded.bytes.len()
            } else {
                offset as usize
            };
            let mut details = Vec::new();
            let walked = walk(
                loaded.seed,
                false,
                loaded.bytes.get(..end).unwrap_or_default(),
                &mut details,
            );
            walked.map_err(|(offset, reason)| damaged(id.file_name(), offset, reason))?;
            details
                .iter()
                .for_each(|detail| found(detail.log, detail.sequence, detail.sequence, detail.timestamp));
            if id.number == segment {
                let rest = loaded.bytes.get(end..).unwrap_or_default();
                before(rest, loaded.seed, begin, &mut |log, sequence, time| {
                    found(log, sequence, sequence, time)
                });
            }
        }
        let mut entries = Vec::new();
        let mut count = 0;
        logs.retain(|log, _| self.index.bounds(*log).is_none());
        for (log, found) in logs {
            let bounds = LogBounds {
                first: found.first,
                last: found.last,
                count: found.last - found.first + 1,
                bytes: 0,
                last_timestamp: found.last_timestamp,
            };
            self.index.restore(log, &bounds, begin);
            entries.push(ENTRY_LOG);
            entries.extend_from_slice(&(LOG_ENTRY_BYTES as u32).to_le_bytes());
            for field in [log.0, found.first, found.last, 0, found.last_timestamp as u64, begin] {
                entries.extend_from_slice(&field.to_le_bytes());
            }
            count += 1;
        }
        if count > 0 {
            salvaged.add_block(&entries);
        }
        Ok(count)
    }
}

/// The messages of the batch at the start of `bytes` that lie before a position.
fn before(bytes: &[u8], seed: u32, position: Position, found: &mut impl FnMut(LogId, u64, i64)) {
    let Some(header) = BatchHeader::decode(bytes, seed).filter(|header| header.is_whole(bytes, seed)) else {
        return;
    };
    let mut records = header.records(bytes);
    for _ in header.first_position..position.min(header.first_position + u64::from(header.count)) {
        let Ok(parsed) = record::parse(records, seed) else {
            return;
        };
        if let Record::Message {
            log,
            sequence,
            timestamp,
            ..
        } = parsed.record
        {
            found(log, sequence, timestamp);
        }
        records = &records[parsed.length..];
    }
}

/// A checkpoint made of what is whole of another.
struct Salvaged {
    bytes: Vec<u8>,
    seed: u32,
    blocks: u32,
}

impl Salvaged {
    fn new(header: Vec<u8>, seed: u32) -> Salvaged {
        Salvaged {
            bytes: header,
            seed,
            blocks: 0,
        }
    }

    fn add_block(&mut self, entries: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&(entries.len() as u32 + 4).to_le_bytes());
        self.bytes.extend_from_slice(&self.blocks.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(entries);
        let checksum = block_checksum(self.seed, &self.bytes[start..]);
        self.bytes[start + 8..start + BLOCK_HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        self.blocks += 1;
    }

    fn finish(mut self, requires: Position, entries: u64) -> Vec<u8> {
        let mut end = vec![ENTRY_END];
        end.extend_from_slice(&16u32.to_le_bytes());
        end.extend_from_slice(&requires.to_le_bytes());
        end.extend_from_slice(&entries.to_le_bytes());
        self.add_block(&end);
        self.bytes
    }
}
