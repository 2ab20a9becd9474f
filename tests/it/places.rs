//! What random statements do not reach, with the shards behind channels.

use crate::sharded::{Sharded, Storage};
use shardwright::{
    sql::{Error, ShardedDatabase, WriteMode},
    store::{Params, Value},
};

const SHOP: [&str; 5] = [
    "CREATE TABLE users(id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT)",
    "CREATE TABLE notes(id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL, text TEXT)
         /* shardwright: shard_key=user_id colocate_with=users */",
    "CREATE TABLE lines(user_id INTEGER, number INTEGER, text TEXT, PRIMARY KEY(user_id, number))
         /* shardwright: shard_key=user_id colocate_with=users */",
    "CREATE TABLE countries(code TEXT PRIMARY KEY, name TEXT) /* shardwright: reference */",
    "CREATE TABLE settings(name TEXT PRIMARY KEY, value) /* shardwright: global */",
];

fn shop() -> Sharded {
    let shop = Sharded::create_on(Storage::Channels, 4);
    for sql in SHOP {
        shop.database().execute(sql, ()).expect(sql);
    }
    shop
}

fn code(error: &Error) -> &'static str {
    error.code()
}

fn count(database: &ShardedDatabase, sql: &str) -> Option<i64> {
    let answer = database.execute(sql, ()).expect(sql);
    answer.first_value().and_then(Value::as_i64)
}

#[test]
fn a_constraint_over_shards_holds_and_a_refused_write_leaves_nothing() {
    let shop = shop();
    let database = shop.database();
    let insert = "INSERT INTO users(id, email) VALUES (?1, ?2)";
    for id in 0..8 {
        let params = [Value::from(id), Value::from(format!("{id}@x"))];
        database.execute(insert, &params).expect("new values");
    }
    for id in 8..16 {
        let taken = [Value::from(id), Value::from("3@x")];
        let error = database.execute(insert, &taken).expect_err("it is taken");
        assert_eq!(error.to_string(), "UNIQUE constraint failed: users.email");
    }
    let home = |id: i64| database.locate(Some("users"), id).expect("a shard");
    let stranger = (30..)
        .find(|id| home(*id) != home(3))
        .expect("there are four");
    let ignored = format!("INSERT OR IGNORE INTO users(id, email) VALUES ({stranger}, '3@x')");
    let refused = database.execute(&ignored, ()).map(|answer| answer.changes);
    assert_eq!(
        refused.map_err(|error| code(&error)),
        Err("GLOBAL_CONFLICT")
    );
    assert_eq!(
        count(database, "SELECT count(*) FROM users WHERE email = '3@x'"),
        Some(1)
    );
    let moved = database.execute("UPDATE users SET email = '4@x' WHERE id = 5", ());
    assert_eq!(moved.map_err(|error| code(&error)), Err("CONSTRAINT"));
    // The constraint is kept with a changed schema too.
    database
        .execute("ALTER TABLE users RENAME COLUMN email TO mail", ())
        .expect("a new name");
    let error = database
        .execute("INSERT INTO users(id, mail) VALUES (20, '3@x')", ())
        .expect_err("it is taken");
    assert_eq!(error.to_string(), "UNIQUE constraint failed: users.mail");
}

#[test]
fn a_session_keeps_its_transaction_at_one_place() {
    let shop = shop();
    let database = shop.database();
    let mut session = database.session();
    let mut run = |sql: &str| {
        let ran = session.execute(sql, ());
        ran.map(|answer| answer.rows).map_err(|error| code(&error))
    };
    run("BEGIN").expect("none is open");
    run("INSERT INTO lines VALUES (7, 1, 'a')").expect("its first place");
    run("SAVEPOINT here").expect("it has a place");
    run("INSERT INTO lines VALUES (7, 2, 'b')").expect("the same place");
    run("ROLLBACK TO here").expect("there is one");
    assert_eq!(
        run("INSERT INTO lines VALUES (7, 1, 'c')"),
        Err("CONSTRAINT")
    );
    let rows = run("SELECT number FROM lines WHERE user_id = 7").expect("its own rows");
    assert_eq!(rows, [[Value::from(1)]]);
    assert_eq!(
        run("INSERT INTO settings VALUES ('a', 1)"),
        Err("CROSS_SHARD_TRANSACTION")
    );
    run("COMMIT").expect("nothing is in the way");
    run("BEGIN").expect("none is open");
    run("DELETE FROM lines WHERE user_id = 7").expect("the same place");
    assert_eq!(
        run("INSERT OR ROLLBACK INTO lines VALUES (7, 4, 'c'), (7, 4, 'd')"),
        Err("CONSTRAINT")
    );
    // The statement ended the transaction.
    run("COMMIT").expect_err("none is open");
    drop(session);
    assert_eq!(count(database, "SELECT count(*) FROM lines"), Some(1));
    let failed: Result<(), Error> = database.transaction(|session| {
        session.execute("DELETE FROM lines WHERE user_id = 7", ())?;
        session.execute("no statement", ()).map(drop)
    });
    assert_eq!(failed.map_err(|error| code(&error)), Err("SQL_ERROR"));
    assert_eq!(count(database, "SELECT count(*) FROM lines"), Some(1));
}

#[test]
fn everything_else_that_a_database_does_works_at_places_elsewhere() {
    let shop = shop();
    let database = shop.database();
    database
        .execute(
            "INSERT INTO countries VALUES ('de', 'Germany'), ('fr', 'France')",
            (),
        )
        .expect("a copy everywhere");
    database
        .execute("INSERT INTO settings VALUES ('a', 1.5)", ())
        .expect("on the catalog");
    let rows = "INSERT INTO notes(user_id, text) VALUES (1, 'x'), (2, 'y'), (3, 'z'), (1, 'w')";
    let written = database.execute_with(rows, (), WriteMode::BestEffort);
    assert_eq!(written.expect("new rows").changes, 4);
    assert_eq!(count(database, "SELECT max(id) FROM notes"), Some(4));

    let named = [("who", Value::from(1))];
    let found = database.all(
        1,
        "SELECT text FROM notes WHERE user_id = :who ORDER BY 1",
        &named,
    );
    assert_eq!(
        found.expect("two rows"),
        [[Value::from("w")], [Value::from("x")]]
    );
    let read = database
        .prepare("SELECT text FROM notes WHERE user_id = ?1")
        .expect("a read");
    assert_eq!(
        read.first(2, &[Value::from(2)]).expect("a row"),
        Some(vec![Value::from("y")])
    );
    let everywhere = database.all_all_shards("SELECT count(*) FROM countries", Params::NONE);
    for shard in everywhere {
        assert_eq!(shard.result.expect("a copy"), [[Value::from(2)]]);
    }
    let listed = database.shards().expect("all answer");
    assert_eq!(listed.len(), 5);
    assert!(
        listed
            .iter()
            .all(|shard| shard.path.is_none() && shard.bytes > 0)
    );
    assert_eq!(
        listed.iter().map(|shard| shard.rows).sum::<u64>(),
        4 + 5 * 2 + 1
    );
    let checked = database
        .execute("PRAGMA integrity_check", ())
        .expect("files");
    assert_eq!(checked.first_value(), Some(&Value::from("ok")));
    let wrong = database.all_shard(&database.shard_names()[0], "SELECT ?1", ());
    assert_eq!(wrong.map_err(|error| code(&error)), Err("PARAMETERS"));
    database
        .export(std::env::temp_dir().join("never.db"), &mut |_| {})
        .expect_err("there is no directory");
}
