//! Which tables a statement reads, and what it says about their shard keys.
//!
//! A reference to a sharded table is *pinned* when rows with other keys cannot take part in the result: a condition
//! `key = constant` in WHERE, in ON of an inner join, or in ON of a LEFT JOIN for its right side. A pin spreads along
//! equalities between keys of one group. What is not understood pins nothing, which costs speed and never rows.

use turso_parser::ast::{
    As, Expr, FromClause, JoinConstraint, JoinOperator, JoinType, Name, OneSelect, ResultColumn,
    Select, SelectTable, With,
};

use super::{condition::Reach, key_expr::KeyExpr};
use crate::{
    schema::{Schema, SchemaObject, Table, TableKind, fold},
    statement::{self, ast},
};

/// What every schema has, also that of temporary objects: there are none, and libraries ask.
const SCHEMA_TABLES: [&str; 4] = [
    "sqlite_master",
    "sqlite_schema",
    "sqlite_temp_master",
    "sqlite_temp_schema",
];

/// A reference to a table of the schema.
#[derive(Debug, Clone)]
pub(crate) struct TableRef {
    /// The table's folded name.
    pub(crate) table: String,
    pub(crate) kind: RefKind,
    /// The only keys whose rows matter, if the statement says so. A disjunction of values.
    pub(crate) pin: Option<Vec<KeyExpr>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefKind {
    Sharded,
    Reference,
    Global,
    /// `sqlite_schema` and its aliases, and the table-valued PRAGMA functions.
    Schema,
}

/// What a statement reads.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    pub(crate) refs: Vec<TableRef>,
    /// `(a, b)`: if `a` is pinned, `b` is pinned to the same keys.
    pub(super) edges: Vec<(usize, usize)>,
    /// A temporary view, of which no place knows.
    pub(crate) temporary: Option<String>,
    /// Names that are no table, view or table-valued function known here.
    pub(crate) unknown: Vec<String>,
}

impl Reads {
    /// Spreads pins along the equalities.
    pub(crate) fn spread(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            for &(from, to) in &self.edges {
                if self.refs[to].pin.is_none() && self.refs[from].pin.is_some() {
                    self.refs[to].pin = self.refs[from].pin.clone();
                    changed = true;
                }
            }
        }
    }

    /// The references whose keys equal the key of `start` wherever they matter.
    pub(crate) fn follows(&self, start: usize) -> Vec<bool> {
        let mut reached = vec![false; self.refs.len()];
        reached[start] = true;
        let mut changed = true;
        while changed {
            changed = false;
            for &(from, to) in &self.edges {
                if reached[from] && !reached[to] {
                    reached[to] = true;
                    changed = true;
                }
            }
        }
        reached
    }
}

/// One table, subquery or function of a FROM clause.
pub(super) struct Item {
    pub(super) alias: String,
    /// The reference and the table; `None` where the columns are not known.
    pub(super) table: Option<(usize, String)>,
}

/// The names that an expression can see.
pub(crate) struct Scope<'p> {
    pub(super) items: Vec<Item>,
    pub(super) parent: Option<&'p Self>,
    /// Whether a RIGHT or FULL JOIN may make an unqualified name mean either side.
    pub(super) merged: bool,
    /// Whether USING or NATURAL makes two columns one name.
    pub(super) using: bool,
    pub(super) outer_join: bool,
    /// The folded aliases of the result columns, which hide the columns of outer scopes.
    pub(super) aliases: Vec<String>,
}

impl<'p> Scope<'p> {
    fn nested(parent: Option<&'p Self>) -> Self {
        Self {
            items: Vec::new(),
            parent,
            merged: false,
            using: false,
            outer_join: false,
            aliases: Vec::new(),
        }
    }
}

fn aliases(columns: &[ResultColumn]) -> Vec<String> {
    let alias = |column: &ResultColumn| match column {
        ResultColumn::Expr(_, alias) => alias.as_ref().map(|alias| fold(alias.name().as_str())),
        ResultColumn::Star | ResultColumn::TableStar(_) => None,
    };
    columns.iter().filter_map(alias).collect()
}

/// Walks a statement and collects what it reads.
pub(crate) struct Walker<'s> {
    pub(crate) schema: &'s Schema,
    pub(crate) reads: Reads,
    ctes: Vec<String>,
    views: Vec<String>,
}

impl<'s> Walker<'s> {
    pub(crate) fn new(schema: &'s Schema) -> Self {
        Self {
            schema,
            reads: Reads::default(),
            ctes: Vec::new(),
            views: Vec::new(),
        }
    }

    pub(crate) fn select(&mut self, select: &Select, parent: Option<&Scope<'_>>) {
        let ctes = self.ctes.len();
        self.with(select.with.as_ref());
        let first = self.core(&select.body.select, parent);
        for compound in &select.body.compounds {
            self.core(&compound.select, parent);
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
            self.expr(expr, &first);
        }
        self.ctes.truncate(ctes);
    }

    /// All names of a WITH clause see one another.
    pub(crate) fn with(&mut self, with: Option<&With>) {
        let Some(with) = with else { return };
        self.ctes
            .extend(with.ctes.iter().map(|cte| fold(cte.tbl_name.as_str())));
        for cte in &with.ctes {
            self.select(&cte.select, None);
        }
    }

    pub(super) fn core<'p>(
        &mut self,
        core: &OneSelect,
        parent: Option<&'p Scope<'p>>,
    ) -> Scope<'p> {
        let mut scope = Scope::nested(parent);
        if let OneSelect::Select {
            columns,
            from,
            where_clause,
            ..
        } = core
        {
            scope.aliases = aliases(columns);
            if let Some(from) = from {
                self.from(from, &mut scope);
            }
            if let Some(condition) = where_clause {
                self.condition(condition, &scope, Reach::Filter);
            }
        }
        ast::core_exprs(core, &mut |expr| self.expr(expr, &scope));
        scope
    }

    /// Adds the target of an UPDATE or DELETE, whose WHERE clause sees it.
    pub(crate) fn target<'p>(&mut self, table: &Table, alias: Option<&Name>) -> Scope<'p> {
        let mut scope = Scope::nested(None);
        let alias = alias.map_or_else(|| fold(&table.name), |alias| fold(alias.as_str()));
        self.table(&fold(&table.name), alias, &mut scope);
        scope
    }

    pub(crate) fn from(&mut self, from: &FromClause, scope: &mut Scope<'_>) {
        self.item(&from.select, scope);
        for join in &from.joins {
            let right = scope.items.len();
            self.item(&join.table, scope);
            let (reach, natural) = match join.operator {
                JoinOperator::Comma | JoinOperator::TypedJoin(None) => (Reach::Filter, false),
                JoinOperator::TypedJoin(Some(kind)) => {
                    let natural = kind.contains(JoinType::NATURAL);
                    if kind.contains(JoinType::RIGHT) {
                        scope.merged = true;
                        scope.outer_join = true;
                        (Reach::Nothing, natural)
                    } else if kind.intersects(JoinType::LEFT | JoinType::OUTER) {
                        scope.outer_join = true;
                        (Reach::From(right), natural)
                    } else {
                        (Reach::Filter, natural)
                    }
                }
            };
            match &join.constraint {
                Some(JoinConstraint::On(condition)) => {
                    self.condition(condition, scope, reach);
                    self.expr(condition, scope);
                }
                Some(JoinConstraint::Using(columns)) => {
                    scope.using = true;
                    for column in columns {
                        self.using(column.as_str(), right, scope, reach);
                    }
                }
                None if natural => {
                    scope.using = true;
                    self.natural(right, scope, reach);
                }
                None => {}
            }
        }
    }

    fn item(&mut self, item: &SelectTable, scope: &mut Scope<'_>) {
        let alias_of = |alias: &Option<As>| alias.as_ref().map(|alias| fold(alias.name().as_str()));
        match item {
            SelectTable::Table(name, alias, _) => {
                let table = fold(name.name.as_str());
                let alias = alias_of(alias).unwrap_or_else(|| table.clone());
                if name.db_name.is_none() && self.ctes.contains(&table) {
                    scope.items.push(Item { alias, table: None });
                } else {
                    self.table(&table, alias, scope);
                }
            }
            SelectTable::TableCall(name, args, alias) => {
                let function = fold(name.name.as_str());
                args.iter().for_each(|arg| self.expr(arg, scope));
                if function.starts_with("pragma_") {
                    self.push_ref(&function, RefKind::Schema);
                } else if self.schema.table(&function).is_some() {
                    // Arguments of a virtual table are conditions on its hidden columns.
                    self.table(&function, function.clone(), &mut Scope::nested(None));
                }
                scope.items.push(Item {
                    alias: alias_of(alias).unwrap_or(function),
                    table: None,
                });
            }
            SelectTable::Select(select, alias) => {
                self.select(select, scope.parent);
                scope.items.push(Item {
                    alias: alias_of(alias).unwrap_or_default(),
                    table: None,
                });
            }
            SelectTable::Sub(from, alias) => {
                // Names inside do not see what stands before the parenthesis.
                let mut inner = Scope::nested(scope.parent);
                self.from(from, &mut inner);
                scope.merged |= inner.merged;
                scope.outer_join |= inner.outer_join;
                scope.using |= inner.using;
                match alias_of(alias) {
                    Some(alias) => scope.items.push(Item { alias, table: None }),
                    None => scope.items.append(&mut inner.items),
                }
            }
        }
    }

    fn table(&mut self, name: &str, alias: String, scope: &mut Scope<'_>) {
        let mut known = None;
        if let Some(table) = self.schema.table(name) {
            let kind = match table.kind {
                TableKind::Sharded(_) => RefKind::Sharded,
                TableKind::Reference => RefKind::Reference,
                TableKind::Global => RefKind::Global,
            };
            known = Some((self.push_ref(name, kind), name.to_owned()));
        } else if let Some(view) = self.schema.view(name) {
            self.view(name, view);
        } else if SCHEMA_TABLES.contains(&name) || name.starts_with("pragma_") {
            self.push_ref(name, RefKind::Schema);
        } else if name.starts_with("sqlite_") {
            // sqlite_sequence and the tables of ANALYZE are rows of the catalog.
            self.push_ref(name, RefKind::Global);
        } else if !["json_each", "json_tree", "jsonb_each", "jsonb_tree"].contains(&name) {
            self.reads.unknown.push(name.to_owned());
        }
        scope.items.push(Item {
            alias,
            table: known,
        });
    }

    fn view(&mut self, name: &str, sql: &str) {
        use turso_parser::ast::{Cmd, Stmt};
        if self.views.iter().any(|view| view == name) {
            return;
        }
        let Some(Cmd::Stmt(Stmt::CreateView { select, .. })) = statement::parse(sql) else {
            self.reads.unknown.push(name.to_owned());
            return;
        };
        let is_it = |view: &SchemaObject| view.name.eq_ignore_ascii_case(name);
        if self.schema.temporary_views().iter().any(is_it) {
            self.reads.temporary = Some(name.to_owned());
        }
        self.views.push(name.to_owned());
        // A view does not see the names around it.
        let ctes = std::mem::take(&mut self.ctes);
        self.select(&select, None);
        self.ctes = ctes;
        self.views.pop();
    }

    /// Walks what a view reads.
    pub(crate) fn view_of(&mut self, name: &str) {
        if let Some(sql) = self.schema.view(name) {
            self.view(&fold(name), sql);
        }
    }

    fn push_ref(&mut self, table: &str, kind: RefKind) -> usize {
        self.reads.refs.push(TableRef {
            table: table.to_owned(),
            kind,
            pin: None,
        });
        self.reads.refs.len() - 1
    }

    /// Walks the subqueries of an expression.
    pub(crate) fn expr(&mut self, expr: &Expr, scope: &Scope<'_>) {
        ast::parts(expr, &mut |node| match node {
            ast::Node::Expr(expr) => self.expr(expr, scope),
            ast::Node::Select(select) => self.select(select, Some(scope)),
            ast::Node::Table(name) => {
                let name = fold(name);
                if !self.ctes.contains(&name) {
                    self.table(&name, name.clone(), &mut Scope::nested(None));
                }
            }
        });
    }
}
