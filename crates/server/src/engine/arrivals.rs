//! After a start clients come back one by one. What is due to an inbox that nobody listens to yet is kept back for a moment: sent
//! at once it would be lost, and would come a whole AckWait later with a count too high (`streaming-protocol.md` §5.9).

use std::time::Instant;

use super::bus::LocalBus;
use super::inbox::Inbox;
use crate::limits::{ARRIVALS_AWAITED, ARRIVALS_OFFERED_EVERY};

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
        };
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Arrivals::Open {
                offered, wanted: true, ..
            } => Some(*offered + ARRIVALS_OFFERED_EVERY),
            Arrivals::Open { until, .. } => Some(*until),
            Arrivals::Closed | Arrivals::Over => None,
        }
    }

    /// Whether what was kept back is to be offered now: somebody came, or the time is over.
    pub(super) fn is_retry_due(&mut self, inbox: &Inbox, bus: &mut LocalBus) -> bool {
        let Arrivals::Open { until, offered, wanted } = self else {
            return false;
        };
        let now = Instant::now();
        *wanted |= inbox.take_interest();
        if now >= *until {
            *self = Arrivals::Over;
            inbox.greet(false);
            bus.stop_awaiting();
            return bus.take_kept_back();
        }
        if !*wanted || now < *offered + ARRIVALS_OFFERED_EVERY {
            return false;
        }
        (*offered, *wanted) = (now, false);
        bus.take_kept_back()
    }
}
