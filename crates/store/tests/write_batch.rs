//! Many writes in one transaction.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use shardwright_store::{
    Config, ConstraintKind, Decision, Error, Executed, Fate, Identity, Member, Result, ShardFile,
    Value,
};
use tempfile::TempDir;

type Step<'a> = Box<dyn FnMut(&mut Member<'_>) -> Result<u64> + 'a>;

fn file() -> (TempDir, ShardFile) {
    let directory = tempfile::tempdir().unwrap();
    let file = ShardFile::create(
        directory.path().join("shard-0.db"),
        &Identity::new("shop", "shard-0"),
        &Config::default(),
    )
    .unwrap();
    file.writer()
        .unwrap()
        .execute_script(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (id INTEGER PRIMARY KEY,
                 parent REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED,
                 strict REFERENCES parent (id));
             CREATE TABLE t (id INTEGER PRIMARY KEY);",
        )
        .unwrap();
    (directory, file)
}

/// A member that runs statements and returns the rows changed by the last.
fn run<'a>(statements: &'a [&'a str]) -> Step<'a> {
    Box::new(move |member| {
        let mut changes = 0;
        for sql in statements {
            changes = member.execute(*sql, ())?.changes;
        }
        Ok(changes)
    })
}

fn ids(file: &ShardFile, table: &str) -> Vec<i64> {
    file.reader()
        .unwrap()
        .query_row(
            &format!("SELECT coalesce(json_group_array(id), '[]') FROM (SELECT id FROM {table} ORDER BY id)"),
            (),
            |row| {
                let text = row.get(0).as_str().unwrap().to_owned();
                text.trim_matches(['[', ']'])
                    .split(',')
                    .filter_map(|id| id.parse().ok())
                    .collect()
            },
        )
        .unwrap()
        .unwrap()
}

/// Runs a batch, commits it, and returns its fates with the members of each decision.
fn commit(file: &ShardFile, members: &mut [Step<'_>]) -> (Vec<Fate<u64>>, Vec<Vec<usize>>) {
    let mut decisions = Vec::new();
    let fates = file
        .writer()
        .unwrap()
        .write_batch(members, |executed: &[Executed<u64>]| {
            decisions.push(executed.iter().map(|executed| executed.member).collect());
            Decision::Commit
        })
        .unwrap();
    (fates, decisions)
}

#[test]
fn a_member_that_fails_is_undone_alone() {
    let (_directory, file) = file();
    let (fates, decisions) = commit(
        &file,
        &mut [
            run(&["INSERT INTO t VALUES (1)"]),
            run(&["INSERT INTO t VALUES (2)", "INSERT INTO t VALUES (1)"]),
            run(&["INSERT INTO t VALUES (3)"]),
        ],
    );
    assert!(
        matches!(
            &fates[..],
            [
                Fate::Committed(1),
                Fate::Failed(Error::Constraint {
                    kind: ConstraintKind::PrimaryKey,
                    ..
                }),
                Fate::Committed(1),
            ]
        ),
        "{fates:?}"
    );
    assert_eq!(decisions, [[0, 1, 2]]);
    assert_eq!(ids(&file, "t"), [1, 3]);
}

#[test]
fn a_member_that_leaves_a_deferred_key_unsatisfied_is_undone_alone() {
    let (_directory, file) = file();
    let (fates, _) = commit(
        &file,
        &mut [
            run(&[
                "INSERT INTO child (id, parent) VALUES (1, 10)",
                "INSERT INTO parent VALUES (10)",
            ]),
            run(&["INSERT INTO child (id, parent) VALUES (2, 20)"]),
            run(&["INSERT INTO child (id, parent) VALUES (3, 10)"]),
        ],
    );
    assert!(
        matches!(
            &fates[..],
            [
                Fate::Committed(1),
                Fate::Failed(Error::Constraint {
                    kind: ConstraintKind::ForeignKey,
                    ..
                }),
                Fate::Committed(1),
            ]
        ),
        "{fates:?}"
    );
    assert_eq!(ids(&file, "child"), [1, 3]);
}

#[test]
fn deferring_foreign_keys_ends_with_the_member_that_asked_for_it() {
    let (_directory, file) = file();
    let (fates, _) = commit(
        &file,
        &mut [
            run(&[
                "PRAGMA defer_foreign_keys = ON",
                "INSERT INTO child (id, strict) VALUES (1, 10)",
                "INSERT INTO parent VALUES (10)",
            ]),
            run(&[
                "INSERT INTO child (id, strict) VALUES (2, 20)",
                "INSERT INTO parent VALUES (20)",
            ]),
        ],
    );
    assert!(
        matches!(&fates[..], [Fate::Committed(1), Fate::Failed(_)]),
        "{fates:?}"
    );
    assert_eq!(ids(&file, "child"), [1]);
}

#[test]
fn the_others_run_again_when_a_member_ends_the_transaction() {
    let (_directory, file) = file();
    let mut runs = 0;
    let mut counted = |member: &mut Member<'_>| {
        runs += 1;
        member
            .execute("INSERT INTO t VALUES (1)", ())
            .map(|outcome| outcome.changes)
    };
    let (fates, decisions) = commit(
        &file,
        &mut [
            Box::new(&mut counted),
            run(&[
                "INSERT INTO t VALUES (2)",
                "INSERT OR ROLLBACK INTO t VALUES (1)",
            ]),
            run(&["INSERT INTO t VALUES (3)"]),
        ],
    );
    assert!(
        matches!(
            &fates[..],
            [
                Fate::Committed(1),
                Fate::Failed(Error::Constraint { .. }),
                Fate::Committed(1)
            ]
        ),
        "{fates:?}"
    );
    assert_eq!(runs, 2);
    assert_eq!(decisions, [[0, 2]]);
    assert_eq!(ids(&file, "t"), [1, 3]);
}

#[test]
fn a_member_that_ended_the_transaction_may_succeed_alone() {
    let (_directory, file) = file();
    let mut decisions = Vec::new();
    let fates = file
        .writer()
        .unwrap()
        .write_batch(
            &mut [
                run(&["INSERT INTO t VALUES (1)"]),
                run(&["INSERT OR ROLLBACK INTO t VALUES (1)"]),
            ],
            |executed| {
                decisions.push(executed[0].member);
                match executed[0].member {
                    0 => Decision::Rollback,
                    _ => Decision::Commit,
                }
            },
        )
        .unwrap();
    assert!(
        matches!(&fates[..], [Fate::RolledBack(1), Fate::Committed(1)]),
        "{fates:?}"
    );
    assert_eq!(decisions, [0, 1]);
    assert_eq!(ids(&file, "t"), [1]);
}

#[test]
fn a_member_cannot_go_on_after_it_ended_the_transaction() {
    let (_directory, file) = file();
    let mut stubborn: [Step<'_>; 1] = [Box::new(|member| {
        member.execute("INSERT INTO t VALUES (1)", ())?;
        let error = member
            .execute("INSERT OR ROLLBACK INTO t VALUES (1)", ())
            .unwrap_err();
        assert!(matches!(error, Error::TransactionEnded { .. }), "{error}");
        let error = member.execute("INSERT INTO t VALUES (2)", ()).unwrap_err();
        assert!(matches!(error, Error::NoTransaction), "{error}");
        Ok(0)
    })];
    let (fates, decisions) = commit(&file, &mut stubborn);
    assert!(
        matches!(&fates[..], [Fate::Failed(Error::NoTransaction)]),
        "{fates:?}"
    );
    assert!(decisions.is_empty());
    assert!(ids(&file, "t").is_empty());
}

#[test]
fn a_member_may_not_use_transaction_statements() {
    let (_directory, file) = file();
    for sql in ["COMMIT", "/* note */ ROLLBACK", "; BEGIN"] {
        let (fates, _) = commit(&file, &mut [run(&["INSERT INTO t VALUES (1)", sql])]);
        assert!(
            matches!(&fates[..], [Fate::Failed(Error::TransactionStatement)]),
            "{sql}"
        );
    }
    assert!(ids(&file, "t").is_empty());
}

#[test]
fn a_member_divides_its_own_part_and_no_other() {
    let (_directory, file) = file();
    for sql in [
        "RELEASE member",
        "ROLLBACK TO member",
        "RELEASE \"member 0\"",
    ] {
        let (fates, _) = commit(&file, &mut [run(&["INSERT INTO t VALUES (1)", sql])]);
        let [Fate::Failed(Error::Sql { message, .. })] = &fates[..] else {
            panic!("{sql}: {fates:?}");
        };
        assert!(message.starts_with("no such savepoint"), "{message}");
    }
    let divided = [
        "INSERT INTO t VALUES (10)",
        "SAVEPOINT one",
        "INSERT INTO t VALUES (11)",
        "SAVEPOINT Member",
        "INSERT INTO t VALUES (12)",
        "SAVEPOINT three",
        "ROLLBACK TO member",
        "INSERT INTO t VALUES (13)",
    ];
    let then_fails: Vec<&str> = divided
        .iter()
        .copied()
        .chain(["ROLLBACK TO three"])
        .collect();
    let mut members = [
        run(&["INSERT INTO t VALUES (1)"]),
        run(&then_fails),
        run(&divided),
        run(&["INSERT INTO t VALUES (2)"]),
    ];
    let (fates, _) = commit(&file, &mut members);
    assert!(matches!(fates[1], Fate::Failed(_)), "{fates:?}");
    assert_eq!(ids(&file, "t"), [1, 2, 10, 11, 13]);
}

#[test]
fn a_decision_to_roll_back_undoes_all_members() {
    let (_directory, file) = file();
    let mut writer = file.writer().unwrap();
    let fates = writer
        .write_batch(
            &mut [
                run(&["INSERT INTO t VALUES (1)"]),
                run(&["INSERT INTO nowhere VALUES (1)"]),
            ],
            |executed| {
                assert!(matches!(
                    executed,
                    [
                        Executed { result: Ok(1), .. },
                        Executed {
                            result: Err(Error::Sql { .. }),
                            ..
                        }
                    ]
                ));
                Decision::Rollback
            },
        )
        .unwrap();
    assert!(
        matches!(&fates[..], [Fate::RolledBack(1), Fate::Failed(_)]),
        "{fates:?}"
    );
    drop(writer);
    assert!(ids(&file, "t").is_empty());
}

#[test]
fn nothing_is_visible_before_the_decision() {
    let (_directory, file) = file();
    let fates = file
        .writer()
        .unwrap()
        .write_batch(&mut [run(&["INSERT INTO t VALUES (1)"])], |_| {
            assert!(ids(&file, "t").is_empty());
            Decision::Commit
        })
        .unwrap();
    assert!(matches!(&fates[..], [Fate::Committed(1)]));
    assert_eq!(ids(&file, "t"), [1]);
}

#[test]
fn an_empty_batch_decides_nothing() {
    let (_directory, file) = file();
    let (fates, decisions) = commit(&file, &mut []);
    assert!(fates.is_empty() && decisions.is_empty());
}

#[test]
fn members_return_the_rows_they_are_given() {
    let (_directory, file) = file();
    let mut ids: [Value; 2] = [Value::Null, Value::Null];
    let mut members: Vec<_> = ids
        .iter_mut()
        .map(|id| {
            move |member: &mut Member<'_>| {
                let (_, flow) =
                    member.query("INSERT INTO t VALUES (NULL) RETURNING id", (), |row| {
                        std::ops::ControlFlow::Break(row.get(0).to_value())
                    })?;
                *id = flow.break_value().unwrap_or_default();
                Ok(())
            }
        })
        .collect();
    let fates = file
        .writer()
        .unwrap()
        .write_batch(&mut members, |_| Decision::Commit)
        .unwrap();
    assert!(matches!(
        &fates[..],
        [Fate::Committed(()), Fate::Committed(())]
    ));
    drop(members);
    assert_eq!(ids, [Value::from(1), Value::from(2)]);
}
