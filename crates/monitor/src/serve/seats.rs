//! Who is connected, and who gives way to the next one.
//!
//! A newcomer is never turned away: when all seats are taken, somebody ends for it. That is one of the address with the most
//! connections, so that nobody can fill the seats of others; of these, first one that waits for its peer, to ask or to read,
//! and among them the one that has waited longest. Somebody who asks and reads at once is done long before that.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::{AbortHandle, Id};
use tokio::time::Instant;

/// What a connection is waiting for, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wait {
    /// For its peer: for a request, or for somebody to read the answer.
    Peer(Instant),
    /// For an answer from this server.
    Answer(Instant),
}

/// The part of a connection's seat that the connection keeps up to date.
#[derive(Clone)]
pub(super) struct Seat(Arc<Mutex<Wait>>);

/// Until it is dropped the connection waits for an answer from this server.
pub(super) struct Answering(Seat);

impl Seat {
    pub(super) fn new() -> Self {
        Seat(Arc::new(Mutex::new(Wait::Peer(Instant::now()))))
    }

    pub(super) fn answering(&self) -> Answering {
        self.set(Wait::Answer(Instant::now()));
        Answering(self.clone())
    }

    fn set(&self, wait: Wait) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = wait;
    }

    fn wait(&self) -> Wait {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.set(Wait::Peer(Instant::now()));
    }
}

struct Taken {
    address: IpAddr,
    seat: Seat,
    task: AbortHandle,
}

/// The seats that are taken, by task.
#[derive(Default)]
pub(super) struct Seats {
    taken: HashMap<Id, Taken>,
}

impl Seats {
    /// The connection of `task` has a seat; one that ends is asked to [leave](Self::leave).
    pub(super) fn take(&mut self, address: IpAddr, seat: Seat, task: AbortHandle) {
        self.taken.insert(task.id(), Taken { address, seat, task });
    }

    pub(super) fn leave(&mut self, task: Id) {
        self.taken.remove(&task);
    }

    pub(super) fn len(&self) -> usize {
        self.taken.len()
    }

    /// Ends the connection that has to give way. Nothing happens when nobody is connected.
    pub(super) fn end_one(&mut self) {
        let mut crowds: HashMap<IpAddr, usize> = HashMap::new();
        for taken in self.taken.values() {
            *crowds.entry(taken.address).or_default() += 1;
        }
        let largest = crowds.values().copied().max().unwrap_or(0);
        let crowded = self.taken.values().filter(|taken| crowds[&taken.address] == largest);
        if let Some(oldest) = crowded.min_by_key(|taken| taken.seat.wait()) {
            let task = oldest.task.clone();
            task.abort();
            self.taken.remove(&task.id());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    /// Seats in a runtime whose clock stands; each taken by a task that waits for ever.
    struct Room {
        seats: Seats,
        tasks: Vec<(u8, Seat, tokio::task::JoinHandle<()>)>,
    }

    impl Room {
        async fn enter(&mut self, address: u8) -> Seat {
            tokio::time::advance(Duration::from_millis(1)).await;
            let (seat, task) = (Seat::new(), tokio::spawn(std::future::pending()));
            let from = IpAddr::V4(Ipv4Addr::new(10, 0, 0, address));
            self.seats.take(from, seat.clone(), task.abort_handle());
            self.tasks.push((address, seat.clone(), task));
            seat
        }

        /// Places, in the order of arrival, of those that had to go.
        async fn gone(&mut self) -> Vec<usize> {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            let gone = |(place, (_, _, task)): (usize, &(u8, Seat, tokio::task::JoinHandle<()>))| {
                task.is_finished().then_some(place)
            };
            self.tasks.iter().enumerate().filter_map(gone).collect()
        }
    }

    fn with_room<F: Future<Output = ()>>(act: impl FnOnce(Room) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(act(Room {
            seats: Seats::default(),
            tasks: Vec::new(),
        }));
    }

    #[test]
    fn the_one_that_waits_longest_for_its_peer_gives_way() {
        with_room(|mut room| async move {
            let first = room.enter(1).await;
            let second = room.enter(1).await;
            room.enter(1).await;
            let answering = first.answering();
            tokio::time::advance(Duration::from_secs(1)).await;
            drop(second.answering());
            room.seats.end_one();
            assert_eq!(room.gone().await, [2], "one is being answered, one has asked since");
            room.seats.end_one();
            assert_eq!(room.gone().await, [1, 2]);
            room.seats.end_one();
            assert_eq!(room.gone().await, [0, 1, 2], "who is being answered goes last");
            drop(answering);
            room.seats.end_one();
            assert_eq!(room.seats.len(), 0);
        });
    }

    #[test]
    fn a_crowd_does_not_push_out_others() {
        with_room(|mut room| async move {
            room.enter(1).await;
            for _ in 0..5 {
                room.enter(2).await;
            }
            for _ in 0..4 {
                room.seats.end_one();
            }
            assert_eq!(room.gone().await, [1, 2, 3, 4]);
        });
    }
}
