//! What the store recovered, fact after fact, as plain maps.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use prost::Message;
use seaway_nats_protocol::subject;
use seaway_stan_protocol::{quote, validate};

use crate::channel_limits::ChannelLimits;
use crate::facts::{
    AuditFact, CHANNEL, CHANNEL_LIMITED, CLIENT, CLIENT_REMOVED, ChannelFact, ChannelLimitedFact, ClientFact,
    ClientRemovedFact, GROUP_PROGRESS, GROUP_REMOVED, GroupRemovedFact, MOVED, MovedFact, PAUSED, PROGRESS, PausedFact,
    ProgressFact, SERVER, SUBSCRIPTION, SUBSCRIPTION_REMOVED, ServerFact, SubscriptionFact, SubscriptionRemovedFact,
    decode_runs, group_name,
};
use crate::ids::ChannelId;
use crate::limits::AUDIT_ENTRIES_MAX;
use crate::position::lost::Lost;
use crate::position::pending::Pending;
use crate::registry::halts::{Halt, Halted};

/// Longest run of sequences in one fact: MaxInflight is an int32.
pub(crate) const RUN_LENGTH_MAX: u64 = i32::MAX as u64;

/// Above every number that is ever given: one a nanosecond would take a century.
const NUMBER_MAX: u64 = 1 << 62;

/// A fact that cannot be understood. The start must stop: nothing that is not understood may be dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoverError {
    /// The fact's kind.
    pub kind: u8,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for RecoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            SERVER => "server",
            CLIENT => "client",
            CLIENT_REMOVED => "client removal",
            CHANNEL => "channel",
            SUBSCRIPTION => "subscription",
            SUBSCRIPTION_REMOVED => "subscription removal",
            PROGRESS => "delivery state",
            GROUP_PROGRESS => "delivery state of a group",
            MOVED => "move",
            GROUP_REMOVED => "removal of a group",
            CHANNEL_LIMITED => "limits of a channel",
            PAUSED => "pause",
            _ => "unknown",
        };
        write!(
            f,
            "cannot recover a fact of kind {} ({name}): {}",
            self.kind, self.reason
        )
    }
}

impl std::error::Error for RecoverError {}

/// What has been replayed so far.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) server: Option<ServerFact>,
    pub(crate) clients: BTreeMap<Bytes, ClientFact>,
    pub(crate) channels: BTreeMap<u64, ChannelFact>,
    /// What operators set, by channel.
    pub(crate) limits: BTreeMap<u64, ChannelLimits>,
    /// What operators paused.
    pub(crate) halts: BTreeMap<Halted, Halt>,
    /// The newest changes by operators, by number.
    pub(crate) audit: BTreeMap<u64, AuditFact>,
    pub(crate) logs: BTreeMap<u64, Log>,
    pub(crate) subscriptions: BTreeMap<u64, Record>,
    pub(crate) last_channel: u64,
    pub(crate) last_subscription: u64,
    pub(crate) last_ack_inbox: u64,
    /// Messages that are lost for good, by channel.
    pub(crate) lost: BTreeMap<u64, Lost>,
    /// What facts said that were given up with damage before them: what is lost.
    pub(crate) given_up: Option<Box<Recovered>>,
}

/// Bounds of a live log.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) bytes: u64,
    pub(crate) last_timestamp: i64,
}

/// A subscription and what it holds.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) fact: SubscriptionFact,
    pub(crate) pending: Pending,
}

impl Record {
    fn is_in_group(&self, channel: u64, name: &Bytes) -> bool {
        let SubscriptionFact { durable, queue, .. } = &self.fact;
        self.fact.channel == channel && !queue.is_empty() && group_name(durable, queue) == *name
    }
}

impl Recovered {
    /// What was given up, so far.
    pub(crate) fn given_up(&mut self) -> &mut Recovered {
        self.given_up.get_or_insert_default()
    }

    /// Replays one fact.
    pub(crate) fn replay(&mut self, kind: u8, body: &[u8]) -> Result<(), RecoverError> {
        match kind {
            SERVER => self.server(kind, decode(kind, body)?)?,
            CLIENT => {
                let fact: ClientFact = decode(kind, body)?;
                self.clients.insert(fact.name.clone(), fact);
            }
            CLIENT_REMOVED => {
                let fact: ClientRemovedFact = decode(kind, body)?;
                self.clients.remove(&fact.name);
            }
            CHANNEL => {
                let fact: ChannelFact = decode(kind, body)?;
                if !validate::is_channel_name(&fact.name) {
                    return Err(RecoverError {
                        kind,
                        reason: format!("invalid channel name {}", quote(&fact.name)),
                    });
                }
                check_number(kind, fact.id)?;
                self.last_channel = self.last_channel.max(fact.id);
                self.channels.insert(fact.id, fact);
            }
            SUBSCRIPTION => self.subscription(kind, decode(kind, body)?)?,
            SUBSCRIPTION_REMOVED => {
                let fact: SubscriptionRemovedFact = decode(kind, body)?;
                check_number(kind, fact.number)?;
                self.last_subscription = self.last_subscription.max(fact.number);
                self.subscriptions.remove(&fact.number);
                self.halts.remove(&Halted::Subscription(fact.number));
            }
            PROGRESS => self.progress(kind, decode(kind, body)?)?,
            GROUP_PROGRESS => {
                let mut rest = body;
                while !rest.is_empty() {
                    let part = ProgressFact::decode_length_delimited(&mut rest);
                    self.progress(
                        kind,
                        part.map_err(|error| RecoverError {
                            kind,
                            reason: error.to_string(),
                        })?,
                    )?;
                }
            }
            MOVED => {
                let fact = decode(kind, body)?;
                self.moved(&fact);
            }
            GROUP_REMOVED => {
                let GroupRemovedFact { channel, group } = decode(kind, body)?;
                self.subscriptions
                    .retain(|_, record| !record.is_in_group(channel, &group));
                self.halts.remove(&Halted::Group(ChannelId(channel), group));
            }
            CHANNEL_LIMITED => {
                let fact: ChannelLimitedFact = decode(kind, body)?;
                match fact.limits() {
                    limits if limits.is_empty() => self.limits.remove(&fact.channel),
                    limits => self.limits.insert(fact.channel, limits),
                };
            }
            PAUSED => {
                let fact: PausedFact = decode(kind, body)?;
                match fact.read() {
                    (halted, Some(halt)) => self.halts.insert(halted, halt),
                    (halted, None) => self.halts.remove(&halted),
                };
            }
            _ => {
                return Err(RecoverError {
                    kind,
                    reason: "written by a later version".to_owned(),
                });
            }
        }
        Ok(())
    }

    fn server(&mut self, kind: u8, mut fact: ServerFact) -> Result<(), RecoverError> {
        for entry in fact.audit.drain(..) {
            check_number(kind, entry.number)?;
            self.audit.insert(entry.number, entry);
        }
        while self.audit.len() > AUDIT_ENTRIES_MAX {
            self.audit.pop_first();
        }
        let next = [fact.next_channel, fact.next_subscription, fact.next_ack_inbox];
        next.into_iter().try_for_each(|number| check_number(kind, number))?;
        check_subject(kind, &fact.numbered_inboxes)?;
        self.last_channel = self.last_channel.max(fact.next_channel.saturating_sub(1));
        self.last_subscription = self.last_subscription.max(fact.next_subscription.saturating_sub(1));
        self.last_ack_inbox = self.last_ack_inbox.max(fact.next_ack_inbox.saturating_sub(1));
        self.server = Some(fact);
        Ok(())
    }

    fn subscription(&mut self, kind: u8, mut fact: SubscriptionFact) -> Result<(), RecoverError> {
        check_number(kind, fact.number.max(fact.ack_inbox))?;
        if !fact.ack_subject.is_empty() {
            check_subject(kind, &fact.ack_subject)?;
        }
        self.last_subscription = self.last_subscription.max(fact.number);
        self.last_ack_inbox = self.last_ack_inbox.max(fact.ack_inbox);
        match self.subscriptions.get_mut(&fact.number) {
            Some(record) => {
                // The cursor never goes back, also when an older fact is replayed over a newer checkpoint.
                fact.last_sent = fact.last_sent.max(record.fact.last_sent);
                record.fact = fact;
            }
            None => {
                self.subscriptions.insert(
                    fact.number,
                    Record {
                        fact,
                        pending: Pending::default(),
                    },
                );
            }
        }
        Ok(())
    }

    /// The one fact that lets a cursor go back.
    fn moved(&mut self, fact: &MovedFact) {
        let begin_anew = |record: &mut Record| {
            record.fact.last_sent = fact.last_sent;
            record.pending = Pending::default();
        };
        match fact.number {
            0 => { self.subscriptions.iter_mut() }
                .filter(|(number, record)| **number <= fact.members_to && record.is_in_group(fact.channel, &fact.group))
                .for_each(|(_, record)| begin_anew(record)),
            number => { self.subscriptions.get_mut(&number) }.into_iter().for_each(begin_anew),
        }
    }

    /// A subscription that is not there (any more) was removed after this fact was written.
    fn progress(&mut self, kind: u8, fact: ProgressFact) -> Result<(), RecoverError> {
        let invalid = |reason: &str| RecoverError {
            kind,
            reason: reason.to_owned(),
        };
        let runs = |pairs: &[u64]| match decode_runs(pairs) {
            Some(runs) if runs.iter().all(|(first, last)| last - first < RUN_LENGTH_MAX) => Ok(runs),
            _ => Err(invalid("a run of sequences is out of range")),
        };
        let (sent, acked) = (runs(&fact.sent)?, runs(&fact.acked)?);
        if !fact.taken.len().is_multiple_of(2) {
            return Err(invalid("half a pair"));
        }
        for pair in fact.taken.chunks_exact(2) {
            if let Some(giver) = self.subscriptions.get_mut(&pair[0]) {
                giver.pending.remove(pair[1]);
            }
        }
        let Some(record) = self.subscriptions.get_mut(&fact.number) else {
            return Ok(());
        };
        record.fact.last_sent = record.fact.last_sent.max(fact.last_sent);
        for pair in fact.taken.chunks_exact(2) {
            record.pending.insert(pair[1]);
        }
        for (first, last) in sent {
            record.pending.insert_run(first, last);
        }
        for (first, last) in acked {
            record.pending.remove_run(first, last);
        }
        Ok(())
    }
}

fn check_number(kind: u8, number: u64) -> Result<(), RecoverError> {
    if number <= NUMBER_MAX {
        return Ok(());
    }
    Err(RecoverError {
        kind,
        reason: format!("the number {number} is out of range"),
    })
}

/// What acks are listened for on: a pattern would take other people's messages.
fn check_subject(kind: u8, text: &[u8]) -> Result<(), RecoverError> {
    if subject::is_literal(text) {
        return Ok(());
    }
    Err(RecoverError {
        kind,
        reason: format!("{} is no subject for acks", quote(text)),
    })
}

fn decode<F: Message + Default>(kind: u8, body: &[u8]) -> Result<F, RecoverError> {
    F::decode(body).map_err(|error| RecoverError {
        kind,
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::push_run;

    fn subscription(recovered: &mut Recovered, number: u64, (durable, queue): (&str, &str), last_sent: u64) {
        let fact = SubscriptionFact {
            number,
            channel: 7,
            durable: Bytes::copy_from_slice(durable.as_bytes()),
            queue: Bytes::copy_from_slice(queue.as_bytes()),
            last_sent,
            ..SubscriptionFact::default()
        };
        let replayed = recovered.replay(SUBSCRIPTION, &fact.encode_to_vec());
        replayed.expect("the fact is understood");
    }

    fn progress(recovered: &mut Recovered, number: u64, (first, last): (u64, u64), acked: Option<u64>) {
        let mut fact = ProgressFact {
            number,
            last_sent: last,
            ..ProgressFact::default()
        };
        push_run(&mut fact.sent, &mut 0, (first, last));
        if let Some(acked) = acked {
            push_run(&mut fact.acked, &mut 0, (acked, acked));
        }
        let replayed = recovered.replay(PROGRESS, &fact.encode_to_vec());
        replayed.expect("the fact is understood");
    }

    fn change(recovered: &mut Recovered, kind: u8, fact: &impl Message) {
        let replayed = recovered.replay(kind, &fact.encode_to_vec());
        replayed.expect("the fact is understood");
    }

    fn state(recovered: &Recovered, number: u64) -> (u64, Vec<(u64, u64)>) {
        let record = &recovered.subscriptions[&number];
        (record.fact.last_sent, record.pending.runs_from(0).collect())
    }

    /// A checkpoint is written beside traffic: what it says may be of before a move that is replayed over it, or of after it.
    #[test]
    fn a_move_counts_over_older_and_newer_checkpoints() {
        let moved = MovedFact {
            number: 3,
            last_sent: 10,
            ..MovedFact::default()
        };
        for of_checkpoint in [(91, 100), (11, 12), (11, 14)] {
            let mut recovered = Recovered::default();
            subscription(&mut recovered, 3, ("dur", ""), of_checkpoint.1);
            progress(&mut recovered, 3, of_checkpoint, None);
            progress(&mut recovered, 3, (95, 104), Some(95));
            change(&mut recovered, MOVED, &moved);
            assert_eq!(state(&recovered, 3), (10, vec![]), "{of_checkpoint:?}");
            progress(&mut recovered, 3, (11, 14), Some(12));
            assert_eq!(
                state(&recovered, 3),
                (14, vec![(11, 11), (13, 14)]),
                "{of_checkpoint:?}"
            );
        }
    }

    #[test]
    fn a_group_is_moved_and_removed_by_its_name() {
        let mut recovered = Recovered::default();
        let names = [("d", "g"), ("", "d:g"), ("", "g"), ("d", ""), ("d", "h")];
        for (number, names) in (1..).zip(names) {
            subscription(&mut recovered, number, names, 20);
            progress(&mut recovered, number, (19, 20), None);
        }
        let group = Bytes::from_static(b"d:g");
        let moved = |channel| MovedFact {
            number: 0,
            channel,
            group: group.clone(),
            last_sent: 4,
            members_to: 5,
        };
        // One of that name that came later, which a newer checkpoint knows.
        subscription(&mut recovered, 6, ("d", "g"), 3);
        progress(&mut recovered, 6, (2, 3), None);
        change(&mut recovered, MOVED, &moved(8));
        change(&mut recovered, MOVED, &moved(7));
        assert_eq!(state(&recovered, 6), (3, vec![(2, 3)]));
        for (number, _) in (1..).zip(names) {
            let expected = match number {
                1 | 2 => (4, vec![]),
                _ => (20, vec![(19, 20)]),
            };
            assert_eq!(state(&recovered, number), expected, "{number}");
        }
        let removed = GroupRemovedFact { channel: 7, group };
        change(&mut recovered, GROUP_REMOVED, &removed);
        assert_eq!(recovered.subscriptions.keys().copied().collect::<Vec<_>>(), [3, 4, 5]);
        // One of that name that came later is there by its own fact.
        subscription(&mut recovered, 6, ("d", "g"), 9);
        assert_eq!(state(&recovered, 6), (9, vec![]));
    }

    #[test]
    fn the_last_limits_of_a_channel_count_until_they_are_reset() {
        let mut recovered = Recovered::default();
        let limits = |max_messages, max_subscriptions| ChannelLimits {
            max_messages,
            max_subscriptions,
            ..ChannelLimits::default()
        };
        for (channel, set) in [
            (7, limits(Some(3), None)),
            (8, limits(Some(4), None)),
            (7, limits(None, Some(0))),
        ] {
            let fact = ChannelLimitedFact::new(ChannelId(channel), &set);
            change(&mut recovered, CHANNEL_LIMITED, &fact);
            assert_eq!(recovered.limits[&channel], set);
        }
        let reset = ChannelLimitedFact::new(ChannelId(7), &ChannelLimits::default());
        change(&mut recovered, CHANNEL_LIMITED, &reset);
        assert_eq!(recovered.limits, BTreeMap::from([(8, limits(Some(4), None))]));
    }

    #[test]
    fn a_kind_of_a_later_version_is_refused() {
        let refused = Recovered::default().replay(PAUSED + 1, b"");
        assert_eq!(
            refused.expect_err("nobody knows it").reason,
            "written by a later version"
        );
    }
}
