//! Several engines over the same places: how one joins, becomes the writer, and follows what others change.

use std::sync::Arc;

use arc_swap::ArcSwap;
use shardwright_registry::Registry;
use shardwright_topology::ShardMap;

use super::{
    Inner, Options, ShardedDatabase,
    state::{PlannedStatement, State},
};
use crate::{
    error::Error,
    plan::{InsertPlan, Plan},
    schema::{Schema, TableKind},
    shards::Places,
};

impl ShardedDatabase {
    /// Opens a database as one of several engines over the same places, which may be in several processes. Nothing is
    /// made or finished at the places: one of the engines, the writer, does that when it [takes
    /// over](ShardedDatabase::take_over).
    ///
    /// The engines agree by what the registry holds. Who is the writer is decided elsewhere, and the places have to
    /// know it: they refuse what a former writer sends. All statements must go through handles whose places check the
    /// number of the schema; see [`ShardedDatabase::through`] and [`ShardedDatabase::as_peer`].
    ///
    /// # Errors
    /// As [`ShardedDatabase::over`].
    pub fn join(
        places: Arc<dyn Places>,
        registry: Registry,
        options: &Options,
    ) -> Result<Self, Error> {
        Self::assemble(places, Self::records_in(registry)?, options, None)
    }

    /// Does what an engine has to do that becomes the writer of a database that it has [joined](ShardedDatabase::join):
    /// makes the engine's own tables, finishes or withdraws what a writer before it began at several places, and reads the
    /// schema.
    /// Doing it again does no harm.
    ///
    /// # Errors
    /// Failures of the places and of the registry, after [`Options::finish_timeout`], and [`Error::CannotFinish`]. It may be
    /// called again then.
    pub fn take_over(&self) -> Result<(), Error> {
        self.check_writable()?;
        self.base().prepare_catalog()?;
        self.base().resolve_commits()?;
        self.announcements().forget();
        self.begin_broadcast().map(drop)
    }

    /// Reads the schema again, if the registry has a newer one than this engine. Returns whether it had. Costs one record
    /// if it has not.
    ///
    /// Statements that run go on with the schema that they were planned for. The shards stay those of the places: for those
    /// of another map, there is [another handle](ShardedDatabase::with_map).
    ///
    /// # Errors
    /// Failures of the registry. The engine keeps what it had.
    pub fn refresh(&self) -> Result<bool, Error> {
        let base = self.base();
        let found = base.inner.shared.records.standing()?;
        let now = base.inner.state.load();
        if found.version <= now.version {
            return Ok(now.reach(found.number));
        }
        let (version, number) = (found.version, found.number);
        let temporary_views = now.schema.temporary_views().to_vec();
        let schema = Schema::derive(found.schema()?)?.with_temporary_views(temporary_views);
        let next = State::new(version, number, schema, Arc::clone(&now.map))?;
        base.install(&Arc::new(next));
        Ok(true)
    }

    /// The same database after shards were split or merged: over the places of another map, with the schema of this moment. It has
    /// the locks, the journal and the announcements of this one in common with it, so that statements through both keep the same
    /// constraints; those that run go on over the places that they have. Each reads newer schemas for itself. It costs
    /// next to nothing.
    ///
    /// # Errors
    /// [`Error::UnknownShard`] if the places are not those of the map.
    pub fn with_map(&self, map: Arc<ShardMap>, places: Arc<dyn Places>) -> Result<Self, Error> {
        super::open::check_places(&*places, &map)?;
        let base = self.base();
        let state = base.inner.state.load().with_map(map);
        Ok(Self {
            inner: Arc::new(Inner {
                shared: Arc::clone(&base.inner.shared),
                places,
                state: ArcSwap::from_pointee(state),
                view: None,
            }),
        })
    }

    /// Goes on with a newer schema. Of two that are read at once the newer one stays.
    pub(super) fn install(&self, next: &Arc<State>) {
        self.inner.state.rcu(|now| {
            let newer = if now.version < next.version {
                next
            } else {
                now
            };
            Arc::clone(newer)
        });
    }

    /// Whether a statement may need the one writer of a database with several engines: because it changes the schema
    /// or a reference table, because rows of other shards may forbid it, because it draws rowids, or because it may have
    /// been [tried before](Places::may_recur) with rows of other keys.
    ///
    /// Where that depends on the values of parameters, the answer is that it may. A [peer](ShardedDatabase::as_peer)
    /// handle tells for sure, by refusing.
    ///
    /// # Errors
    /// What SQLite says of the statement, or why it is refused.
    pub fn needs_writer(&self, sql: &str) -> Result<bool, Error> {
        let state = self.inner.state.load();
        let planned = state.plan(sql)?;
        Ok(match &planned.plan {
            Plan::Read(_) | Plan::Explain(_) | Plan::Shards(_) | Plan::Transaction(_) => false,
            Plan::Ddl(_) => true,
            Plan::Pragma(statement) => super::pragma::sets_number(statement),
            Plan::Insert(plan) => {
                let recurs = self.inner.places.may_recur();
                insert_needs_writer(&state, &planned, plan, recurs)?
            }
            Plan::Change(plan) => {
                let table = state.table(&plan.table)?;
                planned.needs_guard || matches!(table.kind, TableKind::Reference)
            }
        })
    }
}

fn insert_needs_writer(
    state: &State,
    planned: &PlannedStatement,
    plan: &InsertPlan,
    recurs: bool,
) -> Result<bool, Error> {
    let table = state.table(&plan.table)?;
    Ok(match table.kind {
        TableKind::Reference => true,
        // The catalog draws the rowids of its own rows.
        TableKind::Global => planned.needs_guard,
        TableKind::Sharded(_) => {
            let is_drawn = recurs || table.rowid_alias.is_some();
            planned.needs_guard || is_drawn && plan.may_go_by_row(table)
        }
    })
}
