//! When a server that stands by takes over: decided from what it sees in the directory and hears on the bus, and from nothing but the
//! rate of its own clock.

use std::fmt::{self, Display, Formatter};
use std::time::{Duration, Instant};

use seaway_store::{SeenClaim, Standing};

use crate::limits::STANDBY_LOOKS_PER_LEASE;
use crate::member::Member;

/// Watches the newest claim.
#[derive(Debug)]
pub struct Watch {
    lease: Duration,
    /// How long a holder has to be silent before its tenure is taken over: see [`Waiting`](crate::Waiting).
    waits: Duration,
    /// Whether a free lock says that its holder has ended. Not where two holders were seen at a time: on a file system whose locks
    /// others do not see, only the lease tells.
    trusts_locks: bool,
    seen: Option<Seen>,
}

/// The newest claim, and for how long nothing was seen or heard of its holder.
#[derive(Debug)]
struct Seen {
    number: u64,
    token: [u8; 16],
    counter: u64,
    /// Time that passed while this server looked, without a sign of life.
    still: Duration,
    /// When the last look ended.
    looked: Instant,
    /// The last heartbeat that was heard by then.
    heard: Option<Instant>,
    /// It was seen locked.
    was_locked: bool,
}

/// Why a claim is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is none.
    Nobody,
    /// The holder of this number has ended: nobody has the lock.
    LockFree(u64),
    /// Nothing was seen or heard of it for so long.
    LeaseRunOut(u64, Duration),
}

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Nobody => f.write_str("nobody served before"),
            Reason::LockFree(number) => write!(f, "the server of tenure {number} has ended: its lock is free"),
            Reason::LeaseRunOut(number, still) => {
                let milliseconds = still.as_millis();
                write!(f, "no sign of life of tenure {number} for {milliseconds} ms")
            }
        }
    }
}

/// When a look at the directory began and ended.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// What it found was so after this moment,
    pub began: Instant,
    /// and before this one.
    pub ended: Instant,
}

impl Watch {
    /// Of a group with this lease; `trusts_locks` unless its file system is known not to show the locks of others.
    pub fn new(lease: Duration, trusts_locks: bool) -> Watch {
        Watch {
            lease,
            waits: lease,
            trusts_locks,
            seen: None,
        }
    }

    /// From now on a holder is silent for so long before its tenure is taken over: the lease, or more.
    pub fn wait_for(&mut self, waits: Duration) {
        self.waits = waits;
    }

    /// Takes in what a look found, and when the holder was last heard; why to claim now, if that is so.
    pub fn look(&mut self, look: Look, standing: &Standing, heard: Option<Instant>) -> Option<Reason> {
        let Some(claim) = &standing.claim else {
            self.seen = None;
            return Some(Reason::Nobody);
        };
        let known = self
            .seen
            .take()
            .filter(|seen| seen.number == claim.number && seen.token == claim.token);
        let mut seen = known.unwrap_or_else(|| Seen::new(claim, look, heard));
        let is_heard = heard > seen.heard;
        let counts = seen.counter != claim.counter;
        if !claim.is_locked && counts && !seen.was_locked {
            // It lives, and its lock is not seen here.
            self.trusts_locks = false;
        }
        if !counts && !is_heard {
            // A moment in which this server itself did not run says nothing of the other one.
            let step = look.began.saturating_duration_since(seen.looked);
            seen.still += step.min(self.lease / STANDBY_LOOKS_PER_LEASE);
        } else {
            seen.still = Duration::ZERO;
        }
        // Who has just created a claim may not have locked it yet, and on some file systems the lock of another machine is never seen:
        // a lock that was not seen is missed only with every other sign of life.
        let is_missed = self.trusts_locks && seen.still >= self.lease / STANDBY_LOOKS_PER_LEASE;
        let has_ended = !claim.is_locked && (seen.was_locked || is_missed);
        seen.counter = claim.counter;
        seen.heard = seen.heard.max(heard);
        seen.looked = look.ended;
        seen.was_locked |= claim.is_locked;
        let reason = if has_ended {
            Some(Reason::LockFree(claim.number))
        } else if seen.still >= self.waits && gives_signs(claim) {
            Some(Reason::LeaseRunOut(claim.number, seen.still))
        } else {
            None
        };
        self.seen = Some(seen);
        reason
    }
}

/// A server that is in no group has its lock and nothing else. Who has not written who he is has not begun to serve.
fn gives_signs(claim: &SeenClaim) -> bool {
    !claim.is_locked || claim.member.is_empty() || Member::read(&claim.member).is_some()
}

impl Seen {
    fn new(claim: &SeenClaim, look: Look, heard: Option<Instant>) -> Seen {
        Seen {
            number: claim.number,
            token: claim.token,
            counter: claim.counter,
            still: Duration::ZERO,
            looked: look.began,
            heard,
            was_locked: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(1_000);

    struct Scene {
        watch: Watch,
        start: Instant,
    }

    fn scene(trusts_locks: bool) -> Scene {
        let start = Instant::now();
        Scene {
            watch: Watch::new(LEASE, trusts_locks),
            start,
        }
    }

    fn claim(number: u64, counter: u64, is_locked: bool) -> Standing {
        Standing {
            number,
            claim: Some(SeenClaim {
                number,
                member: "ft c g ID plain name".to_owned(),
                token: [u8::try_from(number).unwrap(); 16],
                counter,
                is_locked,
            }),
        }
    }

    impl Scene {
        fn at(&self, milliseconds: u64) -> Instant {
            self.start + Duration::from_millis(milliseconds)
        }

        fn look(&mut self, milliseconds: u64, standing: &Standing, heard: Option<u64>) -> Option<Reason> {
            let (began, heard) = (self.at(milliseconds), heard.map(|at| self.at(at)));
            self.watch.look(Look { began, ended: began }, standing, heard)
        }

        /// Looks every 50 ms until there is a reason; when, and which.
        fn until_claimed(&mut self, from: u64, standing: &Standing) -> (u64, Reason) {
            let mut at = from;
            loop {
                if let Some(reason) = self.look(at, standing, None) {
                    return (at, reason);
                }
                at += 50;
                assert!(at < from + 60_000, "never");
            }
        }
    }

    #[test]
    fn a_directory_without_a_claim_is_claimed_at_once() {
        let nobody = Standing { number: 0, claim: None };
        assert_eq!(scene(true).look(0, &nobody, None), Some(Reason::Nobody));
    }

    #[test]
    fn a_lock_that_becomes_free_is_seen_at_the_next_look() {
        let mut scene = scene(true);
        assert_eq!(scene.look(0, &claim(3, 9, true), Some(0)), None);
        assert_eq!(scene.look(50, &claim(3, 9, false), Some(49)), Some(Reason::LockFree(3)));
        // Its last sign was given between the two looks.
        let mut scene = self::scene(true);
        assert_eq!(scene.look(0, &claim(3, 9, true), Some(0)), None);
        assert_eq!(
            scene.look(50, &claim(3, 10, false), Some(49)),
            Some(Reason::LockFree(3))
        );
        // A lock that was seen is one that can be missed, whatever was learnt of others.
        let mut scene = self::scene(false);
        assert_eq!(scene.look(0, &claim(3, 9, true), Some(0)), None);
        assert_eq!(scene.look(50, &claim(3, 9, false), Some(49)), Some(Reason::LockFree(3)));
    }

    /// It may be created and not locked yet.
    #[test]
    fn a_new_claim_without_a_lock_gets_one_more_look() {
        let mut scene = scene(true);
        assert_eq!(scene.look(0, &claim(3, 0, false), None), None);
        assert_eq!(scene.look(50, &claim(3, 0, true), None), None);
        assert_eq!(scene.look(100, &claim(4, 0, false), None), None);
        let (at, reason) = scene.until_claimed(150, &claim(4, 0, false));
        assert_eq!((at, reason), (350, Reason::LockFree(4)));
    }

    /// Who starts where locks are not seen takes nothing from a server that gives other signs of life.
    #[test]
    fn a_lock_that_was_never_seen_frees_nothing_while_its_holder_lives() {
        for beats in [true, false] {
            let mut scene = scene(true);
            for look in 0..200 {
                let at = look * 50;
                let counter = if beats { 7 } else { look / 5 };
                let heard = beats.then_some(at / 250 * 250);
                assert_eq!(scene.look(at, &claim(3, counter, false), heard), None, "{at} {beats}");
            }
        }
        // It has ended; that it is silent is all that tells.
        let mut scene = scene(true);
        for look in 0..20 {
            assert_eq!(scene.look(look * 50, &claim(3, look / 5, false), None), None);
        }
        let (at, reason) = scene.until_claimed(1_000, &claim(3, 3, false));
        assert_eq!(reason, Reason::LeaseRunOut(3, LEASE));
        assert!(at >= 1_700, "{at}");
    }

    #[test]
    fn a_holder_that_stands_still_loses_the_lease_and_either_sign_of_life_keeps_it() {
        for (counts, beats, keeps) in [(false, false, false), (true, false, true), (false, true, true)] {
            let mut scene = scene(true);
            let claimed = (0..100).find_map(|look| {
                let at = look * 50;
                let counter = if counts { look / 5 } else { 0 };
                scene
                    .look(at, &claim(3, counter, true), beats.then_some(at / 250 * 250))
                    .map(|reason| (at, reason))
            });
            let expected = (!keeps).then_some((1_000, Reason::LeaseRunOut(3, LEASE)));
            assert_eq!(claimed, expected, "{counts} {beats}");
        }
    }

    #[test]
    fn time_in_which_this_server_did_not_run_does_not_count() {
        let mut scene = scene(true);
        let holder = claim(3, 7, true);
        assert_eq!(scene.look(0, &holder, None), None);
        // Both were frozen for an hour.
        assert_eq!(scene.look(3_600_000, &holder, None), None);
        let (at, reason) = scene.until_claimed(3_600_050, &holder);
        assert_eq!((at, reason), (3_600_750, Reason::LeaseRunOut(3, LEASE)));
    }

    /// A look that hangs sees what there was at some moment between its two ends.
    #[test]
    fn what_a_slow_look_saw_counts_from_its_end() {
        let mut scene = scene(true);
        let slow = |scene: &mut Scene, began, ended| {
            let look = Look {
                began: scene.at(began),
                ended: scene.at(ended),
            };
            scene.watch.look(look, &claim(3, 7, true), None)
        };
        for round in 0..4 {
            assert_eq!(slow(&mut scene, round * 250, round * 250 + 250), None);
        }
        let (at, _) = scene.until_claimed(1_000, &claim(3, 7, true));
        assert!(at >= 1_950, "{at}");
    }

    #[test]
    fn who_waits_longer_takes_over_later() {
        let mut scene = scene(true);
        scene.watch.wait_for(4 * LEASE);
        let (at, reason) = scene.until_claimed(0, &claim(3, 7, true));
        assert_eq!((at, reason), (4_000, Reason::LeaseRunOut(3, 4 * LEASE)));
    }

    #[test]
    fn where_locks_are_not_seen_only_the_lease_counts() {
        let mut scene = scene(false);
        let (at, reason) = scene.until_claimed(0, &claim(3, 7, false));
        assert_eq!((at, reason), (1_000, Reason::LeaseRunOut(3, LEASE)));
    }

    /// A server that stands alone gives no signs of life but its lock.
    #[test]
    fn a_server_of_no_group_is_left_alone_while_it_has_its_lock() {
        let mut scene = scene(true);
        let mut alone = claim(3, 0, true);
        alone.claim.as_mut().unwrap().member = "process 7".to_owned();
        for look in 0..1_000 {
            assert_eq!(scene.look(look * 50, &alone, None), None);
        }
        alone.claim.as_mut().unwrap().is_locked = false;
        assert_eq!(scene.look(50_000, &alone, None), Some(Reason::LockFree(3)));
    }
}
