//! Copies that nobody needs are deleted, by the guard of production: whoever asks for it may be wrong, or have been right a while ago.

use std::{collections::BTreeSet, time::Duration};

use shardwright_failover::replication::{Instruction, Kept};
use shardwright_quorum::log::Event;
use shardwright_registry::Stored;
use shardwright_testkit::sim::{Pid, Sim};
use shardwright_topology::{Epoch, ReplicaId, ShardRecord};

use super::{Content, Logs, Missing, Token, situations};

/// In how many of 100 cases somebody who looks at the shard asks for a copy to be deleted.
const DELETIONS: u32 = 6;

/// How late that arrives.
const LATE: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_millis(1500);

impl<C: Content> Logs<C> {
    /// Asks for a copy to be deleted, mostly one that no configuration names.
    pub(super) fn order_deletion(&mut self, sim: &mut Sim<Self>, stored: &Stored<ShardRecord>) {
        if !sim.is_faulty() || self.rules.is_back() || !sim.dice().chance(DELETIONS) {
            return;
        }
        let record = &stored.value;
        let configs = record.active.iter().chain(&record.pending);
        let members = configs.flat_map(|config| &config.members);
        let named: BTreeSet<ReplicaId> = members.map(|member| member.replica_id).collect();
        // A node cannot make up for two who are wrong: whoever asks, and the registry.
        let is_wrong = !self.loses_writes && sim.dice().chance(30);
        let mut copies: Vec<(Pid, ReplicaId)> = self
            .registered
            .iter()
            .map(|(at, member)| (*at, member.replica_id))
            .collect();
        copies.retain(|(_, copy)| is_wrong || !named.contains(copy));
        if copies.is_empty() {
            return;
        }
        let (at, replica_id) = *sim.dice().pick(&copies);
        let instruction = Instruction::Drop {
            shard: record.id.clone(),
            replica_id,
            epoch: record.epoch,
            revision: stored.revision,
        };
        self.instruct(sim, at, instruction);
    }

    /// Tells a node something, which may come late, or be lost with its process.
    pub(super) fn instruct(&mut self, sim: &mut Sim<Self>, at: Pid, instruction: Instruction) {
        if sim.is_up(at) {
            let late = sim.dice().time(&LATE);
            let next = sim.now(at) + late;
            sim.wake(at, next, Token::Told(instruction));
        }
    }

    /// Does what a node is told.
    pub(super) fn told(&mut self, sim: &mut Sim<Self>, at: Pid, instruction: Instruction) {
        match instruction {
            Instruction::Drop { epoch, .. } if self.missing == Some(Missing::DeletionGuard) => {
                self.delete(sim, at, epoch);
            }
            Instruction::Drop { .. } => {
                sim.get(at, Token::Deleting(instruction), self.key.clone());
            }
            Instruction::Follow {
                epoch, learners, ..
            } => {
                let machine = self.nodes[&at].machine.as_ref();
                let leads = machine.and_then(|machine| machine.leads());
                if leads.is_some_and(|config| config.epoch == epoch) {
                    self.feed(sim, at, Event::Learners(learners));
                }
            }
            // Every node of this scenario has a copy.
            Instruction::Create { .. } => {}
        }
    }

    /// Deletes a copy, if the record that was read for that allows it.
    pub(super) fn may_delete(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        instruction: &Instruction,
        found: &Stored<ShardRecord>,
    ) {
        let node = &self.nodes[&at];
        let machine = node.machine.as_ref();
        let promised = machine.and_then(|machine| machine.replica().promised());
        let promised = promised.map_or(Epoch::UNASSIGNED, |promised| promised.epoch);
        match (
            instruction.may_delete(node.replica_id, promised, found),
            instruction,
        ) {
            (Ok(()), Instruction::Drop { epoch, .. }) => self.delete(sim, at, *epoch),
            (Err(Kept::Member { .. }), _) => C::mark(sim, situations::DELETION_REFUSED),
            (Err(Kept::OtherEpoch { .. }), _) => C::mark(sim, situations::DELETION_TOO_LATE),
            _ => {}
        }
    }

    /// Deletes a copy. Its node makes another one at once, which is empty.
    fn delete(&mut self, sim: &mut Sim<Self>, at: Pid, decided: Epoch) {
        C::mark(sim, situations::DELETED);
        self.rules.deletes(&self.nodes[&at], at, decided);
        self.recreate(at);
        let durable = self.nodes[&at].synced.clone();
        self.open(sim, at, durable);
    }
}
