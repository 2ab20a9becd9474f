//! UPDATE and DELETE of rows that only a read of several places finds: what to read, and what to write then.
//!
//! A condition on rows of other shards is answered by a SELECT of the rows that meet it, with the new values beside them. It comes
//! first, as SQLite too looks at all rows before it changes one when the condition has a subquery. Then each row is changed where it is,
//! by its rowid or its primary key.

use shardwright_store::Value;
use turso_parser::ast::{Cmd, Expr, Name, OneSelect, ResultColumn, Set, Stmt, With};

use super::{Routing, scope::Walker};
use crate::{
    schema::{Generated, Schema, Table, TableKind, quote_identifier},
    shards::Place,
    statement,
};

/// With more rows in one statement than this, SQLite's limit of parameters would be near.
const ROWS_MOST: usize = 500;

/// A write in two parts.
#[derive(Debug)]
pub(crate) struct Located {
    /// Returns, for each row to be changed: the shard key if the table is sharded, the values that tell the row apart, and the new ones.
    pub(crate) select: String,
    /// Whether the first column is the shard key.
    has_key: bool,
    /// The columns that tell rows of one place apart.
    identity: Vec<String>,
    write: Write,
}

#[derive(Debug)]
enum Write {
    Delete,
    /// `UPDATE OR ... table`, and the columns that are set.
    Update(String, Vec<String>),
}

impl Located {
    /// Takes a statement apart; `None` where SQLite's answer might be another one.
    pub(super) fn of(statement: &Stmt, table: &Table, schema: &Schema) -> Option<Self> {
        let (name, with, condition, returning) = match statement {
            Stmt::Update(update) if update.from.is_none() => (
                &update.tbl_name,
                &update.with,
                update.where_clause.as_deref(),
                &update.returning,
            ),
            Stmt::Delete {
                tbl_name,
                with,
                where_clause,
                returning,
                ..
            } => (tbl_name, with, where_clause.as_deref(), returning),
            _ => return None,
        };
        if !returning.is_empty() || matches!(table.kind, TableKind::Reference) {
            return None;
        }
        let alias = name.alias.as_ref();
        let write = match statement {
            Stmt::Update(update) => {
                let (verb, columns) = (verb(update.or_conflict)?, columns_set(&update.sets)?);
                let values = update.sets.iter().map(|set| &*set.expr);
                if sees_changes(values, with.as_ref(), table, alias, schema) {
                    return None;
                }
                Write::Update(format!("{verb} {}", quote_identifier(&table.name)), columns)
            }
            _ => Write::Delete,
        };
        let new_values: Vec<&Expr> = match statement {
            Stmt::Update(update) => update.sets.iter().map(|set| &*set.expr).collect(),
            _ => Vec::new(),
        };
        let identity = identity(table)?;
        let mut first: Vec<String> = table
            .key_column()
            .into_iter()
            .map(|key| key.name.clone())
            .collect();
        first.extend(identity.iter().cloned());
        Some(Self {
            select: select(table, alias, &first, &new_values, with.as_ref(), condition)?,
            has_key: table.shard_key().is_some(),
            identity,
            write,
        })
    }

    /// Where a row that was found is.
    pub(crate) fn place_of(&self, row: &[Value], table: &Table, routing: Routing<'_>) -> Place {
        match row.first() {
            Some(key) if self.has_key => Place::Shard(routing.shard_of(table, key.as_ref())),
            Some(_) | None => Place::Catalog,
        }
    }

    /// The new value of the shard key in a row that was found, if the statement sets it.
    pub(crate) fn new_key<'r>(&self, row: &'r [Value], table: &Table) -> Option<&'r Value> {
        let key = table.shard_key()?.column;
        let mut set = self.new_values(row);
        // Of two values for a column the last one counts.
        let found = set.rfind(|(column, _)| table.resolve(column) == Some(key));
        found.map(|(_, value)| value)
    }

    /// What tells a row apart at its place.
    pub(crate) fn identity_of<'r>(&self, row: &'r [Value]) -> &'r [Value] {
        let skipped = usize::from(self.has_key);
        &row[skipped..skipped + self.identity.len()]
    }

    /// The columns that the statement sets, with their values in a row that was found.
    fn new_values<'r>(
        &self,
        row: &'r [Value],
    ) -> impl DoubleEndedIterator<Item = (&str, &'r Value)> {
        let columns = match &self.write {
            Write::Update(_, columns) => columns.as_slice(),
            Write::Delete => &[],
        };
        let values = &row[usize::from(self.has_key) + self.identity.len()..];
        columns.iter().map(String::as_str).zip(values)
    }

    /// The values with which a row is inserted elsewhere that was stored with those.
    pub(crate) fn new_row(&self, table: &Table, row: &[Value], stored: &[Value]) -> Vec<Value> {
        let mut values = stored.to_vec();
        let ordinary = |column: &usize| table.columns[*column].generated == Generated::Ordinary;
        for (column, value) in self.new_values(row) {
            let Some(column) = table.resolve(column) else {
                continue;
            };
            let before = (0..column).filter(ordinary).count();
            if let Some(old) = values.get_mut(before) {
                *old = value.clone();
            }
        }
        values
    }

    /// How a row is inserted elsewhere; `None` if one that is in the way would have to keep it where it is.
    pub(crate) fn insert_verb(&self) -> Option<&'static str> {
        match &self.write {
            Write::Update(update, _) if update.starts_with("UPDATE OR REPLACE ") => {
                Some("INSERT OR REPLACE")
            }
            Write::Update(update, _) if update.starts_with("UPDATE OR ") => None,
            Write::Update(..) => Some("INSERT"),
            Write::Delete => None,
        }
    }

    /// The statements that change rows of one place, with their values.
    pub(crate) fn statements(
        &self,
        table: &Table,
        rows: &[Vec<Value>],
    ) -> Vec<(String, Vec<Value>)> {
        let skipped = usize::from(self.has_key);
        let is_row: Vec<String> = self
            .identity
            .iter()
            .map(|column| format!("{} IS ?", quote_identifier(column)))
            .collect();
        let is_row = format!("({})", is_row.join(" AND "));
        match &self.write {
            Write::Delete => rows
                .chunks(ROWS_MOST)
                .map(|chunk| {
                    let any = vec![is_row.as_str(); chunk.len()].join(" OR ");
                    let values = chunk.iter().flat_map(|row| row[skipped..].iter().cloned());
                    let name = quote_identifier(&table.name);
                    (format!("DELETE FROM {name} WHERE {any}"), values.collect())
                })
                .collect(),
            Write::Update(update, columns) => {
                let sets: Vec<String> = columns
                    .iter()
                    .map(|column| format!("{} = ?", quote_identifier(column)))
                    .collect();
                let sql = format!("{update} SET {} WHERE {is_row}", sets.join(", "));
                let of_row = |row: &Vec<Value>| {
                    let (identity, new) = row[skipped..].split_at(self.identity.len());
                    (sql.clone(), [new, identity].concat())
                };
                rows.iter().map(of_row).collect()
            }
        }
    }
}

/// The columns that tell rows of one place apart.
fn identity(table: &Table) -> Option<Vec<String>> {
    if let Some(rowid) = table.rowid_name() {
        return Some(vec![rowid.to_owned()]);
    }
    let columns = table.primary_key.iter();
    let names: Vec<String> = columns
        .map(|&column| table.columns[column].name.clone())
        .collect();
    (table.without_rowid && !names.is_empty()).then_some(names)
}

fn verb(or_conflict: Option<turso_parser::ast::ResolveType>) -> Option<&'static str> {
    use turso_parser::ast::ResolveType;
    match or_conflict {
        None | Some(ResolveType::Abort) => Some("UPDATE"),
        Some(ResolveType::Ignore) => Some("UPDATE OR IGNORE"),
        Some(ResolveType::Replace) => Some("UPDATE OR REPLACE"),
        // What is done before a failure would have to stay.
        Some(ResolveType::Fail | ResolveType::Rollback) => None,
    }
}

/// The columns that are set, each to an expression of its own.
fn columns_set(sets: &[Set]) -> Option<Vec<String>> {
    let single = |set: &Set| match &set.col_names[..] {
        [column] => Some(column.as_str().to_owned()),
        _ => None,
    };
    sets.iter().map(single).collect()
}

/// Whether new values may be computed from rows that the statement has changed: SQLite computes those of each row when its turn comes.
fn sees_changes<'e>(
    values: impl Iterator<Item = &'e Expr>,
    with: Option<&With>,
    table: &Table,
    alias: Option<&Name>,
    schema: &Schema,
) -> bool {
    let mut walker = Walker::new(schema);
    let scope = walker.target(table, alias);
    walker.with(with);
    let before = walker.reads.refs.len();
    values.for_each(|value| walker.expr(value, &scope));
    // The first reference is the target.
    let mut read = walker.reads.refs[1..].iter();
    let reads_rows = walker.reads.refs.len() > before;
    let is_it = |name: &str| name.eq_ignore_ascii_case(&table.name);
    let reaches_others = schema.triggers(&table.name).next().is_some()
        || schema
            .tables()
            .any(|other| other.foreign_keys.iter().any(|key| is_it(&key.parent)));
    reads_rows && (reaches_others || read.any(|found| is_it(&found.table)))
}

fn select(
    table: &Table,
    alias: Option<&Name>,
    first: &[String],
    new_values: &[&Expr],
    with: Option<&With>,
    condition: Option<&Expr>,
) -> Option<String> {
    let name = quote_identifier(&table.name);
    let alias = alias.map_or_else(|| name.clone(), |alias| quote_identifier(alias.as_str()));
    let list: Vec<String> = first
        .iter()
        .map(|column| format!("{alias}.{}", quote_identifier(column)))
        .collect();
    let frame = format!("SELECT {} FROM {name} AS {alias}", list.join(", "));
    let Some(Cmd::Stmt(Stmt::Select(mut select))) = statement::parse(&frame) else {
        return None;
    };
    let OneSelect::Select {
        columns,
        where_clause,
        ..
    } = &mut select.body.select
    else {
        return None;
    };
    let values = new_values
        .iter()
        .map(|&value| ResultColumn::Expr(Box::new(value.clone()), None));
    columns.extend(values);
    *where_clause = condition.map(|condition| Box::new(condition.clone()));
    select.with = with.cloned();
    Some(select.to_string())
}
