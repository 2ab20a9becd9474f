//! Whole SELECT statements.

use crate::sqlgen::{
    composer::{Composer, Expr},
    nested::names_a_field,
    query::{Arm, Order, OrderTerm, Query},
    scope::{Kind, Scope},
};

const SUFFIXES: &[&str] = &[
    "",
    "",
    " ASC",
    " DESC",
    " DESC",
    " NULLS LAST",
    " DESC NULLS FIRST",
    " ASC NULLS FIRST",
];

impl Composer<'_> {
    /// A random SELECT.
    pub(super) fn select(&mut self) -> Query {
        let mut query = Query::default();
        if self.dice.chance(18) {
            for _ in 0..self.dice.count(1..=2) {
                let (table, recursive) = self.common_table();
                query.with.push(table);
                query.recursive |= recursive;
            }
        }
        match self.dice.weighted(&[(58, 0), (26, 1), (14, 2), (2, 3)]) {
            0 => self.plain(&mut query),
            1 => self.grouped(&mut query),
            2 => self.compound(&mut query),
            _ => {
                let columns = vec![self.expr(&Scope::inside(None), 2).sql];
                query.arms.push(Arm {
                    columns,
                    ..Arm::default()
                });
            }
        }
        let ordered = !matches!(query.order, Order::Unordered);
        if self.dice.chance(if ordered { 35 } else { 6 }) {
            query.limit = Some(self.dice.count(0..=12) as u64);
            query.offset = if self.dice.chance(40) {
                self.dice.count(0..=6) as u64
            } else {
                0
            };
        }
        query.tolerance = self.tolerance;
        query
    }

    fn plain(&mut self, query: &mut Query) {
        let mut scope = Scope::inside(None);
        let mut arm = Arm {
            from: self.sources(&mut scope),
            ..Arm::default()
        };
        arm.filters = self.filters(&scope);
        arm.distinct = self.dice.chance(12);
        let mut items: Vec<Item> = Vec::new();
        if !arm.distinct && self.dice.chance(18) {
            let all = scope.sources[0].fields[0]
                .qualifier()
                .filter(|_| self.dice.chance(30));
            arm.columns
                .push(all.map_or("*".to_owned(), |qualifier| format!("{qualifier}.*")));
        } else {
            for _ in 0..self.dice.count(1..=4) {
                let windowed = self.dice.chance(8);
                let expr = if windowed {
                    self.window(&scope, &mut arm.windows)
                } else {
                    self.expr(&scope, 2)
                };
                items.push(self.item(expr, windowed));
            }
        }
        arm.columns.extend(items.iter().map(Item::shown));
        if arm.distinct {
            self.tolerance.forms |= items.iter().any(|item| item.expr.varied);
        }
        if self.dice.chance(45) {
            query.order = if arm.distinct || (!items.is_empty() && self.dice.chance(10)) {
                self.every_column(&items)
            } else {
                if items.is_empty() {
                    // What `*` stands for has names that hide the merged columns from ORDER BY.
                    scope.merged.clear();
                }
                let mut terms = self.terms(&scope, &items, false);
                if self.dice.chance(40) {
                    terms.extend(
                        scope
                            .row_key()
                            .unwrap_or_default()
                            .into_iter()
                            .map(plain_term),
                    );
                }
                if terms.is_empty() {
                    Order::Unordered
                } else {
                    Order::Terms(terms)
                }
            };
        }
        query.arms.push(arm);
    }

    fn grouped(&mut self, query: &mut Query) {
        let mut scope = Scope::inside(None);
        let mut arm = Arm {
            from: self.sources(&mut scope),
            ..Arm::default()
        };
        arm.filters = self.filters(&scope);
        let mut items: Vec<Item> = Vec::new();
        let groups = self.dice.weighted(&[(25, 0), (50, 1), (25, 2)]);
        for _ in 0..groups {
            let expr = self.group(&scope);
            let item = self.item(expr, false);
            arm.groups.push(match &item.alias {
                Some(alias) if self.dice.chance(25) => alias.clone(),
                _ if self.dice.chance(15) => (items.len() + 1).to_string(),
                _ => item.expr.sql.clone(),
            });
            self.tolerance.forms |= item.expr.varied;
            items.push(item);
        }
        for _ in 0..self.dice.count(1..=3) {
            let before = self.tolerance.rounding;
            let expr = self.aggregate(&scope);
            let rounded = self.tolerance.rounding && !before;
            items.push(self.item(expr, rounded || before));
        }
        arm.columns.extend(items.iter().map(Item::shown));
        if groups > 0 && self.dice.chance(30) {
            let value = self.nested_aggregate(&scope).sql;
            let comparison = *self.dice.pick(&[">", "<", ">=", "<>", "IS NOT"]);
            let constant = self.leaf(&Scope::inside(None)).sql;
            arm.having = Some(format!("{value} {comparison} {constant}"));
        }
        if groups > 0 && self.dice.chance(50) {
            let terms = self.terms(&scope, &items, true);
            if !terms.is_empty() {
                query.order = Order::Terms(terms);
            }
        }
        query.arms.push(arm);
    }

    /// A grouping; of values that may look different in some cases, and then the answer tolerates it.
    fn group(&mut self, scope: &Scope<'_>) -> Expr {
        match self.field(scope) {
            Some(field) if self.dice.chance(65) => Expr::field(&field),
            _ => self.grouping(scope),
        }
    }

    fn compound(&mut self, query: &mut Query) {
        let width = self.dice.count(1..=3);
        let kinds: Vec<Kind> = (0..width)
            .map(|_| *self.dice.pick(&[Kind::Integer, Kind::Text, Kind::Any]))
            .collect();
        let mut items = Vec::new();
        for position in 0..self.dice.weighted(&[(80, 2), (20, 3)]) {
            let mut scope = Scope::inside(None);
            let mut arm = Arm {
                from: self.sources(&mut scope),
                ..Arm::default()
            };
            arm.filters = self.filters(&scope);
            let mut own = Vec::new();
            for &kind in &kinds {
                let expr = match kind {
                    Kind::Any => Expr {
                        varied: true,
                        ..self.expr(&scope, 1)
                    },
                    Kind::Integer | Kind::Text => self.of_kind(&scope, kind),
                };
                own.push(self.item(expr, false));
            }
            arm.columns = own.iter().map(Item::shown).collect();
            if position == 0 {
                items = own;
            } else {
                arm.operator =
                    *self
                        .dice
                        .pick(&[" UNION ", " UNION ALL ", " EXCEPT ", " INTERSECT "]);
            }
            query.arms.push(arm);
        }
        self.tolerance.forms |= kinds.contains(&Kind::Any);
        if self.dice.chance(50) {
            query.order = self.every_column(&items);
        }
    }

    fn filters(&mut self, scope: &Scope<'_>) -> Vec<String> {
        let mut filters = Vec::new();
        if self.dice.chance(35) {
            filters.extend(self.key_predicate(scope));
        }
        for _ in 0..self.dice.weighted(&[(45, 0), (40, 1), (15, 2)]) {
            filters.push(self.predicate(scope, 2));
        }
        filters
    }

    fn item(&mut self, expr: Expr, bound: bool) -> Item {
        let alias = match self.dice.index(10) {
            0..4 => None,
            4 => Some(format!("\"{}\"", self.alias("Total "))),
            _ => Some(self.alias("c")),
        };
        Item { expr, alias, bound }
    }

    fn every_column(&mut self, items: &[Item]) -> Order {
        self.tolerance.forms |= items.iter().any(|item| item.expr.varied);
        Order::EveryColumn(
            items
                .iter()
                .map(|_| (*self.dice.pick(SUFFIXES)).to_owned())
                .collect(),
        )
    }

    /// One to three terms: result columns by alias, position or expression, and other expressions.
    fn terms(&mut self, scope: &Scope<'_>, items: &[Item], grouped: bool) -> Vec<OrderTerm> {
        let mut terms = Vec::new();
        for _ in 0..self.dice.count(1..=3) {
            let suffix = (*self.dice.pick(SUFFIXES)).to_owned();
            let usable = |item: &&Item| !item.bound && names_a_field(&item.expr, scope);
            let candidates: Vec<&Item> = items.iter().filter(usable).collect();
            if !candidates.is_empty() && (grouped || self.dice.chance(50)) {
                let item = *self.dice.pick(&candidates);
                let meaning = item.expr.sql.clone();
                let position = items.iter().position(|other| std::ptr::eq(other, item));
                let shown = match (&item.alias, position, self.dice.index(3)) {
                    (Some(alias), _, 0) => alias.clone(),
                    (_, Some(position), 1) => (position + 1).to_string(),
                    _ => meaning.clone(),
                };
                terms.push(OrderTerm {
                    shown,
                    meaning,
                    suffix,
                });
            } else if !grouped {
                let expr = self.expr(scope, 1);
                if names_a_field(&expr, scope) {
                    let collate =
                        *self
                            .dice
                            .pick(&["", "", "", " COLLATE NOCASE", " COLLATE RTRIM"]);
                    let meaning = format!("{}{collate}", expr.sql);
                    terms.push(OrderTerm {
                        shown: meaning.clone(),
                        meaning,
                        suffix,
                    });
                }
            }
        }
        terms
    }
}

fn plain_term(sql: String) -> OrderTerm {
    OrderTerm {
        shown: sql.clone(),
        meaning: sql,
        suffix: String::new(),
    }
}

/// A result column.
struct Item {
    expr: Expr,
    alias: Option<String>,
    /// Whether ORDER BY must not name it, because it is a window or depends on rounding.
    bound: bool,
}

impl Item {
    fn shown(&self) -> String {
        match &self.alias {
            Some(alias) => format!("{} AS {alias}", self.expr.sql),
            None => self.expr.sql.clone(),
        }
    }
}
