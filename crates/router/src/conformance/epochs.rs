//! Epochs on both sides.

use futures_util::future::join;
use shardwright_topology::{Epoch, NodeId};

use super::{EPOCH, Pair};
use crate::Refusal;

/// A request at an epoch that has ended is refused with the current one, and a call is repeated at that.
///
/// # Panics
/// If it is not so.
pub async fn an_old_epoch_is_refused_with_the_current_one(pair: Pair) {
    pair.assign(&pair.owner, Epoch(5));
    let outcome = pair
        .send(pair.request("echo", EPOCH))
        .await
        .expect("a response");
    assert_eq!(outcome, Err(Refusal::StaleEpoch { current: Epoch(5) }));
    let answer = pair.caller.call(&pair.shard, "echo", "again").await;
    assert_eq!(answer.expect("the call is repeated"), "again");
}

/// A request at an epoch of which the node has not heard waits for the news.
///
/// # Panics
/// If it is not so.
pub async fn a_later_epoch_waits_for_the_news(pair: Pair) {
    let outcome = pair
        .send(pair.request("echo", Epoch(9)))
        .await
        .expect("a response");
    assert_eq!(outcome, Err(Refusal::Behind { current: EPOCH }));
    let news = async {
        tokio::task::yield_now().await;
        pair.assign(&pair.owner, Epoch(9));
    };
    let (outcome, ()) = join(pair.send(pair.request("echo", Epoch(9))), news).await;
    let answer = outcome.expect("a response").expect("the news came in time");
    assert_eq!(answer, "hello");
}

/// A node that does not own the shard says who does.
///
/// # Panics
/// If it is not so.
pub async fn a_shard_elsewhere_is_refused_with_its_owner(pair: Pair) {
    let other = NodeId::new("other").expect("a valid name");
    pair.owner
        .set_owner(&pair.shard, Some(other.clone()), Epoch(4));
    let outcome = pair
        .send(pair.request("echo", EPOCH))
        .await
        .expect("a response");
    let (owner, epoch) = (Some(other), Epoch(4));
    assert_eq!(outcome, Err(Refusal::NotPrimary { owner, epoch }));
}
