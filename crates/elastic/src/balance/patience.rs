//! Patience: steps wait until their reason has lasted, and until their shards have rested.

use std::{collections::BTreeMap, time::Duration};

use shardwright_topology::{ShardId, Timestamp};

use super::{BalancePolicy, Planned, RebalancePlan};

/// Why a step waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resting {
    /// Its reason has not lasted for long enough.
    New {
        /// How much longer it has to.
        left: Duration,
    },
    /// One of its shards was made by an operation a short while ago, or one was tried with it in vain.
    CoolDown {
        /// How much longer it rests.
        left: Duration,
    },
}

/// Lets the steps of plans through that have been planned for a while, about shards that have been there for a while.
///
/// So a peak splits nothing, and what was split is not merged at once.
#[derive(Debug, Clone, Default)]
pub struct Patience {
    /// Since when each step is planned.
    since: BTreeMap<String, Timestamp>,
    made: BTreeMap<ShardId, Timestamp>,
}

impl Patience {
    /// Notes that an operation made a shard, or was tried with it in vain.
    pub fn made(&mut self, now: Timestamp, shard: ShardId) {
        self.made.insert(shard, now);
    }

    /// Divides a plan into the steps that may begin, and those that wait, with the reasons. Call it with every plan.
    pub fn admit(
        &mut self,
        now: Timestamp,
        plan: &RebalancePlan,
        policy: &BalancePolicy,
    ) -> (Vec<Planned>, Vec<(Planned, Resting)>) {
        self.made
            .retain(|_, made| now.since(*made) < policy.cool_down);
        let planned: Vec<String> = plan
            .steps
            .iter()
            .map(|each| each.step.to_string())
            .collect();
        self.since.retain(|step, _| planned.contains(step));
        let (mut begin, mut wait) = (Vec::new(), Vec::new());
        for (each, name) in plan.steps.iter().zip(planned) {
            let since = *self.since.entry(name).or_insert(now);
            let shards = each.step.sources().iter();
            let youngest = shards.filter_map(|shard| self.made.get(shard)).max();
            let rested = youngest.map_or(policy.cool_down, |made| now.since(*made));
            let lasted = now.since(since);
            if rested < policy.cool_down {
                let left = policy.cool_down - rested;
                wait.push((each.clone(), Resting::CoolDown { left }));
            } else if lasted < policy.lasting {
                let left = policy.lasting - lasted;
                wait.push((each.clone(), Resting::New { left }));
            } else {
                begin.push(each.clone());
            }
        }
        (begin, wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Step;

    fn plan() -> RebalancePlan {
        RebalancePlan {
            steps: vec![Planned {
                step: Step::Split {
                    shard: ShardId::numbered(0),
                },
                reason: "hot".to_owned(),
            }],
            ..RebalancePlan::default()
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(Duration::from_secs(seconds))
    }

    #[test]
    fn a_step_waits_until_its_reason_has_lasted_without_a_break() {
        let (policy, mut patience) = (BalancePolicy::default(), Patience::default());
        let mut begins = |seconds, plan: &RebalancePlan| {
            let (begin, _) = patience.admit(at(seconds), plan, &policy);
            begin.len()
        };
        assert_eq!(begins(0, &plan()), 0);
        assert_eq!(begins(29, &plan()), 0);
        assert_eq!(begins(29, &RebalancePlan::default()), 0, "a break");
        assert_eq!(begins(30, &plan()), 0);
        assert_eq!(begins(60, &plan()), 1);
    }

    #[test]
    fn a_shard_that_was_made_rests() {
        let (policy, mut patience) = (BalancePolicy::default(), Patience::default());
        patience.made(at(0), ShardId::numbered(0));
        patience.admit(at(0), &plan(), &policy);
        let (begin, wait) = patience.admit(at(100), &plan(), &policy);
        assert_eq!(begin, []);
        let left = Duration::from_secs(500);
        assert_eq!(wait[0].1, Resting::CoolDown { left });
        let (begin, _) = patience.admit(at(600), &plan(), &policy);
        assert_eq!(begin.len(), 1);
    }
}
