//! Random allocation, repeatable from a seed.

use crate::fast::scramble;

/// Chooses with equal probabilities; the same seed gives the same choices everywhere (SplitMix64).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Returns the sequence of choices that follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns one of `shards`, counted from 0.
    ///
    /// # Panics
    /// If `shards` is 0.
    pub fn below(&mut self, shards: u32) -> u32 {
        assert!(shards > 0, "there is at least one shard");
        let shards = u64::from(shards);
        loop {
            // The upper 32 bits of a number below `shards * 2^32`; the few that would favour some shards are redrawn.
            let product = (self.draw() >> 32) * shards;
            if product & 0xffff_ffff >= (1 << 32) % shards {
                return u32::try_from(product >> 32).expect("the upper half is below `shards`");
            }
        }
    }

    fn draw(&mut self) -> u64 {
        let drawn = scramble(self.state, 0);
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choices_of_a_seed_are_pinned() {
        let mut random = Random::new(0);
        // SplitMix64 of seed 0 begins e220a839, 6e789e6a, 06c45d18, f88bb8a8.
        assert_eq!([(); 4].map(|()| random.below(16)), [0xe, 0x6, 0x0, 0xf]);
    }

    #[test]
    fn every_shard_is_chosen_about_equally_often() {
        let mut random = Random::new(7);
        let mut chosen = [0_u32; 7];
        for _ in 0..70_000 {
            chosen[random.below(7) as usize] += 1;
        }
        assert!(
            chosen.iter().all(|times| times.abs_diff(10_000) < 500),
            "{chosen:?}"
        );
    }
}
