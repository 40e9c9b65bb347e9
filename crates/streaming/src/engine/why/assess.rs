//! Which verdicts apply to a subscription.

use crate::engine::Engine;
use crate::limits::WHY_RANGES_MAX;
use crate::position::cursor::{Cursor, Reading};
use crate::position::deadlines::UNKNOWN;
use crate::registry::channel::Channel;
use crate::registry::client::Client;
use crate::registry::groups::Group;
use crate::registry::halts::Halt;
use crate::registry::keys::SubscriptionKey;
use crate::registry::subscription::{Phase, Resend, Subscription};
use crate::time::{Now, Timestamp};
use crate::why::Verdict;

/// Unacknowledged neighbours with one deadline, in monotonic time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unacknowledged {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) deadline: Option<u64>,
    pub(super) count: u32,
}

/// A subscription with everything that matters for it.
pub(super) struct Case<'a> {
    pub(super) engine: &'a Engine,
    pub(super) now: Now,
    pub(super) store_full: Option<&'a str>,
    pub(super) subscription: &'a Subscription,
    pub(super) channel: &'a Channel,
    pub(super) group: Option<&'a Group>,
    pub(super) client: Option<&'a Client>,
    /// The first few, by sequence.
    pub(super) unacknowledged: Vec<Unacknowledged>,
}

impl<'a> Case<'a> {
    pub(super) fn new(engine: &'a Engine, now: Now, store_full: Option<&'a str>, key: SubscriptionKey) -> Case<'a> {
        let subscription = &engine.subscriptions[key];
        Case {
            engine,
            now,
            store_full,
            subscription,
            channel: &engine.channels[subscription.channel()],
            group: subscription.group().map(|group| &engine.groups[group]),
            client: subscription.client().map(|client| &engine.clients[client]),
            unacknowledged: unacknowledged(subscription),
        }
    }

    /// The position that counts: the group's when it is in one.
    fn position(&self) -> &'a Cursor {
        self.group.map_or(&self.subscription.cursor, |group| &group.cursor)
    }

    /// Last sequence sent, by the group when it is in one.
    pub(super) fn cursor(&self) -> u64 {
        self.position().last_sent()
    }

    /// The next sequence it can get.
    fn next(&self) -> u64 {
        self.position().next(self.channel.log().first())
    }

    /// Durable messages that it has not got.
    pub(super) fn waiting(&self) -> u64 {
        self.channel.log().waiting_from(self.next())
    }

    /// Messages that were removed before it could get them.
    pub(super) fn expired(&self) -> u64 {
        self.next() - self.cursor() - 1
    }

    /// Messages that are not durable yet.
    pub(super) fn undurable(&self) -> u64 {
        let log = self.channel.log();
        log.last().saturating_sub(log.durable_last().max(self.cursor()))
    }

    /// Failed heartbeats in a row of its owner.
    pub(super) fn failed_heartbeats(&self) -> u32 {
        self.client.map_or(0, |client| client.heartbeat.failed())
    }

    pub(super) fn reading(&self) -> Option<Reading> {
        self.position().reading().or(self.subscription.cursor.reading())
    }

    pub(super) fn catching_up(&self) -> Option<(u64, u64)> {
        self.position().catching_up()
    }

    /// Messages per second since it began to catch up; `None` for a time too short to tell.
    pub(super) fn rate(&self, since: u64, from: u64) -> Option<u64> {
        const TIME_MIN: u64 = 100_000_000;
        let elapsed = self.since(since);
        let sent = u128::from((self.cursor() + 1).saturating_sub(from));
        (elapsed >= TIME_MIN).then(|| u64::try_from(sent * 1_000_000_000 / u128::from(elapsed)).unwrap_or(u64::MAX))
    }

    /// Members of its group that can take nothing new because of MaxInflight.
    pub(super) fn stalled_members(&self) -> u64 {
        self.group.map_or(0, |group| group.members().stalled() as u64)
    }

    /// The most often that one of the listed messages was sent again.
    pub(super) fn redelivered(&self) -> Option<Unacknowledged> {
        self.unacknowledged
            .iter()
            .copied()
            .filter(|range| range.count > 0)
            .max_by_key(|range| (range.count, std::cmp::Reverse(range.first)))
    }

    /// When its next redelivery is due, in monotonic time.
    pub(super) fn next_redelivery(&self) -> Option<u64> {
        self.subscription.window.next_due()
    }

    /// Nanoseconds since a moment.
    pub(super) fn since(&self, monotonic: u64) -> u64 {
        self.now.monotonic.saturating_sub(monotonic)
    }

    /// A moment on the wall clock, as it runs now.
    pub(super) fn wall(&self, monotonic: u64) -> Timestamp {
        let difference = i128::from(monotonic) - i128::from(self.now.monotonic);
        let at = i128::from(self.now.wall.0) + difference;
        Timestamp(i64::try_from(at).unwrap_or(i64::MAX))
    }

    /// All verdicts that apply, the one to look at first in front; at least one.
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        let subscription = self.subscription;
        let active = subscription.phase() == Phase::Active;
        let read_fails = subscription.cursor.is_retrying() || self.position().is_retrying();
        let (waiting, takes_new) = (self.waiting(), subscription.resend() == Resend::Nothing);
        let moves = active
            && takes_new
            && self.halt().is_none()
            && subscription.paused().is_none()
            && !subscription.is_stalled();
        let caught_up = waiting == 0;
        let pending = !subscription.window.pending().is_empty();
        let redelivered = self.redelivered().is_some();
        let table = [
            (Verdict::BusDown, !self.engine.way.is_up()),
            (Verdict::ReadFailing, read_fails),
            (Verdict::Paused, self.halt().is_some()),
            (Verdict::Offline, self.is_offline() && self.group.is_none()),
            (Verdict::NoMembers, self.is_offline() && self.group.is_some()),
            (
                Verdict::ClientClosing,
                self.client.is_some_and(|client| client.is_closing()),
            ),
            (Verdict::ClientFailing, self.failed_heartbeats() > 0),
            (Verdict::ConnectionCongested, subscription.paused().is_some()),
            (Verdict::Starting, subscription.phase() == Phase::Unconfirmed),
            (
                Verdict::OnHoldAfterResume,
                matches!(subscription.resend(), Resend::AfterResume(_)),
            ),
            (
                Verdict::OnHoldAfterRestart,
                matches!(subscription.resend(), Resend::AfterRestart(_) | Resend::HandOver(_)),
            ),
            (Verdict::Stalled, active && subscription.is_stalled()),
            (Verdict::Departing, subscription.phase() == Phase::Departing),
            (Verdict::MessagesDamaged, subscription.window.pending().held_back() > 0),
            (Verdict::CatchingUp, moves && !caught_up),
            (Verdict::MessagesExpired, self.expired() > 0),
            (Verdict::JournalPoisoned, self.engine.ledger.is_poisoned()),
            (Verdict::JournalFull, caught_up && self.store_full.is_some()),
            (Verdict::WaitingForDisk, caught_up && self.undurable() > 0),
            (Verdict::Redelivering, caught_up && redelivered),
            (Verdict::WaitingForAcks, caught_up && pending && !redelivered),
            (
                Verdict::NothingNew,
                caught_up && !pending && self.undurable() == 0 && self.expired() == 0,
            ),
        ];
        table
            .into_iter()
            .filter(|(_, applies)| *applies)
            .map(|(verdict, _)| verdict)
            .collect()
    }

    /// Set while an operator has it paused.
    pub(super) fn halt(&self) -> Option<&'a Halt> {
        self.engine.halt(self.subscription)
    }

    pub(super) fn is_offline(&self) -> bool {
        self.subscription.phase() == Phase::Offline
    }
}

/// Every pending sequence belongs to a range; the first few ranges.
fn unacknowledged(subscription: &Subscription) -> Vec<Unacknowledged> {
    let mut ranges = Vec::new();
    let mut from = Some(0);
    while ranges.len() < WHY_RANGES_MAX
        && let Some((first, end)) = from.and_then(|from| subscription.window.pending().run_from(from))
    {
        let (shared, deadline, count) = subscription.window.deadlines().shared_from(first);
        let last = shared.min(end);
        ranges.push(Unacknowledged {
            first,
            last,
            deadline: Some(deadline).filter(|deadline| *deadline != UNKNOWN),
            count,
        });
        from = last.checked_add(1);
    }
    ranges
}

impl Engine {
    /// When the oldest message that a subscription has not acknowledged was first sent to it, in nanoseconds before `now`:
    /// `None` without such a message, and as long as a message of before a restart was not sent again.
    pub(in crate::engine) fn oldest_unacknowledged(&self, now: Now, subscription: &Subscription) -> Option<u64> {
        let first = subscription.window.pending().first()?;
        let (deadline, count) = subscription.window.deadlines().get(first);
        if deadline == UNKNOWN {
            return None;
        }
        let waited = subscription.window.ack_wait().saturating_mul(u64::from(count) + 1);
        Some((now.monotonic.saturating_add(waited)).saturating_sub(deadline))
    }
}
