//! Rules of changes that meet.

use futures_util::future::join_all;

use super::{create, get, key};
use crate::{Entry, Store, StoreError};

/// How many tasks meet, and how often each changes the key.
const TASKS: usize = 8;
const CHANGES: usize = 25;

/// Adds one to a counter `times` times, each by compare-and-set.
async fn count(store: &dyn Store, name: &str, times: usize) {
    for _ in 0..times {
        let mut current = get(store, name).await.expect("the counter exists");
        loop {
            let next = (number(&current) + 1).to_string();
            match store
                .compare_and_set(&key(name), current.revision, next.as_bytes())
                .await
            {
                Ok(_) => break,
                Err(StoreError::Conflict {
                    found: Some(found), ..
                }) => current = *found,
                Err(error) => panic!("a counter is only ever counted up, but: {error:?}"),
            }
        }
    }
}

fn number(entry: &Entry) -> usize {
    std::str::from_utf8(&entry.value)
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("a number")
}

/// Of updates by compare-and-set at the same time, each builds on another: none is lost.
pub async fn an_update_is_never_lost(store: &dyn Store) {
    create(store, "counter", "0").await;
    join_all((0..TASKS).map(|_| count(store, "counter", CHANGES))).await;
    let counter = get(store, "counter").await.expect("the counter exists");
    assert_eq!(
        number(&counter),
        TASKS * CHANGES,
        "every update is in the result"
    );
}

/// Of several that create one key at the same time, one succeeds, and the others find what it wrote.
pub async fn of_several_creators_one_wins(store: &dyn Store) {
    let key = key("seat");
    let outcomes = join_all((0..TASKS).map(|task| {
        let key = &key;
        async move { (task, store.create(key, task.to_string().as_bytes()).await) }
    }))
    .await;
    let winners: Vec<_> = outcomes
        .iter()
        .filter(|(_, outcome)| outcome.is_ok())
        .collect();
    assert_eq!(winners.len(), 1, "one creator wins: {outcomes:?}");
    let seat = get(store, "seat").await.expect("somebody won");
    assert_eq!(number(&seat), winners[0].0, "the winner's value is stored");
    for (_, outcome) in outcomes.iter().filter(|(_, outcome)| outcome.is_err()) {
        let found = matches!(outcome, Err(StoreError::Conflict { found: Some(found), .. }) if **found == seat);
        assert!(found, "the others find the winner's value: {outcome:?}");
    }
}

/// What one handle changed, another reads, and changes in turn.
pub async fn changes_through_one_handle_are_seen_through_another(a: &dyn Store, b: &dyn Store) {
    let first = create(a, "a", "one").await;
    // A read may lag behind a change of another handle; a change may not.
    let second = b
        .compare_and_set(&key("a"), first, b"two")
        .await
        .expect("as expected");
    assert!(first < second);
    let found = a.compare_and_set(&key("a"), first, b"three").await;
    let Err(StoreError::Conflict {
        found: Some(found), ..
    }) = found
    else {
        panic!("the change of the other handle must conflict, not {found:?}");
    };
    assert_eq!(
        (found.value.as_slice(), found.revision),
        (&b"two"[..], second)
    );
}

/// Updates through two handles at the same time build on each other too.
pub async fn updates_through_two_handles_are_never_lost(a: &dyn Store, b: &dyn Store) {
    create(a, "counter", "0").await;
    let tasks = (0..TASKS).map(|task| count(if task % 2 == 0 { a } else { b }, "counter", CHANGES));
    join_all(tasks).await;
    let counter = get(a, "counter").await.expect("the counter exists");
    assert_eq!(
        number(&counter),
        TASKS * CHANGES,
        "every update is in the result"
    );
}
