//! The sentences. Programs compare codes and facts; these are for people and may change.

use std::fmt::Write as _;

use super::assess::{Case, Unacknowledged};
use crate::bus::Destination;
use crate::event::utc::Utc;
use crate::why::{Verdict, WhyQuestion};

/// Ranges that a sentence names; the facts have more.
const RANGES_SAID: usize = 3;

/// What a verdict means for a subscription, and what to do.
pub(super) fn sentences(case: &Case<'_>, verdict: Verdict) -> (String, String) {
    let who = name(case);
    let (words, advice) = match verdict {
        Verdict::BusDown => (
            format!("{who} gets nothing because the connection to the message bus is down; {}.", backlog(case)),
            "Restore the connection to the NATS servers; delivery goes on by itself.".to_owned(),
        ),
        Verdict::ReadFailing => (
            format!("{who} waits because its messages could not be read from the store; {}.", backlog(case)),
            "Look at the log for the reason and check the disk. The read is tried again every second.".to_owned(),
        ),
        Verdict::Paused => paused(case, &who),
        Verdict::Offline | Verdict::NoMembers => offline(case, &who),
        Verdict::ClientClosing => (
            format!("{who} gets nothing more: the connection of its client is being closed."),
            "Nothing to do. A durable continues when its client subscribes again.".to_owned(),
        ),
        Verdict::ClientFailing => failing(case, &who),
        Verdict::ConnectionCongested if is_awaited(case) => (
            format!("{who} is awaited: its client has not come back since the restart; {}.", backlog(case)),
            "Nothing to do. After two seconds nobody is waited for any more.".to_owned(),
        ),
        Verdict::ConnectionCongested => (
            format!(
                "{who} is paused for {}: its connection does not read what was already sent; {}.",
                span(case.since(case.subscription.paused().map_or(case.now.monotonic, |pause| pause.since))),
                backlog(case)
            ),
            "Look at the client's process and its network: it reads too slowly or not at all (see pending_bytes in /connz). \
             Delivery goes on by itself as soon as it reads."
                .to_owned(),
        ),
        Verdict::Starting => (
            format!("{who} has just subscribed: its request is being made durable, then messages flow."),
            "Nothing to do. If this lasts, the disk is slow: see /metrics for the time commits take.".to_owned(),
        ),
        Verdict::OnHoldAfterResume => (
            format!("{who} was resumed and is sent its {} again before anything new.", held(case)),
            "Nothing to do; new messages follow.".to_owned(),
        ),
        Verdict::OnHoldAfterRestart => (
            format!("{who} held {} when the server restarted; they are looked at before anything new.", held(case)),
            "Nothing to do; new messages follow.".to_owned(),
        ),
        Verdict::Stalled => stalled(case, &who),
        Verdict::Departing => (
            format!("{who} has left its group; the {} it held wait for a member that can take them.", held(case)),
            "If this lasts, the remaining members are stalled, paused or gone: look at them.".to_owned(),
        ),
        Verdict::MessagesDamaged => damaged(case, &who),
        Verdict::CatchingUp => catching_up(case, &who),
        Verdict::MessagesExpired => expired(case, &who),
        Verdict::JournalPoisoned => (
            format!("{who} has everything that is durable. Nothing new can come: the store failed and takes nothing more."),
            "Read the log, check the disk, and restart the server; what was acknowledged to publishers is kept.".to_owned(),
        ),
        Verdict::JournalFull => (
            format!(
                "{who} has everything there is. Nothing new can come: publishes are refused because the store is full ({}).",
                case.store_full.unwrap_or_default()
            ),
            "Free space on the disk, or lower the limits of channels; service resumes by itself.".to_owned(),
        ),
        Verdict::WaitingForDisk => (
            format!("{who} waits for the disk: {} not durable yet.", are(case.undurable(), "message", "is", "are")),
            "Nothing to do. If this lasts, the disk is slow: see /metrics for the time commits take.".to_owned(),
        ),
        Verdict::Redelivering | Verdict::WaitingForAcks => unacknowledged(case, &who),
        _ => (
            match case.channel.log().last() {
                0 => format!("{who} has everything: nothing has been published to the channel yet."),
                last => format!("{who} has everything: it stands at sequence {}, and the channel ends at {last}.", case.cursor()),
            },
            "Nothing is wrong here. If messages are missing, look at the publishers and at the channel's name.".to_owned(),
        ),
    };
    (words, advice)
}

/// What is said of a store that failed, beside something else.
pub(super) fn store_failed(words: &mut String, advice: &mut String) {
    words.push_str(
        " The store failed and takes nothing more: nobody can connect, subscribe or publish before a restart.",
    );
    advice.insert_str(0, "First read the log, check the disk, and restart the server. ");
}

fn paused(case: &Case<'_>, who: &str) -> (String, String) {
    let (by, since) = match case.halt() {
        Some(halt) => (String::from_utf8_lossy(&halt.by), halt.since),
        None => return (String::new(), String::new()),
    };
    (
        format!(
            "{who} is paused by {by} since {}: it is sent nothing, and acks are taken; {}.",
            Utc(since),
            backlog(case)
        ),
        "Resume it when it is to go on: `seaway subscription resume`, or in the console. Nothing is lost before that but what limits remove."
            .to_owned(),
    )
}

fn stalled(case: &Case<'_>, who: &str) -> (String, String) {
    let subscription = case.subscription;
    let mut words = format!(
        "{who} has been stalled{}: it holds {} ({}), and may hold {} (MaxInflight). It gets nothing new until it acknowledges",
        since(case, subscription.window.stalled_since()),
        held(case),
        ranges(case),
        subscription.window.max()
    );
    if let Some(group) = case.group {
        let _ = write!(
            words,
            "; {} of {} members of its group are stalled",
            case.stalled_members(),
            group.members().len()
        );
    }
    let _ = write!(words, "; {}.", backlog(case));
    push_redelivery(case, &mut words);
    let advice = format!(
        "Client {} must acknowledge: see whether it still works, fails on these messages, or needs longer than AckWait ({}). \
         More MaxInflight helps only if it is slow to answer, not if it never does.",
        quoted(&text(subscription.client_name())),
        span(subscription.window.ack_wait())
    );
    (words, advice)
}

fn failing(case: &Case<'_>, who: &str) -> (String, String) {
    let failing_since = case
        .client
        .map(|client| client.heartbeat.failing_since().unwrap_or(case.now.monotonic));
    let tolerated = case.engine.options.heartbeat_fail_count;
    let failed = case.failed_heartbeats();
    let mut words = format!(
        "{who} may be lost: its client has not answered {} in a row,{}; after {} it is closed.",
        count(u64::from(failed), "heartbeat"),
        since(case, failing_since),
        u64::from(tolerated) + 1
    );
    if case.group.is_some() {
        words.push_str(" Other members of its group are preferred to it meanwhile.");
    } else {
        words.push_str(" New messages are still sent to it, but nothing is sent again.");
    }
    let advice = "See whether the client's process is alive, paused, or cut off from the network. It recovers with the first \
                  heartbeat that it answers.";
    (words, advice.to_owned())
}

fn offline(case: &Case<'_>, who: &str) -> (String, String) {
    let subscription = case.subscription;
    let lost = match subscription.offline_since() {
        Some(at) => format!("for {}", span(case.since(at))),
        None => "since before the server's start".to_owned(),
    };
    let owner = text(subscription.client_name());
    let last = if owner.is_empty() {
        String::new()
    } else {
        format!(" (the last was client {})", quoted(&owner))
    };
    let what = if case.group.is_some() {
        format!("{who} has had no member {lost}{last}")
    } else {
        format!("{who} has had no owner {lost}{last}")
    };
    let words = format!("{what}. {} unacknowledged; {}.", held_capital(case), backlog(case));
    let advice = if case.group.is_some() {
        "Start a client that subscribes to the group with the same durable name: it gets what is unacknowledged first, then \
         what is new."
            .to_owned()
    } else {
        format!(
            "Start client {} and let it subscribe with the same durable name, or unsubscribe the durable if nobody needs it: \
             it counts against the limit of subscriptions.",
            quoted(&owner)
        )
    };
    (words, advice)
}

fn catching_up(case: &Case<'_>, who: &str) -> (String, String) {
    let mut words = format!(
        "{who} is catching up: it got sequence {} and the channel ends at {}, {} to go",
        case.cursor(),
        case.channel.log().durable_last(),
        count(case.waiting(), "message")
    );
    if let Some(reading) = case.reading() {
        let _ = write!(words, "; messages from {} on are being read from disk", reading.from);
    }
    let rate = case.catching_up().and_then(|(since, from)| case.rate(since, from));
    if let Some(rate) = rate.filter(|rate| *rate > 0) {
        let left = (case.waiting() / rate).saturating_mul(1_000_000_000);
        let _ = write!(words, ", at {rate} per second, which leaves about {}", span(left));
    }
    words.push('.');
    let advice = "Nothing to do unless it falls further behind. A small MaxInflight makes catching up slow, because each \
                  round waits for acks.";
    (words, advice.to_owned())
}

fn damaged(case: &Case<'_>, who: &str) -> (String, String) {
    let pending = case.subscription.window.pending();
    let runs: Vec<(u64, u64)> = pending.held_back_runs().take(RANGES_SAID).collect();
    let said: Vec<String> = runs.iter().map(|run| range(*run)).collect();
    let listed: u64 = runs.iter().map(|(first, last)| last - first + 1).sum();
    let mut words = format!(
        "{who} was not sent {} that cannot be read from the store: {} {}",
        count(pending.held_back() as u64, "message"),
        if pending.held_back() == 1 {
            "sequence"
        } else {
            "sequences"
        },
        said.join(", ")
    );
    let more = (pending.held_back() as u64).saturating_sub(listed);
    if more > 0 {
        let _ = write!(words, " and {more} more");
    }
    let _ = write!(words, ". It goes on behind them; {}.", backlog(case));
    let advice = "The log names the file and the place. Put the file back as it was, from a copy: they are sent within two minutes, or \
                  after a restart. If there is no copy, the channel's limits remove them in time.";
    (words, advice.to_owned())
}

fn range((first, last): (u64, u64)) -> String {
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

fn expired(case: &Case<'_>, who: &str) -> (String, String) {
    let words = format!(
        "{who} missed {}: sequences {} to {} were removed by the channel's limits before they could be sent. {}.",
        count(case.expired(), "message"),
        case.cursor() + 1,
        case.channel.log().first() - 1,
        if case.waiting() == 0 {
            "There is nothing else to send".to_owned()
        } else {
            format!("It goes on at sequence {}", case.channel.log().first())
        }
    );
    let advice =
        "Raise max_msgs, max_bytes or max_age of the channel if subscribers may be away or slow for this long.";
    (words, advice.to_owned())
}

fn unacknowledged(case: &Case<'_>, who: &str) -> (String, String) {
    let pending = count(case.subscription.window.pending().len() as u64, "message");
    let mut words = format!(
        "{who} has been sent everything, and has not acknowledged {pending}: {}",
        ranges(case)
    );
    if let Some(again) = case.redelivered() {
        let _ = write!(
            words,
            "; sequence {} was sent again {} without an ack",
            again.first,
            times(again.count)
        );
    }
    words.push('.');
    push_redelivery(case, &mut words);
    let client = quoted(&text(case.subscription.client_name()));
    let advice = if case.redelivered().is_some() {
        format!(
            "Client {client} gets these messages and does not acknowledge them within AckWait ({}): see whether it fails on \
             them or needs longer.",
            span(case.subscription.window.ack_wait())
        )
    } else {
        format!("Nothing to do: client {client} has these messages and is expected to acknowledge them.")
    };
    (words, advice)
}

/// For several subscriptions: how many have which verdict.
pub(super) fn several(channel: &str, counts: &[usize]) -> (String, String) {
    let found = || Verdict::ALL.into_iter().zip(counts).filter(|(_, count)| **count > 0);
    let total: usize = counts.iter().sum();
    let attention: usize = found()
        .filter(|(verdict, _)| verdict.needs_attention())
        .map(|(_, count)| count)
        .sum();
    let list: Vec<String> = found()
        .map(|(verdict, count)| format!("{count} {}", verdict.code()))
        .collect();
    let channel = quoted(channel);
    let words = if attention == 0 {
        format!(
            "All {total} subscriptions of channel {channel} that were asked for are receiving or have everything: {}.",
            list.join(", ")
        )
    } else {
        format!(
            "Of {total} subscriptions of channel {channel}, {attention} need attention: {}.",
            list.join(", ")
        )
    };
    let advice = if attention == 0 {
        "Nothing to do."
    } else {
        "Each subscription has its own words and advice below."
    };
    (words, advice.to_owned())
}

/// When nothing matches.
pub(super) fn unknown(
    question: &WhyQuestion,
    verdict: Verdict,
    names: &[String],
    registered: Option<bool>,
) -> (String, String) {
    let of = |wanted: &Option<Vec<u8>>| quoted(&text(wanted.as_deref().unwrap_or_default()));
    let channel = quoted(&text(&question.channel));
    let list = || names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    let known = |none: &str, some: &str| match names.is_empty() {
        true => format!(" {none}"),
        false => format!(" {some} {}.", list()),
    };
    let (words, advice) = match verdict {
        Verdict::ChannelUnknown => (
            format!(
                "There is no channel {channel}: nobody has published or subscribed to it, or it was deleted for inactivity.{}",
                known("No channel has a similar name.", "Similar names:")
            ),
            "Check the name, which is case-sensitive. A publish or a subscription creates the channel.",
        ),
        Verdict::DurableUnknown => (
            format!(
                "Channel {channel} has no durable {}{}.{}",
                of(&question.durable),
                question
                    .client
                    .as_ref()
                    .map_or(String::new(), |_| format!(" of client {}", of(&question.client))),
                known("It has no durable at all.", "Its durables:")
            ),
            "A durable belongs to one client ID and one channel, and goes when it is unsubscribed.",
        ),
        Verdict::QueueUnknown => (
            format!(
                "Channel {channel} has no queue group {}.{}",
                of(&question.queue),
                known("It has no queue group at all.", "Its queue groups:")
            ),
            "A group without durable name goes with its last member.",
        ),
        Verdict::ClientUnknown => (
            format!(
                "Client {} has no subscription on channel {channel}; it is {}.{}",
                of(&question.client),
                if registered == Some(true) {
                    "connected"
                } else {
                    "not connected"
                },
                known("No client has one.", "Clients that have one:")
            ),
            "If it was there before: plain subscriptions go when a client closes, is lost, or is replaced. See the log.",
        ),
        _ => (
            format!("Channel {channel} has no subscriptions: nobody receives what is published to it."),
            "Subscribe. Messages are kept as long as the channel's limits allow.",
        ),
    };
    (words, advice.to_owned())
}

/// The subscription in a sentence.
fn name(case: &Case<'_>) -> String {
    let subscription = case.subscription;
    let client = quoted(&text(subscription.client_name()));
    match case.group {
        Some(group) if case.is_offline() => format!("Queue group {}", quoted(&text(group.name()))),
        Some(group) => format!("Client {client} in queue group {}", quoted(&text(group.name()))),
        None if subscription.is_durable() => {
            format!("Durable {} of client {client}", quoted(&text(subscription.durable())))
        }
        None => format!("The subscription of client {client}"),
    }
}

/// Whether nobody listens on its inbox yet, after a restart.
fn is_awaited(case: &Case<'_>) -> bool {
    let pause = case.subscription.paused();
    pause.is_some_and(|pause| pause.destination == Destination::AWAITED)
}

fn backlog(case: &Case<'_>) -> String {
    match case.waiting() {
        0 => "no new messages wait for it".to_owned(),
        waiting => format!("{} for it", are(waiting, "new message", "waits", "wait")),
    }
}

fn held(case: &Case<'_>) -> String {
    count(
        case.subscription.window.pending().len() as u64,
        "unacknowledged message",
    )
}

fn held_capital(case: &Case<'_>) -> String {
    match case.subscription.window.pending().len() {
        0 => "No message is".to_owned(),
        1 => "1 message is".to_owned(),
        more => format!("{more} messages are"),
    }
}

/// The unacknowledged sequences, the first few ranges of them.
fn ranges(case: &Case<'_>) -> String {
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for &Unacknowledged { first, last, .. } in &case.unacknowledged {
        match merged.last_mut() {
            Some(before) if before.1 + 1 == first => before.1 = last,
            _ => merged.push((first, last)),
        }
    }
    let said: Vec<String> = merged.iter().take(RANGES_SAID).map(|run| range(*run)).collect();
    let listed: u64 = merged
        .iter()
        .take(RANGES_SAID)
        .map(|(first, last)| last - first + 1)
        .sum();
    let more = (case.subscription.window.pending().len() as u64).saturating_sub(listed);
    let noun = if case.subscription.window.pending().len() == 1 {
        "sequence"
    } else {
        "sequences"
    };
    let mut text = format!("{noun} {}", said.join(", "));
    if more > 0 {
        let _ = write!(text, " and {more} more");
    }
    text
}

fn push_redelivery(case: &Case<'_>, words: &mut String) {
    if let Some(at) = case.next_redelivery() {
        let _ = write!(
            words,
            " The next redelivery is due in {}.",
            span(at.saturating_sub(case.now.monotonic))
        );
    }
}

fn since(case: &Case<'_>, at: Option<u64>) -> String {
    match at {
        Some(at) => format!(" for {}", span(case.since(at))),
        None => " since before the server's start".to_owned(),
    }
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn are(number: u64, noun: &str, one: &str, many: &str) -> String {
    format!("{} {}", count(number, noun), if number == 1 { one } else { many })
}

fn quoted(name: &str) -> String {
    format!("'{name}'")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A span of time as people say it: at most two units.
fn span(nanoseconds: u64) -> String {
    let milliseconds = nanoseconds / 1_000_000;
    let (seconds, minutes, hours) = (milliseconds / 1000, milliseconds / 60_000, milliseconds / 3_600_000);
    match (hours / 24, hours, minutes, seconds) {
        (0, 0, 0, 0) => format!("{milliseconds}ms"),
        (0, 0, 0, seconds) if seconds < 10 => format!("{seconds}.{}s", milliseconds % 1000 / 100),
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m{}s", seconds % 60),
        (0, hours, minutes, _) => format!("{hours}h{}m", minutes % 60),
        (days, hours, ..) => format!("{days}d{}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        const SECOND: u64 = 1_000_000_000;
        for (nanoseconds, said) in [
            (0, "0ms"),
            (999_999_999, "999ms"),
            (SECOND, "1.0s"),
            (SECOND * 59, "59s"),
            (SECOND * 125, "2m5s"),
            (SECOND * 3_700, "1h1m"),
            (SECOND * 90_000, "1d1h"),
        ] {
            assert_eq!(span(nanoseconds), said);
        }
    }
}
