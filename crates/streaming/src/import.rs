//! Writing down what another server left, in this engine's own words: for a store that an engine then starts on.
//!
//! Messages are appended to the store; facts are given to the caller, who appends them and may repeat them in a checkpoint. What is
//! written is checked as the engine would check it, so that a start on it cannot fail.

use bytes::Bytes;
use prost::Message;
use seaway_nats_protocol::subject;
use seaway_stan_protocol::{PubMsgView, Subjects, quote, validate};

use crate::facts::{
    CHANNEL, CLIENT, ChannelFact, ClientFact, PROGRESS, ProgressFact, SERVER, STATE_ACTIVE, STATE_OFFLINE,
    SUBSCRIPTION, SUBSCRIPTION_REMOVED, ServerFact, SubscriptionFact, SubscriptionRemovedFact, push_run,
};
use crate::ids::ChannelId;
use crate::ledger::encode_around_data;
use crate::limits::RUNS_PER_FACT_MAX;
use crate::portable::{PortableClient, PortableSubscription};
use crate::records::Records;
use crate::replay::RUN_LENGTH_MAX;

/// A message as another server stored it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportedMessage<'a> {
    /// One above the last, or any above 0 for the first of a channel.
    pub sequence: u64,
    /// What subscribers are told, nanoseconds since 1970. Times may decrease: a search goes by the latest so far.
    pub timestamp: i64,
    /// As published.
    pub reply: &'a [u8],
    /// The payload.
    pub data: &'a [u8],
}

/// Why something cannot be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError(String);

impl std::fmt::Display for ImportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ImportError {}

/// Where facts go: their kind and body.
pub type Facts<'a> = &'a mut dyn FnMut(u8, &[u8]);

/// The channel that is being written.
#[derive(Debug)]
struct Current {
    id: ChannelId,
    name: Bytes,
    /// 0 before the first message.
    first: u64,
    last: u64,
    /// The latest time so far: what searches and age limits go by.
    latest: i64,
}

/// See the module. One channel after the other: its messages, then its subscriptions.
#[derive(Debug, Default)]
pub struct Import {
    last_channel: u64,
    last_subscription: u64,
    current: Option<Current>,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Import {
    /// Of nothing so far.
    #[must_use]
    pub fn new() -> Import {
        Import::default()
    }

    /// Writes a client down.
    ///
    /// # Errors
    /// No client could have connected like that.
    pub fn client(&mut self, client: &PortableClient<'_>, facts: Facts<'_>) -> Result<(), ImportError> {
        let bytes = Bytes::copy_from_slice;
        if !validate::is_client_id(client.name) {
            return Err(ImportError(format!("{} is no client ID", quote(client.name))));
        }
        if !subject::is_literal(client.heartbeat_inbox) {
            let (name, inbox) = (quote(client.name), quote(client.heartbeat_inbox));
            return Err(ImportError(format!(
                "the heartbeat inbox {inbox} of the client {name} is no subject"
            )));
        }
        let fact = ClientFact {
            name: bytes(client.name),
            heartbeat_inbox: bytes(client.heartbeat_inbox),
            conn_id: bytes(client.connection_id),
            protocol: client.protocol,
            ping_interval: client.ping_interval,
            ping_max_out: client.ping_max_out,
        };
        facts(CLIENT, &fact.encode_to_vec());
        Ok(())
    }

    /// Begins a channel.
    ///
    /// # Errors
    /// No channel can have that name.
    pub fn begin_channel(&mut self, name: &[u8], facts: Facts<'_>) -> Result<(), ImportError> {
        if !validate::is_channel_name(name) {
            return Err(ImportError(format!("{} is no name of a channel", quote(name))));
        }
        self.last_channel += 1;
        let current = Current {
            id: ChannelId(self.last_channel),
            name: Bytes::copy_from_slice(name),
            first: 0,
            last: 0,
            latest: i64::MIN,
        };
        facts(CHANNEL, &current.fact().encode_to_vec());
        self.current = Some(current);
        Ok(())
    }

    /// The name of the channel that is being written; empty when there is none.
    #[must_use]
    pub fn channel_name(&self) -> &[u8] {
        self.current.as_ref().map_or(b"", |current| &current.name)
    }

    /// The last sequence of the channel that is being written; 0 before the first.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.last)
    }

    /// Appends a message to the channel.
    ///
    /// # Panics
    /// When no channel was begun, or the sequence is not one above the last.
    pub fn message(&mut self, message: &ImportedMessage<'_>, records: &mut dyn Records) {
        let current = self.current.as_mut().expect("a channel was begun");
        assert!(
            current.last == 0 || message.sequence == current.last + 1,
            "sequence {} after {}",
            message.sequence,
            current.last
        );
        let publish = PubMsgView {
            subject: &current.name,
            reply: message.reply,
            data: message.data,
            ..PubMsgView::default()
        };
        let (head, tail) = (&mut self.head, &mut self.tail);
        encode_around_data(head, tail, message.sequence, &publish, message.timestamp);
        current.latest = current.latest.max(message.timestamp);
        current.last = message.sequence;
        if current.first == 0 {
            current.first = message.sequence;
        }
        records.append_message(
            current.id,
            message.sequence,
            current.latest,
            &[head, message.data, tail],
        );
    }

    /// The channel has no message any more, and the last that it had was of this sequence: the next is one above.
    ///
    /// # Panics
    /// When no channel was begun, or one of its messages was appended.
    pub fn drained(&mut self, last: u64) {
        let current = self.current.as_mut().expect("a channel was begun");
        assert!(current.last == 0, "messages up to {} are there", current.last);
        current.last = last;
        current.latest = 0;
    }

    /// Writes a subscription of the channel down, and what it has not acknowledged (first and last sequence of each range, ascending).
    /// What is beyond the channel's last message was never stored, and is left out.
    ///
    /// Gives back its number in the store.
    ///
    /// # Errors
    /// There could be no such subscription.
    ///
    /// # Panics
    /// When no channel was begun.
    pub fn subscription(
        &mut self,
        subscription: &PortableSubscription<'_>,
        pending: impl Iterator<Item = (u64, u64)>,
        facts: Facts<'_>,
    ) -> Result<u64, ImportError> {
        let current = self.current.as_ref().expect("a channel was begun");
        if subscription.is_online && !subject::is_literal(subscription.inbox) {
            let (inbox, client, channel) = (subscription.inbox, subscription.client, &current.name[..]);
            return Err(ImportError(format!(
                "the inbox {} of a subscription of client {} to {} is no subject",
                quote(inbox),
                quote(client),
                quote(channel)
            )));
        }
        self.last_subscription += 1;
        let number = self.last_subscription;
        let bytes = Bytes::copy_from_slice;
        let ack_subject = match subject::is_literal(subscription.ack_inbox) {
            true => bytes(subscription.ack_inbox),
            false => Bytes::new(),
        };
        let fact = SubscriptionFact {
            number,
            channel: current.id.0,
            client: bytes(subscription.client),
            inbox: bytes(subscription.inbox),
            ack_inbox: number,
            durable: bytes(subscription.durable),
            queue: bytes(subscription.queue),
            max_in_flight: subscription.max_in_flight.max(1),
            ack_wait_units: subscription.ack_wait,
            last_sent: subscription.last_sent.min(current.last),
            state: match subscription.is_online {
                true => STATE_ACTIVE,
                false => STATE_OFFLINE,
            },
            ack_subject,
        };
        facts(SUBSCRIPTION, &fact.encode_to_vec());
        write_pending(number, fact.last_sent, current.last, pending, facts);
        Ok(number)
    }

    /// Moves a subscription that was written down on to a sequence, and no farther than the channel's last.
    ///
    /// # Panics
    /// When no channel was begun.
    pub fn advance(&self, number: u64, last_sent: u64, facts: Facts<'_>) {
        let last = self.current.as_ref().expect("a channel was begun").last;
        let fact = ProgressFact {
            number,
            last_sent: last_sent.min(last),
            ..ProgressFact::default()
        };
        facts(PROGRESS, &fact.encode_to_vec());
    }

    /// Forgets a subscription that was written down.
    pub fn remove_subscription(&mut self, number: u64, facts: Facts<'_>) {
        facts(
            SUBSCRIPTION_REMOVED,
            &SubscriptionRemovedFact { number }.encode_to_vec(),
        );
    }

    /// Ends the channel; its fact as a checkpoint has it.
    ///
    /// Gives back its id, and its first and last sequence; a first of 0 when it has no message.
    ///
    /// # Panics
    /// When no channel was begun.
    pub fn end_channel(&mut self, facts: Facts<'_>) -> (ChannelId, u64, u64) {
        let current = self.current.take().expect("a channel was begun");
        facts(CHANNEL, &current.fact().encode_to_vec());
        (current.id, current.first, current.last)
    }

    /// Writes the server down, last: it names the next numbers. `ack_inbox_token` is random, letters and digits; the few ack inboxes that
    /// are replaced have it in their names.
    ///
    /// # Errors
    /// A subject is none.
    pub fn server(
        &self,
        cluster_id: &str,
        subjects: &Subjects,
        ack_inbox_token: &str,
        facts: Facts<'_>,
    ) -> Result<(), ImportError> {
        let served = [
            &subjects.discover,
            &subjects.pings,
            &subjects.publish_prefix,
            &subjects.subscribe,
            &subjects.unsubscribe,
            &subjects.subscription_close,
            &subjects.close,
        ];
        for served in served {
            if !subject::is_literal(served.as_bytes()) {
                return Err(ImportError(format!(
                    "the server's subject {} is none",
                    quote(served.as_bytes())
                )));
            }
        }
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let fact = ServerFact {
            cluster_id: text(cluster_id),
            discover: text(&subjects.discover),
            pings: text(&subjects.pings),
            publish_prefix: text(&subjects.publish_prefix),
            subscribe: text(&subjects.subscribe),
            unsubscribe: text(&subjects.unsubscribe),
            subscription_close: text(&subjects.subscription_close),
            close: text(&subjects.close),
            numbered_inboxes: text(ack_inbox_token),
            audit: Vec::new(),
            next_channel: self.last_channel + 1,
            next_subscription: self.last_subscription + 1,
            next_ack_inbox: self.last_subscription + 1,
        };
        facts(SERVER, &fact.encode_to_vec());
        Ok(())
    }
}

/// The channel that a fact names, and its name; none for another fact.
#[must_use]
pub fn channel_of_fact(kind: u8, body: &[u8]) -> Option<(ChannelId, Bytes)> {
    let fact = (kind == CHANNEL).then(|| ChannelFact::decode(body).ok()).flatten()?;
    Some((ChannelId(fact.id), fact.name))
}

impl Current {
    fn fact(&self) -> ChannelFact {
        ChannelFact {
            id: self.id.0,
            name: self.name.clone(),
            first: match self.first {
                0 if self.last > 0 => self.last + 1,
                first => first,
            },
            last: self.last,
            last_timestamp: if self.last == 0 { 0 } else { self.latest },
        }
    }
}

/// Writes what a subscription has not acknowledged, in facts of a bounded size.
fn write_pending(number: u64, last_sent: u64, last: u64, pending: impl Iterator<Item = (u64, u64)>, facts: Facts<'_>) {
    let (mut sent, mut end) = (Vec::new(), 0);
    let mut write = |sent: &mut Vec<u64>, end: &mut u64| {
        let fact = ProgressFact {
            number,
            last_sent,
            sent: std::mem::take(sent),
            ..ProgressFact::default()
        };
        *end = 0;
        if !fact.sent.is_empty() {
            facts(PROGRESS, &fact.encode_to_vec());
        }
    };
    for (first, to) in pending {
        let (mut first, to) = (first.max(1), to.min(last));
        while first <= to {
            let part = to.min(first + (RUN_LENGTH_MAX - 1));
            push_run(&mut sent, &mut end, (first, part));
            first = part + 1;
            if sent.len() / 2 >= RUNS_PER_FACT_MAX {
                write(&mut sent, &mut end);
            }
        }
    }
    write(&mut sent, &mut end);
}
