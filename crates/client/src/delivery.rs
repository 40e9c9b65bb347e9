//! One subscription over all connections it lives through: what the server delivers to it, where acknowledgements go, and what
//! it remembers from one connection to the next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use seaway_stan_protocol::{Message as _, messages};

use crate::acks::AckQueue;
use crate::error::{AckError, SubscribeError};
use crate::progress::Progress;
use crate::session::Session;
use crate::wanted::{From, Wanted};

/// One delivery among all that a subscription has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which of the server's subscriptions delivered it.
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    pub(crate) timestamp_ns: i64,
}

/// The server's side of a subscription.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) session: Arc<Session>,
    pub(crate) inbox: String,
    pub(crate) ack_inbox: String,
}

/// Deliveries of one of the server's subscriptions.
#[derive(Debug)]
pub(crate) struct Deliveries {
    pub(crate) epoch: u64,
    pub(crate) messages: async_nats::Subscriber,
}

/// What is to be done about a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// It is for the user, who has had it before if `again`.
    Deliver { again: bool },
    /// The user is done with it, or it comes again by another way.
    Skip,
    /// The channel began anew, and the subscription has to begin anew too.
    Rewind,
}

/// What the parts of a subscription share.
pub(crate) struct Shared {
    pub(crate) number: u64,
    pub(crate) wanted: Wanted,
    pub(crate) channel: Arc<str>,
    pub(crate) waker: AtomicWaker,
    acks: AckQueue,
    state: Mutex<State>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Subscription")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

/// What reaches a subscription from outside.
pub(crate) enum Arrival {
    Nothing,
    /// The server's subscription was made anew.
    Renewed,
    Ended,
}

struct State {
    epoch: u64,
    /// `None` while it is being made.
    service: Option<Service>,
    /// Deliveries of the current epoch, until the user asks for the next message.
    renewed: Option<Deliveries>,
    has_received: bool,
    memory: Memory,
    /// What the server serves although the channel has begun anew.
    outdated: Option<Service>,
    is_ended: bool,
    /// Why it has ended, if something went wrong.
    failure: Option<SubscribeError>,
}

/// What is remembered from one connection to the next.
enum Memory {
    /// The server forgets a plain subscription with the connection: this side knows how far it came.
    Plain {
        log: Progress,
        /// The epoch in which the log began.
        log_began: u64,
        /// Progress in the log before it.
        log_before: Option<Progress>,
        /// The highest sequence received when the epoch began: up to there, deliveries are repeated.
        repeats_until: u64,
    },
    /// The server knows how far a durable or a group came.
    AtServer {
        last: u64,
        /// Acknowledged when the server could not be told, with timestamps: it is told when it delivers them again.
        to_be_told: BTreeMap<u64, i64>,
    },
}

impl Shared {
    pub(crate) fn new(number: u64, wanted: Wanted, acks: AckQueue) -> Self {
        let memory = match wanted.durable_name.is_empty() && wanted.queue_group.is_empty() {
            true => Memory::Plain {
                log: Progress::default(),
                log_began: 0,
                log_before: None,
                repeats_until: 0,
            },
            false => Memory::AtServer {
                last: 0,
                to_be_told: BTreeMap::new(),
            },
        };
        Self {
            number,
            channel: wanted.channel.as_str().into(),
            wanted,
            waker: AtomicWaker::new(),
            acks,
            state: Mutex::new(State {
                epoch: 0,
                service: None,
                renewed: None,
                has_received: false,
                memory,
                outdated: None,
                is_ended: false,
                failure: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the next epoch: what was delivered before counts no more. Its number, and where the server has to begin.
    pub(crate) fn begin(&self) -> (u64, From) {
        let mut state = self.state();
        state.epoch += 1;
        state.service = None;
        state.renewed = None;
        let is_first = state.epoch == 1;
        let from = match &mut state.memory {
            Memory::Plain {
                log,
                log_before,
                repeats_until,
                ..
            } => {
                *repeats_until = log.last();
                match log.is_empty() && log_before.is_none() {
                    true => From::SinceAsked,
                    false => From::Sequence(log.resume_at()),
                }
            }
            // Without a durable name a group lasts as long as its members: where it has gone, this member goes on.
            Memory::AtServer { last, .. } if *last > 0 && self.wanted.durable_name.is_empty() => {
                From::Sequence(last.saturating_add(1))
            }
            Memory::AtServer { .. } => From::SinceAsked,
        };
        (state.epoch, if is_first { From::Asked } else { from })
    }

    /// The server serves this epoch. False when nobody wants it any more.
    pub(crate) fn serve(&self, service: Service, deliveries: Deliveries) -> bool {
        let mut state = self.state();
        if state.is_ended || deliveries.epoch != state.epoch {
            return false;
        }
        state.service = Some(service);
        state.renewed = Some(deliveries);
        drop(state);
        self.waker.wake();
        true
    }

    /// Whether this session serves it.
    pub(crate) fn is_served_by(&self, session: &Arc<Session>) -> bool {
        let state = self.state();
        state
            .service
            .as_ref()
            .is_some_and(|service| Arc::ptr_eq(&service.session, session))
    }

    /// What the server serves in vain because the channel has begun anew.
    pub(crate) fn take_outdated(&self) -> Option<Service> {
        self.state().outdated.take()
    }

    pub(crate) fn arrival(&self) -> Arrival {
        let state = self.state();
        match state.is_ended {
            true => Arrival::Ended,
            false if state.renewed.is_some() => Arrival::Renewed,
            false => Arrival::Nothing,
        }
    }

    pub(crate) fn take_renewed(&self) -> Option<Deliveries> {
        self.state().renewed.take()
    }

    /// A delivery was read.
    pub(crate) fn receive(&self, place: Place) -> Receipt {
        let mut state = self.state();
        // What an earlier connection left unread comes again, unless nothing was read: then nobody knows where it began.
        if place.epoch != state.epoch && state.has_received {
            return Receipt::Skip;
        }
        let receipt = state.memory.receive(place, self.in_flight_max());
        match receipt {
            Receipt::Deliver { .. } => state.has_received = true,
            Receipt::Skip => self.tell(&state, place.sequence),
            Receipt::Rewind => {
                state.epoch += 1;
                let began = state.epoch;
                if let Memory::Plain {
                    log,
                    log_began,
                    log_before,
                    ..
                } = &mut state.memory
                {
                    *log_before = Some(std::mem::take(log));
                    *log_began = began;
                }
                state.outdated = state.service.take();
            }
        }
        receipt
    }

    /// The user is done with a delivery.
    pub(crate) fn ack(&self, place: Place) -> Result<(), AckError> {
        let mut state = self.state();
        if state.is_ended {
            return Err(AckError);
        }
        let is_current = place.epoch == state.epoch && state.service.is_some();
        state.memory.acknowledge(place, is_current, self.in_flight_max());
        if is_current {
            self.tell(&state, place.sequence);
        }
        Ok(())
    }

    fn in_flight_max(&self) -> u64 {
        u64::from(self.wanted.max_in_flight)
    }

    fn tell(&self, state: &State, sequence: u64) {
        let Some(service) = &state.service else { return };
        let ack = messages::Ack {
            subject: Bytes::copy_from_slice(self.channel.as_bytes()),
            sequence,
        };
        self.acks.publish(service.ack_inbox.clone(), ack.encode_to_vec().into());
    }

    /// Ends the stream and refuses acknowledgements; the server's side, if there is one.
    pub(crate) fn end(&self, failure: Option<SubscribeError>) -> Option<Service> {
        let mut state = self.state();
        if !state.is_ended {
            state.is_ended = true;
            state.failure = failure;
        }
        state.renewed = None;
        let service = state.service.take();
        drop(state);
        self.waker.wake();
        service
    }

    pub(crate) fn failure(&self) -> Option<SubscribeError> {
        self.state().failure.clone()
    }
}

impl Memory {
    fn receive(&mut self, place: Place, in_flight_max: u64) -> Receipt {
        let Place {
            sequence, timestamp_ns, ..
        } = place;
        match self {
            Memory::Plain {
                log,
                log_before,
                repeats_until,
                ..
            } => {
                if log.is_of_another_log(sequence, timestamp_ns) {
                    return Receipt::Rewind;
                }
                let before = log_before.as_ref();
                if log.is_done(sequence, timestamp_ns) || before.is_some_and(|log| log.is_done(sequence, timestamp_ns))
                {
                    return Receipt::Skip;
                }
                log.received(sequence, timestamp_ns, in_flight_max);
                Receipt::Deliver {
                    again: sequence <= *repeats_until,
                }
            }
            Memory::AtServer { last, to_be_told } => {
                if to_be_told.get(&sequence) == Some(&timestamp_ns) {
                    to_be_told.remove(&sequence);
                    return Receipt::Skip;
                }
                *last = sequence.max(*last);
                Receipt::Deliver { again: false }
            }
        }
    }

    fn acknowledge(&mut self, place: Place, is_told: bool, in_flight_max: u64) {
        match self {
            Memory::Plain {
                log,
                log_began,
                log_before,
                ..
            } => {
                let log = match log_before {
                    Some(before) if place.epoch < *log_began => before,
                    _ => log,
                };
                log.acknowledged(place.sequence);
            }
            Memory::AtServer { to_be_told, .. } if !is_told => {
                to_be_told.insert(place.sequence, place.timestamp_ns);
                // What is forgotten is delivered again.
                if to_be_told.len() as u64 > in_flight_max {
                    to_be_told.pop_first();
                }
            }
            Memory::AtServer { .. } => {}
        }
    }
}
