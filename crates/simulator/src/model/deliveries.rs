//! Deliveries and acks (`streaming-protocol.md` §5.3 to §5.8): each one sent must be one that may be sent now.

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{Ack, MsgProto};

use super::state::{Due, Floating, Pending, Phase, Subscription};
use super::{Current, Model, Sent, text};

/// An ack deadline this close counts as passed (§5.5), with a little for deadlines that are shared.
const SLACK_NS: u64 = 20_000_000;

/// The longest AckWait that clients of the simulation ask for.
const ACK_WAIT_LONGEST_NS: u64 = 3_000_000_000;

impl Model {
    /// Something was handed to the bus for a subscription.
    pub fn delivered(&mut self, channel: u64, sequence: u64, inbox: &[u8], count: u32, payload: &[u8]) {
        if self.sent.is_some() {
            self.object("two messages were sent before the first was accounted for");
        }
        self.sent = Some(Sent {
            inbox: text(inbox),
            channel,
            sequence,
            count,
        });
        self.totals.out_messages += 1;
        self.totals.out_bytes += payload.len() as u64;
        let Some((name, channel)) = self.state.channels.iter().find(|(_, known)| known.id == channel) else {
            return self.object(format!(
                "a message of channel id {channel} was sent, which does not exist"
            ));
        };
        let Some(message) = channel.messages.get(&sequence) else {
            return self.object(format!("{name}:{sequence} was sent and does not exist"));
        };
        if message.position > self.durable {
            return self.object(format!("{name}:{sequence} was sent before it was durable"));
        }
        let Ok(sent) = MsgProto::decode(payload) else {
            return self.object(format!("{name}:{sequence} was sent and cannot be decoded"));
        };
        let same = sent.sequence == sequence
            && sent.subject == name.as_bytes()
            && sent.reply == message.reply
            && sent.data == message.data
            && sent.timestamp == message.timestamp;
        if !same {
            return self.object(format!(
                "{name}:{sequence} was sent with other contents than were published"
            ));
        }
        if sent.redelivered != (count > 0) || sent.redelivery_count != count {
            self.object(format!(
                "{name}:{sequence} carries another redelivery count than {count}"
            ));
        }
    }

    /// The subscription of what was just sent takes no more for now.
    pub fn congested(&mut self, number: u64, destination: u64) {
        self.paused.insert(number, destination);
        self.count("pauses");
    }

    /// What was just sent belongs to this subscription.
    pub(crate) fn delivering(&mut self, number: u64, sequence: u64, count: u32) {
        let Some(sent) = self.sent.take() else {
            return self.object(format!("{sequence} was accounted to {number} and not sent"));
        };
        let Some(known) = self.state.subscriptions.get(&number).cloned() else {
            return self.object(format!("{sequence} was sent to subscription {number}, which is gone"));
        };
        if sent.sequence != sequence || sent.count != count || sent.inbox != known.inbox {
            return self.object(format!("what was sent is not what was accounted for: {sent:?}"));
        }
        if self
            .state
            .channels
            .get(&known.channel)
            .is_none_or(|channel| channel.id != sent.channel)
        {
            return self.object(format!("{number} got a message of another channel"));
        }
        if !self.may_get(number, &known, sequence) {
            return;
        }
        if count == 0 {
            self.first_delivery(number, &known, sequence);
        } else {
            self.count("redeliveries");
            self.totals.redelivered += 1;
            self.redelivery(number, &known, sequence, Some(count));
        }
    }

    /// A message would have been sent again to this subscription, and nobody listened: not counted, and due again like one that was.
    pub(crate) fn unheard(&mut self, number: u64, sequence: u64) {
        self.count("redeliveries unheard");
        let Some(known) = self.state.subscriptions.get(&number).cloned() else {
            return self.object(format!("{sequence} was for subscription {number}, which is gone"));
        };
        if self.may_get(number, &known, sequence) {
            self.redelivery(number, &known, sequence, None);
        }
    }

    /// Whether anything may be sent to a subscription now.
    fn may_get(&mut self, number: u64, known: &Subscription, sequence: u64) -> bool {
        let obstacle = if known.phase != Phase::Active {
            format!("it is {:?}", known.phase)
        } else if self.state.is_halted(known) {
            "an operator has paused it".to_owned()
        } else if !self.bus_up {
            "the bus is down".to_owned()
        } else if self.paused.contains_key(&number) {
            "its destination is congested".to_owned()
        } else {
            return true;
        };
        self.object(format!("{number} got {sequence} while {obstacle}"));
        false
    }

    fn first_delivery(&mut self, number: u64, known: &Subscription, sequence: u64) {
        let first = self.state.channels[&known.channel].first;
        if let Some(held) = known.hold.range(first..).find(|held| known.pending.contains_key(held)) {
            return self.object(format!(
                "{number} got {sequence} before {held}, which it holds, came again"
            ));
        }
        if known.in_flight(first) >= known.max_in_flight {
            return self.object(format!("{number} got {sequence} beyond its MaxInflight"));
        }
        let cursor = match &known.group {
            None => known.cursor,
            Some(group) => {
                let key = (known.channel.clone(), group.clone());
                self.check_choice(number, known, first);
                self.state.groups[&key].cursor
            }
        };
        let next = (cursor + 1).max(first);
        if sequence != next {
            return self.object(format!("{number} got {sequence} and {next} is next"));
        }
        self.count("first deliveries");
        let deadline = self.now.monotonic + known.ack_wait;
        let due = Due::Between(deadline, deadline);
        let group = known.group.clone();
        let channel = known.channel.clone();
        let known = self.state.subscription(number).expect("the caller has seen it");
        known.cursor = known.cursor.max(sequence);
        let pending = Pending {
            count: 0,
            due,
            passed_over: false,
        };
        known.pending.insert(sequence, pending);
        if let Some(group) = group {
            self.state.group(&channel, &group).expect("members have a group").cursor = sequence;
        }
    }

    /// §5.6: the one with the fewest pending of those that are neither stalled nor failing.
    fn check_choice(&mut self, number: u64, chosen: &Subscription, first: u64) {
        let key = (chosen.channel.clone(), chosen.group.clone().unwrap_or_default());
        let uncertain =
            |member: &Subscription| !member.maybe.is_empty() || member.live_pending(first) < member.pending.len();
        let group = &self.state.groups[&key];
        let members: Vec<(u64, &Subscription)> = group
            .members
            .iter()
            .map(|member| (*member, &*self.state.subscriptions[member]))
            .collect();
        let counted = group.floating.values().any(|floating| floating.counted);
        // Deadlines that are being handled, and clients that are being closed, are seen a moment later.
        let closing = members.iter().any(|(_, member)| {
            let client = self.state.clients.get(&member.client);
            client.is_none_or(|client| client.closing)
        });
        let unclear = counted || closing || self.members_change || members.iter().any(|(_, member)| uncertain(member));
        if matches!(self.current, Current::Tick) || unclear {
            return;
        }
        let best = members
            .iter()
            .filter(|(other, member)| {
                let failing = self
                    .state
                    .clients
                    .get(&member.client)
                    .is_some_and(|client| client.is_failing_since(member.healthy_since));
                member.phase == Phase::Active
                    && !failing
                    && !member.may_be_on_hold()
                    && member.in_flight(0) < member.max_in_flight
                    && !self.paused.contains_key(other)
            })
            .map(|(_, member)| member.in_flight(0))
            .min();
        let failing = self
            .state
            .clients
            .get(&chosen.client)
            .is_some_and(|client| client.is_failing_since(chosen.healthy_since));
        if best.is_some_and(|best| failing || chosen.in_flight(0) > best) {
            let held: Vec<(u64, usize)> = members
                .iter()
                .map(|(other, member)| (*other, member.in_flight(0)))
                .collect();
            self.object(format!(
                "member {number} was chosen, and another holds fewer messages: {held:?}"
            ));
        }
    }

    /// A message was sent again so many times by now; none when nobody heard it this time.
    fn redelivery(&mut self, number: u64, known: &Subscription, sequence: u64, count: Option<u32>) {
        let Some(holder) = self.holder(number, known, sequence) else {
            return self.object(format!("{number} got {sequence} again, which it does not hold"));
        };
        let held = self.held_by(&holder, sequence);
        // What may have been acknowledged before a crash counts as any other message of before it.
        let is_uncertain = held.is_none() || matches!(holder, Holder::Group(_));
        let held = held.unwrap_or(Pending {
            count: 0,
            due: Due::ByTimestamp(0),
            passed_over: false,
        });
        if let Some(count) = count.filter(|count| *count != held.count + 1) {
            return self.object(format!(
                "{number} got {sequence} with count {count} after {}",
                held.count
            ));
        }
        let on_hold = known.hold.contains(&sequence);
        if !on_hold && !self.is_due(known, sequence, held.due) {
            return self.object(format!(
                "{number} got {sequence} again too early: {held:?} at {:?}",
                self.now
            ));
        }
        let mut due = if held.passed_over {
            self.count("mended messages sent");
            Due::Between(self.now.monotonic, self.now.monotonic + known.ack_wait)
        } else {
            self.next_due(known.ack_wait, held.due)
        };
        if is_uncertain && let Due::Between(_, latest) = &mut due {
            // Its deadline may be one that was set since the crash, by the AckWait of whoever held it then.
            *latest = latest.saturating_add(ACK_WAIT_LONGEST_NS);
        }
        self.hand_over(number, known, sequence, &holder);
        let known = self.state.subscription(number).expect("the caller has seen it");
        let pending = Pending {
            count: count.unwrap_or(held.count),
            due,
            passed_over: false,
        };
        known.pending.insert(sequence, pending);
    }

    /// Whoever held a message does so no more; `number` will.
    pub(crate) fn hand_over(&mut self, number: u64, known: &Subscription, sequence: u64, holder: &Holder) {
        match *holder {
            Holder::Member(holder) if holder == number => {}
            Holder::Member(holder) => {
                self.count("moves between members");
                let giver = self.state.subscription(holder).expect("it was just seen");
                giver.pending.remove(&sequence);
                giver.maybe.remove(&sequence);
                giver.hold.remove(&sequence);
                self.moved(known, sequence);
            }
            Holder::Group(_) => self.moved(known, sequence),
        }
        let known = self.state.subscription(number).expect("the caller has seen it");
        known.hold.remove(&sequence);
        known.maybe.remove(&sequence);
        known.acked_unrecorded.remove(&sequence);
    }

    fn moved(&mut self, known: &Subscription, sequence: u64) {
        let group = known.group.clone().unwrap_or_default();
        if let Some(group) = self.state.group(&known.channel, &group) {
            group.floating.remove(&sequence);
            group.moved_unrecorded.insert(sequence);
        }
    }

    /// What is known of a message that somebody holds.
    pub(crate) fn held_by(&self, holder: &Holder, sequence: u64) -> Option<Pending> {
        match holder {
            Holder::Member(holder) => self.state.subscriptions[holder].pending.get(&sequence).copied(),
            Holder::Group(floating) => Some(Pending {
                count: floating.count,
                due: Due::Between(0, 0),
                passed_over: false,
            }),
        }
    }

    pub(crate) fn holder(&self, number: u64, known: &Subscription, sequence: u64) -> Option<Holder> {
        if known.pending.contains_key(&sequence) {
            return Some(Holder::Member(number));
        }
        if let Some(name) = &known.group {
            let group = &self.state.groups[&(known.channel.clone(), name.clone())];
            let other = group
                .members
                .iter()
                .find(|member| self.state.subscriptions[member].pending.contains_key(&sequence));
            if let Some(other) = other {
                return Some(Holder::Member(*other));
            }
            if let Some(floating) = group.floating.get(&sequence) {
                return Some(Holder::Group(*floating));
            }
            let other = group
                .members
                .iter()
                .find(|member| self.state.subscriptions[member].maybe.contains(&sequence));
            if let Some(other) = other {
                return Some(Holder::Member(*other));
            }
        }
        known.maybe.contains(&sequence).then_some(Holder::Member(number))
    }

    fn is_due(&self, known: &Subscription, sequence: u64, due: Due) -> bool {
        let now = self.now.monotonic;
        match due {
            Due::Between(earliest, _) => earliest <= now + SLACK_NS,
            Due::ByTimestamp(_) => {
                let Some(message) = self.state.channels[&known.channel].messages.get(&sequence) else {
                    return false;
                };
                // The clock may have been further ahead when the deadline was found.
                let latest_wall = i128::from(now) + i128::from(self.wall_lead);
                let shortest = self.shortest_ack_wait(known);
                // A clock that was set back keeps nothing for longer than AckWait.
                i128::from(message.timestamp) + i128::from(shortest) <= latest_wall + i128::from(SLACK_NS)
                    || self.life_began + shortest <= now + SLACK_NS
            }
        }
    }

    /// A message may be due by the AckWait of the member that held it.
    fn shortest_ack_wait(&self, known: &Subscription) -> u64 {
        let Some(name) = &known.group else {
            return known.ack_wait;
        };
        self.state.groups[&(known.channel.clone(), name.clone())]
            .members
            .iter()
            .map(|member| self.state.subscriptions[member].ack_wait)
            .min()
            .unwrap_or(known.ack_wait)
    }

    /// §5.5: the previous deadline plus AckWait, or now plus AckWait; whichever it is, not sooner than now.
    fn next_due(&self, ack_wait: u64, previous: Due) -> Due {
        let now = self.now.monotonic;
        match previous {
            Due::Between(earliest, latest) => Due::Between(
                (now + ack_wait).min((earliest + ack_wait).max(now)),
                latest.max(now).saturating_add(ack_wait),
            ),
            Due::ByTimestamp(_) => Due::Between(now, now + ack_wait),
        }
    }

    /// An ack arrives on the bus, and leads to that subscription.
    pub(crate) fn ack_arrives(&mut self, inbox: &str, listening: Option<u64>) {
        let expected = self.state.by_ack_inbox(inbox);
        if expected != listening {
            return self.object(format!(
                "an ack on {inbox} leads to {listening:?} instead of {expected:?}"
            ));
        }
        if listening.is_none() {
            self.count("acks for nobody");
        }
    }

    /// An ack of a subscription.
    pub(crate) fn ack(&mut self, number: u64, payload: &[u8]) {
        let Ok(ack) = Ack::decode(payload) else { return };
        let Some(known) = self.state.subscriptions.get(&number).cloned() else {
            return self.object(format!("an ack of {number}, which does not exist"));
        };
        if known.channel.as_bytes() != ack.subject {
            return self.count("acks that name another channel");
        }
        match self.holder(number, &known, ack.sequence) {
            None => self.count("acks of what is not pending"),
            Some(Holder::Member(holder)) => {
                self.count(if holder == number {
                    "acks"
                } else {
                    "acks of what has moved"
                });
                let holder = self.state.subscription(holder).expect("it was just seen");
                holder.pending.remove(&ack.sequence);
                holder.hold.remove(&ack.sequence);
                holder.maybe.remove(&ack.sequence);
                holder.acked_unrecorded.insert(ack.sequence);
            }
            Some(Holder::Group(_)) => {
                self.count("acks of what was left behind");
                let name = known.group.clone().unwrap_or_default();
                if let Some(group) = self.state.group(&known.channel, &name) {
                    group.floating.remove(&ack.sequence);
                }
                // On record it is with whoever holds it; here it is as good as with this one.
                if let Some(known) = self.state.subscription(number) {
                    known.acked_unrecorded.insert(ack.sequence);
                }
            }
        }
    }
}

/// Who holds a message.
pub(crate) enum Holder {
    Member(u64),
    Group(Floating),
}
