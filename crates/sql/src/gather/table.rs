//! A virtual table over the shards: its declaration, and which of SQLite's conditions it can use.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    ffi::{CStr, CString, c_int},
    sync::Arc,
};

use rusqlite::{
    Connection, Error as SqliteError, ffi,
    vtab::{CreateVTab, IndexInfo, Module, VTab, VTabConnection, VTabKind},
};
use turso_parser::ast::{Cmd, Expr, Stmt};

use super::{
    cursor::Cursor,
    pushdown::{Condition, Operator},
};
use crate::{
    schema::{Collation, Schema, Table, fold, quote_identifier},
    statement,
};

pub(super) const MODULE: &str = "shardwright";

/// What a query planner is told of a table without statistics.
const ROWS_GUESSED: f64 = 1_000_000.0;

/// The tables of a schema, as the module hands them to each virtual table.
#[derive(Debug)]
pub(super) struct Declared {
    schema: Arc<Schema>,
    /// The columns that begin an index, by folded table name.
    indexed: HashMap<String, BTreeSet<usize>>,
}

pub(super) fn register(connection: &Connection, schema: &Arc<Schema>) -> rusqlite::Result<()> {
    const TABLES: Module<'_, ShardedTable> = Module::read_only_module();
    let declared = Declared {
        schema: Arc::clone(schema),
        indexed: indexed(schema),
    };
    connection.create_module(MODULE, &TABLES, Some(Arc::new(declared)))
}

fn indexed(schema: &Schema) -> HashMap<String, BTreeSet<usize>> {
    let mut indexed: HashMap<String, BTreeSet<usize>> = HashMap::new();
    for table in schema.tables() {
        let columns = indexed.entry(fold(&table.name)).or_default();
        columns.extend(
            table
                .unique
                .iter()
                .filter_map(|unique| unique.columns.first().copied().flatten()),
        );
        columns.extend(table.primary_key.first());
    }
    for object in schema
        .stored()
        .objects
        .iter()
        .filter(|object| object.kind == "index")
    {
        if let Some(Cmd::Stmt(Stmt::CreateIndex {
            tbl_name,
            columns,
            where_clause: None,
            ..
        })) = statement::parse(&object.sql)
            && let Some(table) = schema.table(tbl_name.as_str())
            && let Some(Expr::Id(name) | Expr::Name(name)) =
                columns.first().map(|column| &*column.expr)
        {
            let found = table.column_index(name.as_str());
            indexed
                .entry(fold(tbl_name.as_str()))
                .or_default()
                .extend(found);
        }
    }
    indexed
}

/// One virtual table.
#[repr(C)]
pub(super) struct ShardedTable {
    /// SQLite's part. It comes first.
    base: ffi::sqlite3_vtab,
    declared: Arc<Declared>,
    name: String,
}

impl ShardedTable {
    fn table(&self) -> rusqlite::Result<&Table> {
        self.declared
            .schema
            .table(&self.name)
            .ok_or_else(|| SqliteError::ModuleError(format!("no such table: {}", self.name)))
    }

    /// The condition that a constraint is, if a shard could check it.
    fn condition(&self, table: &Table, info: &IndexInfo, index: usize) -> Option<Condition> {
        let constraint = info.constraints().nth(index)?;
        if !constraint.is_usable() {
            return None;
        }
        let operator = Operator::of(constraint.operator())?;
        let column = match usize::try_from(constraint.column()) {
            Ok(column) => column,
            Err(_) => table.rowid_alias?,
        };
        // Past the last column are the hidden names of the rowid; SQLite checks those alone.
        let affinity = table.columns.get(column)?.affinity;
        // SQLite compares the values of IN with a virtual table's column by the column's rules, not by those of both
        // sides. With a numeric column they are the same; otherwise it has to do without the table's help.
        if !affinity.is_numeric() && info.is_in_constraint(index).unwrap_or(true) {
            return None;
        }
        if operator.collates() && table.rowid_alias != Some(column) {
            let collation = info.collation(index).ok().and_then(Collation::from_name)?;
            if collation != table.columns[column].collation {
                return None;
            }
        }
        let constant = matches!(info.rhs_value(index), Ok(Some(_)));
        Some(Condition {
            column,
            operator,
            constant,
        })
    }

    fn estimate(&self, table: &Table, conditions: &[Condition]) -> (f64, i64) {
        let equal = |column: usize| {
            conditions
                .iter()
                .any(|found| found.column == column && found.operator.is_equality())
        };
        let indexed = self.declared.indexed.get(&self.name);
        if table.unique.iter().any(|unique| {
            !unique.partial
                && unique
                    .columns
                    .iter()
                    .all(|column| column.is_some_and(equal))
        }) {
            return (5.0, 1);
        }
        if table.shard_key().is_some_and(|key| equal(key.column)) {
            return (20.0, 10);
        }
        if indexed.is_some_and(|columns| columns.iter().any(|column| equal(*column))) {
            return (100.0, 20);
        }
        let selectivity = conditions.iter().fold(1.0, |left, condition| {
            left * if condition.operator.is_equality() {
                0.01
            } else {
                0.5
            }
        });
        #[expect(clippy::cast_possible_truncation, reason = "a guess")]
        let rows = (ROWS_GUESSED * selectivity) as i64;
        (ROWS_GUESSED * (0.5 + selectivity), rows.max(1))
    }
}

#[expect(
    unsafe_code,
    reason = "rusqlite asks for it: the type begins with SQLite's part and is repr(C)"
)]
unsafe impl<'vtab> VTab<'vtab> for ShardedTable {
    type Aux = Arc<Declared>;
    type Cursor = Cursor;

    fn connect(
        _: &mut VTabConnection,
        aux: Option<&Self::Aux>,
        _module: &[u8],
        _database: &[u8],
        table_name: &[u8],
        _args: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let declared = aux.ok_or_else(|| SqliteError::ModuleError("no schema".to_owned()))?;
        let name = fold(&String::from_utf8_lossy(table_name));
        let this = Self {
            base: ffi::sqlite3_vtab::default(),
            declared: Arc::clone(declared),
            name,
        };
        let declaration = CString::new(declaration(this.table()?))?;
        Ok((Cow::Owned(declaration), this))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        let table = self.table()?;
        let count = info.constraints().count();
        let mut chosen = Vec::new();
        for index in 0..count {
            if let Some(condition) = self.condition(table, info, index) {
                chosen.push(condition);
                let argument = c_int::try_from(chosen.len()).unwrap_or(c_int::MAX);
                info.constraint_usage(index).set_argv_index(argument);
            }
        }
        let (cost, rows) = self.estimate(table, &chosen);
        info.set_estimated_cost(cost);
        info.set_estimated_rows(rows);
        info.set_idx_str(&encode(info.col_used(), &chosen));
        Ok(true)
    }

    fn open(&'vtab mut self) -> rusqlite::Result<Cursor> {
        let table = self.table()?.clone();
        let indexed = self
            .declared
            .indexed
            .get(&self.name)
            .cloned()
            .unwrap_or_default();
        Ok(Cursor::new(table, indexed))
    }
}

impl CreateVTab<'_> for ShardedTable {
    const KIND: VTabKind = VTabKind::Default;
}

/// The columns with their affinity and collation; comparisons depend on nothing else.
///
/// The rowid of a table without an alias of it is a hidden column under each of its names. SQLite's own rowid of a
/// virtual table has to tell rows apart, and two shards may use the same one.
fn declaration(table: &Table) -> String {
    let mut columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            format!(
                "{} {} COLLATE {}",
                quote_identifier(&column.name),
                column.affinity.type_name(),
                column.collation.name()
            )
        })
        .collect();
    if table.rowid_alias.is_none() && !table.without_rowid {
        let names = ["rowid", "_rowid_", "oid"].into_iter();
        let free = names.filter(|name| table.column_index(name).is_none());
        columns.extend(free.map(|name| format!("{name} INTEGER HIDDEN")));
    }
    format!("CREATE TABLE x({})", columns.join(", "))
}

/// Writes the plan of a scan down for the cursor: the columns used, and the conditions in the order of their values.
fn encode(used: u64, conditions: &[Condition]) -> String {
    let mut plan = format!("{used:x}");
    for condition in conditions {
        let operator = Operator::ALL
            .iter()
            .position(|known| *known == condition.operator)
            .unwrap_or(0);
        plan.push_str(&format!(
            ";{},{operator},{}",
            condition.column,
            u8::from(condition.constant)
        ));
    }
    plan
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(plan: &str) -> Option<(u64, Vec<Condition>)> {
    let mut parts = plan.split(';');
    let used = u64::from_str_radix(parts.next()?, 16).ok()?;
    let conditions = parts.map(|part| {
        let mut fields = part.split(',');
        let mut next = || fields.next()?.parse::<usize>().ok();
        let (column, operator, constant) = (next()?, next()?, next()?);
        Some(Condition {
            column,
            operator: *Operator::ALL.get(operator)?,
            constant: constant == 1,
        })
    });
    Some((used, conditions.collect::<Option<Vec<_>>>()?))
}
