//! What was told of whom, and when: nobody fills a log by coming again and again.

use std::collections::HashMap;
use std::time::Instant;

use crate::limits::{TOLD_EVERY, TOLD_MAX};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Told(HashMap<String, Instant>);

impl Told {
    /// Whether somebody is to be told of now, which counts as done.
    pub(crate) fn is_due(&mut self, who: &str, now: Instant) -> bool {
        if self
            .0
            .get(who)
            .is_some_and(|at| now.saturating_duration_since(*at) < TOLD_EVERY)
        {
            return false;
        }
        if self.0.len() >= TOLD_MAX {
            self.0.retain(|_, at| now.saturating_duration_since(*at) < TOLD_EVERY);
        }
        // So many parties within a minute are an attack; those that are new are told of no more.
        if self.0.len() >= TOLD_MAX {
            return false;
        }
        self.0.insert(who.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_of_once_a_minute_and_not_without_end() {
        let (mut told, start) = (Told::default(), Instant::now());
        assert!(told.is_due("a", start));
        assert!(!told.is_due("a", start + TOLD_EVERY / 2));
        assert!(told.is_due("b", start));
        assert!(told.is_due("a", start + TOLD_EVERY));
        let due = (0..10 * TOLD_MAX).filter(|number| told.is_due(&number.to_string(), start + TOLD_EVERY));
        assert!(due.count() < TOLD_MAX);
        assert!(told.is_due("late", start + 3 * TOLD_EVERY));
    }
}
