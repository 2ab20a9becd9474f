//! Reading a schema out of SQLite: the stored statements run in an empty in-memory database, which is then asked.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    Affinity, Collation, Column, Declaration, ForeignKey, Generated, NullKeys, Schema,
    SchemaObject, ShardKey, StoredSchema, Table, TableKind, UniqueConstraint, fold,
};
use crate::error::Error;

impl Schema {
    /// Derives the schema from its stored form.
    ///
    /// # Errors
    /// When SQLite refuses a statement, or a declaration names a column or table that does not exist, or colocates
    /// keys that do not compare alike.
    pub fn derive(stored: StoredSchema) -> Result<Self, Error> {
        let connection = open_schema_copy(&stored)?;
        let mut tables = BTreeMap::new();
        for object in stored
            .objects
            .iter()
            .filter(|object| object.kind == "table")
        {
            let declaration = stored
                .declarations
                .get(&fold(&object.name))
                .ok_or_else(|| Error::Undeclared {
                    table: object.name.clone(),
                })?;
            let table = read_table(&connection, object, declaration, &stored)?;
            tables.insert(fold(&object.name), table);
        }
        let schema = Self {
            stored,
            tables,
            temporary_views: Vec::new(),
        };
        schema.check_groups()?;
        Ok(schema)
    }

    /// Keys that share a group must hash alike: their columns agree on affinity class and collation.
    fn check_groups(&self) -> Result<(), Error> {
        for (group, tables) in self.groups() {
            let class = |table: &Table| {
                table
                    .key_column()
                    .map(|key| (class_of(key.affinity), key.collation))
            };
            if let Some(other) = tables.iter().find(|table| class(table) != class(tables[0])) {
                return Err(Error::UnlikeKeys {
                    group: group.to_owned(),
                    table: tables[0].name.clone(),
                    other: other.name.clone(),
                });
            }
        }
        Ok(())
    }
}

/// Affinities whose values compare and fold alike.
fn class_of(affinity: Affinity) -> Affinity {
    if affinity.is_numeric() {
        Affinity::Numeric
    } else {
        affinity
    }
}

/// Opens an empty in-memory database with the objects of the schema, to ask SQLite about statements.
pub(crate) fn open_schema_copy(stored: &StoredSchema) -> Result<Connection, Error> {
    let connection = Connection::open_in_memory().map_err(Error::from_sqlite)?;
    let encoding = if stored.encoding.is_empty() {
        "UTF-8"
    } else {
        &stored.encoding
    };
    connection
        .pragma_update(None, "encoding", encoding)
        .map_err(Error::from_sqlite)?;
    connection
        .pragma_update(None, "foreign_keys", false)
        .map_err(Error::from_sqlite)?;
    for object in &stored.objects {
        connection
            .execute_batch(&object.sql)
            .map_err(Error::from_sqlite)?;
    }
    connection
        .pragma_update(None, "user_version", stored.user_version)
        .map_err(Error::from_sqlite)?;
    connection
        .pragma_update(None, "application_id", stored.application_id)
        .map_err(Error::from_sqlite)?;
    Ok(connection)
}

/// As [`open_schema_copy`], with the temporary views of the schema.
pub(crate) fn open_copy(schema: &Schema) -> Result<Connection, Error> {
    let connection = open_schema_copy(schema.stored())?;
    for view in schema.temporary_views() {
        connection
            .execute_batch(&view.sql)
            .map_err(Error::from_sqlite)?;
    }
    Ok(connection)
}

fn read_table(
    connection: &Connection,
    object: &SchemaObject,
    declaration: &Declaration,
    stored: &StoredSchema,
) -> Result<Table, Error> {
    let options = table_options(connection, &object.name).map_err(Error::from_sqlite)?;
    let mut table = Table {
        name: object.name.clone(),
        kind: TableKind::Global,
        columns: Vec::new(),
        primary_key: Vec::new(),
        without_rowid: options.without_rowid,
        rowid_alias: None,
        autoincrement: false,
        strict: options.strict,
        unique: Vec::new(),
        foreign_keys: Vec::new(),
        module: options.is_virtual.then(|| object.sql.clone()),
    };
    read_columns(connection, &mut table).map_err(Error::from_sqlite)?;
    if !options.is_virtual {
        read_unique(connection, &mut table).map_err(Error::from_sqlite)?;
        read_foreign_keys(connection, &mut table).map_err(Error::from_sqlite)?;
        read_rowid_alias(connection, &mut table).map_err(Error::from_sqlite)?;
    }
    table.kind = kind(&table, declaration, stored)?;
    Ok(table)
}

struct TableOptions {
    is_virtual: bool,
    without_rowid: bool,
    strict: bool,
}

fn table_options(connection: &Connection, name: &str) -> rusqlite::Result<TableOptions> {
    connection.query_row(
        "SELECT type = 'virtual', wr, strict FROM pragma_table_list(?1) WHERE schema = 'main'",
        params![name],
        |row| {
            Ok(TableOptions {
                is_virtual: row.get(0)?,
                without_rowid: row.get(1)?,
                strict: row.get(2)?,
            })
        },
    )
}

fn read_columns(connection: &Connection, table: &mut Table) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1) ORDER BY cid",
    )?;
    let mut keyed = Vec::new();
    let mut rows = statement.query(params![table.name])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let declared_type = bare_type(row.get(1)?);
        let generated = match row.get::<_, i64>(5)? {
            1 => Generated::Hidden,
            2 => Generated::Virtual,
            3 => Generated::Stored,
            _ => Generated::Ordinary,
        };
        if let position @ 1.. = row.get::<_, i64>(4)? {
            keyed.push((position, table.columns.len()));
        }
        table.columns.push(Column {
            affinity: Affinity::of(&declared_type, table.strict),
            collation: collation_of(connection, &table.name, &name),
            declared_type,
            not_null: row.get(2)?,
            default: row.get(3)?,
            generated,
            name,
        });
    }
    keyed.sort_unstable();
    table.primary_key = keyed.into_iter().map(|(_, column)| column).collect();
    Ok(())
}

/// `table_xinfo` reports the type of a generated column with its GENERATED ALWAYS.
fn bare_type(declared: String) -> String {
    match declared.to_ascii_uppercase().find("GENERATED ALWAYS") {
        Some(at) => declared[..at].trim_end().to_owned(),
        None => declared,
    }
}

/// A collation of the application's own is not known here; SQLite itself refuses to compare by it.
fn collation_of(connection: &Connection, table: &str, column: &str) -> Collation {
    connection
        .column_metadata(None, table, column)
        .ok()
        .and_then(|(_, collation, _, _, _)| collation?.to_str().ok().and_then(Collation::from_name))
        .unwrap_or_default()
}

fn read_unique(connection: &Connection, table: &mut Table) -> rusqlite::Result<()> {
    let mut list = connection.prepare(
        "SELECT name, origin, partial FROM pragma_index_list(?1) WHERE \"unique\" ORDER BY seq",
    )?;
    let mut columns = connection
        .prepare("SELECT cid, coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno")?;
    let indexes = list
        .query_map(params![table.name], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)? == "pk",
                row.get::<_, bool>(2)?,
            ))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for (index, primary, partial) in indexes {
        let parts = columns
            .query_map(params![index], |row| {
                let column = usize::try_from(row.get::<_, i64>(0)?).ok();
                let collation: Option<String> = row.get(1)?;
                Ok((
                    column,
                    collation
                        .and_then(|name| Collation::from_name(&name))
                        .unwrap_or_default(),
                ))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let (columns, collations) = parts.into_iter().unzip();
        table.unique.push(UniqueConstraint {
            index: Some(index),
            columns,
            collations,
            partial,
            primary,
        });
    }
    Ok(())
}

fn read_foreign_keys(connection: &Connection, table: &mut Table) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT id, \"table\", \"from\", \"to\", on_delete, on_update FROM pragma_foreign_key_list(?1)
         ORDER BY id DESC, seq",
    )?;
    let mut rows = statement.query(params![table.name])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let from: String = row.get(2)?;
        let Some(column) = table.column_index(&from) else {
            continue;
        };
        if last.replace(id) != Some(id) {
            table.foreign_keys.push(ForeignKey {
                parent: row.get(1)?,
                columns: Vec::new(),
                parent_columns: Vec::new(),
                on_delete: row.get(4)?,
                on_update: row.get(5)?,
            });
        }
        if let Some(key) = table.foreign_keys.last_mut() {
            key.columns.push(column);
            key.parent_columns.extend(row.get::<_, Option<String>>(3)?);
        }
    }
    Ok(())
}

/// `INTEGER PRIMARY KEY` is the rowid unless an index keeps the key, as it does for `INTEGER PRIMARY KEY DESC`.
fn read_rowid_alias(connection: &Connection, table: &mut Table) -> rusqlite::Result<()> {
    let [column] = table.primary_key[..] else {
        return Ok(());
    };
    let has_index = table.unique.iter().any(|unique| unique.primary);
    if table.without_rowid
        || has_index
        || !table.columns[column]
            .declared_type
            .eq_ignore_ascii_case("INTEGER")
    {
        return Ok(());
    }
    table.rowid_alias = Some(column);
    table.autoincrement = connection
        .column_metadata(
            None,
            table.name.as_str(),
            table.columns[column].name.as_str(),
        )
        .map(|(_, _, _, _, autoincrement)| autoincrement)
        .optional()?
        .unwrap_or(false);
    table.unique.push(UniqueConstraint {
        index: None,
        columns: vec![Some(column)],
        collations: vec![Collation::Binary],
        partial: false,
        primary: true,
    });
    Ok(())
}

fn kind(
    table: &Table,
    declaration: &Declaration,
    stored: &StoredSchema,
) -> Result<TableKind, Error> {
    let Declaration::Sharded {
        shard_key,
        null_keys,
        ..
    } = declaration
    else {
        return Ok(match declaration {
            Declaration::Reference => TableKind::Reference,
            _ => TableKind::Global,
        });
    };
    if table.primary_key.is_empty() {
        return Err(table.without_primary_key());
    }
    let column = table
        .resolve(shard_key)
        .ok_or_else(|| Error::UnknownColumn {
            table: table.name.clone(),
            column: shard_key.clone(),
        })?;
    if table.columns[column].generated != Generated::Ordinary {
        return Err(Error::GeneratedKey {
            table: table.name.clone(),
            column: shard_key.clone(),
        });
    }
    // The rowid is never NULL: a NULL there asks for the next one.
    let nulls = if table.rowid_alias == Some(column) {
        NullKeys::Refuse
    } else {
        *null_keys
    };
    let group = root_of(&table.name, stored)?;
    Ok(TableKind::Sharded(ShardKey {
        column,
        group,
        nulls,
    }))
}

/// Follows `colocate_with` to the table that gives the group its name.
fn root_of(table: &str, stored: &StoredSchema) -> Result<String, Error> {
    let mut current = fold(table);
    for _ in 0..=stored.declarations.len() {
        match stored.declarations.get(&current) {
            Some(Declaration::Sharded {
                colocate_with: Some(next),
                ..
            }) => current = fold(next),
            Some(Declaration::Sharded { .. }) => return Ok(current),
            _ => {
                return Err(Error::BadColocation {
                    table: table.to_owned(),
                    with: current,
                });
            }
        }
    }
    Err(Error::BadColocation {
        table: table.to_owned(),
        with: current,
    })
}
