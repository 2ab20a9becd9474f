//! Several processes on one SQLite file. The test starts its own program as the other processes.

use std::{
    env,
    path::Path,
    process::{Command, ExitCode},
};

use futures_executor::block_on;
use futures_util::StreamExt;
use shardwright_registry::{Event, Key, Prefix, Revision, SqliteStore, Store, StoreError};

const PROCESSES: u64 = 3;
const CHANGES: u64 = 100;

fn main() -> ExitCode {
    match env::var_os("COUNT_IN_REGISTRY") {
        Some(path) => count(Path::new(&path)),
        None => no_update_of_several_processes_is_lost_and_a_watcher_sees_each_once(),
    }
    ExitCode::SUCCESS
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
fn count(path: &Path) {
    let store = SqliteStore::open(path).expect("a registry");
    let key = counter();
    block_on(async {
        match store.create(&key, b"0").await {
            Ok(_) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        let mut done = 0;
        while done < CHANGES {
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
    let program = env::current_exe().expect("the path of this program");
    let start = |_| {
        Command::new(&program)
            .env("COUNT_IN_REGISTRY", &path)
            .spawn()
    };
    let mut processes: Vec<_> = (0..PROCESSES)
        .map(|each| start(each).expect("a process starts"))
        .collect();

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
