//! Calls: what is repeated, what is not, and what is waited for.

use futures_util::FutureExt;
use shardwright_router::{
    Error, Outcome, Peer, Request, Response, Transport, TransportError, transport::memory::Fault,
};

use super::*;

/// A call that ended at its deadline may have run.
#[track_caller]
fn assert_timed_out(error: &Error) {
    let outcome = match error {
        Error::TimedOut { outcome, .. } => *outcome,
        other => panic!("{other}"),
    };
    assert_eq!(outcome, Outcome::Unknown, "{error}");
}

#[tokio::test]
async fn a_call_runs_the_handler_wherever_the_shard_is() {
    let network = Network::new();
    let (caller, owner) = pair(&network);
    caller.set_owner(&shard(1), Some(node("caller")), Epoch(1));
    for router in [&caller, &owner] {
        let name = router.node().clone();
        router.handle("where", move |call| {
            let answer = format!("{} on {name} at {}", call.shard(), call.epoch());
            async move { Ok::<_, BoxError>(answer) }
        });
    }
    let answer = caller
        .call(&shard(0), "where", "")
        .await
        .expect("an answer");
    assert_eq!(answer, "shard-0 on owner at e3");
    let answer = caller
        .forward(&shard(1), "where", "")
        .await
        .expect("an answer");
    assert_eq!(answer, "shard-1 on caller at e1");
}

#[tokio::test]
async fn a_request_that_was_not_delivered_is_repeated() {
    let network = Network::new();
    let (caller, owner) = pair(&network);
    let runs = count(&owner, "count");
    network.fail("owner", [Fault::NotDelivered; 3]);
    let answer = caller
        .call(&shard(0), "count", "")
        .await
        .expect("an answer");
    assert_eq!(answer, "1");
    assert_eq!(runs.load(SeqCst), 1);
}

#[tokio::test]
async fn a_call_whose_outcome_is_unknown_is_not_repeated() {
    let network = Network::new();
    let (caller, owner) = pair(&network);
    let runs = count(&owner, "count");
    network.fail("owner", [Fault::AnswerLost]);
    let error = caller
        .call(&shard(0), "count", "")
        .await
        .expect_err("no answer");
    assert!(matches!(error, Error::Interrupted { .. }), "{error}");
    assert_eq!(
        (error.code(), error.outcome()),
        ("INDETERMINATE", Outcome::Unknown)
    );
    assert_eq!(runs.load(SeqCst), 1, "it ran once");
}

#[tokio::test]
async fn an_idempotent_call_is_repeated_whatever_happened() {
    let network = Network::new();
    let (caller, owner) = pair(&network);
    let runs = count(&owner, "count");
    network.fail(
        "owner",
        [Fault::AnswerLost, Fault::NotDelivered, Fault::AnswerLost],
    );
    let options = CallOptions {
        idempotent: true,
        ..CallOptions::default()
    };
    let answer = caller.call_with(&shard(0), "count", "", options).await;
    assert_eq!(answer.expect("an answer"), "3");

    // A method that the caller itself knows as idempotent needs no option.
    caller.handle_idempotent("count", async |_| Ok::<_, BoxError>("elsewhere"));
    network.fail("owner", [Fault::AnswerLost]);
    let answer = caller.call(&shard(0), "count", "").await;
    assert_eq!(answer.expect("an answer"), "5");
    assert_eq!(runs.load(SeqCst), 5);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_have_run_never_says_that_it_did_not() {
    let network = Network::new();
    let (caller, owner) = pair(&network);
    count(&owner, "count");
    network.fail(
        "owner",
        std::iter::once(Fault::AnswerLost).chain([Fault::NotDelivered; 1000]),
    );
    let options = CallOptions {
        idempotent: true,
        ..within(SHORT)
    };
    let error = caller.call_with(&shard(0), "count", "", options).await;
    let error = error.expect_err("the node cannot be reached after the first time");
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_call_without_answer_ends_after_5_seconds_with_an_unknown_outcome() {
    let network = Network::new();
    let (caller, owner) = pair(&network);
    let runs = count(&owner, "count");
    network.fail("owner", [Fault::Lost]);
    let begun = tokio::time::Instant::now();
    let error = caller
        .call(&shard(0), "count", "")
        .await
        .expect_err("no answer");
    assert_timed_out(&error);
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    assert_eq!(runs.load(SeqCst), 0);
}

#[tokio::test]
async fn a_stale_epoch_is_repeated_at_the_current_one() {
    let network = Network::new();
    let (caller, owner) = pair(&network);
    let runs = count(&owner, "count");
    owner.set_owner(&shard(0), Some(node("owner")), Epoch(7));
    let answer = caller.call(&shard(0), "count", "").await;
    assert_eq!(answer.expect("the owner said its epoch"), "1");
    assert_eq!(runs.load(SeqCst), 1);
}

#[tokio::test]
async fn a_shard_that_has_moved_is_followed_without_news_from_the_registry() {
    let network = Network::new();
    let (caller, before) = pair(&network);
    let after = join(&network, "after");
    count(&before, "count");
    count(&after, "count");
    for router in [&before, &after] {
        router.set_owner(&shard(0), Some(node("after")), Epoch(4));
    }
    caller.set_address(&node("after"), Some("after"));
    let answer = caller.call(&shard(0), "count", "").await;
    assert_eq!(answer.expect("the owner of before says who owns it"), "1");
}

#[tokio::test]
async fn a_call_waits_for_an_owner() {
    let network = Network::new();
    let (caller, owner) = pair(&network);
    count(&owner, "count");
    owner.set_owner(&shard(1), Some(node("owner")), Epoch(1));
    caller.set_owner(&shard(1), None, Epoch::UNASSIGNED);
    let assigned = shard(1);
    let call = caller.call(&assigned, "count", "");
    let assign = async {
        tokio::task::yield_now().await;
        caller.set_owner(&shard(1), Some(node("owner")), Epoch(1));
    };
    let (answer, ()) = tokio::join!(call, assign);
    assert_eq!(answer.expect("the owner came in time"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_nobody_comes_to_own_has_no_owner() {
    let network = Network::new();
    let (caller, _) = pair(&network);
    caller.set_owner(&shard(1), None, Epoch::UNASSIGNED);
    let begun = tokio::time::Instant::now();
    let error = caller
        .call_with(&shard(1), "count", "", within(SHORT))
        .await;
    let error = error.expect_err("nobody owns it");
    assert!(matches!(error, Error::NoOwner { .. }), "{error}");
    assert_eq!(begun.elapsed(), SHORT, "the call waited for its whole time");
    let error = caller
        .call(&shard(9), "count", "")
        .await
        .expect_err("unknown");
    assert!(matches!(error, Error::UnknownShard { .. }), "{error}");
}

#[tokio::test]
async fn a_call_waits_for_the_end_of_a_cut_over() {
    let network = Network::new();
    let (caller, owner) = pair(&network);
    let runs = count(&owner, "count");
    let cut_over = owner.begin_cut_over(&shard(0)).expect("it is open");
    let target = shard(0);
    let end = async {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            runs.load(SeqCst),
            0,
            "nothing runs while the shard is handed over"
        );
        cut_over.reopen(Epoch(4)).await;
    };
    let (answer, ()) = tokio::join!(caller.call(&target, "count", ""), end);
    assert_eq!(answer.expect("the shard opened in time"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_call_of_a_shard_whose_lease_has_ended_says_so() {
    let network = Network::new();
    let (caller, _) = pair(&network);
    let settings = Settings {
        serving: Some(Arc::new(|_: &ShardId, _: Epoch| false)),
        ..Settings::default()
    };
    let owner = Router::new(node("owner"), Arc::new(network.clone()), settings);
    network.serve("owner", &owner);
    owner.set_owner(&shard(0), Some(node("owner")), Epoch(3));
    let runs = count(&owner, "count");
    let error = caller
        .call_with(&shard(0), "count", "", within(SHORT))
        .await;
    let error = error.expect_err("it may not be served");
    assert!(matches!(error, Error::NotServing { .. }), "{error}");
    assert_eq!(runs.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_without_an_address_is_named() {
    let network = Network::new();
    let (caller, _) = pair(&network);
    caller.set_owner(&shard(0), Some(node("ghost")), Epoch(4));
    let error = caller
        .call_with(&shard(0), "count", "", within(SHORT))
        .await;
    assert!(matches!(error, Err(Error::UnknownNode { node: ghost }) if ghost == node("ghost")));
}

#[tokio::test]
async fn a_local_call_ends_at_its_deadline_and_keeps_its_guard_until_then() {
    let router = Router::local(node("n1"));
    router.set_owner(&shard(0), Some(node("n1")), Epoch(1));
    // The handler drops its call at once, and its guard with it: the router holds another.
    router.handle("stay", |_| async {
        std::future::pending::<()>().await;
        Ok::<_, BoxError>("")
    });
    let target = shard(0);
    let mut call = Box::pin(router.call_with(&target, "stay", "", within(SHORT)));
    assert!(call.as_mut().now_or_never().is_none());
    let cut_over = router.begin_cut_over(&shard(0)).expect("it is open");
    assert!(cut_over.drained().now_or_never().is_none());
    let error = call.await.expect_err("it does not end");
    assert_timed_out(&error);
    cut_over.drained().await;
}

#[tokio::test]
async fn a_proxy_reaches_every_shard_and_owns_none() {
    let network = Network::new();
    let proxy = join(&network, "proxy");
    let nodes: Vec<Router> = ["n1", "n2"].map(|name| join(&network, name)).into();
    for router in &nodes {
        let name = router.node().to_string();
        router.handle("who", move |_| {
            let name = name.clone();
            async move { Ok::<_, BoxError>(name) }
        });
    }
    for router in nodes.iter().chain([&proxy]) {
        for (number, owner) in [(0, "n1"), (1, "n2"), (2, "n1"), (3, "n2")] {
            router.set_owner(&shard(number), Some(node(owner)), Epoch(1));
            router.set_address(&node(owner), Some(owner));
        }
    }
    for number in 0..4 {
        assert!(!proxy.is_shard_local(&shard(number)));
        let answer = proxy
            .call(&shard(number), "who", "")
            .await
            .expect("an answer");
        assert_eq!(answer, ["n1", "n2"][number as usize % 2]);
    }
}

#[tokio::test]
async fn a_node_that_lost_the_shard_sends_callers_on_though_it_lacks_the_method() {
    let network = Network::new();
    let (caller, before) = pair(&network);
    let after = join(&network, "after");
    count(&after, "count");
    for router in [&before, &after] {
        router.set_owner(&shard(0), Some(node("after")), Epoch(4));
    }
    caller.set_address(&node("after"), Some("after"));
    let answer = caller.call(&shard(0), "count", "").await;
    assert_eq!(answer.expect("the owner has the method"), "1");
}

#[tokio::test]
async fn a_shard_that_leaves_this_node_is_followed_though_the_method_is_elsewhere() {
    let network = Network::new();
    let (caller, owner) = pair(&network);
    count(&owner, "count");
    caller.set_owner(&shard(0), Some(node("caller")), Epoch(4));
    let cut_over = caller.begin_cut_over(&shard(0)).expect("it is open");
    let target = shard(0);
    let hand_over = async {
        tokio::task::yield_now().await;
        for router in [&caller, &owner] {
            router.set_owner(&shard(0), Some(node("owner")), Epoch(5));
        }
        drop(cut_over);
    };
    let (answer, ()) = tokio::join!(caller.call(&target, "count", ""), hand_over);
    assert_eq!(answer.expect("the next owner has the method"), "1");
}

/// Counts requests, and delivers none.
#[derive(Debug, Default)]
struct Deaf(AtomicU64);

#[async_trait::async_trait]
impl Transport for Deaf {
    async fn call(&self, _: Peer<'_>, _: Request) -> Result<Response, TransportError> {
        self.0.fetch_add(1, SeqCst);
        Err(TransportError::NotDelivered("nobody is there".into()))
    }

    fn payload_max(&self) -> usize {
        1_000
    }
}

#[tokio::test(start_paused = true)]
async fn news_of_other_shards_does_not_hurry_a_call_that_waits() {
    let deaf = Arc::new(Deaf::default());
    let caller = Router::new(node("caller"), deaf.clone(), Settings::default());
    caller.set_address(&node("owner"), Some("owner"));
    caller.set_owner(&shard(0), Some(node("owner")), Epoch(3));
    let target = shard(0);
    let call = caller.call_with(&target, "count", "", within(SHORT));
    let news = async {
        for epoch in 1..=1_000 {
            caller.set_owner(&shard(1), Some(node("owner")), Epoch(epoch));
            caller.set_owner(&shard(0), Some(node("owner")), Epoch(3));
            tokio::task::yield_now().await;
        }
    };
    let (outcome, ()) = tokio::join!(call, news);
    let error = outcome.expect_err("nobody is there");
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let requests = deaf.0.load(SeqCst);
    assert!(
        (2..=40).contains(&requests),
        "{requests} requests within {SHORT:?}, the first wait being 5 ms"
    );
}

#[tokio::test(start_paused = true)]
async fn news_of_the_shard_or_of_its_owner_ends_the_wait() {
    let network = Network::new();
    let (caller, owner) = pair(&network);
    count(&owner, "count");
    let target = shard(0);
    let begun = tokio::time::Instant::now();

    caller.set_address(&node("owner"), Some("nowhere"));
    let news = async {
        tokio::task::yield_now().await;
        caller.set_address(&node("owner"), Some("owner"));
    };
    let (answer, ()) = tokio::join!(caller.call(&target, "count", ""), news);
    assert_eq!(answer.expect("the address came in time"), "1");

    let other = join(&network, "other");
    count(&other, "count");
    caller.set_address(&node("other"), Some("other"));
    network.remove("owner");
    let news = async {
        tokio::task::yield_now().await;
        for router in [&caller, &other] {
            router.set_owner(&shard(0), Some(node("other")), Epoch(4));
        }
    };
    let (answer, ()) = tokio::join!(caller.call(&target, "count", ""), news);
    assert_eq!(answer.expect("the owner came in time"), "1");

    let cut_over = other.begin_cut_over(&shard(0)).expect("it is open");
    let end = async {
        tokio::task::yield_now().await;
        cut_over.abort();
    };
    let (answer, ()) = tokio::join!(other.call(&target, "count", ""), end);
    assert_eq!(answer.expect("the shard opened in time"), "2");
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waited for longer");
}
