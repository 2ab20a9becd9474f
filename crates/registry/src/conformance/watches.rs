//! Rules of watches.

use futures_util::{StreamExt, future::join, future::join_all};

use super::{create, follow, get, key, prefix, values};
use crate::{Event, Prefix, Revision, Store};

/// A listing, changed by the events after it, is a later listing.
pub async fn a_watch_after_a_listing_misses_nothing(store: &dyn Store) {
    create(store, "a/before", "one").await;
    let all = Prefix::all();
    let (before, listed) = values(store, &all).await;
    let gone = create(store, "a/gone", "one").await;
    let changed = create(store, "a/changed", "one").await;
    store
        .compare_and_set(&key("a/changed"), changed, b"two")
        .await
        .expect("as expected");
    store
        .delete(&key("a/gone"), gone)
        .await
        .expect("as expected");
    let mut watch = store.watch(&all, listed).await.expect("a watch");
    let last = create(store, "a/after", "one").await;
    let followed = follow(&mut watch, before, listed, last).await;
    assert_eq!(
        followed,
        values(store, &all).await.0,
        "the events lead to the later listing"
    );
    // From the very start, the events alone are enough.
    let mut watch = store.watch(&all, Revision(0)).await.expect("a watch");
    let replayed = follow(&mut watch, [].into(), Revision(0), last).await;
    assert_eq!(replayed, followed);
}

/// A watch shows no change of another prefix, and is not held up by one.
pub async fn a_watch_keeps_to_its_prefix(store: &dyn Store) {
    let mut watch = store
        .watch(&prefix("a/"), Revision(0))
        .await
        .expect("a watch");
    for name in ["b/1", "aa/1", "a"] {
        create(store, name, name).await;
    }
    let revision = create(store, "a/1", "one").await;
    let event = watch.next().await.expect("no end").expect("no error");
    assert_eq!(
        event,
        Event {
            key: key("a/1"),
            value: Some(b"one".to_vec()),
            revision
        }
    );
}

/// A watcher that has seen everything waits, and goes on with the next change.
pub async fn a_watcher_that_waits_is_woken(store: &dyn Store) {
    let mut watch = store
        .watch(&Prefix::all(), Revision(0))
        .await
        .expect("a watch");
    for name in ["a", "b", "c"] {
        // The watcher is polled first, and finds nothing.
        let (event, revision) = join(watch.next(), create(store, name, name)).await;
        let event = event.expect("no end").expect("no error");
        assert_eq!((event.key, event.revision), (key(name), revision));
    }
    let last = get(store, "c").await.expect("created").revision;
    store.delete(&key("c"), last).await.expect("as expected");
    let event = watch.next().await.expect("no end").expect("no error");
    assert_eq!(
        (event.key, event.value),
        (key("c"), None),
        "a deletion is an event"
    );
    assert!(
        last < event.revision,
        "a deletion has a revision of its own"
    );
}

/// Changes that happen while a watcher reads are in its stream, in order and once.
pub async fn a_watch_keeps_up_with_concurrent_changes(store: &dyn Store) {
    watch_while_others_write(store, &[store, store]).await;
}

/// The changes of one handle are in the stream of another.
pub async fn a_watch_through_another_handle_misses_nothing(a: &dyn Store, b: &dyn Store) {
    watch_while_others_write(a, &[b, a, b]).await;
}

async fn watch_while_others_write(watching: &dyn Store, writing: &[&dyn Store]) {
    let all = Prefix::all();
    let mut watch = watching.watch(&all, Revision(0)).await.expect("a watch");
    let writer = async |number: usize, store: &dyn Store| {
        for round in 0..40 {
            let name = format!("w{number}/{}", round % 5);
            match get(store, &name).await {
                None => drop(create(store, &name, &round.to_string()).await),
                Some(entry) if round % 3 == 0 => {
                    store
                        .delete(&entry.key, entry.revision)
                        .await
                        .expect("nobody else writes it");
                }
                Some(entry) => {
                    let value = round.to_string();
                    let changed =
                        store.compare_and_set(&entry.key, entry.revision, value.as_bytes());
                    changed.await.expect("nobody else writes it");
                }
            }
        }
    };
    let writers = writing
        .iter()
        .enumerate()
        .map(|(number, store)| writer(number, *store));
    let write = async {
        join_all(writers).await;
        create(writing[0], "end", "").await
    };
    let read = async {
        let mut seen = super::Values::new();
        let mut last = Revision(0);
        while !seen.contains_key(&key("end")) {
            let event = watch.next().await.expect("no end").expect("no error");
            assert!(
                last < event.revision,
                "events come once, in the order of their revisions"
            );
            last = event.revision;
            match event.value {
                Some(value) => seen.insert(event.key, value),
                None => seen.remove(&event.key),
            };
        }
        seen
    };
    let (_, seen) = join(write, read).await;
    assert_eq!(
        seen,
        values(writing[0], &all).await.0,
        "the events lead to the last listing"
    );
}
