//! The newest messages that a store was given, to look up: the journal's own memory lies behind the lock that its member is shared by.

use std::collections::{HashMap, VecDeque};

use seaway_streaming::ChannelId;

use crate::limits::CACHE_PIECE_BYTES;

/// Where a message lies.
#[derive(Clone, Copy)]
struct Place {
    piece: u64,
    from: usize,
    to: usize,
}

/// Messages of a channel that lie in the cache: an unbroken run.
#[derive(Default)]
struct Run {
    first: u64,
    places: VecDeque<Place>,
}

#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    /// Whose messages lie in it, in order.
    channels: Vec<ChannelId>,
}

/// The newest messages, up to some bytes.
pub(crate) struct Cache {
    bytes_max: usize,
    bytes: usize,
    pieces: VecDeque<Piece>,
    /// Number of the oldest piece.
    oldest: u64,
    runs: HashMap<ChannelId, Run>,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Cache {
        Cache {
            bytes_max,
            bytes: 0,
            pieces: VecDeque::new(),
            oldest: 0,
            runs: HashMap::new(),
        }
    }

    pub(crate) fn push(&mut self, channel: ChannelId, sequence: u64, body: &[&[u8]]) {
        let length: usize = body.iter().map(|part| part.len()).sum();
        if length > self.bytes_max / 2 {
            // What it would take the place of is worth more. The run is broken.
            self.runs.remove(&channel);
            return;
        }
        let has_room = self
            .pieces
            .back()
            .is_some_and(|piece| piece.bytes.len() + length <= piece.bytes.capacity());
        if !has_room {
            let bytes = Vec::with_capacity(length.max(CACHE_PIECE_BYTES.min(self.bytes_max / 8)));
            self.bytes += bytes.capacity();
            let channels = Vec::new();
            self.pieces.push_back(Piece { bytes, channels });
        }
        let number = self.oldest + self.pieces.len() as u64 - 1;
        let piece = self.pieces.back_mut().expect("there is room in it");
        let from = piece.bytes.len();
        for part in body {
            piece.bytes.extend_from_slice(part);
        }
        piece.channels.push(channel);
        let run = self.runs.entry(channel).or_default();
        if run.first + run.places.len() as u64 != sequence {
            run.places.clear();
            run.first = sequence;
        }
        let to = piece.bytes.len();
        let piece = number;
        run.places.push_back(Place { piece, from, to });
        while self.bytes > self.bytes_max && self.pieces.len() > 1 {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(piece) = self.pieces.pop_front() else { return };
        self.bytes -= piece.bytes.capacity();
        for channel in piece.channels {
            let Some(run) = self.runs.get_mut(&channel) else {
                continue;
            };
            if run.places.front().is_some_and(|place| place.piece == self.oldest) {
                run.places.pop_front();
                run.first += 1;
            }
            if run.places.is_empty() {
                self.runs.remove(&channel);
            }
        }
        self.oldest += 1;
    }

    /// Messages below this one are gone.
    pub(crate) fn trim(&mut self, channel: ChannelId, first: u64) {
        let Some(run) = self.runs.get_mut(&channel) else { return };
        let gone = usize::try_from(first.saturating_sub(run.first)).unwrap_or(usize::MAX);
        let gone = gone.min(run.places.len());
        run.places.drain(..gone);
        run.first += gone as u64;
        if run.places.is_empty() {
            self.runs.remove(&channel);
        }
    }

    /// The channel is gone.
    pub(crate) fn delete(&mut self, channel: ChannelId) {
        self.runs.remove(&channel);
    }

    pub(crate) fn get(&self, channel: ChannelId, sequence: u64) -> Option<&[u8]> {
        let run = self.runs.get(&channel)?;
        let place = run
            .places
            .get(usize::try_from(sequence.checked_sub(run.first)?).ok()?)?;
        let piece = self
            .pieces
            .get(usize::try_from(place.piece.checked_sub(self.oldest)?).ok()?)?;
        piece.bytes.get(place.from..place.to)
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Whatever is appended, trimmed and deleted: what is found is what was appended last under that number, and nothing that is gone.
    #[test]
    fn what_is_found_is_what_is_there() {
        for seed in 0..20 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut cache = Cache::new(4_096);
            let mut model: BTreeMap<(u64, u64), Vec<u8>> = BTreeMap::new();
            let mut next = [1_u64; 4];
            let mut found = 0;
            for step in 0_u64..4_000 {
                let channel = random.usize(..4);
                let id = ChannelId(channel as u64);
                match random.u8(..12) {
                    0 => {
                        let first = random.u64(next[channel].saturating_sub(8)..=next[channel]);
                        cache.trim(id, first);
                        model.retain(|(of, sequence), _| *of != id.0 || *sequence >= first);
                    }
                    1 if random.u8(..10) == 0 => {
                        cache.delete(id);
                        model.retain(|(of, _), _| *of != id.0);
                    }
                    _ => {
                        let length = if random.u8(..40) == 0 {
                            3_000
                        } else {
                            random.usize(..200)
                        };
                        let body = vec![step as u8; length];
                        let (one, other) = body.split_at(length / 2);
                        cache.push(id, next[channel], &[one, other]);
                        model.insert((id.0, next[channel]), body);
                        next[channel] += 1;
                    }
                }
                let sequence = random.u64(next[channel].saturating_sub(30)..=next[channel]);
                if let Some(body) = cache.get(id, sequence) {
                    assert_eq!(
                        Some(body),
                        model.get(&(id.0, sequence)).map(Vec::as_slice),
                        "seed {seed}"
                    );
                    found += 1;
                }
                assert!(cache.bytes() <= 4_096 + 2_048, "{}", cache.bytes());
            }
            assert!(found > 300, "{found}");
        }
    }
}
