//! What logs do: a pending configuration is begun and activated, and an active one commits.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_topology::{Config, Epoch, Lsn, Member, ShardId, ShardRecord};

use super::{Copy, Node, World, shard};
use crate::replication::*;

impl World {
    fn copy_of(&self, member: &Member) -> Option<&Copy> {
        let node = self.nodes.get(&member.node).filter(|node| node.is_up)?;
        let copy = node.copy.as_ref()?;
        let is_whole = copy.replica_id == member.replica_id && copy.health == Health::Whole;
        is_whole.then_some(copy)
    }

    fn reachable(&self, config: &Config) -> Vec<Member> {
        let members = config.members.iter();
        let up = members.filter(|member| self.copy_of(member).is_some());
        up.cloned().collect()
    }

    fn set_place(&mut self, members: &[Member], place: (Epoch, u64)) {
        for member in members {
            let node = self.nodes.get_mut(&member.node);
            if let Some(copy) = node.and_then(|node| node.copy.as_mut()) {
                copy.place = place;
            }
        }
    }

    fn has_zones(&self, config: &Config, reachable: &[Member]) -> bool {
        let zones = reachable.iter().map(|member| {
            let location = &self.nodes[&member.node].record.location;
            location.zone.clone()
        });
        config.zones <= 1 || zones.collect::<BTreeSet<_>>().len() >= config.zones as usize
    }

    /// What the logs do: a pending configuration is begun and activated, and an active one commits.
    pub(super) fn logs(&mut self) {
        let record = self.stored.value.clone();
        if let Some(pending) = &record.pending {
            self.begin(&record, pending);
        } else if let Some(active) = &record.active {
            self.commit(active);
        }
    }

    fn begin(&mut self, record: &ShardRecord, pending: &Config) {
        let own = pending.member(&pending.primary.node).expect("a member");
        let node = &self.nodes[&own.node];
        let is_meant = node.opening() == pending.primary.incarnation && !node.is_stalled;
        let Some(copy) = self.copy_of(own).filter(|_| is_meant).cloned() else {
            return;
        };
        let mut place = copy.place;
        let is_same = record
            .active
            .as_ref()
            .is_some_and(|active| copy.leads == Some(active.epoch));
        if let Some(active) = record.active.as_ref().filter(|_| !is_same) {
            let mut fenced = self.reachable(active);
            if fenced.len() < active.recovery_quorum() && !record.accepts_loss() {
                return;
            }
            fenced.push(own.clone());
            let places = fenced.iter().filter_map(|member| self.copy_of(member));
            place = places.map(|copy| copy.place).max().unwrap_or(place);
        }
        let reachable = self.reachable(pending);
        if reachable.len() < pending.w as usize || !self.has_zones(pending, &reachable) {
            return;
        }
        let (committed, generation) = self.committed;
        if generation == record.data_loss_generation {
            assert!(committed <= place, "an acknowledged record is lost (I7)");
        }
        for node in self.nodes.values_mut() {
            if let Some(copy) = &mut node.copy {
                (copy.leads, copy.learners) = (None, BTreeSet::new());
            }
        }
        let place = (pending.epoch, place.1 + 1);
        self.set_place(&reachable, place);
        let node = self.nodes.get_mut(&own.node);
        if let Some(copy) = node.and_then(|node| node.copy.as_mut()) {
            copy.leads = Some(pending.epoch);
        }
        let next = record.activate(pending.config_id).expect("it is pending");
        self.put(next);
    }

    fn commit(&mut self, active: &Config) {
        let own = active.member(&active.primary.node).expect("a member");
        let Some(copy) = self
            .copy_of(own)
            .filter(|copy| copy.leads == Some(active.epoch))
        else {
            return;
        };
        let (learners, mut place) = (copy.learners.clone(), copy.place);
        let reachable = self.reachable(active);
        if reachable.len() >= active.w as usize && self.has_zones(active, &reachable) {
            place.1 += 3;
            self.committed = (place, self.stored.value.data_loss_generation);
        }
        self.set_place(&reachable, place);
        for learner in learners {
            if let Some(copy) = self.copy_of(&learner) {
                let next = (place.0, (copy.place.1 + 40).min(place.1));
                self.set_place(&[learner], next);
            }
        }
    }

    pub(super) fn report(&self, node: &Node) -> BTreeMap<ShardId, CopyReport> {
        let copy = node.copy.as_ref().map(|copy| {
            let active = self.stored.value.active.as_ref();
            let leads = active.filter(|active| copy.leads == Some(active.epoch));
            let lead = leads.map(|active| {
                let others = active.members.iter().chain(&copy.learners);
                let answered = others.filter_map(|member| {
                    let place = self.copy_of(member)?.place;
                    let is_current = place.0 == active.epoch;
                    is_current.then_some((member.replica_id, Lsn(place.1)))
                });
                Lead {
                    epoch: active.epoch,
                    last: Lsn(copy.place.1),
                    commit: Some(Lsn(copy.place.1)),
                    followers: answered.collect(),
                }
            });
            let report = CopyReport {
                replica_id: copy.replica_id,
                incarnation: node.opening(),
                epoch: copy.place.0,
                durable: Lsn(copy.place.1),
                health: copy.health,
                installs: copy.installs,
                lead,
            };
            (shard(), report)
        });
        copy.into_iter().collect()
    }
}
