//! Channels whose limits are to be looked at, and how far the look at the ages of all channels is.

use std::collections::VecDeque;

use crate::ids::ChannelId;
use crate::registry::keys::ChannelKey;
use crate::waiting::mark::Mark;

/// First come first served. A channel is in it once, as its mark says; it may have gone when its turn comes, and its ID tells.
#[derive(Debug, Default)]
pub(crate) struct RetentionQueue {
    channels: VecDeque<(ChannelKey, ChannelId)>,
    /// Where the look at the ages of all channels goes on, after the wall clock was set.
    ages_from: Option<ChannelId>,
}

impl RetentionQueue {
    /// Adds a channel, unless its mark says that it is there.
    pub(crate) fn push(&mut self, key: ChannelKey, id: ChannelId, mark: &mut Mark) {
        if mark.set() {
            self.channels.push_back((key, id));
        }
    }

    /// The channel whose turn it is; whoever takes it clears its mark.
    pub(crate) fn pop(&mut self) -> Option<(ChannelKey, ChannelId)> {
        self.channels.pop_front()
    }

    /// How many channels wait.
    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Whether there is nothing to look at.
    pub(crate) fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.ages_from.is_none()
    }

    /// The ages of all channels are to be looked at, from the first on.
    pub(crate) fn begin_ages(&mut self) {
        self.ages_from = Some(ChannelId(0));
    }

    /// The first channel whose age was not looked at yet has this ID, or a later one.
    pub(crate) fn ages_from(&self) -> Option<ChannelId> {
        self.ages_from
    }

    /// The age of this channel was looked at; `None`: that was the last one.
    pub(crate) fn ages_done(&mut self, up_to: Option<ChannelId>) {
        self.ages_from = up_to.map(|id| ChannelId(id.0 + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_waits_once_and_comes_in_its_turn() {
        let (mut queue, mut marks) = (RetentionQueue::default(), [Mark::default(); 2]);
        for place in [1usize, 0, 1] {
            queue.push(ChannelKey::at(place), ChannelId(place as u64), &mut marks[place]);
        }
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.pop(), Some((ChannelKey::at(1), ChannelId(1))));
        marks[1].clear();
        queue.push(ChannelKey::at(1), ChannelId(1), &mut marks[1]);
        assert_eq!(queue.pop(), Some((ChannelKey::at(0), ChannelId(0))));
        assert_eq!(queue.pop(), Some((ChannelKey::at(1), ChannelId(1))));
        assert!(queue.is_empty());
    }

    #[test]
    fn the_look_at_all_ages_ends() {
        let mut queue = RetentionQueue::default();
        assert_eq!(queue.ages_from(), None);
        queue.begin_ages();
        assert!(!queue.is_empty());
        queue.ages_done(Some(ChannelId(7)));
        assert_eq!(queue.ages_from(), Some(ChannelId(8)));
        queue.ages_done(None);
        assert!(queue.is_empty());
    }
}
