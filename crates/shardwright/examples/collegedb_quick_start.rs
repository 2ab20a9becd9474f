//! The quick start of CollegeDB's documentation: rows routed by key over several databases.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use shardwright::sql::{CreateOptions, ShardedDatabase, Value};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let create = CreateOptions {
        shards: 3,
        ..CreateOptions::default()
    };
    let db = ShardedDatabase::create(directory.path().join("college"), &create)?;
    db.execute(
        "CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT, email TEXT UNIQUE)",
        (),
    )?;

    // Insert data: the key decides on which shard.
    let insert = "INSERT INTO users (id, name, email) VALUES (?1, ?2, ?3)";
    for (id, name, email) in [
        ("user-123", "Johnson", "alice@example.com"),
        ("user-456", "Smith", "bob@example.com"),
    ] {
        db.run(
            id,
            insert,
            &[Value::from(id), Value::from(name), Value::from(email)],
        )?;
        println!("{id} lives on {}", db.locate(None, id)?);
    }

    // Query data by its key, on that shard alone.
    let select = "SELECT * FROM users WHERE id = ?1";
    let user = db.first("user-456", select, &[Value::from("user-456")])?;
    println!("found {:?}", user.as_ref().and_then(|row| row[1].as_str()));
    assert!(user.is_some());

    // On every shard, each with its own result.
    for found in db.all_all_shards("SELECT count(*) FROM users", ()) {
        println!(
            "{} holds {:?} users",
            found.shard,
            found.result?[0][0].as_i64()
        );
    }

    // And without a key: the answer of one database with all rows.
    let answer = db.execute("SELECT name FROM users ORDER BY name LIMIT 1", ())?;
    assert_eq!(answer.rows, [[Value::from("Johnson")]]);
    Ok(())
}
