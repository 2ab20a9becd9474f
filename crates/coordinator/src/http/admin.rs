//! The admin API below `/api/v1`.
//!
//! Lists come from this coordinator's mirror of the registry, and say how far it has followed. Who has changed something and wants
//! to see it asks with the revision of the answer as `?at=`. What only the leader knows, such as how far copies are behind, is there
//! with `?leader=true`.

mod requests;
mod shapes;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::HeaderName,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shardwright_rebalancer::PartitionId;
use shardwright_registry::Revision;
use shardwright_topology::{KeyspaceName, NodeId};

use self::{
    requests::{Drain, Move, NoBody, Partitions, Promote, Remove, Replace},
    shapes::{NodeShape, PlanShape, ShardShape, StatusShape, assignments_of, find},
};
use super::{
    Api, Problem, REVISION,
    balance::{Pinning, pin_moved},
    body::JsonBody,
    metrics::count_request,
    operations::until_shown,
    query::Asked,
};
use crate::core::{Command, View};

/// What every coordinator answers from its mirror.
pub(super) fn mirrored() -> Router<Api> {
    Router::new()
        .route("/api/v1/nodes", get(nodes))
        .route("/api/v1/shards", get(shards))
        .route("/api/v1/assignments", get(assignments))
        .route("/api/v1/status", get(status))
}

/// What only the leader knows.
pub(super) fn of_leader() -> Router<Api> {
    Router::new().route("/api/v1/plans", get(plans))
}

/// What only the leader does, for as long as it takes.
pub(super) fn commands() -> Router<Api> {
    Router::new()
        .route(
            "/api/v1/partitions",
            post(add_partitions).delete(remove_partitions),
        )
        .route("/api/v1/drain", post(drain))
        .route("/api/v1/replace", post(replace))
        .route("/api/v1/remove", post(remove))
        .route("/api/v1/move", post(move_shard))
        .route("/api/v1/promote", post(promote))
        .route("/api/v1/rebalance", post(rebalance))
}

/// Which part of a list is wanted, and how new it must be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    keyspace: Option<KeyspaceName>,
    node: Option<NodeId>,
    at: Option<u64>,
    /// Whether the leader is to answer. It has been passed on by now.
    #[serde(default, rename = "leader")]
    _leader: bool,
}

impl Wanted {
    fn has_keyspace(&self, keyspace: &KeyspaceName) -> bool {
        self.keyspace
            .as_ref()
            .is_none_or(|wanted| wanted == keyspace)
    }

    fn has_node(&self, node: &NodeId) -> bool {
        self.node.as_ref().is_none_or(|wanted| wanted == node)
    }
}

/// Returns what is known, once it is complete and as new as wanted.
async fn view(api: &Api, wanted: &Wanted) -> Result<Arc<View>, Problem> {
    let at = Revision(wanted.at.unwrap_or_default());
    let known = api
        .handle
        .view_when(|view| view.is_complete && view.revision >= at);
    let view = tokio::time::timeout(api.settings.leader_wait, known).await;
    view.ok().flatten().ok_or_else(|| {
        Problem::unavailable(
            "BEHIND",
            "this coordinator has not yet seen the registry so far",
        )
        .hint("ask again, or another coordinator")
    })
}

/// Answers with a body, and how far the registry was followed for it.
pub(super) fn list<T: Serialize>(view: &View, body: &T) -> Response {
    let name = HeaderName::from_static(REVISION);
    ([(name, view.revision.0.to_string())], Json(body)).into_response()
}

async fn nodes(State(api): State<Api>, Asked(wanted): Asked<Wanted>) -> Result<Response, Problem> {
    let view = view(&api, &wanted).await?;
    let nodes = view
        .nodes
        .iter()
        .filter(|node| wanted.has_node(&node.record.id));
    Ok(list(
        &view,
        &nodes
            .map(|node| NodeShape::of(node, &view))
            .collect::<Vec<_>>(),
    ))
}

async fn shards(State(api): State<Api>, Asked(wanted): Asked<Wanted>) -> Result<Response, Problem> {
    let view = view(&api, &wanted).await?;
    let shards = view.shards.iter().filter(|shard| {
        wanted.has_keyspace(&shard.keyspace)
            && (wanted.node.is_none()
                || assignments_of(shard).any(|assigned| wanted.has_node(assigned.node)))
    });
    let shapes = shards.map(|shard| ShardShape::of(shard, &view));
    Ok(list(&view, &shapes.collect::<Vec<_>>()))
}

async fn assignments(
    State(api): State<Api>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Problem> {
    let view = view(&api, &wanted).await?;
    let shards = view
        .shards
        .iter()
        .filter(|shard| wanted.has_keyspace(&shard.keyspace));
    let assigned = shards
        .flat_map(|shard| assignments_of(shard))
        .filter(|assigned| wanted.has_node(assigned.node));
    Ok(list(&view, &assigned.collect::<Vec<_>>()))
}

async fn status(State(api): State<Api>, Asked(wanted): Asked<Wanted>) -> Result<Response, Problem> {
    let view = view(&api, &wanted).await?;
    Ok(list(&view, &StatusShape::of(api.handle.id(), &view)))
}

async fn plans(State(api): State<Api>, Asked(wanted): Asked<Wanted>) -> Result<Response, Problem> {
    let view = view(&api, &wanted).await?;
    Ok(list(&view, &PlanShape::of(&view)))
}

/// Has a command carried out, and answers with how much it changes and what it does not do.
async fn carry_out(api: &Api, command: Command, note: Option<&str>) -> Result<Response, Problem> {
    let limit = api.settings.command_timeout;
    let carried_out = tokio::time::timeout(limit, api.handle.command(command)).await;
    let done = carried_out.map_err(|_| {
        Problem::indeterminate("the command takes long and may go on")
            .hint("follow it at /api/v1/status")
    })??;
    let mut body = json!({"changes": done.changes});
    if let Some(operation) = &done.operation {
        until_shown(api, operation).await;
        body["operation"] = json!(operation);
    } else if let Some(note) = note {
        body["note"] = note.into();
    }
    Ok(list(&api.handle.view(), &body))
}

async fn add_partitions(
    State(api): State<Api>,
    JsonBody(request): JsonBody<Partitions>,
) -> Result<Response, Problem> {
    let replicas = request.replicas;
    let ids = request.ids()?;
    carry_out(&api, Command::AddPartitions { ids, replicas }, None).await
}

async fn remove_partitions(
    State(api): State<Api>,
    JsonBody(request): JsonBody<Partitions>,
) -> Result<Response, Problem> {
    if request.replicas.is_some() {
        return Err(Problem::bad_request("replicas is for new partitions"));
    }
    let ids = request.ids()?;
    carry_out(&api, Command::RemovePartitions { ids }, None).await
}

async fn drain(
    State(api): State<Api>,
    JsonBody(Drain { node }): JsonBody<Drain>,
) -> Result<Response, Problem> {
    carry_out(&api, Command::Drain { node }, None).await
}

async fn replace(
    State(api): State<Api>,
    JsonBody(Replace { node, by }): JsonBody<Replace>,
) -> Result<Response, Problem> {
    carry_out(&api, Command::Replace { node, by }, None).await
}

async fn remove(
    State(api): State<Api>,
    JsonBody(Remove { node }): JsonBody<Remove>,
) -> Result<Response, Problem> {
    carry_out(&api, Command::Remove { node }, None).await
}

const NO_DATA: &str = "only the assignment changes, no data is moved";

async fn move_shard(
    State(api): State<Api>,
    JsonBody(Move {
        shard,
        keyspace,
        from,
        to,
        pin,
    }): JsonBody<Move>,
) -> Result<Response, Problem> {
    let command = |partition| {
        Ok(Command::Move {
            partition,
            from,
            to,
        })
    };
    let partition = find(&api.handle.view(), &shard, keyspace.as_ref())?;
    let pinning = Pinning::of(pin);
    reassign(&api, "move", partition, pinning, command).await
}

async fn promote(
    State(api): State<Api>,
    JsonBody(request): JsonBody<Promote>,
) -> Result<Response, Problem> {
    let (shard, keyspace) = (request.shard.clone(), request.keyspace.clone());
    let pinning = request.pinning();
    let command = |partition| request.command(partition);
    let partition = find(&api.handle.view(), &shard, keyspace.as_ref())?;
    reassign(&api, "promote", partition, pinning, command).await
}

/// Has a command about one shard carried out, and counts it. Then it stays there or not.
async fn reassign(
    api: &Api,
    method: &'static str,
    partition: PartitionId,
    pinning: Pinning,
    command: impl FnOnce(PartitionId) -> Result<Command, Problem>,
) -> Result<Response, Problem> {
    let shard = partition.shard.clone();
    let answer = carry_out(api, command(partition.clone())?, Some(NO_DATA)).await;
    if answer.is_ok() {
        pin_moved(api, &partition, pinning).await;
    }
    let outcome = answer
        .as_ref()
        .map_or_else(|problem| problem.code, |_| "ok");
    count_request(shard.as_str(), method, outcome);
    answer
}

async fn rebalance(
    State(api): State<Api>,
    JsonBody(NoBody {}): JsonBody<NoBody>,
) -> Result<Response, Problem> {
    carry_out(&api, Command::Rebalance, None).await
}
