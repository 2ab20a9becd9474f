//! Tests of what the tables of a file become.

use std::{fs, path::PathBuf};

use rusqlite::Connection;
use shardwright_testkit::sample::Sample;
use tempfile::TempDir;

use super::*;
use crate::schema::Declaration;

/// A directory with one SQLite file in it.
pub(super) struct File {
    pub(super) directory: TempDir,
    pub(super) path: PathBuf,
}

pub(super) fn file(script: &str) -> File {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("it's 100% source.db");
    let sqlite = Connection::open(&path).unwrap();
    sqlite.execute_batch(script).unwrap();
    sqlite.close().unwrap();
    File { directory, path }
}

impl File {
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn inspected(script: &str, options: &AdoptOptions) -> Result<Proposal, Error> {
    inspect(&file(script).path, 4, options)
}

fn asked(table: &str, column: &str) -> AdoptOptions {
    AdoptOptions {
        shard_keys: vec![(table.to_owned(), column.to_owned())],
        ..AdoptOptions::default()
    }
}

/// Checks the tables as `name kind key group`.
#[track_caller]
fn check(script: &str, options: &AdoptOptions, expect: &[&str]) {
    let proposal = inspected(script, options).expect("a proposal");
    let found: Vec<String> = proposal
        .tables
        .iter()
        .map(|table| {
            let parts = [
                Some(&*table.name),
                Some(table.kind()),
                table.key(),
                table.colocated_with(),
            ];
            parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(found, expect, "{proposal}");
}

#[track_caller]
fn check_error(script: &str, options: &AdoptOptions, expect: &str) {
    let error = inspected(script, options).expect_err("a refusal");
    assert_eq!(error.code(), expect, "{error}");
}

#[test]
fn tables_are_sharded_by_the_first_column_of_their_key() {
    check(
        "CREATE TABLE a(id INTEGER PRIMARY KEY); CREATE TABLE b(x, y, PRIMARY KEY(y, x));
         CREATE TABLE c(y AS (x) STORED, x PRIMARY KEY); CREATE TABLE d(x);
         CREATE TABLE alembic_version(v PRIMARY KEY); CREATE VIRTUAL TABLE e USING fts5(t);
         CREATE TABLE f(id INTEGER PRIMARY KEY AUTOINCREMENT);
         CREATE TABLE g(id PRIMARY KEY) /* shardwright: reference */;
         CREATE TABLE h(id PRIMARY KEY /* shardwright: reference */)",
        &AdoptOptions::default(),
        &[
            "a sharded id",
            "b sharded y",
            "c sharded x",
            "d global",
            "alembic_version global",
            "e global",
            "f sharded id",
            "g sharded id",
            "h reference",
        ],
    );
}

#[test]
fn children_live_with_their_parents_when_their_rows_allow_it() {
    check(
        "CREATE TABLE artist(id INTEGER PRIMARY KEY, name);
         CREATE TABLE album(id INTEGER PRIMARY KEY, artist INTEGER NOT NULL REFERENCES artist);
         CREATE TABLE track(id INTEGER PRIMARY KEY, album INTEGER REFERENCES album(id), kind INTEGER REFERENCES kind);
         CREATE TABLE kind(id INTEGER PRIMARY KEY);
         CREATE TABLE note(id INTEGER PRIMARY KEY, album TEXT REFERENCES album, prior INTEGER REFERENCES note);
         CREATE TABLE fan(artist INTEGER, n INT, PRIMARY KEY(artist, n), FOREIGN KEY(artist) REFERENCES artist);
         INSERT INTO artist SELECT value, 'x' FROM generate_series(1, 50);
         INSERT INTO album SELECT value, value % 50 + 1 FROM generate_series(1, 200);
         INSERT INTO kind VALUES (1), (2);
         INSERT INTO track SELECT value, value % 200 + 1, value % 2 + 1 FROM generate_series(1, 900);"
            .replace("generate_series(1, ", "(WITH RECURSIVE s(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s LIMIT ")
            .replace("LIMIT 50)", "LIMIT 50) SELECT value FROM s)")
            .replace("LIMIT 200)", "LIMIT 200) SELECT value FROM s)")
            .replace("LIMIT 900)", "LIMIT 900) SELECT value FROM s)")
            .as_str(),
        &AdoptOptions::default(),
        &[
            "artist sharded id", "album sharded id", "track sharded album album", "kind sharded id",
            "note sharded id", "fan sharded artist artist",
        ],
    );
}

#[test]
fn what_is_asked_for_wins_whatever_the_case_of_the_names() {
    let options = AdoptOptions {
        shard_keys: vec![
            ("PLANE".to_owned(), "tail".to_owned()),
            ("Flight".to_owned(), "TAIL".to_owned()),
        ],
        references: vec!["CARRIER".to_owned()],
        globals: vec!["Note".to_owned()],
        null_keys: NullKeys::Keep,
    };
    check(
        "CREATE TABLE plane(tail TEXT PRIMARY KEY); CREATE TABLE carrier(code PRIMARY KEY);
         CREATE TABLE flight(id INTEGER PRIMARY KEY, tail TEXT REFERENCES plane); CREATE TABLE note(id PRIMARY KEY);
         INSERT INTO flight VALUES (1, NULL)",
        &options,
        &["plane sharded tail", "carrier reference", "flight sharded tail plane", "note global"],
    );
}

#[test]
fn options_that_do_not_fit_the_file_are_refused() {
    let script = "CREATE TABLE t(id INTEGER PRIMARY KEY, a, g AS (a)); CREATE TABLE u(a); INSERT INTO t(id) VALUES (1);
                  CREATE VIRTUAL TABLE v USING fts5(x)";
    check_error(script, &asked("x", "a"), "UNKNOWN_TABLE");
    check_error(script, &asked("t", "b"), "UNKNOWN_COLUMN");
    check_error(script, &asked("u", "a"), "NO_PRIMARY_KEY");
    check_error(script, &asked("t", "a"), "NULL_KEY");
    check_error(script, &asked("t", "g"), "GENERATED_KEY");
    check_error(script, &asked("v", "x"), "UNSUPPORTED");
    check_error(
        "CREATE TABLE _META(id)",
        &AdoptOptions::default(),
        "UNSUPPORTED",
    );
}

#[test]
fn the_remedy_for_a_table_without_a_key_works() {
    let source = file(
        "CREATE TABLE \"odd \"\"one\"(a, b); INSERT INTO \"odd \"\"one\" VALUES (1, 2), (3, 4)",
    );
    let error = inspect(&source.path, 4, &asked("odd \"one", "a")).unwrap_err();
    let hint = error.hint().unwrap();
    let remedy = &hint[hint.find("CREATE TABLE").unwrap()..];
    Connection::open(&source.path)
        .unwrap()
        .execute_batch(remedy)
        .unwrap();
    let proposal = inspect(&source.path, 4, &asked("odd \"one", "id")).unwrap();
    assert_eq!(proposal.table("ODD \"one").map(|table| table.rows), Some(2));
}

#[test]
fn a_null_in_an_inferred_key_is_kept_and_told() {
    let proposal = inspected(
        "CREATE TABLE t(id TEXT PRIMARY KEY); INSERT INTO t VALUES (NULL), (NULL), ('a')",
        &AdoptOptions::default(),
    )
    .unwrap();
    assert!(matches!(
        proposal.tables[0].declaration,
        Declaration::Sharded {
            null_keys: NullKeys::Keep,
            ..
        }
    ));
    assert!(proposal.tables[0].warnings[0].starts_with("2 rows have no id"));
}

#[test]
fn triggers_that_stay_with_their_row_leave_tables_sharded() {
    check(
        "CREATE TABLE o(id INTEGER PRIMARY KEY, total, at); CREATE TABLE r(id PRIMARY KEY, tax /* shardwright: reference */);
         CREATE TABLE l(o INTEGER REFERENCES o, n INT, price, PRIMARY KEY(o, n));
         CREATE TRIGGER t1 AFTER UPDATE ON o BEGIN UPDATE o SET at = 1 WHERE rowid = new.rowid; END;
         CREATE TRIGGER t2 AFTER INSERT ON l BEGIN UPDATE o SET total = (SELECT sum(price * (SELECT max(tax) FROM r)) FROM l x WHERE x.o = o.id AND x.o = new.o) WHERE id = new.o; END;
         CREATE TRIGGER t3 BEFORE DELETE ON o BEGIN DELETE FROM l WHERE o = OLD.id; SELECT RAISE(ABORT, 'no') WHERE old.at > 3; END;
         CREATE TRIGGER t4 AFTER INSERT ON o BEGIN INSERT INTO l VALUES (new.id, 0, 0), (new.id, 1, 0); END;
         CREATE TRIGGER t5 AFTER UPDATE OF price ON l BEGIN UPDATE l SET price = 1 WHERE n = new.n AND o = new.o; END;",
        &AdoptOptions::default(),
        &["o sharded id", "r reference", "l sharded o o"],
    );
}

#[test]
fn triggers_that_reach_other_rows_make_their_tables_global() {
    for body in [
        "UPDATE o SET total = 1",
        "UPDATE o SET total = 1 WHERE at = new.at",
        "UPDATE o SET id = 1 WHERE id = new.id",
        "INSERT INTO l VALUES (1, new.id)",
        "INSERT INTO l SELECT id, 1 FROM o",
        "SELECT RAISE(ABORT, 'x') WHERE (SELECT count(*) FROM l) > 3",
        "SELECT RAISE(ABORT, 'x') WHERE 1 IN l",
        "DELETE FROM l WHERE o = new.id OR n = 1",
        "SELECT * FROM o LEFT JOIN l ON o.id = new.id WHERE l.o = o.id",
        "SELECT count(*) FROM v",
    ] {
        let script = format!(
            "CREATE TABLE o(id INTEGER PRIMARY KEY, total, at); CREATE TABLE l(o INTEGER REFERENCES o, n INT, PRIMARY KEY(o, n));
             CREATE VIEW v AS SELECT * FROM o JOIN v2; CREATE VIEW v2 AS SELECT * FROM l, v;
             CREATE TRIGGER t AFTER INSERT ON o BEGIN {body}; END"
        );
        let proposal = inspected(&script, &AdoptOptions::default()).expect("a proposal");
        assert_eq!(proposal.tables[0].kind(), "global", "{body}: {proposal}");
        check_error(&script, &asked("o", "id"), "TRIGGER_NOT_LOCAL");
    }
}

#[test]
fn tables_become_global_with_all_that_their_triggers_reach() {
    check(
        "CREATE TABLE a(id INTEGER PRIMARY KEY); CREATE TABLE b(id INTEGER PRIMARY KEY); CREATE TABLE c(id INTEGER PRIMARY KEY);
         CREATE TABLE d(a INTEGER REFERENCES a, n INT, PRIMARY KEY(n, a));
         CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT INTO b VALUES (new.id); END;
         CREATE TRIGGER u AFTER INSERT ON b BEGIN UPDATE c SET id = 1; END;",
        &AdoptOptions::default(),
        &["a global", "b global", "c global", "d sharded n"],
    );
}

#[test]
fn the_samples_are_proposed_without_error() {
    for sample in Sample::all(3) {
        let proposal = inspected(&sample.script(), &AdoptOptions::default())
            .unwrap_or_else(|error| panic!("{}: {error}", sample.name));
        let sharded = proposal
            .tables
            .iter()
            .filter(|table| table.kind() == "sharded")
            .count();
        assert!(
            sharded * 10 >= proposal.tables.len() * 7,
            "{}: {proposal}",
            sample.name
        );
    }
}

#[test]
fn files_that_cannot_be_adopted_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let code = || {
        inspect(&path, 4, &AdoptOptions::default())
            .unwrap_err()
            .code()
    };
    assert_eq!(code(), "IO");
    fs::write(&path, "").unwrap();
    assert_eq!(code(), "NOT_SQLITE");
    fs::write(&path, "name,price\nx,1\n".repeat(999)).unwrap();
    assert_eq!(code(), "NOT_SQLITE");
    let good = file(
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b); INSERT INTO t(b) SELECT zeroblob(900) FROM pragma_function_list LIMIT 99",
    );
    let mut bytes = fs::read(&good.path).unwrap();
    bytes[4096..8192].fill(7);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(code(), "DAMAGED");
    fs::write(&path, &bytes[..4096]).unwrap();
    assert_eq!(code(), "DAMAGED");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(code(), "IO");
}

#[test]
fn nothing_beside_a_closed_file_in_wal_mode_is_made() {
    let source = file(
        "PRAGMA journal_mode = WAL; CREATE TABLE t(a INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)",
    );
    let before = (source.names(), fs::read(&source.path).unwrap());
    let proposal = inspect(&source.path, 4, &AdoptOptions::default()).unwrap();
    assert_eq!(proposal.rows(), 1);
    assert_eq!((source.names(), fs::read(&source.path).unwrap()), before);
}

#[test]
fn a_log_in_use_is_read_and_left_as_it_is() {
    let source = file("PRAGMA journal_mode = WAL; CREATE TABLE t(a INTEGER PRIMARY KEY)");
    let writer = Connection::open(&source.path).unwrap();
    writer
        .execute_batch("INSERT INTO t VALUES (1), (2)")
        .unwrap();
    let before = source.names();
    assert_eq!(before.len(), 3, "a log and its index are there");
    let log = fs::read(source::beside(&source.path, "-wal")).unwrap();
    assert_eq!(
        inspect(&source.path, 4, &AdoptOptions::default())
            .unwrap()
            .rows(),
        2
    );
    writer.execute_batch("INSERT INTO t VALUES (3)").unwrap();
    assert_eq!(
        inspect(&source.path, 4, &AdoptOptions::default())
            .unwrap()
            .rows(),
        3
    );
    assert_eq!(source.names(), before);
    assert!(
        fs::read(source::beside(&source.path, "-wal"))
            .unwrap()
            .starts_with(&log[..32])
    );
}

#[cfg(unix)]
#[test]
fn a_log_left_behind_is_read_even_where_nothing_can_be_written() {
    use std::os::unix::fs::PermissionsExt;
    let source = file("PRAGMA journal_mode = WAL; CREATE TABLE t(a INTEGER PRIMARY KEY)");
    let writer = Connection::open(&source.path).unwrap();
    writer
        .execute_batch("INSERT INTO t VALUES (1), (2)")
        .unwrap();
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("copy.db");
    fs::copy(&source.path, &path).unwrap();
    fs::copy(
        source::beside(&source.path, "-wal"),
        source::beside(&path, "-wal"),
    )
    .unwrap();
    let permit = |mode| fs::set_permissions(copy.path(), fs::Permissions::from_mode(mode)).unwrap();
    permit(0o555);
    let found = inspect(&path, 4, &AdoptOptions::default());
    permit(0o755);
    assert_eq!(found.unwrap().rows(), 2);
    assert_eq!(
        fs::read_dir(copy.path()).unwrap().count(),
        2,
        "no index was made"
    );
    assert_eq!(
        fs::read(source::beside(&path, "-wal")).unwrap(),
        fs::read(source::beside(&source.path, "-wal")).unwrap()
    );
}

#[test]
fn files_left_beside_a_log_are_not_trusted_and_not_touched() {
    let source = file("PRAGMA journal_mode = WAL; CREATE TABLE t(a INTEGER PRIMARY KEY)");
    let writer = Connection::open(&source.path).unwrap();
    writer
        .execute_batch("INSERT INTO t VALUES (1), (2)")
        .unwrap();
    for left in [vec!["-wal", "-shm"], vec!["-shm"], vec!["-wal"]] {
        let copy = tempfile::tempdir().unwrap();
        let path = copy.path().join("copy.db");
        fs::copy(&source.path, &path).unwrap();
        for suffix in &left {
            let from = source::beside(&source.path, suffix);
            fs::copy(from, source::beside(&path, suffix)).unwrap();
        }
        let read = |suffix: &&str| fs::read(source::beside(&path, suffix)).unwrap();
        let before: Vec<_> = left.iter().map(read).collect();
        let found = inspect(&path, 4, &AdoptOptions::default()).map(|proposal| proposal.rows());
        if left.contains(&"-wal") {
            assert_eq!(found.unwrap(), 2, "{left:?}");
        } else {
            assert_eq!(found.unwrap(), 0, "{left:?}");
        }
        assert_eq!(fs::read_dir(copy.path()).unwrap().count(), left.len() + 1);
        assert_eq!(left.iter().map(read).collect::<Vec<_>>(), before);
    }
}
