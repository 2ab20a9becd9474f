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
use shardwright_topology::{Backoff, NodeId, Timestamp};
use tokio::task::spawn_blocking;

use super::{
    Shared,
    engine::Engine,
    numbers::{Numbered, Numbering},
    pass_on::{self, FORWARDED, Passed, Trial},
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
    let trial = Trial::of(&headers).filter(|_| is_passed_on);
    let run =
        tokio::spawn(async move { run(&shared, &request, statement, is_passed_on, trial).await });
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

/// Runs a statement with a number: the client's, that of the gateway that has passed it on, or one of this gateway.
async fn run(
    shared: &Shared,
    request: &SqlRequest,
    statement: Statement,
    is_passed_on: bool,
    trial: Option<Trial>,
) -> Response {
    let recurs = statement.numbered.is_some() || trial.is_some_and(|trial| trial.again);
    let given = statement.numbered.or(trial.map(|trial| trial.numbered));
    let mut attempts = Attempts {
        deadline: shared.clock.now() + statement.within,
        waits: Backoff::new(WAITS.0, WAITS.1, rand::random()),
        shared,
        request,
        is_passed_on,
        statement: Arc::new(statement),
        is_own: given.is_none(),
        numbered: given.unwrap_or_else(|| shared.streams.take()),
        recurs,
        is_lost: false,
    };
    let response = attempts.all().await;
    // Of one that may still happen, the number is not used again.
    if attempts.is_own && response.status() != StatusCode::GATEWAY_TIMEOUT {
        shared.streams.give_back(attempts.numbered);
    }
    response
}

/// The attempts to run a statement, each with the schema of its moment.
struct Attempts<'a> {
    shared: &'a Shared,
    request: &'a SqlRequest,
    statement: Arc<Statement>,
    numbered: Numbered,
    /// Whether this gateway has given it the number, as nobody else did.
    is_own: bool,
    /// Whether it may have been tried before these attempts, or in one of them.
    recurs: bool,
    /// Whether it is not known what became of one of these attempts.
    is_lost: bool,
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
            let last = match self.attempt(&engine).await {
                // No place was asked, which would have said that the schema is an old one.
                Attempt::Ran(answer, _)
                    if !is_fresh && answer.places.is_empty() && !answer.columns.is_empty() =>
                {
                    let _news = engine.refresh(self.left()).await;
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
                        return self.failed(&error);
                    }
                    failure(&error)
                }
                Attempt::ForWriter => match self.by_writer(&engine).await {
                    Ok(response) => return response,
                    Err(response) => response,
                },
            };
            if self.left().is_zero() {
                return if self.is_lost { failure(&lost()) } else { last };
            }
            let wait = self.waits.next().unwrap_or(WAITS.1).min(self.left());
            tokio::time::sleep(wait).await;
        }
    }

    fn left(&self) -> Duration {
        self.deadline.since(self.shared.clock.now())
    }

    /// Returns the reply to an attempt that is the last one. That it has changed nothing does not help where another one may have.
    fn failed(&self, error: &Error) -> Response {
        let is_forgotten = kind_of(error) == Some(FaultKind::Forgotten);
        if self.is_lost && (error.is_retryable() || is_forgotten) {
            return failure(&lost());
        }
        failure(error)
    }

    /// Runs the statement, as the keyspace's writer if it needs that and this node is it.
    async fn attempt(&self, engine: &Engine) -> Attempt {
        let attempt = self.once(engine, None).await;
        let epoch = *engine.writer.borrow();
        let (Attempt::ForWriter, Some(epoch)) = (&attempt, epoch) else {
            return attempt;
        };
        let (tries, writing) = (&self.shared.tries, &self.shared.writing);
        let turn = async { (tries.alone(self.numbered).await, writing.acquire().await) };
        match tokio::time::timeout(self.left(), turn).await {
            Ok(_turn) => self.once(engine, Some(epoch)).await,
            Err(_) => Attempt::Failed {
                error: overloaded(),
                planned: None,
            },
        }
    }

    /// Runs the statement once, with the epoch of the keyspace's writer if this is to be it.
    async fn once(&self, engine: &Engine, epoch: Option<u64>) -> Attempt {
        let running = tokio::time::timeout(self.left(), self.shared.running.acquire()).await;
        // It is never closed.
        let Ok(Ok(_running)) = running else {
            return Attempt::Failed {
                error: overloaded(),
                planned: None,
            };
        };
        let view = View {
            cluster: Arc::clone(&engine.cluster),
            until: Until::Then(engine.cluster.deadline(self.left())),
            freshness: self.freshness(engine),
            level: self.statement.level,
            schema: None,
            writer: epoch.map_or(Claim::Anyone, Claim::Writer),
            numbering: Arc::new(Numbering::of_statement(self.numbered)),
            recurs: self.recurs,
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

    /// Returns how fresh the data has to be that is read: what a write depends on is never old.
    fn freshness(&self, engine: &Engine) -> Wanted {
        match &self.statement.freshness {
            Wanted::Any | Wanted::AtLeast(_)
                if !engine
                    .database
                    .only_reads(&self.statement.sql)
                    .unwrap_or(false) =>
            {
                Wanted::Leased
            }
            freshness => freshness.clone(),
        }
    }

    /// Whether the statement may be planned and run again, with what has changed since.
    async fn is_worth_another(
        &mut self,
        engine: &Engine,
        error: &Error,
        planned: Option<u64>,
    ) -> bool {
        if matches!(error, Error::Unfinished { .. }) {
            // The next writer ends it, and knows then what it was.
            self.lose();
            return true;
        }
        match kind_of(error) {
            Some(FaultKind::SchemaChanged) => {
                let _news = engine.refresh(self.left()).await;
                true
            }
            Some(FaultKind::Forgotten) => self.takes_another_number(),
            Some(FaultKind::NotWriter) => true,
            // It may be about a table that another node has made.
            _ if matches!(error, Error::Sql { .. } | Error::UnknownTable { .. }) => {
                // Another statement may have looked for it meanwhile.
                engine.refresh(self.left()).await
                    || planned.is_some_and(|planned| planned < engine.database.broadcast_number())
            }
            _ => false,
        }
    }

    /// Takes another number, if a shard has not heard of the gateway's own name for so long that it has forgotten it.
    fn takes_another_number(&mut self) -> bool {
        let may = self.is_own && !self.is_lost;
        if may {
            self.numbered = Numbered::of_stream();
        }
        may
    }

    fn lose(&mut self) {
        self.is_lost = true;
        self.recurs = true;
    }

    /// Lets the keyspace's writer run the statement. An error has to be tried again, and is the answer if there is no time.
    async fn by_writer(&mut self, engine: &Engine) -> Result<Response, Response> {
        let again = || failure(&not_writer());
        let catalog = engine.cluster.names.catalog();
        let owner = engine.cluster.router.route(&catalog.shard);
        let owner = owner.map_err(|_| again())?.owner;
        if owner == *engine.cluster.router.node() {
            // It is to be this one, and has not begun yet.
            let mut role = engine.writer.clone();
            let begun = role.wait_for(Option::is_some);
            let _begun = tokio::time::timeout(self.left().min(WAITS.1), begun).await;
            return Err(again());
        }
        if self.is_passed_on {
            return Ok(again());
        }
        let trial = Trial {
            numbered: self.numbered,
            again: self.recurs,
        };
        let (left, request) = (self.left(), self.request.within(self.left()));
        let passed = tokio::select! {
            passed = pass_on::ask(engine, &owner, &request, trial, left) => passed,
            () = until_moved(engine, &owner) => Passed::Lost,
        };
        match passed {
            Passed::Answered(response) => Ok(response),
            Passed::Refused(response) => Err(response),
            Passed::Unreachable => Err(again()),
            Passed::Forgotten(_) if self.takes_another_number() => Err(again()),
            Passed::Forgotten(_) if self.is_lost => Ok(failure(&lost())),
            Passed::Forgotten(response) => Ok(response),
            Passed::Lost => {
                self.lose();
                Err(again())
            }
        }
    }
}

/// Ends when another node than that one has the primary of the catalog shard. One that was stopped answers nobody, and keeps its connections.
async fn until_moved(engine: &Engine, node: &NodeId) {
    let (router, catalog) = (&engine.cluster.router, engine.cluster.names.catalog());
    let mut changes = router.changes();
    let is_elsewhere = |_: &u64| {
        let route = router.route(&catalog.shard);
        route.is_ok_and(|route| route.owner != *node)
    };
    if changes.wait_for(is_elsewhere).await.is_err() {
        std::future::pending().await
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
    if is_writer && engine.database.has_unfinished() {
        engine.unfinished.notify_one();
    }
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
