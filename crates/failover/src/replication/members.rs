//! A shard with a primary: its members are brought to what they should be, one change at a time.

use std::collections::BTreeSet;

use shardwright_topology::{Config, Member, NodeId, Timestamp};

use super::{Action, Condition, Lead, Move, Purpose, Replication, Shape, Shard};

/// The members of a shard, as they should go on.
struct Members {
    primary: Member,
    /// Those that stay.
    staying: BTreeSet<Member>,
    /// Those whose nodes give away what they have.
    leaving: BTreeSet<Member>,
    /// Those that can be reached.
    whole: BTreeSet<Member>,
}

impl Replication {
    /// Does the next thing that a shard needs which is served.
    pub(super) fn maintain(
        &mut self,
        now: Timestamp,
        shard: &mut Shard,
        active: &Config,
        lead: &Lead,
        actions: &mut Vec<Action>,
    ) {
        let Some(members) = self.sort_members(now, shard, active) else {
            return;
        };
        let factor = self.settings.factor as usize;
        let can_commit = active.w as usize <= members.whole.len()
            && (active.zones <= 1 || active.zones <= self.nodes.count_zones(&members.whole));
        if can_commit {
            shard.stuck_since = None;
        } else {
            shard.stuck_since.get_or_insert(now);
        }
        self.refill(now, shard, &members, actions);
        let followers: BTreeSet<_> = lead.followers.keys().copied().collect();
        self.follow(now, shard, active, &followers, actions);
        let copies = members.whole.len();
        let condition = if !can_commit {
            Condition::CannotCommit {
                whole: copies,
                w: active.w,
            }
        } else if copies < factor {
            Condition::UnderReplicated { copies, factor }
        } else {
            Condition::Whole
        };
        shard.set_condition(condition, actions);
        let is_settled = shard.is_settled(now, &self.settings);
        if shard.is_calm(now, self.settings.patience)
            && self.hand_over_of_leaving(now, shard, active, lead, &members, actions)
        {
            return;
        }
        if let Some(shape) = self.next_shape(now, shard, active, &members, is_settled) {
            let primary = active.primary.clone();
            // Refused if too many members are lost for good: then it goes on as it is, until an operator accepts that.
            let _refused =
                self.attempt(shard, shape, primary, Purpose::Members, Vec::new(), actions);
        } else if condition == Condition::Whole {
            self.drop_unused(now, shard, active, actions);
        }
    }

    fn sort_members(&self, now: Timestamp, shard: &Shard, active: &Config) -> Option<Members> {
        let primary = active.member(&active.primary.node)?.clone();
        let grace = self.settings.grace;
        let is_over = |member: &Member| shard.is_over(now, &self.nodes, grace, member);
        let kept = active.members.iter();
        let kept = kept.filter(|member| **member == primary || !is_over(member));
        let is_leaving = |member: &Member| {
            self.nodes.is_leaving(&member.node) || self.gives_place(shard, active, member)
        };
        let (leaving, staying) = kept.cloned().partition(is_leaving);
        Some(Members {
            primary,
            staying,
            leaving,
            whole: self.nodes.whole(shard.id(), &active.members),
        })
    }

    fn is_stuck(&self, now: Timestamp, shard: &Shard) -> bool {
        let since = shard.stuck_since;
        since.is_some_and(|since| self.settings.shrink_after <= now.since(since))
    }

    /// Whether nothing is done that can wait: it may be this coordinator that is cut off.
    pub(super) fn is_held(&self) -> bool {
        self.nodes.are_too_many_down(self.settings.down_percent_max)
    }

    /// Has copies made and filled for the places that are free.
    fn refill(
        &mut self,
        now: Timestamp,
        shard: &mut Shard,
        members: &Members,
        actions: &mut Vec<Action>,
    ) {
        let Members {
            staying, leaving, ..
        } = members;
        // A shard that takes no writes waits for nobody.
        let count = if self.is_stuck(now, shard) {
            staying.intersection(&members.whole).count()
        } else {
            staying.len()
        };
        let holders = staying.iter().chain(leaving);
        let holders: BTreeSet<NodeId> = holders.map(|member| member.node.clone()).collect();
        let mut free = (self.settings.factor as usize).saturating_sub(count);
        if !self.is_stuck(now, shard) && self.is_held() {
            let active = shard.stored.value.active.as_ref();
            let spares = active.map(|active| self.spares(shard, active).len());
            free = free.min(spares.unwrap_or_default());
        }
        // The copy that is to take the place of a member is there before that goes.
        let is_given = leaving.iter().any(|member| shard.is_given_up(&member.node));
        free += usize::from(shard.wanted(&holders).is_some() && !is_given);
        self.order_copies(now, shard, &holders, free, actions);
    }

    /// The members that the shard should have next; `None` if it stays as it is.
    fn next_shape(
        &self,
        now: Timestamp,
        shard: &Shard,
        active: &Config,
        members: &Members,
        is_settled: bool,
    ) -> Option<Shape> {
        let is_stuck = self.is_stuck(now, shard);
        let next = self.next_members(shard, active, members, is_stuck);
        // Of what a move asks for nothing can wait: whoever it concerns is named, and was heard of.
        let is_prompt = shard.is_calm(now, self.settings.patience_max)
            && shard
                .moving
                .as_ref()
                .is_some_and(|moving| moving.leads_to(&active.members, &next));
        if !is_settled && !is_stuck && !is_prompt {
            return None;
        }
        let joined = next.difference(&active.members).count();
        let dropped = active.members.difference(&next).count();
        let is_whole = members.whole == active.members;
        // A member that is dropped is replaced at once, if a copy is on its way.
        let is_due = is_stuck
            || joined > 0
            || dropped > 0 && shard.joins.is_empty() && !self.is_held()
            || joined + dropped == 0 && is_whole;
        if !is_due {
            return None;
        }
        let shape = self.shape(shard.id(), next, self.settings.w_min).ok()?;
        let is_same =
            (&shape.members, shape.w, shape.zones) == (&active.members, active.w, active.zones);
        let has_primary = shape.members.contains(&members.primary);
        (!is_same && has_primary).then_some(shape)
    }

    fn next_members(
        &self,
        shard: &Shard,
        active: &Config,
        members: &Members,
        is_stuck: bool,
    ) -> BTreeSet<Member> {
        let is_leaving = members.leaving.contains(&members.primary);
        // A primary that leaves has to have somebody to hand over to.
        let limit = self.settings.factor as usize + usize::from(is_leaving);
        let mut next = members.staying.clone();
        if is_stuck {
            next.retain(|member| members.whole.contains(member));
        }
        next.insert(members.primary.clone());
        let ready = shard.joins.iter();
        let ready = ready.filter(|(_, join)| join.is_ready(active.epoch));
        let ready = ready.map(|(node, join)| Member {
            node: node.clone(),
            replica_id: join.replica_id,
        });
        let ready = ready.filter(|copy| self.nodes.is_whole(shard.id(), copy));
        let mut ready: Vec<Member> = ready.collect();
        // The one that was named takes the place that is given to it, and others the places of those that are lost.
        let is_given = members
            .leaving
            .iter()
            .any(|leaving| shard.is_given_up(&leaving.node));
        let wanted = shard.moving.as_ref().and_then(Move::wanted);
        ready.sort_by_key(|copy| (wanted == Some(&copy.node)) != is_given);
        let free = limit.saturating_sub(next.len());
        next.extend(ready.into_iter().take(free));
        // Who leaves stays until somebody has taken its place.
        let free = limit.saturating_sub(next.len());
        next.extend(members.leaving.iter().take(free).cloned());
        while next.len() > limit
            && let Some(superfluous) = self.superfluous(&next, members)
        {
            next.remove(&superfluous);
        }
        next
    }

    /// Of more members than are wanted, one that cannot be reached, or that shares its zone; the last by name among equals.
    fn superfluous(&self, next: &BTreeSet<Member>, members: &Members) -> Option<Member> {
        let others = next.iter().filter(|member| **member != members.primary);
        let rank = |member: &&Member| {
            let zone = self.nodes.zone(&member.node);
            let same = next
                .iter()
                .filter(|other| self.nodes.zone(&other.node) == zone);
            (
                !members.whole.contains(member),
                same.count(),
                member.node.clone(),
            )
        };
        others.max_by_key(rank).cloned()
    }

    /// Has the primary hand over if its node gives away what it has: as soon as it is the shard's turn, as long as that changes no member.
    /// Returns whether that has begun or waits for its turn.
    fn hand_over_of_leaving(
        &mut self,
        now: Timestamp,
        shard: &mut Shard,
        active: &Config,
        lead: &Lead,
        members: &Members,
        actions: &mut Vec<Action>,
    ) -> bool {
        if !members.leaving.contains(&members.primary) {
            return false;
        }
        let is_in_sync = |member: &&Member| {
            let lag = lead.lag(member.replica_id);
            let is_close = lag.is_some_and(|lag| lag <= self.settings.lag_max);
            is_close && self.nodes.has_data(shard.id(), &member.node)
        };
        let others = members.staying.intersection(&members.whole);
        let others: BTreeSet<Member> = others.filter(is_in_sync).cloned().collect();
        let kept = members.staying.union(&members.leaving).cloned().collect();
        let shape = self.shape(shard.id(), kept, self.settings.w_min);
        let (Ok(shape), Some(to)) = (shape, self.candidate(shard, &others, Some(active), None))
        else {
            return false;
        };
        if !shard.is_settled(now, &self.settings) && shape.members != active.members {
            // Who was not heard of yet may be there all the same.
            return false;
        }
        let Some(primary) = self.nodes.opening(shard.id(), &to) else {
            return false;
        };
        let node = &members.primary.node;
        let count = self.primaries.get(node).copied().unwrap_or_default();
        if !self.turns.is_free(now, node, count, shard.id()) {
            return true;
        }
        let purpose = Purpose::HandOver;
        let begun = self.attempt(shard, shape, primary, purpose, Vec::new(), actions);
        if begun.is_ok() {
            self.turns.begin(now, node, shard.id());
        }
        begun.is_ok()
    }

    /// The shape that a configuration goes on with, without the members that are of no use.
    pub(super) fn shape_of(
        &self,
        now: Timestamp,
        shard: &Shard,
        active: &Config,
    ) -> Result<Shape, Condition> {
        let grace = self.settings.grace;
        let kept = active.members.iter();
        let kept = kept.filter(|member| !shard.is_over(now, &self.nodes, grace, member));
        self.shape(shard.id(), kept.cloned().collect(), self.settings.w_min)
    }
}
