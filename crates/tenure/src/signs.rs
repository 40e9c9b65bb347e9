//! What the holder of a tenure does for it to be seen: a look, a counter that goes on, a heartbeat.

use std::time::{Duration, Instant};

use seaway_store::{Holding, Standpoint};

use crate::limits::{COMMITS_PER_LEASE, HEARTBEAT_FRESHNESS, HEARTBEAT_INTERVAL_MAX, HEARTBEATS_PER_LEASE};

/// Time from one sign of life to the next: the original's at most (`stores-and-clustering.md` §7.1).
pub fn interval(lease: Duration) -> Duration {
    (lease / HEARTBEATS_PER_LEASE).min(HEARTBEAT_INTERVAL_MAX)
}

/// How a tenure ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With the store, or because another server had every reason to take over.
    Lawful,
    /// Another server took over although there had been a sign of life just before.
    Robbed,
    /// Another server took over because the disk had been too slow for signs of life.
    Slow,
}

/// What a sign of life came to.
#[derive(Debug)]
pub enum Found {
    /// The tenure stood when this look began, and the counter went on. Others may be told.
    Sign(Instant),
    /// The tenure stood when this look began; there is no sign of it, because the disk is too slow for one.
    Silence(Instant),
    /// The directory did not say, and is asked again.
    Unanswered(std::io::Error),
    /// The directory has not answered for a lease.
    Unrenewable(std::io::Error),
    /// The tenure is over: taken over by this one, or by none, see [`Standpoint`].
    Over(u64, Ending),
}

/// Gives the signs of life of one tenure.
#[derive(Debug)]
pub struct Signs {
    lease: Duration,
    /// When the last look began that found it standing.
    good: Instant,
    /// When the last one began that was followed by a sign.
    sign: Instant,
    /// How far the store was durable when something was on its way to the disk, and since when.
    waits: Option<(u64, Instant)>,
    /// The disk took too long for a sign since the last one.
    was_slow: bool,
}

impl Signs {
    /// Of a tenure that begins now.
    pub fn new(lease: Duration, now: Instant) -> Signs {
        Signs {
            lease,
            good: now,
            sign: now,
            waits: None,
            was_slow: false,
        }
    }

    /// When the last look began that found the tenure standing.
    pub fn good(&self) -> Instant {
        self.good
    }

    /// Looks, and lets the counter go on unless what the store is to make durable hangs, as `waits` says
    /// ([`Holding::waits_for_disk`]): a disk that answers in one file and not in another is no disk to serve from. `clock` says what
    /// time it is.
    pub fn give(&mut self, holding: &Holding, waits: Option<u64>, clock: impl Fn() -> Instant) -> Found {
        let began = clock();
        let is_stuck = self.is_stuck(waits, began);
        let found = if is_stuck { holding.look() } else { holding.tick() };
        self.judge(found, is_stuck, began, clock())
    }

    fn is_stuck(&mut self, waits: Option<u64>, now: Instant) -> bool {
        self.waits = match (waits, self.waits) {
            (Some(durable), Some((before, since))) if before == durable => Some((durable, since)),
            (waits, _) => waits.map(|durable| (durable, now)),
        };
        self.waits
            .is_some_and(|(_, since)| now.saturating_duration_since(since) > self.lease / COMMITS_PER_LEASE)
    }

    fn judge(&mut self, found: std::io::Result<Standpoint>, is_stuck: bool, began: Instant, ended: Instant) -> Found {
        let is_slow = is_stuck || ended.saturating_duration_since(began) >= self.lease / HEARTBEAT_FRESHNESS;
        match found {
            Ok(Standpoint::Holds) => {
                self.good = began;
                // A disk that is slow stops both signs: another server may do better.
                self.was_slow = is_slow;
                if is_slow {
                    return Found::Silence(began);
                }
                self.sign = began;
                Found::Sign(began)
            }
            Ok(Standpoint::Deposed { by }) => {
                // Not by who took its claim's file away.
                let is_robbed = by > 0 && ended.saturating_duration_since(self.sign) < self.lease / 2;
                let ending = match (is_robbed, by > 0 && (is_slow || self.was_slow)) {
                    (true, _) => Ending::Robbed,
                    (_, true) => Ending::Slow,
                    _ => Ending::Lawful,
                };
                Found::Over(by, ending)
            }
            Err(error) if ended.saturating_duration_since(self.good) > self.lease => Found::Unrenewable(error),
            Err(error) => Found::Unanswered(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(1_000);

    struct Scene {
        signs: Signs,
        start: Instant,
    }

    impl Scene {
        fn new() -> Scene {
            let start = Instant::now();
            Scene {
                signs: Signs::new(LEASE, start),
                start,
            }
        }

        /// A look from one moment to another, in milliseconds, while the store waits behind `waits`.
        fn look(&mut self, from: u64, to: u64, waits: Option<u64>, by: Option<u64>) -> Found {
            let at = |milliseconds| self.start + Duration::from_millis(milliseconds);
            let (began, ended) = (at(from), at(to));
            let is_stuck = self.signs.is_stuck(waits, began);
            let found = by.map_or(Standpoint::Holds, |by| Standpoint::Deposed { by });
            self.signs.judge(Ok(found), is_stuck, began, ended)
        }

        fn is_silent(&mut self, from: u64, to: u64, waits: Option<u64>) -> bool {
            matches!(self.look(from, to, waits, None), Found::Silence(_))
        }
    }

    /// Its counter can be written, and is no sign of life.
    #[test]
    fn a_commit_that_hangs_silences_its_tenure_and_one_that_comes_back_does_not() {
        let mut scene = Scene::new();
        let silent: Vec<u64> = (0..10)
            .map(|look| look * 200)
            .filter(|at| scene.is_silent(*at, at + 1, Some(7)))
            .collect();
        assert_eq!(silent, [600, 800, 1_000, 1_200, 1_400, 1_600, 1_800]);
        assert!(!scene.is_silent(2_000, 2_001, Some(8)), "it goes on");
        assert!(!scene.is_silent(2_200, 2_201, None));
        // Each commit takes long, and each comes back.
        for look in 12..40 {
            assert!(!scene.is_silent(look * 200, look * 200 + 1, Some(look / 2)));
        }
    }

    #[test]
    fn a_look_that_takes_long_is_no_sign() {
        let mut scene = Scene::new();
        assert!(!scene.is_silent(0, 249, None));
        assert!(scene.is_silent(300, 550, None));
    }

    #[test]
    fn who_is_deposed_knows_why() {
        let ending = |scene: &mut Scene, from, to, waits| match scene.look(from, to, waits, Some(9)) {
            Found::Over(9, ending) => ending,
            other => panic!("{other:?}"),
        };
        let mut robbed = Scene::new();
        assert!(!robbed.is_silent(0, 1, None));
        assert_eq!(ending(&mut robbed, 200, 201, None), Ending::Robbed);
        // It was stopped.
        let mut stopped = Scene::new();
        assert!(!stopped.is_silent(0, 1, None));
        assert_eq!(ending(&mut stopped, 5_000, 5_001, None), Ending::Lawful);
        let mut slow = Scene::new();
        assert!(slow.is_silent(0, 900, None));
        assert_eq!(ending(&mut slow, 1_000, 1_001, None), Ending::Slow);
        let mut hanging = Scene::new();
        for look in 0..8 {
            let _ = hanging.is_silent(look * 200, look * 200 + 1, Some(3));
        }
        assert_eq!(ending(&mut hanging, 1_700, 1_701, Some(3)), Ending::Slow);
        let mut removed = Scene::new();
        assert!(matches!(
            removed.look(200, 201, None, Some(0)),
            Found::Over(0, Ending::Lawful)
        ));
    }
}
