//! Reads everything and says what an adoption would find: `seaway adopt --check`.

use std::path::Path;

use crate::channel::Channel;
use crate::directory::{Directory, Options};
use crate::encryption::{Opener, looks_encrypted};
use crate::error::Error;
use crate::finding::{Finding, Findings, Kind, Severity};
use crate::limits::GAPS_LISTED_MAX;
use crate::records::Message;
use crate::report::{ChannelReport, Disk, Report, Status, SubscriptionReport, Totals, Verdict, text, time};

/// What the original counts for each message besides its encoding.
const COUNTED_BYTES: u64 = 40;
/// What a store of Seaway's takes besides messages: prepared segments, checkpoints.
const STORE_BYTES: u64 = 192 << 20;

/// Reads a directory from end to end and changes nothing. `progress` hears of each channel when it was read.
///
/// # Errors
/// It is no directory of NATS Streaming, or cannot be read. Whatever its files say is in the report.
pub fn check(path: &Path, options: &Options, mut progress: impl FnMut(&ChannelReport)) -> Result<Report, Error> {
    let mut findings = Findings::default();
    let directory = Directory::open(path, options, &mut findings)?;
    let mut channels = Vec::new();
    let mut totals = Totals {
        clients: directory.clients().len() as u64,
        ..Totals::default()
    };
    for (position, name) in directory.channel_names().enumerate() {
        let channel = directory.channel(position, &mut findings)?;
        let opener = directory.key().map(|key| key.of_channel(name));
        let report = check_channel(name, &channel, opener.as_ref(), &directory, &mut findings)?;
        totals.add(&report);
        progress(&report);
        channels.push(report);
    }
    let clustered = directory.server().is_some_and(|info| !info.node_id.is_empty());
    if clustered {
        findings.push(Finding::new(Severity::Refusal, Kind::RaftDirectory, "server.dat"));
    }
    let verdict = match findings.worst() {
        Some(Severity::Refusal) => Verdict::Refused,
        Some(Severity::Loss) => Verdict::Losses,
        _ => Verdict::Ready,
    };
    Ok(Report {
        directory: path.display().to_string(),
        verdict,
        format_version: 1,
        server: directory.server().map(Into::into),
        clustered,
        totals,
        disk: disk(path, totals.bytes)?,
        clients: directory.clients().values().map(Into::into).collect(),
        channels,
        findings: findings.kept().to_vec(),
        findings_not_listed: findings.not_kept(),
    })
}

impl Totals {
    fn add(&mut self, channel: &ChannelReport) {
        self.channels += 1;
        self.messages += channel.messages;
        self.bytes = self.bytes.saturating_add(channel.bytes);
        for subscription in channel.subscriptions.iter().filter(|one| one.is_taken()) {
            self.subscriptions += 1;
            self.durables += u64::from(subscription.is_durable());
            self.pending = self.pending.saturating_add(subscription.pending);
        }
    }
}

fn check_channel(
    name: &[u8],
    channel: &Channel<'_>,
    opener: Option<&Opener>,
    directory: &Directory,
    findings: &mut Findings,
) -> Result<ChannelReport, Error> {
    let mut summary = Summary::default();
    let mut messages = channel.messages(findings);
    while let Some(message) = messages.next()? {
        summary.add(&message, opener);
    }
    let shown = text(name);
    summary.tell(&shown, opener.is_some(), findings);
    let subscriptions: Vec<SubscriptionReport> = channel
        .subscriptions()
        .live
        .values()
        .map(|one| SubscriptionReport::of(one, |client| directory.clients().contains_key(client)))
        .collect();
    tell_subscriptions(&shown, &subscriptions, summary.last_sequence, findings);
    Ok(ChannelReport {
        name: shown,
        slices: channel.slice_count() as u64,
        messages: summary.messages,
        bytes: summary.bytes,
        payload_bytes: summary.payload_bytes,
        first_sequence: summary.first_sequence,
        last_sequence: summary.last_sequence,
        first_time: summary.first_time.and_then(time),
        last_time: summary.last_time.and_then(time),
        missing: summary.missing,
        empty_messages: summary.empty,
        encrypted: summary.encrypted,
        decreasing_times: summary.decreasing,
        next_subscription_id: channel.subscriptions().highest_id.saturating_add(1),
        subscriptions,
    })
}

/// What the messages of a channel come to.
#[derive(Default)]
struct Summary {
    messages: u64,
    bytes: u64,
    payload_bytes: u64,
    first_sequence: u64,
    last_sequence: u64,
    first_time: Option<i64>,
    last_time: Option<i64>,
    missing: u64,
    gaps: Vec<(u64, u64)>,
    empty: u64,
    encrypted: u64,
    undecryptable: Option<(u64, u64)>,
    decreasing: u64,
}

impl Summary {
    fn add(&mut self, message: &Message<'_>, opener: Option<&Opener>) {
        if self.messages == 0 {
            self.first_sequence = message.sequence;
            self.first_time = Some(message.timestamp_ns);
        } else if message.sequence - self.last_sequence > 1 {
            let gap = (self.last_sequence + 1, message.sequence - self.last_sequence - 1);
            self.missing += gap.1;
            if self.gaps.len() < GAPS_LISTED_MAX {
                self.gaps.push(gap);
            }
        }
        self.decreasing += u64::from(self.last_time.is_some_and(|last| message.timestamp_ns < last));
        self.messages += 1;
        self.bytes += message.encoded_bytes + COUNTED_BYTES;
        self.payload_bytes += message.data.len() as u64;
        self.last_sequence = message.sequence;
        self.last_time = Some(message.timestamp_ns);
        self.empty += u64::from(message.data.is_empty());
        if looks_encrypted(message.data) {
            self.encrypted += 1;
            if opener.is_some_and(|opener| opener.open(message.data).is_err()) {
                self.undecryptable.get_or_insert((message.sequence, 0)).1 += 1;
            }
        }
    }

    fn tell(&self, channel: &str, has_key: bool, findings: &mut Findings) {
        let note = |kind| Finding::new(Severity::Note, kind, channel);
        for (sequence, count) in &self.gaps {
            findings.push(note(Kind::Gap).sequence(*sequence).count(*count));
        }
        if self.decreasing > 0 {
            findings.push(note(Kind::DecreasingTimes).count(self.decreasing));
        }
        if let Some((sequence, count)) = self.undecryptable {
            let loss = Finding::new(Severity::Loss, Kind::Undecryptable, channel);
            findings.push(loss.sequence(sequence).count(count));
        }
        if self.encrypted > 0 && !has_key {
            findings.push(note(Kind::LooksEncrypted).count(self.encrypted));
        }
    }
}

fn tell_subscriptions(channel: &str, subscriptions: &[SubscriptionReport], last: u64, findings: &mut Findings) {
    let mut tell = |kind, count: usize| {
        if count > 0 {
            let file = format!("{channel}/subs.dat");
            findings.push(Finding::new(Severity::Note, kind, file).count(count as u64));
        }
    };
    let with = |status| subscriptions.iter().filter(|one| one.status == status).count();
    tell(Kind::GhostMember, with(Status::Ghost));
    tell(Kind::OrphanSubscription, with(Status::Orphan));
    let beyond = subscriptions.iter().filter(|one| one.last_sent > last).count();
    tell(Kind::PositionBeyondEnd, beyond);
}

fn disk(path: &Path, bytes: u64) -> Result<Disk, Error> {
    let statistics = rustix::fs::statvfs(path).map_err(|error| Error::open(path, &error.into()))?;
    let mut files_bytes = 0;
    let mut folders = vec![path.to_owned()];
    // The original has one level of directories; what is deeper is not its own.
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() && folder == path => folders.push(entry.path()),
                Ok(metadata) if metadata.is_file() => files_bytes += metadata.len(),
                _ => {}
            }
        }
    }
    Ok(Disk {
        files_bytes,
        needed_bytes: bytes.saturating_add(bytes / 8).saturating_add(STORE_BYTES),
        free_bytes: statistics.f_bavail.saturating_mul(statistics.f_frsize),
    })
}
