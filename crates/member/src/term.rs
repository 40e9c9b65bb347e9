//! One term in which this member serves, as far as its store goes.

use std::collections::BTreeMap;
use std::time::Instant;

use seaway_journal::Completion as Finished;
use seaway_store::{Completion, journaled};
use seaway_streaming::Ticket;

use crate::jobs::Waker;

pub(crate) struct Term {
    pub(crate) number: u64,
    /// Its store was opened.
    pub(crate) is_open: bool,
    /// What its owner has not polled yet.
    pub(crate) completions: Vec<Completion>,
    pub(crate) waker: Option<Waker>,
    /// Of requests, the owner's tickets by the journal's: those of an earlier term's owner are nobody's.
    tickets: BTreeMap<u64, Ticket>,
    /// The operator was told that the disk is full.
    is_full: bool,
    pub(crate) checkpoint_at: Option<Instant>,
    /// The checkpoint that is being written is this store's.
    pub(crate) writes_checkpoint: bool,
}

impl Term {
    pub(crate) fn new(number: u64) -> Term {
        Term {
            number,
            is_open: false,
            completions: Vec::new(),
            waker: None,
            tickets: BTreeMap::new(),
            is_full: false,
            checkpoint_at: None,
            writes_checkpoint: false,
        }
    }

    /// The journal's ticket for a request.
    pub(crate) fn ask(&mut self, ticket: Ticket, next: &mut u64) -> u64 {
        *next += 1;
        self.tickets.insert(*next, ticket);
        *next
    }

    /// Takes what the journal has finished; whether there is something new for the owner.
    pub(crate) fn take(&mut self, finished: Finished) -> bool {
        match &finished {
            Finished::CheckpointDone(_) if self.writes_checkpoint => {
                self.checkpoint_at = Some(Instant::now());
                self.writes_checkpoint = false;
            }
            // Somebody else's.
            Finished::CheckpointAbandoned(_) if !std::mem::take(&mut self.writes_checkpoint) => return false,
            _ => {}
        }
        let Some(completion) = journaled::completion(finished, &mut self.is_full) else {
            return false;
        };
        let completion = match completion {
            Completion::Read { ticket, messages } => match self.tickets.remove(&ticket.0) {
                Some(ticket) => Completion::Read { ticket, messages },
                None => return false,
            },
            Completion::Sought { ticket, sequence } => match self.tickets.remove(&ticket.0) {
                Some(ticket) => Completion::Sought { ticket, sequence },
                None => return false,
            },
            Completion::Durable(position) => {
                if let Some(Completion::Durable(before)) = self.completions.last_mut() {
                    *before = position.max(*before);
                    return true;
                }
                Completion::Durable(position)
            }
            other => other,
        };
        self.completions.push(completion);
        true
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker();
        }
    }
}
