//! Nodes: the processes that hold shards.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Incarnation, NodeId};

/// What a node does for the shards that it is assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Owns the shard: takes its writes.
    Primary,
    /// Holds a copy.
    Replica,
    /// Holds nothing and forwards requests.
    Proxy,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Proxy => "proxy",
        })
    }
}

/// Where a node runs; what is not known is `None`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// The region, such as `eu-central`.
    pub region: Option<String>,
    /// The zone within it: nodes of one zone are expected to fail together.
    pub zone: Option<String>,
}

/// Whether a node may be given shards, and whether it serves those that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// Registered, not yet seen serving.
    Joining,
    /// Serves and may be given more.
    Up,
    /// Serves, and its shards are being moved away.
    Draining,
    /// Taken for dead: its shards are served elsewhere or not at all.
    Down,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Joining => "joining",
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Down => "down",
        })
    }
}

/// What the registry knows of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRecord {
    /// Its name.
    pub id: NodeId,
    /// Where other processes reach it, for example `http://10.0.0.7:7600`.
    pub address: String,
    /// Where it runs.
    pub location: Location,
    /// Its share of the shards, relative to the weights of other nodes; usually 100. Weight 0 gets none.
    pub weight: u32,
    /// What it does for the shards that it is assigned.
    pub role: Role,
    /// Whether it may be given shards.
    pub state: NodeState,
    /// The process that runs under the name now.
    pub incarnation: Incarnation,
}

impl NodeRecord {
    /// The weight of an ordinary node.
    pub const WEIGHT: u32 = 100;

    /// Returns the record of a primary's first process: nowhere in particular, of ordinary weight, joining.
    #[must_use]
    pub fn new(id: NodeId, address: impl Into<String>) -> Self {
        Self {
            id,
            address: address.into(),
            location: Location::default(),
            weight: Self::WEIGHT,
            role: Role::Primary,
            state: NodeState::Joining,
            incarnation: Incarnation(1),
        }
    }
}
