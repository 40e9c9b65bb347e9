//! `/streaming/why`: the answer as JSON, or as text for a terminal.

use std::fmt::Write as _;

use seaway_nats_protocol::harmless::escaped;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::json::timestamp;
use crate::limits::{WHY_LIMIT_DEFAULT, WHY_LIMIT_MAX};
use crate::moment::Moment;
use crate::query::Query;
use crate::reply::{Accept, Reply};
use crate::snapshot::{Fact, Source, StreamingIdentity, Unavailable, Why, WhyQuestion, WhySubscription};

/// `/streaming/why`: 404 when what is asked for does not exist, with the same content otherwise.
pub(crate) async fn why(
    source: &dyn Source,
    moment: &Moment,
    query: &Query,
    accept: Accept,
) -> Result<Reply, Unavailable> {
    let text = match query.get("format") {
        Some(b"text") => true,
        Some(b"json") => false,
        Some(_) => return Ok(Reply::bad_request("invalid format, must be json or text\n".to_owned())),
        None => accept == Accept::Text,
    };
    let Some(channel) = query.get("channel") else {
        let usage = "channel is required: /streaming/why?channel=NAME[&durable=NAME][&queue=NAME][&client=ID]\n";
        return Ok(Reply::bad_request(usage.to_owned()));
    };
    let page = query.page_of(WHY_LIMIT_DEFAULT, WHY_LIMIT_MAX);
    let owned = |name| query.get(name).map(<[u8]>::to_vec);
    let question = WhyQuestion {
        channel: channel.to_vec(),
        durable: owned("durable"),
        queue: owned("queue"),
        client: owned("client"),
        offset: page.offset,
        limit: page.limit,
    };
    let why = source.why(question).await?;
    let reply = if text {
        Reply::text(said(&why))
    } else {
        Reply::json(&Answer::new(
            source.streaming_identity(),
            moment,
            page.offset,
            page.limit,
            &why,
        ))
    };
    Ok(if why.found { reply } else { reply.status(404) })
}

/// In lines for a terminal: a name in them may hold anything.
fn said(why: &Why) -> String {
    let mut text = format!("{}: {}\n{}\n", why.verdict, escaped(&why.words), escaped(&why.advice));
    // Of one subscription everything has been said.
    if why.total != 1 {
        for subscription in &why.subscriptions {
            let _ = write!(
                text,
                "\n{}: {}\n{}\n",
                subscription.verdict,
                escaped(&subscription.words),
                escaped(&subscription.advice)
            );
        }
        if why.subscriptions.len() < why.total {
            let _ = write!(
                text,
                "\n{} of {} subscriptions shown\n",
                why.subscriptions.len(),
                why.total
            );
        }
    }
    text
}

/// The answer as it is serialized.
pub(crate) struct Answer<'a> {
    identity: StreamingIdentity,
    moment: &'a Moment,
    offset: usize,
    limit: usize,
    why: &'a Why,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(
        identity: StreamingIdentity,
        moment: &'a Moment,
        offset: usize,
        limit: usize,
        why: &'a Why,
    ) -> Answer<'a> {
        Answer {
            identity,
            moment,
            offset,
            limit,
            why,
        }
    }
}

impl Serialize for Answer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let subscriptions: Vec<_> = self.why.subscriptions.iter().map(|one| One(one, self.moment)).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("cluster_id", &self.identity.cluster_id)?;
        map.serialize_entry("server_id", &self.identity.server_id)?;
        map.serialize_entry("now", &self.moment.local_now())?;
        map.serialize_entry("channel", &self.why.channel)?;
        map.serialize_entry("verdict", self.why.verdict)?;
        map.serialize_entry("words", &self.why.words)?;
        map.serialize_entry("advice", &self.why.advice)?;
        map.serialize_entry("facts", &Facts(&self.why.facts, self.moment))?;
        map.serialize_entry("offset", &self.offset)?;
        map.serialize_entry("limit", &self.limit)?;
        map.serialize_entry("count", &subscriptions.len())?;
        map.serialize_entry("total", &self.why.total)?;
        map.serialize_entry("subscriptions", &subscriptions)?;
        map.end()
    }
}

struct One<'a>(&'a WhySubscription, &'a Moment);

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let One(subscription, moment) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("client_id", &subscription.client_id)?;
        map.serialize_entry("inbox", &subscription.inbox)?;
        for (key, name) in [
            ("durable_name", &subscription.durable_name),
            ("queue_name", &subscription.queue_name),
        ] {
            if !name.is_empty() {
                map.serialize_entry(key, name)?;
            }
        }
        map.serialize_entry("verdict", subscription.verdict)?;
        map.serialize_entry("also", &subscription.also)?;
        map.serialize_entry("words", &subscription.words)?;
        map.serialize_entry("advice", &subscription.advice)?;
        map.serialize_entry("facts", &Facts(&subscription.facts, moment))?;
        map.end()
    }
}

struct Facts<'a>(&'a [(&'static str, Fact)], &'a Moment);

impl Serialize for Facts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = |ns: i64| self.1.local(timestamp(ns));
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, fact) in self.0 {
            match fact {
                Fact::Number(number) => map.serialize_entry(name, number)?,
                Fact::Text(text) => map.serialize_entry(name, text)?,
                Fact::Flag(flag) => map.serialize_entry(name, flag)?,
                Fact::Time(ns) => map.serialize_entry(name, &time(*ns))?,
                Fact::Span(span) => map.serialize_entry(name, &span.as_secs_f64())?,
                Fact::Names(names) => map.serialize_entry(name, names)?,
                Fact::Sequences(ranges) => {
                    let ranges: Vec<_> = ranges
                        .iter()
                        .map(|range| Range {
                            first: range.first,
                            last: range.last,
                            redeliveries: range.redeliveries,
                            due: range.due_ns.map(time),
                        })
                        .collect();
                    map.serialize_entry(name, &ranges)?;
                }
            }
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
struct Range {
    first: u64,
    last: u64,
    redeliveries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_moves_no_cursor() {
        let hostile = "\"foo\u{1b}[2J\u{202e}\" is stalled".to_owned();
        let why = Why {
            words: hostile.clone(),
            advice: hostile.clone(),
            total: 2,
            subscriptions: vec![WhySubscription {
                words: hostile.clone(),
                advice: hostile,
                ..WhySubscription::default()
            }],
            ..Why::default()
        };
        let text = said(&why);
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
        assert_eq!(text.matches("\\u{1b}[2J").count(), 4, "{text:?}");
    }
}
