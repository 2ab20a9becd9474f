//! A shard on its way from one owner to the next.

use std::collections::BTreeSet;

use rand::RngCore;
use shardwright_rebalancer::Step;
use shardwright_registry::assign;
use shardwright_topology::{Epoch, NodeId, NodeRecord, ShardRecord, ShardState};

/// What is to become of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Goal {
    /// A step of a plan, or of a command.
    Step(Step),
    /// The same members at a new epoch: a worker has given its own up, or runs a new session.
    Renew,
    /// Nobody holds it: it was removed.
    Retire,
}

/// A shard on its way. Who must stop serving it does so before anything is written.
#[derive(Debug, Clone)]
pub(super) struct Moving {
    pub(super) goal: Goal,
    /// Up to this epoch, the nodes below must release it.
    pub(super) epoch: Epoch,
    /// Who has not released it yet.
    pub(super) waits_for: BTreeSet<NodeId>,
    /// The primary before.
    pub(super) former: Option<NodeId>,
}

impl Goal {
    /// Returns who has to stop serving before the goal may be written.
    pub(super) fn releases(&self, record: &ShardRecord) -> BTreeSet<NodeId> {
        let primary = record.primary().cloned();
        match self {
            Self::Step(Step::Place { .. }) | Self::Renew => BTreeSet::new(),
            Self::Step(Step::Promote { to }) => {
                primary.filter(|node| node != to).into_iter().collect()
            }
            Self::Step(Step::Move { from, .. } | Step::Drop { from }) => {
                BTreeSet::from([from.clone()])
            }
            Self::Retire => super::mirror::holders(record).into_iter().collect(),
        }
    }

    /// Returns the record that reaches the goal.
    pub(super) fn next_record(
        &self,
        record: &ShardRecord,
        node: impl Fn(&NodeId) -> Option<NodeRecord>,
        rng: &mut dyn RngCore,
    ) -> Option<ShardRecord> {
        let is_primary = |node: &NodeId| record.primary() == Some(node);
        match self {
            Self::Renew => {
                let owner = node(record.primary()?)?;
                let is_same = record.active.as_ref()?.primary.incarnation == owner.incarnation;
                if is_same {
                    assign::renewed(record, rng).ok()
                } else {
                    assign::assigned(record, &owner, rng).ok()
                }
            }
            Self::Retire => Some(ShardRecord {
                active: None,
                state: ShardState::Retired,
                ..record.clone()
            }),
            Self::Step(Step::Promote { to }) => assign::assigned(record, &node(to)?, rng).ok(),
            Self::Step(Step::Place { to }) => match record.active {
                Some(_) => assign::with_replica(record, to, rng).ok(),
                None => assign::assigned(record, &node(to)?, rng).ok(),
            },
            Self::Step(Step::Move { from, to }) if is_primary(from) => {
                assign::assigned(record, &node(to)?, rng).ok()
            }
            Self::Step(Step::Move { from, to }) => {
                let without = assign::without_replica(record, from, rng).ok()?;
                assign::with_replica(&without, to, rng).ok()
            }
            Self::Step(Step::Drop { from }) => assign::without_replica(record, from, rng).ok(),
        }
    }
}
