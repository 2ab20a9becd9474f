//! A database is put together from files and an outline.

use std::{fs, path::Path, sync::Arc};

use crate::{CreateOptions, Error, Layout, Options, ShardedDatabase, Value, backup, shards::Place};

/// A directory with rows on several shards.
fn filled(path: &Path) -> ShardedDatabase {
    let database = ShardedDatabase::create(path, &CreateOptions::default()).unwrap();
    for sql in [
        "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT)",
        "CREATE TABLE codes(code TEXT PRIMARY KEY) /* shardwright: reference */",
        "INSERT INTO codes VALUES ('a')",
    ] {
        database.execute(sql, ()).unwrap();
    }
    for id in 0..40 {
        let sql = format!("INSERT INTO users VALUES ({id}, 'name {id}')");
        database.execute(&sql, ()).unwrap();
    }
    database
}

#[test]
fn files_and_an_outline_are_a_database_that_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    let database = filled(&from);
    let point = database.restore_point().unwrap();
    let outline = point.outline().clone();
    let names: Vec<String> = point.places().map(|(_, name)| name.to_owned()).collect();
    assert_eq!(names.last().map(String::as_str), Some("catalog"));
    assert_eq!(names.len(), database.shard_count() + 1);
    drop(point);
    // What all files say that they belong to.
    let identity = database.places().query_row(
        Place::Catalog,
        crate::shards::Call::new("SELECT value FROM main._meta WHERE key = 'database'", ()),
        |row| row.get(0).to_value(),
    );
    let identity = identity.unwrap().unwrap();
    database.close().unwrap();
    let (source, target) = (Layout::of(&from), Layout::of(&to));
    fs::create_dir(&to).unwrap();
    let text = serde_json::to_string(&outline).unwrap();
    let outline = serde_json::from_str(&text).unwrap();
    let missing = backup::complete(&target, identity.as_str().unwrap(), &outline);
    assert!(
        matches!(missing, Err(Error::MissingFile { .. })),
        "{missing:?}"
    );
    for name in &names {
        fs::copy(source.shard(name), target.shard(name)).unwrap();
    }
    backup::complete(&target, identity.as_str().unwrap(), &outline).unwrap();
    let again = backup::complete(&target, identity.as_str().unwrap(), &outline);
    assert!(matches!(again, Err(Error::NotEmpty { .. })), "{again:?}");
    let restored = ShardedDatabase::open(&to, &Options::default()).unwrap();
    assert_eq!(restored.broadcast_number(), outline.number);
    // A change of all places goes on with the next number.
    restored
        .execute("INSERT INTO codes VALUES ('b')", ())
        .unwrap();
    restored
        .execute("ALTER TABLE users ADD COLUMN age INT", ())
        .unwrap();
    let counted =
        "SELECT (SELECT count(*) FROM users WHERE age IS NULL), (SELECT count(*) FROM codes)";
    let answer = restored.execute(counted, ()).unwrap();
    assert_eq!(answer.rows, [[Value::from(40), Value::from(2)]]);
}

#[test]
fn the_files_of_a_directory_are_not_given_piece_by_piece() {
    let directory = tempfile::tempdir().unwrap();
    let database = filled(&directory.path().join("from"));
    let places = Arc::clone(&database.places());
    assert_eq!(places.count(), database.shard_count());
    let point = database.restore_point().unwrap();
    let refused = point.file(Place::Shard(0)).unwrap_err();
    assert_eq!(refused.code(), "UNSUPPORTED");
    assert!(refused.hint().is_some());
}
