//! What people and services ask for plans: a policy with a budget, and moves by hand.

use serde::{Deserialize, Serialize};
use shardwright_topology::NodeId;

use crate::{
    Blend, Budget, Cluster, Impact, MapRevision, Move, PartitionId, Plan, Policy, Proposal, Reason,
    Standing, Step, TargetError, TargetPolicy,
};

/// Makes proposals of a policy's plans, within a budget, and of what is moved by hand.
///
/// It remembers nothing: equal clusters and revisions give equal proposals.
///
/// ```
/// use shardwright_rebalancer::{
///     Cluster, MapRevision, Node, Partition, PartitionId, Pinning, Rebalancer, TargetPolicy,
///     topology::{NodeId, ShardId},
/// };
///
/// let [n1, n2] = [NodeId::new("node-1")?, NodeId::new("node-2")?];
/// let mut cluster = Cluster::new();
/// for node in [&n1, &n2] {
///     cluster.set_node(Node::new(node.clone()));
/// }
/// for shard in 0..5 {
///     let partition = Partition { holders: vec![n1.clone()], ..Partition::new(1) };
///     cluster.set_partition(PartitionId::from(ShardId::numbered(shard)), partition);
/// }
///
/// let targets = TargetPolicy::new([(n1.clone(), 3), (n2.clone(), 2)]);
/// let rebalancer = Rebalancer::new(targets);
/// let proposal = rebalancer.calculate_plan(MapRevision(7), &cluster)?;
/// assert_eq!(proposal.plan.moves.len(), 2);
///
/// // Somebody else has changed the map since, so the plan is refused.
/// let stale = proposal.apply(&mut cluster, MapRevision(8)).unwrap_err();
/// assert_eq!(stale.to_string(), "the plan was made from revision r7 of the map, which is now r8: plan again");
///
/// // What is moved by hand stays there.
/// let shard = PartitionId::from(ShardId::numbered(0));
/// let by_hand = rebalancer.move_shard(MapRevision(8), &cluster, &shard, &n1, &n2, Pinning::Stays)?;
/// by_hand.apply(&mut cluster, MapRevision(8))?;
/// assert!(cluster.partition(&shard).is_some_and(|shard| shard.pinned));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "ShardRebalancer")]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rebalancer<P> {
    /// What decides who should hold what.
    pub policy: P,
    /// How much one proposal moves. Default: any number of shards.
    pub budget: Budget,
    /// By what the [impact](Proposal::impact) is told. Default: bytes, requests and a little for each copy.
    pub blend: Blend,
}

/// Whether what is moved by hand stays where it was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pinning {
    /// No plan moves it again, until it is [let go](Cluster::unpin).
    #[default]
    Stays,
    /// The next plan may move it wherever the policy wants it.
    Free,
}

/// Why a shard is not moved by hand. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum MoveRefused {
    /// Check the name.
    #[error("there is no shard {partition}")]
    UnknownShard {
        /// The shard.
        partition: PartitionId,
    },
    /// Check the name, or register the node first.
    #[error("node {node} is not registered")]
    UnknownNode {
        /// The node that should get the shard.
        node: NodeId,
    },
    /// Name a node that has a copy.
    #[error("node {node} has no copy of {partition}")]
    NotHolder {
        /// The node that should give the shard.
        node: NodeId,
        /// The shard.
        partition: PartitionId,
    },
    /// Nothing needs to be moved, or another node is meant.
    #[error("node {node} has a copy of {partition} already")]
    Holds {
        /// The node that should get the shard.
        node: NodeId,
        /// The shard.
        partition: PartitionId,
    },
    /// Bring the node up, or end its drain.
    #[error("node {node} takes no shards")]
    NotAccepting {
        /// The node that should get the shard.
        node: NodeId,
    },
    /// Move the other shard first, or take one of the two out of the group.
    #[error("node {node} has {other}, which {partition} must be kept apart from")]
    KeptApart {
        /// The node that should get the shard.
        node: NodeId,
        /// The shard.
        partition: PartitionId,
        /// What the node has.
        other: PartitionId,
    },
}

impl MoveRefused {
    /// Returns the name of the error for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownShard { .. } => "UNKNOWN_SHARD",
            Self::UnknownNode { .. } => "UNKNOWN_NODE",
            Self::NotHolder { .. } => "NOT_HOLDER",
            Self::Holds { .. } => "HOLDS",
            Self::NotAccepting { .. } => "NOT_ACCEPTING",
            Self::KeptApart { .. } => "KEPT_APART",
        }
    }
}

impl<P: Policy> Rebalancer<P> {
    /// Returns one that moves as much as the policy wants.
    pub fn new(policy: P) -> Self {
        Self {
            policy,
            budget: Budget::default(),
            blend: Blend::default(),
        }
    }

    /// Returns what the policy wants, within the budget.
    pub fn propose(&self, revision: MapRevision, cluster: &Cluster) -> Proposal {
        self.bind(revision, cluster, self.policy.plan(cluster))
    }

    /// Returns the proposal of one move: a shard goes from one node to another one, and stays there unless `pinning` says otherwise.
    ///
    /// A shard that is pinned may be moved by hand, too; the budget is not asked. A node of weight 0 gets it if that is what was asked
    /// for.
    ///
    /// # Errors
    /// [`MoveRefused`].
    #[doc(alias = "moveShard")]
    pub fn move_shard(
        &self,
        revision: MapRevision,
        cluster: &Cluster,
        shard: &PartitionId,
        from: &NodeId,
        to: &NodeId,
        pinning: Pinning,
    ) -> Result<Proposal, MoveRefused> {
        check_move(cluster, shard, from, to)?;
        let moved = Move {
            partition: shard.clone(),
            step: Step::Move {
                from: from.clone(),
                to: to.clone(),
            },
            reason: Reason::Wanted,
        };
        let plan = Plan {
            moves: vec![moved],
            ..Plan::default()
        };
        let pins = match pinning {
            Pinning::Stays => vec![shard.clone()],
            Pinning::Free => Vec::new(),
        };
        Ok(Proposal {
            impact: Impact::of(cluster, &plan, self.blend),
            revision,
            plan,
            deferred: 0,
            pins,
        })
    }

    fn bind(&self, revision: MapRevision, cluster: &Cluster, mut plan: Plan) -> Proposal {
        let deferred = self.budget.cut(cluster, &mut plan);
        Proposal {
            revision,
            deferred,
            impact: Impact::of(cluster, &plan, self.blend),
            plan,
            pins: Vec::new(),
        }
    }
}

impl Rebalancer<TargetPolicy> {
    /// Returns the moves that lead to exactly the targets, within the budget.
    ///
    /// # Errors
    /// [`TargetError`] if the targets do not fit the cluster, as when they do not sum to the number of copies.
    #[doc(alias = "calculatePlan")]
    pub fn calculate_plan(
        &self,
        revision: MapRevision,
        cluster: &Cluster,
    ) -> Result<Proposal, TargetError> {
        let plan = self.policy.calculate_plan(cluster)?;
        Ok(self.bind(revision, cluster, plan))
    }
}

fn check_move(
    cluster: &Cluster,
    shard: &PartitionId,
    from: &NodeId,
    to: &NodeId,
) -> Result<(), MoveRefused> {
    let partition = || shard.clone();
    let Some(known) = cluster.partition(shard) else {
        return Err(MoveRefused::UnknownShard {
            partition: partition(),
        });
    };
    if !known.holders.contains(from) {
        return Err(MoveRefused::NotHolder {
            node: from.clone(),
            partition: partition(),
        });
    }
    let node = || to.clone();
    let target = cluster.node(to);
    let target = target.ok_or_else(|| MoveRefused::UnknownNode { node: node() })?;
    if known.holders.contains(to) {
        return Err(MoveRefused::Holds {
            node: node(),
            partition: partition(),
        });
    }
    if target.standing != Standing::Accepting {
        return Err(MoveRefused::NotAccepting { node: node() });
    }
    if known.apart.is_empty() {
        return Ok(());
    }
    let other = cluster.partitions().find(|(id, other)| {
        *id != shard && other.holders.contains(to) && !other.apart.is_disjoint(&known.apart)
    });
    match other {
        Some((other, _)) => Err(MoveRefused::KeptApart {
            node: node(),
            partition: partition(),
            other: other.clone(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
