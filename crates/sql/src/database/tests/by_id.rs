//! Tests of rows by their ids.

use super::*;

fn fixture_by_id() -> Fixture {
    fixture(
        "CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT DEFAULT 'nobody', \"a \"\"b\" INT);
         CREATE TABLE jobs(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);
         CREATE TABLE rates(currency TEXT PRIMARY KEY, rate REAL) /* shardwright: reference */;
         CREATE TABLE orders(id INTEGER PRIMARY KEY, user_id TEXT, total) /* shardwright: shard_key=user_id colocate_with=users */;
         CREATE TABLE pairs(a INT, b INT, PRIMARY KEY (a, b));",
    )
}

#[test]
fn rows_come_change_and_go_by_their_ids() {
    let db = fixture_by_id().db;
    let id = Value::from("u1");
    let odd = ("a \"b", Value::from(3));
    assert_eq!(
        db.insert_row("users", &[("id", id.clone()), odd]).unwrap(),
        id
    );
    let row = |id: &str| {
        let rows = db.all(id, "SELECT * FROM users WHERE id = ?1", &[Value::from(id)]);
        rows.unwrap().pop()
    };
    assert_eq!(row("u1"), Some(vec![id.clone(), "nobody".into(), 3.into()]));
    assert!(
        db.patch_row("users", "u1", &[("NAME", "Ada".into())])
            .unwrap()
    );
    assert!(
        !db.patch_row("users", "u2", &[("name", "Ada".into())])
            .unwrap()
    );
    let values = [("id", id.clone()), ("name", Value::from("Eve"))];
    assert_eq!(db.upsert_row("users", &values).unwrap(), id);
    assert_eq!(db.upsert_row("users", &values[..1]).unwrap(), id);
    assert_eq!(row("u1"), Some(vec![id.clone(), "Eve".into(), 3.into()]));
    let twice = db.insert_row("users", &[("id", id)]).unwrap_err();
    assert_eq!(twice.code(), "CONSTRAINT");
    assert!(db.delete_by_id("users", "u1").unwrap());
    assert!(!db.delete_by_id("users", "u1").unwrap());

    for expected in 1..=5 {
        let id = db.insert_row("jobs", &[("name", "x".into())]).unwrap();
        assert_eq!(id, Value::from(expected));
    }
    let order = |user: &str, total: i64| {
        [
            ("id", 1.into()),
            ("user_id", user.into()),
            ("total", total.into()),
        ]
    };
    db.upsert_row("orders", &order("a", 1)).unwrap();
    assert_eq!(
        db.upsert_row("orders", &order("a", 2)).unwrap(),
        Value::from(1)
    );
    for user in ["b", "c", "d", "e", "f"] {
        let other = db.upsert_row("orders", &order(user, 3)).unwrap_err();
        assert!(
            ["SHARD_KEY_UPDATE", "GLOBAL_CONFLICT"].contains(&other.code()),
            "{other}"
        );
    }
    let orders = db.execute("SELECT * FROM orders", ()).unwrap().rows;
    assert_eq!(orders, [[1.into(), "a".into(), Value::from(2)]]);
    let rate = [("currency", Value::from("EUR")), ("rate", Value::from(1.5))];
    assert_eq!(db.upsert_row("rates", &rate).unwrap(), Value::from("EUR"));
}

#[test]
fn pages_are_those_of_one_table() {
    let db = fixture_by_id().db;
    for _ in 0..7 {
        db.insert_row("jobs", &[("name", "x".into())]).unwrap();
    }
    let page = db.paginate("jobs", 2, 3).unwrap();
    let ids: Vec<_> = page.rows.iter().map(|row| row[0].as_i64()).collect();
    assert_eq!(ids, [Some(4), Some(5), Some(6)]);
    assert_eq!(
        (page.total, page.page, page.limit, page.pages),
        (7, 2, 3, 3)
    );
    assert!(db.paginate("jobs", 4, 3).unwrap().rows.is_empty());
    assert_eq!(db.paginate("users", 0, 0).unwrap().pages, 0);
}

#[test]
fn names_that_are_not_in_the_schema_are_refused() {
    let db = fixture_by_id().db;
    let value = || Value::from(1);
    let code = |result: Result<Value, Error>| result.unwrap_err().code();
    assert_eq!(
        code(db.insert_row("nowhere", &[("id", value())])),
        "UNKNOWN_TABLE"
    );
    assert_eq!(
        code(db.insert_row("users", &[("id) --", value())])),
        "UNKNOWN_COLUMN"
    );
    assert_eq!(code(db.insert_row("users", &[])), "UNSUPPORTED");
    assert_eq!(
        code(db.upsert_row("pairs", &[("a", value())])),
        "UNSUPPORTED"
    );
    let moved = db.patch_row("users", "u1", &[("id", "u2".into())]);
    assert!(!moved.unwrap(), "there is no such row");
}
