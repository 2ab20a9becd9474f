//! Why a shard did not do what an operation asked of it.

use std::sync::Arc;

use shardwright_elastic::StoreError;
use shardwright_registry::BoxError;
use shardwright_topology::{Lsn, OperationId, ShardId};

use super::wire::Refusal;

/// Why a shard did not do what was asked.
#[derive(Debug)]
pub(super) enum Failure {
    Unknown,
    Refused(Refusal),
    Lost(BoxError),
}

impl Failure {
    /// Says it as the contract does.
    pub(super) fn of(self, shard: &ShardId, operation: Option<&OperationId>) -> StoreError {
        let shard = shard.clone();
        let failed = |why: String| StoreError::Failed(Arc::new(why.into()));
        let unavailable = |why: BoxError| StoreError::Unavailable(Arc::new(why));
        let refusal = match self {
            Self::Unknown => return StoreError::Unknown { shard },
            Self::Lost(error) => return unavailable(error),
            Self::Refused(refusal) => refusal,
        };
        match (refusal, operation.cloned()) {
            (Refusal::NotPrimary { .. }, _) => unavailable("the primary has moved".into()),
            (Refusal::Later(why), _) => unavailable(why.into()),
            (Refusal::NoBase, _) => unavailable("no part of the source is kept aside".into()),
            (Refusal::Ended, Some(operation)) => StoreError::Ended { shard, operation },
            (Refusal::NotHeld, Some(operation)) => StoreError::NotHeld { shard, operation },
            (Refusal::Trimmed, _) => StoreError::Trimmed {
                shard,
                after: Lsn(0),
            },
            (Refusal::Failed(why), _) => failed(why),
            (refusal @ (Refusal::Ended | Refusal::NotHeld), None) => failed(format!("{refusal:?}")),
        }
    }
}
