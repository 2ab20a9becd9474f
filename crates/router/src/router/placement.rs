//! What a router is told: maps, owners and addresses.

use std::sync::Arc;

use shardwright_registry::Partitioning;
use shardwright_topology::{
    Epoch, NodeId, NodeRecord, ShardId, ShardMap, ShardMapChange, ShardRecord,
};

use super::{Router, Writer, table::Table};
use crate::{
    by_shard::ByShard,
    route::{Placed, Routes},
};

impl Router {
    /// Takes a map in place of the one before, unless it is not newer. Returns whether it was taken.
    ///
    /// Shards of this node open at their epochs, and those that went elsewhere are shut. After a change of one shard, made by
    /// [`ShardMap::apply`], this takes microseconds however many shards there are.
    pub fn set_map(&self, map: Arc<ShardMap>) -> bool {
        self.change(|table, writer| {
            let newer = writer.revision.is_none_or(|before| before < map.revision());
            if newer {
                writer.revision = Some(map.revision());
                self.place(table, writer, map);
            }
            newer
        })
    }

    /// Says how a tenant finds its shard, from the next map on.
    pub(super) fn set_partitioning(&self, partitioning: Partitioning) {
        self.writer().partitioning = partitioning;
    }

    /// Takes the owners of shards that have names only, in place of all that was known before.
    pub fn set_owners(&self, owners: impl IntoIterator<Item = (ShardId, Option<NodeId>, Epoch)>) {
        let placed = |(shard, owner, epoch)| (shard, Placed { owner, epoch });
        let owners: ByShard<Placed> = owners.into_iter().map(placed).collect();
        self.change(|table, writer| {
            writer.revision = None;
            table.routes = Routes::Named(owners.clone());
            let gates = table.gates.clone();
            let mine = owners
                .iter()
                .filter(|(_, placed)| placed.owner.as_ref() == Some(self.node()));
            let held = gates.iter().map(|(shard, _)| shard);
            for shard in mine.map(|(shard, _)| shard).chain(held) {
                self.settle(table, writer, shard);
            }
            true
        });
    }

    /// Takes the owner of one shard that has a name only, unless a later epoch of it is known, or the router has a map of
    /// ranges. Returns whether it was taken.
    pub fn set_owner(&self, shard: &ShardId, owner: Option<NodeId>, epoch: Epoch) -> bool {
        self.change(|table, writer| {
            let mut owners = match &table.routes {
                Routes::Named(owners) => owners.clone(),
                Routes::None => ByShard::default(),
                Routes::Ranges(_) | Routes::Modulo(..) => return false,
            };
            if owners.get(shard).is_some_and(|known| epoch < known.epoch) {
                return false;
            }
            owners.insert(shard.clone(), Placed { owner, epoch });
            table.routes = Routes::Named(owners);
            self.settle(table, writer, shard);
            true
        })
    }

    /// Forgets a shard that has a name only. Returns whether it was known.
    pub fn remove_shard(&self, shard: &ShardId) -> bool {
        self.change(|table, writer| {
            let Routes::Named(owners) = &mut table.routes else {
                return false;
            };
            let known = owners.get(shard).is_some();
            owners.remove(shard);
            self.settle(table, writer, shard);
            known
        })
    }

    /// Takes where a node is reached; `None` if it is gone.
    pub fn set_address(&self, node: &NodeId, address: Option<&str>) {
        self.change(|table, _| {
            let known = table.addresses.get(node).map(|known| &**known);
            if known == address {
                return false;
            }
            let mut addresses = (*table.addresses).clone();
            match address {
                Some(address) => addresses.insert(node.clone(), address.into()),
                None => addresses.remove(node),
            };
            table.addresses = Arc::new(addresses);
            true
        });
    }

    /// Takes where all nodes are reached, in place of all that was known before.
    pub(super) fn set_addresses<'a>(&self, nodes: impl IntoIterator<Item = &'a NodeRecord>) {
        let address = |node: &NodeRecord| (node.id.clone(), node.address.as_str().into());
        let addresses = Arc::new(nodes.into_iter().map(address).collect());
        self.change(|table, _| {
            table.addresses = addresses;
            true
        });
    }

    /// Takes one shard's record that was read beside the watch, unless it is older than what is known, or takes part in an
    /// operation: then only a map shows what counts.
    pub(super) fn learn(&self, record: ShardRecord) -> bool {
        if matches!(self.inner.table.load().routes, Routes::Named(_)) {
            let Placed { owner, epoch } = Placed::of(&record);
            return self.set_owner(&record.id, owner, epoch);
        }
        if record.hold.is_some() {
            return false;
        }
        self.change(|table, writer| {
            let Some(map) = table.routes.map() else {
                return false;
            };
            let known = map
                .shard(&record.id)
                .map(shardwright_topology::Shard::epoch);
            if known.is_none_or(|known| record.active_epoch() <= known) {
                return false;
            }
            let Ok(next) = map.apply(ShardMapChange::Update { record }) else {
                return false;
            };
            self.place(table, writer, Arc::new(next));
            true
        })
    }

    /// Puts a map into the table, and settles the shards that it changes.
    fn place(&self, table: &mut Table, writer: &mut Writer, map: Arc<ShardMap>) {
        let before = table.routes.clone();
        table.routes = Routes::of_map(Arc::clone(&map), &writer.partitioning);
        if let Some(changed) = before.map().and_then(|before| map.changed_since(before)) {
            for shard in changed {
                self.settle(table, writer, shard.id());
            }
            return;
        }
        let all = map.shards().iter().chain(map.catalog());
        let mine = all.filter(|shard| shard.primary() == Some(self.node()));
        let gates = table.gates.clone();
        let held = gates.iter().map(|(shard, _)| shard);
        for shard in mine.map(|shard| shard.id()).chain(held) {
            self.settle(table, writer, shard);
        }
    }

    fn settle(&self, table: &mut Table, writer: &mut Writer, shard: &ShardId) {
        if table.settle_here(self.node(), shard) {
            writer.leaving.insert(shard.clone());
        }
    }

    /// Settles the gate of a shard again, after a cut-over has let go of it.
    pub(super) fn settle_again(&self, writer: &mut Writer, shard: &ShardId) {
        let mut table = Table::clone(&self.inner.table.load());
        self.settle(&mut table, writer, shard);
        self.publish(table, writer);
    }

    /// Changes the table if `change` says so, one at a time.
    fn change(&self, change: impl FnOnce(&mut Table, &mut Writer) -> bool) -> bool {
        let mut writer = self.writer();
        let mut table = Table::clone(&self.inner.table.load());
        let changed = change(&mut table, &mut writer);
        if changed {
            self.publish(table, &mut writer);
        }
        changed
    }

    fn publish(&self, mut table: Table, writer: &mut Writer) {
        writer
            .leaving
            .retain(|shard| !table.forget(self.node(), shard));
        table.version += 1;
        let version = table.version;
        self.inner.table.store(Arc::new(table));
        self.inner.version.send_replace(version);
    }
}
