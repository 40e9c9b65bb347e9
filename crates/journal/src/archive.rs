//! Following a journal from one record to the next by its bytes alone, for whoever keeps copies of its segments: that nothing is missing
//! between them shows by the chain of checksums and the positions (docs/journal-format.md §5), when something was written by the times
//! in the records. No key is needed: times are not encrypted.

use crate::batch::{BATCH_HEADER_BYTES, BatchHeader, EntryMark};
use crate::format::{Cut, FileName, Identity, NUMBER_MAX, SegmentId, encode_end, i64_at, u32_at};
use crate::limits::{SEGMENT_BYTES_CEILING, SEGMENT_HEADER_BYTES};
use crate::record::{KIND_MESSAGE, KIND_TIME};
use std::io;

/// A place between two batches of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Number of the segment.
    pub segment: u64,
    /// The epoch in which that was written.
    pub epoch: u64,
    /// Offset in the segment of what comes next.
    pub offset: u64,
    /// Position of what comes next.
    pub position: u64,
    /// Checksum of the header of the batch before it.
    pub checksum: u32,
}

impl Mark {
    pub(crate) fn of(cut: Cut, epoch: u64) -> Mark {
        Mark {
            segment: cut.segment,
            epoch,
            offset: cut.offset,
            position: cut.position,
            checksum: cut.checksum,
        }
    }

    /// Whether a journal can have such a place.
    pub fn is_possible(&self) -> bool {
        self.segment < NUMBER_MAX
            && self.epoch < NUMBER_MAX
            && self.position < NUMBER_MAX
            && (u64::from(SEGMENT_HEADER_BYTES)..=SEGMENT_BYTES_CEILING).contains(&self.offset)
    }

    /// Name of the file that says that everything ends here, and its content: who starts finds records missing before it.
    pub fn end_file(&self, identity: &Identity) -> (String, Vec<u8>) {
        let cut = Cut {
            segment: self.segment,
            offset: self.offset,
            position: self.position,
            checksum: self.checksum,
        };
        let name = crate::format::end_name(self.epoch);
        (name, encode_end(identity, self.epoch, cut))
    }
}

/// What a file of an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFileKind {
    /// It opens an epoch, or says what was lost before it.
    Epoch(u64),
    /// It says where an epoch was ended.
    End(u64),
    /// A segment: number and epoch.
    Segment(u64, u64),
    /// The directory of that segment.
    Directory(u64, u64),
    /// A checkpoint: begin and epoch.
    Checkpoint(u64, u64),
    /// It says that something was given up.
    GivenUp,
}

/// What a file of this name is in an image; `None` when it belongs to none.
pub fn image_file_kind(name: &str) -> Option<ImageFileKind> {
    match FileName::parse(name) {
        FileName::Epoch(epoch) | FileName::Lost(epoch) => Some(ImageFileKind::Epoch(epoch)),
        FileName::End(epoch) => Some(ImageFileKind::End(epoch)),
        FileName::Segment(id) => Some(ImageFileKind::Segment(id.number, id.epoch)),
        FileName::Directory(id) => Some(ImageFileKind::Directory(id.number, id.epoch)),
        FileName::Checkpoint { position, epoch } => Some(ImageFileKind::Checkpoint(position, epoch)),
        FileName::GivenUp => Some(ImageFileKind::GivenUp),
        _ => None,
    }
}

/// Why a journal cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// What is there does not continue what was read.
    #[error("offset {offset} of segment {segment:016x}: {reason}")]
    Broken {
        /// Number of the segment.
        segment: u64,
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Where a cut is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutFound {
    /// Where the records that stay end.
    pub mark: Mark,
    /// Of the batch in which the cut lies: where it begins, and what takes its place. None when it lies between two.
    pub shortened: Option<(u64, Vec<u8>)>,
}

/// Fills a buffer with bytes of a segment, from an offset on.
pub type ReadSegment<'a> = &'a mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>;

/// Goes through a journal, segment after segment.
#[derive(Debug, Clone)]
pub struct Follower {
    identity: Identity,
    mark: Mark,
    newest: Option<i64>,
}

impl Follower {
    /// Goes on from a mark; `newest` is the latest time in the records before it.
    pub fn new(identity: Identity, mark: Mark, newest: Option<i64>) -> Follower {
        Follower { identity, mark, newest }
    }

    /// Begins with the first batch of a segment, whatever was before that; `None` when it has none before `end`.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn begin(
        identity: Identity,
        (segment, epoch): (u64, u64),
        end: u64,
        read: ReadSegment<'_>,
    ) -> Result<Option<Follower>, FollowError> {
        let mark = Mark {
            segment,
            epoch,
            offset: u64::from(SEGMENT_HEADER_BYTES),
            position: 0,
            checksum: 0,
        };
        let mut follower = Follower::new(identity, mark, None);
        if end <= mark.offset {
            return Ok(None);
        }
        let (header, _) = follower.batch(end, read)?;
        follower.mark.position = header.first_position;
        follower.mark.checksum = header.predecessor;
        Ok(Some(follower))
    }

    /// How far it came.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// The latest time in the records so far, in nanoseconds since the Unix epoch.
    pub fn newest(&self) -> Option<i64> {
        self.newest
    }

    /// Reads the batches of a segment up to `end`: of the one it is in from where it is, of a later one all.
    ///
    /// # Errors
    /// They do not continue what was read, are damaged, or cannot be read.
    pub fn follow(&mut self, segment: (u64, u64), end: u64, read: ReadSegment<'_>) -> Result<(), FollowError> {
        let never = self.follow_until(segment, end, i64::MAX, read)?;
        debug_assert!(never.is_none(), "no time is later");
        Ok(())
    }

    /// The same, but stops before the first record that is later than `until`; then it says where. What has no time is as late as what
    /// was before it.
    ///
    /// # Errors
    /// As [`Follower::follow`].
    pub fn follow_until(
        &mut self,
        (segment, epoch): (u64, u64),
        end: u64,
        until: i64,
        read: ReadSegment<'_>,
    ) -> Result<Option<CutFound>, FollowError> {
        let before = self.mark;
        if (segment, epoch) != (self.mark.segment, self.mark.epoch) {
            if segment <= self.mark.segment || epoch < self.mark.epoch {
                return Err(self.broken("the segments are not in their order"));
            }
            self.mark.segment = segment;
            self.mark.epoch = epoch;
            self.mark.offset = u64::from(SEGMENT_HEADER_BYTES);
        }
        let is_begin_of_epoch = before.epoch != epoch;
        while self.mark.offset < end {
            let (header, bytes) = self.batch(end, read)?;
            // What a start gave up leaves a gap in the positions before the first batch of its epoch.
            let is_next = header.first_position == self.mark.position
                || (is_begin_of_epoch
                    && self.mark.offset == u64::from(SEGMENT_HEADER_BYTES)
                    && header.first_position > self.mark.position);
            if !is_next || header.predecessor != self.mark.checksum {
                return Err(self.broken("the batch does not continue the one before it"));
            }
            let kept = self.records_until(&header, &bytes, until)?;
            if kept.count == 0 && header.count > 0 {
                let is_first = self.mark.offset == u64::from(SEGMENT_HEADER_BYTES);
                // A segment of which nothing stays is not needed.
                let mark = if is_first && before.segment != segment {
                    before
                } else {
                    self.mark
                };
                self.mark = mark;
                return Ok(Some(CutFound { mark, shortened: None }));
            }
            if kept.count < header.count {
                return Ok(Some(self.shorten(&header, bytes, kept)));
            }
            self.advance(&header);
        }
        if self.mark.offset == end {
            Ok(None)
        } else {
            Err(self.broken("a batch reaches over the end"))
        }
    }

    fn advance(&mut self, header: &BatchHeader) {
        self.mark.offset += u64::from(header.length);
        self.mark.position = header.first_position + u64::from(header.count);
        self.mark.checksum = header.checksum;
    }

    fn broken(&self, reason: &'static str) -> FollowError {
        FollowError::Broken {
            segment: self.mark.segment,
            offset: self.mark.offset,
            reason,
        }
    }

    fn seed(&self) -> u32 {
        let (number, epoch) = (self.mark.segment, self.mark.epoch);
        SegmentId { number, epoch }.seed(&self.identity)
    }

    /// The whole batch that comes next.
    fn batch(&self, end: u64, read: ReadSegment<'_>) -> Result<(BatchHeader, Vec<u8>), FollowError> {
        let seed = self.seed();
        let left = end.saturating_sub(self.mark.offset);
        if left < BATCH_HEADER_BYTES as u64 {
            return Err(self.broken("there is no room for a batch"));
        }
        let mut bytes = vec![0; BATCH_HEADER_BYTES];
        read(self.mark.offset, &mut bytes)?;
        let header = BatchHeader::decode(&bytes, seed).ok_or_else(|| self.broken("there is no batch"))?;
        if u64::from(header.length) > left || header.epoch != self.mark.epoch {
            return Err(self.broken("the batch reaches over the end, or is of another epoch"));
        }
        bytes.resize(header.length as usize, 0);
        read(
            self.mark.offset + BATCH_HEADER_BYTES as u64,
            &mut bytes[BATCH_HEADER_BYTES..],
        )?;
        if header.is_whole(&bytes, seed) {
            Ok((header, bytes))
        } else {
            Err(self.broken("the batch is damaged"))
        }
    }

    /// How many records at the beginning of a batch are not later than `until`, and their bytes. Notes their times.
    fn records_until(&mut self, header: &BatchHeader, bytes: &[u8], until: i64) -> Result<Kept, FollowError> {
        let records = header.records(bytes);
        let mut kept = Kept { count: 0, bytes: 0 };
        while kept.count < header.count {
            let rest = records.get(kept.bytes..).unwrap_or_default();
            let length = if rest.len() < 12 { 0 } else { u32_at(rest, 0) as usize };
            let record = rest.get(..length).filter(|record| record.len() >= 12);
            let record = record.ok_or_else(|| self.broken("a record of the batch is none"))?;
            if let Some(time) = time_of(record) {
                if time > until {
                    break;
                }
                self.newest = self.newest.max(Some(time));
            }
            kept.count += 1;
            kept.bytes += length;
        }
        Ok(kept)
    }

    /// A batch with the first of its records only.
    fn shorten(&mut self, header: &BatchHeader, mut bytes: Vec<u8>, kept: Kept) -> CutFound {
        let begin = self.mark.offset;
        bytes.truncate(BATCH_HEADER_BYTES + kept.bytes);
        let short = BatchHeader::finish(
            &mut bytes,
            self.seed(),
            header.epoch,
            header.first_position,
            kept.count,
            header.predecessor,
            // What is left of an entry is none.
            EntryMark::default(),
            // It ends where its last record does.
            (0, 0),
        );
        self.advance(&short);
        CutFound {
            mark: self.mark,
            shortened: Some((begin, bytes)),
        }
    }
}

struct Kept {
    count: u32,
    bytes: usize,
}

/// When a record was appended, of those that say so. A copy has the time of what it is a copy of.
fn time_of(record: &[u8]) -> Option<i64> {
    match record[8] {
        KIND_MESSAGE if record.len() >= 36 => Some(i64_at(record, 28)),
        KIND_TIME if record.len() >= 20 => Some(i64_at(record, 12)),
        _ => None,
    }
}
