//! A member of a shard that is to give its place to a copy on a node that somebody has named.
//!
//! Who asks for it says how far it is to go, and may take it back until it is to happen. It is forgotten with the leadership: whoever leads
//! next is told again.

use std::collections::BTreeSet;

use shardwright_topology::{Config, Member, NodeId, ShardId};

use super::{Refused, Replication, Shard};

/// Which member gives its place to a copy on which node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The node of the member.
    pub from: NodeId,
    /// The node of the copy.
    pub to: NodeId,
    /// How far it is to go.
    pub stage: Stage,
}

/// How far a [`Move`] is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The copy is made, filled and kept up to date. No member goes.
    Fill,
    /// The member hands over if it is the primary, and the copy takes its place in one change, as soon as it may. What is left of the member is
    /// deleted once nobody needs it.
    Swap,
    /// The copy is deleted at once, unless it counts.
    Undo,
}

/// How the copy of a shard on a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Whether it can be reached, and is known to be whole.
    pub is_whole: bool,
    /// Whether it is in the active configuration.
    pub is_member: bool,
    /// Whether it is the primary of the active configuration.
    pub is_primary: bool,
    /// By how many records it is behind the primary, if that follows it with them.
    pub lag: Option<u64>,
    /// Whether it may take the place of the member that gives its place to it, as far as is known now.
    pub is_ready: bool,
}

impl Replication {
    /// Returns which member of a shard is to give its place to which copy.
    #[must_use]
    pub fn moving(&self, shard: &ShardId) -> Option<&Move> {
        self.shards.get(shard)?.moving.as_ref()
    }

    /// Returns how the copy of a shard on a node stands; `None` if its node vouches for none.
    #[must_use]
    pub fn standing(&self, shard: &ShardId, node: &NodeId) -> Option<Standing> {
        let copy = self.nodes.copy_on(shard, node)?;
        let known = self.shards.get(shard)?;
        let is_whole = self.nodes.is_whole(shard, &copy);
        let Some(active) = known.stored.value.active.as_ref() else {
            return Some(Standing {
                is_whole,
                ..Standing::default()
            });
        };
        Some(Standing {
            is_whole,
            is_member: active.members.contains(&copy),
            is_primary: active.primary.node == *node,
            lag: self.lag(shard, node),
            is_ready: known
                .moving
                .as_ref()
                .is_some_and(|moving| moving.to == *node && self.may_swap(known, active)),
        })
    }

    /// Checks that a member of a shard could give its place to a copy on another node, as things are now.
    ///
    /// # Errors
    /// [`Refused`], in the words of whom a caller may ask: the shard has no members yet, `from` has none of them, `to` has one, cannot be given
    /// a copy, or is where too few zones would be left.
    pub fn check_move(&self, shard: &ShardId, from: &NodeId, to: &NodeId) -> Result<(), Refused> {
        let id = shard.clone();
        let unknown = || Refused::UnknownShard { shard: id.clone() };
        let known = self.shards.get(shard).ok_or_else(unknown)?;
        let unassigned = || Refused::Unassigned { shard: id.clone() };
        let active = known.stored.value.active.as_ref().ok_or_else(unassigned)?;
        let Some(before) = active.member(from) else {
            let (shard, node) = (id, from.clone());
            return Err(Refused::NotMember { shard, node });
        };
        if active.member(to).is_some() {
            let (shard, node) = (id, to.clone());
            return Err(Refused::IsMember { shard, node });
        }
        if !self.nodes.accepts(to) {
            let (shard, node) = (id, to.clone());
            return Err(Refused::CannotTake { shard, node });
        }
        let mut nodes: BTreeSet<&NodeId> =
            active.members.iter().map(|member| &member.node).collect();
        nodes.remove(&before.node);
        nodes.insert(to);
        let (zones, needed) = (self.nodes.zones_of(nodes), self.zones_needed(active));
        if zones < needed {
            return Err(Refused::TooFewZones {
                shard: id,
                node: to.clone(),
                zones,
                needed,
            });
        }
        Ok(())
    }

    /// Replaces what is wanted of a shard.
    pub(super) fn set_moving(&mut self, id: &ShardId, moving: Option<Move>) {
        let moving = moving.filter(|moving| moving.from != moving.to);
        if let Some(shard) = self.shards.get_mut(id) {
            if shard.moving != moving {
                // A node that did not make a copy in time is asked again.
                shard.avoided.clear();
            }
            shard.moving = moving;
        }
    }

    /// In how many zones the members must be: as many as are asked for, of those that they are in now.
    fn zones_needed(&self, active: &Config) -> u32 {
        let present = self.nodes.count_zones(&active.members);
        self.settings.zones.min(present)
    }

    /// Whether the copy that is to take a member's place may do so now: it has caught up and stayed close, and no less is promised with it.
    pub(super) fn may_swap(&self, shard: &Shard, active: &Config) -> bool {
        let Some(moving) = &shard.moving else {
            return false;
        };
        let (Some(before), Some(join)) = (active.member(&moving.from), shard.joins.get(&moving.to))
        else {
            return false;
        };
        let after = Member {
            node: moving.to.clone(),
            replica_id: join.replica_id,
        };
        let is_ready = join.is_ready(active.epoch);
        if !is_ready || !self.nodes.is_whole(shard.id(), &after) {
            return false;
        }
        let mut next = active.members.clone();
        next.remove(before);
        next.insert(after);
        let has_zones = self.zones_needed(active) <= self.nodes.count_zones(&next);
        let shape = self.shape(shard.id(), next.clone(), self.settings.w_min);
        has_zones && shape.is_ok_and(|shape| shape.members == next && active.w <= shape.w)
    }

    /// Whether a member is to give its place away now. As long as nobody can take it, it stays as if nothing had been asked.
    pub(super) fn gives_place(&self, shard: &Shard, active: &Config, member: &Member) -> bool {
        let Some(moving) = shard
            .moving
            .as_ref()
            .filter(|moving| moving.is_given_by(&member.node))
        else {
            return false;
        };
        // It may have become a member for the sake of another one that was lost: then others take the place.
        active.member(&moving.to).is_some() || self.may_swap(shard, active)
    }
}

impl Move {
    /// Whether a copy on this node gives its place away.
    pub(super) fn is_given_by(&self, node: &NodeId) -> bool {
        self.stage == Stage::Swap && self.from == *node
    }

    /// Whether these members differ from those only by what it asks for.
    pub(super) fn leads_to(&self, before: &BTreeSet<Member>, after: &BTreeSet<Member>) -> bool {
        let comes = after
            .difference(before)
            .all(|member| member.node == self.to);
        let goes = before
            .difference(after)
            .all(|member| member.node == self.from);
        self.stage == Stage::Swap && before != after && comes && goes
    }

    /// The node that is to have a copy, if one is wanted.
    pub(super) fn wanted(&self) -> Option<&NodeId> {
        (self.stage != Stage::Undo).then_some(&self.to)
    }

    /// Whether a copy on this node that does not count is deleted without waiting whether somebody needs it.
    pub(super) fn leaves_behind(&self, node: &NodeId) -> bool {
        match self.stage {
            Stage::Fill => false,
            Stage::Swap => self.from == *node,
            Stage::Undo => self.to == *node,
        }
    }
}
