//! Durables and queue groups of all channels: one row each, whoever and however many belong to it.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;

use crate::snapshot::{ChannelFilter, Detail, Page, PageRequest, Source, Subscription, SurveyRequest, Unavailable};

/// One durable or queue group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct DurableRow {
    channel: String,
    /// Durable name; empty for a group without one.
    name: String,
    /// Queue group; empty for a plain durable.
    queue: String,
    /// The (last) owner of a plain durable; empty for a group.
    client_id: String,
    /// Subscriptions with an owner.
    members: u64,
    is_durable: bool,
    is_online: bool,
    /// The highest of all members.
    last_sent: u64,
    /// The sum of all members.
    pending_count: u64,
    /// Every member with an owner is stalled.
    is_stalled: bool,
    /// Who has paused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_by: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_since: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Durables<'a> {
    pub(crate) durables: &'a [DurableRow],
}

/// The rows of one channel (`None` when there is none of that name), or of all.
pub(crate) async fn durables(
    source: &dyn Source,
    channel: Option<&str>,
    request: PageRequest,
) -> Result<Option<Page<DurableRow>>, Unavailable> {
    let mut rows = Rows::new(request);
    match channel {
        Some(name) => {
            let found = source.channel(name.as_bytes().to_vec(), Detail::Subscriptions).await?;
            let Some(channel) = found else { return Ok(None) };
            rows.add(&channel.name, channel.subscriptions.iter());
        }
        None => survey(source, &mut rows).await?,
    }
    Ok(Some(rows.page))
}

/// Looks at all channels, part by part.
async fn survey(source: &dyn Source, rows: &mut Rows) -> Result<(), Unavailable> {
    let mut after = None;
    loop {
        // How much one part holds is the source's decision; of that, nothing is to be left out.
        let request = SurveyRequest {
            after,
            filter: ChannelFilter::default(),
            channels_max: usize::MAX,
            subscriptions_max: usize::MAX,
        };
        let part = source.survey(request).await?;
        for surveyed in &part.channels {
            let subscriptions = surveyed.subscriptions.iter().map(|one| &one.subscription);
            rows.add(&surveyed.channel.name, subscriptions);
        }
        match part.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// Counts all rows and keeps those that were asked for.
struct Rows {
    wanted: Range<usize>,
    page: Page<DurableRow>,
}

impl Rows {
    fn new(request: PageRequest) -> Rows {
        Rows {
            wanted: request.offset..request.offset.saturating_add(request.limit),
            page: Page {
                total: 0,
                entries: Vec::new(),
            },
        }
    }

    /// The rows of one channel: plain durables by name, then groups by name.
    fn add<'s>(&mut self, channel: &str, subscriptions: impl Iterator<Item = &'s Subscription>) {
        let mut found: BTreeMap<(&str, &str, &str), DurableRow> = BTreeMap::new();
        for subscription in subscriptions {
            let Subscription {
                queue_name,
                durable_name,
                client_id,
                ..
            } = subscription;
            let key = match (queue_name.as_str(), durable_name.as_str()) {
                ("", "") => continue,
                ("", durable) => ("", durable, client_id.as_str()),
                (queue, _) => (queue, "", ""),
            };
            found.entry(key).or_default().count(subscription);
        }
        for ((queue_name, durable_name, client_id), row) in found {
            self.push(DurableRow {
                channel: channel.to_owned(),
                client_id: client_id.to_owned(),
                ..row.named(queue_name, durable_name)
            });
        }
    }

    fn push(&mut self, row: DurableRow) {
        if self.wanted.contains(&self.page.total) {
            self.page.entries.push(row);
        }
        self.page.total += 1;
    }
}

impl DurableRow {
    fn count(&mut self, subscription: &Subscription) {
        let is_online = !subscription.is_offline;
        if is_online {
            self.is_stalled = subscription.is_stalled && (self.members == 0 || self.is_stalled);
            self.members += 1;
        }
        if self.paused_by.is_none() {
            self.paused_by.clone_from(&subscription.paused_by);
            self.paused_since.clone_from(&subscription.paused_since);
        }
        self.is_durable |= subscription.is_durable;
        self.is_online |= is_online;
        self.last_sent = self.last_sent.max(subscription.last_sent);
        self.pending_count += subscription.pending_count;
    }

    /// With the names of a group, `<durable>:<group>` when it is durable, or of a plain durable.
    fn named(mut self, queue_name: &str, durable_name: &str) -> DurableRow {
        let (name, queue) = match queue_name.split_once(':').filter(|_| self.is_durable) {
            Some(names) => names,
            None => (durable_name, queue_name),
        };
        (self.name, self.queue) = (name.to_owned(), queue.to_owned());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(client: &str, durable: &str, queue: &str) -> Subscription {
        Subscription {
            client_id: client.into(),
            durable_name: durable.into(),
            queue_name: queue.into(),
            is_durable: !durable.is_empty() || queue.contains(':'),
            last_sent: 5,
            pending_count: 2,
            ..Subscription::default()
        }
    }

    fn rows(subscriptions: &[Subscription], offset: usize, limit: usize) -> Page<DurableRow> {
        let detail = Detail::Counts;
        let mut rows = Rows::new(PageRequest { offset, limit, detail });
        rows.add("orders", subscriptions.iter());
        rows.page
    }

    #[test]
    fn members_of_a_group_are_one_row() {
        let stalled = |one: Subscription| Subscription {
            is_stalled: true,
            ..one
        };
        let offline = |one: Subscription| Subscription {
            is_offline: true,
            last_sent: 9,
            ..one
        };
        let all = [
            subscription("a", "", ""),
            stalled(subscription("b", "billing", "")),
            offline(subscription("c", "audit", "")),
            stalled(subscription("a", "", "dur:work")),
            subscription("b", "", "dur:work"),
            offline(stalled(subscription("c", "", "dur:work"))),
            stalled(subscription("a", "", "fast")),
            stalled(subscription("b", "", "fast")),
        ];
        let page = rows(&all, 0, 10);
        let shown: Vec<_> = page
            .entries
            .iter()
            .map(|row| {
                let names = (row.name.as_str(), row.queue.as_str(), row.client_id.as_str());
                let state = (row.members, row.is_durable, row.is_online, row.is_stalled);
                (names, state, row.last_sent, row.pending_count)
            })
            .collect();
        assert_eq!(
            shown,
            [
                (("audit", "", "c"), (0, true, false, false), 9, 2),
                (("billing", "", "b"), (1, true, true, true), 5, 2),
                (("dur", "work", ""), (2, true, true, false), 9, 6),
                (("", "fast", ""), (2, false, true, true), 5, 4),
            ]
        );
        let part = rows(&all, 1, 2);
        assert_eq!((part.total, &part.entries[..]), (4, &page.entries[1..3]));
        assert_eq!(rows(&all, 4, 2).entries, []);
    }

    /// A group without durable name may have a colon in its name.
    #[test]
    fn a_colon_divides_names_of_durable_groups_only() {
        let group = Subscription {
            queue_name: "a:b".into(),
            ..Subscription::default()
        };
        let row = rows(&[group], 0, 1).entries.remove(0);
        assert_eq!((row.name.as_str(), row.queue.as_str()), ("", "a:b"));
    }
}
