//! Channels that got new durable messages in the call that is under way.

use crate::registry::keys::ChannelKey;
use crate::waiting::mark::Mark;

/// Each of them once: there are never more than channels. The room for them is used again by the next call.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    channels: Vec<ChannelKey>,
}

impl Touched {
    /// Adds a channel, unless its mark says that it is there.
    #[inline]
    pub(crate) fn add(&mut self, key: ChannelKey, mark: &mut Mark) {
        if mark.set() {
            self.channels.push(key);
        }
    }

    /// All of them, in the order of their coming; whoever takes them clears their marks, and gives the list back.
    pub(crate) fn take(&mut self) -> Vec<ChannelKey> {
        std::mem::take(&mut self.channels)
    }

    /// Takes the list back for the next call.
    pub(crate) fn give_back(&mut self, mut channels: Vec<ChannelKey>) {
        channels.clear();
        self.channels = channels;
    }
}
