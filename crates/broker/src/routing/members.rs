//! Subscriptions with the same subject and queue group, in a list that a search can go through in pieces while it changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::subscription::Subscription;
use crate::limits::SUBSCRIPTIONS_PER_PIECE;

/// A part of a long list. Whoever holds it sees it as it was: a change then takes a copy.
pub(super) type Piece<H> = Arc<Vec<Arc<Subscription<H>>>>;

/// A subscription knows its place, so that it leaves in a step; the last one takes it.
pub(super) enum Members<H> {
    /// Most subjects have one (every inbox is one), which lies here itself.
    Few(SmallVec<[Arc<Subscription<H>>; 1]>),
    /// All pieces but the last are full.
    Many(Vec<Piece<H>>),
}

impl<H> Default for Members<H> {
    fn default() -> Self {
        Members::Few(SmallVec::new())
    }
}

impl<H> Members<H> {
    pub(super) fn len(&self) -> usize {
        match self {
            Members::Few(few) => few.len(),
            Members::Many(pieces) => {
                let last = pieces.last().map_or(0, |piece| piece.len());
                pieces.len().saturating_sub(1) * SUBSCRIPTIONS_PER_PIECE + last
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn first(&self) -> Option<&Arc<Subscription<H>>> {
        self.get(0)
    }

    fn get(&self, index: usize) -> Option<&Arc<Subscription<H>>> {
        match self {
            Members::Few(few) => few.get(index),
            Members::Many(pieces) => pieces
                .get(index / SUBSCRIPTIONS_PER_PIECE)?
                .get(index % SUBSCRIPTIONS_PER_PIECE),
        }
    }

    pub(super) fn push(&mut self, subscription: &Arc<Subscription<H>>) {
        let place = u32::try_from(self.len()).expect("memory ends before 2^32 subscriptions to one subject");
        subscription.position.store(place, Ordering::Relaxed);
        let subscription = Arc::clone(subscription);
        if let Members::Few(few) = self {
            if few.len() < SUBSCRIPTIONS_PER_PIECE {
                return few.push(subscription);
            }
            *self = Members::Many(vec![Arc::new(few.drain(..).collect())]);
        }
        if let Members::Many(pieces) = self {
            match pieces.last_mut().filter(|piece| piece.len() < SUBSCRIPTIONS_PER_PIECE) {
                Some(piece) => Arc::make_mut(piece).push(subscription),
                None => pieces.push(Arc::new(vec![subscription])),
            }
        }
    }

    /// Takes a subscription out, if it is here.
    pub(super) fn take(&mut self, subscription: &Arc<Subscription<H>>) {
        let index = subscription.position.load(Ordering::Relaxed) as usize;
        if !self.get(index).is_some_and(|member| Arc::ptr_eq(member, subscription)) {
            return;
        }
        match self {
            Members::Few(few) => {
                few.swap_remove(index);
                if few.capacity() > 64 && few.len() * 4 < few.capacity() {
                    few.shrink_to_fit();
                }
            }
            Members::Many(pieces) => swap_remove(pieces, index),
        }
        if let Some(moved) = self.get(index) {
            moved.position.store(index as u32, Ordering::Relaxed);
        }
        if let Members::Many(pieces) = self
            && let [piece] = &pieces[..]
            && piece.len() <= SUBSCRIPTIONS_PER_PIECE / 2
        {
            *self = Members::Few(piece.iter().map(Arc::clone).collect());
        }
    }
}

fn swap_remove<H>(pieces: &mut Vec<Piece<H>>, index: usize) {
    let Some(last) = pieces.last_mut().and_then(|piece| Arc::make_mut(piece).pop()) else {
        return;
    };
    if pieces.last().is_some_and(|piece| piece.is_empty()) {
        pieces.pop();
    }
    // Nothing is there any more when the last one is the one that goes.
    let piece = pieces.get_mut(index / SUBSCRIPTIONS_PER_PIECE).map(Arc::make_mut);
    if let Some(place) = piece.and_then(|piece| piece.get_mut(index % SUBSCRIPTIONS_PER_PIECE)) {
        *place = last;
    }
}
