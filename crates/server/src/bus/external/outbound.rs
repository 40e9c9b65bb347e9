//! What is on its way to the server: bounded bytes, and the questions by which it is known what the server has looked at.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seaway_nats_protocol::write::PING;

use super::party::Party;
use crate::limits::{
    EXTERNAL_OUTBOUND_BYTES_HIGH, EXTERNAL_OUTBOUND_BYTES_LOW, EXTERNAL_OUTBOUND_BYTES_MAX, EXTERNAL_STANDS_STILL,
};

/// Refusals of the server that are kept for whoever asks.
const REFUSALS_KEPT: usize = 8;

/// How a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is none.
    Down,
    /// There is one, and it is being told what is wanted.
    Joining,
    /// It carries messages.
    Up,
}

/// See the module.
pub(super) struct Outbound {
    pub(super) stage: Stage,
    bytes: Vec<u8>,
    /// Of what the writer has taken, what it has not written.
    unwritten: usize,
    /// Who waits until there is room again.
    waiting: Vec<Arc<Party>>,
    /// Questions without an answer, oldest first: their numbers, and when they were put.
    asked: VecDeque<(u64, Instant)>,
    last_asked: u64,
    /// When the last question was put that has its answer.
    heard_until: Option<Instant>,
    /// The quickest answer of this connection.
    quickest: Option<Duration>,
    /// When an answer came last that took much longer than that: neither the server nor what it carries for others moved before.
    stood_still_until: Option<Instant>,
    /// What the server refused, in its words.
    refusals: Vec<String>,
}

impl Outbound {
    pub(super) fn new() -> Outbound {
        Outbound {
            stage: Stage::Down,
            bytes: Vec::new(),
            unwritten: 0,
            waiting: Vec::new(),
            asked: VecDeque::new(),
            last_asked: 0,
            heard_until: None,
            quickest: None,
            stood_still_until: None,
            refusals: Vec::new(),
        }
    }

    /// Bytes that wait for the socket.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.unwritten
    }

    /// A connection begins; what was left of the one before is lost.
    pub(super) fn begin(&mut self) {
        self.bytes = Vec::new();
        self.unwritten = 0;
        self.asked.clear();
        self.heard_until = None;
        self.quickest = None;
        self.stood_still_until = None;
        self.stage = Stage::Joining;
    }

    /// It has ended; who waited for room hears that this has gone.
    pub(super) fn end(&mut self) -> Vec<Arc<Party>> {
        self.stage = Stage::Down;
        self.bytes = Vec::new();
        self.unwritten = 0;
        self.asked.clear();
        self.heard_until = None;
        std::mem::take(&mut self.waiting)
    }

    /// Appends what has to be said whatever waits: what is wanted, and answers to questions. Nothing while there is no connection.
    pub(super) fn say(&mut self, bytes: &[u8]) {
        if self.stage != Stage::Down {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Appends messages, and empties what they were gathered in; false when they are lost because there is no room or no connection.
    pub(super) fn send(&mut self, messages: &mut Vec<u8>) -> bool {
        let is_taken = self.stage == Stage::Up && self.len() + messages.len() <= EXTERNAL_OUTBOUND_BYTES_MAX;
        if is_taken && self.bytes.is_empty() {
            std::mem::swap(&mut self.bytes, messages);
        } else if is_taken {
            self.bytes.extend_from_slice(messages);
        }
        messages.clear();
        is_taken
    }

    /// Whether so much more is too much for whoever can wait.
    pub(super) fn is_full(&self, more: usize) -> bool {
        self.len() + more >= EXTERNAL_OUTBOUND_BYTES_HIGH
    }

    /// Tells a party when there is room again; once, however often it asked.
    pub(super) fn wait_for_room(&mut self, party: &Arc<Party>) {
        if !self.waiting.iter().any(|waiting| waiting.id == party.id) {
            self.waiting.push(Arc::clone(party));
        }
    }

    /// Everything that waits, for the writer, which gives an empty buffer in exchange.
    pub(super) fn take(&mut self, buffer: &mut Vec<u8>) -> bool {
        debug_assert!(buffer.is_empty() && self.unwritten == 0);
        std::mem::swap(&mut self.bytes, buffer);
        self.unwritten = buffer.len();
        self.unwritten > 0
    }

    /// The writer has written so much; who waited and has room now.
    pub(super) fn wrote(&mut self, bytes: usize) -> Vec<Arc<Party>> {
        self.unwritten = self.unwritten.saturating_sub(bytes);
        if self.waiting.is_empty() || self.len() > EXTERNAL_OUTBOUND_BYTES_LOW {
            return Vec::new();
        }
        std::mem::take(&mut self.waiting)
    }

    /// Puts a question, behind everything that was said; its number.
    pub(super) fn ask(&mut self) -> u64 {
        self.last_asked += 1;
        if self.stage != Stage::Down {
            self.asked.push_back((self.last_asked, Instant::now()));
            self.bytes.extend_from_slice(PING);
        }
        self.last_asked
    }

    /// The server has answered the oldest question; its number.
    pub(super) fn answered(&mut self) -> Option<u64> {
        let (number, asked) = self.asked.pop_front()?;
        self.heard_until = Some(asked);
        self.took(asked.elapsed());
        Some(number)
    }

    /// An answer took so long.
    fn took(&mut self, answer: Duration) {
        let quickest = self.quickest.map_or(answer, |quickest| quickest.min(answer));
        self.quickest = Some(quickest);
        if answer >= quickest + EXTERNAL_STANDS_STILL {
            self.stood_still_until = Some(Instant::now());
        }
    }

    /// Puts a question unless one waits for its answer, so that it is seen when the server stands still.
    pub(super) fn watch(&mut self) {
        if self.asked.is_empty() {
            self.ask();
        }
    }

    /// When it was seen last that the server moves again after it stood still.
    pub(super) fn stood_still_until(&self) -> Option<Instant> {
        self.stood_still_until
    }

    /// Since when the oldest question waits for its answer.
    pub(super) fn unanswered_for(&self) -> Option<Duration> {
        self.asked.front().map(|(_, asked)| asked.elapsed())
    }

    /// Whether everything has come that the server had for this connection at that moment. What has not is asked for, if it is not yet.
    pub(super) fn has_heard_until(&mut self, moment: Instant) -> bool {
        if self.stage == Stage::Down {
            return false;
        }
        if self.heard_until.is_some_and(|until| until >= moment) {
            return true;
        }
        if self.asked.back().is_none_or(|(_, asked)| *asked < moment) {
            self.ask();
        }
        false
    }

    /// Keeps what the server refused.
    pub(super) fn refused(&mut self, words: &str) {
        if self.refusals.len() < REFUSALS_KEPT && !self.refusals.iter().any(|known| known == words) {
            self.refusals.push(words.to_owned());
        }
    }

    pub(super) fn take_refusals(&mut self) -> Vec<String> {
        std::mem::take(&mut self.refusals)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::bus::words::{Batch, Listener};

    struct Nobody;

    impl Listener for Nobody {
        fn deliver(&self, _batch: Batch) {}
    }

    fn up() -> Outbound {
        let mut outbound = Outbound::new();
        outbound.begin();
        outbound.stage = Stage::Up;
        outbound
    }

    #[test]
    fn messages_never_take_more_than_there_is_room_for() {
        let mut outbound = up();
        let piece = vec![7; EXTERNAL_OUTBOUND_BYTES_MAX / 4];
        let mut taken = 0;
        for _ in 0..8 {
            taken += usize::from(outbound.send(&mut piece.clone()));
        }
        assert_eq!((taken, outbound.len()), (4, 4 * piece.len()));
        outbound.end();
        assert!(!outbound.send(&mut piece.clone()), "there is no connection");
        assert_eq!(outbound.len(), 0);
    }

    #[test]
    fn who_waits_is_told_once_when_there_is_room_and_when_the_connection_ends() {
        let party = Arc::new(Party {
            id: 1,
            listener: Arc::new(Nobody),
            is_closed: Arc::default(),
            wants_all: AtomicBool::new(false),
        });
        let mut outbound = up();
        outbound.send(&mut vec![7; EXTERNAL_OUTBOUND_BYTES_HIGH]);
        assert!(outbound.is_full(0));
        outbound.wait_for_room(&party);
        outbound.wait_for_room(&party);
        let mut buffer = Vec::new();
        assert!(outbound.take(&mut buffer));
        assert!(outbound.wrote(1).is_empty() && outbound.is_full(1));
        let rest = buffer.len() - 1 - EXTERNAL_OUTBOUND_BYTES_LOW;
        assert_eq!(outbound.wrote(rest).len(), 1);
        assert!(outbound.wrote(1).is_empty());
        outbound.wait_for_room(&party);
        assert_eq!(outbound.end().len(), 1);
    }

    #[test]
    fn what_has_come_is_known_by_answers_to_questions_put_later() {
        let mut outbound = up();
        let moment = Instant::now();
        assert!(!outbound.has_heard_until(moment));
        assert!(!outbound.has_heard_until(moment), "one question is enough");
        assert_eq!((outbound.len(), outbound.answered()), (PING.len(), Some(1)));
        assert!(outbound.has_heard_until(moment));
        assert!(!outbound.has_heard_until(Instant::now()));
        assert_eq!(outbound.asked.len(), 1);
        outbound.end();
        assert!(!outbound.has_heard_until(moment));
        outbound.begin();
        assert!(!outbound.has_heard_until(moment), "an earlier connection heard it");
        assert_eq!(outbound.answered(), Some(3));
        assert_eq!(outbound.answered(), None, "an answer without a question");
    }

    #[test]
    fn an_answer_that_takes_much_longer_than_others_tells_of_a_server_that_stood_still() {
        let mut outbound = up();
        outbound.watch();
        outbound.watch();
        assert_eq!(outbound.asked.len(), 1, "one question is enough");
        outbound.took(Duration::from_millis(300));
        assert_eq!(outbound.stood_still_until(), None, "it is far away");
        outbound.took(Duration::from_millis(300) + EXTERNAL_STANDS_STILL / 2);
        assert_eq!(outbound.stood_still_until(), None);
        outbound.took(Duration::from_millis(300) + EXTERNAL_STANDS_STILL);
        assert!(outbound.stood_still_until().is_some());
        outbound.end();
        outbound.begin();
        assert_eq!(outbound.stood_still_until(), None, "another connection");
    }
}
