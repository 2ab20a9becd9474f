//! A copy that catches up until it may become a member.

use shardwright_topology::{Epoch, Lsn, ReplicaId, Timestamp};

use super::{Lead, Settings};

/// A copy that is to become a member.
#[derive(Debug, Clone, Copy)]
pub(super) struct Join {
    pub(super) replica_id: ReplicaId,
    pub(super) ordered_at: Timestamp,
    /// When the node was last told to make it; `None` if it had it.
    pub(super) told_at: Option<Timestamp>,
    round: Option<Round>,
    /// Whether it has caught up soon enough in a round, and has stayed close since.
    is_in_step: bool,
}

/// One round of catching up: the copy is to reach what was committed when the round began. Meanwhile more is; so the last of the rounds says
/// whether the copy can follow (Ongaro, Consensus: Bridging Theory and Practice, 2014, 4.2.1).
#[derive(Debug, Clone, Copy)]
struct Round {
    epoch: Epoch,
    goal: Lsn,
    since: Timestamp,
}

impl Join {
    pub(super) fn new(replica_id: ReplicaId, now: Timestamp, told_at: Option<Timestamp>) -> Self {
        Self {
            replica_id,
            ordered_at: now,
            told_at,
            round: None,
            is_in_step: false,
        }
    }

    /// Takes in what the primary knows, and whether the copy's data is made of what its log begins with.
    pub(super) fn observe(
        &mut self,
        now: Timestamp,
        lead: &Lead,
        has_data: bool,
        settings: &Settings,
    ) {
        let matched = lead.followers.get(&self.replica_id).copied();
        let (Some(commit), Some(matched)) = (lead.commit, matched) else {
            self.begin_anew();
            return;
        };
        let next = Round {
            epoch: lead.epoch,
            goal: commit,
            since: now,
        };
        let current = self.round.filter(|round| round.epoch == lead.epoch);
        self.is_in_step &= current.is_some();
        let round = *self.round.insert(current.unwrap_or(next));
        if matched < round.goal || !has_data {
            self.is_in_step &= has_data;
            return;
        }
        let is_close = lead.last.0.saturating_sub(matched.0) <= settings.lag_max;
        let was_soon = now.since(round.since) <= settings.steady;
        self.is_in_step = is_close && (self.is_in_step || was_soon);
        if !self.is_in_step {
            self.round = Some(next);
        }
    }

    /// Forgets what was seen: rounds begin when it is seen again.
    pub(super) fn begin_anew(&mut self) {
        (self.round, self.is_in_step) = (None, false);
    }

    /// Whether it may become a member in an epoch.
    pub(super) fn is_ready(&self, epoch: Epoch) -> bool {
        self.is_in_step && self.round.is_some_and(|round| round.epoch == epoch)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;

    const COPY: ReplicaId = ReplicaId::from_bits(7);

    fn lead(epoch: u64, commit: u64, matched: u64) -> Lead {
        Lead {
            epoch: Epoch(epoch),
            last: Lsn(commit),
            commit: Some(Lsn(commit)),
            followers: BTreeMap::from([(COPY, Lsn(matched))]),
        }
    }

    /// Returns whether the copy may become a member, after each of these: when it was, what was committed, and what the copy had of it.
    fn ready(seen: &[(u64, u64, u64)]) -> Vec<bool> {
        let settings = Settings {
            steady: Duration::from_millis(500),
            lag_max: 10,
            ..Settings::default()
        };
        let mut join = Join::new(COPY, Timestamp::default(), None);
        let after = |&(ms, commit, matched): &(u64, u64, u64)| {
            let now = Timestamp(Duration::from_millis(ms));
            join.observe(now, &lead(1, commit, matched), true, &settings);
            join.is_ready(Epoch(1))
        };
        seen.iter().map(after).collect()
    }

    #[test]
    fn a_copy_that_has_everything_may_become_a_member_at_once() {
        assert_eq!(ready(&[(0, 100, 100)]), [true]);
        assert_eq!(ready(&[(0, 100, 0), (400, 105, 100)]), [false, true]);
    }

    #[test]
    fn one_that_was_slow_has_to_show_in_another_round_that_it_can_follow() {
        let slow = [(0, 100, 0), (600, 200, 195), (1_300, 300, 295)];
        assert_eq!(ready(&slow), [false, false, false]);
        let follows = [(0, 100, 0), (600, 200, 195), (900, 210, 200)];
        assert_eq!(ready(&follows), [false, false, true]);
    }

    #[test]
    fn one_that_falls_behind_begins_again() {
        let seen = [(0, 100, 100), (100, 200, 100), (200, 205, 200)];
        assert_eq!(ready(&seen), [true, false, true]);
        assert_eq!(ready(&[(0, 100, 89)]), [false]);
    }

    #[test]
    fn one_whose_data_is_still_being_made_waits_for_that() {
        let mut join = Join::new(COPY, Timestamp::default(), None);
        let settings = Settings::default();
        for has_data in [false, true, false, true] {
            join.observe(Timestamp::default(), &lead(1, 9, 9), has_data, &settings);
            assert_eq!(join.is_ready(Epoch(1)), has_data);
        }
    }

    #[test]
    fn what_was_seen_in_another_epoch_says_nothing() {
        let mut join = Join::new(COPY, Timestamp::default(), None);
        let settings = Settings::default();
        join.observe(Timestamp::default(), &lead(1, 9, 9), true, &settings);
        assert!(join.is_ready(Epoch(1)) && !join.is_ready(Epoch(2)));
        join.observe(Timestamp::default(), &lead(2, 20, 9), true, &settings);
        assert!(!join.is_ready(Epoch(1)) && !join.is_ready(Epoch(2)));
    }
}
