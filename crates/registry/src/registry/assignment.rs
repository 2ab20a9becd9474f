//! Assignments: which nodes hold a shard, decided in the registry alone.
//!
//! For shards whose copies the registry does not follow: one member that counts, and replicas that a service keeps by its own
//! means. A shard that commits on several members is not assigned; its members change by attempts.

use std::collections::BTreeSet;

use shardwright_topology::{
    Conditions, ConfigId, Epoch, Member, NodeId, NodeRecord, Primary, Proposal, ReplicaId, Role,
    ShardId, ShardRecord,
};

use super::{Registry, nodes::may_claim};
use crate::{Error, Stored};

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
        self.change_members(shard, |record, registry| registry.owned_by(record, &node))
            .await
    }

    /// Makes a registered process the owner of a shard that nobody else owns.
    pub(super) async fn claim(
        &self,
        shard: &ShardId,
        node: &NodeRecord,
    ) -> Result<Stored<ShardRecord>, Error> {
        self.change_members(shard, |record, registry| {
            may_claim(record.primary(), &record.id, &node.id)?;
            registry.owned_by(record, node)
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
        self.change_members(shard, |record, registry| {
            let Some(active) = &record.active else {
                return Err(Error::Unassigned {
                    shard: record.id.clone(),
                });
            };
            let mut members = active.members.clone();
            if active.member(&node.id).is_none() {
                members.insert(registry.new_member(&node.id));
            }
            Ok((active.primary.clone(), members))
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
        self.change_members(shard, |record, _| {
            let Some(active) = &record.active else {
                return Err(Error::Unassigned {
                    shard: record.id.clone(),
                });
            };
            if active.primary.node == *node {
                return Err(Error::IsPrimary {
                    shard: record.id.clone(),
                    node: node.clone(),
                });
            }
            let stay = active.members.iter().filter(|member| member.node != *node);
            Ok((active.primary.clone(), stay.cloned().collect()))
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

    /// The members of a shard once `node` owns it.
    fn owned_by(&self, record: &ShardRecord, node: &NodeRecord) -> Result<Members, Error> {
        let primary = Primary {
            node: node.id.clone(),
            incarnation: node.incarnation,
        };
        let mut members = BTreeSet::new();
        if let Some(active) = &record.active {
            let former = &active.primary.node;
            let stay = active
                .members
                .iter()
                .filter(|member| member.node != *former);
            members.extend(stay.cloned());
            members.extend(active.member(&node.id).cloned());
        }
        if !members.iter().any(|member| member.node == node.id) {
            members.insert(self.new_member(&node.id));
        }
        Ok((primary, members))
    }

    fn new_member(&self, node: &NodeId) -> Member {
        Member {
            node: node.clone(),
            replica_id: self.draw(ReplicaId::random),
        }
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut rand::rngs::StdRng) -> T) -> T {
        draw(&mut self.rng.lock().expect("drawing an id does not panic"))
    }

    /// Gives a shard the members that `decide` returns, at a new epoch if that changes anything.
    async fn change_members(
        &self,
        shard: &ShardId,
        decide: impl Fn(&ShardRecord, &Self) -> Result<Members, Error> + Send + Sync,
    ) -> Result<Stored<ShardRecord>, Error> {
        let config_id = self.draw(ConfigId::random);
        self.update_shard(shard, |record| {
            if let Some(w) = record
                .active
                .as_ref()
                .map(|config| config.w)
                .filter(|w| *w > 1)
            {
                return Err(Error::Replicated {
                    shard: record.id.clone(),
                    w,
                });
            }
            let (primary, members) = decide(record, self)?;
            let same = record
                .active
                .as_ref()
                .is_some_and(|config| config.primary == primary && config.members == members);
            if same {
                return Ok(record.clone());
            }
            // Nothing is committed through such a configuration, so nothing has to be recovered from the one before.
            let held = record.active.iter().flat_map(|config| &config.members);
            let clean = held
                .chain(&members)
                .map(|member| member.replica_id)
                .collect();
            let proposal = Proposal {
                config_id,
                primary,
                members,
                w: 1,
                zones: 1,
            };
            let attempt = record.begin_attempt(proposal, &Conditions { clean, w_min: 1 })?;
            Ok(attempt.activate(config_id)?)
        })
        .await
    }
}

type Members = (Primary, BTreeSet<Member>);

fn assignments_of(record: &ShardRecord) -> Vec<Assignment> {
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
