//! The attempts to run a statement, each with the schema and the shards of its moment.

use std::{sync::Arc, time::Duration};

use shardwright_http::axum::{http::StatusCode, response::Response};
use shardwright_sql::{
    Answer, Error, Params,
    shards::{Fault, FaultKind, Places},
};
use shardwright_topology::{Backoff, NodeId, Timestamp};
use tokio::{sync::watch::Receiver, task::spawn_blocking};

use super::Outcome;
use crate::gateway::{
    Shared,
    engine::Engine,
    numbers::{Numbered, Numbering},
    pass_on::{self, Passed, Trial},
    request::{SqlRequest, Statement, failure, problem},
    view::{Claim, Noted, Until, View, Wanted},
};

/// The waits until a statement is planned again.
pub(super) const WAITS: (Duration, Duration) =
    (Duration::from_millis(5), Duration::from_millis(200));

/// Runs a statement with a number: the client's, that of the gateway that has passed it on, or one of this gateway.
pub(in crate::gateway) async fn run(
    shared: &Shared,
    request: &SqlRequest,
    statement: Statement,
    is_passed_on: bool,
    trial: Option<Trial>,
) -> Outcome {
    let recurs = statement.numbered.is_some() || trial.is_some_and(|trial| trial.again);
    let given = statement.numbered.or(trial.map(|trial| trial.numbered));
    let mut attempts = Attempts {
        deadline: shared.clock.now() + statement.within,
        waits: from_the_shortest(),
        shared,
        request,
        is_passed_on,
        statement: Arc::new(statement),
        is_own: given.is_none(),
        numbered: given.unwrap_or_else(|| shared.streams.take()),
        recurs,
        is_lost: false,
        is_partial: false,
    };
    let outcome = attempts.all().await;
    // Of one that may still happen, the number is not used again.
    if attempts.is_own && !outcome.is_unknown() {
        shared.streams.give_back(attempts.numbered);
    }
    outcome
}

/// The attempts to run a statement.
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
    /// Whether one of them has made a part of it.
    is_partial: bool,
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
        /// Whether something of it may have happened that the error does not tell of.
        is_lost: bool,
    },
    /// It is for the keyspace's writer to run.
    ForWriter,
}

impl Attempt {
    fn not_run(error: Error) -> Self {
        Self::Failed {
            error,
            planned: None,
            is_lost: false,
        }
    }
}

impl Attempts<'_> {
    async fn all(&mut self) -> Outcome {
        let mut is_fresh = false;
        loop {
            // That of now: the shards may be others than they were for the attempt before.
            let Some(engine) = self.shared.engines.get(self.left()).await else {
                return Outcome::Told(no_keyspace());
            };
            let mut changes = engine.cluster.router.changes();
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
                    return Outcome::Ran {
                        answer,
                        noted,
                        is_any,
                    };
                }
                Attempt::Failed {
                    error,
                    planned,
                    is_lost,
                } => {
                    if is_lost {
                        self.lose();
                    }
                    if !self.is_worth_another(&engine, &error, planned).await {
                        return Outcome::Told(self.failed(&error));
                    }
                    self.last(&error, is_lost)
                }
                Attempt::ForWriter => match self.by_writer(&engine).await {
                    Ok(response) => return Outcome::Told(response),
                    Err(_) if self.is_lost => failure(&lost()),
                    Err(response) => response,
                },
            };
            if self.left().is_zero() {
                return Outcome::Told(last);
            }
            self.rest(&engine, &mut changes).await;
        }
    }

    /// Waits until the next attempt may go better: when there are other shards at once, and soon after any other news of them.
    async fn rest(&mut self, engine: &Engine, changes: &mut Receiver<u64>) {
        let others = self.shared.engines.until_other_than(engine);
        tokio::pin!(others);
        let wait = self.next_wait();
        tokio::select! {
            () = &mut others => {
                self.waits = from_the_shortest();
                return;
            }
            // A shard that was sealed is opened again soon after its operation is aborted.
            Ok(()) = changes.changed() => self.waits = from_the_shortest(),
            () = tokio::time::sleep(wait) => return,
        }
        let wait = self.next_wait();
        tokio::select! {
            () = &mut others => self.waits = from_the_shortest(),
            () = tokio::time::sleep(wait) => {}
        }
    }

    fn next_wait(&mut self) -> Duration {
        self.waits.next().unwrap_or(WAITS.1).min(self.left())
    }

    fn left(&self) -> Duration {
        self.deadline.since(self.shared.clock.now())
    }

    /// Returns the reply to an attempt after which there is no time for another one.
    fn last(&self, error: &Error, is_lost: bool) -> Response {
        match error {
            // What it says of other shards is so.
            Error::PartialWrite { .. } if !is_lost => failure(error),
            _ if self.is_lost => failure(&lost()),
            _ if kind_of(error) == Some(FaultKind::LayoutChanged) => failure(&moving()),
            _ => failure(error),
        }
    }

    /// Returns the reply to an attempt that is the last one. That it has changed nothing does not help where another one may have.
    fn failed(&self, error: &Error) -> Response {
        let is_forgotten = kind_of(error) == Some(FaultKind::Forgotten);
        // The part that was made is told again by another try, unless that comes to nothing before.
        let is_untold = self.is_partial && !matches!(error, Error::PartialWrite { .. });
        if self.is_lost && (error.is_retryable() || is_forgotten) || is_untold {
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
            Err(_) => Attempt::not_run(overloaded()),
        }
    }

    /// Runs the statement once, with the epoch of the keyspace's writer if this is to be it.
    async fn once(&self, engine: &Engine, epoch: Option<u64>) -> Attempt {
        let running = tokio::time::timeout(self.left(), self.shared.running.acquire()).await;
        // It is never closed.
        let Ok(Ok(_running)) = running else {
            return Attempt::not_run(overloaded());
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
            Attempt::not_run(Fault::new(FaultKind::Indeterminate, message).at("gateway"))
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
            Wanted::AtLeast(reached)
                if !reached.keys().all(|shard| engine.cluster.names.has(shard)) =>
            {
                Wanted::AtLeastAnywhere(Arc::clone(reached))
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
        if self.comes_of_moves(engine, error) {
            return true;
        }
        match kind_of(cause_of(error)) {
            Some(FaultKind::SchemaChanged) => {
                if matches!(error, Error::PartialWrite { .. }) {
                    self.go_on();
                }
                let _news = engine.refresh(self.left()).await;
                true
            }
            _ if matches!(error, Error::PartialWrite { .. }) => false,
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

    /// Whether the statement has failed, or may have, because shards are split or merged. Under the same number it may go on, with what they
    /// were replaced by, or with themselves if they are opened again: each of its units happens once.
    fn comes_of_moves(&mut self, engine: &Engine, error: &Error) -> bool {
        let cause = cause_of(error);
        let is_partial = matches!(error, Error::PartialWrite { .. });
        let kind = kind_of(cause);
        let is_unknown = kind == Some(FaultKind::Indeterminate);
        let comes_of_moves = kind == Some(FaultKind::LayoutChanged)
            // The shards that it asked may have been removed under it.
            || !self.shared.engines.is_present(engine) && (is_unknown || cause.is_retryable());
        match (comes_of_moves, is_partial) {
            (true, true) => self.go_on(),
            (true, false) if is_unknown => self.lose(),
            _ => {}
        }
        comes_of_moves
    }

    /// Takes in that a part of the statement is made. What it has made it does not make again.
    fn go_on(&mut self) {
        self.is_partial = true;
        self.lose();
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
        _ if !statement.together.is_empty() => statement.run_together(&handle),
        Some(key) => handle.execute_by_key(key, statement.table.as_deref(), &statement.sql, params),
        None if matches!(statement.freshness, Wanted::Consistent)
            && engine.database.only_reads(&statement.sql).unwrap_or(false) =>
        {
            handle.read_consistent(&statement.sql, params)
        }
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
            is_lost: notes.take().is_lost,
        },
    }
}

fn from_the_shortest() -> Backoff {
    Backoff::new(WAITS.0, WAITS.1, rand::random())
}

/// What a statement failed with that has made a part of what it was to.
fn cause_of(error: &Error) -> &Error {
    match error {
        Error::PartialWrite { source, .. } => source,
        error => error,
    }
}

pub(super) fn kind_of(error: &Error) -> Option<FaultKind> {
    match error {
        Error::Place { fault, .. } => Some(fault.kind),
        _ => None,
    }
}

pub(super) fn no_keyspace() -> Response {
    let message = "the keyspace has not been set up yet";
    let hint = "its shards are created once coordinators and nodes run";
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "NO_KEYSPACE",
        message,
        Some(hint),
        true,
    )
}

fn moving() -> Error {
    let message = "a shard is being split or merged, and was not there again in time";
    Fault::new(FaultKind::Unreachable, message).at("gateway")
}

fn overloaded() -> Error {
    let message = "too many statements run on this node";
    Fault::new(FaultKind::Busy, message).at("gateway")
}

fn not_writer() -> Error {
    let message = "the node that runs such statements has not answered in time";
    Fault::new(FaultKind::NotWriter, message).at("gateway")
}

pub(super) fn lost() -> Error {
    let message =
        "the node that ran the statement was lost, and it is not known what of it has happened";
    Fault::new(FaultKind::Indeterminate, message).at("gateway")
}
