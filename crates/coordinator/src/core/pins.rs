//! Where people have put partitions. It is in the registry, so that whoever leads next leaves them there too.

use std::{collections::BTreeMap, mem};

use shardwright_rebalancer::PartitionId;
use shardwright_registry::PinRecord;
use shardwright_topology::{NodeId, ShardState};

use super::{Action, Core, Value, machine::Purpose};

/// What the leader is to write of pins. What is written is in the mirror.
#[derive(Debug, Default)]
pub(super) struct Pins {
    /// Where partitions are to stay, or that plans may move them again. Each counts from when it is wanted until the mirror shows it.
    wanted: BTreeMap<PartitionId, Option<NodeId>>,
    /// Whether to write what is wanted: again after a while, and not after every event, while somebody else's change has yet to be shown.
    is_due: bool,
    /// Whether there may be pins of nodes or partitions that have gone.
    is_to_check: bool,
}

impl Pins {
    /// Some time has passed.
    pub(super) fn tick(&mut self) {
        self.is_due = true;
    }

    /// Nodes, or partitions with pins, have changed, or this coordinator has come to lead.
    pub(super) fn check(&mut self) {
        self.is_to_check = true;
    }
}

impl Core {
    /// Returns where somebody has put a partition, which stays there while the node may keep it.
    pub(super) fn pin_of(&self, id: &PartitionId) -> Option<&NodeId> {
        match self.pins.wanted.get(id) {
            Some(wanted) => wanted.as_ref(),
            None => self.mirror.pins.get(id).map(|stored| &stored.value.node),
        }
    }

    /// Has a partition stay on a node, or lets plans move it again.
    pub(super) fn pin(&mut self, id: &PartitionId, to: Option<NodeId>) {
        self.pins.wanted.insert(id.clone(), to);
        self.pins.is_due = true;
        self.place_in_cluster(id);
    }

    /// Takes in that the registry shows another pin of a partition, or none.
    pub(super) fn pin_changed(&mut self, id: &PartitionId) {
        self.pins.is_due = true;
        self.pins.check();
        self.place_in_cluster(id);
    }

    /// Writes what is wanted, and lets go of what has lapsed: what people have put on a node stays there only while the node may keep it.
    pub(super) fn keep_pins(&mut self, actions: &mut Vec<Action>) {
        let shown = &self.mirror.pins;
        let is_shown = |id: &PartitionId, wanted: &Option<NodeId>| {
            shown.get(id).map(|stored| &stored.value.node) == wanted.as_ref()
        };
        self.pins.wanted.retain(|id, wanted| !is_shown(id, wanted));
        if mem::take(&mut self.pins.is_to_check) {
            for id in self.lapsed() {
                self.pin(&id, None);
            }
        }
        if !mem::take(&mut self.pins.is_due) {
            return;
        }
        for (id, wanted) in self.pins.wanted.clone() {
            let expected = self.mirror.pins.get(&id).map(|stored| stored.revision);
            let key = PinRecord::key(&id.keyspace, &id.shard);
            let value = wanted.map(|node| Value::Pin(PinRecord { node }));
            self.write_at(key, expected, value, Purpose::Pin, actions);
        }
    }

    /// Forgets what this coordinator has wanted: another one may want something else by now.
    pub(super) fn drop_pins(&mut self) {
        for id in mem::take(&mut self.pins.wanted).into_keys() {
            self.place_in_cluster(&id);
        }
    }

    fn lapsed(&self) -> Vec<PartitionId> {
        let pins = self.mirror.pins.iter();
        let pins = pins.filter(|(id, stored)| {
            let node = self.cluster.node(&stored.value.node);
            let shard = self.mirror.shards.get(*id);
            let is_there = shard.is_some_and(|shard| shard.value.state != ShardState::Retired);
            let may_stay = is_there && node.is_some_and(|node| node.accepts());
            !may_stay && !self.pins.wanted.contains_key(*id)
        });
        pins.map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
