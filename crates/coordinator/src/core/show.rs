//! What a coordinator shows of itself.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use shardwright_rebalancer::{PartitionId, Plan};
use shardwright_registry::Revision;
use shardwright_topology::{NodeId, NodeState, ShardState, Timestamp};

use super::{Core, NodeView, Progress, View, leadership::LEASE};

impl Core {
    /// Returns a number that grows with everything that a view shows.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns the revision up to which everything is known.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.mirror.revision
    }

    /// Returns who leads, as far as the registry says.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        let lease = self.mirror.leases.get(LEASE)?;
        Some(lease.value.holder.as_ref()?.node.clone())
    }

    /// Returns whether there is a shard of that name that was not removed.
    #[must_use]
    pub fn has_shard(&self, id: &PartitionId) -> bool {
        let stored = self.mirror.shards.get(id);
        stored.is_some_and(|stored| stored.value.state != ShardState::Retired)
    }

    /// Returns what is known now. It costs a pass over all shards: ask when [`Core::version`] has grown, and not too often.
    #[must_use]
    pub fn view(&self, now: Timestamp) -> View {
        let lease = self.mirror.leases.get(LEASE).map(|stored| &stored.value);
        let nodes = self.mirror.nodes.values().map(|stored| {
            let record = stored.value.clone();
            let lease = self.mirror.lease_of(&record.id);
            let holder = lease.and_then(|stored| stored.value.holder.as_ref());
            NodeView {
                leased: holder.is_some_and(|holder| holder.incarnation == record.incarnation),
                shards: self.mirror.holdings(&record.id).count(),
                record,
            }
        });
        let shards = self.mirror.shards.values();
        let shards = shards.map(|stored| self.mirror.decided(&stored.value));
        let shards = shards.filter(|record| record.state != ShardState::Retired);
        let operations = self.mirror.operations.values();
        let operations = operations.map(|stored| &stored.value);
        View {
            revision: self.mirror.revision,
            is_complete: self.mirror.is_complete,
            leader: self.leader(),
            term: lease.map_or(0, |lease| lease.term),
            is_leading: self.is_leading(now),
            nodes: Arc::new(nodes.collect()),
            shards: Arc::new(shards.map(Cow::into_owned).map(Arc::new).collect()),
            operations: Arc::new(operations.cloned().collect()),
            progress: Arc::new(self.progress(now)),
            replicated: Arc::new(self.replicated_view()),
            troubles: Arc::new(if self.is_leading(now) {
                self.troubles()
            } else {
                BTreeMap::new()
            }),
            keepers: Arc::new(self.replicated.keepers().cloned().collect()),
            unheard: Arc::new(self.unheard(now)),
            shards_revision: self.shards_revision(),
            plan: Arc::new(self.plan_in_order()),
            moving: self.moving.len(),
        }
    }

    /// The nodes that take part, and have not answered since this coordinator began to lead.
    fn unheard(&self, now: Timestamp) -> BTreeSet<NodeId> {
        let leadership = self.leadership.as_ref().filter(|_| self.is_leading(now));
        let Some(term) = leadership.map(|leadership| leadership.term) else {
            return BTreeSet::new();
        };
        let nodes = self.mirror.nodes.values().map(|stored| &stored.value);
        // One that joins is up once it has answered, and nobody waits for one that is down.
        let unheard = nodes.filter(|record| {
            let takes_part = matches!(record.state, NodeState::Up | NodeState::Draining);
            let contact = self.contacts.get(&record.id);
            takes_part && contact.is_none_or(|contact| !contact.has_answered_in(term))
        });
        unheard.map(|record| record.id.clone()).collect()
    }

    /// The last change of any record of a shard.
    fn shards_revision(&self) -> Revision {
        let shards = self.mirror.shards.values();
        let revisions = shards.map(|stored| stored.revision);
        revisions.max().unwrap_or_default()
    }

    /// What workers have said of the copies that they hold at present.
    fn progress(&self, now: Timestamp) -> BTreeMap<(PartitionId, NodeId), Progress> {
        // Whoever does not lead may have heard it long ago.
        let contacts = self.contacts.iter().filter(|_| self.is_leading(now));
        let reports = contacts.flat_map(|(node, contact)| {
            let reports = contact.reports.values();
            reports.map(move |report| (node, report))
        });
        let said = reports.filter_map(|(node, report)| {
            let stored = self.mirror.shards.get(&report.partition)?;
            let is_present = stored.value.active_epoch() == report.epoch;
            let progress = Progress::of(report).filter(|_| is_present)?;
            Some(((report.partition.clone(), node.clone()), progress))
        });
        said.collect()
    }

    /// The plan with its most urgent moves first.
    fn plan_in_order(&self) -> Plan {
        let mut plan = self.plan.clone();
        plan.moves.reverse();
        plan
    }
}
