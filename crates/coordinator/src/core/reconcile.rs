//! From what is to what should be: plans, releases, and the records that follow.

use std::collections::BTreeSet;

use shardwright_rebalancer::{Move, PartitionId, Reason, Standing, Step};
use shardwright_registry::Key;
use shardwright_topology::{Epoch, NodeId, NodeState, Primary, ShardRecord, ShardState, Timestamp};

use super::{
    Action, Core, Notice, Value,
    machine::Purpose,
    moving::{Goal, Moving},
};
use crate::protocol::{Report, ReportedState};

impl Core {
    /// Begins what follows from what is known now.
    pub(super) fn reconcile(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let due: Vec<_> = self
            .failures
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(partition, _)| partition.clone())
            .collect();
        for partition in due {
            self.failures.remove(&partition);
            self.place_elsewhere(now, &partition, actions);
        }
        self.retire_removed(now, actions);
        for node in std::mem::take(&mut self.joined) {
            self.renew_for_new_session(now, &node, actions);
        }
        if self.should_plan(now) {
            self.make_plan(now, actions);
        }
        self.begin_moves(now, actions);
        self.finish_released(actions);
    }

    /// Whether to plan anew: at once when a node went, else when what was planned before is done. Plans of a large cluster take a
    /// while, so those that many changes ask for are made as one.
    fn should_plan(&self, now: Timestamp) -> bool {
        // Where nobody may take anything, there is nothing to plan.
        if !self.cluster.nodes().any(|node| node.accepts()) {
            return false;
        }
        let pause = self.settings.check_interval;
        let waited = now.since(self.planned_at);
        let is_done = self.plan.moves.is_empty() && (self.moving.is_empty() || pause <= waited);
        self.is_urgent && pause / 50 <= waited
            || self.is_dirty
                && is_done
                && (pause / 4 <= waited || self.planned_at == Timestamp::default())
    }

    fn make_plan(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        (self.is_dirty, self.is_urgent, self.planned_at) = (false, false, now);
        self.unserved.clear();
        self.renew_for_new_sessions(now, actions);
        self.plan = self.policy.plan(&self.cluster);
        // The most urgent are taken from the end.
        self.plan.moves.reverse();
        self.version += 1;
        self.report_gaps(actions);
    }

    /// A worker's new session holds nothing of what its old one held, unless it gets it at a new epoch.
    fn renew_for_new_session(&mut self, now: Timestamp, node: &NodeId, actions: &mut Vec<Action>) {
        let held = self.mirror.holdings(node);
        let stale: Vec<_> = held.filter(|id| self.is_stale(id)).cloned().collect();
        for id in stale {
            self.begin(now, &id, Goal::Renew, actions);
        }
    }

    fn renew_for_new_sessions(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let all = self.mirror.shards.keys();
        let stale: Vec<_> = all.filter(|id| self.is_stale(id)).cloned().collect();
        for id in stale {
            self.begin(now, &id, Goal::Renew, actions);
        }
    }

    /// Whether a shard belongs to an earlier session of a worker that has a lease now.
    fn is_stale(&self, id: &PartitionId) -> bool {
        let stale = || {
            let record = &self.mirror.shards.get(id)?.value;
            let primary = &record.active.as_ref()?.primary;
            let node = &self.mirror.nodes.get(&primary.node)?.value;
            let standing = self.cluster.node(&primary.node)?.standing;
            let is_leased = matches!(standing, Standing::Accepting | Standing::Draining);
            let is_other = primary.incarnation != node.incarnation;
            let is_retired = record.state == ShardState::Retired;
            Some(is_leased && is_other && !is_retired && !record.replicated)
        };
        !self.moving.contains_key(id) && stale() == Some(true)
    }

    fn report_gaps(&self, actions: &mut Vec<Action>) {
        if let Some(first) = self.plan.under_replicated.first() {
            actions.push(Action::Notify(Notice::UnderReplicated {
                partitions: self.plan.under_replicated.len(),
                example: first.partition.clone(),
            }));
        }
    }

    fn begin_moves(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        while self.moving.len() < self.settings.moves_max
            && let Some(mut planned) = self.plan.moves.pop()
        {
            self.prefer_in_sync(&mut planned);
            if self.is_held_back(&planned) {
                // It is planned again once it is served.
                self.unserved.insert(planned.partition);
            } else if self.fits(&planned) {
                self.begin(now, &planned.partition, Goal::Step(planned.step), actions);
            } else {
                // It was planned on what is no longer so, or follows another move of the same shard.
                self.is_dirty = true;
            }
        }
    }

    /// Of several replicas, the one that is in sync and the furthest takes the place of a primary that is down. A policy knows nothing of
    /// that.
    fn prefer_in_sync(&self, planned: &mut Move) {
        let Step::Promote { to } = &mut planned.step else {
            return;
        };
        if planned.reason != Reason::PrimaryDown {
            return;
        }
        let holders = self.cluster.partition(&planned.partition);
        let replicas = holders.into_iter().flat_map(|each| &each.holders);
        let replicas = replicas.filter(|node| self.is_accepting(node));
        let merit = |node: &NodeId| {
            let contact = self.contacts.get(node);
            let report = contact.and_then(|contact| contact.reports.get(&planned.partition));
            // Whoever says nothing is better than who is known to be behind.
            let in_sync = match report.and_then(|report| report.in_sync) {
                Some(true) => 2,
                None => 1,
                Some(false) => 0,
            };
            (in_sync, report.and_then(|report| report.position))
        };
        let planned_merit = merit(to);
        let best = replicas.max_by_key(|node| merit(node));
        if let Some(best) = best.filter(|best| planned_merit < merit(best)) {
            *to = best.clone();
        }
    }

    /// Whether a planned move can begin now.
    fn fits(&self, planned: &Move) -> bool {
        let Some(partition) = self.cluster.partition(&planned.partition) else {
            return false;
        };
        let takes = |node: &NodeId| self.is_accepting(node);
        !self.moving.contains_key(&planned.partition)
            && planned.step.to().is_none_or(takes)
            && planned.step.apply(&mut partition.holders.clone()).is_some()
    }

    /// Whether a move for the sake of balance waits, because what is yet to be served is not taken away for that.
    fn is_held_back(&self, planned: &Move) -> bool {
        let may_wait = !planned.reason.is_urgent() && planned.reason != Reason::TooManyCopies;
        may_wait && !self.is_served(&planned.partition)
    }

    /// Whether the owner of a shard says that it serves it.
    fn is_served(&self, id: &PartitionId) -> bool {
        let served = || {
            let record = &self.mirror.shards.get(id)?.value;
            let contact = self.contacts.get(record.primary()?)?;
            let report = contact.reports.get(id)?;
            let is_current = record.active_epoch() <= report.epoch;
            Some(is_current && report.state == ReportedState::Serving)
        };
        served() == Some(true)
    }

    /// Begins to lead a shard to a goal: whoever must let go of it is told, or it is written at once.
    pub(super) fn begin(
        &mut self,
        now: Timestamp,
        id: &PartitionId,
        goal: Goal,
        actions: &mut Vec<Action>,
    ) {
        let Some(stored) = self.mirror.shards.get(id) else {
            return;
        };
        let record = &stored.value;
        let waits_for: BTreeSet<_> = goal
            .releases(record)
            .into_iter()
            .filter(|node| self.may_serve(node, record))
            .collect();
        let (epoch, former) = (record.active_epoch(), record.primary().cloned());
        for node in &waits_for {
            self.change_list(now, node);
        }
        let is_free = waits_for.is_empty();
        let moving = Moving {
            goal,
            epoch,
            waits_for,
            former,
        };
        self.moving.insert(id.clone(), moving);
        self.version += 1;
        if is_free {
            self.write_goal(id, actions);
        }
    }

    /// Whether a node may serve what it holds by a record, now or later: the session that got it has a lease, or may yet get one. One
    /// that was marked, or that another one of its node followed, never gets one again.
    fn may_serve(&self, node: &NodeId, record: &ShardRecord) -> bool {
        let primary = record.active.as_ref().map(|config| &config.primary);
        let primary = primary.filter(|primary| primary.node == *node);
        let is_meant =
            |session| primary.is_none_or(|primary: &Primary| primary.incarnation == session);
        let lease = self.mirror.lease_of(node);
        let holder = lease.and_then(|stored| stored.value.holder.as_ref());
        let has_lease = holder.is_some_and(|holder| is_meant(holder.incarnation));
        let known = self.mirror.nodes.get(node).map(|stored| &stored.value);
        let may_get_one =
            known.is_some_and(|node| node.state != NodeState::Down && is_meant(node.incarnation));
        has_lease || may_get_one
    }

    fn write_goal(&mut self, id: &PartitionId, actions: &mut Vec<Action>) {
        let (Some(moving), Some(stored)) = (self.moving.get(id), self.mirror.shards.get(id)) else {
            return;
        };
        let nodes = &self.mirror.nodes;
        let node = |id: &NodeId| nodes.get(id).map(|stored| stored.value.clone());
        let next = moving.goal.next_record(&stored.value, node, &mut *self.rng);
        let key = stored.key.clone();
        // Whoever let go did so of the epoch that the goal began with. A write of which nothing was heard may have put a later one in
        // its place since, and that one is served.
        let is_current = stored.value.active_epoch() == moving.epoch;
        let written = next
            .filter(|_| is_current)
            .filter(|next| *next != stored.value)
            .is_some_and(|next| self.write_shard(key, id, next, actions));
        if !written {
            // It has become what it should be, or can no longer become it.
            self.begin_anew(id);
        }
    }

    /// A goal was not reached: what is to become of the shard is planned again, on what is known now.
    fn begin_anew(&mut self, id: &PartitionId) {
        self.moving.remove(id);
        self.version += 1;
        self.is_dirty = true;
        // No plan has room for what was removed.
        self.retire_if_removed(id);
    }

    fn write_shard(
        &mut self,
        key: Key,
        id: &PartitionId,
        record: ShardRecord,
        actions: &mut Vec<Action>,
    ) -> bool {
        let purpose = Purpose::Shard(id.clone());
        self.write(key, Some(Value::Shard(record)), purpose, actions)
    }

    /// Writes the goals of shards that everybody has let go of.
    fn finish_released(&mut self, actions: &mut Vec<Action>) {
        if !std::mem::take(&mut self.is_heard) {
            return;
        }
        let mut waiting: Vec<_> = self
            .moving
            .iter()
            .filter(|(_, moving)| !moving.waits_for.is_empty())
            .map(|(id, moving)| (id.clone(), self.still_waits_for(id, moving)))
            .collect();
        waiting.retain(|(id, waits_for)| {
            if let Some(moving) = self.moving.get_mut(id) {
                moving.waits_for.clone_from(waits_for);
            }
            waits_for.is_empty()
        });
        for (id, _) in waiting {
            self.write_goal(&id, actions);
        }
    }

    /// Returns who has neither let go of a shard nor lost what it served it by.
    fn still_waits_for(&self, id: &PartitionId, moving: &Moving) -> BTreeSet<NodeId> {
        let record = self.mirror.shards.get(id).map(|stored| &stored.value);
        // Another epoch has come in between, and whoever held the one before may have no word for it any more.
        let record = record.filter(|record| record.active_epoch() == moving.epoch);
        let holds = |node: &&NodeId| {
            !self.has_released(node, id, moving.epoch)
                && record.is_some_and(|record| self.may_serve(node, record))
        };
        moving.waits_for.iter().filter(holds).cloned().collect()
    }

    /// Whether a node's session that has its lease, or may get it, said that it serves a shard no longer. What a new session says does
    /// not bind an old one of the same name, whose process may live for as long as its lease.
    fn has_released(&self, node: &NodeId, id: &PartitionId, epoch: Epoch) -> bool {
        let Some(contact) = self.contacts.get(node) else {
            return false;
        };
        let lease = self.mirror.lease_of(node);
        let holder = lease.and_then(|stored| stored.value.holder.as_ref());
        let speaks_for_it = holder.is_none_or(|holder| holder.incarnation == contact.incarnation);
        speaks_for_it && contact.has_released(id, epoch)
    }

    /// A goal was written, or something else came first.
    pub(super) fn moved(&mut self, id: &PartitionId, done: bool, actions: &mut Vec<Action>) {
        if !done {
            return self.begin_anew(id);
        }
        self.version += 1;
        self.is_dirty = true;
        let moving = self.moving.remove(id);
        let (Some(stored), Some(moving)) = (self.mirror.shards.get(id), moving) else {
            return;
        };
        let Some(active) = &stored.value.active else {
            return;
        };
        let to = active.primary.node.clone();
        if moving.former.as_ref() == Some(&to) {
            return;
        }
        let lives = |node: &NodeId| {
            let lease = self.mirror.lease_of(node);
            lease.is_some_and(|stored| stored.value.holder.is_some())
        };
        actions.push(Action::Notify(Notice::Assigned {
            partition: id.clone(),
            is_failover: moving.former.as_ref().is_some_and(|former| !lives(former)),
            from: moving.former,
            to,
            epoch: active.epoch,
        }));
    }

    /// A partition that was removed is let go by all who hold it.
    pub(super) fn retire_if_removed(&mut self, id: &PartitionId) {
        let record = self.mirror.shards.get(id).map(|stored| &stored.value);
        let is_held = record
            .filter(|record| !record.replicated)
            .is_some_and(|record| record.state == ShardState::Retired && record.active.is_some());
        if is_held {
            self.retiring.insert(id.clone());
        }
    }

    pub(super) fn retire_removed(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        for id in std::mem::take(&mut self.retiring) {
            if self.moving.contains_key(&id) {
                self.retiring.insert(id);
                continue;
            }
            let record = self.mirror.shards.get(&id).map(|stored| &stored.value);
            let is_held = record.is_some_and(|record| {
                record.state == ShardState::Retired && record.active.is_some()
            });
            if is_held {
                self.begin(now, &id, Goal::Retire, actions);
            }
        }
    }

    /// What a worker says of a shard that it holds: it has let go of its epoch, or could not begin to serve.
    pub(super) fn take_report(
        &mut self,
        now: Timestamp,
        node: &NodeId,
        report: &Report,
        actions: &mut Vec<Action>,
    ) {
        let id = &report.partition;
        if self.unserved.contains(id) && self.is_served(id) {
            self.unserved.remove(id);
            self.is_dirty = true;
        }
        let record = self.mirror.shards.get(id).map(|stored| &stored.value);
        let is_current = record.is_some_and(|record| {
            let is_holder = super::mirror::holders(record).contains(node);
            record.active_epoch() <= report.epoch && is_holder && !record.replicated
        });
        let is_known = self.moving.contains_key(id) || self.failures.contains_key(id);
        if !is_current || is_known {
            return;
        }
        match report.state {
            ReportedState::Released => self.begin(now, id, Goal::Renew, actions),
            ReportedState::Failed => {
                let pause = self.settings.check_interval / 2;
                self.failures.insert(id.clone(), now + pause);
                actions.push(Action::Notify(Notice::CallbackFailed {
                    node: node.clone(),
                    partition: id.clone(),
                    epoch: report.epoch,
                    error: report.error.clone().unwrap_or_default(),
                }));
            }
            ReportedState::Starting | ReportedState::Serving | ReportedState::Stopping => {}
        }
    }

    /// After a failure the node with the least load that does not hold the shard tries, or the same node again.
    fn place_elsewhere(&mut self, now: Timestamp, id: &PartitionId, actions: &mut Vec<Action>) {
        let Some(stored) = self.mirror.shards.get(id) else {
            return;
        };
        let record = &stored.value;
        let failed = super::mirror::holders(record).into_iter().find(|node| {
            let contact = self.contacts.get(node);
            contact.is_some_and(|contact| contact.has_released(id, record.active_epoch()))
        });
        let Some(from) = failed else {
            return;
        };
        let holders = super::mirror::holders(record);
        let other = self
            .cluster
            .nodes()
            .filter(|node| node.accepts() && !holders.contains(&node.id))
            .min_by_key(|node| self.mirror.holdings(&node.id).count())
            .map(|node| node.id.clone());
        let goal = match other {
            Some(to) => Goal::Step(Step::Move { from, to }),
            None => Goal::Renew,
        };
        self.begin(now, id, goal, actions);
    }
}
