//! Batches on their way to the disk: closed, written and synced one after the other, durable.

use super::{RecordLog, Waiting};
use crate::batch::{BATCH_HEADER_BYTES, BatchHeader, EntryMark};
use crate::claim::Deposed;
use crate::disk::DiskFile;
use crate::format::Cut;
use crate::job::JobKind;
use crate::limits::BATCH_BYTES_MAX;
use crate::names::Position;
use crate::options::Options;
use crate::record;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Zeros after a batch, so that the end shows where an earlier use of the file left bytes. A fresh file has zeros there.
const TERMINATOR_BYTES: u32 = BATCH_HEADER_BYTES as u32;

/// A finished batch on its way to the disk.
struct Batch {
    segment: u64,
    offset: u32,
    bytes: Arc<Vec<u8>>,
    /// Zeros to be written behind it.
    zeros: u64,
    count: u32,
    /// Of the entry that it is; otherwise 0.
    index: u64,
    /// Where it ends.
    end: Cut,
    /// Bytes of its records, without what encryption adds.
    record_bytes: u64,
}

/// What a commit made durable.
pub(crate) struct Committed {
    /// Number of the segment that it is in.
    pub(crate) segment: u64,
    pub(crate) bytes: u64,
    pub(crate) records: u32,
}

/// The batches that were closed, and how far they are durable.
pub(super) struct Batches {
    sync: bool,
    closed: VecDeque<Batch>,
    in_flight: Option<Batch>,
    submit_wanted: bool,
    /// Everything before it is durable.
    durable_end: Cut,
    /// Everything before this position is synced.
    synced: Position,
    /// Bytes of records that are not durable.
    backlog_bytes: u64,
    /// Of these, in the batch that fills.
    filling_bytes: u64,
    /// About the length of the latest batches.
    usual_length: u64,
}

impl Batches {
    pub(super) fn new(options: &Options, durable_end: Cut, synced: Position, backlog_bytes: u64) -> Batches {
        Batches {
            sync: options.sync,
            closed: VecDeque::new(),
            in_flight: None,
            submit_wanted: false,
            durable_end,
            synced,
            backlog_bytes,
            filling_bytes: 0,
            usual_length: 0,
        }
    }

    /// About the length of the latest batches.
    pub(super) fn usual_length(&self) -> u64 {
        self.usual_length
    }

    pub(super) fn synced(&self) -> Position {
        self.synced
    }

    /// Everything before `end` is durable from now on, so many bytes of records more than before.
    pub(super) fn make_durable(&mut self, end: Cut, record_bytes: u64) {
        self.durable_end = end;
        self.backlog_bytes -= record_bytes;
    }

    pub(super) fn durable(&self) -> Position {
        self.durable_end.position
    }

    pub(super) fn durable_end(&self) -> Cut {
        self.durable_end
    }

    pub(super) fn backlog_bytes(&self) -> u64 {
        self.backlog_bytes
    }

    pub(super) fn count_waiting(&mut self, bytes: u64) {
        self.backlog_bytes += bytes;
        self.filling_bytes += bytes;
    }

    pub(super) fn is_any_waiting(&self) -> bool {
        !self.closed.is_empty() || self.in_flight.is_some()
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    pub(super) fn want_submitted(&mut self) {
        self.submit_wanted = true;
    }

    pub(super) fn is_submit_wanted(&self) -> bool {
        self.submit_wanted
    }

    pub(super) fn stop(&mut self) {
        self.closed.clear();
        self.submit_wanted = false;
        self.backlog_bytes = 0;
        self.filling_bytes = 0;
    }
}

impl RecordLog {
    /// Finishes the filling batch, if it holds anything, and queues it for the disk.
    pub(super) fn close_batch(&mut self) {
        if self.fill_count == 0 {
            return;
        }
        let mut bytes = std::mem::take(&mut self.fill);
        let capacity_hint = bytes.len() + bytes.len() / 4;
        let first_position = self.next_position - u64::from(self.fill_count);
        let open = &self.open;
        let closing = self.entries.as_ref().map(|entries| {
            let records = &bytes[BATCH_HEADER_BYTES..];
            entries.closing(
                records,
                records.len() - self.fill_count as usize * self.encryption_bytes(),
            )
        });
        // The cache keeps the plain bytes, which can be read at once; the disk gets the encrypted ones.
        let plain = open.cipher.as_ref().map(|cipher| {
            let plain = Arc::new(bytes.clone());
            record::encrypt(&mut bytes[BATCH_HEADER_BYTES..], cipher, first_position, open.seed);
            plain
        });
        let header = BatchHeader::finish(
            &mut bytes,
            open.seed,
            self.scope.epoch,
            first_position,
            self.fill_count,
            self.checksum,
            closing.map_or_else(EntryMark::default, |closing| closing.mark),
            (open.cursor, open.capacity),
        );
        let (offset, end) = (open.cursor, open.cursor + header.length);
        let terminator = match open.is_recycled {
            true => u64::from(TERMINATOR_BYTES).min(open.capacity - u64::from(end)),
            false => 0,
        };
        bytes.resize(bytes.len() + terminator as usize, 0);
        let zeros = self.open.zeros_behind(u64::from(end), u64::from(header.length));
        // The cache keeps small batches for long: unused room in their buffers could be many times their bytes.
        if bytes.capacity() > bytes.len() + bytes.len() / 4 + 256 {
            bytes.shrink_to_fit();
        }
        let bytes = Arc::new(bytes);
        let segment = self.open.id.number;
        let kept = plain.unwrap_or_else(|| Arc::clone(&bytes));
        self.cache.push(segment, offset, kept);
        self.batches.closed.push_back(Batch {
            segment,
            offset,
            bytes,
            zeros,
            count: header.count,
            index: header.entry.id.index,
            end: Cut {
                segment,
                offset: u64::from(end),
                position: self.next_position,
                checksum: header.checksum,
            },
            record_bytes: std::mem::take(&mut self.batches.filling_bytes),
        });
        if let (Some(entries), Some(closing)) = (&mut self.entries, &closing) {
            entries.close(closing, (segment, offset), self.next_position);
        }
        let usual = &mut self.batches.usual_length;
        *usual = (7 * *usual + u64::from(header.length)) / 8;
        self.checksum = header.checksum;
        self.open.cursor = end;
        self.fill = Vec::with_capacity(capacity_hint.clamp(4_096, BATCH_BYTES_MAX));
        self.fill.resize(BATCH_HEADER_BYTES, 0);
        self.fill_count = 0;
    }

    /// The file of a segment that batches are queued for.
    fn file_of(&self, number: u64) -> Option<&Arc<dyn DiskFile>> {
        if self.open.id.number == number {
            return self.open.file.as_ref();
        }
        let sealing = self.sealing.iter().find(|sealing| sealing.id.number == number)?;
        sealing.file.as_ref()
    }

    /// The next write and sync; one at a time. `needed` is a file to be looked for behind it.
    pub(crate) fn next_commit(&mut self, needed: &Arc<str>) -> Option<JobKind> {
        if self.stopped || self.batches.in_flight.is_some() {
            return None;
        }
        if self.batches.closed.is_empty() && self.batches.submit_wanted {
            self.close_batch();
            self.batches.submit_wanted = false;
        }
        let front = self.batches.closed.front()?;
        let file = Arc::clone(self.file_of(front.segment)?);
        let batch = self.batches.closed.pop_front()?;
        let (offset, bytes, zeros) = (u64::from(batch.offset), Arc::clone(&batch.bytes), batch.zeros);
        self.batches.in_flight = Some(batch);
        Some(JobKind::Commit {
            file,
            offset,
            bytes,
            zeros,
            sync: self.batches.sync,
            needed: Arc::clone(needed),
        })
    }

    /// What became of a commit; `Err` says in words what failed. `None` when the log stopped meanwhile: then it tells nothing.
    pub(crate) fn commit_completed(&mut self, result: io::Result<()>) -> Option<Result<Committed, String>> {
        let batches = &mut self.batches;
        let batch = batches.in_flight.take().expect("a commit completes once");
        if let Err(error) = result {
            let (number, offset) = (batch.segment, batch.offset);
            return Some(Err(match Deposed::of(&error) {
                Some(deposed) => deposed.to_string(),
                None => format!("writing to segment {number:016x} at offset {offset}: {error}"),
            }));
        }
        if self.stopped {
            return None;
        }
        batches.synced = batch.end.position;
        match &mut self.entries {
            None => batches.make_durable(batch.end, batch.record_bytes),
            Some(entries) => {
                entries.synced(Waiting {
                    index: batch.index,
                    end: batch.end,
                    record_bytes: batch.record_bytes,
                });
                self.count_committed();
            }
        }
        self.cache.shrink(self.batches.closed.len());
        Some(Ok(Committed {
            segment: batch.segment,
            bytes: batch.bytes.len() as u64,
            records: batch.count,
        }))
    }
}
