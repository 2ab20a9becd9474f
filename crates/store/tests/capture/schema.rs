//! Statements on the schema, and what is refused.

use shardwright_store::{Change, Error, ReplicaError, Value};

use crate::pair::{Pair, error_of, statements};

#[test]
fn definitions_are_repeated() {
    let mut pair = Pair::after(&[
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)",
        "INSERT INTO t VALUES (1, 1, 1), (2, 2, 2)",
        "CREATE INDEX i ON t (a) WHERE b > 1",
        "CREATE UNIQUE INDEX u ON t (a + b)",
        "ALTER TABLE t ADD COLUMN c DEFAULT 5",
        "ALTER TABLE t RENAME COLUMN a TO aa",
        "UPDATE t SET c = 6 WHERE id = 1",
        "DROP INDEX i",
        "ALTER TABLE t DROP COLUMN c",
        "CREATE VIEW v AS SELECT aa FROM t",
        "CREATE TRIGGER r AFTER INSERT ON t BEGIN UPDATE t SET b = 9 WHERE id = new.id; END",
        "INSERT INTO t VALUES (3, 3, 3)",
        "ALTER TABLE t RENAME TO tt",
        "DROP VIEW v",
        "CREATE TABLE IF NOT EXISTS \"quoted name\" (\"a b\" PRIMARY KEY) WITHOUT ROWID",
        "INSERT INTO \"quoted name\" VALUES ('x')",
        "DROP TRIGGER r",
        "REINDEX",
        "DROP TABLE IF EXISTS \"quoted name\"",
    ]);
    assert!(pair.execute("CREATE TABLE IF NOT EXISTS tt (z)").is_empty());
    assert!(pair.execute("DROP TABLE IF EXISTS nowhere").is_empty());
    assert!(pair.execute("CREATE TEMP TABLE mine (a)").is_empty());
    assert!(pair.execute("INSERT INTO mine VALUES (1)").is_empty());
    assert!(pair.execute("DROP TABLE mine").is_empty());
}

#[test]
fn create_table_as_select_is_split() {
    let mut pair = Pair::after(&["CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)"]);
    pair.execute("INSERT INTO t VALUES (1, 'x'), (2, 'y')");
    let changes =
        pair.execute("CREATE TABLE copy AS SELECT a, random() AS r, id + 0.5 AS f FROM t");
    let kinds: Vec<_> = changes
        .changes()
        .map(|change| match change {
            Change::Schema { sql, .. } => sql.replace('\n', ""),
            Change::Row(row) => row.table().name.clone(),
            Change::Setting { .. } | Change::Sequences(_) | Change::Border => String::new(),
        })
        .filter(|kind| !kind.is_empty())
        .collect();
    assert_eq!(kinds, ["CREATE TABLE copy(a TEXT,r,f)", "copy", "copy"]);
}

#[test]
fn rows_before_within_and_after_definitions_keep_their_order() {
    let mut pair = Pair::after(&[
        "CREATE TABLE p (id INTEGER PRIMARY KEY)",
        "CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE SET NULL)",
        "INSERT INTO p VALUES (1)",
        "INSERT INTO c VALUES (1, 1)",
    ]);
    pair.run(&mut [statements(&[
        "INSERT INTO p VALUES (2)",
        "INSERT INTO c VALUES (2, 2)",
        "CREATE TABLE x (a)",
        "INSERT INTO x VALUES (1), (2)",
        "ALTER TABLE x ADD COLUMN b DEFAULT 3",
        "UPDATE x SET a = a + 10, b = 4 WHERE a = 1",
        "ALTER TABLE x RENAME TO y",
        "DELETE FROM y WHERE a = 2",
        "INSERT INTO c VALUES (3, 2)",
        "DROP TABLE p",
        "CREATE TABLE p (other)",
        "INSERT INTO p VALUES ('new')",
    ])]);
    assert_eq!(pair.one("SELECT count(p) FROM c"), Value::from(0));
    assert_eq!(pair.one("SELECT b FROM y"), Value::from(4));
}

#[test]
fn a_sequence_that_a_drop_began_by_a_trigger_follows() {
    let mut pair = Pair::after(&[
        "CREATE TABLE p (id INTEGER PRIMARY KEY)",
        "CREATE TABLE c (p REFERENCES p ON DELETE CASCADE)",
        "CREATE TABLE log (id INTEGER PRIMARY KEY AUTOINCREMENT, x)",
        "CREATE TRIGGER d AFTER DELETE ON c BEGIN INSERT INTO log (x) VALUES (1); END",
        "INSERT INTO p VALUES (1), (2)",
        "INSERT INTO c VALUES (1), (2)",
    ]);
    pair.execute("DROP TABLE p");
    assert_eq!(pair.one("SELECT count(*) FROM log"), Value::from(2));
    assert_eq!(pair.one("SELECT seq FROM sqlite_sequence"), Value::from(2));
}

#[test]
fn a_definition_that_fails_or_is_undone_leaves_nothing() {
    let mut pair = Pair::after(&["CREATE TABLE t (a)"]);
    let (results, sets) = pair.run(&mut [Box::new(|member| {
        member.execute("INSERT INTO t VALUES (1)", ())?;
        assert!(member.execute("CREATE TABLE t (b)", ()).is_err());
        member.execute("INSERT INTO t VALUES (2)", ()).map(drop)
    })]);
    assert!(results[0].as_ref().unwrap().is_ok());
    assert!(!sets[0].is_empty());
    let (_, sets) = pair.run(&mut [statements(&[
        "INSERT INTO t VALUES (3)",
        "CREATE TABLE u (a)",
        "INSERT INTO u VALUES (1)",
        "SELECT * FROM nowhere",
    ])]);
    assert!(sets[0].is_empty());
    assert_eq!(pair.one("SELECT count(*) FROM t"), Value::from(2));
}

#[test]
fn definitions_get_batches_of_their_own() {
    let mut pair = Pair::after(&["CREATE TABLE t (a)"]);
    let (results, sets) = pair.run(&mut [
        statements(&["INSERT INTO t VALUES (1)"]),
        statements(&["INSERT INTO t VALUES (2)", "CREATE TABLE u (a)"]),
        statements(&["INSERT INTO t VALUES (3)"]),
    ]);
    assert!(
        results
            .iter()
            .all(|result| result.as_ref().unwrap().is_ok())
    );
    assert_eq!(sets.len(), 2);
    assert_eq!(pair.one("SELECT count(*) FROM t"), Value::from(3));
}

#[test]
fn statistics_are_each_copy_s_own() {
    let mut pair = Pair::after(&[
        "CREATE TABLE t (a)",
        "CREATE INDEX i ON t (a)",
        "INSERT INTO t VALUES (1), (2)",
        "ANALYZE",
    ]);
    assert_eq!(
        pair.one("SELECT count(*) FROM sqlite_stat1 WHERE tbl = 't'"),
        Value::from(1)
    );
    assert!(
        pair.execute("UPDATE sqlite_stat1 SET stat = '9 9'")
            .is_empty()
    );
    assert!(pair.execute("DROP TABLE sqlite_stat1").is_empty());
    pair.execute("INSERT INTO t VALUES (3)");
    pair.execute("PRAGMA optimize(0x10002)");
    pair.execute("ANALYZE t");
}

#[test]
fn what_copies_cannot_follow_is_refused() {
    let mut pair = Pair::after(&["CREATE TABLE t (a)"]);
    for sql in [
        "VACUUM",
        "VACUUM INTO 'elsewhere.db'",
        "ATTACH ':memory:' AS other",
        "DETACH other",
        "PRAGMA writable_schema = ON",
        "PRAGMA legacy_alter_table = ON",
        "PRAGMA foreign_keys = OFF",
        "PRAGMA schema_version(5)",
        "PRAGMA \"encoding\" = 'UTF-16'",
    ] {
        let (mut results, sets) = pair.run(&mut [
            statements(&[sql]),
            statements(&["INSERT INTO t VALUES (1)"]),
        ]);
        let error = error_of(results.remove(0));
        assert!(
            matches!(error, Error::Replica(ReplicaError::Refused { .. })),
            "{sql}: {error}"
        );
        assert!(!sets[0].is_empty());
    }
}

#[test]
fn a_virtual_table_that_defines_tables_by_itself_is_refused() {
    let mut pair = Pair::after(&["CREATE VIRTUAL TABLE old USING fts4(a)"]);
    let (mut results, _) =
        pair.run(&mut [statements(&["INSERT INTO old(old) VALUES ('automerge=2')"])]);
    match results.remove(0).unwrap() {
        Ok(()) => {}
        Err(error) => assert!(
            matches!(error, Error::Replica(ReplicaError::Refused { .. })),
            "{error}"
        ),
    }
}

#[test]
fn system_tables_are_not_for_clients() {
    let mut pair = Pair::after(&["CREATE TABLE t (a)"]);
    for sql in [
        "UPDATE _repl SET lsn = 7",
        "DELETE FROM _dedup",
        "DROP TABLE _meta",
        "CREATE INDEX i ON _meta (value)",
        "DROP TABLE _repl",
        "ALTER TABLE _dedup RENAME TO mine",
        "CREATE INDEX i ON _Repl (lsn)",
        "CREATE TRIGGER g AFTER UPDATE ON _repl BEGIN SELECT 1; END",
        "/* shardwright */ UPDATE main._repl SET epoch = ?1, lsn = ?2, hash = ?3 WHERE id = 0",
    ] {
        let (mut results, _) = pair.run(&mut [statements(&[sql])]);
        let error = error_of(results.remove(0));
        assert!(matches!(error, Error::Sql { .. }), "{sql}: {error}");
        let mut writer = pair.primary.writer().unwrap();
        assert!(writer.execute(sql, ()).is_err(), "{sql}");
        assert!(writer.execute_script(sql).is_err(), "{sql}");
    }
    pair.execute("CREATE TRIGGER sneaky AFTER INSERT ON t BEGIN DELETE FROM _dedup; END");
    let (mut results, _) = pair.run(&mut [statements(&["INSERT INTO t VALUES (1)"])]);
    assert!(results.remove(0).unwrap().is_err());
    let tables = pair.primary.snapshot().unwrap().tables().unwrap();
    assert_eq!(tables.len(), 1);
}

#[test]
fn a_definition_that_was_undone_is_not_taken_for_another_one() {
    let mut pair = Pair::after(&["CREATE TABLE t (id INTEGER PRIMARY KEY)"]);
    let mut writer = pair.primary.writer().unwrap();
    let mut define = statements(&["CREATE TABLE u (a PRIMARY KEY, b, c) WITHOUT ROWID"]);
    let captured = writer.execute_batch(std::slice::from_mut(&mut define));
    assert!(!captured.unwrap().changes.is_empty());
    writer.rollback().unwrap();
    drop(writer);
    // Outside of a batch, at the version of the schema that the other one had.
    for file in [&pair.primary, &pair.copy] {
        let mut writer = file.writer().unwrap();
        writer.execute("CREATE TABLE u (x, y)", ()).unwrap();
    }
    pair.execute("INSERT INTO u VALUES (1, 2), (1, 3)");
    pair.execute("UPDATE u SET y = 4 WHERE y = 2");
}
