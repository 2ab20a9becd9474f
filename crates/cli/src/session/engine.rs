//! What a session asks: files of this machine, or nodes of a cluster.

use shardwright_sql::{
    self as sql, Answer, Error, ShardedDatabase, Value,
    schema::{Schema, SchemaObject, TableKind},
};

use crate::{
    client::{SqlClient, Writing},
    commands::shards,
    failure::Failure,
    output::{self, Sheet},
};

/// What a statement answered.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) sheet: Sheet,
    pub(crate) changes: u64,
    /// The shards that took part.
    pub(crate) places: Vec<String>,
}

/// Runs statements, and says what it knows of the database.
pub(crate) trait Engine {
    /// Runs one statement.
    fn execute(&mut self, statement: &str) -> anyhow::Result<Answered>;

    /// Which shards a statement touches, and why.
    fn explain(&mut self, statement: &str) -> anyhow::Result<Sheet>;

    /// The statements that create a table and what belongs to it, or everything if none is named.
    fn schema(&mut self, table: &str) -> anyhow::Result<Vec<String>>;

    /// The shards.
    fn shards(&mut self) -> anyhow::Result<Sheet>;

    /// The tables.
    fn tables(&mut self) -> anyhow::Result<Sheet>;
}

/// A directory of files.
pub(crate) struct Files {
    database: ShardedDatabase,
    statements: sql::Session,
}

impl Files {
    pub(crate) fn new(database: ShardedDatabase) -> Self {
        let statements = database.session();
        Self {
            database,
            statements,
        }
    }
}

impl Engine for Files {
    fn execute(&mut self, statement: &str) -> anyhow::Result<Answered> {
        let answer = self.statements.execute(statement, ())?;
        Ok(Answered {
            sheet: sheet(&answer),
            changes: answer.changes,
            places: answer.places,
        })
    }

    fn explain(&mut self, statement: &str) -> anyhow::Result<Sheet> {
        let explanation = self.database.explain(statement, ())?;
        let mut sheet = Sheet::with_columns(&["tier", "shards", "reason"]);
        sheet.rows.push(vec![
            output::text(explanation.tier.to_string()),
            output::text(explanation.places.join(", ")),
            output::text(explanation.reason),
        ]);
        Ok(sheet)
    }

    fn schema(&mut self, table: &str) -> anyhow::Result<Vec<String>> {
        let schema = self.database.schema();
        let is_wanted =
            |object: &&SchemaObject| table.is_empty() || object.table.eq_ignore_ascii_case(table);
        let objects = schema.stored().objects.iter().filter(is_wanted);
        Ok(objects.map(|object| object.sql.clone()).collect())
    }

    fn shards(&mut self) -> anyhow::Result<Sheet> {
        shards::sheet(&self.database)
    }

    fn tables(&mut self) -> anyhow::Result<Sheet> {
        Ok(tables(&self.database.schema()))
    }
}

/// The nodes of a cluster.
pub(crate) struct Nodes {
    client: SqlClient,
    writing: Writing,
}

impl Nodes {
    pub(crate) fn new(client: SqlClient, writing: Writing) -> Self {
        Self { client, writing }
    }
}

impl Engine for Nodes {
    fn execute(&mut self, statement: &str) -> anyhow::Result<Answered> {
        let reply = self.client.execute(statement, &[], self.writing)?;
        Ok(Answered {
            sheet: Sheet {
                columns: reply.columns,
                rows: reply.rows,
            },
            changes: reply.changes,
            places: reply.shards,
        })
    }

    fn explain(&mut self, _statement: &str) -> anyhow::Result<Sheet> {
        Err(Failure::NeedsFiles { name: "explain" }.into())
    }

    fn schema(&mut self, table: &str) -> anyhow::Result<Vec<String>> {
        let (condition, args) = if table.is_empty() {
            ("", Vec::new())
        } else {
            let name = Value::from(table);
            (" AND tbl_name = ?1 COLLATE NOCASE", vec![name])
        };
        let sql = format!("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL{condition}");
        let reply = self.client.execute(&sql, &args, Writing::Single)?;
        Ok(reply.texts().flatten().collect())
    }

    fn shards(&mut self) -> anyhow::Result<Sheet> {
        Err(Failure::NeedsFiles { name: "shards" }.into())
    }

    fn tables(&mut self) -> anyhow::Result<Sheet> {
        let sql = "SELECT name AS \"table\" FROM sqlite_schema WHERE type = 'table' ORDER BY name";
        let reply = self.client.execute(sql, &[], Writing::Single)?;
        Ok(Sheet {
            columns: reply.columns,
            rows: reply.rows,
        })
    }
}

/// The answer's columns and rows.
pub(crate) fn sheet(answer: &Answer) -> Sheet {
    let columns = answer
        .columns
        .iter()
        .map(|column| column.name.clone())
        .collect();
    Sheet {
        columns,
        rows: answer.rows.clone(),
    }
}

/// The error for a table that nobody knows.
pub(super) fn unknown_table(table: &str) -> Error {
    Error::UnknownTable {
        table: table.to_owned(),
    }
}

/// The tables, and where the rows of each live.
fn tables(schema: &Schema) -> Sheet {
    let mut sheet = Sheet::with_columns(&["table", "kind", "shard key", "key space"]);
    for table in schema.tables() {
        let (kind, column, group) = match &table.kind {
            TableKind::Sharded(key) => {
                let column = &table.columns[key.column].name;
                ("sharded", output::text(column), output::text(&key.group))
            }
            TableKind::Reference => ("reference", Value::Null, Value::Null),
            TableKind::Global => ("global", Value::Null, Value::Null),
        };
        sheet.rows.push(vec![
            output::text(&table.name),
            output::text(kind),
            column,
            group,
        ]);
    }
    sheet
}
