//! Tests of commits over several shards on files.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use shardwright_topology::Halts;

use super::*;

const ACCOUNTS: i64 = 24;
const BALANCE: i64 = 100;
const SCHEMA: &str = "
    CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0));
    CREATE TABLE log(id TEXT PRIMARY KEY, at TEXT DEFAULT CURRENT_TIMESTAMP);
    CREATE TABLE rates(currency TEXT PRIMARY KEY, rate REAL) /* shardwright: reference */;
    CREATE TABLE people(id INTEGER PRIMARY KEY, email TEXT UNIQUE)";

/// A bank on three shards.
fn bank(directory: &Path) -> ShardedDatabase {
    let create = CreateOptions {
        shards: 3,
        ..CreateOptions::default()
    };
    let db = ShardedDatabase::create(directory, &create).unwrap();
    for sql in crate::statement::split(SCHEMA) {
        db.execute(sql, ()).unwrap();
    }
    let rows: Vec<String> = (1..=ACCOUNTS)
        .map(|id| format!("({id}, {BALANCE})"))
        .collect();
    let insert = format!("INSERT INTO accounts VALUES {}", rows.join(", "));
    let inserted = db.execute(&insert, ()).unwrap();
    assert_eq!((inserted.places.len(), inserted.tier), (3, Tier::Broadcast));
    db
}

fn one(db: &ShardedDatabase, sql: &str) -> Option<i64> {
    db.execute(sql, ())
        .unwrap()
        .first_value()
        .and_then(Value::as_i64)
}

fn sum(db: &ShardedDatabase) -> i64 {
    one(db, "SELECT sum(balance) FROM accounts").unwrap()
}

#[test]
fn a_statement_on_several_shards_happens_on_all_or_on_none() {
    let directory = tempfile::tempdir().unwrap();
    let db = bank(directory.path());
    let all = db
        .execute("UPDATE accounts SET balance = balance + 1", ())
        .unwrap();
    assert_eq!(all.changes, ACCOUNTS.unsigned_abs());
    assert_eq!(sum(&db), ACCOUNTS * (BALANCE + 1));

    db.run(7, "UPDATE accounts SET balance = 0 WHERE id = 7", ())
        .unwrap();
    let less = "UPDATE accounts SET balance = balance - 1 RETURNING id";
    assert_eq!(db.execute(less, ()).unwrap_err().code(), "CONSTRAINT");
    assert_eq!(sum(&db), (ACCOUNTS - 1) * (BALANCE + 1));

    let people = "INSERT INTO people(email) VALUES ('a'), ('b'), ('c'), ('d'), ('e'), ('f')";
    db.execute(people, ()).unwrap();
    let twice = "INSERT INTO people(email) VALUES ('g'), ('h'), ('i'), ('j'), ('k'), ('g')";
    assert_eq!(db.execute(twice, ()).unwrap_err().code(), "CONSTRAINT");
    let same = "UPDATE people SET email = 'z'";
    assert_eq!(db.execute(same, ()).unwrap_err().code(), "CONSTRAINT");
    assert_eq!(
        one(&db, "SELECT count(DISTINCT email) FROM people"),
        Some(6)
    );
    assert_eq!(db.unresolved_commits().unwrap(), []);

    let single = db.execute_with("DELETE FROM people", (), WriteMode::Single);
    assert_eq!(single.unwrap_err().code(), "MULTI_SHARD_WRITE");
}

#[test]
fn a_commit_is_listed_and_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let db = bank(directory.path());
    for _ in 0..5 {
        db.execute("UPDATE accounts SET balance = balance + 1", ())
            .unwrap();
    }
    let notes = |like: &str| {
        let sql = format!("SELECT count(*) FROM _meta WHERE key LIKE '{like}'");
        let rows = db.first_shard("shard-0", &sql, ()).unwrap().unwrap();
        rows[0].as_i64().unwrap()
    };
    assert!(
        notes("commit.decided.%") <= 1,
        "each goes with the next commit"
    );
    assert!(notes("commit.applied.%") >= 5);
    drop(db);
    let db = ShardedDatabase::open(directory.path(), &Options::default()).unwrap();
    let sql = "SELECT count(*) FROM _meta WHERE key LIKE 'commit.decided.%'";
    for result in db.first_all_shards(sql, ()) {
        assert_eq!(result.result.unwrap().unwrap()[0].as_i64(), Some(0));
    }
}

/// Moves money in threads, while others read the sum.
fn transfers(db: &ShardedDatabase, rounds: i64) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let movers: Vec<_> = (0..3_i64)
            .map(|mover| {
                scope.spawn(move || {
                    for round in 0..rounds {
                        let (from, to) = (round * 5 + mover, round * 7 + mover * 3 + 1);
                        let (from, to) = (from % ACCOUNTS + 1, to % ACCOUNTS + 1);
                        let sql = "UPDATE accounts SET balance = balance + CASE id WHEN ?1 THEN -1 ELSE 1 END
                            WHERE id IN (?1, ?2) AND ?1 <> ?2";
                        match db.execute(sql, &[Value::from(from), Value::from(to)]) {
                            Ok(_) => {}
                            Err(error) => assert_eq!(error.code(), "CONSTRAINT", "{error}"),
                        }
                    }
                })
            })
            .collect();
        let (over, reads) = (&is_over, "SELECT sum(balance) FROM accounts");
        let reader = scope.spawn(move || {
            let mut read = 0;
            while !over.load(Ordering::Relaxed) || read == 0 {
                let answer = db.read_consistent(reads, ()).unwrap();
                let sum = answer.first_value().and_then(Value::as_i64);
                assert_eq!(sum, Some(ACCOUNTS * BALANCE));
                read += 1;
            }
        });
        let moved: Vec<_> = movers.into_iter().map(|mover| mover.join()).collect();
        // The reader ends in any case.
        is_over.store(true, Ordering::Relaxed);
        reader.join().unwrap();
        for moved in moved {
            moved.unwrap();
        }
    });
}

#[test]
fn a_consistent_read_sees_the_whole_sum_while_money_moves() {
    let directory = tempfile::tempdir().unwrap();
    let db = bank(directory.path());
    transfers(&db, 60);
    assert_eq!(sum(&db), ACCOUNTS * BALANCE);
    assert_eq!(db.unresolved_commits().unwrap(), []);
}

const DIRECTORY: &str = "SHARDWRIGHT_TEST_COMMIT_DIRECTORY";
const GAP: &str = "SHARDWRIGHT_TEST_COMMIT_GAP";
const STATEMENTS: [&str; 4] = [
    "UPDATE accounts SET balance = balance + 1",
    "INSERT INTO rates VALUES ('EUR', 1.5)",
    "INSERT INTO log(id) VALUES ('a'), ('b'), ('c'), ('d'), ('e'), ('f')",
    "DELETE FROM accounts",
];

/// What a process does that dies in a gap of its last statement.
fn die_in(directory: &Path, gap: usize, nth: u32, statement: usize) {
    let db = ShardedDatabase::open(directory, &Options::default()).unwrap();
    for sql in &STATEMENTS[..statement] {
        db.execute(sql, ()).unwrap();
    }
    db.close().unwrap();
    let halts = Halts::at(CommitGap::ALL[gap], nth, |_| std::process::abort());
    let options = Options {
        commit_halts: halts,
        ..Options::default()
    };
    let db = ShardedDatabase::open(directory, &options).unwrap();
    let _ran = db.execute(STATEMENTS[statement], ());
}

/// What statements leave behind: the sum, the rates of each place, the entries of the log.
type State = (Option<i64>, Vec<Option<i64>>, Option<i64>);

fn state(db: &ShardedDatabase) -> State {
    let rates = db.first_all_shards("SELECT count(*) FROM rates", ());
    let rates = rates
        .into_iter()
        .map(|found| found.result.unwrap().unwrap()[0].as_i64());
    (
        one(db, "SELECT sum(balance) FROM accounts"),
        rates.collect(),
        one(db, "SELECT count(*) FROM log"),
    )
}

fn states() -> Vec<State> {
    let directory = tempfile::tempdir().unwrap();
    let db = bank(directory.path());
    let mut states = vec![state(&db)];
    for sql in STATEMENTS {
        db.execute(sql, ()).unwrap();
        states.push(state(&db));
    }
    states
}

#[test]
fn a_killed_commit_is_on_all_shards_or_on_none() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let at = std::env::var(GAP).unwrap();
        let at: Vec<u32> = at.split(' ').map(|part| part.parse().unwrap()).collect();
        return die_in(
            &PathBuf::from(directory),
            at[0] as usize,
            at[1],
            at[2] as usize,
        );
    }
    let states = states();
    let template = tempfile::tempdir().unwrap();
    bank(template.path()).close().unwrap();
    for (gap, kind) in CommitGap::ALL.into_iter().enumerate() {
        let repeats = matches!(kind, CommitGap::Prepared | CommitGap::Resolved);
        for statement in 0..STATEMENTS.len() {
            for nth in 1..=1 + usize::from(repeats) {
                let directory = copy_of(template.path());
                let name = "database::tests::atomic::a_killed_commit_is_on_all_shards_or_on_none";
                let ran = Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", name])
                    .env(DIRECTORY, directory.path())
                    .env(GAP, format!("{gap} {nth} {statement}"))
                    .output();
                let status = ran.unwrap().status;
                assert!(!status.success(), "{kind:?} {nth} {statement}");
                let states = (&states[statement], &states[statement + 1]);
                check_killed(directory.path(), kind, states);
            }
        }
    }
}

/// A directory with the same files.
fn copy_of(template: &Path) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(template).unwrap() {
        let entry = entry.unwrap();
        let to = directory.path().join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            for inner in std::fs::read_dir(entry.path()).unwrap() {
                let inner = inner.unwrap();
                std::fs::copy(inner.path(), to.join(inner.file_name())).unwrap();
            }
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
    directory
}

/// All or nothing, as the gap says; a reader finds out what is missing, and who opens for writing mends it.
#[track_caller]
fn check_killed(directory: &Path, gap: CommitGap, (before, after): (&State, &State)) {
    let is_made = matches!(
        gap,
        CommitGap::Decided | CommitGap::Resolved | CommitGap::Ended
    );
    let read = Options {
        access: Access::ReadOnly,
        ..Options::default()
    };
    let reader = ShardedDatabase::open(directory, &read).unwrap();
    let unresolved = reader.unresolved_commits().unwrap();
    let is_half = gap == CommitGap::Decided;
    assert!(!is_half || unresolved.len() == 1, "{gap:?}: {unresolved:?}");
    assert!(is_made || unresolved.is_empty(), "{gap:?}: {unresolved:?}");
    reader.close().unwrap();
    let db = ShardedDatabase::open(directory, &Options::default()).unwrap();
    let expect = if is_made { after } else { before };
    assert_eq!(&state(&db), expect, "{gap:?}");
    assert_eq!(db.unresolved_commits().unwrap(), []);
    db.execute("UPDATE accounts SET balance = balance + 1", ())
        .unwrap();
}

#[test]
fn a_transaction_on_several_shards_happens_on_all_or_on_none() {
    let directory = tempfile::tempdir().unwrap();
    let db = bank(directory.path());
    let add = "UPDATE accounts SET balance = balance + ?2 WHERE id = ?1";
    let mut session = db.session();
    let mut run = |sql: &str, id: i64, amount: i64| {
        session
            .execute(
                sql,
                &[Value::from(id), Value::from(amount)][..sql.matches('?').count()],
            )
            .map(drop)
    };
    run("BEGIN", 0, 0).unwrap();
    for id in 1..=ACCOUNTS {
        run(add, id, 10).unwrap();
    }
    let read = db
        .session()
        .execute("SELECT balance FROM accounts WHERE id = 3", ());
    assert_eq!(read.unwrap().first_value(), Some(&Value::from(BALANCE)));
    assert_eq!(run(add, 5, -1_000).unwrap_err().code(), "CONSTRAINT");
    run("COMMIT", 0, 0).unwrap();
    assert_eq!(sum(&db), ACCOUNTS * (BALANCE + 10));
    run("BEGIN", 0, 0).unwrap();
    for id in 1..=ACCOUNTS {
        run(add, id, 10).unwrap();
    }
    run("ROLLBACK", 0, 0).unwrap();
    assert_eq!(sum(&db), ACCOUNTS * (BALANCE + 10));
}

/// A key of each of two shards.
fn two_keys(db: &ShardedDatabase) -> (i64, i64) {
    let home = |id: i64| db.locate(Some("accounts"), id).unwrap();
    let other = (2..=ACCOUNTS).find(|id| home(*id) != home(1)).unwrap();
    (1, other)
}

#[test]
fn of_two_transactions_that_want_the_same_shards_the_older_one_goes_first() {
    let directory = tempfile::tempdir().unwrap();
    let db = bank(directory.path());
    let (one, two) = two_keys(&db);
    let add = |session: &mut Session, id: i64| {
        let sql = "UPDATE accounts SET balance = balance + 1 WHERE id = ?1";
        session.execute(sql, &[Value::from(id)]).map(drop)
    };
    let (mut older, mut younger) = (db.session(), db.session());
    older.execute("BEGIN", ()).unwrap();
    younger.execute("BEGIN", ()).unwrap();
    add(&mut older, one).unwrap();
    add(&mut younger, two).unwrap();
    add(&mut older, two).unwrap();
    let wounded = add(&mut younger, one).unwrap_err();
    assert_eq!(
        (wounded.code(), wounded.is_retryable()),
        ("COMMIT_ABORTED", true)
    );
    assert!(!younger.in_transaction());
    older.execute("COMMIT", ()).unwrap();
    assert_eq!(sum(&db), ACCOUNTS * BALANCE + 2);
}

#[test]
fn a_transaction_that_holds_a_shard_for_too_long_loses_it_to_one_that_waits() {
    let directory = tempfile::tempdir().unwrap();
    bank(directory.path()).close().unwrap();
    let options = Options {
        commit_hold: std::time::Duration::from_millis(20),
        ..Options::default()
    };
    let db = ShardedDatabase::open(directory.path(), &options).unwrap();
    let mut idle = db.session();
    idle.execute("BEGIN", ()).unwrap();
    idle.execute("UPDATE accounts SET balance = 1 WHERE id = 1", ())
        .unwrap();
    db.execute("UPDATE accounts SET balance = balance + 1", ())
        .unwrap();
    let late = idle.execute("COMMIT", ()).unwrap_err();
    assert_eq!(late.code(), "COMMIT_ABORTED");
    assert_eq!(sum(&db), ACCOUNTS * (BALANCE + 1));
}
