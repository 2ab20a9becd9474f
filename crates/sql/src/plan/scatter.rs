//! Reads that each shard answers for its own rows, so that only the answers have to be put together.
//!
//! One reference of the FROM clause *drives*: every row of the answer comes from one row of it, and all other rows that take
//! part have the same key, so they are on its shard. Then the answer is that of each shard over its own rows, all taken together. What
//! is not surely so is left to the gathering tier, with the reason.

mod columns;
mod combine;
mod driver;
mod functions;
mod groups;
mod order;

use std::sync::Arc;

use shardwright_store::{Params, Value, ValueRef};
use turso_parser::ast::{
    Cmd, CompoundOperator, Distinctness, Expr, Limit, Literal, OneSelect, Select, SortedColumn,
    Stmt, UnaryOperator, Variable,
};

use self::{columns::Columns, driver::Driver};
pub(crate) use self::{
    combine::{Combine, PARTS},
    order::Term,
};
use super::{Route, Routing, scope::TableRef};
use crate::{
    error::Error,
    schema::Schema,
    statement::{self, Numbered, ast},
};

/// Why a statement is left to the gathering tier.
pub(crate) type Unscattered = &'static str;

pub(super) const UNKNOWN_FORM: Unscattered =
    "the statement has a form that the planner does not know";

/// How a SELECT over rows of several shards is answered from what each of them makes of it.
#[derive(Debug)]
pub(crate) struct ScatterPlan {
    /// The statement for each shard. Its parameters are those of the original by number, and last the number of rows that matter if there
    /// is a LIMIT.
    pub(crate) fragment: Arc<str>,
    /// The names of the original's parameters.
    parameters: Vec<Option<Box<str>>>,
    /// How many parameters the statement for the shards has.
    used: usize,
    /// For each core of the statement, the reference that decides which shards matter.
    drivers: Vec<TableRef>,
    /// By what the rows of the shards are merged; nothing if their order is free.
    pub(crate) order: Vec<Term>,
    /// How many columns at the end of each row only serve to merge.
    pub(crate) hidden: usize,
    limit: Option<Bound>,
    offset: Option<Bound>,
    /// What the answer is made of the shards' rows by, if it is not these rows.
    pub(crate) combine: Option<Combine>,
}

/// What the rows of the shards are to the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// All together they are the answer.
    Rows,
    /// Of equal ones, there is one in the answer.
    Distinct,
    /// Groups of the answer have rows of several shards.
    Groups,
}

/// How many rows of the merged ones are the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) skip: u64,
    /// `None` if there is no limit.
    pub(crate) take: Option<u64>,
}

/// A number of LIMIT or OFFSET.
#[derive(Debug, Clone, Copy)]
enum Bound {
    Literal(i64),
    /// The parameter of this number.
    Parameter(usize),
}

impl ScatterPlan {
    /// Plans a SELECT.
    pub(super) fn of(sql: &str, schema: &Schema) -> Result<Self, Unscattered> {
        if !matches!(&*schema.stored().encoding, "" | "UTF-8") {
            return Err("the texts are not in UTF-8");
        }
        let Numbered { sql, names } = statement::numbered(sql)
            .ok_or("a parameter has a name that the planner does not know")?;
        let Some(Cmd::Stmt(Stmt::Select(mut select))) = statement::parse(&sql) else {
            return Err(UNKNOWN_FORM);
        };
        if select.with.is_some() {
            return Err("it has a WITH clause");
        }
        if ast::any_in_select(&select, &mut |expr| !functions::is_plain(expr)) {
            return Err("it calls a function that the shards cannot answer for one another");
        }
        let mut drivers = Vec::new();
        let mut arms = Vec::new();
        let mut shapes = Vec::new();
        for core in cores(&select) {
            let Driver { reference, columns } = Driver::of(core, schema)?;
            shapes.push(Shape::of(core, &columns, &select.order_by)?);
            drivers.push(reference);
            arms.push(columns);
        }
        let plan = |fragment: &Select, order: Vec<Term>, combine| Self {
            fragment: fragment.to_string().into(),
            parameters: names.clone(),
            used: 0,
            drivers,
            order,
            hidden: 0,
            limit: None,
            offset: None,
            combine,
        };
        let plan = match Shape::of_all(&select, &shapes)? {
            Shape::Groups => {
                let grouped = groups::of(&select, &arms[0])?;
                plan(&grouped.fragment, Vec::new(), Some(grouped.combine))
            }
            shape => {
                let order = order::of(&mut select, &arms)?;
                let (limit, offset) = bounds(select.limit.as_ref())?;
                let combine = match shape {
                    Shape::Distinct => Some(Combine::of_distinct(&select, &arms, &order)?),
                    Shape::Rows | Shape::Groups => None,
                };
                if limit.is_some() {
                    select.limit = Some(Limit {
                        expr: parameter(names.len() + 1),
                        offset: None,
                    });
                } else if combine.is_some() {
                    select.order_by.clear();
                }
                Self {
                    hidden: order.hidden,
                    limit,
                    offset,
                    ..plan(&select, order.terms, combine)
                }
            }
        };
        let used = statement::numbered(&plan.fragment).map_or(0, |fragment| fragment.names.len());
        Ok(Self { used, ..plan })
    }

    /// The shards whose rows matter, ascending.
    pub(super) fn shards(
        &self,
        params: &Params<'_>,
        routing: Routing<'_>,
    ) -> Result<Vec<usize>, Error> {
        let mut shards = Vec::new();
        for driver in &self.drivers {
            let table = routing.schema.table(&driver.table);
            let table = table.ok_or_else(|| Error::UnknownTable {
                table: driver.table.clone(),
            })?;
            // Keys with homes of their own may be on their way while this is decided; the condition is in the fragment too.
            let pin = driver.pin.as_deref().filter(|_| routing.homes.is_none());
            let route = Route::of(pin, table, params, routing)?;
            shards.extend(route.shards(routing.map.len()));
        }
        shards.sort_unstable();
        shards.dedup();
        Ok(shards)
    }

    /// Which of the merged rows are the answer; `None` if SQLite has to decide what the values mean.
    pub(crate) fn window(&self, params: &Params<'_>) -> Option<Window> {
        let value = |bound: Option<Bound>| match bound {
            None => Some(None),
            Some(bound) => Some(Some(bound.value(self, params)?)),
        };
        let (limit, offset) = (value(self.limit)?, value(self.offset)?);
        Some(Window {
            skip: offset.map_or(0, |offset| u64::try_from(offset).unwrap_or(0)),
            // A negative limit is none.
            take: limit.and_then(|limit| u64::try_from(limit).ok()),
        })
    }

    /// The values for the fragment.
    pub(crate) fn values(&self, params: &Params<'_>, window: Window) -> Result<Vec<Value>, Error> {
        let mut values = self.originals(params)?;
        if self.limit.is_some() {
            let most = window.take.map(|take| take.saturating_add(window.skip));
            let most = most.map_or(-1, |most| i64::try_from(most).unwrap_or(i64::MAX));
            values.push(Value::Integer(most));
        }
        values.truncate(self.used);
        Ok(values)
    }

    /// The values of the parameters of the original, by number.
    pub(crate) fn originals(&self, params: &Params<'_>) -> Result<Vec<Value>, Error> {
        let values = self.parameters.iter().enumerate().map(|(index, name)| {
            let number = index + 1;
            let value = params.value_of(number, name.as_deref());
            Ok(value.ok_or(Error::MissingParameter { number })?.to_value())
        });
        values.collect()
    }
}

impl Bound {
    fn of(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::Parenthesized(inner) if inner.len() == 1 => Self::of(&inner[0]),
            Expr::Literal(Literal::Numeric(digits)) => digits.parse().ok().map(Self::Literal),
            Expr::Unary(UnaryOperator::Negative, inner) => match Self::of(inner)? {
                Self::Literal(value) => value.checked_neg().map(Self::Literal),
                Self::Parameter(_) => None,
            },
            Expr::Variable(variable) => usize::try_from(variable.index.get())
                .ok()
                .map(Self::Parameter),
            _ => None,
        }
    }

    fn value(self, plan: &ScatterPlan, params: &Params<'_>) -> Option<i64> {
        match self {
            Self::Literal(value) => Some(value),
            Self::Parameter(number) => {
                let name = plan.parameters.get(number - 1)?.as_deref();
                params.value_of(number, name).and_then(ValueRef::as_i64)
            }
        }
    }
}

/// The parts of a compound, from the left.
fn cores(select: &Select) -> impl Iterator<Item = &OneSelect> {
    let more = select.body.compounds.iter().map(|part| &part.select);
    std::iter::once(&select.body.select).chain(more)
}

impl Shape {
    /// What the rows of one core are.
    fn of(
        core: &OneSelect,
        columns: &Columns<'_>,
        order: &[SortedColumn],
    ) -> Result<Self, Unscattered> {
        let OneSelect::Select {
            distinctness,
            columns: results,
            group_by,
            window_clause,
            ..
        } = core
        else {
            return Err("it has rows of its own");
        };
        if !window_clause.is_empty() {
            return Err("it has a window");
        }
        let is_distinct = matches!(distinctness, Some(Distinctness::Distinct));
        let by_key = |expr: &Expr| columns.is_key(columns.meant_by_group(expr, results));
        // Rows of one group that have one key are on one shard.
        let spread = match group_by {
            Some(group) => !group.exprs.iter().any(|expr| by_key(expr)),
            None => columns.aggregates(results, order),
        };
        Ok(if spread {
            Self::Groups
        } else if is_distinct
            && !columns
                .shown(results)
                .iter()
                .any(|shown| columns.is_key(&shown.expr))
        {
            Self::Distinct
        } else {
            Self::Rows
        })
    }

    /// What the rows of a statement are, by those of its cores.
    fn of_all(select: &Select, cores: &[Self]) -> Result<Self, Unscattered> {
        let compounds = &select.body.compounds;
        let Some(last) = compounds.last() else {
            return Ok(cores[0]);
        };
        let only = |allowed: &[CompoundOperator]| {
            compounds
                .iter()
                .all(|part| allowed.contains(&part.operator))
        };
        match last.operator {
            CompoundOperator::UnionAll
                if only(&[CompoundOperator::UnionAll])
                    && cores.iter().all(|core| *core == Self::Rows) =>
            {
                Ok(Self::Rows)
            }
            CompoundOperator::Union
                if only(&[CompoundOperator::Union, CompoundOperator::UnionAll])
                    && !cores.contains(&Self::Groups) =>
            {
                Ok(Self::Distinct)
            }
            _ => Err("rows of several shards have to be compared with one another"),
        }
    }
}

fn bounds(limit: Option<&Limit>) -> Result<(Option<Bound>, Option<Bound>), Unscattered> {
    let Some(limit) = limit else {
        return Ok((None, None));
    };
    let bound = |expr| Bound::of(expr).ok_or("its LIMIT is computed");
    let offset = limit
        .offset
        .as_ref()
        .map(|offset| bound(offset))
        .transpose()?;
    Ok((Some(bound(&limit.expr)?), offset))
}

fn parameter(number: usize) -> Box<Expr> {
    let index = u32::try_from(number).unwrap_or(u32::MAX);
    let index = std::num::NonZeroU32::new(index).unwrap_or(std::num::NonZeroU32::MIN);
    Box::new(Expr::Variable(Variable::numbered(index)))
}
