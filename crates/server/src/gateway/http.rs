//! `POST /v1/sql`: one statement, one answer. `GET /v1/commits`: what is left of commits over several shards.
//! `POST /v1/backup`: all shards as they were at one moment.
//! `GET /v1/schema`: which changes of the schema every shard has.

mod allowed;
mod attempts;
mod backup;
mod commits;
mod outcome;
mod schema;

pub(super) use self::{attempts::run, outcome::Outcome};

use std::sync::Arc;

use shardwright_http::{
    Role,
    axum::{
        Extension, Router,
        body::Bytes,
        extract::{DefaultBodyLimit, State},
        http::{HeaderMap, StatusCode},
        response::{IntoResponse as _, Response},
        routing::{get, post},
    },
};

use super::{
    Shared,
    pass_on::{FORWARDED, Trial},
    request::{BadRequest, SqlRequest, problem},
};

/// How many bytes a request may have.
const BODY_MAX: usize = 16 << 20;

/// How many bytes a request for a backup may have.
const BACKUP_BODY_MAX: usize = 4 << 10;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/sql", post(sql).layer(DefaultBodyLimit::max(BODY_MAX)))
        .route("/v1/commits", get(commits::list))
        .route("/v1/schema", get(schema::standing))
        .route(
            crate::backup::PATH,
            post(backup::create).layer(DefaultBodyLimit::max(BACKUP_BODY_MAX)),
        )
        .with_state(shared)
}

async fn sql(
    State(shared): State<Arc<Shared>>,
    role: Option<Extension<Role>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let parsed = serde_json::from_slice::<SqlRequest>(&body)
        .map_err(BadRequest::from)
        .and_then(|request| {
            let statement = request.statement(&shared.keyspace)?;
            Ok((request, statement))
        });
    let (request, statement) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            let message = error.to_string();
            return problem(
                StatusCode::BAD_REQUEST,
                "BAD_REQUEST",
                &message,
                None,
                false,
            );
        }
    };
    if let Some(other) = request.keyspace.as_deref()
        && other != shared.keyspace.as_str()
    {
        let message = format!("there is no keyspace {other}");
        return problem(
            StatusCode::CONFLICT,
            "UNKNOWN_KEYSPACE",
            &message,
            None,
            false,
        );
    }
    if role.is_some_and(|Extension(role)| role < Role::Write)
        && let Err(response) = allowed::only_reads(&shared, &statement).await
    {
        return response;
    }
    let is_passed_on = headers.contains_key(FORWARDED);
    // Whoever has gone by then gets no answer; the statement ends properly all the same.
    let trial = Trial::of(&headers).filter(|_| is_passed_on);
    let running = tokio::spawn(async move {
        let ran = run(&shared, &request, statement, is_passed_on, trial);
        ran.await.into_response()
    });
    running.await.unwrap_or_else(|_| {
        let message = "the statement failed, and it is not known what of it has happened";
        problem(
            StatusCode::GATEWAY_TIMEOUT,
            "INDETERMINATE",
            message,
            None,
            false,
        )
    })
}
