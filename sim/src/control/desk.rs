//! What any coordinator does with one record, without its machine: it registers workers, and adds and removes partitions. And
//! what people ask for.

use shardwright_coordinator::{
    core::{Command, Value},
    protocol::Register,
};
use shardwright_rebalancer::PartitionId;
use shardwright_registry::{Key, Registration, Stored};
use shardwright_testkit::sim::{Outcome, Pid, Sim, Write};
use shardwright_topology::{Incarnation, NodeRecord, NodeState, ShardRecord, ShardState};

use super::{Control, DOUBLE, Message, Token, coordinator::node_key, situations};

impl Control {
    /// Gives a worker's process the next session.
    pub(super) fn enrol(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        (from, number): (Pid, u64),
        register: Register,
        found: Option<Stored<Value>>,
    ) {
        if from == DOUBLE && !self.is_doubled {
            // Its process was ended, and with it what it had asked for.
            return;
        }
        let before = found.as_ref().map(|found| match &found.value {
            Value::Node(record) => record.incarnation,
            other => unreachable!("{other:?} is no node"),
        });
        let incarnation = before.map_or(Incarnation(1), Incarnation::next);
        let Registration { role, .. } = Registration::new(register.id.clone(), "");
        let record = NodeRecord {
            location: register.location.clone(),
            weight: register.weight,
            role,
            state: NodeState::Up,
            incarnation,
            ..NodeRecord::new(register.id.clone(), register.address.clone())
        };
        let write = Write {
            key: node_key(&register.id),
            expected: found.map(|found| found.revision),
            value: Some(Value::Node(record)),
        };
        let token = Token::Enrol {
            from,
            number,
            register,
            incarnation,
        };
        sim.write(at, token, write);
    }

    pub(super) fn enrolled(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        token: Token,
        outcome: Outcome<Value>,
    ) {
        let Token::Enrol {
            from,
            number,
            register,
            incarnation,
        } = token
        else {
            unreachable!("{token:?} is no registration");
        };
        match outcome {
            Outcome::Done(_) => {
                let answer = Message::Registered {
                    number,
                    incarnation,
                };
                sim.send(at, from, answer);
            }
            Outcome::Conflict(found) => self.enrol(sim, at, (from, number), register, found),
            // The worker asks again.
            Outcome::Unknown | Outcome::Unavailable => {}
        }
    }

    /// Has a partition added or removed.
    pub(super) fn want(&mut self, sim: &mut Sim<Self>, at: Pid, id: PartitionId, is_wanted: bool) {
        let key = shard_key(&id);
        sim.get(at, Token::Partition { id, is_wanted }, key);
    }

    pub(super) fn write_partition(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        id: PartitionId,
        is_wanted: bool,
        found: Option<Stored<Value>>,
    ) {
        let record = match found.as_ref().map(|found| &found.value) {
            None if is_wanted => ShardRecord::new(id.keyspace.clone(), id.shard.clone(), None),
            Some(Value::Shard(record)) if is_wanted => record.revive().expect("it has no range"),
            Some(Value::Shard(record)) => {
                sim.mark(situations::RETIRED);
                record.retire().expect("it has no range")
            }
            None => return,
            Some(other) => unreachable!("{other:?} is no shard"),
        };
        let write = Write {
            key: shard_key(&id),
            expected: found.map(|found| found.revision),
            value: Some(Value::Shard(record)),
        };
        sim.write(at, Token::Partition { id, is_wanted }, write);
    }

    /// Somebody asks the leader for something, and does not care whether it is refused.
    pub(super) fn disturb(&mut self, sim: &mut Sim<Self>) {
        let leader = self.coordinators.iter().find_map(|(at, coordinator)| {
            let leads = sim.is_up(*at) && coordinator.core.is_leading(sim.now(*at));
            leads.then_some(*at)
        });
        let Some(leader) = leader else {
            return;
        };
        let all: Vec<_> = Self::partitions().collect();
        let partition = sim.dice().pick(&all).clone();
        let workers = self.workers.keys().copied();
        let workers: Vec<_> = workers.filter(|at| *at != DOUBLE).collect();
        if sim.dice().chance(2) {
            // Nobody is left to take what they serve.
            return workers.into_iter().for_each(|each| self.leave(sim, each));
        }
        let worker = *sim.dice().pick(&workers);
        let node = Self::node(worker);
        match sim.dice().index(9) {
            0 => self.want(sim, leader, partition, true),
            1 => self.want(sim, leader, partition, false),
            2 => {
                sim.mark(situations::DRAINED);
                self.command(sim, leader, Command::Drain { node });
            }
            3 | 4 => {
                let command = Command::Move {
                    partition,
                    from: None,
                    to: node,
                };
                self.command(sim, leader, command);
            }
            5 => self.promote_a_replica(sim, leader, partition),
            6 => self.command(sim, leader, Command::Rebalance),
            7 if self.is_doubled => self.end_double(sim),
            7 => self.begin_double(sim),
            _ => self.leave(sim, worker),
        }
    }

    fn promote_a_replica(&mut self, sim: &mut Sim<Self>, leader: Pid, partition: PartitionId) {
        let stored = sim.store().get(&shard_key(&partition));
        let Some(Value::Shard(record)) = stored.map(|stored| stored.value.clone()) else {
            return;
        };
        let active = record.active.as_ref();
        let replica = active.and_then(|config| Some(config.replicas().next()?.node.clone()));
        if let Some(node) = replica.filter(|_| record.state != ShardState::Retired) {
            sim.mark(situations::PROMOTED);
            let command = Command::Promote {
                partition,
                node,
                force: false,
            };
            self.command(sim, leader, command);
        }
    }
}

pub(super) fn shard_key(id: &PartitionId) -> Key {
    Key::new(format!("shard/{}/{}", id.keyspace, id.shard)).expect("a key")
}
