//! What is shown of operations. The table of shapes in the documentation is made from these.

use serde::Serialize;
use shardwright_elastic::{Error, OperationStatus, Part, Progress, ShardStatistics, Work};
use shardwright_topology::{
    Decision, KeyspaceName, NodeId, OperationId, OperationKind, Phase, Position, ShardId,
};

use crate::core::View;

/// An operation, or one that could begin.
#[derive(Debug, Serialize)]
pub(super) struct OperationShape<'a> {
    /// Its name; `null` if it has not begun and will not.
    id: Option<&'a OperationId>,
    kind: OperationKind,
    phase: Phase,
    sources: Vec<&'a ShardId>,
    /// The new shards; none of an operation that has not begun.
    targets: Vec<&'a ShardId>,
    /// Where the new shards begin, but for the first.
    at: Vec<Position>,
    paused: bool,
    reason: &'a str,
    error: Option<&'a str>,
    progress: ProgressShape,
}

/// How far an operation is. What is not known is `null`: only the leader that copied something knows how much it was.
#[derive(Debug, Default, Serialize)]
pub(super) struct ProgressShape {
    rows: Option<u64>,
    rows_total: Option<u64>,
    bytes: Option<u64>,
    bytes_total: Option<u64>,
    fraction: Option<f64>,
    rows_per_second: Option<f64>,
    bytes_per_second: Option<f64>,
    eta_seconds: Option<u64>,
    lag: Option<u64>,
}

impl<'a> OperationShape<'a> {
    pub(super) fn of(status: &'a OperationStatus) -> Self {
        let record = &status.record;
        let operation = &record.operation;
        let progress = match &status.progress {
            Some(progress) => ProgressShape::of(progress),
            None => ProgressShape::in_phase(record.phase()),
        };
        Self {
            id: Some(record.id()),
            phase: record.phase(),
            targets: names(&record.work.targets),
            paused: record.operation.paused,
            error: operation.error.as_deref(),
            progress,
            ..Self::planned(&record.work)
        }
    }

    /// Shows what would be done.
    pub(super) fn planned(work: &'a Work) -> Self {
        Self {
            id: None,
            kind: work.kind,
            phase: Phase::Planned,
            sources: names(&work.sources),
            targets: Vec::new(),
            at: cuts(&work.targets),
            paused: false,
            reason: &work.reason,
            error: None,
            progress: ProgressShape::default(),
        }
    }
}

fn names(parts: &[Part]) -> Vec<&ShardId> {
    parts.iter().map(|part| &part.shard).collect()
}

/// Where the ranges of shards begin, but for the first.
fn cuts(parts: &[Part]) -> Vec<Position> {
    let ranges = parts.iter().filter_map(|part| part.extent.as_range());
    ranges.skip(1).map(|range| range.start()).collect()
}

impl ProgressShape {
    fn of(progress: &Progress) -> Self {
        let (rows, bytes) = (progress.rows, progress.bytes);
        let is_known = bytes > 0 && progress.bytes_per_second > 0.0;
        #[expect(clippy::cast_precision_loss, reason = "a rate that is shown")]
        let rows_per_second = || progress.bytes_per_second * rows as f64 / bytes as f64;
        Self {
            rows: Some(rows),
            rows_total: progress.rows_total,
            bytes: Some(bytes),
            bytes_total: progress.bytes_total,
            fraction: Some(progress.fraction()),
            rows_per_second: is_known.then(rows_per_second),
            bytes_per_second: is_known.then_some(progress.bytes_per_second),
            eta_seconds: progress.remaining.map(|left| left.as_secs()),
            lag: progress.lag,
        }
    }

    /// What an operation is known to have done that nobody here has run.
    fn in_phase(phase: Phase) -> Self {
        let is_committed = phase.decision() == Decision::Commit;
        Self {
            fraction: is_committed.then_some(1.0),
            ..Self::default()
        }
    }
}

/// How much a shard has and does. What its nodes do not say is `null`.
#[derive(Debug, Serialize)]
pub(super) struct StatisticsShape<'a> {
    shard: &'a ShardId,
    primary: Option<&'a NodeId>,
    rows: Option<usize>,
    bytes: Option<u64>,
    requests_per_second: Option<f64>,
    /// The operation that it takes part in.
    operation: Option<&'a OperationId>,
    /// Why nothing is known.
    error: Option<String>,
}

impl<'a> StatisticsShape<'a> {
    pub(super) fn of(
        shard: &'a ShardId,
        found: Result<&'a ShardStatistics, &'a Error>,
        view: &'a View,
    ) -> Self {
        let main = KeyspaceName::main();
        let mut shards = view.shards.iter();
        let record = shards.find(|record| record.id == *shard && record.keyspace == main);
        let known = found.ok();
        Self {
            shard,
            primary: record.and_then(|record| record.primary()),
            rows: known.map(|known| known.key_count),
            bytes: known.map(|known| known.storage_bytes),
            requests_per_second: known.map(|known| known.operations_per_sec),
            operation: known.and_then(|known| known.operation.as_ref()),
            error: found.err().map(ToString::to_string),
        }
    }
}
