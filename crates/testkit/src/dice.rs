//! The one source of random choices of a generator.

use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{ops::RangeInclusive, time::Duration};

/// Random choices that follow from a seed alone.
#[derive(Clone, Debug)]
pub struct Dice {
    rng: StdRng,
}

impl Dice {
    /// Dice that fall the same way for the same seed.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// True in `chances` of 10,000 cases.
    pub fn rarely(&mut self, chances: u32) -> bool {
        chances > 0 && self.rng.random_range(0..10_000) < chances
    }

    /// A time in the range.
    pub fn time(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        let nanoseconds = |time: &Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let drawn = nanoseconds(range.start())..=nanoseconds(range.end());
        Duration::from_nanos(self.rng.random_range(drawn))
    }

    /// A number without meaning, such as the seed of other choices.
    pub fn bits(&mut self) -> u64 {
        self.rng.random()
    }

    /// A number in the range.
    pub fn between(&mut self, range: RangeInclusive<i64>) -> i64 {
        self.rng.random_range(range)
    }

    /// A count in the range.
    pub fn count(&mut self, range: RangeInclusive<usize>) -> usize {
        self.rng.random_range(range)
    }

    /// An index below `len`, which must not be 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.rng.random_range(0..len)
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.index(choices.len())]
    }

    /// One of `choices` by its weight.
    pub fn weighted<T: Copy>(&mut self, choices: &[(u32, T)]) -> T {
        let total = choices.iter().map(|(weight, _)| weight).sum();
        let mut roll = self.rng.random_range(0..total);
        for (weight, choice) in choices {
            if roll < *weight {
                return *choice;
            }
            roll -= weight;
        }
        unreachable!("the roll is below the sum of the weights")
    }

    /// The elements in another order.
    pub fn shuffle<T>(&mut self, elements: &mut [T]) {
        for i in (1..elements.len()).rev() {
            elements.swap(i, self.index(i + 1));
        }
    }

    /// Between `range` distinct indices below `len`, ascending, as many as there are.
    pub fn subset(&mut self, len: usize, range: RangeInclusive<usize>) -> Vec<usize> {
        let wanted = self.count(range).min(len);
        let mut indices: Vec<usize> = (0..len).collect();
        self.shuffle(&mut indices);
        indices.truncate(wanted);
        indices.sort_unstable();
        indices
    }
}
