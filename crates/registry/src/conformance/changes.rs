//! Rules of single changes.

use super::{conflict, create, get, key, prefix, values};
use crate::{Prefix, Revision, Store, StoreError, VALUE_MAX};

/// A key that has a value is not created again, and the refusal says what it has.
pub async fn a_value_is_created_once(store: &dyn Store) {
    assert_eq!(get(store, "a").await, None, "a new store is empty");
    let revision = create(store, "a", "one").await;
    let entry = get(store, "a").await.expect("what was created is read");
    assert_eq!(
        (entry.value.as_slice(), entry.revision),
        (&b"one"[..], revision)
    );
    let found = conflict(store.create(&key("a"), b"two").await);
    assert_eq!(
        found.as_ref(),
        Some(&entry),
        "a conflict carries what was found"
    );
    assert_eq!(
        get(store, "a").await,
        Some(entry),
        "a conflict changes nothing"
    );
}

/// A value is replaced or deleted only by who names its revision.
pub async fn a_change_names_the_revision_that_it_replaces(store: &dyn Store) {
    let first = create(store, "a", "one").await;
    let second = store
        .compare_and_set(&key("a"), first, b"two")
        .await
        .expect("as expected");
    assert!(first < second, "a change gets a higher revision");
    let current = get(store, "a").await;
    for stale in [first, Revision(second.0 + 1000)] {
        let found = conflict(store.compare_and_set(&key("a"), stale, b"three").await);
        assert_eq!(found, current, "a conflict carries what was found");
        assert_eq!(conflict(store.delete(&key("a"), stale).await), current);
    }
    assert_eq!(get(store, "a").await, current, "a conflict changes nothing");
    let same = store
        .compare_and_set(&key("a"), second, b"two")
        .await
        .expect("as expected");
    assert!(second < same, "writing the same value again is a change");
    let absent = key("b");
    assert_eq!(
        conflict(store.compare_and_set(&absent, same, b"one").await),
        None
    );
    assert_eq!(conflict(store.delete(&absent, same).await), None);
}

/// A deleted key is absent, and what is created there later has a higher revision than all before.
pub async fn a_deleted_key_can_be_created_again(store: &dyn Store) {
    let first = create(store, "a", "one").await;
    store.delete(&key("a"), first).await.expect("as expected");
    assert_eq!(get(store, "a").await, None, "a deleted key is absent");
    assert!(
        values(store, &Prefix::all()).await.0.is_empty(),
        "a deleted key is not listed"
    );
    assert_eq!(
        conflict(store.compare_and_set(&key("a"), first, b"two").await),
        None
    );
    let second = create(store, "a", "two").await;
    assert!(first < second, "a revision is never used again");
    assert!(conflict(store.compare_and_set(&key("a"), first, b"three").await).is_some());
}

/// Of two changes of different keys, the later one has the higher revision.
pub async fn revisions_grow_over_all_keys(store: &dyn Store) {
    let mut last = Revision(0);
    for name in ["c", "a", "b/x", "b/a"] {
        let revision = create(store, name, name).await;
        assert!(last < revision, "revisions grow over all keys");
        last = revision;
        let listed = values(store, &Prefix::all()).await.1;
        assert!(
            last <= listed,
            "a listing holds the changes of its own handle"
        );
    }
}

/// A listing holds all keys below its prefix, whole names only, in order.
pub async fn a_listing_holds_the_keys_below_its_prefix_in_order(store: &dyn Store) {
    for name in ["b/2", "a/1", "b/10", "bb/1", "b", "b/c/d", "c_d/1", "cXd/1"] {
        create(store, name, name).await;
    }
    let check = async |below: &str, expect: &[&str]| {
        let listing = store
            .list(&prefix(below))
            .await
            .expect("a prefix is listed");
        let names: Vec<_> = listing
            .entries
            .iter()
            .map(|entry| entry.key.as_str())
            .collect();
        assert_eq!(names, expect, "the listing of {below:?}");
        for entry in listing.entries {
            assert_eq!(entry.value, entry.key.as_str().as_bytes());
            assert!(entry.revision <= listing.revision);
        }
    };
    check("b/", &["b/10", "b/2", "b/c/d"]).await;
    check("c_d/", &["c_d/1"]).await;
    check("d/", &[]).await;
    check(
        "",
        &["a/1", "b", "b/10", "b/2", "b/c/d", "bb/1", "cXd/1", "c_d/1"],
    )
    .await;
}

/// A value is any bytes, none included, up to a size.
pub async fn any_bytes_up_to_the_limit_are_a_value(store: &dyn Store) {
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let largest = vec![b'x'; VALUE_MAX];
    for (name, value) in [("empty", &vec![]), ("all", &all), ("largest", &largest)] {
        store
            .create(&key(name), value)
            .await
            .expect("a value of a valid size");
        let read = get(store, name).await.expect("what was created is read");
        assert!(
            read.value == *value,
            "{name}: a value is read as it was written"
        );
    }
    let refused = store
        .create(&key("larger"), &vec![b'x'; VALUE_MAX + 1])
        .await;
    assert!(
        matches!(refused, Err(StoreError::TooLarge { .. })),
        "{refused:?}"
    );
    assert_eq!(get(store, "larger").await, None);
}
