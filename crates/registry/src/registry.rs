//! The registry: the records of one keyspace, and of the nodes that serve it.

mod assignment;
mod copies;
mod map_watch;
mod nodes;
mod partitions;

use std::sync::{Arc, Mutex};

use rand::{RngCore, SeedableRng, rngs::StdRng};
use shardwright_topology::{
    KeyspaceName, NodeRecord, Operation, OperationId, RegisteredCopies, ShardId, ShardMap,
    ShardRecord,
};

pub use self::{
    assignment::{Assignment, assignments_of},
    map_watch::MapWatch,
    nodes::Registration,
};
use crate::{
    Error, KeyspaceRecord, Partitioning, Prefix, Record, Records, Store, StoreError, Stored,
};

/// The records of one keyspace in a store, and of the nodes that serve it.
///
/// | key | record |
/// | --- | --- |
/// | `node/<id>` | [`NodeRecord`] |
/// | `keyspace/<name>` | [`KeyspaceRecord`] |
/// | `shard/<keyspace>/<id>` | [`ShardRecord`] |
/// | `replica/<keyspace>/<node>` | [`RegisteredCopies`] |
/// | `op/<id>` | [`Operation`] |
/// | `lease/<id>` | [`LeaseRecord`](crate::LeaseRecord) |
/// | `pin/<keyspace>/<shard>` | [`PinRecord`](crate::PinRecord) |
/// | `journal/<keyspace>/<kind>/<id>` | whatever the caller's work needs to go on after a crash |
///
/// There is no transaction over two keys. A change that spans shards is decided by one change of its operation.
#[doc(alias = "ShardRegistry")]
#[derive(Debug, Clone)]
pub struct Registry {
    store: Arc<dyn Store>,
    keyspace: KeyspaceName,
    rng: Arc<Mutex<StdRng>>,
}

impl Registry {
    /// Returns the registry of a keyspace, whether or not it was created.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, keyspace: KeyspaceName) -> Self {
        Self::seeded(store, keyspace, rand::rng().next_u64())
    }

    /// Does as [`Registry::new`], and draws the ids of copies and configurations from a seed: for simulations.
    #[must_use]
    pub fn seeded(store: Arc<dyn Store>, keyspace: KeyspaceName, seed: u64) -> Self {
        let rng = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        Self {
            store,
            keyspace,
            rng,
        }
    }

    /// Returns the store below.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Returns the name of the keyspace.
    #[must_use]
    pub fn name(&self) -> &KeyspaceName {
        &self.keyspace
    }

    fn records<T: Record>(&self, prefix: &str) -> Records<T> {
        let prefix = Prefix::new(prefix).expect("a valid name makes a valid prefix");
        Records::new(self.store.clone(), prefix)
    }

    /// Returns the records of all nodes.
    #[must_use]
    pub fn nodes(&self) -> Records<NodeRecord> {
        self.records("node/")
    }

    /// Returns the records of the keyspace's shards.
    #[must_use]
    pub fn shards(&self) -> Records<ShardRecord> {
        self.records(&format!("shard/{}/", self.keyspace))
    }

    /// Returns the copies that nodes vouch for, of shards of the keyspace that commit on several members.
    #[must_use]
    pub fn copies(&self) -> Records<RegisteredCopies> {
        self.records(&format!("replica/{}/", self.keyspace))
    }

    /// Returns the operations of all keyspaces.
    #[must_use]
    pub fn operations(&self) -> Records<Operation> {
        self.records("op/")
    }

    /// Returns the journals of one kind of work on this keyspace.
    ///
    /// # Errors
    /// [`Error::Key`] if `kind` is no name.
    pub fn journals<T: Record>(&self, kind: &str) -> Result<Records<T>, Error> {
        let prefix = Prefix::new(format!("journal/{}/{kind}/", self.keyspace))?;
        Ok(Records::new(self.store.clone(), prefix))
    }

    /// Returns the records of all keyspaces in the store.
    #[must_use]
    pub fn keyspaces(&self) -> Records<KeyspaceRecord> {
        self.records("keyspace/")
    }

    /// Returns the record of the keyspace; `None` if it was never created.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Format`].
    pub async fn keyspace(&self) -> Result<Option<Stored<KeyspaceRecord>>, Error> {
        self.keyspaces().get(&self.keyspace).await
    }

    /// Creates the keyspace: first its shards, which nobody owns, then its record. Called again after a crash, it goes on.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the keyspace exists, or a shard with another record does.
    pub async fn create_keyspace(
        &self,
        record: KeyspaceRecord,
        shards: impl IntoIterator<Item = ShardRecord, IntoIter: Send> + Send,
    ) -> Result<Stored<KeyspaceRecord>, Error> {
        if let Some(found) = self
            .store
            .get(&self.keyspaces().prefix().key(&self.keyspace)?)
            .await?
        {
            return Err(StoreError::conflict(&found.key.clone(), Some(found)).into());
        }
        for shard in shards {
            self.create_shard(shard).await?;
        }
        self.keyspaces().create(&self.keyspace, record).await
    }

    /// Creates the keyspace with `shards` unassigned shards of equal ranges, or without ranges if it is a [`Partitioning::Named`]
    /// one, unless it exists.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Format`].
    pub async fn bootstrap(
        &self,
        partitioning: Partitioning,
        shards: u32,
    ) -> Result<Stored<KeyspaceRecord>, Error> {
        let named = partitioning == Partitioning::Named;
        let records = ShardRecord::even(&self.keyspace, shards).map(|shard| ShardRecord {
            range: shard.range.filter(|_| !named),
            ..shard
        });
        self.bootstrap_with(partitioning, records).await
    }

    /// Creates the keyspace with these shards, unless it exists.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Format`].
    pub async fn bootstrap_with(
        &self,
        partitioning: Partitioning,
        shards: impl IntoIterator<Item = ShardRecord, IntoIter: Send> + Send,
    ) -> Result<Stored<KeyspaceRecord>, Error> {
        if let Some(found) = self.keyspace().await? {
            return Ok(found);
        }
        for shard in shards {
            let id = shard.id.clone();
            self.shards().create_if_absent(&id, shard).await?;
        }
        let record = KeyspaceRecord {
            partitioning,
            ..KeyspaceRecord::new(self.keyspace.clone())
        };
        Ok(self
            .keyspaces()
            .create_if_absent(&self.keyspace, record)
            .await?
            .0)
    }

    /// Changes the record of the keyspace by a function of what it holds.
    ///
    /// # Errors
    /// [`Error::UnknownKeyspace`], and what `decide` returns: nothing changed.
    pub async fn update_keyspace(
        &self,
        decide: impl FnMut(&KeyspaceRecord) -> Result<KeyspaceRecord, Error> + Send,
    ) -> Result<Stored<KeyspaceRecord>, Error> {
        let outcome = self.keyspaces().update(&self.keyspace, decide).await;
        outcome.map_err(|error| match error {
            Error::Missing { .. } => Error::UnknownKeyspace {
                keyspace: self.keyspace.clone(),
            },
            other => other,
        })
    }

    /// Creates a shard. The same record again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if a shard with another record has the name.
    pub async fn create_shard(&self, shard: ShardRecord) -> Result<Stored<ShardRecord>, Error> {
        let id = shard.id.clone();
        let (found, created) = self.shards().create_if_absent(&id, shard.clone()).await?;
        if created || found.value == shard {
            return Ok(found);
        }
        let entry = self.store.get(&found.key).await?;
        Err(StoreError::conflict(&found.key, entry).into())
    }

    /// Returns the record of a shard.
    ///
    /// # Errors
    /// [`Error::UnknownShard`] if there is none.
    pub async fn shard(&self, id: &ShardId) -> Result<Stored<ShardRecord>, Error> {
        let found = self.shards().get(id).await?;
        found.ok_or_else(|| self.unknown_shard(id))
    }

    /// Changes the record of a shard by one of its transitions.
    ///
    /// # Errors
    /// [`Error::UnknownShard`], and what `decide` returns: nothing changed.
    pub async fn update_shard(
        &self,
        id: &ShardId,
        decide: impl FnMut(&ShardRecord) -> Result<ShardRecord, Error> + Send,
    ) -> Result<Stored<ShardRecord>, Error> {
        let outcome = self.shards().update(id, decide).await;
        outcome.map_err(|error| match error {
            Error::Missing { .. } => self.unknown_shard(id),
            other => other,
        })
    }

    fn unknown_shard(&self, id: &ShardId) -> Error {
        Error::UnknownShard {
            keyspace: self.keyspace.clone(),
            shard: id.clone(),
        }
    }

    /// Changes an operation by a function of what it holds, such as [`Operation::advance`].
    ///
    /// # Errors
    /// [`Error::Missing`], and what `decide` returns: nothing changed.
    pub async fn update_operation(
        &self,
        id: &OperationId,
        decide: impl FnMut(&Operation) -> Result<Operation, Error> + Send,
    ) -> Result<Stored<Operation>, Error> {
        self.operations().update(id, decide).await
    }

    /// Returns the shard map of the keyspace as it is now.
    ///
    /// # Errors
    /// [`Error::Map`] if the shards do not tile the space, [`Error::NoMap`] if no keyspace of its kind has a map, [`Error::Store`]
    /// or [`Error::Format`].
    pub async fn map(&self) -> Result<ShardMap, Error> {
        match map_watch::Snapshot::read(self).await?.map() {
            Err(error) => Err(self.refuse_map().await?.unwrap_or(error)),
            map => map,
        }
    }

    /// Returns why the keyspace never has a map, if that is so.
    async fn refuse_map(&self) -> Result<Option<Error>, Error> {
        let record = self.keyspace().await?;
        let named = record.is_some_and(|found| found.value.partitioning == Partitioning::Named);
        Ok(named.then(|| Error::NoMap {
            keyspace: self.keyspace.clone(),
        }))
    }
}
