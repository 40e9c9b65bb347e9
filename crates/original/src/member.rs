//! What the operations of a cluster come to: clients, channels, subscriptions (specification §6.4, §6.5; of groups and durables
//! `streaming-protocol.md` §5.6, §5.7). Operations may come twice: a snapshot may hold later ones already.

use std::collections::BTreeMap;

use crate::entities::{Clients, Subscription, Subscriptions};
use crate::protobuf::{Malformed, fields};
use crate::records::{ClientInfo, Message, SubState, decode_name};

/// A channel as the cluster knows it.
#[derive(Debug, Default)]
pub struct MemberChannel {
    /// Distinguishes successive channels of one name; 0 when nobody knows.
    pub id: u64,
    /// Its subscriptions.
    pub subscriptions: Subscriptions,
    /// The last sequence that snapshot and log speak of.
    pub last: u64,
    /// First and last sequence of the messages that the log has.
    pub logged: Option<(u64, u64)>,
    /// Index of the log entry that began it: what an earlier one has is of a channel that is gone. 0 when the snapshot has it.
    pub since: u64,
}

/// Clients and channels of a cluster.
#[derive(Debug, Default)]
pub struct Member {
    /// Clients by ID.
    pub clients: Clients,
    /// Channels by name.
    pub channels: BTreeMap<Vec<u8>, MemberChannel>,
    /// Index of the log entry that is applied.
    pub(crate) index: u64,
}

const START_NEW_ONLY: u64 = 0;
const START_LAST: u64 = 1;
const START_SEQUENCE: u64 = 3;

/// The part of an `UnsubscribeRequest` that counts.
#[derive(Default)]
struct Leave<'a> {
    channel: &'a [u8],
    inbox: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Departure {
    /// Durables stay.
    Close,
    Forget,
}

impl Member {
    /// From `RaftSnapshot`.
    pub(crate) fn of_snapshot(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut member = Self::default();
        for field in fields(bytes) {
            match field? {
                (1, value) => {
                    let client = ClientInfo::decode(value.bytes()?)?;
                    member.clients.insert(client.id.clone(), client);
                }
                (2, value) => member.add_channel(value.bytes()?)?,
                _ => {}
            }
        }
        Ok(member)
    }

    fn add_channel(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (mut name, mut channel) = (Vec::new(), MemberChannel::default());
        for field in fields(bytes) {
            match field? {
                (1, value) => name = value.bytes()?.to_vec(),
                (3, value) => channel.last = value.number()?,
                (4, value) => {
                    let (mut state, mut pending) = (SubState::default(), Vec::new());
                    for field in fields(value.bytes()?) {
                        match field? {
                            (1, value) => state = SubState::decode(value.bytes()?)?,
                            (2, value) => pending.extend(value.numbers().collect::<Result<Vec<_>, _>>()?),
                            _ => {}
                        }
                    }
                    let id = state.id;
                    channel.subscriptions.put(state);
                    channel.subscriptions.change(id, |sub| {
                        pending.iter().for_each(|sequence| sub.pending.insert(*sequence));
                    });
                }
                (5, value) => {
                    let next = value.number()?;
                    let highest = channel.subscriptions.highest_id.max(next.saturating_sub(1));
                    channel.subscriptions.highest_id = highest;
                }
                (6, value) => channel.id = value.number()?,
                _ => {}
            }
        }
        self.channels.insert(name, channel);
        Ok(())
    }

    pub(crate) fn is_bounded(&self) -> bool {
        self.clients.len() <= crate::limits::ENTITIES_MAX
            && self.channels.len() <= crate::limits::ENTITIES_MAX
            && self.channels.values().all(|channel| channel.subscriptions.is_bounded())
    }

    /// The messages of an operation that the snapshot has behind it.
    pub(crate) fn note_messages(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (batch, channel_id) = batch(bytes)?;
        for field in fields(batch) {
            let (1, value) = field? else { continue };
            let message = Message::decode(value.bytes()?)?;
            if let Some(channel) = self.channels.get_mut(message.subject)
                && channel.is_of(channel_id)
            {
                channel.note_message(message.sequence);
            }
        }
        Ok(())
    }

    /// One `RaftOperation`.
    pub(crate) fn apply(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (mut kind, mut body, mut name, mut channel_id) = (0, [&b""[..]; 9], &b""[..], 0);
        for field in fields(bytes) {
            match field? {
                (1, value) => kind = value.number()?,
                (number @ (2..=5 | 7 | 8), value) => body[number as usize] = value.bytes()?,
                (9, value) => name = value.bytes()?,
                (10, value) => channel_id = value.number()?,
                _ => {}
            }
        }
        match kind {
            0 => self.publish(body[2], channel_id),
            1 => self.subscribe(body[3], channel_id),
            2 => self.depart(body[4], Departure::Forget),
            3 => self.depart(body[4], Departure::Close),
            4 => self.sent_and_acked(body[5]),
            6 => self.connect(body[7]),
            7 => self.disconnect(decode_name(body[8])?),
            8 => {
                if self
                    .channels
                    .get(name)
                    .is_some_and(|channel| is_not_newer(channel.id, channel_id))
                {
                    self.channels.remove(name);
                }
                Ok(())
            }
            _ => Err(Malformed),
        }
    }

    /// The channel of this name and ID; none when there is a newer one already (§6.5).
    fn channel(&mut self, name: &[u8], id: u64) -> Option<&mut MemberChannel> {
        let since = self.index;
        let begun = || MemberChannel {
            id,
            since,
            ..MemberChannel::default()
        };
        let channel = self.channels.entry(name.to_vec()).or_insert_with(begun);
        if id != 0 && channel.id != 0 && id < channel.id {
            return None;
        }
        if id != 0 && channel.id != 0 && id > channel.id {
            *channel = begun();
        }
        channel.id = channel.id.max(id);
        Some(channel)
    }

    fn publish(&mut self, batch: &[u8], channel_id: u64) -> Result<(), Malformed> {
        for field in fields(batch) {
            let (1, value) = field? else { continue };
            let message = Message::decode(value.bytes()?)?;
            if let Some(channel) = self.channel(message.subject, channel_id) {
                channel.note_message(message.sequence);
            }
        }
        Ok(())
    }

    fn subscribe(&mut self, bytes: &[u8], channel_id: u64) -> Result<(), Malformed> {
        let (mut state, mut name, mut start) = (SubState::default(), Vec::new(), (0, 0));
        let mut durable = Vec::new();
        for field in fields(bytes) {
            match field? {
                (1, value) => {
                    for field in fields(value.bytes()?) {
                        match field? {
                            (1, value) => state.client_id = value.bytes()?.to_vec(),
                            (2, value) => name = value.bytes()?.to_vec(),
                            (3, value) => state.queue_group = value.bytes()?.to_vec(),
                            (4, value) => state.inbox = value.bytes()?.to_vec(),
                            (5, value) => state.max_in_flight = value.int32()?,
                            (6, value) => state.ack_wait_seconds = value.int32()?,
                            (7, value) => durable = value.bytes()?.to_vec(),
                            (10, value) => start.0 = value.number()?,
                            (11, value) => start.1 = value.number()?,
                            _ => {}
                        }
                    }
                }
                (2, value) => state.ack_inbox = value.bytes()?.to_vec(),
                (3, value) => state.id = value.number()?,
                _ => {}
            }
        }
        state.is_durable = !durable.is_empty();
        if state.queue_group.is_empty() {
            state.durable_name = durable;
        } else if state.is_durable {
            state.queue_group = [&durable[..], b":", &state.queue_group].concat();
        }
        if let Some(channel) = self.channel(&name, channel_id) {
            // The leader says every position as a sequence; other forms are of logs that are older than that.
            state.last_sent = match start {
                (START_SEQUENCE, sequence) => sequence.saturating_sub(1),
                (START_NEW_ONLY, _) => channel.last,
                (START_LAST, _) => channel.last.saturating_sub(1),
                _ => 0,
            };
            channel.subscribe(state);
        }
        Ok(())
    }

    fn depart(&mut self, request: &[u8], departure: Departure) -> Result<(), Malformed> {
        let mut leave = Leave::default();
        for field in fields(request) {
            match field? {
                (2, value) => leave.channel = value.bytes()?,
                (3, value) => leave.inbox = value.bytes()?,
                _ => {}
            }
        }
        if let Some(channel) = self.channels.get_mut(leave.channel)
            && let Some(id) = channel.find(leave.inbox)
        {
            channel.depart(id, departure);
        }
        Ok(())
    }

    fn sent_and_acked(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (mut name, mut inbox) = (&b""[..], &b""[..]);
        let (mut sent, mut acked) = (Vec::new(), Vec::new());
        for field in fields(bytes) {
            match field? {
                (1, value) => name = value.bytes()?,
                (2, value) => inbox = value.bytes()?,
                (3, value) => sent.extend(value.numbers().collect::<Result<Vec<_>, _>>()?),
                (4, value) => acked.extend(value.numbers().collect::<Result<Vec<_>, _>>()?),
                _ => {}
            }
        }
        if let Some(channel) = self.channels.get_mut(name)
            && let Some(id) = channel.find(inbox)
        {
            channel.subscriptions.change(id, |sub| {
                for sequence in sent {
                    sub.pending.insert(sequence);
                    sub.state.last_sent = sub.state.last_sent.max(sequence);
                }
                acked.into_iter().for_each(|sequence| sub.pending.remove(sequence));
            });
        }
        Ok(())
    }

    fn connect(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut client = ClientInfo::default();
        for field in fields(bytes) {
            let (1, value) = field? else { continue };
            for field in fields(value.bytes()?) {
                match field? {
                    (1, value) => client.id = value.bytes()?.to_vec(),
                    (2, value) => client.heartbeat_inbox = value.bytes()?.to_vec(),
                    (3, value) => client.protocol = value.int32()?,
                    (4, value) => client.connection_id = value.bytes()?.to_vec(),
                    (5, value) => client.ping_interval = value.int32()?,
                    (6, value) => client.ping_max_out = value.int32()?,
                    _ => {}
                }
            }
        }
        self.clients.insert(client.id.clone(), client);
        Ok(())
    }

    fn disconnect(&mut self, client: &[u8]) -> Result<(), Malformed> {
        self.clients.remove(client);
        for channel in self.channels.values_mut() {
            let of_client = |sub: &&Subscription| sub.state.client_id == client && !sub.state.is_closed;
            let ids: Vec<u64> = channel
                .subscriptions
                .live
                .values()
                .filter(of_client)
                .map(|sub| sub.state.id)
                .collect();
            for id in ids {
                channel.depart(id, Departure::Close);
            }
        }
        Ok(())
    }
}

/// The messages of a `RaftOperation`, none when it is another, and the ID of their channel.
fn batch(bytes: &[u8]) -> Result<(&[u8], u64), Malformed> {
    let (mut kind, mut batch, mut channel_id) = (0, &b""[..], 0);
    for field in fields(bytes) {
        match field? {
            (1, value) => kind = value.number()?,
            (2, value) => batch = value.bytes()?,
            (10, value) => channel_id = value.number()?,
            _ => {}
        }
    }
    Ok((if kind == 0 { batch } else { b"" }, channel_id))
}

fn is_not_newer(known: u64, deleted: u64) -> bool {
    known == 0 || deleted == 0 || known <= deleted
}

impl MemberChannel {
    /// Whether messages with this channel ID are of this channel, and not of one of the same name; 0 is that of all (§6.5).
    fn is_of(&self, channel_id: u64) -> bool {
        self.id == channel_id || self.id == 0 || channel_id == 0
    }

    /// The messages of one `RaftOperation` that are of this channel, whose name is `name`.
    pub(crate) fn messages<'a>(
        &self,
        name: &[u8],
        operation: &'a [u8],
    ) -> impl Iterator<Item = Message<'a>> + use<'a, '_> {
        let (batch, channel_id) = batch(operation).unwrap_or_default();
        let is_of = self.is_of(channel_id);
        let messages = fields(batch).map_while(Result::ok).filter(|(number, _)| *number == 1);
        let name = name.to_vec();
        messages
            .filter_map(|(_, value)| Message::decode(value.bytes().ok()?).ok())
            .filter(move |message| is_of && message.subject == name)
    }

    fn note_message(&mut self, sequence: u64) {
        self.last = self.last.max(sequence);
        let (first, last) = self.logged.unwrap_or((sequence, sequence));
        self.logged = Some((first.min(sequence), last.max(sequence)));
    }

    /// How many messages the log has, and how many nobody has, that a store does not have which ends with `stored`.
    pub(crate) fn beyond(&self, stored: u64) -> (u64, u64) {
        let logged = self.logged.map_or(0, |(first, last)| {
            last.saturating_sub(first.saturating_sub(1).max(stored))
        });
        (logged, self.last.saturating_sub(stored).saturating_sub(logged))
    }

    /// By ack inbox, or else by delivery inbox.
    fn find(&self, inbox: &[u8]) -> Option<u64> {
        let subs = || self.subscriptions.live.values().filter(|_| !inbox.is_empty());
        let found = subs().find(|sub| sub.state.ack_inbox == inbox);
        found
            .or_else(|| subs().find(|sub| sub.state.inbox == inbox))
            .map(|sub| sub.state.id)
    }

    fn subscribe(&mut self, mut state: SubState) {
        let subs = &mut self.subscriptions;
        subs.highest_id = subs.highest_id.max(state.id);
        let is_group = |one: &SubState| one.queue_group == state.queue_group && one.is_durable == state.is_durable;
        let resumed = subs.live.values().map(|sub| &sub.state).find(|one| {
            if state.queue_group.is_empty() {
                state.is_durable && one.durable_name == state.durable_name && one.client_id == state.client_id
            } else {
                is_group(one) && one.client_id.is_empty()
            }
        });
        if let Some(resumed) = resumed {
            // The place is kept; the start that was asked for is not looked at.
            state.id = resumed.id;
            state.last_sent = resumed.last_sent;
        } else if !state.queue_group.is_empty() {
            let members = subs.live.values().map(|sub| &sub.state).filter(|one| is_group(one));
            if let Some(last_sent) = members.map(|one| one.last_sent).max() {
                state.last_sent = last_sent;
            }
        }
        subs.put(state);
    }

    fn depart(&mut self, id: u64, departure: Departure) {
        let Some(state) = self.subscriptions.live.get(&id).map(|sub| sub.state.clone()) else {
            return;
        };
        let others: Vec<u64> = self
            .subscriptions
            .live
            .values()
            .filter(|one| !state.queue_group.is_empty() && one.state.id != id)
            .filter(|one| one.state.queue_group == state.queue_group && one.state.is_durable == state.is_durable)
            .map(|one| one.state.id)
            .collect();
        let stays = departure == Departure::Close;
        if stays && !state.durable_name.is_empty() {
            self.subscriptions.change(id, |sub| sub.state.is_closed = true);
        } else if stays && state.is_durable && !state.queue_group.is_empty() && others.is_empty() {
            self.subscriptions.change(id, |sub| sub.state.client_id.clear());
        } else {
            self.hand_over(id, &others, state.last_sent);
        }
    }

    /// What a member of a group had not acknowledged goes to the others, in turn; the position stays with the group.
    fn hand_over(&mut self, id: u64, others: &[u64], last_sent: u64) {
        if let Some(first) = others.first() {
            let pending = self
                .subscriptions
                .live
                .get(&id)
                .map(|sub| sub.pending.clone())
                .unwrap_or_default();
            let sequences = pending.ranges().flat_map(|(first, last)| first..=last);
            // A bound for ranges that nobody has acknowledged one by one: they count as a group's anyway.
            for (sequence, other) in sequences
                .take(crate::limits::PENDING_RANGES_MAX)
                .zip(others.iter().cycle())
            {
                self.subscriptions.change(*other, |sub| sub.pending.insert(sequence));
            }
            self.subscriptions
                .change(*first, |sub| sub.state.last_sent = sub.state.last_sent.max(last_sent));
        }
        self.subscriptions.forget(id);
    }
}
