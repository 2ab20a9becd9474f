//! Walking the parser's syntax tree.

use turso_parser::ast::{
    Expr, FrameBound, FromClause, FunctionTail, JoinConstraint, OneSelect, Over, ResultColumn,
    Select, SelectTable, SortedColumn, Window,
};

/// A part of an expression that has a meaning of its own.
pub(crate) enum Node<'a> {
    /// A subexpression in the same scope.
    Expr(&'a Expr),
    /// A subquery, whose scope is nested in this one.
    Select(&'a Select),
    /// The table of `x IN table`.
    Table(&'a str),
}

/// Calls `visit` with the direct parts of an expression.
pub(crate) fn parts<'a>(expr: &'a Expr, visit: &mut dyn FnMut(Node<'a>)) {
    match expr {
        Expr::Between {
            lhs, start, end, ..
        } => {
            [lhs, start, end]
                .into_iter()
                .for_each(|expr| visit(Node::Expr(expr)));
        }
        Expr::Binary(lhs, _, rhs) => {
            visit(Node::Expr(lhs));
            visit(Node::Expr(rhs));
        }
        Expr::Case {
            base,
            when_then_pairs,
            else_expr,
        } => {
            base.iter()
                .chain(else_expr)
                .for_each(|expr| visit(Node::Expr(expr)));
            for (when, then) in when_then_pairs {
                visit(Node::Expr(when));
                visit(Node::Expr(then));
            }
        }
        Expr::Cast { expr, .. }
        | Expr::Collate(expr, _)
        | Expr::IsNull(expr)
        | Expr::NotNull(expr)
        | Expr::Unary(_, expr)
        | Expr::FieldAccess { base: expr, .. } => visit(Node::Expr(expr)),
        Expr::Exists(select) | Expr::Subquery(select) => visit(Node::Select(select)),
        Expr::FunctionCall {
            args,
            order_by,
            within_group,
            filter_over,
            ..
        } => {
            each(args, visit);
            sorted(order_by, visit);
            sorted(within_group, visit);
            tail(filter_over, visit);
        }
        Expr::FunctionCallStar { filter_over, .. } => tail(filter_over, visit),
        Expr::InList { lhs, rhs, .. } => {
            visit(Node::Expr(lhs));
            each(rhs, visit);
        }
        Expr::InSelect { lhs, rhs, .. } => {
            visit(Node::Expr(lhs));
            visit(Node::Select(rhs));
        }
        Expr::InTable { lhs, rhs, args, .. } => {
            visit(Node::Expr(lhs));
            visit(Node::Table(rhs.name.as_str()));
            each(args, visit);
        }
        Expr::Like {
            lhs, rhs, escape, ..
        } => {
            visit(Node::Expr(lhs));
            visit(Node::Expr(rhs));
            escape.iter().for_each(|expr| visit(Node::Expr(expr)));
        }
        _ => lesser_parts(expr, visit),
    }
}

/// The parts of the rarer forms.
fn lesser_parts<'a>(expr: &'a Expr, visit: &mut dyn FnMut(Node<'a>)) {
    match expr {
        Expr::Parenthesized(exprs) => each(exprs, visit),
        Expr::Raise(_, message) => message.iter().for_each(|expr| visit(Node::Expr(expr))),
        Expr::Array { elements } => each(elements, visit),
        Expr::Subscript { base, index } => {
            visit(Node::Expr(base));
            visit(Node::Expr(index));
        }
        // Leaves, and the forms above.
        _ => {}
    }
}

/// Replaces the direct parts of an expression. `Err(None)` for one that has parts of other kinds; some may be replaced by then.
///
/// # Errors
/// What `replace` fails with.
pub(crate) fn replace_parts<E>(
    expr: &mut Expr,
    replace: &mut dyn FnMut(&mut Expr) -> Result<(), E>,
) -> Result<(), Option<E>> {
    let parts: Vec<&mut Box<Expr>> = match expr {
        Expr::Between {
            lhs, start, end, ..
        } => vec![lhs, start, end],
        Expr::Binary(lhs, _, rhs) => vec![lhs, rhs],
        Expr::Case {
            base,
            when_then_pairs,
            else_expr,
        } => {
            let pairs = when_then_pairs
                .iter_mut()
                .flat_map(|(when, then)| [when, then]);
            base.iter_mut().chain(pairs).chain(else_expr).collect()
        }
        Expr::Cast { expr, .. }
        | Expr::Collate(expr, _)
        | Expr::IsNull(expr)
        | Expr::NotNull(expr)
        | Expr::Unary(_, expr) => vec![expr],
        Expr::FunctionCall {
            args,
            order_by,
            within_group,
            filter_over,
            ..
        } => {
            let tail = (&filter_over.filter_clause, &filter_over.over_clause);
            if !order_by.is_empty() || !within_group.is_empty() || !matches!(tail, (None, None)) {
                return Err(None);
            }
            args.iter_mut().collect()
        }
        Expr::InList { lhs, rhs, .. } => std::iter::once(lhs).chain(rhs).collect(),
        Expr::Like {
            lhs, rhs, escape, ..
        } => [lhs, rhs].into_iter().chain(escape).collect(),
        Expr::Parenthesized(exprs) => exprs.iter_mut().collect(),
        Expr::Id(_)
        | Expr::Name(_)
        | Expr::Qualified(..)
        | Expr::DoublyQualified(..)
        | Expr::Literal(_)
        | Expr::Variable(_) => Vec::new(),
        _ => return Err(None),
    };
    for part in parts {
        replace(part).map_err(Some)?;
    }
    Ok(())
}

fn each<'a>(exprs: &'a [Box<Expr>], visit: &mut dyn FnMut(Node<'a>)) {
    exprs.iter().for_each(|expr| visit(Node::Expr(expr)));
}

fn sorted<'a>(columns: &'a [SortedColumn], visit: &mut dyn FnMut(Node<'a>)) {
    columns
        .iter()
        .for_each(|column| visit(Node::Expr(&column.expr)));
}

fn tail<'a>(tail: &'a FunctionTail, visit: &mut dyn FnMut(Node<'a>)) {
    tail.filter_clause
        .iter()
        .for_each(|expr| visit(Node::Expr(expr)));
    if let Some(Over::Window(definition)) = &tail.over_clause {
        window(definition, visit);
    }
}

fn window<'a>(window: &'a Window, visit: &mut dyn FnMut(Node<'a>)) {
    window
        .partition_by
        .iter()
        .for_each(|expr| visit(Node::Expr(expr)));
    sorted(&window.order_by, visit);
    let Some(frame) = &window.frame_clause else {
        return;
    };
    for bound in std::iter::once(&frame.start).chain(&frame.end) {
        if let FrameBound::Following(expr) | FrameBound::Preceding(expr) = bound {
            visit(Node::Expr(expr));
        }
    }
}

/// Calls `visit` with every expression of a select core that is evaluated per row or per group, WHERE included and
/// the conditions of joins left out.
pub(crate) fn core_exprs<'a>(core: &'a OneSelect, visit: &mut dyn FnMut(&'a Expr)) {
    match core {
        OneSelect::Values(rows) => rows.iter().flatten().for_each(|expr| visit(expr)),
        OneSelect::Select {
            columns,
            where_clause,
            group_by,
            window_clause,
            ..
        } => {
            for column in columns {
                if let ResultColumn::Expr(expr, _) = column {
                    visit(expr);
                }
            }
            where_clause.iter().for_each(|expr| visit(expr));
            if let Some(group) = group_by {
                group
                    .exprs
                    .iter()
                    .chain(&group.having)
                    .for_each(|expr| visit(expr));
            }
            for definition in window_clause {
                window(&definition.window, &mut |node| {
                    if let Node::Expr(expr) = node {
                        visit(expr);
                    }
                });
            }
        }
    }
}

/// Whether an expression, its subqueries included, satisfies `test` anywhere.
pub(crate) fn any_expr(expr: &Expr, test: &mut dyn FnMut(&Expr) -> bool) -> bool {
    if test(expr) {
        return true;
    }
    let mut found = false;
    parts(expr, &mut |node| {
        found = found
            || match node {
                Node::Expr(expr) => any_expr(expr, test),
                Node::Select(select) => any_in_select(select, test),
                Node::Table(_) => false,
            };
    });
    found
}

/// Whether any expression of a select satisfies `test`.
pub(crate) fn any_in_select(select: &Select, test: &mut dyn FnMut(&Expr) -> bool) -> bool {
    let mut found = false;
    let ctes = select.with.iter().flat_map(|with| &with.ctes);
    for cte in ctes {
        found = found || any_in_select(&cte.select, test);
    }
    let cores = std::iter::once(&select.body.select).chain(
        select
            .body
            .compounds
            .iter()
            .map(|compound| &compound.select),
    );
    for core in cores {
        core_exprs(core, &mut |expr| found = found || any_expr(expr, test));
        if let OneSelect::Select {
            from: Some(from), ..
        } = core
        {
            found = found || any_in_from(from, test);
        }
    }
    let limit = select
        .limit
        .iter()
        .flat_map(|limit| std::iter::once(&limit.expr).chain(&limit.offset));
    for expr in select
        .order_by
        .iter()
        .map(|column| &column.expr)
        .chain(limit)
    {
        found = found || any_expr(expr, test);
    }
    found
}

/// Whether any expression of a FROM clause satisfies `test`.
pub(crate) fn any_in_from(from: &FromClause, test: &mut dyn FnMut(&Expr) -> bool) -> bool {
    let mut found = false;
    for table in std::iter::once(&from.select).chain(from.joins.iter().map(|join| &join.table)) {
        found = found
            || match &**table {
                SelectTable::Table(..) => false,
                SelectTable::TableCall(_, args, _) => args.iter().any(|expr| any_expr(expr, test)),
                SelectTable::Select(select, _) => any_in_select(select, test),
                SelectTable::Sub(from, _) => any_in_from(from, test),
            };
    }
    for join in &from.joins {
        if let Some(JoinConstraint::On(expr)) = &join.constraint {
            found = found || any_expr(expr, test);
        }
    }
    found
}
