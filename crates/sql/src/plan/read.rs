//! Reads: on one place untouched, or gathered.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use shardwright_store::{Params, Value};
use turso_parser::ast::Select;

use super::{
    Route, Routing, ScatterPlan, Window,
    scatter::{UNKNOWN_FORM, Unscattered},
    scope::{RefKind, TableRef, Walker},
};
use crate::{error::Error, schema::Schema, shards::Place, statement};

/// How a read is answered.
#[derive(Debug)]
pub(crate) struct ReadPlan {
    refs: Vec<TableRef>,
    /// Whether the statement was not understood, so that nothing is known of what it reads.
    opaque: bool,
    /// Whether it reads a view that no place has.
    temporary: bool,
    /// The text for the gathering tier.
    pub(crate) gather_sql: Arc<str>,
    /// How the shards answer it for themselves, or why they cannot; found out when several have to be asked.
    scatter: OnceLock<Result<ScatterPlan, Unscattered>>,
}

/// Where a read runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadTarget {
    /// Tier 1: as it is, on one place.
    One(Place),
    /// On an empty copy of the schema: the statement reads no rows, only what tables there are.
    SchemaCopy,
    /// Tier 2: each of these shards answers for its own rows, and the answers are merged.
    Scatter {
        /// The shards, ascending.
        shards: Vec<usize>,
        /// Which of the merged rows are the answer.
        window: Window,
        /// Why one place does not do.
        reason: GatherReason,
    },
    /// Tier 3: rows are fetched from these shards, and perhaps the catalog, and the statement runs over them.
    Gather {
        /// Why one place does not do.
        reason: GatherReason,
        /// Why the shards cannot answer for themselves.
        unscattered: Unscattered,
    },
}

/// Why a read needs more than one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GatherReason {
    /// A table is read without its key.
    NoKey { table: String, column: String },
    /// The keys are on several shards.
    SeveralShards,
    /// A global table and a sharded one.
    GlobalAndSharded,
    /// No place knows a view of the statement.
    TemporaryView,
    /// The parser does not understand the statement.
    NotUnderstood,
}

impl ReadPlan {
    pub(crate) fn of(sql: &str, select: &Select, schema: &Schema) -> Self {
        let mut walker = Walker::new(schema);
        walker.select(select, None);
        let mut reads = walker.reads;
        reads.spread();
        let opaque = !reads.unknown.is_empty();
        Self {
            refs: reads.refs,
            temporary: reads.temporary.is_some(),
            opaque,
            gather_sql: statement::without_index_hints(sql).into(),
            scatter: OnceLock::new(),
        }
    }

    pub(crate) fn opaque(sql: &str) -> Self {
        Self {
            refs: Vec::new(),
            opaque: true,
            temporary: false,
            gather_sql: statement::without_index_hints(sql).into(),
            scatter: OnceLock::new(),
        }
    }

    /// Decides where the read runs under these parameters.
    pub(crate) fn target(
        &self,
        params: &Params<'_>,
        routing: Routing<'_>,
    ) -> Result<ReadTarget, Error> {
        if self.opaque {
            return Ok(ReadTarget::Gather {
                reason: GatherReason::NotUnderstood,
                unscattered: UNKNOWN_FORM,
            });
        }
        if self.temporary {
            return Ok(ReadTarget::Gather {
                reason: GatherReason::TemporaryView,
                unscattered: "FROM has a view, a subquery or a function",
            });
        }
        // The common case first: one sharded table, one key.
        if let [only] = &self.refs[..]
            && only.kind == RefKind::Sharded
            && let Some(shard) = self.shard_of(only, params, routing)?
        {
            return Ok(ReadTarget::One(Place::Shard(shard)));
        }
        if let Some(internal) = self
            .refs
            .iter()
            .find(|found| found.table.starts_with("sqlite_s") && found.kind == RefKind::Global)
        {
            return Err(Error::Unsupported {
                what: format!("reading {}", internal.table),
                hint: "each shard keeps its own; the greatest rowid of a table is SELECT max(rowid)",
            });
        }
        let has = |kind| self.refs.iter().any(|found| found.kind == kind);
        if has(RefKind::Schema) && self.refs.iter().any(|found| found.kind != RefKind::Schema) {
            return Err(Error::Unsupported {
                what: "reading the schema and rows in one statement".to_owned(),
                hint: "read sqlite_schema or the PRAGMA function in a statement of its own",
            });
        }
        if has(RefKind::Schema) {
            return Ok(ReadTarget::SchemaCopy);
        }
        if !has(RefKind::Sharded) {
            // Without a table, or with reference tables alone, any place answers; the catalog has them all.
            return Ok(ReadTarget::One(Place::Catalog));
        }
        self.target_of_sharded(has(RefKind::Global), params, routing)
    }

    fn target_of_sharded(
        &self,
        has_global: bool,
        params: &Params<'_>,
        routing: Routing<'_>,
    ) -> Result<ReadTarget, Error> {
        if let Some(table) = self.virtual_table(routing.schema) {
            return Err(Error::Unsupported {
                what: format!("joining the virtual table {table} with a sharded one"),
                hint: "read the virtual table first, then the rows by key",
            });
        }
        if has_global {
            return Ok(ReadTarget::Gather {
                reason: GatherReason::GlobalAndSharded,
                unscattered: "a global table and a sharded one are read together",
            });
        }
        let mut common = None;
        for found in self
            .refs
            .iter()
            .filter(|found| found.kind == RefKind::Sharded)
        {
            let Some(shard) = self.shard_of(found, params, routing)? else {
                return self.of_several(reason_of(found, routing.schema), params, routing);
            };
            if *common.get_or_insert(shard) != shard {
                return self.of_several(GatherReason::SeveralShards, params, routing);
            }
        }
        Ok(ReadTarget::One(common.map_or(Place::Catalog, Place::Shard)))
    }

    /// Decides between the tiers for rows of several shards.
    fn of_several(
        &self,
        reason: GatherReason,
        params: &Params<'_>,
        routing: Routing<'_>,
    ) -> Result<ReadTarget, Error> {
        let planned = self
            .scatter
            .get_or_init(|| ScatterPlan::of(&self.gather_sql, routing.schema));
        let scatter = match planned {
            Ok(scatter) => scatter,
            Err(unscattered) => {
                return Ok(ReadTarget::Gather {
                    reason,
                    unscattered,
                });
            }
        };
        Ok(match scatter.window(params) {
            Some(window) => ReadTarget::Scatter {
                shards: scatter.shards(params, routing)?,
                window,
                reason,
            },
            None => ReadTarget::Gather {
                reason,
                unscattered: "the value of LIMIT or OFFSET is no integer",
            },
        })
    }

    /// How the shards answer for themselves, where the target is that they do.
    pub(crate) fn scatter(&self) -> Option<&ScatterPlan> {
        self.scatter.get()?.as_ref().ok()
    }

    /// The keys to which every reference to a table is pinned, by folded table name: rows with other keys take no part.
    pub(crate) fn pins(&self, params: &Params<'_>) -> Result<HashMap<String, Vec<Value>>, Error> {
        let mut pins: HashMap<String, Option<Vec<Value>>> = HashMap::new();
        for found in self
            .refs
            .iter()
            .filter(|found| found.kind == RefKind::Sharded)
        {
            let keys = found
                .pin
                .iter()
                .flatten()
                .map(|key| key.value(params).map(|value| value.to_value()))
                .collect::<Result<Vec<_>, _>>()?;
            let known = pins
                .entry(found.table.clone())
                .or_insert_with(|| Some(Vec::new()));
            match (found.pin.is_some(), &mut *known) {
                (true, Some(all)) => all.extend(keys),
                _ => *known = None,
            }
        }
        Ok(pins
            .into_iter()
            .filter_map(|(table, keys)| Some((table, keys?)))
            .collect())
    }

    /// The only shard that a reference needs, if there is one.
    fn shard_of(
        &self,
        found: &TableRef,
        params: &Params<'_>,
        routing: Routing<'_>,
    ) -> Result<Option<usize>, Error> {
        let table = routing
            .schema
            .table(&found.table)
            .ok_or_else(|| Error::UnknownTable {
                table: found.table.clone(),
            })?;
        Ok(Route::of(found.pin.as_deref(), table, params, routing)?.only(routing.map.len()))
    }

    fn virtual_table(&self, schema: &Schema) -> Option<String> {
        self.refs
            .iter()
            .filter_map(|found| schema.table(&found.table))
            .find(|table| table.module.is_some())
            .map(|table| table.name.clone())
    }

    /// Whether it reads no rows but those of which every place has a copy.
    pub(crate) fn is_answered_anywhere(&self) -> bool {
        let mut refs = self.refs.iter();
        !self.opaque && refs.all(|found| found.kind == RefKind::Reference)
    }

    /// The references to tables, for calls that name a key.
    pub(crate) fn refs(&self) -> &[TableRef] {
        &self.refs
    }
}

fn reason_of(found: &TableRef, schema: &Schema) -> GatherReason {
    match schema
        .table(&found.table)
        .and_then(|table| Some((table, table.key_column()?)))
    {
        Some((table, column)) if found.pin.is_none() => GatherReason::NoKey {
            table: table.name.clone(),
            column: column.name.clone(),
        },
        _ => GatherReason::SeveralShards,
    }
}
