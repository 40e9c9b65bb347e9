//! A registered client (`streaming-protocol.md` §1, §2.7): who it is, whether it answers, and what it has subscribed to.

use std::collections::BTreeMap;

use bytes::Bytes;
use seaway_stan_protocol::messages::ConnectRequest;

use super::keys::{ClientKey, SubscriptionKey};
use crate::change::{ChangeId, Changed};
use crate::facts::ClientFact;
use crate::ids::ProbeId;
use crate::waiting::timers::{Timer, TimerSlot, Timers};

/// See the module. It is made, told to close and taken out by [`Clients`](super::clients::Clients).
#[derive(Debug)]
pub(crate) struct Client {
    number: u64,
    fact: ClientFact,
    /// Active subscriptions, in the order of their creation.
    subscriptions: BTreeMap<u64, SubscriptionKey>,
    closing: Option<Closing>,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) challenge: Challenge,
}

/// How a close began, hence how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// By request; the reply subject.
    Requested(Bytes),
    /// By the server: heartbeats failed, or a new connection takes over.
    ByServer,
    /// By an operator: which change that is, and what it says.
    ByOperator(ChangeId, Changed),
}

/// What is left of a client that has gone.
#[derive(Debug)]
pub(crate) struct Gone {
    pub(crate) fact: ClientFact,
    pub(crate) closing: Option<Closing>,
    /// Who takes its place.
    pub(crate) contender: Option<Contender>,
}

impl Client {
    pub(super) fn new(number: u64, fact: ClientFact) -> Client {
        Client {
            number,
            fact,
            subscriptions: BTreeMap::new(),
            closing: None,
            heartbeat: Heartbeat::default(),
            challenge: Challenge::default(),
        }
    }

    /// Unique in the process lifetime.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Its registration, as it is written down.
    pub(crate) fn fact(&self) -> &ClientFact {
        &self.fact
    }

    /// Whether its subscriptions are being closed; nothing else is accepted from it then.
    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    pub(super) fn begin_close(&mut self, closing: Closing) {
        self.closing = Some(closing);
    }

    pub(super) fn into_gone(self) -> Gone {
        Gone {
            fact: self.fact,
            closing: self.closing,
            contender: self.challenge.contender.map(|contender| *contender),
        }
    }

    /// It owns a subscription from now on.
    pub(crate) fn add_subscription(&mut self, number: u64, key: SubscriptionKey) {
        self.subscriptions.insert(number, key);
    }

    /// It owns that subscription no longer.
    pub(crate) fn remove_subscription(&mut self, number: u64) {
        self.subscriptions.remove(&number);
    }

    /// The subscription with that number, or the next one.
    pub(crate) fn subscription_from(&self, number: u64) -> Option<(u64, SubscriptionKey)> {
        let next = self.subscriptions.range(number..).next();
        next.map(|(number, key)| (*number, *key))
    }

    /// Its active subscriptions.
    pub(crate) fn subscriptions(&self) -> impl ExactSizeIterator<Item = SubscriptionKey> + '_ {
        self.subscriptions.values().copied()
    }
}

/// Whether a client answers, and when it is asked next (§2.10). One question is out at a time.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    /// The question that waits for its answer, and when it was put.
    asked: Option<(ProbeId, u64)>,
    /// When the next question is due, or the wait for an answer ends.
    timer: TimerSlot,
    /// Failed ones in a row.
    failed: u32,
    /// How often they began to fail.
    failures: u64,
    /// When the first of those in a row failed; monotonic, counts while `failed` is not 0.
    failing_since: u64,
}

impl Heartbeat {
    /// The question that waits for its answer.
    pub(crate) fn asked(&self) -> Option<ProbeId> {
        self.asked.map(|(probe, _)| probe)
    }

    /// How many in a row failed.
    #[inline]
    pub(crate) fn failed(&self) -> u32 {
        self.failed
    }

    /// How often they began to fail.
    #[inline]
    pub(crate) fn failures(&self) -> u64 {
        self.failures
    }

    /// Since when they fail, in monotonic time.
    pub(crate) fn failing_since(&self) -> Option<u64> {
        (self.failed > 0).then_some(self.failing_since)
    }

    /// The timer runs until `deadline` from now on.
    pub(crate) fn arm(&mut self, key: ClientKey, deadline: u64, timers: &mut Timers) {
        timers.set(&mut self.timer, Timer::Heartbeat(key), Some(deadline));
    }

    /// The timer runs until `deadline` at the latest.
    pub(crate) fn bring_forward(&mut self, key: ClientKey, deadline: u64, timers: &mut Timers) {
        timers.bring_forward(&mut self.timer, Timer::Heartbeat(key), deadline);
    }

    /// The timer has fired; gives back the question that was not answered in time, and when it was put.
    pub(crate) fn fired(&mut self) -> Option<(ProbeId, u64)> {
        self.timer.fired();
        self.asked.take()
    }

    /// The client was asked.
    pub(crate) fn ask(&mut self, probe: ProbeId, now: u64) {
        self.asked = Some((probe, now));
    }

    /// The client answered; true when earlier ones had failed.
    pub(crate) fn answered(&mut self) -> bool {
        self.asked = None;
        std::mem::take(&mut self.failed) > 0
    }

    /// The client did not answer, or could not be asked; true when that is the first in a row.
    pub(crate) fn missed(&mut self, now: u64) -> bool {
        self.asked = None;
        self.failed = self.failed.saturating_add(1);
        if self.failed > 1 {
            return false;
        }
        self.failures += 1;
        self.failing_since = now;
        true
    }

    /// No more questions; gives back the one that waits for its answer.
    pub(crate) fn stop(&mut self, key: ClientKey, timers: &mut Timers) -> Option<ProbeId> {
        timers.set(&mut self.timer, Timer::Heartbeat(key), None);
        self.asked.take().map(|(probe, _)| probe)
    }
}

/// A connect request that waits.
#[derive(Debug)]
pub(crate) struct Contender {
    /// What the registered client was asked; none when it is being closed anyway.
    pub(crate) probe: Option<ProbeId>,
    pub(crate) request: ConnectRequest,
    pub(crate) reply: Bytes,
}

/// A new connection with the name of a client: it waits for the outcome of the duplicate check (§2.7), or for the end of a
/// close. There is one at a time.
#[derive(Debug, Default)]
pub(crate) struct Challenge {
    contender: Option<Box<Contender>>,
    timer: TimerSlot,
}

impl Challenge {
    /// Whoever waits for the client's place.
    pub(crate) fn contender(&self) -> Option<&Contender> {
        self.contender.as_deref()
    }

    /// Somebody waits from now on.
    pub(crate) fn begin(&mut self, contender: Contender) {
        self.contender = Some(Box::new(contender));
    }

    /// The check takes until `deadline` at most.
    pub(crate) fn arm(&mut self, key: ClientKey, deadline: u64, timers: &mut Timers) {
        timers.set(&mut self.timer, Timer::DuplicateCheck(key), Some(deadline));
    }

    /// The check took too long.
    pub(crate) fn fired(&mut self) {
        self.timer.fired();
    }

    /// The check is over; whoever waits goes on waiting.
    pub(crate) fn disarm(&mut self, key: ClientKey, timers: &mut Timers) {
        timers.set(&mut self.timer, Timer::DuplicateCheck(key), None);
    }

    /// Nobody waits any more; gives back whoever did.
    pub(crate) fn end(&mut self) -> Option<Contender> {
        self.contender.take().map(|contender| *contender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_in_a_row_count_as_one_failure() {
        let (mut heartbeat, mut timers) = (Heartbeat::default(), Timers::default());
        let key = ClientKey(0);
        heartbeat.ask(ProbeId(1), 5);
        assert_eq!(heartbeat.fired(), Some((ProbeId(1), 5)));
        assert!(heartbeat.missed(10));
        assert!(!heartbeat.missed(20));
        assert_eq!((heartbeat.failed(), heartbeat.failures()), (2, 1));
        assert_eq!(heartbeat.failing_since(), Some(10));
        heartbeat.ask(ProbeId(2), 25);
        assert!(heartbeat.answered());
        assert_eq!((heartbeat.asked(), heartbeat.failing_since()), (None, None));
        assert!(!heartbeat.answered());
        assert!(heartbeat.missed(30));
        assert_eq!(heartbeat.failures(), 2);
        heartbeat.ask(ProbeId(3), 35);
        heartbeat.arm(key, 40, &mut timers);
        assert_eq!(heartbeat.stop(key, &mut timers), Some(ProbeId(3)));
        assert_eq!(timers.next(), None);
    }
}
