//! One SQLite database with all the rows: the judge of every answer.

use crate::{
    answer::{Answer, Database, Failure, FailureKind},
    value::Value,
};
use rusqlite::{Connection, ErrorCode, types};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// How many times per statement SQLite may report progress before the statement counts as exhausted.
const PROGRESS_LIMIT: u64 = 3_000;
const STEPS_PER_PROGRESS: i32 = 10_000;

/// Whether SQLite enforces foreign keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignKeys {
    /// As after `PRAGMA foreign_keys = on`.
    Enforced,
    /// As after `PRAGMA foreign_keys = off`.
    Ignored,
}

/// A single SQLite database, in memory or in one file.
#[derive(Debug)]
pub struct Oracle {
    connection: Connection,
    progress: Arc<AtomicU64>,
}

impl Oracle {
    /// An empty database in memory.
    pub fn in_memory(foreign_keys: ForeignKeys) -> Result<Self, Failure> {
        Self::over(
            Connection::open_in_memory().map_err(|error| failure(&error))?,
            foreign_keys,
        )
    }

    /// The database in the file `path`, created if absent.
    pub fn open(path: &Path, foreign_keys: ForeignKeys) -> Result<Self, Failure> {
        Self::over(
            Connection::open(path).map_err(|error| failure(&error))?,
            foreign_keys,
        )
    }

    /// Runs every statement of `sql`; stops at the first that fails.
    pub fn script(&mut self, sql: &str) -> Result<(), Failure> {
        self.connection
            .execute_batch(sql)
            .map_err(|error| failure(&error))
    }

    /// Copies the whole database to the file `path`, which must not exist.
    pub fn save(&mut self, path: &Path) -> Result<(), Failure> {
        let path = Value::text(path.to_string_lossy());
        self.execute("VACUUM INTO ?1", &[path]).map(drop)
    }

    fn over(mut connection: Connection, foreign_keys: ForeignKeys) -> Result<Self, Failure> {
        let enforced = foreign_keys == ForeignKeys::Enforced;
        connection
            .pragma_update(None, "foreign_keys", enforced)
            .map_err(|error| failure(&error))?;
        let progress = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&progress);
        connection
            .progress_handler(
                STEPS_PER_PROGRESS,
                Some(move || count.fetch_add(1, Ordering::Relaxed) >= PROGRESS_LIMIT),
            )
            .map_err(|error| failure(&error))?;
        Ok(Self {
            connection,
            progress,
        })
    }

    fn run(&self, sql: &str, params: &[Value]) -> rusqlite::Result<Answer> {
        let mut statement = self.connection.prepare(sql)?;
        for (index, value) in params.iter().enumerate() {
            statement.raw_bind_parameter(index + 1, to_sqlite(value))?;
        }
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let reads_only = statement.readonly();
        let before = self.connection.total_changes();
        let mut answer = Answer {
            columns,
            ..Answer::default()
        };
        let width = answer.columns.len();
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            let values = (0..width).map(|column| row.get_ref(column).map(from_sqlite));
            answer.rows.push(values.collect::<Result<_, _>>()?);
        }
        drop(rows);
        drop(statement);
        if !reads_only {
            let wrote = self.connection.total_changes() > before;
            answer.changes = Some(if wrote { self.connection.changes() } else { 0 });
        }
        Ok(answer)
    }
}

impl Database for Oracle {
    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<Answer, Failure> {
        self.progress.store(0, Ordering::Relaxed);
        self.run(sql, params).map_err(|error| failure(&error))
    }
}

fn to_sqlite(value: &Value) -> types::ToSqlOutput<'_> {
    types::ToSqlOutput::Borrowed(match value {
        Value::Null => types::ValueRef::Null,
        Value::Integer(integer) => types::ValueRef::Integer(*integer),
        Value::Real(real) => types::ValueRef::Real(*real),
        Value::Text(bytes) => types::ValueRef::Text(bytes),
        Value::Blob(bytes) => types::ValueRef::Blob(bytes),
    })
}

fn from_sqlite(value: types::ValueRef<'_>) -> Value {
    match value {
        types::ValueRef::Null => Value::Null,
        types::ValueRef::Integer(integer) => Value::Integer(integer),
        types::ValueRef::Real(real) => Value::Real(real),
        types::ValueRef::Text(bytes) => Value::Text(bytes.to_vec()),
        types::ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

fn failure(error: &rusqlite::Error) -> Failure {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => FailureKind::Constraint,
        Some(ErrorCode::OperationInterrupted) => FailureKind::Exhausted,
        _ => FailureKind::Sql,
    };
    Failure {
        kind,
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oracle() -> Oracle {
        Oracle::in_memory(ForeignKeys::Enforced).unwrap()
    }

    #[test]
    fn values_come_back_as_they_went_in() {
        let values = [
            Value::Null,
            Value::Integer(i64::MIN),
            Value::Real(1e300),
            Value::text("a\0ß"),
            Value::Text(vec![0xff]),
            Value::Blob(vec![0, 255]),
        ];
        for value in values {
            let bound = oracle()
                .execute("SELECT ?1 AS v", std::slice::from_ref(&value))
                .unwrap();
            assert_eq!(bound.rows, [[value.clone()]]);
            assert_eq!(bound.columns, ["v"]);
            let literal = oracle().execute(&format!("SELECT {value}"), &[]).unwrap();
            assert_eq!(literal.rows, [[value]]);
        }
    }

    #[test]
    fn writes_count_their_rows_and_failures_have_a_kind() {
        let mut oracle = oracle();
        oracle
            .script("CREATE TABLE t(k INTEGER PRIMARY KEY, v)")
            .unwrap();
        let insert = "INSERT INTO t VALUES (1, 'a'), (2, 'b') RETURNING k";
        let inserted = oracle.execute(insert, &[]).unwrap();
        assert_eq!((inserted.changes, inserted.rows.len()), (Some(2), 2));
        let updated = oracle
            .execute("UPDATE t SET v = 1 WHERE k = 9", &[])
            .unwrap();
        assert_eq!(updated.changes, Some(0));
        let kind = |result: Result<Answer, Failure>| result.map_err(|failure| failure.kind);
        assert_eq!(
            kind(oracle.execute(insert, &[])),
            Err(FailureKind::Constraint)
        );
        assert_eq!(
            kind(oracle.execute("SELECT nothing", &[])),
            Err(FailureKind::Sql)
        );
        let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                       SELECT count(*) FROM n";
        assert_eq!(
            kind(oracle.execute(endless, &[])),
            Err(FailureKind::Exhausted)
        );
    }
}
