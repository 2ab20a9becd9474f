//! A shard file to start from, and the smallest questions and changes.

use std::time::Duration;

use shardwright_store::{Config, Error, Identity, ShardFile, Value};
use tempfile::TempDir;

pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// Whose file it is unless a test says otherwise.
pub(crate) fn identity() -> Identity {
    Identity::new("shop", "shard-0")
}

/// Whoever finds the file busy does not wait.
pub(crate) fn config() -> Config {
    Config {
        busy_timeout: Duration::ZERO,
        ..Config::default()
    }
}

/// A file with a table `t (id INTEGER PRIMARY KEY, v)` of `rows` rows.
pub(crate) fn filled(rows: i64, config: &Config) -> (TempDir, ShardFile) {
    let directory = directory();
    let file = ShardFile::create(directory.path().join("shard-0.db"), &identity(), config).unwrap();
    let mut writer = file.writer().unwrap();
    writer
        .execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v)", ())
        .unwrap();
    writer
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
             INSERT INTO t SELECT i, 'v' || i FROM n WHERE ?1 > 0",
            &[Value::from(rows)],
        )
        .unwrap();
    drop(writer);
    (directory, file)
}

/// How many rows `t` has.
pub(crate) fn count(file: &ShardFile) -> i64 {
    file.reader()
        .unwrap()
        .query_row("SELECT count(*) FROM t", (), |row| row.get(0).as_i64())
        .unwrap()
        .flatten()
        .expect("count gives an integer")
}

/// Adds one row to `t`.
pub(crate) fn insert(file: &ShardFile, id: i64) -> Result<(), Error> {
    file.writer()?
        .execute("INSERT INTO t (id) VALUES (?1)", &[Value::from(id)])
        .map(drop)
}
