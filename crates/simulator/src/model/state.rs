//! What a server knows, as the model sees it: plain maps, cloned at will.
//!
//! Everything here is rolled back when a crash takes back records; see the history in the parent module.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use seaway_stan_protocol::messages::ConnectRequest;
use seaway_streaming::ChannelLimits;

/// A stored message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) reply: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) timestamp: i64,
    /// Bytes of its encoding.
    pub(crate) size: u64,
    /// It is durable once the store's durable position has reached this.
    pub(crate) position: u64,
}

/// A channel.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(crate) id: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) last_timestamp: i64,
    pub(crate) messages: BTreeMap<u64, Rc<Message>>,
    /// Monotonic time of the last publish, or of the start.
    pub(crate) last_activity: u64,
    /// Since when nobody uses it, as far as the timer for inactivity is concerned.
    pub(crate) idle_since: u64,
    /// When something of it last waited to be written while deadlines were handled.
    pub(crate) unwritten_at: u64,
    /// Where the record of its deletion is.
    pub(crate) deleted_at: Option<u64>,
    /// What an operator set.
    pub(crate) limits: ChannelLimits,
}

/// A registered client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) request: ConnectRequest,
    pub(crate) closing: bool,
    pub(crate) contender: Option<Contender>,
    /// The heartbeat that waits for an answer, and when it was sent.
    pub(crate) heartbeat: Option<(u64, u64)>,
    pub(crate) heartbeat_due: u64,
    pub(crate) failed: u32,
    /// How often heartbeats began to fail.
    pub(crate) failures: u64,
}

/// A connect request that waits for the outcome of the duplicate check.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) request: ConnectRequest,
    /// Its expected answer.
    pub(crate) expected: u64,
    pub(crate) probe: u64,
    pub(crate) deadline: u64,
}

/// Where a subscription is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Unconfirmed,
    Active,
    Offline,
}

/// When a pending message may be sent again, and when it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Not before the one, not after the other, in monotonic nanoseconds.
    Between(u64, u64),
    /// Delivered in an earlier life of the server: due at its timestamp plus AckWait; and, once the server has come to
    /// rest, at this time at the latest.
    ByTimestamp(u64),
}

/// A message that a subscription holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) count: u32,
    pub(crate) due: Due,
    /// It is damaged, and was not sent: it does not count towards MaxInflight.
    pub(crate) passed_over: bool,
}

/// A subscription record.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) channel: String,
    /// The (last) owner; empty for the record of a durable group without members.
    pub(crate) client: String,
    pub(crate) inbox: String,
    /// Known once the response has left.
    pub(crate) ack_inbox: Option<String>,
    pub(crate) durable: String,
    /// Name of the group, durable prefix included.
    pub(crate) group: Option<String>,
    pub(crate) max_in_flight: usize,
    pub(crate) ack_wait_seconds: i32,
    pub(crate) ack_wait: u64,
    pub(crate) phase: Phase,
    /// The answer that confirms it.
    pub(crate) expected: u64,
    /// Of a queue member: what was sent to it.
    pub(crate) cursor: u64,
    pub(crate) pending: BTreeMap<u64, Pending>,
    /// To be sent again before anything new.
    pub(crate) hold: BTreeSet<u64>,
    /// Acknowledged, and a crash may take the ack back.
    pub(crate) maybe: BTreeSet<u64>,
    /// Acknowledged, not known to be on record.
    pub(crate) acked_unrecorded: BTreeSet<u64>,
    pub(crate) recorded_cursor: u64,
    pub(crate) healthy_since: u64,
    /// An operator has paused it; of a member of a group its group knows.
    pub(crate) halted: bool,
}

/// A message of a group that no member in sight holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Floating {
    pub(crate) count: u32,
    /// It has to be sent again; otherwise an ack may or may not have survived a crash.
    pub(crate) owed: bool,
    /// Some member, nobody knows which, holds it and counts it.
    pub(crate) counted: bool,
}

/// A queue group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(crate) members: Vec<u64>,
    pub(crate) shadow: Option<u64>,
    pub(crate) cursor: u64,
    pub(crate) recorded_cursor: u64,
    pub(crate) floating: BTreeMap<u64, Floating>,
    /// Changed hands, not known to be on record.
    pub(crate) moved_unrecorded: BTreeSet<u64>,
    /// An operator has paused it.
    pub(crate) halted: bool,
}

/// Everything that survives a restart, and a little more.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// Ids of channels are given in order and never again.
    pub(crate) channels_created: u64,
    pub(crate) clients: BTreeMap<String, Rc<Client>>,
    pub(crate) channels: BTreeMap<String, Rc<Channel>>,
    /// By number.
    pub(crate) subscriptions: BTreeMap<u64, Rc<Subscription>>,
    /// By channel and name.
    pub(crate) groups: BTreeMap<(String, String), Rc<Group>>,
    /// How many changes operators have made.
    pub(crate) changes: u64,
}

impl Channel {
    /// Its bytes, with an overhead per message.
    pub(crate) fn bytes(&self, overhead: u64) -> u64 {
        self.messages.values().map(|message| message.size + overhead).sum()
    }
}

impl Client {
    /// Whether heartbeats fail since an episode that began after the given one.
    pub(crate) fn is_failing_since(&self, healthy_since: u64) -> bool {
        self.failed > 0 && self.failures > healthy_since
    }
}

impl Subscription {
    /// Whether what it holds may still have to be sent again before anything new: after a restart that is looked at first.
    pub(crate) fn may_be_on_hold(&self) -> bool {
        let unseen = |pending: &Pending| pending.due == Due::ByTimestamp(u64::MAX);
        !self.hold.is_empty() || self.pending.values().any(unseen)
    }

    /// Held messages that still exist and were sent.
    pub(crate) fn in_flight(&self, first: u64) -> usize {
        let held = self.pending.range(first..);
        held.filter(|(_, pending)| !pending.passed_over).count()
    }

    /// Held messages that still exist.
    pub(crate) fn live_pending(&self, first: u64) -> usize {
        self.pending.range(first..).count()
    }
}

impl State {
    pub(crate) fn client(&mut self, id: &str) -> Option<&mut Client> {
        self.clients.get_mut(id).map(Rc::make_mut)
    }

    pub(crate) fn channel(&mut self, name: &str) -> Option<&mut Channel> {
        self.channels.get_mut(name).map(Rc::make_mut)
    }

    pub(crate) fn subscription(&mut self, number: u64) -> Option<&mut Subscription> {
        self.subscriptions.get_mut(&number).map(Rc::make_mut)
    }

    pub(crate) fn group(&mut self, channel: &str, name: &str) -> Option<&mut Group> {
        self.groups
            .get_mut(&(channel.to_owned(), name.to_owned()))
            .map(Rc::make_mut)
    }

    pub(crate) fn channel_of_id(&self, id: u64) -> Option<&str> {
        self.channels
            .iter()
            .find(|(_, channel)| channel.id == id)
            .map(|(name, _)| name.as_str())
    }

    /// Active subscriptions of a channel.
    pub(crate) fn is_used(&self, channel: &str) -> bool {
        self.subscriptions
            .values()
            .any(|subscription| subscription.channel == channel && subscription.phase != Phase::Offline)
    }

    /// Whether an operator has paused a subscription, or its group.
    pub(crate) fn is_halted(&self, known: &Subscription) -> bool {
        match &known.group {
            None => known.halted,
            Some(name) => self.groups[&(known.channel.clone(), name.clone())].halted,
        }
    }

    pub(crate) fn records(&self, channel: &str) -> usize {
        self.subscriptions
            .values()
            .filter(|subscription| subscription.channel == channel)
            .count()
    }

    /// The plain durable of that name.
    pub(crate) fn durable(&self, client: &str, channel: &str, durable: &str) -> Option<u64> {
        self.subscriptions
            .iter()
            .find(|(_, known)| {
                known.group.is_none() && known.client == client && known.channel == channel && known.durable == durable
            })
            .map(|(number, _)| *number)
    }

    /// The subscription that is addressed by an ack inbox.
    pub(crate) fn by_ack_inbox(&self, ack_inbox: &str) -> Option<u64> {
        self.subscriptions
            .iter()
            .find(|(_, known)| known.ack_inbox.as_deref() == Some(ack_inbox) && known.phase != Phase::Offline)
            .map(|(number, _)| *number)
    }
}
