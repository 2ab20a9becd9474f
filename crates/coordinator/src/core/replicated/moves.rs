//! Shards that move from one of their members to another node: how that is begun, held up, taken back, and carried on by whoever leads.

use std::collections::BTreeMap;

use shardwright_failover::replication::Move;
use shardwright_rebalancer::PartitionId;
use shardwright_registry::{Key, Stored};
use shardwright_topology::{
    Decision, Gap, MemberChange, NodeId, NodeState, Operation, OperationId, OperationKind, Phase,
    ShardRecord, ShardState, Timestamp, Written,
};

use crate::core::{
    Action, CommandId, Core, Done, Refusal, Steering, Value,
    machine::Purpose,
    migration::{self, Holder, Sight, Step},
};

/// How a command about a move is answered.
pub(super) enum Begun {
    /// At once: so much has changed.
    Is(Done),
    /// Once it is written.
    Writing,
}

impl Core {
    /// Returns from where to where a shard would move, if it may. Who has the shard already, and is in sync, is left to a hand-over: `None`.
    pub(super) fn check_move(
        &self,
        partition: &PartitionId,
        from: Option<NodeId>,
        to: NodeId,
    ) -> Result<Option<MemberChange>, Refusal> {
        if !self.mirror.nodes.contains_key(&to) {
            return Err(Refusal::UnknownNode { node: to });
        }
        let stored = self.mirror.shards.get(partition);
        let unknown = || Refusal::UnknownShard {
            partition: partition.clone(),
        };
        let record = stored.map(|stored| self.mirror.decided(&stored.value));
        let record = record.ok_or_else(unknown)?.into_owned();
        if record.state == ShardState::Retired {
            return Err(unknown());
        }
        let held = record.hold.as_ref().map(|hold| &hold.operation);
        if let Some(operation) = held.or(self.under_way(partition)) {
            return Err(Refusal::Held {
                partition: partition.clone(),
                operation: operation.clone(),
            });
        }
        let primary = record.primary().cloned();
        let from = from.or_else(|| primary.clone());
        let is_member = |node: &NodeId| {
            let active = record.active.as_ref();
            active.is_some_and(|active| active.member(node).is_some())
        };
        if from == primary && primary.as_ref() == Some(&to) {
            let partition = partition.clone();
            return Err(Refusal::IsPrimary {
                node: to,
                partition,
            });
        }
        if is_member(&to) && from == primary {
            return Ok(None);
        }
        let machine = self.replicated.machine(&partition.keyspace);
        let (Some(machine), Some(from)) = (machine, from) else {
            let leader = self.leader();
            return Err(Refusal::NotLeader { leader });
        };
        machine.check_move(&partition.shard, &from, &to)?;
        Ok(Some(MemberChange { from, to }))
    }

    /// Writes down that a shard is to move. Who has the shard already, and is in sync, is left to a hand-over: `None`.
    pub(super) fn begin_move(
        &mut self,
        id: CommandId,
        partition: &PartitionId,
        from: Option<NodeId>,
        to: NodeId,
        actions: &mut Vec<Action>,
    ) -> Result<Option<Begun>, Refusal> {
        let Some(members) = self.check_move(partition, from, to)? else {
            return Ok(None);
        };
        let name = format!("move-{:016x}", self.rng.next_u64());
        let name = OperationId::new(name).expect("digits make a valid name");
        let operation = planned(name, partition, members);
        let done = Done {
            changes: 1,
            operation: Some(operation.id.clone()),
            ..Done::default()
        };
        let key = key_of(&operation.id);
        let purpose = asked(id, done, partition);
        self.write_at(
            key,
            None,
            Some(Value::Operation(operation)),
            purpose,
            actions,
        );
        Ok(Some(Begun::Writing))
    }

    /// Begins the move of a shard to a node that has none of its members, or tells whether that may be.
    pub(super) fn migrate(
        &mut self,
        id: CommandId,
        partition: PartitionId,
        from: Option<NodeId>,
        to: NodeId,
        dry_run: bool,
        actions: &mut Vec<Action>,
    ) -> Result<Begun, Refusal> {
        let begun = if dry_run {
            let checked = self.check_move(&partition, from, to.clone())?;
            checked.map(|_| Begun::Is(Done::with(1)))
        } else {
            self.begin_move(id, &partition, from, to.clone(), actions)?
        };
        let node = to;
        begun.ok_or(Refusal::Holds { node, partition })
    }

    /// Holds a move up, lets it go on, takes it back, or begins the one that reverses it.
    pub(super) fn steer(
        &mut self,
        id: CommandId,
        operation: &OperationId,
        steering: Steering,
        actions: &mut Vec<Action>,
    ) -> Result<Begun, Refusal> {
        let stored = self.mirror.operations.get(operation);
        let stored = stored.filter(|stored| stored.value.members.is_some());
        let unknown = || Refusal::UnknownOperation {
            operation: operation.clone(),
        };
        let Stored {
            key,
            value,
            revision,
        } = stored.ok_or_else(unknown)?.clone();
        let partition = partition_of(&value).ok_or_else(unknown)?;
        let (phase, is_open) = (value.phase, value.phase.decision() == Decision::Open);
        let other_phase = || Refusal::OtherPhase {
            operation: operation.clone(),
            phase,
        };
        if steering == Steering::Reverse {
            let change = value.members.ok_or_else(unknown)?;
            let (MemberChange { from, to }, true) = (change, phase == Phase::Done) else {
                return Err(other_phase());
            };
            let begun = self.begin_move(id, &partition, Some(to), from, actions)?;
            return begun.ok_or_else(other_phase);
        }
        let next = match steering {
            Steering::Cancel if is_open => Operation {
                phase: Phase::Aborting,
                error: Some("cancelled".to_owned()),
                ..value.clone()
            },
            Steering::Cancel if phase.decision() == Decision::Abort => value.clone(),
            Steering::Pause | Steering::Resume if is_open => Operation {
                paused: steering == Steering::Pause,
                ..value.clone()
            },
            _ => return Err(other_phase()),
        };
        let mut done = Done {
            changes: 0,
            operation: Some(operation.clone()),
            ..Done::default()
        };
        if next == value {
            return Ok(Begun::Is(done));
        }
        done.changes = 1;
        let (value, purpose) = (Some(Value::Operation(next)), asked(id, done, &partition));
        if self.write_at(key, Some(revision), value, purpose, actions) {
            return Ok(Begun::Writing);
        }
        // Its next phase is just being written.
        Err(Refusal::Busy { partition })
    }

    /// The move of a shard that may still change its members.
    fn under_way(&self, partition: &PartitionId) -> Option<&OperationId> {
        let mut moves = self.moves().filter(|stored| keeps_busy(&stored.value));
        let found = moves.find(|stored| partition_of(&stored.value).as_ref() == Some(partition));
        found.map(|stored| &stored.value.id)
    }

    /// Where the move of a shard is once its members have changed, if that is what they change for.
    pub(in crate::core) fn gap_of_members(&self, partition: &PartitionId) -> Option<Gap> {
        let mut moves = self.moves().map(|stored| &stored.value);
        let found = moves.find(|operation| {
            operation.phase == Phase::Committed
                && partition_of(operation).as_ref() == Some(partition)
        });
        found.map(|operation| operation.gap(Written::Members))
    }

    /// The nodes to which shards move that are not there yet.
    pub(super) fn targets(&self) -> BTreeMap<PartitionId, NodeId> {
        let open = self.moves().map(|stored| &stored.value);
        let open = open.filter(|operation| !operation.phase.is_final());
        let found = open.filter_map(|operation| {
            let change = operation.members.as_ref()?;
            Some((partition_of(operation)?, change.to.clone()))
        });
        found.collect()
    }

    pub(super) fn moves(&self) -> impl Iterator<Item = &Stored<Operation>> {
        let all = self.mirror.operations.values();
        all.filter(|stored| stored.value.members.is_some())
    }

    /// Carries all moves on: has the machines told how far each may go, and writes what follows from what there is.
    pub(super) fn carry_moves_on(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let moves: Vec<_> = self.moves().cloned().collect();
        let mut wanted: BTreeMap<PartitionId, Move> = BTreeMap::new();
        for stored in &moves {
            let operation = &stored.value;
            let (Some(partition), Some(change)) = (partition_of(operation), &operation.members)
            else {
                continue;
            };
            let sight = self.sight(operation, &partition, change, &moves);
            let is_first = !sight.is_followed && !matches!(sight.holder, Holder::Other(_));
            if let Some(stage) = migration::stage(operation.phase).filter(|_| is_first) {
                let MemberChange { from, to } = change.clone();
                wanted.insert(partition.clone(), Move { from, to, stage });
            }
            let step = migration::next(operation, &sight);
            self.take(stored, &partition, step, actions);
            self.forget_ended(now, stored, actions);
        }
        self.replicated.set_moves(wanted);
    }

    /// What there is to see of a move.
    fn sight(
        &self,
        operation: &Operation,
        partition: &PartitionId,
        change: &MemberChange,
        moves: &[Stored<Operation>],
    ) -> Sight {
        let record = self.mirror.shards.get(partition);
        // Whoever has it no more has yet to say so there.
        let record = record.map(|stored| self.mirror.decided_by_others(&stored.value, operation));
        let record = record.as_deref();
        let machine = self.replicated.machine(&partition.keyspace);
        let standing =
            |node: &NodeId| machine.and_then(|machine| machine.standing(&partition.shard, node));
        let others = moves.iter().map(|stored| &stored.value);
        let mut others = others.filter(|other| {
            other.id != operation.id
                && keeps_busy(other)
                && partition_of(other).as_ref() == Some(partition)
        });
        let is_decided = operation.phase.decision() != Decision::Open;
        let configs = record
            .into_iter()
            .flat_map(|record| record.active.iter().chain(&record.pending));
        let members = configs.flat_map(|config| &config.members);
        Sight {
            serves: record.is_some_and(|record| record.state != ShardState::Retired),
            holder: holder(operation, record, others.clone()),
            is_settled: record.is_some_and(|record| record.pending.is_none()),
            members: members.map(|member| member.node.clone()).collect(),
            from: standing(&change.from),
            to: standing(&change.to),
            is_up: [&change.from, &change.to].map(|node| self.is_up(node)),
            refused: self.refused(&change.to),
            is_for_nothing: self.is_for_nothing(operation),
            is_followed: is_decided
                && operation.phase != Phase::Committed
                && others.next().is_some(),
        }
    }

    fn is_up(&self, node: &NodeId) -> bool {
        let record = self.mirror.nodes.get(node);
        record.is_some_and(|stored| stored.value.state != NodeState::Down)
    }

    /// Why a node can be given no copy, and will not be either when it is back.
    fn refused(&self, node: &NodeId) -> Option<String> {
        let Some(stored) = self.mirror.nodes.get(node) else {
            return Some(format!("node {node} was removed"));
        };
        let is_leaving = stored.value.state == NodeState::Draining;
        is_leaving.then(|| format!("node {node} gives away what it has"))
    }

    fn take(
        &mut self,
        stored: &Stored<Operation>,
        partition: &PartitionId,
        step: Step,
        actions: &mut Vec<Action>,
    ) {
        let operation = &stored.value;
        let next = |record: &ShardRecord| match step {
            Step::Hold => record.hold_by(&operation.id).ok(),
            Step::LetGo => record.resolve(operation).ok(),
            _ => None,
        };
        if let Step::Enter(phase, error) = &step {
            let Ok(mut next) = operation.advance(*phase) else {
                return;
            };
            next.error = error.clone().or(next.error);
            let purpose = Purpose::Operation(next.gap(Written::Phase));
            let (key, value) = (stored.key.clone(), Some(Value::Operation(next)));
            let expected = Some(stored.revision);
            self.write_at(key, expected, value, purpose, actions);
        } else if let Some(known) = self.mirror.shards.get(partition)
            && let Some(next) = next(&known.value).filter(|next| *next != known.value)
        {
            let (key, expected) = (known.key.clone(), Some(known.revision));
            let value = Some(Value::Shard(next));
            let written = match step {
                Step::Hold => Written::Held,
                _ => Written::Resolved,
            };
            let purpose = Purpose::Operation(operation.gap(written));
            self.write_at(key, expected, value, purpose, actions);
        }
    }

    /// Removes the record of a move that this leader has known to be over for the time of retention. Nothing points at it any more: each end is written after its shard is let go of.
    fn forget_ended(
        &mut self,
        now: Timestamp,
        stored: &Stored<Operation>,
        actions: &mut Vec<Action>,
    ) {
        let operation = &stored.value;
        if !operation.phase.is_final() {
            return;
        }
        let since = self.replicated.ended(now, &operation.id);
        let is_held = partition_of(operation).is_some_and(|partition| {
            let record = self.mirror.shards.get(&partition);
            let hold = record.and_then(|stored| stored.value.hold.as_ref());
            hold.is_some_and(|hold| hold.operation == operation.id)
        });
        if self.settings.operations.retention <= now.since(since) && !is_held {
            let (key, expected) = (stored.key.clone(), Some(stored.revision));
            let purpose = Purpose::Operation(operation.gap(Written::Removed));
            self.write_at(key, expected, None, purpose, actions);
        }
    }
}

/// Who has the shard of a move. One without a range takes part in nothing else, so it need not be held: of several moves, the first by name has it.
fn holder<'a>(
    operation: &Operation,
    record: Option<&ShardRecord>,
    mut others: impl Iterator<Item = &'a Operation>,
) -> Holder {
    let hold = record.and_then(|record| record.hold.as_ref());
    match hold {
        Some(hold) if hold.operation == operation.id => Holder::Own,
        Some(hold) => Holder::Other(hold.operation.clone()),
        None if record.is_some_and(|record| record.range.is_some()) => Holder::Nobody,
        None => match others.find(|other| other.id < operation.id) {
            Some(other) => Holder::Other(other.id.clone()),
            None => Holder::Unneeded,
        },
    }
}

/// Whether a move may still change the members of its shard.
fn keeps_busy(operation: &Operation) -> bool {
    operation.phase.decision() == Decision::Open || operation.phase == Phase::Committed
}

/// The record of a move that is to begin.
pub(super) fn planned(
    id: OperationId,
    partition: &PartitionId,
    members: MemberChange,
) -> Operation {
    Operation {
        id,
        keyspace: partition.keyspace.clone(),
        kind: OperationKind::Migrate,
        sources: vec![partition.shard.clone()],
        targets: vec![partition.shard.clone()],
        phase: Phase::Planned,
        error: None,
        paused: false,
        members: Some(members),
    }
}

fn asked(command: CommandId, done: Done, partition: &PartitionId) -> Purpose {
    let partition = partition.clone();
    Purpose::Asked {
        command,
        done,
        partition,
    }
}

fn partition_of(operation: &Operation) -> Option<PartitionId> {
    let shard = operation.sources.first()?.clone();
    Some(PartitionId::new(operation.keyspace.clone(), shard))
}

pub(super) fn key_of(operation: &OperationId) -> Key {
    Key::new(format!("op/{operation}")).expect("an operation's name makes a valid key")
}
