//! Moves that bring shards together, which are to become one.
//!
//! A move of a merge is an operation like any other, with a name that begins with that of the merge. So whoever leads next knows what has begun
//! of it, and what is lacking follows from where the members are.

use std::collections::BTreeSet;

use shardwright_rebalancer::PartitionId;
use shardwright_topology::{
    Config, Decision, MemberChange, Operation, OperationId, Phase, ShardId, Written,
};

use super::moves::{key_of, planned};
use crate::core::{
    Action, Core, Done, Gathering, Refusal, Value,
    gathering::{beside_first, fewest},
    machine::Purpose,
};

/// What is between the name of a merge and the number of its move.
const MOVE: &str = "-move-";

impl Core {
    /// Has members of shards move until these are together, or says who would move.
    pub(super) fn gather(
        &mut self,
        merge: Option<&OperationId>,
        shards: &[PartitionId],
        pinned: &BTreeSet<ShardId>,
        actions: &mut Vec<Action>,
    ) -> Result<Done, Refusal> {
        let mut configs = Vec::with_capacity(shards.len());
        for id in shards {
            let stored = self.mirror.shards.get(id);
            let unknown = || Refusal::UnknownShard {
                partition: id.clone(),
            };
            let record = self.mirror.decided(&stored.ok_or_else(unknown)?.value);
            let is_held = |merge: &OperationId| {
                record
                    .hold
                    .as_ref()
                    .is_some_and(|hold| hold.operation == *merge)
            };
            match (&record.active, merge) {
                (Some(active), merge) if record.replicated && !merge.is_some_and(is_held) => {
                    configs.push((id.clone(), active.clone()));
                }
                // It has no members to move, or they have been brought together before.
                _ => return Ok(Done::with(0)),
            }
        }
        let known: Vec<(&ShardId, &Config)> = configs
            .iter()
            .map(|(id, config)| (&id.shard, config))
            .collect();
        let keyspace = &shards[0].keyspace;
        let may = |shard: &ShardId, change: &MemberChange| {
            if pinned.contains(shard) {
                let shard = shard.clone();
                return Err(Refusal::Pinned { shard });
            }
            let partition = PartitionId::new(keyspace.clone(), shard.clone());
            let MemberChange { from, to } = change.clone();
            self.check_move(&partition, Some(from), to).map(drop)
        };
        let has_heard = self.replicated.has_heard_of(&known);
        let Some(merge) = merge else {
            let gathering = fewest(&known, &may);
            let gathering = gathering.map_err(|refused| match has_heard {
                true => refused,
                false => Refusal::NotTakenUp,
            })?;
            return Ok(Done {
                gathering: Some(gathering),
                ..Done::default()
            });
        };
        let waits_for = self.unfinished_move(merge)?;
        if waits_for.is_some() {
            return Ok(Done {
                operation: waits_for,
                ..Done::default()
            });
        }
        if !has_heard {
            // Nodes that have not answered yet would be taken for such as can be given nothing.
            return Err(Refusal::NotTakenUp);
        }
        let gathering = beside_first(&known, &may)?;
        Ok(self.bring_together(merge, shards, gathering, actions))
    }

    /// Returns a move of a merge that is not over.
    fn unfinished_move(&self, merge: &OperationId) -> Result<Option<OperationId>, Refusal> {
        let mut waits_for = None;
        for stored in self.moves() {
            let operation = &stored.value;
            if merge_of(&operation.id).as_ref() != Some(merge) {
                continue;
            }
            if operation.phase == Phase::Aborted {
                return Err(Refusal::NotGathered {
                    operation: operation.id.clone(),
                    reason: operation.error.clone().unwrap_or_default(),
                });
            }
            if !operation.phase.is_final() {
                waits_for = Some(operation.id.clone());
            }
        }
        Ok(waits_for)
    }

    /// Begins the first move of each shard.
    fn bring_together(
        &mut self,
        merge: &OperationId,
        shards: &[PartitionId],
        gathering: Gathering,
        actions: &mut Vec<Action>,
    ) -> Done {
        let mut firsts = gathering.moves.clone();
        firsts.dedup_by(|next, one| next.shard == one.shard);
        let mut done = Done::default();
        for relocation in firsts {
            let place = shards.iter().position(|id| id.shard == relocation.shard);
            let place = place.expect("only these shards are brought together");
            let name = self.next_name(merge, place, shards.len());
            let partition = shards[place].clone();
            let operation = planned(name.clone(), &partition, relocation.members);
            let purpose = Purpose::Operation(operation.gap(Written::Phase));
            let value = Some(Value::Operation(operation));
            // One that is just being written needs no other.
            let is_new = self.write_at(key_of(&name), None, value, purpose, actions);
            done.changes += usize::from(is_new);
            done.operation = Some(name);
        }
        done.gathering = Some(gathering);
        done
    }

    /// Returns the name of the next move of a shard, by its place among those of the merge, of which the first never moves. The others take turns with
    /// the numbers: if it is not known whether a move was written down it is written under the same name again, and that of another shard
    /// has none of its names.
    fn next_name(&self, merge: &OperationId, place: usize, shards: usize) -> OperationId {
        let mut number = place;
        loop {
            let name = OperationId::new(format!("{merge}{MOVE}{number}"));
            let name = name.expect("the name of an operation and a number are one");
            if !self.mirror.operations.contains_key(&name) {
                return name;
            }
            number += shards - 1;
        }
    }

    /// Whether a move was to bring the shards of a merge together that is aborted.
    pub(super) fn is_for_nothing(&self, operation: &Operation) -> bool {
        let merge = merge_of(&operation.id);
        let merge = merge.and_then(|merge| self.mirror.operations.get(&merge));
        merge.is_some_and(|merge| merge.value.phase.decision() == Decision::Abort)
    }
}

/// The merge for which a move is made, by the name of the move.
pub(crate) fn merge_of(operation: &OperationId) -> Option<OperationId> {
    let (merge, _) = operation.as_str().rsplit_once(MOVE)?;
    OperationId::new(merge).ok()
}
