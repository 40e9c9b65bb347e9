//! "Why?": why a subscription is, or is not, receiving, in words a tired operator understands.
//!
//! A pure read between two inputs: it gathers what the state says, finds the verdicts that apply in the order in which an
//! operator should look at them, and puts the first into sentences. It decides nothing that delivery decides: each verdict
//! names the condition at which delivery stops. What an answer may cost is bounded by the constants in `limits`.

use crate::time::Timestamp;

/// What is asked: a channel, and which of its subscriptions. What is `None` selects nothing away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhyQuestion {
    /// Channel name.
    pub channel: Vec<u8>,
    /// Durable name of a plain durable or of a durable queue group.
    pub durable: Option<Vec<u8>>,
    /// Queue group as subscribed, or `<durable>:<group>`.
    pub queue: Option<Vec<u8>>,
    /// Client ID of the (last) owner.
    pub client: Option<Vec<u8>>,
    /// Matching subscriptions to skip.
    pub offset: usize,
    /// Matching subscriptions to tell of.
    pub limit: usize,
    /// Why the store takes no new messages at present, if that is so; the engine does not know.
    pub store_full: Option<String>,
}

/// What keeps a subscription from receiving, or that nothing does. In the order in which an operator should look at them:
/// the first that applies is the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// There is no such channel.
    ChannelUnknown,
    /// The channel has no such durable.
    DurableUnknown,
    /// The channel has no such queue group.
    QueueUnknown,
    /// The client has no subscription on the channel.
    ClientUnknown,
    /// The channel has no subscription at all.
    NoSubscriptions,
    /// The bus is down: nothing reaches anybody.
    BusDown,
    /// Reading its messages from the store failed; it is tried again.
    ReadFailing,
    /// An operator has paused it, or its group.
    Paused,
    /// A durable without owner.
    Offline,
    /// A durable queue group without members.
    NoMembers,
    /// Its owner's connection is being closed.
    ClientClosing,
    /// Its owner does not answer heartbeats.
    ClientFailing,
    /// Its owner's connection does not take what is sent to it.
    ConnectionCongested,
    /// Its request is not durable yet.
    Starting,
    /// Resumed: what it had is sent again before anything new.
    OnHoldAfterResume,
    /// After a restart: what it had is looked at before anything new.
    OnHoldAfterRestart,
    /// As many unacknowledged messages as it may have.
    Stalled,
    /// A member that left; what it held goes to the others.
    Departing,
    /// Messages that are damaged were passed over; they are sent once they can be read.
    MessagesDamaged,
    /// Behind the channel's end, and moving.
    CatchingUp,
    /// Everything it has not got yet was removed by a limit.
    MessagesExpired,
    /// The store failed: nothing new becomes visible.
    JournalPoisoned,
    /// The store is full: publishes are refused.
    JournalFull,
    /// What is new is not durable yet.
    WaitingForDisk,
    /// It has everything; some of it was sent again without an ack.
    Redelivering,
    /// It has everything and has not acknowledged all of it.
    WaitingForAcks,
    /// It has everything and acknowledged it.
    NothingNew,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Verdict; 27] = [
        Verdict::ChannelUnknown,
        Verdict::DurableUnknown,
        Verdict::QueueUnknown,
        Verdict::ClientUnknown,
        Verdict::NoSubscriptions,
        Verdict::BusDown,
        Verdict::ReadFailing,
        Verdict::Paused,
        Verdict::Offline,
        Verdict::NoMembers,
        Verdict::ClientClosing,
        Verdict::ClientFailing,
        Verdict::ConnectionCongested,
        Verdict::Starting,
        Verdict::OnHoldAfterResume,
        Verdict::OnHoldAfterRestart,
        Verdict::Stalled,
        Verdict::Departing,
        Verdict::MessagesDamaged,
        Verdict::CatchingUp,
        Verdict::MessagesExpired,
        Verdict::JournalPoisoned,
        Verdict::JournalFull,
        Verdict::WaitingForDisk,
        Verdict::Redelivering,
        Verdict::WaitingForAcks,
        Verdict::NothingNew,
    ];

    /// The name that programs compare; never changes.
    pub fn code(self) -> &'static str {
        match self {
            Verdict::ChannelUnknown => "channel_unknown",
            Verdict::DurableUnknown => "durable_unknown",
            Verdict::QueueUnknown => "queue_unknown",
            Verdict::ClientUnknown => "client_unknown",
            Verdict::NoSubscriptions => "no_subscriptions",
            Verdict::BusDown => "bus_down",
            Verdict::ReadFailing => "read_failing",
            Verdict::Paused => "paused",
            Verdict::Offline => "offline",
            Verdict::NoMembers => "no_members",
            Verdict::ClientClosing => "client_closing",
            Verdict::ClientFailing => "client_failing",
            Verdict::ConnectionCongested => "connection_congested",
            Verdict::Starting => "starting",
            Verdict::OnHoldAfterResume => "on_hold_after_resume",
            Verdict::OnHoldAfterRestart => "on_hold_after_restart",
            Verdict::Stalled => "stalled",
            Verdict::Departing => "departing",
            Verdict::MessagesDamaged => "messages_damaged",
            Verdict::CatchingUp => "catching_up",
            Verdict::MessagesExpired => "messages_expired",
            Verdict::JournalPoisoned => "journal_poisoned",
            Verdict::JournalFull => "journal_full",
            Verdict::WaitingForDisk => "waiting_for_disk",
            Verdict::Redelivering => "redelivering",
            Verdict::WaitingForAcks => "waiting_for_acks",
            Verdict::NothingNew => "nothing_new",
        }
    }

    /// Whether what was asked for does not exist.
    pub fn is_unknown(self) -> bool {
        self < Verdict::NoSubscriptions
    }

    /// Whether something is to be done about it, or waited for. Otherwise the subscription has what there is.
    pub fn needs_attention(self) -> bool {
        !matches!(
            self,
            Verdict::Starting | Verdict::CatchingUp | Verdict::WaitingForAcks | Verdict::NothingNew
        )
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhyReport {
    /// The channel as asked for.
    pub channel: String,
    /// The gravest verdict of all that match.
    pub verdict: Verdict,
    /// What it means, in sentences.
    pub words: String,
    /// What to do, in sentences.
    pub advice: String,
    /// Numbers behind the words.
    pub facts: Vec<Fact>,
    /// Subscriptions that match.
    pub total: usize,
    /// The part of them that was asked for, in the order of channelsz.
    pub subscriptions: Vec<WhySubscription>,
}

/// The answer for one subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhySubscription {
    /// Client ID of the (last) owner.
    pub client_id: String,
    /// Delivery inbox.
    pub inbox: String,
    /// Durable name of a plain durable, else empty.
    pub durable_name: String,
    /// Queue group, `<durable>:<group>` when it is durable, else empty.
    pub queue_name: String,
    /// The first of its verdicts.
    pub verdict: Verdict,
    /// The others that apply too.
    pub also: Vec<Verdict>,
    /// What the verdict means, in sentences.
    pub words: String,
    /// What to do, in sentences.
    pub advice: String,
    /// Numbers behind the words.
    pub facts: Vec<Fact>,
}

/// A fact: a stable name and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Name; never changes its meaning.
    pub name: &'static str,
    /// Value.
    pub value: FactValue,
}

/// Value of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactValue {
    /// A count or a sequence.
    Number(u64),
    /// A text.
    Text(String),
    /// Yes or no.
    Flag(bool),
    /// A moment.
    Time(Timestamp),
    /// Nanoseconds.
    Span(u64),
    /// Names.
    Names(Vec<String>),
    /// Unacknowledged messages.
    Sequences(Vec<SequenceRange>),
}

/// Neighbouring unacknowledged messages with one deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceRange {
    /// First sequence.
    pub first: u64,
    /// Last sequence.
    pub last: u64,
    /// How often they were sent again; counts of before a restart are forgotten.
    pub redeliveries: u32,
    /// When they are due to be sent again, unless that is not known yet.
    pub due: Option<Timestamp>,
}
