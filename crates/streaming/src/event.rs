//! Log lines as values (`streaming-protocol.md` §9.2): the shell prints them, the simulator counts them.

use std::fmt::{self, Display, Formatter};

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
    /// An ack names another channel than the subscription's.
    AckForUnknownChannel {
        /// The channel it names.
        channel: &'a [u8],
        /// The sequence it names.
        sequence: u64,
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
            Event::ChannelCreated { .. } | Event::ChannelDeleted { .. } | Event::TimedOut { .. } => Level::Info,
            Event::LimitsReached { .. }
            | Event::ChannelAhead { .. }
            | Event::GhostMember { .. }
            | Event::SeveralShadows { .. } => Level::Warning,
            Event::ReadFailed { .. } | Event::AckForUnknownChannel { .. } | Event::Refused { .. } => Level::Error,
            Event::Connected { .. }
            | Event::Replaced { .. }
            | Event::AlreadyConnected { .. }
            | Event::Closed { .. }
            | Event::Subscription { .. } => Level::Debug,
            Event::PublishReceived { .. }
            | Event::PublishAcked { .. }
            | Event::Delivering { .. }
            | Event::Ack { .. } => Level::Trace,
        }
    }
}

/// Bytes of the protocol as text.
struct Text<'a>(&'a [u8]);

impl Display for Text<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            // A name may hold anything; a log line is one line.
            for character in chunk.valid().chars() {
                if character.is_control() {
                    write!(formatter, "{}", character.escape_default())?;
                } else {
                    write!(formatter, "{character}")?;
                }
            }
            for byte in chunk.invalid() {
                write!(formatter, "\\x{byte:02x}")?;
            }
        }
        Ok(())
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
            Event::AckForUnknownChannel { channel, sequence } => {
                write!(
                    f,
                    "Unable to process ack seq={sequence}, channel {} not found",
                    Text(channel)
                )
            }
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

/// A wall time in UTC.
struct Utc(Timestamp);

impl Display for Utc {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let seconds = self.0.0.div_euclid(1_000_000_000);
        let nanoseconds = self.0.0.rem_euclid(1_000_000_000);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Days to a civil date, in eras of 400 years that begin in March.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
        let month = if month_shifted < 10 {
            month_shifted + 3
        } else {
            month_shifted - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{nanoseconds:09} +0000 UTC"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of `streaming-protocol.md` §9.2 and §6.1.
    #[test]
    fn lines_read_as_specified() {
        let subscription = Event::Subscription {
            verb: SubscriptionVerb::Started,
            client: b"me",
            channel: b"foo",
            inbox: b"_INBOX.s",
            queue: b"",
            durable: b"dur",
            number: 3,
            start: StartLine::Sequence { asked: 1, actual: 11 },
        };
        let table: [(Event<'_>, &str); 6] = [
            (
                Event::ChannelCreated { channel: b"foo" },
                "Channel \"foo\" has been created",
            ),
            (Event::TimedOut { client: b"me" }, "[Client:me] Timed out on heartbeats"),
            (
                Event::Connected {
                    client: b"me",
                    inbox: b"_INBOX.hb",
                },
                "[Client:me] Connected (Inbox=_INBOX.hb)",
            ),
            (
                Event::LimitsReached {
                    channel: b"foo",
                    messages: 11,
                    messages_max: 10,
                    bytes: 5,
                    bytes_max: 0,
                },
                "Reached limits for store \"foo\" (msgs=11/10 bytes=5/0), dropping old messages to make room for new ones",
            ),
            (
                subscription,
                "[Client:me] Started new durable subscription, subject=foo, inbox=_INBOX.s, durable=dur, subid=3, \
                 sending from sequence, asked_seq=1 actual_seq=11",
            ),
            (
                Event::ChannelDeleted { channel: b"a\n\xff" },
                "Channel \"a\\n\\xff\" has been deleted",
            ),
        ];
        for (event, text) in table {
            assert_eq!(event.to_string(), text);
        }
    }

    #[test]
    fn wall_times_are_civil() {
        assert_eq!(Utc(Timestamp(0)).to_string(), "1970-01-01 00:00:00.000000000 +0000 UTC");
        let leap_day = 1_709_210_096_000_000_007;
        assert_eq!(
            Utc(Timestamp(leap_day)).to_string(),
            "2024-02-29 12:34:56.000000007 +0000 UTC"
        );
        assert_eq!(
            Utc(Timestamp(-1)).to_string(),
            "1969-12-31 23:59:59.999999999 +0000 UTC"
        );
    }
}
