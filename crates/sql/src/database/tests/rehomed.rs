//! Rows whose shard key changes, each against the same statement on one SQLite file.

use super::*;
use crate::shards::Call;

const FAMILY: &str = "
    CREATE TABLE parents(id INTEGER PRIMARY KEY, name TEXT UNIQUE, doubled AS (id * 2));
    CREATE TABLE children(parent INTEGER REFERENCES parents(id) ON UPDATE CASCADE, n INTEGER, PRIMARY KEY(parent, n))
        /* shardwright: shard_key=parent colocate_with=parents */;
    CREATE TABLE toys(parent INTEGER, n INTEGER, what TEXT, PRIMARY KEY(parent, what), FOREIGN KEY(parent, n) REFERENCES children(parent, n) ON UPDATE CASCADE ON DELETE CASCADE)
        /* shardwright: shard_key=parent colocate_with=parents */;
    CREATE TABLE bills(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents(id), total)
        /* shardwright: shard_key=parent colocate_with=parents */;
    CREATE TABLE tags(tag TEXT COLLATE NOCASE PRIMARY KEY, n INTEGER) WITHOUT ROWID;
    INSERT INTO parents(id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e'), (20, 'z');
    INSERT INTO children VALUES (1, 1), (1, 2), (2, 1), (3, 1), (4, 1), (4, 2);
    INSERT INTO toys VALUES (1, 1, 'ball'), (1, 1, 'kite'), (1, 2, 'bear'), (4, 2, 'doll');
    INSERT INTO bills VALUES (1, 3, 10), (2, 5, 20), (3, 5, 30);
    INSERT INTO tags VALUES ('one', 1), ('two', 2), ('three', 3);
";

fn family() -> Fixture {
    let shop = fixture(FAMILY);
    shop.plain
        .execute_batch("PRAGMA foreign_keys = ON")
        .unwrap();
    shop
}

/// Runs a statement on both, which agree on whether it fails, on how much it changes, and on all rows afterwards.
#[track_caller]
fn alike(shop: &Fixture, session: Option<&mut Session>, sql: &str) {
    let plain = shop.plain.execute(sql, []);
    let own = match session {
        Some(session) => session.execute(sql, ()),
        None => shop.db.execute(sql, ()),
    };
    match (own, plain) {
        (Ok(answer), Ok(changed)) => assert_eq!(answer.changes, changed as u64, "{sql}"),
        (Err(_), Err(_)) => {}
        (own, plain) => panic!("{sql}: {own:?}, and in one file {plain:?}"),
    }
}

#[track_caller]
fn check_all(shop: &Fixture) {
    for table in ["parents", "children", "toys", "bills", "tags"] {
        shop.check(&format!("SELECT * FROM {table}"));
    }
    for place in shop.db.inner.places.all() {
        let places = &shop.db.inner.places;
        let broken = Call::new("SELECT count(*) FROM pragma_foreign_key_check", ());
        let broken = places.query_row(place, broken, |row| row.get(0).as_i64());
        assert_eq!(broken.unwrap().flatten(), Some(0));
    }
    // Rows are found by their keys, too.
    for id in 1..60 {
        shop.check(&format!("SELECT * FROM parents WHERE id = {id}"));
        shop.check(&format!("SELECT * FROM toys WHERE parent = {id}"));
    }
}

const CHANGES: [&str; 16] = [
    "UPDATE parents SET id = 40 WHERE id = 2",
    "UPDATE parents SET id = 41, name = name || '!' WHERE id = 1",
    "UPDATE parents SET id = 42 WHERE id = 3",
    "UPDATE parents SET id = 4 WHERE id = 41",
    "UPDATE bills SET parent = 41 WHERE id = 1",
    "UPDATE bills SET parent = 99 WHERE total = 20",
    "UPDATE bills SET parent = parent + 36 WHERE parent = 5",
    "UPDATE parents SET id = id + 1 WHERE id IN (4, 5)",
    "UPDATE parents SET id = id + 10 WHERE id IN (4, 5)",
    "UPDATE parents SET id = 43, name = 'z' WHERE id = 14",
    "UPDATE OR REPLACE parents SET id = 20 WHERE id = 40",
    "UPDATE parents SET id = NULL WHERE id = 14",
    "UPDATE tags SET tag = tag || '2'",
    "UPDATE tags SET tag = 'TWO2' WHERE tag = 'two2'",
    "UPDATE tags SET tag = (SELECT max(name) FROM parents) WHERE n = 3",
    "UPDATE parents SET id = id + 1000 WHERE id > (SELECT avg(n) FROM tags) + 30",
];

#[test]
fn a_row_goes_where_its_new_key_is_with_all_that_follows_it() {
    let shop = family();
    for sql in CHANGES {
        alike(&shop, None, sql);
        check_all(&shop);
    }
}

#[test]
fn a_transaction_moves_rows_as_a_whole() {
    let shop = family();
    for end in ["ROLLBACK", "COMMIT"] {
        let mut session = shop.db.session();
        session.execute("BEGIN", ()).unwrap();
        shop.plain.execute_batch("BEGIN").unwrap();
        for sql in CHANGES {
            alike(&shop, Some(&mut session), sql);
        }
        session.execute(end, ()).unwrap();
        shop.plain.execute_batch(end).unwrap();
        check_all(&shop);
    }
}

#[test]
fn what_an_update_would_do_by_triggers_is_not_done_by_halves() {
    let shop = family();
    shop.run("CREATE TRIGGER note AFTER UPDATE ON tags BEGIN UPDATE tags SET n = n + 1 WHERE tag = new.tag; END");
    let moves = "UPDATE tags SET tag = tag || '!'";
    let refused = shop.db.execute(moves, ()).unwrap_err();
    assert_eq!(refused.code(), "SHARD_KEY_UPDATE");
    let ignored = "UPDATE OR IGNORE parents SET id = id + 50 WHERE id IN (2, 4, 20)";
    assert_eq!(
        shop.db.execute(ignored, ()).unwrap_err().code(),
        "SHARD_KEY_UPDATE"
    );
    check_all(&shop);
}
