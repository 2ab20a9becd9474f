//! Moves of shards that commit on several members. The core carries them out, with or without a store of rows, and the view shows them.

use std::sync::Arc;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use shardwright_rebalancer::PartitionId;
use shardwright_topology::{
    Decision, KeyspaceName, MemberChange, NodeId, Operation, OperationId, ShardId, ShardRecord,
};

use super::{
    problem::unknown,
    revision_of,
    shapes::{Change, OperationShape},
    within,
};
use crate::{
    core::{Command, Gathering, Refusal, Relocation, Steering, View},
    http::{Api, Problem, admin::list},
};

/// The moves that the registry keeps, each with its change of members.
pub(super) fn all(view: &View) -> impl Iterator<Item = Change<'_>> {
    let all = view.operations.iter();
    all.filter_map(|operation| Change::of(operation, view))
}

fn find<'a>(view: &'a View, id: &OperationId) -> Option<&'a Operation> {
    let mut moves = view.operations.iter();
    moves.find(|operation| operation.id == *id && operation.members.is_some())
}

/// Whether an operation is such a move.
pub(super) fn has(api: &Api, id: &OperationId) -> bool {
    find(&api.handle.view(), id).is_some()
}

/// Returns the record of a shard if it moves by a change of its members.
pub(super) fn record(view: &View, shard: &ShardId) -> Option<Arc<ShardRecord>> {
    let main = KeyspaceName::main();
    let mut shards = view.shards.iter();
    let found = shards.find(|record| record.id == *shard && record.keyspace == main);
    found.filter(|record| record.replicated).cloned()
}

/// Waits until the view shows a move as it has to be by now. What is known is shown soon, but not at once.
async fn until(api: &Api, id: &OperationId, is_so: impl Fn(&Operation) -> bool) -> Arc<View> {
    let shown = api
        .handle
        .view_when(|view| find(view, id).is_some_and(&is_so));
    let shown = tokio::time::timeout(api.settings.leader_wait, shown).await;
    // Whoever came after may have changed it again: then it is shown as it is.
    let shown = shown.ok().flatten();
    shown.unwrap_or_else(|| api.handle.view())
}

/// Waits until a move that has begun is shown to whoever asks for it.
pub(in crate::http) async fn until_shown(api: &Api, id: &OperationId) {
    until(api, id, |_| true).await;
}

/// Answers with a move as it is.
pub(super) fn show(api: &Api, id: &OperationId) -> Result<Response, Problem> {
    answer(&api.handle.view(), id, StatusCode::OK)
}

fn answer(view: &View, id: &OperationId, status: StatusCode) -> Result<Response, Problem> {
    let found = find(view, id).and_then(|operation| Change::of(operation, view));
    let change = found.ok_or_else(|| unknown(id.as_str()))?;
    let shape = OperationShape::moving(&change);
    Ok((status, revision_of(view), Json(shape)).into_response())
}

/// Begins a move, or says what it would do.
pub(super) async fn begin(
    api: &Api,
    record: &ShardRecord,
    from: Option<NodeId>,
    to: NodeId,
    dry_run: bool,
) -> Result<Response, Problem> {
    let gives = from.clone().or_else(|| record.primary().cloned());
    let command = Command::Migrate {
        partition: PartitionId::new(record.keyspace.clone(), record.id.clone()),
        from,
        to: to.clone(),
        dry_run,
    };
    let done = within(api, api.handle.command(command), of_refusal).await?;
    if let Some(id) = &done.operation {
        let view = until(api, id, |_| true).await;
        return answer(&view, id, StatusCode::ACCEPTED);
    }
    // It could begin, so there is a primary.
    let from = gives.unwrap_or_else(|| to.clone());
    let change = MemberChange { from, to };
    let planned = OperationShape::planned_move(&record.id, &change);
    Ok(list(&api.handle.view(), &planned))
}

/// Returns who moves before shards become one, and puts that one first beside which the new one is made. Nobody moves if these are no such shards.
pub(super) async fn gathering(
    api: &Api,
    shards: &mut [ShardId],
) -> Result<Vec<Relocation>, Problem> {
    let view = api.handle.view();
    if !shards.iter().all(|shard| record(&view, shard).is_some()) {
        return Ok(Vec::new());
    }
    let partition = |shard: &ShardId| PartitionId::new(KeyspaceName::main(), shard.clone());
    let command = Command::Gather {
        operation: None,
        shards: shards.iter().map(partition).collect(),
    };
    let done = within(api, api.handle.command(command), of_refusal).await?;
    let Some(Gathering { first, moves }) = done.gathering else {
        return Ok(Vec::new());
    };
    let place = shards.iter().position(|shard| *shard == first);
    shards[..=place.unwrap_or(0)].rotate_right(1);
    Ok(moves)
}

/// Holds a move up, lets it go on, takes it back, or begins the one that reverses it.
pub(super) async fn steer(
    api: &Api,
    id: &OperationId,
    steering: Steering,
) -> Result<Response, Problem> {
    let command = Command::Steer {
        operation: id.clone(),
        steering,
    };
    let done = within(api, api.handle.command(command), of_refusal).await?;
    let begun = done.operation.as_ref().unwrap_or(id);
    let is_so = |operation: &Operation| {
        let decision = operation.phase.decision();
        match steering {
            Steering::Pause => operation.paused || decision != Decision::Open,
            Steering::Resume => !operation.paused || decision != Decision::Open,
            Steering::Cancel => decision == Decision::Abort,
            Steering::Reverse => true,
        }
    };
    let view = until(api, begun, is_so).await;
    let status = match steering {
        Steering::Reverse => StatusCode::ACCEPTED,
        Steering::Pause | Steering::Resume | Steering::Cancel => StatusCode::OK,
    };
    answer(&view, begun, status)
}

fn of_refusal(refusal: Refusal) -> Problem {
    let is_member = matches!(&refusal, Refusal::Holds { .. });
    let problem = Problem::from(refusal);
    if is_member {
        return problem.hint("promote that node: it needs no other copy");
    }
    problem
}
