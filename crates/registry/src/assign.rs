//! The next record of a shard whose members are assigned: pure steps, for whoever stores records by its own means.
//!
//! For shards whose copies the registry does not follow: one member that counts, and replicas that a service keeps by its own
//! means. A shard that commits on several members is not assigned; its members change by attempts.

use std::collections::BTreeSet;

use rand::RngCore;
use shardwright_topology::{
    Conditions, Config, ConfigId, Member, NodeId, NodeRecord, Primary, Proposal, ReplicaId,
    ShardRecord, ShardState,
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

/// Returns the record of a shard once a node's process owns it and exactly the other named nodes hold replicas. Copies that stay
/// keep their ids; the same again gives the same record.
///
/// # Errors
/// [`Error::Replicated`] if its members decide.
pub fn placed(
    record: &ShardRecord,
    primary: &NodeRecord,
    replicas: &[NodeId],
    rng: &mut dyn RngCore,
) -> Result<ShardRecord, Error> {
    let nodes: BTreeSet<_> = replicas.iter().chain([&primary.id]).collect();
    let held = |node: &NodeId| record.active.as_ref()?.member(node).cloned();
    let members = nodes
        .into_iter()
        .map(|node| held(node).unwrap_or_else(|| new_member(node, rng)))
        .collect();
    let primary = Primary {
        node: primary.id.clone(),
        incarnation: primary.incarnation,
    };
    reconfigured(record, primary, members, rng)
}

/// Returns the record of a shard with an owner at the next epoch, held by whom it is held: for an owner that let go of the epoch
/// before.
///
/// # Errors
/// [`Error::Unassigned`] if it has no owner, or [`Error::Replicated`] if its members decide.
pub fn renewed(record: &ShardRecord, rng: &mut dyn RngCore) -> Result<ShardRecord, Error> {
    let (primary, members) = held(record)?;
    check_width(record)?;
    advanced(record, primary, members, rng)
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
    check_width(record)?;
    let same = |config: &Config| config.primary == primary && config.members == members;
    // A retired shard is refused below, whatever it is asked to become.
    if record.state != ShardState::Retired && record.active.as_ref().is_some_and(same) {
        return Ok(record.clone());
    }
    advanced(record, primary, members, rng)
}

fn check_width(record: &ShardRecord) -> Result<(), Error> {
    match &record.active {
        Some(config) if config.w > 1 => Err(Error::Replicated {
            shard: record.id.clone(),
            w: config.w,
        }),
        Some(_) | None => Ok(()),
    }
}

/// The record with these members at a new epoch.
fn advanced(
    record: &ShardRecord,
    primary: Primary,
    members: BTreeSet<Member>,
    rng: &mut dyn RngCore,
) -> Result<ShardRecord, Error> {
    // Nothing is committed through such a configuration, so nothing has to be recovered from the one before.
    let before = record.active.iter().flat_map(|config| &config.members);
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

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};
    use shardwright_topology::{Incarnation, KeyspaceName, Role, ShardId};

    use super::*;
    use crate::assignments_of;

    fn node(name: &str) -> NodeRecord {
        NodeRecord::new(id(name), "http://localhost")
    }

    fn id(name: &str) -> NodeId {
        NodeId::new(name).expect("a name")
    }

    fn shard() -> ShardRecord {
        ShardRecord::new(KeyspaceName::main(), ShardId::numbered(0), None)
    }

    /// `n1 e3, n2`: the owner and its epoch, then the replicas.
    fn text(record: &ShardRecord) -> String {
        let all = assignments_of(record);
        let each = all.iter().map(|each| match each.role {
            Role::Primary => format!("{} {}", each.node, each.epoch),
            Role::Replica | Role::Proxy => each.node.to_string(),
        });
        each.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn each_change_gets_the_next_epoch_and_no_change_none() {
        let rng = &mut StdRng::seed_from_u64(1);
        let first = assigned(&shard(), &node("n1"), rng).expect("unowned");
        assert_eq!(text(&first), "n1 e1");
        assert_eq!(assigned(&first, &node("n1"), rng).expect("owned"), first);
        let second = with_replica(&first, &id("n2"), rng).expect("owned");
        assert_eq!(text(&second), "n1 e2, n2");
        assert_eq!(with_replica(&second, &id("n2"), rng).expect("held"), second);
        let third = assigned(&second, &node("n2"), rng).expect("a replica");
        assert_eq!(text(&third), "n2 e3");
        assert_eq!(
            assignments_of(&third)[0].replica,
            assignments_of(&second)[1].replica,
            "the copy is the same"
        );
        let anew = renewed(&third, rng).expect("owned");
        assert_eq!(text(&anew), "n2 e4");
        assert_eq!(
            without_replica(&anew, &id("n1"), rng).expect("not held"),
            anew
        );
    }

    #[test]
    fn a_placement_is_exactly_what_was_asked_for() {
        let rng = &mut StdRng::seed_from_u64(1);
        let replicas = [id("n2"), id("n3"), id("n1")];
        let first = placed(&shard(), &node("n1"), &replicas, rng).expect("unowned");
        assert_eq!(text(&first), "n1 e1, n2, n3");
        let restarted = NodeRecord {
            incarnation: Incarnation(2),
            ..node("n1")
        };
        let second = placed(&first, &restarted, &replicas[..1], rng).expect("owned");
        assert_eq!(text(&second), "n1 e2, n2");
        let primary = second.active.as_ref().map(|active| &active.primary);
        assert_eq!(primary.map(|each| each.incarnation), Some(Incarnation(2)));
    }

    #[test]
    fn a_shard_without_an_owner_and_a_retired_one_are_refused() {
        let rng = &mut StdRng::seed_from_u64(1);
        assert!(matches!(
            with_replica(&shard(), &id("n1"), rng),
            Err(Error::Unassigned { .. })
        ));
        assert!(matches!(
            renewed(&shard(), rng),
            Err(Error::Unassigned { .. })
        ));
        let retired = shard().retire().expect("it has no range");
        assert!(matches!(
            assigned(&retired, &node("n1"), rng),
            Err(Error::Attempt(_))
        ));
        let owned = assigned(&shard(), &node("n1"), rng).expect("unowned");
        assert!(matches!(
            without_replica(&owned, &id("n1"), rng),
            Err(Error::IsPrimary { .. })
        ));
    }
}
