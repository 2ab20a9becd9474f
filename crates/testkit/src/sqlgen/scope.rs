//! What an expression may refer to: the fields of the sources in FROM, and those of the queries around it.

use crate::{
    sqlgen::{
        column::{Affinity, Collation},
        content::Content,
        name::ident,
        table::Table,
    },
    value::Value,
};
use std::rc::Rc;

/// The form that values of an expression have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Integers.
    Integer,
    /// Text under BINARY.
    Text,
    /// Anything.
    Any,
}

/// A column that an expression may name.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// The bare name, not quoted.
    pub(super) name: String,
    /// How to refer to it.
    pub(super) sql: String,
    pub(super) collation: Collation,
    pub(super) content: Content,
    pub(super) kind: Kind,
    /// Whether equal values may look different.
    pub(super) varied: bool,
    /// Values that occur, by row where the field is a table's.
    pub(super) samples: Rc<Vec<Value>>,
}

impl Field {
    /// The name of its source, quoted, where it is referred to through it.
    pub(super) fn qualifier(&self) -> Option<String> {
        let qualifier = self
            .sql
            .strip_suffix(&ident(&self.name))?
            .strip_suffix('.')?;
        Some(qualifier.to_owned())
    }

    /// A field computed by a query.
    pub(super) fn computed(name: &str, kind: Kind, varied: bool) -> Self {
        Self {
            name: name.to_owned(),
            sql: ident(name),
            collation: Collation::Binary,
            content: Content::Computed,
            kind,
            varied,
            samples: Rc::new(Vec::new()),
        }
    }
}

/// A table, view, subquery or function in FROM.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) fields: Vec<Field>,
    /// Fields that tell its rows apart; empty if nothing is known to.
    pub(super) key: Vec<usize>,
}

impl Source {
    /// `table` with its rows, not yet under a name.
    pub(super) fn of_table(table: &Table, rows: &[Vec<Value>]) -> Self {
        let field = |(index, column): (usize, &super::column::Column)| Field {
            name: column.name.clone(),
            sql: ident(&column.name),
            collation: column.collation,
            content: column.content,
            kind: match column.affinity {
                _ if column.is_varied() => Kind::Any,
                Affinity::Integer if column.content.is_integer() => Kind::Integer,
                Affinity::Text => Kind::Text,
                _ => Kind::Any,
            },
            varied: column.is_varied(),
            samples: Rc::new(rows.iter().map(|row| row[index].clone()).collect()),
        };
        let fields = table.columns.iter().enumerate().map(field).collect();
        Self {
            fields,
            key: table.key_columns(),
        }
    }

    /// The same source with its fields qualified by `alias`, which is quoted already.
    pub(super) fn qualified(mut self, alias: &str) -> Self {
        for field in &mut self.fields {
            field.sql = format!("{alias}.{}", ident(&field.name));
        }
        self
    }
}

/// The sources of one query, inside the scope of the query around it.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) sources: Vec<Source>,
    /// Columns merged by USING or NATURAL, without a qualifier.
    pub(super) merged: Vec<Field>,
    pub(super) outer: Option<&'a Self>,
}

impl<'a> Scope<'a> {
    /// A scope with nothing in it.
    pub(super) fn inside(outer: Option<&'a Self>) -> Self {
        Self {
            sources: Vec::new(),
            merged: Vec::new(),
            outer,
        }
    }

    /// The fields of `scope` without those of the queries around it.
    pub(super) fn of(scope: &Scope<'_>) -> Scope<'static> {
        Scope {
            sources: scope.sources.clone(),
            merged: scope.merged.clone(),
            outer: None,
        }
    }

    /// The fields of `scope` that a query inside it can name without being misunderstood.
    pub(super) fn seen_from_inside(scope: &Scope<'_>) -> Scope<'static> {
        Scope {
            merged: Vec::new(),
            ..Scope::of(scope)
        }
    }

    /// All fields of this query itself.
    pub(super) fn fields(&self) -> Vec<&Field> {
        self.sources
            .iter()
            .flat_map(|source| &source.fields)
            .chain(&self.merged)
            .collect()
    }

    /// References that together tell the joined rows apart, if every source has a key.
    pub(super) fn row_key(&self) -> Option<Vec<String>> {
        let mut key = Vec::new();
        for source in &self.sources {
            if source.key.is_empty() {
                return None;
            }
            key.extend(
                source
                    .key
                    .iter()
                    .map(|&index| source.fields[index].sql.clone()),
            );
        }
        Some(key)
    }
}
