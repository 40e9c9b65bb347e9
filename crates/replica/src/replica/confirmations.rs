//! Confirmations of leadership: an answer that appends nothing, and so waits for no entry, waits for one of these, or a deposed leader
//! could still give it. One round of heartbeats serves all who asked before it began.

use super::{Ports, Replica};
use crate::limits;
use crate::log::Log;
use crate::outside::{Confirmation, Outside, Role};

/// Why nobody is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotConfirmed {
    /// Only a leader that serves has something to confirm.
    #[error("this member does not serve")]
    NotServing,
    /// Too many wait already.
    #[error("{} answers wait for a confirmation already", limits::CONFIRMATIONS_MAX)]
    Full,
}

impl Replica {
    /// Asks for a confirmation that this member leads at this moment; `Outside::confirmed` gives it, later or within this call.
    ///
    /// # Errors
    ///
    /// It does not serve, or `limits::CONFIRMATIONS_MAX` are waited for.
    pub fn confirm(&mut self, ticket: u64, log: &mut dyn Log, outside: &mut dyn Outside) -> Result<(), NotConfirmed> {
        if self.stop.is_some() || !matches!(self.role, Role::Serving { .. }) {
            return Err(NotConfirmed::NotServing);
        }
        if self.confirmations.asked.len() + self.confirmations.waiting.len() >= limits::CONFIRMATIONS_MAX {
            return Err(NotConfirmed::Full);
        }
        self.confirmations.waiting.push(ticket);
        self.ask_if_nobody_does();
        self.pump(&[], &mut Ports { log, outside });
        Ok(())
    }

    fn ask_if_nobody_does(&mut self) {
        if self.confirmations.asked.is_empty() && !self.confirmations.waiting.is_empty() {
            self.confirmations.round += 1;
            self.confirmations.asked = std::mem::take(&mut self.confirmations.waiting);
            self.raw.read_index(self.confirmations.round.to_le_bytes().to_vec());
        }
    }

    /// A round has come back.
    pub(super) fn on_confirmed(&mut self, round: &[u8], ports: &mut Ports<'_>) {
        if round != self.confirmations.round.to_le_bytes() {
            return;
        }
        for ticket in std::mem::take(&mut self.confirmations.asked) {
            ports.outside.confirmed(ticket, Confirmation::Led);
        }
        self.ask_if_nobody_does();
    }
}
