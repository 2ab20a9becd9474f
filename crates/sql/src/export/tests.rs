//! Tests that what was imported comes out again.

use std::{fs, path::PathBuf};

use rusqlite::types::ValueRef;
use shardwright_testkit::{
    Value as TestValue,
    sample::Sample,
    sqlgen::{Case, Profile},
};

use super::*;
use crate::{
    adopt::{AdoptOptions, import},
    database::Options,
    schema::quote_identifier,
};
use shardwright_store::Value;

/// Everything that a SQLite file says, as text to compare.
fn dump(path: &Path) -> Vec<String> {
    let sqlite = Connection::open(path).unwrap();
    let mut lines: Vec<String> = ["encoding", "user_version", "application_id"]
        .iter()
        .map(|name| {
            let value: rusqlite::types::Value = sqlite
                .pragma_query_value(None, name, |row| row.get(0))
                .unwrap();
            format!("{name}: {value:?}")
        })
        .collect();
    lines.extend(rows(
        &sqlite,
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%' ORDER BY type, name",
    ));
    let tables = rows_of(&sqlite, "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')
        AND name NOT IN ('sqlite_schema', 'sqlite_stat1', 'sqlite_stat4') ORDER BY name");
    for (table, without_rowid) in tables {
        let table = quote_identifier(&table);
        lines.push(table.clone());
        let has_none = without_rowid || table == "\"sqlite_sequence\"";
        let rowid = if has_none { "" } else { "_rowid_, " };
        let mut all = rows(&sqlite, &format!("SELECT {rowid}* FROM {table}"));
        all.sort();
        lines.extend(all);
    }
    lines
}

fn rows_of(sqlite: &Connection, sql: &str) -> Vec<(String, bool)> {
    let mut statement = sqlite.prepare(sql).unwrap();
    let rows = statement
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn rows(sqlite: &Connection, sql: &str) -> Vec<String> {
    let mut statement = sqlite.prepare(sql).unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query(()).unwrap();
    let mut lines = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let cells: Vec<String> = (0..columns)
            .map(|column| match row.get_ref(column).unwrap() {
                ValueRef::Text(bytes) => format!("'{}'", bytes.escape_ascii()),
                other => format!("{other:?}"),
            })
            .collect();
        lines.push(cells.join(" | "));
    }
    lines
}

struct RoundTrip {
    directory: tempfile::TempDir,
}

impl RoundTrip {
    fn of(script: &str) -> Self {
        let sqlite = Connection::open_in_memory().unwrap();
        sqlite.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        sqlite.execute_batch(script).unwrap();
        Self::of_copy(&sqlite)
    }

    fn of_copy(sqlite: &Connection) -> Self {
        let trip = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let path = trip.source().display().to_string();
        sqlite.execute("VACUUM INTO ?1", [path]).unwrap();
        trip
    }

    fn source(&self) -> PathBuf {
        self.directory.path().join("source.db")
    }

    fn import(&self, shards: usize) -> ShardedDatabase {
        import(
            &self.source(),
            &self.shop(),
            shards,
            &AdoptOptions::default(),
            &mut |_| {},
        )
        .unwrap();
        ShardedDatabase::open(self.shop(), &Options::default()).unwrap()
    }

    fn shop(&self) -> PathBuf {
        self.directory.path().join("shop")
    }

    fn exported(&self) -> PathBuf {
        self.directory.path().join("exported.db")
    }
}

#[track_caller]
fn check(script: &str) {
    check_trips(|| RoundTrip::of(script));
}

#[track_caller]
fn check_copy(sqlite: &Connection) {
    check_trips(|| RoundTrip::of_copy(sqlite));
}

#[track_caller]
fn check_trips(begin: impl Fn() -> RoundTrip) {
    for shards in [1, 5] {
        let trip = begin();
        let before = fs::read(trip.source()).unwrap();
        let database = trip.import(shards);
        database.export(trip.exported(), &mut |_| {}).unwrap();
        let (found, expected) = (dump(&trip.exported()), dump(&trip.source()));
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "over {shards} shards");
        }
        assert_eq!(found.len(), expected.len());
        assert_eq!(
            fs::read(trip.source()).unwrap(),
            before,
            "the source is as it was"
        );
        let mut names: Vec<_> = fs::read_dir(trip.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["exported.db", "shop", "source.db"]);
    }
}

#[test]
fn the_samples_come_back_as_they_were() {
    for sample in Sample::all(7) {
        check(&sample.script());
    }
}

#[test]
fn generated_schemas_come_back_as_they_were() {
    for seed in 0..10 {
        let case = Case::random(
            seed,
            Profile {
                statements: 0,
                writes: 0,
            },
        );
        let sqlite = Connection::open_in_memory().unwrap();
        for statement in case.schema.statements() {
            sqlite.execute_batch(&statement).unwrap();
        }
        for load in &case.loads {
            let params = load.params.iter().map(sqlite_value);
            sqlite
                .execute(&load.sql, rusqlite::params_from_iter(params))
                .unwrap();
        }
        check_copy(&sqlite);
    }
}

fn sqlite_value(value: &TestValue) -> rusqlite::types::Value {
    use rusqlite::types::Value;
    match value {
        TestValue::Null => Value::Null,
        TestValue::Integer(value) => Value::Integer(*value),
        TestValue::Real(value) => Value::Real(*value),
        TestValue::Text(value) => Value::Text(String::from_utf8(value.clone()).unwrap()),
        TestValue::Blob(value) => Value::Blob(value.clone()),
    }
}

#[test]
fn values_come_back_bit_by_bit() {
    check(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, i INT, r REAL, t TEXT, b BLOB, n NUMERIC, x);
         INSERT INTO t VALUES (-9223372036854775808, 9223372036854775807, -0.0, CAST(x'ff00fe' AS TEXT), x'', 1e300, 9e999),
         (0, '1e3x', 1, 'a' || char(0) || 'b', zeroblob(3), '12.0', -9e999),
         (9223372036854775807, 1.5, 4e-324, '', 'text in blob', x'31', 0.1 + 0.2), (7, x'00', 'r', x'61', 5, NULL, '1');
         CREATE TABLE u(k TEXT PRIMARY KEY, v); INSERT INTO u VALUES (NULL, 1), (NULL, 2), ('', 3), (CAST(x'ff' AS TEXT), 4), (x'ff', 5);
         CREATE TABLE v(k PRIMARY KEY) WITHOUT ROWID; INSERT INTO v VALUES (1), ('1'), (x'31'), (1.5), (-0.0);
         CREATE TABLE w(a, b, PRIMARY KEY(b, a)); INSERT INTO w VALUES (1, 1), (1, 2), (NULL, NULL), (2, 1);",
    );
}

#[test]
fn schemas_come_back_to_the_letter() {
    check(
        "PRAGMA user_version = -7; PRAGMA application_id = 123456789;
         CREATE TABLE \"t \"\"1\"\"\"  ( \"a b\"  INTEGER PRIMARY KEY AUTOINCREMENT , [c]d] /* why */ TEXT COLLATE NOCASE DEFAULT 'x''y',
           g1 AS (\"a b\" + 1) STORED, g2 TEXT GENERATED ALWAYS AS (upper([c]d])) VIRTUAL, CHECK (g1 > 0) -- end
         );
         CREATE INDEX i1 ON \"t \"\"1\"\"\"(lower([c]d]), g1 DESC) WHERE [c]d] <> '';
         CREATE TABLE \"select\"(rowid, _rowid_ PRIMARY KEY, oid);
         CREATE TABLE hidden(rowid TEXT PRIMARY KEY, x);
         CREATE TABLE desc_key(k INTEGER PRIMARY KEY DESC, v);
         CREATE TABLE strict_one(k ANY PRIMARY KEY, i INT) STRICT, WITHOUT ROWID;
         CREATE TABLE no_key(a, b);
         CREATE UNIQUE INDEX u1 ON hidden(x);
         CREATE VIEW v AS SELECT * FROM \"select\" JOIN hidden JOIN no_key; CREATE VIEW w(a) AS SELECT max(a) FROM no_key;
         CREATE TRIGGER tr INSTEAD OF INSERT ON v BEGIN DELETE FROM no_key; END;
         CREATE TRIGGER \"tr 2\" AFTER INSERT ON hidden BEGIN SELECT RAISE(FAIL, 'no more'); END;
         INSERT INTO \"t \"\"1\"\"\"(\"a b\", [c]d]) VALUES (5, 'X'), (900, 'y'); DELETE FROM \"t \"\"1\"\"\" WHERE \"a b\" = 900;
         INSERT INTO \"select\" VALUES (1, 2, 3), (4, 5, 6); DROP TRIGGER \"tr 2\"; INSERT INTO hidden VALUES ('a', 1), ('b', 2);
         CREATE TRIGGER \"tr 2\" AFTER INSERT ON hidden BEGIN SELECT RAISE(FAIL, 'no more'); END;
         INSERT INTO desc_key VALUES (3, 1), (1, 2); INSERT INTO strict_one VALUES (1, 2), ('x', 3);
         INSERT INTO no_key(rowid, a) VALUES (10, 1), (5, 2); ANALYZE;"
            .replace("[c]d]", "[c d]")
            .as_str(),
    );
}

#[test]
fn children_and_foreign_keys_come_back() {
    check(
        "CREATE TABLE p(id INTEGER PRIMARY KEY, o UNIQUE); CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER NOT NULL REFERENCES p ON DELETE CASCADE,
           other REFERENCES q(id) DEFERRABLE INITIALLY DEFERRED, CONSTRAINT self FOREIGN KEY(other) REFERENCES c(id));
         CREATE TABLE q(id TEXT PRIMARY KEY /* shardwright: reference */);
         CREATE TRIGGER t AFTER INSERT ON c BEGIN UPDATE p SET o = o WHERE id = new.p; END;
         INSERT INTO p SELECT value, value || 'x' FROM json_each('[1,2,3,4,5,6,7,8,9]'); INSERT INTO q VALUES ('1'), ('2');
         INSERT INTO c SELECT value, value % 9 + 1, 1 FROM json_each('[11,12,13,14,15,16,17,18,19,20,21]');",
    );
}

#[test]
fn full_text_and_spatial_indexes_come_back() {
    check(
        "CREATE VIRTUAL TABLE f USING fts5(title, body, tokenize='porter'); INSERT INTO f VALUES ('one', 'running shoes'), ('two', 'walk');
         CREATE VIRTUAL TABLE e USING fts5(x, content=''); INSERT INTO e(rowid, x) VALUES (7, 'contentless words');
         CREATE VIRTUAL TABLE o USING fts4(a); INSERT INTO o VALUES ('some old text'); INSERT INTO o(o) VALUES ('optimize');
         CREATE VIRTUAL TABLE r USING rtree(id, x1, x2); INSERT INTO r VALUES (1, 0, 1), (2, 5, 6); DELETE FROM f WHERE rowid = 2;
         CREATE TABLE d(id INTEGER PRIMARY KEY, t TEXT); CREATE VIRTUAL TABLE df USING fts5(t, content='d', content_rowid='id');
         CREATE TRIGGER dt AFTER INSERT ON d BEGIN INSERT INTO df(rowid, t) VALUES (new.id, new.t); END;
         INSERT INTO d VALUES (3, 'external content'), (4, 'more');",
    );
}

#[test]
fn a_full_text_index_answers_after_each_way() {
    let trip = RoundTrip::of(
        "CREATE VIRTUAL TABLE f USING fts5(t); INSERT INTO f VALUES ('green apples'), ('red')",
    );
    let database = trip.import(3);
    let sql = "SELECT rowid FROM f WHERE f MATCH 'apples'";
    assert_eq!(database.execute(sql, ()).unwrap().rows.len(), 1);
    database.export(trip.exported(), &mut |_| {}).unwrap();
    let exported = Connection::open(trip.exported()).unwrap();
    assert_eq!(rows(&exported, sql), ["Integer(1)"]);
}

#[test]
fn text_of_sixteen_bits_comes_back() {
    for encoding in ["UTF-16le", "UTF-16be"] {
        check(&format!(
            "PRAGMA encoding = '{encoding}'; CREATE TABLE t(k TEXT PRIMARY KEY, v); INSERT INTO t VALUES ('größe 📏', 'ab'), ('', x'00ff')"
        ));
    }
}

#[test]
fn rows_that_share_a_rowid_are_all_exported() {
    let trip =
        RoundTrip::of("CREATE TABLE t(k TEXT PRIMARY KEY, v); INSERT INTO t VALUES ('a', 1)");
    let database = trip.import(4);
    for key in ["b", "c", "d", "e", "f", "g", "h"] {
        database
            .run(key, "INSERT INTO t VALUES (?1, 2)", &[Value::from(key)])
            .unwrap();
    }
    database.export(trip.exported(), &mut |_| {}).unwrap();
    let exported = Connection::open(trip.exported()).unwrap();
    assert_eq!(
        rows(
            &exported,
            "SELECT group_concat(k, '') FROM (SELECT k FROM t ORDER BY k)"
        ),
        ["'abcdefgh'"]
    );
}

#[test]
fn an_export_that_cannot_be_leaves_nothing_behind() {
    let trip = RoundTrip::of("CREATE TABLE t(k PRIMARY KEY); INSERT INTO t VALUES (1)");
    let database = trip.import(2);
    for taken in ["exported.db", "exported.db-wal", "exported.db-journal"] {
        let taken = trip.directory.path().join(taken);
        fs::write(&taken, "mine").unwrap();
        let error = database.export(trip.exported(), &mut |_| {}).unwrap_err();
        assert_eq!(error.code(), "EXISTS");
        assert_eq!(fs::read(&taken).unwrap(), b"mine");
        fs::remove_file(&taken).unwrap();
    }
    let error = database
        .export(trip.directory.path().join("nowhere/x.db"), &mut |_| {})
        .unwrap_err();
    assert_eq!(error.code(), "IO");
    // Somebody takes the name while the export runs.
    let exported = trip.exported();
    let error = database
        .export(&exported, &mut |_| fs::write(&exported, "mine").unwrap())
        .unwrap_err();
    assert_eq!(error.code(), "EXISTS");
    assert_eq!(fs::read(&exported).unwrap(), b"mine");
    assert_eq!(fs::read_dir(trip.directory.path()).unwrap().count(), 3);
}
