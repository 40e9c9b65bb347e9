//! What was found of a store, as people and programs read it.

use seaway_store::OpenError;
use seaway_store::verify::{ChannelsFound, Damage, LogId, Verification};
use serde_json::{Value, json};

use crate::failure::Outcome;
use crate::output::Output;
use crate::readable::{counted, printable};

/// Runs of messages named of one damage.
const RUNS_LISTED_MAX: usize = 8;

/// What is damaged, and the messages that lie there.
pub(crate) fn show_damages(found: &Verification, output: &mut Output) -> Outcome {
    for damage in &found.damages {
        let place = match damage.length {
            _ if damage.is_missing => String::new(),
            0 => String::new(),
            length => format!(", {} from offset {}", counted(length, "byte"), damage.offset),
        };
        let remade = if damage.is_remade {
            "; it will be made again"
        } else {
            ""
        };
        output.line(&format!("{}{place}: {}{remade}", damage.file, damage.reason))?;
        for run in named(&found.channels, damage).take(RUNS_LISTED_MAX) {
            output.line(&format!("  {run}"))?;
        }
        if damage.messages.len() > RUNS_LISTED_MAX {
            let more = (damage.messages.len() - RUNS_LISTED_MAX) as u64;
            output.line(&format!("  and {}", counted(more, "more run")))?;
        }
    }
    if found.damages_not_listed > 0 {
        output.line(&format!("and {}", counted(found.damages_not_listed, "more damage")))?;
    }
    if found.refusal.is_none() {
        return show_lost(&found.channels, "they were given up", output);
    }
    if found.may_give_up {
        return show_lost(
            &found.channels,
            "a start that gives up what is damaged goes on without them",
            output,
        );
    }
    Ok(())
}

/// Messages that are in no file.
pub(crate) fn show_lost(channels: &ChannelsFound, why: &str, output: &mut Output) -> Outcome {
    if channels.lost == 0 {
        return Ok(());
    }
    let lost = counted(channels.lost, "message");
    output.line(&format!("{lost} of its channels are in no file: {why}:"))?;
    for run in channels.lost_runs.iter().take(RUNS_LISTED_MAX) {
        output.line(&format!("  {}", named_run(channels, *run)))?;
    }
    match channels.lost_runs.len().saturating_sub(RUNS_LISTED_MAX) {
        0 => Ok(()),
        more => output.line(&format!("  and {}", counted(more as u64, "more run"))),
    }
}

/// What a start has.
pub(crate) fn show_channels(found: &Verification, output: &mut Output) -> Outcome {
    if found.refusal.is_none() {
        let live = found.channels.bounds.values();
        let live: u64 = live.map(|(first, last)| (last + 1).saturating_sub(*first)).sum();
        output.line(&format!(
            "A start finds {} with {}.",
            counted(found.channels.names.len() as u64, "channel"),
            counted(live.saturating_sub(found.channels.lost), "message"),
        ))?;
    }
    Ok(())
}

/// Its messages with their channels' names, those first that a start still has.
pub(crate) fn named<'a>(channels: &'a ChannelsFound, damage: &'a Damage) -> impl Iterator<Item = String> + 'a {
    damage.messages.iter().map(|run| named_run(channels, *run))
}

fn named_run(channels: &ChannelsFound, (channel, first, last): (LogId, u64, u64)) -> String {
    let name = match channels.names.get(&channel.0) {
        Some(name) => printable(name).into_owned(),
        None => format!("a channel that is gone or not known (number {})", channel.0),
    };
    let range = if first == last {
        format!("{first}")
    } else {
        format!("{first} to {last}")
    };
    match channels.bounds.get(&channel.0) {
        Some((begin, _)) if last < *begin => format!("{name}: {range}, which had been removed before"),
        _ => format!("{name}: {range}"),
    }
}

/// Runs of messages as a document has them.
pub(crate) fn runs(channels: &ChannelsFound, runs: &[(LogId, u64, u64)]) -> Value {
    let run = |(channel, first, last): &(LogId, u64, u64)| {
        let name = channels.names.get(&channel.0);
        json!({ "channel": name, "number": channel.0, "first": first, "last": last })
    };
    runs.iter().map(run).collect()
}

/// As a document.
pub(crate) fn document(found: &Verification) -> Value {
    let damages = found.damages.iter().map(|damage| {
        json!({
            "file": damage.file,
            "offset": damage.offset,
            "length": damage.length,
            "reason": damage.reason,
            "is_remade": damage.is_remade,
            "messages": runs(&found.channels, &damage.messages),
        })
    });
    json!({
        "segments": found.segments,
        "records": found.records,
        "bytes": found.bytes,
        "is_member": found.is_member,
        "has_votes": found.has_votes,
        "channels": found.channels.names.len(),
        "lost": found.channels.lost,
        "lost_messages": runs(&found.channels, &found.channels.lost_runs),
        "may_give_up": found.may_give_up,
        "refusal": found.refusal.as_ref().map(OpenError::to_string),
        "warnings": found.warnings,
        "damages": damages.collect::<Vec<_>>(),
        "damages_not_listed": found.damages_not_listed,
    })
}
