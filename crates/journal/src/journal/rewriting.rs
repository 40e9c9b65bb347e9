//! The rewriter: copies the few live messages out of the deadest segment into new batches, sorted by log, so that its file can
//! go. One piece is under way at a time and the next waits until it is durable: commits come first.

use super::Journal;
use crate::completion::Completion;
use crate::directory::{Run, Span};
use crate::error::is_damage;
use crate::job::JobKind;
use crate::limits::{REWRITE_BYTES, REWRITE_ENTRIES, STEP_LOGS_MAX};
use crate::messages::Fetched;
use crate::names::LogId;
use std::io;

/// Where the rewriting of one segment stands.
struct Victim {
    number: u64,
    runs: Vec<Run>,
    next_run: usize,
    /// Sequence of the log of `runs[next_run]` with which to go on.
    from: u64,
    runs_known: bool,
}

impl Victim {
    /// Copies of copies make runs of a log that overlap: what was copied with one is not with the next.
    fn go_on_to_next_run(&mut self) {
        let log = |run: &Run| run.log;
        let (this, next) = (self.runs.get(self.next_run), self.runs.get(self.next_run + 1));
        if this.map(log) != next.map(log) {
            self.from = 0;
        }
        self.next_run += 1;
    }
}

#[derive(Default)]
pub(super) struct Rewriter {
    victim: Option<Victim>,
    /// The copies up to this position must be durable before more are made.
    wait_for: u64,
    /// While space is being won back: only segments below this number are rewritten, not what the pass itself wrote.
    pass: Option<u64>,
    /// The pass merges all small segments.
    merging: bool,
}

impl Journal {
    pub(super) fn next_rewrite(&mut self) -> Option<JobKind> {
        if self.rewriter.wait_for > self.records.durable() {
            return None;
        }
        if self.rewriter.victim.is_none() && self.choose_victim().is_none() {
            // When nothing is left to copy, the segment with the copies is ended early, so that the originals can go.
            if self.segments.awaits_copies() {
                self.records.end_copies(&mut self.segments);
            }
            return None;
        }
        let number = self.rewriter.victim.as_ref()?.number;
        if !self.segments.contains(number) {
            // Trimmed away as a whole meanwhile.
            self.rewriter.victim = None;
            return self.next_rewrite();
        }
        if !self.records.has_room(2 * self.rewrite_bytes()) {
            return None;
        }
        let identity = self.scope.identity;
        if !self.rewriter.victim.as_ref()?.runs_known {
            let (id, source) = self.segments.pin(number);
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
        let (id, source) = self.segments.pin(number);
        Some(JobKind::Gather {
            identity,
            keys: self.scope.keys.clone(),
            id,
            source,
            parts,
        })
    }

    /// The sealed segment with the least live share, if space should be won back and that one wins enough; or a small one.
    fn choose_victim(&mut self) -> Option<()> {
        let usage = self.usage();
        let (staying, allowance) = (usage.staying(), self.sealed_allowance(&usage));
        // A pass begins above the allowance and goes on until somewhat below it.
        let enough = if self.rewriter.pass.is_some() {
            allowance / 8 * 7
        } else {
            allowance
        };
        let pass = *self.rewriter.pass.get_or_insert(self.records.open_number());
        let deadest = (staying > enough).then(|| self.segments.most_dead(pass)).flatten();
        let small = self.segments.small(pass, self.rewriter.merging);
        self.rewriter.merging = small.is_some();
        let Some(number) = deadest.or(small) else {
            self.rewriter.pass = None;
            return None;
        };
        self.rewriter.victim = Some(Victim {
            number,
            runs: Vec::new(),
            next_run: 0,
            from: 0,
            runs_known: false,
        });
        Some(())
    }

    pub(super) fn rewrite_runs_read(&mut self, result: io::Result<Vec<Run>>) {
        let Some(victim) = self.rewriter.victim.as_mut() else {
            return;
        };
        self.segments.unpin(victim.number);
        match result {
            Ok(runs) => {
                victim.runs = runs;
                victim.runs_known = true;
            }
            Err(error) => self.give_up_victim(&error),
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
            let average = u64::from(run.bytes) / (run.last - run.first + 1) + 1;
            let count = (REWRITE_ENTRIES - entries).min(bytes_max / average + 1);
            let Some((from, span)) = self.index.live_part(run, victim.number, victim.from, count) else {
                victim.go_on_to_next_run();
                continue;
            };
            let count = u64::from(span.count);
            parts.push((run.log, span));
            entries += count;
            bytes += count * average;
            let is_last = from + count > run.last;
            victim.from = from + count;
            if is_last {
                victim.go_on_to_next_run();
            }
        }
        parts
    }

    pub(super) fn rewrite_gathered(&mut self, result: io::Result<Fetched>) {
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
        for message in &fetched.messages {
            if !self.index.is_in(number, message.log, message.sequence) {
                continue;
            }
            let body = &fetched.bytes[message.start..message.start + message.length];
            let (log, sequence, timestamp) = (message.log, message.sequence, message.timestamp);
            let appended = self
                .records
                .append_message(true, log, sequence, timestamp, &[body], &mut self.segments);
            let Some(appended) = appended else { return };
            self.statistics.records += 1;
            self.statistics.rewritten_bytes += u64::from(appended.size);
        }
        self.rewriter.wait_for = self.records.appended();
        self.submit();
    }

    fn end_victim(&mut self) {
        if let Some(victim) = self.rewriter.victim.take() {
            self.segments.set_rewritten(victim.number);
            self.statistics.rewritten_segments += 1;
        }
    }

    fn give_up_victim(&mut self, error: &io::Error) {
        if !is_damage(error) {
            // The error may pass. The segment can be chosen again once something else has become durable.
            self.rewriter.victim = None;
            self.rewriter.wait_for = self.records.durable() + 1;
            return;
        }
        self.completions
            .push(Completion::Warning(format!("a segment cannot be rewritten: {error}")));
        self.end_victim();
    }
}
