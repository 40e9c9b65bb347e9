//! Reading the tail: batch after batch, deciding at each place by the table in `verdict`.

use super::checkpoint::CheckpointRead;
use super::loaded::{LastBatch, Loaded};
use super::losses::HOLDS_NOTHING;
use super::{CutReport, Recovery, Replay, damaged};
use crate::batch::{BATCH_HEADER_BYTES, BatchHeader};
use crate::directory::Detail;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::{Cut, EpochFile, SegmentId};
use crate::limits::SEGMENT_HEADER_BYTES;
use crate::options::DamagePolicy;
use crate::record::{self, Record};
use crate::verdict::{BodySeen, ChainSeen, CutKnown, HeaderSeen, LaterSeen, Observation, Verdict, decide};
use std::io;

const BEHIND_DAMAGE: &str = "lies behind the damage";

/// What the tail held.
pub(crate) struct TailRead {
    pub(crate) end: Cut,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) report: Option<CutReport>,
    /// The last batch, when its epoch is the newest: nobody has said yet that it counts.
    pub(crate) last: Option<LastBatch>,
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

impl Reader {
    fn new(begin: u64, start: Cut) -> Reader {
        Reader {
            begin,
            end: start,
            records: 0,
            bytes: 0,
            last_offset: 0,
            last: None,
        }
    }
}

/// The next segment of the tail.
enum Next {
    Loaded(Loaded),
    /// It holds nothing, and is left out.
    Nothing,
    /// Its header is, and it is given up with those behind it.
    Damaged(CutReport),
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
        let ids = self.files.segments.keys().copied();
        let ids = ids.filter(|id| id.number >= start.segment && self.files.cut_of(*id) != Some(None));
        let ids: Vec<SegmentId> = ids.collect();
        self.check_first(checkpoint, ids.first())?;
        // What a checkpoint says knows of the losses before it.
        let counted = self.files.lost.iter();
        self.losses_seen = counted.filter(|lost| self.checkpoint_epoch >= Some(lost.epoch)).count();
        let mut reader = Reader::new(begin, start);
        let (mut report, mut jumped_to) = (None, None);
        for (index, id) in ids.iter().enumerate() {
            let start = if start.segment == id.number {
                start.offset
            } else {
                u64::from(SEGMENT_HEADER_BYTES)
            };
            let opened = self.files.epochs.iter().find(|epoch| epoch.epoch == id.epoch);
            let end = end_before(opened, reader.end);
            if end != reader.end {
                jumped_to = Some(end.position);
                reader.end = end;
            }
            self.go_on_behind_losses(id.epoch);
            let loaded = match self.load_next(&ids[index..], replay)? {
                Next::Loaded(loaded) => loaded,
                Next::Nothing => continue,
                Next::Damaged(damage) => {
                    report = Some(damage);
                    break;
                }
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
        self.leave_out_strangers(reader.end.segment)?;
        if self.jump_to_newest(&mut reader) {
            jumped_to = Some(reader.end.position);
        }
        // If nothing was written behind what an earlier start gave up, the next epoch has to name the gap again.
        self.given_up.gap = jumped_to == Some(reader.end.position);
        self.check_end(checkpoint, &mut reader, known, report.as_ref())?;
        if let Some(entries) = &self.entries {
            entries.check()?;
            if let Some(cut) = entries.cut() {
                // Batches follow the one before the cut: it was synced before they were written.
                (reader.end, reader.last) = (cut, None);
                self.given_up.gap = jumped_to == Some(cut.position);
            }
        }
        self.go_on_behind_losses(u64::MAX);
        self.go_on_behind_own_losses();
        Ok(TailRead {
            end: reader.end,
            records: reader.records,
            bytes: reader.bytes,
            report,
            last: reader.last,
        })
    }

    /// Loads the first of these segments, or gives up what it is not.
    fn load_next(&mut self, ids: &[SegmentId], replay: &mut dyn Replay) -> Result<Next, OpenError> {
        match self.load(ids[0]) {
            Err(OpenError::Damaged { .. }) if self.is_empty(ids[0])? => {
                self.give_up_segments(&ids[..1], HOLDS_NOTHING);
                Ok(Next::Nothing)
            }
            Err(OpenError::Damaged { file, offset, reason }) if !self.stops_at_damage() => {
                self.look_at_segments(ids, replay);
                self.give_up_segments(ids, BEHIND_DAMAGE);
                Ok(Next::Damaged(CutReport {
                    file,
                    offset,
                    reason,
                    is_torn: false,
                }))
            }
            loaded => loaded.map(Next::Loaded),
        }
    }

    /// Goes on behind what the start that opened the newest epoch gave up, when it was interrupted before there was a segment of that
    /// epoch. Whether it was.
    fn jump_to_newest(&self, reader: &mut Reader) -> bool {
        let newest = self.files.newest_epoch();
        let newest = newest.filter(|newest| is_same_place(newest.cut, reader.end));
        let read = reader.end;
        reader.end = end_before(newest, read);
        reader.end != read
    }

    /// Writes the last batch again, the same bytes in place, and syncs it. A sync that failed leaves pages that can be read and that
    /// no later sync writes: a start that believed them would put its cut behind what is gone after a loss of power. Every batch
    /// before this one was synced before its successor was written.
    pub(crate) fn write_again(disk: &dyn Disk, last: &LastBatch) -> io::Result<()> {
        let file = disk.open(&last.id.file_name())?;
        file.write_at(&last.bytes, last.offset)?;
        file.sync_data()
    }

    /// The tail begins where it must.
    fn check_first(&self, checkpoint: Option<&CheckpointRead>, first: Option<&SegmentId>) -> Result<(), OpenError> {
        let Some(checkpoint) = checkpoint else { return Ok(()) };
        if !self.gives_up()
            && first.is_none_or(|id| id.number != checkpoint.tail.segment)
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
        self.given_up.end = true;
        reader.end.position = requires;
        Ok(())
    }

    /// Whether damage stops the start: not when the operator said so, nor after an epoch without syncs.
    fn stops_at_damage(&self) -> bool {
        let synced = self.files.newest_epoch().is_none_or(|epoch| epoch.synced);
        synced && self.options.damage == DamagePolicy::Stop
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
                    self.take_batch(loaded, offset, &header, reader, details.collected(), replay)?;
                    offset += header.length as usize;
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
                    self.look_behind(loaded, offset, later, replay);
                    let reason = "the last write was interrupted".to_owned();
                    return Ok(SegmentEnd::Stop(Some(CutReport {
                        file: name,
                        offset: offset as u64,
                        reason,
                        is_torn: true,
                    })));
                }
                Verdict::Damage(reason) => {
                    if self.stops_at_damage() || loaded.cut.is_some() && self.options.damage == DamagePolicy::Stop {
                        return Err(damaged(name, offset as u64, reason));
                    }
                    self.finish_segment(loaded, offset, first_position, reader, details)?;
                    self.look_behind(loaded, offset, later, replay);
                    self.give_up_segments(later, BEHIND_DAMAGE);
                    self.keep_cut(loaded.id);
                    let reason = format!("{reason}; everything from here on was given up");
                    return Ok(SegmentEnd::Stop(Some(CutReport {
                        file: name,
                        offset: offset as u64,
                        reason,
                        is_torn: false,
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

    fn take_batch(
        &mut self,
        loaded: &Loaded,
        offset: usize,
        header: &BatchHeader,
        reader: &mut Reader,
        details: Option<&mut Vec<Detail>>,
        replay: &mut dyn Replay,
    ) -> Result<(), OpenError> {
        let batch = &loaded.bytes[offset..offset + header.length as usize];
        let records = header.records(batch);
        let end = Cut {
            segment: loaded.id.number,
            offset: (offset + batch.len()) as u64,
            position: header.first_position + u64::from(header.count),
            checksum: header.checksum,
        };
        let entries = self.entries.as_mut();
        if !entries.is_some_and(|entries| entries.is_cut_off(&header.entry, reader.end)) {
            self.replay_batch(loaded, offset, header, records, reader, details, replay)?;
            reader.last_offset = offset as u64;
        }
        if let Some(entries) = self.entries.as_mut().filter(|entries| entries.cut().is_none()) {
            entries
                .take(header, records, loaded.cipher.is_some(), end)
                .map_err(|reason| damaged(loaded.id.file_name(), offset as u64, reason))?;
        }
        reader.bytes += u64::from(header.length);
        reader.end = end;
        self.work.records += u64::from(header.count);
        self.work.tell(replay);
        Ok(())
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
            Record::Message { moved: true, .. } | Record::Time { .. } | Record::Entry { .. } => {}
            Record::Message {
                log,
                sequence,
                timestamp,
                body,
                ..
            } => {
                let tolerates_holes = self.tolerates_holes();
                self.index
                    .replay_message(log, sequence, timestamp, position, tolerates_holes)?;
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
}

/// The end of everything before an epoch: what was read, unless the start that opened it gave up what is missing.
fn end_before(epoch: Option<&EpochFile>, read: Cut) -> Cut {
    match epoch {
        Some(epoch) if epoch.gap && epoch.cut.position > read.position => Cut {
            position: epoch.cut.position,
            ..read
        },
        _ => read,
    }
}

/// Whether two cuts are behind the same batch, whatever position goes on there.
fn is_same_place(one: Cut, other: Cut) -> bool {
    (one.segment, one.offset, one.checksum) == (other.segment, other.offset, other.checksum)
}

/// Whether a batch continues exactly what was read.
fn follows(header: &BatchHeader, reader: &Reader) -> bool {
    header.first_position == reader.end.position && header.predecessor == reader.end.checksum
}
