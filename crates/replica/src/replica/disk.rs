//! The own disk: one that hangs must not keep the leadership, since heartbeats would go on and nothing would ever be committed; nor
//! must it gain it.

use super::{Ports, Replica};
use crate::frame::Health;
use crate::limits;
use crate::log::Room;

impl Replica {
    /// Ticks for which the oldest write has been waited for.
    pub(super) fn disk_waits(&self) -> u64 {
        self.outstanding.oldest().map_or(0, |since| self.ticks - since)
    }

    pub(super) fn disk_hangs(&self) -> bool {
        self.disk_waits() >= limits::HANGING_DISK_TICKS
    }

    /// A leader whose disk hangs gives its leadership to somebody whose disk does not; who finds nobody stops leading all the same. One whose
    /// disk has no room even for what a leader writes itself gives it to somebody who has room; who finds nobody goes on, for what can be
    /// done without.
    pub(super) fn watch_own_disk(&mut self, ports: &mut Ports<'_>) {
        if !self.is_leader() {
            return;
        }
        let waits = self.disk_waits();
        if waits >= limits::STEP_DOWN_TICKS {
            self.step_down();
        } else if waits == limits::HANGING_DISK_TICKS || self.has_long_lacked_room(ports) {
            self.hand_over(None, ports);
        }
    }

    /// Whether it is time to look for somebody with room, once more.
    fn has_long_lacked_room(&mut self, ports: &mut Ports<'_>) -> bool {
        if ports.log.has_room(Room::Own { bytes: 0 }) {
            self.lacks_room_since = None;
            return false;
        }
        let since = *self.lacks_room_since.get_or_insert(self.ticks);
        let is_long = self.ticks - since >= limits::HANGING_DISK_TICKS && self.heir().is_some();
        if is_long {
            self.lacks_room_since = Some(self.ticks);
        }
        is_long
    }

    /// What others should know of it.
    pub(super) fn health(&self, ports: &mut Ports<'_>) -> Health {
        Health {
            is_full: self.is_full,
            is_low: self.is_full || !ports.log.has_room(Room::Ordinary),
            is_hanging: self.disk_hangs(),
            synced: self.raw.store().index_at(ports.log.synced()),
        }
    }
}
