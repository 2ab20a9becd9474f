//! Splits and merges of shards, which the leader carries out.
//!
//! Operations are in the registry, and whoever leads goes on with them: an [`ElasticShardManager`] is made when this coordinator begins to
//! lead, and stopped when it no longer does. A call that comes late, of one that was replaced, changes nothing.

mod journal;
mod leading;
mod news;

use std::time::Duration;

use shardwright_elastic::ElasticShardManager;
use tokio::sync::watch;

pub(crate) use self::leading::Leading;
use crate::core::Refusal;

/// Where a coordinator is asked for splits and merges. A clone asks the same one.
#[derive(Debug, Clone, Default)]
pub struct Operations {
    /// The manager of the leader, while this is it; `None` if this coordinator has no store to carry operations out on.
    manager: Option<watch::Receiver<Option<ElasticShardManager>>>,
}

impl Operations {
    pub(crate) fn new(manager: watch::Receiver<Option<ElasticShardManager>>) -> Self {
        Self {
            manager: Some(manager),
        }
    }

    /// Whether this coordinator was started with a store to carry operations out on.
    #[must_use]
    pub fn has_store(&self) -> bool {
        self.manager.is_some()
    }

    /// Returns the manager of the operations, if this coordinator leads, has a store, and has taken them up.
    #[must_use]
    pub fn current(&self) -> Option<ElasticShardManager> {
        self.manager.as_ref()?.borrow().clone()
    }

    /// Returns the manager of the operations, if this coordinator leads. Whoever has just begun to lead is waited for.
    ///
    /// # Errors
    /// [`Refusal::NoOperations`] if this coordinator was started without a store, [`Refusal::NotTakenUp`] if there is no manager in time.
    pub async fn manager(&self, patience: Duration) -> Result<ElasticShardManager, Refusal> {
        let manager = self.manager.as_ref().ok_or(Refusal::NoOperations)?;
        let mut manager = manager.clone();
        let made = tokio::time::timeout(patience, manager.wait_for(Option::is_some)).await;
        // It may be stopped again at any moment: then it says so.
        let made = made.ok().and_then(Result::ok).and_then(|made| made.clone());
        made.ok_or(Refusal::NotTakenUp)
    }
}
