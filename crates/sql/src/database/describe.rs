//! What a statement takes and gives, told without running it.

use turso_parser::ast::{PragmaBody, Stmt};

use super::{ShardedDatabase, pragma, state::State};
use crate::{answer::ResultColumn, error::Error, plan::Plan};

/// What a statement takes and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The columns of its rows, of RETURNING too; none for a statement that gives no rows.
    pub columns: Vec<ResultColumn>,
    /// Its parameters, by number. `None` for a `?` without a name.
    pub parameters: Vec<Option<String>>,
    /// Whether it is an `EXPLAIN` or `EXPLAIN QUERY PLAN`.
    pub is_explain: bool,
    /// Whether it changes neither rows nor the schema. `BEGIN` counts as such too.
    pub is_read_only: bool,
}

impl ShardedDatabase {
    /// Tells what a statement takes and gives, by the schema of this moment. Nothing is run, and no place is asked.
    ///
    /// ```
    /// use shardwright_sql::{CreateOptions, ShardedDatabase};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let db = ShardedDatabase::create(directory.path().join("shop"), &CreateOptions::default())?;
    /// db.execute("CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT)", ())?;
    /// let added = db.describe("INSERT INTO users VALUES (?1, :name) RETURNING name")?;
    /// assert_eq!(added.columns[0].declared_type.as_deref(), Some("TEXT"));
    /// assert_eq!(added.parameters, [Some("?1".to_owned()), Some(":name".to_owned())]);
    /// assert!(!added.is_read_only);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What SQLite says of it, or why it would be refused whatever its values are.
    pub fn describe(&self, sql: &str) -> Result<Description, Error> {
        let state = self.inner.state.load();
        let planned = state.plan(sql)?;
        match &planned.plan {
            Plan::Read(_) | Plan::Explain(_) | Plan::Insert(_) | Plan::Change(_) | Plan::Ddl(_) => {
                compiled(&state, sql)
            }
            Plan::Shards(_) => Ok(Description {
                columns: planned.columns.clone(),
                parameters: (planned.parameters.iter())
                    .map(|name| name.as_deref().map(str::to_owned))
                    .collect(),
                is_explain: true,
                is_read_only: true,
            }),
            Plan::Pragma(statement) => of_pragma(&state, statement, sql),
            Plan::Transaction(_) => Ok(Description::of_columns(Vec::new(), true)),
        }
    }
}

impl Description {
    fn of_columns(names: Vec<&str>, is_read_only: bool) -> Self {
        let columns = names.into_iter().map(|name| ResultColumn {
            name: name.to_owned(),
            declared_type: None,
        });
        Self {
            columns: columns.collect(),
            parameters: Vec::new(),
            is_explain: false,
            is_read_only,
        }
    }
}

/// What SQLite makes of a statement.
fn compiled(state: &State, sql: &str) -> Result<Description, Error> {
    state.on_copy(|copy| {
        let statement = copy.prepare(sql)?;
        let columns = statement.columns();
        let columns = columns.map(|column| ResultColumn {
            name: column.name().to_owned(),
            declared_type: column.decl_type().map(str::to_owned),
        });
        let parameters = 1..=statement.parameter_count();
        Ok(Description {
            columns: columns.collect(),
            parameters: parameters
                .map(|number| statement.parameter_name(number).map(str::to_owned))
                .collect(),
            is_explain: statement.is_explain() != 0,
            is_read_only: statement.readonly(),
        })
    })
}

/// SQLite carries out some PRAGMAs when it compiles them, so only those are compiled that change nothing.
fn of_pragma(state: &State, statement: &Stmt, sql: &str) -> Result<Description, Error> {
    let Stmt::Pragma { name, body } = statement else {
        unreachable!("the caller has matched the statement")
    };
    let name = crate::schema::fold(name.name.as_str());
    let sets = matches!(body, Some(PragmaBody::Equals(_)));
    match pragma::kind(&name, body.as_ref()) {
        Some(pragma::Kind::OfSchema) => compiled(state, sql),
        Some(pragma::Kind::OfFiles) => Ok(Description::of_columns(vec!["integrity_check"], true)),
        Some(pragma::Kind::Kept) => Ok(Description::of_columns(Vec::new(), false)),
        Some(pragma::Kind::Fixed) if sets => Ok(Description::of_columns(Vec::new(), true)),
        Some(pragma::Kind::Fixed) => Ok(Description::of_columns(vec![&name], true)),
        None => Err(pragma::refused(&name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CreateOptions;

    fn check(sql: &str, columns: &[&str], parameters: usize, is_read_only: bool) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let database = ShardedDatabase::create(path, &CreateOptions::default()).unwrap();
        database
            .execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)", ())
            .unwrap();
        let described = database.describe(sql).unwrap();
        let names: Vec<&str> = described.columns.iter().map(|c| &*c.name).collect();
        assert_eq!(names, columns, "{sql}");
        assert_eq!(described.parameters.len(), parameters, "{sql}");
        assert_eq!(described.is_read_only, is_read_only, "{sql}");
    }

    #[test]
    fn columns_and_parameters_are_those_that_the_statement_has() {
        check(
            "SELECT id, a AS b FROM t WHERE id = ?",
            &["id", "b"],
            1,
            true,
        );
        check("INSERT INTO t VALUES (?, ?)", &[], 2, false);
        check("DELETE FROM t WHERE id = 1 RETURNING id", &["id"], 0, false);
        check("CREATE TABLE u(id INTEGER PRIMARY KEY)", &[], 0, false);
        check("BEGIN IMMEDIATE", &[], 0, true);
        check("SELECT name FROM sqlite_master", &["name"], 0, true);
    }

    #[test]
    fn a_pragma_gives_the_columns_that_it_answers_with() {
        let info = ["cid", "name", "type", "notnull", "dflt_value", "pk"];
        check("PRAGMA main.table_info(\"t\")", &info, 0, true);
        check("PRAGMA foreign_keys", &["foreign_keys"], 0, true);
        check("PRAGMA foreign_keys = on", &[], 0, true);
        check("PRAGMA user_version", &["user_version"], 0, true);
        check("PRAGMA user_version = 3", &[], 0, false);
    }
}
