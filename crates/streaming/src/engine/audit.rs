//! Who changed what, and when: written down with each change, and remembered.

use super::Engine;
use crate::change::{Asked, Changed};
use crate::effects::Effects;
use crate::event::Event;
use crate::event::change::Words;
use crate::facts::{AuditFact, SERVER};
use crate::limits::AUDIT_PER_FACT;
use crate::records::Urgency;
use crate::snapshot::{AuditQuestion, AuditedChange, Page};
use crate::time::{Now, Timestamp};

impl Engine {
    /// Says in the log what is changed and by whom, and writes that down beside the change.
    pub(super) fn log_change(&mut self, now: Now, asked: &Asked<'_>, changed: Changed, effects: &mut Effects<'_>) {
        let (by, change) = (asked.by, asked.change);
        effects.event(Event::Changed { by, change, changed });
        let entry = self
            .trail
            .note(now.wall, asked.by, &Words { change, changed }.to_string());
        let mut fact = self.server_fact();
        fact.audit.push(entry);
        self.ledger.fact(SERVER, &fact, Urgency::Sync, effects);
    }

    /// The next few changes from a number on, for a checkpoint; none behind the last one.
    pub(super) fn audit_from(&self, number: u64) -> Vec<AuditFact> {
        self.trail.from(number).take(AUDIT_PER_FACT).cloned().collect()
    }

    /// Changes that operators have made, the newest first. The newest 1,000 are there.
    pub fn audit(&self, question: &AuditQuestion) -> Page<AuditedChange> {
        let since = question.since.map_or(i64::MIN, |since| since.0);
        let who = question.who.as_deref().unwrap_or_default();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let entries = self.trail.newest_first().filter(|entry| entry.time >= since);
        let mut page = Page {
            total: 0,
            items: Vec::new(),
            next: None,
        };
        for entry in entries.filter(|entry| text(&entry.by).contains(who)) {
            page.total += 1;
            if page.total > question.offset && page.items.len() < question.limit {
                page.items.push(AuditedChange {
                    number: entry.number,
                    time: Timestamp(entry.time),
                    by: text(&entry.by),
                    words: text(&entry.words),
                });
            }
        }
        page
    }
}
