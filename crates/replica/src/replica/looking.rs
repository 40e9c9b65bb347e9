//! What a message says of logs is looked at before the library sees it, which ends the process where it finds a contradiction. A healthy
//! cluster has none; one whose members lost what they had promised to keep has.

use raft_proto::eraftpb::{Message, MessageType};

use super::{Ports, Replica};
use crate::log::{EntryId, Room};
use crate::outside::Stop;
use crate::planted::{Fault, is_planted};

impl Replica {
    /// A leader of this term or a later one has every committed entry, and knows of no more than there is here.
    pub(super) fn look(&self, message: &Message) -> Result<(), Stop> {
        if message.term < self.raw.raft.term || is_planted(Fault::NoLook) {
            return Ok(());
        }
        match message.msg_type {
            MessageType::MsgAppend => self.look_at_entries(message),
            MessageType::MsgHeartbeat if message.commit > self.raw.raft.raft_log.last_index() => Err(Stop::GoneBack {
                leader: message.from,
                known: message.commit,
                last: self.raw.raft.raft_log.last_index(),
            }),
            _ => Ok(()),
        }
    }

    fn look_at_entries(&self, message: &Message) -> Result<(), Stop> {
        let before = EntryId {
            term: message.log_term,
            index: message.index,
        };
        let entries = message.entries.iter().map(crate::table::id_of);
        let committed = self.raw.raft.raft_log.committed;
        for theirs in std::iter::once(before).chain(entries) {
            if theirs.index > committed {
                break;
            }
            match self.raw.store().term_of(theirs.index) {
                Some(term) if term != theirs.term => {
                    let ours = EntryId { term, ..theirs };
                    return Err(Stop::Conflict {
                        leader: message.from,
                        ours,
                        theirs,
                    });
                }
                // What is covered by the checkpoint alone cannot be compared.
                _ => {}
            }
        }
        Ok(())
    }

    /// What is not believed although nothing is wrong with this member.
    ///
    /// A follower that speaks of entries which its leader does not have: either has lost its data. Nothing may be committed by that; the
    /// follower finds out by itself when it is sent entries. And a word to campaign that does not come from the leader, or for which there is
    /// no room.
    pub(super) fn is_out_of_place(&self, message: &Message, ports: &mut Ports<'_>) -> bool {
        let last = self.raw.raft.raft_log.last_index();
        match message.msg_type {
            MessageType::MsgAppendResponse => {
                (message.index > last || message.reject_hint > last)
                    && message.term <= self.raw.raft.term
                    && !is_planted(Fault::NoLook)
            }
            MessageType::MsgTimeoutNow => {
                message.from != self.raw.raft.leader_id
                    || self.decides_alone()
                    || !ports.log.has_room(Room::Own { bytes: 0 })
            }
            _ => false,
        }
    }
}
