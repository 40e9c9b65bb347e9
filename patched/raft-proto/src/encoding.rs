//! How a change of members is written as the body of an entry, and what an entry weighs.
//!
//! A change: transition (1 byte), number of members (1), for each what happens (1) and its id (8, little endian), then the context to
//! the end. The change that ends a joint configuration is no bytes at all when it has no context.

use bytes::Bytes;
use protobuf::{Message, ProtobufError};

use crate::choices::{ConfChangeTransition, ConfChangeType, EntryType};
use crate::records::{ConfChange, ConfChangeSingle, ConfChangeV2, ENTRY_OVERHEAD_BYTES, Entry, HANDLE_BYTES};

/// Most members that one change is about.
pub const CHANGES_MAX: usize = 32;

/// Longest context of a change.
pub const CHANGE_CONTEXT_BYTES_MAX: usize = 64 << 10;

/// Bytes before the members, and bytes of each.
const HEAD_BYTES: usize = 2;
const SINGLE_BYTES: usize = 9;

impl Message for Entry {
    /// What the entry stands for: a handle weighs what the batch weighs that it names, so that limits are about real bytes.
    fn compute_size(&self) -> u32 {
        let bytes = match (self.entry_type, self.data.get(16..20)) {
            (EntryType::EntryNormal, Some(length)) if self.data.len() == HANDLE_BYTES => {
                u32::from_le_bytes([length[0], length[1], length[2], length[3]])
            }
            _ => u32::try_from(self.data.len()).unwrap_or(u32::MAX),
        };
        bytes.saturating_add(ENTRY_OVERHEAD_BYTES)
    }

    fn write_to_bytes(&self) -> Result<Vec<u8>, ProtobufError> {
        Err(ProtobufError("an entry travels in a frame, not by itself"))
    }

    fn merge_from_bytes(&mut self, _bytes: &[u8]) -> Result<(), ProtobufError> {
        Err(ProtobufError("an entry travels in a frame, not by itself"))
    }
}

impl Message for ConfChange {
    fn compute_size(&self) -> u32 {
        0
    }

    fn write_to_bytes(&self) -> Result<Vec<u8>, ProtobufError> {
        Err(ProtobufError("a change is written in the newer form"))
    }

    fn merge_from_bytes(&mut self, _bytes: &[u8]) -> Result<(), ProtobufError> {
        Err(ProtobufError("a change is written in the newer form"))
    }
}

impl Message for ConfChangeV2 {
    fn compute_size(&self) -> u32 {
        let bytes = HEAD_BYTES + SINGLE_BYTES * self.changes.len() + self.context.len();
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    fn write_to_bytes(&self) -> Result<Vec<u8>, ProtobufError> {
        if *self == Self::default() {
            return Ok(Vec::new());
        }
        if self.changes.len() > CHANGES_MAX || self.context.len() > CHANGE_CONTEXT_BYTES_MAX {
            return Err(ProtobufError(
                "a change of too many members, or with too much about them",
            ));
        }
        let mut bytes = Vec::with_capacity(self.compute_size() as usize);
        bytes.extend([self.transition as u8, self.changes.len() as u8]);
        for change in &self.changes {
            bytes.push(change.change_type as u8);
            bytes.extend(change.node_id.to_le_bytes());
        }
        bytes.extend_from_slice(&self.context);
        Ok(bytes)
    }

    fn merge_from_bytes(&mut self, bytes: &[u8]) -> Result<(), ProtobufError> {
        *self = Self::default();
        let Some((&[transition, count], mut rest)) = bytes.split_first_chunk() else {
            return if bytes.is_empty() {
                Ok(())
            } else {
                Err(ProtobufError("a change that ends early"))
            };
        };
        self.transition = ConfChangeTransition::from_number(transition).ok_or(ProtobufError(
            "a change with an unknown way through a joint configuration",
        ))?;
        if usize::from(count) > CHANGES_MAX {
            return Err(ProtobufError("a change of too many members"));
        }
        for _ in 0..count {
            let (&[kind, id @ ..], after) = rest
                .split_first_chunk::<SINGLE_BYTES>()
                .ok_or(ProtobufError("a change that ends early"))?;
            let change_type =
                ConfChangeType::from_number(kind).ok_or(ProtobufError("an unknown change of a member"))?;
            self.changes.push(ConfChangeSingle {
                change_type,
                node_id: u64::from_le_bytes(id),
            });
            rest = after;
        }
        if rest.len() > CHANGE_CONTEXT_BYTES_MAX {
            return Err(ProtobufError("a change with too much about its members"));
        }
        self.context = Bytes::copy_from_slice(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swap() -> ConfChangeV2 {
        let single = |change_type, node_id| ConfChangeSingle { change_type, node_id };
        ConfChangeV2 {
            transition: ConfChangeTransition::Explicit,
            changes: vec![
                single(ConfChangeType::RemoveNode, 3),
                single(ConfChangeType::AddNode, u64::MAX),
            ],
            context: Bytes::from_static(b"n3"),
        }
    }

    #[test]
    fn a_change_comes_back_as_it_was() {
        for change in [swap(), ConfChangeV2::default()] {
            let bytes = change.write_to_bytes().expect("it is short enough");
            let mut back = swap();
            back.merge_from_bytes(&bytes).expect("it was written here");
            assert_eq!(back, change);
        }
        assert!(ConfChangeV2::default().write_to_bytes().expect("nothing").is_empty());
    }

    #[test]
    fn whatever_is_cut_off_or_unknown_is_refused() {
        let bytes = swap().write_to_bytes().expect("it is short enough");
        for end in 1..bytes.len() - 2 {
            assert!(
                ConfChangeV2::default().merge_from_bytes(&bytes[..end]).is_err(),
                "{end}"
            );
        }
        for at in [0, 1, 2, 11] {
            let mut wrong = bytes.clone();
            wrong[at] = 77;
            assert!(ConfChangeV2::default().merge_from_bytes(&wrong).is_err(), "{at}");
        }
    }

    #[test]
    fn a_handle_weighs_what_its_batch_weighs() {
        let mut handle = vec![0; HANDLE_BYTES];
        handle[16..20].copy_from_slice(&70_000_u32.to_le_bytes());
        let mut entry = Entry {
            data: handle.into(),
            ..Entry::default()
        };
        assert_eq!(entry.compute_size(), 70_000 + ENTRY_OVERHEAD_BYTES);
        entry.entry_type = EntryType::EntryConfChangeV2;
        assert_eq!(entry.compute_size(), 24 + ENTRY_OVERHEAD_BYTES);
        entry.data = Bytes::new();
        assert_eq!(entry.compute_size(), ENTRY_OVERHEAD_BYTES);
    }
}
