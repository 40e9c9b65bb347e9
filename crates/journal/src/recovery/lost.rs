//! What can be said of what is given up: the batches behind the damage that are whole, and the directories of their segments, tell
//! which messages there were and which facts. Nothing of it counts, but for the sequences, which are not used again.

use super::loaded::Loaded;
use super::{Recovery, Replay};
use crate::batch::BatchHeader;
use crate::directory::read_summary;
use crate::format::{NUMBER_MAX, SegmentId};
use crate::limits::SEGMENT_HEADER_BYTES;
use crate::lost_log::LostLog;
use crate::names::LogId;
use crate::record::{self, Record};

impl Recovery<'_> {
    /// Looks at everything behind a place of a segment, and in later ones.
    pub(super) fn look_behind(&mut self, loaded: &Loaded, offset: usize, later: &[SegmentId], replay: &mut dyn Replay) {
        if !self.gives_up() {
            return;
        }
        self.look_at_batches(loaded, offset, replay);
        self.look_at_directory(loaded.id);
        self.look_at_segments(later, replay);
    }

    /// Looks at whole segments that are given up.
    pub(super) fn look_at_segments(&mut self, ids: &[SegmentId], replay: &mut dyn Replay) {
        // Without syncs nothing was promised that could be lost.
        if !self.gives_up() {
            return;
        }
        for id in ids {
            // What cannot be read cannot be told of.
            if let Ok(loaded) = self.load_anyway(*id) {
                self.look_at_batches(&loaded, SEGMENT_HEADER_BYTES as usize, replay);
            }
            self.look_at_directory(*id);
        }
    }

    fn look_at_batches(&mut self, loaded: &Loaded, offset: usize, replay: &mut dyn Replay) {
        let limit = loaded.limit();
        let mut at = offset;
        while let Some(rest) = loaded.bytes.get(at..limit).filter(|rest| !rest.is_empty()) {
            let header = BatchHeader::decode(rest, loaded.seed).filter(|header| header.is_whole(rest, loaded.seed));
            let Some(header) = header else {
                at += 8;
                continue;
            };
            self.look_at_records(loaded, &header, header.records(rest), replay);
            at += header.length as usize;
        }
    }

    fn look_at_records(&mut self, loaded: &Loaded, header: &BatchHeader, records: &[u8], replay: &mut dyn Replay) {
        let mut at = 0;
        for index in 0..u64::from(header.count) {
            let Ok(parsed) = record::parse(records.get(at..).unwrap_or_default(), loaded.seed) else {
                return;
            };
            at += parsed.length;
            match parsed.record {
                Record::Message {
                    log,
                    sequence,
                    timestamp,
                    ..
                } => self.note_lost(log, sequence, sequence, timestamp),
                Record::Fact { kind, .. } => {
                    self.body.clear();
                    let position = Some(header.first_position + index);
                    if parsed.body(loaded.cipher.as_ref(), position, &mut self.body).is_ok() {
                        replay.fact_given_up(kind, &self.body);
                    }
                }
                Record::Trim { .. } | Record::Time { .. } | Record::Entry { .. } => {}
                Record::Delete { log, .. } => {
                    self.given_up.lost.remove(&log);
                    replay.deletion_given_up(log);
                }
            }
        }
    }

    /// A directory knows of messages whose batches are damaged, too. Of logs of which nothing else is known it says nothing: they may
    /// have been deleted.
    fn look_at_directory(&mut self, id: SegmentId) {
        let Ok(Ok(summary)) = read_summary(self.disk, &self.identity, id) else {
            return;
        };
        for run in &summary.runs {
            if self.given_up.lost.contains_key(&run.log) || self.index.bounds(run.log).is_some() {
                self.note_lost(run.log, run.first, run.last, run.last_timestamp);
            }
        }
    }

    fn note_lost(&mut self, log: LogId, first: u64, last: u64, timestamp: i64) {
        if first == 0 || last >= NUMBER_MAX {
            return;
        }
        let lost = LostLog { first, last, timestamp };
        let known = self.given_up.lost.get(&log).map_or(lost, |known| known.with(lost));
        self.given_up.lost.insert(log, known);
    }

    /// Lets logs go on behind what this start gives up; what is not lost after all is no loss.
    pub(super) fn go_on_behind_own_losses(&mut self) {
        let index = &self.index;
        self.given_up
            .lost
            .retain(|log, lost| index.bounds(*log).is_none_or(|bounds| bounds.last < lost.last));
        for (log, lost) in &self.given_up.lost {
            self.index.restore_lost(*log, *lost);
        }
    }
}
