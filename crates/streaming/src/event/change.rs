//! What an operator changed, in words.

use std::fmt::{self, Display, Formatter};

use super::text::Text;
use crate::change::{Change, Changed, Reader, Settlement};

/// What was asked for, and what came of it.
pub(super) struct Words<'a> {
    pub(super) change: Change<'a>,
    pub(super) changed: Changed,
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
            (change, changed) => write!(f, "changed something: {change:?}, {changed:?}"),
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
