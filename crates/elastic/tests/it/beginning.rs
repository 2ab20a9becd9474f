//! How operations begin: whoever stops waiting, and whatever the journal says, each runs once or not at all.

use std::sync::Arc;

use shardwright_elastic::{
    ElasticShardManager, Error, Gating, Journal, Notice, SplitAt,
    topology::{OperationId, Phase},
};
use tokio::sync::broadcast::Receiver;

use crate::scripted::{Put, Scripted, manager, scripted};

async fn split(manager: &ElasticShardManager) -> Result<OperationId, Error> {
    let (at, gating) = (SplitAt::Middle, Gating::Force);
    manager.begin_split("shard-0", at, gating).await
}

async fn scene(puts: &[Put]) -> (Arc<Scripted>, ElasticShardManager) {
    let (journal, store) = scripted();
    let manager = manager(journal.clone(), &store).await;
    journal.puts.lock().expect("no panic").extend(puts);
    (journal, manager)
}

async fn ended(notices: &mut Receiver<Notice>) -> Phase {
    loop {
        if let Notice::Phase { phase, .. } = notices.recv().await.expect("the manager is there")
            && phase.is_final()
        {
            return phase;
        }
    }
}

/// Begins a split, and stops waiting once the journal was asked.
async fn split_and_leave(journal: &Arc<Scripted>, manager: &ElasticShardManager) {
    let manager = manager.clone();
    let caller = tokio::spawn(async move { split(&manager).await });
    journal.made.acquire().await.expect("it is open").forget();
    caller.abort();
    let left = caller.await.expect_err("it has not come to an end");
    assert!(left.is_cancelled());
}

#[tokio::test]
async fn an_operation_whose_caller_leaves_goes_on() {
    let (journal, manager) = scene(&[Put::Late]).await;
    let mut notices = manager.notices();
    split_and_leave(&journal, &manager).await;
    let taken = split(&manager).await;
    assert!(matches!(taken, Err(Error::InOperation { .. })), "{taken:?}");
    journal.arrive.add_permits(1);
    assert_eq!(ended(&mut notices).await, Phase::Done);
    assert_eq!(manager.layout().len(), 3);
}

#[tokio::test]
async fn the_shards_of_an_operation_that_was_not_written_down_are_free() {
    let (journal, manager) = scene(&[Put::Refused]).await;
    split_and_leave(&journal, &manager).await;
    journal.arrive.add_permits(1);
    let begun = loop {
        match split(&manager).await {
            Err(Error::InOperation { .. }) => tokio::task::yield_now().await,
            other => break other.expect("the first one let go of it"),
        }
    };
    manager.committed(&begun).await.expect("it commits");
    let all = journal.list().await.expect("a list");
    assert_eq!(all.len(), 1, "the first one never was");
}

#[tokio::test]
async fn an_answer_that_does_not_say_what_happened_is_found_out() {
    for puts in [
        &[Put::Unsaid][..],
        &[Put::Lost],
        &[Put::Lost, Put::Lost, Put::Unsaid],
    ] {
        let (journal, manager) = scene(puts).await;
        let begun = split(&manager).await.expect("it is found out");
        manager.committed(&begun).await.expect("it commits");
        let all = journal.list().await.expect("a list");
        assert_eq!(all.len(), 1, "{puts:?}");
        assert_eq!(manager.layout().len(), 3, "{puts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_silent_journal_and_it_is_found_out_nevertheless() {
    let (journal, manager) = scene(&[Put::Silent]).await;
    let mut notices = manager.notices();
    let unsettled = split(&manager).await;
    let Err(Error::Unsettled { operation }) = unsettled else {
        panic!("the journal has said nothing: {unsettled:?}");
    };
    let taken = split(&manager).await;
    assert!(matches!(taken, Err(Error::InOperation { .. })), "{taken:?}");
    assert_eq!(ended(&mut notices).await, Phase::Done);
    let all = journal.list().await.expect("a list");
    assert_eq!(all[0].record.id(), &operation);
}

#[tokio::test]
async fn an_operation_that_is_found_while_it_is_begun_runs_once() {
    let (journal, manager) = scene(&[Put::Late]).await;
    let begun = tokio::spawn({
        let manager = manager.clone();
        async move { split(&manager).await }
    });
    journal.made.acquire().await.expect("it is open").forget();
    manager.refresh().await.expect("the journal is there");
    let all = journal.list().await.expect("a list");
    let found = manager.watch(all[0].record.id()).expect("it runs");
    journal.arrive.add_permits(1);
    let begun = begun.await.expect("no panic").expect("it was written down");
    let runs = manager.watch(&begun).expect("it runs");
    assert!(runs.same_channel(&found), "a second driver");
    manager.committed(&begun).await.expect("it commits");
}
