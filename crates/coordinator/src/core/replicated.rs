//! The shards that commit on several members: what the machines that look after them are told, and what is done of what they want.

mod gathering;
mod machines;
mod moves;
mod news;

use std::collections::{BTreeMap, BTreeSet};

use shardwright_failover::replication::{self, Input, Instruction, Refused, Registered};
use shardwright_rebalancer::PartitionId;
use shardwright_registry::Seen;
use shardwright_topology::{KeyspaceName, NodeId, NodeState, ShardRecord, ShardState, Timestamp};

pub(crate) use self::gathering::merge_of;
pub(super) use self::machines::Replicated;
use self::moves::Begun;
use super::{
    Action, Command, CommandId, Core, Done, Notice, Refusal, ReplicatedView, TroubleView, Value,
    machine::Purpose,
    mirror::{holders, partition_of},
};
use crate::protocol::{CopyInstruction, CopyTrouble};

impl Core {
    /// Whether a node is the primary of a shard that commits on several members.
    pub(super) fn leads_replicated(&self, node: &NodeId) -> bool {
        let records = self.mirror.holdings(node).filter_map(|id| {
            let record = &self.mirror.shards.get(id)?.value;
            record.replicated.then_some(record)
        });
        let mut primaries = records.map(ShardRecord::primary);
        primaries.any(|primary| primary == Some(node))
    }

    /// Begins or ceases to look after them with the leadership, and tells the machines what there is to tell.
    pub(super) fn look_after_replicated(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let is_leading = self.is_leading(now);
        if is_leading && !self.replicated.is_leading() {
            self.begin_to_lead();
        }
        self.run_machines(now, actions);
        if is_leading && std::mem::take(&mut self.is_to_move) {
            self.carry_moves_on(now, actions);
            self.run_machines(now, actions);
        }
        if !is_leading && self.replicated.is_leading() {
            self.replicated.step_down();
            self.run_machines(now, actions);
            self.replicated = Replicated::default();
            self.version += 1;
        }
    }

    /// Shows fresh machines all that the registry holds.
    fn begin_to_lead(&mut self) {
        self.replicated.begin();
        for record in self.mirror.nodes.values() {
            self.replicated.node_changed(&record.value);
        }
        let copies: Vec<_> = self.mirror.copies.keys().cloned().collect();
        for (keyspace, node) in copies {
            self.copies_changed(&keyspace, &node);
        }
        let shards: Vec<_> = self.mirror.shards.keys().cloned().collect();
        for id in shards {
            self.replicated_shard_changed(&id);
        }
    }

    fn run_machines(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        while let Some((keyspace, wanted)) = self.replicated.advance(now) {
            for action in wanted {
                self.carry_out(now, &keyspace, action, actions);
            }
        }
    }

    pub(super) fn replicated_shard_changed(&mut self, id: &PartitionId) {
        if !self.replicated.is_leading() {
            return;
        }
        let input = match self.mirror.shards.get(id) {
            Some(stored) if stored.value.replicated => Input::Shard(stored.clone()),
            Some(_) => return,
            None => Input::ShardGone(id.shard.clone()),
        };
        if matches!(input, Input::Shard(_)) && !self.replicated.has(&id.keyspace) {
            let settings = self.settings.replication.settings().clone();
            let seed = self.rng.next_u64();
            self.replicated.add(&id.keyspace, settings, seed);
        }
        self.replicated.tell(&id.keyspace, input);
    }

    pub(super) fn copies_changed(&mut self, keyspace: &KeyspaceName, node: &NodeId) {
        let key = (keyspace.clone(), node.clone());
        let stored = self.mirror.copies.get(&key);
        let registered = stored.map_or_else(
            || Registered::none(node.clone()),
            |stored| stored.value.clone(),
        );
        let record = self.mirror.nodes.get(node).map(|stored| &stored.value);
        self.replicated.keeps_copies(node, record);
        self.replicated.registered(keyspace, registered);
    }

    /// Takes in what a worker said last of the copies that it has open.
    pub(super) fn hear_of_copies(&mut self, node: &NodeId) {
        let (Some(contact), Some(stored)) = (self.contacts.get(node), self.mirror.nodes.get(node))
        else {
            return;
        };
        let record = &stored.value;
        if let Some(copies) = &contact.copies
            && record.state != NodeState::Down
            && record.incarnation == contact.incarnation
        {
            if self.replicated.keeps_copies(node, Some(record)) {
                self.version += 1;
            }
            self.replicated.reported(node, contact.incarnation, copies);
        }
    }

    /// Tells people which copies of a worker do not work any more, and which do again.
    pub(super) fn tell_of_troubles(&mut self, node: &NodeId, actions: &mut Vec<Action>) {
        let Some(contact) = self.contacts.get_mut(node) else {
            return;
        };
        for trouble in &contact.troubles {
            let partition = trouble.partition.clone();
            let told = contact.told.insert(partition.clone(), trouble.kind);
            if told != Some(trouble.kind) {
                actions.push(Action::Notify(Notice::CopyFailed {
                    partition,
                    node: node.clone(),
                    kind: trouble.kind,
                    error: trouble.error.clone(),
                }));
            }
        }
        let (troubles, copies) = (&contact.troubles, &contact.copies);
        let is_back = |partition: &PartitionId| {
            let mut failed = troubles.iter().map(|trouble| &trouble.partition);
            let mut open = copies.iter().flatten().map(|copy| &copy.partition);
            !failed.any(|other| other == partition) && open.any(|other| other == partition)
        };
        contact.told.retain(|partition, _| {
            let is_back = is_back(partition);
            if is_back {
                actions.push(Action::Notify(Notice::CopyBack {
                    partition: partition.clone(),
                    node: node.clone(),
                }));
            }
            !is_back
        });
    }

    /// Which copies do not work, by shard and node.
    pub(super) fn troubles(&self) -> BTreeMap<PartitionId, Vec<TroubleView>> {
        let mut troubles: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (node, contact) in &self.contacts {
            for CopyTrouble {
                partition,
                kind,
                error,
            } in &contact.troubles
            {
                let of_shard = troubles.entry(partition.clone()).or_default();
                of_shard.push(TroubleView {
                    node: node.clone(),
                    kind: *kind,
                    error: error.clone(),
                });
            }
        }
        troubles
    }

    /// A record that was read is shown to its machine although it is the one that is known: so it learns that a write has not happened.
    pub(super) fn found(&mut self, found: &Seen) {
        let Seen::Shard(stored) = found else {
            return;
        };
        let id = partition_of(&stored.value);
        let known = self.mirror.shards.get(&id);
        let is_known = known.is_some_and(|known| known.revision == stored.revision);
        if is_known && stored.value.replicated {
            self.replicated
                .tell(&id.keyspace, Input::Shard(stored.clone()));
        }
    }

    /// Answers a command about operations, or about what there is to do before one, now or once something is written; `None` if it is another one.
    fn answer_about_operations(
        &mut self,
        id: CommandId,
        command: &Command,
        actions: &mut Vec<Action>,
    ) -> Option<Option<Result<Done, Refusal>>> {
        match command {
            Command::Steer {
                operation,
                steering,
            } => Some(answer_of(self.steer(id, operation, *steering, actions))),
            Command::Gather {
                operation,
                shards,
                pinned,
            } => Some(Some(self.gather(
                operation.as_ref(),
                shards,
                pinned,
                actions,
            ))),
            _ => None,
        }
    }

    /// Takes a command about a shard that commits on several members, which is answered later, or refuses it. Gives other commands back.
    pub(super) fn replicated_command(
        &mut self,
        id: CommandId,
        command: Command,
        actions: &mut Vec<Action>,
    ) -> Result<Command, Option<Result<Done, Refusal>>> {
        if let Some(answer) = self.answer_about_operations(id, &command, actions) {
            return Err(answer);
        }
        let (Command::Move { partition, .. }
        | Command::Migrate { partition, .. }
        | Command::Promote { partition, .. }
        | Command::AcceptLoss { partition, .. }) = &command
        else {
            return Ok(command);
        };
        let known = self.mirror.shards.get(partition);
        if !known.is_some_and(|stored| stored.value.replicated) {
            return Ok(command);
        }
        if let Command::Promote {
            node, force: false, ..
        } = &command
            && self.has_primary(partition, node)
        {
            return Err(Some(Ok(Done::with(0))));
        }
        let (keyspace, shard) = (partition.keyspace.clone(), partition.shard.clone());
        let command = match command {
            Command::Promote {
                node, force: false, ..
            } => replication::Command::HandOver { shard, to: node },
            Command::AcceptLoss {
                node, accepted, by, ..
            } => replication::Command::Force {
                shard,
                to: node,
                accepting_loss_of: accepted,
                by,
            },
            Command::Promote { partition, .. } => {
                return Err(Some(Err(Refusal::LossNotNamed { partition })));
            }
            Command::Move {
                partition,
                from,
                to: node,
            } => match self.begin_move(id, &partition, from, node.clone(), actions) {
                Ok(None) => replication::Command::HandOver { shard, to: node },
                Ok(Some(begun)) => return Err(answer_of(Ok(begun))),
                Err(refusal) => return Err(Some(Err(refusal))),
            },
            Command::Migrate {
                partition,
                from,
                to,
                dry_run,
            } => {
                let begun = self.migrate(id, partition, from, to, dry_run, actions);
                return Err(answer_of(begun));
            }
            other => return Ok(other),
        };
        if !self.replicated.has(&keyspace) {
            // It is about to lead.
            let leader = self.leader();
            return Err(Some(Err(Refusal::NotLeader { leader })));
        }
        let ticket = id.0;
        self.replicated
            .tell(&keyspace, Input::Command { ticket, command });
        Err(None)
    }

    /// Whether a node has the primary of a shard that takes writes, and no other one is being tried.
    fn has_primary(&self, id: &PartitionId, node: &NodeId) -> bool {
        let record = self.mirror.shards.get(id).map(|stored| &stored.value);
        let machine = self.replicated.machine(&id.keyspace);
        let condition = machine.and_then(|machine| machine.condition(&id.shard));
        record.is_some_and(|record| record.pending.is_none() && record.primary() == Some(node))
            && condition.is_some_and(|condition| condition.is_available())
    }

    fn carry_out(
        &mut self,
        now: Timestamp,
        keyspace: &KeyspaceName,
        wanted: replication::Action,
        actions: &mut Vec<Action>,
    ) {
        match wanted {
            replication::Action::Write {
                key,
                expected,
                record,
            } => {
                let id = partition_of(&record);
                let value = Some(Value::Shard(*record));
                let purpose = Purpose::Replicated(id.clone());
                if !self.write_at(key, Some(expected), value, purpose, actions) {
                    self.replicated.not_written(&id);
                }
            }
            replication::Action::Read { shard } => {
                let id = PartitionId::new(keyspace.clone(), shard);
                if let Some(stored) = self.mirror.shards.get(&id) {
                    let key = stored.key.clone();
                    actions.push(Action::Read { key });
                }
            }
            replication::Action::Instruct { node, instruction } => {
                self.instruct(now, keyspace, &node, instruction);
            }
            replication::Action::Emit(event) => {
                self.version += 1;
                actions.extend(news::notice(keyspace, event).map(Action::Notify));
            }
            replication::Action::Answer { ticket, answer } => {
                let id = CommandId(ticket);
                let result = answer.map(|_epoch| Done::with(1));
                let result = result.map_err(|refused| match refused {
                    Refused::NotLeading => Refusal::NotLeader {
                        leader: self.leader(),
                    },
                    refused => refused.into(),
                });
                actions.push(Action::Answer { id, result });
            }
        }
    }

    fn instruct(
        &mut self,
        now: Timestamp,
        keyspace: &KeyspaceName,
        node: &NodeId,
        instruction: Instruction,
    ) {
        if let Some(contact) = self.contacts.get_mut(node) {
            let keyspace = keyspace.clone();
            contact.instruct(
                now,
                CopyInstruction {
                    keyspace,
                    instruction,
                },
            );
            self.pings_from = self.pings_from.min(now);
        }
    }

    /// How the shards stand that commit on several members.
    pub(super) fn replicated_view(&self) -> BTreeMap<PartitionId, ReplicatedView> {
        let stored = self.mirror.shards.iter();
        let is_there =
            |record: &ShardRecord| self.mirror.decided(record).state != ShardState::Retired;
        let shown = stored.filter(|(_, stored)| is_there(&stored.value));
        let targets = self.targets();
        let shown = shown.filter_map(|(id, stored)| {
            let machine = self.replicated.machine(&id.keyspace)?;
            let condition = machine.condition(&id.shard)?;
            let holders = holders(&stored.value).into_iter();
            let nodes: BTreeSet<NodeId> = holders.chain(targets.get(id).cloned()).collect();
            let lag = |node: NodeId| Some((machine.lag(&id.shard, &node)?, node));
            let lags = nodes.into_iter().filter_map(lag);
            let view = ReplicatedView {
                condition,
                lags: lags.map(|(lag, node)| (node, lag)).collect(),
                lag_max: self.settings.replication.settings().lag_max,
            };
            Some((id.clone(), view))
        });
        shown.collect()
    }
}

/// How a command is answered at once, if it is.
fn answer_of(begun: Result<Begun, Refusal>) -> Option<Result<Done, Refusal>> {
    match begun {
        Ok(Begun::Is(done)) => Some(Ok(done)),
        Ok(Begun::Writing) => None,
        Err(refusal) => Some(Err(refusal)),
    }
}

#[cfg(test)]
mod tests;
