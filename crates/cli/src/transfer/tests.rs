//! What is sent of a file, and in which order.

use std::path::Path;

use rusqlite::Connection;
use shardwright_sql::{
    Value,
    adopt::{self, AdoptOptions},
};
use tempfile::TempDir;

use super::{Source, batches};

/// A file that was made by these statements, with its directory.
fn file(sql: &str) -> (TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}"))
        .unwrap();
    (directory, path)
}

fn open(path: &Path, globals: &[&str]) -> Source {
    let options = AdoptOptions {
        globals: globals.iter().map(|&name| name.to_owned()).collect(),
        ..AdoptOptions::default()
    };
    Source::open(path, &options).unwrap()
}

/// Why a file cannot be brought into a cluster.
fn refused(sql: &str, globals: &[&str]) -> String {
    let (_directory, path) = file(sql);
    open(&path, globals).check().unwrap_err().to_string()
}

/// The statements that fill a table: how many rows each brings, and its values.
fn sent(source: &Source, table: &str) -> Vec<(u64, Vec<Value>)> {
    let mut sent = Vec::new();
    let mut sendings = source.sendings();
    let (sending, count) = sendings.find(|(each, _)| each.table.name == table).unwrap();
    batches::each(source.connection(), &sending, &mut |batch| {
        sent.push((batch.rows, batch.args));
        Ok(())
    })
    .unwrap();
    assert_eq!(sent.len() as u64, count);
    sent
}

/// The first column of the rows of a table with so many, in the order in which they are sent.
fn keys(source: &Source, table: &str, width: usize) -> Vec<i64> {
    let rows = sent(source, table).into_iter();
    let values: Vec<Value> = rows.flat_map(|(_, values)| values).collect();
    let rows = values.chunks(width);
    rows.map(|row| row[0].as_i64().unwrap()).collect()
}

#[test]
fn the_rows_come_once_in_statements_of_bounded_size() {
    let (_directory, path) = file(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, text, twice AS (id * 2));
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
           INSERT INTO t(id, text) SELECT i, 'row ' || i FROM n;
         INSERT INTO t(id, text) VALUES (901, zeroblob(400000)), (902, 'last');
         CREATE TABLE w(a, b, PRIMARY KEY(b, a)) WITHOUT ROWID;
         INSERT INTO w VALUES (2, 1), (1, 2), (1, 1);
         CREATE TABLE n(rowid, _rowid_, oid); INSERT INTO n VALUES (7, 8, 9)",
    );
    let source = open(&path, &[]);
    source.check().unwrap();
    let all = sent(&source, "t");
    let sizes: Vec<u64> = all.iter().map(|(rows, _)| *rows).collect();
    assert_eq!(sizes, [400, 400, 100, 1, 1], "a large row is alone");
    assert_eq!(all[0].1.len(), 800, "what is computed is not sent");
    let keys = [1, 1, 2, 1, 1, 2].map(Value::from);
    assert_eq!(sent(&source, "w"), [(3, keys.to_vec())]);
    assert_eq!(
        sent(&source, "n"),
        [(1, [7, 8, 9].map(Value::from).to_vec())]
    );
    assert_eq!(source.rows(), 906);
}

#[test]
fn the_digest_is_that_of_what_is_sent() {
    let script = "CREATE TABLE t(id INTEGER PRIMARY KEY, x); INSERT INTO t VALUES (1, 'a')";
    let digest = |sql: &str, globals: &[&str]| {
        let (_directory, path) = file(sql);
        open(&path, globals).digest().to_owned()
    };
    let first = digest(script, &[]);
    assert_eq!(digest(&format!("{script}; VACUUM"), &[]), first);
    for changed in [
        "UPDATE t SET x = 'b'",
        "UPDATE t SET x = x'61'",
        "CREATE INDEX i ON t(x)",
        "PRAGMA user_version = 4",
    ] {
        assert_ne!(
            digest(&format!("{script}; {changed}"), &[]),
            first,
            "{changed}"
        );
    }
    assert_ne!(digest(script, &["t"]), first, "where the rows live");
}

#[test]
fn a_directory_says_the_same_each_time() {
    let (directory, path) = file(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, x); CREATE TABLE plain(x); INSERT INTO plain VALUES ('b'), ('a');
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
           INSERT INTO t SELECT i, 'row ' || i FROM n",
    );
    let shards = directory.path().join("shards");
    let options = AdoptOptions::default();
    adopt::import(&path, &shards, 4, &options, &mut |_| {}).unwrap();
    let source = open(&shards, &[]);
    assert_eq!(source.rows(), 102);
    assert_eq!(open(&shards, &[]).digest(), source.digest());
}

#[test]
fn rows_come_after_those_that_they_refer_to() {
    let (_directory, path) = file(
        "CREATE TABLE chain(id INTEGER PRIMARY KEY, next REFERENCES chain);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
           INSERT INTO chain SELECT i, nullif(i + 1, 1001) FROM n;
         CREATE TABLE two(id INTEGER PRIMARY KEY, a REFERENCES two, b REFERENCES two);
         INSERT INTO two VALUES (1, 3, 2), (2, 3, NULL), (3, 3, NULL), (4, NULL, 1);
         CREATE TABLE keyed(n INT, name TEXT COLLATE NOCASE PRIMARY KEY, of TEXT REFERENCES keyed) WITHOUT ROWID;
         INSERT INTO keyed VALUES (1, 'a', 'B'), (2, 'b', 'C'), (3, 'c', NULL)",
    );
    let source = open(&path, &["chain", "two", "keyed"]);
    source.check().unwrap();
    let backwards: Vec<i64> = (1..=1000).rev().collect();
    assert_eq!(keys(&source, "chain", 2), backwards);
    assert_eq!(keys(&source, "two", 3), [3, 2, 1, 4]);
    assert_eq!(keys(&source, "keyed", 3), [3, 2, 1]);
    assert_eq!(source.rows(), 1007);
}

#[test]
fn tables_come_after_those_that_they_refer_to() {
    let (_directory, path) = file(
        "CREATE TABLE a(id INTEGER PRIMARY KEY, b REFERENCES b);
         CREATE TABLE b(id INTEGER PRIMARY KEY, a REFERENCES a);
         INSERT INTO b VALUES (1, NULL); INSERT INTO a VALUES (1, 1)",
    );
    // Neither is first by itself: the rows decide.
    let source = open(&path, &["a", "b"]);
    let refused = source.check().unwrap_err().to_string();
    assert!(
        refused.contains("a: 1 row with a foreign key to b"),
        "{refused}"
    );
}

#[test]
fn what_the_cluster_would_refuse_is_said_before() {
    let circle = "CREATE TABLE t(id INTEGER PRIMARY KEY, p REFERENCES t); INSERT INTO t VALUES (1, 2), (2, 1), (3, 2), (4, NULL)";
    let said = refused(circle, &["t"]);
    assert!(
        said.contains("t: 3 rows that refer to each other in a circle"),
        "{said}"
    );
    let lost =
        "CREATE TABLE t(id INTEGER PRIMARY KEY, p REFERENCES t); INSERT INTO t VALUES (1, 7)";
    let said = refused(lost, &["t"]);
    assert!(said.contains("t: 1 row without the row of t"), "{said}");
    let absent =
        "CREATE TABLE t(id INTEGER PRIMARY KEY, p REFERENCES u); INSERT INTO t VALUES (1, NULL)";
    let said = refused(absent, &[]);
    assert!(said.contains("t: no such table: main.u"), "{said}");
    let condition = "CREATE TABLE t(id INTEGER PRIMARY KEY, x CHECK (x > 1)); PRAGMA ignore_check_constraints = ON;
                     INSERT INTO t VALUES (1, 0)";
    let said = refused(condition, &[]);
    assert!(
        said.contains("t: a row is refused: CHECK constraint failed"),
        "{said}"
    );
    let virtual_table = "CREATE VIRTUAL TABLE t USING fts5(x)";
    let said = refused(virtual_table, &[]);
    assert!(said.contains("t: what a virtual table keeps"), "{said}");
    let across = "CREATE TABLE a(id INTEGER PRIMARY KEY, b REFERENCES b); CREATE TABLE b(id INTEGER PRIMARY KEY, a REFERENCES a)";
    let (_directory, path) = file(across);
    let said = open(&path, &["b"]).check();
    assert!(said.is_err(), "a foreign key from a shard to the catalog");
}

#[test]
fn rows_that_no_shard_takes_are_said_before() {
    let sizes = [
        ("zeroblob(8380416)", true),
        ("zeroblob(8000000)", false),
        // Six bytes of JSON for each.
        ("replace(hex(zeroblob(1500000)), '0', char(1))", true),
        ("replace(hex(zeroblob(1250000)), '0', char(1))", false),
    ];
    for (value, is_refused) in sizes {
        let (_directory, path) = file(&format!(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, x); INSERT INTO t VALUES (1, 'small'), (2, {value}), (3, 'small')"
        ));
        let source = open(&path, &[]);
        assert_eq!(source.check().is_err(), is_refused, "{value}");
        let said = source.check().map_err(|error| error.to_string());
        assert!(
            said.is_ok()
                || said
                    .unwrap_err()
                    .contains("t: 1 row with more than a shard commits")
        );
    }
}

#[test]
fn the_last_number_comes_first_and_goes_again() {
    let (_directory, path) = file(
        "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, x NOT NULL, t REFERENCES t);
         INSERT INTO t VALUES (1, 'a', 1), (2, 'b', NULL), (9, 'c', NULL); DELETE FROM t WHERE id = 9;
         CREATE TABLE none(id INTEGER PRIMARY KEY AUTOINCREMENT, x TEXT NOT NULL, y DEFAULT 4);
         INSERT INTO none(id, x) VALUES (5, 'a'); DELETE FROM none;
         CREATE TABLE plain(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO plain VALUES (3)",
    );
    let source = open(&path, &["t"]);
    source.check().unwrap();
    let all = sent(&source, "t");
    assert_eq!(
        all[0],
        (0, vec![Value::from(9), Value::from("a"), Value::from(9)])
    );
    assert_eq!(all[1], (0, vec![Value::from(9)]));
    assert_eq!(all[2].0, 2);
    let none = sent(&source, "none");
    assert_eq!(none[0], (0, vec![Value::from(5), Value::from("")]));
    assert_eq!(none.len(), 2);
    let three = || vec![Value::from(3)];
    let plain = [(0, three()), (0, three()), (1, three())];
    assert_eq!(sent(&source, "plain"), plain, "or no shard would note it");
    assert_eq!(source.rows(), 3);
    let bound = "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, p NOT NULL REFERENCES p);
                 INSERT INTO p VALUES (1); INSERT INTO t VALUES (4, 1); DELETE FROM t";
    let said = refused(bound, &["p", "t"]);
    assert!(said.contains("t: AUTOINCREMENT has given out 4"), "{said}");
}
