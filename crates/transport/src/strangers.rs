//! Connections that have not finished their handshake: so many at a time, so many of one source, and whoever floods pushes out its own.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use crate::limits::{STRANGERS_MAX, STRANGERS_OF_ONE_SOURCE_MAX};

/// From where a connection comes: an address, of IPv6 the network of 64 bits, which is what one party has.
pub(crate) fn source(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => IpAddr::V4(address),
            None => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        },
    }
}

#[derive(Debug)]
struct Stranger {
    number: u64,
    source: IpAddr,
    /// It has said something that members say.
    is_known: Arc<AtomicBool>,
    task: Option<AbortHandle>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// In the order in which they came.
    present: Vec<Stranger>,
}

/// See the module.
#[derive(Debug, Default, Clone)]
pub(crate) struct Strangers(Arc<Mutex<State>>);

/// A place among the strangers; whoever drops it is none any more.
#[derive(Debug)]
pub(crate) struct Place {
    strangers: Strangers,
    number: u64,
    is_known: Arc<AtomicBool>,
}

impl Strangers {
    /// A place for a connection that came. Where there is none, another's connection ends: of the same source when that has its share,
    /// otherwise of the source that has most; first one that has not said anything yet, then the oldest.
    pub(crate) fn enter(&self, address: IpAddr) -> Place {
        let source = source(address);
        let mut state = self.state();
        let of = |state: &State, source| state.present.iter().filter(|one| one.source == source).count();
        if of(&state, source) >= STRANGERS_OF_ONE_SOURCE_MAX {
            state.push_out(source);
        } else if state.present.len() >= STRANGERS_MAX {
            let most = state.present.iter().max_by_key(|one| of(&state, one.source));
            let most = most.map_or(source, |one| one.source);
            state.push_out(most);
        }
        let number = state.next;
        state.next += 1;
        let is_known = Arc::new(AtomicBool::new(false));
        state.present.push(Stranger {
            number,
            source,
            is_known: Arc::clone(&is_known),
            task: None,
        });
        Place {
            strangers: self.clone(),
            number,
            is_known,
        }
    }

    /// Says which task serves a place, so that it can be ended; nothing when it has gone already.
    pub(crate) fn served_by(&self, number: u64, task: AbortHandle) {
        if let Some(one) = self.state().present.iter_mut().find(|one| one.number == number) {
            one.task = Some(task);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push_out(&mut self, source: IpAddr) {
        let of_source = self.present.iter().enumerate().filter(|(_, one)| one.source == source);
        let victim = of_source.min_by_key(|(_, one)| (one.is_known.load(Ordering::Relaxed), one.number));
        if let Some((place, _)) = victim
            && let Some(task) = self.present.remove(place).task
        {
            task.abort();
        }
    }
}

impl Place {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// It has said something that members say.
    pub(crate) fn is_known(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.strangers.state().present.retain(|one| one.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(strangers: &Strangers, source: IpAddr) -> usize {
        strangers
            .state()
            .present
            .iter()
            .filter(|one| one.source == source)
            .count()
    }

    #[test]
    fn one_source_has_its_share_and_no_more() {
        let strangers = Strangers::default();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let kept = strangers.enter(other);
        let places: Vec<_> = (0..1_000).map(|_| strangers.enter(one)).collect();
        assert_eq!(count(&strangers, one), STRANGERS_OF_ONE_SOURCE_MAX);
        assert_eq!(count(&strangers, other), 1);
        drop(places);
        assert_eq!(count(&strangers, one), 0);
        drop(kept);
        assert!(strangers.state().present.is_empty());
    }

    #[test]
    fn many_sources_push_out_those_that_have_most_and_say_nothing() {
        let strangers = Strangers::default();
        let busy = IpAddr::from([10, 0, 0, 1]);
        let mut places: Vec<_> = (0..10).map(|_| strangers.enter(busy)).collect();
        places[0].is_known();
        places.extend((0..200_u8).map(|last| strangers.enter(IpAddr::from([10, 0, 1, last]))));
        assert_eq!(strangers.state().present.len(), STRANGERS_MAX);
        assert_eq!(count(&strangers, busy), 1);
        assert_eq!(strangers.state().present[0].number, places[0].number());
    }

    #[test]
    fn networks_of_ipv6_are_one_source() {
        let address = |text: &str| source(text.parse().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:10.0.0.1"), IpAddr::from([10, 0, 0, 1]));
    }
}
