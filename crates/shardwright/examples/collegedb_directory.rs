//! CollegeDB's location strategy, lookup keys and reassignment, on a file of users that exists already.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use shardwright::{
    hashing::{
        Region,
        allocation::{AllocationStrategy, ShardLocation},
    },
    sql::{
        Allocation, Options, ShardedDatabase, Strategy, Value,
        adopt::{AdoptOptions, import},
    },
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let existing = directory.path().join("users.db");
    let file = rusqlite::Connection::open(&existing)?;
    file.execute_batch(
        "CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT, location TEXT);
         INSERT INTO users VALUES ('existing-user-456', 'Johnson', 'Berlin')",
    )?;
    drop(file);

    // An existing file becomes the database; it is only read.
    let path = directory.path().join("college");
    import(&existing, &path, 3, &AdoptOptions::default(), &mut |_| {})?;

    // New users go near their readers; where a row lives is never decided by a read.
    let at = |region, priority| ShardLocation { region, priority };
    let options = Options {
        directory: Some(Allocation {
            strategy: Strategy::Mixed {
                read: AllocationStrategy::Hash,
                write: AllocationStrategy::Location,
            },
            target_region: Some(Region::Wnam),
            shard_locations: [
                ("shard-0".to_owned(), at(Region::Wnam, 2.0)),
                ("shard-1".to_owned(), at(Region::Enam, 1.0)),
                ("shard-2".to_owned(), at(Region::Weur, 0.5)),
            ]
            .into(),
            ..Allocation::default()
        }),
        ..Options::default()
    };
    let db = ShardedDatabase::open(&path, &options)?;
    let insert = "INSERT INTO users (id, name, location) VALUES (?1, ?2, ?3)";
    let user = ["user-west-123", "West Coast User", "California"].map(Value::from);
    db.run("user-west-123", insert, &user)?;
    assert_eq!(db.locate(None, "user-west-123")?, "shard-0");

    // Other names lead to the same record.
    db.add_lookup_keys(None, "user-west-123", &["email:jane@example.com"])?;
    let select = "SELECT name FROM users WHERE id = ?1";
    let found = db.first_by_lookup(None, "email:jane@example.com", select, &user[..1])?;
    println!("found {:?}", found.as_ref().and_then(|row| row[0].as_str()));
    assert!(found.is_some());

    // A user moves, with all rows of the same key.
    let moved = db.reassign_shard(None, "existing-user-456", "shard-1")?;
    println!("rows: {}, from {} to {}", moved.rows, moved.from, moved.to);
    let id = Value::from("existing-user-456");
    assert!(db.first("existing-user-456", select, &[id])?.is_some());
    for shard in db.shard_stats()? {
        println!(
            "{} has {} keys and {} rows",
            shard.name, shard.keys, shard.rows
        );
    }
    Ok(())
}
