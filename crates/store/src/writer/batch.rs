//! Many writes in one transaction, each as if it were alone.
//!
//! ```text
//! BEGIN ─ member 0 ─ member 1 ─ ... ─ decide ─ COMMIT
//!           │ fails: undone alone
//!           │ ends the transaction: all others run again, it runs alone afterwards
//! ```
//! A savepoint for each member costs as much as a small member itself. Captured batches do without them as long as no member fails that
//! has changed something: then all run again, with savepoints.

use std::ops::ControlFlow;

use super::{
    Writer,
    keyword::{self, Kind},
};
use crate::{
    ConstraintKind, Error, Outcome, Params, Result, Row, Sql, connection::deferred_violations,
};

/// Whether the members that have run are committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Commit them.
    Commit,
    /// Undo them all.
    Rollback,
}

/// A member that has run and is not committed yet.
#[derive(Debug)]
pub struct Executed<T> {
    /// Its place in the batch, counted from zero.
    pub member: usize,
    /// What it returned. After an error nothing of it is left.
    pub result: Result<T>,
}

/// What became of a member of a batch.
#[derive(Debug)]
pub enum Fate<T> {
    /// Its changes are committed.
    Committed(T),
    /// It succeeded, and the decision was to undo it.
    RolledBack(T),
    /// It failed, and nothing of it is left. The other members are not affected.
    Failed(Error),
}

/// The view that a member of a batch has of the writer.
///
/// It has no way to end the transaction that it shares with others.
#[derive(Debug)]
pub struct Member<'w> {
    writer: &'w mut Writer,
    used_pragma: bool,
    /// Whether it is one of several, so that it may not change the schema while changes are captured.
    #[cfg(feature = "capture")]
    shared: bool,
    /// Whether it has to run in a batch of its own.
    #[cfg(feature = "capture")]
    needs_own_batch: bool,
}

impl Member<'_> {
    /// Runs one statement to its end and drops the rows it gives.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionStatement`] for BEGIN, COMMIT, SAVEPOINT and their like, and
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
        if kind == Kind::Transaction {
            return Err(Error::TransactionStatement);
        }
        if !self.writer.in_transaction() {
            return Err(Error::NoTransaction);
        }
        self.used_pragma |= matches!(kind, Kind::Pragma(_));
        #[cfg(feature = "capture")]
        if self.writer.captures() {
            return self.query_captured(kind, sql, params.into(), visit);
        }
        self.writer.query(sql, params, visit)
    }

    #[cfg(all(test, feature = "capture"))]
    pub(super) fn writer(&self) -> &Writer {
        self.writer
    }

    /// Runs a statement whose changes are captured.
    #[cfg(feature = "capture")]
    fn query_captured<B>(
        &mut self,
        kind: Kind<'_>,
        sql: Sql<'_>,
        params: Params<'_>,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<(Outcome, ControlFlow<B>)> {
        match kind {
            Kind::Schema(_) if self.shared => {
                self.needs_own_batch = true;
                Err(crate::ReplicaError::NeedsOwnBatch.into())
            }
            Kind::Schema(definition) => self.writer.query_schema(definition, sql, params, visit),
            Kind::Pragma(pragma) => {
                self.writer.before_pragma(pragma)?;
                self.writer.query(sql, params, visit)
            }
            Kind::File => Err(crate::capture::refused("VACUUM, ATTACH or DETACH")),
            Kind::Rows | Kind::Transaction => self.writer.query(sql, params, visit),
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

/// How far a transaction came.
pub(super) enum Run<T> {
    /// All members have run, and the transaction is open.
    Open(Vec<Executed<T>>),
    /// A member ended the transaction: nothing of it is left.
    Ended { culprit: usize, error: Error },
    /// A member is to be undone alone, and has no savepoint: nothing of the transaction is left.
    #[cfg(feature = "capture")]
    NeedsSavepoints,
}

/// How members are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Apart {
    /// Each has a savepoint.
    Savepoints,
    /// Not at all, while each succeeds.
    #[cfg(feature = "capture")]
    Hopefully,
}

/// How far a member came.
enum Ran<T> {
    /// It has run, and after an error nothing of it is left.
    Done(Result<T>),
    /// Nothing of it is left, because it has to run in a batch of its own.
    #[cfg(feature = "capture")]
    NeedsOwnBatch,
    /// It is to be undone, and has no savepoint.
    #[cfg(feature = "capture")]
    NeedsSavepoint,
    /// It ended the transaction.
    Ended(Error),
}

impl Writer {
    /// Runs each member in a savepoint of its own inside one transaction, asks `decide`, and commits.
    ///
    /// A member that returns an error, or leaves a deferred foreign key unsatisfied, is undone alone. If
    /// one ends the transaction itself (`RAISE(ROLLBACK)`, a full disk), the others run again without
    /// it, and it runs in a transaction of its own after them. So a member may run more than once and
    /// must do nothing but use what it is given, and `decide` is called once for each transaction, with
    /// the members in it. Between `decide` and COMMIT nothing happens.
    ///
    /// # Errors
    ///
    /// [`Error::CommitFailed`] if the decision was to commit and COMMIT failed, and what SQLite reports
    /// when it cannot begin or undo. Nothing of the batch is committed then. A member that ran alone
    /// and whose COMMIT failed is [`Fate::Failed`] with the same error.
    pub fn write_batch<T>(
        &mut self,
        members: &mut [impl FnMut(&mut Member<'_>) -> Result<T>],
        mut decide: impl FnMut(&[Executed<T>]) -> Decision,
    ) -> Result<Vec<Fate<T>>> {
        let mut together: Vec<usize> = (0..members.len()).collect();
        let mut culprits = Vec::new();
        let mut fates: Vec<Option<Fate<T>>> = members.iter().map(|_| None).collect();
        while !together.is_empty() {
            match self.run_members(&together, members, Apart::Savepoints)? {
                Run::Open(executed) => {
                    self.finish(executed, &mut decide, &mut fates)?;
                    break;
                }
                Run::Ended { culprit, .. } => {
                    together.retain(|&member| member != culprit);
                    culprits.push(culprit);
                }
                #[cfg(feature = "capture")]
                Run::NeedsSavepoints => unreachable!("each member has one"),
            }
        }
        culprits.sort_unstable();
        for culprit in culprits {
            let finished = match self.run_members(&[culprit], members, Apart::Savepoints) {
                Ok(Run::Open(executed)) => self.finish(executed, &mut decide, &mut fates),
                Ok(Run::Ended { error, .. }) | Err(error) => Err(error),
                #[cfg(feature = "capture")]
                Ok(Run::NeedsSavepoints) => unreachable!("it has one"),
            };
            if let Err(error) = finished {
                fates[culprit] = Some(Fate::Failed(error));
            }
        }
        Ok(fates
            .into_iter()
            .map(|fate| fate.expect("each member ran together with others or alone"))
            .collect())
    }

    /// Begins a transaction and runs members in it.
    pub(super) fn run_members<T>(
        &mut self,
        chosen: &[usize],
        members: &mut [impl FnMut(&mut Member<'_>) -> Result<T>],
        apart: Apart,
    ) -> Result<Run<T>> {
        self.begin()?;
        let mut executed = Vec::with_capacity(chosen.len());
        #[cfg(feature = "capture")]
        self.begin_capture().inspect_err(|_| self.undo())?;
        for &member in chosen {
            let ran = self
                .run_member(&mut members[member], chosen.len() > 1, apart)
                .inspect_err(|_| self.undo())?;
            match ran {
                Ran::Done(result) => executed.push(Executed { member, result }),
                #[cfg(feature = "capture")]
                Ran::NeedsOwnBatch => {}
                #[cfg(feature = "capture")]
                Ran::NeedsSavepoint => {
                    self.undo();
                    return Ok(Run::NeedsSavepoints);
                }
                Ran::Ended(error) => {
                    return Ok(Run::Ended {
                        culprit: member,
                        error,
                    });
                }
            }
        }
        Ok(Run::Open(executed))
    }

    /// Runs one member, which shares its batch with others or not.
    fn run_member<T>(
        &mut self,
        run: &mut impl FnMut(&mut Member<'_>) -> Result<T>,
        #[cfg_attr(
            not(feature = "capture"),
            expect(unused_variables, reason = "it matters to capture alone")
        )]
        shared: bool,
        apart: Apart,
    ) -> Result<Ran<T>> {
        if apart == Apart::Savepoints {
            self.execute("SAVEPOINT member", ())?;
        }
        #[cfg(feature = "capture")]
        let touches = self.touches();
        let mut member = Member {
            writer: self,
            used_pragma: false,
            #[cfg(feature = "capture")]
            shared,
            #[cfg(feature = "capture")]
            needs_own_batch: false,
        };
        let result = run(&mut member);
        let used_pragma = member.used_pragma;
        #[cfg(feature = "capture")]
        let needs_own_batch = member.needs_own_batch;
        if !self.in_transaction() {
            let error = result.err().unwrap_or(Error::NoTransaction);
            return Ok(Ran::Ended(cause(error)));
        }
        #[cfg(feature = "capture")]
        let result = match needs_own_batch {
            true => Err(crate::ReplicaError::NeedsOwnBatch.into()),
            false => self.check_captured(result),
        };
        let mut result = result;
        // A statement that fails at one key may have counted another one before: only going back to a savepoint uncounts it.
        let has_violations = self.has_violations()?;
        if result.is_ok() && has_violations {
            result = Err(Error::Constraint {
                kind: ConstraintKind::ForeignKey,
                message: "FOREIGN KEY constraint failed".to_owned(),
            });
        }
        #[cfg(feature = "capture")]
        if apart == Apart::Hopefully {
            let is_untouched =
                self.touches() == touches && !has_violations && !used_pragma && !needs_own_batch;
            return Ok(match result {
                Err(_) if !is_untouched => Ran::NeedsSavepoint,
                result => {
                    self.forget_pragma(used_pragma)?;
                    Ran::Done(result)
                }
            });
        }
        if result.is_err() {
            #[cfg(feature = "capture")]
            self.note_undone();
            self.execute("ROLLBACK TO member", ())?;
        }
        self.execute("RELEASE member", ())?;
        #[cfg(feature = "capture")]
        if result.is_err() && !shared {
            // What it did to the schema was recorded already, and is undone.
            self.begin_capture()?;
        }
        self.forget_pragma(used_pragma)?;
        #[cfg(feature = "capture")]
        if needs_own_batch {
            return Ok(Ran::NeedsOwnBatch);
        }
        Ok(Ran::Done(result))
    }

    /// Returns whether the transaction has broken foreign keys that are looked at when it ends.
    fn has_violations(&self) -> Result<bool> {
        #[cfg(feature = "capture")]
        if self.is_without_foreign_keys() {
            return Ok(false);
        }
        deferred_violations(self.connection())
    }

    /// Ends what a PRAGMA of a member may have set, which would last until COMMIT.
    fn forget_pragma(&mut self, used_pragma: bool) -> Result<()> {
        match used_pragma {
            true => self.execute_script("PRAGMA defer_foreign_keys = OFF"),
            false => Ok(()),
        }
    }

    /// Asks for the decision, carries it out and records what became of the members.
    fn finish<T>(
        &mut self,
        executed: Vec<Executed<T>>,
        decide: &mut impl FnMut(&[Executed<T>]) -> Decision,
        fates: &mut [Option<Fate<T>>],
    ) -> Result<()> {
        let decision = decide(&executed);
        match decision {
            Decision::Commit => self.commit().map_err(|error| {
                self.undo();
                Error::CommitFailed {
                    source: Box::new(cause(error)),
                }
            })?,
            Decision::Rollback => self.rollback()?,
        }
        for Executed { member, result } in executed {
            fates[member] = Some(match (result, decision) {
                (Ok(value), Decision::Commit) => Fate::Committed(value),
                (Ok(value), Decision::Rollback) => Fate::RolledBack(value),
                (Err(error), _) => Fate::Failed(error),
            });
        }
        Ok(())
    }

    /// Rolls back after a failure, which is what the caller reports.
    pub(super) fn undo(&mut self) {
        #[cfg(feature = "capture")]
        self.end_capture();
        // If this fails too, dropping the writer tries again.
        let _undone = self.rollback();
    }
}

/// Returns what made a transaction end.
pub(super) fn cause(error: Error) -> Error {
    match error {
        Error::TransactionEnded { source } => *source,
        other => other,
    }
}
