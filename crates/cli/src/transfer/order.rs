//! In which order tables are made, and in which they are filled.

use std::collections::BTreeSet;

use shardwright_sql::schema::{Declaration, ForeignKey, Schema, Table, physical::is_enforceable};

/// The names of the tables in the order in which they are made: those that others refer to come first. Where they refer to one another, those
/// do whose place decides what becomes of the others.
pub(super) fn made(schema: &Schema) -> Vec<String> {
    sorted(schema, |table, is_strict| {
        let keys = table.foreign_keys.iter();
        let keys = keys.filter(|key| !is_strict || !is_enforceable(schema, table, key));
        let with = match declared(schema, &table.name) {
            Some(Declaration::Sharded { colocate_with, .. }) => colocate_with.as_deref().map(fold),
            Some(Declaration::Reference | Declaration::Global) | None => None,
        };
        keys.map(|key| fold(&key.parent)).chain(with).collect()
    })
}

/// The names of the tables in the order in which they are filled: rows that a shard looks for come before those that refer to them.
pub(super) fn filled(schema: &Schema) -> Vec<String> {
    sorted(schema, |table, _| {
        let kept = kept_keys(schema, table);
        kept.map(|key| fold(&key.parent)).collect()
    })
}

/// The foreign keys that the places of a table keep.
pub(super) fn kept_keys<'a>(
    schema: &'a Schema,
    table: &'a Table,
) -> impl Iterator<Item = &'a ForeignKey> {
    let keys = table.foreign_keys.iter();
    keys.filter(move |key| is_enforceable(schema, table, key))
}

/// Tables that are made before one that they refer to across shards: they would be made with a foreign key that no shard can keep.
pub(super) fn made_too_early(schema: &Schema) -> Vec<(&Table, &ForeignKey)> {
    let mut made_yet = BTreeSet::new();
    let mut early = Vec::new();
    for name in made(schema) {
        made_yet.insert(fold(&name));
        let Some(table) = schema.table(&name) else {
            continue;
        };
        let across = table.foreign_keys.iter();
        let across = across.filter(|key| !is_enforceable(schema, table, key));
        let unknown = across.filter(|key| !made_yet.contains(&fold(&key.parent)));
        early.extend(unknown.map(|key| (table, key)));
    }
    early
}

/// Sorts the tables: each comes after those that it needs. Where they need one another, it comes after those that it needs strictly at least,
/// or else as it was made.
fn sorted(schema: &Schema, needs: impl Fn(&Table, bool) -> BTreeSet<String>) -> Vec<String> {
    let made = schema.stored().objects.iter();
    let made = made.filter(|object| object.kind == "table");
    let mut waiting: Vec<&Table> = made
        .filter_map(|object| schema.table(&object.name))
        .collect();
    let mut order = Vec::new();
    while !waiting.is_empty() {
        let names: BTreeSet<String> = waiting.iter().map(|table| fold(&table.name)).collect();
        let is_free = |table: &Table, is_strict| {
            let mut needed = needs(table, is_strict).into_iter();
            let own = fold(&table.name);
            needed.all(|name| name == own || !names.contains(&name))
        };
        let next = |is_strict| waiting.iter().position(|table| is_free(table, is_strict));
        let next = next(false).or_else(|| next(true)).unwrap_or_default();
        order.push(waiting.remove(next).name.clone());
    }
    order
}

pub(super) fn declared<'a>(schema: &'a Schema, table: &str) -> Option<&'a Declaration> {
    schema.stored().declarations.get(&fold(table))
}

pub(super) fn fold(name: &str) -> String {
    name.to_ascii_lowercase()
}
