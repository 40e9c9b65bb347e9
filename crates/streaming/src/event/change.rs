//! What an operator changed, in words.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::text::Text;
use crate::change::{Change, Changed, Reader, Settlement};
use crate::channel_limits::ChannelLimits;

/// What was asked for, and what came of it.
pub(crate) struct Words<'a> {
    pub(crate) change: Change<'a>,
    pub(crate) changed: Changed,
}

impl Display for Words<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.change, self.changed) {
            (Change::Purge { channel, .. }, Changed::Purged { messages, first, last }) => write!(
                f,
                "purged {messages} messages of channel \"{}\", which begins with {first} now; its last one was {last}",
                Text(channel)
            ),
            (Change::Remove { reader, .. }, Changed::Removed { members, pending }) => write!(
                f,
                "removed {}, {members} active, with {pending} pending messages",
                Named(reader)
            ),
            (Change::Move { reader, .. }, Changed::Moved { from, to, pending }) => write!(
                f,
                "moved {} from {from} to {to}; {pending} messages are not pending any more",
                Named(reader)
            ),
            (
                Change::Delete { channel, .. },
                Changed::Deleted {
                    messages,
                    subscriptions,
                    active,
                    ..
                },
            ) => write!(
                f,
                "deleted channel \"{}\" with {messages} messages and {subscriptions} subscriptions, {active} of them active",
                Text(channel)
            ),
            (Change::Disconnect { client }, Changed::Disconnected { subscriptions }) => write!(
                f,
                "disconnected client \"{}\" with {subscriptions} subscriptions",
                Text(client)
            ),
            (
                Change::Settle {
                    reader,
                    sequence,
                    verdict,
                },
                Changed::Settled { pending },
            ) => {
                let verb = match verdict {
                    Settlement::Acknowledge => "acknowledged",
                    Settlement::Redeliver => "has sent again",
                };
                write!(
                    f,
                    "{verb} message {sequence} for {}; {pending} are pending",
                    Named(reader)
                )
            }
            (Change::Pause { reader, inbox }, Changed::Paused { members, pending }) => write!(
                f,
                "paused {}, {members} active, with {pending} pending messages",
                One(reader, inbox)
            ),
            (Change::Resume { reader, inbox }, Changed::Resumed { members, pending }) => write!(
                f,
                "resumed {}, {members} active, with {pending} pending messages",
                One(reader, inbox)
            ),
            (Change::Note { words }, Changed::Noted) => write!(f, "{}", Text(words)),
            (Change::Limit { channel, .. }, Changed::Limited { set, .. }) if set.is_empty() => {
                write!(
                    f,
                    "reset the limits of channel \"{}\" to those of the configuration",
                    Text(channel)
                )
            }
            (Change::Limit { channel, .. }, Changed::Limited { set, surplus, .. }) => {
                write!(f, "set limits of channel \"{}\":{}", Text(channel), Set(set))?;
                match surplus {
                    0 => Ok(()),
                    surplus => write!(f, "; {surplus} messages are too many"),
                }
            }
            (change, changed) => write!(f, "changed something: {change:?}, {changed:?}"),
        }
    }
}

/// Limits that are set, as the configuration names them.
struct Set(ChannelLimits);

impl Display for Set {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Set(set) = self;
        let subscriptions = set.max_subscriptions.map(|limit| limit as u64);
        let all = [
            ("max_msgs", set.max_messages),
            ("max_bytes", set.max_bytes),
            ("max_age", set.max_age_ns),
            ("max_subs", subscriptions),
            ("max_inactivity", set.max_inactivity_ns),
        ];
        for (name, limit) in all {
            match limit {
                Some(0) => write!(f, " {name} unlimited")?,
                Some(limit) if name == "max_age" || name == "max_inactivity" => {
                    write!(f, " {name} {:?}", Duration::from_nanos(limit))?;
                }
                Some(limit) => write!(f, " {name} {limit}")?,
                None => {}
            }
        }
        Ok(())
    }
}

/// A subscription of any kind; of one without a name its inbox.
struct One<'a>(Reader<'a>, &'a [u8]);

impl Display for One<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let One(reader, inbox) = *self;
        match (reader.durable, reader.queue) {
            (b"", b"") => write!(
                f,
                "the subscription of client \"{}\" with the inbox {} on channel \"{}\"",
                Text(reader.client),
                Text(inbox),
                Text(reader.channel)
            ),
            _ => Named(reader).fmt(f),
        }
    }
}

struct Named<'a>(Reader<'a>);

impl Display for Named<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Named(Reader {
            channel,
            client,
            durable,
            queue,
        }) = *self;
        match (queue, durable) {
            (b"", _) => write!(f, "durable \"{}\" of client \"{}\"", Text(durable), Text(client))?,
            (_, b"") => write!(f, "queue group \"{}\"", Text(queue))?,
            _ => write!(f, "durable queue group \"{}:{}\"", Text(durable), Text(queue))?,
        }
        write!(f, " on channel \"{}\"", Text(channel))
    }
}
