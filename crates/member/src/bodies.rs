//! Frames that wait for the bodies of their entries to be read from the journal, one queue for each member, and the bodies that were
//! read last.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use seaway_replica::{BodyAt, EntryId, NodeId, Outgoing};

use crate::limits::{BODIES_ASKED_MAX, BODIES_KEPT_BYTES, WAITING_BYTES_MAX, WAITING_FRAMES_MAX};

/// The body of an entry in a frame.
enum Slot {
    Wanted(EntryId),
    Asked(EntryId),
    Here(Bytes),
}

struct Waiting {
    message: Outgoing,
    slots: Vec<Slot>,
    bytes: u64,
}

impl Waiting {
    fn is_whole(&self) -> bool {
        self.slots.iter().all(|slot| matches!(slot, Slot::Here(_)))
    }
}

/// What waits for one member.
#[derive(Default)]
struct Outbox {
    frames: VecDeque<Waiting>,
    bytes: u64,
    asked: usize,
    /// A frame that was taken could not be sent: whoever sends next is told.
    has_failed: bool,
}

impl Outbox {
    fn fail(&mut self) {
        *self = Outbox {
            has_failed: true,
            ..Outbox::default()
        };
    }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Outboxes {
    boxes: BTreeMap<NodeId, Outbox>,
    kept: VecDeque<(EntryId, Bytes)>,
    kept_bytes: usize,
    /// Who waits for an answer to a ticket.
    tickets: BTreeMap<u64, EntryId>,
    next_ticket: u64,
}

impl Outboxes {
    /// Takes a frame, to be sent behind those before it.
    pub(crate) fn push(&mut self, to: NodeId, message: Outgoing) -> bool {
        let slots = message.bodies().map(|body| match body {
            BodyAt::Here(bytes) => Slot::Here(Bytes::copy_from_slice(bytes)),
            BodyAt::Journal(id, _) => Slot::Wanted(id),
        });
        let slots: Vec<Slot> = slots.collect();
        let bytes: u64 = message
            .bodies()
            .map(|body| match body {
                BodyAt::Here(bytes) => bytes.len() as u64,
                BodyAt::Journal(_, length) => u64::from(length),
            })
            .sum();
        let outbox = self.boxes.entry(to).or_default();
        // One of any size goes alone.
        let is_full = !outbox.frames.is_empty()
            && (outbox.bytes + bytes > WAITING_BYTES_MAX || outbox.frames.len() >= WAITING_FRAMES_MAX);
        if is_full || std::mem::take(&mut outbox.has_failed) {
            return false;
        }
        outbox.bytes += bytes;
        outbox.frames.push_back(Waiting { message, slots, bytes });
        true
    }

    /// Nothing is sent to a member any more of what waits.
    pub(crate) fn forget(&mut self, to: NodeId) {
        self.boxes.remove(&to);
    }

    /// The connection to a member did not take a frame.
    pub(crate) fn fail(&mut self, to: NodeId) {
        if let Some(outbox) = self.boxes.get_mut(&to) {
            outbox.fail();
        }
    }

    /// Everything that waits is given up: nobody leads here any more, and what was said would count for nothing.
    pub(crate) fn clear(&mut self) {
        self.boxes.clear();
        self.kept.clear();
        self.kept_bytes = 0;
    }

    /// Which entries have to be read now, with tickets for the answers.
    pub(crate) fn ask(&mut self) -> Vec<(u64, EntryId)> {
        let mut asks = Vec::new();
        for outbox in self.boxes.values_mut() {
            let slots = outbox.frames.iter_mut().flat_map(|frame| &mut frame.slots);
            for slot in slots {
                let Slot::Wanted(id) = *slot else { continue };
                if let Some((_, bytes)) = self.kept.iter().find(|(kept, _)| *kept == id) {
                    *slot = Slot::Here(bytes.clone());
                    continue;
                }
                if outbox.asked >= BODIES_ASKED_MAX {
                    break;
                }
                *slot = Slot::Asked(id);
                outbox.asked += 1;
                // Others that need it are answered with it.
                if self.tickets.values().all(|asked| *asked != id) {
                    self.next_ticket += 1;
                    self.tickets.insert(self.next_ticket, id);
                    asks.push((self.next_ticket, id));
                }
            }
        }
        asks
    }

    /// An entry was read, or cannot be, and then frames that need it are given up with all behind them.
    pub(crate) fn answer(&mut self, ticket: u64, body: Option<(EntryId, Vec<u8>)>) {
        let Some(id) = self.tickets.remove(&ticket) else { return };
        let body = body
            .filter(|(found, _)| *found == id)
            .map(|(_, body)| Bytes::from(body));
        for outbox in self.boxes.values_mut() {
            let mut is_needed = false;
            for slot in outbox.frames.iter_mut().flat_map(|frame| &mut frame.slots) {
                if !matches!(slot, Slot::Asked(asked) if *asked == id) {
                    continue;
                }
                is_needed = true;
                if let Some(bytes) = &body {
                    outbox.asked -= 1;
                    *slot = Slot::Here(bytes.clone());
                }
            }
            if is_needed && body.is_none() {
                outbox.fail();
            }
        }
        if let Some(bytes) = body {
            self.keep(id, bytes);
        }
    }

    fn keep(&mut self, id: EntryId, bytes: Bytes) {
        self.kept_bytes += bytes.len();
        self.kept.push_back((id, bytes));
        while self.kept_bytes > BODIES_KEPT_BYTES && self.kept.len() > 1 {
            let (_, oldest) = self.kept.pop_front().expect("there are several");
            self.kept_bytes -= oldest.len();
        }
    }

    /// The next frame that has all its bodies, in its member's order.
    pub(crate) fn take_whole(&mut self) -> Option<(NodeId, Outgoing, Vec<Bytes>)> {
        for (to, outbox) in &mut self.boxes {
            if !outbox.frames.front().is_some_and(Waiting::is_whole) {
                continue;
            }
            let frame = outbox.frames.pop_front()?;
            outbox.bytes -= frame.bytes;
            let bodies = frame.slots.into_iter().filter_map(|slot| match slot {
                Slot::Here(bytes) => Some(bytes),
                Slot::Wanted(_) | Slot::Asked(_) => None,
            });
            return Some((*to, frame.message, bodies.collect()));
        }
        None
    }
}
