//! After a start clients come back one by one. What is due to an inbox that nobody listens to yet is kept back for a moment: sent
//! at once it would be lost, and would come a whole AckWait later with a count too high (`streaming-protocol.md` §5.9).
//!
//! Where the bus does not say who receives, some clients are asked whether they are there. When one is not, whatever carries messages was
//! started anew, too, and everything due waits as long as most clients do before they connect again.

use std::time::Instant;

use seaway_streaming::{Destination, Engine, Input};

use super::bus::EngineBus;
use super::inbox::Inbox;
use crate::bus::Batch;
use crate::limits::{
    ARRIVALS_ASKED, ARRIVALS_AWAITED, ARRIVALS_HANDED_OVER, ARRIVALS_OFFERED_EVERY, EXTERNAL_RETURN_PATIENCE,
};

/// The moment after a start.
#[derive(Default)]
pub(super) enum Arrivals {
    /// Nobody is let in yet.
    #[default]
    Closed,
    /// Clients come back.
    Open {
        until: Instant,
        /// When what is kept back was offered last.
        offered: Instant,
        /// Somebody new has begun to listen since then.
        wanted: bool,
        /// What members of groups held that are not back went to those that are.
        given_up: bool,
        /// What is known of clients, where that has to be asked.
        asked: Option<Asked>,
    },
    /// The moment is over: nothing is kept back any more for clients that did not come.
    Over,
}

/// Clients that were asked whether they are there.
pub(super) struct Asked {
    at: Instant,
    /// Everything that was said about it has come.
    is_answered: bool,
    is_somebody_away: bool,
}

impl Asked {
    /// Whether the next look finds that none of them is away.
    fn is_almost_sure(&self) -> bool {
        self.is_answered && !self.is_somebody_away
    }

    /// Whether none of them is away. What came before the last answer is looked at by the pass after it at the latest.
    fn is_nobody_away(&mut self, bus: &EngineBus) -> bool {
        let is_sure = self.is_almost_sure();
        self.is_answered = self.is_answered || bus.has_heard_until(self.at);
        is_sure
    }
}

impl Arrivals {
    /// Clients are let in from now on.
    pub(super) fn begin(&mut self, inbox: &Inbox, engine: &Engine, bus: &mut EngineBus) {
        let is_known = bus.knows_receivers();
        let patience = if is_known {
            ARRIVALS_AWAITED
        } else {
            let some = engine.clients_page(0, ARRIVALS_ASKED, false).items;
            bus.ask_whether_present(some.iter().map(|client| client.heartbeat_inbox.as_bytes()));
            EXTERNAL_RETURN_PATIENCE
        };
        let now = Instant::now();
        // Puts the question behind those.
        let _ = bus.has_heard_until(now);
        inbox.greet(true);
        *self = Arrivals::Open {
            until: now + patience,
            offered: now,
            wanted: false,
            // Nor is it known which members of a group are there.
            given_up: !is_known,
            asked: (!is_known).then_some(Asked {
                at: now,
                is_answered: false,
                is_somebody_away: false,
            }),
        };
    }

    /// Looks for news of clients that are away.
    pub(super) fn hear(&mut self, batch: &Batch, bus: &EngineBus) {
        if let Arrivals::Open { asked: Some(asked), .. } = self {
            asked.is_somebody_away |= batch.iter().any(|message| bus.is_absence(&message));
        }
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Arrivals::Open {
                offered,
                asked: Some(asked),
                ..
            } if asked.is_almost_sure() => Some(*offered),
            Arrivals::Open {
                offered, wanted: true, ..
            } => Some(*offered + ARRIVALS_OFFERED_EVERY),
            Arrivals::Open { until, given_up, .. } => Some(next_end(*until, *given_up)),
            Arrivals::Closed | Arrivals::Over => None,
        }
    }

    /// What those are to hear for whom something was kept back: that somebody came, that nobody else is expected, or that the time
    /// is over.
    pub(super) fn news(&mut self, inbox: &Inbox, bus: &mut EngineBus) -> Option<Input<'static>> {
        let Arrivals::Open {
            until,
            offered,
            wanted,
            given_up,
            asked,
        } = self
        else {
            return None;
        };
        let now = Instant::now();
        *wanted |= inbox.take_interest();
        let is_nobody_away = asked.as_mut().is_some_and(|asked| asked.is_nobody_away(bus));
        if now >= *until || is_nobody_away {
            *self = Arrivals::Over;
            inbox.greet(false);
            bus.stop_awaiting();
            return bus.take_kept_back().then_some(Input::Drained(Destination::AWAITED));
        }
        if !*given_up && now >= next_end(*until, false) {
            *given_up = true;
            return bus.take_kept_back().then_some(Input::Gone(Destination::AWAITED));
        }
        if !*wanted || now < *offered + ARRIVALS_OFFERED_EVERY {
            return None;
        }
        (*offered, *wanted) = (now, false);
        bus.take_kept_back().then_some(Input::Drained(Destination::AWAITED))
    }
}

/// When something ends: first the hope for members of groups, so that what they held can go to others that are there, then all of it.
fn next_end(until: Instant, given_up: bool) -> Instant {
    if given_up {
        return until;
    }
    until.checked_sub(ARRIVALS_HANDED_OVER).unwrap_or(until)
}
