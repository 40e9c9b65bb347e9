//! What an operator asks for, from the words of a line: `move foo client=me durable=dur to=7`.

use seaway_streaming::{Asked, Change, ChangeId, ChannelLimits, Extent, Input, Place, Reader, Settlement, Timestamp};

use super::Session;
use super::words::{Words, duration};

impl Session {
    pub(super) fn change(&mut self, words: &Words<'_>) {
        let named = words.plain.get(1).copied().unwrap_or("").as_bytes();
        let text = |key| words.get(key).unwrap_or("").as_bytes();
        let reader = Reader {
            channel: named,
            client: text("client"),
            durable: text("durable"),
            queue: text("queue"),
        };
        let ago = |time: &str| Timestamp(self.now.wall.0 - duration(time) as i64);
        let sequence = |number: &str| number.parse().expect("a sequence");
        let force = words.plain.contains(&"forced");
        let change = match words.at(0) {
            "purge" => Change::Purge {
                channel: named,
                extent: match (words.get("to"), words.get("before")) {
                    (Some(number), _) => Extent::UpTo(sequence(number)),
                    (None, Some(time)) => Extent::Before(ago(time)),
                    (None, None) => Extent::All,
                },
            },
            "move" => Change::Move {
                reader,
                to: match words.get("to") {
                    Some("start") => Place::Start,
                    Some("end") => Place::End,
                    Some(other) => other
                        .strip_prefix("ago:")
                        .map_or_else(|| Place::Sequence(sequence(other)), |time| Place::Time(ago(time))),
                    None => panic!("where to"),
                },
            },
            "halt" => Change::Pause {
                reader,
                inbox: text("inbox"),
            },
            "resume" => Change::Resume {
                reader,
                inbox: text("inbox"),
            },
            "note" => Change::Note { words: named },
            "remove" => Change::Remove { reader, force },
            "settle" => Change::Settle {
                reader,
                sequence: sequence(words.get("seq").expect("a sequence")),
                verdict: match words.plain.contains(&"again") {
                    true => Settlement::Redeliver,
                    false => Settlement::Acknowledge,
                },
            },
            "delete" => Change::Delete { channel: named, force },
            "limit" => Change::Limit {
                channel: named,
                reset: words.plain.contains(&"reset"),
                set: ChannelLimits {
                    max_subscriptions: words.get("max_subs").map(|number| number.parse().expect("a number")),
                    max_messages: words.get("max_msgs").map(sequence),
                    max_bytes: words.get("max_bytes").map(sequence),
                    max_age_ns: words.get("max_age").map(duration),
                    max_inactivity_ns: words.get("max_inactivity").map(duration),
                },
            },
            _ => Change::Disconnect { client: named },
        };
        self.changes += 1;
        self.input(Input::Change(Asked {
            id: ChangeId(self.changes),
            by: b"ada",
            is_rehearsal: words.plain.contains(&"dry"),
            change,
        }));
    }
}
