//! What single statements may do, give back and complain about.

use std::ops::ControlFlow;

use shardwright_store::{Config, ConstraintKind, Error, Statement, Value};

use crate::setting::{config, count, filled};

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
