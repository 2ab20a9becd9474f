//! What a condition says about shard keys: equal to a constant, or to the key of another table.

use turso_parser::ast::{Expr, Operator};

use super::{
    key_expr::KeyExpr,
    scope::{Item, Scope, Walker},
};
use crate::schema::{Table, fold};

/// Which references a condition may speak for.
#[derive(Clone, Copy)]
pub(super) enum Reach {
    /// Rows that fail the condition are gone: all references so far.
    Filter,
    /// The condition of a LEFT JOIN: only those from this item on.
    From(usize),
    /// Nothing: the condition of a RIGHT or FULL JOIN.
    Nothing,
}

impl Walker<'_> {
    /// Notes what a condition that rows must meet says about keys.
    pub(crate) fn filter(&mut self, condition: &Expr, scope: &Scope<'_>) {
        self.condition(condition, scope, Reach::Filter);
    }

    pub(super) fn condition(&mut self, condition: &Expr, scope: &Scope<'_>, reach: Reach) {
        if matches!(reach, Reach::Nothing) {
            return;
        }
        match condition {
            Expr::Parenthesized(inner) if inner.len() == 1 => {
                self.condition(&inner[0], scope, reach)
            }
            Expr::Binary(left, Operator::And, right) => {
                self.condition(left, scope, reach);
                self.condition(right, scope, reach);
            }
            Expr::Binary(left, Operator::Equals, right) => {
                if let (Some(a), Some(b)) = (self.key_of(left, scope), self.key_of(right, scope)) {
                    self.equal(a, b, reach);
                } else {
                    self.pin(condition, scope, reach);
                }
            }
            _ => self.pin(condition, scope, reach),
        }
    }

    fn pin(&mut self, condition: &Expr, scope: &Scope<'_>, reach: Reach) {
        if let Some((found, keys)) = self.keys_in(condition, scope)
            && found.depth == 0
            && found.item >= reach.first()
        {
            let target = &mut self.reads.refs[found.reference];
            if target.pin.is_none() {
                target.pin = Some(keys);
            }
        }
    }

    /// The keys that a condition allows for one reference.
    fn keys_in(&self, condition: &Expr, scope: &Scope<'_>) -> Option<(Found, Vec<KeyExpr>)> {
        match condition {
            Expr::Parenthesized(inner) if inner.len() == 1 => self.keys_in(&inner[0], scope),
            Expr::Binary(left, Operator::Equals, right) => [(left, right), (right, left)]
                .into_iter()
                .find_map(|(key, value)| {
                    Some((self.key_of(key, scope)?, vec![KeyExpr::of(value)?]))
                }),
            // A missing row of an outer join is NULL too; without one, IS is an equality.
            Expr::Binary(left, Operator::Is, right) if !scope.outer_join => {
                [(left, right), (right, left)]
                    .into_iter()
                    .find_map(|(key, value)| {
                        Some((self.key_of(key, scope)?, vec![KeyExpr::of(value)?]))
                    })
            }
            Expr::IsNull(key) if !scope.outer_join => {
                let null = KeyExpr::Constant(shardwright_store::Value::Null);
                Some((self.key_of(key, scope)?, vec![null]))
            }
            Expr::InList {
                lhs,
                not: false,
                rhs,
            } => {
                let keys = rhs
                    .iter()
                    .map(|value| KeyExpr::of(value))
                    .collect::<Option<Vec<_>>>()?;
                Some((self.key_of(lhs, scope)?, keys))
            }
            Expr::Binary(left, Operator::Or, right) => {
                let (found, mut keys) = self.keys_in(left, scope)?;
                let (other, more) = self.keys_in(right, scope)?;
                keys.extend(more);
                (found.reference == other.reference).then_some((found, keys))
            }
            _ => None,
        }
    }

    fn equal(&mut self, a: Found, b: Found, reach: Reach) {
        if !self.share_a_group(a.reference, b.reference) {
            return;
        }
        let first = reach.first();
        match (a.depth, b.depth) {
            (0, 0) => {
                if b.item >= first {
                    self.reads.edges.push((a.reference, b.reference));
                }
                if a.item >= first {
                    self.reads.edges.push((b.reference, a.reference));
                }
            }
            // An outer row's key decides which inner rows matter, not the other way round.
            (0, _) if a.item >= first => self.reads.edges.push((b.reference, a.reference)),
            (_, 0) if b.item >= first => self.reads.edges.push((a.reference, b.reference)),
            _ => {}
        }
    }

    fn share_a_group(&self, a: usize, b: usize) -> bool {
        let group = |reference: usize| {
            let table = self.schema.table(&self.reads.refs[reference].table)?;
            table.shard_key().map(|key| key.group.as_str())
        };
        group(a).is_some() && group(a) == group(b)
    }

    pub(super) fn using(&mut self, column: &str, right: usize, scope: &Scope<'_>, reach: Reach) {
        // USING takes the first table of either side that has the column, be it the key there or not.
        let key = |walker: &Self, items: &[Item], offset: usize| {
            let mut named = items.iter().enumerate().filter_map(|(index, item)| {
                let (reference, name) = item.table.as_ref()?;
                let table = walker.schema.table(name)?;
                Some((index, *reference, table, table.column_index(column)?))
            });
            let (index, reference, table, found) = named.next()?;
            let item = offset + index;
            (found == table.shard_key()?.column).then_some(Found {
                reference,
                item,
                depth: 0,
            })
        };
        // With an item of unknown columns on the left, the name may be its own.
        let left_known = scope.items[..right].iter().all(|item| item.table.is_some());
        let left = key(self, &scope.items[..right], 0);
        let right = key(self, &scope.items[right..], right);
        if let (true, Some(left), Some(right)) = (left_known && !scope.merged, left, right) {
            self.equal(left, right, reach);
        }
    }

    pub(super) fn natural(&mut self, right: usize, scope: &Scope<'_>, reach: Reach) {
        let Some((_, name)) = scope.items.get(right).and_then(|item| item.table.as_ref()) else {
            return;
        };
        let Some(key) = self.schema.table(name).and_then(Table::key_column) else {
            return;
        };
        let column = key.name.clone();
        self.using(&column, right, scope, reach);
    }

    /// The reference whose shard key an expression is.
    fn key_of(&self, expr: &Expr, scope: &Scope<'_>) -> Option<Found> {
        match expr {
            Expr::Parenthesized(inner) if inner.len() == 1 => self.key_of(&inner[0], scope),
            Expr::Id(name) | Expr::Name(name) => self.unqualified(name.as_str(), scope, 0),
            Expr::Qualified(table, column) => {
                self.qualified(table.as_str(), column.as_str(), scope, 0)
            }
            Expr::DoublyQualified(_, table, column) => {
                self.qualified(table.as_str(), column.as_str(), scope, 0)
            }
            _ => None,
        }
    }

    fn qualified(
        &self,
        alias: &str,
        column: &str,
        scope: &Scope<'_>,
        depth: usize,
    ) -> Option<Found> {
        let alias_folded = fold(alias);
        match scope
            .items
            .iter()
            .position(|item| item.alias == alias_folded)
        {
            Some(item) => self.found(item, column, scope, depth),
            None => self.qualified(alias, column, scope.parent?, depth + 1),
        }
    }

    fn unqualified(&self, column: &str, scope: &Scope<'_>, depth: usize) -> Option<Found> {
        let has_column = |item: &Item| {
            let (_, name) = item.table.as_ref()?;
            self.schema.table(name)?.resolve(column)
        };
        let unknown = scope.items.iter().any(|item| item.table.is_none());
        match scope
            .items
            .iter()
            .position(|item| has_column(item).is_some())
        {
            // The name may be the column of an item whose columns are not known, equal by its rules and not by ours.
            Some(_) if scope.using && unknown => None,
            Some(item) if !scope.merged => self.found(item, column, scope, depth),
            Some(_) => None,
            // A subquery, view or CTE in this scope may have the column; then it is not the outer one.
            None if unknown || scope.aliases.contains(&fold(column)) => None,
            None => self.unqualified(column, scope.parent?, depth + 1),
        }
    }

    fn found(&self, item: usize, column: &str, scope: &Scope<'_>, depth: usize) -> Option<Found> {
        let (reference, name) = scope.items[item].table.as_ref()?;
        let table = self.schema.table(name)?;
        (table.resolve(column)? == table.shard_key()?.column).then_some(Found {
            reference: *reference,
            item,
            depth,
        })
    }
}

/// A shard-key column, found in a scope.
#[derive(Clone, Copy)]
struct Found {
    reference: usize,
    item: usize,
    /// How many scopes outwards.
    depth: usize,
}

impl Reach {
    /// The first item of the scope that the condition speaks for.
    fn first(self) -> usize {
        match self {
            Self::Filter => 0,
            Self::From(item) => item,
            Self::Nothing => usize::MAX,
        }
    }
}
