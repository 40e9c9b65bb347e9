//! How the archiving is, for whoever asks: `/healthz`, `/metrics`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use seaway_backup::Archived;
use seaway_config::format_size;

use crate::limits::ARCHIVE_HANGS_AFTER;

/// Shared between the thread that archives and those who ask.
#[derive(Clone, Default)]
pub(crate) struct Report(Arc<Mutex<Option<Reported>>>);

/// How it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reported {
    /// Every moment up to this one can be had, as far as it is known by now; nanoseconds since the Unix epoch.
    pub(crate) until: Option<i64>,
    /// Since when nothing is archived, and why.
    pub(crate) failing: Option<(Instant, String)>,
    /// While it is being archived: when that got on last.
    pub(crate) moved: Option<Instant>,
    /// Bytes copied to the archive by this life.
    pub(crate) copied_bytes: u64,
    /// Attempts that failed.
    pub(crate) failures: u64,
    /// Holes that were made, or found at the start.
    pub(crate) gaps: u64,
    /// Bytes that the store keeps for it at most.
    pub(crate) backlog_bytes_max: u64,
}

impl Report {
    fn lock(&self) -> MutexGuard<'_, Option<Reported>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None when nothing is archived.
    pub(crate) fn get(&self) -> Option<Reported> {
        self.lock().clone()
    }

    pub(super) fn begin(&self, backlog_bytes_max: u64) {
        *self.lock() = Some(Reported {
            backlog_bytes_max,
            ..Reported::default()
        });
    }

    /// An attempt begins, or gets on.
    pub(super) fn step(&self) {
        if let Some(reported) = self.lock().as_mut() {
            reported.moved = Some(Instant::now());
        }
    }

    /// No attempt is being made.
    pub(super) fn rest(&self) {
        if let Some(reported) = self.lock().as_mut() {
            reported.moved = None;
        }
    }

    pub(super) fn archived(&self, archived: &Archived) {
        if let Some(reported) = self.lock().as_mut() {
            reported.until = Some(archived.until).filter(|until| *until > i64::MIN);
            reported.failing = None;
            reported.copied_bytes += archived.bytes;
            reported.gaps += u64::from(archived.gap.is_some());
        }
    }

    pub(super) fn failed(&self, reason: &str) {
        if let Some(reported) = self.lock().as_mut() {
            let since = reported.failing.take().map_or_else(Instant::now, |(since, _)| since);
            reported.failing = Some((since, reason.to_owned()));
            reported.failures += 1;
        }
    }
}

impl Reported {
    /// For how long nothing has moved of what is being archived, when that is longer than a disk takes.
    fn hangs_for(&self) -> Option<Duration> {
        let stood = self.moved?.elapsed();
        (stood >= ARCHIVE_HANGS_AFTER).then_some(stood)
    }

    /// Whether it is archived, or will be without anybody's help.
    pub(crate) fn is_up(&self) -> bool {
        self.failing.is_none() && self.hangs_for().is_none()
    }

    /// What is to be looked after, when the store keeps so many bytes for the archive.
    pub(crate) fn alarm(&self, unarchived_bytes: u64) -> Option<String> {
        let kept = || {
            format!(
                "the store keeps {} of {} for it (archive_max_backlog)",
                format_size(unarchived_bytes),
                format_size(self.backlog_bytes_max)
            )
        };
        if let Some((since, reason)) = &self.failing {
            let seconds = since.elapsed().as_secs();
            return Some(format!("nothing was archived for {seconds} s: {reason}; {}", kept()));
        }
        if let Some(stood) = self.hangs_for() {
            let seconds = stood.as_secs();
            return Some(format!(
                "nothing has moved to it for {seconds} s: its disk hangs; {}",
                kept()
            ));
        }
        (unarchived_bytes > self.backlog_bytes_max / 2)
            .then(|| format!("the archive is too slow: {}; beyond that it has a gap", kept()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_looked_after_is_told_until_it_is_well() {
        let report = Report::default();
        report.failed("nobody hears this");
        assert!(report.get().is_none(), "nothing is archived");
        report.begin(1 << 30);
        let alarm = |bytes: u64| report.get().and_then(|reported| reported.alarm(bytes));
        assert_eq!(alarm(1 << 29), None);
        let slow = alarm((1 << 29) + 1).unwrap_or_default();
        assert!(slow.contains("too slow"), "{slow}");
        report.step();
        assert_eq!(alarm(0), None, "it moves");
        if let Some(reported) = report.lock().as_mut() {
            reported.moved = Instant::now().checked_sub(ARCHIVE_HANGS_AFTER);
        }
        let hanging = alarm(0).unwrap_or_default();
        assert!(hanging.contains("nothing has moved to it for"), "{hanging}");
        assert!(!report.get().unwrap_or_default().is_up());
        report.rest();
        assert_eq!(alarm(0), None, "nothing is to be moved");
        report.failed("the disk is full");
        let failing = alarm(0).unwrap_or_default();
        assert!(failing.contains("for 0 s: the disk is full"), "{failing}");
        report.archived(&Archived {
            until: 7,
            position: 3,
            bytes: 10,
            gap: Some("x".to_owned()),
        });
        assert_eq!(alarm(0), None);
        let reported = report.get().unwrap_or_default();
        let figures = (reported.until, reported.copied_bytes, reported.failures, reported.gaps);
        assert_eq!(figures, (Some(7), 10, 1, 1));
    }
}
