//! Every kind of change of rows.

use shardwright_store::{Change, ChangeSet, Encoding, Identity, Value};

use crate::pair::{Pair, statements};

/// Counts the inserted, updated and deleted rows of a table.
fn counts(changes: &ChangeSet, table: &str) -> (usize, usize, usize) {
    let mut counts = (0, 0, 0);
    for change in changes.changes() {
        if let Change::Row(row) = change
            && row.table().name == table
        {
            match (row.before(), row.after()) {
                (None, _) => counts.0 += 1,
                (Some(_), Some(_)) => counts.1 += 1,
                (Some(_), None) => counts.2 += 1,
            }
        }
    }
    counts
}

#[test]
fn rows_come_change_and_go() {
    let mut pair = Pair::after(&["CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)"]);
    let changes = pair.execute("INSERT INTO t VALUES (1, 'x', 1.5), (2, NULL, x'00ff'), (3, 3, 3)");
    assert_eq!(counts(&changes, "t"), (3, 0, 0));
    let changes = pair.execute("UPDATE t SET a = 'y' WHERE id > 1");
    assert_eq!(counts(&changes, "t"), (0, 2, 0));
    let changes = pair.execute("DELETE FROM t WHERE id = 2");
    assert_eq!(counts(&changes, "t"), (0, 0, 1));
    let changes = pair.execute("UPDATE t SET id = id + 10");
    assert_eq!(counts(&changes, "t"), (2, 0, 2));
    assert_eq!(
        pair.one("SELECT group_concat(id) FROM t"),
        Value::from("11,13")
    );
}

#[test]
fn changes_are_net() {
    let mut pair = Pair::after(&[
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
        "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)",
    ]);
    let (_, sets) = pair.run(&mut [
        statements(&["INSERT INTO t VALUES (9, 9)", "DELETE FROM t WHERE id = 1"]),
        statements(&["UPDATE t SET a = a + 1", "UPDATE t SET a = a + 1"]),
        statements(&["DELETE FROM t WHERE id = 9"]),
        statements(&["UPDATE t SET a = 3 WHERE id = 3"]),
    ]);
    assert_eq!(counts(&sets[0], "t"), (0, 1, 1));
    let changes = pair.execute("UPDATE t SET a = a");
    assert!(changes.is_empty());
}

#[test]
fn a_table_without_primary_key_keeps_its_rowids() {
    let mut pair = Pair::after(&[
        "CREATE TABLE t (a, b)",
        "INSERT INTO t (rowid, a) VALUES (5, NULL), (-3, NULL), (9, 1)",
        "INSERT INTO t VALUES (NULL, NULL)",
        "DELETE FROM t WHERE rowid = 5",
        "UPDATE t SET rowid = 77, b = 1 WHERE rowid = 9",
    ]);
    pair.execute("CREATE TABLE shadowed (rowid, oid)");
    pair.execute("INSERT INTO shadowed (_rowid_, rowid) VALUES (4, 'x')");
    assert_eq!(
        pair.one("SELECT group_concat(rowid) FROM (SELECT rowid FROM t ORDER BY rowid)"),
        Value::from("-3,10,77")
    );
    assert_eq!(pair.one("SELECT _rowid_ FROM shadowed"), Value::from(4));
}

#[test]
fn null_keys_are_seen() {
    let mut pair = Pair::after(&[
        "CREATE TABLE t (k TEXT PRIMARY KEY, v)",
        "INSERT INTO t VALUES (NULL, 1), (NULL, 2), ('a', 3)",
    ]);
    let changes = pair.execute("UPDATE t SET v = 10 WHERE k IS NULL AND v = 2");
    assert_eq!(counts(&changes, "t"), (0, 1, 0));
    let changes = pair.execute("DELETE FROM t WHERE k IS NULL");
    assert_eq!(counts(&changes, "t"), (0, 0, 2));
}

#[test]
fn delete_without_where_shows_each_row() {
    let mut pair = Pair::after(&["CREATE TABLE t (id INTEGER PRIMARY KEY)"]);
    // Compiled before anything is captured, and used again afterwards.
    pair.primary
        .writer()
        .unwrap()
        .execute("DELETE FROM t", ())
        .unwrap();
    pair.execute("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO t SELECT i FROM n");
    let changes = pair.execute("DELETE FROM t");
    assert_eq!(counts(&changes, "t"), (0, 0, 500));
    pair.execute("CREATE TABLE u (k PRIMARY KEY) WITHOUT ROWID");
    pair.execute("INSERT INTO u VALUES (1), (2)");
    assert_eq!(counts(&pair.execute("DELETE FROM u"), "u"), (0, 0, 2));
}

#[test]
fn a_statement_compiled_before_capture_hides_nothing() {
    let mut pair = Pair::new();
    for file in [&pair.primary, &pair.copy] {
        let mut writer = file.writer().unwrap();
        writer
            .execute_script("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
            .unwrap();
    }
    let mut writer = pair.primary.writer().unwrap();
    writer.begin().unwrap();
    writer.execute("DELETE FROM t", ()).unwrap();
    writer.rollback().unwrap();
    drop(writer);
    assert_eq!(counts(&pair.execute("DELETE FROM t"), "t"), (0, 0, 1));
}

#[test]
fn replace_and_upsert_show_what_they_displace() {
    let mut pair = Pair::after(&[
        "CREATE TABLE t (id INTEGER PRIMARY KEY, u UNIQUE, v)",
        "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)",
    ]);
    let changes = pair.execute("REPLACE INTO t VALUES (1, 'b', 9)");
    assert_eq!(counts(&changes, "t"), (0, 1, 1));
    let changes =
        pair.execute("INSERT INTO t VALUES (7, 'c', 0) ON CONFLICT (u) DO UPDATE SET v = v + 1");
    assert_eq!(counts(&changes, "t"), (0, 1, 0));
    assert!(
        pair.execute("INSERT OR IGNORE INTO t VALUES (1, 'z', 0)")
            .is_empty()
    );
    pair.execute("UPDATE OR REPLACE t SET u = 'c' WHERE id = 1");
    assert_eq!(pair.one("SELECT count(*) FROM t"), Value::from(1));
}

#[test]
fn unique_values_may_change_places() {
    let mut pair = Pair::after(&[
        "CREATE TABLE t (id INTEGER PRIMARY KEY, u UNIQUE, v)",
        "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)",
    ]);
    pair.run(&mut [statements(&[
        "UPDATE t SET u = NULL WHERE id = 1",
        "UPDATE t SET u = 'a' WHERE id = 2",
        "UPDATE t SET u = 'b' WHERE id = 3",
        "UPDATE t SET u = 'c' WHERE id = 1",
    ])]);
    assert_eq!(
        pair.one("SELECT group_concat(u, '') FROM (SELECT u FROM t ORDER BY id)"),
        Value::from("cab")
    );
}

#[test]
fn triggers_and_cascades_act_once() {
    let mut pair = Pair::after(&[
        "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
        "CREATE TABLE child (id INTEGER PRIMARY KEY, p REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE)",
        "CREATE TABLE log (what)",
        "CREATE TRIGGER gone AFTER DELETE ON child BEGIN INSERT INTO log VALUES (old.id); END",
        "CREATE VIEW v AS SELECT id FROM parent",
        "CREATE TRIGGER through INSTEAD OF INSERT ON v BEGIN INSERT INTO parent VALUES (new.id); END",
        "INSERT INTO v VALUES (1), (2)",
        "INSERT INTO child VALUES (10, 1), (11, 1), (12, 2)",
        "UPDATE parent SET id = 5 WHERE id = 2",
    ]);
    let changes = pair.execute("DELETE FROM parent WHERE id = 1");
    assert_eq!(counts(&changes, "child"), (0, 0, 2));
    assert_eq!(pair.one("SELECT count(*) FROM log"), Value::from(2));
    assert_eq!(pair.one("SELECT p FROM child"), Value::from(5));
}

#[test]
fn tables_without_rowid_are_keyed_by_their_primary_key() {
    let mut pair = Pair::after(&[
        "CREATE TABLE t (v, k TEXT, n REAL, w, PRIMARY KEY (n DESC, k COLLATE NOCASE)) WITHOUT ROWID",
        "INSERT INTO t VALUES (1, 'a', 1, NULL), (2, 'B', 2, 0.5), (3, 'c', -0.0, 'x')",
        "UPDATE t SET k = 'A' WHERE k = 'a'",
        "UPDATE t SET v = 7, n = n + 1",
        "INSERT INTO t VALUES (9, 'b', 3, 1) ON CONFLICT DO UPDATE SET v = 99, k = excluded.k",
        "REPLACE INTO t VALUES (0, 'C', 1, 'y')",
    ]);
    pair.run(&mut [statements(&[
        "INSERT INTO t VALUES (5, 'q', 8, 0)",
        "DELETE FROM t WHERE k = 'q'",
        "INSERT INTO t VALUES (6, 'Q', 8, 0)",
    ])]);
    assert_eq!(
        pair.one("SELECT group_concat(k, '') FROM t"),
        Value::from("QbAC")
    );
}

#[test]
fn values_keep_their_kinds() {
    let mut pair = Pair::after(&[
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n NUMERIC, r REAL, t TEXT, x)",
        "INSERT INTO t VALUES (1, '12', 3, 4, 5), (2, 'a', 'b', x'01', 1e300), (3, 1.0, 1e15, 1.5, -0.0)",
        "INSERT INTO t VALUES (4, 9223372036854775807, 9007199254740993, zeroblob(300), cast(x'ff61' AS TEXT))",
        "UPDATE t SET r = r, n = n || '', x = r",
        "ALTER TABLE t ADD COLUMN f REAL DEFAULT 7",
        "ALTER TABLE t ADD COLUMN g DEFAULT 'g'",
        "UPDATE t SET x = 0",
        "DELETE FROM t WHERE id = 2",
    ]);
    pair.execute("CREATE TABLE s (i INT, r REAL, t TEXT, b BLOB, a ANY) STRICT");
    pair.execute("INSERT INTO s VALUES (1, 2, '3', x'04', '5')");
    pair.execute("UPDATE s SET r = 5, a = 6");
}

#[test]
fn generated_columns_are_computed_on_each_copy() {
    let mut pair = Pair::after(&[
        "CREATE TABLE t (v AS (a * 2), a INT, s AS (a + 1) STORED UNIQUE, id INTEGER PRIMARY KEY, w AS (v + s))",
        "INSERT INTO t (id, a) VALUES (1, 10), (2, 20)",
        "UPDATE t SET a = 11 WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
    ]);
    assert_eq!(
        pair.one("SELECT v || ' ' || s || ' ' || w FROM t"),
        Value::from("22 12 34")
    );
    pair.execute("CREATE TABLE k (v AS (a), a, b, PRIMARY KEY (b, a)) WITHOUT ROWID");
    pair.execute("INSERT INTO k (a, b) VALUES (1, 2)");
    pair.execute("UPDATE k SET a = 3");
}

#[test]
fn sequences_follow() {
    let mut pair = Pair::after(&[
        "CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, v)",
        "CREATE TABLE b (id INTEGER PRIMARY KEY AUTOINCREMENT)",
    ]);
    pair.run(&mut [statements(&[
        "INSERT INTO b VALUES (NULL)",
        "INSERT INTO a (v) VALUES (1), (2)",
        "DELETE FROM b",
    ])]);
    pair.execute("UPDATE sqlite_sequence SET seq = 100 WHERE name = 'a'");
    pair.execute("INSERT INTO a (v) VALUES (3)");
    assert_eq!(pair.one("SELECT max(id) FROM a"), Value::from(101));
    pair.run(&mut [statements(&[
        "INSERT INTO a VALUES (500, 0)",
        "UPDATE sqlite_sequence SET seq = 101 WHERE name = 'a'",
        "DELETE FROM sqlite_sequence WHERE name = 'b'",
        "INSERT INTO sqlite_sequence VALUES (NULL, 'x')",
    ])]);
    pair.execute("ALTER TABLE a RENAME TO c");
    pair.execute("INSERT INTO c (v) VALUES (4)");
    pair.execute("DROP TABLE c");
    assert_eq!(
        pair.one("SELECT count(*) FROM sqlite_sequence"),
        Value::from(1)
    );
}

#[test]
fn settings_in_the_header_follow() {
    let mut pair = Pair::after(&["PRAGMA user_version = -7", "PRAGMA main.application_id = 9"]);
    assert_eq!(pair.one("PRAGMA user_version"), Value::from(-7));
    assert_eq!(pair.one("PRAGMA application_id"), Value::from(9));
    let failing: [&str; 2] = ["PRAGMA user_version = 5", "SELECT * FROM nowhere"];
    let (_, sets) = pair.run(&mut [statements(&failing), statements(&["PRAGMA user_version"])]);
    assert!(sets[0].is_empty());
}

#[test]
fn an_index_for_full_text_is_the_same_on_each_copy() {
    let mut pair = Pair::after(&[
        "CREATE VIRTUAL TABLE words USING fts5(word, note)",
        "INSERT INTO words VALUES ('one two', 'x'), ('two three', 'y')",
        "UPDATE words SET word = 'four' WHERE note = 'x'",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v)",
        "CREATE TRIGGER ai AFTER INSERT ON t BEGIN INSERT INTO words VALUES (new.v, 'from t'); END",
        "CREATE VIRTUAL TABLE old USING fts4(a)",
        "CREATE VIRTUAL TABLE box USING rtree(id, x0, x1)",
    ]);
    pair.run(&mut [
        statements(&["INSERT INTO t (v) VALUES ('five six'), ('six seven')"]),
        statements(&[
            "INSERT INTO old VALUES ('a b c')",
            "INSERT INTO nowhere VALUES (1)",
        ]),
        statements(&[
            "INSERT INTO old VALUES ('d e f')",
            "INSERT INTO box VALUES (1, 0.5, 2)",
        ]),
    ]);
    let find = "SELECT count(*) FROM words WHERE words MATCH 'six'";
    assert_eq!(pair.one(find), Value::from(2));
    // The copy takes over, with what it has applied in its index.
    let mut pair = pair.swap();
    pair.execute("INSERT INTO words VALUES ('six', 'z')");
    assert_eq!(pair.one(find), Value::from(3));
    let mut pair = pair.swap();
    pair.execute("INSERT INTO words(words) VALUES ('optimize')");
    pair.execute("DELETE FROM words WHERE word MATCH 'two'");
    for file in [&pair.primary, &pair.copy] {
        let mut writer = file.writer().unwrap();
        for table in ["words", "old"] {
            writer
                .execute(
                    &format!("INSERT INTO {table}({table}) VALUES ('integrity-check')"),
                    (),
                )
                .unwrap();
        }
    }
    pair.execute("ALTER TABLE words RENAME TO text");
    pair.execute("DROP TABLE text");
    pair.execute("DROP TABLE box");
}

#[test]
fn text_in_utf_16_follows() {
    let mut pair = Pair::with(&Identity {
        encoding: Encoding::Utf16le,
        ..Identity::new("shop", "shard-0")
    });
    pair.execute("CREATE TABLE t (k TEXT PRIMARY KEY, v) WITHOUT ROWID");
    pair.execute("INSERT INTO t VALUES ('grün', 'ä€😀'), ('', x'00')");
    pair.execute("UPDATE t SET v = v || k");
    pair.execute("DELETE FROM t WHERE k = 'grün'");
}

#[test]
fn a_table_whose_rowid_has_no_name_is_refused() {
    let mut pair = Pair::after(&["CREATE TABLE t (a)"]);
    let (mut results, sets) =
        pair.run(&mut [statements(&["CREATE TABLE refused (rowid, oid, _rowid_)"])]);
    let error = crate::pair::error_of(results.remove(0));
    assert!(
        matches!(error, shardwright_store::Error::NoRowKey { .. }),
        "{error}"
    );
    assert!(sets[0].is_empty());
    for file in [&pair.primary, &pair.copy] {
        let mut writer = file.writer().unwrap();
        writer
            .execute("CREATE TABLE hidden (rowid, oid, _rowid_)", ())
            .unwrap();
    }
    let (mut results, _) = pair.run(&mut [
        statements(&["INSERT INTO hidden VALUES (1, 2, 3)"]),
        statements(&["INSERT INTO t VALUES (1)"]),
    ]);
    let error = crate::pair::error_of(results.remove(0));
    assert!(
        matches!(error, shardwright_store::Error::NoRowKey { .. }),
        "{error}"
    );
    assert_eq!(pair.one("SELECT count(*) FROM t"), Value::from(1));
    pair.execute("CREATE TABLE named (rowid, oid, _rowid_, id INTEGER PRIMARY KEY)");
    pair.execute("INSERT INTO named VALUES (1, 2, 3, 4)");
}

#[test]
fn new_rows_are_captured_as_they_are_stored() {
    let mut pair = Pair::after(&[
        "CREATE TABLE short (id INTEGER PRIMARY KEY, a)",
        "INSERT INTO short VALUES (1, 'one'), (2, 'two')",
        "ALTER TABLE short ADD COLUMN b DEFAULT 'b'",
        "ALTER TABLE short ADD COLUMN c REAL DEFAULT 3",
        "CREATE TABLE long (id INTEGER PRIMARY KEY, a, b DEFAULT 'b', c REAL DEFAULT 3)",
        "CREATE TABLE made (v AS (a || 1) VIRTUAL, a TEXT, s AS (a || 2) STORED, r REAL)",
        "CREATE TABLE changed (id INTEGER PRIMARY KEY, a, b)",
        "CREATE TRIGGER change AFTER INSERT ON changed WHEN new.a = 'more'
         BEGIN UPDATE changed SET b = new.id WHERE id = new.id; SELECT RAISE(IGNORE); END",
        // The rows of a table that was not touched before are read instead.
        "DELETE FROM long",
        "INSERT INTO long VALUES (100, 0, 0, 0)",
        "DELETE FROM long",
        "INSERT INTO made (a) VALUES (0)",
        "INSERT INTO changed VALUES (100, 'first', 0)",
        "DELETE FROM changed",
    ]);
    // SQLite copies the records as they are, without the columns that they lack.
    let changes = pair.execute("INSERT INTO long SELECT * FROM short");
    assert_eq!(counts(&changes, "long"), (2, 0, 0));
    assert_eq!(
        pair.one("SELECT group_concat(b || c) FROM long"),
        Value::from("b3.0,b3.0")
    );
    pair.execute("INSERT INTO long VALUES (3, 1, NULL, 7), (4, 2.0, 'x', NULL), (5, 3, 4, 1e300)");
    pair.execute("INSERT INTO made (a, r) VALUES (1, 2), (x'00', '5'), (NULL, 1.5)");
    let (_, sets) = pair.run(&mut [
        statements(&["INSERT INTO changed VALUES (1, 'more', 0), (2, 'less', 0), (3, 'more', 0)"]),
        statements(&[
            "INSERT INTO changed VALUES (2, 'again', 0) ON CONFLICT DO UPDATE SET a = 'upsert'",
        ]),
        statements(&["REPLACE INTO changed VALUES (3, 'replaced', 1), (9, 'nine', 1)"]),
        statements(&["UPDATE changed SET id = id + 10 WHERE id = 9"]),
        statements(&[
            "INSERT INTO changed VALUES (9, 'new', 1)",
            "INSERT INTO changed VALUES (0, 'first', 1)",
        ]),
        statements(&["DELETE FROM changed WHERE id = 0"]),
    ]);
    assert_eq!(counts(&sets[0], "changed"), (5, 0, 0));
    assert_eq!(
        pair.one("SELECT group_concat(id || a || b, ' ') FROM changed"),
        Value::from("1more1 2upsert0 3replaced1 9new1 19nine1")
    );
}

#[test]
fn a_new_row_is_the_same_change_whether_its_table_was_touched_before_or_not() {
    const TABLES: [&str; 6] = [
        "alias (a, id INTEGER PRIMARY KEY, b)",
        "descending (a, id INTEGER PRIMARY KEY DESC, b)",
        "bare (a, id INT PRIMARY KEY, b)",
        "reals (a REAL, id DOUBLE PRECISION, b FLOAT DEFAULT 2)",
        "made (a, id AS (a || 1), b TEXT NOT NULL DEFAULT 'b', c AS (b || 1) STORED)",
        "keyed (a, id, b, PRIMARY KEY (b, a)) WITHOUT ROWID",
    ];
    for table in TABLES {
        let name = table.split(' ').next().unwrap();
        let create = format!("CREATE TABLE {table}");
        let touch = format!("INSERT INTO {name} (a, b) VALUES (0, 0)");
        let untouch = format!("DELETE FROM {name}");
        let insert = format!(
            "INSERT INTO {name} (a, b) VALUES (1, 2), (3.5, -4.0), ('', x'00'), (1e300, 9223372036854775807)"
        );
        let mut first = Pair::after(&[&create]);
        let mut second = Pair::after(&[&create, &touch, &untouch]);
        let (first, second) = (first.execute(&insert), second.execute(&insert));
        assert_eq!(counts(&first, name), (4, 0, 0));
        assert_eq!(first, second, "{table}");
    }
}

#[test]
fn a_new_row_has_the_columns_that_its_table_has_by_now() {
    let mut pair = Pair::after(&[
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)",
        "INSERT INTO t VALUES (1, 1, 1)",
        "INSERT INTO t VALUES (2, 2, 2)",
        "ALTER TABLE t DROP COLUMN a",
        "INSERT INTO t VALUES (3, 3)",
        "INSERT INTO t VALUES (4, 4)",
    ]);
    // Defined outside of a batch, of which the capture is not told.
    for file in [&pair.primary, &pair.copy] {
        let mut writer = file.writer().unwrap();
        writer
            .execute_script("DROP TABLE t; CREATE TABLE t (c REAL, id INTEGER PRIMARY KEY)")
            .unwrap();
    }
    pair.execute("INSERT INTO t VALUES (5, 50)");
    pair.execute("INSERT INTO t VALUES (6, 60)");
    assert_eq!(
        pair.one("SELECT group_concat(id || c, ' ') FROM t"),
        Value::from("505.0 606.0")
    );
}
