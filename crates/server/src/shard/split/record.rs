//! What the records of a split say.

use serde::{Deserialize, Serialize};
use shardwright_quorum::log::{ClientId, Record};
use shardwright_sql::Placement;
use shardwright_store::{Error as StoreError, ReplicaError};
use shardwright_topology::{KeyRange, Lsn, OperationId, ShardId};

/// The version of the records.
const VERSION: u8 = 1;

/// What a record says that takes part in a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SplitBase {
    /// In the log of a source.
    Cut(Cut),
    /// In the log of a target.
    Take(Take),
}

/// What a source holds here is kept aside, part by part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cut {
    /// The operation.
    pub(crate) operation: OperationId,
    /// The shard that is divided.
    pub(crate) source: ShardId,
    /// The shards that follow it.
    pub(crate) parts: Vec<CutPart>,
    /// What leads from a row to its part.
    pub(crate) placement: Placement,
}

/// What one target gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CutPart {
    /// The target.
    pub(crate) shard: ShardId,
    /// The positions that it is to own.
    pub(crate) range: KeyRange,
    /// Whether it is the one that tells of writes with several keys.
    pub(crate) tells: bool,
}

/// A target begins with what its copies kept aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Take {
    /// The operation.
    pub(crate) operation: OperationId,
    /// The shard that was divided.
    pub(crate) source: ShardId,
    /// The record of the source at which that was.
    pub(crate) at: Lsn,
    /// What each copy has to have.
    pub(crate) digest: [u8; 32],
    /// The tables whose rows come to those that the target has by then; `None` if it has nothing, and begins with this.
    pub(crate) joins: Option<Vec<String>>,
}

impl SplitBase {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let bytes = vec![VERSION];
        postcard::to_extend(self, bytes).expect("writing plain values to memory cannot fail")
    }
}

/// Reads what a record says of a split.
pub(in crate::shard) fn decode(record: &Record) -> Result<SplitBase, StoreError> {
    let damaged = |reason: &'static str| StoreError::from(ReplicaError::Damaged { reason });
    match record.payload.split_first() {
        Some((&VERSION, said)) => postcard::from_bytes(said)
            .map_err(|_| damaged("a record of a split says nothing that is understood")),
        Some((&found, _)) => Err(StoreError::from(ReplicaError::UnknownVersion {
            found,
            supported: VERSION,
        })),
        None => Err(damaged("a record of a split is empty")),
    }
}

/// The client as which a target takes in the records of a source: its number is that of the last one, so that each happens once.
pub(crate) fn import_client(operation: &OperationId, source: &ShardId) -> ClientId {
    ClientId::stream_named(&format!("import {operation} {source}"))
}
