//! Promotion: which replica takes over a shard, and the record that says so.
//!
//! For shards whose copies the registry does not follow, whose configurations have one member that counts. A shard that commits on
//! several members has a log, which decides by itself.

use std::collections::BTreeSet;

use shardwright_topology::{
    AttemptRefused, Conditions, ConfigId, Epoch, Member, NodeId, Primary, Proposal, ShardId,
    ShardRecord,
};

use crate::{Copy, Eligible};

/// A replica that could take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its process, which is alive.
    pub primary: Primary,
    /// What it said of its copy.
    pub copy: Option<Copy>,
}

/// Why a shard has no new primary. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PromotionRefused {
    /// Nobody was ever its primary: there is nothing to take over. Assign it.
    #[error("shard {shard} has no primary yet, assign it")]
    Unassigned {
        /// The shard.
        shard: ShardId,
    },
    /// No replica of it is alive. Start one, or assign the shard to a node that has its data.
    #[error("shard {shard} has no replica that is up, start one")]
    NoReplica {
        /// The shard.
        shard: ShardId,
    },
    /// Replicas are alive, and none may be promoted without being forced. Let one report its position, or force it.
    #[error(
        "shard {shard}: none of {replicas} replicas reported that it may take over, force one to accept a loss"
    )]
    NotReported {
        /// The shard.
        shard: ShardId,
        /// How many are up.
        replicas: usize,
    },
    /// The node holds no replica of the shard. Add one first.
    #[error("node {node} holds no replica of shard {shard}, add one first")]
    NotReplica {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// The node is not up. Choose another one.
    #[error("node {node} is not up, it cannot take over shard {shard}")]
    NotUp {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// The present primary may still be serving. Stop it, or wait until its lease has ended.
    #[error("shard {shard} is held by {primary}, whose lease has not ended")]
    PrimaryAlive {
        /// The shard.
        shard: ShardId,
        /// Its primary.
        primary: NodeId,
    },
    /// The shard commits on several members: its log decides who takes over.
    #[error("shard {shard} commits on {w} members, its log decides who takes over")]
    Replicated {
        /// The shard.
        shard: ShardId,
        /// Its commit width.
        w: u32,
    },
    /// The record does not take the new configuration.
    #[error(transparent)]
    Attempt(#[from] AttemptRefused),
}

/// Returns the candidate that takes over a shard: one in sync at the epoch that ends, or else the one with the highest position.
///
/// Among equals the first by node. `forced` accepts one that never reported.
///
/// # Errors
/// [`PromotionRefused::NoReplica`] without candidates, [`PromotionRefused::NotReported`] if none may be promoted.
pub fn choose<'a>(
    shard: &ShardId,
    epoch: Epoch,
    candidates: &'a [Candidate],
    eligible: Eligible,
) -> Result<&'a Candidate, PromotionRefused> {
    let replicas = candidates.len();
    if replicas == 0 {
        return Err(PromotionRefused::NoReplica {
            shard: shard.clone(),
        });
    }
    let fits = |candidate: &&Candidate| match eligible {
        Eligible::InSync => is_in_sync(candidate, epoch),
        Eligible::Reported => candidate.copy.is_some(),
        Eligible::Any => true,
    };
    let rank = |candidate: &&Candidate| {
        let copy = candidate.copy;
        let position = copy.map(|copy| (copy.epoch, copy.position));
        (is_in_sync(candidate, epoch), position)
    };
    let mut best: Option<&Candidate> = None;
    for candidate in candidates.iter().filter(fits) {
        let better = best.is_none_or(|best| {
            (rank(&best), std::cmp::Reverse(&best.primary))
                < (rank(&candidate), std::cmp::Reverse(&candidate.primary))
        });
        if better {
            best = Some(candidate);
        }
    }
    best.ok_or_else(|| PromotionRefused::NotReported {
        shard: shard.clone(),
        replicas,
    })
}

/// Returns whether a candidate holds every acknowledged write of an epoch.
#[must_use]
pub fn is_in_sync(candidate: &Candidate, epoch: Epoch) -> bool {
    candidate
        .copy
        .is_some_and(|copy| copy.in_sync && copy.epoch == epoch)
}

/// Returns the record of a shard whose replica on `to` has taken over at the next epoch. The former primary holds it no longer.
///
/// `lossless` says that the replica holds every acknowledged write; otherwise a possible loss is counted.
///
/// # Errors
/// [`PromotionRefused`]: the shard is unassigned or replicated, or the node holds no replica.
pub fn promoted(
    record: &ShardRecord,
    to: &Primary,
    lossless: bool,
    config_id: ConfigId,
) -> Result<ShardRecord, PromotionRefused> {
    let active = counting_one(record)?;
    if active.member(&to.node).is_none() {
        return Err(PromotionRefused::NotReplica {
            shard: record.id.clone(),
            node: to.node.clone(),
        });
    }
    let former = &active.primary.node;
    let stay = |member: &&Member| member.node != *former || member.node == to.node;
    let members = active.members.iter().filter(stay).cloned().collect();
    reconfigured(record, to, members, lossless, config_id)
}

/// Returns the record of a shard that its own primary holds at a new epoch: after a restart, or after its lease had ended.
///
/// # Errors
/// [`PromotionRefused`]: the shard is unassigned or replicated.
pub fn reclaimed(
    record: &ShardRecord,
    by: &Primary,
    config_id: ConfigId,
) -> Result<ShardRecord, PromotionRefused> {
    let members = counting_one(record)?.members.clone();
    reconfigured(record, by, members, true, config_id)
}

fn counting_one(record: &ShardRecord) -> Result<&shardwright_topology::Config, PromotionRefused> {
    let shard = || record.id.clone();
    let active = record
        .active
        .as_ref()
        .ok_or_else(|| PromotionRefused::Unassigned { shard: shard() })?;
    if active.w > 1 {
        return Err(PromotionRefused::Replicated {
            shard: shard(),
            w: active.w,
        });
    }
    Ok(active)
}

fn reconfigured(
    record: &ShardRecord,
    primary: &Primary,
    members: BTreeSet<Member>,
    lossless: bool,
    config_id: ConfigId,
) -> Result<ShardRecord, PromotionRefused> {
    // The registry does not follow these copies: that they are whole is what their nodes say.
    let before = record.active.iter().flat_map(|config| &config.members);
    let clean = before.map(|member| member.replica_id).collect();
    let proposal = Proposal {
        config_id,
        primary: primary.clone(),
        members,
        w: 1,
        zones: 1,
    };
    let conditions = Conditions { clean, w_min: 1 };
    let attempt = if lossless {
        record.begin_attempt(proposal, &conditions)?
    } else {
        record.begin_attempt_accepting_loss(proposal, &conditions)?
    };
    Ok(attempt.activate(config_id)?)
}

#[cfg(test)]
mod tests;
