//! Hysteresis: moves that only improve the balance wait until the cluster has calmed down.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use shardwright_topology::Timestamp;

use crate::{Move, PartitionId, Plan};

/// How long moves that are not [urgent](crate::Reason::is_urgent) wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Patience {
    /// For how long moves of a partition must have been planned without a break, and nothing urgent with them, before it is moved. Default
    /// 30 s: longer than nodes take to restart.
    pub calm: Duration,
    /// How long a partition that was moved stays where it is. Default 5 min.
    pub rest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            calm: Duration::from_secs(30),
            rest: Duration::from_secs(300),
        }
    }
}

/// Lets the urgent moves of plans through at once and the others with [`Patience`].
///
/// ```
/// use shardwright_rebalancer::{Hysteresis, Patience, Plan};
/// use shardwright_topology::Timestamp;
///
/// let mut hysteresis = Hysteresis::new(Patience::default());
/// assert_eq!(hysteresis.admit(Timestamp::default(), &Plan::default()).moves, []);
/// ```
#[derive(Debug, Clone)]
pub struct Hysteresis {
    patience: Patience,
    /// Since when plans that do nothing urgent move which partitions.
    planned: BTreeMap<PartitionId, Timestamp>,
    moved: BTreeMap<PartitionId, Timestamp>,
}

impl Hysteresis {
    /// Returns one that has seen no plan.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            planned: BTreeMap::new(),
            moved: BTreeMap::new(),
        }
    }

    /// Returns the plan without the moves that have to wait. Call it with every plan.
    pub fn admit(&mut self, now: Timestamp, plan: &Plan) -> Plan {
        let urgent = |planned: &Move| planned.reason.is_urgent();
        self.moved
            .retain(|_, moved| now.since(*moved) < self.patience.rest);
        let mut since = std::mem::take(&mut self.planned);
        if !plan.moves.iter().any(urgent) {
            let partitions = plan.moves.iter().map(|planned| &planned.partition);
            self.planned = partitions
                .map(|id| (id.clone(), since.remove(id).unwrap_or(now)))
                .collect();
        }
        let is_calm = |id: &PartitionId| {
            let since = self.planned.get(id);
            since.is_some_and(|since| now.since(*since) >= self.patience.calm)
        };
        let mut admitted = plan.clone();
        admitted.moves.retain(|planned| {
            let id = &planned.partition;
            urgent(planned) || (is_calm(id) && !self.moved.contains_key(id))
        });
        admitted
    }

    /// Notes that a partition was moved.
    pub fn moved(&mut self, now: Timestamp, partition: &PartitionId) {
        self.moved.insert(partition.clone(), now);
    }

    /// Returns when moves that wait may be let through: the time for the next call of [`admit`](Self::admit). `None` if a call
    /// then would let through no more than now.
    #[must_use]
    pub fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let calm = self
            .planned
            .values()
            .map(|since| *since + self.patience.calm);
        let rested = self.moved.values().map(|moved| *moved + self.patience.rest);
        calm.chain(rested).filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use shardwright_topology::{NodeId, ShardId};

    use super::*;
    use crate::{Reason, Step};

    fn at(seconds: u64) -> Timestamp {
        Timestamp(Duration::from_secs(seconds))
    }

    fn partition(number: u32) -> PartitionId {
        PartitionId::from(ShardId::numbered(number))
    }

    fn plan(reasons: &[Reason]) -> Plan {
        let to = NodeId::new("n1").unwrap();
        let planned = |(reason, number): (&Reason, u32)| Move {
            partition: partition(number),
            step: Step::Place { to: to.clone() },
            reason: *reason,
        };
        Plan {
            moves: reasons.iter().zip(0..).map(planned).collect(),
            ..Plan::default()
        }
    }

    fn hysteresis() -> Hysteresis {
        Hysteresis::new(Patience {
            calm: Duration::from_secs(10),
            rest: Duration::from_secs(60),
        })
    }

    #[test]
    fn only_urgent_moves_pass_until_the_cluster_is_calm() {
        use Reason::{NodeDown, Overloaded};
        let mut hysteresis = hysteresis();
        let mut admitted = |now, reasons: &[Reason]| {
            let plan = hysteresis.admit(at(now), &plan(reasons));
            plan.moves
                .iter()
                .map(|planned| planned.reason)
                .collect::<Vec<_>>()
        };
        assert_eq!(admitted(0, &[NodeDown, Overloaded]), [NodeDown]);
        assert_eq!(admitted(1, &[Overloaded]), []);
        assert_eq!(admitted(10, &[Overloaded]), []);
        assert_eq!(admitted(11, &[Overloaded]), [Overloaded]);
        assert_eq!(admitted(12, &[NodeDown, Overloaded]), [NodeDown]);
        assert_eq!(admitted(13, &[Overloaded]), []);
        assert_eq!(admitted(20, &[]), []);
        assert_eq!(admitted(23, &[Overloaded]), []);
    }

    #[test]
    fn each_partition_waits_for_its_own_moves_to_last() {
        use Reason::Overloaded;
        let (mut hysteresis, one) = (hysteresis(), plan(&[Overloaded]));
        let both = plan(&[Overloaded, Overloaded]);
        hysteresis.admit(at(0), &one);
        assert_eq!(hysteresis.admit(at(10), &both), one, "the other one is new");
        assert_eq!(hysteresis.wake_at(at(10)), Some(at(20)));
        assert_eq!(hysteresis.admit(at(15), &one), one);
        assert_eq!(hysteresis.admit(at(20), &both), one, "there was a break");
        assert_eq!(hysteresis.admit(at(30), &both), both);
    }

    #[test]
    fn a_partition_that_was_moved_rests() {
        let mut hysteresis = hysteresis();
        let wanted = plan(&[Reason::Overloaded, Reason::Underloaded]);
        hysteresis.admit(at(0), &wanted);
        assert_eq!(hysteresis.wake_at(at(0)), Some(at(10)));
        hysteresis.moved(at(5), &partition(0));
        let admitted = hysteresis.admit(at(10), &wanted);
        assert_eq!(admitted.moves, wanted.moves[1..]);
        assert_eq!(hysteresis.wake_at(at(10)), Some(at(65)));
        assert_eq!(hysteresis.admit(at(65), &wanted), wanted);
    }
}
