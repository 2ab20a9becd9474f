//! What a coordinator knows, for those who ask.

use std::sync::Arc;

use serde::Serialize;
use shardwright_rebalancer::Plan;
use shardwright_registry::Revision;
use shardwright_topology::{NodeId, NodeRecord, ShardRecord};

/// What a coordinator knew at one moment.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Every change of the registry up to this one is in it.
    pub revision: Revision,
    /// Whether everything in the registry has been seen once.
    pub is_complete: bool,
    /// Who leads, as far as the registry says.
    pub leader: Option<NodeId>,
    /// The term of the leader.
    pub term: u64,
    /// Whether that is this coordinator, and it may act.
    pub is_leading: bool,
    /// The nodes, by name.
    pub nodes: Arc<Vec<NodeView>>,
    /// The shards, by keyspace and name.
    pub shards: Arc<Vec<Arc<ShardRecord>>>,
    /// What is planned and not yet begun. Only the leader has one.
    pub plan: Arc<Plan>,
    /// How many moves are under way.
    pub moving: usize,
}

/// A node as a coordinator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeView {
    /// What the registry holds of it.
    #[serde(flatten)]
    pub record: NodeRecord,
    /// Whether it holds a lease: it may serve.
    pub leased: bool,
    /// How many shards it holds, in any role.
    pub shards: usize,
}
