//! The tables of the file, as capture and apply need to know them.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::c_int,
    ops::ControlFlow,
    sync::Arc,
};

use crate::{
    ChangedKey, Error, Params, Result, Row, Value, connection::Connection, identity,
    table::ROWID_NAMES, writer::quote,
};

/// The tables with rows of their own, and the primary keys of those WITHOUT ROWID.
pub(crate) type TableNames = HashMap<Box<str>, Option<Arc<[c_int]>>>;

/// The tables of one version of the schema.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// SQLite's counter of changes of the schema, unless nothing was read yet.
    version: Option<i64>,
    names: Arc<TableNames>,
    defs: BTreeMap<Box<str>, Arc<TableDef>>,
    has_sequences: bool,
    has_virtual: bool,
    has_foreign_keys: bool,
}

/// A table whose rows are captured or applied.
#[derive(Debug)]
pub(crate) struct TableDef {
    pub(crate) name: String,
    pub(crate) key: ChangedKey,
    /// The names of the stored columns.
    pub(crate) columns: Vec<String>,
    /// How the hook shows them, one after another.
    pub(crate) announced: Vec<AnnouncedColumn>,
    /// Reads a row by its key.
    pub(crate) select_sql: String,
    /// Reads the rows from one rowid to another, in their order, and their rowids behind the stored columns; none WITHOUT ROWID.
    pub(crate) range_sql: Option<String>,
    /// `WHERE`, and the key's columns compared with the first parameters.
    pub(crate) where_sql: String,
    /// The rowid's name, if it is the key.
    pub(crate) rowid_name: Option<&'static str>,
}

/// A stored column, as the hook shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnnouncedColumn {
    /// Where it stands among all columns of the table.
    pub(crate) position: usize,
    /// Whether SQLite stores it as an integer where it can, and shows it as a real.
    pub(crate) is_real: bool,
    /// Whether it has another default than NULL.
    pub(crate) has_default: bool,
    /// Whether it is the rowid under a name of its own.
    pub(crate) is_rowid: bool,
}

impl Tables {
    /// Reads the schema again if it has changed.
    pub(crate) fn refresh(&mut self, connection: &Connection) -> Result<()> {
        let version = schema_version(connection)?;
        if self.version == Some(version) {
            return Ok(());
        }
        let mut names = TableNames::new();
        let mut keyed = Vec::new();
        self.has_sequences = false;
        self.has_virtual = false;
        self.defs.clear();
        self.version = None;
        let _all = connection.query(
            "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main'
             AND type IN ('table', 'shadow', 'virtual') AND name <> 'sqlite_schema'",
            Params::NONE,
            |row| {
                let name = text(row, 0);
                if row.get(1).as_str() == Some("virtual") {
                    self.has_virtual = true;
                } else if name == "sqlite_sequence" {
                    self.has_sequences = true;
                } else if !name.starts_with("sqlite_") && identity::has_client_rows(name.as_bytes())
                {
                    if row.get(2).as_i64() == Some(1) {
                        keyed.push(name);
                    } else {
                        names.insert(name.into(), None);
                    }
                }
                ControlFlow::<()>::Continue(())
            },
        )?;
        for name in keyed {
            let columns = key_columns(connection, &name)?;
            let positions: Vec<c_int> = columns.iter().map(|column| column.position).collect();
            names.insert(name.into(), Some(positions.into()));
        }
        self.has_foreign_keys = connection
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM pragma_table_list AS t, pragma_foreign_key_list(t.name)
                 WHERE t.schema = 'main')",
                Params::NONE,
                |row| row.get(0).as_i64(),
            )?
            .flatten()
            != Some(0);
        self.names = Arc::new(names);
        self.version = Some(version);
        Ok(())
    }

    /// Has the schema read again: a transaction was undone, and the next schema may have the version that was read in it.
    pub(crate) fn forget_version(&mut self) {
        self.version = None;
    }

    pub(crate) fn version(&self) -> i64 {
        self.version.unwrap_or(-1)
    }

    pub(crate) fn names(&self) -> Arc<TableNames> {
        Arc::clone(&self.names)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    pub(crate) fn has_sequences(&self) -> bool {
        self.has_sequences
    }

    pub(crate) fn has_foreign_keys(&self) -> bool {
        self.has_foreign_keys
    }

    pub(crate) fn has_virtual(&self) -> bool {
        self.has_virtual
    }

    /// Returns the tables that were not among those.
    pub(crate) fn added_since(&self, known: &TableNames) -> Vec<Box<str>> {
        let mut added: Vec<_> = self
            .names
            .keys()
            .filter(|name| !known.contains_key(*name))
            .cloned()
            .collect();
        added.sort_unstable();
        added
    }

    /// Returns what is to be known of a table.
    ///
    /// # Errors
    ///
    /// [`Error::NoTable`], and [`Error::NoRowKey`] if its columns hide each name of the rowid.
    pub(crate) fn def(&mut self, connection: &Connection, name: &str) -> Result<Arc<TableDef>> {
        if let Some(def) = self.defs.get(name) {
            return Ok(Arc::clone(def));
        }
        let Some(keyed) = self.names.get(name) else {
            return Err(Error::NoTable {
                table: name.to_owned(),
            });
        };
        let def = Arc::new(TableDef::read(connection, name, keyed.is_some())?);
        self.defs.insert(name.into(), Arc::clone(&def));
        Ok(def)
    }
}

impl TableDef {
    fn read(connection: &Connection, name: &str, without_rowid: bool) -> Result<Self> {
        let columns = columns(connection, name)?;
        let key = key_columns(connection, name)?;
        let stored: Vec<&Column> = columns.iter().filter(|column| column.stored).collect();
        let place = |position: c_int| stored.iter().position(|column| column.position == position);
        let alias = match (&key[..], without_rowid) {
            ([], false) => {
                let mut parts = stored.iter().filter(|column| column.key_part > 0);
                // One column of the key and no index for it: it is the rowid.
                parts.next().filter(|_| parts.next().is_none())
            }
            (_, _) => None,
        };
        let mut rowid_name = None;
        let (key, terms) = if without_rowid {
            let places = key.iter().filter_map(|column| place(column.position));
            (
                ChangedKey::Columns(places.collect()),
                key.iter().map(KeyTerm::sql).collect(),
            )
        } else if let Some(alias) = alias {
            let at = place(alias.position).into_iter().collect();
            (ChangedKey::Columns(at), vec![quote(&alias.name)])
        } else {
            let free = ROWID_NAMES.into_iter().find(|free| {
                !columns
                    .iter()
                    .any(|column| column.name.eq_ignore_ascii_case(free))
            });
            rowid_name = free;
            let free = free.ok_or_else(|| Error::NoRowKey {
                table: name.to_owned(),
            })?;
            (ChangedKey::RowId, vec![free.to_owned()])
        };
        let rowid = terms.first().filter(|_| !without_rowid);
        let terms = (&terms[..], rowid.map(String::as_str));
        Ok(Self::new(name, key, rowid_name, terms, &stored))
    }

    fn new(
        name: &str,
        key: ChangedKey,
        rowid_name: Option<&'static str>,
        (terms, rowid): (&[String], Option<&str>),
        stored: &[&Column],
    ) -> Self {
        let conditions: Vec<_> = (1..)
            .zip(terms)
            .map(|(number, term)| format!("{term} = ?{number}"))
            .collect();
        let where_sql = format!("WHERE {}", conditions.join(" AND "));
        let names: Vec<_> = stored.iter().map(|column| quote(&column.name)).collect();
        let (names, table) = (names.join(", "), quote(name));
        let alias = match &key {
            ChangedKey::Columns(columns) if rowid.is_some() => columns.first().copied(),
            ChangedKey::Columns(_) | ChangedKey::RowId => None,
        };
        let range_sql = rowid.map(|rowid| {
            format!(
                "SELECT {names}, {rowid} FROM main.{table}
                 WHERE {rowid} BETWEEN ?1 AND ?2 ORDER BY {rowid}"
            )
        });
        Self {
            select_sql: format!("SELECT {names} FROM main.{table} {where_sql}"),
            range_sql,
            name: name.to_owned(),
            announced: announced(stored, alias),
            key,
            columns: stored.iter().map(|column| column.name.clone()).collect(),
            where_sql,
            rowid_name,
        }
    }
}

/// Returns how the hook shows the stored columns, of which one may be the rowid.
fn announced(stored: &[&Column], alias: Option<usize>) -> Vec<AnnouncedColumn> {
    let columns = stored.iter().enumerate().filter_map(|(place, column)| {
        Some(AnnouncedColumn {
            position: usize::try_from(column.position).ok()?,
            is_real: column.real,
            has_default: column.has_default,
            is_rowid: alias == Some(place),
        })
    });
    columns.collect()
}

/// Returns SQLite's counter of changes of the schema.
pub(crate) fn schema_version(connection: &Connection) -> Result<i64> {
    // It runs twice for each batch.
    let (_, flow) = connection.query_again("PRAGMA main.schema_version", Params::NONE, |row| {
        ControlFlow::Break(row.get(0).as_i64())
    })?;
    Ok(flow.break_value().flatten().unwrap_or(-1))
}

/// Returns a table's statement as the schema keeps it.
pub(crate) fn stored_sql(connection: &Connection, table: &str) -> Result<String> {
    let sql = connection.query_row(
        "SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND name = ?1",
        Params::from(&[Value::from(table)]),
        |row| text(row, 0),
    )?;
    sql.ok_or_else(|| Error::NoTable {
        table: table.to_owned(),
    })
}

struct Column {
    name: String,
    position: c_int,
    /// Its place in the primary key, counted from one; 0 if it is not in it.
    key_part: i64,
    stored: bool,
    real: bool,
    has_default: bool,
}

struct KeyTerm {
    name: String,
    collation: String,
    position: c_int,
}

impl KeyTerm {
    fn sql(&self) -> String {
        format!("{} COLLATE {}", quote(&self.name), quote(&self.collation))
    }
}

fn columns(connection: &Connection, table: &str) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    let _all = connection.query(
        "SELECT name, cid, pk, hidden, type, dflt_value IS NOT NULL
         FROM pragma_table_xinfo(?1, 'main') ORDER BY cid",
        Params::from(&[Value::from(table)]),
        |row| {
            columns.push(Column {
                name: text(row, 0),
                position: position(row, 1),
                key_part: row.get(2).as_i64().unwrap_or(0),
                stored: row.get(3).as_i64() == Some(0),
                real: has_real_affinity(&text(row, 4)),
                has_default: row.get(5).as_i64() == Some(1),
            });
            ControlFlow::<()>::Continue(())
        },
    )?;
    Ok(columns)
}

/// Returns the columns of the index behind the primary key, if there is one.
fn key_columns(connection: &Connection, table: &str) -> Result<Vec<KeyTerm>> {
    let mut columns = Vec::new();
    let _all = connection.query(
        "SELECT x.name, x.coll, x.cid FROM pragma_index_list(?1, 'main') AS i,
         pragma_index_xinfo(i.name, 'main') AS x
         WHERE i.origin = 'pk' AND x.key ORDER BY x.seqno",
        Params::from(&[Value::from(table)]),
        |row| {
            columns.push(KeyTerm {
                name: text(row, 0),
                collation: text(row, 1),
                position: position(row, 2),
            });
            ControlFlow::<()>::Continue(())
        },
    )?;
    Ok(columns)
}

/// Returns whether SQLite gives a column of that type the affinity REAL.
fn has_real_affinity(declared: &str) -> bool {
    let declared = declared.to_ascii_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
    !has(&["INT", "CHAR", "CLOB", "TEXT", "BLOB"]) && has(&["REAL", "FLOA", "DOUB"])
}

fn position(row: &Row<'_>, column: usize) -> c_int {
    let position = row.get(column).as_i64().unwrap_or(-1);
    c_int::try_from(position).unwrap_or(-1)
}

fn text(row: &Row<'_>, column: usize) -> String {
    row.get(column).as_str().unwrap_or_default().to_owned()
}
