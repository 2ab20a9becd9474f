//! Nodes that register themselves.

use shardwright_topology::{Incarnation, Location, NodeId, NodeRecord, NodeState, Role, ShardId};

use super::Registry;
use crate::{Error, Stored};

/// What a node says of itself when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its name.
    pub id: NodeId,
    /// Where other processes reach it.
    pub address: String,
    /// Where it runs.
    pub location: Location,
    /// Its share of the shards, relative to other nodes; [`NodeRecord::WEIGHT`] is ordinary.
    pub weight: u32,
    /// What it does for the shards that it holds.
    pub role: Role,
    /// The shards that it claims, in that role.
    pub shards: Vec<ShardId>,
}

impl Registration {
    /// Returns the registration of an ordinary primary that claims no shard.
    #[must_use]
    pub fn new(id: NodeId, address: impl Into<String>) -> Self {
        Self {
            id,
            address: address.into(),
            location: Location::default(),
            weight: NodeRecord::WEIGHT,
            role: Role::Primary,
            shards: Vec::new(),
        }
    }

    fn record(&self, incarnation: Incarnation) -> NodeRecord {
        NodeRecord {
            id: self.id.clone(),
            address: self.address.clone(),
            location: self.location.clone(),
            weight: self.weight,
            role: self.role,
            state: NodeState::Up,
            incarnation,
        }
    }
}

impl Registry {
    /// Registers a node's new process, and claims shards for it.
    ///
    /// The process gets the next incarnation of its node. A shard that the node held before is claimed for the new
    /// incarnation; that of a primary raises its epoch.
    ///
    /// # Errors
    /// [`Error::OwnedElsewhere`] if another node owns a claimed shard, [`Error::UnknownShard`] if one does not exist: nothing
    /// changed, unless another node claimed the shard at the same moment.
    pub async fn register(&self, registration: Registration) -> Result<Stored<NodeRecord>, Error> {
        for shard in &registration.shards {
            let found = self.shard(shard).await?;
            match registration.role {
                Role::Primary => may_claim(found.value.primary(), shard, &registration.id)?,
                Role::Replica => {}
                role @ Role::Proxy => {
                    return Err(Error::RoleHoldsNothing {
                        shard: shard.clone(),
                        role,
                    });
                }
            }
        }
        let node = self.register_process(&registration).await?;
        for shard in &registration.shards {
            match registration.role {
                Role::Primary => self.claim(shard, &node.value).await?,
                Role::Replica => self.add_replica(shard, &registration.id).await?,
                Role::Proxy => continue,
            };
        }
        Ok(node)
    }

    async fn register_process(
        &self,
        registration: &Registration,
    ) -> Result<Stored<NodeRecord>, Error> {
        let nodes = self.nodes();
        let first = registration.record(Incarnation(1));
        let (found, created) = nodes.create_if_absent(&registration.id, first).await?;
        if created {
            return Ok(found);
        }
        nodes
            .update(&registration.id, |current| {
                Ok(registration.record(current.incarnation.next()))
            })
            .await
    }

    /// Returns the record of a node.
    ///
    /// # Errors
    /// [`Error::UnknownNode`] if it was never registered.
    pub async fn node(&self, id: &NodeId) -> Result<Stored<NodeRecord>, Error> {
        let found = self.nodes().get(id).await?;
        found.ok_or_else(|| Error::UnknownNode { node: id.clone() })
    }

    /// Changes the record of a node by a function of what it holds.
    ///
    /// # Errors
    /// [`Error::UnknownNode`], and what `decide` returns: nothing changed.
    pub async fn update_node(
        &self,
        id: &NodeId,
        decide: impl FnMut(&NodeRecord) -> Result<NodeRecord, Error> + Send,
    ) -> Result<Stored<NodeRecord>, Error> {
        let outcome = self.nodes().update(id, decide).await;
        outcome.map_err(|error| match error {
            Error::Missing { .. } => Error::UnknownNode { node: id.clone() },
            other => other,
        })
    }
}

/// Refuses a claim on a shard that somebody else owns.
pub(super) fn may_claim(
    owner: Option<&NodeId>,
    shard: &ShardId,
    claimant: &NodeId,
) -> Result<(), Error> {
    match owner {
        Some(owner) if owner != claimant => Err(Error::OwnedElsewhere {
            shard: shard.clone(),
            owner: owner.clone(),
            claimant: claimant.clone(),
        }),
        Some(_) | None => Ok(()),
    }
}
