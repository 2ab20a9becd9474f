//! A shard without a primary: whether that is so, who becomes its next one, and what it takes.

use std::{cmp::Reverse, collections::BTreeSet};

use shardwright_topology::{Config, Epoch, Lsn, Member, NodeId, Timestamp};

use super::{Action, Condition, Purpose, Replication, Shard};

/// The nodes of another shard's members, beside which a shard is made.
struct Neighbourhood {
    primary: NodeId,
    /// Those whose copies stay where they are.
    nodes: BTreeSet<NodeId>,
}

impl Replication {
    /// Whether an attempt will come to nothing: its primary is gone, or has had its time.
    pub(super) fn is_hopeless(&self, now: Timestamp, shard: &Shard, pending: &Config) -> bool {
        let primary = pending.member(&pending.primary.node);
        let is_lost = primary.is_some_and(|member| self.nodes.is_lost(shard.id(), member));
        let patience = self.settings.patience_after(shard.failed);
        let is_late = patience <= now.since(shard.changed_at);
        let is_given_up = shard.has_given_up(pending);
        is_given_up || is_lost || is_late || self.nodes.is_gone(shard.id(), &pending.primary)
    }

    /// Whether the primary of the active configuration is gone, or has not said for long that it leads.
    pub(super) fn has_failed(&self, now: Timestamp, shard: &mut Shard, active: &Config) -> bool {
        let primary = active.member(&active.primary.node);
        let is_lost = primary.is_some_and(|member| self.nodes.is_lost(shard.id(), member));
        let is_late = self.settings.patience <= shard.unserved_for(now);
        is_lost || is_late || self.nodes.is_gone(shard.id(), &active.primary)
    }

    /// Gives a shard its first configuration, once there are copies for it.
    pub(super) fn begin_first(
        &mut self,
        now: Timestamp,
        shard: &mut Shard,
        actions: &mut Vec<Action>,
    ) {
        let near = self.neighbourhood(shard);
        let factor = match &near {
            Some(near) => near.nodes.len(),
            None => self.settings.factor as usize,
        };
        let waited = self.settings.bootstrap_wait <= shard.unserved_for(now);
        let is_near = |copy: &Member| {
            near.as_ref()
                .is_none_or(|near| near.nodes.contains(&copy.node))
        };
        let copies: Vec<Member> = self.nodes.copies(shard.id()).filter(is_near).collect();
        let whole = self.nodes.whole(shard.id(), &copies);
        let (count, zones) = (whole.len(), self.nodes.count_zones(&whole));
        // Where the copies are in too few zones, another one may be in one more.
        let is_narrow = near.is_none() && factor <= count && zones < self.settings.zones_min;
        let wanted = factor + usize::from(is_narrow);
        // Where the nodes are given, a copy on any other one is of no use.
        let others = near.as_ref().map(|near| self.nodes.besides(&near.nodes));
        self.order_copies(now, shard, &others.unwrap_or_default(), wanted, actions);
        let is_enough = waited || factor <= count;
        let members = self.nodes.spread(whole, factor);
        let shape = self.shape(shard.id(), members, self.settings.w_min);
        let unassigned = Condition::Unassigned {
            copies: count,
            factor,
        };
        let Some(shape) = shape.ok().filter(|_| is_enough) else {
            return shard.set_condition(unassigned, actions);
        };
        let near = near.map(|near| near.primary);
        if let Some(to) = self.candidate(shard, &shape.members, None, near.as_ref())
            && let Some(primary) = self.nodes.opening(shard.id(), &to)
        {
            // The rules that could refuse it were kept above.
            let refused = self.attempt(shard, shape, primary, Purpose::First, Vec::new(), actions);
            if refused.is_err() {
                shard.set_condition(unassigned, actions);
            }
        }
    }

    /// Where the first copies of a shard are to be that is made beside another one; `None` if they may be anywhere.
    fn neighbourhood(&self, shard: &Shard) -> Option<Neighbourhood> {
        let beside = shard.stored.value.beside.as_ref()?;
        let active = self.shards.get(beside)?.stored.value.active.as_ref()?;
        let stays = |member: &&Member| {
            !self.nodes.is_leaving(&member.node)
                && !self.nodes.is_abandoned(&member.node)
                && !self.nodes.is_lost(beside, member)
        };
        let staying = active.members.iter().filter(stays);
        Some(Neighbourhood {
            primary: active.primary.node.clone(),
            nodes: staying.map(|member| member.node.clone()).collect(),
        })
    }

    /// Gives a shard another primary, if that can be done without a loss.
    pub(super) fn recover(
        &mut self,
        now: Timestamp,
        shard: &mut Shard,
        active: &Config,
        actions: &mut Vec<Action>,
    ) {
        let whole = self.nodes.whole(shard.id(), &active.members);
        let needed = active.recovery_quorum();
        if whole.len() < needed {
            self.order_spares(now, shard, active, actions);
            let condition = Condition::NoRecoveryQuorum {
                whole: whole.len(),
                needed,
                members: active.members.len(),
            };
            return shard.set_condition(condition, actions);
        }
        let grace = self.settings.grace;
        let stay = |member: &&Member| !shard.is_over(now, &self.nodes, grace, member);
        let mut members: BTreeSet<Member> = active.members.iter().filter(stay).cloned().collect();
        if self.settings.width.of(whole.len()) < self.settings.w_min {
            // Copies that do not count yet take the places of members that are missing: the next primary fills them before it begins.
            self.order_spares(now, shard, active, actions);
            members.clone_from(&whole);
            let missing = (self.settings.factor as usize).saturating_sub(members.len());
            members.extend(self.spares(shard, active).into_iter().take(missing));
        }
        let shape = match self.shape(shard.id(), members, self.settings.w_min) {
            Ok(shape) => shape,
            Err(condition) => {
                self.order_spares(now, shard, active, actions);
                return shard.set_condition(condition, actions);
            }
        };
        let Some(to) = self.candidate(shard, &whole, Some(active), None) else {
            return;
        };
        if let Some(primary) = self.nodes.opening(shard.id(), &to) {
            let refused = self.attempt(
                shard,
                shape,
                primary,
                Purpose::Failover,
                Vec::new(),
                actions,
            );
            if refused.is_err() {
                shard.set_condition(Condition::WithoutPrimary, actions);
            }
        }
    }

    /// Who is to be primary, of copies that can be reached: one that is as far as any, stays, is where it is wanted, and has not too much to
    /// do. Those that were tried and did not begin come last.
    pub(super) fn candidate(
        &self,
        shard: &mut Shard,
        whole: &BTreeSet<Member>,
        before: Option<&Config>,
        wanted: Option<&NodeId>,
    ) -> Option<NodeId> {
        if whole
            .iter()
            .all(|member| shard.tried.contains(&member.node))
        {
            shard.tried.clear();
        }
        let place = |member: &Member| -> (Epoch, Lsn) {
            let report = self.nodes.report_of(shard.id(), &member.node);
            report.map_or_else(Default::default, |report| (report.epoch, report.durable))
        };
        let best = whole.iter().map(place).max()?;
        let zone = before.and_then(|before| self.nodes.zone(&before.primary.node));
        let rank = |member: &&Member| {
            let (node, place) = (&member.node, place(member));
            let lag = best.1.0.saturating_sub(place.1.0);
            let is_close = place.0 == best.0 && lag <= self.settings.lag_max;
            let is_near = is_close && self.nodes.has_data(shard.id(), node);
            let primaries = self.primaries.get(node).copied().unwrap_or_default();
            (
                !shard.tried.contains(node),
                is_near,
                !self.nodes.is_leaving(node) && !shard.is_given_up(node),
                wanted == Some(node),
                !self.nodes.is_overloaded(node, &self.primaries),
                zone.is_some() && self.nodes.zone(node) == zone,
                place,
                Reverse(primaries),
                // Among equals the first by name.
                Reverse(node.clone()),
            )
        };
        let chosen = whole.iter().max_by_key(rank);
        chosen.map(|member| member.node.clone())
    }
}
