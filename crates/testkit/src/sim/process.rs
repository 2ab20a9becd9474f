//! Processes of a simulation: their clocks, their pauses and their lives.

use std::{collections::VecDeque, fmt, time::Duration};

use shardwright_topology::Timestamp;

use crate::Dice;

/// One process of a simulation, or its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub usize);

impl Pid {
    /// The store, as one end of a connection that a partition may cut.
    pub const STORE: Self = Self(usize::MAX);
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::STORE {
            f.pad("store")
        } else {
            f.pad(&format!("p{}", self.0))
        }
    }
}

/// A clock with an offset and a rate of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    offset: Duration,
    /// How many nanoseconds it gains in a millisecond of true time: parts per million.
    gain_ppm: i64,
}

impl Clock {
    /// A clock that was started at some time before the simulation and gains or loses up to `drift_ppm`.
    pub(super) fn random(dice: &mut Dice, drift_ppm: u32) -> Self {
        let drift = i64::from(drift_ppm);
        Self {
            offset: Duration::from_millis(dice.between(0..=1_000_000).unsigned_abs()),
            gain_ppm: dice.between(-drift..=drift),
        }
    }

    /// What it shows at a true time.
    pub(super) fn shows(&self, at: Duration) -> Timestamp {
        Timestamp(self.offset + scaled(at, 1_000_000 + self.gain_ppm, 1_000_000))
    }

    /// The first true time at which it shows `moment` or more.
    pub(super) fn reaches(&self, moment: Timestamp) -> Duration {
        let elapsed = moment.0.saturating_sub(self.offset);
        scaled(elapsed, 1_000_000, 1_000_000 + self.gain_ppm) + Duration::from_nanos(2)
    }
}

/// `time` times `by` over `over`, for simulations shorter than five hours.
fn scaled(time: Duration, by: i64, over: i64) -> Duration {
    let nanoseconds = time.as_nanos() * u128::from(by.unsigned_abs());
    let scaled = nanoseconds / u128::from(over.unsigned_abs());
    Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX))
}

/// One process, with what waits for it while it is paused.
#[derive(Debug)]
pub(super) struct Process<I> {
    pub(super) clock: Clock,
    /// Counts its starts: what was meant for an earlier life is dropped.
    pub(super) life: u32,
    pub(super) up: bool,
    /// Whether this life has had its first input.
    pub(super) started: bool,
    pub(super) paused: bool,
    pub(super) backlog: VecDeque<I>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_shows_a_moment_when_it_reaches_it() {
        let mut dice = Dice::new(7);
        for _ in 0..1000 {
            let clock = Clock::random(&mut dice, 20_000);
            let start = clock.shows(Duration::ZERO);
            let moment =
                start + Duration::from_nanos(dice.between(1..=10_000_000_000).unsigned_abs());
            let reached = clock.reaches(moment);
            assert!(moment <= clock.shows(reached), "{clock:?} at {moment}");
            let before = reached.saturating_sub(Duration::from_nanos(6));
            assert!(clock.shows(before) < moment, "{clock:?} at {moment}");
        }
    }
}
