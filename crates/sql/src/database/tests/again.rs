//! Tests of statements that are tried again, and of those that have to wait.

use std::time::Duration;

use super::{once::Memory, *};
use crate::shards::FaultKind;

const AGAIN: &str = "
    CREATE TABLE items(id INTEGER PRIMARY KEY, n INTEGER);
    CREATE TABLE logs(id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT);
    CREATE TABLE tokens(id TEXT PRIMARY KEY DEFAULT (hex(randomblob(16))), n INTEGER);
    CREATE TABLE users(id INTEGER PRIMARY KEY, email TEXT UNIQUE);
    CREATE TABLE units(name TEXT PRIMARY KEY, n INTEGER) /* shardwright: reference */;
    INSERT INTO units VALUES ('m', 0);
";

fn count(db: &ShardedDatabase, sql: &str) -> i64 {
    let answer = db.execute(sql, ()).unwrap();
    answer.first_value().and_then(Value::as_i64).unwrap()
}

#[track_caller]
fn run(db: &ShardedDatabase, sql: &str) -> Answer {
    db.execute_with(sql, (), WriteMode::BestEffort)
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Statements whose rows have other keys in each try, and how many rows they insert.
const INSERTS: &[(&str, i64)] = &[
    ("INSERT INTO items(n) VALUES (1) RETURNING id", 1),
    (
        "INSERT INTO items VALUES (NULL, 2), (NULL, 3) RETURNING id",
        2,
    ),
    ("INSERT INTO logs(text) VALUES ('a') RETURNING id", 1),
    ("INSERT INTO users(email) VALUES ('a@x') RETURNING id", 1),
    ("INSERT INTO tokens(n) VALUES (1) RETURNING id", 1),
    (
        "INSERT INTO tokens VALUES (hex(randomblob(8)), 2) RETURNING id",
        1,
    ),
    (
        "INSERT INTO tokens SELECT hex(randomblob(8)), n FROM tokens RETURNING id",
        2,
    ),
    ("INSERT INTO items(n) SELECT n FROM items RETURNING id", 3),
];

#[test]
fn an_insert_whose_keys_are_drawn_or_random_happens_once() {
    let shop = fixture(AGAIN);
    let memory = Arc::default();
    let rows = "SELECT (SELECT count(*) FROM items) + (SELECT count(*) FROM logs)
        + (SELECT count(*) FROM users) + (SELECT count(*) FROM tokens)";
    for (sequence, (sql, inserted)) in (1..).zip(INSERTS) {
        let before = count(&shop.db, rows);
        let first = run(&Memory::try_of(&memory, &shop.db, sequence), sql);
        assert_eq!(first.rows.len(), usize::try_from(*inserted).unwrap());
        for _ in 0..3 {
            let again = run(&Memory::try_of(&memory, &shop.db, sequence), sql);
            assert_eq!(
                (&again.rows, again.changes, again.last_insert_rowid),
                (&first.rows, first.changes, first.last_insert_rowid),
                "{sql}"
            );
            assert_eq!(
                (&again.places, &again.columns),
                (&first.places, &first.columns)
            );
        }
        assert_eq!(count(&shop.db, rows), before + inserted, "{sql}");
    }
}

#[test]
fn a_peer_leaves_it_to_the_writer_to_find_out_what_was_made_before() {
    let shop = fixture(AGAIN);
    let memory = Arc::default();
    for (sql, needs) in [
        ("INSERT INTO tokens(n) VALUES (1)", true),
        ("INSERT INTO tokens SELECT 'a', 1 FROM units", true),
        ("INSERT INTO tokens VALUES ('a', 1)", false),
        ("INSERT INTO tokens VALUES ('b', random()), ('c', 1)", true),
        ("UPDATE tokens SET n = 2 WHERE id = 'a'", false),
    ] {
        let numbered = Memory::try_of(&memory, &shop.db, 1);
        assert_eq!(numbered.needs_writer(sql).unwrap(), needs, "{sql}");
        let numbered = numbered.as_peer();
        let ran = numbered.execute_with(sql, (), WriteMode::BestEffort);
        let is_refused =
            matches!(ran, Err(Error::Place { fault, .. }) if fault.kind == FaultKind::NotWriter);
        assert_eq!(is_refused, needs, "{sql}");
    }
}

#[test]
fn a_try_after_one_that_was_made_in_part_says_so_and_adds_nothing() {
    let shop = fixture(AGAIN);
    let values: Vec<String> = (0..40).map(|n| format!("({n}, {n})")).collect();
    run(
        &shop.db,
        &format!("INSERT INTO items VALUES {}", values.join(",")),
    );
    let memory = Arc::<Memory>::default();
    *memory.refusal.lock().unwrap() = Some((1, FaultKind::Unreachable));
    let sql = "INSERT INTO tokens SELECT hex(randomblob(8)), n FROM items";
    let write = || {
        let db = memory.try_of(&shop.db, 1);
        db.execute_with(sql, (), WriteMode::BestEffort)
    };
    let of = |ran: Result<Answer, Error>| match ran.unwrap_err() {
        Error::PartialWrite { committed, .. } => committed,
        error => panic!("{error}"),
    };
    let committed = of(write());
    assert_eq!(committed.len(), 1);
    let rows = count(&shop.db, "SELECT count(*) FROM tokens");
    *memory.refusal.lock().unwrap() = None;
    assert_eq!(of(write()), committed);
    assert_eq!(count(&shop.db, "SELECT count(*) FROM tokens"), rows);
}

#[test]
fn a_change_that_reaches_every_place_happens_once() {
    let shop = fixture(AGAIN);
    let memory = Arc::<Memory>::default();
    for (sequence, (sql, changes)) in (1..).zip([
        ("UPDATE units SET n = n + 1 RETURNING n", 1),
        ("INSERT INTO units SELECT hex(randomblob(8)), 1", 1),
        ("CREATE TABLE more(id INTEGER PRIMARY KEY)", 0),
        ("ALTER TABLE more ADD COLUMN n INTEGER", 0),
        ("PRAGMA user_version = 3", 0),
        ("DROP TABLE more", 0),
    ]) {
        let first = run(&memory.try_of(&shop.db, sequence), sql);
        let number = shop.db.broadcast_number();
        let again = run(&memory.try_of(&shop.db, sequence), sql);
        assert_eq!((first.changes, again.changes), (changes, changes), "{sql}");
        assert_eq!((&again.rows, &again.places), (&first.rows, &first.places));
        assert_eq!(shop.db.broadcast_number(), number, "{sql}");
    }
    assert_eq!(count(&shop.db, "SELECT n FROM units WHERE name = 'm'"), 1);
    assert_eq!(count(&shop.db, "SELECT count(*) FROM units"), 2);
}

#[test]
fn a_change_that_was_not_finished_is_finished_under_its_number() {
    let shop = fixture(AGAIN);
    let update = "UPDATE units SET n = n + 1 RETURNING n";
    let places: Vec<Place> = shop.db.places().all().collect();
    for (sequence, place) in (1..).zip(places) {
        let memory = Arc::<Memory>::default();
        *memory.down.lock().unwrap() = Some(place);
        let first = memory.try_of(&shop.db, sequence);
        let state = shop.db.inner.state.load_full();
        let mut operation = journal::Operation::new(
            vec![journal::Step::new(update)],
            vec![journal::Step::new(update)],
            None,
        );
        operation.number = state.number() + 1;
        operation.statement = first.inner.places.statement();
        // As a writer leaves it that ends there: written down, and committed at the places before.
        first.inner.shared.records.begin(&operation).unwrap();
        operation
            .recover(&*first.everywhere().inner.places)
            .unwrap_err();
        *memory.down.lock().unwrap() = None;
        let again = run(&memory.try_of(&shop.db, sequence), update);
        let n = i64::try_from(sequence).unwrap();
        assert_eq!(again.rows, [[Value::from(n)]]);
        assert!(shop.db.inner.shared.records.pending().unwrap().is_empty());
        for shard in shop.db.all_all_shards("SELECT n FROM units", ()) {
            assert_eq!(shard.result.unwrap(), [[Value::from(n)]]);
        }
    }
}

#[test]
fn all_rows_of_a_long_insert_into_a_reference_table_are_counted() {
    let shop = fixture(AGAIN);
    let sql = "INSERT INTO units WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 250)
        SELECT 'u' || x || hex(randomblob(2)), x FROM c RETURNING n";
    let answer = run(&shop.db, sql);
    assert_eq!((answer.changes, answer.rows.len()), (250, 250));
}

#[test]
fn a_number_that_was_drawn_in_a_try_that_failed_is_not_drawn_again() {
    let shop = fixture(AGAIN);
    let memory = Arc::<Memory>::default();
    let insert = "INSERT INTO logs(text) VALUES ('a') RETURNING id";
    *memory.refusal.lock().unwrap() = Some((0, FaultKind::SchemaChanged));
    let refused = memory.try_of(&shop.db, 1).execute(insert, ()).unwrap_err();
    assert!(refused.is_schema_change(), "{refused}");
    *memory.refusal.lock().unwrap() = None;
    assert_eq!(run(&shop.db, insert).rows, [[Value::from(2)]]);
    let ran = run(&memory.try_of(&shop.db, 1), insert);
    assert_eq!(ran.rows, [[Value::from(3)]]);
    run(&shop.db, "DELETE FROM logs");
    assert_eq!(run(&shop.db, insert).rows, [[Value::from(4)]]);
}

#[test]
fn what_was_made_before_is_not_checked_again() {
    let shop = fixture(AGAIN);
    let memory = Arc::<Memory>::default();
    let insert = "INSERT INTO users VALUES (1, 'a@x')";
    let first = run(&memory.try_of(&shop.db, 1), insert);
    // The address is another user's since, who is on another shard.
    run(&shop.db, "UPDATE users SET email = 'b@x' WHERE id = 1");
    let home = |id: i64| shop.db.locate(Some("users"), id).unwrap();
    let other = (2..).find(|id| home(*id) != home(1)).unwrap();
    run(
        &shop.db,
        &format!("INSERT INTO users VALUES ({other}, 'a@x')"),
    );
    let again = run(&memory.try_of(&shop.db, 1), insert);
    assert_eq!((again.changes, &again.places), (1, &first.places));
    assert_eq!(count(&shop.db, "SELECT count(*) FROM users"), 2);
}

#[test]
fn inserts_at_once_draw_different_rowids_where_they_are_checked_too() {
    let shop = fixture(AGAIN);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let db = &shop.db;
            scope.spawn(move || {
                for n in 0..40 {
                    let email = format!("INSERT INTO users(email) VALUES ('{writer} {n}')");
                    run(db, &email);
                }
            });
        }
    });
    let rows = count(&shop.db, "SELECT count(DISTINCT id) FROM users");
    assert_eq!(rows, 160);
}

#[test]
fn a_statement_waits_for_others_no_longer_than_it_may() {
    let shop = fixture(AGAIN);
    let memory = Arc::<Memory>::default();
    let hasty = || memory.within(&shop.db, Duration::from_millis(20));
    let shared = &shop.db.inner.shared;
    for (lock, sql) in [
        (&shared.constraints, "INSERT INTO items(n) VALUES (1)"),
        (&shared.constraints, "INSERT INTO users VALUES (1, 'a@x')"),
        (
            &shared.constraints,
            "UPDATE users SET email = 'c' WHERE id = 1",
        ),
        (&shared.broadcast, "UPDATE units SET n = 7"),
        (
            &shared.broadcast,
            "CREATE TABLE more(id INTEGER PRIMARY KEY)",
        ),
    ] {
        let held = lock.lock();
        let error = hasty().execute(sql, ()).unwrap_err();
        assert_eq!(
            (error.code(), error.is_retryable()),
            ("BUSY", true),
            "{sql}"
        );
        drop(held);
        run(&hasty(), sql);
    }
}
