//! How many copies there are to be, and how patient whoever looks after them is.

use std::time::Duration;

use shardwright_topology::Config;

/// How many copies there are to be, and how patient whoever looks after them is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many members a shard is to have; 3 unless told otherwise.
    pub factor: u32,
    /// How many of them must hold a write before it counts.
    pub width: Width,
    /// The least commit width. A shard that would go below it takes no writes; 2 unless told otherwise. With 1 a shard goes on with one copy,
    /// and a disk that is lost then takes acknowledged writes with it.
    pub w_min: u32,
    /// In how many zones a write must be before it counts; 1 unless told otherwise, which asks nothing.
    pub zones: u32,
    /// With how many zones a shard goes on when there are no more; 1 unless told otherwise.
    pub zones_min: u32,
    /// How long a primary that is up may take to begin, or to say that it leads; 5 s unless told otherwise. Doubled with each attempt that
    /// fails, up to [`Settings::patience_max`].
    pub patience: Duration,
    /// The longest patience, for copies that fetch much before they begin; 2 minutes unless told otherwise. After an attempt that has failed,
    /// what can wait is put off for so long, too, unless it was one for another primary and somebody has become it since; the hand-over of a
    /// node that gives away what it has only for [`Settings::patience`].
    pub patience_max: Duration,
    /// How long a member may be away before another copy takes its place; 5 minutes unless told otherwise. Longer than a restart.
    pub grace: Duration,
    /// How long a shard that cannot commit waits for the members that it lacks before it goes on with fewer; 10 s unless told otherwise.
    pub shrink_after: Duration,
    /// How long a new shard waits for as many nodes as it is to have copies; 30 s unless told otherwise.
    pub bootstrap_wait: Duration,
    /// By how many records a copy may lag and still be in sync; 1,000 unless told otherwise.
    pub lag_max: u64,
    /// How long a copy may take, before it becomes a member, to reach what was committed when it began to; and for how long nothing must have
    /// changed before what can wait is done. 2 s unless told otherwise.
    pub steady: Duration,
    /// After how long a node is told again what it has not done yet; 2 s unless told otherwise.
    pub resend: Duration,
    /// How long a copy that is of no use is kept; 10 minutes unless told otherwise.
    pub keep: Duration,
    /// How many copies are filled at once, in all; 64 unless told otherwise.
    pub joins_max: usize,
    /// How many copies a node fills at once; 4 unless told otherwise.
    pub joins_per_node: usize,
    /// While a larger share of the nodes is down, in percent, no copies are made: it may be this coordinator that is cut off. 34 unless told
    /// otherwise.
    pub down_percent_max: usize,
}

/// How many members must hold a write before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Width {
    /// More than half of them.
    #[default]
    Majority,
    /// All of them; a member that is away is dropped soon.
    All,
}

impl Width {
    /// Returns the commit width of so many members.
    #[must_use]
    pub fn of(self, members: usize) -> u32 {
        match self {
            Self::Majority => Config::majority(members),
            Self::All => u32::try_from(members).unwrap_or(u32::MAX),
        }
    }
}

/// Settings that contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSettings {
    /// There must be one copy at least.
    #[error("a replication factor of 0 keeps nothing, ask for 1 at least")]
    NoCopies,
    /// A shard with all its members would be refused.
    #[error("a least commit width of {w_min} does not fit a width of {w}, choose 1 to {w}")]
    Width {
        /// The least width.
        w_min: u32,
        /// The width with all members.
        w: u32,
    },
    /// A write cannot be in that many zones.
    #[error(
        "{zones} zones, {zones_min} at least, do not fit a commit width of {w}, choose 1 to {w} in this order"
    )]
    Zones {
        /// The number of zones.
        zones: u32,
        /// The least number.
        zones_min: u32,
        /// The width with all members.
        w: u32,
    },
}

impl Default for Settings {
    fn default() -> Self {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        Self {
            factor: 3,
            width: Width::Majority,
            w_min: 2,
            zones: 1,
            zones_min: 1,
            patience: second * 5,
            patience_max: minute * 2,
            grace: minute * 5,
            shrink_after: second * 10,
            bootstrap_wait: second * 30,
            lag_max: 1_000,
            steady: second * 2,
            resend: second * 2,
            keep: minute * 10,
            joins_max: 64,
            joins_per_node: 4,
            down_percent_max: 34,
        }
    }
}

impl Settings {
    /// Checks that the settings do not contradict each other.
    ///
    /// # Errors
    /// [`InvalidSettings`] says which do.
    pub fn check(&self) -> Result<(), InvalidSettings> {
        let Self {
            w_min,
            zones,
            zones_min,
            ..
        } = *self;
        if self.factor == 0 {
            return Err(InvalidSettings::NoCopies);
        }
        let w = self.width.of(self.factor as usize);
        if w_min == 0 || w < w_min {
            return Err(InvalidSettings::Width { w_min, w });
        }
        if zones_min == 0 || zones < zones_min || w < zones {
            return Err(InvalidSettings::Zones {
                zones,
                zones_min,
                w,
            });
        }
        Ok(())
    }

    /// How long to wait for an attempt that so many have failed before.
    pub(super) fn patience_after(&self, failed: u32) -> Duration {
        let factor = 1_u32.checked_shl(failed).unwrap_or(u32::MAX);
        self.patience.saturating_mul(factor).min(self.patience_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        let check = |factor, w_min, zones, zones_min| {
            Settings {
                factor,
                w_min,
                zones,
                zones_min,
                ..Settings::default()
            }
            .check()
        };
        assert_eq!(check(3, 2, 1, 1), Ok(()));
        assert_eq!(check(5, 3, 3, 2), Ok(()));
        assert_eq!(check(0, 1, 1, 1), Err(InvalidSettings::NoCopies));
        let width = |w_min, w| Err(InvalidSettings::Width { w_min, w });
        assert_eq!(check(1, 2, 1, 1), width(2, 1));
        assert_eq!(check(3, 0, 1, 1), width(0, 2));
        for (zones, zones_min) in [(3, 1), (1, 2), (1, 0)] {
            let refused = check(3, 2, zones, zones_min);
            assert!(matches!(refused, Err(InvalidSettings::Zones { .. })));
        }
    }

    #[test]
    fn patience_doubles_with_each_failure_up_to_a_limit() {
        let settings = Settings::default();
        let seconds = [0, 1, 2, 5, 40].map(|failed| settings.patience_after(failed).as_secs());
        assert_eq!(seconds, [5, 10, 20, 120, 120]);
    }
}
