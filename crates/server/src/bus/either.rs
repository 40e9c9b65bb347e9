//! The bus, whichever of the two carries it: a choice per call, and none per message beside it.

use std::sync::Arc;
use std::time::Instant;

use seaway_broker::{Broker, GLOBAL_ACCOUNT};
use tokio::sync::watch;

use super::external::{self, External, ExternalSnapshot};
use super::local;
use super::words::{Hindrance, InvalidSubject, Listener, Origin, Sent, Unsettled};

/// A way to attach; clones lead to the same bus.
#[derive(Clone)]
pub struct Bus(Carrier);

#[derive(Clone)]
enum Carrier {
    Local(local::Bus),
    External(External),
}

impl Bus {
    /// The bus that the global account of a broker in this process is.
    pub fn new(broker: &Broker) -> Bus {
        Self::of_account(broker, GLOBAL_ACCOUNT)
    }

    /// The bus that an account of a broker in this process is.
    pub fn of_account(broker: &Broker, account: &str) -> Bus {
        Bus(Carrier::Local(local::Bus::new(broker, account)))
    }

    /// The bus that NATS servers of somebody else are.
    pub fn external(external: External) -> Bus {
        Bus(Carrier::External(external))
    }

    /// Attaches a party under a name for people.
    pub fn attach<L: Listener>(&self, name: &str, listener: Arc<L>) -> Attachment {
        match &self.0 {
            Carrier::Local(bus) => Attachment::Local(bus.attach(name, listener)),
            Carrier::External(bus) => Attachment::External(bus.attach(listener)),
        }
    }

    /// What whoever sent a request may do; `None` when that connection has gone, or is none of a client.
    pub fn requester(&self, origin: Origin) -> Option<Requester> {
        match &self.0 {
            Carrier::Local(bus) => bus.requester(origin).map(Requester::Local),
            Carrier::External(_) => Some(Requester::Unknown),
        }
    }

    /// Says when other brokers come into reach, from now on.
    pub fn reach(&self) -> Reach {
        Reach(match &self.0 {
            Carrier::Local(bus) => bus.cluster_changes(),
            Carrier::External(bus) => Some(bus.changes()),
        })
    }

    /// Bytes of one message at most.
    pub fn max_payload(&self) -> usize {
        match &self.0 {
            Carrier::Local(bus) => bus.max_payload(),
            Carrier::External(bus) => bus.max_payload(),
        }
    }

    /// Bytes that may wait for one receiver; with more it is a slow consumer and is cut off.
    pub fn max_pending(&self) -> usize {
        match &self.0 {
            Carrier::Local(bus) => bus.max_pending(),
            Carrier::External(_) => external::OUTBOUND_BYTES_MAX,
        }
    }

    /// Bytes of one answer at most: what clients take now, and half of what makes one a slow consumer.
    pub fn max_answer(&self) -> usize {
        match &self.0 {
            Carrier::Local(bus) => bus.max_answer(),
            Carrier::External(bus) => bus.max_payload(),
        }
    }

    /// Waits until everything subscribed to and sent until now has been looked at by whoever carries it.
    ///
    /// # Errors
    /// What is refused, in words that name the subject.
    pub async fn settled(&self) -> Result<(), Unsettled> {
        match &self.0 {
            Carrier::Local(_) => Ok(()),
            Carrier::External(bus) => bus.settled().await,
        }
    }

    /// Waits in the same way; that a message was refused is not this waiting one's matter: its inbox may be some client's, or it may
    /// have been sent long ago.
    ///
    /// # Errors
    /// A subscription is refused, or there is no answer.
    pub async fn subscribed(&self) -> Result<(), Unsettled> {
        match self.settled().await {
            Err(Unsettled::PublishRefused(_)) => Ok(()),
            outcome => outcome,
        }
    }

    /// Lets what was sent leave before the end.
    pub async fn close(&self) {
        match &self.0 {
            Carrier::Local(_) => {}
            Carrier::External(bus) => bus.close().await,
        }
    }

    /// How the connection to servers of somebody else is; `None` where the broker is in this process.
    pub fn external_snapshot(&self) -> Option<ExternalSnapshot> {
        match &self.0 {
            Carrier::Local(_) => None,
            Carrier::External(bus) => Some(bus.snapshot()),
        }
    }
}

/// Which brokers are in reach, as far as that changes.
#[derive(Clone)]
pub struct Reach(Option<watch::Receiver<u64>>);

impl Reach {
    /// Whether one came or went since this was got.
    pub fn has_changed(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|changes| changes.has_changed().unwrap_or(false))
    }

    /// Waits until a broker came or went; for ever where there are no others.
    pub async fn changed(&mut self) {
        let is_told = match &mut self.0 {
            Some(changes) => changes.changed().await.is_ok(),
            None => false,
        };
        if !is_told {
            std::future::pending::<()>().await;
        }
    }
}

/// A party. Dropping it removes its subscriptions and opens its gate, at once.
pub enum Attachment {
    /// At the broker in this process.
    Local(local::Attachment),
    /// At servers of somebody else.
    External(external::Attachment),
}

impl Attachment {
    /// Delivers what `pattern` matches to the listener, under `tag`, but what this party sends itself. With `holdable`, publishers
    /// may be held back at the [`Gate`], or are refused.
    ///
    /// # Errors
    /// `pattern` is no valid subject.
    pub fn subscribe(&self, pattern: impl AsRef<[u8]>, tag: u64, holdable: bool) -> Result<(), InvalidSubject> {
        match self {
            Attachment::Local(attachment) => attachment.subscribe(pattern, tag, holdable),
            Attachment::External(attachment) => attachment.subscribe(pattern.as_ref(), tag, holdable),
        }
    }

    /// The same for clients of this server alone, whatever cluster it is in. Servers of somebody else make no such difference.
    ///
    /// # Errors
    /// `pattern` is no valid subject.
    pub fn subscribe_here(&self, pattern: impl AsRef<[u8]>, tag: u64, holdable: bool) -> Result<(), InvalidSubject> {
        match self {
            Attachment::Local(attachment) => attachment.subscribe_here(pattern, tag, holdable),
            Attachment::External(attachment) => attachment.subscribe(pattern.as_ref(), tag, holdable),
        }
    }

    /// Ends all subscriptions under `tag`. What is being gathered for one may still come.
    pub fn unsubscribe(&self, tag: u64) {
        match self {
            Attachment::Local(attachment) => attachment.unsubscribe(tag),
            Attachment::External(attachment) => attachment.unsubscribe(tag),
        }
    }

    /// Does what dropping it does, whoever else still has it; what it subscribes to from now on is nothing.
    pub fn detach(&self) {
        match self {
            Attachment::Local(attachment) => attachment.detach(),
            Attachment::External(attachment) => attachment.detach(),
        }
    }

    /// The gate of its holdable subscriptions.
    pub fn gate(&self) -> Gate {
        match self {
            Attachment::Local(attachment) => Gate::Local(attachment.gate()),
            Attachment::External(attachment) => Gate::External(attachment.gate()),
        }
    }

    /// A sender of its own, for one thread at a time.
    pub fn sender(&self) -> Sender {
        match self {
            Attachment::Local(attachment) => Sender::Local(attachment.sender()),
            Attachment::External(attachment) => Sender::External(attachment.sender()),
        }
    }

    /// Tells the listener from now on when somebody new listens to a subject that overlaps `pattern`, where that can be known.
    ///
    /// # Errors
    /// `pattern` is no valid subject.
    pub fn watch_interest(&self, pattern: &str) -> Result<(), InvalidSubject> {
        match self {
            Attachment::Local(attachment) => attachment.watch_interest(pattern),
            Attachment::External(_) => Ok(()),
        }
    }

    /// Whether it is known at once who receives what is sent; if not, everything is taken to be received.
    pub fn knows_receivers(&self) -> bool {
        matches!(self, Attachment::Local(_))
    }

    /// Whether everything that was sent to this party until `moment` has come, as far as it was not lost. If not, it is asked for, and
    /// [`Listener::heard_all`] tells.
    pub fn has_heard_until(&self, moment: Instant) -> bool {
        match self {
            Attachment::Local(_) => true,
            Attachment::External(attachment) => attachment.has_heard_until(moment),
        }
    }

    /// Looks, about now, whether what carries messages moves; see [`Attachment::stood_still_until`].
    pub fn watch(&self) {
        if let Attachment::External(attachment) = self {
            attachment.watch();
        }
    }

    /// Until when what carries messages last stood still, as far as that was seen. Others' answers may have been behind it for as
    /// long, and come some time after this.
    pub fn stood_still_until(&self) -> Option<Instant> {
        match self {
            Attachment::Local(_) => None,
            Attachment::External(attachment) => attachment.stood_still_until(),
        }
    }
}

/// Holds back whoever publishes to holdable subscriptions of one attachment; where nobody can be held, what they publish is refused.
#[derive(Clone)]
pub enum Gate {
    /// For publishers in this process.
    Local(local::Gate),
    /// For those behind servers of somebody else.
    External(external::Gate),
}

impl Gate {
    /// From now on publishers are held.
    pub fn close(&self) {
        match self {
            Gate::Local(gate) => gate.close(),
            Gate::External(gate) => gate.close(),
        }
    }

    /// Lets all held publishers go on.
    pub fn open(&self) {
        match self {
            Gate::Local(gate) => gate.open(),
            Gate::External(gate) => gate.open(),
        }
    }

    /// Opens, and lets so many held publishers go on; whether others still wait, for [`Gate::go_on`].
    pub fn open_for(&self, publishers: usize) -> bool {
        match self {
            Gate::Local(gate) => gate.open_for(publishers),
            Gate::External(gate) => {
                gate.open();
                false
            }
        }
    }

    /// Lets so many more go on, unless it was closed again; whether others still wait.
    pub fn go_on(&self, publishers: usize) -> bool {
        match self {
            Gate::Local(gate) => gate.go_on(publishers),
            Gate::External(_) => false,
        }
    }

    /// Whether publishers are held.
    pub fn is_closed(&self) -> bool {
        match self {
            Gate::Local(gate) => gate.is_closed(),
            Gate::External(gate) => gate.is_closed(),
        }
    }
}

/// Sends for an attachment, and gathers until [`Sender::flush`]. What goes to one receiver leaves in the order of the calls.
#[expect(
    clippy::large_enum_variant,
    reason = "there are few, they are not moved, and a box would cost a step for each message"
)]
pub enum Sender {
    /// Through the broker in this process.
    Local(local::Sender),
    /// Through servers of somebody else, which do not say who receives: somebody is supposed to.
    External(external::Sender),
}

impl Sender {
    /// Sends the parts, joined, to `subject`. Nobody gets a message whose subject or reply is none.
    pub fn send(&mut self, subject: &[u8], reply: Option<&[u8]>, parts: &[&[u8]]) -> Sent {
        match self {
            Sender::Local(sender) => sender.send(subject, reply, parts),
            Sender::External(sender) => sender.send(subject, reply, parts),
        }
    }

    /// The same if every receiver has room; how many subscriptions took it.
    ///
    /// # Errors
    /// Nothing was sent.
    pub fn send_if_room(&mut self, subject: &[u8], parts: &[&[u8]]) -> Result<u32, Hindrance> {
        match self {
            Sender::Local(sender) => sender.send_if_room(subject, parts),
            Sender::External(sender) => sender.send_if_room(subject, parts),
        }
    }

    /// What [`Sender::send_if_room`] would find, asked before there is anything to send: whether anybody listens.
    ///
    /// # Errors
    /// As there.
    pub fn has_receiver_with_room(&mut self, subject: &[u8]) -> Result<bool, Hindrance> {
        match self {
            Sender::Local(sender) => sender.has_receiver_with_room(subject),
            Sender::External(sender) => sender.has_room().map(|()| true),
        }
    }

    /// Answers a request, with a whole header block or an empty one. Answers reach clients only, where that can be told.
    pub fn answer(&mut self, subject: &[u8], headers: &[u8], payload: &[u8]) -> Sent {
        match self {
            Sender::Local(sender) => sender.answer(subject, headers, payload),
            Sender::External(sender) => sender.answer(subject, headers, payload),
        }
    }

    /// Hands over everything gathered, and a slice of what has very many receivers; nothing waits here. Returns whether the last receiver
    /// has got everything; if not, flush again soon.
    pub fn flush(&mut self) -> bool {
        match self {
            Sender::Local(sender) => sender.flush(),
            Sender::External(sender) => {
                sender.flush();
                true
            }
        }
    }

    /// Whether a flush would have something to go on with.
    pub fn has_waiting(&self) -> bool {
        match self {
            Sender::Local(sender) => sender.has_waiting(),
            Sender::External(_) => false,
        }
    }
}

/// What somebody who asks an in-process service may do, at the moment of the question.
pub enum Requester {
    /// A client of the broker in this process.
    Local(local::Requester),
    /// Somebody behind servers of somebody else, whose permissions have let the question through.
    Unknown,
}

/// Where services listen, and no asker's inbox is: an answer there would be a request in this server's name.
const NO_INBOXES: [&[u8]; 3] = [b"$", b"_STAN.", b"_R_."];

impl Requester {
    /// Whether nothing is known of it.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Requester::Unknown)
    }

    /// Who it is, in words; what it asks for came from this origin.
    pub fn words(&self, origin: Origin) -> String {
        match self {
            Requester::Local(requester) => requester.words(origin),
            Requester::Unknown => "somebody".to_owned(),
        }
    }

    /// Whether it may subscribe to `subject`: answers belong nowhere else.
    pub fn may_receive(&self, subject: &[u8]) -> bool {
        match self {
            Requester::Local(requester) => requester.may_receive(subject),
            Requester::Unknown => !NO_INBOXES.iter().any(|prefix| subject.starts_with(prefix)),
        }
    }

    /// Whether its permissions say nothing, or [`Requester::is_named`].
    pub fn is_unrestricted_or_named(&self, subject: &[u8]) -> bool {
        match self {
            Requester::Local(requester) => requester.is_unrestricted_or_named(subject),
            Requester::Unknown => true,
        }
    }

    /// Whether it was given the right to publish to `subject` by name.
    pub fn is_named(&self, subject: &[u8]) -> bool {
        match self {
            Requester::Local(requester) => requester.is_named(subject),
            Requester::Unknown => false,
        }
    }
}
