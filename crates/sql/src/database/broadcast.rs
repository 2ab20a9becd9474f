//! Writes to every place: changes of the schema and of reference tables.
//!
//! The statements run in an open transaction on each place first, so that whatever one of them refuses is refused on
//! all. Then the operation is written to the registry, and the transactions commit one after the other, each with the
//! operation's number in the file. What fails from then on does not undo it: places without the number run the
//! statements again, as they did once already. That is tried at once, before the next operation, and after a crash
//! when the database is opened for writing.
//!
//! Before all that, the operation is announced at every place: see `announce`. Then no place can refuse it later, and no
//! place is replaced by others before it has the operation or hears that there will be none. What is found written down
//! after that is finished at the places of then: they know what those had which they have replaced.
//!
//! A statement with a number runs under it at each place, and whoever finishes the operation runs it under that too. So a
//! statement that is tried again finds what it did, once all that is pending is finished.
//!
//! Of two engines that write at once, one finds that the number of its operation is taken: in the registry while the
//! other's operation is under way, and at the places after that. It has not committed anything then.

use std::{sync::Arc, time::Duration};

use backon::{BlockingRetryable, ExponentialBuilder};
use parking_lot::MutexGuard;
use shardwright_registry::{Error as RegistryError, StoreError};

use super::{
    ShardedDatabase,
    journal::{Operation, Step},
    state::{PlannedStatement, State},
    unique::{Checks, Question},
};
use crate::{
    answer::{Answer, Tier},
    error::Error,
    schema::{Schema, Table},
    shards::{Fault, FaultKind, Fragment, PlaceTransaction, Ran},
};

impl ShardedDatabase {
    /// Takes the right to reach every place, and finishes what was begun there before. Returns the schema of now.
    pub(super) fn begin_broadcast(&self) -> Result<(MutexGuard<'_, ()>, Arc<State>), Error> {
        self.check_writable()?;
        let one = self.lock_broadcast()?;
        let (base, everywhere) = (self.base(), self.everywhere());
        for pending in base.inner.shared.records.pending()? {
            everywhere
                .complete_in_time(&pending)
                .map_err(|error| base.unfinished_before(error))?;
        }
        everywhere
            .settle_announcements()
            .map_err(|error| base.unfinished_before(error))?;
        base.refresh()?;
        Ok((one, base.inner.state.load_full()))
    }

    /// Finishes what a crash has interrupted.
    pub(super) fn recover(&self) -> Result<(), Error> {
        // A change of the schema that is written down was prepared at all places, so it comes after all commits there.
        self.resolve_commits()?;
        for pending in self.inner.shared.records.pending()? {
            self.complete(&pending)?;
        }
        self.settle_announcements()?;
        self.refresh().map(drop)
    }

    /// Changes the schema everywhere, unless there are rows that `forbidden` finds. The caller has begun the broadcast.
    pub(super) fn change_schema(
        &self,
        before: &State,
        after: Schema,
        (shards, catalog): (Vec<Step>, Vec<Step>),
        forbidden: &[Question],
    ) -> Result<(), Error> {
        // No write that was planned without the constraint may come after the question.
        let _alone = match forbidden {
            [] => None,
            _ => Some((self.lock_constraints()?, self.lock_unconstrained()?)),
        };
        let mut operation = Operation::new(shards, catalog, Some(after.stored().clone()));
        operation.statement = self.inner.places.statement();
        let (version, number) = (before.version + 1, before.number() + 1);
        let next = State::new(version, number, after, Arc::clone(&before.map))?;
        self.everywhere()
            .broadcast(before, operation, &next.checks, forbidden)?;
        self.base().install(&Arc::new(next));
        Ok(())
    }

    /// Runs steps that leave the schema as it is. The caller has begun the broadcast.
    pub(super) fn change_rows(
        &self,
        state: &State,
        shards: Vec<Step>,
        catalog: Vec<Step>,
    ) -> Result<(), Error> {
        let mut operation = Operation::new(shards, catalog, None);
        operation.statement = self.inner.places.statement();
        let none = state.checks.without_watch();
        let ran = self.everywhere().broadcast(state, operation, &none, &[]);
        ran.map(drop)
    }

    /// Runs an operation on every place, or on none. What other shards may forbid is asked by `checks`.
    fn broadcast(
        &self,
        state: &State,
        mut operation: Operation,
        checks: &Checks,
        forbidden: &[Question],
    ) -> Result<Ran, Error> {
        operation.number = state.number() + 1;
        operation.announced = self.announce().map_err(surely_undone)?;
        let begun = self.begin_everywhere(&operation, checks);
        let begun = begun.map_err(surely_undone).and_then(|begun| {
            // Every place is held, so the rows of now are those that the index finds.
            let mut questions = forbidden.iter();
            questions.try_for_each(|question| self.check_existing(state, question))?;
            self.check_time()?;
            self.write_down(&operation)?;
            Ok(begun)
        });
        let (begun, ran) = begun.inspect_err(|error| self.give_up(&operation, error))?;
        let committed = begun
            .into_iter()
            .try_for_each(|mut transaction| transaction.commit());
        let finished = committed.and_then(|()| self.inner.shared.records.finish(&operation));
        if let Err(error) = finished {
            self.finish_late(&operation, error)?;
        }
        if operation.schema.is_none() {
            state.reach(operation.number);
        }
        Ok(ran)
    }

    fn check_time(&self) -> Result<(), Error> {
        if self.inner.places.time_left() == Some(Duration::ZERO) {
            let message =
                "the change was prepared everywhere, and there was no time left to make it";
            return Err(self.fault(FaultKind::Busy, message));
        }
        Ok(())
    }

    /// Lets the places go on without an operation, unless that may be written down.
    fn give_up(&self, operation: &Operation, error: &Error) {
        match error {
            Error::Unfinished { .. } => self.announcements().leave(),
            _ => self.withdraw(operation),
        }
    }

    /// Finishes an operation that is written down, after an error on the way.
    fn finish_late(&self, operation: &Operation, error: Error) -> Result<(), Error> {
        let done = if may_pass(&error) {
            self.complete_in_time(operation)
        } else {
            Err(error)
        };
        match done {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.announcements().leave();
                Err(self.overtaken(operation.number))
            }
            Err(error) => {
                self.announcements().leave();
                Err(Error::Unfinished {
                    source: Box::new(error),
                })
            }
        }
    }

    /// Runs an operation on every place without a commit, and returns what it did at the first that it is for.
    fn begin_everywhere(
        &self,
        operation: &Operation,
        checks: &Checks,
    ) -> Result<(Vec<Box<dyn PlaceTransaction>>, Ran), Error> {
        let places = &*self.inner.places;
        let mut begun = Vec::new();
        let mut first = None;
        for place in places.all() {
            let Some((mut transaction, ran)) = operation.begin(places, place, checks)? else {
                return Err(self.overtaken(operation.number));
            };
            if operation.schema.is_none() {
                self.check_notes(checks, place, &mut *transaction, None)?;
            }
            if !operation.steps(place).is_empty() {
                first.get_or_insert(ran);
            }
            begun.push(transaction);
        }
        Ok((begun, first.unwrap_or_default()))
    }

    /// Writes an operation to the registry. From then on it is finished by whoever writes next.
    fn write_down(&self, operation: &Operation) -> Result<(), Error> {
        let written = self.inner.shared.records.begin(operation);
        written.map_err(|error| match error {
            Error::Registry {
                source: RegistryError::Store(StoreError::Conflict { .. }),
            } => self.overtaken(operation.number),
            Error::Registry {
                source: RegistryError::Store(StoreError::Unknown { .. }),
            } => Error::Unfinished {
                source: Box::new(error),
            },
            error => error,
        })
    }

    /// Another engine was first with the operation of that number.
    fn overtaken(&self, number: u64) -> Error {
        let message = format!("another engine writes: it has made the change of number {number}");
        self.fault(FaultKind::NotWriter, message)
    }

    /// Brings an operation that is written down to its end. Returns whether it has happened: it has not, and never will,
    /// if another engine has become the writer before it was written down.
    fn complete(&self, operation: &Operation) -> Result<bool, Error> {
        let records = &self.inner.shared.records;
        if self.is_withdrawn(operation)? {
            return records.forget(operation).map(|()| false);
        }
        operation.recover(&*self.inner.places)?;
        records.finish(operation).map(|()| true)
    }

    /// As [`ShardedDatabase::complete`], again and again while that may help and there is time.
    fn complete_in_time(&self, operation: &Operation) -> Result<bool, Error> {
        let patience = self.inner.shared.options.finish_timeout;
        let left = self.inner.places.time_left().unwrap_or(patience);
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(10))
            .with_max_delay(Duration::from_secs(1))
            .with_jitter()
            .without_max_times()
            .with_total_delay(Some(patience.min(left)));
        (|| self.complete(operation))
            .retry(backoff)
            .when(may_pass)
            .call()
    }

    /// Nothing was run of a statement that waits for what was begun before it.
    fn unfinished_before(&self, error: Error) -> Error {
        match &error {
            Error::Place { fault, .. }
                if matches!(fault.kind, FaultKind::NotWriter | FaultKind::LayoutChanged) =>
            {
                error
            }
            error if may_pass(error) => {
                let message = format!("an earlier change has to reach every place first: {error}");
                self.fault(FaultKind::Unreachable, message)
            }
            _ => Error::CannotFinish {
                source: Box::new(error),
            },
        }
    }

    pub(super) fn broadcast_write(
        &self,
        state: &State,
        table: &Table,
        planned: &PlannedStatement,
        statement: &Fragment,
    ) -> Result<Answer, Error> {
        self.broadcast_writes(state, table, planned, std::slice::from_ref(statement))
    }

    /// Writes to a reference table, whose copies are everywhere.
    pub(super) fn broadcast_writes(
        &self,
        state: &State,
        table: &Table,
        planned: &PlannedStatement,
        statements: &[Fragment],
    ) -> Result<Answer, Error> {
        let answer = |ran| self.broadcast_answer(table, planned, ran);
        if self.within().is_some() {
            return Ok(answer(self.write_everywhere(state, table, statements)?));
        }
        let (_one, now) = self.begin_broadcast()?;
        if let Some(ran) = self.broadcast_before()? {
            return Ok(answer(ran));
        }
        if now.version != state.version {
            let message = "the schema has changed since the statement was planned";
            return Err(self.fault(FaultKind::SchemaChanged, message));
        }
        if self.commits_on_files() {
            return Ok(answer(self.write_everywhere(state, table, statements)?));
        }
        let steps: Vec<Step> = statements.iter().map(Step::bound).collect();
        let mut operation = Operation::new(steps.clone(), steps, None);
        operation.statement = self.inner.places.statement();
        let _guard = self.guard(state, table)?;
        // A foreign key may carry the change to rows that other shards have a say in.
        let none = state.checks.without_watch();
        let checks = if state.needs_guard(table) {
            &state.checks
        } else {
            &none
        };
        let ran = self.everywhere().broadcast(&now, operation, checks, &[])?;
        Ok(answer(ran))
    }

    /// What the statement did that was made everywhere under its number before; the caller has begun the broadcast, so
    /// that a part of it is not all.
    pub(super) fn broadcast_before(&self) -> Result<Option<Ran>, Error> {
        let known = self.known()?;
        if known.is_empty() {
            return Ok(None);
        }
        let mut ran = known.into_iter().map(|(_, ran)| ran);
        let first = ran.find(|ran| !ran.iter().all(Ran::is_elsewhere));
        Ok(Some(Ran::all(first.unwrap_or_default())))
    }

    fn broadcast_answer(&self, table: &Table, planned: &PlannedStatement, ran: Ran) -> Answer {
        let places = &self.inner.places;
        let names = places.all().map(|place| places.name(place).to_owned());
        let reason = format!(
            "{} is a reference table, with a copy everywhere",
            table.name
        );
        let mut answer = Answer::of_changes(names.collect(), Tier::Broadcast, reason);
        answer.columns.clone_from(&planned.columns);
        answer.changes = ran.outcome.changes;
        answer.last_insert_rowid = ran.outcome.last_insert_rowid;
        answer.rows = ran.rows;
        answer
    }
}

/// What a place may or may not have done in a transaction is undone, as nobody has committed it.
fn surely_undone(error: Error) -> Error {
    match error {
        Error::Place { place, fault } if fault.kind == FaultKind::Indeterminate => {
            Fault::new(FaultKind::Unreachable, fault.message).at(&place)
        }
        error => error,
    }
}

/// Whether finishing an operation, which does no harm when it is done again, may go better next time.
fn may_pass(error: &Error) -> bool {
    match error {
        // The writer of now finishes it, or whoever has the places of now.
        Error::Place { fault, .. }
            if matches!(fault.kind, FaultKind::NotWriter | FaultKind::LayoutChanged) =>
        {
            false
        }
        Error::Place { fault, .. } if fault.kind == FaultKind::Indeterminate => true,
        Error::Registry {
            source: RegistryError::Store(StoreError::Unknown { .. }),
        } => true,
        error => error.is_retryable(),
    }
}
