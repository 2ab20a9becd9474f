//! What a statement is planned against: schema, map and the plans made so far. One immutable value per schema version and map; those of
//! one schema have in common whatever does not depend on the map.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use shardwright_store::{Params, Statement, Value};
use shardwright_topology::ShardMap;

use super::{
    Limits,
    explain::explained_columns,
    prepared::{Home, home_of},
    schema_read::SchemaReaders,
    unique::Checks,
};
use crate::{
    answer::ResultColumn,
    error::Error,
    gather::GatherPool,
    key::Key,
    plan::{self, OwnedRouting, Plan, Routing},
    schema::{Schema, Table, TableKind, open_copy},
    shards::Place,
};

/// How many plans are kept; when there are more, all are forgotten, since whoever makes so many does not repeat them.
const PLANS_MOST: usize = 4096;

#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) version: u64,
    /// The number of the last broadcast that the schema includes. Those that change rows alone leave the rest as it is.
    number: Arc<AtomicU64>,
    pub(crate) schema: Arc<Schema>,
    pub(crate) map: Arc<ShardMap>,
    pub(crate) gather: Arc<GatherPool>,
    /// What has to be asked about new rows.
    pub(super) checks: Arc<Checks>,
    /// An empty database with the schema, to ask SQLite what it makes of a statement.
    copy: Arc<Mutex<rusqlite::Connection>>,
    /// Others, for statements that clients run on the schema.
    schema_readers: Arc<SchemaReaders>,
    plans: Arc<RwLock<Plans>>,
}

type Plans = HashMap<Box<str>, Arc<PlannedStatement>, foldhash::fast::RandomState>;

/// A statement with its plan.
#[derive(Debug)]
pub(crate) struct PlannedStatement {
    pub(crate) plan: Plan,
    /// What the key of a call is checked against, unless the call must name the key space.
    /// Whether rows of other shards may forbid the write.
    pub(super) needs_guard: bool,
    pub(super) home: Option<Home>,
    /// The text, numbered, so that each reader finds its compiled form at once.
    pub(crate) statement: Statement,
    pub(crate) columns: Vec<ResultColumn>,
    /// The names of the parameters, by number.
    pub(crate) parameters: Vec<Option<Box<str>>>,
}

impl State {
    pub(crate) fn new(
        version: u64,
        number: u64,
        schema: Schema,
        map: Arc<ShardMap>,
    ) -> Result<Self, Error> {
        let copy = Arc::new(Mutex::new(open_copy(&schema)?));
        let checks = Arc::new(Checks::of(&schema)?);
        let schema = Arc::new(schema);
        let gather = Arc::new(GatherPool::new(Arc::clone(&schema)));
        Ok(Self {
            version,
            number: Arc::new(AtomicU64::new(number)),
            schema,
            map,
            gather,
            checks,
            copy,
            schema_readers: Arc::default(),
            plans: Arc::default(),
        })
    }

    /// The same schema, for the shards of another map. Nothing is planned anew: a plan says nothing of shards.
    pub(super) fn with_map(&self, map: Arc<ShardMap>) -> Self {
        Self {
            map,
            ..self.clone()
        }
    }

    /// The number of the last broadcast that the schema includes.
    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Notes that the schema is the same after the broadcast of that number. Returns whether that is news.
    pub(super) fn reach(&self, number: u64) -> bool {
        self.number.fetch_max(number, Ordering::AcqRel) < number
    }

    /// What is needed to compare keys. Homes of keys are found with [`ShardedDatabase::route`](super::ShardedDatabase::route).
    pub(crate) fn routing(&self) -> Routing<'_> {
        Routing {
            schema: &self.schema,
            map: &self.map,
            homes: None,
        }
    }

    pub(crate) fn owned_routing(&self, has_directory: bool) -> OwnedRouting {
        OwnedRouting {
            schema: Arc::clone(&self.schema),
            map: Arc::clone(&self.map),
            has_directory,
        }
    }

    /// The table of that name.
    pub(crate) fn table(&self, name: &str) -> Result<&Table, Error> {
        self.schema.table(name).ok_or_else(|| Error::UnknownTable {
            table: name.to_owned(),
        })
    }

    /// The plan of a statement, from the cache or made now.
    pub(crate) fn plan(&self, sql: &str) -> Result<Arc<PlannedStatement>, Error> {
        let plans = self.plans.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(planned) = plans.get(sql) {
            return Ok(Arc::clone(planned));
        }
        drop(plans);
        let planned = Arc::new(self.make_plan(sql)?);
        let mut plans = self.plans.write().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= PLANS_MOST {
            plans.clear();
        }
        plans.insert(sql.into(), Arc::clone(&planned));
        Ok(planned)
    }

    fn make_plan(&self, sql: &str) -> Result<PlannedStatement, Error> {
        let plan = match plan::plan(sql, &self.schema) {
            // What SQLite does not understand either is wrong rather than unsupported.
            Err(refusal @ Error::Unsupported { .. }) => {
                self.describe(sql)?;
                return Err(refusal);
            }
            plan => plan?,
        };
        let described = match plan {
            Plan::Read(_) | Plan::Insert(_) | Plan::Change(_) | Plan::Explain(_) => {
                self.describe(sql)?
            }
            Plan::Shards(ref explained) => {
                let explained = self.plan(explained)?;
                Described {
                    columns: explained_columns(),
                    parameters: explained.parameters.clone(),
                    read_only: true,
                }
            }
            Plan::Ddl(_) | Plan::Transaction(_) | Plan::Pragma(_) => Described::default(),
        };
        if matches!(plan, Plan::Read(_)) && !described.read_only {
            return Err(Error::Unsupported {
                what: "this form of the statement".to_owned(),
                hint: "check its syntax; rarely used forms of writes have a plainer equivalent",
            });
        }
        Ok(PlannedStatement {
            needs_guard: self.guards(&plan),
            home: home_of(self, &plan, None).ok(),
            plan,
            statement: Statement::new(sql),
            columns: described.columns,
            parameters: described.parameters,
        })
    }

    /// Whether rows of other shards may forbid what a plan writes.
    pub(super) fn guards(&self, plan: &Plan) -> bool {
        let table = match plan {
            Plan::Insert(plan) => &plan.table,
            Plan::Change(plan) => &plan.table,
            Plan::Read(_)
            | Plan::Ddl(_)
            | Plan::Transaction(_)
            | Plan::Pragma(_)
            | Plan::Explain(_)
            | Plan::Shards(_) => return false,
        };
        self.schema
            .table(table)
            .is_some_and(|table| self.needs_guard(table))
    }

    /// SQLite has the last word on whether a statement is valid, and says what its rows look like.
    fn describe(&self, sql: &str) -> Result<Described, Error> {
        self.on_copy(|copy| {
            let statement = copy.prepare(sql)?;
            Ok(Described {
                columns: statement
                    .columns()
                    .map(|column| ResultColumn {
                        name: column.name().to_owned(),
                        declared_type: column.decl_type().map(str::to_owned),
                    })
                    .collect(),
                parameters: (1..=statement.parameter_count())
                    .map(|number| statement.parameter_name(number).map(Into::into))
                    .collect(),
                read_only: statement.readonly(),
            })
        })
    }

    /// Runs `ask` on the empty copy of the schema.
    pub(crate) fn on_copy<T>(
        &self,
        ask: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        ask(&copy).map_err(Error::from_sqlite)
    }

    /// Runs a statement that reads the schema alone.
    pub(super) fn read_schema(
        &self,
        sql: &str,
        params: &Params<'_>,
        limits: Limits,
    ) -> Result<Vec<Vec<Value>>, Error> {
        self.schema_readers.read(&self.schema, sql, params, limits)
    }

    /// What has to be asked about the new rows of a write.
    pub(super) fn checks_of(&self, needs_guard: bool) -> Cow<'_, Checks> {
        match needs_guard {
            true => Cow::Borrowed(&*self.checks),
            false => Cow::Owned(self.checks.without_watch()),
        }
    }

    /// Whether the rows of a table live at a place.
    pub(crate) fn lives_at(&self, table: &Table, place: Place) -> bool {
        match (&table.kind, place) {
            (TableKind::Sharded(_), Place::Shard(_))
            | (TableKind::Reference, _)
            | (TableKind::Global, Place::Catalog) => true,
            (TableKind::Sharded(_), Place::Catalog) | (TableKind::Global, Place::Shard(_)) => false,
        }
    }

    /// The table whose key space a key belongs to.
    pub(crate) fn table_of_key(&self, table: Option<&str>, key: &Key) -> Result<&Table, Error> {
        if let Some(name) = table {
            return self
                .schema
                .table(name)
                .ok_or_else(|| Error::UnknownTable {
                    table: name.to_owned(),
                })
                .and_then(|table| match table.kind {
                    TableKind::Sharded(_) => Ok(table),
                    TableKind::Reference | TableKind::Global => Err(Error::NotSharded {
                        table: table.name.clone(),
                    }),
                });
        }
        let groups = self.schema.groups();
        if let Some(group) = key.group() {
            return groups
                .get(group)
                .map(|tables| tables[0])
                .ok_or_else(|| Error::UnknownTable {
                    table: group.to_owned(),
                });
        }
        match groups.values().collect::<Vec<_>>()[..] {
            [tables] => Ok(tables[0]),
            _ => Err(Error::AmbiguousKey {
                groups: groups.keys().map(|&group| group.to_owned()).collect(),
            }),
        }
    }
}

#[derive(Default)]
struct Described {
    columns: Vec<ResultColumn>,
    parameters: Vec<Option<Box<str>>>,
    read_only: bool,
}
