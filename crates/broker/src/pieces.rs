//! Bytes that wait for a socket, in the pieces in which they came: large ones are not copied into one another, and what has been
//! written is used again.

use std::collections::VecDeque;
use std::io::IoSlice;

use smallvec::SmallVec;

use crate::limits::{
    KEPT_CAPACITY_BYTES, PIECE_BYTES, PIECE_COPIED_BYTES, PIECES_PER_WRITE, SPARE_PIECES, WRITE_BYTES,
};

/// What one system call is offered.
pub(crate) type Offer<'a> = SmallVec<[IoSlice<'a>; PIECES_PER_WRITE]>;

/// See the module.
#[derive(Default)]
pub(crate) struct Pieces {
    /// Taken by itself, so that one batch for an idle socket takes no room in a list.
    first: Vec<u8>,
    /// Bytes of the first one that are written.
    sent: usize,
    rest: VecDeque<Vec<u8>>,
}

impl Pieces {
    /// One piece.
    pub(crate) fn of(batch: Vec<u8>) -> Self {
        Self {
            first: batch,
            ..Self::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.first.len() && self.rest.is_empty()
    }

    /// Puts a batch behind the others. The vector comes back empty, perhaps another one: a spare one if that has to be.
    pub(crate) fn push(&mut self, batch: &mut Vec<u8>, spare: &mut Vec<Vec<u8>>) {
        let is_empty = self.is_empty();
        let last = self.rest.back_mut().unwrap_or(&mut self.first);
        if !is_empty && batch.len() <= PIECE_COPIED_BYTES && last.len() + batch.len() <= PIECE_BYTES {
            last.extend_from_slice(batch);
            batch.clear();
            return;
        }
        let next = spare.pop().unwrap_or_default();
        let batch = std::mem::replace(batch, next);
        if is_empty {
            self.first = batch;
            self.sent = 0;
        } else {
            self.rest.push_back(batch);
        }
    }

    /// What to write next, as much as one system call takes, and how many bytes that are.
    pub(crate) fn offer(&self) -> (Offer<'_>, usize) {
        let mut offer = Offer::new();
        let mut bytes = 0;
        let pieces = std::iter::once(&self.first[self.sent..]).chain(self.rest.iter().map(Vec::as_slice));
        for piece in pieces.take(PIECES_PER_WRITE) {
            let piece = &piece[..piece.len().min(WRITE_BYTES - bytes)];
            bytes += piece.len();
            offer.push(IoSlice::new(piece));
        }
        (offer, bytes)
    }

    /// So many bytes are written. Vectors that are free now go to the spare ones.
    pub(crate) fn advance(&mut self, mut count: usize, spare: &mut Vec<Vec<u8>>) {
        while count > 0 {
            let left = self.first.len() - self.sent;
            if count < left || self.rest.is_empty() {
                self.sent += count.min(left);
                return;
            }
            count -= left;
            let next = self.rest.pop_front().unwrap_or_default();
            keep(std::mem::replace(&mut self.first, next), spare);
            self.sent = 0;
        }
    }

    /// Takes the last piece out; what was written of the first one is still in it. `None` when there is none left.
    pub(crate) fn pop(&mut self) -> Option<Vec<u8>> {
        self.sent = 0;
        let last = self.rest.pop_back().unwrap_or_else(|| std::mem::take(&mut self.first));
        (last.capacity() > 0).then_some(last)
    }

    /// The vector of the last piece that was written, empty.
    pub(crate) fn take_written(&mut self) -> Vec<u8> {
        self.sent = 0;
        let mut written = std::mem::take(&mut self.first);
        written.clear();
        written
    }
}

/// Keeps a vector for the next batch, unless it is large or there are enough.
fn keep(mut vector: Vec<u8>, spare: &mut Vec<Vec<u8>>) {
    if spare.len() < SPARE_PIECES && vector.capacity() <= KEPT_CAPACITY_BYTES {
        vector.clear();
        spare.push(vector);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: &mut Pieces, step: usize, spare: &mut Vec<Vec<u8>>) -> Vec<u8> {
        let mut all = Vec::new();
        while !pieces.is_empty() {
            let (offer, bytes) = pieces.offer();
            assert!(bytes > 0 && bytes <= WRITE_BYTES);
            assert_eq!(offer.iter().map(|slice| slice.len()).sum::<usize>(), bytes);
            let count = bytes.min(step);
            let joined = offer.iter().flat_map(|slice| slice.iter().copied());
            all.extend(joined.take(count));
            drop(offer);
            pieces.advance(count, spare);
        }
        all
    }

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came() {
        let sizes = [10, 100_000, 5, 3, 70_000, 40_000, 1, 300_000, 20];
        for step in [1_000, 65_536, WRITE_BYTES] {
            let (mut pieces, mut spare, mut expected) = (Pieces::default(), Vec::new(), Vec::new());
            for (number, size) in (0_u8..).zip(sizes.repeat(6)) {
                let mut batch = vec![number; size];
                expected.extend_from_slice(&batch);
                pieces.push(&mut batch, &mut spare);
                assert!(batch.is_empty());
            }
            assert_eq!(written(&mut pieces, step, &mut spare), expected);
            assert!(pieces.take_written().is_empty() && pieces.is_empty());
        }
    }

    #[test]
    fn what_is_large_is_not_copied_and_what_is_small_shares_a_piece() {
        let (mut pieces, mut spare) = (Pieces::default(), Vec::new());
        let mut large = vec![1; 64 * 1024];
        let place = large.as_ptr();
        pieces.push(&mut large, &mut spare);
        let mut small = vec![2; 100];
        for _ in 0..500 {
            pieces.push(&mut small, &mut spare);
            small.resize(100, 2);
        }
        let (offer, _) = pieces.offer();
        assert_eq!(offer[0].as_ptr(), place);
        assert_eq!(offer.len(), 2, "the small ones lie together");
        drop(offer);
        // The next batch uses what was written.
        pieces.advance(64 * 1024, &mut spare);
        let mut next = vec![3; 64 * 1024];
        pieces.push(&mut next, &mut spare);
        assert_eq!(next.as_ptr(), place);
    }
}
