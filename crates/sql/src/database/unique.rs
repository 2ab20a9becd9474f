//! Unique constraints that one shard cannot keep: each write asks the other shards.
//!
//! Temporary triggers on the writing connection of a shard note the values of every new row. Before such a write
//! commits, the other shards are asked for rows with these values. One process writes, and such writes are made one at
//! a time, so no row can appear between the question and the commit.

mod existing;

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use backon::{BlockingRetryable, ExponentialBuilder};
use shardwright_store::Value;
use turso_parser::ast::{Cmd, Stmt};

pub(super) use self::existing::Question;
use super::{ShardedDatabase, atomic::Commit, deferred::Deferred, state::State, write::Target};
use crate::{
    commit::notes::HELD,
    error::Error,
    schema::{Schema, Table, UniqueConstraint, quote_identifier},
    shards::{Call, FaultKind, Place, PlaceTransaction, Places, Ran, Watch, Watching},
    statement,
};

/// The temporary table of new rows: the number of a constraint, and the values of its terms. Its columns have no
/// type, so that values stay as they are.
const NOTES: &str = "_shardwright_unique";

/// What has to be asked about the rows of a schema.
#[derive(Debug, Clone, Default)]
pub(super) struct Checks {
    /// Notes new rows; `None` if every shard can keep all constraints alone.
    watch: Option<Arc<Watch>>,
    /// By the number of the constraint.
    probes: Vec<Probe>,
    /// What a place checks only when it commits.
    deferred: Deferred,
}

#[derive(Debug, Clone)]
struct Probe {
    /// `table.column, ...`, for the message.
    columns: String,
    /// Finds a row with the values given as parameters.
    sql: String,
    /// How many values there are.
    terms: usize,
}

impl Checks {
    pub(super) fn of(schema: &Schema) -> Result<Self, Error> {
        let deferred = Deferred::of(schema);
        let mut probes = Vec::new();
        let mut triggers = String::new();
        for table in schema.tables() {
            for unique in table.global_constraints() {
                let terms = Terms::of(schema, table, unique)?;
                triggers.push_str(&terms.triggers(table, probes.len()));
                probes.push(terms.probe(table));
            }
        }
        let Some(most) = probes.iter().map(|probe| probe.terms).max() else {
            return Ok(Self {
                deferred,
                ..Self::default()
            });
        };
        let columns: String = (1..=most).map(|number| format!(", v{number}")).collect();
        let script = format!("CREATE TEMP TABLE {NOTES}(probe{columns});\n{triggers}");
        Ok(Self {
            watch: Some(Arc::new(Watch {
                script: script.into(),
            })),
            probes,
            deferred,
        })
    }

    /// Those of a write whose rows no other shard may forbid.
    pub(super) fn without_watch(&self) -> Self {
        Self {
            deferred: self.deferred.clone(),
            ..Self::default()
        }
    }

    /// Whether other shards have to be asked about rows.
    pub(super) fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// What a place checks only when it commits.
    pub(super) fn deferred(&self) -> &Deferred {
        &self.deferred
    }

    /// What a transaction on a place has to note; the catalog has no rows that others may forbid.
    pub(super) fn watching(&self, place: Place) -> Watching<'_> {
        match (&self.watch, place) {
            (Some(watch), Place::Shard(_)) => Watching::These(watch),
            (None, _) | (_, Place::Catalog) => Watching::Any,
        }
    }

    /// The question about a noted row.
    fn question<'a>(&'a self, row: &'a [Value]) -> Result<(&'a Probe, Call<'a>), Error> {
        let probe = row
            .first()
            .and_then(Value::as_i64)
            .and_then(|number| self.probes.get(usize::try_from(number).ok()?));
        let values = probe.and_then(|probe| row.get(1..=probe.terms));
        match (probe, values) {
            (Some(probe), Some(values)) => Ok((probe, Call::new(&probe.sql, values))),
            _ => Err(Error::Sql {
                message: "the constraint is not known".to_owned(),
            }),
        }
    }
}

impl ShardedDatabase {
    /// Writes on a shard what rows of other shards may forbid. The caller holds the lock of such writes.
    pub(super) fn write_checked(
        &self,
        state: &State,
        place: Place,
        unit: &[Call<'_>],
        target: Target<'_>,
    ) -> Result<Vec<Ran>, Error> {
        let watching = state.checks.watching(place);
        if matches!(watching, Watching::Any) {
            return self.write_unit(place, unit, target.position);
        }
        let places = &self.inner.places;
        let mut transaction = match target.position {
            Some(position) => places.begin_at(place, position, watching)?,
            None => places.begin(place, watching)?,
        };
        // What was made before was checked then, and has rows of its own since.
        let ran = if transaction.is_remembered() {
            transaction.remembered()
        } else {
            let run = unit.iter().map(|call| transaction.execute(*call));
            let ran = run.collect::<Result<_, _>>()?;
            self.check_notes(&state.checks, place, &mut *transaction, target.rule)?;
            ran
        };
        transaction.commit()?;
        Ok(ran)
    }

    /// Asks about all rows that a transaction has written, and forgets them.
    pub(super) fn check_notes(
        &self,
        checks: &Checks,
        place: Place,
        transaction: &mut dyn PlaceTransaction,
        rule: Option<&'static str>,
    ) -> Result<(), Error> {
        if matches!(checks.watching(place), Watching::Any) {
            return Ok(());
        }
        let take = format!("DELETE FROM temp.{NOTES} RETURNING *");
        let notes = transaction.aside(Call::new(&take, ()))?.rows;
        notes
            .iter()
            .try_for_each(|row| self.ask_others(checks, place, row, rule))
    }

    /// As [`ShardedDatabase::check_notes`], for a commit that has written at other places, too.
    pub(super) fn check_notes_of(
        &self,
        checks: &Checks,
        place: Place,
        commit: &mut Commit,
        rule: Option<&'static str>,
    ) -> Result<(), Error> {
        if matches!(checks.watching(place), Watching::Any) {
            return Ok(());
        }
        let take = format!("DELETE FROM temp.{NOTES} RETURNING *");
        let taken = commit.within(place, |open| open.aside(Call::new(&take, ())))?;
        for row in &taken.rows {
            let (probe, question) = checks.question(row)?;
            for other in (0..self.inner.places.count()).map(Place::Shard) {
                if other != place && commit.finds(other, question)? {
                    return Err(self.conflict(probe, other, rule));
                }
            }
        }
        Ok(())
    }

    /// Whether a row of a place answers a question.
    pub(super) fn finds(&self, place: Place, question: Call<'_>) -> Result<bool, Error> {
        let found = |places: &dyn Places| places.query(place, question, |_| ControlFlow::Break(()));
        self.when_shown(place, found).map(|flow| flow.is_break())
    }

    /// Asks a place for rows that matter to others. A commit of which another place may have shown its part is waited for,
    /// until this one shows its own.
    pub(super) fn when_shown<T>(
        &self,
        place: Place,
        ask: impl FnOnce(&dyn Places) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let places = &*self.inner.places;
        if self.within().is_some() {
            return ask(places);
        }
        if self.commits_on_files() {
            let _shown = self.inner.shared.showing.read();
            return ask(places);
        }
        self.until_shown(place)?;
        ask(places)
    }

    /// Waits until a place has no part that is prepared and not seen.
    fn until_shown(&self, place: Place) -> Result<(), Error> {
        let places = &self.inner.places;
        let left = places.time_left().unwrap_or(self.limits().time);
        let held = || match places.query(place, Call::new(HELD, ()), |_| ControlFlow::Break(()))? {
            ControlFlow::Break(()) => Err(self.fault(FaultKind::Busy, "a commit is not resolved")),
            ControlFlow::Continue(()) => Ok(()),
        };
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(1))
            .with_max_delay(Duration::from_millis(50))
            .with_jitter()
            .without_max_times()
            .with_total_delay(Some(left));
        let is_held = |error: &Error| matches!(error, Error::Place { fault, .. } if fault.kind == FaultKind::Busy);
        held.retry(backoff).when(is_held).call()
    }

    fn conflict(&self, probe: &Probe, at: Place, rule: Option<&'static str>) -> Error {
        match rule {
            Some(rule) => Error::GlobalConflict {
                place: self.inner.places.name(at).to_owned(),
                constraint: probe.columns.clone(),
                rule,
            },
            None => Error::Constraint {
                message: format!("UNIQUE constraint failed: {}", probe.columns),
            },
        }
    }

    /// Refuses a row that another shard's row agrees with. That is a constraint, unless the statement says how to
    /// resolve a conflict.
    fn ask_others(
        &self,
        checks: &Checks,
        own: Place,
        row: &[Value],
        rule: Option<&'static str>,
    ) -> Result<(), Error> {
        let (probe, question) = checks.question(row)?;
        let places = &self.inner.places;
        for place in (0..places.count()).map(Place::Shard) {
            if place == own {
                continue;
            }
            if self.finds(place, question)? {
                return Err(self.conflict(probe, place, rule));
            }
        }
        Ok(())
    }
}

/// The parts of a constraint, as SQL.
struct Terms {
    /// Each column or expression.
    terms: Vec<String>,
    collations: Vec<&'static str>,
    /// The WHERE clause of a partial index.
    condition: Option<String>,
    /// Whether all terms are plain columns.
    plain: bool,
    names: String,
}

impl Terms {
    fn of(schema: &Schema, table: &Table, unique: &UniqueConstraint) -> Result<Self, Error> {
        let plain = !unique.partial && unique.columns.iter().all(Option::is_some);
        let columns = unique
            .columns
            .iter()
            .flatten()
            .map(|&column| table.columns[column].name.as_str());
        let (terms, condition) = if plain {
            (columns.clone().map(quote_identifier).collect(), None)
        } else {
            index_terms(schema, table, unique)?
        };
        let names = match &unique.index {
            Some(index) if !plain => format!("index '{index}'"),
            _ => columns
                .map(|column| format!("{}.{column}", table.name))
                .collect::<Vec<_>>()
                .join(", "),
        };
        let collations = unique
            .collations
            .iter()
            .map(|collation| collation.name())
            .collect();
        Ok(Self {
            terms,
            collations,
            condition,
            plain,
            names,
        })
    }

    fn triggers(&self, table: &Table, number: usize) -> String {
        let name = quote_identifier(&table.name);
        let own = self.own_row(table);
        let list: String = self
            .terms
            .iter()
            .map(|term| format!(", {}", self.of_new(term)))
            .collect();
        let not_null = self
            .terms
            .iter()
            .map(|term| format!("({}) IS NOT NULL", self.of_new(term)));
        let mut conditions: Vec<String> = not_null
            .chain(self.condition.iter().map(|c| format!("({c})")))
            .collect();
        let from = if self.plain {
            String::new()
        } else {
            conditions.push(own);
            format!(" FROM {name}")
        };
        let columns: String = (1..=self.terms.len())
            .map(|number| format!(", v{number}"))
            .collect();
        let note = format!(
            "INSERT INTO {NOTES}(probe{columns}) SELECT {number}{list}{from} WHERE {};",
            conditions.join(" AND ")
        );
        ["INSERT", "UPDATE"]
            .map(|event| {
                format!(
                    "CREATE TEMP TRIGGER \"_unique_{number}_{event}\" AFTER {event} ON main.{name} BEGIN {note} END;\n"
                )
            })
            .concat()
    }

    fn of_new(&self, term: &str) -> String {
        if self.plain {
            format!("NEW.{term}")
        } else {
            term.to_owned()
        }
    }

    /// Finds the row that has just been written among those of its table.
    fn own_row(&self, table: &Table) -> String {
        match table.rowid_name() {
            Some(rowid) => format!("{rowid} = NEW.{rowid}"),
            None => table
                .primary_key
                .iter()
                .map(|&column| quote_identifier(&table.columns[column].name))
                .map(|column| format!("{column} IS NEW.{column}"))
                .collect::<Vec<_>>()
                .join(" AND "),
        }
    }

    fn probe(&self, table: &Table) -> Probe {
        let equal = self.terms.iter().zip(&self.collations).enumerate();
        let mut conditions: Vec<String> = equal
            .map(|(index, (term, collation))| {
                format!("{term} = ?{} COLLATE {collation}", index + 1)
            })
            .collect();
        conditions.extend(
            self.condition
                .iter()
                .map(|condition| format!("({condition})")),
        );
        let sql = format!(
            "SELECT 1 FROM {} WHERE {} LIMIT 1",
            quote_identifier(&table.name),
            conditions.join(" AND ")
        );
        Probe {
            columns: self.names.clone(),
            sql,
            terms: self.terms.len(),
        }
    }
}

/// The expressions and the condition of an index, from the statement that creates it.
///
/// # Errors
/// [`Error::GlobalIndex`] where they are not understood.
fn index_terms(
    schema: &Schema,
    table: &Table,
    unique: &UniqueConstraint,
) -> Result<(Vec<String>, Option<String>), Error> {
    let unknown = || Error::GlobalIndex {
        index: unique.index.clone().unwrap_or_default(),
        table: table.name.clone(),
        column: table
            .key_column()
            .map(|column| column.name.clone())
            .unwrap_or_default(),
    };
    let object = schema
        .stored()
        .objects
        .iter()
        .find(|object| object.kind == "index" && Some(&object.name) == unique.index.as_ref())
        .ok_or_else(unknown)?;
    match statement::parse(&object.sql) {
        Some(Cmd::Stmt(Stmt::CreateIndex {
            columns,
            where_clause,
            ..
        })) => Ok((
            columns
                .iter()
                .map(|column| format!("({})", column.expr))
                .collect(),
            where_clause.map(|condition| condition.to_string()),
        )),
        _ => Err(unknown()),
    }
}

impl State {
    /// Whether a write to a table may conflict with rows of other shards, by itself or through triggers and cascades.
    pub(super) fn needs_guard(&self, table: &Table) -> bool {
        let constrained = |table: &Table| table.global_constraints().next().is_some();
        if constrained(table) {
            return true;
        }
        let has_reach = self.schema.triggers(&table.name).next().is_some()
            || self.schema.tables().any(|other| {
                other
                    .foreign_keys
                    .iter()
                    .any(|key| key.parent.eq_ignore_ascii_case(&table.name))
            });
        has_reach && self.schema.tables().any(constrained)
    }
}
