//! A journal whose answers arrive late: what they say of the shards is older than what the manager knows by then.

use std::sync::atomic::Ordering;

use shardwright_elastic::{Gating, SplitAt};

use crate::scripted::{manager, scripted};

#[tokio::test]
async fn a_layout_that_was_read_before_a_commit_does_not_replace_a_later_one() {
    let (journal, store) = scripted();
    let manager = manager(journal.clone(), &store).await;
    journal.is_late.store(true, Ordering::SeqCst);
    let refreshed = tokio::spawn({
        let manager = manager.clone();
        async move { manager.refresh().await }
    });
    journal.made.acquire().await.expect("it is open").forget();
    manager
        .split_shard_at("shard-0", SplitAt::Middle, Gating::Force)
        .await
        .expect("a split");
    let split = manager.layout();
    assert_eq!(split.len(), 3);
    journal.arrive.add_permits(1);
    refreshed
        .await
        .expect("no panic")
        .expect("the journal is there");
    assert_eq!(manager.layout(), split);
}

#[tokio::test]
async fn an_operation_of_another_manager_that_committed_meanwhile_is_seen() {
    let (journal, store) = scripted();
    let other = manager(journal.clone(), &store).await;
    journal.is_late.store(true, Ordering::SeqCst);
    let begun = tokio::spawn({
        let (journal, store) = (journal.clone(), store.clone());
        async move { manager(journal, &store).await }
    });
    journal.made.acquire().await.expect("it is open").forget();
    other
        .split_shard_at("shard-0", SplitAt::Middle, Gating::Force)
        .await
        .expect("a split");
    journal.arrive.add_permits(1);
    let begun = begun.await.expect("no panic");
    assert_eq!(begun.layout(), other.layout());
}

#[tokio::test]
async fn operations_that_commit_at_once_all_count() {
    let (journal, store) = scripted();
    let manager = manager(journal.clone(), &store).await;
    let split = async |shard| {
        let force = (SplitAt::Middle, Gating::Force);
        manager.split_shard_at(shard, force.0, force.1).await
    };
    let (first, second) = tokio::join!(split("shard-0"), split("shard-1"));
    first.expect("a split");
    second.expect("a split");
    assert_eq!(manager.layout().len(), 4);
}
