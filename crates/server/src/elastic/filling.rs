//! How a target begins: with what its members have kept aside of its sources, once enough of them have.

use std::{collections::BTreeMap, sync::Arc};

use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_topology::{Config, NodeId, OperationId, ShardId};

use super::{
    local::{APPENDING, Local, ShardCopies},
    refusals::{not_cut, not_taken},
    wire::{Answer, Ask, Refusal, Said},
};
use crate::shard::split::{Base, BaseState, Cutting, Importing, Merging, ShardCopy, Take};

impl<S: ShardCopies> Local<S> {
    /// Returns how much of a source a target has. It begins with what its members have kept aside, once enough of them have.
    pub(super) async fn imported(
        &self,
        id: &PartitionId,
        shard: &S::Copy,
        (operation, source): (&OperationId, &ShardId),
    ) -> Answer {
        let found = shard.imported(operation, source).await;
        if let Some(imported) = found.map_err(|error| not_taken(&error))? {
            return Ok(Said::Imported(imported.applied));
        }
        self.check_filled(id, operation).await?;
        let leads = shard.standing().leads;
        let config = leads.ok_or(Refusal::NotPrimary { hint: None })?;
        let merging = self.merging(id, operation, source).await?;
        let joins = match merging.filter(|merging| !merging.is_first) {
            Some(merging) => {
                let first = self.first_source(id, operation).await?;
                let first = shard.imported(operation, &first).await;
                if first.map_err(|error| not_taken(&error))?.is_none() {
                    return Err(Refusal::Later("it has nothing yet to add this to".into()));
                }
                let tables = merging.placement.tables();
                Some(tables.map(|table| table.name.clone()).collect())
            }
            None => None,
        };
        let base = self.common_base(id, &config, operation, source).await?;
        let take = Take {
            operation: operation.clone(),
            source: source.clone(),
            at: base.at,
            digest: base.digest,
            joins,
        };
        let begun = shard.begin_with(take, APPENDING).await;
        begun.map_err(|error| not_cut(&error))?;
        Ok(Said::Imported(base.at))
    }

    /// Returns how records of a source are taken in, if it is one of several.
    pub(super) async fn merging(
        &self,
        id: &PartitionId,
        operation: &OperationId,
        source: &ShardId,
    ) -> Result<Option<Merging>, Refusal> {
        let found = self.operation(id, operation).await?;
        if found.sources.len() == 1 {
            return Ok(None);
        }
        let is_first = self.first_source(id, operation).await? == *source;
        // The target may yet have to take in what made the schema what it is.
        let placement = Arc::new(self.latest_placement(id).await?);
        Ok(Some(Merging {
            placement,
            is_first,
        }))
    }

    /// Returns the source whose range the target's begins with.
    async fn first_source(
        &self,
        id: &PartitionId,
        operation: &OperationId,
    ) -> Result<ShardId, Refusal> {
        let found = self.operation(id, operation).await?;
        let mut first = None;
        for source in found.sources {
            let id = PartitionId::new(id.keyspace.clone(), source.clone());
            let start = self.range(&id).await?.start();
            if first.as_ref().is_none_or(|(least, _)| start < *least) {
                first = Some((start, source));
            }
        }
        first.map(|(_, source)| source).ok_or(Refusal::NotHeld)
    }

    /// Returns what enough members have kept aside.
    async fn common_base(
        &self,
        id: &PartitionId,
        config: &Config,
        operation: &OperationId,
        source: &ShardId,
    ) -> Result<Base, Refusal> {
        let states = self.bases(id, config, operation, source).await;
        let own = states.get(self.members.here());
        if let Some(BaseState::Failed(why)) = own {
            return Err(Refusal::Failed(why.clone()));
        }
        let is_making = states.values().any(|state| *state == BaseState::Making);
        if own.is_none() {
            let why = format!(
                "the node of {} has no copy of {source}: move that first",
                id.shard
            );
            return Err(Refusal::Failed(why));
        }
        if is_making {
            return Err(Refusal::Later(
                "the members keep aside what they hold".into(),
            ));
        }
        let Some(Some(base)) = own.map(made) else {
            return Err(Refusal::NoBase);
        };
        let states: Vec<&BaseState> = states.values().collect();
        agree(base, &states, config.w as usize).map(|()| base.clone())
    }

    /// Returns how far this node is with what its copy of a target is to begin with. Where that is added to what another source has, it counts only
    /// once the copy has that: a copy that lacked it is made anew, and is not the member any more that would begin with this.
    pub(super) async fn base_here(
        &self,
        source: &PartitionId,
        shard: &S::Copy,
        (operation, target): (&OperationId, &ShardId),
    ) -> Result<BaseState, Refusal> {
        let state = shard.base(operation, target);
        if made(&state).is_none() || self.operation(source, operation).await?.sources.len() == 1 {
            return Ok(state);
        }
        let first = self.first_source(source, operation).await?;
        if first == source.shard {
            return Ok(state);
        }
        let target = PartitionId::new(source.keyspace.clone(), target.clone());
        let begun = match self.copies.copy(&target) {
            Some(copy) => copy.imported(operation, &first).await,
            None => Ok(None),
        };
        Ok(match begun {
            Ok(Some(_)) => state,
            Ok(None) | Err(_) => BaseState::Waiting,
        })
    }

    /// Asks the members of a target how far they are.
    async fn bases(
        &self,
        id: &PartitionId,
        config: &Config,
        operation: &OperationId,
        source: &ShardId,
    ) -> BTreeMap<NodeId, BaseState> {
        let source = PartitionId::new(id.keyspace.clone(), source.clone());
        let mut states = BTreeMap::new();
        for member in &config.members {
            let ask = Ask::Base {
                operation: operation.clone(),
                target: id.shard.clone(),
            };
            let state = if member.node == *self.members.here() {
                let copy = self.copies.copy(&source);
                copy.map(|copy| copy.base(operation, &id.shard))
            } else {
                match self.members.ask(&member.node, &source, ask).await {
                    Ok(Ok(Said::Base(state))) => Some(state),
                    _ => None,
                }
            };
            states.extend(state.map(|state| (member.node.clone(), state)));
        }
        states
    }
}

/// Checks that so many members have the same, this one's, and could begin with it now.
fn agree(base: &Base, states: &[&BaseState], wanted: usize) -> Result<(), Refusal> {
    let bases: Vec<&Base> = states.iter().copied().filter_map(made).collect();
    // Whoever has none, or another one, is made anew from those who have it.
    if bases.iter().filter(|other| **other == base).count() >= wanted {
        return Ok(());
    }
    let differs = |other: &&Base| other.at == base.at && other.digest != base.digest;
    if bases.iter().any(differs) {
        let why = "the members keep aside different rows";
        return Err(Refusal::Failed(why.into()));
    }
    let waits = |state: &&BaseState| **state == BaseState::Waiting;
    let lacks = |state: &&BaseState| !waits(state) && made(state) != Some(base);
    if states.iter().any(waits) && !states.iter().any(lacks) {
        let why = "the members take in what comes first";
        return Err(Refusal::Later(why.into()));
    }
    Err(Refusal::NoBase)
}

fn made(state: &BaseState) -> Option<&Base> {
    match state {
        BaseState::Made(base) => Some(base),
        BaseState::Making | BaseState::Failed(_) | BaseState::Missing | BaseState::Waiting => None,
    }
}

#[cfg(test)]
mod tests {
    use shardwright_topology::Lsn;

    use super::*;

    fn made_at(at: u64, digest: u8) -> BaseState {
        BaseState::Made(Base {
            operation: OperationId::new("op-1").expect("a name"),
            source: ShardId::numbered(0),
            at: Lsn(at),
            digest: [digest; 32],
        })
    }

    /// Asks whether two of three members can begin, given how the other two are, in a word.
    #[track_caller]
    fn check(others: [&BaseState; 2], expected: &str) {
        let own = made_at(7, 1);
        let base = made(&own).expect("it is there");
        let said = match agree(base, &[&own, others[0], others[1]], 2) {
            Ok(()) => "begin",
            Err(Refusal::NoBase) => "again",
            Err(Refusal::Later(_)) => "later",
            Err(_) => "never",
        };
        assert_eq!(said, expected, "{others:?}");
    }

    #[test]
    fn a_target_begins_with_what_enough_members_have_who_can_begin_with_it() {
        let (same, older, other) = (made_at(7, 1), made_at(5, 1), made_at(7, 2));
        let (waiting, missing) = (BaseState::Waiting, BaseState::Missing);
        check([&same, &missing], "begin");
        check([&waiting, &same], "begin");
        check([&older, &missing], "again");
        check([&other, &missing], "never");
        // Neither of two members that lack one part each may count for the other part.
        check([&waiting, &missing], "again");
        check([&waiting, &older], "again");
        check([&waiting, &waiting], "later");
    }
}
