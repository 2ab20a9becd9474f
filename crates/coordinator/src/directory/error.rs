//! What can go wrong with a call to the directory.

use shardwright_topology::ShardId;

use super::{BUCKET_KEYS_MAX, KEY_MAX, SEQUENCE_MAX, SHARDS_MAX};

/// A call to the directory that did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no shard to choose from.
    #[error("No shards available")]
    NoShards,
    /// The shard is not registered.
    #[error("shard {shard} is not registered")]
    UnknownShard {
        /// Its name.
        shard: ShardId,
    },
    /// No more shards can be registered.
    #[error("{SHARDS_MAX} shards are registered, which is the most")]
    TooManyShards,
    /// A key must have 1 to [`KEY_MAX`] bytes.
    #[error("primaryKey must be a text of 1 to {KEY_MAX} bytes")]
    NoKey,
    /// The name of a sequence must have 1 to [`KEY_MAX`] bytes.
    #[error("name must be a text of 1 to {KEY_MAX} bytes")]
    NoName,
    /// The part of the directory that the key belongs to is full.
    #[error("the directory holds {BUCKET_KEYS_MAX} keys beside this one, which is the most")]
    Full,
    /// A sequence has no more numbers.
    #[error("the sequence would pass {SEQUENCE_MAX}, its last number")]
    SequenceEnds,
    /// Others changed the same record again and again. Nothing changed; try again later.
    #[error("others changed the same record first, again and again")]
    Contended,
    /// The registry failed.
    #[error("the registry failed")]
    Registry(#[from] shardwright_registry::Error),
}

impl Error {
    /// The stable code. The names are CollegeDB's where it has one.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoShards => "NO_SHARDS",
            Self::UnknownShard { .. } => "SHARD_NOT_FOUND",
            Self::TooManyShards => "TOO_MANY_SHARDS",
            Self::NoKey | Self::NoName => "BAD_REQUEST",
            Self::Full => "DIRECTORY_FULL",
            Self::SequenceEnds => "SEQUENCE_ENDS",
            Self::Contended => "BUSY",
            Self::Registry(_) => "REGISTRY",
        }
    }

    /// Returns whether the same call may simply be repeated.
    ///
    /// That is true of a registry that does not know whether a change happened: a repeated allocation gives the same home, and
    /// a repeated sequence call leaves a number out.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Contended => true,
            Self::Registry(shardwright_registry::Error::Store(error)) => {
                error.is_retryable()
                    || matches!(error, shardwright_registry::StoreError::Unknown { .. })
            }
            Self::Registry(error) => error.is_retryable(),
            Self::NoShards
            | Self::UnknownShard { .. }
            | Self::TooManyShards
            | Self::NoKey
            | Self::NoName
            | Self::Full
            | Self::SequenceEnds => false,
        }
    }
}
