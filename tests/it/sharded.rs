//! A sharded database as the test kit sees one.

use crate::{
    channels::Channels,
    engines::{Gateways, WRITER},
};
use shardwright::{
    registry::{Registry, SqliteStore},
    sql::{
        CreateOptions, Error, Layout, LocalPlaces, Options, ShardedDatabase, WriteMode,
        adopt::{self, AdoptOptions},
        shards::Places,
    },
    store,
    topology::KeyspaceName,
};
use shardwright_compare::embedded::{answer_of, failure_of, params_of};
use shardwright_testkit::{Answer, Database, Failure, Value};
use std::{path::Path, sync::Arc};
use tempfile::TempDir;

/// Where the engine finds the files of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In its own hands.
    Files,
    /// Behind channels, each served by another thread.
    Channels,
    /// Behind channels, with two engines that take turns.
    Engines,
}

/// A sharded database in a directory that goes away with it.
#[derive(Debug)]
pub(crate) struct Sharded {
    database: ShardedDatabase,
    gateways: Option<Gateways>,
    _directory: TempDir,
}

impl Sharded {
    /// An empty database of `shards` shards.
    pub(crate) fn create(shards: usize) -> Self {
        Self::create_on(Storage::Files, shards)
    }

    /// An empty database of `shards` shards.
    pub(crate) fn create_on(storage: Storage, shards: usize) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = CreateOptions {
            shards,
            options: options(),
            ..CreateOptions::default()
        };
        let path = directory.path().join("db");
        let database = ShardedDatabase::create(&path, &options).expect("an empty database");
        let (database, gateways) = match storage {
            Storage::Files => (database, None),
            Storage::Channels | Storage::Engines => {
                database.close().expect("nobody else has it");
                open(&path, storage).expect("it was there")
            }
        };
        Self {
            database,
            gateways,
            _directory: directory,
        }
    }

    /// The SQLite file at `source` as a database of `shards` shards.
    pub(crate) fn import(source: &Path, shards: usize) -> Result<Self, Failure> {
        Self::import_on(Storage::Files, source, shards)
    }

    /// The SQLite file at `source` as a database of `shards` shards.
    pub(crate) fn import_on(
        storage: Storage,
        source: &Path,
        shards: usize,
    ) -> Result<Self, Failure> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("db");
        adopt::import(source, &path, shards, &AdoptOptions::default(), &mut |_| {})
            .map_err(|error| failure_of(&error))?;
        let (database, gateways) = open(&path, storage).map_err(|error| failure_of(&error))?;
        Ok(Self {
            database,
            gateways,
            _directory: directory,
        })
    }

    /// The database itself.
    pub(crate) fn database(&self) -> &ShardedDatabase {
        &self.database
    }

    /// Its two engines, if it has two.
    pub(crate) fn gateways(&self) -> Option<&Gateways> {
        self.gateways.as_ref()
    }
}

fn open(path: &Path, storage: Storage) -> Result<(ShardedDatabase, Option<Gateways>), Error> {
    if storage == Storage::Files {
        return Ok((ShardedDatabase::open(path, &options())?, None));
    }
    let files: Arc<dyn Places> = Arc::new(LocalPlaces::open(path, &options())?);
    let places = Channels::to(&files);
    drop(files);
    let store = SqliteStore::open(Layout::of(path).registry()).expect("the registry is there");
    let keyspace = KeyspaceName::new("main").expect("a name");
    let registry = Registry::new(Arc::new(store), keyspace);
    if storage == Storage::Channels {
        let database = ShardedDatabase::over(Arc::new(places), registry, &options())?;
        return Ok((database, None));
    }
    let gateways = Gateways::open(places, &registry, &options())?;
    Ok((gateways.engine(WRITER).clone(), Some(gateways)))
}

/// Writes to several shards are allowed, and nothing survives a power failure.
pub(crate) fn options() -> Options {
    Options {
        write_mode: WriteMode::BestEffort,
        synchronous: store::Synchronous::Off,
        ..Options::default()
    }
}

impl Database for Sharded {
    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<Answer, Failure> {
        let params = params_of(params);
        let answer = match &self.gateways {
            Some(gateways) => gateways.execute(sql, (&params).into()),
            None => self.database.execute(sql, &params),
        };
        answer.map(answer_of).map_err(|error| failure_of(&error))
    }
}
