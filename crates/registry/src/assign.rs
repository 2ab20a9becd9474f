//! The next record of a shard whose members are assigned: pure steps, for whoever stores records by its own means.
//!
//! For shards whose copies the registry does not follow: one member that counts, and replicas that a service keeps by its own
//! means. A shard that commits on several members is not assigned; its members change by attempts.

use std::collections::BTreeSet;

use rand::RngCore;
use shardwright_topology::{
    Conditions, ConfigId, Member, NodeId, NodeRecord, Primary, Proposal, ReplicaId, ShardRecord,
};

use crate::Error;

/// Returns the record of a shard once a node's process owns it, in place of whoever did. Other replicas stay; the former owner
/// holds it no longer. The same process again gives the same record.
///
/// # Errors
/// [`Error::Replicated`] if its members decide.
pub fn assigned(
    record: &ShardRecord,
    node: &NodeRecord,
    rng: &mut dyn RngCore,
) -> Result<ShardRecord, Error> {
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
        members.insert(new_member(&node.id, rng));
    }
    reconfigured(record, primary, members, rng)
}

/// Returns the record of a shard with an owner once a node holds a replica of it. A node that holds it already gives the same
/// record.
///
/// # Errors
/// [`Error::Unassigned`] if it has no owner, or [`Error::Replicated`] if its members decide.
pub fn with_replica(
    record: &ShardRecord,
    node: &NodeId,
    rng: &mut dyn RngCore,
) -> Result<ShardRecord, Error> {
    let (primary, mut members) = held(record)?;
    if !members.iter().any(|member| member.node == *node) {
        members.insert(new_member(node, rng));
    }
    reconfigured(record, primary, members, rng)
}

/// Returns the record of a shard once a node holds no replica of it. A node that holds none gives the same record.
///
/// # Errors
/// [`Error::IsPrimary`] if the node owns it, [`Error::Unassigned`] if nobody does, or [`Error::Replicated`] if its members decide.
pub fn without_replica(
    record: &ShardRecord,
    node: &NodeId,
    rng: &mut dyn RngCore,
) -> Result<ShardRecord, Error> {
    let (primary, mut members) = held(record)?;
    if primary.node == *node {
        return Err(Error::IsPrimary {
            shard: record.id.clone(),
            node: node.clone(),
        });
    }
    members.retain(|member| member.node != *node);
    reconfigured(record, primary, members, rng)
}

type Members = (Primary, BTreeSet<Member>);

fn held(record: &ShardRecord) -> Result<Members, Error> {
    match &record.active {
        Some(active) => Ok((active.primary.clone(), active.members.clone())),
        None => Err(Error::Unassigned {
            shard: record.id.clone(),
        }),
    }
}

fn new_member(node: &NodeId, rng: &mut dyn RngCore) -> Member {
    Member {
        node: node.clone(),
        replica_id: ReplicaId::random(rng),
    }
}

/// The record with these members at a new epoch, if that changes anything.
fn reconfigured(
    record: &ShardRecord,
    primary: Primary,
    members: BTreeSet<Member>,
    rng: &mut dyn RngCore,
) -> Result<ShardRecord, Error> {
    let active = record.active.as_ref();
    if let Some(config) = active.filter(|config| config.w > 1) {
        return Err(Error::Replicated {
            shard: record.id.clone(),
            w: config.w,
        });
    }
    if active.is_some_and(|config| config.primary == primary && config.members == members) {
        return Ok(record.clone());
    }
    // Nothing is committed through such a configuration, so nothing has to be recovered from the one before.
    let before = active.into_iter().flat_map(|config| &config.members);
    let clean = before
        .chain(&members)
        .map(|member| member.replica_id)
        .collect();
    let config_id = ConfigId::random(rng);
    let proposal = Proposal {
        config_id,
        primary,
        members,
        w: 1,
        zones: 1,
    };
    let attempt = record.begin_attempt(proposal, &Conditions { clean, w_min: 1 })?;
    Ok(attempt.activate(config_id)?)
}
