//! The vocabulary of a sharded system: ids, key ranges, epochs, shard records and shard maps.
//!
//! A [`ShardMap`] says which shard owns each [`Position`] of the hash space. It is built from [`ShardRecord`]s, which say
//! who holds each shard, and from the [`Operation`]s that split, merge and move them. All of it is plain data with pure
//! functions: no I/O, no clock, no waiting.
//!
//! ```
//! use shardwright_topology::{Position, ShardId, ShardMap};
//!
//! let map = ShardMap::even(8);
//! let shard = map.at(Position::of("tenant-123"));
//! assert_eq!(shard.id(), &ShardId::numbered(0));
//! assert!(shard.range().contains(Position::of("tenant-123")));
//! ```
//!
//! # Words
//!
//! - **keyspace** ([`KeyspaceName`]): one sharded database. Its shards tile one hash space.
//! - **position** ([`Position`]): where a key falls in the hash space, 0 to 2^64 - 1.
//! - **key range** ([`KeyRange`]): a stretch `[start, end)` of positions.
//! - **shard** ([`ShardId`], [`ShardRecord`]): the unit of ownership, placement and movement. It owns one range for life.
//! - **catalog shard** ([`ShardId::catalog`]): the one shard of a keyspace without a range, which holds global tables.
//! - **node** ([`NodeId`], [`NodeRecord`]): a process that holds shards, across its restarts; each start has an
//!   [`Incarnation`]. It runs at a [`Location`].
//! - **role** ([`Role`]): primary, replica or proxy.
//! - **copy** ([`ReplicaId`]): the data of one shard on one node; a **member** ([`Member`]) if it counts.
//! - **configuration** ([`Config`]): the members of a shard, its primary, and its commit width, at one epoch.
//! - **epoch** ([`Epoch`]): the ownership generation of one shard, and the fencing token. Shown as `e7`.
//! - **attempt** ([`ShardRecord::begin_attempt`]): a configuration that is being tried and has committed nothing.
//! - **log position** ([`Lsn`]): the number of a record in one shard's log.
//! - **operation** ([`Operation`]): a split, a merge or a migration, in a [`Phase`], with **sources** and **targets**.
//! - **gap** ([`Gap`]): the moment after a write of an operation and before the next one.
//! - **hold** ([`Hold`]): the pointer from a shard to the operation that it takes part in.
//! - **seal** ([`ShardRecord::seal_by`]): the end of a source's writes, until its operation is decided.
//! - **map** ([`ShardMap`]): who owns what at one **revision**. Revisions and epochs are never compared.
//! - **timestamp** ([`Timestamp`]): a moment on one process's monotonic clock, always passed as an argument.
//! - **backoff** ([`Backoff`]): how long to wait between attempts of any kind.
//!
//! # Guarantees
//!
//! - Every position has exactly one owner in a map, on one side of every operation.
//! - Epochs only grow, and one configuration has each.
//! - Every stored type refuses fields that it does not know; its format version is the registry's.
//!
//! # What this crate does not do
//!
//! It stores nothing (`shardwright-registry` does), and knows no key, only its position (`shardwright-hashing`).

mod backoff;
mod config;
mod key_range;
mod name;
mod node;
mod number;
mod operation;
mod random_id;
mod registered_copies;
mod shard_map;
mod shard_record;
mod timestamp;

pub use shardwright_hashing::Position;

pub use crate::{
    backoff::Backoff,
    config::{Config, InvalidConfig, Member, Primary, Proposal},
    key_range::{InvalidRange, KeyRange},
    name::{InvalidName, KeyspaceName, NAME_MAX, NodeId, OperationId, ShardId},
    node::{Location, NodeRecord, NodeState, Role},
    number::{Epoch, Incarnation, Lsn},
    operation::{
        Decision, Gap, Halts, InvalidOperation, MemberChange, Operation, OperationKind, Phase,
        UnknownGap, Written,
    },
    random_id::{ConfigId, InvalidRandomId, ReplicaId},
    registered_copies::RegisteredCopies,
    shard_map::{ChangeRefused, InvalidMap, Shard, ShardMap, ShardMapChange, Shards},
    shard_record::{
        AttemptRefused, Conditions, HasRange, Hold, HoldRefused, InvalidRecord, ShardRecord,
        ShardState, Side,
    },
    timestamp::Timestamp,
};
