//! Moves that bring shards together, which are to become one.
//!
//! A move of a merge is an operation like any other, with a name that begins with that of the merge. So whoever leads next knows what has begun
//! of it, and what is lacking follows from where the members are.

use shardwright_rebalancer::PartitionId;
use shardwright_topology::{
    Config, Decision, KeyspaceName, MemberChange, Operation, OperationId, Phase, ShardId, Written,
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
            let partition = PartitionId::new(keyspace.clone(), shard.clone());
            let MemberChange { from, to } = change.clone();
            self.check_move(&partition, Some(from), to).map(drop)
        };
        let Some(merge) = merge else {
            let gathering = fewest(&known, &may)?;
            return Ok(Done {
                gathering: Some(gathering),
                ..Done::default()
            });
        };
        let (begun, waits_for) = self.moves_of(merge)?;
        if waits_for.is_some() {
            return Ok(Done {
                operation: waits_for,
                ..Done::default()
            });
        }
        let gathering = beside_first(&known, &may)?;
        Ok(self.bring_together(merge, begun, keyspace, gathering, actions))
    }

    /// Returns how many moves of a merge have begun, and one that is not over.
    fn moves_of(&self, merge: &OperationId) -> Result<(usize, Option<OperationId>), Refusal> {
        let (mut begun, mut waits_for) = (0, None);
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
            begun += 1;
            if !operation.phase.is_final() {
                waits_for = Some(operation.id.clone());
            }
        }
        Ok((begun, waits_for))
    }

    /// Begins the first move of each shard.
    fn bring_together(
        &mut self,
        merge: &OperationId,
        begun: usize,
        keyspace: &KeyspaceName,
        gathering: Gathering,
        actions: &mut Vec<Action>,
    ) -> Done {
        let mut firsts = gathering.moves.clone();
        firsts.dedup_by(|next, one| next.shard == one.shard);
        let mut done = Done::default();
        for (number, relocation) in (begun + 1..).zip(firsts) {
            let name = OperationId::new(format!("{merge}{MOVE}{number}"));
            let name = name.expect("the name of an operation and a number are one");
            let partition = PartitionId::new(keyspace.clone(), relocation.shard);
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
