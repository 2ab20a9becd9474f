//! Holds: how a shard takes part in an operation, and what it is meanwhile.

use super::{Hold, ShardRecord, ShardState, Side};
use crate::{Decision, Operation, OperationId, ShardId};

/// A step of an operation that a shard does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoldRefused {
    /// Another operation holds the shard. Wait for it to end, or cancel it.
    #[error("shard {shard} takes part in operation {holder}, not {operation}")]
    HeldByAnother {
        /// The shard.
        shard: ShardId,
        /// The operation that holds it.
        holder: OperationId,
        /// The operation that asked.
        operation: OperationId,
    },
    /// The operation does not hold the shard as a source.
    #[error("shard {shard} is no source that operation {operation} holds")]
    NotHeld {
        /// The shard.
        shard: ShardId,
        /// The operation that asked.
        operation: OperationId,
    },
    /// The shard owns no range that could be taken over.
    #[error("shard {shard} is {state:?} and has no range to give away")]
    NotServing {
        /// The shard.
        shard: ShardId,
        /// What it is.
        state: ShardState,
    },
    /// The operation is not decided, and a hold ends with the decision.
    #[error("operation {operation} is not decided, shard {shard} stays held")]
    Undecided {
        /// The shard.
        shard: ShardId,
        /// The operation.
        operation: OperationId,
    },
}

impl ShardRecord {
    /// Points a serving shard at the operation that is about to take its range over. Again changes nothing.
    ///
    /// # Errors
    /// [`HoldRefused`] if another operation holds the shard, or it owns no range.
    pub fn hold_by(&self, operation: &OperationId) -> Result<Self, HoldRefused> {
        if let Some(hold) = &self.hold {
            return if hold.operation == *operation && hold.side == Side::Source {
                Ok(self.clone())
            } else {
                let (shard, holder) = (self.id.clone(), hold.operation.clone());
                Err(HoldRefused::HeldByAnother {
                    shard,
                    holder,
                    operation: operation.clone(),
                })
            };
        }
        if self.state != ShardState::Serving || self.range.is_none() {
            return Err(HoldRefused::NotServing {
                shard: self.id.clone(),
                state: self.state,
            });
        }
        let hold = Hold {
            operation: operation.clone(),
            side: Side::Source,
        };
        Ok(Self {
            hold: Some(hold),
            ..self.clone()
        })
    }

    /// Stops the writes of a source until its operation is decided. Again changes nothing.
    ///
    /// # Errors
    /// [`HoldRefused::NotHeld`] unless the operation holds the shard as a source.
    pub fn seal_by(&self, operation: &OperationId) -> Result<Self, HoldRefused> {
        match &self.hold {
            Some(hold) if hold.operation == *operation && hold.side == Side::Source => Ok(Self {
                state: ShardState::Sealed,
                ..self.clone()
            }),
            _ => {
                let (shard, operation) = (self.id.clone(), operation.clone());
                Err(HoldRefused::NotHeld { shard, operation })
            }
        }
    }

    /// Writes a decided operation into the shard and ends the hold; a shard that it does not hold stays as it is.
    ///
    /// After a commit a target serves and a source is retired; after an abort a source serves, unsealed, and a target is
    /// retired.
    ///
    /// # Errors
    /// [`HoldRefused::Undecided`] while the operation may still go either way.
    pub fn resolve(&self, operation: &Operation) -> Result<Self, HoldRefused> {
        if self
            .hold
            .as_ref()
            .is_none_or(|hold| hold.operation != operation.id)
        {
            return Ok(self.clone());
        }
        if operation.phase.decision() == Decision::Open {
            let (shard, operation) = (self.id.clone(), operation.id.clone());
            return Err(HoldRefused::Undecided { shard, operation });
        }
        let mut resolved = Self {
            state: self.effective_state(operation),
            hold: None,
            ..self.clone()
        };
        if resolved.state == ShardState::Retired {
            // An attempt that nobody may finish.
            resolved.pending = None;
        }
        Ok(resolved)
    }

    /// Returns what the shard does, given the operation that holds it: as its own record says while the operation is open,
    /// and as the decision says from then on, whether or not it was written into the shard.
    #[must_use]
    pub fn effective_state(&self, operation: &Operation) -> ShardState {
        let Some(hold) = self
            .hold
            .as_ref()
            .filter(|hold| hold.operation == operation.id)
        else {
            return self.state;
        };
        match (operation.phase.decision(), hold.side) {
            (Decision::Open, _) => self.state,
            (Decision::Commit, Side::Source) if operation.keeps(&self.id) => ShardState::Serving,
            (Decision::Commit, Side::Target) | (Decision::Abort, Side::Source) => {
                ShardState::Serving
            }
            (Decision::Commit, Side::Source) | (Decision::Abort, Side::Target) => {
                ShardState::Retired
            }
        }
    }
}
