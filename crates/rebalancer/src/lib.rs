//! Decides which nodes hold which shards, and plans the moves that lead there.
//!
//! A [`Policy`] turns a [`Cluster`] (nodes, partitions, who holds what) into a [`Plan`]: the moves that lead to what the policy
//! wants, and what no move can mend. [`ReplicaPolicy`] gives work to the least loaded node and steals it from overloaded ones,
//! [`LoadPolicy`] balances what shards were measured to need, [`PrimaryPolicy`] spreads primaries, [`ReplicatedPolicy`] does both,
//! [`RingPolicy`] follows a hash ring, [`TargetPolicy`] follows counts. A [`Sharder`] is the same as a thing that remembers: nodes and
//! partitions are registered, and it says who serves what. Either can be made from the other: [`PolicySharder`], [`SharderPolicy`].
//!
//! A [`Rebalancer`] makes a [`Proposal`] of a plan: bound to the revision of the map, within a [`Budget`], with its [`Impact`]. An
//! [`Execution`] carries it out.
//!
//! ```
//! use shardwright_rebalancer::{
//!     Cluster, Node, Partition, PartitionId, Policy, ReplicaPolicy,
//!     topology::{NodeId, ShardId},
//! };
//!
//! let mut cluster = Cluster::new();
//! for shard in 0..12 {
//!     cluster.set_partition(PartitionId::from(ShardId::numbered(shard)), Partition::new(2));
//! }
//! for name in ["n1", "n2", "n3"] {
//!     cluster.set_node(Node::new(NodeId::new(name)?));
//! }
//! let policy = ReplicaPolicy::default();
//! let plan = policy.plan(&cluster);
//! assert_eq!(plan.moves.len(), 24);
//!
//! cluster.apply_all(&plan)?;
//! assert!(policy.plan(&cluster).is_empty());
//!
//! // A new node gets its share, a quarter, and nothing else moves.
//! cluster.set_node(Node::new(NodeId::new("n4")?));
//! assert_eq!(policy.plan(&cluster).moves.len(), 6);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - Plans are pure: equal clusters give equal plans, however they came about.
//! - Planning on the result of a plan gives an empty plan.
//! - No node is given two copies of a partition, nor two partitions that are [kept apart](Partition::apart); what finds no node is
//!   reported, and placed when one comes. Policies by names alone (ring, sharders) only report who is not apart.
//! - With single copies of equal loads, nothing as balanced is reached by fewer moves than those of [`ReplicaPolicy`], [`LoadPolicy`]
//!   and [`TargetPolicy`]; with single copies of different loads, no one move can be left out. Groups that are kept apart may cost a
//!   move more.
//! - A [`StalePlan`] is refused, and what was [moved by hand](Rebalancer::move_shard) stays unless told otherwise.
//! - With [`ReplicaPolicy`], a lost node moves what it had and a new one gets no more than its share, as long as nobody is
//!   overloaded otherwise.
//!
//! # What this crate does not do
//!
//! It moves nothing: an [`Execution`] says what to start, and is told what came of it. [`Hysteresis`] says what should wait.

mod budget;
mod cluster;
pub mod conformance;
pub mod execution;
mod hysteresis;
mod impact;
mod load;
mod load_policy;
mod placement;
mod plan;
mod policy;
mod primaries;
mod proposal;
mod rebalancer;
mod replica;
mod replicated;
mod ring;
mod seats;
pub mod sharder;
mod target;

/// The vocabulary that clusters are written in.
pub use shardwright_topology as topology;

pub use crate::{
    budget::Budget,
    cluster::{Cluster, DoesNotFit, Node, Partition, PartitionId, Standing},
    execution::Execution,
    hysteresis::{Hysteresis, Patience},
    impact::{Impact, NodeImpact},
    load::{Blend, Load},
    load_policy::LoadPolicy,
    plan::{Crowded, Limits, Move, Plan, Reason, Step, Stuck, Together, UnderReplicated},
    policy::Policy,
    primaries::PrimaryPolicy,
    proposal::{MapRevision, NotApplied, Proposal, StalePlan},
    rebalancer::{MoveRefused, Pinning, Rebalancer},
    replica::ReplicaPolicy,
    replicated::ReplicatedPolicy,
    ring::RingPolicy,
    seats::Spread,
    sharder::{
        PolicySharder, Replica, ReplicaSharder, RingSharder, Sharder, SharderPolicy, TargetSharder,
    },
    target::{TargetError, TargetPolicy},
};
