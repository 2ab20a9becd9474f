//! Assignments: which nodes hold a shard, decided in the registry alone.
//!
//! For shards whose copies the registry does not follow: one member that counts, and replicas that a service keeps by its own
//! means. A shard that commits on several members is not assigned; its members change by attempts.

use rand::RngCore;
use shardwright_topology::{
    Epoch, Member, NodeId, NodeRecord, ReplicaId, Role, ShardId, ShardRecord,
};

use super::{Registry, nodes::may_claim};
use crate::{Error, Stored, assign};

/// One node's part in one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The shard.
    pub shard: ShardId,
    /// The node.
    pub node: NodeId,
    /// What the node does for it.
    pub role: Role,
    /// The copy that the node holds.
    pub replica: ReplicaId,
    /// The epoch of the configuration that says so.
    pub epoch: Epoch,
}

impl Registry {
    /// Makes a node the owner of a shard, in place of whoever owned it. Other replicas stay; the former owner holds it no
    /// longer. The same owner again changes nothing.
    ///
    /// No data moves: who calls this has moved it, or has none.
    ///
    /// # Errors
    /// [`Error::UnknownNode`], [`Error::UnknownShard`], or [`Error::Replicated`] if its members decide.
    #[doc(alias = "assignShard")]
    pub async fn assign_shard(
        &self,
        shard: &ShardId,
        node: &NodeId,
    ) -> Result<Stored<ShardRecord>, Error> {
        let node = self.node(node).await?.value;
        self.change_members(shard, |record, rng| assign::assigned(record, &node, rng))
            .await
    }

    /// Makes a registered process the owner of a shard that nobody else owns.
    pub(super) async fn claim(
        &self,
        shard: &ShardId,
        node: &NodeRecord,
    ) -> Result<Stored<ShardRecord>, Error> {
        self.change_members(shard, |record, rng| {
            may_claim(record.primary(), &record.id, &node.id)?;
            assign::assigned(record, node, rng)
        })
        .await
    }

    /// Gives a shard that has an owner a replica. A node that holds it already changes nothing.
    ///
    /// # Errors
    /// [`Error::UnknownNode`], [`Error::UnknownShard`], [`Error::Unassigned`] if it has no owner, or [`Error::Replicated`] if its
    /// members decide.
    #[doc(alias = "addReplica")]
    pub async fn add_replica(
        &self,
        shard: &ShardId,
        node: &NodeId,
    ) -> Result<Stored<ShardRecord>, Error> {
        let node = self.node(node).await?.value;
        self.change_members(shard, |record, rng| {
            assign::with_replica(record, &node.id, rng)
        })
        .await
    }

    /// Takes a replica from a shard. A node that does not hold it changes nothing.
    ///
    /// # Errors
    /// [`Error::IsPrimary`] if the node owns it, [`Error::UnknownShard`], or [`Error::Replicated`] if its members decide.
    pub async fn remove_replica(
        &self,
        shard: &ShardId,
        node: &NodeId,
    ) -> Result<Stored<ShardRecord>, Error> {
        self.change_members(shard, |record, rng| {
            assign::without_replica(record, node, rng)
        })
        .await
    }

    /// Returns who owns a shard; `None` if nobody was ever assigned to it.
    ///
    /// # Errors
    /// [`Error::UnknownShard`] if it does not exist.
    #[doc(alias = "getShardOwner")]
    pub async fn owner(&self, shard: &ShardId) -> Result<Option<Assignment>, Error> {
        let record = self.shard(shard).await?.value;
        Ok(assignments_of(&record)
            .into_iter()
            .find(|each| each.role == Role::Primary))
    }

    /// Returns the replicas of a shard, in the order of their nodes.
    ///
    /// # Errors
    /// [`Error::UnknownShard`] if it does not exist.
    #[doc(alias = "getReplicas")]
    #[doc(alias = "getReplica")]
    pub async fn replicas(&self, shard: &ShardId) -> Result<Vec<Assignment>, Error> {
        let record = self.shard(shard).await?.value;
        let all = assignments_of(&record).into_iter();
        Ok(all.filter(|each| each.role == Role::Replica).collect())
    }

    /// Returns who holds which shard, by shard, the owner first.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Format`].
    #[doc(alias = "listAssignments")]
    pub async fn assignments(&self) -> Result<Vec<Assignment>, Error> {
        let shards = self.shards().list().await?;
        Ok(shards
            .iter()
            .flat_map(|stored| assignments_of(&stored.value))
            .collect())
    }

    /// Changes the members of a shard by a step that may draw ids.
    async fn change_members(
        &self,
        shard: &ShardId,
        step: impl Fn(&ShardRecord, &mut dyn RngCore) -> Result<ShardRecord, Error> + Send + Sync,
    ) -> Result<Stored<ShardRecord>, Error> {
        self.update_shard(shard, |record| {
            let mut rng = self.rng.lock().expect("drawing an id does not panic");
            step(record, &mut *rng)
        })
        .await
    }
}

/// Returns who holds a shard, the owner first.
#[must_use]
pub fn assignments_of(record: &ShardRecord) -> Vec<Assignment> {
    let Some(active) = &record.active else {
        return Vec::new();
    };
    let assignment = |member: &Member, role| Assignment {
        shard: record.id.clone(),
        node: member.node.clone(),
        role,
        replica: member.replica_id,
        epoch: active.epoch,
    };
    let owner = active
        .member(&active.primary.node)
        .map(|member| assignment(member, Role::Primary));
    owner
        .into_iter()
        .chain(
            active
                .replicas()
                .map(|each| assignment(each, Role::Replica)),
        )
        .collect()
}
