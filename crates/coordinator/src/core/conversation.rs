//! Pings and answers: what workers are told, and what they say.

use shardwright_rebalancer::Standing;
use shardwright_registry::{Holder, LeaseRecord, node_lease};
use shardwright_topology::{
    Incarnation, NodeId, NodeRecord, NodeState, Role, ShardState, Timestamp,
};

use super::{Action, Core, Notice, Progress, Value, machine::Purpose};
use crate::protocol::{Assignment, Assignments, Fence, Ping, Pong, Report, VERSION};

impl Core {
    /// Pings every worker whose turn it is.
    pub(super) fn ping_the_due(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if now < self.pings_from {
            return;
        }
        let due: Vec<NodeId> = self
            .contacts
            .iter()
            .filter(|(_, contact)| !contact.is_pinging && contact.next_ping <= now)
            .map(|(node, _)| node.clone())
            .collect();
        for node in due {
            self.ping(now, &node, actions);
        }
        let idle = self.contacts.values().filter(|contact| !contact.is_pinging);
        let next = idle.map(|contact| contact.next_ping).min();
        self.pings_from = next.unwrap_or(now + self.settings.check_interval);
    }

    fn ping(&mut self, now: Timestamp, node: &NodeId, actions: &mut Vec<Action>) {
        let (Some(stored), Some(leadership)) = (self.mirror.nodes.get(node), &self.leadership)
        else {
            return;
        };
        let record = &stored.value;
        let is_down = record.state == NodeState::Down;
        let term = leadership.term;
        let assignments = self.assignments_of(record);
        let is_drained = self.is_drained(record, &assignments);
        let check_interval = self.settings.check_interval;
        let address = record.address.clone();
        let Some(contact) = self.contacts.get_mut(node) else {
            return;
        };
        contact.is_pinging = true;
        contact.sent_list = contact.list;
        contact.next_ping = now + contact.pause(check_interval, is_down);
        let ping = Ping {
            version: VERSION,
            coordinator: self.settings.id.clone(),
            node: node.clone(),
            incarnation: contact.incarnation,
            term,
            list: contact.list,
            assignments: (contact.has_list < contact.list).then_some(assignments),
            granted: contact.granted,
            hold_ms: u64::try_from(self.settings.timing.hold().as_millis()).unwrap_or(u64::MAX),
            expired: is_down,
            drained: is_drained,
            instructions: std::mem::take(&mut contact.instructions),
        };
        actions.push(Action::Ping { address, ping });
    }

    /// What a session is to serve and to release.
    fn assignments_of(&self, node: &NodeRecord) -> Assignments {
        let mut all = Assignments::default();
        for id in self.mirror.holdings(&node.id) {
            let Some(stored) = self.mirror.shards.get(id) else {
                continue;
            };
            if stored.value.replicated {
                // Their logs follow the record themselves.
                continue;
            }
            let moving = self.moving.get(id);
            let is_released = moving.is_some_and(|moving| moving.waits_for.contains(&node.id));
            let Some(active) = &stored.value.active else {
                continue;
            };
            if is_released {
                all.release.push(Fence {
                    partition: id.clone(),
                    epoch: active.epoch,
                });
                continue;
            }
            let is_primary = active.primary.node == node.id;
            let state = self.mirror.decided(&stored.value).state;
            let is_idle = matches!(state, ShardState::Importing | ShardState::Retired);
            if is_idle || is_primary && active.primary.incarnation != node.incarnation {
                continue;
            }
            let Some(member) = active.member(&node.id) else {
                continue;
            };
            all.serve.push(Assignment {
                partition: id.clone(),
                role: if is_primary {
                    Role::Primary
                } else {
                    Role::Replica
                },
                replica: member.replica_id,
                epoch: active.epoch,
            });
        }
        all
    }

    /// Whether nothing is left of a leaving worker's shards that could be given to others.
    fn is_drained(&self, node: &NodeRecord, assignments: &Assignments) -> bool {
        if node.state != NodeState::Draining || !assignments.release.is_empty() {
            return false;
        }
        let has_heirs = self.cluster.nodes().any(|other| other.accepts());
        assignments.serve.is_empty() && !self.leads_replicated(&node.id) || !has_heirs
    }

    /// A worker has answered.
    pub(super) fn pong(&mut self, now: Timestamp, pong: Pong, actions: &mut Vec<Action>) {
        self.is_heard = true;
        // Whoever has answered may be pinged again.
        self.pings_from = now;
        let node = pong.node.clone();
        let term = self
            .leadership
            .as_ref()
            .map_or(0, |leadership| leadership.term);
        let (number, left, leaves) = (pong.number, pong.left, pong.leaves);
        let Some(contact) = self.contacts.get_mut(&node) else {
            return;
        };
        if contact.incarnation != pong.incarnation {
            contact.is_pinging = false;
            return;
        }
        let known = |report: &Report| contact.reports.get(&report.partition);
        let said = |report: &Report| known(report).and_then(Progress::of) != Progress::of(report);
        if pong.shards.iter().any(said) || contact.copies != pong.copies {
            self.version += 1;
        }
        if contact.troubles != pong.troubles {
            self.version += 1;
        }
        if pong.term == term && !contact.has_answered_in(term) {
            self.version += 1;
        }
        let is_current = contact.answered(now, pong, term, self.settings.check_interval);
        if !is_current && contact.has_list < contact.list {
            contact.next_ping = contact.next_ping.min(now);
        }
        let reports: Vec<_> = contact.reports.values().cloned().collect();
        if !self.is_leading(now) {
            return;
        }
        if let Some(left) = left {
            self.left(&node, left);
        }
        if leaves {
            self.let_leave(&node, actions);
        }
        self.renew_lease(now, &node, number, actions);
        self.hear_of_copies(&node);
        self.tell_of_troubles(&node, actions);
        if is_current {
            for report in &reports {
                self.take_report(now, &node, report, actions);
            }
        }
    }

    /// A worker has not answered.
    pub(super) fn silence(&mut self, now: Timestamp, node: &NodeId, incarnation: Incarnation) {
        self.pings_from = Timestamp::default();
        if let Some(contact) = self.contacts.get_mut(node)
            && contact.incarnation == incarnation
        {
            contact.silent(now, self.settings.check_interval);
        }
    }

    /// Renews a worker's lease after its answer, about once in a check interval: each renewal is a write of the registry, for which others
    /// wait.
    fn renew_lease(&mut self, now: Timestamp, node: &NodeId, pong: u64, actions: &mut Vec<Action>) {
        let (Some(stored), Some(contact)) = (self.mirror.nodes.get(node), self.contacts.get(node))
        else {
            return;
        };
        let record = &stored.value;
        let is_early = contact
            .renewed_at
            .is_some_and(|at| now.since(at) < self.settings.check_interval / 4 * 3);
        if record.state == NodeState::Down || contact.renewing.is_some() || is_early {
            return;
        }
        let mine = Holder {
            node: node.clone(),
            incarnation: record.incarnation,
        };
        let lease = match self.mirror.lease_of(node).map(|stored| &stored.value) {
            Some(lease) if lease.holder.as_ref() == Some(&mine) => LeaseRecord {
                counter: lease.counter + 1,
                ..lease.clone()
            },
            // The session before has not ended yet.
            Some(LeaseRecord {
                holder: Some(_), ..
            }) => return,
            ended => LeaseRecord {
                holder: Some(mine),
                term: ended.map_or(0, |lease| lease.term) + 1,
                counter: 0,
            },
        };
        let is_new = lease.counter == 0;
        let incarnation = record.incarnation;
        let key = node_lease(node);
        let purpose = Purpose::Renew {
            node: node.clone(),
            pong,
            heard_at: now,
        };
        if !self.write(key, Some(Value::Lease(lease)), purpose, actions) {
            return;
        }
        if let Some(contact) = self.contacts.get_mut(node) {
            contact.renewing = Some(pong);
        }
        if is_new {
            let node = node.clone();
            actions.push(Action::Notify(Notice::NodeUp { node, incarnation }));
        }
    }

    /// A renewal was written: the worker is told at once, so that it has nearly the whole time.
    pub(super) fn renewed(&mut self, now: Timestamp, node: &NodeId, pong: u64, done: bool) {
        let Some(contact) = self.contacts.get_mut(node) else {
            return;
        };
        if contact.renewing != Some(pong) {
            return;
        }
        contact.renewing = None;
        if done {
            self.pings_from = self.pings_from.min(now);
            contact.granted = Some(pong);
            contact.renewed_at = Some(now);
            contact.next_ping = contact.next_ping.min(now);
        }
    }

    /// Whether a node may be given shards by command.
    pub(super) fn is_accepting(&self, node: &NodeId) -> bool {
        let known = self.cluster.node(node);
        known.is_some_and(|node| node.standing == Standing::Accepting)
    }
}
