//! The sessions of workers: who is there, who is not, and how a session ends.

use shardwright_rebalancer::{Node, PartitionId, Standing};
use shardwright_registry::{LeaseRecord, node_lease};
use shardwright_topology::{Incarnation, NodeId, NodeRecord, NodeState, Timestamp};

use super::{
    Action, Core, Notice, Value,
    contact::Contact,
    leadership::Leadership,
    machine::{Purpose, node_key},
};

impl Core {
    pub(super) fn node_changed(&mut self, now: Timestamp, id: &NodeId) {
        let Some(stored) = self.mirror.nodes.get(id) else {
            self.is_to_judge = true;
            self.is_heard = true;
            self.is_urgent |= self.cluster.remove_node(id).is_some();
            self.pins.check();
            self.contacts.remove(id);
            self.replicated.node_gone(id);
            return;
        };
        let record = &stored.value;
        self.replicated.node_changed(record);
        let contact = self.contacts.get(id);
        if contact.is_none_or(|contact| contact.incarnation != record.incarnation) {
            let told = contact.map(|before| before.told.clone());
            let mut contact = Contact::new(record.incarnation, now);
            contact.told = told.unwrap_or_default();
            self.contacts.insert(id.clone(), contact);
            self.pings_from = self.pings_from.min(now);
            self.is_heard = true;
        }
        let standing = self.standing(record);
        let node = Node {
            standing,
            ..Node::from(record)
        };
        if self.cluster.node(id) != Some(&node) {
            self.cluster.set_node(node);
            // A lease that is only renewed lets nobody off.
            self.is_to_judge = true;
            self.is_heard = true;
            self.pins.check();
            self.is_dirty = true;
            match standing {
                Standing::Down | Standing::Draining => self.is_urgent = true,
                Standing::Accepting => {
                    self.joined.insert(id.clone());
                }
                Standing::Keeping => {}
            }
            // A worker that comes up or goes down changes what others are to do.
            self.change_list(now, id);
        }
    }

    /// What a planner may do with a node: whoever is not known to be alive or dead is left alone.
    fn standing(&self, record: &NodeRecord) -> Standing {
        let lease = self.mirror.lease_of(&record.id);
        let holder = lease.and_then(|stored| stored.value.holder.as_ref());
        match holder {
            Some(holder) if holder.incarnation != record.incarnation => Standing::Keeping,
            Some(_) => match record.state {
                NodeState::Joining | NodeState::Up => Standing::Accepting,
                NodeState::Draining => Standing::Draining,
                NodeState::Down => Standing::Keeping,
            },
            None if record.state == NodeState::Down => Standing::Down,
            None => Standing::Keeping,
        }
    }

    /// Ends the leases of workers of whom nothing was heard for the time-out: first the node is marked, so that this session
    /// never gets a lease again, then the lease is ended. Only then may others have what it held.
    pub(super) fn expire_the_silent(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let judges = |leadership: &Leadership| leadership.judges_from <= now;
        if !self.is_to_judge || !self.leadership.as_ref().is_some_and(judges) {
            return;
        }
        self.is_to_judge = false;
        let timeout = self.settings.timing.timeout();
        let silent: Vec<NodeRecord> = self
            .mirror
            .nodes
            .values()
            .map(|stored| &stored.value)
            .filter(|record| self.is_silent(now, record, timeout))
            .cloned()
            .collect();
        for record in silent {
            self.end_session(record, actions);
        }
    }

    fn is_silent(&self, now: Timestamp, record: &NodeRecord, timeout: std::time::Duration) -> bool {
        let key = node_lease(&record.id);
        let holder = self
            .mirror
            .lease_of(&record.id)
            .and_then(|stored| stored.value.holder.as_ref());
        if let Some(gone) = self.gone.get(&record.id)
            && holder.is_some_and(|holder| holder.incarnation == *gone)
        {
            return true;
        }
        match holder {
            Some(holder) if holder.incarnation == record.incarnation => {
                // One that was marked and whose lease is yet to be ended: it serves until that is over. One that answers is not silent,
                // however slow the registry is that takes down so.
                let answers = self.contacts.get(&record.id).is_some_and(|contact| {
                    contact.incarnation == record.incarnation
                        && contact.has_answered_within(now, timeout)
                });
                let is_alive = answers && record.state != NodeState::Down;
                !is_alive && self.is_vacant(now, key.last_name())
            }
            // A new session waits for the end of the one before.
            Some(_) => self.is_vacant(now, key.last_name()),
            // A session that registered and does not answer. One that answers is about to get a lease.
            None => {
                let contact = self.contacts.get(&record.id);
                record.state != NodeState::Down
                    && contact.is_some_and(|contact| timeout <= now.since(contact.heard_at))
            }
        }
    }

    /// A worker's process says in a later session that it serves nothing of an earlier one: its lease is ended now.
    pub(super) fn left(&mut self, node: &NodeId, left: Incarnation) {
        let lease = self.mirror.lease_of(node);
        let holder = lease.and_then(|stored| stored.value.holder.as_ref());
        if holder.is_some_and(|holder| holder.incarnation == left) {
            self.gone.insert(node.clone(), left);
            self.is_to_judge = true;
        }
    }

    /// Marks the node: this session never gets a lease again.
    pub(super) fn mark_down(&mut self, record: NodeRecord, actions: &mut Vec<Action>) {
        let key = node_key(&record.id);
        let value = NodeRecord {
            state: NodeState::Down,
            ..record
        };
        self.write(key, Some(Value::Node(value)), Purpose::Node, actions);
    }

    /// Marks the node, or ends its lease when it is marked or has a new session.
    fn end_session(&mut self, record: NodeRecord, actions: &mut Vec<Action>) {
        let lease = self
            .mirror
            .lease_of(&record.id)
            .map(|stored| stored.value.clone());
        let holder = lease.as_ref().and_then(|lease| lease.holder.clone());
        let is_of_session = holder
            .as_ref()
            .is_none_or(|holder| holder.incarnation == record.incarnation);
        if is_of_session && record.state != NodeState::Down {
            self.mark_down(record, actions);
        } else if let Some(lease) = lease.filter(|_| holder.is_some()) {
            let value = LeaseRecord {
                holder: None,
                ..lease
            };
            let node = record.id;
            let key = node_lease(&node);
            self.write(
                key,
                Some(Value::Lease(value)),
                Purpose::Expire { node },
                actions,
            );
        }
    }

    pub(super) fn expired(&mut self, now: Timestamp, node: &NodeId, actions: &mut Vec<Action>) {
        let Some(stored) = self.mirror.nodes.get(node) else {
            return;
        };
        self.gone.remove(node);
        if let Some(contact) = self.contacts.get_mut(node) {
            // A new session may have waited for this, and gets its lease by its next answer.
            contact.next_ping = now;
            self.pings_from = now;
        }
        actions.push(Action::Notify(Notice::NodeDown {
            node: node.clone(),
            incarnation: stored.value.incarnation,
            shards: self.mirror.holdings(node).count(),
        }));
        let alone = |id: &&PartitionId| {
            let stored = self.mirror.shards.get(id);
            stored.is_some_and(|stored| super::mirror::holders(&stored.value) == [node.clone()])
        };
        let alone = self.mirror.holdings(node).filter(alone).count();
        if alone > 0 {
            actions.push(Action::Notify(Notice::NoReplica {
                node: node.clone(),
                shards: alone,
            }));
        }
    }
}
