//! What an operator has changed while clients go on: in half of the runs there is one.
//!
//! Chance is drawn from a stream of its own, so that a run without an operator is what it would be if there never was any.

use seaway_streaming::{Asked, Change, ChangeId, ChannelLimits, Extent, Input, Place, Reader, Settlement, Timestamp};

use crate::model::Halted;
use crate::run::Simulation;
use crate::settings::SECOND;

const CHANNELS: [&str; 5] = ["alpha", "beta.one", "gamma", "delta", "nowhere"];

/// In how many steps there is one change.
const STEPS_PER_CHANGE: u16 = 80;

/// In how many steps something is paused, or goes on.
const STEPS_PER_PAUSE: u16 = 400;

/// See the module.
pub(crate) struct Operator {
    random: fastrand::Rng,
    /// What is paused and goes on is drawn from a stream of its own, too.
    pauses: fastrand::Rng,
    is_there: bool,
    asked: u64,
}

impl Operator {
    pub(crate) fn new(seed: u64) -> Operator {
        let mut random = fastrand::Rng::with_seed(!seed);
        Operator {
            is_there: random.bool(),
            random,
            pauses: fastrand::Rng::with_seed(seed.rotate_left(17) ^ 0x9a05e),
            asked: 0,
        }
    }
}

/// Limits that a run meets.
fn limits(random: &mut fastrand::Rng) -> ChannelLimits {
    let mut perhaps = |some: u64| match random.u8(..6) {
        0 => Some(some),
        1 => Some(0),
        _ => None,
    };
    ChannelLimits {
        max_subscriptions: perhaps(4).map(|limit| usize::try_from(limit).unwrap_or(0)),
        max_messages: perhaps(6),
        max_bytes: perhaps(400),
        max_age_ns: perhaps(5 * SECOND),
        max_inactivity_ns: perhaps(4 * SECOND),
    }
}

fn pause((channel, client, durable, queue, inbox): &Halted, pauses: bool) -> Change<'_> {
    let reader = Reader {
        channel: channel.as_bytes(),
        client: client.as_bytes(),
        durable: durable.as_bytes(),
        queue: queue.as_bytes(),
    };
    let inbox = inbox.as_bytes();
    match pauses {
        true => Change::Pause { reader, inbox },
        false => Change::Resume { reader, inbox },
    }
}

impl Simulation {
    /// The operator asks for something, now and then.
    pub(crate) fn operator_acts(&mut self) {
        let operator = &mut self.operator;
        if !operator.is_there || self.node.is_none() || operator.random.u16(..STEPS_PER_CHANGE) > 0 {
            return;
        }
        let random = &mut operator.random;
        operator.asked += 1;
        let id = ChangeId(operator.asked);
        let readers = self.model.borrow().named_readers();
        let any = |random: &mut fastrand::Rng| CHANNELS[random.usize(..CHANNELS.len())].to_owned();
        let (mut channel, mut client, mut durable, mut queue) = (
            any(random),
            format!("client{}", random.u8(..5)),
            "d0".to_owned(),
            String::new(),
        );
        if !readers.is_empty() && random.u8(..10) > 0 {
            (channel, client, durable, queue) = readers[random.usize(..readers.len())].clone();
        }
        let reader = Reader {
            channel: channel.as_bytes(),
            client: client.as_bytes(),
            durable: durable.as_bytes(),
            queue: queue.as_bytes(),
        };
        let other = any(random);
        let ago = i64::try_from(random.u64(..20 * SECOND)).unwrap_or(0) - 1_000_000_000;
        let time = Timestamp(self.now.wall.0.saturating_sub(ago));
        let sequence = random.u64(..80);
        let force = random.u8(..4) > 0;
        let change = match random.u8(..100) {
            0..35 => Change::Purge {
                channel: other.as_bytes(),
                extent: match random.u8(..4) {
                    0 => Extent::All,
                    1 => Extent::Before(time),
                    _ => Extent::UpTo(sequence),
                },
            },
            35..45 => Change::Settle {
                reader,
                sequence,
                verdict: [Settlement::Acknowledge, Settlement::Redeliver][random.usize(..2)],
            },
            45..75 => Change::Move {
                reader,
                to: match random.u8(..8) {
                    0 => Place::Start,
                    1 => Place::End,
                    2 => Place::Time(time),
                    _ => Place::Sequence(sequence),
                },
            },
            75..87 => Change::Remove { reader, force },
            87..95 => Change::Delete {
                channel: other.as_bytes(),
                force,
            },
            95..98 => Change::Disconnect {
                client: client.as_bytes(),
            },
            _ => Change::Limit {
                channel: other.as_bytes(),
                reset: random.bool(),
                set: limits(random),
            },
        };
        let asked = Asked {
            id,
            by: b"operator",
            is_rehearsal: random.u8(..8) == 0,
            change,
        };
        self.operator_asks(asked);
    }

    /// The operator pauses something or lets it go on, now and then.
    pub(crate) fn operator_pauses(&mut self) {
        let operator = &mut self.operator;
        if !operator.is_there || self.node.is_none() || operator.pauses.u16(..STEPS_PER_PAUSE) > 0 {
            return;
        }
        let random = &mut operator.pauses;
        operator.asked += 1;
        let id = ChangeId(operator.asked);
        let is_rehearsal = random.u8(..8) == 0;
        let pauses = random.u8(..5) > 1;
        let (all, halted) = (self.model.borrow().all_subscriptions(), self.model.borrow().halted());
        let from = if pauses || halted.is_empty() { all } else { halted };
        if random.u8(..12) == 0 || from.is_empty() {
            let words = b"something elsewhere";
            let change = Change::Note { words };
            return self.operator_asks(Asked {
                id,
                by: b"operator",
                is_rehearsal,
                change,
            });
        }
        let chosen = &from[random.usize(..from.len())];
        self.operator_asks(Asked {
            id,
            by: b"operator",
            is_rehearsal,
            change: pause(chosen, pauses),
        });
    }

    /// Everything that is paused goes on.
    pub(crate) fn resume_what_is_paused(&mut self) {
        let halted = self.model.borrow().halted();
        for one in &halted {
            self.operator.asked += 1;
            self.operator_asks(Asked {
                id: ChangeId(self.operator.asked),
                by: b"operator",
                is_rehearsal: false,
                change: pause(one, false),
            });
        }
    }

    fn operator_asks(&mut self, asked: Asked<'_>) {
        let (id, change) = (asked.id, asked.change);
        self.trace.add(format_args!("operator asks for {}: {change:?}", id.0));
        self.with_node(|node, now| {
            if node.is_open() {
                node.input(now, Input::Change(asked));
            }
        });
    }
}
