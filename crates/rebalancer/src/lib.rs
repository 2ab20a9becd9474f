//! Decides which nodes hold which shards, and plans the moves that lead there.
//!
//! A [`Policy`] turns a [`Cluster`] into a [`Plan`] of [`Move`]s.

mod cluster;
mod plan;
mod policy;

pub use crate::{
    cluster::{Cluster, DoesNotFit, Node, Partition, PartitionId, Standing},
    plan::{Crowded, Limits, Move, Plan, Reason, Step, Stuck, UnderReplicated},
    policy::Policy,
};
