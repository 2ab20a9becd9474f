//! Tests of keys that have homes of their own.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::Barrier,
};

use shardwright_hashing::{
    Region,
    allocation::{AllocationStrategy, ShardLocation},
};
use shardwright_topology::Halts;

use super::*;
use crate::Outcome;

const SCHEMA: &str = "
    CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT);
    CREATE TABLE posts(id INTEGER PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users(id) ON DELETE RESTRICT, title TEXT)
        /* shardwright: shard_key=user_id colocate_with=users */;
    CREATE TABLE people(id TEXT PRIMARY KEY, n);
    CREATE TABLE tags(id TEXT, tag TEXT, PRIMARY KEY (id, tag)) WITHOUT ROWID
        /* shardwright: shard_key=id colocate_with=people */;
    CREATE TABLE orders(id INTEGER PRIMARY KEY, total REAL)";

fn options(strategy: impl Into<Strategy>) -> Options {
    Options {
        directory: Some(Allocation {
            strategy: strategy.into(),
            ..Allocation::default()
        }),
        ..Options::default()
    }
}

/// Users, their posts, and orders of another key space, on three shards.
fn create(directory: &Path, options: Options) -> ShardedDatabase {
    let create = CreateOptions {
        shards: 3,
        options,
        ..CreateOptions::default()
    };
    let db = ShardedDatabase::create(directory, &create).unwrap();
    for sql in crate::statement::split(SCHEMA) {
        db.execute(sql, ()).unwrap();
    }
    db
}

fn entries(db: &ShardedDatabase) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    let _ = db
        .visit_directory(|entry| {
            let key = entry.key.as_str().map_or_else(String::new, str::to_owned);
            entries.insert(key, entry.shard);
            std::ops::ControlFlow::<()>::Continue(())
        })
        .unwrap();
    entries
}

fn insert(db: &ShardedDatabase, id: &str) -> Outcome {
    let params = [Value::from(id), Value::from(format!("name of {id}"))];
    db.run(id, "INSERT INTO users VALUES (?1, ?2)", &params)
        .unwrap()
}

fn name_of(db: &ShardedDatabase, id: &str) -> Option<String> {
    let found = db.first(
        id,
        "SELECT name FROM users WHERE id = ?1",
        &[Value::from(id)],
    );
    found
        .unwrap()
        .and_then(|row| row[0].as_str().map(str::to_owned))
}

/// The shards that have rows of a user, with their numbers.
fn homes(db: &ShardedDatabase, table: &str, id: &str) -> Vec<(String, i64)> {
    let column = if table == "users" { "id" } else { "user_id" };
    let sql = format!("SELECT count(*) FROM {table} WHERE {column} = ?1");
    let counts = db.first_all_shards(&sql, &[Value::from(id)]).into_iter();
    let counts = counts.map(|found| {
        (
            found.shard,
            found.result.unwrap().unwrap()[0].as_i64().unwrap(),
        )
    });
    counts.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn each_shard_has_its_turn_and_a_key_is_found_where_it_was_put() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), options(AllocationStrategy::RoundRobin));
    for number in 0..30 {
        assert_eq!(insert(&db, &format!("u{number}")).changes, 1);
    }
    let entries = entries(&db);
    assert_eq!(entries.len(), 30);
    for shard in db.shard_names() {
        assert_eq!(entries.values().filter(|home| **home == shard).count(), 10);
    }
    for number in 0..30 {
        let id = format!("u{number}");
        assert_eq!(name_of(&db, &id), Some(format!("name of {id}")));
        assert_eq!(db.locate(Some("users"), &*id).unwrap(), entries[&id]);
        assert_eq!(homes(&db, "users", &id), [(entries[&id].clone(), 1)]);
        let sql = "SELECT name FROM users WHERE id = ?1";
        let answer = db.execute(sql, &[Value::from(&*id)]).unwrap();
        assert_eq!(
            (answer.tier, &answer.places[0]),
            (Tier::Single, &entries[&id])
        );
        let sql = "INSERT INTO posts(id, user_id, title) VALUES (?1, ?2, 'a'), (?1 + 100, ?2, 'b')";
        let params = [Value::from(number + 1), Value::from(&*id)];
        let answer = db.execute(sql, &params).unwrap();
        assert_eq!((answer.changes, &answer.places[0]), (2, &entries[&id]));
    }
    let count = "SELECT count(*) FROM users u JOIN posts p ON p.user_id = u.id";
    assert_eq!(
        db.execute(count, ()).unwrap().first_value(),
        Some(&Value::from(60))
    );
    let some = "SELECT count(*) FROM posts WHERE user_id IN ('u1', 'u2', 'u3', 'none')";
    assert_eq!(
        db.execute(some, ()).unwrap().first_value(),
        Some(&Value::from(6))
    );
    let changed = db.execute(
        "UPDATE posts SET title = 'c' WHERE user_id IN ('u4', 'u5')",
        (),
    );
    assert_eq!(changed.unwrap().changes, 4);
    db.run("u6", "DELETE FROM posts WHERE user_id = 'u6'", ())
        .unwrap();
    db.run("u6", "DELETE FROM users WHERE id = 'u6'", ())
        .unwrap();
    assert_eq!(name_of(&db, "u6"), None);
    insert(&db, "u6");
    assert_eq!(
        homes(&db, "users", "u6")[0].0,
        entries["u6"],
        "the entry has stayed"
    );
}

#[test]
fn entries_are_heeded_by_whoever_opens_the_database() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), options(AllocationStrategy::Random));
    for number in 0..20 {
        insert(&db, &format!("u{number}"));
    }
    let read = Options {
        access: Access::ReadOnly,
        ..Options::default()
    };
    let reader = ShardedDatabase::open(directory.path(), &read).unwrap();
    assert_eq!(name_of(&reader, "u3").as_deref(), Some("name of u3"));
    // Another process may move keys; what reads here finds them all the same.
    for shard in db.shard_names() {
        db.reassign_shard(Some("users"), "u3", &shard).unwrap();
        assert_eq!(name_of(&reader, "u3").as_deref(), Some("name of u3"));
        let sql = "SELECT name FROM users WHERE id IN ('u3', 'none')";
        let found = reader.execute(sql, ()).unwrap();
        assert_eq!(found.first_value(), Some(&Value::from("name of u3")));
        let prepared = reader
            .prepare("SELECT count(*) FROM users WHERE id = ?1")
            .unwrap();
        let key = Value::from("u3");
        let found = prepared.query_row_by(key.as_ref(), std::slice::from_ref(&key), |row| {
            row.get(0).as_i64()
        });
        assert_eq!(found.unwrap(), Some(Some(1)));
    }
    drop(reader);
    let before = entries(&db);
    db.close().unwrap();
    let db = ShardedDatabase::open(directory.path(), &Options::default()).unwrap();
    assert!(db.has_directory());
    for number in 0..20 {
        assert!(name_of(&db, &format!("u{number}")).is_some());
    }
    insert(&db, "plain");
    assert_eq!(entries(&db), before, "without a strategy, no entry is made");
    db.close().unwrap();
    // A key that has rows and no entry keeps its home, whatever the strategy is later.
    let db =
        ShardedDatabase::open(directory.path(), &options(AllocationStrategy::RoundRobin)).unwrap();
    let home = homes(&db, "users", "plain");
    for number in 1..5 {
        let sql = "INSERT INTO posts VALUES (?1, 'plain', 't')";
        db.execute(sql, &[Value::from(number)]).unwrap();
    }
    assert_eq!(homes(&db, "posts", "plain"), [(home[0].0.clone(), 4)]);
}

#[test]
fn reading_makes_no_entry_and_neither_does_an_insert_that_fails() {
    let directory = tempfile::tempdir().unwrap();
    let strategy = Strategy::Mixed {
        read: AllocationStrategy::Hash,
        write: AllocationStrategy::Random,
    };
    let db = create(directory.path(), options(strategy));
    for number in 0..100 {
        assert_eq!(name_of(&db, &format!("missing{number}")), None);
    }
    let found = db
        .execute("SELECT * FROM users WHERE id IN ('a', 'b')", ())
        .unwrap();
    assert!(found.rows.is_empty());
    let refused = db.run(
        "p",
        "INSERT INTO posts VALUES (1, 'p', 'without a user')",
        (),
    );
    assert_eq!(refused.unwrap_err().code(), "CONSTRAINT");
    let refused = db.execute("INSERT INTO users VALUES ('q', 1), ('q', 2)", ());
    assert_eq!(refused.unwrap_err().code(), "CONSTRAINT");
    db.run("r", "UPDATE users SET name = 'x' WHERE id = 'r'", ())
        .unwrap();
    db.run("r", "DELETE FROM users WHERE id = 'r'", ()).unwrap();
    assert_eq!(entries(&db), BTreeMap::new());
    insert(&db, "p");
    let ignored = db.run("p", "INSERT OR IGNORE INTO users VALUES ('p', 'again')", ());
    assert_eq!(ignored.unwrap().changes, 0);
    assert_eq!(entries(&db).len(), 1);
}

#[test]
fn keys_that_many_threads_insert_at_once_have_one_home_each() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), options(AllocationStrategy::Random));
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (db, start) = (&db, &start);
            scope.spawn(move || {
                for round in 0..25 {
                    start.wait();
                    let id = format!("u{round}");
                    let params = [Value::from(&*id), Value::from(thread)];
                    let sql =
                        "INSERT INTO users VALUES (?1, ?2) ON CONFLICT DO UPDATE SET name = ?2";
                    db.run(&*id, sql, &params).unwrap();
                }
            });
        }
    });
    let entries = entries(&db);
    assert_eq!(entries.len(), 25);
    for (id, home) in entries {
        assert_eq!(homes(&db, "users", &id), [(home, 1)]);
    }
}

#[test]
fn new_keys_go_near_the_target_and_not_to_full_shards() {
    let directory = tempfile::tempdir().unwrap();
    let names = ["shard-0", "shard-1", "shard-2"];
    let places = [
        (Region::Weur, 0.5),
        (Region::Wnam, 2.0),
        (Region::Enam, 1.0),
    ];
    let locations = names
        .iter()
        .zip(places)
        .map(|(name, (region, priority))| ((*name).to_owned(), ShardLocation { region, priority }));
    let allocation = Allocation {
        strategy: AllocationStrategy::Location.into(),
        target_region: Some(Region::Wnam),
        shard_locations: locations.collect(),
        ..Allocation::default()
    };
    let with = |allocation: &Allocation| Options {
        directory: Some(allocation.clone()),
        ..Options::default()
    };
    let db = create(directory.path(), with(&allocation));
    for number in 0..10 {
        let id = format!("u{number}");
        insert(&db, &id);
        assert_eq!(homes(&db, "users", &id), [("shard-1".to_owned(), 1)]);
    }
    let large = Value::from(vec![0_u8; 1 << 20]);
    db.run("u0", "UPDATE users SET name = ?1 WHERE id = 'u0'", &[large])
        .unwrap();
    db.close().unwrap();
    let limited = Allocation {
        max_database_size: Some(1 << 20),
        ..allocation.clone()
    };
    let db = ShardedDatabase::open(directory.path(), &with(&limited)).unwrap();
    insert(&db, "late");
    assert_eq!(homes(&db, "users", "late"), [("shard-2".to_owned(), 1)]);
    db.run(
        "u1",
        "INSERT INTO posts VALUES (1, 'u1', 'an old key goes on')",
        (),
    )
    .unwrap();
    db.close().unwrap();
    let full = Allocation {
        max_database_size: Some(1),
        ..allocation
    };
    let db = ShardedDatabase::open(directory.path(), &with(&full)).unwrap();
    let refused = db
        .run("no", "INSERT INTO users VALUES ('no', '')", ())
        .unwrap_err();
    assert_eq!((refused.code(), refused.is_refusal()), ("NO_ROOM", true));
    assert_eq!(name_of(&db, "late").as_deref(), Some("name of late"));
}

#[test]
fn a_transaction_makes_entries_and_takes_them_back() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), options(AllocationStrategy::RoundRobin));
    let mut session = db.session();
    session.execute("BEGIN", ()).unwrap();
    for id in ["a", "b", "c"] {
        let params = [Value::from(id)];
        session
            .execute("INSERT INTO people VALUES (?1, 'x')", &params)
            .unwrap();
        let tag = "INSERT INTO tags VALUES (?1, 'new')";
        assert_eq!(session.execute(tag, &params).unwrap().changes, 1);
        let twice = session.execute("INSERT INTO people VALUES (?1, 'y')", &params);
        assert_eq!(twice.unwrap_err().code(), "CONSTRAINT");
        let found = session
            .execute("SELECT n FROM people WHERE id = ?1", &params)
            .unwrap();
        assert_eq!(found.first_value(), Some(&Value::from("x")));
    }
    session.execute("ROLLBACK", ()).unwrap();
    assert_eq!(entries(&db), BTreeMap::new());
    db.transaction(|session| {
        for id in ["a", "b", "c"] {
            session.execute("INSERT INTO people VALUES (?1, 'x')", &[Value::from(id)])?;
        }
        let refused = session.execute(
            "INSERT INTO people VALUES ('d', abs(-9223372036854775808))",
            (),
        );
        assert!(refused.is_err());
        Ok(())
    })
    .unwrap();
    assert_eq!(
        entries(&db).into_keys().collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    let found = db
        .first("c", "SELECT n FROM people WHERE id = 'c'", ())
        .unwrap();
    assert_eq!(found, Some(vec![Value::from("x")]));
}

#[test]
fn a_key_moves_with_all_its_rows_and_without_triggers() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), options(AllocationStrategy::Hash));
    let trigger =
        "CREATE TRIGGER no_posts AFTER DELETE ON posts BEGIN SELECT raise(ABORT, 'no'); END";
    db.execute(trigger, ()).unwrap();
    for id in ["a", "b"] {
        insert(&db, id);
        let posts =
            "INSERT INTO posts(user_id, title) SELECT ?1, value FROM json_each('[1, 2.5, null]')";
        db.execute(posts, &[Value::from(id)]).unwrap();
    }
    let all = "SELECT * FROM posts ORDER BY id";
    let before = db.execute(all, ()).unwrap().rows;
    let from = db.locate(Some("users"), "a").unwrap();
    for shard in db.shard_names() {
        let home = db.locate(Some("users"), "a").unwrap();
        let moved = db.reassign_shard(Some("posts"), "a", &shard).unwrap();
        let rows = if home == shard { 0 } else { 4 };
        assert_eq!(
            (moved.from, moved.to, moved.rows),
            (home, shard.clone(), rows)
        );
        assert_eq!(homes(&db, "users", "a"), [(shard.clone(), 1)]);
        assert_eq!(homes(&db, "posts", "a"), [(shard.clone(), 3)]);
        assert_eq!(name_of(&db, "a").as_deref(), Some("name of a"));
        assert_eq!(db.execute(all, ()).unwrap().rows, before);
        let post = db.execute("INSERT INTO posts(user_id) VALUES ('a') RETURNING id", ());
        assert_eq!(post.unwrap().places, [shard]);
        let no = db.execute(
            "DELETE FROM posts WHERE user_id = 'a' AND title IS NULL",
            (),
        );
        assert_eq!(no.unwrap_err().code(), "CONSTRAINT", "the trigger is there");
        db.execute("DROP TRIGGER no_posts", ()).unwrap();
        db.execute("DELETE FROM posts WHERE id > 6", ()).unwrap();
        db.execute(trigger, ()).unwrap();
    }
    assert_eq!(homes(&db, "users", "b").len(), 1);
    let unknown = db
        .reassign_shard(Some("users"), "a", "shard-9")
        .unwrap_err();
    assert_eq!(unknown.code(), "SHARD_NOT_FOUND");
    let ambiguous = db.reassign_shard(None, "a", &from).unwrap_err();
    assert_eq!(ambiguous.code(), "AMBIGUOUS_KEY");
    // A key without rows, of another key space that has the same keys.
    db.reassign_shard(Some("orders"), 7, "shard-2").unwrap();
    db.reassign_shard(Some("orders"), 8, "shard-1").unwrap();
    let placed = db
        .execute("INSERT INTO orders VALUES (7, 1.5)", ())
        .unwrap();
    assert_eq!(placed.places, ["shard-2"]);
    assert_eq!(db.locate(Some("orders"), 8.0).unwrap(), "shard-1");
}

#[test]
fn no_write_is_lost_and_no_row_is_missed_while_its_key_moves() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), options(AllocationStrategy::Hash));
    db.run("k", "INSERT INTO people VALUES ('k', 0)", ())
        .unwrap();
    let rounds = 40;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..rounds {
                let shard = format!("shard-{}", round % 3);
                db.reassign_shard(Some("people"), "k", &shard).unwrap();
            }
        });
        scope.spawn(|| {
            for _ in 0..rounds {
                let add = "UPDATE people SET n = n + 1 WHERE id = 'k'";
                assert_eq!(db.run("k", add, ()).unwrap().changes, 1);
                let mut session = db.session();
                session.execute("BEGIN", ()).unwrap();
                assert_eq!(session.execute(add, ()).unwrap().changes, 1);
                session.execute("COMMIT", ()).unwrap();
            }
        });
        scope.spawn(|| {
            for _ in 0..rounds {
                let found = db
                    .first("k", "SELECT n FROM people WHERE id = 'k'", ())
                    .unwrap();
                assert!(found.is_some());
                let all = db.execute("SELECT count(*) FROM people", ()).unwrap();
                assert_eq!(all.first_value(), Some(&Value::from(1)));
                let again = db.run("k", "INSERT INTO people VALUES ('k', 'twice')", ());
                assert_eq!(again.unwrap_err().code(), "CONSTRAINT");
            }
        });
    });
    let found = db
        .first("k", "SELECT n FROM people WHERE id = 'k'", ())
        .unwrap();
    assert_eq!(found, Some(vec![Value::from(2 * rounds)]));
}

#[test]
fn a_move_needs_a_directory() {
    let fixture = fixture("CREATE TABLE users(id INTEGER PRIMARY KEY)");
    let refused = fixture.db.reassign_shard(None, 1, "shard-0").unwrap_err();
    assert_eq!(refused.code(), "UNSUPPORTED");
    assert!(!fixture.db.has_directory());
}

const DIRECTORY: &str = "SHARDWRIGHT_TEST_MOVE";
const GAP: &str = "SHARDWRIGHT_TEST_MOVE_GAP";

fn move_and_die(directory: &Path, gap: usize) {
    let with_halts = Options {
        commit_halts: Halts::at(CommitGap::ALL[gap], 1, |_| std::process::abort()),
        ..Options::default()
    };
    let db = ShardedDatabase::open(directory, &with_halts).unwrap();
    let _moved = db.reassign_shard(Some("users"), "a", "shard-0");
    let _moved = db.reassign_shard(Some("users"), "a", "shard-1");
}

#[test]
fn a_killed_move_has_happened_or_not() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let gap = std::env::var(GAP).unwrap().parse().unwrap();
        return move_and_die(&PathBuf::from(directory), gap);
    }
    for gap in 0..CommitGap::ALL.len() {
        let directory = tempfile::tempdir().unwrap();
        let db = create(directory.path(), options(AllocationStrategy::Hash));
        insert(&db, "a");
        db.execute("INSERT INTO posts(user_id) VALUES ('a'), ('a')", ())
            .unwrap();
        db.close().unwrap();
        let name = "database::tests::directory::a_killed_move_has_happened_or_not";
        let ran = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(DIRECTORY, directory.path())
            .env(GAP, gap.to_string())
            .output();
        assert!(!ran.unwrap().status.success());
        let db = ShardedDatabase::open(directory.path(), &Options::default()).unwrap();
        let home = db.locate(Some("users"), "a").unwrap();
        assert_eq!(homes(&db, "users", "a"), [(home.clone(), 1)], "{gap}");
        assert_eq!(homes(&db, "posts", "a"), [(home, 2)], "{gap}");
        assert_eq!(name_of(&db, "a").as_deref(), Some("name of a"));
    }
}
