//! `audit`: who changed what, and when.

use std::time::SystemTime;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::connection::Connection;
use crate::failure::Outcome;
use crate::output::{Align, Output};
use crate::readable::{local_time, parse_duration, parse_time, printable, utc_time};

/// Which changes.
#[derive(clap::Args)]
pub(crate) struct AuditArguments {
    /// Only since then: 2h or 7d ago, or 2026-01-31T18:30:00Z, or "2026-01-31 18:30" in your time zone
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<SystemTime>,
    /// Only by those in whose name or address this occurs
    #[arg(long, value_name = "TEXT")]
    who: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Change {
    time: String,
    by: String,
    change: String,
}

/// A moment, or how long ago it was.
fn parse_since(text: &str) -> Result<SystemTime, String> {
    match parse_duration(text) {
        Ok(ago) => { SystemTime::now().checked_sub(ago) }
            .filter(|moment| *moment >= SystemTime::UNIX_EPOCH)
            .ok_or_else(|| format!("{text} ago was before 1970")),
        Err(_) => parse_time(text).map_err(|_| {
            format!("{text:?} is no time: write 2h or 7d for so long ago, 2026-01-31T18:30:00Z, or \"2026-01-31 18:30\" in your time zone")
        }),
    }
}

pub(crate) async fn run(arguments: AuditArguments, connection: &Connection, output: &mut Output) -> Outcome {
    let mut question = Map::new();
    question.extend(
        arguments
            .since
            .map(|since| ("since".to_owned(), utc_time(since).into())),
    );
    question.extend(arguments.who.map(|who| ("who".to_owned(), who.into())));
    // What is changed while pages are asked for moves the others back.
    let mut oldest = u64::MAX;
    let mut is_empty = true;
    let asking = connection.ask_for_list("read.audit", question, "changes", |page| {
        let mut rows = Vec::new();
        for entry in page {
            let number = entry.get("number").and_then(Value::as_u64).unwrap_or(0);
            if number >= oldest {
                continue;
            }
            (oldest, is_empty) = (number, false);
            if output.is_json() {
                output.json(&entry)?;
            } else {
                let change: Change = serde_json::from_value(entry).unwrap_or_default();
                let time = match change.time.parse::<jiff::Timestamp>() {
                    Ok(time) => local_time(time.into()),
                    Err(_) => printable(&change.time).into_owned(),
                };
                rows.push(vec![
                    time,
                    printable(&change.by).into_owned(),
                    printable(&change.change).into_owned(),
                ]);
            }
        }
        match rows.is_empty() {
            true => Ok(()),
            false => output.table(
                &[("TIME", Align::Left), ("WHO", Align::Left), ("WHAT", Align::Left)],
                &rows,
            ),
        }
    });
    asking.await?;
    match is_empty && !output.is_json() {
        true => output.line("Nothing was changed by an operator, or not in that time and by that person."),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_said_as_such_or_as_so_long_ago() {
        let hour_ago = parse_since("1h").unwrap();
        let since = SystemTime::now().duration_since(hour_ago).unwrap().as_secs();
        assert!((3_600..3_700).contains(&since), "{since}");
        let moment = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_769_884_200);
        assert_eq!(parse_since("2026-01-31T18:30:00Z"), Ok(moment));
        assert!(parse_since("yesterday").is_err());
        assert!(parse_since("40000d").is_err());
    }
}
