//! Files that an SQLite store opens, refuses, or outgrows.
#![cfg(feature = "sqlite")]

use std::{fs, path::PathBuf};

use futures_executor::block_on;
use futures_util::StreamExt;
use shardwright_registry::{Key, OpenError, Prefix, Revision, SqliteStore, Store, StoreError};

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("registry.db")
    }
}

fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

/// Refused, by opening for writing and for reading, and left as it was.
#[track_caller]
fn refused(path: &PathBuf, expect: &str) {
    let before = fs::read(path).expect("readable");
    for outcome in [SqliteStore::open(path), SqliteStore::open_read_only(path)] {
        let error = outcome.expect_err("no registry of this release");
        assert_eq!(error.to_string(), format!("{} {expect}", path.display()));
    }
    assert!(
        fs::read(path).expect("readable") == before,
        "a file that is refused stays as it was"
    );
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let directory = Directory::new();
    fs::write(
        directory.path(),
        "not a database, and long enough to look like a header".repeat(9),
    )
    .expect("writable");
    refused(&directory.path(), "is no registry");
}

#[test]
fn the_database_of_another_program_is_refused() {
    for sql in [
        "CREATE TABLE t (a)",
        "PRAGMA application_id = 7",
        "CREATE TABLE meta (name, value)",
    ] {
        let directory = Directory::new();
        let connection = rusqlite::Connection::open(directory.path()).expect("a new file");
        connection.execute_batch(sql).expect("valid");
        drop(connection);
        refused(&directory.path(), "is no registry");
    }
}

#[test]
fn a_registry_of_a_later_format_is_refused_by_name() {
    let directory = Directory::new();
    drop(SqliteStore::open(directory.path()).expect("a new file"));
    let connection = rusqlite::Connection::open(directory.path()).expect("a database");
    connection
        .execute("UPDATE meta SET value = 2 WHERE name = 'format'", [])
        .expect("valid");
    drop(connection);
    refused(
        &directory.path(),
        "is a registry in format 2, this release knows format 1",
    );
}

/// The tables of format 1, as the first release made them. A release that cannot open this file needs a new format.
const FORMAT_1: &str = "
    PRAGMA application_id = 1398239847;
    PRAGMA journal_mode = WAL;
    CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE entry (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE change (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB) STRICT;
    INSERT INTO meta VALUES ('revision', 3), ('trimmed', 1), ('format', 1);
    INSERT INTO entry VALUES ('b', x'74776f', 2);
    INSERT INTO change VALUES (2, 'b', x'74776f'), (3, 'a', NULL);
";

#[test]
fn a_file_of_the_first_release_is_opened() {
    let directory = Directory::new();
    let connection = rusqlite::Connection::open(directory.path()).expect("a new file");
    connection.execute_batch(FORMAT_1).expect("valid");
    drop(connection);
    block_on(async {
        let store = SqliteStore::open(directory.path()).expect("a registry");
        let listing = store.list(&Prefix::all()).await.expect("readable");
        assert_eq!(listing.revision, Revision(3));
        assert_eq!(listing.entries[0].value, b"two");
        let mut watch = store
            .watch(&Prefix::all(), Revision(1))
            .await
            .expect("kept");
        let values = [watch.next().await, watch.next().await];
        let values = values.map(|event| event.expect("no end").expect("no error").value);
        assert_eq!(values, [Some(b"two".to_vec()), None]);
        assert_eq!(
            store.create(&key("a"), b"").await.expect("absent"),
            Revision(4)
        );
    });
}

#[test]
fn a_missing_directory_and_a_missing_file_are_named() {
    let directory = Directory::new();
    let below = directory.0.path().join("absent").join("registry.db");
    assert!(matches!(SqliteStore::open(&below), Err(OpenError::Missing { path }) if path == below));
    let read = SqliteStore::open_read_only(directory.path());
    assert!(matches!(read, Err(OpenError::Missing { .. })), "{read:?}");
    assert!(!directory.path().exists(), "reading creates nothing");
    let read = SqliteStore::open(directory.0.path());
    assert!(
        matches!(read, Err(OpenError::Failed { .. })),
        "a directory is no file: {read:?}"
    );
}

#[test]
fn a_store_that_is_open_for_reading_reads_and_refuses_changes() {
    let directory = Directory::new();
    let writer = SqliteStore::open(directory.path()).expect("a new file");
    let revision = block_on(writer.create(&key("a"), b"one")).expect("absent");
    let reader = SqliteStore::open_read_only(directory.path()).expect("a registry");
    let entry = block_on(reader.get(&key("a")))
        .expect("readable")
        .expect("created");
    assert_eq!(
        (entry.value.as_slice(), entry.revision),
        (&b"one"[..], revision)
    );
    let change = block_on(reader.compare_and_set(&key("a"), revision, b"two"));
    assert!(matches!(change, Err(StoreError::ReadOnly)), "{change:?}");
    let mut watch = block_on(reader.watch(&Prefix::all(), revision)).expect("a watch");
    block_on(writer.create(&key("b"), b"one")).expect("absent");
    let event = block_on(watch.next()).expect("no end").expect("no error");
    assert_eq!(event.key, key("b"), "a reader watches what others change");
}

#[test]
fn a_watcher_whose_changes_were_removed_from_the_log_is_told() {
    let directory = Directory::new();
    let store = SqliteStore::open_keeping(directory.path(), 100).expect("a new file");
    block_on(async {
        let mut revision = store.create(&key("a"), b"").await.expect("absent");
        let mut late = store
            .watch(&Prefix::all(), revision)
            .await
            .expect("a watch");
        for _ in 0..400 {
            revision = store
                .compare_and_set(&key("a"), revision, b"")
                .await
                .expect("ours");
        }
        let behind = late.next().await.expect("an error");
        assert!(
            matches!(behind, Err(StoreError::FellBehind { after: Revision(1) })),
            "{behind:?}"
        );
        assert!(late.next().await.is_none(), "a watch ends after an error");
        let refused = store.watch(&Prefix::all(), Revision(1)).await;
        assert!(matches!(refused, Err(StoreError::FellBehind { .. })));
        let kept = Revision(revision.0 - 100);
        let mut watch = store.watch(&Prefix::all(), kept).await.expect("still kept");
        let event = watch.next().await.expect("no end").expect("no error");
        assert_eq!(event.revision, Revision(kept.0 + 1));
        let listing = store.list(&Prefix::all()).await.expect("readable");
        assert_eq!((listing.entries.len(), listing.revision), (1, revision));
    });
    drop(store);
    let connection = rusqlite::Connection::open(directory.path()).expect("a database");
    let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    let changes = connection
        .query_row("SELECT count(*) FROM change", [], count)
        .expect("valid");
    assert!(
        (100..200).contains(&changes),
        "the log is bounded: {changes}"
    );
}

#[test]
fn a_change_waits_for_another_process_and_then_gives_up_without_a_trace() {
    let directory = Directory::new();
    let store = SqliteStore::open(directory.path()).expect("a new file");
    let other = rusqlite::Connection::open(directory.path()).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("free");
    let refused = block_on(store.create(&key("a"), b"one")).expect_err("blocked");
    assert!(refused.is_retryable(), "{refused}");
    assert_eq!(block_on(store.get(&key("a"))).expect("reads go on"), None);
    other.execute_batch("COMMIT").expect("as begun");
    block_on(store.create(&key("a"), b"one")).expect("free again");
}

#[test]
fn a_value_that_cannot_be_read_is_damage() {
    let directory = Directory::new();
    let store = SqliteStore::open(directory.path()).expect("a new file");
    let other = rusqlite::Connection::open(directory.path()).expect("a database");
    other
        .execute("INSERT INTO entry VALUES ('../x', x'00', 1)", [])
        .expect("valid");
    let refused = block_on(store.list(&Prefix::all())).expect_err("no key");
    assert!(matches!(refused, StoreError::Damaged(_)), "{refused}");
    assert!(!refused.is_retryable());
}

#[test]
fn a_watch_ends_when_the_file_is_damaged() {
    let directory = Directory::new();
    let store = SqliteStore::open(directory.path()).expect("a new file");
    let mut watch = block_on(store.watch(&Prefix::all(), Revision(0))).expect("a watch");
    let other = rusqlite::Connection::open(directory.path()).expect("a database");
    other
        .execute("DELETE FROM meta WHERE name = 'revision'", [])
        .expect("valid");
    assert!(block_on(watch.next()).is_none(), "nothing more can be seen");
    let refused = block_on(store.list(&Prefix::all())).expect_err("damaged");
    assert!(matches!(refused, StoreError::Damaged(_)), "{refused}");
}

#[test]
fn a_corrupt_page_is_damage() {
    let directory = Directory::new();
    let store = SqliteStore::open(directory.path()).expect("a new file");
    for number in 0..200 {
        let name = key(&format!("key-{number}"));
        block_on(store.create(&name, &[7; 1000])).expect("absent");
    }
    drop(store);
    let mut bytes = fs::read(directory.path()).expect("readable");
    let last = bytes.len() - 4096;
    for page in (4096 * 2..last).step_by(4096) {
        bytes[page..page + 64].fill(0xff);
    }
    fs::write(directory.path(), bytes).expect("writable");
    match SqliteStore::open(directory.path()) {
        Ok(store) => {
            let refused = block_on(store.list(&Prefix::all())).expect_err("corrupt");
            assert!(matches!(refused, StoreError::Damaged(_)), "{refused}");
        }
        Err(error) => assert!(matches!(error, OpenError::Failed { .. }), "{error}"),
    }
}

#[test]
fn a_closed_file_leaves_no_log_beside_it() {
    let directory = Directory::new();
    let store = SqliteStore::open(directory.path()).expect("a new file");
    let watch = block_on(store.watch(&Prefix::all(), Revision(0))).expect("a watch");
    block_on(store.create(&key("a"), b"one")).expect("absent");
    drop((store, watch));
    let names: Vec<_> = fs::read_dir(directory.0.path())
        .expect("readable")
        .map(|entry| entry.expect("readable").file_name())
        .collect();
    assert_eq!(names, ["registry.db"], "the last handle closed the file");
}

#[test]
fn updates_of_threads_on_one_handle_all_count() {
    let directory = Directory::new();
    let store = SqliteStore::open(directory.path()).expect("a new file");
    block_on(store.create(&key("counter"), &[0])).expect("absent");
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let store = store.clone();
            std::thread::spawn(move || block_on(count(&store, 25)))
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    let counter = block_on(store.get(&key("counter")))
        .expect("readable")
        .expect("created");
    assert_eq!(counter.value, [100]);
}

async fn count(store: &SqliteStore, times: u32) {
    let mut done = 0;
    while done < times {
        let current = store
            .get(&key("counter"))
            .await
            .expect("readable")
            .expect("created");
        let next = [current.value[0] + 1];
        match store
            .compare_and_set(&current.key, current.revision, &next)
            .await
        {
            Ok(_) => done += 1,
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
