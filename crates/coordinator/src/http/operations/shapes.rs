//! What is shown of operations. The table of shapes in the documentation is made from these.

use serde::Serialize;
use shardwright_elastic::{Error, OperationStatus, Part, Progress, ShardStatistics, Work};
use shardwright_rebalancer::PartitionId;
use shardwright_topology::{
    Decision, KeyspaceName, MemberChange, NodeId, Operation, OperationId, OperationKind, Phase,
    Position, ShardId,
};

use crate::core::{Relocation, View, merge_of};

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
    /// From where to where a shard moves.
    from: Option<&'a NodeId>,
    to: Option<&'a NodeId>,
    /// The moves that bring the sources of a merge together.
    moves: Vec<MoveShape<'a>>,
    paused: bool,
    reason: &'a str,
    error: Option<&'a str>,
    progress: ProgressShape,
}

/// A move before a merge: one that has begun, or would.
#[derive(Debug, Serialize)]
pub(super) struct MoveShape<'a> {
    /// The operation that it is; `null` if it has not begun.
    operation: Option<&'a OperationId>,
    shard: &'a ShardId,
    from: &'a NodeId,
    to: &'a NodeId,
    phase: Phase,
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

    /// Shows the moves with it that would come first.
    pub(super) fn after(mut self, moves: &'a [Relocation]) -> Self {
        self.moves = moves.iter().map(MoveShape::planned).collect();
        self
    }

    /// Shows the moves with it that are made for it.
    pub(super) fn with_moves(mut self, view: &'a View) -> Self {
        let moves = view.operations.iter();
        let own = moves.filter(|operation| merge_of(&operation.id).as_ref() == self.id);
        self.moves = own.filter_map(MoveShape::of).collect();
        self
    }

    /// Shows the move of a shard that commits on several members.
    pub(super) fn moving(change: &Change<'a>) -> Self {
        let operation = change.operation;
        Self {
            id: Some(&operation.id),
            phase: operation.phase,
            targets: operation.targets.iter().collect(),
            paused: operation.paused,
            error: operation.error.as_deref(),
            progress: ProgressShape {
                lag: change.lag,
                ..ProgressShape::in_phase(operation.phase)
            },
            ..Self::planned_move(change.shard, change.members)
        }
    }

    /// Shows what would be done to move such a shard.
    pub(super) fn planned_move(shard: &'a ShardId, members: &'a MemberChange) -> Self {
        Self {
            id: None,
            kind: OperationKind::Migrate,
            phase: Phase::Planned,
            sources: vec![shard],
            targets: Vec::new(),
            at: Vec::new(),
            from: Some(&members.from),
            to: Some(&members.to),
            moves: Vec::new(),
            paused: false,
            reason: "asked for",
            error: None,
            progress: ProgressShape::default(),
        }
    }

    /// Shows what would be done.
    pub(super) fn planned(work: &'a Work) -> Self {
        let is_move = work.kind == OperationKind::Migrate;
        let node = |parts: &'a [Part]| {
            let first = parts.first().filter(|_| is_move);
            first.map(|part| &part.node)
        };
        Self {
            id: None,
            kind: work.kind,
            phase: Phase::Planned,
            sources: names(&work.sources),
            targets: Vec::new(),
            at: cuts(&work.targets),
            from: node(&work.sources),
            to: node(&work.targets),
            moves: Vec::new(),
            paused: false,
            reason: &work.reason,
            error: None,
            progress: ProgressShape::default(),
        }
    }
}

impl<'a> MoveShape<'a> {
    fn planned(relocation: &'a Relocation) -> Self {
        let Relocation { shard, members } = relocation;
        Self {
            operation: None,
            shard,
            from: &members.from,
            to: &members.to,
            phase: Phase::Planned,
        }
    }

    fn of(operation: &'a Operation) -> Option<Self> {
        let (members, shard) = (operation.members.as_ref()?, operation.sources.first()?);
        Some(Self {
            operation: Some(&operation.id),
            shard,
            from: &members.from,
            to: &members.to,
            phase: operation.phase,
        })
    }
}

/// The move of a shard that commits on several members, and what there is to show of it.
#[derive(Debug)]
pub(super) struct Change<'a> {
    operation: &'a Operation,
    shard: &'a ShardId,
    members: &'a MemberChange,
    /// By how many records the copy is behind, while that counts and the primary has said it.
    lag: Option<u64>,
}

impl<'a> Change<'a> {
    /// Returns what there is to show of an operation, if it is such a move.
    pub(super) fn of(operation: &'a Operation, view: &View) -> Option<Self> {
        let (members, shard) = (operation.members.as_ref()?, operation.sources.first()?);
        let partition = PartitionId::new(operation.keyspace.clone(), shard.clone());
        let known = view.replicated.get(&partition);
        let known = known.filter(|_| !operation.phase.is_final());
        Some(Self {
            operation,
            shard,
            members,
            lag: known.and_then(|known| known.lags.get(&members.to).copied()),
        })
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
    reads_per_second: Option<f64>,
    writes_per_second: Option<f64>,
    /// The part of a processor.
    cpu: Option<f64>,
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
            reads_per_second: known.map(|known| known.metrics.read_rate),
            writes_per_second: known.map(|known| known.metrics.write_rate),
            cpu: known.map(|known| known.metrics.cpu_usage),
            operation: known.and_then(|known| known.operation.as_ref()),
            error: found.err().map(ToString::to_string),
        }
    }
}
