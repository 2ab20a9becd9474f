//! Tests that a gathered answer is the answer of one SQLite file.

use tempfile::TempDir;

use crate::{CreateOptions, Error, Limits, Options, ShardedDatabase, Tier, Value, WriteMode};

/// The same rows in shards and in one SQLite file.
pub(crate) struct Pair {
    pub(crate) db: ShardedDatabase,
    plain: rusqlite::Connection,
    _directory: TempDir,
}

pub(crate) fn pair(shards: usize, options: Options, script: &str) -> Pair {
    let directory = tempfile::tempdir().unwrap();
    let create = CreateOptions {
        shards,
        options,
        ..CreateOptions::default()
    };
    let db = ShardedDatabase::create(directory.path().join("db"), &create).unwrap();
    let plain = rusqlite::Connection::open_in_memory().unwrap();
    for sql in crate::statement::split(script) {
        plain
            .execute_batch(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        db.execute_with(sql, (), WriteMode::BestEffort)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    Pair {
        db,
        plain,
        _directory: directory,
    }
}

impl Pair {
    #[track_caller]
    pub(crate) fn check(&self, sql: &str) {
        self.check_with(sql, &[]);
    }

    #[track_caller]
    pub(crate) fn check_with(&self, sql: &str, params: &[Value]) {
        let (mut found, mut expect, reason) = self.both(sql, params);
        found.sort();
        expect.sort();
        assert_eq!(found, expect, "{sql} with {params:?} ({reason})");
    }

    /// The rows of a statement, in the order of either side, and why ours ran as it did.
    #[track_caller]
    pub(crate) fn both(&self, sql: &str, params: &[Value]) -> (Vec<String>, Vec<String>, String) {
        let mut statement = self
            .plain
            .prepare(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        let columns = statement.column_count();
        let bound = params.iter().map(crate::database::sqlite_value);
        let mut rows = statement.query(rusqlite::params_from_iter(bound)).unwrap();
        let mut expect = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let values = (0..columns).map(|i| crate::database::own_value(row.get_ref(i).unwrap()));
            expect.push(format!("{:?}", values.collect::<Vec<_>>()));
        }
        let answer = self
            .db
            .execute(sql, params)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        let found = answer.rows.iter().map(|row| format!("{row:?}"));
        (found.collect(), expect, answer.reason)
    }
}

/// Values of every type in columns of every affinity; some equal only after a conversion.
pub(crate) const MIXED: &str = "
    CREATE TABLE numbers(id INTEGER PRIMARY KEY, i INTEGER, r REAL, n NUMERIC);
    CREATE TABLE texts(id TEXT PRIMARY KEY, t TEXT, c TEXT COLLATE NOCASE, s TEXT COLLATE RTRIM);
    CREATE TABLE raw(id PRIMARY KEY, v);
    CREATE TABLE plain(a INT, b TEXT, PRIMARY KEY(a, b)) WITHOUT ROWID;
    INSERT INTO numbers VALUES (1, 1, 1.0, '1'), (2, '02', 2.5, 'two'), (3, NULL, NULL, x'33'),
        (4, 9007199254740993, 9007199254740993, 9007199254740993), (5, 'x', 'y', 'z');
    INSERT INTO texts VALUES ('1', '01', 'Abc', 'a '), ('01', 1, 'aBC', 'a'), ('two', '2.0', 'ABD', 'b'),
        ('', NULL, '', ' '), ('x', 'x', 'x', 'x');
    INSERT INTO raw VALUES (1, '1'), ('1', 1), (2.5, x'31'), (x'31', 2.5), ('two', NULL), ('01', '01');
    INSERT INTO plain VALUES (1, 'a'), (1, 'b'), (2, 'a'), (3, '1');
";

const COLUMNS: &[&str] = &[
    "numbers.i",
    "numbers.r",
    "numbers.n",
    "numbers.id",
    "texts.id",
    "texts.t",
    "texts.c",
    "texts.s",
    "raw.id",
    "raw.v",
    "plain.a",
    "plain.b",
];

#[test]
fn comparisons_convert_as_sqlite_converts() {
    let mixed = pair(4, Options::default(), MIXED);
    for left in COLUMNS {
        for right in COLUMNS {
            let (a, b) = (
                left.split('.').next().unwrap(),
                right.split('.').next().unwrap(),
            );
            if a == b {
                continue;
            }
            for operator in ["=", "<", ">=", "IS"] {
                mixed.check(&format!(
                    "SELECT * FROM {a} CROSS JOIN {b} WHERE {left} {operator} {right}"
                ));
                mixed.check(&format!(
                    "SELECT * FROM {a} LEFT JOIN {b} ON {left} {operator} {right}"
                ));
            }
            mixed.check(&format!(
                "SELECT * FROM {a} WHERE {left} IN (SELECT {right} FROM {b})"
            ));
            mixed.check(&format!(
                "SELECT * FROM {a} FULL JOIN {b} ON {left} = {right}"
            ));
        }
    }
}

#[test]
fn constants_convert_as_sqlite_converts() {
    let mixed = pair(4, Options::default(), MIXED);
    for left in COLUMNS {
        for literal in [
            "1",
            "'1'",
            "1.0",
            "'01'",
            "x'31'",
            "NULL",
            "'ABC'",
            "'a'",
            "2.5",
            "9007199254740993",
        ] {
            let table = left.split('.').next().unwrap();
            for operator in ["=", "<", ">", "IS", "LIKE"] {
                mixed.check(&format!(
                    "SELECT * FROM {table} WHERE {left} {operator} {literal}"
                ));
                mixed.check(&format!(
                    "SELECT * FROM {table} WHERE +{left} {operator} {literal}"
                ));
                mixed.check(&format!(
                    "SELECT * FROM {table} WHERE {literal} {operator} {left}"
                ));
            }
            mixed.check(&format!(
                "SELECT * FROM {table} WHERE {left} IN ({literal}, 3)"
            ));
            mixed.check(&format!(
                "SELECT * FROM {table} WHERE {left} = {literal} COLLATE NOCASE"
            ));
            mixed.check(&format!(
                "SELECT * FROM {table} WHERE {left} = CAST({literal} AS TEXT)"
            ));
            mixed.check(&format!(
                "SELECT * FROM {table} WHERE {left} = CAST({literal} AS INTEGER)"
            ));
        }
    }
}

#[test]
fn bound_values_convert_as_sqlite_converts() {
    let mixed = pair(4, Options::default(), MIXED);
    let values = [
        Value::Null,
        Value::Integer(1),
        Value::Real(1.0),
        Value::from("1"),
        Value::from("01"),
        Value::from("ABC"),
        Value::Blob(b"1".to_vec()),
    ];
    for column in COLUMNS {
        let table = column.split('.').next().unwrap();
        for value in &values {
            let params = std::slice::from_ref(value);
            for operator in ["=", "IS", "<", "LIKE"] {
                for sql in [
                    format!("SELECT * FROM {table} WHERE {column} {operator} ?1"),
                    format!("SELECT * FROM {table} WHERE {column} {operator} CAST(?1 AS NUMERIC)"),
                    format!("SELECT * FROM {table} WHERE {column} {operator} CAST(?1 AS TEXT)"),
                    format!("SELECT * FROM {table} JOIN (SELECT ?1 AS q) ON {column} {operator} q"),
                    format!("SELECT * FROM raw r LEFT JOIN {table} ON {column} {operator} ?1"),
                    format!("SELECT * FROM {table} LEFT JOIN raw r ON {column} {operator} ?1"),
                ] {
                    mixed.check_with(&sql, params);
                }
            }
            mixed.check_with(
                &format!("SELECT * FROM {table} WHERE {column} IN (?1, 'two')"),
                params,
            );
        }
    }
}

#[test]
fn outer_joins_keep_the_rows_that_match_nothing() {
    let mixed = pair(3, Options::default(), MIXED);
    for sql in [
        "SELECT * FROM numbers LEFT JOIN texts ON texts.id = '1' AND numbers.id = 1",
        "SELECT * FROM numbers RIGHT JOIN texts ON texts.id = '1'",
        "SELECT * FROM numbers LEFT JOIN numbers m ON m.id = numbers.id + 1 WHERE m.id IS NULL",
        "SELECT * FROM numbers LEFT JOIN numbers m ON m.id = 1 WHERE m.id IS NULL",
        "SELECT * FROM numbers LEFT JOIN numbers m ON m.id = numbers.id AND m.i = 1 WHERE numbers.id = 2",
        "SELECT * FROM numbers FULL JOIN numbers m ON m.id = numbers.id AND m.id = 2",
        "SELECT * FROM numbers NATURAL LEFT JOIN raw",
        "SELECT * FROM numbers JOIN raw USING (id) WHERE id = 1",
        "SELECT * FROM numbers RIGHT JOIN raw USING (id) WHERE id = 1",
        "SELECT * FROM (SELECT '01' AS id) q JOIN texts USING (id) WHERE id = 1",
        "SELECT * FROM texts WHERE id = 1 OR id = '01'",
        "SELECT (SELECT count(*) FROM numbers m WHERE m.id <= numbers.id) FROM numbers",
        "SELECT id, rowid, oid FROM numbers",
        "SELECT * FROM plain WHERE a = 1 OR b = 'a' GROUP BY a HAVING count(*) > 0 ORDER BY a",
        "SELECT count(*) FROM numbers, texts, raw, plain",
        "SELECT name FROM (SELECT 1 AS name) WHERE EXISTS (SELECT 1 FROM raw WHERE v IS NULL)",
        "SELECT json_each.value FROM raw, json_each('[1, 2, \"two\"]') WHERE raw.id = json_each.value",
    ] {
        mixed.check(sql);
    }
}

#[test]
fn a_table_that_is_scanned_again_and_again_is_copied_and_answers_alike() {
    let rows = "INSERT INTO a SELECT i, i % 50, 'n' || (i % 70) FROM (WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 600) SELECT i FROM n);";
    let script = format!(
        "CREATE TABLE a(id INTEGER PRIMARY KEY, g INT, s TEXT); CREATE TABLE b(id INTEGER PRIMARY KEY, g INT, s TEXT); {rows} INSERT INTO b SELECT id * 2, g, s FROM a;"
    );
    let copied = pair(4, Options::default(), &script);
    for sql in [
        "SELECT count(*) FROM a JOIN b ON a.g = b.g",
        "SELECT count(*) FROM a JOIN b ON a.s = b.s AND a.g < b.g",
        "SELECT a.id, (SELECT max(b.id) FROM b WHERE b.g = a.g AND b.id < a.id) FROM a",
        "SELECT count(*), count(b.rowid) FROM a LEFT JOIN b ON b.id = a.id",
        "SELECT count(*) FROM a, b WHERE a.s > b.s",
        "SELECT sum(x.id * y.id) FROM a x, a y",
    ] {
        copied.check(sql);
    }
}

#[test]
fn limits_stop_a_statement() {
    let options = Options {
        limits: Limits {
            rows: 6,
            ..Limits::default()
        },
        ..Options::default()
    };
    let limited = pair(3, options, MIXED);
    let error = limited
        .db
        .execute("SELECT * FROM numbers, raw", ())
        .unwrap_err();
    assert!(matches!(error, Error::LimitReached { .. }), "{error}");
    assert_eq!(error.code(), "LIMIT_REACHED");
    // A statement on one shard gathers nothing.
    let one = limited
        .db
        .execute("SELECT * FROM numbers WHERE id = 1", ())
        .unwrap();
    assert_eq!((one.tier, one.rows.len()), (Tier::Single, 1));
}

#[test]
fn limits_stop_what_reads_one_place_or_the_schema() {
    let options = Options {
        limits: Limits {
            rows: 3,
            time: std::time::Duration::from_millis(50),
            ..Limits::default()
        },
        ..Options::default()
    };
    let limited = pair(1, options, MIXED);
    let endless =
        "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c)";
    for (sql, code) in [
        ("SELECT * FROM numbers".to_owned(), "LIMIT_REACHED"),
        (
            "SELECT 1 FROM sqlite_schema, (VALUES (1), (2), (3), (4))".to_owned(),
            "LIMIT_REACHED",
        ),
        (
            format!("SELECT {endless} FROM sqlite_schema"),
            "OUT_OF_TIME",
        ),
    ] {
        let error = limited.db.execute(&sql, ()).unwrap_err();
        assert_eq!(error.code(), code, "{sql}: {error}");
    }
    let schema = limited.db.execute("SELECT count(*) FROM sqlite_schema", ());
    assert_eq!(schema.unwrap().tier, Tier::Schema);
}

#[test]
fn parameters_reach_the_shards() {
    let mixed = pair(3, Options::default(), MIXED);
    let sql = "SELECT id FROM texts WHERE t = ?2 OR c = :name ORDER BY id";
    let named = [("name", Value::from("abc"))];
    let positional = [Value::Null, Value::from("2.0")];
    let params = crate::Params::from(&positional).and_named(&named);
    let answer = mixed.db.execute(sql, params).unwrap();
    assert_eq!(
        answer.rows,
        [
            [Value::from("01")],
            [Value::from("1")],
            [Value::from("two")]
        ]
    );
}
