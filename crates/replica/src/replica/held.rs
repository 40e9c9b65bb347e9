//! Work that the log has refused for now: its disk is full. The library must hear of nothing while something that it has ready is not done,
//! so a member that holds work neither ticks nor listens, and one that led leads no more. It is tried again with each input.

use bytes::Bytes;

use super::work::{HeldWork, Work};
use super::{Ports, Replica};
use crate::frame::Body;
use crate::outside::Stop;

impl Replica {
    /// Keeps work until there is room for it, with the bodies of its entries.
    pub(super) fn hold(&mut self, work: Work, bodies: &[(u64, Body<'_>)]) {
        let bodies = bodies
            .iter()
            .map(|(index, body)| (*index, Bytes::copy_from_slice(body.bytes)));
        let bodies = bodies.collect();
        self.held.work = Some(Box::new(HeldWork { work, bodies }));
        self.is_full = true;
    }

    /// Tries again what had no room.
    pub(super) fn resume(&mut self, ports: &mut Ports<'_>) {
        if self.held.owes_cut {
            self.held.owes_cut = false;
            self.cut_unproposed(ports);
        }
        if self.held.owes_cut || self.stop.is_some() {
            return;
        }
        let Some(held) = self.held.work.take() else { return };
        let HeldWork { work, bodies: kept } = *held;
        let bodies: Vec<(u64, Body<'_>)> = kept.iter().map(|(index, bytes)| (*index, Body::kept(bytes))).collect();
        match self.finish(work, &bodies, ports) {
            Ok(None) => {
                self.is_full = false;
                if self.is_leader() {
                    self.step_down();
                }
            }
            Ok(Some(work)) => self.held.work = Some(Box::new(HeldWork { work, bodies: kept })),
            Err(refusal) => self.stop(Stop::Log(refusal), ports),
        }
    }
}
