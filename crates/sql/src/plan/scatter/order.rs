//! The order of an answer: which columns of the shards' rows decide it, and how they are compared.

use turso_parser::ast::{
    Distinctness, Expr, NullsOrder, OneSelect, ResultColumn, Select, SortOrder, SortedColumn,
};

use super::{
    Unscattered,
    columns::{Columns, Shown, ordinal},
};
use crate::schema::{Collation, fold};

/// A term of ORDER BY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Term {
    /// The column of the shards' rows.
    pub(crate) column: usize,
    pub(crate) collation: Collation,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

/// The terms of a statement.
pub(super) struct Order {
    pub(super) terms: Vec<Term>,
    /// How many columns were added to the statement for them.
    pub(super) hidden: usize,
}

/// Finds the columns that the terms are; a term that is none becomes one more column of the statement.
pub(super) fn of(select: &mut Select, arms: &[Columns<'_>]) -> Result<Order, Unscattered> {
    let mut order = Order {
        terms: Vec::new(),
        hidden: 0,
    };
    if select.order_by.is_empty() {
        return Ok(order);
    }
    let is_compound = !select.body.compounds.is_empty();
    let shown = shown_by_arms(select, arms);
    let first = &shown[0];
    let mut more: Vec<ResultColumn> = Vec::new();
    for term in &select.order_by {
        let bare = bare(&term.expr);
        let written = written_collation(&term.expr)?;
        let column = match place_of(bare, first, &arms[0])? {
            Some(column) => column,
            None if is_compound => return Err("a term of ORDER BY is not in the result"),
            None => {
                arms[0].check_names(bare)?;
                more.push(ResultColumn::Expr(Box::new(bare.clone()), None));
                first.len() + more.len() - 1
            }
        };
        let own = match (written, first.get(column)) {
            (Some(collation), _) => Some(collation),
            (None, Some(_)) => result_collation(column, &shown, arms)?,
            (None, None) => arms[0]
                .collation(bare)
                .ok_or("a term of ORDER BY has an unclear collation")?,
        };
        order
            .terms
            .push(directed(term, column, own.unwrap_or_default()));
    }
    order.hidden = more.len();
    let OneSelect::Select {
        columns,
        distinctness,
        ..
    } = &mut select.body.select
    else {
        return Err("it has rows of its own");
    };
    if order.hidden > 0 && matches!(distinctness, Some(Distinctness::Distinct)) {
        return Err("a term of ORDER BY is not in the result");
    }
    columns.extend(more);
    Ok(order)
}

/// Whether a term is a constant, which SQLite takes for the number of a column in some cases.
pub(super) fn is_constant(term: &Expr) -> bool {
    match term {
        Expr::Parenthesized(inner) if inner.len() == 1 => is_constant(&inner[0]),
        Expr::Unary(_, inner) | Expr::Collate(inner, _) => is_constant(inner),
        Expr::Literal(_) | Expr::Variable(_) => true,
        _ => false,
    }
}

/// The columns of the result, as each part of a compound has them.
pub(super) fn shown_by_arms(select: &Select, arms: &[Columns<'_>]) -> Vec<Vec<Shown>> {
    let shown = |(core, columns): (&OneSelect, &Columns<'_>)| match core {
        OneSelect::Select {
            columns: results, ..
        } => columns.shown(results),
        OneSelect::Values(_) => Vec::new(),
    };
    super::cores(select).zip(arms).map(shown).collect()
}

/// The column of the result that a term names: by number, alias, or as the same column of a table.
fn place_of(
    term: &Expr,
    shown: &[Shown],
    columns: &Columns<'_>,
) -> Result<Option<usize>, Unscattered> {
    if let Some(number) = ordinal(term) {
        let column = number.checked_sub(1).filter(|column| *column < shown.len());
        return column
            .map(Some)
            .ok_or("a term of ORDER BY is a number that no column has");
    }
    if is_constant(term) {
        return Err("a term of ORDER BY is a constant");
    }
    if let Expr::Id(name) | Expr::Name(name) = term {
        let name = fold(name.as_str());
        let by_alias = shown
            .iter()
            .position(|column| column.alias.as_ref() == Some(&name));
        if by_alias.is_some() {
            return Ok(by_alias);
        }
    }
    let named = columns.named(term);
    Ok(shown
        .iter()
        .position(|column| named.is_some() && columns.named(&column.expr) == named))
}

/// The collation of a column of the result: that of the first part of a compound that has one.
pub(super) fn result_collation(
    column: usize,
    shown: &[Vec<Shown>],
    arms: &[Columns<'_>],
) -> Result<Option<Collation>, Unscattered> {
    for (arm, columns) in shown.iter().zip(arms) {
        let expr = &arm
            .get(column)
            .ok_or("the parts of a compound are not equally wide")?
            .expr;
        let own = columns
            .collation(expr)
            .ok_or("a term of ORDER BY has an unclear collation")?;
        if own.is_some() {
            return Ok(own);
        }
    }
    Ok(None)
}

fn directed(term: &SortedColumn, column: usize, collation: Collation) -> Term {
    let descending = matches!(term.order, Some(SortOrder::Desc));
    Term {
        column,
        collation,
        descending,
        nulls_first: match term.nulls {
            Some(NullsOrder::First) => true,
            Some(NullsOrder::Last) => false,
            None => !descending,
        },
    }
}

/// A term without its parentheses and COLLATE.
pub(super) fn bare(term: &Expr) -> &Expr {
    match term {
        Expr::Parenthesized(inner) if inner.len() == 1 => bare(&inner[0]),
        Expr::Collate(inner, _) => bare(inner),
        _ => term,
    }
}

/// The outermost collation that is written down for a term.
fn written_collation(term: &Expr) -> Result<Option<Collation>, Unscattered> {
    match term {
        Expr::Parenthesized(inner) if inner.len() == 1 => written_collation(&inner[0]),
        Expr::Collate(_, name) => {
            let known = Collation::from_name(name.as_str());
            known.map(Some).ok_or("a collation is not known")
        }
        _ => Ok(None),
    }
}
