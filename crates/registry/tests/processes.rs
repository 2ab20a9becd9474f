//! Several processes on one SQLite file. The test starts its own program as the other processes.

use std::{
    env,
    path::Path,
    process::{Child, Command, ExitCode},
};

use futures_executor::block_on;
use futures_util::StreamExt;
use shardwright_registry::{Event, Key, Prefix, Revision, SqliteStore, Store, StoreError};

const PROCESSES: u64 = 3;
const CHANGES: u64 = 100;

fn main() -> ExitCode {
    let limit = env::var("COUNT_TO")
        .ok()
        .map(|limit| limit.parse().expect("a number"));
    match (env::var_os("COUNT_IN_REGISTRY"), limit) {
        (Some(path), Some(limit)) => count(Path::new(&path), limit),
        _ => {
            no_update_of_several_processes_is_lost_and_a_watcher_sees_each_once();
            a_process_that_is_killed_leaves_the_store_to_the_others();
        }
    }
    ExitCode::SUCCESS
}

/// Starts this program as a process that counts up `changes` times.
fn start(path: &Path, changes: u64) -> Child {
    Command::new(env::current_exe().expect("the path of this program"))
        .env("COUNT_IN_REGISTRY", path)
        .env("COUNT_TO", changes.to_string())
        .spawn()
        .expect("a process starts")
}

fn counter() -> Key {
    Key::new("counter").expect("a key")
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("a number")
}

/// Opens the file, new or not, and counts up.
fn count(path: &Path, changes: u64) {
    let store = SqliteStore::open(path).expect("a registry");
    let key = counter();
    block_on(async {
        match store.create(&key, b"0").await {
            Ok(_) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        let mut done = 0;
        while done < changes {
            let current = store.get(&key).await.expect("readable").expect("created");
            let next = (number(&current.value) + 1).to_string();
            match store
                .compare_and_set(&key, current.revision, next.as_bytes())
                .await
            {
                Ok(_) => done += 1,
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
}

fn no_update_of_several_processes_is_lost_and_a_watcher_sees_each_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("registry.db");
    // All processes open a file that does not exist yet.
    let mut processes: Vec<_> = (0..PROCESSES).map(|_| start(&path, CHANGES)).collect();

    let store = SqliteStore::open(&path).expect("a registry");
    let last = PROCESSES * CHANGES;
    block_on(async {
        let mut watch = store
            .watch(&Prefix::all(), Revision(0))
            .await
            .expect("a watch");
        for expect in 0..=last {
            let event = watch.next().await.expect("no end").expect("no error");
            let Event {
                value: Some(value),
                revision,
                ..
            } = event
            else {
                panic!("nobody deletes the counter, but: {event:?}");
            };
            assert_eq!((number(&value), revision), (expect, Revision(expect + 1)));
        }
    });
    for process in &mut processes {
        assert!(
            process.wait().expect("it was started").success(),
            "a process failed"
        );
    }
    let end = block_on(store.get(&counter()))
        .expect("readable")
        .expect("created");
    assert_eq!(number(&end.value), last, "no update is lost");
}

fn a_process_that_is_killed_leaves_the_store_to_the_others() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("registry.db");
    let store = SqliteStore::open(&path).expect("a new file");
    let mut process = start(&path, u64::MAX);
    let mut watch = block_on(store.watch(&Prefix::all(), Revision(0))).expect("a watch");
    let mut next = || block_on(watch.next()).expect("no end").expect("no error");
    for expect in 0..50 {
        assert_eq!(next().revision, Revision(expect + 1));
    }
    process.kill().expect("it counts without end");
    process.wait().expect("it was started");
    // What it did last is whole or absent, and the next change is the next revision.
    let end = block_on(store.get(&counter()))
        .expect("readable")
        .expect("created");
    assert_eq!(end.revision, Revision(number(&end.value) + 1));
    let after = block_on(store.compare_and_set(&counter(), end.revision, b"0")).expect("free");
    assert_eq!(after, Revision(end.revision.0 + 1));
    for expect in 50..after.0 {
        assert_eq!(next().revision, Revision(expect + 1), "the log has no gap");
    }
}
