//! Tests that what the shards answer for themselves is, put together, the answer of one SQLite file.

use crate::{
    Error, Limits, Options, Tier, Value,
    gather::tests::{MIXED, Pair, pair},
};

/// Two tables by one key, a third by its own, and a reference table.
const SHOP: &str = "
    CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, city TEXT, credit REAL);
    CREATE TABLE orders(id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, total, note TEXT COLLATE RTRIM)
        /* shardwright: shard_key=customer_id colocate_with=customers */;
    CREATE TABLE cities(name TEXT PRIMARY KEY, country TEXT) /* shardwright: reference */;
    INSERT INTO cities VALUES ('Rome', 'IT'), ('Oslo', 'NO'), ('Nowhere', NULL);
    INSERT INTO customers SELECT i, substr('AbCaBcabC', i % 7 + 1, 2), CASE i % 4 WHEN 0 THEN 'Rome' WHEN 1 THEN 'Oslo' WHEN 2 THEN 'oslo' END, i * 1.5 - 20
        FROM (WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 60) SELECT i FROM n);
    INSERT INTO orders SELECT i, i * 7 % 61, CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN i WHEN 2 THEN i * 0.5 WHEN 3 THEN 'x' || i % 9 ELSE CAST(i AS BLOB) END, 'n' || substr('   ', 1, i % 4)
        FROM (WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 150) SELECT i FROM n);
";

impl Pair {
    /// Checks the rows and that the tier is this one.
    #[track_caller]
    fn check_tier(&self, tier: Tier, sql: &str) {
        let explained = self.db.explain(sql, ()).unwrap();
        assert_eq!(explained.tier, tier, "{sql}: {}", explained.reason);
        self.check(sql);
    }

    /// The same, in order.
    #[track_caller]
    fn check_order(&self, sql: &str) {
        self.check_tier(Tier::Scatter, sql);
        let (found, expect, _) = self.both(sql, &[]);
        assert_eq!(found, expect, "{sql}");
    }
}

#[test]
fn rows_are_merged_in_the_order_that_was_asked_for() {
    let shop = pair(5, Options::default(), SHOP);
    for order in [
        "id",
        "id DESC",
        "2, id DESC",
        "name DESC, id",
        "name COLLATE BINARY, id",
        "c, id",
        "c DESC, 1",
        "(city), 1",
        "city NULLS LAST, id",
        "city DESC NULLS FIRST, id",
        "city COLLATE NOCASE DESC, id",
        "credit * -1 + 3, id",
        "-credit",
        "name || id",
        "lower(city) DESC, abs(credit), id",
        "customers.credit",
        "+name, id",
        "CAST(name AS TEXT) DESC, id",
    ] {
        for limit in [
            "",
            " LIMIT 7",
            " LIMIT 5 OFFSET 9",
            " LIMIT -1 OFFSET 50",
            " LIMIT 0",
            " LIMIT 100 OFFSET 200",
        ] {
            let sql =
                format!("SELECT id, name, city AS c, * FROM customers ORDER BY {order}{limit}");
            shop.check_order(&sql);
        }
    }
    shop.check_order("SELECT total, id FROM orders ORDER BY total, id");
    shop.check_order("SELECT id FROM orders ORDER BY note, total DESC, id");
    shop.check_order("SELECT id FROM orders WHERE total > 20 ORDER BY id DESC LIMIT 3");
}

#[test]
fn tables_joined_by_their_keys_are_joined_on_each_shard() {
    let shop = pair(5, Options::default(), SHOP);
    for sql in [
        "SELECT name, total FROM customers c JOIN orders o ON o.customer_id = c.id ORDER BY o.id",
        "SELECT c.id, o.id FROM customers c LEFT JOIN orders o ON o.customer_id = c.id ORDER BY c.id, o.id LIMIT 20",
        "SELECT o.id FROM orders o, cities r, customers c WHERE r.name = c.city AND c.id = o.customer_id ORDER BY 1",
        "SELECT id FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND o.id > 90) ORDER BY id",
        "SELECT id, (SELECT max(o.id) FROM orders o WHERE o.customer_id = c.id) m FROM customers c ORDER BY id",
        "SELECT id FROM customers WHERE city IN (SELECT name FROM cities) ORDER BY id",
    ] {
        shop.check_order(sql);
    }
    for sql in [
        "SELECT c.id, o.id FROM customers c JOIN orders o ON o.id = c.id",
        "SELECT r.name, c.id FROM cities r LEFT JOIN customers c ON c.city = r.name",
        "SELECT c.id, o.id FROM orders o RIGHT JOIN customers c ON o.customer_id = c.id",
        "SELECT c.id FROM customers c LEFT JOIN orders o ON o.customer_id = c.id + 1",
        "SELECT id FROM customers WHERE id IN (SELECT id FROM orders)",
        "SELECT id FROM customers WHERE id = (SELECT max(id) FROM customers)",
        "SELECT * FROM (SELECT count(*) FROM customers)",
        "WITH q AS (SELECT count(*) n FROM customers) SELECT n FROM q",
        "SELECT id, row_number() OVER (ORDER BY id) FROM customers",
        "SELECT DISTINCT r.rowid FROM cities r JOIN customers c ON c.city = r.name",
    ] {
        shop.check_tier(Tier::Gather, sql);
    }
}

#[test]
fn groups_of_one_key_are_made_on_its_shard() {
    let shop = pair(5, Options::default(), SHOP);
    for sql in [
        "SELECT customer_id, count(*) n, sum(id) FROM orders GROUP BY customer_id HAVING n > 2 ORDER BY n DESC, customer_id LIMIT 5",
        "SELECT customer_id k, count(DISTINCT total) FROM orders GROUP BY k ORDER BY max(id)",
        "SELECT customer_id, note, count(*) FROM orders GROUP BY 1, 2 ORDER BY 1, 2, 3",
        "SELECT DISTINCT customer_id, note FROM orders ORDER BY 1, 2",
        "SELECT c.id, count(o.id) FROM customers c LEFT JOIN orders o ON o.customer_id = c.id GROUP BY c.id ORDER BY 2, 1",
    ] {
        shop.check_order(sql);
    }
}

#[test]
fn parts_of_a_union_all_are_merged_together() {
    let shop = pair(5, Options::default(), SHOP);
    shop.check_order(
        "SELECT id, name FROM customers UNION ALL SELECT id, note FROM orders ORDER BY 1, 2",
    );
    shop.check_order("SELECT 1, name n, id FROM customers UNION ALL SELECT 2, city, id FROM customers ORDER BY n DESC, id, 1 LIMIT 9");
    shop.check_tier(Tier::Gather, "SELECT id FROM customers UNION ALL SELECT 1");
    shop.check_tier(
        Tier::Gather,
        "SELECT id FROM customers EXCEPT SELECT id FROM orders",
    );
}

#[test]
fn values_of_every_kind_are_ordered_as_sqlite_orders_them() {
    let mixed = pair(4, Options::default(), MIXED);
    for (table, columns) in [
        ("numbers", ["i", "r", "n"]),
        ("texts", ["t", "c", "s"]),
        ("raw", ["id", "v", "v COLLATE NOCASE"]),
    ] {
        for column in columns {
            for direction in ["", " DESC", " NULLS LAST", " DESC NULLS FIRST"] {
                mixed.check_order(&format!(
                    "SELECT {column} FROM {table} ORDER BY 1{direction}, typeof(id), id"
                ));
            }
        }
    }
}

#[test]
fn parameters_reach_the_shards_whatever_they_are_called() {
    let shop = pair(3, Options::default(), SHOP);
    let values = |values: &[i64]| {
        values
            .iter()
            .map(|value| Value::from(*value))
            .collect::<Vec<_>>()
    };
    let sql = "SELECT id + ? FROM customers WHERE id > ? ORDER BY id % ?, id LIMIT ? OFFSET ?";
    let (found, expect, _) = shop.both(sql, &values(&[100, 4, 3, 8, 2]));
    assert_eq!((found.len(), &found), (8, &expect));
    assert_eq!(
        shop.db
            .explain(sql, &values(&[1, 1, 1, 1, 1]))
            .unwrap()
            .tier,
        Tier::Scatter
    );
    // SQLite says what a limit means that is no integer.
    let text = [Value::from(1), 1.into(), 1.into(), "2".into(), 0.into()];
    assert_eq!(shop.db.explain(sql, &text).unwrap().tier, Tier::Gather);
    shop.check_with(
        "SELECT id FROM customers ORDER BY id LIMIT ?1 + 1",
        &values(&[4]),
    );
    let named = [(":least", Value::from(55)), ("@more", Value::from(10))];
    let params = crate::Params::NONE.and_named(&named);
    let answer = shop.db.execute(
        "SELECT id + @more FROM customers WHERE id >= :least ORDER BY id DESC LIMIT 2",
        params,
    );
    assert_eq!(answer.unwrap().rows, [[Value::from(70)], [Value::from(69)]]);
    let missing = shop.db.execute(
        "SELECT id FROM customers WHERE id > ?1 AND city = ?2",
        &values(&[1]),
    );
    assert_eq!(missing.unwrap_err().code(), "PARAMETERS");
}

#[test]
fn only_the_shards_of_the_keys_are_asked() {
    let shop = pair(16, Options::default(), SHOP);
    let sql = "SELECT id FROM customers WHERE id IN (1, 2, 3) ORDER BY id";
    shop.check_order(sql);
    let answer = shop.db.execute(sql, ()).unwrap();
    assert!(answer.places.len() <= 3, "{:?}", answer.places);
}

#[test]
fn a_limit_stops_the_shards_before_they_have_sent_everything() {
    let rows = (0..10).map(|part| {
        format!("INSERT INTO t SELECT {part} * 2000 + i, i FROM (WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT i FROM n);")
    });
    let script = format!(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, x INT); {}",
        rows.collect::<String>()
    );
    let options = Options {
        limits: Limits {
            rows: 3_000,
            ..Limits::default()
        },
        ..Options::default()
    };
    let many = pair(3, options, &script);
    let first = many.db.execute("SELECT x FROM t LIMIT 5", ()).unwrap();
    assert_eq!((first.rows.len(), first.tier), (5, Tier::Scatter));
    many.check_order("SELECT x FROM t ORDER BY x DESC LIMIT 5 OFFSET 100");
    let error = many.db.execute("SELECT x FROM t", ()).unwrap_err();
    assert!(matches!(error, Error::LimitReached { .. }), "{error}");
    // What was left behind keeps nobody from changing the schema, or from ending the database.
    many.db.execute("CREATE INDEX by_x ON t(x)", ()).unwrap();
}

#[test]
fn a_shard_that_takes_too_long_is_stopped() {
    let options = Options {
        limits: Limits {
            time: std::time::Duration::from_millis(50),
            ..Limits::default()
        },
        ..Options::default()
    };
    let endless = pair(
        3,
        options,
        "CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3), (4), (5), (6);",
    );
    let sql = "SELECT id FROM t WHERE (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c) > 0";
    let error = endless.db.execute(sql, ()).unwrap_err();
    assert_eq!(error.code(), "OUT_OF_TIME", "{error}");
}

#[test]
fn an_error_of_a_shard_is_the_error_of_the_statement() {
    let shop = pair(3, Options::default(), SHOP);
    let error = shop
        .db
        .execute(
            "SELECT abs(id - 9223372036854775807 - 31) FROM customers",
            (),
        )
        .unwrap_err();
    assert_eq!(error.code(), "SQL_ERROR", "{error}");
}

#[test]
fn aggregates_of_the_shards_are_merged() {
    let shop = pair(5, Options::default(), SHOP);
    for sql in [
        "SELECT count(*), count(city), sum(id), total(id), avg(credit), min(name), max(credit) FROM customers",
        "SELECT count(*) + 1, -sum(id) * 2, coalesce(max(city), 'none') || '!' FROM customers WHERE id < 30",
        "SELECT count(*), sum(id), total(id), avg(id), min(id), max(id), group_concat(id) FROM customers WHERE id > 1000",
        "SELECT sum(total), avg(total), total(total), min(total), max(total), count(total) FROM orders",
        "SELECT sum(id) FILTER (WHERE total > 5), count(*) FILTER (WHERE note = 'n') FROM orders",
        "SELECT count(DISTINCT customer_id), sum(DISTINCT customer_id), min(DISTINCT total) FROM orders",
        "SELECT length(group_concat(name)), length(group_concat(name, ', ')) FROM customers",
        "SELECT count(*) FROM customers HAVING count(*) > 100",
        "SELECT max(c.credit), count(*) FROM customers c JOIN orders o ON o.customer_id = c.id",
        "SELECT min(name COLLATE BINARY), max(note) FROM customers c JOIN orders o ON o.customer_id = c.id WHERE note <> 'n '",
        "SELECT sum(NULL), avg('2x'), sum('3') FROM customers",
    ] {
        shop.check_tier(Tier::Scatter, sql);
    }
}

#[test]
fn groups_of_several_shards_are_merged() {
    let shop = pair(5, Options::default(), SHOP);
    for sql in [
        "SELECT city, count(*), sum(credit) FROM customers GROUP BY city ORDER BY 1",
        "SELECT city AS c, avg(credit) a FROM customers GROUP BY c HAVING a > 0 AND c <> 'x' ORDER BY a DESC, c LIMIT 2 OFFSET 1",
        "SELECT lower(name), count(*) FROM customers GROUP BY 1 ORDER BY count(*) DESC, 1",
        "SELECT note, max(id) FROM orders GROUP BY note HAVING note = 'n' ORDER BY note",
        "SELECT id % 3, city, count(*) FROM customers GROUP BY id % 3, city ORDER BY 2 NULLS LAST, id % 3 DESC",
        "SELECT CAST(city AS BLOB), count(*) FROM customers GROUP BY CAST(city AS BLOB) ORDER BY 1",
        "SELECT DISTINCT count(*) FROM customers GROUP BY name ORDER BY 1",
        "SELECT r.country, count(*), min(c.id) FROM customers c JOIN cities r ON r.name = c.city GROUP BY r.country ORDER BY 1",
        "SELECT typeof(total), count(*), sum(id) FROM orders GROUP BY typeof(total) HAVING sum(id) > '5' ORDER BY 1",
        "SELECT city IS NULL, CASE WHEN city IS NULL THEN 'no' ELSE city END, count(*) FROM customers GROUP BY city ORDER BY 3, 2",
        "SELECT id / 7 AS week, sum(credit) FROM customers GROUP BY week HAVING week BETWEEN 2 AND 5 ORDER BY week DESC",
        "SELECT upper(city) AS city, count(*) FROM customers GROUP BY customers.city COLLATE NOCASE",
    ] {
        let tier = if sql.starts_with("SELECT upper") {
            Tier::Gather
        } else {
            Tier::Scatter
        };
        shop.check_tier(tier, sql);
        if sql.contains("ORDER BY") {
            let (found, expect, _) = shop.both(sql, &[]);
            assert_eq!(found, expect, "{sql}");
        }
    }
}

#[test]
fn what_is_not_surely_exact_is_gathered() {
    let shop = pair(3, Options::default(), SHOP);
    for sql in [
        "SELECT count(DISTINCT city) FROM customers",
        "SELECT city, name, count(*) FROM customers GROUP BY city HAVING 0",
        "SELECT group_concat(id, ',' ORDER BY id) FROM customers",
        "SELECT group_concat(name, city) IS NULL FROM customers",
        "SELECT json_group_array(id) IS NULL FROM customers",
        "SELECT sum(id) FROM customers WHERE id < (SELECT max(id) FROM orders)",
        "SELECT city, sum(id) OVER () FROM customers",
        "SELECT max(id, (SELECT min(id) FROM cities)) FROM customers GROUP BY city HAVING 0",
        "SELECT count(*) FROM customers WHERE date('now') > '2000-01-01'",
        "SELECT count(*) FROM customers WHERE random() IS NOT NULL",
        "SELECT count(*) FROM customers GROUP BY city LIMIT (SELECT 2)",
    ] {
        let tier = shop.db.explain(sql, ()).unwrap().tier;
        if tier != Tier::Scatter || !sql.contains("LIMIT (") {
            assert_eq!(tier, Tier::Gather, "{sql}");
        }
    }
}

#[test]
fn keys_of_groups_are_compared_as_their_columns_are() {
    let mixed = pair(4, Options::default(), MIXED);
    for (table, columns) in [
        ("numbers", ["i", "r", "n"]),
        ("texts", ["t", "c", "s"]),
        ("raw", ["v", "+v", "CAST(v AS TEXT)"]),
    ] {
        for column in columns {
            for constant in [
                "1",
                "'1'",
                "x'31'",
                "'ABC'",
                "'a'",
                "2.5",
                "NULL",
                "CAST('1' AS INTEGER)",
            ] {
                for operator in ["=", "<", ">=", "IS", "<>"] {
                    mixed.check_tier(
                        Tier::Scatter,
                        &format!("SELECT {column} {operator} {constant}, count(*) FROM {table} GROUP BY {column}"),
                    );
                    mixed.check_tier(
                        Tier::Scatter,
                        &format!("SELECT count(*) FROM {table} GROUP BY {column} HAVING {column} {operator} {constant}"),
                    );
                    mixed.check_tier(
                        Tier::Scatter,
                        &format!(
                            "SELECT max({column}) {operator} {constant}, min({column}) FROM {table}"
                        ),
                    );
                }
            }
        }
    }
}

#[test]
fn equal_rows_of_several_shards_are_one() {
    let shop = pair(5, Options::default(), SHOP);
    for sql in [
        "SELECT DISTINCT city FROM customers ORDER BY 1",
        "SELECT DISTINCT city, lower(name) n FROM customers ORDER BY n DESC, city NULLS LAST LIMIT 4 OFFSET 2",
        "SELECT city FROM customers UNION SELECT name FROM cities ORDER BY 1",
        "SELECT id FROM customers UNION SELECT customer_id FROM orders ORDER BY 1 DESC LIMIT 10",
        "SELECT id % 4 AS i FROM customers UNION ALL SELECT 9 + id % 2 FROM orders UNION SELECT customer_id % 5 FROM orders ORDER BY i",
    ] {
        let tier = if sql.contains("FROM cities") {
            Tier::Gather
        } else {
            Tier::Scatter
        };
        shop.check_tier(tier, sql);
        let (found, expect, _) = shop.both(sql, &[]);
        assert_eq!(found, expect, "{sql}");
    }
    // The representative of equal texts is any of them.
    let names = shop
        .db
        .execute("SELECT DISTINCT name FROM customers", ())
        .unwrap();
    assert_eq!(names.rows.len(), 3);
    assert_eq!(names.tier, Tier::Scatter);
}

#[test]
fn sums_are_those_of_one_file() {
    let table = |values: &str| {
        format!("CREATE TABLE t(id INTEGER PRIMARY KEY, x); INSERT INTO t(id, x) VALUES {values};")
    };
    let largest = pair(
        8,
        Options::default(),
        &table("(1, 9223372036854775807), (2, 1), (3, 5), (4, 0), (5, 1), (6, 1), (7, 1), (8, 1)"),
    );
    for function in ["sum(x)", "sum(x) + 1"] {
        let error = largest
            .db
            .execute(&format!("SELECT {function} FROM t"), ())
            .unwrap_err();
        assert_eq!(error.code(), "SQL_ERROR", "{error}");
    }
    largest.check("SELECT total(x), avg(x) FROM t");
    // What one shard has cancels what another one has, and only the small rest is left.
    let cancelling = pair(
        8,
        Options::default(),
        &table(
            "(1, 1e20), (2, 0.5), (3, -1e20), (4, 0.25), (5, 1e20), (6, 3.0), (7, -1e20), (8, 1)",
        ),
    );
    for function in ["sum(x)", "total(x)", "avg(x)"] {
        cancelling.check(&format!("SELECT {function} FROM t"));
    }
    let infinite = pair(
        8,
        Options::default(),
        &table(
            "(1, 9e999), (2, -9e999), (3, 1), (4, 9e999), (5, 2.5), (6, NULL), (7, 'x'), (8, -0.0)",
        ),
    );
    for condition in [
        "1",
        "id > 1",
        "id > 2",
        "id > 4",
        "id = 8 OR id = 6",
        "id = 6",
        "id > 8",
    ] {
        infinite.check(&format!(
            "SELECT sum(x), total(x), avg(x), count(x) FROM t WHERE {condition}"
        ));
    }
}

#[test]
fn explain_shards_says_what_is_sent_where_and_why() {
    let shop = pair(2, Options::default(), SHOP);
    let shards = shop.db.shard_names().join(", ");
    let home = shop.db.locate(Some("customers"), 1).unwrap();
    let keyless = "customers is read without its shard key id";
    for (sql, expect) in [
        (
            "SELECT name FROM customers WHERE id = 1",
            format!(
                "single | {home} | SELECT name FROM customers WHERE id = 1 | the statement names the shard key"
            ),
        ),
        (
            "SELECT id FROM customers ORDER BY lower(name) LIMIT 3 OFFSET 1",
            format!(
                "scatter | {shards} | SELECT id, lower (name) FROM customers ORDER BY lower (name) LIMIT ?1 | {keyless}"
            ),
        ),
        (
            "SELECT city, avg(credit) FROM customers GROUP BY city HAVING count(*) > ?1",
            format!(
                "scatter | {shards} | SELECT city, total (credit), count (credit), count (*) FROM customers GROUP BY city | {keyless}\n\
                scatter | - | SELECT shardwright_0, shardwright_avg (shardwright_1, shardwright_2) FROM shardwright_parts GROUP BY shardwright_0 \
                HAVING shardwright_count (shardwright_3) > ?1 | it makes the answer of the rows that the shards give"
            ),
        ),
        (
            "DELETE FROM customers WHERE id = 1",
            format!(
                "single | {home} | DELETE FROM customers WHERE id = 1 | the shards whose rows it can reach"
            ),
        ),
        (
            "SELECT name FROM sqlite_schema",
            "schema |  | - | it reads the schema alone".to_owned(),
        ),
    ] {
        assert_eq!(explained(&shop, sql), expect, "{sql}");
    }
    let gathered = explained(&shop, "SELECT id, row_number() OVER () FROM customers");
    assert!(
        gathered.starts_with("gather | ") && gathered.contains("function"),
        "{gathered}"
    );
    let inserted = explained(
        &shop,
        "INSERT INTO customers(id) VALUES (1), (2), (3), (4), (5), (6)",
    );
    assert!(inserted.starts_with("broadcast | "), "{inserted}");
}

#[test]
fn explain_shards_runs_nothing() {
    let shop = pair(2, Options::default(), SHOP);
    // In a transaction it neither binds nor ends it, and what is refused is refused for the same reason.
    let mut session = shop.db.session();
    session.execute("BEGIN", ()).unwrap();
    session
        .execute("EXPLAIN SHARDS SELECT count(*) FROM customers", ())
        .unwrap();
    session
        .execute("UPDATE customers SET name = 'x' WHERE id = 1", ())
        .unwrap();
    session.execute("ROLLBACK", ()).unwrap();
    assert!(
        shop.db
            .only_reads("EXPLAIN SHARDS DELETE FROM customers")
            .unwrap()
    );
    assert!(
        !shop
            .db
            .needs_writer("EXPLAIN SHARDS DROP TABLE customers")
            .unwrap()
    );
    let described = shop
        .db
        .describe("EXPLAIN SHARDS SELECT :a FROM customers WHERE id = ?2")
        .unwrap();
    assert_eq!(
        (described.columns.len(), described.parameters.len()),
        (4, 2)
    );
    for wrong in [
        "EXPLAIN SHARDS",
        "EXPLAIN SHARDS SELECT nothing FROM nowhere",
        "EXPLAIN SHARDS EXPLAIN",
    ] {
        assert_eq!(
            shop.db.execute(wrong, ()).unwrap_err().code(),
            "SQL_ERROR",
            "{wrong}"
        );
    }
}

/// The rows of EXPLAIN SHARDS, as lines.
#[track_caller]
fn explained(shop: &Pair, sql: &str) -> String {
    let answer = shop
        .db
        .execute(&format!("EXPLAIN SHARDS {sql}"), ())
        .unwrap();
    let names: Vec<&str> = answer.columns.iter().map(|column| &*column.name).collect();
    assert_eq!(names, ["tier", "shards", "statement", "reason"]);
    let rows = answer.rows.iter().map(|row| {
        let cells = row
            .iter()
            .map(|value| value.as_str().unwrap_or("-").to_owned());
        cells.collect::<Vec<_>>().join(" | ")
    });
    rows.collect::<Vec<_>>().join("\n")
}
