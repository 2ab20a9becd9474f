//! Rebalancing: carrying plans out, on demand or by itself.

use std::{
    sync::{Arc, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use shardwright_topology::{OperationId, ShardId};

use super::{ElasticShardManager, Gating, Inner, Notice, SplitAt};
use crate::{Error, RebalancePlan, Step, balance::Patience};

impl ElasticShardManager {
    /// Carries a plan out, as many steps at once as the settings allow, and returns when all have ended.
    ///
    /// # Errors
    /// [`Error::StalePlan`] or [`Error::InOperation`], and nothing was begun, if a shard of the plan is not as it was. Otherwise the first error of a
    /// step; the others were carried out.
    pub async fn execute_rebalance(&self, plan: RebalancePlan) -> Result<(), Error> {
        let layout = self.layout();
        for part in &plan.made_for {
            if layout.part(part.shard.as_str()) != Some(part) {
                let shard = part.shard.clone();
                return Err(Error::StalePlan { shard });
            }
            if let Some(operation) = self.inner.operation_of(&part.shard) {
                let shard = part.shard.clone();
                return Err(Error::InOperation { shard, operation });
            }
        }
        let mut begun = Vec::new();
        let mut failed = None;
        for planned in plan.steps {
            match self.inner.begin_step(planned.step, planned.reason).await {
                Ok(operation) => begun.push(operation),
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        let ended = join_all(begun.iter().map(|id| self.inner.committed(id))).await;
        let first = failed
            .into_iter()
            .chain(ended.into_iter().filter_map(Result::err))
            .next();
        first.map_or(Ok(()), Err)
    }
}

impl Inner {
    pub(super) fn patience(&self) -> MutexGuard<'_, Patience> {
        self.patience.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves shards alone for a while with which something was tried in vain: it is not tried again at once.
    pub(super) fn rest(&self, shards: &[ShardId]) {
        let now = self.clock.now();
        let mut patience = self.patience();
        for shard in shards {
            patience.made(now, shard.clone());
        }
    }

    pub(super) async fn begin_step(
        self: &Arc<Self>,
        step: Step,
        reason: String,
    ) -> Result<OperationId, Error> {
        match step {
            Step::Split { shard } => {
                let (at, gating) = (SplitAt::Median, Gating::Sizes);
                self.begin_split(shard.as_str(), at, gating, reason).await
            }
            Step::Merge { shards, to } => {
                let shards: Vec<&str> = shards.iter().map(AsRef::as_ref).collect();
                self.begin_merge(&shards, Some(to), Gating::Sizes, reason)
                    .await
            }
            Step::Migrate { shard, to } => {
                let gating = Gating::Sizes;
                self.begin_migrate(shard.as_str(), &to, gating, reason)
                    .await
            }
        }
    }

    /// Looks once, and begins what has been due for long enough.
    pub(super) async fn rebalance_once(self: &Arc<Self>) {
        let plan = self.plan().await;
        let now = self.clock.now();
        let (begin, wait) = self.patience().admit(now, &plan, &self.policy);
        for (planned, resting) in wait {
            self.tell(Notice::Waits { planned, resting });
        }
        for planned in begin {
            self.tell(Notice::Decided {
                planned: planned.clone(),
            });
            let outcome = self.begin_step(planned.step.clone(), planned.reason.clone());
            if let Err(error) = outcome.await {
                let error = error.to_string();
                self.rest(planned.step.sources());
                self.tell(Notice::Refused { planned, error });
            }
        }
    }

    /// Does what has to be done from time to time, as long as somebody has the manager.
    pub(super) fn keep_up(self: &Arc<Self>) {
        let every = Duration::from_secs(self.config.rebalance_interval_secs);
        let weak = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let inner = Weak::upgrade(&weak);
                let Some(inner) = inner.filter(|inner| !inner.is_stopped()) else {
                    return;
                };
                if inner.shares_journal() {
                    // Said again the next time.
                    drop(inner.refresh().await);
                }
                inner.collect().await;
                if inner.config.auto_rebalance {
                    inner.rebalance_once().await;
                }
            }
        });
    }
}
