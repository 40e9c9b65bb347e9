//! What is read of the original's directory goes into the new store, as it comes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use seaway_original::{Head, Message, ServerInfo, Severity, Subscription, Taker};
use seaway_stan_protocol::{Subjects, quote, validate};
use seaway_store::{FileOptions, beside};
use seaway_streaming::import::{Import, ImportedMessage};
use seaway_streaming::portable::{PortableClient, PortableSubscription};

use crate::bulk::Bulk;
use crate::error::Error;
use crate::facts::Facts;
use crate::progress::Progress;
use crate::verify::Bounds;

/// No store can name a higher sequence; nobody counts that far.
pub(crate) const SEQUENCE_MAX: u64 = (1 << 62) - 1;
/// More missing messages than this in one place have the free space looked at first.
const GAP_LOOKED_AT: u64 = 1 << 16;
/// About what an empty message takes on the disk, besides the channel's name.
const EMPTY_MESSAGE_BYTES: u64 = 120;
/// More than a message takes besides channel, reply subject and payload.
pub(crate) const MESSAGE_OVERHEAD: usize = 192;
/// What the original's files have for each message besides its encoding.
const FILE_OVERHEAD: u64 = 40;

/// What is decided before.
pub(crate) struct Terms<'a> {
    /// Where the store is made.
    pub(crate) place: &'a Path,
    /// Counts when the directory names none; otherwise both must agree.
    pub(crate) cluster_id: Option<&'a str>,
    pub(crate) file: FileOptions,
    /// Whether what is damaged may be left out.
    pub(crate) accepts_losses: bool,
    pub(crate) progress: &'a Progress,
}

/// What there is beyond the report.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) cluster_id: String,
    pub(crate) filled: u64,
    pub(crate) left_out: u64,
    pub(crate) bounds: Bounds,
}

/// How far a durable group is.
#[derive(Debug, Default)]
struct Group {
    /// Of everybody's positions, that of the group's own record among them.
    farthest: u64,
    /// A member's number, and the farthest of the members' positions.
    member: Option<(u64, u64)>,
}

/// See the module.
pub(crate) struct Transfer<'a> {
    terms: Terms<'a>,
    import: Import,
    facts: Facts,
    /// Facts appended so far.
    appended: usize,
    bulk: Option<Bulk>,
    subjects: Subjects,
    tally: Tally,
    /// Durables of the present channel by client and name: their numbers, and whether they are served.
    durables: BTreeMap<(Vec<u8>, Vec<u8>), (u64, bool)>,
    /// Its durable groups by name.
    groups: BTreeMap<Vec<u8>, Group>,
    /// Names without regard to case, each with the one that had it first.
    folded: BTreeSet<Vec<u8>>,
}

impl<'a> Transfer<'a> {
    pub(crate) fn new(terms: Terms<'a>) -> Transfer<'a> {
        Transfer {
            terms,
            import: Import::new(),
            facts: Facts::default(),
            appended: 0,
            bulk: None,
            subjects: Subjects::new("", Subjects::DEFAULT_DISCOVER_PREFIX),
            tally: Tally::default(),
            durables: BTreeMap::new(),
            groups: BTreeMap::new(),
            folded: BTreeSet::new(),
        }
    }

    /// Writes the end and closes the store.
    pub(crate) fn finish(mut self) -> Result<Tally, Error> {
        let cluster_id = &self.tally.cluster_id;
        self.import
            .server(cluster_id, &self.subjects, &token(), &mut self.facts.sink())?;
        self.append_facts()?;
        let Some(bulk) = self.bulk.take() else {
            return Err(Error::Refused("nothing was read".to_owned()));
        };
        bulk.finish(&self.facts)?;
        Ok(self.tally)
    }

    fn append_facts(&mut self) -> Result<(), Error> {
        let from = std::mem::replace(&mut self.appended, self.facts.len());
        let bulk = self.bulk.as_mut().expect("the store is begun before anything is taken");
        bulk.facts_from(&self.facts, from)
    }

    /// Empty messages where the original has none, with the time of the one behind them, as it makes them itself (§3.7).
    fn fill(&mut self, message: &Message<'_>) -> Result<(), Error> {
        let last = self.import.last_sequence();
        if last == 0 {
            return Ok(());
        }
        check_gap(self.terms.place, self.import.channel_name(), last, message.sequence)?;
        for sequence in last + 1..message.sequence {
            self.append(&ImportedMessage {
                sequence,
                timestamp: message.timestamp_ns,
                reply: b"",
                data: b"",
            })?;
            self.tally.filled += 1;
        }
        Ok(())
    }

    fn append(&mut self, message: &ImportedMessage<'_>) -> Result<(), Error> {
        let bytes = self.import.channel_name().len() + message.reply.len() + message.data.len() + MESSAGE_OVERHEAD;
        let bulk = self.bulk.as_mut().expect("the store is begun before anything is taken");
        self.import.message(message, bulk.room_for(bytes)?);
        Ok(())
    }
}

impl Taker for Transfer<'_> {
    type Error = Error;

    fn begin(&mut self, head: &Head<'_>) -> Result<(), Error> {
        self.tally.cluster_id = cluster_id(head.server, self.terms.cluster_id)?;
        self.subjects = subjects(head.server, &self.tally.cluster_id)?;
        beside::discard(self.terms.place).map_err(Error::io("clear", self.terms.place))?;
        self.bulk = Some(Bulk::begin(self.terms.place, self.terms.file.clone())?);
        for client in head.clients.values() {
            let client = PortableClient {
                name: &client.id,
                heartbeat_inbox: &client.heartbeat_inbox,
                connection_id: &client.connection_id,
                protocol: client.protocol,
                ping_interval: client.ping_interval,
                ping_max_out: client.ping_max_out,
            };
            self.import.client(&client, &mut self.facts.sink())?;
        }
        self.append_facts()
    }

    fn begin_channel(&mut self, name: &[u8]) -> Result<(), Error> {
        if !self.folded.insert(validate::fold_case(name).into_owned()) {
            return Err(Error::Refused(format!(
                "there is another channel whose name differs from {} only by case: one of the two must go",
                quote(name)
            )));
        }
        self.durables.clear();
        self.groups.clear();
        self.import.begin_channel(name, &mut self.facts.sink())?;
        self.append_facts()
    }

    fn message(&mut self, message: &Message<'_>, payload: &[u8]) -> Result<(), Error> {
        check_sequence(self.import.channel_name(), message.sequence)?;
        self.fill(message)?;
        self.append(&ImportedMessage {
            sequence: message.sequence,
            timestamp: message.timestamp_ns,
            reply: message.reply,
            data: payload,
        })?;
        self.terms.progress.message(message.encoded_bytes + FILE_OVERHEAD);
        Ok(())
    }

    fn subscription(&mut self, subscription: &Subscription, is_online: bool) -> Result<(), Error> {
        let state = &subscription.state;
        let (durable, queue) = names(subscription);
        // Of two durables with the same names only one can ever be found again: the one that is served, or the later one.
        let key = (queue.is_empty() && !durable.is_empty()).then(|| (state.client_id.clone(), durable.to_vec()));
        let other = key.as_ref().and_then(|key| self.durables.get(key).copied());
        self.tally.left_out += u64::from(other.is_some());
        if other.is_some_and(|(_, other_is_online)| other_is_online && !is_online) {
            return Ok(());
        }
        let imported = PortableSubscription {
            client: &state.client_id,
            inbox: &state.inbox,
            ack_inbox: &state.ack_inbox,
            durable,
            queue,
            max_in_flight: state.max_in_flight,
            ack_wait: state.ack_wait_seconds,
            last_sent: state.last_sent,
            is_online,
        };
        let pending = subscription.pending.ranges();
        let number = self.import.subscription(&imported, pending, &mut self.facts.sink())?;
        if let Some((other, _)) = other {
            self.import.remove_subscription(other, &mut self.facts.sink());
        }
        if let Some(key) = key {
            self.durables.insert(key, (number, is_online));
        }
        if !durable.is_empty() && !queue.is_empty() {
            let position = state.last_sent.min(self.import.last_sequence());
            let group = self.groups.entry(state.queue_group.clone()).or_default();
            group.farthest = group.farthest.max(position);
            if is_online {
                group.member = Some((number, position.max(group.member.map_or(0, |(_, farthest)| farthest))));
            }
        }
        self.append_facts()
    }

    fn drained(&mut self, last: u64) -> Result<(), Error> {
        check_sequence(self.import.channel_name(), last)?;
        self.import.drained(last);
        Ok(())
    }

    fn end_channel(&mut self) -> Result<(), Error> {
        for group in self.groups.values() {
            // The group is as far as its record, also when members are not (§1.3).
            if let Some((number, _)) = group.member.filter(|(_, farthest)| *farthest < group.farthest) {
                self.import.advance(number, group.farthest, &mut self.facts.sink());
            }
        }
        let (channel, first, last) = self.import.end_channel(&mut self.facts.sink());
        if first > 0 {
            self.tally.bounds.insert(channel.0, (first, last));
        }
        self.terms.progress.channel();
        self.append_facts()
    }

    /// What is known to be refused is not written to its end.
    fn goes_on(&self, worst: Option<Severity>) -> bool {
        match worst {
            Some(Severity::Refusal) => false,
            Some(Severity::Loss) => self.terms.accepts_losses,
            _ => true,
        }
    }
}

fn check_sequence(channel: &[u8], sequence: u64) -> Result<(), Error> {
    if sequence <= SEQUENCE_MAX {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "channel {} has a message with the sequence {sequence}, which cannot be",
        quote(channel)
    )))
}

/// Refuses when there is no room for the empty messages between two.
pub(crate) fn check_gap(place: &Path, channel: &[u8], last: u64, next: u64) -> Result<(), Error> {
    let missing = next - last - 1;
    if missing <= GAP_LOOKED_AT {
        return Ok(());
    }
    let needed = missing.saturating_mul(EMPTY_MESSAGE_BYTES + channel.len() as u64);
    let free = free_bytes(place)?;
    if needed <= free {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "channel {} lacks {missing} messages behind {last}: the empty ones in their place would take {needed} bytes, and {free} are free",
        quote(channel)
    )))
}

/// Durable name and queue group: the original writes those of a durable group as one (§1.3).
fn names(subscription: &Subscription) -> (&[u8], &[u8]) {
    let state = &subscription.state;
    if !state.is_durable || state.queue_group.is_empty() {
        let durable = if state.queue_group.is_empty() {
            &state.durable_name[..]
        } else {
            b""
        };
        return (durable, &state.queue_group);
    }
    match state.queue_group.iter().position(|byte| *byte == b':') {
        Some(colon) => (&state.queue_group[..colon], &state.queue_group[colon + 1..]),
        None => (b"", &state.queue_group),
    }
}

fn cluster_id(server: Option<&ServerInfo>, configured: Option<&str>) -> Result<String, Error> {
    let stored = server.map(|server| text(&server.cluster_id)).transpose()?;
    match (configured, stored) {
        (None, None) => Err(Error::Refused(
            "server.dat does not say the cluster ID: name it with --cluster-id".to_owned(),
        )),
        (Some(configured), Some(stored)) if configured != stored => Err(Error::Refused(format!(
            "cluster ID {} does not match recovered value of {}",
            quote(configured.as_bytes()),
            quote(stored.as_bytes())
        ))),
        (_, Some(stored)) => Ok(stored),
        (Some(configured), None) => Ok(configured.to_owned()),
    }
}

/// The subjects that clients were told; the usual ones where the directory knows none (§1.3).
fn subjects(server: Option<&ServerInfo>, cluster_id: &str) -> Result<Subjects, Error> {
    let mut subjects = Subjects::new(cluster_id, Subjects::DEFAULT_DISCOVER_PREFIX);
    let Some(server) = server else {
        return Ok(subjects);
    };
    let stored = [
        (&server.discovery, &mut subjects.discover),
        (&server.publish, &mut subjects.publish_prefix),
        (&server.subscribe, &mut subjects.subscribe),
        (&server.unsubscribe, &mut subjects.unsubscribe),
        (&server.sub_close, &mut subjects.subscription_close),
        (&server.close, &mut subjects.close),
    ];
    for (stored, subject) in stored {
        if !stored.is_empty() {
            *subject = text(stored)?;
        }
    }
    subjects.pings = format!("{}.pings", subjects.discover);
    Ok(subjects)
}

fn text(bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Error::Refused(format!("server.dat says {}, which is no text", quote(bytes))))
}

/// Random letters and digits.
pub(crate) fn token() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(22).collect()
}

/// Bytes that new files may take on the file system of a directory.
pub(crate) fn free_bytes(directory: &Path) -> Result<u64, Error> {
    seaway_original::free_bytes(directory).map_err(Error::io("ask for free space in", directory))
}
