//! Tests of an engine whose places and registry were made by others.

use std::sync::Arc;

use pollster::block_on;
use shardwright_registry::{KeyspaceRecord, MemoryStore, Registry};
use shardwright_topology::{KeyspaceName, ShardRecord};

use super::*;
use crate::{LocalPlaces, shards::Call};

/// A registry that knows a keyspace of so many shards and nothing else.
pub(super) fn registry(shards: u32) -> Registry {
    let keyspace = KeyspaceName::new("main").unwrap();
    let registry = Registry::new(Arc::new(MemoryStore::new()), keyspace.clone());
    block_on(async {
        for shard in ShardRecord::even(&keyspace, shards) {
            registry.create_shard(shard).await.unwrap();
        }
        let record = KeyspaceRecord::new(keyspace);
        registry.create_keyspace(record, []).await.unwrap();
    });
    registry
}

/// The files of an empty database of three shards.
pub(super) fn places() -> (Arc<LocalPlaces>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let create = CreateOptions {
        shards: 3,
        ..CreateOptions::default()
    };
    let db = ShardedDatabase::create(&path, &create).unwrap();
    db.close().unwrap();
    let places = LocalPlaces::open(&path, &Options::default()).unwrap();
    (Arc::new(places), directory)
}

#[test]
fn a_keyspace_without_a_schema_is_an_empty_database() {
    let (places, _directory) = places();
    // As if nobody had prepared the catalog.
    let drop_table = [Call::new("DROP TABLE _sequence", ())];
    places.write(Place::Catalog, &drop_table).unwrap();
    let registry = registry(3);
    let open = || {
        let places = Arc::clone(&places);
        ShardedDatabase::over(places, registry.clone(), &Options::default()).unwrap()
    };
    let db = open();
    let create = "CREATE TABLE notes(id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT)";
    db.execute(create, ()).unwrap();
    let insert = "INSERT INTO notes(text) VALUES ('a')";
    db.execute(insert, ()).unwrap();
    drop(db);

    let db = open();
    db.execute(insert, ()).unwrap();
    let answer = db.execute("SELECT id FROM notes ORDER BY id", ()).unwrap();
    assert_eq!(answer.rows, [[Value::from(1)], [Value::from(2)]]);
    assert_eq!(db.directory(), None);
}

#[test]
fn places_that_the_map_does_not_have_are_refused() {
    let (places, _directory) = places();
    for shards in [2, 4] {
        let places = Arc::clone(&places);
        let opened = ShardedDatabase::over(places, registry(shards), &Options::default());
        assert_eq!(opened.unwrap_err().code(), "SHARD_NOT_FOUND");
    }
}
