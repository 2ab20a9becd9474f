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

#[test]
fn changes_that_are_made_together_happen_each_by_its_own_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("registry.db");
    let mut database = open::open(&path, LOG_MAX).expect("a new file");
    let change = |name: &str, expected, value: &str| Change {
        key: Key::new(name).expect("a key"),
        expected,
        value: Some(value.as_bytes().to_vec()),
    };
    let outcomes = database.change(&[
        change("a", None, "one"),
        change("a", None, "two"),
        change("b", None, "three"),
        change("a", Some(Revision(1)), "four"),
    ]);
    let [
        Ok(Revision(1)),
        Err(StoreError::Conflict { found, .. }),
        Ok(Revision(2)),
        Ok(Revision(3)),
    ] = &outcomes[..]
    else {
        panic!("{outcomes:?}");
    };
    let found = found.as_ref().expect("the one before it");
    assert_eq!(
        (found.revision, &found.value[..]),
        (Revision(1), &b"one"[..])
    );
    let log = database
        .changes(&Prefix::all(), Revision(0))
        .expect("a log");
    let revisions: Vec<_> = log.events.iter().map(|event| event.revision.0).collect();
    assert_eq!(revisions, [1, 2, 3]);
}

#[test]
fn many_who_change_at_once_are_all_answered() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = SqliteStore::open(directory.path().join("registry.db")).expect("a new file");
    let keys: Vec<Key> = (0..500)
        .map(|n| Key::new(format!("k/{n}")).expect("a key"))
        .collect();
    let creating = futures_util::future::join_all(keys.iter().map(|key| store.create(key, b"v")));
    let mut revisions: Vec<u64> = block_on(creating)
        .into_iter()
        .map(|created| created.expect("absent").0)
        .collect();
    revisions.sort_unstable();
    assert!(revisions.into_iter().eq(1..=500));
    let listing = block_on(store.list(&Prefix::all())).expect("readable");
    assert_eq!(
        (listing.entries.len(), listing.revision),
        (500, Revision(500))
    );
}
