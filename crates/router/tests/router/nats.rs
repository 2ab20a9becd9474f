//! Calls over NATS, with real servers.

use shardwright_router::{
    Error, Outcome, Transport,
    conformance::{self, Served},
    transport::nats::{Nats, NatsError, NatsOptions},
};
use shardwright_testkit::nats::{NatsCluster, current, servers};

use tokio::sync::Notify;

use super::*;

async fn connect(url: &str) -> Nats {
    Nats::connect(&NatsOptions::new(url))
        .await
        .expect("a server is there")
}

#[tokio::test]
async fn nats_obeys_the_rules_of_transports() {
    for server in servers() {
        let cluster = NatsCluster::start(&server, 1);
        let url = cluster.url();
        conformance::run_all(
            async || Arc::new(connect(&url).await) as Arc<dyn Transport>,
            async |router| {
                let nats = connect(&url).await;
                let subject = format!("shardwright.rpc.{}", router.node());
                let listener = nats.listen(router).await.expect("a subscription");
                assert_eq!(listener.subject(), subject);
                Served::new("nats", async move { listener.shut_down().await })
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_request_beyond_those_that_run_at_once_is_refused_and_not_kept() {
    let Some(server) = current() else { return };
    let cluster = NatsCluster::start(&server, 1);
    let options = NatsOptions {
        in_flight_max: 1,
        ..NatsOptions::new(cluster.url())
    };
    let nats = Nats::connect(&options).await.expect("a server is there");
    let owner = Router::new(node("owner"), Arc::new(nats.clone()), Settings::default());
    let caller = Router::new(node("caller"), Arc::new(nats.clone()), Settings::default());
    let _listener = nats.listen(owner.clone()).await.expect("a subscription");
    for router in [&owner, &caller] {
        router.set_owner(&shard(0), Some(node("owner")), Epoch(1));
        router.set_address(&node("owner"), Some("nats"));
    }
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let stay = (Arc::clone(&entered), Arc::clone(&go_on));
    owner.handle("stay", move |_| {
        let (entered, go_on) = stay.clone();
        async move {
            entered.notify_one();
            go_on.notified().await;
            Ok::<_, BoxError>("")
        }
    });
    let runs = count(&owner, "count");
    let target = shard(0);
    let others = async {
        entered.notified().await;
        let refused = caller.call_with(&target, "count", "", within(SHORT)).await;
        let refused = refused.expect_err("the one place is taken");
        assert!(matches!(refused, Error::Overloaded { .. }), "{refused}");
        go_on.notify_one();
        caller.call(&target, "count", "").await
    };
    let (stayed, answer) = tokio::join!(caller.call(&target, "stay", ""), others);
    stayed.expect("an answer");
    assert_eq!(answer.expect("the place is free"), "1");
    assert_eq!(runs.load(SeqCst), 1, "what was refused did not run later");
}

#[tokio::test]
async fn a_request_is_not_kept_while_no_server_is_connected() {
    let Some(server) = current() else { return };
    let mut cluster = NatsCluster::start(&server, 1);
    let url = cluster.url();
    let nats = connect(&url).await;
    let owner = Router::new(node("owner"), Arc::new(nats.clone()), Settings::default());
    let caller = Router::new(node("caller"), Arc::new(nats.clone()), Settings::default());
    let _listener = nats.listen(owner.clone()).await.expect("a subscription");
    for router in [&owner, &caller] {
        router.set_owner(&shard(0), Some(node("owner")), Epoch(1));
        router.set_address(&node("owner"), Some("nats"));
    }
    let runs = count(&owner, "count");
    caller
        .call(&shard(0), "count", "")
        .await
        .expect("an answer");
    cluster.kill(0);
    let mut attempts = 0;
    let error = loop {
        // Until the client has noticed, a request may be on its way, and its outcome is unknown.
        let outcome = caller
            .call_with(&shard(0), "count", "", within(SHORT))
            .await;
        let error = outcome.expect_err("nobody carries it");
        attempts += 1;
        if error.outcome() == Outcome::NotRun || attempts == 100 {
            break error;
        }
    };
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let sent = attempts - 1;
    cluster.restart(0);
    let answer = loop {
        match caller.call(&shard(0), "count", "").await {
            Ok(answer) => break answer,
            Err(error) => assert_eq!(error.outcome(), Outcome::NotRun, "{error}"),
        }
    };
    let runs = runs.load(SeqCst);
    assert!(
        runs <= 2 + sent,
        "{answer:?} after {runs} runs: what was refused did not run later"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_that_says_so() {
    let outcome = Nats::connect(&NatsOptions::new("nats://127.0.0.1:1")).await;
    assert!(
        matches!(outcome, Err(NatsError::Connection(_))),
        "{outcome:?}"
    );
}
