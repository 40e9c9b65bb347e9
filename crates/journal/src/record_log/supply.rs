//! The segments to come: planned ahead, prepared on the disk one after the other, and used in that order. Knows whether there is
//! room for more.

use crate::disk::DiskFile;
use crate::error::Refusal;
use crate::format::SegmentId;
use crate::job::PrepareJob;
use crate::limits::{SEGMENT_BYTES_CEILING, SEGMENT_BYTES_FIRST, SEGMENT_HEADER_BYTES};
use crate::scope::Scope;
use crate::segments::SegmentSet;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// A segment that is, or shall be, prepared.
pub(crate) struct Planned {
    pub(crate) id: SegmentId,
    pub(crate) capacity: u64,
    pub(crate) file: Option<Arc<dyn DiskFile>>,
    /// The file holds bytes of an earlier use; so as long as there is none. Of another one nothing was written but its header.
    pub(crate) is_recycled: bool,
}

/// A segment file that must still be made.
struct Preparation {
    id: SegmentId,
    capacity: u64,
    running: bool,
}

/// A dead segment's file, renamed, that the next preparation may use.
pub(crate) struct Spare {
    pub(crate) name: String,
    pub(crate) length: u64,
}

/// What an attempt to prepare a segment came to.
pub(crate) enum Prepared {
    /// There is a file for a segment.
    Ready {
        /// The segment's number.
        number: u64,
        file: Arc<dyn DiskFile>,
        /// It holds bytes of an earlier use; of another one nothing was written but its header.
        is_recycled: bool,
    },
    /// Smaller files are tried.
    Smaller,
    /// There is no room.
    NoRoom,
}

pub(crate) struct Supply {
    scope: Scope,
    segment_bytes_max: u64,
    planned: VecDeque<Planned>,
    /// In the order in which they are needed.
    preparations: VecDeque<Preparation>,
    next_number: u64,
    spare: Option<Spare>,
    /// Why the last attempt to prepare failed.
    no_room: Option<Refusal>,
    /// The dead segment's file that is being made the next one.
    recycling: Option<String>,
    /// Of those, the ones that could not be used; they are to be removed.
    unusable: Vec<String>,
    /// Somebody asks again although there was none.
    retry: bool,
    /// Somebody was refused for lack of a prepared segment.
    refused: bool,
}

impl Supply {
    pub(crate) fn new(scope: Scope, segment_bytes_max: u64, next_number: u64) -> Supply {
        Supply {
            scope,
            segment_bytes_max,
            planned: VecDeque::new(),
            preparations: VecDeque::new(),
            next_number,
            spare: None,
            no_room: None,
            recycling: None,
            unusable: Vec::new(),
            retry: false,
            refused: false,
        }
    }

    /// Plans one more segment: twice the last one (or `open`), at most the configured size, at least `capacity`.
    pub(crate) fn plan(&mut self, open: u64, capacity: u64) {
        let last = self.planned.back().map_or(open, |planned| planned.capacity);
        let usual = (last * 2).min(self.segment_bytes_max).max(capacity.next_power_of_two());
        let id = self.scope.segment(self.next_number);
        self.next_number += 1;
        let capacity = usual.min(SEGMENT_BYTES_CEILING);
        self.planned.push_back(Planned {
            id,
            capacity,
            file: None,
            is_recycled: true,
        });
        self.preparations.push_back(Preparation {
            id,
            capacity,
            running: false,
        });
    }

    /// Plans one more when the planned ones cannot hold `needed` bytes, or all were prepared when there was less space: without
    /// one more, who needs it would be refused for ever.
    pub(crate) fn plan_for(&mut self, open: u64, needed: u64, reserve: u64, largest: u64) {
        let fits = |planned: &Planned| planned.capacity >= needed + 8_192;
        if largest < needed && !self.planned.iter().any(fits) {
            self.plan(open, needed + 8_192);
        } else if self.planned.iter().all(|planned| planned.file.is_some()) {
            self.plan(open, needed + reserve + 8_192);
        }
        self.refused = true;
        self.retry = true;
    }

    /// Takes the next planned segment that is large enough; smaller ones are skipped and die empty.
    pub(crate) fn take(&mut self, open: u64, capacity: u64, at: u64, segments: &mut SegmentSet) -> Planned {
        loop {
            if self.planned.is_empty() {
                self.plan(open, capacity);
            }
            let mut planned = self.planned.pop_front().expect("a segment was just planned");
            if planned.capacity >= capacity {
                return planned;
            }
            let preparation = self.preparations.iter_mut().find(|other| other.id == planned.id);
            match preparation {
                // Its file does not exist yet, so it can be made larger.
                Some(preparation) if !preparation.running => {
                    planned.capacity = capacity.next_power_of_two();
                    preparation.capacity = planned.capacity;
                    return planned;
                }
                running => segments.add_unused(planned.id, planned.capacity, running.is_some(), at),
            }
        }
    }

    /// Whether nobody waits for the next file, and it is larger than `bytes`.
    pub(crate) fn may_wait(&self, bytes: u64) -> bool {
        let next = self.preparations.front();
        !self.retry && !self.refused && next.is_some_and(|next| next.capacity > bytes)
    }

    /// The next file to make. `headroom` are bytes that must stay free beside it. Also whether it is made of a dead segment's.
    pub(crate) fn next_prepare(&mut self, headroom: u64) -> Option<(PrepareJob, bool)> {
        if self.no_room.is_some() && !self.retry {
            return None;
        }
        let preparation = self.preparations.front_mut()?;
        self.retry = false;
        preparation.running = true;
        let capacity = preparation.capacity;
        let spare = self.spare.take_if(|spare| spare.length >= capacity);
        let capacity = spare.as_ref().map_or(capacity, |spare| spare.length);
        preparation.capacity = capacity;
        let id = preparation.id;
        if let Some(planned) = self.planned.iter_mut().find(|planned| planned.id == id) {
            planned.capacity = capacity;
        }
        let recycles = spare.is_some();
        let job = PrepareJob {
            identity: self.scope.identity,
            encryption: self.scope.keys.as_ref().map(|keys| keys.header),
            is_clustered: self.scope.is_member,
            id,
            capacity,
            headroom,
            recycled: spare.map(|spare| spare.name),
        };
        self.recycling.clone_from(&job.recycled);
        Some((job, recycles))
    }

    /// What became of the file that was to be made last. Nothing was promised of it: when it could not be made, for whatever
    /// reason, it is tried again when somebody needs it.
    pub(crate) fn prepared(&mut self, result: io::Result<Arc<dyn DiskFile>>) -> Option<Prepared> {
        let preparation = self.preparations.front_mut()?;
        preparation.running = false;
        let id = preparation.id;
        let recycling = self.recycling.take();
        let error = match result {
            Ok(file) => {
                self.preparations.pop_front();
                self.no_room = None;
                if let Some(planned) = self.planned.iter_mut().find(|planned| planned.id == id) {
                    planned.file = Some(Arc::clone(&file));
                    planned.is_recycled = recycling.is_some();
                }
                return Some(Prepared::Ready {
                    number: id.number,
                    file,
                    is_recycled: recycling.is_some(),
                });
            }
            Err(error) => error,
        };
        let smaller = preparation.capacity / 2;
        let planned = self.planned.iter_mut().find(|planned| planned.id == id);
        let is_full = crate::disk::is_full(&error);
        self.unusable.extend(recycling);
        Some(match planned {
            Some(planned) if is_full && smaller >= SEGMENT_BYTES_FIRST.min(self.segment_bytes_max) => {
                preparation.capacity = smaller;
                planned.capacity = smaller;
                Prepared::Smaller
            }
            _ => {
                self.no_room = Some(match error.kind() {
                    ErrorKind::StorageFull => Refusal::NoSpace,
                    _ => Refusal::NoRoom(error.to_string()),
                });
                Prepared::NoRoom
            }
        })
    }

    pub(crate) fn is_planned(&self, number: u64) -> bool {
        self.planned.iter().any(|planned| planned.id.number == number)
    }

    /// Bytes for batches in all prepared segments, and the most that fits into one.
    pub(crate) fn room(&self) -> (u64, u64) {
        let prepared = self.planned.iter().filter(|planned| planned.file.is_some());
        prepared.fold((0, 0), |(room, largest), planned| {
            let capacity = planned.capacity - u64::from(SEGMENT_HEADER_BYTES);
            (room + capacity, largest.max(capacity))
        })
    }

    /// Why there is no room for more, if the last attempt to make some failed.
    pub(crate) fn no_room(&self) -> Option<&Refusal> {
        self.no_room.as_ref()
    }

    /// Files that are good for nothing any more.
    pub(crate) fn take_unusable(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unusable)
    }

    /// Space may have come back: what failed for lack of it is tried again.
    pub(crate) fn try_again(&mut self) {
        self.retry |= self.no_room.is_some();
    }

    /// Whether somebody was refused who may be served now.
    pub(crate) fn take_refused(&mut self) -> bool {
        std::mem::take(&mut self.refused)
    }

    pub(crate) fn has_spare(&self) -> bool {
        self.spare.is_some()
    }

    pub(crate) fn set_spare(&mut self, spare: Spare) {
        self.spare = Some(spare);
    }

    /// Segments that exist and take no batches yet, the spare one included, and their bytes.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let prepared = self.planned.iter().filter(|planned| planned.file.is_some());
        let bytes: u64 = prepared.map(|planned| planned.capacity).sum();
        let spare = self.spare.as_ref().map_or(0, |spare| spare.length);
        let count = self.planned.len() as u64 + u64::from(self.spare.is_some());
        (count, bytes + spare)
    }
}
