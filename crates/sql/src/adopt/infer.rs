//! What each table becomes: what was asked for, what a comment declares, or what its keys suggest.

use std::collections::BTreeMap;

use super::{
    AdoptOptions, Proposal, TableProposal, colocate, objects, source::Source,
    statistics::Statistics,
};
use crate::{
    error::Error,
    schema::{
        Declaration, Generated, NullKeys, Schema, StoredSchema, Table, TableKind, fold,
        is_bookkeeping, physical, trigger_reach,
    },
};

/// What is known while deciding.
pub(super) struct Inference<'a> {
    /// The schema with every table global, which says what the tables are made of.
    pub(super) plain: &'a Schema,
    pub(super) statistics: &'a Statistics<'a>,
    pub(super) shards: u64,
    options: &'a AdoptOptions,
}

/// Who decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Asked,
    Declared,
    Inferred,
}

/// A decision that may still change.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) declaration: Declaration,
    pub(super) origin: Origin,
    pub(super) distinct_keys: Option<u64>,
    pub(super) reasons: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Decisions by folded table name.
pub(super) type Drafts = BTreeMap<String, Draft>;

/// Decides for every table. A trigger that reaches other rows makes its tables global, which may cut the ties of
/// others, so deciding starts again until nothing changes.
pub(super) fn propose(
    source: &Source,
    shards: usize,
    options: &AdoptOptions,
) -> Result<Proposal, Error> {
    let mut stored = objects::read(source)?;
    stored.declarations = tables_of(&stored)
        .map(|table| (fold(table), Declaration::Global))
        .collect();
    let plain = Schema::derive(stored)?;
    let statistics = Statistics::new(source);
    let inference = Inference {
        plain: &plain,
        statistics: &statistics,
        shards: shards as u64,
        options,
    };
    inference.check_names()?;
    let mut forced = BTreeMap::new();
    loop {
        let drafts = inference.decide(&forced)?;
        let schema = inference.schema(&drafts)?;
        let reached = non_local_triggers(&schema, &drafts)?;
        if reached.is_empty() {
            return inference.finish(&schema, drafts);
        }
        forced.extend(reached);
    }
}

fn tables_of(stored: &StoredSchema) -> impl Iterator<Item = &str> {
    stored
        .objects
        .iter()
        .filter(|object| object.kind == "table")
        .map(|object| object.name.as_str())
}

impl<'a> Inference<'a> {
    fn check_names(&self) -> Result<(), Error> {
        let options = self.options;
        let sharded = options.shard_keys.iter().map(|(table, _)| table);
        for name in sharded.chain(&options.references).chain(&options.globals) {
            self.table(name)?;
        }
        Ok(())
    }

    pub(super) fn table(&self, name: &str) -> Result<&'a Table, Error> {
        self.plain.table(name).ok_or_else(|| Error::UnknownTable {
            table: name.to_owned(),
        })
    }

    fn decide(&self, forced: &BTreeMap<String, String>) -> Result<Drafts, Error> {
        let mut drafts = Drafts::new();
        for object in self.plain.stored().objects.iter() {
            if object.kind != "table" {
                continue;
            }
            let table = self.table(&object.name)?;
            let draft = match forced.get(&fold(&table.name)) {
                Some(reason) => global(Origin::Inferred, reason),
                None => self.draft(table, &object.sql)?,
            };
            drafts.insert(fold(&table.name), draft);
        }
        colocate::join(self, &mut drafts)?;
        for (name, draft) in &mut drafts {
            self.judge_nulls(self.table(name)?, draft)?;
        }
        Ok(drafts)
    }

    fn draft(&self, table: &Table, sql: &str) -> Result<Draft, Error> {
        if let Some(draft) = self.asked(table)? {
            return Ok(draft);
        }
        if let Some(declaration) = Declaration::in_comment(sql)? {
            return Ok(Draft {
                declaration,
                origin: Origin::Declared,
                distinct_keys: None,
                reasons: vec!["declared in a comment of its CREATE TABLE".to_owned()],
                warnings: Vec::new(),
            });
        }
        Ok(infer(table))
    }

    fn asked(&self, table: &Table) -> Result<Option<Draft>, Error> {
        let is = |name: &String| name.eq_ignore_ascii_case(&table.name);
        let options = self.options;
        let draft = |declaration, option: &str| Draft {
            declaration,
            origin: Origin::Asked,
            distinct_keys: None,
            reasons: vec![format!("asked for by {option}")],
            warnings: Vec::new(),
        };
        if let Some((_, column)) = options.shard_keys.iter().find(|(name, _)| is(name)) {
            let declaration = self.asked_key(table, column)?;
            return Ok(Some(draft(declaration, "--shard-key")));
        }
        if options.references.iter().any(is) {
            refuse_virtual(table, "copying")?;
            return Ok(Some(draft(Declaration::Reference, "--reference")));
        }
        if options.globals.iter().any(is) {
            return Ok(Some(draft(Declaration::Global, "--global")));
        }
        Ok(None)
    }

    fn asked_key(&self, table: &Table, column: &str) -> Result<Declaration, Error> {
        refuse_virtual(table, "sharding")?;
        if table.primary_key.is_empty() {
            return Err(table.without_primary_key());
        }
        let index = table.resolve(column).ok_or_else(|| Error::UnknownColumn {
            table: table.name.clone(),
            column: column.to_owned(),
        })?;
        if table.columns[index].generated != Generated::Ordinary {
            return Err(Error::GeneratedKey {
                table: table.name.clone(),
                column: column.to_owned(),
            });
        }
        Ok(Declaration::Sharded {
            shard_key: table.columns[index].name.clone(),
            colocate_with: None,
            null_keys: self.options.null_keys,
        })
    }

    /// Refuses rows without a key where that was asked for, and warns of them otherwise.
    fn judge_nulls(&self, table: &Table, draft: &mut Draft) -> Result<(), Error> {
        let Declaration::Sharded {
            shard_key,
            null_keys,
            ..
        } = &draft.declaration
        else {
            return Ok(());
        };
        let Some(column) = table.resolve(shard_key) else {
            return Ok(());
        };
        if table.rowid_alias == Some(column) {
            return Ok(());
        }
        let nulls = self.statistics.nulls(table, &table.columns[column])?;
        if nulls == 0 {
            return Ok(());
        }
        if *null_keys == NullKeys::Refuse {
            return Err(Error::NullKey {
                table: table.name.clone(),
                column: shard_key.clone(),
            });
        }
        draft.warnings.push(format!(
            "{nulls} rows have no {shard_key}; they keep their NULL and live together on one shard"
        ));
        Ok(())
    }

    fn schema(&self, drafts: &Drafts) -> Result<Schema, Error> {
        Schema::derive(StoredSchema {
            declarations: drafts
                .iter()
                .map(|(name, draft)| (name.clone(), draft.declaration.clone()))
                .collect(),
            ..self.plain.stored().clone()
        })
    }

    fn finish(&self, schema: &Schema, mut drafts: Drafts) -> Result<Proposal, Error> {
        let mut tables = Vec::new();
        for name in tables_of(schema.stored()) {
            let (Some(table), Some(mut draft)) = (schema.table(name), drafts.remove(&fold(name)))
            else {
                continue;
            };
            describe_constraints(schema, table, &mut draft);
            tables.push(TableProposal {
                name: table.name.clone(),
                declaration: draft.declaration,
                group: None,
                rows: self.statistics.rows(table)?,
                distinct_keys: draft.distinct_keys,
                reasons: draft.reasons,
                warnings: draft.warnings,
            });
        }
        Ok(Proposal::new(schema, tables, view_triggers(schema)))
    }
}

fn global(origin: Origin, reason: impl Into<String>) -> Draft {
    Draft {
        declaration: Declaration::Global,
        origin,
        distinct_keys: None,
        reasons: vec![reason.into()],
        warnings: Vec::new(),
    }
}

fn refuse_virtual(table: &Table, what: &str) -> Result<(), Error> {
    if table.module.is_none() {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: format!("{what} the virtual table {}", table.name),
        hint: "leave it to the catalog shard, which holds it whole",
    })
}

/// What a table becomes that nobody said anything about.
fn infer(table: &Table) -> Draft {
    let global = |reason| global(Origin::Inferred, reason);
    if table.module.is_some() {
        return global("a virtual table keeps its rows its own way");
    }
    if is_bookkeeping(&table.name) {
        return global("known as the bookkeeping of a migrator");
    }
    // SQLite permits no generated column in a primary key, so any column of it can be the shard key.
    let Some(&column) = table.primary_key.first() else {
        return global("it has no primary key, so nothing says which rows belong together");
    };
    let reason = if table.primary_key.len() == 1 {
        "sharded by its primary key"
    } else {
        "sharded by the first column of its primary key"
    };
    Draft {
        declaration: Declaration::Sharded {
            shard_key: table.columns[column].name.clone(),
            colocate_with: None,
            null_keys: kept_nulls(table, column),
        },
        origin: Origin::Inferred,
        distinct_keys: None,
        reasons: vec![reason.to_owned()],
        warnings: Vec::new(),
    }
}

/// SQLite permits NULL in most primary keys, so an inferred key does too.
fn kept_nulls(table: &Table, column: usize) -> NullKeys {
    let never =
        table.columns[column].not_null || table.without_rowid || table.rowid_alias == Some(column);
    if never {
        NullKeys::Refuse
    } else {
        NullKeys::Keep
    }
}

/// Finds tables that have to be global because of a trigger, each with the reason.
///
/// # Errors
/// [`Error::TriggerNotLocal`] if the owner wants one of them otherwise.
fn non_local_triggers(schema: &Schema, drafts: &Drafts) -> Result<Vec<(String, String)>, Error> {
    let mut forced = Vec::new();
    for object in &schema.stored().objects {
        let Some(own) = schema
            .table(&object.table)
            .filter(|_| object.kind == "trigger")
        else {
            continue;
        };
        let Err(reached) = trigger_reach(schema, &object.sql) else {
            continue;
        };
        let others = if reached.tables.is_empty() {
            "what it does is not understood".to_owned()
        } else {
            format!(
                "it reaches rows of {} that need not be there",
                reached.tables.join(", ")
            )
        };
        let reason = format!("global because of trigger {}: {others}", object.name);
        for name in std::iter::once(&own.name).chain(&reached.tables) {
            let is_global = schema
                .table(name)
                .is_none_or(|table| table.kind == TableKind::Global);
            if is_global {
                continue;
            }
            if drafts
                .get(&fold(name))
                .is_some_and(|draft| draft.origin != Origin::Inferred)
            {
                return Err(Error::TriggerNotLocal {
                    trigger: object.name.clone(),
                    table: own.name.clone(),
                    reached: reached.tables.first().unwrap_or(&own.name).clone(),
                });
            }
            forced.push((fold(name), reason.clone()));
        }
    }
    Ok(forced)
}

/// Says which constraints one shard alone cannot keep.
fn describe_constraints(schema: &Schema, table: &Table, draft: &mut Draft) {
    for unique in table.global_constraints() {
        let columns: Vec<&str> = unique
            .columns
            .iter()
            .map(|column| column.map_or("an expression", |column| &table.columns[column].name))
            .collect();
        draft.reasons.push(format!(
            "the uniqueness of ({}) is kept by asking all shards at each write",
            columns.join(", ")
        ));
    }
    for key in &table.foreign_keys {
        if !physical::is_enforceable(schema, table, key) {
            let columns: Vec<&str> = key
                .columns
                .iter()
                .map(|column| table.columns[*column].name.as_str())
                .collect();
            draft.warnings.push(format!(
                "the foreign key ({}) to {} spans shards and is not enforced",
                columns.join(", "),
                key.parent
            ));
        }
    }
}

/// Names the triggers on views: they stay in the schema, but nothing is written through a view.
fn view_triggers(schema: &Schema) -> Vec<String> {
    let objects = schema.stored().objects.iter();
    objects
        .filter(|object| object.kind == "trigger" && schema.table(&object.table).is_none())
        .map(|object| {
            format!(
                "trigger {} on view {} is kept but does not fire: writing through a view is refused",
                object.name, object.table
            )
        })
        .collect()
}
