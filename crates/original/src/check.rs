//! Reads everything and says what an adoption would find: `seaway adopt --check`.

use std::path::Path;

use crate::channel::Channel;
use crate::directory::{Directory, Options};
use crate::encryption::{Opener, looks_encrypted};
use crate::entities::{Clients, Subscriptions};
use crate::error::Error;
use crate::finding::{Finding, Findings, Kind, Severity};
use crate::limits::GAPS_LISTED_MAX;
use crate::member::{Member, MemberChannel};
use crate::raft;
use crate::records::Message;
use crate::report::{ChannelReport, Disk, Raft, Report, Status, SubscriptionReport, Totals, Verdict, text, time};

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
    let server = directory.server();
    let clustered = options.raft_directory.is_some() || server.is_some_and(|info| !info.node_id.is_empty());
    let (member, raft) = match clustered {
        true => cluster(&directory, options, &mut findings)?.unzip(),
        false => (None, None),
    };
    let clients = member
        .as_ref()
        .map_or(directory.clients(), |member: &Member| &member.clients);
    let unknown = MemberChannel::default();
    let mut channels = Vec::new();
    let mut totals = Totals {
        clients: clients.len() as u64,
        ..Totals::default()
    };
    for (position, name) in directory.channel_names().enumerate() {
        let channel = directory.channel(position, &mut findings)?;
        let opener = directory.key().map(|key| key.of_channel(name));
        let summary = Summary::of(&channel, opener.as_ref(), &mut findings)?;
        let shown = text(name);
        summary.tell(&shown, opener.is_some(), &mut findings);
        let (mut subscriptions, mut last) = (channel.subscriptions(), summary.last_sequence);
        // Members of a cluster have them in their Raft directories (§6.12).
        if let Some(member) = &member {
            let known = member.channels.get(name).unwrap_or(&unknown);
            tell_beyond_store(&shown, known, summary.last_sequence, &mut findings);
            subscriptions = &known.subscriptions;
            last = last.max(known.last);
        }
        let next_id = subscriptions
            .highest_id
            .max(channel.subscriptions().highest_id)
            .saturating_add(1);
        let described = describe(subscriptions, clients);
        tell_subscriptions(&shown, &described, last, &mut findings);
        let report = summary.report(shown, channel.slice_count() as u64, next_id, described);
        totals.add(&report);
        progress(&report);
        channels.push(report);
    }
    for (name, known) in member.iter().flat_map(|member| &member.channels) {
        if !directory.channel_names().any(|stored| stored == name) {
            let (shown, next_id) = (text(name), known.subscriptions.highest_id.saturating_add(1));
            tell_beyond_store(&shown, known, 0, &mut findings);
            let described = describe(&known.subscriptions, clients);
            let report = Summary::default().report(shown, 0, next_id, described);
            totals.add(&report);
            channels.push(report);
        }
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
        server: server.map(Into::into),
        clustered,
        raft,
        totals,
        disk: disk(path, totals.bytes)?,
        clients: clients.values().map(Into::into).collect(),
        channels,
        findings: findings.kept().to_vec(),
        findings_not_listed: findings.not_kept(),
    })
}

/// What the Raft directory of a cluster's member says, if it is there.
fn cluster(directory: &Directory, options: &Options, findings: &mut Findings) -> Result<Option<(Member, Raft)>, Error> {
    match raft::locate(options.raft_directory.as_deref(), directory.server()) {
        Some(path) => raft::read(&path, directory.key(), findings).map(Some),
        None => {
            findings.push(Finding::new(Severity::Refusal, Kind::RaftDirectory, "server.dat"));
            Ok(None)
        }
    }
}

/// Messages that the cluster has and the member's store has not.
fn tell_beyond_store(channel: &str, known: &MemberChannel, stored: u64, findings: &mut Findings) {
    let (logged, missing) = known.beyond(stored);
    if logged > 0 {
        let first = known.logged.map_or(0, |(first, _)| first.max(stored.saturating_add(1)));
        let finding = Finding::new(Severity::Repair, Kind::MessagesOnlyInRaftLog, channel);
        findings.push(finding.count(logged).sequence(first));
    }
    if missing > 0 {
        let finding = Finding::new(Severity::Loss, Kind::MessagesMissing, channel);
        findings.push(finding.count(missing).sequence(stored.saturating_add(1)));
    }
}

fn describe(subscriptions: &Subscriptions, clients: &Clients) -> Vec<SubscriptionReport> {
    let live = subscriptions.live.values();
    live.map(|one| SubscriptionReport::of(one, |client| clients.contains_key(client)))
        .collect()
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
    fn of(channel: &Channel<'_>, opener: Option<&Opener>, findings: &mut Findings) -> Result<Self, Error> {
        let mut summary = Self::default();
        let mut messages = channel.messages(findings);
        while let Some(message) = messages.next()? {
            summary.add(&message, opener);
        }
        Ok(summary)
    }

    fn report(
        &self,
        name: String,
        slices: u64,
        next_subscription_id: u64,
        subscriptions: Vec<SubscriptionReport>,
    ) -> ChannelReport {
        ChannelReport {
            name,
            slices,
            messages: self.messages,
            bytes: self.bytes,
            payload_bytes: self.payload_bytes,
            first_sequence: self.first_sequence,
            last_sequence: self.last_sequence,
            first_time: self.first_time.and_then(time),
            last_time: self.last_time.and_then(time),
            missing: self.missing,
            empty_messages: self.empty,
            encrypted: self.encrypted,
            decreasing_times: self.decreasing,
            next_subscription_id,
            subscriptions,
        }
    }

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
