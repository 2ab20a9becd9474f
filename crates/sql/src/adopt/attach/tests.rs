//! Adoption in place, on files as their owners make them.

use std::{fs, path::PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::Value;

const SCHEMA: &str = "CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT, email TEXT UNIQUE);
    CREATE TABLE posts(id INTEGER PRIMARY KEY AUTOINCREMENT, user_id TEXT NOT NULL REFERENCES users(id), text TEXT);
    CREATE INDEX posts_of ON posts(user_id);";

/// Two files: users with posts in each, and one table that only the second has.
struct Files {
    home: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            home: tempfile::tempdir().unwrap(),
        };
        for (name, first) in [("east", 0), ("west", 100)] {
            let script: String = (first..first + 20)
                .map(|n| {
                    format!(
                        "INSERT INTO users VALUES ('u{n}', 'name {n}', 'u{n}@example.com');
                         INSERT INTO posts(id, user_id, text) VALUES ({n} + 1, 'u{n}', 'post {n}');"
                    )
                })
                .collect();
            files.run(name, &format!("{SCHEMA} BEGIN; {script} COMMIT"));
        }
        files.run(
            "west",
            "CREATE TABLE orders(no INTEGER PRIMARY KEY, total REAL);
            INSERT INTO orders VALUES (7, 10.5), (8, 1.5);
            CREATE VIEW totals AS SELECT sum(total) FROM orders",
        );
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(format!("{name}.sqlite"))
    }

    fn run(&self, name: &str, sql: &str) {
        let sqlite = Connection::open(self.path(name)).unwrap();
        sqlite.execute_batch(sql).unwrap();
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("college")
    }

    /// The two files and an empty shard.
    fn sources(&self) -> [ShardSource; 3] {
        [
            ("db-east", Some("east")),
            ("db-west", Some("west")),
            ("db-new", None),
        ]
        .map(|(name, file)| ShardSource {
            name: name.to_owned(),
            file: file.map(|file| self.path(file)),
        })
    }

    /// Everything that the files say of themselves, and all their rows.
    fn contents(&self) -> Vec<String> {
        ["east", "west"]
            .iter()
            .flat_map(|name| {
                let sqlite = Connection::open(self.path(name)).unwrap();
                let mut all = rows(
                    &sqlite,
                    "SELECT type, name, sql FROM sqlite_schema ORDER BY name",
                );
                all.extend(rows(
                    &sqlite,
                    "SELECT id, name, email FROM users ORDER BY id",
                ));
                all.extend(rows(
                    &sqlite,
                    "SELECT id, user_id, text FROM posts ORDER BY id",
                ));
                all.extend(rows(
                    &sqlite,
                    "SELECT journal_mode, 1, 1 FROM pragma_journal_mode",
                ));
                all
            })
            .collect()
    }

    fn problems(&self, options: &AttachOptions) -> Vec<Problem> {
        let report = inspect_attach(&self.sources(), options).unwrap();
        let refused = attach(&self.directory(), &self.sources(), options);
        match refused {
            Err(Error::NotAdoptable { problems }) => assert_eq!(problems, report.problems),
            other => assert!(report.problems.is_empty(), "{other:?}"),
        }
        report.problems
    }
}

fn rows(sqlite: &Connection, sql: &str) -> Vec<String> {
    let mut statement = sqlite.prepare(sql).unwrap();
    let rows = statement.query_map((), |row| {
        let value = |at| row.get::<_, rusqlite::types::Value>(at);
        Ok(format!("{:?}", (value(0)?, value(1)?, value(2)?)))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn by_user() -> AttachOptions {
    AttachOptions {
        keys: vec![("posts".to_owned(), "user_id".to_owned())],
        ..AttachOptions::default()
    }
}

fn count(db: &ShardedDatabase, table: &str) -> Option<i64> {
    let answer = db.execute(&format!("SELECT count(*) FROM {table}"), ());
    answer.unwrap().first_value().and_then(Value::as_i64)
}

#[test]
fn every_row_of_adopted_files_is_found_where_it_was() {
    let files = Files::new();
    let report = attach(&files.directory(), &files.sources(), &by_user()).unwrap();
    assert_eq!(
        (report.rows(), report.left),
        (82, vec!["db-west: totals".to_owned()])
    );
    let db = ShardedDatabase::open(files.directory(), &Options::default()).unwrap();
    assert_eq!(db.shard_names(), ["db-east", "db-west", "db-new"]);
    for n in (0..20).chain(100..120) {
        let id = format!("u{n}");
        let home = if n < 100 { "db-east" } else { "db-west" };
        assert_eq!(db.locate(Some("users"), &*id).unwrap(), home);
        let sql = "SELECT text FROM users JOIN posts ON user_id = users.id WHERE users.id = ?1";
        let row = db.first(&*id, sql, &[Value::from(&*id)]).unwrap().unwrap();
        assert_eq!(row[0].as_str(), Some(&*format!("post {n}")));
    }
    assert_eq!(db.locate(Some("orders"), 7).unwrap(), "db-west");
    assert_eq!(
        (count(&db, "users"), count(&db, "orders")),
        (Some(40), Some(2))
    );

    // New rows: of a key that is there, of new ones, and with an id that no file has given out.
    let new = "INSERT INTO users VALUES (?1, 'new', ?1)";
    for n in 0..30 {
        let id = Value::from(format!("n{n}"));
        db.execute(new, &[id]).unwrap();
    }
    let made = db.execute(
        "INSERT INTO posts(user_id, text) VALUES ('u3', 'x') RETURNING id",
        (),
    );
    assert_eq!(made.unwrap().first_value(), Some(&Value::from(121)));
    let twin = db.execute(
        "INSERT INTO users VALUES ('other', 'x', 'u110@example.com')",
        (),
    );
    assert_eq!(twin.unwrap_err().code(), "CONSTRAINT");
    let again = db.execute("INSERT INTO users(id) VALUES ('u110')", ());
    assert_eq!(again.unwrap_err().code(), "CONSTRAINT");
    assert_eq!(
        (count(&db, "users"), count(&db, "posts")),
        (Some(70), Some(41))
    );
}

#[test]
fn a_look_changes_nothing_and_a_roll_back_gives_the_files_back() {
    let files = Files::new();
    let before = files.contents();
    let report = inspect_attach(&files.sources(), &by_user()).unwrap();
    assert_eq!((report.rows(), report.problems), (82, Vec::new()));
    assert!(report.entries > 0);
    assert_eq!(files.contents(), before);
    assert!(!files.directory().exists());

    attach(&files.directory(), &files.sources(), &by_user()).unwrap();
    assert!(is_attached(&files.directory()).unwrap());
    assert_ne!(files.contents(), before);
    let twice = attach(&files.directory(), &files.sources(), &by_user());
    assert_eq!(twice.unwrap_err().code(), "EXISTS");
    detach(&files.directory()).unwrap();
    assert_eq!(files.contents(), before);
    assert!(!files.directory().exists());
    assert_eq!(
        detach(&files.directory()).unwrap_err().code(),
        "NOT_A_DATABASE"
    );
}

#[test]
fn a_roll_back_that_would_lose_rows_is_refused() {
    let files = Files::new();
    attach(&files.directory(), &files.sources(), &by_user()).unwrap();
    let db = ShardedDatabase::open(files.directory(), &Options::default()).unwrap();
    let locked = detach(&files.directory());
    assert_eq!(locked.unwrap_err().code(), "LOCKED");
    db.reassign_shard(Some("users"), "u3", "db-new").unwrap();
    db.clone().close().unwrap();
    drop(db);
    assert_eq!(
        detach(&files.directory()).unwrap_err().code(),
        "UNSUPPORTED"
    );
    let db = ShardedDatabase::open(files.directory(), &Options::default()).unwrap();
    db.reassign_shard(Some("users"), "u3", "db-west").unwrap();
    db.close().unwrap();
    detach(&files.directory()).unwrap();
    let sqlite = Connection::open(files.path("west")).unwrap();
    assert_eq!(
        rows(&sqlite, "SELECT id, name, 1 FROM users WHERE id = 'u3'").len(),
        1
    );
}

#[test]
fn two_files_with_rows_of_one_key_are_reported_and_not_merged() {
    let files = Files::new();
    files.run("east", "INSERT INTO users(id) VALUES ('u100'), ('u101')");
    let before = files.contents();
    let expected = Problem::SameKeys {
        space: "users".to_owned(),
        first: "db-east".to_owned(),
        second: "db-west".to_owned(),
        keys: 2,
        example: "'u100'".to_owned(),
    };
    assert_eq!(files.problems(&by_user()), [expected]);
    assert_eq!(files.contents(), before);
}

#[test]
fn values_that_must_be_unique_over_all_files_are() {
    let files = Files::new();
    files.run(
        "east",
        "INSERT INTO users VALUES ('u50', 'x', 'u100@example.com')",
    );
    let before = files.contents();
    let refused = attach(&files.directory(), &files.sources(), &by_user());
    assert_eq!(refused.unwrap_err().code(), "CONSTRAINT");
    assert_eq!(files.contents(), before);
}

#[test]
fn what_is_in_the_way_is_listed() {
    let files = Files::new();
    let posts_by_id = files.problems(&AttachOptions::default());
    assert!(
        matches!(&posts_by_id[..], [Problem::ForeignKey { table, parent }] if table == "posts" && parent == "users"),
        "{posts_by_id:?}"
    );
    files.run(
        "east",
        "CREATE TABLE bare(x); CREATE TRIGGER t AFTER INSERT ON users BEGIN DELETE FROM posts; END",
    );
    files.run(
        "west",
        "CREATE TABLE notes(a, b PRIMARY KEY); CREATE VIRTUAL TABLE words USING fts5(word);
        INSERT INTO notes VALUES (NULL, 1)",
    );
    files.run("east", "CREATE TABLE orders(no INTEGER PRIMARY KEY)");
    let mut options = by_user();
    options.tables = [
        "users", "posts", "bare", "notes", "orders", "words", "nowhere",
    ]
    .map(str::to_owned)
    .into();
    options.keys.push(("notes".to_owned(), "a".to_owned()));
    options.keys.push(("users".to_owned(), "none".to_owned()));
    let found = files.problems(&options);
    let has = |text: &str| {
        found
            .iter()
            .any(|problem| problem.to_string().contains(text))
    };
    for text in [
        "no file has a table nowhere",
        "bare of db-east has no primary key",
        "orders is not the same in db-east and db-west",
        "has the trigger t",
        "1 rows of table notes of db-west have no key",
        "table words of db-west has no rows that a key could find",
        "table users has no column none",
    ] {
        assert!(has(text), "{text}: {found:?}");
    }
    assert!(!files.directory().exists());
}

#[test]
fn an_adoption_that_was_killed_is_taken_back_and_made_again() {
    let files = Files::new();
    let before = files.contents();
    let layout = Layout::of(files.directory());
    for files_done in 0..=3 {
        fs::create_dir_all(layout.directory()).unwrap();
        let mut survey = Survey::of(&files.sources(), &by_user()).unwrap();
        let adoption = survey.adoption(&files.sources(), &new_identity()).unwrap();
        adoption.write(layout.directory()).unwrap();
        let names = shard_names(&files.sources()).unwrap();
        if files_done == 3 {
            make(&layout, &survey, &adoption, &names).unwrap();
        } else if files_done > 0 {
            // It is cut off while it makes a later shard, whose name is taken.
            let taken = layout.shard(names[files_done].as_str());
            fs::write(taken, "").unwrap();
            make(&layout, &survey, &adoption, &names).unwrap_err();
        }
        let unfinished = ShardedDatabase::open(layout.directory(), &Options::default());
        assert_eq!(unfinished.unwrap_err().code(), "IMPORT_UNFINISHED");
        if files_done % 2 == 0 {
            attach(layout.directory(), &files.sources(), &by_user()).unwrap();
            let db = ShardedDatabase::open(layout.directory(), &Options::default()).unwrap();
            assert_eq!(
                (count(&db, "users"), count(&db, "posts")),
                (Some(40), Some(40))
            );
            db.close().unwrap();
        }
        detach(layout.directory()).unwrap();
        assert_eq!(files.contents(), before, "after {files_done} files");
    }
}

#[test]
fn keys_of_a_file_are_listed_and_a_file_is_validated() {
    let files = Files::new();
    let keys = primary_keys(&files.path("west"), "orders", None).unwrap();
    assert_eq!(keys, [Value::from(7), Value::from(8)]);
    let users = primary_keys(&files.path("east"), "posts", Some("user_id")).unwrap();
    assert_eq!((users.len(), users[0].as_str()), (20, Some("u0")));
    let no_column = primary_keys(&files.path("east"), "posts", Some("nothing"));
    assert_eq!(no_column.unwrap_err().code(), "UNKNOWN_COLUMN");
    let report = validate(&files.path("west"), &by_user()).unwrap();
    assert_eq!((report.problems, report.entries), (Vec::new(), 0));
    let keys = report
        .tables
        .iter()
        .map(|table| (table.name.as_str(), table.key.as_deref()));
    assert_eq!(
        keys.collect::<Vec<_>>(),
        [
            ("users", Some("id")),
            ("posts", Some("user_id")),
            ("orders", Some("no"))
        ]
    );
    fs::write(
        files.path("text"),
        "no database, and long enough to be looked at",
    )
    .unwrap();
    let text = validate(&files.path("text"), &AttachOptions::default());
    assert_eq!(text.unwrap_err().code(), "NOT_SQLITE");
}

#[test]
fn names_are_checked_and_a_directory_with_something_in_it_is_left_alone() {
    let files = Files::new();
    let named = |names: [&str; 2]| {
        let sources = names.map(|name| ShardSource {
            name: name.to_owned(),
            file: None,
        });
        let made = attach(&files.directory(), &sources, &AttachOptions::default());
        made.unwrap_err().code()
    };
    assert_eq!(named(["a", "A"]), "EXISTS");
    assert_eq!(named(["catalog", "b"]), "EXISTS");
    assert_eq!(named(["../a", "b"]), "SHARD_NOT_FOUND");
    fs::create_dir_all(files.directory()).unwrap();
    fs::write(files.directory().join("notes.txt"), "mine").unwrap();
    assert_eq!(named(["a", "b"]), "NOT_EMPTY");
}
