//! Changes of the schema: checked on an empty copy, then made on every place as one operation.

use turso_parser::ast::{AlterTableBody, CreateTableBody, Stmt};

use super::{ShardedDatabase, journal::Step};
use crate::{
    answer::{Answer, Tier},
    error::Error,
    schema::{
        Declaration, NullKeys, Schema, SchemaObject, StoredSchema, TableKind, Undeclared, fold,
        is_bookkeeping, open_schema_copy, physical, quote_identifier,
    },
};

impl ShardedDatabase {
    /// Runs a statement that changes the schema.
    pub(super) fn define(&self, statement: &Stmt, sql: &str) -> Result<Answer, Error> {
        let (_one, state) = self.begin_broadcast()?;
        if self.broadcast_before()?.is_some() {
            return Ok(self.defined());
        }
        let before = &state.schema;
        let Some(stored) = changed(
            before,
            statement,
            sql,
            self.inner.shared.records.undeclared(),
        )?
        else {
            return Ok(self.defined());
        };
        let after = Schema::derive(stored)?;
        after.check_triggers()?;
        let (shards, catalog) = steps(before, &after, statement, sql)?;
        self.change_schema(&state, after, shards, catalog)?;
        Ok(self.defined())
    }

    pub(super) fn defined(&self) -> Answer {
        let places = self
            .inner
            .places
            .all()
            .map(|place| self.inner.places.name(place).to_owned())
            .collect();
        Answer::of_changes(places, Tier::Broadcast, "the schema is the same everywhere")
    }
}

/// The stored schema after a statement; `None` if it changes nothing, as CREATE ... IF NOT EXISTS may.
pub(super) fn changed(
    before: &Schema,
    statement: &Stmt,
    sql: &str,
    undeclared: Undeclared,
) -> Result<Option<StoredSchema>, Error> {
    refuse_what_cannot_be(statement)?;
    let copy = open_schema_copy(before.stored())?;
    copy.execute_batch(sql).map_err(Error::from_sqlite)?;
    let mut stored = before.stored().clone();
    stored.objects = objects(&copy).map_err(Error::from_sqlite)?;
    if stored.objects == before.stored().objects {
        return Ok(None);
    }
    declare(&mut stored, &copy, statement, sql, undeclared)?;
    Ok(Some(stored))
}

fn refuse_what_cannot_be(statement: &Stmt) -> Result<(), Error> {
    let refuse = |what: &str, hint| {
        Err(Error::Unsupported {
            what: what.to_owned(),
            hint,
        })
    };
    match statement {
        Stmt::CreateTable {
            temporary: true, ..
        }
        | Stmt::CreateView {
            temporary: true, ..
        }
        | Stmt::CreateTrigger {
            temporary: true, ..
        } => refuse(
            "a temporary object",
            "create it without TEMP, or keep the rows in the program",
        ),
        Stmt::CreateTable {
            body: CreateTableBody::AsSelect(_),
            ..
        } => refuse(
            "CREATE TABLE AS SELECT",
            "create the table with its primary key, then INSERT INTO it SELECT the rows",
        ),
        _ => Ok(()),
    }
}

/// The objects of a database, in the order of their creation, as a schema stores them.
pub(crate) fn objects(connection: &rusqlite::Connection) -> rusqlite::Result<Vec<SchemaObject>> {
    let mut statement = connection.prepare(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema
         WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
           AND name NOT IN (SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow')
         ORDER BY rowid",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(SchemaObject {
            kind: row.get(0)?,
            name: row.get(1)?,
            table: row.get(2)?,
            sql: row.get(3)?,
        })
    })?;
    rows.collect()
}

/// Keeps the declarations in step with the tables.
fn declare(
    stored: &mut StoredSchema,
    copy: &rusqlite::Connection,
    statement: &Stmt,
    sql: &str,
    undeclared: Undeclared,
) -> Result<(), Error> {
    match statement {
        Stmt::CreateTable { tbl_name, .. } => {
            let name = tbl_name.name.as_str();
            let declaration = match Declaration::in_comment(sql)? {
                Some(declaration) => declaration,
                None => default_declaration(copy, name, undeclared).map_err(Error::from_sqlite)?,
            };
            stored.declarations.insert(fold(name), declaration);
        }
        Stmt::CreateVirtualTable(table) => {
            stored
                .declarations
                .insert(fold(table.tbl_name.name.as_str()), Declaration::Global);
        }
        Stmt::DropTable { tbl_name, .. } => {
            let name = fold(tbl_name.name.as_str());
            refuse_orphans(stored, &name)?;
            stored.declarations.remove(&name);
        }
        Stmt::AlterTable(alter) => rename(stored, &fold(alter.name.name.as_str()), &alter.body),
        _ => {}
    }
    Ok(())
}

/// What an undeclared table becomes.
fn default_declaration(
    copy: &rusqlite::Connection,
    table: &str,
    undeclared: Undeclared,
) -> rusqlite::Result<Declaration> {
    if undeclared == Undeclared::Global || is_bookkeeping(table) {
        return Ok(Declaration::Global);
    }
    let mut statement = copy.prepare(
        "SELECT name FROM pragma_table_xinfo(?1) WHERE pk > 0 AND hidden = 0 ORDER BY pk LIMIT 1",
    )?;
    let mut names = statement.query_map([table], |row| row.get(0))?;
    Ok(match names.next().transpose()? {
        Some(shard_key) => Declaration::Sharded {
            shard_key,
            colocate_with: None,
            null_keys: NullKeys::Refuse,
        },
        None => Declaration::Global,
    })
}

/// A table that others are colocated with gives their key space its name.
fn refuse_orphans(stored: &StoredSchema, name: &str) -> Result<(), Error> {
    let orphan = stored.declarations.iter().find(|(_, declaration)| {
        matches!(declaration, Declaration::Sharded { colocate_with: Some(with), .. } if fold(with) == name)
    });
    match orphan {
        Some((table, _)) => Err(Error::BadColocation {
            table: table.clone(),
            with: name.to_owned(),
        }),
        None => Ok(()),
    }
}

fn rename(stored: &mut StoredSchema, table: &str, body: &AlterTableBody) {
    match body {
        AlterTableBody::RenameTo(new) => {
            if let Some(declaration) = stored.declarations.remove(table) {
                stored.declarations.insert(fold(new.as_str()), declaration);
            }
        }
        AlterTableBody::RenameColumn { old, new } => {
            if let Some(Declaration::Sharded { shard_key, .. }) = stored.declarations.get_mut(table)
                && shard_key.eq_ignore_ascii_case(old.as_str())
            {
                new.as_str().clone_into(shard_key);
            }
        }
        AlterTableBody::AddColumn(_)
        | AlterTableBody::AlterColumn { .. }
        | AlterTableBody::DropColumn(_) => {}
    }
}

/// What runs on the shards and on the catalog.
pub(super) fn steps(
    before: &Schema,
    after: &Schema,
    statement: &Stmt,
    sql: &str,
) -> Result<(Vec<Step>, Vec<Step>), Error> {
    let on = |kind: Option<&TableKind>, step: Step| match kind {
        Some(TableKind::Sharded(_)) => (vec![step], Vec::new()),
        Some(TableKind::Reference) => (vec![step.clone()], vec![step]),
        Some(TableKind::Global) | None => (Vec::new(), vec![step]),
    };
    let kind_before = |name: &str| before.table(name).map(|table| &table.kind);
    let kind_after = |name: &str| after.table(name).map(|table| &table.kind);
    let plain = || Step::new(sql);
    Ok(match statement {
        Stmt::CreateTable { tbl_name, .. } => {
            let name = tbl_name.name.as_str();
            let create = physical::create_statement(after, name)?;
            on(kind_after(name), Step::new(create))
        }
        Stmt::CreateVirtualTable(_) => on(None, plain()),
        Stmt::CreateIndex {
            tbl_name,
            unique,
            idx_name,
            ..
        } => {
            if *unique {
                refuse_global_index(after, tbl_name.as_str(), idx_name.name.as_str())?;
            }
            on(kind_after(tbl_name.as_str()), plain())
        }
        Stmt::CreateTrigger { tbl_name, .. } => on(kind_after(tbl_name.name.as_str()), plain()),
        Stmt::DropTable { tbl_name, .. } => on(kind_before(tbl_name.name.as_str()), plain()),
        Stmt::AlterTable(alter) => {
            if let (AlterTableBody::RenameTo(_), Some(TableKind::Sharded(_))) =
                (&alter.body, kind_before(alter.name.name.as_str()))
            {
                return Err(Error::Unsupported {
                    what: "renaming a sharded table".to_owned(),
                    hint: "its name places its keys: create a table of the new name and INSERT INTO it SELECT the rows",
                });
            }
            on(kind_before(alter.name.name.as_str()), plain())
        }
        Stmt::DropIndex { idx_name, .. } => dropped("INDEX", idx_name.name.as_str()),
        Stmt::DropTrigger { trigger_name, .. } => dropped("TRIGGER", trigger_name.name.as_str()),
        // Views live in the schema, where statements are planned; each place has those that it can answer.
        Stmt::CreateView { view_name, .. } => view_steps(after, view_name.name.as_str(), sql),
        Stmt::DropView { view_name, .. } => {
            let drop = format!(
                "DROP VIEW IF EXISTS {}",
                quote_identifier(view_name.name.as_str())
            );
            (vec![Step::new(drop.clone())], vec![Step::new(drop)])
        }
        _ => {
            return Err(Error::Unsupported {
                what: "this change of the schema".to_owned(),
                hint: "see the guide for the statements that a sharded database runs",
            });
        }
    })
}

/// An index that each shard would build alone may hide rows that agree across shards.
fn refuse_global_index(after: &Schema, table: &str, index: &str) -> Result<(), Error> {
    let table = after.table(table).ok_or_else(|| Error::UnknownTable {
        table: table.to_owned(),
    })?;
    let global = table.global_constraints().any(|unique| {
        unique
            .index
            .as_deref()
            .is_some_and(|name| name.eq_ignore_ascii_case(index))
    });
    if global {
        return Err(Error::GlobalIndex {
            index: index.to_owned(),
            table: table.name.clone(),
            column: table
                .key_column()
                .map(|column| column.name.clone())
                .unwrap_or_default(),
        });
    }
    Ok(())
}

fn dropped(kind: &str, name: &str) -> (Vec<Step>, Vec<Step>) {
    let drop = || {
        vec![Step::new(format!(
            "DROP {kind} IF EXISTS {}",
            quote_identifier(name)
        ))]
    };
    (drop(), drop())
}

/// The places where a view can be answered whole.
fn view_steps(schema: &Schema, name: &str, sql: &str) -> (Vec<Step>, Vec<Step>) {
    let places = crate::plan::view_places(schema, name);
    let step = |wanted: bool| {
        if wanted {
            vec![Step::new(sql)]
        } else {
            Vec::new()
        }
    };
    (step(places.shards), step(places.catalog))
}
