//! Budgets: how much of a plan is done before the next one is made.

use foldhash::HashSet;
use serde::{Deserialize, Serialize};

use crate::{Cluster, Plan};

/// How much one plan may move.
///
/// Moves that are [urgent](crate::Reason::is_urgent) are never left out, but they count: while nodes are lost or drained, there may be
/// nothing left for the balance. What is left out is in the next plan, if it is wanted then still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// How many copies a plan makes, drops or promotes. Default: any number.
    pub moves_max: Option<usize>,
    /// How many bytes a plan copies, as far as they are [measured](crate::Load::bytes). Default: any number.
    ///
    /// Something that is larger on its own is never moved for the balance.
    pub bytes_max: Option<u64>,
}

impl Budget {
    /// Leaves out of a plan on this cluster what goes beyond the budget, and returns how many moves that is.
    ///
    /// The order stays, and so what comes first of a plan is done first. A move of a partition is left out if one before it was; one
    /// that is too large leaves room for smaller ones after it.
    pub fn cut(&self, cluster: &Cluster, plan: &mut Plan) -> usize {
        let (mut moves, mut bytes) = (0_usize, 0_u64);
        let all = plan.moves.len();
        let mut urgent_after = HashSet::default();
        for planned in &plan.moves {
            if planned.reason.is_urgent() {
                moves += 1;
                bytes = bytes.saturating_add(cluster.bytes_of(planned));
                urgent_after.insert(planned.partition.clone());
            }
        }
        let mut left_out = HashSet::default();
        plan.moves.retain(|planned| {
            if planned.reason.is_urgent() {
                return true;
            }
            let with = bytes.saturating_add(cluster.bytes_of(planned));
            // Urgent moves of the same partition may have been planned on what this one leads to.
            let is_needed = urgent_after.contains(&planned.partition);
            let is_within = self.moves_max.is_none_or(|most| moves < most)
                && self.bytes_max.is_none_or(|most| with <= most)
                && !left_out.contains(&planned.partition);
            if is_within || is_needed {
                (moves, bytes) = (moves + 1, with);
                return true;
            }
            left_out.insert(planned.partition.clone());
            false
        });
        all - plan.moves.len()
    }
}

#[cfg(test)]
mod tests {
    use shardwright_topology::{NodeId, ShardId};

    use super::*;
    use crate::{Load, Move, Partition, PartitionId, Reason, Step};

    /// Shards with so many bytes on `n1`, and a plan that moves each to `n2`.
    fn planned(moves: &[(u32, u64, Reason)]) -> (Cluster, Plan) {
        let [n1, n2] = ["n1", "n2"].map(|name| NodeId::new(name).unwrap());
        let (mut cluster, mut plan) = (Cluster::new(), Plan::default());
        for (shard, bytes, reason) in moves {
            let id = PartitionId::from(ShardId::numbered(*shard));
            let measured = Load {
                bytes: *bytes,
                ..Load::default()
            };
            cluster.set_partition(
                id.clone(),
                Partition {
                    holders: vec![n1.clone()],
                    measured: Some(measured),
                    ..Partition::new(1)
                },
            );
            plan.moves.push(Move {
                partition: id,
                step: Step::Move {
                    from: n1.clone(),
                    to: n2.clone(),
                },
                reason: *reason,
            });
        }
        (cluster, plan)
    }

    #[track_caller]
    fn check(budget: Budget, moves: &[(u32, u64, Reason)], kept: &[u32]) {
        let (cluster, mut plan) = planned(moves);
        let left_out = budget.cut(&cluster, &mut plan);
        let ids: Vec<_> = kept.iter().map(|shard| ShardId::numbered(*shard)).collect();
        let shards: Vec<_> = plan
            .moves
            .iter()
            .map(|planned| planned.partition.shard.clone())
            .collect();
        assert_eq!(shards, ids);
        assert_eq!(left_out, moves.len() - kept.len());
    }

    #[test]
    fn urgent_moves_are_done_and_count() {
        use Reason::{Draining, Overloaded};
        let moves = [
            (0, 50, Draining),
            (1, 30, Draining),
            (2, 30, Overloaded),
            (3, 10, Overloaded),
        ];
        check(Budget::default(), &moves, &[0, 1, 2, 3]);
        let of_moves = |most| Budget {
            moves_max: Some(most),
            ..Budget::default()
        };
        check(of_moves(0), &moves, &[0, 1]);
        check(of_moves(3), &moves, &[0, 1, 2]);
        let of_bytes = |most| Budget {
            bytes_max: Some(most),
            ..Budget::default()
        };
        check(of_bytes(10), &moves, &[0, 1]);
        check(of_bytes(95), &moves, &[0, 1, 3]);
        check(of_bytes(120), &moves, &[0, 1, 2, 3]);
    }
}
