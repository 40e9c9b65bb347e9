//! The rewriter: copies the few live messages out of the deadest segment into new batches, sorted by log, so that its file can
//! go. One piece is under way at a time and the next waits until it is durable: commits come first.

use crate::Completion;
use crate::LogId;
use crate::directory::{Run, Span};
use crate::fetch::Fetched;
use crate::job::JobKind;
use crate::journal::Journal;
use crate::limits::{REWRITE_BYTES, REWRITE_ENTRIES, SEGMENTS_SMALL_MAX, STEP_LOGS_MAX};
use crate::segment::Segment;
use std::io;

/// Where the rewriting of one segment stands.
struct Victim {
    number: u64,
    runs: Vec<Run>,
    next_run: usize,
    /// Sequence in `runs[next_run]` with which to go on.
    from: u64,
    runs_known: bool,
}

#[derive(Default)]
pub(crate) struct Rewriter {
    victim: Option<Victim>,
    /// The copies up to this position must be durable before more are made.
    wait_for: u64,
    /// While space is being won back: only segments below this number are rewritten, not what the pass itself wrote.
    pass: Option<u64>,
    /// The pass merges all small segments.
    merging: bool,
}

impl Journal {
    pub(crate) fn next_rewrite(&mut self) -> Option<JobKind> {
        if self.rewriter.wait_for > self.writer.durable {
            return None;
        }
        if self.rewriter.victim.is_none() && self.choose_victim().is_none() {
            self.finish_copies();
            return None;
        }
        let number = self.rewriter.victim.as_ref()?.number;
        if !self.segments.by_number.contains_key(&number) {
            // Trimmed away as a whole meanwhile.
            self.rewriter.victim = None;
            return self.next_rewrite();
        }
        if !self.has_room(2 * self.rewrite_bytes()) {
            return None;
        }
        let segment = self.segments.get(number);
        let (identity, id, source) = (self.identity, segment.id, segment.source.clone());
        let keys = self.keys.clone();
        if !self.rewriter.victim.as_ref()?.runs_known {
            self.segments.pin(number);
            return Some(JobKind::Runs { identity, id, source });
        }
        let parts = self.next_parts();
        if parts.is_empty() {
            let victim = self.rewriter.victim.as_ref()?;
            if victim.next_run < victim.runs.len() {
                return Some(JobKind::Continue);
            }
            self.end_victim();
            return self.next_rewrite();
        }
        self.segments.pin(number);
        Some(JobKind::Gather {
            identity,
            keys,
            id,
            source,
            parts,
        })
    }

    /// The sealed segment with the least live share, if space should be won back and that one wins enough.
    fn choose_victim(&mut self) -> Option<()> {
        let usage = self.usage();
        let (staying, allowance) = (usage.sealed - usage.leaving, self.sealed_allowance(&usage));
        // A pass begins above the allowance and goes on until somewhat below it.
        let enough = if self.rewriter.pass.is_some() {
            allowance / 8 * 7
        } else {
            allowance
        };
        let pass = *self.rewriter.pass.get_or_insert(self.writer.open.id.number);
        let wins = |segment: &Segment| segment.bytes() - segment.needed();
        let before = || self.segments.by_number.range(..pass).map(|(_, segment)| segment);
        let small = before().filter(|segment| segment.is_small()).count();
        let merging = if self.rewriter.merging {
            small > 0
        } else {
            small > SEGMENTS_SMALL_MAX
        };
        let victim = before()
            .filter(|segment| staying > enough && segment.is_sealed() && segment.references > 0 && !segment.rewritten)
            .max_by_key(|segment| wins(segment) * 1_000 / segment.bytes().max(1))
            .filter(|segment| wins(segment) * 5 >= segment.bytes())
            .or_else(|| before().find(|segment| merging && segment.is_small()));
        self.rewriter.merging = merging && victim.is_some();
        let Some(victim) = victim else {
            self.rewriter.pass = None;
            return None;
        };
        let number = victim.id.number;
        self.rewriter.victim = Some(Victim {
            number,
            runs: Vec::new(),
            next_run: 0,
            from: 0,
            runs_known: false,
        });
        Some(())
    }

    pub(crate) fn rewrite_runs_read(&mut self, result: io::Result<Vec<Run>>) {
        let Some(victim) = self.rewriter.victim.as_mut() else {
            return;
        };
        let number = victim.number;
        match result {
            Ok(runs) => {
                victim.runs = runs;
                victim.runs_known = true;
                self.segments.unpin(number);
            }
            Err(error) => {
                self.segments.unpin(number);
                self.give_up_victim(&error);
            }
        }
    }

    /// Bytes that one step may move: small beside a segment.
    fn rewrite_bytes(&self) -> u64 {
        REWRITE_BYTES.min(self.options.segment_bytes_max / 8)
    }

    /// The next live pieces of the victim, within the bounds of one step.
    fn next_parts(&mut self) -> Vec<(LogId, Span)> {
        let mut parts = Vec::new();
        let bytes_max = self.rewrite_bytes();
        let Some(victim) = self.rewriter.victim.as_mut() else {
            return parts;
        };
        let (mut entries, mut bytes, mut looked_at) = (0, 0, 0);
        while let Some(run) = victim.runs.get(victim.next_run) {
            looked_at += 1;
            if entries >= REWRITE_ENTRIES || bytes >= bytes_max || looked_at > STEP_LOGS_MAX {
                break;
            }
            let live = self.logs.get(run.log).and_then(|log| {
                let from = run.first.max(log.first).max(victim.from);
                let index = log.range_index(from.min(run.last))?;
                let range = log.ranges[index];
                (range.segment == victim.number && from <= run.last.min(range.last)).then_some((from, range))
            });
            let Some((from, range)) = live else {
                victim.next_run += 1;
                victim.from = 0;
                continue;
            };
            let average = u64::from(run.bytes) / (run.last - run.first + 1) + 1;
            let count = (range.last - from + 1)
                .min(REWRITE_ENTRIES - entries)
                .min(bytes_max / average + 1);
            let before = range.before(from);
            parts.push((
                run.log,
                Span {
                    entry: range.entry_of(from),
                    count: count as u32,
                    before,
                },
            ));
            entries += count;
            bytes += count * average;
            if from + count > run.last {
                victim.next_run += 1;
                victim.from = 0;
            } else {
                victim.from = from + count;
            }
        }
        parts
    }

    pub(crate) fn rewrite_gathered(&mut self, result: io::Result<Fetched>) {
        let Some(victim) = self.rewriter.victim.as_ref() else {
            return;
        };
        let number = victim.number;
        self.segments.unpin(number);
        let fetched = match result {
            Ok(fetched) => fetched,
            Err(error) => {
                self.give_up_victim(&error);
                return;
            }
        };
        if self.poisoned.is_some() {
            return;
        }
        for message in &fetched.messages {
            let still_there = self.logs.get(message.log).is_some_and(|log| {
                message.sequence >= log.first
                    && log
                        .range_index(message.sequence)
                        .is_some_and(|index| log.ranges[index].segment == number)
            });
            if still_there {
                let body = &fetched.bytes[message.start..message.start + message.length];
                self.append_moved(message.log, message.sequence, message.timestamp, body);
            }
        }
        self.rewriter.wait_for = self.writer.next_position;
        self.submit();
    }

    fn end_victim(&mut self) {
        if let Some(victim) = self.rewriter.victim.take() {
            self.segments.get_mut(victim.number).rewritten = true;
            self.statistics.rewritten_segments += 1;
        }
    }

    fn give_up_victim(&mut self, error: &io::Error) {
        self.completions
            .push(Completion::Warning(format!("a segment cannot be rewritten: {error}")));
        self.end_victim();
    }

    /// When nothing is left to copy, the segment with the copies is ended early, so that the originals can go.
    fn finish_copies(&mut self) {
        let mut segments = self.segments.by_number.values();
        let awaited = self.writer.open.moved > 0 && segments.any(|segment| segment.rewritten && segment.references > 0);
        if awaited && self.writer.open.file.is_some() {
            self.rotate_early();
        }
    }
}
