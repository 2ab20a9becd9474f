//! What people do, and what rarely happens: a planned hand-over, a loss that is accepted, a registry that is away for a minute.

use std::time::Duration;

use shardwright_testkit::sim::{Pid, Sim};
use shardwright_topology::{AttemptRefused, Config, Epoch, ShardRecord};

use super::{CLIENTS_STOP, Logs, TIMEOUT, Token, pid, situations};

/// For how long the registry is away.
const LONG: Duration = Duration::from_secs(60);

/// How many events that takes.
const LONG_EVENTS: u64 = 15_000;

/// How long somebody hopes for copies that are lost.
const HOPE: Duration = Duration::from_millis(1500);

impl Logs {
    pub(super) fn plan_rarities(&self, sim: &mut Sim<Self>) {
        let soon = TIMEOUT * 2..=TIMEOUT * 8;
        if sim.dice().chance(12) {
            let when = sim.dice().time(&soon);
            sim.plan(when, Token::Catastrophe);
        }
        if sim.dice().chance(3) {
            let when = sim.dice().time(&soon);
            sim.plan(when, Token::LongOutage);
        }
    }

    pub(super) fn long_outage(&mut self, sim: &mut Sim<Self>) {
        if sim.is_faulty() {
            sim.outage(LONG);
            sim.prolong(LONG_EVENTS);
            self.away_since = Some(sim.true_time());
        }
    }

    /// Whether the registry has been away for most of a minute.
    pub(super) fn is_long_away(&self, sim: &Sim<Self>) -> bool {
        let away = self.away_since;
        away.is_some_and(|since| sim.true_time() - since > LONG / 2) && sim.is_store_away()
    }

    /// What is done when too few copies are left to go on without a loss: nothing at first, until somebody accepts it.
    pub(super) fn stuck(
        &mut self,
        sim: &mut Sim<Self>,
        record: &ShardRecord,
    ) -> Option<ShardRecord> {
        let (now, conditions) = (sim.true_time(), self.conditions());
        let mut whole: Vec<Pid> = self.nodes.keys().copied().collect();
        whole.retain(|at| conditions.clean.contains(&self.registered[at].replica_id));
        let before = |at: &Pid| {
            record
                .active
                .iter()
                .any(|it| it.members.contains(&self.registered[at]))
        };
        // Those that may know more come first.
        whole.sort_by_key(|at| (!sim.is_up(*at), !before(at)));
        whole.truncate(3);
        let at = *whole.first()?;
        let members = whole.iter().map(|at| self.registered[at].clone()).collect();
        let proposal = self.proposal(at, members, Config::majority(whole.len()), 1);
        let refused = record.begin_attempt(proposal.clone(), &conditions);
        if matches!(refused, Err(AttemptRefused::TooFewClean { .. })) {
            sim.mark(situations::REFUSED);
        }
        let since = *self.stuck_since.get_or_insert(now);
        if now - since < HOPE {
            return None;
        }
        record
            .begin_attempt_accepting_loss(proposal, &conditions)
            .ok()
    }

    /// Lets another member be the primary, while all is well.
    pub(super) fn hand_over(
        &mut self,
        sim: &mut Sim<Self>,
        record: &ShardRecord,
    ) -> Option<ShardRecord> {
        let is_early = sim
            .quiet_for()
            .is_some_and(|quiet| quiet < CLIENTS_STOP / 2);
        let active = record.active.as_ref().filter(|_| is_early)?;
        if !sim.dice().chance(30) {
            return None;
        }
        let others: Vec<Pid> = active.replicas().map(|member| pid(&member.node)).collect();
        let at = *others.get(sim.dice().index(others.len().max(1)))?;
        let proposal = self.proposal(at, active.members.clone(), active.w, active.zones);
        let next = record.begin_attempt(proposal, &self.conditions()).ok()?;
        self.hand_over = Some((next.epoch, sim.true_time()));
        Some(next)
    }

    /// Looks at how long a hand-over took.
    pub(super) fn is_handed_over(&mut self, sim: &mut Sim<Self>, epoch: Epoch) {
        if let Some((planned, since)) = self.hand_over
            && planned == epoch
        {
            sim.mark(situations::HANDED_OVER);
            if sim.true_time() - since < self.lease / 2 {
                sim.mark(situations::QUICKLY_HANDED_OVER);
            }
        }
    }
}
