//! The rules of a [`Store`], as functions that panic when a backend breaks one.
//!
//! A backend's own tests call [`run_all`] with a function that makes an empty store, and [`run_shared`] with one that makes two
//! handles on one empty store, in one process or two.
//!
//! ```
//! use std::sync::Arc;
//! use shardwright_registry::{MemoryStore, Store, conformance};
//!
//! futures_executor::block_on(async {
//!     conformance::run_all(async || Arc::new(MemoryStore::new()) as Arc<dyn Store>).await;
//!     conformance::run_shared(async || {
//!         let store = MemoryStore::new();
//!         [Arc::new(store.clone()), Arc::new(store)]
//!     })
//!     .await;
//! });
//! ```

mod changes;
mod races;
mod watches;

use std::{collections::BTreeMap, sync::Arc};

pub use self::{
    changes::{
        a_change_names_the_revision_that_it_replaces, a_deleted_key_can_be_created_again,
        a_listing_holds_the_keys_below_its_prefix_in_order, a_value_is_created_once,
        any_bytes_up_to_the_limit_are_a_value, revisions_grow_over_all_keys,
    },
    races::{
        an_update_is_never_lost, changes_through_one_handle_are_seen_through_another,
        of_several_creators_one_wins, updates_through_two_handles_are_never_lost,
    },
    watches::{
        a_watch_after_a_listing_misses_nothing, a_watch_keeps_to_its_prefix,
        a_watch_keeps_up_with_concurrent_changes, a_watch_through_another_handle_misses_nothing,
        a_watcher_that_waits_is_woken,
    },
};
use crate::{Entry, Key, Prefix, Revision, Store, StoreError, Watch};

/// Checks every rule for one handle, each on an empty store of its own.
///
/// # Panics
/// If a rule is broken; the message names it.
pub async fn run_all(make_store: impl AsyncFn() -> Arc<dyn Store>) {
    a_value_is_created_once(&*make_store().await).await;
    a_change_names_the_revision_that_it_replaces(&*make_store().await).await;
    a_deleted_key_can_be_created_again(&*make_store().await).await;
    revisions_grow_over_all_keys(&*make_store().await).await;
    a_listing_holds_the_keys_below_its_prefix_in_order(&*make_store().await).await;
    any_bytes_up_to_the_limit_are_a_value(&*make_store().await).await;
    an_update_is_never_lost(&*make_store().await).await;
    of_several_creators_one_wins(&*make_store().await).await;
    a_watch_after_a_listing_misses_nothing(&*make_store().await).await;
    a_watch_keeps_to_its_prefix(&*make_store().await).await;
    a_watcher_that_waits_is_woken(&*make_store().await).await;
    a_watch_keeps_up_with_concurrent_changes(&*make_store().await).await;
}

/// Checks every rule for two handles on one store, each on an empty store of its own.
///
/// # Panics
/// If a rule is broken; the message names it.
pub async fn run_shared<S: Store + 'static>(make_handles: impl AsyncFn() -> [Arc<S>; 2]) {
    let [a, b] = make_handles().await;
    changes_through_one_handle_are_seen_through_another(&*a, &*b).await;
    let [a, b] = make_handles().await;
    updates_through_two_handles_are_never_lost(&*a, &*b).await;
    let [a, b] = make_handles().await;
    a_watch_through_another_handle_misses_nothing(&*a, &*b).await;
}

fn key(text: &str) -> Key {
    Key::new(text).expect("the suite uses valid keys")
}

fn prefix(text: &str) -> Prefix {
    Prefix::new(text).expect("the suite uses valid prefixes")
}

async fn create(store: &dyn Store, name: &str, value: &str) -> Revision {
    store
        .create(&key(name), value.as_bytes())
        .await
        .expect("an absent key is created")
}

async fn get(store: &dyn Store, name: &str) -> Option<Entry> {
    store.get(&key(name)).await.expect("a key is read")
}

/// The entry that a refused change found.
#[track_caller]
fn conflict<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> Option<Entry> {
    match outcome {
        Err(StoreError::Conflict { found, .. }) => found.map(|entry| *entry),
        other => panic!("a change of a key that is not as expected must conflict, not {other:?}"),
    }
}

type Values = BTreeMap<Key, Vec<u8>>;

/// What a listing shows.
async fn values(store: &dyn Store, below: &Prefix) -> (Values, Revision) {
    let listing = store.list(below).await.expect("a prefix is listed");
    let entries = listing
        .entries
        .into_iter()
        .map(|entry| (entry.key, entry.value));
    (entries.collect(), listing.revision)
}

/// Follows a watch until it has reached a revision, and returns the values that it leads to.
async fn follow(watch: &mut Watch, mut values: Values, after: Revision, until: Revision) -> Values {
    use futures_util::StreamExt;

    let mut last = after;
    while last < until {
        let event = watch
            .next()
            .await
            .expect("a watch goes on")
            .expect("a watch has no error");
        assert!(
            last < event.revision,
            "events come in the order of their revisions"
        );
        last = event.revision;
        match event.value {
            Some(value) => values.insert(event.key, value),
            None => values.remove(&event.key),
        };
    }
    values
}
