//! What the engine knows, as lines.

use std::fmt::Write as _;

use seaway_streaming::SubscriptionSnapshot;

use super::words::Words;
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
                format!(
                    "{} {} inbox={}",
                    subjects.discover,
                    subjects.publish_prefix,
                    engine.inbox_prefix()
                )
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
