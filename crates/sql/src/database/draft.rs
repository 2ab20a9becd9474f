//! Changes of the schema that are made together, with the rows that note them: what a migration does.

use std::sync::Arc;

use shardwright_store::Params;
use turso_parser::ast::Stmt;

use super::{
    ShardedDatabase,
    ddl::{changed, steps},
    journal::Step,
    read::sqlite_value,
    state::{PlannedStatement, State},
    unique::Question,
    write::bound,
};
use crate::{
    answer::{Answer, Tier},
    error::Error,
    plan::{InsertPlan, Plan},
    schema::{Schema, TableKind, open_copy},
    shards::{Call, Fragment},
};

/// Changes of the schema that are to be made together, and rows that are inserted into tables of the catalog with them.
///
/// What is [added](Draft::add) is checked against the schema as those before it leave it. Nothing happens until all of it is made by
/// [`ShardedDatabase::execute_together`].
#[derive(Debug, Clone)]
pub struct Draft {
    database: ShardedDatabase,
    /// The schema that it begins with.
    before: Arc<State>,
    /// The schema after what was added.
    after: Arc<State>,
    shards: Vec<Step>,
    catalog: Vec<Step>,
    /// What must not be there before the indexes are made.
    forbidden: Vec<Question>,
    rows: u64,
}

impl ShardedDatabase {
    /// Begins to collect changes, with the schema of this moment.
    #[must_use]
    pub fn draft(&self) -> Draft {
        Draft::new(self, self.inner.state.load_full())
    }

    /// Makes changes of the schema, and inserts rows into tables of the catalog, together: all of it happens, everywhere, or nothing.
    ///
    /// ```
    /// use shardwright_sql::{CreateOptions, ShardedDatabase, shards::Call};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let db = ShardedDatabase::create(directory.path().join("shop"), &CreateOptions::default())?;
    /// db.execute("CREATE TABLE migrations(name TEXT) /* shardwright: global */", ())?;
    /// let migration = |name| {
    ///     [
    ///         Call::new("CREATE TABLE users(id INTEGER PRIMARY KEY)", ()),
    ///         Call::new(name, ()),
    ///     ]
    /// };
    /// assert!(db.execute_together(&migration("INSERT INTO nowhere VALUES ('one')")).is_err());
    /// db.execute_together(&migration("INSERT INTO migrations VALUES ('one')"))?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Draft::add`] for the first that is refused, and as for one change of the schema.
    pub fn execute_together(&self, statements: &[Call<'_>]) -> Result<Answer, Error> {
        let _pass = self.enter();
        let (_one, state) = self.begin_broadcast()?;
        if self.broadcast_before()?.is_some() {
            return Ok(self.defined());
        }
        let mut draft = Draft::new(self, state);
        for statement in statements {
            draft.add(statement.sql.as_str(), statement.params)?;
        }
        draft.make()
    }
}

impl Draft {
    fn new(database: &ShardedDatabase, state: Arc<State>) -> Self {
        Self {
            database: database.clone(),
            before: Arc::clone(&state),
            after: state,
            shards: Vec::new(),
            catalog: Vec::new(),
            forbidden: Vec::new(),
            rows: 0,
        }
    }

    /// Adds a change of the schema, or rows that are inserted into a table of the catalog, and returns what it will say once all of it is
    /// made. A statement that is refused is not added.
    ///
    /// # Errors
    /// What SQLite says of it, why it is refused, and [`Error::Unsupported`] for any other kind of statement.
    pub fn add<'p>(&mut self, sql: &str, params: impl Into<Params<'p>>) -> Result<Answer, Error> {
        let planned = self.after.plan(sql)?;
        match &planned.plan {
            Plan::Ddl(statement) => {
                self.define(statement, sql)?;
                Ok(self.database.defined())
            }
            Plan::Insert(plan) => self.insert(&planned, plan, &params.into()),
            Plan::Read(_)
            | Plan::Change(_)
            | Plan::Transaction(_)
            | Plan::Pragma(_)
            | Plan::Explain(_)
            | Plan::Shards(_) => Err(refused("this statement")),
        }
    }

    /// Whether nothing that was added changes anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty() && self.catalog.is_empty()
    }

    fn define(&mut self, statement: &Stmt, sql: &str) -> Result<(), Error> {
        let schema = &self.after.schema;
        let undeclared = self.database.inner.shared.records.undeclared();
        let Some((stored, views)) = changed(schema, statement, sql, undeclared)? else {
            return Ok(());
        };
        let next = Schema::derive(stored)?.with_temporary_views(views);
        next.check_triggers()?;
        let (shards, catalog) = steps(schema, &next, statement, sql)?;
        if let Stmt::CreateIndex { tbl_name, .. } = statement
            // A table that is made with the index has no rows.
            && self.before.schema.table(tbl_name.as_str()).is_some()
        {
            self.forbidden.extend(Question::before(statement, &next)?);
        }
        let (version, number) = (self.before.version, self.before.number());
        let next = State::new(version, number, next, Arc::clone(&self.before.map))?;
        self.after = Arc::new(next);
        self.shards.extend(shards);
        self.catalog.extend(catalog);
        Ok(())
    }

    fn insert(
        &mut self,
        planned: &PlannedStatement,
        plan: &InsertPlan,
        params: &Params<'_>,
    ) -> Result<Answer, Error> {
        let table = self.after.table(&plan.table)?;
        if !matches!(table.kind, TableKind::Global) {
            return Err(refused("a row of a table that is not on the catalog"));
        }
        // Of these it is known what they do before they are run.
        let is_plain = plan.rule.is_none() && plan.tail.sql.is_empty() && !plan.reads_rows;
        if !is_plain || self.after.needs_guard(table) {
            return Err(refused("an INSERT that may look at other rows"));
        }
        let statement = bound(planned, params)?;
        let changes = self.rehearse(&statement)?;
        self.rows += changes;
        self.catalog.push(Step::bound(&statement));
        let mut answer = self.database.defined();
        answer.changes = changes;
        Ok(answer)
    }

    /// Inserts rows into an empty database of this schema, and returns how many.
    fn rehearse(&self, statement: &Fragment) -> Result<u64, Error> {
        let copy = open_copy(&self.after.schema)?;
        let values = statement.params.iter().map(sqlite_value);
        let inserted = copy.execute(&statement.sql, rusqlite::params_from_iter(values));
        Ok(inserted.map_err(Error::from_sqlite)? as u64)
    }

    /// Makes all of it. The caller has begun the broadcast.
    fn make(self) -> Result<Answer, Error> {
        let mut answer = Answer {
            changes: self.rows,
            tier: Tier::Broadcast,
            ..self.database.defined()
        };
        if self.is_empty() {
            answer.places.clear();
            return Ok(answer);
        }
        let after = (*self.after.schema).clone();
        self.database.change_schema(
            &self.before,
            after,
            (self.shards, self.catalog),
            &self.forbidden,
        )?;
        Ok(answer)
    }
}

fn refused(what: &str) -> Error {
    Error::Unsupported {
        what: format!("{what} together with changes of the schema"),
        hint: "make the changes of the schema first, and the others after them",
    }
}

#[cfg(test)]
mod tests {
    use shardwright_store::Value;

    use super::*;
    use crate::CreateOptions;

    fn database(directory: &tempfile::TempDir) -> ShardedDatabase {
        let path = directory.path().join("db");
        ShardedDatabase::create(path, &CreateOptions::default()).unwrap()
    }

    fn tables(database: &ShardedDatabase) -> Vec<String> {
        let schema = database.schema();
        schema.tables().map(|table| table.name.clone()).collect()
    }

    #[test]
    fn what_one_statement_makes_the_next_may_use() {
        let directory = tempfile::tempdir().unwrap();
        let database = database(&directory);
        let values = [Value::from("0001"), Value::from(7.0)];
        let made = database.execute_together(&[
            Call::new(
                "CREATE TABLE __drizzle_migrations(id INTEGER PRIMARY KEY, hash TEXT, at NUMERIC)",
                (),
            ),
            Call::new("CREATE TABLE users(id INTEGER PRIMARY KEY)", ()),
            Call::new("ALTER TABLE users ADD COLUMN name TEXT", ()),
            Call::new("CREATE INDEX by_name ON users(name)", ()),
            Call::new(
                "INSERT INTO __drizzle_migrations(hash, at) VALUES (?, ?)",
                &values,
            ),
        ]);
        assert_eq!(made.unwrap().changes, 1);
        database
            .execute("INSERT INTO users(id, name) VALUES (1, 'Ada')", ())
            .unwrap();
        let noted = database.execute("SELECT hash, at FROM __drizzle_migrations", ());
        assert_eq!(
            noted.unwrap().rows,
            [[Value::from("0001"), Value::Integer(7)]]
        );
    }

    #[test]
    fn one_that_is_refused_takes_the_others_along() {
        let directory = tempfile::tempdir().unwrap();
        let database = database(&directory);
        database
            .execute("CREATE TABLE old(id INTEGER PRIMARY KEY)", ())
            .unwrap();
        database.execute("INSERT INTO old VALUES (1)", ()).unwrap();
        for last in [
            "CREATE TABLE b(id INTEGER PRIMARY KEY",
            "ALTER TABLE a RENAME TO old",
            "INSERT INTO a VALUES (1)",
            "DELETE FROM a",
            "CREATE INDEX i ON nowhere(x)",
        ] {
            let refused = database.execute_together(&[
                Call::new("CREATE TABLE a(id INTEGER PRIMARY KEY)", ()),
                Call::new("DROP TABLE old", ()),
                Call::new(last, ()),
            ]);
            assert!(refused.is_err(), "{last}");
            assert_eq!(tables(&database), ["old"], "{last}");
        }
        let kept = database.execute("SELECT count(*) FROM old", ()).unwrap();
        assert_eq!(kept.first_value(), Some(&Value::from(1)));
    }

    #[test]
    fn a_draft_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let database = database(&directory);
        let mut draft = database.draft();
        let create = "CREATE TABLE t(id INTEGER PRIMARY KEY, a) /* shardwright: global */";
        draft.add(create, ()).unwrap();
        assert!(draft.add(create, ()).is_err());
        let two = draft.add("INSERT INTO t(a) VALUES (1), (2)", ()).unwrap();
        assert_eq!(two.changes, 2);
        assert!(tables(&database).is_empty());
    }
}
