//! What a router is told: maps, owners and addresses.

use std::sync::Arc;

use shardwright_registry::Partitioning;
use shardwright_topology::{
    Epoch, NodeId, NodeRecord, ShardId, ShardMap, ShardMapChange, ShardRecord,
};

use super::{Router, Writer, table::Table};
use crate::{
    by_shard::ByShard,
    gate::{Gate, State},
    route::{Placed, Routes},
};

impl Writer {
    /// Returns a map with what was learned since it was made.
    fn with_learned(&mut self, mut map: Arc<ShardMap>) -> Arc<ShardMap> {
        self.learned.retain(|id, record| {
            let is_ahead = map
                .shard(id)
                .is_some_and(|shard| shard.epoch() < record.active_epoch());
            if !is_ahead {
                return false;
            }
            let record = record.clone();
            // What cannot be changed so takes part in an operation that the map shows.
            let next = map.apply(ShardMapChange::Update { record });
            next.map(|next| map = Arc::new(next)).is_ok()
        });
        map
    }
}

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
                let map = writer.with_learned(map);
                self.place(table, writer, map);
            }
            newer
        })
    }

    /// Says how a tenant finds its shard, from the next map on.
    pub(super) fn set_partitioning(&self, partitioning: Partitioning) {
        self.writer().partitioning = partitioning;
    }

    /// Takes the owners of shards that have names only, in place of all that was known before, but for a shard of which a later epoch
    /// is known.
    pub fn set_owners(&self, owners: impl IntoIterator<Item = (ShardId, Option<NodeId>, Epoch)>) {
        self.change(|table, writer| {
            let known = match &table.routes {
                Routes::Named(known) => Some(known),
                Routes::None | Routes::Ranges(_) | Routes::Modulo(..) => None,
            };
            let later = |shard: &ShardId, placed: Placed| {
                let known = known.and_then(|known| known.get(shard));
                let known = known.filter(|known| placed.epoch < known.epoch);
                known.cloned().unwrap_or(placed)
            };
            let owners: ByShard<Placed> = owners
                .into_iter()
                .map(|(shard, owner, epoch)| {
                    let placed = later(&shard, Placed { owner, epoch });
                    (shard, placed)
                })
                .collect();
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
    pub(super) fn set_addresses(&self, nodes: impl IntoIterator<Item = NodeRecord>) {
        let address = |node: NodeRecord| (node.id, node.address.into());
        let addresses = Arc::new(nodes.into_iter().map(address).collect());
        self.change(|table, _| {
            table.addresses = addresses;
            true
        });
    }

    /// Takes one shard's record that was read beside the watch, unless it is older than what is known, or takes part in an
    /// operation: then only a map shows what counts. Maps that have not heard of it do not take it back.
    pub(super) fn learn(&self, record: ShardRecord) -> bool {
        if let Routes::Named(owners) = &self.inner.table.load().routes {
            let Placed { owner, epoch } = Placed::of(&record);
            // A name that is not known may have been removed since the read.
            return owners.get(&record.id).is_some() && self.set_owner(&record.id, owner, epoch);
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
            let update = ShardMapChange::Update {
                record: record.clone(),
            };
            let Ok(next) = map.apply(update) else {
                return false;
            };
            writer.learned.insert(record.id.clone(), record);
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
        if table.settle(self.node(), shard) {
            writer.leaving.insert(shard.clone());
        }
    }

    /// Takes back the gate that a cut-over holds, in a state unless the routes say otherwise.
    pub(super) fn let_go(&self, gate: &Gate, state: State) {
        let mut writer = self.writer();
        let table = Table::clone(&self.inner.table.load());
        if table.settle_from(self.node(), gate, state) {
            writer.leaving.insert(gate.shard().clone());
        }
        self.publish(table, &mut writer);
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

#[cfg(test)]
mod tests {
    use shardwright_topology::{ConfigId, Incarnation, Primary, Proposal, ReplicaId};

    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    /// The record of a shard as it is in a map, with an owner at an epoch.
    fn owned(map: &ShardMap, number: u32, owner: &str, epoch: u64) -> ShardRecord {
        let primary = Primary {
            node: node(owner),
            incarnation: Incarnation(1),
        };
        let id = ConfigId::from_bits(u128::from(epoch));
        let proposal = Proposal::single(id, primary, ReplicaId::from_bits(7));
        let record = map.shard(&ShardId::numbered(number)).unwrap().record();
        ShardRecord {
            epoch: Epoch(epoch),
            active: Some(proposal.at(Epoch(epoch))),
            ..record.clone()
        }
    }

    fn with(map: &ShardMap, number: u32, owner: &str, epoch: u64) -> ShardMap {
        let record = owned(map, number, owner, epoch);
        map.apply(ShardMapChange::Update { record }).unwrap()
    }

    #[test]
    fn a_map_that_lags_does_not_take_back_what_was_learned() {
        let router = Router::local(node("n1"));
        let shard = ShardId::numbered(0);
        let here = with(&ShardMap::even(2), 0, "n1", 1);
        router.set_map(Arc::new(here.clone()));
        assert!(router.is_shard_local(&shard));
        assert!(router.learn(owned(&here, 0, "n2", 2)));
        assert!(!router.is_shard_local(&shard));

        // Another shard changed, and the watch shows that first.
        let lagging = with(&here, 1, "n1", 1);
        assert!(router.set_map(Arc::new(lagging.clone())));
        assert!(!router.is_shard_local(&shard), "its epoch 1 has ended");
        assert_eq!(router.route(&shard).unwrap().epoch, Epoch(2));
        assert!(router.is_shard_local(&ShardId::numbered(1)));

        let current = with(&with(&lagging, 0, "n2", 2), 0, "n1", 3);
        assert!(router.set_map(Arc::new(current)));
        assert!(router.is_shard_local(&shard));
        assert!(router.writer().learned.is_empty());
    }
}
