//! What a plain subscription has received and acknowledged of a channel's log: where it has to go on when the server has
//! forgotten it, and what it need not see twice.

use std::collections::BTreeMap;

/// Progress in one log. A log is told from its successor, in a channel that began anew, by its messages' timestamps.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Ranges of sequences that are done with, first to last. The lowest begins at 0: what lies below the first message
    /// received was never asked for.
    done: BTreeMap<u64, u64>,
    /// The highest sequence received; 0 before the first.
    last: u64,
    /// The latest timestamp received, in nanoseconds since 1970.
    latest_ns: i64,
}

impl Progress {
    pub(crate) fn is_empty(&self) -> bool {
        self.last == 0
    }

    /// The highest sequence received; 0 before the first.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Takes note of a message. `in_flight_max` is the subscription's MaxInflight: a server has not sent more than that
    /// ahead, so what is missing further back is gone from the log and not underway.
    pub(crate) fn received(&mut self, sequence: u64, timestamp_ns: i64, in_flight_max: u64) {
        if self.is_empty() {
            self.latest_ns = timestamp_ns;
            self.finish(0, sequence.saturating_sub(1));
        } else if sequence > self.last.saturating_add(in_flight_max) {
            self.finish(self.last + 1, sequence - in_flight_max);
        }
        self.last = self.last.max(sequence);
        self.latest_ns = self.latest_ns.max(timestamp_ns);
        // An honest server leaves at most MaxInflight holes per connection; each costs a range.
        while self.done.len() as u64 > in_flight_max.saturating_mul(2).saturating_add(1) {
            let Some((_, last)) = self.done.pop_first() else { break };
            let Some((_, next_last)) = self.done.pop_first() else {
                break;
            };
            self.done.insert(0, last.max(next_last));
        }
    }

    /// A message is done with.
    pub(crate) fn acknowledged(&mut self, sequence: u64) {
        self.finish(sequence, sequence);
    }

    /// Whether a message is done with.
    pub(crate) fn is_done(&self, sequence: u64, timestamp_ns: i64) -> bool {
        let range = self.done.range(..=sequence).next_back();
        timestamp_ns <= self.latest_ns && range.is_some_and(|(_, last)| sequence <= *last)
    }

    /// Whether a message shows that the log is another one: where this log has older messages, it is newer.
    pub(crate) fn is_of_another_log(&self, sequence: u64, timestamp_ns: i64) -> bool {
        sequence <= self.last && timestamp_ns > self.latest_ns
    }

    /// Where to go on: at the last message of those done with without a hole, which shows whether the log is still the same.
    pub(crate) fn resume_at(&self) -> u64 {
        self.done.first_key_value().map_or(0, |(_, last)| *last)
    }

    fn finish(&mut self, mut first: u64, mut last: u64) {
        if let Some((&start, &end)) = self.done.range(..=first).next_back()
            && end.saturating_add(1) >= first
        {
            first = start;
            last = last.max(end);
        }
        while let Some((&start, &end)) = self.done.range(first..=last.saturating_add(1)).next() {
            self.done.remove(&start);
            last = last.max(end);
        }
        self.done.insert(first, last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages 10 to 14 received with timestamps 100 to 104; 10, 11 and 13 acknowledged.
    fn progress() -> Progress {
        let mut progress = Progress::default();
        for sequence in 10..=14u64 {
            progress.received(sequence, 90 + i64::try_from(sequence).unwrap(), 8);
        }
        for sequence in [13, 10, 11] {
            progress.acknowledged(sequence);
        }
        progress
    }

    #[test]
    fn it_goes_on_at_the_first_hole() {
        assert_eq!(Progress::default().resume_at(), 0);
        let mut progress = progress();
        assert_eq!(progress.resume_at(), 11);
        let done: Vec<u64> = (8..=15).filter(|sequence| progress.is_done(*sequence, 100)).collect();
        assert_eq!(done, [8, 9, 10, 11, 13]);
        progress.acknowledged(12);
        assert_eq!(progress.resume_at(), 13);
        progress.acknowledged(14);
        assert_eq!((progress.resume_at(), progress.done.len()), (14, 1));
    }

    #[test]
    fn what_was_lost_on_the_way_is_a_hole_and_what_the_log_has_lost_is_not() {
        let mut progress = progress();
        progress.acknowledged(12);
        progress.acknowledged(14);
        progress.received(17, 107, 8);
        progress.acknowledged(17);
        assert_eq!(progress.resume_at(), 14);
        progress.acknowledged(15);
        progress.acknowledged(16);
        assert_eq!(progress.resume_at(), 17);
        progress.received(1_000, 200, 8);
        assert_eq!(progress.resume_at(), 992);
    }

    #[test]
    fn a_newer_message_in_an_old_place_shows_another_log() {
        let progress = progress();
        assert!(progress.is_of_another_log(3, 105));
        assert!(progress.is_of_another_log(14, 105));
        assert!(!progress.is_of_another_log(15, 105));
        assert!(!progress.is_of_another_log(12, 102));
        assert!(!progress.is_done(10, 105));
        assert!(!Progress::default().is_of_another_log(1, 1));
    }

    #[test]
    fn holes_are_bounded_whatever_a_server_sends() {
        let mut progress = Progress::default();
        for sequence in (1..100_000u64).step_by(2) {
            progress.received(sequence, 1, 8);
            progress.acknowledged(sequence);
        }
        assert!(progress.done.len() <= 18, "{}", progress.done.len());
        let mut edge = Progress::default();
        edge.received(0, i64::MIN, 1);
        edge.received(u64::MAX, i64::MAX, 1);
        edge.acknowledged(u64::MAX);
        assert_eq!(edge.resume_at(), u64::MAX);
    }
}
