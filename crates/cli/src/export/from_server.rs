//! Messages of a server, a line each, asked for page by page: it serves others meanwhile.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::arguments::ExportArguments;
use super::span::{Span, Writing, check_named, is_wanted, nothing_matches};
use crate::admin::Stored;
use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::jsonl::Record;
use crate::output::Output;

/// The interface's maxima for one page.
const MESSAGES_AT_ONCE: u64 = 1000;
const BYTES_AT_ONCE: u64 = 8 << 20;

pub(super) async fn run(arguments: &ExportArguments, connection: &Connection, output: &mut Output) -> Outcome {
    check_named(&arguments.what)?;
    let names = channels(&arguments.what, connection).await?;
    let mut writing = Writing::begin(arguments)?;
    let span = Span::of(arguments);
    for name in names {
        channel(&name, span, connection, &mut writing).await?;
    }
    writing.finish(output)
}

/// Names as they are, patterns as the channels that match them now; each channel once.
async fn channels(what: &[String], connection: &Connection) -> Outcome<Vec<String>> {
    let has_wildcard = |name: &String| seaway_nats_protocol::subject::has_wildcard(name.as_bytes());
    if !what.iter().any(has_wildcard) {
        let mut names = what.to_vec();
        names.sort_unstable();
        names.dedup();
        return Ok(names);
    }
    let mut names = Vec::new();
    let asking = connection.ask_for_list("read.channels", Map::new(), "channels", |page| {
        let found = page
            .iter()
            .filter_map(|entry| entry.get("name").and_then(Value::as_str));
        names.extend(found.filter(|name| is_wanted(what, name.as_bytes())).map(str::to_owned));
        Ok(())
    });
    asking.await?;
    if names.is_empty() {
        return Err(nothing_matches(what));
    }
    Ok(names)
}

/// What is published after this began is not among it: a busy channel ends, too.
async fn channel(name: &str, span: Span, connection: &Connection, writing: &mut Writing) -> Outcome {
    let answer = connection.ask("read.channel", &json!({ "channel": name })).await?;
    let number = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
    let (first, last) = (number("first_seq"), number("last_seq").min(span.to));
    let mut next = first.max(span.from).max(1);
    if let Some(since) = span.since {
        next = at_time(name, next, last, since, connection).await?;
    }
    writing.channel((last + 1).saturating_sub(next));
    while next <= last {
        let wanted = (last - next + 1).min(MESSAGES_AT_ONCE);
        let (page, go_on) = page(name, next, wanted, connection, |record| {
            if record.sequence > last || record.timestamp_ns().is_some_and(|time| span.ends_before(time)) {
                return Ok(false);
            }
            writing.message(record).map(|()| true)
        })
        .await?;
        for (first, to) in &page.damaged {
            writing.damaged(name, *first, (*to).min(last));
        }
        match page.next.filter(|following| go_on && *following > next) {
            Some(following) => next = following,
            None => break,
        }
    }
    Ok(())
}

/// The first sequence whose message is not older, found in a few steps: times of a channel ascend.
async fn at_time(name: &str, mut first: u64, last: u64, since: i64, connection: &Connection) -> Outcome<u64> {
    let mut end = last + 1;
    while first < end {
        let middle = first + (end - first) / 2;
        let mut found = None;
        page(name, middle, 1, connection, |record| {
            found = Some((record.sequence, record.timestamp_ns()));
            Ok(true)
        })
        .await?;
        match found {
            Some((sequence, Some(time))) if time < since => first = sequence + 1,
            _ => end = middle,
        }
    }
    Ok(first)
}

/// How a page ended.
struct Page {
    /// The sequence to go on with, if there is more.
    next: Option<u64>,
    /// First and last of what could not be read.
    damaged: Vec<(u64, u64)>,
}

/// Asks for some messages; whether all of them were wanted.
async fn page(
    name: &str,
    from: u64,
    messages: u64,
    connection: &Connection,
    mut take: impl FnMut(&Record<'_>) -> Outcome<bool>,
) -> Outcome<(Page, bool)> {
    let question = json!({ "channel": name, "from": from, "count": messages, "bytes_max": BYTES_AT_ONCE });
    let mut go_on = true;
    let asking = connection.ask_for_messages(&question, |stored| {
        if go_on {
            let reply = reply(&stored)?;
            go_on = take(&record(name, &stored, &reply)?)?;
        }
        Ok(())
    });
    let end = asking.await?;
    let header = |name: &str| end.headers.get(name).map(|value| value.as_str());
    let damaged = header("Seaway-Damaged").unwrap_or_default();
    let damaged = damaged.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    });
    let page = Page {
        next: header("Seaway-Next").and_then(|next| next.parse().ok()),
        damaged: damaged.collect(),
    };
    Ok((page, go_on))
}

/// The reply subject: bytes that are no word of ASCII come in base64.
fn reply(stored: &Stored) -> Outcome<Cow<'_, [u8]>> {
    let header = |name: &str| stored.headers.get(name).map(|value| value.as_str());
    let Some(encoded) = header("Seaway-Reply-Base64") else {
        return Ok(header("Seaway-Reply").unwrap_or_default().as_bytes().into());
    };
    let decoded = STANDARD.decode(encoded).map(Cow::Owned);
    decoded.map_err(|_| Failure::failed("the server's answer cannot be read: a reply subject is no base64"))
}

fn record<'a>(name: &'a str, stored: &'a Stored, reply: &'a [u8]) -> Outcome<Record<'a>> {
    let header = |name: &str| stored.headers.get(name).map_or("", |value| value.as_str());
    let time = header("Seaway-Timestamp").parse::<jiff::Timestamp>().ok();
    let time = time.and_then(|time| i64::try_from(time.as_nanosecond()).ok());
    match (header("Seaway-Sequence").parse().ok(), time) {
        (Some(sequence), Some(time)) => Ok(Record::of(name, sequence, time, reply, &stored.payload)),
        _ => Err(Failure::failed(
            "the server's answer cannot be read: a message has no sequence or no time",
        )),
    }
}
