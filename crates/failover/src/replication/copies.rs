//! The copies of a shard that are no members: they are made, filled, and deleted when nobody needs them.

use std::{collections::BTreeSet, time::Duration};

use shardwright_topology::{Config, Member, NodeId, ReplicaId, Timestamp};

use super::{Action, Event, Instruction, Move, Replication, Shard, join::Join};

impl Replication {
    /// Sees to it that so many copies are there that can become members, besides those on the nodes named.
    pub(super) fn order_copies(
        &mut self,
        now: Timestamp,
        shard: &mut Shard,
        holders: &BTreeSet<NodeId>,
        count: usize,
        actions: &mut Vec<Action>,
    ) {
        self.check_joins(now, shard, holders, actions);
        let wanted = shard.wanted(holders);
        let is_missing = |node: &&NodeId| !shard.joins.contains_key(*node);
        let reserved = usize::from(wanted.as_ref().is_some_and(|node| is_missing(&node)));
        self.limit_joins(shard, count.saturating_sub(reserved), wanted.as_ref());
        let count = match wanted {
            Some(node) if 0 < count => self.order_wanted(now, shard, node, count, actions),
            _ => count,
        };
        let id = shard.id().clone();
        let spares: Vec<Member> = self.nodes.copies(&id).collect();
        let heir = self.heir(shard, holders);
        for Member { node, replica_id } in spares {
            let member = Member {
                node: node.clone(),
                replica_id,
            };
            let is_of_use = self.nodes.is_whole(&id, &member) && !self.nodes.is_leaving(&node);
            if shard.joins.len() < count
                && is_of_use
                && !holders.contains(&node)
                && !shard.joins.contains_key(&node)
                && heir.as_ref().is_none_or(|heir| *heir == node)
                && self.may_fill(&node)
            {
                self.join(shard, node, Join::new(replica_id, now, None));
            }
        }
        while shard.joins.len() < count {
            let taken: BTreeSet<NodeId> =
                holders.iter().chain(shard.joins.keys()).cloned().collect();
            let has_copy: BTreeSet<NodeId> = self.nodes.copies(&id).map(|copy| copy.node).collect();
            let may_take = |node: &NodeId| {
                let is_free = !has_copy.contains(node) && !shard.avoided.contains(node);
                is_free && self.may_fill(node)
            };
            let heir = self.heir(shard, &taken);
            if heir.as_ref().is_some_and(|heir| !self.may_fill(heir)) {
                // It takes this one when it has filled others.
                return;
            }
            let place = || self.nodes.place(&taken, &self.filling, may_take);
            let Some(node) = heir.or_else(place) else {
                // Whoever was avoided may do better next time.
                shard.avoided.clear();
                return;
            };
            self.order(now, shard, node, actions);
        }
    }

    fn order(
        &mut self,
        now: Timestamp,
        shard: &mut Shard,
        node: NodeId,
        actions: &mut Vec<Action>,
    ) {
        let replica_id = ReplicaId::random(&mut self.rng);
        actions.push(Action::Emit(Event::CopyOrdered {
            shard: shard.id().clone(),
            node: node.clone(),
            replica_id,
        }));
        create(shard, &node, replica_id, actions);
        self.join(shard, node, Join::new(replica_id, now, Some(now)));
    }

    /// Has a copy made and filled on the node that was named for it. Returns how many are to be there: if that node cannot have one now, none is
    /// made elsewhere in its place.
    fn order_wanted(
        &mut self,
        now: Timestamp,
        shard: &mut Shard,
        node: NodeId,
        count: usize,
        actions: &mut Vec<Action>,
    ) -> usize {
        if shard.joins.contains_key(&node) {
            return count;
        }
        if !self.nodes.accepts(&node) || !self.may_fill(&node) {
            return count - 1;
        }
        match self.nodes.copy_on(shard.id(), &node) {
            Some(copy) if self.nodes.is_whole(shard.id(), &copy) => {
                self.join(shard, node, Join::new(copy.replica_id, now, None));
            }
            None if !self.is_held() => self.order(now, shard, node, actions),
            Some(_) | None => return count - 1,
        }
        count
    }

    /// Drops what comes to nothing, and asks again for what is missing.
    fn check_joins(
        &mut self,
        now: Timestamp,
        shard: &mut Shard,
        holders: &BTreeSet<NodeId>,
        actions: &mut Vec<Action>,
    ) {
        let id = shard.id().clone();
        let patience = self.settings.patience_max;
        let mut over = BTreeSet::new();
        let mut again = Vec::new();
        for (node, join) in &mut shard.joins {
            let is_up = self.nodes.is_up(node);
            match self.nodes.copy_on(&id, node) {
                // The node had a copy already, or has another one since.
                Some(copy) if copy.replica_id != join.replica_id => {
                    *join = Join::new(copy.replica_id, now, None);
                }
                Some(copy) if self.nodes.is_whole(&id, &copy) => join.ordered_at = now,
                None if is_up
                    && self.settings.resend <= now.since(join.told_at.unwrap_or_default()) =>
                {
                    join.told_at = Some(now);
                    again.push((node.clone(), join.replica_id));
                }
                Some(_) | None => {}
            }
            let is_late = patience <= now.since(join.ordered_at);
            if is_late {
                shard.avoided.insert(node.clone());
            }
            let is_leaving = self.nodes.is_leaving(node);
            if is_late || is_leaving || holders.contains(node) {
                over.insert(node.clone());
            }
        }
        for (node, replica_id) in again {
            if !over.contains(&node) {
                create(shard, &node, replica_id, actions);
            }
        }
        self.keep_joins(shard, |node| !over.contains(node));
    }

    /// Gives up the last of the copies that are more than wanted; those that are there already are kept before those that are not.
    /// The one on the node that was named is kept before all others.
    fn limit_joins(&mut self, shard: &mut Shard, count: usize, wanted: Option<&NodeId>) {
        if shard.joins.len() <= count {
            return;
        }
        let mut all: Vec<_> = shard.joins.iter().collect();
        let rank = |node: &NodeId, join: &Join| {
            let is_other = wanted != Some(node);
            (is_other, join.told_at.is_some(), node.clone())
        };
        all.sort_by_key(|(node, join)| rank(node, join));
        let kept: BTreeSet<NodeId> = all
            .into_iter()
            .take(count)
            .map(|(node, _)| node.clone())
            .collect();
        self.keep_joins(shard, |node| kept.contains(node));
    }

    /// The node that takes the place of one that leaves the shard, if an operator has named it and it has none of the copies.
    fn heir(&self, shard: &Shard, holders: &BTreeSet<NodeId>) -> Option<NodeId> {
        let active = shard.stored.value.active.as_ref()?;
        let may_take = |node: &NodeId| {
            !holders.contains(node)
                && !shard.joins.contains_key(node)
                && !shard.avoided.contains(node)
        };
        self.nodes.heir(&active.members, may_take)
    }

    fn may_fill(&self, node: &NodeId) -> bool {
        let here = self.filling.get(node).copied().unwrap_or_default();
        let all: usize = self.filling.values().sum();
        here < self.settings.joins_per_node && all < self.settings.joins_max
    }

    fn join(&mut self, shard: &mut Shard, node: NodeId, join: Join) {
        *self.filling.entry(node.clone()).or_default() += 1;
        shard.joins.insert(node, join);
    }

    pub(super) fn keep_joins(&mut self, shard: &mut Shard, keep: impl Fn(&NodeId) -> bool) {
        let filling = &mut self.filling;
        shard.joins.retain(|node, _| {
            let stays = keep(node);
            if !stays && let Some(count) = filling.get_mut(node) {
                *count = count.saturating_sub(1);
            }
            stays
        });
        filling.retain(|_, count| *count > 0);
    }

    /// Sees to it that there are copies to fall back on, for a shard that lacks so many members that it is not available.
    pub(super) fn order_spares(
        &mut self,
        now: Timestamp,
        shard: &mut Shard,
        active: &Config,
        actions: &mut Vec<Action>,
    ) {
        let whole = self.nodes.whole(shard.id(), &active.members);
        let listed = active.members.iter();
        let listed = listed.filter(|member| !self.nodes.is_lost(shard.id(), member));
        let holders: BTreeSet<NodeId> = listed.map(|member| member.node.clone()).collect();
        let missing = (self.settings.w_min as usize).saturating_sub(whole.len());
        self.order_copies(now, shard, &holders, missing, actions);
    }

    /// The copies that can be reached, and are no members.
    pub(super) fn spares(&self, shard: &Shard, active: &Config) -> BTreeSet<Member> {
        let copies: Vec<Member> = self.nodes.copies(shard.id()).collect();
        let mut whole = self.nodes.whole(shard.id(), &copies);
        whole.retain(|copy| !active.members.contains(copy) && !self.nodes.is_leaving(&copy.node));
        whole
    }

    /// Tells the primary which copies to keep up to date besides the members.
    pub(super) fn follow(
        &self,
        now: Timestamp,
        shard: &mut Shard,
        active: &Config,
        lead_followers: &BTreeSet<ReplicaId>,
        actions: &mut Vec<Action>,
    ) {
        let joins = shard.joins.iter().map(|(node, join)| Member {
            node: node.clone(),
            replica_id: join.replica_id,
        });
        let learners: BTreeSet<Member> = joins
            .filter(|copy| self.nodes.is_listed(shard.id(), copy))
            .collect();
        let follows = |copy: &Member| lead_followers.contains(&copy.replica_id);
        let is_known = learners.iter().all(follows);
        let is_told = shard.followed.as_ref().is_some_and(|(epoch, told, at)| {
            let is_recent = now.since(*at) < self.settings.resend;
            *epoch == active.epoch && *told == learners && (is_known || is_recent)
        });
        // A primary that was never told follows nobody.
        if is_told || shard.followed.is_none() && learners.is_empty() {
            return;
        }
        shard.followed = Some((active.epoch, learners.clone(), now));
        actions.push(Action::Instruct {
            node: active.primary.node.clone(),
            instruction: Instruction::Follow {
                shard: shard.id().clone(),
                epoch: active.epoch,
                learners,
            },
        });
    }

    /// Has copies deleted that have been of no use for long, of a shard that has all that it needs.
    pub(super) fn drop_unused(
        &self,
        now: Timestamp,
        shard: &mut Shard,
        active: &Config,
        actions: &mut Vec<Action>,
    ) {
        let id = shard.id().clone();
        let moving = shard.moving.clone();
        let wanted = moving.as_ref().and_then(Move::wanted);
        let is_used = |copy: &Member| {
            let is_to_join = shard.joins.contains_key(&copy.node);
            active.members.contains(copy) || is_to_join || wanted == Some(&copy.node)
        };
        let unused: Vec<Member> = self
            .nodes
            .copies(&id)
            .filter(|copy| !is_used(copy))
            .collect();
        let ids: BTreeSet<ReplicaId> = unused.iter().map(|copy| copy.replica_id).collect();
        shard.unused.retain(|copy, _| ids.contains(copy));
        for Member { node, replica_id } in unused {
            let (since, told_at) = shard.unused.entry(replica_id).or_insert((now, None));
            let is_due = told_at.is_none_or(|at| self.settings.resend <= now.since(at));
            // A node that is emptied is waited for, and so is a copy that was moved.
            let is_left = moving
                .as_ref()
                .is_some_and(|moving| moving.leaves_behind(&node));
            let keep = match is_left || self.nodes.is_leaving(&node) {
                true => Duration::ZERO,
                false => self.settings.keep,
            };
            if now.since(*since) < keep || !is_due {
                continue;
            }
            if told_at.replace(now).is_none() {
                actions.push(Action::Emit(Event::CopyGivenUp {
                    shard: id.clone(),
                    node: node.clone(),
                    replica_id,
                }));
            }
            let instruction = Instruction::Drop {
                shard: id.clone(),
                replica_id,
                epoch: shard.stored.value.epoch,
                revision: shard.stored.revision,
            };
            actions.push(Action::Instruct { node, instruction });
        }
    }
}

fn create(shard: &Shard, node: &NodeId, replica_id: ReplicaId, actions: &mut Vec<Action>) {
    actions.push(Action::Instruct {
        node: node.clone(),
        instruction: Instruction::Create {
            shard: shard.id().clone(),
            replica_id,
        },
    });
}
