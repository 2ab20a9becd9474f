//! Named shards: those without a range, which their users create and delete.

use super::{ShardRecord, ShardState};
use crate::ShardId;

/// A shard that has a range was to be retired or revived: its range would lose its owner, or get two.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shard {shard} has a range, only a split or a merge ends it")]
pub struct HasRange {
    /// The shard.
    pub shard: ShardId,
}

impl ShardRecord {
    /// Ends a shard without a range. Again changes nothing.
    ///
    /// The record stays, with its epoch and with the configuration whose members have to let go of it: should the name
    /// come back, its epochs go on where they were.
    ///
    /// # Errors
    /// [`HasRange`] if the shard owns a range.
    pub fn retire(&self) -> Result<Self, HasRange> {
        self.without_range(ShardState::Retired)
    }

    /// Brings a retired shard without a range back, held by whom it was held last. A shard that serves stays as it is.
    ///
    /// Its members may have let go of it: only a new epoch makes them, or others, serve it again.
    ///
    /// # Errors
    /// [`HasRange`] if the shard owns a range.
    pub fn revive(&self) -> Result<Self, HasRange> {
        self.without_range(ShardState::Serving)
    }

    fn without_range(&self, state: ShardState) -> Result<Self, HasRange> {
        if self.range.is_some() {
            return Err(HasRange {
                shard: self.id.clone(),
            });
        }
        if self.state == state {
            return Ok(self.clone());
        }
        Ok(Self {
            state,
            // An attempt that nobody may finish.
            pending: None,
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, KeyRange, KeyspaceName, ShardMap};

    fn named() -> ShardRecord {
        let id = ShardId::new("orders").expect("a name");
        ShardRecord::new(KeyspaceName::main(), id, None)
    }

    #[test]
    fn a_retired_name_keeps_its_epoch_when_it_comes_back() {
        let held = ShardRecord {
            epoch: Epoch(7),
            ..named()
        };
        let retired = held.retire().expect("it has no range");
        assert_eq!(
            (retired.state, retired.epoch),
            (ShardState::Retired, Epoch(7))
        );
        assert_eq!(retired.check_invariants(), Ok(()));
        assert_eq!(retired.retire(), Ok(retired.clone()));
        assert_eq!(retired.revive(), Ok(held.clone()));
        assert_eq!(held.revive(), Ok(held));
    }

    #[test]
    fn a_shard_with_a_range_is_neither_retired_nor_revived() {
        let ranged = ShardRecord {
            range: Some(KeyRange::ALL),
            ..named()
        };
        let refused = ranged.retire().expect_err("its range needs an owner");
        assert_eq!(
            refused.to_string(),
            "shard orders has a range, only a split or a merge ends it"
        );
        assert_eq!(ranged.revive(), Err(refused));
    }

    #[test]
    fn a_retired_shard_without_a_range_is_no_catalog() {
        let retired = named().retire().expect("it has no range");
        let ranges = ShardRecord::even(&KeyspaceName::main(), 2);
        let map = ShardMap::new(KeyspaceName::main(), 1, ranges.chain([retired]), []);
        assert_eq!(map.expect("the ranges tile").catalog(), None);
    }
}
