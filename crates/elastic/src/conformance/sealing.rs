//! Rules about seals, the switch and the end.

use super::{Bench, key, operation, source, target, whole};
use crate::{Pace, StoreError};

fn refused(outcome: &Result<(), StoreError>) -> bool {
    outcome.is_err()
}

/// A sealed shard takes no writes, and takes them again once its operation let go of it.
///
/// # Panics
/// If it does not.
pub async fn a_seal_ends_writes_until_it_is_released(bench: &Bench) {
    let id = operation("op-1");
    let from = bench.begin(&id).await.applied;
    bench.put(&source(), 1, "before");
    let last = bench
        .store
        .seal(&id, &source())
        .await
        .expect("a shard is sealed");
    assert_eq!(last.0, from.0 + 1, "the position of the last write");
    let write = (bench.write)(&source(), &key(2), Some(b"after"));
    assert!(matches!(write, Err(StoreError::Sealed { .. })), "{write:?}");
    assert_eq!(
        bench.store.seal(&id, &source()).await.ok(),
        Some(last),
        "again"
    );
    let other = bench.store.seal(&operation("op-2"), &source()).await;
    assert!(other.is_err(), "another operation cannot seal it");
    for _ in 0..2 {
        let released = bench.store.release(&id, &source()).await;
        released.expect("an operation lets go");
    }
    bench.put(&source(), 2, "after");
}

/// A seal, a follower or a bound that arrives after its operation let go is refused, or nobody would ever end it.
///
/// # Panics
/// If it is not.
pub async fn a_late_seal_of_an_ended_operation_is_refused(bench: &Bench) {
    let id = operation("op-1");
    let import = bench.begin(&id).await;
    bench
        .store
        .release(&id, &source())
        .await
        .expect("an operation lets go");
    let seal = bench.store.seal(&id, &source()).await;
    assert!(matches!(seal, Err(StoreError::Ended { .. })), "{seal:?}");
    let follow = bench.store.follow(&id, &source()).await;
    assert!(
        matches!(follow, Err(StoreError::Ended { .. })),
        "{follow:?}"
    );
    let pace = Pace {
        acknowledged: import.applied,
        ahead: Some(0),
    };
    let pace = bench.store.pace(&id, &source(), pace).await;
    assert!(matches!(pace, Err(StoreError::Ended { .. })), "{pace:?}");
    bench.put(&source(), 1, "after");
}

/// A target takes no writes before it is open, and nothing from a copy afterwards.
///
/// # Panics
/// If it does.
pub async fn an_open_target_takes_nothing_from_a_late_copy(bench: &Bench) {
    let id = operation("op-1");
    bench.put(&source(), 1, "old");
    let import = bench.begin(&id).await;
    let page = bench
        .store
        .scan(&source(), &whole(), None, super::FEW)
        .await;
    let page = page.expect("a shard is scanned");
    let write = (bench.write)(&target(), &key(1), Some(b"early"));
    assert!(
        matches!(write, Err(StoreError::Importing { .. })),
        "{write:?}"
    );
    let listed = bench.store.importing().await.expect("a list");
    assert_eq!(listed, [(target(), id.clone())]);
    bench.copy(&id, import).await;
    assert!(refused(
        &bench.store.open(&operation("op-2"), &target()).await
    ));
    for _ in 0..2 {
        bench
            .store
            .open(&id, &target())
            .await
            .expect("a target is opened");
    }
    bench.put(&target(), 1, "new");
    let late = bench.store.import(&id, &target(), &source(), page).await;
    assert!(matches!(late, Err(StoreError::NotHeld { .. })), "{late:?}");
    let read = (bench.read)(&target(), &key(1)).expect("a shard is read");
    assert_eq!(read, Some(b"new".to_vec()));
    bench
        .store
        .create(&id, &target(), &whole())
        .await
        .expect("a late create");
    assert_eq!(
        (bench.read)(&target(), &key(1)).ok(),
        Some(Some(b"new".to_vec()))
    );
}

/// An operation removes what it sealed or fills, and nothing else.
///
/// # Panics
/// If it does.
pub async fn only_what_an_operation_holds_is_removed(bench: &Bench) {
    let id = operation("op-1");
    let import = bench.begin(&id).await;
    bench.put(&source(), 1, "value");
    assert!(
        refused(&bench.store.remove(&id, &source()).await),
        "it serves"
    );
    let other = operation("op-2");
    assert!(
        refused(&bench.store.remove(&other, &target()).await),
        "another fills it"
    );
    bench.copy(&id, import).await;
    bench
        .store
        .seal(&id, &source())
        .await
        .expect("a shard is sealed");
    bench
        .store
        .open(&id, &target())
        .await
        .expect("a target is opened");
    assert!(
        refused(&bench.store.remove(&id, &target()).await),
        "it is open"
    );
    assert!(
        refused(&bench.store.remove(&other, &source()).await),
        "another sealed it"
    );
    for _ in 0..2 {
        bench
            .store
            .remove(&id, &source())
            .await
            .expect("it is removed");
    }
    assert!((bench.read)(&source(), &key(1)).is_err());
}

/// A name is never used again, so that a late call meets nothing that it is not about.
///
/// # Panics
/// If it is.
pub async fn a_removed_name_does_not_come_back(bench: &Bench) {
    let id = operation("op-1");
    bench.begin(&id).await;
    bench
        .store
        .remove(&id, &target())
        .await
        .expect("it is removed");
    let again = bench.store.create(&id, &target(), &whole()).await;
    assert!(
        matches!(again, Err(StoreError::Removed { .. })),
        "{again:?}"
    );
    let never = shardwright_topology::ShardId::numbered(7);
    bench
        .store
        .remove(&id, &never)
        .await
        .expect("there is none");
    let late = bench.store.create(&id, &never, &whole()).await;
    assert!(matches!(late, Err(StoreError::Removed { .. })), "{late:?}");
}

/// Writers who are too far ahead wait until more was applied.
///
/// # Panics
/// If they do not.
pub async fn writers_wait_for_a_copy(bench: &Bench) {
    let id = operation("op-1");
    let from = bench.begin(&id).await.applied;
    let pace = |applied: u64| Pace {
        acknowledged: shardwright_topology::Lsn(from.0 + applied),
        ahead: Some(2),
    };
    bench
        .store
        .pace(&id, &source(), pace(0))
        .await
        .expect("a bound");
    bench.put(&source(), 1, "one");
    bench.put(&source(), 2, "two");
    let third = (bench.write)(&source(), &key(3), Some(b"three"));
    assert!(matches!(third, Err(StoreError::Busy { .. })), "{third:?}");
    // What was applied was asked for before.
    let asked = bench.changes(from, None, super::FEW).await;
    assert_eq!(asked.changes.len(), 2);
    bench
        .store
        .pace(&id, &source(), pace(1))
        .await
        .expect("a bound");
    bench.put(&source(), 3, "three");
    let trimmed = bench
        .store
        .changes(&source(), &whole(), from, None, super::FEW)
        .await;
    let kept = trimmed.is_ok_and(|changes| changes.changes.len() == 3);
    let refused = bench
        .store
        .changes(&source(), &whole(), from, None, super::FEW)
        .await;
    let refused = matches!(refused, Err(StoreError::Trimmed { .. }));
    assert!(
        kept || refused,
        "changes are there, or it is said that they are not"
    );
}
