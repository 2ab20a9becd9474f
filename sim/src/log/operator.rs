//! What people do, and what rarely happens: a planned hand-over, a loss that is accepted, a registry that is away for a minute, or that
//! loses what it confirmed.

use std::time::Duration;

use shardwright_quorum::log::Report;
use shardwright_registry::Revision;
use shardwright_testkit::sim::{Pid, Sim, Write};
use shardwright_topology::{AttemptRefused, Config, Epoch, ShardRecord};

use super::{CLIENTS_STOP, Content, Logs, Missing, TIMEOUT, Token, node_id, pid, situations};

/// For how long the registry is away.
const LONG: Duration = Duration::from_secs(60);

/// How many events that takes.
const LONG_EVENTS: u64 = 15_000;

/// How long somebody hopes for copies that are lost.
const HOPE: Duration = Duration::from_millis(1500);

impl<C: Content> Logs<C> {
    pub(super) fn plan_rarities(&mut self, sim: &mut Sim<Self>) {
        let soon = TIMEOUT * 2..=TIMEOUT * 8;
        self.loses_writes = match self.missing {
            None => C::LOSES && sim.dice().chance(12),
            // Without another rule it may go unnoticed, which is not what that one is for.
            Some(missing) => missing == Missing::RegistryForward,
        };
        if self.loses_writes {
            let when = sim.dice().time(&soon);
            sim.plan(when, Token::GoBack);
        } else if C::LOSES && sim.dice().chance(14) {
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

    /// All members start again at once, while the primary to whom they promised a lease stands still.
    pub(super) fn forget(&self, sim: &mut Sim<Self>) {
        let active = self.record(sim).and_then(|record| record.active.clone());
        let Some(active) = active.filter(|_| sim.is_faulty()) else {
            return;
        };
        let primary = pid(&active.primary.node);
        sim.pause(primary);
        sim.plan(TIMEOUT, Token::Resume(primary));
        for member in active.replicas() {
            let at = pid(&member.node);
            sim.crash(at);
            sim.plan(TIMEOUT / 20, Token::Restart(at));
        }
        sim.plan(TIMEOUT * 3, Token::Forget);
    }

    /// The registry loses its latest writes, as one that is restored from a backup. Its revisions go on.
    pub(super) fn go_back(&mut self, sim: &mut Sim<Self>) {
        let stored = sim.store().get(&self.key).cloned();
        let Some(stored) = stored.filter(|_| sim.is_faulty()) else {
            return;
        };
        let earlier = self.rules.earlier(&self.nodes);
        if earlier.is_empty() || !self.rules.is_acknowledged() {
            return sim.plan(TIMEOUT / 4, Token::GoBack);
        }
        let record = sim.dice().pick(&earlier).clone();
        sim.trace(|| format!("the registry goes back to {record:?}"));
        self.rules.goes_back(&record);
        self.replace(sim, stored.revision, record);
    }

    fn replace(&self, sim: &mut Sim<Self>, expected: Revision, record: ShardRecord) {
        sim.put(Write {
            key: self.key.clone(),
            expected: Some(expected),
            value: Some(record),
        });
    }

    /// A copy has found that the registry went back: somebody looks.
    pub(super) fn alarmed(&mut self, sim: &mut Sim<Self>, at: Pid, report: Report) {
        if !self.rules.is_of_lost_writes(&report) {
            return self
                .rules
                .breaks(|| format!("{at} finds that the registry went back: {report:?}"));
        }
        C::mark(sim, situations::WENT_BACK);
        self.look_at_registry(sim);
    }

    /// Somebody looks at the registry: it says what cannot be, or that there are too few copies.
    pub(super) fn look_at_registry(&mut self, sim: &mut Sim<Self>) {
        if !self.is_looked_at {
            self.is_looked_at = true;
            let soon = sim.dice().time(&(TIMEOUT..=TIMEOUT * 3));
            sim.plan(soon, Token::BringForward);
        }
    }

    /// Somebody brings the registry forward, and lets the last primary begin a new epoch, or another member: some members have promised to
    /// obey what came to nothing, and follow nobody until then.
    pub(super) fn bring_forward(&mut self, sim: &mut Sim<Self>) {
        if sim.is_store_away() {
            return sim.plan(TIMEOUT / 4, Token::BringForward);
        }
        if let Some(stored) = sim.store().get(&self.key).cloned() {
            let forward = self.rules.comes_forward(&self.nodes, &stored.value);
            let next = self.begin_again(sim, &forward);
            let record = next.unwrap_or(forward);
            sim.trace(|| format!("the registry is brought forward to {record:?}"));
            self.replace(sim, stored.revision, record);
        }
    }

    fn begin_again(&mut self, sim: &mut Sim<Self>, record: &ShardRecord) -> Option<ShardRecord> {
        let active = record.active.as_ref()?;
        let conditions = self.conditions();
        let mut members = active.members.clone();
        members.retain(|member| conditions.clean.contains(&member.replica_id));
        let mut nodes: Vec<Pid> = members.iter().map(|member| pid(&member.node)).collect();
        nodes.sort_by_key(|at| (!sim.is_up(*at), node_id(*at) != active.primary.node));
        let w = Config::majority(members.len());
        let proposal = self.proposal(*nodes.first()?, members, w, 1);
        record.begin_attempt(proposal, &conditions).ok()
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
            C::mark(sim, situations::REFUSED);
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
            C::mark(sim, situations::HANDED_OVER);
            if sim.true_time() - since < self.lease / 2 {
                C::mark(sim, situations::QUICKLY_HANDED_OVER);
            }
        }
    }
}
