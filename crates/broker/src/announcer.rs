//! Tells one other server what this server's own subscribers want, in order with the messages to it: whoever asks a question there
//! has told before where the answer goes.

use std::sync::{Arc, Mutex};

use seaway_nats_protocol::route::{write_interest, write_no_interest};

use crate::limits::{INTEREST_PER_SLICE, KEPT_CAPACITY_BYTES, SYNC_PER_SLICE};
use crate::lock::lock;
use crate::outbound::Outbound;
use crate::routing::{Announced, InterestProgress, LocalInterest};

/// See the module.
pub(crate) struct Announcer {
    interest: Arc<LocalInterest>,
    listener: u32,
    /// Held from taking news to handing over its bytes, so that nothing overtakes them.
    telling: Mutex<Telling>,
}

#[derive(Default)]
struct Telling {
    /// Kept for its room.
    lines: Vec<u8>,
    /// Nothing is taken any more: what was told is being forgotten, and the number may be another server's.
    has_left: bool,
}

impl Announcer {
    /// From now on changes are on its list; `None` when there are too many servers.
    pub(crate) fn new(interest: &Arc<LocalInterest>) -> Option<Self> {
        Some(Self {
            interest: Arc::clone(interest),
            listener: interest.listen()?,
            telling: Mutex::default(),
        })
    }

    /// Hands a batch over behind everything that was wanted, or not wanted any more, before it.
    pub(crate) fn send(&self, outbound: &Outbound, batch: &mut Vec<u8>, (messages, bytes): (u64, u64), inline: bool) {
        let hand_over = |batch: &mut Vec<u8>| match inline {
            true => outbound.send(batch, messages, bytes),
            false => outbound.queue(batch, messages, bytes),
        };
        if !self.interest.has_news_for(self.listener) {
            return hand_over(batch);
        }
        let mut telling = lock(&self.telling);
        if telling.has_left {
            return hand_over(batch);
        }
        let lines = &mut telling.lines;
        while self.interest.take(self.listener, INTEREST_PER_SLICE, &mut |announced| {
            write(lines, &announced)
        }) {}
        lines.append(batch);
        hand_over(lines);
        // Not before: whoever sees no news sends without the lock.
        self.interest.was_told(self.listener);
        if lines.capacity() > KEPT_CAPACITY_BYTES {
            *lines = Vec::new();
        }
    }

    /// Tells what changed, if anything did.
    pub(crate) fn tell(&self, outbound: &Outbound) {
        if self.interest.has_news_for(self.listener) {
            self.send(outbound, &mut Vec::new(), (0, 0), true);
        }
    }

    /// Whether so much has changed that it should not wait.
    pub(crate) fn is_behind(&self) -> bool {
        self.interest.has_news_for(self.listener) && self.interest.listed(self.listener) >= INTEREST_PER_SLICE
    }

    /// Goes on telling everything there is. Returns whether that was all.
    pub(crate) fn tell_all(&self, outbound: &Outbound, progress: &mut InterestProgress) -> bool {
        let mut telling = lock(&self.telling);
        if telling.has_left {
            return true;
        }
        let lines = &mut telling.lines;
        let is_done = self
            .interest
            .tell_all(self.listener, progress, SYNC_PER_SLICE, &mut |announced| {
                write(lines, &announced);
            });
        outbound.send(lines, 0, 0);
        is_done
    }

    /// Nothing is told any more.
    pub(crate) fn leave(&self) {
        // Waits for whoever is telling; nobody does behind it.
        lock(&self.telling).has_left = true;
        self.interest.leave(self.listener);
    }

    /// Goes on making room for another server, after [`Announcer::leave`]. Returns whether that is done.
    pub(crate) fn forget(&self, progress: &mut InterestProgress) -> bool {
        self.interest.forget(self.listener, progress, INTEREST_PER_SLICE)
    }
}

fn write(lines: &mut Vec<u8>, announced: &Announced) {
    let (account, subject, queue) = (announced.account(), announced.subject(), announced.queue());
    match announced.count {
        0 => write_no_interest(lines, account, subject, queue),
        count => write_interest(lines, account, subject, queue.map(|queue| (queue, count))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::counters::Counters;
    use crate::kind::Kind;
    use crate::options::BrokerOptions;
    use crate::outbound::Bounds;

    /// A batch that is flushed while its route ends must not leave a mark for whoever gets the number next (§4.5).
    #[test]
    fn who_has_left_takes_nothing_from_the_next() {
        let interest = Arc::new(LocalInterest::new());
        let options = BrokerOptions::default();
        let counters = Arc::new(Counters::new(options.outbound_bytes_max));
        let address = ([127, 0, 0, 1], 6222).into();
        let outbound = Outbound::new(1, address, Bounds::new(&options, Kind::Peer), &counters, None);
        let gone = Announcer::new(&interest).unwrap();
        interest.add(b"A", b"foo", None);
        gone.leave();
        let mut forgotten = InterestProgress::default();
        while !gone.forget(&mut forgotten) {}
        let next = Announcer::new(&interest).unwrap();
        assert_eq!(next.listener, gone.listener);
        interest.add(b"A", b"bar", None);
        gone.send(&outbound, &mut b"late".to_vec(), (1, 4), false);
        gone.tell_all(&outbound, &mut InterestProgress::default());
        let mut told = Vec::new();
        while interest.take(next.listener, 10, &mut |one| told.push(one.subject().to_vec())) {}
        let mut progress = InterestProgress::default();
        while !interest.tell_all(next.listener, &mut progress, 10, &mut |one| {
            told.push(one.subject().to_vec())
        }) {}
        told.sort();
        assert_eq!(told, [&b"bar"[..], b"foo"]);
    }
}
