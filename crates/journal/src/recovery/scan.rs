//! Reading the tail: batch after batch, deciding at each place by the table in `verdict`.

use super::checkpoint::CheckpointRead;
use super::{CutReport, ENCRYPTED_ALONE, Recovery, Replay, damaged, io_error};
use crate::directory::{Detail, Directory};
use crate::directory_file::walk;
use crate::disk::Disk;
use crate::encryption::FileCipher;
use crate::error::OpenError;
use crate::format::{BATCH_HEADER_BYTES, BatchHeader, Cut, SegmentHeader, SegmentId};
use crate::limits::SEGMENT_HEADER_BYTES;
use crate::options::DamagePolicy;
use crate::record::{self, Record};
use crate::verdict::{BodySeen, ChainSeen, CutKnown, HeaderSeen, LaterSeen, Observation, Verdict, decide};
use std::io;

/// What the tail held.
pub(crate) struct TailRead {
    pub(crate) end: Cut,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) report: Option<CutReport>,
    /// The last batch, when its epoch is the newest: nobody has said yet that it counts.
    pub(crate) last: Option<LastBatch>,
}

/// A batch as it lies in its segment.
pub(crate) struct LastBatch {
    pub(crate) id: SegmentId,
    offset: u64,
    bytes: Vec<u8>,
}

/// Where the reader is.
pub(super) struct Reader {
    /// Records below this are in the checkpoint.
    begin: u64,
    /// What was read so far ends here: the next batch must continue it.
    pub(super) end: Cut,
    records: u64,
    bytes: u64,
    /// Where the batch taken last begins.
    last_offset: u64,
    last: Option<LastBatch>,
}

/// A segment's bytes, and what is read of it.
pub(super) struct Loaded {
    pub(super) id: SegmentId,
    pub(super) seed: u32,
    pub(super) bytes: Vec<u8>,
    pub(super) cipher: Option<FileCipher>,
    /// Where an epoch file cuts it, `u64::MAX` further on; `None` in the newest epoch.
    cut: Option<u64>,
}

impl Loaded {
    /// The whole batch at `offset`, when the segment's epoch is the newest.
    fn last_batch(&self, offset: u64) -> Option<LastBatch> {
        if self.cut.is_some() {
            return None;
        }
        let rest = self.bytes.get(offset as usize..)?;
        let header = BatchHeader::decode(rest, self.seed)?;
        Some(LastBatch {
            id: self.id,
            offset,
            bytes: rest.get(..header.length as usize)?.to_vec(),
        })
    }
}

enum SegmentEnd {
    Next,
    Stop(Option<CutReport>),
}

impl Recovery<'_> {
    pub(crate) fn read_tail(
        &mut self,
        checkpoint: Option<&CheckpointRead>,
        replay: &mut dyn Replay,
    ) -> Result<TailRead, OpenError> {
        let begin = checkpoint.map_or(0, |checkpoint| checkpoint.published.begin);
        let known = self.files.newest_epoch().map_or(Cut::default(), |epoch| epoch.cut);
        let start = checkpoint.map_or(Cut::default(), |checkpoint| checkpoint.tail);
        let ids: Vec<SegmentId> = self
            .files
            .segments
            .keys()
            .filter(|id| id.number >= start.segment && self.files.cut_of(**id) != Some(None))
            .copied()
            .collect();
        self.check_first(checkpoint, ids.first())?;
        let mut reader = Reader {
            begin,
            end: start,
            records: 0,
            bytes: 0,
            last_offset: 0,
            last: None,
        };
        let (mut report, mut jumped_to) = (None, None);
        for (index, id) in ids.iter().enumerate() {
            let start = if start.segment == id.number {
                start.offset
            } else {
                u64::from(SEGMENT_HEADER_BYTES)
            };
            let end = self.end_before(*id, reader.end);
            if end != reader.end {
                jumped_to = Some(end.position);
                reader.end = end;
            }
            let loaded = match self.load(*id) {
                Err(OpenError::Damaged { file, offset, reason }) if !self.stops_at_damage() => {
                    self.give_up_segments(&ids[index..]);
                    report = Some(CutReport { file, offset, reason });
                    break;
                }
                loaded => loaded?,
            };
            self.make_durable(&loaded)?;
            self.work.done += loaded.bytes.len() as u64;
            let before = reader.end;
            let end = self.read_segment(&loaded, start, &ids[index + 1..], &mut reader, replay)?;
            if reader.end != before {
                reader.last = loaded.last_batch(reader.last_offset);
            }
            match end {
                SegmentEnd::Next => {}
                SegmentEnd::Stop(cut) => {
                    report = cut;
                    break;
                }
            }
        }
        // If nothing was written behind what an earlier start gave up, the next epoch has to name the gap again.
        self.given_up.gap = jumped_to == Some(reader.end.position);
        self.check_end(checkpoint, &mut reader, known, report.as_ref())?;
        Ok(TailRead {
            end: reader.end,
            records: reader.records,
            bytes: reader.bytes,
            report,
            last: reader.last,
        })
    }

    /// Writes the last batch again, the same bytes in place, and syncs it. A sync that failed leaves pages that can be read and that
    /// no later sync writes: a start that believed them would put its cut behind what is gone after a loss of power. Every batch
    /// before this one was synced before its successor was written.
    pub(crate) fn write_again(disk: &dyn Disk, last: &LastBatch) -> io::Result<()> {
        let file = disk.open(&last.id.file_name())?;
        file.write_at(&last.bytes, last.offset)?;
        file.sync_data()
    }

    /// The end of everything before a segment: what was read, unless the start that began its epoch gave up what is missing.
    fn end_before(&self, id: SegmentId, read: Cut) -> Cut {
        let epochs = &self.files.epochs;
        let opened = epochs.iter().find(|epoch| epoch.epoch == id.epoch && epoch.gap);
        match opened {
            Some(epoch) if epoch.cut.position > read.position => Cut {
                position: epoch.cut.position,
                ..read
            },
            _ => read,
        }
    }

    /// The tail begins where it must.
    fn check_first(&self, checkpoint: Option<&CheckpointRead>, first: Option<&SegmentId>) -> Result<(), OpenError> {
        let Some(checkpoint) = checkpoint else { return Ok(()) };
        if first.is_none_or(|id| id.number != checkpoint.tail.segment)
            && checkpoint.requires > checkpoint.published.begin
            && self.stops_at_damage()
            && !self.tolerates_holes()
        {
            let reason = format!(
                "segment {:016x}, with which its tail begins, is missing",
                checkpoint.tail.segment
            );
            return Err(damaged(&checkpoint.published.name, 48, reason));
        }
        Ok(())
    }

    /// The tail reached as far as others recorded that it did; or it goes on behind what is given up.
    fn check_end(
        &mut self,
        checkpoint: Option<&CheckpointRead>,
        reader: &mut Reader,
        known: Cut,
        report: Option<&CutReport>,
    ) -> Result<(), OpenError> {
        let end = reader.end.position;
        let ended = self.files.end.map_or(0, |end| end.position);
        let requires = checkpoint
            .map_or(0, |checkpoint| checkpoint.requires)
            .max(known.position)
            .max(ended);
        if end >= requires {
            return Ok(());
        }
        if self.stops_at_damage() {
            let (file, offset) = report.map_or(("the journal".to_owned(), 0), |cut| (cut.file.clone(), cut.offset));
            let so = if ended == requires {
                "the server was stopped in an orderly way, so this was no interrupted write: "
            } else {
                ""
            };
            let reason = format!("{so}the records from position {end} to {requires} are missing or damaged");
            return Err(damaged(file, offset, reason));
        }
        let lost = requires - end;
        self.remarks.push(format!(
            "{lost} records, from position {end} on, are lost and were given up"
        ));
        // The checkpoint may know of records at the lost positions, and no position is used twice.
        self.given_up.gap = true;
        reader.end.position = requires;
        Ok(())
    }

    /// Whether damage stops the start: not when the operator said so, nor after an epoch without syncs.
    fn stops_at_damage(&self) -> bool {
        let synced = self.files.newest_epoch().is_none_or(|epoch| epoch.synced);
        synced && self.options.damage == DamagePolicy::Stop
    }

    /// Syncs a segment of the newest epoch before anything of it is believed: its writer may have been killed between a write and
    /// its sync, and what is read from the page cache and told to the world must survive a loss of power.
    fn make_durable(&self, loaded: &Loaded) -> Result<(), OpenError> {
        if loaded.cut.is_some() {
            return Ok(());
        }
        let name = loaded.id.file_name();
        let file = self.disk.open(&name).map_err(io_error(format!("open {name}")))?;
        file.sync_data().map_err(io_error(format!("sync {name}")))
    }

    /// The first batch of a segment, if it is whole.
    pub(super) fn load_first_batch(&mut self, id: SegmentId) -> Result<Option<BatchHeader>, OpenError> {
        let name = id.file_name();
        let file = self.disk.open(&name).map_err(io_error(format!("open {name}")))?;
        let length = file.length().map_err(io_error(format!("read {name}")))?;
        let start = u64::from(SEGMENT_HEADER_BYTES);
        let mut bytes = vec![0; (start + BATCH_HEADER_BYTES as u64).min(length) as usize];
        file.read_at(&mut bytes, 0).map_err(io_error(format!("read {name}")))?;
        self.check_segment_header(id, &bytes)?;
        self.work.bytes_read += bytes.len() as u64;
        let seed = id.seed(&self.identity);
        let first = bytes.get(start as usize..).unwrap_or_default();
        let Some(header) = BatchHeader::decode(first, seed) else {
            return Ok(None);
        };
        if start + u64::from(header.length) > length {
            return Ok(None);
        }
        let mut batch = vec![0; header.length as usize];
        file.read_at(&mut batch, start)
            .map_err(io_error(format!("read {name}")))?;
        self.work.bytes_read += batch.len() as u64;
        Ok(header.is_whole(&batch, seed).then_some(header))
    }

    fn check_segment_header(&self, id: SegmentId, bytes: &[u8]) -> Result<SegmentHeader, OpenError> {
        let name = id.file_name();
        let header = SegmentHeader::decode(bytes).map_err(|reason| damaged(&name, 0, reason))?;
        if header.id != id || header.identity != self.identity {
            return Err(damaged(
                name,
                16,
                "the segment's header does not fit its name or this journal",
            ));
        }
        Ok(header)
    }

    pub(super) fn load(&mut self, id: SegmentId) -> Result<Loaded, OpenError> {
        let name = id.file_name();
        let file = self.disk.open(&name).map_err(io_error(format!("open {name}")))?;
        let length = file.length().map_err(io_error(format!("read {name}")))?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_at(&mut bytes, 0).map_err(io_error(format!("read {name}")))?;
        let header = self.check_segment_header(id, &bytes)?;
        let cipher = match (&header.encryption, &self.keys) {
            (None, _) => None,
            (Some(_), None) => return Err(damaged(name, 76, ENCRYPTED_ALONE)),
            (Some(encryption), Some(keys)) => {
                let cipher = keys.of_segment(encryption, id);
                Some(cipher.map_err(|reason| damaged(&name, 76, reason))?)
            }
        };
        self.work.bytes_read += bytes.len() as u64;
        let cut = self.files.cut_of(id).map(|cut| cut.unwrap_or(0));
        Ok(Loaded {
            id,
            seed: id.seed(&self.identity),
            bytes,
            cipher,
            cut,
        })
    }

    fn read_segment(
        &mut self,
        loaded: &Loaded,
        start: u64,
        later: &[SegmentId],
        reader: &mut Reader,
        replay: &mut dyn Replay,
    ) -> Result<SegmentEnd, OpenError> {
        let name = loaded.id.file_name();
        let mut offset = start as usize;
        // Messages before the checkpoint's batch are indexed too: the directory covers the whole segment.
        let mut details = self.details_before(loaded, start)?;
        let first_position = reader.end.position;
        loop {
            let rest = loaded.bytes.get(offset..).unwrap_or_default();
            let header = BatchHeader::decode(rest, loaded.seed);
            let observation = self.observe(loaded, offset, header.as_ref(), later, reader)?;
            match decide(observation) {
                Verdict::Accept => {
                    let header = header.expect("only a valid header is accepted");
                    let records = header.records(rest);
                    self.replay_batch(loaded, offset, &header, records, reader, details.collected(), replay)?;
                    reader.last_offset = offset as u64;
                    offset += header.length as usize;
                    reader.bytes += u64::from(header.length);
                    self.work.records += u64::from(header.count);
                    self.work.tell(replay);
                    let position = header.first_position + u64::from(header.count);
                    let segment = loaded.id.number;
                    reader.end = Cut {
                        segment,
                        offset: offset as u64,
                        position,
                        checksum: header.checksum,
                    };
                }
                Verdict::NextSegment | Verdict::EndAtCut => {
                    self.finish_segment(loaded, offset, first_position, reader, details)?;
                    return Ok(SegmentEnd::Next);
                }
                Verdict::CleanEnd => {
                    self.finish_segment(loaded, offset, first_position, reader, details)?;
                    return Ok(SegmentEnd::Stop(None));
                }
                Verdict::TornTail => {
                    self.finish_segment(loaded, offset, first_position, reader, details)?;
                    self.keep_cut(loaded.id);
                    let reason = "the last write was interrupted".to_owned();
                    return Ok(SegmentEnd::Stop(Some(CutReport {
                        file: name,
                        offset: offset as u64,
                        reason,
                    })));
                }
                Verdict::Damage(reason) => {
                    if self.stops_at_damage() || loaded.cut.is_some() && self.options.damage == DamagePolicy::Stop {
                        return Err(damaged(name, offset as u64, reason));
                    }
                    self.finish_segment(loaded, offset, first_position, reader, details)?;
                    self.give_up_segments(later);
                    self.keep_cut(loaded.id);
                    let reason = format!("{reason}; everything from here on was given up");
                    return Ok(SegmentEnd::Stop(Some(CutReport {
                        file: name,
                        offset: offset as u64,
                        reason,
                    })));
                }
            }
        }
    }

    fn observe(
        &mut self,
        loaded: &Loaded,
        offset: usize,
        header: Option<&BatchHeader>,
        later: &[SegmentId],
        reader: &Reader,
    ) -> Result<Observation, OpenError> {
        let rest = loaded.bytes.get(offset..).unwrap_or_default();
        let cut = match loaded.cut {
            None => CutKnown::None,
            Some(cut) if cut == offset as u64 => CutKnown::Here,
            Some(_) => CutKnown::FurtherOn,
        };
        let seen = match header {
            Some(_) => HeaderSeen::Valid,
            None if rest.len() < BATCH_HEADER_BYTES => HeaderSeen::Absent,
            None if rest[..BATCH_HEADER_BYTES].iter().all(|byte| *byte == 0) => HeaderSeen::Absent,
            None => HeaderSeen::Invalid,
        };
        let continues = header.is_some_and(|header| follows(header, reader));
        let whole = header.is_some_and(|header| header.is_whole(rest, loaded.seed));
        let accepted = continues && whole;
        let later = if accepted || cut == CutKnown::Here {
            LaterSeen::None
        } else {
            self.look_past(loaded, offset, later, reader)?
        };
        Ok(Observation {
            header: seen,
            chain: if continues {
                ChainSeen::Continues
            } else {
                ChainSeen::Broken
            },
            body: if whole { BodySeen::Whole } else { BodySeen::Damaged },
            later,
            cut,
        })
    }

    /// Looks for a valid batch behind `offset`: in the rest of the segment, then at the start of later ones.
    fn look_past(
        &mut self,
        loaded: &Loaded,
        offset: usize,
        later: &[SegmentId],
        reader: &Reader,
    ) -> Result<LaterSeen, OpenError> {
        let limit = loaded
            .cut
            .map_or(loaded.bytes.len(), |cut| loaded.bytes.len().min(cut as usize));
        for at in (offset + 8..limit).step_by(8) {
            let rest = &loaded.bytes[at..];
            if BatchHeader::decode(rest, loaded.seed).is_some_and(|header| header.is_whole(rest, loaded.seed)) {
                return Ok(LaterSeen::Elsewhere);
            }
        }
        for id in later {
            let Some(header) = self.load_first_batch(*id)? else {
                continue;
            };
            let continues = follows(&header, reader);
            return Ok(if continues {
                LaterSeen::NextSegment
            } else {
                LaterSeen::Elsewhere
            });
        }
        Ok(LaterSeen::None)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one batch, where it lies, and everything it changes"
    )]
    fn replay_batch(
        &mut self,
        loaded: &Loaded,
        offset: usize,
        header: &BatchHeader,
        records: &[u8],
        reader: &mut Reader,
        mut details: Option<&mut Vec<Detail>>,
        replay: &mut dyn Replay,
    ) -> Result<(), OpenError> {
        let mut at = 0;
        for index in 0..u64::from(header.count) {
            let place = (offset + BATCH_HEADER_BYTES + at) as u64;
            let problem = |reason: String| damaged(loaded.id.file_name(), place, reason);
            let parsed = record::parse(&records[at..], loaded.seed)
                .and_then(|parsed| parsed.expect_encrypted(loaded.cipher.is_some()))
                .map_err(|error| problem(error.to_string()))?;
            let record = parsed.record;
            at += parsed.length;
            if let (
                Some(details),
                Record::Message {
                    log,
                    sequence,
                    timestamp,
                    moved,
                    ..
                },
            ) = (details.as_deref_mut(), record)
            {
                details.push(Detail::new(
                    log,
                    sequence,
                    timestamp,
                    place as u32,
                    parsed.plain_length(),
                    moved,
                ));
            }
            let position = header.first_position + index;
            if position < reader.begin {
                continue;
            }
            reader.records += 1;
            self.body.clear();
            // Nobody looks into messages now; whoever reads one decrypts it.
            if !matches!(record, Record::Message { .. }) {
                parsed
                    .body(loaded.cipher.as_ref(), Some(position), &mut self.body)
                    .map_err(|error| problem(error.to_string()))?;
            }
            self.replay_record(record, position, replay).map_err(problem)?;
        }
        if at != records.len() {
            let place = (offset + BATCH_HEADER_BYTES + at) as u64;
            return Err(damaged(
                loaded.id.file_name(),
                place,
                "a batch holds more than its records",
            ));
        }
        Ok(())
    }

    /// Of a record that is no message, `self.body` is the body.
    fn replay_record(&mut self, record: Record<'_>, position: u64, replay: &mut dyn Replay) -> Result<(), String> {
        match record {
            Record::Message { moved: true, .. } => {}
            Record::Message {
                log,
                sequence,
                timestamp,
                body,
                ..
            } => {
                self.index.replay_message(log, sequence, timestamp, position)?;
                replay.message(log, sequence, timestamp, body.len() as u32);
            }
            Record::Fact { kind, .. } => replay.fact(kind, &self.body),
            Record::Trim { log, first, .. } => {
                self.index.replay_trim(log, first, position);
                replay.trim(log, first, &self.body);
            }
            Record::Delete { log, .. } => {
                self.index.replay_delete(log);
                replay.delete(log, &self.body);
            }
        }
        Ok(())
    }

    /// Makes the directory of a segment before the tail from the segment itself.
    pub(crate) fn rebuild_directory(&mut self, id: SegmentId) -> Result<(), OpenError> {
        let loaded = self.load(id)?;
        let limit = loaded
            .cut
            .map_or(loaded.bytes.len(), |cut| loaded.bytes.len().min(cut as usize));
        let mut details = Vec::new();
        let encrypted = loaded.cipher.is_some();
        let walked = walk(loaded.seed, encrypted, &loaded.bytes[..limit], &mut details)
            .map_err(|(offset, reason)| damaged(id.file_name(), offset, reason))?;
        let end = walked.end;
        for at in (end + 8..limit).step_by(8) {
            let rest = &loaded.bytes[at..limit];
            if BatchHeader::decode(rest, loaded.seed).is_some_and(|header| header.is_whole(rest, loaded.seed)) {
                return Err(damaged(
                    id.file_name(),
                    end as u64,
                    "a batch is missing or damaged, and valid ones follow it",
                ));
            }
        }
        self.built
            .push(Directory::build(id, walked.extent(), &details, encrypted));
        Ok(())
    }

    /// Leaves segments out of everything; they are set aside when all was read.
    fn give_up_segments(&mut self, ids: &[SegmentId]) {
        for id in ids {
            self.files.segments.remove(id);
            self.files.numbers_seen = self.files.numbers_seen.max(id.number);
        }
        self.given_up.segments.extend_from_slice(ids);
    }

    /// When the operator gives up what is damaged, a copy of it stays.
    fn keep_cut(&mut self, id: SegmentId) {
        if self.options.damage == DamagePolicy::CutThere {
            self.given_up.cut = Some(id);
        }
    }
}

/// Whether a batch continues exactly what was read.
fn follows(header: &BatchHeader, reader: &Reader) -> bool {
    header.first_position == reader.end.position && header.predecessor == reader.end.checksum
}
