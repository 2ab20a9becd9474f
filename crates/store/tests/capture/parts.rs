//! Parts of a file's rows as files of their own, and what later changes of the whole mean for them.

use std::{ops::ControlFlow, sync::Arc};

use shardwright_store::{
    Applied, ChangeSet, DividedTable, Entry, Error, Part, Replica, Seen, ShardFile, Thoroughness,
    Value, ValueRef,
};

use crate::pair::{Pair, config, value};

/// The column that decides, of each divided table.
const DIVIDED: [(&str, &str); 5] = [
    ("users", "id"),
    ("orders", "user_id"),
    ("trail", "user_id"),
    ("tags", "user_id"),
    ("hidden", "user_id"),
];

const SCHEMA: [&str; 13] = [
    "CREATE TABLE numbers (value INTEGER PRIMARY KEY)",
    "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT UNIQUE)",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER REFERENCES users ON DELETE CASCADE, total REAL, \
     twice AS (total * 2))",
    "CREATE TABLE trail (user_id INTEGER, what TEXT)",
    "CREATE TABLE tags (tag TEXT, user_id INTEGER, PRIMARY KEY (tag, user_id)) WITHOUT ROWID",
    "CREATE TABLE kinds (kind TEXT PRIMARY KEY)",
    "CREATE INDEX by_user ON orders (user_id, total)",
    "CREATE TRIGGER noted AFTER INSERT ON orders BEGIN INSERT INTO trail VALUES (new.user_id, 'ordered'); END",
    "CREATE TABLE hidden (rowid TEXT, user_id INTEGER, \"a \"\" b\" ANY CHECK (user_id <> 30)) STRICT",
    "CREATE INDEX some ON hidden (lower(rowid), user_id DESC) WHERE user_id > 3",
    "CREATE VIEW of_users AS SELECT u.id, h.rowid FROM users AS u JOIN hidden AS h ON h.user_id = u.id",
    "CREATE TRIGGER unseen INSTEAD OF INSERT ON of_users BEGIN SELECT new.id; END",
    "INSERT INTO _meta VALUES ('sql.number', 7), ('elastic.of', 'an operation')",
];

const FIRST: [&str; 12] = [
    "INSERT INTO numbers WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 100) SELECT value FROM n",
    "INSERT INTO users SELECT value, 'user ' || value FROM numbers WHERE value <= 40",
    "INSERT INTO orders (user_id, total) SELECT 1 + value % 40, value * 1.5 FROM numbers WHERE value <= 100",
    "INSERT INTO tags SELECT 'tag ' || value, 1 + value % 40 FROM numbers WHERE value <= 60",
    "INSERT INTO kinds VALUES ('old'), ('new')",
    "DELETE FROM trail WHERE rowid % 3 = 0",
    "DELETE FROM users WHERE id % 10 = 0",
    "INSERT INTO hidden SELECT 'h' || value, value % 40, x'00' FROM numbers WHERE value % 40 <> 30",
    "DELETE FROM hidden WHERE user_id = 7",
    "ALTER TABLE hidden ADD COLUMN later INTEGER DEFAULT 7",
    "UPDATE sqlite_sequence SET seq = 1000 WHERE name = 'orders'",
    "ANALYZE",
];

const LATER: [&str; 9] = [
    "INSERT INTO users VALUES (41, 'later'), (42, 'latest'), (NULL, 'last')",
    "INSERT INTO orders (user_id, total) VALUES (41, 1), (42, 2), (3, 3)",
    "UPDATE orders SET total = total + 1 WHERE id % 7 = 0",
    "UPDATE trail SET what = 'seen' WHERE rowid % 5 = 0",
    // Some come to a part by that, and some go.
    "UPDATE tags SET user_id = user_id + 1 WHERE user_id BETWEEN 11 AND 14",
    "DELETE FROM users WHERE id IN (5, 6)",
    "INSERT OR REPLACE INTO users VALUES (7, 'user 8')",
    "UPDATE kinds SET kind = 'older' WHERE kind = 'old'",
    "PRAGMA user_version = 9",
];

fn is_even(key: ValueRef<'_>) -> bool {
    key.as_i64().is_none_or(|key| key % 2 == 0)
}

fn divided() -> Vec<DividedTable> {
    let table = |(name, column): (&str, &str)| DividedTable {
        name: name.to_owned(),
        column: column.to_owned(),
    };
    DIVIDED.map(table).to_vec()
}

/// Which stored column decides.
fn stored(table: &str) -> Option<usize> {
    match table {
        "users" | "trail" => Some(0),
        "orders" | "tags" | "hidden" => Some(1),
        _ => None,
    }
}

/// The rows of a table that belong to a part, with their rowids.
fn rows(file: &ShardFile, table: &str, condition: &str) -> Vec<Vec<Value>> {
    let rowid = match table {
        "tags" => "",
        _ => "_rowid_, ",
    };
    let sql = format!("SELECT {rowid}* FROM {table} WHERE {condition} ORDER BY 1, 2");
    let mut rows = Vec::new();
    let mut reader = file.reader().unwrap();
    let _all = reader
        .query(&sql, (), |row| {
            rows.push(row.to_values());
            ControlFlow::<()>::Continue(())
        })
        .unwrap();
    rows
}

#[track_caller]
fn compare(whole: &ShardFile, part: &ShardFile, is_even: bool) {
    let rest = i32::from(!is_even);
    for (table, column) in DIVIDED {
        let here = format!("{column} % 2 = {rest}");
        assert_eq!(rows(whole, table, &here), rows(part, table, "1"), "{table}");
    }
    for table in ["kinds", "sqlite_sequence", "sqlite_stat1"] {
        assert_eq!(rows(whole, table, "1"), rows(part, table, "1"), "{table}");
    }
    let schema = |file| {
        let all = "SELECT group_concat(type || name || coalesce(sql, '')) FROM (SELECT * FROM sqlite_schema ORDER BY type, name)";
        value(file, all)
    };
    assert_eq!(schema(whole), schema(part));
    let version = |file| value(file, "PRAGMA user_version");
    assert_eq!(version(whole), version(part));
    let check = part.snapshot().unwrap().check(Thoroughness::Full).unwrap();
    assert_eq!(check, Vec::<String>::new());
}

/// Makes a part of the primary's file, and checks it.
fn part_of(pair: &Pair, client: [u8; 16], even: bool) -> (ShardFile, Applied, bool) {
    let path = pair.directory.path().join(format!("part-{even}.db"));
    let divided = divided();
    let part = Part {
        place: if even { "shard-1" } else { "shard-2" },
        divided: &divided,
        keeps: Arc::new(move |_, key| is_even(key) == even),
        without_notes: &["elastic."],
        remembers: &|outcome| (outcome.len() % 2 == usize::from(!even)).then(|| outcome.to_vec()),
        entries: &[Entry {
            client,
            sequence: 12,
            outcome: &[],
        }],
    };
    let snapshot = pair.primary.snapshot().unwrap();
    let go_on = |_, _| ControlFlow::Continue(());
    let whole = pair.directory.path().join("whole.db");
    let whole = snapshot.whole_to(&whole, go_on).unwrap();
    let made = whole.part_to(&path, &part).unwrap();
    // The same again is the same, from another copy too.
    let again = pair.directory.path().join(format!("again-{even}.db"));
    let snapshot = pair.copy.snapshot().unwrap();
    let other = pair.directory.path().join("other-whole.db");
    let other = snapshot.whole_to(&other, go_on).unwrap();
    assert_eq!(other.part_to(&again, &part).unwrap(), made);
    for beside in ["-wal", "-shm", "-journal", "-whole"] {
        let left = pair
            .directory
            .path()
            .join(format!("again-{even}.db{beside}"));
        assert!(!left.exists(), "{left:?} is left beside a part");
    }
    let replica = Replica {
        id: [9; 16],
        applied: Applied {
            epoch: 3,
            lsn: 2,
            hash: [5; 32],
        },
    };
    let home = pair.directory.path().join(format!("home-{even}.db"));
    let file = ShardFile::install_at(&path, home, &replica, &config()).unwrap();
    assert_eq!(file.replica().unwrap(), Some(replica));
    assert_eq!(file.identity().place, part.place);
    let last = file.snapshot().unwrap().last_of(&client).unwrap();
    assert_eq!(last, Some((12, Vec::new())));
    let notes = value(
        &file,
        "SELECT group_concat(key) FROM _meta WHERE key LIKE '%.%'",
    );
    assert_eq!(notes, Value::from("sql.number"));
    let found = [4, 5].map(|number| file.find(&[1; 16], number).unwrap());
    let known = |outcome: &[u8]| Seen::Known(outcome.to_vec());
    let expected = match even {
        true => [known(b"even"), Seen::New],
        false => [Seen::New, known(b"odds!")],
    };
    assert_eq!(found, expected);
    let stream = [0xff, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2];
    let last = file.snapshot().unwrap().last_of(&stream).unwrap();
    assert_eq!(last, even.then(|| (6, b"even".to_vec())));
    compare(&pair.primary, &file, even);
    (file, replica.applied, even)
}

#[test]
fn parts_have_their_rows_and_follow_the_whole() {
    let first: Vec<&str> = SCHEMA.iter().chain(&FIRST).copied().collect();
    let mut pair = Pair::after(&first);
    let client = [0xff; 16];
    pair.remember(&[
        ([1; 16], 4, b"even".as_slice()),
        ([1; 16], 5, b"odds!"),
        (
            [0xff, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2],
            6,
            b"even",
        ),
    ]);
    let mut parts = [true, false].map(|even| part_of(&pair, client, even));
    for sql in LATER {
        let changes = pair.execute(sql);
        for (file, applied, even) in &mut parts {
            let even = *even;
            let mine = changes.filter(|table, row| {
                let key = stored(&table.name).and_then(|key| row.into_iter().nth(key));
                key.is_none_or(|key| is_even(key) == even)
            });
            let mine = ChangeSet::joined([&ChangeSet::default(), &mine, &ChangeSet::default()]);
            let mine = ChangeSet::from_bytes(mine.into_bytes()).unwrap();
            applied.lsn += 1;
            file.writer().unwrap().apply(*applied, &mine, &[]).unwrap();
            compare(&pair.primary, file, even);
        }
    }
}

#[test]
fn a_part_of_a_table_that_is_not_there_leaves_nothing_behind() {
    let pair = Pair::after(&["CREATE TABLE t (a)"]);
    let path = pair.directory.path().join("part.db");
    let divided = divided();
    let part = Part {
        place: "shard-1",
        divided: &divided,
        keeps: Arc::new(|_, _| true),
        without_notes: &[],
        remembers: &|outcome| Some(outcome.to_vec()),
        entries: &[],
    };
    let snapshot = pair.primary.snapshot().unwrap();
    let whole = pair.directory.path().join("part-whole.db");
    let whole = snapshot
        .whole_to(&whole, |_, _| ControlFlow::Continue(()))
        .unwrap();
    let made = whole.part_to(&path, &part);
    drop(whole);
    assert!(matches!(made, Err(Error::Sql { .. })), "{made:?}");
    let left = std::fs::read_dir(pair.directory.path()).unwrap();
    let left = left.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    assert_eq!(left.filter(|name| name.starts_with("part")).count(), 0);
}

#[test]
fn joined_changes_are_applied_one_after_the_other() {
    let mut pair = Pair::after(&["CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE)"]);
    let before = pair.applied;
    let copy = pair.directory.path().join("other.db");
    let go_on = |_, _| ControlFlow::Continue(());
    pair.primary
        .snapshot()
        .unwrap()
        .copy_to(&copy, go_on)
        .unwrap();
    let sets = [
        "INSERT INTO t VALUES (1, 'x'), (2, 'y')",
        "DELETE FROM t WHERE id = 1",
        "INSERT INTO t VALUES (3, 'x')",
        "UPDATE t SET a = 'z' WHERE id = 3",
    ]
    .map(|sql| pair.execute(sql));
    assert!(sets.iter().all(|changes| !changes.changes_schema()));
    let file = ShardFile::open(&copy, &config()).unwrap();
    let next = Applied {
        lsn: before.lsn + 1,
        ..before
    };
    let joined = ChangeSet::joined(&sets);
    file.writer().unwrap().apply(next, &joined, &[]).unwrap();
    assert_eq!(rows(&file, "t", "1"), rows(&pair.primary, "t", "1"));
    assert!(pair.execute("CREATE TABLE u (a)").changes_schema());
}
