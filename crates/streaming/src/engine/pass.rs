//! The end of a pass. Four kinds of work wait for it, each with a share of its own, so that none can keep another waiting: what
//! was left over (mostly deliveries), limits of channels, what is to be written down, and, after a start, the ack inboxes that
//! are not listened on yet.

use super::Engine;
use crate::effects::Effects;
use crate::time::Now;
use crate::waiting::work::Work;

impl Engine {
    pub(super) fn end_pass(&mut self, now: Now, effects: &mut Effects<'_>) {
        let share = self.budget.left();
        self.restore_interest(effects);
        self.budget.begin(share);
        self.work_off(now, effects);
        self.budget.begin(share);
        self.enforce_retention(now, effects);
        self.budget.begin(share);
        self.persist(effects);
    }

    /// Goes on with work that was left over, as far as this call may.
    pub(super) fn work_off(&mut self, now: Now, effects: &mut Effects<'_>) {
        self.resume_drained(now, effects);
        // What goes back to the queue waits for its next turn.
        for _ in 0..self.work.len() {
            if self.budget.is_spent() {
                return;
            }
            let Some(work) = self.work.next() else { return };
            match work {
                Work::Advance(key, number) => {
                    if self.number_of(key) == Some(number) {
                        self.cursor_mut(key).dequeue();
                        self.advance(now, key, None, effects);
                    }
                }
                Work::Offer(key, id) => {
                    if self.channels.is(key, id) {
                        self.channels[key].offers.dequeue();
                        self.continue_offer(now, key, effects);
                    }
                }
                Work::Health(key, number, from) => {
                    if self.clients.is(key, number) {
                        self.update_health(key, from);
                    }
                }
                Work::Absorb(key, number) => {
                    if self.groups.number(key) == Some(number) {
                        self.continue_absorb(key, effects);
                    }
                }
                Work::Delete(key, id) => {
                    if self.channels.is(key, id) {
                        self.continue_deletion(key, id, effects);
                    }
                }
                Work::Sweep(key, id) => {
                    if self.channels.is(key, id) {
                        self.continue_sweep(key, id, effects);
                    }
                }
                Work::Close(key, number) => {
                    if self.clients.is(key, number) {
                        self.continue_close(now, key, effects);
                    }
                }
            }
        }
    }
}
