//! Calls that name a shard, or run on all of them: CollegeDB's `runShard`, `allAllShards` and their like.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::atomic::{AtomicUsize, Ordering},
};

use shardwright_store::{Params, Value};

use super::{
    ShardedDatabase, WriteMode,
    insert::By,
    prepared::position_of,
    state::{PlannedStatement, State},
    write::{Target, bound, refuse_null},
};
use crate::{
    answer::{Outcome, ShardResult},
    error::Error,
    key::Key,
    plan::{Homes, Plan, Purpose, RowKey},
    shards::{Call, Place, Ran},
};

/// A write on a shard that the caller has chosen, or its key.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnShard<'a> {
    pub(super) place: Place,
    pub(super) key: Option<&'a Key>,
    /// The homes of the statement's keys.
    pub(super) homes: &'a Homes,
    pub(super) mode: WriteMode,
}

impl ShardedDatabase {
    /// Runs a write on a shard. Rows whose keys belong to another shard are refused, so that no row is ever where a
    /// look-up by key would not find it.
    ///
    /// # Errors
    /// [`Error::UnknownShard`], [`Error::KeyMismatch`], and what SQLite says. Nothing is written then.
    #[doc(alias = "runShard")]
    pub fn run_shard<'p>(
        &self,
        shard: &str,
        sql: &str,
        params: impl Into<Params<'p>>,
    ) -> Result<Outcome, Error> {
        let place = self.place_of(shard)?;
        self.run_at(place, sql, &params.into())
    }

    /// All rows that a query gives on a shard.
    ///
    /// # Errors
    /// [`Error::UnknownShard`] and what SQLite says.
    #[doc(alias = "allShard")]
    pub fn all_shard<'p>(
        &self,
        shard: &str,
        sql: &str,
        params: impl Into<Params<'p>>,
    ) -> Result<Vec<Vec<Value>>, Error> {
        let place = self.place_of(shard)?;
        self.all_at(place, sql, &params.into())
    }

    /// The first row that a query gives on a shard; `None` if it gives none.
    ///
    /// # Errors
    /// As [`ShardedDatabase::all_shard`].
    #[doc(alias = "firstShard")]
    pub fn first_shard<'p>(
        &self,
        shard: &str,
        sql: &str,
        params: impl Into<Params<'p>>,
    ) -> Result<Option<Vec<Value>>, Error> {
        let place = self.place_of(shard)?;
        self.first_at(place, sql, &params.into())
    }

    /// Runs a write on every shard, at most [`Options::concurrency`](super::Options::concurrency) at a time. Each shard
    /// succeeds or fails for itself. The results are in the order of the shards.
    #[doc(alias = "runAllShards")]
    pub fn run_all_shards<'p>(
        &self,
        sql: &str,
        params: impl Into<Params<'p>>,
    ) -> Vec<ShardResult<Outcome>> {
        let params = params.into();
        self.on_all(|place| self.run_at(place, sql, &params))
    }

    /// Runs a query on every shard, as [`ShardedDatabase::run_all_shards`] does.
    #[doc(alias = "allAllShards")]
    pub fn all_all_shards<'p>(
        &self,
        sql: &str,
        params: impl Into<Params<'p>>,
    ) -> Vec<ShardResult<Vec<Vec<Value>>>> {
        let params = params.into();
        self.on_all(|place| self.all_at(place, sql, &params))
    }

    /// The first row of a query on every shard, as [`ShardedDatabase::run_all_shards`] does.
    #[doc(alias = "firstAllShards")]
    pub fn first_all_shards<'p>(
        &self,
        sql: &str,
        params: impl Into<Params<'p>>,
    ) -> Vec<ShardResult<Option<Vec<Value>>>> {
        let params = params.into();
        self.on_all(|place| self.first_at(place, sql, &params))
    }

    fn run_at(&self, place: Place, sql: &str, params: &Params<'_>) -> Result<Outcome, Error> {
        let state = self.inner.state.load();
        let planned = state.plan(sql)?;
        let homes = Homes::new(self.purpose(Purpose::Find));
        let write = OnShard {
            place,
            key: None,
            homes: &homes,
            mode: WriteMode::Single,
        };
        let _pass = self.enter();
        let ran = self.write_on_shard(&state, &planned, params, write)?;
        Ok(ran.outcome)
    }

    fn all_at(
        &self,
        place: Place,
        sql: &str,
        params: &Params<'_>,
    ) -> Result<Vec<Vec<Value>>, Error> {
        let mut rows = Vec::new();
        let call = Call::new(sql, *params);
        self.inner.places.read(place, call, &mut |row| {
            rows.push(row.to_values());
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    fn first_at(
        &self,
        place: Place,
        sql: &str,
        params: &Params<'_>,
    ) -> Result<Option<Vec<Value>>, Error> {
        let call = Call::new(sql, *params);
        let places = &self.inner.places;
        places.query_row(place, call, |row| row.to_values())
    }

    /// Runs `each` on every shard, in as many threads as the options allow.
    fn on_all<T: Send>(
        &self,
        each: impl Fn(Place) -> Result<T, Error> + Sync,
    ) -> Vec<ShardResult<T>> {
        let names = self.shard_names();
        let threads = self
            .inner
            .shared
            .options
            .concurrency
            .clamp(1, names.len().max(1));
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let shard = next.fetch_add(1, Ordering::Relaxed);
                if shard >= names.len() {
                    return done;
                }
                done.push((shard, each(Place::Shard(shard))));
            }
        };
        let mut results = std::thread::scope(|scope| {
            let workers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut results = work();
            for worker in workers {
                results.extend(
                    worker
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                );
            }
            results
        });
        results.sort_by_key(|(shard, _)| *shard);
        results
            .into_iter()
            .map(|(shard, result)| ShardResult {
                shard: names[shard].clone(),
                result,
            })
            .collect()
    }

    /// Runs a write on one place that the caller chose, if its rows belong there.
    pub(super) fn write_on_shard(
        &self,
        state: &State,
        planned: &PlannedStatement,
        params: &Params<'_>,
        write: OnShard<'_>,
    ) -> Result<Ran, Error> {
        let OnShard {
            place, key, homes, ..
        } = write;
        let table = match &planned.plan {
            Plan::Insert(plan) => state.table(&plan.table)?,
            Plan::Change(plan) => state.table(&plan.table)?,
            _ => {
                return Err(Error::Unsupported {
                    what: "running this statement on one shard".to_owned(),
                    hint: "a schema is the same on all shards: use `execute`; to read, use `all` or `first`",
                });
            }
        };
        if !state.lives_at(table, place) || table.shard_key().is_none() && place != Place::Catalog {
            return Err(Error::NotSharded {
                table: table.name.clone(),
            });
        }
        let rule = match &planned.plan {
            Plan::Insert(plan) => {
                let is_here = match key {
                    // The keys of all rows equal the key of the call, which has chosen the place.
                    Some(key)
                        if key.group().is_none() && plan.names_keys() && !key.value().is_null() =>
                    {
                        true
                    }
                    _ => self.inserts_only_here(state, plan, table, params, &write)?,
                };
                if !is_here {
                    // Keys that must be computed first.
                    let answer =
                        self.insert_by_row(state, planned, plan, params, By::Shard(&write))?;
                    return Ok(Ran {
                        outcome: answer.outcome(),
                        rows: answer.rows,
                    });
                }
                plan.rule
            }
            Plan::Change(plan) => {
                plan.check_stays(state.routing(), params)?;
                plan.rule
            }
            _ => None,
        };
        let position = self.if_numbered(|| match key {
            Some(key) => position_of(state, planned, key).map(Some),
            None => Ok(None),
        })?;
        let new = homes.take_new();
        if !new.is_empty() {
            let _guard = self.guard(state, table)?;
            let parts = BTreeMap::from([(place, vec![bound(planned, params)?])]);
            let answer = self.write_with_homes(state, planned, rule, &parts, &new)?;
            return Ok(Ran {
                outcome: answer.outcome(),
                rows: answer.rows,
            });
        }
        let places = [place];
        let target = Target::of(&places, rule).of_key(position);
        self.write_one(state, planned, target, *params)
    }

    /// Whether every key of an INSERT is plain to see; then each must belong to the place.
    fn inserts_only_here(
        &self,
        state: &State,
        plan: &crate::plan::InsertPlan,
        table: &crate::schema::Table,
        params: &Params<'_>,
        write: &OnShard<'_>,
    ) -> Result<bool, Error> {
        let OnShard { place, homes, .. } = *write;
        let (Place::Shard(here), false) = (place, plan.reads()) else {
            return Ok(place == Place::Catalog);
        };
        let Some(keys) = plan.keys() else {
            return Ok(false);
        };
        for key in keys {
            let RowKey::Given(key) = key else {
                return Ok(false);
            };
            let value = key.value(params)?;
            if value.is_null() && table.rowid_alias.is_some() {
                return Ok(false);
            }
            refuse_null(table, value)?;
            let found = self.route(state, homes, |routing| Ok(routing.shard_of(table, value)))?;
            if found != here {
                return Err(Error::WrongShard {
                    table: table.name.clone(),
                    key: state.routing().canonical(table, value).to_string(),
                    shard: self.inner.places.name(place).to_owned(),
                });
            }
        }
        Ok(true)
    }
}
