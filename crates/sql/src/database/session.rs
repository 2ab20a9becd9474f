//! Sessions: statements that may form a transaction.

mod spread;

use shardwright_store::Params;
use turso_parser::ast::Stmt;

use self::spread::Spread;
use super::{
    ShardedDatabase,
    state::{PlannedStatement, State},
};
use crate::{
    answer::{Answer, Tier},
    error::Error,
    plan::{Homes, NewHome, Plan, Purpose, ReadTarget, Routing},
    shards::{Call, Place, PlaceTransaction, Ran, Watching},
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
            Plan::Shards(explained) => database.explain_shards(&planned, explained, &params),
            _ if !self.in_transaction() => {
                let mode = database.inner.shared.options.write_mode;
                let pass = database.enter();
                let ran = database.run_planned(&state, &planned, &params, mode);
                drop(pass);
                match ran {
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
        spread.finish()
    }

    fn in_bound(
        &mut self,
        state: &State,
        planned: &PlannedStatement,
        params: &Params<'_>,
    ) -> Result<Answer, Error> {
        // What it reads of the directory must hold until it has begun at a place, and then for as long as it is there.
        let _pass = self.database.enter_transaction();
        let purpose = match planned.plan {
            Plan::Insert(_) => Purpose::Allocate,
            _ => Purpose::Find,
        };
        let homes = Homes::new(self.database.purpose(purpose));
        let wanted = self.place_for(state, planned, params, &homes)?;
        let database = self.database.clone();
        let is_read = matches!(planned.plan, Plan::Read(_) | Plan::Explain(_));
        let _held = match is_read {
            true => None,
            false => Some(database.unconstrained(state, planned)?),
        };
        let ran = if self.is_spread() {
            self.run_spread(state, planned, params, wanted, &homes.take_new())?
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
        if !is_read {
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
        new: &[NewHome],
    ) -> Result<Ran, Error> {
        if let Transaction::Begun = self.transaction {
            self.database.check_writable()?;
            self.transaction = Transaction::Spread(Box::new(Spread::new(&self.database)));
        }
        let Transaction::Spread(spread) = &mut self.transaction else {
            unreachable!("the transaction was begun above")
        };
        let ran = spread.run_with_homes(state, planned, params, wanted, new);
        if ran.is_err() && !spread.commit.is_open() {
            self.transaction = Transaction::None;
        }
        ran
    }

    /// The one place on which a statement of a transaction runs.
    fn place_for(
        &mut self,
        state: &State,
        planned: &PlannedStatement,
        params: &Params<'_>,
        homes: &Homes,
    ) -> Result<Place, Error> {
        let database = self.database.clone();
        let at = At {
            place: self.bound().into_iter().next(),
            name: self.places().pop(),
        };
        let commit = match &mut self.transaction {
            Transaction::Spread(spread) => Some(&mut spread.commit),
            Transaction::None | Transaction::Begun | Transaction::Bound { .. } => None,
        };
        database.route_within(state, homes, commit, |routing| {
            place_of(state, &planned.plan, params, routing, &at)
        })
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

/// Where a transaction is.
struct At {
    place: Option<Place>,
    /// The name of the last of its places.
    name: Option<String>,
}

/// The one place on which a statement of a transaction runs.
fn place_of(
    state: &State,
    plan: &Plan,
    params: &Params<'_>,
    routing: Routing<'_>,
    at: &At,
) -> Result<Place, Error> {
    let several = |wanted: &str| Error::CrossShardTransaction {
        bound: at.name.clone().unwrap_or_else(|| "no shard yet".to_owned()),
        wanted: wanted.to_owned(),
    };
    match plan {
        Plan::Read(plan) | Plan::Explain(plan) => match plan.target(params, routing)? {
            ReadTarget::One(place) if plan.refs().is_empty() => Ok(at.place.unwrap_or(place)),
            ReadTarget::One(place) => Ok(place),
            ReadTarget::SchemaCopy | ReadTarget::Scatter { .. } | ReadTarget::Gather { .. } => {
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
                crate::schema::TableKind::Sharded(_) => match plan.shards(params, routing)?[..] {
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
        Plan::Ddl(_) | Plan::Pragma(_) | Plan::Transaction(_) | Plan::Shards(_) => {
            Err(several("every shard"))
        }
    }
}
