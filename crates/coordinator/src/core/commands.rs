//! What people ask for: drains, moves and promotions.

use shardwright_rebalancer::{PartitionId, Step};
use shardwright_topology::{Incarnation, NodeId, NodeRecord, NodeState, Timestamp};

use super::{
    Action, Command, CommandId, Core, Done, Refusal, Value,
    machine::{Purpose, node_key},
    mirror::holders,
    moving::Goal,
};

impl Core {
    pub(super) fn command(
        &mut self,
        now: Timestamp,
        id: CommandId,
        command: Command,
        actions: &mut Vec<Action>,
    ) -> Option<Result<Done, Refusal>> {
        if !self.is_leading(now) {
            let leader = self.leader();
            return Some(Err(Refusal::NotLeader { leader }));
        }
        match self.replicated_command(id, command, actions) {
            Ok(command) => Some(self.assign_by_command(now, command, actions)),
            Err(answer) => answer,
        }
    }

    fn assign_by_command(
        &mut self,
        now: Timestamp,
        command: Command,
        actions: &mut Vec<Action>,
    ) -> Result<Done, Refusal> {
        match command {
            // The driver does these.
            Command::AddPartitions { .. } | Command::RemovePartitions { .. } => Ok(Done::with(0)),
            Command::Drain { node } => self.drain(&node, actions),
            Command::Replace { node, by } => self.replace(now, &node, &by, actions),
            Command::Remove { node } => self.remove(&node, actions),
            Command::Leave {
                node,
                incarnation,
                gone,
            } => self.leave(&node, incarnation, gone, actions),
            Command::Move {
                partition,
                from,
                to,
            } => self.move_shard(now, partition, from, to, actions),
            Command::Promote {
                partition,
                node,
                force,
            } => self.promote(now, partition, node, force, actions),
            Command::AcceptLoss { partition, .. } | Command::Migrate { partition, .. } => {
                Err(Refusal::NotReplicated { partition })
            }
            Command::Gather { .. } => Ok(Done::with(0)),
            Command::Unpin { partition } => {
                let was_pinned = self.pin_of(&partition).is_some();
                self.pin(&partition, None);
                Ok(Done::with(usize::from(was_pinned)))
            }
            Command::Steer { operation, .. } => Err(Refusal::UnknownOperation { operation }),
            Command::Rebalance => {
                self.is_dirty = true;
                self.is_urgent = true;
                let plan = self.policy.plan(&self.cluster);
                Ok(Done::with(plan.moves.len()))
            }
        }
    }

    fn node(&self, node: &NodeId) -> Result<&NodeRecord, Refusal> {
        let stored = self.mirror.nodes.get(node);
        let unknown = || Refusal::UnknownNode { node: node.clone() };
        stored.map(|stored| &stored.value).ok_or_else(unknown)
    }

    /// Refuses a node that may not be given shards now.
    fn check_accepting(&self, id: &NodeId) -> Result<(), Refusal> {
        let node = id.clone();
        match self.node(id)?.state {
            _ if self.is_accepting(id) => Ok(()),
            NodeState::Joining | NodeState::Up => Err(Refusal::NotReady { node }),
            NodeState::Draining | NodeState::Down => Err(Refusal::NotAccepting { node }),
        }
    }

    fn drain(&mut self, node: &NodeId, actions: &mut Vec<Action>) -> Result<Done, Refusal> {
        let record = self.node(node)?.clone();
        match record.state {
            NodeState::Down => return Err(Refusal::NotAccepting { node: node.clone() }),
            NodeState::Draining => {}
            NodeState::Joining | NodeState::Up => {
                let value = NodeRecord {
                    state: NodeState::Draining,
                    ..record
                };
                let key = node_key(node);
                self.write(key, Some(Value::Node(value)), Purpose::Node, actions);
            }
        }
        Ok(Done::with(self.mirror.holdings(node).count()))
    }

    fn replace(
        &mut self,
        now: Timestamp,
        node: &NodeId,
        by: &NodeId,
        actions: &mut Vec<Action>,
    ) -> Result<Done, Refusal> {
        let state = self.node(node)?.state;
        if node == by {
            let node = node.clone();
            return Err(Refusal::SameNode { node });
        }
        self.check_accepting(by)?;
        self.replicated.heir(node, by);
        if state == NodeState::Down {
            // What is assigned has gone to others.
            let changes = self.mirror.holdings(node).count();
            return Ok(Done::with(changes));
        }
        let is_free = |id: &PartitionId| {
            let stored = self.mirror.shards.get(id);
            let record = stored.map(|stored| &stored.value);
            let is_assigned =
                record.is_some_and(|record| !record.replicated && !holders(record).contains(by));
            is_assigned && !self.moving.contains_key(id)
        };
        let held = self.mirror.holdings(node);
        let free: Vec<_> = held.filter(|id| is_free(id)).cloned().collect();
        for id in free {
            let step = Step::Move {
                from: node.clone(),
                to: by.clone(),
            };
            self.begin(now, &id, Goal::Step(step), actions);
        }
        self.drain(node, actions)
    }

    fn remove(&mut self, node: &NodeId, actions: &mut Vec<Action>) -> Result<Done, Refusal> {
        let down = self.node(node)?.state == NodeState::Down;
        let lease = self.mirror.lease_of(node);
        if !down || lease.is_some_and(|stored| stored.value.holder.is_some()) {
            let node = node.clone();
            return Err(Refusal::NodeUp { node });
        }
        let expected = self.mirror.nodes.get(node).map(|stored| stored.revision);
        let changes = self.mirror.holdings(node).count();
        self.write_at(node_key(node), expected, None, Purpose::Node, actions);
        Ok(Done::with(changes))
    }

    fn leave(
        &mut self,
        node: &NodeId,
        incarnation: Incarnation,
        gone: bool,
        actions: &mut Vec<Action>,
    ) -> Result<Done, Refusal> {
        let record = self.node(node)?.clone();
        if record.incarnation != incarnation || record.state == NodeState::Down {
            return Ok(Done::with(0));
        }
        if gone {
            self.gone.insert(node.clone(), incarnation);
            self.is_to_judge = true;
            // The lease may still be that of a session before, whose process said nothing.
            self.mark_down(record, actions);
            return Ok(Done::with(1));
        }
        self.drain(node, actions)
    }

    /// Takes note of a worker that says with each answer that it leaves: whatever became of what was written and said before.
    pub(super) fn let_leave(&mut self, node: &NodeId, actions: &mut Vec<Action>) {
        // One that is marked already has nothing to give away.
        let _refused = self.drain(node, actions);
    }

    fn record_of(&self, id: &PartitionId) -> Result<&shardwright_topology::ShardRecord, Refusal> {
        if self.moving.contains_key(id) {
            return Err(Refusal::Busy {
                partition: id.clone(),
            });
        }
        let stored = self.mirror.shards.get(id);
        if let Some(hold) = stored.and_then(|stored| stored.value.hold.as_ref()) {
            return Err(Refusal::Held {
                partition: id.clone(),
                operation: hold.operation.clone(),
            });
        }
        let known = self.cluster.partition(id).and(stored);
        known
            .map(|stored| &stored.value)
            .ok_or_else(|| Refusal::UnknownShard {
                partition: id.clone(),
            })
    }

    fn move_shard(
        &mut self,
        now: Timestamp,
        id: PartitionId,
        from: Option<NodeId>,
        to: NodeId,
        actions: &mut Vec<Action>,
    ) -> Result<Done, Refusal> {
        let record = self.record_of(&id)?;
        let has = holders(record);
        self.node(&to)?;
        if from.as_ref().or(has.first()) == Some(&to) && has.first() == Some(&to) {
            return Err(Refusal::IsPrimary {
                node: to,
                partition: id,
            });
        }
        if has.contains(&to) {
            return Err(Refusal::Holds {
                node: to,
                partition: id,
            });
        }
        self.check_accepting(&to)?;
        let from = from.or_else(|| has.first().cloned());
        let step = match from {
            Some(from) if has.contains(&from) => Step::Move {
                from,
                to: to.clone(),
            },
            Some(from) => {
                return Err(Refusal::NotHolder {
                    node: from,
                    partition: id,
                });
            }
            None => Step::Place { to: to.clone() },
        };
        self.pin(&id, Some(to));
        self.begin(now, &id, Goal::Step(step), actions);
        Ok(Done::with(1))
    }

    fn promote(
        &mut self,
        now: Timestamp,
        id: PartitionId,
        node: NodeId,
        force: bool,
        actions: &mut Vec<Action>,
    ) -> Result<Done, Refusal> {
        let record = self.record_of(&id)?;
        let has = holders(record);
        self.node(&node)?;
        if !has.contains(&node) {
            return Err(Refusal::NotHolder {
                node,
                partition: id,
            });
        }
        if has.first() == Some(&node) {
            return Ok(Done::with(0));
        }
        self.check_accepting(&node)?;
        let contact = self.contacts.get(&node);
        let report = contact.and_then(|contact| contact.reports.get(&id));
        // A worker that says nothing of it keeps nothing that could be behind.
        let is_behind = report.is_some_and(|report| report.in_sync == Some(false));
        if is_behind && !force {
            return Err(Refusal::NotInSync {
                node,
                partition: id,
            });
        }
        // Whoever names a node wants it there: no plan takes it away again.
        self.pin(&id, Some(node.clone()));
        self.begin(now, &id, Goal::Step(Step::Promote { to: node }), actions);
        Ok(Done::with(1))
    }
}
