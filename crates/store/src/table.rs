//! The tables of a file whose rows can be read one by one.

use std::{ops::ControlFlow, rc::Rc};

use crate::{
    Cursor, Error, META_TABLE, Params, Result, Row, Snapshot, Value, identity, writer::quote,
};

/// The names by which SQL knows the rowid, unless columns have taken them.
pub(crate) const ROWID_NAMES: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// A table with rows of its own: neither a view nor a virtual table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name, as the schema spells it.
    pub name: String,
    /// The columns it stores, in order; generated columns are not among them.
    pub columns: Vec<String>,
    /// What tells its rows apart and orders them.
    pub key: RowKey,
}

/// What tells the rows of a table apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowKey {
    /// The rowid, under a name that no column has taken.
    RowId(&'static str),
    /// The primary key of a WITHOUT ROWID table.
    Columns(Vec<KeyColumn>),
}

/// A column of a primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its name.
    pub name: String,
    /// The collation by which the key compares it.
    pub collation: String,
}

/// A range of row keys, open at its lower end and closed at its upper.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// Rows after this key; from the first row if absent.
    pub after: Option<Vec<Value>>,
    /// Rows up to this key and with it; to the last row if absent.
    pub up_to: Option<Vec<Value>>,
}

impl RowKey {
    /// Returns the number of values in a key.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::RowId(_) => 1,
            Self::Columns(columns) => columns.len(),
        }
    }

    /// Returns whether the key has no values, which no table's has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns SQL for each value of the key, with the collation that orders it.
    pub(crate) fn terms(&self) -> Vec<String> {
        match self {
            Self::RowId(name) => vec![(*name).to_owned()],
            Self::Columns(columns) => columns
                .iter()
                .map(|column| {
                    format!(
                        "{} COLLATE {}",
                        quote(&column.name),
                        quote(&column.collation)
                    )
                })
                .collect(),
        }
    }
}

impl Snapshot {
    /// Returns the tables of the file in the order of their names, `sqlite_sequence` among them if it
    /// exists, and without [`SYSTEM_TABLES`](crate::SYSTEM_TABLES).
    ///
    /// # Errors
    ///
    /// What SQLite reports.
    pub fn tables(&self) -> Result<Vec<Table>> {
        let names = self.table_names()?;
        names.iter().map(|name| self.table(name)).collect()
    }

    /// Returns the names of the tables that [`Snapshot::tables`] describes.
    pub(crate) fn table_names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let _all = self.query(
            "SELECT name FROM pragma_table_list WHERE schema = 'main'
             AND type IN ('table', 'shadow') AND name <> 'sqlite_schema' ORDER BY name",
            (),
            |row| {
                names.push(text(row, 0));
                ControlFlow::<()>::Continue(())
            },
        )?;
        names.retain(|name| !identity::is_system(name.as_bytes()));
        Ok(names)
    }

    /// Describes a table.
    ///
    /// # Errors
    ///
    /// [`Error::NoTable`] if there is none of that name with rows of its own, [`Error::NoRowKey`] if its
    /// columns hide each name of the rowid.
    pub fn table(&self, name: &str) -> Result<Table> {
        let (name, without_rowid) = self
            .query_row(
                "SELECT name, wr FROM pragma_table_list WHERE schema = 'main'
                 AND type IN ('table', 'shadow') AND name = ?1 COLLATE NOCASE",
                &[Value::from(name)],
                |row| (text(row, 0), row.get(1).as_i64() == Some(1)),
            )?
            .ok_or_else(|| Error::NoTable {
                table: name.to_owned(),
            })?;
        let (columns, generated) = self.columns_of(&name)?;
        let key = if without_rowid {
            RowKey::Columns(self.primary_key(&name)?)
        } else {
            let taken = |alias: &str| {
                let mut names = columns.iter().chain(&generated);
                names.any(|column| column.eq_ignore_ascii_case(alias))
            };
            ROWID_NAMES
                .into_iter()
                .find(|alias| !taken(alias))
                .map(RowKey::RowId)
                .ok_or_else(|| Error::NoRowKey {
                    table: name.clone(),
                })?
        };
        Ok(Table { name, columns, key })
    }

    /// Describes `_meta`, if it has notes; find them with [`IS_NOTE`](identity::IS_NOTE).
    pub(crate) fn notes(&self) -> Result<Option<Table>> {
        let sql = format!(
            "SELECT 1 FROM main.{META_TABLE} WHERE {} LIMIT 1",
            identity::IS_NOTE
        );
        match self.query_row(&sql, (), |_| ())? {
            Some(()) => self.table(META_TABLE).map(Some),
            None => Ok(None),
        }
    }

    /// Opens a cursor on the rows of a range, in the order of their keys. A row is its key, then its
    /// stored columns. To go on later, scan [`after`](KeyRange::after) the last key seen.
    ///
    /// # Errors
    ///
    /// [`Error::Parameters`] if a bound has not as many values as the key, and what SQLite reports.
    pub fn scan(self: &Rc<Self>, table: &Table, range: &KeyRange) -> Result<Cursor> {
        let terms = table.key.terms();
        let mut conditions = Vec::new();
        let mut bounds = Vec::new();
        for (bound, comparison) in [(&range.after, ">"), (&range.up_to, "<=")] {
            let Some(bound) = bound else { continue };
            if bound.len() != terms.len() {
                return Err(Error::Parameters {
                    expected: terms.len(),
                    given: bound.len(),
                });
            }
            let values = vec!["?"; bound.len()].join(", ");
            conditions.push(format!("({}) {comparison} ({values})", terms.join(", ")));
            bounds.extend_from_slice(bound);
        }
        let mut sql = format!("SELECT {}", row_sql(table, &terms));
        if !conditions.is_empty() {
            sql.push_str(" WHERE ");
            sql.push_str(&conditions.join(" AND "));
        }
        sql.push_str(" ORDER BY ");
        sql.push_str(&terms.join(", "));
        self.cursor(&sql, Params::from(&bounds))
    }

    /// Counts the rows of a table, which reads all of its smallest index.
    ///
    /// # Errors
    ///
    /// What SQLite reports.
    pub fn row_count(&self, table: &str) -> Result<u64> {
        let count = self.query_row(
            &format!("SELECT count(*) FROM main.{}", quote(table)),
            (),
            |row| row.get(0).as_i64(),
        )?;
        Ok(count
            .flatten()
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or(0))
    }

    /// Returns the names of the stored and of the generated columns.
    fn columns_of(&self, table: &str) -> Result<(Vec<String>, Vec<String>)> {
        let (mut stored, mut generated) = (Vec::new(), Vec::new());
        let _all = self.query(
            "SELECT name, hidden FROM pragma_table_xinfo(?1, 'main') ORDER BY cid",
            &[Value::from(table)],
            |row| {
                let name = text(row, 0);
                match row.get(1).as_i64() {
                    Some(0) => stored.push(name),
                    Some(_) | None => generated.push(name),
                }
                ControlFlow::<()>::Continue(())
            },
        )?;
        Ok((stored, generated))
    }

    /// Returns the primary key of a WITHOUT ROWID table.
    fn primary_key(&self, table: &str) -> Result<Vec<KeyColumn>> {
        let mut columns = Vec::new();
        let _all = self.query(
            "SELECT x.name, x.coll FROM pragma_index_list(?1, 'main') AS i,
             pragma_index_xinfo(i.name, 'main') AS x
             WHERE i.origin = 'pk' AND x.key ORDER BY x.seqno",
            &[Value::from(table)],
            |row| {
                columns.push(KeyColumn {
                    name: text(row, 0),
                    collation: text(row, 1),
                });
                ControlFlow::<()>::Continue(())
            },
        )?;
        Ok(columns)
    }
}

/// Returns the result columns and the table of a scan.
pub(crate) fn row_sql(table: &Table, key_terms: &[String]) -> String {
    let columns = key_terms
        .iter()
        .cloned()
        .chain(table.columns.iter().map(|column| quote(column)))
        .collect::<Vec<_>>()
        .join(", ");
    format!("{columns} FROM main.{}", quote(&table.name))
}

fn text(row: &Row<'_>, column: usize) -> String {
    row.get(column).as_str().unwrap_or_default().to_owned()
}
