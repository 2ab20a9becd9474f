//! What the conformance suite leaves to the file: it outlives its handles and shows their changes.

use futures_executor::block_on;
use futures_util::StreamExt;

use super::*;

#[test]
fn a_value_is_there_after_the_store_was_closed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("registry.db");
    let key = Key::new("a/b").expect("a key");
    let revision = {
        let store = SqliteStore::open(&path).expect("a new file");
        block_on(store.create(&key, b"one")).expect("absent")
    };
    let store = SqliteStore::open(&path).expect("a registry");
    let entry = block_on(store.get(&key))
        .expect("readable")
        .expect("present");
    assert_eq!(
        (entry.value.as_slice(), entry.revision),
        (&b"one"[..], revision)
    );
}

#[test]
fn a_watcher_sees_the_changes_of_another_handle() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("registry.db");
    let (ours, theirs) = (SqliteStore::open(&path), SqliteStore::open(&path));
    let (ours, theirs) = (ours.expect("a new file"), theirs.expect("a registry"));
    let key = Key::new("a").expect("a key");
    let mut watch = block_on(ours.watch(&Prefix::all(), Revision(0))).expect("a watch");
    let revision = block_on(theirs.create(&key, b"one")).expect("absent");
    let event = block_on(watch.next()).expect("no end").expect("an event");
    assert_eq!(
        event,
        Event {
            key,
            value: Some(b"one".to_vec()),
            revision
        }
    );
}
