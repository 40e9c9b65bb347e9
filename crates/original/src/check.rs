//! Reads everything once and says what was found: `seaway adopt --check`, and with a [`Taker`] the adoption itself.

use std::borrow::Cow;
use std::convert::Infallible;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::channel::Channel;
use crate::directory::{Directory, Options};
use crate::encryption::{Key, Opener, looks_encrypted};
use crate::entities::{Clients, Subscription, Subscriptions};
use crate::error::Error;
use crate::finding::{Finding, Findings, Kind, Severity};
use crate::limits::GAPS_LISTED_MAX;
use crate::member::{Member, MemberChannel};
use crate::raft;
use crate::records::{Message, ServerInfo};
use crate::report::{ChannelReport, Disk, Raft, Report, Status, SubscriptionReport, Totals, Verdict, text, time};

/// What the original counts for each message besides its encoding.
const COUNTED_BYTES: u64 = 40;
/// What a store of Seaway's takes besides messages: prepared segments, directories, checkpoints.
const STORE_BYTES: u64 = 192 << 20;

/// Is given everything that is taken of a directory while [`read`] goes through it, once and in order.
pub trait Taker {
    /// Why it takes no more.
    type Error;

    /// Before any channel: who wrote the directory, its clients, and what was found so far. Another finding may follow.
    ///
    /// # Errors
    /// Nothing is to be read.
    fn begin(&mut self, head: &Head<'_>) -> Result<(), Self::Error>;

    /// A channel begins.
    ///
    /// # Errors
    /// It takes no more.
    fn begin_channel(&mut self, name: &[u8]) -> Result<(), Self::Error>;

    /// A message of that channel. Sequences ascend, times need not; `payload` is decrypted where that is possible.
    ///
    /// # Errors
    /// It takes no more.
    fn message(&mut self, message: &Message<'_>, payload: &[u8]) -> Result<(), Self::Error>;

    /// A subscription of that channel, after its messages. Those that the original removes at its start are not among them.
    ///
    /// # Errors
    /// It takes no more.
    fn subscription(&mut self, subscription: &Subscription, is_online: bool) -> Result<(), Self::Error>;

    /// The channel ends.
    ///
    /// # Errors
    /// It takes no more.
    fn end_channel(&mut self) -> Result<(), Self::Error>;

    /// Asked before each channel: whether there is any use in giving it more after the worst of what was found. What is there is read to
    /// the end all the same, for the report.
    fn goes_on(&self, worst: Option<Severity>) -> bool;
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
    fn end_channel(&mut self) -> Result<(), T::Error> {
        self.forward(Taker::end_channel)
    }
    fn goes_on(&self, _: Option<Severity>) -> bool {
        self.is_open
    }
}

/// What is known of a directory before its channels are read.
#[derive(Debug)]
pub struct Head<'a> {
    /// What the server said of itself.
    pub server: Option<&'a ServerInfo>,
    /// Its clients.
    pub clients: &'a Clients,
    /// Everything odd so far.
    pub findings: &'a Findings,
}

/// Why [`read`] did not come to the end.
#[derive(Debug)]
pub enum Stopped<E> {
    /// The directory is none of NATS Streaming, or cannot be read.
    Unreadable(Error),
    /// Whoever takes it takes no more.
    NotTaken(E),
}

impl<E> From<Error> for Stopped<E> {
    fn from(error: Error) -> Self {
        Stopped::Unreadable(error)
    }
}

/// Takes nothing.
struct Nobody;

impl Taker for Nobody {
    type Error = Infallible;

    fn begin(&mut self, _: &Head<'_>) -> Result<(), Infallible> {
        Ok(())
    }
    fn begin_channel(&mut self, _: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }
    fn message(&mut self, _: &Message<'_>, _: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }
    fn subscription(&mut self, _: &Subscription, _: bool) -> Result<(), Infallible> {
        Ok(())
    }
    fn end_channel(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
    fn goes_on(&self, _: Option<Severity>) -> bool {
        true
    }
}

/// Reads a directory from end to end and changes nothing. `progress` hears of each channel when it was read.
///
/// # Errors
/// It is no directory of NATS Streaming, or cannot be read. Whatever its files say is in the report.
pub fn check(path: &Path, options: &Options, progress: impl FnMut(&ChannelReport)) -> Result<Report, Error> {
    read(path, options, &mut Nobody, progress).map_err(|stopped| match stopped {
        Stopped::Unreadable(error) => error,
        Stopped::NotTaken(never) => match never {},
    })
}

/// The same, and gives everything to `taker` on the way.
///
/// # Errors
/// As [`check`], and what `taker` says.
pub fn read<T: Taker>(
    path: &Path,
    options: &Options,
    taker: &mut T,
    mut progress: impl FnMut(&ChannelReport),
) -> Result<Report, Stopped<T::Error>> {
    let mut findings = Findings::default();
    let directory = Directory::open(path, options, &mut findings)?;
    let server = directory.server();
    let clustered = options.raft_directory.is_some() || server.is_some_and(|info| !info.node_id.is_empty());
    let cluster = match clustered {
        true => Cluster::read(&directory, options, &mut findings)?,
        false => None,
    };
    let member = cluster.as_ref().map(|cluster| &cluster.member);
    let clients = member.map_or(directory.clients(), |member| &member.clients);
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
    for (position, name) in directory.channel_names().enumerate() {
        let known = cluster.as_ref().map(|cluster| Known {
            channel: cluster.member.channels.get(name).unwrap_or(&unknown),
            raft_directory: &cluster.path,
            key: directory.key(),
        });
        taker.look(&findings);
        let report = read_channel(&directory, (position, name), clients, known, &mut findings, taker)?;
        totals.add(&report);
        progress(&report);
        channels.push(report);
    }
    if let Some(cluster) = &cluster {
        for (name, channel) in &cluster.member.channels {
            if !directory.channel_names().any(|stored| stored == name) {
                let known = Known {
                    channel,
                    raft_directory: &cluster.path,
                    key: directory.key(),
                };
                taker.look(&findings);
                let report = read_unstored(name, &known, clients, &mut findings, taker)?;
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
        directory: path.display().to_string(),
        verdict,
        format_version: 1,
        server: server.map(Into::into),
        clustered,
        raft: cluster.as_ref().map(|cluster| cluster.position),
        totals,
        disk: disk(path, totals.bytes)?,
        clients: clients.values().map(Into::into).collect(),
        channels,
        findings: findings.kept().to_vec(),
        findings_not_listed: findings.not_kept(),
    })
}

/// What the Raft directory of a cluster's member says.
struct Cluster {
    path: PathBuf,
    member: Member,
    position: Raft,
}

impl Cluster {
    /// None when it is not there; says so.
    fn read(directory: &Directory, options: &Options, findings: &mut Findings) -> Result<Option<Cluster>, Error> {
        let Some(path) = raft::locate(options.raft_directory.as_deref(), directory.server()) else {
            findings.push(Finding::new(Severity::Refusal, Kind::RaftDirectory, "server.dat"));
            return Ok(None);
        };
        let (member, position) = raft::read(&path, directory.key(), findings)?;
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
fn read_channel<T: Taker>(
    directory: &Directory,
    (position, name): (usize, &[u8]),
    clients: &Clients,
    known: Option<Known<'_>>,
    findings: &mut Findings,
    taker: &mut T,
) -> Result<ChannelReport, Stopped<T::Error>> {
    taker.begin_channel(name).map_err(Stopped::NotTaken)?;
    let channel = directory.channel(position, findings)?;
    let opener = directory.key().map(|key| key.of_channel(name));
    let mut summary = Summary::of(&channel, opener.as_ref(), findings, taker)?;
    let shown = text(name);
    let mut subscriptions = channel.subscriptions();
    // Members of a cluster have them in their Raft directories (§6.12).
    if let Some(known) = &known {
        tell_beyond_store(&shown, known.channel, summary.last_sequence, findings);
        summary.take_logged(name, known, taker)?;
        subscriptions = &known.channel.subscriptions;
    }
    summary.tell(&shown, opener.is_some(), findings);
    let last = known.as_ref().map_or(0, |known| known.channel.last);
    let last = last.max(summary.last_sequence);
    let next_id = subscriptions
        .highest_id
        .max(channel.subscriptions().highest_id)
        .saturating_add(1);
    let described = describe(subscriptions, clients);
    tell_subscriptions(&shown, &described, last, findings);
    give(subscriptions, &described, taker).map_err(Stopped::NotTaken)?;
    Ok(summary.report(shown, channel.slice_count() as u64, next_id, described))
}

/// A channel that the cluster knows and the member has not stored.
fn read_unstored<T: Taker>(
    name: &[u8],
    known: &Known<'_>,
    clients: &Clients,
    findings: &mut Findings,
    taker: &mut T,
) -> Result<ChannelReport, Stopped<T::Error>> {
    taker.begin_channel(name).map_err(Stopped::NotTaken)?;
    let subscriptions = &known.channel.subscriptions;
    let (shown, next_id) = (text(name), subscriptions.highest_id.saturating_add(1));
    tell_beyond_store(&shown, known.channel, 0, findings);
    let mut summary = Summary::default();
    summary.take_logged(name, known, taker)?;
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
    fn of<T: Taker>(
        channel: &Channel<'_>,
        opener: Option<&Opener>,
        findings: &mut Findings,
        taker: &mut T,
    ) -> Result<Self, Stopped<T::Error>> {
        let mut summary = Self::default();
        let mut messages = channel.messages(findings);
        while let Some(message) = messages.next()? {
            let payload = summary.add(&message, opener);
            taker.message(&message, &payload).map_err(Stopped::NotTaken)?;
        }
        Ok(summary)
    }

    /// Messages behind those of the store that only the Raft log has: the member had not stored them yet (§6.13). They are in clear there.
    fn take_logged<T: Taker>(
        &mut self,
        name: &[u8],
        known: &Known<'_>,
        taker: &mut T,
    ) -> Result<(), Stopped<T::Error>> {
        let stored = self.last_sequence;
        if known.channel.beyond(stored).0 == 0 {
            return Ok(());
        }
        let mut refused = None;
        let place = (name, known.channel);
        raft::messages_above(known.raft_directory, known.key, place, stored, |message| {
            self.count(message);
            refused = taker.message(message, message.data).err();
            refused.is_none()
        })?;
        refused.map_or(Ok(()), |error| Err(Stopped::NotTaken(error)))
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

    /// Counts a message, but for whether it is encrypted.
    fn count(&mut self, message: &Message<'_>) {
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
    }

    /// Counts a message; its payload, decrypted if that can be done.
    fn add<'m>(&mut self, message: &Message<'m>, opener: Option<&Opener>) -> Cow<'m, [u8]> {
        self.count(message);
        if !looks_encrypted(message.data) {
            return Cow::Borrowed(message.data);
        }
        self.encrypted += 1;
        match opener.map(|opener| opener.open(message.data)) {
            Some(Ok(plain)) => plain,
            Some(Err(_)) => {
                self.undecryptable.get_or_insert((message.sequence, 0)).1 += 1;
                Cow::Borrowed(message.data)
            }
            None => Cow::Borrowed(message.data),
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
    let free_bytes = free_bytes(path).map_err(|error| Error::open(path, &error))?;
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
                // The original's names begin with no dot, but for its lock; an adoption's do.
                Ok(metadata) if metadata.is_file() && !entry.file_name().as_bytes().starts_with(b".") => {
                    files_bytes += metadata.len();
                }
                _ => {}
            }
        }
    }
    Ok(Disk {
        files_bytes,
        needed_bytes: needed_bytes(bytes),
        free_bytes,
    })
}

/// What a store of Seaway's takes, roughly, when its content takes so many bytes.
#[must_use]
pub fn needed_bytes(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 8).saturating_add(STORE_BYTES)
}

/// Bytes that new files may take on the file system of a directory.
///
/// # Errors
/// The operating system does not say.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let statistics = rustix::fs::statvfs(path)?;
    Ok(statistics.f_bavail.saturating_mul(statistics.f_frsize))
}
