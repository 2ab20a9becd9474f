//! Coordinators, whom nobody has to trust: any of them may try any configuration at any time. Some are sensible.

use std::{collections::BTreeSet, time::Duration};

use shardwright_testkit::sim::{Pid, Sim, Write};
use shardwright_topology::{
    Conditions, Config, ConfigId, Incarnation, Member, Primary, Proposal, ReplicaId, ShardRecord,
};

use super::{Content, Logs, NODES, TIMEOUT, Token, node_id, pid};

/// For how long an attempt may go on before it is replaced.
const PATIENCE: Duration = Duration::from_millis(1500);

impl<C: Content> Logs<C> {
    pub(super) fn coordinate(&mut self, sim: &mut Sim<Self>) {
        let pause = sim.dice().time(&(TIMEOUT / 8..=TIMEOUT / 2));
        sim.plan(pause, Token::Coordinate);
        let stored = sim.store().get(&self.key).cloned();
        let Some(stored) = stored.filter(|_| !sim.is_store_away()) else {
            return;
        };
        self.order_deletion(sim, &stored);
        let record = &stored.value;
        let is_patient = self.is_patient(sim, record);
        let is_served = record.active.as_ref().is_some_and(|active| {
            let at = pid(&active.primary.node);
            let machine = self.nodes[&at].machine.as_ref();
            let leads = machine.is_some_and(|machine| machine.leads() == Some(active));
            leads && sim.is_up(at) && !sim.is_paused(at)
        });
        let next = if self.is_stuck(record) {
            if self.rules.is_back() {
                return self.look_at_registry(sim);
            }
            (!is_patient).then(|| self.stuck(sim, record)).flatten()
        } else if self.attend(sim, &stored) {
            None
        } else if !sim.is_faulty() {
            self.sensible(sim, record, is_served, is_patient)
        } else if sim.dice().chance(match (is_patient, is_served) {
            (true, _) => 8,
            (false, true) => self.restless,
            (false, false) => 40,
        }) {
            self.anything(sim, record)
        } else {
            None
        };
        if let Some(next) = next {
            sim.put(Write {
                key: self.key.clone(),
                expected: Some(stored.revision),
                value: Some(next),
            });
        }
    }

    /// Whether what is pending has not had its time yet.
    fn is_patient(&mut self, sim: &Sim<Self>, record: &ShardRecord) -> bool {
        let now = sim.true_time();
        let pending = record.pending.as_ref().map(|pending| pending.epoch);
        if self.pending_since.map(|(epoch, _)| epoch) != pending {
            self.pending_since = pending.map(|epoch| (epoch, now));
        }
        let patience = if record.accepts_loss() {
            PATIENCE * 3
        } else {
            PATIENCE
        };
        self.pending_since
            .is_some_and(|(_, since)| now.saturating_sub(since) < patience)
    }

    /// Whether too few copies are left to go on without a loss.
    fn is_stuck(&mut self, record: &ShardRecord) -> bool {
        let clean = self.conditions().clean;
        let active = record.active.as_ref();
        let is_stuck =
            active.is_some_and(|active| active.count_members(&clean) < active.recovery_quorum());
        if !is_stuck {
            self.stuck_since = None;
        }
        is_stuck
    }

    pub(super) fn conditions(&self) -> Conditions {
        let registered = self.registered.iter();
        let whole = registered.filter(|(at, _)| self.nodes[*at].is_whole());
        let clean: BTreeSet<ReplicaId> = whole.map(|(_, member)| member.replica_id).collect();
        Conditions { clean, w_min: 1 }
    }

    pub(super) fn proposal(
        &mut self,
        at: Pid,
        members: BTreeSet<Member>,
        w: u32,
        zones: u32,
    ) -> Proposal {
        let config_id = ConfigId::from_bits(self.name().into());
        let incarnation = Incarnation(self.nodes[&at].life.max(1).into());
        let primary = Primary {
            node: node_id(at),
            incarnation,
        };
        Proposal {
            config_id,
            primary,
            members,
            w,
            zones,
        }
    }

    /// A configuration drawn at random, often close to the active one.
    fn anything(&mut self, sim: &mut Sim<Self>, record: &ShardRecord) -> Option<ShardRecord> {
        let active = record.active.as_ref();
        let mut nodes: BTreeSet<Pid> = match active {
            Some(active) => active.members.iter().map(|each| pid(&each.node)).collect(),
            None => (0..3).map(Pid).collect(),
        };
        match sim.dice().index(10) {
            0 | 1 => {
                nodes.insert(Pid(sim.dice().index(NODES)));
            }
            2 => {
                let all: Vec<Pid> = nodes.iter().copied().collect();
                nodes.remove(sim.dice().pick(&all));
                nodes.insert(Pid(sim.dice().index(NODES)));
            }
            3 => {
                let all: Vec<Pid> = nodes.iter().copied().collect();
                if all.len() > 1 {
                    nodes.remove(sim.dice().pick(&all));
                }
            }
            4 => {
                let few = sim.dice().subset(NODES, 2..=4);
                nodes = few.into_iter().map(Pid).collect();
            }
            _ => {}
        }
        let up = |sim: &Sim<Self>, at: &Pid| sim.is_up(*at) && !sim.is_paused(*at);
        let mut candidates: Vec<Pid> = nodes.iter().copied().filter(|at| up(sim, at)).collect();
        if candidates.is_empty() || sim.dice().chance(5) {
            candidates = nodes.iter().copied().collect();
        }
        let mut at = *sim.dice().pick(&candidates);
        if let Some(active) = active.filter(|_| sim.dice().chance(40)) {
            let before = pid(&active.primary.node);
            if nodes.contains(&before) && up(sim, &before) {
                at = before;
            }
        }
        let members: BTreeSet<_> = nodes.iter().map(|at| self.registered[at].clone()).collect();
        let count = members.len();
        let mut w = Config::majority(count);
        if sim.dice().chance(self.careful) {
            w = u32::try_from(count).unwrap_or(w);
        }
        let zones = if w > 1 && sim.dice().chance(20) { 2 } else { 1 };
        let proposal = self.proposal(at, members, w, zones);
        record.begin_attempt(proposal, &self.conditions()).ok()
    }

    /// Three whole copies, with a primary that lives.
    fn sensible(
        &mut self,
        sim: &mut Sim<Self>,
        record: &ShardRecord,
        is_served: bool,
        is_patient: bool,
    ) -> Option<ShardRecord> {
        if is_patient {
            return None;
        }
        let active = record.active.as_ref();
        let listed = active.map(|active| active.members.clone());
        let mut members: BTreeSet<Member> = listed.unwrap_or_default();
        let whole = |at: &Pid| self.nodes[at].is_whole();
        members.retain(|member| {
            let at = pid(&member.node);
            self.registered[&at] == *member && whole(&at)
        });
        if is_served {
            let is_whole = active.is_some_and(|active| active.members == members);
            if is_whole && members.len() >= 3 && record.pending.is_none() {
                return self.hand_over(sim, record);
            }
            for at in (0..NODES).map(Pid) {
                if members.len() < 3 && self.nodes[&at].is_whole() {
                    members.insert(self.registered[&at].clone());
                }
            }
        } else if active.is_none() {
            members = (0..3).map(|at| self.registered[&Pid(at)].clone()).collect();
        }
        let before = active.map(|active| pid(&active.primary.node));
        let candidates: Vec<Pid> = members.iter().map(|each| pid(&each.node)).collect();
        let at = match before {
            Some(before) if is_served && candidates.contains(&before) => before,
            _ => *candidates.get(sim.dice().index(candidates.len().max(1)))?,
        };
        let w = Config::majority(members.len());
        let proposal = self.proposal(at, members, w, 1);
        record.begin_attempt(proposal, &self.conditions()).ok()
    }
}
