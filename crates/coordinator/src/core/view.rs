//! What a coordinator knows, for those who ask.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Serialize;
use shardwright_failover::replication::Condition;
use shardwright_rebalancer::{PartitionId, Plan};
use shardwright_registry::Revision;
use shardwright_topology::{NodeId, NodeRecord, Operation, ShardRecord, ShardState};

use super::mirror::partition_of;
use crate::protocol::{Report, TroubleKind};

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
    /// The shards, by keyspace and name, as the decisions of operations have left them. Retired ones are not among them, and those that are
    /// being filled own nothing yet.
    pub shards: Arc<Vec<Arc<ShardRecord>>>,
    /// The splits, merges and moves that the registry keeps, by name, also those that are over.
    pub operations: Arc<Vec<Operation>>,
    /// How far copies are, where workers say so. Only the leader hears it.
    pub progress: Arc<BTreeMap<(PartitionId, NodeId), Progress>>,
    /// How the shards stand that commit on several members. Only the leader finds it out.
    pub replicated: Arc<BTreeMap<PartitionId, ReplicatedView>>,
    /// Which copies of such shards do not work. Only the leader hears it.
    pub troubles: Arc<BTreeMap<PartitionId, Vec<TroubleView>>>,
    /// The nodes that keep copies of shards that commit on several members. Only the leader hears of all of them.
    pub keepers: Arc<BTreeSet<NodeId>>,
    /// The nodes that take part, and from which this leader has yet to hear: it does not know what they keep. None where nobody leads.
    pub unheard: Arc<BTreeSet<NodeId>>,
    /// The last change of any record of a shard.
    pub shards_revision: Revision,
    /// What is planned and not yet begun. Only the leader has one.
    pub plan: Arc<Plan>,
    /// How many moves are under way.
    pub moving: usize,
}

impl View {
    /// Returns how far the copy of a shard on a node is.
    #[must_use]
    pub fn progress_of(&self, shard: &ShardRecord, node: &NodeId) -> Progress {
        if self.progress.is_empty() {
            return Progress::default();
        }
        let copy = (partition_of(shard), node.clone());
        self.progress.get(&copy).copied().unwrap_or_default()
    }

    /// Returns the shards that are not being filled.
    pub fn settled(&self) -> impl Iterator<Item = &ShardRecord> {
        let shards = self.shards.iter().map(AsRef::as_ref);
        shards.filter(|shard: &&ShardRecord| shard.state != ShardState::Importing)
    }

    /// Returns how many splits, merges and moves are not over.
    #[must_use]
    pub fn open_operations(&self) -> usize {
        let operations = self.operations.iter();
        operations
            .filter(|operation| !operation.phase.is_final())
            .count()
    }

    /// Returns which copies of a shard do not work.
    #[must_use]
    pub fn troubles_of(&self, shard: &ShardRecord) -> &[TroubleView] {
        if self.troubles.is_empty() {
            return &[];
        }
        let troubles = self.troubles.get(&partition_of(shard));
        troubles.map_or(&[], Vec::as_slice)
    }

    /// Returns how a shard stands that commits on several members; `None` for others, and where nobody leads.
    #[must_use]
    pub fn replicated_shard(&self, shard: &ShardRecord) -> Option<&ReplicatedView> {
        if self.replicated.is_empty() {
            return None;
        }
        self.replicated.get(&partition_of(shard))
    }
}

/// How a shard stands that commits on several members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicatedView {
    /// How it stands.
    pub condition: Condition,
    /// By how many records its copies are behind its primary, where that is known.
    pub lags: BTreeMap<NodeId, u64>,
    /// By how many they may be behind and still be in sync.
    pub lag_max: u64,
}

/// A copy that does not work, or has not caught up since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TroubleView {
    /// Where it is.
    pub node: NodeId,
    /// What kind of trouble it is.
    pub kind: TroubleKind,
    /// What its worker says of it.
    pub error: String,
}

/// How far a copy of a shard is, as the worker that holds it has last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// How far, in whatever the worker counts.
    pub position: Option<u64>,
    /// Whether the copy has all that was acknowledged.
    pub in_sync: Option<bool>,
}

impl Progress {
    /// What a report says of it; `None` if nothing.
    pub(super) fn of(report: &Report) -> Option<Self> {
        let progress = Self {
            position: report.position,
            in_sync: report.in_sync,
        };
        (progress != Self::default()).then_some(progress)
    }
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
