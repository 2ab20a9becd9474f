//! Opening, reading and writing one shard file.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::{ops::ControlFlow, path::PathBuf, rc::Rc, time::Duration};

use shardwright_store::{
    Access, Batch, Config, ConstraintKind, Encoding, Error, Expect, Holder, Identity, Params,
    ShardFile, Statement, Value,
};
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn identity() -> Identity {
    Identity::new("shop", "shard-0")
}

fn config() -> Config {
    Config {
        busy_timeout: Duration::ZERO,
        ..Config::default()
    }
}

/// A file with a table `t (id INTEGER PRIMARY KEY, v)` of `rows` rows.
fn filled(rows: i64, config: &Config) -> (TempDir, ShardFile) {
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

fn count(file: &ShardFile) -> i64 {
    file.reader()
        .unwrap()
        .query_row("SELECT count(*) FROM t", (), |row| row.get(0).as_i64())
        .unwrap()
        .flatten()
        .expect("count gives an integer")
}

fn insert(file: &ShardFile, id: i64) -> Result<(), Error> {
    file.writer()?
        .execute("INSERT INTO t (id) VALUES (?1)", &[Value::from(id)])
        .map(drop)
}

#[test]
fn a_created_file_opens_with_its_identity() {
    let directory = directory();
    let path = directory.path().join("shard-0.db");
    let identity = Identity {
        encoding: Encoding::Utf16be,
        page_size: 8192,
        ..identity()
    };
    ShardFile::create(&path, &identity, &config())
        .unwrap()
        .close()
        .unwrap();
    let expect = Expect {
        database: Some("shop".to_owned()),
        place: Some("shard-0".to_owned()),
    };
    let file = ShardFile::open(&path, &Config { expect, ..config() }).unwrap();
    assert_eq!(file.identity(), &identity);
}

#[test]
fn a_file_of_another_place_is_refused() {
    let (directory, file) = filled(0, &config());
    drop(file);
    let expect = Expect {
        place: Some("shard-1".to_owned()),
        ..Expect::default()
    };
    let error = ShardFile::open(
        directory.path().join("shard-0.db"),
        &Config { expect, ..config() },
    )
    .unwrap_err();
    assert!(
        matches!(error, Error::WrongIdentity { field: "place", .. }),
        "{error}"
    );
}

#[test]
fn a_missing_file_is_refused_and_not_created() {
    let directory = directory();
    let path = directory.path().join("none.db");
    let error = ShardFile::open(&path, &config()).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    assert!(!path.exists());
}

#[test]
fn creating_never_replaces_a_file() {
    let directory = directory();
    let path = directory.path().join("shard-0.db");
    std::fs::write(&path, "precious").unwrap();
    let error = ShardFile::create(&path, &identity(), &config()).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let directory = directory();
    let path = directory.path().join("notes.db");
    std::fs::write(
        &path,
        "not a database, but longer than a header. ".repeat(100),
    )
    .unwrap();
    let error = ShardFile::open(&path, &config()).unwrap_err();
    assert!(matches!(error, Error::NotADatabase { .. }), "{error}");
}

#[test]
fn a_plain_sqlite_file_and_an_empty_file_are_not_shard_files() {
    let directory = directory();
    let plain = directory.path().join("plain.db");
    rusqlite::Connection::open(&plain)
        .unwrap()
        .execute_batch("CREATE TABLE users (id)")
        .unwrap();
    let empty = directory.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    for path in [plain, empty] {
        let error = ShardFile::open(&path, &config()).unwrap_err();
        assert!(matches!(error, Error::NotAShardFile { .. }), "{error}");
    }
}

#[test]
fn an_unknown_format_is_refused_by_name() {
    let (directory, file) = filled(0, &config());
    file.writer()
        .unwrap()
        .set_meta("format", &Value::from(7))
        .unwrap();
    file.close().unwrap();
    let error = ShardFile::open(directory.path().join("shard-0.db"), &config()).unwrap_err();
    assert!(
        matches!(&error, Error::UnknownFormat { found, supported: 1, .. } if found == "7"),
        "{error}"
    );
    assert!(error.to_string().contains("format 7"), "{error}");
}

#[test]
fn a_closed_file_leaves_no_log_behind() {
    let (directory, file) = filled(10, &config());
    assert_eq!(count(&file), 10);
    let held = file.clone();
    let error = held.close().unwrap_err();
    assert!(matches!(error, Error::InUse { handles: 1, .. }), "{error}");
    file.close().unwrap();
    let names: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["shard-0.db"]);
}

#[test]
fn positional_and_named_parameters_bind_in_every_form() {
    let (_directory, file) = filled(0, &config());
    let mut reader = file.reader().unwrap();
    let mut sum = |sql: &str, params: Params<'_>| {
        reader
            .query_row(sql, params, |row| row.to_values())
            .map(|row| row.expect("one row"))
    };
    let (one, two) = (Value::from(1), Value::from(2));
    let both = [one.clone(), two.clone()];
    for sql in [
        "SELECT ?, ?",
        "SELECT ?1, ?2",
        "SELECT :a, @b",
        "SELECT $a, ?2",
    ] {
        assert_eq!(sum(sql, (&both).into()).unwrap(), both, "{sql}");
    }
    let named = [("a", one.clone()), ("@b", two.clone())];
    assert_eq!(sum("SELECT :a, @b", (&named).into()).unwrap(), both);
    assert_eq!(sum("SELECT $a, @b", (&named).into()).unwrap(), both);
    let mixed = Params::from(std::slice::from_ref(&one)).and_named(&named[1..]);
    assert_eq!(sum("SELECT ?, @b", mixed).unwrap(), both);
}

#[test]
fn values_that_do_not_fit_the_parameters_are_refused() {
    let (_directory, file) = filled(0, &config());
    let mut reader = file.reader().unwrap();
    let mut error = |sql: &str, params: Params<'_>| {
        reader
            .query(sql, params, |_| ControlFlow::<()>::Continue(()))
            .unwrap_err()
    };
    let one = [Value::from(1)];
    for (sql, params) in [
        ("SELECT ?, ?", Params::from(&one)),
        ("SELECT 1", Params::from(&one)),
        ("SELECT ?1", Params::NONE),
        ("SELECT :a, :b", Params::from(&[("a", Value::Null)])),
    ] {
        let error = error(sql, params);
        assert!(matches!(error, Error::Parameters { .. }), "{sql}: {error}");
    }
    let error = error(
        "SELECT :a",
        Params::from(&[("a", Value::Null), ("b", Value::Null)]),
    );
    assert!(
        matches!(&error, Error::UnknownParameter { name } if name == "b"),
        "{error}"
    );
}

#[test]
fn every_kind_of_value_survives_a_round_trip() {
    let (_directory, file) = filled(0, &config());
    let values = [
        Value::Null,
        Value::from(i64::MIN),
        Value::from(-0.5),
        Value::from(f64::INFINITY),
        Value::from("snow\u{2603}man\0end"),
        Value::from(""),
        Value::Text(vec![0xff, 0xfe, 0x41]),
        Value::from(vec![0, 1, 255]),
        Value::from(Vec::new()),
    ];
    for value in values {
        let read = file
            .reader()
            .unwrap()
            .query_row("SELECT ?1", std::slice::from_ref(&value), |row| {
                row.get(0).to_value()
            })
            .unwrap();
        assert_eq!(read, Some(value));
    }
}

#[test]
fn a_reader_refuses_what_is_no_query() {
    let (_directory, file) = filled(1, &config());
    let mut reader = file.reader().unwrap();
    for sql in [
        "DELETE FROM t",
        "INSERT INTO t VALUES (9, 9) RETURNING id",
        "BEGIN",
        "PRAGMA foreign_keys = OFF",
        "ATTACH ':memory:' AS m",
        "",
    ] {
        let error = reader
            .query(sql, (), |_| ControlFlow::<()>::Continue(()))
            .unwrap_err();
        assert!(matches!(error, Error::NotAQuery), "{sql}: {error}");
    }
    assert_eq!(count(&file), 1);
}

#[test]
fn a_query_stops_where_the_visitor_breaks() {
    let (_directory, file) = filled(10, &config());
    let mut seen = 0;
    let flow = file
        .reader()
        .unwrap()
        .query("SELECT id FROM t ORDER BY id", (), |row| {
            seen += 1;
            match row.get(0).as_i64() {
                Some(3) => ControlFlow::Break("three"),
                _ => ControlFlow::Continue(()),
            }
        })
        .unwrap();
    assert_eq!((flow, seen), (ControlFlow::Break("three"), 3));
}

#[test]
fn sql_errors_carry_sqlites_message_and_offset() {
    let (_directory, file) = filled(0, &config());
    let error = file
        .reader()
        .unwrap()
        .query_row("SELECT nowhere FROM t", (), |_| ())
        .unwrap_err();
    assert!(
        matches!(&error, Error::Sql { message, offset: Some(7) } if message == "no such column: nowhere"),
        "{error:?}"
    );
    let error = file
        .reader()
        .unwrap()
        .query_row("SELECT 1; SELECT 2", (), |_| ())
        .unwrap_err();
    assert!(matches!(error, Error::MultipleStatements), "{error}");
}

#[test]
fn constraints_are_named_by_kind() {
    let (_directory, file) = filled(1, &config());
    let mut writer = file.writer().unwrap();
    writer
        .execute_script(
            "CREATE TABLE c (u UNIQUE, n NOT NULL, k CHECK (k > 0), f REFERENCES t (id));
             CREATE TABLE s (i INTEGER) STRICT;
             CREATE TRIGGER g BEFORE DELETE ON t BEGIN SELECT RAISE(ABORT, 'keep'); END;
             INSERT INTO c VALUES (1, 1, 1, 1);",
        )
        .unwrap();
    for (sql, expected) in [
        ("INSERT INTO t VALUES (1, 0)", ConstraintKind::PrimaryKey),
        ("INSERT INTO c VALUES (1, 1, 1, 1)", ConstraintKind::Unique),
        (
            "INSERT INTO c VALUES (2, NULL, 1, 1)",
            ConstraintKind::NotNull,
        ),
        ("INSERT INTO c VALUES (2, 1, 0, 1)", ConstraintKind::Check),
        (
            "INSERT INTO c VALUES (2, 1, 1, 7)",
            ConstraintKind::ForeignKey,
        ),
        ("INSERT INTO s VALUES ('x')", ConstraintKind::DataType),
        ("DELETE FROM t", ConstraintKind::Trigger),
    ] {
        let error = writer.execute(sql, ()).unwrap_err();
        assert!(
            matches!(&error, Error::Constraint { kind, .. } if *kind == expected),
            "{sql}: {error:?}"
        );
        assert!(!error.is_retryable());
    }
}

#[test]
fn the_outcome_counts_only_what_the_statement_changed() {
    let (_directory, file) = filled(5, &config());
    let mut writer = file.writer().unwrap();
    let outcome = writer
        .execute("UPDATE t SET v = 0 WHERE id > 2", ())
        .unwrap();
    assert_eq!((outcome.changes, outcome.last_insert_rowid), (3, 5));
    for sql in [
        "SELECT 1",
        "CREATE TABLE x (y)",
        "UPDATE t SET v = 1 WHERE id > 99",
    ] {
        assert_eq!(writer.execute(sql, ()).unwrap().changes, 0, "{sql}");
    }
    let (outcome, flow) = writer
        .query("DELETE FROM t WHERE id < 3 RETURNING id", (), |row| {
            ControlFlow::Break(row.get(0).to_value())
        })
        .unwrap();
    assert_eq!(
        outcome.changes, 2,
        "all rows are deleted although the visitor stopped at the first"
    );
    assert!(matches!(flow, ControlFlow::Break(Value::Integer(1 | 2))));
    assert_eq!(count(&file), 3);
}

#[test]
fn a_dropped_writer_rolls_its_transaction_back() {
    let (_directory, file) = filled(1, &config());
    let mut writer = file.writer().unwrap();
    writer.begin().unwrap();
    writer.execute("DELETE FROM t", ()).unwrap();
    assert!(writer.in_transaction());
    drop(writer);
    assert_eq!(count(&file), 1);
    insert(&file, 2).unwrap();
    assert_eq!(count(&file), 2);
}

#[test]
fn savepoints_undo_a_part_of_a_transaction() {
    let (_directory, file) = filled(0, &config());
    let mut writer = file.writer().unwrap();
    writer.begin().unwrap();
    writer.execute("INSERT INTO t VALUES (1, 1)", ()).unwrap();
    writer.savepoint("a \"quoted\" name").unwrap();
    writer.execute("INSERT INTO t VALUES (2, 2)", ()).unwrap();
    writer.rollback_to("a \"quoted\" name").unwrap();
    writer.release("a \"quoted\" name").unwrap();
    writer.commit().unwrap();
    drop(writer);
    assert_eq!(count(&file), 1);
}

#[test]
fn a_statement_that_ends_the_transaction_is_reported_as_such() {
    let (_directory, file) = filled(1, &config());
    let mut writer = file.writer().unwrap();
    writer.begin().unwrap();
    let error = writer
        .execute("INSERT OR ROLLBACK INTO t VALUES (1, 1)", ())
        .unwrap_err();
    assert!(
        matches!(&error, Error::TransactionEnded { source }
            if matches!(**source, Error::Constraint { .. })),
        "{error}"
    );
    assert!(!writer.in_transaction());
}

#[test]
fn only_one_writer_is_lent_at_a_time() {
    let (_directory, file) = filled(0, &config());
    let writer = file.writer().unwrap();
    let error = file.writer().unwrap_err();
    assert!(
        matches!(
            error,
            Error::Busy {
                holder: Holder::Writer,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.is_retryable());
    drop(writer);
    insert(&file, 1).unwrap();
}

#[test]
fn readers_beyond_the_limit_are_refused_and_come_back() {
    let (_directory, file) = filled(
        1,
        &Config {
            readers: 2,
            ..config()
        },
    );
    let first = file.reader().unwrap();
    let second = file.snapshot().unwrap();
    let error = file.reader().unwrap_err();
    assert!(
        matches!(
            error,
            Error::Busy {
                holder: Holder::Readers,
                ..
            }
        ),
        "{error}"
    );
    drop(first);
    assert_eq!(count(&file), 1);
    drop(second);
}

#[test]
fn a_reader_sees_each_commit_that_came_before_its_read() {
    for snapshot_reads in [false, true] {
        let (_directory, file) = filled(
            0,
            &Config {
                snapshot_reads,
                ..config()
            },
        );
        let mut kept = file.reader().unwrap();
        for id in 1..20 {
            insert(&file, id).unwrap();
            for _ in 0..(id % 4) {
                let seen = kept
                    .query_row("SELECT count(*) FROM t", (), |row| row.get(0).as_i64())
                    .unwrap();
                assert_eq!(seen, Some(Some(id)));
                assert_eq!(count(&file), id);
            }
        }
    }
}

#[test]
fn a_kept_read_transaction_ends_when_it_is_too_old() {
    let (directory, file) = filled(
        1,
        &Config {
            snapshot_reads: true,
            snapshot_age_max: Duration::ZERO,
            ..config()
        },
    );
    let path = directory.path().join("shard-0.db");
    let mut reader = file.reader().unwrap();
    let mut seen = || {
        reader
            .query_row("SELECT count(*) FROM t", (), |row| row.get(0).as_i64())
            .unwrap()
            .flatten()
    };
    assert_eq!((seen(), seen(), seen()), (Some(1), Some(1), Some(1)));
    // A commit that this process does not know about.
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute("INSERT INTO t (id) VALUES (2)", [])
        .unwrap();
    assert_eq!(seen(), Some(2));
}

#[test]
fn a_snapshot_does_not_see_later_commits() {
    let (_directory, file) = filled(1, &config());
    let snapshot = file.snapshot().unwrap();
    insert(&file, 2).unwrap();
    let seen = snapshot.query_row("SELECT count(*) FROM t", (), |row| row.get(0).as_i64());
    assert_eq!(seen.unwrap(), Some(Some(1)));
    drop(snapshot);
    assert_eq!(count(&file), 2);
}

#[test]
fn cursors_of_one_snapshot_advance_independently() {
    let (_directory, file) = filled(1000, &config());
    let snapshot = Rc::new(file.snapshot().unwrap());
    let sql = "SELECT id, v FROM t WHERE id > ?1 ORDER BY id";
    let mut first = snapshot.cursor(sql, &[Value::from(0)]).unwrap();
    let mut second = snapshot.cursor(sql, &[Value::from(990)]).unwrap();
    drop(snapshot);
    insert(&file, 5000).unwrap();
    let mut batch = Batch::new();
    let mut ids = Vec::new();
    while first.next_batch(&mut batch).unwrap() {
        assert!(batch.len() <= 256);
        ids.extend(batch.rows().map(|row| row.get(0).as_i64().unwrap()));
        if second.next_batch(&mut batch).unwrap() {
            assert_eq!(
                batch.row(9).to_values(),
                [Value::from(1000), Value::from("v1000")]
            );
        }
    }
    assert_eq!(ids, (1..=1000).collect::<Vec<_>>());
    assert!(
        !first.next_batch(&mut batch).unwrap(),
        "a finished cursor stays finished"
    );
}

#[test]
fn a_batch_is_bounded_in_bytes_too() {
    let (_directory, file) = filled(100, &config());
    let snapshot = Rc::new(file.snapshot().unwrap());
    let mut cursor = snapshot
        .cursor("SELECT zeroblob(10000) FROM t", ())
        .unwrap();
    let mut batch = Batch::new();
    assert!(cursor.next_batch(&mut batch).unwrap());
    assert_eq!(batch.len(), 7);
}

#[test]
fn a_snapshot_can_be_interrupted_from_another_thread() {
    let (_directory, file) = filled(1, &config());
    let snapshot = Rc::new(file.snapshot().unwrap());
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    let mut cursor = snapshot.cursor(endless, ()).unwrap();
    let mut batch = Batch::new();
    assert!(cursor.next_batch(&mut batch).unwrap());
    let interrupter = snapshot.interrupter();
    std::thread::spawn(move || interrupter.interrupt())
        .join()
        .unwrap();
    let error = cursor.next_batch(&mut batch).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    assert!(!cursor.next_batch(&mut batch).unwrap());
}

#[test]
fn an_interrupter_outlives_its_snapshot_harmlessly() {
    let (_directory, file) = filled(
        1,
        &Config {
            readers: 1,
            ..config()
        },
    );
    let snapshot = file.snapshot().unwrap();
    let interrupter = snapshot.interrupter();
    drop(snapshot);
    let mut rows = 0;
    let _flow: ControlFlow<()> = file
        .reader()
        .unwrap()
        .query("SELECT 1 UNION ALL SELECT 2", (), |_| {
            interrupter.interrupt();
            rows += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(rows, 2);
}

#[test]
fn a_snapshot_moves_to_another_thread() {
    let (_directory, file) = filled(3, &config());
    let snapshot = file.snapshot().unwrap();
    let rows = std::thread::spawn(move || {
        let mut cursor = Rc::new(snapshot).cursor("SELECT v FROM t", ()).unwrap();
        let mut batch = Batch::new();
        cursor.next_batch(&mut batch).unwrap();
        batch
    })
    .join()
    .unwrap();
    assert_eq!(rows.row(2).to_values(), [Value::from("v3")]);
}

#[test]
fn a_file_opened_for_reading_refuses_the_writer() {
    let (directory, file) = filled(2, &config());
    file.close().unwrap();
    let path: PathBuf = directory.path().join("shard-0.db");
    for access in [Access::ReadOnly, Access::Immutable] {
        let file = ShardFile::open(&path, &Config { access, ..config() }).unwrap();
        assert_eq!(count(&file), 2);
        let error = file.writer().unwrap_err();
        assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
    }
}

#[test]
fn an_immutable_file_with_an_odd_name_opens_and_leaves_nothing_beside_it() {
    let directory = directory();
    let path = directory.path().join("50% of a?#\u{e9}.db");
    ShardFile::create(&path, &identity(), &config())
        .unwrap()
        .close()
        .unwrap();
    let file = ShardFile::open(
        &path,
        &Config {
            access: Access::Immutable,
            ..config()
        },
    )
    .unwrap();
    assert_eq!(file.meta("place").unwrap(), Some(Value::from("shard-0")));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn numbered_statements_survive_schema_changes_and_collisions() {
    let (_directory, file) = filled(
        3,
        &Config {
            statement_cache: 2,
            ..config()
        },
    );
    let statements: Vec<_> = (0..5)
        .map(|offset| Statement::new(format!("SELECT id + {offset}, * FROM t WHERE id = ?1")))
        .collect();
    let mut reader = file.reader().unwrap();
    for width in [3, 4] {
        for (offset, statement) in (0..).zip(&statements) {
            let row = reader
                .query_row(statement, &[Value::from(2)], |row| {
                    (row.get(0).as_i64(), row.len())
                })
                .unwrap();
            assert_eq!(row, Some((Some(2 + offset), width)));
        }
        let mut writer = file.writer().unwrap();
        writer
            .execute("ALTER TABLE t ADD COLUMN w DEFAULT 'w'", ())
            .map(drop)
            .unwrap_or_else(|error| assert_eq!(error.to_string(), "duplicate column name: w"));
    }
    let error = reader
        .query_row(&Statement::new("DELETE FROM t"), (), |_| ())
        .unwrap_err();
    assert!(matches!(error, Error::NotAQuery), "{error}");
}

#[test]
fn a_file_that_may_not_be_written_is_not_opened_for_writing() {
    let (directory, file) = filled(1, &config());
    file.close().unwrap();
    let path = directory.path().join("shard-0.db");
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&path, permissions).unwrap();
    // A superuser may write it all the same.
    let writable = std::fs::OpenOptions::new().write(true).open(&path).is_ok();
    match ShardFile::open(&path, &config()) {
        Ok(_) => assert!(writable),
        Err(error) => assert!(
            !writable && matches!(error, Error::ReadOnly { .. }),
            "{error}"
        ),
    }
}

#[test]
fn creating_in_a_directory_that_is_not_there_says_so() {
    let directory = directory();
    let path = directory.path().join("none").join("shard-0.db");
    let error = ShardFile::create(&path, &identity(), &config()).unwrap_err();
    assert!(
        matches!(&error, Error::Io { action: "create", path: named, .. } if *named == path),
        "{error}"
    );
}

#[test]
fn a_transaction_that_read_an_old_state_cannot_write() {
    let (_directory, file) = filled(1, &config());
    let other = ShardFile::open(file.path(), &config()).unwrap();
    let mut writer = file.writer().unwrap();
    writer.execute("BEGIN", ()).unwrap();
    let seen = writer.query_row("SELECT count(*) FROM t", (), |row| row.get(0).as_i64());
    assert_eq!(seen.unwrap(), Some(Some(1)));
    insert(&other, 2).unwrap();
    let error = writer.execute("DELETE FROM t", ()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Busy {
                holder: Holder::NewerCommit,
                ..
            }
        ),
        "{error}"
    );
    writer.rollback().unwrap();
    assert_eq!(writer.execute("DELETE FROM t", ()).unwrap().changes, 2);
}

#[test]
fn text_of_a_utf16_file_is_read_as_utf8() {
    let directory = directory();
    let identity = Identity {
        encoding: Encoding::Utf16le,
        ..identity()
    };
    let file = ShardFile::create(directory.path().join("a.db"), &identity, &config()).unwrap();
    let mut writer = file.writer().unwrap();
    writer.execute("CREATE TABLE t (v)", ()).unwrap();
    let text = Value::from("\u{1f600} caf\u{e9}");
    writer
        .execute("INSERT INTO t VALUES (?1)", std::slice::from_ref(&text))
        .unwrap();
    let read = writer.query_row("SELECT v, octet_length(v) FROM t", (), |row| {
        row.to_values()
    });
    assert_eq!(read.unwrap(), Some(vec![text, Value::from(14)]));
}

#[test]
fn a_description_tells_columns_parameters_and_effects() {
    let (_directory, file) = filled(0, &config());
    let mut reader = file.reader().unwrap();
    let described = reader
        .describe("SELECT t.id AS key, v || :a FROM t WHERE v = ? AND id = $b")
        .unwrap();
    let columns: Vec<_> = described
        .columns
        .iter()
        .map(|column| {
            let origin = column.origin.as_ref().map(|origin| origin.column.as_str());
            (
                column.name.as_str(),
                column.declared_type.as_deref(),
                origin,
            )
        })
        .collect();
    assert_eq!(
        columns,
        [
            ("key", Some("INTEGER"), Some("id")),
            ("v || :a", None, None)
        ]
    );
    let names: Vec<_> = described.parameters.iter().map(Option::as_deref).collect();
    assert_eq!(names, [Some(":a"), None, Some("$b")]);
    assert!(described.read_only && !described.explain);
    let insert = reader
        .describe("INSERT INTO t VALUES (?1, ?2) RETURNING id")
        .unwrap();
    assert_eq!(
        (
            insert.columns.len(),
            insert.parameters.len(),
            insert.read_only
        ),
        (1, 2, false)
    );
    assert!(
        reader
            .describe("EXPLAIN QUERY PLAN SELECT 1")
            .unwrap()
            .explain
    );
}

#[test]
fn settings_on_which_readers_rely_cannot_be_changed() {
    let (_directory, file) = filled(
        1,
        &Config {
            snapshot_reads: true,
            ..config()
        },
    );
    let mut writer = file.writer().unwrap();
    for sql in [
        "PRAGMA journal_mode = DELETE",
        "PRAGMA wal_autocheckpoint(1)",
        "PRAGMA main.Locking_Mode = EXCLUSIVE",
    ] {
        let error = writer.execute(sql, ()).unwrap_err();
        assert!(
            matches!(&error, Error::Sql { message, .. } if message == "not authorized"),
            "{error:?}"
        );
        assert!(writer.execute_script(sql).is_err());
    }
    let mode = writer.query_row("PRAGMA journal_mode", (), |row| row.get(0).to_value());
    assert_eq!(mode.unwrap(), Some(Value::from("wal")));
}

#[test]
fn meta_rows_are_read_as_they_were_last_written() {
    let (_directory, file) = filled(
        1,
        &Config {
            snapshot_reads: true,
            ..config()
        },
    );
    assert_eq!(file.meta("sql.version").unwrap(), None);
    for version in 1..5 {
        file.writer()
            .unwrap()
            .set_meta("sql.version", &Value::from(version))
            .unwrap();
        for _ in 0..3 {
            assert_eq!(
                file.meta("sql.version").unwrap(),
                Some(Value::from(version))
            );
        }
    }
}
