//! What the leader decides by itself: splits, merges and moves, each with its reason.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_elastic::{ElasticShardManager, Planned, ShardMetrics, Step as Reshaping};
use shardwright_rebalancer::{Hysteresis, Move, PartitionId, Plan, Step};
use shardwright_topology::{ShardId, Timestamp};

use super::{
    Asked, Automatic, Options, Refused, Settings, leading::Leading, picture, record::Kept,
};
use crate::core::Notice;

/// What whoever decides remembers from one look to the next.
#[derive(Debug)]
pub(super) struct Deciding {
    /// Lets moves wait until the cluster has calmed down.
    hysteresis: Hysteresis,
    /// What was said at the last look that would be done: it is said once.
    said: BTreeSet<String>,
}

impl Deciding {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            hysteresis: Hysteresis::new(settings.patience),
            said: BTreeSet::new(),
        }
    }

    /// Takes in that a shard was moved, or was not in vain: it rests.
    pub(super) fn moved(&mut self, now: Timestamp, partition: &PartitionId) {
        self.hysteresis.moved(now, partition);
    }

    /// Looks once, and begins what is due. Returns whether enough is known for that: whoever has just begun to lead has yet to hear of the nodes.
    pub(super) async fn look(&mut self, leading: &Leading, now: Timestamp, kept: &Kept) -> bool {
        if !leading.view().unheard.is_empty() {
            return false;
        }
        let operations = leading.handle.operations();
        let manager = operations.current();
        if operations.has_store() && manager.is_none() {
            // Nothing is measured yet.
            return false;
        }
        let metrics = match &manager {
            Some(manager) => manager.measured().await,
            None => BTreeMap::new(),
        };
        let is_dry = leading.balance.mode(kept.automatic) == Automatic::DryRun;
        let mut said = BTreeSet::new();
        let mut reshapes = false;
        if let Some(manager) = &manager {
            let Some(pins) = unless_changed(leading, kept).await else {
                return true;
            };
            let staying = pins.into_iter().collect();
            let decided = manager.decide(metrics.clone(), staying).begin;
            let view = leading.view();
            let least = leading.balance.settings().shards_min;
            let owning = picture::shards(&view).filter(|record| record.range.is_some());
            let mut spare = owning.count().saturating_sub(least);
            for planned in decided {
                // All that comes before takes a while, the steps before too.
                let Some(pins) = unless_changed(leading, kept).await else {
                    return true;
                };
                if let Reshaping::Merge { shards, .. } = &planned.step {
                    let stays = shards.iter().any(|shard| pins.contains(shard));
                    // Shards that become one are brought together for it.
                    if spare + 1 < shards.len() || stays {
                        continue;
                    }
                    spare -= shards.len() - 1;
                }
                reshapes = true;
                self.tell(
                    leading,
                    &mut said,
                    planned.step.to_string(),
                    planned.reason.clone(),
                    is_dry,
                );
                if !is_dry {
                    reshape(leading, manager, planned).await;
                }
            }
        }
        // Shards that are about to be divided are in no plan of moves, and change what there is to move.
        if !reshapes || is_dry {
            let measured = (manager.is_some(), &metrics);
            self.balance(leading, now, kept, measured, &mut said).await;
        }
        self.said = said;
        true
    }

    async fn balance(
        &mut self,
        leading: &Leading,
        now: Timestamp,
        kept: &Kept,
        (is_measuring, metrics): (bool, &BTreeMap<ShardId, ShardMetrics>),
        said: &mut BTreeSet<String>,
    ) {
        let view = leading.view();
        let carried = kept.execution.as_ref();
        let is_moving = carried.is_some_and(|carried| !carried.execution.is_finished());
        let operations = view.operations.iter();
        let mut running =
            operations.filter(|operation| !operation.phase.is_final() && !operation.paused);
        // What they lead to is to be seen first. One that somebody holds up may stay so for long.
        if is_moving || running.next().is_some() {
            // What was planned before says nothing of what comes of that.
            self.hysteresis.admit(now, &Plan::default());
            return;
        }
        let balance = &leading.balance;
        let proposed = balance.propose(&view, metrics, &Options::default()).await;
        let Ok(mut proposed) = proposed else {
            // There is nothing to balance on.
            return;
        };
        let plan = &mut proposed.proposal.plan;
        if is_measuring && !picture::is_measured(&view, metrics) {
            // A guess in place of what a busy node does not say would move copies to and fro.
            plan.moves.retain(|planned| planned.reason.is_urgent());
        }
        let admitted = self.hysteresis.admit(now, plan);
        if unless_changed(leading, kept).await.is_none() {
            return;
        }
        let is_dry = leading.balance.mode(kept.automatic) == Automatic::DryRun;
        for planned in &admitted.moves {
            let step = self::said(planned);
            self.tell(leading, said, step, planned.reason.to_string(), is_dry);
        }
        if is_dry || admitted.moves.is_empty() {
            return;
        }
        let plan = (picture::revision(&view), admitted.moves);
        let begun = leading
            .balance
            .apply(&view, metrics, plan, Asked::Automatically);
        match begun.await {
            Ok(None) => {}
            Ok(Some(carried)) => leading.push(Notice::RebalanceBegun {
                plan: carried.id,
                moves: carried.execution.progress().moves,
                automatic: true,
            }),
            // Something has changed meanwhile: it is planned anew the next time.
            Err(Refused::Stale(_) | Refused::InProgress { .. }) => {}
            Err(error) => tracing::warn!(%error, "a plan was not begun"),
        }
    }

    /// Says what is decided; of what is not done, once.
    fn tell(
        &self,
        leading: &Leading,
        said: &mut BTreeSet<String>,
        step: String,
        reason: String,
        dry_run: bool,
    ) {
        if !dry_run || !self.said.contains(&step) {
            let step = step.clone();
            leading.push(Notice::RebalanceDecided {
                step,
                reason,
                dry_run,
            });
        }
        said.insert(step);
    }
}

/// Returns what is pinned by now, if the leader is still to do as it was.
async fn unless_changed(leading: &Leading, kept: &Kept) -> Option<Vec<ShardId>> {
    let status = leading.balance.status(&leading.view()).await.ok()?;
    (status.automatic == leading.balance.mode(kept.automatic)).then_some(status.pins)
}

async fn reshape(leading: &Leading, manager: &ElasticShardManager, planned: Planned) {
    let step = planned.step.to_string();
    if let Err(error) = manager.begin_planned(planned).await {
        let error = error.to_string();
        leading.push(Notice::RebalanceRefused { step, error });
    }
}

/// Says a move.
pub(super) fn said(planned: &Move) -> String {
    let shard = &planned.partition.shard;
    match &planned.step {
        Step::Promote { to } => format!("hand {shard} over to {to}"),
        Step::Move { from, to } => format!("move {shard} from {from} to {to}"),
        step => format!("{shard}: {step}"),
    }
}
