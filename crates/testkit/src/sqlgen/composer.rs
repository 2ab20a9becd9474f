//! The state of a statement that is being written.

use crate::{
    dice::Dice,
    sqlgen::{
        rows::TableRows,
        schema::Schema,
        scope::{Field, Kind, Scope, Source},
    },
    statement::Tolerance,
    value::Value,
};
use std::collections::BTreeSet;

/// An expression as SQL.
#[derive(Clone, Debug)]
pub(super) struct Expr {
    pub(super) sql: String,
    pub(super) kind: Kind,
    /// Whether equal values of it may look different.
    pub(super) varied: bool,
}

impl Expr {
    /// A COLLATE anywhere in `sql` may become the collation of the whole, so its equal values may look different.
    pub(super) fn new(sql: impl Into<String>, kind: Kind, varied: bool) -> Self {
        let sql = sql.into();
        let varied = varied || sql.contains(" COLLATE ");
        Self { sql, kind, varied }
    }

    pub(super) fn integer(sql: impl Into<String>) -> Self {
        Self::new(sql, Kind::Integer, false)
    }

    pub(super) fn text(sql: impl Into<String>) -> Self {
        Self::new(sql, Kind::Text, false)
    }

    pub(super) fn field(field: &Field) -> Self {
        Self::new(&field.sql, field.kind, field.varied)
    }
}

/// Writes one statement over a schema and its rows.
#[derive(Debug)]
pub(super) struct Composer<'a> {
    pub(super) dice: &'a mut Dice,
    pub(super) schema: &'a Schema,
    pub(super) rows: &'a [TableRows],
    /// Values of `?1`, `?2`, ... so far; `None` where the statement takes no parameters.
    pub(super) params: Option<Vec<Value>>,
    /// Common table expressions by name.
    pub(super) tables: Vec<(String, Source)>,
    pub(super) tolerance: Tolerance,
    /// How many more subqueries the statement may have.
    pub(super) subqueries: usize,
    bare_names: BTreeSet<String>,
    aliases: usize,
}

impl<'a> Composer<'a> {
    pub(super) fn new(dice: &'a mut Dice, schema: &'a Schema, rows: &'a [TableRows]) -> Self {
        let params = dice.chance(40).then(Vec::new);
        let subqueries = dice.weighted(&[(35, 0), (35, 1), (20, 2), (10, 3)]);
        Self {
            dice,
            schema,
            rows,
            params,
            tables: Vec::new(),
            tolerance: Tolerance::default(),
            subqueries,
            bare_names: BTreeSet::new(),
            aliases: 0,
        }
    }

    /// A name that nothing else in the statement has.
    pub(super) fn alias(&mut self, prefix: &str) -> String {
        self.aliases += 1;
        format!("{prefix}{}", self.aliases)
    }

    /// Whether `name` may stand without an alias: only once, or its columns would be ambiguous.
    pub(super) fn claim_bare(&mut self, name: &str) -> bool {
        self.bare_names.insert(name.to_owned())
    }

    /// Uses up one subquery if any is left.
    pub(super) fn may_nest(&mut self) -> bool {
        let allowed = self.subqueries > 0;
        self.subqueries = self.subqueries.saturating_sub(1);
        allowed
    }

    /// `value` as a literal or as a parameter.
    pub(super) fn constant(&mut self, value: Value) -> String {
        let bind = self.params.is_some() && self.dice.chance(60);
        match &mut self.params {
            Some(params) if bind => {
                params.push(value);
                format!("?{}", params.len())
            }
            _ => value.literal(),
        }
    }

    /// A field of the scope, of an outer one now and then.
    pub(super) fn field(&mut self, scope: &Scope<'_>) -> Option<Field> {
        if let Some(outer) = scope.outer
            && self.dice.chance(20)
            && let Some(field) = self.field(&Scope::seen_from_inside(outer))
        {
            return Some(field);
        }
        let fields = scope.fields();
        (!fields.is_empty()).then(|| (*self.dice.pick(&fields)).clone())
    }

    /// A value to compare `field` with: mostly one that occurs.
    pub(super) fn sample(&mut self, field: &Field) -> Value {
        if !field.samples.is_empty() && self.dice.chance(75) {
            let value = self.dice.pick(&field.samples).clone();
            if value != Value::Null {
                return value;
            }
        }
        field.content.value(self.dice)
    }
}
