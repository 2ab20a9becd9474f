//! A transaction whose statements come one after the other, for a client in this process.
//!
//! It takes no lock before its first statement. Three things may become of it then:
//!
//! - It reads and writes rows, on as many shards as its statements need. Others wait there until it ends.
//! - It was begun to read. Each statement is as if it were alone, and it holds nothing, so that what it has read may change.
//! - It changes the schema. That is collected, and made at the end as one change.

use std::{sync::Arc, time::Duration};

use shardwright_sql::{
    Answer, Draft, Error, Params, Session, Tier, Value,
    shards::{FaultKind, Places},
    statement::{StatementKind, kind_by_first_word},
};
use shardwright_topology::{Backoff, Timestamp};
use tokio::{runtime::Handle, task::spawn_blocking};

use super::{
    client::{Call, Client, PATIENCE, Refusal},
    engine::Engine,
    numbers::{Numbered, Numbering},
    view::{Claim, Until, View, Wanted},
};

/// How long a transaction may take in all: as long as its shards let it.
const TOTAL: Duration = Duration::from_secs(30);

/// The waits until the first statement is planned again.
const WAITS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

/// How a transaction begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// It may write.
    Write,
    /// It only reads.
    Read,
}

/// A transaction. Dropping it undoes it.
#[derive(Debug)]
pub(crate) struct Transaction {
    client: Client,
    begin: Begin,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// It has done nothing that lasts.
    Begun,
    /// It may be on shards.
    Bound(Bound),
    /// It changes the schema.
    Changing(Box<Draft>, Vec<Call>),
    /// Its one statement was run by itself, so that there is nothing left to commit.
    Done,
    /// It has ended, and nothing of it has happened.
    Over,
}

/// What a transaction holds on shards.
#[derive(Debug)]
struct Bound {
    session: Held,
    numbered: Numbered,
}

/// A session, which may wait for its shards when it is dropped.
#[derive(Debug)]
struct Held(Option<Session>);

impl Held {
    fn in_transaction(&self) -> bool {
        self.0.as_ref().is_some_and(Session::in_transaction)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let session = self.0.take().filter(Session::in_transaction);
        // A thread that drives tasks must not wait.
        if let (Some(session), Ok(runtime)) = (session, Handle::try_current()) {
            drop(runtime.spawn_blocking(move || drop(session)));
        }
    }
}

impl Transaction {
    pub(super) fn new(client: Client, begin: Begin) -> Self {
        Self {
            client,
            begin,
            phase: Phase::Begun,
        }
    }

    /// Whether it goes on: a statement may have ended it.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Over)
    }

    /// Runs a statement in it. `is_all` says that nothing but its end follows in the same request.
    ///
    /// # Errors
    /// Why it was not run, or what it failed with. The statement is undone; the transaction goes on, unless
    /// [`Transaction::is_open`] says otherwise.
    pub(crate) async fn execute(&mut self, call: &Call, is_all: bool) -> Result<Answer, Refusal> {
        let kind = kind_by_first_word(&call.sql);
        let reads_only = matches!(self.begin, Begin::Read);
        match (&self.phase, kind) {
            (Phase::Over, _) => Err(over()),
            (Phase::Done, _) => Err(unsupported(
                "another statement after one that has committed",
                "send the statements of a transaction before its COMMIT",
            )),
            (_, StatementKind::Pragma) => self.pragma(call).await,
            (_, StatementKind::Ddl) if reads_only => Err(read_only()),
            (Phase::Begun | Phase::Changing(..), StatementKind::Ddl) => self.change(call).await,
            (Phase::Changing(..), _) => self.change(call).await,
            (Phase::Begun, _) if is_all && !reads_only => {
                let answer = self.client.run(call).await?;
                self.phase = Phase::Done;
                Ok(answer)
            }
            (Phase::Begun, _) if reads_only => self.read(call).await,
            (Phase::Begun, _) => self.first(call).await,
            (Phase::Bound(_), StatementKind::Ddl) => Err(unsupported(
                "a change of the schema in a transaction that has rows of a shard",
                "change the schema in a transaction of its own",
            )),
            (Phase::Bound(_), _) => self.next(call).await,
        }
    }

    /// Makes what was done lasting.
    ///
    /// # Errors
    /// Why it was not, and `INDETERMINATE` if that is not known. [`Transaction::is_open`] says whether it can be mended and tried again.
    pub(crate) async fn commit(&mut self) -> Result<(), Refusal> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Over => Err(over()),
            Phase::Begun | Phase::Done => Ok(()),
            Phase::Changing(_, calls) => self.client.run_together(&calls).await.map(drop),
            Phase::Bound(bound) => {
                let (bound, committed) = run(&self.client, bound, Call::plain("COMMIT")).await?;
                match committed {
                    Err(error) if bound.session.in_transaction() => {
                        self.phase = Phase::Bound(bound);
                        Err(error.into())
                    }
                    Err(error) if error.code() == FaultKind::Indeterminate.code() => {
                        Err(error.into())
                    }
                    ended => {
                        self.client.shared.streams.give_back(bound.numbered);
                        ended.map(drop).map_err(Refusal::from)
                    }
                }
            }
        }
    }

    /// Undoes what was done, if it has not ended before.
    ///
    /// # Errors
    /// When it is not known whether its end was heard of. It is undone soon all the same.
    pub(crate) async fn rollback(&mut self) -> Result<(), Refusal> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Over | Phase::Begun | Phase::Done | Phase::Changing(..) => Ok(()),
            Phase::Bound(bound) => {
                let (bound, undone) = run(&self.client, bound, Call::plain("ROLLBACK")).await?;
                self.client.shared.streams.give_back(bound.numbered);
                Ok(undone.map(drop)?)
            }
        }
    }

    /// Runs a PRAGMA that only asks; what it asks does not change within a transaction.
    async fn pragma(&mut self, call: &Call) -> Result<Answer, Refusal> {
        let gives_rows = !self.client.describe(&call.sql).await?.columns.is_empty();
        match self.phase {
            Phase::Changing(..) => Err(after_changes()),
            _ if gives_rows => self.client.run(call).await,
            _ => Err(unsupported(
                "a PRAGMA that sets something, in a transaction",
                "run it before BEGIN",
            )),
        }
    }

    /// Runs a statement that reads by itself.
    async fn read(&mut self, call: &Call) -> Result<Answer, Refusal> {
        match self.client.only_reads(&call.sql).await? {
            true => self.client.run(call).await,
            false => Err(read_only()),
        }
    }

    /// Collects a change of the schema, or a row that goes with it.
    async fn change(&mut self, call: &Call) -> Result<Answer, Refusal> {
        if kind_by_first_word(&call.sql) == StatementKind::Read {
            return Err(after_changes());
        }
        let taken = std::mem::replace(&mut self.phase, Phase::Begun);
        let (draft, mut calls) = match taken {
            Phase::Changing(draft, calls) => (draft, calls),
            _ => {
                let engine = self.client.engine().await?;
                // It is checked again when it is made, by the schema of then.
                let _news = engine.refresh(PATIENCE).await;
                (Box::new(engine.database.draft()), Vec::new())
            }
        };
        let add = call.clone();
        let added = spawn_blocking(move || {
            let mut draft = draft;
            let fragment = add.fragment();
            let added = fragment.with_call(|call| draft.add(call.sql.as_str(), call.params));
            (draft, added)
        });
        let (draft, added) = added.await.map_err(|_| panicked())?;
        if added.is_ok() && !draft.is_empty() {
            calls.push(call.clone());
        }
        if !draft.is_empty() {
            self.phase = Phase::Changing(draft, calls);
        }
        Ok(added?)
    }

    /// Runs the first statement, and binds the transaction by it. Nothing depends on the schema or the shards before that, so it is
    /// planned again if they change.
    async fn first(&mut self, call: &Call) -> Result<Answer, Refusal> {
        let client = self.client.clone();
        let deadline = client.shared.clock.now() + PATIENCE;
        let mut waits = Backoff::new(WAITS.0, WAITS.1, rand::random());
        loop {
            let engine = client.engine().await?;
            let error = match self.bind(&engine, call).await? {
                // It is on no shard, and may still change what it has read.
                Ok((bound, answer)) if answer.tier == Tier::Schema => {
                    client.shared.streams.give_back(bound.numbered);
                    return Ok(answer);
                }
                Ok((bound, answer)) => {
                    self.phase = Phase::Bound(bound);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let left = deadline.since(client.shared.clock.now());
            if left.is_zero() || !may_pass(&engine, &error, left).await {
                return Err(error.into());
            }
            let wait = waits.next().unwrap_or(WAITS.1).min(left);
            let others = client.shared.engines.until_other_than(&engine);
            // That may come at once, or never.
            let _sooner = tokio::time::timeout(wait, others).await;
        }
    }

    /// Tries to run a statement as the first of the transaction.
    async fn bind(
        &mut self,
        engine: &Engine,
        call: &Call,
    ) -> Result<Result<(Bound, Answer), Error>, Refusal> {
        let streams = &self.client.shared.streams;
        let numbered = streams.take();
        let until = self.client.shared.clock.now() + TOTAL;
        let session = Held(Some(session(engine, numbered, until)));
        let bound = Bound { session, numbered };
        let (bound, _begun) = run(&self.client, bound, Call::plain("BEGIN")).await?;
        let (bound, ran) = run(&self.client, bound, call.clone()).await?;
        Ok(match ran {
            Ok(answer) => Ok((bound, answer)),
            Err(error) => {
                if bound.session.in_transaction() {
                    let _undone = run(&self.client, bound, Call::plain("ROLLBACK")).await?;
                }
                // What is forgotten, or may still happen, keeps its number.
                let is_free = !matches!(&error, Error::Place { fault, .. }
                    if matches!(fault.kind, FaultKind::Forgotten | FaultKind::Indeterminate));
                if is_free {
                    streams.give_back(numbered);
                }
                Err(error)
            }
        })
    }

    /// Runs a further statement.
    async fn next(&mut self, call: &Call) -> Result<Answer, Refusal> {
        let Phase::Bound(bound) = std::mem::replace(&mut self.phase, Phase::Over) else {
            return Err(over());
        };
        let (bound, ran) = run(&self.client, bound, call.clone()).await?;
        if bound.session.in_transaction() {
            self.phase = Phase::Bound(bound);
        }
        Ok(ran?)
    }
}

/// Runs a statement of a session, on a thread that may wait.
async fn run(
    client: &Client,
    mut bound: Bound,
    call: Call,
) -> Result<(Bound, Result<Answer, Error>), Refusal> {
    let running = tokio::time::timeout(TOTAL, client.shared.running.acquire()).await;
    let Ok(Ok(_running)) = running else {
        let message = "too many statements run on this node";
        return Err(Refusal::of(FaultKind::Busy, message));
    };
    let ran = spawn_blocking(move || {
        let named: Vec<(&str, Value)> = (call.named.iter())
            .map(|(name, value)| (&**name, value.clone()))
            .collect();
        let params = Params::from(&call.positional).and_named(&named);
        let ran = match &mut bound.session.0 {
            Some(session) => session.execute(&call.sql, params),
            None => unreachable!("only dropping it takes the session"),
        };
        (bound, ran)
    });
    ran.await.map_err(|_| panicked())
}

/// Returns a session whose statements are planned for the schema of now, and end together.
fn session(engine: &Engine, numbered: Numbered, until: Timestamp) -> Session {
    let handle = engine.database.through(|schema| {
        Arc::new(View {
            cluster: Arc::clone(&engine.cluster),
            until: Until::Then(until),
            freshness: Wanted::Leased,
            level: super::wire::CommitLevel::Quorum,
            schema: Some(schema),
            writer: Claim::Anyone,
            numbering: Arc::new(Numbering::of_statement(numbered)),
            recurs: false,
            notes: Arc::default(),
        }) as Arc<dyn Places>
    });
    handle.as_peer().session()
}

/// Whether the first statement of a transaction may go better with what has changed since.
async fn may_pass(engine: &Engine, error: &Error, left: Duration) -> bool {
    match error {
        Error::Place { fault, .. } if fault.kind == FaultKind::SchemaChanged => {
            let _news = engine.refresh(left).await;
            true
        }
        Error::Place { fault, .. } => {
            matches!(fault.kind, FaultKind::LayoutChanged | FaultKind::Forgotten)
        }
        // It may be about a table that another node has made.
        Error::Sql { .. } | Error::UnknownTable { .. } => engine.refresh(left).await,
        _ => false,
    }
}

fn over() -> Refusal {
    Refusal {
        code: "TRANSACTION_CLOSED".to_owned(),
        message: "the transaction has ended, and nothing of it has happened".to_owned(),
        hint: Some("run the transaction again from its start".to_owned()),
        is_retryable: true,
    }
}

fn unsupported(what: &str, hint: &'static str) -> Refusal {
    Refusal::from(Error::Unsupported {
        what: what.to_owned(),
        hint,
    })
}

fn after_changes() -> Refusal {
    unsupported(
        "a read in a transaction that has changed the schema",
        "read after its COMMIT",
    )
}

fn read_only() -> Refusal {
    Refusal {
        code: "SQLITE_READONLY".to_owned(),
        message: "attempt to write in a transaction that was begun to read".to_owned(),
        hint: Some("begin it with BEGIN, or with the mode write".to_owned()),
        is_retryable: false,
    }
}

fn panicked() -> Refusal {
    let message = "a statement failed, and it is not known what of it has happened";
    Refusal::of(FaultKind::Indeterminate, message)
}
