//! How subscriptions begin, change owner and end (`streaming-protocol.md` §5.1, §5.6, §5.7).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{SubscriptionRequest, SubscriptionResponse};
use seaway_streaming::{StartLine, SubscriptionVerb};

use super::answers::{Kind, Owed};
use super::requests::Plan;
use super::state::{Due, Floating, Group, Phase, Subscription};
use super::{Current, Model, names, text};

impl Model {
    pub(crate) fn subscription_event(
        &mut self,
        verb: SubscriptionVerb,
        client: &[u8],
        channel: &[u8],
        inbox: &[u8],
        number: u64,
        start: StartLine,
    ) {
        match verb {
            SubscriptionVerb::Started | SubscriptionVerb::Joined | SubscriptionVerb::Resumed => {
                self.subscribed(verb, client, channel, inbox, number, start);
            }
            SubscriptionVerb::Removed | SubscriptionVerb::MemberRemoved | SubscriptionVerb::Suspended => {
                self.left(verb, number);
            }
        }
    }

    fn subscribed(
        &mut self,
        verb: SubscriptionVerb,
        client: &[u8],
        channel: &[u8],
        inbox: &[u8],
        number: u64,
        start: StartLine,
    ) {
        let Current::Subscribe {
            request,
            expected,
            sought,
        } = &self.current
        else {
            return self.object(format!("subscription {number} began without a request"));
        };
        let (request, expected, sought) = (request.clone(), *expected, *sought);
        if request.client_id != client || request.subject != channel || request.inbox != inbox {
            return self.object(format!("subscription {number} is not what was asked for"));
        }
        if self.answer(expected).is_none_or(|answer| !answer.error.is_empty()) {
            return self.object(format!("subscription {number} began, and the request is to be refused"));
        }
        let plan = self.plan(&request, false);
        self.remember();
        match (plan, verb) {
            (Ok(Plan::New), SubscriptionVerb::Started) => {
                let (first, last) = self.starts(&request, sought);
                let Some(sequence) = first_of(start).filter(|sequence| (first..=last).contains(&(sequence - 1))) else {
                    return self.object(format!(
                        "subscription {number} begins at {start:?}, not after {first}..={last}"
                    ));
                };
                self.create(&request, number, sequence - 1);
            }
            (Ok(Plan::Join), SubscriptionVerb::Joined) => {
                let key = group_key(&request);
                let cursor = self.state.groups[&key].cursor;
                self.count("group joins");
                self.create(&request, number, cursor);
            }
            (Ok(Plan::Resume(known) | Plan::Replace(known)), SubscriptionVerb::Resumed) if known == number => {
                self.resume(&request, number);
            }
            _ => {
                return self.object(format!(
                    "subscription {number} was {verb:?}, which is not what was asked for"
                ));
            }
        }
        if let Some(known) = self.state.subscription(number) {
            known.expected = expected;
        }
        if let Some(answer) = self.answer(expected) {
            answer.kind = Kind::Subscribe { number: Some(number) };
            answer.owed = Owed::WhenWritten;
        }
    }

    /// The lowest and the highest cursor that the request may begin with.
    fn starts(&self, request: &SubscriptionRequest, sought: Option<(i64, u64)>) -> (u64, u64) {
        let Some((time, lowest)) = sought else {
            let time = self.now.wall.0.saturating_sub(request.start_time_delta);
            let start = self.start(request, time);
            return (start, start);
        };
        // The log went on while the start was looked up.
        let channel = &self.state.channels[&text(&request.subject)];
        let below = channel.first.saturating_sub(1);
        let highest = lowest.max(self.start(request, time));
        (lowest.clamp(below, channel.last), highest.clamp(below, channel.last))
    }

    fn create(&mut self, request: &SubscriptionRequest, number: u64, cursor: u64) {
        self.count("subscriptions");
        if self.state.subscriptions.contains_key(&number) {
            return self.object(format!("the number {number} was given twice"));
        }
        let group = (!request.q_group.is_empty()).then(|| group_key(request).1);
        let client = text(&request.client_id);
        let healthy_since = self.state.clients.get(&client).map_or(0, |client| client.failures);
        let subscription = Subscription {
            channel: text(&request.subject),
            client,
            inbox: text(&request.inbox),
            ack_inbox: None,
            durable: text(&request.durable_name),
            group: group.clone(),
            max_in_flight: usize::try_from(request.max_in_flight).unwrap_or(1),
            ack_wait_seconds: request.ack_wait_in_secs,
            ack_wait: self.ack_wait(request.ack_wait_in_secs),
            phase: Phase::Unconfirmed,
            expected: 0,
            cursor,
            pending: BTreeMap::new(),
            hold: BTreeSet::new(),
            maybe: BTreeSet::new(),
            acked_unrecorded: BTreeSet::new(),
            recorded_cursor: cursor,
            healthy_since,
            halted: false,
        };
        self.state.subscriptions.insert(number, Rc::new(subscription));
        if group.is_some() {
            let group = self.state.groups.entry(group_key(request)).or_insert_with(|| {
                Rc::new(Group {
                    cursor,
                    recorded_cursor: cursor,
                    ..Group::default()
                })
            });
            Rc::make_mut(group).members.push(number);
        }
    }

    fn ack_wait(&self, seconds: i32) -> u64 {
        u64::try_from(seconds)
            .unwrap_or(1)
            .saturating_mul(self.options.ack_wait_unit_ns)
    }

    fn resume(&mut self, request: &SubscriptionRequest, number: u64) {
        self.count("resumptions");
        let now = self.now.monotonic;
        let ack_wait = self.ack_wait(request.ack_wait_in_secs);
        let client = text(&request.client_id);
        let healthy_since = self.state.clients.get(&client).map_or(0, |client| client.failures);
        let known = self.state.subscription(number).expect("the plan names what exists");
        if known.phase != Phase::Offline {
            let text = format!("subscription {number} was resumed while it is active");
            return self.object(text);
        }
        // All of it is sent again at once; what comes after that still goes by the deadlines of before.
        for pending in known.pending.values_mut() {
            if std::mem::take(&mut pending.passed_over) {
                pending.due = Due::Between(0, u64::MAX);
            }
            if let Due::ByTimestamp(latest) = pending.due {
                let latest = if latest == u64::MAX {
                    now + known.ack_wait
                } else {
                    latest
                };
                pending.due = Due::Between(0, latest);
            }
        }
        known.client = client;
        known.inbox = text(&request.inbox);
        known.ack_inbox = None;
        known.max_in_flight = usize::try_from(request.max_in_flight).unwrap_or(1);
        known.ack_wait_seconds = request.ack_wait_in_secs;
        known.ack_wait = ack_wait;
        known.phase = Phase::Unconfirmed;
        known.healthy_since = healthy_since;
        if known.group.is_some() {
            let group = self.state.groups.get_mut(&group_key(request)).expect("it has a shadow");
            let group = Rc::make_mut(group);
            group.shadow = None;
            group.members.push(number);
        }
    }

    /// The response leaves: the subscription takes messages from now on, what it holds first.
    pub(crate) fn confirmed(&mut self, number: u64, expected: u64, payload: &[u8]) {
        let Ok(response) = SubscriptionResponse::decode(payload) else {
            return;
        };
        let ack_inbox = text(&response.ack_inbox);
        let token = ack_inbox.strip_prefix("_INBOX.").unwrap_or_default();
        if token.len() != 22 || !token.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return self.object(format!("{ack_inbox} is not how an ack inbox is called"));
        }
        let has_it = |known: &Rc<Subscription>| known.ack_inbox.as_ref() == Some(&ack_inbox);
        if self.state.subscriptions.values().any(has_it) {
            return self.object(format!("ack inbox {ack_inbox} was given twice"));
        }
        let Some(known) = self.state.subscription(number) else {
            return;
        };
        // An answer to an earlier request opens the way for nobody.
        if known.phase == Phase::Unconfirmed && known.expected == expected {
            known.ack_inbox = Some(ack_inbox);
            known.phase = Phase::Active;
            known.hold = known.pending.keys().chain(&known.maybe).copied().collect();
        }
    }

    fn left(&mut self, verb: SubscriptionVerb, number: u64) {
        if self.is_removed_by_change(number) {
            return;
        }
        self.remember();
        let Some(known) = self.state.subscriptions.get(&number).cloned() else {
            return self.object(format!("subscription {number} ended, which does not exist"));
        };
        let is_asked_for = matches!(self.current, Current::Leave { .. });
        if !is_asked_for && self.goes_with_its_channel(number, &known) {
            return;
        }
        let closing = self
            .state
            .clients
            .get(&known.client)
            .is_some_and(|client| client.closing);
        let keeps = match &self.current {
            // Of several members on one inbox any may be meant.
            Current::Leave {
                number: left, keeps, ..
            } if *left == number || self.is_beside(*left, &known) => *keeps,
            Current::Subscribe { request, .. } if matches!(self.plan(request, false), Ok(Plan::Replace(replaced)) if replaced == number) =>
            {
                self.count("durables replaced");
                true
            }
            _ if closing => true,
            _ => return self.object(format!("subscription {number} ended for no reason")),
        };
        if known.phase == Phase::Offline {
            return self.object(format!("subscription {number} ended while it is offline"));
        }
        // What it was sent and what it acknowledged is written before (§2.6).
        self.subscription_recorded(number);
        self.paused.remove(&number);
        let now = self.now.monotonic;
        match &known.group {
            None => self.plain_left(verb, number, &known, keeps),
            Some(group) => self.member_left(verb, number, &known, &group.clone(), keeps),
        }
        if !self.state.is_used(&known.channel)
            && let Some(channel) = self.state.channel(&known.channel)
        {
            channel.idle_since = now;
        }
        if matches!(self.current, Current::Leave { .. }) {
            self.current = Current::Nothing;
        }
    }

    /// The channel of a subscription was deleted, and the subscription is forgotten: whether that is so.
    fn goes_with_its_channel(&mut self, number: u64, known: &Subscription) -> bool {
        let channel = self.state.channels.get(&known.channel);
        let is_deleted = channel
            .and_then(|channel| channel.deleted_at)
            .is_some_and(|at| at <= self.durable);
        if is_deleted {
            self.count("subscriptions that go with their channel");
            self.state.subscriptions.remove(&number);
            self.paused.remove(&number);
            if let Some(group) = known
                .group
                .as_ref()
                .and_then(|name| self.state.group(&known.channel, name))
            {
                group.members.retain(|member| *member != number);
            }
        }
        is_deleted
    }

    /// Whether another subscription is on the same inbox, in the same group.
    fn is_beside(&self, number: u64, known: &Subscription) -> bool {
        self.state.subscriptions.get(&number).is_some_and(|other| {
            other.inbox == known.inbox
                && other.channel == known.channel
                && other.group.is_some()
                && known.group.is_some()
        })
    }

    fn plain_left(&mut self, verb: SubscriptionVerb, number: u64, known: &Subscription, keeps: bool) {
        let expected = if !known.durable.is_empty() && keeps {
            SubscriptionVerb::Suspended
        } else {
            SubscriptionVerb::Removed
        };
        if verb != expected {
            return self.object(format!("subscription {number} is {verb:?} and should be {expected:?}"));
        }
        if expected == SubscriptionVerb::Removed {
            self.state.subscriptions.remove(&number);
        } else {
            self.suspend(number);
        }
    }

    fn suspend(&mut self, number: u64) {
        let known = self.state.subscription(number).expect("the caller has seen it");
        known.phase = Phase::Offline;
        known.hold.clear();
    }

    fn member_left(&mut self, verb: SubscriptionVerb, number: u64, known: &Subscription, name: &str, keeps: bool) {
        let key = (known.channel.clone(), name.to_owned());
        let Some(group) = self.state.groups.get_mut(&key).map(Rc::make_mut) else {
            return self.object(format!("subscription {number} was in no group"));
        };
        if let Some(place) = group.members.iter().position(|member| *member == number) {
            // The last one takes the freed place.
            group.members.swap_remove(place);
        }
        let expected = if !group.members.is_empty() {
            SubscriptionVerb::MemberRemoved
        } else if !known.durable.is_empty() && keeps {
            SubscriptionVerb::Suspended
        } else {
            SubscriptionVerb::Removed
        };
        if verb != expected {
            return self.object(format!("member {number} is {verb:?} and should be {expected:?}"));
        }
        match expected {
            SubscriptionVerb::MemberRemoved => {
                for (sequence, pending) in &known.pending {
                    let floating = Floating {
                        count: pending.count,
                        owed: true,
                        counted: false,
                    };
                    group.floating.insert(*sequence, floating);
                }
                for sequence in &known.maybe {
                    group.floating.entry(*sequence).or_insert(Floating {
                        count: 0,
                        owed: false,
                        counted: false,
                    });
                }
                group.recorded_cursor = group.cursor;
                let handed_on = !known.pending.is_empty();
                self.state.subscriptions.remove(&number);
                if handed_on {
                    self.count("members that left messages behind");
                }
            }
            SubscriptionVerb::Suspended => {
                group.shadow = Some(number);
                let cursor = group.cursor;
                group.recorded_cursor = cursor;
                group.moved_unrecorded.clear();
                for floating in group.floating.values_mut() {
                    // Its record takes them over, one after the other.
                    floating.counted = true;
                }
                let shadow = self.state.subscription(number).expect("it was just seen");
                shadow.cursor = cursor;
                shadow.recorded_cursor = cursor;
                self.suspend(number);
                self.count("groups without members");
            }
            _ => {
                self.state.subscriptions.remove(&number);
                self.state.groups.remove(&key);
            }
        }
    }
}

/// Channel and name of the group a request is for.
pub(crate) fn group_key(request: &SubscriptionRequest) -> (String, String) {
    let name = names::group(&text(&request.durable_name), &text(&request.q_group));
    (text(&request.subject), name)
}

fn first_of(start: StartLine) -> Option<u64> {
    match start {
        StartLine::None => None,
        StartLine::NewOnly { sequence }
        | StartLine::Last { sequence }
        | StartLine::Time { sequence, .. }
        | StartLine::First { sequence } => Some(sequence),
        StartLine::Sequence { actual, .. } => Some(actual),
    }
}
