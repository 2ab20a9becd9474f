//! What the registry holds, as far as the watch has shown it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use shardwright_rebalancer::PartitionId;
use shardwright_registry::{Key, LeaseRecord, PinRecord, Revision, Seen, Stored, node_lease};
use shardwright_topology::{
    KeyspaceName, NodeId, NodeRecord, Operation, OperationId, RegisteredCopies, ShardId,
    ShardRecord, ShardState,
};

/// What changed in the mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Changed {
    Node(NodeId),
    Shard(PartitionId),
    Lease(String),
    /// The copies of a keyspace that a node vouches for.
    Copies(KeyspaceName, NodeId),
    /// What became of an operation decides what its shards are: these.
    Operation(Vec<PartitionId>),
    /// Where somebody has put a shard.
    Pin(PartitionId),
    /// Everything has been shown once.
    Complete,
}

/// The records of the registry that a coordinator works with.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    /// Every change up to this one has been shown.
    pub(super) revision: Revision,
    pub(super) is_complete: bool,
    pub(super) nodes: BTreeMap<NodeId, Stored<NodeRecord>>,
    pub(super) shards: BTreeMap<PartitionId, Stored<ShardRecord>>,
    /// By the name behind `lease/`.
    pub(super) leases: BTreeMap<String, Stored<LeaseRecord>>,
    /// The copies of each keyspace that nodes vouch for.
    pub(super) copies: BTreeMap<(KeyspaceName, NodeId), Stored<RegisteredCopies>>,
    /// The splits, merges and moves of all keyspaces.
    pub(super) operations: BTreeMap<OperationId, Stored<Operation>>,
    /// Where people have put shards.
    pub(super) pins: BTreeMap<PartitionId, Stored<PinRecord>>,
    /// Who holds what, in any role.
    holdings: BTreeMap<NodeId, BTreeSet<PartitionId>>,
}

impl Mirror {
    /// Takes in what the watch shows.
    pub(super) fn watch(&mut self, seen: Seen) -> Option<Changed> {
        let revision = match &seen {
            Seen::Node(stored) => stored.revision,
            Seen::Shard(stored) => stored.revision,
            Seen::Lease(stored) => stored.revision,
            Seen::Keyspace(stored) => stored.revision,
            Seen::Operation(stored) => stored.revision,
            Seen::Copies(stored) => stored.revision,
            Seen::Pin(stored) => stored.revision,
            Seen::Deleted { revision, .. } => *revision,
            Seen::Listed(revision) => *revision,
        };
        // A listing shows records in the order of their names: only its end says up to where it goes.
        if self.is_complete || matches!(seen, Seen::Listed(_)) {
            self.revision = self.revision.max(revision);
        }
        self.put(seen)
    }

    /// Takes in a record that is known to be stored. One that is older than what is known changes nothing.
    pub(super) fn put(&mut self, seen: Seen) -> Option<Changed> {
        match seen {
            Seen::Node(stored) => {
                let id = stored.value.id.clone();
                newer(&mut self.nodes, id.clone(), stored).then_some(Changed::Node(id))
            }
            Seen::Lease(stored) => {
                let name = stored.key.last_name().to_owned();
                newer(&mut self.leases, name.clone(), stored).then_some(Changed::Lease(name))
            }
            Seen::Shard(stored) => {
                let id = partition_of(&stored.value);
                let before = self.shards.get(&id).map(|known| holders(&known.value));
                let after = holders(&stored.value);
                if !newer(&mut self.shards, id.clone(), stored) {
                    return None;
                }
                self.held_by(&id, &before.unwrap_or_default(), &after);
                Some(Changed::Shard(id))
            }
            Seen::Copies(stored) => {
                let keyspace = stored.key.as_str().split('/').nth(1)?;
                let keyspace = KeyspaceName::new(keyspace).ok()?;
                let node = stored.value.node.clone();
                let is_newer = newer(&mut self.copies, (keyspace.clone(), node.clone()), stored);
                is_newer.then_some(Changed::Copies(keyspace, node))
            }
            Seen::Operation(stored) => {
                let (id, shards) = (stored.value.id.clone(), shards_of(&stored.value));
                newer(&mut self.operations, id, stored).then_some(Changed::Operation(shards))
            }
            Seen::Pin(stored) => {
                let mut names = stored.key.as_str().split('/').skip(1);
                let id = named(names.next()?, names.next()?)?;
                newer(&mut self.pins, id.clone(), stored).then_some(Changed::Pin(id))
            }
            Seen::Deleted { key, .. } => self.delete(&key),
            Seen::Keyspace(_) => None,
            Seen::Listed(_) => {
                let first = !self.is_complete;
                self.is_complete = true;
                first.then_some(Changed::Complete)
            }
        }
    }

    fn delete(&mut self, key: &Key) -> Option<Changed> {
        let mut names = key.as_str().split('/');
        match (names.next()?, names.next()?, names.next()) {
            ("node", name, None) => {
                let id = NodeId::new(name).ok()?;
                self.nodes.remove(&id).map(|_| Changed::Node(id))
            }
            ("lease", name, None) => {
                let removed = self.leases.remove(name);
                removed.map(|_| Changed::Lease(name.to_owned()))
            }
            ("op", name, None) => {
                let removed = self.operations.remove(name)?;
                Some(Changed::Operation(shards_of(&removed.value)))
            }
            ("shard", keyspace, Some(shard)) => {
                let id = named(keyspace, shard)?;
                let removed = self.shards.remove(&id)?;
                self.held_by(&id, &holders(&removed.value), &[]);
                Some(Changed::Shard(id))
            }
            ("pin", keyspace, Some(shard)) => {
                let id = named(keyspace, shard)?;
                self.pins.remove(&id).map(|_| Changed::Pin(id))
            }
            ("replica", keyspace, Some(node)) => {
                let key = (KeyspaceName::new(keyspace).ok()?, NodeId::new(node).ok()?);
                self.copies.remove(&key)?;
                Some(Changed::Copies(key.0, key.1))
            }
            _ => None,
        }
    }

    fn held_by(&mut self, id: &PartitionId, before: &[NodeId], after: &[NodeId]) {
        for node in before.iter().filter(|node| !after.contains(node)) {
            if let Some(held) = self.holdings.get_mut(node) {
                held.remove(id);
            }
        }
        for node in after.iter().filter(|node| !before.contains(node)) {
            let held = self.holdings.entry(node.clone()).or_default();
            held.insert(id.clone());
        }
    }

    /// Returns what a node holds, in any role.
    pub(super) fn holdings(&self, node: &NodeId) -> impl Iterator<Item = &PartitionId> {
        self.holdings.get(node).into_iter().flatten()
    }

    /// Returns a shard as it is by the decision of the operation that holds it, whether or not that was written into its record.
    pub(super) fn decided<'a>(&self, record: &'a ShardRecord) -> Cow<'a, ShardRecord> {
        let hold = record.hold.as_ref();
        let operation = hold.and_then(|hold| self.operations.get(&hold.operation));
        match operation.map(|stored| record.resolve(&stored.value)) {
            Some(Ok(resolved)) => Cow::Owned(resolved),
            // It is not decided, or was not shown yet.
            Some(Err(_)) | None => Cow::Borrowed(record),
        }
    }

    /// Returns a shard as it is by the decisions of all operations but one, which is yet to write its own.
    pub(super) fn decided_by_others<'a>(
        &self,
        record: &'a ShardRecord,
        operation: &Operation,
    ) -> Cow<'a, ShardRecord> {
        let hold = record.hold.as_ref();
        match hold.is_some_and(|hold| hold.operation == operation.id) {
            true => Cow::Borrowed(record),
            false => self.decided(record),
        }
    }

    /// Returns the lease of a node.
    pub(super) fn lease_of(&self, node: &NodeId) -> Option<&Stored<LeaseRecord>> {
        self.leases.get(node_lease(node).last_name())
    }
}

/// The name of a shard among those of all keyspaces.
pub(super) fn partition_of(record: &ShardRecord) -> PartitionId {
    PartitionId::new(record.keyspace.clone(), record.id.clone())
}

/// The shard that two parts of a key name.
fn named(keyspace: &str, shard: &str) -> Option<PartitionId> {
    let keyspace = KeyspaceName::new(keyspace).ok()?;
    let shard = ShardId::new(shard).ok()?;
    Some(PartitionId::new(keyspace, shard))
}

/// The shards that an operation names, among those of all keyspaces.
fn shards_of(operation: &Operation) -> Vec<PartitionId> {
    let shards = operation.sources.iter().chain(&operation.targets);
    let shards = shards.map(|shard| PartitionId::new(operation.keyspace.clone(), shard.clone()));
    shards.collect()
}

/// The nodes that hold a shard, the primary first. One that is retired and commits on several members is left to the operation that
/// retired it: nobody waits for its nodes to let go of it.
pub(super) fn holders(record: &ShardRecord) -> Vec<NodeId> {
    let is_left = record.replicated && record.state == ShardState::Retired;
    let active = record.active.iter().filter(|_| !is_left);
    let nodes = active.flat_map(|config| {
        let replicas = config.replicas().map(|member| member.node.clone());
        std::iter::once(config.primary.node.clone()).chain(replicas)
    });
    nodes.collect()
}

fn newer<K: Ord, T>(map: &mut BTreeMap<K, Stored<T>>, key: K, stored: Stored<T>) -> bool {
    let is_newer = map
        .get(&key)
        .is_none_or(|known| known.revision < stored.revision);
    if is_newer {
        map.insert(key, stored);
    }
    is_newer
}

#[cfg(test)]
mod tests;
