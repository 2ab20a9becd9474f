//! What holds of every shard record, checked when one is read and before one is written.

use super::{ShardRecord, ShardState, Side};
use crate::{Epoch, InvalidConfig, ShardId};

/// A shard record that contradicts itself: a bug or a damaged registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecord {
    /// One of its configurations contradicts itself.
    #[error("shard {shard} has an invalid configuration")]
    Config {
        /// The shard.
        shard: ShardId,
        /// What is wrong with it.
        #[source]
        reason: InvalidConfig,
    },
    /// The epochs are not in the order active < pending = highest.
    #[error("shard {shard} is at {epoch}, with {active} active and {pending} pending")]
    Epochs {
        /// The shard.
        shard: ShardId,
        /// The highest epoch handed out.
        epoch: Epoch,
        /// The epoch of the active configuration.
        active: Epoch,
        /// The epoch of the pending configuration.
        pending: Epoch,
    },
    /// The state does not go with the operation that holds the shard, or with none.
    #[error("shard {shard} is {state:?} and held as {side:?}")]
    Hold {
        /// The shard.
        shard: ShardId,
        /// Its state.
        state: ShardState,
        /// The side on which an operation holds it.
        side: Option<Side>,
    },
    /// A shard without a range takes part in an operation, or is in a state that only an operation gives.
    #[error("shard {shard} has no range and is {state:?} or held, no operation takes part in it")]
    Catalog {
        /// The shard.
        shard: ShardId,
        /// Its state.
        state: ShardState,
    },
}

impl ShardRecord {
    /// Checks what holds of every record.
    ///
    /// # Errors
    /// [`InvalidRecord`] with the first rule that is broken.
    pub fn check_invariants(&self) -> Result<(), InvalidRecord> {
        for config in self.active.iter().chain(&self.pending) {
            config
                .check_invariants()
                .map_err(|reason| InvalidRecord::Config {
                    shard: self.id.clone(),
                    reason,
                })?;
        }
        self.check_epochs()?;
        self.check_hold()
    }

    fn check_epochs(&self) -> Result<(), InvalidRecord> {
        let active = self.active_epoch();
        let pending = self.pending.as_ref().map(|config| config.epoch);
        let ordered = match pending {
            Some(pending) => active < pending && pending == self.epoch,
            None => active <= self.epoch,
        };
        // Epoch 0 belongs to no configuration.
        let named = self.active.is_none() || active > Epoch::UNASSIGNED;
        if ordered && named {
            return Ok(());
        }
        let pending = pending.unwrap_or(Epoch::UNASSIGNED);
        Err(InvalidRecord::Epochs {
            shard: self.id.clone(),
            epoch: self.epoch,
            active,
            pending,
        })
    }

    fn check_hold(&self) -> Result<(), InvalidRecord> {
        let (state, side) = (self.state, self.hold.as_ref().map(|hold| hold.side));
        let free = matches!(state, ShardState::Serving | ShardState::Retired) && side.is_none();
        if self.range.is_none() && !free {
            return Err(InvalidRecord::Catalog {
                shard: self.id.clone(),
                state,
            });
        }
        let fits = match state {
            ShardState::Importing => side == Some(Side::Target),
            ShardState::Serving => side != Some(Side::Target),
            ShardState::Sealed => side == Some(Side::Source),
            ShardState::Retired => side.is_none(),
        };
        if fits {
            Ok(())
        } else {
            Err(InvalidRecord::Hold {
                shard: self.id.clone(),
                state,
                side,
            })
        }
    }
}
