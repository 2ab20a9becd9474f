//! The reference from which every row of an answer comes.

use turso_parser::ast::{
    Expr, FromClause, JoinConstraint, JoinOperator, JoinType, OneSelect, SelectTable,
};

use super::{
    super::scope::{RefKind, Scope, TableRef, Walker},
    Columns, UNKNOWN_FORM, Unscattered,
};
use crate::{
    schema::{Schema, is_rowid_name},
    statement::ast,
};

/// What a core reads, where one reference decides on which shard each of its rows arises.
pub(super) struct Driver<'s> {
    pub(super) reference: TableRef,
    pub(super) columns: Columns<'s>,
}

impl<'s> Driver<'s> {
    pub(super) fn of(core: &OneSelect, schema: &'s Schema) -> Result<Self, Unscattered> {
        let OneSelect::Select {
            from: Some(from), ..
        } = core
        else {
            return Err("it has rows of its own");
        };
        let optional = optional_items(from)?;
        let mut walker = Walker::new(schema);
        let items = {
            let scope: Scope<'_> = walker.core(core, None);
            scope.items
        };
        let mut reads = walker.reads;
        reads.spread();
        if !reads.unknown.is_empty() || reads.temporary.is_some() {
            return Err(UNKNOWN_FORM);
        }
        let kinds = |kinds: &[RefKind]| reads.refs.iter().any(|found| kinds.contains(&found.kind));
        if kinds(&[RefKind::Global, RefKind::Schema]) {
            return Err("a global table and a sharded one are read together");
        }
        let mut tables = Vec::new();
        for item in &items {
            let (_, name) = item
                .table
                .as_ref()
                .ok_or("FROM has a view, a subquery or a function")?;
            let table = schema
                .table(name)
                .ok_or("FROM has a table that is not known")?;
            if table.module.is_some() {
                return Err("it reads a virtual table");
            }
            tables.push((item.alias.clone(), table));
        }
        // The copies of a reference table may have other rowids.
        let rowid = |expr: &Expr| match expr {
            Expr::Id(name)
            | Expr::Name(name)
            | Expr::Qualified(_, name)
            | Expr::DoublyQualified(_, _, name) => is_rowid_name(name.as_str()),
            _ => false,
        };
        if kinds(&[RefKind::Reference]) && in_core(core, &mut { rowid }) {
            return Err("the copies of a reference table may have other rowids");
        }
        let drives = |item: &usize| {
            let Some((reference, _)) = &items[*item].table else {
                return false;
            };
            let reached = reads.follows(*reference);
            let all = reads.refs.iter().zip(reached);
            !optional[*item]
                && reads.refs[*reference].kind == RefKind::Sharded
                && all
                    .into_iter()
                    .all(|(found, reached)| reached || found.kind != RefKind::Sharded)
        };
        let driver = (0..items.len())
            .find(drives)
            .ok_or("its tables are not joined by their keys")?;
        let reference = items[driver]
            .table
            .as_ref()
            .map_or(0, |(reference, _)| *reference);
        Ok(Self {
            reference: reads.refs.swap_remove(reference),
            columns: Columns { tables, driver },
        })
    }
}

/// For each table of a FROM clause whether rows of the answer may do without it.
fn optional_items(from: &FromClause) -> Result<Vec<bool>, Unscattered> {
    let is_table = |item: &SelectTable| matches!(item, SelectTable::Table(..));
    let mut optional = vec![false];
    let mut plain = is_table(&from.select);
    for join in &from.joins {
        plain &= is_table(&join.table);
        if matches!(join.constraint, Some(JoinConstraint::Using(_))) {
            return Err("tables are joined with USING");
        }
        optional.push(match join.operator {
            JoinOperator::Comma | JoinOperator::TypedJoin(None) => false,
            JoinOperator::TypedJoin(Some(kind)) => {
                if kind.intersects(JoinType::NATURAL | JoinType::RIGHT) {
                    return Err("tables are joined with NATURAL, RIGHT or FULL");
                }
                kind.intersects(JoinType::LEFT | JoinType::OUTER)
            }
        });
    }
    if plain {
        Ok(optional)
    } else {
        Err("FROM has a view, a subquery or a function")
    }
}

fn in_core(core: &OneSelect, test: &mut dyn FnMut(&Expr) -> bool) -> bool {
    let mut found = false;
    ast::core_exprs(core, &mut |expr| found = found || ast::any_expr(expr, test));
    if let OneSelect::Select {
        from: Some(from), ..
    } = core
    {
        found = found || ast::any_in_from(from, test);
    }
    found
}
