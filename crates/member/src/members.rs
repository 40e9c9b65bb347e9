//! Who the members are, as a checkpoint says it: its number, their ids, and whatever came with the last change (names, addresses).
//!
//! ```text
//! 0 version 1   1 counts of voters, learners, outgoing voters (1 each)   4 number (8)   12 ids (8 each)   then what came with the change
//! ```

use bytes::Bytes;
use seaway_replica::{Configuration, NodeId};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 12;

/// Who the members are from some entry on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KnownMembers {
    pub(crate) configuration: Configuration,
    pub(crate) about: Bytes,
}

/// As it stands in the checkpoint with this number. A cluster has at most 32 members, twice that in a joint configuration.
pub(crate) fn encode(members: &KnownMembers, number: u64) -> Vec<u8> {
    let Configuration {
        voters,
        learners,
        outgoing,
    } = &members.configuration;
    let lists = [voters, learners, outgoing];
    let mut bytes = vec![VERSION];
    bytes.extend(lists.map(|list| list.len() as u8));
    bytes.extend(number.to_le_bytes());
    for id in lists.into_iter().flatten() {
        bytes.extend(id.to_le_bytes());
    }
    bytes.extend_from_slice(&members.about);
    bytes
}

/// What a checkpoint says: the members and its number; nothing when another version wrote it.
pub(crate) fn decode(bytes: &[u8]) -> Option<(KnownMembers, u64)> {
    let (head, mut rest) = bytes.split_at_checked(HEAD_BYTES)?;
    if head[0] != VERSION {
        return None;
    }
    let number = u64::from_le_bytes(*head[4..].first_chunk()?);
    let mut ids = |count: u8| -> Option<Vec<NodeId>> {
        let (ids, behind) = rest.split_at_checked(usize::from(count) * 8)?;
        rest = behind;
        Some(
            ids.as_chunks::<8>()
                .0
                .iter()
                .map(|id| u64::from_le_bytes(*id))
                .collect(),
        )
    };
    let configuration = Configuration {
        voters: ids(head[1])?,
        learners: ids(head[2])?,
        outgoing: ids(head[3])?,
    };
    let about = Bytes::copy_from_slice(rest);
    Some((KnownMembers { configuration, about }, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_cut_off_is_told() {
        let members = KnownMembers {
            configuration: Configuration {
                voters: vec![1, 2, 3],
                learners: vec![9],
                outgoing: vec![1, u64::MAX],
            },
            about: Bytes::from_static(b"names"),
        };
        let bytes = encode(&members, 77);
        assert_eq!(decode(&bytes), Some((members, 77)));
        let ids = HEAD_BYTES + 6 * 8;
        assert!((0..ids).all(|length| decode(&bytes[..length]).is_none()));
        let mut other = bytes;
        other[0] = 2;
        assert_eq!(decode(&other), None);
    }
}
