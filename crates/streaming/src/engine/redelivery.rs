//! Sending again: what is past its deadline (`streaming-protocol.md` §5.5), what a resumed durable still holds (§5.7), and
//! what was pending before a restart (§5.9).

use super::Engine;
use super::delivery::{Attempt, Batch, Found, Progress};
use crate::effects::Effects;
use crate::limits::{HELD_BACK_WAIT_NS, READ_MESSAGES_MAX, REDELIVERY_SLACK_NS, TAKEN_OVER_PER_ACK_MAX};
use crate::position::deadlines::{Run, UNKNOWN};
use crate::position::pending::Pending;
use crate::registry::keys::SubscriptionKey;
use crate::registry::subscription::{Phase, Resend};
use crate::time::Now;

/// Pending sequences that are at most this far apart are read together, with what lies between them.
const READ_GAP_MAX: u64 = 32;

impl Engine {
    pub(super) fn redelivery_due(&mut self, now: Now, key: SubscriptionKey, effects: &mut Effects<'_>) {
        let subscription = &mut self.subscriptions[key];
        if !subscription.window.fired() {
            return;
        }
        if subscription.group().is_none() && self.is_failing(key) {
            // §5.5: a client whose heartbeats fail gets nothing again until it is back.
            let window = &mut self.subscriptions[key].window;
            return window.postpone(now, key, &mut self.timers);
        }
        self.subscriptions[key].begin_due();
        self.advance(now, key.into(), None, effects);
    }

    /// Whether the owner's heartbeats fail since the subscription was created or resumed (§2.10).
    pub(super) fn is_failing(&self, key: SubscriptionKey) -> bool {
        let subscription = &self.subscriptions[key];
        subscription.client().is_some_and(|client| {
            let heartbeat = &self.clients[client].heartbeat;
            heartbeat.failed() > 0 && heartbeat.failures() > subscription.healthy_since()
        })
    }

    /// Re-sends everything past its deadline, earliest first; ends with the timer set for what remains.
    pub(super) fn redelivery_pass(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        batch: Option<&Batch<'_>>,
        effects: &mut Effects<'_>,
    ) -> Progress {
        // Who has left is not judged, and hands on what it held at once.
        let is_judged = self.subscriptions[key].phase() != Phase::Departing;
        if let Some(settled) = self.way.settles_later(now.monotonic).filter(|_| is_judged) {
            // Acks that were on their way come first.
            let subscription = &mut self.subscriptions[key];
            subscription.end_due();
            subscription.window.wait_until(settled, key, &mut self.timers);
            return Progress::Done;
        }
        let limit = now.monotonic.saturating_add(REDELIVERY_SLACK_NS);
        let mut has_worked = false;
        while let Some(mut run) = self.subscriptions[key].window.take_due(limit) {
            if has_worked && self.budget.is_spent() {
                self.subscriptions[key].window.put_back(run);
                self.queue_cursor(key.into());
                return Progress::Waiting;
            }
            let progress = self.redeliver_run(now, key, &mut run, batch, effects);
            if progress == Progress::Waiting {
                self.subscriptions[key].window.put_back(run);
                return progress;
            }
            // Also one in which nothing is pending any more: how many there are is up to the client.
            self.budget.charge(1);
            has_worked = true;
        }
        self.subscriptions[key].end_due();
        self.arm_redelivery(key);
        Progress::Done
    }

    /// Re-sends what is pending of a run, and moves its first sequence past what it dealt with.
    fn redeliver_run(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        run: &mut Run,
        batch: Option<&Batch<'_>>,
        effects: &mut Effects<'_>,
    ) -> Progress {
        loop {
            let subscription = &self.subscriptions[key];
            let Some(sequence) = subscription
                .window
                .pending()
                .next_from(run.first)
                .filter(|next| *next <= run.last)
            else {
                return Progress::Done;
            };
            run.first = sequence;
            let is_held_back = subscription.window.pending().is_held_back(sequence);
            let may_wait = is_held_back && subscription.phase() == Phase::Active;
            let receiver = match subscription.group() {
                None => key,
                // Nobody can take it: whoever becomes able to brings the whole group along.
                Some(group) => match self.groups[group].choose_for_again(key) {
                    Some(member) => member,
                    None => return Progress::Waiting,
                },
            };
            if self.subscriptions[receiver].paused().is_some() {
                return Progress::Waiting;
            }
            if !self.budget.spend() {
                self.queue_cursor(key.into());
                return Progress::Waiting;
            }
            if may_wait && self.subscriptions[receiver].is_stalled() {
                // It was not in flight: it waits for room as what is new does, but not with one who has left. Others of the run are
                // in flight, and do not wait with it: they may be what takes the room.
                let deadline = now.monotonic.saturating_add(HELD_BACK_WAIT_NS);
                self.subscriptions[key]
                    .window
                    .set_deadline(sequence, deadline, run.count);
                run.first = sequence + 1;
                continue;
            }
            let mut count = run.count.saturating_add(1);
            match self.send(now, receiver, sequence, &mut count, batch, effects) {
                Attempt::Sent if receiver == key => {
                    let subscription = &mut self.subscriptions[key];
                    let deadline = next_deadline(now, run.deadline, subscription.window.ack_wait());
                    subscription.window.sent_again(sequence, deadline, count);
                    if is_held_back {
                        self.update_standing(key);
                    }
                    // Otherwise, of members with as many pending messages, the one that did not acknowledge it would be
                    // chosen every time.
                    self.rotate(key);
                }
                Attempt::Sent => self.move_pending(now, key, receiver, sequence, count, effects),
                Attempt::Congested => continue,
                Attempt::Missing => self.drop_pending(key, sequence, effects),
                Attempt::Damaged => self.pass_over_again(now, key, receiver, sequence, run.count, effects),
                Attempt::Cold => {
                    let to = read_end(self.subscriptions[key].window.pending(), sequence).min(run.last.max(sequence));
                    self.read(key.into(), sequence, to, effects);
                    return Progress::Waiting;
                }
                Attempt::Unreachable => {
                    self.strand_cursor(key.into());
                    return Progress::Waiting;
                }
            }
            run.first = sequence + 1;
        }
    }

    /// Re-sends what is pending before anything new goes out; ends with nothing left of that.
    pub(super) fn resend_pass(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        batch: Option<&Batch<'_>>,
        effects: &mut Effects<'_>,
    ) -> Progress {
        loop {
            let subscription = &self.subscriptions[key];
            let (cursor, restarted) = match subscription.resend() {
                Resend::Nothing => return Progress::Done,
                Resend::AfterResume(cursor) => (cursor, false),
                Resend::AfterRestart(cursor) | Resend::HandOver(cursor) => (cursor, true),
            };
            let Some(sequence) = subscription.window.pending().next_from(cursor) else {
                self.end_resend(key);
                return Progress::Done;
            };
            if subscription.paused().is_some() {
                return Progress::Waiting;
            }
            if !self.budget.spend() {
                self.queue_cursor(key.into());
                return Progress::Waiting;
            }
            let (mut deadline, count) = self.subscriptions[key].window.deadlines().get(sequence);
            if self.subscriptions[key].is_sent_since(sequence) {
                self.subscriptions[key].resent(sequence);
                continue;
            }
            if restarted {
                match self.restart_deadline(now, key, sequence, batch) {
                    Some(Known::At(at)) if at > now.monotonic => {
                        let subscription = &mut self.subscriptions[key];
                        subscription.window.set_deadline(sequence, at, count);
                        subscription.resent(sequence);
                        continue;
                    }
                    Some(Known::At(at)) => deadline = at,
                    Some(Known::Missing | Known::Damaged) => {}
                    None => {
                        let to = read_end(self.subscriptions[key].window.pending(), sequence);
                        self.read(key.into(), sequence, to, effects);
                        return Progress::Waiting;
                    }
                }
            }
            let receiver = self.heir(key);
            let mut sent = count.saturating_add(1);
            match self.send(now, receiver, sequence, &mut sent, batch, effects) {
                Attempt::Sent if receiver != key => self.move_pending(now, key, receiver, sequence, sent, effects),
                Attempt::Sent => {
                    let subscription = &mut self.subscriptions[key];
                    let deadline = next_deadline(now, deadline, subscription.window.ack_wait());
                    subscription.window.sent_again(sequence, deadline, sent);
                }
                Attempt::Congested => continue,
                Attempt::Missing => self.drop_pending(key, sequence, effects),
                Attempt::Damaged => self.pass_over_again(now, key, key, sequence, count, effects),
                Attempt::Cold => {
                    let to = read_end(self.subscriptions[key].window.pending(), sequence);
                    self.read(key.into(), sequence, to, effects);
                    return Progress::Waiting;
                }
                Attempt::Unreachable => {
                    self.strand_cursor(key.into());
                    return Progress::Waiting;
                }
            }
            self.subscriptions[key].resent(sequence);
        }
    }

    /// Who is sent what a subscription has to be sent again: itself, or somebody of its group when it did not come back. When
    /// nobody there can take anything it is as if it were here.
    fn heir(&mut self, key: SubscriptionKey) -> SubscriptionKey {
        let subscription = &self.subscriptions[key];
        let (Resend::HandOver(_), Some(group)) = (subscription.resend(), subscription.group()) else {
            return key;
        };
        if let Some(member) = self.groups[group].members().choose_for_again() {
            return member;
        }
        self.subscriptions[key].keep_what_it_holds();
        self.update_standing(key);
        key
    }

    /// Everything it held was sent again or acknowledged: new messages may follow.
    fn end_resend(&mut self, key: SubscriptionKey) {
        self.subscriptions[key].end_resend();
        self.update_standing(key);
        self.arm_redelivery(key);
    }

    /// Nothing is to be sent again to a subscription that has acknowledged the rest of it, but for what it took over from others
    /// meanwhile. When there is much of that, the next ack or read goes on with it.
    pub(super) fn end_resend_if_idle(&mut self, key: SubscriptionKey) {
        for _ in 0..TAKEN_OVER_PER_ACK_MAX {
            let subscription = &self.subscriptions[key];
            let (Resend::AfterResume(from) | Resend::AfterRestart(from) | Resend::HandOver(from)) =
                subscription.resend()
            else {
                return;
            };
            match subscription.window.pending().next_from(from) {
                None => return self.end_resend(key),
                Some(sequence) if subscription.is_sent_since(sequence) => self.subscriptions[key].resent(sequence),
                Some(_) => return,
            }
        }
    }

    /// §5.9: after a restart a message is due at its timestamp plus AckWait. `None`: it has to be read first.
    fn restart_deadline(
        &self,
        now: Now,
        key: SubscriptionKey,
        sequence: u64,
        batch: Option<&Batch<'_>>,
    ) -> Option<Known> {
        let subscription = &self.subscriptions[key];
        if !self.channels[subscription.channel()].log().holds(sequence) {
            return Some(Known::Missing);
        }
        let message = match batch.and_then(|batch| batch.lookup(sequence)) {
            Some(Found::Message(message)) => message,
            Some(Found::Missing) => return Some(Known::Missing),
            Some(Found::Damaged) => return Some(Known::Damaged),
            None => {
                return self
                    .is_damaged(subscription.channel(), sequence)
                    .then_some(Known::Damaged);
            }
        };
        let age = now.wall.0.saturating_sub(message.timestamp);
        // A clock that was set back must not keep a message for longer than AckWait.
        let left = subscription
            .window
            .ack_wait()
            .saturating_sub(u64::try_from(age).unwrap_or(0));
        Some(Known::At(now.monotonic.saturating_add(left)))
    }

    /// The message does not exist any more: treated as acknowledged (§5.5, §5.8).
    pub(super) fn drop_pending(&mut self, key: SubscriptionKey, sequence: u64, effects: &mut Effects<'_>) {
        let subscription = &mut self.subscriptions[key];
        if self.channels[subscription.channel()].is_being_deleted() {
            // With its channel, as this subscription will.
            return;
        }
        if subscription.window.remove(sequence) {
            if let Some(group) = subscription.group() {
                self.groups[group].forget_holder(sequence, key);
            }
            self.update_standing(key);
            self.note_dirty(key, effects, |dirty| dirty.acked.push(sequence));
        }
    }

    /// Sets the timer for the earliest deadline of what is pending.
    pub(super) fn arm_redelivery(&mut self, key: SubscriptionKey) {
        self.subscriptions[key].window.arm(key, &mut self.timers);
    }
}

/// A deadline found after a restart.
enum Known {
    At(u64),
    Missing,
    Damaged,
}

/// A re-sent message keeps its cadence: previous deadline plus AckWait (§5.5), unless that has passed as well.
fn next_deadline(now: Now, previous: u64, ack_wait: u64) -> u64 {
    let fresh = now.monotonic.saturating_add(ack_wait);
    if previous == UNKNOWN {
        return fresh;
    }
    let kept = previous.saturating_add(ack_wait);
    if kept > now.monotonic.saturating_add(REDELIVERY_SLACK_NS) {
        kept
    } else {
        fresh
    }
}

/// Last sequence of a read that begins at a pending one: neighbours ride along, far ones do not.
fn read_end(pending: &Pending, from: u64) -> u64 {
    let limit = from.saturating_add(u64::from(READ_MESSAGES_MAX) - 1);
    let mut end = from;
    for (first, last) in pending.runs_from(from) {
        if first > end.saturating_add(READ_GAP_MAX) || first > limit {
            break;
        }
        end = last.min(limit);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    /// `streaming-protocol.md` §5.5: previous deadline + AckWait.
    #[test]
    fn deadlines_keep_their_cadence_but_not_in_the_past() {
        let now = Now {
            monotonic: 1_000_000_000_000,
            wall: Timestamp(0),
        };
        let second = 1_000_000_000;
        let ago = |seconds: u64| now.monotonic - seconds * second;
        assert_eq!(next_deadline(now, ago(1), 30 * second), ago(1) + 30 * second);
        assert_eq!(next_deadline(now, ago(100), 30 * second), now.monotonic + 30 * second);
        assert_eq!(next_deadline(now, UNKNOWN, 30 * second), now.monotonic + 30 * second);
    }

    #[test]
    fn reads_take_neighbours_along() {
        let mut pending = Pending::default();
        pending.insert_run(10, 20);
        pending.insert(40);
        pending.insert(500);
        assert_eq!(read_end(&pending, 10), 40);
        pending.insert_run(1000, 5000);
        assert_eq!(read_end(&pending, 1000), 1000 + u64::from(READ_MESSAGES_MAX) - 1);
    }
}
