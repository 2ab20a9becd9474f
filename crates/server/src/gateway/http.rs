//! `POST /v1/sql`: one statement, one answer.

use std::{sync::Arc, time::Duration};

use shardwright_http::axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::post,
};
use shardwright_sql::{
    Answer, Error, Params,
    shards::{Fault, FaultKind, Places},
};
use shardwright_topology::{Backoff, Timestamp};
use tokio::task::spawn_blocking;

use super::{
    Shared,
    engine::Engine,
    numbers::{Numbered, Numbering},
    pass_on::{self, FORWARDED, Passed},
    request::{BadRequest, SqlRequest, Statement, failure, problem, reply},
    view::{Claim, Noted, Until, View, Wanted},
};

/// How many bytes a request may have.
const BODY_MAX: usize = 16 << 20;

/// The waits until a statement is planned again.
const WAITS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/sql", post(sql).layer(DefaultBodyLimit::max(BODY_MAX)))
        .with_state(shared)
}

async fn sql(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    if shared
        .token
        .as_ref()
        .is_some_and(|token| !token.is_in(&headers))
    {
        let message = "the request carries no token, or another one";
        return problem(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            message,
            None,
            false,
        );
    }
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
    let is_passed_on = headers.contains_key(FORWARDED);
    // Whoever has gone by then gets no answer; the statement ends properly all the same.
    let run = tokio::spawn(async move { run(&shared, &request, statement, is_passed_on).await });
    run.await.unwrap_or_else(|_| {
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

/// Runs a statement with a number: the client's, or one of the gateway.
async fn run(
    shared: &Shared,
    request: &SqlRequest,
    statement: Statement,
    is_passed_on: bool,
) -> Response {
    let own = match statement.numbered {
        Some(_) => None,
        None => Some(shared.streams.take()),
    };
    let numbered = statement.numbered.or(own);
    let mut attempts = Attempts {
        deadline: shared.clock.now() + statement.within,
        waits: Backoff::new(WAITS.0, WAITS.1, rand::random()),
        shared,
        request,
        is_passed_on,
        statement: Arc::new(statement),
        numbered,
    };
    let response = attempts.all().await;
    match own {
        // Of one that may still happen, the number is not used again.
        Some(own) if response.status() != StatusCode::GATEWAY_TIMEOUT => {
            shared.streams.give_back(own);
        }
        _ => {}
    }
    response
}

/// The attempts to run a statement, each with the schema of its moment.
struct Attempts<'a> {
    shared: &'a Shared,
    request: &'a SqlRequest,
    statement: Arc<Statement>,
    numbered: Option<Numbered>,
    is_passed_on: bool,
    deadline: Timestamp,
    waits: Backoff,
}

/// What an attempt has come to.
enum Attempt {
    Ran(Answer, Noted),
    Failed {
        error: Error,
        /// The number of the schema that it was planned for, if it came so far.
        planned: Option<u64>,
    },
    /// It is for the keyspace's writer to run.
    ForWriter,
}

impl Attempts<'_> {
    async fn all(&mut self) -> Response {
        let Some(engine) = self.shared.engines.get(self.left()).await else {
            let message = "the keyspace has not been set up yet";
            let hint = "its shards are created once coordinators and nodes run";
            return problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "NO_KEYSPACE",
                message,
                Some(hint),
                true,
            );
        };
        let mut is_fresh = false;
        loop {
            let last = match self.once(&engine).await {
                // No place was asked, which would have said that the schema is an old one.
                Attempt::Ran(answer, _)
                    if !is_fresh && answer.places.is_empty() && !answer.columns.is_empty() =>
                {
                    let _news = refresh(&engine).await;
                    is_fresh = true;
                    continue;
                }
                Attempt::Ran(answer, noted) => {
                    let is_any = !matches!(
                        self.statement.freshness,
                        Wanted::Leased | Wanted::Consistent
                    );
                    return reply(&answer, &noted, is_any);
                }
                Attempt::Failed { error, planned } => {
                    if !self.is_worth_another(&engine, &error, planned).await {
                        return failure(&error);
                    }
                    error
                }
                Attempt::ForWriter => match self.by_writer(&engine).await {
                    Some(response) => return response,
                    None => not_writer(),
                },
            };
            if self.left().is_zero() {
                return failure(&last);
            }
            let wait = self.waits.next().unwrap_or(WAITS.1).min(self.left());
            tokio::time::sleep(wait).await;
        }
    }

    fn left(&self) -> Duration {
        self.deadline.since(self.shared.clock.now())
    }

    async fn once(&self, engine: &Engine) -> Attempt {
        let running = tokio::time::timeout(self.left(), self.shared.running.acquire()).await;
        // It is never closed.
        let Ok(Ok(_running)) = running else {
            return Attempt::Failed {
                error: overloaded(),
                planned: None,
            };
        };
        let epoch = *engine.writer.borrow();
        let view = View {
            cluster: Arc::clone(&engine.cluster),
            until: Until::Then(engine.cluster.deadline(self.left())),
            freshness: self.statement.freshness.clone(),
            level: self.statement.level,
            schema: None,
            writer: epoch.map_or(Claim::Anyone, Claim::Writer),
            numbering: Arc::new(match self.numbered {
                Some(numbered) => Numbering::of_statement(numbered),
                None => Numbering::of_calls(),
            }),
            notes: Arc::default(),
        };
        let (engine, statement) = (engine.clone(), Arc::clone(&self.statement));
        let ran = spawn_blocking(move || execute(&engine, view, &statement)).await;
        ran.unwrap_or_else(|error| {
            tracing::error!(%error, "a statement panicked");
            let message = "the statement failed, and it is not known what of it has happened";
            Attempt::Failed {
                error: Fault::new(FaultKind::Indeterminate, message).at("gateway"),
                planned: None,
            }
        })
    }

    /// Whether the statement may be planned and run again, with what has changed since.
    async fn is_worth_another(&self, engine: &Engine, error: &Error, planned: Option<u64>) -> bool {
        match kind_of(error) {
            Some(FaultKind::SchemaChanged) => {
                let _news = refresh(engine).await;
                true
            }
            Some(FaultKind::NotWriter) => true,
            // It may be about a table that another node has made.
            _ if matches!(error, Error::Sql { .. } | Error::UnknownTable { .. }) => {
                // Another statement may have looked for it meanwhile.
                refresh(engine).await
                    || planned.is_some_and(|planned| planned < engine.database.broadcast_number())
            }
            _ => false,
        }
    }

    /// Lets the keyspace's writer run the statement; `None` if that has to be tried again.
    async fn by_writer(&self, engine: &Engine) -> Option<Response> {
        let catalog = engine.cluster.names.catalog();
        let owner = engine.cluster.router.route(&catalog.shard).ok()?.owner;
        if owner == *engine.cluster.router.node() {
            // It is to be this one, and has not begun yet.
            let mut role = engine.writer.clone();
            let begun = role.wait_for(Option::is_some);
            let _begun = tokio::time::timeout(self.left().min(WAITS.1), begun).await;
            return None;
        }
        if self.is_passed_on {
            return Some(failure(&not_writer()));
        }
        match pass_on::ask(
            engine,
            &owner,
            &self.request.within(self.left()),
            self.left(),
        )
        .await
        {
            Passed::Answered(response) => Some(response),
            Passed::NotWriter => None,
            Passed::Lost => Some(failure(&lost())),
        }
    }
}

/// Runs a statement; it waits for shards, and is not for a thread that drives tasks.
fn execute(engine: &Engine, view: View, statement: &Statement) -> Attempt {
    let is_writer = matches!(view.writer, Claim::Writer(_));
    let notes = Arc::clone(&view.notes);
    let handle = engine.database.through(|schema| {
        Arc::new(View {
            schema: Some(schema),
            ..view
        }) as Arc<dyn Places>
    });
    let handle = if is_writer { handle } else { handle.as_peer() };
    let named: Vec<(&str, shardwright_sql::Value)> = statement
        .named
        .iter()
        .map(|(name, value)| (&**name, value.clone()))
        .collect();
    let params = Params::from(&statement.positional).and_named(&named);
    let ran = match &statement.key {
        Some(key) => handle.execute_by_key(key, statement.table.as_deref(), &statement.sql, params),
        None => handle.execute_with(&statement.sql, params, statement.mode),
    };
    match ran {
        Ok(answer) => Attempt::Ran(answer, notes.take()),
        Err(error) if !is_writer && kind_of(&error) == Some(FaultKind::NotWriter) => {
            Attempt::ForWriter
        }
        Err(error) => Attempt::Failed {
            error,
            planned: Some(handle.broadcast_number()),
        },
    }
}

fn kind_of(error: &Error) -> Option<FaultKind> {
    match error {
        Error::Place { fault, .. } => Some(fault.kind),
        _ => None,
    }
}

/// Looks for a newer schema. Returns whether there was one.
async fn refresh(engine: &Engine) -> bool {
    let database = engine.database.clone();
    let refreshed = spawn_blocking(move || database.refresh()).await;
    match refreshed {
        Ok(Ok(is_newer)) => is_newer,
        Ok(Err(error)) => {
            tracing::debug!(%error, "the registry does not say whether the schema has changed");
            false
        }
        Err(_) => false,
    }
}

fn overloaded() -> Error {
    let message = "too many statements run on this node";
    Fault::new(FaultKind::Busy, message).at("gateway")
}

fn not_writer() -> Error {
    let message = "the node that runs such statements has not answered in time";
    Fault::new(FaultKind::NotWriter, message).at("gateway")
}

fn lost() -> Error {
    let message =
        "the node that ran the statement was lost, and it is not known what of it has happened";
    Fault::new(FaultKind::Indeterminate, message).at("gateway")
}
