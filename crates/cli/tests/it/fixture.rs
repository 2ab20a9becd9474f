//! A small shop as an SQLite file, and directories that go away after a test.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;

use crate::command::{Run, run};

const SHOP: &str = "
    CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT);
    CREATE TABLE orders (
      id INTEGER PRIMARY KEY,
      customer_id INTEGER NOT NULL REFERENCES customers (id),
      amount REAL NOT NULL
    );
    CREATE INDEX orders_by_customer ON orders (customer_id);
    CREATE TABLE countries (code TEXT PRIMARY KEY, name TEXT);
    CREATE TABLE notes (text, mark BLOB);
    CREATE VIEW totals AS
      SELECT customer_id, sum(amount) AS total FROM orders GROUP BY customer_id;
    INSERT INTO countries VALUES ('ch', 'Switzerland'), ('fr', 'France');
    INSERT INTO notes VALUES ('first', x'00ff'), (NULL, NULL), ('first', x'00ff');
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
      INSERT INTO customers
      SELECT i, 'customer ' || i, CASE i % 3 WHEN 0 THEN 'ch' WHEN 1 THEN 'fr' END FROM n;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
      INSERT INTO orders SELECT i, 1 + i * 7 % 40, i * 1.5 FROM n;
";

/// A directory for one test, with a shop in it.
#[derive(Debug)]
pub(crate) struct Fixture {
    directory: TempDir,
}

impl Fixture {
    /// A directory that holds `shop.db`.
    pub(crate) fn new() -> Self {
        let fixture = Self {
            directory: tempfile::tempdir().expect("make a directory"),
        };
        fixture.create("shop.db", SHOP);
        fixture
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The same as text, for command lines.
    pub(crate) fn arg(&self, name: &str) -> String {
        self.path(name)
            .to_str()
            .expect("temporary paths are UTF-8")
            .to_owned()
    }

    /// Makes an SQLite file of these statements.
    pub(crate) fn create(&self, name: &str, sql: &str) -> PathBuf {
        let path = self.path(name);
        Connection::open(&path)
            .and_then(|file| file.execute_batch(sql))
            .expect("make a file");
        path
    }

    /// Imports a file of the directory into `name` of it, over 4 shards.
    #[track_caller]
    pub(crate) fn import(&self, file: &str, name: &str, more: &[&str]) -> Run {
        let (file, into) = (self.arg(file), self.arg(name));
        let arguments = ["import", &file, "--into", &into, "--shards", "4"];
        run(arguments.iter().chain(more))
    }

    /// A directory with the shop imported, as `shop`, and its path.
    #[track_caller]
    pub(crate) fn imported() -> (Self, String) {
        let fixture = Self::new();
        fixture.import("shop.db", "shop", &[]).success();
        let shop = fixture.arg("shop");
        (fixture, shop)
    }
}

/// One JSON line of each statement.
#[track_caller]
pub(crate) fn ask(database: &str, sql: &str) -> String {
    run(["sql", database, "-o", "json", "-e", sql]).success()
}

/// Whether nothing was made at `path`, or only an empty directory.
pub(crate) fn is_absent_or_empty(path: &Path) -> bool {
    path.read_dir()
        .map_or(!path.exists(), |mut entries| entries.next().is_none())
}

/// Every table's rows in a definite order, and the schema, of an SQLite file.
pub(crate) fn contents(path: &Path) -> Vec<String> {
    let file = Connection::open(path).expect("open an SQLite file");
    let schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema
                  WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1, 2";
    let mut lines = rows(&file, schema);
    let tables = "SELECT name FROM sqlite_schema
                  WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1";
    let mut statement = file.prepare(tables).expect("list the tables");
    let names: Vec<String> = statement
        .query_map([], |row| row.get(0))
        .and_then(Iterator::collect)
        .expect("read the tables' names");
    for name in names {
        let mut of_table = rows(&file, &format!("SELECT * FROM \"{name}\""));
        of_table.sort();
        lines.push(format!("{name}: {} rows", of_table.len()));
        lines.extend(of_table);
    }
    lines
}

fn rows(file: &Connection, sql: &str) -> Vec<String> {
    let mut statement = file.prepare(sql).expect("prepare a query");
    let width = statement.column_count();
    statement
        .query_map([], |row| {
            let values = (0..width).map(|index| row.get_ref(index));
            Ok(format!("{:?}", values.collect::<Result<Vec<_>, _>>()?))
        })
        .and_then(Iterator::collect)
        .expect("run a query")
}
