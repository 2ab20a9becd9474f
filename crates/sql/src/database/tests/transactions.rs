//! Transactions whose statements reach several shards, each against the same transaction on one SQLite file.

use super::*;

/// A session on shards, and a connection to one file.
struct Both {
    shop: Fixture,
    session: Session,
}

fn both() -> Both {
    let shop = fixture(SHOP);
    shop.plain
        .execute_batch("PRAGMA foreign_keys = ON")
        .unwrap();
    let session = shop.db.session();
    Both { shop, session }
}

impl Both {
    /// Runs a statement on both. They agree on its rows, in any order, on what it changes, and on whether it fails.
    #[track_caller]
    fn run(&mut self, sql: &str) {
        let plain = answer_of(&self.shop.plain, sql);
        let before = self.shop.plain.total_changes();
        let answer = self.session.execute(sql, ());
        match (answer, plain) {
            (Ok(answer), Ok(mut rows)) => {
                let mut own = texts(&answer.rows);
                own.sort();
                rows.sort();
                assert_eq!(own, rows, "{sql}");
            }
            (Err(_), Err(_)) => {}
            (own, plain) => panic!("{sql}: {own:?}, and in one file {plain:?}"),
        }
        assert_eq!(before, self.shop.plain.total_changes());
    }

    #[track_caller]
    fn check_all(&mut self) {
        for table in ["customers", "orders", "currencies", "settings"] {
            self.run(&format!("SELECT * FROM {table}"));
        }
    }
}

fn texts(rows: &[Vec<Value>]) -> Vec<String> {
    rows.iter().map(|row| format!("{row:?}")).collect()
}

fn answer_of(plain: &rusqlite::Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = plain.prepare(sql)?;
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let values = (0..columns).map(|i| row.get_ref(i).map(own_value));
        values.collect::<rusqlite::Result<Vec<_>>>()
    })?;
    Ok(texts(&rows.collect::<rusqlite::Result<Vec<_>>>()?))
}

#[test]
fn a_transaction_runs_whatever_a_statement_alone_may_do() {
    let mut both = both();
    for sql in [
        "BEGIN",
        "SELECT count(*), sum(total) FROM orders",
        "UPDATE orders SET total = total * 2",
        "SELECT sum(total) FROM orders",
        "INSERT INTO customers(name, email) VALUES ('Fay', 'fay@x'), ('Gil', NULL), ('Hal', 'hal@x')",
        "SELECT c.name, sum(o.total) FROM customers c LEFT JOIN orders o ON o.customer_id = c.id GROUP BY c.id",
        "INSERT INTO customers(name, email) VALUES ('Ida', 'fay@x')",
        "UPDATE customers SET email = 'hal@x' WHERE id = 1",
        "UPDATE customers SET email = 'new@x' WHERE id = 1",
        "INSERT INTO customers(id, name, email) VALUES (40, 'Jo', 'ada@x')",
        "INSERT INTO orders(customer_id, total) SELECT id, 1 FROM customers WHERE name > 'C' ORDER BY id",
        "DELETE FROM orders WHERE customer_id IN (SELECT customer_id FROM orders GROUP BY 1 HAVING count(*) > 2)",
        "UPDATE customers SET name = upper(name) WHERE id IN (SELECT customer_id FROM orders)",
        "INSERT INTO currencies VALUES ('USD', 'Dollar')",
        "UPDATE currencies SET name = lower(name)",
        "SELECT * FROM currencies",
        "INSERT INTO settings SELECT 'orders', count(*) FROM orders",
        "INSERT INTO orders(customer_id, total) VALUES (77, 1)",
        "WITH t AS (SELECT max(id) AS id FROM customers) SELECT * FROM t",
        "SELECT name FROM customers WHERE id = 3",
        "SELECT 1",
    ] {
        both.run(sql);
    }
    both.check_all();
    let (before, all) = (both.shop.db.session(), "SELECT count(*) FROM customers");
    let seen = { before }.execute(all, ()).unwrap();
    assert_eq!(
        seen.first_value(),
        Some(&Value::from(5)),
        "nobody else sees it"
    );
    both.run("COMMIT");
    both.check_all();
    assert!(!both.session.in_transaction());
}

#[test]
fn a_rollback_leaves_nothing_on_any_shard() {
    let mut both = both();
    for sql in [
        "BEGIN",
        "UPDATE orders SET total = 0",
        "DELETE FROM currencies",
        "INSERT INTO customers(name) VALUES ('Fay'), ('Gil')",
        "INSERT INTO settings VALUES ('a', 1)",
        "ROLLBACK",
    ] {
        both.run(sql);
        both.check_all();
    }
}

#[test]
fn a_statement_that_fails_on_one_shard_is_undone_on_all_and_the_transaction_goes_on() {
    let mut both = both();
    both.shop
        .run("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER CHECK (n < 100), u TEXT UNIQUE)");
    both.shop.run(
        "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c'), (4, 98, 'd'), (5, 5, 'e')",
    );
    for sql in [
        "BEGIN IMMEDIATE",
        "UPDATE t SET n = n + 1",
        "UPDATE t SET n = n + 1",
        "SELECT * FROM t",
        "INSERT INTO t VALUES (6, 1, 'f'), (7, 2, 'g'), (8, 200, 'h')",
        "SELECT * FROM t",
        "UPDATE t SET u = 'same' WHERE id > 2",
        "SELECT * FROM t",
        "INSERT INTO t VALUES (9, 1, 'a')",
        "DELETE FROM t WHERE u = 'a'",
        "INSERT INTO t VALUES (9, 1, 'a')",
        "SELECT * FROM t",
        "COMMIT",
        "SELECT * FROM t",
    ] {
        both.run(sql);
    }
}

#[test]
fn savepoints_are_on_every_shard_of_the_transaction_and_on_those_that_come_later() {
    let mut both = both();
    for sql in [
        "BEGIN",
        "SAVEPOINT first",
        "UPDATE customers SET name = 'x' WHERE id = 1",
        "SAVEPOINT second",
        "UPDATE orders SET total = 1",
        "INSERT INTO settings VALUES ('s', 1)",
        "SAVEPOINT third",
        "DELETE FROM orders",
        "ROLLBACK TO THIRD",
        "SELECT * FROM orders",
        "RELEASE third",
        "ROLLBACK TO third",
        "ROLLBACK TO second",
        "SELECT * FROM orders",
        "SELECT * FROM settings",
        "UPDATE orders SET total = 2",
        "RELEASE second",
        "SELECT * FROM customers",
        "ROLLBACK TO first",
        "SELECT * FROM orders",
        "UPDATE orders SET total = total + 3",
        "COMMIT",
    ] {
        both.run(sql);
    }
    both.check_all();
}

#[test]
fn deferred_foreign_keys_of_all_shards_are_asked_about_at_the_end() {
    let shop = fixture(
        "CREATE TABLE parents(id INTEGER PRIMARY KEY);
         CREATE TABLE children(id INTEGER, parent INTEGER REFERENCES parents(id) DEFERRABLE INITIALLY DEFERRED, PRIMARY KEY(parent, id))
             /* shardwright: shard_key=parent colocate_with=parents */",
    );
    let session = shop.db.session();
    let mut both = Both { shop, session };
    both.shop
        .plain
        .execute_batch("PRAGMA foreign_keys = ON")
        .unwrap();
    for sql in [
        "BEGIN",
        "INSERT INTO children VALUES (1, 1), (1, 2), (1, 3), (1, 4)",
        "INSERT INTO parents VALUES (1), (2), (3)",
        "COMMIT",
        "SELECT count(*) FROM children",
        "INSERT INTO parents VALUES (4)",
        "COMMIT",
        "SELECT * FROM children",
    ] {
        both.run(sql);
    }
    assert!(!both.session.in_transaction());
}

#[test]
fn a_unique_value_of_a_transaction_is_taken_for_writes_that_come_meanwhile() {
    let shop = fixture(SHOP);
    let home = |id: i64| shop.db.locate(Some("customers"), id).unwrap();
    let other = (11..).find(|id| home(*id) != home(10)).unwrap();
    let mut session = shop.db.session();
    session.execute("BEGIN", ()).unwrap();
    let insert = |id: i64| format!("INSERT INTO customers VALUES ({id}, 'x', 'one@x')");
    session.execute(&insert(10), ()).unwrap();
    std::thread::scope(|scope| {
        let late = scope.spawn(|| shop.db.execute(&insert(other), ()));
        session
            .execute("SELECT count(*) FROM customers", ())
            .unwrap();
        session.execute("COMMIT", ()).unwrap();
        let late = late.join().unwrap().unwrap_err();
        assert_eq!(late.code(), "CONSTRAINT");
    });
    let drawn = shop.db.execute("SELECT count(*) FROM customers", ());
    assert_eq!(drawn.unwrap().first_value(), Some(&Value::from(6)));
}

#[test]
fn an_id_that_a_transaction_has_drawn_is_not_given_to_a_row_that_comes_meanwhile() {
    for insert in [
        "INSERT INTO customers(name) VALUES ('late')",
        "INSERT OR REPLACE INTO customers(name) VALUES ('late')",
        "INSERT INTO customers(name) VALUES ('late') ON CONFLICT DO NOTHING",
    ] {
        let shop = fixture(SHOP);
        let mut session = shop.db.session();
        session.execute("BEGIN", ()).unwrap();
        let own = "INSERT INTO customers(name) VALUES ('own') RETURNING id";
        let drawn = session.execute(own, ()).unwrap();
        assert_eq!(drawn.first_value(), Some(&Value::from(6)));
        std::thread::scope(|scope| {
            let late = scope.spawn(|| shop.db.execute(insert, ()));
            while !shop.db.inner.shared.constraints.is_locked() {
                std::thread::yield_now();
            }
            // It draws its number while this asks all shards.
            session
                .execute("SELECT count(*) FROM customers", ())
                .unwrap();
            session.execute("COMMIT", ()).unwrap();
            assert_eq!(late.join().unwrap().unwrap().changes, 1, "{insert}");
        });
        let found = shop
            .db
            .execute("SELECT id, name FROM customers WHERE id > 5 ORDER BY 1", ());
        let expect = [(6, "own"), (7, "late")].map(|(id, name)| vec![Value::from(id), name.into()]);
        assert_eq!(found.unwrap().rows, expect, "{insert}");
    }
}

#[test]
fn a_change_of_the_schema_is_refused_in_a_transaction_and_leaves_it_open() {
    let mut both = both();
    let session = &mut both.session;
    session.execute("BEGIN", ()).unwrap();
    session.execute("UPDATE orders SET total = 0", ()).unwrap();
    for sql in [
        "CREATE TABLE more(id INTEGER PRIMARY KEY)",
        "PRAGMA user_version = 3",
    ] {
        let refused = session.execute(sql, ()).unwrap_err();
        assert_eq!(refused.code(), "CROSS_SHARD_TRANSACTION", "{sql}");
    }
    session.execute("ROLLBACK", ()).unwrap();
    both.check_all();
}
