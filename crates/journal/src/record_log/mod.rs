//! The log of records as it is written: records are encoded straight into the batch that fills while the one before syncs
//! (docs/journal-format.md §5). Decides where a record lies, when a batch is closed, when the next segment begins, and whether
//! there is room (architecture: space is checked at admission, against prepared segments).

mod batches;
mod entries;
mod replicating;
mod supply;
mod tail;

use crate::batch::BATCH_HEADER_BYTES;
use crate::directory::{Detail, Extent};
use crate::disk::DiskFile;
use crate::encryption::FileCipher;
use crate::error::Refusal;
use crate::format::{Cut, SegmentId};
use crate::limits::{
    BATCH_BYTES_MAX, ENTRY_RESERVE_BYTES, PREPARED_AT_ONCE_BYTES, PREPARED_BEFORE_BATCHES, RECORD_BODY_BYTES_MAX,
    RESERVE_BYTES_MAX, SEGMENT_BYTES_CEILING, SEGMENT_BYTES_FIRST, SEGMENT_HEADER_BYTES, ZEROS_AHEAD_BYTES,
    ZEROS_BEHIND_BATCH_BYTES,
};
use crate::names::{LogId, Need, Position};
use crate::options::Options;
use crate::record::{self, ENCRYPTION_BYTES, Form, MESSAGE_OVERHEAD_BYTES, TIME_BYTES};
use crate::scope::Scope;
use crate::segments::SegmentSet;
use batches::Batches;
use std::collections::VecDeque;
use std::sync::Arc;
use supply::Supply;
use tail::{Cache, Tail};

pub(crate) use entries::{Entries, Row, Table, Waiting, pop_committed};
pub(crate) use supply::{Prepared, Spare};

/// Bytes a record may need beside its body: its own fields, what encryption adds, a batch header, padding.
const RECORD_MARGIN_BYTES: u64 = 160;

/// What records of so many bytes need at most, when a segment can hold it.
fn needed_for(bytes: u64) -> Result<u64, Refusal> {
    let needed = bytes.saturating_add(RECORD_MARGIN_BYTES);
    if needed > SEGMENT_BYTES_CEILING / 2 {
        return Err(Refusal::TooLarge);
    }
    Ok(needed)
}

/// The segment that records are placed in.
struct OpenSegment {
    id: SegmentId,
    seed: u32,
    /// Encrypts its records, if the journal is encrypted.
    cipher: Option<FileCipher>,
    capacity: u64,
    /// Where the filling batch begins.
    cursor: u32,
    first_position: u64,
    file: Option<Arc<dyn DiskFile>>,
    /// It holds bytes of an earlier use behind its batches.
    is_recycled: bool,
    /// Up to here it was written, zeros included; what lies behind is only allocated, or of an earlier use.
    written_to: u64,
    /// Messages that rewriting copied into it.
    moved: u64,
}

impl OpenSegment {
    fn new(scope: &Scope, id: SegmentId, capacity: u64, first_position: u64, file: Option<Arc<dyn DiskFile>>) -> Self {
        OpenSegment {
            id,
            seed: id.seed(&scope.identity),
            cipher: scope.segment_cipher(id),
            capacity,
            cursor: SEGMENT_HEADER_BYTES,
            first_position,
            file,
            // Until it is known.
            is_recycled: true,
            written_to: capacity,
            moved: 0,
        }
    }

    /// What is known of its file once there is one.
    fn set_recycled(&mut self, is_recycled: bool) {
        self.is_recycled = is_recycled;
        self.written_to = match is_recycled {
            true => self.capacity,
            false => u64::from(self.cursor),
        };
    }

    /// How many zeros a batch of so many bytes writes behind it, which is at `end`.
    fn zeros_behind(&mut self, end: u64, length: u64) -> u64 {
        if end <= self.written_to {
            return 0;
        }
        self.written_to = end;
        if length < ZEROS_BEHIND_BATCH_BYTES {
            self.written_to = self.capacity.min(end + ZEROS_AHEAD_BYTES);
        }
        self.written_to - end
    }

    /// How records are put into the filling batch. What is encrypted is so when the batch is closed: memory serves plain ones.
    fn form(&self) -> Form {
        match self.cipher {
            None => Form::Plain(self.seed),
            Some(_) => Form::ToBeEncrypted,
        }
    }
}

/// A segment that takes no more batches and waits for its directory.
#[derive(Clone)]
pub(crate) struct Sealing {
    pub(crate) id: SegmentId,
    pub(crate) extent: Extent,
    pub(crate) details: Arc<Vec<Detail>>,
    pub(crate) file: Option<Arc<dyn DiskFile>>,
    pub(crate) shorten: bool,
}

/// The segment in which a log begins to write, prepared.
pub(crate) struct FirstSegment {
    pub(crate) id: SegmentId,
    pub(crate) capacity: u64,
    pub(crate) file: Arc<dyn DiskFile>,
}

/// A message that was appended.
pub(crate) struct Appended {
    pub(crate) position: Position,
    /// Names it in [`RecordLog::detail`].
    pub(crate) ordinal: u32,
    /// Length of its record, without what encryption adds.
    pub(crate) size: u32,
}

/// The writing side of the journal, with what it keeps of the newest messages.
pub(crate) struct RecordLog {
    scope: Scope,
    segment_bytes_max: u64,
    backlog_bytes_max: u64,
    open: OpenSegment,
    supply: Supply,
    sealing: VecDeque<Sealing>,
    /// The filling batch: room for its header, then records.
    fill: Vec<u8>,
    fill_count: u32,
    batches: Batches,
    /// Somebody waits for what was appended last.
    urgent: bool,
    /// Header checksum of the newest closed batch.
    checksum: u32,
    next_position: Position,
    /// The time that is written before the next batch begins.
    due_time: Option<i64>,
    /// The time that was written last, and the position of that record.
    noted_time: Option<(Position, i64)>,
    tail: Tail,
    cache: Cache,
    /// Of a member of a cluster.
    entries: Option<Box<Entries>>,
    /// Nothing is written any more; appending only counts.
    stopped: bool,
}

impl RecordLog {
    /// Goes on behind `end` in a prepared segment. Of a member's also: its entries, and where what is committed ends.
    pub(crate) fn new(
        scope: &Scope,
        options: &Options,
        first: FirstSegment,
        end: Cut,
        replicated: Option<(Entries, Cut)>,
        segments: &mut SegmentSet,
    ) -> RecordLog {
        let FirstSegment { id, capacity, file } = first;
        segments.open(id, capacity, scope.is_encrypted());
        let begin = Cut {
            segment: id.number,
            offset: u64::from(SEGMENT_HEADER_BYTES),
            ..end
        };
        let (entries, committed) = replicated.unzip();
        let committed = committed.filter(|committed| committed.position < end.position);
        let waiting_bytes = entries.as_ref().map_or(0, Entries::waiting_bytes);
        let mut supply = Supply::new(scope.clone(), options.segment_bytes_max, id.number + 1);
        supply.plan(capacity, 0);
        let mut tail = Tail::default();
        tail.open_segment(id.number);
        let mut open = OpenSegment::new(scope, id, capacity, end.position, Some(file));
        open.set_recycled(false);
        RecordLog {
            scope: scope.clone(),
            segment_bytes_max: options.segment_bytes_max,
            backlog_bytes_max: options.backlog_bytes_max,
            open,
            supply,
            sealing: VecDeque::new(),
            fill: vec![0; BATCH_HEADER_BYTES],
            fill_count: 0,
            batches: Batches::new(options, committed.unwrap_or(begin), begin.position, waiting_bytes),
            urgent: false,
            checksum: end.checksum,
            next_position: end.position,
            due_time: None,
            noted_time: None,
            tail,
            cache: Cache::new(options.tail_cache_bytes),
            entries: entries.map(Box::new),
            stopped: false,
        }
    }

    /// Appends a message whose body is the concatenation of `parts`, or a copy of one that rewriting `moved`; `None` after
    /// [`RecordLog::stop`].
    pub(crate) fn append_message(
        &mut self,
        moved: bool,
        log: LogId,
        sequence: u64,
        timestamp: i64,
        parts: &[&[u8]],
        segments: &mut SegmentSet,
    ) -> Option<Appended> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        assert!(length <= RECORD_BODY_BYTES_MAX, "a body of {length} bytes is too large");
        if self.stopped {
            return None;
        }
        if self.entries.is_some() {
            self.fill_for(moved);
        }
        let offset = self.place(MESSAGE_OVERHEAD_BYTES + length, segments);
        let form = self.open.form();
        let size = record::write_message(&mut self.fill, form, moved, log, sequence, timestamp, parts);
        let detail = Detail::new(log, sequence, timestamp, offset, size, moved);
        let ordinal = self.tail.push(detail);
        self.open.moved += u64::from(moved);
        self.urgent |= !moved;
        let position = self.appended_record(size);
        Some(Appended {
            position,
            ordinal,
            size,
        })
    }

    /// Appends another record, with a body of `length` bytes, that `write` encodes.
    pub(crate) fn append(
        &mut self,
        length: usize,
        urgent: bool,
        segments: &mut SegmentSet,
        write: impl FnOnce(&mut Vec<u8>, Form) -> u32,
    ) -> Position {
        assert!(length <= RECORD_BODY_BYTES_MAX, "a body of {length} bytes is too large");
        if self.stopped {
            return self.discard();
        }
        if self.entries.is_some() {
            self.fill_for(false);
        }
        self.place(MESSAGE_OVERHEAD_BYTES + length, segments);
        let form = self.open.form();
        let size = write(&mut self.fill, form);
        self.urgent |= urgent;
        self.appended_record(size)
    }

    /// Has a time written as the first record of the next batch, in place of one that still waits.
    pub(crate) fn note_time(&mut self, timestamp: i64) {
        self.due_time = Some(timestamp);
    }

    /// The time that was written last, and the position of that record.
    pub(crate) fn noted_time(&self) -> Option<(Position, i64)> {
        self.noted_time
    }

    fn appended_record(&mut self, size: u32) -> Position {
        self.fill_count += 1;
        self.next_position += 1;
        self.batches.count_waiting(u64::from(size));
        self.next_position
    }

    /// Counts a record that will never be durable.
    pub(crate) fn discard(&mut self) -> Position {
        self.next_position += 1;
        self.next_position
    }

    /// Gives up writing: what waits is nothing any more, and nothing more will.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.urgent = false;
        self.fill_count = 0;
        self.batches.stop();
    }

    /// Bytes by which each record is longer than without encryption.
    fn encryption_bytes(&self) -> usize {
        if self.scope.is_encrypted() { ENCRYPTION_BYTES } else { 0 }
    }

    /// Makes room for a record of `size` bytes, encryption not counted, at the end of the filling batch; returns its offset in the open segment.
    fn place(&mut self, size: usize, segments: &mut SegmentSet) -> u32 {
        let size = size + self.encryption_bytes();
        let needed = size as u64 + 8;
        let used = u64::from(self.open.cursor) + self.fill.len() as u64;
        let over_batch = self.fill.len() + size > BATCH_BYTES_MAX;
        if self.fill_count > 0 && (over_batch || used + needed > self.open.capacity) {
            self.close_batch();
        }
        if self.fill_count == 0 {
            let due_time = self.due_time.take();
            let time_bytes = due_time.map_or(0, |_| TIME_BYTES + self.encryption_bytes());
            let needed = needed + time_bytes as u64;
            let used = u64::from(self.open.cursor) + BATCH_HEADER_BYTES as u64;
            if used + needed > self.open.capacity {
                self.rotate(BATCH_HEADER_BYTES as u64 + needed, false, segments);
            }
            if let Some(timestamp) = due_time {
                let form = self.open.form();
                let size = record::write_time(&mut self.fill, form, timestamp);
                self.noted_time = Some((self.appended_record(size), timestamp));
            }
        }
        self.open.cursor + self.fill.len() as u32
    }

    /// Ends the open segment and goes on in the next planned one with at least `room` for batches.
    fn rotate(&mut self, room: u64, shorten: bool, segments: &mut SegmentSet) {
        self.close_batch();
        let id = self.open.id;
        let extent = Extent {
            end: u64::from(self.open.cursor),
            first_position: self.open.first_position,
            next_position: self.next_position,
            checksum: self.checksum,
        };
        segments.seal(id.number, extent);
        self.sealing.push_back(Sealing {
            id,
            extent,
            details: self.tail.seal(),
            file: self.open.file.take(),
            shorten,
        });
        let capacity = u64::from(SEGMENT_HEADER_BYTES) + room;
        let planned = self
            .supply
            .take(self.open.capacity, capacity, self.next_position, segments);
        segments.open(planned.id, planned.capacity, self.scope.is_encrypted());
        self.tail.open_segment(planned.id.number);
        let position = self.next_position;
        self.open = OpenSegment::new(&self.scope, planned.id, planned.capacity, position, planned.file);
        self.open.set_recycled(planned.is_recycled);
        self.supply.plan(planned.capacity, 0);
    }

    /// Ends a segment that holds copies early, and cuts its file to what it holds, so that they come into the index.
    pub(crate) fn end_copies(&mut self, segments: &mut SegmentSet) {
        if self.open.moved > 0 && self.open.file.is_some() {
            self.rotate(0, true, segments);
            self.batches.want_submitted();
        }
    }

    /// Number of the segment that records are placed in.
    pub(crate) fn open_number(&self) -> u64 {
        self.open.id.number
    }

    /// Position of the newest record appended.
    pub(crate) fn appended(&self) -> Position {
        self.next_position
    }

    /// Everything up to and including this position was written and synced, as far as commits are.
    pub(crate) fn synced(&self) -> Position {
        self.batches.synced()
    }

    /// Everything up to and including this position is durable: synced, and of a member of a cluster committed as well.
    pub(crate) fn durable(&self) -> Position {
        self.batches.durable()
    }

    /// Where everything that is durable ends.
    pub(crate) fn durable_end(&self) -> Cut {
        self.batches.durable_end()
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

    /// What was appended goes to the disk, now or as soon as the running commit ends.
    pub(crate) fn submit(&mut self) {
        if !self.stopped && (self.fill_count > 0 || self.batches.is_any_waiting()) {
            self.batches.want_submitted();
        }
        self.urgent = false;
    }

    /// Whether something is on its way to the disk, or would be but for a segment that the disk is to make. Not what waits for space.
    pub(crate) fn owes(&self) -> bool {
        let batches = &self.batches;
        let is_closing = batches.is_submit_wanted() && self.fill_count > 0;
        batches.is_in_flight() || (self.no_room().is_none() && (batches.is_any_waiting() || is_closing))
    }

    pub(crate) fn has_urgent(&self) -> bool {
        self.urgent
    }

    pub(crate) fn has_unsubmitted(&self) -> bool {
        self.fill_count > 0 && !self.batches.is_submit_wanted()
    }

    pub(crate) fn backlog_bytes(&self) -> u64 {
        self.batches.backlog_bytes()
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
        let open = self.open_room();
        let (room, largest) = self.supply.room();
        (room + open, largest.max(open))
    }

    /// Whether records of `bytes` bytes in all (their bodies) fit into what is prepared; plans more when they do not.
    pub(crate) fn admission(&mut self, bytes: u64, need: Need) -> Result<(), Refusal> {
        let needed = needed_for(bytes)?;
        if need != Need::Essential && self.backlog_bytes() > self.backlog_bytes_max {
            return Err(Refusal::Busy);
        }
        self.admission_leaving(needed, self.reserve(need))
    }

    /// Whether so much has room in one piece, and leaves so much.
    fn admission_leaving(&mut self, needed: u64, reserve: u64) -> Result<(), Refusal> {
        if self.open_room() >= needed + reserve {
            return Ok(());
        }
        let (room, largest) = self.room();
        if room >= needed + reserve && largest >= needed {
            return Ok(());
        }
        Err(self.refuse_room(needed, reserve, largest))
    }

    /// Plans room for what is refused; why it is.
    fn refuse_room(&mut self, needed: u64, reserve: u64, largest: u64) -> Refusal {
        self.supply.plan_for(self.open.capacity, needed, reserve, largest);
        self.supply.no_room().cloned().unwrap_or(Refusal::Busy)
    }

    /// Room that has to be left for what is needed more.
    fn reserve(&self, need: Need) -> u64 {
        let all = RESERVE_BYTES_MAX.min(self.segment_bytes_max / 8);
        let for_entries = self.reserve_of_entries();
        match need {
            Need::Ordinary => all.max(for_entries),
            // In a small segment, as a start on a full disk has it, there has to be room for both.
            Need::Consumer => (all / 2).min(self.open.capacity / 4).max(for_entries),
            Need::Essential => for_entries,
        }
    }

    /// Of a member of a cluster: room that no records may take. Who begins to lead writes an entry of its own, and a change of the members
    /// may be what gets the cluster out of its trouble.
    fn reserve_of_entries(&self) -> u64 {
        match &self.entries {
            Some(_) => ENTRY_RESERVE_BYTES.min(self.open.capacity / 16),
            None => 0,
        }
    }

    /// Whether `bytes` more fit into what is prepared.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.room().0 >= bytes
    }

    /// Why there is no room for more, if the last attempt to make some failed.
    pub(crate) fn no_room(&self) -> Option<&Refusal> {
        self.supply.no_room()
    }

    /// Files that are good for nothing any more.
    pub(crate) fn take_unusable(&mut self) -> Vec<String> {
        self.supply.take_unusable()
    }

    pub(crate) fn has_spare(&self) -> bool {
        self.supply.has_spare()
    }

    /// Segments that take no batches yet, and the bytes of those that exist.
    pub(crate) fn waiting_segments(&self) -> (u64, u64) {
        self.supply.waiting()
    }

    /// The next segment file to make; `beside` are bytes that should stay free for other things. Records that already wait for
    /// the open segment may use the last of the disk.
    pub(crate) fn next_prepare(&mut self, beside: u64) -> Option<(crate::job::PrepareJob, bool)> {
        let is_open_ready = self.open.file.is_some();
        if is_open_ready && self.is_next_early() {
            return None;
        }
        let headroom = if is_open_ready {
            beside + SEGMENT_BYTES_FIRST / 4
        } else {
            0
        };
        self.supply.next_prepare(headroom)
    }

    /// Whether there is time to prepare the next segment later: it takes space, for nothing if little comes.
    fn is_next_early(&self) -> bool {
        let few = (self.open.capacity / 4).max(PREPARED_BEFORE_BATCHES * self.batches.usual_length());
        self.open_room() > few && self.supply.may_wait(PREPARED_AT_ONCE_BYTES)
    }

    /// Whether something that was appended waits for its segment's file.
    pub(crate) fn waits_for_file(&self) -> bool {
        self.open.file.is_none() && self.next_position > self.synced()
    }

    /// What became of a segment file.
    pub(crate) fn prepared(
        &mut self,
        result: std::io::Result<Arc<dyn DiskFile>>,
        segments: &mut SegmentSet,
    ) -> Option<Prepared> {
        let prepared = self.supply.prepared(result)?;
        if let Prepared::Ready {
            number,
            file,
            is_recycled,
        } = &prepared
        {
            let number = *number;
            let sealing = self.sealing.iter_mut().find(|sealing| sealing.id.number == number);
            if self.open.id.number == number {
                self.open.file = Some(Arc::clone(file));
                self.open.set_recycled(*is_recycled);
            } else if let Some(sealing) = sealing {
                sealing.file = Some(Arc::clone(file));
            } else if !self.supply.is_planned(number) {
                // The segment was skipped meanwhile because it is too small.
                segments.unpin(number);
            }
        }
        Some(prepared)
    }

    /// Space may have come back.
    pub(crate) fn try_again(&mut self) {
        self.supply.try_again();
    }

    /// Whether somebody was refused who may be served now.
    pub(crate) fn take_refused(&mut self) -> bool {
        self.supply.take_refused()
    }

    pub(crate) fn set_spare(&mut self, spare: Spare) {
        self.supply.set_spare(spare);
    }

    /// The oldest segment that waits for its directory, when all of it is durable.
    pub(crate) fn next_seal(&self) -> Option<&Sealing> {
        let front = self.sealing.front()?;
        (front.extent.next_position <= self.durable()).then_some(front)
    }

    /// The oldest sealed segment, `number`, is in the index.
    pub(crate) fn absorbed(&mut self, number: u64) {
        self.tail.absorbed(number);
        self.sealing.pop_front();
    }

    /// Where the message with this ordinal lies: its segment, and its place there.
    pub(crate) fn detail(&self, ordinal: u32) -> (u64, &Detail) {
        self.tail.get(ordinal)
    }

    /// The body of an appended message, while it is in memory.
    pub(crate) fn cached(&self, segment: u64, detail: &Detail) -> Option<&[u8]> {
        let (offset, open) = (detail.offset, &self.open);
        let bytes = if segment == open.id.number && offset >= open.cursor {
            self.fill.get((offset - open.cursor) as usize..)?
        } else {
            self.cache.get(segment, offset)?
        };
        let added = self.encryption_bytes();
        bytes.get(MESSAGE_OVERHEAD_BYTES + added..detail.size() as usize + added)
    }

    pub(crate) fn cache_bytes(&self) -> usize {
        self.cache.bytes()
    }
}
