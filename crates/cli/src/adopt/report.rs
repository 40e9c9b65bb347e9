//! What was found in a data directory of NATS Streaming, for people.

use seaway_original::{ChannelReport, Finding, Place, Report, SubscriptionReport};

use crate::failure::Outcome;
use crate::output::{Align, Output};
use crate::readable::{count, counted, printable, size};

/// Names listed in one line.
const NAMES_LISTED_MAX: usize = 10;

/// Everything of a report, for people.
pub(super) fn show(report: &Report, output: &mut Output) -> Outcome {
    let facts = facts(report);
    output.facts(&facts)?;
    if !report.channels.is_empty() {
        output.line("")?;
        let rows: Vec<_> = report.channels.iter().map(channel_row).collect();
        output.table(&CHANNEL_COLUMNS, &rows)?;
    }
    let rows: Vec<_> = report
        .channels
        .iter()
        .flat_map(|channel| {
            channel
                .subscriptions
                .iter()
                .map(|one| subscription_row(&channel.name, one))
        })
        .collect();
    if !rows.is_empty() {
        output.line("")?;
        output.table(&SUBSCRIPTION_COLUMNS, &rows)?;
    }
    if !report.findings.is_empty() {
        output.line("")?;
        for finding in &report.findings {
            output.line(&sentence(finding))?;
        }
    }
    if report.findings_not_listed > 0 {
        output.line(&format!("and {} more", counted(report.findings_not_listed, "finding")))?;
    }
    Ok(())
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let place = match &report.place {
        Place::Directory(_) => "directory",
        Place::Database(_) => "database",
    };
    let mut facts = vec![(place, report.place.to_string())];
    match &report.server {
        Some(server) => {
            facts.push(("cluster ID", printable(&server.cluster_id).into_owned()));
            let subjects = [&server.discovery, &server.publish, &server.subscribe, &server.acks];
            let subjects = subjects.map(|subject| printable(subject).into_owned()).join(", ");
            facts.push(("subjects", subjects));
            if report.clustered {
                facts.push(("cluster node", printable(&server.node_id).into_owned()));
            }
        }
        None => facts.push(("cluster ID", "unknown".to_owned())),
    }
    if let Some(raft) = &report.raft {
        let end = format!("ends at term {}, index {}", raft.last_term, raft.last_index);
        let snapshot = match raft.snapshot_index {
            0 => "no snapshot".to_owned(),
            index => format!("snapshot at term {}, index {index}", raft.snapshot_term),
        };
        facts.push(("Raft log", format!("{end}; {snapshot}")));
    }
    facts.push(("file format", report.format_version.to_string()));
    let totals = &report.totals;
    let mut clients = count(totals.clients);
    if !report.clients.is_empty() {
        let names = report.clients.iter().take(NAMES_LISTED_MAX);
        let names: Vec<_> = names.map(|client| printable(&client.id)).collect();
        let more = if report.clients.len() > NAMES_LISTED_MAX {
            ", ..."
        } else {
            ""
        };
        clients += &format!(" ({}{more})", names.join(", "));
    }
    facts.push(("clients", clients));
    facts.push(("channels", count(totals.channels)));
    facts.push((
        "messages",
        format!("{}, {}", count(totals.messages), size(totals.bytes)),
    ));
    facts.push((
        "subscriptions",
        format!(
            "{}, {} of them durable, {} unacknowledged",
            count(totals.subscriptions),
            count(totals.durables),
            counted(totals.pending, "message"),
        ),
    ));
    let disk = &report.disk;
    let free = disk
        .free_bytes
        .map_or_else(String::new, |bytes| format!(", {} are free", size(bytes)));
    facts.push((
        "disk",
        format!(
            "{} now; taking it over needs about {} more{free}",
            size(disk.files_bytes),
            size(disk.needed_bytes),
        ),
    ));
    facts
}

const CHANNEL_COLUMNS: [(&str, Align); 8] = [
    ("CHANNEL", Align::Left),
    ("MESSAGES", Align::Right),
    ("SIZE", Align::Right),
    ("FIRST", Align::Right),
    ("LAST", Align::Right),
    ("MISSING", Align::Right),
    ("FROM", Align::Left),
    ("TO", Align::Left),
];

fn channel_row(channel: &ChannelReport) -> Vec<String> {
    vec![
        printable(&channel.name).into_owned(),
        count(channel.messages),
        size(channel.bytes),
        count(channel.first_sequence),
        count(channel.last_sequence),
        count(channel.missing),
        channel.first_time.clone().unwrap_or_default(),
        channel.last_time.clone().unwrap_or_default(),
    ]
}

const SUBSCRIPTION_COLUMNS: [(&str, Align); 8] = [
    ("CHANNEL", Align::Left),
    ("ID", Align::Right),
    ("CLIENT", Align::Left),
    ("DURABLE", Align::Left),
    ("QUEUE", Align::Left),
    ("STATE", Align::Left),
    ("LAST SENT", Align::Right),
    ("UNACKNOWLEDGED", Align::Right),
];

fn subscription_row(channel: &str, subscription: &SubscriptionReport) -> Vec<String> {
    vec![
        printable(channel).into_owned(),
        subscription.id.to_string(),
        printable(&subscription.client_id).into_owned(),
        printable(&subscription.durable_name).into_owned(),
        printable(&subscription.queue_group).into_owned(),
        word(subscription.status),
        count(subscription.last_sent),
        count(subscription.pending),
    ]
}

/// The word that `--json` has for it.
fn word(value: impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// `loss: foo/msgs.1.dat at byte 36, sequence 2: a message is damaged ... -> left out ...`
fn sentence(finding: &Finding) -> String {
    let (meaning, action) = finding.kind.words();
    let mut place = vec![printable(&finding.file).into_owned()];
    place.extend(finding.offset.map(|offset| format!("byte {offset}")));
    place.extend(finding.sequence.map(|sequence| format!("sequence {sequence}")));
    place.extend(finding.count.map(|number| format!("count {number}")));
    place.retain(|part| !part.is_empty());
    let place = place.join(", ");
    let separator = if place.is_empty() { "" } else { ": " };
    format!("{}: {place}{separator}{meaning} -> {action}", word(finding.severity))
}

#[cfg(test)]
mod tests {
    use seaway_original::Severity;

    use super::*;

    fn finding(severity: Severity, kind: seaway_original::Kind) -> Finding {
        Finding {
            severity,
            kind,
            file: "foo\u{1b}/msgs.1.dat".to_owned(),
            offset: Some(36),
            count: None,
            sequence: Some(2),
        }
    }

    #[test]
    fn a_finding_is_one_line_that_names_the_place_and_what_is_done() {
        let line = sentence(&finding(Severity::Loss, seaway_original::Kind::MessageDamaged));
        let expected = "loss: foo\\u{1b}/msgs.1.dat, byte 36, sequence 2: a message is damaged: its bytes do not match its \
                        checksum -> left out: an empty message takes its sequence";
        assert_eq!(line, expected);
        let nowhere = Finding {
            file: String::new(),
            offset: None,
            sequence: None,
            ..finding(Severity::Refusal, seaway_original::Kind::InUse)
        };
        assert_eq!(
            sentence(&nowhere),
            "refusal: a running process has it open -> stop the server first"
        );
    }
}
