//! Appending and committing: records are encoded straight into the batch that fills while the one before syncs
//! (docs/journal-format.md §5). Decides where a record lies, when a batch is closed, when the next segment begins, and who may
//! append (architecture: space is checked at admission, against prepared segments).

use crate::directory::{Detail, Extent};
use crate::disk::DiskFile;
use crate::encryption::FileCipher;
use crate::format::{BATCH_HEADER_BYTES, BatchHeader, Cut, SegmentId};
use crate::job::JobKind;
use crate::journal::Journal;
use crate::limits::{
    BATCH_BYTES_MAX, RECORD_BODY_BYTES_MAX, RESERVE_BYTES_MAX, SEGMENT_BYTES_CEILING, SEGMENT_HEADER_BYTES,
};
use crate::maintenance::Preparation;
use crate::options::{Class, Urgency};
use crate::record::{self, ENCRYPTION_BYTES, Form, MESSAGE_OVERHEAD_BYTES};
use crate::segment::{Segment, SegmentState};
use crate::{Completion, LogId, Position, Refusal};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Bytes a record may need beside its body: its own fields, what encryption adds, a batch header, padding.
const RECORD_MARGIN_BYTES: u64 = 160;
/// Zeros after a batch, so that the end shows even where an earlier use of the file left bytes.
const TERMINATOR_BYTES: u32 = BATCH_HEADER_BYTES as u32;

/// A segment that is, or shall be, prepared.
pub(crate) struct Planned {
    pub(crate) id: SegmentId,
    pub(crate) capacity: u64,
    pub(crate) file: Option<Arc<dyn DiskFile>>,
}

/// The segment that records are placed in.
pub(crate) struct OpenSegment {
    pub(crate) id: SegmentId,
    pub(crate) seed: u32,
    /// Encrypts its records, if the journal is encrypted.
    pub(crate) cipher: Option<FileCipher>,
    pub(crate) capacity: u64,
    /// Where the filling batch begins.
    pub(crate) cursor: u32,
    pub(crate) first_position: u64,
    pub(crate) file: Option<Arc<dyn DiskFile>>,
    /// Messages that rewriting copied into it.
    pub(crate) moved: u64,
}

impl OpenSegment {
    /// How records are put into the filling batch. What is encrypted is so when the batch is closed: memory serves plain ones.
    fn form(&self) -> Form {
        match self.cipher {
            None => Form::Plain(self.seed),
            Some(_) => Form::ToBeEncrypted,
        }
    }
}

/// A finished batch on its way to the disk.
pub(crate) struct Batch {
    segment: u64,
    offset: u32,
    bytes: Arc<Vec<u8>>,
    count: u32,
    next_position: u64,
}

/// A segment that takes no more batches and waits for its directory.
pub(crate) struct Sealing {
    pub(crate) id: SegmentId,
    pub(crate) extent: Extent,
    pub(crate) details: Arc<Vec<Detail>>,
    pub(crate) file: Option<Arc<dyn DiskFile>>,
    pub(crate) shorten: bool,
}

/// The writing side of the journal.
pub(crate) struct Writer {
    pub(crate) open: OpenSegment,
    pub(crate) planned: VecDeque<Planned>,
    pub(crate) sealing: VecDeque<Sealing>,
    /// The filling batch: room for its header, then records.
    fill: Vec<u8>,
    fill_count: u32,
    closed: VecDeque<Batch>,
    in_flight: Option<Batch>,
    submit_wanted: bool,
    urgent: bool,
    /// Header checksum of the newest closed batch.
    checksum: u32,
    pub(crate) next_position: u64,
    pub(crate) durable: u64,
    backlog_bytes: u64,
    pub(crate) next_number: u64,
    /// Somebody was refused for lack of a prepared segment.
    pub(crate) refused: bool,
}

impl Writer {
    pub(crate) fn new(open: OpenSegment, position: u64, checksum: u32) -> Writer {
        Writer {
            next_number: open.id.number + 1,
            open,
            planned: VecDeque::new(),
            sealing: VecDeque::new(),
            fill: vec![0; BATCH_HEADER_BYTES],
            fill_count: 0,
            closed: VecDeque::new(),
            in_flight: None,
            submit_wanted: false,
            urgent: false,
            checksum,
            next_position: position,
            durable: position,
            backlog_bytes: 0,
            refused: false,
        }
    }

    /// The end of everything before the filling batch, which begins there.
    pub(crate) fn fill_start(&self) -> Cut {
        Cut {
            segment: self.open.id.number,
            offset: u64::from(self.open.cursor),
            position: self.next_position - u64::from(self.fill_count),
            checksum: self.checksum,
        }
    }

    pub(crate) fn is_fill_empty(&self) -> bool {
        self.fill_count == 0
    }

    fn has_pending(&self) -> bool {
        self.fill_count > 0 || !self.closed.is_empty() || self.in_flight.is_some()
    }

    /// The file of a segment that batches are queued for.
    fn file_of(&self, number: u64) -> Option<&Arc<dyn DiskFile>> {
        if self.open.id.number == number {
            return self.open.file.as_ref();
        }
        self.sealing
            .iter()
            .find(|sealing| sealing.id.number == number)
            .and_then(|sealing| sealing.file.as_ref())
    }

    /// Gives a segment its prepared file; whether somebody still wants it.
    pub(crate) fn set_file(&mut self, number: u64, file: &Arc<dyn DiskFile>) -> bool {
        if self.open.id.number == number {
            self.open.file = Some(Arc::clone(file));
        } else if let Some(sealing) = self.sealing.iter_mut().find(|sealing| sealing.id.number == number) {
            sealing.file = Some(Arc::clone(file));
        } else if let Some(planned) = self.planned.iter_mut().find(|planned| planned.id.number == number) {
            planned.file = Some(Arc::clone(file));
        } else {
            return false;
        }
        true
    }

    /// Batch bytes that fit in the open segment, if it is prepared.
    fn open_room(&self) -> u64 {
        let used = u64::from(self.open.cursor) + self.fill.len() as u64;
        if self.open.file.is_some() {
            self.open.capacity.saturating_sub(used)
        } else {
            0
        }
    }

    /// Batch bytes that fit in what is prepared, and the most that fits in one piece.
    fn room(&self) -> (u64, u64) {
        let mut largest = self.open_room();
        let mut room = largest;
        for planned in self.planned.iter().filter(|planned| planned.file.is_some()) {
            let capacity = planned.capacity - u64::from(SEGMENT_HEADER_BYTES);
            room += capacity;
            largest = largest.max(capacity);
        }
        (room, largest)
    }
}

impl Journal {
    /// Appends a message; its body is the concatenation of `body`. It is visible to [`Journal::message`] at once, durable
    /// once `durable()` reaches the returned position.
    ///
    /// # Panics
    /// When `sequence` is not one above the log's last (any higher one is right for a log without messages), or the body is
    /// larger than [`RECORD_BODY_BYTES_MAX`].
    pub fn append_message(&mut self, log: LogId, sequence: u64, timestamp: i64, body: &[&[u8]]) -> Position {
        if self.poisoned.is_some() {
            return self.discard();
        }
        let length: usize = body.iter().map(|part| part.len()).sum();
        assert!(length <= RECORD_BODY_BYTES_MAX, "a body of {length} bytes is too large");
        assert!(
            sequence > 0 && sequence < u64::MAX,
            "sequence {sequence} is out of range"
        );
        let offset = self.place(MESSAGE_OVERHEAD_BYTES + length);
        let form = self.writer.open.form();
        let size = record::write_message(&mut self.writer.fill, form, false, log, sequence, timestamp, body);
        let ordinal = self
            .tail
            .push(Detail::new(log, sequence, timestamp, offset, size, false));
        let state = self.logs.get_or_insert(log, sequence, sequence - 1);
        if state.is_empty() {
            assert!(
                sequence > state.last,
                "message {sequence} of log {} after {}",
                log.0,
                state.last
            );
            state.first = sequence;
        } else {
            assert!(
                sequence == state.last + 1,
                "message {sequence} of log {} after {}",
                log.0,
                state.last
            );
        }
        state.last = sequence;
        state.last_timestamp = timestamp;
        state.bytes += u64::from(size);
        state.recent.push_back(ordinal);
        self.logs.bytes += u64::from(size);
        self.logs.messages += 1;
        self.writer.urgent = true;
        self.appended_record(size)
    }

    /// Appends a copy of a live message; the log's state stays as it is.
    pub(crate) fn append_moved(&mut self, log: LogId, sequence: u64, timestamp: i64, body: &[u8]) {
        let offset = self.place(MESSAGE_OVERHEAD_BYTES + body.len());
        let form = self.writer.open.form();
        let size = record::write_message(&mut self.writer.fill, form, true, log, sequence, timestamp, &[body]);
        self.tail
            .push(Detail::new(log, sequence, timestamp, offset, size, true));
        self.writer.open.moved += 1;
        self.statistics.rewritten_bytes += u64::from(size);
        self.appended_record(size);
    }

    /// Appends a fact: opaque to the journal, replayed at the next start unless a checkpoint covers it.
    pub fn append_fact(&mut self, kind: u8, body: &[u8], urgency: Urgency) -> Position {
        if self.poisoned.is_some() {
            return self.discard();
        }
        assert!(
            body.len() <= RECORD_BODY_BYTES_MAX,
            "a fact of {} bytes is too large",
            body.len()
        );
        self.place(MESSAGE_OVERHEAD_BYTES + body.len());
        let form = self.writer.open.form();
        let size = record::write_fact(&mut self.writer.fill, form, kind, body);
        self.writer.urgent |= urgency == Urgency::Sync;
        self.appended_record(size)
    }

    /// Removes the messages of `log` below `first` (lazily synced). A `first` above the last sequence plus one means that.
    /// `body` is replayed to the owner.
    pub fn trim(&mut self, log: LogId, first: u64, body: &[u8]) -> Position {
        if self.poisoned.is_some() {
            return self.discard();
        }
        self.place(MESSAGE_OVERHEAD_BYTES + body.len());
        let form = self.writer.open.form();
        let size = record::write_trim(&mut self.writer.fill, form, log, first, body);
        let position = self.appended_record(size);
        self.forget_before(log, first, position);
        position
    }

    /// Removes `log` with all its messages. `body` is replayed to the owner. The id must never be used again.
    pub fn delete_log(&mut self, log: LogId, body: &[u8], urgency: Urgency) -> Position {
        if self.poisoned.is_some() {
            return self.discard();
        }
        self.place(MESSAGE_OVERHEAD_BYTES + body.len());
        let form = self.writer.open.form();
        let size = record::write_delete(&mut self.writer.fill, form, log, body);
        self.writer.urgent |= urgency == Urgency::Sync;
        let position = self.appended_record(size);
        self.forget_log(log, position);
        position
    }

    fn appended_record(&mut self, size: u32) -> Position {
        self.writer.fill_count += 1;
        self.writer.next_position += 1;
        self.writer.backlog_bytes += u64::from(size);
        self.statistics.records += 1;
        self.writer.next_position
    }

    /// After poisoning: counts a record that will never be durable.
    fn discard(&mut self) -> Position {
        self.writer.next_position += 1;
        self.writer.next_position
    }

    /// Bytes by which each record is longer than without encryption.
    pub(crate) fn encryption_bytes(&self) -> usize {
        self.keys.as_ref().map_or(0, |_| ENCRYPTION_BYTES)
    }

    /// Makes room for a record of `size` bytes, encryption not counted, at the end of the filling batch; returns its offset in the open segment.
    fn place(&mut self, size: usize) -> u32 {
        let size = size + self.encryption_bytes();
        let needed = size as u64 + 8;
        let used = u64::from(self.writer.open.cursor) + self.writer.fill.len() as u64;
        let over_batch = self.writer.fill.len() + size > BATCH_BYTES_MAX;
        if !self.writer.is_fill_empty() && (over_batch || used + needed > self.writer.open.capacity) {
            self.close_batch();
        }
        if self.writer.is_fill_empty() {
            let used = u64::from(self.writer.open.cursor) + BATCH_HEADER_BYTES as u64;
            if used + needed > self.writer.open.capacity {
                self.rotate(BATCH_HEADER_BYTES as u64 + needed, false);
            }
        }
        self.writer.open.cursor + self.writer.fill.len() as u32
    }

    /// Finishes the filling batch, if it holds anything, and queues it for the disk.
    fn close_batch(&mut self) {
        let writer = &mut self.writer;
        if writer.fill_count == 0 {
            return;
        }
        let mut bytes = std::mem::take(&mut writer.fill);
        let capacity_hint = bytes.len() + bytes.len() / 4;
        let first_position = writer.next_position - u64::from(writer.fill_count);
        // The cache keeps what can be read at once, the disk gets the other.
        let plain = writer.open.cipher.as_ref().map(|cipher| {
            let plain = Arc::new(bytes.clone());
            let seed = writer.open.seed;
            record::encrypt(&mut bytes[BATCH_HEADER_BYTES..], cipher, first_position, seed);
            plain
        });
        let header = BatchHeader::finish(
            &mut bytes,
            writer.open.seed,
            self.epoch,
            first_position,
            writer.fill_count,
            writer.checksum,
        );
        let end = writer.open.cursor + header.length;
        let terminator = u64::from(TERMINATOR_BYTES).min(writer.open.capacity - u64::from(end));
        bytes.resize(bytes.len() + terminator as usize, 0);
        // A small batch stays in the cache for long: what it does not use would be many times what it does.
        if bytes.capacity() > bytes.len() + bytes.len() / 4 + 256 {
            bytes.shrink_to_fit();
        }
        let bytes = Arc::new(bytes);
        let segment = writer.open.id.number;
        let kept = plain.unwrap_or_else(|| Arc::clone(&bytes));
        self.cache.push(segment, writer.open.cursor, kept);
        let offset = writer.open.cursor;
        writer.closed.push_back(Batch {
            segment,
            offset,
            bytes,
            count: header.count,
            next_position: writer.next_position,
        });
        writer.checksum = header.checksum;
        writer.open.cursor = end;
        writer.fill = Vec::with_capacity(capacity_hint.clamp(4_096, BATCH_BYTES_MAX));
        writer.fill.resize(BATCH_HEADER_BYTES, 0);
        writer.fill_count = 0;
    }

    /// Ends the open segment and goes on in the next planned one with at least `room` for batches.
    fn rotate(&mut self, room: u64, shorten: bool) {
        self.close_batch();
        let writer = &mut self.writer;
        let id = writer.open.id;
        let extent = Extent {
            end: u64::from(writer.open.cursor),
            first_position: writer.open.first_position,
            next_position: writer.next_position,
            checksum: writer.checksum,
        };
        let segment = self.segments.get_mut(id.number);
        segment.state = SegmentState::Sealing;
        segment.extent = extent;
        let details = self.tail.seal();
        writer.sealing.push_back(Sealing {
            id,
            extent,
            details,
            file: writer.open.file.take(),
            shorten,
        });
        let planned = self.next_planned(u64::from(SEGMENT_HEADER_BYTES) + room);
        let writer = &mut self.writer;
        let mut segment = Segment::new(planned.id, planned.capacity, SegmentState::Open);
        segment.content.encrypted = self.keys.is_some();
        segment.extent.first_position = writer.next_position;
        self.segments.by_number.insert(planned.id.number, segment);
        self.tail.open_segment(planned.id.number);
        writer.open = OpenSegment {
            id: planned.id,
            seed: planned.id.seed(&self.identity),
            cipher: self.keys.as_ref().map(|keys| keys.own_segment(planned.id)),
            capacity: planned.capacity,
            cursor: SEGMENT_HEADER_BYTES,
            first_position: writer.next_position,
            file: planned.file,
            moved: 0,
        };
        self.plan_segment(0);
    }

    /// Ends the open segment early and cuts its file to what it holds, so that its copies come into the index.
    pub(crate) fn rotate_early(&mut self) {
        self.rotate(0, true);
        self.writer.submit_wanted = true;
    }

    /// Takes the next planned segment that is large enough; smaller ones are skipped and die empty.
    fn next_planned(&mut self, capacity: u64) -> Planned {
        loop {
            if self.writer.planned.is_empty() {
                self.plan_segment(capacity);
            }
            let mut planned = self.writer.planned.pop_front().expect("a segment was just planned");
            if planned.capacity >= capacity {
                return planned;
            }
            match self
                .maintenance
                .preparations
                .iter()
                .position(|preparation| preparation.id == planned.id)
            {
                // Nothing of it exists yet: it can still be made larger.
                Some(index) if !self.maintenance.preparations[index].running => {
                    planned.capacity = capacity.next_power_of_two();
                    self.maintenance.preparations[index].capacity = planned.capacity;
                    return planned;
                }
                running => {
                    let mut segment = Segment::new(planned.id, planned.capacity, SegmentState::Sealed);
                    segment.pins = u32::from(running.is_some());
                    segment.released_at = self.writer.next_position;
                    self.segments.by_number.insert(planned.id.number, segment);
                }
            }
        }
    }

    /// Plans one more segment: twice the last one, at most the configured size, at least `capacity`.
    pub(crate) fn plan_segment(&mut self, capacity: u64) {
        let last = self
            .writer
            .planned
            .back()
            .map_or(self.writer.open.capacity, |planned| planned.capacity);
        let usual = (last * 2)
            .min(self.options.segment_bytes_max)
            .max(capacity.next_power_of_two());
        let id = SegmentId {
            number: self.writer.next_number,
            epoch: self.epoch,
        };
        self.writer.next_number += 1;
        let capacity = usual.min(SEGMENT_BYTES_CEILING);
        self.writer.planned.push_back(Planned {
            id,
            capacity,
            file: None,
        });
        self.maintenance.preparations.push_back(Preparation {
            id,
            capacity,
            running: false,
        });
    }

    /// Hands the collected batch to the commit job, now or as soon as the running commit ends.
    pub fn submit(&mut self) {
        if self.poisoned.is_none() && self.writer.has_pending() {
            self.writer.submit_wanted = true;
        }
        self.writer.urgent = false;
        self.maintain();
    }

    /// Whether somebody waits for something that was appended and not yet submitted.
    pub fn has_urgent(&self) -> bool {
        self.writer.urgent
    }

    /// Whether anything was appended and not yet submitted.
    pub fn has_unsubmitted(&self) -> bool {
        self.writer.fill_count > 0 && !self.writer.submit_wanted
    }

    /// Record bytes appended and not yet durable.
    pub fn backlog_bytes(&self) -> u64 {
        self.writer.backlog_bytes
    }

    /// Whether records of `bytes` bytes in all (their bodies) may be appended.
    pub fn admission(&mut self, bytes: u64, class: Class) -> Result<(), Refusal> {
        if let Some(reason) = &self.poisoned {
            return Err(Refusal::Poisoned(reason.clone()));
        }
        let needed = bytes.saturating_add(RECORD_MARGIN_BYTES);
        if needed > SEGMENT_BYTES_CEILING / 2 {
            return Err(Refusal::TooLarge);
        }
        if class == Class::Publish && self.writer.backlog_bytes > self.options.backlog_bytes_max {
            return Err(Refusal::Busy);
        }
        let reserve = match class {
            Class::Publish => RESERVE_BYTES_MAX.min(self.options.segment_bytes_max / 8),
            Class::Essential => 0,
        };
        if self.writer.open_room() >= needed + reserve {
            return Ok(());
        }
        let (room, largest) = self.writer.room();
        if room >= needed + reserve && largest >= needed {
            return Ok(());
        }
        let planned = &self.writer.planned;
        if largest < needed && planned.iter().all(|planned| planned.capacity < needed + 8_192) {
            self.plan_segment(needed + 8_192);
        } else if planned.iter().all(|planned| planned.file.is_some()) {
            // All there is was prepared when there was less space: without one more, this would be refused for ever.
            self.plan_segment(needed + reserve + 8_192);
        }
        self.writer.refused = true;
        self.maintenance.retry_prepare = true;
        if self.maintenance.no_space {
            Err(Refusal::NoSpace)
        } else {
            Err(Refusal::Busy)
        }
    }

    /// Whether `bytes` more fit into what is prepared.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.writer.room().0 >= bytes
    }

    pub(crate) fn next_commit(&mut self) -> Option<JobKind> {
        if self.poisoned.is_some() || self.writer.in_flight.is_some() {
            return None;
        }
        if self.writer.closed.is_empty() && self.writer.submit_wanted {
            self.close_batch();
            self.writer.submit_wanted = false;
        }
        let front = self.writer.closed.front()?;
        let file = Arc::clone(self.writer.file_of(front.segment)?);
        let batch = self.writer.closed.pop_front()?;
        let (offset, bytes) = (u64::from(batch.offset), Arc::clone(&batch.bytes));
        self.writer.in_flight = Some(batch);
        Some(JobKind::Commit {
            file,
            offset,
            bytes,
            sync: self.options.sync,
        })
    }

    pub(crate) fn commit_completed(&mut self, result: io::Result<()>, nanoseconds: u64) {
        let batch = self.writer.in_flight.take().expect("a commit completes once");
        if let Err(error) = result {
            let number = batch.segment;
            self.poison(format!(
                "writing to segment {number:016x} at offset {}: {error}",
                batch.offset
            ));
            return;
        }
        if self.poisoned.is_some() {
            return;
        }
        let bytes = batch.bytes.len() as u64;
        self.statistics.commits += 1;
        self.statistics.committed_bytes += bytes;
        self.statistics.batch_bytes_max = self.statistics.batch_bytes_max.max(bytes);
        self.statistics.batch_bytes.observe(bytes);
        self.statistics.batch_records.observe(u64::from(batch.count));
        self.statistics.commit_nanoseconds.observe(nanoseconds);
        self.statistics.commit_nanoseconds_max = self.statistics.commit_nanoseconds_max.max(nanoseconds);
        self.writer.durable = batch.next_position;
        let waiting: u64 = self.writer.closed.iter().map(|batch| batch.bytes.len() as u64).sum();
        self.writer.backlog_bytes = waiting + (self.writer.fill.len() - BATCH_HEADER_BYTES) as u64;
        self.cache
            .shrink(self.options.tail_cache_bytes, self.writer.closed.len());
        self.completions.push(Completion::Durable(self.writer.durable));
    }

    /// The body of an appended message, while it is in memory.
    pub(crate) fn cached(&self, segment: u64, offset: u32, size: u32) -> Option<&[u8]> {
        let open = &self.writer.open;
        let bytes = if segment == open.id.number && offset >= open.cursor {
            self.writer.fill.get((offset - open.cursor) as usize..)?
        } else {
            self.cache.get(segment, offset)?
        };
        let (start, end) = (MESSAGE_OVERHEAD_BYTES, size as usize);
        let added = self.encryption_bytes();
        bytes.get(start + added..end + added)
    }
}
