//! What does not work, and what is known then.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{EPOCH, Pair};
use crate::{BoxError, CallOptions, Error, Outcome, Refusal, TransportError};

/// A method that the owner does not have is refused by name.
///
/// # Panics
/// If it is not so.
pub async fn an_unknown_method_is_named(pair: Pair) {
    match pair.caller.call(&pair.shard, "absent", "").await {
        Err(Error::UnknownMethod { node, method }) => {
            assert_eq!((&node, &*method), (pair.owner.node(), "absent"));
        }
        other => panic!("an unknown method is refused, not {other:?}"),
    }
}

/// The error of a handler, or its panic, reaches the caller as such.
///
/// # Panics
/// If it is not so.
pub async fn a_failed_handler_says_why(pair: Pair) {
    pair.owner
        .handle("fail", async |_| Err::<&str, _>("the disk is on fire"));
    pair.owner
        .handle("panic", |_| -> BoxFuture<'static, Result<&str, BoxError>> {
            panic!("a handler panics, as the conformance suite wants it to")
        });
    for (method, expected) in [
        ("fail", "the disk is on fire"),
        ("panic", "the handler panicked"),
    ] {
        match pair.caller.call(&pair.shard, method, "").await {
            Err(error @ Error::HandlerFailed { .. }) => {
                assert!(error.to_string().contains(expected), "{error}");
                assert_eq!(error.outcome(), Outcome::Ran);
            }
            other => panic!("a handler that fails is reported, not {other:?}"),
        }
    }
    let answer = pair.caller.call(&pair.shard, "echo", "x").await;
    assert_eq!(answer.expect("the next call is answered"), "x");
}

/// A method has a name of 1 to 255 visible ASCII characters, and another name is refused before anything is sent.
///
/// # Panics
/// If it is not so.
pub async fn a_method_has_the_same_names_everywhere(pair: Pair) {
    let visible: String = ('!'..='~').collect();
    for name in ["x", &visible, &"x".repeat(255)] {
        pair.owner
            .handle(name, async |call| Ok::<_, BoxError>(call.payload));
        let answer = pair.caller.call(&pair.shard, name, "x").await;
        assert_eq!(answer.expect("the method is reached"), "x", "{name}");
    }
    for name in ["", "two words", "two\nlines", "größe", &"x".repeat(256)] {
        match pair.caller.call(&pair.shard, name, "x").await {
            Err(error @ Error::InvalidMethod { .. }) => {
                assert_eq!(error.outcome(), Outcome::NotRun, "{name:?}");
            }
            other => panic!("{name:?} is refused as a name, not {other:?}"),
        }
    }
}

/// An error of a handler that says more than the transport carries reaches the caller all the same, cut.
///
/// # Panics
/// If it is not so.
pub async fn a_long_failure_is_cut(pair: Pair) {
    let above = pair.transport.payload_max() * 2;
    // In JSON each of these takes six bytes.
    let text = format!("the disk is on fire{}", "\u{1}".repeat(above));
    pair.owner.handle("fail", move |_| {
        let text = text.clone();
        async move { Err::<&str, _>(text) }
    });
    match pair.caller.call(&pair.shard, "fail", "").await {
        Err(Error::HandlerFailed { message, .. }) => {
            assert!(message.starts_with("the disk is on fire"), "{message}");
            assert!(message.len() <= 4096, "{} bytes", message.len());
        }
        other => panic!("a handler that fails at length is reported, not {other:?}"),
    }
}

/// A call ends at its deadline with an unknown outcome, and its handler is ended on the owner's side too.
///
/// # Panics
/// If it is not so.
pub async fn a_deadline_ends_the_call_on_both_sides(pair: Pair) {
    pair.owner.handle("stay", async |call| {
        std::future::pending::<()>().await;
        Ok::<_, BoxError>(call.payload)
    });
    let options = CallOptions {
        timeout: Some(Duration::from_millis(100)),
        ..CallOptions::default()
    };
    let outcome = pair
        .caller
        .call_with(&pair.shard, "stay", "", options)
        .await;
    match outcome {
        Err(error @ Error::TimedOut { .. }) => assert_eq!(error.outcome(), Outcome::Unknown),
        other => panic!("a call that takes too long ends, not {other:?}"),
    }
    let cut_over = pair
        .owner
        .begin_cut_over(&pair.shard)
        .expect("it owns the shard");
    let drained = tokio::time::timeout(Duration::from_secs(30), cut_over.drained()).await;
    drained.expect("a handler whose caller waits no longer has ended");

    let mut late = pair.request("echo", EPOCH);
    late.timeout = Duration::ZERO;
    let outcome = pair.send(late).await.expect("a response");
    assert_eq!(outcome, Err(Refusal::DeadlinePassed { began: false }));
}

/// A request to a node where nobody answers is known not to be delivered.
///
/// # Panics
/// If it is not so.
pub async fn a_request_to_a_node_that_is_gone_is_not_delivered(mut pair: Pair) {
    let before = pair
        .send(pair.request("echo", EPOCH))
        .await
        .expect("a response");
    assert_eq!(before.expect("an answer"), "hello");
    let stop = std::mem::replace(&mut pair.served.stop, Box::pin(async {}));
    stop.await;
    match pair.send(pair.request("echo", EPOCH)).await {
        Err(TransportError::NotDelivered(_)) => {}
        other => panic!("a request to nobody is not delivered, not {other:?}"),
    }
    let options = CallOptions {
        timeout: Some(Duration::from_millis(200)),
        ..CallOptions::default()
    };
    match pair
        .caller
        .call_with(&pair.shard, "echo", "", options)
        .await
    {
        Err(error @ Error::Unreachable { .. }) => {
            assert!(error.is_retryable());
            assert_eq!(error.outcome(), Outcome::NotRun);
        }
        other => panic!("a node that is gone is unreachable, not {other:?}"),
    }
}
