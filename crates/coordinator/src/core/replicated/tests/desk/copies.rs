//! What nodes do with their copies, and what their logs decide.

use std::{collections::BTreeSet, time::Duration};

use shardwright_failover::replication::{CopyReport, Health, Instruction, Lead};
use shardwright_registry::{Key, Seen, Stored};
use shardwright_topology::{Config, Epoch, Incarnation, Lsn, Member, NodeId, RegisteredCopies};

use super::{Copy, Desk, shard};
use crate::{core::Value, protocol::CopyState};

/// How long the data of a new copy is made.
const INSTALLS: Duration = Duration::from_millis(200);

impl Desk {
    pub(super) fn obey(&mut self, at: &NodeId, instruction: Instruction) {
        // The first copies have nothing to take in.
        let is_first = self.record(&shard()).active.is_none();
        let installs_until = self.now + if is_first { Duration::ZERO } else { INSTALLS };
        let node = self.nodes.get_mut(at).unwrap();
        node.instructions.push(instruction.clone());
        match instruction {
            Instruction::Create { shard, replica_id } if node.copy.is_none() => {
                // Nothing says that sessions and openings are counted alike.
                let registered = RegisteredCopies {
                    opened: Incarnation(40),
                    ..RegisteredCopies::none(at.clone())
                };
                let value = registered.with_opened(shard, replica_id);
                node.copy = Some(Copy {
                    installs_until,
                    replica_id,
                    opening: value.opened,
                    leads: None,
                    learners: BTreeSet::new(),
                });
                self.register(at, value);
            }
            Instruction::Follow { learners, .. } => {
                if let Some(copy) = &mut node.copy {
                    copy.learners = learners;
                }
            }
            Instruction::Drop { .. } => {
                let copy = node.copy.as_ref().map(|copy| copy.replica_id);
                let key = Key::new("shard/main/shard-0").unwrap();
                let Seen::Shard(stored) = &self.store[&key].1 else {
                    panic!("no shard");
                };
                let may = |copy| {
                    instruction
                        .may_delete(copy, Epoch::UNASSIGNED, stored)
                        .is_ok()
                };
                if copy.is_some_and(may) {
                    node.copy = None;
                    self.register(at, RegisteredCopies::none(at.clone()));
                }
            }
            Instruction::Create { .. } => {}
        }
    }

    fn register(&mut self, at: &NodeId, value: RegisteredCopies) {
        let key = Key::new(format!("replica/main/{at}")).unwrap();
        self.show(key.clone(), |revision| {
            Seen::Copies(Stored {
                key,
                value,
                revision,
            })
        });
    }

    fn copy_of(&self, member: &Member) -> Option<&Copy> {
        let node = self.nodes.get(&member.node).filter(|node| node.is_up)?;
        let copy = node.copy.as_ref();
        copy.filter(|copy| copy.replica_id == member.replica_id)
    }

    pub(super) fn begin_what_is_pending(&mut self) {
        let record = self.record(&shard());
        let Some(pending) = &record.pending else {
            return;
        };
        let reached = |config: &Config| {
            let members = config.members.iter();
            members
                .filter(|member| self.copy_of(member).is_some())
                .count()
        };
        let is_fenced = record.active.as_ref().is_none_or(|active| {
            active.recovery_quorum() <= reached(active) || record.accepts_loss()
        });
        let own = pending.member(&pending.primary.node).unwrap();
        let opening = self.copy_of(own).map(|copy| copy.opening);
        let is_meant = opening == Some(pending.primary.incarnation);
        if !is_fenced || !is_meant || reached(pending) < pending.w as usize {
            return;
        }
        let (epoch, primary) = (pending.epoch, pending.primary.node.clone());
        for (id, node) in &mut self.nodes {
            if let Some(copy) = &mut node.copy {
                copy.leads = (*id == primary).then_some(epoch);
                copy.learners.clear();
            }
        }
        let next = record.activate(pending.config_id).unwrap();
        self.put("shard/main/shard-0", Value::Shard(next));
    }

    pub(super) fn states(&self, of: &NodeId) -> Option<Vec<CopyState>> {
        let node = self.nodes[of].keeps_copies.then(|| &self.nodes[of])?;
        let record = self.record(&shard());
        let state = node.copy.as_ref().map(|copy| {
            let lead = copy.leads.map(|epoch| {
                let members = record.active.iter().flat_map(|active| &active.members);
                let others = members.chain(&copy.learners);
                let answered = others.filter(|member| self.copy_of(member).is_some());
                Lead {
                    epoch,
                    last: Lsn(10),
                    commit: Some(Lsn(9)),
                    followers: answered.map(|member| (member.replica_id, Lsn(9))).collect(),
                }
            });
            let report = CopyReport {
                replica_id: copy.replica_id,
                incarnation: copy.opening,
                epoch: record.active_epoch(),
                durable: Lsn(10),
                health: Health::Whole,
                installs: self.now < copy.installs_until,
                lead,
            };
            CopyState {
                partition: shard(),
                report,
            }
        });
        Some(state.into_iter().collect())
    }
}
