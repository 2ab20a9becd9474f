//! From keys to shards.

use std::sync::Arc;

use shardwright_store::{Params, ValueRef};
use shardwright_topology::{Position, ShardMap};

use super::{Homes, KeyExpr};
use crate::{
    error::Error,
    key::{CanonicalKey, KeyRules},
    schema::{Schema, Table},
};

/// What is needed to find the shard of a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Routing<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) map: &'a ShardMap,
    /// What a directory says of the keys; `None` where there is none, so that the map alone decides.
    pub(crate) homes: Option<&'a Homes>,
}

/// The same, for those who outlive the caller's borrow.
#[derive(Debug, Clone)]
pub(crate) struct OwnedRouting {
    pub(crate) schema: Arc<Schema>,
    pub(crate) map: Arc<ShardMap>,
    /// Whether a directory may name other homes than the map does.
    pub(crate) has_directory: bool,
}

impl Routing<'_> {
    /// The shard, by its index in the map, that has the rows of a value of a table's shard key.
    pub(crate) fn shard_of(self, table: &Table, value: ValueRef<'_>) -> usize {
        match (table.key_column(), table.shard_key()) {
            (Some(column), Some(key)) => {
                self.home(&key.group, &KeyRules::from(column).canonical(value))
            }
            // Not sharded: there is no key that could decide.
            _ => 0,
        }
    }

    /// The shard, by its index in the map, that has the rows of a key.
    pub(crate) fn home(self, space: &str, key: &CanonicalKey<'_>) -> usize {
        let listed = self.homes.and_then(|homes| homes.of(space, key));
        listed.unwrap_or_else(|| self.map.index_at(key.position_in(space)))
    }

    /// The position of a value of a table's shard key; `None` if the table has none.
    pub(crate) fn position_of(self, table: &Table, value: ValueRef<'_>) -> Option<Position> {
        let group = &table.shard_key()?.group;
        Some(self.canonical(table, value).position_in(group))
    }

    /// The canonical form of a value of a table's shard key.
    pub(crate) fn canonical<'v>(self, table: &Table, value: ValueRef<'v>) -> CanonicalKey<'v> {
        table.key_column().map_or(CanonicalKey::Null, |column| {
            KeyRules::from(column).canonical(value)
        })
    }
}

/// The shards that a set of keys reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// No key: nothing can match.
    Nowhere,
    /// One shard.
    One(usize),
    /// These shards, ascending.
    Several(Vec<usize>),
    /// The key is not known.
    Everywhere,
}

impl Route {
    /// Decides from the keys that a reference is pinned to.
    pub(crate) fn of(
        pin: Option<&[KeyExpr]>,
        table: &Table,
        params: &Params<'_>,
        routing: Routing<'_>,
    ) -> Result<Self, Error> {
        let Some(keys) = pin else {
            return Ok(Self::Everywhere);
        };
        if let [key] = keys {
            return Ok(Self::One(routing.shard_of(table, key.value(params)?)));
        }
        let mut shards = Vec::with_capacity(keys.len());
        for key in keys {
            shards.push(routing.shard_of(table, key.value(params)?));
        }
        shards.sort_unstable();
        shards.dedup();
        Ok(match shards[..] {
            [] => Self::Nowhere,
            [shard] => Self::One(shard),
            _ => Self::Several(shards),
        })
    }

    /// The shards of this route, among `count`.
    pub(crate) fn shards(&self, count: usize) -> Vec<usize> {
        match self {
            Self::Nowhere => Vec::new(),
            Self::One(shard) => vec![*shard],
            Self::Several(shards) => shards.clone(),
            Self::Everywhere => (0..count).collect(),
        }
    }

    /// The only shard of this route, where there is only one.
    pub(crate) fn only(&self, count: usize) -> Option<usize> {
        match self {
            Self::One(shard) => Some(*shard),
            // With one shard, everything is on it.
            Self::Nowhere => Some(0),
            Self::Everywhere if count == 1 => Some(0),
            Self::Several(_) | Self::Everywhere => None,
        }
    }
}
