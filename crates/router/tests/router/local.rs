//! Local work, and the cut-overs that wait for it.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::Duration,
};

use futures_util::FutureExt;
use shardwright_router::{Error, Guard, Router, Settings};

use super::*;

fn owner_of_shard_0() -> Router {
    let router = Router::local(node("n1"));
    router.set_owner(&shard(0), Some(node("n1")), Epoch(1));
    router
}

#[tokio::test]
async fn work_runs_on_a_shard_of_this_node_at_its_epoch() {
    let router = owner_of_shard_0();
    let seen = router
        .execute(&shard(0), async |guard| {
            (guard.shard().clone(), guard.epoch())
        })
        .await
        .expect("it is local");
    assert_eq!(seen, (shard(0), Epoch(1)));
    assert!(router.is_shard_local(&shard(0)));
}

#[tokio::test]
async fn work_does_not_run_where_the_shard_is_not() {
    let router = Router::local(node("n1"));
    let refused = async |number| {
        let target = shard(number);
        let outcome = router.execute(&target, async |_| unreachable!("it must not run"));
        outcome.await.expect_err("it is not local")
    };
    assert!(matches!(refused(0).await, Error::NoMap));
    router.set_owner(&shard(1), Some(node("n2")), Epoch(4));
    router.set_owner(&shard(2), None, Epoch::UNASSIGNED);
    assert!(matches!(refused(0).await, Error::UnknownShard { .. }));
    assert!(matches!(refused(1).await, Error::NotLocal { owner, .. } if owner == node("n2")));
    assert!(matches!(refused(2).await, Error::NoOwner { .. }));
    assert!((0..3).all(|number| !router.is_shard_local(&shard(number))));
    let tenant = router.execute_by_tenant("tenant-123", async |_| ()).await;
    assert!(matches!(tenant, Err(Error::NoTenants)));
}

#[tokio::test]
async fn a_future_that_is_dropped_lets_go_of_the_shard() {
    let router = owner_of_shard_0();
    let target = shard(0);
    let mut work = Box::pin(router.execute(&target, async |_| std::future::pending::<()>().await));
    assert!(work.as_mut().now_or_never().is_none());
    let cut_over = router.begin_cut_over(&shard(0)).expect("it is open");
    assert!(
        cut_over.drained().now_or_never().is_none(),
        "the work is inside"
    );
    drop(work);
    assert!(cut_over.drained().now_or_never().is_some());
}

#[tokio::test]
async fn a_cut_over_ends_an_epoch_and_another_begins() {
    let router = owner_of_shard_0();
    let guard = router.guard(&shard(0)).expect("it is local");
    let cut_over = router.begin_cut_over(&shard(0)).expect("it is open");
    assert_eq!((cut_over.shard(), cut_over.epoch()), (&shard(0), Epoch(1)));

    let refused = router.execute(&shard(0), async |_| ()).await;
    assert!(matches!(
        refused,
        Err(Error::CutOver {
            epoch: Epoch(1),
            ..
        })
    ));
    assert!(!router.is_shard_local(&shard(0)));
    assert!(matches!(
        router.begin_cut_over(&shard(0)),
        Err(Error::CutOver { .. })
    ));

    let mut reopening = Box::pin(cut_over.reopen(Epoch(2)));
    assert!(
        reopening.as_mut().now_or_never().is_none(),
        "a guard is alive"
    );
    drop(guard);
    reopening.await;
    assert_eq!(router.guard(&shard(0)).expect("open").epoch(), Epoch(2));
}

#[tokio::test]
async fn a_cut_over_that_is_given_up_changes_nothing() {
    let router = owner_of_shard_0();
    let guard = router.guard(&shard(0)).expect("it is local");
    router
        .begin_cut_over(&shard(0))
        .expect("it is open")
        .abort();
    assert_eq!(
        router.guard(&shard(0)).expect("open").epoch(),
        guard.epoch()
    );
}

#[tokio::test]
async fn a_cut_over_that_is_dropped_leaves_the_shard_shut_until_a_later_epoch() {
    let router = owner_of_shard_0();
    drop(router.begin_cut_over(&shard(0)).expect("it is open"));
    let refused = || router.guard(&shard(0)).err();
    assert!(matches!(refused(), Some(Error::CutOver { .. })));
    router.set_owner(&shard(0), Some(node("n1")), Epoch(1));
    assert!(
        matches!(refused(), Some(Error::CutOver { .. })),
        "the epoch has ended"
    );
    router.set_owner(&shard(0), Some(node("n1")), Epoch(2));
    assert_eq!(router.guard(&shard(0)).expect("open").epoch(), Epoch(2));
}

#[tokio::test]
async fn the_map_waits_for_a_cut_over_and_counts_after_it() {
    let router = owner_of_shard_0();
    let cut_over = router.begin_cut_over(&shard(0)).expect("it is open");
    router.set_owner(&shard(0), Some(node("n1")), Epoch(4));
    let refused = router.guard(&shard(0)).err();
    assert!(matches!(refused, Some(Error::CutOver { .. })), "it drains");
    cut_over.reopen(Epoch(2)).await;
    assert_eq!(router.guard(&shard(0)).expect("open").epoch(), Epoch(4));

    let cut_over = router.begin_cut_over(&shard(0)).expect("it is open");
    router.set_owner(&shard(0), Some(node("n2")), Epoch(5));
    cut_over.abort();
    let refused = router.guard(&shard(0)).err();
    assert!(
        matches!(refused, Some(Error::NotLocal { .. })),
        "another node owns it"
    );
}

#[tokio::test]
async fn a_shard_that_left_and_came_back_still_counts_its_old_guards() {
    let router = owner_of_shard_0();
    let old = router.guard(&shard(0)).expect("it is local");
    router.set_owner(&shard(0), Some(node("n2")), Epoch(2));
    assert!(matches!(
        router.guard(&shard(0)),
        Err(Error::NotLocal { .. })
    ));
    router.set_owner(&shard(0), Some(node("n1")), Epoch(3));
    let cut_over = router.begin_cut_over(&shard(0)).expect("it is open again");
    assert!(
        cut_over.drained().now_or_never().is_none(),
        "a guard of e1 is alive"
    );
    drop(old);
    cut_over.drained().await;
}

#[tokio::test]
async fn a_lease_may_forbid_what_the_map_allows() {
    let held = Arc::new(AtomicBool::new(true));
    let lease = Arc::clone(&held);
    let settings = Settings {
        serving: Some(Arc::new(move |_: &ShardId, epoch: Epoch| {
            epoch == Epoch(1) && lease.load(SeqCst)
        })),
        ..Settings::default()
    };
    let router = Router::new(node("n1"), Arc::new(Network::new()), settings);
    router.set_owner(&shard(0), Some(node("n1")), Epoch(1));
    assert!(router.is_shard_local(&shard(0)));
    held.store(false, SeqCst);
    let refused = router.execute(&shard(0), async |_| ()).await;
    assert!(matches!(
        refused,
        Err(Error::NotServing {
            epoch: Epoch(1),
            ..
        })
    ));
    assert!(!router.is_shard_local(&shard(0)));
    let cut_over = router.begin_cut_over(&shard(0)).expect("it is open");
    assert!(
        cut_over.drained().now_or_never().is_some(),
        "who was refused is not inside"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_work_of_an_epoch_runs_after_its_cut_over() {
    let router = owner_of_shard_0();
    let ended = Arc::new(AtomicU64::new(0));
    let runs = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let worker = |_| {
        let (router, ended, stop) = (router.clone(), Arc::clone(&ended), Arc::clone(&stop));
        let runs = Arc::clone(&runs);
        tokio::spawn(async move {
            while !stop.load(SeqCst) {
                let work = async |guard: &Guard| {
                    for _ in 0..3 {
                        assert!(ended.load(SeqCst) < guard.epoch().0, "its epoch has ended");
                        tokio::task::yield_now().await;
                    }
                };
                match router.execute(&shard(0), work).await {
                    Ok(()) => drop(runs.fetch_add(1, SeqCst)),
                    Err(Error::CutOver { .. }) => tokio::task::yield_now().await,
                    Err(other) => panic!("{other}"),
                }
            }
        })
    };
    let workers: Vec<_> = (0..8).map(worker).collect();
    let limit = Duration::from_secs(60);
    for epoch in 1..200 {
        let before = runs.load(SeqCst);
        let some_work = async {
            while runs.load(SeqCst) == before {
                tokio::task::yield_now().await;
            }
        };
        let worked = tokio::time::timeout(limit, some_work).await;
        worked.expect("work runs in every epoch");
        let cut_over = router.begin_cut_over(&shard(0)).expect("it is open");
        tokio::time::timeout(limit, cut_over.drained())
            .await
            .expect("all work ends");
        ended.store(epoch, SeqCst);
        cut_over.reopen(Epoch(epoch + 1)).await;
        tokio::task::yield_now().await;
    }
    stop.store(true, SeqCst);
    for worker in workers {
        worker.await.expect("no work ran after its epoch");
    }
}

#[test]
fn a_cut_over_that_has_ended_leaves_the_next_one_alone() {
    let router = owner_of_shard_0();
    let changes = || {
        for _ in 0..5_000 {
            if let Ok(cut_over) = router.begin_cut_over(&shard(0)) {
                let refused = router.guard(&shard(0));
                assert!(refused.is_err(), "nobody gets in meanwhile");
                cut_over.abort();
            }
        }
    };
    std::thread::scope(|scope| {
        let others = [(); 2].map(|()| scope.spawn(changes));
        for other in others {
            other.join().expect("nobody got in");
        }
    });
    let guard = router.guard(&shard(0)).expect("all were given up");
    assert_eq!(guard.epoch(), Epoch(1));
}

#[test]
fn a_shard_that_went_elsewhere_meanwhile_is_never_open_after_its_cut_over() {
    for _ in 0..200 {
        let router = owner_of_shard_0();
        let cut_over = router.begin_cut_over(&shard(0)).expect("it is open");
        router.set_owner(&shard(0), Some(node("n2")), Epoch(3));
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let mut entered = false;
                while !is_over.load(SeqCst) {
                    entered |= router.guard(&shard(0)).is_ok();
                }
                entered
            });
            let reopened = cut_over.reopen(Epoch(2)).now_or_never();
            assert!(reopened.is_some(), "nobody is inside");
            is_over.store(true, SeqCst);
            assert!(!looking.join().expect("it only looks"));
        });
    }
}

#[tokio::test]
async fn a_gate_remembers_an_epoch_of_which_the_map_has_not_heard() {
    let router = owner_of_shard_0();
    let cut_over = router.begin_cut_over(&shard(0)).expect("it is open");
    cut_over.reopen(Epoch(5)).await;
    drop(router.begin_cut_over(&shard(0)).expect("it is open"));
    // The map lags: it shows how the shard came to be here at epoch 5.
    router.set_owner(&shard(0), Some(node("n2")), Epoch(3));
    router.set_owner(&shard(0), Some(node("n1")), Epoch(4));
    assert!(router.guard(&shard(0)).is_err(), "epoch 5 has ended");
    router.set_owner(&shard(0), Some(node("n1")), Epoch(6));
    assert_eq!(router.guard(&shard(0)).expect("later").epoch(), Epoch(6));
}

#[test]
fn owners_that_are_set_together_take_no_shard_back() {
    let router = owner_of_shard_0();
    router.set_owner(&shard(0), Some(node("n2")), Epoch(2));
    // A list that was read before.
    let list = [0, 1].map(|number| (shard(number), Some(node("n1")), Epoch(1)));
    router.set_owners(list);
    assert!(!router.is_shard_local(&shard(0)), "it went at epoch 2");
    assert!(router.is_shard_local(&shard(1)));
}

#[test]
fn a_handler_under_a_name_that_no_call_can_have_is_a_mistake() {
    let router = Router::local(node("n1"));
    for name in ["", "two words", "größe"] {
        let register = || router.handle(name, async |call| Ok::<_, BoxError>(call.payload));
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(register));
        let panic = panic.expect_err("no call reaches it");
        let text = panic.downcast_ref::<String>().expect("a text");
        assert!(text.contains("1 to 255 visible ASCII characters"), "{text}");
    }
}
