//! What coordinators are told of a copy.

use shardwright_coordinator::{
    failover::replication::{CopyReport, Health, Lead},
    protocol::{CopyTrouble, TroubleKind},
    rebalancer::PartitionId,
};
use shardwright_quorum::log::shard_log::{Condition, Status};
use shardwright_topology::Lsn;

/// Returns how a copy stands; `None` while it takes no part.
pub(super) fn report(status: &Status) -> Option<CopyReport> {
    let is_open = status.condition == Condition::Running;
    let me = status.me.as_ref().filter(|_| is_open)?;
    Some(CopyReport {
        replica_id: status.replica_id?,
        incarnation: me.incarnation,
        epoch: status.last.epoch,
        durable: status.durable,
        health: if status.registry_went_back {
            Health::RegistryWentBack
        } else {
            Health::Whole
        },
        installs: status.applied < status.base.lsn,
        lead: lead(status),
    })
}

/// Returns what a copy has failed of; `None` if it works, and has caught up since.
pub(super) fn trouble(partition: &PartitionId, status: &Status) -> Option<CopyTrouble> {
    let (kind, error) = match &status.trouble.as_ref()?.condition {
        Condition::NoRoom(why) => (TroubleKind::NoRoom, why),
        Condition::Waiting(why) => (TroubleKind::Unusable, why),
        Condition::SetAside(why) => (TroubleKind::SetAside, why),
        _ => return None,
    };
    Some(CopyTrouble {
        partition: partition.clone(),
        kind,
        error: error.clone(),
    })
}

/// What the primary knows.
fn lead(status: &Status) -> Option<Lead> {
    let epoch = status.leading()?;
    let answered = status.followers.iter();
    let answered = answered.filter(|follower| follower.matched > Lsn(0));
    // What was committed before counts only once a record of this epoch is.
    let is_of_epoch = status.last.epoch == epoch;
    Some(Lead {
        epoch,
        last: status.last.lsn,
        commit: is_of_epoch.then_some(status.known_commit),
        followers: answered
            .map(|follower| (follower.replica_id, follower.matched))
            .collect(),
    })
}
