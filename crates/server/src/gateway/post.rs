//! The letters of shards to one another, about commits that they take part in.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::{engine::Present, host::Letter, wire::Ask};

/// How long a letter is carried. What is not answered is said again.
const CARRYING: Duration = Duration::from_secs(2);

/// Carries letters to the primaries of the shards that they are for, until nobody writes any.
pub(super) async fn carry(mut letters: UnboundedReceiver<Letter>, present: Present) {
    while let Some(Letter { to, message }) = letters.recv().await {
        // Before there are shards, there are no commits either, and whoever writes says it again.
        let Some(engine) = present.borrow().clone() else {
            continue;
        };
        tokio::spawn(async move {
            let deadline = engine.cluster.deadline(CARRYING);
            let ask = Ask::Commit(message);
            if let Err(unanswered) = engine.cluster.ask(&to, &ask, deadline).await {
                let why = unanswered.fault;
                tracing::debug!(shard = %to.shard, %why, "a letter about a commit was not delivered");
            }
        });
    }
}
