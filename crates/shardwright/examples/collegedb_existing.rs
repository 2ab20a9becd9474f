//! Two databases with rows become the shards of one, in place, beside a new shard; and are given back.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::path::Path;

use shardwright::sql::{
    Options, ShardedDatabase, Value,
    adopt::{AttachOptions, ShardSource, attach, detach, inspect_attach, primary_keys},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let (users, orders) = (
        directory.path().join("users.db"),
        directory.path().join("orders.db"),
    );
    fill(
        &users,
        "CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT);
         INSERT INTO users VALUES ('user-from-old-db', 'Johnson')",
    )?;
    fill(
        &orders,
        "CREATE TABLE orders(order_id INTEGER PRIMARY KEY, user_id TEXT, total REAL);
         INSERT INTO orders VALUES (7, 'user-from-old-db', 10.5)",
    )?;
    println!("{:?}", primary_keys(&orders, "orders", None)?);

    // What would happen, and what is in the way. Nothing changes.
    let shard = |name: &str, file: Option<&Path>| ShardSource {
        name: name.to_owned(),
        file: file.map(Path::to_path_buf),
    };
    let shards = [
        shard("db-users", Some(&users)),
        shard("db-orders", Some(&orders)),
        shard("db-new", None),
    ];
    let options = AttachOptions::default();
    let report = inspect_attach(&shards, &options)?;
    assert!(report.problems.is_empty(), "{:?}", report.problems);

    // Existing rows are found at once, each where it was, and new ones are spread over all shards.
    let college = directory.path().join("college");
    attach(&college, &shards, &options)?;
    let db = ShardedDatabase::open(&college, &Options::default())?;
    let select = "SELECT name FROM users WHERE id = ?1";
    let id = "user-from-old-db";
    let found = db.first(id, select, &[Value::from(id)])?;
    assert!(found.is_some());
    assert_eq!(db.locate(Some("users"), id)?, "db-users");
    let insert = "INSERT INTO users VALUES (?1, 'New User')";
    db.run("new-user-123", insert, &[Value::from("new-user-123")])?;
    let home = db.locate(Some("users"), "new-user-123")?;
    println!("the new user is on {home}");
    if home != "db-users" {
        // The files cannot be given back while another one has rows that would be lost.
        db.reassign_shard(Some("users"), "new-user-123", "db-users")?;
    }
    db.close()?;

    detach(&college)?;
    let file = rusqlite::Connection::open(&users)?;
    let rows: i64 = file.query_row("SELECT count(*) FROM users", (), |row| row.get(0))?;
    assert_eq!(rows, 2);
    Ok(())
}

fn fill(path: &Path, script: &str) -> rusqlite::Result<()> {
    rusqlite::Connection::open(path)?.execute_batch(script)
}
