//! Sessions: statements that may form a transaction.

use std::collections::BTreeMap;

use shardwright_store::Params;
use turso_parser::ast::Stmt;

use super::{
    ShardedDatabase,
    atomic::Commit,
    journal::Step,
    state::{PlannedStatement, State},
    write::bound,
};
use crate::{
    answer::{Answer, Tier},
    error::Error,
    plan::{Plan, ReadTarget},
    shards::{Call, Enlisted, Fault, FaultKind, Place, PlaceTransaction, Ran, Watching},
};

/// A sequence of statements, as one connection to a SQLite file would run them.
///
/// BEGIN takes no lock. Each statement names a key, or a table of the catalog, and runs where that is. In a database of a
/// directory the statements of a transaction may be on several shards: COMMIT is on all of them or on none, also after a
/// crash. An older transaction takes a shard from a younger one, which then fails with
/// [`Error::Aborted`] and may be run again; so no two wait for each other. Elsewhere the first statement binds the
/// transaction to its place, and what belongs elsewhere is refused. A session that is dropped rolls back.
#[derive(Debug)]
pub struct Session {
    database: ShardedDatabase,
    transaction: Transaction,
}

#[derive(Debug)]
enum Transaction {
    None,
    Begun,
    Bound {
        place: Place,
        held: Box<dyn PlaceTransaction>,
    },
    Spread(Box<Spread>),
}

/// A transaction that may be on several places.
#[derive(Debug)]
struct Spread {
    commit: Commit,
    /// The rows of each place that violated a deferred foreign key when it began.
    violations: BTreeMap<Place, i64>,
    /// Whether there are savepoints, which only the place has on which they were made.
    has_savepoints: bool,
}

impl ShardedDatabase {
    /// Starts a session.
    #[must_use]
    pub fn session(&self) -> Session {
        Session {
            database: self.clone(),
            transaction: Transaction::None,
        }
    }

    /// Runs `work` in a transaction on the shards of its statements, and commits if it succeeds.
    ///
    /// # Errors
    /// What `work` returns, after a rollback, and what COMMIT says.
    pub fn transaction<T>(
        &self,
        work: impl FnOnce(&mut Session) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut session = self.session();
        session.execute("BEGIN", ())?;
        match work(&mut session) {
            Ok(value) => session.execute("COMMIT", ()).map(|_| value),
            Err(error) => {
                if session.in_transaction() {
                    session.rollback()?;
                }
                Err(error)
            }
        }
    }
}

impl Session {
    /// Whether a transaction is open.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        !matches!(self.transaction, Transaction::None)
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// As [`ShardedDatabase::execute`], and [`Error::CrossShardTransaction`]. A statement that fails leaves the transaction
    /// open, as SQLite does.
    pub fn execute<'p>(
        &mut self,
        sql: &str,
        params: impl Into<Params<'p>>,
    ) -> Result<Answer, Error> {
        let database = self.database.clone();
        let state = database.inner.state.load();
        let planned = state.plan(sql)?;
        let params = params.into();
        match &planned.plan {
            Plan::Transaction(statement) => self.control(statement, sql),
            _ if !self.in_transaction() => {
                let mode = database.inner.shared.options.write_mode;
                match database.run_planned(&state, &planned, &params, mode) {
                    Err(error) if error.is_schema_change() => {
                        database.run_again(&state, sql, &params, mode, error)
                    }
                    ran => ran,
                }
            }
            _ => self.in_bound(&state, &planned, &params),
        }
    }

    fn control(&mut self, statement: &Stmt, sql: &str) -> Result<Answer, Error> {
        match statement {
            Stmt::Begin { .. } if self.in_transaction() => {
                return Err(Error::Sql {
                    message: "cannot start a transaction within a transaction".to_owned(),
                });
            }
            Stmt::Begin { .. } => {
                self.database.check_writable()?;
                self.transaction = Transaction::Begun;
            }
            Stmt::Commit { .. } => self.commit()?,
            Stmt::Rollback {
                savepoint_name: None,
                ..
            } => self.rollback()?,
            _ => match &mut self.transaction {
                Transaction::Bound { held, .. } => {
                    held.execute(Call::new(sql, ()))?;
                }
                Transaction::Spread(spread) => spread.savepoint(sql)?,
                Transaction::None | Transaction::Begun => {
                    return Err(Error::Unsupported {
                        what: "a savepoint before the transaction has a shard".to_owned(),
                        hint: "BEGIN, then run a statement that names a shard key, then SAVEPOINT",
                    });
                }
            },
        }
        Ok(Answer::of_changes(
            self.places(),
            Tier::Single,
            "the places of the transaction",
        ))
    }

    fn commit(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.transaction, Transaction::None) {
            Transaction::None => Err(Error::Sql {
                message: "cannot commit - no transaction is active".to_owned(),
            }),
            Transaction::Begun => Ok(()),
            Transaction::Spread(spread) => self.commit_spread(spread),
            Transaction::Bound { place, mut held } => held.commit().inspect_err(|_| {
                // Deferred constraints leave it open, to be mended.
                if held.is_open() {
                    self.transaction = Transaction::Bound { place, held };
                }
            }),
        }
    }

    fn rollback(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.transaction, Transaction::None) {
            Transaction::None => Err(Error::Sql {
                message: "cannot rollback - no transaction is active".to_owned(),
            }),
            Transaction::Begun => Ok(()),
            Transaction::Bound { mut held, .. } => held.rollback(),
            // Dropping it undoes it.
            Transaction::Spread(_) => Ok(()),
        }
    }

    fn commit_spread(&mut self, mut spread: Box<Spread>) -> Result<(), Error> {
        let state = self.database.inner.state.load_full();
        let done = spread.check(&state);
        match done {
            Ok(()) => {}
            Err(error) => {
                // As SQLite does, it stays open to be mended.
                if spread.commit.is_open() {
                    self.transaction = Transaction::Spread(spread);
                }
                return Err(error);
            }
        }
        spread.commit.finish()
    }

    fn in_bound(
        &mut self,
        state: &State,
        planned: &PlannedStatement,
        params: &Params<'_>,
    ) -> Result<Answer, Error> {
        let wanted = self.place_for(state, planned, params)?;
        let ran = if self.is_spread() {
            self.run_spread(state, planned, params, wanted)?
        } else {
            let held = self.bind(wanted)?;
            let ran = held.execute(Call::new(&planned.statement, *params));
            if !held.is_open() {
                self.transaction = Transaction::None;
            }
            ran?
        };
        let name = self.database.inner.places.name(wanted).to_owned();
        let mut answer = Answer::of_changes(vec![name], Tier::Single, "the transaction is there");
        answer.columns.clone_from(&planned.columns);
        answer.rows = ran.rows;
        if !matches!(planned.plan, Plan::Read(_) | Plan::Explain(_)) {
            answer.changes = ran.outcome.changes;
            answer.last_insert_rowid = ran.outcome.last_insert_rowid;
        }
        Ok(answer)
    }

    /// Whether the transaction may be on several places.
    fn is_spread(&self) -> bool {
        match &self.transaction {
            Transaction::Spread(_) => true,
            Transaction::Begun => self.database.commits_everywhere(),
            Transaction::None | Transaction::Bound { .. } => false,
        }
    }

    fn run_spread(
        &mut self,
        state: &State,
        planned: &PlannedStatement,
        params: &Params<'_>,
        wanted: Place,
    ) -> Result<Ran, Error> {
        if let Transaction::Begun = self.transaction {
            self.database.check_writable()?;
            self.transaction = Transaction::Spread(Box::new(Spread {
                commit: Commit::new(&self.database, None),
                violations: BTreeMap::new(),
                has_savepoints: false,
            }));
        }
        let Transaction::Spread(spread) = &mut self.transaction else {
            unreachable!("the transaction was begun above")
        };
        let database = &self.database;
        let ran = spread.run(database, state, planned, params, wanted);
        if ran.is_err() && !spread.commit.is_open() {
            self.transaction = Transaction::None;
        }
        ran
    }

    /// The one place on which a statement of a transaction runs.
    fn place_for(
        &self,
        state: &State,
        planned: &PlannedStatement,
        params: &Params<'_>,
    ) -> Result<Place, Error> {
        let routing = state.routing();
        let several = |wanted: &str| Error::CrossShardTransaction {
            bound: self
                .places()
                .pop()
                .unwrap_or_else(|| "no shard yet".to_owned()),
            wanted: wanted.to_owned(),
        };
        match &planned.plan {
            Plan::Read(plan) | Plan::Explain(plan) => match plan.target(params, routing)? {
                ReadTarget::One(place) if plan.refs().is_empty() => {
                    Ok(self.bound().into_iter().next().unwrap_or(place))
                }
                ReadTarget::One(place) => Ok(place),
                ReadTarget::SchemaCopy | ReadTarget::Gather { .. } => {
                    Err(several("several shards"))
                }
            },
            Plan::Insert(plan) => {
                let table = state.table(&plan.table)?;
                if state.needs_guard(table) || plan.reads() {
                    return Err(several("all shards, to keep a constraint"));
                }
                match plan.shard(params, routing)? {
                    Some(shard) => Ok(Place::Shard(shard)),
                    None if matches!(table.kind, crate::schema::TableKind::Global) => {
                        Ok(Place::Catalog)
                    }
                    None => Err(several("several shards")),
                }
            }
            Plan::Change(plan) => {
                let table = state.table(&plan.table)?;
                if state.needs_guard(table) {
                    return Err(several("all shards, to keep a constraint"));
                }
                match table.kind {
                    crate::schema::TableKind::Sharded(_) => match plan.shards(params, routing)?[..]
                    {
                        [shard] => Ok(Place::Shard(shard)),
                        _ => Err(several("several shards")),
                    },
                    crate::schema::TableKind::Global => {
                        plan.check_unsharded(&state.schema)?;
                        Ok(Place::Catalog)
                    }
                    crate::schema::TableKind::Reference => Err(several("every shard")),
                }
            }
            Plan::Ddl(_) | Plan::Pragma(_) | Plan::Transaction(_) => Err(several("every shard")),
        }
    }

    fn bind(&mut self, wanted: Place) -> Result<&mut dyn PlaceTransaction, Error> {
        let places = &self.database.inner.places;
        if let Transaction::Begun = self.transaction {
            self.database.check_writable()?;
            self.transaction = Transaction::Bound {
                place: wanted,
                held: places.begin(wanted, Watching::Any)?,
            };
        }
        match &mut self.transaction {
            Transaction::Bound { place, held } if *place == wanted => Ok(&mut **held),
            Transaction::Bound { place, .. } => Err(Error::CrossShardTransaction {
                bound: places.name(*place).to_owned(),
                wanted: places.name(wanted).to_owned(),
            }),
            Transaction::None | Transaction::Begun | Transaction::Spread(_) => {
                unreachable!("the transaction was bound above")
            }
        }
    }

    fn bound(&self) -> Vec<Place> {
        match &self.transaction {
            Transaction::Bound { place, .. } => vec![*place],
            Transaction::Spread(spread) => spread.commit.places(),
            Transaction::None | Transaction::Begun => Vec::new(),
        }
    }

    fn places(&self) -> Vec<String> {
        let places = self.bound().into_iter();
        places
            .map(|place| self.database.inner.places.name(place).to_owned())
            .collect()
    }
}

impl Spread {
    fn run(
        &mut self,
        database: &ShardedDatabase,
        state: &State,
        planned: &PlannedStatement,
        params: &Params<'_>,
        wanted: Place,
    ) -> Result<Ran, Error> {
        if !self.commit.places().contains(&wanted) {
            if self.has_savepoints {
                return Err(Error::Unsupported {
                    what: "another shard in a transaction with savepoints".to_owned(),
                    hint: "keep the statements after a savepoint on the shard that it is on",
                });
            }
            if self.commit.enlist(wanted, Watching::Any)? == Enlisted::Known {
                let message = "a transaction with this number has happened before";
                let places = &database.inner.places;
                return Err(Fault::new(FaultKind::Other, message).at(places.name(wanted)));
            }
            let deferred = state.checks.deferred();
            let count = |open: &mut dyn PlaceTransaction| deferred.violations(wanted, open);
            let violations = self.commit.within(wanted, count)?;
            self.violations.insert(wanted, violations);
        }
        if matches!(planned.plan, Plan::Read(_) | Plan::Explain(_)) {
            let call = Call::new(&planned.statement, *params);
            return self.commit.within(wanted, |open| open.execute(call));
        }
        self.commit
            .run(wanted, Step::bound(&bound(planned, params)?))
    }

    fn savepoint(&mut self, sql: &str) -> Result<(), Error> {
        let [place] = self.commit.places()[..] else {
            return Err(Error::Unsupported {
                what: "a savepoint in a transaction on several shards".to_owned(),
                hint: "make savepoints while the transaction is on one shard",
            });
        };
        self.has_savepoints = true;
        self.commit.run(place, Step::new(sql)).map(drop)
    }

    /// Says what COMMIT would say of deferred foreign keys, before the first place commits.
    fn check(&mut self, state: &State) -> Result<(), Error> {
        let deferred = state.checks.deferred();
        for (&place, &before) in &self.violations {
            let after = self
                .commit
                .within(place, |open| deferred.violations(place, open))?;
            if before < after {
                return Err(Error::Constraint {
                    message: "FOREIGN KEY constraint failed".to_owned(),
                });
            }
        }
        Ok(())
    }
}
