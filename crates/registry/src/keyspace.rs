//! Keyspaces: what the registry knows of one sharded database as a whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shardwright_topology::KeyspaceName;

use crate::Record;

/// How keys become shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Partitioning {
    /// Each shard owns a range of positions; shards split and merge.
    Ranges,
    /// Position modulo a number of shards that never changes: `shard-0` up to `shard-<n-1>`.
    Modulo {
        /// The number of shards.
        shards: u32,
    },
    /// No key becomes a shard: shards have names that their users give, and no ranges. There is no map by position.
    Named,
}

/// What the registry knows of a keyspace as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyspaceRecord {
    /// Its name.
    pub name: KeyspaceName,
    /// How keys become shards.
    pub partitioning: Partitioning,
    /// Grows with every change of `schema`.
    pub schema_version: u64,
    /// The shard-key schema, in a form that only the owner of the data knows.
    pub schema: serde_json::Value,
    /// Settings by name, in a form that only their readers know.
    pub settings: BTreeMap<String, serde_json::Value>,
}

impl KeyspaceRecord {
    /// Returns the record of a new keyspace: ranges, no schema, no settings.
    #[must_use]
    pub fn new(name: KeyspaceName) -> Self {
        Self {
            name,
            partitioning: Partitioning::Ranges,
            schema_version: 0,
            schema: serde_json::Value::Null,
            settings: BTreeMap::new(),
        }
    }
}

impl Record for KeyspaceRecord {
    const KIND: &'static str = "keyspace record";
    const VERSION: u64 = 1;
}
