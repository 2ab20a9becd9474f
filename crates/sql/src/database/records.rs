//! The registry of a database: its keyspace, its shards, and the operation under way.

use std::sync::Arc;

use pollster::block_on;
use shardwright_registry::{
    Error as RegistryError, KeyspaceRecord, Partitioning, Record, Records as Journals,
    Registration, Registry, SqliteStore, StoreError,
};
use shardwright_topology::{
    KeyRange, KeyspaceName, NodeId, ReplicaId, ShardId, ShardMap, ShardRecord,
};

use super::{journal::Operation, layout::Layout};
use crate::{
    backup::{Extent, Outline},
    error::Error,
    schema::{StoredSchema, Undeclared},
};

/// The keyspace of an embedded database.
const KEYSPACE: &str = "main";
/// The node that holds all shards of an embedded database.
const NODE: &str = "local";
/// Settings of the keyspace record.
const DATABASE: &str = "database";
const UNDECLARED: &str = "undeclared";
const BROADCAST: &str = "broadcast";

/// The records of one database.
#[derive(Debug)]
pub(super) struct Records {
    registry: Registry,
    undeclared: Undeclared,
    database: String,
}

/// What the record of the keyspace says at one moment.
#[derive(Debug)]
pub(super) struct Standing {
    /// Grows with every change of the schema.
    pub(super) version: u64,
    /// The number of the last operation that the schema includes.
    pub(super) number: u64,
    schema: serde_json::Value,
}

impl Standing {
    pub(super) fn schema(self) -> Result<StoredSchema, Error> {
        stored_schema(self.schema)
    }
}

/// Reads a schema as the record of a keyspace has it.
pub(crate) fn stored_schema(schema: serde_json::Value) -> Result<StoredSchema, Error> {
    if schema.is_null() {
        // A keyspace that was made for us, and no statement has come yet.
        return Ok(StoredSchema::default());
    }
    serde_json::from_value(schema).map_err(|source| Error::BadSchemaRecord {
        message: source.to_string(),
    })
}

impl Record for Operation {
    const KIND: &'static str = "broadcast operation";
    const VERSION: u64 = 1;
}

impl Records {
    /// Creates even shards of these names, and the keyspace.
    pub(super) fn create(
        layout: &Layout,
        names: &[ShardId],
        undeclared: Undeclared,
        database: &str,
        schema: &StoredSchema,
    ) -> Result<(), Error> {
        let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let even = names.iter().cloned().zip(KeyRange::even(count));
        let outline = Outline {
            shards: even.map(|(id, range)| Extent { id, range }).collect(),
            schema: schema.clone(),
            number: 0,
            undeclared,
        };
        Self::restore(layout, database, &outline)
    }

    /// Creates the shards and the keyspace of an outline. The keyspace record comes last: without it, there is no database.
    pub(super) fn restore(layout: &Layout, database: &str, outline: &Outline) -> Result<(), Error> {
        let store =
            SqliteStore::open(layout.registry()).map_err(|error| open_error(layout, error))?;
        let keyspace = keyspace();
        let registry = Registry::new(Arc::new(store), keyspace.clone());
        let shards = outline.shards.iter();
        let ids = shards.clone().map(|shard| shard.id.clone()).collect();
        let mut record = KeyspaceRecord::new(keyspace.clone());
        record.partitioning = Partitioning::Ranges;
        record.schema = to_json(&outline.schema);
        let settings = [
            (DATABASE, database.into()),
            (UNDECLARED, to_json(&outline.undeclared)),
            (BROADCAST, outline.number.into()),
        ];
        for (name, value) in settings {
            record.settings.insert(name.to_owned(), value);
        }
        block_on(async {
            for Extent { id, range } in shards {
                let shard = ShardRecord::new(keyspace.clone(), id.clone(), Some(*range));
                registry.create_shard(shard).await?;
            }
            let mut registration = Registration::new(node(), "embedded");
            registration.shards = ids;
            registry.register(registration).await?;
            registry.create_keyspace(record, []).await
        })?;
        Ok(())
    }

    /// Opens the records of an existing database.
    pub(super) fn open(layout: &Layout, writable: bool) -> Result<Self, Error> {
        let path = layout.registry();
        let missing = || Error::NotADatabase {
            path: layout.directory().display().to_string(),
        };
        if !path.exists() {
            return Err(missing());
        }
        let store = if writable {
            SqliteStore::open(&path)
        } else {
            SqliteStore::open_read_only(&path)
        };
        let store = store.map_err(|error| open_error(layout, error))?;
        Self::of(Registry::new(Arc::new(store), keyspace()), missing)
    }

    /// The records in a registry, if it has a keyspace.
    pub(super) fn of(registry: Registry, missing: impl FnOnce() -> Error) -> Result<Self, Error> {
        let record = block_on(registry.keyspace())?.ok_or_else(missing)?.value;
        let setting = |name: &str| record.settings.get(name).cloned().unwrap_or_default();
        Ok(Self {
            undeclared: serde_json::from_value(setting(UNDECLARED)).unwrap_or_default(),
            database: setting(DATABASE).as_str().unwrap_or_default().to_owned(),
            registry,
        })
    }

    pub(super) fn undeclared(&self) -> Undeclared {
        self.undeclared
    }

    /// The identity that every file of the database carries.
    pub(super) fn database(&self) -> &str {
        &self.database
    }

    pub(super) fn map(&self) -> Result<ShardMap, Error> {
        Ok(block_on(self.registry.map())?)
    }

    /// The schema of now, read at one moment with its version and the number of the last operation.
    pub(super) fn standing(&self) -> Result<Standing, Error> {
        let record = self.keyspace()?;
        Ok(Standing {
            version: record.schema_version,
            number: last_broadcast(&record),
            schema: record.schema,
        })
    }

    /// Writes an operation down before its first commit, unless another one has its number.
    pub(super) fn begin(&self, operation: &Operation) -> Result<(), Error> {
        block_on(
            self.journals()?
                .create(operation.number.to_string(), operation.clone()),
        )?;
        Ok(())
    }

    /// Notes that every place has an operation.
    pub(super) fn finish(&self, operation: &Operation) -> Result<(), Error> {
        let done = |record: &KeyspaceRecord| {
            let mut record = record.clone();
            if last_broadcast(&record) < operation.number {
                record
                    .settings
                    .insert(BROADCAST.to_owned(), operation.number.into());
                if let Some(schema) = &operation.schema {
                    record.schema = to_json(schema);
                    record.schema_version += 1;
                }
            }
            Ok(record)
        };
        block_on(self.registry.update_keyspace(done))?;
        self.forget(operation)
    }

    /// Takes an operation back out of the journal.
    pub(super) fn forget(&self, operation: &Operation) -> Result<(), Error> {
        let journals = self.journals()?;
        let Some(entry) = block_on(journals.get(operation.number.to_string()))? else {
            return Ok(());
        };
        match block_on(journals.delete(&entry)) {
            // Another engine has finished it too.
            Err(RegistryError::Store(StoreError::Conflict { found: None, .. })) => Ok(()),
            deleted => Ok(deleted?),
        }
    }

    /// The operations that were begun and not finished, in the order of their numbers.
    pub(super) fn pending(&self) -> Result<Vec<Operation>, Error> {
        let listed = block_on(self.journals()?.list())?;
        let mut pending: Vec<Operation> = listed.into_iter().map(|stored| stored.value).collect();
        pending.sort_by_key(|operation| operation.number);
        Ok(pending)
    }

    fn journals(&self) -> Result<Journals<Operation>, Error> {
        Ok(self.registry.journals(BROADCAST)?)
    }

    fn keyspace(&self) -> Result<KeyspaceRecord, Error> {
        let found = block_on(self.registry.keyspace())?;
        found
            .map(|stored| stored.value)
            .ok_or(Error::BadSchemaRecord {
                message: "it is gone".to_owned(),
            })
    }
}

/// Writes the registry of a database whose files are there.
pub(crate) fn create_records(
    layout: &Layout,
    database: &str,
    outline: &Outline,
) -> Result<(), Error> {
    Records::restore(layout, database, outline)
}

/// A new identity for the files of one database.
pub(crate) fn new_identity() -> String {
    ReplicaId::random(&mut rand::rng()).to_string()
}

/// Returns the number of the last operation that the schema of a keyspace includes.
pub(crate) fn last_broadcast(record: &KeyspaceRecord) -> u64 {
    record
        .settings
        .get(BROADCAST)
        .and_then(serde_json::Value::as_u64)
        .unwrap_or(0)
}

fn to_json<T: serde::Serialize>(value: &T) -> serde_json::Value {
    serde_json::to_value(value).expect("the value has only fields that JSON knows")
}

fn keyspace() -> KeyspaceName {
    KeyspaceName::new(KEYSPACE).expect("the name is valid")
}

fn node() -> NodeId {
    NodeId::new(NODE).expect("the name is valid")
}

fn open_error(layout: &Layout, error: shardwright_registry::OpenError) -> Error {
    use shardwright_registry::OpenError;
    match error {
        OpenError::ReadOnly { path, .. } => Error::ReadOnly {
            reason: format!("{} cannot be written", path.display()),
        },
        OpenError::Missing { .. } => Error::NotADatabase {
            path: layout.directory().display().to_string(),
        },
        source => Error::OpenRegistry { source },
    }
}
