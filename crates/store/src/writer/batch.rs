//! Many writes in one transaction, each as if it were alone.
//!
//! ```text
//! BEGIN ─ member 0 ─ member 1 ─ ... ─ decide ─ COMMIT
//!           │ fails: undone alone
//!           │ ends the transaction: all others run again, it runs alone afterwards
//! ```
//! A savepoint for each member costs as much as a small member itself. Captured batches do without them as long as no member fails that
//! has changed something: then all run again, with savepoints.

use super::{
    Writer,
    member::{Conduct, Member},
};
use crate::{ConstraintKind, Error, Result, connection::deferred_violations};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ran {
    /// It has run, and after an error nothing of it is left.
    Done,
    /// Nothing of it is left, because it has to run in a batch of its own.
    #[cfg(feature = "capture")]
    NeedsOwnBatch,
    /// It is to be undone, and has no savepoint.
    #[cfg(feature = "capture")]
    NeedsSavepoint,
    /// It ended the transaction.
    Ended,
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
        self.run_each(chosen, members, apart)
            .inspect_err(|_| self.undo())
    }

    /// Runs members in the transaction that is open.
    fn run_each<T>(
        &mut self,
        chosen: &[usize],
        members: &mut [impl FnMut(&mut Member<'_>) -> Result<T>],
        apart: Apart,
    ) -> Result<Run<T>> {
        #[cfg(feature = "capture")]
        self.begin_capture()?;
        let mut executed = Vec::with_capacity(chosen.len());
        for &place in chosen {
            if apart == Apart::Savepoints {
                self.execute("SAVEPOINT member", ())?;
            }
            let mut member = Member::new(self, chosen.len() > 1);
            let mut last = Executed {
                member: place,
                result: members[place](&mut member),
            };
            member.end_savepoints()?;
            let conduct = member.conduct();
            match self.settle(&mut last.result, conduct, apart)? {
                Ran::Done => executed.push(last),
                #[cfg(feature = "capture")]
                Ran::NeedsOwnBatch => {}
                #[cfg(feature = "capture")]
                Ran::NeedsSavepoint => {
                    self.undo();
                    return Ok(Run::NeedsSavepoints);
                }
                Ran::Ended => {
                    let error = last.result.err().unwrap_or(Error::NoTransaction);
                    return Ok(Run::Ended {
                        culprit: place,
                        error: cause(error),
                    });
                }
            }
        }
        Ok(Run::Open(executed))
    }

    /// Does what is to be done after a member that has run: checks it, and undoes it if it failed.
    #[inline]
    fn settle<T>(
        &mut self,
        result: &mut Result<T>,
        conduct: Conduct,
        #[cfg_attr(
            not(feature = "capture"),
            expect(unused_variables, reason = "it matters to capture alone")
        )]
        apart: Apart,
    ) -> Result<Ran> {
        if conduct.ended {
            return Ok(Ran::Ended);
        }
        #[cfg(feature = "capture")]
        if conduct.needs_own_batch {
            *result = Err(crate::ReplicaError::NeedsOwnBatch.into());
        } else if result.is_ok()
            && let Err(refused) = self.check_captured()
        {
            *result = Err(refused);
        }
        // A statement that fails at one key may have counted another one before: only going back to a savepoint uncounts it.
        let has_violations = self.has_violations()?;
        if result.is_ok() && has_violations {
            *result = Err(Error::Constraint {
                kind: ConstraintKind::ForeignKey,
                message: "FOREIGN KEY constraint failed".to_owned(),
            });
        }
        #[cfg(feature = "capture")]
        if apart == Apart::Hopefully {
            let has_left_something = has_violations
                || conduct.used_pragma
                || conduct.needs_own_batch
                || self.touches() != conduct.touches_before;
            if result.is_err() && has_left_something {
                return Ok(Ran::NeedsSavepoint);
            }
            self.forget_pragma(conduct.used_pragma)?;
            return Ok(Ran::Done);
        }
        self.close_savepoint(result.is_err())?;
        #[cfg(feature = "capture")]
        if result.is_err() && !conduct.is_shared {
            // What it did to the schema was recorded already, and is undone.
            self.begin_capture()?;
        }
        self.forget_pragma(conduct.used_pragma)?;
        #[cfg(feature = "capture")]
        if conduct.needs_own_batch {
            return Ok(Ran::NeedsOwnBatch);
        }
        Ok(Ran::Done)
    }

    /// Ends the savepoint of a member, which failed or not.
    fn close_savepoint(&mut self, has_failed: bool) -> Result<()> {
        if has_failed {
            #[cfg(feature = "capture")]
            self.note_undone();
            self.execute("ROLLBACK TO member", ())?;
        }
        self.execute("RELEASE member", ()).map(drop)
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
