//! Random rows that keep the constraints of their tables.

use crate::{
    dice::Dice,
    sqlgen::{column::Column, content::Content, name::ident, schema::Schema, table::Table},
    value::Value,
};
use std::collections::BTreeSet;

/// How often a value of a unique set is drawn again before its row is given up.
const ATTEMPTS: usize = 8;

/// The rows of one table; computed columns hold NULL here.
#[derive(Clone, Debug, Default)]
pub struct TableRows {
    /// One value per column of the table.
    pub rows: Vec<Vec<Value>>,
}

/// Rows for each table of `schema`, in the order of its tables.
pub(super) fn random_rows(schema: &Schema, dice: &mut Dice) -> Vec<TableRows> {
    let mut all: Vec<TableRows> = Vec::new();
    for table in &schema.tables {
        let count = dice.weighted(&[(8, 0), (8, 1), (50, 12), (26, 25), (8, 40)]);
        let mut taken = Taken::new(table);
        let mut rows = TableRows::default();
        for _ in 0..count {
            if let Some(row) = fresh_row(table, &all, &rows, &mut taken, dice) {
                rows.rows.push(row);
            }
        }
        all.push(rows);
    }
    all
}

/// A row of `table` that no constraint of its own refuses; its foreign keys point to rows of `earlier` tables or of its `own`.
pub(super) fn fresh_row(
    table: &Table,
    earlier: &[TableRows],
    own: &TableRows,
    taken: &mut Taken,
    dice: &mut Dice,
) -> Option<Vec<Value>> {
    for _ in 0..ATTEMPTS {
        let mut row: Vec<Value> = table
            .columns
            .iter()
            .map(|column| random_value(column, dice))
            .collect();
        for key in &table.foreign_keys {
            let parents = &earlier.get(key.parent).unwrap_or(own).rows;
            if parents.is_empty() {
                key.columns
                    .iter()
                    .for_each(|&column| row[column] = Value::Null);
                continue;
            }
            if key.columns.iter().any(|&column| row[column] == Value::Null) {
                continue;
            }
            let parent = dice.pick(parents);
            let wanted = key_of(parent, key.columns.len());
            for (&column, value) in key.columns.iter().zip(wanted) {
                row[column] = value;
            }
        }
        let missing = |(column, value): (&Column, &Value)| column.not_null && *value == Value::Null;
        if !table.columns.iter().zip(&row).any(missing) && taken.claim(&row) {
            return Some(row);
        }
    }
    None
}

/// Keys come first in every table.
fn key_of(row: &[Value], width: usize) -> Vec<Value> {
    row[..width].to_vec()
}

/// A value for `column`, NULL now and then if it may be.
pub(super) fn random_value(column: &Column, dice: &mut Dice) -> Value {
    if column.generated.is_some() {
        return Value::Null;
    }
    let may_be_null = !column.not_null && column.content != Content::RowKey;
    if may_be_null && dice.chance(12) {
        return Value::Null;
    }
    column.content.value(dice)
}

/// INSERT statements for `rows`, each of a few rows; literals or parameters.
pub(super) fn inserts(
    table: &Table,
    rows: &TableRows,
    dice: &mut Dice,
) -> Vec<(String, Vec<Value>)> {
    let columns = table.stored_columns();
    let head = format!(
        "INSERT INTO {} ({}) VALUES ",
        ident(&table.name),
        table.names(&columns)
    );
    let mut statements = Vec::new();
    let mut rest = rows.rows.as_slice();
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(dice.count(1..=6).min(rest.len()));
        rest = after;
        let bind = dice.chance(50);
        let mut params: Vec<Value> = Vec::new();
        let mut groups: Vec<String> = Vec::new();
        for row in batch {
            let mut shown: Vec<String> = Vec::new();
            for &column in &columns {
                if bind {
                    params.push(row[column].clone());
                    shown.push("?".to_owned());
                } else {
                    shown.push(row[column].literal());
                }
            }
            groups.push(format!("({})", shown.join(", ")));
        }
        statements.push((format!("{head}{}", groups.join(", ")), params));
    }
    statements
}

/// One INSERT with literals for each of `rows`.
pub(super) fn single_inserts(table: &Table, rows: &TableRows) -> impl Iterator<Item = String> {
    let columns = table.stored_columns();
    let head = format!(
        "INSERT INTO {} ({})",
        ident(&table.name),
        table.names(&columns)
    );
    rows.rows.iter().map(move |row| {
        let values: Vec<String> = columns
            .iter()
            .map(|&column| row[column].literal())
            .collect();
        format!("{head} VALUES ({})", values.join(", "))
    })
}

/// The values that unique sets of columns hold already, by the form that all their collations share.
pub(super) struct Taken {
    sets: Vec<(Vec<usize>, BTreeSet<Vec<Value>>)>,
}

impl Taken {
    pub(super) fn new(table: &Table) -> Self {
        let key = table.key_columns();
        let sets = table
            .uniques
            .iter()
            .chain((!key.is_empty()).then_some(&key));
        Self {
            sets: sets
                .map(|columns| (columns.clone(), BTreeSet::new()))
                .collect(),
        }
    }

    /// Whether `row` is new to every set; it is added to them then.
    pub(super) fn claim(&mut self, row: &[Value]) -> bool {
        let claims: Vec<Vec<Value>> = self
            .sets
            .iter()
            .map(|(columns, _)| {
                columns
                    .iter()
                    .map(|&column| comparable(&row[column]))
                    .collect()
            })
            .collect();
        let free = self
            .sets
            .iter()
            .zip(&claims)
            .all(|((_, taken), claim)| !taken.contains(claim) || claim.contains(&Value::Null));
        if free {
            for ((_, taken), claim) in self.sets.iter_mut().zip(claims) {
                taken.insert(claim);
            }
        }
        free
    }
}

/// One form for all values that may be equal in some column, numeric text included.
fn comparable(value: &Value) -> Value {
    let number = match value {
        Value::Text(bytes) => std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.trim().parse::<f64>().ok()),
        Value::Integer(integer) => Some(*integer as f64),
        Value::Real(real) => Some(*real),
        Value::Null | Value::Blob(_) => None,
    };
    number.map_or_else(
        || value.folded(),
        |number| Value::Real(number + 0.0).folded(),
    )
}
