//! What NATS Streaming cannot hold of a store, and what it will do with what it can hold.

use std::path::Path;

use seaway_streaming::export::ExportedChannel;

use super::report::{ExportOptions, Exported, Note, Severity};
use super::target::Form;
use crate::rest::Rest;

/// Limits that NATS Streaming has when nothing else is configured (§2.2).
const MESSAGES_USUAL: u64 = 1_000_000;
const BYTES_USUAL: u64 = 1_024_000_000;
const CHANNELS_USUAL: u64 = 100;
const SUBSCRIPTIONS_USUAL: usize = 1_000;

/// Whether a channel's messages have all gone, but not their sequences.
pub(super) fn is_drained(channel: &ExportedChannel<'_>) -> bool {
    channel.last > 0 && channel.messages == 0
}

/// Counts and notes, of everything but the messages themselves.
pub(super) fn survey(rest: &Rest, store: &Path, options: &ExportOptions, form: Form) -> Exported {
    let engine = rest.engine();
    let mut found = Exported {
        store: store.to_owned(),
        cluster_id: engine.server_snapshot().cluster_id,
        clients: engine.exported_clients().count() as u64,
        ..Exported::default()
    };
    if rest.is_encrypted() && options.seal.is_none() {
        let text =
            "the store is encrypted, and the payloads will be plain: --encrypt encrypts them as NATS Streaming does";
        found.note(Note::new(Severity::Note, "plain_payloads", text));
    }
    for channel in engine.exported_channels() {
        survey_channel(rest, &channel, (options, form), &mut found);
    }
    if found.channels > CHANNELS_USUAL {
        let text = format!(
            "NATS Streaming takes no new channel beyond {CHANNELS_USUAL} unless it is told otherwise: give it -mc {} or more",
            found.channels
        );
        found.note(Note::new(Severity::Note, "limit_channels", text));
    }
    found
}

fn survey_channel(
    rest: &Rest,
    channel: &ExportedChannel<'_>,
    (options, form): (&ExportOptions, Form),
    found: &mut Exported,
) {
    let name = channel.name;
    if let Some(reason) = form.unstorable(name) {
        let text = format!("it is left out with its {} messages: {reason}", channel.messages);
        return found.note(Note::new(Severity::Loss, "channel_name", text).of(name));
    }
    found.channels += 1;
    let shown = rest.engine().channel(name, true);
    if shown
        .as_ref()
        .is_some_and(|shown| shown.subscriptions.iter().any(|one| one.paused.is_some()))
    {
        let text = "subscriptions of it are paused, which NATS Streaming does not know: it delivers to them as soon as it runs";
        found.note(Note::new(Severity::Note, "paused", text).of(name));
    }
    if shown.is_some_and(|shown| !shown.limits_set.is_empty()) {
        let text = "its limits were set at run time, and NATS Streaming takes limits from its configuration only: write them there";
        found.note(Note::new(Severity::Note, "limits_set", text).of(name));
    }
    for (first, last) in channel.lost {
        let text = match form {
            Form::Files => "they were lost before: empty messages are in their place",
            Form::Tables => "they were lost before, and are not there",
        };
        found.note(
            Note::new(Severity::Loss, "messages_lost", text)
                .of(name)
                .about(*first, *last),
        );
    }
    if is_drained(channel) && form == Form::Files {
        let text =
            "all messages are gone: an empty one keeps the last sequence, as NATS Streaming keeps the last of its own";
        found.note(
            Note::new(Severity::Note, "empty_channel", text)
                .of(name)
                .about(channel.last, channel.last),
        );
    }
    let (messages, bytes) = expected(channel, options, form);
    found.bytes += bytes;
    if messages > MESSAGES_USUAL {
        let text = format!(
            "NATS Streaming removes all but the last {MESSAGES_USUAL} messages at its start unless it is told otherwise: give it -mm {messages} or more"
        );
        found.note(Note::new(Severity::Note, "limit_messages", text).of(name));
    }
    if bytes > BYTES_USUAL {
        let text = format!(
            "NATS Streaming removes all but the last {BYTES_USUAL} bytes at its start unless it is told otherwise: give it -mb {bytes} or more"
        );
        found.note(Note::new(Severity::Note, "limit_bytes", text).of(name));
    }
    let subscriptions = rest.engine().exported_subscriptions(name);
    if subscriptions.len() >= SUBSCRIPTIONS_USUAL {
        let text = format!(
            "NATS Streaming takes no new subscription beyond {SUBSCRIPTIONS_USUAL} of a channel unless it is told otherwise: give it -msu {} or more",
            subscriptions.len() + 1
        );
        found.note(Note::new(Severity::Note, "limit_subscriptions", text).of(name));
    }
    found.subscriptions += subscriptions.len() as u64;
    let ranges = { subscriptions.iter() }.flat_map(|one| form.pending(&one.pending, channel.first));
    found.pending += ranges.map(|(first, last)| last - first + 1).sum::<u64>();
    found.messages += messages;
}

/// Messages, and what NATS Streaming counts for them.
fn expected(channel: &ExportedChannel<'_>, options: &ExportOptions, form: Form) -> (u64, u64) {
    const SEALED: u64 = 32;
    if channel.last == 0 {
        return (0, 0);
    }
    let messages = match form {
        Form::Files => (channel.last + 1 - channel.first).max(1),
        Form::Tables => channel.messages,
    };
    let sealed = if options.seal.is_some() { SEALED } else { 0 };
    let bytes = channel
        .bytes
        .saturating_add(messages.saturating_mul(form.counted_bytes() + sealed));
    (messages, bytes)
}
