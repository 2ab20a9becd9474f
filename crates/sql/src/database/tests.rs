//! Tests of the database as its users call it, each against one SQLite file.

mod again;
mod announced;
mod atomic;
mod by_id;
mod cascades;
mod collegedb;
mod directory;
mod elsewhere;
mod located;
mod lookup_keys;
mod moved;
mod once;
mod over;
mod rehomed;
mod several;
mod transactions;

use tempfile::TempDir;

use super::*;
use crate::{Answer, Tier, Value};

struct Fixture {
    db: ShardedDatabase,
    plain: rusqlite::Connection,
    _directory: TempDir,
}

/// A database of three shards and one SQLite file with the same rows.
fn fixture(script: &str) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let create = CreateOptions {
        shards: 3,
        ..CreateOptions::default()
    };
    let db = ShardedDatabase::create(directory.path().join("db"), &create).unwrap();
    let plain = rusqlite::Connection::open_in_memory().unwrap();
    let fixture = Fixture {
        db,
        plain,
        _directory: directory,
    };
    fixture.run(script);
    fixture
}

impl Fixture {
    #[track_caller]
    fn run(&self, script: &str) {
        for sql in crate::statement::split(script) {
            self.plain
                .execute_batch(sql)
                .unwrap_or_else(|error| panic!("plain: {sql}: {error}"));
            self.db
                .execute_with(sql, (), WriteMode::BestEffort)
                .unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    }

    /// Both answer alike, in any order.
    #[track_caller]
    fn check(&self, sql: &str) -> Answer {
        let mut statement = self.plain.prepare(sql).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        let mut expect = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            expect.push(
                (0..columns)
                    .map(|i| own_value(row.get_ref(i).unwrap()))
                    .collect::<Vec<_>>(),
            );
        }
        let answer = self
            .db
            .execute(sql, ())
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        let sorted = |rows: &[Vec<Value>]| {
            let mut text: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
            text.sort();
            text
        };
        assert_eq!(
            sorted(&answer.rows),
            sorted(&expect),
            "{sql} ({})",
            answer.reason
        );
        answer
    }

    #[track_caller]
    fn refused(&self, sql: &str, code: &str) {
        let error = self.db.execute(sql, ()).expect_err(sql);
        assert_eq!(error.code(), code, "{sql}: {error}");
    }
}

const SHOP: &str = "
    CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT UNIQUE);
    CREATE TABLE orders(id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers(id), total REAL)
        /* shardwright: shard_key=customer_id colocate_with=customers */;
    CREATE TABLE currencies(code TEXT PRIMARY KEY, name TEXT) /* shardwright: reference */;
    CREATE TABLE settings(key TEXT PRIMARY KEY, value) /* shardwright: global */;
    CREATE INDEX orders_by_customer ON orders(customer_id);
    CREATE VIEW spending AS SELECT c.name, sum(o.total) AS total FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.id;
    INSERT INTO customers(id, name, email) VALUES (1, 'Ada', 'ada@x'), (2, 'Bob', NULL), (3, 'Cyd', 'cyd@x'), (4, 'Dee', NULL), (5, 'Eve', 'eve@x');
    INSERT INTO orders(customer_id, total) VALUES (1, 10), (1, 20.5), (2, 5), (3, 7), (5, 1), (5, 2), (5, 3);
    INSERT INTO currencies VALUES ('EUR', 'Euro'), ('CHF', 'Franken');
    INSERT INTO settings VALUES ('theme', 'dark'), ('limit', 10);
";

#[test]
fn statements_without_a_key_answer_as_one_file_would() {
    let shop = fixture(SHOP);
    for sql in [
        "SELECT * FROM customers",
        "SELECT * FROM orders",
        "SELECT count(*), sum(total), avg(total), min(total) FROM orders",
        "SELECT customer_id, count(*) FROM orders GROUP BY customer_id HAVING count(*) > 1 ORDER BY 1",
        "SELECT c.name, o.total FROM customers c LEFT JOIN orders o ON o.customer_id = c.id ORDER BY 1, 2",
        "SELECT * FROM spending WHERE total > 5",
        "SELECT name FROM customers WHERE id IN (SELECT customer_id FROM orders WHERE total > 6)",
        "SELECT c.name FROM customers c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id)",
        "SELECT customers.name, code FROM customers, currencies",
        "SELECT value, name FROM settings, customers WHERE key = 'limit'",
        "SELECT id, rank() OVER (ORDER BY total DESC) FROM orders",
        "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i, name FROM n LEFT JOIN customers ON id = i",
        "SELECT id FROM customers UNION SELECT customer_id FROM orders EXCEPT SELECT 2",
        "SELECT * FROM currencies",
        "SELECT 1 + 1",
        "SELECT name, sql FROM sqlite_master WHERE name LIKE 'c%'",
        "SELECT name FROM pragma_table_info('orders')",
        "SELECT c1.name, c2.name FROM customers c1 FULL JOIN customers c2 ON c1.id = c2.id + 1",
        "SELECT rowid, name FROM customers ORDER BY rowid",
    ] {
        shop.check(sql);
    }
}

#[test]
fn a_statement_with_its_key_runs_on_one_shard() {
    let shop = fixture(SHOP);
    for sql in [
        "SELECT * FROM customers WHERE id = 3",
        "SELECT * FROM orders WHERE customer_id = '5'",
        "SELECT c.name, o.total FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.id = 5",
        "SELECT c.name, o.total, u.name FROM customers c LEFT JOIN orders o ON o.customer_id = c.id, currencies u WHERE c.id = 5.0",
        "SELECT name FROM customers WHERE id = 2 AND EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = customers.id)",
        "SELECT count(*) FROM customers WHERE id IN (1)",
        "SELECT * FROM settings",
    ] {
        let answer = shop.check(sql);
        assert_eq!(answer.tier, Tier::Single, "{sql}: {}", answer.reason);
    }
    let answer = shop.check("SELECT * FROM orders WHERE customer_id IN (1, 2, 3, 4, 5)");
    assert_eq!(answer.tier, Tier::Scatter);
}

#[test]
fn writes_keep_the_answers_equal() {
    let shop = fixture(SHOP);
    shop.run(
        "UPDATE customers SET name = 'Dora' WHERE id = 4;
         DELETE FROM orders WHERE total > 15;
         INSERT INTO customers(name) VALUES ('Fay');
         INSERT INTO orders(customer_id, total) SELECT id, id * 2 FROM customers WHERE id > 2 ORDER BY id;
         INSERT INTO customers(id, name) VALUES (4, 'x') ON CONFLICT(id) DO UPDATE SET name = 'Deirdre';
         UPDATE currencies SET name = upper(name);
         DELETE FROM settings WHERE key = 'theme';
         UPDATE orders SET total = total + (SELECT count(*) FROM currencies) WHERE customer_id = 5;
         UPDATE orders SET total = total + (SELECT length(name) FROM customers c WHERE c.id = orders.customer_id);
         ALTER TABLE orders ADD COLUMN note TEXT DEFAULT 'none';
         CREATE TABLE notes(id TEXT PRIMARY KEY DEFAULT 'n', body TEXT);
         INSERT INTO notes(body) VALUES ('hello');
         DROP INDEX orders_by_customer;",
    );
    for table in [
        "customers",
        "orders",
        "currencies",
        "settings",
        "notes",
        "sqlite_master",
    ] {
        let columns = if table == "sqlite_master" {
            "type, name, tbl_name, sql"
        } else {
            "*"
        };
        shop.check(&format!("SELECT {columns} FROM {table}"));
    }
}

const REFUSED: &[(&str, &str)] = &[
    ("UPDATE customers SET id = 9 WHERE id = 1", "CONSTRAINT"),
    (
        "INSERT INTO orders(customer_id, total) VALUES (NULL, 1)",
        "NULL_KEY",
    ),
    (
        "INSERT INTO customers(id, name) VALUES (1, 'again')",
        "CONSTRAINT",
    ),
    (
        "INSERT INTO customers(id, name, email) VALUES (9, 'thief', 'ada@x')",
        "CONSTRAINT",
    ),
    (
        "INSERT INTO customers(id, name, email) VALUES (10, 'thief', 'ada@x')",
        "CONSTRAINT",
    ),
    (
        "INSERT INTO orders(id, customer_id, total) VALUES (1, 4, 0)",
        "CONSTRAINT",
    ),
    (
        "INSERT INTO orders(customer_id, total) VALUES (99, 0)",
        "CONSTRAINT",
    ),
    (
        "DELETE FROM customers WHERE id IN (SELECT 1 FROM settings) RETURNING id",
        "NOT_SHARD_LOCAL",
    ),
    (
        "INSERT INTO customers(id, name) VALUES (1, 'a') ON CONFLICT DO UPDATE SET name = (SELECT max(key) FROM settings)",
        "NOT_SHARD_LOCAL",
    ),
    (
        "INSERT INTO customers(id, name) VALUES (77, 'a') RETURNING (SELECT count(*) FROM orders)",
        "NOT_SHARD_LOCAL",
    ),
    ("SELECT * FROM nowhere", "SQL_ERROR"),
    ("INSERT INTO nowhere VALUES (1)", "UNKNOWN_TABLE"),
    ("SELECT nothing FROM customers", "SQL_ERROR"),
    ("SELEC 1", "SQL_ERROR"),
    ("ATTACH 'x' AS y", "UNSUPPORTED"),
    ("PRAGMA journal_mode = delete", "UNSUPPORTED"),
    (
        "CREATE TABLE t(a) /* shardwright: shard_key=a */",
        "NO_PRIMARY_KEY",
    ),
    (
        "CREATE TRIGGER g AFTER INSERT ON orders BEGIN DELETE FROM settings; END",
        "TRIGGER_NOT_LOCAL",
    ),
    (
        "SELECT count(*) FROM customers, sqlite_master",
        "UNSUPPORTED",
    ),
];

#[test]
fn a_refused_statement_says_why_and_changes_nothing() {
    let shop = fixture(SHOP);
    for (sql, code) in REFUSED {
        shop.refused(sql, code);
    }
    shop.check("SELECT * FROM customers");
    shop.check("SELECT * FROM orders");
    shop.check("SELECT type, name, tbl_name, sql FROM sqlite_master");
    shop.check(
        "SELECT name FROM (SELECT * FROM sqlite_master UNION ALL SELECT * FROM sqlite_temp_master)",
    );
}

#[test]
fn a_conflict_with_another_shard_is_not_resolved_by_a_rule() {
    let shop = fixture(SHOP);
    let home = shop.db.locate(Some("customers"), 3).unwrap();
    let far = (10..99)
        .find(|key| shop.db.locate(Some("customers"), *key).unwrap() != home)
        .unwrap();
    let sql = format!(
        "INSERT OR IGNORE INTO customers(id, name, email) VALUES ({far}, 'thief', 'cyd@x')"
    );
    shop.refused(&sql, "GLOBAL_CONFLICT");
    shop.check("SELECT * FROM customers");
    shop.check("SELECT * FROM orders");
    shop.check("SELECT type, name, tbl_name, sql FROM sqlite_master");
}

#[test]
fn calls_by_key_go_to_its_shard_and_check_it() {
    let shop = fixture(SHOP);
    let db = &shop.db;
    let three = [Value::from(3)];
    let name = db
        .first(3, "SELECT name FROM customers WHERE id = ?1", &three)
        .unwrap()
        .unwrap();
    assert_eq!(name[0].as_str(), Some("Cyd"));
    // A key that a client sent as a float or as text is the same key.
    for key in [Value::from(3.0), Value::from("3")] {
        assert!(
            db.first(key, "SELECT name FROM customers WHERE id = ?1", &three)
                .unwrap()
                .is_some()
        );
    }
    let by_id = db
        .prepare("SELECT name FROM customers WHERE id = ?1")
        .unwrap();
    assert_eq!(by_id.all(3, &three).unwrap().len(), 1);
    let found = by_id
        .query_row_by(3.into(), &three, |row| {
            row.get(0).as_str().map(str::to_owned)
        })
        .unwrap();
    assert_eq!(found.flatten().as_deref(), Some("Cyd"));
    let error = by_id.first(4, &three).unwrap_err();
    assert_eq!(error.code(), "KEY_MISMATCH");
    let insert = "INSERT INTO customers(id, name) VALUES (?1, 'new')";
    assert_eq!(
        db.run(8, insert, &[Value::from(9)]).unwrap_err().code(),
        "KEY_MISMATCH"
    );
    let elsewhere = (9..99)
        .find(|key| {
            db.locate(Some("customers"), *key).unwrap() != db.locate(Some("customers"), 8).unwrap()
        })
        .unwrap();
    let named = Key::new(elsewhere).in_group("customers");
    assert_eq!(
        db.run(named, insert, &[Value::from(8)]).unwrap_err().code(),
        "KEY_MISMATCH"
    );
    let strange = (0..99)
        .map(|key| db.run(Key::new(key).in_group("notes"), insert, &[Value::from(8)]))
        .find_map(Result::err);
    assert_eq!(strange.unwrap().code(), "UNKNOWN_TABLE");
    assert_eq!(db.run(8, insert, &[Value::from(8)]).unwrap().changes, 1);
    assert_eq!(
        db.all(8, "SELECT * FROM orders WHERE customer_id = 8", ())
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn calls_by_shard_refuse_rows_of_others() {
    let shop = fixture(SHOP);
    let db = &shop.db;
    let home = db.locate(Some("customers"), 20).unwrap();
    let other = db
        .shard_names()
        .into_iter()
        .find(|name| *name != home)
        .unwrap();
    let insert = "INSERT INTO customers(id, name) VALUES (20, 'x')";
    assert_eq!(
        db.run_shard(&other, insert, ()).unwrap_err().code(),
        "WRONG_SHARD"
    );
    assert_eq!(db.run_shard(&home, insert, ()).unwrap().changes, 1);
    assert_eq!(
        db.run_shard("shard-9", insert, ()).unwrap_err().code(),
        "SHARD_NOT_FOUND"
    );
    let counts = db.all_all_shards("SELECT count(*) FROM customers", ());
    let sum: i64 = counts
        .iter()
        .map(|found| found.result.as_ref().unwrap()[0][0].as_i64().unwrap())
        .sum();
    assert_eq!(sum, 6);
    let failed = db.first_all_shards("SELECT nothing FROM customers", ());
    assert!(failed.iter().all(|found| found.result.is_err()));
    assert_eq!(
        db.run_all_shards("UPDATE customers SET name = 'y' WHERE id = 20", ())
            .len(),
        3
    );
}

#[test]
fn each_statement_of_a_transaction_is_on_one_shard() {
    let shop = fixture(
        "CREATE TABLE a(id TEXT PRIMARY KEY, n INT);
         INSERT INTO a VALUES ('x', 1), ('y', 2), ('z', 3), ('w', 4);",
    );
    let db = &shop.db;
    let mut session = db.session();
    session.execute("BEGIN", ()).unwrap();
    session
        .execute("UPDATE a SET n = 10 WHERE id = 'x'", ())
        .unwrap();
    let seen = session
        .execute("SELECT n FROM a WHERE id = 'x'", ())
        .unwrap();
    assert_eq!(seen.rows[0][0].as_i64(), Some(10));
    let home = db.locate(None, "x").unwrap();
    let other = ["y", "z", "w"]
        .into_iter()
        .find(|key| db.locate(None, *key).unwrap() != home)
        .unwrap();
    let sql = format!("UPDATE a SET n = 10 WHERE id = '{other}'");
    session.execute(&sql, ()).unwrap();
    let all = session.execute("SELECT max(n) FROM a", ()).unwrap();
    assert_eq!(all.rows[0][0].as_i64(), Some(10));
    session.execute("ROLLBACK", ()).unwrap();
    shop.check("SELECT * FROM a");
    db.transaction(|tx| tx.execute("UPDATE a SET n = 11 WHERE id = 'x'", ()))
        .unwrap();
    assert_eq!(
        db.execute("SELECT n FROM a WHERE id = 'x'", ())
            .unwrap()
            .rows[0][0]
            .as_i64(),
        Some(11)
    );
}

#[test]
fn a_database_is_the_same_after_it_is_closed_and_opened() {
    let shop = fixture(SHOP);
    let path = shop.db.directory().unwrap().to_path_buf();
    let Fixture {
        db,
        plain,
        _directory,
    } = shop;
    assert_eq!(
        ShardedDatabase::open(&path, &Options::default())
            .unwrap_err()
            .code(),
        "LOCKED"
    );
    let reader = ShardedDatabase::open(
        &path,
        &Options {
            access: Access::ReadOnly,
            ..Options::default()
        },
    )
    .unwrap();
    assert_eq!(
        reader
            .execute("INSERT INTO settings VALUES ('a', 1)", ())
            .unwrap_err()
            .code(),
        "READ_ONLY"
    );
    drop(reader);
    db.close().unwrap();
    let left: Vec<String> = std::fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with("-wal"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let db = ShardedDatabase::open(&path, &Options::default()).unwrap();
    let shop = Fixture {
        db,
        plain,
        _directory,
    };
    shop.check("SELECT * FROM customers");
    shop.refused(
        "INSERT INTO customers(id, name, email) VALUES (10, 'thief', 'ada@x')",
        "CONSTRAINT",
    );
    shop.run("ALTER TABLE customers ADD COLUMN age INT; INSERT INTO customers(id, name, age) VALUES (30, 'Gil', 7);");
    shop.check("SELECT * FROM customers");
}

#[test]
fn a_missing_file_is_named() {
    let shop = fixture(SHOP);
    let path = shop.db.directory().unwrap().to_path_buf();
    shop.db.clone().close().unwrap();
    drop(shop.db);
    std::fs::remove_file(path.join("shard-1.db")).unwrap();
    let error = ShardedDatabase::open(&path, &Options::default()).unwrap_err();
    assert_eq!(error.code(), "MISSING_FILE");
    assert!(error.to_string().contains("shard-1"), "{error}");
    assert_eq!(
        ShardedDatabase::open(path.join("none"), &Options::default())
            .unwrap_err()
            .code(),
        "NOT_A_DATABASE"
    );
}

#[test]
fn an_operation_that_a_crash_interrupted_is_finished_when_the_database_is_opened() {
    let shop = fixture(SHOP);
    let path = shop.db.directory().unwrap().to_path_buf();
    let create = "CREATE TABLE late(id INTEGER PRIMARY KEY, n INT)";
    let mut stored = shop.db.schema().stored().clone();
    stored.objects.push(crate::schema::SchemaObject {
        kind: "table".to_owned(),
        name: "late".to_owned(),
        table: "late".to_owned(),
        sql: create.to_owned(),
    });
    let declaration = crate::schema::Declaration::in_comment("-- shardwright: shard_key=id");
    stored
        .declarations
        .insert("late".to_owned(), declaration.unwrap().unwrap());
    let inner = &shop.db.inner;
    let records = &inner.shared.records;
    let operation = journal::Operation {
        number: records.standing().unwrap().number + 1,
        ..journal::Operation::new(vec![journal::Step::new(create)], Vec::new(), Some(stored))
    };
    // The process dies after the journal was written and one of the shards committed.
    records.begin(&operation).unwrap();
    let checks = unique::Checks::default();
    let begun = operation.begin(&*inner.places, Place::Shard(1), &checks);
    let (mut transaction, _) = begun.unwrap().unwrap();
    transaction.commit().unwrap();
    drop(transaction);
    let Fixture {
        db,
        plain,
        _directory,
    } = shop;
    drop(db);

    let db = ShardedDatabase::open(&path, &Options::default()).unwrap();
    let shop = Fixture {
        db,
        plain,
        _directory,
    };
    shop.plain.execute_batch(create).unwrap();
    for id in 0..9 {
        shop.run(&format!("INSERT INTO late VALUES ({id}, {id})"));
    }
    shop.check("SELECT * FROM late");
    shop.refused(
        "INSERT INTO customers(id, name, email) VALUES (10, 'thief', 'ada@x')",
        "CONSTRAINT",
    );
    assert!(shop.db.inner.shared.records.pending().unwrap().is_empty());
}

#[test]
fn a_statement_that_one_shard_refuses_changes_none() {
    let shop = fixture(SHOP);
    // Three shards can build the index, one cannot: its two rows agree.
    let home = shop.db.locate(Some("orders"), 5).unwrap();
    shop.db
        .run_shard(
            &home,
            "UPDATE orders SET total = 2 WHERE customer_id = 5",
            (),
        )
        .unwrap();
    shop.plain
        .execute_batch("UPDATE orders SET total = 2 WHERE customer_id = 5")
        .unwrap();
    let before = shop.check("SELECT type, name, tbl_name, sql FROM sqlite_master");
    shop.refused(
        "CREATE UNIQUE INDEX one_each ON orders(customer_id, total)",
        "CONSTRAINT",
    );
    assert_eq!(
        shop.check("SELECT type, name, tbl_name, sql FROM sqlite_master")
            .rows,
        before.rows
    );
    shop.run("CREATE INDEX one_each ON orders(customer_id, total)");
    shop.check("SELECT * FROM orders WHERE total = 2");
}
