//! Full disks, several processes and threads, and creations that are killed.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Barrier,
    time::Duration,
};

use shardwright_store::{
    Access, Config, Determinism, Error, Function, Holder, Identity, Reader, ShardFile, Snapshot,
    Synchronous, Value, Writer,
};

fn create(directory: &Path, config: &Config) -> ShardFile {
    let path = directory.join("shard-0.db");
    let file = ShardFile::create(path, &Identity::new("shop", "shard-0"), config).unwrap();
    file.writer()
        .unwrap()
        .execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v)", ())
        .unwrap();
    file
}

fn count(reader: &mut Reader<'_>) -> i64 {
    reader
        .query_row("SELECT count(*) FROM t", (), |row| row.get(0).as_i64())
        .unwrap()
        .flatten()
        .unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn handles_may_move_between_threads() {
    fn send<T: Send>() {}
    fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<ShardFile>();
    send::<Reader<'_>>();
    send::<Snapshot>();
    send::<Writer>();
}

#[test]
fn a_full_file_is_reported_and_keeps_what_was_committed() {
    let directory = tempfile::tempdir().unwrap();
    let file = create(directory.path(), &Config::default());
    let mut writer = file.writer().unwrap();
    writer.execute("PRAGMA max_page_count = 20", ()).unwrap();
    writer
        .execute("INSERT INTO t VALUES (1, 'kept')", ())
        .unwrap();
    let error = writer
        .execute("INSERT INTO t VALUES (2, zeroblob(1000000))", ())
        .unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert!(!error.is_retryable());
    assert_eq!(count(&mut file.reader().unwrap()), 1);
    writer
        .execute("INSERT INTO t VALUES (3, 'fits')", ())
        .unwrap();
    assert_eq!(count(&mut file.reader().unwrap()), 2);
}

#[test]
fn threads_read_consistent_states_while_one_writes() {
    for snapshot_reads in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            snapshot_reads,
            readers: 3,
            synchronous: Synchronous::Off,
            checkpoint_pages: 20,
            ..Config::default()
        };
        let file = create(directory.path(), &config);
        let start = Barrier::new(5);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                for pair in 0..200 {
                    let mut writer = file.writer().unwrap();
                    writer.begin().unwrap();
                    for id in [2 * pair, 2 * pair + 1] {
                        writer
                            .execute("INSERT INTO t VALUES (?1, 0)", &[Value::from(id)])
                            .unwrap();
                    }
                    writer.commit().unwrap();
                    let seen = count(&mut file.reader().unwrap());
                    assert_eq!(
                        seen,
                        i64::from(2 * pair + 2),
                        "a writer's thread reads its own commit"
                    );
                }
            });
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    let mut last = 0;
                    while last < 400 {
                        let seen = count(&mut file.reader().unwrap());
                        assert!(seen % 2 == 0 && seen >= last, "{last} rows, then {seen}");
                        last = seen;
                    }
                });
            }
        });
        file.close().unwrap();
        assert_eq!(names(directory.path()), ["shard-0.db"]);
    }
}

#[test]
fn a_waiting_reader_gets_the_one_that_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        readers: 1,
        busy_timeout: Duration::from_secs(60),
        ..Config::default()
    };
    let file = create(directory.path(), &config);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    assert_eq!(count(&mut file.reader().unwrap()), 0);
                }
            });
        }
    });
}

#[test]
fn another_connections_lock_makes_the_writer_busy() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        busy_timeout: Duration::ZERO,
        ..Config::default()
    };
    let file = create(directory.path(), &config);
    let other = ShardFile::open(file.path(), &config).unwrap();
    let mut held = other.writer().unwrap();
    held.begin().unwrap();
    let error = file
        .writer()
        .unwrap()
        .execute("INSERT INTO t VALUES (1, 1)", ())
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Busy {
                holder: Holder::Lock,
                ..
            }
        ),
        "{error}"
    );
    held.execute("INSERT INTO t VALUES (2, 2)", ()).unwrap();
    held.commit().unwrap();
    assert_eq!(count(&mut file.reader().unwrap()), 1);
}

#[test]
fn the_writer_can_be_interrupted_and_its_transaction_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let file = create(directory.path(), &Config::default());
    let mut writer = file.writer().unwrap();
    let interrupter = writer.interrupter();
    writer.begin().unwrap();
    let mut shown = 0;
    let error = writer
        .query(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
            (),
            |_| {
                shown += 1;
                interrupter.interrupt();
                ControlFlow::<()>::Continue(())
            },
        )
        .unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    assert_eq!(shown, 1);
    writer.rollback().unwrap();
    drop(writer);
    interrupter.interrupt();
    file.writer()
        .unwrap()
        .execute("INSERT INTO t VALUES (1, 1)", ())
        .unwrap();
}

#[test]
fn functions_serve_readers_the_writer_and_the_schema() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        functions: vec![
            Function::new("double", 1, Determinism::Deterministic, |arguments| {
                let integer = arguments[0].as_i64().ok_or("double takes an integer")?;
                Ok(Value::from(integer * 2))
            }),
            Function::new("arity", 0, Determinism::Volatile, |arguments| {
                Ok(Value::from(u32::try_from(arguments.len()).unwrap()))
            })
            .variadic(),
        ],
        setup_sql: "PRAGMA cache_size = -512".to_owned(),
        ..Config::default()
    };
    let file = create(directory.path(), &config);
    let mut writer = file.writer().unwrap();
    writer
        .execute_script(
            "CREATE TABLE d (a, b DEFAULT (arity(1, 2, 3)), c AS (double(a)));
             CREATE INDEX i ON d (double(a));
             INSERT INTO d (a) VALUES (21);",
        )
        .unwrap();
    let mut reader = file.reader().unwrap();
    let row = reader
        .query_row("SELECT a, b, c, double(c) FROM d", (), |row| {
            row.to_values()
        })
        .unwrap()
        .unwrap();
    assert_eq!(row, [21, 3, 42, 84].map(Value::from));
    let cache = reader
        .query_row("PRAGMA cache_size", (), |row| row.get(0).as_i64())
        .unwrap();
    assert_eq!(cache, Some(Some(-512)));
    let error = writer
        .execute("INSERT INTO d (a) VALUES ('x')", ())
        .unwrap_err();
    assert!(
        matches!(&error, Error::Sql { message, .. } if message == "double takes an integer"),
        "{error:?}"
    );
}

#[test]
fn the_schema_table_is_defended_against_forgery() {
    let directory = tempfile::tempdir().unwrap();
    let file = create(directory.path(), &Config::default());
    let mut writer = file.writer().unwrap();
    for sql in [
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = 'CREATE TABLE t (x)'",
    ] {
        let result = writer.execute(sql, ());
        assert_eq!(
            result.is_err(),
            sql.starts_with("UPDATE"),
            "{sql}: the schema is defended"
        );
    }
}

/// Where the child of a test finds its task; see [`run_child`].
const CHILD_TASK: &str = "SHARDWRIGHT_STORE_TEST_CHILD";

/// Runs the test `name` of this binary in another process, with a directory as its task.
fn child(name: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD_TASK, directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn child_task() -> Option<PathBuf> {
    std::env::var_os(CHILD_TASK).map(PathBuf::from)
}

#[test]
fn a_killed_creation_leaves_no_file_under_the_name() {
    if let Some(directory) = child_task() {
        for number in 0_u64.. {
            let path = directory.join(format!("{number}.db"));
            drop(ShardFile::create(
                path,
                &Identity::new("shop", "shard-0"),
                &Config::default(),
            ));
        }
    }
    let directory = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let place = directory.path().join(round.to_string());
        std::fs::create_dir(&place).unwrap();
        let mut child = child("a_killed_creation_leaves_no_file_under_the_name", &place)
            .spawn()
            .unwrap();
        // Kills at a moment that the file system chooses: some time after so many files are seen.
        while names(&place).len() <= round % 5 {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for name in names(&place).iter().filter(|name| name.ends_with(".db")) {
            let path = place.join(name);
            let file = ShardFile::open(&path, &Config::default()).unwrap();
            assert_eq!(file.identity(), &Identity::new("shop", "shard-0"));
        }
    }
}

#[test]
fn what_a_killed_creation_left_is_cleared_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    for left in [
        "shard-0.db.77-0.creating",
        "shard-0.db.77-0.creating-wal",
        "shard-1.db.77-0.creating",
    ] {
        std::fs::write(directory.path().join(left), "half a file").unwrap();
    }
    create(directory.path(), &Config::default())
        .close()
        .unwrap();
    assert_eq!(
        names(directory.path()),
        ["shard-0.db", "shard-1.db.77-0.creating"]
    );
}

#[test]
fn of_two_creations_at_once_one_wins_and_the_other_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shard-0.db");
    for round in 0..20 {
        let start = Barrier::new(4);
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|place| {
                    let (start, path) = (&start, &path);
                    scope.spawn(move || {
                        start.wait();
                        let identity = Identity::new("shop", format!("shard-{place}"));
                        ShardFile::create(path, &identity, &Config::default())
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "round {round}: {lost:?}");
        for lost in lost {
            let error = lost.unwrap_err();
            assert!(matches!(error, Error::Exists { .. }), "{error:?}");
        }
        drop(won);
        assert_eq!(names(directory.path()), ["shard-0.db"]);
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn commits_of_a_killed_process_are_there_and_its_open_transaction_is_not() {
    if let Some(directory) = child_task() {
        let file = ShardFile::open(directory.join("shard-0.db"), &Config::default()).unwrap();
        let mut writer = file.writer().unwrap();
        writer
            .execute("INSERT INTO t VALUES (1, 'committed')", ())
            .unwrap();
        writer.begin().unwrap();
        writer
            .execute("INSERT INTO t VALUES (2, 'open')", ())
            .unwrap();
        std::fs::write(directory.join("ready"), "").unwrap();
        loop {
            std::thread::park();
        }
    }
    let directory = tempfile::tempdir().unwrap();
    create(directory.path(), &Config::default())
        .close()
        .unwrap();
    let name = "commits_of_a_killed_process_are_there_and_its_open_transaction_is_not";
    let mut child = child(name, directory.path()).spawn().unwrap();
    while !directory.path().join("ready").exists() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the child ended before it was killed"
        );
        std::thread::yield_now();
    }
    let path = directory.path().join("shard-0.db");
    let config = Config {
        busy_timeout: Duration::ZERO,
        ..Config::default()
    };
    let beside = ShardFile::open(&path, &config).unwrap();
    let error = beside.writer().unwrap().begin().unwrap_err();
    assert!(
        matches!(
            error,
            Error::Busy {
                holder: Holder::Lock,
                ..
            }
        ),
        "{error}"
    );
    let reading = Config {
        access: Access::ReadOnly,
        ..config
    };
    let readonly = ShardFile::open(&path, &reading).unwrap();
    assert_eq!(count(&mut readonly.reader().unwrap()), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(count(&mut beside.reader().unwrap()), 1);
    beside.writer().unwrap().begin().unwrap();
}

#[cfg(unix)]
#[test]
fn a_decided_batch_whose_commit_fails_is_reported_as_such() {
    use shardwright_store::{Decision, Fate, Member};

    let name = "a_decided_batch_whose_commit_fails_is_reported_as_such";
    if let Some(directory) = child_task() {
        let file = ShardFile::open(directory.join("shard-0.db"), &Config::default()).unwrap();
        let mut decisions = 0;
        let mut write = |bytes: i64| {
            let mut member = |member: &mut Member<'_>| {
                member.execute(
                    "INSERT INTO t (v) VALUES (zeroblob(?1))",
                    &[Value::from(bytes)],
                )
            };
            file.writer()
                .unwrap()
                .write_batch(std::slice::from_mut(&mut member), |_| {
                    decisions += 1;
                    Decision::Commit
                })
        };
        let error = write(1_000_000).unwrap_err();
        assert!(
            matches!(&error, Error::CommitFailed { source } if matches!(**source, Error::Disk { .. })),
            "{error:?}"
        );
        assert!(!error.is_retryable());
        assert_eq!(count(&mut file.reader().unwrap()), 0);
        assert!(matches!(write(10).unwrap()[..], [Fate::Committed(_)]));
        assert_eq!(count(&mut file.reader().unwrap()), 1);
        assert_eq!(decisions, 2);
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    create(directory.path(), &Config::default())
        .close()
        .unwrap();
    // The child may make no file larger than 256 blocks, and is told so by an error, not a signal.
    let status = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 256; exec \"$0\" --exact \"$1\" --nocapture",
        ])
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env(CHILD_TASK, directory.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "the child says why above");
}
