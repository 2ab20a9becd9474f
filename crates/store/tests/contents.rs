//! Tables, scans, digests and checks of a file's contents.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::{path::PathBuf, rc::Rc, time::Duration};

use shardwright_store::{
    Batch, Checkpoint, Config, Error, Identity, KeyRange, Orphan, RowKey, ShardFile, Table,
    Thoroughness, Value,
};
use tempfile::TempDir;

fn file(script: &str) -> (TempDir, ShardFile) {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        busy_timeout: Duration::ZERO,
        ..Config::default()
    };
    let path = directory.path().join("shard-0.db");
    let file = ShardFile::create(path, &Identity::new("shop", "shard-0"), &config).unwrap();
    file.writer().unwrap().execute_script(script).unwrap();
    (directory, file)
}

/// Scans a table in pages of at most `page` rows, each on a snapshot of its own.
fn scan_in_pages(file: &ShardFile, table: &str, page: usize) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    let mut range = KeyRange::default();
    loop {
        let snapshot = Rc::new(file.snapshot().unwrap());
        let table = snapshot.table(table).unwrap();
        let mut batch = Batch::new();
        snapshot
            .scan(&table, &range)
            .unwrap()
            .next_batch(&mut batch)
            .unwrap();
        if batch.is_empty() {
            return rows;
        }
        rows.extend(batch.rows().take(page).map(|row| row.to_values()));
        range.after = rows.last().map(|row| row[..table.key.len()].to_vec());
    }
}

#[test]
fn tables_show_their_row_keys_and_stored_columns() {
    let (_directory, file) = file(
        "CREATE TABLE plain (a, b TEXT PRIMARY KEY, c AS (a + 1), d AS (a + 2) STORED);
         CREATE TABLE shadowed (RowId, _rowid_);
         CREATE TABLE hidden (rowid, oid, _rowid_);
         CREATE TABLE compact (a TEXT COLLATE NOCASE, b, c,
             PRIMARY KEY (b DESC, a COLLATE BINARY)) WITHOUT ROWID;
         CREATE VIEW v AS SELECT 1;
         CREATE VIRTUAL TABLE words USING fts5 (word);",
    );
    let snapshot = file.snapshot().unwrap();
    let key = |table: &str| snapshot.table(table).map(|table| table.key);
    assert_eq!(
        snapshot.table("PLAIN").unwrap(),
        Table {
            name: "plain".to_owned(),
            columns: vec!["a".to_owned(), "b".to_owned()],
            key: RowKey::RowId("rowid"),
        }
    );
    assert_eq!(key("shadowed").unwrap(), RowKey::RowId("oid"));
    assert!(matches!(key("hidden"), Err(Error::NoRowKey { .. })));
    let RowKey::Columns(columns) = key("compact").unwrap() else {
        panic!("a WITHOUT ROWID table is keyed by its primary key");
    };
    let columns: Vec<_> = columns
        .iter()
        .map(|column| (column.name.as_str(), column.collation.as_str()))
        .collect();
    assert_eq!(columns, [("b", "BINARY"), ("a", "BINARY")]);
    for none in ["v", "words", "nowhere", "sqlite_schema_"] {
        assert!(matches!(key(none), Err(Error::NoTable { .. })), "{none}");
    }
}

#[test]
fn a_paged_scan_gives_each_row_once_in_key_order() {
    let (_directory, file) = file(
        "CREATE TABLE plain (name);
         INSERT INTO plain (rowid, name) VALUES (-5, 'a'), (3, NULL), (9007199254740993, 'b');
         CREATE TABLE compact (a TEXT COLLATE NOCASE, b, PRIMARY KEY (a COLLATE BINARY, b))
             WITHOUT ROWID;
         INSERT INTO compact VALUES ('x', 1), ('X', 1), ('x', 'one'), ('x', x'01'), ('', 1.5);",
    );
    for page in [1, 2, 256] {
        let plain = scan_in_pages(&file, "plain", page);
        let ids: Vec<_> = plain.iter().map(|row| row[0].as_i64().unwrap()).collect();
        assert_eq!(ids, [-5, 3, 9_007_199_254_740_993]);
        let compact = scan_in_pages(&file, "compact", page);
        let keys: Vec<_> = compact.iter().map(|row| row[..2].to_vec()).collect();
        assert_eq!(
            keys,
            [
                [Value::from(""), Value::from(1.5)],
                [Value::from("X"), Value::from(1)],
                [Value::from("x"), Value::from(1)],
                [Value::from("x"), Value::from("one")],
                [Value::from("x"), Value::from(vec![1])],
            ],
            "pages of {page}"
        );
    }
}

#[test]
fn a_scan_stops_at_its_upper_bound_and_checks_its_width() {
    let (_directory, file) =
        file("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3), (4);");
    let snapshot = Rc::new(file.snapshot().unwrap());
    let table = snapshot.table("t").unwrap();
    let mut range = KeyRange {
        after: Some(vec![Value::from(1)]),
        up_to: Some(vec![Value::from(3)]),
    };
    let mut batch = Batch::new();
    snapshot
        .scan(&table, &range)
        .unwrap()
        .next_batch(&mut batch)
        .unwrap();
    let ids: Vec<_> = batch.rows().map(|row| row.get(1).to_value()).collect();
    assert_eq!(ids, [Value::from(2), Value::from(3)]);
    range.after = Some(Vec::new());
    let error = snapshot.scan(&table, &range).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Parameters {
                expected: 1,
                given: 0
            }
        ),
        "{error}"
    );
}

#[test]
fn copies_with_the_same_rows_have_the_same_digest() {
    let schema = "CREATE TABLE t (a, b); CREATE TABLE s (id INTEGER PRIMARY KEY AUTOINCREMENT);";
    let (_one, one) = file(&format!(
        "{schema} INSERT INTO t VALUES (1, 'x'), (2, NULL);"
    ));
    let (_two, two) = file(&format!(
        "{schema} INSERT INTO t VALUES (2, NULL), (0, 0), (1, 'x'); DELETE FROM t WHERE a = 0; ANALYZE;"
    ));
    let digests = |file: &ShardFile| {
        let snapshot = file.snapshot().unwrap();
        (
            snapshot.table_digest("t").unwrap(),
            snapshot.content_digest().unwrap(),
        )
    };
    assert_eq!(digests(&one), digests(&two));
    let before = digests(&one);
    for change in [
        "UPDATE t SET b = 'y' WHERE a = 1",
        "UPDATE t SET b = x'78' WHERE a = 1",
        "INSERT INTO t VALUES (1, 'x')",
    ] {
        one.writer().unwrap().execute(change, ()).unwrap();
        assert_ne!(digests(&one).0, before.0, "{change}");
        assert_ne!(digests(&one).1, before.1, "{change}");
    }
    for change in [
        "INSERT INTO s VALUES (NULL)",
        "DELETE FROM s",
        "CREATE INDEX i ON t (a)",
    ] {
        let before = digests(&two);
        two.writer().unwrap().execute(change, ()).unwrap();
        assert_eq!(digests(&two).0, before.0, "{change}");
        assert_ne!(digests(&two).1, before.1, "{change}");
    }
}

#[test]
fn a_sound_file_has_no_problems_and_a_damaged_one_is_named() {
    let (directory, file) = file(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         INSERT INTO t SELECT i, hex(randomblob(20)) FROM n;
         CREATE INDEX v ON t (v);",
    );
    for thoroughness in [Thoroughness::Quick, Thoroughness::Full] {
        let problems = file.snapshot().unwrap().check(thoroughness).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
    }
    file.close().unwrap();
    let path: PathBuf = directory.path().join("shard-0.db");
    let mut bytes = std::fs::read(&path).unwrap();
    for page in bytes.chunks_exact_mut(4096).skip(10) {
        page[..64].fill(0x5a);
    }
    std::fs::write(&path, bytes).unwrap();

    let file = ShardFile::open(&path, &Config::default()).unwrap();
    let error = file
        .reader()
        .unwrap()
        .query_row(
            "SELECT count(*) FROM t NOT INDEXED WHERE v > ''",
            (),
            |_| (),
        )
        .unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { path: named, .. } if **named == path),
        "{error}"
    );
    let found = file.snapshot().unwrap().check(Thoroughness::Quick);
    assert!(
        matches!(&found, Ok(problems) if !problems.is_empty())
            || matches!(&found, Err(Error::Corrupt { .. })),
        "{found:?}"
    );
}

#[test]
fn orphans_are_found() {
    let (_directory, file) = file(
        "PRAGMA foreign_keys = OFF;
         CREATE TABLE parent (id INTEGER PRIMARY KEY);
         CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES parent);
         INSERT INTO child VALUES (7, 1), (8, NULL);",
    );
    assert_eq!(
        file.snapshot().unwrap().orphans().unwrap(),
        [Orphan {
            table: "child".to_owned(),
            rowid: Some(7),
            parent: "parent".to_owned(),
        }]
    );
}

#[test]
fn a_checkpoint_empties_the_log_unless_a_snapshot_needs_it() {
    let (directory, file) = file("CREATE TABLE t (v)");
    let log = directory.path().join("shard-0.db-wal");
    let snapshot = file.snapshot().unwrap();
    file.writer()
        .unwrap()
        .execute("INSERT INTO t VALUES (zeroblob(100000))", ())
        .unwrap();
    let blocked = file.checkpoint(Checkpoint::Truncate).unwrap();
    assert!(!blocked.complete, "{blocked:?}");
    assert!(file.size_bytes().unwrap() > 100_000);
    drop(snapshot);
    let done = file.checkpoint(Checkpoint::Truncate).unwrap();
    assert!(done.complete && done.pages_left == 0, "{done:?}");
    assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
    assert_eq!(
        file.size_bytes().unwrap(),
        std::fs::metadata(file.path()).unwrap().len()
    );
}

#[test]
fn kept_read_transactions_do_not_let_the_log_grow() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shard-0.db");
    let config = Config {
        snapshot_reads: true,
        checkpoint_pages: 50,
        ..Config::default()
    };
    let file = ShardFile::create(&path, &Identity::new("shop", "shard-0"), &config).unwrap();
    file.writer()
        .unwrap()
        .execute("CREATE TABLE t (v)", ())
        .unwrap();
    let log = directory.path().join("shard-0.db-wal");
    let mut written = 0;
    let mut is_used_again = || {
        let before = std::fs::metadata(&log).unwrap().len();
        for _ in 0..50 {
            file.writer()
                .unwrap()
                .execute("INSERT INTO t VALUES (zeroblob(8000))", ())
                .unwrap();
            written += 1;
            for _ in 0..3 {
                let count = file
                    .reader()
                    .unwrap()
                    .query_row("SELECT count(*) FROM t", (), |row| row.get(0).as_i64())
                    .unwrap();
                assert_eq!(count, Some(Some(written)));
            }
        }
        std::fs::metadata(&log).unwrap().len() == before
    };
    // That is more than it takes to move it; a thread does so while others write.
    assert!((0..1_000).any(|_| is_used_again()));
}

#[test]
fn a_log_that_has_grown_under_a_snapshot_begins_anew_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shard-0.db");
    let config = Config {
        checkpoint_pages: 5,
        ..Config::default()
    };
    let file = ShardFile::create(&path, &Identity::new("shop", "shard-0"), &config).unwrap();
    let log = directory.path().join("shard-0.db-wal");
    let write = |sql: &str| file.writer().unwrap().execute(sql, ()).unwrap();
    write("CREATE TABLE t (v)");
    let snapshot = file.snapshot().unwrap();
    for _ in 0..100 {
        write("INSERT INTO t VALUES (zeroblob(8000))");
    }
    drop(snapshot);
    // A thread moves what has gathered, and commits go on meanwhile.
    let is_used_again = || {
        let before = std::fs::metadata(&log).unwrap().len();
        for _ in 0..10 {
            write("INSERT INTO t VALUES (zeroblob(8000))");
        }
        std::fs::metadata(&log).unwrap().len() == before
    };
    assert!((0..10_000).any(|_| is_used_again()));
}

#[test]
fn rows_are_counted() {
    let (_directory, file) =
        file("CREATE TABLE \"odd \"\"name\" (a); INSERT INTO \"odd \"\"name\" VALUES (1), (2)");
    assert_eq!(file.snapshot().unwrap().row_count("odd \"name").unwrap(), 2);
}
