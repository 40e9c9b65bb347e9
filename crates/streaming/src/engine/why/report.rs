//! From a question to an answer: selection, facts, and the verdict over all.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::assess::Case;
use super::nearest::nearest;
use super::words;
use crate::engine::Engine;
use crate::limits::{WHY_NAMES_MAX, WHY_RANGES_MAX};
use crate::registry::keys::{ChannelKey, SubscriptionKey};
use crate::registry::subscription::Subscription;
use crate::time::Now;
use crate::why::{Fact, FactValue, SequenceRange, Verdict, WhyQuestion, WhyReport, WhySubscription};

impl Engine {
    /// Says why the subscriptions that a question names are, or are not, receiving. Reads only.
    pub fn why(&self, now: Now, question: &WhyQuestion) -> WhyReport {
        let mut report = self.report(now, question);
        if self.ledger.is_poisoned() && report.verdict != Verdict::JournalPoisoned {
            // Whatever else is the matter, nobody could do anything about it before.
            words::store_failed(&mut report.words, &mut report.advice);
        }
        report
    }

    fn report(&self, now: Now, question: &WhyQuestion) -> WhyReport {
        let Some(channel) = self.channels.find(&question.channel) else {
            let names = nearest(
                &question.channel,
                self.channels
                    .between(Bound::Unbounded, Bound::Excluded(&question.channel)),
                self.channels
                    .between(Bound::Included(&question.channel), Bound::Unbounded),
            );
            return self.unknown(question, Verdict::ChannelUnknown, names, None);
        };
        let all = self.channel_records(channel);
        let matching: Vec<SubscriptionKey> = all.iter().copied().filter(|key| self.matches(*key, question)).collect();
        if matching.is_empty() {
            return self.nothing_matches(question, channel, &all);
        }
        let store_full = question.store_full.as_deref();
        let case = |key: &SubscriptionKey| Case::new(self, now, store_full, *key);
        let mut counts = [0usize; Verdict::ALL.len()];
        for verdict in matching.iter().filter_map(|key| case(key).verdicts().first().copied()) {
            counts[verdict as usize] += 1;
        }
        let gravest = Verdict::ALL.into_iter().find(|verdict| counts[*verdict as usize] > 0);
        let verdict = gravest.unwrap_or(Verdict::NothingNew);
        let page = matching.iter().skip(question.offset).take(question.limit);
        let subscriptions: Vec<WhySubscription> = page.map(|key| explain(&case(key))).collect();
        let (words, advice) = match (&subscriptions[..], matching.len()) {
            ([only], 1) => (only.words.clone(), only.advice.clone()),
            _ => words::several(&text(&question.channel), &counts),
        };
        WhyReport {
            channel: text(&question.channel),
            verdict,
            words,
            advice,
            facts: self.channel_facts(channel),
            total: matching.len(),
            subscriptions,
        }
    }

    /// Every record of a channel, in the order of monitoring; members that left come last.
    fn channel_records(&self, key: ChannelKey) -> Vec<SubscriptionKey> {
        let channel = &self.channels[key];
        let groups = channel.groups().map(|group| &self.groups[group]);
        let departing = groups.flat_map(|group| group.departing());
        let all = self.records(channel).chain(departing);
        // A durable whose owner goes while its request is recorded is in two lists.
        let mut seen = BTreeSet::new();
        all.filter(|key| seen.insert(*key)).collect()
    }

    fn matches(&self, key: SubscriptionKey, question: &WhyQuestion) -> bool {
        let subscription = &self.subscriptions[key];
        let group = subscription.group().map(|group| self.groups[group].name());
        let is = |wanted: &Option<Vec<u8>>, value: &[u8]| wanted.as_ref().is_none_or(|wanted| wanted == value);
        let queue = |wanted: &Vec<u8>| {
            !subscription.queue().is_empty()
                && (subscription.queue() == wanted || group.is_some_and(|name| name == wanted))
        };
        is(&question.durable, subscription.durable())
            && is(&question.client, subscription.client_name())
            && question.queue.as_ref().is_none_or(queue)
    }

    fn nothing_matches(&self, question: &WhyQuestion, channel: ChannelKey, all: &[SubscriptionKey]) -> WhyReport {
        let known = |name: fn(&Subscription) -> &[u8]| -> Vec<String> {
            let names = all.iter().map(|key| name(&self.subscriptions[*key]));
            let names: BTreeSet<&[u8]> = names.filter(|name| !name.is_empty()).collect();
            names.into_iter().take(WHY_NAMES_MAX).map(text).collect()
        };
        let (verdict, names) = if all.is_empty() {
            (Verdict::NoSubscriptions, Vec::new())
        } else if question.durable.is_some() {
            (Verdict::DurableUnknown, known(|subscription| subscription.durable()))
        } else if question.queue.is_some() {
            (Verdict::QueueUnknown, known(|subscription| subscription.queue()))
        } else {
            (Verdict::ClientUnknown, known(|subscription| subscription.client_name()))
        };
        self.unknown(question, verdict, names, Some(channel))
    }

    fn unknown(
        &self,
        question: &WhyQuestion,
        verdict: Verdict,
        names: Vec<String>,
        channel: Option<ChannelKey>,
    ) -> WhyReport {
        let registered = question
            .client
            .as_ref()
            .map(|client| self.clients.find(client).is_some());
        let (words, advice) = words::unknown(question, verdict, &names, registered);
        let mut facts = channel.map_or_else(Vec::new, |channel| self.channel_facts(channel));
        if channel.is_none() {
            facts.push(number("channels", self.channels.len() as u64));
        }
        if let Some(registered) = registered {
            facts.push(Fact {
                name: "client_registered",
                value: FactValue::Flag(registered),
            });
        }
        facts.push(Fact {
            name: "known",
            value: FactValue::Names(names),
        });
        WhyReport {
            channel: text(&question.channel),
            verdict,
            words,
            advice,
            facts,
            total: 0,
            subscriptions: Vec::new(),
        }
    }

    fn channel_facts(&self, key: ChannelKey) -> Vec<Fact> {
        let channel = &self.channels[key];
        let mut facts = vec![
            number("messages", channel.log().messages()),
            number("first_sequence", channel.log().first()),
            number("last_sequence", channel.log().last()),
            number("last_durable_sequence", channel.log().durable_last()),
            number("subscriptions", channel.records() as u64),
        ];
        if channel.log().lost().messages() > 0 {
            facts.push(number("messages_given_up", channel.log().lost().messages()));
        }
        if let Some(damage) = &channel.damage {
            facts.push(number("damaged_messages", damage.messages()));
            facts.push(ranges("damaged", damage.ranges()));
        }
        facts
    }
}

fn explain(case: &Case<'_>) -> WhySubscription {
    let verdicts = case.verdicts();
    let verdict = verdicts.first().copied().unwrap_or(Verdict::NothingNew);
    let (words, advice) = words::sentences(case, verdict);
    let subscription = case.subscription;
    WhySubscription {
        client_id: text(subscription.client_name()),
        inbox: text(subscription.inbox()),
        durable_name: if case.group.is_none() {
            text(subscription.durable())
        } else {
            String::new()
        },
        queue_name: case.group.map_or(String::new(), |group| text(group.name())),
        verdict,
        also: verdicts.into_iter().skip(1).collect(),
        words,
        advice,
        facts: facts(case),
    }
}

fn facts(case: &Case<'_>) -> Vec<Fact> {
    let subscription = case.subscription;
    let time = |name, at| Fact {
        name,
        value: FactValue::Time(case.wall(at)),
    };
    let mut facts = vec![
        number("last_sent", subscription.cursor.last_sent()),
        number("messages_waiting", case.waiting()),
        number("messages_missed", case.expired()),
        number("pending_count", subscription.window.pending().len() as u64),
        number("max_inflight", subscription.window.max() as u64),
        Fact {
            name: "ack_wait_seconds",
            value: FactValue::Span(subscription.window.ack_wait()),
        },
        number("redeliveries", subscription.redeliveries()),
    ];
    if subscription.is_stalled() {
        facts.extend(subscription.window.stalled_since().map(|at| time("stalled_since", at)));
    }
    if !subscription.window.pending().is_empty() {
        facts.push(unacknowledged(case));
        facts.extend(case.next_redelivery().map(|at| time("next_redelivery", at)));
        let oldest = case.engine.oldest_unacknowledged(case.now, subscription);
        facts.extend(oldest.map(|age| Fact {
            name: "oldest_unacknowledged_seconds",
            value: FactValue::Span(age),
        }));
    }
    let pending = subscription.window.pending();
    if pending.held_back() > 0 {
        facts.push(number("passed_over_count", pending.held_back() as u64));
        facts.push(ranges("passed_over", pending.held_back_runs()));
    }
    if let Some(heartbeat) = case.client.map(|client| &client.heartbeat)
        && let Some(failing_since) = heartbeat.failing_since()
    {
        facts.push(number("failed_heartbeats", u64::from(heartbeat.failed())));
        let tolerated = u64::from(case.engine.options.heartbeat_fail_count);
        facts.push(number("failed_heartbeats_tolerated", tolerated));
        facts.push(time("failing_since", failing_since));
    }
    if case.is_offline() {
        facts.extend(subscription.offline_since().map(|at| time("offline_since", at)));
    }
    if let Some(pause) = subscription.paused() {
        facts.push(time("congested_since", pause.since));
    }
    if let Some(halt) = case.halt() {
        let by = FactValue::Text(text(&halt.by));
        facts.push(Fact {
            name: "paused_by",
            value: by,
        });
        let since = FactValue::Time(halt.since);
        facts.push(Fact {
            name: "paused_since",
            value: since,
        });
    }
    if let Some(reading) = case.reading() {
        facts.push(number("reading_from", reading.from));
    }
    if let Some((since, from)) = case.catching_up() {
        facts.push(time("catching_up_since", since));
        facts.extend(case.rate(since, from).map(|rate| number("messages_per_second", rate)));
    }
    if let Some(group) = case.group {
        facts.push(number("group_last_sent", group.cursor.last_sent()));
        facts.push(number("group_members", group.members().len() as u64));
        facts.push(number("group_members_stalled", case.stalled_members()));
        facts.push(number("group_members_departing", group.departing().len() as u64));
    }
    facts
}

fn unacknowledged(case: &Case<'_>) -> Fact {
    let ranges = case.unacknowledged.iter().map(|range| SequenceRange {
        first: range.first,
        last: range.last,
        redeliveries: range.count,
        due: range.deadline.map(|at| case.wall(at)),
    });
    Fact {
        name: "unacknowledged",
        value: FactValue::Sequences(ranges.collect()),
    }
}

/// The first few ranges of sequences, without more to tell of them.
fn ranges(name: &'static str, ranges: impl Iterator<Item = (u64, u64)>) -> Fact {
    let ranges = ranges.take(WHY_RANGES_MAX).map(|(first, last)| SequenceRange {
        first,
        last,
        redeliveries: 0,
        due: None,
    });
    Fact {
        name,
        value: FactValue::Sequences(ranges.collect()),
    }
}

fn number(name: &'static str, value: u64) -> Fact {
    Fact {
        name,
        value: FactValue::Number(value),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
