//! Sessions: statements that may form a transaction on one shard.

use std::ops::ControlFlow;

use shardwright_store::{Params, Writer};
use turso_parser::ast::Stmt;

use super::{
    ShardedDatabase,
    state::{PlannedStatement, State},
    write::run_statement,
};
use crate::{
    answer::{Answer, Tier},
    error::Error,
    plan::{Plan, ReadTarget},
    shards::Place,
};

/// A sequence of statements, as one connection to a SQLite file would run them.
///
/// BEGIN takes no lock. The first statement that names a key, or a table of the catalog, binds the transaction to that
/// place; what belongs elsewhere is refused until COMMIT or ROLLBACK. A session that is dropped rolls back.
#[derive(Debug)]
pub struct Session {
    database: ShardedDatabase,
    transaction: Transaction,
}

#[derive(Debug)]
enum Transaction {
    None,
    Begun,
    Bound { place: Place, writer: Writer },
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

    /// Runs `work` in a transaction on the shard of its statements, and commits if it succeeds.
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
                session.rollback()?;
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
                database.run_planned(&state, &planned, &params, database.inner.options.write_mode)
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
                Transaction::Bound { place, writer } => {
                    let name = self.database.inner.files.name(*place);
                    writer.execute(sql, ()).map_err(Error::at(name))?;
                }
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
            "a transaction is on one place",
        ))
    }

    fn commit(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.transaction, Transaction::None) {
            Transaction::None => Err(Error::Sql {
                message: "cannot commit - no transaction is active".to_owned(),
            }),
            Transaction::Begun => Ok(()),
            Transaction::Bound { place, mut writer } => {
                let name = self.database.inner.files.name(place);
                match writer.commit() {
                    Ok(()) => Ok(()),
                    Err(error) => {
                        // Deferred constraints leave it open, to be mended.
                        if writer.in_transaction() {
                            self.transaction = Transaction::Bound { place, writer };
                        }
                        Err(Error::at(name)(error))
                    }
                }
            }
        }
    }

    fn rollback(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.transaction, Transaction::None) {
            Transaction::None => Err(Error::Sql {
                message: "cannot rollback - no transaction is active".to_owned(),
            }),
            Transaction::Begun => Ok(()),
            Transaction::Bound { place, mut writer } => {
                if writer.in_transaction() {
                    writer
                        .rollback()
                        .map_err(Error::at(self.database.inner.files.name(place)))?;
                }
                Ok(())
            }
        }
    }

    fn in_bound(
        &mut self,
        state: &State,
        planned: &PlannedStatement,
        params: &Params<'_>,
    ) -> Result<Answer, Error> {
        let (wanted, rule) = self.place_for(state, planned, params)?;
        let files = std::sync::Arc::clone(&self.database.inner.files);
        let writer = self.bind(wanted)?;
        let name = files.name(wanted);
        let mut answer = Answer::of_changes(
            vec![name.to_owned()],
            Tier::Single,
            "the transaction is there",
        );
        answer.columns.clone_from(&planned.columns);
        if matches!(planned.plan, Plan::Read(_) | Plan::Explain(_)) {
            let _ = writer
                .query(&planned.statement, *params, |row| {
                    answer.rows.push(row.to_values());
                    ControlFlow::<()>::Continue(())
                })
                .map_err(Error::at(name))?;
            return Ok(answer);
        }
        let ran = run_statement(writer, (&planned.statement).into(), *params);
        let still_open = writer.in_transaction();
        if !still_open {
            self.transaction = Transaction::None;
        }
        let ran = ran.map_err(|error| self.database.write_error(wanted, error, rule))?;
        answer.changes = ran.outcome.changes;
        answer.last_insert_rowid = ran.outcome.last_insert_rowid;
        answer.rows = ran.rows;
        Ok(answer)
    }

    /// The one place on which a statement of a transaction runs.
    fn place_for(
        &self,
        state: &State,
        planned: &PlannedStatement,
        params: &Params<'_>,
    ) -> Result<(Place, Option<&'static str>), Error> {
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
                    Ok((self.bound().unwrap_or(place), None))
                }
                ReadTarget::One(place) => Ok((place, None)),
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
                    Some(shard) => Ok((Place::Shard(shard), plan.rule)),
                    None if matches!(table.kind, crate::schema::TableKind::Global) => {
                        Ok((Place::Catalog, None))
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
                        [shard] => Ok((Place::Shard(shard), plan.rule)),
                        _ => Err(several("several shards")),
                    },
                    crate::schema::TableKind::Global => {
                        plan.check_unsharded(&state.schema)?;
                        Ok((Place::Catalog, None))
                    }
                    crate::schema::TableKind::Reference => Err(several("every shard")),
                }
            }
            Plan::Ddl(_) | Plan::Pragma(_) | Plan::Transaction(_) => Err(several("every shard")),
        }
    }

    fn bind(&mut self, wanted: Place) -> Result<&mut Writer, Error> {
        if let Transaction::Begun = self.transaction {
            let mut writer = self.database.writer(wanted)?;
            writer
                .begin()
                .map_err(Error::at(self.database.inner.files.name(wanted)))?;
            self.transaction = Transaction::Bound {
                place: wanted,
                writer,
            };
        }
        let files = &self.database.inner.files;
        match &mut self.transaction {
            Transaction::Bound { place, writer } if *place == wanted => Ok(writer),
            Transaction::Bound { place, .. } => Err(Error::CrossShardTransaction {
                bound: files.name(*place).to_owned(),
                wanted: files.name(wanted).to_owned(),
            }),
            Transaction::None | Transaction::Begun => {
                unreachable!("the transaction was bound above")
            }
        }
    }

    fn bound(&self) -> Option<Place> {
        match &self.transaction {
            Transaction::Bound { place, .. } => Some(*place),
            Transaction::None | Transaction::Begun => None,
        }
    }

    fn places(&self) -> Vec<String> {
        self.bound()
            .map(|place| self.database.inner.files.name(place).to_owned())
            .into_iter()
            .collect()
    }
}
