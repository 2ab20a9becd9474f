//! Which members of shards have to move before these can become one shard: all their rows have to be where that is made.
//!
//! What a merge makes begins on the nodes of the members of one of its sources, with the primary where the primary of that one is. There each
//! of its copies takes in what the copy of each other source on the same node holds. So each of these nodes needs a copy of each source: one that has
//! less is made anew from the others, and until then the new shard is short of a copy. That is put up with only where a copy can move to no such node,
//! as when it is down; the node of the primary, and as many others as make a write durable, have to have all.

use std::collections::BTreeSet;

use shardwright_topology::{Config, MemberChange, NodeId, ShardId};

use super::Refusal;

/// A member of a shard, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocation {
    /// The shard.
    pub shard: ShardId,
    /// From where to where.
    pub members: MemberChange,
}

/// What brings shards together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathering {
    /// The shard beside which the new one is made: none of its members moves.
    pub first: ShardId,
    /// Who moves, of one shard after the other.
    pub moves: Vec<Relocation>,
}

/// Returns the fewest moves after which the shards can become one that is made beside the first of them. `may` says why a member may not move.
///
/// # Errors
/// What `may` says of the last way to do it that it refuses.
pub(super) fn beside_first(
    shards: &[(&ShardId, &Config)],
    may: &dyn Fn(&ShardId, &MemberChange) -> Result<(), Refusal>,
) -> Result<Gathering, Refusal> {
    let (first, config) = shards[0];
    let mut moves = Vec::new();
    for (shard, other) in &shards[1..] {
        moves.extend(missing(config, shard, other, may)?);
    }
    Ok(Gathering {
        first: first.clone(),
        moves,
    })
}

/// Returns what takes the fewest moves of all shards beside which the new one can be made: the first of them in the order given.
///
/// # Errors
/// As [`beside_first`], of the first shard, if there is no way at all.
pub(super) fn fewest(
    shards: &[(&ShardId, &Config)],
    may: &dyn Fn(&ShardId, &MemberChange) -> Result<(), Refusal>,
) -> Result<Gathering, Refusal> {
    let ways = (0..shards.len()).map(|first| {
        let mut order = shards.to_vec();
        order[..=first].rotate_right(1);
        beside_first(&order, may)
    });
    let ways: Vec<_> = ways.collect();
    let possible = ways.iter().filter_map(|way| way.as_ref().ok());
    match possible.min_by_key(|way| way.moves.len()) {
        Some(way) => Ok(way.clone()),
        None => ways.into_iter().next().expect("there are shards"),
    }
}

/// Returns which members of a shard have to move to nodes of those of `first`.
fn missing(
    first: &Config,
    shard: &ShardId,
    config: &Config,
    may: &dyn Fn(&ShardId, &MemberChange) -> Result<(), Refusal>,
) -> Result<Vec<Relocation>, Refusal> {
    let wanted: BTreeSet<&NodeId> = first.members.iter().map(|member| &member.node).collect();
    let mut here: BTreeSet<&NodeId> = config.members.iter().map(|member| &member.node).collect();
    let (needed, most) = (
        (first.w as usize).min(here.len()),
        wanted.len().min(here.len()),
    );
    let primary = &first.primary.node;
    let mut moves = Vec::new();
    while !here.contains(primary) || here.intersection(&wanted).count() < most {
        // Those that are of no use here first, and the primary last: it would have to hand over.
        let is_wanted = |node: &NodeId| wanted.contains(node);
        let mut from: Vec<&NodeId> = here.iter().copied().collect();
        from.sort_by_key(|node| (is_wanted(node), **node == config.primary.node));
        let mut to = vec![primary];
        if here.contains(primary) {
            from.retain(|node| !is_wanted(node));
            to = wanted.difference(&here).copied().collect();
        }
        let ways = to
            .iter()
            .flat_map(|to| from.iter().map(move |from| (*from, *to)));
        let mut refused = None;
        let chosen = ways.into_iter().find(|(from, to)| {
            let change = MemberChange {
                from: (*from).clone(),
                to: (*to).clone(),
            };
            let refusal = may(shard, &change).err();
            let is_allowed = refusal.is_none();
            refused = refusal.or(refused.take());
            is_allowed
        });
        let Some((from, to)) = chosen else {
            if here.contains(primary) && needed <= here.intersection(&wanted).count() {
                break;
            }
            let shard = shard.clone();
            return Err(refused.unwrap_or(Refusal::Apart { shard }));
        };
        here.remove(from);
        here.insert(to);
        moves.push(Relocation {
            shard: shard.clone(),
            members: MemberChange {
                from: from.clone(),
                to: to.clone(),
            },
        });
    }
    Ok(moves)
}

#[cfg(test)]
mod tests;
