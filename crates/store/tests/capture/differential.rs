//! Random statements on a primary; after each batch the copy holds the same.

use proptest::{
    prelude::*,
    sample::select,
    test_runner::{Config, TestCaseResult},
};
use shardwright_store::{Member, Result};

use crate::pair::{Pair, Step};

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    Batch(Vec<Statements>),
    Reopen,
    Reinstall,
    /// The copy becomes the primary.
    Swap,
}

/// What a member does when a statement fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum OnError {
    Fail,
    GoOn,
}

const SCHEMA: [&str; 19] = [
    "CREATE TABLE plain (id INTEGER PRIMARY KEY, a, b TEXT UNIQUE, c REAL, d BLOB)",
    "CREATE TABLE nokey (a, b INT, c REAL)",
    "CREATE TABLE nullkey (k TEXT PRIMARY KEY, v)",
    "CREATE TABLE compact (v, k TEXT COLLATE NOCASE, n REAL, PRIMARY KEY (n, k)) WITHOUT ROWID",
    "CREATE TABLE auto (id INTEGER PRIMARY KEY AUTOINCREMENT, v)",
    "CREATE TABLE gen (v AS (a * 2), a INT, s AS (a + 1) STORED UNIQUE, id INTEGER PRIMARY KEY)",
    "CREATE TABLE parent (id INTEGER PRIMARY KEY, v)",
    "CREATE TABLE child (id INTEGER PRIMARY KEY, p REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE,
         q REFERENCES parent ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TABLE picky (id INTEGER PRIMARY KEY, u UNIQUE ON CONFLICT REPLACE, n NOT NULL ON CONFLICT IGNORE)",
    "CREATE TABLE strict_t (i INT, r REAL, t TEXT, x ANY) STRICT",
    "CREATE TABLE log (at INTEGER PRIMARY KEY AUTOINCREMENT, what, old, new)",
    "CREATE TRIGGER plain_i AFTER INSERT ON plain BEGIN INSERT INTO log (what, new) VALUES ('i', new.a); END",
    "CREATE TRIGGER plain_u BEFORE UPDATE ON plain WHEN new.a = 3 BEGIN SELECT RAISE(IGNORE); END",
    "CREATE TRIGGER nokey_u AFTER UPDATE ON nokey BEGIN INSERT OR REPLACE INTO nullkey VALUES (new.a, old.a); END",
    "CREATE TRIGGER child_d AFTER DELETE ON child BEGIN INSERT INTO log (what, old) VALUES ('d', old.id); END",
    "CREATE TRIGGER auto_f AFTER INSERT ON auto WHEN new.v = 4 BEGIN SELECT RAISE(FAIL, 'fail'); END",
    "CREATE TRIGGER auto_r AFTER INSERT ON auto WHEN new.v = 5 BEGIN SELECT RAISE(ROLLBACK, 'rollback'); END",
    "CREATE VIRTUAL TABLE words USING fts5(word)",
    "CREATE TRIGGER null_w AFTER INSERT ON nullkey BEGIN INSERT INTO words VALUES (new.v); END",
];

/// A value of any kind, as SQL. Few of them, so that they meet.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (0..6i64).prop_map(|integer| integer.to_string()),
        1 => Just("NULL".to_owned()),
        1 => select(vec!["1.0", "2.5", "-0.0", "1e15", "9007199254740993", "9e999"]).prop_map(str::to_owned),
        2 => select(vec!["'a'", "'A'", "'b'", "''", "'12'", "'1e2'", "'grün'"]).prop_map(str::to_owned),
        1 => select(vec!["x''", "x'00ff'", "zeroblob(3000)", "cast(x'ff' AS TEXT)"]).prop_map(str::to_owned),
    ]
}

/// The table, and columns that a statement may set.
fn table() -> impl Strategy<Value = (&'static str, &'static [&'static str])> {
    select(vec![
        ("plain", ["id", "a", "b", "c", "d"].as_slice()),
        ("nokey", &["rowid", "a", "b", "c"]),
        ("nullkey", &["k", "v"]),
        ("compact", &["v", "k", "n"]),
        ("auto", &["id", "v"]),
        ("gen", &["a", "id"]),
        ("parent", &["id", "v"]),
        ("child", &["id", "p", "q"]),
        ("picky", &["id", "u", "n"]),
        ("strict_t", &["rowid", "i", "r", "t", "x"]),
        ("words", &["rowid", "word"]),
        ("extra", &["a", "b"]),
        ("sqlite_sequence", &["name", "seq"]),
    ])
}

fn conflict() -> impl Strategy<Value = &'static str> {
    select(vec![
        "",
        "",
        "",
        " OR REPLACE",
        " OR IGNORE",
        " OR FAIL",
        " OR ABORT",
        " OR ROLLBACK",
    ])
}

fn rows() -> impl Strategy<Value = String> {
    let insert = (
        conflict(),
        table(),
        prop::collection::vec(prop::collection::vec(value(), 5), 1..4),
    )
        .prop_map(|(conflict, (table, columns), rows)| {
            let rows: Vec<_> = rows
                .iter()
                .map(|row| format!("({})", row[..columns.len()].join(", ")))
                .collect();
            format!(
                "INSERT{conflict} INTO {table} ({}) VALUES {}",
                columns.join(", "),
                rows.join(", ")
            )
        });
    let update = (
        conflict(),
        table(),
        0..5usize,
        value(),
        0..5usize,
        value(),
        any::<bool>(),
    )
        .prop_map(|(conflict, (table, columns), set, new, by, old, all)| {
            let (set, by) = (columns[set % columns.len()], columns[by % columns.len()]);
            let condition = if all {
                String::new()
            } else {
                format!(" WHERE {by} IS {old}")
            };
            let new = if all { format!("{set} + 1") } else { new };
            format!("UPDATE{conflict} {table} SET {set} = {new}{condition}")
        });
    let delete =
        (table(), 0..5usize, value(), 0..4).prop_map(|((table, columns), by, old, all)| {
            let by = columns[by % columns.len()];
            match all {
                0 => format!("DELETE FROM {table}"),
                1 => format!("DELETE FROM {table} WHERE {by} > {old}"),
                _ => format!("DELETE FROM {table} WHERE {by} IS {old}"),
            }
        });
    let upsert = (value(), value(), value()).prop_map(|(id, a, b)| {
        format!(
            "INSERT INTO plain (id, a, b) VALUES ({id}, {a}, {b}) ON CONFLICT (b) DO UPDATE SET a = excluded.a, c = id
             ON CONFLICT (id) DO UPDATE SET b = b || excluded.b, d = randomblob(3)"
        )
    });
    let copy = (table(), table()).prop_map(|((to, columns), (from, others))| {
        let others: Vec<_> = others.iter().cycle().take(columns.len()).copied().collect();
        format!(
            "INSERT OR IGNORE INTO {to} ({}) SELECT {} FROM {from} LIMIT 20",
            columns.join(", "),
            others.join(", ")
        )
    });
    prop_oneof![5 => insert, 4 => update, 3 => delete, 1 => upsert, 1 => copy]
}

fn others() -> impl Strategy<Value = String> {
    let fixed = select(vec![
        "CREATE TABLE extra (a, b)",
        "CREATE TABLE extra (a PRIMARY KEY, b) WITHOUT ROWID",
        "CREATE TABLE extra AS SELECT id AS a, random() AS b FROM plain",
        "DROP TABLE extra",
        "ALTER TABLE extra ADD COLUMN c DEFAULT 1.5",
        "ALTER TABLE extra DROP COLUMN c",
        "ALTER TABLE extra RENAME COLUMN b TO bb",
        "ALTER TABLE extra RENAME COLUMN bb TO b",
        "ALTER TABLE auto ADD COLUMN more REAL DEFAULT 3",
        "ALTER TABLE log RENAME TO log2",
        "ALTER TABLE log2 RENAME TO log",
        "CREATE INDEX i ON nokey (a, b)",
        "CREATE UNIQUE INDEX iu ON nokey (b) WHERE b > 3",
        "DROP INDEX i",
        "DROP INDEX iu",
        "DROP TABLE parent",
        "CREATE TABLE parent (id INTEGER PRIMARY KEY, v)",
        "INSERT INTO words(words) VALUES ('optimize')",
        "INSERT INTO words(words) VALUES ('rebuild')",
        "PRAGMA user_version = 3",
        "PRAGMA user_version = 4",
        "PRAGMA application_id = 5",
        "PRAGMA defer_foreign_keys = ON",
        "REINDEX",
        "ANALYZE",
        "COMMIT",
    ]);
    fixed.prop_map(str::to_owned)
}

type Statements = Vec<(String, OnError)>;

fn statements_of(sql: BoxedStrategy<String>) -> BoxedStrategy<Statements> {
    let on_error = select(vec![OnError::Fail, OnError::GoOn]);
    prop::collection::vec((sql, on_error), 1..5).boxed()
}

fn batch() -> impl Strategy<Value = Event> {
    let on_rows = statements_of(rows().boxed());
    let mixed = statements_of(prop_oneof![rows().boxed(), others().boxed()].boxed());
    prop_oneof![
        3 => prop::collection::vec(on_rows.clone(), 1..5),
        1 => mixed.clone().prop_map(|member| vec![member]),
        1 => (on_rows, mixed).prop_map(|(rows, mixed)| vec![rows, mixed]),
    ]
    .prop_map(Event::Batch)
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        24 => batch(),
        1 => Just(Event::Reopen),
        1 => Just(Event::Reinstall),
        1 => Just(Event::Swap),
    ]
}

fn member(statements: &[(String, OnError)]) -> Step<'_> {
    Box::new(move |member: &mut Member<'_>| -> Result<()> {
        for (sql, on_error) in statements {
            match member.execute(sql, ()) {
                Err(error) if *on_error == OnError::Fail => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    })
}

fn check(events: &[Event]) -> TestCaseResult {
    let mut pair = Pair::after(&SCHEMA);
    for event in events {
        pair = match event {
            Event::Batch(members) => {
                let mut steps: Vec<_> = members
                    .iter()
                    .map(|statements| member(statements))
                    .collect();
                pair.run(&mut steps);
                pair
            }
            Event::Reopen => pair.reopen(),
            Event::Reinstall => pair.reinstall(),
            Event::Swap => pair.swap(),
        };
    }
    for file in [&pair.primary, &pair.copy] {
        let snapshot = file.snapshot().unwrap();
        let problems = snapshot
            .check(shardwright_store::Thoroughness::Full)
            .unwrap();
        prop_assert!(problems.is_empty(), "{problems:?}");
        drop(snapshot);
        let check = "INSERT INTO words(words) VALUES ('integrity-check')";
        file.writer().unwrap().execute(check, ()).unwrap();
    }
    Ok(())
}

/// So many cases, unless `PROPTEST_CASES` says otherwise.
fn config() -> Config {
    let default = Config::default();
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => Config {
            cases: 64,
            ..default
        },
    }
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..config() })]

    #[test]
    fn a_copy_that_follows_holds_the_same(events in prop::collection::vec(event(), 1..14)) {
        check(&events)?;
    }
}
