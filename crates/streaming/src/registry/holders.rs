//! Who holds which message of a group: the ack of a message may come from any member (`streaming-protocol.md` §5.6).
//!
//! Blocks of neighbouring sequences. While the newest are dense a block is found by subtraction, when they are sparse by binary
//! search; either way it costs the same however many members there are. Nothing is allocated for a message.

use std::collections::VecDeque;

use super::keys::SubscriptionKey;

/// Sequences of one block.
const BLOCK: u64 = 16;

/// Empty blocks between others are tolerated up to this number before they are swept out.
const EMPTY_MAX: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Block {
    /// Sequence divided by the size of a block.
    index: u64,
    /// One bit for each sequence that somebody holds.
    held: u16,
    holders: [u32; BLOCK as usize],
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    /// Ascending by index; the first and the last are never empty.
    blocks: VecDeque<Block>,
    empty: usize,
}

/// Which block a sequence is in, and where in it.
fn split(sequence: u64) -> (u64, usize) {
    (sequence / BLOCK, (sequence % BLOCK) as usize)
}

impl Holders {
    /// Where the block is, or where it would be.
    #[inline]
    fn find(&self, index: u64) -> Result<usize, usize> {
        let Some(back) = self.blocks.back() else { return Err(0) };
        if index > back.index {
            return Err(self.blocks.len());
        }
        // Without gaps behind it the distance from the back is the place.
        let last = self.blocks.len() as u64 - 1;
        if let Some(at) = last.checked_sub(back.index - index)
            && self.blocks[at as usize].index == index
        {
            return Ok(at as usize);
        }
        self.blocks.binary_search_by_key(&index, |block| block.index)
    }

    /// Who holds a message.
    #[inline]
    pub(crate) fn get(&self, sequence: u64) -> Option<SubscriptionKey> {
        let (index, at) = split(sequence);
        let block = &self.blocks[self.find(index).ok()?];
        (block.held & (1 << at) != 0).then(|| SubscriptionKey(block.holders[at] as usize))
    }

    /// A message is held by `key` from now on, and by nobody else.
    #[inline]
    pub(crate) fn set(&mut self, sequence: u64, key: SubscriptionKey) {
        let (index, at) = split(sequence);
        let place = self.find(index).unwrap_or_else(|place| {
            let block = Block {
                index,
                held: 0,
                holders: [0; BLOCK as usize],
            };
            self.blocks.insert(place, block);
            self.empty += 1;
            place
        });
        let block = &mut self.blocks[place];
        self.empty -= usize::from(block.held == 0);
        block.held |= 1 << at;
        block.holders[at] = u32::try_from(key.0).expect("memory ends before 2^32 subscriptions");
    }

    /// `key` holds a message no longer, if it did.
    #[inline]
    pub(crate) fn clear(&mut self, sequence: u64, key: SubscriptionKey) {
        if self.get(sequence) != Some(key) {
            return;
        }
        let (index, at) = split(sequence);
        if let Ok(place) = self.find(index) {
            let block = &mut self.blocks[place];
            block.held &= !(1 << at);
            if block.held == 0 {
                self.empty += 1;
                self.drop_empty();
            }
        }
    }

    /// The first message that somebody holds, and who does.
    pub(crate) fn first(&self) -> Option<(u64, SubscriptionKey)> {
        let block = self.blocks.front()?;
        let at = block.held.trailing_zeros() as usize;
        Some((
            block.index * BLOCK + at as u64,
            SubscriptionKey(block.holders[at] as usize),
        ))
    }

    /// How many messages are held.
    pub(crate) fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.held.count_ones() as usize).sum()
    }

    fn drop_empty(&mut self) {
        while self.blocks.front().is_some_and(|block| block.held == 0) {
            self.blocks.pop_front();
            self.empty -= 1;
        }
        while self.blocks.back().is_some_and(|block| block.held == 0) {
            self.blocks.pop_back();
            self.empty -= 1;
        }
        if self.empty > EMPTY_MAX && self.empty > self.blocks.len() / 2 {
            self.blocks.retain(|block| block.held != 0);
            self.empty = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(
            steps in proptest::collection::vec((prop_oneof![1u64..100, 1u64..100_000], 0usize..3, any::<bool>()), 0..300)
        ) {
            let (mut holders, mut model) = (Holders::default(), BTreeMap::new());
            for (sequence, key, holds) in steps {
                let key = SubscriptionKey(key);
                if holds {
                    holders.set(sequence, key);
                    model.insert(sequence, key);
                } else {
                    holders.clear(sequence, key);
                    if model.get(&sequence) == Some(&key) {
                        model.remove(&sequence);
                    }
                }
                prop_assert_eq!(holders.get(sequence), model.get(&sequence).copied());
                prop_assert_eq!(holders.empty, holders.blocks.iter().filter(|block| block.held == 0).count());
            }
            for (sequence, key) in &model {
                prop_assert_eq!(holders.get(*sequence), Some(*key));
            }
            prop_assert_eq!(holders.first(), model.first_key_value().map(|(sequence, key)| (*sequence, *key)));
            prop_assert_eq!(holders.len(), model.len());
        }
    }

    #[test]
    fn a_slow_message_keeps_one_block_and_not_what_came_after() {
        let mut holders = Holders::default();
        for sequence in 1..=100_000 {
            holders.set(sequence, SubscriptionKey(7));
            if sequence > 1 {
                holders.clear(sequence, SubscriptionKey(7));
            }
        }
        assert_eq!(holders.get(1), Some(SubscriptionKey(7)));
        assert!(holders.blocks.len() <= 2, "{} blocks", holders.blocks.len());
    }
}
