//! Routes: who owns a shard, as far as this process knows.

use std::sync::Arc;

use shardwright_registry::Partitioning;
use shardwright_topology::{Epoch, NodeId, Position, Shard, ShardId, ShardMap, ShardRecord};

use crate::{Error, by_shard::ByShard};

/// Where a shard is: its owner, and the epoch that a request to it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The shard.
    pub shard: ShardId,
    /// The node that owns it.
    pub owner: NodeId,
    /// Since which epoch.
    pub epoch: Epoch,
}

/// Who owns a shard without a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) owner: Option<NodeId>,
    pub(crate) epoch: Epoch,
}

impl Placed {
    pub(crate) fn of(record: &ShardRecord) -> Self {
        Self {
            owner: record.primary().cloned(),
            epoch: record.active_epoch(),
        }
    }
}

/// Who owns what.
#[derive(Debug, Clone, Default)]
pub(crate) enum Routes {
    /// Nothing has been heard.
    #[default]
    None,
    /// Shards that own ranges of positions, and how a tenant's position is found.
    Ranges(Arc<ShardMap>),
    /// The same, but a tenant's shard follows from its number.
    Modulo(Arc<ShardMap>, Arc<[ShardId]>),
    /// Shards that have names only.
    Named(ByShard<Placed>),
}

impl Routes {
    /// Returns the routes of a keyspace with ranges or a fixed number of shards.
    pub(crate) fn of_map(map: Arc<ShardMap>, partitioning: &Partitioning) -> Self {
        match partitioning {
            Partitioning::Modulo { shards } if *shards > 0 => {
                Self::Modulo(map, (0..*shards).map(ShardId::numbered).collect())
            }
            Partitioning::Modulo { .. } | Partitioning::Ranges | Partitioning::Named => {
                Self::Ranges(map)
            }
        }
    }

    /// Returns the map, if there is one.
    pub(crate) fn map(&self) -> Option<&Arc<ShardMap>> {
        match self {
            Self::Ranges(map) | Self::Modulo(map, _) => Some(map),
            Self::None | Self::Named(_) => None,
        }
    }

    /// Returns the shard of a tenant.
    #[inline]
    pub(crate) fn of_tenant(&self, tenant: &[u8]) -> Result<&Shard, Error> {
        match self {
            Self::None => Err(Error::NoMap),
            Self::Named(_) => Err(Error::NoTenants),
            Self::Ranges(_) | Self::Modulo(..) => self.at(Position::of(tenant)),
        }
    }

    /// Returns the shard at a position.
    #[inline]
    pub(crate) fn at(&self, position: Position) -> Result<&Shard, Error> {
        match self {
            Self::Ranges(map) => Ok(map.at(position)),
            Self::Modulo(map, shards) => {
                let shard = &shards[(position.0 % shards.len() as u64) as usize];
                map.shard(shard).ok_or_else(|| Error::UnknownShard {
                    shard: shard.clone(),
                })
            }
            Self::Named(_) => Err(Error::NoTenants),
            Self::None => Err(Error::NoMap),
        }
    }

    /// Returns owner and epoch of a shard.
    #[inline]
    pub(crate) fn owner(&self, shard: &ShardId) -> Result<(Option<&NodeId>, Epoch), Error> {
        let unknown = || Error::UnknownShard {
            shard: shard.clone(),
        };
        match self {
            Self::Ranges(map) | Self::Modulo(map, _) => {
                let found = map.shard(shard).ok_or_else(unknown)?;
                Ok((found.primary(), found.epoch()))
            }
            Self::Named(placed) => {
                let found = placed.get(shard).ok_or_else(unknown)?;
                Ok((found.owner.as_ref(), found.epoch))
            }
            Self::None => Err(Error::NoMap),
        }
    }

    /// Returns the route of a shard.
    pub(crate) fn route(&self, shard: &ShardId) -> Result<Route, Error> {
        let (owner, epoch) = self.owner(shard)?;
        route(shard, owner, epoch)
    }
}

/// Puts a route together from its parts.
#[inline]
pub(crate) fn route(shard: &ShardId, owner: Option<&NodeId>, epoch: Epoch) -> Result<Route, Error> {
    match owner {
        Some(owner) => Ok(Route {
            shard: shard.clone(),
            owner: owner.clone(),
            epoch,
        }),
        None => Err(Error::NoOwner {
            shard: shard.clone(),
        }),
    }
}
