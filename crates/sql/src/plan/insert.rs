//! INSERT: each row goes to the shard of its key.

use shardwright_store::Params;
use shardwright_topology::Position;
use turso_parser::ast::{
    Expr, InsertBody, Name, OneSelect, ResolveType, ResultColumn, Select, Stmt, Upsert, UpsertDo,
};

use super::{
    KeyExpr, Routing,
    scope::{RefKind, Walker},
};
use crate::{
    error::Error,
    schema::{Generated, Schema, Table, TableKind, fold},
    statement::ast,
};

/// An INSERT, taken apart as far as its destination depends on it.
#[derive(Debug)]
pub(crate) struct InsertPlan {
    /// The folded name of the table.
    pub(crate) table: String,
    /// The keys of the rows that VALUES lists; `None` where rows come from elsewhere or a key has to be computed.
    keys: Option<Vec<RowKey>>,
    /// The rows as a query, with the WITH clause of the statement.
    pub(crate) rows: Option<String>,
    /// The columns that the rows give values for, in their order.
    pub(crate) columns: Vec<String>,
    /// `INSERT OR ...`, as text to be repeated.
    pub(crate) verb: String,
    /// What follows the rows.
    pub(crate) tail: Tail,
    /// The rule by which conflicts are resolved other than by refusal.
    pub(crate) rule: Option<&'static str>,
    /// Tables that the statement reads.
    pub(crate) reads_rows: bool,
    /// Whether the same text gives the same rows everywhere.
    pub(crate) deterministic: bool,
}

/// The key of one row of VALUES.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RowKey {
    Given(KeyExpr),
    /// Not given: SQLite would choose the next rowid.
    Next,
}

impl InsertPlan {
    pub(crate) fn of(statement: Stmt, schema: &Schema) -> Result<Self, Error> {
        let Stmt::Insert {
            with,
            or_conflict,
            tbl_name,
            columns,
            body,
            returning,
        } = statement
        else {
            unreachable!("the caller has matched the statement")
        };
        let name = tbl_name.name.as_str();
        let table = schema.table(name).ok_or_else(|| no_table(schema, name))?;
        let listed = !columns.is_empty();
        let columns = columns_given(table, &columns);
        let (select, upsert) = match body {
            InsertBody::DefaultValues => (None, None),
            InsertBody::Select(mut select, upsert) => {
                select.with = with.or(select.with);
                (Some(select), upsert)
            }
        };
        check_upsert(table, upsert.as_deref())?;
        let tail = Tail::of(schema, table, upsert.as_deref(), &returning)?;
        let mut walker = Walker::new(schema);
        if let Some(select) = &select {
            walker.select(select, None);
        }
        Ok(Self {
            table: fold(name),
            keys: keys_of(table, &columns, select.as_ref()),
            deterministic: select.as_ref().is_none_or(is_deterministic),
            reads_rows: !walker.reads.refs.is_empty()
                || !walker.reads.unknown.is_empty()
                || walker.reads.temporary.is_some(),
            rows: select.map(|select| select.to_string()),
            columns: if listed || !matches!(table.kind, TableKind::Global) {
                columns
            } else {
                Vec::new()
            },
            verb: verb(or_conflict),
            tail,
            rule: rule(or_conflict, upsert.is_some()),
        })
    }

    /// The one shard of all rows, if every key is plain to see and they agree on it.
    pub(crate) fn shard(
        &self,
        params: &Params<'_>,
        routing: Routing<'_>,
    ) -> Result<Option<usize>, Error> {
        let (Some(keys), Some(table)) = (&self.keys, routing.schema.table(&self.table)) else {
            return Ok(None);
        };
        let mut shard = None;
        for key in keys {
            let RowKey::Given(key) = key else {
                return Ok(None);
            };
            let value = key.value(params)?;
            // A rowid of NULL asks for the next one.
            if routing.canonical(table, value).is_null() && is_next(table) {
                return Ok(None);
            }
            crate::database::refuse_null(table, value)?;
            let found = routing.shard_of(table, value);
            if *shard.get_or_insert(found) != found {
                return Ok(None);
            }
        }
        Ok(shard)
    }

    /// The position of the key of all rows, if it is plain to see and they have the same.
    pub(crate) fn position(
        &self,
        params: &Params<'_>,
        routing: Routing<'_>,
    ) -> Result<Option<Position>, Error> {
        let (Some(keys), Some(table)) = (&self.keys, routing.schema.table(&self.table)) else {
            return Ok(None);
        };
        let mut position = None;
        for key in keys {
            let RowKey::Given(key) = key else {
                return Ok(None);
            };
            let found = routing.position_of(table, key.value(params)?);
            if *position.get_or_insert(found) != found {
                return Ok(None);
            }
        }
        Ok(position.flatten())
    }

    /// The keys of the rows, where all are plain to see.
    pub(crate) fn keys(&self) -> Option<&[RowKey]> {
        self.keys.as_deref()
    }

    /// Whether the statement names the key of every row.
    pub(crate) fn names_keys(&self) -> bool {
        !self.reads_rows
            && self
                .keys
                .as_ref()
                .is_some_and(|keys| !keys.contains(&RowKey::Next))
    }

    /// Whether rows may have to be looked at one by one, because not all keys are plain to see, some may be NULL and
    /// ask for a rowid, or the rows may be on several shards.
    pub(crate) fn may_go_by_row(&self, table: &Table) -> bool {
        let is_plain = |key: &RowKey| match key {
            RowKey::Given(KeyExpr::Constant(value)) => !(value.is_null() && is_next(table)),
            RowKey::Given(_) => !is_next(table),
            RowKey::Next => false,
        };
        match self.keys.as_deref() {
            Some([key]) => self.reads_rows || !is_plain(key),
            Some(_) | None => true,
        }
    }

    /// Whether the rows of the statement come from other tables.
    pub(crate) fn reads(&self) -> bool {
        self.reads_rows
    }
}

/// ON CONFLICT and RETURNING.
#[derive(Debug)]
pub(crate) struct Tail {
    /// As text, to be repeated behind rows by value.
    pub(crate) sql: String,
    /// Whether it has parameters, whose numbers depend on the rows before it.
    pub(crate) has_params: bool,
}

impl Tail {
    fn of(
        schema: &Schema,
        table: &Table,
        upsert: Option<&Upsert>,
        returning: &[ResultColumn],
    ) -> Result<Self, Error> {
        let mut sql = upsert.map_or_else(String::new, |upsert| format!(" {upsert}"));
        let mut exprs: Vec<&Expr> = Vec::new();
        upsert_exprs(upsert, &mut exprs);
        if !returning.is_empty() {
            let list: Vec<String> = returning.iter().map(ToString::to_string).collect();
            sql.push_str(&format!(" RETURNING {}", list.join(", ")));
        }
        exprs.extend(returning.iter().filter_map(|column| match column {
            ResultColumn::Expr(expr, _) => Some(&**expr),
            ResultColumn::Star | ResultColumn::TableStar(_) => None,
        }));
        // These run where the row is, and see no other place.
        let mut walker = Walker::new(schema);
        let scope = walker.target(table, None);
        exprs.iter().for_each(|expr| walker.expr(expr, &scope));
        if let Some(view) = &walker.reads.temporary {
            return Err(super::change::local_view(view));
        }
        let here = |kind| match table.kind {
            TableKind::Sharded(_) | TableKind::Reference => kind == RefKind::Reference,
            TableKind::Global => matches!(kind, RefKind::Reference | RefKind::Global),
        };
        if let Some(other) = walker
            .reads
            .refs
            .iter()
            .skip(1)
            .find(|found| !here(found.kind))
        {
            return Err(Error::NotShardLocal {
                table: table.name.clone(),
                other: other.table.clone(),
            });
        }
        let has_params = exprs
            .iter()
            .any(|expr| ast::any_expr(expr, &mut |expr| matches!(expr, Expr::Variable(_))));
        Ok(Self { sql, has_params })
    }
}

fn upsert_exprs<'a>(upsert: Option<&'a Upsert>, exprs: &mut Vec<&'a Expr>) {
    let Some(upsert) = upsert else { return };
    if let UpsertDo::Set { sets, where_clause } = &upsert.do_clause {
        exprs.extend(sets.iter().map(|set| &*set.expr));
        exprs.extend(where_clause.as_deref());
    }
    exprs.extend(
        upsert
            .index
            .iter()
            .filter_map(|index| index.where_clause.as_deref()),
    );
    upsert_exprs(upsert.next.as_deref(), exprs);
}

/// The columns that the rows give: those listed, or all that are not computed.
fn columns_given(table: &Table, listed: &[Name]) -> Vec<String> {
    if !listed.is_empty() {
        return listed
            .iter()
            .map(|column| column.as_str().to_owned())
            .collect();
    }
    let given = table
        .columns
        .iter()
        .filter(|column| column.generated == Generated::Ordinary);
    given.map(|column| column.name.clone()).collect()
}

/// Whether a missing key is the next rowid.
fn is_next(table: &Table) -> bool {
    table.rowid_alias.is_some() && table.rowid_alias == table.shard_key().map(|key| key.column)
}

fn keys_of(table: &Table, columns: &[String], select: Option<&Select>) -> Option<Vec<RowKey>> {
    // A rowid that SQLite chooses is chosen per shard; it must be drawn from one sequence for all.
    if let Some(alias) = table.rowid_alias
        && !columns
            .iter()
            .any(|column| table.resolve(column) == Some(alias))
    {
        return None;
    }
    let key = table.shard_key()?.column;
    let position = columns
        .iter()
        .position(|column| table.resolve(column) == Some(key))?;
    let select =
        select.filter(|select| select.with.is_none() && select.body.compounds.is_empty())?;
    let OneSelect::Values(rows) = &select.body.select else {
        return None;
    };
    let alias = table
        .rowid_alias
        .and_then(|alias| columns.iter().position(|c| table.resolve(c) == Some(alias)));
    rows.iter()
        .map(|row| {
            if let Some(alias) = alias.filter(|alias| *alias != position) {
                // The rowid is not the key: it must be there, and known not to be NULL.
                match KeyExpr::of(row.get(alias)?)? {
                    KeyExpr::Constant(value) if !value.is_null() => {}
                    _ => return None,
                }
            }
            Some(KeyExpr::of(row.get(position)?).map_or(RowKey::Next, RowKey::Given))
        })
        .collect::<Option<Vec<_>>>()
        .filter(|keys| !keys.contains(&RowKey::Next))
}

fn no_table(schema: &Schema, name: &str) -> Error {
    if schema.view(name).is_some() {
        Error::Unsupported {
            what: format!("writing through the view {name}"),
            hint: "write to the tables that the view reads",
        }
    } else {
        Error::UnknownTable {
            table: name.to_owned(),
        }
    }
}

/// DO UPDATE must leave the key alone: the row would belong elsewhere.
fn check_upsert(table: &Table, upsert: Option<&Upsert>) -> Result<(), Error> {
    let Some(upsert) = upsert else { return Ok(()) };
    if let (UpsertDo::Set { sets, .. }, Some(key)) = (&upsert.do_clause, table.shard_key()) {
        let sets_key = sets
            .iter()
            .flat_map(|set| &set.col_names)
            .any(|column| table.resolve(column.as_str()) == Some(key.column));
        if sets_key {
            return Err(Error::ShardKeyUpdate {
                table: table.name.clone(),
                column: table.columns[key.column].name.clone(),
            });
        }
    }
    check_upsert(table, upsert.next.as_deref())
}

/// Functions whose result differs from call to call, or from place to place.
fn is_deterministic(select: &Select) -> bool {
    const OTHERWISE: &[&str] = &[
        "random",
        "randomblob",
        "changes",
        "total_changes",
        "last_insert_rowid",
        "date",
        "time",
        "datetime",
        "julianday",
        "unixepoch",
        "strftime",
        "timediff",
    ];
    use turso_parser::ast::Literal;
    !ast::any_in_select(select, &mut |expr| match expr {
        Expr::FunctionCall { name, .. } | Expr::FunctionCallStar { name, .. } => {
            OTHERWISE.contains(&fold(name.as_str()).as_str())
        }
        Expr::Literal(literal) => {
            matches!(
                literal,
                Literal::CurrentDate | Literal::CurrentTime | Literal::CurrentTimestamp
            )
        }
        _ => false,
    })
}

fn verb(or_conflict: Option<ResolveType>) -> String {
    match or_conflict {
        None => "INSERT INTO".to_owned(),
        Some(ResolveType::Rollback) => "INSERT OR ROLLBACK INTO".to_owned(),
        Some(ResolveType::Abort) => "INSERT OR ABORT INTO".to_owned(),
        Some(ResolveType::Fail) => "INSERT OR FAIL INTO".to_owned(),
        Some(ResolveType::Ignore) => "INSERT OR IGNORE INTO".to_owned(),
        Some(ResolveType::Replace) => "INSERT OR REPLACE INTO".to_owned(),
    }
}

fn rule(or_conflict: Option<ResolveType>, upsert: bool) -> Option<&'static str> {
    match or_conflict {
        Some(ResolveType::Ignore) => Some("OR IGNORE"),
        Some(ResolveType::Replace) => Some("OR REPLACE"),
        _ if upsert => Some("ON CONFLICT"),
        _ => None,
    }
}
