//! The view that a member of a batch has of the writer.

use std::ops::ControlFlow;

use super::{
    Writer,
    keyword::{self, Division, Kind},
};
use crate::{Error, Outcome, Params, Result, Row, Sql, guard::Guard};

/// The view that a member of a batch has of the writer.
///
/// It has no way to end the transaction that it shares with others. It may divide its own part of that by savepoints, which end with it.
#[derive(Debug)]
pub struct Member<'w> {
    writer: &'w mut Writer,
    conduct: Conduct,
    /// The names of its savepoints, the outermost first. SQLite knows them by their place here.
    savepoints: Vec<String>,
}

/// What is known of a member that decides what is to be done after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conduct {
    /// Whether it is one of several, so that it may not change the schema while changes are captured.
    #[cfg(feature = "capture")]
    pub(super) is_shared: bool,
    pub(super) used_pragma: bool,
    /// Whether a statement has ended the transaction.
    pub(super) ended: bool,
    /// Whether it has to run in a batch of its own.
    #[cfg(feature = "capture")]
    pub(super) needs_own_batch: bool,
    /// How many rows had been touched before it.
    #[cfg(feature = "capture")]
    pub(super) touches_before: u64,
}

impl<'w> Member<'w> {
    /// A member that may run, and that shares its batch with others or not.
    #[inline]
    pub(super) fn new(
        writer: &'w mut Writer,
        #[cfg_attr(
            not(feature = "capture"),
            expect(unused_variables, reason = "it matters to capture alone")
        )]
        shared: bool,
    ) -> Self {
        let conduct = Conduct {
            #[cfg(feature = "capture")]
            is_shared: shared,
            used_pragma: false,
            ended: false,
            #[cfg(feature = "capture")]
            needs_own_batch: false,
            #[cfg(feature = "capture")]
            touches_before: writer.touches(),
        };
        Self {
            writer,
            conduct,
            savepoints: Vec::new(),
        }
    }

    /// Runs one statement to its end and drops the rows it gives.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionStatement`] for BEGIN, COMMIT and ROLLBACK, and
    /// [`Error::TransactionEnded`] if the statement ended the transaction. Otherwise as
    /// [`Writer::execute`].
    pub fn execute<'p>(
        &mut self,
        sql: impl Into<Sql<'p>>,
        params: impl Into<Params<'p>>,
    ) -> Result<Outcome> {
        self.query(sql, params, |_| ControlFlow::<()>::Continue(()))
            .map(|(outcome, _)| outcome)
    }

    /// Runs one statement, and shows the rows that it gives to `visit` until that breaks.
    ///
    /// # Errors
    ///
    /// As [`Member::execute`].
    pub fn query<'p, B>(
        &mut self,
        sql: impl Into<Sql<'p>>,
        params: impl Into<Params<'p>>,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<(Outcome, ControlFlow<B>)> {
        let sql = sql.into();
        let kind = keyword::kind(sql.as_str());
        if self.conduct.ended {
            return Err(Error::NoTransaction);
        }
        if kind == Kind::Transaction {
            let division = keyword::division(sql.as_str());
            self.divide(division.ok_or(Error::TransactionStatement)?)?;
            let outcome = Outcome {
                changes: 0,
                last_insert_rowid: self.writer.connection().raw().last_insert_rowid(),
            };
            return Ok((outcome, ControlFlow::Continue(())));
        }
        let result = self.run(kind, sql, params.into(), visit);
        self.conduct.ended = result.is_err() && !self.writer.in_transaction();
        result
    }

    /// Runs a statement, after whose success the transaction is still open.
    #[inline]
    fn run<B>(
        &mut self,
        kind: Kind<'_>,
        sql: Sql<'_>,
        params: Params<'_>,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<(Outcome, ControlFlow<B>)> {
        match kind {
            Kind::Change | Kind::Rows => {}
            #[cfg(feature = "capture")]
            Kind::Pragma(_) | Kind::Schema(_) | Kind::File | Kind::Transaction
                if self.writer.captures() =>
            {
                return self.run_captured(kind, sql, params, visit);
            }
            Kind::Pragma(_) => self.conduct.used_pragma = true,
            Kind::Schema(_) | Kind::File | Kind::Transaction => {}
        }
        self.writer.query_open(kind, sql, params, visit)
    }

    /// Makes, keeps or undoes a savepoint of the member's own.
    fn divide(&mut self, division: Division<'_>) -> Result<()> {
        let kept = match division {
            Division::Begin(name) => {
                self.writer.savepoint(&own_name(self.savepoints.len()))?;
                self.savepoints.push(name.to_owned());
                return Ok(());
            }
            Division::Keep(name) => {
                let found = self.find(name)?;
                self.writer.release(&own_name(found))?;
                found
            }
            Division::Undo(name) => {
                let found = self.find(name)?;
                #[cfg(feature = "capture")]
                self.writer.note_undone();
                self.writer.rollback_to(&own_name(found))?;
                found + 1
            }
        };
        self.savepoints.truncate(kept);
        Ok(())
    }

    fn find(&self, name: &str) -> Result<usize> {
        let is_it = |own: &String| own.eq_ignore_ascii_case(name);
        let found = self.savepoints.iter().rposition(is_it);
        found.ok_or_else(|| Error::Sql {
            message: format!("no such savepoint: {name}"),
            offset: None,
        })
    }

    /// Ends the savepoints that are left, and keeps what was done since.
    pub(super) fn end_savepoints(&mut self) -> Result<()> {
        if self.savepoints.is_empty() || self.conduct.ended {
            return Ok(());
        }
        self.savepoints.clear();
        self.writer.release(&own_name(0))
    }

    /// Returns what it did so far.
    pub(super) fn conduct(&self) -> Conduct {
        self.conduct
    }

    #[cfg(all(test, feature = "capture"))]
    pub(super) fn writer(&self) -> &Writer {
        self.writer
    }

    /// Runs a statement whose changes are captured, and which does more than to read and change rows.
    #[cfg(feature = "capture")]
    fn run_captured<B>(
        &mut self,
        kind: Kind<'_>,
        sql: Sql<'_>,
        params: Params<'_>,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<(Outcome, ControlFlow<B>)> {
        match kind {
            Kind::Schema(_) if self.conduct.is_shared => {
                self.conduct.needs_own_batch = true;
                Err(crate::ReplicaError::NeedsOwnBatch.into())
            }
            Kind::Schema(definition) => self.writer.query_schema(definition, sql, params, visit),
            Kind::Pragma(pragma) => {
                self.conduct.used_pragma = true;
                self.writer.before_pragma(pragma)?;
                self.writer.query_open(kind, sql, params, visit)
            }
            Kind::File => Err(crate::capture::refused("VACUUM, ATTACH or DETACH")),
            Kind::Change | Kind::Rows | Kind::Transaction => {
                self.writer.query_open(kind, sql, params, visit)
            }
        }
    }

    /// Runs one statement to its end and returns what `map` makes of the first row it gives.
    ///
    /// # Errors
    ///
    /// As [`Member::execute`].
    pub fn query_row<'p, R>(
        &mut self,
        sql: impl Into<Sql<'p>>,
        params: impl Into<Params<'p>>,
        mut map: impl FnMut(&Row<'_>) -> R,
    ) -> Result<Option<R>> {
        let (_, flow) = self.query(sql, params, |row| ControlFlow::Break(map(row)))?;
        Ok(flow.break_value())
    }
}

/// The name by which SQLite knows a savepoint of a member.
fn own_name(place: usize) -> String {
    format!("member {place}")
}

impl Writer {
    /// Runs a statement of a member, in the transaction that is open. If it succeeds, that is still open.
    #[inline]
    fn query_open<B>(
        &mut self,
        kind: Kind<'_>,
        sql: Sql<'_>,
        params: Params<'_>,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<(Outcome, ControlFlow<B>)> {
        let sql = sql.as_str();
        Guard::check_text(sql)?;
        let result = match kind {
            Kind::Change => self.connection().change_again(sql, params, visit),
            _ => self.connection().query_again(sql, params, visit),
        };
        if result.is_ok() && self.in_transaction() {
            return result;
        }
        let result = self.after_statement(true, result);
        result.and(Err(Error::NoTransaction))
    }
}
