//! Sessions: statements that may form a transaction.

mod bound;
mod spread;
mod within;

use std::sync::Arc;

use shardwright_store::Params;
use turso_parser::ast::Stmt;

use self::bound::Bound;
pub(super) use self::within::Within;
use super::{
    ShardedDatabase, WriteMode,
    state::{PlannedStatement, State},
};
use crate::{
    answer::{Answer, Tier},
    error::Error,
    plan::Plan,
    shards::Call,
};

/// A sequence of statements, as one connection to a SQLite file would run them.
///
/// BEGIN takes no lock. Each statement runs wherever its rows are, on several shards too, and sees what the transaction has written
/// on each. The transaction has a shard for itself from when a statement first reads or writes there. COMMIT is on all of its shards
/// or on none, also after a crash. An older transaction takes a shard from a younger one, which then fails with
/// [`Error::Aborted`] and may be run again; so no two wait for each other. Over places that cannot commit together the first
/// statement binds the transaction to its place, and what belongs elsewhere is refused. A session that is dropped rolls back.
#[derive(Debug)]
pub struct Session {
    database: ShardedDatabase,
    transaction: Transaction,
}

#[derive(Debug)]
enum Transaction {
    None,
    Begun,
    /// To the one place where it may be.
    Bound(Bound),
    Spread(Arc<Within>),
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
    /// As [`ShardedDatabase::execute`], and [`Error::CrossShardTransaction`] for a change of the schema in a transaction. A statement
    /// that fails leaves the transaction open, as SQLite does.
    pub fn execute<'p>(
        &mut self,
        sql: &str,
        params: impl Into<Params<'p>>,
    ) -> Result<Answer, Error> {
        let database = self.database.clone();
        let state = database.inner.state.load_full();
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
            _ => self.in_transaction_of(&state, &planned, &params),
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
            _ => self.savepoint(statement, sql)?,
        }
        Ok(Answer::of_changes(
            self.places(),
            Tier::Single,
            "the places of the transaction",
        ))
    }

    fn savepoint(&mut self, statement: &Stmt, sql: &str) -> Result<(), Error> {
        if let Transaction::Bound(bound) = &mut self.transaction {
            return bound.held.execute(Call::new(sql, ())).map(drop);
        }
        let Some(spread) = self.spread() else {
            return Err(Error::Unsupported {
                what: "a savepoint before the transaction has a shard".to_owned(),
                hint: "BEGIN, then run a statement that names a shard key, then SAVEPOINT",
            });
        };
        let mut transaction = spread.lock();
        let done = transaction.savepoint(statement, sql);
        if !transaction.is_open() {
            self.transaction = Transaction::None;
        }
        done
    }

    fn commit(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.transaction, Transaction::None) {
            Transaction::None => Err(Error::Sql {
                message: "cannot commit - no transaction is active".to_owned(),
            }),
            Transaction::Begun => Ok(()),
            Transaction::Spread(spread) => self.commit_spread(spread),
            Transaction::Bound(mut bound) => bound.held.commit().inspect_err(|_| {
                // Deferred constraints leave it open, to be mended.
                if bound.held.is_open() {
                    self.transaction = Transaction::Bound(bound);
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
            Transaction::Bound(mut bound) => bound.held.rollback(),
            // Dropping it undoes it.
            Transaction::Spread(_) => Ok(()),
        }
    }

    fn commit_spread(&mut self, spread: Arc<Within>) -> Result<(), Error> {
        let state = self.database.inner.state.load_full();
        let mut transaction = spread.lock();
        let checked = transaction.check(&state);
        let is_open = transaction.is_open();
        drop(transaction);
        if let Err(error) = checked {
            // As SQLite does, it stays open to be mended.
            if is_open {
                self.transaction = Transaction::Spread(spread);
            }
            return Err(error);
        }
        let transaction = Arc::into_inner(spread);
        let transaction = transaction.expect("handles of it live no longer than their statement");
        transaction.into_inner().finish()
    }

    fn in_transaction_of(
        &mut self,
        state: &Arc<State>,
        planned: &PlannedStatement,
        params: &Params<'_>,
    ) -> Result<Answer, Error> {
        if matches!(planned.plan, Plan::Ddl(_) | Plan::Pragma(_)) {
            return Err(Error::CrossShardTransaction {
                bound: self
                    .places()
                    .pop()
                    .unwrap_or_else(|| "no shard yet".to_owned()),
                wanted: "every shard".to_owned(),
            });
        }
        let Some(spread) = self.spread() else {
            return self.in_bound(state, planned, params);
        };
        let database = &self.database;
        // What it reads of the directory must hold until it has begun at a place, and then for as long as it is there.
        let _pass = database.enter_transaction();
        let is_read = matches!(planned.plan, Plan::Read(_) | Plan::Explain(_));
        let _held = match is_read {
            true => None,
            false => Some(database.unconstrained(state, planned)?),
        };
        let handle = database.within_transaction(state, &spread);
        let ran = handle.run_planned(state, planned, params, WriteMode::Atomic);
        drop(handle);
        if !spread.lock().is_open() {
            self.transaction = Transaction::None;
        }
        ran
    }

    /// The transaction, if it may be on several places.
    fn spread(&mut self) -> Option<Arc<Within>> {
        if matches!(self.transaction, Transaction::Begun) && self.database.commits_everywhere() {
            self.transaction = Transaction::Spread(Arc::new(Within::new(&self.database)));
        }
        match &self.transaction {
            Transaction::Spread(spread) => Some(Arc::clone(spread)),
            Transaction::None | Transaction::Begun | Transaction::Bound(_) => None,
        }
    }

    fn places(&self) -> Vec<String> {
        let places = match &self.transaction {
            Transaction::Bound(bound) => vec![bound.place],
            Transaction::Spread(spread) => spread.lock().places(),
            Transaction::None | Transaction::Begun => Vec::new(),
        };
        let name = |place| self.database.inner.places.name(place).to_owned();
        places.into_iter().map(name).collect()
    }
}
