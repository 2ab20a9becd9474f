//! Deciding without acting: for whoever has reasons of their own to wait, or wants to see first what would be done.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_topology::{OperationId, ShardId};

use super::ElasticShardManager;
use crate::{Error, Planned, Resting, ShardMetrics};

/// What a manager would do by itself at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decisions {
    /// What has been due for long enough, in its order of urgency.
    pub begin: Vec<Planned>,
    /// What waits, and why.
    pub wait: Vec<(Planned, Resting)>,
}

impl ElasticShardManager {
    /// Returns what the shards have and do, as far as their stores say so.
    pub async fn measured(&self) -> BTreeMap<ShardId, ShardMetrics> {
        self.inner.metrics_of(&self.layout()).await
    }

    /// Returns what the manager would do by itself with shards that do so much, some of which stay where they are and are neither merged nor moved, and
    /// does nothing. Steps wait as they do for a manager that acts by
    /// itself, so ask again and again: what is due was due in all answers for as long as [`BalancePolicy::lasting`](crate::BalancePolicy::lasting).
    #[must_use]
    pub fn decide(
        &self,
        metrics: BTreeMap<ShardId, ShardMetrics>,
        staying: BTreeSet<ShardId>,
    ) -> Decisions {
        let plan = self.inner.plan_for(&self.layout(), metrics, staying);
        let now = self.inner.clock.now();
        let (begin, wait) = self.inner.patience().admit(now, &plan, &self.inner.policy);
        Decisions { begin, wait }
    }

    /// Begins a step that was decided on, and returns its operation. If it is refused, its shards rest as if they had just been made.
    ///
    /// # Errors
    /// As [`begin_split`](ElasticShardManager::begin_split), [`begin_merge`](ElasticShardManager::begin_merge) and
    /// [`begin_migrate`](ElasticShardManager::begin_migrate).
    pub async fn begin_planned(&self, planned: Planned) -> Result<OperationId, Error> {
        let begun = self.inner.begin_step(planned.step.clone(), planned.reason);
        let begun = begun.await;
        if begun.is_err() {
            self.inner.rest(planned.step.sources());
        }
        begun
    }
}
