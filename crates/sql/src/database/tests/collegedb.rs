//! What CollegeDB is known to get wrong, one test for each, named after what holds here.

use std::path::Path;

use shardwright_hashing::{
    Region,
    allocation::{AllocationStrategy, Candidate, ShardLocation, nearest},
};

use super::*;

const SCHEMA: &str = "
    CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT);
    CREATE TABLE posts(user_id TEXT, n INTEGER, PRIMARY KEY (user_id, n)) /* shardwright: shard_key=user_id colocate_with=users */;
    CREATE TABLE orders(id TEXT PRIMARY KEY, total REAL);
    CREATE TABLE jobs(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)";

fn mixed() -> Strategy {
    Strategy::Mixed {
        read: AllocationStrategy::Hash,
        write: AllocationStrategy::Location,
    }
}

fn options(strategy: impl Into<Strategy>) -> Options {
    let at = |region| ShardLocation::from(region);
    let places = [
        ("shard-0", Region::Weur),
        ("shard-1", Region::Wnam),
        ("shard-2", Region::Apac),
    ];
    Options {
        directory: Some(Allocation {
            strategy: strategy.into(),
            target_region: Some(Region::Wnam),
            shard_locations: places
                .map(|(name, region)| (name.to_owned(), at(region)))
                .into(),
            ..Allocation::default()
        }),
        // Nothing here is about power failures.
        synchronous: crate::Synchronous::Normal,
        ..Options::default()
    }
}

fn create(directory: &Path, strategy: impl Into<Strategy>) -> ShardedDatabase {
    let create = CreateOptions {
        shards: 3,
        options: options(strategy),
        ..CreateOptions::default()
    };
    let db = ShardedDatabase::create(directory, &create).unwrap();
    for sql in crate::statement::split(SCHEMA) {
        db.execute(sql, ()).unwrap();
    }
    db
}

fn insert(db: &ShardedDatabase, id: &str) {
    let sql = "INSERT INTO users VALUES (?1, 'name')";
    db.run(id, sql, &[Value::from(id)]).unwrap();
}

fn is_found(db: &ShardedDatabase, id: &str) -> bool {
    let sql = "SELECT 1 FROM users WHERE id = ?1";
    db.first(id, sql, &[Value::from(id)]).unwrap().is_some()
}

fn entries(db: &ShardedDatabase) -> u64 {
    db.shard_stats()
        .unwrap()
        .iter()
        .map(|shard| shard.keys)
        .sum()
}

fn count(db: &ShardedDatabase, table: &str) -> Option<i64> {
    let answer = db
        .execute(&format!("SELECT count(*) FROM {table}"), ())
        .unwrap();
    answer.first_value().and_then(Value::as_i64)
}

#[test]
fn a_read_never_orphans_a_row() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), mixed());
    let read = Options {
        access: Access::ReadOnly,
        ..options(mixed())
    };
    let other = ShardedDatabase::open(directory.path(), &read).unwrap();
    for number in 0..60 {
        let id = format!("u{number}");
        // Both have looked for the row before it is there.
        assert!(!is_found(&other, &id) && !is_found(&db, &id));
        insert(&db, &id);
        assert!(is_found(&other, &id), "the other sees {id} at once");
    }
    assert!((0..60).all(|number| is_found(&db, &format!("u{number}"))));
}

#[test]
fn concurrent_first_writes_of_a_key_put_its_rows_on_one_shard() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), AllocationStrategy::Random);
    std::thread::scope(|scope| {
        for thread in 0..3_i64 {
            let db = &db;
            scope.spawn(move || {
                for number in 0..30 {
                    let id = format!("u{number}");
                    let params = [Value::from(&*id), Value::from(thread)];
                    db.run(&*id, "INSERT INTO posts VALUES (?1, ?2)", &params)
                        .unwrap();
                }
            });
        }
    });
    let on_shards = db.all_all_shards("SELECT DISTINCT user_id FROM posts", ());
    let keys: usize = on_shards
        .into_iter()
        .map(|shard| shard.result.unwrap().len())
        .sum();
    assert_eq!((keys, count(&db, "posts")), (30, Some(90)));
}

#[test]
fn generated_ids_are_unique_over_all_shards() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), AllocationStrategy::RoundRobin);
    for expected in 1..=9 {
        let made = db
            .execute("INSERT INTO jobs(name) VALUES ('x') RETURNING id", ())
            .unwrap();
        assert_eq!(made.first_value(), Some(&Value::from(expected)));
        let found = db.first(
            expected,
            "SELECT name FROM jobs WHERE id = ?1",
            &[Value::from(expected)],
        );
        assert!(found.unwrap().is_some());
    }
    let per_shard = db.first_all_shards("SELECT count(*) FROM jobs", ());
    for shard in per_shard {
        assert_eq!(shard.result.unwrap(), Some(vec![Value::from(3)]));
    }
}

#[test]
fn each_table_has_a_key_space_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), AllocationStrategy::Hash);
    insert(&db, "1");
    db.run("1", "INSERT INTO orders VALUES ('1', 2.5)", ())
        .unwrap();
    db.reassign_shard(Some("users"), "1", "shard-0").unwrap();
    db.reassign_shard(Some("orders"), "1", "shard-2").unwrap();
    assert_eq!(db.locate(Some("users"), "1").unwrap(), "shard-0");
    assert_eq!(db.locate(Some("orders"), "1").unwrap(), "shard-2");
    assert!(is_found(&db, "1"));
    assert_eq!(count(&db, "orders WHERE id = '1'"), Some(1));
}

#[test]
fn a_move_takes_dependent_rows_along_and_leaves_no_room_for_a_twin() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), AllocationStrategy::Hash);
    let read = Options {
        access: Access::ReadOnly,
        ..Options::default()
    };
    let other = ShardedDatabase::open(directory.path(), &read).unwrap();
    insert(&db, "u");
    db.run("u", "INSERT INTO posts VALUES ('u', 1), ('u', 2)", ())
        .unwrap();
    for shard in db.shard_names() {
        assert!(is_found(&other, "u"));
        db.reassign_shard(Some("users"), "u", &shard).unwrap();
        assert!(
            is_found(&other, "u"),
            "another process sees it at its new home at once"
        );
        assert_eq!(count(&other, "posts WHERE user_id = 'u'"), Some(2));
        let twin = db.run("u", "INSERT INTO users VALUES ('u', 'twin')", ());
        assert_eq!(twin.unwrap_err().code(), "CONSTRAINT");
    }
    assert_eq!(count(&db, "users"), Some(1));
}

#[test]
fn reads_and_failed_writes_allocate_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), mixed());
    for number in 0..100 {
        assert!(!is_found(&db, &format!("missing{number}")));
    }
    let failed = db.run("p", "INSERT INTO posts VALUES ('p', 1), ('p', 1)", ());
    assert_eq!(failed.unwrap_err().code(), "CONSTRAINT");
    assert_eq!(entries(&db), 0);
}

#[test]
fn a_look_before_the_insert_does_not_change_the_home() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), mixed());
    for number in 0..50 {
        let id = format!("u{number}");
        assert!(!is_found(&db, &id));
        insert(&db, &id);
    }
    let stats = db.shard_stats().unwrap();
    assert_eq!(
        stats.iter().map(|shard| shard.keys).collect::<Vec<_>>(),
        [0, 50, 0]
    );
    let rows: Vec<u64> = stats.iter().map(|shard| shard.rows).collect();
    assert_eq!(rows, [0, 50, 0], "all are near the target");
}

#[test]
fn every_entry_is_counted_and_listed() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), AllocationStrategy::RoundRobin);
    let many = "WITH RECURSIVE s(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM s LIMIT 2500)
        INSERT INTO users SELECT 'u' || v, 'name' FROM s";
    assert_eq!(db.execute(many, ()).unwrap().changes, 2500);
    let keys: Vec<u64> = db
        .shard_stats()
        .unwrap()
        .iter()
        .map(|shard| shard.keys)
        .collect();
    assert_eq!(keys, [834, 833, 833]);
    let mut listed = 0;
    let _ = db
        .visit_directory(|_| {
            listed += 1;
            std::ops::ControlFlow::<()>::Continue(())
        })
        .unwrap();
    assert_eq!(listed, 2500);
}

#[test]
fn whatever_is_done_by_one_lookup_key_is_done_to_all_and_a_record_counts_once() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), AllocationStrategy::Random);
    let table = Some("users");
    insert(&db, "u");
    db.add_lookup_keys(table, "u", &["name:j", "email:j@example.com"])
        .unwrap();
    assert_eq!(entries(&db), 1);
    let key = db.look_up(table, "name:j").unwrap().unwrap();
    db.reassign_shard(None, &key, "shard-2").unwrap();
    for name in ["name:j", "email:j@example.com"] {
        let found = db.first_by_lookup(table, name, "SELECT id FROM users WHERE id = 'u'", &[]);
        assert_eq!(found.unwrap(), Some(vec![Value::from("u")]), "{name}");
    }
    assert_eq!(db.lookup_keys(table, &key).unwrap().len(), 2);
    db.remove_lookup_keys(table, &key).unwrap();
    assert_eq!(db.look_up(table, "email:j@example.com").unwrap(), None);
}

#[test]
fn all_shards_together_answer_as_one_file_would() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), AllocationStrategy::RoundRobin);
    for (id, total) in [
        ("a", "1"),
        ("A", "2.5"),
        ("item10", "NULL"),
        ("item9", "4"),
        ("B", "5"),
    ] {
        db.execute(&format!("INSERT INTO orders VALUES ('{id}', {total})"), ())
            .unwrap();
    }
    let sum = db.execute("SELECT sum(total) FROM orders", ()).unwrap();
    assert_eq!(sum.rows, [[Value::from(12.5)]]);
    let ids = db
        .execute("SELECT id FROM orders ORDER BY id LIMIT 4", ())
        .unwrap();
    let expected = ["A", "B", "a", "item10"].map(|id| vec![Value::from(id)]);
    assert_eq!(ids.rows, expected);
    let first = db
        .execute("SELECT id FROM orders ORDER BY total LIMIT 1", ())
        .unwrap();
    assert_eq!(first.rows, [[Value::from("item10")]], "NULL comes first");
}

#[test]
fn a_shard_that_fails_is_an_error_and_not_a_missing_row() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), AllocationStrategy::Hash);
    let asked = db.first_all_shards("SELECT * FROM nowhere", ());
    assert_eq!(asked.len(), 3);
    for found in asked {
        assert_eq!(
            found.result.unwrap_err().code(),
            "SQL_ERROR",
            "{}",
            found.shard
        );
    }
}

#[test]
fn a_schema_may_have_comments_semicolons_and_triggers() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), AllocationStrategy::Hash);
    let script = "-- the first\nCREATE TABLE notes(id TEXT PRIMARY KEY, text TEXT DEFAULT 'a;b');
        CREATE TRIGGER t AFTER INSERT ON notes BEGIN UPDATE notes SET text = text || ';' WHERE id = new.id; END;";
    for sql in crate::statement::split(script) {
        db.execute(sql, ()).unwrap();
    }
    db.execute("INSERT INTO notes(id) VALUES ('n')", ())
        .unwrap();
    let text = db
        .first("n", "SELECT text FROM notes WHERE id = 'n'", ())
        .unwrap();
    assert_eq!(text, Some(vec![Value::from("a;b;")]));
}

#[test]
fn a_statement_with_a_with_clause_or_a_comment_is_the_write_that_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), mixed());
    for number in 0..10 {
        let sql = "/* new */ WITH v(id) AS (SELECT ?1) INSERT INTO users SELECT id, 'name' FROM v";
        db.execute(sql, &[Value::from(format!("u{number}"))])
            .unwrap();
    }
    let keys: Vec<u64> = db
        .shard_stats()
        .unwrap()
        .iter()
        .map(|shard| shard.keys)
        .collect();
    assert_eq!(keys, [0, 10, 0]);
}

#[test]
fn every_row_of_an_adopted_file_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source.db");
    let sqlite = rusqlite::Connection::open(&source).unwrap();
    let script = "CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT);
        WITH RECURSIVE s(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM s LIMIT 50)
        INSERT INTO users SELECT 'u' || v, 'name' FROM s";
    sqlite.execute_batch(script).unwrap();
    drop(sqlite);
    let path = directory.path().join("db");
    let adopt = crate::adopt::AdoptOptions::default();
    crate::adopt::import(&source, &path, 3, &adopt, &mut |_| {}).unwrap();
    let db = ShardedDatabase::open(&path, &options(mixed())).unwrap();
    assert!((1..=50).all(|number| is_found(&db, &format!("u{number}"))));
    // New rows of old keys go where these are, whatever the strategy is.
    for number in 1..=50 {
        let id = format!("u{number}");
        let again = db.run(
            &*id,
            "INSERT INTO users VALUES (?1, 'twin')",
            &[Value::from(&*id)],
        );
        assert_eq!(again.unwrap_err().code(), "CONSTRAINT");
    }
}

#[test]
fn priority_divides_distances_that_are_those_of_the_globe() {
    let of = |region, priority| Candidate::at(ShardLocation { region, priority });
    let from_wnam = |shards: &[Candidate]| nearest(Some(Region::Wnam), shards, |_| 0);
    let near = [of(Region::Af, 1.0), of(Region::Apac, 1.0)];
    assert_eq!(
        from_wnam(&near),
        Some(1),
        "Tokyo is nearer than Johannesburg"
    );
    let preferred = [of(Region::Enam, 1.0), of(Region::Weur, 3.0)];
    assert_eq!(from_wnam(&preferred), Some(1), "a third of the distance");
}

#[test]
fn what_is_stored_of_an_email_address_cannot_be_tried_out() {
    let name = ["email:jane@example.com"];
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let directory = tempfile::tempdir().unwrap();
        let db = create(directory.path(), AllocationStrategy::Hash);
        db.add_lookup_keys(Some("users"), "u", &name).unwrap();
        tokens.extend(db.lookup_keys(Some("users"), "u").unwrap());
    }
    assert_ne!(
        tokens[0], tokens[1],
        "each database has a secret of its own"
    );
    let plain = shardwright_hashing::sha256_hex(name[0]);
    assert!(tokens.iter().all(|token| !token.contains(&plain)));
}
