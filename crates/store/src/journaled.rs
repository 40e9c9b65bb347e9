//! What the stores over a journal share: its words turned into the port's.

use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use seaway_journal::{Completion as Finished, Journal, LogId, MESSAGE_OVERHEAD_BYTES, RecoveredLog, Replay};
use seaway_streaming::{Admission, ChannelId, Head, Need, Position, Refusal, Ticket, Unreadable};

use crate::port::{Completion, Histogram, ReadMessages, Recovery, Shared, Statistics};
use crate::progress::Progress;

/// Gives what a journal replays to a recovery.
pub struct Replaying<'a> {
    /// Which.
    pub recovery: &'a mut dyn Recovery,
    /// Told how far it is.
    pub progress: Arc<Progress>,
}

impl Replay for Replaying<'_> {
    fn fact(&mut self, kind: u8, body: &[u8]) {
        self.recovery.fact(kind, body);
    }

    fn trim(&mut self, _log: LogId, _first: u64, _body: &[u8]) {
        // The log's bounds come at the end.
    }

    fn delete(&mut self, log: LogId, _body: &[u8]) {
        self.recovery.channel_deleted(ChannelId(log.0));
    }

    fn fact_given_up(&mut self, kind: u8, body: &[u8]) {
        self.recovery.fact_given_up(kind, body);
    }

    fn deletion_given_up(&mut self, log: LogId) {
        self.recovery.deletion_given_up(ChannelId(log.0));
    }

    fn lost(&mut self, log: LogId, from: u64, to: u64) {
        self.recovery.lost(ChannelId(log.0), from, to);
    }

    fn progressed(&mut self, bytes_done: u64, bytes_total: u64, records: u64) {
        self.progress.set(bytes_done, bytes_total, records);
    }

    fn verify(&mut self) -> Result<(), String> {
        self.recovery.verify()
    }

    fn log_recovered(&mut self, log: RecoveredLog) {
        self.progress.add_channel();
        // Of messages that were given up there are no bytes.
        let count = (log.last + 1).saturating_sub(log.first).saturating_sub(log.lost);
        let overhead = count.saturating_mul(MESSAGE_OVERHEAD_BYTES as u64);
        let bodies = log.bytes.saturating_sub(overhead);
        self.recovery
            .channel(ChannelId(log.log.0), log.first, log.last, bodies, log.last_timestamp);
    }
}

/// As [`Records::admission`](seaway_streaming::Records::admission).
pub fn admission(journal: &mut Journal, need: Need, bytes: usize) -> Admission {
    let need = match need {
        Need::Ordinary => seaway_journal::Need::Ordinary,
        Need::Consumer => seaway_journal::Need::Consumer,
        Need::Essential => seaway_journal::Need::Essential,
    };
    journal.admission(bytes as u64, need).map_err(|refusal| match refusal {
        seaway_journal::Refusal::Poisoned(_) => Refusal::Poisoned(refusal.to_string()),
        _ => Refusal::NoSpace(refusal.to_string()),
    })
}

/// As [`Records::head_from`](seaway_streaming::Records::head_from); when it has to be read the journal has a job for that.
pub fn head_from(journal: &mut Journal, channel: ChannelId, from: u64) -> Head {
    match journal.head_from(LogId(channel.0), from) {
        Poll::Ready(Some((sequence, size, timestamp))) => Head::Known {
            sequence,
            size,
            timestamp,
        },
        Poll::Ready(None) => Head::Empty,
        Poll::Pending => Head::Reading,
    }
}

/// As [`Records::live_bytes`](seaway_streaming::Records::live_bytes).
pub fn live_bytes(journal: &Journal, channel: ChannelId, messages: u64) -> u64 {
    let records = journal.log_state(LogId(channel.0)).map_or(0, |log| log.bytes);
    records.saturating_sub(messages.saturating_mul(MESSAGE_OVERHEAD_BYTES as u64))
}

/// Its figures. `checkpoint_at`: when the newest checkpoint of this process became durable.
pub fn statistics(of: &Journal, checkpoint_at: Option<Instant>) -> Statistics {
    let journal = of.statistics();
    Statistics {
        disk_bytes: journal.disk_bytes,
        live_bytes: journal.live_bytes,
        cache_bytes: journal.cache_bytes,
        segments: journal.segments,
        batches: journal.commits,
        records: journal.records,
        batch_bytes: histogram(&journal.batch_bytes),
        batch_records: histogram(&journal.batch_records),
        sync_nanoseconds: histogram(&journal.commit_nanoseconds),
        checkpoints: journal.checkpoints,
        checkpoint_age_nanoseconds: checkpoint_at.map(|at| u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX)),
        checkpoint_position: Position(journal.checkpoint_position),
        position: Position(of.appended()),
        checkpoint_bytes: journal.checkpoint_bytes,
        tail_bytes: journal.tail_bytes,
        backlog_bytes: of.backlog_bytes(),
        rewritten_bytes: journal.rewritten_bytes,
        rewritten_segments: journal.rewritten_segments,
        recycled_segments: journal.recycled,
        unarchived_bytes: journal.unarchived_bytes,
        archive_given_up: journal.archive_given_up,
    }
}

impl Shared for seaway_journal::Messages {
    fn bytes(&self) -> &[u8] {
        self.bytes()
    }
}

fn histogram(histogram: &seaway_journal::Histogram) -> Histogram {
    Histogram {
        cumulative: histogram.cumulative().collect(),
        count: histogram.count(),
        sum: histogram.sum(),
    }
}

/// What the owner hears of something the journal finished; `full`: the operator was told that the disk is full, and not yet that it no
/// longer is.
pub fn completion(finished: Finished, full: &mut bool) -> Option<Completion> {
    Some(match finished {
        Finished::Durable(position) => Completion::Durable(Position(position)),
        Finished::Read { ticket, messages, .. } => {
            let messages = messages.map(|messages| {
                let entries = messages.places().collect();
                ReadMessages::shared(Arc::new(messages), entries)
            });
            let messages = messages.map_err(|error| Unreadable {
                from: error.from,
                to: error.to,
                damaged: error.damaged,
                reason: error.reason,
            });
            Completion::Read {
                ticket: Ticket(ticket),
                messages,
            }
        }
        Finished::Sought { ticket, sequence, .. } => Completion::Sought {
            ticket: Ticket(ticket),
            sequence: sequence.map_err(|error| error.to_string()),
        },
        Finished::HeadReady(log) => Completion::HeadKnown(ChannelId(log.0)),
        Finished::HeadUnreadable(log, error) => Completion::Warning(format!(
            "Size and time of the oldest messages of channel id {} cannot be read: {error}",
            log.0
        )),
        Finished::CheckpointNeeded => Completion::CheckpointNeeded,
        Finished::CheckpointAbandoned(reason) => Completion::CheckpointAbandoned(reason),
        Finished::Poisoned(reason) => Completion::Poisoned(reason),
        Finished::SpaceLow(reason) => {
            *full = true;
            Completion::Warning(format!("Publishes are refused: {reason}"))
        }
        Finished::SpaceBack if std::mem::take(full) => {
            Completion::Warning("There is space for new messages again".to_owned())
        }
        Finished::Warning(text) => Completion::Warning(text),
        _ => return None,
    })
}
