//! How often somebody may try to log in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use crate::limits::{ADDRESSES_MAX, FAILURE_MEMORY, FAILURES_MAX};

/// Failed logins by address.
#[derive(Default)]
pub(crate) struct Attempts {
    failed: HashMap<IpAddr, Failed>,
}

struct Failed {
    count: u32,
    /// Since when one less would count.
    since: Instant,
    /// It was said that he has to wait.
    is_told: bool,
}

/// Whether somebody may try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// He may.
    Begun,
    /// He has to wait, and asks for the first time since he had to.
    Refused,
    /// He has to wait, and was told.
    RefusedAgain,
}

impl Failed {
    /// Forgets what is forgotten by now.
    fn age(&mut self, now: Instant) {
        let forgotten = now.duration_since(self.since).as_secs() / FAILURE_MEMORY.as_secs();
        let forgotten = u32::try_from(forgotten).unwrap_or(u32::MAX);
        self.count = self.count.saturating_sub(forgotten);
        self.since += FAILURE_MEMORY * forgotten.min(FAILURES_MAX);
    }
}

/// Who counts as one: whoever has one IPv6 address has all of its network.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Attempts {
    /// Whether somebody may try. It counts as failed until [`Attempts::succeeded`] says otherwise, so that many at once are no way round it.
    pub(crate) fn begin(&mut self, address: IpAddr, now: Instant) -> Attempt {
        let address = network(address);
        if !self.failed.contains_key(&address) {
            self.make_room();
        }
        let failed = self.failed.entry(address).or_insert(Failed {
            count: 0,
            since: now,
            is_told: false,
        });
        failed.age(now);
        if failed.count >= FAILURES_MAX {
            return match std::mem::replace(&mut failed.is_told, true) {
                false => Attempt::Refused,
                true => Attempt::RefusedAgain,
            };
        }
        failed.is_told = false;
        if failed.count == 0 {
            failed.since = now;
        }
        failed.count += 1;
        Attempt::Begun
    }

    /// The attempt that began was right.
    pub(crate) fn succeeded(&mut self, address: IpAddr) {
        let address = network(address);
        if let Some(failed) = self.failed.get_mut(&address) {
            failed.count = failed.count.saturating_sub(1);
            if failed.count == 0 {
                self.failed.remove(&address);
            }
        }
    }

    fn make_room(&mut self) {
        if self.failed.len() < ADDRESSES_MAX {
            return;
        }
        let oldest = self.failed.iter().min_by_key(|(_, failed)| failed.since);
        if let Some(address) = oldest.map(|(address, _)| *address) {
            self.failed.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_fails_waits_and_others_do_not() {
        let mut attempts = Attempts::default();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let now = Instant::now();
        for _ in 0..FAILURES_MAX {
            assert_eq!(attempts.begin(one, now), Attempt::Begun);
        }
        assert_eq!(attempts.begin(one, now), Attempt::Refused, "too often");
        assert_eq!(attempts.begin(one, now), Attempt::RefusedAgain);
        assert_eq!(attempts.begin(other, now), Attempt::Begun);
        assert_eq!(
            attempts.begin(one, now + FAILURE_MEMORY),
            Attempt::Begun,
            "one is forgotten"
        );
        assert_eq!(attempts.begin(one, now + FAILURE_MEMORY), Attempt::Refused);
        assert_eq!(attempts.begin(one, now + FAILURE_MEMORY * 1000), Attempt::Begun);
    }

    #[test]
    fn who_succeeds_is_not_counted() {
        let mut attempts = Attempts::default();
        let one = IpAddr::from([10, 0, 0, 1]);
        for _ in 0..100 {
            assert_eq!(attempts.begin(one, Instant::now()), Attempt::Begun);
            attempts.succeeded(one);
        }
        assert!(attempts.failed.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_what_is_remembered_is_bounded() {
        let mut attempts = Attempts::default();
        let now = Instant::now();
        let address = |last| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        for last in 0..FAILURES_MAX as u16 {
            assert_eq!(attempts.begin(address(last), now), Attempt::Begun);
        }
        assert_eq!(attempts.begin(address(77), now), Attempt::Refused);
        for number in 0..2 * ADDRESSES_MAX as u32 {
            attempts.begin(IpAddr::from(number.to_be_bytes()), now);
        }
        assert_eq!(attempts.failed.len(), ADDRESSES_MAX);
    }
}
