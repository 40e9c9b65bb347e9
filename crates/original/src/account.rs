//! One account of whatever a server of the original's left, files or tables: everything is read once, given to a [`Taker`], and put
//! together in a [`Report`].

use std::path::{Path, PathBuf};

use crate::check::{Head, Stopped, Taker};
use crate::encryption::Key;
use crate::entities::{Clients, Subscription, Subscriptions};
use crate::error::Error;
use crate::finding::{Finding, Findings, Kind, Severity};
use crate::member::{Member, MemberChannel};
use crate::raft;
use crate::records::{Message, ServerInfo};
use crate::report::{ChannelReport, Disk, Place, Raft, Report, Status, SubscriptionReport, Totals, Verdict, text};
use crate::summary::{Summary, tell_subscriptions};

/// Is given a channel's messages one by one; `false` wants no more.
pub(crate) type Take<'a> = &'a mut dyn FnMut(&Message<'_>) -> bool;

/// What a server left, wherever it kept it.
pub(crate) trait Source {
    /// What the server said of itself.
    fn server(&self) -> Option<&ServerInfo>;
    /// Its clients.
    fn clients(&self) -> &Clients;
    /// The key that it was opened with.
    fn key(&self) -> Option<&Key>;
    /// The names of its channels.
    fn channel_names(&self) -> Vec<&[u8]>;
    /// Reads the channel at this position among the names: its messages, in order, and then what else there is.
    fn channel(&self, position: usize, findings: &mut Findings, take: Take<'_>) -> Result<Contents, Error>;
    /// Where it is.
    fn place(&self) -> Place;
    /// Where the server information is, for findings.
    fn place_of_server(&self) -> &'static str;
    /// Where the subscriptions of a channel are, for findings.
    fn place_of_subscriptions(&self, channel: &str) -> String;
    /// Bytes that the original counts for a message besides its encoding.
    fn counted_bytes(&self) -> u64;
    /// What it takes, and what a store of this content would.
    fn disk(&self, bytes: u64) -> Result<Disk, Error>;
}

/// What a channel has besides messages.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) subscriptions: Subscriptions,
    /// Message files.
    pub(crate) slices: u64,
    /// The highest sequence that the channel is known to have given out; 0 when only the messages tell.
    pub(crate) last: u64,
}

/// Reads a source from end to end. `progress` hears of each channel when it was read.
pub(crate) fn take<S: Source, T: Taker>(
    source: &S,
    raft_directory: Option<&Path>,
    mut findings: Findings,
    taker: &mut T,
    mut progress: impl FnMut(&ChannelReport),
) -> Result<Report, Stopped<T::Error>> {
    let server = source.server();
    let clustered = raft_directory.is_some() || server.is_some_and(|info| !info.node_id.is_empty());
    let cluster = match clustered {
        true => Cluster::read(source, raft_directory, &mut findings)?,
        false => None,
    };
    let member = cluster.as_ref().map(|cluster| &cluster.member);
    let clients = member.map_or(source.clients(), |member| &member.clients);
    let head = Head {
        server,
        clients,
        findings: &findings,
    };
    let taker = &mut Gate { taker, is_open: true };
    taker.look(&findings);
    taker.begin(&head).map_err(Stopped::NotTaken)?;
    let unknown = MemberChannel::default();
    let mut channels = Vec::new();
    let mut totals = Totals {
        clients: clients.len() as u64,
        ..Totals::default()
    };
    let names = source.channel_names();
    for (position, name) in names.iter().copied().enumerate() {
        let known = cluster.as_ref().map(|cluster| Known {
            channel: cluster.member.channels.get(name).unwrap_or(&unknown),
            raft_directory: &cluster.path,
            key: source.key(),
        });
        taker.look(&findings);
        let report = read_channel(source, (position, name), clients, known, &mut findings, taker)?;
        totals.add(&report);
        progress(&report);
        channels.push(report);
    }
    if let Some(cluster) = &cluster {
        for (name, channel) in &cluster.member.channels {
            if !names.iter().any(|stored| stored == name) {
                let known = Known {
                    channel,
                    raft_directory: &cluster.path,
                    key: source.key(),
                };
                taker.look(&findings);
                let known = (&known, source.counted_bytes());
                let report = read_unstored(name, known, clients, &mut findings, taker)?;
                totals.add(&report);
                channels.push(report);
            }
        }
    }
    let verdict = match findings.worst() {
        Some(Severity::Refusal) => Verdict::Refused,
        Some(Severity::Loss) => Verdict::Losses,
        _ => Verdict::Ready,
    };
    Ok(Report {
        place: source.place(),
        verdict,
        format_version: 1,
        server: server.map(Into::into),
        clustered,
        raft: cluster.as_ref().map(|cluster| cluster.position),
        totals,
        disk: source.disk(totals.bytes)?,
        clients: clients.values().map(Into::into).collect(),
        channels,
        findings: findings.kept().to_vec(),
        findings_not_listed: findings.not_kept(),
    })
}

/// Forwards as long as the taker goes on.
struct Gate<'a, T> {
    taker: &'a mut T,
    is_open: bool,
}

impl<T: Taker> Gate<'_, T> {
    fn look(&mut self, findings: &Findings) {
        self.is_open = self.is_open && self.taker.goes_on(findings.worst());
    }

    fn forward(&mut self, give: impl FnOnce(&mut T) -> Result<(), T::Error>) -> Result<(), T::Error> {
        if self.is_open { give(self.taker) } else { Ok(()) }
    }
}

impl<T: Taker> Taker for Gate<'_, T> {
    type Error = T::Error;

    fn begin(&mut self, head: &Head<'_>) -> Result<(), T::Error> {
        self.forward(|taker| taker.begin(head))
    }
    fn begin_channel(&mut self, name: &[u8]) -> Result<(), T::Error> {
        self.forward(|taker| taker.begin_channel(name))
    }
    fn message(&mut self, message: &Message<'_>, payload: &[u8]) -> Result<(), T::Error> {
        self.forward(|taker| taker.message(message, payload))
    }
    fn subscription(&mut self, subscription: &Subscription, is_online: bool) -> Result<(), T::Error> {
        self.forward(|taker| taker.subscription(subscription, is_online))
    }
    fn drained(&mut self, last: u64) -> Result<(), T::Error> {
        self.forward(|taker| taker.drained(last))
    }
    fn end_channel(&mut self) -> Result<(), T::Error> {
        self.forward(Taker::end_channel)
    }
    fn goes_on(&self, _: Option<Severity>) -> bool {
        self.is_open
    }
}

/// What the Raft directory of a cluster's member says.
struct Cluster {
    path: PathBuf,
    member: Member,
    position: Raft,
}

impl Cluster {
    /// None when it is not there; says so.
    fn read(source: &impl Source, named: Option<&Path>, findings: &mut Findings) -> Result<Option<Cluster>, Error> {
        let Some(path) = raft::locate(named, source.server()) else {
            findings.push(Finding::new(
                Severity::Refusal,
                Kind::RaftDirectory,
                source.place_of_server(),
            ));
            return Ok(None);
        };
        let (member, position) = raft::read(&path, source.key(), findings)?;
        Ok(Some(Cluster { path, member, position }))
    }
}

/// What a cluster knows of a channel, and where its messages are that are in no slice.
struct Known<'a> {
    channel: &'a MemberChannel,
    raft_directory: &'a Path,
    key: Option<&'a Key>,
}

/// One channel of the store; `known` is what the cluster knows of it, when it is a member's.
fn read_channel<S: Source, T: Taker>(
    source: &S,
    (position, name): (usize, &[u8]),
    clients: &Clients,
    known: Option<Known<'_>>,
    findings: &mut Findings,
    taker: &mut T,
) -> Result<ChannelReport, Stopped<T::Error>> {
    taker.begin_channel(name).map_err(Stopped::NotTaken)?;
    let opener = source.key().map(|key| key.of_channel(name));
    let mut summary = Summary::new(source.counted_bytes());
    let mut refused = None;
    let contents = source.channel(position, findings, &mut |message| {
        let payload = summary.add(message, opener.as_ref());
        refused = taker.message(message, &payload).err();
        refused.is_none()
    })?;
    if let Some(error) = refused {
        return Err(Stopped::NotTaken(error));
    }
    let shown = text(name);
    let mut subscriptions = &contents.subscriptions;
    // Members of a cluster have them in their Raft directories (§6.12).
    if let Some(known) = &known {
        tell_beyond_store(&shown, known.channel, summary.last_sequence, findings);
        take_logged(&mut summary, name, known, taker)?;
        subscriptions = &known.channel.subscriptions;
    }
    if contents.last > summary.last_sequence {
        go_on_behind(&mut summary, contents.last, name, findings, taker).map_err(Stopped::NotTaken)?;
    }
    summary.tell(&shown, opener.is_some(), findings);
    let last = known.as_ref().map_or(0, |known| known.channel.last);
    let last = last.max(summary.last_sequence);
    let next_id = subscriptions
        .highest_id
        .max(contents.subscriptions.highest_id)
        .saturating_add(1);
    let described = describe(subscriptions, clients);
    tell_subscriptions(&source.place_of_subscriptions(&shown), &described, last, findings);
    give(subscriptions, &described, taker).map_err(Stopped::NotTaken)?;
    Ok(summary.report(shown, contents.slices, next_id, described))
}

/// A channel has given out higher sequences than its messages have (§4.4): new ones go on behind them.
fn go_on_behind<T: Taker>(
    summary: &mut Summary,
    last: u64,
    name: &[u8],
    findings: &mut Findings,
    taker: &mut T,
) -> Result<(), T::Error> {
    let Some(timestamp_ns) = summary.last_time else {
        summary.drain(last);
        return taker.drained(last);
    };
    let from = summary.last_sequence + 1;
    let finding = Finding::new(Severity::Note, Kind::MessagesEndBefore, text(name));
    findings.push(finding.sequence(from).count(last - from + 1));
    let message = Message {
        sequence: last,
        subject: name,
        timestamp_ns,
        ..Message::default()
    };
    summary.count(&message);
    taker.message(&message, b"")
}

/// A channel that the cluster knows and the member has not stored.
fn read_unstored<T: Taker>(
    name: &[u8],
    (known, counted): (&Known<'_>, u64),
    clients: &Clients,
    findings: &mut Findings,
    taker: &mut T,
) -> Result<ChannelReport, Stopped<T::Error>> {
    taker.begin_channel(name).map_err(Stopped::NotTaken)?;
    let subscriptions = &known.channel.subscriptions;
    let (shown, next_id) = (text(name), subscriptions.highest_id.saturating_add(1));
    tell_beyond_store(&shown, known.channel, 0, findings);
    let mut summary = Summary::new(counted);
    take_logged(&mut summary, name, known, taker)?;
    summary.tell(&shown, true, findings);
    let described = describe(subscriptions, clients);
    give(subscriptions, &described, taker).map_err(Stopped::NotTaken)?;
    Ok(summary.report(shown, 0, next_id, described))
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

/// Gives a channel's subscriptions away, but for those that the original removes at its start; the channel ends with them.
fn give<T: Taker>(
    subscriptions: &Subscriptions,
    described: &[SubscriptionReport],
    taker: &mut T,
) -> Result<(), T::Error> {
    for (subscription, described) in subscriptions.live.values().zip(described) {
        if described.is_taken() {
            taker.subscription(subscription, described.status == Status::Online)?;
        }
    }
    taker.end_channel()
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

/// Messages behind those of the store that only the Raft log has: the member had not stored them yet (§6.13). They are in clear there.
fn take_logged<T: Taker>(
    summary: &mut Summary,
    name: &[u8],
    known: &Known<'_>,
    taker: &mut T,
) -> Result<(), Stopped<T::Error>> {
    let stored = summary.last_sequence;
    if known.channel.beyond(stored).0 == 0 {
        return Ok(());
    }
    let mut refused = None;
    let place = (name, known.channel);
    raft::messages_above(known.raft_directory, known.key, place, stored, |message| {
        summary.count(message);
        refused = taker.message(message, message.data).err();
        refused.is_none()
    })?;
    refused.map_or(Ok(()), |error| Err(Stopped::NotTaken(error)))
}
