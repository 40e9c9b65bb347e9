//! What a channel holds: the bounds of its log, and how much lies between them.

use crate::position::lost::Lost;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    /// First live sequence; `last + 1` when nothing is left, 0 when nothing was ever stored.
    first: u64,
    last: u64,
    /// Nothing above it is delivered or trimmed.
    durable_last: u64,
    /// Of the bodies of all live messages.
    bytes: u64,
    /// Of the last message. Times of a channel never decrease.
    last_timestamp: i64,
    /// Which of the messages between the bounds were given up at a start; none as a rule.
    lost: Lost,
}

/// The time of a new message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageTime {
    /// The clock's.
    Clock(i64),
    /// The log is ahead of the clock by so much: it goes on by as little as possible.
    Ahead {
        /// The message's time.
        timestamp: i64,
        /// Nanoseconds.
        ahead: u64,
    },
}

impl Log {
    /// A log of which everything is durable.
    pub(crate) fn recovered(first: u64, last: u64, bytes: u64, last_timestamp: i64, mut lost: Lost) -> Log {
        let first = match last {
            0 => 0,
            last => lost.trim(first.clamp(1, last.saturating_add(1))),
        };
        Log {
            first,
            last,
            durable_last: last,
            bytes,
            last_timestamp,
            lost,
        }
    }

    /// Messages that were given up, between the bounds.
    pub(crate) fn lost(&self) -> &Lost {
        &self.lost
    }

    /// Durable messages from a sequence on.
    pub(crate) fn waiting_from(&self, sequence: u64) -> u64 {
        (self.durable_last + 1)
            .saturating_sub(sequence)
            .saturating_sub(self.lost.messages_from(sequence))
    }

    /// First live sequence; `last + 1` when nothing is left, 0 when nothing was ever stored.
    #[inline]
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Last sequence that was stored; 0 for none.
    #[inline]
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Last durable sequence: nothing above it is delivered or trimmed.
    #[inline]
    pub(crate) fn durable_last(&self) -> u64 {
        self.durable_last
    }

    /// Live messages.
    #[inline]
    pub(crate) fn messages(&self) -> u64 {
        if self.last == 0 {
            0
        } else {
            (self.last + 1)
                .saturating_sub(self.first)
                .saturating_sub(self.lost.messages())
        }
    }

    /// Those of them from a sequence on.
    pub(crate) fn messages_from(&self, sequence: u64) -> u64 {
        let sequence = sequence.max(self.first).max(1);
        (self.last + 1)
            .saturating_sub(sequence)
            .saturating_sub(self.lost.messages_from(sequence))
    }

    /// Bytes of their bodies.
    #[inline]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Time of the last message, also when that has gone.
    pub(crate) fn last_timestamp(&self) -> i64 {
        self.last_timestamp
    }

    /// Whether a sequence is between the bounds, and was not given up.
    #[inline]
    pub(crate) fn holds(&self, sequence: u64) -> bool {
        self.first <= sequence && sequence <= self.last && !self.lost.contains(sequence)
    }

    /// Whether there is something that limits may remove.
    pub(crate) fn has_durable(&self) -> bool {
        self.messages() > 0 && self.first <= self.durable_last
    }

    /// The time of a message that is stored now, whatever the clock does.
    #[inline]
    pub(crate) fn time_of_next(&self, wall: i64) -> MessageTime {
        match self.last_timestamp.saturating_sub(wall) {
            ..=0 => MessageTime::Clock(wall),
            ahead => MessageTime::Ahead {
                timestamp: self.last_timestamp.saturating_add(1),
                ahead: ahead.unsigned_abs(),
            },
        }
    }

    /// A message was appended.
    #[inline]
    pub(super) fn push(&mut self, bytes: u64, timestamp: i64) {
        self.last += 1;
        self.first = self.first.max(1);
        self.bytes += bytes;
        self.last_timestamp = timestamp;
    }

    /// Everything up to a sequence is durable.
    #[inline]
    pub(crate) fn became_durable(&mut self, sequence: u64) {
        self.durable_last = sequence;
    }

    /// The oldest message goes, of which the store says sequence and size; gives back how many that were, and their bytes.
    pub(super) fn drop_oldest(&mut self, sequence: u64, size: u32) -> (u64, u64) {
        let before = self.messages();
        self.first = self.lost.trim(sequence.saturating_add(1).max(self.first + 1));
        let bytes = u64::from(size).min(self.bytes);
        self.bytes -= bytes;
        (before - self.messages(), bytes)
    }

    /// Messages below a sequence go, all at once; gives back how many that were. Their bytes count until [`Log::recount`].
    pub(super) fn purge(&mut self, first: u64) -> u64 {
        let before = self.messages();
        self.first = self.lost.trim(first.clamp(self.first, self.last.saturating_add(1)));
        before - self.messages()
    }

    /// The store says how many bytes there are; how many were counted before.
    pub(super) fn recount(&mut self, bytes: u64) -> u64 {
        std::mem::replace(&mut self.bytes, bytes)
    }

    /// Gives back the bytes counted in a log without messages: none are.
    pub(super) fn drop_remainder(&mut self) -> u64 {
        match self.messages() {
            0 => std::mem::take(&mut self.bytes),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_again() {
        let mut log = Log::default();
        assert_eq!((log.messages(), log.holds(0), log.holds(1)), (0, true, false));
        log.push(10, 100);
        log.push(20, 101);
        assert_eq!((log.first(), log.last(), log.messages(), log.bytes()), (1, 2, 2, 30));
        assert!(!log.has_durable());
        log.became_durable(1);
        assert!(log.has_durable());
        assert_eq!(log.drop_oldest(1, 10), (1, 10));
        assert!(!log.has_durable() && log.holds(2) && !log.holds(1));
        log.became_durable(2);
        // The store may say less, or more, than was counted.
        assert_eq!(log.drop_oldest(2, 5), (1, 5));
        assert_eq!((log.first(), log.messages(), log.drop_remainder()), (3, 0, 15));
        log.push(1, 102);
        assert_eq!(
            (log.first(), log.last(), log.bytes(), log.drop_remainder()),
            (3, 3, 1, 0)
        );
    }

    #[test]
    fn times_never_decrease() {
        let log = Log::recovered(1, 1, 1, 50, Lost::default());
        assert_eq!(log.time_of_next(60), MessageTime::Clock(60));
        assert_eq!(log.time_of_next(50), MessageTime::Clock(50));
        let (timestamp, ahead) = (51, 10);
        assert_eq!(log.time_of_next(40), MessageTime::Ahead { timestamp, ahead });
    }

    #[test]
    fn what_was_given_up_counts_for_nothing_and_is_gone_over() {
        let mut lost = Lost::default();
        lost.push(3, 5);
        lost.push(8, 9);
        let mut log = Log::recovered(1, 10, 50, 0, lost);
        assert_eq!(
            (log.messages(), log.holds(2), log.holds(3), log.holds(10)),
            (5, true, false, true)
        );
        assert_eq!(
            (log.waiting_from(1), log.waiting_from(4), log.waiting_from(10)),
            (5, 3, 1)
        );
        assert_eq!((log.drop_oldest(1, 10), log.first()), ((1, 10), 2));
        assert_eq!((log.drop_oldest(2, 10), log.first()), ((1, 10), 6));
        assert_eq!((log.drop_oldest(7, 10), log.first(), log.messages()), ((2, 10), 10, 1));
        log.push(1, 1);
        assert_eq!((log.messages(), log.last()), (2, 11));
        // All of it.
        let mut lost = Lost::default();
        lost.push(1, 10);
        let log = Log::recovered(1, 10, 0, 0, lost);
        assert_eq!((log.first(), log.last(), log.messages()), (11, 10, 0));
    }

    #[test]
    fn what_is_purged_is_gone_at_once_and_its_bytes_once_they_are_known() {
        let mut lost = Lost::default();
        lost.push(5, 6);
        let mut log = Log::recovered(1, 9, 70, 0, lost);
        assert_eq!(
            (log.messages_from(0), log.messages_from(6), log.messages_from(10)),
            (7, 3, 0)
        );
        assert_eq!((log.purge(5), log.first(), log.messages()), (4, 7, 3));
        assert!(!log.holds(4) && log.holds(7));
        assert_eq!((log.recount(30), log.bytes()), (70, 30));
        assert_eq!((log.purge(2), log.first()), (0, 7), "nothing comes back");
        assert_eq!(
            (log.purge(u64::MAX), log.first(), log.last(), log.messages()),
            (3, 10, 9, 0)
        );
        assert_eq!(Log::default().purge(1), 0);
    }

    #[test]
    fn bounds_that_cannot_be_are_mended() {
        assert_eq!(Log::recovered(0, 7, 1, 0, Lost::default()).first(), 1);
        assert_eq!(Log::recovered(99, 7, 1, 0, Lost::default()).first(), 8);
        assert_eq!(Log::recovered(5, 0, 0, 0, Lost::default()).first(), 0);
    }
}
