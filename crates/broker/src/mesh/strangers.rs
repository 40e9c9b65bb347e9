//! Connections of other servers that nobody knows: those that have not introduced themselves yet, and those that have left and read
//! their last words. They have few places. Whoever comes gets one all the same: it is given up by whoever has had one longest at
//! the address that has most of them. So nobody keeps others out by saying nothing, and hardly by coming again and again.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::Notify;

use crate::connection::Connection;
use crate::lock::lock;
use crate::reason::CloseReason;

/// See the module.
pub(crate) struct Strangers {
    places_max: usize,
    /// The oldest first.
    places: Mutex<VecDeque<Place>>,
}

struct Place {
    address: IpAddr,
    taken: Arc<Taken>,
}

#[derive(Default)]
struct Taken {
    given_up: Notify,
    /// Once there is one.
    connection: OnceLock<Arc<Connection>>,
}

/// A place, until it is dropped.
pub(crate) struct Stranger {
    strangers: Arc<Strangers>,
    taken: Arc<Taken>,
}

impl Strangers {
    pub(crate) fn new(places_max: usize) -> Self {
        Self {
            places_max,
            places: Mutex::default(),
        }
    }

    /// A place for a connection from this address.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Stranger {
        let (address, taken) = (neighbourhood(address), Arc::<Taken>::default());
        let mut places = lock(&self.places);
        if places.len() >= self.places_max
            && let Some(given_up) = most_crowded(&places, address).and_then(|index| places.remove(index))
        {
            given_up.taken.given_up.notify_one();
            if let Some(connection) = given_up.taken.connection.get() {
                connection.outbound.abandon(CloseReason::AuthenticationTimeout);
            }
        }
        places.push_back(Place {
            address,
            taken: Arc::clone(&taken),
        });
        drop(places);
        Stranger {
            strangers: Arc::clone(self),
            taken,
        }
    }
}

/// The oldest place of the address that has most of them, counting who comes from `newcomer`.
fn most_crowded(places: &VecDeque<Place>, newcomer: IpAddr) -> Option<usize> {
    let crowd = |address: IpAddr| {
        let others = places.iter().filter(|place| place.address == address).count();
        others + usize::from(address == newcomer)
    };
    let crowds = places.iter().map(|place| crowd(place.address));
    // Of several that are equal the last one counts, so from the youngest to the oldest.
    let found = crowds.enumerate().rev().max_by_key(|(_, crowd)| *crowd);
    found.map(|(index, _)| index)
}

/// What one party may have many addresses of: with IPv6 a network.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

impl Stranger {
    /// Resolves when another one has got this place.
    pub(crate) async fn given_up(&self) {
        self.taken.given_up.notified().await;
    }

    /// Names the connection that ends when another one gets this place.
    pub(crate) fn is(&self, connection: &Arc<Connection>) {
        let places = lock(&self.strangers.places);
        let _ = self.taken.connection.set(Arc::clone(connection));
        if !places.iter().any(|place| Arc::ptr_eq(&place.taken, &self.taken)) {
            connection.outbound.abandon(CloseReason::AuthenticationTimeout);
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        lock(&self.strangers.places).retain(|place| !Arc::ptr_eq(&place.taken, &self.taken));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(strangers: &Arc<Strangers>, address: &str) -> Stranger {
        strangers.enter(address.parse().unwrap())
    }

    fn has_place(stranger: &Stranger) -> bool {
        let places = lock(&stranger.strangers.places);
        places.iter().any(|place| Arc::ptr_eq(&place.taken, &stranger.taken))
    }

    #[test]
    fn whoever_comes_has_a_place_and_a_crowd_gives_it_up() {
        let strangers = Arc::new(Strangers::new(4));
        let honest = enter(&strangers, "10.0.0.1");
        let crowd: Vec<Stranger> = (0..3).map(|_| enter(&strangers, "10.0.0.2")).collect();
        let more: Vec<Stranger> = (0..100).map(|_| enter(&strangers, "10.0.0.2")).collect();
        assert!(has_place(&honest) && !crowd.iter().any(has_place));
        assert_eq!(more.iter().filter(|one| has_place(one)).count(), 3);
        let late = enter(&strangers, "10.0.0.3");
        assert!(has_place(&honest) && has_place(&late));
        assert_eq!(lock(&strangers.places).len(), 4);
        // Where nobody is more than another, the oldest goes.
        drop(more);
        let others = [enter(&strangers, "10.0.0.4"), enter(&strangers, "10.0.0.5")];
        let last = enter(&strangers, "10.0.0.6");
        assert!(!has_place(&honest) && has_place(&late) && others.iter().all(has_place) && has_place(&last));
        drop((honest, late, others, last, crowd));
        assert!(lock(&strangers.places).is_empty());
    }

    #[test]
    fn a_network_of_many_addresses_is_one_crowd() {
        let strangers = Arc::new(Strangers::new(3));
        let honest = enter(&strangers, "2001:db8:1::1");
        let crowd: Vec<Stranger> = (0..50)
            .map(|number| enter(&strangers, &format!("2001:db8:2::{number:x}")))
            .collect();
        assert!(has_place(&honest));
        assert_eq!(crowd.iter().filter(|one| has_place(one)).count(), 2);
    }
}
