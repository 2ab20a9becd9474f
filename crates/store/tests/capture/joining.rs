//! Files that take in the rows of others.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use shardwright_store::{Error, Join, Part, Replica, Seen, ShardFile, Value};

use crate::pair::{Pair, config, value};

const SCHEMA: [&str; 4] = [
    "CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE)",
    "CREATE TABLE trail (user_id INTEGER, what TEXT)",
    "CREATE TABLE tags (tag TEXT, user_id INTEGER, PRIMARY KEY (tag, user_id)) WITHOUT ROWID",
    "CREATE TABLE kinds (kind TEXT PRIMARY KEY)",
];

fn tables() -> Vec<String> {
    ["users", "trail", "tags"].map(str::to_owned).to_vec()
}

/// A pair with rows of some users.
fn pair(first: i64) -> Pair {
    let mut pair = Pair::after(&SCHEMA);
    pair.execute("INSERT INTO kinds VALUES ('old')");
    for id in first..first + 5 {
        pair.execute(&format!("INSERT INTO users VALUES ({id}, 'user {id}')"));
        pair.execute(&format!("INSERT INTO trail VALUES ({id}, 'came')"));
        pair.execute(&format!("INSERT INTO tags VALUES ('tag', {id})"));
    }
    pair
}

/// Writes all that the primary has into a file of its own.
fn whole(pair: &Pair) -> PathBuf {
    let path = pair.directory.path().join("whole.db");
    let part = Part {
        place: "shard-9",
        divided: &[],
        keeps: Arc::new(|_, _| true),
        without_notes: &["elastic."],
        remembers: &|outcome| Some(outcome.to_vec()),
        entries: &[],
    };
    let snapshot = pair.primary.snapshot().unwrap();
    let copied = pair.directory.path().join("copied.db");
    let copied = snapshot.whole_to(&copied, |_, _| ControlFlow::Continue(()));
    copied.unwrap().part_to(&path, &part).unwrap();
    path
}

/// Lets both files be what they are and the rows of another one.
fn join(one: &mut Pair, from: &Path) -> Result<(), Error> {
    let tables = tables();
    let what = Join {
        tables: &tables,
        shifts: "elastic.shift.",
        both: &|one, other| [one, b"+", other].concat(),
    };
    let next = one.next();
    for (file, id) in [(&mut one.primary, 7), (&mut one.copy, 8)] {
        let joined = one.directory.path().join("joined.db");
        file.snapshot()?.joined_to(&joined, from, &what)?;
        let replica = Replica {
            id: [id; 16],
            applied: next,
        };
        let path = one.directory.path().join(format!("next-{id}.db"));
        *file = ShardFile::install_at(&joined, path, &replica, &config())?;
    }
    one.applied = next;
    Ok(())
}

#[test]
fn a_file_that_takes_in_another_has_the_rows_of_both_and_follows_both() {
    let (mut one, mut other) = (pair(1), pair(101));
    let stream = [0xff, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2];
    one.remember(&[
        ([1; 16], 1, b"a".as_slice()),
        ([3; 16], 1, b"one"),
        (stream, 5, b"old"),
    ]);
    other.remember(&[
        ([1; 16], 1, b"b".as_slice()),
        ([4; 16], 1, b"other"),
        (stream, 6, b"new"),
    ]);
    one.execute("INSERT INTO _meta VALUES ('a.low', 1), ('a.high', 9), ('a.text', 'one')");
    other.execute("INSERT INTO _meta VALUES ('a.low', 5), ('a.high', 2), ('a.text', 'other')");
    let whole = whole(&other);
    join(&mut one, &whole).unwrap();
    one.compare();
    let shift = value(
        &one.primary,
        "SELECT value FROM _meta WHERE key = 'elastic.shift.trail'",
    );
    let shift = shift.as_i64().unwrap();
    let notes = value(
        &one.primary,
        "SELECT group_concat(value) FROM (SELECT value FROM _meta WHERE key LIKE 'a.%' ORDER BY key)",
    );
    assert_eq!(notes, Value::from("9,5,one"));
    let known = |outcome: &[u8]| Seen::Known(outcome.to_vec());
    for (client, expected) in [
        ([1; 16], b"a+b".as_slice()),
        ([3; 16], b"one"),
        ([4; 16], b"other"),
    ] {
        assert_eq!(one.primary.find(&client, 1).unwrap(), known(expected));
    }
    let last = one.primary.snapshot().unwrap().last_of(&stream).unwrap();
    assert_eq!(last, Some((6, b"new".to_vec())));
    go_on(&mut one, &mut other, shift);
    one.compare();
    let count = |sql: &str| value(&one.primary, sql).as_i64();
    assert_eq!(count("SELECT count(*) FROM users"), Some(11));
    assert_eq!(
        count("SELECT count(*) FROM trail WHERE user_id < 100"),
        Some(5 + 6)
    );
    assert_eq!(
        count("SELECT count(*) FROM trail WHERE user_id > 100"),
        Some(6)
    );
    assert_eq!(
        count("SELECT count(*) FROM trail WHERE what = 'stayed'"),
        Some(2)
    );
    assert_eq!(count("SELECT count(*) FROM tags"), Some(10));
    assert_eq!(count("SELECT count(*) FROM kinds"), Some(1));
    assert_eq!(count("PRAGMA user_version"), Some(0));
    one.execute("INSERT INTO users (name) VALUES ('the last')");
    let last = value(&one.primary, "SELECT max(id) FROM users");
    assert_eq!(last, Value::from(107));
}

/// Both files go on, and the one that has taken in the other follows it.
fn go_on(one: &mut Pair, other: &mut Pair, shift: i64) {
    for sql in [
        "INSERT INTO trail VALUES (101, 'went'), (102, 'went')",
        "UPDATE trail SET what = 'stayed' WHERE rowid <= 2",
        "DELETE FROM trail WHERE user_id = 103",
        "INSERT INTO users (name) VALUES ('the next')",
        "INSERT INTO kinds VALUES ('new')",
        "PRAGMA user_version = 3",
    ] {
        let changes = other.execute(sql).only(|table| match table.name.as_str() {
            "trail" => Some(shift),
            name => tables().contains(&name.to_owned()).then_some(0),
        });
        let next = one.next();
        for file in [&one.primary, &one.copy] {
            file.writer().unwrap().apply(next, &changes, &[]).unwrap();
        }
        one.applied = next;
        // The file that it was goes on as well.
        one.execute("INSERT INTO trail VALUES (1, 'here')");
    }
}

#[test]
fn a_row_that_is_in_both_files_is_refused_and_nothing_is_taken_in() {
    let (mut one, other) = (pair(1), pair(3));
    let whole = whole(&other);
    let refused = join(&mut one, &whole);
    assert!(
        matches!(refused, Err(Error::Constraint { .. })),
        "{refused:?}"
    );
    assert!(!one.directory.path().join("joined.db").exists());
    one.compare();
    assert_eq!(
        value(&one.primary, "SELECT count(*) FROM users"),
        Value::from(5)
    );
    one.execute("INSERT INTO trail VALUES (1, 'goes on')");
}
