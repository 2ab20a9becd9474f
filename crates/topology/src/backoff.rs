//! Backoff: how long to wait between attempts.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

/// The waiting times between attempts: each up to twice the one before, up to a cap, without end.
///
/// Every time is drawn between half of its bound and the bound, so that callers that failed together do not return
/// together. Equal seeds give equal times. Only a driver waits:
///
/// ```
/// use std::time::Duration;
/// use shardwright_topology::Backoff;
///
/// let waits: Vec<Duration> =
///     Backoff::new(Duration::from_millis(10), Duration::from_secs(1), 42).take(3).collect();
/// assert!(waits[0] <= Duration::from_millis(10));
/// assert!(waits[2] <= Duration::from_millis(40));
/// ```
#[derive(Debug, Clone)]
pub struct Backoff {
    bound: Duration,
    cap: Duration,
    rng: StdRng,
}

impl Backoff {
    /// Starts with waits of at most `first`, growing to at most `cap`.
    #[must_use]
    pub fn new(first: Duration, cap: Duration, seed: u64) -> Self {
        Self {
            bound: first.min(cap),
            cap,
            rng: StdRng::seed_from_u64(seed),
        }
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let bound = self.bound;
        self.bound = bound.saturating_mul(2).min(self.cap);
        let half = bound / 2;
        // A wait that does not fit in 64 bits of nanoseconds is over 500 years: its jitter does not matter.
        let jitter_ns = u64::try_from((bound - half).as_nanos()).unwrap_or(u64::MAX);
        Some(half + Duration::from_nanos(self.rng.random_range(0..=jitter_ns)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wait_is_within_half_of_its_bound_and_the_cap_holds() {
        let bounds_ms = [10, 20, 40, 80, 100, 100, 100];
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(100), 1);
        for (wait, bound_ms) in backoff.zip(bounds_ms) {
            let bound = Duration::from_millis(bound_ms);
            assert!(
                bound / 2 <= wait && wait <= bound,
                "{wait:?} is not in the upper half of {bound:?}"
            );
        }
    }

    #[test]
    fn equal_seeds_wait_alike_and_others_do_not() {
        let waits = |seed| -> Vec<Duration> {
            Backoff::new(Duration::from_secs(1), Duration::from_secs(60), seed)
                .take(8)
                .collect()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }

    #[test]
    fn the_longest_durations_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX, 1);
        assert!(backoff.next() >= Some(Duration::MAX / 2));
        assert!(backoff.next() >= Some(Duration::MAX / 2));
    }
}
