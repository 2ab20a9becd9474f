//! Statements that write. The rows that they leave don't depend on the order in which SQLite visits rows.

use crate::{
    sqlgen::{
        column::Column,
        composer::Composer,
        content::Content,
        name::ident,
        rows::{TableRows, Taken, fresh_row, random_value},
        scope::{Scope, Source},
        table::Table,
    },
    value::Value,
};

impl Composer<'_> {
    /// A random INSERT, UPDATE or DELETE on the table at `index`, whose unique values so far are `taken`.
    pub(super) fn write(&mut self, index: usize, taken: &mut Taken) -> String {
        let table = &self.schema.tables[index];
        let sql = match self
            .dice
            .weighted(&[(30, 0), (10, 1), (14, 2), (28, 3), (18, 4)])
        {
            0 => self.insert(table, "INSERT", taken),
            1 => self.insert_again(table, index),
            2 => self.upsert(table, index, taken),
            3 => self.update(table, index),
            _ => self.delete(table, index),
        };
        let returning = match self.dice.index(6) {
            0 => " RETURNING *".to_owned(),
            1 => format!(
                " RETURNING {} AS r, 1",
                ident(&self.dice.pick(&table.columns).name)
            ),
            _ => String::new(),
        };
        format!("{sql}{returning}")
    }

    pub(super) fn insert(&mut self, table: &Table, verb: &str, taken: &mut Taken) -> String {
        let wanted = self.dice.weighted(&[(60, 1), (40, 4)]);
        let mut rows: Vec<Vec<Value>> = Vec::new();
        for _ in 0..wanted {
            rows.extend(fresh_row(
                table,
                self.rows,
                &TableRows::default(),
                taken,
                self.dice,
            ));
        }
        if rows.is_empty() {
            return self.delete_nothing(table);
        }
        self.insert_rows(table, verb, &rows)
    }

    fn insert_rows(&mut self, table: &Table, verb: &str, rows: &[Vec<Value>]) -> String {
        let columns = table.stored_columns();
        let mut groups = Vec::new();
        for row in rows {
            let mut shown = Vec::new();
            for &column in &columns {
                shown.push(self.constant(row[column].clone()));
            }
            groups.push(format!("({})", shown.join(", ")));
        }
        let (name, names) = (ident(&table.name), table.names(&columns));
        format!("{verb} INTO {name} ({names}) VALUES {}", groups.join(", "))
    }

    /// A row whose key exists already, with a way out of the conflict.
    fn insert_again(&mut self, table: &Table, index: usize) -> String {
        let verb = *self
            .dice
            .pick(&["INSERT OR IGNORE", "INSERT OR REPLACE", "REPLACE", "INSERT"]);
        match self.existing(table, index) {
            Some(row) => self.insert_rows(table, verb, &[row]),
            None => self.delete_nothing(table),
        }
    }

    fn upsert(&mut self, table: &Table, index: usize, taken: &mut Taken) -> String {
        let key = table.key_columns();
        let row = match self.dice.chance(60) {
            true => self.existing(table, index),
            false => fresh_row(table, self.rows, &TableRows::default(), taken, self.dice),
        };
        let settable = settable(table);
        let Some(row) = row.filter(|_| !key.is_empty() && table.uniques.is_empty()) else {
            return self.delete_nothing(table);
        };
        let insert = self.insert_rows(table, "INSERT", &[row]);
        let target = table.names(&key);
        if settable.is_empty() || self.dice.chance(25) {
            return format!("{insert} ON CONFLICT ({target}) DO NOTHING");
        }
        let column = ident(&table.columns[*self.dice.pick(&settable)].name);
        format!("{insert} ON CONFLICT ({target}) DO UPDATE SET {column} = excluded.{column}")
    }

    fn update(&mut self, table: &Table, index: usize) -> String {
        let settable = settable(table);
        if settable.is_empty() {
            return self.delete_nothing(table);
        }
        let condition = self.condition(table, index);
        let column = &table.columns[*self.dice.pick(&settable)];
        let name = ident(&column.name);
        let value = self.assigned(column);
        let value = match self.dice.index(4) {
            0 => {
                let source = Source::of_table(table, &self.rows[index].rows);
                let mut scope = Scope::inside(None);
                scope.sources.push(source);
                format!(
                    "CASE WHEN {} THEN {value} ELSE {name} END",
                    self.predicate(&scope, 1)
                )
            }
            1 if !column.not_null => format!("nullif({name}, {value})"),
            _ => value,
        };
        format!(
            "UPDATE {} SET {name} = {value}{condition}",
            ident(&table.name)
        )
    }

    fn delete(&mut self, table: &Table, index: usize) -> String {
        let condition = self.condition(table, index);
        format!("DELETE FROM {}{condition}", ident(&table.name))
    }

    fn delete_nothing(&mut self, table: &Table) -> String {
        format!("DELETE FROM {} WHERE 0", ident(&table.name))
    }

    fn condition(&mut self, table: &Table, index: usize) -> String {
        let mut scope = Scope::inside(None);
        scope
            .sources
            .push(Source::of_table(table, &self.rows[index].rows));
        let by_key = if self.dice.chance(65) {
            self.key_predicate(&scope)
        } else {
            None
        };
        let predicate = by_key.unwrap_or_else(|| self.predicate(&scope, 1));
        format!(" WHERE {predicate}")
    }

    fn assigned(&mut self, column: &Column) -> String {
        let value = random_value(column, self.dice);
        self.constant(value)
    }

    /// A row with the key of one that exists, and other values.
    fn existing(&mut self, table: &Table, index: usize) -> Option<Vec<Value>> {
        let rows = &self.rows[index].rows;
        if rows.is_empty() || !table.uniques.is_empty() || table.key_columns().is_empty() {
            return None;
        }
        let mut row = self.dice.pick(rows).clone();
        for column in settable(table) {
            row[column] = random_value(&table.columns[column], self.dice);
        }
        Some(row)
    }
}

/// Columns that an UPDATE may set to any value of their kind.
pub(super) fn settable(table: &Table) -> Vec<usize> {
    let key = table.key_columns();
    let bound = |column: &usize| key.contains(column) || table.uniques.concat().contains(column);
    let is_free = |column: &usize| {
        let content = table.columns[*column].content;
        content != Content::Parent && !bound(column)
    };
    table.stored_columns().into_iter().filter(is_free).collect()
}
