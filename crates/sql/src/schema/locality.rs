//! Whether a trigger does all its work where the row is that fires it.
//!
//! A trigger runs inside the SQLite file that holds the row, and sees nothing else. On a sharded table it must
//! therefore restrict every statement to rows with the row's own key, or to the row itself; it may read reference
//! tables, and must not write to them, because it would change one of the copies.

mod column;

use std::collections::BTreeSet;

use turso_parser::ast::{
    Cmd, Expr, FromClause, JoinConstraint, JoinOperator, JoinType, Name, OneSelect, ResultColumn,
    Select, SelectTable, Set, Stmt, TriggerCmd, Upsert, UpsertDo,
};

use self::column::{
    Equal, Named, alias_name, column_of, conjuncts, cores, key_of, means, row_column,
};
use super::{Schema, Table, TableKind, fold};
use crate::{
    error::Error,
    statement::{
        self,
        ast::{self, Node},
    },
};

/// What a trigger reaches outside of the place of its row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reached {
    /// The tables, as declared; empty if the trigger could not be understood.
    pub tables: Vec<String>,
}

/// Tells whether everything that a trigger reads and writes lives with the row that fires it.
///
/// # Errors
/// [`Reached`] names the tables of which it may touch other rows.
pub fn trigger_reach(schema: &Schema, trigger: &str) -> Result<(), Reached> {
    let Some(Cmd::Stmt(Stmt::CreateTrigger {
        tbl_name,
        when_clause,
        commands,
        ..
    })) = statement::parse(trigger)
    else {
        return Err(Reached::default());
    };
    // What fires on a view is run where the view is written to: on the catalog shard.
    let own = schema.table(tbl_name.name.as_str());
    let mut walk = Walk {
        schema,
        own,
        views: BTreeSet::new(),
        outside: BTreeSet::new(),
    };
    when_clause.iter().for_each(|expr| walk.expr(expr));
    commands.iter().for_each(|command| walk.command(command));
    if walk.outside.is_empty() {
        Ok(())
    } else {
        Err(Reached {
            tables: walk.outside.into_iter().collect(),
        })
    }
}

impl Schema {
    /// Checks that each trigger on a table does all its work where the row is that fires it.
    ///
    /// # Errors
    /// [`Error::TriggerNotLocal`] names the first that does not.
    pub fn check_triggers(&self) -> Result<(), Error> {
        for object in &self.stored().objects {
            let Some(own) = self
                .table(&object.table)
                .filter(|_| object.kind == "trigger")
            else {
                continue;
            };
            if let Err(reached) = trigger_reach(self, &object.sql) {
                return Err(Error::TriggerNotLocal {
                    trigger: object.name.clone(),
                    table: own.name.clone(),
                    reached: reached.tables.first().unwrap_or(&own.name).clone(),
                });
            }
        }
        Ok(())
    }
}

struct Walk<'a> {
    schema: &'a Schema,
    own: Option<&'a Table>,
    /// The views that were walked already.
    views: BTreeSet<String>,
    outside: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    fn command(&mut self, command: &TriggerCmd) {
        match command {
            TriggerCmd::Update {
                tbl_name,
                sets,
                from,
                where_clause,
                ..
            } => {
                self.change(tbl_name, from.as_ref(), where_clause.as_deref());
                self.sets(tbl_name, sets);
            }
            TriggerCmd::Delete {
                tbl_name,
                where_clause,
            } => self.change(tbl_name, None, where_clause.as_deref()),
            TriggerCmd::Insert {
                tbl_name,
                col_names,
                select,
                upsert,
                ..
            } => {
                self.insert(tbl_name, col_names, select);
                self.select(select);
                let mut next = upsert.as_deref();
                while let Some(upsert) = next {
                    self.upsert(tbl_name, upsert);
                    next = upsert.next.as_deref();
                }
            }
            TriggerCmd::Select(select) => self.select(select),
        }
    }

    /// An UPDATE or DELETE.
    fn change(&mut self, target: &Name, from: Option<&FromClause>, filter: Option<&Expr>) {
        let mut tables = Vec::new();
        if let Some(table) = self.written(target.as_str()) {
            tables.push(Named {
                alias: fold(target.as_str()),
                table,
            });
        }
        let mut equal = Vec::new();
        filter.iter().for_each(|expr| conjuncts(expr, &mut equal));
        self.from(from, &mut tables, &mut equal);
        self.judge(&tables, &equal);
        filter.iter().for_each(|expr| self.expr(expr));
    }

    fn sets(&mut self, target: &Name, sets: &[Set]) {
        sets.iter().for_each(|set| self.expr(&set.expr));
        let Some(table) = self.schema.table(target.as_str()) else {
            return;
        };
        let spread: BTreeSet<usize> = table
            .global_constraints()
            .flat_map(|unique| unique.columns.iter().flatten().copied())
            .chain(table.shard_key().map(|key| key.column))
            .collect();
        let changed = sets.iter().flat_map(|set| &set.col_names);
        if changed
            .filter_map(|name| table.resolve(name.as_str()))
            .any(|column| spread.contains(&column))
        {
            self.outside.insert(table.name.clone());
        }
    }

    fn upsert(&mut self, target: &Name, upsert: &Upsert) {
        if let UpsertDo::Set { sets, where_clause } = &upsert.do_clause {
            self.sets(target, sets);
            where_clause.iter().for_each(|expr| self.expr(expr));
        }
    }

    /// An INSERT stays with the row if it gives the key as the row's own, and no constraint needs other shards.
    fn insert(&mut self, target: &Name, columns: &[Name], select: &Select) {
        let Some(table) = self.written(target.as_str()) else {
            return;
        };
        let Some(key) = table.shard_key() else {
            return;
        };
        let position = if columns.is_empty() {
            let stored = table.columns[..key.column]
                .iter()
                .filter(|column| column.generated == super::Generated::Ordinary);
            Some(stored.count())
        } else {
            columns
                .iter()
                .position(|name| table.resolve(name.as_str()) == Some(key.column))
        };
        let local = position.is_some_and(|position| {
            cores(select).all(|core| match core {
                OneSelect::Values(rows) => rows
                    .iter()
                    .all(|row| row.get(position).is_some_and(|expr| self.is_own_key(expr))),
                OneSelect::Select { columns, .. } => columns[..columns.len().min(position + 1)]
                    .iter()
                    .all(|column| matches!(column, ResultColumn::Expr(..)))
                    && matches!(columns.get(position), Some(ResultColumn::Expr(expr, _)) if self.is_own_key(expr)),
            })
        });
        if !local || table.global_constraints().next().is_some() {
            self.outside.insert(table.name.clone());
        }
    }

    /// Judges by kind a table that a statement writes to, and returns it if its rows have to be judged too.
    fn written(&mut self, name: &str) -> Option<&'a Table> {
        let Some(table) = self.schema.table(name) else {
            self.view(name);
            return None;
        };
        let own_is_reference = self.own.is_some_and(|own| own.kind == TableKind::Reference);
        if table.kind == TableKind::Reference && !own_is_reference {
            self.outside.insert(table.name.clone());
        }
        self.kind(table).then_some(table)
    }

    /// Judges by kind a table that a statement reads, and returns whether its rows have to be judged too.
    fn kind(&mut self, table: &Table) -> bool {
        let own = self.own.map(|own| &own.kind);
        let fine = match (&table.kind, own) {
            (TableKind::Reference, _) => return false,
            (TableKind::Global, Some(TableKind::Global) | None) => return false,
            (TableKind::Sharded(key), Some(TableKind::Sharded(own))) => key.group == own.group,
            (TableKind::Global | TableKind::Sharded(_), _) => false,
        };
        if !fine {
            self.outside.insert(table.name.clone());
        }
        fine
    }

    /// Nothing ties the rows of a view to a key, so all its tables must be at hand whole.
    fn view(&mut self, name: &str) {
        if !self.views.insert(fold(name)) {
            return;
        }
        let Some(Cmd::Stmt(Stmt::CreateView { select, .. })) =
            self.schema.view(name).and_then(statement::parse)
        else {
            return;
        };
        self.select(&select);
    }

    fn select(&mut self, select: &Select) {
        for cte in select.with.iter().flat_map(|with| &with.ctes) {
            self.select(&cte.select);
        }
        for core in cores(select) {
            self.core(core);
        }
        let limit = select.limit.iter();
        let exprs =
            select
                .order_by
                .iter()
                .map(|column| &*column.expr)
                .chain(limit.flat_map(|limit| {
                    std::iter::once(&*limit.expr).chain(limit.offset.as_deref())
                }));
        exprs.for_each(|expr| self.expr(expr));
    }

    fn core(&mut self, core: &OneSelect) {
        if let OneSelect::Select {
            from, where_clause, ..
        } = core
        {
            let mut tables = Vec::new();
            let mut equal = Vec::new();
            where_clause
                .iter()
                .for_each(|expr| conjuncts(expr, &mut equal));
            self.from(from.as_ref(), &mut tables, &mut equal);
            self.judge(&tables, &equal);
        }
        let mut exprs = Vec::new();
        ast::core_exprs(core, &mut |expr| exprs.push(expr));
        exprs.into_iter().for_each(|expr| self.expr(expr));
    }

    /// Collects the tables of a FROM clause whose rows have to be judged, and the equalities of its inner joins.
    fn from<'e>(
        &mut self,
        from: Option<&'e FromClause>,
        tables: &mut Vec<Named<'a>>,
        equal: &mut Vec<Equal<'e>>,
    ) {
        let Some(from) = from else { return };
        self.table(&from.select, tables, equal);
        for join in &from.joins {
            let outer = matches!(&join.operator, JoinOperator::TypedJoin(Some(kind))
                if kind.intersects(JoinType::LEFT | JoinType::RIGHT | JoinType::OUTER));
            self.table(&join.table, tables, equal);
            if let Some(JoinConstraint::On(on)) = &join.constraint {
                // The ON of an outer join does not restrict the rows of both sides.
                if !outer {
                    conjuncts(on, equal);
                }
                self.expr(on);
            }
        }
    }

    fn table<'e>(
        &mut self,
        table: &'e SelectTable,
        tables: &mut Vec<Named<'a>>,
        equal: &mut Vec<Equal<'e>>,
    ) {
        match table {
            SelectTable::Table(name, alias, _) => {
                let Some(table) = self.schema.table(name.name.as_str()) else {
                    return self.view(name.name.as_str());
                };
                if self.kind(table) {
                    let alias = alias.as_ref().map_or(name.name.as_str(), alias_name);
                    tables.push(Named {
                        alias: fold(alias),
                        table,
                    });
                }
            }
            SelectTable::TableCall(_, args, _) => args.iter().for_each(|expr| self.expr(expr)),
            SelectTable::Select(select, _) => self.select(select),
            SelectTable::Sub(from, _) => self.from(Some(from), tables, equal),
        }
    }

    /// Walks the subqueries of an expression.
    fn expr(&mut self, expr: &Expr) {
        let mut nested = Vec::new();
        ast::parts(expr, &mut |node| nested.push(node));
        for node in nested {
            match node {
                Node::Expr(expr) => self.expr(expr),
                Node::Select(select) => self.select(select),
                Node::Table(name) => match self.schema.table(name) {
                    Some(table) if self.kind(table) => {
                        self.outside.insert(table.name.clone());
                    }
                    Some(_) => {}
                    None => self.view(name),
                },
            }
        }
    }

    /// Finds which tables are tied to the key of the row, directly or through one another; the others are outside.
    fn judge(&mut self, tables: &[Named<'a>], equal: &[Equal<'_>]) {
        let mut tied = vec![false; tables.len()];
        for (index, named) in tables.iter().enumerate() {
            tied[index] = self.is_own_row(named, tables, equal);
        }
        loop {
            let mut progress = false;
            for (left, right) in equal {
                for (one, other) in [(left, right), (right, left)] {
                    let Some(index) = key_of(one, tables) else {
                        continue;
                    };
                    let given = self.is_own_key(other)
                        || key_of(other, tables).is_some_and(|other| tied[other]);
                    if given && !tied[index] {
                        tied[index] = true;
                        progress = true;
                    }
                }
            }
            if !progress {
                break;
            }
        }
        for (named, _) in tables.iter().zip(tied).filter(|(_, tied)| !tied) {
            self.outside.insert(named.table.name.clone());
        }
    }

    /// Whether only the row itself can qualify: its rowid, or all columns of a unique constraint, are as in NEW or OLD.
    fn is_own_row(&self, named: &Named<'_>, tables: &[Named<'_>], equal: &[Equal<'_>]) -> bool {
        let Some(own) = self.own.filter(|own| own.name == named.table.name) else {
            return false;
        };
        let is = |column: Option<usize>| {
            equal.iter().any(|(left, right)| {
                [(left, right), (right, left)]
                    .into_iter()
                    .any(|(one, other)| {
                        column_of(one, tables).is_some_and(|(table, name)| {
                            std::ptr::eq(table, named)
                                && means(own, name, column)
                                && row_column(other).is_some_and(|name| means(own, name, column))
                        })
                    })
            })
        };
        let rowid = !own.without_rowid && is(None);
        rowid
            || own.unique.iter().any(|unique| {
                !unique.partial
                    && unique
                        .columns
                        .iter()
                        .all(|column| column.is_some() && is(*column))
            })
    }

    /// Whether an expression is the key of the row that fires the trigger.
    fn is_own_key(&self, expr: &Expr) -> bool {
        let Some((own, key)) = self.own.and_then(|own| Some((own, own.shard_key()?))) else {
            return false;
        };
        row_column(expr).is_some_and(|name| own.resolve(name) == Some(key.column))
    }
}
