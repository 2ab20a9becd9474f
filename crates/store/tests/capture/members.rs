//! Members of a batch, and the ends of its transaction.

use std::{ops::ControlFlow, sync::Arc};

use shardwright_store::{Applied, ChangeSet, Error, ReplicaError, Value};

use crate::pair::{Pair, Step, error_of, statements, value};

#[test]
fn changes_of_a_member_that_was_undone_are_not_captured() {
    let mut pair = Pair::after(&["CREATE TABLE t (id INTEGER PRIMARY KEY, a)"]);
    pair.execute("INSERT INTO t VALUES (1, 1)");
    let (results, sets) = pair.run(&mut [
        statements(&["UPDATE t SET a = 2"]),
        statements(&[
            "UPDATE t SET a = 3",
            "DELETE FROM t",
            "INSERT INTO t VALUES (1, 9), (2, 9), (1, 1)",
        ]),
        statements(&["INSERT INTO t VALUES (3, 3)"]),
    ]);
    assert!(results[1].as_ref().unwrap().is_err());
    assert_eq!(sets[0].changes().count(), 2);
    let (_, sets) = pair.run(&mut [statements(&["DELETE FROM t", "SELECT * FROM nowhere"])]);
    assert!(sets[0].is_empty());
}

#[test]
fn what_a_member_has_undone_itself_is_not_captured() {
    let mut pair = Pair::after(&["CREATE TABLE t (id INTEGER PRIMARY KEY, a)"]);
    pair.execute("INSERT INTO t VALUES (1, 1), (2, 2)");
    let (_, sets) = pair.run(&mut [statements(&[
        "INSERT INTO t VALUES (3, 'kept')",
        "SAVEPOINT s",
        "UPDATE t SET a = 'undone'",
        "DELETE FROM t WHERE id = 1",
        "INSERT INTO t VALUES (4, 'undone')",
        "ROLLBACK TO s",
        "UPDATE t SET a = 'kept' WHERE id = 2",
        "RELEASE s",
    ])]);
    assert_eq!(sets[0].changes().count(), 2);
}

#[test]
fn a_statement_that_fails_halfway_counts_as_far_as_sqlite_keeps_it() {
    let mut pair = Pair::after(&[
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
        "CREATE TABLE log (x)",
    ]);
    pair.execute("CREATE TRIGGER f AFTER INSERT ON t WHEN new.a = 'fail' BEGIN INSERT INTO log VALUES (1); SELECT RAISE(FAIL, 'f'); END");
    let (results, _) = pair.run(&mut [Box::new(|member| {
        assert!(
            member
                .execute(
                    "INSERT OR FAIL INTO t VALUES (1, 1), (2, 2), (1, 3), (4, 4)",
                    ()
                )
                .is_err()
        );
        assert!(
            member
                .execute("INSERT INTO t VALUES (5, 5), (6, 6), (5, 7)", ())
                .is_err()
        );
        assert!(
            member
                .execute("INSERT INTO t VALUES (8, 8), (9, 'fail'), (10, 10)", ())
                .is_err()
        );
        Ok(())
    })]);
    assert!(results[0].as_ref().unwrap().is_ok());
    assert_eq!(
        pair.one("SELECT group_concat(id) FROM t"),
        value(&pair.primary, "SELECT group_concat(id) FROM t")
    );
    assert_eq!(
        pair.one("SELECT group_concat(id) FROM t"),
        Value::from("1,2,8,9")
    );
}

#[test]
fn a_broken_key_that_a_failed_statement_counted_is_not_held_against_others() {
    let mut pair = Pair::after(&[
        "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
        "CREATE TABLE child (p REFERENCES parent, q REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
    ]);
    let (results, _) = pair.run(&mut [
        statements(&["INSERT INTO parent VALUES (1)"]),
        // The second key is counted, and the first one ends the statement before it has touched a row.
        statements(&["INSERT INTO child VALUES (7, 7)"]),
        statements(&["INSERT INTO child VALUES (1, 1)"]),
    ]);
    let results = results.iter().map(|result| result.as_ref().unwrap());
    let succeeded: Vec<bool> = results.map(Result::is_ok).collect();
    assert_eq!(succeeded, [true, false, true]);
}

#[test]
fn what_a_member_defines_is_undone_with_it_after_another_has_ended_the_transaction() {
    let mut pair = Pair::after(&[
        "CREATE TABLE t (id INTEGER PRIMARY KEY)",
        "CREATE TRIGGER end BEFORE INSERT ON t BEGIN SELECT RAISE(ROLLBACK, 'over'); END",
    ]);
    let (results, sets) = pair.run(&mut [
        statements(&["INSERT INTO t VALUES (1)"]),
        statements(&["CREATE TABLE left_behind (x)", "SELECT * FROM nowhere"]),
    ]);
    assert!(
        results
            .iter()
            .all(|result| result.as_ref().unwrap().is_err())
    );
    assert!(sets.iter().all(ChangeSet::is_empty));
    assert_eq!(
        pair.one("SELECT count(*) FROM sqlite_schema WHERE name = 'left_behind'"),
        Value::Integer(0)
    );
}

#[test]
fn a_primary_that_was_a_copy_meanwhile_notes_as_before() {
    let script: Arc<str> = "CREATE TEMP TABLE noted (id);
        CREATE TEMP TRIGGER note AFTER INSERT ON main.t BEGIN INSERT INTO noted VALUES (new.id); END"
        .into();
    let pair = Pair::after(&["CREATE TABLE t (id INTEGER PRIMARY KEY)"]);
    pair.primary.writer().unwrap().watch(Some(&script)).unwrap();
    let mut pair = pair.swap();
    pair.execute("DROP TABLE t");
    pair.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)");
    let mut pair = pair.swap();
    pair.primary.writer().unwrap().watch(Some(&script)).unwrap();
    let mut noted = None;
    let (results, _) = pair.run(&mut [Box::new(|member| {
        member.execute("INSERT INTO t VALUES (7)", ())?;
        let _ = member.query("SELECT id FROM temp.noted", (), |row| {
            noted = row.get(0).as_i64();
            ControlFlow::<()>::Continue(())
        })?;
        Ok(())
    })]);
    assert!(results[0].as_ref().unwrap().is_ok());
    assert_eq!(noted, Some(7));
}

#[test]
fn a_member_that_ends_the_transaction_is_left_out() {
    let mut pair = Pair::after(&["CREATE TABLE t (id INTEGER PRIMARY KEY)"]);
    let (mut results, sets) = pair.run(&mut [
        statements(&["INSERT INTO t VALUES (1)"]),
        statements(&[
            "INSERT INTO t VALUES (2)",
            "INSERT OR ROLLBACK INTO t VALUES (2)",
        ]),
        statements(&["INSERT INTO t VALUES (3)"]),
    ]);
    assert_eq!(sets.len(), 2);
    assert!(sets[1].is_empty());
    let error = error_of(results.remove(1));
    assert!(matches!(error, Error::Constraint { .. }), "{error}");
    assert_eq!(
        pair.one("SELECT group_concat(id) FROM t"),
        Value::from("1,3")
    );
}

#[test]
fn the_same_execution_gives_the_same_bytes() {
    let run = || {
        let mut pair = Pair::after(&[
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
            "CREATE TABLE k (a, b, PRIMARY KEY (a, b)) WITHOUT ROWID",
        ]);
        let mut members: Vec<Step<'_>> = vec![
            statements(&["INSERT INTO t VALUES (9, 'x'), (2, 'y'), (7, NULL)"]),
            statements(&[
                "INSERT INTO k SELECT id, a FROM t WHERE a IS NOT NULL",
                "UPDATE t SET id = id + 1",
            ]),
            statements(&["INSERT INTO k VALUES ('z', 1.5)"]),
        ];
        pair.run(&mut members).1
    };
    assert_eq!(run(), run());
}

#[test]
fn nothing_is_committed_before_commit_at_and_nothing_after_rollback() {
    let mut pair = Pair::after(&["CREATE TABLE t (id INTEGER PRIMARY KEY)"]);
    let mut writer = pair.primary.writer().unwrap();
    let captured = writer
        .execute_batch(&mut [statements(&["INSERT INTO t VALUES (1)"])])
        .unwrap();
    assert!(!captured.changes.is_empty() && writer.in_transaction());
    assert_eq!(
        value(&pair.primary, "SELECT count(*) FROM t"),
        Value::from(0)
    );
    assert!(matches!(
        writer.execute_batch(&mut [statements(&[])]),
        Err(Error::TransactionStatement)
    ));
    writer.rollback().unwrap();
    assert!(matches!(
        writer.commit_at(pair.next(), &[]),
        Err(Error::NoTransaction)
    ));
    // What is not captured is committed as ever.
    writer.execute("INSERT INTO t VALUES (5)", ()).unwrap();
    writer.execute("DELETE FROM t", ()).unwrap();
    drop(writer);
    assert!(pair.execute("SELECT 1").is_empty());
    assert_eq!(
        value(&pair.primary, "SELECT count(*) FROM t"),
        Value::from(0)
    );
    assert_eq!(pair.primary.applied().unwrap(), pair.applied);
}

#[test]
fn a_position_that_does_not_follow_is_refused() {
    let mut pair = Pair::after(&["CREATE TABLE t (id INTEGER PRIMARY KEY)"]);
    let wrong = [
        pair.applied,
        Applied {
            lsn: pair.applied.lsn + 2,
            ..pair.applied
        },
        Applied {
            epoch: 0,
            ..pair.next()
        },
    ];
    for applied in wrong {
        let mut writer = pair.primary.writer().unwrap();
        writer
            .execute_batch(&mut [statements(&["INSERT INTO t VALUES (1)"])])
            .unwrap();
        let error = writer.commit_at(applied, &[]).unwrap_err();
        assert!(
            matches!(error, Error::Replica(ReplicaError::NotNext { .. })),
            "{error}"
        );
        assert!(!writer.in_transaction());
        let mut copy = pair.copy.writer().unwrap();
        let error = copy.apply(applied, &ChangeSet::default(), &[]).unwrap_err();
        assert!(
            matches!(error, Error::Replica(ReplicaError::NotNext { .. })),
            "{error}"
        );
    }
    pair.execute("INSERT INTO t VALUES (1)");
}

#[test]
fn a_batch_without_changes_moves_the_position() {
    let mut pair = Pair::new();
    assert!(pair.execute("SELECT 1").is_empty());
    assert_eq!(pair.copy.applied().unwrap().lsn, 1);
}

#[test]
fn rows_changed_after_the_capture_make_the_commit_fail() {
    let pair = Pair::after(&["CREATE TABLE t (id INTEGER PRIMARY KEY)"]);
    let mut writer = pair.primary.writer().unwrap();
    let captured = writer
        .execute_batch(&mut [statements(&["INSERT INTO t VALUES (1)"])])
        .unwrap();
    writer.execute("INSERT INTO t VALUES (2)", ()).unwrap();
    let error = writer.commit_at(pair.next(), &[]).unwrap_err();
    let Error::CommitFailed { source } = error else {
        panic!("{error}");
    };
    let late = matches!(*source, Error::Replica(ReplicaError::ChangedAfterCapture));
    assert!(late, "{source}");
    assert!(!writer.in_transaction());
    // The primary does then what a copy would do.
    writer.apply(pair.next(), &captured.changes, &[]).unwrap();
    drop(writer);
    pair.copy
        .writer()
        .unwrap()
        .apply(pair.next(), &captured.changes, &[])
        .unwrap();
    pair.compare();
}

#[test]
fn a_file_without_a_position_is_no_copy() {
    let pair = Pair::new();
    let path = pair.directory.path().join("plain.db");
    let identity = shardwright_store::Identity::new("shop", "shard-0");
    let file =
        shardwright_store::ShardFile::create(path, &identity, &crate::pair::config()).unwrap();
    assert_eq!(file.replica().unwrap(), None);
    let mut writer = file.writer().unwrap();
    writer.execute_batch(&mut [statements(&[])]).unwrap();
    let error = writer.commit_at(pair.next(), &[]).unwrap_err();
    assert!(
        matches!(error, Error::Replica(ReplicaError::NotReplicated)),
        "{error}"
    );
}

#[test]
fn constraints_and_triggers_work_again_after_a_copy_takes_over() {
    let mut pair = Pair::after(&[
        "CREATE TABLE p (id INTEGER PRIMARY KEY CHECK (id > 0))",
        "CREATE TABLE c (p REFERENCES p)",
        "CREATE TABLE log (x)",
        "CREATE TRIGGER r AFTER INSERT ON p BEGIN INSERT INTO log VALUES (new.id); END",
    ]);
    for _ in 0..2 {
        pair = pair.swap();
        let (results, _) = pair.run(&mut [
            statements(&["INSERT INTO p VALUES (-1)"]),
            statements(&["INSERT INTO c VALUES (99)"]),
            statements(&["INSERT INTO p VALUES (NULL)"]),
        ]);
        let failed: Vec<_> = results
            .iter()
            .map(|result| result.as_ref().unwrap().is_err())
            .collect();
        assert_eq!(failed, [true, true, false]);
    }
    assert_eq!(pair.one("SELECT count(*) FROM log"), Value::from(2));
}

#[test]
fn the_first_foreign_keys_are_looked_at_at_once() {
    let mut pair = Pair::after(&["CREATE TABLE p (id INTEGER PRIMARY KEY)"]);
    let create = "CREATE TABLE c (p REFERENCES p DEFERRABLE INITIALLY DEFERRED)";
    let (mut results, sets) = pair.run(&mut [statements(&[create, "INSERT INTO c VALUES (7)"])]);
    let error = error_of(results.remove(0));
    assert!(matches!(error, Error::Constraint { .. }), "{error}");
    assert!(sets[0].is_empty());
}

#[test]
fn a_statement_says_how_many_rows_it_changed_itself() {
    let mut pair = Pair::after(&[
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
        "CREATE TABLE log (x)",
        "CREATE TRIGGER note AFTER DELETE ON t BEGIN INSERT INTO log VALUES (1); END",
        "CREATE VIEW v AS SELECT id FROM t",
        "CREATE TRIGGER through INSTEAD OF INSERT ON v BEGIN INSERT INTO t VALUES (new.id, 0); END",
    ]);
    let mut changes = Vec::new();
    pair.run(&mut [Box::new(|member| {
        for sql in [
            "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)",
            "SELECT count(*) FROM t",
            "INSERT INTO t SELECT 9, 9 WHERE 0",
            "UPDATE t SET a = 0 WHERE id > 1",
            "PRAGMA user_version",
            "EXPLAIN DELETE FROM t",
            "delete FROM t WHERE id = 1",
            "WITH one AS (SELECT 1) SELECT * FROM one",
            "INSERT INTO v VALUES (7), (8)",
            "REPLACE INTO t VALUES (7, 1)",
            "SELECT 1",
            "WITH two AS (SELECT 2 AS id) DELETE FROM t WHERE id IN two",
        ] {
            changes.push(member.execute(sql, ())?.changes);
        }
        Ok(())
    })]);
    assert_eq!(changes, [3, 0, 0, 2, 0, 0, 1, 0, 0, 1, 0, 1]);
}

#[test]
fn many_statements_take_turns() {
    let mut pair = Pair::after(&["CREATE TABLE t (id INTEGER PRIMARY KEY, a)"]);
    let inserts: Vec<String> = (0..20)
        .map(|number| format!("INSERT INTO t (a) VALUES ({number})"))
        .collect();
    let mut members: Vec<Step<'_>> = Vec::new();
    for turn in 0..3 {
        let inserts = &inserts;
        members.push(Box::new(move |member| {
            for insert in inserts.iter().skip(turn) {
                assert_eq!(member.execute(insert, ())?.changes, 1);
                assert!(
                    member
                        .execute("INSERT INTO t VALUES (1, 'again')", ())
                        .is_err()
                );
            }
            Ok(())
        }));
    }
    pair.run(&mut members);
    assert_eq!(
        pair.one("SELECT count(*) || ' ' || sum(a) FROM t"),
        Value::from("57 569")
    );
}
