//! The source of everything that is drawn: from a seed, so that a run can be repeated.

/// A generator in the manner of SplitMix64: a counter, and a mixture of its bits.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number between two, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        debug_assert!(low <= high && high - low < 1 << 32, "{low}..={high}");
        low + (((self.next() >> 32) * (high - low + 1)) >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_a_range_is_drawn_and_none_beside_it() {
        let mut random = Random::new(7);
        let mut seen = [0_u32; 4];
        for _ in 0..4_000 {
            seen[usize::try_from(random.between(5, 8) - 5).expect("it is small")] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
    }
}
