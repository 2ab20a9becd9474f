//! What goes there and comes back.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::Barrier;

use super::Pair;
use crate::{BoxError, CallOptions, Error};

/// A payload comes back as it was sent, whatever its bytes, up to the limit; above it, it is refused.
///
/// # Panics
/// If it is not so.
pub async fn any_bytes_up_to_the_limit_are_a_payload(pair: Pair) {
    let limit = pair.transport.payload_max();
    let patterned = |size: usize| -> Bytes { (0..size).map(|at| (at % 251) as u8).collect() };
    for payload in [Bytes::new(), patterned(256), patterned(limit)] {
        let answer = pair.caller.call(&pair.shard, "echo", payload.clone()).await;
        let answer = answer.expect("a payload within the limit is answered");
        assert!(
            answer == payload,
            "{} bytes came back changed",
            payload.len()
        );
    }
    let outcome = pair
        .caller
        .call(&pair.shard, "echo", patterned(limit + 1))
        .await;
    match outcome {
        Err(Error::PayloadTooLarge { size, limit: named }) => {
            assert_eq!((size, named), (limit + 1, limit));
        }
        other => panic!("a payload above the limit is refused, not {other:?}"),
    }
}

/// An answer that the transport does not carry is refused, and the caller learns that the method ran.
///
/// # Panics
/// If it is not so.
pub async fn an_answer_above_the_limit_is_refused(pair: Pair) {
    let above = pair.transport.payload_max() * 2;
    pair.owner.handle(
        "grow",
        move |_| async move { Ok::<_, BoxError>(vec![7; above]) },
    );
    let outcome = pair.caller.call(&pair.shard, "grow", "").await;
    match outcome {
        Err(Error::AnswerTooLarge { size, .. }) => assert_eq!(size, above),
        other => panic!("an answer above the limit is refused, not {other:?}"),
    }
}

/// No call waits for another.
///
/// # Panics
/// If it is not so.
pub async fn calls_run_at_once(pair: Pair) {
    const CALLS: usize = 50;
    let meeting = Arc::new(Barrier::new(CALLS));
    pair.owner.handle("meet", move |call| {
        let meeting = Arc::clone(&meeting);
        async move {
            meeting.wait().await;
            Ok::<_, BoxError>(call.payload)
        }
    });
    let calls = (0..CALLS).map(|number| {
        let call = pair.caller.call(&pair.shard, "meet", number.to_string());
        async move { (number, call.await) }
    });
    for (number, answer) in join_all(calls).await {
        let answer = answer.expect("calls that wait for each other are all answered");
        assert_eq!(answer, number.to_string(), "an answer goes to its caller");
    }
}

/// The handler knows how long the caller still waits.
///
/// # Panics
/// If it is not so.
pub async fn the_time_left_is_passed_on(pair: Pair) {
    pair.owner.handle("time", async |call| {
        Ok::<_, BoxError>(call.remaining().as_micros().to_string())
    });
    let timeout = Duration::from_secs(90);
    let options = CallOptions {
        timeout: Some(timeout),
        ..CallOptions::default()
    };
    let answer = pair
        .caller
        .call_with(&pair.shard, "time", "", options)
        .await;
    let answer = answer.expect("the method answers");
    let left: u64 = str::from_utf8(&answer)
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("a number");
    let left = Duration::from_micros(left);
    assert!(
        timeout / 2 < left && left <= timeout,
        "{left:?} of {timeout:?} were left"
    );
}
