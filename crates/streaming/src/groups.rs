//! Queue groups (`streaming-protocol.md` §5.6): who gets the next message, and how pending messages change hands.

use crate::delivery::{Attempt, Batch};
use crate::effects::Effects;
use crate::engine::{Engine, Reader, Work};
use crate::state::{GroupKey, Hold, Phase, SubscriptionKey};
use crate::time::Now;
use crate::timers::Timer;

impl Engine {
    /// Sends new messages of the group's channel to its members while one of them can take some.
    pub(crate) fn advance_group(
        &mut self,
        now: Now,
        key: GroupKey,
        batch: Option<&Batch<'_>>,
        effects: &mut Effects<'_>,
    ) {
        loop {
            let group = &self.groups[key.0];
            if group.reading.is_some() || group.retry_timer.is_some() {
                return;
            }
            let channel = &self.channels[group.channel.0];
            let next = (group.last_sent + 1).max(channel.first);
            let to = channel.durable_last;
            if next > to {
                self.groups[key.0].catching_up = None;
                return;
            }
            let Some(member) = self.choose_for_new(key) else { return };
            if !self.spend() {
                return self.queue_group(key);
            }
            match self.send(now, member, next, 0, batch, effects) {
                Attempt::Sent => {
                    self.groups[key.0].last_sent = next;
                    self.record_first(now, member, next, effects);
                    self.rotate(key, member);
                }
                Attempt::Missing => self.groups[key.0].last_sent = next,
                Attempt::Cold => {
                    let channel = self.groups[key.0].channel;
                    self.groups[key.0].catching_up.get_or_insert((now.monotonic, next));
                    let reading = self.read(channel, Reader::Group(key), next, to, effects);
                    self.groups[key.0].reading = Some(reading);
                    return;
                }
                Attempt::Unreachable => {
                    let group = &mut self.groups[key.0];
                    if !group.queued {
                        group.queued = true;
                        self.stranded.push(Work::Group(key, group.number));
                    }
                    return;
                }
            }
        }
    }

    /// Among the members that may take a message: the healthy one with the fewest pending, else the first. None while a
    /// member is on hold: what it holds goes out again before anything new.
    fn choose_for_new(&self, key: GroupKey) -> Option<SubscriptionKey> {
        let mut best: Option<(usize, SubscriptionKey)> = None;
        let mut fallback = None;
        for &member in &self.groups[key.0].members {
            let subscription = &self.subscriptions[member.0];
            if subscription.hold != Hold::Released {
                return None;
            }
            if subscription.phase != Phase::Active || subscription.waits().paused.is_some() || subscription.is_stalled()
            {
                continue;
            }
            fallback = fallback.or(Some(member));
            let pending = subscription.pending.len();
            if best.is_none_or(|(fewest, _)| pending < fewest) && !self.is_failing(member) {
                best = Some((pending, member));
            }
        }
        best.map(|(_, member)| member).or(fallback)
    }

    /// As for new messages, but MaxInflight does not count when there is no other choice.
    pub(crate) fn choose_for_redelivery(&self, key: GroupKey) -> Option<SubscriptionKey> {
        let mut best: Option<(usize, SubscriptionKey)> = None;
        let mut fallback = None;
        for &member in &self.groups[key.0].members {
            let subscription = &self.subscriptions[member.0];
            if subscription.phase != Phase::Active || subscription.waits().paused.is_some() {
                continue;
            }
            fallback = fallback.or(Some(member));
            let pending = subscription.pending.len();
            if !subscription.is_stalled() && best.is_none_or(|(fewest, _)| pending < fewest) && !self.is_failing(member)
            {
                best = Some((pending, member));
            }
        }
        best.map(|(_, member)| member).or(fallback)
    }

    /// A member at the head that got a message goes to the tail.
    pub(crate) fn rotate(&mut self, key: GroupKey, member: SubscriptionKey) {
        let members = &mut self.groups[key.0].members;
        if members.len() > 1 && members.front() == Some(&member) {
            members.rotate_left(1);
        }
    }

    /// A redelivered message goes from one member to another: pending there, implicitly acknowledged here.
    pub(crate) fn move_pending(
        &mut self,
        now: Now,
        from: SubscriptionKey,
        to: SubscriptionKey,
        sequence: u64,
        count: u32,
        effects: &mut Effects<'_>,
    ) {
        let unsettled = self.unsettled.get(self.subscriptions[from.0].unsettled);
        if unsettled.is_some_and(|unsettled| !unsettled.sent.is_empty() || !unsettled.taken.is_empty()) {
            // That it got the message must be on record before that it gave it away.
            self.settle_subscription(from, effects);
        }
        let giver = &mut self.subscriptions[from.0];
        giver.pending.remove(sequence);
        let number = giver.number;
        let deadline = now.monotonic.saturating_add(self.subscriptions[to.0].ack_wait);
        self.take_over(to, number, sequence, deadline, count, effects);
        self.subscriptions[to.0].note_stall(now);
        if let Some(group) = self.subscriptions[to.0].group {
            self.rotate(group, to);
        }
    }

    /// Makes a message pending that subscription number `from` held.
    pub(crate) fn take_over(
        &mut self,
        key: SubscriptionKey,
        from: u64,
        sequence: u64,
        deadline: u64,
        count: u32,
        effects: &mut Effects<'_>,
    ) {
        let unsettled = self.unsettled.get(self.subscriptions[key.0].unsettled);
        if unsettled.is_some_and(|unsettled| unsettled.acked.contains(sequence)) {
            // It had it before, and gave it up: in this order on record too.
            self.settle_subscription(key, effects);
        }
        let subscription = &mut self.subscriptions[key.0];
        subscription.pending.insert(sequence);
        subscription.deadlines.insert(sequence, deadline, count);
        if subscription.phase == Phase::Active && subscription.timer.is_none_or(|timer| deadline < timer) {
            self.timers
                .set(&mut subscription.timer, Timer::Redelivery(key), Some(deadline));
        }
        self.note_unsettled(key, effects, |unsettled| unsettled.taken.push((from, sequence)));
    }

    pub(crate) fn queue_group(&mut self, key: GroupKey) {
        let group = &mut self.groups[key.0];
        if !group.queued {
            group.queued = true;
            self.work.push_back(Work::Group(key, group.number));
        }
    }

    /// The group can take more: its new messages, and whatever its members (also those that left) wait to pass on.
    pub(crate) fn queue_group_members(&mut self, key: GroupKey) {
        let group = &self.groups[key.0];
        let waiting: Vec<SubscriptionKey> = group
            .departing
            .iter()
            .chain(&group.members)
            .copied()
            .filter(|member| self.subscriptions[member.0].due)
            .collect();
        for member in waiting {
            self.queue_subscription(member);
        }
        self.queue_group(key);
    }

    pub(crate) fn cancel_group_read(&mut self, key: GroupKey) {
        let group = &mut self.groups[key.0];
        if let Some(reading) = group.reading.take() {
            self.reads.remove(&reading.ticket);
        }
        self.timers.set(&mut group.retry_timer, Timer::GroupRetry(key), None);
    }
}
