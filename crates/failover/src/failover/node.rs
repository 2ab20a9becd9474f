//! What a coordinator knows of one node: its lease, and until where it is fenced.

use shardwright_registry::{
    Holder, Key, LeaseRecord, LeaseTiming, LeaseWatcher, Revision, Stored, node_lease,
    node_of_lease,
};
use shardwright_topology::{NodeId, Timestamp};

use super::Failover;
use crate::{Action, Observation, Written};

/// What a coordinator knows of one node.
#[derive(Debug)]
pub(super) struct Node {
    lease: Option<Stored<LeaseRecord>>,
    watcher: LeaseWatcher,
    timing: LeaseTiming,
    /// The last revision at which it is known that nobody held the lease: every hold from before it has ended for good.
    pub(super) fenced_at: Option<Revision>,
    /// The fence that was last told of.
    pub(super) announced: Option<Revision>,
    /// Whether it has been down and not been up since.
    pub(super) fell: bool,
    /// The record that is being written.
    fencing: Option<LeaseRecord>,
    retry_at: Timestamp,
}

impl Node {
    pub(super) fn unseen(timing: LeaseTiming, now: Timestamp) -> Self {
        let mut watcher = LeaseWatcher::new(timing);
        watcher.observe(now, None);
        Self {
            lease: None,
            watcher,
            timing,
            fenced_at: None,
            announced: None,
            fell: false,
            fencing: None,
            retry_at: Timestamp::default(),
        }
    }

    /// The process that holds the lease.
    pub(super) fn holder(&self) -> Option<&Holder> {
        self.lease.as_ref()?.value.holder.as_ref()
    }

    /// The fence after which the node serves no more what it served by a record of this revision.
    pub(super) fn fence_of(&self, record: Revision) -> Option<Revision> {
        self.fenced_at.filter(|fenced_at| record < *fenced_at)
    }

    /// Ends the lease, if it was silent for the time-out.
    pub(super) fn fence(&mut self, now: Timestamp, node: &NodeId, actions: &mut Vec<Action>) {
        if self.fencing.is_some() || now < self.retry_at {
            return;
        }
        let Some(vacancy) = self.watcher.vacancy(now) else {
            return;
        };
        let never_held = LeaseRecord {
            holder: None,
            term: 1,
            counter: 0,
        };
        let seen = vacancy.seen();
        let record = seen.map_or(never_held, |seen| seen.value.expired());
        self.fencing = Some(record.clone());
        actions.push(Action::WriteLease {
            key: node_lease(node),
            expected: self.lease.as_ref().map(|lease| lease.revision),
            record,
        });
    }

    /// Takes in what the lease holds. Returns whether that is news.
    fn see(&mut self, now: Timestamp, lease: Stored<LeaseRecord>) -> bool {
        let known = self.lease.as_ref();
        if known.is_some_and(|known| lease.revision <= known.revision) {
            return false;
        }
        self.watcher.observe(now, Some(lease.clone()));
        if lease.value.holder.is_none() {
            self.fenced_at = Some(lease.revision);
        }
        self.lease = Some(lease);
        true
    }
}

impl Failover {
    pub(super) fn node_lease_seen(
        &mut self,
        now: Timestamp,
        lease: Stored<LeaseRecord>,
        actions: &mut Vec<Action>,
    ) {
        let Some(node) = node_of_lease(&lease.key) else {
            return;
        };
        let holder = lease.value.holder.clone();
        let timing = self.timing;
        let known = self.nodes.entry(node.clone());
        let known = known.or_insert_with(|| Node::unseen(timing, now));
        if !known.see(now, lease) {
            return;
        }
        self.due.insert(node.clone());
        let observation = match holder {
            Some(holder) => Observation::Heard {
                node,
                incarnation: holder.incarnation,
            },
            None => Observation::Left { node },
        };
        self.observe(now, observation, actions);
    }

    pub(super) fn fence_written(
        &mut self,
        now: Timestamp,
        node: &NodeId,
        key: Key,
        written: Written,
        actions: &mut Vec<Action>,
    ) {
        let Some(known) = self.nodes.get_mut(node) else {
            return;
        };
        let Some(value) = known.fencing.take() else {
            return;
        };
        self.due.insert(node.clone());
        known.retry_at = now + known.timing.renew_every() / 4;
        match written {
            Written::Done(revision) => {
                let stored = Stored {
                    key,
                    value,
                    revision,
                };
                self.node_lease_seen(now, stored, actions);
            }
            Written::Refused | Written::Unknown => actions.push(Action::Read { key }),
            Written::Failed => {}
        }
    }
}
