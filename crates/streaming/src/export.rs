//! Words in which an engine tells all that it knows to whoever writes it down for another server: the reverse of [`import`](crate::import).
//!
//! They are told by an engine that has started and handled nothing yet ([`Engine::exported_clients`](crate::Engine::exported_clients) and its
//! neighbours): what a start settles is settled then, and nothing is under way.

use crate::ids::ChannelId;
use crate::portable::PortableSubscription;

/// A channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportedChannel<'a> {
    /// Its number in the store.
    pub id: ChannelId,
    /// Its name.
    pub name: &'a [u8],
    /// First live sequence; `last + 1` when nothing is left, 0 when there never was a message.
    pub first: u64,
    /// Last sequence; 0 when there never was a message.
    pub last: u64,
    /// Live messages.
    pub messages: u64,
    /// Bytes of their encodings.
    pub bytes: u64,
    /// Nanoseconds since 1970: the latest of all times, also when its message has gone.
    pub last_timestamp: i64,
    /// First and last of each range of messages that are lost for good.
    pub lost: &'a [(u64, u64)],
}

/// A subscription, and what it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedSubscription<'a> {
    /// How it stands.
    pub subscription: PortableSubscription<'a>,
    /// First and last of each range of what was sent and not acknowledged, ascending. What a member of its group held that has left is
    /// among it.
    pub pending: Vec<(u64, u64)>,
}

/// Adds ranges to others; what comes out ascends, and no two touch.
pub(crate) fn merge(ranges: &mut Vec<(u64, u64)>, more: impl Iterator<Item = (u64, u64)>) {
    let is_first = ranges.is_empty();
    ranges.extend(more);
    if is_first {
        return;
    }
    ranges.sort_unstable();
    ranges.dedup_by(|next, previous| {
        let touches = next.0 <= previous.1.saturating_add(1);
        if touches {
            previous.1 = previous.1.max(next.1);
        }
        touches
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_ascend_and_do_not_touch() {
        let mut ranges = Vec::new();
        merge(&mut ranges, [(1, 3), (7, 9)].into_iter());
        merge(&mut ranges, [(4, 5), (12, 12), (8, 10)].into_iter());
        assert_eq!(ranges, [(1, 5), (7, 10), (12, 12)]);
        merge(&mut ranges, std::iter::empty());
        assert_eq!(ranges, [(1, 5), (7, 10), (12, 12)]);
    }
}
