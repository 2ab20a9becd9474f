//! Writes whose rows are found on all shards, unique indexes over them, and what only this process has.

use super::{SHOP, Value, WriteMode, fixture};

#[test]
fn a_condition_on_rows_of_other_shards_finds_what_one_file_would_change() {
    let shop = fixture(SHOP);
    for sql in [
        "UPDATE customers SET name = name || '!' WHERE id IN (SELECT customer_id FROM orders WHERE total > 1)",
        "UPDATE orders SET total = total + (SELECT max(length(name)) FROM currencies) WHERE total < (SELECT avg(total) FROM orders)",
        "UPDATE customers AS c SET email = 'few' || id, name = upper(name)
         WHERE (SELECT count(*) FROM customers AS other WHERE other.id < c.id) BETWEEN 1 AND 2",
        "WITH rich(id) AS (SELECT customer_id FROM orders ORDER BY total DESC LIMIT 1) DELETE FROM orders WHERE customer_id IN rich",
        "UPDATE settings SET value = 'many' WHERE (SELECT count(*) FROM customers) > 2",
        "DELETE FROM settings WHERE key IN (SELECT name FROM customers)",
        "DELETE FROM orders WHERE customer_id + 0 = (SELECT min(id) FROM customers) + 1",
        "DELETE FROM orders WHERE EXISTS (SELECT 1 FROM orders AS x WHERE x.total > 1000000)",
    ] {
        let changed = shop
            .plain
            .execute(sql, [])
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        let answer = shop
            .db
            .execute(sql, ())
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(answer.changes, changed as u64, "{sql}");
        for table in ["customers", "orders", "settings"] {
            shop.check(&format!("SELECT * FROM {table}"));
        }
    }
    for sql in [
        "UPDATE customers SET name = (SELECT max(name) FROM customers) WHERE 1",
        "DELETE FROM customers WHERE id + 1 IN (SELECT id FROM customers) RETURNING id",
        "UPDATE customers SET name = o.total FROM orders AS o WHERE o.id = customers.id",
    ] {
        shop.refused(sql, "NOT_SHARD_LOCAL");
    }
    let once = "DELETE FROM customers WHERE id IN (SELECT id FROM orders)";
    let refused = shop
        .db
        .execute_with(once, (), WriteMode::Single)
        .unwrap_err();
    assert_eq!(refused.code(), "NOT_SHARD_LOCAL");
}

#[test]
fn a_change_that_one_row_forbids_changes_none() {
    let shop = fixture(SHOP);
    let sql = "UPDATE customers SET email = 'same' WHERE id IN (SELECT customer_id FROM orders)";
    shop.plain.execute(sql, []).unwrap_err();
    shop.refused(sql, "CONSTRAINT");
    shop.check("SELECT * FROM customers");
}

#[test]
fn a_unique_index_is_kept_over_all_shards() {
    let shop = fixture(
        "CREATE TABLE t(k INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE, b INTEGER, c);
         INSERT INTO t VALUES (1, 'x', 1, 1), (2, 'X', 2, 1.0), (3, NULL, 2, NULL), (4, NULL, 3, NULL);
         CREATE UNIQUE INDEX ab ON t(a, b);
         CREATE UNIQUE INDEX part ON t(b) WHERE k > 3",
    );
    let stale = shop
        .db
        .prepare("INSERT INTO t VALUES (?1, ?2, ?3, NULL)")
        .unwrap();
    for sql in [
        "CREATE UNIQUE INDEX a ON t(a)",
        "CREATE UNIQUE INDEX b ON t(b)",
        "CREATE UNIQUE INDEX c ON t(c)",
        "CREATE UNIQUE INDEX e ON t(b + 1)",
    ] {
        shop.plain.execute(sql, []).unwrap_err();
        shop.refused(sql, "CONSTRAINT");
    }
    shop.check("SELECT name FROM sqlite_schema");
    shop.run("CREATE UNIQUE INDEX bin ON t(a COLLATE BINARY)");
    for key in 10..20 {
        for sql in [
            format!("INSERT INTO t VALUES ({key}, 'X', 1, 9)"),
            format!("INSERT INTO t VALUES ({key}, 'y', 3, 9)"),
            format!("INSERT INTO t VALUES ({key}, 'x', 9, 9)"),
        ] {
            shop.plain.execute(&sql, []).unwrap_err();
            shop.refused(&sql, "CONSTRAINT");
        }
        let values = [Value::from(key), Value::from("X"), Value::from(77)];
        assert!(
            stale.run(key, &values).is_err(),
            "it was planned without the last index"
        );
    }
    shop.run("INSERT INTO t VALUES (30, 'z', 9, 9); DROP INDEX bin; INSERT INTO t VALUES (31, 'x', 10, 9)");
    shop.check("SELECT * FROM t");
    shop.check("PRAGMA integrity_check");
}

#[test]
fn temporary_views_are_read_by_all_sessions_and_stored_nowhere() {
    let shop = fixture(SHOP);
    shop.run(
        "CREATE TEMP VIEW rich AS SELECT c.id, name FROM customers AS c JOIN orders AS o ON o.customer_id = c.id WHERE total > 1;
         CREATE TEMPORARY VIEW kept AS SELECT value AS v FROM settings",
    );
    shop.check("SELECT * FROM rich");
    shop.check("SELECT * FROM kept");
    shop.check("SELECT name FROM customers WHERE id NOT IN (SELECT id FROM rich)");
    shop.run("CREATE TABLE more(k INTEGER PRIMARY KEY, name TEXT); INSERT INTO more SELECT DISTINCT id, name FROM rich");
    shop.check("SELECT * FROM more");
    shop.check("SELECT * FROM rich");
    shop.refused("DELETE FROM settings WHERE value IN kept", "UNSUPPORTED");
    shop.refused("CREATE TEMP VIEW orders AS SELECT 1", "UNSUPPORTED");
    shop.refused("CREATE TABLE rich(k INTEGER PRIMARY KEY)", "UNSUPPORTED");
    shop.refused("DELETE FROM rich", "SQL_ERROR");
    let schema = shop.db.schema();
    assert!(
        schema
            .stored()
            .objects
            .iter()
            .all(|object| object.name != "rich")
    );
    shop.run("DROP VIEW rich; DROP VIEW IF EXISTS kept; REINDEX; REINDEX orders_by_customer; REINDEX nocase");
    shop.refused("SELECT * FROM rich", "SQL_ERROR");
    shop.refused("DROP VIEW kept", "SQL_ERROR");
    shop.refused("REINDEX nothing", "SQL_ERROR");
}
