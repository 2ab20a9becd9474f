//! Aggregates over rows of several shards: what each shard computes of its own rows, and what becomes of that.

use turso_parser::ast::{
    Distinctness, Expr, FromClause, FunctionTail, GroupBy, Name, OneSelect, QualifiedName,
    ResultColumn, Select, SelectBody, SelectTable, SortedColumn, Type, UnaryOperator,
};

use super::{
    Unscattered,
    columns::{Columns, Shown, ordinal},
    combine::{Combine, PARTS, declaration, name},
    functions, order,
};
use crate::{
    schema::{Collation, fold},
    statement::ast,
};

/// A statement for each shard, and what is made of the rows that they give.
pub(super) struct Grouped {
    pub(super) fragment: Select,
    pub(super) combine: Combine,
}

/// Takes a statement apart whose groups have rows of several shards.
pub(super) fn of(select: &Select, columns: &Columns<'_>) -> Result<Grouped, Unscattered> {
    let OneSelect::Select {
        distinctness,
        columns: results,
        from,
        where_clause,
        group_by,
        ..
    } = &select.body.select
    else {
        return Err("it has rows of its own");
    };
    let mut parts = Parts {
        columns,
        shown: columns.shown(results),
        computed: Vec::new(),
        keys: Vec::new(),
    };
    let (terms, having) = match group_by {
        Some(group) => (&group.exprs[..], group.having.as_ref()),
        None => (&[][..], None),
    };
    for term in terms {
        parts.add_key(columns.meant_by_group(term, results))?;
    }
    let mut shown = Vec::new();
    for result in results {
        let ResultColumn::Expr(expr, alias) = result else {
            return Err("a column is neither in GROUP BY nor in an aggregate");
        };
        let alias = alias.clone().filter(|alias| alias.is_explicit());
        shown.push(ResultColumn::Expr(
            Box::new(parts.rewritten(expr, Names::Columns)?),
            alias,
        ));
    }
    let having = having
        .map(|having| parts.rewritten(having, Names::Aliases))
        .transpose()?;
    let mut order_by = Vec::new();
    for term in &select.order_by {
        order_by.push(parts.term(term)?);
    }
    let fragment = one(OneSelect::Select {
        distinctness: None,
        columns: parts.results(),
        from: from.clone(),
        where_clause: where_clause.clone(),
        group_by: parts.group_by(|key| &key.computed, None),
        window_clause: Vec::new(),
    });
    let mut combined = one(OneSelect::Select {
        distinctness: *distinctness,
        columns: shown,
        from: Some(parts_table()),
        where_clause: None,
        group_by: parts.group_by(|key| &key.meaning, having),
        window_clause: Vec::new(),
    });
    combined.order_by = order_by;
    combined.limit = select.limit.clone();
    let declarations = parts.computed.iter().map(|part| part.declaration.clone());
    let declarations: Vec<String> = declarations.collect();
    Ok(Grouped {
        fragment,
        combine: Combine::new(&declarations, combined.to_string()),
    })
}

/// What the shards compute.
struct Parts<'c> {
    columns: &'c Columns<'c>,
    shown: Vec<Shown>,
    computed: Vec<Part>,
    keys: Vec<Key>,
}

/// A column of the shards' rows.
struct Part {
    expr: Expr,
    declaration: String,
}

/// A term of GROUP BY.
struct Key {
    /// As the shards compute it.
    computed: Expr,
    /// What stands for it in the statement over the table.
    meaning: Expr,
}

/// What a name that is no column of a table may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Columns,
    /// The alias of a column of the result.
    Aliases,
}

impl Parts<'_> {
    /// The columns of the shards' rows.
    fn results(&self) -> Vec<ResultColumn> {
        let computed = self.computed.iter();
        computed
            .map(|part| ResultColumn::Expr(Box::new(part.expr.clone()), None))
            .collect()
    }

    /// The GROUP BY clause of a side, with what is left of HAVING there.
    fn group_by(&self, side: impl Fn(&Key) -> &Expr, having: Option<Expr>) -> Option<GroupBy> {
        let keys = self.keys.iter();
        let exprs: Vec<Box<Expr>> = keys.map(|key| Box::new(side(key).clone())).collect();
        (!exprs.is_empty() || having.is_some()).then(|| GroupBy {
            exprs,
            having: having.map(Box::new),
        })
    }

    fn add_key(&mut self, key: &Expr) -> Result<(), Unscattered> {
        if order::is_constant(key)
            || super::columns::contains_here(key, &mut functions::is_aggregate)
        {
            return Err("a term of GROUP BY is a constant or an aggregate");
        }
        self.columns.check_names(key)?;
        let place = self.computed.len();
        let column = Expr::Id(Name::exact(name(place)));
        let (type_name, collation, meaning) = self.meaning(key, column)?;
        self.computed.push(Part {
            expr: key.clone(),
            declaration: declaration(place, type_name, collation),
        });
        self.keys.push(Key {
            computed: key.clone(),
            meaning,
        });
        Ok(())
    }

    /// What stands for a key whose values are in `column`: something that is compared as the key is.
    fn meaning(
        &self,
        key: &Expr,
        column: Expr,
    ) -> Result<(&'static str, Collation, Expr), Unscattered> {
        const UNCLEAR: Unscattered = "a term of GROUP BY has an unclear collation";
        let named = |expr: &Expr| {
            self.columns
                .named(expr)
                .map(|(table, column)| &self.columns.tables[table].1.columns[column])
        };
        if let Some(found) = named(key) {
            return Ok((found.affinity.type_name(), found.collation, column));
        }
        let own = self.columns.collation(key).ok_or(UNCLEAR)?;
        match key {
            Expr::Parenthesized(inner) if inner.len() == 1 => self.meaning(&inner[0], column),
            Expr::Collate(inner, written) => match named(inner) {
                Some(found) => {
                    let collated = Expr::Collate(Box::new(column), written.clone());
                    Ok((found.affinity.type_name(), own.ok_or(UNCLEAR)?, collated))
                }
                None => Err(UNCLEAR),
            },
            // The collation of a column shows through both.
            Expr::Cast { type_name, .. } => {
                let inner = if own.is_some() {
                    column
                } else {
                    hidden(column)
                };
                Ok(("", own.unwrap_or_default(), cast(inner, type_name.clone())))
            }
            Expr::Unary(UnaryOperator::Positive, _) if own.is_some() => {
                let plus = Expr::Unary(UnaryOperator::Positive, Box::new(column));
                Ok(("", own.unwrap_or_default(), plus))
            }
            _ if own.is_some() => Err(UNCLEAR),
            _ => Ok(("", Collation::Binary, hidden(column))),
        }
    }

    /// A column of the shards' rows; one that is there already is not computed twice.
    fn part(&mut self, expr: Expr, collation: Collation) -> Expr {
        let known = self.computed[self.keys.len()..]
            .iter()
            .position(|part| part.expr == expr);
        let place = known.map_or(self.computed.len(), |known| known + self.keys.len());
        if known.is_none() {
            self.computed.push(Part {
                expr,
                declaration: declaration(place, "", collation),
            });
        }
        Expr::Id(Name::exact(name(place)))
    }

    /// A term of ORDER BY in the statement over the table.
    fn term(&mut self, term: &SortedColumn) -> Result<SortedColumn, Unscattered> {
        let bare = order::bare(&term.expr);
        let is_alias = match bare {
            Expr::Id(name) | Expr::Name(name) => self.is_alias(name),
            _ => false,
        };
        let expr = if is_alias || ordinal(bare).is_some() {
            term.expr.clone()
        } else if order::is_constant(bare) {
            return Err("a term of ORDER BY is a constant");
        } else {
            Box::new(self.rewritten(&term.expr, Names::Aliases)?)
        };
        Ok(SortedColumn {
            expr,
            order: term.order,
            nulls: term.nulls,
        })
    }

    fn is_alias(&self, name: &Name) -> bool {
        let name = fold(name.as_str());
        self.shown
            .iter()
            .any(|shown| shown.alias.as_ref() == Some(&name))
    }

    /// An expression over groups, as one over the rows of the shards.
    fn rewritten(&mut self, expr: &Expr, names: Names) -> Result<Expr, Unscattered> {
        let key = self
            .keys
            .iter()
            .find(|key| self.columns.are_same(&key.computed, expr));
        if let Some(key) = key {
            return Ok(key.meaning.clone());
        }
        if functions::is_aggregate(expr) {
            return self.merged(expr);
        }
        match expr {
            Expr::Id(name) | Expr::Name(name) if self.columns.named(expr).is_none() => {
                if names == Names::Aliases && self.is_alias(name) {
                    return Ok(expr.clone());
                }
                return Err("a term names something else than columns");
            }
            Expr::Id(_) | Expr::Name(_) | Expr::Qualified(..) | Expr::DoublyQualified(..) => {
                return Err("a column is neither in GROUP BY nor in an aggregate");
            }
            // What JSON functions tell one another does not pass through a table.
            Expr::FunctionCall { name, .. } if fold(name.as_str()).starts_with("json") => {
                return Err("a function of JSON is applied to groups");
            }
            Expr::Literal(_) | Expr::Variable(_) => return Ok(expr.clone()),
            _ => {}
        }
        let mut written = expr.clone();
        ast::replace_parts(&mut written, &mut |part| {
            *part = self.rewritten(part, names)?;
            Ok(())
        })
        .map_err(|refusal| {
            refusal.unwrap_or("it computes something over groups that the planner does not know")
        })?;
        Ok(written)
    }

    /// What becomes of an aggregate.
    fn merged(&mut self, aggregate: &Expr) -> Result<Expr, Unscattered> {
        let (function, args) = match aggregate {
            Expr::FunctionCallStar { .. } => ("count".to_owned(), &[][..]),
            Expr::FunctionCall {
                name,
                args,
                order_by,
                ..
            } if order_by.is_empty() => (fold(name.as_str()), &args[..]),
            _ => return Err("an aggregate has an order"),
        };
        let mut parts = Ok(());
        ast::parts(aggregate, &mut |node| {
            let checked = match node {
                ast::Node::Expr(part) => self.columns.check_names(part),
                ast::Node::Select(_) | ast::Node::Table(_) => Err("an aggregate has a subquery"),
            };
            parts = parts.and(checked);
        });
        parts?;
        if is_distinct(aggregate)
            && !matches!(&*function, "min" | "max")
            && !args.first().is_some_and(|arg| self.columns.is_key(arg))
        {
            return Err("an aggregate is over distinct values");
        }
        let mut also =
            |function: &str| self.part(renamed(aggregate, function, 1), Collation::Binary);
        Ok(match &*function {
            "count" => {
                let counted = self.part(aggregate.clone(), Collation::Binary);
                call("shardwright_count", vec![counted])
            }
            "sum" => {
                let parts = vec![also("sum"), also("count")];
                call("shardwright_sum", parts)
            }
            "avg" => {
                let parts = vec![also("total"), also("count")];
                call("shardwright_avg", parts)
            }
            "total" => call("shardwright_total", vec![also("total")]),
            "min" | "max" => {
                let collation = args.first().and_then(|arg| self.columns.collation(arg));
                let collation = collation.ok_or("an aggregate has an unclear collation")?;
                let found = self.part(aggregate.clone(), collation.unwrap_or_default());
                call(&function, vec![found])
            }
            "group_concat" | "string_agg" => {
                let separator = args.get(1).map(|separator| (**separator).clone());
                if !separator.as_ref().is_none_or(|separator| {
                    matches!(separator, Expr::Literal(_) | Expr::Variable(_))
                }) {
                    return Err("the separator of an aggregate is computed");
                }
                let mut all = vec![self.part(aggregate.clone(), Collation::Binary)];
                all.extend(separator);
                call(&function, all)
            }
            _ => return Err("an aggregate is none that the planner knows"),
        })
    }
}

fn is_distinct(aggregate: &Expr) -> bool {
    matches!(
        aggregate,
        Expr::FunctionCall {
            distinctness: Some(Distinctness::Distinct),
            ..
        }
    )
}

/// The same aggregate under another name, with so many of its arguments.
fn renamed(aggregate: &Expr, function: &str, arguments: usize) -> Expr {
    let mut renamed = aggregate.clone();
    if let Expr::FunctionCall { name, args, .. } = &mut renamed {
        *name = Name::exact(function.to_owned());
        args.truncate(arguments);
    }
    renamed
}

fn call(function: &str, args: Vec<Expr>) -> Expr {
    Expr::FunctionCall {
        name: Name::exact(function.to_owned()),
        distinctness: None,
        args: args.into_iter().map(Box::new).collect(),
        order_by: Vec::new(),
        within_group: Vec::new(),
        filter_over: FunctionTail {
            filter_clause: None,
            over_clause: None,
        },
    }
}

/// A column whose affinity and collation do not show.
fn hidden(column: Expr) -> Expr {
    call("ifnull", vec![column, Expr::default()])
}

fn cast(expr: Expr, type_name: Option<Type>) -> Expr {
    Expr::Cast {
        expr: Box::new(expr),
        type_name,
    }
}

fn one(select: OneSelect) -> Select {
    Select {
        with: None,
        body: SelectBody {
            select,
            compounds: Vec::new(),
        },
        order_by: Vec::new(),
        limit: None,
    }
}

/// The FROM clause of the statement over the table.
fn parts_table() -> FromClause {
    let name = QualifiedName {
        db_name: None,
        name: Name::exact(PARTS.to_owned()),
        alias: None,
    };
    FromClause {
        select: Box::new(SelectTable::Table(name, None, None)),
        joins: Vec::new(),
    }
}
