//! Linearizable reads of a primary: by rounds of questions to its members, or by their promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use shardwright_topology::{Config, ReplicaId, Timestamp};

/// The reads that wait, and what the members have promised.
#[derive(Debug, Clone, Default)]
pub(super) struct Reads {
    round: Option<Round>,
    /// Those that came after the round had begun: its answers may be older.
    next: Vec<u64>,
    /// Until when, on the own clock, each member refuses higher fences.
    leases: BTreeMap<ReplicaId, Timestamp>,
    /// Whether the members have been told that no promise of theirs counts any more.
    has_given_up: bool,
}

/// Reads that came before a round of questions.
#[derive(Debug, Clone)]
struct Round {
    /// Only what was asked later than this counts.
    after: u64,
    asked_at: Timestamp,
    reads: Vec<u64>,
    heard: BTreeSet<ReplicaId>,
}

impl Reads {
    pub(super) fn wait(&mut self, read: u64) {
        self.next.push(read);
    }

    pub(super) fn waiting(&self) -> usize {
        let asked = self.round.as_ref().map_or(0, |round| round.reads.len());
        asked + self.next.len()
    }

    /// Begins a round for those that wait for one, or asks again after a while: whether the members are to be asked now. What has been
    /// asked so far is numbered up to `stamps`.
    pub(super) fn asks(&mut self, now: Timestamp, stamps: u64, patience: Duration) -> bool {
        if let Some(round) = &mut self.round {
            let again = now.since(round.asked_at) >= patience;
            if again {
                round.asked_at = now;
            }
            return again;
        }
        if self.next.is_empty() {
            return false;
        }
        self.round = Some(Round {
            after: stamps,
            asked_at: now,
            reads: std::mem::take(&mut self.next),
            heard: BTreeSet::new(),
        });
        true
    }

    /// Notes that a copy had promised no higher epoch when it got the question with this number.
    pub(super) fn heard(&mut self, replica_id: ReplicaId, number: u64) {
        if let Some(round) = &mut self.round
            && number > round.after
        {
            round.heard.insert(replica_id);
        }
    }

    /// Notes that a copy refuses higher fences until then.
    pub(super) fn promised(&mut self, replica_id: ReplicaId, until: Timestamp) {
        let lease = self.leases.entry(replica_id).or_insert(until);
        *lease = until.max(*lease);
    }

    /// Returns the reads of the round if enough members answered, `me` without being asked, and the epoch has begun.
    pub(super) fn take_round(
        &mut self,
        config: &Config,
        me: ReplicaId,
        has_started: bool,
    ) -> Option<Vec<u64>> {
        let round = self.round.as_mut().filter(|_| has_started)?;
        round.heard.insert(me);
        if config.count_members(&round.heard) < config.w as usize {
            return None;
        }
        self.round.take().map(|round| round.reads)
    }

    /// Counts on no promise any more, neither of before nor later. `false` if that is so already.
    pub(super) fn give_up_leases(&mut self) -> bool {
        !std::mem::replace(&mut self.has_given_up, true)
    }

    pub(super) fn has_given_up(&self) -> bool {
        self.has_given_up
    }

    /// Returns whether enough members refuse higher fences yet, `me` among them: it is no primary any more once it is fenced.
    pub(super) fn has_lease(&self, now: Timestamp, config: &Config, me: ReplicaId) -> bool {
        if self.has_given_up {
            return false;
        }
        let holds = |replica_id: &ReplicaId| {
            let until = self.leases.get(replica_id);
            *replica_id == me || until.is_some_and(|until| now < *until)
        };
        let members = config.members.iter().map(|member| member.replica_id);
        members.filter(holds).count() >= config.w as usize
    }

    /// Returns all that waits, to be refused.
    pub(super) fn drain(&mut self) -> Vec<u64> {
        let asked = self.round.take().map(|round| round.reads);
        let mut all = asked.unwrap_or_default();
        all.append(&mut self.next);
        all
    }
}
