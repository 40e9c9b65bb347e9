//! What the engine knows, as lines.

use std::fmt::Write as _;

use seaway_streaming::{AuditQuestion, FactValue, SubscriptionSnapshot, Timestamp, WhyQuestion};

use super::words::{Words, duration};
use super::{MILLISECOND, START, Session};

impl Session {
    pub(super) fn show(&mut self, words: &Words<'_>) {
        let engine = self.engine.as_ref().expect("the engine runs");
        let line = match words.at(1) {
            "server" => {
                let server = engine.server_snapshot();
                format!(
                    "clients={} subs={} channels={} msgs={} bytes={} in={} out={}",
                    server.clients,
                    server.subscriptions,
                    server.channels,
                    server.total_messages,
                    server.total_bytes,
                    server.in_messages,
                    server.out_messages
                )
            }
            "channel" => match engine.channel(words.at(2).as_bytes(), true) {
                None => "no such channel".to_owned(),
                Some(channel) => {
                    for subscription in &channel.subscriptions {
                        self.lines.push(subscription_line(subscription));
                    }
                    format!(
                        "{}: msgs={} bytes={} first={} last={} subs={}",
                        channel.name,
                        channel.messages,
                        channel.bytes,
                        channel.first_sequence,
                        channel.last_sequence,
                        channel.subscriptions_count
                    )
                }
            },
            "channels" => {
                let page = engine.channels_page(0, 100, false);
                let names: Vec<&str> = page.items.iter().map(|channel| &*channel.name).collect();
                format!("{} channels: {}", page.total, names.join(" "))
            }
            "clients" => {
                let page = engine.clients_page(0, 100, true);
                let names: Vec<String> = page
                    .items
                    .iter()
                    .map(|client| {
                        format!(
                            "{}({}, {})",
                            client.id, client.heartbeat_inbox, client.subscriptions_count
                        )
                    })
                    .collect();
                format!("{} clients: {}", page.total, names.join(" "))
            }
            "subjects" => {
                let subjects = engine.subjects();
                format!("{} {}", subjects.discover, subjects.publish_prefix)
            }
            "audit" => {
                let question = AuditQuestion {
                    since: words
                        .get("since")
                        .map(|ago| Timestamp(self.now.wall.0 - duration(ago) as i64)),
                    who: words.get("who").map(str::to_owned),
                    offset: 0,
                    limit: words.number("limit", 100) as usize,
                };
                let page = engine.audit(&question);
                for change in &page.items {
                    let (number, at) = (change.number, since_start(change.time));
                    self.lines
                        .push(format!("  {number} @{at}ms {}: {}", change.by, change.words));
                }
                format!("{} changes", page.total)
            }
            "why" => {
                self.show_why(words);
                return;
            }
            "deadline" => format!(
                "{:?}",
                engine.next_deadline().map(|at| (at - START.monotonic) / MILLISECOND)
            ),
            other => panic!("show {other}"),
        };
        self.lines.push(line);
    }
}

impl Session {
    /// Why the subscriptions of a channel are, or are not, receiving.
    fn show_why(&mut self, words: &Words<'_>) {
        let name = |key| words.get(key).map(|value| value.as_bytes().to_vec());
        let question = WhyQuestion {
            channel: words.at(2).as_bytes().to_vec(),
            durable: name("durable"),
            queue: name("queue"),
            client: name("client"),
            offset: 0,
            limit: 100,
            store_full: self.world.full.then(|| "no space left".to_owned()),
        };
        let engine = self.engine.as_ref().expect("the engine runs");
        let report = engine.why(self.now, &question);
        if report.subscriptions.len() != 1 {
            self.lines.push(format!("{}: {}", report.verdict.code(), report.words));
            self.lines.push(format!("  {}", report.advice));
        }
        for subscription in &report.subscriptions {
            let codes: Vec<&str> = std::iter::once(&subscription.verdict)
                .chain(&subscription.also)
                .map(|verdict| verdict.code())
                .collect();
            self.lines.push(format!("{}: {}", codes.join("+"), subscription.words));
            self.lines.push(format!("  {}", subscription.advice));
            if words.get("facts") == Some("true") {
                for fact in &subscription.facts {
                    self.lines.push(format!("  {} = {}", fact.name, value(&fact.value)));
                }
            }
        }
    }
}

fn since_start(time: Timestamp) -> i64 {
    (time.0 - START.wall.0) / MILLISECOND as i64
}

fn value(value: &FactValue) -> String {
    let at = |time: Timestamp| format!("@{}ms", since_start(time));
    match value {
        FactValue::Number(number) => number.to_string(),
        FactValue::Text(text) => text.clone(),
        FactValue::Flag(flag) => flag.to_string(),
        FactValue::Time(time) => at(*time),
        FactValue::Span(nanoseconds) => format!("{}ms", nanoseconds / MILLISECOND),
        FactValue::Names(names) => names.join(" "),
        FactValue::Sequences(ranges) => ranges
            .iter()
            .map(|range| {
                let due = range.due.map_or("unknown".to_owned(), at);
                format!(
                    "{}-{}(again {}, due {due})",
                    range.first, range.last, range.redeliveries
                )
            })
            .collect::<Vec<_>>()
            .join(" "),
    }
}

fn subscription_line(subscription: &SubscriptionSnapshot) -> String {
    let mut line = format!("  {} of {}", subscription.inbox, subscription.client_id);
    for (key, value) in [
        ("durable", &subscription.durable_name),
        ("queue", &subscription.queue_name),
    ] {
        if !value.is_empty() {
            let _ = write!(line, " {key}={value}");
        }
    }
    let _ = write!(
        line,
        " sent={} pending={}",
        subscription.last_sent, subscription.pending_count
    );
    if let Some(paused) = &subscription.paused {
        let _ = write!(line, " paused-by={}@{}ms", paused.by, since_start(paused.since));
    }
    for (flag, set) in [
        ("durable", subscription.is_durable),
        ("offline", subscription.is_offline),
        ("stalled", subscription.is_stalled),
    ] {
        if set {
            let _ = write!(line, " {flag}");
        }
    }
    line
}
