//! Log lines as values (`streaming-protocol.md` §9.2): the shell prints them, the simulator counts them.

pub(crate) mod change;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod utc;

use std::fmt::{self, Display, Formatter};

use self::text::Text;
use self::utc::Utc;
use crate::change::{Change, Changed};
use crate::time::Timestamp;

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Operators see it.
    Info,
    /// Something needs attention.
    Warning,
    /// Something failed.
    Error,
    /// Only with `-SD`.
    Debug,
    /// Only with `-SV`.
    Trace,
}

/// What became of a subscription; the verb of its debug line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionVerb {
    /// A new one.
    Started,
    /// A queue member joined an existing group.
    Joined,
    /// A durable got a new owner.
    Resumed,
    /// Gone.
    Removed,
    /// A queue member left, others stay.
    MemberRemoved,
    /// A durable lost its owner.
    Suspended,
}

/// Where a new subscription begins; the end of its debug line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine {
    /// The line names no start.
    None,
    /// Only messages to come.
    NewOnly {
        /// First sequence.
        sequence: u64,
    },
    /// The last message first.
    Last {
        /// First sequence.
        sequence: u64,
    },
    /// From a time.
    Time {
        /// That time.
        time: Timestamp,
        /// First sequence.
        sequence: u64,
    },
    /// From a sequence.
    Sequence {
        /// As requested.
        asked: u64,
        /// First sequence.
        actual: u64,
    },
    /// Everything.
    First {
        /// First sequence.
        sequence: u64,
    },
}

/// One line; its `Display` is the text.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A channel came into being.
    ChannelCreated {
        /// Its name.
        channel: &'a [u8],
    },
    /// A channel was deleted after inactivity.
    ChannelDeleted {
        /// Its name.
        channel: &'a [u8],
    },
    /// Too many heartbeats failed, the client is closed.
    TimedOut {
        /// Its ID.
        client: &'a [u8],
    },
    /// The first message was dropped because of a limit on messages or bytes.
    LimitsReached {
        /// The channel.
        channel: &'a [u8],
        /// Messages in it.
        messages: u64,
        /// At most; 0 is unlimited.
        messages_max: u64,
        /// Bytes in it.
        bytes: u64,
        /// At most; 0 is unlimited.
        bytes_max: u64,
    },
    /// The clock was set back, or was ahead for a moment: times of a channel, which never decrease, are ahead of it.
    ChannelAhead {
        /// The channel.
        channel: &'a [u8],
        /// By so much.
        nanoseconds: u64,
    },
    /// Stored messages could not be read; tried again later.
    ReadFailed {
        /// The channel.
        channel: &'a [u8],
        /// First sequence asked for.
        sequence: u64,
        /// Why.
        reason: &'a str,
    },
    /// Stored messages are damaged, and passed over; told when that is found.
    Damaged {
        /// The channel.
        channel: &'a [u8],
        /// First sequence.
        from: u64,
        /// Last sequence.
        to: u64,
        /// File, place, reason.
        reason: &'a str,
    },
    /// Damaged messages can be read again, or were removed.
    Mended {
        /// The channel.
        channel: &'a [u8],
        /// How many.
        messages: u64,
        /// How many of the channel are damaged still.
        left: u64,
    },
    /// A damaged message is not sent for now.
    PassingOver {
        /// The subscription's number.
        number: u64,
        /// The channel.
        channel: &'a [u8],
        /// The message's sequence.
        sequence: u64,
    },
    /// Nobody listened when a message was sent again.
    Unheard {
        /// The subscription's number.
        number: u64,
        /// The channel.
        channel: &'a [u8],
        /// The message's sequence.
        sequence: u64,
    },
    /// An ack names another channel than the subscription's.
    AckForUnknownChannel {
        /// The channel it names.
        channel: &'a [u8],
        /// The sequence it names.
        sequence: u64,
    },
    /// Messages of a channel were given up at this start or an earlier one.
    MessagesLost {
        /// The channel.
        channel: &'a [u8],
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// A durable subscription, or a member of a durable queue group, was given up at this start.
    DurableLost {
        /// Its client's ID.
        client: &'a [u8],
        /// Its channel; empty when that name is lost, too.
        channel: &'a [u8],
        /// Its durable name.
        durable: &'a [u8],
        /// Its group, if it is in one.
        queue: &'a [u8],
    },
    /// A client was given up at this start.
    ClientLost {
        /// Its ID.
        client: &'a [u8],
    },
    /// More was lost than is named.
    MoreLost {
        /// How much more.
        more: usize,
    },
    /// What this start gave up of what was readable behind the damage.
    GivenUp {
        /// Durables and members of durable queue groups.
        durables: usize,
        /// Clients.
        clients: usize,
    },
    /// A recovered queue member belongs to no registered client (§5.9).
    GhostMember {
        /// Its client's ID.
        client: &'a [u8],
        /// Its channel.
        channel: &'a [u8],
        /// Its group.
        queue: &'a [u8],
    },
    /// A recovered durable group has more than one record without owner; the one with the highest cursor counts (§5.9).
    SeveralShadows {
        /// The channel.
        channel: &'a [u8],
        /// The group.
        queue: &'a [u8],
    },
    /// A request was refused because nothing can be stored.
    Refused {
        /// Which.
        request: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// A client was registered.
    Connected {
        /// Its ID.
        client: &'a [u8],
        /// Its heartbeat inbox.
        inbox: &'a [u8],
    },
    /// A client took over from one that did not answer.
    Replaced {
        /// Its ID.
        client: &'a [u8],
        /// The old heartbeat inbox.
        inbox: &'a [u8],
    },
    /// A client of that ID is alive.
    AlreadyConnected {
        /// Its ID.
        client: &'a [u8],
    },
    /// A client is gone.
    Closed {
        /// Its ID.
        client: &'a [u8],
        /// Its heartbeat inbox.
        inbox: &'a [u8],
    },
    /// Something happened to a subscription.
    Subscription {
        /// What.
        verb: SubscriptionVerb,
        /// The owner's ID.
        client: &'a [u8],
        /// The channel.
        channel: &'a [u8],
        /// The delivery inbox.
        inbox: &'a [u8],
        /// The group, empty for none.
        queue: &'a [u8],
        /// The durable name, empty for none.
        durable: &'a [u8],
        /// Its number.
        number: u64,
        /// Where it begins.
        start: StartLine,
    },
    /// A publish arrived.
    PublishReceived {
        /// The channel.
        channel: &'a [u8],
        /// The publisher's id for it.
        guid: &'a [u8],
    },
    /// A publish is acknowledged.
    PublishAcked {
        /// The channel.
        channel: &'a [u8],
        /// The publisher's id for it.
        guid: &'a [u8],
    },
    /// A message is sent.
    Delivering {
        /// The subscription's number.
        number: u64,
        /// The channel.
        channel: &'a [u8],
        /// The message's sequence.
        sequence: u64,
        /// 0 for the first time, else the redelivery count.
        redelivery_count: u32,
    },
    /// An operator changed something.
    Changed {
        /// Who, in words.
        by: &'a [u8],
        /// What was asked for.
        change: Change<'a>,
        /// What came of it.
        changed: Changed,
    },
    /// A subscriber's ack.
    Ack {
        /// The subscription's number.
        number: u64,
        /// The channel.
        channel: &'a [u8],
        /// The message's sequence.
        sequence: u64,
    },
}

impl Event<'_> {
    /// How loud the line is.
    pub fn level(&self) -> Level {
        match self {
            Event::ChannelCreated { .. }
            | Event::ChannelDeleted { .. }
            | Event::TimedOut { .. }
            | Event::Changed { .. } => Level::Info,
            Event::LimitsReached { .. }
            | Event::ChannelAhead { .. }
            | Event::Mended { .. }
            | Event::GhostMember { .. }
            | Event::MessagesLost { .. }
            | Event::DurableLost { .. }
            | Event::ClientLost { .. }
            | Event::MoreLost { .. }
            | Event::GivenUp { .. }
            | Event::SeveralShadows { .. } => Level::Warning,
            Event::Damaged { .. }
            | Event::ReadFailed { .. }
            | Event::AckForUnknownChannel { .. }
            | Event::Refused { .. } => Level::Error,
            Event::Connected { .. }
            | Event::Replaced { .. }
            | Event::AlreadyConnected { .. }
            | Event::Closed { .. }
            | Event::Subscription { .. } => Level::Debug,
            Event::PublishReceived { .. }
            | Event::PublishAcked { .. }
            | Event::Delivering { .. }
            | Event::PassingOver { .. }
            | Event::Unheard { .. }
            | Event::Ack { .. } => Level::Trace,
        }
    }
}

impl Display for Event<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Event::ChannelCreated { channel } => write!(f, "Channel \"{}\" has been created", Text(channel)),
            Event::ChannelDeleted { channel } => write!(f, "Channel \"{}\" has been deleted", Text(channel)),
            Event::TimedOut { client } => write!(f, "[Client:{}] Timed out on heartbeats", Text(client)),
            Event::LimitsReached {
                channel,
                messages,
                messages_max,
                bytes,
                bytes_max,
            } => write!(
                f,
                "Reached limits for store \"{}\" (msgs={messages}/{messages_max} bytes={bytes}/{bytes_max}), \
                 dropping old messages to make room for new ones",
                Text(channel)
            ),
            Event::ChannelAhead { channel, nanoseconds } => write!(
                f,
                "Message times of channel \"{}\" are {} seconds ahead of the clock, and go on by a nanosecond a message until it \
                 has caught up",
                Text(channel),
                nanoseconds / 1_000_000_000
            ),
            Event::ReadFailed {
                channel,
                sequence,
                reason,
            } => {
                write!(f, "Error looking up message {}:{sequence}: {reason}", Text(channel))
            }
            Event::Damaged {
                channel,
                from,
                to,
                reason,
            } => write!(
                f,
                "Messages {from} to {to} of channel \"{}\" cannot be read and are passed over: {reason}. They are sent once they can \
                 be read: put the file back as it was, from a copy, or let the channel's limits remove them",
                Text(channel)
            ),
            Event::Mended {
                channel,
                messages,
                left,
            } => write!(
                f,
                "{messages} damaged messages of channel \"{}\" can be read again or were removed, {left} are damaged still",
                Text(channel)
            ),
            Event::PassingOver {
                number,
                channel,
                sequence,
            } => write!(
                f,
                "Passing over msg for subid={number}, subject={}, seq={sequence}",
                Text(channel)
            ),
            Event::Unheard {
                number,
                channel,
                sequence,
            } => write!(
                f,
                "Nobody listens for msg sent again to subid={number}, subject={}, seq={sequence}",
                Text(channel)
            ),
            Event::AckForUnknownChannel { channel, sequence } => {
                write!(
                    f,
                    "Unable to process ack seq={sequence}, channel {} not found",
                    Text(channel)
                )
            }
            Event::MessagesLost { .. }
            | Event::DurableLost { .. }
            | Event::ClientLost { .. }
            | Event::MoreLost { .. }
            | Event::GivenUp { .. } => write_loss(self, f),
            Event::GhostMember { client, channel, queue } => write!(
                f,
                "Dropped recovered queue member of unknown client [Client:{}] subject={}, queue={}",
                Text(client),
                Text(channel),
                Text(queue)
            ),
            Event::SeveralShadows { channel, queue } => write!(
                f,
                "Recovered several offline records of one durable queue, subject={}, queue={}: kept the furthest",
                Text(channel),
                Text(queue)
            ),
            Event::Refused { request, reason } => write!(f, "Refused {request}: {reason}"),
            Event::Connected { client, inbox } => {
                write!(f, "[Client:{}] Connected (Inbox={})", Text(client), Text(inbox))
            }
            Event::Replaced { client, inbox } => {
                write!(
                    f,
                    "[Client:{}] Replaced old client (Inbox={})",
                    Text(client),
                    Text(inbox)
                )
            }
            Event::AlreadyConnected { client } => {
                write!(f, "[Client:{}] Connect failed; already connected", Text(client))
            }
            Event::Closed { client, inbox } => write!(f, "[Client:{}] Closed (Inbox={})", Text(client), Text(inbox)),
            Event::Subscription { .. } => self.fmt_subscription(f),
            Event::PublishReceived { channel, guid } => {
                write!(
                    f,
                    "Received message from publisher subj={} guid={}",
                    Text(channel),
                    Text(guid)
                )
            }
            Event::PublishAcked { channel, guid } => {
                write!(f, "Acking Publisher subj={} guid={}", Text(channel), Text(guid))
            }
            Event::Delivering {
                number,
                channel,
                sequence,
                redelivery_count,
            } => {
                let verb = if redelivery_count == 0 {
                    "Delivering"
                } else {
                    "Redelivering"
                };
                write!(
                    f,
                    "{verb} msg to subid={number}, subject={}, seq={sequence}",
                    Text(channel)
                )
            }
            Event::Changed { by, change, changed } => write!(f, "{} {}", Text(by), change::Words { change, changed }),
            Event::Ack {
                number,
                channel,
                sequence,
            } => {
                write!(
                    f,
                    "Processing ack for subid={number}, subject={}, seq={sequence}",
                    Text(channel)
                )
            }
        }
    }
}

impl Event<'_> {
    fn fmt_subscription(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Event::Subscription {
            verb,
            client,
            channel,
            inbox,
            queue,
            durable,
            number,
            start,
        } = *self
        else {
            return Ok(());
        };
        let verb = match verb {
            SubscriptionVerb::Started => "Started new",
            SubscriptionVerb::Joined => "Added member to",
            SubscriptionVerb::Resumed => "Resumed",
            SubscriptionVerb::Removed => "Removed",
            SubscriptionVerb::MemberRemoved => "Removed member from",
            SubscriptionVerb::Suspended => "Suspended",
        };
        write!(f, "[Client:{}] {verb} ", Text(client))?;
        if !durable.is_empty() {
            f.write_str("durable ")?;
        }
        if !queue.is_empty() {
            f.write_str("queue ")?;
        }
        write!(f, "subscription, subject={}, inbox={}, ", Text(channel), Text(inbox))?;
        if !queue.is_empty() {
            write!(f, "queue={}, ", Text(queue))?;
        } else if !durable.is_empty() {
            write!(f, "durable={}, ", Text(durable))?;
        }
        write!(f, "subid={number}")?;
        match start {
            StartLine::None => Ok(()),
            StartLine::NewOnly { sequence } => write!(f, ", sending new-only, seq={sequence}"),
            StartLine::Last { sequence } => write!(f, ", sending last message, seq={sequence}"),
            StartLine::Time { time, sequence } => {
                write!(f, ", sending from time time='{}' seq={sequence}", Utc(time))
            }
            StartLine::Sequence { asked, actual } => {
                write!(f, ", sending from sequence, asked_seq={asked} actual_seq={actual}")
            }
            StartLine::First { sequence } => write!(f, ", sending from beginning, seq={sequence}"),
        }
    }
}

/// Writes the text of an event about a loss; nothing of another one.
fn write_loss(event: &Event<'_>, f: &mut Formatter<'_>) -> fmt::Result {
    match *event {
        Event::MessagesLost { channel, from, to } => write!(
            f,
            "Messages {from} to {to} of channel {} were given up; they are gone, and their sequences are not used again",
            Text(channel)
        ),
        Event::DurableLost {
            client,
            channel,
            durable,
            queue,
        } => {
            write!(f, "Given up: durable {} of client {}", Text(durable), Text(client))?;
            if !queue.is_empty() {
                write!(f, " in queue group {}", Text(queue))?;
            }
            write!(f, " on channel {}", Text(channel))
        }
        Event::ClientLost { client } => write!(f, "Given up: client {}", Text(client)),
        Event::MoreLost { more } => write!(f, "Given up: {more} more that are not named"),
        Event::GivenUp { durables, clients } => write!(
            f,
            "Given up with what lay behind the damage: {durables} durables and {clients} clients that can be named; what the \
             damaged part itself said of others, nobody knows"
        ),
        _ => Ok(()),
    }
}
