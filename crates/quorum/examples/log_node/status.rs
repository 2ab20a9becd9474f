//! How it stands with the copy, on a line.

use shardwright_quorum::log::ShardLog;

pub(crate) fn text(log: &ShardLog) -> String {
    let status = log.status().borrow().clone();
    let id = status
        .replica_id
        .map(|id| id.to_string())
        .unwrap_or_default();
    let incarnation = status.me.as_ref().map_or(0, |me| me.incarnation.0);
    let promised = status.promised.map_or(0, |promised| promised.epoch.0);
    let leads = status.leading().map_or(0, |epoch| epoch.0);
    format!(
        "ok replica={id} incarnation={incarnation} leads={leads} promised={promised} last={} durable={} commit={} applied={} base={} openings={} condition={:?}",
        status.last.lsn,
        status.durable,
        status.known_commit,
        status.applied,
        status.base.lsn,
        status.openings,
        status.condition,
    )
}
