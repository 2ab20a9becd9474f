//! What can go wrong with a call to the registry.

use shardwright_topology::{
    AttemptRefused, HasRange, HoldRefused, InvalidMap, InvalidOperation, KeyspaceName, NodeId,
    Role, ShardId,
};

use crate::{BoxError, FormatError, InvalidKey, Key, StoreError};

/// A call to the registry that did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed; [`StoreError`] says whether something may have changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A value cannot be read or written. Nothing changed.
    #[error("{key} cannot be used")]
    Format {
        /// The key of the value.
        key: Key,
        /// What is wrong with it.
        #[source]
        source: FormatError,
    },
    /// A name gives no key. Nothing changed.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// The record to change does not exist. Nothing changed.
    #[error("{key} does not exist")]
    Missing {
        /// The key of the record.
        key: Key,
    },
    /// Others were faster again and again. Nothing changed; try again later.
    #[error("others changed {key} first, {attempts} times in a row")]
    Contended {
        /// The key of the record.
        key: Key,
        /// How often the change was tried.
        attempts: u32,
    },
    /// The keyspace was never created.
    #[error("there is no keyspace {keyspace}, create it first")]
    UnknownKeyspace {
        /// Its name.
        keyspace: KeyspaceName,
    },
    /// The shard does not exist.
    #[error("keyspace {keyspace} has no shard {shard}")]
    UnknownShard {
        /// The keyspace.
        keyspace: KeyspaceName,
        /// The shard.
        shard: ShardId,
    },
    /// The node is not registered.
    #[error("node {node} is not registered")]
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// A node claimed a shard that another one owns. Move the shard first, or register without it.
    #[error("shard {shard} is owned by {owner}, {claimant} cannot claim it")]
    OwnedElsewhere {
        /// The shard.
        shard: ShardId,
        /// Who owns it.
        owner: NodeId,
        /// Who claimed it.
        claimant: NodeId,
    },
    /// A shard without an owner was to get a replica. Assign it first.
    #[error("shard {shard} has no owner yet, assign it first")]
    Unassigned {
        /// The shard.
        shard: ShardId,
    },
    /// The shard is replicated by a log: its members change by attempts that its copies confirm, not by assignment.
    #[error("shard {shard} commits on {w} members, its members change by an attempt only")]
    Replicated {
        /// The shard.
        shard: ShardId,
        /// Its commit width.
        w: u32,
    },
    /// The primary of a shard cannot be removed from it. Assign another one first.
    #[error("node {node} is the primary of shard {shard}, assign another one first")]
    IsPrimary {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// A role that holds no shards was to hold one.
    #[error("a {role} holds no shard, {shard} cannot be assigned to it")]
    RoleHoldsNothing {
        /// The shard.
        shard: ShardId,
        /// The role.
        role: Role,
    },
    /// A configuration was refused.
    #[error(transparent)]
    Attempt(#[from] AttemptRefused),
    /// A shard does not take the step of an operation.
    #[error(transparent)]
    Hold(#[from] HoldRefused),
    /// An operation cannot take a step.
    #[error(transparent)]
    Operation(#[from] InvalidOperation),
    /// The records make no shard map: they are damaged, or somebody is changing them. Read them again.
    #[error("the records of keyspace {keyspace} make no shard map")]
    Map {
        /// The keyspace.
        keyspace: KeyspaceName,
        /// What is wrong with them.
        #[source]
        source: InvalidMap,
    },
    /// The keyspace has shards that their users name: no key is mapped to one. Look shards up by their names.
    #[error("the shards of keyspace {keyspace} have names and no ranges, look them up by name")]
    NoMap {
        /// The keyspace.
        keyspace: KeyspaceName,
    },
    /// A shard was to be created or deleted by name in a keyspace whose shards own ranges. Use a keyspace of named shards.
    #[error(
        "the shards of keyspace {keyspace} own ranges, they are not created or deleted by name"
    )]
    NotNamed {
        /// The keyspace.
        keyspace: KeyspaceName,
    },
    /// A shard with a range was to be retired or revived.
    #[error(transparent)]
    HasRange(#[from] HasRange),
    /// The caller's own function refused the change. Nothing changed.
    #[error(transparent)]
    Refused(BoxError),
}

impl Error {
    /// Returns whether the same call may simply be repeated, later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::Contended { .. } | Self::Map { .. } => true,
            Self::Format { .. }
            | Self::Key(_)
            | Self::Missing { .. }
            | Self::UnknownKeyspace { .. }
            | Self::UnknownShard { .. }
            | Self::UnknownNode { .. }
            | Self::OwnedElsewhere { .. }
            | Self::Unassigned { .. }
            | Self::Replicated { .. }
            | Self::IsPrimary { .. }
            | Self::RoleHoldsNothing { .. }
            | Self::Attempt(_)
            | Self::Hold(_)
            | Self::Operation(_)
            | Self::NoMap { .. }
            | Self::NotNamed { .. }
            | Self::HasRange(_)
            | Self::Refused(_) => false,
        }
    }
}
