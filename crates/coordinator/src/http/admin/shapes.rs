//! What the admin API shows. The table of shapes in the documentation is made from these.

use axum::http::StatusCode;
use serde::Serialize;
use shardwright_hashing::Position;
use shardwright_rebalancer::{PartitionId, Plan};
use shardwright_topology::{
    Epoch, KeyspaceName, NodeId, NodeState, OperationId, ReplicaId, Role, ShardId, ShardRecord,
    ShardState,
};

use crate::{
    core::{NodeView, Refusal, TroubleView, View},
    http::Problem,
};

/// A node.
#[derive(Debug, Serialize)]
pub(super) struct NodeShape<'a> {
    id: &'a NodeId,
    address: &'a str,
    role: Role,
    state: NodeState,
    zone: Option<&'a str>,
    region: Option<&'a str>,
    weight: u32,
    shards: usize,
    /// How many of its copies do not work, if this is the leader.
    troubles: usize,
}

impl<'a> NodeShape<'a> {
    pub(super) fn of(node: &'a NodeView, view: &View) -> Self {
        let record = &node.record;
        let troubles = view.troubles.values().flatten();
        Self {
            id: &record.id,
            address: &record.address,
            role: record.role,
            state: record.state,
            zone: record.location.zone.as_deref(),
            region: record.location.region.as_deref(),
            weight: record.weight,
            shards: node.shards,
            troubles: troubles.filter(|trouble| trouble.node == record.id).count(),
        }
    }
}

/// A shard. What is not known is `null`. Rows and bytes are not: no node is asked for a list, and the statistics have them.
#[derive(Debug, Serialize)]
pub(super) struct ShardShape<'a> {
    id: &'a ShardId,
    keyspace: &'a KeyspaceName,
    start: Option<Position>,
    end: Option<Position>,
    state: ShardState,
    epoch: Epoch,
    primary: Option<&'a NodeId>,
    replicas: Vec<ReplicaShape<'a>>,
    /// The split, merge or move that it takes part in.
    operation: Option<&'a OperationId>,
    /// How it stands, if it commits on several members and this is the leader.
    condition: Option<&'static str>,
    /// Which of its copies do not work, if this is the leader.
    troubles: &'a [TroubleView],
    /// How often somebody accepted that acknowledged writes may be lost.
    data_loss_generation: u64,
    rows: Option<u64>,
    bytes: Option<u64>,
}

/// A copy of a shard other than the primary.
#[derive(Debug, Serialize)]
pub(super) struct ReplicaShape<'a> {
    node: &'a NodeId,
    /// Whether the copy has all that was acknowledged, as its worker says.
    in_sync: Option<bool>,
    /// How far it is behind the primary, in what the workers count.
    lag: Option<u64>,
}

impl<'a> ShardShape<'a> {
    pub(super) fn of(shard: &'a ShardRecord, view: &'a View) -> Self {
        let primary = shard.primary();
        let replicated = view.replicated_shard(shard);
        let position = primary.and_then(|node| view.progress_of(shard, node).position);
        let replicas = shard.active.iter().flat_map(|config| config.replicas());
        let replicas = replicas.map(|member| {
            let progress = view.progress_of(shard, &member.node);
            let positions = position.zip(progress.position);
            let lag = match replicated {
                Some(replicated) => replicated.lags.get(&member.node).copied(),
                None => positions.map(|(primary, copy)| primary.saturating_sub(copy)),
            };
            let is_close = replicated.and_then(|shard| lag.map(|lag| lag <= shard.lag_max));
            ReplicaShape {
                node: &member.node,
                in_sync: is_close.or(progress.in_sync),
                lag,
            }
        });
        Self {
            id: &shard.id,
            keyspace: &shard.keyspace,
            start: shard.range.map(|range| range.start()),
            end: shard.range.and_then(|range| range.end()),
            state: shard.state,
            epoch: shard.active_epoch(),
            primary,
            replicas: replicas.collect(),
            operation: shard.hold.as_ref().map(|hold| &hold.operation),
            condition: replicated.map(|shard| shard.condition.kind()),
            troubles: view.troubles_of(shard),
            data_loss_generation: shard.data_loss_generation,
            rows: None,
            bytes: None,
        }
    }
}

/// A copy of a shard on a node.
#[derive(Debug, Serialize)]
pub(super) struct AssignmentShape<'a> {
    pub(super) shard: &'a ShardId,
    pub(super) node: &'a NodeId,
    role: Role,
    replica: ReplicaId,
    epoch: Epoch,
}

/// Returns the copies of a shard, the primary first.
pub(super) fn assignments_of(shard: &ShardRecord) -> impl Iterator<Item = AssignmentShape<'_>> {
    let config = shard.active.as_ref();
    let primary = config.and_then(|config| config.member(&config.primary.node));
    let replicas = config.into_iter().flat_map(|config| config.replicas());
    let members = primary.map(|member| (member, Role::Primary)).into_iter();
    let members = members.chain(replicas.map(|member| (member, Role::Replica)));
    members.map(|(member, role)| AssignmentShape {
        shard: &shard.id,
        node: &member.node,
        role,
        replica: member.replica_id,
        epoch: shard.active_epoch(),
    })
}

/// What is planned.
#[derive(Debug, Serialize)]
pub(super) struct PlanShape<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    /// How many moves are under way.
    moving: usize,
}

impl<'a> PlanShape<'a> {
    pub(super) fn of(view: &'a View) -> Self {
        Self {
            plan: &view.plan,
            moving: view.moving,
        }
    }
}

/// Where the cluster stands.
#[derive(Debug, Serialize)]
pub(super) struct StatusShape<'a> {
    id: &'a NodeId,
    leader: Option<&'a NodeId>,
    term: u64,
    leading: bool,
    revision: u64,
    nodes: usize,
    nodes_up: usize,
    shards: usize,
    assigned: usize,
    planned: usize,
    moving: usize,
    /// How many splits, merges and moves of shards are not over.
    operations: usize,
    /// How many copies do not work, if this is the leader.
    troubles: usize,
}

impl<'a> StatusShape<'a> {
    pub(super) fn of(id: &'a NodeId, view: &'a View) -> Self {
        let up = |node: &&NodeView| node.leased && node.record.state == NodeState::Up;
        Self {
            id,
            leader: view.leader.as_ref(),
            term: view.term,
            leading: view.is_leading,
            revision: view.revision.0,
            nodes: view.nodes.len(),
            nodes_up: view.nodes.iter().filter(up).count(),
            shards: view.settled().count(),
            assigned: view
                .settled()
                .filter(|shard| shard.active.is_some())
                .count(),
            planned: view.plan.moves.len(),
            moving: view.moving,
            operations: view.open_operations(),
            troubles: view.troubles.values().map(Vec::len).sum(),
        }
    }
}

/// Returns the one shard with a name, in a keyspace or in any.
pub(super) fn find(
    view: &View,
    shard: &ShardId,
    keyspace: Option<&KeyspaceName>,
) -> Result<PartitionId, Problem> {
    let mut found = view.shards.iter().filter(|record| {
        record.id == *shard && keyspace.is_none_or(|keyspace| *keyspace == record.keyspace)
    });
    match (found.next(), found.next()) {
        (Some(record), None) => Ok(PartitionId::new(record.keyspace.clone(), shard.clone())),
        (Some(one), Some(other)) => {
            let message = format!(
                "keyspaces {} and {} both have a shard {shard}",
                one.keyspace, other.keyspace
            );
            let problem = Problem::new(StatusCode::CONFLICT, "AMBIGUOUS_SHARD", message);
            Err(problem.hint("name the keyspace"))
        }
        (None, _) => {
            let keyspace = keyspace.cloned().unwrap_or_else(KeyspaceName::main);
            let partition = PartitionId::new(keyspace, shard.clone());
            Err(Refusal::UnknownShard { partition }.into())
        }
    }
}
