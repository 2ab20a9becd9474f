//! Writes to every place: changes of the schema and of reference tables.
//!
//! The statements run in an open transaction on each place first, so that whatever one of them refuses is refused on
//! all. Then the operation is written to the registry, and the transactions commit one after the other, each with the
//! operation's number in the file. What fails from then on does not undo it: places without the number run the
//! statements again, as they did once already. That is tried at once, before the next operation, and after a crash
//! when the database is opened for writing.
//!
//! Of two engines that write at once, one finds that the number of its operation is taken: in the registry while the
//! other's operation is under way, and at the places after that. It has not committed anything then.

use std::{
    sync::{Arc, MutexGuard},
    time::Duration,
};

use backon::{BlockingRetryable, ExponentialBuilder};
use shardwright_registry::{Error as RegistryError, StoreError};

use super::{
    ShardedDatabase,
    journal::{Operation, Step},
    state::{PlannedStatement, State},
    unique::Checks,
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
        let base = self.base();
        for pending in base.inner.shared.records.pending()? {
            base.complete_in_time(&pending)
                .map_err(|error| base.unfinished_before(error))?;
        }
        base.refresh()?;
        Ok((one, base.inner.state.load_full()))
    }

    /// Finishes what a crash has interrupted.
    pub(super) fn recover(&self) -> Result<(), Error> {
        for pending in self.inner.shared.records.pending()? {
            self.complete(&pending)?;
        }
        self.refresh().map(drop)
    }

    /// Changes the schema everywhere. The caller has begun the broadcast.
    pub(super) fn change_schema(
        &self,
        before: &State,
        after: Schema,
        shards: Vec<Step>,
        catalog: Vec<Step>,
    ) -> Result<(), Error> {
        let operation = Operation::new(shards, catalog, Some(after.stored().clone()));
        let (version, number) = (before.version + 1, before.number() + 1);
        let next = State::new(version, number, after, Arc::clone(&before.map))?;
        self.base().broadcast(before, operation, &next.checks)?;
        self.base().install(&Arc::new(next));
        Ok(())
    }

    /// Runs an operation on every place, or on none. What other shards may forbid is asked by `checks`.
    fn broadcast(
        &self,
        state: &State,
        mut operation: Operation,
        checks: &Checks,
    ) -> Result<Ran, Error> {
        operation.number = state.number() + 1;
        let begun = self.begin_everywhere(&operation, checks);
        let (begun, ran) = begun.map_err(surely_undone)?;
        self.write_down(&operation)?;
        let committed = begun
            .into_iter()
            .try_for_each(|mut transaction| transaction.commit());
        let finished = committed.and_then(|()| self.inner.shared.records.finish(&operation));
        if let Err(error) = finished {
            let is_final = !may_pass(&error);
            let done = match is_final {
                true => Err(error),
                false => self.complete_in_time(&operation),
            };
            done.map_err(|error| Error::Unfinished {
                source: Box::new(error),
            })?;
        }
        if operation.schema.is_none() {
            state.reach(operation.number);
        }
        Ok(ran)
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

    /// Brings an operation that is written down to its end.
    fn complete(&self, operation: &Operation) -> Result<(), Error> {
        operation.recover(&*self.inner.places)?;
        self.inner.shared.records.finish(operation)
    }

    /// As [`ShardedDatabase::complete`], again and again while that may help.
    fn complete_in_time(&self, operation: &Operation) -> Result<(), Error> {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(10))
            .with_max_delay(Duration::from_secs(1))
            .with_jitter()
            .without_max_times()
            .with_total_delay(Some(self.inner.shared.options.finish_timeout));
        (|| self.complete(operation))
            .retry(backoff)
            .when(may_pass)
            .call()
    }

    /// Nothing was run of a statement that waits for what was begun before it.
    fn unfinished_before(&self, error: Error) -> Error {
        match &error {
            Error::Place { fault, .. } if fault.kind == FaultKind::NotWriter => error,
            _ => {
                let message = format!("an earlier change has to reach every place first: {error}");
                self.fault(FaultKind::Unreachable, message)
            }
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
        let (_one, now) = self.begin_broadcast()?;
        if now.version != state.version {
            let message = "the schema has changed since the statement was planned";
            return Err(self.fault(FaultKind::SchemaChanged, message));
        }
        let steps: Vec<Step> = statements.iter().map(Step::bound).collect();
        let operation = Operation::new(steps.clone(), steps, None);
        let _guard = self.guard(state, table)?;
        // A foreign key may carry the change to rows that other shards have a say in.
        let none = state.checks.without_watch();
        let checks = if state.needs_guard(table) {
            &state.checks
        } else {
            &none
        };
        let ran = self.base().broadcast(&now, operation, checks)?;
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
        Ok(answer)
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
        // The writer of now finishes it.
        Error::Place { fault, .. } if fault.kind == FaultKind::NotWriter => false,
        Error::Place { fault, .. } if fault.kind == FaultKind::Indeterminate => true,
        Error::Registry {
            source: RegistryError::Store(StoreError::Unknown { .. }),
        } => true,
        error => error.is_retryable(),
    }
}
