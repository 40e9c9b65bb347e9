//! After a start clients come back one by one. What is due to an inbox that nobody listens to yet is kept back for a moment: sent
//! at once it would be lost, and would come a whole AckWait later with a count too high (`streaming-protocol.md` §5.9).

use std::time::Instant;

use seaway_streaming::{Destination, Input};

use super::bus::EngineBus;
use super::inbox::Inbox;
use crate::limits::{ARRIVALS_AWAITED, ARRIVALS_HANDED_OVER, ARRIVALS_OFFERED_EVERY};

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
    },
    /// The moment is over: nothing is kept back any more for clients that did not come.
    Over,
}

impl Arrivals {
    /// Clients are let in from now on.
    pub(super) fn begin(&mut self, inbox: &Inbox) {
        let now = Instant::now();
        inbox.greet(true);
        *self = Arrivals::Open {
            until: now + ARRIVALS_AWAITED,
            offered: now,
            wanted: false,
            given_up: false,
        };
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
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
        } = self
        else {
            return None;
        };
        let now = Instant::now();
        *wanted |= inbox.take_interest();
        if now >= *until {
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
