//! The shard record: all that the registry holds of one shard, and how it may change.
//!
//! ```text
//! unassigned --begin_attempt--> pending --activate--> active --begin_attempt--> active + pending ...
//! serving --hold_by--> held as source --seal_by--> sealed --resolve(committed)--> retired
//!                                                        \-resolve(aborting)---> serving
//! importing (held as target) --resolve(committed)--> serving, --resolve(aborting)--> retired
//! ```
//!
//! A transition is a function from a record to the next one. Whoever stores the result does so by compare-and-set on
//! the record that it was made from, so that of two coordinators that decide at once one is refused.

mod attempt;
mod hold;
mod invariants;
mod named;

use serde::{Deserialize, Serialize};

use crate::{Config, Epoch, KeyRange, KeyspaceName, NodeId, OperationId, ShardId};

pub use self::{
    attempt::{AttemptRefused, Conditions},
    hold::HoldRefused,
    invariants::InvalidRecord,
    named::HasRange,
};

/// What a shard does, as its own record says; see [`ShardRecord::effective_state`] for what counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShardState {
    /// Being filled by the operation that holds it; owns no range yet.
    Importing,
    /// Owns its range.
    Serving,
    /// Owns its range, and takes no writes until the operation that holds it is decided.
    Sealed,
    /// Owns nothing any more; its data may be removed.
    Retired,
}

/// On which side of an operation a shard is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// It owns the range until the commit.
    Source,
    /// It owns the range from the commit on.
    Target,
}

/// The pointer from a shard to the operation that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// The operation.
    pub operation: OperationId,
    /// The side of it that the shard is on.
    pub side: Side,
}

/// All that the registry holds of one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardRecord {
    /// Its name.
    pub id: ShardId,
    /// The keyspace that it is part of.
    pub keyspace: KeyspaceName,
    /// The positions that it owns, for life; `None` for the catalog shard, which holds no sharded rows, and for shards that their
    /// users name.
    pub range: Option<KeyRange>,
    /// Whether a log of its own decides what is written to it, which commits on several members: for life. Else a lease decides who
    /// may write.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replicated: bool,
    /// What it does; derived from the operation while one holds it.
    pub state: ShardState,
    /// The highest epoch ever handed out, whether or not its configuration became active.
    pub epoch: Epoch,
    /// The configuration that counts: the last one activated. `None` before the first.
    pub active: Option<Config>,
    /// A configuration that is being tried and has committed nothing. It recovers from the active one, never from another
    /// pending one.
    pub pending: Option<Config>,
    /// The operation that the shard takes part in.
    pub hold: Option<Hold>,
    /// How often an operator accepted the possible loss of acknowledged writes.
    pub data_loss_generation: u64,
    /// The last epoch at which somebody did; `None` if nobody ever has.
    #[serde(default)]
    pub loss_accepted_at: Option<Epoch>,
    /// The shard on whose members' nodes its first copies are made: an operation fills them from that shard's, and nothing has to go
    /// over the network. It says nothing of where copies are later. `None` lets them be anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<ShardId>,
}

impl ShardRecord {
    /// Returns the record of a new shard that owns `range` and is assigned to nobody.
    #[must_use]
    pub fn new(keyspace: KeyspaceName, id: ShardId, range: Option<KeyRange>) -> Self {
        Self {
            id,
            keyspace,
            range,
            replicated: false,
            state: ShardState::Serving,
            epoch: Epoch::UNASSIGNED,
            active: None,
            pending: None,
            hold: None,
            data_loss_generation: 0,
            loss_accepted_at: None,
            beside: None,
        }
    }

    /// Returns the record of a new shard whose log is to decide what is written to it.
    #[must_use]
    pub fn replicated(self) -> Self {
        Self {
            replicated: true,
            ..self
        }
    }

    /// Returns the record of a new shard whose first copies are to be on the nodes that `shard` has members on.
    #[must_use]
    pub fn beside(self, shard: ShardId) -> Self {
        Self {
            beside: Some(shard),
            ..self
        }
    }

    /// Returns the record of a new shard that `operation` fills and that will own `range` once it commits.
    #[must_use]
    pub fn target_of(
        operation: OperationId,
        keyspace: KeyspaceName,
        id: ShardId,
        range: KeyRange,
    ) -> Self {
        Self {
            state: ShardState::Importing,
            hold: Some(Hold {
                operation,
                side: Side::Target,
            }),
            ..Self::new(keyspace, id, Some(range))
        }
    }

    /// Returns the records of `shards` unassigned shards, `shard-0` and on, whose even ranges tile the space.
    pub fn even(keyspace: &KeyspaceName, shards: u32) -> impl Iterator<Item = Self> + use<> {
        let keyspace = keyspace.clone();
        (0..shards)
            .zip(KeyRange::even(shards))
            .map(move |(number, range)| {
                Self::new(keyspace.clone(), ShardId::numbered(number), Some(range))
            })
    }

    /// Returns the record of a keyspace's catalog shard, which has no range and is assigned to nobody.
    #[must_use]
    pub fn catalog(keyspace: KeyspaceName) -> Self {
        Self::new(keyspace, ShardId::catalog(), None)
    }

    /// Returns the node that takes writes, if the shard has one.
    #[must_use]
    pub fn primary(&self) -> Option<&NodeId> {
        self.active.as_ref().map(|config| &config.primary.node)
    }

    /// Returns the epoch that counts, which requests carry: that of the active configuration.
    #[must_use]
    pub fn active_epoch(&self) -> Epoch {
        self.active
            .as_ref()
            .map_or(Epoch::UNASSIGNED, |config| config.epoch)
    }

    /// Returns whether an operator accepted the possible loss of acknowledged writes for the configuration that is being tried: its
    /// primary goes on with what is left.
    #[must_use]
    pub fn accepts_loss(&self) -> bool {
        let pending = self.pending.as_ref().map(|config| config.epoch);
        pending.is_some() && pending == self.loss_accepted_at
    }
}

#[cfg(test)]
mod tests;
