//! Tests of imports: what is loaded, refused and resumed.

use std::{
    cell::Cell,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::Command,
};

use rusqlite::Connection;

use super::*;
use crate::{Options, ShardedDatabase, Value};

const SCRIPT: &str = "
    CREATE TABLE p(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT COLLATE NOCASE UNIQUE);
    CREATE TABLE c(p INTEGER REFERENCES p, n INT, note, PRIMARY KEY(p, n)) WITHOUT ROWID;
    CREATE TABLE k(code TEXT PRIMARY KEY /* shardwright: reference */, name);
    CREATE TABLE log(line); CREATE VIRTUAL TABLE f USING fts5(t);
    CREATE INDEX c_note ON c(note); CREATE VIEW v AS SELECT * FROM c JOIN k;
    CREATE TRIGGER t AFTER INSERT ON p BEGIN INSERT INTO c VALUES (new.id, 0, 'made by a trigger'); END;
    WITH RECURSIVE s(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM s LIMIT 9000)
    INSERT INTO p SELECT v, 'name ' || v FROM s;
    INSERT INTO c SELECT id, 1, name FROM p; INSERT INTO k VALUES ('a', 1), ('b', 2);
    INSERT INTO log SELECT name FROM p LIMIT 100; INSERT INTO f SELECT name FROM p LIMIT 100; DELETE FROM p WHERE id > 8999";

struct Shop {
    directory: tempfile::TempDir,
}

impl Shop {
    fn new() -> Self {
        Self::of(SCRIPT)
    }

    /// One with so few rows that a debug build can import it often.
    fn small() -> Self {
        Self::of(&SCRIPT.replace("9000", "40").replace("8999", "39"))
    }

    fn of(script: &str) -> Self {
        let shop = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let sqlite = Connection::open(shop.source()).unwrap();
        sqlite
            .execute_batch(&format!(
                "PRAGMA foreign_keys = OFF; BEGIN; {script}; COMMIT"
            ))
            .unwrap();
        shop
    }

    fn source(&self) -> PathBuf {
        self.directory.path().join("source.db")
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("shop")
    }

    fn import(&self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<ImportReport, Error> {
        import(
            &self.source(),
            &self.path(),
            3,
            &AdoptOptions::default(),
            progress,
        )
    }

    #[track_caller]
    fn check(&self) {
        let database = ShardedDatabase::open(self.path(), &Options::default()).unwrap();
        let exported = self.directory.path().join("exported.db");
        database.export(&exported, &mut |_| {}).unwrap();
        let sqlite = Connection::open(&exported).unwrap();
        sqlite
            .execute("ATTACH ?1 AS source", [self.source().display().to_string()])
            .unwrap();
        for table in ["p", "c", "k", "log", "f", "sqlite_sequence"] {
            let differences: i64 = sqlite
                .query_row(
                    &format!(
                        "SELECT (SELECT count(*) FROM (SELECT * FROM main.{table} EXCEPT SELECT * FROM source.{table}))
                         + abs((SELECT count(*) FROM main.{table}) - (SELECT count(*) FROM source.{table}))"
                    ),
                    (),
                    |row| row.get(0),
                )
                .unwrap();
            assert_eq!(differences, 0, "{table}");
        }
        fs::remove_file(exported).unwrap();
    }
}

#[test]
fn rows_are_where_their_keys_are() {
    let shop = Shop::new();
    let mut seen = Vec::new();
    let report = shop
        .import(&mut |progress| seen.push((progress.step, progress.rows, progress.total)))
        .unwrap();
    assert!(!report.resumed);
    let of = |name: &str| {
        let table = report.tables.iter().find(|table| table.name == name);
        table.map(|table| table.rows_by_place.clone()).unwrap()
    };
    assert_eq!(of("p").iter().sum::<u64>(), 8999);
    assert!(
        of("p").iter().all(|rows| (2700..3300).contains(rows)),
        "{:?}",
        of("p")
    );
    assert_eq!(of("k"), [2, 2, 2, 2]);
    assert_eq!(of("log"), [100]);
    assert!(
        seen.is_sorted_by_key(|(_, rows, _)| *rows) || seen.last().unwrap().0 == Step::Verifying
    );
    let database = ShardedDatabase::open(shop.path(), &Options::default()).unwrap();
    for id in [1_i64, 77, 8999] {
        let row = database
            .first(id, "SELECT name FROM p WHERE id = ?1", &[Value::from(id)])
            .unwrap();
        assert_eq!(
            row.unwrap()[0].as_str(),
            Some(format!("name {id}").as_str())
        );
        let joined = database
            .all(
                id,
                "SELECT c.n FROM p JOIN c ON c.p = p.id WHERE p.id = ?1",
                &[Value::from(id)],
            )
            .unwrap();
        assert_eq!(joined.len(), 2, "the children are with their parent");
    }
    drop(database);
    shop.check();
}

#[test]
fn an_import_that_dies_anywhere_continues() {
    let shop = Shop::small();
    let steps = Cell::new(0);
    shop.import(&mut |_| steps.set(steps.get() + 1)).unwrap();
    fs::remove_dir_all(shop.path()).unwrap();
    for last in 1..=steps.get() {
        let seen = Cell::new(0);
        let died = catch_unwind(AssertUnwindSafe(|| {
            shop.import(&mut |_| {
                seen.set(seen.get() + 1);
                assert!(seen.get() < last, "dies here");
            })
        }));
        assert!(died.is_err(), "it died");
        if shop.path().exists() {
            let error = ShardedDatabase::open(shop.path(), &Options::default()).unwrap_err();
            assert_eq!(error.code(), "IMPORT_UNFINISHED", "after {last} steps");
        }
        shop.import(&mut |_| {}).unwrap();
        shop.check();
        fs::remove_dir_all(shop.path()).unwrap();
    }
}

#[test]
fn a_killed_import_continues() {
    const DIRECTORY: &str = "SHARDWRIGHT_TEST_KILLED_IMPORT";
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let (directory, mut seen) = (PathBuf::from(directory), 0);
        let _report = import(
            &directory.join("source.db"),
            &directory.join("shop"),
            3,
            &AdoptOptions::default(),
            &mut |progress| {
                seen += usize::from(progress.step == Step::Loading);
                if seen == 4 {
                    std::process::abort();
                }
            },
        );
        return;
    }
    let shop = Shop::new();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "adopt::import::tests::a_killed_import_continues"])
        .env(DIRECTORY, shop.directory.path())
        .output()
        .unwrap()
        .status;
    assert!(!status.success(), "the import was killed");
    assert!(shop.import(&mut |_| {}).unwrap().resumed);
    shop.check();
}

#[test]
fn an_import_of_something_else_starts_clean() {
    let shop = Shop::small();
    let die = |progress: Progress<'_>| assert!(progress.step != Step::Indexing, "dies here");
    let died = catch_unwind(AssertUnwindSafe(|| shop.import(&mut { die })));
    assert!(died.is_err());
    let sqlite = Connection::open(shop.source()).unwrap();
    sqlite
        .execute_batch("UPDATE p SET name = 'other' WHERE id = 5; DELETE FROM c WHERE n = 1")
        .unwrap();
    drop(sqlite);
    assert!(!shop.import(&mut |_| {}).unwrap().resumed);
    shop.check();
    fs::remove_dir_all(shop.path()).unwrap();
    let died = catch_unwind(AssertUnwindSafe(|| shop.import(&mut { die })));
    assert!(died.is_err());
    let options = AdoptOptions {
        globals: vec!["p".to_owned()],
        ..AdoptOptions::default()
    };
    let report = import(&shop.source(), &shop.path(), 2, &options, &mut |_| {}).unwrap();
    assert!(!report.resumed);
    assert!(
        !shop.path().join("shard-2.db").exists(),
        "nothing of the first one is left"
    );
    shop.check();
}

#[test]
fn a_directory_that_holds_something_is_refused_and_left_alone() {
    let shop = Shop::small();
    let code = || shop.import(&mut |_| {}).unwrap_err().code();
    fs::create_dir(shop.path()).unwrap();
    fs::write(shop.path().join("notes.txt"), "mine").unwrap();
    assert_eq!(code(), "NOT_EMPTY");
    fs::rename(
        shop.path().join("notes.txt"),
        shop.path().join("IMPORT.json"),
    )
    .unwrap();
    assert_eq!(code(), "NOT_EMPTY");
    assert_eq!(fs::read_dir(shop.path()).unwrap().count(), 1);
    fs::remove_file(shop.path().join("IMPORT.json")).unwrap();
    shop.import(&mut |_| {}).unwrap();
    assert_eq!(code(), "EXISTS");
    shop.check();
}

#[test]
fn two_imports_into_one_directory_do_not_meet() {
    let shop = Shop::small();
    let met = Cell::new(false);
    shop.import(&mut |progress| {
        if progress.step == Step::Loading {
            assert_eq!(shop.import(&mut |_| {}).unwrap_err().code(), "LOCKED");
            met.set(true);
        }
    })
    .unwrap();
    assert!(met.get());
    shop.check();
}

#[test]
fn a_source_that_changes_meanwhile_is_noticed() {
    let shop = Shop::small();
    Connection::open(shop.source())
        .unwrap()
        .execute_batch("PRAGMA journal_mode = WAL; VACUUM")
        .unwrap();
    let mut written = false;
    let error = shop
        .import(&mut |progress| {
            if progress.step == Step::Indexing && !written {
                written = true;
                let sqlite = Connection::open(shop.source()).unwrap();
                sqlite.execute_batch("DELETE FROM log").unwrap();
            }
        })
        .unwrap_err();
    assert_eq!(error.code(), "SOURCE_CHANGED");
    shop.import(&mut |_| {}).unwrap();
    shop.check();
}

#[test]
fn bad_options_make_no_directory() {
    let shop = Shop::small();
    let options = AdoptOptions {
        shard_keys: vec![("log".to_owned(), "line".to_owned())],
        ..AdoptOptions::default()
    };
    let error = import(&shop.source(), &shop.path(), 3, &options, &mut |_| {}).unwrap_err();
    assert_eq!(error.code(), "NO_PRIMARY_KEY");
    let error = import(
        &shop.source(),
        &shop.path(),
        0,
        &AdoptOptions::default(),
        &mut |_| {},
    )
    .unwrap_err();
    assert_eq!(error.code(), "BAD_SHARD_COUNT");
    assert!(!shop.path().exists());
}
