//! Temporary rights to publish to reply subjects of delivered messages (core specification §3.3).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::permissions::ResponseRules;
use crate::limits::{RESPONSE_RIGHTS_MAX, RESPONSE_SWEEP_ADDITIONS, RESPONSE_SWEEP_INTERVAL};

struct Right {
    /// Answers that are left; `None` is unlimited.
    left: Option<u64>,
    until: Option<Instant>,
    /// Number of the delivery that gave it.
    number: u64,
}

/// The rights of one connection. Others add to it when they deliver, its own task takes from it.
pub(crate) struct Responses {
    rules: ResponseRules,
    rights: HashMap<Box<[u8]>, Right, RandomState>,
    number: u64,
    added: usize,
    swept: Instant,
}

impl Responses {
    pub(crate) fn new(rules: ResponseRules, now: Instant) -> Self {
        Self {
            rules,
            rights: HashMap::default(),
            number: 0,
            added: 0,
            swept: now,
        }
    }

    /// A message with this reply subject is being delivered.
    pub(crate) fn delivered(&mut self, now: Instant, reply: &[u8]) {
        self.number += 1;
        self.added += 1;
        if self.added >= RESPONSE_SWEEP_ADDITIONS
            || now.saturating_duration_since(self.swept) >= RESPONSE_SWEEP_INTERVAL
        {
            self.sweep(now);
        }
        let right = Right {
            left: self.rules.max_messages,
            until: self.rules.expires.map(|expires| end(now, expires)),
            number: self.number,
        };
        match self.rights.get_mut(reply) {
            Some(known) => *known = right,
            None => {
                self.rights.insert(reply.into(), right);
            }
        }
    }

    /// Uses a right to publish to `subject`; false when there is none.
    pub(crate) fn redeem(&mut self, now: Instant, subject: &[u8]) -> bool {
        let Some(right) = self.rights.get_mut(subject) else {
            return false;
        };
        let alive = right.until.is_none_or(|until| now < until);
        if let Some(left) = &mut right.left {
            *left = left.saturating_sub(1);
        }
        if !alive || right.left == Some(0) {
            self.rights.remove(subject);
        }
        alive
    }

    /// Forgets what has expired, and the older half when even that leaves too many.
    fn sweep(&mut self, now: Instant) {
        self.added = 0;
        self.swept = now;
        self.rights
            .retain(|_, right| right.until.is_none_or(|until| now < until));
        if self.rights.len() > RESPONSE_RIGHTS_MAX - RESPONSE_SWEEP_ADDITIONS {
            let newest = self.number;
            self.rights
                .retain(|_, right| newest - right.number < RESPONSE_RIGHTS_MAX as u64 / 2);
        }
    }
}

/// A right that ends beyond what the clock can name does not end in this process' life.
fn end(now: Instant, expires: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
    now.checked_add(expires.min(CENTURY)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn responses(max_messages: Option<u64>, expires: Option<Duration>) -> (Responses, Instant) {
        let now = Instant::now();
        let rules = ResponseRules { max_messages, expires };
        (Responses::new(rules, now), now)
    }

    #[test]
    fn a_right_ends_with_its_count() {
        let (mut responses, now) = responses(Some(2), None);
        assert!(!responses.redeem(now, b"r"));
        responses.delivered(now, b"r");
        assert!(responses.redeem(now, b"r") && responses.redeem(now, b"r") && !responses.redeem(now, b"r"));
        responses.delivered(now, b"r");
        responses.delivered(now, b"r");
        assert!(responses.redeem(now, b"r") && responses.redeem(now, b"r") && !responses.redeem(now, b"r"));
    }

    #[test]
    fn a_right_ends_with_its_time() {
        let (mut responses, now) = responses(None, Some(Duration::from_millis(50)));
        responses.delivered(now, b"r");
        assert!((0..1000).all(|_| responses.redeem(now + Duration::from_millis(49), b"r")));
        assert!(!responses.redeem(now + Duration::from_millis(50), b"r"));
        assert!(!responses.redeem(now, b"r"));
    }

    #[test]
    fn the_table_stays_bounded_and_keeps_the_newest() {
        for expires in [None, Some(Duration::MAX)] {
            let (mut responses, now) = responses(None, expires);
            for number in 0..RESPONSE_RIGHTS_MAX * 3 {
                responses.delivered(now, number.to_string().as_bytes());
                assert!(responses.rights.len() <= RESPONSE_RIGHTS_MAX);
            }
            let newest = (RESPONSE_RIGHTS_MAX * 3 - 1).to_string();
            assert!(responses.redeem(now, newest.as_bytes()) && !responses.redeem(now, b"0"));
        }
    }

    #[test]
    fn expired_rights_leave_the_table() {
        let (mut responses, now) = responses(Some(1), Some(Duration::from_millis(10)));
        for number in 0..100 {
            responses.delivered(now, format!("r{number}").as_bytes());
        }
        responses.delivered(now + RESPONSE_SWEEP_INTERVAL, b"last");
        assert_eq!(responses.rights.len(), 1);
    }
}
