//! How patient a failover is, and what it may do by itself.

use std::time::Duration;

use shardwright_registry::LeaseTiming;

/// How patient a failover is, and what it may do by itself. Nodes and coordinators agree on the times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How often nodes are looked at; 5 s unless told otherwise. Below `heartbeat_timeout`, a third of it as a rule of thumb.
    pub check_interval: Duration,
    /// How long a node may be silent before it is taken for dead; 15 s unless told otherwise. Over a network, ten times the longest
    /// usual delay of a call of the store; over NATS at least 10 s.
    pub heartbeat_timeout: Duration,
    /// Who promotes when a node is down; automatic unless told otherwise.
    pub mode: Mode,
    /// Which replicas may be promoted; those that reported, unless told otherwise.
    pub eligible: Eligible,
}

/// Who promotes when a node is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The coordinator, as [`choose`](crate::choose) says.
    #[default]
    Automatic,
    /// Whoever hears of it: the coordinator only fences the node.
    Manual,
}

/// Which replicas may be promoted without being forced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Eligible {
    /// Only one that reported to be in sync at the epoch that ends: no acknowledged write is lost.
    InSync,
    /// One in sync, or else the one with the highest position: writes after it are lost, and counted as a possible loss.
    #[default]
    Reported,
    /// Also one that never reported: for services that keep no data, or take the loss.
    Any,
}

/// Times that do not fit each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A node would be taken for dead between two looks at it. Make the interval shorter or the time-out longer.
    #[error(
        "a check interval of {check_interval:?} does not fit a heartbeat time-out of {heartbeat_timeout:?}, it must be shorter"
    )]
    Interval {
        /// How often nodes are looked at.
        check_interval: Duration,
        /// How long a node may be silent.
        heartbeat_timeout: Duration,
    },
    /// A time is too short for any clock and network.
    #[error(
        "a heartbeat time-out of {heartbeat_timeout:?} is below the least, {HEARTBEAT_TIMEOUT_MIN:?}"
    )]
    TooShort {
        /// How long a node may be silent.
        heartbeat_timeout: Duration,
    },
}

/// The shortest time-out that is taken.
pub const HEARTBEAT_TIMEOUT_MIN: Duration = Duration::from_millis(10);

impl Default for Config {
    fn default() -> Self {
        Self {
            check_interval: Duration::from_secs(5),
            heartbeat_timeout: Duration::from_secs(15),
            mode: Mode::default(),
            eligible: Eligible::default(),
        }
    }
}

impl Config {
    /// Returns the timing of the leases: the holder stops after nine tenths of what watchers wait, on its own clock.
    ///
    /// # Errors
    /// [`ConfigError`] if the times do not fit each other.
    pub fn lease_timing(&self) -> Result<LeaseTiming, ConfigError> {
        let (check_interval, heartbeat_timeout) = (self.check_interval, self.heartbeat_timeout);
        if heartbeat_timeout < HEARTBEAT_TIMEOUT_MIN {
            return Err(ConfigError::TooShort { heartbeat_timeout });
        }
        let misfit = ConfigError::Interval {
            check_interval,
            heartbeat_timeout,
        };
        if check_interval.is_zero() || heartbeat_timeout <= check_interval {
            return Err(misfit);
        }
        LeaseTiming::new(heartbeat_timeout, heartbeat_timeout * 9 / 10).map_err(|_| misfit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_do_not_fit_are_refused() {
        let timing = |check_ms, timeout_ms| {
            Config {
                check_interval: Duration::from_millis(check_ms),
                heartbeat_timeout: Duration::from_millis(timeout_ms),
                ..Config::default()
            }
            .lease_timing()
        };
        assert!(timing(5_000, 15_000).is_ok());
        assert!(timing(3, 10).is_ok());
        assert!(matches!(timing(3, 9), Err(ConfigError::TooShort { .. })));
        for (check_ms, timeout_ms) in [(0, 100), (100, 100), (200, 100)] {
            assert!(matches!(
                timing(check_ms, timeout_ms),
                Err(ConfigError::Interval { .. })
            ));
        }
    }
}
