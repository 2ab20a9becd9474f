//! How a coordinator replicates.

use std::time::Duration;

use crate::{CommitLevel, InvalidSettings, ReplicationStrategy};

/// How a coordinator replicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// When a put is acknowledged unless it says otherwise. [`CommitLevel::Quorum`] by default.
    pub commit_level: CommitLevel,
    /// How many nodes get each event, this one included. 1 by default.
    pub replication_factor: usize,
    /// How many of the copies are placed elsewhere on purpose. None by default.
    pub replication_strategy: ReplicationStrategy,
    /// How long one copy may take, on a peer or here. 5 seconds by default.
    pub copy_timeout: Duration,
    /// How often the failed copies of an acknowledged put are tried again when no other peer is left. 3 by default.
    pub repairs_max: u32,
    /// How long the first repair waits; each later one waits twice as long. 1 second by default.
    pub repair_delay: Duration,
    /// How many puts may have copies under way or to repair, acknowledged or not; more are refused before anything is written. 10,000
    /// by default. A put stays as long as its slowest copy, so with a silent peer this is the rate of puts times `copy_timeout`.
    pub puts_max: usize,
    /// How many bytes the events of those puts may have together. 256 MiB by default. An event that is alone is taken at any size.
    pub bytes_max: usize,
    /// How many acknowledged puts may wait for the repair of their failed copies at once. Those beyond it are reported without one, so
    /// that a peer that is away costs repairs, and no puts. 1,000 by default.
    pub repairing_max: usize,
    /// What the choice of peers follows from. By default every coordinator chooses differently.
    pub seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            commit_level: CommitLevel::default(),
            replication_factor: 1,
            replication_strategy: ReplicationStrategy::default(),
            copy_timeout: Duration::from_secs(5),
            repairs_max: 3,
            repair_delay: Duration::from_secs(1),
            puts_max: 10_000,
            bytes_max: 256 << 20,
            repairing_max: 1_000,
            seed: None,
        }
    }
}

impl Settings {
    /// # Errors
    /// [`InvalidSettings`] names the setting that cannot be.
    pub(crate) fn validate(&self) -> Result<(), InvalidSettings> {
        if self.replication_factor == 0 {
            return Err(InvalidSettings::NoCopies);
        }
        if self.copy_timeout.is_zero() {
            return Err(InvalidSettings::NoTime);
        }
        if self.puts_max == 0 {
            return Err(InvalidSettings::NoPuts);
        }
        Ok(())
    }
}
